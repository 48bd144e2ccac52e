"""What SerenityOS knows of a process and its threads beyond what every system does.  Made when one of its calls first asks.

Not here: the calls (`calls/serenity/thread.py`, `process.py`), threads as such (`proc.py`), tracing (`tracing.py`).
Source: Kernel/Thread.h and Kernel/Process.h (reference, sections 1.5, 1.13, 1.19).
"""

from __future__ import annotations

from typing import Final

from ring3.errors import ENOBUFS
from ring3.proc.proc import Proc, Thread
from ring3.proc.profile import Profile
from ring3.waiting import WaitQueue

NORMAL_PRIORITY: Final = 30
COREDUMP_SLOTS: Final = 4


class Task:
    """One thread: whether somebody may still join it, its priority, which is kept to be told (the host schedules), and what it
    left when it ended.
    """

    __slots__ = ("ended", "joinable", "priority", "value")

    def __init__(self, *, joinable: bool = True, priority: int = NORMAL_PRIORITY) -> None:
        self.joinable = joinable
        self.priority = priority
        self.ended = False
        self.value = 0


class Tasks:
    """One process.  `gone` are threads that ended and may be joined; `left` is woken when one ends.  `title` is its name, where
    that is not its first thread's; `tracees` are whom it traces.
    """

    __slots__ = ("coredump", "gone", "left", "profile", "title", "tracees", "waits_for_tracer")

    def __init__(self) -> None:
        self.gone: dict[int, Task] = {}
        self.left = WaitQueue()
        self.coredump: list[tuple[bytes, bytes]] = []   # what a core file would tell of itself
        self.title: bytes | None = None
        self.tracees: list[Proc] = []
        self.profile: Profile | None = None             # where somebody profiles it
        self.waits_for_tracer = False                   # every exec stops for a tracer (PT_TRACE_ME)

    def describe(self, key: bytes, value: bytes) -> None:
        """One more core-dump property; a key that is there already takes another slot.  Raises ENOBUFS where none is left."""
        if len(self.coredump) >= COREDUMP_SLOTS:
            raise ENOBUFS
        self.coredump.append((key, value))


def tasks_of(p: Proc) -> Tasks:
    """Those of a process."""
    if p.tasks is None:
        p.tasks = Tasks()
    tasks: Tasks = p.tasks
    return tasks


def task_of(t: Thread) -> Task:
    """That of a thread."""
    if t.task is None:
        t.task = Task()
    task: Task = t.task
    return task


def after_exec(p: Proc) -> None:
    """exec: the program's own name, nobody left to be joined, no core-dump properties; the wish for a tracer stays."""
    tasks: Tasks | None = p.tasks
    if tasks is not None:
        tasks.title = None
        tasks.gone.clear()
        if not p.exiting:               # what was said of its end stays known
            tasks.coredump.clear()
    for t in p.threads.values():
        if t.task is not None:
            t.task.joinable = True
