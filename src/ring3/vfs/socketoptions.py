"""The options of a socket (SOL_SOCKET), as far as they are numbers.

Not here: timeouts, SO_LINGER and SO_ERROR, which are the call's; other levels (`inetoptions.py`).

Source: socket(7), net/core/sock.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from ring3.errors import ENOPROTOOPT, EOPNOTSUPP
from ring3.vfs.socketqueue import DEFAULT_BUFFER
from ring3.vfs.socketrecords import (
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    SO_ACCEPTCONN,
    SO_BROADCAST,
    SO_DOMAIN,
    SO_DONTROUTE,
    SO_KEEPALIVE,
    SO_LINGER,
    SO_NO_CHECK,
    SO_OOBINLINE,
    SO_PASSCRED,
    SO_PEERCRED,
    SO_PRIORITY,
    SO_PROTOCOL,
    SO_RCVBUF,
    SO_RCVBUFFORCE,
    SO_RCVLOWAT,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SO_SNDBUF,
    SO_SNDBUFFORCE,
    SO_SNDLOWAT,
    SO_TYPE,
    SOL_SOCKET,
    Ucred,
)

if TYPE_CHECKING:
    from ring3.vfs.anysocket import Socket
    from ring3.vfs.inet import InetSocket

SOL_NETLINK: Final = 270
MIN_SNDBUF, MIN_RCVBUF = 4608, 2304

_SWITCHES: Final = frozenset((
    SO_REUSEADDR, SO_DONTROUTE, SO_BROADCAST, SO_KEEPALIVE, SO_OOBINLINE, SO_NO_CHECK, SO_PRIORITY, SO_LINGER, SO_REUSEPORT,
))


def getsockopt(sock: Socket, level: int, name: int) -> int | Ucred | bytes:
    """An option's value.  Raises EOPNOTSUPP for a level that is not the socket's, ENOPROTOOPT."""
    if level != SOL_SOCKET:
        if sock.family not in (AF_INET, AF_INET6):
            raise EOPNOTSUPP
        from ring3.vfs.inetoptions import get_inet_option

        return get_inet_option(cast("InetSocket", sock), level, name)
    if name == SO_PEERCRED:
        return sock.peer_cred
    known = {
        SO_TYPE: sock.kind, SO_DOMAIN: sock.family, SO_PROTOCOL: sock.protocol, SO_ACCEPTCONN: int(sock.listening),
        SO_SNDBUF: sock.sndbuf, SO_RCVBUF: sock.rcvbuf, SO_PASSCRED: int(sock.pass_cred), SO_RCVLOWAT: 1, SO_SNDLOWAT: 1,
    }
    if name in known:
        return known[name]
    if name in _SWITCHES:
        return sock.options.get(name, 0)
    raise ENOPROTOOPT


def setsockopt(sock: Socket, level: int, name: int, value: int) -> None:
    """Set an option.  Raises EOPNOTSUPP for a level that is not the socket's, ENOPROTOOPT, EINVAL."""
    if level != SOL_SOCKET:
        if sock.family == AF_NETLINK and level == SOL_NETLINK:
            from ring3.vfs.netlink import set_netlink_option

            set_netlink_option(sock, name, value)
            return
        if sock.family not in (AF_INET, AF_INET6):
            raise EOPNOTSUPP
        from ring3.vfs.inetoptions import set_inet_option

        set_inet_option(cast("InetSocket", sock), level, name, value)
        return
    if name in (SO_SNDBUF, SO_SNDBUFFORCE):
        sock.sndbuf = max(min(value, DEFAULT_BUFFER) * 2, MIN_SNDBUF)
        sock.options[SO_SNDBUF] = 1             # it grows by itself no more
        sock.queue.wake()
    elif name in (SO_RCVBUF, SO_RCVBUFFORCE):
        sock.rcvbuf = max(min(value, DEFAULT_BUFFER) * 2, MIN_RCVBUF)
        sock.options[SO_RCVBUF] = 1
    elif name == SO_PASSCRED:
        sock.pass_cred = bool(value)
    elif name in _SWITCHES:
        sock.options[name] = int(bool(value)) if name != SO_PRIORITY else value
    elif name != SO_RCVLOWAT:
        raise ENOPROTOOPT
