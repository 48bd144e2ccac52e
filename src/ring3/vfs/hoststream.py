"""Streams of the host process: standard input and output, pipes of `communicate`, a terminal.

The description behind the descriptor is shared with others (the shell that started us), so its flags are never touched:
O_NONBLOCK is never set, nothing is read ahead.  A read happens once poll(2) says there is something, exactly as long as the
guest asked for; a write goes out in pieces poll(2) promises room for.  Regular files read and write at the offset the
host keeps.
Invariant: the host descriptor is watched exactly while somebody stands in the stream's queue.

Not here: who watches (the machine's doorbell, through `watch`), and putting the terminal back at the end (the face, with
`save_terminal`).  Job control of a guest on a host terminal is the guest's own (`tty.JobControl`).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from select import poll as host_poll
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ring3.abi.flags import ACCMODE, OpenFlags, Poll, Whence
from ring3.abi.records import Attr
from ring3.errors import EAGAIN, ENODEV, ENOTTY, from_oserror
from ring3.vfs.file import File
from ring3.waiting import Waiter, WaitQueue

if TYPE_CHECKING:
    from ring3.protocols import GuestMemory
    from ring3.vfs.tty import JobControl

T = TypeVar("T")
Watch = Callable[[int, int], None]      # (fd, poll bits): call `host_ready` while it shows them; 0 takes it back

PIECE: Final = 4096                     # a write poll(2) promises not to block: a page of a pipe
TERMINAL_PIECE: Final = 256             # ... and what a terminal has room for when it says it has
READ_MAX: Final = 1 << 20               # bytes one read of a stream asks the host for; more would only be memory
_IN: Final = int(Poll.IN)
_OUT: Final = int(Poll.OUT)
_ALL: Final = int(Poll.IN | Poll.OUT | Poll.PRI | Poll.RDNORM | Poll.WRNORM | Poll.RDHUP)
_NO_NOWAIT: Final = frozenset((errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ESPIPE))

# ioctl requests of a terminal that go to the host as they are: number -> bytes copied in, bytes copied out
_PASSED: Final = {
    0x5401: (0, 36), 0x5402: (36, 0), 0x5403: (36, 0), 0x5404: (36, 0),                          # TCGETS, TCSETS, W, F
    0x5405: (0, 18), 0x5406: (18, 0), 0x5407: (18, 0), 0x5408: (18, 0),                          # TCGETA, TCSETA, W, F
    0x802C542A: (0, 44), 0x402C542B: (44, 0), 0x402C542C: (44, 0), 0x402C542D: (44, 0),          # TCGETS2, TCSETS2, W, F
    0x5413: (0, 8), 0x5414: (8, 0),                                                              # TIOCGWINSZ, TIOCSWINSZ
    0x541B: (0, 4), 0x5411: (0, 4),                                                              # FIONREAD, TIOCOUTQ
}
_PASSED_BY_VALUE: Final = frozenset((0x540B, 0x5409, 0x5425))                                    # TCFLSH, TCSBRK, TCSBRKP
_FIONREAD: Final = 0x541B


class HostQueue(WaitQueue):
    """A queue that tells whenever somebody comes, and when the last one leaves."""

    __slots__ = ("_on_arrival", "_on_empty")

    def __init__(self, on_arrival: Callable[[], None], on_empty: Callable[[], None]) -> None:
        super().__init__()
        self._on_arrival = on_arrival
        self._on_empty = on_empty

    def add(self, waiter: Waiter) -> None:
        super().add(waiter)
        self._on_arrival()

    def remove(self, waiter: Waiter) -> None:
        if waiter in self._waiters:
            super().remove(waiter)
            if not self._waiters:
                self._on_empty()


class HostStream(File):
    """Host descriptor `fd`, which becomes the stream's: closed with its last guest descriptor.

    `flags` says how it is open (`host_flags`); `label` is what /proc/PID/fd shows.  `watch` may raise PermissionError for what is
    always ready.

    Watching is one-shot: an event is asked for once it was seen missing while somebody stands in the queue, and no longer
    asked for once it came, since an epoll stays in the queue while nobody reads.
    """

    __slots__ = ("_armed", "_closed", "_label", "_nowait", "_poller", "_queue", "_seen", "_wanted", "_watch", "fd", "is_regular",
                 "is_terminal")

    def __init__(self, fd: int, flags: OpenFlags, label: bytes, watch: Watch) -> None:
        super().__init__(None, flags)
        self.fd = fd
        self._label = label
        self._watch = watch
        self._closed = False
        self._queue = HostQueue(self._arrived, self._left)
        mode = os.fstat(fd).st_mode
        self.is_regular = stat.S_ISREG(mode) or stat.S_ISBLK(mode)
        self.is_terminal = os.isatty(fd)
        self._nowait = True                     # until the host says that this kind of file knows no RWF_NOWAIT
        self._poller = host_poll()
        self._poller.register(fd, _ALL)
        access = flags & ACCMODE
        self._wanted = (_IN if access != OpenFlags.WRONLY else 0) | (_OUT if access != OpenFlags.RDONLY else 0)
        self._seen = 0                          # what poll(2) said last
        self._armed = 0                         # what the watcher is asked for

    # --- readiness
    @property
    def queue(self) -> WaitQueue | None:
        return None if self.is_regular else self._queue

    def _arrived(self) -> None:
        self._arm(self._wanted & ~self._seen)

    def _left(self) -> None:
        if self._armed:
            self._armed = 0
            self._watch(self.fd, 0)

    def _arm(self, events: int) -> None:
        events |= self._armed
        if self._closed or events == self._armed:
            return
        try:
            self._watch(self.fd, events)
        except PermissionError:                 # always ready: those who wait look again at once
            self._queue.wake()
        else:
            self._armed = events

    def host_ready(self, events: int) -> None:
        """The descriptor shows some event it was watched for."""
        if self._armed:
            self._armed = 0 if events & ~(_IN | _OUT) else self._armed & ~events
            self._watch(self.fd, self._armed)
        self._queue.wake()

    def _look(self) -> int:
        """What poll(2) says now; what is missing is watched for if somebody waits."""
        found = self._poller.poll(0)
        self._seen = seen = found[0][1] if found else 0
        if len(self._queue):
            self._arm(self._wanted & ~seen)
        return seen

    def _missed(self, event: int) -> None:
        """The host just refused to do without blocking what `event` stands for."""
        self._seen &= ~event
        if len(self._queue):
            self._arm(event)

    def poll(self) -> Poll:
        return super().poll() if self.is_regular else Poll(self._look())

    # --- contents
    @property
    def label(self) -> bytes:
        return self._label

    def getattr(self) -> Attr:
        st = os.fstat(self.fd)
        return Attr(
            st.st_dev, st.st_ino, st.st_mode, st.st_nlink, st.st_uid, st.st_gid, st.st_rdev, st.st_size, st.st_blksize,
            st.st_blocks, st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns,
        )

    def read(self, nbytes: int) -> bytes:
        self.check_readable()
        nbytes = min(nbytes, READ_MAX)
        if nbytes <= 0:
            return b""
        try:
            if self.is_regular:
                return os.read(self.fd, nbytes)
            data = self._read_ready(nbytes)
        except BlockingIOError:
            self._missed(_IN)
            raise EAGAIN from None
        except OSError as error:
            raise from_oserror(error) from None
        if len(self._queue):                    # an edge for what comes next, too (epoll)
            self._arm(_IN)
        return data

    def _read_ready(self, nbytes: int) -> bytes:
        """Raises BlockingIOError where the host would block."""
        if self._nowait:
            buffer = bytearray(nbytes if nbytes <= PIECE else min(nbytes, self._available()))
            try:
                count = os.preadv(self.fd, (buffer,), -1, os.RWF_NOWAIT)
            except OSError as error:
                if error.errno not in _NO_NOWAIT:
                    raise
                self._nowait = False
            else:
                return bytes(memoryview(buffer)[:count])
        if not self._look() & ~_OUT:
            raise BlockingIOError
        return os.read(self.fd, nbytes)

    def _available(self) -> int:
        """How long a buffer need be: what is waiting, at least a piece."""
        import fcntl

        answer = bytearray(4)
        try:
            fcntl.ioctl(self.fd, _FIONREAD, answer, True)  # noqa: FBT003 - positional only: the buffer is changed
        except OSError:
            return PIECE
        return max(int.from_bytes(answer, "little", signed=True), PIECE)

    def write(self, data: bytes) -> int:
        """Raises EPIPE, EAGAIN, and what the host says of a full disk."""
        self.check_writable()
        if not data:
            return 0
        try:
            return os.write(self.fd, data) if self.is_regular else self._write_ready(data)
        except BlockingIOError:
            self._missed(_OUT)
            raise EAGAIN from None
        except OSError as error:
            raise from_oserror(error) from None

    def _write_ready(self, data: bytes) -> int:
        """Raises BlockingIOError where the host would block."""
        if self._nowait:
            try:
                return os.pwritev(self.fd, (data,), -1, os.RWF_NOWAIT)
            except OSError as error:
                if error.errno not in _NO_NOWAIT:
                    raise
                self._nowait = False
        done = 0
        piece = TERMINAL_PIECE if self.is_terminal else PIECE
        view = memoryview(data)
        while done < len(data):
            if not self._look() & ~_IN:
                if done:
                    break
                raise BlockingIOError
            done += os.write(self.fd, view[done : done + piece])
        return done

    def pread(self, offset: int, nbytes: int) -> bytes:
        self.check_readable()
        return self._call(lambda: os.pread(self.fd, min(nbytes, READ_MAX), offset))

    def pwrite(self, offset: int, data: bytes) -> int:
        self.check_writable()
        return self._call(lambda: os.pwrite(self.fd, data, offset))

    def seek(self, offset: int, whence: Whence) -> int:
        """What the host's lseek says: the offset is shared with whoever else holds the description."""
        return self._call(lambda: os.lseek(self.fd, offset, int(whence)))

    def truncate(self, size: int) -> None:
        """Cut or grow the file.  Raises EINVAL for what is no regular file."""
        self.check_writable()
        self._call(lambda: os.ftruncate(self.fd, size))

    def fsync(self) -> None:
        """Reach the disk.  Raises EINVAL for pipes and terminals."""
        self._call(lambda: os.fsync(self.fd))

    def host_fd(self, *, write: bool = False) -> int:
        """The descriptor whose pages can be mapped.  Raises ENODEV for what is no regular file."""
        if write:
            self.check_writable()
        if not self.is_regular:
            raise ENODEV
        return self.fd

    def _call(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except OSError as error:
            raise from_oserror(error) from None

    def ioctl(self, request: int, arg: int, memory: GuestMemory) -> int:
        if request == _FIONREAD:
            return self._pass(request, b"", 4, arg, memory)
        raise ENOTTY

    def _pass(self, request: int, given: bytes, answer: int, arg: int, memory: GuestMemory) -> int:
        import fcntl

        buffer = bytearray(given or bytes(answer))
        try:
            result: int = fcntl.ioctl(self.fd, request, buffer, True)  # noqa: FBT003 - positional only: buffer is changed
        except OSError as error:
            raise from_oserror(error) from None
        if answer:
            memory.copyout(arg, bytes(buffer))
        return result

    def close(self) -> None:
        if self._closed:
            return
        self._left()
        self._closed = True
        self._queue.wake()
        os.close(self.fd)


class HostTerminal(HostStream):
    """A terminal of the host.  Its settings and size are the host's; who is in the foreground is the guest's own affair.

    `job` is shared by all streams of one kernel that are the same terminal.
    """

    __slots__ = ("_owned", "_saved", "job")

    def __init__(self, fd: int, flags: OpenFlags, label: bytes, watch: Watch, job: JobControl) -> None:
        try:                            # a description of our own may be nonblocking
            own = os.open(b"/proc/self/fd/%d" % fd, flags & ACCMODE | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:                 # a terminal of another user: careful small writes then
            own = -1
        else:
            os.dup2(own, fd, inheritable=False)
            os.close(own)
        super().__init__(fd, flags, label, watch)
        self._nowait = False
        self._owned = own >= 0
        self.job = job
        self._saved: list[Any] | None = None

    def _read_ready(self, nbytes: int) -> bytes:
        return os.read(self.fd, nbytes) if self._owned else super()._read_ready(nbytes)

    def _write_ready(self, data: bytes) -> int:
        return os.write(self.fd, data) if self._owned else super()._write_ready(data)

    def save_terminal(self) -> None:
        """Remember the settings, for `restore_terminal`."""
        import termios

        self._saved = termios.tcgetattr(self.fd)

    def restore_terminal(self) -> None:
        """Put the settings back, once output has gone out; harmless when none were saved or the terminal is gone."""
        import termios

        if self._saved is not None and not self._closed:
            try:
                termios.tcsetattr(self.fd, termios.TCSADRAIN, self._saved)
            except termios.error:
                return

    def ioctl(self, request: int, arg: int, memory: GuestMemory) -> int:
        sizes = _PASSED.get(request)
        if sizes is not None:
            given = memory.copyin(arg, sizes[0]) if sizes[0] else b""
            return self._pass(request, given, sizes[1], arg, memory)
        if request in _PASSED_BY_VALUE:
            import fcntl

            return int(self._call(lambda: fcntl.ioctl(self.fd, request, arg & 0x7FFF_FFFF)))
        return self.job.ioctl(request, arg, memory)


def host_flags(fd: int) -> OpenFlags:
    """How a host descriptor is open, as a guest may see it.  O_NONBLOCK is left out: it is somebody else's choice.

    Raises OSError for a number that is no descriptor.
    """
    import fcntl

    return OpenFlags(fcntl.fcntl(fd, fcntl.F_GETFL)) & (ACCMODE | OpenFlags.APPEND | OpenFlags.LARGEFILE)


def host_label(fd: int) -> bytes:
    """What the host calls it: a path, or "pipe:[12]"."""
    try:
        return os.readlink(b"/proc/self/fd/%d" % fd)
    except OSError:
        return b"host:[%d]" % fd


def new_stream(fd: int, watch: Watch, job: Callable[[], JobControl]) -> HostStream:
    """A stream for `fd`, a terminal where it is one; `job` gives the job control of that terminal.  Raises OSError."""
    flags, label = host_flags(fd), host_label(fd)
    if os.isatty(fd):
        return HostTerminal(fd, flags, label, watch, job())
    return HostStream(fd, flags, label, watch)
