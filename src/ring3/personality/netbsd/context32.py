"""ucontext_t of NetBSD/i386: registers to bytes and back.

    0 uc_flags   4 uc_link   8 uc_sigmask   24 uc_stack   36 19 registers, 512 bytes FXSAVE, padding, private pointer   760 padding

Selectors are NetBSD's (0x1b, 0x23), whatever the CPU really holds.  The private pointer is the base of GS.  Not here: what is
the same for amd64 (`ucontext.py`), frames (`sigframe32.py`).
Sources: i386/include/mcontext.h, setcontext(2), _lwp_create(2).
"""

from __future__ import annotations

import struct
from typing import Final

from ring3.abi.procrecords import SigSet
from ring3.abi.signals import AltStack
from ring3.abi.x86 import (
    CS,
    CS_32,
    DS,
    EFLAGS,
    ES,
    GS,
    GS_BASE,
    MASK32,
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
from ring3.errors import EINVAL, from_oserror
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

UC_FXSAVE: Final = 0x20                  # the floating-point state is in FXSAVE's format
_CODE, _DATA = 0x1B, 0x23
_CODE_ALLOWED, _DATA_ALLOWED = frozenset((0x17, 0x1B)), frozenset((0x1F, 0x23))
_HEAD: Final = struct.Struct("<II16s12s")
_GREGS: Final = struct.Struct("<19I")
_FIRST: Final = (RDI, RSI, RBP, RSP, RBX, RDX, RCX, RAX)          # from register 4 on; before them gs fs es ds
_FP_PAD: Final = 132
_PAD: Final = 16
SIZE: Final = _HEAD.size + _GREGS.size + xstate.LEGACY + _FP_PAD + 4 + _PAD

_TLS_SLOT: Final = 12
_TLS_SELECTOR: Final = _TLS_SLOT << 3 | 3
_TLS_FLAGS: Final = 0x51                 # seg_32bit, limit_in_pages, useable


def encode(t: Thread, flags: int, mask: int, stack: AltStack, fpregs: bytes, facts: TrapFacts = NO_FACTS) -> bytes:
    """The registers of `t` as a context of 776 bytes."""
    regs, layouts = t.cpu.regs, t.abi.layouts
    lwp = lwp_of(t)
    head = _HEAD.pack(flags | UC_FXSAVE, lwp.link & MASK32, layouts[SigSet].encode(mask), layouts[AltStack].encode(stack))
    general = _GREGS.pack(
        regs[GS] & 0xFFFF, 0, _DATA, _DATA, *[regs[register] & MASK32 for register in _FIRST], facts.trapno, facts.error,
        regs[RIP] & MASK32, _CODE, shown_flags(regs[EFLAGS]), regs[RSP] & MASK32, _DATA,
    )
    return head + general + fpregs + bytes(_FP_PAD) + (regs[GS_BASE] & MASK32).to_bytes(4, "little") + bytes(_PAD)


def read(t: Thread, addr: int) -> Context:
    """The context at `addr`.  Raises EFAULT."""
    data = t.proc.vm.copyin(addr, SIZE)
    flags, link, mask, stack = _HEAD.unpack_from(data)
    general = _GREGS.unpack_from(data, _HEAD.size)
    fpregs = data[_HEAD.size + _GREGS.size :][: xstate.LEGACY]
    tls_base = int.from_bytes(data[-_PAD - 4 : -_PAD], "little")
    return Context(flags, link, mask, t.abi.layouts[AltStack].decode(stack), general, tls_base, fpregs)


def check(t: Thread, context: Context) -> None:
    """cpu_mcontext_validate.  Raises EINVAL."""
    eip, cs, flags, _esp, ss = context.general[14:19]
    es, ds = context.general[2:4]
    check_flags(flags)
    if cs & 0xFFFF not in _CODE_ALLOWED or ss & 0xFFFF not in _DATA_ALLOWED:
        raise EINVAL
    if any(selector & 0xFFFF not in _DATA_ALLOWED | {0} for selector in (es, ds)) or eip >= t.proc.vm.user_top:
        raise EINVAL


def load_registers(t: Thread, context: Context) -> None:
    """The general registers; selectors are the CPU's own."""
    regs, general = t.cpu.regs, context.general
    for register, value in zip(_FIRST, general[4:12], strict=True):
        regs[register] = value
    regs[RIP], regs[RSP] = general[14], general[17]
    regs[EFLAGS] = (regs[EFLAGS] & ~TAKEN) | (general[16] & TAKEN)
    regs[CS] = CS_32
    regs[SS] = regs[DS] = regs[ES] = SS_USER


def set_tls(t: Thread, base: int) -> None:
    """The private pointer is the base of GS, through a slot of the descriptor table.  Raises what the machine says."""
    base &= MASK32
    data = b"".join(word.to_bytes(4, "little") for word in (_TLS_SLOT, base, 0xFFFFF, _TLS_FLAGS))
    try:
        t.cpu.set_thread_area(_TLS_SLOT, data)
    except OSError as error:
        raise from_oserror(error) from error
    t.tls_slots[_TLS_SLOT] = data
    t.cpu.regs[GS], t.cpu.regs[GS_BASE] = _TLS_SELECTOR, base


REGISTERS: Final = Registers(encode, read, check, load_registers)
