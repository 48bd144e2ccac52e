"""A file system in memory (tmpfs): everything it holds dies with it.

A regular file is a bytearray while it is small and dense; it becomes a memfd, for good, when somebody maps it, when it
would have a hole of a page or more, or when it outgrows `INLINE_MAX`.  So a guest's `truncate -s 1T` costs a page
table, not memory. Invariant: `fs.used` counts the bytes of pages that hold data, and never passes `fs.limit` by a
write (ENOSPC); pages that guests touch through shared mappings are counted when the file is next looked at.

An unlinked file lives on while a vnode of it does.  Source: tmpfs(5), mm/shmem.c.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from ring3.abi.flags import S_IFMT, FileType, RenameFlags
from ring3.abi.records import Attr, AttrChange, DirEntry, StatFs
from ring3.errors import (
    E2BIG,
    EEXIST,
    EFBIG,
    EINVAL,
    EISDIR,
    EMLINK,
    ENODATA,
    ENODEV,
    ENOENT,
    ENOSPC,
    ENOTDIR,
    ENOTEMPTY,
    ENXIO,
    EOPNOTSUPP,
    EPERM,
    EXDEV,
    from_oserror,
)
from ring3.vfs.vnode import FileSystem, Vnode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ring3.vfs.vnode import Opener

PAGE = 4096
INLINE_MAX = 4 << 20            # a bytearray is never longer
MAX_SIZE = (1 << 63) - 1
MAX_LINKS = 0x7FFF_FFFF
XATTR_MAX = 65536               # XATTR_SIZE_MAX, xattr(7)
XATTR_NAMES = 256               # ours: names per file
XATTR_CREATE, XATTR_REPLACE = 1, 2
FALLOC_KEEP_SIZE = 1
DIRENT_SIZE = 20                # what tmpfs says a name costs (BOGO_DIRENT_SIZE)


def pages_of(nbytes: int) -> int:
    """Bytes of whole pages that hold `nbytes`."""
    return (nbytes + PAGE - 1) & ~(PAGE - 1)


class MemVnode(Vnode):
    """One file in memory.  `children` is a directory's names, `text` a link's target."""

    __slots__ = (
        "_charged", "_data", "_fd", "atime", "btime", "children", "ctime", "gid", "ino", "mode", "mtime", "nlink",
        "parent", "rdev", "text", "uid", "xattrs",
    )

    fs: MemoryFS

    def __init__(self, fs: MemoryFS, mode: int, uid: int, gid: int, rdev: int = 0, text: bytes = b"") -> None:
        super().__init__(fs, FileType(mode & S_IFMT))
        self._charged = 0
        self._data: bytearray | None = None
        self._fd = -1
        self.nlink = 0
        self.xattrs: dict[bytes, bytes] | None = None
        fs.inode_made()
        self.ino = fs.next_ino()
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.rdev = rdev
        self.text = text
        self.children: dict[bytes, MemVnode] = {}
        self.parent: MemVnode | None = None
        self.atime = self.mtime = self.ctime = self.btime = time.time_ns()
        if self.type == FileType.REG:
            self._data = bytearray()
        elif self.type == FileType.DIR:
            self.nlink = 2

    def __del__(self) -> None:
        if hasattr(self, "ino"):
            self.fs.inode_gone(self._charged)
        if self._fd >= 0:
            self.fs.close_pages(self._fd)

    # --- attributes
    @property
    def size(self) -> int:
        if self._data is not None:
            return len(self._data)
        if self._fd >= 0:
            return os.fstat(self._fd).st_size
        return 40 + DIRENT_SIZE * len(self.children) if self.type == FileType.DIR else len(self.text)

    def getattr(self) -> Attr:
        blocks = 0
        if self._fd >= 0:
            st = os.fstat(self._fd)
            size, blocks = st.st_size, st.st_blocks
            self._charge(blocks * 512)
        else:
            size = self.size
            if self._data is not None:
                blocks = pages_of(size) >> 9
        return Attr(
            self.fs.dev, self.ino, self.mode, self.nlink, self.uid, self.gid, self.rdev, size, PAGE, blocks, self.atime,
            self.mtime, self.ctime, self.btime,
        )

    def setattr(self, change: AttrChange) -> None:
        if change.size is not None:
            self._resize(change.size)
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

    # --- directories
    def lookup(self, name: bytes) -> MemVnode:
        found = self.children.get(name)
        if found is None:
            raise ENOENT if self.type == FileType.DIR else ENOTDIR
        return found

    def readdir(self) -> list[DirEntry]:
        """Newest first, as tmpfs lists."""
        if self.type != FileType.DIR:
            raise ENOTDIR
        names = [DirEntry(child.ino, name, child.type) for name, child in self.children.items()]
        names.reverse()
        return names

    def _check_new(self, name: bytes) -> None:
        if self.type != FileType.DIR:
            raise ENOTDIR
        if name in self.children:
            raise EEXIST
        if self.nlink == 0:
            raise ENOENT

    def enter(self, name: bytes, vnode: MemVnode) -> None:
        """Give `vnode` the free name `name` here."""
        self.children[name] = vnode
        if vnode.type == FileType.DIR:
            self.nlink += 1
            vnode.parent = self
        else:
            vnode.nlink += 1
        vnode.ctime = time.time_ns()
        self.touched()

    def leave(self, name: bytes) -> MemVnode:
        """Take the name `name` away; whose it was."""
        vnode = self.children.pop(name)
        if vnode.type == FileType.DIR:
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
        if self.type != FileType.DIR:
            raise ENOTDIR
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
        if vnode.type != FileType.DIR:
            raise ENOTDIR
        if vnode.children:
            raise ENOTEMPTY
        self.leave(name)
        vnode.nlink = 0

    def rename(self, name: bytes, target: Vnode, target_name: bytes, flags: RenameFlags) -> None:
        if not isinstance(target, MemVnode) or target.fs is not self.fs:
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
            if source.type == FileType.DIR and there.type != FileType.DIR:
                raise ENOTDIR
            if source.type != FileType.DIR and there.type == FileType.DIR:
                raise EISDIR
            if there.children:
                raise ENOTEMPTY
            target.leave(target_name)
            if there.type == FileType.DIR:
                there.nlink = 0
        elif target.nlink == 0:
            raise ENOENT
        self.leave(name)
        target.enter(target_name, source)
        if flags & RenameFlags.WHITEOUT:
            self.enter(name, self.fs.make(FileType.CHR, 0, 0))

    # --- contents
    def readlink(self) -> bytes:
        if self.type != FileType.LNK:
            raise EINVAL
        return self.text

    def read(self, offset: int, nbytes: int) -> bytes:
        self.atime = time.time_ns()
        if self._data is not None:
            with memoryview(self._data) as view:
                return bytes(view[offset : offset + nbytes])
        if self._fd < 0:
            raise EINVAL
        nbytes = min(nbytes, os.fstat(self._fd).st_size - offset)
        return os.pread(self._fd, nbytes, offset) if nbytes > 0 else b""

    def write(self, offset: int, data: bytes) -> int:
        """All of it, or as much as there is room for.  Raises ENOSPC for none, EFBIG."""
        end = offset + len(data)
        if end > MAX_SIZE:
            raise EFBIG
        if self._data is not None:
            if offset - len(self._data) < PAGE and end <= INLINE_MAX:
                return self._write_inline(offset, data)
            self._promote()
        if self._fd < 0:
            raise EINVAL
        room = self.fs.room()
        if pages_of(len(data)) + PAGE > room:
            data = data[: self._fits(offset, len(data), room)]
            if not data:
                raise ENOSPC
        done = 0
        view = memoryview(data)
        try:
            while done < len(data):
                done += os.pwrite(self._fd, view[done:], offset + done)
        except OSError as error:
            if not done:
                raise from_oserror(error) from None
        self._recount()
        self.touched()
        return done

    def _write_inline(self, offset: int, data: bytes) -> int:
        buffer = self._data
        assert buffer is not None
        size = len(buffer)
        end = offset + len(data)
        if end > size:
            grown = pages_of(end) - pages_of(size)
            if grown > self.fs.room():
                end = pages_of(size) + (self.fs.room() & ~(PAGE - 1))
                data = data[: max(end - offset, 0)]
                if not data:
                    raise ENOSPC
                end = offset + len(data)
            self._charge(pages_of(max(end, size)))
            if offset > size:
                buffer.extend(bytes(offset - size))
        buffer[offset : offset + len(data)] = data
        self.touched()
        return len(data)

    def _fits(self, offset: int, nbytes: int, room: int) -> int:
        """How many of `nbytes` at `offset` can be written when `room` bytes of new pages are left."""
        position, end = offset & ~(PAGE - 1), offset + nbytes
        size = os.fstat(self._fd).st_size
        while position < end:
            hole = end
            if position < size:
                data_at = self._next(position, size, os.SEEK_DATA)
                if data_at <= position:
                    position = pages_of(self._next(position, size, os.SEEK_HOLE))
                    continue
                hole = min(pages_of(data_at) if data_at < size else end, end)
            need = pages_of(hole) - position
            if need > room:
                return max(position + (room & ~(PAGE - 1)) - offset, 0)
            room -= need
            position += need
        return nbytes

    def _next(self, offset: int, size: int, whence: int) -> int:
        """The next data or hole of the memfd; its size where none follows."""
        try:
            return os.lseek(self._fd, offset, whence)
        except OSError:
            return size

    def _resize(self, size: int) -> None:
        if self.type != FileType.REG:
            raise EISDIR if self.type == FileType.DIR else EINVAL
        if not 0 <= size <= MAX_SIZE:
            raise EINVAL if size < 0 else EFBIG
        if self._data is not None:
            old = len(self._data)
            if size - old < PAGE and size <= INLINE_MAX:
                if pages_of(size) - pages_of(old) > self.fs.room():
                    raise ENOSPC
                if size > old:
                    self._data.extend(bytes(size - old))
                else:
                    del self._data[size:]
                self._charge(pages_of(size))
                self.touched()
                return
            self._promote()
        try:
            os.ftruncate(self._fd, size)
        except OSError as error:
            raise from_oserror(error) from None
        self._recount()
        self.touched()

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Mode 0 and FALLOC_FL_KEEP_SIZE reserve nothing but grow or check; the pages come when written.

        Punching holes writes zeros into what there is.  Raises EOPNOTSUPP for the others, ENOSPC.
        """
        if self.type != FileType.REG:
            raise ENODEV
        if offset < 0 or length <= 0:
            raise EINVAL
        if offset + length > MAX_SIZE:
            raise EFBIG
        if mode & ~3 or mode == 2:
            raise EOPNOTSUPP
        if mode & 2:
            self._punch(offset, min(offset + length, self.size))
            return
        if length > self.fs.room() and offset + length > self.size:
            raise ENOSPC
        if not mode & FALLOC_KEEP_SIZE and offset + length > self.size:
            self._resize(offset + length)

    def _punch(self, start: int, end: int) -> None:
        """Zeros from `start` to `end`, within the file; a page at a time where a page holds data."""
        while start < end:
            stop = min(end, start + (1 << 20))
            if self._data is not None:
                self._data[start:stop] = bytes(stop - start)
            else:
                start = self._next(start, end, os.SEEK_DATA)
                stop = min(end, self._next(start, end, os.SEEK_HOLE), start + (1 << 20))
                if start < stop:
                    os.pwrite(self._fd, bytes(stop - start), start)
            start = stop
        self.touched()

    def seek_extent(self, offset: int, *, hole: bool) -> int:
        if self._fd < 0:
            return super().seek_extent(offset, hole=hole)
        if offset < 0:
            raise ENXIO
        try:
            return os.lseek(self._fd, offset, os.SEEK_HOLE if hole else os.SEEK_DATA)
        except OSError as error:
            raise from_oserror(error) from None

    def host_fd(self, *, write: bool = False) -> int:  # noqa: ARG002 - the same pages either way
        if self.type != FileType.REG:
            raise ENODEV
        if self._fd < 0:
            self._promote()
        return self._fd

    def _promote(self) -> None:
        """Become a memfd.  Raises ENFILE and the like when the host has none left."""
        data = self._data
        if data is None:
            return
        try:
            fd = os.memfd_create("ring3", os.MFD_CLOEXEC)
        except OSError as error:
            raise from_oserror(error) from None
        done = 0
        try:
            with memoryview(data) as view:
                while done < len(data):
                    done += os.pwrite(fd, view[done:], done)
        except OSError as error:
            os.close(fd)
            raise from_oserror(error) from None
        self._fd, self._data = fd, None
        self.fs.pages.add(fd)

    def copy_from(self, fd: int, size: int) -> None:
        """Become a copy of the first `size` bytes of the host file `fd`, holes and all.  Raises ENOSPC before it
        begins.
        """
        if min(os.fstat(fd).st_blocks * 512, pages_of(size)) > self.fs.room():
            raise ENOSPC
        self._promote()
        try:
            os.ftruncate(self._fd, size)
            start = 0
            while start < size:
                start = os.lseek(fd, start, os.SEEK_DATA)
                end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
                os.lseek(self._fd, start, os.SEEK_SET)
                while start < end:
                    count = os.sendfile(self._fd, fd, start, min(end - start, 1 << 30))
                    if count == 0:
                        return      # it shrank meanwhile
                    start += count
        except OSError as error:
            if error.errno != errno.ENXIO:      # no data behind the last hole
                raise from_oserror(error) from None
        finally:
            self._recount()

    # --- accounts
    def _charge(self, nbytes: int) -> None:
        """The file's pages amount to `nbytes` now, beside its extended attributes."""
        if self.xattrs:
            nbytes += sum(map(len, self.xattrs.values()))
        self.fs.used += nbytes - self._charged
        self._charged = nbytes

    def _recount(self) -> None:
        self._charge(os.fstat(self._fd).st_blocks * 512)


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
        self._root = self.make(FileType.DIR | mode & 0o7777, uid, gid)

    def root(self) -> MemVnode:
        return self._root

    def make(self, mode: int, uid: int, gid: int, rdev: int = 0, text: bytes = b"") -> MemVnode:
        """A file without a name.  Raises ENOSPC."""
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
