"""Programs of systems that never spoke ELF: Mach-O (Darwin, Mach) and PE/COFF (Windows, DOS, EFI).

Sources: the reference's section 3; mach-o/loader.h and Microsoft's PE format for what names the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ring3.errors import ENOEXEC
from ring3.exec.formats.foreign import mismatch, refuse, word

if TYPE_CHECKING:
    from ring3.exec.formats.marked import Marked
    from ring3.exec.package import ExecPackage

_MACHO_CPUS: Final[Mapping[int, str]] = MappingProxyType({
    6: "68000", 7: "i386", 0x0100_0007: "x86-64", 12: "ARM", 0x0100_000C: "ARM64", 14: "SPARC", 18: "PowerPC",
    0x0100_0012: "PowerPC64",
})
_MACHO_EXECUTE: Final = 2
_MOST_ARCHITECTURES: Final = 29                         # a Java class begins with the same word, and then a version above
_PE_CPUS: Final[Mapping[int, str]] = MappingProxyType({
    0x14C: "i386", 0x8664: "x86-64", 0x1C0: "ARM", 0x1C4: "ARM", 0xAA64: "ARM64", 0x200: "Itanium", 0x166: "MIPS", 0x184: "Alpha",
    0x1F0: "PowerPC", 0xEBC: "EFI byte code",
})
_PE_IS_DLL: Final = 0x2000
_PE_SUBSYSTEMS: Final[Mapping[int, str]] = MappingProxyType({10: "EFI", 11: "EFI", 12: "EFI"})
_MOST_OFFSET: Final = 1 << 31
_DOS_HEADER: Final = 64


def macho(row: Marked, package: ExecPackage) -> bool:
    """Mach-O, or several of them in one file.  Raises ENOEXEC."""
    del row
    header = package.header
    if header[0] == 0xCA:
        if not 0 < word(header, 4, 4, "big") <= _MOST_ARCHITECTURES:
            raise ENOEXEC
        refuse(package, "darwin", "a Mach-O program for Darwin (several CPUs)")
    order = "big" if header[0] == 0xFE else "little"
    if package.header_valid < 28 or word(header, 12, 4, order) != _MACHO_EXECUTE:
        raise ENOEXEC("a Mach-O file that is no program")
    cpu = word(header, 4, 4, order)
    refuse(package, "darwin", f"a Mach-O program for Darwin ({_MACHO_CPUS.get(cpu, f'CPU number {cpu:#x}')})")


def pecoff(row: Marked, package: ExecPackage) -> bool:
    """MZ, and at the place it names "PE".  Raises ENOEXEC; what the caller's system says of a DOS program that is none."""
    del row
    if package.header_valid < _DOS_HEADER:
        raise ENOEXEC("the DOS header is cut off")
    at = word(package.header, 0x3C, 4)
    head = package.file.vnode.read(at, 96) if 0 < at < _MOST_OFFSET else b""
    if head[:4] != b"PE\0\0":
        mismatch(package, "recognised as a DOS program, which is not here")
    cpu, flags = word(head, 4, 2), word(head, 22, 2)
    system = _PE_SUBSYSTEMS.get(word(head, 24 + 68, 2), "Windows")
    what = "library" if flags & _PE_IS_DLL else "program"
    refuse(package, "pecoff", f"a PE/COFF {what} for {system} ({_PE_CPUS.get(cpu, f'CPU number {cpu:#x}')})")
