"""SerenityOS's calls that read clocks, sleep, and tell what a process has used.

Clocks are the host's: setting and adjusting one is refused, to root too.  Seconds and nanoseconds of a time are added up, whatever
they are.  Not here: the alarm (`process.py`), the time page (`timepage.py`).
Source: Kernel/Syscalls/{clock,times,resource}.cpp (reference, sections 2.3, 4.7, 4.8).
"""

from __future__ import annotations

import time
from typing import Annotated, Final

from ring3.abi.procrecords import Rusage, Tms
from ring3.abi.records import Timespec, Timeval
from ring3.calls import shown
from ring3.calls.guest import fetch, store
from ring3.calls.procarg import At, RusageOut, TimespecAt, TimespecOut, TimevalOut, TmsOut
from ring3.calls.serenity.argument import Params
from ring3.calls.sysarg import Number
from ring3.calls.sysarg_files import Bits
from ring3.calls.syscall import syscall
from ring3.calls.time import asleep
from ring3.errors import EINTR, EINVAL, EPERM
from ring3.namedtuple import NamedTuple
from ring3.proc import clocks
from ring3.proc.cputime import usage_now
from ring3.proc.proc import Thread
from ring3.waiting import Interrupted

CLOCK_REALTIME: Final = 0
_CLOCKS: Final = (clocks.REALTIME, clocks.MONOTONIC, clocks.MONOTONIC_RAW, clocks.REALTIME_COARSE, clocks.MONOTONIC_COARSE)
_NAMES: Final = ("REALTIME", "MONOTONIC", "MONOTONIC_RAW", "REALTIME_COARSE", "MONOTONIC_COARSE")
_MONOTONIC: Final = frozenset((clocks.MONOTONIC, clocks.MONOTONIC_RAW, clocks.MONOTONIC_COARSE))
TIMER_ABSTIME: Final = 99
RESOLUTION_NS: Final = 125_000_000          # 10^9 divided by a selector of sysconf, 8, where the ticks of a second were meant
TICK_NS: Final = 4_000_000
SELF, CHILDREN = 1, 2
_MS: Final = 1_000_000

TimevalAt = Annotated[int, At(Timeval, shown.time_val)]
Clock = Annotated[int, Number({number: f"CLOCK_{name}" for number, name in enumerate(_NAMES)})]
SleepFlags = Annotated[int, Bits({TIMER_ABSTIME: "TIMER_ABSTIME"})]
Who = Annotated[int, Number({SELF: "RUSAGE_SELF", CHILDREN: "RUSAGE_CHILDREN"})]


def _host_clock(clock: int) -> int:
    """The host's number of a clock.  Raises EINVAL for none."""
    if not 0 <= clock < len(_CLOCKS):
        raise EINVAL("no such clock")
    return _CLOCKS[clock]


# --- clocks
@syscall(pledge="stdio")
def sys_clock_gettime(t: Thread, clock: Clock, ts: TimespecOut) -> int:
    """What a clock shows.  EINVAL, EFAULT."""
    store(t, Timespec, ts, time.clock_gettime_ns(_host_clock(clock)))
    return 0


class ClockGetresParams(NamedTuple):
    """SC_clock_getres_params."""

    clock: Clock
    result: TimespecOut


@syscall(pledge="")
def sys_clock_getres(t: Thread, params: Annotated[ClockGetresParams, Params(ClockGetresParams, "<i4xQ")]) -> int:
    """How fine a clock is: 125 ms, of every clock, as the original has it.  EINVAL, EFAULT."""
    _host_clock(params.clock)
    store(t, Timespec, params.result, RESOLUTION_NS)
    return 0


@syscall(pledge="settime")
def sys_clock_settime(t: Thread, clock: Clock, ts: TimespecAt) -> int:
    """Refused: the clock is the host's.  EPERM unless root, EFAULT, EINVAL for any but CLOCK_REALTIME, EPERM."""
    if not t.proc.cred.privileged:
        raise EPERM
    fetch(t, Timespec, ts)
    if clock != CLOCK_REALTIME:
        raise EINVAL
    raise EPERM("the clock is the host's")


@syscall(pledge="")
def sys_adjtime(t: Thread, delta: TimevalAt, old_delta: TimevalOut) -> int:
    """What is left to adjust: nothing.  Adjusting needs a promise, and is refused: EPERM."""
    if old_delta:
        store(t, Timeval, old_delta, 0)
    if delta:
        t.needs("settime")
        raise EPERM("the clock is the host's")
    return 0


class ClockNanosleepParams(NamedTuple):
    """SC_clock_nanosleep_params."""

    clock: Clock
    flags: SleepFlags
    requested: TimespecAt
    remaining: TimespecOut


@syscall(pledge="stdio")
async def sys_clock_nanosleep(
    t: Thread, params: Annotated[ClockNanosleepParams, Params(ClockNanosleepParams, "<iIQQ")]
) -> int:
    """Sleep so long, or until a moment.  EFAULT, EINVAL; EINTR after a signal, with what was left of a relative sleep."""
    ns: int = fetch(t, Timespec, params.requested)
    if params.flags not in (0, TIMER_ABSTIME):
        raise EINVAL
    clock = _host_clock(params.clock)
    deadline = _moment(clock, ns) if params.flags else t.system.now_ns() + ns
    try:
        await asleep(t, deadline)
    except Interrupted:
        if params.remaining and not params.flags:
            store(t, Timespec, params.remaining, max(deadline - t.system.now_ns(), 0))
        raise EINTR from None
    return 0


def _moment(clock: int, ns: int) -> int:
    """When CLOCK_MONOTONIC shows what it shows at `ns` on another clock."""
    return ns if clock in _MONOTONIC else clocks.monotonic_deadline(clock, ns)


# --- what was used
@syscall(pledge="stdio")
def sys_times(t: Thread, times: TmsOut) -> int:
    """CPU time of the process and of children it waited for, in ticks of 4 ms; milliseconds of uptime, 31 bits of them.  EFAULT."""
    own, children = usage_now(t.proc), t.proc.child_usage
    ticks = (own.user_ns, own.system_ns, children.user_ns, children.system_ns)
    store(t, Tms, times, Tms(*(ns // TICK_NS for ns in ticks)))
    return t.system.now_ns() // _MS & 0x7FFF_FFFF


@syscall(pledge="")
def sys_getrusage(t: Thread, who: Who, usage: RusageOut) -> int:
    """CPU time of the process, or of children it waited for; everything else is zero.  EINVAL, EFAULT."""
    if who not in (SELF, CHILDREN):
        raise EINVAL
    used = usage_now(t.proc) if who == SELF else t.proc.child_usage
    store(t, Rusage, usage, Rusage(used.user_ns, used.system_ns))
    return 0
