"""open of SerenityOS: its flags, its order of refusals, what it promises, what its descriptors can do."""

from __future__ import annotations

import pytest

from ring3.abi.flags import MountFlags
from ring3.calls.gate import gate
from ring3.personality.serenity.flags import outward_mount_flags
from ring3.policy.confinement import Confinement
from ring3.policy.promises import mask_of
from ring3.proc.cred import Cred
from ring3.vfs.file import PathFile
from tests.unit.calls.serenity.guest import (
    AT_FDCWD,
    O_APPEND,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_EXEC,
    O_NOFOLLOW,
    O_NONBLOCK,
    O_RDONLY,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    SerenityGuest,
)

OPEN = "<i4xQQiH2x"
SOMEBODY = Cred(7, 7, 7, 7, 7, 7, 7, 7)


def params(g: SerenityGuest, path: str, options: int, mode: int = 0o644, dirfd: int = AT_FDCWD) -> int:
    return g.params(OPEN, dirfd, path, options, mode)


@pytest.fixture
def tree(g: SerenityGuest) -> SerenityGuest:
    """Files of every kind."""
    g.call("close", g.open("/file", O_RDWR | O_CREAT, 0o644))
    g.call("mkdir", AT_FDCWD, "/dir", 0o755)
    g.p.fs.umask = 0
    g.call("mkdir", AT_FDCWD, "/tmp", 0o1777)
    g.call("mknod", g.params("<QQH2xI", "/fifo", 0o010644, 0))
    g.call("mknod", g.params("<QQH2xI", "/socket", 0o140644, 0))
    g.call("mknod", g.params("<QQH2xI", "/nodev", 0o020644, 0xC8FF))
    g.call("symlink", g.params("<QQQQi4x", "/file", "/link", AT_FDCWD))
    g.call("symlink", g.params("<QQQQi4x", "/made", "/dangling", AT_FDCWD))
    return g


@pytest.mark.parametrize(("path", "options", "refusal"), [
    ("/file", O_RDONLY | 1 << 29, "EINVAL"),
    ("/file", O_RDONLY | 1 << 30, "EINVAL"),
    ("/missing", 1 << 30, "EINVAL"),
    ("", O_RDONLY, "EINVAL"),
    ("/dir", O_RDWR | O_CREAT | O_DIRECTORY, "EINVAL"),
    ("/missing/x", O_RDWR | O_CREAT | O_DIRECTORY, "EINVAL"),
    ("/missing", O_RDONLY, "ENOENT"),
    ("/missing/x", O_RDWR | O_CREAT, "ENOENT"),
    ("/new/", O_RDWR | O_CREAT, "ENOENT"),
    ("/file/", O_RDONLY, "ENOTDIR"),
    ("/file/x", O_RDWR | O_CREAT, "ENOTDIR"),
    ("/file", O_RDWR | O_CREAT | O_EXCL, "EEXIST"),
    ("/dangling", O_RDWR | O_CREAT | O_EXCL, "EEXIST"),
    ("/dir", O_RDONLY | O_CREAT | O_EXCL, "EEXIST"),
    ("/file", O_RDONLY | O_DIRECTORY, "ENOTDIR"),
    ("/dev/zero", O_RDONLY | O_DIRECTORY, "ENOTDIR"),
    ("/dir", O_WRONLY, "EISDIR"),
    ("/dir", O_RDWR | O_CREAT, "EISDIR"),
    ("/link", O_RDONLY | O_NOFOLLOW, "ELOOP"),
    ("/fifo", 0, "EINVAL"),
    ("/fifo", O_EXEC, "EINVAL"),
    ("/nodev", O_RDONLY, "ENODEV"),
    ("/socket", O_RDWR, "ENXIO"),
    ("/socket", 0, "ENXIO"),
    ("/" + "n" * 256, O_RDONLY, "ENAMETOOLONG"),
    ("/" * 4097, O_RDONLY, "ENAMETOOLONG"),
    ("/" * 4096, O_WRONLY, "EISDIR"),                                  # 4096 bytes are no more than a path may have
])
def test_refusals(tree: SerenityGuest, path: str, options: int, refusal: str) -> None:
    before = len(tree.p.fds)
    assert tree.refusal("open", params(tree, path, options)) == refusal
    assert len(tree.p.fds) == before


def test_bad_directories_and_memory(tree: SerenityGuest) -> None:
    fd = tree.open("/file")
    assert tree.refusal("open", params(tree, "x", O_RDONLY, dirfd=fd)) == "ENOTDIR"
    assert tree.refusal("open", params(tree, "/file", O_RDONLY, dirfd=99)) == "EBADF"         # although the path is absolute
    tree.call("pipe", fds := tree.room(8), 0)
    assert tree.refusal("open", params(tree, "x", O_RDONLY, dirfd=tree.int32(fds))) == "ENOTDIR"
    assert tree.refusal("open", 8) == "EFAULT"
    assert tree.refusal("open", tree.params(OPEN, AT_FDCWD, 8, 4, O_RDONLY, 0)) == "EFAULT"


def test_permissions_come_before_kinds(tree: SerenityGuest) -> None:
    tree.call("fchmod", tree.open("/file"), 0o600)
    tree.p.cred = SOMEBODY
    assert tree.refusal("open", params(tree, "/file", O_RDONLY)) == "EACCES"
    assert tree.refusal("open", params(tree, "/dir", O_RDWR)) == "EACCES"                     # not EISDIR
    assert tree.refusal("open", params(tree, "/dev/null", O_EXEC)) == "EACCES"
    assert tree.refusal("open", params(tree, "/dir/new", O_RDWR | O_CREAT)) == "EACCES"
    tree.call("close", tree.open("/file", 0))                                                 # neither is asked for


def test_root_runs_what_nobody_may_run(tree: SerenityGuest) -> None:
    fd = tree.open("/file", O_EXEC)
    assert isinstance(tree.p.fds.get(fd), PathFile)


def test_neither_read_nor_written(tree: SerenityGuest) -> None:
    fd = tree.open("/file", 0)
    assert tree.refusal("read", fd, tree.room(8), 1) == "EBADF"
    assert tree.refusal("write", fd, tree.room(8), 1) == "EBADF"
    assert tree.refusal("ftruncate", fd, tree.words(0)) == "EBADF"
    assert tree.call("fstat", fd, tree.room(104)) == 0
    made = tree.open("/empty", O_CREAT)
    assert tree.refusal("read", made, tree.room(8), 1) == "EBADF"
    tree.p.cred = SOMEBODY
    directory = tree.open("/dir", O_DIRECTORY)
    assert tree.call("fchdir", directory) == 0


def test_creating(tree: SerenityGuest) -> None:
    tree.p.fs.umask = 0o022
    fd = tree.open("/new", O_WRONLY | O_CREAT, 0o7777)
    attr = tree.p.fds.get(fd).getattr()
    assert attr.mode == 0o100755                                        # no bits but those of permissions
    assert tree.open("/dangling", O_RDWR | O_CREAT) > fd
    assert tree.open("/made", O_RDONLY) > fd
    assert tree.open("/dir", O_RDONLY | O_CREAT) > fd                   # a directory that is there is not written


def test_truncation_is_writing(tree: SerenityGuest) -> None:
    fd = tree.open("/file", O_RDWR)
    tree.call("write", fd, tree.put(b"12345"), 5)
    tree.call("close", tree.open("/file", O_RDONLY | O_TRUNC))
    assert tree.p.fds.get(fd).getattr().size == 5
    tree.call("close", tree.open("/file", O_WRONLY | O_TRUNC))
    assert tree.p.fds.get(fd).getattr().size == 0


def test_read_only_mounts(tree: SerenityGuest) -> None:
    assert tree.call("mount", tree.params("<QQQQii", "/dir", "tmp", -1, 16)) == 0
    assert tree.refusal("open", params(tree, "/dir/x", O_RDWR | O_CREAT)) == "EROFS"
    assert tree.refusal("mkdir", AT_FDCWD, "/dir/x", 0o755) == "EROFS"
    tree.p.cred = SOMEBODY
    tree.p.fs.root.child(b"dir").top().vnode.mode = 0o040755            # type: ignore[attr-defined]
    assert tree.refusal("open", params(tree, "/dir/x", O_RDWR | O_CREAT)) == "EACCES"


def test_mounts_without_regular_files(tree: SerenityGuest) -> None:
    """They are made and listed, but none is opened; directories are."""
    assert tree.call("mount", tree.params("<QQQQii", "/dir", "tmp", -1, 256)) == 0
    tree.call("open", params(tree, "/dir/x", O_RDWR | O_CREAT))
    assert tree.refusal("open", params(tree, "/dir/x", O_RDONLY)) == "EACCES"
    assert tree.refusal("open", params(tree, "/dir/x", O_RDONLY | O_DIRECTORY)) == "EACCES"      # before that it is none
    assert tree.call("open", params(tree, "/dir", O_RDONLY | O_DIRECTORY)) > 0


@pytest.mark.parametrize(("number", "flag"), [
    (64, MountFlags.WXALLOWED), (128, MountFlags.AXALLOWED), (256, MountFlags.NOREGULAR),
    (64 | 4, MountFlags.WXALLOWED | MountFlags.NOSUID),
])
def test_what_a_mount_allows(tree: SerenityGuest, number: int, flag: MountFlags) -> None:
    assert tree.call("mount", tree.params("<QQQQii", "/dir", "tmp", -1, number)) == 0
    mount = tree.p.fs.root.child(b"dir").top().mount
    assert mount.flags == flag
    assert outward_mount_flags(mount.flags) == number


def test_there_are_1024_descriptors(tree: SerenityGuest) -> None:
    tree.p.rlimits[7] = (1 << 20, 1 << 20)
    fd = tree.open("/file")
    for number in range(1024):
        if number not in tree.p.fds:
            tree.call("dup2", fd, number)
    assert tree.refusal("open", params(tree, "/missing", O_RDONLY)) == "EMFILE"
    assert tree.refusal("fcntl", fd, 0, 0) == "EMFILE"


def test_flags_are_told_as_they_were_given(tree: SerenityGuest) -> None:
    fd = tree.open("/file", O_RDWR | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_CREAT)
    assert tree.call("fcntl", fd, 3, 0) == O_RDWR | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_CREAT
    assert tree.call("fcntl", fd, 1, 0) == 1
    assert tree.call("fcntl", fd, 4, O_NONBLOCK) == 0
    assert tree.call("fcntl", fd, 3, 0) == O_RDWR | O_NONBLOCK
    assert tree.call("fcntl", tree.open("/file", O_EXEC), 3, 0) == 0


def test_a_fifo_waits_for_its_other_side_whatever_the_flags(tree: SerenityGuest) -> None:
    sleeper = tree.sleep("open", params(tree, "/fifo", O_WRONLY | O_NONBLOCK))
    reader = tree.open("/fifo", O_RDONLY | O_NONBLOCK)
    writer = sleeper.resume()
    assert tree.call("write", writer, tree.put(b"x"), 1) == 1
    assert tree.call("read", reader, tree.room(4), 4) == 1
    assert tree.refusal("read", reader, tree.room(4), 4) == "EAGAIN"


def test_a_guarded_link(tree: SerenityGuest) -> None:
    """Somebody else's link in a sticky directory that all may write: not followed, by root neither."""
    tree.p.cred = SOMEBODY
    tree.call("symlink", tree.params("<QQQQi4x", "/file", "/tmp/theirs", AT_FDCWD))
    tree.call("close", tree.open("/tmp/theirs", O_RDONLY))
    tree.p.cred = Cred()
    assert tree.p.fs.root.child(b"tmp").vnode.getattr().mode == 0o041777
    assert tree.refusal("open", params(tree, "/tmp/theirs", O_RDONLY)) == "EACCES"
    assert tree.refusal("stat", tree.params("<QQQii", "/tmp/theirs", tree.room(104), AT_FDCWD, 1)) == "EACCES"
    assert tree.call("stat", tree.params("<QQQii", "/tmp/theirs", tree.room(104), AT_FDCWD, 0)) == 0
    assert tree.call("unlink", AT_FDCWD, "/tmp/theirs", 0) == 0


@pytest.mark.parametrize(("options", "held", "missing"), [
    (O_RDONLY, "wpath cpath", "rpath"), (O_WRONLY, "rpath", "wpath"), (O_RDWR, "wpath", None), (O_RDWR, "rpath", "wpath"),
    (O_RDONLY | O_CREAT, "rpath", "cpath"), (O_WRONLY | O_CREAT, "wpath cpath", None), (O_EXEC, "stdio", None),
    (O_CREAT, "cpath", None), (0, "", None),
])
def test_promises_go_by_the_flags(tree: SerenityGuest, options: int, held: str, missing: str | None) -> None:
    tree.p.confinement = Confinement(gate, mask_of(held.split()), mode="eperm")
    tree.t.abi = tree.p.confinement.abis(tree.p.personality)[tree.t.cpu.arch]
    if missing is None:
        assert tree.open("/file", options) >= 0
    else:
        assert tree.refusal("open", params(tree, "/file", options)) == "EPERM"


def test_how_it_prints(tree: SerenityGuest) -> None:
    assert tree.show("open", params(tree, "/file", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)) == (
        'open({dirfd=AT_FDCWD, path="/file", options=O_RDWR|O_CREAT|O_CLOEXEC, mode=0600})'
    )
    assert "options=O_EXEC|O_DIRECTORY" in tree.show("open", params(tree, "/file", O_EXEC | O_DIRECTORY))
