"""The program's stack at a call, frame by frame, with names where the files have symbols: strace's -k.

A frame's caller is found by the tables that stand in the file for exceptions (`unwind.py`), which programs of Linux have for all
of their code; where there are none (Go, hand-written code), by frame pointers.  Names come from .dynsym and .symtab of the file,
and of its debug file where the guest has one (/usr/lib/debug/.build-id).  An address no function covers has no name: other tools
show the nearest one before it, which is often another function's.

Not here: line numbers, names of C++ as they were written.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ring3.abi import x86
from ring3.abi.flags import FileType
from ring3.errors import Errno
from ring3.proc.cred import Cred
from ring3.trace.elfimage import ElfImage, Symbols, reader
from ring3.trace.explain.words import shown
from ring3.trace.unwind import AMD64, I386, FrameTable, caller
from ring3.vfs.mapping import VnodeObject
from ring3.vfs.namei import NameiContext, namei

if TYPE_CHECKING:
    from ring3.proc.proc import Thread
    from ring3.trace.elfimage import Read
    from ring3.trace.unwind import Deref, Machine
    from ring3.vm.region import Region

DEPTH: Final = 256
_MOST_FILES: Final = 256                # whose tables are remembered, and how many names of them all
_MOST_NAMES: Final = 1_000_000
_MOST_VDSO: Final = 1 << 16
_DEBUG: Final = b"/usr/lib/debug/.build-id/"

# The kernel's places of registers, in the order of DWARF's numbers (psABI, "DWARF Register Number Mapping").
_AMD64_PLACES: Final = (
    x86.RAX, x86.RDX, x86.RCX, x86.RBX, x86.RSI, x86.RDI, x86.RBP, x86.RSP, x86.R8, x86.R9, x86.R10, x86.R11, x86.R12, x86.R13,
    x86.R14, x86.R15, x86.RIP,
)
_I386_PLACES: Final = (x86.RAX, x86.RCX, x86.RDX, x86.RBX, x86.RSP, x86.RBP, x86.RSI, x86.RDI, x86.RIP)
_FRAME: Final = {8: 6, 4: 5}            # the frame pointer's number, by bytes of a word
_VDSO: Final = b"[vdso]"
# Linux's way back from a handler (mov $15, %rax; syscall), and where registers stand then: 40 bytes into the ucontext.
_SIGRETURN: Final = bytes.fromhex("48c7c00f0000000f05")
_GREGS: Final = 40
_GREGS_NUMBERS: Final = (8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16)


class _File:
    """What is known of one file: where its bytes belong, its frames, its names."""

    def __init__(self, t: Thread, read: Read) -> None:
        self.image = ElfImage(read)
        self.frames = FrameTable(self.image)
        symbols = Symbols(self.image)
        if not symbols.is_full and (debug := _debug_file(t, self.image)) is not None:
            symbols = Symbols(self.image, debug)
        self.symbols = symbols


class Backtraces:
    """Remembers the files it has met."""

    def __init__(self) -> None:
        self._files: dict[object, _File] = {}
        self._names = 0

    def show(self, t: Thread) -> str:
        """The frames of `t`, a line each, innermost first."""
        if not hasattr(t, "cpu") or t.proc.zombie:
            return ""
        return "".join(f" > {self._name(t, *frame)}\n" for frame in self.frames(t))

    def frames(self, t: Thread) -> list[tuple[int, int]]:
        """Where `t` is, the return address into its caller, and so on, up to `DEPTH` of them: the address, and how far before it
        its instruction is: 0, or 1 where it is the one behind a call, which need not belong to the caller any more.
        """
        machine, places = (AMD64, _AMD64_PLACES) if t.abi.word_size == 8 else (I386, _I386_PLACES)
        regs, mask = t.cpu.regs, t.abi.word_mask
        registers = {number: regs[place] & mask for number, place in enumerate(places)}

        def deref(address: int) -> int:
            try:
                return int.from_bytes(t.vm.copyin(address, machine.word), "little")
            except Errno:
                raise LookupError(address) from None

        found = [(registers[machine.counter], 0)]
        while len(found) < DEPTH:
            stack, (pc, back) = registers[machine.stack], found[-1]
            file, vaddr = self._place(t, pc - back)
            row = file.frames.row(vaddr) if file is not None else None
            if row is not None:
                above, is_exact = caller(row, registers, deref, machine), row.is_signal
            else:
                above, is_exact = _interrupted(t, registers) if machine is AMD64 else None, True
                if above is None:
                    above, is_exact = _by_frame_pointer(registers, deref, machine), False
            if above is None or (above[machine.stack] <= stack and not is_exact):
                break
            registers = above
            if not _is_code(t, registers[machine.counter]):
                break
            found.append((registers[machine.counter], int(not is_exact)))
        return found

    def _place(self, t: Thread, address: int) -> tuple[_File | None, int]:
        """The file an address belongs to, and the address in it."""
        region = _region(t, address)
        if region is None:
            return None, 0
        if isinstance(region.object, VnodeObject):
            file, offset = self._file(t, region.object), address - region.start + region.offset
        elif region.label == _VDSO:
            file, offset = self._vdso(t, region), address - region.start
        else:
            return None, 0
        vaddr = file.image.vaddr(offset)
        return (None, 0) if vaddr is None else (file, vaddr)

    def _file(self, t: Thread, found: VnodeObject) -> _File:
        key = found.sharing_key
        known = self._files.get(key)
        if known is None:
            if len(self._files) >= _MOST_FILES or self._names >= _MOST_NAMES:
                self._files.clear()
                self._names = 0
            known = self._files[key] = _File(t, reader(found.vnode))
            self._names += len(known.symbols)
        return known

    def _vdso(self, t: Thread, region: Region) -> _File:
        """The file the kernel shows in memory alone: the same for all programs of a word size."""
        known = self._files.get(t.abi.word_size)
        if known is None:
            known = self._files[t.abi.word_size] = _File(t, _memory_reader(t, region))
        return known

    def _name(self, t: Thread, address: int, back: int) -> str:
        region = _region(t, address)
        if region is None:
            return f"[{address:#x}]"
        file, vaddr = self._place(t, address - back)
        if isinstance(region.object, VnodeObject):
            path, offset = shown(region.object.label), address - region.start + region.offset
        else:
            path, offset = shown(region.label) or "[anonymous]", address - region.start
        symbol = file.symbols.find(vaddr) if file is not None else None
        if symbol is not None:
            return f"{path}({symbol.name}+{vaddr + back - symbol.start:#x}) [{offset:#x}]"
        return f"{path}() [{offset:#x}]"


def _by_frame_pointer(registers: Mapping[int, int], deref: Deref, machine: Machine) -> dict[int, int] | None:
    """The caller's registers where the frame pointer points to the saved one, and that stands below the return address."""
    frame = _FRAME[machine.word]
    at, word = registers.get(frame, 0), machine.word
    if at < registers[machine.stack] or at % word:
        return None
    try:
        return {frame: deref(at), machine.counter: deref(at + word), machine.stack: at + 2 * word}
    except LookupError:
        return None


def _interrupted(t: Thread, registers: Mapping[int, int]) -> dict[int, int] | None:
    """The registers a signal handler returns to, where it is about to, in code nobody describes: they stand in the frame."""
    pc, sp = registers[AMD64.counter], registers[AMD64.stack]
    try:
        if t.vm.copyin(pc, len(_SIGRETURN)) != _SIGRETURN:
            return None
        words = struct.unpack("<17Q", t.vm.copyin(sp + _GREGS, 17 * 8))
    except Errno:
        return None
    return dict(zip(_GREGS_NUMBERS, words, strict=True))


def _region(t: Thread, address: int) -> Region | None:
    return next(iter(t.vm.overlapping(address, address + 1)), None)


def _is_code(t: Thread, address: int) -> bool:
    region = _region(t, address)
    return region is not None and bool(region.prot & 4)


def _memory_reader(t: Thread, region: Region) -> Read:
    """The same of memory."""
    start, length = region.start, region.length
    try:
        data = t.vm.copyin(start, min(length, _MOST_VDSO))
    except Errno:
        data = b""
    return lambda offset, nbytes: data[max(offset, 0) : max(offset, 0) + max(nbytes, 0)]


def _debug_file(t: Thread, image: ElfImage) -> ElfImage | None:
    """The file with the symbols that were taken out of this one, where the guest has it."""
    build_id = image.build_id().encode()
    if len(build_id) < 4:
        return None
    root = t.system.mounts.root
    try:
        found = namei(NameiContext(root, root, Cred()), _DEBUG + build_id[:2] + b"/" + build_id[2:] + b".debug").vnode
    except Errno:
        return None
    return ElfImage(reader(found)) if found.type == FileType.REG else None
