"""The program's stack at a call, by frame pointers, with names where the files have symbols: strace's -k.

A function without a frame pointer (most of a C library) hides its caller, and often all callers behind it.  Symbols come from
.symtab and .dynsym through pyelftools, which `pip install ring3[symbols]` brings; without it, addresses and files.  Not here:
unwinding by .eh_frame.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.x86 import RBP, RIP
from ring3.errors import Errno
from ring3.vfs.mapping import VnodeObject

if TYPE_CHECKING:
    from ring3.proc.proc import Thread
    from ring3.vfs.vnode import Vnode
    from ring3.vm.region import Region

DEPTH: Final = 64
_LARGEST: Final = 64 << 20              # bytes of a file whose symbols are read


class Backtraces:
    """Remembers the symbols of files it has met."""

    def __init__(self) -> None:
        self._symbols: dict[object, Symbols] = {}

    def show(self, t: Thread) -> str:
        """The frames of `t`, a line each, innermost first."""
        if not hasattr(t, "cpu") or t.proc.zombie:
            return ""
        lines = [f" > {self._name(t, address)}\n" for address in frames(t)]
        return "".join(lines)

    def _name(self, t: Thread, address: int) -> str:
        region = next((found for found in t.vm.overlapping(address, address + 1)), None)
        if region is None:
            return f"[{address:#x}]"
        if not isinstance(region.object, VnodeObject):
            return f"[{region.label.decode(errors='replace') or 'anonymous'}+{address - region.start:#x}]"
        path = region.object.label.decode(errors="backslashreplace")
        offset = address - region.start + region.offset
        known = self._symbols.get(region.object.sharing_key)
        if known is None:
            known = self._symbols[region.object.sharing_key] = Symbols(region.object.vnode)
        return f"{path}({known.at(offset)}) [{offset:#x}]"


def frames(t: Thread) -> list[int]:
    """Return addresses by frame pointers: where it is, who called that, and so on, as far as the chain goes up the stack."""
    word, found = t.abi.word_size, [t.cpu.regs[RIP]]
    at, last = t.cpu.regs[RBP] & t.abi.word_mask, 0
    while len(found) < DEPTH and at > last and at % word == 0:
        try:
            data = t.vm.copyin(at, 2 * word)
        except Errno:
            break
        back = int.from_bytes(data[word:], "little")
        if not _is_code(t, back):
            break
        found.append(back)
        at, last = int.from_bytes(data[:word], "little"), at
    return found


def _is_code(t: Thread, address: int) -> bool:
    region: Region | None = next(iter(t.vm.overlapping(address, address + 1)), None)
    return region is not None and bool(region.prot & 4)


class Symbols:
    """The functions of a file, by their place in it."""

    def __init__(self, vnode: Vnode) -> None:
        self._starts: list[int] = []
        self._rows: list[tuple[int, int, str]] = []     # start, end, name
        try:
            self._read(vnode)
        except ImportError:
            return

    def at(self, offset: int) -> str:
        """NAME+0xN, empty where nothing is known."""
        index = bisect_right(self._starts, offset) - 1
        if index < 0:
            return ""
        start, end, name = self._rows[index]
        return f"{name}+{offset - start:#x}" if offset < max(end, start + 1) else ""

    def _read(self, vnode: Vnode) -> None:
        from io import BytesIO

        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile
        from elftools.elf.sections import SymbolTableSection

        size = vnode.getattr().size
        if size > _LARGEST:
            return
        try:
            file: Any = ELFFile(BytesIO(vnode.read(0, size)))
            loads = [s for s in file.iter_segments() if s["p_type"] == "PT_LOAD"]
            for section in file.iter_sections():
                if isinstance(section, SymbolTableSection):
                    for symbol in section.iter_symbols():
                        self._add(symbol, loads)
        except (ELFError, ValueError, KeyError, TypeError, UnicodeDecodeError, OverflowError):
            return              # a guest's file may be anything
        self._rows.sort()
        self._starts = [row[0] for row in self._rows]

    def _add(self, symbol: Any, loads: list[Any]) -> None:
        if symbol["st_info"]["type"] != "STT_FUNC" or not symbol["st_value"] or not symbol.name:
            return
        value = symbol["st_value"]
        for load in loads:
            if load["p_vaddr"] <= value < load["p_vaddr"] + load["p_filesz"]:
                start = value - load["p_vaddr"] + load["p_offset"]
                self._rows.append((start, start + symbol["st_size"], "".join(c for c in symbol.name[:200] if c.isprintable())))
                return
