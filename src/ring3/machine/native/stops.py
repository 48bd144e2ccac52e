"""Why a stub stopped, in the words of `StopKind`.

Sources: ptrace(2) under "Stopped states", sigaction(2) for `si_code`, arch/x86/entry/vsyscall/vsyscall_64.c.
"""

from __future__ import annotations

import errno
import signal
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ring3.abi.stop import Fault, StopKind
from ring3.abi.x86 import ORIG_RAX, RAX, RIP, RSP, Arch
from ring3.machine.native.ptrace import INFO, PTRACE_EVENT_STOP, SYSCALL_STATUS, fault_pending

if TYPE_CHECKING:
    from ring3.machine.native.cpu import NativeCpu

# struct ptrace_syscall_info of a stop at entry: op 1, arch in the upper half (AUDIT_ARCH_X86_64, AUDIT_ARCH_I386).
ENTRIES: Final = MappingProxyType({0xC000_003E_0000_0001: Arch.X86_64, 0x4000_0003_0000_0001: Arch.I386})

_FAULTS: Final = frozenset((signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP))
_SYS_SECCOMP: Final = 1
_ENOSYS_WORD: Final = (1 << 64) - errno.ENOSYS
_VSYSCALL_PAGE: Final = range(0xFFFF_FFFF_FF60_0000, 0xFFFF_FFFF_FF60_1000)
_VSYSCALLS: Final = (96, 201, 309)                   # gettimeofday, time, getcpu: one every 0x400 bytes


def describe(cpu: NativeCpu, status: int, *, asked: bool) -> bool:
    """Fill in why a thread stopped; False when it has no reason anyone asked for and is to go on.

    `status` is what wait4(2) said, `asked` whether an interrupt of this thread was asked for.  An interrupt that overtook
    a fault gives way to it: the fault is the next stop.
    """
    if status >> 16:                                 # a late interrupt, or the group stop of a SIGSTOP from outside
        cpu.kind = StopKind.INTERRUPT
        return asked and status >> 16 == PTRACE_EVENT_STOP and not fault_pending(cpu.pid)
    if status == SYSCALL_STATUS:
        arch = ENTRIES.get(cpu.block.words[INFO])
        if arch is None:                             # it died before it could be asked
            return False
        cpu.kind = StopKind.SYSCALL
        cpu.arch = arch
        return True
    number, reason, addr = cpu.block.siginfo()
    cpu.fault = Fault(number, reason, addr)
    if number == signal.SIGSYS and reason == _SYS_SECCOMP and addr in _VSYSCALL_PAGE:
        _vsyscall(cpu, addr)
    elif reason > 0 and number in _FAULTS:
        cpu.kind = StopKind.FAULT
    else:
        cpu.kind = StopKind.SIGNAL
    return True


def _vsyscall(cpu: NativeCpu, addr: int) -> None:
    """A call through the vsyscall page, which the host emulates and the filter refused: make it a stop like others.

    The host has done the page's `ret` by then; should it not have, it is done here.
    """
    regs = cpu.regs
    if regs[RIP] in _VSYSCALL_PAGE:
        regs[RIP] = int.from_bytes(cpu.home.read(regs[RSP], 8).ljust(8, b"\0"), "little")
        regs[RSP] += 8
    regs[ORIG_RAX] = _VSYSCALLS[(addr & 0xFFF) >> 10]
    regs[RAX] = _ENOSYS_WORD
    cpu.kind = StopKind.SYSCALL
    cpu.arch = Arch.X86_64
