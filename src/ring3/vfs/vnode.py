"""A vnode: one file of one file system, whatever it is.

Every operation a file system does not have answers with the error Linux gives there, so that a file system overrides
just what it is about.  Vnodes know no paths (see `dentry.py`) and check no permissions (see `namei.py`); they never
sleep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ring3.abi.flags import S_IFMT, FileType, OpenFlags, RenameFlags
from ring3.abi.records import Attr, AttrChange, DirEntry, StatFs
from ring3.errors import EINVAL, ELOOP, ENODATA, ENODEV, ENOTDIR, ENXIO, EOPNOTSUPP, EPERM
from ring3.vfs.file import DirFile, File, RegularFile

if TYPE_CHECKING:
    from ring3.vfs.dentry import Dentry


class Vnode:
    """One file.  `fs` is the file system it belongs to; `type` never changes."""

    __slots__ = ("__weakref__", "denied_writers", "fs", "type", "writers")
    takes_names = True              # a directory of False answers a new name with ENOENT whoever asks, as those of /proc do

    def __init__(self, fs: FileSystem, type: FileType) -> None:  # noqa: A002 - as st_mode's S_IFMT is called
        self.fs = fs
        self.type = type
        self.writers = 0            # open descriptions that may write: an exec of it is ETXTBSY
        self.denied_writers = 0     # running images: opening it for writing is ETXTBSY

    # --- attributes
    def getattr(self) -> Attr:
        """What stat(2) tells."""
        raise NotImplementedError

    def setattr(self, change: AttrChange) -> None:
        """Change mode, owner, size or times.  Raises EROFS, EPERM, EFBIG."""
        raise EPERM

    def getxattr(self, name: bytes) -> bytes:
        """An extended attribute.  Raises ENODATA."""
        raise ENODATA

    def listxattr(self) -> Sequence[bytes]:
        return ()

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        raise EOPNOTSUPP

    def removexattr(self, name: bytes) -> None:
        raise EOPNOTSUPP

    # --- directories
    def lookup(self, name: bytes) -> Vnode:
        """The file called `name` (never "." or "..").  Raises ENOENT, ENOTDIR."""
        raise ENOTDIR

    def readdir(self) -> list[DirEntry]:
        """Its names, without "." and "..".  Raises ENOTDIR."""
        raise ENOTDIR

    def create(self, name: bytes, mode: int, uid: int, gid: int, rdev: int = 0) -> Vnode:
        """Make a file of the type in `mode` (regular, FIFO, socket, device).  Raises EEXIST, EROFS, EPERM."""
        raise ENOTDIR

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Vnode:
        raise ENOTDIR

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Vnode:
        raise ENOTDIR

    def link(self, name: bytes, vnode: Vnode) -> None:
        """Give `vnode` (of the same file system) one more name.  Raises EXDEV, EEXIST, EMLINK, EPERM."""
        raise ENOTDIR

    def unlink(self, name: bytes) -> None:
        """Take a name of a non-directory away.  Raises ENOENT, EISDIR."""
        raise ENOTDIR

    def rmdir(self, name: bytes) -> None:
        """Remove an empty directory.  Raises ENOENT, ENOTDIR, ENOTEMPTY."""
        raise ENOTDIR

    def rename(self, name: bytes, target: Vnode, target_name: bytes, flags: RenameFlags) -> None:
        """Move a name of this directory into directory `target` of the same file system.

        Raises ENOENT, EEXIST, ENOTEMPTY, EISDIR, ENOTDIR, EXDEV.  Loops (EINVAL) are namei's affair.
        """
        raise ENOTDIR

    def tmpfile(self, mode: int, uid: int, gid: int) -> Vnode:
        """A nameless regular file (O_TMPFILE)."""
        raise EOPNOTSUPP

    # --- contents
    def readlink(self) -> bytes:
        """Where a symbolic link leads.  Raises EINVAL for other files."""
        raise EINVAL

    def follow(self) -> Dentry | None:
        """Where a magic link (/proc/PID/fd/N …) leads without any path; None for ordinary links."""
        return None

    def read(self, offset: int, nbytes: int) -> bytes:
        """Bytes from `offset`; empty at the end."""
        raise EINVAL

    def write(self, offset: int, data: bytes) -> int:
        """Write all of `data` at `offset`, growing the file.  Raises EROFS, EFBIG, ENOSPC."""
        raise EINVAL

    def truncate(self, size: int) -> None:
        self.setattr(AttrChange(size=size))

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Reserve or release room; `mode` in Linux's numbers."""
        raise EOPNOTSUPP

    def seek_extent(self, offset: int, *, hole: bool) -> int:
        """The first data, or with `hole` the first hole, from `offset` on; the end counts as a hole.  Raises ENXIO
        from the end on.
        """
        size = self.getattr().size
        if not 0 <= offset < size:
            raise ENXIO
        return size if hole else offset

    def fsync(self) -> None:
        """Reach the disk, where there is one."""

    def host_fd(self, *, write: bool = False) -> int:
        """A descriptor of the kernel process whose pages are this file's, for mapping; it stays the vnode's.

        With `write`, writes through it are writes to the file (an overlay copies up first).  Raises ENODEV where there
        is none.
        """
        raise ENODEV

    def open(self, flags: OpenFlags) -> File:
        """A new open file description.  Truncation and permissions are done by then.

        A FIFO without its other side comes back half open: see `File.finish_open`.
        """
        if self.type == FileType.REG:
            return RegularFile(self, flags)
        if self.type == FileType.DIR:
            return DirFile(self, flags)
        if self.type == FileType.FIFO:
            from ring3.vfs.pipe import open_fifo

            return open_fifo(self, flags)
        if self.type == FileType.CHR:
            opener = self.fs.devices.get(self.getattr().rdev)
            if opener is not None:
                return opener(self, flags)
        raise ELOOP if self.type == FileType.LNK else ENXIO

    def hold(self) -> None:
        """Somebody keeps the vnode beyond its name (an O_PATH description).  Raises ENOENT when it is gone already."""

    @property
    def fileid(self) -> tuple[int, int]:
        """(device, inode): the same for two vnodes exactly when they are one file."""
        attr = self.getattr()
        return attr.dev, attr.ino

    @property
    def is_dir(self) -> bool:
        return self.type == FileType.DIR


Opener = Callable[[Vnode, OpenFlags], File]


class FileSystem:
    """What the vnodes of one mount share."""

    name = b"none"                 # /proc/mounts third column
    source = b"none"               # /proc/mounts first column
    readonly = False               # nothing in it can change, whatever the mount says
    dev = 0                        # st_dev of its own making; 0 until a mount table gives one
    devices: Mapping[int, Opener] = MappingProxyType({})    # what opening a character device with that number gives
    fifos: MutableMapping[tuple[int, int], Any] | None = None   # pipes of open FIFOs, weak, by file (pipe.py)

    def root(self) -> Vnode:
        """The top directory."""
        raise NotImplementedError

    def statfs(self) -> StatFs:
        """Sizes and limits of the file system."""
        return StatFs(0x01021994, 4096, 0, 0, 0, 0, 0, 0, 255, 4096, 0)

    def close(self) -> None:
        """Give host descriptors back."""


def type_of(mode: int) -> FileType:
    """The type in a mode.  Raises EINVAL for bits that are none.

    >>> type_of(0o100644).name
    'REG'
    """
    try:
        return FileType(mode & S_IFMT)
    except ValueError:
        raise EINVAL from None
