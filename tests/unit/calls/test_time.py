"""Clocks, sleeping, timers."""

from __future__ import annotations

import struct
import time
from collections.abc import Generator

import pytest

from ring3.abi.signals import SI_TIMER, SIG_IGN, SigAction, Signal, bit
from ring3.errors import EFAULT, EINTR, EINVAL, EOPNOTSUPP, EPERM, Errno
from ring3.machine.scripted import Trap
from ring3.proc import signals
from ring3.proc.lifecycle import exit_process
from ring3.proc.proc import Restart
from ring3.proc.timers import delete_posix_timers, watch_cpu_limit
from tests.unit.calls.stage import Guest, Stage, stage

__all__ = ["stage"]

Script = Generator[Trap, int, None]
SECOND = 1_000_000_000
ALRM, USR1 = 14, 10


class TestReading:
    @pytest.mark.parametrize("clock", [0, 1, 4, 5, 6, 7, 11])
    def test_clocks_are_the_hosts(self, stage: Stage, clock: int) -> None:
        g = stage.guest()
        addr = g.room(16)
        before = time.clock_gettime_ns(clock)
        assert g.call("clock_gettime", clock, addr) == 0
        seconds, rest = struct.unpack("<qq", g.get(addr, 16))
        assert before <= seconds * SECOND + rest <= time.clock_gettime_ns(clock)
        assert g.call32("clock_gettime64", clock, addr) == 0

    @pytest.mark.parametrize(("clock", "ns"), [(0, 1), (1, 1), (2, 1), (3, 1), (5, 4_000_000), (6, 4_000_000), (7, 1)])
    def test_resolutions(self, stage: Stage, clock: int, ns: int) -> None:
        g = stage.guest()
        addr = g.room(16)
        g.call("clock_getres", clock, addr)
        assert struct.unpack("<qq", g.get(addr, 16)) == (0, ns)
        assert g.call("clock_getres", clock, 0) == 0

    def test_refusals(self, stage: Stage) -> None:
        g = stage.guest()
        addr = g.room(16)
        for clock in (10, 12, 99, -5 & 0xFFFFFFFF, (~9999 << 3 | 2) & 0xFFFFFFFF):
            with pytest.raises(EINVAL):
                g.call("clock_gettime", clock, addr)
        with pytest.raises(EFAULT):
            g.call("clock_gettime", 0, 0)
        for clock, refusal in ((0, EPERM), (1, EINVAL), (99, EINVAL), (2, EPERM)):
            with pytest.raises(refusal):
                g.call("clock_settime", clock, g.words(0, 0))
        with pytest.raises(EINVAL):
            g.call("clock_settime", 0, g.words(0, SECOND))

    def test_cpu_clocks(self, stage: Stage) -> None:
        g = stage.guest()
        g.p.usage.user_ns = 2 * SECOND
        g.t.past_cpu_ns = SECOND
        addr = g.room(16)
        for clock, expected in ((2, 3), (3, 1), (~g.p.pid << 3 | 2, 3), (~g.t.tid << 3 | 6, 1), (~0 << 3 | 2, 3)):
            g.call("clock_gettime", clock & 0xFFFFFFFF, addr)
            assert g.word(addr) == expected

    def test_old_ways(self, stage: Stage) -> None:
        g = stage.guest()
        addr = g.room(16)
        assert abs(g.call("time", addr) - time.time()) < 2
        assert g.call("gettimeofday", addr, g.put(b"\xff" * 8)) == 0
        assert abs(g.word(addr) - time.time()) < 2
        with pytest.raises(EPERM):
            g.call("settimeofday", addr, 0)
        assert g.call("times", 0) > 0
        assert g.call("adjtimex", g.room(208)) == 5
        with pytest.raises(EPERM):
            g.call("adjtimex", g.put(b"\1".ljust(208, b"\0")))

    def test_usage(self, stage: Stage) -> None:
        g = stage.guest()
        g.p.usage.user_ns = 2_300_000_000
        addr = g.room(144)
        g.call("getrusage", 0, addr)
        assert struct.unpack("<qq", g.get(addr, 16)) == (2, 300000)
        assert g.word(addr + 32) == g.p.vm.peak_bytes >> 10
        assert g.call("getrusage", 1, addr) == 0
        with pytest.raises(EINVAL):
            g.call("getrusage", 2, addr)
        g.call("times", addr)
        assert struct.unpack("<4q", g.get(addr, 32)) == (230, 0, 0, 0)


class TestSleeping:
    def test_until_then(self, stage: Stage) -> None:
        g = stage.guest()
        now = stage.system.now_ns()
        line = g.sleep("nanosleep", g.words(2, 5), 0)
        assert line.sleep is not None
        assert 0 <= (line.sleep.deadline_ns or 0) - now - 2_000_000_005 < SECOND
        line = g.sleep("clock_nanosleep", 1, 1, g.words(1 << 40, 7), 0)
        assert line.sleep is not None
        assert line.sleep.deadline_ns == min((1 << 40) * SECOND + 7, (1 << 63) - 1)
        assert g.call("clock_nanosleep", 1, 1, g.words(1, 0), 0) == 0

    @pytest.mark.parametrize(("clock", "refusal"), [(3, EOPNOTSUPP), (4, EOPNOTSUPP), (5, EOPNOTSUPP), (99, EINVAL), (10, EINVAL)])
    def test_clocks_nobody_sleeps_on(self, stage: Stage, clock: int, refusal: type[Errno]) -> None:
        g = stage.guest()
        with pytest.raises(refusal):
            g.call("clock_nanosleep", clock, 0, g.words(0, 1), 0)

    def test_bad_times(self, stage: Stage) -> None:
        g = stage.guest()
        for words in ((-1, 0), (0, -1), (0, SECOND)):
            with pytest.raises(EINVAL):
                g.call("nanosleep", g.words(*words), 0)
        with pytest.raises(EFAULT):
            g.call("nanosleep", 0, 0)

    def test_interrupted_it_tells_what_was_left_and_can_go_on(self, stage: Stage) -> None:
        g = stage.guest()
        left = g.room(16)
        line = g.sleep("nanosleep", g.words(5, 0), left)
        assert line.sleep is not None
        deadline = line.sleep.deadline_ns
        with pytest.raises(Restart) as how:
            line.interrupt()
        assert g.word(left) == 4
        assert how.value.resume is not None
        stage.system.resumable[g.t] = how.value.resume
        again = g.sleep("restart_syscall")
        assert again.sleep is not None
        assert again.sleep.deadline_ns == deadline
        with pytest.raises(EINTR):
            g.call("restart_syscall")

    def test_interrupted_until_a_moment(self, stage: Stage) -> None:
        g = stage.guest()
        with pytest.raises(Restart) as how:
            g.sleep("clock_nanosleep", 1, 1, g.words(1 << 40, 0), 0).interrupt()
        assert how.value.no_handler_only
        assert how.value.resume is None

    def test_a_stop_and_continue_do_not_shorten_a_sleep(self, stage: Stage) -> None:
        spent = []

        def sleeper(g: Guest) -> Script:
            begin = time.monotonic()
            assert (yield g("nanosleep", g.words(0, 60_000_000), 0)) == 219      # restart_syscall is called by the program
            assert (yield g("restart_syscall")) == 0
            spent.append(time.monotonic() - begin)
            yield g("exit_group", 0)

        def other(g: Guest) -> Script:
            yield g("nanosleep", g.words(0, 5_000_000), 0)
            yield g("kill", g.p.pid - 1, int(Signal.SIGSTOP))
            yield g("kill", g.p.pid - 1, int(Signal.SIGCONT))
            yield g("exit_group", 0)

        assert stage.run(sleeper, other) == [0, 0]
        assert spent[0] >= 0.055


class TestIntervalTimers:
    def test_alarm(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.sigmask = bit(ALRM)
        assert g.call("alarm", 10) == 0
        assert g.call("alarm", 20) == 10
        stage.skip(19 * SECOND)
        assert not g.p.pending.mask
        assert g.call("alarm", 1) == 1                   # never 0 while it runs
        stage.skip(SECOND)
        assert g.p.pending.mask == bit(ALRM)
        assert g.call("alarm", 0) == 0

    def test_intervals_and_reading(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.sigmask = bit(ALRM)
        old = g.room(32)
        g.call("setitimer", 0, g.words(3, 4, 100, 0), 0)
        g.call("getitimer", 0, old)
        assert struct.unpack("<qq", g.get(old, 16)) == (3, 4)
        assert g.word(old + 16) in (99, 100)
        g.call("setitimer", 0, g.words(0, 0, 0, 0), old)
        assert g.word(old + 16) in (99, 100)
        g.call("getitimer", 0, old)
        assert g.get(old, 32) == bytes(32)
        with pytest.raises(EINVAL):
            g.call("getitimer", 3, old)
        with pytest.raises(EINVAL):
            g.call("setitimer", 0, g.words(0, 0, 0, 1_000_000), 0)

    def test_cpu_timers_go_by_cpu_time(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.sigmask = bit(Signal.SIGVTALRM)
        g.call("setitimer", 1, g.words(0, 0, 1, 0), 0)
        stage.skip(2 * SECOND)
        assert not g.p.pending.mask
        g.p.usage.user_ns = SECOND
        stage.skip(4 * SECOND)
        assert g.p.pending.mask == bit(Signal.SIGVTALRM)

    def test_a_process_that_ends_takes_its_timers_along(self, stage: Stage) -> None:
        g = stage.guest()
        g.call("alarm", 1)
        exit_process(g.p, 0)
        stage.skip(2 * SECOND)
        assert not g.p.itimers

    def test_the_cpu_limit(self, stage: Stage) -> None:
        g = stage.guest()
        g.p.actions.table[Signal.SIGXCPU] = SigAction(SIG_IGN)
        g.t.sigmask = bit(Signal.SIGXCPU)
        g.call("setrlimit", 0, g.words(1, 2))
        g.p.usage.user_ns = SECOND
        stage.skip(3 * SECOND)
        assert g.p.pending.mask == bit(Signal.SIGXCPU)
        g.p.usage.user_ns = 2 * SECOND
        stage.skip(9 * SECOND)
        assert g.p.zombie
        assert g.p.exit_status == 9
        watch_cpu_limit(stage.guest().p)


class TestPosixTimers:
    def event(self, g: Guest, notify: int, signo: int = USR1, value: int = 77, tid: int = 0) -> int:
        return g.put(struct.pack("<Qiii", value, signo, notify, tid).ljust(64, b"\0"))

    def make(self, g: Guest, notify: int = 0, clock: int = 1, **event: int) -> int:
        number = g.room(4)
        assert g.call("timer_create", clock, self.event(g, notify, **event), number) == 0
        return g.int32(number)

    def test_refusals(self, stage: Stage) -> None:
        g = stage.guest()
        number = g.room(4)
        for args in ((99, 0, number), (1, self.event(g, 3), number), (1, self.event(g, 0, 65), number),
                     (1, self.event(g, 0, 0), number), (1, self.event(g, 4, tid=9999), number)):
            with pytest.raises(EINVAL):
                g.call("timer_create", *args)
        with pytest.raises(EOPNOTSUPP):
            g.call("timer_create", 4, 0, number)
        with pytest.raises(EFAULT):
            g.call("timer_create", 1, 0, 0x10)
        assert not g.p.posix_timers
        for name, *rest in (("timer_settime", 0, g.words(0, 0, 0, 0), 0), ("timer_gettime", number), ("timer_delete",),
                            ("timer_getoverrun",)):
            with pytest.raises(EINVAL):
                g.call(str(name), 5, *(int(arg) for arg in rest))
        with pytest.raises(EINVAL):
            g.call("timer_settime", self.make(g), 0, 0, 0)

    def test_a_signal_with_a_value(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.sigmask = bit(USR1)
        first, second = self.make(g), self.make(g, value=5)
        assert (first, second) == (0, 1)
        g.call("timer_settime", second, 1, g.words(0, 0, 0, 1), 0)           # a moment long past
        info = g.p.pending.take(~0)
        assert info is not None
        assert (info.signo, info.code, info.timer_id, info.value, info.overrun) == (USR1, SI_TIMER, second, 5, 0)
        g.call("timer_delete", first)
        assert self.make(g) == 0

    def test_missed_expiries_are_counted(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.sigmask = bit(USR1)
        timer = self.make(g)
        g.call("timer_settime", timer, 0, g.words(0, 1_000_000, 0, 1_000_000), 0)
        time.sleep(0.01)
        stage.skip(0)
        time.sleep(0.005)
        stage.skip(0)
        assert len(g.p.pending) == 1
        info = signals.take(g.t, ~0)
        assert info is not None
        assert info.overrun >= 12
        assert g.call("timer_getoverrun", timer) == info.overrun

    def test_a_tiny_interval_does_not_keep_the_kernel_busy(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.sigmask = bit(USR1)
        timer = self.make(g)
        g.call("timer_settime", timer, 0, g.words(0, 1, 0, 1), 0)
        time.sleep(0.001)
        stage.skip(0)
        assert (g.p.posix_timers[timer].setting().value) > 500_000
        stage.skip(0)

    def test_reading_and_disarming(self, stage: Stage) -> None:
        g = stage.guest()
        timer, old = self.make(g, notify=1), g.room(32)
        g.call("timer_settime", timer, 0, g.words(7, 8, 100, 0), 0)
        g.call("timer_gettime", timer, old)
        assert struct.unpack("<qq", g.get(old, 16)) == (7, 8)
        g.call("timer_settime", timer, 0, g.words(0, 0, 0, 0), old)
        assert g.word(old + 16) in (99, 100)
        g.call("timer_gettime", timer, old)
        assert g.get(old, 32) == bytes(32)

    def test_one_thread_only(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.sigmask = bit(USR1)
        timer = self.make(g, notify=4, tid=g.t.tid)
        g.call("timer_settime", timer, 1, g.words(0, 0, 0, 1), 0)
        assert g.t.pending.mask == bit(USR1)
        assert not g.p.pending.mask

    def test_they_go_at_exec(self, stage: Stage) -> None:
        g = stage.guest()
        g.call("timer_settime", self.make(g), 0, g.words(0, 0, 100, 0), 0)
        g.call("alarm", 100)
        delete_posix_timers(g.p)
        assert not g.p.posix_timers
        assert g.p.itimers


def test_how_it_prints(stage: Stage) -> None:
    g = stage.guest()
    assert g.show("nanosleep", g.words(1, 0), 0) == "nanosleep({tv_sec=1, tv_nsec=0}, NULL)"
    assert g.show("clock_gettime", 1, g.words(5, 6), result=0) == "clock_gettime(CLOCK_MONOTONIC, {tv_sec=5, tv_nsec=6})"
    assert g.show("setitimer", 0, g.words(0, 0, 1, 2), 0) == (
        "setitimer(ITIMER_REAL, {it_interval={tv_sec=0, tv_usec=0}, it_value={tv_sec=1, tv_usec=2}}, NULL)"
    )
