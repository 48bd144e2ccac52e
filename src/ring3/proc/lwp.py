"""LWPs: what NetBSD knows of a thread beyond what every system does.  Made when a NetBSD call first asks for it.

A process numbers its LWPs itself: the first is 1, the next ones count up, numbers are not used again.  Linux programs never
have one of these.  Not here: the calls (`calls/netbsd/lwp.py`, `park.py`), threads as such (`proc.py`).
Source: _lwp_create(2), _lwp_park(2), _lwp_wait(2), _lwp_ctl(2).
"""

from __future__ import annotations

from typing import Final

from ring3.errors import EAGAIN
from ring3.proc.proc import Proc, Thread, ThreadState
from ring3.waiting import WaitQueue

MAX_LWPS: Final = 2048           # of one process (kern.maxlwp)


class Lwp:
    """One thread as NetBSD sees it.  `private` is what _lwp_getprivate gives, `link` the context behind the present one."""

    __slots__ = (
        "control",
        "detached",
        "is_parked",
        "lid",
        "link",
        "name",
        "park_queue",
        "private",
        "suspended",
        "unpark_pending",
        "waited_for",
        "was_unparked",
    )

    def __init__(self, lid: int) -> None:
        self.lid = lid
        self.private = 0
        self.link = 0
        self.name = b""
        self.detached = False
        self.suspended = False
        self.control = 0                 # where its lwpctl block is
        self.waited_for = 0              # the lid it waits for in _lwp_wait
        self.is_parked = False
        self.was_unparked = False        # while parked: somebody woke it
        self.unpark_pending = False      # an unpark came before the park
        self.park_queue = WaitQueue()


class LwpTable:
    """The LWPs of one process.  `gone` are those that ended, were not detached, and nobody waited for yet."""

    __slots__ = ("control_page", "controls", "gone", "last", "queue", "threads")

    def __init__(self) -> None:
        self.threads: dict[int, Thread] = {}
        self.gone: list[int] = []
        self.last = 1
        self.queue = WaitQueue()         # woken when one ends or is detached
        self.control_page = 0            # lwpctl blocks: the page, and how many of its places are taken
        self.controls = 0


def table_of(p: Proc) -> LwpTable:
    """The LWPs of a process.  Its threads that have no number yet are what is left of before: the first is 1."""
    table: LwpTable | None = p.lwps
    if table is None:
        table = p.lwps = LwpTable()
        for t in sorted(p.live_threads(), key=lambda t: t.tid):
            lid = 1 if not table.threads else table.last + 1
            table.last = max(table.last, lid)
            t.lwp = Lwp(lid)
            table.threads[lid] = t
    return table


def lwp_of(t: Thread) -> Lwp:
    """The LWP of a thread."""
    lwp = t.lwp
    if lwp is None:
        table = table_of(t.proc)
        if t.lwp is None:
            enter(table, t)
        lwp = t.lwp
    assert isinstance(lwp, Lwp)
    return lwp


def enter(table: LwpTable, t: Thread) -> Lwp:
    """Number a new thread.  Raises EAGAIN when a process has too many."""
    if len(table.threads) + len(table.gone) >= MAX_LWPS:
        raise EAGAIN
    table.last += 1
    lwp = t.lwp = Lwp(table.last)
    table.threads[lwp.lid] = t
    return lwp


def find_lwp(p: Proc, lid: int) -> Thread | None:
    """The living thread with this number."""
    t = table_of(p).threads.get(lid)
    return t if t is not None and t.state is not ThreadState.DEAD else None


def leave(t: Thread) -> None:
    """`t` ends by its own wish: those who wait for it are told."""
    lwp, table = lwp_of(t), table_of(t.proc)
    table.threads.pop(lwp.lid, None)
    if not lwp.detached:
        table.gone.append(lwp.lid)
    table.queue.wake()


def forget(p: Proc) -> None:
    """exec: the one thread that is left is LWP 1 again, with nothing of before."""
    p.lwps = None
    for t in p.threads.values():
        t.lwp = None
