"""SerenityOS's ELF programs: from the bytes of a file to VMCmds, step by step as its execve.cpp and load_elf_object do it.

The kernel maps one object: the interpreter where PT_INTERP names one (the loader, which finds the program behind a descriptor),
else the program, which relocates itself.  Whose image a file is cannot be seen from a static one: it is SerenityOS's when its
interpreter is that system's loader, or when the caller is one of its programs (`ExecRules.unmarked`).

The original's assertions have stated results here: a file without segments is EINVAL, an empty writable segment at the end of the
file is an empty copy, a PT_TLS of the loader or of no size is ENOEXEC.

Not here: the rules a file must keep (`libelf.py`), the stack (`personality/serenity/exec_rules.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ring3.abi.elf import ELF64, MAGIC, PF_R, PF_W, PF_X, PT_GNU_STACK, PT_LOAD, Ehdr, Phdr
from ring3.abi.flags import Prot
from ring3.abi.x86 import FS_BASE, Arch
from ring3.errors import EINVAL, ELOOP, EMFILE, ENOEXEC, ENOMEM, EOVERFLOW, ETXTBSY
from ring3.exec.formats.libelf import (
    EHDR_SIZE,
    ET_REL,
    PT_TLS,
    SHDR_SIZE,
    Headers,
    header_fault,
    load_offset,
    program_headers,
)
from ring3.exec.plan import READ, ZERO, VMCmd
from ring3.namedtuple import NamedTuple
from ring3.vfs.mapping import VnodeObject
from ring3.vm.region import PAGE, page_ceil, page_floor
from ring3.vm.traits import PER_THREAD, SYSCALL, MasterTls

if TYPE_CHECKING:
    from ring3.exec.package import ExecPackage, Image
    from ring3.exec.plan import ImageFile

LOADER: Final = b"/usr/lib/Loader.so"
THREAD_SPECIFIC: Final = b"Thread-specific"     # the region's name
DEFAULT_STACK: Final = 1 << 20
OPEN_MAX: Final = 1024
_SHT_SYMTAB: Final = 2
_MASK: Final = (1 << 64) - 1
_POINTER: Final = 8


class ElfObject(NamedTuple):
    """A file whose headers have been read: those in its first page."""

    file: ImageFile
    ehdr: Ehdr
    headers: Headers

    @property
    def phdrs(self) -> tuple[Phdr, ...]:
        """Its program headers."""
        return self.headers.phdrs


class SerenityElf:
    """64-bit ELF programs of SerenityOS."""

    name = "elf64-serenity"
    header_size = EHDR_SIZE
    personality = "serenity"

    def recognise(self, package: ExecPackage) -> bool:
        """Lay the image out.  False: it is done.

        Raises ENOEXEC for what is not mine, ELOOP, EMFILE, EINVAL, E2BIG, ETXTBSY, ENOMEM, EOVERFLOW.
        """
        page = package.header[: min(package.header_valid, PAGE)]
        if page[:4] != MAGIC:
            raise ENOEXEC("not ELF")
        if len(package.header) < PAGE:          # the caller's system looks at less
            page = package.file.vnode.read(0, PAGE)
        program = _read(package.file, page)
        if package.rules.unmarked != self.personality and program.headers.interpreter != LOADER:
            raise ENOEXEC("not marked as a program of SerenityOS")
        interpreter = self._interpreter(package, program)
        image = package.begin_image(Arch.X86_64, self.personality, exec_stack=None)
        package.at_step("map")
        image.is_dynamic = True
        image.has_interpreter = interpreter is not None
        image.interpreter = interpreter.file if interpreter is not None else None
        image.model.release(image.stack_start, image.stack_top)         # its place is chosen last
        offset = self._offset(package, program, interpreter)
        image.load_bias = offset
        self._load(package, image, interpreter or program, offset, is_loader=interpreter is not None)
        image.start = image.entry
        return False

    def _interpreter(self, package: ExecPackage, program: ElfObject) -> ElfObject | None:
        """The program's loader (find_elf_interpreter_for_executable).  Raises ENOEXEC, ELOOP, and what opening it does."""
        path = program.headers.interpreter
        if not path:
            if program.ehdr.type == ET_REL:
                raise ENOEXEC("an object file")
            return None
        package.at_step("interpreter")
        file = package.open_interpreter(path, self.personality)
        found = _read(file, file.vnode.read(0, PAGE))
        if found.headers.interpreter:
            raise ELOOP("the interpreter has an interpreter of its own")
        package.opens = ((loader_descriptor(package), package.file),)
        return found

    def _offset(self, package: ExecPackage, program: ElfObject, interpreter: ElfObject | None) -> int:
        """get_load_offset.  Images are looked at whole only where their range matters.  Raises EINVAL for one that is not valid."""
        if program.ehdr.type == _ET_EXEC:
            for found in (program, interpreter):
                if found is not None and image_fault(found) is not None:
                    raise EINVAL(image_fault(found))
        draw = package.random.getrandbits
        randomise = package.system.execsw.randomise
        return load_offset(
            program.ehdr.type, program.phdrs, interpreter.phdrs if interpreter is not None else None,
            lambda: draw(64) if randomise else 0,
        )

    def _load(self, package: ExecPackage, image: Image, found: ElfObject, offset: int, *, is_loader: bool) -> None:
        """load_elf_object."""
        if is_written_through_a_mapping(package, found.file):
            raise ETXTBSY("a process has it mapped for writing")
        fault = image_fault(found)
        if fault is not None:
            raise ENOEXEC(fault)
        stack_size = 0
        for phdr in found.phdrs:
            if phdr.type == PT_TLS:
                if is_loader or not phdr.memsz:
                    raise ENOEXEC("thread-local storage where there can be none")
                _map_tls(package, image, found.file, phdr)
            elif phdr.type == PT_LOAD and phdr.memsz:
                _map_segment(image, found.file, phdr, offset, marks=SYSCALL if is_loader else 0)
            elif phdr.type == PT_GNU_STACK:
                stack_size = phdr.memsz
        image.entry = (found.ehdr.entry + offset) & _MASK
        if not image.entry:
            raise ENOEXEC("the entry point is 0")
        size = stack_size or DEFAULT_STACK
        image.stack_start = place(package, image, size)
        image.stack_top = image.stack_start + size


_ET_EXEC: Final = 2


def loader_descriptor(package: ExecPackage) -> int:
    """Where the loader finds the program: the lowest free one, before those that close at exec are closed.  Raises EMFILE."""
    fd = package.thread.proc.fds.lowest()
    if fd >= OPEN_MAX:
        raise EMFILE
    return fd


def _read(file: ImageFile, page: bytes) -> ElfObject:
    """A file's headers, from its first page.  Raises ENOEXEC."""
    if len(page) < EHDR_SIZE:
        raise ENOEXEC("shorter than an ELF header")
    ehdr = ELF64.ehdr.decode(page)
    fault = header_fault(ehdr, file.size)
    if fault is not None:
        raise ENOEXEC(fault)
    headers = program_headers(ehdr, file.size, page)
    if isinstance(headers, str):
        raise ENOEXEC(headers)
    return ElfObject(file, ehdr, headers)


def image_fault(found: ElfObject) -> str | None:
    """What makes a whole file no valid image beyond its headers (ELF::Image): two symbol tables, the first section aside."""
    ehdr = found.ehdr
    if not ehdr.shnum:
        return None
    table = found.file.vnode.read(ehdr.shoff, ehdr.shnum * SHDR_SIZE)
    if len(table) < ehdr.shnum * SHDR_SIZE:
        return "section headers cut off by the end of the file"
    kinds = [int.from_bytes(table[at + 4 : at + 8], "little") for at in range(0, len(table), SHDR_SIZE)]
    return "two symbol tables" if kinds[1:].count(_SHT_SYMTAB) > 1 else None


def is_written_through_a_mapping(package: ExecPackage, file: ImageFile) -> bool:
    """Whether some process has a shared writable mapping of the file."""
    wanted = file.vnode.fileid
    spaces = [p.vm for p in package.system.procs.values() if hasattr(p, "vm") and not p.zombie]
    written = (region.object for space in spaces for region in space if region.shared and region.prot & Prot.WRITE)
    return any(isinstance(found, VnodeObject) and found.vnode.fileid == wanted for found in written)


def _range(phdr: Phdr, offset: int) -> tuple[int, int]:
    """The pages of a segment.  Raises EINVAL where rounding them up wraps round."""
    start = page_floor((phdr.vaddr + offset) & _MASK)
    end = (phdr.vaddr + offset + phdr.memsz) & _MASK
    if end > _MASK - PAGE:
        raise EINVAL("a segment reaches to the end of all addresses")
    return start, page_ceil(end)


def _take(image: Image, start: int, end: int) -> None:
    """Use exactly these pages.  Raises ENOMEM outside user memory and where another segment is."""
    if not image.model.min_addr <= start < end <= image.model.user_top or not image.model.free(start, end):
        raise ENOMEM("a segment lies outside user memory, or on another one")
    image.model.fix(start, end - start, replace=False)


def _map_segment(image: Image, file: ImageFile, phdr: Phdr, offset: int, *, marks: int) -> None:
    """A writable segment is a copy with zeros around it, any other the file itself, whatever else stands in its pages.

    `marks` are those of the latter.
    """
    start, end = _range(phdr, offset)
    readable = Prot.READ if phdr.flags & PF_R else 0
    if phdr.flags & PF_W:
        _take(image, start, end)
        label = file.path + (b" (data-rw)" if readable else b" (data-w)")
        image.queue(VMCmd(ZERO, start, end - start, readable | Prot.WRITE, label=label))
        if phdr.filesz:
            image.queue(VMCmd(READ, start + phdr.vaddr % PAGE, phdr.filesz, readable | Prot.WRITE, file, phdr.offset, label=label))
        return
    if phdr.offset + (end - start) > _MASK:
        raise EOVERFLOW("a segment's place in the file wraps round")
    if phdr.offset >= file.size or phdr.offset + (end - start) > page_ceil(file.size):
        raise EINVAL("a segment beyond the end of the file")
    _take(image, start, end)
    prot = readable | (Prot.EXEC if phdr.flags & PF_X else 0)
    image.map(file, start, end - start, prot, page_floor(phdr.offset), marks=marks)
    if phdr.offset == 0:
        image.interp_base = start


def _map_tls(package: ExecPackage, image: Image, file: ImageFile, phdr: Phdr) -> None:
    """The master copy of thread-local storage, and the first thread's own (make_thread_specific_region)."""
    size, alignment = phdr.memsz, max(phdr.align, _POINTER)
    if size > image.model.user_top:
        raise ENOMEM("more thread-local storage than user memory")
    master, master_label = place(package, image, page_ceil(size)), file.path + b" (master-tls)"
    image.queue(VMCmd(ZERO, master, page_ceil(size), Prot.READ | Prot.WRITE, label=master_label))
    room = page_ceil(aligned(size, alignment) + _POINTER)
    specific = place(package, image, room)
    pointer = specific + aligned(size, alignment)
    block = pointer - aligned(size, phdr.align)
    image.queue(VMCmd(ZERO, specific, room, Prot.READ | Prot.WRITE, label=THREAD_SPECIFIC, marks=PER_THREAD))
    image.tls = MasterTls(master, size, phdr.align)
    for start, label, marks in ((master, master_label, 0), (block, THREAD_SPECIFIC, PER_THREAD)):
        if phdr.filesz:
            image.queue(VMCmd(READ, start, phdr.filesz, Prot.READ | Prot.WRITE, file, phdr.offset, label=label, marks=marks))
    image.write(pointer, pointer.to_bytes(_POINTER, "little"))
    image.more_registers = (*image.more_registers, (FS_BASE, pointer))


def aligned(size: int, alignment: int) -> int:
    """Rounded up by a power of two's mask; an alignment of 0 leaves nothing of it, as in the original."""
    return (size + alignment - 1) & -alignment if alignment else 0


def place(package: ExecPackage, image: Image, size: int) -> int:
    """A random place (Memory::AddressSpace: a thousand tries, then the first gap).  Raises ENOMEM."""
    size, model = page_ceil(size), image.model
    if package.system.execsw.randomise:
        for _ in range(1000):
            start = page_ceil(package.random.getrandbits(64) % model.user_top)
            if model.min_addr <= start and start + size <= model.user_top and model.free(start, start + size):
                model.fix(start, size, replace=False)
                return start
    for start, end in _gaps(image):
        if end - start >= size + PAGE:
            model.fix(start, size, replace=False)
            return start
    raise ENOMEM("no room for it")


def _gaps(image: Image) -> Iterator[tuple[int, int]]:
    """Free ranges, the lowest first."""
    floor = page_ceil(image.model.min_addr)
    for start, end in image.model.ranges:
        yield floor, start
        floor = end
    yield floor, image.model.user_top


ELF_SERENITY: Final = SerenityElf()
