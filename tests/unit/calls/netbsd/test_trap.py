"""How a NetBSD call comes in and goes out: carry flag, two results, indirect calls, arguments on the stack, restarts."""

from __future__ import annotations

import pytest

from ring3.abi import x86
from ring3.abi.signals import SIG_IGN, SigAction, Signal, bit
from ring3.calls.sysarg import Int, Offset64
from ring3.calls.syscall import Bound, Pair, syscall
from ring3.errors import EFAULT, ENOSYS
from ring3.proc.proc import Restart, Thread
from ring3.waiting import Interrupted
from tests.unit.calls.netbsd.netguest import NUMBERS, netbsd32_guest, netbsd_guest
from tests.unit.calls.stage import STACK, Stage, stage

__all__ = ["stage"]


class TestResults:
    def test_a_value(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.t.cpu.regs[x86.EFLAGS] |= x86.EFLAGS_CF
        assert g.trap(NUMBERS["getppid"]) == (1, 0, False)

    def test_two_values(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        assert g.trap(NUMBERS["getpid"]) == (g.p.pid, 1, False)

    def test_a_refusal_leaves_the_second_register(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.t.cpu.regs[x86.RDX] = 77
        assert g.trap(NUMBERS["close"], 99) == (9, 0, True)             # rdx was the third argument: 0
        assert g.trap(NUMBERS["read"], 99, 0, 55) == (9, 55, True)

    def test_32_bits_split_a_long_result(self, stage: Stage) -> None:
        g = netbsd32_guest(stage)
        g.t.abi.succeed(g.t.cpu.regs, 0x1_2345_6789)
        assert (g.t.cpu.regs[x86.RAX], g.t.cpu.regs[x86.RDX]) == (0x2345_6789, 1)
        g.t.abi.succeed(g.t.cpu.regs, Pair(5, 6))
        assert (g.t.cpu.regs[x86.RAX], g.t.cpu.regs[x86.RDX]) == (5, 6)

    def test_one_register_systems_lose_the_second(self, stage: Stage) -> None:
        g = stage.guest()
        before = g.t.cpu.regs[x86.RDX]
        g.t.abi.succeed(g.t.cpu.regs, Pair(5, 6))
        assert (g.t.cpu.regs[x86.RAX], g.t.cpu.regs[x86.RDX]) == (5, before)

    def test_an_error_as_a_result(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        assert g.trap(NUMBERS["posix_spawn"], 0, 8, 0, 0, 0, 0) == (14, 0, False)
        path = g.put(b"/no/such\0")
        assert g.trap(NUMBERS["posix_spawn"], 0, path, 8, 0, 0, 0) == (14, 0, False)


class TestNumbers:
    def test_nine_bits(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        assert g.trap(NUMBERS["getpid"] | 0x4000_0200)[0] == g.p.pid

    def test_no_call_sends_a_signal(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.t.sigmask = bit(Signal.SIGSYS)
        assert g.trap(511) == (78, 0, True)
        assert g.p.pending.mask == bit(Signal.SIGSYS)

    def test_one_nobody_wrote_does_not(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        assert g.trap(NUMBERS["aio_read"])[0::2] == (78, True)
        assert not g.p.pending.mask
        assert "aio_read" in stage.system.missing_calls

    def test_an_ignored_signal_is_none(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.p.actions.table[Signal.SIGSYS] = SigAction(SIG_IGN)
        g.trap(511)
        assert not g.p.pending.mask


class TestIndirect:
    def test_arguments_move_up(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        assert g.trap(NUMBERS["syscall"], NUMBERS["getpid"]) == (g.p.pid, 1, False)
        assert g.trap(NUMBERS["__syscall"], NUMBERS["close"], 99) == (9, 0, True)
        assert g.trap(NUMBERS["syscall"], NUMBERS["getpgid"], g.p.pid)[0] == g.p.pgrp

    def test_pads_move_too(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        anon = 0x1002
        where = g.trap(NUMBERS["syscall"], NUMBERS["mmap"], 0, 4096, 3, anon, -1, 0, 0)
        assert not where[2]
        assert g.p.vm.find(where[0]) is not None

    @pytest.mark.parametrize("number", [0, 198, 511, 512, 1 << 20, (1 << 64) - 1])
    def test_what_it_does_not_lead_to(self, stage: Stage, number: int) -> None:
        g = netbsd_guest(stage)
        for name in ("syscall", "__syscall"):
            assert g.trap(NUMBERS[name], number)[0::2] == (78, True)

    def test_32_bits(self, stage: Stage) -> None:
        g = netbsd32_guest(stage)
        assert g.trap(NUMBERS["syscall"], NUMBERS["getpid"])[0] == g.p.pid
        assert g.trap(NUMBERS["__syscall"], NUMBERS["getpid"], 0)[0] == g.p.pid
        assert g.trap(NUMBERS["__syscall"], NUMBERS["close"], 0, 99)[0::2] == (9, True)

    def test_a_watcher_sees_the_real_call(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.place(NUMBERS["getpgid"], 5)
        bound = g.t.abi.sysent[0].resolve(g.t, g.t.cpu.regs)
        assert bound.show(g.t, bound.decode(g.t, g.t.cpu.regs)) == "getpgid(5)"

    def test_a_guest_cannot_fill_the_cache(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        indirect = g.t.abi.sysent[0]
        for number in range(2000):
            g.place(number)
            try:
                indirect.resolve(g.t, g.t.cpu.regs)
            except ENOSYS:
                continue
        assert len(indirect._shifted) < 512


@syscall(pledge="")
def sys_eight(
    t: Thread, a: Int, b: Int, c: Int, d: Int, e: Int, f: Int, g: Int, h: Offset64
) -> int:
    """For the tests: eight arguments, the last with 64 bits."""
    del t
    return a + b * 10 + c * 100 + d * 1000 + e * 10000 + f * 100000 + g * 1000000 + h * 10000000


class TestStackArguments:
    def test_behind_six_registers(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.place(1, 2, 3, 4, 5, 6, 7, 8)
        assert Bound(sys_eight, g.t.abi, "eight").invoke(g.t, g.t.cpu.regs) == 87654321

    def test_all_of_them(self, stage: Stage) -> None:
        g = netbsd32_guest(stage)
        g.place(1, 2, 3, 4, 5, 6, 7, 8, 0)
        assert Bound(sys_eight, g.t.abi, "eight").invoke(g.t, g.t.cpu.regs) == 87654321
        g.place(0, 0, 0, 0, 0, 0, 0, 0, 1)
        assert Bound(sys_eight, g.t.abi, "eight").invoke(g.t, g.t.cpu.regs) == 10000000 << 32

    def test_places_that_mean_nothing(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.place(1, 99, 2, 3, 4, 5, 6, 7, 99, 8)
        assert Bound(sys_eight, g.t.abi, "eight", (1, 8)).invoke(g.t, g.t.cpu.regs) == 87654321

    def test_an_unreadable_stack(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.t.cpu.regs[x86.RSP] = STACK + 0x1000 - 8
        with pytest.raises(EFAULT):
            g.t.abi.sysent[NUMBERS["mmap"]].invoke(g.t, g.t.cpu.regs)
        g.t.cpu.regs[x86.RSP] = x86.MASK64
        assert g.t.abi.sysent[NUMBERS["getpid"]].invoke(g.t, g.t.cpu.regs) == g.p.pid

    def test_six_registers_are_all_linux_has(self, stage: Stage) -> None:
        with pytest.raises(TypeError, match="eight"):
            _ = Bound(sys_eight, stage.guest().t.abi, "eight").decoders


def test_an_interrupted_call_is_made_again(stage: Stage) -> None:
    g = netbsd_guest(stage)
    regs = g.t.cpu.regs
    regs[x86.RIP], g.t.call_number = 0x4002, NUMBERS["read"]
    g.finish(Interrupted())  # type: ignore[arg-type]
    assert (regs[x86.RIP], regs[x86.RAX]) == (0x4000, NUMBERS["read"])


def test_a_sleep_goes_on_by_a_number_of_its_own(stage: Stage) -> None:
    g = netbsd_guest(stage)
    regs = g.t.cpu.regs
    regs[x86.RIP], g.t.call_number = 0x4002, NUMBERS["__nanosleep50"]

    async def more(t: Thread) -> int:
        del t
        return 0

    g.finish(Restart(resume=more))  # type: ignore[arg-type]
    assert regs[x86.RIP] == 0x4000
    assert g.t.abi.sysent[regs[x86.RAX]].name == "___restart"
