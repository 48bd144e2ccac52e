"""ucontext_t of NetBSD/amd64: registers to bytes and back.

    0 uc_flags   8 uc_link   16 uc_sigmask   32 uc_stack   56 26 registers, fs base, 512 bytes FXSAVE

What the kernel hands out it takes back: selectors are NetBSD's (0x1b, 0x23), whatever the CPU really holds, and flags no
program may change are refused with EINVAL where they differ.  Not here: what is the same for i386 (`ucontext.py`), the calls
(`contexts.py`), frames (`sigframe64.py`).
Sources: amd64/include/mcontext.h, setcontext(2), _lwp_create(2).
"""

from __future__ import annotations

import struct
from typing import Final

from ring3.abi.procrecords import SigSet
from ring3.abi.signals import AltStack
from ring3.abi.x86 import (
    CS,
    CS_64,
    EFLAGS,
    FS,
    FS_BASE,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    RAX,
    RBP,
    RBX,
    RCX,
    RDI,
    RDX,
    RIP,
    RSI,
    RSP,
    SS,
    SS_USER,
)
from ring3.errors import EINVAL
from ring3.personality.linux.faults import TrapFacts
from ring3.personality.netbsd import xstate
from ring3.personality.netbsd.ucontext import (
    NO_FACTS,
    TAKEN,
    Context,
    Registers,
    check_flags,
    shown_flags,
)
from ring3.proc.lwp import lwp_of
from ring3.proc.proc import Thread

_CODE, _DATA = 0x1B, 0x23
_CODE_ALLOWED, _DATA_ALLOWED = frozenset((0x47, 0x1B)), frozenset((0x3F, 0x23))
_HEAD: Final = struct.Struct("<I4xQ16s24s")
_GREGS: Final = struct.Struct("<26Q")
_FIRST: Final = (RDI, RSI, RDX, RCX, R8, R9, R10, R11, R12, R13, R14, R15, RBP, RBX, RAX)        # then gs fs es ds trapno err
SIZE: Final = _HEAD.size + _GREGS.size + 8 + xstate.LEGACY


def encode(t: Thread, flags: int, mask: int, stack: AltStack, fpregs: bytes, facts: TrapFacts = NO_FACTS) -> bytes:
    """The registers of `t` as a context of 784 bytes."""
    regs, layouts = t.cpu.regs, t.abi.layouts
    head = _HEAD.pack(flags, lwp_of(t).link, layouts[SigSet].encode(mask), layouts[AltStack].encode(stack))
    general = _GREGS.pack(
        *[regs[register] for register in _FIRST], 0, 0, _DATA, _DATA, facts.trapno, facts.error,
        regs[RIP], _CODE, shown_flags(regs[EFLAGS]), regs[RSP], _DATA,
    )
    return head + general + regs[FS_BASE].to_bytes(8, "little") + fpregs


def read(t: Thread, addr: int) -> Context:
    """The context at `addr`.  Raises EFAULT."""
    data = t.proc.vm.copyin(addr, SIZE)
    flags, link, mask, stack = _HEAD.unpack_from(data)
    general = _GREGS.unpack_from(data, _HEAD.size)
    at = _HEAD.size + _GREGS.size
    tls_base = int.from_bytes(data[at : at + 8], "little")
    return Context(flags, link, mask, t.abi.layouts[AltStack].decode(stack), general, tls_base, data[at + 8 :])


def check(t: Thread, context: Context) -> None:
    """cpu_mcontext_validate.  Raises EINVAL."""
    gs, fs, es, ds = context.general[15:19]
    rip, cs, flags, _rsp, ss = context.general[21:26]
    check_flags(flags)
    if cs not in _CODE_ALLOWED or ss & 0xFFFF not in _DATA_ALLOWED or ds & 0xFFFF not in _DATA_ALLOWED:
        raise EINVAL
    if any(selector & 0xFFFF not in _DATA_ALLOWED | {0} for selector in (es, fs, gs)) or rip >= t.proc.vm.user_top:
        raise EINVAL


def load_registers(t: Thread, context: Context) -> None:
    """The general registers; selectors are the CPU's own."""
    regs, general = t.cpu.regs, context.general
    for register, value in zip(_FIRST, general, strict=False):
        regs[register] = value
    regs[RIP], regs[RSP] = general[21], general[24]
    regs[EFLAGS] = (regs[EFLAGS] & ~TAKEN) | (general[23] & TAKEN)
    regs[CS], regs[SS] = CS_64, SS_USER


def set_tls(t: Thread, base: int) -> None:
    """The private pointer is the base of FS; one that is no address of a program's changes nothing."""
    if base < t.proc.vm.user_top:
        t.cpu.regs[FS], t.cpu.regs[FS_BASE] = 0, base


REGISTERS: Final = Registers(encode, read, check, load_registers)
