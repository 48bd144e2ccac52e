"""a.out images of NetBSD and its forebears (exec_aout.c, netbsd32_exec_aout.c).

A header of eight words, then text, then data.  The first word is big-endian: six bits of flags, ten that name the machine,
sixteen that say how the rest is laid out, LD being one page:

    ZMAGIC      text at LD, header included, and data behind it, both shown from the file; fresh memory behind that
    NMAGIC      text at LD, data at the next multiple of LD, both read behind the header
    OMAGIC      text and data in one piece at LD, read, writable
    QMAGIC      only without a machine's name (BSDI): as ZMAGIC.  The other magics without one begin at address 0

Text is readable and executable, data and fresh memory are everything; a.out has no notes, so neither random addresses nor
PaX MPROTECT, which would make data unusable as code.  What cannot be done with these commands (text that is no whole number
of pages) shows when it is done, behind NetBSD's point of no return.  mmap goes upwards from behind the data.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from ring3.abi.x86 import Arch
from ring3.errors import ENOEXEC, ETXTBSY
from ring3.exec.plan import FIXED, MAP, READ, ZERO, ImageFile, VMCmd
from ring3.namedtuple import NamedTuple
from ring3.vm.region import PAGE, page_ceil, page_floor

if TYPE_CHECKING:
    from ring3.exec.formats.marked import Marked
    from ring3.exec.package import ExecPackage, Image

OMAGIC, NMAGIC, ZMAGIC, QMAGIC = 0o407, 0o410, 0o413, 0o314
MID_ZERO, MID_I386, MID_X86_64 = 0, 0x86, 0x9D
LD: Final = PAGE                        # AOUT_LDPGSZ
_TEXT, _ALL = 5, 7
_HEADER: Final = {Arch.I386: struct.Struct("<4x7I"), Arch.X86_64: struct.Struct("<8x7Q")}
_DATA_ROOM: Final = {Arch.I386: 3 << 30, Arch.X86_64: 8 << 30}          # MAXDSIZ: how far from the data mmap begins


class Header(NamedTuple):
    """What a header says, in bytes; `size` is its own."""

    size: int
    text: int
    data: int
    bss: int
    syms: int
    entry: int
    trsize: int
    drsize: int


def netbsd32(row: Marked, package: ExecPackage) -> bool:
    """An i386 image.  Raises as `_recognise`."""
    return _recognise(row, package, Arch.I386, MID_I386)


def netbsd(row: Marked, package: ExecPackage) -> bool:
    """An amd64 image: its words have 64 bits.  Raises as `_recognise`."""
    return _recognise(row, package, Arch.X86_64, MID_X86_64)


def nomid(row: Marked, package: ExecPackage) -> bool:
    """An i386 image that names no machine, its first word in either byte order.  Only QMAGIC begins where programs may be.

    Raises ENOEXEC for the others, and as `_recognise`.
    """
    first = package.header[:4]
    magic = int.from_bytes(first, "big") & 0xFFFF or int.from_bytes(first, "little") & 0xFFFF
    header = _read_header(package, Arch.I386)
    if magic != QMAGIC:
        raise ENOEXEC("recognised as a 386BSD a.out program: its text begins at address 0, where programs may not be")
    _lay_out(row, package, Arch.I386, ZMAGIC, header)
    return False


def _recognise(row: Marked, package: ExecPackage, arch: Arch, machine: int) -> bool:
    """Lay it out.  False: it is done.  Raises ENOEXEC, ETXTBSY, and what beginning an image does."""
    header = _read_header(package, arch)
    word = int.from_bytes(package.header[:4], "big")
    magic = word & 0xFFFF
    if word >> 16 & 0x3FF != machine or magic not in (OMAGIC, NMAGIC, ZMAGIC):
        raise ENOEXEC
    _lay_out(row, package, arch, magic, header)
    return False


def _read_header(package: ExecPackage, arch: Arch) -> Header:
    """Raises ENOEXEC for a file that ends before it does."""
    layout = _HEADER[arch]
    if package.header_valid < layout.size:
        raise ENOEXEC("the a.out header is cut off")
    return Header(layout.size, *layout.unpack_from(package.header))


def _lay_out(row: Marked, package: ExecPackage, arch: Arch, magic: int, header: Header) -> None:
    assert row.personality is not None
    if magic == ZMAGIC and package.file.vnode.writers > 0:
        raise ETXTBSY
    package.pax = 0
    image = package.begin_image(arch, row.personality, exec_stack=None)
    package.at_step("map")
    image.entry = image.start = header.entry
    image.taddr, image.tsize = LD, header.text
    image.daddr, image.dsize = LD + header.text, header.data + header.bss
    if magic == ZMAGIC:
        _queue_paged(image, package.file, header)
    else:
        _queue_read(image, package.file, header, in_one=magic == OMAGIC)
    image.brk_end = page_ceil(image.daddr + page_ceil(image.dsize))
    image.model.legacy = True
    image.model.mmap_base = page_ceil(image.daddr + _DATA_ROOM[arch])


def _queue_paged(image: Image, file: ImageFile, header: Header) -> None:
    """exec_aout_prep_zmagic."""
    _queue(image, VMCmd(MAP, LD, page_ceil(header.text), _TEXT, file, 0))
    _queue(image, VMCmd(MAP, image.daddr, page_ceil(header.data), _ALL, file, header.text))
    _queue(image, VMCmd(ZERO, image.daddr + header.data, header.bss, _ALL))


def _queue_read(image: Image, file: ImageFile, header: Header, *, in_one: bool) -> None:
    """exec_aout_prep_nmagic; in one piece: exec_aout_prep_omagic, whose data size counts from behind the last page of text."""
    if in_one:
        _queue(image, VMCmd(READ, LD, header.text + header.data, _ALL, file, header.size))
    else:
        image.daddr = page_ceil(LD + header.text)
        _queue(image, VMCmd(READ, LD, header.text, _TEXT, file, header.size))
        _queue(image, VMCmd(READ, image.daddr, header.data, _ALL, file, header.size + header.text))
    start, end = page_ceil(image.daddr + header.data), image.daddr + image.dsize
    if end > start:
        _queue(image, VMCmd(ZERO, start, end - start, _ALL))
    if in_one:
        image.dsize = max(0, image.dsize + header.text - page_ceil(header.text))


def _queue(image: Image, command: VMCmd) -> None:
    """Nothing is done for nothing; fresh memory comes in whole pages."""
    if command.length:
        if command.kind == ZERO and command.addr == page_floor(command.addr):
            command = command._replace(length=page_ceil(command.length))
        image.queue(command._replace(flags=FIXED))
