"""Core files: the notes and the memory of a process that a signal ends, as an ELF file (ET_CORE).

What a system writes of it, and where to, is its personality's affair (`Personality.dump_core`); here is what all have in common:
which memory, how much of it, and the file.  Invariant: a core is no larger than `CORE_MAX`, whatever a guest has mapped, and what
cannot be written is not: nothing here raises, and a file that was begun is cut back to nothing.

Memory that a program only reads of a file is not in it, but for the first page of an ELF image, by which a debugger knows the file.
Not here: when a process dumps (`signals.die`).  Source: core(5), elf(5), fs/binfmt_elf.c's vma_dump_size as core(5) states it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from ring3.abi.elf import ELF64, EM_X86_64, MAGIC, Ehdr, Phdr
from ring3.errors import Errno
from ring3.namedtuple import NamedTuple
from ring3.vm.region import PAGE, Region, page_ceil, page_floor

if TYPE_CHECKING:
    from ring3.vfs.file import File
    from ring3.vm.vmspace import VMSpace

CORE_MAX: Final = 256 << 20
RELRO_MAX: Final = 1 << 20
ET_CORE, PT_LOAD, PT_NOTE = 4, 1, 4
_IDENT: Final = MAGIC + bytes((2, 1, 1)) + bytes(9)
_EHDR, _PHDR, _SHDR = 64, 56, 64
_PIECE: Final = 1 << 16
_ZEROS: Final = bytes(_PIECE)


class Piece(NamedTuple):
    """A region, and how many bytes of it, from its beginning on, are kept."""

    region: Region
    nbytes: int


def kept_of(region: Region) -> int:
    """How much of a region a core keeps: all that is the process's own, of a file the page that says what it is.

    Data of a file that may not be written any more may have been, while it was loaded (RELRO): it is kept where there is little.
    """
    if not region.prot & 1:
        return 0
    if region.object is None or region.object.anonymous or (region.prot & 2 and not region.shared):
        return region.length
    if region.offset and not region.shared and not region.prot & 4 and region.length <= RELRO_MAX:
        return region.length
    return PAGE if region.offset == 0 else 0


def pieces_of(regions: Sequence[Region], room: int, kept: Callable[[Region], int] = kept_of) -> list[Piece]:
    """What is kept of regions where there is room for so many bytes, in whole pages."""
    found = []
    for region in regions:
        nbytes = min(kept(region), page_floor(max(room, 0)))
        room -= nbytes
        found.append(Piece(region, nbytes))
    return found


def write_core(file: File, vm: VMSpace, pieces: Sequence[Piece], notes: bytes, *, notes_first: bool) -> bool:
    """Write it all; False, and the file is empty, where that fails.

    `notes_first`: the notes stand before the memory, which begins with a page then (Linux); else behind it.
    """
    vnode = file.vnode
    assert vnode is not None
    try:
        head, data_at, notes_at = _head(pieces, len(notes), notes_first=notes_first)
        vnode.write(0, head)
        end = data_at
        for region, nbytes in pieces:
            for done in range(0, nbytes, _PIECE):
                data = vm.machine.read(region.start + done, min(_PIECE, nbytes - done))
                if data and data != _ZEROS[: len(data)]:            # what is zero is a hole
                    vnode.write(end + done, data)
            end += nbytes
        vnode.write(notes_at, notes)
        vnode.truncate(max(end, notes_at + len(notes)))
    except (Errno, OSError, MemoryError):
        _give_up(file)
        return False
    return True


def _give_up(file: File) -> None:
    try:
        if file.vnode is not None:
            file.vnode.truncate(0)
    except (Errno, OSError, MemoryError):
        return                          # there is nothing more to be done about it


def _head(pieces: Sequence[Piece], notes: int, *, notes_first: bool) -> tuple[bytes, int, int]:
    """The headers, and where memory and notes stand."""
    count = len(pieces) + 1
    behind = _EHDR + count * _PHDR
    data_at = page_ceil(behind + notes) if notes_first else behind
    total = sum(nbytes for _, nbytes in pieces)
    notes_at = behind if notes_first else data_at + total
    note = Phdr(PT_NOTE, 0, notes_at, 0, 0, notes, 0 if notes_first else notes, 4 if notes_first else 0)
    at, loads = data_at, []
    for region, nbytes in pieces:
        flags = (4 if region.prot & 1 else 0) | (region.prot & 2) | (1 if region.prot & 4 else 0)
        loads.append(Phdr(PT_LOAD, flags, at, region.start, 0, nbytes, region.length, PAGE if notes_first else 0))
        at += nbytes
    ehdr = Ehdr(_IDENT, ET_CORE, EM_X86_64, 1, 0, _EHDR, 0, 0, _EHDR, _PHDR, count, 0 if notes_first else _SHDR, 0, 0)
    rows = (note, *loads) if notes_first else (*loads, note)
    return ELF64.ehdr.encode(ehdr) + b"".join([ELF64.encode_phdr(row) for row in rows]), data_at, notes_at
