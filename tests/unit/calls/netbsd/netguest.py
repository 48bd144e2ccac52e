"""A process of NetBSD's on the stage of the calls' tests: its calls are made by name, its registers are NetBSD's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ring3.abi import x86
from ring3.abi.table import read_table
from ring3.abi.x86 import EFLAGS_CF, Arch
from ring3.calls.trap import finish, trap
from ring3.errors import Errno
from ring3.personality.netbsd import netbsd32_personality, netbsd_personality
from ring3.proc import lwp
from ring3.proc.lifecycle import clone_thread
from ring3.proc.proc import ThreadState
from ring3.protocols import Personality
from tests.unit.calls.stage import Guest, Stage

NUMBERS = {name: number for number, name in read_table("netbsd/amd64").items()}


class NetbsdGuest(Guest):
    """One thread of a NetBSD program."""

    def start(self, name: str, *args: int, arch: Arch = Arch.X86_64) -> Any:
        """Make a call from the test; a result, or the coroutine of one that may sleep.  Raises its refusal."""
        t = self.t
        t.cpu.arch = arch
        t.system.current = t
        self.place(*args)
        t.call_number = NUMBERS[name]
        return t.abi.sysent[t.call_number].invoke(t, t.cpu.regs)

    def place(self, *args: int) -> None:
        """Arguments where they belong: registers, then the stack."""
        regs, abi = self.t.cpu.regs, self.t.abi
        for register in abi.argument_registers:
            regs[register] = 0
        for register, arg in zip(abi.argument_registers, args, strict=False):
            regs[register] = arg & x86.MASK64
        rest = args[len(abi.argument_registers) :]
        if rest and abi.argument_stack is not None:
            words = b"".join((arg & abi.word_mask).to_bytes(abi.word_size, "little") for arg in rest)
            self.p.vm.copyout(regs[x86.RSP] + abi.argument_stack, words)

    def trap(self, number: int, *args: int) -> tuple[int, int, bool]:
        """A whole trap: (first result word, second, carry flag)."""
        t = self.t
        t.cpu.arch = t.abi.arch
        self.place(*args)
        t.cpu.regs[x86.ORIG_RAX] = t.cpu.regs[x86.RAX] = number
        t.cpu.regs[x86.EFLAGS] |= 0x202
        trap(t)
        regs = t.cpu.regs
        t.state = ThreadState.SERVED
        return regs[x86.RAX], regs[x86.RDX], bool(regs[x86.EFLAGS] & EFLAGS_CF)

    def finish(self, result: int | Errno) -> None:
        """The end of a call that slept."""
        finish(self.t, result)


def netbsd_guest(stage: Stage, make: Callable[[], Personality] = netbsd_personality) -> NetbsdGuest:
    """A process of amd64, or of another record's."""
    t = stage.thread()
    t.proc.personality = make()
    t.abi = t.proc.personality.abis[Arch.X86_64]
    return NetbsdGuest(t)


def netbsd32_guest(stage: Stage) -> NetbsdGuest:
    """A process of i386."""
    guest = netbsd_guest(stage, netbsd32_personality)
    guest.t.cpu.arch = Arch.I386
    return guest


def another_lwp(g: NetbsdGuest) -> NetbsdGuest:
    """One more LWP of the same process, which runs nothing."""
    table = lwp.table_of(g.p)
    child = clone_thread(g.t)
    child.state = ThreadState.SERVED
    lwp.enter(table, child)
    return NetbsdGuest(child)
