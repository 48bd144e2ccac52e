"""Socket addresses in guest memory, and how the calls about sockets print.

An address is the same bytes for every word size: a family of two bytes, then what the family has.
Source: unix(7), net/socket.c (move_addr_to_kernel, move_addr_to_user), net/unix/af_unix.c (unix_validate_addr).
"""

from __future__ import annotations

from typing import Annotated, Any

from ring3.abi.filerecords import SockAddr
from ring3.calls.sysarg import Address, Number, quote
from ring3.calls.sysarg_files import Bits, NamedValue
from ring3.errors import EAFNOSUPPORT, EFAULT, EINVAL
from ring3.proc.proc import Thread
from ring3.vfs.socketrecords import (
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    AF_UNIX,
    AF_UNSPEC,
    UNNAMED,
    V4,
    InetAddress,
    NetlinkAddress,
    SocketAddress,
    UnixAddress,
)

STORAGE_SIZE = 128             # struct sockaddr_storage
UN_SIZE = 110                  # struct sockaddr_un
IN_SIZE, IN6_SIZE, NL_SIZE = 16, 28, 12     # struct sockaddr_in, sockaddr_in6, sockaddr_nl
_IN6_LEAST = 24                # without its scope (RFC 2133)
FAMILIES = {0: "AF_UNSPEC", 1: "AF_UNIX", 2: "AF_INET", 10: "AF_INET6", 16: "AF_NETLINK", 17: "AF_PACKET"}


def read_address(t: Thread, addr: int, length: int) -> bytes:
    """The bytes of an address, as Linux has them.  Raises EINVAL, EFAULT, and what the system's own layout does."""
    if not 0 <= length <= STORAGE_SIZE:
        raise EINVAL
    data = t.proc.vm.copyin(addr, length)
    layout = t.system.call_abi(t).layouts.get(SockAddr)
    return data if layout is None else layout.decode(data)


def unix_address(data: bytes, *, autobind: bool = False) -> UnixAddress:
    """A sockaddr_un; with `autobind` one of two bytes asks for any free name.  Raises EINVAL."""
    family = int.from_bytes(data[:2], "little")
    if autobind and len(data) == 2 and family == AF_UNIX:
        return UnixAddress()
    if not 2 < len(data) <= UN_SIZE or family != AF_UNIX:
        raise EINVAL
    name = data[2:]
    return UnixAddress(name if name[:1] == b"\0" else name.split(b"\0", 1)[0])


def inet_address(data: bytes, family: int, *, unspecified: bool = False) -> InetAddress:
    """A sockaddr_in or sockaddr_in6 for a socket of `family`; `unspecified` takes an AF_UNSPEC of IPv4 that names no host.

    Raises EINVAL for too few bytes, EAFNOSUPPORT for another family.
    """
    if len(data) < (IN_SIZE if family == AF_INET else _IN6_LEAST):
        raise EINVAL
    told = int.from_bytes(data[:2], "little")
    port = int.from_bytes(data[2:4], "big")
    if told != family and not (unspecified and told == AF_UNSPEC and family == AF_INET and data[4:8] == bytes(4)):
        raise EAFNOSUPPORT
    if family == AF_INET:
        return InetAddress(family, V4 + data[4:8], port)
    return InetAddress(
        family, data[8:24], port, int.from_bytes(data[4:8], "big"), int.from_bytes(data[24:IN6_SIZE].ljust(4, b"\0"), "little")
    )


def netlink_address(data: bytes) -> NetlinkAddress:
    """A sockaddr_nl.  Raises EINVAL."""
    if len(data) < NL_SIZE or int.from_bytes(data[:2], "little") != AF_NETLINK:
        raise EINVAL
    return NetlinkAddress(int.from_bytes(data[4:8], "little"), int.from_bytes(data[8:12], "little"))


def is_unspecified(data: bytes) -> bool:
    """Whether the family is AF_UNSPEC."""
    return len(data) >= 2 and int.from_bytes(data[:2], "little") == AF_UNSPEC


def encode_address(address: SocketAddress) -> bytes:
    """The bytes of an address, as the kernel hands it out."""
    if isinstance(address, InetAddress):
        head = address.family.to_bytes(2, "little") + address.port.to_bytes(2, "big")
        if address.family == AF_INET:
            return head + address.host[-4:] + bytes(8)
        return head + address.flow.to_bytes(4, "big") + address.host + address.scope.to_bytes(4, "little")
    if isinstance(address, NetlinkAddress):
        return AF_NETLINK.to_bytes(4, "little") + address.port.to_bytes(4, "little") + address.groups.to_bytes(4, "little")
    name = address.path if address.is_abstract or not address.path else address.path + b"\0"
    return AF_UNIX.to_bytes(2, "little") + name


def encode_source(address: SocketAddress) -> bytes:
    """Where a message came from; no bytes when its sender has no name."""
    return b"" if address == UNNAMED else encode_address(address)


def outgoing(t: Thread, data: bytes) -> bytes:
    """An address as the calling system has it."""
    layout = t.system.call_abi(t).layouts.get(SockAddr)
    return data if layout is None else layout.encode(data)


def put_address(t: Thread, data: bytes, addr: int, length_addr: int) -> None:
    """Into the program's buffer, cut to it; the whole length is told.  Raises EINVAL, EFAULT."""
    vm = t.proc.vm
    data = outgoing(t, data)
    room = int.from_bytes(vm.copyin(length_addr, 4), "little", signed=True)
    if room < 0:
        raise EINVAL
    vm.copyout(addr, data[:room])
    vm.copyout(length_addr, len(data).to_bytes(4, "little"))


# --- printing
def show_address(data: bytes) -> str:
    """`{sa_family=AF_UNIX, sun_path="/tmp/s"}`."""
    if len(data) < 2:
        return quote(data, None)
    family = int.from_bytes(data[:2], "little")
    name = FAMILIES.get(family, str(family))
    if (family == AF_INET and len(data) >= IN_SIZE) or (family == AF_INET6 and len(data) >= _IN6_LEAST):
        return _show_inet(inet_address(data, family), name)
    if family == AF_NETLINK and len(data) >= NL_SIZE:
        told = netlink_address(data)
        return f"{{sa_family={name}, nl_pid={told.port}, nl_groups={told.groups:08x}}}"
    if family != AF_UNIX:
        return f"{{sa_family={name}, sa_data={quote(data[2:], None)}}}" if len(data) > 2 else f"{{sa_family={name}}}"
    if len(data) == 2:
        return f"{{sa_family={name}}}"
    path = data[2:]
    text = "@" + quote(path[1:], None) if path[:1] == b"\0" else quote(path.split(b"\0", 1)[0], None)
    return f"{{sa_family={name}, sun_path={text}}}"


def _show_inet(address: InetAddress, name: str) -> str:
    """`{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}`."""
    if address.family == AF_INET:
        host = ".".join([str(byte) for byte in address.host[-4:]])
        return f'{{sa_family={name}, sin_port=htons({address.port}), sin_addr=inet_addr("{host}")}}'
    from ipaddress import IPv6Address

    return (
        f"{{sa_family={name}, sin6_port=htons({address.port}), sin6_flowinfo=htonl({address.flow}), "
        f'inet_pton(AF_INET6, "{IPv6Address(address.host)}", &sin6_addr), sin6_scope_id={address.scope}}}'
    )


class InAddress(Address):
    """An address the kernel reads, its length behind it."""

    def show_beside(self, t: Thread, value: Any, behind: Any) -> str:
        if not value or not isinstance(behind, int) or not 0 <= behind <= STORAGE_SIZE:
            return self.show(t, value)
        try:
            return show_address(t.proc.vm.copyin(value, behind))
        except EFAULT:
            return hex(value)


class OutAddress(Address):
    """An address the kernel fills in, the pointer to its length behind it."""

    def show_result_beside(self, t: Thread, value: Any, behind: Any, result: int) -> str | None:
        if not value or result < 0 or not behind:
            return None
        try:
            length = int.from_bytes(t.proc.vm.copyin(behind, 4), "little")
            return show_address(t.proc.vm.copyin(value, min(length, STORAGE_SIZE)))
        except EFAULT:
            return None


class SocketType(Number):
    """SOCK_STREAM with its flags."""

    def show(self, t: Thread, value: Any) -> str:
        del t
        shown = [self.names.get(value & 0xF, str(value & 0xF))]
        shown += [name for bit, name in ((0o4000, "SOCK_NONBLOCK"), (0o2000000, "SOCK_CLOEXEC")) if value & bit]
        return "|".join(shown)


InAddr = Annotated[int, InAddress()]
OutAddr = Annotated[int, OutAddress()]
Family = Annotated[int, Number(FAMILIES)]
SockType = Annotated[int, SocketType({1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 5: "SOCK_SEQPACKET"})]
MsgFlag = Annotated[int, Bits({
    1: "MSG_OOB", 2: "MSG_PEEK", 4: "MSG_DONTROUTE", 8: "MSG_CTRUNC", 0x20: "MSG_TRUNC", 0x40: "MSG_DONTWAIT", 0x80: "MSG_EOR",
    0x100: "MSG_WAITALL", 0x4000: "MSG_NOSIGNAL", 0x8000: "MSG_MORE", 0x10000: "MSG_WAITFORONE", 0x40000000: "MSG_CMSG_CLOEXEC",
})]
How = Annotated[int, Number({0: "SHUT_RD", 1: "SHUT_WR", 2: "SHUT_RDWR"})]
Level = Annotated[int, Number({1: "SOL_SOCKET", 0: "SOL_IP", 6: "SOL_TCP", 17: "SOL_UDP", 41: "SOL_IPV6"})]
OptionName = Annotated[int, NamedValue({
    2: "SO_REUSEADDR", 3: "SO_TYPE", 4: "SO_ERROR", 6: "SO_BROADCAST", 7: "SO_SNDBUF", 8: "SO_RCVBUF", 9: "SO_KEEPALIVE",
    13: "SO_LINGER", 15: "SO_REUSEPORT", 16: "SO_PASSCRED", 17: "SO_PEERCRED", 18: "SO_RCVLOWAT", 20: "SO_RCVTIMEO",
    21: "SO_SNDTIMEO", 30: "SO_ACCEPTCONN", 38: "SO_PROTOCOL", 39: "SO_DOMAIN",
})]
