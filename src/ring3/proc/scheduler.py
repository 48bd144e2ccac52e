"""The kernel's loop: wait for a stop, serve it, let the thread go on; step the calls that sleep; run timers.

Single-threaded: everything in the kernel happens inside `Scheduler.run`, on the thread that made the machine, so nothing
needs a lock.  Other threads reach in through `post` alone.  What a stop means is not known here: `serve` (given by
whoever builds the system) is called with the thread.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

from ring3.machine.base import Machine
from ring3.proc.proc import Thread, ThreadState
from ring3.waiting import Interrupted, Sleep

monotonic_ns = time.monotonic_ns


class Timer:
    """One pending call-back; `cancel` is harmless at any time."""

    __slots__ = ("callback", "deadline_ns", "queue")

    def __init__(self, queue: TimerQueue, deadline_ns: int, callback: Callable[[], None]) -> None:
        self.queue = queue
        self.deadline_ns = deadline_ns
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self.queue.cancelled += 1

    def __lt__(self, other: Timer) -> bool:
        return self.deadline_ns < other.deadline_ns


class TimerQueue:
    """Call-backs by CLOCK_MONOTONIC deadline in ns."""

    __slots__ = ("_heap", "cancelled")

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self.cancelled = 0

    def schedule(self, deadline_ns: int, callback: Callable[[], None]) -> Timer:
        """Call `callback` once the clock reaches `deadline_ns`."""
        timer = Timer(self, deadline_ns, callback)
        heappush(self._heap, timer)
        if self.cancelled > 64 and self.cancelled * 2 > len(self._heap):
            self._heap = [t for t in self._heap if t.callback is not None]
            heapify(self._heap)
            self.cancelled = 0
        return timer

    def next_deadline(self) -> int | None:
        """When the next one is due."""
        while self._heap and self._heap[0].callback is None:
            heappop(self._heap)
            self.cancelled -= 1
        return self._heap[0].deadline_ns if self._heap else None

    def run_due(self, now_ns: int) -> None:
        """Call all that are due, in order."""
        while self._heap and (self._heap[0].callback is None or self._heap[0].deadline_ns <= now_ns):
            timer = heappop(self._heap)
            callback, timer.callback = timer.callback, None
            if callback is None:
                self.cancelled -= 1
            else:
                callback()


class Scheduler:
    """Who runs, who sleeps, what is due."""

    def __init__(self, machine: Machine, serve: Callable[[Thread], None]) -> None:
        self.machine = machine
        self.serve = serve
        self.timers = TimerQueue()
        self.ready: deque[Thread] = deque()
        self.watchers: dict[int, Callable[[int], None]] = {}     # host descriptor -> call-back(events)
        self.finished = False
        self._posted: deque[Callable[[], None]] = deque()
        self._alarm: int | None = None
        self.is_host = False           # what happens now is no guest's doing: a timer, the host, another thread of ours

    # --- from other threads
    def post(self, action: Callable[[], None]) -> None:
        """Have `action` called on the kernel's thread soon.  The one method any thread may call."""
        self._posted.append(action)
        self.machine.ring()

    # --- the loop
    def run(self) -> None:
        """Until `finished`."""
        machine, serve, running = self.machine, self.serve, ThreadState.SERVED
        while not self.finished:
            if self.ready:
                self._step_ready()
            self._set_alarm()
            cpu = machine.wait(block=not self.ready)
            if cpu is None:
                self._serve_host()
            else:
                t = cpu.owner
                t.state = running
                serve(t)

    def _set_alarm(self) -> None:
        deadline = self.timers.next_deadline()
        if deadline != self._alarm:
            self._alarm = deadline
            self.machine.set_alarm(deadline)

    def _serve_host(self) -> None:
        self.is_host = True
        while self._posted:
            self._posted.popleft()()
        if self._alarm is not None:
            now = monotonic_ns()
            if now >= self._alarm:
                self._alarm = None
                self.timers.run_due(now)
        if self.watchers:
            for fd, events in self.machine.ready():
                callback = self.watchers.get(fd)
                if callback is not None:
                    callback(events)
        self.is_host = False

    def watch(self, fd: int, events: int, callback: Callable[[int], None] | None) -> None:
        """Call `callback(events)` while host descriptor `fd` shows one of `events`; 0 or None forgets it.

        Raises PermissionError for a descriptor that is always ready.
        """
        if events and callback is not None:
            self.machine.watch(fd, events)
            self.watchers[fd] = callback
        elif self.watchers.pop(fd, None) is not None:
            self.machine.watch(fd, 0)

    # --- sleeping calls
    def start(self, t: Thread, finish: Callable[[Thread, Any], None]) -> None:
        """Drive the coroutine just put into `t.coroutine` up to its first sleep or its end."""
        t.finish = finish
        self._step(t, None)

    def _step_ready(self) -> None:
        for _ in range(len(self.ready)):
            t = self.ready.popleft()
            if t.state is ThreadState.READY:
                t.state = ThreadState.SERVED
                value, t.resume_value = t.resume_value, True
                t.system.current = t
                self._step(t, value)

    def _step(self, t: Thread, value: Any) -> None:
        coroutine, finish = t.coroutine, t.finish
        assert coroutine is not None
        assert finish is not None
        try:
            sleep = coroutine.throw(value) if isinstance(value, BaseException) else coroutine.send(value)
        except StopIteration as end:
            t.coroutine = t.finish = None
            finish(t, end.value)
        except BaseException as error:  # noqa: BLE001 - finish tells refusals from faults of the kernel and raises the latter
            t.coroutine = t.finish = None
            finish(t, error)
        else:
            if t.state is not ThreadState.DEAD:
                self._put_to_sleep(t, sleep)

    def _put_to_sleep(self, t: Thread, sleep: Sleep) -> None:
        if t.work and not sleep.killable:            # a signal came while the call was being served
            self._make_ready(t, Interrupted())
            return
        if sleep.deadline_ns == 0 and not sleep.queues:
            self._make_ready(t, value=True)
            return
        t.state = ThreadState.SLEEPING
        t.sleep = sleep
        sleep.arm(lambda: self.wake(t, value=True))
        if sleep.deadline_ns is not None and t.sleep is sleep:
            t.sleep_timer = self.timers.schedule(sleep.deadline_ns, lambda: self.wake(t, value=False))

    def wake(self, t: Thread, *, value: Any) -> None:
        """End the sleep of `t`: True woken, False timed out, an exception to throw into its call."""
        sleep = t.sleep
        if sleep is None:
            return
        t.sleep = None
        sleep.woken = True
        sleep.disarm()
        if t.sleep_timer is not None:
            t.sleep_timer.cancel()
            t.sleep_timer = None
        if t.system.instruments and not self.is_host:
            t.system.tell("wake", t.system.current, t)
        self._make_ready(t, value)

    def _make_ready(self, t: Thread, value: Any) -> None:
        t.state = ThreadState.READY
        t.resume_value = value
        self.ready.append(t)

    def interrupt(self, t: Thread) -> None:
        """A signal is to be taken by `t`: end its sleep, or stop it if it runs."""
        if t.state is ThreadState.SLEEPING:
            if t.sleep is not None and not t.sleep.killable:
                self.wake(t, value=Interrupted())
        elif t.state is ThreadState.RUNNING:
            t.cpu.interrupt()

    def forget(self, t: Thread) -> None:
        """`t` is dead: its sleep and its call end without another step."""
        if t.sleep is not None:
            t.sleep.woken = True
            t.sleep.disarm()
            t.sleep = None
        if t.sleep_timer is not None:
            t.sleep_timer.cancel()
            t.sleep_timer = None
        coroutine, t.coroutine = t.coroutine, None
        if coroutine is not None and not coroutine.cr_running:  # type: ignore[attr-defined]
            coroutine.close()
