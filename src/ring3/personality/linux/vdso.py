"""Finding a symbol in a vDSO image: the few bytes of ELF that takes.  Source: elf(5), System V gABI "Dynamic Section"."""

from __future__ import annotations

import struct
from typing import Final

_PT_DYNAMIC: Final = 2
_DT_STRTAB, _DT_SYMTAB = 5, 6
_SYMBOL32: Final = struct.Struct("<IIIBBH")      # st_name, st_value, st_size, st_info, st_other, st_shndx


def symbol32(image: bytes, name: bytes) -> int | None:
    """The offset of a symbol in a 32-bit image linked at 0; None where it has none.

    The string table follows the symbol table, as link editors lay a vDSO out: that is where the symbols end.
    """
    if image[:5] != b"\x7fELF\x01":
        return None
    (phoff,) = struct.unpack_from("<I", image, 28)
    phentsize, phnum = struct.unpack_from("<HH", image, 42)
    tables: dict[int, int] = {}
    for index in range(phnum):
        kind, offset, _vaddr, _paddr, filesz = struct.unpack_from("<5I", image, phoff + index * phentsize)
        if kind == _PT_DYNAMIC:
            tables = dict(struct.iter_unpack("<II", image[offset : offset + filesz // 8 * 8]))
    strings, symbols = tables.get(_DT_STRTAB), tables.get(_DT_SYMTAB)
    if strings is None or symbols is None:
        return None
    for at in range(symbols, strings - _SYMBOL32.size + 1, _SYMBOL32.size):
        st_name, value, *_rest = _SYMBOL32.unpack_from(image, at)
        if image[strings + st_name : strings + st_name + len(name) + 1] == name + b"\0":
            return int(value)
    return None
