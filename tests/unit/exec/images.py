"""ELF files made by hand, down to the byte: what a linker would never write."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ring3.abi.elf import (
    ELF32,
    ELF64,
    EM_386,
    EM_X86_64,
    ET_DYN,
    ET_EXEC,
    PF_R,
    PF_W,
    PF_X,
    PT_GNU_STACK,
    PT_INTERP,
    PT_LOAD,
    Ehdr,
    ElfClass,
    Phdr,
)

EXIT_42 = {
    EM_X86_64: bytes.fromhex("bf2a000000 b83c000000 0f05"),        # mov edi, 42; mov eax, 60; syscall
    EM_386: bytes.fromhex("bb2a000000 b801000000 cd80"),           # mov ebx, 42; mov eax, 1; int 0x80
}
BASE = 0x400000
CODE = 0x1000           # offset and distance from the base of the code's page


class Elf(NamedTuple):
    """A file to be: headers at the start, then `parts` (offset, bytes).  Every field may be wrong."""

    machine: int = EM_X86_64
    type: int = ET_EXEC
    entry: int = BASE + CODE
    phdrs: tuple[Phdr, ...] = ()
    parts: tuple[tuple[int, bytes], ...] = ()
    ident: bytes | None = None
    phentsize: int | None = None
    phnum: int | None = None
    phoff: int | None = None
    size: int | None = None

    @property
    def elf(self) -> ElfClass:
        return ELF32 if self.machine == EM_386 else ELF64

    def encode(self) -> bytes:
        elf = self.elf
        header = elf.ehdr.size
        ident = self.ident or b"\x7fELF" + bytes([1 if elf is ELF32 else 2, 1, 1]) + bytes(9)
        ehdr = Ehdr(
            ident, self.type, self.machine, 1, self.entry, header if self.phoff is None else self.phoff, 0, 0, header,
            elf.phdr.size if self.phentsize is None else self.phentsize,
            len(self.phdrs) if self.phnum is None else self.phnum, 0, 0, 0,
        )
        end = max([offset + len(data) for offset, data in self.parts], default=0)
        data = bytearray(max(end, header + elf.phdr.size * len(self.phdrs)))
        data[:header] = elf.ehdr.encode(ehdr)
        for index, phdr in enumerate(self.phdrs):
            at = header + index * elf.phdr.size
            data[at : at + elf.phdr.size] = elf.encode_phdr(phdr)
        for offset, part in self.parts:
            data[offset : offset + len(part)] = part
        return bytes(data if self.size is None else data[: self.size].ljust(self.size, b"\0"))


def load(
    vaddr: int, *, offset: int = CODE, filesz: int = 0x100, memsz: int | None = None, flags: int = PF_R | PF_X,
    align: int = 4096,
) -> Phdr:
    """A PT_LOAD."""
    return Phdr(PT_LOAD, flags, offset, vaddr, vaddr, filesz, filesz if memsz is None else memsz, align)


def program(
    *extra: Phdr, machine: int = EM_X86_64, base: int = BASE, type: int = ET_EXEC,  # noqa: A002 - the field's word
    parts: Iterable[tuple[int, bytes]] = (), before: Sequence[Phdr] = (), **fields: int | bytes | None,
) -> bytes:
    """A program that exits with 42: headers and code in one segment at `base`; `extra` headers follow it."""
    code = Phdr(PT_LOAD, PF_R | PF_X, 0, base, base, CODE + 0x100, CODE + 0x100, 4096)
    plain = Elf(
        machine, type, base + CODE, (*before, code, *extra), ((CODE, EXIT_42[machine].ljust(0x100, b"\xcc")), *parts)
    )
    return plain._replace(**fields).encode()  # type: ignore[arg-type]


def pie(*extra: Phdr, **fields: int | bytes | None) -> bytes:
    """The same, position-independent."""
    return program(*extra, type=ET_DYN, base=0, **fields)  # type: ignore[arg-type]


def interp(
    name: bytes, *, offset: int = 0x800, filesz: int | None = None, terminate: bool = True
) -> tuple[Phdr, tuple[int, bytes]]:
    """A PT_INTERP, and the part of the file it points to."""
    text = name + b"\0" if terminate else name
    size = len(text) if filesz is None else filesz
    return Phdr(PT_INTERP, PF_R, offset, BASE + offset, BASE + offset, size, len(text), 1), (offset, text)


def interpreted(name: bytes, *, machine: int = EM_X86_64, **how: int | bool | None) -> bytes:
    """A program with this interpreter."""
    phdr, part = interp(name, **how)  # type: ignore[arg-type]
    return program(before=(phdr,), parts=(part,), machine=machine)


def pie_interpreted(name: bytes, machine: int = EM_X86_64) -> bytes:
    """A position-independent program with this interpreter."""
    phdr, part = interp(name)
    code = Phdr(PT_LOAD, PF_R | PF_X, 0, 0, 0, 0x1100, 0x1100, 4096)
    return Elf(machine, ET_DYN, 0x1000, (phdr, code), (part, (0x1000, b"\xcc" * 256))).encode()


def stack(flags: int) -> Phdr:
    """A PT_GNU_STACK."""
    return Phdr(PT_GNU_STACK, flags, 0, 0, 0, 0, 0, 16)


def words(data: bytes, word_size: int = 8) -> list[int]:
    """The words a stack is full of."""
    count = len(data) // word_size
    return list(struct.unpack_from(f"<{count}{'Q' if word_size == 8 else 'I'}", data))


DATA = PF_R | PF_W
