"""SerenityOS's /sys: one table of rows, path to mode, text, whether a jail's inmates read it, and what writing it does.

What is not there: devices, buses, firmware, the log, profiles, switches to turn the machine off.
Source: SysFSGlobalKernelStatsDirectory and the directories below it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ring3.abi.flags import FileType
from ring3.abi.records import DirEntry
from ring3.errors import ENOENT
from ring3.namedtuple import NamedTuple
from ring3.personality.serenity.view import machine
from ring3.personality.serenity.view.fs import KernelText, SysFS
from ring3.personality.serenity.view.processes import processes
from ring3.proc.procfs.node import Node, ProcDir

if TYPE_CHECKING:
    from ring3.vfs.vnode import Vnode


class Row(NamedTuple):
    """One file."""

    render: Callable[[SysFS], bytes]
    jailed: bool = False
    mode: int = 0o444
    store: Callable[[SysFS, bytes], None] | None = None


def _coredump_directory(fs: SysFS) -> bytes:
    return fs.system.core_directory + b"\n"


def _set_coredump_directory(fs: SysFS, data: bytes) -> None:
    fs.system.core_directory = data.strip(b"\n")


_ROWS: Final[Mapping[bytes, Row]] = MappingProxyType({
    b"kernel/df": Row(machine.mounts, jailed=True),
    b"kernel/memstat": Row(machine.memstat, jailed=True),
    b"kernel/stats": Row(machine.stats, jailed=True),
    b"kernel/processes": Row(processes, jailed=True),
    b"kernel/cpuinfo": Row(machine.cpuinfo),
    b"kernel/interrupts": Row(machine.nothing),
    b"kernel/keymap": Row(machine.keymap),
    b"kernel/uptime": Row(machine.uptime, jailed=True),
    b"kernel/jails": Row(machine.jails, jailed=True),
    b"kernel/cmdline": Row(machine.command_line),
    b"kernel/system_mode": Row(machine.system_mode),
    b"kernel/net/adapters": Row(machine.nothing, jailed=True),
    b"kernel/net/arp": Row(machine.nothing, jailed=True),
    b"kernel/net/route": Row(machine.nothing, jailed=True),
    b"kernel/net/tcp": Row(machine.nothing, jailed=True),
    b"kernel/net/udp": Row(machine.nothing, jailed=True),
    b"kernel/variables/coredump_directory": Row(_coredump_directory, mode=0o644, store=_set_coredump_directory),
})


def new_root(fs: SysFS) -> Node:
    """/sys itself."""
    return _Directory(fs, b"", b"")


class _Directory(ProcDir):
    """What begins with a prefix."""

    __slots__ = ("prefix",)

    fs: SysFS

    def __init__(self, fs: SysFS, key: bytes, prefix: bytes) -> None:
        super().__init__(fs, key, FileType.DIR | 0o555)
        self.prefix = prefix

    def lookup(self, name: bytes) -> Vnode:
        path, key, fs = self.prefix + name, self.path_of(name), self.fs
        row = _ROWS.get(path)
        if row is not None:
            return fs.node(key, None, lambda: _text(fs, key, row))
        if any(known.startswith(path + b"/") for known in _ROWS):
            return fs.node(key, None, lambda: _Directory(fs, key, path + b"/"))
        raise ENOENT

    def readdir(self) -> list[DirEntry]:
        found: dict[bytes, int] = {}
        for path in _ROWS:
            if path.startswith(self.prefix):
                name, below, _ = path[len(self.prefix) :].partition(b"/")
                found[name] = FileType.DIR if below else FileType.REG
        return [self.entry(name, kind) for name, kind in found.items()]


def _text(fs: SysFS, key: bytes, row: Row) -> KernelText:
    store = row.store
    return KernelText(
        fs, key, row.mode, lambda: row.render(fs), None if store is None else lambda data: store(fs, data), jailed=row.jailed
    )
