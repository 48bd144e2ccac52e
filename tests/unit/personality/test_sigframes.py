"""Signal frames, both word sizes: what a handler finds, and what comes back from a frame a guest has been at."""

from __future__ import annotations

import struct
from collections.abc import Generator

import pytest

from ring3.abi import x86
from ring3.abi.signals import SS_AUTODISARM, AltStack, SigAction, SigInfo, Signal, bit
from ring3.abi.x86 import Arch
from ring3.machine.scripted import XSTATE_SIZE, Trap, fault
from ring3.personality.linux import sigframe32, sigframe64
from ring3.personality.linux.faults import writes_memory
from ring3.personality.linux.fsave import fsave_of, full_tags, fxsave_with, short_tags
from tests.unit.calls.stage import BASE, STACK, Guest, Stage, stage

__all__ = ["stage"]

Script = Generator[Trap, int, None]
HANDLER, RESTORER, USR1 = 0x5000, 0x6000, 10
RESTORER_FLAG, SIGINFO, ONSTACK = 0x04000000, 4, 0x08000000
ACTION = SigAction(HANDLER, RESTORER_FLAG | SIGINFO, RESTORER)
UC, CONTEXT = 8, 8 + 40
EVERYTHING = (1 << 64) - 1


def deliver(g: Guest, action: SigAction = ACTION, info: SigInfo | None = None, mask: int = 0) -> int:
    """Enter the handler; the address of the frame."""
    assert sigframe64.send_signal(g.t, info or SigInfo(USR1, 0, pid=7, uid=8), action, mask)
    return g.t.cpu.regs[x86.RSP]


def sigreturn(g: Guest) -> None:
    """As the restorer does: the return address has been popped."""
    g.t.cpu.regs[x86.RSP] += 8
    g.start("rt_sigreturn")


def died(g: Guest) -> bool:
    """Whether SIGSEGV is on its way, and nothing can hold it."""
    return bool(g.t.pending.mask & bit(Signal.SIGSEGV)) and not g.t.sigmask & bit(Signal.SIGSEGV)


class TestFrame64:
    def test_registers_of_the_handler(self, stage: Stage) -> None:
        g = stage.guest()
        regs = g.t.cpu.regs
        regs[x86.EFLAGS] = 0x202 | x86.EFLAGS_DF | x86.EFLAGS_TF
        sp = deliver(g)
        assert regs[x86.RIP] == HANDLER
        assert (regs[x86.RDI], regs[x86.RAX]) == (USR1, 0)
        assert (regs[x86.RSI], regs[x86.RDX]) == (sp + 312, sp + 8)
        assert sp % 16 == 8
        assert sp < STACK - 128
        assert regs[x86.EFLAGS] == 0x202

    def test_contents(self, stage: Stage) -> None:
        g = stage.guest()
        regs = g.t.cpu.regs
        for register in range(x86.R15, x86.RDI + 1):
            regs[register] = 0x1000 + register
        before = list(regs)
        sp = deliver(g, mask=0x1234)
        assert g.word(sp) == RESTORER
        assert [g.word(sp + UC + at) for at in (0, 8, 16)] == [7, 0, 0]
        assert g.int32(sp + UC + 24) == 2                                 # SS_DISABLE
        order = (x86.R8, x86.R9, x86.R10, x86.R11, x86.R12, x86.R13, x86.R14, x86.R15, x86.RDI, x86.RSI, x86.RBP, x86.RBX,
                 x86.RDX, x86.RAX, x86.RCX, x86.RSP, x86.RIP, x86.EFLAGS)
        assert [g.word(sp + CONTEXT + 8 * i) for i in range(18)] == [before[register] for register in order]
        assert struct.unpack("<4H", g.get(sp + CONTEXT + 144, 8)) == (0x33, 0, 0, 0x2B)
        assert g.word(sp + CONTEXT + 168) == 0x1234                     # oldmask
        assert g.word(sp + UC + 296) == 0x1234                          # uc_sigmask
        assert struct.unpack("<iiixxxxiI", g.get(sp + 312, 24)) == (USR1, 0, 0, 7, 8)

    def test_extended_state(self, stage: Stage) -> None:
        g = stage.guest()
        state = bytearray(g.t.cpu.read_xstate())
        state[160:176] = b"sixteen bytes xx"
        g.t.cpu.write_xstate(bytes(state))
        sp = deliver(g)
        fp = g.word(sp + CONTEXT + 184)
        assert fp % 64 == 0
        assert g.get(fp + 160, 16) == b"sixteen bytes xx"
        magic, extended, features, size = struct.unpack("<IIQI", g.get(fp + 464, 20))
        assert (magic, extended, features, size) == (0x46505853, XSTATE_SIZE + 4, 3, XSTATE_SIZE)
        assert g.word(fp + 512) & 3 == 3
        assert g.get(fp + XSTATE_SIZE, 4) == (0x46505845).to_bytes(4, "little")
        assert g.t.cpu.read_xstate()[160:176] == bytes(16)              # the handler starts fresh

    def test_without_a_restorer_there_is_no_frame(self, stage: Stage) -> None:
        g = stage.guest()
        assert not sigframe64.send_signal(g.t, SigInfo(USR1), ACTION._replace(flags=0), 0)

    def test_without_room_there_is_no_frame(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.cpu.regs[x86.RSP] = 0x300
        assert not sigframe64.send_signal(g.t, SigInfo(USR1), ACTION, 0)

    def test_there_and_back(self, stage: Stage) -> None:
        g = stage.guest()
        for register in range(x86.R15, x86.RDI + 1):
            g.t.cpu.regs[register] = 0x1000 + register
        g.t.cpu.regs[x86.EFLAGS] = 0x202 | x86.EFLAGS_CF
        g.t.sigmask = bit(12)
        before, state = list(g.t.cpu.regs), g.t.cpu.read_xstate()
        deliver(g, mask=bit(12))
        for register in range(x86.R15, x86.RDI + 1):
            g.t.cpu.regs[register] = 0
        g.t.sigmask = EVERYTHING
        sigreturn(g)
        assert [before[r] for r in range(x86.R15, x86.RDI + 1)] == [g.t.cpu.regs[r] for r in range(x86.R15, x86.RDI + 1)]
        for register in (x86.RIP, x86.RSP, x86.EFLAGS, x86.CS, x86.SS):
            assert g.t.cpu.regs[register] == before[register]
        assert g.t.sigmask == bit(12)
        assert g.t.cpu.read_xstate()[:160] == state[:160]
        assert not died(g)


class TestAlternateStack:
    def test_it_is_used_when_asked_for(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.altstack = AltStack(BASE, 0, 0x4000)
        assert not BASE < deliver(g) <= BASE + 0x4000
        g.t.cpu.regs[x86.RSP] = STACK
        sp = deliver(g, ACTION._replace(flags=ACTION.flags | ONSTACK))
        assert BASE < sp <= BASE + 0x4000
        assert struct.unpack("<Qi4xQ", g.get(sp + UC + 16, 24)) == (BASE, 0, 0x4000)
        inner = deliver(g, ACTION._replace(flags=ACTION.flags | ONSTACK))
        assert BASE < inner < sp                                        # nested: it goes on downwards

    def test_overflowing_it_is_refused(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.altstack = AltStack(BASE + 0x4000, 0, 800)
        assert not sigframe64.send_signal(g.t, SigInfo(USR1), ACTION._replace(flags=ACTION.flags | ONSTACK), 0)

    def test_autodisarm(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.altstack = AltStack(BASE, SS_AUTODISARM, 0x4000)
        deliver(g, ACTION._replace(flags=ACTION.flags | ONSTACK))
        assert not g.t.altstack.size
        sigreturn(g)
        assert g.t.altstack == AltStack(BASE, SS_AUTODISARM, 0x4000)


class TestHostileFrames:
    def patched(self, stage: Stage, at: int, data: bytes) -> Guest:
        g = stage.guest()
        sp = deliver(g)
        g.p.vm.copyout(sp + at, data)
        sigreturn(g)
        return g

    @pytest.mark.parametrize("selector", [0, 0x10, 0x1234, 0xFFFF])
    def test_bad_code_segments(self, stage: Stage, selector: int) -> None:
        assert died(self.patched(stage, CONTEXT + 144, selector.to_bytes(2, "little")))

    def test_bad_stack_segments(self, stage: Stage) -> None:
        assert died(self.patched(stage, CONTEXT + 150, b"\x18\0"))

    def test_an_old_frame_gets_a_good_stack_segment(self, stage: Stage) -> None:
        g = stage.guest()
        sp = deliver(g)
        g.p.vm.copyout(sp + UC, b"\3")
        g.p.vm.copyout(sp + CONTEXT + 150, b"\x18\0")
        sigreturn(g)
        assert not died(g)
        assert g.t.cpu.regs[x86.SS] == x86.SS_USER

    def test_privileged_flags_stay_out(self, stage: Stage) -> None:
        g = self.patched(stage, CONTEXT + 136, struct.pack("<Q", EVERYTHING))
        assert not died(g)
        assert g.t.cpu.regs[x86.EFLAGS] & 0x3000 == 0                   # IOPL
        assert not g.t.cpu.regs[x86.EFLAGS] & x86.EFLAGS_NT
        assert g.t.cpu.regs[x86.EFLAGS] & x86.EFLAGS_IF
        assert g.t.cpu.regs[x86.EFLAGS] & x86.EFLAGS_DF

    def test_kill_and_stop_cannot_be_blocked(self, stage: Stage) -> None:
        g = self.patched(stage, UC + 296, struct.pack("<Q", EVERYTHING))
        assert g.t.sigmask == EVERYTHING & ~bit(9) & ~bit(19)

    def test_a_jump_to_nowhere(self, stage: Stage) -> None:
        assert died(self.patched(stage, CONTEXT + 128, struct.pack("<Q", 1 << 62)))

    def test_no_frame_at_all(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.cpu.regs[x86.RSP] = 0x40
        g.start("rt_sigreturn")
        assert died(g)

    def test_a_blocked_or_handled_segv_still_kills_or_is_taken(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.sigmask = bit(Signal.SIGSEGV)
        g.t.cpu.regs[x86.RSP] = 0x40
        g.start("rt_sigreturn")
        assert died(g)
        assert g.p.actions.table[Signal.SIGSEGV].handler == 0

    @pytest.mark.parametrize(("at", "data"), [(464, b"\0\0\0\0"), (480, struct.pack("<I", 100)), (XSTATE_SIZE, b"\0\0\0\0")])
    def test_an_extended_state_without_its_magic_is_only_the_old_part(self, stage: Stage, at: int, data: bytes) -> None:
        g = stage.guest()
        sp = deliver(g)
        fp = g.word(sp + CONTEXT + 184)
        g.p.vm.copyout(fp + at, data)
        g.p.vm.copyout(fp + 160, b"mark")
        sigreturn(g)
        assert not died(g)
        assert g.t.cpu.read_xstate()[160:164] == b"mark"

    def test_a_header_the_cpu_refuses(self, stage: Stage) -> None:
        g = stage.guest()
        sp = deliver(g)
        fp = g.word(sp + CONTEXT + 184)
        g.p.vm.copyout(fp + 530, b"\1")
        sigreturn(g)
        assert died(g)

    def test_no_extended_state_is_a_fresh_one(self, stage: Stage) -> None:
        g = stage.guest()
        state = bytearray(g.t.cpu.read_xstate())
        state[160] = 9
        g.t.cpu.write_xstate(bytes(state))
        sp = deliver(g)
        g.p.vm.copyout(sp + CONTEXT + 184, bytes(8))
        sigreturn(g)
        assert g.t.cpu.read_xstate()[160] == 0


class TestFrame32:
    @pytest.fixture
    def g(self, stage: Stage) -> Guest:
        g = stage.guest()
        g.t.cpu.arch = Arch.I386
        g.t.abi = g.p.personality.abis[Arch.I386]
        regs = g.t.cpu.regs
        regs[x86.CS] = x86.CS_32
        regs[x86.DS] = regs[x86.ES] = x86.SS_USER
        for index, register in enumerate((x86.RAX, x86.RBX, x86.RCX, x86.RDX, x86.RSI, x86.RDI, x86.RBP)):
            regs[register] = 0x1000 + index
        return g

    def test_the_first_kind(self, g: Guest) -> None:
        action = SigAction(HANDLER, RESTORER_FLAG, RESTORER)
        before = list(g.t.cpu.regs)
        g.t.sigmask = mask = bit(40) | bit(3)
        assert sigframe32.send_signal(g.t, SigInfo(USR1), action, mask)
        regs = g.t.cpu.regs
        sp = regs[x86.RSP]
        assert (sp + 4) % 16 == 0
        assert struct.unpack("<Ii", g.get(sp, 8)) == (RESTORER, USR1)
        assert (regs[x86.RAX], regs[x86.RDX], regs[x86.RCX]) == (USR1, 0, 0)
        assert g.int32(sp + 8 + 80) == 4                                   # oldmask: SIGQUIT
        assert g.int32(sp + 8 + 88 + 624) == 1 << (40 - 33)                # extramask
        assert g.get(sp + 8 + 88 + 624 + 4, 8) == b"\x58\xb8\x77\0\0\0\xcd\x80"
        for register in range(x86.R15, x86.RDI + 1):
            regs[register] = 0
        regs[x86.RSP] = sp + 8                                           # ret, pop eax
        g.t.sigmask = 0
        g.start("sigreturn", arch=Arch.I386)
        assert not died(g)
        kept = (x86.RAX, x86.RBX, x86.RCX, x86.RDX, x86.RSI, x86.RDI, x86.RBP, x86.RSP, x86.RIP, x86.CS, x86.SS, x86.DS, x86.ES)
        assert [regs[r] for r in kept] == [before[r] for r in kept]
        assert g.t.sigmask == mask

    def test_the_real_time_kind(self, g: Guest) -> None:
        before = list(g.t.cpu.regs)
        assert sigframe32.send_signal(g.t, SigInfo(USR1, -1, pid=7, uid=8, value=9), ACTION, 0)
        regs = g.t.cpu.regs
        sp = regs[x86.RSP]
        assert struct.unpack("<IiII", g.get(sp, 16)) == (RESTORER, USR1, sp + 16, sp + 144)
        assert (regs[x86.RAX], regs[x86.RDX], regs[x86.RCX]) == (USR1, sp + 16, sp + 144)
        assert struct.unpack("<iiiiII", g.get(sp + 16, 24)) == (USR1, 0, -1, 7, 8, 9)
        assert g.int32(sp + 144) == 1                                      # UC_FP_XSTATE
        fp = int.from_bytes(g.get(sp + 144 + 20 + 76, 4), "little")
        assert (fp + 112) % 64 == 0
        assert struct.unpack("<I", g.get(fp, 4))[0] == 0xFFFF037F
        regs[x86.RSP] = sp + 4
        regs[x86.RBX] = 0
        g.start("rt_sigreturn", arch=Arch.I386)
        assert not died(g)
        assert [regs[r] for r in (x86.RBX, x86.RSP, x86.RIP)] == [before[r] for r in (x86.RBX, x86.RSP, x86.RIP)]

    def test_without_restorer_and_vdso_the_code_is_in_the_frame(self, g: Guest) -> None:
        assert sigframe32.send_signal(g.t, SigInfo(USR1), SigAction(HANDLER, SIGINFO), 0)
        sp = g.t.cpu.regs[x86.RSP]
        back = int.from_bytes(g.get(sp, 4), "little")
        assert g.get(back, 7) == b"\xb8\xad\0\0\0\xcd\x80"

    def test_segments_that_mean_nothing_become_null(self, g: Guest) -> None:
        assert sigframe32.send_signal(g.t, SigInfo(USR1), SigAction(HANDLER, RESTORER_FLAG, RESTORER), 0)
        sp = g.t.cpu.regs[x86.RSP]
        g.p.vm.copyout(sp + 8, struct.pack("<I", 0x1234))                # gs
        g.t.cpu.regs[x86.RSP] = sp + 8
        g.start("sigreturn", arch=Arch.I386)
        assert not died(g)
        assert g.t.cpu.regs[x86.GS] == 0


class TestInARunningKernel:
    def test_a_fault_reaches_its_handler_with_its_facts(self, stage: Stage) -> None:
        seen: dict[str, object] = {}

        def script(g: Guest) -> Script:
            yield g("rt_sigaction", int(Signal.SIGSEGV), g.words(HANDLER, RESTORER_FLAG | SIGINFO, RESTORER, 0), 0, 8)
            yield fault(int(Signal.SIGSEGV), 1, 0x9000)
            regs = g.t.cpu.regs
            sp = regs[x86.RSP]
            seen["entry"] = (regs[x86.RIP], regs[x86.RDI])
            seen["err trapno"] = (g.word(sp + CONTEXT + 152), g.word(sp + CONTEXT + 160))
            seen["cr2"] = g.word(sp + CONTEXT + 176)
            seen["si_addr"] = g.word(sp + 312 + 16)
            yield g("exit_group", 0)

        assert stage.run(script) == [0]
        assert seen == {"entry": (HANDLER, 11), "err trapno": (4, 14), "cr2": 0x9000, "si_addr": 0x9000}

    def test_a_handler_without_a_stack_is_death_by_segv(self, stage: Stage) -> None:
        def script(g: Guest) -> Script:
            yield g("rt_sigaction", USR1, g.words(HANDLER, RESTORER_FLAG, RESTORER, 0), 0, 8)
            g.t.cpu.regs[x86.RSP] = 0x100
            yield g("kill", g.p.pid, USR1)
            raise AssertionError("went on")

        assert stage.run(script) == [11]

    def test_restart_and_interruption(self, stage: Stage) -> None:
        seen = []

        def sleeper(g: Guest) -> Script:
            yield g("rt_sigaction", USR1, g.words(HANDLER, RESTORER_FLAG, RESTORER, 0), 0, 8)
            left = g.room(16)
            seen.append((yield g("nanosleep", g.words(60, 0), left)))
            seen.append(g.t.cpu.regs[x86.RIP])
            seen.append(g.word(left))
            yield g("exit_group", 0)

        def sender(g: Guest) -> Script:
            yield g("nanosleep", g.words(0, 5_000_000), 0)
            yield g("kill", g.p.pid - 1, USR1)
            yield g("exit_group", 0)

        assert stage.run(sleeper, sender) == [0, 0]
        assert seen == [0, HANDLER, 59]             # rax of the handler's first instruction; EINTR stands in the frame


@pytest.mark.parametrize(("code", "writes"), [
    ("488900", True), ("488b00", False), ("c7000100", True), ("8038 01".replace(" ", ""), False), ("800001", True),
    ("48ff00", True), ("ff20", False), ("0f1100", True), ("0f1000", False), ("c5f81100", True), ("c5f81000", False),
    ("62f17c481100", True), ("f30f7e00", False), ("660f7f00", True), ("aa", True), ("ac", False), ("f0480fb100", True),
    ("", False), ("0f", False),
])
def test_which_instructions_write(code: str, writes: bool) -> None:
    assert writes_memory(bytes.fromhex(code), wide=True) is writes


class TestFsave:
    def test_tags(self) -> None:
        fx = bytearray(512)
        fx[4] = 0b1100_0000                      # two registers in use, the top of the stack at 6
        fx[3] = 6 << 3
        fx[32:42] = (1 << 63).to_bytes(8, "little") + b"\xff\x3f"        # 1.0 in st(0), register 6
        assert full_tags(bytes(fx)) == 0xFFFF0000 | 0b01_00_11_11_11_11_11_11
        assert short_tags(full_tags(bytes(fx))) == 0b1100_0000

    def test_there_and_back(self) -> None:
        fx = bytearray(XSTATE_SIZE)
        fx[0:5] = b"\x7f\x03\x00\x38\x80"
        fx[32:42] = b"0123456789"
        old = fsave_of(bytes(fx), 0x23, 0x2B)
        assert len(old) == 112
        assert fxsave_with(bytes(fx), old)[:160] == bytes(fx)[:160]
