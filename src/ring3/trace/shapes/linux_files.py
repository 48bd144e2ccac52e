"""Shapes of the calls about files and descriptors, as Linux numbers them.  Source: strace(1); the constants are those of fcntl(2),
ioctl_list(2), statx(2), statfs(2), inotify(7).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.filerecords import IoVec, Seconds
from ring3.abi.flags import FileType, OpenFlags
from ring3.abi.signals import signal_name
from ring3.calls.sysarg import Kind, Octal
from ring3.calls.sysarg_arrays import OutIoVecs
from ring3.calls.sysarg_files import F_COMMANDS, show_mode, show_seconds
from ring3.trace.shapes.shape import (
    FD,
    At,
    Bits,
    Chooser,
    Filled,
    Hex,
    Named,
    Plain,
    Read,
    Shape,
    Signed,
    by,
    c_string,
    field,
    memory,
    number,
    shape,
)

if TYPE_CHECKING:
    from ring3.proc.proc import Thread

CLOEXEC: Final = int(OpenFlags.CLOEXEC)
NONBLOCK: Final = int(OpenFlags.NONBLOCK)


# --- open
class OpenMode(Kind):
    """Flags of open(2): the access mode first, O_TMPFILE and O_SYNC for the bits they are made of."""

    def show(self, t: Thread, value: Any) -> str:
        return open_flags(int(value))


@lru_cache(maxsize=256)
def open_flags(value: int) -> str:
    """`O_RDWR|O_CREAT`.

    >>> open_flags(0o102), open_flags(0o20200002), open_flags(0o4010000 | 1)
    ('O_RDWR|O_CREAT', 'O_RDWR|O_TMPFILE', 'O_WRONLY|O_SYNC')
    """
    how, rest = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")[value & 3], value & ~3
    return f"{how}|{_BESIDE_HOW.show(None, rest)}" if rest else how


_OPEN_NAMES: Final = {
    0o100: "O_CREAT", 0o200: "O_EXCL", 0o400: "O_NOCTTY", 0o1000: "O_TRUNC", 0o2000: "O_APPEND", 0o4000: "O_NONBLOCK",
    0o4010000: "O_SYNC", 0o10000: "O_DSYNC", 0o40000: "O_DIRECT", 0o100000: "O_LARGEFILE", 0o400000: "O_NOFOLLOW",
    0o1000000: "O_NOATIME", 0o2000000: "O_CLOEXEC", 0o10000000: "O_PATH", 0o20200000: "O_TMPFILE", 0o200000: "O_DIRECTORY",
    0o20000: "FASYNC",
}
_OPEN_FLAGS, _BESIDE_HOW = Bits(_OPEN_NAMES, "O_???"), Bits(_OPEN_NAMES)


class Permissions(Octal):
    """Permission bits, three digits at least."""

    def show(self, t: Thread, value: Any) -> str:
        return f"0{int(value) & 0xFFFF:02o}"


_FORMATS: Final = frozenset(int(kind) for kind in FileType)
_SPECIAL: Final = ((0o4000, "S_ISUID"), (0o2000, "S_ISGID"), (0o1000, "S_ISVTX"))


class FileMode(Octal):
    """A mode with its type."""

    def show(self, t: Thread, value: Any) -> str:
        mode = int(value) & 0xFFFF
        if mode & 0o170000 in _FORMATS:
            return show_mode(mode)
        special = "" if mode & 0o170000 else "".join(f"{name}|" for bit, name in _SPECIAL if mode & bit)
        return f"{special}0{mode & 0o777:02o}" if special else f"0{mode:02o}"


_RESOLVE: Final = {
    1: "RESOLVE_NO_XDEV", 2: "RESOLVE_NO_MAGICLINKS", 4: "RESOLVE_NO_SYMLINKS", 8: "RESOLVE_BENEATH", 16: "RESOLVE_IN_ROOT",
    32: "RESOLVE_CACHED",
}


def _open_how(t: Thread, addr: int) -> str:
    data = memory(t, addr, 24)
    flags, mode, resolve = (field(data, at, 8) for at in (0, 8, 16))
    mode_text = f", mode=0{mode:02o}" if mode or flags & int(OpenFlags.CREAT | OpenFlags.TMPFILE) else ""
    return f"{{flags={open_flags(flags)}{mode_text}, resolve={Bits(_RESOLVE, 'RESOLVE_???').show(t, resolve)}}}"


_OPEN: Final = OpenMode()
_MODE: Final = Permissions()


def flagged(prefix: str, first: Mapping[int, str] | None = None, *, cloexec_first: bool = True) -> Bits:
    """Flags of a call that makes a descriptor: `EFD_CLOEXEC|EFD_NONBLOCK`."""
    pairs = [(CLOEXEC, f"{prefix}_CLOEXEC"), (NONBLOCK, f"{prefix}_NONBLOCK")]
    return Bits({**(first or {}), **dict(pairs if cloexec_first else pairs[::-1])}, f"{prefix}_???")


# --- fcntl
_NO_ARGUMENT: Final = (1, 3, 9, 11, 1025, 1032, 1034)       # F_GETFD, GETFL, GETOWN, GETSIG, GETLEASE, GETPIPE_SZ, GET_SEALS
_LOCK_TYPES: Final = {0: "F_RDLCK", 1: "F_WRLCK", 2: "F_UNLCK"}
_WHENCE: Final = {0: "SEEK_SET", 1: "SEEK_CUR", 2: "SEEK_END", 3: "SEEK_DATA", 4: "SEEK_HOLE"}
_SEALS: Final = {1: "F_SEAL_SEAL", 2: "F_SEAL_SHRINK", 4: "F_SEAL_GROW", 8: "F_SEAL_WRITE", 16: "F_SEAL_FUTURE_WRITE"}
_SIGNAL_OF: Final = 11                                      # F_GETSIG
_ARE_FD_FLAGS: Final = Bits({1: "FD_CLOEXEC"})
_ARE_SEALS: Final = Bits(_SEALS)


def _lock(t: Thread, addr: int, *, with_pid: bool) -> str:
    data = memory(t, addr, 32)
    kind, whence = (field(data, at, 2) for at in (0, 2))
    start, length = (field(data, at, 8, signed=True) for at in (8, 16))
    pid = f", l_pid={field(data, 24, 4, signed=True)}" if with_pid else ""
    return (
        f"{{l_type={_LOCK_TYPES.get(kind) or number(kind, 'F_???')}, l_whence={_WHENCE.get(whence) or number(whence, 'SEEK_???')}, "
        f"l_start={start}, l_len={length}{pid}}}"
    )


_OWNERS: Final = Named({0: "F_OWNER_TID", 1: "F_OWNER_PID", 2: "F_OWNER_PGRP"}, "F_OWNER_???")


def _owner(t: Thread, addr: int) -> str:
    data = memory(t, addr, 8)
    kind = _OWNERS.show(t, field(data, 0, 4))
    return f"{{type={kind}, pid={field(data, 4, 4, signed=True)}}}"


class _SignalName(Kind):
    def show(self, t: Thread, value: Any) -> str:
        value = int(value) & 0xFFFF_FFFF
        return signal_name(value) if 1 <= value <= 64 else str(value)


SIGNAL: Final = _SignalName()
_COMMAND: Final = Named(F_COMMANDS, "F_???")
_FCNTL: Final = by(1, {
    **dict.fromkeys(_NO_ARGUMENT, shape(None, _COMMAND)),
    2: shape(None, _COMMAND, Bits({1: "FD_CLOEXEC"}, "FD_???")),
    4: shape(None, _COMMAND, _OPEN),
    **dict.fromkeys((0, 1030, 1031), shape(None, _COMMAND, Plain())),
    **dict.fromkeys((6, 7, 13, 14, 37, 38), shape(None, _COMMAND, Read(lambda t, addr: _lock(t, addr, with_pid=False)))),
    **dict.fromkeys((5, 12, 36), shape(None, _COMMAND, Filled(lambda t, addr: _lock(t, addr, with_pid=True)))),
    8: shape(None, _COMMAND, Signed()),
    10: shape(None, _COMMAND, SIGNAL),
    15: shape(None, _COMMAND, Read(_owner)),
    16: shape(None, _COMMAND, Filled(_owner)),
    1024: shape(None, _COMMAND, Named(_LOCK_TYPES, "F_???")),
    1033: shape(None, _COMMAND, Bits(_SEALS, "F_SEAL_???")),
}, shape(None, _COMMAND, Hex()))


def _fcntl_result(t: Thread, args: Sequence[Any], result: int) -> str:
    command = int(args[1])
    result &= 0xFFFF_FFFF_FFFF_FFFF if command in (1, 3, 1034) else -1      # a hook may have said -1
    if command == 1:
        return f"{result:#x} (flags {_ARE_FD_FLAGS.show(t, result)})" if result else "0"
    if command == 3:
        return f"{result:#x} (flags {open_flags(result)})" if result else "0 (flags O_RDONLY)"
    if command == 1025:
        return f"{number(result)} ({_LOCK_TYPES[result]})" if result in _LOCK_TYPES else number(result)
    if command == 1034:
        return f"{result:#x} (seals {_ARE_SEALS.show(t, result)})" if result else "0"
    if command == _SIGNAL_OF and result:
        return f"{result} ({signal_name(result)})" if result <= 64 else str(result)
    return str(result)


# --- stat
_SYNC_AS_STAT: Final = {
    0x2000: "AT_STATX_FORCE_SYNC", 0x4000: "AT_STATX_DONT_SYNC", 0x100: "AT_SYMLINK_NOFOLLOW", 0x800: "AT_NO_AUTOMOUNT",
    0x1000: "AT_EMPTY_PATH",
}
_MASK: Final = {
    0xFFF: "STATX_ALL", 0x7FF: "STATX_BASIC_STATS", 1: "STATX_TYPE", 2: "STATX_MODE", 4: "STATX_NLINK", 8: "STATX_UID",
    0x10: "STATX_GID", 0x20: "STATX_ATIME", 0x40: "STATX_MTIME", 0x80: "STATX_CTIME", 0x100: "STATX_INO", 0x200: "STATX_SIZE",
    0x400: "STATX_BLOCKS", 0x800: "STATX_BTIME", 0x1000: "STATX_MNT_ID", 0x2000: "STATX_DIOALIGN",
}
_ATTRIBUTES: Final = {
    4: "STATX_ATTR_COMPRESSED", 0x10: "STATX_ATTR_IMMUTABLE", 0x20: "STATX_ATTR_APPEND", 0x40: "STATX_ATTR_NODUMP",
    0x800: "STATX_ATTR_ENCRYPTED", 0x1000: "STATX_ATTR_AUTOMOUNT", 0x2000: "STATX_ATTR_MOUNT_ROOT", 0x100000: "STATX_ATTR_VERITY",
    0x200000: "STATX_ATTR_DAX",
}


class _StatxFlags(Kind):
    def show(self, t: Thread, value: Any) -> str:
        text = Bits(_SYNC_AS_STAT, "AT_???").show(t, int(value))
        return text if int(value) & 0x6000 else "AT_STATX_SYNC_AS_STAT" + (f"|{text}" if int(value) else "")


class _StatxOut(Kind):
    """struct statx: what it says of itself, then what one looks for."""

    def show(self, t: Thread, value: Any) -> str:
        return hex(value.addr) if value.addr else "NULL"

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        found = value.value
        if found is None:
            return None
        attr = found.attr
        return (
            f"{{stx_mask={Bits(_MASK, 'STATX_???').show(t, found.mask)}, "
            f"stx_attributes={Bits(_ATTRIBUTES, 'STATX_ATTR_???').show(t, found.attributes)}, stx_mode={show_mode(attr.mode)}, "
            f"stx_size={attr.size}, ...}}"
        )


_FS_TYPES: Final = {
    0x9FA0: "PROC_SUPER_MAGIC", 0x01021994: "TMPFS_MAGIC", 0xEF53: "EXT2_SUPER_MAGIC", 0x794C7630: "OVERLAYFS_SUPER_MAGIC",
    0x62656572: "SYSFS_MAGIC", 0x58465342: "XFS_SUPER_MAGIC", 0x9123683E: "BTRFS_SUPER_MAGIC", 0x1CD1: "DEVPTS_SUPER_MAGIC",
    0x6969: "NFS_SUPER_MAGIC", 0x01021997: "V9FS_MAGIC", 0x50495045: "PIPEFS_MAGIC", 0x534F434B: "SOCKFS_MAGIC",
    0x958458F6: "HUGETLBFS_MAGIC", 0x19800202: "MQUEUE_MAGIC", 0x27E0EB: "CGROUP_SUPER_MAGIC", 0x63677270: "CGROUP2_SUPER_MAGIC",
    0x858458F6: "RAMFS_MAGIC", 0x9041934: "ANON_INODE_FS_MAGIC", 0x65735546: "FUSE_SUPER_MAGIC",
}
_ST_FLAGS: Final = {
    0x20: "ST_VALID", 1: "ST_RDONLY", 2: "ST_NOSUID", 4: "ST_NODEV", 8: "ST_NOEXEC", 0x10: "ST_SYNCHRONOUS", 0x40: "ST_MANDLOCK",
    0x400: "ST_NOATIME", 0x800: "ST_NODIRATIME", 0x1000: "ST_RELATIME",
}


class _StatFsOut(Kind):
    def show(self, t: Thread, value: Any) -> str:
        return hex(value.addr) if value.addr else "NULL"

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        fs = value.value
        if fs is None:
            return None
        kind = _FS_TYPES.get(fs.type & 0xFFFF_FFFF) or hex(fs.type)
        fsid = f"[{number(fs.fsid & 0xFFFF_FFFF)}, {number(fs.fsid >> 32 & 0xFFFF_FFFF)}]"
        return (
            f"{{f_type={kind}, f_bsize={fs.bsize}, f_blocks={fs.blocks}, f_bfree={fs.bfree}, f_bavail={fs.bavail}, "
            f"f_files={fs.files}, f_ffree={fs.ffree}, f_fsid={{val={fsid}}}, f_namelen={fs.namelen}, f_frsize={fs.frsize}, "
            f"f_flags={Bits(_ST_FLAGS, 'ST_???').show(t, fs.flags)}}}"
        )


# --- times
def dated(seconds: int, fraction: str = "") -> str:
    """A time as strace writes it behind a number: ` /* 1970-01-01T00:00:01+0000 */`."""
    try:
        moment = time.localtime(seconds)
    except (OverflowError, OSError, ValueError):
        return ""
    if not 0 < moment.tm_year <= 9999:
        return ""
    return f" /* {time.strftime('%Y-%m-%dT%H:%M:%S', moment)}{fraction}{time.strftime('%z', moment)} */"


class _Times(Kind):
    """Two times; `digits` of a fraction."""

    def __init__(self, unit: str, digits: int) -> None:
        self.unit = unit
        self.digits = digits

    def show(self, t: Thread, value: Any) -> str:
        return "NULL" if value is None else f"[{', '.join(self._one(part) for part in value)}]"

    def _one(self, value: Seconds) -> str:
        text = show_seconds(value, self.unit)
        if not text.startswith("{") or not 0 <= value.fraction < 10**self.digits:
            return text
        fraction = f".{value.fraction:0{self.digits}}" if value.fraction else ""
        return text + dated(value.seconds, fraction)


class _Utim(Kind):
    def show(self, t: Thread, value: Any) -> str:
        if value is None:
            return "NULL"
        return f"{{actime={value.atime}{dated(value.atime)}, modtime={value.mtime}{dated(value.mtime)}}}"


# --- what is left
_REMOVE: Final = Bits({0x200: "AT_REMOVEDIR"}, "AT_???")
_FALLOCATE: Final = Bits({
    1: "FALLOC_FL_KEEP_SIZE", 2: "FALLOC_FL_PUNCH_HOLE", 4: "FALLOC_FL_NO_HIDE_STALE", 8: "FALLOC_FL_COLLAPSE_RANGE",
    16: "FALLOC_FL_ZERO_RANGE", 32: "FALLOC_FL_INSERT_RANGE", 64: "FALLOC_FL_UNSHARE_RANGE",
}, "FALLOC_FL_???")
_FADVICE: Final = Named({
    0: "POSIX_FADV_NORMAL", 1: "POSIX_FADV_RANDOM", 2: "POSIX_FADV_SEQUENTIAL", 3: "POSIX_FADV_WILLNEED", 4: "POSIX_FADV_DONTNEED",
    5: "POSIX_FADV_NOREUSE",
}, "POSIX_FADV_???")
_LOCKS: Final = Bits({
    1: "LOCK_SH", 2: "LOCK_EX", 4: "LOCK_NB", 8: "LOCK_UN", 32: "LOCK_MAND", 192: "LOCK_RW", 64: "LOCK_READ", 128: "LOCK_WRITE",
}, "LOCK_???")
_TIMER_FLAGS: Final = {1: "TFD_TIMER_ABSTIME", 2: "TFD_TIMER_CANCEL_ON_SET"}
_XATTR: Final = Bits({1: "XATTR_CREATE", 2: "XATTR_REPLACE"}, "XATTR_???")
_SYNC_RANGE: Final = Bits({
    1: "SYNC_FILE_RANGE_WAIT_BEFORE", 2: "SYNC_FILE_RANGE_WRITE", 4: "SYNC_FILE_RANGE_WAIT_AFTER",
}, "SYNC_FILE_RANGE_???")
_INOTIFY: Final = Bits({
    1: "IN_ACCESS", 2: "IN_MODIFY", 4: "IN_ATTRIB", 8: "IN_CLOSE_WRITE", 0x10: "IN_CLOSE_NOWRITE", 0x20: "IN_OPEN",
    0x40: "IN_MOVED_FROM", 0x80: "IN_MOVED_TO", 0x100: "IN_CREATE", 0x200: "IN_DELETE", 0x400: "IN_DELETE_SELF",
    0x800: "IN_MOVE_SELF", 0x2000: "IN_UNMOUNT", 0x4000: "IN_Q_OVERFLOW", 0x8000: "IN_IGNORED", 0x1000000: "IN_ONLYDIR",
    0x2000000: "IN_DONT_FOLLOW", 0x4000000: "IN_EXCL_UNLINK", 0x10000000: "IN_MASK_CREATE", 0x20000000: "IN_MASK_ADD",
    0x40000000: "IN_ISDIR", 0x80000000: "IN_ONESHOT",
}, "IN_???")
CLOCK: Final = Named(dict(enumerate((
    "CLOCK_REALTIME", "CLOCK_MONOTONIC", "CLOCK_PROCESS_CPUTIME_ID", "CLOCK_THREAD_CPUTIME_ID", "CLOCK_MONOTONIC_RAW",
    "CLOCK_REALTIME_COARSE", "CLOCK_MONOTONIC_COARSE", "CLOCK_BOOTTIME", "CLOCK_REALTIME_ALARM", "CLOCK_BOOTTIME_ALARM",
    "CLOCK_SGI_CYCLE", "CLOCK_TAI",
))), "CLOCK_???")


class _MovedOffset(Kind):
    """sendfile's offset, before and after."""

    out = True

    def show(self, t: Thread, value: Any) -> str:
        return "NULL" if value.value is None else f"[{value.value}]"

    def show_result_beside(self, t: Thread, value: Any, behind: Any, result: int) -> str | None:
        if value.value is None:
            return None
        before, after = value.value - result, value.value
        return f"[{before}]" if not result else f"[{before}] => [{after}]"


class _FilledVectors(OutIoVecs):
    """readv's vectors: where they are and how long, of a call that failed."""

    def show_beside(self, t: Thread, value: Any, behind: Any) -> str:
        found = self.items(t, value, behind)
        return self.show(t, value) if found is None else self.join([self._one(item) for item in found], behind)

    def _one(self, item: IoVec) -> str:
        return f"{{iov_base={hex(item.base) if item.base else 'NULL'}, iov_len={item.length}}}"


def _mknod(place: int) -> Chooser:
    """mknod, mknodat: a device's number where the mode, at `place`, makes one."""
    plain = shape(*(None,) * place, FileMode())
    device = (*plain, At(place + 1))
    return lambda args: device if int(args[place]) & 0o170000 in (0o020000, 0o060000) else plain


_VECTORS: Final = _FilledVectors()


_MADE: Final = int(OpenFlags.CREAT | OpenFlags.TMPFILE) & ~int(OpenFlags.DIRECTORY)


def _opens(places: int) -> Chooser:
    """open, openat: the mode where a file may be made."""
    short, whole = shape(*((None,) * places), _OPEN), shape(*((None,) * places), _OPEN, _MODE)
    return lambda args: whole if int(args[places]) & _MADE else short


SHAPES: Final[dict[str, Shape | Chooser]] = {
    "open": _opens(1), "openat": _opens(2), "creat": shape(None, _MODE), "openat2": shape(None, None, Read(_open_how), None),
    "mkdir": shape(None, _MODE), "mkdirat": shape(None, None, _MODE), "umask": shape(_MODE), "chmod": shape(None, _MODE),
    "fchmod": shape(None, _MODE), "fchmodat": shape(None, None, _MODE), "mknod": _mknod(1), "mknodat": _mknod(2),
    "dup3": shape(None, None, _OPEN_FLAGS), "pipe2": shape(None, _OPEN_FLAGS), "flock": shape(None, _LOCKS),
    "unlinkat": shape(None, None, _REMOVE),
    "close_range": shape(None, None, Bits({2: "CLOSE_RANGE_UNSHARE", 4: "CLOSE_RANGE_CLOEXEC"}, "CLOSE_RANGE_???")),
    "lseek": shape(None, None, Named(_WHENCE, "SEEK_???")), "fcntl": _FCNTL,
    "fallocate": shape(None, _FALLOCATE, None, None), "fadvise64": shape(None, None, None, _FADVICE),
    "statx": shape(None, None, _StatxFlags(), Bits(_MASK, "STATX_???"), _StatxOut()),
    "statfs": shape(None, _StatFsOut()), "fstatfs": shape(None, _StatFsOut()),
    "utimensat": shape(None, None, _Times("nsec", 9), None), "utimes": shape(None, _Times("usec", 6)),
    "futimesat": shape(None, None, _Times("usec", 6)), "utime": shape(None, _Utim()),
    **dict.fromkeys(("setxattr", "lsetxattr", "fsetxattr"), shape(None, None, None, None, _XATTR)),
    "sync_file_range": shape(None, None, None, _SYNC_RANGE),
    "readv": shape(None, _VECTORS, None), "preadv": shape(None, _VECTORS, None, None),
    "preadv2": (*shape(None, _VECTORS, None, None), At(5)), "pwritev2": (*shape(None, None, None, None), At(5)),
    "sendfile": shape(None, None, _MovedOffset(), None),
    "eventfd2": shape(None, flagged("EFD", {1: "EFD_SEMAPHORE"})), "epoll_create1": shape(flagged("EPOLL")),
    "signalfd4": shape(None, None, None, flagged("SFD")), "inotify_init1": shape(flagged("IN", cloexec_first=False)),
    "timerfd_create": shape(CLOCK, flagged("TFD", _TIMER_FLAGS)),
    "timerfd_settime": shape(None, Bits(_TIMER_FLAGS, "TFD_???"), None, None),
    "memfd_create": shape(None, Bits({
        1: "MFD_CLOEXEC", 2: "MFD_ALLOW_SEALING", 4: "MFD_HUGETLB", 8: "MFD_NOEXEC_SEAL", 16: "MFD_EXEC",
    }, "MFD_???")),
    "inotify_init": (), "inotify_add_watch": shape(FD, Read(c_string), _INOTIFY), "inotify_rm_watch": shape(FD, Signed()),
}
RESULTS: Final = {"fcntl": _fcntl_result, "umask": lambda _t, _args, result: f"0{result:02o}"}
