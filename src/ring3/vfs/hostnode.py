"""One file of the host, known by where it was last found and by descriptor once that matters: attributes and contents.

Invariant: every host call goes by a descriptor, or names one component relative to a descriptor of its parent, which was opened
the same way (O_PATH | O_NOFOLLOW) from the root's.  A file is opened for data by its O_PATH descriptor, after fstat said that it is
the regular file that was looked up, so swapping names between the two changes nothing.

Not here: directories, and which vnode stands for which file (`hostdir.py`).  Needs /proc on the host.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from ring3.abi.flags import ACCMODE, S_IFMT, FileType, OpenFlags
from ring3.abi.records import Attr, AttrChange
from ring3.errors import EACCES, EINVAL, ENODEV, ENOENT, ENXIO, EOPNOTSUPP, EROFS, from_oserror
from ring3.vfs.vnode import Vnode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ring3.vfs.file import File
    from ring3.vfs.hostdir import HostDir, HostDirFS

_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
DATA = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC       # what every host file is opened for data with
_FRESH_NS = 100_000         # attributes seen by a look-up this short ago need no second stat
_BIG_READ = 1 << 20

_TYPES = {int(kind): kind for kind in FileType}


def attr_of(st: os.stat_result) -> Attr:
    """The record of a host stat."""
    return Attr(
        st.st_dev, st.st_ino, st.st_mode, st.st_nlink, st.st_uid, st.st_gid, st.st_rdev, st.st_size, st.st_blksize,
        st.st_blocks, st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns,
    )


class HostVnode(Vnode):
    """One file of the host, known by where it was last found, and by descriptor once that matters."""

    __slots__ = (
        "attr_seen", "key", "name", "parent", "pinned", "rfd", "sealed", "seen_ns", "wfd",
    )

    fs: HostDirFS

    def __init__(self, fs: HostDirFS, st: os.stat_result, parent: HostDir | None, name: bytes) -> None:
        super().__init__(fs, _TYPES[st.st_mode & S_IFMT])
        self.key = (st.st_dev, st.st_ino)
        self.sealed = False
        self.parent = parent
        self.name = name
        self.pinned = self.rfd = self.wfd = -1
        self.attr_seen: os.stat_result | None = None
        self.seen_ns = 0

    def __del__(self) -> None:
        self.fs.gone(self.key)
        self.drop()

    def drop(self) -> None:
        """Give the descriptors back."""
        for fd in {self.pinned, self.rfd, self.wfd}:
            if fd >= 0:
                os.close(fd)
        self.pinned = self.rfd = self.wfd = -1

    # --- descriptors
    def pin(self) -> int:
        """An O_PATH descriptor of exactly this file.  Raises ENOENT when another one has its place by now."""
        if self.pinned < 0:
            if self.parent is None:
                raise ENOENT
            try:
                fd = os.open(self.name, _PATH, dir_fd=self.parent.pin())
            except OSError as error:
                raise from_oserror(error) from None
            st = os.fstat(fd)
            if (st.st_dev, st.st_ino) != self.key or st.st_mode & S_IFMT != self.type:
                os.close(fd)
                raise ENOENT
            self.pinned = fd
        return self.pinned

    def hold(self) -> None:
        if self.rfd < 0 and self.wfd < 0:
            self.pin()

    @property
    def magic(self) -> str:
        """A host path that is this file, for calls that take no descriptor."""
        return f"/proc/self/fd/{self.any_fd()}"

    def any_fd(self) -> int:
        """Some descriptor of this file."""
        return self.rfd if self.rfd >= 0 else self.wfd if self.wfd >= 0 else self.pin()

    def _reopen(self, access: int) -> int:
        """Open for data what `pin` holds.  Raises EACCES, ENXIO for other than regular files, what the host's open
        does.
        """
        if self.type != FileType.REG:
            raise ENXIO
        if self.sealed:
            raise EACCES
        fd = os.open(f"/proc/self/fd/{self.pin()}", access | DATA)
        os.close(self.pinned)
        self.pinned = -1
        self.attr_seen = None
        return fd

    def keep(self, fd: int) -> None:
        """Own a descriptor that reads and writes this file."""
        self.rfd = self.wfd = fd
        self.attr_seen = None

    def read_fd(self) -> int:
        """A descriptor to read the contents with."""
        if self.rfd < 0:
            try:
                self.rfd = self._reopen(os.O_RDONLY)
            except OSError as error:
                raise from_oserror(error) from None
        return self.rfd

    def write_fd(self) -> int:
        """A descriptor to write the contents with; good for reading too where the host allows.  Raises EROFS."""
        self.check_writable()
        if self.wfd < 0:
            if self.pinned < 0 and self.rfd >= 0:       # the name may be gone: go by what is open
                self.pinned = os.open(f"/proc/self/fd/{self.rfd}", os.O_PATH | os.O_CLOEXEC)
            try:
                self.wfd = self._reopen(os.O_RDWR)
            except PermissionError:
                try:
                    self.wfd = self._reopen(os.O_WRONLY)
                except OSError as error:
                    raise from_oserror(error) from None
            except OSError as error:
                raise from_oserror(error) from None
        return self.wfd

    def check_writable(self) -> None:
        """Raises EROFS, EACCES where nothing may change; attributes seen are stale after."""
        self.attr_seen = None
        if self.fs.readonly:
            raise EROFS
        if self.sealed or self.key[0] in self.fs.windows:
            raise EACCES

    def host_fd(self, *, write: bool = False) -> int:
        if self.type != FileType.REG:
            raise ENODEV
        return self.write_fd() if write else self.read_fd()

    def open(self, flags: OpenFlags) -> File:
        if self.type == FileType.REG:
            mode = int(flags) & ACCMODE
            if mode:
                self.write_fd()
            if mode != OpenFlags.WRONLY:
                self.read_fd()
        return super().open(flags)

    # --- attributes
    def seen(self, st: os.stat_result) -> None:
        """A look-up just saw these attributes."""
        if self.rfd < 0 and self.wfd < 0:
            self.attr_seen = st
            self.seen_ns = time.monotonic_ns()

    def place(self, parent: HostDir, name: bytes) -> None:
        """Where it was found last."""
        self.parent = parent
        self.name = name

    def getattr(self) -> Attr:
        return attr_of(self.stat())

    def stat(self) -> os.stat_result:
        seen, self.attr_seen = self.attr_seen, None
        if seen is not None and time.monotonic_ns() - self.seen_ns < _FRESH_NS:
            return seen
        try:
            fd = self.rfd if self.rfd >= 0 else self.wfd if self.wfd >= 0 else self.pinned
            if fd >= 0:
                return os.fstat(fd)
            if self.parent is None:
                raise ENOENT
            st = os.stat(self.name, dir_fd=self.parent.pin(), follow_symlinks=False)
        except OSError as error:
            raise from_oserror(error) from None
        if (st.st_dev, st.st_ino) != self.key:
            raise ENOENT
        return st

    @property
    def fileid(self) -> tuple[int, int]:
        return self.key

    def setattr(self, change: AttrChange) -> None:
        self.check_writable()
        try:
            if change.size is not None:
                os.ftruncate(self.write_fd(), change.size)
            if change.uid is not None or change.gid is not None:
                uid, gid = (-1 if one is None else one for one in (change.uid, change.gid))
                os.chown(self.magic, uid, gid)
            if change.mode is not None:
                os.chmod(self.magic, change.mode)
            if change.atime is not None or change.mtime is not None:
                st = self.stat()
                atime = st.st_atime_ns if change.atime is None else change.atime
                mtime = st.st_mtime_ns if change.mtime is None else change.mtime
                os.utime(self.magic, ns=(atime, mtime))
        except OSError as error:
            raise from_oserror(error) from None

    def getxattr(self, name: bytes) -> bytes:
        try:
            return os.getxattr(self.magic, name)
        except OSError as error:
            raise from_oserror(error) from None

    def listxattr(self) -> Sequence[bytes]:
        try:
            return [os.fsencode(name) for name in os.listxattr(self.magic)]
        except OSError as error:
            raise from_oserror(error) from None

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        """user.* only: the others mean something to the host's kernel."""
        self.check_writable()
        if not name.startswith(b"user."):
            raise EOPNOTSUPP
        try:
            os.setxattr(self.magic, name, value, flags)
        except OSError as error:
            raise from_oserror(error) from None

    def removexattr(self, name: bytes) -> None:
        self.check_writable()
        if not name.startswith(b"user."):
            raise EOPNOTSUPP
        try:
            os.removexattr(self.magic, name)
        except OSError as error:
            raise from_oserror(error) from None

    # --- contents
    def readlink(self) -> bytes:
        if self.type != FileType.LNK:
            raise EINVAL
        try:
            if self.pinned < 0 and self.parent is not None:
                return os.readlink(self.name, dir_fd=self.parent.pin())
            return os.readlink(b"", dir_fd=self.pin())
        except OSError as error:
            raise from_oserror(error) from None

    def read(self, offset: int, nbytes: int) -> bytes:
        fd = self.read_fd()
        try:
            if nbytes > _BIG_READ:      # the host call allocates what was asked for, not what is there
                nbytes = min(nbytes, max(os.fstat(fd).st_size - offset, _BIG_READ))
            return os.pread(fd, nbytes, offset)
        except OSError as error:
            raise from_oserror(error) from None

    def write(self, offset: int, data: bytes) -> int:
        fd = self.write_fd()
        done = 0
        view = memoryview(data)
        try:
            while done < len(data):
                done += os.pwrite(fd, view[done:], offset + done)
        except OSError as error:
            if not done:
                raise from_oserror(error) from None
        return done

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Mode 0 only."""
        if mode:
            raise EOPNOTSUPP
        try:
            os.posix_fallocate(self.write_fd(), offset, length)
        except OSError as error:
            raise from_oserror(error) from None

    def seek_extent(self, offset: int, *, hole: bool) -> int:
        try:
            return os.lseek(self.any_fd(), offset, os.SEEK_HOLE if hole else os.SEEK_DATA)
        except OSError as error:
            raise from_oserror(error) from None

    def fsync(self) -> None:
        try:
            if self.wfd >= 0:
                os.fsync(self.wfd)
        except OSError as error:
            raise from_oserror(error) from None
