"""The exec switch: which formats a kernel knows, in the order they are asked; and the registry of personalities.

One per kernel.  It starts from `BUILTIN`, grows and shrinks while running with the seed's errors (NetBSD: exec_add,
exec_remove, emul_register, emul_unregister); an exec in flight works on the tuple it started with.  Installed
plug-ins are the loadable modules of this kernel: entry points of the group `ring3.formats`, each a Format or a
callable that gives one, with an optional `priority`.
"""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from ring3.errors import EBUSY, EEXIST, ENOENT
from ring3.exec.formats.elf import ELF_LINUX32, ELF_LINUX64
from ring3.exec.formats.script import SCRIPT

if TYPE_CHECKING:
    from ring3.exec.package import ExecPackage
    from ring3.exec.plan import ImageFile
    from ring3.proc.proc import Thread
    from ring3.proc.system import System
    from ring3.protocols import Personality

GROUP: Final = "ring3.formats"


class Format(Protocol):
    """One kind of executable file.

    `header_size`: how many bytes of a file it looks at; `personality`: whose images it makes, None when it only
    rewrites the request.
    """

    @property
    def name(self) -> str: ...

    @property
    def header_size(self) -> int: ...

    @property
    def personality(self) -> str | None: ...

    def recognise(self, package: ExecPackage) -> bool:
        """Look at `package.header`.  Raises ENOEXEC for "not mine", another `Errno` to refuse; False: `package.image`
        is laid out;

        True: the package was rewritten and another file is to be looked at.
        """


class Priority(enum.Enum):
    """Where an entry goes among the others."""

    ANY = 0
    FIRST = 1
    LAST = 2


class Entry(NamedTuple):
    """A row of the switch."""

    format: Format
    priority: Priority = Priority.ANY


BUILTIN: Final[tuple[Entry, ...]] = (Entry(SCRIPT), Entry(ELF_LINUX64), Entry(ELF_LINUX32))

# Asked about every file of an exec, interpreters too, once it was found to be runnable; may raise (veriexec's place).
# The package's step is "lookup" for the file that was asked for, "script" or "interpreter" for one that came along.
ExecPolicy = Callable[["Thread", "ExecPackage", "ImageFile"], None]


def link(rows: list[Entry], entry: Entry) -> None:
    """The seed's rule of insertion (link_es): FIRST goes to the head, LAST to the end, ANY before the LAST ones.

    Its head rule: ANY never goes before the head, even where the head is itself a LAST one.
    """
    if not rows or entry.priority is Priority.LAST:
        rows.append(entry)
    elif entry.priority is Priority.FIRST:
        rows.insert(0, entry)
    else:
        at = 1
        while at < len(rows) and rows[at].priority is not Priority.LAST:
            at += 1
        rows.insert(at, entry)


class ExecSwitch:
    """The formats of one kernel.  `randomise`: whether layouts are random at all; `policies`: see `ExecPolicy`."""

    __slots__ = ("_added", "_builtin", "_readonly", "_system", "entries", "header_size", "policies", "randomise")

    def __init__(self, system: System, builtin: tuple[Entry, ...] = BUILTIN) -> None:
        self._system = system
        self._builtin = builtin
        self._added: list[Entry] = []                       # newest first
        self._readonly = frozenset(system.personalities)
        self.policies: tuple[ExecPolicy, ...] = ()
        self.randomise = True
        self.entries: tuple[Format, ...]
        self.header_size: int
        self._rebuild()

    def _rebuild(self) -> None:
        rows: list[Entry] = []
        for entry in (*self._builtin, *self._added):
            link(rows, entry)
        self.entries = tuple(entry.format for entry in rows)
        self.header_size = max((row.header_size for row in self.entries), default=0)

    def add(self, format: Format, priority: Priority = Priority.ANY) -> None:  # noqa: A002 - the field's word
        """One format more.  Raises ENOENT when its personality is not registered, EEXIST when it was added already."""
        if format.personality is not None and format.personality not in self._system.personalities:
            raise ENOENT(f"no personality {format.personality!r}")
        if any(entry.format is format for entry in self._added):
            raise EEXIST(f"format {format.name!r} is there already")
        self._added.insert(0, Entry(format, priority))
        self._rebuild()

    def remove(self, format: Format) -> None:  # noqa: A002 - the field's word
        """Forget a format that was added.  Raises ENOENT for any other, the built-in ones too."""
        for entry in self._added:
            if entry.format is format:
                self._added.remove(entry)
                self._rebuild()
                return
        raise ENOENT(f"format {format.name!r} was not added")

    def register_personality(self, personality: Personality) -> None:
        """Know one more personality.  Raises EEXIST for a name that is taken."""
        if personality.name in self._system.personalities:
            raise EEXIST(f"personality {personality.name!r} is there already")
        self._system.personalities[personality.name] = personality

    def unregister_personality(self, name: str) -> None:
        """Forget one.  Raises ENOENT for an unknown one, EBUSY for one the kernel started with or that a format or
        process uses.
        """
        system = self._system
        personality = system.personalities.get(name)
        if personality is None:
            raise ENOENT(f"no personality {name!r}")
        if name in self._readonly:
            raise EBUSY(f"personality {name!r} is built in")
        if any(row.personality == name for row in self.entries):
            raise EBUSY(f"a format uses personality {name!r}")
        if any(getattr(p, "personality", None) is personality for p in system.procs.values()):
            raise EBUSY(f"a process uses personality {name!r}")
        del system.personalities[name]


def new_switch(system: System) -> ExecSwitch:
    """The switch a kernel starts with: the built-in formats and those installed as plug-ins."""
    switch = ExecSwitch(system)
    if plugins_installed(sys.path):
        _add_plugins(switch)
    return switch


def plugins_installed(paths: list[str]) -> bool:
    """Whether any installed distribution names the group: a look at the small files that would say so, and no more."""
    for path in paths:
        try:
            names = os.listdir(path or ".")
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                try:
                    with open(f"{path or '.'}/{name}/entry_points.txt", "rb") as file:
                        if GROUP.encode() in file.read(1 << 16):
                            return True
                except OSError:
                    continue
    return False


def _add_plugins(switch: ExecSwitch) -> None:
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        found: Any = point.load()
        found = found() if isinstance(found, type) or not hasattr(found, "recognise") else found
        switch.add(found, getattr(found, "priority", Priority.ANY))
