"""What kind of file something is, whatever its bytes are."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ring3.abi.elf import EM_386
from ring3.trace.explain.files import HEAD, FileKind, kind_of
from tests.unit.exec.images import interpreted, program


def kind(data: bytes) -> FileKind:
    return kind_of(data[:HEAD], lambda offset, nbytes: data[offset : offset + nbytes])


@pytest.mark.parametrize(("data", "key"), [
    (b"", "empty"), (bytes(9), "zeros"), (b"#!/bin/sh\n", "script"), (b"text\n", "text"), ("ä ö\n".encode(), "text"),
    (b"\xef\xbb\xbftext", "bom"), (b"\xff\xfet\0", "utf16"), (b"\x7fELF", "truncated"), (b"\x7fELF\x02" + bytes(10), "truncated"),
    (b"MZ", "pe"), (b"\xfe\xed\xfa\xcf", "macho"), (b"\xca\xfe\xba\xbe\0\0\0\2", "macho"), (b"\xca\xfe\xba\xbe\0\0\0\x41", "java"),
    (b"\xa7\r\r\n" + bytes(12), "pyc"), (b"\0asm", "wasm"), (b"\x1f\x8b\x08", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x07\1\0\0" + bytes(28), "aout"), (b"\0\x86\1\x0b" + bytes(28), "aout"), (b"\x64\x86\1\0", "coff"), (b"\1\2\3\4", "data"),
])
def test_kinds(data: bytes, key: str) -> None:
    assert kind(data).key == key


def test_elf_files_are_read_by_their_own_class_and_order() -> None:
    found = kind(interpreted(b"/lib/ld.so")).elf
    assert found is not None
    assert (found.bits, found.order, found.machine, found.interpreter) == (64, "little-endian", "x86-64", b"/lib/ld.so")
    narrow = kind(program(machine=EM_386)).elf
    assert narrow is not None
    assert (narrow.bits, narrow.machine, narrow.interpreter) == (32, "80386", None)
    big = bytearray(64)
    big[:6], big[16:20] = b"\x7fELF\x01\x02", b"\0\x02\0\x08"
    swapped = kind(bytes(big)).elf
    assert swapped is not None
    assert (swapped.bits, swapped.order, swapped.machine, swapped.type_name) == (32, "big-endian", "MIPS", "ET_EXEC")


def test_programs_of_this_machine() -> None:
    data = Path("/bin/sh").read_bytes()
    found = kind(data).elf
    assert found is not None
    assert found.interpreter == b"/lib64/ld-linux-x86-64.so.2"
    assert "loader /lib64/ld-linux-x86-64.so.2" in found.words()


def test_the_header_may_name_the_system() -> None:
    branded = bytearray(program())
    branded[7] = 9
    found = kind(bytes(branded)).elf
    assert found is not None
    assert found.brand == "FreeBSD"


def test_any_bytes_are_something() -> None:
    chance = random.Random(3)
    starts = (b"", b"\x7fELF", b"\x7fELF\x01", b"\x7fELF\x02\x02", b"#!", b"\xca\xfe\xba\xbe", b"MZ", b"\x07\x01")
    for _ in range(3000):
        data = chance.choice(starts) + chance.randbytes(chance.randrange(200))
        found = kind(data)
        assert found.words
        if found.elf is not None:
            assert found.elf.words()
            assert len(found.elf.phdrs) <= 1024
