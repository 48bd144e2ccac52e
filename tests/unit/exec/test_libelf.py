"""LibELF's validations and the choice of a load offset: each rule is broken alone and must be the one that is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ring3.abi.elf import ELF64, Ehdr, Phdr
from ring3.errors import E2BIG, EINVAL
from ring3.exec.formats import libelf
from ring3.exec.formats.libelf import (
    LOAD_END,
    LOAD_START,
    Headers,
    header_fault,
    load_offset,
    load_range,
    program_headers,
)
from tests.rows import row

SIZE = 0x3000
IDENT = b"\x7fELF\x02\x01\x01" + bytes(9)
GOOD = Ehdr(IDENT, 3, 62, 1, 0x1000, 64, 0x2000, 0, 64, 56, 2, 64, 3, 2)
TEXT = Phdr(1, 5, 0, 0, 0, 0x1000, 0x1000, 0x1000)
DATA = Phdr(1, 6, 0x1000, 0x1000, 0, 0x800, 0x2000, 0x1000)


def ident(index: int, value: int) -> bytes:
    return IDENT[:index] + bytes([value]) + IDENT[index + 1 :]


@row("serenity", "exec", "the ELF header of a good static position-independent program is accepted")
def test_a_good_header() -> None:
    assert header_fault(GOOD, SIZE) is None
    assert header_fault(GOOD._replace(ident=ident(7, 3)), SIZE) is None, "the GNU ABI is accepted too"
    assert header_fault(GOOD._replace(phnum=0, phoff=0, phentsize=0), SIZE) is None, "a file without program headers is"


BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("no ELF magic", {"ident": ident(0, 0x7E)}),
    ("not 64-bit", {"ident": ident(4, 1)}),
    ("not little endian", {"ident": ident(5, 2)}),
    ("another version in e_ident", {"ident": ident(6, 0)}),
    ("another system's ABI", {"ident": ident(7, 2)}),
    ("another version of the ABI", {"ident": ident(8, 1)}),
    ("for another CPU", {"machine": 3}),
    ("an unknown type", {"type": 5}),
    ("another version", {"version": 2}),
    ("a header of another size", {"ehsize": 52}),
    ("program headers inside the header", {"phoff": 63}),
    ("section headers inside the header", {"shoff": 63}),
    ("program headers beyond the end of the file", {"phoff": SIZE + 1}),
    ("section headers beyond the end of the file", {"shoff": SIZE + 1}),
    ("a place for program headers, and none", {"phnum": 0}),
    ("program headers not right behind the header", {"phoff": 72}),
    ("flags", {"flags": 1}),
    ("program headers of another size", {"phentsize": 32}),
    ("section headers of another size", {"shentsize": 0}),
    ("program headers cut off by the end of the file", {"phnum": 0x300, "shoff": 0, "shnum": 0, "shstrndx": 0}),
    ("section headers among the program headers", {"shoff": 128}),
    ("section headers cut off by the end of the file", {"shnum": 0x100}),
    ("names of sections in no section", {"shstrndx": 3}),
]


@row("serenity", "exec", "each rule of the ELF header's validation refuses the file with ENOEXEC, in the original's order")
@pytest.mark.parametrize(("fault", "change"), BROKEN, ids=[fault for fault, _ in BROKEN])
def test_each_rule_of_the_header(fault: str, change: dict[str, Any]) -> None:
    assert header_fault(GOOD._replace(**change), SIZE) == fault


def test_every_rule_has_a_row() -> None:
    wraps = {"program headers that wrap round", "section headers that wrap round"}      # shadowed by the end of the file
    assert {fault for fault, _ in libelf.HEADER_RULES} == {fault for fault, _ in BROKEN} | wraps


# --- program headers
def table(*phdrs: Phdr, tail: bytes = b"", size: int = 4096, kind: int = 3) -> Headers | str:
    header = GOOD._replace(phnum=len(phdrs), type=kind)
    data = ELF64.ehdr.encode(header) + b"".join(ELF64.encode_phdr(phdr) for phdr in phdrs) + tail
    return program_headers(header, SIZE, data.ljust(size, b"\0")[:size])


def test_good_program_headers() -> None:
    found = table(TEXT, DATA, Phdr(0x6474E551, 6, 0, 0, 0, 0, 0, 0))
    assert isinstance(found, Headers)
    assert found.phdrs[:2] == (TEXT, DATA)
    assert found.interpreter == b""


FAULTS: list[tuple[str, Phdr]] = [
    ("more in the file than in memory", TEXT._replace(memsz=0xFFF)),
    ("more in the file than in memory", Phdr(4, 4, 0, 0, 0, 2, 1, 0)),
    ("a segment without alignment", TEXT._replace(align=0)),
    ("a segment aligned to less than a page", TEXT._replace(align=2048)),
    ("a segment whose place in the file does not fit its address", TEXT._replace(vaddr=0x10)),
    ("an interpreter's name beyond the first page", Phdr(3, 4, 4000, 0, 0, 100, 100, 1)),
    ("an interpreter's name beyond the first page", Phdr(3, 4, 0x1234, 0, 0, (1 << 64) - 0x1000, (1 << 64) - 1, 1)),
    ("an empty interpreter's name", Phdr(3, 4, 0x100, 0, 0, 1, 0xFFFF0000, 1)),
    ("a segment beyond the end of the file", DATA._replace(offset=0x3000, vaddr=0x3000)),
    ("a segment beyond the end of the file", Phdr(2, 6, (1 << 64) - 8, 0, 0, 16, 16, 8)),
    ("a segment both writable and executable", DATA._replace(flags=7)),
    ("a segment both writable and executable", Phdr(0x6474E552, 3, 1 << 60, 0, 0, 1 << 60, 1 << 60, 1)),
    ("a stack of less than 64 KiB or more than 32 MiB", Phdr(0x6474E551, 6, 0, 0, 0, 0, 0x8000, 16)),
    ("a stack of less than 64 KiB or more than 32 MiB", Phdr(0x6474E551, 6, 0, 0, 0, 0, (32 << 20) + 0x1000, 16)),
    ("a stack that is no whole number of pages", Phdr(0x6474E551, 6, 0, 0, 0, 0, 0x10800, 16)),
    ("a program header of a type it does not know: 0x0", Phdr(0, 0, 0, 0, 0, 0, 0, 0)),
    ("a program header of a type it does not know: 0x6474e553", Phdr(0x6474E553, 4, 0, 0, 0, 0x20, 0x20, 8)),
]


@row("serenity", "find_elf_interpreter_for_executable", "each rule of the program headers refuses the file with ENOEXEC")
@pytest.mark.parametrize(("fault", "phdr"), FAULTS, ids=[f"{number}-{fault}" for number, (fault, _) in enumerate(FAULTS)])
def test_each_rule_of_the_program_headers(fault: str, phdr: Phdr) -> None:
    assert table(phdr) == fault


@row("serenity", "find_elf_interpreter_for_executable", "an executable stack is only warned about")
@pytest.mark.parametrize("memsz", [0, 65536, 32 << 20])
def test_stacks_that_are_accepted(memsz: int) -> None:
    assert isinstance(table(Phdr(0x6474E551, 7, 0, 0, 0, 0, memsz, 0)), Headers)


@row("serenity", "find_elf_interpreter_for_executable", "the program headers must lie in the first page")
def test_the_table_must_be_seen() -> None:
    assert table(*[TEXT._replace(filesz=0, memsz=0)] * 73) == "program headers beyond the first page"
    assert isinstance(table(*[TEXT._replace(filesz=0, memsz=0)] * 73, size=8192), Headers)


@row("serenity", "find_elf_interpreter_for_executable", "a core file's segments need no alignment")
def test_a_core_file() -> None:
    assert isinstance(table(TEXT._replace(align=0), kind=4), Headers)


@row("serenity", "find_elf_interpreter_for_executable", "the interpreter's name is p_filesz - 1 bytes, zeros inside are part of it")
def test_the_interpreters_name() -> None:
    name = b"/usr/lib/Loader.so\0"
    at = 64 + 56
    found = table(Phdr(3, 4, at, 0, 0, len(name), len(name), 1), tail=name)
    assert isinstance(found, Headers)
    assert found.interpreter == b"/usr/lib/Loader.so"
    zeros = table(Phdr(3, 4, at, 0, 0, 5, 5, 1), tail=b"/a\0b\0")
    assert isinstance(zeros, Headers)
    assert zeros.interpreter == b"/a\0b"


@row("serenity", "find_elf_interpreter_for_executable", "several PT_INTERP make one path, one after the other")
def test_two_interpreters_are_one() -> None:
    at = 64 + 2 * 56
    found = table(Phdr(3, 4, at, 0, 0, 6, 6, 1), Phdr(3, 4, at + 6, 0, 0, 4, 4, 1), tail=b"/usr/\0lib\0")
    assert isinstance(found, Headers)
    assert found.interpreter == b"/usr/lib"


# --- where it goes
def fixed(value: int) -> Any:
    return lambda: value


@row("serenity", "get_load_offset", "a shared object goes to a random page of the 256 MiB from 0x8000000 on")
@given(draw=st.integers(0, (1 << 64) - 1))
@settings(max_examples=50)
def test_a_shared_object_goes_anywhere_in_the_range(draw: int) -> None:
    offset = load_offset(3, [TEXT], None, fixed(draw))
    assert LOAD_START <= offset < LOAD_END
    assert offset % 4096 == 0


@row("serenity", "get_load_offset", "a relocatable or core file is EINVAL")
@pytest.mark.parametrize("kind", [1, 4])
def test_what_does_not_run(kind: int) -> None:
    with pytest.raises(EINVAL):
        load_offset(kind, [TEXT], None, fixed(0))


@row("serenity", "get_load_offset", "a fixed program without interpreter under 10 MiB is E2BIG")
def test_a_small_fixed_program_is_too_big() -> None:
    with pytest.raises(E2BIG):
        load_offset(2, [TEXT._replace(vaddr=0x400000)], None, fixed(0))
    large = TEXT._replace(vaddr=0x400000, memsz=10 << 20)
    assert load_offset(2, [large], None, fixed(5 << 20)) == 0x400000 + (5 << 20)


LOADER = [TEXT._replace(vaddr=0x1000, memsz=0x100000)]


@row("serenity", "get_load_offset", "with a fixed program outside the load range the loader goes anywhere in it")
@pytest.mark.parametrize("vaddr", [0x400000, 0x2000_0000])
def test_a_fixed_program_elsewhere_leaves_the_range_to_the_loader(vaddr: int) -> None:
    assert load_offset(2, [TEXT._replace(vaddr=vaddr)], LOADER, fixed(0x12345)) == LOAD_START + 0x12000


@row("serenity", "get_load_offset", "beside a fixed program inside it the loader goes into the larger part, the upper one at a tie")
def test_the_loader_takes_the_larger_part() -> None:
    end = LOAD_END - 0x100000
    below = TEXT._replace(vaddr=end - 0x2000, memsz=0x1000)
    assert load_offset(2, [below], LOADER, fixed(0)) == LOAD_START
    above = TEXT._replace(vaddr=LOAD_START + 0x1000, memsz=0x1000)
    assert load_offset(2, [above], LOADER, fixed(0)) == LOAD_START + 0x2000
    middle = (LOAD_START + end) // 2
    tie = TEXT._replace(vaddr=middle - 0x1000, memsz=0x2000)
    assert load_offset(2, [tie], LOADER, fixed(0)) == middle + 0x1000


@row("serenity", "get_load_offset", "E2BIG when neither part beside a fixed program has 10 MiB")
def test_no_room_for_the_loader() -> None:
    huge = TEXT._replace(vaddr=LOAD_START + (5 << 20), memsz=(256 - 5 - 5) << 20)
    with pytest.raises(E2BIG):
        load_offset(2, [huge], LOADER, fixed(0))


@row("serenity", "get_required_load_range", "a segment at address 0 is forgotten once another one follows")
def test_address_zero_counts_as_unset() -> None:
    assert load_range([TEXT, DATA]) == (0x1000, 0x3000)
    assert load_range([TEXT]) == (0, 0x1000)


@row("serenity", "get_required_load_range", "a file without segments, where the original falls, is EINVAL here")
def test_no_segments_at_all() -> None:
    with pytest.raises(EINVAL):
        load_range([DATA._replace(type=4)])


# --- real files
@pytest.fixture(scope="module")
def static_pie(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A self-relocating program without a libc, linked by the recipe of the reference (section 5.5)."""
    directory = tmp_path_factory.mktemp("libelf")
    (directory / "p.c").write_text("void _start(void) { for (;;) ; }\n")
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-musl", "-nostdlib", "-static-pie", "-fPIE", "-O1"]
    subprocess.run([*compiler, "-o", directory / "p", directory / "p.c"], check=True, capture_output=True)
    return (directory / "p").read_bytes()


def test_a_program_of_our_recipe_passes(static_pie: bytes) -> None:
    header = ELF64.ehdr.decode(static_pie)
    assert header_fault(header, len(static_pie)) is None
    found = program_headers(header, len(static_pie), static_pie[:4096])
    assert isinstance(found, Headers), found


def test_a_linux_program_with_gnu_properties_does_not() -> None:
    data = Path("/bin/true").resolve().read_bytes()
    header = ELF64.ehdr.decode(data)
    assert header_fault(header, len(data)) is None
    assert "0x6474e553" in str(program_headers(header, len(data), data[:4096]))


@given(data=st.binary(max_size=300))
@settings(max_examples=200)
def test_garbage_is_a_fault_and_no_crash(data: bytes) -> None:
    raw = (IDENT + data).ljust(4096, b"\0")
    header = ELF64.ehdr.decode(raw)
    if header_fault(header, 4096) is None:
        program_headers(header, 4096, raw)
