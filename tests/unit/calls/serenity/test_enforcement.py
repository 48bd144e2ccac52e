"""What is looked at before every call: whatever the call, whoever watches, whatever confines; and what faults become."""

from __future__ import annotations

from typing import Any

import pytest

from ring3.abi import x86
from ring3.abi.flags import Prot
from ring3.abi.signals import SEGV_MAPERR, SI_KERNEL, SIG_IGN, SigAction, Signal, bit
from ring3.abi.stop import Fault, StopKind
from ring3.calls.gate import gate
from ring3.calls.interpose import Interposer
from ring3.calls.serenity import enforcement
from ring3.calls.serenity.enforcement import BAD_STACK, NOWHERE, UNMARKED, WRITABLE, crash, fault_of, fault_signal
from ring3.calls.trap import serve, trap
from ring3.policy import promises
from ring3.policy.confinement import Confinement
from ring3.proc.proc import ThreadState
from ring3.protocols import Instrument
from ring3.vm.region import Region
from ring3.vm.traits import MMAP, STACK, SYSCALL, SpaceTraits, Traits
from tests.unit.calls.serenity.guest import NUMBERS, SerenityGuest
from tests.unit.calls.stage import BASE, ROOM, Stage
from tests.unit.calls.stage import STACK as SP

DEAD = int(Signal.SIGSEGV)


def make_call(g: SerenityGuest, number: int | str = "getpid") -> int | None:
    """A whole trap; the wait status it ended the process with, None when it lives."""
    regs = g.t.cpu.regs
    regs[x86.ORIG_RAX] = regs[x86.RAX] = NUMBERS[number] if isinstance(number, str) else number
    g.t.state = ThreadState.SERVED
    trap(g.t)
    return g.p.exit_status


def fault(g: SerenityGuest) -> str | None:
    return fault_of(g.t, g.t.cpu.regs)


def map_code(g: SerenityGuest, addr: int, prot: int, marks: int = MMAP) -> None:
    region = Region(addr, addr + 0x1000, prot)
    region.traits = Traits(marks, prot)
    g.p.vm.map(region)
    g.t.cpu.regs[x86.RIP] = addr + 2


def test_where_the_stack_pointer_may_be(g: SerenityGuest) -> None:
    regs = g.t.cpu.regs
    assert fault(g) is None
    regs[x86.RSP] = BASE + ROOM - 1
    assert fault(g) is None
    for sp in (BASE + ROOM, BASE + 64, 0, 8, g.p.vm.user_top, (1 << 64) - 8, SP - 0x8000):
        regs[x86.RSP] = sp
        assert fault(g) == BAD_STACK, hex(sp)


def test_where_a_call_may_come_from(g: SerenityGuest) -> None:
    regs = g.t.cpu.regs
    for rip in (0, 0x4000, (1 << 64) - 2):
        regs[x86.RIP] = rip
        assert fault(g) == NOWHERE
    map_code(g, 0x50_0000, 7)
    assert fault(g) == WRITABLE
    map_code(g, 0x50_0000, Prot.READ | Prot.EXEC)
    assert fault(g) is None
    g.p.vm.traits = SpaceTraits(enforces=True)
    assert fault(g) == UNMARKED
    map_code(g, 0x51_0000, Prot.READ | Prot.EXEC, MMAP | SYSCALL)
    assert fault(g) is None
    regs[x86.RIP] = BASE - 0x1000
    assert fault(g) == UNMARKED, "a region nothing is remembered of"


def test_the_address_behind_the_instruction_counts(g: SerenityGuest) -> None:
    map_code(g, 0x50_0000, Prot.READ | Prot.EXEC)
    g.t.cpu.regs[x86.RIP] = 0x50_1000
    assert fault(g) == NOWHERE


@pytest.mark.parametrize("number", ["getpid", "beep", 157, 0x7FFFFFFF, "exit", "execve", "fork", "read"])
def test_a_bad_call_is_a_crash_whatever_its_number(g: SerenityGuest, number: int | str) -> None:
    g.t.cpu.regs[x86.RSP] = BASE + 64
    before = dict(g.t.system.missing_calls)
    assert make_call(g, number) == DEAD
    assert g.t.system.missing_calls == before


def test_a_number_that_is_no_call_is_not_kept(g: SerenityGuest) -> None:
    rows = len(g.t.abi.sysent)
    assert [g.trap(number) for number in (157, 158, 4000)] == [-38] * 3
    assert len(g.t.abi.sysent) == rows
    assert g.t.system.missing_calls["number 157"] == 1


def test_it_holds_while_somebody_watches(g: SerenityGuest) -> None:
    seen: list[tuple[str, Any]] = []

    class Watcher(Instrument):
        def syscall_enter(self, thread: Any, call: Any, args: tuple[Any, ...]) -> None:
            seen.append((call.name, args))

        def policy(self, thread: Any, decision: Any) -> None:
            seen.append((decision.verdict, decision.missing))

    g.t.system.instruments.append(Watcher())
    assert make_call(g) is None
    g.t.cpu.regs[x86.RSP] = 8
    assert make_call(g) == DEAD
    assert seen[:2] == [("getpid", ()), ("getpid", ())]
    assert ("SIGSEGV", BAD_STACK) in seen


def test_a_crash_that_a_handler_takes_is_not_told(g: SerenityGuest) -> None:
    told: list[str] = []
    g.t.system.on_decision = lambda _p, decision: told.append(decision.missing)
    g.p.actions.table[Signal.SIGSEGV] = SigAction(0x40_0000)
    crash(g.t, BAD_STACK)
    assert fault_signal(g.t, Fault(Signal.SIGSEGV, 1, 8)).signo == Signal.SIGSEGV
    assert told == []
    g.t.sigmask = bit(Signal.SIGSEGV)
    crash(g.t, BAD_STACK)                       # held back: it does its default, and that is told
    assert told == [BAD_STACK]
    g.p.actions.table[Signal.SIGSEGV] = SigAction(SIG_IGN)
    g.t.sigmask = 0
    crash(g.t, NOWHERE)
    assert told == [BAD_STACK, NOWHERE]


@pytest.mark.parametrize("mode", ["kill", "eperm", "report"])
@pytest.mark.parametrize("watched", [False, True])
def test_it_holds_behind_the_gate(g: SerenityGuest, mode: str, watched: bool) -> None:
    g.p.confine(Confinement(gate, promises.parse("stdio"), mode=mode))
    if watched:
        g.t.system.instruments.append(Instrument())
    assert make_call(g) is None
    g.t.cpu.regs[x86.RSP] = 8
    assert make_call(g, "fork") == DEAD, "SIGSEGV, not the broken promise"


def test_it_holds_under_hooks(g: SerenityGuest) -> None:
    called: list[str] = []
    interposer = Interposer(g.t.system, lambda *_: None)
    interposer.add("*", lambda call: called.append(call.name))
    assert make_call(g) is None
    g.t.cpu.regs[x86.RIP] = 0x4000
    assert make_call(g) == DEAD
    assert called == ["getpid"]


def test_a_handler_is_entered_and_the_call_not_made(g: SerenityGuest) -> None:
    g.p.vm.sigcode = 0x7777_0000
    g.p.actions.table[Signal.SIGSEGV] = SigAction(0x1234, 0, 0, 0)
    g.t.cpu.regs[x86.RIP] = 0x4000
    assert make_call(g, "exit") is None
    regs = g.t.cpu.regs
    assert regs[x86.RIP] == 0x7777_0000
    frame = g.get(regs[x86.RSP], 8)
    assert int.from_bytes(frame, "little") == 0x1234


@pytest.mark.parametrize("how", ["ignored", "masked"])
def test_who_ignores_or_masks_it_dies_all_the_same(g: SerenityGuest, how: str) -> None:
    if how == "ignored":
        g.p.actions.table[Signal.SIGSEGV] = SigAction(SIG_IGN, 0, 0, 0)
    else:
        g.p.actions.table[Signal.SIGSEGV] = SigAction(0x1234, 0, 0, 0)
        g.t.sigmask = 1 << (Signal.SIGSEGV - 1)
    g.t.cpu.regs[x86.RSP] = 8
    assert make_call(g) == DEAD


@pytest.mark.parametrize(("sp", "signo", "code", "status"), [
    (SP, Signal.SIGSEGV, SEGV_MAPERR, Signal.SIGSEGV),
    (SP, Signal.SIGBUS, 2, Signal.SIGBUS),
    (8, Signal.SIGBUS, 2, Signal.SIGSEGV),
    (8, Signal.SIGSEGV, SEGV_MAPERR, Signal.SIGSEGV),
    (8, Signal.SIGFPE, 1, Signal.SIGFPE),
    (8, Signal.SIGILL, 2, Signal.SIGILL),
    (8, Signal.SIGBUS, SI_KERNEL, Signal.SIGBUS),
])
def test_a_page_fault_with_a_bad_stack_is_sigsegv(g: SerenityGuest, sp: int, signo: int, code: int, status: int) -> None:
    t = g.t
    t.cpu.regs[x86.RSP] = sp
    t.cpu.kind, t.cpu.fault = StopKind.FAULT, Fault(signo, code, 0x1234)
    serve(t)
    assert g.p.exit_status == status


def test_a_forked_child_is_enforced_and_a_mark_is_not_inherited_by_new_memory(g: SerenityGuest) -> None:
    map_code(g, 0x50_0000, Prot.READ | Prot.EXEC, MMAP | SYSCALL)
    g.p.vm.traits = SpaceTraits(enforces=True)
    child = g.p.vm.fork()
    assert child.traits is not None
    assert child.traits.enforces
    region = child.find(0x50_0000)
    assert region is not None
    assert region.traits is not None
    assert region.traits.marks == MMAP | SYSCALL
    child.release()


def test_other_systems_are_not_asked(stage: Stage) -> None:
    guest = stage.guest()
    guest.t.cpu.regs[x86.RSP] = 8
    assert guest.call("getppid") > 0
    assert not isinstance(guest.t.abi.sysent, enforcement.CheckedSysent)


def test_a_stack_stays_one_when_it_is_split(g: SerenityGuest) -> None:
    page = BASE + ROOM - 0x2000
    g.p.vm.protect(page, page + 0x1000, Prot.READ)
    g.t.cpu.regs[x86.RSP] = page + 8
    assert fault(g) is None
    region = g.p.vm.find(page)
    assert region is not None
    assert region.traits is not None
    assert region.traits.marks & STACK
