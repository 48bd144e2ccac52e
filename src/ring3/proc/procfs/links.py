"""Magic links: names in /proc that lead to a file itself, whatever its path says: exe, cwd, root, fd/N, ns/KIND."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from ring3.abi.flags import ACCMODE, S_IFMT, FileType, OpenFlags
from ring3.abi.records import Attr, AttrChange, DirEntry
from ring3.errors import EACCES, EINVAL, ENOENT, ENXIO, EPERM, from_oserror
from ring3.proc.procfs.node import LinkNode, Node, ProcDir
from ring3.vfs.file import File, PathFile
from ring3.vfs.hoststream import HostStream
from ring3.vfs.pipe import PipeFile
from ring3.vfs.pty import PtySlave
from ring3.vfs.vnode import Vnode

if TYPE_CHECKING:
    from ring3.proc.proc import Proc
    from ring3.proc.procfs.fs import ProcFS
    from ring3.vfs.dentry import Dentry

_NAMESPACES = {
    b"cgroup": 4026531835, b"ipc": 4026531839, b"mnt": 4026531841, b"net": 4026531840, b"pid": 4026531836,
    b"pid_for_children": 4026531836, b"time": 4026531834, b"time_for_children": 4026531834, b"user": 4026531837,
    b"uts": 4026531838,
}


class MagicLink(LinkNode):
    """A link to the dentry that `find` gives; None where there is nothing (ENOENT).  Only who may trace may follow it."""

    __slots__ = ("_find",)

    def __init__(self, fs: ProcFS, key: bytes, p: Proc, about: object, find: Callable[[], Dentry | None]) -> None:
        super().__init__(fs, key, self._shown, owner=p, about=about)
        self._find = find

    def _shown(self) -> bytes:
        return self.fs.view(self.follow())

    def follow(self) -> Dentry:
        """Raises EACCES, ENOENT, ESRCH."""
        self.alive()
        assert self.owner is not None
        self.fs.check_trace(self.owner)
        found = self._find()
        if found is None:
            raise ENOENT
        return found


class DescriptorLink(LinkNode):
    """/proc/PID/fd/N.  The mode says how the file is open; a file without a name has its label as text."""

    __slots__ = ("fd",)

    def __init__(self, fs: ProcFS, key: bytes, p: Proc, about: object, fd: int) -> None:
        super().__init__(fs, key, self._shown, owner=p, about=about)
        self.fd = fd

    def _file(self) -> File:
        """The file behind the number now.  Raises EACCES, ENOENT."""
        p = self.owner
        assert p is not None
        self.fs.check_trace(p)
        file = p.fds.files.get(self.fd)
        if file is None or p.zombie:
            raise ENOENT
        return file

    @property
    def size(self) -> int:
        return 64

    def getattr(self) -> Attr:
        p = self.owner
        assert p is not None
        file = p.fds.files.get(self.fd)
        bits = link_bits(file) if file is not None else 0
        return super().getattr()._replace(mode=FileType.LNK | bits)

    def _shown(self) -> bytes:
        file = self._file()
        dentry = file.dentry
        return file.label if dentry is None or isinstance(dentry.vnode, StreamVnode) else self.fs.view(dentry)

    def follow(self) -> Dentry:
        """Raises EACCES, ENOENT, ESRCH."""
        self.alive()
        file = self._file()
        if file.dentry is not None:
            return file.dentry
        viewer = self.fs.viewer
        if viewer is not None and viewer.proc.veil is not None and viewer.proc is not self.owner:
            raise ENOENT("unveiled for who has it open")
        vnode = file.vnode if file.vnode is not None else StreamVnode(self.fs, file)
        return self.fs.nameless(vnode, file.label)


def link_bits(file: File) -> int:
    """Permission bits of a link in fd: r-x for what can be read, -wx for what can be written."""
    if isinstance(file, PathFile):
        return 0
    return (0o500, 0o300, 0o700, 0)[file.flags & ACCMODE]


class StreamVnode(Vnode):
    """What is behind a descriptor and has no vnode: a pipe, a stream of the host, a socket.

    Opening it opens the same thing anew: pipes with either end, the caller's own streams only as they were given, the rest
    not at all (ENXIO), as with Linux's sockets and anonymous inodes.
    """

    __slots__ = ("file",)

    fs: ProcFS

    def __init__(self, fs: ProcFS, file: File) -> None:
        try:
            kind = FileType(file.getattr().mode & S_IFMT)
        except ValueError:
            kind = FileType.REG         # anonymous inodes have no type
        super().__init__(fs, kind)
        self.file = file

    def getattr(self) -> Attr:
        return self.file.getattr()

    def setattr(self, change: AttrChange) -> None:
        """Truncation, of a regular file of the host that was given for writing.  Raises EPERM, EINVAL."""
        if change.size is None:
            raise EPERM
        file = self.file
        if not isinstance(file, HostStream) or not file.flags & ACCMODE or file.flags & OpenFlags.APPEND:
            raise EINVAL
        try:
            os.ftruncate(file.fd, change.size)
        except OSError as error:
            raise from_oserror(error) from error

    def open(self, flags: OpenFlags) -> File:
        file = self.file
        if isinstance(file, PipeFile):
            if flags & ACCMODE == ACCMODE:
                raise EINVAL
            return PipeFile(file.pipe, flags & (ACCMODE | OpenFlags.NONBLOCK | OpenFlags.DIRECT), None, file.attr)
        if isinstance(file, PtySlave):
            return PtySlave(file.pty, None, flags)
        if isinstance(file, HostStream):
            return self._reopen(file, flags)
        raise ENXIO

    def _reopen(self, file: HostStream, flags: OpenFlags) -> File:
        """A description of its own of what the caller gave, never with more access than was given.  Raises EACCES, ENXIO."""
        from ring3.proc.terminal import host_stream

        given, wanted = file.flags & ACCMODE, flags & ACCMODE
        if wanted == ACCMODE or given not in (OpenFlags.RDWR, wanted):
            raise EACCES
        if self.type == FileType.SOCK:
            raise ENXIO
        try:
            if self.type in (FileType.REG, FileType.FIFO):
                extra = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (file.flags & OpenFlags.APPEND)
                fd = os.open(b"/proc/self/fd/%d" % file.fd, wanted | extra)
            else:
                fd = os.dup(file.fd)
        except OSError as error:
            raise from_oserror(error) from error
        stream = host_stream(self.fs.system, fd)
        stream.flags |= flags & OpenFlags.NONBLOCK
        return stream


class NamespaceDir(ProcDir):
    """/proc/PID/ns: everybody is in the first namespace of each kind."""

    __slots__ = ()

    def __init__(self, fs: ProcFS, key: bytes, p: Proc, about: object) -> None:
        super().__init__(fs, key, FileType.DIR | 0o511, p, about)

    @property
    def nlink(self) -> int:
        return 2

    def lookup(self, name: bytes) -> Node:
        number = _NAMESPACES.get(name)
        if number is None:
            raise ENOENT
        key = self.path_of(name)
        return self.fs.node(key, self.about, lambda: NamespaceLink(self.fs, key, self, name, number))

    def readdir(self) -> list[DirEntry]:
        assert self.owner is not None
        self.fs.check_trace(self.owner)
        return [self.entry(name, FileType.LNK) for name in _NAMESPACES]


class NamespaceLink(LinkNode):
    """One namespace."""

    __slots__ = ("number",)

    def __init__(self, fs: ProcFS, key: bytes, directory: NamespaceDir, name: bytes, number: int) -> None:
        text = b"%s:[%d]" % (name.removesuffix(b"_for_children"), number)
        super().__init__(fs, key, lambda: text, owner=directory.owner, about=directory.about)
        self.number = number

    def readlink(self) -> bytes:
        assert self.owner is not None
        self.fs.check_trace(self.owner)
        return super().readlink()

    def follow(self) -> Dentry:
        text = self.readlink()
        return self.fs.nameless(NamespaceNode(self.fs, self.number), text)


class NamespaceNode(Node):
    """What a link in ns leads to: a file with nothing to read, whose inode number names the namespace."""

    __slots__ = ("number",)

    def __init__(self, fs: ProcFS, number: int) -> None:
        super().__init__(fs, b"ns", FileType.REG | 0o444)
        self.number = number

    def getattr(self) -> Attr:
        return super().getattr()._replace(ino=self.number)
