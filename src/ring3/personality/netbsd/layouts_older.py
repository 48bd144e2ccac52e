"""NetBSD's structs as programs of older releases have them (`abi/netbsd/older.py`): record to layout, for one word size.

What does not fit is cut, as the kernel's own conversions cut it.
Sources: compat/sys/{time_types,stat,resource,dirent}.h of NetBSD.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from ring3.abi.filerecords import Seconds, TimerSpec
from ring3.abi.layout import Custom
from ring3.abi.netbsd.older import (
    Attr13,
    Attr30,
    Dirent12,
    ITimerVal50,
    RawTimeval50,
    Rusage50,
    TimerSpec50,
    Timespec50,
    Timeval50,
)
from ring3.abi.procrecords import ITimerVal, Rusage
from ring3.abi.records import Attr, DirEntry
from ring3.errors import EINVAL
from ring3.personality.netbsd.layouts_files import device_number

_SECOND: Final = 1_000_000_000
_MASK32: Final = 0xFFFF_FFFF
_MASK64: Final = (1 << 64) - 1
_NS_MAX: Final = (1 << 63) - 1
_DIRENT: Final = struct.Struct("<IHBB")
_NAME_MAX: Final = 255


def _no_decoding(_data: bytes) -> Any:
    raise NotImplementedError("the kernel only writes this struct")


def _no_encoding(_value: Any) -> bytes:
    raise NotImplementedError("the kernel only reads this struct")


def _when(ns: int) -> tuple[int, int]:
    """Seconds of 32 bits, and the rest."""
    seconds, rest = divmod(ns, _SECOND)
    return (seconds + (1 << 31)) % (1 << 32) - (1 << 31), rest


def _times(codes: str, unit: int) -> Custom:
    """Seconds and a fraction of `unit` parts ↔ ns.  Decoding raises EINVAL for what is no time."""
    form, per = struct.Struct(codes), _SECOND // unit

    def decode(data: bytes) -> int:
        seconds, parts = form.unpack(data)
        if seconds < 0 or not 0 <= parts < unit:
            raise EINVAL
        return min(int(seconds) * _SECOND + int(parts) * per, _NS_MAX)

    def encode(ns: int) -> bytes:
        seconds, rest = _when(ns)
        return form.pack(seconds, rest // per)

    return Custom(form.size, decode, encode)


def _pair(one: Custom, record: Any) -> Custom:
    def decode(data: bytes) -> Any:
        return record(one.decode(data[: one.size]), one.decode(data[one.size :]))

    return Custom(2 * one.size, decode, lambda value: one.encode(value[0]) + one.encode(value[1]))


def _unchecked(codes: str) -> Custom:
    form = struct.Struct(codes)
    return Custom(form.size, lambda data: Seconds(*form.unpack(data)), _no_encoding)


def _rusage(val: Custom, word: str) -> Custom:
    form = struct.Struct(f"<14{word}")
    most = (1 << 8 * form.size // 14 - 1) - 1

    def encode(usage: Rusage) -> bytes:
        return val.encode(usage.utime) + val.encode(usage.stime) + form.pack(*(min(field, most) for field in usage[2:]))

    return Custom(2 * val.size + form.size, _no_decoding, encode)


def _stat30(time: str, tail: str) -> Custom:
    form = struct.Struct(f"<IIQIIII{4 * time}qqIII8x{tail}")

    def encode(a: Attr) -> bytes:
        return form.pack(
            device_number(a.dev) & _MASK32, a.mode, a.ino & _MASK64, a.nlink & _MASK32, a.uid, a.gid,
            device_number(a.rdev) & _MASK32 if a.rdev else 0, *_when(a.atime), *_when(a.mtime), *_when(a.ctime), *_when(a.btime),
            a.size, a.blocks, a.blksize & _MASK32, 0, 0,
        )

    return Custom(form.size, _no_decoding, encode)


def _stat13(time: str, gap: str, tail: str) -> Custom:
    form = struct.Struct(f"<IIIIIII{gap}{3 * time}qqIII4x{time}{tail}")

    def encode(a: Attr) -> bytes:
        return form.pack(
            device_number(a.dev) & _MASK32, a.ino & _MASK32, a.mode, a.nlink & _MASK32, a.uid, a.gid,
            device_number(a.rdev) & _MASK32 if a.rdev else 0, *_when(a.atime), *_when(a.mtime), *_when(a.ctime),
            a.size, a.blocks, a.blksize & _MASK32, 0, 0, *_when(a.btime),
        )

    return Custom(form.size, _no_decoding, encode)


def _dirent12() -> Custom:
    def encode(item: tuple[int, DirEntry]) -> bytes:
        _, entry = item
        name = entry.name[:_NAME_MAX]
        length = (_DIRENT.size + len(name) + 1 + 3) & -4
        return (_DIRENT.pack(entry.ino & _MASK32, length, entry.type >> 12, len(name)) + name).ljust(length, b"\0")

    return Custom(0, _no_decoding, encode)


def layouts(word_size: int) -> dict[type, Any]:
    """All of them."""
    wide = word_size == 8
    time = "i4xq" if wide else "ii"
    spec = _times(f"<{time}", _SECOND)
    val_codes = "<qq" if wide else "<ii"
    val = _times(val_codes, 1_000_000)
    return {
        Timespec50: spec,
        Timeval50: val,
        RawTimeval50: _unchecked(val_codes),
        ITimerVal50: _pair(val, ITimerVal),
        TimerSpec50: _pair(spec, TimerSpec),
        Rusage50: _rusage(val, "q" if wide else "i"),
        Attr30: _stat30(time, "4x" if wide else ""),
        Attr13: _stat13(time, "4x" if wide else "", "" if wide else "4x"),
        Dirent12: _dirent12(),
    }
