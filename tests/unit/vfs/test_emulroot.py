"""Emulation roots, row by row: which look-ups begin there, what is made there, and that nothing leads out of the guest's root."""

from __future__ import annotations

import random

import pytest

from ring3.abi.flags import Access, MountFlags, OpenFlags
from ring3.abi.records import AttrChange
from ring3.errors import EACCES, EBUSY, EEXIST, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EROFS, EXDEV, Errno
from ring3.proc.cred import Cred
from ring3.vfs import names
from ring3.vfs.dentry import Dentry
from ring3.vfs.memory import MemoryFS
from ring3.vfs.mount import MountTable
from ring3.vfs.namei import NameiContext, Resolve, namei
from ring3.vfs.opening import open_file
from tests.rows import row

USER = Cred(1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000)
CREATE = OpenFlags.CREAT | OpenFlags.WRONLY


@pytest.fixture
def table() -> MountTable:
    table = MountTable()
    table.mount(MemoryFS(mode=0o755), None)
    return table


@pytest.fixture
def real(table: MountTable) -> NameiContext:
    """The real tree, and below /emul/netbsd another one: each has /etc/both and one file of its own."""
    ctx = NameiContext(table.root, table.root, Cred())
    for path in (b"/emul", b"/emul/netbsd", b"/etc", b"/only", b"/tmp"):
        names.mkdir(ctx, path, 0o755)
    table.mount(MemoryFS(mode=0o755), namei(ctx, b"/emul/netbsd"))
    for path in (b"/emul/netbsd/etc", b"/emul/netbsd/lib"):
        names.mkdir(ctx, path, 0o755)
    for path in (b"/etc/both", b"/etc/real", b"/emul/netbsd/etc/both", b"/emul/netbsd/etc/own", b"/emul/beside"):
        open_file(ctx, path, CREATE, 0o644).close()
    return ctx


@pytest.fixture
def ctx(real: NameiContext) -> NameiContext:
    """Who has that emulation root."""
    return real._replace(emulation_root=namei(real, b"/emul/netbsd"))


def found(ctx: NameiContext, path: bytes, *, follow: bool = True) -> bytes:
    return namei(ctx, path, follow=follow).path(ctx.root)


@row("netbsd", "TRYEMULROOT", "an absolute path is looked up below the emulation root first")
def test_absolute_paths_begin_there(ctx: NameiContext) -> None:
    assert found(ctx, b"/etc/own") == b"/emul/netbsd/etc/own"
    assert found(ctx, b"/etc/both") == b"/emul/netbsd/etc/both"
    assert found(ctx, b"//etc//both") == b"/emul/netbsd/etc/both"


@row("netbsd", "TRYEMULROOT", "what is not below the emulation root is looked up again, the whole path, from the real root")
def test_failure_repeats_the_whole_look_up(ctx: NameiContext) -> None:
    assert found(ctx, b"/etc/real") == b"/etc/real"
    assert found(ctx, b"/only") == b"/only"
    names.mkdir(ctx, b"/../etc/own", 0o755)                     # a directory in the real tree, a file in the other
    names.mkdir(ctx, b"/../etc/own/deeper", 0o755)
    assert found(ctx, b"/etc/own/deeper") == b"/etc/own/deeper"
    with pytest.raises(ENOENT):
        namei(ctx, b"/etc/neither")
    with pytest.raises(ENAMETOOLONG):
        namei(ctx, b"/etc/" + b"n" * 300)


def test_no_search_permission_there_is_a_failure_too(ctx: NameiContext, real: NameiContext) -> None:
    namei(real, b"/emul/netbsd/etc").vnode.setattr(AttrChange(mode=0o700))
    assert found(ctx._replace(cred=USER), b"/etc/both") == b"/etc/both"


@row("netbsd", "TRYEMULROOT", "a path that begins with /../ is looked up from the real root only")
def test_the_way_around(ctx: NameiContext) -> None:
    assert found(ctx, b"/../etc/both") == b"/etc/both"
    with pytest.raises(ENOENT):
        namei(ctx, b"/../etc/own")


@row("netbsd", "TRYEMULROOT", "a relative path never begins at the emulation root")
def test_relative_paths(ctx: NameiContext) -> None:
    assert found(ctx, b"etc/both") == b"/etc/both"
    inside = ctx._replace(cwd=namei(ctx, b"/emul/netbsd/etc"))
    assert found(inside, b"both") == b"/emul/netbsd/etc/both"
    assert namei(ctx, b"both", at=namei(ctx, b"/etc")).path(ctx.root) == b"/emul/netbsd/etc/both"
    with pytest.raises(ENOENT):
        namei(ctx, b"etc/own")


@row("netbsd", "TRYEMULROOT", "a look-up that ends at the emulation root itself gives the real root")
def test_the_root_itself_is_never_seen(ctx: NameiContext, real: NameiContext) -> None:
    for path in (b"/", b"//", b"/.", b"/etc/..", b"/lib/../etc/../."):
        assert namei(ctx, path) is ctx.root, path
    names.symlink(real, b"/", b"/emul/netbsd/slash")
    assert namei(ctx, b"/slash") is ctx.root


def test_up_from_it_is_the_directory_it_stands_in(ctx: NameiContext) -> None:
    assert found(ctx, b"/etc/../../beside") == b"/emul/beside"
    assert found(ctx, b"/etc/../../../etc/real") == b"/etc/real"
    assert found(ctx, b"/lib/../../../../../../etc/real") == b"/etc/real"       # the real root is the end


@row("netbsd", "TRYEMULROOT", "an absolute link stays below the emulation root, one that says /../ leads out of it for good")
def test_links(ctx: NameiContext, real: NameiContext) -> None:
    names.symlink(real, b"/etc/both", b"/emul/netbsd/lib/abs")
    names.symlink(real, b"/../etc/both", b"/emul/netbsd/lib/out")
    names.symlink(real, b"/..", b"/emul/netbsd/lib/up")
    names.symlink(real, b"/etc/real", b"/emul/netbsd/lib/elsewhere")
    assert found(ctx, b"/lib/abs") == b"/emul/netbsd/etc/both"
    assert found(ctx, b"/lib/out") == b"/etc/both"
    assert found(ctx, b"/lib/up/etc/both") == b"/etc/both"
    with pytest.raises(ENOENT):
        namei(ctx, b"/lib/elsewhere")           # no such file there, and the real tree has no such link
    names.symlink(real, b"/etc/own", b"/tmp/own")
    with pytest.raises(ENOENT):
        namei(ctx, b"/tmp/own")                 # in the second round links are the real tree's


@row("netbsd", "TRYEMULROOT", "a link that cannot be followed ends the look-up: the real root is not tried")
def test_a_loop_is_final(ctx: NameiContext, real: NameiContext) -> None:
    names.symlink(real, b"loop", b"/emul/netbsd/loop")
    open_file(real, b"/loop", CREATE, 0o644).close()
    with pytest.raises(ELOOP):
        namei(ctx, b"/loop")
    names.symlink(real, b"/../nowhere", b"/emul/netbsd/gone")
    open_file(real, b"/gone", CREATE, 0o644).close()
    with pytest.raises(ENOENT):
        namei(ctx, b"/gone")
    assert found(ctx, b"/gone", follow=False) == b"/emul/netbsd/gone"


# --- making and taking away
@row("netbsd", "TRYEMULROOT", "a name is made below the emulation root when the directory is there, else in the real tree")
def test_making(ctx: NameiContext) -> None:
    open_file(ctx, b"/etc/new", CREATE, 0o644).close()
    names.mkdir(ctx, b"/lib/d", 0o755)
    names.symlink(ctx, b"x", b"/top")
    open_file(ctx, b"/only/new", CREATE, 0o644).close()
    for path in (b"/emul/netbsd/etc/new", b"/emul/netbsd/lib/d", b"/emul/netbsd/top", b"/only/new"):
        assert found(ctx, b"/.." + path, follow=False) == path
    with pytest.raises(EEXIST):
        names.mkdir(ctx, b"/etc", 0o755)
    with pytest.raises(ENOENT):
        open_file(ctx, b"/nowhere/new", CREATE, 0o644)


def test_opening_with_creation_prefers_a_new_file_there_to_an_old_one_in_the_real_tree(ctx: NameiContext) -> None:
    open_file(ctx, b"/etc/real", CREATE, 0o644).close()
    assert found(ctx, b"/etc/real") == b"/emul/netbsd/etc/real"
    open_file(ctx, b"/etc/own", CREATE, 0o644).close()              # what is there is opened
    with pytest.raises(EEXIST):
        open_file(ctx, b"/etc/own", CREATE | OpenFlags.EXCL, 0o644)


def test_creation_through_links(ctx: NameiContext, real: NameiContext) -> None:
    names.symlink(real, b"/etc/made", b"/emul/netbsd/lib/make")
    open_file(ctx, b"/lib/make", CREATE, 0o644).close()
    assert found(real, b"/emul/netbsd/etc/made") == b"/emul/netbsd/etc/made"
    names.symlink(real, b"/../etc/out", b"/emul/netbsd/lib/out")
    open_file(ctx, b"/lib/out", CREATE, 0o644).close()
    assert found(real, b"/etc/out") == b"/etc/out"


@row("netbsd", "TRYEMULROOT", "a directory below the emulation root that takes no names leaves the making to the real tree")
def test_where_nothing_can_be_made(ctx: NameiContext, real: NameiContext) -> None:
    namei(real, b"/etc").vnode.setattr(AttrChange(mode=0o777))
    user = ctx._replace(cred=USER)
    open_file(user, b"/etc/users", CREATE, 0o644).close()
    assert found(user, b"/etc/users") == b"/etc/users"
    namei(real, b"/emul/netbsd").mount.flags = MountFlags.RDONLY
    open_file(ctx, b"/etc/roots", CREATE, 0o644).close()
    assert found(ctx, b"/etc/roots") == b"/etc/roots"
    with pytest.raises(EEXIST):
        names.mkdir(ctx, b"/etc/own", 0o755)


@row("netbsd", "TRYEMULROOT", "a name goes from the emulation root if it is there, else from the real tree")
def test_taking_away(ctx: NameiContext) -> None:
    names.unlink(ctx, b"/etc/both")
    assert found(ctx, b"/etc/both") == b"/etc/both"
    names.unlink(ctx, b"/etc/both")
    with pytest.raises(ENOENT):
        namei(ctx, b"/etc/both")
    with pytest.raises(ENOENT):
        names.unlink(ctx, b"/etc/both")
    with pytest.raises(EBUSY):
        names.rmdir(ctx, b"/")
    names.rmdir(ctx, b"/only")
    assert ctx.emulation_root is not None
    ctx.emulation_root.mount.flags = ctx.root.mount.flags = MountFlags.RDONLY
    open_file(ctx, b"/etc/own", OpenFlags.RDONLY).close()
    with pytest.raises(EROFS):
        names.unlink(ctx, b"/etc/own")


def test_renaming(ctx: NameiContext) -> None:
    names.rename(ctx, b"/etc/own", b"/lib/moved")
    assert found(ctx, b"/lib/moved") == b"/emul/netbsd/lib/moved"
    with pytest.raises(EXDEV):
        names.rename(ctx, b"/etc/real", b"/etc/renamed")        # the old name is real, the new one's directory is not
    names.rename(ctx, b"/../etc/real", b"/../etc/renamed")
    assert found(ctx, b"/etc/renamed") == b"/etc/renamed"


def test_mount_points_below_it_are_left_to_the_real_tree(ctx: NameiContext, table: MountTable, real: NameiContext) -> None:
    names.mkdir(real, b"/emul/netbsd/dev", 0o755)
    names.mkdir(real, b"/dev", 0o755)
    table.mount(MemoryFS(mode=0o755), namei(real, b"/emul/netbsd/dev"))
    names.rmdir(ctx, b"/dev")
    with pytest.raises(ENOENT):
        namei(real, b"/dev")
    with pytest.raises(ENOENT):
        names.rmdir(ctx, b"/dev")


def test_what_the_veil_hides_there_is_looked_for_in_the_real_tree(ctx: NameiContext) -> None:
    class Curtain:
        def check(self, dentry: Dentry, name: bytes, access: Access) -> None:
            if (dentry.path(ctx.root) + b"/" + name).startswith(b"/emul"):
                raise ENOENT

        def check_link(self, dentry: Dentry, access: Access) -> None:
            """Links are shown."""

        def check_open(self, dentry: Dentry, access: Access) -> None:
            raise AssertionError

        def hides(self, dentry: Dentry) -> bool:
            return False

        def may_move(self, dentry: Dentry) -> None:
            raise AssertionError

        def may_become(self, here: Dentry, name: bytes, there: Dentry, new_name: bytes) -> None:
            raise AssertionError

    veiled = ctx._replace(veil=Curtain())
    assert found(veiled, b"/etc/both") == b"/etc/both"
    open_file(veiled, b"/etc/new", CREATE, 0o644).close()
    names.mkdir(veiled, b"/etc/d", 0o755)
    assert [found(veiled, path) for path in (b"/etc/new", b"/etc/d")] == [b"/etc/new", b"/etc/d"]
    names.unlink(veiled, b"/etc/both")
    assert found(ctx, b"/etc/both") == b"/emul/netbsd/etc/both"
    with pytest.raises(ENOENT):
        namei(veiled, b"/etc/own")


# --- nothing leads out
def test_openat2_in_a_directory_knows_no_emulation_root(ctx: NameiContext) -> None:
    at = namei(ctx, b"/../etc")
    assert namei(ctx, b"/both", at=at, resolve=Resolve.IN_ROOT).path(ctx.root) == b"/etc/both"
    with pytest.raises(EXDEV):
        namei(ctx, b"/both", at=at, resolve=Resolve.BENEATH)


def test_no_path_leaves_the_process_root(real: NameiContext) -> None:
    """A process whose root is /jail, with an emulation root in it: random paths and links never find what is outside."""
    for path in (b"/jail", b"/jail/emul", b"/jail/emul/x", b"/jail/emul/x/d", b"/jail/d", b"/secret"):
        names.mkdir(real, path, 0o755)
    chance = random.Random(7)
    words = (b"..", b"d", b"emul", b"x", b"l0", b"l1", b"l2", b".", b"secret", b"")
    jail = namei(real, b"/jail")
    outside = {namei(real, path).vnode for path in (b"/", b"/secret", b"/etc", b"/emul")}

    def some_path() -> bytes:
        return chance.choice((b"/", b"/../", b"", b"//")) + b"/".join(chance.choice(words) for _ in range(chance.randrange(1, 7)))

    for number in range(3):
        for place in (b"/jail/d/l%d", b"/jail/emul/x/l%d", b"/jail/emul/x/d/l%d"):
            names.symlink(real, some_path() or b"/", place % number)
    inside = NameiContext(jail, jail, Cred(), emulation_root=namei(real, b"/jail/emul/x"))
    hits = 0
    for _ in range(5000):
        try:
            hit = namei(inside, some_path())
        except Errno:
            continue
        hits += 1
        assert hit.vnode not in outside
        assert hit.is_under(jail)
    assert hits > 500


def test_errors_are_the_real_trees(ctx: NameiContext) -> None:
    with pytest.raises(ENOTDIR):
        namei(ctx, b"/etc/real/x")
    namei(ctx, b"/../only").vnode.setattr(AttrChange(mode=0o700))
    with pytest.raises(EACCES):
        namei(ctx._replace(cred=USER), b"/only/x")
