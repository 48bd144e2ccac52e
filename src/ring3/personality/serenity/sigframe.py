"""Signal frames of SerenityOS: what stands on the stack when a handler begins, the page it returns through, and the way back.

    higher addresses     128 bytes of red zone below the interrupted stack pointer, or below the top of the alternate stack
                         8      where the trampoline keeps rax
                         208    ucontext
                         48     siginfo
                         832    extended state: XSAVE's 512 + 64 bytes, and AVX's 256
                         8 * 4  ucontext's address, siginfo's address, the signal, the handler      <- rsp
The thread goes on in the trampoline page, which pops the lower four, calls the handler and makes sigreturn with the stack pointer
at the extended state.  The frame is the guest's then: what it makes of it gets no privileged bit into a register; a state the CPU
refuses, and an address no jump can have, where the original falls, end in SIGSEGV.
Source: Thread::dispatch_signal, asm_signal_trampoline, sys$sigreturn (reference, section 1.18).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from ring3.abi.signals import (
    CLD_CONTINUED,
    CLD_EXITED,
    CLD_STOPPED,
    SI_KERNEL,
    SI_USER,
    SaFlags,
    SigAction,
    SigInfo,
    Signal,
)
from ring3.abi.x86 import (
    EFLAGS,
    MASK64,
    ORIG_RAX,
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
)
from ring3.calls.signal import set_mask
from ring3.calls.syscall import JUST_RETURN, syscall
from ring3.errors import Errno
from ring3.personality.serenity.layouts_process import SIGINFO, encode_siginfo
from ring3.personality.serenity.signals import SI_NOINFO, SignalNumbers, mask_inward, mask_outward
from ring3.proc import signals
from ring3.proc.proc import Thread
from ring3.proc.tracing import TracedRegisters

if TYPE_CHECKING:
    from ring3.exec.package import Image

# pop rcx; mov [rsp+1112], rax; pop rdi; pop rsi; pop rdx; call rcx; mov eax, 135 (sigreturn); int 0x82
TRAMPOLINE: Final = bytes.fromhex("59 48898424 58040000 5f 5e 5a ffd1 b887000000 cd82")

SAFE_FLAGS: Final = 0xDFF                   # of RFLAGS, what a program may set
_RED_ZONE: Final = 128
_XSTATE: Final = 832
_LEGACY: Final = 512
_KNOWN_COMPONENTS: Final = 7                # x87, SSE, AVX
_UCONTEXT_HEAD: Final = struct.Struct("<QI4xQi4xQ")         # link, mask, stack
_MCONTEXT: Final = struct.Struct("<18Q24x")
UCONTEXT_SIZE: Final = _UCONTEXT_HEAD.size + _MCONTEXT.size
REGISTERS: Final = (RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, RIP, R8, R9, R10, R11, R12, R13, R14, R15, EFLAGS)


def trampoline(image: Image) -> bytes:
    """The page every image is shown (`ExecRules.sigcode`)."""
    del image
    return TRAMPOLINE


def encode_registers(regs: memoryview) -> bytes:
    """mcontext_t, which ptrace has too; segments are told as 0."""
    return _MCONTEXT.pack(*[regs[register] for register in REGISTERS])


def load_registers(regs: memoryview, data: bytes) -> bool:
    """The way back.  False, and nothing is done, for an instruction pointer that no program can have."""
    words = _MCONTEXT.unpack(data)
    if not canonical(words[8]):
        return False
    flags = regs[EFLAGS]
    for register, value in zip(REGISTERS, words, strict=True):
        regs[register] = value
    regs[EFLAGS] = flags & ~SAFE_FLAGS | words[17] & SAFE_FLAGS
    return True


TRACED: Final = TracedRegisters(_MCONTEXT.size, encode_registers, load_registers)


def canonical(addr: int) -> bool:
    """Whether the CPU can jump there at all."""
    return addr < 1 << 47 or addr > MASK64 - (1 << 47)


def on_alt_stack(t: Thread) -> bool:
    """Whether the stack pointer stands in the alternate stack."""
    return 0 <= t.cpu.regs[RSP] - t.altstack.base < t.altstack.size


def send_signal(t: Thread, info: SigInfo, action: SigAction, mask: int) -> bool:
    """Enter the handler of `action`.  A frame that cannot be written ends the process by that very signal; True always."""
    regs, vm, stack = t.cpu.regs, t.proc.vm, t.altstack
    switches = bool(action.flags & SaFlags.ONSTACK and stack.size) and not on_alt_stack(t)
    top = stack.base + stack.size if switches else regs[RSP]
    signo = SignalNumbers.outward(info.signo)
    context = _UCONTEXT_HEAD.pack(
        0, mask_outward(mask), top, action.flags & SaFlags.ONSTACK, stack.size if switches else 0
    ) + encode_registers(regs)
    siginfo = encode_siginfo(_told(t, info, action))
    state = t.cpu.read_xstate()[:_XSTATE].ljust(_XSTATE, b"\0")
    start = top - (top - 8 + UCONTEXT_SIZE + SIGINFO.size) % 16 - _RED_ZONE
    context_at = start - 8 - UCONTEXT_SIZE & MASK64
    siginfo_at = context_at - SIGINFO.size & MASK64
    frame = struct.pack("<4Q", action.handler, signo, siginfo_at, context_at) + state + siginfo + context + bytes(8)
    sp = start - len(frame) & MASK64
    try:
        vm.copyout(sp, frame)
    except Errno:
        signals.die(t, info)
        return True
    regs[RSP], regs[RIP] = sp, vm.sigcode
    regs[EFLAGS] = 2 | regs[EFLAGS] & ~SAFE_FLAGS
    return True


def _told(t: Thread, info: SigInfo, action: SigAction) -> SigInfo:
    """What a siginfo says: who sent it, and with SA_SIGINFO what became of a child; of other signals nothing is known."""
    system = t.system
    sender = info.pid or t.proc.pid
    uid = system.procs[sender].cred.ruid if sender in system.procs else 0
    told = SigInfo(info.signo, 0, pid=sender, uid=uid)
    if not action.flags & SaFlags.SIGINFO:
        return told
    if info.signo != Signal.SIGCHLD:
        return told._replace(code=SI_NOINFO)
    code = CLD_CONTINUED if info.code == SI_USER else max(info.code, CLD_EXITED)
    return told._replace(code=code - 1, status=info.status if code < CLD_STOPPED else 0)


@syscall(pledge="stdio")
def sys_sigreturn(t: Thread) -> int:
    """Back from a handler: registers, mask and extended state as the frame at the stack pointer says.  Raises EFAULT."""
    if not _restore(t):
        signals.force(t, signals.kernel_signal(Signal.SIGSEGV))
    return JUST_RETURN


def _restore(t: Thread) -> bool:
    """False for what the CPU would refuse.  Raises EFAULT."""
    regs, vm = t.cpu.regs, t.proc.vm
    data = vm.copyin(regs[RSP], _XSTATE + SIGINFO.size + UCONTEXT_SIZE + 8)
    context = data[_XSTATE + SIGINFO.size : -8]
    mask = mask_inward(_UCONTEXT_HEAD.unpack_from(context)[1])
    if not _load_xstate(t, data[:_XSTATE]) or not load_registers(regs, context[_UCONTEXT_HEAD.size :]):
        return False
    regs[RAX] = int.from_bytes(data[-8:], "little")
    set_mask(t, mask)
    return True


def _load_xstate(t: Thread, saved: bytes) -> bool:
    """What a frame holds of the extended state; what it has no room for stays.  False where the CPU refuses it."""
    state = bytearray(t.cpu.read_xstate())
    room = min(len(state), _XSTATE)
    present = struct.unpack_from("<Q", state, _LEGACY)[0] & ~_KNOWN_COMPONENTS if len(state) > _LEGACY else 0
    state[:room] = saved[:room]
    if len(state) > _LEGACY:
        theirs = struct.unpack_from("<Q", saved, _LEGACY)[0]
        struct.pack_into("<QQ", state, _LEGACY, theirs & _KNOWN_COMPONENTS & t.system.facts.xfeatures | present, 0)
    try:
        t.cpu.write_xstate(bytes(state))
    except ValueError:
        return False
    return True


# --- the other way in
_INT_82: Final = b"\xcd\x82"


def other_way_in(t: Thread) -> bool:
    """Whether the instruction that faulted is `int 0x82`, which is a call; the registers stand as behind one then."""
    fault, regs, vm = t.cpu.fault, t.cpu.regs, t.proc.vm
    if fault.signal != Signal.SIGSEGV or fault.code != SI_KERNEL or regs[RIP] >= vm.user_top:
        return False
    if vm.machine.read(regs[RIP], len(_INT_82)) != _INT_82:
        return False
    regs[RIP] += len(_INT_82)
    regs[ORIG_RAX] = regs[RAX]
    return True
