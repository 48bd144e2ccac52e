"""IPv4 and IPv6 inside one kernel: addresses, ports, and what TCP and UDP have in common.

The guest sees a machine whose one network device is the loopback: 127.0.0.0/8 and ::1 lead to sockets of the same kernel,
everything else is ENETUNREACH.  Nothing here makes a socket of the host's.  An address is 16 bytes, IPv4's mapped (`V4`), so that
a socket of IPv6 bound to no address takes both.

Invariant: a socket stands in `Ports.bound` under its port from the moment it has one until it is closed, and nowhere else.
Not here: connections (`tcp.py`), datagrams (`udp.py`), options (`inetoptions.py`).  There is no TIME_WAIT: a port is free when its
sockets are closed.  Source: ip(7), ipv6(7), tcp(7), net/ipv4/{af_inet,inet_connection_sock,inet_hashtables}.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ring3.abi.flags import OpenFlags
from ring3.errors import EADDRINUSE, EADDRNOTAVAIL, EINVAL, ENETUNREACH, EPROTONOSUPPORT, ESOCKTNOSUPPORT
from ring3.vfs.anysocket import Socket
from ring3.vfs.socketqueue import SocketNamespace
from ring3.vfs.socketrecords import AF_INET, DGRAM, RAW, SO_REUSEADDR, SO_REUSEPORT, STREAM, V4, InetAddress, Ucred

if TYPE_CHECKING:
    from collections.abc import Iterator

ANY4: Final = V4 + bytes(4)
ANY6: Final = bytes(16)
LOOP4: Final = V4 + b"\x7f\0\0\1"
LOOP6: Final = bytes(15) + b"\1"
IPPROTO_IP, IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_IPV6 = 0, 1, 6, 17, 41
IPV6_V6ONLY: Final = 26
FIRST_PORT, LAST_PORT = 32768, 60999                # net.ipv4.ip_local_port_range
PRIVILEGED_PORTS: Final = 1024                      # net.ipv4.ip_unprivileged_port_start
PRESSURE: Final = 64 << 20                          # bytes waiting everywhere before each connection has to do with little ...
CROWDED: Final = 65536                              # ... that is this; and with
FULL: Final = 4096                                  # when four times as many wait
_PROTOCOLS: Final = {STREAM: IPPROTO_TCP, DGRAM: IPPROTO_UDP}


def option_key(level: int, name: int) -> int:
    """Where a socket's `options` keep one that is not SOL_SOCKET's."""
    return level << 16 | name | 1 << 31


_V6ONLY_KEY: Final = option_key(IPPROTO_IPV6, IPV6_V6ONLY)


def is_v4(host: bytes) -> bool:
    """Whether an address is one of IPv4."""
    return host.startswith(V4)


def is_any(host: bytes) -> bool:
    """Whether it names no host."""
    return host in (ANY4, ANY6)


def is_local(host: bytes) -> bool:
    """Whether an address is this machine's."""
    return host == LOOP6 or host.startswith(V4 + b"\x7f")


class Ports:
    """The ports of one protocol: who has which, and who is to be found there."""

    __slots__ = ("_next", "bound", "serving")

    def __init__(self, first: int) -> None:
        self.bound: dict[int, dict[InetSocket, None]] = {}
        self.serving: dict[int, dict[InetSocket, None]] = {}
        self._next = first

    def claim(self, socket: InetSocket, host: bytes, port: int) -> int:
        """A port for a socket at `host`; 0 asks for any.  Raises EADDRINUSE."""
        if not port:
            port = self._free()
        elif any(_conflict(socket, host, other) for other in self.bound.get(port, ())):
            raise EADDRINUSE
        self.join(socket, port)
        return port

    def join(self, socket: InetSocket, port: int) -> None:
        """`socket` has that port, whoever else does: one end of a connection shares its listener's."""
        self.bound.setdefault(port, {})[socket] = None

    def serve(self, socket: InetSocket, port: int) -> None:
        """Who asks for `port` may be led to `socket`."""
        self.serving.setdefault(port, {})[socket] = None

    def leave(self, table: dict[int, dict[InetSocket, None]], socket: InetSocket, port: int) -> None:
        """Not there any more."""
        sockets = table.get(port)
        if sockets is not None:
            sockets.pop(socket, None)
            if not sockets:
                del table[port]

    def find(self, host: bytes, port: int, source: InetAddress) -> InetSocket | None:
        """Whom a packet from `source` to `host` reaches: the most particular one; of equals, each in turn."""
        best: InetSocket | None = None
        most = 0
        sockets = self.serving.get(port)
        if not sockets:
            return None
        for socket in sockets:
            fits = socket.fitness(host, source)
            if fits > most:
                best, most = socket, fits
        if best is not None and len(sockets) > 1:
            del sockets[best]
            sockets[best] = None
        return best

    def _free(self) -> int:
        for _ in range(FIRST_PORT, LAST_PORT + 1):
            port = self._next
            self._next = FIRST_PORT if port == LAST_PORT else port + 1
            if port not in self.bound:
                return port
        raise EADDRINUSE

    def __iter__(self) -> Iterator[InetSocket]:
        """Every socket that has a port."""
        for sockets in self.bound.values():
            yield from sockets


class Loopback:
    """The network of one kernel."""

    __slots__ = ("nbytes", "tcp", "udp")

    def __init__(self) -> None:
        self.tcp = Ports(FIRST_PORT)
        self.udp = Ports((FIRST_PORT + LAST_PORT) // 2)      # that one number seldom means two sockets
        self.nbytes = 0             # of streams, waiting to be read

    @property
    def most(self) -> int:
        """How many bytes may wait in one connection (tcp(7), tcp_mem)."""
        return 1 << 30 if self.nbytes <= PRESSURE else CROWDED if self.nbytes <= 4 * PRESSURE else FULL


class InetSocket(Socket):
    """A socket of IPv4 or IPv6.  `address` is its own name; `remote` the other side's, None when it has none."""

    __slots__ = ("address", "net", "ports", "remote")

    def __init__(self, ns: SocketNamespace, family: int, kind: int, flags: OpenFlags, cred: Ucred) -> None:
        super().__init__(ns, family, kind, flags, cred)
        if ns.inet is None:
            ns.inet = Loopback()
        self.net = ns.inet
        self.ports = self.net.tcp if kind == STREAM else self.net.udp
        self.address = self.unnamed()
        self.remote: InetAddress | None = None

    def unnamed(self) -> InetAddress:
        """No host, no port."""
        return InetAddress(self.family, ANY4 if self.family == AF_INET else ANY6)

    def getsockname(self) -> InetAddress:
        return self.address

    # --- names
    def bind(self, address: InetAddress) -> None:
        """Take a name.  Raises EINVAL when it has one, EADDRNOTAVAIL, EADDRINUSE."""
        if not is_any(address.host) and not is_local(address.host):
            raise EADDRNOTAVAIL
        if self.address.port:
            raise EINVAL
        port = self.ports.claim(self, address.host, address.port)
        self.address = address._replace(family=self.family, port=port)

    def autobind(self) -> None:
        """A port, if it has none.  Raises EADDRINUSE when there is none left."""
        if not self.address.port:
            self.address = self.address._replace(port=self.ports.claim(self, self.address.host, 0))

    def release_port(self) -> None:
        """The name is free again."""
        port = self.address.port
        self.ports.leave(self.ports.bound, self, port)
        self.ports.leave(self.ports.serving, self, port)

    @property
    def only_v6(self) -> bool:
        return self.family != AF_INET and bool(self.options.get(_V6ONLY_KEY))

    def covers(self, own: bytes, host: bytes) -> bool:
        """Whether this socket, at `own`, is who is meant by `host`."""
        if own == host:
            return True
        if own == ANY4:
            return is_v4(host)
        return own == ANY6 and not (is_v4(host) and self.only_v6)

    def fitness(self, host: bytes, source: InetAddress) -> int:
        """How well a packet from `source` to `host` suits this socket; 0 for not at all."""
        own, remote = self.address.host, self.remote
        if not self.covers(own, host):
            return 0
        if remote is not None and (remote.port != source.port or remote.host != source.host):
            return 0
        return 1 + (own == host) + 2 * (remote is not None)

    def route(self, host: bytes) -> tuple[bytes, bytes]:
        """Where `host` leads, and the address one comes from when it is not bound to one.  Raises ENETUNREACH."""
        if is_any(host):
            host = LOOP4 if is_v4(host) else LOOP6
        if not is_local(host) or (self.family == AF_INET) > is_v4(host) or (is_v4(host) and self.only_v6):
            raise ENETUNREACH
        own = self.address.host
        return host, (LOOP4 if is_v4(host) else LOOP6) if is_any(own) else own

    def told(self, address: InetAddress) -> InetAddress:
        """An address as this socket's family has it."""
        return address._replace(family=self.family)


def _conflict(socket: InetSocket, host: bytes, other: InetSocket) -> bool:
    """Whether `socket` cannot have `host` at a port that `other` has (socket(7), SO_REUSEADDR and SO_REUSEPORT)."""
    theirs = other.address.host
    if not socket.covers(host, theirs) and not other.covers(theirs, host):
        return False
    if socket.options.get(SO_REUSEADDR) and other.options.get(SO_REUSEADDR) and not other.listening:
        return False
    shared = socket.options.get(SO_REUSEPORT) and other.options.get(SO_REUSEPORT)
    return not (shared and socket.owner_cred.uid == other.owner_cred.uid)


def make_inet_socket(
    ns: SocketNamespace, family: int, kind: int, protocol: int, flags: OpenFlags, cred: Ucred
) -> InetSocket:
    """socket(2) of IPv4 and IPv6.  Raises ESOCKTNOSUPPORT, EPROTONOSUPPORT: there are no raw sockets."""
    if kind == RAW:
        raise EPROTONOSUPPORT
    if kind not in _PROTOCOLS:
        raise ESOCKTNOSUPPORT
    if protocol not in (0, _PROTOCOLS[kind]):
        raise EPROTONOSUPPORT
    if kind == STREAM:
        from ring3.vfs.tcp import TcpSocket

        return TcpSocket(ns, family, flags, cred)
    from ring3.vfs.udp import UdpSocket

    return UdpSocket(ns, family, flags, cred)
