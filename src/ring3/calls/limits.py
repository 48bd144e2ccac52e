"""System calls about what a process may use and how it is scheduled: rlimits, priorities, affinity.

Policies, priorities and affinity are kept and told, and change nothing: guests run as the host schedules the stubs.
Sources: getrlimit(2), getpriority(2), sched(7), sched_setaffinity(2), ioprio_set(2), kernel/sched/syscalls.c, kernel/sys.c.
"""

from __future__ import annotations

from typing import Final

from ring3.abi.procrecords import Int32, Rlimits
from ring3.abi.records import Timespec, Timespec64
from ring3.calls.guest import fetch, store
from ring3.calls.procarg import (
    IdOut,
    IntOut,
    Pointer,
    PolicyArg,
    PriorityWhich,
    ResourceArg,
    RlimitsAt,
    RlimitsOut,
    Timespec64Out,
    TimespecOut,
)
from ring3.calls.sysarg import Int, Pid, UInt
from ring3.calls.syscall import syscall
from ring3.errors import E2BIG, EACCES, EINVAL, EPERM, ESRCH
from ring3.proc.jails import known_procs
from ring3.proc.proc import Proc, Rlimit, Thread
from ring3.proc.sched import priority_range, sched_of
from ring3.proc.targets import find_process, known_thread
from ring3.proc.timers import watch_cpu_limit

_NR_OPEN: Final = 1_048_576
_RESOURCES: Final = len(Rlimit)
_RR_INTERVAL_NS: Final = 100_000_000
_FAIR_INTERVAL_NS: Final = 4_000_000
_RESET_ON_FORK: Final = 0x4000_0000
_ATTR_SIZE: Final = 56
_ATTR_FLAGS: Final = 0x7F


# --- rlimits
def set_limits(p: Proc, by: Thread, resource: int, new: Rlimits) -> None:
    """do_prlimit.  Raises EINVAL, EPERM."""
    if new.cur > new.max:
        raise EINVAL
    if resource == Rlimit.NOFILE and new.max > _NR_OPEN:
        raise EPERM
    if new.max > p.rlimits[resource][1] and not by.proc.cred.privileged:
        raise EPERM
    p.rlimits[resource] = (new.cur, new.max)
    if resource == Rlimit.STACK:
        p.vm.stack_limit = new.cur
    elif resource == Rlimit.CPU:
        watch_cpu_limit(p)


def limits_of(p: Proc, resource: int) -> Rlimits:
    """Raises EINVAL for no resource."""
    if not 0 <= resource < _RESOURCES:
        raise EINVAL
    return Rlimits(*p.rlimits[resource])


@syscall(pledge="stdio")
def sys_getrlimit(t: Thread, resource: ResourceArg, rlim: RlimitsOut) -> int:
    """The limits on a resource."""
    store(t, Rlimits, rlim, limits_of(t.proc, resource))
    return 0


@syscall(pledge="proc")
def sys_setrlimit(t: Thread, resource: ResourceArg, rlim: RlimitsAt) -> int:
    """Set the limits on a resource."""
    new: Rlimits = fetch(t, Rlimits, rlim)
    limits_of(t.proc, resource)
    set_limits(t.proc, t, resource, new)
    return 0


@syscall(pledge="stdio")
def sys_prlimit64(t: Thread, pid: Pid, resource: ResourceArg, new_limit: Pointer, old_limit: Pointer) -> int:
    """Set and read limits, of another process too; in 64 bits whatever the word size."""
    limits_of(t.proc, resource)
    vm = t.proc.vm
    new = None
    if new_limit:
        data = vm.copyin(new_limit, 16)
        new = Rlimits(int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little"))
    target = find_process(t, pid) if pid else t.proc
    if new is not None or target is not t.proc:
        t.needs("proc")
    mine, theirs = t.proc.cred, target.cred
    if target is not t.proc and not mine.privileged and (
        {theirs.euid, theirs.suid, theirs.ruid} != {mine.ruid} or {theirs.egid, theirs.sgid, theirs.rgid} != {mine.rgid}
    ):
        raise EPERM
    old = limits_of(target, resource)
    if new is not None:
        set_limits(target, t, resource, new)
    if old_limit:
        vm.copyout(old_limit, old.cur.to_bytes(8, "little") + old.max.to_bytes(8, "little"))
    return 0


# --- nice
def subjects(t: Thread, which: int, who: int) -> list[Proc]:
    """Raises EINVAL, ESRCH."""
    system = t.system
    if which == 0:
        found = [find_process(t, who) if who else t.proc]
    elif which == 1:
        found = [p for p in known_procs(t) if p.pgrp == (who or t.proc.pgrp) and p is not system.init]
    elif which == 2:
        uid = who & 0xFFFF_FFFF if who else t.proc.cred.ruid
        found = [p for p in known_procs(t) if p.cred.ruid == uid and p is not system.init]
    else:
        raise EINVAL
    if not found:
        raise ESRCH
    return found


@syscall(pledge="stdio")
def sys_getpriority(t: Thread, which: PriorityWhich, who: Int) -> int:
    """20 minus the lowest nice value of those meant."""
    return 20 - min(p.nice for p in subjects(t, which, who))


@syscall(pledge="proc")
def sys_setpriority(t: Thread, which: PriorityWhich, who: Int, prio: Int) -> int:
    """Set the nice value of those meant."""
    nice = min(max(prio, -20), 19)
    mine = t.proc.cred
    for p in subjects(t, which, who):
        if not mine.privileged and mine.euid not in (p.cred.ruid, p.cred.euid):
            raise EPERM
        _check_nice(t, p, nice)
        p.nice = nice
    return 0


def _check_nice(t: Thread, p: Proc, nice: int) -> None:
    """Getting better is limited by RLIMIT_NICE.  Raises EACCES."""
    if nice < p.nice and not t.proc.cred.privileged and 20 - nice > p.rlimit(Rlimit.NICE):
        raise EACCES


@syscall(pledge="proc")
def sys_nice(t: Thread, increment: Int) -> int:
    """Add to the own nice value."""
    nice = min(max(t.proc.nice + min(max(increment, -40), 40), -20), 19)
    try:
        _check_nice(t, t.proc, nice)
    except EACCES:
        raise EPERM from None
    t.proc.nice = nice
    return 0


# --- scheduling classes
def _thread(t: Thread, pid: int) -> Thread:
    """Raises EINVAL for a negative id, ESRCH."""
    if pid < 0:
        raise EINVAL
    found = t if not pid else known_thread(t, pid)
    if found is None:
        raise ESRCH
    return found


@syscall(pledge="stdio")
def sys_sched_yield(t: Thread) -> int:
    """Let others run."""
    del t
    return 0


@syscall(pledge="stdio")
def sys_sched_get_priority_max(t: Thread, policy: PolicyArg) -> int:
    """The highest priority of a policy."""
    del t
    return priority_range(policy)[1]


@syscall(pledge="stdio")
def sys_sched_get_priority_min(t: Thread, policy: PolicyArg) -> int:
    """The lowest priority of a policy."""
    del t
    return priority_range(policy)[0]


@syscall(pledge="stdio")
def sys_sched_getscheduler(t: Thread, pid: Pid) -> int:
    """The policy of a thread."""
    return sched_of(_thread(t, pid)).policy


@syscall(pledge="stdio")
def sys_sched_getparam(t: Thread, pid: Pid, param: IntOut) -> int:
    """The priority of a thread."""
    if not param:
        raise EINVAL
    store(t, Int32, param, sched_of(_thread(t, pid)).priority)
    return 0


@syscall(pledge="proc")
def sys_sched_setscheduler(t: Thread, pid: Pid, policy: PolicyArg, param: Pointer) -> int:
    """Set policy and priority of a thread; kept, and without effect."""
    if policy < 0 or pid < 0 or not param:
        raise EINVAL
    priority: int = fetch(t, Int32, param)
    _set_policy(t, _thread(t, pid), policy & ~_RESET_ON_FORK, priority)
    return 0


@syscall(pledge="proc")
def sys_sched_setparam(t: Thread, pid: Pid, param: Pointer) -> int:
    """Set the priority of a thread within its policy."""
    if not param or pid < 0:
        raise EINVAL
    target = _thread(t, pid)
    _set_policy(t, target, sched_of(target).policy, fetch(t, Int32, param))
    return 0


def _set_policy(t: Thread, target: Thread, policy: int, priority: int) -> None:
    """Raises EINVAL, EPERM without RLIMIT_RTPRIO for a real-time policy."""
    low, high = priority_range(policy)
    if not low <= priority <= high:
        raise EINVAL
    mine = t.proc.cred
    if not mine.privileged:
        if mine.euid not in (target.proc.cred.ruid, target.proc.cred.euid):
            raise EPERM
        if high and priority > max(target.proc.rlimit(Rlimit.RTPRIO), sched_of(target).priority):
            raise EPERM
    target.sched = sched_of(target)._replace(policy=policy, priority=priority)


@syscall(pledge="proc")
def sys_sched_setattr(t: Thread, pid: Pid, attr: Pointer, flags: UInt) -> int:
    """Set policy, nice value and priority by a struct; kept, and without effect but for the nice value."""
    if not attr or pid < 0 or flags:
        raise EINVAL
    size = int.from_bytes(t.proc.vm.copyin(attr, 4), "little") or 48
    if size < 48 or size > 4096:
        t.proc.vm.copyout(attr, _ATTR_SIZE.to_bytes(4, "little"))
        raise E2BIG
    data = t.proc.vm.copyin(attr, size)
    if any(data[_ATTR_SIZE:]):
        raise E2BIG
    policy = int.from_bytes(data[4:8], "little", signed=True)
    if policy < 0 or int.from_bytes(data[8:16], "little") & ~_ATTR_FLAGS:
        raise EINVAL
    target = _thread(t, pid)
    _set_policy(t, target, policy, int.from_bytes(data[20:24], "little"))
    if policy in (0, 3):
        nice = min(max(int.from_bytes(data[16:20], "little", signed=True), -20), 19)
        _check_nice(t, target.proc, nice)
        target.proc.nice = nice
    return 0


@syscall(pledge="stdio")
def sys_sched_getattr(t: Thread, pid: Pid, attr: Pointer, size: UInt, flags: UInt) -> int:
    """Policy, nice value and priority as a struct."""
    if not attr or pid < 0 or size < 48 or size > 4096 or flags:
        raise EINVAL
    target = _thread(t, pid)
    sched = sched_of(target)
    used = min(size, _ATTR_SIZE)
    words = ((used, 4), (sched.policy, 4), (0, 8), (target.proc.nice & 0xFFFF_FFFF, 4), (sched.priority, 4))
    data = b"".join(value.to_bytes(width, "little") for value, width in words).ljust(_ATTR_SIZE, b"\0")
    t.proc.vm.copyout(attr, data[:used])
    return 0


@syscall(pledge="stdio")
def sys_sched_rr_get_interval(t: Thread, pid: Pid, interval: TimespecOut) -> int:
    """The time slice of a thread."""
    store(t, Timespec, interval, _interval(t, pid))
    return 0


@syscall(pledge="stdio")
def sys_sched_rr_get_interval_time64(t: Thread, pid: Pid, interval: Timespec64Out) -> int:
    """The time slice of a thread, in 64 bits."""
    store(t, Timespec64, interval, _interval(t, pid))
    return 0


def _interval(t: Thread, pid: int) -> int:
    policy = sched_of(_thread(t, pid)).policy
    return _RR_INTERVAL_NS if policy == 2 else 0 if policy == 1 else _FAIR_INTERVAL_NS


# --- affinity
@syscall(pledge="proc")
def sys_sched_setaffinity(t: Thread, pid: Pid, len: UInt, user_mask_ptr: Pointer) -> int:  # noqa: A002
    """Keep a set of CPUs for a thread.  EINVAL when none of them exists."""
    data = t.proc.vm.copyin(user_mask_ptr, min(len, 1024))
    target = _thread(t, pid) if pid >= 0 else None
    if target is None:
        raise ESRCH
    mine = t.proc.cred
    if not mine.privileged and mine.euid not in (target.proc.cred.euid, target.proc.cred.ruid):
        raise EPERM
    mask = int.from_bytes(data, "little") & (1 << t.system.facts.ncpus) - 1
    if not mask:
        raise EINVAL
    target.sched = sched_of(target)._replace(affinity=mask)
    return 0


@syscall(pledge="stdio")
def sys_sched_getaffinity(t: Thread, pid: Pid, len: UInt, user_mask_ptr: Pointer) -> int:  # noqa: A002
    """The CPUs a thread may run on; how many bytes were written."""
    ncpus = t.system.facts.ncpus
    word = t.system.call_abi(t).word_size
    if len * 8 < ncpus or len & (word - 1):
        raise EINVAL
    if pid < 0:
        raise ESRCH
    mask = sched_of(_thread(t, pid)).affinity or (1 << ncpus) - 1
    size = min(len, (ncpus + 63) // 64 * 8)
    t.proc.vm.copyout(user_mask_ptr, mask.to_bytes(size, "little"))
    return size


@syscall(pledge="stdio")
def sys_getcpu(t: Thread, cpu: IdOut, node: IdOut, unused: Pointer) -> int:
    """Where the thread runs, as far as it concerns a guest: the first CPU it may use."""
    del unused
    mask = sched_of(t).affinity or 1
    number = (mask & -mask).bit_length() - 1
    for addr, value in ((cpu, number), (node, 0)):
        if addr:
            store(t, Int32, addr, value)
    return 0


# --- input and output
@syscall(pledge="proc")
def sys_ioprio_set(t: Thread, which: Int, who: Int, ioprio: Int) -> int:
    """Keep an I/O priority; without effect."""
    kind = ioprio >> 13 & 7
    if kind not in (0, 1, 2, 3) or (kind == 0 and ioprio & 0x1FFF) or which not in (1, 2, 3):
        raise EINVAL
    if kind == 1 and not t.proc.cred.privileged:
        raise EPERM
    for p in subjects(t, which - 1, who):
        for thread in p.live_threads():
            thread.sched = sched_of(thread)._replace(ioprio=ioprio)
    return 0


@syscall(pledge="stdio")
def sys_ioprio_get(t: Thread, which: Int, who: Int) -> int:
    """The I/O priority of those meant."""
    if which not in (1, 2, 3):
        raise EINVAL
    return max((sched_of(thread).ioprio for p in subjects(t, which - 1, who) for thread in p.threads.values()), default=0)

