"""NetBSD's calls about scheduling: policies, priorities and CPUs of an LWP.  Kept and told; the host schedules.

Sources: sched(3), _sched_setparam(2), affinity(3), cpuset(3).
"""

from __future__ import annotations

from typing import Final

from ring3.abi.procrecords import Int32
from ring3.calls.guest import fetch, store
from ring3.calls.procarg import IntOut, Pointer
from ring3.calls.sysarg import Int, OutBuf, Pid, Size
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, EPERM, ESRCH
from ring3.proc.lwp import find_lwp
from ring3.proc.proc import Proc, Thread
from ring3.proc.sched import sched_of
from ring3.proc.targets import find_process

_NONE, _OTHER, _FIFO, _RR = -1, 0, 1, 2
_HIGHEST: Final = 63                 # of a class; PRI_NONE is -1
_PRI_NONE: Final = -1
_CPUSET: Final = 32                  # bytes: cpusets here have room for 256 CPUs


def _targets(t: Thread, pid: int, lid: int) -> list[Thread]:
    """The LWPs meant: one, or all of a process (lid 0).  Raises ESRCH, EPERM."""
    p = t.proc if pid == 0 else find_process(t, pid)
    if lid == 0:
        found = p.live_threads()
    else:
        one = find_lwp(p, lid)
        found = [] if one is None else [one]
    if not found:
        raise ESRCH
    return found


def _check_owner(t: Thread, p: Proc) -> None:
    mine, theirs = t.proc.cred, p.cred
    if p is not t.proc and not mine.privileged and mine.euid not in (theirs.ruid, theirs.euid):
        raise EPERM


def set_policy(t: Thread, target: Thread, policy: int, priority: int) -> None:
    """Policy (-1: as it is) and priority (-1: as it is) of one LWP.  Raises EINVAL; EPERM for real time without privilege."""
    old = sched_of(target)
    new_policy = old.policy if policy == _NONE else policy
    if new_policy not in (_OTHER, _FIFO, _RR) or not _PRI_NONE <= priority <= _HIGHEST:
        raise EINVAL
    if new_policy == _OTHER and priority not in (_PRI_NONE, 0):
        raise EINVAL
    if new_policy != _OTHER and not t.proc.cred.privileged:
        raise EPERM
    target.sched = old._replace(policy=new_policy, priority=max(priority, 0) if priority != _PRI_NONE else old.priority)


@syscall(pledge="proc")
def sys__sched_setparam(t: Thread, pid: Pid, lid: Pid, policy: Int, params: Pointer) -> int:
    """Set policy and priority."""
    priority: int = fetch(t, Int32, params)
    targets = _targets(t, pid, lid)
    _check_owner(t, targets[0].proc)
    for target in targets:
        set_policy(t, target, policy, priority)
    return 0


@syscall(pledge="stdio")
def sys__sched_getparam(t: Thread, pid: Pid, lid: Pid, policy: IntOut, params: IntOut) -> int:
    """Policy and priority of one LWP."""
    target = _targets(t, pid, lid)[0]
    _check_owner(t, target.proc)
    wishes = sched_of(target)
    store(t, Int32, params, wishes.priority)
    if policy:
        store(t, Int32, policy, wishes.policy)
    return 0


@syscall(pledge="proc")
def sys__sched_setaffinity(t: Thread, pid: Pid, lid: Pid, size: Size, cpuset: Pointer) -> int:
    """Set the CPUs an LWP may use; for root alone, as NetBSD is delivered.  EINVAL for a set without any."""
    if not 0 < size <= _CPUSET:
        raise EINVAL
    mask = int.from_bytes(t.proc.vm.copyin(cpuset, size), "little")
    targets = _targets(t, pid, lid)
    if not t.proc.cred.privileged:
        raise EPERM
    there = (1 << t.system.facts.ncpus) - 1
    if mask and not mask & there:
        raise EINVAL
    for target in targets:
        target.sched = sched_of(target)._replace(affinity=mask & there)
    return 0


@syscall(pledge="stdio")
def sys__sched_getaffinity(t: Thread, pid: Pid, lid: Pid, size: Size, cpuset: OutBuf) -> int:
    """The CPUs it may use; an empty set where nobody said anything."""
    if not 0 < size <= _CPUSET:
        raise EINVAL
    target = _targets(t, pid, lid)[0]
    _check_owner(t, target.proc)
    t.proc.vm.copyout(cpuset, (sched_of(target).affinity & (1 << 8 * size) - 1).to_bytes(size, "little"))
    return 0


@syscall(pledge="proc")
def sys__sched_protect(t: Thread, priority: Int) -> int:
    """The ceiling of a mutex that the caller took (-1: gave back).  EINVAL."""
    del t
    if not _PRI_NONE <= priority <= _HIGHEST:
        raise EINVAL
    return 0
