"""Shapes of the calls about sockets, as Linux numbers them.  Source: strace(1); socket(7), unix(7), tcp(7), cmsg(3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ring3.calls.sockaddr import IN_SIZE, NL_SIZE, STORAGE_SIZE, UN_SIZE, show_address
from ring3.calls.sysarg import SHOWN_BYTES, Kind, quote, show_memory
from ring3.trace.shapes.linux_files import CLOEXEC, NONBLOCK
from ring3.trace.shapes.shape import (
    INT,
    ITEMS,
    Address,
    Bits,
    Chooser,
    Hex,
    Named,
    Shape,
    Signed,
    field,
    items,
    looked,
    memory,
    number,
    shape,
    where,
    word,
)
from ring3.vfs.socketrecords import AF_INET, AF_INET6, AF_NETLINK, AF_UNIX

if TYPE_CHECKING:
    from ring3.proc.proc import Thread

_FAMILIES: Final = Named({
    0: "AF_UNSPEC", 1: "AF_UNIX", 2: "AF_INET", 3: "AF_AX25", 4: "AF_IPX", 5: "AF_APPLETALK", 9: "AF_X25", 10: "AF_INET6",
    15: "AF_KEY", 16: "AF_NETLINK", 17: "AF_PACKET", 21: "AF_RDS", 29: "AF_CAN", 30: "AF_TIPC", 31: "AF_BLUETOOTH", 38: "AF_ALG",
    40: "AF_VSOCK", 41: "AF_KCM", 44: "AF_XDP",
}, "AF_???")
_TYPES: Final = {
    1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 4: "SOCK_RDM", 5: "SOCK_SEQPACKET", 6: "SOCK_DCCP", 10: "SOCK_PACKET",
}
_IP: Final = Named({
    0: "IPPROTO_IP", 1: "IPPROTO_ICMP", 2: "IPPROTO_IGMP", 6: "IPPROTO_TCP", 17: "IPPROTO_UDP", 41: "IPPROTO_IPV6",
    58: "IPPROTO_ICMPV6",
    132: "IPPROTO_SCTP", 136: "IPPROTO_UDPLITE", 255: "IPPROTO_RAW", 262: "IPPROTO_MPTCP",
}, "IPPROTO_???")
_NETLINK: Final = Named({
    0: "NETLINK_ROUTE", 2: "NETLINK_USERSOCK", 4: "NETLINK_SOCK_DIAG", 6: "NETLINK_XFRM", 9: "NETLINK_AUDIT",
    12: "NETLINK_NETFILTER",
    15: "NETLINK_KOBJECT_UEVENT", 16: "NETLINK_GENERIC",
}, "NETLINK_???")
_LEVELS: Final = {
    0: "SOL_IP", 1: "SOL_SOCKET", 6: "SOL_TCP", 17: "SOL_UDP", 41: "SOL_IPV6", 58: "SOL_ICMPV6", 255: "SOL_RAW", 263: "SOL_PACKET",
    270: "SOL_NETLINK",
}
_OPTIONS: Final = {
    1: {
        1: "SO_DEBUG", 2: "SO_REUSEADDR", 3: "SO_TYPE", 4: "SO_ERROR", 5: "SO_DONTROUTE", 6: "SO_BROADCAST", 7: "SO_SNDBUF",
        8: "SO_RCVBUF",
        9: "SO_KEEPALIVE", 10: "SO_OOBINLINE", 11: "SO_NO_CHECK", 12: "SO_PRIORITY", 13: "SO_LINGER", 14: "SO_BSDCOMPAT",
        15: "SO_REUSEPORT", 16: "SO_PASSCRED", 17: "SO_PEERCRED", 18: "SO_RCVLOWAT", 19: "SO_SNDLOWAT", 20: "SO_RCVTIMEO_OLD",
        21: "SO_SNDTIMEO_OLD", 25: "SO_BINDTODEVICE", 26: "SO_ATTACH_FILTER", 27: "SO_DETACH_FILTER", 28: "SO_PEERNAME",
        29: "SO_TIMESTAMP_OLD", 30: "SO_ACCEPTCONN", 31: "SO_PEERSEC", 32: "SO_SNDBUFFORCE", 33: "SO_RCVBUFFORCE", 34: "SO_PASSSEC",
        36: "SO_MARK", 38: "SO_PROTOCOL", 39: "SO_DOMAIN", 40: "SO_RXQ_OVFL", 42: "SO_PEEK_OFF", 46: "SO_BUSY_POLL",
        49: "SO_INCOMING_CPU", 57: "SO_COOKIE", 59: "SO_PEERGROUPS", 60: "SO_ZEROCOPY", 66: "SO_RCVTIMEO_NEW",
        67: "SO_SNDTIMEO_NEW",
        77: "SO_PEERPIDFD",
    },
    6: {
        1: "TCP_NODELAY", 2: "TCP_MAXSEG", 3: "TCP_CORK", 4: "TCP_KEEPIDLE", 5: "TCP_KEEPINTVL", 6: "TCP_KEEPCNT", 7: "TCP_SYNCNT",
        8: "TCP_LINGER2", 9: "TCP_DEFER_ACCEPT", 10: "TCP_WINDOW_CLAMP", 11: "TCP_INFO", 12: "TCP_QUICKACK", 13: "TCP_CONGESTION",
        18: "TCP_USER_TIMEOUT", 23: "TCP_FASTOPEN", 30: "TCP_FASTOPEN_CONNECT",
    },
    0: {
        1: "IP_TOS", 2: "IP_TTL", 3: "IP_HDRINCL", 4: "IP_OPTIONS", 8: "IP_PKTINFO", 10: "IP_MTU_DISCOVER", 11: "IP_RECVERR",
        12: "IP_RECVTTL", 13: "IP_RECVTOS", 14: "IP_MTU", 15: "IP_FREEBIND", 24: "IP_BIND_ADDRESS_NO_PORT", 32: "IP_MULTICAST_IF",
        33: "IP_MULTICAST_TTL", 34: "IP_MULTICAST_LOOP", 35: "IP_ADD_MEMBERSHIP", 36: "IP_DROP_MEMBERSHIP",
    },
    41: {
        16: "IPV6_UNICAST_HOPS", 17: "IPV6_MULTICAST_IF", 18: "IPV6_MULTICAST_HOPS", 19: "IPV6_MULTICAST_LOOP",
        23: "IPV6_MTU_DISCOVER",
        24: "IPV6_MTU", 25: "IPV6_RECVERR", 26: "IPV6_V6ONLY", 49: "IPV6_RECVPKTINFO", 50: "IPV6_PKTINFO", 66: "IPV6_RECVTCLASS",
        67: "IPV6_TCLASS",
    },
}
_FAMILY_OF: Final = {1: "SO_???", 6: "TCP_???", 0: "IP_???", 41: "IPV6_???"}
_FAMILY_SIZE: Final = 2
_IN6_LEAST: Final = 24          # struct sockaddr_in6 without its scope
_LARGEST: Final = 128           # bytes of an option's value that are looked at


class _SocketType(Kind):
    """The type in the low bits, then how the descriptor is made."""

    def show(self, t: Thread, value: Any) -> str:
        value = int(value) & 0xFFFF_FFFF
        kind, rest = value & 0xF, value & ~0xF
        flags = [name for bit, name in ((CLOEXEC, "SOCK_CLOEXEC"), (NONBLOCK, "SOCK_NONBLOCK")) if rest & bit]
        rest &= ~(CLOEXEC | NONBLOCK)
        parts = [_TYPES.get(kind) or number(kind, "SOCK_???"), *flags]
        return "|".join([*parts, number(rest, "SOCK_???")] if rest else parts)


_TYPE: Final = _SocketType()
_ACCEPTED: Final = Bits({CLOEXEC: "SOCK_CLOEXEC", NONBLOCK: "SOCK_NONBLOCK"}, "SOCK_???")
_MESSAGE: Final = Bits({
    1: "MSG_OOB", 2: "MSG_PEEK", 4: "MSG_DONTROUTE", 8: "MSG_CTRUNC", 0x10: "MSG_PROBE", 0x20: "MSG_TRUNC", 0x40: "MSG_DONTWAIT",
    0x80: "MSG_EOR", 0x100: "MSG_WAITALL", 0x200: "MSG_FIN", 0x400: "MSG_SYN", 0x800: "MSG_CONFIRM", 0x1000: "MSG_RST",
    0x2000: "MSG_ERRQUEUE", 0x4000: "MSG_NOSIGNAL", 0x8000: "MSG_MORE", 0x10000: "MSG_WAITFORONE", 0x4000000: "MSG_ZEROCOPY",
    0x20000000: "MSG_FASTOPEN", 0x40000000: "MSG_CMSG_CLOEXEC",
}, "MSG_???")


def _socket(args: Sequence[Any]) -> Shape:
    return _SOCKETS.get(int(args[0]) & 0xFFFF_FFFF, _SOCKETS[-1])


_SOCKETS: Final[dict[int, Shape]] = {
    -1: shape(_FAMILIES, _TYPE, None), 2: shape(_FAMILIES, _TYPE, _IP),
    10: shape(_FAMILIES, _TYPE, _IP), 16: shape(_FAMILIES, _TYPE, _NETLINK),
}


# --- addresses
def _address(t: Thread, addr: int, nbytes: int) -> str:
    """A struct sockaddr; where it is, if it is too short to say of what family.  Raises EFAULT."""
    nbytes = (nbytes & 0x7FFF_FFFF) - (nbytes & 0x8000_0000)
    return _as_text(memory(t, addr, min(nbytes, STORAGE_SIZE))) if nbytes >= _FAMILY_SIZE else hex(addr)


def _as_text(data: bytes) -> str:
    """As `show_address`, with all that strace has names for.

    >>> _as_text(bytes([77, 0, 65]))
    '{sa_family=0x4d /* AF_??? */, sa_data="A"}'
    """
    family = field(data, 0, 2)
    if family == AF_NETLINK and len(data) >= NL_SIZE:
        groups = field(data, 8, 4)
        return f"{{sa_family=AF_NETLINK, nl_pid={field(data, 4, 4)}, nl_groups={f'{groups:#08x}' if groups else '00000000'}}}"
    if family == AF_UNIX:
        return show_address(data[:UN_SIZE])
    if (family == AF_INET and len(data) >= IN_SIZE) or (family == AF_INET6 and len(data) > _IN6_LEAST):
        return show_address(data)
    if family == AF_INET6 and len(data) == _IN6_LEAST:
        return show_address(data).replace(", sin6_scope_id=0}", "}")
    rest = f", sa_data={quote(data[2:], None)}" if len(data) > _FAMILY_SIZE else ""
    return f"{{sa_family={_FAMILIES.show(None, family)}{rest}}}"


class _AddressIn(Address):
    """An address; how much of it there is, the argument behind it says."""

    def show_beside(self, t: Thread, value: Any, behind: Any) -> str:
        if behind is None:
            return self.show(t, value)
        return looked(lambda t, addr: _address(t, addr, int(behind)), t, where(value))


class _AddressOut(Address):
    """Where an address goes; how much of it there was, the int says that the argument behind it points to."""

    def show_result_beside(self, t: Thread, value: Any, behind: Any, result: int) -> str | None:
        return looked(lambda t, addr: _address(t, addr, word(t, int(behind))), t, where(value)) if behind else None


class _Room(Kind):
    """The room for an address as it was, and what it takes: `[128 => 16]`."""

    out = True

    def show(self, t: Thread, value: Any) -> str:
        return looked(INT, t, where(value))

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        return looked(INT, t, where(value))


_NAMED: Final = shape(None, _AddressOut(), _Room())
_FOUND: Final = shape(None, _AddressIn(), None)


# --- options
class _Value(Kind):
    """An option's value: an int, or what `text` makes of `size` bytes."""

    def __init__(self, text: Callable[[bytes], str] | None = None, size: int = 4) -> None:
        self.text = text
        self.size = size

    def look(self, t: Thread, addr: int, nbytes: int) -> str:
        """So many bytes of it.  Raises EFAULT."""
        data = memory(t, addr, min(max(nbytes, 0), _LARGEST))
        if len(data) == self.size:
            return self.text(data) if self.text is not None else f"[{field(data, 0, 4, signed=True)}]"
        return quote(data[:SHOWN_BYTES], nbytes)

    def show(self, t: Thread, value: Any) -> str:
        return hex(value) if value else "NULL"

    def show_beside(self, t: Thread, value: Any, behind: Any) -> str:
        return looked(lambda t, addr: self.look(t, addr, int(behind)), t, value) if behind is not None else self.show(t, value)


class _ValueOut(Address):
    """The same, filled in; the int behind it points to says how much of it."""

    def __init__(self, value: _Value) -> None:
        self.value = value

    def show_result_beside(self, t: Thread, value: Any, behind: Any, result: int) -> str | None:
        return looked(lambda t, addr: self.value.look(t, addr, word(t, int(behind))), t, value) if behind else None


_SPECIAL: Final = {
    (1, 13): _Value(lambda data: f"{{l_onoff={field(data, 0, 4)}, l_linger={field(data, 4, 4)}}}", 8),
    (1, 17): _Value(lambda data: f"{{pid={field(data, 0, 4)}, uid={field(data, 4, 4)}, gid={field(data, 8, 4)}}}", 12),
}
_LEVEL: Final = Named(_LEVELS, "SOL_???")
_NAMES: Final = {level: Named(names, _FAMILY_OF[level]) for level, names in _OPTIONS.items()}


def _options(*, get: bool) -> Chooser:
    """getsockopt, setsockopt: by their level, and those with a struct by their name."""
    def form(level: int, value: _Value) -> Shape:
        name = _NAMES.get(level, _ANY)
        return shape(None, _LEVEL, name, _ValueOut(value), _Room()) if get else shape(None, _LEVEL, name, value, None)

    levels = {level: form(level, _Value()) for level in (-1, *_OPTIONS)}
    named = {key: form(key[0], value) for key, value in _SPECIAL.items()}

    def choose(args: Sequence[Any]) -> Shape:
        level = int(args[1]) & 0xFFFF_FFFF
        return named.get((level, int(args[2]) & 0xFFFF_FFFF)) or levels.get(level, levels[-1])

    return choose


_ANY: Final = Hex()


# --- messages
_CONTROLS: Final = {1: "SCM_RIGHTS", 2: "SCM_CREDENTIALS", 29: "SO_TIMESTAMP_OLD"}
_HEADER: Final = 56             # struct msghdr
_MULTIPLE: Final = 64           # struct mmsghdr


def _vectors(t: Thread, base: int, count: int, left: int | None) -> str:
    """An iovec array; `left`: how many bytes of it were filled (None: all are the caller's)."""
    def one(t: Thread, data: bytes) -> str:
        nonlocal left
        addr, nbytes = field(data, 0, 8), field(data, 8, 8)
        filled = nbytes if left is None else min(nbytes, left)
        if left is not None:
            left -= filled
        return f"{{iov_base={show_memory(t, addr, filled) if addr else 'NULL'}, iov_len={nbytes}}}"

    return items(t, base, min(count, 1024), 16, one) if base or not count else "NULL"


def _controls(t: Thread, addr: int, nbytes: int) -> str:
    """Control messages, those strace takes apart with what is in them.  Raises EFAULT."""
    data, at = memory(t, addr, min(nbytes, 4096)), 0
    shown: list[str] = []
    while at + 16 <= len(data) and len(shown) < ITEMS:
        length, level, kind = field(data, at, 8), field(data, at + 8, 4), field(data, at + 12, 4)
        if not 16 <= length <= len(data) - at:
            break
        body = data[at + 16 : at + length]
        name = _CONTROLS.get(kind) if level == 1 else None
        text = f"{{cmsg_len={length}, cmsg_level={_LEVELS.get(level) or number(level, 'SOL_???')}, cmsg_type="
        if name == "SCM_RIGHTS":
            text += f"{name}, cmsg_data=[{', '.join(str(field(body, i, 4, signed=True)) for i in range(0, len(body) // 4 * 4, 4))}]"
        elif name == "SCM_CREDENTIALS" and len(body) >= 12:
            text += f"{name}, cmsg_data={{pid={field(body, 0, 4)}, uid={field(body, 4, 4)}, gid={field(body, 8, 4)}}}"
        else:
            text += (name or number(kind)) + (f", cmsg_data={quote(body[:SHOWN_BYTES], len(body))}" if body else "")
        shown.append(text + "}")
        at += (length + 7) & ~7
    return f"[{', '.join(shown)}]"


def _message(t: Thread, data: bytes, left: int | None) -> str:
    """A struct msghdr.  Raises EFAULT."""
    name, name_len = field(data, 0, 8), field(data, 8, 4)
    base, count, control, control_len = (field(data, at, 8) for at in (16, 24, 32, 40))
    parts = [
        f"msg_name={_address(t, name, name_len) if name else 'NULL'}", f"msg_namelen={name_len}",
        f"msg_iov={_vectors(t, base, count, left)}", f"msg_iovlen={count}",
    ]
    if control and control_len:
        parts.append(f"msg_control={looked(lambda t, addr: _controls(t, addr, control_len), t, control)}")
    parts += [f"msg_controllen={control_len}", f"msg_flags={_MESSAGE.show(t, field(data, 48, 4))}"]
    return f"{{{', '.join(parts)}}}"


class _MessageIn(Kind):
    """sendmsg's message."""

    def show(self, t: Thread, value: Any) -> str:
        return looked(lambda t, addr: _message(t, memory(t, addr, _HEADER), None), t, value)


class _MessageOut(Kind):
    """recvmsg's: what came; the room for a name where nothing did."""

    out = True

    def show(self, t: Thread, value: Any) -> str:
        return looked(lambda t, addr: f"{{msg_namelen={word(t, addr + 8)}}}", t, value)

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        return looked(lambda t, addr: _message(t, memory(t, addr, _HEADER), result), t, value)


def _several(t: Thread, addr: int, count: int, *, came: bool) -> str:
    def one(t: Thread, data: bytes) -> str:
        length = field(data, _HEADER, 4)
        return f"{{msg_hdr={_message(t, data, length if came else None)}, msg_len={length}}}"

    return items(t, addr, count, _MULTIPLE, one)


class _Messages(Kind):
    """The arrays of sendmmsg and recvmmsg: as many as went, or came."""

    out = True

    def __init__(self, *, came: bool) -> None:
        self.came = came

    def show(self, t: Thread, value: Any) -> str:
        return hex(value) if value else "NULL"

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        return looked(lambda t, addr: _several(t, addr, result, came=self.came), t, value)


_SHUT: Final = Named({0: "SHUT_RD", 1: "SHUT_WR", 2: "SHUT_RDWR"}, "SHUT_???")
SHAPES: Final[dict[str, Shape | Chooser]] = {
    "socket": _socket, "socketpair": shape(_FAMILIES, _TYPE, None, None), "shutdown": shape(None, _SHUT),
    "bind": _FOUND, "connect": _FOUND,
    "accept": _NAMED, "getsockname": _NAMED, "getpeername": _NAMED, "accept4": shape(None, _AddressOut(), _Room(), _ACCEPTED),
    "setsockopt": _options(get=False), "getsockopt": _options(get=True),
    "sendto": shape(None, None, None, _MESSAGE, _AddressIn(), Signed()),
    "recvfrom": shape(None, None, None, _MESSAGE, _AddressOut(), _Room()),
    "sendmsg": shape(None, _MessageIn(), _MESSAGE), "recvmsg": shape(None, _MessageOut(), _MESSAGE),
    "sendmmsg": shape(None, _Messages(came=False), None, _MESSAGE),
    "recvmmsg": shape(None, _Messages(came=True), None, _MESSAGE, None),
}
