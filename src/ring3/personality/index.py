"""What an index of calls should say, from the modules that declare them: the part all systems but Linux have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module

from ring3.calls.syscall import collect


def declared_over(modules: Iterable[str], shared: Mapping[str, str], linux: Mapping[str, str]) -> dict[str, str]:
    """Name of a call to "module" or "module:name": those of `modules`, and those for which Linux's declaration does.

    `shared` maps the system's name to Linux's, `linux` Linux's to its module.  Raises TypeError for a call declared twice, KeyError
    for a shared one that Linux does not have.
    """
    rows: dict[str, str] = {}
    for name in modules:
        module = import_module(name)
        aliases = getattr(module, "ALIASES", {})
        for call, declaration in collect(module).items():
            if call not in aliases and declaration.run.__module__ != name:
                continue                     # imported, to be used
            if call in rows:
                raise TypeError(f"{call} is declared in {rows[call]} and {name}")
            rows[call] = name
    for name, theirs in shared.items():
        if name in rows:
            raise TypeError(f"{name} is declared, and shared too")
        rows[name] = linux[theirs] if name == theirs else f"{linux[theirs]}:{theirs}"
    return dict(sorted(rows.items()))
