"""No path, link or race leads out of a host directory; what must not be opened is not."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ring3.abi.flags import ACCMODE, MountFlags, OpenFlags, RenameFlags
from ring3.errors import EINVAL, ELOOP, ENOENT, ENOTDIR, ENXIO, EROFS, EXDEV, Errno
from ring3.proc.cred import Cred
from ring3.vfs import names
from ring3.vfs.hostdir import HostDirFS
from ring3.vfs.memory import MemoryFS
from ring3.vfs.mount import MountTable
from ring3.vfs.namei import NameiContext, Resolve, namei, namei_parent
from ring3.vfs.opening import open_file
from ring3.vfs.overlay import OverlayFS


@pytest.fixture
def jail(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "secret").write_text("secret")
    inside = tmp_path / "jail"
    (inside / "d").mkdir(parents=True)
    (inside / "d" / "f").write_text("inside")
    return inside


def context(jail: Path, *, writable: bool = True) -> NameiContext:
    root = MountTable().mount(HostDirFS(os.fsencode(jail), writable=writable), None).root
    return NameiContext(root, root, Cred())


@pytest.mark.parametrize("target", [
    "../secret", "../../../../../../etc/passwd", "/etc/passwd", "/proc/self/root/etc/passwd", "/secret",
    "../out/secret",
    "d/../../secret",
])
def test_links_stay_inside(jail: Path, target: str) -> None:
    (jail / "link").symlink_to(target)
    ctx = context(jail)
    with pytest.raises(ENOENT):
        open_file(ctx, b"link", OpenFlags.RDONLY)
    with pytest.raises(Errno):
        open_file(ctx, b"link", OpenFlags.RDWR | OpenFlags.CREAT | OpenFlags.EXCL, 0o600)
    (jail / "etc").symlink_to("/")
    assert namei(ctx, b"etc/etc/../..").path(ctx.root) == b"/"


def test_creating_through_a_link_creates_inside(jail: Path) -> None:
    (jail / "link").symlink_to("/made")
    open_file(context(jail), b"link", OpenFlags.WRONLY | OpenFlags.CREAT, 0o600).write(b"x")
    assert (jail / "made").read_bytes() == b"x"


def test_dotdot_at_the_root_is_the_root(jail: Path) -> None:
    ctx = context(jail)
    assert namei(ctx, b"/../../d/../../d/f").vnode.read(0, 10) == b"inside"
    assert namei(ctx, b"..", at=ctx.root) is ctx.root


def test_directory_swapped_for_a_link_between_lookups(jail: Path) -> None:
    ctx = context(jail)
    held = namei(ctx, b"d")
    file = namei(ctx, b"d/f")
    (jail / "d").rename(jail / "moved")
    (jail / "d").symlink_to("../out")
    (jail.parent / "out" / "f").write_text("outside")
    assert namei(ctx, b"f", at=held).vnode.read(0, 10) == b"inside"     # the directory that was opened
    assert file.vnode.read(0, 10) == b"inside"
    with pytest.raises(ENOENT):
        namei(ctx, b"d/f")                              # "../out" from the top is "/out"


def test_file_swapped_between_lookup_and_open(jail: Path) -> None:
    ctx = context(jail)
    file = namei(ctx, b"d/f")
    (jail / "d" / "f").rename(jail / "d" / "kept")
    (jail / "d" / "f").symlink_to(jail.parent / "secret")
    with pytest.raises(ENOENT):
        file.vnode.read(0, 10)
    (jail / "d" / "f").unlink()
    os.mkfifo(jail / "d" / "f")
    with pytest.raises(ENOENT):
        file.vnode.host_fd(write=True)


def test_unopened_directory_swapped_for_a_link(jail: Path) -> None:
    ctx = context(jail)
    held = namei(ctx, b"d")
    (jail / "d").rename(jail / "moved")
    (jail / "d").symlink_to(jail.parent / "out")
    with pytest.raises(Errno):
        namei(ctx, b"secret", at=held)
    assert sorted(p.name for p in (jail.parent / "out").iterdir()) == ["secret"]


@pytest.mark.parametrize("name", [b"../secret", b"a/b", b"/etc/passwd", b".", b"..", b"", b"a\0b"])
def test_only_single_names_reach_the_host(jail: Path, name: bytes) -> None:
    root = HostDirFS(os.fsencode(jail), writable=True).root()
    none = RenameFlags(0)
    for ask in (
        lambda: root.lookup(name), lambda: root.unlink(name), lambda: root.rmdir(name),
        lambda: root.mkdir(name, 0o700, 0, 0), lambda: root.create(name, 0o100600, 0, 0),
        lambda: root.symlink(name, b"x", 0, 0), lambda: root.rename(b"d", root, name, none),
        lambda: root.rename(name, root, b"x", none), lambda: root.link(name, root.lookup(b"d").lookup(b"f")),
    ):
        with pytest.raises(EINVAL):
            ask()


def test_devices_fifos_and_sockets_of_the_host_stay_closed(jail: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(jail / "s"))
        server.listen()
        ctx = context(jail)
        with pytest.raises(ENXIO):
            open_file(ctx, b"s", OpenFlags.RDWR)
    os.mkfifo(jail / "p")
    with pytest.raises(Errno):
        namei(ctx, b"p").vnode.read(0, 1)
    if os.geteuid() == 0:
        os.mknod(jail / "null", 0o020666, os.makedev(1, 3))
        with pytest.raises(ENXIO):
            open_file(ctx, b"null", OpenFlags.RDWR)


@pytest.mark.parametrize("overlay", [False, True])
def test_windows_into_the_host_kernel_are_empty(overlay: bool) -> None:
    host = HostDirFS(b"/")
    fs = OverlayFS(host, MemoryFS()) if overlay else host
    root = MountTable().mount(fs, None).root
    ctx = NameiContext(root, root, Cred())
    assert namei(ctx, b"/proc").vnode.readdir() == []
    for path in (b"/proc/self/mem", b"/proc/1/root/etc", b"/dev/pts/0"):
        with pytest.raises(ENOENT):
            open_file(ctx, path, OpenFlags.RDONLY)
    with pytest.raises(EINVAL):
        HostDirFS(b"/proc/self")


@pytest.mark.parametrize(("flags", "writable"), [(MountFlags.NONE, False), (MountFlags.RDONLY, True)])
def test_read_only_refuses_every_change(jail: Path, flags: MountFlags, writable: bool) -> None:
    root = MountTable().mount(HostDirFS(os.fsencode(jail), writable=writable), None, flags).root
    ctx = NameiContext(root, root, Cred())
    for ask in (
        lambda: names.mkdir(ctx, b"n", 0o700), lambda: names.rmdir(ctx, b"d"), lambda: names.unlink(ctx, b"d/f"),
        lambda: names.symlink(ctx, b"x", b"n"), lambda: names.link(ctx, b"d/f", b"n"),
        lambda: names.rename(ctx, b"d", b"n"), lambda: names.mknod(ctx, b"n", 0o100600),
        lambda: open_file(ctx, b"d/f", OpenFlags.WRONLY), lambda: open_file(ctx, b"d/f", OpenFlags.TRUNC),
        lambda: open_file(ctx, b"n", OpenFlags.CREAT),
        lambda: open_file(ctx, b"d", OpenFlags.TMPFILE | OpenFlags.DIRECTORY | OpenFlags.RDWR),
    ):
        with pytest.raises(EROFS):
            ask()
    assert (jail / "d" / "f").read_text() == "inside"


def test_resolve_limits(jail: Path) -> None:
    (jail / "d" / "up").symlink_to("../d/f")
    (jail / "d" / "abs").symlink_to("/d/f")
    ctx = context(jail)
    held = namei(ctx, b"d")
    for path, resolve, refusal in (
        (b"../d/f", Resolve.BENEATH, EXDEV), (b"/d/f", Resolve.BENEATH, EXDEV), (b"up", Resolve.BENEATH, EXDEV),
        (b"abs", Resolve.IN_ROOT, ENOENT), (b"up", Resolve.NO_SYMLINKS, ELOOP),
    ):
        with pytest.raises(refusal):
            namei(ctx, path, at=held, resolve=resolve)
    assert namei(ctx, b"../../f", at=held, resolve=Resolve.IN_ROOT).name == b"f"


def test_link_loops_and_depth(jail: Path) -> None:
    (jail / "l0").symlink_to("d/f")
    for n in range(1, 45):
        (jail / f"l{n}").symlink_to(f"l{n - 1}")
    ctx = context(jail)
    assert namei(ctx, b"l39").vnode.read(0, 10) == b"inside"
    with pytest.raises(ELOOP):
        namei(ctx, b"l40")
    with pytest.raises(ENOTDIR):
        namei(ctx, b"l5/x")
    assert namei_parent(ctx, b"d//x/")[1:] == (b"x", True)


def test_descriptors_come_back(jail: Path) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = count()
    ctx = context(jail)
    for n in range(50):
        file = open_file(ctx, b"d/%d" % n, OpenFlags.RDWR | OpenFlags.CREAT, 0o600)
        file.write(b"x")
        assert file.flags & ACCMODE == OpenFlags.RDWR
        file.acquire().release()
    del file
    assert count() <= before + 3
    ctx.root.mount.fs.close()
    mount = ctx.root.mount
    del ctx
    mount._recent.clear()
    assert count() <= before
