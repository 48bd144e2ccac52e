"""read, write and their kin."""

from __future__ import annotations

import signal
import struct

import pytest

from ring3.errors import (
    EAGAIN,
    EBADF,
    EFAULT,
    EFBIG,
    EINVAL,
    EISDIR,
    EOPNOTSUPP,
    EPIPE,
    ESPIPE,
)
from ring3.waiting import Interrupted
from tests.unit.calls.conftest import BASE, ROOM, Guest, Waits

PAST = BASE + ROOM


def iov(g: Guest, *parts: tuple[int, int]) -> int:
    return g.put(b"".join(struct.pack("<QQ", *part) for part in parts))


def pipe(g: Guest, flags: int = 0) -> tuple[int, int]:
    fds = g.room(8)
    g.call("pipe2", fds, flags)
    return g.word(fds), g.word(fds + 4)


def test_what_is_written_is_read(g: Guest) -> None:
    fd = g.open("/f")
    assert g.call("write", fd, g.put(b"hello"), 5) == 5
    buf = g.room(16)
    assert g.call("read", fd, buf, 16) == 0
    assert g.call("lseek", fd, 0, 0) == 0
    assert g.call("read", fd, buf, 16) == 5
    assert g.get(buf, 5) == b"hello"
    assert g.call("lseek", fd, -2, 1) == 3
    assert g.call("pread64", fd, buf, 2, 1) == 2
    assert g.get(buf, 2) == b"el"
    assert g.call("lseek", fd, 0, 1) == 3


@pytest.mark.parametrize("name", ["read", "write"])
def test_bad_descriptors(g: Guest, name: str) -> None:
    with pytest.raises(EBADF):
        g.call(name, 9, g.room(1), 1)
    with pytest.raises(EBADF):
        g.call(name, -1, g.room(1), 1)
    g.open("/f")
    fd = g.call("open", "/f", 1 if name == "read" else 0, 0)
    with pytest.raises(EBADF):
        g.call(name, fd, g.room(1), 1)
    path_fd = g.call("open", "/f", 0o10000000, 0)
    with pytest.raises(EBADF):
        g.call(name, path_fd, g.room(1), 1)


def test_directories_are_not_read(g: Guest) -> None:
    with pytest.raises(EISDIR):
        g.call("read", g.call("open", "/", 0, 0), g.room(1), 1)


def test_a_bad_buffer_takes_what_it_can(g: Guest) -> None:
    fd = g.open("/f")
    g.call("write", fd, g.put(b"0123456789"), 10)
    g.call("lseek", fd, 0, 0)
    with pytest.raises(EFAULT):
        g.call("read", fd, PAST, 5)
    assert g.call("lseek", fd, 0, 1) == 0
    assert g.call("read", fd, PAST - 4, 8) == 4
    assert g.call("lseek", fd, 0, 1) == 4
    assert g.get(PAST - 4, 4) == b"0123"
    with pytest.raises(EFAULT):
        g.call("write", fd, PAST, 1)
    assert g.call("write", fd, PAST, 0) == 0
    assert g.call("write", fd, PAST - 2, 8) == 2
    with pytest.raises(EFAULT):
        g.call("read", fd, BASE, 1 << 62)


def test_large_transfers_go_in_pieces(g: Guest) -> None:
    fd = g.open("/f")
    size = 3 << 20
    buf = g.room(size)
    g.p.vm.copyout(buf, bytes(range(256)) * (size // 256))
    assert g.call("write", fd, buf, size) == size
    g.call("lseek", fd, 0, 0)
    g.p.vm.copyout(buf, bytes(size))
    assert g.call("read", fd, buf, size + 100) == size
    assert g.get(buf + size - 256, 256) == bytes(range(256))


def test_vectors(g: Guest) -> None:
    fd = g.open("/f")
    assert g.call("writev", fd, iov(g, (g.put(b"abc"), 3), (0, 0), (g.put(b"defgh"), 5)), 3) == 8
    one, two = g.room(8), g.room(8)
    assert g.call("preadv", fd, iov(g, (one, 5), (two, 7)), 2, 1) == 7
    assert (g.get(one, 5), g.get(two, 2)) == (b"bcdef", b"gh")
    assert g.call("pwritev", fd, iov(g, (g.put(b"XY"), 2)), 1, 100) == 2
    assert g.call("lseek", fd, 0, 2) == 102
    for count in (-1, 1025):
        with pytest.raises(EINVAL):
            g.call("readv", fd, iov(g, (one, 1)), count)
    assert g.call("readv", fd, 0, 0) == 0
    with pytest.raises(EINVAL):
        g.call("readv", fd, iov(g, (one, 1), (two, (1 << 64) - 1)), 2)
    with pytest.raises(EFAULT):
        g.call("readv", fd, 8, 1)


def test_preadv2_at_minus_one_moves_the_offset(g: Guest) -> None:
    fd = g.open("/f")
    g.call("write", fd, g.put(b"abc"), 3)
    g.call("lseek", fd, 1, 0)
    buf = g.room(4)
    assert g.call("preadv2", fd, iov(g, (buf, 1)), 1, -1, 0, 0) == 1
    assert g.get(buf, 1) == b"b"
    assert g.call("lseek", fd, 0, 1) == 2
    with pytest.raises(EOPNOTSUPP):
        g.call("preadv2", fd, iov(g, (buf, 1)), 1, 0, 0, 0x1000)


def test_preadv2_of_i386_takes_an_offset_beyond_two_gigabytes(g: Guest) -> None:
    fd = g.open("/f")
    g.call("pwrite64", fd, g.put(b"far"), 3, 0xF000_0000)
    buf = g.room(4)
    assert g.call32("preadv2", fd, g.put(struct.pack("<II", buf, 4)), 1, 0xF000_0000, 0, 0) == 3
    assert g.get(buf, 3) == b"far"


def test_positions_of_pipes(g: Guest) -> None:
    reading, _ = pipe(g)
    for name in ("pread64", "lseek"):
        with pytest.raises(ESPIPE):
            g.call(name, reading, g.room(4) if name == "pread64" else 0, 1, 0)
    with pytest.raises(EINVAL):
        g.call("pread64", reading, g.room(4), 1, -1)
    with pytest.raises(EINVAL):
        g.call("lseek", g.open("/f"), 0, 99)


def test_a_reader_sleeps_until_something_comes(g: Guest) -> None:
    reading, writing = pipe(g)
    buf = g.room(8)
    sleeper = g.sleep("read", reading, buf, 8)
    assert sleeper.resume() is None
    assert g.call("write", writing, g.put(b"hi"), 2) == 2
    assert sleeper.resume() == 2
    assert g.get(buf, 2) == b"hi"
    assert g.call("read", reading, buf, 0) == 0


def test_a_reader_sees_the_end(g: Guest) -> None:
    reading, writing = pipe(g)
    sleeper = g.sleep("read", reading, g.room(8), 8)
    g.call("close", writing)
    assert sleeper.resume() == 0


def test_a_pipe_stays_open_for_whom_it_lets_wait(g: Guest) -> None:
    reading, writing = pipe(g)
    sleeper = g.sleep("read", reading, g.room(8), 8)
    g.call("close", reading)
    assert g.call("write", writing, g.put(b"x"), 1) == 1
    assert sleeper.resume() == 1
    g.catch(signal.SIGPIPE)
    with pytest.raises(EPIPE):
        g.call("write", writing, g.put(b"x"), 1)


def test_nonblocking(g: Guest) -> None:
    reading, writing = pipe(g, 0o4000)
    with pytest.raises(EAGAIN):
        g.call("read", reading, g.room(1), 1)
    size = 100_000
    assert g.call("write", writing, g.put(bytes(size)), size) == 65536
    with pytest.raises(EAGAIN):
        g.call("write", writing, g.put(b"x"), 1)


def test_a_blocking_write_writes_all(g: Guest) -> None:
    reading, writing = pipe(g)
    size = 150_000
    sleeper = g.sleep("write", writing, g.put(b"z" * size), size)
    got, buf = 0, g.room(65536)
    while sleeper.result is None:
        got += g.call("read", reading, buf, 65536)
        sleeper.resume()
    assert sleeper.result == size
    while got < size:
        got += g.call("read", reading, buf, 65536)
    assert got == size
    with pytest.raises(Waits):
        g.call("read", reading, buf, 1)


def test_an_interrupted_write_tells_what_went(g: Guest) -> None:
    _, writing = pipe(g)
    sleeper = g.sleep("write", writing, g.put(bytes(100_000)), 100_000)
    assert sleeper.interrupt() == 65536
    sleeper = g.sleep("write", writing, g.put(b"x"), 1)
    with pytest.raises(Interrupted):
        sleeper.interrupt()


def test_nobody_reads(g: Guest) -> None:
    reading, writing = pipe(g)
    g.catch(signal.SIGPIPE)
    sleeper = g.sleep("write", writing, g.put(bytes(100_000)), 100_000)
    g.call("close", reading)
    assert sleeper.resume() == 65536
    assert g.signals == {signal.SIGPIPE}
    with pytest.raises(EPIPE):
        g.call("write", writing, g.put(b"x"), 1)
    assert g.call("write", writing, g.put(b"x"), 0) == 0


def test_the_file_size_limit(g: Guest) -> None:
    g.catch(signal.SIGXFSZ)
    g.p.rlimits[1] = (8, 8)
    fd = g.open("/f")
    assert g.call("write", fd, g.put(b"0123456789"), 10) == 8
    assert not g.signals
    with pytest.raises(EFBIG):
        g.call("write", fd, g.put(b"x"), 1)
    assert g.signals == {signal.SIGXFSZ}
    with pytest.raises(EFBIG):
        g.call("ftruncate", fd, 20)
    assert g.call("pwrite64", fd, g.put(b"x"), 1, 3) == 1


def test_eventfd_takes_eight_bytes(g: Guest) -> None:
    fd = g.call("eventfd2", 0, 0)
    assert g.call("write", fd, g.put(struct.pack("<QQ", 3, 4)), 16) == 8
    buf = g.room(8)
    assert g.call("read", fd, buf, 8) == 8
    assert struct.unpack("<Q", g.get(buf, 8)) == (3,)


def test_syncing(g: Guest) -> None:
    fd = g.open("/f")
    reading, _ = pipe(g)
    assert g.call("fsync", fd) == 0
    assert g.call("syncfs", reading) == 0
    with pytest.raises(EINVAL):
        g.call("fsync", reading)
    with pytest.raises(ESPIPE):
        g.call("fadvise64", reading, 0, 0, 0)
    with pytest.raises(EINVAL):
        g.call("fadvise64", fd, 0, 0, 77)
    with pytest.raises(EINVAL):
        g.call("readahead", reading, 0, 1)


def test_offsets_of_i386(g: Guest) -> None:
    fd = g.open("/f")
    buf = g.put(b"far")
    assert g.call32("pwrite64", fd, buf, 3, 0, 1) == 3
    out = g.room(8)
    assert g.call32("_llseek", fd, 0, 0, out, 2) == 0
    assert struct.unpack("<q", g.get(out, 8)) == ((1 << 32) + 3,)
    assert g.call32("pread64", fd, g.room(4), 4, 1, 1) == 2
    small = g.put(struct.pack("<II", buf, 3))
    assert g.call32("pwritev", fd, small, 1, 0, 2) == 3
    assert g.call("lseek", fd, 0, 2) == (2 << 32) + 3


def test_printing(g: Guest) -> None:
    fd = g.open("/f")
    assert g.show("write", fd, b"hello\n", 6) == f'write({fd}, "hello\\n", 6) = 6'
    g.call("lseek", fd, 0, 0)
    assert g.show("read", fd, g.room(16), 16) == f'read({fd}, "hello\\n", 16) = 6'
    assert g.show("write", fd, g.put(b"a" * 50), 50) == f'write({fd}, "{"a" * 32}"..., 50) = 50'
    parts = iov(g, (g.put(b"ab"), 2), (g.put(b"c"), 1))
    assert g.show("writev", fd, parts, 2) == (
        f'writev({fd}, [{{iov_base="ab", iov_len=2}}, {{iov_base="c", iov_len=1}}], 2) = 3'
    )
    assert g.show("lseek", fd, 0, 0) == f"lseek({fd}, 0, SEEK_SET) = 0"
    assert g.show("read", 77, BASE, 1) == f"read(77, {BASE:#x}, 1) = -1 EBADF"
