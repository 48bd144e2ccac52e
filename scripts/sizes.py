"""Prints the largest modules, functions and classes of src/, so that growth is seen while it is small.

`python scripts/sizes.py [COUNT]`
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"


def length(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int:
    """Lines of a definition, decorators included, docstring not."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    said = node.body[0]
    quiet = isinstance(said, ast.Expr) and isinstance(said.value, ast.Constant) and isinstance(said.value.value, str)
    return (node.end_lineno or first) - first + 1 - ((said.end_lineno or 0) - said.lineno + 1 if quiet else 0)


def main(count: int) -> None:
    """Three tables, the largest first."""
    modules: list[tuple[int, str]] = []
    functions: list[tuple[int, str]] = []
    classes: list[tuple[int, str]] = []
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text()
        name = str(path.relative_to(SOURCE))
        modules.append((len(text.splitlines()), name))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.append((length(node), f"{name}:{node.lineno} {node.name}"))
            elif isinstance(node, ast.ClassDef):
                public = [part for part in node.body
                          if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and not part.name.startswith("_")]
                classes.append((len(public), f"{name}:{node.lineno} {node.name}"))
    total = sum(lines for lines, _ in modules)
    for title, rows in (
        (f"modules, lines (of {total} in {len(modules)}; look again at 400, stop at 600)", modules),
        ("functions, lines (look again at 25, stop at 60)", functions),
        ("classes, public methods (at most 15)", classes),
    ):
        print(f"largest {title}")
        for size, name in sorted(rows, key=lambda row: (-row[0], row[1]))[:count]:
            print(f"  {size:5}  {name}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
