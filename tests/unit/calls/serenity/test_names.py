"""Names as SerenityOS makes, moves and removes them, and where they lead: orders of refusals, sticky directories, lengths."""

from __future__ import annotations

import os
import struct

import pytest

from ring3.abi.flags import AT_FDCWD as NEUTRAL_FDCWD
from ring3.abi.records import AttrChange
from ring3.personality.serenity.layouts_files import device_number
from ring3.proc.cred import Cred
from tests.unit.calls.serenity.guest import AT_FDCWD, O_CREAT, O_RDONLY, O_RDWR, SerenityGuest

ME = Cred(7, 7, 7, 7, 7, 7, 7, 7)
OTHER = Cred(8, 8, 8, 8, 8, 8, 8, 8)
AT_REMOVEDIR = 0x200


def rename(g: SerenityGuest, old: str, new: str) -> int:
    return g.params("<i4xQQi4xQQ", AT_FDCWD, old, AT_FDCWD, new)


def two(g: SerenityGuest, old: str, new: str) -> int:
    return g.params("<QQQQ", old, new)


def symlink(g: SerenityGuest, target: str, path: str) -> int:
    return g.params("<QQQQi4x", target, path, AT_FDCWD)


@pytest.fixture
def tree(g: SerenityGuest) -> SerenityGuest:
    """Directories with something in them, all root's; /open is everybody's, /tmp sticky too and somebody's."""
    g.p.fs.umask = 0
    for path, mode in (("/dir", 0o755), ("/dir/in", 0o755), ("/empty", 0o755), ("/open", 0o777), ("/tmp", 0o1777)):
        g.call("mkdir", AT_FDCWD, path, mode)
    for path in ("/file", "/dir/file", "/open/file", "/open/other"):
        g.call("close", g.open(path, O_RDWR | O_CREAT, 0o644))
    g.call("symlink", symlink(g, "/dir", "/link"))
    return g


@pytest.mark.parametrize(("old", "new", "refusal"), [
    ("/missing", "/x", "ENOENT"), ("/file", "/missing/x", "ENOENT"), ("/file/", "/x", "ENOTDIR"), ("/file", "/file/x", "ENOTDIR"),
    ("/", "/x", "EPERM"), ("/file", "/", "EPERM"), ("/empty", "/dir", "ENOTEMPTY"), ("/dir", "/dir/in/x", "EDIRINTOSELF"),
    ("/dir/in", "/dir/in/x", "EDIRINTOSELF"), ("/dir/.", "/x", "EINVAL"), ("/dir/..", "/x", "EINVAL"),
    ("/file", "/open/.", "EINVAL"),
    ("/file", "/empty", "EISDIR"), ("/empty", "/file", "ENOTDIR"), ("", "/x", "EINVAL"), ("/file", "/dev/x", "EXDEV"),
])
def test_renames_that_are_refused(tree: SerenityGuest, old: str, new: str, refusal: str) -> None:
    assert tree.refusal("rename", rename(tree, old, new)) == refusal


def test_renames(tree: SerenityGuest) -> None:
    assert tree.call("rename", rename(tree, "/file", "/file")) == 0
    tree.call("link", two(tree, "/file", "/same"))
    assert tree.call("rename", rename(tree, "/file", "/same")) == 0             # one file: nothing happens
    assert tree.call("rename", rename(tree, "/file", "/open/other")) == 0
    assert tree.refusal("chdir", "/file") == "ENOENT"
    assert tree.call("rename", rename(tree, "/empty", "/open/empty")) == 0
    assert tree.call("rename", rename(tree, "/open/other", "/link")) == 0       # the link is replaced, not what it names
    assert tree.call("chdir", "/dir") == 0


def test_sticky_directories_keep_what_is_not_ones_own(tree: SerenityGuest) -> None:
    """Not even the directory's owner may take it, and it is EACCES."""
    tree.p.fs.root.child(b"tmp").vnode.setattr(AttrChange(uid=7))
    tree.p.cred = OTHER
    tree.call("close", tree.open("/tmp/theirs", O_RDWR | O_CREAT, 0o666))
    tree.call("mkdir", AT_FDCWD, "/tmp/sub", 0o777)
    tree.p.cred = ME
    tree.call("close", tree.open("/tmp/mine", O_RDWR | O_CREAT, 0o666))
    assert tree.refusal("unlink", AT_FDCWD, "/tmp/theirs", 0) == "EACCES"
    assert tree.refusal("rmdir", "/tmp/sub") == "EACCES"
    assert tree.refusal("rename", rename(tree, "/tmp/theirs", "/tmp/taken")) == "EACCES"
    assert tree.refusal("rename", rename(tree, "/tmp/mine", "/tmp/theirs")) == "EACCES"
    assert tree.call("rename", rename(tree, "/tmp/mine", "/tmp/still")) == 0
    tree.p.cred = Cred()
    assert tree.call("unlink", AT_FDCWD, "/tmp/theirs", 0) == 0
    assert tree.call("unlink", AT_FDCWD, "/tmp/sub", AT_REMOVEDIR) == 0


@pytest.mark.parametrize(("path", "flags", "refusal"), [
    ("/missing", 0, "ENOENT"), ("/dir", 0, "EISDIR"), ("/file/", 0, "ENOTDIR"), ("/file", 0x100, "EINVAL"),
    ("/file", 0x400, "EINVAL"),
    ("/file", AT_REMOVEDIR, "ENOTDIR"), ("/link", AT_REMOVEDIR, "ENOTDIR"), ("/dir", AT_REMOVEDIR, "ENOTEMPTY"),
    ("/", AT_REMOVEDIR, "EBUSY"), ("/dev", AT_REMOVEDIR, "EBUSY"), ("", 0, "EINVAL"), ("/.", 0, "EISDIR"),
])
def test_removals_that_are_refused(tree: SerenityGuest, path: str, flags: int, refusal: str) -> None:
    assert tree.refusal("unlink", AT_FDCWD, path, flags) == refusal


def test_what_is_refused_first(tree: SerenityGuest) -> None:
    tree.p.cred = ME
    assert tree.refusal("unlink", AT_FDCWD, "/dir/in", 0) == "EISDIR"           # before that the directory cannot be written
    assert tree.refusal("unlink", AT_FDCWD, "/dir/file", 0) == "EACCES"
    assert tree.refusal("rmdir", "/dir/file") == "ENOTDIR"
    assert tree.refusal("rmdir", "/dir/in") == "EACCES"
    assert tree.refusal("mkdir", AT_FDCWD, "/dir/new", 0o755) == "EACCES"
    assert tree.refusal("mkdir", AT_FDCWD, "/dir/in", 0o755) == "EEXIST"
    assert tree.refusal("link", two(tree, "/dir", "/dir/hard")) == "EACCES"     # before EPERM for a directory
    assert tree.refusal("link", two(tree, "/dir", "/open/hard")) == "EPERM"
    assert tree.refusal("link", two(tree, "/file", "/open/hard")) == "EPERM"    # somebody else's, not mine to write
    assert tree.refusal("link", two(tree, "/file", "/dev/hard")) == "EXDEV"
    assert tree.refusal("mknod", tree.params("<QQH2xI", "", 0o020666, 0)) == "EINVAL"
    assert tree.refusal("mknod", tree.params("<QQH2xI", "/open/device", 0o020666, 0)) == "EPERM"
    assert tree.refusal("mknod", tree.params("<QQH2xI", "/open/x", 0o666, 0)) == "EPERM"


def test_root_links_no_set_id_file_of_others(tree: SerenityGuest) -> None:
    tree.p.fs.root.child(b"file").vnode.setattr(AttrChange(uid=8, mode=0o4755))
    assert tree.refusal("link", two(tree, "/file", "/hard")) == "EPERM"
    tree.p.fs.root.child(b"file").vnode.setattr(AttrChange(uid=8, mode=0o0755))
    assert tree.call("link", two(tree, "/file", "/hard")) == 0
    assert tree.refusal("link", two(tree, "/file", "/hard")) == "EEXIST"


def test_nodes(tree: SerenityGuest) -> None:
    assert tree.refusal("mknod", tree.params("<QQH2xI", "/x", 0o666, 0)) == "EINVAL"            # no kind at all
    assert tree.refusal("mknod", tree.params("<QQH2xI", "/x", 0o040666, 0)) == "EINVAL"
    number = 0x123 & 0xFF | 5 << 8 | (0x123 & ~0xFF) << 12
    assert tree.call("mknod", tree.params("<QQH2xI", "/x", 0o020666, number)) == 0
    assert tree.p.fs.root.child(b"x").vnode.getattr().rdev == os.makedev(5, 0x123)
    assert device_number(os.makedev(5, 0x123)) == number
    assert tree.refusal("mknod", tree.params("<QQH2xI", "/x", 0o100666, 0)) == "EEXIST"
    assert tree.refusal("mknod", tree.params("<QQH2xI", "/missing/x", 0o100666, 0)) == "ENOENT"


# --- where names lead
def test_lengths_are_told_whole(tree: SerenityGuest) -> None:
    buf = tree.put(b"\xff" * 64)
    tree.call("chdir", "/dir/in")
    assert tree.call("getcwd", buf, 64) == 8
    assert tree.get(buf, 9) == b"/dir/in\0\xff"
    small = tree.put(b"\xff" * 16)
    assert tree.call("getcwd", small, 3) == 8
    assert tree.get(small, 4) == b"/di\xff"
    assert tree.call("getcwd", 0, 0) == 8
    assert tree.refusal("getcwd", small, 1 << 63) == "EINVAL"
    assert tree.call("realpath", tree.params("<QQQQ", "../../link/./in/..", small, 4)) == 5
    assert tree.get(small, 5) == b"/dir\xff"
    assert tree.call("readlink", tree.params("<QQQQi4x", "/link", small, 2, AT_FDCWD)) == 4
    assert tree.get(small, 2) == b"/d"
    assert tree.refusal("readlink", tree.params("<QQQQi4x", "/file", small, 2, AT_FDCWD)) == "EINVAL"
    assert tree.refusal("realpath", tree.params("<QQQQ", "/missing", small, 4)) == "ENOENT"


def test_links_beyond_eight(tree: SerenityGuest) -> None:
    tree.call("symlink", symlink(tree, "/file", "/l1"))
    for number in range(2, 10):
        tree.call("symlink", symlink(tree, f"/l{number - 1}", f"/l{number}"))
    assert tree.open("/l8", O_RDONLY) >= 0
    assert tree.refusal("stat", tree.params("<QQQii", "/l9", tree.room(104), AT_FDCWD, 1)) == "ELOOP"
    assert tree.call("stat", tree.params("<QQQii", "/l9", tree.room(104), AT_FDCWD, 0)) == 0


def test_current_directory(tree: SerenityGuest) -> None:
    tree.p.cred = ME
    assert tree.refusal("chdir", "/file") == "ENOTDIR"
    assert tree.refusal("fchdir", 99) == "EBADF"
    assert tree.refusal("fchdir", tree.open("/file", O_RDONLY)) == "ENOTDIR"
    tree.p.cred = Cred()
    tree.call("mkdir", AT_FDCWD, "/closed", 0o700)
    fd = tree.open("/closed", O_RDONLY)
    tree.p.cred = ME
    assert tree.refusal("chdir", "/closed") == "EACCES"
    assert tree.refusal("fchdir", fd) == "EACCES"
    tree.p.cred = Cred()
    assert tree.call("fchdir", fd) == 0


# --- directories and file systems
def entries(data: bytes) -> dict[bytes, tuple[int, int]]:
    found = {}
    while data:
        ino, kind, length = struct.unpack_from("<QBI", data)
        found[data[13 : 13 + length]] = (ino, kind)
        data = data[13 + length :]
    return found


def test_a_directory_is_told_whole_each_time(tree: SerenityGuest) -> None:
    fd = tree.open("/dir", O_RDONLY)
    buf = tree.room(4096)
    size = tree.call("get_dir_entries", fd, buf, 4096)
    found = entries(tree.get(buf, size))
    assert {name: kind for name, (_, kind) in found.items()} == {b".": 4, b"..": 4, b"in": 4, b"file": 8}
    assert found[b"."][0] == tree.p.fds.get(fd).getattr().ino
    assert tree.call("get_dir_entries", fd, buf, size) == size
    assert tree.refusal("get_dir_entries", fd, buf, size - 1) == "EINVAL"
    assert tree.refusal("get_dir_entries", fd, 8, 4096) == "EFAULT"
    assert tree.refusal("get_dir_entries", fd, buf, 1 << 63) == "EINVAL"
    assert tree.refusal("get_dir_entries", tree.open("/file", O_RDONLY), buf, 4096) == "ENOTDIR"
    tree.call("close", tree.open("/dir/new", O_RDWR | O_CREAT))
    assert b"new" in entries(tree.get(buf, tree.call("get_dir_entries", fd, buf, 4096)))


def test_file_systems(tree: SerenityGuest) -> None:
    buf = tree.room(104)
    assert tree.call("statvfs", tree.params("<QQQ", "/dir", buf)) == 0
    words = struct.unpack("<11Q16s", tree.get(buf, 104))
    assert words[0] == words[1] == 4096
    assert words[8:11] == (0, 0, 255)
    assert words[11].rstrip(b"\0") == b"tmpfs"
    assert tree.call("mount", tree.params("<QQQQii", "/empty", "TmpFS", -1, 4 | 16)) == 0
    assert tree.call("fstatvfs", tree.open("/empty", O_RDONLY), buf) == 0
    assert struct.unpack("<11Q16s", tree.get(buf, 104))[9] == 3                 # read-only, no set-id
    assert tree.refusal("umount", "/dir") == "ENODEV"
    assert tree.refusal("umount", "/") == "EBUSY"
    assert tree.refusal("rmdir", "/empty") == "EBUSY"
    tree.call("chdir", "/")
    for fd in list(tree.p.fds):
        tree.call("close", fd)
    assert tree.call("umount", "/empty") == 0
    assert tree.call("rmdir", "/empty") == 0


@pytest.mark.parametrize(("kind", "fd", "flags", "refusal"), [
    ("nonsense", -1, 0, "ENODEV"), ("ext2", -1, 0, "EBADF"), ("", -1, 8, "EBADF"), ("proc", -1, 0, "EPERM"),
    ("tmp", -1, 32, "EPERM"),
])
def test_mounts_that_are_refused(tree: SerenityGuest, kind: str, fd: int, flags: int, refusal: str) -> None:
    assert tree.refusal("mount", tree.params("<QQQQii", "/empty", kind, fd, flags)) == refusal
    tree.p.cred = ME
    assert tree.refusal("mount", tree.params("<QQQQii", "/missing", kind, fd, flags)) == "EPERM"
    assert tree.refusal("umount", "/missing") == "EPERM"


def test_how_paths_print(tree: SerenityGuest) -> None:
    assert NEUTRAL_FDCWD == AT_FDCWD
    assert tree.show("unlink", AT_FDCWD, "/dir", AT_REMOVEDIR) == 'unlink(AT_FDCWD, "/dir", 4, AT_REMOVEDIR)'
    assert tree.show("chdir", "/dir/in") == 'chdir("/dir/in", 7)'
    assert tree.show("chdir", 8, 4) == "chdir(0x8, 4)"
    assert 'fs_type="tmp", source_fd=-1, flags=MS_NODEV|MS_RDONLY' in tree.show(
        "mount", tree.params("<QQQQii", "/empty", "tmp", -1, 17)
    )
