"""NetBSD's calls about sockets: types, flags and options have its own numbers, everything else is Linux's.

Addresses are translated by their layout (`SockAddr`), headers and control messages by theirs; bind, connect, listen, accept and
the names are shared.  LOCAL_CREDS is not there.  Sources: socket(2), send(2), recv(2), paccept(2), getsockopt(2), unix(4),
sys/kern/uipc_socket2.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from ring3.abi.filerecords import Linger, RawTimeval, Seconds, Ucred
from ring3.abi.flags import OpenFlags
from ring3.abi.procrecords import SigSet
from ring3.calls import receiving, sending
from ring3.calls import socket as linux
from ring3.calls.guest import fetch
from ring3.calls.poll import masked, put_mask
from ring3.calls.procarg import SigSetAt
from ring3.calls.sockaddr import InAddr, OutAddr
from ring3.calls.socket import socket_of
from ring3.calls.sysarg import Addr, Fd, InBuf, Int, Number, OutBuf, Size, UInt
from ring3.calls.sysarg_files import Bits, NamedValue, TimeoutLeft, TwoFds
from ring3.calls.syscall import syscall
from ring3.calls.transfer import SO_RCVTIMEO, SO_SNDTIMEO, Answer
from ring3.errors import EDOM, EINVAL, ENOPROTOOPT, ENOTCONN
from ring3.proc.proc import Thread
from ring3.vfs import socketrecords as neutral
from ring3.vfs.anysocket import Socket
from ring3.vfs.socketoptions import getsockopt, setsockopt
from ring3.vfs.socketrecords import AF_UNIX, NOBODY

SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_NOSIGPIPE = 0x1000_0000, 0x2000_0000, 0x4000_0000
_TYPE_FLAGS: Final = SOCK_CLOEXEC | SOCK_NONBLOCK | SOCK_NOSIGPIPE
SOL_SOCKET, SOL_LOCAL = 0xFFFF, 0
SO_LINGER, SO_NOSIGPIPE, SO_SNDTIMEO_BSD, SO_RCVTIMEO_BSD, SO_ERROR = 0x80, 0x800, 0x100B, 0x100C, 0x1007
LOCAL_PEEREID: Final = 3
_TIMEOUTS: Final = {SO_SNDTIMEO_BSD: SO_SNDTIMEO, SO_RCVTIMEO_BSD: SO_RCVTIMEO}
_SECOND: Final = 1_000_000_000
_FAMILIES: Final = {0: 0, AF_UNIX: AF_UNIX, 2: neutral.AF_INET, 24: neutral.AF_INET6}
_NO_FAMILY: Final = 0xFFFF

# Options that are numbers: NetBSD's, the kernel's.
_OPTIONS: Final[Mapping[int, int]] = MappingProxyType({
    0x2: neutral.SO_ACCEPTCONN, 0x4: neutral.SO_REUSEADDR, 0x8: neutral.SO_KEEPALIVE, 0x10: neutral.SO_DONTROUTE,
    0x20: neutral.SO_BROADCAST, 0x100: neutral.SO_OOBINLINE, 0x200: neutral.SO_REUSEPORT, 0x1001: neutral.SO_SNDBUF,
    0x1002: neutral.SO_RCVBUF, 0x1003: neutral.SO_SNDLOWAT, 0x1004: neutral.SO_RCVLOWAT, SO_ERROR: neutral.SO_ERROR,
    0x1008: neutral.SO_TYPE,
})
# Those of the loopback network, by level and name.
_INET_OPTIONS: Final[Mapping[tuple[int, int], tuple[int, int]]] = MappingProxyType({
    (0, 3): (0, 1), (0, 4): (0, 2),                                             # IP_TOS, IP_TTL
    (6, 1): (6, 1), (6, 2): (6, 2), (6, 3): (6, 4), (6, 5): (6, 5), (6, 6): (6, 6),     # TCP_NODELAY, MAXSEG, KEEPIDLE, INTVL, CNT
    (41, 4): (41, 16), (41, 27): (41, 26),                                      # IPV6_UNICAST_HOPS, IPV6_V6ONLY
})
_READ_ONLY: Final = (0x2, SO_ERROR, 0x1008)

# Flags of a message on the way in: NetBSD's, the kernel's.
_MESSAGE: Final = (
    (0x1, 0x1), (0x2, 0x2), (0x4, 0x4), (0x8, 0x80), (0x40, 0x100), (0x80, 0x40), (0x400, 0x4000), (0x800, 0x4000_0000),
    (0x2000, 0x10000),
)

MessageFlags = Annotated[int, Bits({
    0x1: "MSG_OOB", 0x2: "MSG_PEEK", 0x4: "MSG_DONTROUTE", 0x8: "MSG_EOR", 0x10: "MSG_TRUNC", 0x20: "MSG_CTRUNC",
    0x40: "MSG_WAITALL", 0x80: "MSG_DONTWAIT", 0x400: "MSG_NOSIGNAL", 0x800: "MSG_CMSG_CLOEXEC", 0x2000: "MSG_WAITFORONE",
})]
BsdFamily = Annotated[int, Number({0: "AF_UNSPEC", 1: "AF_LOCAL", 2: "AF_INET", 24: "AF_INET6"})]
BsdType = Annotated[int, NamedValue({1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 5: "SOCK_SEQPACKET"})]
BsdLevel = Annotated[int, NamedValue({SOL_SOCKET: "SOL_SOCKET", SOL_LOCAL: "SOL_LOCAL"})]
BsdOption = Annotated[int, NamedValue({
    0x2: "SO_ACCEPTCONN", 0x4: "SO_REUSEADDR", 0x8: "SO_KEEPALIVE", 0x20: "SO_BROADCAST", SO_LINGER: "SO_LINGER",
    0x200: "SO_REUSEPORT", SO_NOSIGPIPE: "SO_NOSIGPIPE", 0x1001: "SO_SNDBUF", 0x1002: "SO_RCVBUF", SO_ERROR: "SO_ERROR",
    0x1008: "SO_TYPE", SO_SNDTIMEO_BSD: "SO_SNDTIMEO", SO_RCVTIMEO_BSD: "SO_RCVTIMEO",
})]


def _type(kind: int) -> int:
    """A socket's type with its flags, as the kernel has them."""
    return (
        kind & ~_TYPE_FLAGS
        | (int(OpenFlags.CLOEXEC) if kind & SOCK_CLOEXEC else 0)
        | (int(OpenFlags.NONBLOCK) if kind & SOCK_NONBLOCK else 0)
    )


def _flags(flags: int) -> int:
    """What a send or a receive is told."""
    return sum(ours for theirs, ours in _MESSAGE if flags & theirs)


def _mark(t: Thread, kind: int, *fds: int) -> None:
    """SOCK_NOSIGPIPE."""
    if kind & SOCK_NOSIGPIPE:
        for fd in fds:
            t.proc.fds.get(fd).flags |= OpenFlags.NOSIGPIPE


# --- making
@syscall(pledge="unix inet")
def sys___socket30(t: Thread, family: BsdFamily, kind: BsdType, protocol: Int) -> int:
    """A socket.  IPv4 and IPv6 lead to sockets of this kernel only; every family beside them and AF_LOCAL is EAFNOSUPPORT."""
    fd: int = linux.sys_socket.run(t, _FAMILIES.get(family, _NO_FAMILY), _type(kind), protocol)
    _mark(t, kind, fd)
    return fd


@syscall(pledge="stdio")
def sys_socketpair(t: Thread, family: BsdFamily, kind: BsdType, protocol: Int, fds: TwoFds) -> int:
    """Two sockets tied to each other."""
    linux.sys_socketpair.run(t, _FAMILIES.get(family, _NO_FAMILY), _type(kind), protocol, fds)
    data = t.proc.vm.copyin(fds, 8)
    _mark(t, kind, int.from_bytes(data[:4], "little"), int.from_bytes(data[4:], "little"))
    return 0


@syscall(pledge="unix inet accept")
def sys_paccept(t: Thread, fd: Fd, addr: OutAddr, length: Addr, mask: SigSetAt, flags: UInt) -> Answer:
    """The next connection to a listening socket, under a signal mask.  EAGAIN, EINVAL, EOPNOTSUPP, EMFILE."""
    if flags & ~_TYPE_FLAGS:
        raise EINVAL
    sigmask: int | None = fetch(t, SigSet, mask) if mask else None
    answer: Answer = linux.sys_accept4.run(t, fd, addr, length, _type(flags))
    if isinstance(answer, int):
        _mark(t, flags, answer)
        return answer
    waiting = _accepted_later(t, answer, flags)
    if sigmask is None:
        return waiting
    put_mask(t, sigmask)
    return masked(t, waiting)


async def _accepted_later(t: Thread, waiting: Any, flags: int) -> int:
    fd: int = await waiting
    _mark(t, flags, fd)
    return fd


# --- messages
@syscall(pledge="stdio")
def sys_sendto(t: Thread, fd: Fd, buf: InBuf, nbytes: Size, flags: MessageFlags, addr: InAddr, length: UInt) -> Answer:
    """Send, maybe to a name.  EPIPE, EAGAIN, ENOTCONN, EMSGSIZE, EISCONN."""
    answer: Answer = sending.sys_sendto.run(t, fd, buf, nbytes, _flags(flags), addr, length)
    return answer


@syscall(pledge="stdio sendfd")
def sys_sendmsg(t: Thread, fd: Fd, message: Addr, flags: MessageFlags) -> Answer:
    """Send what a struct msghdr says, with files."""
    answer: Answer = sending.sys_sendmsg.run(t, fd, message, _flags(flags))
    return answer


@syscall(pledge="stdio sendfd")
def sys_sendmmsg(t: Thread, fd: Fd, messages: Addr, count: UInt, flags: MessageFlags) -> Answer:
    """Several sendmsg; how many went."""
    answer: Answer = sending.sys_sendmmsg.run(t, fd, messages, count, _flags(flags))
    return answer


@syscall(pledge="stdio")
def sys_recvfrom(t: Thread, fd: Fd, buf: OutBuf, nbytes: Size, flags: MessageFlags, addr: OutAddr, length: Addr) -> Answer:
    """Receive, and from whom.  EAGAIN, ENOTCONN, ECONNRESET, EINTR."""
    answer: Answer = receiving.sys_recvfrom.run(t, fd, buf, nbytes, _flags(flags), addr, length)
    return answer


@syscall(pledge="stdio recvfd")
def sys_recvmsg(t: Thread, fd: Fd, message: Addr, flags: MessageFlags) -> Answer:
    """Receive into what a struct msghdr says, with files."""
    answer: Answer = receiving.sys_recvmsg.run(t, fd, message, _flags(flags))
    return answer


@syscall(pledge="stdio recvfd")
def sys_recvmmsg(t: Thread, fd: Fd, messages: Addr, count: UInt, flags: MessageFlags, timeout: TimeoutLeft) -> Answer:
    """Several recvmsg; how many came."""
    answer: Answer = receiving.sys_recvmmsg.run(t, fd, messages, count, _flags(flags), timeout)
    return answer


# --- options
@syscall(pledge="stdio")
def sys_setsockopt(t: Thread, fd: Fd, level: BsdLevel, name: BsdOption, value: Addr, length: UInt) -> int:
    """Set an option.  ENOPROTOOPT, EINVAL, EDOM, EFAULT."""
    socket = socket_of(t, fd)
    if socket.family != AF_UNIX and (level, name) in _INET_OPTIONS:
        if length < 4:
            raise EINVAL
        inet = int.from_bytes(t.proc.vm.copyin(value, 4), "little", signed=True)
        setsockopt(socket, *_INET_OPTIONS[level, name], inet)
        return 0
    if level != SOL_SOCKET:
        raise ENOPROTOOPT
    if name in _TIMEOUTS:
        socket.options[_TIMEOUTS[name]] = _read_timeout(t, value, length)
        return 0
    if name == SO_LINGER:
        _check_length(t, length, Linger)
        fetch(t, Linger, value)
        return 0
    if length < 4:
        raise EINVAL
    number = int.from_bytes(t.proc.vm.copyin(value, 4), "little", signed=True)
    if name == SO_NOSIGPIPE:
        socket.flags = OpenFlags(int(socket.flags) & ~int(OpenFlags.NOSIGPIPE) | (int(OpenFlags.NOSIGPIPE) if number else 0))
        return 0
    if name not in _OPTIONS or name in _READ_ONLY:
        raise ENOPROTOOPT
    setsockopt(socket, neutral.SOL_SOCKET, _OPTIONS[name], number)
    return 0


def _check_length(t: Thread, length: int, record: type) -> None:
    """Raises EINVAL for less than a struct."""
    if length < t.system.call_abi(t).layouts[record].size:
        raise EINVAL


def _read_timeout(t: Thread, addr: int, length: int) -> int:
    """A timeout in ns, 0 for none.  Raises EINVAL, EDOM."""
    _check_length(t, length, RawTimeval)
    wanted: Seconds = fetch(t, RawTimeval, addr)
    if not 0 <= wanted.fraction < 1_000_000 or wanted.seconds < 0:
        raise EDOM
    return wanted.seconds * _SECOND + wanted.fraction * 1000


@syscall(pledge="stdio")
def sys_getsockopt(t: Thread, fd: Fd, level: BsdLevel, name: BsdOption, value: Addr, length: Addr) -> int:
    """Ask for an option.  ENOPROTOOPT, EINVAL, ENOTCONN, EFAULT."""
    socket = socket_of(t, fd)
    vm = t.proc.vm
    room = int.from_bytes(vm.copyin(length, 4), "little") if value else 0
    data = _option(t, socket, level, name)[:room]
    if value:
        vm.copyout(value, data)
        vm.copyout(length, len(data).to_bytes(4, "little"))
    return 0


def _option(t: Thread, socket: Socket, level: int, name: int) -> bytes:
    """The bytes of an option.  Raises ENOPROTOOPT, ENOTCONN."""
    abi = t.system.call_abi(t)
    if level == SOL_LOCAL and name == LOCAL_PEEREID:
        if socket.peer_cred == NOBODY:
            raise ENOTCONN
        return abi.layouts[Ucred].encode(socket.peer_cred)  # type: ignore[no-any-return]
    if socket.family != AF_UNIX and (level, name) in _INET_OPTIONS:
        known = getsockopt(socket, *_INET_OPTIONS[level, name])
        assert isinstance(known, int)
        return known.to_bytes(4, "little", signed=True)
    if level != SOL_SOCKET:
        raise ENOPROTOOPT
    if name in _TIMEOUTS:
        ns = socket.options.get(_TIMEOUTS[name], 0)
        return abi.layouts[RawTimeval].encode(Seconds(ns // _SECOND, ns % _SECOND // 1000))  # type: ignore[no-any-return]
    if name == SO_LINGER:
        return abi.layouts[Linger].encode(Linger(0, 0))  # type: ignore[no-any-return]
    if name == SO_NOSIGPIPE:
        number = int(bool(socket.flags & OpenFlags.NOSIGPIPE))
    elif name == SO_ERROR:
        number = linux.pending_error(t, socket)
    elif name in _OPTIONS:
        found = getsockopt(socket, neutral.SOL_SOCKET, _OPTIONS[name])
        assert isinstance(found, int)
        number = found
    else:
        raise ENOPROTOOPT
    return number.to_bytes(4, "little", signed=True)
