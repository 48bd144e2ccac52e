"""Rows of the exec switch for files that show by a few first bytes that they may be theirs.

Such a row is asked about every file that nothing else knew; only when a mark fits, the module that looks closer is imported.
Not here: what they look for (`aout.py`, `foreign_*.py`), the table of all rows (`exec/switch.py`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from ring3.errors import ENOEXEC

if TYPE_CHECKING:
    from ring3.exec.package import ExecPackage

_HERE: Final = "ring3.exec.formats"


class Marked:
    """A format.  `marks` are (offset, bytes): a file that has one of them is looked at by `look`, "module:function".

    The function is called with the row and the package, and does what `Format.recognise` says.
    """

    __slots__ = ("header_size", "look", "marks", "name", "personality")

    def __init__(
        self, name: str, marks: tuple[tuple[int, bytes], ...], look: str, *, personality: str | None = None, header_size: int = 64
    ) -> None:
        self.name = name
        self.marks = marks
        self.look = look
        self.personality = personality
        self.header_size = header_size

    def recognise(self, package: ExecPackage) -> bool:
        """Raises ENOEXEC for what is not mine, and what looking closer does."""
        header = package.header
        for offset, mark in self.marks:
            if header.startswith(mark, offset):
                module, _, function = self.look.partition(":")
                return bool(getattr(import_module(f"{_HERE}.{module}"), function)(self, package))
        raise ENOEXEC


def _aout_marks(machine: int) -> tuple[tuple[int, bytes], ...]:
    """Where a_midmag, big-endian, has this machine (its low eight bits) and OMAGIC, NMAGIC or ZMAGIC."""
    return tuple((1, bytes((machine,)) + magic) for magic in _NETWORK)


_NETWORK: Final = (b"\x01\x07", b"\x01\x08", b"\x01\x0b")
_HOST: Final = (b"\x07\x01", b"\x08\x01", b"\x0b\x01", b"\xcc\x00")
_NO_MACHINE: Final = tuple((0, magic + b"\0\0") for magic in _HOST) + tuple((0, b"\0\0" + magic[::-1]) for magic in _HOST)

# NetBSD's own; the last are 386BSD's and BSDI's, which name no machine (COMPAT_NOMID).
AOUT_NETBSD32: Final = Marked("aout32-netbsd", _aout_marks(0x86), "aout:netbsd32", personality="netbsd32")
AOUT_NETBSD64: Final = Marked("aout64-netbsd", _aout_marks(0x9D), "aout:netbsd", personality="netbsd")
AOUT_NOMID: Final = Marked("aout-nomid", _NO_MACHINE, "aout:nomid", personality="netbsd32")


class Probes(Marked):
    """A row for callers whose system has emulation probes; no other pays for it."""

    __slots__ = ()

    def recognise(self, package: ExecPackage) -> bool:
        """As every row; ENOEXEC for callers of systems without probes."""
        if package.rules.probe_mismatch is None:
            raise ENOEXEC
        return super().recognise(package)


_ELF: Final = ((0, b"\x7fELF"),)
_MACHO: Final = (
    (0, b"\xfe\xed\xfa\xce"), (0, b"\xfe\xed\xfa\xcf"), (0, b"\xce\xfa\xed\xfe"), (0, b"\xcf\xfa\xed\xfe"),
    (0, b"\xca\xfe\xba\xbe"),
)

# Asked before Linux's ELF rows, which take everything that fits the CPU.
ELF_PROBES: Final = Probes("elf-probes", _ELF, "foreign_elf:brand")

# Asked when nobody took the file: recognised, and refused with a reason.  In the order of NetBSD's table.
FOREIGN: Final = (
    Marked("ecoff-osf1", ((0, b"\x83\x01"), (0, b"\x85\x01")), "foreign_coff:ecoff_alpha", header_size=104),
    Marked("elf-foreign", _ELF, "foreign_elf:look"),
    Marked("mach-o", _MACHO, "foreign_bundle:macho"),
    Marked("aout-foreign", tuple((2, magic) for magic in _NETWORK) + tuple((0, magic) for magic in _HOST), "foreign_aout:look"),
    Marked("coff-ibcs2", ((0, b"\x4c\x01"),), "foreign_coff:coff"),
    Marked("xout-ibcs2", ((0, b"\x06\x02"),), "foreign_coff:xout"),
    Marked("pecoff", ((0, b"MZ"),), "foreign_bundle:pecoff"),
    Marked("ecoff-ultrix", ((0, b"\x01\x60"), (0, b"\x62\x01")), "foreign_coff:ecoff_mips", header_size=76),
)
