"""What is said to and by sockets: addresses, credentials, what came in, and the numbers of their options and flags.

Data only.  Source: include/linux/socket.h, include/uapi/asm-generic/socket.h, unix(7), socket(7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ring3.namedtuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ring3.vfs.file import File

AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 0, 1, 2, 10, 16
SOL_SOCKET: Final = 1
STREAM, DGRAM, RAW, SEQPACKET = 1, 2, 3, 5
MSG_OOB, MSG_PEEK, MSG_TRUNC = 0x1, 0x2, 0x20
(SO_REUSEADDR, SO_TYPE, SO_ERROR, SO_DONTROUTE, SO_BROADCAST, SO_SNDBUF, SO_RCVBUF, SO_KEEPALIVE, SO_OOBINLINE, SO_NO_CHECK,
 SO_PRIORITY, SO_LINGER) = range(2, 14)
SO_REUSEPORT, SO_PASSCRED, SO_PEERCRED, SO_RCVLOWAT, SO_SNDLOWAT = range(15, 20)
SO_ACCEPTCONN, SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_PROTOCOL, SO_DOMAIN = 30, 32, 33, 38, 39


class UnixAddress(NamedTuple):
    """sockaddr_un: a path, an abstract name with its leading zero byte, or empty for none."""

    path: bytes = b""

    @property
    def is_abstract(self) -> bool:
        return self.path[:1] == b"\0"


class InetAddress(NamedTuple):
    """sockaddr_in and sockaddr_in6.  `host` has 16 bytes, IPv4's behind `V4`; `family` is how it is told."""

    family: int
    host: bytes
    port: int = 0
    flow: int = 0
    scope: int = 0


class NetlinkAddress(NamedTuple):
    """sockaddr_nl: a number (0 is the kernel) and groups."""

    port: int = 0
    groups: int = 0


SocketAddress = UnixAddress | InetAddress | NetlinkAddress
V4: Final = bytes(10) + b"\xff\xff"             # what an IPv4 address begins with (RFC 4291, 2.5.5.2)


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
    address: SocketAddress
    files: Sequence[File]
    credentials: Ucred | None
