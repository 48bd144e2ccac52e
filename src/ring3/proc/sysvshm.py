"""System V shared memory of one kernel: segments, their keys and numbers.

A segment is a file without a name whose one object every attachment shows; how many there are is how many regions show it, so that
fork, exec, exit and munmap need to know nothing of segments.  One that was removed goes when its last attachment has gone, which is
noticed when any call about segments is made next.
Invariant: a key leads to a segment that was not removed, or to none.
Not here: the calls (`calls/sysvshm.py`).  Source: shmget(2), shmop(2), shmctl(2), ipc/shm.c.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from ring3.errors import EIDRM, EINVAL, ENOSPC
from ring3.vfs.mapping import VnodeObject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ring3.vfs.file import File

MAX_SEGMENTS: Final = 4096              # kernel.shmmni
SEQUENCE: Final = 32768                 # numbers of one place follow each other in these steps


class Segment:
    """One segment.  `owner` and `creator` are (user, group); `mode` its nine permission bits."""

    __slots__ = (
        "attached_at", "changed_at", "creator", "creator_pid", "detached_at", "file", "key", "last_pid", "mode", "number", "object",
        "owner", "removed", "size",
    )

    def __init__(self, number: int, key: int, file: File, size: int, mode: int, owner: tuple[int, int], pid: int) -> None:
        assert file.vnode is not None
        self.number = number
        self.key = key
        self.file = file.acquire()
        self.object = VnodeObject(file.vnode, name=b"/SYSV%08x (deleted)" % key, file=file)
        self.size = size
        self.mode = mode
        self.owner = self.creator = owner
        self.creator_pid = pid
        self.last_pid = 0
        self.attached_at = self.detached_at = 0
        self.changed_at = int(time.time())
        self.removed = False

    @property
    def attachments(self) -> int:
        """How many regions show it."""
        return self.object.regions


class Segments:
    """All of a kernel's."""

    __slots__ = ("_by_place", "_keys", "_sequence")

    def __init__(self) -> None:
        self._by_place: dict[int, Segment] = {}
        self._keys: dict[int, Segment] = {}
        self._sequence = 0

    def by_key(self, key: int) -> Segment | None:
        """The segment of a key."""
        return self._keys.get(key)

    def find(self, number: int) -> Segment:
        """The segment of a number.  Raises EINVAL, EIDRM where another has its place now."""
        self.reap()
        found = self._by_place.get(number % SEQUENCE) if number >= 0 else None
        if found is None:
            raise EINVAL
        if found.number != number:
            raise EIDRM
        return found

    def at(self, place: int) -> Segment:
        """The segment at a place of the table.  Raises EINVAL."""
        self.reap()
        found = self._by_place.get(place)
        if found is None:
            raise EINVAL
        return found

    def add(self, key: int, file: File, size: int, mode: int, owner: tuple[int, int], pid: int) -> Segment:
        """A new one; key 0 leads nowhere.  Raises ENOSPC."""
        self.reap()
        if len(self._by_place) >= MAX_SEGMENTS:
            raise ENOSPC
        place = next(place for place in range(MAX_SEGMENTS) if place not in self._by_place)
        made = Segment(self._sequence * SEQUENCE + place, key, file, size, mode, owner, pid)
        self._by_place[place] = made
        if key:
            self._keys[key] = made
        return made

    def remove(self, segment: Segment) -> None:
        """No key leads there any more; the memory stays until nobody shows it."""
        segment.removed = True
        self._keys.pop(segment.key, None)
        segment.key = 0
        self.reap()

    def reap(self) -> None:
        """Let go of what was removed and is attached nowhere."""
        for place, segment in list(self._by_place.items()):
            if segment.removed and not segment.attachments:
                del self._by_place[place]
                segment.file.release()
                self._sequence = (self._sequence + 1) % SEQUENCE

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._by_place.values())
