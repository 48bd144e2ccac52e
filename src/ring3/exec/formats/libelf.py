"""What SerenityOS asks of an ELF file before it runs it: its library's two validations and the choice of a load offset.

Pure functions.  The rules stand in the original's order, each with a name of its own: the first that fails is the refusal's reason.
Invariant: nothing here reads a file; its numbers may be anything.  Source: LibELF/Validation.cpp, LibELF/Image.cpp and execve.cpp's
get_load_offset, as the reference states them (sections 1.4 and 1.6).

Not here: what is mapped where (`serenity.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ring3.abi.elf import (
    ELF64,
    EM_X86_64,
    ET_DYN,
    ET_EXEC,
    MAGIC,
    PF_W,
    PF_X,
    PT_DYNAMIC,
    PT_GNU_STACK,
    PT_INTERP,
    PT_LOAD,
    Ehdr,
    Phdr,
)
from ring3.errors import E2BIG, EINVAL
from ring3.namedtuple import NamedTuple
from ring3.vm.region import PAGE, page_floor

ET_REL: Final = 1
ET_CORE: Final = 4
PT_NOTE: Final = 4
PT_PHDR: Final = 6
PT_TLS: Final = 7
PT_GNU_EH_FRAME: Final = 0x6474E550
PT_GNU_RELRO: Final = 0x6474E552
EHDR_SIZE: Final = 64
PHDR_SIZE: Final = 56
SHDR_SIZE: Final = 64
STACK_MIN: Final = 65536                # PTHREAD_STACK_MIN
STACK_MAX: Final = 32 << 20             # PTHREAD_STACK_MAX

LOAD_START: Final = 0x0800_0000
LOAD_SIZE: Final = 65536 * PAGE
LOAD_END: Final = LOAD_START + LOAD_SIZE
MINIMUM_SPAN: Final = 10 << 20

_MASK: Final = (1 << 64) - 1

# (rule, whether it holds): all of them must.
HeaderRule = tuple[str, Callable[[Ehdr, int], bool]]

HEADER_RULES: Final[tuple[HeaderRule, ...]] = (
    ("no ELF magic", lambda h, _: h.ident[:4] == MAGIC),
    ("not 64-bit", lambda h, _: h.ident[4] == 2),
    ("not little endian", lambda h, _: h.ident[5] == 1),
    ("another version in e_ident", lambda h, _: h.ident[6] == 1),
    ("another system's ABI", lambda h, _: h.ident[7] in (0, 3)),
    ("another version of the ABI", lambda h, _: h.ident[8] == 0),
    ("for another CPU", lambda h, _: h.machine == EM_X86_64),
    ("an unknown type", lambda h, _: h.type in (ET_REL, ET_EXEC, ET_DYN, ET_CORE)),
    ("another version", lambda h, _: h.version == 1),
    ("a header of another size", lambda h, _: h.ehsize == EHDR_SIZE),
    ("program headers inside the header", lambda h, _: not (h.phnum and h.phoff < h.ehsize)),
    ("section headers inside the header", lambda h, _: not (h.shnum and h.shoff < h.ehsize)),
    ("program headers beyond the end of the file", lambda h, size: h.phoff <= size),
    ("section headers beyond the end of the file", lambda h, size: h.shoff <= size),
    ("a place for program headers, and none", lambda h, _: h.phnum != 0 or h.phoff == 0),
    ("program headers not right behind the header", lambda h, _: h.phnum == 0 or h.phoff == EHDR_SIZE),
    ("flags", lambda h, _: h.flags == 0),
    ("program headers of another size", lambda h, _: h.phnum == 0 or h.phentsize == PHDR_SIZE),
    ("section headers of another size", lambda h, _: h.shentsize == SHDR_SIZE),
    ("program headers that wrap round", lambda h, _: h.phoff + h.phnum * h.phentsize <= _MASK),
    ("program headers cut off by the end of the file", lambda h, size: h.phoff + h.phnum * h.phentsize <= size),
    ("section headers among the program headers", lambda h, _: h.shoff == 0 or h.shoff >= h.phoff + h.phnum * h.phentsize),
    ("section headers that wrap round", lambda h, _: h.shoff + h.shnum * h.shentsize <= _MASK),
    ("section headers cut off by the end of the file", lambda h, size: h.shoff + h.shnum * h.shentsize <= size),
    ("names of sections in no section", lambda h, _: h.shstrndx == 0 or h.shstrndx < h.shnum),
)


def header_fault(header: Ehdr, file_size: int) -> str | None:
    """What is wrong with an ELF header (validate_elf_header); None: nothing.

    >>> header_fault(ELF64.ehdr.decode(bytes(64)), 64)
    'no ELF magic'
    """
    return next((fault for fault, holds in HEADER_RULES if not holds(header, file_size)), None)


class Headers(NamedTuple):
    """Program headers that passed: all of them, and the path that PT_INTERP names (empty without one)."""

    phdrs: tuple[Phdr, ...]
    interpreter: bytes


def program_headers(header: Ehdr, file_size: int, buffer: bytes) -> Headers | str:
    """The program headers in the first bytes of a file (validate_program_headers), or what is wrong with them.

    The table and the interpreter's name must lie in `buffer`.  Several PT_INTERP make one path, one after the other, and zeros in a
    name are part of it.
    """
    end = header.phoff + header.phnum * PHDR_SIZE
    if end > len(buffer):
        return "program headers beyond the first page"
    phdrs = tuple(ELF64.phdr.array(buffer[header.phoff : end]))
    interpreter = b""
    for phdr in phdrs:
        fault = _fault_of(phdr, header, file_size, len(buffer))
        if fault is not None:
            return fault
        if phdr.type == PT_INTERP:
            interpreter += buffer[phdr.offset : phdr.offset + phdr.filesz - 1]
    return Headers(phdrs, interpreter)


def _fault_of(phdr: Phdr, header: Ehdr, file_size: int, seen: int) -> str | None:
    """The first rule that a program header breaks, in the original's order."""
    if phdr.filesz > phdr.memsz:
        return "more in the file than in memory"
    if phdr.type == PT_LOAD and header.type != ET_CORE:
        if phdr.align == 0:
            return "a segment without alignment"
        if phdr.align % PAGE:
            return "a segment aligned to less than a page"
        if phdr.vaddr % phdr.align != phdr.offset % phdr.align:
            return "a segment whose place in the file does not fit its address"
    if phdr.type == PT_INTERP:
        if phdr.offset + phdr.filesz > min(seen, _MASK):
            return "an interpreter's name beyond the first page"
        return None if phdr.filesz > 1 else "an empty interpreter's name"
    return _KINDS.get(phdr.type, _unknown)(phdr, file_size)


def _segment(phdr: Phdr, file_size: int) -> str | None:
    if phdr.offset + phdr.filesz > min(file_size, _MASK):
        return "a segment beyond the end of the file"
    return _writable_and_executable(phdr, file_size)


def _writable_and_executable(phdr: Phdr, _size: int) -> str | None:
    return "a segment both writable and executable" if phdr.flags & PF_W and phdr.flags & PF_X else None


def _stack(phdr: Phdr, _size: int) -> str | None:
    if phdr.memsz and not STACK_MIN <= phdr.memsz <= STACK_MAX:
        return "a stack of less than 64 KiB or more than 32 MiB"
    return "a stack that is no whole number of pages" if phdr.memsz % PAGE else None


def _unknown(phdr: Phdr, _size: int) -> str | None:
    return f"a program header of a type it does not know: {phdr.type:#x}"


_KINDS: Final[dict[int, Callable[[Phdr, int], str | None]]] = {
    **dict.fromkeys((PT_LOAD, PT_DYNAMIC, PT_GNU_EH_FRAME, PT_NOTE, PT_PHDR, PT_TLS), _segment),
    PT_GNU_STACK: _stack,
    PT_GNU_RELRO: _writable_and_executable,
}


def load_range(phdrs: Sequence[Phdr]) -> tuple[int, int]:
    """From the first to the last byte of the segments (get_required_load_range); an address of 0 is forgotten once another follows.

    Raises EINVAL where that is nothing: a file without segments makes the original fall.
    """
    start = end = 0
    for phdr in phdrs:
        if phdr.type == PT_LOAD:
            if start == 0 or phdr.vaddr < start:
                start = phdr.vaddr
            last = (phdr.vaddr + phdr.memsz) & _MASK
            if end == 0 or last > end:
                end = last
    if end <= start:
        raise EINVAL("no segments to load")
    return start, end


def load_offset(kind: int, program: Sequence[Phdr], interpreter: Sequence[Phdr] | None, random: Callable[[], int]) -> int:
    """What is added to the addresses of the file that the kernel maps (get_load_offset).  `random` gives 64 bits.

    Raises EINVAL for a type that does not run, E2BIG where the place is too small to be random in.
    """
    if kind == ET_DYN:
        return _within(LOAD_START, LOAD_SIZE, random)
    if kind != ET_EXEC:
        raise EINVAL("neither an executable nor a shared object")
    start, end = load_range(program)
    if interpreter is not None:
        first, last = load_range(interpreter)
        loader_end = (LOAD_END - (last - first)) & _MASK
        if end < LOAD_START or start > loader_end:
            return _within(LOAD_START, LOAD_SIZE, random)
        below, above = (LOAD_START, start), (end, loader_end)
        start, end = below if _span(*below) > _span(*above) else above
    if _span(start, end) < MINIMUM_SPAN:
        raise E2BIG("too little room to load it at a random place")
    return _within(start, _span(start, end), random)


def _span(start: int, end: int) -> int:
    return (end - start) & _MASK


def _within(start: int, size: int, random: Callable[[], int]) -> int:
    return page_floor((start + random() % size) & _MASK)
