"""Neutral records: what the kernel's parts hand each other where a system has a struct.

A personality's `Layout`s encode them for its guests.  Times are integers of nanoseconds, sizes of bytes, unless a name says
otherwise.
"""

from __future__ import annotations

from ring3.namedtuple import NamedTuple


class Attr(NamedTuple):
    """What stat(2) tells.  `mode` holds the type bits too; `blocks` counts 512 bytes; times in ns since the epoch."""

    dev: int
    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    blksize: int
    blocks: int
    atime: int
    mtime: int
    ctime: int
    btime: int = 0


class AttrChange(NamedTuple):
    """What setattr changes; None leaves a field as it is.  `mode` is permission bits only; times in ns."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime: int | None = None
    mtime: int | None = None


class DirEntry(NamedTuple):
    """One name in a directory.  `type` is the type bits of a mode (`FileType`)."""

    ino: int
    name: bytes
    type: int


class StatFs(NamedTuple):
    """statfs(2): sizes in blocks of `bsize` bytes."""

    type: int
    bsize: int
    blocks: int
    bfree: int
    bavail: int
    files: int
    ffree: int
    fsid: int
    namelen: int
    frsize: int
    flags: int


class MountedFs(NamedTuple):
    """BSD's statvfs(2): a `StatFs`, what kind of file system, where it is mounted and from what."""

    fs: StatFs
    kind: bytes
    on: bytes
    source: bytes


class LabelledFs:
    """The struct statvfs of NetBSD 10, which has room for a disk's label too ↔ `MountedFs`."""


class WinSize(NamedTuple):
    """A terminal's size in characters and pixels."""

    rows: int
    cols: int
    xpixel: int = 0
    ypixel: int = 0


class Termios(NamedTuple):
    """tty settings, Linux's numbers (termios(3)); `cc` has 19 control characters."""

    iflag: int
    oflag: int
    cflag: int
    lflag: int
    line: int
    cc: bytes


# --- names for layouts: what a system has a struct for and the kernel an integer or a tuple

class Timespec:
    """struct timespec ↔ ns.  Decoding raises EINVAL for negative seconds and for nanoseconds out of range."""


class Timespec64:
    """The 64-bit struct timespec of the `…_time64` calls ↔ ns; on 64-bit systems the same as `Timespec`."""


class Timeval:
    """struct timeval ↔ ns.  Decoding raises EINVAL as `Timespec` does."""
