"""Neutral records of the calls about files: what the guest and the kernel hand each other in memory, beside `records`.

Classes without fields are only names: keys of a personality's layouts for what the kernel keeps as an integer or another record.
Sources: stat(2), statx(2), fcntl(2), poll(2), epoll_ctl(2), readv(2), recvmsg(2), getdents(2), openat2(2), timerfd_create(2).
"""

from __future__ import annotations

from ring3.abi.records import Attr
from ring3.namedtuple import NamedTuple


class OldAttr:
    """The struct stat of 32-bit systems before large files ↔ `Attr`.  Encoding raises EOVERFLOW."""


class AncientAttr:
    """`struct __old_kernel_stat` (oldstat) ↔ `Attr`.  Encoding raises EOVERFLOW."""


class Statx(NamedTuple):
    """What statx(2) tells: an `Attr`, which fields of it count (`mask`), STATX_ATTR_* that are set, and the mount's id."""

    attr: Attr
    mask: int
    attributes: int = 0
    attributes_mask: int = 0
    mount_id: int = 0


class StatFs64:
    """statfs64's struct on 32-bit systems ↔ `StatFs`."""


class Ustat(NamedTuple):
    """ustat(2): free blocks and inodes."""

    free: int
    inodes: int
    name: bytes = b""
    pack: bytes = b""


class Dirent:
    """struct linux_dirent: encodes (offset behind it, `DirEntry`); of variable length."""


class Dirent64:
    """struct linux_dirent64, likewise."""


class IoVec(NamedTuple):
    """One piece of guest memory: `base` is an address, `length` in bytes."""

    base: int
    length: int


class PollFd(NamedTuple):
    """poll(2): events asked for, and answered."""

    fd: int
    events: int
    revents: int


class EpollEvent(NamedTuple):
    """epoll(7): events, and 64 bits that are the program's own."""

    events: int
    data: int


class Flock(NamedTuple):
    """fcntl(2) record locks: `type` F_RDLCK 0, F_WRLCK 1, F_UNLCK 2; offsets in bytes."""

    type: int
    whence: int
    start: int
    length: int
    pid: int


class Flock64:
    """struct flock64 of 32-bit systems ↔ `Flock`."""


class FOwner(NamedTuple):
    """F_SETOWN_EX: `type` thread 0, process 1, group 2."""

    type: int
    pid: int


class Seconds(NamedTuple):
    """struct timespec or timeval as it stands in memory: `fraction` in ns or µs, nothing checked."""

    seconds: int
    fraction: int


class RawTimespec:
    """struct timespec ↔ `Seconds`."""


class RawTimespec64:
    """The 64-bit one of the `…_time64` calls ↔ `Seconds`."""


class RawTimeval:
    """struct timeval ↔ `Seconds`."""


class UtimBuf(NamedTuple):
    """utime(2): seconds since the epoch."""

    atime: int
    mtime: int


class TimerSpec(NamedTuple):
    """struct itimerspec: ns."""

    interval: int
    value: int


class TimerSpec64:
    """The 64-bit one of the `…_time64` calls ↔ `TimerSpec`."""


class LongOffset:
    """off_t where it is a long ↔ int."""


class Offset64Word:
    """loff_t in memory ↔ int."""


class SigsetArg(NamedTuple):
    """What the sixth argument of pselect6 points to."""

    addr: int
    size: int


class SelectArgs(NamedTuple):
    """old select of 32-bit systems: one pointer to all five arguments."""

    nfds: int
    readfds: int
    writefds: int
    exceptfds: int
    timeout: int


class OpenHow(NamedTuple):
    """openat2(2)."""

    flags: int
    mode: int
    resolve: int


class MsgHdr(NamedTuple):
    """struct msghdr: addresses and lengths, nothing followed."""

    name: int
    namelen: int
    iov: int
    iovlen: int
    control: int
    controllen: int
    flags: int


class MMsgHdr(NamedTuple):
    """struct mmsghdr: a `MsgHdr`'s fields and how many bytes went over."""

    name: int
    namelen: int
    iov: int
    iovlen: int
    control: int
    controllen: int
    flags: int
    transferred: int


class SockAddr:
    """A struct sockaddr ↔ the bytes Linux has for it; absent where a system has the same."""


class CmsgHdr(NamedTuple):
    """struct cmsghdr: `length` counts the header."""

    length: int
    level: int
    type: int


class Ucred(NamedTuple):
    """SO_PEERCRED, SCM_CREDENTIALS."""

    pid: int
    uid: int
    gid: int


class Linger(NamedTuple):
    """SO_LINGER: seconds."""

    onoff: int
    linger: int
