"""wait4, waitid, and what pidfds can do."""

from __future__ import annotations

import struct
from collections.abc import Generator

import pytest

from ring3.abi.flags import Poll
from ring3.abi.signals import SIG_IGN, SigAction, Signal
from ring3.errors import EAGAIN, EBADF, ECHILD, EINVAL, EPERM, ESRCH
from ring3.machine.scripted import Trap
from ring3.proc.lifecycle import exit_process
from ring3.proc.signals import continue_process, stop_process
from tests.unit.calls.stage import Guest, Stage, exits, stage

__all__ = ["stage"]

Script = Generator[Trap, int, None]
NOHANG, UNTRACED, EXITED, CONTINUED, NOWAIT, CLONE, ALL = 1, 2, 4, 8, 0x1000000, 0x80000000, 0x40000000
P_ALL, P_PID, P_PGID, P_PIDFD = range(4)


def forked(stage: Stage, g: Guest, signal: int = 17) -> Guest:
    stage.next(exits(0))
    return Guest(stage.system.threads[g.call("clone", signal, 0, 0, 0, 0)])


def info(g: Guest, addr: int) -> tuple[int, ...]:
    signo, _, code = struct.unpack("<iii", g.get(addr, 12))
    return (signo, code, *struct.unpack("<iIi", g.get(addr + 16, 12)))


class TestWait4:
    def test_refusals(self, stage: Stage) -> None:
        g = stage.guest()
        with pytest.raises(EINVAL):
            g.call("wait4", -1, 0, 0x10, 0)
        with pytest.raises(ESRCH):
            g.call("wait4", -(1 << 31), 0, 0, 0)
        with pytest.raises(ECHILD):
            g.call("wait4", -1, 0, 0, 0)
        child = forked(stage, g)
        with pytest.raises(ECHILD):
            g.call("wait4", child.p.pid + 1, 0, 0, 0)
        with pytest.raises(ECHILD):
            g.call("wait4", -4711, 0, 0, 0)

    def test_status_and_usage(self, stage: Stage) -> None:
        g = stage.guest()
        child = forked(stage, g)
        status, usage = g.room(4), g.room(144)
        assert g.call("wait4", -1, status, NOHANG, 0) == 0
        child.p.usage.user_ns = 3_500_000_000
        exit_process(child.p, 5 << 8)
        assert g.call("wait4", child.p.pid, status, 0, usage) == child.p.pid
        assert g.int32(status) == 0x500
        assert struct.unpack("<qq", g.get(usage, 16)) == (3, 500000)
        assert child.p.pid not in stage.system.procs
        g.call("getrusage", -1, usage)
        assert struct.unpack("<qq", g.get(usage, 16)) == (3, 500000)

    def test_waits_until_it_happens(self, stage: Stage) -> None:
        g = stage.guest()
        child = forked(stage, g)
        waiting = g.sleep("wait4", 0, 0, 0, 0)
        assert waiting.resume() is None
        exit_process(child.p, 9)
        assert waiting.resume() == child.p.pid

    def test_by_group(self, stage: Stage) -> None:
        g = stage.guest()
        child, other = forked(stage, g), forked(stage, g)
        child.p.pgrp = child.p.pid
        exit_process(other.p, 0)
        assert g.call("wait4", -child.p.pid, 0, NOHANG, 0) == 0
        assert g.call("wait4", 0, 0, NOHANG, 0) == other.p.pid

    def test_stops_and_continues_are_told_once(self, stage: Stage) -> None:
        g = stage.guest()
        child = forked(stage, g)
        status = g.room(4)
        stop_process(child.p, Signal.SIGTSTP)
        assert g.call("wait4", -1, status, NOHANG, 0) == 0
        assert g.call("wait4", -1, status, NOHANG | UNTRACED, 0) == child.p.pid
        assert g.int32(status) == Signal.SIGTSTP << 8 | 0x7F
        assert g.call("wait4", -1, status, NOHANG | UNTRACED, 0) == 0
        continue_process(child.p)
        assert g.call("wait4", -1, status, NOHANG | CONTINUED, 0) == child.p.pid
        assert g.int32(status) == 0xFFFF
        assert g.call("wait4", -1, status, NOHANG | CONTINUED, 0) == 0

    def test_clone_children_are_of_another_kind(self, stage: Stage) -> None:
        g = stage.guest()
        child = forked(stage, g, signal=0)
        exit_process(child.p, 0)
        with pytest.raises(ECHILD):
            g.call("wait4", -1, 0, NOHANG, 0)
        assert g.call("wait4", -1, 0, NOHANG | CLONE, 0) == child.p.pid
        child = forked(stage, g, signal=0)
        exit_process(child.p, 0)
        assert g.call("wait4", -1, 0, NOHANG | ALL, 0) == child.p.pid

    def test_children_of_who_ignores_sigchld_vanish(self, stage: Stage) -> None:
        g = stage.guest()
        g.p.actions.table[Signal.SIGCHLD] = SigAction(SIG_IGN)
        child = forked(stage, g)
        waiting = g.sleep("wait4", -1, 0, 0, 0)
        exit_process(child.p, 0)
        with pytest.raises(ECHILD):
            waiting.resume()


class TestWaitid:
    def test_refusals(self, stage: Stage) -> None:
        g = stage.guest()
        for args in ((P_ALL, 0, 0, 0), (P_ALL, 0, 0, 0x10 | EXITED), (P_PID, 0, 0, EXITED), (P_PID, -1, 0, EXITED),
                     (P_PGID, -1, 0, EXITED), (P_PIDFD, -1, 0, EXITED), (9, 1, 0, EXITED)):
            with pytest.raises(EINVAL):
                g.call("waitid", *args)
        with pytest.raises(EBADF):
            g.call("waitid", P_PIDFD, 33, 0, EXITED)

    def test_fields_and_nothing_else(self, stage: Stage) -> None:
        g = stage.guest()
        child = forked(stage, g)
        addr = g.put(b"\xff" * 128)
        assert g.call("waitid", P_PID, child.p.pid, addr, EXITED | NOHANG) == 0
        assert info(g, addr) == (0, 0, 0, 0, 0)
        exit_process(child.p, 42 << 8)
        assert g.call("waitid", P_PID, child.p.pid, addr, EXITED | NOWAIT) == 0
        assert info(g, addr) == (Signal.SIGCHLD, 1, child.p.pid, 0, 42)
        assert g.get(addr + 28, 100) == b"\xff" * 100
        assert g.call("waitid", P_ALL, 0, 0, EXITED) == 0
        with pytest.raises(ECHILD):
            g.call("waitid", P_ALL, 0, addr, EXITED)
        assert info(g, addr)[0] == 0

    def test_a_zombie_is_nothing_to_wait_for_without_exited(self, stage: Stage) -> None:
        g = stage.guest()
        child = forked(stage, g)
        exit_process(child.p, 0)
        with pytest.raises(ECHILD):
            g.call("waitid", P_ALL, 0, 0, UNTRACED)

    def test_killed_and_dumped(self, stage: Stage) -> None:
        g = stage.guest()
        addr = g.room(128)
        for status, code in ((9, 2), (11 | 0x80, 3)):
            child = forked(stage, g)
            exit_process(child.p, status)
            g.call("waitid", P_ALL, 0, addr, EXITED)
            assert info(g, addr)[1:] == (code, child.p.pid, 0, status & 0x7F)


class TestPidfd:
    def test_it_is_readable_when_the_process_has_ended(self, stage: Stage) -> None:
        g = stage.guest()
        child = forked(stage, g)
        fd = g.call("pidfd_open", child.p.pid, 0)
        file = g.p.fds.get(fd)
        assert fd in g.p.fds.cloexec
        assert file.poll() == Poll(0)
        exit_process(child.p, 3 << 8)
        assert file.poll() & Poll.IN
        assert g.call("waitid", P_PIDFD, fd, 0, EXITED) == 0
        with pytest.raises(ESRCH):
            g.call("pidfd_send_signal", fd, 0, 0, 0)
        with pytest.raises(ECHILD):
            g.call("waitid", P_PIDFD, fd, 0, EXITED)

    def test_nonblocking_wait(self, stage: Stage) -> None:
        g = stage.guest()
        child = forked(stage, g)
        fd = g.call("pidfd_open", child.p.pid, 0o4000)
        with pytest.raises(EAGAIN):
            g.call("waitid", P_PIDFD, fd, 0, EXITED)
        assert g.call("waitid", P_PIDFD, fd, 0, EXITED | NOHANG) == 0

    def test_refusals(self, stage: Stage) -> None:
        g = stage.guest()
        for args in ((0, 0), (-1, 0), (g.p.pid, 1)):
            with pytest.raises(EINVAL):
                g.call("pidfd_open", *args)
        with pytest.raises(ESRCH):
            g.call("pidfd_open", 9999, 0)
        fd = g.call("pidfd_open", g.p.pid, 0)
        with pytest.raises(EINVAL):
            g.call("pidfd_send_signal", fd, 0, 0, 1)
        with pytest.raises(EINVAL):
            g.call("pidfd_send_signal", fd, 99, 0, 0)
        with pytest.raises(EBADF):
            g.call("pidfd_send_signal", 44, 0, 0, 0)
        mismatch = g.put(struct.pack("<iii", 12, 0, -1).ljust(128, b"\0"))
        with pytest.raises(EINVAL):
            g.call("pidfd_send_signal", fd, 10, mismatch, 0)
        other = stage.guest()
        forged = g.put(struct.pack("<iii", 10, 0, 0).ljust(128, b"\0"))
        with pytest.raises(EPERM):
            g.call("pidfd_send_signal", g.call("pidfd_open", other.p.pid, 0), 10, forged, 0)

    def test_getfd(self, stage: Stage) -> None:
        g, other = stage.guest(), stage.guest()
        theirs = other.call("pidfd_open", other.p.pid, 0)
        fd = g.call("pidfd_open", other.p.pid, 0)
        got = g.call("pidfd_getfd", fd, theirs, 0)
        assert g.p.fds.get(got) is other.p.fds.get(theirs)
        assert g.call("kcmp", g.p.pid, other.p.pid, 0, got, theirs) == 0
        with pytest.raises(EBADF):
            g.call("pidfd_getfd", fd, 77, 0)


def test_how_it_prints(stage: Stage) -> None:
    g = stage.guest()
    status = g.put((0x0300).to_bytes(4, "little"))
    assert g.show("wait4", -1, status, 1, 0, result=7) == (
        "wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 3}], WNOHANG, NULL)"
    )
