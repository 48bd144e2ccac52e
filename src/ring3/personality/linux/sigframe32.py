"""Signal frames of Linux on i386, as a 64-bit kernel makes them for 32-bit programs: the first kind, and the real-time kind.

    struct sigframe_ia32     return address, signal, sigcontext, unused state, rest of the mask, code       (no SA_SIGINFO)
    struct rt_sigframe_ia32  return address, signal, two pointers, siginfo, ucontext, code                  (SA_SIGINFO)
Above either stands the x87 state as FSAVE has it (112 bytes), then the XSAVE area, 64-byte aligned.  The return address is
sa_restorer, or the trampoline in the vDSO, or without one the code in the frame.
Sources: arch/x86/kernel/signal_32.c, arch/x86/kernel/fpu/{signal,regset}.c, arch/x86/include/asm/sigframe.h.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Final

from ring3.abi.signals import SS_AUTODISARM, SS_DISABLE, UNBLOCKABLE, AltStack, SaFlags, SigAction, SigInfo
from ring3.abi.x86 import (
    CS,
    CS_32,
    DS,
    EFLAGS,
    EFLAGS_DF,
    EFLAGS_RF,
    EFLAGS_TF,
    ES,
    FS,
    FS_BASE,
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
    Arch,
)
from ring3.calls.signal import set_alt_stack, set_mask
from ring3.calls.syscall import JUST_RETURN, syscall
from ring3.errors import EFAULT, Errno
from ring3.personality.linux.faults import trap_facts
from ring3.personality.linux.fpframe import legal_xstate, xstate_frame
from ring3.personality.linux.fsave import FSAVE_SIZE, fsave_of, fxsave_with
from ring3.personality.linux.sigframe64 import (
    FIX_EFLAGS,
    bad_frame,
    fits,
    frame_top,
    restore_segments,
    stored_alt_stack,
)
from ring3.personality.linux.vdso import symbol32
from ring3.proc.proc import Thread

_GENERAL: Final = (RDI, RSI, RBP, RSP, RBX, RDX, RCX, RAX)
# gs fs es ds, general registers, trapno err ip, cs, flags, sp_at_signal, ss, fpstate, oldmask, cr2
_SIGCONTEXT: Final = struct.Struct("<HxxHxxHxxHxx8IIIIHxxIIHxxIII")
_UNUSED_STATE: Final = 624                   # struct _fpstate_32
_UCONTEXT_HEAD: Final = struct.Struct("<IIIiI")
_UCONTEXT: Final = _UCONTEXT_HEAD.size + _SIGCONTEXT.size + 8
_PLAIN: Final = 4 + 4 + _SIGCONTEXT.size + _UNUSED_STATE + 4 + 8
_RT_HEAD: Final = 16 + 128
_RT: Final = _RT_HEAD + _UCONTEXT + 8
_UC_FP_XSTATE: Final = 1
_PLAIN_CODE: Final = b"\x58\xb8\x77\x00\x00\x00\xcd\x80"         # pop eax; mov eax, 119; int 0x80
_RT_CODE: Final = b"\xb8\xad\x00\x00\x00\xcd\x80\x00"            # mov eax, 173; int 0x80
_MINSIGSTKSZ: Final = 2048


def send_signal(t: Thread, info: SigInfo, action: SigAction, mask: int) -> bool:
    """Enter the handler of `action`; False where no frame can be built.  `mask` is what sigreturn puts back."""
    regs, vm = t.cpu.regs, t.proc.vm
    state = xstate_frame(t, more=FSAVE_SIZE)
    sp, within_alt = frame_top(t, regs[RSP] & MASK32, action, 0)
    real_time = bool(action.flags & SaFlags.SIGINFO)
    area = (sp - len(state)) & -64
    fpstate = area - FSAVE_SIZE
    sp = ((fpstate - (_RT if real_time else _PLAIN) + 4) & -16) - 4
    if not fits(t, sp, within_alt=within_alt):
        return False
    context = _sigcontext(t, info, mask, fpstate)
    frame = _rt_frame(t, sp, info, action, mask, context) if real_time else _plain_frame(t, sp, info, action, mask, context)
    try:
        vm.copyout(area, state)
        vm.copyout(fpstate, fsave_of(state, regs[CS] & 0xFFFF, regs[DS] & 0xFFFF))
        vm.copyout(sp, frame)
    except Errno:
        return False
    if t.altstack.flags & SS_AUTODISARM:
        t.altstack = AltStack(0, SS_DISABLE, 0)
    t.cpu.reset_xstate()
    regs[RSP], regs[RIP], regs[RAX] = sp, action.handler, info.signo
    regs[RDX], regs[RCX] = (sp + 16, sp + _RT_HEAD) if real_time else (0, 0)
    regs[CS] = CS_32
    regs[SS] = regs[DS] = regs[ES] = SS_USER
    regs[EFLAGS] &= ~(EFLAGS_DF | EFLAGS_RF | EFLAGS_TF)
    return True


def _return_address(t: Thread, action: SigAction, name: bytes, code_at: int) -> int:
    if action.flags & SaFlags.RESTORER:
        return action.restorer & MASK32
    base, image = t.proc.vm.vdso_base, t.system.facts.vdso.get(Arch.I386)
    offset = symbol32(image.image, name) if base and image is not None else None
    return code_at if offset is None else base + offset


def _plain_frame(t: Thread, sp: int, info: SigInfo, action: SigAction, mask: int, context: bytes) -> bytes:
    back = _return_address(t, action, b"__kernel_sigreturn", sp + _PLAIN - 8)
    return b"".join((
        struct.pack("<Ii", back, info.signo), context, bytes(_UNUSED_STATE), (mask >> 32).to_bytes(4, "little"), _PLAIN_CODE,
    ))


def _rt_frame(t: Thread, sp: int, info: SigInfo, action: SigAction, mask: int, context: bytes) -> bytes:
    back = _return_address(t, action, b"__kernel_rt_sigreturn", sp + _RT - 8)
    return b"".join((
        struct.pack("<IiII", back, info.signo, sp + 16, sp + _RT_HEAD),
        t.abi.layouts[SigInfo].encode(info),
        _UCONTEXT_HEAD.pack(_UC_FP_XSTATE, 0, *stored_alt_stack(t.altstack)),
        context, mask.to_bytes(8, "little"), _RT_CODE,
    ))


def _sigcontext(t: Thread, info: SigInfo, mask: int, fpstate: int) -> bytes:
    regs = t.cpu.regs
    facts = trap_facts(t, info)
    sp = regs[RSP] & MASK32
    return _SIGCONTEXT.pack(
        *(regs[segment] & 0xFFFF for segment in (GS, FS, ES, DS)),
        *(regs[register] & MASK32 for register in _GENERAL),
        facts.trapno, facts.error, regs[RIP] & MASK32, regs[CS] & 0xFFFF, regs[EFLAGS] & MASK32, sp, regs[SS] & 0xFFFF,
        fpstate & MASK32, mask & MASK32, facts.cr2 & MASK32,
    )


# --- the way back
@syscall(pledge="stdio")
def sys_sigreturn(t: Thread) -> int:
    """Back from a handler that had the first kind of frame (its trampoline has popped the signal's number)."""
    frame = (t.cpu.regs[RSP] & MASK32) - 8
    vm = t.proc.vm
    try:
        context = vm.copyin(frame + 8, _SIGCONTEXT.size)
        low = int.from_bytes(context[-8:-4], "little")
        high = int.from_bytes(vm.copyin(frame + 8 + _SIGCONTEXT.size + _UNUSED_STATE, 4), "little")
        set_mask(t, (low | high << 32) & ~UNBLOCKABLE)
        good = _restore(t, context)
    except EFAULT:
        good = False
    if not good:
        bad_frame(t)
    return JUST_RETURN


@syscall(pledge="stdio")
def sys_rt_sigreturn(t: Thread) -> int:
    """Back from a handler that had a real-time frame."""
    frame = (t.cpu.regs[RSP] & MASK32) - 4
    try:
        data = t.proc.vm.copyin(frame + _RT_HEAD, _UCONTEXT)
        set_mask(t, int.from_bytes(data[-8:], "little") & ~UNBLOCKABLE)
        good = _restore(t, data[_UCONTEXT_HEAD.size : -8])
        if good:
            _restore_altstack(t, data)
    except EFAULT:
        good = False
    if not good:
        bad_frame(t)
    return JUST_RETURN


def _restore_altstack(t: Thread, data: bytes) -> None:
    _flags, _link, base, flags, size = _UCONTEXT_HEAD.unpack_from(data)
    with suppress(Errno):          # restore_altstack lets everything but EFAULT pass
        set_alt_stack(t, AltStack(base, flags, size), t.cpu.regs[RSP], _MINSIGSTKSZ)


def _restore(t: Thread, context: bytes) -> bool:
    """ia32_restore_sigcontext.  False where Linux would refuse; raises EFAULT."""
    words = _SIGCONTEXT.unpack(context)
    segments, general, (ip, cs, flags) = words[:4], words[4:12], words[14:17]
    ss, fpstate = words[18], words[19]
    regs = t.cpu.regs
    for register, value in zip(_GENERAL, general, strict=True):
        regs[register] = value
    regs[RIP] = ip
    regs[EFLAGS] = (regs[EFLAGS] & ~FIX_EFLAGS) | (flags & FIX_EFLAGS)
    if not restore_segments(t, cs | 3, ss | 3):
        return False
    for register, selector in zip((GS, FS, ES, DS), segments, strict=True):
        _load_segment(t, register, selector)
    return _restore_fpstate(t, fpstate)


def _load_segment(t: Thread, register: int, selector: int) -> None:
    """A selector that means nothing becomes the null one, as the kernel's own load does."""
    regs = t.cpu.regs
    known = selector | 3 == SS_USER or selector >> 3 in t.tls_slots
    regs[register] = selector | 3 if known else 0
    base = int.from_bytes(t.tls_slots[selector >> 3][4:8], "little") if selector >> 3 in t.tls_slots else 0
    if register == GS:
        regs[GS_BASE] = base
    elif register == FS:
        regs[FS_BASE] = base


def _restore_fpstate(t: Thread, addr: int) -> bool:
    if not addr:
        t.cpu.reset_xstate()
        return True
    vm = t.proc.vm
    env = vm.copyin(addr, FSAVE_SIZE)
    area = addr + FSAVE_SIZE
    state = legal_xstate(t, area, vm.copyin(area, 512), t.system.facts.xstate_size)
    try:
        t.cpu.write_xstate(fxsave_with(state, env))
    except ValueError:
        return False
    return True
