"""SerenityOS's /proc: a directory for each process, `self`, and what a process's directory holds.

Source: Process::ProcessProcFSTraits, ProcFSRootDirectory (names in their order).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ring3.abi.flags import S_IFMT, FileType
from ring3.abi.records import DirEntry
from ring3.errors import ENOENT, ENOEXEC, ESRCH
from ring3.personality.serenity.view import process
from ring3.personality.serenity.view.fs import OwnedDir, OwnedLink, OwnedText, SerenityProcFS
from ring3.proc.proc import Proc, ThreadState
from ring3.proc.procfs.node import LinkNode, Node, ProcDir, number_of

if TYPE_CHECKING:
    from ring3.vfs.vnode import Vnode

_DIR, _REG, _LNK = int(FileType.DIR), int(FileType.REG), int(FileType.LNK)
_Make = Callable[[SerenityProcFS, bytes, Proc], Node]


class Root(ProcDir):
    """/proc itself.  A name that is no number is ESRCH, a number that is nobody's ENOENT, as there."""

    __slots__ = ()

    fs: SerenityProcFS

    def __init__(self, fs: SerenityProcFS) -> None:
        super().__init__(fs, b"", FileType.DIR | 0o555)

    def _self(self) -> bytes:
        t = self.fs.viewer
        if t is None:
            raise ENOENT
        return b"%d" % t.proc.pid

    def lookup(self, name: bytes) -> Vnode:
        if name == b"self":
            return self.fs.node(name, None, lambda: LinkNode(self.fs, name, self._self))
        number = number_of(name)
        if number is None:
            raise ESRCH
        p = self.fs.system.procs.get(number)
        if p is None or not self.fs.knows(p):
            raise ENOENT
        return self.fs.node(name, p, lambda: ProcessDir(self.fs, name, p))

    def readdir(self) -> list[DirEntry]:
        procs = self.fs.system.procs
        known = [self.entry(b"%d" % pid, FileType.DIR) for pid in sorted(procs) if self.fs.knows(procs[pid])]
        return [self.entry(b"self", FileType.LNK), *known]


class ProcessDir(OwnedDir):
    """/proc/PID."""

    __slots__ = ()

    def lookup(self, name: bytes) -> Vnode:
        self.alive()
        row = _ROWS.get(name)
        if row is None:
            raise ENOENT
        p, key = self.owner, self.path_of(name)
        assert p is not None
        return self.fs.node(key, p, lambda: row[1](self.fs, key, p))

    def readdir(self) -> list[DirEntry]:
        """Raises ESRCH once the process is gone."""
        self.alive()
        return [self.entry(name, kind) for name, (kind, _) in _ROWS.items()]


class _Descriptors(OwnedDir):
    """fd: a link for each descriptor."""

    __slots__ = ()

    def lookup(self, name: bytes) -> Vnode:
        self.alive()
        p, fd, key = self.owner, number_of(name), self.path_of(name)
        if p is None or fd is None or fd not in process.files_of(p):
            raise ENOENT
        return self.fs.node(
            key, p, lambda: OwnedLink(self.fs, key, p, lambda: process.descriptor_path(self.fs, p, fd), private=True)
        )

    def readdir(self) -> list[DirEntry]:
        self.alive()
        assert self.owner is not None
        return [self.entry(b"%d" % fd, FileType.LNK) for fd in sorted(process.files_of(self.owner))]


class _Stacks(OwnedDir):
    """stacks: a text for each thread."""

    __slots__ = ()

    def lookup(self, name: bytes) -> Vnode:
        self.alive()
        p, tid, key = self.owner, number_of(name), self.path_of(name)
        t = p.threads.get(tid) if p is not None and tid is not None else None
        if p is None or t is None or t.state is ThreadState.DEAD:
            raise ENOENT
        return self.fs.node(key, p, lambda: OwnedText(self.fs, key, p, lambda: process.stack(p, t.tid)))

    def readdir(self) -> list[DirEntry]:
        self.alive()
        assert self.owner is not None
        return [self.entry(b"%d" % t.tid, FileType.REG) for t in self.owner.live_threads()]


class _Children(OwnedDir):
    """children: a link for each."""

    __slots__ = ()

    def _pids(self) -> list[int]:
        self.alive()
        assert self.owner is not None
        return sorted(child.pid for child in self.owner.children if self.fs.knows(child))

    def lookup(self, name: bytes) -> Vnode:
        p, key = self.owner, self.path_of(name)
        if p is None or number_of(name) not in self._pids():
            raise ENOENT
        return self.fs.node(key, p, lambda: OwnedLink(self.fs, key, p, lambda: b"/proc/" + name, private=True))

    def readdir(self) -> list[DirEntry]:
        return [self.entry(b"%d" % pid, FileType.LNK) for pid in self._pids()]


def _text(render: Callable[[SerenityProcFS, Proc], bytes]) -> tuple[int, _Make]:
    return _REG, lambda fs, key, p: OwnedText(fs, key, p, lambda: render(fs, p))


def _link(target: Callable[[SerenityProcFS, Proc], bytes]) -> tuple[int, _Make]:
    return _LNK, lambda fs, key, p: OwnedLink(fs, key, p, lambda: target(fs, p), private=False)


def _exe(fs: SerenityProcFS, p: Proc) -> bytes:
    if p.exe is None or p.zombie:
        raise ENOEXEC
    return fs.view(p.exe)


def _cwd(fs: SerenityProcFS, p: Proc) -> bytes:
    where = getattr(p, "fs", None)
    if where is None or p.zombie:
        raise ENOENT
    return fs.view(where.cwd)


_ROWS: Final[Mapping[bytes, tuple[int, _Make]]] = MappingProxyType({
    b"fd": (_DIR, _Descriptors),
    b"stacks": (_DIR, _Stacks),
    b"children": (_DIR, _Children),
    b"unveil": _text(process.unveil),
    b"pledge": _text(process.pledge),
    b"fds": _text(process.descriptors),
    b"exe": _link(_exe),
    b"cwd": _link(_cwd),
    b"perf_events": _text(process.perf_events),
    b"vm": _text(process.regions),
    b"cmdline": _text(process.command_line),
})
assert all(kind & S_IFMT == kind for kind, _ in _ROWS.values())
