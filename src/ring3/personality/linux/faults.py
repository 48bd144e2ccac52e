"""What a sigcontext says of the CPU's fault beside its address: trap number, error code, cr2.

A machine tells the signal, its code and the address, and no more: the rest is derived from them, the region list and the
instruction.  One thing stays unknown: whether the page a protection refused was in memory (bit 0 of the error code); it is taken
to be, unless nothing of it was ever allowed.

Sources: Intel SDM 3A 6.15 and 4.7, 2A appendix A (opcode map), arch/x86/kernel/traps.c, arch/x86/mm/fault.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ring3.abi.signals import SI_KERNEL, SigInfo, Signal
from ring3.abi.x86 import CS, CS_64, RIP
from ring3.errors import EFAULT
from ring3.namedtuple import NamedTuple
from ring3.proc.proc import Thread

_PRESENT, _WRITE, _USER, _FETCH = 1, 2, 4, 16
_DIVIDE, _DEBUG, _BREAKPOINT, _OVERFLOW, _INVALID_OPCODE = 0, 1, 3, 4, 6
_GENERAL_PROTECTION, _PAGE_FAULT, _FLOAT, _ALIGNMENT, _SIMD = 13, 14, 16, 17, 19
_FPE_INTDIV, _FPE_INTOVF = 1, 2
_BUS_ADRALN: Final = 1
_LONGEST: Final = 15                     # bytes of an x86 instruction
_INT_N: Final = 0xCD


class TrapFacts(NamedTuple):
    """err, trapno and cr2 of a sigcontext."""

    error: int = 0
    trapno: int = 0
    cr2: int = 0


_NONE: Final = TrapFacts()


def trap_facts(t: Thread, info: SigInfo) -> TrapFacts:
    """The facts of one fault; zeros for a signal that is none."""
    if not 0 < info.code <= SI_KERNEL:
        return _NONE
    if info.signo == Signal.SIGSEGV and info.code == SI_KERNEL:
        return TrapFacts(_selector_error(t), _GENERAL_PROTECTION)
    if info.signo == Signal.SIGSEGV or (info.signo == Signal.SIGBUS and info.code != _BUS_ADRALN):
        return TrapFacts(_page_fault_error(t, info), _PAGE_FAULT, info.addr)
    if info.signo == Signal.SIGBUS:
        return TrapFacts(0, _ALIGNMENT)
    if info.signo == Signal.SIGTRAP:
        return TrapFacts(0, _BREAKPOINT if info.code == SI_KERNEL else _DEBUG)
    if info.signo == Signal.SIGFPE:
        return TrapFacts(0, {_FPE_INTDIV: _DIVIDE, _FPE_INTOVF: _OVERFLOW}.get(info.code, _float_trap(t)))
    return TrapFacts(0, _INVALID_OPCODE) if info.signo == Signal.SIGILL else _NONE


def _code(t: Thread) -> bytes:
    """The bytes of the instruction at hand, as far as they can be read."""
    vm, ip = t.proc.vm, t.cpu.regs[RIP]
    for nbytes in (_LONGEST, 4096 - ip % 4096):
        try:
            return vm.copyin(ip, min(nbytes, _LONGEST))
        except EFAULT:
            continue
    return b""


def _selector_error(t: Thread) -> int:
    """`int N` through a gate that user mode may not use names the gate; anything else tells nothing."""
    code = _code(t)
    return code[1] << 3 | 2 if len(code) > 1 and code[0] == _INT_N else 0


def _float_trap(t: Thread) -> int:
    """x87 or SSE: the x87 status word says whether it is the x87 (error summary)."""
    return _FLOAT if t.cpu.read_xstate()[2] & 0x80 else _SIMD


def _page_fault_error(t: Thread, info: SigInfo) -> int:
    vm, addr = t.proc.vm, info.addr
    error = _USER
    if addr == t.cpu.regs[RIP]:
        error |= _FETCH
    elif writes_memory(_code(t), wide=t.cpu.regs[CS] & 0xFFFF == CS_64):
        error |= _WRITE
    if addr >= vm.user_top:
        return error | _PRESENT
    region = vm.find(addr)
    if info.signo == Signal.SIGSEGV and region is not None and region.prot:
        error |= _PRESENT
    return error


# --- does an instruction write the memory it names?  Its operand stands in a ModRM byte.
_PREFIXES: Final = frozenset((0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3))
# Opcode -> for which values of the ModRM byte's middle field it writes, as a mask of eight bits.
_ALWAYS: Final = 0xFF
_ONE_BYTE: Final[Mapping[int, int]] = MappingProxyType({
    **{base + form: _ALWAYS for base in range(0, 0x38, 8) for form in (0, 1)},     # add or adc sbb and sub xor, to memory
    0x80: 0x7F, 0x81: 0x7F, 0x83: 0x7F,                                            # the same with a constant; 7 is cmp
    0x86: _ALWAYS, 0x87: _ALWAYS, 0x88: _ALWAYS, 0x89: _ALWAYS, 0x8C: _ALWAYS, 0x8F: _ALWAYS,
    0xA2: _ALWAYS, 0xA3: _ALWAYS, 0xA4: _ALWAYS, 0xA5: _ALWAYS, 0xAA: _ALWAYS, 0xAB: _ALWAYS,
    0xC0: _ALWAYS, 0xC1: _ALWAYS, 0xC6: _ALWAYS, 0xC7: _ALWAYS,
    0xD0: _ALWAYS, 0xD1: _ALWAYS, 0xD2: _ALWAYS, 0xD3: _ALWAYS,
    0xD9: 0xCC, 0xDB: 0x8E, 0xDD: 0xCE, 0xDF: 0xCE,                                # x87 stores
    0xF6: 0x0C, 0xF7: 0x0C, 0xFE: 0x03, 0xFF: 0x03,                                # not neg, inc dec
    0x50: _ALWAYS, 0x51: _ALWAYS, 0x52: _ALWAYS, 0x53: _ALWAYS, 0x54: _ALWAYS, 0x55: _ALWAYS, 0x56: _ALWAYS, 0x57: _ALWAYS,
    0x68: _ALWAYS, 0x6A: _ALWAYS, 0xE8: _ALWAYS, 0x9C: _ALWAYS, 0xC8: _ALWAYS,     # push, call, enter: the stack
})
_TWO_BYTES: Final[Mapping[int, int]] = MappingProxyType({
    **dict.fromkeys((0x11, 0x13, 0x17, 0x29, 0x2B, 0x7F, 0xD6, 0xE7, 0xC3), _ALWAYS),      # SSE and AVX stores
    **dict.fromkeys(range(0x90, 0xA0), _ALWAYS),                                           # setcc
    **dict.fromkeys((0xA4, 0xA5, 0xAB, 0xAC, 0xAD, 0xB0, 0xB1, 0xB3, 0xBB, 0xC0, 0xC1), _ALWAYS),
    0x7E: _ALWAYS, 0xAE: 0x19, 0xBA: 0xE0, 0xC7: 0x02,         # movd, fxsave stmxcsr xsave, bts btr btc, cmpxchg8b
})


def writes_memory(code: bytes, *, wide: bool) -> bool:
    """Whether an instruction stores to its memory operand; False for what is not known.  `wide`: 64-bit mode.

    >>> writes_memory(bytes.fromhex("c60001"), wide=True), writes_memory(bytes.fromhex("8b00"), wide=True)
    (True, False)
    """
    at = 0
    repeat = False
    while at < len(code) and code[at] in _PREFIXES:
        repeat |= code[at] == 0xF3
        at += 1
    if wide and at < len(code) and code[at] & 0xF0 == 0x40:
        at += 1
    rest = code[at:]
    if len(rest) < 2:
        return bool(rest) and rest[0] in _ONE_BYTE
    vector = {0xC5: 2, 0xC4: 3, 0x62: 4}.get(rest[0]) if wide or rest[1] & 0xC0 == 0xC0 else None
    if vector is not None:
        return len(rest) > vector and bool(_TWO_BYTES.get(rest[vector], 0)) and rest[vector] < 0xF0
    if rest[0] != 0x0F:
        return bool(_ONE_BYTE.get(rest[0], 0) >> (rest[1] >> 3 & 7) & 1)
    if len(rest) < 3 or (rest[1] == 0x7E and repeat):
        return False
    return bool(_TWO_BYTES.get(rest[1], 0) >> (rest[2] >> 3 & 7) & 1)
