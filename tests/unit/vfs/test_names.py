"""Dentries, mounts, opening, the emulation root, the veil and /dev: what random calls do not reach."""

from __future__ import annotations

import pytest

from ring3.abi.flags import Access, MountFlags, OpenFlags, Whence
from ring3.abi.records import AttrChange
from ring3.errors import (
    EACCES,
    EBADF,
    EBUSY,
    EINVAL,
    EISDIR,
    ENOENT,
    ENOSPC,
    ENOTDIR,
    ENXIO,
    EPERM,
    ETXTBSY,
    EXDEV,
)
from ring3.proc.cred import Cred
from ring3.vfs import names
from ring3.vfs.access import prepare_change
from ring3.vfs.dentry import Dentry
from ring3.vfs.dev import ZERO, DevFS, maps_zeros, standard_devices
from ring3.vfs.memory import MemoryFS
from ring3.vfs.mount import MountTable
from ring3.vfs.namei import NameiContext, namei
from ring3.vfs.opening import open_file

USER = Cred(1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000)


@pytest.fixture
def table() -> MountTable:
    table = MountTable()
    table.mount(MemoryFS(mode=0o755), None)
    return table


@pytest.fixture
def ctx(table: MountTable) -> NameiContext:
    return NameiContext(table.root, table.root, Cred())


def test_paths_follow_renames_of_directories_above(ctx: NameiContext) -> None:
    names.mkdir(ctx, b"a", 0o755)
    names.mkdir(ctx, b"a/b", 0o755)
    file = open_file(ctx, b"a/b/f", OpenFlags.CREAT, 0o600)
    assert file.dentry is not None
    names.rename(ctx, b"a", b"z")
    assert file.dentry.path(ctx.root) == b"/z/b/f"
    names.unlink(ctx, b"z/b/f")
    assert file.dentry.path(ctx.root, mark_deleted=True) == b"/z/b/f (deleted)"
    open_file(ctx, b"z/b/f", OpenFlags.CREAT, 0o600)
    assert file.dentry.deleted
    assert namei(ctx, b"z/b/f") is not file.dentry


def test_names_are_bytes(ctx: NameiContext) -> None:
    odd = bytes(set(range(1, 256)) - {0x2F})
    names.mkdir(ctx, odd[:200], 0o755)
    assert namei(ctx, odd[:200] + b"/.").path(ctx.root) == b"/" + odd[:200]


def test_mounts_are_crossed_both_ways(table: MountTable, ctx: NameiContext) -> None:
    at = names.mkdir(ctx, b"m", 0o755)
    mount = table.mount(MemoryFS(mode=0o755), at, MountFlags.NODEV)
    names.mkdir(ctx, b"m/in", 0o755)
    inside = namei(ctx, b"/m/in/../in")
    assert inside.mount is mount
    assert inside.path(table.root) == b"/m/in"
    assert namei(ctx, b"/m/in/../..") is table.root
    assert inside.is_under(table.root)
    assert inside.vnode.getattr().dev != table.root.vnode.getattr().dev
    parent = open_file(ctx, b"/m", OpenFlags.DIRECTORY).readdir()[1][1]
    assert (parent.name, parent.ino) == (b"..", table.root.vnode.getattr().ino)
    for refused, call in (
        (EXDEV, lambda: names.rename(ctx, b"/m/in", b"/out")), (EBUSY, lambda: names.rmdir(ctx, b"/m")),
        (EBUSY, lambda: names.rename(ctx, b"/m", b"/n")), (EBUSY, lambda: table.unmount(next(iter(table)))),
        (ENOTDIR, lambda: table.mount(MemoryFS(), open_file(ctx, b"/f", OpenFlags.CREAT, 0o600).dentry)),
    ):
        with pytest.raises(refused):
            call()
    names.mknod(ctx, b"/m/zero", 0o020666, ZERO)
    with pytest.raises(EACCES):
        open_file(ctx, b"/m/zero", OpenFlags.RDONLY)
    table.unmount(mount)
    with pytest.raises(ENOENT):
        namei(ctx, b"/m/in")


def test_a_root_below_the_top_is_a_wall(ctx: NameiContext) -> None:
    names.mkdir(ctx, b"jail", 0o755)
    names.mkdir(ctx, b"jail/d", 0o755)
    jail = namei(ctx, b"jail")
    inside = NameiContext(jail, namei(ctx, b"jail/d"), Cred())
    assert namei(inside, b"../../..") is jail
    assert namei(inside, b"/../d").path(jail) == b"/d"
    assert ctx.root.path(jail) == b"(unreachable)/"


def test_emulation_root_comes_first_for_absolute_names(ctx: NameiContext) -> None:
    for path in (b"emul", b"emul/etc", b"etc", b"usr"):
        names.mkdir(ctx, path, 0o755)
    open_file(ctx, b"emul/etc/a", OpenFlags.CREAT, 0o600)
    open_file(ctx, b"etc/b", OpenFlags.CREAT, 0o600)
    emulated = ctx._replace(emulation_root=namei(ctx, b"emul"))
    assert namei(emulated, b"/etc/a").path(ctx.root) == b"/emul/etc/a"
    assert namei(emulated, b"/etc/b").path(ctx.root) == b"/etc/b"
    assert namei(emulated, b"/") is ctx.root
    with pytest.raises(ENOENT):
        namei(emulated, b"etc/a")


def test_the_veil_sees_the_path_as_reached(ctx: NameiContext) -> None:
    asked: list[tuple[bytes, Access]] = []

    class Curtain:
        def check(self, dentry: Dentry, name: bytes, access: Access) -> None:
            path = dentry.path(ctx.root).rstrip(b"/") + (b"/" + name if name else b"")
            asked.append((path, access))
            if path.startswith(b"/hidden"):
                raise ENOENT

        def check_link(self, dentry: Dentry, access: Access) -> None:
            assert dentry.path(ctx.root) == b"/link"

        def hides(self, dentry: Dentry) -> bool:
            return False

        def may_move(self, dentry: Dentry) -> None:
            raise AssertionError("nothing is renamed")

        def check_open(self, dentry: Dentry, access: Access) -> None:
            raise AssertionError("nothing is asked of an open file")

        def may_become(self, here: Dentry, name: bytes, there: Dentry, new_name: bytes) -> None:
            raise AssertionError("nothing is renamed")

    names.mkdir(ctx, b"hidden", 0o755)
    names.symlink(ctx, b"hidden", b"link")
    veiled = ctx._replace(veil=Curtain())
    with pytest.raises(ENOENT):
        namei(veiled, b"/link")
    open_file(veiled, b"/new", OpenFlags.CREAT | OpenFlags.WRONLY, 0o600)
    assert asked == [(b"/hidden", Access.EXISTS), (b"/new", Access.EXISTS), (b"/new", Access.WRITE | Access.CREATE)]


def test_running_images_are_busy(ctx: NameiContext) -> None:
    open_file(ctx, b"f", OpenFlags.CREAT | OpenFlags.WRONLY, 0o755).acquire().release()
    vnode = namei(ctx, b"f").vnode
    vnode.denied_writers = 1
    for flags in (OpenFlags.WRONLY, OpenFlags.RDWR | OpenFlags.TRUNC):
        with pytest.raises(ETXTBSY):
            open_file(ctx, b"f", flags)
    assert vnode.writers == 0


def test_o_path_opens_no_contents(ctx: NameiContext) -> None:
    names.symlink(ctx, b"nowhere", b"l")
    file = open_file(ctx, b"l", OpenFlags.PATH | OpenFlags.NOFOLLOW | OpenFlags.RDWR | OpenFlags.TRUNC)
    assert file.getattr().size == 7
    for call in (lambda: file.read(1), lambda: file.seek(0, Whence.SET), lambda: file.write(b"x"), file.readdir):
        with pytest.raises(EBADF):
            call()


def test_tmpfile(ctx: NameiContext) -> None:
    tmpfile = OpenFlags.TMPFILE | OpenFlags.DIRECTORY
    file = open_file(ctx, b"/", tmpfile | OpenFlags.RDWR, 0o600)
    assert file.getattr().nlink == 0
    assert file.dentry is not None
    assert file.dentry.path(ctx.root, mark_deleted=True).endswith(b" (deleted)")
    for flags in (tmpfile, OpenFlags.TMPFILE | OpenFlags.RDWR, tmpfile | OpenFlags.RDWR | OpenFlags.CREAT):
        with pytest.raises(EINVAL):
            open_file(ctx, b"/", flags, 0o600)
    linked = names.link(ctx, b"", b"/kept", at=file.dentry, empty_ok=True)
    assert linked.vnode is file.vnode


def test_directories_are_read_by_position(ctx: NameiContext) -> None:
    for name in (b"a", b"b", b"c"):
        names.mkdir(ctx, name, 0o755)
    file = open_file(ctx, b"/", OpenFlags.RDONLY)
    first = file.readdir()
    assert [entry.name for _, entry in first] == [b".", b"..", b"c", b"b", b"a"]
    file.offset = first[2][0]
    names.rmdir(ctx, b"b")
    assert [entry.name for _, entry in file.readdir()] == [b"b", b"a"]
    file.seek(0, Whence.SET)
    assert [entry.name for _, entry in file.readdir()] == [b".", b"..", b"c", b"a"]
    with pytest.raises(EISDIR):
        file.read(1)
    with pytest.raises(EINVAL):
        file.seek(0, Whence.END)


def test_sticky_and_setgid_directories(ctx: NameiContext) -> None:
    names.mkdir(ctx, b"tmp", 0o1777)
    namei(ctx, b"tmp").vnode.setattr(AttrChange(mode=0o1777))
    user, other = ctx._replace(cred=USER), ctx._replace(cred=USER._replace(fsuid=1001, euid=1001))
    open_file(user, b"tmp/mine", OpenFlags.CREAT | OpenFlags.WRONLY, 0o666)
    with pytest.raises(EPERM):
        names.unlink(other, b"tmp/mine")
    with pytest.raises(EPERM):
        names.rename(other, b"tmp/mine", b"tmp/x")
    with pytest.raises(EACCES):
        open_file(other, b"tmp/mine", OpenFlags.CREAT | OpenFlags.WRONLY, 0o666)
    names.unlink(user, b"tmp/mine")
    names.mkdir(ctx, b"team", 0o777)
    namei(ctx, b"team").vnode.setattr(AttrChange(mode=0o2777, gid=50))
    made = names.mkdir(user, b"team/d", 0o755).vnode.getattr()
    assert (made.gid, made.mode & 0o7777) == (50, 0o2755)
    file = open_file(user, b"team/f", OpenFlags.CREAT | OpenFlags.WRONLY, 0o2777).getattr()
    assert (file.gid, file.mode & 0o7777) == (50, 0o777)


def test_prepare_change() -> None:
    fs = MemoryFS()
    attr = fs.root().create(b"f", 0o106755, 1000, 1000).getattr()
    with pytest.raises(EPERM):
        prepare_change(USER, attr, AttrChange(uid=0))
    with pytest.raises(EPERM):
        prepare_change(USER, attr, AttrChange(gid=50))
    assert prepare_change(Cred(), attr, AttrChange(uid=5)).mode == 0o755
    assert prepare_change(USER._replace(groups=(50,)), attr, AttrChange(gid=50)).mode == 0o755
    assert prepare_change(USER._replace(fsgid=7), attr, AttrChange(mode=0o2755)).mode == 0o755
    with pytest.raises(EPERM):
        prepare_change(USER._replace(fsuid=5), attr, AttrChange(mtime=0))


def test_devices(table: MountTable, ctx: NameiContext) -> None:
    at = names.mkdir(ctx, b"dev", 0o755)
    table.mount(DevFS(standard_devices(random=lambda n: b"r" * n)), at)
    null, zero, full, random = (
        open_file(ctx, b"/dev/" + name, OpenFlags.RDWR) for name in (b"null", b"zero", b"full", b"urandom")
    )
    assert (null.read(9), zero.read(3), full.read(2), random.pread(7, 3)) == (b"", bytes(3), bytes(2), b"rrr")
    assert (null.write(b"abc"), zero.write(b"abc"), zero.seek(5, Whence.SET)) == (3, 3, 0)
    assert len(zero.read(1 << 40)) < 1 << 30
    with pytest.raises(ENOSPC):
        full.write(b"x")
    with pytest.raises(ENXIO):
        open_file(ctx, b"/dev/tty", OpenFlags.RDWR)
    with pytest.raises(EBADF):
        open_file(ctx, b"/dev/null", OpenFlags.RDONLY).write(b"x")
    assert zero.vnode is not None
    assert maps_zeros(zero.vnode)
    assert namei(ctx, b"/dev/stdin", follow=False).vnode.readlink() == b"/proc/self/fd/0"
    attr = null.getattr()
    assert (attr.mode, attr.rdev) == (0o020666, 0x103)
