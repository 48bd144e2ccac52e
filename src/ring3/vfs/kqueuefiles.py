"""What kqueue watches of files: that there is something to read or room to write, and what becomes of a vnode; and EVFILT_USER.

READ and WRITE go by the file's queue and `poll`, so that kqueue, epoll and poll never disagree; how much there is the file says
itself (FIONREAD).  VNODE compares what stat(2) tells with what it told last: no file system here reports its changes, so that
two of the same kind between two looks are one event, and a change that was undone is none.
Source: kqueue(2), sys/kern/{sys_pipe,uipc_socket,kern_event}.c, sys/miscfs/genfs (filters), sys/kern/vfs_vnops.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from ring3.abi.eventrecords import (
    NOTE_ATTRIB,
    NOTE_DELETE,
    NOTE_EXTEND,
    NOTE_FFAND,
    NOTE_FFCOPY,
    NOTE_FFCTRLMASK,
    NOTE_FFLAGSMASK,
    NOTE_FFOR,
    NOTE_LINK,
    NOTE_LOWAT,
    NOTE_RENAME,
    NOTE_TRIGGER,
    NOTE_WRITE,
    Ev,
    Filter,
    KEvent,
)
from ring3.abi.flags import Poll
from ring3.errors import EINVAL, Errno
from ring3.namedtuple import NamedTuple
from ring3.vfs.epoll import EpollFile
from ring3.vfs.file import DirFile, RegularFile
from ring3.vfs.kqueue import Knote, Kqueue, Watcher
from ring3.vfs.pipe import FIONREAD, PIPE_BUF, PipeFile

if TYPE_CHECKING:
    from ring3.vfs.anysocket import Socket
    from ring3.vfs.file import File

_EOF: Final = int(Ev.EOF)
_IN, _OUT = int(Poll.IN), int(Poll.OUT)
_READ_END: Final = int(Poll.HUP | Poll.RDHUP)
_WRITE_END: Final = int(Poll.HUP | Poll.ERR)
MAX_DEPTH: Final = 5                  # kqueues above each other
_ECONNRESET: Final = 54               # as `fflags` tells it: the one error a socket here can have pending


class _Answer:
    """Where FIONREAD puts its integer: memory of no guest."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def copyin(self, addr: int, nbytes: int) -> bytes:
        """Nothing is read."""
        del addr
        return bytes(nbytes)

    def copyout(self, addr: int, data: bytes) -> None:
        """The answer."""
        del addr
        self.value = int.from_bytes(data[:4], "little", signed=True)


def readable_bytes(file: File) -> int:
    """How much can be read now, as far as the file says."""
    if isinstance(file, Kqueue):
        return len(file.ready)
    if isinstance(file, RegularFile):
        return file.getattr().size - file.offset
    if file.is_socket and cast("Socket", file).listening:
        return len(cast("Socket", file).pending)
    answer = _Answer()
    try:
        file.ioctl(FIONREAD, 0, answer)
    except Errno:
        return 0
    return answer.value


class _OnFile(Watcher):
    """A knote in its file's queue; polled where there is none."""

    __slots__ = ()
    watches_files = True
    watches_states = True

    def attach(self, kn: Knote) -> None:
        assert kn.file is not None
        queue = kn.file.queue
        if queue is None:
            kn.kqueue.polled[kn] = None
        else:
            queue.add(kn)
        kn.state = queue

    def detach(self, kn: Knote) -> None:
        if kn.state is not None:
            kn.state.remove(kn)
            kn.state = None


class ReadWatcher(_OnFile):
    """EVFILT_READ: `data` is how many bytes, connections or events wait."""

    __slots__ = ()

    def attach(self, kn: Knote) -> None:
        """Raises EINVAL for a kqueue that would watch itself, for too many above each other, and for an epoll."""
        if isinstance(kn.file, Kqueue):
            _check_nesting(kn.file, kn.kqueue)
        elif isinstance(kn.file, EpollFile):
            raise EINVAL
        super().attach(kn)

    def check(self, kn: Knote) -> bool:
        file = kn.file
        assert file is not None
        if isinstance(file, RegularFile | DirFile):
            kn.data = readable_bytes(file) if isinstance(file, RegularFile) else 0
            return kn.data != 0
        events = int(file.poll())
        kn.data = readable_bytes(file)
        if events & _READ_END and not (file.is_socket and not cast("Socket", file).connected):
            kn.flags |= _EOF
            if file.is_socket and events & Poll.ERR:
                kn.fflags = _ECONNRESET
            return True
        kn.flags &= ~_EOF
        if kn.sfflags & NOTE_LOWAT and kn.data:
            return kn.data >= kn.sdata
        return bool(events & _IN)


class WriteWatcher(_OnFile):
    """EVFILT_WRITE: `data` is how much room there is, as far as it is known."""

    __slots__ = ()

    def attach(self, kn: Knote) -> None:
        """Raises EINVAL for a kqueue, which nothing is written to."""
        if isinstance(kn.file, Kqueue):
            raise EINVAL
        super().attach(kn)

    def check(self, kn: Knote) -> bool:
        file = kn.file
        assert file is not None
        kn.data = 0
        if isinstance(file, RegularFile | DirFile):
            return True
        events = int(file.poll())
        if events & _WRITE_END and (not file.is_socket or cast("Socket", file).connected):
            kn.flags |= _EOF
            return True
        kn.flags &= ~_EOF
        if isinstance(file, PipeFile):
            kn.data = file.room
            return kn.data >= PIPE_BUF
        if file.is_socket:
            socket = cast("Socket", file)
            kn.data = max(socket.sndbuf - socket.charged, 0)
            if kn.sfflags & NOTE_LOWAT:
                return bool(events & _OUT) and kn.data >= kn.sdata
        return bool(events & _OUT)


def _check_nesting(inner: Kqueue, outer: Kqueue) -> None:
    """Whether `outer` may watch `inner`.  Raises EINVAL for a circle, and for more than MAX_DEPTH above each other."""
    levels, here = 1, {inner}
    while here:
        if outer in here or levels > MAX_DEPTH:
            raise EINVAL
        here = {kn.file for one in here for kn in one.knotes.values() if isinstance(kn.file, Kqueue)}
        levels += 1
    here = {outer}
    while here:
        if levels > MAX_DEPTH + 1:
            raise EINVAL
        here = {watcher.kqueue for one in here for watcher in one.watchers or () if isinstance(watcher, Knote)}
        levels += 1


# --- vnodes
class _Look(NamedTuple):
    """What a vnode was when it was last looked at."""

    nlink: int
    size: int
    mtime: int
    ctime: int
    owner: tuple[int, int, int]
    name: tuple[int, bytes]
    deleted: bool


def _look(file: File) -> _Look:
    attr, dentry = file.getattr(), file.dentry
    name = (0, b"") if dentry is None else (id(dentry.parent), dentry.name)
    deleted = attr.nlink == 0 or (dentry is not None and dentry.deleted)
    return _Look(attr.nlink, attr.size, attr.mtime, attr.ctime, (attr.mode, attr.uid, attr.gid), name, deleted)


def _changes(old: _Look, new: _Look) -> int:
    """NOTE_* of what is different."""
    notes = 0
    if new.nlink < old.nlink or new.deleted > old.deleted:
        notes |= NOTE_DELETE
    elif new.nlink > old.nlink:
        notes |= NOTE_LINK
    if new.mtime != old.mtime or new.size != old.size:
        notes |= NOTE_WRITE
    if new.size > old.size:
        notes |= NOTE_EXTEND
    if new.name != old.name and not new.deleted:
        notes |= NOTE_RENAME
    if new.owner != old.owner or (new.ctime != old.ctime and not notes):
        notes |= NOTE_ATTRIB
    return notes


class VnodeWatcher(Watcher):
    """EVFILT_VNODE: what became of a file since it was last looked at."""

    __slots__ = ()
    watches_files = True

    def attach(self, kn: Knote) -> None:
        """Raises EINVAL for what is no file of a file system."""
        if not isinstance(kn.file, RegularFile | DirFile):
            raise EINVAL
        kn.state = _look(kn.file)
        kn.kqueue.polled[kn] = None

    def check(self, kn: Knote) -> bool:
        assert kn.file is not None
        new = _look(kn.file)
        if new != kn.state:
            kn.fflags |= _changes(kn.state, new) & kn.sfflags
            kn.state = new
        return kn.fflags != 0


# --- what a program tells itself
class UserWatcher(Watcher):
    """EVFILT_USER: triggered by the program; its `fflags` are the program's own 24 bits."""

    __slots__ = ()

    def attach(self, kn: Knote) -> None:
        kn.state = bool(kn.sfflags & NOTE_TRIGGER)
        kn.sfflags &= NOTE_FFLAGSMASK

    def check(self, kn: Knote) -> bool:
        return bool(kn.state)

    def touch(self, kn: Knote, event: KEvent) -> None:
        if event.fflags & NOTE_TRIGGER:
            kn.state = True
        control, bits = event.fflags & NOTE_FFCTRLMASK, event.fflags & NOTE_FFLAGSMASK
        if control == NOTE_FFAND:
            kn.sfflags &= bits
        elif control == NOTE_FFOR:
            kn.sfflags |= bits
        elif control == NOTE_FFCOPY:
            kn.sfflags = bits
        kn.sdata = event.data
        if event.flags & Ev.CLEAR:
            self.clear(kn)

    def take(self, kn: Knote) -> KEvent:
        return kn.shown()._replace(fflags=kn.sfflags, data=kn.sdata)

    def clear(self, kn: Knote) -> None:
        kn.state = False
        super().clear(kn)


FILE_WATCHERS: Final = {
    int(Filter.READ): ReadWatcher(), int(Filter.WRITE): WriteWatcher(), int(Filter.VNODE): VnodeWatcher(),
    int(Filter.USER): UserWatcher(),
}
