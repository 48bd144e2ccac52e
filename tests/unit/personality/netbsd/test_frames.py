"""NetBSD's contexts and signal frames, both word sizes: what a handler finds, and what comes back from what a guest has been at."""

from __future__ import annotations

import struct

import pytest

from ring3.abi import x86
from ring3.abi.signals import SS_DISABLE, SS_ONSTACK, AltStack, SaFlags, SigAction, SigInfo, Signal, bit
from ring3.errors import EFAULT, EINVAL
from ring3.personality.netbsd import context32, context64, sigframe32, sigframe64
from ring3.proc.lwp import lwp_of
from tests.unit.calls.netbsd.netguest import NetbsdGuest, netbsd32_guest, netbsd_guest
from tests.unit.calls.stage import BASE, STACK, Stage, stage

__all__ = ["stage"]

HANDLER, TRAMPOLINE = 0x5000, 0x6000
ACTION = SigAction(HANDLER, int(SaFlags.RESTORER | SaFlags.SIGINFO), TRAMPOLINE)
ON_STACK = ACTION._replace(flags=ACTION.flags | SaFlags.ONSTACK)
UC, SI = 136, 8
CPU, FPU, SIGMASK, TLSBASE, CLRSTACK, SETSTACK = 4, 8, 1, 0x80000, 0x20000, 0x10000


def deliver(g: NetbsdGuest, action: SigAction = ACTION, info: SigInfo | None = None, mask: int = 0) -> int:
    """Enter the handler; the address of the frame."""
    assert g.t.abi.send_signal(g.t, info or SigInfo(Signal.SIGUSR1, 0, pid=7, uid=8), action, mask)
    return g.t.cpu.regs[x86.RSP]


class TestFrame64:
    def test_size(self) -> None:
        assert (context64.SIZE, sigframe64.FRAME) == (784, 920)

    def test_registers_of_the_handler(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        regs = g.t.cpu.regs
        regs[x86.EFLAGS] = 0x202 | x86.EFLAGS_DF | x86.EFLAGS_TF | x86.EFLAGS_AC
        sp = deliver(g)
        assert sp % 16 == 8
        assert sp < STACK - 128
        assert (regs[x86.RIP], regs[x86.RDI]) == (HANDLER, 30)
        assert (regs[x86.RSI], regs[x86.RDX], regs[x86.R15]) == (sp + SI, sp + UC, sp + UC)
        assert regs[x86.EFLAGS] == 0x202

    def test_contents(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        regs = g.t.cpu.regs
        for register in range(x86.R15, x86.RDI + 1):
            regs[register] = 0x1000 + register
        regs[x86.FS_BASE] = 0x9000
        before = list(regs)
        sp = deliver(g, mask=bit(Signal.SIGCHLD))
        assert g.word(sp) == TRAMPOLINE
        assert struct.unpack("<iii4xiI", g.get(sp + SI, 24)) == (30, 0, 0, 7, 8)
        assert g.int32(sp + UC) == SIGMASK | CPU | FPU | TLSBASE | CLRSTACK
        assert g.int32(sp + UC + 16) == 1 << 19                         # SIGCHLD is 20 there
        assert g.get(sp + UC + 32, 24) == bytes(24)                     # uc_stack says nothing
        order = (x86.RDI, x86.RSI, x86.RDX, x86.RCX, x86.R8, x86.R9, x86.R10, x86.R11, x86.R12, x86.R13, x86.R14, x86.R15, x86.RBP,
                 x86.RBX, x86.RAX)
        assert [g.word(sp + UC + 56 + 8 * i) for i in range(15)] == [before[register] for register in order]
        assert [g.word(sp + UC + 56 + 8 * i) for i in (21, 22, 24, 25)] == [0x4000, 0x1B, STACK, 0x23]
        assert g.word(sp + UC + 56 + 208) == 0x9000

    def test_the_way_back(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        regs = g.t.cpu.regs
        for register in range(x86.R15, x86.RDI + 1):
            regs[register] = 0x1000 + register
        regs[x86.EFLAGS] |= x86.EFLAGS_CF
        state = bytearray(g.t.cpu.read_xstate())
        state[160:176], state[512] = b"sixteen bytes xx", 2
        g.t.cpu.write_xstate(bytes(state))
        before = list(regs)
        sp = deliver(g, mask=bit(Signal.SIGTERM))
        g.t.cpu.reset_xstate()
        g.start("setcontext", sp + UC)
        ours = [r for r in range(x86.NREGS) if r not in (x86.ORIG_RAX, x86.FS, x86.GS_BASE)]
        assert [regs[r] for r in ours] == [before[r] for r in ours]
        assert g.t.sigmask == bit(Signal.SIGTERM)
        assert g.t.cpu.read_xstate()[160:176] == b"sixteen bytes xx"

    def test_the_alternate_stack(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.t.altstack = AltStack(BASE, 0, 0x8000)
        assert BASE < deliver(g) < STACK
        g.t.cpu.regs[x86.RSP] = STACK
        sp = deliver(g, ON_STACK)
        assert BASE < sp < BASE + 0x8000
        assert g.t.altstack.flags == SS_ONSTACK
        nested = deliver(g, ON_STACK)                                   # already on it: the stack goes on
        assert nested < sp - 128
        assert g.int32(nested + UC) & SETSTACK
        g.start("setcontext", nested + UC)
        assert g.t.altstack.flags == SS_ONSTACK
        g.start("setcontext", sp + UC)
        assert g.t.altstack.flags == 0

    def test_a_stack_that_is_switched_off(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.t.altstack = AltStack(0, SS_DISABLE, 0)
        assert deliver(g, ON_STACK) > STACK - 0x2000

    @pytest.mark.parametrize("sp", [0, 8, 0x1000, 0x7FFF_FFFF_FFFF, (1 << 64) - 1])
    def test_no_room_is_death(self, stage: Stage, sp: int) -> None:
        g = netbsd_guest(stage)
        g.t.cpu.regs[x86.RSP] = sp
        assert g.t.abi.send_signal(g.t, SigInfo(Signal.SIGUSR1), ACTION, 0)
        assert g.p.exit_status == Signal.SIGILL

    def test_no_trampoline_is_death(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.t.abi.send_signal(g.t, SigInfo(Signal.SIGUSR1), SigAction(HANDLER), 0)
        assert g.p.exit_status == Signal.SIGILL

    def test_a_handler_that_is_no_address(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.t.abi.send_signal(g.t, SigInfo(Signal.SIGUSR1), ACTION._replace(handler=1 << 63), 0)
        assert g.p.exit_status == Signal.SIGILL


class TestContext64:
    def context(self, g: NetbsdGuest) -> int:
        at = g.room(context64.SIZE)
        g.t.call_number = 307
        assert g.call("getcontext", at) == 0
        return at

    def test_what_it_says(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.t.sigmask = bit(Signal.SIGINT)
        at = self.context(g)
        assert g.int32(at) == 0x8000F
        assert g.int32(at + 16) == 2
        assert g.word(at + 56 + 8 * 14) == 307
        assert g.word(at + 56 + 8 * 23) & 0x202 == 0x202

    @pytest.mark.parametrize(("index", "value"), [
        (22, 0x33), (22, 0), (25, 0x2B), (18, 0), (17, 8), (16, 0x33), (15, 0x33), (21, 1 << 63), (21, 0x7FFF_FFFF_F000),
        (23, 0), (23, 2), (23, 0x3202), (23, 0x4202), (23, 0x20202), (23, 1 << 32 | 0x202),
    ])
    def test_what_no_program_may_have(self, stage: Stage, index: int, value: int) -> None:
        g = netbsd_guest(stage)
        at = self.context(g)
        g.p.vm.copyout(at + 56 + 8 * index, value.to_bytes(8, "little"))
        before = list(g.t.cpu.regs)
        for call in (("setcontext", at), ("_lwp_create", at, 0, g.room(8))):
            with pytest.raises(EINVAL):
                g.start(*call)
        changed = [r for r in range(x86.NREGS) if g.t.cpu.regs[r] != before[r]]
        assert set(changed) <= {x86.RDI, x86.RSI, x86.RDX}, "only the arguments"

    @pytest.mark.parametrize("value", [0x202, 0x247, 0x20_0202, 0x4_0202])
    def test_flags_it_may_have(self, stage: Stage, value: int) -> None:
        g = netbsd_guest(stage)
        at = self.context(g)
        g.p.vm.copyout(at + 56 + 8 * 23, value.to_bytes(8, "little"))
        g.start("setcontext", at)
        assert g.t.cpu.regs[x86.EFLAGS] & 0xCD5 == value & 0xCD5

    def test_parts(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        at = self.context(g)
        g.p.vm.copyout(at + 16, (1 << 29).to_bytes(8, "little"))
        g.p.vm.copyout(at, CPU.to_bytes(4, "little"))                   # registers alone
        g.start("setcontext", at)
        assert not g.t.sigmask
        g.p.vm.copyout(at, (CPU | SIGMASK).to_bytes(4, "little"))
        g.start("setcontext", at)
        assert g.t.sigmask == bit(Signal.SIGUSR1)
        g.p.vm.copyout(at, SIGMASK.to_bytes(4, "little"))
        with pytest.raises(EINVAL):
            g.start("setcontext", at)

    def test_kill_and_stop_cannot_be_held(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        at = self.context(g)
        g.p.vm.copyout(at + 16, b"\xff" * 16)
        g.start("setcontext", at)
        assert not g.t.sigmask & (bit(Signal.SIGKILL) | bit(Signal.SIGSTOP))

    def test_the_private_pointer(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.call("_lwp_setprivate", 0x7000)
        at = self.context(g)
        g.call("_lwp_setprivate", 0x8000)
        g.start("setcontext", at)
        assert (g.t.cpu.regs[x86.FS_BASE], lwp_of(g.t).private) == (0x7000, 0x7000)

    def test_addresses_that_are_none(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        for call in ("getcontext", "setcontext"):
            for at in (0, 8, BASE + (1 << 20) - 100, (1 << 64) - 8):
                with pytest.raises(EFAULT):
                    g.start(call, at)

    def test_a_new_lwp_that_cannot_be_told_of_is_none(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        at = self.context(g)
        with pytest.raises(EFAULT):
            g.start("_lwp_create", at, 0, 8)
        assert len(g.p.threads) == 1

    def test_nor_is_one_whose_state_cannot_be_read(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        at = self.context(g)
        g.p.vm.copyout(at + 56 + 216 + 464, struct.pack("<QQ", 0x72336672_6E673373, 8))
        with pytest.raises(EFAULT):
            g.start("_lwp_create", at, 0, g.room(8))
        assert len(g.p.threads) == 1


class TestFrame32:
    def test_size(self) -> None:
        assert (context32.SIZE, sigframe32.FRAME) == (776, 920)

    def test_contents(self, stage: Stage) -> None:
        g = netbsd32_guest(stage)
        regs = g.t.cpu.regs
        regs[x86.RBX], regs[x86.RSI] = 0x11, 0x22
        sp = deliver(g, mask=bit(Signal.SIGUSR2))
        assert (sp + 4) % 16 == 0
        assert struct.unpack("<IiII", g.get(sp, 16)) == (TRAMPOLINE, 30, sp + 16, sp + 144)
        assert struct.unpack("<iiiiI", g.get(sp + 16, 20)) == (30, 0, 0, 7, 8)
        uc = sp + 144
        assert g.int32(uc) == SIGMASK | CPU | FPU | TLSBASE | CLRSTACK | 0x20
        assert g.int32(uc + 8) == 1 << 30
        registers = struct.unpack("<19I", g.get(uc + 36, 76))
        assert (registers[5], registers[8], registers[14], registers[17]) == (0x22, 0x11, 0x4000, STACK)
        assert (registers[15], registers[18]) == (0x1B, 0x23)
        assert regs[x86.CS] == x86.CS_32

    def test_the_way_back(self, stage: Stage) -> None:
        g = netbsd32_guest(stage)
        regs = g.t.cpu.regs
        regs[x86.RBX], regs[x86.RAX], regs[x86.RBP] = 0x11, 0x22, 0x33
        sp = deliver(g, mask=bit(Signal.SIGUSR2))
        g.t.cpu.regs[x86.RSP] = STACK - 0x4000
        g.start("setcontext", sp + 144)
        assert [regs[r] for r in (x86.RBX, x86.RAX, x86.RBP, x86.RSP, x86.RIP)] == [0x11, 0x22, 0x33, STACK, 0x4000]
        assert g.t.sigmask == bit(Signal.SIGUSR2)

    @pytest.mark.parametrize(("index", "value"), [(15, 0x33), (18, 0x2B), (3, 8), (2, 8), (16, 0), (14, 0xFFFF_F000)])
    def test_what_no_program_may_have(self, stage: Stage, index: int, value: int) -> None:
        g = netbsd32_guest(stage)
        g.p.vm.user_top = 0xFFFF_F000
        at = g.room(context32.SIZE)
        g.call("getcontext", at)
        g.p.vm.copyout(at + 36 + 4 * index, value.to_bytes(4, "little"))
        with pytest.raises(EINVAL):
            g.start("setcontext", at)
