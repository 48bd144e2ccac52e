"""a.out files made by hand: a header of eight words, text, data.  Every field may lie."""

from __future__ import annotations

import struct
from typing import NamedTuple

from ring3.abi.x86 import Arch
from ring3.exec.formats.aout import LD, MID_I386, MID_X86_64, MID_ZERO, NMAGIC, OMAGIC, QMAGIC, ZMAGIC

MACHINE = {Arch.I386: MID_I386, Arch.X86_64: MID_X86_64}
WORDS = {Arch.I386: "<7I", Arch.X86_64: "<7Q"}

# NetBSD programs: exit(the byte at `data`, plus the word behind the data, which is bss and so 0).
#   i386: movzx eax, byte [data]; add eax, [bss]; push eax; push eax; mov eax, 1; int 0x80
#   amd64: movzx edi, byte [data]; add edi, [bss]; mov eax, 1; syscall
_CODE = {
    Arch.I386: (bytes.fromhex("0fb605"), bytes.fromhex("0305"), bytes.fromhex("5050 b801000000 cd80")),
    Arch.X86_64: (bytes.fromhex("0fb63c25"), bytes.fromhex("033c25"), bytes.fromhex("b801000000 0f05")),
}
STATUS = 42


class Aout(NamedTuple):
    """A file to be.  Sizes not given are those of `code` and `init`; `first` replaces the first word's four bytes."""

    arch: Arch = Arch.I386
    magic: int = ZMAGIC
    code: bytes = b""
    init: bytes = b""
    text: int | None = None
    data: int | None = None
    bss: int = 0
    entry: int = LD
    first: bytes | None = None
    size: int | None = None

    @property
    def header(self) -> bytes:
        midmag = struct.pack(">I", MACHINE[self.arch] << 16 | self.magic) if self.first is None else self.first
        text = len(self.code) if self.text is None else self.text
        data = len(self.init) if self.data is None else self.data
        words = struct.pack(WORDS[self.arch], text, data, self.bss, 0, self.entry, 0, 0)
        return midmag + bytes(self.arch.word_size - 4) + words

    def encode(self) -> bytes:
        """Pages of the file where they are shown from it, else header, text and data in a row."""
        whole = self.header + self.code + self.init
        if self.magic in (ZMAGIC, QMAGIC):
            whole = self.header + self.code[len(self.header) :] + self.init
        return whole if self.size is None else whole[: self.size].ljust(self.size, b"\0")


def no_machine(magic: int, *, network: bool = False) -> bytes:
    """The first word of 386BSD and BSDI."""
    return struct.pack(">I" if network else "<I", MID_ZERO << 16 | magic)


def program(magic: int = ZMAGIC, arch: Arch = Arch.I386, *, first: bytes | None = None, bss: int = 0x2000) -> bytes:
    """A program that exits with STATUS if text, data and bss are where they should be."""
    paged = magic in (ZMAGIC, QMAGIC)
    start = 8 * arch.word_size if paged else 0          # the header is part of text that is shown from the file
    text = 0x1000 if paged else 0x100
    data_at = {ZMAGIC: LD + text, QMAGIC: LD + text, NMAGIC: -(-(LD + text) // LD) * LD, OMAGIC: LD + text}[magic]
    init = bytes([STATUS]).ljust(0x1000 if paged else 0x40, b"\0")
    bss_at = data_at + len(init) + 16
    load, add, leave = _CODE[arch]
    code = load + struct.pack("<I", data_at) + add + struct.pack("<I", bss_at) + leave
    code = (bytes(start) + code).ljust(text, b"\xcc")
    return Aout(arch, magic, code, init, bss=bss, entry=LD + start, first=first).encode()


def runnable() -> dict[str, bytes]:
    """One of each kind that runs."""
    made = {
        f"{name}{arch.word_size * 8}": program(magic, arch)
        for arch in (Arch.I386, Arch.X86_64)
        for name, magic in (("omagic", OMAGIC), ("nmagic", NMAGIC), ("zmagic", ZMAGIC))
    }
    made["qmagic"] = program(QMAGIC, first=no_machine(QMAGIC))
    made["qmagic-network"] = program(QMAGIC, first=no_machine(QMAGIC, network=True))
    return made
