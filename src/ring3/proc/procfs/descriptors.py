"""/proc/PID/fd and fdinfo: a name for each descriptor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.abi.flags import FileType, OpenFlags
from ring3.abi.records import DirEntry
from ring3.errors import ENOENT
from ring3.proc.procfs.links import DescriptorLink
from ring3.proc.procfs.node import Node, ProcDir, TextNode, number_of

if TYPE_CHECKING:
    from ring3.proc.proc import Proc
    from ring3.proc.procfs.fs import ProcFS
    from ring3.vfs.file import File

_INFO = 0o555           # the mode of fdinfo; fd has 0500


class DescriptorDir(ProcDir):
    """fd (mode 0500, links) or fdinfo (mode 0555, texts)."""

    __slots__ = ()

    def __init__(self, fs: ProcFS, key: bytes, p: Proc, about: object, mode: int) -> None:
        super().__init__(fs, key, FileType.DIR | mode, p, about)

    @property
    def nlink(self) -> int:
        return 2

    @property
    def _is_info(self) -> bool:
        return self.mode & 0o777 == _INFO

    def ids(self) -> tuple[int, int]:
        """A process may always list its own (proc_fd_permission), whoever the directory belongs to."""
        t = self.fs.viewer
        p = self.owner
        if p is not None and t is not None and t.proc is p:
            return p.cred.fsuid, p.cred.fsgid
        return super().ids()

    def _files(self) -> dict[int, File]:
        """Raises EACCES for who may not look."""
        p = self.owner
        assert p is not None
        self.fs.check_trace(p)
        fds = getattr(p, "fds", None)
        return fds.files if fds is not None and not p.zombie else {}

    def lookup(self, name: bytes) -> Node:
        self.alive()
        fd = number_of(name)
        if fd is None or fd not in self._files():
            raise ENOENT
        key, p = self.path_of(name), self.owner
        assert p is not None
        if not self._is_info:
            return self.fs.node(key, self.about, lambda: DescriptorLink(self.fs, key, p, self.about, fd))
        return self.fs.node(key, self.about, lambda: TextNode(
            self.fs, key, 0o444, lambda: _info(p, fd), owner=p, about=self.about, guarded=True
        ))

    def readdir(self) -> list[DirEntry]:
        kind = FileType.REG if self._is_info else FileType.LNK
        return [self.entry(b"%d" % fd, kind) for fd in sorted(self._files())]


def _info(p: Proc, fd: int) -> bytes:
    """proc_pid_fdinfo(5).  Raises ENOENT when the descriptor was closed."""
    file = p.fds.files.get(fd)
    if file is None:
        raise ENOENT
    flags = file.flags | (OpenFlags.CLOEXEC if fd in p.fds.cloexec else 0)
    mount = file.dentry.mount.mount_id if file.dentry is not None else 15
    return b"pos:\t%d\nflags:\t0%o\nmnt_id:\t%d\nino:\t%d\n" % (file.offset, flags, mount, file.getattr().ino)
