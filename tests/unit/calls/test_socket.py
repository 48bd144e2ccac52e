"""Sockets and messages."""

from __future__ import annotations

import signal
import struct

import pytest

from ring3.errors import (
    EACCES,
    EADDRINUSE,
    EAFNOSUPPORT,
    EAGAIN,
    EBADF,
    ECONNREFUSED,
    EDOM,
    EFAULT,
    EINTR,
    EINVAL,
    EMSGSIZE,
    ENOENT,
    ENOPROTOOPT,
    ENOTCONN,
    ENOTSOCK,
    EPERM,
    EPIPE,
)
from ring3.proc.cred import Cred
from ring3.waiting import Interrupted
from tests.unit.calls.conftest import Guest

STREAM, DGRAM, SEQPACKET = 1, 2, 5
DONTWAIT, PEEK, WAITALL, NOSIGNAL, TRUNC, CTRUNC = 0x40, 2, 0x100, 0x4000, 0x20, 8


def pair(g: Guest, kind: int = STREAM) -> tuple[int, int]:
    fds = g.room(8)
    assert g.call("socketpair", 1, kind, 0, fds) == 0
    return g.word(fds), g.word(fds + 4)


def name(g: Guest, path: bytes) -> tuple[int, int]:
    data = struct.pack("<H", 1) + path
    return g.put(data), len(data)


def msghdr(g: Guest, buf: int, size: int, control: int = 0, controllen: int = 0, addr: int = 0, addrlen: int = 0) -> int:
    iov = g.put(struct.pack("<QQ", buf, size))
    return g.put(struct.pack("<QI4xQQQQI4x", addr, addrlen, iov, 1, control, controllen, 0))


def read_msghdr(g: Guest, addr: int) -> tuple[int, ...]:
    return struct.unpack("<QI4xQQQQI4x", g.get(addr, 56))


def rights(g: Guest, *fds: int) -> tuple[int, int]:
    data = struct.pack("<Qii", 16 + 4 * len(fds), 1, 1) + struct.pack(f"<{len(fds)}i", *fds)
    return g.put(data), len(data)


def test_a_pair_talks(g: Guest) -> None:
    a, b = pair(g)
    assert g.call("sendto", a, b"hello", 5, 0, 0, 0) == 5
    buf = g.room(16)
    assert g.call("recvfrom", b, buf, 16, PEEK, 0, 0) == 5
    assert g.call("recvfrom", b, buf, 2, 0, 0, 0) == 2
    assert g.call("read", b, buf, 16) == 3
    assert g.get(buf, 3) == b"llo"
    with pytest.raises(EAGAIN):
        g.call("recvfrom", b, buf, 16, DONTWAIT, 0, 0)
    sleeper = g.sleep("recvfrom", b, buf, 4, WAITALL, 0, 0)
    g.call("write", a, g.put(b"ab"), 2)
    assert sleeper.resume() is None
    g.call("write", a, g.put(b"cdef"), 4)
    assert sleeper.resume() == 4
    assert g.get(buf, 4) == b"abcd"
    with pytest.raises(EINVAL):
        g.call("sendto", a, b"x", 1 << 63, 0, 0, 0)


def test_refusals(g: Guest) -> None:
    with pytest.raises(EAFNOSUPPORT):
        g.call("socket", 17, STREAM, 0)
    with pytest.raises(EINVAL):
        g.call("socket", 1, STREAM | 0x100, 0)
    fd = g.open("/f")
    with pytest.raises(ENOTSOCK):
        g.call("listen", fd, 1)
    with pytest.raises(EBADF):
        g.call("shutdown", 99, 0)
    with pytest.raises(EFAULT):
        g.call("socketpair", 1, STREAM, 0, 8)
    s = g.call("socket", 1, STREAM | 0o2000000 | 0o4000, 0)
    assert g.p.fds.cloexec == {s}
    with pytest.raises(ENOTCONN):
        g.call("sendto", s, b"x", 1, 0, 0, 0)


def test_names_in_the_file_system(g: Guest) -> None:
    server = g.call("socket", 1, STREAM, 0)
    addr, length = name(g, b"/tmp/s\0")
    assert g.call("bind", server, addr, length) == 0
    with pytest.raises(EADDRINUSE):
        g.call("bind", g.call("socket", 1, STREAM, 0), addr, length)
    client = g.call("socket", 1, STREAM, 0)
    with pytest.raises(ECONNREFUSED):
        g.call("connect", client, addr, length)
    assert g.call("listen", server, 5) == 0
    sleeper = g.sleep("accept4", server, 0, 0, 0o2000000)
    assert g.call("connect", client, addr, length) == 0
    end = sleeper.resume()
    assert end in g.p.fds.cloexec
    assert g.call("write", client, g.put(b"x"), 1) == 1
    assert g.call("read", end, g.room(1), 1) == 1
    out, out_len = g.room(128), g.put(struct.pack("<i", 128))
    assert g.call("getpeername", client, out, out_len) == 0
    assert g.word(out_len) == 2 + 7
    assert g.get(out, 9) == struct.pack("<H", 1) + b"/tmp/s\0"
    assert g.call("getsockname", client, out, out_len) == 0
    assert g.word(out_len) == 2
    with pytest.raises(ENOENT):
        g.call("connect", g.call("socket", 1, STREAM, 0), *name(g, b"/tmp/none"))
    g.open("/tmp/file")
    with pytest.raises(ECONNREFUSED):
        g.call("connect", g.call("socket", 1, STREAM, 0), *name(g, b"/tmp/file"))
    g.p.cred = Cred(5, 5, 5, 5)
    with pytest.raises(EACCES):
        g.call("connect", g.call("socket", 1, STREAM, 0), addr, length)
    for bad in ((addr, 2), (addr, 200), (addr, -1)):
        with pytest.raises(EINVAL):
            g.call("connect", client, *bad)


def test_abstract_datagrams(g: Guest) -> None:
    a, b = g.call("socket", 1, DGRAM, 0), g.call("socket", 1, DGRAM, 0)
    assert g.call("bind", a, *name(g, b"\0server")) == 0
    assert g.call("bind", b, *name(g, b"")) == 0
    assert g.call("sendto", b, b"ping", 4, 0, *name(g, b"\0server")) == 4
    buf, out, out_len = g.room(16), g.room(128), g.put(struct.pack("<i", 128))
    assert g.call("recvfrom", a, buf, 2, TRUNC, out, out_len) == 4
    assert g.word(out_len) == 2 + 6
    assert g.get(out + 2, 1) == b"\0"
    assert g.call("sendto", b, b"", 0, 0, *name(g, b"\0server")) == 0
    assert g.call("recvfrom", a, buf, 16, 0, 0, 0) == 0
    with pytest.raises(EMSGSIZE):
        g.call("sendto", b, g.room(1 << 20), 1 << 20, 0, *name(g, b"\0server"))
    assert g.call("connect", b, *name(g, b"\0server")) == 0
    assert g.call("connect", b, g.put(bytes(2)), 2) == 0


def test_files_go_along(g: Guest) -> None:
    a, b = pair(g)
    fd = g.open("/f")
    control, size = rights(g, fd)
    assert g.call("sendmsg", a, msghdr(g, g.put(b"x"), 1, control, size), 0) == 1
    g.call("close", fd)
    buf, room = g.room(8), g.room(64)
    header = msghdr(g, buf, 8, room, 64)
    assert g.call("recvmsg", b, header, 0x40000000) == 1
    controllen, flags = read_msghdr(g, header)[5:]
    assert (controllen, flags) == (24, 0x40000000)
    length, level, kind, new = struct.unpack("<Qiii", g.get(room, 20))
    assert (length, level, kind) == (20, 1, 1)
    assert new in g.p.fds.cloexec
    assert g.call("write", new, g.put(b"y"), 1) == 1
    assert g.p.fds.get(new).refs == 1
    control, size = rights(g, new, a, b)
    g.call("sendmsg", a, msghdr(g, g.put(b"x"), 1, control, size), 0)
    header = msghdr(g, buf, 8, room, 20)
    before = len(g.p.fds)
    g.call("recvmsg", b, header, 0)
    assert read_msghdr(g, header)[6] == CTRUNC
    assert len(g.p.fds) == before + 1
    with pytest.raises(EBADF):
        g.call("sendmsg", a, msghdr(g, buf, 1, *rights(g, 99)), 0)


def test_credentials(g: Guest) -> None:
    a, b = pair(g)
    one = g.put(struct.pack("<i", 1))
    assert g.call("setsockopt", b, 1, 16, one, 4) == 0
    g.call("write", a, g.put(b"x"), 1)
    buf, room = g.room(8), g.room(64)
    header = msghdr(g, buf, 8, room, 64)
    g.call("recvmsg", b, header, 0)
    assert read_msghdr(g, header)[5] == 32
    assert struct.unpack("<QiiiII", g.get(room, 28)) == (28, 1, 2, g.p.pid, 0, 0)
    g.p.cred = Cred(5, 5, 5, 5)
    lie = struct.pack("<QiiiII", 28, 1, 2, g.p.pid, 0, 0)
    with pytest.raises(EPERM):
        g.call("sendmsg", a, msghdr(g, buf, 1, g.put(lie), 28), 0)
    out, out_len = g.room(12), g.put(struct.pack("<i", 12))
    assert g.call("getsockopt", a, 1, 17, out, out_len) == 0
    assert struct.unpack("<iII", g.get(out, 12)) == (g.p.pid, 0, 0)


def test_messages_of_i386(g: Guest) -> None:
    a, b = pair(g)
    fd = g.open("/f")
    iov = g.put(struct.pack("<II", g.put(b"x"), 1))
    control = g.put(struct.pack("<Iiii", 16, 1, 1, fd))
    header = g.put(struct.pack("<7I", 0, 0, iov, 1, control, 16, 0))
    words = g.put(struct.pack("<3I", a, header, 0))
    assert g.call32("socketcall", 16, words) == 1
    room = g.room(32)
    header = g.put(struct.pack("<7I", 0, 0, iov, 1, room, 32, 0))
    assert g.call32("recvmsg", b, header, 0) == 1
    assert struct.unpack("<Iii", g.get(room, 12)) == (16, 1, 1)
    words = g.put(struct.pack("<4I", a, g.put(b"hi"), 2, 0))
    assert g.call32("socketcall", 9, words) == 2
    with pytest.raises(EINVAL):
        g.call32("socketcall", 99, words)


def test_several_messages(g: Guest) -> None:
    a, b = pair(g, DGRAM)

    def headers(*bufs: int) -> int:
        return g.put(b"".join(
            struct.pack("<QI4xQQQQI4xI4x", 0, 0, g.put(struct.pack("<QQ", buf, 4)), 1, 0, 0, 0, 0) for buf in bufs))

    assert g.call("sendmmsg", a, headers(g.put(b"1111"), g.put(b"2222")), 2, 0) == 2
    one, two, three = g.room(4), g.room(4), g.room(4)
    vector = headers(one, two, three)
    assert g.call("recvmmsg", b, vector, 3, 0x10000, 0) == 2
    assert g.get(one, 4) + g.get(two, 4) == b"11112222"
    assert g.word(vector + 64 + 56) == 4
    with pytest.raises(EAGAIN):
        g.call("recvmmsg", b, vector, 3, DONTWAIT, 0)


def test_a_stream_whose_reader_is_gone(g: Guest) -> None:
    a, b = pair(g)
    g.call("close", b)
    g.catch(signal.SIGPIPE)
    with pytest.raises(EPIPE):
        g.call("sendto", a, b"x", 1, NOSIGNAL, 0, 0)
    assert not g.signals
    with pytest.raises(EPIPE):
        g.call("write", a, g.put(b"x"), 1)
    assert g.signals == {signal.SIGPIPE}


def test_a_long_send_waits(g: Guest) -> None:
    a, b = pair(g)
    size = 600_000
    sleeper = g.sleep("sendto", a, g.room(size), size, 0, 0, 0)
    got, buf = 0, g.room(1 << 16)
    while got < size:
        got += g.call("recvfrom", b, buf, 1 << 16, 0, 0, 0)
        sleeper.resume()
    assert sleeper.resume() == size
    part = g.call("sendto", a, g.room(size), size, DONTWAIT, 0, 0)
    assert 0 < part < size


def test_timeouts(g: Guest) -> None:
    a, _ = pair(g)
    time = g.put(struct.pack("<qq", 2, 0))
    assert g.call("setsockopt", a, 1, 20, time, 16) == 0
    sleeper = g.sleep("read", a, g.room(1), 1)
    with pytest.raises(EAGAIN):
        sleeper.time_out()
    sleeper = g.sleep("recvfrom", a, g.room(1), 1, 0, 0, 0)
    with pytest.raises(EINTR):
        sleeper.interrupt()
    g.call("setsockopt", a, 1, 20, g.put(bytes(16)), 16)
    sleeper = g.sleep("read", a, g.room(1), 1)
    with pytest.raises(Interrupted):
        sleeper.interrupt()
    with pytest.raises(EDOM):
        g.call("setsockopt", a, 1, 20, g.put(struct.pack("<qq", 0, 1_000_000)), 16)
    with pytest.raises(EINVAL):
        g.call("setsockopt", a, 1, 20, time, 8)
    with pytest.raises(ENOPROTOOPT):
        g.call("setsockopt", a, 1, 999, time, 4)


def test_printing(g: Guest) -> None:
    assert g.show("socket", 1, STREAM | 0o2000000, 0) == "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0) = 0"
    assert g.show("bind", 0, *name(g, b"/tmp/s\0")) == 'bind(0, {sa_family=AF_UNIX, sun_path="/tmp/s"}, 9) = 0'
    assert g.show("connect", 0, *name(g, b"\0none")) == (
        'connect(0, {sa_family=AF_UNIX, sun_path=@"none"}, 7) = -1 ECONNREFUSED'
    )
    a, _ = pair(g)
    assert g.show("sendto", a, g.put(b"hi"), 2, NOSIGNAL, 0, 0) == f'sendto({a}, "hi", 2, MSG_NOSIGNAL, NULL, 0) = 2'
