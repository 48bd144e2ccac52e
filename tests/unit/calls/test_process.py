"""Ends, ids, groups and sessions."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from ring3.abi.signals import Signal
from ring3.errors import EACCES, EINVAL, EPERM, ESRCH
from ring3.machine.scripted import Trap
from tests.unit.calls.stage import Guest, Stage, exits, stage

__all__ = ["stage"]

Script = Generator[Trap, int, None]


def child_of(stage: Stage, parent: Guest) -> Guest:
    child = stage.guest()
    child.p.parent = parent.p
    child.p.session, child.p.pgrp = parent.p.session, parent.p.pgrp
    parent.p.children.append(child.p)
    return child


def test_exit_status_is_eight_bits(stage: Stage) -> None:
    assert stage.run(exits(0x1FF)) == [0xFF00]


def test_exit_of_the_leader_leaves_the_others(stage: Stage) -> None:
    def other(g: Guest) -> Script:
        yield g("sched_yield")
        assert g.p.leader.state.value == "dead"
        yield g("exit", 5)

    def leader(g: Guest) -> Script:
        stage.next(other)
        yield g("clone", 0x50F00, 0x123000, 0, 0, 0)
        yield g("exit", 3)

    assert stage.run(leader) == [0x500]              # the last one says (kernel/exit.c, synchronize_group_exit)


def test_exit_group_ends_all_threads(stage: Stage) -> None:
    def other(_g: Guest) -> Script:
        yield from ()

    def leader(g: Guest) -> Script:
        stage.next(other)
        yield g("clone", 0x50F00, 0x123000, 0, 0, 0)
        yield g("exit_group", 4)

    assert stage.run(leader) == [0x400]


def test_ids(stage: Stage) -> None:
    g = stage.guest()
    assert g.call("getpid") == g.call("gettid") == g.p.pid
    assert g.call("getppid") == 1
    assert g.call("set_tid_address", 0x1234) == g.p.pid
    assert g.t.clear_child_tid == 0x1234


class TestGroups:
    def test_a_child_can_be_moved_until_it_execs(self, stage: Stage) -> None:
        g = stage.guest()
        child = child_of(stage, g)
        assert g.call("setpgid", child.p.pid, 0) == 0
        assert child.p.pgrp == child.p.pid == g.call("getpgid", child.p.pid)
        child.p.did_exec = True
        with pytest.raises(EACCES):
            g.call("setpgid", child.p.pid, 0)

    def test_refusals(self, stage: Stage) -> None:
        g = stage.guest()
        child, stranger = child_of(stage, g), stage.guest()
        with pytest.raises(EINVAL):
            g.call("setpgid", 0, -1)
        with pytest.raises(ESRCH):
            g.call("setpgid", 9999, 0)
        with pytest.raises(ESRCH):
            g.call("setpgid", stranger.p.pid, 0)
        with pytest.raises(EPERM):                       # a leader of a session
            g.call("setpgid", 0, 0)
        with pytest.raises(EPERM):                       # a group that does not exist
            child.call("setpgid", 0, 4711)
        child.call("setsid") if child.p.pgrp != child.p.pid else None
        with pytest.raises(EPERM):                       # a child in another session
            g.call("setpgid", child.p.pid, 0)
        with pytest.raises(ESRCH):
            g.call("getpgid", 9999)

    def test_sessions(self, stage: Stage) -> None:
        g = stage.guest()
        child = child_of(stage, g)
        with pytest.raises(EPERM):
            g.call("setsid")
        assert child.call("getsid", 0) == g.p.pid
        assert child.call("setsid") == child.p.pid
        assert (child.call("getsid", 0), child.call("getpgrp")) == (child.p.pid, child.p.pid)
        assert child.p.session.tty is None
        assert g.call("getsid", child.p.pid) == child.p.pid


def test_the_death_of_a_parent_is_told(stage: Stage) -> None:
    seen = []

    def child(g: Guest) -> Script:
        yield g("prctl", 1, int(Signal.SIGUSR1))
        yield g("rt_sigprocmask", 0, g.words(1 << 9), 0, 8)
        seen.append((yield g("rt_sigtimedwait", g.words(1 << 9), 0, 0, 8)))
        seen.append((yield g("getppid")))
        yield g("exit_group", 0)

    def parent(g: Guest) -> Script:
        stage.next(child)
        yield g("fork")
        yield g("sched_yield")
        yield g("nanosleep", g.words(0, 20_000_000), 0)
        yield g("exit_group", 0)

    stage.run(parent)
    assert seen == [Signal.SIGUSR1, 1]


def test_a_subreaper_inherits(stage: Stage) -> None:
    seen = []

    def grandchild(g: Guest) -> Script:
        yield g("nanosleep", g.words(0, 20_000_000), 0)
        seen.append((yield g("getppid")))
        yield g("exit_group", 6)

    def child(g: Guest) -> Script:
        stage.next(grandchild)
        yield g("fork")
        yield g("exit_group", 0)

    def reaper(g: Guest) -> Script:
        yield g("prctl", 36, 1)
        stage.next(child)
        yield g("fork")
        status = g.room(4)
        assert (yield g("wait4", -1, status, 0, 0)) > 0
        assert (yield g("wait4", -1, status, 0, 0)) > 0
        seen.append(g.int32(status))
        seen.append(g.p.pid)
        yield g("exit_group", 0)

    stage.run(reaper)
    assert seen == [seen[2], 0x600, seen[2]]
