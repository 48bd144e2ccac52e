"""The options of a socket (SOL_SOCKET), as far as they are numbers.  Not here: timeouts, which are the call's.

Source: socket(7), net/core/sock.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ring3.errors import ENOPROTOOPT, EOPNOTSUPP
from ring3.vfs.socketqueue import DEFAULT_BUFFER
from ring3.vfs.socketrecords import (
    AF_UNIX,
    SO_ACCEPTCONN,
    SO_BROADCAST,
    SO_DOMAIN,
    SO_DONTROUTE,
    SO_ERROR,
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
    from ring3.vfs.socket import UnixSocket

ECONNRESET_NUMBER: Final = 104      # as SO_ERROR tells it: the one error a socket here can have pending
MIN_SNDBUF, MIN_RCVBUF = 4608, 2304

_SWITCHES: Final = frozenset((
    SO_REUSEADDR, SO_DONTROUTE, SO_BROADCAST, SO_KEEPALIVE, SO_OOBINLINE, SO_NO_CHECK, SO_PRIORITY, SO_LINGER, SO_REUSEPORT,
))


def getsockopt(sock: UnixSocket, level: int, name: int) -> int | Ucred:
    """An option's value.  Raises EOPNOTSUPP for another level, ENOPROTOOPT."""
    if level != SOL_SOCKET:
        raise EOPNOTSUPP
    if name == SO_PEERCRED:
        return sock.peer_cred
    if name == SO_ERROR:
        return ECONNRESET_NUMBER if sock.take_error() is not None else 0
    known = {
        SO_TYPE: sock.kind, SO_DOMAIN: AF_UNIX, SO_PROTOCOL: 0, SO_ACCEPTCONN: int(sock.listening), SO_SNDBUF: sock.sndbuf,
        SO_RCVBUF: sock.rcvbuf, SO_PASSCRED: int(sock.pass_cred), SO_RCVLOWAT: 1, SO_SNDLOWAT: 1,
    }
    if name in known:
        return known[name]
    if name in _SWITCHES:
        return sock.options.get(name, 0)
    raise ENOPROTOOPT


def setsockopt(sock: UnixSocket, level: int, name: int, value: int) -> None:
    """Set an option; timeouts are the call's.  Raises EOPNOTSUPP for another level, ENOPROTOOPT."""
    if level != SOL_SOCKET:
        raise EOPNOTSUPP
    if name in (SO_SNDBUF, SO_SNDBUFFORCE):
        sock.sndbuf = max(min(value, DEFAULT_BUFFER) * 2, MIN_SNDBUF)
        sock.queue.wake()
    elif name in (SO_RCVBUF, SO_RCVBUFFORCE):
        sock.rcvbuf = max(min(value, DEFAULT_BUFFER) * 2, MIN_RCVBUF)
    elif name == SO_PASSCRED:
        sock.pass_cred = bool(value)
    elif name in _SWITCHES:
        sock.options[name] = int(bool(value)) if name != SO_PRIORITY else value
    elif name != SO_RCVLOWAT:
        raise ENOPROTOOPT
