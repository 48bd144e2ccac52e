"""NetBSD's calls about clocks: their numbers are its own, and CPU clocks hold a process or an LWP in theirs.

Sleeping, interval timers and timer_delete are shared.  Setting a clock is refused: it is the host's.
Sources: clock_settime(2), clock_getcpuclockid2(2), timer_create(2), clock_nanosleep(2), getrusage(2), adjtime(2),
sys/kern/kern_time.c (clock_gettime1, clock_timeleft).
"""

from __future__ import annotations

import time
from typing import Annotated, Final

from ring3.abi.procrecords import Int32, Rusage, SigEvent
from ring3.abi.records import Timespec, Timeval
from ring3.abi.signals import Signal
from ring3.calls.guest import fetch, store
from ring3.calls.procarg import (
    IntOut,
    Pointer,
    RusageOut,
    TimerFlags,
    TimespecAt,
    TimespecOut,
    TimevalOut,
    UsageWho,
)
from ring3.calls.sysarg import Int, Number, Pid
from ring3.calls.syscall import syscall
from ring3.calls.time import asleep, sleep_until
from ring3.calls.timer import new_timer
from ring3.calls.wait import usage_record
from ring3.errors import EINTR, EINVAL, EPERM, ESRCH
from ring3.proc import clocks
from ring3.proc.cputime import process_ns, thread_ns, usage_now
from ring3.proc.jails import may_know
from ring3.proc.lwp import find_lwp
from ring3.proc.proc import Proc, Thread
from ring3.waiting import Interrupted

CLOCK_REALTIME, CLOCK_VIRTUAL, CLOCK_PROF, CLOCK_MONOTONIC = range(4)
CLOCK_PROCESS_CPUTIME: Final = 0x4000_0000
CLOCK_THREAD_CPUTIME: Final = 0x2000_0000
_CPU_MASK: Final = CLOCK_PROCESS_CPUTIME | CLOCK_THREAD_CPUTIME
_ABSTIME: Final = 1
_REAL: Final = {CLOCK_REALTIME: clocks.REALTIME, CLOCK_MONOTONIC: clocks.MONOTONIC}
_P_PID, _P_LWPID = 1, 2
_RESOLUTION: Final = {CLOCK_REALTIME: 1, CLOCK_MONOTONIC: 1, CLOCK_VIRTUAL: 10_000_000, CLOCK_PROF: 10_000_000}

BsdClock = Annotated[int, Number({
    CLOCK_REALTIME: "CLOCK_REALTIME", CLOCK_VIRTUAL: "CLOCK_VIRTUAL", CLOCK_PROF: "CLOCK_PROF", CLOCK_MONOTONIC: "CLOCK_MONOTONIC",
    CLOCK_PROCESS_CPUTIME: "CLOCK_PROCESS_CPUTIME_ID", CLOCK_THREAD_CPUTIME: "CLOCK_THREAD_CPUTIME_ID",
})]


def _cpu_subject(t: Thread, clock: int) -> Proc | Thread | None:
    """Whose CPU time a clock counts; None for a clock of another kind.  Raises EINVAL, ESRCH."""
    word = clock & 0xFFFF_FFFF
    if clock in (CLOCK_VIRTUAL, CLOCK_PROF):
        return t.proc
    number = word & ~_CPU_MASK
    if word & _CPU_MASK == CLOCK_PROCESS_CPUTIME:
        p = t.proc if not number else t.system.procs.get(number)
        if p is None or not p.threads or not may_know(t.proc, p):
            raise ESRCH
        return p
    if word & _CPU_MASK == CLOCK_THREAD_CPUTIME:
        thread = t if not number else find_lwp(t.proc, number)
        if thread is None:
            raise ESRCH
        return thread
    return None


def now(t: Thread, clock: int) -> int:
    """What a clock shows, ns.  Raises EINVAL for none, ESRCH."""
    real = _REAL.get(clock)
    if real is not None:
        return time.clock_gettime_ns(real)
    subject = _cpu_subject(t, clock)
    if subject is None:
        raise EINVAL
    return process_ns(subject) if isinstance(subject, Proc) else thread_ns(subject)


def resolution(t: Thread, clock: int) -> int:
    """How fine a clock is, ns.  Raises EINVAL, ESRCH."""
    ns = _RESOLUTION.get(clock)
    if ns is None:
        if _cpu_subject(t, clock) is None:
            raise EINVAL
        ns = 1
    return ns


@syscall(pledge="stdio")
def sys___clock_gettime50(t: Thread, clock: BsdClock, tp: TimespecOut) -> int:
    """What a clock shows.  EINVAL, EFAULT."""
    store(t, Timespec, tp, now(t, clock))
    return 0


@syscall(pledge="stdio")
def sys___clock_getres50(t: Thread, clock: BsdClock, tp: TimespecOut) -> int:
    """How fine a clock is."""
    ns = resolution(t, clock)
    if tp:
        store(t, Timespec, tp, ns)
    return 0


@syscall(pledge="settime")
def sys___clock_settime50(t: Thread, clock: BsdClock, tp: TimespecAt) -> int:
    """Refused: the clock is the host's.  EINVAL for one that nobody may set."""
    fetch(t, Timespec, tp)
    if clock != CLOCK_REALTIME:
        raise EINVAL
    raise EPERM


@syscall(pledge="stdio")
def sys_clock_getcpuclockid2(t: Thread, idtype: Int, number: Pid, clock: IntOut) -> int:
    """The number of a CPU clock.  EINVAL, ESRCH."""
    if idtype == _P_PID:
        word = CLOCK_PROCESS_CPUTIME | (number or t.proc.pid)
    elif idtype == _P_LWPID:
        word = CLOCK_THREAD_CPUTIME | number
    else:
        raise EINVAL
    _cpu_subject(t, word)
    store(t, Int32, clock, word)
    return 0


@syscall(pledge="stdio")
def sys___gettimeofday50(t: Thread, tp: TimevalOut, tzp: Pointer) -> int:
    """The time of day; the time zone is always UTC's."""
    if tp:
        store(t, Timeval, tp, time.time_ns())
    if tzp:
        t.proc.vm.copyout(tzp, bytes(8))
    return 0


@syscall(pledge="settime")
def sys___settimeofday50(t: Thread, tv: Pointer, tzp: Pointer) -> int:
    """Refused: the clock is the host's."""
    del tzp
    if tv:
        fetch(t, Timeval, tv)
    raise EPERM


@syscall(pledge="settime")
def sys___adjtime50(t: Thread, delta: Pointer, olddelta: Pointer) -> int:
    """What is left to adjust: nothing.  Adjusting is refused."""
    if delta:
        raise EPERM
    if olddelta:
        store(t, Timeval, olddelta, 0)
    return 0


@syscall(pledge="stdio")
def sys___getrusage50(t: Thread, who: UsageWho, usage: RusageOut) -> int:
    """What the process, or the children it waited for, have used.  EINVAL."""
    if who not in (0, -1):
        raise EINVAL
    store(t, Rusage, usage, usage_record(t.proc.child_usage if who else usage_now(t.proc)))
    return 0


# --- sleeping
@syscall(pledge="stdio")
async def sys_clock_nanosleep(t: Thread, clock: BsdClock, flags: TimerFlags, rqtp: TimespecAt, rmtp: TimespecOut) -> int:
    """Sleep so long, or until a moment.  The error is the result: EINVAL, EINTR, EFAULT."""
    ns: int = fetch(t, Timespec, rqtp)
    real = _REAL.get(clock)
    if real is None or flags & ~_ABSTIME:
        raise EINVAL
    if not flags & _ABSTIME:
        return await sleep_until(t, t.system.now_ns() + ns, rmtp, Timespec)
    try:
        await asleep(t, clocks.monotonic_deadline(real, ns))
    except Interrupted:
        raise EINTR from None
    return 0


# --- timers
@syscall(pledge="stdio")
def sys_timer_create(t: Thread, clock: BsdClock, event: Pointer, timerid: IntOut) -> int:
    """Make a timer of a real clock or of the process's CPU time.  EINVAL, EAGAIN, EFAULT."""
    kind = {**_REAL, CLOCK_VIRTUAL: clocks.PROCESS_CPUTIME, CLOCK_PROF: clocks.PROCESS_CPUTIME}.get(clock)
    if kind is None:
        raise EINVAL
    wanted: SigEvent | None = fetch(t, SigEvent, event) if event else None
    signo = {CLOCK_VIRTUAL: Signal.SIGVTALRM, CLOCK_PROF: Signal.SIGPROF}.get(clock, Signal.SIGALRM)
    return new_timer(t, kind, wanted, timerid, signo)
