"""An inode watcher: a file that tells of changes of other files, one event a read.

No file system here reports its changes, so a watcher compares what it sees with what it saw last: whenever it is read or polled,
and every `LOOK_NS` while somebody waits.  Two changes of one kind between two looks are one event; a change that was undone is
none, and so is a name that came and went.  An event the buffer has no room for is lost.
Source: Kernel/FileSystem/InodeWatcher.cpp and Kernel/API/InodeWatcherEvent.h of SerenityOS.
Not here: the calls (`calls/serenity/watch.py`).
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, Final

from ring3.abi.flags import OpenFlags, Poll
from ring3.abi.records import Attr
from ring3.errors import EAGAIN, EEXIST, EINVAL, EIO, ENOENT, ENOMEM, Errno
from ring3.namedtuple import NamedTuple
from ring3.vfs.eventfd import AnonFile
from ring3.waiting import Waiter, WaitQueue

if TYPE_CHECKING:
    from ring3.vfs.eventfd import Cancellable, Timers
    from ring3.vfs.pipe import AnonymousInodes
    from ring3.vfs.vnode import Vnode

METADATA, CONTENT, DELETED, CHILD_CREATED, CHILD_DELETED = (1 << bit for bit in range(5))
LOOK_NS: Final = 50_000_000         # how late a change may be seen by who waits for it
MAX_WATCHES: Final = 4096           # of one watcher
MAX_NAMES: Final = 65536            # of one directory; of a larger one none are told
MAX_EVENTS: Final = 16384           # that wait to be read; who does not read them hears of no more
_HEAD: Final = struct.Struct("<iIQ")


class _Seen(NamedTuple):
    """What there was to be seen of a file; None where it is gone."""

    attr: Attr | None
    names: frozenset[bytes]


class _Watch:
    """One file that is watched; `mask` says for what."""

    __slots__ = ("mask", "seen", "vnode", "wd")

    def __init__(self, wd: int, vnode: Vnode, mask: int) -> None:
        self.wd = wd
        self.vnode = vnode
        self.mask = mask
        self.seen = _look_at(vnode)


def _look_at(vnode: Vnode) -> _Seen:
    try:
        attr = vnode.getattr()
        if not attr.nlink:
            return _Seen(None, frozenset())
        listed = vnode.readdir() if vnode.is_dir else []
        return _Seen(attr, frozenset(entry.name for entry in listed) if len(listed) <= MAX_NAMES else frozenset())
    except Errno:
        return _Seen(None, frozenset())


def _changes(old: _Seen, new: _Seen, *, is_dir: bool) -> list[tuple[int, bytes | None]]:
    """(type, name) of what happened between two looks."""
    if old.attr is None:
        return []
    if new.attr is None:
        return [(DELETED, None)]
    before, after = old.attr, new.attr
    found: list[tuple[int, bytes | None]] = []
    if not is_dir and (before.size, before.mtime) != (after.size, after.mtime):
        found.append((CONTENT, None))
    if before.ctime != after.ctime or (before.mode, before.uid, before.gid) != (after.mode, after.uid, after.gid):
        found.append((METADATA, None))
    found += [(CHILD_CREATED, name) for name in sorted(new.names - old.names)]
    return found + [(CHILD_DELETED, name) for name in sorted(old.names - new.names)]


class _Lookers(WaitQueue):
    """Who waits for events: as long as there is somebody, the watcher looks by itself."""

    __slots__ = ("watcher",)

    def __init__(self, watcher: InodeWatcher) -> None:
        super().__init__()
        self.watcher = watcher

    def add(self, waiter: Waiter) -> None:
        super().add(waiter)
        self.watcher.look_later()


class InodeWatcher(AnonFile):
    """What create_inode_watcher makes."""

    __slots__ = ("_events", "_next", "_pending", "_queue", "_timers", "_watches")

    def __init__(self, inodes: AnonymousInodes, timers: Timers, flags: OpenFlags) -> None:
        super().__init__(inodes, flags)
        self._timers = timers
        self._watches: dict[int, _Watch] = {}
        self._events: deque[bytes] = deque()
        self._queue = _Lookers(self)
        self._pending: Cancellable | None = None
        self._next = 1

    @property
    def queue(self) -> WaitQueue:
        return self._queue

    @property
    def label(self) -> bytes:
        return b"InodeWatcher:(%d)" % len(self._watches)

    def watch(self, vnode: Vnode, mask: int) -> int:
        """Watch a file; the number of the watch.  Raises EEXIST for one that is watched, ENOMEM for too many."""
        if any(watch.vnode is vnode or watch.vnode.fileid == vnode.fileid for watch in self._watches.values()):
            raise EEXIST
        if len(self._watches) >= MAX_WATCHES:
            raise ENOMEM
        wd, self._next = self._next, self._next + 1
        self._watches[wd] = _Watch(wd, vnode, mask)
        return wd

    def unwatch(self, wd: int) -> None:
        """Raises ENOENT for a number that is no watch."""
        if self._watches.pop(wd, None) is None:
            raise ENOENT

    # --- looking
    def look(self) -> None:
        """Find out what changed since the last look."""
        for watch in self._watches.values():
            if len(self._events) >= MAX_EVENTS:
                return
            old, watch.seen = watch.seen, _look_at(watch.vnode)
            for kind, name in _changes(old, watch.seen, is_dir=watch.vnode.is_dir):
                if kind & watch.mask:
                    text = b"" if name is None else name + b"\0"
                    self._events.append(_HEAD.pack(watch.wd, kind, len(text)) + text)

    def look_later(self) -> None:
        """Look again in a while, for who waits."""
        if self._pending is None:
            self._pending = self._timers.schedule(self._timers.now_ns() + LOOK_NS, self._look_now)

    def _look_now(self) -> None:
        self._pending = None
        self.look()
        if self._events:
            self._queue.wake()
        elif len(self._queue):
            self.look_later()

    # --- as a file
    def read(self, nbytes: int) -> bytes:
        """The next event.  Raises EAGAIN for none, EINVAL where there is too little room for it: it is lost."""
        self.look()
        if not self._events:
            raise EAGAIN
        event = self._events.popleft()
        if nbytes < len(event):
            raise EINVAL
        return event

    def write(self, data: bytes) -> int:
        raise EIO

    def poll(self) -> Poll:
        self.look()
        return Poll.IN | Poll.RDNORM if self._events else Poll(0)

    def close(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
        self._watches.clear()
