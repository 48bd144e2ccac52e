"""SerenityOS's signal frames on the scripted machine: to the byte, and what comes back."""

from __future__ import annotations

import struct

import pytest

from ring3.abi import x86
from ring3.abi.signals import CLD_EXITED, CLD_KILLED, CLD_STOPPED, AltStack, SaFlags, SigAction, SigInfo, Signal, bit
from ring3.abi.stop import Fault, StopKind
from ring3.calls.trap import serve
from ring3.errors import EFAULT
from ring3.personality.serenity import sigframe
from ring3.proc.proc import ThreadState
from tests.unit.calls.serenity.guest import SerenityGuest, serenity_guest
from tests.unit.calls.stage import BASE, STACK, Stage, stage  # noqa: F401 - the fixture

FRAME = 32 + 832 + 48 + 208 + 8
HANDLER = 0x4_0000


@pytest.fixture
def g(stage: Stage) -> SerenityGuest:  # noqa: F811
    guest = serenity_guest(stage)
    guest.p.vm.sigcode = 0x7000
    return guest


def deliver(g: SerenityGuest, info: SigInfo, flags: int = 0, mask: int = 0) -> bytes:
    """The frame as it stands."""
    assert sigframe.send_signal(g.t, info, SigAction(HANDLER, flags), mask)
    return g.get(g.t.cpu.regs[x86.RSP], FRAME)


def test_the_trampoline() -> None:
    assert sigframe.TRAMPOLINE.endswith(b"\xb8" + (135).to_bytes(4, "little") + b"\xcd\x82")
    assert len(sigframe.TRAMPOLINE) < 4096


@pytest.mark.parametrize("offset", range(0, 16, 3))
def test_the_frame(g: SerenityGuest, offset: int) -> None:
    regs = g.t.cpu.regs
    top = regs[x86.RSP] = STACK - offset
    for place, register in enumerate(sigframe.REGISTERS):
        if register != x86.RSP:
            regs[register] = 0x1000 + place
    regs[x86.EFLAGS] = 0x246 | 0x400
    frame = deliver(g, SigInfo(Signal.SIGUSR1, pid=g.p.pid), mask=bit(Signal.SIGHUP))
    sp = regs[x86.RSP]
    words = struct.unpack_from("<4Q", frame)
    assert words == (HANDLER, 10, sp + 32 + 832, sp + 32 + 832 + 48)
    assert top - 128 - 15 <= sp + FRAME <= top - 128
    assert (sp + 32) % 16 == 0                      # where the handler's stack begins: it is called with 16-byte alignment
    assert 1112 == 24 + 832 + 48 + 208              # where the trampoline keeps rax
    info = struct.unpack_from("<iiiiI", frame, 32 + 832)
    assert info == (10, 0, 0, g.p.pid, 0)
    context = frame[32 + 832 + 48 :]
    assert struct.unpack_from("<QI4xQi4xQ", context) == (0, 1, top, 0, 0)
    general = struct.unpack_from("<18Q", context, 40)
    assert general[:4] == (0x1000, 0x1001, 0x1002, 0x1003)
    assert (general[4], general[17]) == (top, 0x646)
    assert (regs[x86.RIP], regs[x86.EFLAGS]) == (0x7000, 0x202)


def test_the_way_back(g: SerenityGuest) -> None:
    regs = g.t.cpu.regs
    before = list(regs)
    before[x86.EFLAGS] = regs[x86.EFLAGS] = 0x246
    deliver(g, SigInfo(Signal.SIGUSR1), mask=bit(Signal.SIGHUP))
    frame = regs[x86.RSP]
    g.p.vm.copyout(frame + FRAME - 8, (77).to_bytes(8, "little"))
    for register in sigframe.REGISTERS:
        regs[register] = 0x55
    regs[x86.RSP], regs[x86.EFLAGS] = frame + 32, 0x202
    sigframe.sys_sigreturn.run(g.t)
    before[x86.RAX] = 77
    assert [regs[register] for register in sigframe.REGISTERS] == [before[register] for register in sigframe.REGISTERS]
    assert g.t.sigmask == bit(Signal.SIGHUP)


def test_the_alternate_stack_is_used_when_asked_for(g: SerenityGuest) -> None:
    g.t.altstack = AltStack(BASE + 0x8000, 0, 0x8000)
    frame = deliver(g, SigInfo(Signal.SIGUSR1), SaFlags.ONSTACK)
    assert BASE + 0x8000 < g.t.cpu.regs[x86.RSP] < BASE + 0x1_0000
    context = frame[32 + 832 + 48 :]
    assert struct.unpack_from("<QI4xQi4xQ", context)[2:] == (BASE + 0x1_0000, 0x0800_0000, 0x8000)
    nested = g.t.cpu.regs[x86.RSP]
    deliver(g, SigInfo(Signal.SIGUSR2), SaFlags.ONSTACK)
    assert nested - 2 * FRAME < g.t.cpu.regs[x86.RSP] < nested      # it is there already: the frame goes below


@pytest.mark.parametrize(
    ("info", "code", "status"),
    [
        (SigInfo(Signal.SIGCHLD, CLD_EXITED, status=7), 0, 7),
        (SigInfo(Signal.SIGCHLD, CLD_KILLED, status=9), 1, 9),
        (SigInfo(Signal.SIGCHLD, CLD_STOPPED, status=19), 4, 0),
        (SigInfo(Signal.SIGCHLD), 5, 0),
        (SigInfo(Signal.SIGSEGV, 1, addr=0x1234), 0x4000_0042, 0),
    ],
)
def test_what_siginfo_tells(g: SerenityGuest, info: SigInfo, code: int, status: int) -> None:
    frame = deliver(g, info, SaFlags.SIGINFO)
    told = struct.unpack_from("<iiiiI4xQi", frame, 32 + 832)
    assert (told[1], told[5], told[6]) == (code, 0, status)
    assert struct.unpack_from("<ii", deliver(g, info), 32 + 832)[1] == 0


@pytest.mark.parametrize("sp", [0, 64, 1000, 1 << 63, (1 << 64) - 8, 0x123456789ABCDEF])
def test_no_room_for_a_frame_is_that_signals_death(g: SerenityGuest, sp: int) -> None:
    g.t.cpu.regs[x86.RSP] = sp
    assert sigframe.send_signal(g.t, SigInfo(Signal.SIGUSR1), SigAction(HANDLER), 0)
    assert g.p.exit_status == Signal.SIGUSR1


@pytest.mark.parametrize("sp", [0, 8, 1 << 47, (1 << 64) - 8, STACK + 0x1000 - 1000])
def test_a_frame_that_is_not_there_is_efault(g: SerenityGuest, sp: int) -> None:
    g.t.cpu.regs[x86.RSP] = sp
    before = list(g.t.cpu.regs)
    with pytest.raises(EFAULT):
        sigframe.sys_sigreturn.run(g.t)
    assert list(g.t.cpu.regs) == before


@pytest.mark.parametrize("rip", [0x123456789ABCDEF0, 1 << 47, (1 << 63) - 1])
def test_an_impossible_instruction_pointer_is_sigsegv(g: SerenityGuest, rip: int) -> None:
    deliver(g, SigInfo(Signal.SIGUSR1))
    frame = g.t.cpu.regs[x86.RSP]
    g.p.vm.copyout(frame + 32 + 832 + 48 + 40 + 64, rip.to_bytes(8, "little"))
    g.t.cpu.regs[x86.RSP] += 32
    sigframe.sys_sigreturn.run(g.t)
    assert g.t.pending.mask == bit(Signal.SIGSEGV)


def test_flags_of_a_frame_that_no_program_may_set(g: SerenityGuest) -> None:
    deliver(g, SigInfo(Signal.SIGUSR1))
    frame = g.t.cpu.regs[x86.RSP]
    g.p.vm.copyout(frame + 32 + 832 + 48 + 40 + 136, ((1 << 64) - 1).to_bytes(8, "little"))
    g.t.cpu.regs[x86.RSP] += 32
    sigframe.sys_sigreturn.run(g.t)
    assert g.t.cpu.regs[x86.EFLAGS] == 0x202 & ~0xDFF | 0xDFF


def test_int_0x82_is_a_call(g: SerenityGuest) -> None:
    regs, cpu = g.t.cpu.regs, g.t.cpu
    code = BASE - 0x1000
    g.p.vm.machine.write(code, b"\xcd\x82")
    regs[x86.RIP], regs[x86.RAX], regs[x86.RCX] = code, 53, 0x77      # getpid
    cpu.kind, cpu.fault = StopKind.FAULT, Fault(Signal.SIGSEGV, 0x80, 0)
    serve(g.t)
    assert (regs[x86.RAX], regs[x86.RIP], regs[x86.RCX]) == (g.p.pid, code + 2, 0x77)


@pytest.mark.parametrize(("code", "data"), [(1, b"\xcd\x82"), (0x80, b"\xcd\x80"), (0x80, b"\xf4\x82")])
def test_other_faults_are_not(g: SerenityGuest, code: int, data: bytes) -> None:
    g.p.vm.machine.write(BASE - 0x1000, data)
    g.t.cpu.regs[x86.RIP] = BASE - 0x1000
    g.t.cpu.kind, g.t.cpu.fault = StopKind.FAULT, Fault(Signal.SIGSEGV, code, 0)
    serve(g.t)
    assert g.t.state is ThreadState.DEAD
    assert g.p.exit_status == Signal.SIGSEGV
