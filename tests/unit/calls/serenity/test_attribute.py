"""What a file is, who may change it, and its struct stat, as SerenityOS has them."""

from __future__ import annotations

import struct
import time

import pytest

from ring3.abi.records import AttrChange
from ring3.proc.cred import Cred
from tests.unit.calls.serenity.guest import AT_FDCWD, O_CREAT, O_RDWR, SerenityGuest

STAT = struct.Struct("<I4xQH2x4I4xqII6q")
STAT_PARAMS, CHMOD, CHOWN, ACCESS, UTIMENSAT = "<QQQii", "<i4xQQH2xi", "<QQIIii", "<i4xQQii", "<i4xQQQi4x"
ME = Cred(7, 7, 7, 7, 70, 70, 70, 70, (71,))
NOFOLLOW, EACCESS = 0x100, 0x400
UTIME_OMIT, UTIME_NOW = -1, -2


@pytest.fixture
def fd(g: SerenityGuest) -> int:
    """/file of user 7, group 70."""
    made = g.open("/file", O_RDWR | O_CREAT, 0o644)
    g.p.fs.root.child(b"file").vnode.setattr(AttrChange(uid=7, gid=70))
    g.call("symlink", g.params("<QQQQi4x", "/file", "/link", AT_FDCWD))
    return made


def attr(g: SerenityGuest) -> tuple[int, int, int]:
    found = g.p.fs.root.child(b"file").vnode.getattr()
    return found.mode & 0o7777, found.uid, found.gid


def test_struct_stat(g: SerenityGuest, fd: int) -> None:
    buf = g.put(b"\xff" * 112)
    g.call("write", fd, g.put(b"x" * 5000), 5000)
    assert g.call("fstat", fd, buf) == 0
    dev, ino, mode, nlink, uid, gid, rdev, size, blksize, blocks, *times = STAT.unpack(g.get(buf, 104))
    assert (dev, mode, nlink, uid, gid, rdev, size, blksize) == (0, 0o100644, 1, 7, 70, 0, 5000, 4096)
    assert ino == g.p.fds.get(fd).getattr().ino
    assert blocks > 0
    assert abs(times[2] - time.time()) < 100
    assert g.get(buf + 104, 8) == b"\xff" * 8
    assert g.call("stat", g.params(STAT_PARAMS, "/dev/zero", buf, AT_FDCWD, 1)) == 0
    assert STAT.unpack(g.get(buf, 104))[6] == 5 | 1 << 8
    assert g.call("stat", g.params(STAT_PARAMS, "/link", buf, AT_FDCWD, 0)) == 0
    assert STAT.unpack(g.get(buf, 104))[2] >> 12 == 10


def test_what_has_no_inode_is_not_known(g: SerenityGuest) -> None:
    """Of a pipe without a name: that it is one."""
    buf, fds = g.room(104), g.room(8)
    g.call("pipe", fds, 0)
    assert g.call("fstat", g.int32(fds), buf) == 0
    assert STAT.unpack(g.get(buf, 104)) == (0, 0, 0o10000, *(0,) * 13)
    g.call("mknod", g.params("<QQH2xI", "/fifo", 0o10644, 0))
    assert g.call("fstat", g.open("/fifo", O_RDWR), buf) == 0
    assert STAT.unpack(g.get(buf, 104))[2:4] == (0o10644, 1)
    g.call("socketpair", g.params("<iIi4xQ", 1, 1, 0, fds))
    assert g.call("fstat", g.int32(fds), buf) == 0
    assert STAT.unpack(g.get(buf, 104)) == (0, 0, 0o140000, *(0,) * 13)
    for fd in (g.call("anon_create", 4096, 0), g.call("create_inode_watcher", 0)):
        assert g.refusal("fstat", fd, buf) == "EBADF"


def test_stat_refusals(g: SerenityGuest, fd: int) -> None:
    buf = g.room(104)
    assert g.refusal("fstat", 99, buf) == "EBADF"
    assert g.refusal("fstat", fd, 8) == "EFAULT"
    assert g.refusal("stat", 8) == "EFAULT"
    assert g.refusal("stat", g.params(STAT_PARAMS, "", buf, AT_FDCWD, 1)) == "EINVAL"
    assert g.refusal("stat", g.params(STAT_PARAMS, "/missing", 8, AT_FDCWD, 1)) == "ENOENT"
    assert g.refusal("stat", g.params(STAT_PARAMS, "/file", 8, AT_FDCWD, 1)) == "EFAULT"
    assert g.refusal("stat", g.params(STAT_PARAMS, "/file", buf, 99, 1)) == "EBADF"
    assert g.refusal("stat", g.params(STAT_PARAMS, "/file/", buf, AT_FDCWD, 1)) == "ENOTDIR"


# --- access
@pytest.mark.parametrize(("cred", "mode", "asked", "flags", "refusal"), [
    (Cred(), 0o000, 7, 0, None),                        # root may run what nobody may run
    (ME, 0o000, 0, 0, None),
    (ME, 0o644, 6, 0, None),
    (ME, 0o644, 1, 0, "EACCES"),
    (ME, 0o077, 4, 0, "EACCES"),                        # the first class that fits is the one that counts
    (Cred(8, 8, 8, 8, 70, 70, 70, 70), 0o707, 4, 0, "EACCES"),
    (Cred(8, 7, 7, 7, 8, 8, 8, 8), 0o600, 4, 0, "EACCES"),              # the real ids
    (Cred(8, 7, 7, 7, 8, 8, 8, 8), 0o600, 4, EACCESS, None),
    (ME, 0o644, 4, 0x200, "EINVAL"),
    (ME, 0o644, 4, 1, "EINVAL"),
])
def test_access(g: SerenityGuest, fd: int, cred: Cred, mode: int, asked: int, flags: int, refusal: str | None) -> None:
    g.call("fchmod", fd, mode)
    g.p.cred = cred
    params = g.params(ACCESS, AT_FDCWD, "/file", asked, flags)
    if refusal is None:
        assert g.call("faccessat", params) == 0
    else:
        assert g.refusal("faccessat", params) == refusal


# --- modes and owners
def test_modes(g: SerenityGuest, fd: int) -> None:
    assert g.call("chmod", g.params(CHMOD, AT_FDCWD, "/link", 0o7777, 1)) == 0
    assert attr(g)[0] == 0o7777
    assert g.refusal("chmod", g.params(CHMOD, AT_FDCWD, "/link", 0o777, 0)) == "EOPNOTSUPP"
    g.p.cred = Cred(8, 8, 8, 8, 8, 8, 8, 8)
    assert g.refusal("chmod", g.params(CHMOD, AT_FDCWD, "/file", 0o777, 1)) == "EPERM"
    assert g.refusal("fchmod", fd, 0o777) == "EPERM"
    assert g.refusal("fchmod", 99, 0o777) == "EBADF"
    g.call("pipe", ends := g.room(8), 0)
    assert g.refusal("fchmod", g.int32(ends), 0o777) == "EBADF"
    assert g.refusal("fchown", g.int32(ends), 8, 8) == "EBADF"


@pytest.mark.parametrize(("cred", "uid", "gid", "refusal"), [
    (Cred(), 1, 2, None), (Cred(), -1, 2, None), (ME, 7, 70, None), (ME, -1, 71, None), (ME, -1, -1, None),
    (ME, 8, -1, "EPERM"), (ME, -1, 72, "EPERM"), (Cred(8, 8, 8, 8, 8, 8, 8, 8), -1, -1, "EPERM"),
])
def test_owners(g: SerenityGuest, fd: int, cred: Cred, uid: int, gid: int, refusal: str | None) -> None:
    g.call("fchmod", fd, 0o6755)
    g.p.cred = cred
    params = g.params(CHOWN, "/file", uid & 0xFFFF_FFFF, gid & 0xFFFF_FFFF, AT_FDCWD, 1)
    if refusal is not None:
        assert g.refusal("chown", params) == refusal
        assert g.refusal("fchown", fd, uid, gid) == refusal
        assert attr(g) == (0o6755, 7, 70)
        return
    assert g.call("chown", params) == 0
    assert attr(g) == (0o755, 7 if uid == -1 else uid, 70 if gid == -1 else gid)        # the set-id bits go, whoever asks


# --- times
def times(g: SerenityGuest) -> tuple[int, int]:
    found = g.p.fs.root.child(b"file").vnode.getattr()
    return found.atime, found.mtime


@pytest.mark.usefixtures("fd")
def test_times(g: SerenityGuest) -> None:
    given = g.words(100, 5, 200, 7)
    assert g.call("utimensat", g.params(UTIMENSAT, AT_FDCWD, "/link", given, 0)) == 0
    assert times(g) == (100_000_000_005, 200_000_000_007)
    given = g.words(1, UTIME_OMIT, 1, UTIME_NOW)
    assert g.call("utimensat", g.params(UTIMENSAT, AT_FDCWD, "/file", given, 0)) == 0
    assert times(g)[0] == 100_000_000_005
    assert abs(times(g)[1] - time.time_ns()) < 10**10
    assert g.call("utime", "/file", g.words(3, 4)) == 0
    assert times(g) == (3 * 10**9, 4 * 10**9)
    assert g.call("utime", "/file", 0) == 0
    assert abs(times(g)[0] - time.time_ns()) < 10**10
    assert g.call("utimensat", g.params(UTIMENSAT, AT_FDCWD, "/file", g.words(1 << 62, 0, -(1 << 62), 0), 0)) == 0
    assert g.refusal("utime", "/file", 8) == "EFAULT"
    assert g.refusal("utimensat", g.params(UTIMENSAT, AT_FDCWD, "/file", 8, 0)) == "EFAULT"


def test_times_are_the_owners_whoever_may_write(g: SerenityGuest, fd: int) -> None:
    g.call("fchmod", fd, 0o666)
    g.p.cred = Cred(8, 8, 8, 8, 8, 8, 8, 8)
    assert g.refusal("utime", "/file", 0) == "EACCES"
    assert g.refusal("utimensat", g.params(UTIMENSAT, AT_FDCWD, "/file", 0, 0)) == "EACCES"
    g.p.cred = ME
    assert g.call("utime", "/file", 0) == 0


def test_how_they_print(g: SerenityGuest, fd: int) -> None:
    assert g.show("faccessat", g.params(ACCESS, AT_FDCWD, "/file", 5, NOFOLLOW)) == (
        'faccessat({dirfd=AT_FDCWD, path="/file", mode=R_OK|X_OK, flags=AT_SYMLINK_NOFOLLOW})'
    )
    assert g.show("fchown", fd, -1, 5) == f"fchown({fd}, -1, 5)"
