"""What /proc is made of: directories, texts, links; and the open file of a text.

A text is rendered when it is read at its beginning and stays as it was for the reads that go on from there, as a seq_file
does; reading at 0 again renders it anew.  Sizes are 0, whatever there is to read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ring3.abi.flags import S_IFMT, FileType, OpenFlags, RenameFlags, Whence
from ring3.abi.records import Attr, AttrChange, DirEntry
from ring3.errors import EINVAL, ENOENT, EPERM, ESRCH
from ring3.vfs.file import File, RegularFile
from ring3.vfs.vnode import Vnode

if TYPE_CHECKING:
    from ring3.proc.proc import Proc
    from ring3.proc.procfs.fs import ProcFS

WRITE_MAX = 4096        # bytes one write to a file of /proc may have: a page less than Linux allows anywhere


class Node(Vnode):
    """One file of /proc at path `key`.  `about` is what it speaks of; `owner` the process that owns it, None for root."""

    __slots__ = ("about", "key", "mode", "owner")

    fs: ProcFS

    def __init__(self, fs: ProcFS, key: bytes, mode: int, owner: Proc | None = None, about: object = None) -> None:
        super().__init__(fs, FileType(mode & S_IFMT))
        self.key = key
        self.mode = mode
        self.owner = owner
        self.about = owner if about is None else about

    @property
    def nlink(self) -> int:
        return 1

    @property
    def size(self) -> int:
        return 0

    def ids(self) -> tuple[int, int]:
        """Owner and group: the process's effective ids; root's when it may not be looked into, but for plain directories."""
        p = self.owner
        if p is None:
            return 0, 0
        if p.dumpable != 1 and self.mode != FileType.DIR | 0o555:
            return 0, 0
        return p.cred.euid, p.cred.egid

    def getattr(self) -> Attr:
        uid, gid = self.ids()
        when = self.fs.started_ns
        if self.owner is not None and self.owner.start_ns:
            when += max(self.owner.start_ns - self.fs.system.boot_ns, 0)
        return Attr(
            self.fs.dev, self.fs.ino(self.key), self.mode, self.nlink, uid, gid, 0, self.size, 1024, 0, when, when, when
        )

    def setattr(self, change: AttrChange) -> None:
        """Sizes and times may be set and stay as they are; everything else is EPERM."""
        if change.mode is not None or change.uid is not None or change.gid is not None:
            raise EPERM

    def alive(self) -> None:
        """Raises ESRCH once the process is gone, and for who may not know of it."""
        p = self.owner
        if p is not None and (p.system.procs.get(p.pid) is not p or not self.fs.knows(p)):
            raise ESRCH


class ProcDir(Node):
    """A directory: names can neither be made nor taken away."""

    __slots__ = ()
    takes_names = False

    def lookup(self, name: bytes) -> Vnode:
        raise ENOENT

    def readdir(self) -> list[DirEntry]:
        return []

    def entry(self, name: bytes, mode: int) -> DirEntry:
        """One row of `readdir`."""
        return DirEntry(self.fs.ino(self.path_of(name)), name, mode & S_IFMT)

    def path_of(self, name: bytes) -> bytes:
        """The key of `name` in this directory."""
        return self.key + b"/" + name if self.key else name

    def create(self, name: bytes, mode: int, uid: int, gid: int, rdev: int = 0) -> Vnode:
        raise ENOENT

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Vnode:
        raise ENOENT

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Vnode:
        raise ENOENT

    def link(self, name: bytes, vnode: Vnode) -> None:
        raise EPERM

    def unlink(self, name: bytes) -> None:
        raise EPERM

    def rmdir(self, name: bytes) -> None:
        raise EPERM

    def rename(self, name: bytes, target: Vnode, target_name: bytes, flags: RenameFlags) -> None:
        raise EPERM


class TextNode(Node):
    """A text.  `render` makes it; `store`, for those that can be written, takes what was written.

    `guarded`: opening it needs the right to look into the owner.  `seekable_end`: it knows SEEK_END (few do).
    """

    __slots__ = ("guarded", "render", "seekable_end", "store")

    def __init__(
        self,
        fs: ProcFS,
        key: bytes,
        mode: int,
        render: Callable[[], bytes],
        store: Callable[[bytes], None] | None = None,
        *,
        owner: Proc | None = None,
        about: object = None,
        guarded: bool = False,
        seekable_end: bool = False,
    ) -> None:
        super().__init__(fs, key, FileType.REG | mode, owner, about)
        self.render = render
        self.store = store
        self.guarded = guarded
        self.seekable_end = seekable_end

    def open(self, flags: OpenFlags) -> File:
        self.alive()
        if self.guarded and self.owner is not None:
            self.fs.check_trace(self.owner)
        return TextFile(self, flags)

    def text(self) -> bytes:
        """All of it, now.  Raises ESRCH when its process is gone."""
        self.alive()
        return self.render()

    def read(self, offset: int, nbytes: int) -> bytes:
        return self.text()[offset : offset + nbytes]

    def write(self, offset: int, data: bytes) -> int:
        self.alive()
        if self.store is None or len(data) > WRITE_MAX:
            raise EINVAL
        self.store(data)
        return len(data)


class TextFile(RegularFile):
    """An open text."""

    __slots__ = ("_shown", "node")

    def __init__(self, node: TextNode, flags: OpenFlags) -> None:
        super().__init__(node, flags)
        self.node = node
        self._shown: bytes | None = None

    def read(self, nbytes: int) -> bytes:
        data = self.pread(self.offset, nbytes)
        self.offset += len(data)
        return data

    def pread(self, offset: int, nbytes: int) -> bytes:
        self.check_readable()
        if offset < 0:
            raise EINVAL
        if offset == 0 or self._shown is None:
            self._shown = self.node.text()
        return self._shown[offset : offset + nbytes]

    def seek(self, offset: int, whence: Whence) -> int:
        if whence not in (Whence.SET, Whence.CUR) and not (self.node.seekable_end and whence == Whence.END):
            raise EINVAL
        return super().seek(offset, whence)


class LinkNode(Node):
    """A symbolic link whose text is computed."""

    __slots__ = ("_target",)

    def __init__(
        self, fs: ProcFS, key: bytes, target: Callable[[], bytes], *, owner: Proc | None = None, about: object = None
    ) -> None:
        super().__init__(fs, key, FileType.LNK | 0o777, owner, about)
        self._target = target

    def readlink(self) -> bytes:
        """Raises ENOENT where it leads nowhere."""
        self.alive()
        return self._target()


def number_of(name: bytes) -> int | None:
    """The number a name spells, without leading zeros or signs; None for other names.

    >>> number_of(b"12"), number_of(b"012"), number_of(b"x")
    (12, None, None)
    """
    if not name.isdigit() or len(name) > 10 or (name[:1] == b"0" and len(name) > 1):
        return None
    return int(name)
