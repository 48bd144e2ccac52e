"""COFF, ECOFF and x.out programs: System V and XENIX (iBCS2) on the 386, OSF/1 on the Alpha, Ultrix on MIPS.

Sources: the reference's section 3 and 1.9.4; file and optional headers as coff(4) has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ring3.errors import ENOEXEC
from ring3.exec.formats.aout import NMAGIC, OMAGIC, ZMAGIC
from ring3.exec.formats.foreign import refuse, word

if TYPE_CHECKING:
    from ring3.exec.formats.marked import Marked
    from ring3.exec.package import ExecPackage

_MAGICS: Final = (OMAGIC, NMAGIC, ZMAGIC)
_OBJECT_TYPE, _SHARABLE = 0x3000, 0x2000            # of an Alpha file's flags
_XC_386: Final = 0x4A
_XE_EXEC, _XE_VMOD, _XE_ABS = 0x0001, 0x0100, 0x0400


def coff(row: Marked, package: ExecPackage) -> bool:
    """i386 COFF: an optional header with one of three magics makes it a program.  Raises ENOEXEC."""
    del row
    if package.header_valid < 48 or word(package.header, 16, 2) < 28 or word(package.header, 20, 2) not in _MAGICS:
        raise ENOEXEC("a COFF file that is no program: compiled, but not linked")
    refuse(package, "ibcs2", "an iBCS2 COFF program (System V, SCO)")


def xout(row: Marked, package: ExecPackage) -> bool:
    """XENIX x.out for the 386: executable, neither a standalone program nor a module.  Raises ENOEXEC."""
    del row
    kind = word(package.header, 30, 2)
    if package.header_valid < 32 or package.header[28] != _XC_386 or kind & (_XE_ABS | _XE_VMOD) or not kind & _XE_EXEC:
        raise ENOEXEC
    refuse(package, "ibcs2", "an iBCS2 x.out program (XENIX)")


def ecoff_alpha(row: Marked, package: ExecPackage) -> bool:
    """OSF/1 on the Alpha; a library that can be shared is no program.  Raises ENOEXEC."""
    del row
    if package.header_valid < 104 or word(package.header, 24, 2) not in _MAGICS:
        raise ENOEXEC
    if word(package.header, 22, 2) & _OBJECT_TYPE == _SHARABLE:
        raise ENOEXEC("a shared library of OSF/1")
    refuse(package, "osf1", "an OSF/1 ECOFF program (Alpha)")


def ecoff_mips(row: Marked, package: ExecPackage) -> bool:
    """Ultrix on MIPS, in either byte order.  Raises ENOEXEC."""
    del row
    order = "big" if package.header[0] == 1 else "little"
    if package.header_valid < 76 or word(package.header, 20, 2, order) not in _MAGICS:
        raise ENOEXEC
    refuse(package, "ultrix", f"an Ultrix ECOFF program (MIPS, {order}-endian)")
