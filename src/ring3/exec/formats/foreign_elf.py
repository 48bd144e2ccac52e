"""ELF programs of other systems and for other CPUs (NetBSD's probes: freebsd, svr4, ibcs2, irix; Linux's, by its own rules).

`brand` is asked before anybody lays an ELF file out, when the caller's system has probes: Linux itself runs whatever fits its
CPU.  An ELF file for this CPU that names no system is left to the Linux format, which is this kernel's catch-all (NetBSD has
options for one, which run such files as its own).  `look` comes last, and names what nobody took.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ring3.abi.elf import ELF32, ELF64, EM_386, EM_486, EM_X86_64, PT_INTERP, PT_NOTE, Ehdr
from ring3.abi.table import read_table
from ring3.errors import ENOEXEC
from ring3.exec.formats.foreign import mismatch, refuse
from ring3.namedtuple import NamedTuple

if TYPE_CHECKING:
    from ring3.exec.formats.marked import Marked
    from ring3.exec.package import ExecPackage

_X86: Final = (EM_386, EM_486, EM_X86_64)
_MIPS: Final = 8
_EF_ABI2, _EF_ABI_O32 = 0x20, 0x1000                    # of e_flags: n32, o32
_SHT_NOTE: Final = 7
_MOST_PHDRS: Final = 128
_MOST_SHDRS: Final = 512
_MOST_NOTE: Final = 1024
_MOST_NAME: Final = 1024
_SCO_NOTE: Final = bytes.fromhex("040000000c00000001000000") + b"SCO\0"
# e_ident[EI_OSABI] to (emulation, whose program); 0 (System V), 3 (Linux) and 97 (ARM) say nothing here.
_OSABI: Final[Mapping[int, tuple[str, str]]] = MappingProxyType({
    1: ("hpux", "HP-UX"), 4: ("hurd", "GNU Hurd"), 6: ("svr4", "Solaris"), 7: ("aix", "AIX"), 8: ("irix", "IRIX"),
    9: ("freebsd", "FreeBSD"), 10: ("osf1", "Tru64"), 11: ("modesto", "Novell Modesto"), 12: ("openbsd", "OpenBSD"),
    17: ("cloudabi", "CloudABI"),
})
_GNU_OS: Final = ("linux", "GNU Hurd", "Solaris", "GNU/kFreeBSD", "GNU/kNetBSD")
_NOTE_OWNERS: Final[Mapping[bytes, tuple[str, str]]] = MappingProxyType({
    b"FreeBSD\0": ("freebsd", "FreeBSD"), b"OpenBSD\0": ("openbsd", "OpenBSD"), b"DragonFly\0": ("dragonfly", "DragonFly BSD"),
})
_FREEBSD_LOADER: Final = b"/usr/libexec/ld-elf.so"
_IRIX_LOADERS: Final[Mapping[str, tuple[bytes, ...]]] = MappingProxyType({
    "o32": (b"/lib/libc.so", b"/usr/lib/libc.so"), "n32": (b"/lib32/libc.so", b"/usr/lib32/libc.so"),
})


class Found(NamedTuple):
    """A header that could be read."""

    ehdr: Ehdr
    order: str                                          # of struct: "<" or ">"
    narrow: bool                                        # 32-bit


def brand(row: Marked, package: ExecPackage) -> bool:
    """Raises ENOEXEC: with a reason for an image that another system's probe takes, without for the rest."""
    del row
    found = _header(package)
    if found.order == ">" or found.ehdr.machine not in _X86:
        raise ENOEXEC
    ident = found.ehdr.ident
    named = _OSABI.get(ident[7])
    if ident[8:16].rstrip(b"\0") == b"FreeBSD":
        named = _OSABI[9]
    name = _interpreter(package, found)
    if named == _OSABI[9] and name and not name.startswith(_FREEBSD_LOADER):
        named = None                                    # no interpreter of that system's: not its probe's
    if named is None:
        named = _noted(package, found)
    if named is not None and named[0] not in package.system.personalities:
        package.at_step("interpreter")                  # from here on it is nobody else's
        refuse(package, named[0], _program(named[1], found))
    raise ENOEXEC


def look(row: Marked, package: ExecPackage) -> bool:
    """What nobody took.  Raises ENOEXEC; what the caller's system says of a 386 program that is not SCO's either."""
    del row
    found = _header(package)
    ehdr = found.ehdr
    if found.order == "<" and ehdr.machine in _X86:
        if found.narrow:
            if _is_sco(package, found):
                refuse(package, "ibcs2", "an iBCS2 ELF program (SCO)")
            if package.rules.probe_mismatch is not None:
                mismatch(package, "an ELF program of no known system")
        raise ENOEXEC                                   # whoever refused it said why
    if ehdr.machine == _MIPS and found.narrow:
        abi = "n32" if ehdr.flags & _EF_ABI2 else "o32"
        name = _interpreter(package, found)
        if name and name.startswith(_IRIX_LOADERS[abi]):
            refuse(package, "irix", f"an IRIX program (MIPS, {abi})")
    machine = read_table("elf_machine").get(ehdr.machine, f"CPU number {ehdr.machine}")
    order = "big-endian" if found.order == ">" else "little-endian"
    raise ENOEXEC(f"recognised as an ELF file for {machine} ({32 if found.narrow else 64}-bit, {order}), a CPU which is not here")


def _program(system: str, found: Found) -> str:
    article = "an" if system[0] in "AIO" or system.startswith("HP") else "a"
    return f"{article} {system} ELF program ({32 if found.narrow else 64}-bit)"


# --- reading, bounded
def _header(package: ExecPackage) -> Found:
    """Class and byte order obeyed.  Raises ENOEXEC for a header that is cut off."""
    header = package.header
    narrow = header[4] != 2
    size = (ELF32 if narrow else ELF64).ehdr.size
    if package.header_valid < size:
        raise ENOEXEC
    order = ">" if header[5] == 2 else "<"
    word = "I" if narrow else "Q"
    return Found(Ehdr(*struct.unpack_from(f"{order}16sHHI3{word}I6H", header)), order, narrow)


def _phdrs(package: ExecPackage, found: Found) -> Iterator[tuple[int, int, int]]:
    """(type, offset, bytes in the file) of the program headers that are there."""
    size = 32 if found.narrow else 56
    fields = struct.Struct(f"{found.order}II8xI12x" if found.narrow else f"{found.order}I4xQ16xQ16x")
    count = min(found.ehdr.phnum, _MOST_PHDRS)
    table = _read(package, found.ehdr.phoff, count * size)
    yield from fields.iter_unpack(table[: len(table) // size * size])


def _read(package: ExecPackage, offset: int, nbytes: int) -> bytes:
    """What is there of so many bytes."""
    return package.file.vnode.read(offset, nbytes) if nbytes and offset + nbytes < 1 << 62 else b""


def _interpreter(package: ExecPackage, found: Found) -> bytes:
    for kind, offset, nbytes in _phdrs(package, found):
        if kind == PT_INTERP:
            return _read(package, offset, min(nbytes, _MOST_NAME)).split(b"\0")[0]
    return b""


def _noted(package: ExecPackage, found: Found) -> tuple[str, str] | None:
    """(emulation, system) that the first note of a segment names; None for Linux's, and without one."""
    for kind, offset, nbytes in _phdrs(package, found):
        if kind != PT_NOTE or not 12 <= nbytes <= _MOST_NOTE:
            continue
        data = _read(package, offset, nbytes)
        if len(data) < 12:
            continue
        namesz, descsz, tag = struct.unpack_from(f"{found.order}III", data)
        owner = data[12 : 12 + namesz]
        if owner in _NOTE_OWNERS:
            return _NOTE_OWNERS[owner]
        if owner == b"GNU\0" and tag == 1 and descsz >= 4 and len(data) >= 20:
            number = struct.unpack_from(f"{found.order}I", data, 16)[0]
            if 0 < number < len(_GNU_OS):
                return _GNU_OS[number].lower(), _GNU_OS[number]
    return None


def _is_sco(package: ExecPackage, found: Found) -> bool:
    """Whether the first section of notes without flags begins as SCO's does; only that one is looked at."""
    ehdr = found.ehdr
    if ehdr.shentsize != 40 or not 0 < ehdr.shnum <= _MOST_SHDRS:
        return False
    table = _read(package, ehdr.shoff, ehdr.shnum * 40)
    for kind, flags, offset, nbytes in struct.Struct("<4xII4xII16x").iter_unpack(table[: len(table) // 40 * 40]):
        if kind == _SHT_NOTE and not flags and nbytes >= len(_SCO_NOTE):
            return _read(package, offset, len(_SCO_NOTE)) == _SCO_NOTE
    return False
