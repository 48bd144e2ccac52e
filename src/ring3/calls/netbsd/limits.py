"""NetBSD's calls about limits and priorities: resources have its own numbers, and a priority is told as it is.

RLIMIT_SBSIZE and RLIMIT_NTHR are kept and told, and limit nothing.
Sources: getrlimit(2), getpriority(2), sys/kern/kern_resource.c.
"""

from __future__ import annotations

from typing import Annotated, Final

from ring3.abi.procrecords import Rlimits
from ring3.calls.guest import fetch, store
from ring3.calls.limits import set_limits, subjects
from ring3.calls.procarg import PriorityWhich, RlimitsAt, RlimitsOut
from ring3.calls.sysarg import Int, Number
from ring3.calls.syscall import syscall
from ring3.errors import EACCES, EINVAL, EPERM
from ring3.proc.proc import RLIM_INFINITY, Rlimit, Thread

SBSIZE: Final = len(Rlimit)             # behind the kernel's own, in `Proc.rlimits`
NTHR: Final = SBSIZE + 1
_NAMES: Final = ("CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "MEMLOCK", "NPROC", "NOFILE", "SBSIZE", "AS", "NTHR")
_RESOURCES: Final = (
    Rlimit.CPU, Rlimit.FSIZE, Rlimit.DATA, Rlimit.STACK, Rlimit.CORE, Rlimit.RSS, Rlimit.MEMLOCK, Rlimit.NPROC, Rlimit.NOFILE,
    SBSIZE, Rlimit.AS, NTHR,
)
_PRIO_MIN, _PRIO_MAX = -20, 20

Resource = Annotated[int, Number({number: f"RLIMIT_{name}" for number, name in enumerate(_NAMES)})]


def _neutral(resource: int) -> int:
    """Raises EINVAL."""
    if not 0 <= resource < len(_RESOURCES):
        raise EINVAL
    return int(_RESOURCES[resource])


def _limits(t: Thread) -> list[tuple[int, int]]:
    """The limits of a process, NetBSD's own with them."""
    limits = t.proc.rlimits
    while len(limits) <= NTHR:
        limits.append((RLIM_INFINITY, RLIM_INFINITY))
    return limits


@syscall(pledge="stdio")
def sys_getrlimit(t: Thread, resource: Resource, rlim: RlimitsOut) -> int:
    """The limits on a resource.  EINVAL, EFAULT."""
    which = _neutral(resource)
    store(t, Rlimits, rlim, Rlimits(*_limits(t)[which]))
    return 0


@syscall(pledge="proc")
def sys_setrlimit(t: Thread, resource: Resource, rlim: RlimitsAt) -> int:
    """Set the limits on a resource; only root raises the hard one.  EINVAL, EPERM, EFAULT."""
    which = _neutral(resource)
    new: Rlimits = fetch(t, Rlimits, rlim)
    _limits(t)
    set_limits(t.proc, t, which, new)
    return 0


@syscall(pledge="stdio")
def sys_getpriority(t: Thread, which: PriorityWhich, who: Int) -> int:
    """The lowest nice value of those meant, as it is.  EINVAL, ESRCH."""
    return min(p.nice for p in subjects(t, which, who))


@syscall(pledge="proc")
def sys_setpriority(t: Thread, which: PriorityWhich, who: Int, prio: Int) -> int:
    """Set the nice value of those meant; only root makes it better.  EINVAL, ESRCH, EPERM, EACCES."""
    nice = min(max(prio, _PRIO_MIN), _PRIO_MAX)
    mine = t.proc.cred
    for p in subjects(t, which, who):
        if not mine.privileged and mine.euid not in (p.cred.ruid, p.cred.euid):
            raise EPERM
        if nice < p.nice and not mine.privileged:
            raise EACCES
        p.nice = nice
    return 0
