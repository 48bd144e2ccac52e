"""Sleeping: how a system call that cannot finish yet waits for something to change.

The ground floor of the scheduler, so that pipes and sockets (below the processes) can be slept on.  The rule of the house:
files never sleep.  An operation that would block raises EAGAIN; the *call* (an `async def`) sleeps on the file's queue
and tries again:

    while True:
        try:
            return file.read(nbytes)
        except EAGAIN:
            await sleep_on(file.queue)

A sleep ends when a queue it stands in is woken, its deadline passes, or a signal for the thread comes, which is thrown into the
coroutine as `Interrupted`.  Nothing here knows of threads: what a coroutine yields is a `Sleep`; the scheduler arms it.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Generator
from typing import Protocol


class Interrupted(Exception):
    """Thrown into a sleeping call when a signal is to be taken.  The trap decides whether the call is restarted."""


class Waiter(Protocol):
    """Who stands in a queue."""

    def notify(self) -> None:
        """Something changed; look again."""


class WaitQueue:
    """Waiters in order of arrival.

    >>> queue = WaitQueue()
    >>> queue.wake()
    0
    """

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: dict[Waiter, None] = {}

    def add(self, waiter: Waiter) -> None:
        """Stand in line; standing there already changes nothing."""
        self._waiters[waiter] = None

    def remove(self, waiter: Waiter) -> None:
        """Leave the line; not standing there is harmless."""
        self._waiters.pop(waiter, None)

    def wake(self, count: int | None = None) -> int:
        """Notify the first `count` waiters (all without it); how many there were.  Each decides itself whether it leaves."""
        chosen = list(self._waiters)[:count]
        for waiter in chosen:
            waiter.notify()
        return len(chosen)

    def __len__(self) -> int:
        return len(self._waiters)


class Sleep:
    """One sleep of one coroutine: the queues it stands in, when it gives up, and whom to tell.

    `killable`: only a fatal signal ends it (a vfork parent), others wait.
    """

    __slots__ = ("deadline_ns", "killable", "on_wake", "queues", "woken")

    def __init__(self, queues: tuple[WaitQueue, ...], deadline_ns: int | None, *, killable: bool) -> None:
        self.queues = queues
        self.deadline_ns = deadline_ns
        self.killable = killable
        self.woken = False
        self.on_wake: Callable[[], None] | None = None

    def arm(self, on_wake: Callable[[], None]) -> None:
        """Stand in all queues; `on_wake` is called once, by the first that wakes."""
        self.on_wake = on_wake
        for queue in self.queues:
            queue.add(self)

    def notify(self) -> None:
        if not self.woken:
            self.woken = True
            self.disarm()
            if self.on_wake is not None:
                self.on_wake()

    def disarm(self) -> None:
        """Leave all queues."""
        for queue in self.queues:
            queue.remove(self)


@types.coroutine
def sleep_on(
    *queues: WaitQueue, deadline_ns: int | None = None, killable: bool = False
) -> Generator[Sleep, bool, bool]:
    """Sleep until a queue is woken (True) or CLOCK_MONOTONIC reaches `deadline_ns` (False).

    Raises `Interrupted` when a signal is to be taken.
    """
    return (yield Sleep(queues, deadline_ns, killable=killable))


@types.coroutine
def let_others_run() -> Generator[Sleep, bool, bool]:
    """Go to the end of the line: whatever else is due is served first.  Only a fatal signal keeps the call from going on."""
    return (yield Sleep((), 0, killable=True))
