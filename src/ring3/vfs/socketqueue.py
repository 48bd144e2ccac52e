"""What waits at a socket, and the names and numbers of one kernel's sockets.

`SocketQueue` is the receiving half of a socket: its messages, who pays for them, and how they are handed out.  A `Message` waits
at its receiver and is charged to its sender until it is read.
Invariants: `charged` of a socket is the cost of its messages not yet read anywhere; files on their way (SCM_RIGHTS) hold
one reference each, and `SocketNamespace.in_flight` counts them.

Not here: names, connections and sending (`anysocket.py` and its kinds), options (`socketoptions.py`).
Source: net/unix/af_unix.c, unix(7), recv(2).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from ring3.abi.flags import OpenFlags
from ring3.errors import EAGAIN, ECONNREFUSED, EINVAL, ENOTCONN, EOPNOTSUPP, Errno
from ring3.vfs.file import File
from ring3.vfs.socketrecords import (
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    SEQPACKET,
    STREAM,
    UNNAMED,
    Received,
    SocketAddress,
    Ucred,
    UnixAddress,
)
from ring3.waiting import WaitQueue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ring3.vfs.inet import Loopback
    from ring3.vfs.pipe import AnonymousInodes
    from ring3.vfs.socket import UnixSocket
    from ring3.vfs.vnode import Vnode

DEFAULT_BUFFER: Final = 212992      # net.core.wmem_default and wmem_max
MESSAGE_COST: Final = 768           # what a message costs beside its bytes, roughly an sk_buff
RCV, SND = 1, 2                     # bits of `shut`


class Message:
    """Bytes on their way, with what came along."""

    __slots__ = ("cost", "credentials", "data", "files", "sender", "source")

    def __init__(
        self, sender: SocketQueue, source: SocketAddress, data: bytes, files: Sequence[File], credentials: Ucred
    ) -> None:
        self.sender = sender
        self.source = source
        self.data = data
        self.files = files
        self.credentials = credentials
        self.cost = len(data) + MESSAGE_COST


class SocketNamespace:
    """The names and numbers of one kernel's sockets."""

    __slots__ = ("_letting_go", "abstract", "bound", "holders", "in_flight", "inet", "inodes", "next_auto")

    def __init__(self, inodes: AnonymousInodes) -> None:
        self.inodes = inodes
        self.abstract: dict[bytes, UnixSocket] = {}
        self.bound: dict[tuple[int, int], UnixSocket] = {}      # by file
        self.in_flight = 0
        self._letting_go: deque[File] | None = None
        self.holders: dict[SocketQueue, None] = {}               # sockets where files wait
        self.next_auto = 0
        self.inet: Loopback | None = None       # made with the first socket of that family

    def let_go(self, files: Iterable[File]) -> None:
        """Release files that were on their way, and what waits in those that close by it: a chain of any length."""
        if self._letting_go is not None:
            self._letting_go.extend(files)
            return
        self._letting_go = deque(files)
        try:
            while self._letting_go:
                self._letting_go.popleft().release()
        finally:
            self._letting_go = None

    def find(self, address: UnixAddress, vnode: Vnode | None) -> UnixSocket:
        """The socket with that name; a path's is that of its vnode.  Raises ECONNREFUSED, EINVAL for no name."""
        if not address.path:
            raise EINVAL
        found = self.abstract.get(address.path) if address.is_abstract else None if vnode is None else self.bound.get(vnode.fileid)
        if found is None:
            raise ECONNREFUSED
        return found

    def auto_name(self) -> bytes:
        """A free abstract name of five hex digits (unix(7), autobind)."""
        while True:
            self.next_auto = (self.next_auto + 1) & 0xFFFFF
            name = b"\0%05x" % self.next_auto
            if name not in self.abstract:
                return name

    def close(self) -> None:
        """The kernel ends: let go of files on their way, those that hold each other too."""
        for holder in list(self.holders):
            holder.drop_messages()


class SocketQueue(File):
    """What arrives at a socket.  `shut` are the directions that are closed; `error` is told once."""

    __slots__ = (
        "_queue", "blocked", "charged", "connected", "error", "kind", "messages", "nbytes", "ns", "pass_cred", "passed",
        "shut",
    )

    def __init__(self, ns: SocketNamespace, kind: int, flags: OpenFlags) -> None:
        super().__init__(None, flags & OpenFlags.NONBLOCK | OpenFlags.RDWR)
        self.ns = ns
        self.kind = kind
        self.connected = False
        self.blocked: dict[SocketQueue, None] = {}      # senders and connecters to be woken when there is room
        self.messages: deque[Message] = deque()
        self.nbytes = 0
        self.charged = 0
        self.shut = 0
        self.error: type[Errno] | None = None
        self.pass_cred = False
        self.passed: deque[File] = deque()      # files that came by themselves, not with a message (SerenityOS's sendfd)
        self._queue = WaitQueue()

    @property
    def queue(self) -> WaitQueue:
        return self._queue

    @property
    def is_packets(self) -> bool:
        """Whether messages keep their bounds."""
        return self.kind != STREAM

    def deliver(self, message: Message) -> None:
        """A message arrives here."""
        for file in message.files:
            file.acquire()
        if message.files:
            self.ns.in_flight += len(message.files)
            self.ns.holders[self] = None
        message.sender.charged += message.cost
        self.messages.append(message)
        self.nbytes += len(message.data)
        self._queue.wake()

    def pass_file(self, file: File) -> None:
        """A file arrives here, beside the messages; acquired here.  The caller has bounded how many."""
        file.acquire()
        self.ns.in_flight += 1
        self.ns.holders[self] = None
        self.passed.append(file)

    # --- receiving
    def take_file(self) -> File:
        """The first file that was passed; its reference is the caller's now.  Raises EAGAIN."""
        if not self.passed:
            raise EAGAIN
        self.ns.in_flight -= 1
        file = self.passed.popleft()
        if not self.passed and not any(message.files for message in self.messages):
            self.ns.holders.pop(self, None)
        return file

    def recv(self, nbytes: int, *, flags: int = 0) -> Received:
        """Bytes of a stream, as far as one sender's credentials and files go along; or one packet, cut to `nbytes`.

        Raises EAGAIN, ECONNRESET once, EINVAL or ENOTCONN when not connected.  Empty at the end.
        """
        if flags & MSG_OOB:
            raise EOPNOTSUPP if self.is_packets else EINVAL
        if self.kind == STREAM and not self.connected:
            raise EINVAL
        if self.kind == SEQPACKET and not self.connected:
            raise ENOTCONN
        if not self.messages:
            error = self.take_error()
            if error is not None:
                raise error
            if self.shut & RCV:
                return Received(b"", 0, 0, UNNAMED, (), None)
            raise EAGAIN
        peek = bool(flags & MSG_PEEK)
        received = self._recv_packet(nbytes, flags, peek=peek) if self.is_packets else self._recv_stream(nbytes, peek=peek)
        if peek:
            for file in received.files:
                file.acquire()
        return received

    def _recv_packet(self, nbytes: int, flags: int, *, peek: bool) -> Received:
        message = self.messages[0]
        length = len(message.data)
        if not peek:
            self._done(self.messages.popleft(), length)
        answer = MSG_TRUNC if length > nbytes else 0
        data = message.data[:nbytes]
        return Received(
            data, length if flags & MSG_TRUNC else len(data), answer, message.source if self.kind != SEQPACKET else UNNAMED,
            message.files, message.credentials if self.pass_cred else None,
        )

    def _recv_stream(self, nbytes: int, *, peek: bool) -> Received:
        pieces: list[bytes] = []
        files: Sequence[File] = ()
        credentials: Ucred | None = None
        left = nbytes
        for message in list(self.messages) if nbytes < self.nbytes or self.pass_cred or peek else tuple(self.messages):
            if left <= 0 or (pieces and message.files):
                break
            if self.pass_cred and credentials is not None and credentials != message.credentials:
                break
            credentials = message.credentials
            piece = message.data[:left]
            pieces.append(piece)
            left -= len(piece)
            files = message.files
            if not peek:
                if len(piece) == len(message.data):
                    self._done(self.messages.popleft(), len(piece))
                else:
                    self._take_part(message, len(piece))
            if files:
                break
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return Received(data, len(data), 0, UNNAMED, files, credentials if self.pass_cred else None)

    def _take_part(self, message: Message, nbytes: int) -> None:
        message.data = message.data[nbytes:]
        self.nbytes -= nbytes
        if message.files:
            self._forget_files(message)
        message.files = ()

    def _done(self, message: Message, nbytes: int) -> None:
        """A message has been read; its files are the reader's now."""
        self.nbytes -= nbytes
        sender = message.sender
        sender.charged -= message.cost
        self._forget_files(message)
        sender.queue.wake()
        self.wake_blocked()

    def _forget_files(self, message: Message) -> None:
        self.ns.in_flight -= len(message.files)
        if self in self.ns.holders and not self.passed and not any(m.files for m in self.messages if m is not message):
            del self.ns.holders[self]

    def wake_blocked(self) -> None:
        """There may be room now."""
        blocked = list(self.blocked)
        self.blocked.clear()
        for waiting in blocked:
            waiting.queue.wake()

    def drop_messages(self) -> None:
        """Forget what waits here, files included."""
        self.ns.holders.pop(self, None)
        while self.messages:
            message = self.messages.popleft()
            self.ns.in_flight -= len(message.files)
            message.sender.charged -= message.cost
            message.sender.queue.wake()
            self.ns.let_go(message.files)
        self.ns.in_flight -= len(self.passed)
        passed, self.passed = self.passed, deque()
        self.ns.let_go(passed)
        self.nbytes = 0

    def take_error(self) -> type[Errno] | None:
        """The pending error, told once."""
        error = self.error
        self.error = None
        return error
