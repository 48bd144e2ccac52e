"""inotify: a file that tells of what happens to others, as it happens.

Who changes or opens a file asks its mount for `marks`, None as long as nobody watches anything there, and tells them.  An event
goes to the watches of the directory, with the file's name, and then to those of the file itself.
Invariants: a watch stands in its `InotifyFile` and in the `Marks` of its mount, or in neither; a queue has at most `MAX_EVENTS`
events, after which one says that more happened.
Not here: what happens to a file whose name is gone while it is open is told when the name goes, not when it is closed; changes that
the host makes below an overlay are not seen.  Source: inotify(7), fs/notify/inotify/inotify_fsnotify.c, include/linux/fsnotify.h.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, Final

from ring3.abi.flags import OpenFlags, Poll
from ring3.abi.notify import (
    IN_ALL_EVENTS,
    IN_ATTRIB,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_EXCL_UNLINK,
    IN_IGNORED,
    IN_ISDIR,
    IN_MASK_ADD,
    IN_MASK_CREATE,
    IN_MOVE_SELF,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_ONESHOT,
    IN_Q_OVERFLOW,
)
from ring3.errors import EAGAIN, EBADF, EEXIST, EINVAL, ENOSPC, ENOTTY, Errno
from ring3.vfs.eventfd import AnonFile
from ring3.waiting import WaitQueue

if TYPE_CHECKING:
    from ring3.protocols import GuestMemory
    from ring3.vfs.dentry import Dentry
    from ring3.vfs.mount import Mount
    from ring3.vfs.pipe import AnonymousInodes
    from ring3.vfs.vnode import Vnode

FIONREAD: Final = 0x541B
MAX_EVENTS: Final = 16384           # fs.inotify.max_queued_events
MAX_WATCHES: Final = 8192           # of one file
_HEAD: Final = struct.Struct("<iIII")


class Watch:
    """One file that is watched; `mask` says for what."""

    __slots__ = ("mask", "mount", "owner", "vnode", "wd")

    def __init__(self, owner: InotifyFile, wd: int, mount: Mount, vnode: Vnode, mask: int) -> None:
        self.owner = owner
        self.wd = wd
        self.mount = mount
        self.vnode = vnode
        self.mask = mask


class Marks:
    """The watches of one mount, by what they watch."""

    __slots__ = ("_cookie", "watches")

    def __init__(self) -> None:
        self.watches: dict[Vnode, list[Watch]] = {}
        self._cookie = 0

    def tell(self, dentry: Dentry, what: int) -> None:
        """Something happened to a file: its directory hears of it by name, then the file itself."""
        what |= IN_ISDIR if dentry.vnode.is_dir else 0
        parent = dentry.parent
        if parent is not None:
            self._send(parent.vnode, what, dentry.name, unlinked=dentry.deleted)
        self._send(dentry.vnode, what)

    def tell_name(self, directory: Dentry, name: bytes, what: int, vnode: Vnode, cookie: int = 0) -> None:
        """Something happened to a name in a directory."""
        self._send(directory.vnode, what | (IN_ISDIR if vnode.is_dir else 0), name, cookie)

    def removed(self, directory: Dentry, name: bytes, vnode: Vnode) -> None:
        """A name was taken away, and maybe the file with it."""
        if not vnode.is_dir:
            self._send(vnode, IN_ATTRIB)
        self.tell_name(directory, name, IN_DELETE, vnode)
        self.gone(vnode)

    def renamed(self, old: tuple[Dentry, bytes], new: tuple[Dentry, bytes], vnode: Vnode, replaced: Vnode | None) -> None:
        """A file has another name, which `replaced` had."""
        self._cookie = self._cookie % 0xFFFF_FFFF + 1
        self.tell_name(*old, IN_MOVED_FROM, vnode, self._cookie)
        self.tell_name(*new, IN_MOVED_TO, vnode, self._cookie)
        if replaced is not None:
            self._send(replaced, IN_ATTRIB)
        self._send(vnode, IN_MOVE_SELF)
        if replaced is not None:
            self.gone(replaced)

    def changed(self, vnode: Vnode) -> None:
        """The attributes of a file, known by no name here."""
        self._send(vnode, IN_ATTRIB)

    def gone(self, vnode: Vnode) -> None:
        """If that was its last name, whoever watches the file is told, and watches no more."""
        watches = self.watches.get(vnode)
        if watches is None:
            return
        try:
            left = 0 if vnode.is_dir else vnode.getattr().nlink
        except Errno:
            left = 0
        if not left:
            for watch in list(watches):
                watch.owner.hear(watch, IN_DELETE_SELF)
                watch.owner.unwatch(watch.wd)

    def _send(self, vnode: Vnode, what: int, name: bytes = b"", cookie: int = 0, *, unlinked: bool = False) -> None:
        watches = self.watches.get(vnode)
        if watches is not None:
            for watch in list(watches):
                if not (unlinked and watch.mask & IN_EXCL_UNLINK):
                    watch.owner.hear(watch, what, name, cookie)

    def remove(self, watch: Watch) -> None:
        """Nobody is told through that watch any more."""
        watches = self.watches[watch.vnode]
        watches.remove(watch)
        if not watches:
            del self.watches[watch.vnode]


class InotifyFile(AnonFile):
    """What inotify_init makes."""

    __slots__ = ("_by_vnode", "_events", "_next", "_queue", "_watches")

    def __init__(self, inodes: AnonymousInodes, flags: OpenFlags) -> None:
        super().__init__(inodes, flags)
        self._watches: dict[int, Watch] = {}
        self._by_vnode: dict[Vnode, Watch] = {}
        self._events: deque[bytes] = deque()
        self._queue = WaitQueue()
        self._next = 1

    @property
    def queue(self) -> WaitQueue:
        return self._queue

    @property
    def label(self) -> bytes:
        return b"anon_inode:inotify"

    def watch(self, dentry: Dentry, mask: int) -> int:
        """Watch a file, or change for what; the number of the watch.  Raises EEXIST as IN_MASK_CREATE wants it, ENOSPC."""
        vnode, mount = dentry.vnode, dentry.mount
        known = self._by_vnode.get(vnode)
        kept = mask & (IN_ALL_EVENTS | IN_EXCL_UNLINK | IN_ONESHOT)
        if known is not None:
            if mask & IN_MASK_CREATE:
                raise EEXIST
            known.mask = known.mask | kept if mask & IN_MASK_ADD else kept
            return known.wd
        if len(self._watches) >= MAX_WATCHES:
            raise ENOSPC
        watch = Watch(self, self._next, mount, vnode, kept)
        self._next += 1
        if mount.marks is None:
            mount.marks = Marks()
        mount.marks.watches.setdefault(vnode, []).append(watch)
        self._watches[watch.wd] = self._by_vnode[vnode] = watch
        return watch.wd

    def unwatch(self, wd: int) -> None:
        """Watch it no more, and say so.  Raises EINVAL for a number that is no watch."""
        watch = self._watches.pop(wd, None)
        if watch is None:
            raise EINVAL
        del self._by_vnode[watch.vnode]
        marks = watch.mount.marks
        if marks is not None:
            marks.remove(watch)
            if not marks.watches:
                watch.mount.marks = None
        self._put(_HEAD.pack(wd, IN_IGNORED, 0, 0))

    def hear(self, watch: Watch, what: int, name: bytes = b"", cookie: int = 0) -> None:
        """Something happened that `watch` may be for."""
        if not what & watch.mask & IN_ALL_EVENTS:
            return
        padded = name.ljust((len(name) + _HEAD.size) & -_HEAD.size, b"\0") if name else b""
        self._put(_HEAD.pack(watch.wd, what, cookie, len(padded)) + padded)
        if watch.mask & IN_ONESHOT and watch.wd in self._watches:
            self.unwatch(watch.wd)

    def _put(self, event: bytes) -> None:
        if self._events and self._events[-1] == event:
            return                  # told already, and not read yet
        if len(self._events) >= MAX_EVENTS:
            event = _HEAD.pack(-1, IN_Q_OVERFLOW, 0, 0)
            if self._events[-1] == event:
                return
        self._events.append(event)
        self._queue.wake()

    # --- as a file
    def read(self, nbytes: int) -> bytes:
        """As many events as fit.  Raises EAGAIN for none, EINVAL where there is too little room for the first."""
        if not self._events:
            raise EAGAIN
        if nbytes < len(self._events[0]):
            raise EINVAL
        taken: list[bytes] = []
        while self._events and len(self._events[0]) <= nbytes:
            nbytes -= len(self._events[0])
            taken.append(self._events.popleft())
        return b"".join(taken)

    def write(self, data: bytes) -> int:
        raise EBADF

    def poll(self) -> Poll:
        return Poll.IN | Poll.RDNORM if self._events else Poll(0)

    def ioctl(self, request: int, arg: int, memory: GuestMemory) -> int:
        if request != FIONREAD:
            raise ENOTTY
        memory.copyout(arg, sum(map(len, self._events)).to_bytes(4, "little"))
        return 0

    def close(self) -> None:
        for wd in list(self._watches):
            self.unwatch(wd)
        self._events.clear()
