"""The house stands: imports go down only, every folder has a front door, and no module keeps state of its own.

The floors are those of the design.  An import under TYPE_CHECKING is an arrow too: a lower floor that needs the shape of
something above asks for a protocol from the ground.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
PACKAGE = "ring3"

# From the ground up.  What stands on one floor may import each other; nothing imports a floor above its own.
FLOORS = (
    {"abi", "errors", "events", "namedtuple", "protocols", "waiting"},
    {"machine"},
    {"vm"},
    {"vfs"},
    {"proc"},
    {"policy"},
    {"exec"},
    {"calls"},
    {"personality"},
    {"trace"},
    {"__init__", "arguments", "changes", "kernel", "asking", "boot", "launch", "loop", "process", "stdio"},
    {"cli", "__main__"},
)

# Arrows that go down and are still forbidden, with the reason.
FORBIDDEN = {
    ("calls", "machine"): "a system call knows nothing of CPUs",
}


MAKERS = {"list", "dict", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict", "count"}
CHANGERS = {
    "append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "remove", "discard", "clear", "sort",
}


@dataclass(frozen=True)
class Arrow:
    """One import: `module` (line `line`) imports from room `target`."""

    module: str
    line: int
    target: str


def room_of(module: str) -> str:
    """The folder or top-level module that `ring3.a.b` lives in: `a`; the package itself is `__init__`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def floor_of(room: str) -> int:
    for height, rooms in enumerate(FLOORS):
        if room in rooms:
            return height
    raise AssertionError(f"{PACKAGE}.{room} stands on no floor: give it one in {Path(__file__).name} and in the design")


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted((SOURCE / PACKAGE).rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text(), str(path))
    return found


def is_package(module: str) -> bool:
    return (SOURCE / Path(*module.split("."))).is_dir()


def imported_names(module: str, node: ast.AST) -> Iterator[str]:
    """The dotted names of ours that an import statement reaches."""
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=name, names=names, level=level):
            base = (name or "").split(".") if name else []
            if level:
                here = module.split(".")
                here = here if is_package(module) else here[:-1]
                base = here[:len(here) - level + 1] + base
            for alias in names:
                # `from ring3 import vfs` reaches the room vfs, `from ring3 import run` the front of the house.
                whole = [*base, alias.name]
                yield ".".join(whole if ".".join(whole) in modules() else base)


def arrows() -> Iterator[Arrow]:
    for module, tree in modules().items():
        for node in ast.walk(tree):
            for name in imported_names(module, node):
                if name.split(".")[0] == PACKAGE and isinstance(node, ast.Import | ast.ImportFrom):
                    yield Arrow(module, node.lineno, room_of(name))


def test_imports_go_down() -> None:
    upward = [
        f"{arrow.module}:{arrow.line} imports {arrow.target}, which stands above it"
        for arrow in arrows() if floor_of(arrow.target) > floor_of(room_of(arrow.module))
    ]
    assert not upward, "\n".join(upward)


def test_forbidden_arrows() -> None:
    broken = [
        f"{arrow.module}:{arrow.line} imports {arrow.target}: {FORBIDDEN[room_of(arrow.module), arrow.target]}"
        for arrow in arrows() if (room_of(arrow.module), arrow.target) in FORBIDDEN
    ]
    assert not broken, "\n".join(broken)


def test_no_star_imports() -> None:
    stars = [
        f"{module}:{node.lineno}" for module, tree in modules().items() for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]
    assert not stars


def test_every_folder_has_a_front_file() -> None:
    folders = [path for path in (SOURCE / PACKAGE).rglob("*") if path.is_dir() and any(path.glob("*.py"))]
    missing = [str(path.relative_to(SOURCE)) for path in folders if not (path / "__init__.py").exists()]
    assert not missing, f"no __init__.py: {missing}"


def test_every_module_says_what_it_is() -> None:
    silent = [module for module, tree in modules().items() if not ast.get_docstring(tree)]
    assert not silent, f"no docstring: {silent}"


def made_mutable(value: ast.expr | None) -> bool:
    """Whether this expression makes a container that can be changed later."""
    match value:
        case ast.List() | ast.Dict() | ast.Set() | ast.ListComp() | ast.DictComp() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return name in MAKERS
    return False


def top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run on import, those inside `if` and `try` included."""
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        yield node
        for field in ("body", "orelse", "finalbody"):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                pending.extend(getattr(node, field, []))


def names_assigned(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def state_of(tree: ast.Module) -> Iterator[str]:
    """What in this module could remember something between two kernels.

    A container built on import is a table if its name is in capitals and nothing changes it; anything else is state, and
    so is a `global` statement.
    """
    tables: set[str] = set()
    for node in top_level(tree):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not made_mutable(node.value):
            continue
        for name in names_assigned(node):
            if name.strip("_").isupper():
                tables.add(name)
            elif name != "__all__":
                yield f"line {node.lineno}: {name} is a mutable container; a table is named in capitals"
    for inner in (inner for function in ast.walk(tree)
                  if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) for inner in ast.walk(function)):
        match inner:
            case ast.Global(names=names):
                yield f"line {inner.lineno}: global {', '.join(names)}"
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if name in tables and attr in CHANGERS:
                yield f"line {inner.lineno}: {name}.{attr}() changes a table"
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()) if name in tables:
                yield f"line {inner.lineno}: {name}[...] is changed"


def test_no_module_keeps_state() -> None:
    kept = [f"{module} {what}" for module, tree in modules().items() for what in state_of(tree)]
    assert not kept, "\n".join(sorted(set(kept)))


@pytest.mark.parametrize(("code", "flagged"), [
    ("seen = []", True),
    ("SEEN = {}\ndef f(k):\n    SEEN[k] = 1", True),
    ("SEEN: list[int] = []\ndef f(k):\n    SEEN.append(k)", True),
    ("n = 0\ndef f():\n    global n\n    n += 1", True),
    ("TABLE = {1: 2}\ndef f(k):\n    return TABLE[k]", False),
    ("__all__ = ['run']", False),
    ("def f():\n    seen = []\n    seen.append(1)", False),
    ("class C:\n    rows = [1]", False),
    ("if True:\n    cache = dict()", True),
])
def test_the_state_check_sees_what_it_should(code: str, flagged: bool) -> None:
    assert bool(list(state_of(ast.parse(code)))) is flagged
