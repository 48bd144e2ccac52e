"""The options of IPv4, IPv6, TCP and UDP, as far as they are numbers: what each is at first, and what it may become.

Most say how packets travel, which on a loopback inside one kernel changes nothing; they are kept and told again.  What would change
something and is not there (multicast groups, control messages, filters) is ENOPROTOOPT.
Source: tcp(7), ip(7), ipv6(7), udp(7), net/ipv4/{tcp,ip_sockglue}.c, net/ipv6/ipv6_sockglue.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ring3.errors import EINVAL, ENOPROTOOPT, ENOTCONN, EOPNOTSUPP
from ring3.vfs.inet import IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, IPV6_V6ONLY, InetSocket, option_key
from ring3.vfs.socketrecords import AF_INET, STREAM

if TYPE_CHECKING:
    from collections.abc import Mapping

IP_TOS, IP_MTU, IPV6_MTU, TCP_CONGESTION = 1, 14, 24, 13
_ECN: Final = 3
LOOPBACK_MTU: Final = 65536
CONGESTION: Final = b"cubic"
_INT_MAX: Final = 0x7FFF_FFFF

# By level and name: (what it is at first, the least, the most).
_TCP: Final[Mapping[int, tuple[int, int, int]]] = {
    1: (0, 0, 1),                   # TCP_NODELAY
    2: (536, 0, 65535),             # TCP_MAXSEG
    3: (0, 0, 1),                   # TCP_CORK
    4: (7200, 1, 32767),            # TCP_KEEPIDLE
    5: (75, 1, 32767),              # TCP_KEEPINTVL
    6: (9, 1, 127),                 # TCP_KEEPCNT
    7: (6, 1, 127),                 # TCP_SYNCNT
    8: (60, -_INT_MAX, _INT_MAX),   # TCP_LINGER2
    9: (0, 0, _INT_MAX),            # TCP_DEFER_ACCEPT
    10: (0, 0, _INT_MAX),           # TCP_WINDOW_CLAMP
    12: (1, -_INT_MAX, _INT_MAX),   # TCP_QUICKACK
    18: (0, 0, _INT_MAX),           # TCP_USER_TIMEOUT
    23: (0, 0, _INT_MAX),           # TCP_FASTOPEN
    25: (0, 0, _INT_MAX),           # TCP_NOTSENT_LOWAT
    30: (0, 0, 1),                  # TCP_FASTOPEN_CONNECT
}
_UDP: Final[Mapping[int, tuple[int, int, int]]] = {1: (0, 0, 1)}      # UDP_CORK
_IP: Final[Mapping[int, tuple[int, int, int]]] = {
    IP_TOS: (0, 0, 255),
    2: (64, 1, 255),                # IP_TTL
    10: (1, 0, 5),                  # IP_MTU_DISCOVER
    11: (0, 0, 1),                  # IP_RECVERR
    15: (0, 0, 1),                  # IP_FREEBIND
    24: (0, 0, 1),                  # IP_BIND_ADDRESS_NO_PORT
    33: (1, 0, 255),                # IP_MULTICAST_TTL
    34: (1, 0, 1),                  # IP_MULTICAST_LOOP
}
_IPV6: Final[Mapping[int, tuple[int, int, int]]] = {
    16: (64, -1, 255),              # IPV6_UNICAST_HOPS
    18: (1, -1, 255),               # IPV6_MULTICAST_HOPS
    19: (1, 0, 1),                  # IPV6_MULTICAST_LOOP
    23: (1, 0, 5),                  # IPV6_MTU_DISCOVER
    IPV6_V6ONLY: (0, 0, 1),
    67: (0, -1, 255),               # IPV6_TCLASS
}


def _table(sock: InetSocket, level: int) -> Mapping[int, tuple[int, int, int]]:
    """The options of a level.  Raises EOPNOTSUPP for one that is not the socket's."""
    if level == IPPROTO_TCP and sock.kind == STREAM:
        return _TCP
    if level == IPPROTO_UDP and sock.kind != STREAM:
        return _UDP
    if level == IPPROTO_IP:
        return _IP
    if level == IPPROTO_IPV6 and sock.family != AF_INET:
        return _IPV6
    raise EOPNOTSUPP


def get_inet_option(sock: InetSocket, level: int, name: int) -> int | bytes:
    """An option's value.  Raises EOPNOTSUPP, ENOPROTOOPT, ENOTCONN."""
    table = _table(sock, level)
    if (level, name) in ((IPPROTO_IP, IP_MTU), (IPPROTO_IPV6, IPV6_MTU)):
        if sock.remote is None:
            raise ENOTCONN
        return LOOPBACK_MTU
    if (level, name) == (IPPROTO_TCP, TCP_CONGESTION):
        return CONGESTION.ljust(16, b"\0")
    if name not in table:
        raise ENOPROTOOPT
    return sock.options.get(option_key(level, name), table[name][0])


def set_inet_option(sock: InetSocket, level: int, name: int, value: int) -> None:
    """Set an option.  Raises ENOPROTOOPT, for a level that is not the socket's too; EINVAL."""
    try:
        table = _table(sock, level)
    except EOPNOTSUPP:
        raise ENOPROTOOPT from None
    if name not in table:
        raise ENOPROTOOPT
    first, least, most = table[name]
    if (least, most) == (0, 1):
        value = int(bool(value))
    if value == -1 and least >= 0 and level == IPPROTO_IP:
        value = first                               # back to what it was
    if not least <= value <= most:
        raise EINVAL
    if (level, name) == (IPPROTO_IP, IP_TOS) and sock.kind == STREAM:
        value &= ~_ECN                              # TCP sets these two bits itself
    if name == IPV6_V6ONLY and level == IPPROTO_IPV6 and sock.address.port:
        raise EINVAL
    sock.options[option_key(level, name)] = value
