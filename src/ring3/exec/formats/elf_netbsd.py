"""NetBSD's ELF images, as far as saying whether a file is one: by its notes (exec_elf.c: netbsd_elf_signature).

Every file that is run passes here, so nothing more is asked than which program headers hold notes; they mostly stand in the
header bytes that have been read anyway.  What is then done with an image is in `netbsd_image.py`, imported with the first one.

A file that has NetBSD's note is nobody else's: it could run as a Linux program too, for Linux looks at no note.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from ring3.abi.elf import ELF32, ELF64, EM_386, EM_486, EM_X86_64, ET_DYN, ET_EXEC, MAGIC, PT_NOTE, Ehdr, ElfClass
from ring3.abi.x86 import Arch
from ring3.errors import ENOEXEC

if TYPE_CHECKING:
    from ring3.exec.package import ExecPackage
    from ring3.exec.plan import ImageFile

MAX_PHNUM: Final = 128
MAX_SHNUM: Final = 32768
MAX_NOTES: Final = 1024             # bytes of one segment of notes
NAME: Final = b"NetBSD\0"
_NOTE_FIELDS: Final = {8: struct.Struct("<I4xQ16xQ16x"), 4: struct.Struct("<II8xI12x")}      # type, offset, size in the file
_PEEK: Final = {8: struct.Struct("<32xQ16xH"), 4: struct.Struct("<28xI12xH")}                  # e_phoff, e_phnum
_CLASS: Final = {8: 2, 4: 1}


class NetbsdElf:
    """NetBSD images of one word size.  `own_loader` is tried where a program names the default one."""

    header_size = 1024              # where program headers and notes mostly end

    def __init__(
        self, name: str, personality: str, elf: ElfClass, machines: tuple[int, ...], arch: Arch, own_loader: bytes = b""
    ) -> None:
        self.name = name
        self.personality = personality
        self.elf = elf
        self.machines = machines
        self.arch = arch
        self.own_loader = own_loader
        self._start = MAGIC + bytes((_CLASS[elf.word],))
        self._fields, self._peek = _NOTE_FIELDS[elf.word], _PEEK[elf.word]

    def recognise(self, package: ExecPackage) -> bool:
        """Lay the image out.  False: it is done.  Raises ENOEXEC for what is not mine, and what `lay_out` does."""
        header = package.header
        if header[:5] != self._start:
            raise ENOEXEC
        phoff, phnum = self._peek.unpack_from(header)
        if not 0 < phnum <= MAX_PHNUM:
            raise ENOEXEC
        start = header[: package.header_valid]
        table = self.program_headers(package.file, phoff, phnum, start)
        notes = self._notes(package.file, table, start)
        if not any(NAME in data for data in notes):
            raise ENOEXEC                       # without a reason: what another format says of the file tells more
        ehdr = self.check_header(header, package.header_valid)
        from ring3.exec.formats.netbsd_image import lay_out

        lay_out(self, package, ehdr, table, notes)
        return False

    def check_header(self, header: bytes, valid: int) -> Ehdr:
        """elf_check_header.  Raises ENOEXEC."""
        if valid < self.elf.ehdr.size:
            raise ENOEXEC("the header is cut off")
        if header[:5] != self._start:
            raise ENOEXEC("not ELF of this word size")
        ehdr = self.elf.ehdr.decode(header)
        if ehdr.machine not in self.machines:
            raise ENOEXEC("for another CPU")
        if ehdr.type not in (ET_EXEC, ET_DYN):
            raise ENOEXEC("neither an executable nor a shared object")
        if not 0 < ehdr.phnum <= MAX_PHNUM or ehdr.shnum > MAX_SHNUM:
            raise ENOEXEC("no program headers, or too many headers")
        return ehdr

    def program_headers(self, file: ImageFile, phoff: int, phnum: int, start: bytes) -> bytes:
        """Their bytes, out of the file's `start` if they are there.  Raises ENOEXEC when they are not all there."""
        nbytes = phnum * self.elf.phdr.size
        table = start[phoff : phoff + nbytes]
        if len(table) != nbytes:
            table = read_exactly(file, phoff, nbytes)
        return table

    def _notes(self, file: ImageFile, table: bytes, start: bytes) -> list[bytes]:
        """The contents of the segments of notes that are not too large; those that are not all there count as empty."""
        found = []
        size = self.elf.phdr.size
        types = table[::size]                       # the lowest byte of each: few are a note's
        at = types.find(PT_NOTE)
        while at >= 0:
            kind, offset, nbytes = self._fields.unpack_from(table, at * size)
            at = types.find(PT_NOTE, at + 1)
            if kind == PT_NOTE and nbytes <= MAX_NOTES:
                data = start[offset : offset + nbytes]
                if len(data) != nbytes and offset < 1 << 62:
                    data = file.vnode.read(offset, nbytes)
                found.append(data)
        return found


def read_exactly(file: ImageFile, offset: int, nbytes: int) -> bytes:
    """exec_read_from.  Raises ENOEXEC for a short read, and what reading does."""
    if offset + nbytes >= 1 << 62:
        raise ENOEXEC("no file is that long")
    data = file.vnode.read(offset, nbytes)
    if len(data) != nbytes:
        raise ENOEXEC("the file ends too early")
    return data


ELF_NETBSD64: Final = NetbsdElf("elf64-netbsd", "netbsd", ELF64, (EM_X86_64,), Arch.X86_64)
ELF_NETBSD32: Final = NetbsdElf(
    "elf32-netbsd", "netbsd32", ELF32, (EM_386, EM_486), Arch.I386, b"/usr/libexec/ld.elf_so-i386"
)
