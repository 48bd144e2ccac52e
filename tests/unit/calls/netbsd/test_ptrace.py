"""ptrace(2): who may do what to whom, and when.  What a traced program does is in tests/guest/netbsd/execs.c."""

from __future__ import annotations

import pytest

from ring3.abi.flags import CloneFlags
from ring3.abi.signals import Signal
from ring3.errors import EAGAIN, EBUSY, EFAULT, EINVAL, EPERM, ESRCH
from ring3.proc.lifecycle import exit_process, fork_process
from ring3.proc.signals import stop_process
from tests.rows import row
from tests.unit.calls.netbsd.netguest import NetbsdGuest, another_lwp, netbsd_guest
from tests.unit.calls.stage import Stage, stage

__all__ = ["stage"]
TRACE_ME, READ, WRITE, CONTINUE, KILL, DETACH = 0, 2, 5, 7, 8, 10


@pytest.fixture
def tracer(stage: Stage) -> NetbsdGuest:
    return netbsd_guest(stage)


@pytest.fixture
def child(tracer: NetbsdGuest, stage: Stage) -> NetbsdGuest:
    """A child that is traced, and stopped."""
    made = a_child(tracer, stage)
    assert made.call("ptrace", TRACE_ME, 0, 0, 0) == 0
    stop_process(made.p, Signal.SIGUSR1)
    return made


def a_child(tracer: NetbsdGuest, stage: Stage) -> NetbsdGuest:
    stage.next(lambda _g: ())
    return NetbsdGuest(fork_process(tracer.t, CloneFlags(0), 17))


@row("netbsd", "sys_execve, P_INEXEC", "ptrace of a process that is inside an exec is refused with EAGAIN, whatever is asked")
@pytest.mark.parametrize("request_", [READ, WRITE, CONTINUE, KILL, DETACH])
def test_inside_an_exec(tracer: NetbsdGuest, child: NetbsdGuest, request_: int) -> None:
    child.p.in_exec = True
    with pytest.raises(EAGAIN):
        tracer.call("ptrace", request_, child.p.pid, 1, 0)
    child.p.in_exec = False
    assert child.p.tracing.tracer is tracer.p


def test_every_thread_is_traced(tracer: NetbsdGuest, stage: Stage) -> None:
    made = a_child(tracer, stage)
    stage.next(lambda _g: ())
    second = another_lwp(made)
    made.call("ptrace", TRACE_ME, 0, 0, 0)
    stage.next(lambda _g: ())
    third = another_lwp(made)
    assert [g.t.trace is made.p.tracing for g in (made, second, third)] == [True] * 3


def test_one_that_runs_is_let_be(tracer: NetbsdGuest, stage: Stage) -> None:
    made = a_child(tracer, stage)
    with pytest.raises(EPERM):
        tracer.call("ptrace", READ, made.p.pid, 0, 0)           # not traced
    made.call("ptrace", TRACE_ME, 0, 0, 0)
    with pytest.raises(EBUSY):
        tracer.call("ptrace", READ, made.p.pid, 0, 0)           # not stopped
    with pytest.raises(EBUSY):
        made.call("ptrace", TRACE_ME, 0, 0, 0)


def test_another_has_no_say(child: NetbsdGuest, stage: Stage) -> None:
    other = netbsd_guest(stage)
    with pytest.raises(EBUSY):
        other.call("ptrace", CONTINUE, child.p.pid, 1, 0)
    assert child.p.stopped_by
    with pytest.raises(EPERM):
        other.call("ptrace", TRACE_ME, 0, 0, 0)                 # its parent is nobody who traces


@pytest.mark.parametrize(("args", "refusal"), [
    ((CONTINUE, 5, 0), EINVAL), ((CONTINUE, 1, 64), EINVAL), ((CONTINUE, 1, -1), EINVAL), ((99, 1, 0), EINVAL),
    ((READ, 8, 0), EFAULT), ((WRITE, 8, 0), EFAULT), ((9, 0, 0), EINVAL),
])
def test_refusals(tracer: NetbsdGuest, child: NetbsdGuest, args: tuple[int, int, int], refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        tracer.call("ptrace", args[0], child.p.pid, *args[1:])
    assert child.p.stopped_by


def test_whom_nobody_knows(tracer: NetbsdGuest, child: NetbsdGuest) -> None:
    exit_process(child.p, 0)
    for pid in (child.p.pid, 4711):
        with pytest.raises(ESRCH):
            tracer.call("ptrace", CONTINUE, pid, 1, 0)


def test_the_tracers_end_is_the_ends_of_whom_it_traces(tracer: NetbsdGuest, child: NetbsdGuest) -> None:
    exit_process(tracer.p, 0)
    assert child.p.exit_status == Signal.SIGKILL
