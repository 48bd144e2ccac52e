"""Signal frames of NetBSD/amd64: what a handler finds on its stack.  The way back is setcontext(2).

    higher addresses     128 bytes of red zone, or the top of the alternate stack
                         extended state beyond FXSAVE, 64-byte aligned                  (this kernel's own: see xstate.py)
                         struct sigframe_siginfo: return address, siginfo, ucontext     <- rsp, 16n + 8
The return address is libc's trampoline, given with the action (__sigaction_sigtramp): it moves r15, the ucontext, to rdi and
calls setcontext.  Source: sigaction(2), sys/ucontext.h, amd64/include/frame.h.
"""

from __future__ import annotations

from typing import Final

from ring3.abi.signals import SS_ONSTACK, AltStack, SaFlags, SigAction, SigInfo, Signal
from ring3.abi.x86 import CS, CS_64, EFLAGS, R15, RDI, RDX, RIP, RSI, RSP, SS, SS_USER
from ring3.errors import Errno
from ring3.personality.netbsd import context64, xstate
from ring3.personality.netbsd.ucontext import CLEARED, facts_of, frame_flags, no_frame, switches_stack
from ring3.proc.proc import Thread

_RED_ZONE: Final = 128
_SIGINFO: Final = 8
_UCONTEXT: Final = _SIGINFO + 128
FRAME: Final = _UCONTEXT + context64.SIZE


def send_signal(t: Thread, info: SigInfo, action: SigAction, mask: int) -> bool:
    """Enter the handler of `action`.  A frame that cannot be built ends the process by SIGILL, as NetBSD does; True always."""
    regs, vm, stack = t.cpu.regs, t.proc.vm, t.altstack
    switch = switches_stack(t, action)
    top = stack.base + stack.size if switch else regs[RSP] - _RED_ZONE
    state = xstate.state_of(t)
    rest = state[xstate.LEGACY :]
    rest_at = (top - len(rest)) & -64 if rest else 0
    sp = (((rest_at or top) - FRAME) & -16) - 8
    if sp <= 0 or action.handler >= vm.user_top or not action.flags & SaFlags.RESTORER:
        return no_frame(t)
    facts, info = facts_of(t, info)
    frame = b"".join((
        action.restorer.to_bytes(8, "little"),
        t.abi.layouts[SigInfo].encode(info),
        context64.encode(t, frame_flags(t), mask, AltStack(), xstate.legacy_of(state, rest_at), facts),
    ))
    try:
        if rest:
            vm.copyout(rest_at, rest)
        vm.copyout(sp, frame)
    except Errno:
        return no_frame(t)
    if switch:
        t.altstack = stack._replace(flags=stack.flags | SS_ONSTACK)
    t.cpu.reset_xstate()
    regs[RDI] = t.abi.flags[Signal].outward(info.signo)
    regs[RSI], regs[RDX], regs[R15] = sp + _SIGINFO, sp + _UCONTEXT, sp + _UCONTEXT
    regs[RSP], regs[RIP] = sp, action.handler
    regs[CS], regs[SS] = CS_64, SS_USER
    regs[EFLAGS] &= ~CLEARED
    return True
