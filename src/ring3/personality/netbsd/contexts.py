"""The calls that exchange contexts: getcontext, setcontext, _lwp_create.  The same for both instruction sets.

Sources: getcontext(2), setcontext(2), _lwp_create(2).
"""

from __future__ import annotations

from ring3.abi.x86 import RAX
from ring3.calls.netbsd.lwp import LwpOut, abandon, add_lwp, start_lwp
from ring3.calls.procarg import Pointer
from ring3.calls.sysarg import Word
from ring3.calls.syscall import JUST_RETURN, syscall
from ring3.errors import EINVAL, Errno
from ring3.personality.netbsd import xstate
from ring3.personality.netbsd.ucontext import GOT, UC_CPU, UC_FPU, UC_TLSBASE, Context, load, registers_of, stack_of
from ring3.proc.lwp import lwp_of
from ring3.proc.proc import Thread


@syscall(pledge="stdio")
def sys_getcontext(t: Thread, ucp: Pointer) -> int:
    """The caller's registers, mask and stack, as setcontext(2) takes them."""
    t.cpu.regs[RAX] = t.call_number                # what it held at the instruction; the machine may have put something else there
    data = registers_of(t).encode(t, GOT, t.sigmask, stack_of(t), xstate.legacy_of(xstate.state_of(t)))
    t.proc.vm.copyout(ucp, data)
    return 0


def _read(t: Thread, addr: int) -> Context:
    """A context with registers that may be had.  Raises EFAULT, EINVAL."""
    registers = registers_of(t)
    context = registers.read(t, addr)
    if not context.flags & UC_CPU:
        raise EINVAL
    registers.check(t, context)
    return context


@syscall(pledge="stdio")
def sys_setcontext(t: Thread, ucp: Pointer) -> int:
    """Go on where the context says."""
    load(t, _read(t, ucp))
    return JUST_RETURN


@syscall(pledge="thread")
def sys__lwp_create(t: Thread, ucp: Pointer, flags: Word, new_lwp: LwpOut) -> int:
    """One more thread, which begins with the registers of the context; its mask is the caller's."""
    context = _read(t, ucp)
    child = add_lwp(t, flags)
    try:
        registers_of(t).load(child, context)
        if context.flags & UC_FPU and not xstate.load(child, context.fpregs):
            raise EINVAL
        if context.flags & UC_TLSBASE:
            lwp_of(child).private = context.tls_base
            t.abi.set_tls(child, context.tls_base)
    except Errno:
        abandon(child)
        raise
    return start_lwp(t, child, new_lwp)
