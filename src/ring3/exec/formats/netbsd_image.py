"""From a NetBSD ELF file to commands (exec_elf.c: exec_elf_makecmds, elf_load_psection, elf_load_interp), by its present rules.

A segment becomes up to three commands: pages of the file that are shown, a last page that is read (so that zeros follow),
fresh memory.  Only what can be told from the headers is refused here; that a command cannot be done shows when it is, behind
NetBSD's point of no return, or when the plan is rehearsed (`Image.rehearse`).

The file is hostile: every number in it may be anything.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ring3.abi.elf import ET_DYN, PF_R, PF_W, PF_X, PT_INTERP, PT_LOAD, PT_PHDR, Ehdr, Phdr
from ring3.abi.flags import S_ISGID, S_ISUID, MountFlags
from ring3.errors import EINVAL, ENOENT, ENOEXEC, ENOTDIR, ETXTBSY, Errno
from ring3.exec.formats.elf_netbsd import NetbsdElf, read_exactly
from ring3.exec.formats.netbsd_notes import P_MPROTECT, read_notes
from ring3.exec.plan import BASE, FIXED, MAP, READ, RELATIVE, ZERO, ImageFile, VMCmd
from ring3.namedtuple import NamedTuple
from ring3.vm.region import PAGE, page_ceil, page_floor

if TYPE_CHECKING:
    from ring3.exec.package import ExecPackage, Image

MAX_NAME: Final = 1024              # MAXPATHLEN: of an interpreter, the zero included
DEFAULT_LOADERS: Final = frozenset({b"/usr/libexec/ld.elf_so", b"/libexec/ld.elf_so"})
_PIE_BITS: Final = 12               # PAX_ASLR_DELTA_EXEC_LEN
_MASK: Final = (1 << 64) - 1


class Interpreter(NamedTuple):
    """The interpreter's file, its header, and its segments."""

    file: ImageFile
    ehdr: Ehdr
    loads: tuple[Phdr, ...]


class Part(NamedTuple):
    """One segment once queued: where it begins, how long it is, whether it is code."""

    addr: int
    size: int
    is_text: bool


def lay_out(elf: NetbsdElf, package: ExecPackage, ehdr: Ehdr, table: bytes, notes: list[bytes]) -> None:
    """Fill in `package.image`.  Raises ENOEXEC for what is not NetBSD's or wrong in itself, ETXTBSY, EINVAL (alignment), and
    what opening the interpreter does.
    """
    found = read_notes(notes)
    if found.version is None:
        raise ENOEXEC
    package.at_step("interpreter")          # from here on it is nobody else's
    if package.file.vnode.writers > 0:
        raise ETXTBSY
    phdrs = tuple(elf.elf.phdr.array(table))
    loads = tuple(p for p in phdrs if p.type == PT_LOAD)
    if not any(p.memsz for p in loads):
        raise ENOEXEC("no segment to load")
    align = _alignment(loads)
    interpreter = _open_interpreter(elf, package, phdrs)
    package.pax = found.protections
    image = package.begin_image(elf.arch, elf.personality, exec_stack=None)
    package.at_step("map")
    image.pax = package.pax
    image.is_dynamic, image.has_interpreter = ehdr.type == ET_DYN, interpreter is not None
    image.phnum, image.phdr_size = ehdr.phnum, ehdr.phentsize
    image.load_bias = _place_program(image, align) if image.is_dynamic else 0
    for phdr in loads:
        queued = _queue_segment(image, package.file, phdr, phdr.vaddr + image.load_bias & _MASK, FIXED)
        _account(image, queued)
    if not image.dsize and not image.daddr:
        image.daddr = page_ceil(image.taddr + image.tsize)
    image.brk_end = page_ceil(image.daddr + image.dsize & _MASK)
    image.phdr_addr = _find_headers(ehdr, phdrs) + image.load_bias & _MASK
    image.entry = image.start = ehdr.entry + image.load_bias & _MASK
    if interpreter is not None:
        package.at_step("map interpreter")
        image.interpreter = interpreter.file
        image.interp_base = _place_interpreter(image, interpreter)
        first = _unit_floor(interpreter.loads[0])
        image.start = image.interp_base + interpreter.ehdr.entry - first & _MASK


def _alignment(loads: tuple[Phdr, ...]) -> int:
    """The largest.  Raises EINVAL for one that is no power of two."""
    if any(p.align & (p.align - 1) for p in loads):
        raise EINVAL("a segment's alignment is no power of two")
    return max((p.align for p in loads), default=1) or 1


def _find_headers(ehdr: Ehdr, phdrs: tuple[Phdr, ...]) -> int:
    """Where the program headers are seen in memory: where PT_PHDR says, else in the segment that shows the file's start."""
    for phdr in phdrs:
        if phdr.type == PT_PHDR:
            return phdr.vaddr
    for phdr in phdrs:
        if phdr.type == PT_LOAD and phdr.offset == 0:
            return phdr.vaddr + ehdr.phoff
    return 0


# --- the interpreter's file
def _open_loader(elf: NetbsdElf, package: ExecPackage, name: bytes) -> ImageFile:
    """The loader of that name.  A 32-bit program names the 64-bit system's: its own lies beside that (netbsd32_probe_noteless).

    Raises what opening the named one does.
    """
    if elf.own_loader and name in DEFAULT_LOADERS:
        with suppress(ENOENT, ENOTDIR):
            return package.open_interpreter(elf.own_loader, elf.personality)
    return package.open_interpreter(name, elf.personality)


def _open_interpreter(elf: NetbsdElf, package: ExecPackage, phdrs: tuple[Phdr, ...]) -> Interpreter | None:
    """The first PT_INTERP decides.  Raises ENOEXEC, ETXTBSY, and what opening it does."""
    phdr = next((p for p in phdrs if p.type == PT_INTERP), None)
    if phdr is None:
        return None
    if not 2 <= phdr.filesz <= MAX_NAME:
        raise ENOEXEC("the interpreter's name has an impossible length")
    name = read_exactly(package.file, phdr.offset, phdr.filesz)
    if name.find(b"\0") != len(name) - 1:
        raise ENOEXEC("the interpreter's name does not end where it should")
    file = _open_loader(elf, package, name[:-1])
    if file.vnode.writers > 0:
        raise ETXTBSY
    if file.dentry is None or file.dentry.mount.flags & MountFlags.NOSUID:
        attr = package.file.attr
        package.file.attr = attr._replace(mode=attr.mode & ~(S_ISUID | S_ISGID))
    start = file.vnode.read(0, elf.header_size)
    ehdr = elf.check_header(start, len(start))
    if ehdr.type != ET_DYN:
        raise ENOEXEC("the interpreter is no shared object")
    phdrs = tuple(elf.elf.phdr.array(elf.program_headers(file, ehdr.phoff, ehdr.phnum, start)))
    loads = tuple(p for p in phdrs if p.type == PT_LOAD and (p.memsz or p.filesz))
    if not loads:
        raise ENOEXEC("the interpreter has no segment to load")
    _alignment(loads)
    return Interpreter(file, ehdr, loads)


# --- placing
def _place_program(image: Image, align: int) -> int:
    """How far a position-independent program is moved: at least its alignment, or 12 random bits of that."""
    frame = image.frame
    offset = max(align, PAGE)
    if frame.randomise:
        offset = (frame.random.getrandbits(_PIE_BITS) * max(align, PAGE)) & _MASK
    lowest = image.model.min_addr
    return offset if offset >= lowest else -(-lowest // max(align, PAGE)) * max(align, PAGE)


def _place_interpreter(image: Image, interpreter: Interpreter) -> int:
    """Queue its segments, the first as the base of the others, holes between them out of reach.  Where it begins.

    Below the stack, where mmap would put it.  Raises ENOMEM where there is no room.
    """
    for command in image.commands:                      # the program stands where it will, possible or not
        with suppress(Errno):
            image.model.fix(command.addr, command.length, replace=True)
    first = interpreter.loads[0]
    start, align = _unit_floor(first), max(first.align, PAGE)
    span = page_ceil(max(p.vaddr + p.memsz for p in interpreter.loads)) - page_floor(start)
    room = image.model.place(max(span, PAGE) + align - PAGE)
    base = -(-room // align) * align
    end = 0
    for number, phdr in enumerate(interpreter.loads):
        at = base + phdr.vaddr - start & _MASK
        if number and page_floor(at) > end:
            image.queue(VMCmd(ZERO, end - base, page_floor(at) - end, 0, flags=RELATIVE))
        part = _queue_segment(image, interpreter.file, phdr, at, RELATIVE if number else BASE)
        end = max(end, page_ceil(part.addr + part.size))
    return base


def _unit_floor(phdr: Phdr) -> int:
    """The first address of a segment, down to its alignment."""
    return phdr.vaddr & -max(phdr.align, PAGE) & _MASK


# --- segments
def _queue_segment(image: Image, file: ImageFile, phdr: Phdr, addr: int, flags: int) -> Part:
    """elf_load_psection: the commands for a segment that goes to `addr`, queued as absolute, base or relative ones.  Begins
    where a page does.
    """
    inside = phdr.vaddr % phdr.align % PAGE if phdr.align > 1 else 0
    prot, max_prot = protections(phdr.flags, image.pax)
    addr = addr - inside & _MASK
    size, memsz = phdr.filesz + inside, phdr.memsz + inside & _MASK
    offset = phdr.offset - inside
    whole = size
    if phdr.align >= PAGE:
        whole = page_floor(size) if phdr.flags & PF_W else page_ceil(size)
    commands = []
    if whole:
        kind = MAP if phdr.align >= PAGE else READ
        commands.append(VMCmd(kind, addr, whole, prot, file, offset, max_prot=max_prot))
    if whole < size:
        commands.append(VMCmd(READ, addr + whole & _MASK, size - whole, prot, file, offset + whole, max_prot=max_prot))
    shown_end, end = page_ceil(addr + size), page_ceil(addr + memsz)
    if shown_end != end:
        commands.append(VMCmd(ZERO, shown_end & _MASK, end - shown_end & _MASK, prot, max_prot=max_prot))
        size = memsz
    for command in commands:
        distance = image.base if flags & RELATIVE else 0
        image.queue(command._replace(addr=command.addr - distance & _MASK, flags=flags))
        if flags & BASE:
            flags = RELATIVE
    return Part(addr, size, bool(phdr.flags & PF_X))


def protections(flags: int, pax: int) -> tuple[int, int]:
    """What a segment gets and may get later.  PaX MPROTECT never lets memory be written and executed both."""
    prot = (1 if flags & PF_R else 0) | (2 if flags & PF_W else 0) | (4 if flags & PF_X else 0)
    if not pax & P_MPROTECT:
        return prot, 7
    return (prot & ~2, 5) if prot & 6 == 4 else (prot & ~4, 3)


def _account(image: Image, part: Part) -> None:
    """Which segment counts as text (the largest with code) and which as data (the last without)."""
    if part.is_text:
        if part.size > image.tsize:
            image.taddr, image.tsize = part.addr, part.size
    else:
        image.daddr, image.dsize = part.addr, part.size
