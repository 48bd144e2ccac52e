"""What a thread wished about its scheduling: kept to be told, for the host schedules.  Source: sched(7)."""

from __future__ import annotations

from typing import Final

from ring3.errors import EINVAL
from ring3.namedtuple import NamedTuple
from ring3.proc.proc import Thread


class Sched(NamedTuple):
    """`affinity` is a mask of CPUs, 0 for all."""

    policy: int = 0
    priority: int = 0
    affinity: int = 0
    ioprio: int = 0


OTHER: Final = Sched()


def sched_of(t: Thread) -> Sched:
    """The wishes of a thread."""
    return t.sched or OTHER


def priority_range(policy: int) -> tuple[int, int]:
    """Lowest and highest static priority.  Raises EINVAL for no policy.

    >>> priority_range(1)
    (1, 99)
    """
    if policy in (1, 2):
        return 1, 99
    if policy in (0, 3, 5, 6):
        return 0, 0
    raise EINVAL
