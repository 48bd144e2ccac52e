"""NETLINK_ROUTE, as far as it is questions about network devices: there is one, the loopback, and it never changes.

A request is answered at once; its answer waits at the socket that asked.  RTM_GETLINK and RTM_GETADDR tell of `lo`; routes,
neighbours and rules are empty lists; whatever would change something is EPERM.  Groups may be joined: nothing will be heard there.
Invariant: what waits is bounded by `rcvbuf`, then ENOBUFS is told once.
Source: netlink(7), rtnetlink(7), net/netlink/af_netlink.c, net/core/rtnetlink.c.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from ring3.abi.flags import OpenFlags, Poll
from ring3.errors import (
    ECONNREFUSED,
    EINVAL,
    ENOBUFS,
    ENOPROTOOPT,
    ENOTCONN,
    ENOTTY,
    EOPNOTSUPP,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT,
)
from ring3.vfs.anysocket import Socket
from ring3.vfs.socketqueue import Message, SocketNamespace
from ring3.vfs.socketrecords import (
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    DGRAM,
    MSG_OOB,
    RAW,
    NetlinkAddress,
    SocketAddress,
    Ucred,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ring3.protocols import GuestMemory
    from ring3.vfs.file import File
    from ring3.vfs.vnode import Vnode

NETLINK_ROUTE: Final = 0
SOL_NETLINK: Final = 270
MAX_REQUEST: Final = 32768
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP, NLM_F_CAPPED = 0x2, 0x4, 0x300, 0x100
RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR, RTM_LAST = 16, 18, 20, 22, 127
EPERM, ENODEV, ENETUNREACH, EOPNOTSUPP_NUMBER = 1, 19, 101, 95       # Linux's, as an error message carries them
LOOPBACK, LOOPBACK_INDEX = b"lo", 1
LOOPBACK_FLAGS: Final = 0x10049             # IFF_UP, IFF_LOOPBACK, IFF_RUNNING, IFF_LOWER_UP
LOOPBACK_MTU: Final = 65536
_ARPHRD_LOOPBACK, _SCOPE_HOST, _PERMANENT, _FOREVER = 772, 254, 0x80, 0xFFFFFFFF
_IFLA_IFNAME: Final = 3
_HEADER: Final = struct.Struct("<IHHII")
_IFINFO: Final = struct.Struct("<BxHiII")
_IFADDR: Final = struct.Struct("<BBBBI")
_ATTRIBUTE: Final = struct.Struct("<HH")
_EMPTY_DUMPS: Final = (26, 30, 34, 38, 42, 66, 78, 82, 86, 90)       # routes, neighbours, rules, disciplines, …
_OPTIONS: Final = frozenset((1, 2, 3, 4, 5, 8, 10, 11, 12))


def _attribute(kind: int, data: bytes) -> bytes:
    size = _ATTRIBUTE.size + len(data)
    return _ATTRIBUTE.pack(size, kind) + data + bytes(-size % 4)


def _link() -> bytes:
    """struct ifinfomsg of the loopback, and what goes with it."""
    return _IFINFO.pack(0, _ARPHRD_LOOPBACK, LOOPBACK_INDEX, LOOPBACK_FLAGS, 0) + b"".join([
        _attribute(_IFLA_IFNAME, LOOPBACK + b"\0"),
        _attribute(13, (1000).to_bytes(4, "little")),               # IFLA_TXQLEN
        _attribute(16, b"\0"),                                      # IFLA_OPERSTATE: unknown, as every loopback's
        _attribute(17, b"\0"),                                      # IFLA_LINKMODE
        _attribute(4, LOOPBACK_MTU.to_bytes(4, "little")),          # IFLA_MTU
        _attribute(27, bytes(4)),                                   # IFLA_GROUP
        _attribute(30, bytes(4)),                                   # IFLA_PROMISCUITY
        _attribute(1, bytes(6)),                                    # IFLA_ADDRESS
        _attribute(2, bytes(6)),                                    # IFLA_BROADCAST
        _attribute(6, b"noqueue\0"),                                # IFLA_QDISC
    ])


def _addresses(family: int) -> Iterator[bytes]:
    """struct ifaddrmsg of each of its addresses; family 0 is every family."""
    age = _attribute(6, struct.pack("<IIII", _FOREVER, _FOREVER, 0, 0)) + _attribute(8, _PERMANENT.to_bytes(4, "little"))
    if family in (0, AF_INET):
        host = b"\x7f\0\0\1"
        yield (
            _IFADDR.pack(AF_INET, 8, _PERMANENT, _SCOPE_HOST, LOOPBACK_INDEX)
            + _attribute(1, host) + _attribute(2, host) + _attribute(3, LOOPBACK + b"\0") + age
        )
    if family in (0, AF_INET6):
        yield _IFADDR.pack(AF_INET6, 128, _PERMANENT, _SCOPE_HOST, LOOPBACK_INDEX) + _attribute(1, bytes(15) + b"\1") + age


def _asks_for_loopback(body: bytes) -> bool:
    """Whether a request for one device means this one: by number, or by name."""
    if len(body) < _IFINFO.size:
        return False
    index = _IFINFO.unpack_from(body)[2]
    if index:
        return bool(index == LOOPBACK_INDEX)
    offset = _IFINFO.size
    while offset + _ATTRIBUTE.size <= len(body):
        size, kind = _ATTRIBUTE.unpack_from(body, offset)
        if size < _ATTRIBUTE.size:
            return False
        if kind == _IFLA_IFNAME:
            return body[offset + _ATTRIBUTE.size : offset + size].split(b"\0", 1)[0] == LOOPBACK
        offset += size + -size % 4
    return False


def answer(request: bytes, port: int) -> Iterator[bytes]:
    """The messages that answer one message, header and body; `port` is who asks."""
    size, kind, flags, sequence, _ = _HEADER.unpack_from(request)
    body = request[_HEADER.size : size]

    def reply(kind: int, body: bytes, more: int = 0) -> bytes:
        return _HEADER.pack(_HEADER.size + len(body), kind, more, sequence, port) + body

    if kind < RTM_NEWLINK:                  # NLMSG_NOOP and its like
        return
    error = 0
    dump = flags & NLM_F_DUMP == NLM_F_DUMP
    if kind > RTM_LAST:
        error = EOPNOTSUPP_NUMBER
    elif kind % 4 != 2:
        error = EPERM
    elif dump and kind in (RTM_GETLINK, RTM_GETADDR, *_EMPTY_DUMPS):
        found = [_link()] if kind == RTM_GETLINK else _addresses(body[0] if body else 0) if kind == RTM_GETADDR else ()
        parts = b"".join([reply(kind - 2, part, NLM_F_MULTI) for part in found])
        if parts:
            yield parts
        yield reply(NLMSG_DONE, bytes(4), NLM_F_MULTI)
        return
    elif kind == RTM_GETLINK:
        if _asks_for_loopback(body):
            yield reply(RTM_NEWLINK, _link())
        else:
            error = ENODEV
    else:
        error = ENETUNREACH if kind == _EMPTY_DUMPS[0] else EOPNOTSUPP_NUMBER
    if error:
        yield reply(NLMSG_ERROR, (-error).to_bytes(4, "little", signed=True) + request[:size])
    elif flags & NLM_F_ACK:
        yield reply(NLMSG_ERROR, bytes(4) + request[: _HEADER.size], NLM_F_CAPPED)


class NetlinkSocket(Socket):
    """A socket that questions are asked through.  `port` is its own number, 0 until it is bound."""

    __slots__ = ("groups", "port")

    def __init__(self, ns: SocketNamespace, kind: int, protocol: int, flags: OpenFlags, cred: Ucred) -> None:
        if kind not in (RAW, DGRAM):
            raise ESOCKTNOSUPPORT
        if protocol != NETLINK_ROUTE:
            raise EPROTONOSUPPORT
        super().__init__(ns, AF_NETLINK, kind, flags, cred)
        self.port = 0
        self.groups = 0

    @property
    def max_packet(self) -> int:
        return MAX_REQUEST

    def bind(self, address: NetlinkAddress) -> None:
        """Take a number.  Raises EINVAL for another one than it has."""
        if self.port and address.port not in (0, self.port):
            raise EINVAL
        self.port = self.port or address.port or self.owner_cred.pid
        self.groups = address.groups

    def connect(self, address: NetlinkAddress | None) -> None:
        """Whom to ask: there is only the kernel.  Raises ECONNREFUSED for somebody else."""
        if address is not None and address.port:
            raise ECONNREFUSED
        self.connected = address is not None

    def getsockname(self) -> NetlinkAddress:
        return NetlinkAddress(self.port, self.groups)

    def getpeername(self) -> NetlinkAddress:
        """Raises ENOTCONN."""
        if not self.connected:
            raise ENOTCONN
        return NetlinkAddress()

    def listen(self, backlog: int, cred: Ucred) -> None:
        """Raises EOPNOTSUPP."""
        raise EOPNOTSUPP

    def accept(self, flags: OpenFlags) -> Socket:
        """Raises EOPNOTSUPP."""
        raise EOPNOTSUPP

    def shutdown(self, how: int) -> None:
        """Raises EOPNOTSUPP."""
        raise EOPNOTSUPP

    def send(
        self, data: bytes, *, flags: int = 0, to: SocketAddress | None = None, vnode: Vnode | None = None,
        files: Sequence[File] = (), cred: Ucred | None = None,
    ) -> int:
        """Ask.  Raises ECONNREFUSED for anybody but the kernel, EOPNOTSUPP."""
        del vnode, files, cred
        if flags & MSG_OOB:
            raise EOPNOTSUPP
        if isinstance(to, NetlinkAddress) and to.port:
            raise ECONNREFUSED
        self.bind(NetlinkAddress(self.port, self.groups))
        offset = 0
        while offset + _HEADER.size <= len(data):
            size = int.from_bytes(data[offset : offset + 4], "little")
            if size < _HEADER.size or offset + size > len(data):
                break
            for reply in answer(data[offset : offset + size], self.port):
                if self.charged > self.rcvbuf:
                    self.error = ENOBUFS
                    break
                self.deliver(Message(self, NetlinkAddress(), reply, (), Ucred(0, 0, 0)))
            offset += size + -size % 4
        return len(data)

    def poll(self) -> Poll:
        events = Poll.OUT | Poll.WRNORM | Poll.WRBAND
        if self.error is not None:
            events |= Poll.ERR
        return events | (Poll.IN | Poll.RDNORM) if self.messages else events

    def ioctl(self, request: int, arg: int, memory: GuestMemory) -> int:
        del arg, memory
        raise ENOTTY

    def close(self) -> None:
        self.closed = True
        self.drop_messages()
        self._queue.wake()


def set_netlink_option(sock: Socket, name: int, value: int) -> None:
    """SOL_NETLINK: how questions are answered, which is kept, and groups.  Raises ENOPROTOOPT."""
    if name not in _OPTIONS:
        raise ENOPROTOOPT
    sock.options[SOL_NETLINK << 16 | name] = value
