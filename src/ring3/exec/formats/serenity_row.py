"""SerenityOS's row of the exec switch: whether a file may be one of its programs, before the module that knows is imported.

Asked about every ELF file of every caller, so it looks at little: the caller's system, and how long the interpreter's name is.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from ring3.errors import ENOEXEC

if TYPE_CHECKING:
    from ring3.exec.package import ExecPackage

_START: Final = b"\x7fELF\x02\x01"
_NAME: Final = len(b"/usr/lib/Loader.so\0")
_PT_INTERP: Final = 3
_PHDR: Final = struct.Struct("<I28xQ16x")           # p_type, p_filesz


class SerenityRow:
    """64-bit ELF programs of SerenityOS: those its own processes run, and those that name its loader."""

    name = "elf64-serenity"
    header_size = 64 + 4 * 56           # PT_INTERP is among the first program headers
    personality = "serenity"

    def recognise(self, package: ExecPackage) -> bool:
        """As `SerenityElf.recognise`; ENOEXEC for what cannot be one."""
        header = package.header
        if header[:6] != _START or (package.rules.unmarked != self.personality and not _may_name_the_loader(header)):
            raise ENOEXEC
        from ring3.exec.formats.serenity import ELF_SERENITY

        return ELF_SERENITY.recognise(package)


def _may_name_the_loader(header: bytes) -> bool:
    for at in range(64, len(header) - 55, 56):
        kind, size = _PHDR.unpack_from(header, at)
        if kind == _PT_INTERP:
            return bool(size == _NAME)
    return False


ELF_SERENITY_ROW: Final = SerenityRow()
