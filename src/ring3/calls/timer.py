"""System calls about timers: alarm, interval timers, POSIX timers.

Not here: how they expire (`proc/timers.py`), timerfd.  Sources: alarm(2), setitimer(2), timer_create(2), timer_settime(2).
"""

from __future__ import annotations

from typing import Final

from ring3.abi.filerecords import TimerSpec, TimerSpec64
from ring3.abi.procrecords import Int32, ITimerVal, SigEvent
from ring3.abi.signals import NSIG, Signal
from ring3.calls.guest import fetch, store
from ring3.calls.procarg import (
    ClockId,
    IntOut,
    ITimerArg,
    ITimerValAt,
    ITimerValOut,
    Pointer,
    TimerFlags,
    TimerSpec64At,
    TimerSpec64Out,
    TimerSpecAt,
    TimerSpecOut,
)
from ring3.calls.sysarg import Int, UInt
from ring3.calls.syscall import syscall
from ring3.errors import EAGAIN, EINVAL, EOPNOTSUPP, EPERM
from ring3.proc import clocks
from ring3.proc.proc import Thread
from ring3.proc.timers import (
    SIGEV_NONE,
    SIGEV_SIGNAL,
    SIGEV_THREAD,
    SIGEV_THREAD_ID,
    IntervalTimer,
    PosixTimer,
)

_REAL: Final = 0
_SECOND: Final = 1_000_000_000
_ABSTIME: Final = 1
_MAX_TIMERS: Final = 4096              # of one process


def _interval_timer(t: Thread, which: int) -> IntervalTimer:
    if which not in (0, 1, 2):
        raise EINVAL
    timers = t.proc.itimers
    timer = timers.get(which)
    if timer is None:
        timer = timers[which] = IntervalTimer(t.proc, which)
    assert isinstance(timer, IntervalTimer)
    return timer


def _shown(timer: IntervalTimer) -> ITimerVal:
    """What is left, never less than a microsecond while it runs (kernel/time/itimer.c)."""
    setting = timer.setting()
    return ITimerVal(setting.interval, max(setting.value, 1000) if setting.value else 0)


def _set(timer: IntervalTimer, value: ITimerVal) -> None:
    if value.value:
        timer.arm(timer.clock() + value.value, value.interval)
    else:
        timer.cancel()
        timer.interval = value.interval


def read_interval(t: Thread, which: int) -> ITimerVal:
    """What is left of an interval timer.  Raises EINVAL."""
    return _shown(_interval_timer(t, which))


def change_interval(t: Thread, which: int, new: ITimerVal) -> ITimerVal:
    """Set an interval timer; what it said before.  Raises EINVAL."""
    timer = _interval_timer(t, which)
    old = _shown(timer)
    _set(timer, new)
    return old


@syscall(pledge="stdio")
def sys_getitimer(t: Thread, which: ITimerArg, value: ITimerValOut) -> int:
    """What is left of an interval timer."""
    store(t, ITimerVal, value, _shown(_interval_timer(t, which)))
    return 0


@syscall(pledge="stdio")
def sys_setitimer(t: Thread, which: ITimerArg, value: ITimerValAt, ovalue: ITimerValOut) -> int:
    """Set an interval timer; a null pointer stops it, as Linux does."""
    new = fetch(t, ITimerVal, value) if value else ITimerVal(0, 0)
    timer = _interval_timer(t, which)
    old = _shown(timer)
    _set(timer, new)
    if ovalue:
        store(t, ITimerVal, ovalue, old)
    return 0


@syscall(pledge="stdio")
def sys_alarm(t: Thread, seconds: UInt) -> int:
    """SIGALRM in so many seconds; those that were left before, rounded."""
    whole, rest = divmod(set_alarm(t, seconds * _SECOND), _SECOND)
    return whole + 1 if (rest and not whole) or rest >= _SECOND // 2 else whole


def set_alarm(t: Thread, after_ns: int) -> int:
    """SIGALRM after so long, 0: never; how many ns were left of the last one."""
    timer = _interval_timer(t, _REAL)
    left = _shown(timer).value
    _set(timer, ITimerVal(0, after_ns))
    return left


# --- POSIX timers
@syscall(pledge="stdio")
def sys_timer_create(t: Thread, which_clock: ClockId, sevp: Pointer, timerid: IntOut) -> int:
    """Make a timer."""
    event: SigEvent | None = fetch(t, SigEvent, sevp) if sevp else None
    _check_clock(t, which_clock)
    return new_timer(t, which_clock, event, timerid)


def new_timer(t: Thread, clock: int, event: SigEvent | None, timerid: int, signo: int = Signal.SIGALRM) -> int:
    """A timer; without an `event` it sends `signo` with its number.  Raises EAGAIN for too many, EINVAL, EFAULT."""
    timers = t.proc.posix_timers
    if len(timers) >= _MAX_TIMERS:
        raise EAGAIN
    number = next(i for i in range(len(timers) + 1) if i not in timers)
    target = None
    if event is None:
        event = SigEvent(number, signo, SIGEV_SIGNAL, 0)
    elif event.notify == SIGEV_SIGNAL | SIGEV_THREAD_ID:
        target = t.proc.threads.get(event.tid)
        if target is None:
            raise EINVAL
    elif event.notify not in (SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD):
        raise EINVAL
    if event.notify != SIGEV_NONE and not 1 <= event.signo <= NSIG:
        raise EINVAL
    store(t, Int32, timerid, number)
    timers[number] = PosixTimer(
        t, number, clock, notify=event.notify, signo=event.signo, value=event.value, target=target
    )
    return 0


def _check_clock(t: Thread, clock: int) -> None:
    """Raises EINVAL for no clock, EOPNOTSUPP for one without timers, EPERM for those that would wake the machine."""
    if clocks.cpu_clock(t, clock) is not None:
        return
    clocks.resolution(t, clock)
    if clock not in clocks.SLEEPABLE:
        raise EOPNOTSUPP
    if clock in (clocks.REALTIME_ALARM, clocks.BOOTTIME_ALARM) and not t.proc.cred.privileged:
        raise EPERM


def _timer(t: Thread, number: int) -> PosixTimer:
    timer = t.proc.posix_timers.get(number)
    if timer is None:
        raise EINVAL
    assert isinstance(timer, PosixTimer)
    return timer


@syscall(pledge="stdio")
def sys_timer_settime(t: Thread, timer_id: Int, flags: TimerFlags, new_setting: TimerSpecAt, old_setting: TimerSpecOut) -> int:
    """Arm or disarm a timer."""
    return settime(t, timer_id, flags, new_setting, old_setting, TimerSpec)


@syscall(pledge="stdio")
def sys_timer_settime64(
    t: Thread, timer_id: Int, flags: TimerFlags, new_setting: TimerSpec64At, old_setting: TimerSpec64Out
) -> int:
    """timer_settime with 64-bit times."""
    return settime(t, timer_id, flags, new_setting, old_setting, TimerSpec64)


def settime(t: Thread, number: int, flags: int, new_setting: int, old_setting: int, record: type) -> int:
    """timer_settime with times of one record's layout.  Raises EINVAL, EFAULT."""
    if not new_setting:
        raise EINVAL
    new: TimerSpec = fetch(t, record, new_setting)
    timer = _timer(t, number)
    old = timer.setting()
    timer.overrun = 0
    if new.value:
        start = 0 if flags & _ABSTIME else timer.clock()
        timer.arm(start + new.value, new.interval)
    else:
        timer.cancel()
        timer.interval = new.interval
    if old_setting:
        store(t, record, old_setting, old)
    return 0


@syscall(pledge="stdio")
def sys_timer_gettime(t: Thread, timer_id: Int, setting: TimerSpecOut) -> int:
    """What is left of a timer."""
    return gettime(t, timer_id, setting, TimerSpec)


@syscall(pledge="stdio")
def sys_timer_gettime64(t: Thread, timer_id: Int, setting: TimerSpec64Out) -> int:
    """timer_gettime with 64-bit times."""
    return gettime(t, timer_id, setting, TimerSpec64)


def gettime(t: Thread, number: int, setting: int, record: type) -> int:
    """timer_gettime likewise."""
    store(t, record, setting, _timer(t, number).setting())
    return 0


@syscall(pledge="stdio")
def sys_timer_getoverrun(t: Thread, timer_id: Int) -> int:
    """How many expiries the last signal stands for beside its own."""
    return _timer(t, timer_id).overrun


@syscall(pledge="stdio")
def sys_timer_delete(t: Thread, timer_id: Int) -> int:
    """Forget a timer."""
    _timer(t, timer_id).cancel()
    del t.proc.posix_timers[timer_id]
    return 0
