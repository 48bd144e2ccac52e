"""Signal frames of Linux on x86-64: what a handler finds on its stack, and the way back.

    higher addresses     128 bytes of red zone, or the top of the alternate stack
                         extended state: XSAVE area (64-byte aligned), FP_XSTATE_MAGIC2 behind it
                         struct rt_sigframe: return address (sa_restorer), ucontext, siginfo     <- rsp, 16n + 8
`send_signal` builds it, `rt_sigreturn` takes it down.  The frame belongs to the guest then: whatever it makes of it, it gets no
privileged bit into a register, and nonsense is SIGSEGV.
Sources: arch/x86/kernel/signal_64.c, arch/x86/kernel/fpu/signal.c, arch/x86/include/uapi/asm/{sigcontext,ucontext}.h.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Final

from ring3.abi.signals import (
    SS_AUTODISARM,
    SS_DISABLE,
    UNBLOCKABLE,
    AltStack,
    SaFlags,
    SigAction,
    SigInfo,
    Signal,
)
from ring3.abi.x86 import (
    CS,
    CS_32,
    CS_64,
    EFLAGS,
    EFLAGS_AC,
    EFLAGS_AF,
    EFLAGS_CF,
    EFLAGS_DF,
    EFLAGS_OF,
    EFLAGS_PF,
    EFLAGS_RF,
    EFLAGS_SF,
    EFLAGS_TF,
    EFLAGS_ZF,
    MASK64,
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
from ring3.calls.signal import on_alt_stack, set_alt_stack, set_mask
from ring3.calls.syscall import JUST_RETURN, syscall
from ring3.errors import EFAULT, Errno
from ring3.personality.linux.faults import trap_facts
from ring3.personality.linux.fpframe import legal_xstate, xstate_frame
from ring3.proc import signals
from ring3.proc.proc import Thread

_RED_ZONE: Final = 128
_UC_FLAGS: Final = 1 | 2 | 4                 # UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS
_UC_STRICT_RESTORE_SS: Final = 4
_MINSIGSTKSZ: Final = 2048

_GENERAL: Final = (R8, R9, R10, R11, R12, R13, R14, R15, RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP, RIP)
_UCONTEXT_HEAD: Final = struct.Struct("<QQQi4xQ")          # uc_flags, uc_link, uc_stack
_SIGCONTEXT: Final = struct.Struct("<17QQHHHHQQQQQ64x")    # general registers, flags, cs gs fs ss, err trapno oldmask cr2 fpstate
_UCONTEXT: Final = _UCONTEXT_HEAD.size + _SIGCONTEXT.size + 8
_FRAME: Final = 8 + _UCONTEXT + 128

# What a guest may set in its flags (arch/x86/include/asm/sighandling.h, FIX_EFLAGS).
FIX_EFLAGS: Final = (
    EFLAGS_AC | EFLAGS_OF | EFLAGS_DF | EFLAGS_TF | EFLAGS_SF | EFLAGS_ZF | EFLAGS_AF | EFLAGS_PF | EFLAGS_CF | EFLAGS_RF
)
_CLEARED: Final = EFLAGS_DF | EFLAGS_RF | EFLAGS_TF


def frame_top(t: Thread, sp: int, action: SigAction, red_zone: int) -> tuple[int, bool]:
    """Where the frame's upper end is, and whether all of it must lie in the alternate stack."""
    nested = on_alt_stack(t, sp)
    sp -= red_zone
    if action.flags & SaFlags.ONSTACK and t.altstack.size and not on_alt_stack(t, sp):
        return t.altstack.base + t.altstack.size, True
    return sp, nested


def fits(t: Thread, sp: int, *, within_alt: bool) -> bool:
    """False when a frame down to `sp` would run out of the alternate stack."""
    stack = t.altstack
    return sp > 0 and (not within_alt or 0 < sp - stack.base <= stack.size)


def send_signal(t: Thread, info: SigInfo, action: SigAction, mask: int) -> bool:
    """Enter the handler of `action`; False where no frame can be built.  `mask` is what sigreturn puts back."""
    regs, vm = t.cpu.regs, t.proc.vm
    if not action.flags & SaFlags.RESTORER:
        return False
    state = xstate_frame(t)
    top, within_alt = frame_top(t, regs[RSP], action, _RED_ZONE)
    fpstate = (top - len(state)) & -64
    sp = ((fpstate - _FRAME) & -16) - 8
    if not fits(t, sp, within_alt=within_alt):
        return False
    frame = b"".join((
        action.restorer.to_bytes(8, "little"),
        _UCONTEXT_HEAD.pack(_UC_FLAGS, 0, *stored_alt_stack(t.altstack)),
        _sigcontext(t, info, mask, fpstate),
        mask.to_bytes(8, "little"),
        t.abi.layouts[SigInfo].encode(info),
    ))
    try:
        vm.copyout(fpstate, state)
        vm.copyout(sp, frame)
    except Errno:
        return False
    if t.altstack.flags & SS_AUTODISARM:
        t.altstack = AltStack(0, SS_DISABLE, 0)
    t.cpu.reset_xstate()
    regs[RDI], regs[RSI], regs[RDX] = info.signo, sp + 8 + _UCONTEXT, sp + 8
    regs[RAX], regs[RSP], regs[RIP] = 0, sp, action.handler
    regs[CS], regs[SS] = CS_64, SS_USER
    regs[EFLAGS] &= ~_CLEARED
    return True


def stored_alt_stack(stack: AltStack) -> tuple[int, int, int]:
    """uc_stack: base, flags as sigaltstack set them (a C int), size."""
    flags = stack.flags if stack.size else stack.flags | SS_DISABLE
    return stack.base, (flags & 0x7FFF_FFFF) - (flags & 0x8000_0000), stack.size


def _sigcontext(t: Thread, info: SigInfo, mask: int, fpstate: int) -> bytes:
    regs = t.cpu.regs
    facts = trap_facts(t, info)
    return _SIGCONTEXT.pack(
        *[regs[register] for register in _GENERAL], regs[EFLAGS], regs[CS] & 0xFFFF, 0, 0, regs[SS] & 0xFFFF,
        facts.error, facts.trapno, mask, facts.cr2, fpstate,
    )


@syscall(pledge="stdio")
def sys_rt_sigreturn(t: Thread) -> int:
    """Back from a handler: all registers, mask and alternate stack as the frame says."""
    regs, vm = t.cpu.regs, t.proc.vm
    frame = regs[RSP] - 8
    try:
        data = vm.copyin(frame + 8, _UCONTEXT)
        mask = int.from_bytes(data[-8:], "little")
        set_mask(t, mask & ~UNBLOCKABLE)
        good = _restore(t, data)
    except EFAULT:
        good = False
    if not good:
        bad_frame(t)
    return JUST_RETURN


def bad_frame(t: Thread) -> None:
    """A frame no handler could have returned to: SIGSEGV."""
    signals.force(t, signals.kernel_signal(Signal.SIGSEGV))


def _restore(t: Thread, data: bytes) -> bool:
    uc_flags, _link, base, stack_flags, size = _UCONTEXT_HEAD.unpack_from(data)
    words = _SIGCONTEXT.unpack_from(data, _UCONTEXT_HEAD.size)
    general, (flags, cs, _gs, _fs, ss), fpstate = words[:17], words[17:22], words[26]
    regs = t.cpu.regs
    if not uc_flags & _UC_STRICT_RESTORE_SS:
        ss = SS_USER
    for register, value in zip(_GENERAL, general, strict=True):
        regs[register] = value
    regs[EFLAGS] = (regs[EFLAGS] & ~FIX_EFLAGS) | (flags & FIX_EFLAGS)
    if not restore_segments(t, cs | 3, ss | 3) or not canonical(general[16]):
        return False
    if not restore_fpstate(t, fpstate):
        return False
    with suppress(Errno):          # restore_altstack lets everything but EFAULT pass
        set_alt_stack(t, AltStack(base, stack_flags, size), regs[RSP], _MINSIGSTKSZ)
    return True


def canonical(addr: int) -> bool:
    """Whether an address can be jumped to at all without the CPU refusing in the kernel's name."""
    return addr < 1 << 47 or addr > MASK64 - (1 << 47)


def restore_segments(t: Thread, cs: int, ss: int) -> bool:
    """Only user segments that exist: else the return to user mode would fault, which is SIGSEGV."""
    if cs not in (CS_64, CS_32) or (ss != SS_USER and ss >> 3 not in t.tls_slots):
        return False
    t.cpu.regs[CS], t.cpu.regs[SS] = cs, ss
    return True


def restore_fpstate(t: Thread, addr: int) -> bool:
    """The extended state at `addr`, or a fresh one for a null pointer.  False where Linux would refuse it.  Raises EFAULT."""
    if not addr:
        t.cpu.reset_xstate()
        return True
    size = t.system.facts.xstate_size
    data = t.proc.vm.copyin(addr, 512)
    state = legal_xstate(t, addr, data, size)
    try:
        t.cpu.write_xstate(state)
    except ValueError:
        return False
    return True

