"""ELF images: from the bytes of a file to VMCmds, step by step as Linux does it (fs/binfmt_elf.c).

The file is hostile: every number in it may be anything, every read may come short.  A refusal is an `Errno`; which
refusals its system would only meet behind the point of no return is told by the package's step ("map" and what
follows), not decided here.

What Linux looks at is what is looked at: the magic, e_type, e_machine, e_phentsize, e_phnum, PT_LOAD, PT_INTERP and
PT_GNU_STACK. e_ident's class and byte order are not: the machine alone decides how the rest is read.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ring3.abi.elf import (
    ELF32,
    ELF64,
    EM_386,
    EM_486,
    EM_X86_64,
    ET_DYN,
    ET_EXEC,
    MAGIC,
    PF_R,
    PF_W,
    PF_X,
    PT_DYNAMIC,
    PT_GNU_STACK,
    PT_INTERP,
    PT_LOAD,
    Ehdr,
    ElfClass,
    Phdr,
)
from ring3.abi.x86 import Arch
from ring3.errors import EFAULT, EINVAL, EIO, ELIBBAD, ENOEXEC, ENOMEM, EPERM, Errno
from ring3.exec.rules import READ_IMPLIES_EXEC
from ring3.namedtuple import NamedTuple
from ring3.vm.region import PAGE, page_ceil, page_floor

if TYPE_CHECKING:
    from ring3.exec.package import ExecPackage, Image
    from ring3.exec.plan import ImageFile

_MAX_PHDRS: Final = 65536           # bytes
_MAX_INTERP: Final = 4096
_START: Final = 1024                # bytes: the header, and mostly the program headers
_MASK: Final = (1 << 64) - 1
_EXEC: Final = 4
_WRITE: Final = 2


class ElfFile(NamedTuple):
    """A file whose headers have been read."""

    file: ImageFile
    ehdr: Ehdr
    phdrs: tuple[Phdr, ...]

    @property
    def loads(self) -> list[Phdr]:
        """The segments that are mapped, in the file's order."""
        return [p for p in self.phdrs if p.type == PT_LOAD]

    @property
    def mapping_size(self) -> int:
        """total_mapping_size: from the first page to the last byte of all segments; 0 without any."""
        loads = self.loads
        if not loads:
            return 0
        return (max((p.vaddr + p.memsz) & _MASK for p in loads) - min(page_floor(p.vaddr) for p in loads)) & _MASK

    @property
    def alignment(self) -> int:
        """maximum_alignment: the largest power of two among the segments' alignments; at least a page."""
        return page_ceil(max((p.align for p in self.loads if p.align and not p.align & (p.align - 1)), default=0)) & _MASK


class ElfFormat:
    """ELF images of one word size for one personality."""

    header_size = 64

    def __init__(self, name: str, personality: str, elf: ElfClass, machines: tuple[int, ...], arch: Arch) -> None:
        self.name = name
        self.personality = personality
        self.elf = elf
        self.machines = machines
        self.arch = arch

    def recognise(self, package: ExecPackage) -> bool:
        """Lay the image out.  False: it is done.  Raises ENOEXEC for what is not mine, ELIBBAD, EIO, EINVAL, ENOMEM
        and more.
        """
        ehdr = self._header(package.header)
        if ehdr.type not in (ET_EXEC, ET_DYN):
            raise ENOEXEC("neither an executable nor a shared object")
        program = self._load_headers(package.file, ehdr, package.header[: package.header_valid])
        if program is None:
            raise ENOEXEC("the program headers cannot be read")
        interpreter = self._open_interpreter(package, program)
        image = package.begin_image(self.arch, self.personality, exec_stack=_wants_exec_stack(program.phdrs))
        package.at_step("map")
        image.is_dynamic = ehdr.type == ET_DYN
        image.has_interpreter = interpreter is not None
        image.interpreter = interpreter.file if interpreter is not None else None
        image.phnum, image.phdr_size = ehdr.phnum, self.elf.phdr.size
        rules = image.personality.exec
        self._map_program(image, program, rules.pie_base(image.frame) if image.is_dynamic and image.has_interpreter else 0)
        image.start = image.entry
        if interpreter is not None:
            package.at_step("map interpreter")
            base = self._map_interpreter(image, interpreter)
            image.interp_base = base
            image.start = (base + interpreter.ehdr.entry) & _MASK
        if image.start >= image.model.user_top:
            raise EINVAL("the entry point lies beyond user memory")
        return False

    # --- headers
    def _header(self, header: bytes) -> Ehdr:
        if header[:4] != MAGIC:
            raise ENOEXEC("not ELF")
        ehdr = self.elf.ehdr.decode(header)
        if ehdr.machine not in self.machines:
            raise ENOEXEC("for another CPU")
        return ehdr

    def _load_headers(self, file: ImageFile, ehdr: Ehdr, start: bytes) -> ElfFile | None:
        """load_elf_phdrs: None when the table has another entry size, is empty, over 64 KiB or not all there.  `start` are
        bytes of the file that are known already.
        """
        size = ehdr.phnum * self.elf.phdr.size
        if ehdr.phentsize != self.elf.phdr.size or not 0 < size <= _MAX_PHDRS:
            return None
        table = start[ehdr.phoff : ehdr.phoff + size]
        if len(table) != size:
            try:
                table = _read(file, ehdr.phoff, size)
            except Errno:
                return None
        return ElfFile(file, ehdr, tuple(self.elf.phdr.array(table)))

    def _open_interpreter(self, package: ExecPackage, program: ElfFile) -> ElfFile | None:
        """The program's interpreter by the first PT_INTERP.  Raises ENOEXEC, EIO, ELIBBAD, and what opening it does."""
        phdr = next((p for p in program.phdrs if p.type == PT_INTERP), None)
        if phdr is None:
            return None
        package.at_step("interpreter")
        if not 2 <= phdr.filesz <= _MAX_INTERP:
            raise ENOEXEC("the interpreter's name has an impossible length")
        name = _read(program.file, phdr.offset, phdr.filesz)
        if name[-1]:
            raise ENOEXEC("the interpreter's name is not terminated")
        file = package.open_interpreter(name[: name.index(0)], self.personality)
        header = file.vnode.read(0, _START)
        if len(header) < self.elf.ehdr.size:
            raise EIO("the file ends too early")
        try:
            ehdr = self._header(header)
        except ENOEXEC:
            raise ELIBBAD("the interpreter is no ELF file for this CPU") from None
        interpreter = self._load_headers(file, ehdr, header)
        if interpreter is None:
            raise ELIBBAD("the interpreter's program headers cannot be read")
        return interpreter

    # --- mapping
    def _map_program(self, image: Image, program: ElfFile, pie_base: int) -> None:
        """The segments in the file's order: the first finds the room, the others follow it whatever they replace."""
        top, bias, ehdr = image.model.user_top, 0, program.ehdr
        phdr_addr = brk = 0
        for index, phdr in enumerate(program.loads):
            total, fixed = 0, True
            if index == 0 and ehdr.type == ET_DYN:
                total = program.mapping_size
                if not total:
                    raise EINVAL("the segments are empty")
                start = _dynamic_base(image, program, pie_base, total)
                fixed = start != 0
                bias = page_floor((start - phdr.vaddr) & _MASK)
            wanted = (bias + phdr.vaddr) & _MASK
            placed = self._map_segment(image, program.file, phdr, wanted, total, fixed=fixed, replace=index > 0)
            if index == 0 and ehdr.type == ET_DYN:
                bias = (bias + placed - page_floor(wanted)) & _MASK
            if phdr.offset <= ehdr.phoff < phdr.offset + phdr.filesz:
                phdr_addr = ehdr.phoff - phdr.offset + phdr.vaddr
            if phdr.vaddr >= top or phdr.filesz > phdr.memsz or phdr.memsz > top or top - phdr.memsz < phdr.vaddr:
                raise EINVAL("a segment is larger than user memory")
            brk = max(brk, phdr.vaddr + phdr.memsz)
        image.load_bias = bias
        image.entry = (ehdr.entry + bias) & _MASK
        image.phdr_addr = (phdr_addr + bias) & _MASK
        image.brk_end = (brk + bias) & _MASK

    def _map_interpreter(self, image: Image, interpreter: ElfFile) -> int:
        """load_elf_interp: where it was put (0 for one that says where it wants to be).  Raises EPERM for another
        type, EINVAL, ENOMEM.
        """
        ehdr, top = interpreter.ehdr, image.model.user_top
        if ehdr.type not in (ET_EXEC, ET_DYN):
            raise EPERM("the interpreter is neither an executable nor a shared object")
        total = interpreter.mapping_size
        if not total:
            raise EINVAL("the interpreter has no segments")
        bias, placed_once = 0, False
        for phdr in interpreter.loads:
            fixed = ehdr.type == ET_EXEC or placed_once
            if not placed_once and ehdr.type == ET_DYN and image.load_bias:
                bias = -phdr.vaddr & _MASK
            wanted = (bias + phdr.vaddr) & _MASK
            placed = self._map_segment(image, interpreter.file, phdr, wanted, total, fixed=fixed, replace=True)
            total = 0
            if not placed_once and ehdr.type == ET_DYN:
                bias = (placed - page_floor(phdr.vaddr)) & _MASK
                placed_once = True
            start = (bias + phdr.vaddr) & _MASK
            if start >= top or phdr.filesz > phdr.memsz or phdr.memsz > top or top - phdr.memsz < start:
                raise ENOMEM("a segment of the interpreter is larger than user memory")
        return bias

    def _map_segment(
        self, image: Image, file: ImageFile, phdr: Phdr, addr: int, total: int, *, fixed: bool, replace: bool
    ) -> int:
        """elf_load: file pages, the rest of their last page zeroed, fresh pages behind.  Where it begins."""
        prot = _protection(phdr.flags, image.frame.flags)
        in_page = phdr.vaddr % PAGE
        if phdr.filesz:
            start = _map_file(image, file, phdr, addr, total, prot, fixed=fixed, replace=replace)
            zero_start = start + in_page + phdr.filesz
        else:
            start = zero_start = page_floor(addr)
        if phdr.memsz > phdr.filesz:
            zero_end = page_ceil(start + in_page + phdr.memsz)
            if phdr.filesz and zero_start % PAGE and prot & _WRITE:
                _zero_rest(image, file, zero_start)
            zero_start = page_ceil(zero_start)
            if zero_end > zero_start:
                image.model.fix(zero_start, zero_end - zero_start, replace=True)
                image.zero(zero_start, zero_end - zero_start, _brk_protection(prot, image.frame.flags))
        return start


def _dynamic_base(image: Image, program: ElfFile, base: int, total: int) -> int:
    """Where a position-independent program begins: near `base` with an interpreter, else where there is room; 0:
    anywhere.

    An image that asks for more than page alignment gets it.
    """
    alignment = program.alignment
    if image.has_interpreter:
        return base & -alignment if alignment else page_floor(base)
    if alignment > PAGE:
        start = image.model.place(total)
        image.model.release(start, start + page_ceil(total))
        return start & -alignment
    return 0


def _map_file(
    image: Image, file: ImageFile, phdr: Phdr, addr: int, total: int, prot: int, *, fixed: bool, replace: bool
) -> int:
    """elf_map.  With `total` the whole image's room is found first.

    Raises EINVAL for an offset that does not fit the address, ENOMEM for too much.
    """
    in_page = phdr.vaddr % PAGE
    addr, size = page_floor(addr), page_ceil(phdr.filesz + in_page)
    offset = phdr.offset - in_page
    if max(size, total) > image.model.user_top:
        raise ENOMEM("a segment is larger than user memory")
    if offset % PAGE or offset < 0 or offset + size > 1 << 63:
        raise EINVAL("a segment's offset in the file does not fit its address")
    room = max(page_ceil(total), size)
    if fixed:
        image.model.fix(addr, room, replace=replace)
    else:
        addr = image.model.place(room, addr)
    if room > size:
        image.model.release(addr + size, addr + room)
    image.map(file, addr, size, prot, offset)
    return addr


def _zero_rest(image: Image, file: ImageFile, start: int) -> None:
    """padzero: zeros up to the end of the page.  Raises EFAULT where the page lies beyond the end of the file."""
    command = image.mapped_at(start)
    if command is None or command.file is None:
        raise EFAULT
    if command.offset + (page_floor(start) - command.addr) >= page_ceil(file.size):
        raise EFAULT("a segment ends beyond the end of the file")
    image.write(start, bytes(page_ceil(start) - start))


def _protection(flags: int, personality_flags: int) -> int:
    prot = (1 if flags & PF_R else 0) | (2 if flags & PF_W else 0) | (4 if flags & PF_X else 0)
    if prot & 1 and personality_flags & READ_IMPLIES_EXEC:
        prot |= _EXEC
    return prot


def _brk_protection(prot: int, personality_flags: int) -> int:
    """What vm_brk_flags gives: readable and writable whatever the segment says."""
    return 3 | prot & _EXEC | (_EXEC if personality_flags & READ_IMPLIES_EXEC else 0)


def _wants_exec_stack(phdrs: Sequence[Phdr]) -> bool | None:
    """The last PT_GNU_STACK decides; None without one."""
    wants = None
    for phdr in phdrs:
        if phdr.type == PT_GNU_STACK:
            wants = bool(phdr.flags & PF_X)
    return wants


def _read(file: ImageFile, offset: int, nbytes: int) -> bytes:
    """Exactly so many bytes.  Raises EINVAL for an offset no file has, EIO when they are not all there."""
    if offset + nbytes >= 1 << 63:
        raise EINVAL
    data = file.vnode.read(offset, nbytes)
    if len(data) != nbytes:
        raise EIO("the file ends too early")
    return data


def symbol(image: bytes, name: bytes) -> int:
    """The value of a dynamic symbol of a small trusted 32-bit image (the host's vDSO); 0 when it has none of that
    name.
    """
    ehdr = ELF32.ehdr.decode(image)
    phdrs = [ELF32.phdr.decode(image, ehdr.phoff + i * ELF32.phdr.size) for i in range(ehdr.phnum)]
    base = next(p.vaddr - p.offset for p in phdrs if p.type == PT_LOAD)
    dynamic = next(p for p in phdrs if p.type == PT_DYNAMIC)
    table = dict(struct.iter_unpack("<II", image[dynamic.offset : dynamic.offset + dynamic.filesz]))
    strings, symbols = table[5] - base, table[6] - base
    for at in range(symbols, strings, 16):
        name_at, value = struct.unpack_from("<II", image, at)
        start = strings + name_at
        if image[start : start + len(name) + 1] == name + b"\0":
            return int(value)
    return 0


ELF_LINUX64: Final = ElfFormat("elf64", "linux", ELF64, (EM_X86_64,), Arch.X86_64)
ELF_LINUX32: Final = ElfFormat("elf32", "linux", ELF32, (EM_386, EM_486), Arch.I386)
