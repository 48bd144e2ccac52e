"""UDP over the loopback: datagrams between sockets of one kernel.

A datagram waits at its receiver, who pays for it: what has no room is dropped, and the sender never waits.  One that reaches nobody
is told a connected sender at its next call (ECONNREFUSED), as the ICMP message would.

Not here: multicast, and the control messages that tell of an address or a time.  Source: udp(7), ip(7), net/ipv4/udp.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from ring3.abi.flags import OpenFlags, Poll
from ring3.errors import (
    EACCES,
    ECONNREFUSED,
    EDESTADDRREQ,
    EINVAL,
    EMSGSIZE,
    ENOTCONN,
    ENOTTY,
    EOPNOTSUPP,
    EPIPE,
)
from ring3.vfs.inet import IPPROTO_IP, IPPROTO_UDP, InetSocket, option_key
from ring3.vfs.socketqueue import RCV, SND, Message, SocketNamespace
from ring3.vfs.socketrecords import DGRAM, MSG_OOB, SO_BROADCAST, V4, InetAddress, SocketAddress, Ucred

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ring3.protocols import GuestMemory
    from ring3.vfs.anysocket import Socket
    from ring3.vfs.file import File
    from ring3.vfs.vnode import Vnode

MAX_DATAGRAM: Final = 65507             # 65535 less the headers of IPv4 and UDP
FIONREAD, SIOCOUTQ = 0x541B, 0x5411
_BROADCAST: Final = V4 + b"\xff\xff\xff\xff"
_RECVERR: Final = option_key(IPPROTO_IP, 11)       # whoever asked to be told is
_READABLE: Final = Poll.IN | Poll.RDNORM


class UdpSocket(InetSocket):
    """A datagram socket of IPv4 or IPv6.  `charged` is what its own receive buffer holds."""

    protocol: ClassVar[int] = IPPROTO_UDP

    __slots__ = ()

    def __init__(self, ns: SocketNamespace, family: int, flags: OpenFlags, cred: Ucred) -> None:
        super().__init__(ns, family, DGRAM, flags, cred)

    @property
    def max_packet(self) -> int:
        return MAX_DATAGRAM

    # --- names
    def bind(self, address: InetAddress) -> None:
        super().bind(address)
        self.ports.serve(self, self.address.port)

    def autobind(self) -> None:
        super().autobind()
        self.ports.serve(self, self.address.port)

    def getpeername(self) -> InetAddress:
        """Raises ENOTCONN."""
        if self.remote is None:
            raise ENOTCONN
        return self.remote

    def connect(self, address: InetAddress | None) -> None:
        """Whom to send to and hear from; None for everybody.  Raises ENETUNREACH, EACCES."""
        if address is None:
            self.remote = None
            self.address = self.unnamed()._replace(port=self.address.port)
            self.connected = False
            return
        self._may_reach(address.host)
        host, own = self.route(address.host)
        self.autobind()
        self.address = self.address._replace(host=own)
        self.remote = self.told(address._replace(host=host))
        self.connected = True

    def listen(self, backlog: int, cred: Ucred) -> None:
        """Raises EOPNOTSUPP."""
        raise EOPNOTSUPP

    def accept(self, flags: OpenFlags) -> Socket:
        """Raises EOPNOTSUPP."""
        raise EOPNOTSUPP

    def shutdown(self, how: int) -> None:
        """0 no more reading, 1 no more writing, 2 both.  Raises EINVAL, ENOTCONN, which shuts it all the same."""
        if how not in (0, 1, 2):
            raise EINVAL
        self.shut |= how + 1
        self._queue.wake()
        if self.remote is None:
            raise ENOTCONN

    # --- datagrams
    def _may_reach(self, host: bytes) -> None:
        if host == _BROADCAST and not self.options.get(SO_BROADCAST):
            raise EACCES

    def send(
        self, data: bytes, *, flags: int = 0, to: SocketAddress | None = None, vnode: Vnode | None = None,
        files: Sequence[File] = (), cred: Ucred | None = None,
    ) -> int:
        """Send a datagram.  Raises EDESTADDRREQ, EMSGSIZE, EINVAL, EPIPE, EACCES, ENETUNREACH, and the pending error."""
        del vnode, files
        assert to is None or isinstance(to, InetAddress)
        self.autobind()
        if len(data) > MAX_DATAGRAM:
            raise EMSGSIZE
        if flags & MSG_OOB:
            raise EOPNOTSUPP
        if to is not None and not to.port:
            raise EINVAL
        target = to or self.remote
        if target is None:
            raise EDESTADDRREQ
        self._may_reach(target.host)
        host, own = self.route(target.host)
        error = self.take_error()
        if error is not None:
            raise error
        if self.shut & SND:
            raise EPIPE
        source = self.address._replace(host=own)
        other = self.ports.find(host, target.port, source)
        if not isinstance(other, UdpSocket):
            remote = self.remote
            if self.options.get(_RECVERR) or (remote is not None and (remote.host, remote.port) == (host, target.port)):
                self.error = ECONNREFUSED
                self._queue.wake()
        elif other.charged <= other.rcvbuf:
            other.deliver(Message(other, other.told(source), data, (), cred or self.owner_cred))
        return len(data)

    def poll(self) -> Poll:
        events = Poll.OUT | Poll.WRNORM | Poll.WRBAND
        if self.error is not None:
            events |= Poll.ERR
        if self.messages:
            events |= _READABLE
        if self.remote is not None:         # unconnected, a shutdown shows in nothing but the calls
            if self.shut & RCV:
                events |= Poll.RDHUP | _READABLE
            if self.shut == RCV | SND:
                events |= Poll.HUP
        return events

    def ioctl(self, request: int, arg: int, memory: GuestMemory) -> int:
        if request == FIONREAD:
            value = len(self.messages[0].data) if self.messages else 0
        elif request == SIOCOUTQ:
            value = 0
        else:
            raise ENOTTY
        memory.copyout(arg, value.to_bytes(4, "little"))
        return 0

    # --- the end
    def close(self) -> None:
        self.closed = True
        self.shut = RCV | SND
        self.drop_messages()
        if self.address.port:
            self.release_port()
        self._queue.wake()
