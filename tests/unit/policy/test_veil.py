"""The veil's tree and states: the rules of the reference (section 3), and what dentries remember."""

from __future__ import annotations

import pytest

from ring3.abi.flags import Access, OpenFlags, RenameFlags
from ring3.errors import EACCES, EINVAL, ENOENT, EPERM, Errno
from ring3.policy.own import BothVeils, OwnVeil
from ring3.policy.veil import BROWSE, CREATE, EXECUTE, READ, WRITE, Veil, VeilState, parse_permissions, show_permissions
from ring3.proc.cred import Cred
from ring3.vfs import names
from ring3.vfs.dentry import Dentry
from ring3.vfs.memory import MemoryFS
from ring3.vfs.mount import MountTable
from ring3.vfs.namei import NameiContext, namei
from ring3.vfs.opening import open_file


def test_permissions_are_letters() -> None:
    assert (READ, WRITE, EXECUTE, CREATE, BROWSE) == (1, 2, 4, 8, 16)
    assert show_permissions(parse_permissions("cxr")) == "rxc"
    assert parse_permissions("") == 0
    with pytest.raises(EINVAL):
        parse_permissions("rq")


# --- the tree
def root() -> Dentry:
    return MountTable().mount(MemoryFS(), None).root


def test_the_deepest_node_decides() -> None:
    veil = Veil(root())
    veil.unveil(b"/a", READ)
    veil.unveil(b"/a/b/c", WRITE)
    found = {path: veil.permissions(path) for path in (b"/", b"/a", b"/a/b", b"/a/b/c", b"/a/b/c/d", b"/a/b/x", b"/ab")}
    assert found == {b"/": 0, b"/a": READ, b"/a/b": READ, b"/a/b/c": WRITE, b"/a/b/c/d": WRITE, b"/a/b/x": READ, b"/ab": 0}
    assert list(veil.rows()) == [(b"/a", READ), (b"/a/b/c", WRITE)]


def test_an_explicit_node_is_never_raised() -> None:
    veil = Veil(root())
    veil.unveil(b"/a", READ)
    with pytest.raises(EPERM):
        veil.unveil(b"/a", READ | WRITE)
    veil.unveil(b"/a", 0)
    with pytest.raises(EPERM):
        veil.unveil(b"/a", READ)


def test_what_was_only_on_the_way_may_be_raised_and_passes_it_on() -> None:
    veil = Veil(root())
    veil.unveil(b"/a/b/c", READ)
    assert veil.permissions(b"/a/b/x") == 0
    veil.unveil(b"/a", WRITE)
    assert veil.permissions(b"/a/b/x") == WRITE
    assert veil.permissions(b"/a/b/c") == READ


def test_states() -> None:
    veil = Veil(root())
    states = [veil.state]
    veil.unveil(b"/a", READ)
    states.append(veil.state)
    veil.lock()
    assert states == [VeilState.NONE, VeilState.DROPPED]
    with pytest.raises(EPERM):
        veil.unveil(b"/b", READ)
    veil.state = VeilState.LOCKED_INHERITED
    veil.unveil(b"/b", READ)
    assert veil.permissions(b"/b") == 0


def test_a_child_has_a_veil_of_its_own() -> None:
    veil = Veil(root())
    veil.unveil(b"/a", READ)
    child = veil.fork()
    child.unveil(b"/b", READ)
    assert (veil.permissions(b"/b"), child.permissions(b"/b")) == (0, READ)


# --- look-ups
@pytest.fixture
def ctx() -> NameiContext:
    table = MountTable()
    table.mount(MemoryFS(), None)
    ctx = NameiContext(table.root, table.root, Cred())
    for path in (b"/a", b"/a/b", b"/h"):
        names.mkdir(ctx, path, 0o755)
    for path in (b"/a/f", b"/a/b/f", b"/h/f"):
        open_file(ctx, path, OpenFlags.CREAT | OpenFlags.WRONLY, 0o666).acquire().release()
    return ctx


def veiled(ctx: NameiContext, **places: str) -> NameiContext:
    veil = Veil(ctx.root)
    for name, letters in places.items():
        veil.unveil(b"/" + name.replace("_", "/").encode(), parse_permissions(letters))
    return ctx._replace(veil=veil)


def answer(action: object, *args: object, **kwargs: object) -> str:
    try:
        action(*args, **kwargs)  # type: ignore[operator]
    except Errno as refusal:
        return refusal.name
    return "yes"


def test_hidden_names_do_not_exist(ctx: NameiContext) -> None:
    shown = veiled(ctx, a="rwc")
    for action in (
        lambda: namei(shown, b"/h/f"),
        lambda: namei(shown, b"/h"),
        lambda: open_file(shown, b"/h/f", OpenFlags.CREAT | OpenFlags.EXCL | OpenFlags.WRONLY, 0o666),
        lambda: open_file(shown, b"/h/new", OpenFlags.CREAT | OpenFlags.WRONLY, 0o666),
        lambda: names.mkdir(shown, b"/h", 0o755),
        lambda: names.mkdir(shown, b"/h/new", 0o755),
        lambda: names.unlink(shown, b"/h/f"),
        lambda: names.rename(shown, b"/h/f", b"/a/g"),
        lambda: names.rename(shown, b"/a/f", b"/h/f"),
        lambda: names.link(shown, b"/h/f", b"/a/g"),
        lambda: names.symlink(shown, b"x", b"/h/f"),
    ):
        with pytest.raises(ENOENT):
            action()


@pytest.mark.parametrize(
    ("letters", "allowed"),
    [
        ("r", {"read", "browse", "stat"}), ("w", {"write", "stat"}), ("x", {"run", "stat"}), ("b", {"browse", "stat"}),
        ("c", {"remove", "stat"}), ("wc", {"write", "make", "remove", "stat"}), ("rwxc", {
            "read", "write", "run", "browse", "make", "remove", "link", "stat"}),
    ],
)
def test_each_permission_allows_its_own(ctx: NameiContext, letters: str, allowed: set[str]) -> None:
    shown = veiled(ctx, a=letters)
    asked = {
        "stat": lambda: namei(shown, b"/a/f"),
        "read": lambda: open_file(shown, b"/a/f", OpenFlags.RDONLY),
        "write": lambda: open_file(shown, b"/a/f", OpenFlags.WRONLY).acquire().release(),
        "run": lambda: namei(shown, b"/a/f", access=Access.EXECUTE),
        "browse": lambda: open_file(shown, b"/a", OpenFlags.DIRECTORY),
        "make": lambda: open_file(shown, b"/a/new", OpenFlags.CREAT | OpenFlags.WRONLY, 0o666),
        "link": lambda: names.link(shown, b"/a/f", b"/a/other"),
        "remove": lambda: names.unlink(shown, b"/a/f"),
    }
    answers = {name: answer(action) for name, action in asked.items()}
    assert {name for name, said in answers.items() if said == "yes"} == allowed
    assert {said for name, said in answers.items() if name not in allowed} <= {"EACCES"}


def test_an_existing_name_is_told_where_it_may_be_seen(ctx: NameiContext) -> None:
    assert answer(names.mkdir, veiled(ctx, a="r"), b"/a/b", 0o755) == "EEXIST"
    assert answer(names.mkdir, veiled(ctx, a="r"), b"/a/new", 0o755) == "EACCES"


def test_a_link_leads_to_what_it_names_and_not_beyond(ctx: NameiContext) -> None:
    names.symlink(ctx, b"/h/f", b"/a/out")
    names.symlink(ctx, b"/a/f", b"/h/in")
    shown = veiled(ctx, a="r")
    with pytest.raises(ENOENT):
        open_file(shown, b"/a/out", OpenFlags.RDONLY)
    assert namei(shown, b"/h/in").vnode is namei(ctx, b"/a/f").vnode
    with pytest.raises(ENOENT):
        open_file(shown, b"/a/../h/f", OpenFlags.RDONLY)


def test_a_renamed_directory_is_judged_anew(ctx: NameiContext) -> None:
    shown = veiled(ctx, a="r")
    held = namei(shown, b"/a/b/f")
    names.rename(ctx, b"/a/b", b"/h/b")           # somebody without a veil
    with pytest.raises(ENOENT):
        open_file(shown, b"f", OpenFlags.RDONLY, at=held.parent)
    names.rename(ctx, b"/h/b", b"/a/b")
    open_file(shown, b"f", OpenFlags.RDONLY, at=held.parent)


def test_no_directory_moves_that_unveiled_names_depend_on(ctx: NameiContext) -> None:
    shown = veiled(ctx, a="rwc", a_b_f="r")
    with pytest.raises(EACCES):
        names.rename(shown, b"/a/b", b"/a/x")
    names.mkdir(shown, b"/a/plain", 0o755)
    names.rename(shown, b"/a/plain", b"/a/moved")


def test_permissions_are_those_of_the_root_of_all_names(ctx: NameiContext) -> None:
    names.mkdir(ctx, b"/a/h", 0o755)
    shown = veiled(ctx, a="r", h="rwc")
    inside = shown._replace(root=namei(ctx, b"/a"))          # as after chroot("/a"): its /h is our /a/h
    with pytest.raises(EACCES):
        names.mkdir(inside, b"/h/new", 0o755)


def test_refusals_are_told_before_they_are_raised(ctx: NameiContext) -> None:
    told: list[tuple[bytes, str, str]] = []
    veil = Veil(ctx.root, lambda path, missing, has: told.append((path, show_permissions(missing), show_permissions(has))))
    veil.unveil(b"/a", READ)
    shown = ctx._replace(veil=veil)
    for path, flags in ((b"/a/f", OpenFlags.WRONLY), (b"/h/f", OpenFlags.RDONLY), (b"/a/new", OpenFlags.CREAT | OpenFlags.WRONLY)):
        answer(open_file, shown, path, flags, 0o666)
    answer(namei, shown, b"/h")
    assert told == [(b"/a/f", "w", "r"), (b"/h/f", "r", ""), (b"/a/new", "wc", "r"), (b"/h", "b", "")]


def test_what_is_hidden_answers_as_if_it_were_not_there(ctx: NameiContext) -> None:
    """Not even by who may write in its directory: to somebody who may not, an O_CREAT says the same of both."""
    shown = veiled(ctx, a="rwc")._replace(cred=Cred(1000, 1000, 1000, 1000))
    for name in (b"/h/f", b"/h/none"):
        assert answer(open_file, shown, name, OpenFlags.CREAT | OpenFlags.WRONLY, 0o666) == "ENOENT"


# A path, what a look-up says without a veil, with the user's, and with the program's own (SerenityOS's, which tells).
@pytest.mark.parametrize(("path", "bare", "users", "own"), [
    (b"/h/f/x", "ENOTDIR", "ENOENT", "ENOTDIR"),
    (b"/h/f/", "ENOTDIR", "ENOENT", "ENOTDIR"),
    (b"/h/" + b"n" * 300, "ENAMETOOLONG", "ENOENT", "ENAMETOOLONG"),
    (b"/h/loop", "ELOOP", "ENOENT", "ENOENT"),
    (b"/h/../a/f", "yes", "ENOENT", "yes"),
    (b"/h/none/../../a/f", "ENOENT", "ENOENT", "ENOENT"),
    (b"/a/to_h/f/x", "ENOTDIR", "ENOENT", "ENOTDIR"),
    (b"/a/f/x", "ENOTDIR", "ENOTDIR", "ENOTDIR"),
    (b"/a/loop", "ELOOP", "ELOOP", "ELOOP"),
    (b"/a/b/../f", "yes", "yes", "yes"),
    (b"/h/to_a/f", "yes", "yes", "ENOENT"),
])
def test_errors_on_the_way(ctx: NameiContext, path: bytes, bare: str, users: str, own: str) -> None:
    for link, target in ((b"/h/loop", b"loop"), (b"/a/loop", b"loop"), (b"/a/to_h", b"/h"), (b"/h/to_a", b"../a")):
        names.symlink(ctx, target, link)
    shown = veiled(ctx, a="rwc")
    own_veil = OwnVeil(ctx.root)
    own_veil.unveil(b"/a", READ | WRITE | CREATE)
    both = BothVeils(shown.veil, own_veil)
    assert [answer(namei, ctx._replace(veil=veil), path) for veil in (None, shown.veil, own_veil)] == [bare, users, own]
    assert answer(namei, ctx._replace(veil=both), path) in {users, own}
    assert users != "ENOENT" or answer(namei, ctx._replace(veil=both), path) == "ENOENT"


def test_dots_lead_out_of_a_hidden_directory_one_is_in(ctx: NameiContext) -> None:
    shown = veiled(ctx, a="r")
    here = shown._replace(cwd=namei(ctx, b"/h"))
    assert answer(namei, here, b"../a/f") == "yes"
    assert answer(namei, here, b"f/../../a/f") == "ENOENT"


def test_a_new_name_unveils_nothing(ctx: NameiContext) -> None:
    shown = veiled(ctx, a="rwc", h="c", h_more_deep="rwc")
    names.mkdir(ctx, b"/h/d", 0o755)
    exchange = RenameFlags.EXCHANGE
    for refused in (
        lambda: names.rename(shown, b"/h/f", b"/a/g"),
        lambda: names.rename(shown, b"/h/f", b"/a/f", exchange),
        lambda: names.rename(shown, b"/a/f", b"/h/f", exchange),
        lambda: names.rename(shown, b"/h/d", b"/h/more"),           # what is in it would be seen as /h/more/deep
    ):
        assert answer(refused) == "EACCES"
    names.rename(shown, b"/a/f", b"/h/g")                           # less is fine
    names.rename(shown, b"/h/g", b"/h/k")
    assert answer(names.rename, veiled(ctx, a_b="rw", h="rwxc"), b"/a/b/f", b"/h/x") == "EACCES"     # no c
    assert answer(names.rename, veiled(ctx, a_b="rwc", h="rwxc"), b"/a/b/f", b"/h/x") == "yes"       # could be copied
    assert answer(names.rename, veiled(ctx, a_b="rwc", h="wxc"), b"/h/x", b"/a/b/f") == "EACCES"


def test_what_has_no_name_is_not_hidden(ctx: NameiContext) -> None:
    shown = veiled(ctx, a="r")
    assert shown.veil is not None
    answer(namei, shown, b"/h")                                     # the directory's own verdict is known
    for label in (b"h", b"pipe:[1]"):
        orphan = ctx.root.orphan(ctx.root.vnode, label)
        shown.veil.check(orphan, b"", Access.READ | Access.WRITE)
        shown.veil.check(orphan, b"", Access.READ)
    with pytest.raises(ENOENT):
        shown.veil.check(ctx.root.nameless(ctx.root.vnode, b"h"), b"", Access.READ)
