"""Names and directories."""

from __future__ import annotations

import struct

import pytest

from ring3.errors import EBADF, EEXIST, EFAULT, EINVAL, EISDIR, ENOENT, ENOTDIR, ENOTEMPTY, EPERM, ERANGE
from ring3.proc.cred import Cred
from tests.unit.calls.conftest import Guest


def entries(data: bytes) -> list[tuple[bytes, int]]:
    """(name, type) of every linux_dirent64."""
    found = []
    while data:
        _, _, length, kind = struct.unpack_from("<QqHB", data)
        found.append((data[19:length].split(b"\0")[0], kind))
        assert length % 8 == 0
        data = data[length:]
    return found


def test_mkdir_rmdir_unlink(g: Guest) -> None:
    assert g.call("mkdir", "/d", 0o777) == 0
    with pytest.raises(EEXIST):
        g.call("mkdir", "/d", 0o777)
    g.open("/d/f")
    with pytest.raises(ENOTEMPTY):
        g.call("rmdir", "/d")
    with pytest.raises(EISDIR):
        g.call("unlink", "/d")
    assert g.call("unlink", "/d/f") == 0
    assert g.call("unlinkat", -100, "/d", 0x200) == 0
    with pytest.raises(EINVAL):
        g.call("unlinkat", -100, "/d", 1)


def test_getdents64(g: Guest) -> None:
    g.call("mkdir", "/d", 0o755)
    for name in ("one", "two"):
        g.call("close", g.open("/d/" + name))
    g.call("symlink", "x", "/d/link")
    fd = g.call("open", "/d", 0o200000, 0)
    buf = g.room(1024)
    size = g.call("getdents64", fd, buf, 1024)
    assert dict(entries(g.get(buf, size))) == {b".": 4, b"..": 4, b"one": 8, b"two": 8, b"link": 10}
    assert g.call("getdents64", fd, buf, 1024) == 0
    assert g.call("lseek", fd, 0, 0) == 0
    with pytest.raises(EINVAL):
        g.call("getdents64", fd, buf, 20)
    names = set()
    while size := g.call("getdents64", fd, buf, 24):
        names |= {name for name, _ in entries(g.get(buf, size))}
    assert len(names) == 5
    with pytest.raises(ENOTDIR):
        g.call("getdents64", g.open("/d/one"), buf, 100)
    g.call("lseek", fd, 0, 0)
    with pytest.raises(EFAULT):
        g.call("getdents64", fd, 8, 100)
    assert g.call("lseek", fd, 0, 1) == 0


def test_getdents_of_a_removed_directory(g: Guest) -> None:
    g.call("mkdir", "/d", 0o755)
    fd = g.call("open", "/d", 0o200000, 0)
    g.call("rmdir", "/d")
    with pytest.raises(ENOENT):
        g.call("getdents64", fd, g.room(100), 100)


def test_old_getdents(g: Guest) -> None:
    g.call("mkdir", "/d", 0o755)
    fd = g.call("open", "/d", 0o200000, 0)
    buf = g.room(100)
    size = g.call32("getdents", fd, buf, 100)
    data = g.get(buf, size)
    _, _, length = struct.unpack_from("<IIH", data)
    assert (length, data[10:12], data[length - 1]) == (16, b".\0", 4)
    g.call("lseek", fd, 0, 0)
    size = g.call("getdents", fd, buf, 100)
    assert struct.unpack_from("<QQH", g.get(buf, size))[2] == 24


def test_links(g: Guest) -> None:
    g.open("/f")
    assert g.call("link", "/f", "/g") == 0
    assert g.call("symlink", "/f", "/l") == 0
    buf = g.room(64)
    assert g.call("readlink", "/l", buf, 64) == 2
    assert g.get(buf, 2) == b"/f"
    assert g.call("readlink", "/l", buf, 1) == 1
    for words, refusal in ((("/l", buf, 0), EINVAL), (("/f", buf, 9), EINVAL), (("/none", buf, 9), ENOENT), (("", buf, 9), ENOENT)):
        with pytest.raises(refusal):
            g.call("readlink", *words)
    fd = g.call("open", "/l", 0o10400000, 0)
    assert g.call("readlinkat", fd, "", buf, 64) == 2
    assert g.call("linkat", -100, "/l", -100, "/h", 0x400) == 0
    assert g.call("linkat", 0, "", -100, "/by_fd", 0x1000) == 0
    with pytest.raises(EINVAL):
        g.call("linkat", -100, "/f", -100, "/z", 0x999000)


def test_renames(g: Guest) -> None:
    g.open("/a")
    assert g.call("rename", "/a", "/b") == 0
    g.open("/c")
    with pytest.raises(EEXIST):
        g.call("renameat2", -100, "/b", -100, "/c", 1)
    assert g.call("renameat2", -100, "/b", -100, "/c", 2) == 0
    with pytest.raises(EINVAL):
        g.call("renameat2", -100, "/b", -100, "/c", 64)
    with pytest.raises(EBADF):
        g.call("renameat", 99, "b", -100, "/c")


def test_where_a_process_stands(g: Guest) -> None:
    g.call("mkdir", "/d", 0o755)
    buf = g.room(64)
    assert g.call("getcwd", buf, 64) == 2
    assert g.call("chdir", "/d") == 0
    assert g.call("getcwd", buf, 64) == 3
    assert g.get(buf, 3) == b"/d\0"
    with pytest.raises(ERANGE):
        g.call("getcwd", buf, 2)
    fd = g.open("f")
    with pytest.raises(ENOTDIR):
        g.call("fchdir", fd)
    with pytest.raises(ENOTDIR):
        g.call("chdir", "f")
    assert g.call("unlink", "f") == 0
    assert g.call("rmdir", "/d") == 0
    with pytest.raises(ENOENT):
        g.call("getcwd", buf, 64)
    assert g.call("fchdir", g.call("open", "/tmp", 0, 0)) == 0


def test_chroot(g: Guest) -> None:
    g.call("mkdir", "/jail", 0o755)
    g.open("/jail/inside")
    assert g.call("chroot", "/jail") == 0
    assert g.call("open", "/../../inside", 0, 0) == 1
    g.p.cred = Cred(5, 5, 5, 5)
    with pytest.raises(EPERM):
        g.call("chroot", "/")


def test_mknod(g: Guest) -> None:
    assert g.call("mknodat", -100, "/null", 0o020666, 0x103) == 0
    fd = g.call("open", "/null", 2, 0)
    assert g.call("write", fd, g.put(b"x"), 1) == 1
    with pytest.raises(EINVAL):
        g.call("mknod", "/x", 0o030666, 0)
    with pytest.raises(EPERM):
        g.call("mknod", "/x", 0o040755, 0)


def test_printing(g: Guest) -> None:
    g.call("mkdir", "/d", 0o755)
    fd = g.call("open", "/d", 0o200000, 0)
    buf = g.room(100)
    assert g.show("getdents64", fd, buf, 100) == f"getdents64({fd}, {buf:#x} /* 2 entries */, 100) = 48"
    assert g.show("getcwd", g.room(10), 10) == 'getcwd("/", 10) = 2'
    assert g.show("mknod", "/p", 0o010644, 0) == 'mknod("/p", S_IFIFO|0644, makedev(0x0, 0x0)) = 0'
    g.call("symlink", "target", "/l")
    assert g.show("readlink", "/l", g.room(64), 64) == 'readlink("/l", "target", 64) = 6'
    assert g.show("renameat2", -100, "/p", -100, "/q", 1) == (
        'renameat2(AT_FDCWD, "/p", AT_FDCWD, "/q", RENAME_NOREPLACE) = 0'
    )
