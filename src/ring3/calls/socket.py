"""Sockets: making, naming, connecting, their options.  Messages are `message.py`.

Source: socket(2), bind(2), listen(2), connect(2), accept(2), getsockname(2), shutdown(2), getsockopt(2), socket(7), net/socket.c.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from ring3.abi.filerecords import Linger, RawTimespec64, RawTimeval, Seconds, Ucred
from ring3.abi.flags import Access, FileType, OpenFlags
from ring3.calls.descriptor import install, install_two, put_two
from ring3.calls.guest import fetch
from ring3.calls.place import opened
from ring3.calls.sockaddr import (
    Family,
    How,
    InAddr,
    Level,
    OptionName,
    OutAddr,
    SockType,
    encode_address,
    inet_address,
    is_unspecified,
    netlink_address,
    put_address,
    read_address,
    unix_address,
)
from ring3.calls.sysarg import Addr, Fd, Int
from ring3.calls.sysarg_files import TwoFds
from ring3.calls.syscall import syscall
from ring3.calls.transfer import SO_RCVTIMEO, SO_SNDTIMEO, Answer, retry, socket_deadline, unrestarted
from ring3.errors import (
    EACCES,
    EAGAIN,
    ECONNREFUSED,
    EDOM,
    EFAULT,
    EINPROGRESS,
    EINVAL,
    EMFILE,
    ENOTSOCK,
    EOPNOTSUPP,
    EPERM,
)
from ring3.proc.lookup import namei_context
from ring3.proc.proc import Rlimit, Thread
from ring3.vfs import names
from ring3.vfs.access import permission
from ring3.vfs.anysocket import Socket
from ring3.vfs.namei import namei
from ring3.vfs.socket import UnixSocket, make_socket, socketpair
from ring3.vfs.socketoptions import getsockopt, setsockopt
from ring3.vfs.socketqueue import SocketNamespace
from ring3.vfs.socketrecords import (
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    AF_UNIX,
    SO_ERROR,
    SO_LINGER,
    SO_RCVBUFFORCE,
    SO_SNDBUFFORCE,
    SOL_SOCKET,
    InetAddress,
    NetlinkAddress,
    UnixAddress,
)
from ring3.vfs.socketrecords import Ucred as PeerCred
from ring3.vfs.vnode import Vnode

SOCK_TYPE_MASK = 0xF
SOL_IP, SOL_UDP = 0, 17
_FLAGS: Final = int(OpenFlags.CLOEXEC | OpenFlags.NONBLOCK)
_CLOEXEC: Final = int(OpenFlags.CLOEXEC)
_NONBLOCK: Final = int(OpenFlags.NONBLOCK)
SO_RCVTIMEO_NEW, SO_SNDTIMEO_NEW = 66, 67
_TIMEOUTS: Final = {
    SO_RCVTIMEO: SO_RCVTIMEO, SO_SNDTIMEO: SO_SNDTIMEO, SO_RCVTIMEO_NEW: SO_RCVTIMEO, SO_SNDTIMEO_NEW: SO_SNDTIMEO,
}
_SECOND = 1_000_000_000


def socket_of(t: Thread, fd: int) -> Socket:
    """The socket behind `fd`.  Raises EBADF, ENOTSOCK."""
    file = opened(t, fd)
    if not isinstance(file, Socket):
        raise ENOTSOCK
    return file


def namespace(t: Thread) -> SocketNamespace:
    """The sockets of this kernel."""
    system = t.system
    if system.sockets is None:
        system.sockets = SocketNamespace(system.anonymous)
    found: SocketNamespace = system.sockets
    return found


def credentials(t: Thread) -> PeerCred:
    """Who `t` is to the other side of a socket."""
    cred = t.proc.cred
    return PeerCred(t.proc.pid, cred.euid, cred.egid)


def socket_vnode(t: Thread, address: UnixAddress) -> Vnode | None:
    """The file an address names; None for abstract names.

    Raises what a look-up does, EACCES, ECONNREFUSED for another kind of file.
    """
    if address.is_abstract or not address.path:
        return None
    dentry = namei(namei_context(t), address.path, access=Access.WRITE)
    permission(t.proc.cred, dentry.vnode.getattr(), Access.WRITE)
    if dentry.vnode.type != FileType.SOCK:
        raise ECONNREFUSED
    return dentry.vnode


def _promise(family: int) -> str:
    """What a family needs to have been promised."""
    return "unix" if family == AF_UNIX else "inet"


# --- making
@syscall(pledge="unix inet")
def sys_socket(t: Thread, family: Family, kind: SockType, protocol: Int) -> int:
    """A socket.  IPv4 and IPv6 lead to sockets of this kernel only, netlink tells of the loopback; other families: EAFNOSUPPORT."""
    if kind & ~(SOCK_TYPE_MASK | _FLAGS):
        raise EINVAL
    t.needs(_promise(family))
    flags = OpenFlags(kind & _NONBLOCK)
    return install(
        t, make_socket(namespace(t), family, kind & SOCK_TYPE_MASK, protocol, flags, credentials(t)), cloexec=bool(kind & _CLOEXEC)
    )


@syscall(pledge="stdio")
def sys_socketpair(t: Thread, family: Family, kind: SockType, protocol: Int, fds: TwoFds) -> int:
    """Two sockets tied to each other.  EOPNOTSUPP for families whose sockets know no pairs."""
    if kind & ~(SOCK_TYPE_MASK | _FLAGS):
        raise EINVAL
    if family in (AF_INET, AF_INET6):
        raise EOPNOTSUPP
    flags = OpenFlags(kind & _NONBLOCK)
    pair = socketpair(namespace(t), family, kind & SOCK_TYPE_MASK, protocol, flags, credentials(t))
    return put_two(t, fds, install_two(t, *pair, cloexec=bool(kind & _CLOEXEC)))


# --- names and connections
@syscall(pledge="unix inet")
def sys_bind(t: Thread, fd: Fd, addr: InAddr, length: Int) -> int:
    """Give a socket a name.  EADDRINUSE, EADDRNOTAVAIL, EINVAL, EACCES."""
    socket = socket_of(t, fd)
    t.needs(_promise(socket.family))                 # whatever promise it was made by
    data = read_address(t, addr, length)
    if not isinstance(socket, UnixSocket):
        _bind_other(t, socket, data)
        return 0
    address = unix_address(data, autobind=True)

    def make(path: bytes) -> Vnode:
        return names.mknod(namei_context(t), path, FileType.SOCK | (0o777 & ~t.proc.fs.umask)).vnode

    socket.bind(address, make)
    return 0


def _bind_other(t: Thread, socket: Socket, data: bytes) -> None:
    """Raises EACCES for a port of the privileged."""
    if socket.family == AF_NETLINK:
        from ring3.vfs.netlink import NetlinkSocket

        assert isinstance(socket, NetlinkSocket)
        socket.bind(netlink_address(data))
        return
    from ring3.vfs.inet import PRIVILEGED_PORTS, InetSocket

    assert isinstance(socket, InetSocket)
    address = inet_address(data, socket.family, unspecified=True)
    if 0 < address.port < PRIVILEGED_PORTS and not t.proc.cred.privileged:
        raise EACCES
    socket.bind(address)


@syscall(pledge="unix inet")
def sys_listen(t: Thread, fd: Fd, backlog: Int) -> int:
    """Take connections.  EOPNOTSUPP, EINVAL."""
    socket_of(t, fd).listen(backlog, credentials(t))
    return 0


@syscall(pledge="unix inet")
def sys_connect(t: Thread, fd: Fd, addr: InAddr, length: Int) -> Answer:
    """Connect to a name.  ECONNREFUSED, ENOENT, EACCES, EISCONN, EPROTOTYPE, EAGAIN, ENETUNREACH, EINPROGRESS, EALREADY."""
    socket = socket_of(t, fd)
    t.needs(_promise(socket.family))
    attempt = _connecting(t, socket, read_address(t, addr, length))
    try:
        return attempt()
    except EAGAIN:
        if socket.nonblocking:
            raise
    deadline_ns = socket_deadline(t, socket, SO_SNDTIMEO)
    waiting = retry(socket, attempt, deadline_ns=deadline_ns)
    if socket.family != AF_UNIX:
        waiting = _in_progress(waiting)
    return waiting if deadline_ns is None else unrestarted(waiting)


def _connecting(t: Thread, socket: Socket, data: bytes) -> Callable[[], int]:
    """The attempt to connect to what the bytes say."""
    if isinstance(socket, UnixSocket):
        return partial(_connect, t, socket, None if is_unspecified(data) else unix_address(data))
    if socket.family == AF_NETLINK:
        from ring3.vfs.netlink import NetlinkSocket

        assert isinstance(socket, NetlinkSocket)
        return partial(_connect_inet, socket, None if is_unspecified(data) else netlink_address(data))
    from ring3.vfs.tcp import TcpSocket
    from ring3.vfs.udp import UdpSocket

    assert isinstance(socket, (TcpSocket, UdpSocket))
    return partial(_connect_inet, socket, None if is_unspecified(data) else inet_address(data, socket.family))


def _connect(t: Thread, socket: UnixSocket, address: UnixAddress | None) -> int:
    socket.connect(address, None if address is None else socket_vnode(t, address), credentials(t))
    return 0


def _connect_inet(socket: Any, address: InetAddress | NetlinkAddress | None) -> int:
    socket.connect(address)
    return 0


async def _in_progress(waiting: Coroutine[Any, Any, int]) -> int:
    """A connection goes on being made when its call gives up (connect(2), EINPROGRESS)."""
    try:
        return await waiting
    except EAGAIN:
        raise EINPROGRESS from None


@syscall(pledge="unix inet accept")
def sys_accept4(t: Thread, fd: Fd, addr: OutAddr, length: Addr, flags: SockType) -> Answer:
    """The next connection to a listening socket.  EAGAIN, EINVAL, EOPNOTSUPP, EMFILE."""
    if flags & ~_FLAGS:
        raise EINVAL
    listener = socket_of(t, fd)
    attempt = partial(_accept, t, listener, addr, length, flags)
    try:
        return attempt()
    except EAGAIN:
        if listener.nonblocking:
            raise
    deadline_ns = socket_deadline(t, listener, SO_RCVTIMEO)
    waiting = retry(listener, attempt, deadline_ns=deadline_ns)
    return waiting if deadline_ns is None else unrestarted(waiting)


def _accept(t: Thread, listener: Socket, addr: int, length: int, flags: int) -> int:
    if t.proc.fds.lowest() >= t.proc.rlimit(Rlimit.NOFILE):
        raise EMFILE                        # the connection waits for another call
    end = listener.accept(OpenFlags(flags & _NONBLOCK))
    new_fd = install(t, end, cloexec=bool(flags & _CLOEXEC))
    if addr:
        try:
            put_address(t, encode_address(end.getpeername()), addr, length)
        except (EFAULT, EINVAL):
            t.proc.fds.close(new_fd)
            raise
    return new_fd


@syscall(pledge="unix inet accept")
def sys_accept(t: Thread, fd: Fd, addr: OutAddr, length: Addr) -> Answer:
    """accept4 without flags."""
    answer: Answer = sys_accept4.run(t, fd, addr, length, 0)
    return answer


@syscall(pledge="stdio")
def sys_getsockname(t: Thread, fd: Fd, addr: OutAddr, length: Addr) -> int:
    """A socket's own name."""
    put_address(t, encode_address(socket_of(t, fd).getsockname()), addr, length)
    return 0


@syscall(pledge="stdio")
def sys_getpeername(t: Thread, fd: Fd, addr: OutAddr, length: Addr) -> int:
    """The other side's name.  ENOTCONN."""
    put_address(t, encode_address(socket_of(t, fd).getpeername()), addr, length)
    return 0


@syscall(pledge="stdio")
def sys_shutdown(t: Thread, fd: Fd, how: How) -> int:
    """End one or both directions of a connection.  ENOTCONN, EINVAL."""
    socket_of(t, fd).shutdown(how)
    return 0


# --- options
@syscall(pledge="stdio")
def sys_setsockopt(t: Thread, fd: Fd, level: Level, name: OptionName, value: Addr, length: Int) -> int:
    """Set an option.  ENOPROTOOPT, EINVAL, EDOM, EPERM."""
    if length < 0:
        raise EINVAL
    socket = socket_of(t, fd)
    if level == SOL_SOCKET and name in _TIMEOUTS:
        socket.options[_TIMEOUTS[name]] = _read_timeout(t, value, length, wide=name >= SO_RCVTIMEO_NEW)
        return 0
    if level == SOL_SOCKET and name == SO_LINGER:
        if length < 8:
            raise EINVAL
        linger: Linger = fetch(t, Linger, value)
        socket.options[SO_LINGER] = 1 + max(linger.linger, 0) if linger.onoff else 0      # 0 for off
        return 0
    if length < 4:
        if level not in (SOL_IP, SOL_UDP) or socket.family == AF_UNIX or length < 1:
            raise EINVAL
        number = t.proc.vm.copyin(value, 1)[0]              # ip(7): a byte will do
    else:
        number = int.from_bytes(t.proc.vm.copyin(value, 4), "little", signed=True)
    if name in (SO_SNDBUFFORCE, SO_RCVBUFFORCE) and level == SOL_SOCKET and not t.proc.cred.privileged:
        raise EPERM
    setsockopt(socket, level, name, number)
    return 0


def _read_timeout(t: Thread, addr: int, length: int, *, wide: bool) -> int:
    """A timeout in ns, 0 for none.  Raises EINVAL, EDOM."""
    record = RawTimespec64 if wide else RawTimeval
    if length < t.system.call_abi(t).layouts[record].size:
        raise EINVAL
    time: Seconds = fetch(t, record, addr)
    if not 0 <= time.fraction < 1_000_000:
        raise EDOM
    return 0 if time.seconds < 0 else time.seconds * _SECOND + time.fraction * 1000


@syscall(pledge="stdio")
def sys_getsockopt(t: Thread, fd: Fd, level: Level, name: OptionName, value: Addr, length: Addr) -> int:
    """Ask for an option.  ENOPROTOOPT, EINVAL, EFAULT."""
    socket = socket_of(t, fd)
    vm, layouts = t.proc.vm, t.system.call_abi(t).layouts
    room = int.from_bytes(vm.copyin(length, 4), "little", signed=True)
    if room < 0:
        raise EINVAL
    if level == SOL_SOCKET and name in _TIMEOUTS:
        ns = socket.options.get(_TIMEOUTS[name], 0)
        record = RawTimespec64 if name >= SO_RCVTIMEO_NEW else RawTimeval
        data: bytes = layouts[record].encode(Seconds(ns // _SECOND, ns % _SECOND // 1000))
    elif level == SOL_SOCKET and name == SO_LINGER:
        linger = socket.options.get(SO_LINGER, 0)
        data = layouts[Linger].encode(Linger(int(linger > 0), max(linger - 1, 0)))
    elif level == SOL_SOCKET and name == SO_ERROR:
        data = pending_error(t, socket).to_bytes(4, "little")
    else:
        found = getsockopt(socket, level, name)
        if isinstance(found, bytes):
            data = found
        else:
            data = layouts[Ucred].encode(found) if isinstance(found, tuple) else found.to_bytes(4, "little", signed=True)
    data = data[:room]
    vm.copyout(value, data)
    vm.copyout(length, len(data).to_bytes(4, "little"))
    return 0


def pending_error(t: Thread, socket: Socket) -> int:
    """The number of a socket's error, told once; 0 for none."""
    error = socket.take_error()
    return 0 if error is None else t.system.call_abi(t).errno[error]
