"""An ELF file as a debugger sees it: where its bytes belong in memory, the names of its functions, its build id.

The file is a guest's and may be anything: every size is bounded before it is read, every offset is checked by whoever reads, and
what makes no sense is as if it were not there.  Nothing here raises for what a file holds.  Not here: what an exec looks at
(`exec/`), how to get from a frame to its caller (`unwind.py`).
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ring3.abi.elf import ELF32, ELF64, MAGIC, PT_LOAD, PT_NOTE, Ehdr, ElfClass, Phdr
from ring3.errors import Errno
from ring3.namedtuple import NamedTuple

if TYPE_CHECKING:
    from ring3.vfs.vnode import Vnode

Read = Callable[[int, int], bytes]      # (offset, bytes) -> what is there, less at the end; raises nothing
_LAST_OFFSET: Final = 1 << 62

_MOST_PHDRS: Final = 256
_MOST_SECTIONS: Final = 4096
_MOST_SYMBOLS: Final = 300_000          # of a file; one that has more has no names
_MOST_STRINGS: Final = 32 << 20         # bytes of the names of one table
_MOST_TABLES: Final = 8
_MOST_NOTES: Final = 4096
_LONGEST: Final = 200                   # characters of a name
_SHT_SYMTAB: Final = 2
_SHT_DYNSYM: Final = 11
_FUNCTIONS: Final = frozenset({2, 10})  # STT_FUNC, STT_GNU_IFUNC
_NT_GNU_BUILD_ID: Final = 3


def reader(vnode: Vnode) -> Read:
    """Reads of a file: those that fail give nothing."""
    def read(offset: int, nbytes: int) -> bytes:
        if not 0 <= offset < _LAST_OFFSET or nbytes <= 0:
            return b""
        try:
            return vnode.read(offset, nbytes)
        except Errno:
            return b""

    return read


class _Section(NamedTuple):
    type: int
    offset: int
    size: int
    link: int


class Symbol(NamedTuple):
    """A function: its name, and where it begins."""

    name: str
    start: int


class ElfImage:
    """What `read` gives, as an ELF file; one without headers where it is none.

    `bits` is 0, 32 or 64.  Addresses are the file's own ("vaddr"), before it is placed anywhere.
    """

    def __init__(self, read: Read) -> None:
        self.read = read
        self.bits = 0
        self.phdrs: list[Phdr] = []
        self._ehdr: Ehdr | None = None
        head = read(0, 64)
        if head[:4] != MAGIC or head[5:6] != b"\1" or head[4:5] not in (b"\1", b"\2"):
            return
        self._class: ElfClass = ELF32 if head[4:5] == b"\1" else ELF64
        if len(head) < self._class.ehdr.size:
            return
        ehdr = self._class.ehdr.decode(head)
        self.bits = 8 * self._class.word
        self._ehdr = ehdr
        size = self._class.phdr.size
        if ehdr.phentsize == size:
            rows = read(ehdr.phoff, min(ehdr.phnum, _MOST_PHDRS) * size)
            self.phdrs = list(self._class.phdr.array(rows[: len(rows) // size * size]))

    def segment(self, kind: int) -> Phdr | None:
        """The first program header of a type."""
        return next((phdr for phdr in self.phdrs if phdr.type == kind), None)

    def vaddr(self, offset: int) -> int | None:
        """Where the byte at a file offset belongs."""
        for phdr in self.phdrs:
            # a mapping begins at a page, which may be before its segment does
            if phdr.type == PT_LOAD and phdr.offset & ~4095 <= offset < phdr.offset + phdr.filesz:
                return offset - phdr.offset + phdr.vaddr
        return None

    def at(self, vaddr: int, nbytes: int) -> bytes:
        """The file's bytes for a range of addresses; less where it has less."""
        for phdr in self.phdrs:
            if phdr.type == PT_LOAD and phdr.vaddr <= vaddr < phdr.vaddr + phdr.filesz:
                return self.read(vaddr - phdr.vaddr + phdr.offset, min(nbytes, phdr.vaddr + phdr.filesz - vaddr))
        return b""

    def build_id(self) -> str:
        """The id its linker gave it, in hexadecimal digits; empty for none (Build-ID, NT_GNU_BUILD_ID)."""
        for phdr in self.phdrs:
            if phdr.type != PT_NOTE:
                continue
            data, at = self.read(phdr.offset, min(phdr.filesz, _MOST_NOTES)), 0
            while at + 12 <= len(data):
                namesz, descsz, kind = struct.unpack_from("<III", data, at)
                name = data[at + 12 : at + 12 + min(namesz, 16)]
                at += 12 + (namesz + 3) // 4 * 4
                if kind == _NT_GNU_BUILD_ID and name == b"GNU\0":
                    return data[at : at + min(descsz, 64)].hex()
                at += (descsz + 3) // 4 * 4
        return ""

    def sections(self) -> list[_Section]:
        """Its sections, as far as they concern symbols."""
        ehdr = self._ehdr
        codes = "<4xI8x8xQQI" if self.bits == 64 else "<4xI4x4xIII"
        size = 64 if self.bits == 64 else 40
        if ehdr is None or ehdr.shentsize != size or not ehdr.shoff:
            return []
        rows = self.read(ehdr.shoff, min(ehdr.shnum, _MOST_SECTIONS) * size)
        codes += f"{size - struct.calcsize(codes)}x"
        return [_Section(*row) for row in struct.iter_unpack(codes, rows[: len(rows) // size * size])]


class Symbols:
    """The functions of ELF files, by address; names are only looked up when asked for."""

    def __init__(self, *images: ElfImage) -> None:
        rows: list[tuple[int, int, int, int]] = []      # address, size, table, place of the name in it
        self._strings: list[bytes] = []
        self.is_full = False                            # whether a file had its complete table, .symtab
        for image in images:
            sections = image.sections()
            for section in sections:
                if section.type in (_SHT_SYMTAB, _SHT_DYNSYM) and section.link < len(sections):
                    strings = sections[section.link]
                    room = (_MOST_SYMBOLS - len(rows)) * 16
                    if section.size <= room and strings.size <= _MOST_STRINGS and len(self._strings) < _MOST_TABLES:
                        self.is_full |= section.type == _SHT_SYMTAB
                        rows += self._rows(image, section, strings)
        rows.sort()
        self._starts = array("Q", [row[0] for row in rows])
        self._rest = [row[1:] for row in rows]

    def _rows(self, image: ElfImage, section: _Section, strings: _Section) -> list[tuple[int, int, int, int]]:
        data = image.read(section.offset, section.size)
        self._strings.append(image.read(strings.offset, strings.size))
        table = len(self._strings) - 1
        if image.bits == 64:
            found = struct.iter_unpack("<IBxHQQ", data[: len(data) // 24 * 24])
            return [(at, size, table, name) for name, info, place, at, size in found if info & 15 in _FUNCTIONS and place]
        found = struct.iter_unpack("<IIIBxH", data[: len(data) // 16 * 16])
        return [(at, size, table, name) for name, at, size, info, place in found if info & 15 in _FUNCTIONS and place]

    def __len__(self) -> int:
        return len(self._starts)

    def find(self, vaddr: int) -> Symbol | None:
        """The function an address is in.  One of several names for it: the one with the fewest underscores in front."""
        index = bisect_right(self._starts, vaddr) - 1
        if index < 0:
            return None
        start, names = self._starts[index], []
        while index >= 0 and self._starts[index] == start:
            size, table, place = self._rest[index]
            if vaddr < start + max(size, 1):
                names.append(self._name(table, place))
            index -= 1
        named = [name for name in names if name]
        if not named:
            return None
        return Symbol(min(named, key=lambda name: (len(name) - len(name.lstrip("_")), len(name), name)), start)

    def _name(self, table: int, place: int) -> str:
        strings = self._strings[table]
        end = strings.find(b"\0", place, place + _LONGEST)
        raw = strings[place : end if end >= 0 else place + _LONGEST]
        text = ""
        with suppress(UnicodeDecodeError):
            text = raw.decode()
        return "".join(c for c in text if c.isprintable())
