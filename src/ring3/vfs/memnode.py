"""A file of a `MemoryFS` as far as it is any file: attributes, extended attributes, what it is charged.

Symbolic links, FIFOs, sockets and devices are nothing more.  Not here: the contents of regular files (`memdata.py`), names in
directories (`memory.py`).  Source: tmpfs(5), mm/shmem.c, xattr(7).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ring3.abi.flags import S_IFMT, FileType
from ring3.abi.records import Attr, AttrChange
from ring3.errors import E2BIG, EEXIST, EINVAL, EISDIR, ENODATA, ENOSPC, EOPNOTSUPP, EPERM
from ring3.vfs.vnode import Vnode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ring3.vfs.memory import MemoryFS

PAGE = 4096
XATTR_MAX = 65536               # XATTR_SIZE_MAX, xattr(7)
XATTR_NAMES = 256               # ours: names per file
XATTR_CREATE, XATTR_REPLACE = 1, 2


class MemVnode(Vnode):
    """One file in memory.  `text` is a link's target."""

    __slots__ = (
        "_charged", "atime", "btime", "ctime", "gid", "ino", "mode", "mtime", "nlink", "rdev", "text", "uid", "xattrs",
    )

    fs: MemoryFS

    def __init__(self, fs: MemoryFS, mode: int, uid: int, gid: int, rdev: int = 0, text: bytes = b"") -> None:
        super().__init__(fs, FileType(mode & S_IFMT))
        self._charged = 0
        self.nlink = 0
        self.xattrs: dict[bytes, bytes] | None = None
        fs.inode_made()
        self.ino = fs.next_ino()
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.rdev = rdev
        self.text = text
        self.atime = self.mtime = self.ctime = self.btime = time.time_ns()

    def __del__(self) -> None:
        if hasattr(self, "ino"):
            self.fs.inode_gone(self._charged)

    # --- attributes
    @property
    def size(self) -> int:
        return len(self.text)

    def pages(self) -> tuple[int, int]:
        """(size, blocks of 512 bytes) as stat tells them."""
        return self.size, 0

    def resize(self, size: int) -> None:
        """Set the size.  Raises EISDIR, EINVAL for what has none; EFBIG, ENOSPC."""
        raise EISDIR if self.type == FileType.DIR else EINVAL

    def getattr(self) -> Attr:
        size, blocks = self.pages()
        return Attr(
            self.fs.dev, self.ino, self.mode, self.nlink, self.uid, self.gid, self.rdev, size, PAGE, blocks, self.atime,
            self.mtime, self.ctime, self.btime,
        )

    def setattr(self, change: AttrChange) -> None:
        if change.size is not None:
            self.resize(change.size)
        if change.mode is not None:
            self.mode = self.mode & S_IFMT | change.mode & 0o7777
        if change.uid is not None:
            self.uid = change.uid
        if change.gid is not None:
            self.gid = change.gid
        if change.atime is not None:
            self.atime = change.atime
        if change.mtime is not None:
            self.mtime = change.mtime
        self.ctime = time.time_ns()

    @property
    def fileid(self) -> tuple[int, int]:
        return self.fs.dev, self.ino

    def touched(self) -> None:
        """The contents changed now."""
        self.mtime = self.ctime = time.time_ns()

    # --- extended attributes: user.* of files and directories, as xattr(7) has it
    def getxattr(self, name: bytes) -> bytes:
        if self.xattrs is None or name not in self.xattrs:
            raise ENODATA
        return self.xattrs[name]

    def listxattr(self) -> Sequence[bytes]:
        return tuple(self.xattrs or ())

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        if not name.startswith(b"user."):
            raise EOPNOTSUPP
        if self.type not in (FileType.REG, FileType.DIR):
            raise EPERM
        if len(value) > XATTR_MAX:
            raise E2BIG
        known = self.xattrs or {}
        if flags & XATTR_CREATE and name in known:
            raise EEXIST
        if flags & XATTR_REPLACE and name not in known:
            raise ENODATA
        if len(known) >= XATTR_NAMES and name not in known:
            raise ENOSPC
        self.fs.charge(len(value) - len(known.get(name, b"")))
        self._charged += len(value) - len(known.get(name, b""))
        self.xattrs = known
        known[name] = bytes(value)
        self.ctime = time.time_ns()

    def removexattr(self, name: bytes) -> None:
        value = self.getxattr(name)
        if self.xattrs is not None:
            del self.xattrs[name]
            self.fs.charge(-len(value))
            self._charged -= len(value)
        self.ctime = time.time_ns()

    # --- contents
    def readlink(self) -> bytes:
        if self.type != FileType.LNK:
            raise EINVAL
        return self.text

    # --- accounts
    def _charge(self, nbytes: int) -> None:
        """The file's pages amount to `nbytes` now, beside its extended attributes."""
        if self.xattrs:
            nbytes += sum(map(len, self.xattrs.values()))
        self.fs.used += nbytes - self._charged
        self._charged = nbytes
