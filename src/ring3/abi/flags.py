"""Neutral flags and small enumerations: what handlers, files and address spaces speak.

The neutral values are the ones Linux/x86-64 uses, so that its personality needs no translation; another personality brings a
`FlagSet` (abi/flagset.py) from its own numbers.  Unknown bits are kept, so that a handler may refuse them.
Sources: include/uapi/asm-generic/fcntl.h, mman-common.h, stat.h; poll(2), wait(2), clone(2), epoll(7), socket(7).
"""

from __future__ import annotations

import enum
from typing import Final


class OpenFlags(enum.IntFlag):
    """open(2)."""

    RDONLY = 0
    WRONLY = 0o1
    RDWR = 0o2
    CREAT = 0o100
    EXCL = 0o200
    NOCTTY = 0o400
    TRUNC = 0o1000
    APPEND = 0o2000
    NONBLOCK = 0o4000
    DSYNC = 0o10000
    ASYNC = 0o20000
    DIRECT = 0o40000
    LARGEFILE = 0o100000
    DIRECTORY = 0o200000
    NOFOLLOW = 0o400000
    NOATIME = 0o1000000
    CLOEXEC = 0o2000000
    SYNC = 0o4000000
    PATH = 0o10000000
    TMPFILE = 0o20000000
    NOSIGPIPE = 1 << 40         # BSD's: a write nobody will read sends no signal.  Beyond what a Linux program can say


ACCMODE: Final = 0o3


class Prot(enum.IntFlag):
    """mmap(2), mprotect(2)."""

    NONE = 0
    READ = 1
    WRITE = 2
    EXEC = 4
    SEM = 8
    GROWSDOWN = 0x0100_0000
    GROWSUP = 0x0200_0000


class MapFlags(enum.IntFlag):
    """mmap(2)."""

    SHARED = 0x01
    PRIVATE = 0x02
    SHARED_VALIDATE = 0x03
    FIXED = 0x10
    ANONYMOUS = 0x20
    MAP_32BIT = 0x40
    GROWSDOWN = 0x0100
    DENYWRITE = 0x0800
    EXECUTABLE = 0x1000
    LOCKED = 0x2000
    NORESERVE = 0x4000
    POPULATE = 0x8000
    NONBLOCK = 0x10000
    STACK = 0x20000
    HUGETLB = 0x40000
    SYNC = 0x80000
    FIXED_NOREPLACE = 0x100000


class RemapFlags(enum.IntFlag):
    """mremap(2)."""

    MAYMOVE = 1
    FIXED = 2
    DONTUNMAP = 4


class AtFlags(enum.IntFlag):
    """The *at(2) calls.  EACCESS and REMOVEDIR share a value; which is meant depends on the call."""

    SYMLINK_NOFOLLOW = 0x100
    EACCESS = 0x200
    REMOVEDIR = 0x200
    SYMLINK_FOLLOW = 0x400
    NO_AUTOMOUNT = 0x800
    EMPTY_PATH = 0x1000
    STATX_FORCE_SYNC = 0x2000
    STATX_DONT_SYNC = 0x4000
    EXECVE_CHECK = 0x10000


AT_FDCWD: Final = -100


class Access(enum.IntFlag):
    """access(2), and what namei checks.  The last two are for the veil alone: no file's mode has a bit for them."""

    EXISTS = 0
    EXECUTE = 1
    WRITE = 2
    READ = 4
    CREATE = 8          # make, remove or rename this name
    BROWSE = 16         # list this directory


class Whence(enum.IntEnum):
    """lseek(2)."""

    SET = 0
    CUR = 1
    END = 2
    DATA = 3
    HOLE = 4


class RenameFlags(enum.IntFlag):
    """renameat2(2)."""

    NOREPLACE = 1
    EXCHANGE = 2
    WHITEOUT = 4


class Poll(enum.IntFlag):
    """poll(2) events; epoll uses the same bits."""

    IN = 0x001
    PRI = 0x002
    OUT = 0x004
    ERR = 0x008
    HUP = 0x010
    NVAL = 0x020
    RDNORM = 0x040
    RDBAND = 0x080
    WRNORM = 0x100
    WRBAND = 0x200
    MSG = 0x400
    RDHUP = 0x2000


class EpollFlags(enum.IntFlag):
    """epoll_ctl(2): what an epoll event may hold beside `Poll`."""

    EXCLUSIVE = 1 << 28
    WAKEUP = 1 << 29
    ONESHOT = 1 << 30
    ET = 1 << 31


class CloneFlags(enum.IntFlag):
    """clone(2), unshare(2)."""

    VM = 0x100
    FS = 0x200
    FILES = 0x400
    SIGHAND = 0x800
    PIDFD = 0x1000
    PTRACE = 0x2000
    VFORK = 0x4000
    PARENT = 0x8000
    THREAD = 0x10000
    NEWNS = 0x20000
    SYSVSEM = 0x40000
    SETTLS = 0x80000
    PARENT_SETTID = 0x100000
    CHILD_CLEARTID = 0x200000
    DETACHED = 0x400000
    UNTRACED = 0x800000
    CHILD_SETTID = 0x1000000
    NEWCGROUP = 0x2000000
    NEWUTS = 0x4000000
    NEWIPC = 0x8000000
    NEWUSER = 0x10000000
    NEWPID = 0x20000000
    NEWNET = 0x40000000
    IO = 0x80000000


class WaitOptions(enum.IntFlag):
    """wait4(2), waitid(2).  STOPPED is UNTRACED's other name."""

    NOHANG = 1
    UNTRACED = 2
    STOPPED = 2
    EXITED = 4
    CONTINUED = 8
    NOWAIT = 0x01000000
    NOTHREAD = 0x20000000
    ALL = 0x40000000
    CLONE = 0x80000000


class FileType(enum.IntEnum):
    """The type bits of `st_mode`."""

    FIFO = 0o010000
    CHR = 0o020000
    DIR = 0o040000
    BLK = 0o060000
    REG = 0o100000
    LNK = 0o120000
    SOCK = 0o140000


S_IFMT: Final = 0o170000
S_ISUID: Final = 0o4000
S_ISGID: Final = 0o2000
S_ISVTX: Final = 0o1000


class MountFlags(enum.IntFlag):
    """What a mount forbids (statvfs(3) ST_*)."""

    NONE = 0
    RDONLY = 1
    NOSUID = 2
    NODEV = 4
    NOEXEC = 8
    SYNCHRONOUS = 16
    NOATIME = 1024
    NODIRATIME = 2048
    RELATIME = 4096
    # SerenityOS's, which no statvfs tells of
    WXALLOWED = 1 << 24             # what its programs map may be written and executed
    AXALLOWED = 1 << 25             # fresh memory may be executed
    NOREGULAR = 1 << 26             # regular files cannot be opened
