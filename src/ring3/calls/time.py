"""System calls that read clocks, or sleep.

Setting a clock is refused: it is the host's.  Not here: timers (`timer.py`).
Sources: clock_gettime(2), gettimeofday(2), nanosleep(2), clock_nanosleep(2), times(2), getrusage(2), adjtimex(2).
"""

from __future__ import annotations

import time
from typing import Final

from ring3.abi.procrecords import Int32, Rusage, Timex, Timex64, Tms
from ring3.abi.records import Timespec, Timespec64, Timeval
from ring3.calls.guest import fetch, store
from ring3.calls.procarg import (
    ClockId,
    Pointer,
    RusageOut,
    TimerFlags,
    Timespec64At,
    Timespec64Out,
    TimespecAt,
    TimespecOut,
    TimevalOut,
    TimexAt,
    TmsOut,
    UsageWho,
)
from ring3.calls.syscall import syscall
from ring3.calls.wait import usage_record
from ring3.errors import EINTR, EINVAL, EOPNOTSUPP, EPERM
from ring3.proc import clocks
from ring3.proc.cputime import thread_ns, usage_now
from ring3.proc.proc import Restart, Thread
from ring3.waiting import Interrupted, sleep_on

_TICK_NS: Final = 10_000_000            # a clock tick of times(2): 100 a second
_ABSTIME: Final = 1
_SELF, _CHILDREN, _THREAD = 0, -1, 1
_TIME_ERROR: Final = 5                  # adjtimex: the clock is not synchronised
_STA_UNSYNC: Final = 0x40
_MODES_READ: Final = 0xA001             # ADJ_OFFSET_SS_READ
_TICK_US: Final = 10_000


# --- reading
@syscall(pledge="stdio")
def sys_clock_gettime(t: Thread, which_clock: ClockId, tp: TimespecOut) -> int:
    """What a clock shows."""
    store(t, Timespec, tp, clocks.now(t, which_clock))
    return 0


@syscall(pledge="stdio")
def sys_clock_gettime64(t: Thread, which_clock: ClockId, tp: Timespec64Out) -> int:
    """What a clock shows, in 64 bits."""
    store(t, Timespec64, tp, clocks.now(t, which_clock))
    return 0


@syscall(pledge="stdio")
def sys_clock_getres(t: Thread, which_clock: ClockId, tp: TimespecOut) -> int:
    """How fine a clock is."""
    ns = clocks.resolution(t, which_clock)
    if tp:
        store(t, Timespec, tp, ns)
    return 0


@syscall(pledge="stdio")
def sys_clock_getres_time64(t: Thread, which_clock: ClockId, tp: Timespec64Out) -> int:
    """How fine a clock is."""
    ns = clocks.resolution(t, which_clock)
    if tp:
        store(t, Timespec64, tp, ns)
    return 0


@syscall(pledge="settime")
def sys_clock_settime(t: Thread, which_clock: ClockId, tp: TimespecAt) -> int:
    """Refused: the clock is the host's."""
    return _refuse_setting(t, which_clock, tp, Timespec)


@syscall(pledge="settime")
def sys_clock_settime64(t: Thread, which_clock: ClockId, tp: Timespec64At) -> int:
    """Refused: the clock is the host's."""
    return _refuse_setting(t, which_clock, tp, Timespec64)


def _refuse_setting(t: Thread, clock: int, tp: int, record: type) -> int:
    if clock < 0 or clock in (clocks.PROCESS_CPUTIME, clocks.THREAD_CPUTIME):
        if clocks.cpu_clock(t, clock) is None:
            raise EINVAL
        raise EPERM
    if clock != clocks.REALTIME:
        raise EINVAL
    fetch(t, record, tp)
    raise EPERM


@syscall(pledge="stdio")
def sys_gettimeofday(t: Thread, tv: TimevalOut, tz: Pointer) -> int:
    """The time of day; the time zone is always UTC's."""
    if tv:
        store(t, Timeval, tv, time.time_ns())
    if tz:
        t.proc.vm.copyout(tz, bytes(8))
    return 0


@syscall(pledge="settime")
def sys_settimeofday(t: Thread, tv: Pointer, tz: Pointer) -> int:
    """Refused: the clock is the host's."""
    if tv:
        fetch(t, Timeval, tv)
    if tz:
        t.proc.vm.copyin(tz, 8)
    raise EPERM


@syscall(pledge="stdio")
def sys_time(t: Thread, tloc: Pointer) -> int:
    """Seconds since the epoch."""
    seconds = time.time_ns() // 1_000_000_000
    if tloc:
        size = t.system.call_abi(t).word_size
        t.proc.vm.copyout(tloc, (seconds & (1 << 8 * size) - 1).to_bytes(size, "little"))
    return seconds


@syscall(pledge="stdio")
def sys_stime(t: Thread, tptr: Pointer) -> int:
    """Refused: the clock is the host's."""
    fetch(t, Int32, tptr)
    raise EPERM


@syscall(pledge="stdio")
def sys_times(t: Thread, buf: TmsOut) -> int:
    """CPU time of the process and of children it waited for; ticks since boot."""
    if buf:
        own, children = usage_now(t.proc), t.proc.child_usage
        ticks = (own.user_ns, own.system_ns, children.user_ns, children.system_ns)
        store(t, Tms, buf, Tms(*(ns // _TICK_NS for ns in ticks)))
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // _TICK_NS


@syscall(pledge="stdio")
def sys_getrusage(t: Thread, who: UsageWho, usage: RusageOut) -> int:
    """What the process, a thread or the children waited for have used."""
    if who == _SELF:
        record = usage_record(usage_now(t.proc))
    elif who == _CHILDREN:
        record = usage_record(t.proc.child_usage)
    elif who == _THREAD:
        record = Rusage(thread_ns(t), 0, t.proc.vm.peak_bytes >> 10)
    else:
        raise EINVAL
    store(t, Rusage, usage, record)
    return 0


@syscall(pledge="stdio")
def sys_adjtimex(t: Thread, buf: TimexAt) -> int:
    """How the clock is disciplined: not at all.  Changing that is refused."""
    return _read_discipline(t, buf, Timex)


def _read_discipline(t: Thread, buf: int, record: type) -> int:
    wanted: Timex = fetch(t, record, buf)
    if wanted.modes and wanted.modes != _MODES_READ:
        raise EPERM
    store(t, record, buf, Timex(wanted.modes, _STA_UNSYNC, _TICK_US, time.time_ns()))
    return _TIME_ERROR


@syscall(pledge="stdio")
def sys_clock_adjtime(t: Thread, which_clock: ClockId, buf: TimexAt) -> int:
    """adjtimex of one clock."""
    _check_discipline(which_clock)
    return _read_discipline(t, buf, Timex)


@syscall(pledge="stdio")
def sys_clock_adjtime64(t: Thread, which_clock: ClockId, buf: Pointer) -> int:
    """adjtimex of one clock, in 64 bits."""
    _check_discipline(which_clock)
    return _read_discipline(t, buf, Timex64)


def _check_discipline(clock: int) -> None:
    if clock != clocks.REALTIME:
        raise EOPNOTSUPP if clock in clocks.SLEEPABLE else EINVAL


# --- sleeping
@syscall(pledge="stdio")
async def sys_nanosleep(t: Thread, rqtp: TimespecAt, rmtp: TimespecOut) -> int:
    """Sleep so long."""
    return await sleep_until(t, t.system.now_ns() + fetch(t, Timespec, rqtp), rmtp, Timespec)


@syscall(pledge="stdio")
async def sys_clock_nanosleep(t: Thread, which_clock: ClockId, flags: TimerFlags, rqtp: TimespecAt, rmtp: TimespecOut) -> int:
    """Sleep so long, or until a moment, on a clock."""
    return await _clock_nanosleep(t, which_clock, flags, rqtp, rmtp, Timespec)


@syscall(pledge="stdio")
async def sys_clock_nanosleep_time64(
    t: Thread, which_clock: ClockId, flags: TimerFlags, rqtp: Timespec64At, rmtp: Timespec64Out
) -> int:
    """clock_nanosleep with 64-bit times."""
    return await _clock_nanosleep(t, which_clock, flags, rqtp, rmtp, Timespec64)


async def _clock_nanosleep(t: Thread, clock: int, flags: int, rqtp: int, rmtp: int, record: type) -> int:
    on_cpu = clocks.cpu_clock(t, clock) is not None
    if not on_cpu and clock not in clocks.SLEEPABLE:
        clocks.resolution(t, clock)                # EINVAL for what is no clock at all
        raise EOPNOTSUPP
    if clock == clocks.THREAD_CPUTIME:
        raise EOPNOTSUPP
    ns: int = fetch(t, record, rqtp)
    if on_cpu:
        return await _sleep_on_cpu_clock(t, clock, ns if flags & _ABSTIME else clocks.now(t, clock) + ns)
    if not flags & _ABSTIME:
        return await sleep_until(t, t.system.now_ns() + ns, rmtp, record)
    deadline = clocks.monotonic_deadline(clock, ns)
    try:
        await asleep(t, deadline)
    except Interrupted:
        raise Restart(no_handler_only=True) from None
    return 0


async def asleep(t: Thread, deadline: int) -> None:
    """Until CLOCK_MONOTONIC reaches `deadline`."""
    while t.system.now_ns() < deadline:
        await sleep_on(deadline_ns=min(deadline, clocks.KTIME_MAX))


async def sleep_until(t: Thread, deadline: int, rmtp: int, record: type) -> int:
    """A relative sleep.  Interrupted, it tells what was left, and goes on to the same end when no handler ran.  Raises EFAULT."""
    try:
        await asleep(t, deadline)
    except Interrupted:
        if rmtp:
            left = deadline - t.system.now_ns()
            if left <= 0:
                return 0
            store(t, record, rmtp, left)
        raise Restart(resume=lambda again: sleep_until(again, deadline, rmtp, record)) from None
    return 0


async def _sleep_on_cpu_clock(t: Thread, clock: int, until: int) -> int:
    """Other threads must use up the time: look again when they could have, at the earliest."""
    try:
        while (left := until - clocks.now(t, clock)) > 0:
            await sleep_on(deadline_ns=t.system.now_ns() + max(left // t.system.facts.ncpus, 1_000_000))
    except Interrupted:
        raise Restart(no_handler_only=True) from None
    return 0


@syscall(pledge="")
async def sys_restart_syscall(t: Thread) -> int:
    """Go on with a call a stop interrupted.  EINTR when there is none: a program made the call itself."""
    resume = t.system.resumable.pop(t, None)
    if resume is None:
        raise EINTR
    return await resume(t)
