import errno
import os
import random
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from ring3.abi.flags import FileType, OpenFlags
from ring3.errors import EADDRINUSE, EAFNOSUPPORT, EAGAIN, ECONNREFUSED, EPROTONOSUPPORT, ESOCKTNOSUPPORT
from ring3.vfs import socketrecords as ours
from ring3.vfs.memory import MemoryFS
from ring3.vfs.pipe import FIONREAD, AnonymousInodes, make_pipe
from ring3.vfs.socket import UnixSocket, make_socket, socketpair
from ring3.vfs.socketoptions import getsockopt, setsockopt
from ring3.vfs.socketqueue import DEFAULT_BUFFER, SocketNamespace
from ring3.vfs.socketrecords import Ucred, UnixAddress
from tests.unit.vfs.twins import HostFile, OurFile, Woken, attempt

ME = Ucred(os.getpid(), os.getuid(), os.getgid())
KINDS = [ours.STREAM, ours.DGRAM, ours.SEQPACKET]


class HostSocket(HostFile):
    """A host socket with the words of our `UnixSocket`."""

    made: ClassVar[list[socket.socket]] = []

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.made.append(sock)
        super().__init__(sock.fileno())

    def send(self, data: bytes) -> int:
        return self.sock.send(data, socket.MSG_NOSIGNAL)

    def recv(self, nbytes: int, flags: int = 0) -> tuple[bytes, int]:
        data, _, answer, _ = self.sock.recvmsg(nbytes, 0, flags)
        return data, answer & (ours.MSG_TRUNC | 0x80)

    def option(self, name: int) -> int:
        return self.sock.getsockopt(socket.SOL_SOCKET, name)

    def set_option(self, name: int, value: int) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, name, value)

    def shutdown(self, how: int) -> None:
        self.sock.shutdown(how)

    def bind(self, name: str) -> None:
        self.sock.bind("\0" + name)

    def connect(self, name: str) -> None:
        self.sock.connect("\0" + name)

    def listen(self, backlog: int) -> None:
        self.sock.listen(backlog)

    def accept(self) -> "HostSocket":
        return HostSocket(self.sock.accept()[0])

    def peername(self) -> bytes:
        name = self.sock.getpeername()
        return name if isinstance(name, bytes) else name.encode()

    def close(self) -> None:
        self.sock.close()


class OurSocket(OurFile):
    """Ours with the same words."""

    def __init__(self, sock: UnixSocket) -> None:
        super().__init__(sock)
        self.sock = sock

    def send(self, data: bytes) -> int:
        return self.sock.send(data)

    def recv(self, nbytes: int, flags: int = 0) -> tuple[bytes, int]:
        got = self.sock.recv(nbytes, flags=flags)
        return got.data, got.flags

    def option(self, name: int) -> int:
        if name == ours.SO_ERROR:               # the call's, since its number is the system's
            error = self.sock.take_error()
            return 0 if error is None else int(getattr(errno, error.__name__))
        value = getsockopt(self.sock, ours.SOL_SOCKET, name)
        assert isinstance(value, int)
        return value

    def set_option(self, name: int, value: int) -> None:
        setsockopt(self.sock, ours.SOL_SOCKET, name, value)

    def shutdown(self, how: int) -> None:
        self.sock.shutdown(how)

    def bind(self, name: str) -> None:
        self.sock.bind(UnixAddress(b"\0" + name.encode()), None)

    def connect(self, name: str) -> None:
        self.sock.connect(UnixAddress(b"\0" + name.encode()), None, ME)

    def listen(self, backlog: int) -> None:
        self.sock.listen(backlog, ME)

    def accept(self) -> "OurSocket":
        return OurSocket(self.sock.accept(OpenFlags(0)))

    def peername(self) -> bytes:
        return self.sock.getpeername().path


@pytest.fixture(autouse=True)
def _host_sockets_closed() -> Iterator[None]:
    yield
    while HostSocket.made:
        HostSocket.made.pop().close()


@pytest.fixture
def ns() -> SocketNamespace:
    return SocketNamespace(AnonymousInodes())


def unix(ns: SocketNamespace, kind: int) -> UnixSocket:
    made = make_socket(ns, ours.AF_UNIX, kind, 0, OpenFlags(0), ME)
    assert isinstance(made, UnixSocket)
    return made


def pairs(ns: SocketNamespace, kind: int) -> list[tuple[Any, Any]]:
    a, b = socket.socketpair(socket.AF_UNIX, kind)
    c, d = socketpair(ns, ours.AF_UNIX, kind, 0, OpenFlags(0), ME)
    return [(HostSocket(a), HostSocket(b)), (OurSocket(c), OurSocket(d))]


def traffic(a: Any, b: Any, rng: random.Random) -> list[Any]:
    seen: list[Any] = []
    for _ in range(60):
        near, far = (a, b) if rng.random() < 0.5 else (b, a)
        size = rng.choice((0, 1, 10, 700))
        if rng.random() < 0.5:
            data = rng.randbytes(size or 1)
            seen.append(("send", attempt(near.send, data)))
        else:
            flags = ours.MSG_PEEK if rng.random() < 0.3 else 0
            seen.append(("recv", attempt(near.recv, size or 5, flags)))
        seen.append((near.poll() & ~0x304, far.poll() & ~0x304, near.ioctl_int(FIONREAD)))
    return seen


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_traffic_as_on_host(ns: SocketNamespace, kind: int, seed: int) -> None:
    host, mine = [traffic(a, b, random.Random(seed)) for a, b in pairs(ns, kind)]
    assert mine == host


def closing(a: Any, b: Any) -> list[Any]:
    a.send(b"last words")
    a.close()
    return [
        b.poll(), attempt(lambda: b.recv(4)), attempt(lambda: b.recv(99)), attempt(lambda: b.recv(9)), b.poll(),
        attempt(lambda: b.send(b"x")), attempt(lambda: b.send(b"x")), attempt(b.peername),
    ]


def reset(a: Any, b: Any) -> list[Any]:
    b.send(b"unread")
    a.close()
    return [b.poll(), attempt(lambda: b.recv(4)), b.poll(), attempt(lambda: b.recv(4)), attempt(lambda: b.send(b"x"))]


def half_closed(a: Any, b: Any) -> list[Any]:
    a.send(b"q")
    a.shutdown(1)
    seen = [a.poll(), b.poll(), attempt(a.send, b"x"), b.recv(9), attempt(b.recv, 9), attempt(b.send, b"y")]
    seen += [attempt(lambda: a.recv(9))]
    b.shutdown(2)
    return [*seen, a.poll(), b.poll(), attempt(lambda: a.recv(1)), attempt(lambda: b.send(b"z"))]


def options(a: Any, b: Any) -> list[Any]:
    seen = [a.option(name) for name in (
        ours.SO_TYPE, ours.SO_ERROR, ours.SO_ACCEPTCONN, ours.SO_DOMAIN, ours.SO_PROTOCOL, ours.SO_SNDBUF, ours.SO_RCVBUF,
        ours.SO_PASSCRED, ours.SO_KEEPALIVE,
    )]
    for value in (1, 5000, 100000):
        b.set_option(ours.SO_SNDBUF, value)
        b.set_option(ours.SO_RCVBUF, value)
        seen += [b.option(ours.SO_SNDBUF), b.option(ours.SO_RCVBUF)]
    return [*seen, attempt(lambda: a.option(4711))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("story", [closing, reset, half_closed, options])
def test_story_as_on_host(ns: SocketNamespace, kind: int, story: Callable[[Any, Any], list[Any]]) -> None:
    host, mine = [story(a, b) for a, b in pairs(ns, kind)]
    assert mine == host


def served(new: Callable[[], Any], name: str) -> list[Any]:
    """A server's and a client's life."""
    server, client = new(), new()
    seen: list[Any] = [
        server.poll(), attempt(lambda: server.listen(1)), attempt(lambda: client.connect(name)), attempt(lambda: client.recv(1)),
        attempt(lambda: client.send(b"x")), attempt(client.peername),
    ]
    server.bind(name)
    seen += [attempt(lambda: client.bind(name)), attempt(server.accept), attempt(lambda: client.connect(name))]
    seen += [attempt(lambda: server.listen(0)), server.poll(), attempt(server.accept), server.option(ours.SO_ACCEPTCONN)]
    seen += [attempt(lambda: client.connect(name)), server.poll(), client.poll(), attempt(lambda: client.connect(name))]
    second, third = new(), new()
    seen += [attempt(lambda: second.connect(name)), attempt(lambda: third.connect(name))]
    end = attempt(server.accept)
    if isinstance(end, str):
        return [*seen, end]
    seen += [client.send(b"hello"), end.recv(9), end.poll(), end.peername(), client.peername(), attempt(third.connect, name)]
    server.close()
    return [*seen, second.poll(), attempt(lambda: second.recv(1)), attempt(lambda: new().connect(name)), end.poll()]


@pytest.mark.parametrize("kind", KINDS)
def test_listening_as_on_host(ns: SocketNamespace, kind: int) -> None:
    name = f"ring3-test-{os.getpid()}-{kind}"
    host = served(lambda: HostSocket(socket.socket(socket.AF_UNIX, kind)), name)
    mine = served(lambda: OurSocket(unix(ns, kind)), name)
    assert mine == host


def test_dgram_queue_is_bounded(ns: SocketNamespace) -> None:
    name = f"ring3-test-{os.getpid()}-full"
    a, b = (HostSocket(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) for _ in range(2))
    c, d = (OurSocket(unix(ns, ours.DGRAM)) for _ in range(2))
    for near, far in ((a, b), (c, d)):
        far.bind(name)
        near.connect(name)

    def fill(near: Any, far: Any) -> list[Any]:
        seen = [attempt(lambda: near.send(b"x")) for _ in range(13)]
        return [*seen, near.poll(), far.recv(1), near.poll()]

    assert fill(c, d) == fill(a, b)
    assert attempt(lambda: c.send(b"x" * 300000)) == attempt(lambda: a.send(b"x" * 300000)) == "EMSGSIZE"


def test_stream_backs_up_and_wakes(ns: SocketNamespace) -> None:
    a, b = socketpair(ns, ours.AF_UNIX, ours.STREAM, 0, OpenFlags(0), ME)
    sent = a.send(b"x" * 1_000_000)
    assert 100_000 < sent <= DEFAULT_BUFFER
    with pytest.raises(EAGAIN):
        a.send(b"x" * 100_000)
    woken = Woken()
    a.queue.add(woken)
    assert len(b.recv(1 << 20).data) == sent
    assert woken.times
    assert a.charged == 0


def test_files_travel(ns: SocketNamespace) -> None:
    a, b = socketpair(ns, ours.AF_UNIX, ours.STREAM, 0, OpenFlags(0), ME)
    reader, writer = make_pipe(ns.inodes, OpenFlags(0))
    reader.acquire()
    writer.acquire()
    a.send(b"plain")
    a.send(b"with", files=[writer])
    a.send(b"after")
    writer.release()
    assert writer.refs == 1
    first = b.recv(100)
    assert (first.data, list(first.files)) == (b"plain", [])
    second = b.recv(100)
    assert (second.data, list(second.files)) == (b"with", [writer])
    assert ns.in_flight == 0
    writer.release()
    assert reader.read(1) == b"", "the last writer is gone"
    assert b.recv(100).data == b"after"


def test_files_that_hold_each_other_end_with_the_kernel(ns: SocketNamespace) -> None:
    a, b = socketpair(ns, ours.AF_UNIX, ours.STREAM, 0, OpenFlags(0), ME)
    for end in (a, b):
        end.acquire()
    a.send(b"x", files=[b])
    b.send(b"x", files=[a])
    a.release()
    b.release()
    assert ns.in_flight == 2
    ns.close()
    assert ns.in_flight == 0
    assert (a.closed, b.closed) == (True, True)


def test_credentials(ns: SocketNamespace) -> None:
    a, b = socketpair(ns, ours.AF_UNIX, ours.STREAM, 0, OpenFlags(0), ME)
    assert getsockopt(b, ours.SOL_SOCKET, ours.SO_PEERCRED) == ME
    setsockopt(b, ours.SOL_SOCKET, ours.SO_PASSCRED, 1)
    other = Ucred(5, 6, 7)
    a.send(b"one")
    a.send(b"two", cred=other)
    assert b.recv(99)[::5] == (b"one", ME)
    assert b.recv(99)[::5] == (b"two", other)
    real, _ = socket.socketpair()
    assert struct.unpack("3i", real.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)) == ME
    real.close()
    _.close()


def test_paths(ns: SocketNamespace) -> None:
    root = MemoryFS().root()
    server = unix(ns, ours.STREAM)
    server.bind(UnixAddress(b"/s"), lambda path: root.create(path[1:], FileType.SOCK | 0o777, 0, 0))
    with pytest.raises(EADDRINUSE):
        unix(ns, ours.STREAM).bind(
            UnixAddress(b"/s"), lambda path: root.create(path[1:], FileType.SOCK | 0o777, 0, 0)
        )
    server.listen(5, ME)
    client = unix(ns, ours.STREAM)
    client.connect(UnixAddress(b"/s"), root.lookup(b"s"), ME)
    assert server.accept(OpenFlags(0)).getsockname() == client.getpeername() == UnixAddress(b"/s")
    server.acquire().release()
    with pytest.raises(ECONNREFUSED):
        unix(ns, ours.STREAM).connect(UnixAddress(b"/s"), root.lookup(b"s"), ME)


def test_what_there_is_not(ns: SocketNamespace) -> None:
    with pytest.raises(EAFNOSUPPORT):
        make_socket(ns, 17, ours.RAW, 0, OpenFlags(0), ME)
    with pytest.raises(ESOCKTNOSUPPORT):
        make_socket(ns, ours.AF_UNIX, 4, 0, OpenFlags(0), ME)
    with pytest.raises(EPROTONOSUPPORT):
        make_socket(ns, ours.AF_UNIX, ours.STREAM, 6, OpenFlags(0), ME)
