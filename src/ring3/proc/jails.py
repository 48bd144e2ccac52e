"""SerenityOS's jails: who is in one knows of no process outside.

A process is in one or in none, its children and its next programs too, and nothing leads out.  A jail stays as long as the kernel.
The rule is about processes, whatever system their programs are of: whoever looks one up by a number, signals it, looks into it or
lists it asks here.  Not here: the calls (`calls/serenity/jail.py`).
Source: Kernel/JailManagement.cpp (reference, section 1.20).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ring3.errors import ENOMEM

if TYPE_CHECKING:
    from ring3.proc.proc import Proc, Thread
    from ring3.proc.system import System

JAILS_MAX: Final = 65536


class Jail:
    """One jail: its number, and what it was called."""

    __slots__ = ("index", "name")

    def __init__(self, index: int, name: bytes) -> None:
        self.index = index
        self.name = name

    def __repr__(self) -> str:
        return f"<Jail {self.index} {self.name!r}>"


def may_know(looker: Proc, p: Proc) -> bool:
    """Whether `looker` may know that there is a process `p`: from inside of a jail only those in the same one."""
    return looker.jail is None or p.jail is looker.jail


def known_procs(t: Thread) -> list[Proc]:
    """All processes the caller may know of, those that ended and were not waited for too."""
    looker = t.proc
    procs = t.system.procs.values()
    return list(procs) if looker.jail is None else [p for p in procs if p.jail is looker.jail]


def new_jail(system: System, name: bytes) -> Jail:
    """A jail nobody is in.  Raises ENOMEM for one too many."""
    if len(system.jails) >= JAILS_MAX:
        raise ENOMEM
    jail = Jail(len(system.jails), name)
    system.jails.append(jail)
    return jail


def find_jail(system: System, index: int) -> Jail | None:
    """The jail of that number."""
    if index >= len(system.jails):
        return None
    found: Jail = system.jails[index]
    return found
