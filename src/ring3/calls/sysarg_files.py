"""Arguments of the calls about files: how they decode and print beyond what `sysarg` has.

Prints follow strace(1): a stat shows its mode and size, a directory buffer how many entries it holds, vectors what they point to.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Final

from ring3.abi.filerecords import (
    FOwner,
    OldAttr,
    RawTimespec,
    RawTimeval,
    Seconds,
    Statx,
    TimerSpec,
    UtimBuf,
)
from ring3.abi.flags import S_IFMT, FileType, OpenFlags
from ring3.abi.records import Attr, StatFs, Timespec
from ring3.calls.sysarg import (
    Address,
    Decoder,
    Kind,
    Number,
    Octal,
    Out,
    OutRecord,
    Record,
    Unsigned32,
    quote,
)
from ring3.errors import EFAULT, Errno
from ring3.proc.proc import Thread
from ring3.protocols import Abi

_SECOND = 1_000_000_000


# --- numbers
class UpperHalf(Kind):
    """The upper 32 bits of an offset that is two arguments; nothing where a register holds all of it."""

    def compile(self, abi: Abi) -> Decoder:
        return (lambda _t, word: (word & 0xFFFF_FFFF) << 32) if abi.word_size == 4 else (lambda _t, _word: 0)


class Bits(Unsigned32):
    """Bits that are neutral numbers already, with names."""

    def __init__(self, names: dict[int, str]) -> None:
        self.names = names

    def show(self, t: Thread, value: Any) -> str:
        del t
        shown = []
        for bits, name in self.names.items():
            if bits and value & bits == bits:
                shown.append(name)
                value &= ~bits
        if value or not shown:
            shown.append(hex(value) if value else "0")
        return "|".join(shown)


class OwnerId(Unsigned32):
    """A user or group id; -1 leaves it."""

    def compile(self, abi: Abi) -> Decoder:
        return lambda _t, word: None if word & 0xFFFF_FFFF == 0xFFFF_FFFF else word & 0xFFFF_FFFF

    def show(self, t: Thread, value: Any) -> str:
        return "-1" if value is None else str(value)


class OwnerId16(OwnerId):
    """The 16-bit one of old calls of 32-bit systems."""

    def compile(self, abi: Abi) -> Decoder:
        return lambda _t, word: None if word & 0xFFFF == 0xFFFF else word & 0xFFFF


class FileMode(Octal):
    """A mode with type bits (mknod)."""

    def show(self, t: Thread, value: Any) -> str:
        return show_mode(value) if value & S_IFMT else super().show(t, value)


class DeviceNumber(Unsigned32):
    """A device number as 32 bits have it."""

    def compile(self, abi: Abi) -> Decoder:
        return lambda _t, word: os.makedev((word & 0xFFF00) >> 8, (word & 0xFF) | ((word & 0xFFF0_0000) >> 12))

    def show(self, t: Thread, value: Any) -> str:
        return f"makedev({os.major(value):#x}, {os.minor(value):#x})"


_TYPES: Mapping[int, str] = {
    FileType.FIFO: "S_IFIFO", FileType.CHR: "S_IFCHR", FileType.DIR: "S_IFDIR", FileType.BLK: "S_IFBLK", FileType.REG: "S_IFREG",
    FileType.LNK: "S_IFLNK", FileType.SOCK: "S_IFSOCK",
}


_DEVICES: Final = (int(FileType.CHR), int(FileType.BLK))


@lru_cache(maxsize=256)
def show_mode(mode: int) -> str:
    """`S_IFREG|0644`."""
    kind = _TYPES.get(mode & S_IFMT) or hex(mode & S_IFMT)
    special = [name for bit, name in ((0o4000, "S_ISUID"), (0o2000, "S_ISGID"), (0o1000, "S_ISVTX")) if mode & bit]
    return "|".join([kind, *special, f"0{mode & 0o777:03o}"])


# --- struct stat and friends
class StatRecord(OutRecord):
    """struct stat, the fields one looks for."""

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        attr = getattr(value.value, "attr", value.value)
        if attr is None:
            return None
        prefix = "stx" if attr is not value.value else "st"
        is_device = attr.mode & S_IFMT in _DEVICES
        what = f"rdev=makedev({os.major(attr.rdev):#x}, {os.minor(attr.rdev):#x})" if is_device else f"size={attr.size}"
        return f"{{{prefix}_mode={show_mode(attr.mode)}, {prefix}_{what}, ...}}"


class DirentBuffer(Address):
    """Where directory entries go: shows how many."""

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        if result < 0 or not value:
            return None
        try:
            data = t.proc.vm.copyin(value, min(result, 1 << 20))
        except EFAULT:
            return None
        entries, at = 0, self.length_at(t)
        last = len(data) - 2
        while at <= last:
            length = data[at] | data[at + 1] << 8
            if not length:
                break
            at, entries = at + length, entries + 1
        return f"{hex(value)} /* {entries} entries */"

    def length_at(self, t: Thread) -> int:
        """Where a record says how long it is."""
        return 16 if self.record_is_wide else 2 * t.system.call_abi(t).word_size

    record_is_wide = False


class Dirent64Buffer(DirentBuffer):
    """The same for getdents64."""

    record_is_wide = True


# --- times
def show_seconds(value: Seconds, unit: str) -> str:
    """`{tv_sec=1, tv_nsec=0}`, with the names of fractions that are words."""
    special = {0x3FFF_FFFF: "UTIME_NOW", 0x3FFF_FFFE: "UTIME_OMIT"} if unit == "nsec" else {}
    if value.fraction in special:
        return special[value.fraction]
    return f"{{tv_sec={value.seconds}, tv_{unit}={value.fraction}}}"


def show_ns(ns: int) -> str:
    """A time in ns as a struct timespec."""
    return show_seconds(Seconds(*divmod(ns, _SECOND)), "nsec")


class TimePair(Kind):
    """Two struct timespec or timeval, or None: a pair of `Seconds`."""

    def __init__(self, record: type, unit: str) -> None:
        self.record = record
        self.unit = unit

    def compile(self, abi: Abi) -> Decoder:
        layout = abi.layouts[self.record]
        size = layout.size

        def decode(t: Thread, word: int) -> tuple[Seconds, Seconds] | None:
            if not word:
                return None
            data = t.proc.vm.copyin(word, 2 * size)
            return layout.decode(data[:size]), layout.decode(data[size:])

        return decode

    def show(self, t: Thread, value: Any) -> str:
        del t
        return "NULL" if value is None else f"[{', '.join(show_seconds(part, self.unit) for part in value)}]"


class InOut:
    """A struct the kernel reads and may write back; `value` is None for a null pointer."""

    __slots__ = ("_encode", "_t", "addr", "value")

    def __init__(self, t: Thread, addr: int, value: Any, encode: Any) -> None:
        self._t = t
        self._encode = encode
        self.addr = addr
        self.value = value

    def put(self, value: Any) -> None:
        """Write back.  Raises EFAULT, EOVERFLOW."""
        self._t.proc.vm.copyout(self.addr, self._encode(value))
        self.value = value


class InOutRecord(Kind):
    """The handler gets an `InOut`."""

    def __init__(self, record: type) -> None:
        self.record = record

    def compile(self, abi: Abi) -> Decoder:
        layout = abi.layouts[self.record]
        size, decode, encode = layout.size, layout.decode, layout.encode
        return lambda t, word: InOut(t, word, decode(t.proc.vm.copyin(word, size)) if word else None, encode)

    def show(self, t: Thread, value: Any) -> str:
        del t
        return "NULL" if value.value is None else f"[{value.value}]"


class TimeRecord(Record):
    """A time in ns, or None."""

    def show(self, t: Thread, value: Any) -> str:
        del t
        return "NULL" if value is None else show_ns(value)


class TimeLeft(InOutRecord):
    """A timeout that is written back as what is left of it."""

    def show(self, t: Thread, value: Any) -> str:
        del t
        if value.value is None:
            return "NULL"
        return show_seconds(value.value, "usec") if isinstance(value.value, Seconds) else show_ns(value.value)


class TimerSpecRecord(Record):
    """struct itimerspec."""

    def show(self, t: Thread, value: Any) -> str:
        del t
        return "NULL" if value is None else show_timer(value)


class OutTimerSpec(OutRecord):
    """The same, filled in."""

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        return None if value.value is None else show_timer(value.value)


def show_timer(spec: TimerSpec) -> str:
    """`{it_interval=…, it_value=…}`."""
    return f"{{it_interval={show_ns(spec.interval)}, it_value={show_ns(spec.value)}}}"


# --- memory the call fills in
class FdPair(Address):
    """Where pipe puts two descriptors."""

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        if result < 0:
            return None
        try:
            data = t.proc.vm.copyin(value, 8)
        except EFAULT:
            return None
        return f"[{int.from_bytes(data[:4], 'little')}, {int.from_bytes(data[4:], 'little')}]"


class StringResult(Address):
    """Where a path goes; the call's result is its length (the terminating zero counted when `zero`)."""

    def __init__(self, *, zero: bool = False) -> None:
        self.zero = zero

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        if result < 0 or not value:
            return None
        try:
            return quote(t.proc.vm.copyin(value, max(result - self.zero, 0)), None)
        except EFAULT:
            return None


class FdSet(Address):
    """select's sets: the descriptors in it."""

    def show(self, t: Thread, value: Any) -> str:
        if not value:
            return "NULL"
        try:
            data = t.proc.vm.copyin(value, 8)
        except Errno:
            return hex(value)
        bits = int.from_bytes(data, "little")
        return f"[{' '.join(str(fd) for fd in range(64) if bits >> fd & 1)}]"


class SigsetAddress(Address):
    """A signal mask the call puts in place while it sleeps."""


class NamedValue(Unsigned32):
    """A number of one of many requests; unknown ones in hex."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names = names

    def show(self, t: Thread, value: Any) -> str:
        return self.names.get(value) or hex(value)


class AnyWord(Address):
    """A word that is a number for some requests and an address for others."""

    def show(self, t: Thread, value: Any) -> str:
        return hex(value) if value > 0xFFFF else str(value)


F_COMMANDS = {
    0: "F_DUPFD", 1: "F_GETFD", 2: "F_SETFD", 3: "F_GETFL", 4: "F_SETFL", 5: "F_GETLK", 6: "F_SETLK", 7: "F_SETLKW", 8: "F_SETOWN",
    9: "F_GETOWN", 10: "F_SETSIG", 11: "F_GETSIG", 12: "F_GETLK64", 13: "F_SETLK64", 14: "F_SETLKW64", 15: "F_SETOWN_EX",
    16: "F_GETOWN_EX", 36: "F_OFD_GETLK", 37: "F_OFD_SETLK", 38: "F_OFD_SETLKW", 1024: "F_SETLEASE", 1025: "F_GETLEASE",
    1026: "F_NOTIFY", 1030: "F_DUPFD_CLOEXEC", 1031: "F_SETPIPE_SZ", 1032: "F_GETPIPE_SZ", 1033: "F_ADD_SEALS", 1034: "F_GET_SEALS",
}
IOCTLS = {
    0x5401: "TCGETS", 0x5402: "TCSETS", 0x5403: "TCSETSW", 0x5404: "TCSETSF", 0x5409: "TCSBRK", 0x540B: "TCFLSH",
    0x540E: "TIOCSCTTY", 0x540F: "TIOCGPGRP", 0x5410: "TIOCSPGRP", 0x5413: "TIOCGWINSZ", 0x5414: "TIOCSWINSZ", 0x541B: "FIONREAD",
    0x5421: "FIONBIO", 0x5422: "TIOCNOTTY", 0x5429: "TIOCGSID", 0x5450: "FIONCLEX", 0x5451: "FIOCLEX", 0x5452: "FIOASYNC",
    0x80045430: "TIOCGPTN", 0x40045431: "TIOCSPTLCK", 0x5441: "TIOCGPTPEER", 0x40049409: "FICLONE", 0x80086601: "FS_IOC_GETFLAGS",
    0x40086602: "FS_IOC_SETFLAGS", 0x802C542A: "TCGETS2", 0x402C542B: "TCSETS2", 0x5460: "FIOQSIZE", 1: "FIBMAP", 2: "FIGETBSZ",
}

# --- the words handlers use
HighWord = Annotated[int, UpperHalf()]
RwFlag = Annotated[int, Bits({1: "RWF_HIPRI", 2: "RWF_DSYNC", 4: "RWF_SYNC", 8: "RWF_NOWAIT", 16: "RWF_APPEND"})]
Owner = Annotated[int | None, OwnerId()]
Owner16 = Annotated[int | None, OwnerId16()]
NodeMode = Annotated[int, FileMode()]
Device = Annotated[int, DeviceNumber()]
StatOut = Annotated[Out, StatRecord(Attr)]
OldStatOut = Annotated[Out, StatRecord(OldAttr)]
StatxOut = Annotated[Out, StatRecord(Statx)]
StatFsOut = Annotated[Out, OutRecord(StatFs)]
Dirents = Annotated[int, DirentBuffer()]
Dirents64 = Annotated[int, Dirent64Buffer()]
TimespecPair = Annotated[tuple[Seconds, Seconds] | None, TimePair(RawTimespec, "nsec")]
TimevalPair = Annotated[tuple[Seconds, Seconds] | None, TimePair(RawTimeval, "usec")]
UtimRecord = Annotated[UtimBuf | None, Record(UtimBuf)]
TimeoutNs = Annotated[int | None, TimeRecord(Timespec)]
TimeoutLeft = Annotated[InOut, TimeLeft(Timespec)]
TimevalLeft = Annotated[InOut, TimeLeft(RawTimeval)]
TwoFds = Annotated[int, FdPair()]
LinkText = Annotated[int, StringResult()]
CwdText = Annotated[int, StringResult(zero=True)]
DescriptorSet = Annotated[int, FdSet()]
MaskAddr = Annotated[int, SigsetAddress()]
FcntlCommand = Annotated[int, NamedValue(F_COMMANDS)]
RequestArg = Annotated[int, AnyWord()]
IoctlRequest = Annotated[int, NamedValue(IOCTLS)]
FOwnerRecord = Annotated[FOwner | None, Record(FOwner)]
LockOperation = Annotated[int, Bits({1: "LOCK_SH", 2: "LOCK_EX", 4: "LOCK_NB", 8: "LOCK_UN"})]
SpliceFlag = Annotated[int, Bits({1: "SPLICE_F_MOVE", 2: "SPLICE_F_NONBLOCK", 4: "SPLICE_F_MORE", 8: "SPLICE_F_GIFT"})]
EventFdFlag = Annotated[
    int, Bits({1: "EFD_SEMAPHORE", int(OpenFlags.NONBLOCK): "EFD_NONBLOCK", int(OpenFlags.CLOEXEC): "EFD_CLOEXEC"})
]
MemfdFlag = Annotated[
    int, Bits({1: "MFD_CLOEXEC", 2: "MFD_ALLOW_SEALING", 4: "MFD_HUGETLB", 8: "MFD_NOEXEC_SEAL", 16: "MFD_EXEC"})
]
TimerIn = Annotated[TimerSpec | None, TimerSpecRecord(TimerSpec)]
TimerOut = Annotated[Out, OutTimerSpec(TimerSpec)]
EpollOp = Annotated[int, Number({1: "EPOLL_CTL_ADD", 2: "EPOLL_CTL_DEL", 3: "EPOLL_CTL_MOD"})]
