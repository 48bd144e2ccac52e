"""Reading, writing, offsets, sizes, descriptors and locks of SerenityOS."""

from __future__ import annotations

import struct

import pytest

from ring3.abi.signals import Signal, bit
from ring3.errors import Errno
from tests.unit.calls.serenity.guest import (
    AT_FDCWD,
    O_CLOEXEC,
    O_CREAT,
    O_NONBLOCK,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    SerenityGuest,
    serenity_guest,
)
from tests.unit.calls.stage import BASE, ROOM, Sleeper, Stage

END = BASE + ROOM                                       # of the guest's memory: nothing is mapped behind it
F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_ISTTY, F_GETLK, F_SETLK, F_SETLKW = range(9)
FLOCK = "<hh4xqqi4x"


@pytest.fixture
def fd(g: SerenityGuest) -> int:
    """/file with ten digits in it, open for both, at its beginning."""
    made = g.open("/file", O_RDWR | O_CREAT, 0o644)
    g.call("write", made, g.put(b"0123456789"), 10)
    g.call("lseek", made, g.words(0), 0)
    return made


def seek(g: SerenityGuest, fd: int, offset: int, whence: int) -> int:
    place = g.words(offset)
    assert g.call("lseek", fd, place, whence) == 0
    return g.word(place)


# --- nothing at all
def test_no_bytes(g: SerenityGuest, fd: int) -> None:
    assert g.call("write", 99, 8, 0) == 0
    assert g.refusal("read", 99, 8, 0) == "EBADF"
    assert g.call("read", fd, 8, 0) == 0
    assert g.refusal("read", g.open("/", O_RDONLY), 8, 0) == "EISDIR"
    assert g.call("pread", 99, 8, 0, 8) == 0
    assert g.refusal("write", fd, 8, 1 << 63) == "EINVAL"


# --- memory that is not all there
def test_a_read_is_whole_or_not_at_all(g: SerenityGuest, fd: int) -> None:
    zero = g.open("/dev/zero", O_RDONLY)
    assert g.call("read", zero, END - 4096, 4096) == 4096
    assert g.refusal("read", zero, END - 4096, 4097) == "EFAULT"
    assert g.refusal("read", zero, END - 4096, 0x5000_0000) == "EFAULT"
    assert g.refusal("read", zero, g.p.vm.user_top - 1, 2) == "EFAULT"
    assert g.refusal("read", fd, END - 5, 8) == "EFAULT"
    assert seek(g, fd, 0, 1) == 0                       # the offset stays
    assert g.call("read", fd, END - 10, 100) == 10      # what the file does not have need not be there
    null = g.open("/dev/null", O_RDONLY)
    assert g.call("read", null, 8, 10) == 0
    assert g.refusal("read", null, g.p.vm.user_top - 1, 2) == "EFAULT"
    assert g.refusal("pread", fd, END - 5, 8, g.words(0)) == "EFAULT"
    vectors = g.words(g.room(4), 4, END - 2, 4)
    seek(g, fd, 0, 0)
    assert g.refusal("readv", fd, vectors, 2) == "EFAULT"


def test_a_write_likewise(g: SerenityGuest, fd: int) -> None:
    assert g.refusal("write", fd, END - 4, 8) == "EFAULT"
    assert g.call("write", fd, END - 4, 4) == 4
    assert g.p.fds.get(fd).getattr().size == 10
    assert g.refusal("pwritev", fd, g.words(BASE, 4, END - 2, 4), 2, g.words(0)) == "EFAULT"


# --- vectors
@pytest.mark.parametrize("name", ["readv", "pwritev"])
def test_vectors(g: SerenityGuest, fd: int, name: str) -> None:
    assert g.refusal(name, 99, 8, -1, 8) == "EINVAL"
    assert g.refusal(name, 99, 8, 1025, 8) == "EFAULT"
    assert g.refusal(name, 99, 8, 1, 8) == "EFAULT"
    assert g.refusal(name, 99, g.words(BASE, 1 << 30, BASE, 1 << 30), 2, g.words(0)) == "EINVAL"
    assert g.refusal(name, 99, g.words(BASE, 1), 1, g.words(0)) == "EBADF"
    assert g.call(name, fd, 0, 0, g.words(0)) == 0


def test_scattered_and_gathered(g: SerenityGuest, fd: int) -> None:
    data = g.put(b"abcdef")
    vectors = g.words(data, 2, data + 2, 4)
    assert g.call("pwritev", fd, vectors, 2, g.words(2)) == 6
    assert seek(g, fd, 0, 1) == 0
    into = g.room(16)
    assert g.call("readv", fd, g.words(into, 3, into + 8, 5), 2) == 8
    assert g.get(into, 3) + g.get(into + 8, 5) == b"01abcdef"
    assert g.call("pwritev", fd, vectors, 2, g.words(-1)) == 6          # as writev
    assert seek(g, fd, 0, 1) == 14
    assert g.call("pread", fd, into, 4, g.words(8)) == 4
    assert g.get(into, 4) == b"abcd"
    assert g.refusal("pread", fd, into, 4, g.words(-1)) == "EINVAL"
    assert g.refusal("pread", 99, into, 4, 8) == "EFAULT"
    assert g.refusal("pread", 99, into, 4, g.words(0)) == "EBADF"
    assert g.refusal("pwritev", g.open("/file", O_RDONLY), vectors, 2, g.words(0)) == "EBADF"


def test_set_id_bits_go_whoever_writes(g: SerenityGuest, fd: int) -> None:
    def mode() -> int:
        return g.p.fds.get(fd).getattr().mode & 0o7777

    calls: tuple[tuple[str, tuple[int, ...]], ...] = (
        ("write", (fd, BASE, 1)), ("pwritev", (fd, g.words(BASE, 1), 1, g.words(0))), ("fchown", (fd, -1, -1)),
    )
    for name, args in calls:
        for given, kept in ((0o6755, 0o755), (0o2644, 0o644), (0o5700, 0o1700)):
            g.call("fchmod", fd, given)
            g.call(name, *args)
            assert mode() == kept, name
    g.call("fchmod", fd, 0o6755)
    g.call("ftruncate", fd, g.words(1))
    assert mode() == 0o6755


# --- offsets and sizes
def test_seeking(g: SerenityGuest, fd: int) -> None:
    assert seek(g, fd, 4, 0) == 4
    assert seek(g, fd, 3, 1) == 7
    assert seek(g, fd, -1, 2) == 9
    assert seek(g, fd, 100, 2) == 110
    assert g.refusal("lseek", 99, 8, 0) == "EBADF"
    assert g.refusal("lseek", fd, 8, 9) == "EFAULT"
    assert g.refusal("lseek", fd, g.words(0), 3) == "EINVAL"
    assert g.refusal("lseek", fd, g.words(-111), 1) == "EINVAL"
    assert g.refusal("lseek", fd, g.words((1 << 63) - 1), 1) == "EOVERFLOW"
    assert g.refusal("lseek", g.open("/dev/null", O_RDONLY), g.words(0), 0) == "ESPIPE"
    assert g.show("lseek", fd, g.words(5), 2) == f"lseek({fd}, [5], SEEK_END)"


def test_sizes(g: SerenityGuest, fd: int) -> None:
    assert g.refusal("ftruncate", 99, 8) == "EFAULT"
    assert g.refusal("ftruncate", 99, g.words(-1)) == "EINVAL"
    assert g.refusal("ftruncate", 99, g.words(0)) == "EBADF"
    assert g.refusal("ftruncate", g.open("/file", O_RDONLY), g.words(0)) == "EBADF"
    assert g.refusal("ftruncate", g.open("/dev/null", O_WRONLY), g.words(0)) == "EINVAL"
    assert g.call("ftruncate", fd, g.words(3)) == 0
    assert g.p.fds.get(fd).getattr().size == 3


@pytest.mark.parametrize(("offset", "length", "refusal"), [
    (None, 1, "EFAULT"), (-1, None, "EINVAL"), (0, None, "EFAULT"), (0, 0, "EINVAL"), (0, -5, "EINVAL"),
    (1, (1 << 63) - 1, "EFBIG"), (0, 10, "EBADF"),
])
def test_room_in_a_file(g: SerenityGuest, offset: int | None, length: int | None, refusal: str) -> None:
    """Every refusal that comes before the descriptor is looked at, in order."""
    there = [8 if value is None else g.words(value) for value in (offset, length)]
    assert g.refusal("posix_fallocate", -1, *there) == refusal


def test_room_by_kind(g: SerenityGuest, fd: int) -> None:
    g.call("pipe", ends := g.room(8), 0)
    args = g.words(0), g.words(10)
    assert g.refusal("posix_fallocate", g.int32(ends), *args) == "EBADF"
    assert g.refusal("posix_fallocate", g.int32(ends + 4), *args) == "ESPIPE"
    assert g.refusal("posix_fallocate", g.open("/dev/zero", O_RDWR), *args) == "ENODEV"
    assert g.call("posix_fallocate", fd, *args) == 0
    assert g.call("posix_fallocate", fd, g.words(20), g.words(5)) == 0
    assert g.p.fds.get(fd).getattr().size == 25


# --- descriptors
def test_pipes(g: SerenityGuest) -> None:
    assert g.refusal("pipe", 8, O_NONBLOCK | 0x80) == "EINVAL"
    assert g.refusal("pipe", 8, 0) == "EFAULT"
    assert len(g.p.fds) == 0
    g.call("pipe", ends := g.room(8), O_CLOEXEC | O_NONBLOCK)
    reader, writer = g.int32(ends), g.int32(ends + 4)
    assert (reader, writer) == (0, 1)
    assert g.p.fds.cloexec == {0, 1}
    assert g.refusal("read", reader, BASE, 1) == "EAGAIN"
    assert g.call("write", writer, g.put(b"ab"), 2) == 2
    assert g.refusal("write", reader, BASE, 1) == "EBADF"
    assert g.refusal("pread", reader, BASE, 1, g.words(0)) == "EINVAL"
    assert g.refusal("lseek", reader, g.words(0), 1) == "ESPIPE"
    g.call("close", reader)
    assert g.refusal("write", writer, BASE, 1) == "EPIPE"
    assert g.t.pending.mask & bit(Signal.SIGPIPE)
    assert g.show("pipe", 8, O_CLOEXEC | O_NONBLOCK) == "pipe(0x8, O_NONBLOCK|O_CLOEXEC)"


def test_dup2(g: SerenityGuest, fd: int) -> None:
    g.call("fcntl", fd, F_SETFD, 1)
    assert g.call("dup2", fd, fd) == fd
    assert g.call("fcntl", fd, F_GETFD, 0) == 1
    assert g.call("dup2", fd, 50) == 50
    assert g.call("fcntl", 50, F_GETFD, 0) == 0
    assert g.refusal("dup2", 99, 99) == "EBADF"
    assert g.refusal("dup2", fd, -1) == "EINVAL"
    assert g.refusal("dup2", fd, 1024) == "EINVAL"


def test_fcntl(g: SerenityGuest, fd: int) -> None:
    assert g.refusal("fcntl", 99, -42, 0) == "EBADF"
    assert g.refusal("fcntl", fd, -42, 0) == "EINVAL"                   # crash-fcntl-invalid-cmd
    assert g.refusal("fcntl", fd, 9, 0) == "EINVAL"
    assert g.call("fcntl", fd, F_DUPFD, 7) == 7
    assert g.refusal("fcntl", fd, F_DUPFD, -1) == "EINVAL"
    assert g.refusal("fcntl", fd, F_DUPFD, 1024) == "EMFILE"
    assert g.call("fcntl", fd, F_ISTTY, 0) == 0
    assert g.show("fcntl", fd, F_ISTTY, 0) == f"fcntl({fd}, F_ISTTY, 0)"


def lock(g: SerenityGuest, kind: int, start: int = 0, length: int = 0, whence: int = 0) -> int:
    return g.put(struct.pack(FLOCK, kind, whence, start, length, 0))


def test_locks_belong_to_the_open_file(g: SerenityGuest, fd: int) -> None:
    assert g.call("fcntl", fd, F_SETLK, lock(g, 1, 0, 5)) == 0
    other = g.open("/file")
    assert g.refusal("fcntl", other, F_SETLK, lock(g, 0, 4, 1)) == "EAGAIN"
    assert g.call("fcntl", other, F_SETLK, lock(g, 1, 5, 0)) == 0
    asked = lock(g, 1, 0, 0)
    assert g.call("fcntl", other, F_GETLK, asked) == 0
    assert struct.unpack(FLOCK, g.get(asked, 32)) == (1, 0, 0, 5, g.p.pid)
    g.call("close", g.open("/file"))                                    # another description's end changes nothing
    assert g.refusal("fcntl", other, F_SETLK, lock(g, 0, 4, 1)) == "EAGAIN"
    sleeper = g.sleep("fcntl", other, F_SETLKW, lock(g, 1, 4, 1))
    g.call("close", fd)
    assert sleeper.resume() == 0
    asked = lock(g, 1, 2, 1)
    assert g.call("fcntl", other, F_GETLK, asked) == 0
    assert struct.unpack(FLOCK, g.get(asked, 32))[0] == 2


@pytest.mark.parametrize(("kind", "start", "length", "whence", "refusal"), [
    (3, 0, 0, 0, "EINVAL"), (0, -1, 0, 0, "EINVAL"), (0, 0, -1, 0, "EINVAL"), (0, 0, 0, 2, "ENOTSUP"), (0, 0, 0, 3, "EINVAL"),
    (0, (1 << 63) - 1, (1 << 63) - 1, 0, "EINVAL"),
])
def test_locks_that_are_none(
    g: SerenityGuest, fd: int, kind: int, start: int, length: int, whence: int, refusal: str
) -> None:
    assert g.refusal("fcntl", fd, F_SETLK, lock(g, kind, start, length, whence)) == refusal
    assert g.refusal("fcntl", fd, F_GETLK, 8) == "EFAULT"
    g.call("pipe", ends := g.room(8), 0)
    assert g.refusal("fcntl", g.int32(ends), F_SETLK, 8) == "EBADF"


def test_two_processes_share_no_descriptors_but_locks(stage: Stage, g: SerenityGuest, fd: int) -> None:
    other = serenity_guest(stage)
    theirs = other.open("/file")
    assert g.call("fcntl", fd, F_SETLK, lock(g, 1)) == 0
    assert other.refusal("fcntl", theirs, F_SETLK, lock(other, 1)) == "EAGAIN"
    assert other.call("fcntl", theirs, F_SETLK, lock(other, 2)) == 0
    assert AT_FDCWD == -100


def test_every_buffer_of_readv_is_a_read_of_its_own(g: SerenityGuest) -> None:
    """Each waits for something to be there; an end is nothing more to read."""
    fds, into = g.room(8), g.room(16)
    g.call("pipe", fds, 0)
    reader, writer = g.int32(fds), g.int32(fds + 4)
    g.call("write", writer, g.put(b"abcd"), 4)
    vectors = g.words(into, 3, into + 3, 5)
    sleeper = Sleeper(g.start("readv", reader, g.words(into, 2, into + 2, 1), 2))
    assert (sleeper.is_done, sleeper.result, g.get(into, 3)) == (True, 3, b"abc")
    sleeper = g.sleep("readv", reader, vectors, 2)
    assert g.get(into, 1) == b"d"
    g.call("write", writer, g.put(b"efghijkl"), 8)
    sleeper.resume()
    assert (sleeper.result, g.get(into + 3, 5)) == (1 + 5, b"efghi")
    g.call("close", writer)
    assert Sleeper(g.start("readv", reader, vectors, 2)).result == 3


def test_a_buffer_of_readv_that_is_not_there(g: SerenityGuest) -> None:
    fds = g.room(8)
    g.call("pipe", fds, O_NONBLOCK)
    g.call("write", g.int32(fds + 4), g.put(b"abcd"), 4)
    with pytest.raises(Errno, match="Bad address"):
        Sleeper(g.start("readv", g.int32(fds), g.words(g.room(2), 2, END, 2), 2))
    with pytest.raises(Errno, match="temporarily unavailable"):
        Sleeper(g.start("readv", g.int32(fds), g.words(g.room(2), 2, g.room(8), 8), 2))
