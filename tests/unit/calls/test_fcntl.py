"""fcntl, flock and the locks behind them."""

from __future__ import annotations

import struct

import pytest

from ring3.errors import EAGAIN, EBADF, EBUSY, EDEADLK, EINVAL, EMFILE, EPERM, ESRCH
from ring3.proc.locks import LAST, FileLocks, Lock
from tests.unit.calls.conftest import Guest

RDLCK, WRLCK, UNLCK = 0, 1, 2
GETLK, SETLK, SETLKW, OFD_GETLK, OFD_SETLK, OFD_SETLKW = 5, 6, 7, 36, 37, 38


def flock(g: Guest, kind: int, start: int = 0, length: int = 0, whence: int = 0, pid: int = 0) -> int:
    return g.put(struct.pack("<hh4xqqi4x", kind, whence, start, length, pid))


def read_flock(g: Guest, addr: int) -> tuple[int, ...]:
    return struct.unpack("<hh4xqqi4x", g.get(addr, 32))


@pytest.fixture
def other(g: Guest) -> Guest:
    g.open("/f")
    return Guest(g.system, g)


def test_duplicates(g: Guest) -> None:
    fd = g.open("/f")
    assert g.call("fcntl", fd, 0, 20) == 20
    assert g.call("fcntl", fd, 1030, 20) == 21
    assert g.call("fcntl", 21, 1, 0) == 1
    for minimum in (-1, 1024):
        with pytest.raises(EINVAL):
            g.call("fcntl", fd, 0, minimum)
    g.p.rlimits[7] = (21, 21)
    with pytest.raises(EMFILE):
        g.call("fcntl", fd, 0, 20)
    with pytest.raises(EINVAL):
        g.call("fcntl", fd, 9999, 0)
    with pytest.raises(EBADF):
        g.call("fcntl", 99, 1, 0)


def test_status_flags_are_shared(g: Guest) -> None:
    fd = g.open("/f")
    g.call("dup", fd)
    assert g.call("fcntl", fd, 4, 0o2000 | 0o4000 | 0o100) == 0
    assert g.call("fcntl", 1, 3, 0) & 0o6100 == 0o6000
    assert g.call("fcntl", fd, 2, 1) == 0
    assert (g.call("fcntl", fd, 1, 0), g.call("fcntl", 1, 1, 0)) == (1, 0)


def test_path_descriptors_do_little(g: Guest) -> None:
    g.open("/f")
    fd = g.call("open", "/f", 0o10000000, 0)
    assert g.call("fcntl", fd, 3, 0) == 0o10000000
    with pytest.raises(EBADF):
        g.call("fcntl", fd, 4, 0)
    with pytest.raises(EBADF):
        g.call("flock", fd, 1)


def test_pipe_sizes(g: Guest) -> None:
    fds = g.room(8)
    g.call("pipe", fds)
    fd = g.word(fds + 4)
    assert g.call("fcntl", fd, 1032, 0) == 65536
    assert g.call("fcntl", fd, 1031, 5000) == 8192
    g.call("write", fd, g.put(bytes(8192)), 8192)
    with pytest.raises(EBUSY):
        g.call("fcntl", fd, 1031, 4096)
    with pytest.raises(EPERM):
        g.call("fcntl", fd, 1031, 1 << 24)
    with pytest.raises(EBADF):
        g.call("fcntl", g.open("/f"), 1032, 0)


def test_owners(g: Guest) -> None:
    fd = g.open("/f")
    assert g.call("fcntl", fd, 8, g.p.pid) == 0
    assert g.call("fcntl", fd, 9, 0) == g.p.pid
    out = g.room(8)
    assert g.call("fcntl", fd, 16, out) == 0
    assert struct.unpack("<ii", g.get(out, 8)) == (1, g.p.pid)
    with pytest.raises(ESRCH):
        g.call("fcntl", fd, 8, 30000)


def test_record_locks_of_two_processes(g: Guest, other: Guest) -> None:
    assert g.call("fcntl", 0, SETLK, flock(g, WRLCK, 10, 10)) == 0
    ask = flock(other, RDLCK)
    assert other.call("fcntl", 0, GETLK, ask) == 0
    assert read_flock(other, ask) == (WRLCK, 0, 10, 10, g.p.pid)
    with pytest.raises(EAGAIN):
        other.call("fcntl", 0, SETLK, flock(other, RDLCK))
    assert other.call("fcntl", 0, SETLK, flock(other, WRLCK, 0, 10)) == 0
    assert g.call("fcntl", 0, SETLK, flock(g, UNLCK, 12, 2)) == 0
    assert other.call("fcntl", 0, SETLK, flock(other, WRLCK, 12, 2)) == 0
    with pytest.raises(EAGAIN):
        other.call("fcntl", 0, SETLK, flock(other, WRLCK, 12, 3))
    ask = flock(g, WRLCK, 100)
    g.call("fcntl", 0, GETLK, ask)
    assert read_flock(g, ask)[0] == UNLCK


def test_closing_any_descriptor_of_the_file_unlocks(g: Guest, other: Guest) -> None:
    g.call("fcntl", 0, SETLK, flock(g, WRLCK))
    sleeper = other.sleep("fcntl", 0, SETLKW, flock(other, WRLCK))
    g.call("close", g.call("open", "/f", 0, 0))
    assert sleeper.resume() == 0
    with pytest.raises(EAGAIN):
        g.call("fcntl", 0, SETLK, flock(g, RDLCK))
    other.p.fds.release()
    assert g.call("fcntl", 0, SETLK, flock(g, RDLCK)) == 0


def test_locks_need_the_access_they_guard(g: Guest) -> None:
    g.open("/f")
    reading, writing = g.call("open", "/f", 0, 0), g.call("open", "/f", 1, 0)
    with pytest.raises(EBADF):
        g.call("fcntl", reading, SETLK, flock(g, WRLCK))
    with pytest.raises(EBADF):
        g.call("fcntl", writing, SETLK, flock(g, RDLCK))
    for bad in (flock(g, 7), flock(g, WRLCK, -1), flock(g, WRLCK, whence=9), flock(g, WRLCK, 5, -6)):
        with pytest.raises(EINVAL):
            g.call("fcntl", 0, SETLK, bad)


def test_a_deadlock_is_refused(g: Guest, other: Guest) -> None:
    g.call("fcntl", 0, SETLK, flock(g, WRLCK, 0, 1))
    other.call("fcntl", 0, SETLK, flock(other, WRLCK, 1, 1))
    sleeper = g.sleep("fcntl", 0, SETLKW, flock(g, WRLCK, 1, 1))
    with pytest.raises(EDEADLK):
        other.call("fcntl", 0, SETLKW, flock(other, WRLCK, 0, 1))
    other.call("fcntl", 0, SETLK, flock(other, UNLCK))
    assert sleeper.resume() == 0


def test_locks_of_descriptions(g: Guest) -> None:
    a, b = g.open("/f"), g.open("/f")
    assert g.call("fcntl", a, OFD_SETLK, flock(g, WRLCK)) == 0
    with pytest.raises(EAGAIN):
        g.call("fcntl", b, OFD_SETLK, flock(g, RDLCK))
    ask = flock(g, RDLCK)
    g.call("fcntl", b, OFD_GETLK, ask)
    assert read_flock(g, ask) == (WRLCK, 0, 0, 0, -1)
    with pytest.raises(EINVAL):
        g.call("fcntl", b, OFD_SETLK, flock(g, RDLCK, pid=5))
    sleeper = g.sleep("fcntl", b, OFD_SETLKW, flock(g, RDLCK))
    g.call("close", a)
    assert sleeper.resume() == 0


def test_i386_has_two_structs(g: Guest) -> None:
    g.open("/f")
    small = g.put(struct.pack("<hhiii", WRLCK, 0, 0, 5, 0))
    assert g.call32("fcntl", 0, SETLK, small) == 0
    with pytest.raises(EINVAL):
        g.call32("fcntl", 0, 13, small)
    large = g.put(struct.pack("<hhqqi", WRLCK, 0, 1 << 40, 5, 0))
    assert g.call32("fcntl64", 0, 13, large) == 0


def test_flock(g: Guest) -> None:
    a, b = g.open("/f"), g.open("/f")
    assert g.call("flock", a, 1) == 0
    assert g.call("flock", b, 1 | 4) == 0
    with pytest.raises(EAGAIN):
        g.call("flock", b, 2 | 4)
    g.call("flock", b, 8)
    sleeper = g.sleep("flock", b, 2)
    g.call("close", a)
    assert sleeper.resume() == 0
    with pytest.raises(EINVAL):
        g.call("flock", b, 7)
    with pytest.raises(EBADF):
        g.call("flock", 99, 1)


def test_a_lock_in_the_middle_splits_and_neighbours_merge() -> None:
    locks, key, me = FileLocks(), (1, 1), _Table()
    locks.put(key, Lock(me, WRLCK, 0, LAST, 5))
    locks.put(key, Lock(me, RDLCK, 10, 19, 5))
    stranger = _Table()
    assert locks.conflict(key, Lock(stranger, RDLCK, 10, 19, 6)) is None
    assert locks.conflict(key, Lock(stranger, RDLCK, 9, 9, 6)) == Lock(me, WRLCK, 0, 9, 5)
    assert locks.conflict(key, Lock(stranger, RDLCK, 20, 20, 6)) == Lock(me, WRLCK, 20, LAST, 5)
    locks.put(key, Lock(me, WRLCK, 10, 19, 5))
    assert locks.conflict(key, Lock(stranger, RDLCK, 30, 30, 6)) == Lock(me, WRLCK, 0, LAST, 5)


class _Table:
    """Owns locks."""

    locks: FileLocks | None = None
