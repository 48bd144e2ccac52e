"""Parking: how NetBSD's threads wait for each other (_lwp_park(2), _lwp_unpark(2)).

A thread parks until somebody unparks it by its number.  An unpark that comes first is remembered, once: without that a wake-up
between the decision to sleep and the sleep would be lost.  Hints are addresses the two agree on; a number is enough to find a
thread.
A signal ends a park with EINTR and is never followed by a restart.
"""

from __future__ import annotations

import time
from typing import Annotated, Final

from ring3.abi.records import Timespec
from ring3.calls.guest import fetch
from ring3.calls.netbsd.lwp import CPU_FIRST, CPU_NONE, tell_cpu
from ring3.calls.procarg import Bits, Pointer, TimespecAt
from ring3.calls.sysarg import Number, Pid, Size
from ring3.calls.syscall import syscall
from ring3.errors import EALREADY, EINTR, EINVAL, ESRCH, ETIMEDOUT
from ring3.proc.lwp import find_lwp, lwp_of
from ring3.proc.proc import Thread
from ring3.waiting import Interrupted, sleep_on

MAX_UNPARK: Final = 1024
_REALTIME, _MONOTONIC = 0, 3
_ABSTIME: Final = 1
_FOREVER: Final = (1 << 63) - 1

ParkClock = Annotated[int, Number({0: "CLOCK_REALTIME", 1: "CLOCK_VIRTUAL", 2: "CLOCK_PROF", 3: "CLOCK_MONOTONIC"})]
ParkFlags = Annotated[int, Bits({1: "TIMER_ABSTIME"}, zero="TIMER_RELTIME")]


@syscall(pledge="stdio")
async def sys____lwp_park60(
    t: Thread, clock_id: ParkClock, flags: ParkFlags, ts: TimespecAt, unpark: Pid, hint: Pointer, unparkhint: Pointer
) -> int:
    """Unpark `unpark` if it is not 0, then sleep until somebody unparks the caller, or time is up."""
    del hint, unparkhint
    ns: int | None = fetch(t, Timespec, ts) if ts else None
    return await park(t, clock_id, flags, ns, unpark)


@syscall(pledge="stdio")
async def sys_compat_60__lwp_park(t: Thread, ts: TimespecAt, unpark: Pid, hint: Pointer, unparkhint: Pointer) -> int:
    """The same as NetBSD 5 and 6 have it: until a moment of the real time."""
    del hint, unparkhint
    ns: int | None = fetch(t, Timespec, ts) if ts else None
    return await park(t, _REALTIME, _ABSTIME, ns, unpark)


async def park(t: Thread, clock: int, flags: int, ns: int | None, unpark: int) -> int:
    """The call with its time read.  Raises ESRCH, EINVAL, ETIMEDOUT, EALREADY, EINTR."""
    if unpark:
        unpark_lwp(t, unpark)
    deadline = None if ns is None else _deadline(t, clock, flags, ns)
    lwp = lwp_of(t)
    if lwp.unpark_pending:
        lwp.unpark_pending = False
        raise EALREADY
    lwp.is_parked, lwp.was_unparked = True, False
    tell_cpu(t, lwp, CPU_NONE)
    try:
        woken = await sleep_on(lwp.park_queue, deadline_ns=deadline)
    except Interrupted:
        woken = False
        if not lwp.was_unparked:
            raise EINTR from None
    finally:
        lwp.is_parked = False
        tell_cpu(t, lwp, CPU_FIRST)
    if not woken and not lwp.was_unparked:
        raise ETIMEDOUT
    return 0


def _deadline(t: Thread, clock: int, flags: int, ns: int) -> int:
    """When CLOCK_MONOTONIC says that time is up.  Raises EINVAL for a clock nobody parks on, ETIMEDOUT for a moment gone by."""
    if clock not in (_REALTIME, _MONOTONIC):
        raise EINVAL
    now = t.system.now_ns()
    if flags & _ABSTIME:
        ns -= time.time_ns() if clock == _REALTIME else now
        if ns <= 0:
            raise ETIMEDOUT
    return min(now + ns, _FOREVER)


def unpark_lwp(t: Thread, lid: int) -> None:
    """Wake one that is parked; one that is not will not sleep the next time.  Raises ESRCH."""
    target = find_lwp(t.proc, lid)
    if target is None:
        raise ESRCH
    lwp = lwp_of(target)
    if lwp.is_parked:
        lwp.is_parked = False
        lwp.was_unparked = True
        lwp.park_queue.wake()
    else:
        lwp.unpark_pending = True


@syscall(pledge="stdio")
def sys__lwp_unpark(t: Thread, target: Pid, hint: Pointer) -> int:
    """Wake one parked thread."""
    del hint
    unpark_lwp(t, target)
    return 0


@syscall(pledge="stdio")
def sys__lwp_unpark_all(t: Thread, targets: Pointer, ntargets: Size, hint: Pointer) -> int:
    """Wake several; how many were told.  Without a list: how many one call may name."""
    del hint
    if not targets:
        return MAX_UNPARK
    if not ntargets or ntargets > MAX_UNPARK:
        raise EINVAL
    data = t.proc.vm.copyin(targets, 4 * ntargets)
    told = 0
    for at in range(0, len(data), 4):
        lid = int.from_bytes(data[at : at + 4], "little", signed=True)
        if find_lwp(t.proc, lid) is not None:
            unpark_lwp(t, lid)
            told += 1
    return told
