"""Write docs/netbsd-exec.md (and the page of each other seed) from the row markers in the tests.  Run it after adding a row.

    python scripts/exec_rows.py           write the pages
    python scripts/exec_rows.py --check   status 1 when a page is not what the tests say

Tests are read, not run: a row is a decorator `@row(system, names, sentence)` of literals (tests/rows.py).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

TOP = Path(__file__).parents[1]


class Page(NamedTuple):
    """One generated page: `order` are the seed's functions as its reader meets them; others follow by name."""

    title: str
    seed: str
    order: tuple[str, ...]


PAGES: Mapping[str, Page] = MappingProxyType({
    "netbsd": Page(
        "NetBSD's exec, row by row",
        "`kern_exec.c` 1.185 of NetBSD",
        (
            "link_es", "exec_init", "exec_add", "exec_remove", "emul_register", "emul_unregister", "emul_search", "check_exec",
            "check_veriexec", "exec_script_makecmds", "sys_execve", "copyargs", "exec_sigcode_map",
        ),
    ),
    "serenity": Page(
        "SerenityOS's exec, row by row",
        "`execve.cpp` of SerenityOS (end of December 2022)",
        ("sys$execve", "exec", "find_shebang_interpreter_for_executable", "find_elf_interpreter_for_executable", "load", "do_exec"),
    ),
})


class Row(NamedTuple):
    """One behaviour and the test that proves it."""

    system: str
    names: str
    says: str
    test: str           # path::name
    line: int


def rows_in(path: Path) -> Iterator[Row]:
    """The rows of one test file, in its order.  Raises ValueError for a marker that is not three literals."""
    source = path.read_text(encoding="utf-8")
    if "@row(" not in source:
        return
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "row":
                words = [arg.value for arg in mark.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
                if len(words) != 3 or len(mark.args) != 3 or mark.keywords:
                    raise ValueError(f"{path}:{mark.lineno}: a row is three literal strings")
                system, names, says = words
                yield Row(system, names, says, f"{path.relative_to(TOP).as_posix()}::{node.name}", mark.lineno)


def all_rows() -> list[Row]:
    """Every row of every test."""
    return [found for path in sorted((TOP / "tests").rglob("test_*.py")) for found in rows_in(path)]


def render(system: str, rows: list[Row]) -> str:
    """The page of one system."""
    page = PAGES[system]
    mine = [row for row in rows if row.system == system]

    def place(row: Row) -> tuple[int, str, str, int]:
        first = row.names.replace(",", " ").split()[0]
        return page.order.index(first) if first in page.order else len(page.order), first, row.test.partition("::")[0], row.line

    mine.sort(key=place)
    lines = [
        f"# {page.title}",
        "",
        f"Each row is one behaviour of {page.seed}: the names in it that the row comes from, what happens, and the test that",
        "proves it.",
        f"Written by `scripts/exec_rows.py` from the tests' own row markers: {len(mine)} rows.  Do not edit.",
    ]
    section = ""
    for row in mine:
        first = row.names.replace(",", " ").split()[0]
        if first != section:
            section = first
            lines += ["", f"## {first}", "", "| from | behaviour | test |", "|---|---|---|"]
        file, _, name = row.test.partition("::")
        lines.append(f"| {_cell(row.names)} | {_cell(row.says)} | [`{name}`](../{file}) |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def main(words: list[str]) -> int:
    """Write the pages, or check them."""
    rows, status = all_rows(), 0
    for system in PAGES:
        if not any(row.system == system for row in rows):
            continue
        path = TOP / "docs" / f"{system}-exec.md"
        text = render(system, rows)
        if "--check" in words:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                print(f"{path.relative_to(TOP)} is not what the tests say: run scripts/exec_rows.py", file=sys.stderr)
                status = 1
        else:
            path.write_text(text, encoding="utf-8")
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
