"""SerenityOS's calls about processes, signals, threads and tracing: orders of checks, and what only a test can bring about."""

from __future__ import annotations

import struct

import pytest

from ring3.abi import x86
from ring3.abi.flags import CloneFlags, Prot
from ring3.abi.signals import SIG_IGN, SIGINFO, SigAction, Signal, bit
from ring3.errors import ECHILD, EINTR
from ring3.proc import signals
from ring3.proc.cred import Cred
from ring3.proc.jails import new_jail
from ring3.proc.lifecycle import exit_process, fork_process
from ring3.proc.proc import Proc, ThreadState
from ring3.proc.tasks import tasks_of
from ring3.proc.tracing import attach
from ring3.vm.region import Region, SharedAnonymous
from tests.rows import row
from tests.unit.calls.serenity.guest import SerenityGuest, serenity_guest
from tests.unit.calls.stage import BASE, Stage

WAITID = "<iiQi4x"
PTRACE = "<iiQQ"
FUTEX = "<QiIQQI4x"
THREAD = "<IiIII4xQQQQQ"
NOHANG, STOPPED, EXITED, CONTINUED, NOWAIT = 1, 2, 4, 8, 0x100_0000
ALL, PID, PGID = 1, 2, 3
NOBODY = Cred(65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534)


@pytest.fixture
def other(stage: Stage) -> SerenityGuest:
    """Another process, not a child."""
    return serenity_guest(stage)


def child_of(g: SerenityGuest) -> SerenityGuest:
    t = fork_process(g.t, CloneFlags(0), Signal.SIGCHLD)
    t.state = ThreadState.SERVED
    return SerenityGuest(t)


def waited(g: SerenityGuest, kind: int, number: int, options: int) -> tuple[int, ...]:
    """What a waitid that does not sleep tells."""
    room = g.room(48)
    assert g.call("waitid", g.params(WAITID, kind, number, room, options)) == 0
    signo, code, _, pid, _, _, status, _, _ = struct.unpack("<iiiiI4xQiiQ", g.get(room, 48))
    return signo, code, pid, status


# --- waiting
def test_waiting_for_any_without_children_sleeps(g: SerenityGuest) -> None:
    assert not g.sleep("waitid", g.params(WAITID, ALL, 0, g.room(48), EXITED)).is_done


def test_a_signal_ends_waiting(g: SerenityGuest) -> None:
    sleeper = g.sleep("waitid", g.params(WAITID, ALL, 0, g.room(48), EXITED))
    with pytest.raises(EINTR):
        sleeper.interrupt()


def test_a_signal_that_tells_of_what_is_waited_for_does_not(g: SerenityGuest) -> None:
    child = child_of(g)
    room = g.room(48)
    sleeper = g.sleep("waitid", g.params(WAITID, PID, child.p.pid, room, EXITED))
    exit_process(child.p, 7 << 8)
    sleeper.interrupt()
    assert (sleeper.is_done, sleeper.result, g.int32(room + 12), g.int32(room + 32)) == (True, 0, child.p.pid, 7)


def test_disowning_ends_waiting(g: SerenityGuest) -> None:
    child = child_of(g)
    sleeper = g.sleep("waitid", g.params(WAITID, PID, child.p.pid, g.room(48), EXITED))
    assert g.another_thread().call("disown", child.p.pid) == 0
    with pytest.raises(ECHILD):
        sleeper.resume()
    exit_process(child.p, 0)
    assert child.p.pid not in g.t.system.procs             # nobody waits for it: it is gone


def test_a_stop_is_seen_once_and_by_the_tracer_alone(g: SerenityGuest, other: SerenityGuest) -> None:
    child = child_of(g)
    signals.stop_process(child.p, Signal.SIGSTOP)
    assert waited(g, PID, child.p.pid, STOPPED | NOWAIT) == (17, 4, child.p.pid, 19)
    assert waited(g, PID, child.p.pid, STOPPED) == (17, 4, child.p.pid, 19)
    assert waited(g, PID, child.p.pid, STOPPED | NOHANG) == (0, 0, 0, 0)
    attach(other.p, child.p)
    signals.continue_process(child.p)
    signals.stop_process(child.p, Signal.SIGTSTP)
    assert waited(g, PID, child.p.pid, STOPPED | NOHANG) == (0, 0, 0, 0)
    assert waited(other, PID, child.p.pid, STOPPED) == (17, 4, child.p.pid, 20)


def test_unknown_options_are_not_judged(g: SerenityGuest) -> None:
    assert waited(g, ALL, 0, 0x7FFF_FFF1) == (0, 0, 0, 0)


@pytest.mark.parametrize(("flags", "sent"), [(0, True), (2, False)])
def test_nocldwait_keeps_the_signal_away_and_nothing_else(g: SerenityGuest, flags: int, sent: bool) -> None:
    g.p.actions.table[Signal.SIGCHLD] = SigAction(0x4000, flags)
    g.t.sigmask = bit(Signal.SIGCHLD)
    child = child_of(g)
    exit_process(child.p, 3 << 8)
    assert bool(g.p.pending.mask & bit(Signal.SIGCHLD)) is sent
    assert waited(g, ALL, 0, EXITED) == (17, 0, child.p.pid, 3)


def test_ignoring_sigchld_does_not_reap(g: SerenityGuest) -> None:
    g.p.actions.table[Signal.SIGCHLD] = SigAction(SIG_IGN)
    child = child_of(g)
    exit_process(child.p, 3 << 8)
    assert waited(g, ALL, 0, EXITED)[2] == child.p.pid


# --- jails
def test_a_jail_hides_who_is_not_in_it(g: SerenityGuest, other: SerenityGuest) -> None:
    child = child_of(g)
    g.p.jail = new_jail(g.t.system, b"jail")
    for call in ("getpgid", "getsid", "disown"):
        assert g.refusal(call, other.p.pid) == "ESRCH"
    assert g.refusal("kill", other.p.pid, 0) == "ESRCH"
    assert g.refusal("setpgid", child.p.pid, 0) == "ESRCH"
    assert g.refusal("waitid", g.params(WAITID, PID, child.p.pid, g.room(48), EXITED)) == "ECHILD"
    child.p.jail = g.p.jail
    assert g.call("setpgid", child.p.pid, 0) == 0


# --- sending
@pytest.mark.parametrize(
    ("mine", "theirs", "result"),
    [
        ((0, 0), (1, 1), ""), ((5, 5), (5, 6), ""), ((5, 6), (6, 6), ""), ((5, 6), (5, 7), ""), ((5, 6), (7, 5), "EPERM"),
        ((5, 0), (7, 7), ""), ((0, 5), (7, 7), "EPERM"),
    ],
)
def test_who_may_send(g: SerenityGuest, other: SerenityGuest, mine: tuple[int, int], theirs: tuple[int, int], result: str) -> None:
    """(real, effective): root, or one of mine is the target's real id."""
    g.p.cred = Cred(mine[0], mine[1], mine[1], mine[1], 0, 0, 0, 0)
    other.p.cred = Cred(theirs[0], theirs[1], theirs[1], theirs[1], 0, 0, 0, 0)
    if result:
        assert g.refusal("kill", other.p.pid, 0) == result
        assert g.refusal("kill", other.p.pid, Signal.SIGCONT) == result
    else:
        assert g.call("kill", other.p.pid, 0) == 0


def test_a_signal_for_a_process_is_its_first_threads(g: SerenityGuest, other: SerenityGuest) -> None:
    second = other.another_thread()
    other.t.sigmask = bit(Signal.SIGUSR1)
    g.call("kill", other.p.pid, Signal.SIGUSR1)
    assert (other.t.pending.mask, second.t.pending.mask, other.p.pending.mask) == (bit(Signal.SIGUSR1), 0, 0)


def test_a_process_that_ended_can_be_asked_about(g: SerenityGuest) -> None:
    child = child_of(g)
    exit_process(child.p, 0)
    assert g.call("kill", child.p.pid, 0) == 0
    assert g.refusal("kill", child.p.pid, Signal.SIGTERM) == "ESRCH"


def test_borrowed_numbers_are_pending_once(g: SerenityGuest) -> None:
    g.p.actions.table[SIGINFO] = SigAction(0x4000)
    g.t.sigmask = bit(SIGINFO)
    for _ in range(3):
        g.call("kill", g.p.pid, 30)
    assert len(g.t.pending) == 1


def test_a_group_is_sent_to_as_far_as_one_may(g: SerenityGuest, other: SerenityGuest) -> None:
    g.p.cred = NOBODY
    other.p.pgrp = 77
    assert g.refusal("killpg", 77, Signal.SIGTERM) == "EPERM"
    child = child_of(g)
    child.p.pgrp = 77
    assert g.call("killpg", 77, Signal.SIGTERM) == 0
    assert (child.p.zombie, other.p.zombie) == (True, False)


# --- threads
def make_stack(g: SerenityGuest) -> int:
    return g.t.cpu.regs[x86.RSP] & -4096


def test_a_name_without_end_is_bounded(g: SerenityGuest) -> None:
    assert g.refusal("set_thread_name", g.t.tid, BASE, 1 << 40) == "ENOMEM"
    assert g.refusal("set_process_name", BASE, 1 << 40) == "ENAMETOOLONG"


def test_threads_that_cannot_be_made(g: SerenityGuest, monkeypatch: pytest.MonkeyPatch) -> None:
    params = g.params(THREAD, 0, 30, 0, 0, 64, make_stack(g), 0, 0, 0, 0)

    def refuse(*_facts: object) -> None:
        raise OSError(11, "no more")

    monkeypatch.setattr(g.t.system.machine, "new_thread", refuse)
    assert g.refusal("create_thread", 0x4000, params) == "EAGAIN"
    assert len(g.p.threads) == 1


def test_a_thread_is_joined_by_one_alone(g: SerenityGuest) -> None:
    tid = g.call("create_thread", BASE - 0x1000, g.params(THREAD, 0, 30, 0, 0, 64, make_stack(g), 0, 0, 0, 0))
    sleeper = g.sleep("join_thread", tid, 0)
    assert sleeper.sleep is not None
    assert sleeper.sleep.killable
    assert g.another_thread().refusal("join_thread", tid, 0) == "EINVAL"
    assert g.another_thread().refusal("detach_thread", tid) == "EINVAL"
    SerenityGuest(g.p.threads[tid]).call("exit_thread", 5, 0, 0)
    sleeper.resume()
    assert sleeper.result == 0
    assert not tasks_of(g.p).gone


# --- futexes
def test_a_futex_wait_ended_by_a_signal_is_a_result(g: SerenityGuest) -> None:
    word = g.words(0)
    sleeper = g.sleep("futex", g.params(FUTEX, word, 1, 0, 0, 0, 0))
    assert sleeper.interrupt() == 0
    assert not g.t.system.futexes.lines


def test_the_order_of_a_futex_calls_checks(g: SerenityGuest) -> None:
    """What a count of nobody makes superfluous is not looked at, and a count of those to move is read as a time."""
    word, odd = g.words(0), BASE + 2
    wake, requeue, cmp_requeue, wake_op, wait_bitset, wake_bitset = 2, 3, 4, 5, 9, 10
    assert g.call("futex", g.params(FUTEX, odd, wake, 0, 0, 0, 0)) == 0
    assert g.call("futex", g.params(FUTEX, 8, wake_bitset, 0, 0, 0, 1)) == 0
    for fields, refusal in (
        ((odd, wake, 1, 0, 0, 0), "EINVAL"), ((1 << 40, wake, 1, 0, 0, 0), "EFAULT"),
        ((1 << 40, wake_bitset, 1, 0, 0, 0), "EINVAL"), ((1 << 40, wait_bitset, 0, 0, 0, 0), "EINVAL"),
        ((word, requeue, 1, 7, word, 0), "EFAULT"), ((word, cmp_requeue, 1, 7, word, 5), "EFAULT"),
        ((word, cmp_requeue, 1, g.words(0, 0), word, 5), "EAGAIN"),
        ((word, wake_op, 0, 0, word, 8 << 28), "EINVAL"), ((word, wake_op, 0, 0, odd, 0), "EINVAL"),
    ):
        assert g.refusal("futex", g.params(FUTEX, *fields)) == refusal, fields
    assert g.call("futex", g.params(FUTEX, word, requeue, 1, 0, odd, 0)) == 0, "nobody waits: the second word is not looked at"
    sleeper = g.sleep("futex", g.params(FUTEX, word, 1, 0, 0, 0, 0))
    assert g.refusal("futex", g.params(FUTEX, word, requeue, 0, 0, odd, 0)) == "EINVAL"
    assert g.call("futex", g.params(FUTEX, word, requeue | 0x200, 1, 0, word + 8, 0x7FFF_FFFF)) == 1
    sleeper.resume()
    assert sleeper.result == 0


@pytest.mark.parametrize("op", [0, 6, 7, 8, 11, 99, 0x102, 0x10A, 0x400, -1])
def test_what_there_is_not_is_enosys(g: SerenityGuest, op: int) -> None:
    assert g.refusal("futex", g.params(FUTEX, g.words(0), op, 0, 0, 0, 0)) == "ENOSYS"


# --- tracing
REQUESTS = {"CONTINUE": 3, "SYSCALL": 4, "GETREGS": 5, "DETACH": 6, "PEEK": 7, "POKE": 8, "SETREGS": 9, "PEEKBUF": 12}


def ptrace(g: SerenityGuest, request: int, tid: int, addr: int = 0, data: int = 0) -> str:
    params = g.params(PTRACE, request, tid, addr, data)
    try:
        return str(g.call("ptrace", params))
    except BaseException as refusal:  # noqa: BLE001 - its name is the answer
        return type(refusal).__name__


@row("serenity", "sys$ptrace, wait_for_tracer_at_next_execve", "who is traced already asks for it in vain: EBUSY")
def test_asking_to_be_traced(g: SerenityGuest, other: SerenityGuest) -> None:
    assert ptrace(g, 1, 0) == "0"
    assert tasks_of(g.p).waits_for_tracer
    attach(other.p, g.p)
    assert ptrace(g, 1, 0) == "EBUSY"


def test_checks_come_in_order(g: SerenityGuest, other: SerenityGuest) -> None:
    victim = child_of(g)
    assert ptrace(g, 99, g.p.pid) == "EINVAL"
    assert ptrace(g, 99, 31999) == "ESRCH"
    victim.p.cred = Cred(5, 6, 6, 6, 0, 0, 0, 0)
    g.p.cred = Cred(5, 5, 5, 5, 0, 0, 0, 0)
    assert ptrace(g, 99, victim.p.pid) == "EACCES"          # its ids changed
    victim.p.cred = g.p.cred
    victim.p.dumpable = 0
    assert ptrace(g, 99, victim.p.pid) == "EACCES"
    victim.p.dumpable = 1
    assert ptrace(g, 99, victim.p.pid) == "EPERM"           # it is not traced
    found = attach(other.p, victim.p)
    assert ptrace(g, 2, victim.p.pid) == "EBUSY"
    assert ptrace(g, 99, victim.p.pid) == "EBUSY"           # not by this one
    found.tracer = g.p
    victim.t.state = ThreadState.RUNNING
    assert ptrace(g, 99, victim.p.pid) == "EBUSY"           # it runs
    victim.t.state = ThreadState.STOPPED
    assert ptrace(g, 99, victim.p.pid) == "EINVAL"
    assert ptrace(g, REQUESTS["GETREGS"], victim.p.pid, g.room(168)) == "EINVAL"        # it never stopped
    assert ptrace(g, REQUESTS["SETREGS"], victim.p.pid, g.room(168)) == "EINVAL"
    victim.p.tracing, victim.t.state = None, ThreadState.SERVED


def traced(g: SerenityGuest) -> SerenityGuest:
    victim = child_of(g)
    attach(g.p, victim.p).has_stopped = True
    victim.t.state = ThreadState.STOPPED
    return victim


def test_memory_of_others(g: SerenityGuest) -> None:
    victim = traced(g)
    pid, there, here = victim.p.pid, BASE + 0x2000, g.room(64)
    victim.p.vm.map(Region(BASE + 0x20_0000, BASE + 0x20_1000, Prot.READ))
    shared = Region(BASE + 0x20_1000, BASE + 0x20_2000, Prot.READ | Prot.WRITE, object=SharedAnonymous(), shared=True)
    victim.p.vm.map(shared)
    assert ptrace(g, REQUESTS["POKE"], pid, there, 0xFEDC_BA98_7654_3210) == "0"
    assert ptrace(g, REQUESTS["PEEK"], pid, there, here) == "0"
    assert g.word(here) == 0xFEDC_BA98_7654_3210
    assert ptrace(g, REQUESTS["POKE"], pid, BASE + 0x20_0000, 5) == "0"         # read-only all the same
    assert victim.word(BASE + 0x20_0000) == 5
    assert ptrace(g, REQUESTS["POKE"], pid, BASE + 0x20_0FFC, 5) == "EFAULT"    # no word of one region
    assert ptrace(g, REQUESTS["POKE"], pid, BASE + 0x20_1000, 5) == "EFAULT"    # stated: nobody's file
    for addr in (0, 1 << 47, (1 << 64) - 8, (1 << 64) - 1):
        assert ptrace(g, REQUESTS["PEEK"], pid, addr, here) == "EFAULT"
        assert ptrace(g, REQUESTS["POKE"], pid, addr, 1) == "EFAULT"
    assert ptrace(g, REQUESTS["PEEKBUF"], pid, there, g.words(here, 1 << 60)) == "ENOMEM"
    assert ptrace(g, REQUESTS["PEEKBUF"], pid, there, g.words(here, 0)) == "0"
    end(victim.p)


def test_registers_of_others(g: SerenityGuest) -> None:
    victim = traced(g)
    room = g.room(168)
    victim.t.cpu.regs[x86.R15] = 0x1515
    victim.t.cpu.regs[x86.CS] = 0x33
    assert ptrace(g, REQUESTS["GETREGS"], victim.p.pid, room) == "0"
    assert (g.word(room + 128), g.word(room + 144)) == (0x1515, 0)
    g.p.vm.copyout(room + 136, ((1 << 64) - 1).to_bytes(8, "little"))
    assert ptrace(g, REQUESTS["SETREGS"], victim.p.pid, room) == "0"
    assert victim.t.cpu.regs[x86.CS] == 0x33                                    # segments are not taken
    assert victim.t.cpu.regs[x86.EFLAGS] & ~0xDFF == g.t.cpu.regs[x86.EFLAGS] & ~0xDFF
    end(victim.p)


def test_breakpoints_of_the_cpu_are_not_there(g: SerenityGuest) -> None:
    victim = traced(g)
    assert ptrace(g, 10, victim.p.pid, 7, 1) == "ENOTSUP"
    assert ptrace(g, 10, victim.p.pid, 7, 0x400) == "0"
    assert ptrace(g, 10, victim.p.pid, 4, 0) == "EINVAL"
    end(victim.p)


def test_whom_a_process_traces_ends_with_it(g: SerenityGuest, other: SerenityGuest) -> None:
    victim = child_of(g)
    attach(other.p, victim.p)
    exit_process(other.p, 0)
    assert (victim.p.exit_status, victim.p.tracing) == (Signal.SIGKILL, None)


def test_sigkill_ends_a_traced_process(g: SerenityGuest) -> None:
    """Stated: in the original it stops for its tracer as for any other signal."""
    victim = traced(g)
    signals.send_to_process(victim.p, signals.user_signal(g.t, Signal.SIGTERM))
    assert not victim.p.zombie
    signals.send_to_process(victim.p, signals.user_signal(g.t, Signal.SIGKILL))
    assert victim.p.exit_status == Signal.SIGKILL


def end(p: Proc) -> None:
    exit_process(p, 0)


# --- what is shown
def test_how_calls_are_shown(g: SerenityGuest) -> None:
    assert g.show("futex", g.params(FUTEX, BASE, 0x201, 7, 0, 0, 0)) == (
        f"futex({{address={BASE:#x}, op=FUTEX_WAIT|FUTEX_PRIVATE_FLAG, value=7, timeout=0, address2=NULL, value3=0}})"
    )
    assert g.show("ptrace", g.params(PTRACE, 7, 9, BASE, 0)) == f"ptrace({{request=PT_PEEK, tid=9, addr={BASE:#x}, data=0}})"
    assert "idtype=P_PID, id=9" in g.show("waitid", g.params(WAITID, PID, 9, 0, EXITED | NOHANG))
    assert "mode=Thread" in g.show("scheduler_get_parameters", g.params("<iB3xi", 0, 1, 0))
    assert [g.show("kill", 7, 30), g.show("kill_thread", 7, 32)] == ["kill(7, SIGINFO)", "kill_thread(7, SIGCANCEL)"]
    mask = g.put((1 << 29 | 1 << 31 | 2).to_bytes(4, "little"))
    assert g.show("sigprocmask", 1, mask, 0) == "sigprocmask(SIG_UNBLOCK, [INT CANCEL INFO], NULL)"
