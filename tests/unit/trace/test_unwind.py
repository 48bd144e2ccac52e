"""Frames by .eh_frame: on tables made by hand, on the files of this machine, on files that lie."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from ring3.abi.elf import ELF64, PT_LOAD, Ehdr, Phdr
from ring3.trace.elfimage import ElfImage, Symbols
from ring3.trace.unwind import AMD64, PT_GNU_EH_FRAME, FrameTable, Malformed, caller, evaluate

LOADER = Path("/lib64/ld-linux-x86-64.so.2")
CODE = 0x1000
HEADER = 0x2000         # of .eh_frame_hdr
TABLE = 0x2100          # of .eh_frame
SIZE = 0x6000


def image(program: bytes, *, augmentation: bytes = b"zR", cie_program: bytes = b"\x0c\x07\x08\x90\x01") -> ElfImage:
    """A file with one function at CODE, 0x100 bytes long, and the instructions `program` about it.

    At its beginning the CFA is rsp + 8 and the return address is saved below it.
    """
    encoding = b"\x01\x1b" if augmentation[:1] == b"z" else b""
    cie = b"\0\0\0\0\x01" + augmentation + b"\0" + b"\x01\x78\x10" + encoding + cie_program
    cie = cie.ljust((len(cie) + 7) // 8 * 8, b"\0")
    fde_at = TABLE + 4 + len(cie)
    begin = struct.pack("<iI", CODE - (fde_at + 8), 0x100)
    fde = struct.pack("<I", fde_at + 4 - TABLE) + begin + b"\0" + program
    data = bytearray(SIZE)
    data[TABLE:] = (struct.pack("<I", len(cie)) + cie + struct.pack("<I", len(fde)) + fde).ljust(SIZE - TABLE, b"\0")
    index = b"\x01\x1b\x03\x3b" + struct.pack("<iIii", TABLE - HEADER - 4, 1, CODE - HEADER, fde_at - HEADER)
    data[HEADER : HEADER + len(index)] = index
    phdrs = (
        Phdr(PT_LOAD, 5, 0, 0, 0, SIZE, SIZE, 4096), Phdr(PT_GNU_EH_FRAME, 4, HEADER, HEADER, HEADER, len(index), len(index), 4),
    )
    ehdr = Ehdr(b"\x7fELF\x02\x01\x01".ljust(16, b"\0"), 3, 62, 1, CODE, 64, 0, 0, 64, 56, len(phdrs), 64, 0, 0)
    head = ELF64.ehdr.encode(ehdr) + b"".join(map(ELF64.encode_phdr, phdrs))
    data[: len(head)] = head
    return of(bytes(data))


def of(data: bytes) -> ElfImage:
    return ElfImage(lambda offset, nbytes: data[offset : offset + nbytes] if 0 <= offset < 1 << 62 and nbytes > 0 else b"")


STACK = {0x8000: 0x1111, 0x8008: 0x2222, 0x8010: 0x3333, 0x8018: 0x4444}
NOTHING: dict[int, int] = {}
REGISTERS = {7: 0x8000, 6: 0x8010, 3: 5, 16: CODE}


def unwound(table: FrameTable, pc: int) -> dict[int, int] | None:
    row = table.row(pc)
    return None if row is None else caller(row, REGISTERS, STACK.__getitem__, AMD64)


def test_where_the_caller_is() -> None:
    # at +1 rbp was pushed (CFA = rsp + 16, rbp at CFA - 16), at +4 it became the frame pointer
    table = FrameTable(image(b"\x41\x0e\x10\x86\x02\x43\x0d\x06"))
    assert unwound(table, CODE) == {7: 0x8008, 6: 0x8010, 3: 5, 16: 0x1111}
    assert unwound(table, CODE + 1) == {7: 0x8010, 6: 0x1111, 3: 5, 16: 0x2222}
    assert unwound(table, CODE + 4) == {7: 0x8020, 6: 0x3333, 3: 5, 16: 0x4444}
    assert unwound(table, CODE + 0x100) is None
    assert unwound(table, CODE - 1) is None


def test_states_that_are_kept_and_what_is_restored() -> None:
    # +1: CFA = rsp + 16; kept; +2: rsp + 24; as it was kept again at +3; +4: rbx saved; +5: and restored
    table = FrameTable(image(b"\x41\x0e\x10\x0a\x41\x0e\x18\x41\x0b\x41\x83\x02\x41\xc3"))
    assert [(unwound(table, CODE + at) or {}).get(7) for at in range(4)] == [0x8008, 0x8010, 0x8018, 0x8010]
    assert [(unwound(table, CODE + at) or {}).get(3) for at in (4, 5)] == [0x1111, 5]


def test_the_outermost_function_has_no_caller() -> None:
    assert unwound(FrameTable(image(b"\x07\x10")), CODE) is None


def test_expressions() -> None:
    # the CFA is what stands at rsp + 8; rbx is what stands 8 bytes below
    table = FrameTable(image(b"\x0f\x03\x77\x08\x06\x10\x03\x02\x09\xf8"))
    assert table.row(CODE) is not None
    assert caller(table.row(CODE), {7: 0x8000}, {0x8008: 0x9000, 0x8FF8: 7}.__getitem__, AMD64) is None    # type: ignore[arg-type]
    for code, value in (
        (b"\x08\x05\x09\xfe\x22", 3), (b"\x40\x3f\x1a", 0), (b"\x12\x22", None), (b"\x31\x35\x24", 32), (b"\x3a\x3b\x2a", 0),
        (b"\x06", None), (b"\x23\x05", None), (b"\xff", None), (b"", None),
    ):
        if value is None:
            with pytest.raises((Malformed, LookupError)):
                evaluate(code, {}, NOTHING.__getitem__, AMD64, ())
        else:
            assert evaluate(code, {}, NOTHING.__getitem__, AMD64, ()) == value


@pytest.mark.parametrize("program", [
    b"\x01" + bytes(8), b"\x0b", b"\x3f", b"\x0e\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x0f\xff\x7f", b"\x86", b"\x02",
    bytes(5000),
])
def test_instructions_that_make_no_sense(program: bytes) -> None:
    assert FrameTable(image(program)).row(CODE + 0xFF) is None


def test_a_signal_frame_is_known_as_one() -> None:
    row = FrameTable(image(b"", augmentation=b"zRS")).row(CODE)
    assert row is not None
    assert row.is_signal


def test_no_file_at_all() -> None:
    for data in (b"", b"\x7fELF", b"#!/bin/sh\n", b"\x7fELF\x02\x01\x01" + b"\xff" * 4096):
        found = of(data)
        assert FrameTable(found).row(CODE) is None
        assert Symbols(found).find(CODE) is None
        assert found.build_id() == ""


@pytest.mark.skipif(not LOADER.exists(), reason="no glibc on this machine")
def test_files_that_lie() -> None:
    data = LOADER.read_bytes()
    true = of(data)
    index = true.segment(PT_GNU_EH_FRAME)
    assert index is not None
    places = [
        (0, 64 + 56 * len(true.phdrs)), (index.offset, index.filesz), (index.offset, 4 * index.filesz), (len(data) - 2000, 2000),
    ]
    assert sum(FrameTable(true).row(pc) is not None for pc in range(0x1000, 0x26000, 97)) > 1000
    chance = random.Random(5)
    for _ in range(60):
        wrong = bytearray(data if chance.random() < 0.9 else data[: chance.randrange(len(data))])
        for _ in range(chance.choice((1, 5, 50, 2000))):
            start, length = chance.choice(places)
            at = start + chance.randrange(length)
            if at < len(wrong):
                wrong[at] = chance.randrange(256)
        found = of(bytes(wrong))
        table, symbols = FrameTable(found), Symbols(found)
        found.build_id()
        for pc in range(0x1000, 0x26000, 997):
            symbols.find(pc)
            row = table.row(pc)
            if row is not None:
                caller(row, dict.fromkeys(range(17), 0x7000), lambda address: address & 0xFFFF, table.machine)


@pytest.mark.skipif(not LOADER.exists(), reason="no glibc on this machine")
def test_names() -> None:
    found = Symbols(of(LOADER.read_bytes()))
    assert found._rest, "no symbols"
    symbol = found.find(found._starts[0])
    assert symbol is not None
    assert symbol.name.isprintable()
    assert symbol.start == found._starts[0]
    assert found.find(0) is None
