"""A file system in memory (tmpfs): everything it holds dies with it.

Invariant: `fs.used` counts the bytes of pages that hold data, and never passes `fs.limit` by a write (ENOSPC).  An unlinked file
lives on while a vnode of it does.

Here are directories and the account of the whole; what is true of any file is in `memnode.py`, the contents of regular files in
`memdata.py`.  Source: tmpfs(5), mm/shmem.c.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from ring3.abi.flags import S_IFMT, FileType, RenameFlags
from ring3.abi.records import DirEntry, StatFs
from ring3.errors import EEXIST, EISDIR, EMLINK, ENOENT, ENOSPC, ENOTDIR, ENOTEMPTY, EPERM, EXDEV
from ring3.vfs.memdata import MemRegular
from ring3.vfs.memnode import PAGE, MemVnode
from ring3.vfs.vnode import FileSystem, Vnode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ring3.vfs.vnode import Opener

MAX_LINKS = 0x7FFF_FFFF
DIRENT_SIZE = 20                # what tmpfs says a name costs (BOGO_DIRENT_SIZE)


class MemDir(MemVnode):
    """A directory in memory.  `parent` is None for the root, and for one that lies nowhere."""

    __slots__ = ("children", "parent")

    def __init__(self, fs: MemoryFS, mode: int, uid: int, gid: int) -> None:
        super().__init__(fs, mode, uid, gid)
        self.children: dict[bytes, MemVnode] = {}
        self.parent: MemDir | None = None
        self.nlink = 2

    @property
    def size(self) -> int:
        return 40 + DIRENT_SIZE * len(self.children)

    def lookup(self, name: bytes) -> MemVnode:
        found = self.children.get(name)
        if found is None:
            raise ENOENT
        return found

    def readdir(self) -> list[DirEntry]:
        """Newest first, as tmpfs lists."""
        names = [DirEntry(child.ino, name, child.type) for name, child in self.children.items()]
        names.reverse()
        return names

    def _check_new(self, name: bytes) -> None:
        if name in self.children:
            raise EEXIST
        if self.nlink == 0:
            raise ENOENT

    def enter(self, name: bytes, vnode: MemVnode) -> None:
        """Give `vnode` the free name `name` here."""
        self.children[name] = vnode
        if isinstance(vnode, MemDir):
            self.nlink += 1
            vnode.parent = self
        else:
            vnode.nlink += 1
        vnode.ctime = time.time_ns()
        self.touched()

    def leave(self, name: bytes) -> MemVnode:
        """Take the name `name` away; whose it was."""
        vnode = self.children.pop(name)
        if isinstance(vnode, MemDir):
            self.nlink -= 1
            vnode.parent = None
        else:
            vnode.nlink -= 1
        vnode.ctime = time.time_ns()
        self.touched()
        return vnode

    def _add(self, name: bytes, mode: int, uid: int, gid: int, rdev: int = 0, text: bytes = b"") -> MemVnode:
        self._check_new(name)
        vnode = self.fs.make(mode, uid, gid, rdev, text)
        self.enter(name, vnode)
        return vnode

    def create(self, name: bytes, mode: int, uid: int, gid: int, rdev: int = 0) -> MemVnode:
        return self._add(name, mode, uid, gid, rdev)

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> MemVnode:
        return self._add(name, FileType.DIR | mode & 0o7777, uid, gid)

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> MemVnode:
        return self._add(name, FileType.LNK | 0o777, uid, gid, 0, bytes(target))

    def tmpfile(self, mode: int, uid: int, gid: int) -> MemVnode:
        return self.fs.make(FileType.REG | mode & 0o7777, uid, gid)

    def link(self, name: bytes, vnode: Vnode) -> None:
        if not isinstance(vnode, MemVnode) or vnode.fs is not self.fs:
            raise EXDEV
        if vnode.type == FileType.DIR:
            raise EPERM
        if vnode.nlink >= MAX_LINKS:
            raise EMLINK
        self._check_new(name)
        self.enter(name, vnode)

    def unlink(self, name: bytes) -> None:
        if self.lookup(name).type == FileType.DIR:
            raise EISDIR
        self.leave(name)

    def rmdir(self, name: bytes) -> None:
        vnode = self.lookup(name)
        if not isinstance(vnode, MemDir):
            raise ENOTDIR
        if vnode.children:
            raise ENOTEMPTY
        self.leave(name)
        vnode.nlink = 0

    def rename(self, name: bytes, target: Vnode, target_name: bytes, flags: RenameFlags) -> None:
        if not isinstance(target, MemDir) or target.fs is not self.fs:
            raise EXDEV
        source, there = self.lookup(name), target.children.get(target_name)
        if flags & RenameFlags.EXCHANGE:
            if there is None:
                raise ENOENT
            self.leave(name)
            target.leave(target_name)
            self.enter(name, there)
            target.enter(target_name, source)
            return
        if there is not None:
            if flags & RenameFlags.NOREPLACE:
                raise EEXIST
            if there is source:
                return
            if isinstance(there, MemDir):
                if source.type != FileType.DIR:
                    raise EISDIR
                if there.children:
                    raise ENOTEMPTY
            elif source.type == FileType.DIR:
                raise ENOTDIR
            target.leave(target_name)
            if isinstance(there, MemDir):
                there.nlink = 0
        elif target.nlink == 0:
            raise ENOENT
        self.leave(name)
        target.enter(target_name, source)
        if flags & RenameFlags.WHITEOUT:
            self.enter(name, self.fs.make(FileType.CHR, 0, 0))


class MemoryFS(FileSystem):
    """A tmpfs: `limit` bytes of data (half of the host's memory without), `max_files` files.

    >>> MemoryFS(limit=4096).root().create(b"a", 0o100644, 0, 0).write(0, b"x" * 5000)
    4096
    """

    name = b"tmpfs"
    source = b"tmpfs"

    def __init__(
        self,
        *,
        limit: int | None = None,
        max_files: int = 1 << 20,
        mode: int = 0o1777,
        uid: int = 0,
        gid: int = 0,
        dev: int = 0,
        devices: Mapping[int, Opener] | None = None,
        first_ino: int = 1,
    ) -> None:
        self.limit = os.sysconf("SC_PHYS_PAGES") * PAGE // 2 if limit is None else limit
        self.max_files = max_files
        self.dev = dev
        if devices is not None:
            self.devices = devices
        self.used = 0
        self.files = 0
        self.pages: set[int] = set()        # host descriptors of its files' pages
        self._ino = first_ino - 1
        self._root = MemDir(self, FileType.DIR | mode & 0o7777, uid, gid)

    def root(self) -> MemDir:
        return self._root

    def make(self, mode: int, uid: int, gid: int, rdev: int = 0, text: bytes = b"") -> MemVnode:
        """A file without a name.  Raises ENOSPC."""
        kind = mode & S_IFMT
        if kind == FileType.REG:
            return MemRegular(self, mode, uid, gid)
        if kind == FileType.DIR:
            return MemDir(self, mode, uid, gid)
        return MemVnode(self, mode, uid, gid, rdev, text)

    def next_ino(self) -> int:
        self._ino += 1
        return self._ino

    def inode_made(self) -> None:
        if self.files >= self.max_files:
            raise ENOSPC
        self.files += 1

    def inode_gone(self, charged: int) -> None:
        self.files -= 1
        self.used -= charged

    def close_pages(self, fd: int) -> None:
        """A file's pages go, unless the whole file system went before."""
        if fd in self.pages:
            self.pages.remove(fd)
            os.close(fd)

    def close(self) -> None:
        for fd in tuple(self.pages):
            self.close_pages(fd)

    def room(self) -> int:
        """Bytes of pages left."""
        return max(self.limit - self.used, 0)

    def charge(self, nbytes: int) -> None:
        """Raises ENOSPC when `nbytes` more are too many."""
        if nbytes > self.room():
            raise ENOSPC
        self.used += nbytes

    def statfs(self) -> StatFs:
        free = self.room() // PAGE
        return StatFs(
            0x01021994, PAGE, self.limit // PAGE, free, free, self.max_files, self.max_files - self.files, self.dev,
            255, PAGE, 0
        )
