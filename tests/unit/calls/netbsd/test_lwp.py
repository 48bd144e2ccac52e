"""LWPs and parking: numbers, waiting, what a park ends with, wake-ups that come first."""

from __future__ import annotations

import pytest

from ring3.abi.signals import Signal
from ring3.errors import EAGAIN, EALREADY, EDEADLK, EFAULT, EINTR, EINVAL, ENAMETOOLONG, ENODEV, ESRCH, ETIMEDOUT
from ring3.proc import lwp
from ring3.proc.proc import ThreadState
from tests.unit.calls.netbsd.netguest import another_lwp, netbsd_guest
from tests.unit.calls.stage import Stage, stage

__all__ = ["stage"]

MONOTONIC, REALTIME, ABSTIME = 3, 0, 1


def park(ts: int = 0, unpark: int = 0, clock: int = MONOTONIC, flags: int = 0) -> tuple[int, ...]:
    """The arguments of ___lwp_park60."""
    return (clock, flags, ts, unpark, 0, 0)


class TestNumbers:
    def test_the_first_is_one(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        assert g.call("_lwp_self") == 1
        assert [another_lwp(g).call("_lwp_self") for _ in range(3)] == [2, 3, 4]

    def test_they_are_not_used_again(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        lwp.leave(another_lwp(g).t)
        assert another_lwp(g).call("_lwp_self") == 3

    def test_exec_begins_anew(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        second = another_lwp(g)
        g.p.threads.pop(g.t.tid)
        lwp.forget(g.p)
        assert second.call("_lwp_self") == 1

    def test_there_may_not_be_too_many(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        table = lwp.table_of(g.p)
        table.gone = list(range(2, 2 + lwp.MAX_LWPS))
        with pytest.raises(EAGAIN):
            lwp.enter(table, g.t)


class TestPark:
    def test_unparked(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        other = another_lwp(g)
        sleeper = other.sleep("___lwp_park60", *park())
        assert g.call("_lwp_unpark", 2, 0) == 0
        assert sleeper.resume() == 0
        assert sleeper.is_done

    def test_an_unpark_that_comes_first_counts_once(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.call("_lwp_unpark", 1, 0)
        g.call("_lwp_unpark", 1, 0)
        with pytest.raises(EALREADY):
            g.call("___lwp_park60", *park())
        g.sleep("___lwp_park60", *park())

    def test_time_is_up(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        sleeper = g.sleep("___lwp_park60", *park(g.words(0, 1000)))
        with pytest.raises(ETIMEDOUT):
            sleeper.time_out()

    def test_a_wake_up_wins_over_the_clock(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        sleeper = g.sleep("___lwp_park60", *park(g.words(0, 1000)))
        another_lwp(g).call("_lwp_unpark", 1, 0)
        assert sleeper.resume() == 0

    def test_a_moment_gone_by(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        for clock in (REALTIME, MONOTONIC):
            with pytest.raises(ETIMEDOUT):
                g.call("___lwp_park60", *park(g.words(0, 1), clock=clock, flags=ABSTIME))

    @pytest.mark.parametrize("clock", [1, 2, 4, -1])
    def test_other_clocks(self, stage: Stage, clock: int) -> None:
        g = netbsd_guest(stage)
        with pytest.raises(EINVAL):
            g.call("___lwp_park60", *park(g.words(1, 0), clock=clock))

    def test_no_time(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        with pytest.raises(EINVAL):
            g.call("___lwp_park60", *park(g.words(0, 1 << 40)))
        with pytest.raises(EFAULT):
            g.call("___lwp_park60", *park(8))

    def test_a_signal_ends_it_for_good(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        sleeper = g.sleep("___lwp_park60", *park())
        with pytest.raises(EINTR):
            sleeper.interrupt()
        assert not lwp.lwp_of(g.t).is_parked

    def test_a_signal_after_the_wake_up_does_not_undo_it(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        sleeper = g.sleep("___lwp_park60", *park())
        another_lwp(g).call("_lwp_unpark", 1, 0)
        assert sleeper.interrupt() == 0

    def test_unpark_and_park(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        other = another_lwp(g)
        waiting = other.sleep("___lwp_park60", *park())
        g.sleep("___lwp_park60", *park(unpark=2))
        assert waiting.resume() == 0

    def test_whom_nobody_knows(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        with pytest.raises(ESRCH):
            g.call("___lwp_park60", *park(unpark=9))
        with pytest.raises(ESRCH):
            g.call("_lwp_unpark", 9, 0)

    def test_as_before_netbsd_7(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        with pytest.raises(ETIMEDOUT):
            g.call("compat_60__lwp_park", g.words(1, 0), 0, 0, 0)
        another_lwp(g).call("_lwp_unpark", 1, 0)
        with pytest.raises(EALREADY):
            g.call("compat_60__lwp_park", 0, 0, 0, 0)

    def test_several_at_once(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        another_lwp(g)
        lids = g.put(b"".join(lid.to_bytes(4, "little") for lid in (1, 2, 77)))
        assert g.call("_lwp_unpark_all", lids, 3, 0) == 2
        assert g.call("_lwp_unpark_all", 0, 0, 0) == 1024
        for bad in (0, 1025, 1 << 63):
            with pytest.raises(EINVAL):
                g.call("_lwp_unpark_all", lids, bad, 0)


class TestWait:
    def test_one_that_ended(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        other = another_lwp(g)
        departed = g.words(0)
        sleeper = g.sleep("_lwp_wait", 2, departed)
        other.start("_lwp_exit")
        assert sleeper.resume() == 0
        assert g.int32(departed) == 2
        assert other.t.state is ThreadState.DEAD
        with pytest.raises(ESRCH):
            g.call("_lwp_wait", 2, departed)

    def test_refusals(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        with pytest.raises(EDEADLK):
            g.call("_lwp_wait", 1, 0)
        with pytest.raises(ESRCH):
            g.call("_lwp_wait", 0, 0)
        other = another_lwp(g)
        assert g.call("_lwp_detach", 2) == 0
        with pytest.raises(EINVAL):
            g.call("_lwp_wait", 2, 0)
        with pytest.raises(EINVAL):
            g.call("_lwp_detach", 2)
        del other

    def test_two_that_wait_for_each_other(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        other = another_lwp(g)
        g.sleep("_lwp_wait", 2, 0)
        with pytest.raises(EDEADLK):
            other.call("_lwp_wait", 1, 0)

    def test_a_pointer_that_is_none_keeps_it_waited_for(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        another_lwp(g).start("_lwp_exit")
        with pytest.raises(EFAULT):
            g.call("_lwp_wait", 0, 8)
        assert g.call("_lwp_wait", 0, 0) == 0

    def test_the_last_one_ends_the_process(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.start("_lwp_exit")
        assert g.p.exit_status == 0


class TestOthers:
    def test_kill(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        other = another_lwp(g)
        other.t.sigmask = (1 << 64) - 1
        assert g.call("_lwp_kill", 2, 30) == 0
        assert other.t.pending.mask == 1 << (Signal.SIGUSR1 - 1)
        for lid, signo, refusal in ((9, 30, ESRCH), (2, 64, EINVAL), (2, -1, EINVAL)):
            with pytest.raises(refusal):
                g.call("_lwp_kill", lid, signo)

    def test_suspending_the_only_one_that_runs(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        with pytest.raises(EDEADLK):
            g.call("_lwp_suspend", 1)
        another_lwp(g)
        assert g.call("_lwp_suspend", 2) == 0
        with pytest.raises(EDEADLK):
            g.call("_lwp_suspend", 1)
        assert g.call("_lwp_continue", 2) == 0

    def test_names(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        room = g.room(64)
        g.call("_lwp_setname", 1, g.put(b"worker\0"))
        g.call("_lwp_getname", 1, room, 64)
        assert g.get(room, 7) == b"worker\0"
        with pytest.raises(ENAMETOOLONG):
            g.call("_lwp_setname", 1, g.put(b"x" * 40 + b"\0"))
        with pytest.raises(ENAMETOOLONG):
            g.call("_lwp_getname", 1, room, 0)

    def test_control_blocks(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        where = g.words(0)
        g.call("_lwp_ctl", 1, where)
        first = g.word(where)
        g.call("_lwp_ctl", 3, where)
        assert g.word(where) == first
        another_lwp(g).call("_lwp_ctl", 1, where)
        assert g.word(where) == first + 8
        with pytest.raises(ENODEV):
            g.call("_lwp_ctl", 8, where)

    def test_private_pointer(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.call("_lwp_setprivate", 0x1234)
        assert g.call("_lwp_getprivate") == 0x1234
        g.call("_lwp_setprivate", 1 << 63)                  # no address: kept, but never a segment's base
        assert g.call("_lwp_getprivate") == 1 << 63
