"""epoll: a set of watched files that knows which of them may be ready.

Each `Watch` stands in the queue of its file; woken, it joins the `ready` list, and `wait` asks only those, in turn.  A
level-triggered one that was ready goes to the end of the list and is asked again next time.
Invariants: every watch is in `watches` under its (descriptor number, file), in its file's queue and in the file's `watchers`
until it is deleted or the file closes; nesting is free of cycles and at most five deep.

Source: fs/eventpoll.c, epoll(7), epoll_ctl(2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ring3.abi.flags import EpollFlags, OpenFlags, Poll
from ring3.errors import EEXIST, EINVAL, ELOOP, ENOENT, EPERM
from ring3.vfs.eventfd import AnonFile
from ring3.waiting import WaitQueue

if TYPE_CHECKING:
    from ring3.vfs.file import File
    from ring3.vfs.pipe import AnonymousInodes

MAX_DEPTH: Final = 5            # epolls above each other (EP_MAX_NESTS counts the steps)
PATH_LIMITS: Final = (1000, 500, 100, 50, 10)      # ways of each length from a file up; the first is not looked at
MAX_EVENTS: Final = (1 << 31) // 12
_ALWAYS: Final = int(Poll.ERR | Poll.HUP)
_EVENTS: Final = 0xFFFF
_ET: Final = int(EpollFlags.ET)
_ONESHOT: Final = int(EpollFlags.ONESHOT)
_EXCLUSIVE: Final = int(EpollFlags.EXCLUSIVE)
_EXCLUSIVE_OK: Final = (
    int(Poll.IN | Poll.OUT | Poll.RDNORM | Poll.WRNORM | Poll.ERR | Poll.HUP) | int(EpollFlags.WAKEUP) | _ET | _EXCLUSIVE
)


class Watch:
    """One watched descriptor.  `events` with EpollFlags; `armed` is False between a ONESHOT report and the next `modify`."""

    __slots__ = ("armed", "data", "epoll", "events", "fd", "file", "queue")

    def __init__(self, epoll: EpollFile, fd: int, file: File, events: int, data: int, queue: WaitQueue) -> None:
        self.epoll = epoll
        self.fd = fd
        self.file = file
        self.events = events
        self.data = data
        self.armed = True
        self.queue = queue

    def notify(self) -> None:
        """The file's queue was woken: it may be ready."""
        if self.armed:
            self.epoll.may_be_ready(self)

    def file_closed(self, file: File) -> None:
        self.epoll.forget(self)


class EpollFile(AnonFile):
    """What epoll_create makes."""

    __slots__ = ("_queue", "ready", "watches")

    def __init__(self, inodes: AnonymousInodes) -> None:
        super().__init__(inodes, OpenFlags.RDWR)
        self.watches: dict[tuple[int, File], Watch] = {}
        self.ready: dict[Watch, None] = {}          # in order; may hold some that are not ready any more
        self._queue = WaitQueue()

    @property
    def queue(self) -> WaitQueue:
        return self._queue

    @property
    def label(self) -> bytes:
        return b"anon_inode:[eventpoll]"

    # --- epoll_ctl
    def add(self, fd: int, file: File, events: int, data: int) -> None:
        """Watch `file`, which the caller knows as `fd`.

        Raises EPERM for files that are always ready, EINVAL for the epoll itself, for what EXCLUSIVE does not go with and for a
        file that too many epolls would hear of through others, EEXIST, ELOOP for a cycle or deep nesting.
        """
        queue = file.queue
        if queue is None or not file.inherited:         # a kqueue, of another system, would make circles nobody looks for
            raise EPERM
        if file is self:
            raise EINVAL
        if events & _EXCLUSIVE and (isinstance(file, EpollFile) or events & ~_EXCLUSIVE_OK):
            raise EINVAL
        if isinstance(file, EpollFile) and (file.reaches(self) or file.depth() + self.height() > MAX_DEPTH):
            raise ELOOP
        if (fd, file) in self.watches:
            raise EEXIST
        if self.watchers or isinstance(file, EpollFile):
            self._check_paths(file)
        watch = Watch(self, fd, file, events | _ALWAYS, data, queue)
        self.watches[fd, file] = watch
        if file.watchers is None:
            file.watchers = {}
        file.watchers[watch] = None
        queue.add(watch)
        self._look(watch)

    def modify(self, fd: int, file: File, events: int, data: int) -> None:
        """Change what is waited for; a ONESHOT watch is armed again.  Raises ENOENT, EINVAL for anything EXCLUSIVE."""
        watch = self.watches.get((fd, file))
        if file is self:
            raise EINVAL
        if watch is None:
            raise EINVAL if events & _EXCLUSIVE else ENOENT
        if (events | watch.events) & _EXCLUSIVE:
            raise EINVAL
        watch.events = events | _ALWAYS
        watch.data = data
        watch.armed = True
        self._look(watch)

    def delete(self, fd: int, file: File) -> None:
        """Raises ENOENT, EINVAL for the epoll itself."""
        if file is self:
            raise EINVAL
        watch = self.watches.get((fd, file))
        if watch is None:
            raise ENOENT
        self.forget(watch)

    def _look(self, watch: Watch) -> None:
        if watch.file.poll() & watch.events & _EVENTS:
            self.may_be_ready(watch)

    def forget(self, watch: Watch) -> None:
        """The watch ends."""
        self.watches.pop((watch.fd, watch.file), None)
        self.ready.pop(watch, None)
        watch.queue.remove(watch)
        if watch.file.watchers is not None:
            watch.file.watchers.pop(watch, None)

    def may_be_ready(self, watch: Watch) -> None:
        """A watched file changed."""
        if watch not in self.ready:
            self.ready[watch] = None
        if len(self._queue) and self._is_ready(watch):
            self._queue.wake()

    def _is_ready(self, watch: Watch) -> bool:
        return bool(int(watch.file.poll()) & watch.events & _EVENTS)

    # --- nesting
    def below(self) -> dict[File, int]:
        """All that is watched from here, directly or through others: each with its greatest distance."""
        found: dict[File, int] = {}
        level: set[File] = {self}
        for distance in range(1, MAX_DEPTH + 1):
            level = {watch.file for epoll in level if isinstance(epoll, EpollFile) for watch in epoll.watches.values()}
            found.update(dict.fromkeys(level, distance))
        return found

    def reaches(self, other: EpollFile) -> bool:
        """Whether watching this one leads to `other`."""
        return other is self or other in self.below()

    def depth(self) -> int:
        """How many epolls stand below each other from here, this one included."""
        return 1 + max((distance for file, distance in self.below().items() if isinstance(file, EpollFile)), default=0)

    def height(self) -> int:
        """How many epolls watch each other above, this one not included, plus one."""
        height, level = 0, {self}
        while level:
            height += 1
            level = {watch.epoll for epoll in level for watch in epoll.watchers or () if isinstance(watch, Watch)}
        return height

    def _check_paths(self, file: File) -> None:
        """Raises EINVAL when a file below would have too many ways up to be told of each (reverse_path_check)."""
        leaves = [f for f in file.below() if not isinstance(f, EpollFile)] if isinstance(file, EpollFile) else [file]
        for leaf in leaves:
            ways = _ways_up(leaf)
            joins = _ways_up(leaf, via=file) if leaf is not file else {0: 1}
            for distance, count in joins.items():
                for above, more in {0: 1, **_ways_up(self)}.items():
                    step = distance + above + 1
                    ways[step] = ways.get(step, 0) + count * more
            if any(count > PATH_LIMITS[min(step, MAX_DEPTH) - 1] for step, count in ways.items() if step > 1):
                raise EINVAL

    # --- waiting
    def wait(self, max_events: int) -> list[tuple[int, int]]:
        """Up to `max_events` ready ones as (events, data); empty when the call is to sleep on `queue`.  Raises EINVAL."""
        if not 0 < max_events <= MAX_EVENTS:
            raise EINVAL
        found: list[tuple[int, int]] = []
        again: list[Watch] = []
        ready = self.ready
        for watch in list(ready):
            if len(found) == max_events:
                break
            del ready[watch]
            events = int(watch.file.poll()) & watch.events & _EVENTS
            if not events or not watch.armed:
                continue
            found.append((events, watch.data))
            if watch.events & _ONESHOT:
                watch.armed = False
            elif not watch.events & _ET:
                again.append(watch)
        for watch in again:
            ready[watch] = None
        return found

    def poll(self) -> Poll:
        """Readable while one of them is ready; those that are not leave the list."""
        for watch in list(self.ready):
            if watch.armed and self._is_ready(watch):
                return Poll.IN | Poll.RDNORM
            del self.ready[watch]
        return Poll(0)

    def close(self) -> None:
        for watch in list(self.watches.values()):
            self.forget(watch)


def _ways_up(file: File, via: File | None = None) -> dict[int, int]:
    """How many ways of each length lead from `file` to epolls above it; with `via`, only those that end there."""
    ways: dict[int, int] = {}
    level: dict[File, int] = {file: 1}
    for distance in range(1, MAX_DEPTH + 1):
        above: dict[File, int] = {}
        for below, count in level.items():
            for watch in below.watchers or ():
                if isinstance(watch, Watch):
                    above[watch.epoll] = above.get(watch.epoll, 0) + count
        ways[distance] = sum(above.values()) if via is None else above.get(via, 0)
        level = above
    return {distance: count for distance, count in ways.items() if count}
