"""From a frame to its caller, by what the compiler wrote down for C++ exceptions: .eh_frame and its index, .eh_frame_hdr.

For each stretch of code these tables say where the caller's frame is (its CFA, "canonical frame address") and where the caller's
registers were saved, as a little program of instructions.  The tables are a guest's: at most `_MOST_ENTRY` bytes of an entry and
`_MOST_STEPS` instructions are looked at, and whatever makes no sense is "not known".  Nothing here raises for what a file holds.

Sources: DWARF 5, 6.4 (call frame information) and 2.5 (expressions); the Linux Standard Base, "Exception Frames"; the psABIs of
x86-64 and i386 for the numbers of registers.  Not here: 64-bit DWARF, and tables without an index (`backtrace.py` goes by frame
pointers then).
"""

from __future__ import annotations

import operator
from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from ring3.namedtuple import NamedTuple

if TYPE_CHECKING:
    from ring3.trace.elfimage import ElfImage

PT_GNU_EH_FRAME: Final = 0x6474E550
_MOST_INDEX: Final = 8 << 20            # bytes of .eh_frame_hdr
_MOST_ENTRY: Final = 1 << 16            # bytes of one entry of .eh_frame
_MOST_STEPS: Final = 4096
_MOST_STACK: Final = 64                 # of an expression
_MOST_KEPT: Final = 4096                # rows that are remembered
_PCREL: Final = 0x10
_OMIT: Final = 0xFF
_SIZES: Final = {0x00: 0, 0x02: 2, 0x03: 4, 0x04: 8, 0x0A: 2, 0x0B: 4, 0x0C: 8}     # of encoded pointers; 0: an address

Deref = Callable[[int], int]            # address -> the word there; raises LookupError


class Rule(NamedTuple):
    """Where a register of the caller is: `kind` "offset" (saved at CFA + value), "value" (is CFA + value), "register" (in that
    one), "saved" (at the address `code` computes), "computed" (is what `code` computes), "undefined".
    """

    kind: str
    value: int = 0
    code: bytes = b""


class Row(NamedTuple):
    """What holds at one place: the CFA (register and offset, or `code`), the rules, which register has the return address, and
    whether it is a signal handler's frame, whose caller was interrupted anywhere.
    """

    register: int
    offset: int
    code: bytes
    rules: Mapping[int, Rule]
    returns: int
    is_signal: bool


class Machine(NamedTuple):
    """One instruction set's registers by DWARF's numbers: how many, the stack pointer, the program counter; bytes of a word."""

    registers: int
    stack: int
    counter: int
    word: int


AMD64: Final = Machine(17, 7, 16, 8)
I386: Final = Machine(9, 4, 8, 4)


class Malformed(Exception):
    """A table that makes no sense."""


class _Reader:
    """Bytes of an entry, from the front."""

    def __init__(self, data: bytes, vaddr: int, word: int) -> None:
        self.data = data
        self.at = 0
        self.vaddr = vaddr          # of the first byte
        self.word = word

    @property
    def is_empty(self) -> bool:
        return self.at >= len(self.data)

    def take(self, nbytes: int) -> bytes:
        piece = self.data[self.at : self.at + nbytes]
        if len(piece) < nbytes or nbytes < 0:
            raise Malformed
        self.at += nbytes
        return piece

    def number(self, nbytes: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(nbytes), "little", signed=signed)

    def leb(self, *, signed: bool = False) -> int:
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value - (1 << shift) if signed and byte & 0x40 else value
            if shift > 63:
                raise Malformed

    def pointer(self, encoding: int, *, is_length: bool = False) -> int:
        """An encoded pointer (DW_EH_PE_*).  Raises `Malformed` for an encoding that code does not use."""
        here, form = self.vaddr + self.at, encoding & 0x0F
        if form in (0x01, 0x09):
            value = self.leb(signed=form == 0x09)
        elif form in _SIZES:
            value = self.number(_SIZES[form] or self.word, signed=form >= 0x08)
        else:
            raise Malformed
        how = encoding & 0x70
        if is_length or how == 0:
            return value
        if how != _PCREL:
            raise Malformed
        return (value + here) & ((1 << (8 * self.word)) - 1)


class FrameTable:
    """The tables of one file."""

    def __init__(self, image: ElfImage) -> None:
        self.machine = AMD64 if image.bits == 64 else I386
        self._image = image
        self._rows: dict[int, Row | None] = {}
        self._starts, self._entries = array("q"), array("q")
        try:
            self._index()
        except Malformed:
            return

    def _index(self) -> None:
        """The sorted table of .eh_frame_hdr; nothing but the one form that linkers write."""
        phdr = self._image.segment(PT_GNU_EH_FRAME)
        if phdr is None or phdr.filesz > _MOST_INDEX:
            return
        reader = _Reader(self._image.read(phdr.offset, phdr.filesz), phdr.vaddr, self.machine.word)
        version, where, count, table = reader.take(4)
        if version != 1 or count == _OMIT or table != 0x3B:         # datarel, sdata4
            return
        reader.pointer(where)
        number = min(reader.pointer(count), (len(reader.data) - reader.at) // 8)
        pairs = array("i", reader.take(number * 8))
        self._starts = array("q", [phdr.vaddr + word for word in pairs[::2]])
        self._entries = array("q", [phdr.vaddr + word for word in pairs[1::2]])

    def row(self, vaddr: int) -> Row | None:
        """What holds at an address; None where nothing is known of it."""
        if vaddr in self._rows:
            return self._rows[vaddr]
        row = None
        index = bisect_right(self._starts, vaddr) - 1
        if index >= 0:
            try:
                row = self._parse(self._entries[index], vaddr)
            except Malformed:
                row = None
        if len(self._rows) >= _MOST_KEPT:
            self._rows.clear()
        self._rows[vaddr] = row
        return row

    def _entry(self, vaddr: int) -> _Reader:
        length = int.from_bytes(self._image.at(vaddr, 4), "little")
        if not 4 <= length <= _MOST_ENTRY:
            raise Malformed
        return _Reader(self._image.at(vaddr + 4, length), vaddr + 4, self.machine.word)

    def _parse(self, vaddr: int, pc: int) -> Row | None:
        fde = self._entry(vaddr)
        back = fde.number(4)
        if not back:
            raise Malformed             # a CIE where an FDE should be
        cie = self._entry(fde.vaddr - back)
        if cie.number(4):
            raise Malformed
        version = cie.number(1)
        end = cie.data.find(b"\0", cie.at, cie.at + 16)
        if version not in (1, 3) or end < 0:
            raise Malformed
        augmentation = cie.take(end - cie.at)
        cie.at += 1
        code_align, data_align = cie.leb(), cie.leb(signed=True)
        returns = cie.number(1) if version == 1 else cie.leb()
        encoding, is_signal = 0, b"S" in augmentation
        if augmentation[:1] == b"z":
            size = cie.leb()
            rest = _Reader(cie.take(size), cie.vaddr + cie.at - size, cie.word)
            for letter in augmentation[1:]:
                if letter == ord("R"):
                    encoding = rest.number(1)
                elif letter == ord("L"):
                    rest.number(1)
                elif letter == ord("P"):
                    rest.pointer(rest.number(1) & 0x0F)
        elif augmentation:
            raise Malformed
        begin, length = fde.pointer(encoding), fde.pointer(encoding, is_length=True)
        if not begin <= pc < begin + length:
            return None
        if augmentation[:1] == b"z":
            fde.take(fde.leb())
        program = _Program(code_align, data_align)
        program.run(cie, None, 0)
        program.run(fde, pc, begin)
        return Row(program.register, program.offset, program.code, program.rules, returns, is_signal)


class _Program:
    """The instructions of a CIE, then those of an FDE (DWARF 5, 6.4.2)."""

    def __init__(self, code_align: int, data_align: int) -> None:
        self.code_align = code_align
        self.data_align = data_align
        self.register = self.offset = 0
        self.code = b""
        self.rules: dict[int, Rule] = {}
        self._first: dict[int, Rule] = {}
        self._kept: list[tuple[int, int, bytes, dict[int, Rule]]] = []
        self._steps = 0

    def run(self, reader: _Reader, pc: int | None, begin: int) -> None:
        """Up to the place `pc` (None: all)."""
        if pc is not None:
            self._first = dict(self.rules)
        place = begin
        while not reader.is_empty:
            self._steps += 1
            if self._steps > _MOST_STEPS:
                raise Malformed
            op = reader.number(1)
            low = op & 0x3F
            if op >> 6 == 1:                                        # DW_CFA_advance_loc
                place += low * self.code_align
            elif op in _ADVANCES:
                place += reader.number(_ADVANCES[op]) * self.code_align
            elif op == 0x01:                                        # DW_CFA_set_loc
                raise Malformed
            else:
                self._do(op, low, reader)
            if pc is not None and place > pc:
                return

    def _do(self, op: int, low: int, reader: _Reader) -> None:
        if op >> 6 == 2:                                            # DW_CFA_offset
            self.rules[low] = Rule("offset", reader.leb() * self.data_align)
        elif op >> 6 == 3:                                          # DW_CFA_restore
            self._restore(low)
        elif op in _OF_REGISTERS:
            self._set_rule(op, reader.leb(), reader)
        else:
            self._set_frame(op, reader)

    def _set_rule(self, op: int, register: int, reader: _Reader) -> None:
        if op == 0x05:                                              # DW_CFA_offset_extended
            self.rules[register] = Rule("offset", reader.leb() * self.data_align)
        elif op == 0x06:                                            # DW_CFA_restore_extended
            self._restore(register)
        elif op == 0x07:                                            # DW_CFA_undefined
            self.rules[register] = Rule("undefined")
        elif op == 0x08:                                            # DW_CFA_same_value
            self.rules.pop(register, None)
        elif op == 0x09:                                            # DW_CFA_register
            self.rules[register] = Rule("register", reader.leb())
        elif op == 0x11:                                            # DW_CFA_offset_extended_sf
            self.rules[register] = Rule("offset", reader.leb(signed=True) * self.data_align)
        elif op == 0x14:                                            # DW_CFA_val_offset
            self.rules[register] = Rule("value", reader.leb() * self.data_align)
        else:                                                       # DW_CFA_expression, DW_CFA_val_expression
            self.rules[register] = Rule("saved" if op == 0x10 else "computed", 0, reader.take(reader.leb()))

    def _set_frame(self, op: int, reader: _Reader) -> None:
        if op == 0x0A:                                              # DW_CFA_remember_state
            self._kept.append((self.register, self.offset, self.code, dict(self.rules)))
        elif op == 0x0B:                                            # DW_CFA_restore_state
            if not self._kept:
                raise Malformed
            self.register, self.offset, self.code, self.rules = self._kept.pop()
        elif op == 0x0C:                                            # DW_CFA_def_cfa
            self.register, self.offset, self.code = reader.leb(), reader.leb(), b""
        elif op == 0x0D:                                            # DW_CFA_def_cfa_register
            self.register, self.code = reader.leb(), b""
        elif op == 0x0E:                                            # DW_CFA_def_cfa_offset
            self.offset = reader.leb()
        elif op == 0x0F:                                            # DW_CFA_def_cfa_expression
            self.code = reader.take(reader.leb()) or b"\0"
        elif op == 0x12:                                            # DW_CFA_def_cfa_sf
            self.register, self.code = reader.leb(), b""
            self.offset = reader.leb(signed=True) * self.data_align
        elif op == 0x13:                                            # DW_CFA_def_cfa_offset_sf
            self.offset = reader.leb(signed=True) * self.data_align
        elif op == 0x2E:                                            # DW_CFA_GNU_args_size
            reader.leb()
        elif op:                                                    # but for DW_CFA_nop
            raise Malformed

    def _restore(self, register: int) -> None:
        if register in self._first:
            self.rules[register] = self._first[register]
        else:
            self.rules.pop(register, None)


_ADVANCES: Final = {0x02: 1, 0x03: 2, 0x04: 4}                      # DW_CFA_advance_loc1, 2, 4
_OF_REGISTERS: Final = frozenset({0x05, 0x06, 0x07, 0x08, 0x09, 0x10, 0x11, 0x14, 0x16})


def caller(row: Row, registers: Mapping[int, int], deref: Deref, machine: Machine) -> dict[int, int] | None:
    """The caller's registers, as far as they are known; None where there is no caller, or nobody can tell."""
    try:
        cfa = evaluate(row.code, registers, deref, machine, ()) if row.code else registers[row.register] + row.offset
        cfa &= (1 << (8 * machine.word)) - 1
        found = {machine.stack: cfa}
        for register in range(machine.registers):
            rule = row.rules.get(register)
            if rule is None:
                if register in registers and register != machine.stack:
                    found[register] = registers[register]
            elif rule.kind != "undefined":
                found[register] = _value(rule, cfa, registers, deref, machine)
        if row.returns not in row.rules or row.returns not in found:
            return None
        found[machine.counter] = found[row.returns]
    except (LookupError, Malformed):
        return None
    return found


def _value(rule: Rule, cfa: int, registers: Mapping[int, int], deref: Deref, machine: Machine) -> int:
    mask = (1 << (8 * machine.word)) - 1
    if rule.kind == "offset":
        return deref(cfa + rule.value & mask)
    if rule.kind == "value":
        return cfa + rule.value & mask
    if rule.kind == "register":
        return registers[rule.value]
    value = evaluate(rule.code, registers, deref, machine, (cfa,))
    return deref(value) if rule.kind == "saved" else value


_BINARY: Final[Mapping[int, Callable[[int, int], int]]] = {
    0x1A: operator.and_, 0x1C: operator.sub, 0x1E: operator.mul, 0x21: operator.or_, 0x22: operator.add,
    0x24: lambda a, b: a << (b & 63), 0x25: lambda a, b: a >> (b & 63), 0x27: operator.xor,
    0x29: operator.eq, 0x2A: operator.ge, 0x2B: operator.gt, 0x2C: operator.le, 0x2D: operator.lt, 0x2E: operator.ne,
}
_CONSTANTS: Final = {0x08: (1, False), 0x09: (1, True), 0x0A: (2, False), 0x0B: (2, True), 0x0C: (4, False), 0x0D: (4, True),
                     0x0E: (8, False), 0x0F: (8, True)}


def evaluate(code: bytes, registers: Mapping[int, int], deref: Deref, machine: Machine, stack: tuple[int, ...]) -> int:
    r"""What an expression computes (DWARF 5, 2.5), without branches and calls.  Raises `Malformed`, LookupError.

    >>> evaluate(b"\x77\x08\x06", {7: 0x1000}, {0x1008: 42}.__getitem__, AMD64, ())
    42
    """
    reader, mask, words = _Reader(code, 0, machine.word), (1 << (8 * machine.word)) - 1, list(stack)
    try:
        while not reader.is_empty:
            op = reader.number(1)
            if 0x70 <= op <= 0x8F:                                  # DW_OP_bregN
                words.append(registers[op - 0x70] + reader.leb(signed=True) & mask)
            elif 0x30 <= op <= 0x4F:                                # DW_OP_litN
                words.append(op - 0x30)
            elif op in _CONSTANTS:
                nbytes, signed = _CONSTANTS[op]
                words.append(reader.number(nbytes, signed=signed) & mask)
            elif op in (0x10, 0x11):                                # DW_OP_constu, consts
                words.append(reader.leb(signed=op == 0x11) & mask)
            elif op == 0x06:                                        # DW_OP_deref
                words.append(deref(words.pop()))
            elif op == 0x12:                                        # DW_OP_dup
                words.append(words[-1])
            elif op == 0x23:                                        # DW_OP_plus_uconst
                words.append(words.pop() + reader.leb() & mask)
            elif op in _BINARY:
                second = words.pop()
                words.append(int(_BINARY[op](words.pop(), second)) & mask)
            else:
                raise Malformed
            if len(words) > _MOST_STACK:
                raise Malformed
        return words[-1]
    except IndexError:
        raise Malformed from None
