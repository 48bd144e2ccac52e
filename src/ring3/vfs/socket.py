"""Sockets of one kernel among themselves: AF_UNIX streams, datagrams and sequenced packets; and how a socket is made.

Nothing here reaches the host's network.  Addresses are neutral records; paths are looked up and made by the call, which hands in
the vnode.  Invariant: `charged` of a socket is bounded by `sndbuf`.

Not here: what waits at a socket and how it is read (`socketqueue.py`), options (`socketoptions.py`), IPv4 and IPv6 (`inet.py`).
`MSG_WAITALL` is the call's: it asks again for the rest.  So is MSG_DONTWAIT: nothing here sleeps.
Source: net/unix/af_unix.c, unix(7), socket(7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ring3.abi.flags import OpenFlags, Poll
from ring3.errors import (
    EADDRINUSE,
    EAFNOSUPPORT,
    EAGAIN,
    ECONNREFUSED,
    ECONNRESET,
    EINVAL,
    EISCONN,
    EMSGSIZE,
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
from ring3.vfs.anysocket import Socket
from ring3.vfs.socketqueue import MESSAGE_COST, RCV, SND, Message, SocketNamespace
from ring3.vfs.socketrecords import (
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    AF_UNIX,
    DGRAM,
    MSG_OOB,
    RAW,
    SEQPACKET,
    STREAM,
    UNNAMED,
    SocketAddress,
    Ucred,
    UnixAddress,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ring3.protocols import GuestMemory
    from ring3.vfs.file import File
    from ring3.vfs.vnode import Vnode

FIONREAD, SIOCOUTQ = 0x541B, 0x5411

MAX_PIECE: Final = 32768            # bytes of one message of a stream
MAX_DGRAM_QUEUE: Final = 10         # net.unix.max_dgram_qlen
MAX_BACKLOG: Final = 4096           # net.core.somaxconn
MAX_FILES: Final = 253              # SCM_MAX_FD
MAX_IN_FLIGHT: Final = 16384

_READABLE: Final = Poll.IN | Poll.RDNORM
_WRITABLE: Final = Poll.OUT | Poll.WRNORM | Poll.WRBAND


class UnixSocket(Socket):
    """One socket.  `peer` is whom it is tied to."""

    __slots__ = ("address", "bound_file", "peer")

    def __init__(self, ns: SocketNamespace, kind: int, flags: OpenFlags, cred: Ucred) -> None:
        super().__init__(ns, AF_UNIX, kind, flags, cred)
        self.address = UNNAMED
        self.bound_file: tuple[int, int] | None = None
        self.peer: UnixSocket | None = None

    @property
    def max_packet(self) -> int:
        return self.sndbuf - 32

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
        self.wake_blocked()

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
        end: UnixSocket = self.pending.popleft()
        end.flags = flags & OpenFlags.NONBLOCK | OpenFlags.RDWR
        end.pass_cred = self.pass_cred
        self.wake_blocked()
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
        self, data: bytes, *, flags: int = 0, to: SocketAddress | None = None, vnode: Vnode | None = None,
        files: Sequence[File] = (), cred: Ucred | None = None,
    ) -> int:
        """Send what there is room for, a packet whole.  `files` go along (SCM_RIGHTS), acquired here; `cred` says who sends.

        Raises EAGAIN, EPIPE (the call adds SIGPIPE), ENOTCONN, ECONNREFUSED, EMSGSIZE, EISCONN, EOPNOTSUPP, ETOOMANYREFS, EINVAL.
        """
        assert to is None or isinstance(to, UnixAddress)
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
        if len(data) > self.max_packet:
            raise EMSGSIZE
        if other.shut & RCV or self.shut & SND:
            raise EPIPE
        if self._is_full(other) or not self._has_room(len(data)):
            other.blocked[self] = None
            raise EAGAIN
        if self.pass_cred and not self.address.path:
            self.bind(UNNAMED, None)
        other.deliver(Message(self, self.address, data, files, cred))
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
            other.deliver(Message(self, self.address, piece, () if done else files, cred))
            done += len(piece)
        if not done and data:
            raise EAGAIN
        return done

    def _is_full(self, other: UnixSocket) -> bool:
        """Whether too many packets wait there; two tied to each other have only their buffers."""
        return len(other.messages) > MAX_DGRAM_QUEUE and other.peer is not self

    def _has_room(self, nbytes: int) -> bool:
        return not self.charged or self.charged + nbytes + MESSAGE_COST <= self.sndbuf

    # --- as a file
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

    # --- the end
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
        self.wake_blocked()
        self._queue.wake()

    def abort(self) -> None:
        """A connection nobody accepted is gone: the other side sees a reset."""
        peer = self.peer
        self.close()
        if peer is not None:
            peer.error = ECONNRESET


def _tie(a: UnixSocket, b: UnixSocket) -> None:
    a.peer, b.peer = b, a
    a.connected = b.connected = True


def make_socket(ns: SocketNamespace, family: int, kind: int, protocol: int, flags: OpenFlags, cred: Ucred) -> Socket:
    """socket(2).  Raises EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT."""
    if family in (AF_INET, AF_INET6):
        from ring3.vfs.inet import make_inet_socket

        return make_inet_socket(ns, family, kind, protocol, flags, cred)
    if family == AF_NETLINK:
        from ring3.vfs.netlink import NetlinkSocket

        return NetlinkSocket(ns, kind, protocol, flags, cred)
    return _make_unix(ns, family, kind, protocol, flags, cred)


def _make_unix(ns: SocketNamespace, family: int, kind: int, protocol: int, flags: OpenFlags, cred: Ucred) -> UnixSocket:
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
    a, b = (_make_unix(ns, family, kind, protocol, flags, cred) for _ in range(2))
    _tie(a, b)
    a.peer_cred = b.peer_cred = cred
    return a, b
