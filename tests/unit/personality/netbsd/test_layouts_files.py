"""NetBSD's structs about files, sockets and events: sizes and places as its headers have them."""

from __future__ import annotations

import os
import struct

import pytest

from ring3.abi.eventrecords import KEvent
from ring3.abi.filerecords import CmsgHdr, Dirent, Flock, IoVec, MMsgHdr, MsgHdr, PollFd, SockAddr, Ucred
from ring3.abi.flags import FileType
from ring3.abi.records import Attr, DirEntry, MountedFs, StatFs, WinSize
from ring3.errors import EINVAL, ENOENT
from ring3.personality.netbsd.layouts_files import device_number, layouts

WIDE, NARROW = layouts(8), layouts(4)


@pytest.mark.parametrize(("record", "wide", "narrow"), [
    (Attr, 152, 124), (Flock, 24, 24), (MountedFs, 2256, 2228), (IoVec, 16, 8), (PollFd, 8, 8), (WinSize, 8, 8), (MsgHdr, 48, 28),
    (MMsgHdr, 56, 32), (CmsgHdr, 16, 12), (KEvent, 40, 28), (Ucred, 12, 12),
])
def test_sizes(record: type, wide: int, narrow: int) -> None:
    assert (WIDE[record].size, NARROW[record].size) == (wide, narrow)


def test_both_word_sizes_have_the_same_records() -> None:
    assert WIDE.keys() == NARROW.keys()


def test_stat() -> None:
    attr = Attr(
        os.makedev(3, 4), 77, 0o100644, 2, 10, 20, os.makedev(5, 0x123), 1234, 4096, 8,
        1_000_000_005, 2_000_000_006, 3_000_000_007, 0,
    )
    data = WIDE[Attr].encode(attr)
    assert struct.unpack_from("<QI4xQIII4xQ", data) == (0x304, 0o100644, 77, 2, 10, 20, 0x100523)
    assert struct.unpack_from("<qqqqqqqq", data, 48) == (1, 5, 2, 6, 3, 7, 0, 0)
    assert struct.unpack_from("<qqIII", data, 112) == (1234, 8, 4096, 0, 0)
    narrow = NARROW[Attr].encode(attr)
    assert struct.unpack_from("<QIQIIIQ", narrow) == (0x304, 0o100644, 77, 2, 10, 20, 0x100523)
    assert struct.unpack_from("<qiqi", narrow, 40) == (1, 5, 2, 6)
    assert struct.unpack_from("<qqI", narrow, 88) == (1234, 8, 4096)


def test_a_device_number_keeps_what_fits() -> None:
    assert device_number(os.makedev(1, 3)) == 0x103


@pytest.mark.parametrize(("name", "length"), [(b"a", 16), (b"ab", 16), (b"abc", 24), (b"x" * 511, 528), (b"y" * 600, 528)])
def test_a_directory_entry(name: bytes, length: int) -> None:
    data = WIDE[Dirent].encode((9, DirEntry(5, name, FileType.DIR)))
    ino, reclen, namlen, kind = struct.unpack_from("<QHHB", data)
    assert (ino, reclen, namlen, kind) == (5, length, min(len(name), 511), 4)
    assert len(data) == length
    assert data[13:].split(b"\0")[0] == name[:511]


def test_a_lock_has_other_kinds() -> None:
    assert WIDE[Flock].decode(struct.pack("<qqihh", 1, 2, 3, 3, 1)) == Flock(1, 1, 1, 2, 3)
    assert WIDE[Flock].encode(Flock(2, 0, 1, 2, 3)) == struct.pack("<qqihh", 1, 2, 3, 2, 0)
    assert WIDE[Flock].decode(struct.pack("<qqihh", 0, 0, 0, 7, 0)).type not in (0, 1, 2)


def test_an_event_holds_what_64_bits_hold() -> None:
    event = KEvent(1 << 63, 4, 0x8001, 0x8000_0000, (1 << 63) + 5, (1 << 64) - 1)
    assert WIDE[KEvent].decode(WIDE[KEvent].encode(event)) == event._replace(data=5 - (1 << 63))
    assert len(NARROW[KEvent].encode(event)) == 28


def test_addresses() -> None:
    layout = WIDE[SockAddr]
    assert layout.decode(b"\x07\x01/tmp\0") == b"\x01\0/tmp\0"
    assert layout.decode(b"\x10\x18" + bytes(26)) == b"\x0a\0" + bytes(26)
    assert layout.encode(b"\x01\0/tmp\0") == b"\x07\x01/tmp\0"
    assert layout.encode(b"") == b"\x02\x01"
    for bad, refusal in ((b"", EINVAL), (b"\x02", EINVAL), (b"\x02\x01", ENOENT), (b"\x08\x01\0abc", ENOENT)):
        with pytest.raises(refusal):
            layout.decode(bad)


def test_a_control_message_has_another_level() -> None:
    assert WIDE[CmsgHdr].decode(struct.pack("<Iii4x", 20, 0xFFFF, 1)) == CmsgHdr(20, 1, 1)
    assert WIDE[CmsgHdr].decode(struct.pack("<Iii4x", 20, 1, 1)).level != 1
    assert WIDE[CmsgHdr].encode((20, 1, 1)) == struct.pack("<Iii4x", 20, 0xFFFF, 1)


def test_a_header_tells_flags_in_its_own_numbers() -> None:
    header = MsgHdr(1, 2, 3, 4, 5, 6, 0x20 | 0x8)
    assert struct.unpack("<QI4xQI4xQII", WIDE[MsgHdr].encode(header))[-1] == 0x10 | 0x20
    assert WIDE[MMsgHdr].encode((*header, 9))[-8:] == struct.pack("<I4x", 9)


def test_a_file_system() -> None:
    fs = StatFs(0, 4096, 100, 50, 40, 10, 5, 7, 255, 4096, 1 | 2)
    data = WIDE[MountedFs].encode(MountedFs(fs, b"memory", b"/mnt", b"x" * 2000))
    assert struct.unpack_from("<4Q4Q", data) == (0x1000 | 1 | 8, 4096, 4096, 4096, 100, 50, 40, 10)
    assert data[172:178] == b"memory"
    assert data[204:209] == b"/mnt\0"
    assert data[1228 + 1022 : 1228 + 1024] == b"x\0"
