"""Signal frames of NetBSD/i386: what a handler finds on its stack.  The way back is setcontext(2).

    higher addresses     the stack as it was, or the top of the alternate one
                         extended state beyond FXSAVE, 64-byte aligned                  (this kernel's own: see xstate.py)
                         struct sigframe_siginfo: return address, signal, pointers to the next two, siginfo, ucontext     <- esp
The return address is libc's trampoline: it finds the ucontext by the pointer it was called with, and calls setcontext.
Source: sigaction(2), sys/ucontext.h, i386/include/frame.h.
"""

from __future__ import annotations

import struct
from typing import Final

from ring3.abi.signals import SS_ONSTACK, AltStack, SaFlags, SigAction, SigInfo, Signal
from ring3.abi.x86 import CS, CS_32, DS, EFLAGS, ES, MASK32, RIP, RSP, SS, SS_USER
from ring3.errors import Errno
from ring3.personality.netbsd import context32, xstate
from ring3.personality.netbsd.ucontext import CLEARED, facts_of, frame_flags, no_frame, switches_stack
from ring3.proc.proc import Thread

_HEAD: Final = struct.Struct("<IiII")
_SIGINFO: Final = _HEAD.size
_UCONTEXT: Final = _SIGINFO + 128
FRAME: Final = _UCONTEXT + context32.SIZE


def send_signal(t: Thread, info: SigInfo, action: SigAction, mask: int) -> bool:
    """Enter the handler of `action`.  A frame that cannot be built ends the process by SIGILL, as NetBSD does; True always."""
    regs, vm, stack = t.cpu.regs, t.proc.vm, t.altstack
    switch = switches_stack(t, action)
    top = stack.base + stack.size if switch else regs[RSP] & MASK32
    state = xstate.state_of(t)
    rest = state[xstate.LEGACY :]
    rest_at = (top - len(rest)) & -64 if rest else 0
    sp = (((rest_at or top) - FRAME + 4) & -16) - 4
    if sp <= 0 or action.handler >= vm.user_top or not action.flags & SaFlags.RESTORER:
        return no_frame(t)
    facts, info = facts_of(t, info)
    number = t.abi.flags[Signal].outward(info.signo)
    frame = b"".join((
        _HEAD.pack(action.restorer & MASK32, number, sp + _SIGINFO, sp + _UCONTEXT),
        t.abi.layouts[SigInfo].encode(info),
        context32.encode(t, frame_flags(t), mask, AltStack(), xstate.legacy_of(state, rest_at), facts),
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
    regs[RSP], regs[RIP] = sp, action.handler
    regs[CS] = CS_32
    regs[SS] = regs[DS] = regs[ES] = SS_USER
    regs[EFLAGS] &= ~CLEARED
    return True
