"""The clocks a guest can ask for, and deadlines on them.

Real clocks are the host's, so that a call and the vDSO agree; CPU clocks are what the machine measured (`cputime.py`).
Source: clock_gettime(2), kernel/time/posix-timers.c (which clock can do what), kernel/time/posix-cpu-timers.c (ids of CPU clocks).
"""

from __future__ import annotations

import time
from typing import Final

from ring3.errors import EINVAL
from ring3.proc.cputime import process_ns, thread_ns
from ring3.proc.jails import may_know
from ring3.proc.proc import Proc, Thread

(REALTIME, MONOTONIC, PROCESS_CPUTIME, THREAD_CPUTIME, MONOTONIC_RAW, REALTIME_COARSE, MONOTONIC_COARSE, BOOTTIME, REALTIME_ALARM,
 BOOTTIME_ALARM, SGI_CYCLE, TAI) = range(12)

KTIME_MAX: Final = (1 << 63) - 1
_OF_HOST: Final = frozenset((REALTIME, MONOTONIC, MONOTONIC_RAW, REALTIME_COARSE, MONOTONIC_COARSE, BOOTTIME, TAI))
_COARSE: Final = frozenset((REALTIME_COARSE, MONOTONIC_COARSE))
_ALARMS: Final = {REALTIME_ALARM: REALTIME, BOOTTIME_ALARM: BOOTTIME}
# Clocks one can sleep on and make timers of (struct k_clock: nsleep, timer_create).
SLEEPABLE: Final = frozenset((REALTIME, MONOTONIC, BOOTTIME, REALTIME_ALARM, BOOTTIME_ALARM, TAI))
_COARSE_NS: Final = 4_000_000
_PER_THREAD: Final = 4
_CLOCK_FD: Final = 3


def cpu_clock(t: Thread, clock: int) -> Proc | Thread | None:
    """Whose CPU clock an id means; None for a clock of another kind.  Raises EINVAL for nobody's.

    Negative ids hold a pid or tid above three bits that tell which it is (clock_getcpuclockid(3)).
    """
    if clock == PROCESS_CPUTIME:
        return t.proc
    if clock == THREAD_CPUTIME:
        return t
    if clock >= 0:
        return None
    number, kind = ~(clock >> 3), clock & 3
    if kind == _CLOCK_FD:
        raise EINVAL
    if clock & _PER_THREAD:
        thread = t if not number else t.system.threads.get(number)
        if thread is None or thread.proc is not t.proc:
            raise EINVAL
        return thread
    p = t.proc if not number else t.system.procs.get(number)
    if p is None or not p.threads or not may_know(t.proc, p):
        raise EINVAL
    return p


def now(t: Thread, clock: int) -> int:
    """What a clock shows, ns.  Raises EINVAL for one that does not exist."""
    if clock in _OF_HOST:
        return time.clock_gettime_ns(clock)
    if clock in _ALARMS:
        return time.clock_gettime_ns(_ALARMS[clock])
    subject = cpu_clock(t, clock)
    if subject is None:
        raise EINVAL
    return process_ns(subject) if isinstance(subject, Proc) else thread_ns(subject)


def resolution(t: Thread, clock: int) -> int:
    """ns.  Raises EINVAL for a clock that does not exist."""
    if clock in _COARSE:
        return _COARSE_NS
    if clock not in _OF_HOST and clock not in _ALARMS and cpu_clock(t, clock) is None:
        raise EINVAL
    return 1


def monotonic_deadline(clock: int, at: int) -> int:
    """When CLOCK_MONOTONIC shows what it shows at `at` on another real clock, as things stand."""
    if clock == MONOTONIC:
        return min(at, KTIME_MAX)
    there = time.clock_gettime_ns(_ALARMS.get(clock, clock))
    return min(at - there + time.monotonic_ns(), KTIME_MAX)
