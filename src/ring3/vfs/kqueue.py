"""kqueue: a set of knotes, each of which watches one thing and knows whether there is something to tell of it.

A knote stands in the queue of what it watches, as epoll's watches do (`epoll.py`), or is told by its owner.  Woken, it asks its
`Watcher`; if there is something, it becomes active and joins the `ready` list, which `scan` works off in order.  What no queue
tells of is `polled`: asked again at each scan, and every `POLL_NS` while somebody sleeps; where a state is watched (the null device
can always be read) EV_CLEAR tells of it once, and again when it has ended meanwhile or there is more.
Invariants: a knote is in `knotes` under its (filter, ident) until it is deleted, its description or its kqueue closes; it is in
`ready` only while it is active and not disabled.

The rules are NetBSD's: what EV_ADD of a known knote changes, what EV_ONESHOT, EV_CLEAR and EV_DISPATCH do once an event was given,
that EV_DELETE and EV_ENABLE of an unknown one are ENOENT.  Source: kqueue(2), sys/kern/kern_event.c (kqueue_register,
kqueue_scan).  Not here: what is watched (`kqueuefiles.py`, `proc/kqueue.py`), the call (`calls/netbsd/kqueue.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.eventrecords import Ev, KEvent
from ring3.abi.flags import FileType, OpenFlags, Poll
from ring3.abi.records import Attr
from ring3.errors import EBADF, EINVAL, ENOENT, ENOMEM, ENOTTY
from ring3.vfs.eventfd import AnonFile
from ring3.waiting import WaitQueue

if TYPE_CHECKING:
    from ring3.protocols import GuestMemory
    from ring3.vfs.file import File
    from ring3.vfs.pipe import AnonymousInodes

POLL_NS: Final = 50_000_000            # how late a change that no queue tells of may be seen
MAX_KNOTES: Final = 1 << 16            # of one kqueue, whatever a program invents as idents
_KEVENT_SIZE: Final = 40
_ADD, _DELETE, _ENABLE, _DISABLE = int(Ev.ADD), int(Ev.DELETE), int(Ev.ENABLE), int(Ev.DISABLE)
_ONESHOT, _CLEAR, _DISPATCH = int(Ev.ONESHOT), int(Ev.CLEAR), int(Ev.DISPATCH)


class Knote:
    """One thing watched.  `flags`, `fflags` and `data` are what is told; `sfflags` and `sdata` what was asked for.

    `state` is its watcher's own.
    """

    __slots__ = (
        "active", "data", "disabled", "fflags", "file", "filter", "flags", "ident", "kqueue", "sdata", "sfflags", "state", "udata",
        "watcher",
    )

    def __init__(self, kqueue: Kqueue, event: KEvent, watcher: Watcher, file: File | None) -> None:
        self.kqueue = kqueue
        self.watcher = watcher
        self.file = file
        self.ident = event.ident
        self.filter = event.filter
        self.flags = event.flags
        self.udata = event.udata
        self.sfflags = event.fflags
        self.sdata = event.data
        self.fflags = 0
        self.data = 0
        self.active = False
        self.disabled = False
        self.state: Any = None

    def notify(self) -> None:
        """The queue of what is watched was woken."""
        if self.watcher.check(self):
            self.kqueue.activate(self)

    def file_closed(self, file: File) -> None:
        self.kqueue.drop(self)

    def shown(self) -> KEvent:
        """The event as it stands."""
        return KEvent(self.ident, self.filter, self.flags, self.fflags, self.data, self.udata)


class Watcher:
    """What one filter does (NetBSD: struct filterops).  Stateless but for what a class keeps in `Knote.state`."""

    __slots__ = ()
    watches_files = False              # idents are descriptors
    watches_states = False             # what holds goes on holding after it was told

    def attach(self, kn: Knote) -> None:
        """Begin.  Raises ESRCH, EACCES, EINVAL, ENOMEM …; nothing is left then."""

    def detach(self, kn: Knote) -> None:
        """End; harmless when it ended already."""

    def check(self, kn: Knote) -> bool:
        """Whether there is something to tell; brings `data`, `fflags` and EV_EOF up to date."""
        raise NotImplementedError

    def touch(self, kn: Knote, event: KEvent) -> None:
        """EV_ADD or EV_ENABLE of a knote there already: other wishes, what was triggered stays."""
        kn.sfflags, kn.sdata = event.fflags, event.data

    def take(self, kn: Knote) -> KEvent:
        """The event that is given."""
        return kn.shown()

    def clear(self, kn: Knote) -> None:
        """EV_CLEAR: the event was given, begin anew."""
        kn.data = kn.fflags = 0


class Kqueue(AnonFile):
    """What kqueue(2) makes.  `watchers_of` says who serves each filter."""

    __slots__ = ("_queue", "filters", "knotes", "polled", "ready")
    inherited = False

    def __init__(self, inodes: AnonymousInodes, flags: OpenFlags, filters: Mapping[int, Watcher]) -> None:
        super().__init__(inodes, flags)
        self.filters = filters
        self.knotes: dict[tuple[int, int], Knote] = {}
        self.ready: dict[Knote, None] = {}
        self.polled: dict[Knote, int | None] = {}       # with the `data` that EV_CLEAR told of, while that state lasts
        self._queue = WaitQueue()

    @property
    def queue(self) -> WaitQueue:
        return self._queue

    @property
    def label(self) -> bytes:
        return b"anon_inode:[kqueue]"

    # --- changes
    def register(self, event: KEvent, descriptor: Callable[[int], File]) -> None:
        """One change of the list; `descriptor` finds open files.

        Raises EINVAL for a filter nobody serves, EBADF, ENOENT for a knote that is not there, ENOMEM, and what `attach` does.
        """
        watcher = self.filters.get(event.filter)
        if watcher is None:
            raise EINVAL
        file = None
        if watcher.watches_files:
            if event.ident > 0x7FFF_FFFF:
                raise EBADF
            file = descriptor(event.ident)
        kn = self.knotes.get((event.filter, event.ident))
        if kn is not None and kn.file is not file:
            self.drop(kn)                       # its descriptor was closed, and another file has the number
            kn = None
        if kn is None:
            if not event.flags & _ADD:
                raise ENOENT
            kn = self._add(event, watcher, file)
        elif event.flags & _DELETE:
            self.drop(kn)
            return
        else:
            kn.udata = event.udata
            watcher.touch(kn, event)
        if watcher.check(kn):
            self.activate(kn)
        if event.flags & _DISABLE:
            kn.disabled = True
            self.ready.pop(kn, None)
        if event.flags & _ENABLE:
            kn.disabled = False
            if kn.active:
                self._enqueue(kn)

    def _add(self, event: KEvent, watcher: Watcher, file: File | None) -> Knote:
        if len(self.knotes) >= MAX_KNOTES:
            raise ENOMEM
        kn = Knote(self, event, watcher, file)
        watcher.attach(kn)
        self.knotes[event.filter, event.ident] = kn
        if file is not None:
            if file.watchers is None:
                file.watchers = {}
            file.watchers[kn] = None
        return kn

    def drop(self, kn: Knote) -> None:
        """A knote ends."""
        if self.knotes.get((kn.filter, kn.ident)) is kn:
            del self.knotes[kn.filter, kn.ident]
        self.ready.pop(kn, None)
        self.polled.pop(kn, None)
        kn.active = False
        if kn.file is not None and kn.file.watchers is not None:
            kn.file.watchers.pop(kn, None)
        kn.watcher.detach(kn)

    # --- events
    def activate(self, kn: Knote) -> None:
        """There is something to tell of a knote."""
        kn.active = True
        if not kn.disabled:
            self._enqueue(kn)

    def _enqueue(self, kn: Knote) -> None:
        if kn not in self.ready:
            self.ready[kn] = None
            self._queue.wake()

    def refresh(self) -> None:
        """Ask those that no queue tells of."""
        for kn, told in list(self.polled.items()):
            if kn in self.ready or kn.disabled:
                continue
            if not kn.watcher.check(kn):
                self.polled[kn] = None
            elif told is None or kn.data > told:
                self.activate(kn)
            else:
                self.polled[kn] = kn.data

    def scan(self, room: int, files: Mapping[int, File]) -> list[KEvent]:
        """Up to `room` events, each knote once; empty when there is none yet.  `files` are the caller's descriptors now."""
        self.refresh()
        found: list[KEvent] = []
        for kn in list(self.ready):
            if len(found) >= room:
                break
            if self.ready.pop(kn, kn) is kn:                        # another one's end took it out
                continue
            if kn.file is not None and files.get(kn.ident) is not kn.file:
                self.drop(kn)                                       # its descriptor was closed
                continue
            if not kn.flags & _ONESHOT and not kn.watcher.check(kn):
                kn.active = False
                continue
            found.append(kn.watcher.take(kn))
            if kn.flags & _ONESHOT:
                self.drop(kn)
            elif kn.flags & _CLEAR:
                if kn in self.polled and kn.watcher.watches_states:
                    self.polled[kn] = kn.data
                kn.watcher.clear(kn)
                kn.active = False
            elif kn.flags & _DISPATCH:
                kn.disabled, kn.active = True, False
            else:
                self.ready[kn] = None
        return found

    # --- as a file
    def poll(self) -> Poll:
        """Readable while there is an event; what is none any more leaves the list."""
        self.refresh()
        for kn in list(self.ready):
            if kn.flags & _ONESHOT or kn.watcher.check(kn):
                return Poll.IN | Poll.RDNORM
            kn.active = False
            self.ready.pop(kn, None)
        return Poll(0)

    def getattr(self) -> Attr:
        """A FIFO whose size is the number of events."""
        return self.attr._replace(mode=int(FileType.FIFO), size=len(self.ready), blksize=_KEVENT_SIZE)

    def ioctl(self, request: int, arg: int, memory: GuestMemory) -> int:
        raise ENOTTY

    def close(self) -> None:
        for kn in list(self.knotes.values()):
            self.drop(kn)
