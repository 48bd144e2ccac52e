"""Linux's structs of the calls about files, for both word sizes: neutral record (or marker) → `Layout`.

Invariant: `LAYOUTS64` and `LAYOUTS32` have the same keys.  i386 has 64-bit members on 4-byte borders.  Not here: structs of
processes, signals and clocks (`layouts_process.py`), socket addresses (they are the same bytes everywhere).
Sources: arch/x86/include/uapi/asm/stat.h, statfs.h, include/uapi/linux/{stat,fcntl,uio,socket,time,eventpoll}.h.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Any

from ring3.abi.filerecords import (
    AncientAttr,
    CmsgHdr,
    Dirent,
    Dirent64,
    EpollEvent,
    Flock,
    Flock64,
    FOwner,
    IoVec,
    Linger,
    LongOffset,
    MMsgHdr,
    MsgHdr,
    Offset64Word,
    OldAttr,
    OpenHow,
    PollFd,
    RawTimespec,
    RawTimespec64,
    RawTimeval,
    Seconds,
    SelectArgs,
    SigsetArg,
    StatFs64,
    Statx,
    TimerSpec,
    TimerSpec64,
    Ucred,
    Ustat,
    UtimBuf,
)
from ring3.abi.layout import Custom, Layout
from ring3.abi.records import Attr, DirEntry, StatFs, Termios, Timespec, Timespec64, Timeval, WinSize
from ring3.errors import EINVAL, EOVERFLOW

SECOND = 1_000_000_000
KTIME_MAX = (1 << 63) - 1
_MASK32 = 0xFFFF_FFFF
_OVERFLOW_ID = 65534          # what 16 bits show for an id they cannot hold


def _no_decoding(_data: bytes) -> Any:
    raise NotImplementedError("the kernel only writes this struct")


# --- struct stat
_STAT64 = struct.Struct("<QQQIIIxxxxQqqqqQqQqQ24x")
_STAT32_64 = struct.Struct("<Q4xIIIIIQ4xqIQIIIIIIQ")
_STAT32 = struct.Struct("<IIHHHHIIIIIIIIII8x")
_STAT32_OLD = struct.Struct("<HHHHHHHxxIIII")
_STATX = struct.Struct("<IIQIIIHxxQQQQqIxxxxqIxxxxqIxxxxqIxxxxIIIIQ104x")


def _encode_stat(a: Attr) -> bytes:
    return _STAT64.pack(
        a.dev, a.ino, a.nlink, a.mode, a.uid, a.gid, a.rdev, a.size, a.blksize, a.blocks,
        *divmod(a.atime, SECOND), *divmod(a.mtime, SECOND), *divmod(a.ctime, SECOND),
    )


def _words(ns: int) -> tuple[int, int]:
    seconds, rest = divmod(ns, SECOND)
    return seconds & _MASK32, rest


def _encode_stat64_i386(a: Attr) -> bytes:
    return _STAT32_64.pack(
        a.dev, a.ino & _MASK32, a.mode, a.nlink & _MASK32, a.uid, a.gid, a.rdev, a.size, a.blksize & _MASK32, a.blocks,
        *_words(a.atime), *_words(a.mtime), *_words(a.ctime), a.ino,
    )


def _id16(number: int) -> int:
    return number if number <= 0xFFFF else _OVERFLOW_ID


def _check_old(a: Attr) -> None:
    if a.ino > _MASK32 or a.nlink > 0xFFFF or a.size >= 1 << 31:
        raise EOVERFLOW


def _encode_stat_i386(a: Attr) -> bytes:
    _check_old(a)
    return _STAT32.pack(
        a.dev & _MASK32, a.ino, a.mode, a.nlink, _id16(a.uid), _id16(a.gid), a.rdev & _MASK32, a.size, a.blksize & _MASK32,
        a.blocks & _MASK32, *_words(a.atime), *_words(a.mtime), *_words(a.ctime),
    )


def _encode_stat_ancient(a: Attr) -> bytes:
    _check_old(a)
    if a.ino > 0xFFFF or a.dev > 0xFFFF or a.rdev > 0xFFFF:
        raise EOVERFLOW
    return _STAT32_OLD.pack(
        a.dev, a.ino, a.mode, a.nlink, _id16(a.uid), _id16(a.gid), a.rdev, a.size,
        _words(a.atime)[0], _words(a.mtime)[0], _words(a.ctime)[0],
    )


def _encode_statx(x: Statx) -> bytes:
    a = x.attr
    return _STATX.pack(
        x.mask, a.blksize & _MASK32, x.attributes, a.nlink & _MASK32, a.uid, a.gid, a.mode, a.ino, a.size, a.blocks,
        x.attributes_mask, *divmod(a.atime, SECOND), *divmod(a.btime, SECOND), *divmod(a.ctime, SECOND), *divmod(a.mtime, SECOND),
        os.major(a.rdev), os.minor(a.rdev), os.major(a.dev), os.minor(a.dev), x.mount_id,
    )


# --- directory entries
def _dirents(head: struct.Struct, align: int, *, type_first: bool, ino_max: int) -> Custom:
    fixed = head.size

    def encode(item: tuple[int, DirEntry]) -> bytes:
        offset, entry = item
        if entry.ino > ino_max:
            raise EOVERFLOW
        kind = entry.type >> 12
        if type_first:
            length = (fixed + 1 + len(entry.name) + 1 + align - 1) & -align
            data = head.pack(entry.ino, offset, length) + bytes((kind,)) + entry.name
            return data.ljust(length, b"\0")
        length = (fixed + len(entry.name) + 2 + align - 1) & -align
        data = head.pack(entry.ino, offset & ino_max, length) + entry.name
        return data.ljust(length - 1, b"\0") + bytes((kind,))

    return Custom(0, _no_decoding, encode)


# --- times
def _times(codes: str, per_second: int, *, checked: bool) -> Custom:
    """A pair of words that holds a time ↔ ns, or ↔ `Seconds` when nothing is to be `checked`."""
    words = struct.Struct(codes)
    unit = SECOND // per_second
    narrow = words.size == 8

    def decode(data: bytes) -> int:
        seconds, fraction = words.unpack(data)
        if seconds < 0 or not 0 <= fraction < per_second:
            raise EINVAL
        return min(int(seconds) * SECOND + int(fraction) * unit, KTIME_MAX)

    def encode(ns: int) -> bytes:
        seconds, rest = divmod(ns, SECOND)
        if narrow:
            seconds = (seconds & 0x7FFF_FFFF) - (seconds & 0x8000_0000)
        return words.pack(seconds, rest // unit)

    if checked:
        return Custom(words.size, decode, encode)
    return Custom(words.size, lambda data: Seconds(*words.unpack(data)), lambda value: words.pack(*value))


def _timer_spec(time: Custom) -> Custom:
    half = time.size
    return Custom(
        2 * half,
        lambda data: TimerSpec(time.decode(data[:half]), time.decode(data[half:])),
        lambda spec: time.encode(spec.interval) + time.encode(spec.value),
    )


# --- small ones
def _integer(codes: str) -> Custom:
    one = struct.Struct(codes)

    def encode(value: int) -> bytes:
        try:
            return one.pack(value)
        except struct.error:
            raise EOVERFLOW from None

    return Custom(one.size, lambda data: int(one.unpack(data)[0]), encode)


def _overflowing(layout: Layout[Any]) -> Custom:
    """A layout whose fields may be too narrow: EOVERFLOW then."""

    def encode(value: Any) -> bytes:
        try:
            return layout.encode(value)
        except struct.error:
            raise EOVERFLOW from None

    return Custom(layout.size, layout.decode, encode)


def _statfs(codes: str) -> Custom:
    narrow = _overflowing(Layout(StatFs, codes))

    def encode(value: StatFs) -> bytes:
        if narrow.size == 64:      # "no limit" stays that
            value = value._replace(
                files=value.files & _MASK32 if value.files >= (1 << 64) - 1 else value.files,
                ffree=value.ffree & _MASK32 if value.ffree >= (1 << 64) - 1 else value.ffree,
            )
        return narrow.encode(value)

    return Custom(narrow.size, narrow.decode, encode)


def _encoder(form: struct.Struct, encode: Callable[[Any], bytes]) -> Custom:
    return Custom(form.size, _no_decoding, encode)


def _same_on_both() -> dict[type, Any]:
    spec64 = _times("<qq", SECOND, checked=True)
    return {
        Statx: _encoder(_STATX, _encode_statx),
        AncientAttr: _encoder(_STAT32_OLD, _encode_stat_ancient),
        PollFd: Layout(PollFd, "<iHH"),
        EpollEvent: Layout(EpollEvent, "<IQ"),
        FOwner: Layout(FOwner, "<ii"),
        OpenHow: Layout(OpenHow, "<QQQ"),
        Ucred: Layout(Ucred, "<iII"),
        Linger: Layout(Linger, "<ii"),
        WinSize: Layout(WinSize, "<HHHH"),
        Termios: Layout(Termios, "<IIIIB19s"),
        Timespec64: spec64,
        TimerSpec64: _timer_spec(spec64),
        RawTimespec64: _times("<qq", SECOND, checked=False),
        Offset64Word: _integer("<q"),
        Dirent64: _dirents(struct.Struct("<QqH"), 8, type_first=True, ino_max=(1 << 64) - 1),
        SelectArgs: Layout(SelectArgs, "<iIIII"),
    }


def _layouts64() -> dict[type, Any]:
    spec = _times("<qq", SECOND, checked=True)
    return _same_on_both() | {
        Attr: _encoder(_STAT64, _encode_stat),
        OldAttr: _encoder(_STAT64, _encode_stat),
        StatFs: Layout(StatFs, "<qqQQQQQQqqq32x"),
        StatFs64: Layout(StatFs, "<qqQQQQQQqqq32x"),
        Ustat: Layout(Ustat, "<i4xQ6s6s4x"),
        Dirent: _dirents(struct.Struct("<QQH"), 8, type_first=False, ino_max=(1 << 64) - 1),
        IoVec: Layout(IoVec, "<QQ"),
        Flock: Layout(Flock, "<hh4xqqi4x"),
        Flock64: Layout(Flock, "<hh4xqqi4x"),
        Timespec: spec,
        TimerSpec: _timer_spec(spec),
        Timeval: _times("<qq", 1_000_000, checked=True),
        RawTimespec: _times("<qq", SECOND, checked=False),
        RawTimeval: _times("<qq", 1_000_000, checked=False),
        UtimBuf: Layout(UtimBuf, "<qq"),
        LongOffset: _integer("<q"),
        SigsetArg: Layout(SigsetArg, "<QQ"),
        MsgHdr: Layout(MsgHdr, "<QI4xQQQQI4x"),
        MMsgHdr: Layout(MMsgHdr, "<QI4xQQQQI4xI4x"),
        CmsgHdr: Layout(CmsgHdr, "<Qii"),
    }


def _layouts32() -> dict[type, Any]:
    spec = _times("<ii", SECOND, checked=True)
    return _same_on_both() | {
        Attr: _encoder(_STAT32_64, _encode_stat64_i386),
        OldAttr: _encoder(_STAT32, _encode_stat_i386),
        StatFs: _statfs("<IIIIIIIQIII16x"),
        StatFs64: Layout(StatFs, "<IIQQQQQQIII16x"),
        Ustat: Layout(Ustat, "<iI6s6s"),
        Dirent: _dirents(struct.Struct("<IIH"), 4, type_first=False, ino_max=_MASK32),
        IoVec: Layout(IoVec, "<II"),
        Flock: _overflowing(Layout(Flock, "<hhiii")),
        Flock64: Layout(Flock, "<hhqqi"),
        Timespec: spec,
        TimerSpec: _timer_spec(spec),
        Timeval: _times("<ii", 1_000_000, checked=True),
        RawTimespec: _times("<ii", SECOND, checked=False),
        RawTimeval: _times("<ii", 1_000_000, checked=False),
        UtimBuf: Layout(UtimBuf, "<ii"),
        LongOffset: _integer("<i"),
        SigsetArg: Layout(SigsetArg, "<II"),
        MsgHdr: Layout(MsgHdr, "<IIIIIII"),
        MMsgHdr: Layout(MMsgHdr, "<IIIIIIII"),
        CmsgHdr: Layout(CmsgHdr, "<Iii"),
    }


LAYOUTS64: dict[type, Any] = _layouts64()
LAYOUTS32: dict[type, Any] = _layouts32()
