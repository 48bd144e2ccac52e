"""Locks on files: record locks of processes (fcntl), of descriptions (OFD), and flock.

Kept by file, so that two names of one file share them.  A record lock belongs to a table of descriptors and goes when its process
closes any descriptor of the file; the other two belong to an open file description.  All of one kind on one file are disjoint for
each owner.  Source: fcntl(2) "Advisory record locking", flock(2), fs/locks.c.

Not here: waiting for a lock (the call sleeps on `queue`), mandatory locks (Linux has none any more).
"""

from __future__ import annotations

from typing import Any

from ring3.errors import EDEADLK, ENOLCK
from ring3.namedtuple import NamedTuple
from ring3.vfs.file import File
from ring3.waiting import WaitQueue

READ, WRITE, UNLOCK = 0, 1, 2
LAST = (1 << 63) - 1             # a lock to the end of the file ends here
MAX_LOCKS = 65536                # on one file


class Lock(NamedTuple):
    """Bytes `start` to `end`, both included.  `pid` is whom F_GETLK names."""

    owner: Any
    type: int
    start: int
    end: int
    pid: int


class FileLocks:
    """The locks of one kernel.

    >>> locks = FileLocks()
    >>> locks.conflict((1, 2), Lock("me", WRITE, 0, 9, 5)) is None
    True
    """

    __slots__ = ("_flocks", "_records", "_waiting", "queue")

    def __init__(self) -> None:
        self._records: dict[tuple[int, int], list[Lock]] = {}
        self._flocks: dict[tuple[int, int], dict[File, int]] = {}
        self._waiting: dict[Any, Lock] = {}       # owner -> the lock of somebody else it waits for
        self.queue = WaitQueue()                  # woken whenever some lock goes

    # --- record locks
    def conflict(self, key: tuple[int, int], wanted: Lock) -> Lock | None:
        """The first lock that stands in the way of `wanted`."""
        for held in self._records.get(key, ()):
            if (
                held.owner is not wanted.owner and held.start <= wanted.end and wanted.start <= held.end
                and WRITE in (held.type, wanted.type)
            ):
                return held
        return None

    def put(self, key: tuple[int, int], lock: Lock) -> None:
        """Set or remove a lock nothing stands in the way of; what the owner had there is replaced.

        The owner, an open `File` or a table of descriptors, tells us when it closes.  Raises ENOLCK.
        """
        kept: list[Lock] = []
        held = self._records.get(key, [])
        for old in held:
            if old.owner is not lock.owner or old.end < lock.start or lock.end < old.start:
                kept.append(old)
                continue
            if old.start < lock.start:
                kept.append(old._replace(end=lock.start - 1))
            if old.end > lock.end:
                kept.append(old._replace(start=lock.end + 1))
        if lock.type != UNLOCK:
            if len(kept) >= MAX_LOCKS:
                raise ENOLCK
            kept.append(lock)
        self._records[key] = _merged(kept)
        if isinstance(lock.owner, File):
            self._watch(lock.owner)
        else:
            lock.owner.locks = self
        self._clean(key)
        if lock.type != WRITE:
            self.queue.wake()

    def _watch(self, file: File) -> None:
        if file.watchers is None:
            file.watchers = {}
        file.watchers[self] = None

    def _clean(self, key: tuple[int, int]) -> None:
        if not self._records.get(key):
            self._records.pop(key, None)

    def _drop(self, key: tuple[int, int], owner: Any) -> None:
        held = self._records.get(key)
        if held and any(lock.owner is owner for lock in held):
            self._records[key] = [lock for lock in held if lock.owner is not owner]
            self._clean(key)
            self.queue.wake()

    def descriptor_closed(self, table: Any, file: File) -> None:
        """A process closed a descriptor: its record locks on that file go."""
        if self._records and file.vnode is not None:
            self._drop(file.vnode.fileid, table)

    def file_closed(self, file: File) -> None:
        """The last descriptor of a description is gone, and with it the description's locks."""
        if file.vnode is not None:
            key = file.vnode.fileid
            self._drop(key, file)
            self.unflock(key, file)

    # --- deadlocks
    def wait_for(self, owner: Any, held: Lock) -> None:
        """`owner` is about to sleep until `held` goes.  Raises EDEADLK when its owner waits for this one, however indirectly."""
        there: Any = held.owner
        for _ in range(len(self._waiting) + 1):
            if there is owner:
                raise EDEADLK
            further = self._waiting.get(id(there))
            if further is None:
                break
            there = further.owner
        self._waiting[id(owner)] = held

    def wait_over(self, owner: Any) -> None:
        """It does not wait any more."""
        self._waiting.pop(id(owner), None)

    # --- flock
    def flock(self, key: tuple[int, int], file: File, kind: int) -> bool:
        """Take a lock of the whole file, READ or WRITE, for a description; False when others stand in the way.

        A lock it has is given up first, as on Linux: a change is not atomic.
        """
        self.unflock(key, file)
        held = self._flocks.get(key, {})
        if any(WRITE in (kind, other) for owner, other in held.items() if owner is not file):
            return False
        self._flocks.setdefault(key, {})[file] = kind
        self._watch(file)
        return True

    def unflock(self, key: tuple[int, int], file: File) -> None:
        """Give it up; having none is fine."""
        held = self._flocks.get(key)
        if held is not None and held.pop(file, None) is not None:
            if not held:
                del self._flocks[key]
            self.queue.wake()


def _merged(locks: list[Lock]) -> list[Lock]:
    """Sorted by start; neighbours of one owner and type become one."""
    result: list[Lock] = []
    for lock in sorted(locks, key=lambda lock: (id(lock.owner), lock.start)):
        last = result[-1] if result else None
        if last is not None and last.owner is lock.owner and last.type == lock.type and last.end + 1 == lock.start:
            result[-1] = last._replace(end=lock.end)
        else:
            result.append(lock)
    result.sort(key=lambda lock: lock.start)
    return result
