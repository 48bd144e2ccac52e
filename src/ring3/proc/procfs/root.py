"""The top of /proc: facts of the kernel, a directory for each process, and who looks (self, thread-self)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ring3.abi.flags import S_IFMT, FileType
from ring3.abi.records import DirEntry
from ring3.errors import ENOENT
from ring3.proc.proc import ThreadState
from ring3.proc.procfs import kernelfacts
from ring3.proc.procfs.node import LinkNode, Node, ProcDir, TextNode, number_of

if TYPE_CHECKING:
    from ring3.proc.procfs.fs import ProcFS

Maker = Callable[["ProcFS", bytes], Node]


def _text(render: Callable[[ProcFS], bytes], mode: int = 0o444) -> Maker:
    return lambda fs, key: TextNode(fs, key, mode, lambda: render(fs))


def _link(target: bytes) -> Maker:
    return lambda fs, key: LinkNode(fs, key, lambda: target)


def _self(fs: ProcFS) -> bytes:
    t = fs.viewer
    if t is None:
        raise ENOENT
    return b"%d" % t.proc.pid


def _thread_self(fs: ProcFS) -> bytes:
    t = fs.viewer
    if t is None:
        raise ENOENT
    return b"%d/task/%d" % (t.proc.pid, t.tid)


def _settings(fs: ProcFS, key: bytes) -> Node:
    from ring3.proc.procfs.sysctl import SysctlDir  # late, as ProcessDir below: few programs look into /proc

    return SysctlDir(fs, key, b"")


_DIR, _REG, _LNK = FileType.DIR | 0o555, FileType.REG | 0o444, FileType.LNK | 0o777

_ENTRIES: dict[bytes, tuple[int, Maker]] = {
    b"cgroups": (_REG, _text(kernelfacts.cgroups)),
    b"cmdline": (_REG, _text(kernelfacts.cmdline)),
    b"cpuinfo": (_REG, _text(kernelfacts.cpuinfo)),
    b"crypto": (_REG, _text(kernelfacts.nothing)),
    b"devices": (_REG, _text(kernelfacts.devices)),
    b"diskstats": (_REG, _text(kernelfacts.nothing)),
    b"filesystems": (_REG, _text(kernelfacts.filesystems)),
    b"interrupts": (_REG, _text(kernelfacts.interrupts)),
    b"loadavg": (_REG, _text(kernelfacts.loadavg)),
    b"locks": (_REG, _text(kernelfacts.nothing)),
    b"meminfo": (_REG, _text(kernelfacts.meminfo)),
    b"modules": (_REG, _text(kernelfacts.nothing)),
    b"mounts": (_LNK, _link(b"self/mounts")),
    b"net": (_LNK, _link(b"self/net")),
    b"partitions": (_REG, _text(kernelfacts.partitions)),
    b"self": (_LNK, lambda fs, key: LinkNode(fs, key, lambda: _self(fs))),
    b"stat": (_REG, _text(kernelfacts.stat)),
    b"swaps": (_REG, _text(kernelfacts.swaps)),
    b"sys": (_DIR, _settings),
    b"thread-self": (_LNK, lambda fs, key: LinkNode(fs, key, lambda: _thread_self(fs))),
    b"uptime": (_REG, _text(kernelfacts.uptime)),
    b"version": (_REG, _text(kernelfacts.version)),
    b"vmstat": (_REG, _text(kernelfacts.vmstat)),
}


class ProcRoot(ProcDir):
    """/proc itself."""

    __slots__ = ()

    def __init__(self, fs: ProcFS) -> None:
        super().__init__(fs, b"", _DIR)

    @property
    def nlink(self) -> int:
        return 2 + sum(mode == _DIR for mode, _ in _ENTRIES.values()) + sum(map(self.fs.knows, self.fs.system.procs.values()))

    def lookup(self, name: bytes) -> Node:
        """A name of the table, or a process; a thread too, though it is not listed."""
        row = _ENTRIES.get(name)
        if row is not None:
            return self.fs.node(name, None, lambda: row[1](self.fs, name))
        number = number_of(name)
        if number is None:
            return self._own(name)
        from ring3.proc.procfs.process import ProcessDir
        from ring3.proc.procfs.status import Subject

        system = self.fs.system
        p = system.procs.get(number)
        if p is not None and self.fs.knows(p):
            subject = Subject(p, p.threads.get(p.pid), number, whole=True)
            return self.fs.node(name, p, lambda: ProcessDir(self.fs, name, subject))
        t = system.threads.get(number)
        if t is None or t.state is ThreadState.DEAD or not self.fs.knows(t.proc):
            raise ENOENT
        thread = Subject(t.proc, t, number, whole=True)
        return self.fs.node(name, t, lambda: ProcessDir(self.fs, name, thread))

    def _own(self, name: bytes) -> Node:
        """A name by which the viewer's system calls a process itself, beside `self`.  Raises ENOENT."""
        t = self.fs.viewer
        if t is None or name not in t.proc.personality.own_process:
            raise ENOENT
        return self.fs.node(name, None, lambda: LinkNode(self.fs, name, lambda: _self(self.fs)))

    def readdir(self) -> list[DirEntry]:
        entries = [self.entry(name, mode & S_IFMT) for name, (mode, _) in _ENTRIES.items()]
        procs = self.fs.system.procs
        entries += [self.entry(b"%d" % pid, FileType.DIR) for pid in sorted(procs) if self.fs.knows(procs[pid])]
        return entries

