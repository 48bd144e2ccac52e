"""The exec switch: which formats a kernel knows, in the order they are asked; and the registry of personalities.

One per kernel.  It starts from `BUILTIN`, grows and shrinks while running with the seed's errors (NetBSD: exec_add,
exec_remove, emul_register, emul_unregister); an exec in flight works on the tuple it started with.  Installed
plug-ins are the loadable modules of this kernel: entry points of the group `ring3.formats`, each a Format or a
callable that gives one, with an optional `priority`.  A kernel without loadable modules has its table and nothing else.

Nothing is locked, where the seed has exec_lock: a kernel has one thread, and `entries` is replaced, never changed.
"""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from ring3.errors import EBUSY, EEXIST, EINVAL, ENOENT, ENOSYS
from ring3.exec.formats.elf import ELF_LINUX32, ELF_LINUX64
from ring3.exec.formats.elf_netbsd import ELF_NETBSD32, ELF_NETBSD64
from ring3.exec.formats.marked import AOUT_NETBSD32, AOUT_NETBSD64, AOUT_NOMID, ELF_PROBES, FOREIGN
from ring3.exec.formats.script import SCRIPT
from ring3.exec.formats.serenity_row import ELF_SERENITY_ROW
from ring3.namedtuple import NamedTuple

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


BUILTIN: Final[tuple[Entry, ...]] = (
    Entry(SCRIPT), Entry(ELF_NETBSD64), Entry(ELF_NETBSD32), Entry(ELF_PROBES), Entry(ELF_SERENITY_ROW),
    Entry(ELF_LINUX64), Entry(ELF_LINUX32),
    Entry(AOUT_NETBSD32), Entry(AOUT_NETBSD64), Entry(AOUT_NOMID), *map(Entry, FOREIGN),
)

# Asked about every file of an exec, interpreters too, once it was found to be runnable; may raise (veriexec's place).
# The package's step is "lookup" for the file that was asked for, "script" or "interpreter" for one that came along.
ExecPolicy = Callable[["Thread", "ExecPackage", "ImageFile"], None]


def link(rows: list[Entry], entry: Entry) -> None:
    """The seed's rule of insertion (link_es): FIRST goes to the head, LAST to the end, ANY before the LAST ones.

    Its head rule: ANY never goes before the head, even where the head is itself a LAST one.  Raises EINVAL for what is
    no priority (the seed panics).
    """
    if entry.priority.__class__ is not Priority:
        raise EINVAL(f"format {entry.format.name!r} has an unknown priority: {entry.priority!r}")
    if not rows or entry.priority is Priority.LAST:
        rows.append(entry)
    elif entry.priority is Priority.FIRST:
        rows.insert(0, entry)
    else:
        at = 1
        while at < len(rows) and rows[at].priority is not Priority.LAST:
            at += 1
        rows.insert(at, entry)


def identity(row: Format) -> tuple[Any, Any, str | None]:
    """What makes two rows the same one (the seed's triple): who recognises, by which probe, for which personality."""
    return row.recognise, getattr(row, "probe", None), row.personality


class ExecSwitch:
    """The formats of one kernel.  `randomise`: whether layouts are random at all; `policies`: see `ExecPolicy`.

    `loadable`: whether it may grow and shrink.  Without, its order is the table's, whatever the priorities say.
    Raises ValueError for an empty table.
    """

    __slots__ = ("_added", "_builtin", "_readonly", "_system", "entries", "header_size", "loadable", "policies", "randomise")

    def __init__(self, system: System, builtin: tuple[Entry, ...] = BUILTIN, *, loadable: bool = True) -> None:
        if not builtin:
            raise ValueError("an exec switch without formats can run nothing")
        self._system = system
        self._builtin = builtin
        self.loadable = loadable
        self._added: list[Entry] = []                       # newest first
        self._readonly = frozenset(system.personalities)
        self.policies: tuple[ExecPolicy, ...] = ()
        self.randomise = True
        self.entries: tuple[Format, ...]
        self.header_size: int
        self._rebuild()

    def _rebuild(self) -> None:
        rows: list[Entry] = []
        if self.loadable:
            for entry in (*self._builtin, *self._added):
                link(rows, entry)
        else:
            rows.extend(self._builtin)
        self.entries = tuple(entry.format for entry in rows)
        self.header_size = max((row.header_size for row in self.entries), default=0)

    def add(self, format: Format, priority: Priority = Priority.ANY) -> None:  # noqa: A002 - the field's word
        """One format more.

        Raises ENOENT when its personality is not registered, EEXIST when it was added already (`identity`; the table is
        not asked), EINVAL for an unknown priority, ENOSYS without loadable modules.
        """
        self._may_change()
        if format.personality is not None and format.personality not in self._system.personalities:
            raise ENOENT(f"no personality {format.personality!r}")
        if any(identity(entry.format) == identity(format) for entry in self._added):
            raise EEXIST(f"format {format.name!r} is there already")
        entry = Entry(format, priority)
        link([], entry)                 # nothing is changed by an entry that cannot be placed
        self._added.insert(0, entry)
        self._rebuild()

    def remove(self, format: Format) -> None:  # noqa: A002 - the field's word
        """Forget a format that was added.  Raises ENOENT for any other, the built-in ones too; ENOSYS as `add`."""
        self._may_change()
        for entry in self._added:
            if identity(entry.format) == identity(format):
                self._added.remove(entry)
                self._rebuild()
                return
        raise ENOENT(f"format {format.name!r} was not added")

    def _may_change(self) -> None:
        if not self.loadable:
            raise ENOSYS("this kernel has no loadable modules")

    # --- personalities
    def search_personality(self, name: str) -> Personality | None:
        """The personality of that name; None without one."""
        return self._system.personalities.get(name)

    def register_personality(self, personality: Personality) -> None:
        """Know one more personality.  Raises EEXIST for a name that is taken, ENOSYS without loadable modules."""
        self._may_change()
        if personality.name in self._system.personalities:
            raise EEXIST(f"personality {personality.name!r} is there already")
        self._system.personalities[personality.name] = personality

    def unregister_personality(self, name: str) -> None:
        """Forget one.  Raises ENOENT for an unknown one, EBUSY for one the kernel started with or that a format or
        process uses, ENOSYS without loadable modules.
        """
        self._may_change()
        system = self._system
        if name not in system.personalities:
            raise ENOENT(f"no personality {name!r}")
        if name in self._readonly:
            raise EBUSY(f"personality {name!r} is built in")
        if any(row.personality == name for row in self.entries):
            raise EBUSY(f"a format uses personality {name!r}")
        personality = system.personalities[name]
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
        try:
            found: Any = point.load()
            found = found() if isinstance(found, type) or not hasattr(found, "recognise") else found
            switch.add(found, getattr(found, "priority", Priority.ANY))
        except Exception as error:  # noqa: BLE001 - somebody else's code must not keep a kernel from starting
            from warnings import warn

            why = f"{type(error).__name__}: {error}"
            warn(f"plug-in {point.name!r} ({point.value}) is left out: {why}", RuntimeWarning, stacklevel=2)
