"""ELF records, as they stand in files and in memory: declared once for each word size.

Field names are those of elf(5) without their prefix.  Only what an exec looks at is here: sections are a debugger's
affair. Source: System V ABI (gABI 4), elf(5), psABI AMD64 and i386.
"""

from __future__ import annotations

from typing import Final

from ring3.abi.layout import Layout
from ring3.namedtuple import NamedTuple

MAGIC: Final = b"\x7fELF"

ET_EXEC: Final = 2
ET_DYN: Final = 3
EM_386: Final = 3
EM_486: Final = 6
EM_X86_64: Final = 62

PT_LOAD: Final = 1
PT_DYNAMIC: Final = 2
PT_INTERP: Final = 3
PT_NOTE: Final = 4
PT_PHDR: Final = 6
PT_GNU_STACK: Final = 0x6474E551

PF_X: Final = 1
PF_W: Final = 2
PF_R: Final = 4

AT_NULL: Final = 0
AT_PHDR: Final = 3
AT_PHENT: Final = 4
AT_PHNUM: Final = 5
AT_PAGESZ: Final = 6
AT_BASE: Final = 7
AT_FLAGS: Final = 8
AT_ENTRY: Final = 9
AT_UID: Final = 11
AT_EUID: Final = 12
AT_GID: Final = 13
AT_EGID: Final = 14
AT_STACKBASE: Final = 13            # NetBSD
AT_PLATFORM: Final = 15
AT_HWCAP: Final = 16
AT_CLKTCK: Final = 17
AT_SECURE: Final = 23
AT_RANDOM: Final = 25
AT_HWCAP2: Final = 26
AT_RSEQ_FEATURE_SIZE: Final = 27
AT_RSEQ_ALIGN: Final = 28
AT_HWCAP3: Final = 29
AT_EXECFN: Final = 31
AT_SYSINFO: Final = 32
AT_SYSINFO_EHDR: Final = 33
AT_MINSIGSTKSZ: Final = 51
AT_NETBSD_EUID: Final = 2000
AT_NETBSD_RUID: Final = 2001
AT_NETBSD_EGID: Final = 2002
AT_NETBSD_RGID: Final = 2003
AT_SUN_EXECNAME: Final = 2014


class Ehdr(NamedTuple):
    """The ELF header."""

    ident: bytes
    type: int
    machine: int
    version: int
    entry: int
    phoff: int
    shoff: int
    flags: int
    ehsize: int
    phentsize: int
    phnum: int
    shentsize: int
    shnum: int
    shstrndx: int


class Phdr(NamedTuple):
    """A program header."""

    type: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    align: int


class _Phdr32:
    """How `Layout` makes a Phdr of a 32-bit file's words, whose flags stand elsewhere."""

    @staticmethod
    def _make(words: tuple[int, ...]) -> Phdr:
        kind, offset, vaddr, paddr, filesz, memsz, flags, align = words
        return Phdr(kind, flags, offset, vaddr, paddr, filesz, memsz, align)


class ElfClass(NamedTuple):
    """The records of one word size; `word` in bytes."""

    word: int
    ehdr: Layout[Ehdr]
    phdr: Layout[Phdr]

    def encode_phdr(self, phdr: Phdr) -> bytes:
        """The bytes of a program header."""
        if self.word == 8:
            return self.phdr.encode(phdr)
        return self.phdr.encode((phdr.type, *phdr[2:7], phdr.flags, phdr.align))


ELF64: Final = ElfClass(8, Layout(Ehdr, "<16sHHIQQQIHHHHHH"), Layout(Phdr, "<IIQQQQQQ"))
ELF32: Final = ElfClass(4, Layout(Ehdr, "<16sHHIIIIIHHHHHH"), Layout(_Phdr32, "<8I"))  # type: ignore[arg-type]
