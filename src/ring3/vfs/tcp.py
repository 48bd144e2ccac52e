"""TCP over the loopback: connections between sockets of one kernel, as a program sees Linux's.

A connection is two sockets that know each other; what one sends is in the other's `received` at once, and no packet is ever lost,
so that of TCP's states only those are left which a program can tell apart:

    CLOSE ── listen ──> LISTEN
      └── connect ──> SYN_SENT (the listener's backlog is full) ──> ESTABLISHED ── both sides said their end, or a reset ──> CLOSE

`ended` says that the other side will send no more (its FIN); `shut` what is over for the program.  Closing with bytes unread, or
with a linger time of 0, resets the connection, and so does sending to who has closed.  `phase` is what connect(2) has been told.

Invariants: `peer` is set only while ESTABLISHED and until the other side closes; `net.nbytes` is the length of every `received`.
One byte of urgent data is kept beside the stream, which is read no further than the place it was sent at; no SIGURG is sent.
Not here: time-outs and TIME_WAIT, which a network that loses nothing does not need.
Source: tcp(7), net/ipv4/{tcp,tcp_input,af_inet}.c (inet_stream_connect, inet_shutdown, tcp_poll, tcp_recvmsg).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Final

from ring3.abi.flags import OpenFlags, Poll
from ring3.errors import (
    EADDRINUSE,
    EAGAIN,
    EALREADY,
    ECONNABORTED,
    ECONNREFUSED,
    ECONNRESET,
    EINPROGRESS,
    EINVAL,
    EISCONN,
    ENOTCONN,
    ENOTTY,
    EPIPE,
    Errno,
)
from ring3.vfs.inet import IPPROTO_TCP, InetSocket
from ring3.vfs.socketqueue import RCV, SND, SocketNamespace
from ring3.vfs.socketrecords import (
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    SO_LINGER,
    SO_OOBINLINE,
    SO_RCVBUF,
    SO_REUSEPORT,
    SO_SNDBUF,
    STREAM,
    UNNAMED,
    InetAddress,
    Received,
    SocketAddress,
    Ucred,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ring3.protocols import GuestMemory
    from ring3.vfs.file import File
    from ring3.vfs.vnode import Vnode

SNDBUF, RCVBUF = 16384, 131072          # net.ipv4.tcp_wmem and tcp_rmem: what they are before they grow
GROWN: Final = 2 << 20                  # what both together grow to, as long as the program set neither
MAX_BACKLOG: Final = 4096               # net.core.somaxconn
FIONREAD, SIOCATMARK, SIOCOUTQ, SIOCOUTQNSD = 0x541B, 0x8905, 0x5411, 0x894B
_BOTH: Final = RCV | SND
_READABLE: Final = Poll.IN | Poll.RDNORM
_WRITABLE: Final = Poll.OUT | Poll.WRNORM


class State(Enum):
    """Where a socket stands, by Linux's numbers."""

    ESTABLISHED = 1
    SYN_SENT = 2
    CLOSE = 7
    LISTEN = 10


class Phase(Enum):
    """What connect(2) was told last."""

    UNCONNECTED = 0
    CONNECTING = 1
    CONNECTED = 2


class TcpSocket(InetSocket):
    """A stream socket of IPv4 or IPv6.  `waiting` are sockets in SYN_SENT for whom the backlog has no room."""

    protocol: ClassVar[int] = IPPROTO_TCP

    __slots__ = ("ended", "mark", "peer", "phase", "received", "state", "urgent", "waiting", "waits_for")

    def __init__(self, ns: SocketNamespace, family: int, flags: OpenFlags, cred: Ucred) -> None:
        super().__init__(ns, family, STREAM, flags, cred)
        self.sndbuf, self.rcvbuf = SNDBUF, RCVBUF
        self.state = State.CLOSE
        self.phase = Phase.UNCONNECTED
        self.peer: TcpSocket | None = None
        self.received = bytearray()
        self.urgent = b""               # the byte, until it is read
        self.mark = -1                  # bytes before the place it was sent at; -1 when they were read, or never
        self.ended = False
        self.waiting: dict[TcpSocket, None] = {}
        self.waits_for: TcpSocket | None = None

    def getpeername(self) -> InetAddress:
        """Raises ENOTCONN."""
        if self.remote is None or self.state is not State.ESTABLISHED:
            raise ENOTCONN
        return self.remote

    @property
    def shown_state(self) -> int:
        """The number /proc/net/tcp has for it: half closed ones are CLOSE_WAIT and FIN_WAIT2."""
        if self.state is not State.ESTABLISHED:
            return int(self.state.value)
        return 8 if self.ended else 5 if self.shut & SND else 1

    # --- connections
    def listen(self, backlog: int, cred: Ucred) -> None:
        """Raises EINVAL when connected, EADDRINUSE."""
        if self.state not in (State.CLOSE, State.LISTEN) or self.phase is not Phase.UNCONNECTED:
            raise EINVAL
        self.backlog = backlog if 0 <= backlog <= MAX_BACKLOG else MAX_BACKLOG
        if self.state is State.LISTEN:
            self._admit()
            return
        self.autobind()
        for other in self.ports.serving.get(self.address.port, ()):
            own, theirs = self.address.host, other.address.host
            both = self.options.get(SO_REUSEPORT) and other.options.get(SO_REUSEPORT)
            if not both and (self.covers(own, theirs) or other.covers(theirs, own)):
                raise EADDRINUSE
        self.owner_cred = cred
        self.state = State.LISTEN
        self.listening = True
        self.shut = 0
        self.ports.serve(self, self.address.port)
        self._queue.wake()

    def connect(self, address: InetAddress | None) -> None:
        """Connect; None takes a connection down.  EAGAIN: sleep on `queue` and ask again.

        Raises ECONNREFUSED, EISCONN, ENETUNREACH; EINPROGRESS and EALREADY without O_NONBLOCK's wait; ECONNABORTED.
        """
        if address is None:
            self._take_down()
            return
        if self.phase is Phase.CONNECTED:
            raise EISCONN
        if self.phase is Phase.UNCONNECTED:
            if self.state is not State.CLOSE:
                raise EISCONN
            self._begin(address)
            self.phase = Phase.CONNECTING
            if self.nonblocking:
                raise EINPROGRESS
        if self.state is State.SYN_SENT:
            raise EALREADY if self.nonblocking else EAGAIN
        if self.state is State.CLOSE:
            error = self.take_error() or ECONNABORTED
            self._disconnect()
            raise error
        self.phase = Phase.CONNECTED

    def _begin(self, address: InetAddress) -> None:
        """The first packet goes out, and its answer is there."""
        host, own = self.route(address.host)
        self.autobind()
        self.address = self.address._replace(host=own)
        self.remote = self.told(address._replace(host=host))
        self.shut, self.ended, self.error = 0, False, None
        listener = self.ports.find(host, address.port, self.address)
        if not isinstance(listener, TcpSocket):
            self._end(ECONNREFUSED)
        elif len(listener.pending) > listener.backlog:
            self.state = State.SYN_SENT
            self.waits_for = listener
            listener.waiting[self] = None
        else:
            self._establish(listener)

    def _establish(self, listener: TcpSocket) -> None:
        """Both ends of a connection, one waiting to be accepted."""
        assert self.remote is not None
        end = TcpSocket(self.ns, listener.family, OpenFlags.RDWR, listener.owner_cred)
        end.options = dict(listener.options)
        end.sndbuf, end.rcvbuf = listener.sndbuf, listener.rcvbuf
        end.address = end.told(self.remote)
        end.remote = end.told(self.address)
        end.ports.join(end, end.address.port)
        end.phase = Phase.CONNECTED
        end.peer, self.peer = self, end
        end.state = self.state = State.ESTABLISHED
        end.connected = self.connected = True
        listener.pending.append(end)
        listener.queue.wake()
        self._queue.wake()

    def accept(self, flags: OpenFlags) -> TcpSocket:
        """The next connection.  Raises EINVAL unless it listens, EAGAIN."""
        if self.state is not State.LISTEN:
            raise EINVAL
        if not self.pending:
            raise EAGAIN
        end: TcpSocket = self.pending.popleft()
        end.flags = flags & OpenFlags.NONBLOCK | OpenFlags.RDWR
        self._admit()
        return end

    def _admit(self) -> None:
        """There may be room for who waits."""
        while self.waiting and len(self.pending) <= self.backlog:
            other = next(iter(self.waiting))
            del self.waiting[other]
            other.waits_for = None
            other._establish(self)      # noqa: SLF001

    def _take_down(self) -> None:
        """connect(2) to no family: the other side sees a reset."""
        if self.state is State.LISTEN:
            self._stop_listening()
        elif self.state is State.ESTABLISHED:
            self._reset_peer()
            self._end(None)
            self.error = ECONNRESET
        self._disconnect()

    def _disconnect(self) -> None:
        """As if it had never been connected, but for its port and a pending error."""
        if self.waits_for is not None:
            self.waits_for.waiting.pop(self, None)
            self.waits_for = None
        self._forget_received()
        self.state, self.phase = State.CLOSE, Phase.UNCONNECTED
        self.remote, self.shut, self.ended, self.connected = None, 0, False, False
        self.address = self.unnamed()._replace(port=self.address.port)
        self._queue.wake()

    # --- the end of a connection
    def shutdown(self, how: int) -> None:
        """0 no more reading, 1 no more writing, 2 both.  Raises EINVAL, ENOTCONN."""
        if how not in (0, 1, 2):
            raise EINVAL
        bits = how + 1
        if self.state is State.LISTEN:
            if bits & RCV:
                self._stop_listening()
                self._disconnect()
            return
        if self.state is State.SYN_SENT:
            self._disconnect()
            return
        self.shut |= bits
        if self.state is State.CLOSE:
            self._queue.wake()
            raise ENOTCONN
        if bits & SND:
            self._say_end()
        self._queue.wake()

    def _say_end(self) -> None:
        """Nothing more will be sent from here (FIN); when neither side has more to say, it is over."""
        peer = self.peer
        if peer is not None and not peer.ended:
            peer.ended = True
            peer.shut |= RCV
            if peer.shut & SND and self.ended:
                peer._end(None)         # noqa: SLF001
            peer.queue.wake()
        if self.ended:
            self._end(None)

    def _end(self, error: type[Errno] | None) -> None:
        """Over: no other side any more."""
        self.peer = None
        self.state = State.CLOSE
        self.shut = _BOTH
        self.connected = False
        self.error = error or self.error
        self._queue.wake()

    def _reset_peer(self) -> None:
        peer = self.peer
        if peer is not None:
            peer._end(EPIPE if peer.ended else ECONNRESET)      # noqa: SLF001

    def _stop_listening(self) -> None:
        """Connections nobody accepted are reset; who waits for one is refused."""
        self.ports.leave(self.ports.serving, self, self.address.port)
        self.listening = False
        self.state = State.CLOSE
        while self.pending:
            self.pending.popleft().abort()
        waiting, self.waiting = self.waiting, {}
        for other in waiting:
            other.waits_for = None
            other._end(ECONNREFUSED)    # noqa: SLF001

    def abort(self) -> None:
        """Close, the other side seeing a reset."""
        self._reset_peer()
        self._end(None)
        self.close()

    def close(self) -> None:
        self.closed = True
        if self.state is State.LISTEN:
            self._stop_listening()
        elif self.state is State.ESTABLISHED:
            if self.received or self.options.get(SO_LINGER) == 1:
                self._reset_peer()
            else:
                self._say_end()
        if self.waits_for is not None:
            self.waits_for.waiting.pop(self, None)
            self.waits_for = None
        self._forget_received()
        self.shut = _BOTH
        self.release_port()
        self._queue.wake()

    def _forget_received(self) -> None:
        self.net.nbytes -= len(self.received)
        self.received = bytearray()

    # --- bytes
    def capacity(self, receiver: TcpSocket) -> int:
        """How much may wait at `receiver` for what is sent here."""
        own = self.sndbuf if SO_SNDBUF in self.options else GROWN // 2
        theirs = receiver.rcvbuf if SO_RCVBUF in receiver.options else GROWN // 2
        return min(own + theirs, self.net.most)

    def send(
        self, data: bytes, *, flags: int = 0, to: SocketAddress | None = None, vnode: Vnode | None = None,
        files: Sequence[File] = (), cred: Ucred | None = None,
    ) -> int:
        """Send what there is room for.  An address is not looked at, files and credentials do not go along.

        Raises EAGAIN, EPIPE (the call adds SIGPIPE), and the pending error.
        """
        del to, vnode, files, cred
        if self.state is State.SYN_SENT:
            raise EAGAIN
        if self.error is not None or self.shut & SND or self.state is not State.ESTABLISHED:
            raise self.take_error() or EPIPE
        peer = self.peer
        if peer is None or peer.closed:
            self._end(EPIPE if self.ended else ECONNRESET)
            return len(data)
        room = self.capacity(peer) - len(peer.received)
        if not data:
            return 0
        if room <= 0:
            raise EAGAIN
        piece = data[:room]
        peer.arrive(piece, urgent=bool(flags & MSG_OOB) and len(piece) == len(data))
        return len(piece)

    def arrive(self, piece: bytes, *, urgent: bool) -> None:
        """Bytes come in; the last of them may be urgent."""
        if urgent:
            self.mark = len(self.received) + len(piece) - 1
            if not self.options.get(SO_OOBINLINE):
                piece, self.urgent = piece[:-1], piece[-1:]
        self.received += piece
        self.net.nbytes += len(piece)
        self._queue.wake()

    def _recv_urgent(self, flags: int) -> Received:
        """The byte.  Raises EINVAL where there is none beside the stream."""
        if not self.urgent:
            raise EINVAL
        piece = self.urgent
        if not flags & MSG_PEEK:
            self.urgent = b""
        return Received(piece, 1, MSG_OOB, UNNAMED, (), None)

    def recv(self, nbytes: int, *, flags: int = 0) -> Received:
        """What has come.  Empty at the end.  Raises EAGAIN, ENOTCONN, and the pending error."""
        if flags & MSG_OOB:
            return self._recv_urgent(flags)
        if self.state is State.LISTEN:
            raise ENOTCONN
        if 0 < self.mark < nbytes:
            nbytes = self.mark              # no further than the mark at once
        if not self.received:
            if not self.ended and self.error is not None:
                raise self.take_error() or EAGAIN
            if not self.ended and not self.shut & RCV:
                raise ENOTCONN if self.state is State.CLOSE else EAGAIN
            return Received(b"", 0, 0, UNNAMED, (), None)
        piece = bytes(self.received[:nbytes])
        if not flags & MSG_PEEK:
            self._take(len(piece))
        return Received(b"" if flags & MSG_TRUNC else piece, len(piece), 0, UNNAMED, (), None)

    def _take(self, nbytes: int) -> None:
        """That much has been read; the other side is woken when it may write again."""
        peer = self.peer
        full = peer is not None and not peer.can_send
        del self.received[:nbytes]
        self.net.nbytes -= nbytes
        self.mark = self.mark - nbytes if self.mark >= nbytes else -1
        if full and peer is not None and peer.can_send:
            peer.queue.wake()

    @property
    def can_send(self) -> bool:
        """Whether a third of the room is free."""
        peer = self.peer
        return peer is None or len(peer.received) * 3 <= self.capacity(peer) * 2

    def poll(self) -> Poll:
        state = self.state
        if state is State.LISTEN:
            return _READABLE if self.pending else Poll(0)
        events = Poll.ERR if self.error is not None else Poll(0)
        if self.shut == _BOTH or state is State.CLOSE:
            events |= Poll.HUP
        if self.shut & RCV:
            events |= Poll.RDHUP | _READABLE
        if self.urgent:
            events |= Poll.PRI
        if state is not State.SYN_SENT:
            if self.received:
                events |= _READABLE
            if self.shut & SND or self.can_send:
                events |= _WRITABLE
        return events

    def ioctl(self, request: int, arg: int, memory: GuestMemory) -> int:
        if request in (FIONREAD, SIOCOUTQ, SIOCOUTQNSD):
            if self.state is State.LISTEN:
                raise EINVAL
            value = len(self.received) if request == FIONREAD else 0
        elif request == SIOCATMARK:
            value = int(self.mark == 0)
        else:
            raise ENOTTY
        memory.copyout(arg, value.to_bytes(4, "little"))
        return 0
