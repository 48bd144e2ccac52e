"""sendfile, copy_file_range, splice, tee, vmsplice."""

from __future__ import annotations

import signal
import struct

import pytest

from ring3.errors import EAGAIN, EBADF, EINVAL, EISDIR, EPIPE, ESPIPE, EXDEV
from tests.unit.calls.conftest import Guest


def pipe(g: Guest) -> tuple[int, int]:
    fds = g.room(8)
    g.call("pipe2", fds, 0)
    return g.word(fds), g.word(fds + 4)


def content(g: Guest, path: str) -> bytes:
    fd = g.call("open", path, 0, 0)
    buf = g.room(64)
    data = g.get(buf, g.call("read", fd, buf, 64))
    g.call("close", fd)
    return data


@pytest.fixture
def source(g: Guest) -> int:
    fd = g.open("/a")
    g.call("write", fd, g.put(b"0123456789"), 10)
    return g.call("open", "/a", 0, 0)


def offset(g: Guest, value: int) -> int:
    return g.put(struct.pack("<q", value))


def test_copy_file_range(g: Guest, source: int) -> None:
    target = g.open("/b")
    at = offset(g, 2)
    assert g.call("copy_file_range", source, at, target, 0, 5, 0) == 5
    assert struct.unpack("<q", g.get(at, 8)) == (7,)
    assert g.call("copy_file_range", source, 0, target, 0, 100, 0) == 10
    assert g.call("copy_file_range", source, 0, target, 0, 100, 0) == 0
    assert content(g, "/b") == b"234560123456789"
    reading, writing = pipe(g)
    for words, refusal in (
        ((source, 0, target, 0, 1, 1), EINVAL), ((target, 0, source, 0, 1, 0), EBADF), ((source, 0, writing, 0, 1, 0), EINVAL),
        ((reading, 0, target, 0, 1, 0), EINVAL), ((g.call("open", "/", 0, 0), 0, target, 0, 1, 0), EISDIR),
        ((target, offset(g, 0), target, offset(g, 1), 5, 0), EINVAL),
    ):
        with pytest.raises(refusal):
            g.call("copy_file_range", *words)
    g.call("mkdir", "/m", 0o755)
    g.call("mount", 0, "/m", "tmpfs", 0, 0)
    with pytest.raises(EXDEV):
        g.call("copy_file_range", source, offset(g, 0), g.open("/m/f"), 0, 5, 0)


def test_sendfile(g: Guest, source: int) -> None:
    target = g.open("/b")
    at = offset(g, 1)
    assert g.call("sendfile", target, source, at, 3) == 3
    assert struct.unpack("<q", g.get(at, 8)) == (4,)
    assert g.call("lseek", source, 0, 1) == 0
    assert g.call("sendfile", target, source, 0, 4) == 4
    assert g.call("lseek", source, 0, 1) == 4
    assert content(g, "/b") == b"1230123"
    reading, writing = pipe(g)
    for words, refusal in (
        ((source, source, 0, 1), EBADF), ((target, 99, 0, 1), EBADF), ((target, reading, 0, 1), EINVAL),
        ((target, reading, offset(g, 0), 1), ESPIPE), ((g.open("/c", 1 | 0o100 | 0o2000), source, 0, 1), EINVAL),
    ):
        with pytest.raises(refusal):
            g.call("sendfile", *words)
    short = g.put(struct.pack("<i", 8))
    assert g.call32("sendfile", writing, source, short, 100) == 2
    assert g.word(short) == 10


def test_sendfile_waits_for_a_full_pipe(g: Guest) -> None:
    fd = g.open("/big")
    g.call("ftruncate", fd, 100_000)
    reading, writing = pipe(g)
    sleeper = g.sleep("sendfile", writing, fd, 0, 200_000)
    buf = g.room(1 << 16)
    assert g.call("read", reading, buf, 1 << 16) == 1 << 16
    assert sleeper.resume() == 100_000
    sleeper = g.sleep("sendfile", writing, fd, offset(g, 0), 200_000)
    g.catch(signal.SIGPIPE)
    g.call("close", reading)
    assert sleeper.resume() > 0
    with pytest.raises(EPIPE):
        g.call("sendfile", writing, fd, offset(g, 0), 10)


def test_splice(g: Guest, source: int) -> None:
    reading, writing = pipe(g)
    at = offset(g, 3)
    assert g.call("splice", source, at, writing, 0, 4, 0) == 4
    assert struct.unpack("<q", g.get(at, 8)) == (7,)
    target = g.open("/b")
    assert g.call("splice", reading, 0, target, 0, 100, 0) == 4
    assert content(g, "/b") == b"3456"
    sleeper = g.sleep("splice", reading, 0, target, offset(g, 0), 100, 0)
    g.call("write", writing, g.put(b"XY"), 2)
    assert sleeper.resume() == 2
    assert content(g, "/b") == b"XY56"
    with pytest.raises(EAGAIN):
        g.call("splice", reading, 0, target, 0, 10, 2)
    for words, refusal in (
        ((source, 0, target, 0, 4, 0), EINVAL), ((reading, at, target, 0, 4, 0), ESPIPE), ((reading, 0, writing, 0, 4, 0), EINVAL),
        ((reading, 0, source, 0, 4, 0), EBADF), ((source, 0, writing, 0, 4, 0x100), EINVAL),
    ):
        with pytest.raises(refusal):
            g.call("splice", *words)
    assert g.call("splice", 99, 0, 98, 0, 0, 0) == 0


def test_tee_leaves_what_it_copies(g: Guest) -> None:
    (r1, w1), (r2, w2) = pipe(g), pipe(g)
    g.call("write", w1, g.put(b"abcdef"), 6)
    assert g.call("tee", r1, w2, 4, 0) == 4
    buf = g.room(16)
    assert g.call("read", r2, buf, 16) == 4
    assert g.call("read", r1, buf, 16) == 6
    with pytest.raises(EINVAL):
        g.call("tee", r1, w1, 1, 0)
    with pytest.raises(EBADF):
        g.call("tee", w1, w2, 1, 0)


def test_vmsplice(g: Guest) -> None:
    reading, writing = pipe(g)
    out = g.put(struct.pack("<QQ", g.put(b"vm"), 2))
    assert g.call("vmsplice", writing, out, 1, 0) == 2
    buf = g.room(8)
    assert g.call("vmsplice", reading, g.put(struct.pack("<QQ", buf, 8)), 1, 0) == 2
    assert g.get(buf, 2) == b"vm"
    with pytest.raises(EBADF):
        g.call("vmsplice", g.open("/f"), out, 1, 0)
