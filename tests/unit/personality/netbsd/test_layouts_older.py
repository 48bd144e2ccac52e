"""Structs of older and newer NetBSD releases: sizes and places as their headers have them, and what does not fit."""

from __future__ import annotations

import struct

import pytest

from ring3.abi.eventrecords import KEvent, LongKEvent
from ring3.abi.filerecords import Seconds, TimerSpec
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
from ring3.abi.records import Attr, DirEntry, LabelledFs, MountedFs, StatFs
from ring3.errors import EINVAL
from ring3.personality.netbsd import layouts
from ring3.personality.netbsd.signals import SignalNumbers

WIDE, NARROW = layouts(SignalNumbers(), 8), layouts(SignalNumbers(), 4)
SECOND = 1_000_000_000
FAR = 1 << 62                            # ns: a moment that 32 bits of seconds do not have


@pytest.mark.parametrize(("record", "wide", "narrow"), [
    (Timespec50, 16, 8), (Timeval50, 16, 8), (RawTimeval50, 16, 8), (ITimerVal50, 32, 16), (TimerSpec50, 32, 16),
    (Rusage50, 144, 72), (Attr30, 136, 100), (Attr13, 128, 96), (LabelledFs, 3296, 3268), (LongKEvent, 72, 60),
])
def test_sizes(record: type, wide: int, narrow: int) -> None:
    assert (WIDE[record].size, NARROW[record].size) == (wide, narrow)


def test_what_does_not_fit_is_cut() -> None:
    attr = Attr(1 << 40, 1 << 40, 0o100644, 1 << 40, 1, 2, 3 << 40, 1 << 40, 1 << 40, 1 << 40, FAR, -FAR, FAR, FAR)
    usage = Rusage(FAR, FAR, *([1 << 62] * 14))
    for table in (WIDE, NARROW):
        for record, value in (
            (Timespec50, FAR), (Timeval50, FAR), (Timespec50, -5), (ITimerVal50, ITimerVal(FAR, FAR)),
            (TimerSpec50, TimerSpec(FAR, FAR)), (Rusage50, usage), (Attr30, attr), (Attr13, attr),
        ):
            assert len(table[record].encode(value)) == table[record].size


def test_times_are_checked() -> None:
    for table in (WIDE, NARROW):
        for record in (Timespec50, Timeval50):
            layout = table[record]
            assert layout.decode(layout.encode(5 * SECOND + 7000)) == 5 * SECOND + 7000
            with pytest.raises(EINVAL):
                layout.decode(b"\xff" * layout.size)
        assert table[RawTimeval50].decode(b"\xff" * table[RawTimeval50].size) == Seconds(-1, -1)


def test_places() -> None:
    attr = Attr(0, 77, 0o100600, 1, 10, 20, 0, 4096, 512, 8, 1 * SECOND, 2 * SECOND, 3 * SECOND, 4 * SECOND)
    wide, narrow = WIDE[Attr30].encode(attr), NARROW[Attr30].encode(attr)
    assert struct.unpack_from("<IQ", wide, 4) == (0o100600, 77)
    assert struct.unpack_from("<q", wide, 96) == struct.unpack_from("<q", narrow, 64) == (4096,)
    assert [struct.unpack_from("<i", wide, at)[0] for at in (32, 48, 64, 80)] == [1, 2, 3, 4]
    old = WIDE[Attr13].encode(attr)
    assert struct.unpack_from("<III", old, 4) == (77, 0o100600, 1)
    assert struct.unpack_from("<i", old, 112) == (4,)
    assert WIDE[Dirent12].encode((0, DirEntry(5, b"name", 0o100000))) == struct.pack("<IHBB5s3x", 5, 16, 8, 4, b"name")


def test_a_label_stands_behind_the_names() -> None:
    fs = MountedFs(StatFs(0, 4096, 1, 1, 1, 1, 1, 9, 255, 4096, 0), b"tmpfs", b"/tmp", b"swap")
    for table, at in ((WIDE, 192), (NARROW, 164)):
        data = table[LabelledFs].encode(fs)
        assert data[at : at + 5] == b"tmpfs"
        assert data[at + 32 : at + 36] == b"/tmp"
        assert not any(data[-1024:])


def test_a_longer_event() -> None:
    event = KEvent(3, 0, 1, 2, -4, 5)
    for table, size in ((WIDE, 40), (NARROW, 28)):
        assert table[LongKEvent].encode(event) == table[KEvent].encode(event).ljust(size + 32, b"\0")
        assert table[LongKEvent].decode(table[LongKEvent].encode(event)) == event
