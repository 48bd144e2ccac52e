"""Explanations as JSON: the same facts for programs.  docs/explain.md describes the structure; `FORMAT` counts its
changes.

Addresses are strings ("0x7ffe…"), sizes and counts are numbers of bytes or things.  Names that are not UTF-8 are
decoded with surrogateescape, as Python's own `os.fsdecode` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from ring3.exec.plan import WRITE
from ring3.trace.explain.model import Arguments, Check, Explanation, FormatSaid, Header, Hop, LookUp
from ring3.trace.explain.space import objects
from ring3.trace.explain.stackdump import Item, dump, registers
from ring3.trace.explain.words import mode, prot

if TYPE_CHECKING:
    from ring3.exec.plan import ExecPlan, VMCmd

FORMAT: Final = 1
_EVENTS: Final[Mapping[type, str]] = MappingProxyType({
    LookUp: "look-up", Check: "check", Arguments: "arguments", Header: "header", FormatSaid: "format", Hop: "script",
})

_OPTIONAL: Final = frozenset({"error", "reason", "target", "tree"})        # "" in a record is null here


def dumps(explanations: Sequence[Explanation]) -> str:
    """The text, with its line end."""
    import json

    return json.dumps({"format": FORMAT, "explanations": [plain(found) for found in explanations]}, indent=2) + "\n"


def plain(found: Explanation) -> dict[str, Any]:
    """One explanation of plain values."""
    return {
        "system": found.personality,
        "program": _text(found.program),
        "path": _text(found.path),
        "argv": _plain(found.argv),
        "outcome": found.outcome,
        "error": found.error or None,
        "step": found.step or None,
        "reason": found.reason or None,
        "signal": found.signal or None,
        "diagnosis": _plain(found.diagnosis),
        "warnings": _plain(found.warnings),
        "libraries": [_plain(library) | {"path": _text(library.path) or None} for library in found.libraries],
        "path_search": _plain(found.search),
        "events": [{"event": _EVENTS[type(event)], **_plain(event)} for event in found.events],
        "rules": _plain(found.rules),
        "credentials": {"before": found.before._asdict(), "after": found.plan.cred._asdict() if found.plan is not None else None},
        "plan": None if found.plan is None else _plan(found, found.plan),
    }


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _plain(value: Any) -> Any:
    """Records as objects, bytes as text; modes as chmod(1) takes them."""
    if isinstance(value, bytes):
        return _text(value)
    if hasattr(value, "_asdict"):
        return {name: _field(name, field) for name, field in value._asdict().items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _field(name: str, value: Any) -> Any:
    if name == "mode":
        return mode(value)
    return None if name in _OPTIONAL and not value else _plain(value)


def _plan(found: Explanation, plan: ExecPlan) -> dict[str, Any]:
    where = plan.layout
    return {
        "executable": _text(plan.exe.path),
        "interpreter": _text(plan.interpreter.path) if plan.interpreter is not None else None,
        "format": plan.format,
        "system": plan.personality.name,
        "cpu": plan.arch.value,
        "argv": _plain(plan.argv),
        "scripts": _plain(plan.script),
        "name": _text(plan.comm),
        "entry": hex(plan.entry),
        "start": hex(plan.start),
        "load_bias": hex(plan.load_bias),
        "interpreter_base": hex(plan.interp_base),
        "vmcmds": [_command(command) for command in plan.vmcmds],
        "space": {
            "lowest": hex(where.min_addr),
            "end": hex(where.user_top),
            "heap": hex(where.brk),
            "mmap_base": hex(where.mmap_base),
            "stack_top": hex(where.stack_top),
            "stack_limit": where.stack_limit,
            "vdso": hex(where.vdso_base) if where.vdso_base else None,
            "objects": [
                {
                    "name": _text(item.name),
                    "start": hex(item.start),
                    "end": hex(item.end),
                    "areas": [
                        {
                            "start": hex(area.start),
                            "end": hex(area.end),
                            "protection": prot(area.prot),
                            "file_offset": area.offset if area.is_file else None,
                        }
                        for area in item.areas
                    ],
                }
                for item in objects(plan.vmcmds)
            ],
        },
        "stack": {"pointer": hex(plan.stack.sp), "items": [_item(item) for item in dump(plan)]},
        "registers": {name: hex(value) for name, value in registers(plan)},
        "code": {"address": hex(plan.start), "bytes": found.code.hex()},
        "secure": plan.secure,
        "descriptors": {
            "before": list(found.descriptors),
            "closed": list(plan.closes),
            "opened": {str(fd): _text(file.path) if file is not None else None for fd, file in plan.opens},
        },
    }


def _command(command: VMCmd) -> dict[str, Any]:
    return {
        "command": command.kind, "address": hex(command.addr), "length": command.length,
        "protection": None if command.kind == WRITE else prot(command.prot),
        "file": _text(command.file.path) if command.file is not None else None,
        "offset": command.offset if command.file is not None else None,
        "label": _text(command.label) or None,
    }


def _item(item: Item) -> dict[str, Any]:
    value: Any = None
    if item.kind in ("word", "pair"):
        value = hex(item.value)
    elif item.kind == "string":
        value = _text(item.data)
    elif item.kind == "bytes":
        value = item.data.hex()
    return {
        "address": hex(item.addr), "length": item.length, "kind": item.kind, "label": item.label or None, "value": value,
        "meaning": item.meaning or None,
    }
