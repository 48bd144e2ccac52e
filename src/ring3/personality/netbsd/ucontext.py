"""ucontext_t, whatever the word size: its flags, what is in one, and what setting one means beyond the registers.

Not here: the bytes and registers (`context64.py`, `context32.py`), the calls (`contexts.py`), frames (`sigframe64.py` …).
Sources: sys/ucontext.h, getcontext(2), setcontext(2).
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from ring3.abi.procrecords import SigSet
from ring3.abi.signals import (
    SI_KERNEL,
    SS_DISABLE,
    SS_ONSTACK,
    UNBLOCKABLE,
    AltStack,
    SaFlags,
    SigAction,
    SigInfo,
    Signal,
)
from ring3.abi.x86 import (
    EFLAGS_AC,
    EFLAGS_AF,
    EFLAGS_CF,
    EFLAGS_DF,
    EFLAGS_NT,
    EFLAGS_OF,
    EFLAGS_PF,
    EFLAGS_SF,
    EFLAGS_TF,
    EFLAGS_ZF,
)
from ring3.calls.signal import set_mask
from ring3.errors import EINVAL
from ring3.namedtuple import NamedTuple
from ring3.personality.linux.faults import TrapFacts, trap_facts
from ring3.personality.netbsd import xstate
from ring3.proc import signals
from ring3.proc.lwp import lwp_of
from ring3.proc.proc import Thread

UC_SIGMASK, UC_STACK, UC_CPU, UC_FPU = 1, 2, 4, 8
UC_SETSTACK, UC_CLRSTACK, UC_TLSBASE = 0x10000, 0x20000, 0x80000
GOT: Final = UC_SIGMASK | UC_STACK | UC_CPU | UC_TLSBASE | UC_FPU

# Flags a context may change.  The fixed ones must be as they are, or the context is refused.
TAKEN: Final = (
    EFLAGS_CF | EFLAGS_PF | EFLAGS_AF | EFLAGS_ZF | EFLAGS_SF | EFLAGS_TF | EFLAGS_DF | EFLAGS_OF | EFLAGS_AC
)
FIXED: Final = 0x2 | 0xFFC0_8028 | 0x200 | 0x3000 | EFLAGS_NT | 0x20000 | 0x80000 | 0x100000
SHOWN: Final = 0x202                      # what a program sees of the fixed ones
CLEARED: Final = EFLAGS_TF | EFLAGS_DF | EFLAGS_AC       # at the entry of a handler
_CPUID: Final = 0x200000
NO_FACTS: Final = TrapFacts()

# The CPU's exception numbers as NetBSD counts traps (x86/include/trap.h).
TRAPS: Final = MappingProxyType({0: 8, 1: 5, 3: 1, 4: 10, 5: 11, 6: 0, 7: 12, 13: 4, 14: 6, 16: 2, 17: 7, 19: 19})


class Context(NamedTuple):
    """One ucontext as it was read.  `general` are the registers in NetBSD's order."""

    flags: int
    link: int
    mask: bytes
    stack: AltStack
    general: tuple[int, ...]
    tls_base: int
    fpregs: bytes


class Registers(NamedTuple):
    """How the registers of one instruction set stand in a context.  What `Abi.layouts` has for `Context`."""

    encode: Callable[..., bytes]                        # (thread, flags, mask, stack, fpregs, facts)
    read: Callable[[Thread, int], Context]              # raises EFAULT
    check: Callable[[Thread, Context], None]            # raises EINVAL for what no program may have
    load: Callable[[Thread, Context], None]             # the general registers alone


def registers_of(t: Thread) -> Registers:
    """Those of the thread's image."""
    found: Registers = t.abi.layouts[Context]
    return found


def shown_flags(flags: int) -> int:
    """EFLAGS as a context shows them."""
    return (flags & (TAKEN | _CPUID)) | SHOWN


def check_flags(flags: int) -> None:
    """Raises EINVAL for a change of a flag no program may change."""
    if (flags ^ SHOWN) & FIXED or flags >> 32:
        raise EINVAL


def load(t: Thread, context: Context) -> None:
    """setucontext, for a context that was checked: floating point, registers, private pointer, mask, alternate stack.

    Raises EFAULT, and EINVAL for a floating-point state the CPU refuses.
    """
    lwp = lwp_of(t)
    if context.flags & UC_FPU and not xstate.load(t, context.fpregs):
        raise EINVAL
    if context.flags & UC_CPU:
        registers_of(t).load(t, context)
    lwp.link = context.link
    if context.flags & UC_TLSBASE:
        lwp.private = context.tls_base
        t.abi.set_tls(t, context.tls_base)
    if context.flags & UC_SIGMASK:
        set_mask(t, t.abi.layouts[SigSet].decode(context.mask) & ~UNBLOCKABLE)
    on = t.altstack.flags & SS_ONSTACK
    if context.flags & UC_STACK:
        on = context.stack.flags & SS_ONSTACK
    if context.flags & UC_SETSTACK:
        on = SS_ONSTACK
    if context.flags & UC_CLRSTACK:
        on = 0
    t.altstack = t.altstack._replace(flags=(t.altstack.flags & ~SS_ONSTACK) | on)


def stack_of(t: Thread) -> AltStack:
    """uc_stack: the alternate one while the thread is on it, else the process's first stack."""
    if t.altstack.flags & SS_ONSTACK and not t.altstack.flags & SS_DISABLE:
        return t.altstack
    vm = t.proc.vm
    region = vm.find(vm.stack_top - 1)
    start = vm.stack_top if region is None else region.start
    return AltStack(start, 0, vm.stack_top - start)


# --- what frames of both word sizes share
def facts_of(t: Thread, info: SigInfo) -> tuple[TrapFacts, SigInfo]:
    """Trap number and error code of a fault in NetBSD's terms, in the siginfo too."""
    facts = trap_facts(t, info)
    if 0 < info.code <= SI_KERNEL:
        facts = facts._replace(trapno=TRAPS.get(facts.trapno, facts.trapno))
        info = info._replace(trapno=facts.trapno)
    return facts, info


def switches_stack(t: Thread, action: SigAction) -> bool:
    """Whether the handler begins on the alternate stack: it is asked for, there is one, and the thread is not on it."""
    stack = t.altstack
    return bool(action.flags & SaFlags.ONSTACK and stack.size) and not stack.flags & (SS_DISABLE | SS_ONSTACK)


def frame_flags(t: Thread) -> int:
    """uc_flags of a frame: what setcontext will put back."""
    return UC_SIGMASK | UC_CPU | UC_TLSBASE | UC_FPU | (UC_SETSTACK if t.altstack.flags & SS_ONSTACK else UC_CLRSTACK)


def no_frame(t: Thread) -> bool:
    """A frame that cannot be built: the process dies by SIGILL.  True, for nothing is left to be tried."""
    signals.die(t, signals.kernel_signal(Signal.SIGILL))
    return True
