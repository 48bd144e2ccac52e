"""a.out programs of other systems and machines: told by the word that begins them, in either byte order.

Sources: sys/exec_aout.h and the emulations' own headers as the reference states them: SunOS (a machine's byte), HP-UX (a system
id), Linux (machine 100), FreeBSD (NetBSD's layout, little-endian), NetBSD for other machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ring3.errors import ENOEXEC
from ring3.exec.formats.aout import MID_I386, MID_X86_64, NMAGIC, OMAGIC, QMAGIC, ZMAGIC
from ring3.exec.formats.foreign import refuse, word

if TYPE_CHECKING:
    from ring3.exec.formats.marked import Marked
    from ring3.exec.package import ExecPackage

_HEADER_SIZE: Final = 32
_SUNOS: Final[Mapping[int, str]] = MappingProxyType({1: "68010", 2: "68020", 3: "SPARC"})
_HPUX: Final = (0x20B, 0x20C)
_LINUX: Final = 100
# Machine of a NetBSD header to (emulation, what it is); no emulation runs those of another CPU.
_NETBSD: Final[Mapping[int, tuple[str, str]]] = MappingProxyType({
    0x64: ("", "PC 386"), 0x86: ("", "i386"), 0x87: ("", "m68k"), 0x88: ("m68k4k", "m68k, 4 KiB pages"),
    0x89: ("", "NS32532"), 0x8A: ("", "SPARC"), 0x8B: ("", "pmax"), 0x8C: ("vax1k", "VAX, 1 KiB pages"),
    0x8D: ("", "Alpha"), 0x8E: ("", "MIPS"), 0x8F: ("", "ARM6"), 0x91: ("", "SH3"),
    0x95: ("", "PowerPC"), 0x96: ("", "VAX"), 0x9C: ("", "SPARC64"), 0x9D: ("", "x86-64"),
    0xC8: ("", "HP 200"), 0x12C: ("", "HP 300"),
})


def look(row: Marked, package: ExecPackage) -> bool:
    """Raises ENOEXEC, with a reason where it is one of them."""
    del row
    header = package.header
    if package.header_valid < _HEADER_SIZE:
        raise ENOEXEC
    first = word(header, 0, 4, "big")
    magic, machine = first & 0xFFFF, first >> 16 & 0x3FF
    if magic in (OMAGIC, NMAGIC, ZMAGIC):
        if header[1] in _SUNOS:
            refuse(package, "sunos", f"a SunOS a.out program ({_SUNOS[header[1]]})")
        if first >> 16 in _HPUX:
            refuse(package, "hpux", "an HP-UX a.out program")
        if machine in _NETBSD and machine not in (MID_I386, MID_X86_64):
            emulation, name = _NETBSD[machine]
            refuse(package, emulation, f"a NetBSD a.out program ({name})")
    first = word(header, 0, 4)
    magic, machine = first & 0xFFFF, first >> 16 & 0x3FF
    if magic in (OMAGIC, NMAGIC, ZMAGIC, QMAGIC):
        if header[2] == _LINUX:
            refuse(package, "linux-aout", "a Linux a.out program")
        if machine == MID_I386:
            refuse(package, "freebsd", "a FreeBSD a.out program")
    raise ENOEXEC
