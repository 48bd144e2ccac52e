"""Opening, describing and changing files."""

from __future__ import annotations

import os
import stat
import struct

import pytest

from ring3.errors import (
    E2BIG,
    EACCES,
    EBADF,
    EEXIST,
    EFAULT,
    EINVAL,
    EISDIR,
    ELOOP,
    EMFILE,
    ENODATA,
    ENODEV,
    ENOENT,
    ENOTDIR,
    ENOTTY,
    ENXIO,
    EOPNOTSUPP,
    EOVERFLOW,
    EPERM,
    ERANGE,
    ESPIPE,
    ETXTBSY,
    EXDEV,
)
from ring3.proc.cred import Cred
from tests.unit.calls.conftest import BASE, Guest, Waits

CREAT, EXCL, TRUNC, APPEND, NONBLOCK, DIRECTORY, NOFOLLOW, CLOEXEC, PATH = (
    0o100, 0o200, 0o1000, 0o2000, 0o4000, 0o200000, 0o400000, 0o2000000, 0o10000000)


def read_stat(g: Guest, addr: int) -> tuple[int, ...]:
    """(dev, ino, nlink, mode, uid, gid, rdev, size …)."""
    return struct.unpack("<QQQIIIxxxxQqqqqQqQqQ24x", g.get(addr, 144))


def mode_of(g: Guest, path: str) -> int:
    out = g.room(144)
    g.call("stat", path, out)
    return read_stat(g, out)[3] & 0o7777


# --- open and close
def test_open_takes_the_lowest_number(g: Guest) -> None:
    assert [g.open("/a"), g.open("/b"), g.open("/c")] == [0, 1, 2]
    assert g.call("close", 1) == 0
    assert g.open("/d") == 1
    with pytest.raises(EBADF):
        g.call("close", 9)


def test_open_refuses_in_order(g: Guest) -> None:
    g.open("/a")
    with pytest.raises(EEXIST):
        g.call("open", "/a", CREAT | EXCL | 2, 0o600)
    with pytest.raises(ENOENT):
        g.call("open", "", 0, 0)
    with pytest.raises(EFAULT):
        g.call("open", 8, 0, 0)
    with pytest.raises(ENOTDIR):
        g.call("openat", 0, "x", 0, 0)
    with pytest.raises(EBADF):
        g.call("openat", 99, "x", 0, 0)
    assert g.call("openat", 99, "/a", 0, 0) == 1
    g.call("symlink", "/a", "/l")
    with pytest.raises(ELOOP):
        g.call("open", "/l", NOFOLLOW, 0)
    g.p.rlimits[7] = (2, 2)
    with pytest.raises(EMFILE):
        g.call("open", "/none", 0, 0)


def test_openat_and_the_umask(g: Guest) -> None:
    g.p.fs.umask = 0o027
    d = g.call("open", "/tmp", DIRECTORY, 0)
    g.call("openat", d, "f", CREAT | 1, 0o666)
    assert mode_of(g, "/tmp/f") == 0o640
    assert g.call("umask", 0o77) == 0o027
    g.call("creat", "/tmp/g", 0o4777)
    assert mode_of(g, "/tmp/g") == 0o4700


def test_getfl_shows_what_linux_shows(g: Guest) -> None:
    fd = g.call("open", "/f", CREAT | TRUNC | APPEND | CLOEXEC | 2, 0o600)
    assert g.call("fcntl", fd, 3, 0) == APPEND | 2 | 0o100000
    assert g.call("fcntl", fd, 1, 0) == 1
    fd32 = g.call32("open", "/f", 0, 0)
    assert g.call32("fcntl64", fd32, 3, 0) == 0


def test_openat2(g: Guest) -> None:
    g.call("mkdir", "/d", 0o755)
    g.call("symlink", "/tmp", "/d/out")
    d = g.call("open", "/d", DIRECTORY, 0)

    def how(flags: int = 0, mode: int = 0, resolve: int = 0, tail: bytes = b"") -> int:
        return g.put(struct.pack("<QQQ", flags, mode, resolve) + tail)

    assert g.call("openat2", d, "f", how(CREAT | 2, 0o600), 24) == d + 1
    with pytest.raises(EINVAL):
        g.call("openat2", d, "f", how(0, 0o600), 24)
    with pytest.raises(EINVAL):
        g.call("openat2", d, "f", how(), 16)
    with pytest.raises(E2BIG):
        g.call("openat2", d, "f", how(tail=b"\1" * 8), 32)
    assert g.call("openat2", d, "f", how(tail=bytes(8)), 32) == d + 2
    with pytest.raises(EXDEV):
        g.call("openat2", d, "out/x", how(CREAT | 2, 0o600, 8), 24)
    with pytest.raises(ELOOP):
        g.call("openat2", d, "out", how(resolve=4), 24)


def test_a_file_too_large_for_i386(g: Guest) -> None:
    fd = g.open("/f")
    g.call("ftruncate", fd, 1 << 31)
    with pytest.raises(EOVERFLOW):
        g.call32("open", "/f", 0, 0)
    big = g.call32("open", "/f", 0o100000, 0)
    with pytest.raises(EOVERFLOW):
        g.call32("fstat", big, g.room(64))
    with pytest.raises(EOVERFLOW):
        g.call32("lseek", big, 0, 2)
    out = g.room(96)
    assert g.call32("fstat64", big, out) == 0
    assert struct.unpack_from("<q", g.get(out, 96), 44) == (1 << 31,)


def test_a_fifo_waits_for_its_other_side(g: Guest) -> None:
    g.call("mknod", "/p", stat.S_IFIFO | 0o600, 0)
    sleeper = g.sleep("open", "/p", 0, 0)
    writing = g.call("open", "/p", 1, 0)
    assert sleeper.resume() == writing + 1
    g.call("close", writing)
    g.call("close", writing + 1)
    sleeper = g.sleep("open", "/p", 1, 0)
    sleeper.coroutine.close()
    assert g.call("open", "/p", NONBLOCK, 0) == 0
    g.call("close", 0)
    with pytest.raises(ENXIO):
        g.call("open", "/p", 1 | NONBLOCK, 0)


def test_close_range(g: Guest) -> None:
    for _ in range(6):
        g.open("/f")
    assert g.call("close_range", 2, 3, 0) == 0
    assert list(g.p.fds) == [0, 1, 4, 5]
    assert g.call("close_range", 4, 0xFFFFFFFF, 4) == 0
    assert g.p.fds.cloexec == {4, 5}
    with pytest.raises(EINVAL):
        g.call("close_range", 5, 4, 0)
    with pytest.raises(EINVAL):
        g.call("close_range", 0, 1, 8)
    other = Guest(g.system, g)
    other.p.fds.release()
    g.p.fds.refs += 1
    other.p.fds = g.p.fds
    assert other.call("close_range", 0, 100, 2) == 0
    assert list(other.p.fds) == []
    assert list(g.p.fds) == [0, 1, 4, 5]


def test_dup(g: Guest) -> None:
    fd = g.open("/f")
    assert g.call("dup", fd) == 1
    assert g.call("dup2", fd, 7) == 7
    assert g.call("dup2", fd, fd) == fd
    assert g.call("dup3", fd, 8, CLOEXEC) == 8
    assert g.p.fds.cloexec == {8}
    for words in ((99, 5), (99, 99), (fd, -1), (fd, 1024)):
        with pytest.raises(EBADF):
            g.call("dup2", *words)
    for new_fd, flags in ((fd, 0), (9, 1)):
        with pytest.raises(EINVAL):
            g.call("dup3", fd, new_fd, flags)
    g.call("write", fd, g.put(b"abc"), 3)
    assert g.call("lseek", 7, 0, 1) == 3


def test_a_pipe_that_cannot_be_told_of_is_not_made(g: Guest) -> None:
    with pytest.raises(EFAULT):
        g.call("pipe", 8)
    assert not len(g.p.fds)
    g.p.rlimits[7] = (1, 1)
    with pytest.raises(EMFILE):
        g.call("pipe", g.room(8))
    assert not len(g.p.fds)
    with pytest.raises(EINVAL):
        g.call("pipe2", g.room(8), 1)


def test_memfd(g: Guest) -> None:
    fd = g.call("memfd_create", "name", 3)
    assert g.p.fds.cloexec == {fd}
    assert g.call("ftruncate", fd, 100) == 0
    assert g.call("fcntl", fd, 1033, 6) == 0
    for size in (50, 200):
        with pytest.raises(EPERM):
            g.call("ftruncate", fd, size)
    assert g.call("fcntl", fd, 1034, 0) == 6
    with pytest.raises(EINVAL):
        g.call("memfd_create", "name", 0x1000)


# --- stat
def test_stat_and_its_kin(g: Guest) -> None:
    fd = g.open("/f", mode=0o640)
    g.call("write", fd, g.put(b"12345"), 5)
    g.call("symlink", "/f", "/l")
    out = g.room(144)
    for name, words in (("stat", ("/f",)), ("stat", ("/l",)), ("fstat", (fd,)), ("lstat", ("/f",))):
        assert g.call(name, *words, out) == 0
        fields = read_stat(g, out)
        assert (fields[2], fields[3], fields[7]) == (1, stat.S_IFREG | 0o640, 5)
    g.call("lstat", "/l", out)
    assert read_stat(g, out)[3] == stat.S_IFLNK | 0o777
    g.call("newfstatat", fd, "", out, 0x1000)
    assert read_stat(g, out)[7] == 5
    g.call("newfstatat", fd, 0, out, 0x1000)
    with pytest.raises(EFAULT):
        g.call("newfstatat", fd, 0, out, 0)
    with pytest.raises(ENOENT):
        g.call("newfstatat", -100, "", out, 0)
    with pytest.raises(EINVAL):
        g.call("newfstatat", -100, "/f", out, 0x40000000)
    with pytest.raises(EFAULT):
        g.call("stat", "/f", 8)
    with pytest.raises(EBADF):
        g.call("fstat", 99, out)


def test_i386_structs(g: Guest) -> None:
    fd = g.open("/f", mode=0o640)
    g.call("write", fd, g.put(b"12345"), 5)
    out = g.room(96)
    assert g.call32("stat64", "/f", out) == 0
    data = g.get(out, 96)
    assert struct.unpack_from("<II", data, 16) == (stat.S_IFREG | 0o640, 1)
    assert struct.unpack_from("<q", data, 44) == (5,)
    assert struct.unpack_from("<Q", data, 88)[0] == struct.unpack_from("<I", data, 12)[0]
    assert g.call32("stat", "/f", out) == 0
    assert struct.unpack_from("<HH", g.get(out, 64), 8) == (stat.S_IFREG | 0o640, 1)
    assert struct.unpack_from("<I", g.get(out, 64), 20) == (5,)
    assert g.call32("fstatat64", fd, "", out, 0x1000) == 0


def test_statx(g: Guest) -> None:
    g.open("/f", mode=0o640)
    out = g.room(256)
    assert g.call("statx", -100, "/f", 0, 0x7FF, out) == 0
    data = g.get(out, 256)
    assert struct.unpack_from("<I", data)[0] & 0x7FF == 0x7FF
    assert struct.unpack_from("<H", data, 28) == (stat.S_IFREG | 0o640,)
    with pytest.raises(EINVAL):
        g.call("statx", -100, "/f", 0x6000, 0, out)
    with pytest.raises(EINVAL):
        g.call("statx", -100, "/f", 0, 0x80000000, out)


def test_statfs(g: Guest) -> None:
    out = g.room(120)
    assert g.call("statfs", "/", out) == 0
    assert struct.unpack_from("<q", g.get(out, 120)) == (0x01021994,)
    fds = g.room(8)
    g.call("pipe", fds)
    assert g.call("fstatfs", g.word(fds), out) == 0
    assert struct.unpack_from("<q", g.get(out, 120)) == (0x50495045,)
    assert g.call32("statfs64", "/", 84, out) == 0
    with pytest.raises(EINVAL):
        g.call32("statfs64", "/", 80, out)


def test_access(g: Guest) -> None:
    g.open("/f", mode=0)
    assert g.call("access", "/f", 6) == 0
    with pytest.raises(EACCES):
        g.call("access", "/f", 1)
    with pytest.raises(EINVAL):
        g.call("access", "/f", 8)
    g.p.cred = Cred(ruid=5, fsuid=0, euid=0)
    with pytest.raises(EACCES):
        g.call("access", "/f", 4)
    assert g.call("faccessat2", -100, "/f", 4, 0x200) == 0
    with pytest.raises(EINVAL):
        g.call("faccessat2", -100, "/f", 4, 0x800)


# --- changes
def test_modes_and_owners(g: Guest) -> None:
    fd = g.open("/f")
    g.call("chmod", "/f", 0o4711)
    assert mode_of(g, "/f") == 0o4711
    g.call("fchmod", fd, 0o100600)
    assert mode_of(g, "/f") == 0o600
    g.call("symlink", "/f", "/l")
    with pytest.raises(EOPNOTSUPP):
        g.call("fchmodat2", -100, "/l", 0o600, 0x100)
    g.call("chown", "/f", 1, 2)
    g.call("chown", "/f", -1, 3)
    g.call("lchown", "/l", 7, 8)
    out = g.room(144)
    g.call("stat", "/f", out)
    assert read_stat(g, out)[4:6] == (1, 3)
    g.call("lstat", "/l", out)
    assert read_stat(g, out)[4:6] == (7, 8)
    g.call32("chown", "/f", 0xFFFF, 9)
    g.call("stat", "/f", out)
    assert read_stat(g, out)[4:6] == (1, 9)
    g.call32("chown32", "/f", 100_000, 0xFFFFFFFF)
    g.call("stat", "/f", out)
    assert read_stat(g, out)[4:6] == (100_000, 9)
    with pytest.raises(EBADF):
        g.call("fchmod", g.call("open", "/f", PATH, 0), 0)
    g.p.cred = Cred(5, 5, 5, 5)
    with pytest.raises(EPERM):
        g.call("chmod", "/f", 0)


def times_of(g: Guest, path: str) -> tuple[int, ...]:
    out = g.room(144)
    g.call("lstat", path, out)
    return read_stat(g, out)[10:14]


def test_times(g: Guest) -> None:
    fd = g.open("/f")

    def spec(*words: int) -> int:
        return g.put(struct.pack("<4q", *words))

    assert g.call("utimensat", -100, "/f", spec(10, 20, 30, 40), 0) == 0
    assert times_of(g, "/f") == (10, 20, 30, 40)
    now, omit = 0x3FFFFFFF, 0x3FFFFFFE
    assert g.call("utimensat", fd, 0, spec(0, omit, 0, now), 0) == 0
    found = times_of(g, "/f")
    assert found[:2] == (10, 20)
    assert found[2] > 1_700_000_000
    with pytest.raises(EINVAL):
        g.call("utimensat", -100, "/f", spec(0, 2_000_000_000, 0, 0), 0)
    assert g.call("utimensat", -100, "/none", spec(0, omit, 0, omit), 0) == 0
    with pytest.raises(ENOENT):
        g.call("utimensat", -100, "/none", 0, 0)
    with pytest.raises(EFAULT):
        g.call("utimensat", -100, 0, 0, 0)
    assert g.call("utimes", "/f", spec(1, 2, 3, 4)) == 0
    assert times_of(g, "/f") == (1, 2000, 3, 4000)
    assert g.call("utime", "/f", g.put(struct.pack("<qq", 5, 6))) == 0
    assert times_of(g, "/f") == (5, 0, 6, 0)
    assert g.call32("utimensat_time64", -100, "/f", spec(7, 8, 9, 10), 0) == 0
    assert times_of(g, "/f") == (7, 8, 9, 10)
    g.p.cred = Cred(5, 5, 5, 5)
    with pytest.raises(EPERM):
        g.call("utimensat", -100, "/f", spec(1, 1, 1, 1), 0)
    with pytest.raises(EACCES):
        g.call("utimensat", -100, "/f", 0, 0)


def test_truncation(g: Guest) -> None:
    fd = g.open("/f")
    assert g.call("ftruncate", fd, 100) == 0
    assert g.call("truncate", "/f", 4) == 0
    assert g.call("lseek", fd, 0, 2) == 4
    for words, refusal in ((("/f", -1), EINVAL), (("/none", 0), ENOENT), (("/", 0), EISDIR), (("/dev/null", 0), EINVAL)):
        with pytest.raises(refusal):
            g.call("truncate", *words)
    with pytest.raises(EINVAL):
        g.call("ftruncate", g.call("open", "/f", 0, 0), 0)
    g.p.fds.get(fd).vnode.denied_writers += 1  # type: ignore[union-attr]
    with pytest.raises(ETXTBSY):
        g.call("truncate", "/f", 0)
    assert g.call32("ftruncate64", fd, 0, 1) == 0
    assert g.call("lseek", fd, 0, 2) == 1 << 32


def test_fallocate(g: Guest) -> None:
    fd = g.open("/f")
    assert g.call("fallocate", fd, 0, 0, 100) == 0
    assert g.call("lseek", fd, 0, 2) == 100
    for words, refusal in (((fd, 0, -1, 1), EINVAL), ((fd, 0, 0, 0), EINVAL), ((fd, 2, 0, 1), EOPNOTSUPP)):
        with pytest.raises(refusal):
            g.call("fallocate", *words)
    with pytest.raises(ENODEV):
        g.call("fallocate", g.call("open", "/dev/null", 2, 0), 0, 0, 1)
    fds = g.room(8)
    g.call("pipe", fds)
    with pytest.raises(ESPIPE):
        g.call("fallocate", g.word(fds + 4), 0, 0, 1)


def test_xattrs(g: Guest) -> None:
    fd = g.open("/f")
    buf = g.room(64)
    assert g.call("setxattr", "/f", "user.a", b"value", 5, 0) == 0
    assert g.call("getxattr", "/f", "user.a", buf, 64) == 5
    assert g.get(buf, 5) == b"value"
    assert g.call("fgetxattr", fd, "user.a", 0, 0) == 5
    assert g.call("listxattr", "/f", buf, 64) == 7
    with pytest.raises(ERANGE):
        g.call("getxattr", "/f", "user.a", buf, 2)
    with pytest.raises(ENODATA):
        g.call("getxattr", "/f", "user.b", buf, 64)
    with pytest.raises(EOPNOTSUPP):
        g.call("getxattr", "/f", "nospace", buf, 64)
    with pytest.raises(EEXIST):
        g.call("setxattr", "/f", "user.a", b"x", 1, 1)
    assert g.call("removexattr", "/f", "user.a") == 0


def test_ioctls(g: Guest) -> None:
    fd = g.open("/f")
    g.call("write", fd, g.put(b"abcdef"), 6)
    g.call("lseek", fd, 2, 0)
    n = g.put(struct.pack("<i", 1))
    with pytest.raises(ENOTTY):
        g.call("ioctl", fd, 0x5401, n)
    assert g.call("ioctl", fd, 0x5421, n) == 0
    assert g.call("fcntl", fd, 3, 0) & NONBLOCK
    assert g.call("ioctl", fd, 0x541B, n) == 0
    assert g.word(n) == 4
    master = g.call("open", "/dev/null", 2, 0)
    with pytest.raises(ENOTTY):
        g.call("ioctl", master, 0x80045430, n)
    assert g.show("ioctl", master, 0x80045430, n) == f"ioctl({master}, TIOCGPTN, {n:#x}) = -1 ENOTTY"
    assert g.call("ioctl", fd, 0x5451, 0) == 0
    assert g.p.fds.cloexec == {fd}
    assert g.call("ioctl", fd, 0x5450, 0) == 0
    assert not g.p.fds.cloexec


def test_mounting(g: Guest) -> None:
    g.call("mkdir", "/m", 0o755)
    assert g.call("mount", 0, "/m", "tmpfs", 0, 0) == 0
    g.open("/m/inside")
    with pytest.raises(EPERM):
        g.call("mount", "/tmp", "/m", 0, 4096, 0)
    assert g.call("umount2", "/m", 0) == 0
    with pytest.raises(ENOENT):
        g.call("open", "/m/inside", 0, 0)
    with pytest.raises(EINVAL):
        g.call("umount2", "/m", 0)
    g.p.cred = Cred(5, 5, 5, 5)
    with pytest.raises(EPERM):
        g.call("mount", 0, "/m", "tmpfs", 0, 0)


def test_printing(g: Guest) -> None:
    assert g.show("openat", -100, "/f", CREAT | 2, 0o644) == 'openat(AT_FDCWD, "/f", O_RDWR|O_CREAT, 0644) = 0'
    assert g.show("fstat", 0, g.room(144)) == "fstat(0, {st_mode=S_IFREG|0644, st_size=0, ...}) = 0"
    assert g.show("stat", "/dev/null", g.room(144)) == (
        'stat("/dev/null", {st_mode=S_IFCHR|0666, st_rdev=makedev(0x1, 0x3), ...}) = 0'
    )
    assert g.show("fcntl", 0, 3, 0) == f"fcntl(0, F_GETFL, 0) = {2 | 0o100000}"
    assert g.show("chown", "/f", -1, 5) == 'chown("/f", -1, 5) = 0'
    assert g.show("pipe2", g.room(8), CLOEXEC) == "pipe2([1, 2], O_RDONLY|O_CLOEXEC) = 0"
    assert g.show("access", "/f", 4) == 'access("/f", R_OK) = 0'
    times = g.put(struct.pack("<4q", 1, 2, 0, 0x3FFFFFFE))
    assert g.show("utimensat", -100, "/f", times, 0) == (
        'utimensat(AT_FDCWD, "/f", [{tv_sec=1, tv_nsec=2}, UTIME_OMIT], 0) = 0'
    )


def test_waiting_is_not_needed_for_files(g: Guest) -> None:
    fd = g.open("/f")
    with pytest.raises(Waits):
        g.call("read", g.call("eventfd", 0), g.room(8), 8)
    assert g.call("read", fd, BASE, 10) == 0
    assert os.SEEK_SET == 0
