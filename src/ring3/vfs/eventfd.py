"""eventfd and timerfd: descriptors that count, by hand or by clock.

Source: fs/eventfd.c, fs/timerfd.c; eventfd(2), timerfd_create(2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from ring3.abi.flags import OpenFlags, Poll, Whence
from ring3.errors import EAGAIN, EINVAL
from ring3.vfs.file import File
from ring3.waiting import WaitQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from ring3.abi.records import Attr
    from ring3.vfs.pipe import AnonymousInodes

EFD_SEMAPHORE: Final = 1
COUNT_MAX: Final = (1 << 64) - 1
TFD_TIMER_ABSTIME: Final = 1
TFD_TIMER_CANCEL_ON_SET: Final = 2


class AnonFile(File):
    """An open file without any name, of the kind /proc/PID/fd shows as anon_inode:[KIND]."""

    __slots__ = ("attr",)

    def __init__(self, inodes: AnonymousInodes, flags: OpenFlags) -> None:
        super().__init__(None, flags & OpenFlags.NONBLOCK | OpenFlags.RDWR)
        self.attr = inodes.attr(inodes.anon_dev, 0o600)

    def getattr(self) -> Attr:
        """The mode has no type, as on Linux."""
        return self.attr

    def seek(self, offset: int, whence: Whence) -> int:
        """Nothing moves, and nothing is refused."""
        return 0


class EventFile(AnonFile):
    """A 64-bit counter: a write adds to it, a read takes it all, or 1 with `semaphore`."""

    __slots__ = ("_queue", "count", "semaphore")

    def __init__(self, inodes: AnonymousInodes, count: int, flags: OpenFlags, *, semaphore: bool = False) -> None:
        super().__init__(inodes, flags)
        self.count = count
        self.semaphore = semaphore
        self._queue = WaitQueue()

    @property
    def queue(self) -> WaitQueue:
        return self._queue

    @property
    def label(self) -> bytes:
        return b"anon_inode:[eventfd]"

    def read(self, nbytes: int) -> bytes:
        """Eight bytes.  Raises EINVAL for less room, EAGAIN while the count is 0."""
        if nbytes < 8:
            raise EINVAL
        if not self.count:
            raise EAGAIN
        value = 1 if self.semaphore else self.count
        self.count -= value
        self._queue.wake()
        return value.to_bytes(8, "little")

    def write(self, data: bytes) -> int:
        """Eight bytes.  Raises EINVAL for fewer and for 2**64-1, EAGAIN while the sum would reach that."""
        if len(data) < 8:
            raise EINVAL
        value = int.from_bytes(data[:8], "little")
        if value == COUNT_MAX:
            raise EINVAL
        if COUNT_MAX - self.count <= value:
            raise EAGAIN
        self.count += value
        self._queue.wake()
        return 8

    def poll(self) -> Poll:
        events = Poll.IN if self.count else Poll(0)
        if self.count < COUNT_MAX - 1:
            events |= Poll.OUT
        return events


class Cancellable(Protocol):
    """One call-back that is due."""

    def cancel(self) -> None:
        """Have it never called; harmless afterwards."""


class Timers(Protocol):
    """A clock that calls back."""

    def now_ns(self) -> int:
        """The time on this clock."""

    def schedule(self, deadline_ns: int, callback: Callable[[], None]) -> Cancellable:
        """Call back once this clock reaches `deadline_ns`."""


class TimerFile(AnonFile):
    """Counts how often a timer expired; times in ns on the clock of `timers`."""

    __slots__ = ("_expired", "_pending", "_queue", "clock", "deadline_ns", "interval_ns", "timers")

    def __init__(self, inodes: AnonymousInodes, timers: Timers, clock: int, flags: OpenFlags) -> None:
        super().__init__(inodes, flags)
        self.timers = timers
        self.clock = clock              # the number timerfd_create was given, for /proc
        self.deadline_ns = 0            # 0: disarmed
        self.interval_ns = 0
        self._expired = 0               # not yet read; what passed since `deadline_ns` is added on looking
        self._pending: Cancellable | None = None
        self._queue = WaitQueue()

    @property
    def queue(self) -> WaitQueue:
        return self._queue

    @property
    def label(self) -> bytes:
        return b"anon_inode:[timerfd]"

    def settime(self, value_ns: int, interval_ns: int, *, absolute: bool) -> tuple[int, int]:
        """Arm it, or with a `value_ns` of 0 disarm it; what `gettime` said before.  Raises EINVAL for negative times."""
        if value_ns < 0 or interval_ns < 0:
            raise EINVAL
        before = self.gettime()
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
        self._expired = 0
        self.interval_ns = interval_ns
        self.deadline_ns = 0
        if value_ns:
            self.deadline_ns = value_ns if absolute else self.timers.now_ns() + value_ns
            self._pending = self.timers.schedule(self.deadline_ns, self._ring)
        return before

    def gettime(self) -> tuple[int, int]:
        """Time left (0 when disarmed) and interval."""
        if not self.deadline_ns:
            return 0, self.interval_ns
        self._catch_up()
        return max(self.deadline_ns - self.timers.now_ns(), 1) if self.deadline_ns else 0, self.interval_ns

    def _ring(self) -> None:
        self._pending = None
        self._catch_up()
        self._queue.wake()

    def _catch_up(self) -> None:
        """Count what expired by now; a call-back for the next one is kept while nothing waits to be read."""
        now = self.timers.now_ns()
        if self.deadline_ns and now >= self.deadline_ns:
            if self.interval_ns:
                times = (now - self.deadline_ns) // self.interval_ns + 1
                self.deadline_ns += times * self.interval_ns
            else:
                times, self.deadline_ns = 1, 0
            self._expired += times
        if self.deadline_ns and self._pending is None and not self._expired:
            self._pending = self.timers.schedule(self.deadline_ns, self._ring)

    def read(self, nbytes: int) -> bytes:
        """Eight bytes: expirations since the last read.  Raises EINVAL for less room, EAGAIN for none."""
        if nbytes < 8:
            raise EINVAL
        self._catch_up()
        if not self._expired:
            raise EAGAIN
        count, self._expired = self._expired, 0
        self._catch_up()
        return count.to_bytes(8, "little")

    def write(self, data: bytes) -> int:
        raise EINVAL

    def poll(self) -> Poll:
        self._catch_up()
        return Poll.IN if self._expired else Poll(0)

    def close(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
        self.deadline_ns = 0
