"""Inode watchers of SerenityOS: what they tell of, in which form, and to whom who waits."""

from __future__ import annotations

import struct

import pytest

from ring3.errors import EAGAIN
from tests.unit.calls.serenity.guest import AT_FDCWD, O_CREAT, O_RDONLY, O_RDWR, SerenityGuest
from tests.unit.calls.stage import Stage

METADATA, CONTENT, DELETED, CREATED, REMOVED = 1, 2, 4, 8, 16
ALL = 31


@pytest.fixture
def fd(g: SerenityGuest) -> int:
    """A watcher that does not wait."""
    g.call("mkdir", AT_FDCWD, "/dir", 0o755)
    g.call("close", g.open("/dir/file", O_RDWR | O_CREAT))
    return g.call("create_inode_watcher", 1)


def add(g: SerenityGuest, fd: int, path: str, mask: int = ALL) -> int:
    return g.call("inode_watcher_add_watch", g.params("<QQiI", path, fd, mask))


def events(g: SerenityGuest, fd: int) -> list[tuple[int, int, bytes]]:
    """All that wait: (watch, type, name)."""
    found: list[tuple[int, int, bytes]] = []
    buf = g.room(512)
    while True:
        try:
            size = g.call("read", fd, buf, 512)
        except EAGAIN:
            return found
        wd, kind, length = struct.unpack("<iIQ", g.get(buf, 16))
        assert size == 16 + length
        found.append((wd, kind, g.get(buf + 16, length)))


def test_a_file(g: SerenityGuest, fd: int) -> None:
    wd = add(g, fd, "/dir/file")
    assert wd == 1
    assert events(g, fd) == []
    file = g.open("/dir/file")
    g.call("write", file, g.put(b"x"), 1)
    assert (wd, CONTENT, b"") in events(g, fd)
    g.call("fchmod", file, 0o600)
    assert events(g, fd) == [(wd, METADATA, b"")]
    g.call("unlink", AT_FDCWD, "/dir/file", 0)
    assert events(g, fd) == [(wd, DELETED, b"")]
    g.call("fchmod", file, 0o644)
    assert events(g, fd) == []


def test_a_directory(g: SerenityGuest, fd: int) -> None:
    wd = add(g, fd, "/dir", CREATED | REMOVED | DELETED)
    g.call("mkdir", AT_FDCWD, "/dir/sub", 0o755)
    g.call("rename", g.params("<i4xQQi4xQQ", AT_FDCWD, "/dir/file", AT_FDCWD, "/dir/moved"))
    assert events(g, fd) == [(wd, CREATED, b"moved\0"), (wd, CREATED, b"sub\0"), (wd, REMOVED, b"file\0")]
    g.call("rmdir", "/dir/sub")
    g.call("unlink", AT_FDCWD, "/dir/moved", 0)
    g.call("rmdir", "/dir")
    assert events(g, fd)[-1] == (wd, DELETED, b"")


def test_refusals(g: SerenityGuest, fd: int) -> None:
    assert g.refusal("inode_watcher_add_watch", 8) == "EFAULT"
    for params, refusal in (
        (("/dir", 99, ALL), "EBADF"), (("/dir", g.open("/dir", O_RDONLY), ALL), "EBADF"), (("/missing", fd, ALL), "ENOENT"),
        (("", fd, ALL), "EINVAL"),
    ):
        assert g.refusal("inode_watcher_add_watch", g.params("<QQiI", *params)) == refusal
    wd = add(g, fd, "/dir")
    assert g.refusal("inode_watcher_add_watch", g.params("<QQiI", "/dir/.", fd, 1)) == "EEXIST"
    assert g.refusal("inode_watcher_remove_watch", fd, 99) == "ENOENT"
    assert g.refusal("inode_watcher_remove_watch", 99, wd) == "EBADF"
    assert g.call("inode_watcher_remove_watch", fd, wd) == 0
    assert add(g, fd, "/dir") == wd + 1
    g.call("mkdir", AT_FDCWD, "/dir/sub", 0o755)
    refusals = [g.refusal("read", fd, g.room(16), 15) for _ in range(4)]
    assert (refusals[0], refusals[-1], events(g, fd)) == ("EINVAL", "EAGAIN", [])       # what had no room is lost
    assert g.refusal("write", fd, g.put(b"x"), 1) == "EIO"
    assert g.call("fcntl", g.call("create_inode_watcher", 2), 1, 0) == 1


@pytest.mark.usefixtures("fd")
def test_who_reads_waits(stage: Stage, g: SerenityGuest) -> None:
    waiting = g.call("create_inode_watcher", 0)
    wd = add(g, waiting, "/dir", CREATED)
    buf = g.room(64)
    sleeper = g.sleep("read", waiting, buf, 64)
    stage.skip(10**9)
    assert sleeper.resume() is None
    g.call("mkdir", AT_FDCWD, "/dir/sub", 0o755)
    stage.skip(10**9)
    assert sleeper.resume() == 20
    assert struct.unpack("<iIQ4s", g.get(buf, 20)) == (wd, CREATED, 4, b"sub\0")
    g.call("close", waiting)
    stage.skip(10**9)                                   # nobody looks any more


def test_how_it_prints(g: SerenityGuest, fd: int) -> None:
    assert g.show("create_inode_watcher", 3) == "create_inode_watcher(Nonblock|CloseOnExec)"
    assert g.show("inode_watcher_add_watch", g.params("<QQiI", "/dir", fd, 6)) == (
        f'inode_watcher_add_watch({{path="/dir", fd={fd}, mask=ContentModified|Deleted}})'
    )
