"""Pipes and FIFOs: bytes in order from writers to readers, at most `capacity` of them on the way.

Linux keeps a pipe as a ring of pages, and guests can tell: a pipe of 65536 bytes takes sixteen writes of 4096, or of 4095
without room to merge, and polls writable only while a page is free.  A `Chunk` here is a run of pages: its first byte stands at
the start of a page and its last page may be filled up by later small writes.
Invariants: `slots` is the number of pages of all chunks that still hold unread bytes, `nbytes` the number of those bytes.

Source: fs/pipe.c, pipe(7), fifo(7).  Not here: SIGPIPE and sleeping, which are the call's.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from ring3.abi.flags import ACCMODE, FileType, OpenFlags, Poll
from ring3.abi.records import Attr
from ring3.errors import EAGAIN, EBUSY, EINVAL, ENOTTY, ENXIO, EPERM, EPIPE
from ring3.vfs.file import File
from ring3.waiting import WaitQueue

if TYPE_CHECKING:
    from ring3.protocols import GuestMemory
    from ring3.vfs.vnode import Vnode

PIPE_BUF: Final = 4096              # writes up to this size are not torn
PAGE: Final = 4096
DEFAULT_SLOTS: Final = 16
MAX_SLOTS: Final = 256              # pipe-max-size: 1 MiB
FIONREAD: Final = 0x541B

_READABLE: Final = Poll.IN | Poll.RDNORM
_WRITABLE: Final = Poll.OUT | Poll.WRNORM
_NOTHING: Final = Poll(0)
_KEPT: Final = ~(OpenFlags.CREAT | OpenFlags.EXCL | OpenFlags.NOCTTY | OpenFlags.TRUNC | OpenFlags.CLOEXEC)


class AnonymousInodes:
    """Inode numbers of one kernel's files without a name, and the device numbers they are shown under.

    >>> inodes = AnonymousInodes()
    >>> inodes.next() != inodes.next()
    True
    """

    __slots__ = ("_last", "anon_dev", "pipe_dev", "socket_dev")

    def __init__(self) -> None:
        self._last = 1000
        self.socket_dev = 8         # sockfs, pipefs and anon_inodefs have minor numbers of their own
        self.pipe_dev = 14
        self.anon_dev = 15

    def next(self) -> int:
        """A number no other file of these has."""
        self._last += 1
        return self._last

    def attr(self, dev: int, mode: int, uid: int = 0, gid: int = 0, ino: int | None = None) -> Attr:
        """What fstat(2) tells of such a file made now."""
        now = time.time_ns()
        return Attr(dev, self.next() if ino is None else ino, mode, 1, uid, gid, 0, 0, PAGE, 0, now, now, now)


class Chunk:
    """Bytes that fill pages one after another; `start` is how many were read."""

    __slots__ = ("data", "packet", "start")

    def __init__(self, data: bytes | bytearray, *, packet: bool) -> None:
        self.data = data
        self.start = 0
        self.packet = packet        # one write of O_DIRECT: a read ends with it and drops its rest

    @property
    def slots(self) -> int:
        """Pages that hold unread bytes."""
        return (len(self.data) + PAGE - 1) // PAGE - self.start // PAGE


class Pipe:
    """What the two ends share.  `readers` and `writers` count open descriptions, the `_opens` all that ever were."""

    __slots__ = (
        "__weakref__", "both_queue", "chunks", "max_slots", "nbytes", "reader_opens", "readers", "readers_queue", "slots",
        "writer_opens", "writers", "writers_queue",
    )

    def __init__(self) -> None:
        self.chunks: deque[Chunk] = deque()
        self.nbytes = 0
        self.slots = 0
        self.max_slots = DEFAULT_SLOTS
        self.readers = self.writers = 0
        self.reader_opens = self.writer_opens = 0
        self.readers_queue = WaitQueue()
        self.writers_queue = WaitQueue()
        self.both_queue: WaitQueue | None = None        # of descriptions open for reading and writing

    def wake_readers(self) -> None:
        self.readers_queue.wake()
        if self.both_queue is not None:
            self.both_queue.wake()

    def wake_writers(self) -> None:
        self.writers_queue.wake()
        if self.both_queue is not None:
            self.both_queue.wake()

    def put(self, data: bytes, *, packet: bool) -> int:
        """Take as much of `data` as there is room for; how much.  Raises EAGAIN for none."""
        size = len(data)
        done = 0
        room = self.max_slots - self.slots
        if packet:
            while done < size and room > 0:
                self._append(data[done : done + PAGE], packet=True)
                done, room = min(done + PAGE, size), room - 1
        else:
            odd = size % PAGE
            if odd and self.chunks and self._merge(data[:odd]):
                done = odd
            fits = min(size - done, room * PAGE)
            if fits > 0:
                self._append(data if fits == size else data[done : done + fits], packet=False)
                done += fits
        self.wake_readers()             # by a refused write too: an edge-triggered epoll sees it, as on Linux
        if not done:
            raise EAGAIN
        return done

    def _append(self, data: bytes, *, packet: bool) -> None:
        self.chunks.append(Chunk(data, packet=packet))
        self.nbytes += len(data)
        self.slots += (len(data) + PAGE - 1) // PAGE

    def _merge(self, data: bytes) -> bool:
        """Put a small piece into the page that was written last, if it has room for all of it."""
        last = self.chunks[-1]
        filled = len(last.data) % PAGE
        if last.packet or not filled or filled + len(data) > PAGE:
            return False
        if isinstance(last.data, bytes):
            last.data = bytearray(last.data)
        last.data += data
        self.nbytes += len(data)
        return True

    def take(self, nbytes: int) -> bytes:
        """Remove up to `nbytes` unread bytes."""
        was_full = self.slots >= self.max_slots
        first = self.chunks[0]
        if len(self.chunks) == 1 and nbytes >= self.nbytes and not first.start:
            self._drop_first(first.slots, len(first.data))
            data = bytes(first.data)
        else:
            data = b"".join(self._pieces(nbytes))
        if was_full and self.slots < self.max_slots:
            self.wake_writers()
        return data

    def _pieces(self, nbytes: int) -> list[bytes]:
        pieces: list[bytes] = []
        while nbytes > 0 and self.chunks:
            first = self.chunks[0]
            size = len(first.data) - first.start
            taken = min(size, nbytes)
            pieces.append(bytes(memoryview(first.data)[first.start : first.start + taken]))
            nbytes -= taken
            if taken == size or first.packet:
                self._drop_first(first.slots, size)
                if first.packet:
                    break
            else:
                before = first.slots
                first.start += taken
                self.slots -= before - first.slots
                self.nbytes -= taken
        return pieces

    def _drop_first(self, slots: int, nbytes: int) -> None:
        self.chunks.popleft()
        self.slots -= slots
        self.nbytes -= nbytes

    def peek(self, nbytes: int) -> bytes:
        """The first `nbytes` unread bytes, which stay (tee(2))."""
        pieces: list[bytes] = []
        for chunk in self.chunks:
            if nbytes <= 0:
                break
            piece = bytes(memoryview(chunk.data)[chunk.start : chunk.start + nbytes])
            pieces.append(piece)
            nbytes -= len(piece)
            if chunk.packet:
                break
        return b"".join(pieces)

    def resize(self, nbytes: int) -> int:
        """F_SETPIPE_SZ: the new capacity.  Raises EINVAL, EPERM over 1 MiB, EBUSY when more is on the way."""
        if not 0 <= nbytes <= 1 << 31:
            raise EINVAL
        slots = 1
        while slots * PAGE < nbytes:
            slots *= 2
        if slots > MAX_SLOTS:
            raise EPERM
        if self.slots > slots:
            raise EBUSY
        grows = slots > self.max_slots
        self.max_slots = slots
        if grows:
            self.wake_writers()
        return slots * PAGE


class PipeFile(File):
    """One end of a pipe, or of a FIFO; a FIFO may be open as both.

    `unseen_writers`: of a FIFO's nonblocking reader that came before any writer, how many opens for writing there had been; it
    shows no hang-up while that stands.  `awaits`: of a blocking open, that count of the other side, until it changed.
    """

    __slots__ = ("attr", "awaits", "pipe", "reads", "unseen_writers", "writes")

    def __init__(self, pipe: Pipe, flags: OpenFlags, vnode: Vnode | None, attr: Attr | None) -> None:
        super().__init__(vnode, flags)
        mode = flags & ACCMODE
        self.pipe = pipe
        self.attr = attr
        self.reads = mode != OpenFlags.WRONLY
        self.writes = mode != OpenFlags.RDONLY
        self.unseen_writers = -1
        self.awaits: int | None = None
        if self.reads:
            pipe.readers += 1
            pipe.reader_opens += 1
        if self.writes:
            pipe.writers += 1
            pipe.writer_opens += 1
        if self.reads and self.writes and pipe.both_queue is None:
            pipe.both_queue = WaitQueue()

    @property
    def queue(self) -> WaitQueue:
        pipe = self.pipe
        if self.reads and self.writes:
            assert pipe.both_queue is not None
            return pipe.both_queue
        return pipe.readers_queue if self.reads else pipe.writers_queue

    @property
    def label(self) -> bytes:
        return b"pipe:[%d]" % self.getattr().ino

    def getattr(self) -> Attr:
        return self.attr if self.attr is not None else super().getattr()

    def read(self, nbytes: int) -> bytes:
        """Up to `nbytes`; empty when all writers are gone.  Raises EAGAIN."""
        if not self.reads:
            self.check_readable()
        if nbytes <= 0:
            return b""
        pipe = self.pipe
        if pipe.nbytes:
            return pipe.take(nbytes)
        if not pipe.writers:
            return b""
        raise EAGAIN

    def write(self, data: bytes) -> int:
        """What fits of `data`, all or nothing up to PIPE_BUF.  Raises EPIPE, EAGAIN."""
        if not self.writes:
            self.check_writable()
        if not data:
            return 0
        if not self.pipe.readers:
            raise EPIPE
        return self.pipe.put(data, packet=bool(self.flags & OpenFlags.DIRECT))

    def peek(self, nbytes: int) -> bytes:
        """What a read would give, without taking it; empty at the end.  Raises EAGAIN."""
        self.check_readable()
        if not self.pipe.nbytes and self.pipe.writers:
            raise EAGAIN
        return self.pipe.peek(nbytes)

    @property
    def room(self) -> int:
        """Bytes a write finds room for at least (splice(2))."""
        return (self.pipe.max_slots - self.pipe.slots) * PAGE

    def poll(self) -> Poll:
        pipe = self.pipe
        events = _NOTHING
        if self.reads:
            if pipe.nbytes:
                events = _READABLE
            if not pipe.writers and self.unseen_writers != pipe.writer_opens:
                events |= Poll.HUP
        if self.writes:
            if pipe.slots < pipe.max_slots:
                events |= _WRITABLE
            if not pipe.readers:
                events |= Poll.ERR
        return events

    def ioctl(self, request: int, arg: int, memory: GuestMemory) -> int:
        if request == FIONREAD:
            memory.copyout(arg, self.pipe.nbytes.to_bytes(4, "little"))
            return 0
        raise ENOTTY

    def get_capacity(self) -> int:
        """F_GETPIPE_SZ, bytes."""
        return self.pipe.max_slots * PAGE

    def set_capacity(self, nbytes: int) -> int:
        """F_SETPIPE_SZ.  Raises EINVAL, EPERM, EBUSY."""
        return self.pipe.resize(nbytes)

    def finish_open(self) -> None:
        """A FIFO opened for one side waits until somebody opened the other, were it for a moment."""
        if self.awaits is not None:
            if self.awaits == (self.pipe.writer_opens if self.reads else self.pipe.reader_opens):
                raise EAGAIN
            self.awaits = None

    def close(self) -> None:
        pipe = self.pipe
        if self.reads:
            pipe.readers -= 1
        if self.writes:
            pipe.writers -= 1
        if not pipe.readers and not pipe.writers:
            pipe.chunks.clear()
            pipe.nbytes = pipe.slots = 0
        pipe.wake_readers()
        pipe.wake_writers()


def make_pipe(inodes: AnonymousInodes, flags: OpenFlags, uid: int = 0, gid: int = 0) -> tuple[PipeFile, PipeFile]:
    """pipe2(2): the reading and the writing end.  Of `flags`, NONBLOCK and DIRECT count; others are the call's to refuse."""
    pipe = Pipe()
    attr = inodes.attr(inodes.pipe_dev, FileType.FIFO | 0o600, uid, gid)
    flags &= OpenFlags.NONBLOCK | OpenFlags.DIRECT
    return (
        PipeFile(pipe, flags, None, attr),
        PipeFile(pipe, flags | OpenFlags.WRONLY, None, attr),
    )


def open_fifo(vnode: Vnode, flags: OpenFlags) -> PipeFile:
    """A FIFO opened by name, maybe half open (`File.finish_open`).  Raises ENXIO for a nonblocking writer without reader.

    The pipe lives while somebody has the FIFO open: the file system knows it weakly.
    """
    mode = flags & ACCMODE
    if mode == ACCMODE:
        raise EINVAL
    fifos = vnode.fs.fifos
    if fifos is None:
        fifos = vnode.fs.fifos = WeakValueDictionary()
    key = vnode.fileid
    pipe = fifos.get(key)
    if pipe is None:
        if mode == OpenFlags.WRONLY and flags & OpenFlags.NONBLOCK:
            raise ENXIO
        pipe = fifos[key] = Pipe()
    elif mode == OpenFlags.WRONLY and flags & OpenFlags.NONBLOCK and not pipe.readers:
        raise ENXIO
    file = PipeFile(pipe, flags & _KEPT, vnode, None)
    if mode == OpenFlags.RDONLY and not pipe.writers:
        if flags & OpenFlags.NONBLOCK:
            file.unseen_writers = pipe.writer_opens
        else:
            file.awaits = pipe.writer_opens
    elif mode == OpenFlags.WRONLY and not pipe.readers:
        file.awaits = pipe.reader_opens
    pipe.wake_readers()
    pipe.wake_writers()
    return file
