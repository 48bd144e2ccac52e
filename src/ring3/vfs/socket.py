"""Sockets of one kernel among themselves: AF_UNIX streams, datagrams and sequenced packets.

Nothing here reaches the host's network: another family is EAFNOSUPPORT.  Addresses are neutral records; paths are looked up and
made by the call, which hands in the vnode.  A `Message` waits at its receiver and is charged to its sender until it is read.
Invariants: `charged` of a socket is the cost of its messages not yet read anywhere, and bounded by `sndbuf`; files on
their way (SCM_RIGHTS) hold one reference each, and `SocketNamespace.in_flight` counts them.

`MSG_WAITALL` is the call's: it asks again for the rest.  So is MSG_DONTWAIT: nothing here sleeps.
Source: net/unix/af_unix.c, unix(7), socket(7).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from ring3.abi.flags import FileType, OpenFlags, Poll
from ring3.errors import (
    EADDRINUSE,
    EAFNOSUPPORT,
    EAGAIN,
    ECONNREFUSED,
    ECONNRESET,
    EINVAL,
    EISCONN,
    EMSGSIZE,
    ENOPROTOOPT,
    ENOTCONN,
    ENOTTY,
    EOPNOTSUPP,
    EPERM,
    EPIPE,
    EPROTONOSUPPORT,
    EPROTOTYPE,
    ESOCKTNOSUPPORT,
    ETOOMANYREFS,
    Errno,
)
from ring3.vfs.file import File
from ring3.waiting import WaitQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ring3.abi.records import Attr
    from ring3.protocols import GuestMemory
    from ring3.vfs.pipe import AnonymousInodes
    from ring3.vfs.vnode import Vnode

AF_UNSPEC, AF_UNIX = 0, 1
STREAM, DGRAM, RAW, SEQPACKET = 1, 2, 3, 5
MSG_OOB, MSG_PEEK, MSG_TRUNC = 0x1, 0x2, 0x20
SOL_SOCKET: Final = 1
ECONNRESET_NUMBER: Final = 104      # as SO_ERROR tells it: the one error a socket here can have pending
(SO_REUSEADDR, SO_TYPE, SO_ERROR, SO_DONTROUTE, SO_BROADCAST, SO_SNDBUF, SO_RCVBUF, SO_KEEPALIVE, SO_OOBINLINE, SO_NO_CHECK,
 SO_PRIORITY, SO_LINGER) = range(2, 14)
SO_REUSEPORT, SO_PASSCRED, SO_PEERCRED, SO_RCVLOWAT, SO_SNDLOWAT = range(15, 20)
SO_ACCEPTCONN, SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_PROTOCOL, SO_DOMAIN = 30, 32, 33, 38, 39
FIONREAD, SIOCOUTQ = 0x541B, 0x5411

DEFAULT_BUFFER: Final = 212992      # net.core.wmem_default and wmem_max
MIN_SNDBUF, MIN_RCVBUF = 4608, 2304
MESSAGE_COST: Final = 768           # what a message costs beside its bytes, roughly an sk_buff
MAX_PIECE: Final = 32768            # bytes of one message of a stream
MAX_DGRAM_QUEUE: Final = 10         # net.unix.max_dgram_qlen
MAX_BACKLOG: Final = 4096           # net.core.somaxconn
MAX_FILES: Final = 253              # SCM_MAX_FD
MAX_IN_FLIGHT: Final = 16384
RCV, SND = 1, 2                     # bits of `shut`

_READABLE: Final = Poll.IN | Poll.RDNORM
_WRITABLE: Final = Poll.OUT | Poll.WRNORM | Poll.WRBAND


class UnixAddress(NamedTuple):
    """sockaddr_un: a path, an abstract name with its leading zero byte, or empty for none."""

    path: bytes = b""

    @property
    def is_abstract(self) -> bool:
        return self.path[:1] == b"\0"


class Ucred(NamedTuple):
    """Who is at the other end (SO_PEERCRED, SCM_CREDENTIALS)."""

    pid: int = 0
    uid: int = 0xFFFFFFFF
    gid: int = 0xFFFFFFFF


NOBODY: Final = Ucred()
UNNAMED: Final = UnixAddress()


class Received(NamedTuple):
    """What came in.  `flags` is MSG_TRUNC or 0; `files` hold a reference each, the caller's.

    `length` is what the call returns: that of the whole message when it was asked with MSG_TRUNC.
    """

    data: bytes
    length: int
    flags: int
    address: UnixAddress
    files: Sequence[File]
    credentials: Ucred | None


class Message:
    """Bytes on their way, with what came along."""

    __slots__ = ("cost", "credentials", "data", "files", "sender", "source")

    def __init__(self, sender: UnixSocket, data: bytes, files: Sequence[File], credentials: Ucred) -> None:
        self.sender = sender
        self.source = sender.address
        self.data = data
        self.files = files
        self.credentials = credentials
        self.cost = len(data) + MESSAGE_COST


class SocketNamespace:
    """The names and numbers of one kernel's sockets."""

    __slots__ = ("abstract", "bound", "holders", "in_flight", "inodes", "next_auto")

    def __init__(self, inodes: AnonymousInodes) -> None:
        self.inodes = inodes
        self.abstract: dict[bytes, UnixSocket] = {}
        self.bound: dict[tuple[int, int], UnixSocket] = {}      # by file
        self.in_flight = 0
        self.holders: dict[UnixSocket, None] = {}               # sockets where files wait
        self.next_auto = 0

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


class UnixSocket(File):
    """One socket.  `shut` are the directions that are closed; `error` is told once."""

    __slots__ = (
        "_queue", "address", "attr", "backlog", "blocked", "bound_file", "charged", "closed", "connected", "error", "kind",
        "listening",
        "messages", "nbytes", "ns",
        "options", "owner_cred", "pass_cred", "peer", "peer_cred", "pending", "rcvbuf", "shut", "sndbuf",
    )

    def __init__(self, ns: SocketNamespace, kind: int, flags: OpenFlags, cred: Ucred) -> None:
        super().__init__(None, flags & OpenFlags.NONBLOCK | OpenFlags.RDWR)
        self.ns = ns
        self.kind = kind
        self.owner_cred = cred
        self.attr = ns.inodes.attr(ns.inodes.socket_dev, FileType.SOCK | 0o777, cred.uid, cred.gid)
        self.address = UNNAMED
        self.bound_file: tuple[int, int] | None = None
        self.peer: UnixSocket | None = None
        self.peer_cred = NOBODY
        self.connected = False
        self.listening = False
        self.closed = False
        self.backlog = 0
        self.pending: deque[UnixSocket] = deque()       # connected and not accepted
        self.blocked: dict[UnixSocket, None] = {}       # senders and connecters to be woken when there is room
        self.messages: deque[Message] = deque()
        self.nbytes = 0
        self.charged = 0
        self.sndbuf = self.rcvbuf = DEFAULT_BUFFER
        self.shut = 0
        self.error: type[Errno] | None = None
        self.pass_cred = False
        self.options: dict[int, int] = {}
        self._queue = WaitQueue()

    @property
    def queue(self) -> WaitQueue:
        return self._queue

    @property
    def label(self) -> bytes:
        return b"socket:[%d]" % self.attr.ino

    @property
    def is_packets(self) -> bool:
        """Whether messages keep their bounds."""
        return self.kind != STREAM

    def getattr(self) -> Attr:
        return self.attr

    # --- names
    def bind(self, address: UnixAddress, make: Callable[[bytes], Vnode] | None) -> None:
        """Take a name; an empty one takes a free abstract name.  `make` creates the socket's file and may refuse.

        Raises EINVAL when it has a name, EADDRINUSE.
        """
        if address.path and not address.is_abstract:
            if self.address.path:
                raise EINVAL
            assert make is not None
            try:
                vnode = make(address.path)
            except Errno as refusal:
                if refusal.name == "EEXIST":
                    raise EADDRINUSE from None
                raise
            self.bound_file = vnode.fileid
            self.vnode = vnode
            self.ns.bound[self.bound_file] = self
        else:
            if self.address.path:
                if not address.path:
                    return
                raise EINVAL
            if not address.path:
                address = UnixAddress(self.ns.auto_name())
            if address.path in self.ns.abstract:
                raise EADDRINUSE
            self.ns.abstract[address.path] = self
        self.address = address

    def getsockname(self) -> UnixAddress:
        return self.address

    def getpeername(self) -> UnixAddress:
        """Raises ENOTCONN."""
        if self.peer is None:
            raise ENOTCONN
        return self.peer.address

    # --- connections
    def listen(self, backlog: int, cred: Ucred) -> None:
        """Raises EOPNOTSUPP for datagrams, EINVAL without a name or when connected."""
        if self.kind == DGRAM:
            raise EOPNOTSUPP
        if not self.address.path or self.connected:
            raise EINVAL
        self.listening = True
        self.owner_cred = cred
        self.backlog = min(backlog if backlog >= 0 else MAX_BACKLOG, MAX_BACKLOG)
        self._wake_blocked()

    def connect(self, address: UnixAddress | None, vnode: Vnode | None, cred: Ucred) -> None:
        """Connect; None dissolves the tie of a datagram socket.  Raises EAGAIN while the backlog is full (sleep on `queue`).

        Raises ECONNREFUSED, EPROTOTYPE, EISCONN, EINVAL.
        """
        if address is None:
            if self.kind != DGRAM:
                raise EINVAL
            self.peer = None
            return
        other = self.ns.find(address, vnode)
        if other.kind != self.kind:
            raise EPROTOTYPE
        if self.kind == DGRAM:
            if other.peer is not None and other.peer is not self:
                raise EPERM
            self.peer = other
            return
        if not other.listening or other.shut & RCV:
            raise ECONNREFUSED
        if len(other.pending) > other.backlog:
            other.blocked[self] = None
            raise EAGAIN
        if self.connected:
            raise EISCONN
        if self.listening:
            raise EINVAL
        end = UnixSocket(self.ns, self.kind, OpenFlags.RDWR, other.owner_cred)
        end.address = other.address
        _tie(end, self)
        end.peer_cred = cred
        self.peer_cred = other.owner_cred
        other.pending.append(end)
        other.queue.wake()

    def accept(self, flags: OpenFlags) -> UnixSocket:
        """The next connection.  Raises EOPNOTSUPP for datagrams, EINVAL unless it listens, EAGAIN."""
        if self.kind == DGRAM:
            raise EOPNOTSUPP
        if not self.listening or self.shut & RCV:
            raise EINVAL
        if not self.pending:
            raise EAGAIN
        end = self.pending.popleft()
        end.flags = flags & OpenFlags.NONBLOCK | OpenFlags.RDWR
        end.pass_cred = self.pass_cred
        self._wake_blocked()
        return end

    def shutdown(self, how: int) -> None:
        """0 no more reading, 1 no more writing, 2 both.  Raises EINVAL."""
        if how not in (0, 1, 2):
            raise EINVAL
        bits = how + 1
        self.shut |= bits
        self._queue.wake()
        if self.peer is not None and self.kind != DGRAM and not self.peer.closed:
            self.peer.shut |= (SND if bits & RCV else 0) | (RCV if bits & SND else 0)
            self.peer.queue.wake()

    # --- sending
    def send(
        self, data: bytes, *, flags: int = 0, to: UnixAddress | None = None, vnode: Vnode | None = None,
        files: Sequence[File] = (), cred: Ucred | None = None,
    ) -> int:
        """Send what there is room for, a packet whole.  `files` go along (SCM_RIGHTS), acquired here; `cred` says who sends.

        Raises EAGAIN, EPIPE (the call adds SIGPIPE), ENOTCONN, ECONNREFUSED, EMSGSIZE, EISCONN, EOPNOTSUPP, ETOOMANYREFS, EINVAL.
        """
        if flags & MSG_OOB:
            raise EOPNOTSUPP
        if len(files) > MAX_FILES:
            raise EINVAL
        if self.ns.in_flight + len(files) > MAX_IN_FLIGHT:
            raise ETOOMANYREFS
        cred = cred or self.owner_cred
        if self.kind == STREAM:
            return self._send_stream(data, to, files, cred)
        other = self._destination(to, vnode)
        if len(data) > self.sndbuf - 32:
            raise EMSGSIZE
        if other.shut & RCV or self.shut & SND:
            raise EPIPE
        if self._is_full(other) or not self._has_room(len(data)):
            other.blocked[self] = None
            raise EAGAIN
        if self.pass_cred and not self.address.path:
            self.bind(UNNAMED, None)
        other.deliver(Message(self, data, files, cred))
        return len(data)

    def _destination(self, to: UnixAddress | None, vnode: Vnode | None) -> UnixSocket:
        if self.kind == SEQPACKET:
            if not self.connected or self.peer is None:
                raise ENOTCONN
            if self.peer.closed:
                raise EPIPE
            return self.peer
        if to is not None:
            other = self.ns.find(to, vnode)
            if other.kind != self.kind:
                raise EPROTOTYPE
        elif self.peer is None:
            raise ENOTCONN
        else:
            other = self.peer
            if other.closed:
                self.peer = None
                raise ECONNREFUSED
        if other.peer is not None and other.peer is not self:
            raise EPERM
        return other

    def _send_stream(self, data: bytes, to: UnixAddress | None, files: Sequence[File], cred: Ucred) -> int:
        other = self.peer
        if to is not None:
            raise EISCONN if self.connected else EOPNOTSUPP
        if other is None:
            raise ENOTCONN
        if self.shut & SND or other.closed or other.shut & RCV:
            raise EPIPE
        done = 0
        while done < len(data):
            room = min(self.sndbuf - self.charged - MESSAGE_COST, MAX_PIECE, self.sndbuf // 2 - 64)
            if room <= 0:
                break
            piece = data[done : done + room] if done or len(data) > room else data
            other.deliver(Message(self, piece, () if done else files, cred))
            done += len(piece)
        if not done and data:
            raise EAGAIN
        return done

    def _is_full(self, other: UnixSocket) -> bool:
        """Whether too many packets wait there; two tied to each other have only their buffers."""
        return len(other.messages) > MAX_DGRAM_QUEUE and other.peer is not self

    def _has_room(self, nbytes: int) -> bool:
        return not self.charged or self.charged + nbytes + MESSAGE_COST <= self.sndbuf

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

    # --- receiving
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
            error = self._take_error()
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
            data, length if flags & MSG_TRUNC else len(data), answer, message.source if self.kind == DGRAM else UNNAMED,
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
        self._wake_blocked()

    def _forget_files(self, message: Message) -> None:
        self.ns.in_flight -= len(message.files)
        if self in self.ns.holders and not any(m.files for m in self.messages if m is not message):
            del self.ns.holders[self]

    def _wake_blocked(self) -> None:
        blocked = list(self.blocked)
        self.blocked.clear()
        for waiting in blocked:
            waiting.queue.wake()

    # --- as a file
    def read(self, nbytes: int) -> bytes:
        if nbytes <= 0:
            return b""
        received = self.recv(nbytes)
        for file in received.files:     # read(2) drops what it cannot hand over
            file.release()
        return received.data

    def write(self, data: bytes) -> int:
        return self.send(data)

    def poll(self) -> Poll:
        events = Poll.ERR if self.error is not None else Poll(0)
        if self.shut == RCV | SND:
            events |= Poll.HUP
        if self.shut & RCV:
            events |= Poll.RDHUP | _READABLE
        if self.messages or self.pending:
            events |= _READABLE
        if self.kind != DGRAM and not self.connected and not self.listening:
            events |= Poll.HUP
        if not self.listening and self.charged * 4 <= self.sndbuf and not self._peer_is_full():
            events |= _WRITABLE
        return events

    def _peer_is_full(self) -> bool:
        """A connected datagram socket whose peer takes no more is told when it does."""
        peer = self.peer
        if self.kind == STREAM or peer is None or not self._is_full(peer):
            return False
        peer.blocked[self] = None
        return True

    def ioctl(self, request: int, arg: int, memory: GuestMemory) -> int:
        if request == FIONREAD:
            if self.listening:
                raise EINVAL
            value = self.nbytes if self.kind != DGRAM else len(self.messages[0].data) if self.messages else 0
        elif request == SIOCOUTQ:
            value = self.charged
        else:
            raise ENOTTY
        memory.copyout(arg, value.to_bytes(4, "little"))
        return 0

    def _take_error(self) -> type[Errno] | None:
        """The pending error, told once."""
        error = self.error
        self.error = None
        return error

    # --- options
    def getsockopt(self, level: int, name: int) -> int | Ucred:
        """An option's value.  Raises EOPNOTSUPP for another level, ENOPROTOOPT."""
        if level != SOL_SOCKET:
            raise EOPNOTSUPP
        if name == SO_PEERCRED:
            return self.peer_cred
        if name == SO_ERROR:
            return ECONNRESET_NUMBER if self._take_error() is not None else 0
        known = {
            SO_TYPE: self.kind, SO_DOMAIN: AF_UNIX, SO_PROTOCOL: 0, SO_ACCEPTCONN: int(self.listening), SO_SNDBUF: self.sndbuf,
            SO_RCVBUF: self.rcvbuf, SO_PASSCRED: int(self.pass_cred), SO_RCVLOWAT: 1, SO_SNDLOWAT: 1,
        }
        if name in known:
            return known[name]
        if name in _SWITCHES:
            return self.options.get(name, 0)
        raise ENOPROTOOPT

    def setsockopt(self, level: int, name: int, value: int) -> None:
        """Set an option; timeouts are the call's.  Raises EOPNOTSUPP for another level, ENOPROTOOPT."""
        if level != SOL_SOCKET:
            raise EOPNOTSUPP
        if name in (SO_SNDBUF, SO_SNDBUFFORCE):
            self.sndbuf = max(min(value, DEFAULT_BUFFER) * 2, MIN_SNDBUF)
            self._queue.wake()
        elif name in (SO_RCVBUF, SO_RCVBUFFORCE):
            self.rcvbuf = max(min(value, DEFAULT_BUFFER) * 2, MIN_RCVBUF)
        elif name == SO_PASSCRED:
            self.pass_cred = bool(value)
        elif name in _SWITCHES:
            self.options[name] = int(bool(value)) if name != SO_PRIORITY else value
        elif name != SO_RCVLOWAT:
            raise ENOPROTOOPT

    # --- the end
    def drop_messages(self) -> None:
        """Forget what waits here, files included."""
        self.ns.holders.pop(self, None)
        while self.messages:
            message = self.messages.popleft()
            self.ns.in_flight -= len(message.files)
            message.sender.charged -= message.cost
            message.sender.queue.wake()
            for file in message.files:
                file.release()
        self.nbytes = 0

    def close(self) -> None:
        self.closed = True
        if self.bound_file is not None:
            if self.ns.bound.get(self.bound_file) is self:
                del self.ns.bound[self.bound_file]
        elif self.address.is_abstract and self.ns.abstract.get(self.address.path) is self:
            del self.ns.abstract[self.address.path]
        peer = self.peer
        if peer is not None and self.kind != DGRAM and not peer.closed:
            peer.shut = RCV | SND
            if self.messages or self.pending:
                peer.error = ECONNRESET
            peer.queue.wake()
        self.shut = RCV | SND
        while self.pending:
            self.pending.popleft().abort()
        self.listening = False
        self.drop_messages()
        self._wake_blocked()
        self._queue.wake()

    def abort(self) -> None:
        """A connection nobody accepted is gone: the other side sees a reset."""
        peer = self.peer
        self.close()
        if peer is not None:
            peer.error = ECONNRESET


_SWITCHES: Final = frozenset((
    SO_REUSEADDR, SO_DONTROUTE, SO_BROADCAST, SO_KEEPALIVE, SO_OOBINLINE, SO_NO_CHECK, SO_PRIORITY, SO_LINGER, SO_REUSEPORT,
))


def _tie(a: UnixSocket, b: UnixSocket) -> None:
    a.peer, b.peer = b, a
    a.connected = b.connected = True


def make_socket(ns: SocketNamespace, family: int, kind: int, protocol: int, flags: OpenFlags, cred: Ucred) -> UnixSocket:
    """socket(2).  Raises EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT."""
    if family != AF_UNIX:
        raise EAFNOSUPPORT
    if protocol not in (0, AF_UNIX):
        raise EPROTONOSUPPORT
    if kind == RAW:
        kind = DGRAM
    if kind not in (STREAM, DGRAM, SEQPACKET):
        raise ESOCKTNOSUPPORT
    return UnixSocket(ns, kind, flags, cred)


def socketpair(
    ns: SocketNamespace, family: int, kind: int, protocol: int, flags: OpenFlags, cred: Ucred
) -> tuple[UnixSocket, UnixSocket]:
    """Two sockets tied to each other.  Raises what `make_socket` does."""
    a, b = (make_socket(ns, family, kind, protocol, flags, cred) for _ in range(2))
    _tie(a, b)
    a.peer_cred = b.peer_cred = cred
    return a, b
