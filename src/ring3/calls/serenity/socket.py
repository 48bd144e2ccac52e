"""SerenityOS's calls about sockets: making, naming, connecting, their options, and descriptors handed over.

Only local sockets are there: AF_INET is refused with EAFNOSUPPORT, as guests have no network.  Descriptors travel by calls of their
own, beside the bytes; messages carry none.  A bind of a socket that has a name, where the original falls, is EINVAL.  connect
is done when the listener has room, it does not wait for the accept.

Not here: sendmsg and recvmsg (`message.py`), the file of a name (`socketfile.py`).
Source: Kernel/Syscalls/{socket,sendfd}.cpp, Kernel/Net/{Socket,LocalSocket}.cpp of December 2022.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final

from ring3.abi.filerecords import RawTimeval, Seconds, Ucred
from ring3.abi.flags import Access, FileType, OpenFlags
from ring3.calls.descriptor import install, install_two
from ring3.calls.place import opened
from ring3.calls.serenity.argument import Params
from ring3.calls.serenity.place import most_descriptors
from ring3.calls.serenity.socketfile import make_file
from ring3.calls.socket import credentials, namespace, socket_of
from ring3.calls.sysarg import Addr, Fd, Int, Number, UInt
from ring3.calls.sysarg_files import Bits
from ring3.calls.syscall import syscall
from ring3.calls.transfer import SO_RCVTIMEO, SO_SNDTIMEO, Answer, retry
from ring3.errors import (
    EACCES,
    EAFNOSUPPORT,
    EAGAIN,
    EBUSY,
    ECONNREFUSED,
    EFAULT,
    EINVAL,
    EISCONN,
    EISDIR,
    EMFILE,
    ENOPROTOOPT,
    ENOTCONN,
    ENOTSUP,
    EOPNOTSUPP,
)
from ring3.namedtuple import NamedTuple
from ring3.proc.lookup import namei_context
from ring3.proc.proc import Thread
from ring3.vfs.access import permission
from ring3.vfs.namei import namei
from ring3.vfs.socket import UnixSocket, make_socket, socketpair
from ring3.vfs.socketrecords import RAW, STREAM, UnixAddress

AF_LOCAL, AF_INET = 1, 2
TYPE_MASK: Final = 0xFF
SOCK_NONBLOCK, SOCK_CLOEXEC = 0o4000, 0o2000000
O_CLOEXEC: Final = 0x800
UN_SIZE: Final = 110                    # struct sockaddr_un
SHUT_RD, SHUT_WR = 1, 2
SOL_SOCKET: Final = 1
SCM_MOST: Final = 128                   # descriptors that may wait at one side
PAIR: Final = b"[socketpair]"           # what the two sides of a pair are called
(RCVTIMEO, SNDTIMEO, SO_TYPE, SO_ERROR, SO_PEERCRED, SO_RCVBUF, SO_SNDBUF, SO_DEBUG, SO_REUSEADDR, SO_BINDTODEVICE, SO_KEEPALIVE,
 SO_TIMESTAMP, SO_BROADCAST, SO_LINGER, SO_ACCEPTCONN, SO_DONTROUTE, SO_OOBINLINE) = range(17)
_TIMEOUTS: Final = {RCVTIMEO: SO_RCVTIMEO, SNDTIMEO: SO_SNDTIMEO}
_SWITCHES: Final = (SO_TIMESTAMP, SO_BROADCAST, SO_DEBUG, SO_DONTROUTE)     # an int that is kept and told
_OURS: Final = 1 << 16                  # where a socket's options keep them: no number of Linux's
_SECOND: Final = 1_000_000_000

Domain = Annotated[int, Number({0: "AF_UNSPEC", 1: "AF_LOCAL", 2: "AF_INET", 3: "AF_INET6"})]
How = Annotated[int, Bits({SHUT_RD: "SHUT_RD", SHUT_WR: "SHUT_WR"})]


class Accept4Params(NamedTuple):
    """Where the other side's name goes, the listener, SOCK_NONBLOCK and SOCK_CLOEXEC."""

    addr: Addr
    length: Addr
    fd: Fd
    flags: UInt


class PairParams(NamedTuple):
    """What both are, and where their two descriptors go."""

    domain: Domain
    kind: UInt
    protocol: Int
    fds: Addr


class NameParams(NamedTuple):
    """Whose name, and where it goes."""

    fd: Fd
    addr: Addr
    length: Addr


class GetOptionParams(NamedTuple):
    """Which option, and where its value goes."""

    fd: Fd
    level: Int
    option: Int
    value: Addr
    size: Addr


class SetOptionParams(NamedTuple):
    """Which option gets which value."""

    value: Addr
    fd: Fd
    level: Int
    option: Int
    size: UInt


def local_socket(t: Thread, fd: int) -> UnixSocket:
    """The socket behind `fd`, for who promised unix.  Raises EBADF, ENOTSOCK."""
    found = socket_of(t, fd)
    assert isinstance(found, UnixSocket)            # there are no others here
    t.needs("unix")
    return found


def _flags(kind: int) -> OpenFlags:
    return OpenFlags.NONBLOCK if kind & SOCK_NONBLOCK else OpenFlags(0)


# --- making
@syscall(pledge="")
def sys_socket(t: Thread, domain: Domain, kind: UInt, protocol: Int) -> int:
    """A socket.  Raises EACCES for a raw one of another than root, EAFNOSUPPORT for all but AF_LOCAL, EMFILE."""
    del protocol                        # a local socket asks for none
    if domain in (AF_LOCAL, AF_INET):
        t.needs("unix" if domain == AF_LOCAL else "inet")
    if kind & TYPE_MASK == RAW and not t.proc.cred.privileged:
        raise EACCES
    if domain != AF_LOCAL:
        raise EAFNOSUPPORT
    made = make_socket(namespace(t), AF_LOCAL, kind & TYPE_MASK, 0, _flags(kind), credentials(t))
    return install(t, made, cloexec=bool(kind & SOCK_CLOEXEC))


@syscall(pledge="")
def sys_socketpair(t: Thread, params: Annotated[PairParams, Params(PairParams, "<iIi4xQ")]) -> int:
    """Two sockets tied to each other.  Raises EINVAL for another domain or protocol, EMFILE, EFAULT."""
    if params.domain != AF_LOCAL or params.protocol not in (0, AF_LOCAL):
        raise EINVAL
    kind = params.kind
    pair = socketpair(namespace(t), AF_LOCAL, kind & TYPE_MASK, 0, _flags(kind), credentials(t))
    fds = install_two(t, *pair, cloexec=bool(kind & SOCK_CLOEXEC))
    try:
        t.proc.vm.copyout(params.fds, b"".join([fd.to_bytes(4, "little") for fd in fds]))
    except EFAULT:
        for fd in fds:
            t.proc.fds.close(fd)
        raise
    return 0


# --- names and connections
def read_path(t: Thread, addr: int, length: int) -> bytes:
    """The path of a struct sockaddr_un.  Raises EINVAL for another family, none, and more than the struct holds; EFAULT."""
    if length > UN_SIZE:
        raise EINVAL
    data = t.proc.vm.copyin(addr, length)
    if int.from_bytes(data[:2], "little") != AF_LOCAL:
        raise EINVAL
    path = data[2:].partition(b"\0")[0]
    if not path:
        raise EINVAL
    return path


@syscall(pledge="")
def sys_bind(t: Thread, fd: Fd, addr: Addr, length: UInt) -> int:
    """Give a socket a name: a file that is made.  Raises EADDRINUSE for a path that is there, EINVAL, EFAULT, EACCES."""
    socket = local_socket(t, fd)
    path = read_path(t, addr, length)
    socket.bind(UnixAddress(path), lambda path: make_file(t, socket, path))
    return 0


@syscall(pledge="")
def sys_listen(t: Thread, fd: Fd, backlog: Int) -> int:
    """Take connections.  Raises EINVAL for a negative backlog, a connected socket and one without a name; EOPNOTSUPP."""
    if backlog < 0:
        raise EINVAL
    socket = local_socket(t, fd)
    if socket.connected:
        raise EINVAL
    if socket.kind != STREAM:
        raise EOPNOTSUPP
    socket.listen(backlog, credentials(t))
    return 0


@syscall(pledge="")
def sys_connect(t: Thread, fd: Fd, addr: Addr, length: UInt) -> int:
    """Connect to a name.  Raises EINVAL, EISCONN, what opening the file for both does, ECONNREFUSED where nobody takes it."""
    socket = local_socket(t, fd)
    path = read_path(t, addr, length)
    if socket.connected:
        raise EISCONN
    vnode = namei(namei_context(t), path, access=Access.READ | Access.WRITE).vnode
    permission(t.proc.cred, vnode.getattr(), Access.READ | Access.WRITE)
    if vnode.type == FileType.DIR:
        raise EISDIR
    if vnode.type != FileType.SOCK:
        raise ECONNREFUSED
    ns = namespace(t)
    other = ns.find(UnixAddress(path), vnode)
    if other.kind == STREAM and len(other.pending) >= other.backlog:
        raise ECONNREFUSED
    socket.connect(UnixAddress(path), vnode, credentials(t))
    return 0


@syscall(pledge="accept")
def sys_accept4(t: Thread, params: Annotated[Accept4Params, Params(Accept4Params, "<QQiI")]) -> Answer:
    """The next connection to a listening socket.  EFAULT, EBADF, ENOTSOCK, EAGAIN, EINTR, EMFILE; EINVAL unless it listens."""
    room = int.from_bytes(t.proc.vm.copyin(params.length, 4), "little") if params.addr else 0
    listener = socket_of(t, params.fd)
    assert isinstance(listener, UnixSocket)
    attempt = partial(_accept, t, listener, params, room)
    try:
        return attempt()
    except EAGAIN:
        if listener.nonblocking:
            raise
    return retry(listener, attempt)


def _accept(t: Thread, listener: UnixSocket, params: Accept4Params, room: int) -> int:
    end = listener.accept(_flags(params.flags))
    fd = install(t, end, cloexec=bool(params.flags & SOCK_CLOEXEC))
    if params.addr:
        try:
            put_name(t, end, params.addr, params.length, room)
        except EFAULT:
            t.proc.fds.close(fd)
            raise
    return fd


def put_name(t: Thread, socket: UnixSocket, addr: int, length_at: int, room: int) -> None:
    """A socket's name as a struct sockaddr_un, and how long it is.  Both sides are called by the listener's.  Raises EFAULT."""
    peer = socket.peer
    path = socket.address.path or (peer.address.path if peer is not None else b"") or (PAIR if socket.connected else b"")
    data = (AF_LOCAL.to_bytes(2, "little") + (path + b"\0" if path else b""))[: min(room, UN_SIZE)]
    t.proc.vm.copyout(addr, data)
    t.proc.vm.copyout(length_at, len(data).to_bytes(4, "little"))


def _tell_name(t: Thread, params: NameParams) -> int:
    room = int.from_bytes(t.proc.vm.copyin(params.length, 4), "little")
    if not room:
        raise EINVAL
    put_name(t, local_socket(t, params.fd), params.addr, params.length, room)
    return 0


@syscall(pledge="")
def sys_getsockname(t: Thread, params: Annotated[NameParams, Params(NameParams, "<i4xQQ")]) -> int:
    """A socket's name: that of the listener, on both sides.  Raises EFAULT, EINVAL for no room, EBADF, ENOTSOCK."""
    return _tell_name(t, params)


@syscall(pledge="")
def sys_getpeername(t: Thread, params: Annotated[NameParams, Params(NameParams, "<i4xQQ")]) -> int:
    """The other side's name, which is one's own: the two are one object there.  Without another side it is one's own too."""
    return _tell_name(t, params)


@syscall(pledge="stdio")
def sys_shutdown(t: Thread, fd: Fd, how: How) -> int:
    """End one or both directions of a connection.  Raises EINVAL, EBADF, ENOTSOCK, ENOTCONN."""
    if how & ~(SHUT_RD | SHUT_WR):
        raise EINVAL
    socket = local_socket(t, fd)
    if socket.listening or (socket.kind == STREAM and not socket.connected):
        raise ENOTCONN
    if how:
        socket.shutdown(how - 1)
    return 0


# --- descriptors
@syscall(pledge="sendfd")
def sys_sendfd(t: Thread, sockfd: Fd, fd: Fd) -> int:
    """Hand an open file to the other side.  Raises EBADF, ENOTSOCK, ENOTCONN, EINVAL; EBUSY where 129 wait already."""
    socket = socket_of(t, sockfd)
    assert isinstance(socket, UnixSocket)
    if not socket.connected:
        raise ENOTCONN
    file = opened(t, fd)
    peer = socket.peer
    if peer is None or peer.closed:
        raise ENOTCONN
    if not file.inherited:
        raise EINVAL                    # a queue of another system's that stays with its process
    if len(peer.passed) > SCM_MOST:
        raise EBUSY
    peer.pass_file(file)
    return 0


@syscall(pledge="recvfd")
def sys_recvfd(t: Thread, sockfd: Fd, options: UInt) -> int:
    """Take a file the other side handed over, maybe O_CLOEXEC.  EBADF, ENOTSOCK, EINVAL, EMFILE; EAGAIN where there is none."""
    socket = socket_of(t, sockfd)
    if not socket.connected:
        raise EINVAL
    limit = most_descriptors(t)
    if t.proc.fds.lowest() >= limit:
        raise EMFILE                    # before a file is taken, which would be lost
    file = socket.take_file()
    try:
        return t.proc.fds.install(file, cloexec=bool(options & O_CLOEXEC), limit=limit)
    finally:
        file.release()


# --- options
@syscall(pledge="")
def sys_setsockopt(t: Thread, params: Annotated[SetOptionParams, Params(SetOptionParams, "<QiiiI")]) -> int:
    """Set an option.  Raises EBADF, ENOTSOCK, ENOPROTOOPT, EINVAL for another size, EFAULT."""
    socket = local_socket(t, params.fd)
    if params.level != SOL_SOCKET:
        raise ENOPROTOOPT
    option, abi = params.option, t.system.call_abi(t)
    if option in _TIMEOUTS:
        layout = abi.layouts[RawTimeval]
        if params.size != layout.size:
            raise EINVAL
        wanted: Seconds = layout.decode(t.proc.vm.copyin(params.value, layout.size))
        ns = wanted.seconds * _SECOND + wanted.fraction * 1000
        socket.options[_TIMEOUTS[option]] = max(ns, 0)
    elif option in _SWITCHES:
        if params.size != 4:
            raise EINVAL
        socket.options[_OURS | option] = int.from_bytes(t.proc.vm.copyin(params.value, 4), "little", signed=True)
    elif option != SO_KEEPALIVE:        # which nobody has to keep
        raise ENOPROTOOPT
    return 0


@syscall(pledge="")
def sys_getsockopt(t: Thread, params: Annotated[GetOptionParams, Params(GetOptionParams, "<iii4xQQ")]) -> int:
    """Ask for an option.  Raises EFAULT, EBADF, ENOTSOCK, ENOPROTOOPT, EINVAL for too little room, ENOTSUP for sizes of buffers."""
    vm = t.proc.vm
    room = int.from_bytes(vm.copyin(params.size, 4), "little")
    data = _option(t, local_socket(t, params.fd), params.level, params.option)
    if room < len(data):
        raise EINVAL
    vm.copyout(params.value, data)
    vm.copyout(params.size, len(data).to_bytes(4, "little"))
    return 0


def _option(t: Thread, socket: UnixSocket, level: int, option: int) -> bytes:
    """The bytes of an option's value.  Raises ENOPROTOOPT, ENOTSUP, EINVAL."""
    if level != SOL_SOCKET:
        raise ENOPROTOOPT
    layouts: Any = t.system.call_abi(t).layouts
    if option in _TIMEOUTS:
        ns = socket.options.get(_TIMEOUTS[option], 0)
        return bytes(layouts[RawTimeval].encode(Seconds(ns // _SECOND, ns % _SECOND // 1000)))
    if option in (SO_RCVBUF, SO_SNDBUF):
        raise ENOTSUP
    if option == SO_PEERCRED:
        if not socket.connected:
            raise EINVAL
        return bytes(layouts[Ucred].encode(socket.peer_cred))
    if option == SO_ERROR:
        pending = socket.take_error()
        number = 0 if pending is None else t.system.call_abi(t).errno[pending]
    elif option in (SO_TYPE, SO_ACCEPTCONN):
        number = socket.kind if option == SO_TYPE else int(socket.listening)
    elif option in _SWITCHES:
        number = socket.options.get(_OURS | option, 0)
    else:
        raise ENOPROTOOPT
    return number.to_bytes(4, "little", signed=True)
