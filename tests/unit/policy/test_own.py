"""What a program forbids itself: promises that only shrink, veils that fork and exec hand on, and the user's policy underneath."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ring3.abi.flags import Access
from ring3.abi.x86 import Arch
from ring3.calls.gate import gate, own_gate
from ring3.errors import ENOENT, ENOMEM, EPERM
from ring3.personality.serenity import serenity_personality
from ring3.policy import own, promises
from ring3.policy.confinement import Confinement
from ring3.policy.learning import Learner
from ring3.policy.own import BothVeils, OwnPolicy, OwnVeil
from ring3.policy.veil import CREATE, READ, WRITE, Veil, VeilState
from ring3.vfs import names
from ring3.vfs.dentry import Dentry
from ring3.vfs.memory import MemoryFS
from ring3.vfs.mount import MountTable
from ring3.vfs.namei import NameiContext, namei
from tests.rows import row

parse = promises.parse


class Host:
    """As much of a thread as making a veil needs."""

    def __init__(self, root: Dentry) -> None:
        self.system = self
        self.mounts = self
        self.root = root
        self.current = None
        self.instruments: list[Any] = []


@pytest.fixture
def t() -> Host:
    return Host(MountTable().mount(MemoryFS(), None).root)


def policy(over: Any = None) -> OwnPolicy:
    return OwnPolicy(own_gate, over)


def refused(abis: Mapping[Arch, Any], *names_: str) -> set[str]:
    """Which of these calls have a row of their own there, and not the personality's."""
    sysent, real = abis[Arch.X86_64].sysent, serenity_personality().abis[Arch.X86_64]
    numbers = {name: number for number, name in real.names.items()}
    return {name for name in names_ if sysent[numbers[name]].call.run.__name__ in ("refuse", "violate")}


# --- promises
def test_promises_only_shrink() -> None:
    mine = policy()
    assert mine.pledge(parse("stdio rpath proc"), parse("stdio exec"))
    assert not mine.pledge(parse("stdio wpath"), None)
    assert not mine.pledge(parse("stdio"), parse("stdio proc"))
    assert (mine.promises, mine.on_exec) == (parse("stdio rpath proc"), parse("stdio exec")), "neither changes then"
    assert mine.pledge(None, 0)
    assert mine.pledge(parse("stdio"), None)
    assert (mine.promises, mine.on_exec) == (parse("stdio"), 0)


def test_no_error_clips_by_the_promises_that_were_held() -> None:
    mine = policy()
    assert mine.pledge(parse("stdio no_error"), parse("stdio"))
    assert mine.pledge(parse("stdio rpath"), parse("stdio exec"))
    assert (mine.promises, mine.on_exec) == (parse("stdio"), parse("stdio"))
    assert not mine.pledge(parse("stdio rpath"), None)
    only_next = policy()
    assert only_next.pledge(None, parse("stdio no_error"))
    assert not only_next.pledge(None, parse("stdio rpath")), "it is the program's own promise that clips"


@row("serenity", "do_exec", "promises become execpromises, which are used up; without them the next program is not pledged")
def test_exec_and_promises() -> None:
    mine = policy()
    mine.pledge(parse("stdio exec"), parse("stdio rpath"))
    after = mine.after_exec()
    assert (after.promises, after.on_exec) == (parse("stdio rpath"), None)
    assert after.after_exec() is None
    mine = policy()
    mine.pledge(parse("stdio exec"), None)
    assert mine.after_exec() is None
    mine.pledge(None, 0)
    assert mine.after_exec().promises == 0


def test_a_child_has_its_own_promises() -> None:
    mine = policy()
    mine.pledge(parse("stdio rpath"), None)
    child = mine.fork()
    personality = serenity_personality()
    assert mine.abis(personality) is child.abis(personality), "as long as they promise the same"
    assert mine.pledge(parse("stdio"), None)
    assert refused(mine.abis(personality), "stat", "getpid") == {"stat"}
    assert refused(child.abis(personality), "stat", "getpid", "fork") == {"fork"}
    assert child.pledge(0, None)
    assert refused(mine.abis(personality), "getpid") == set()


def test_both_policies_hold() -> None:
    personality = serenity_personality()
    users = Confinement(gate, parse("stdio rpath exec"), on_exec=parse("stdio rpath"), mode="eperm")
    mine = policy(users)
    assert mine.abis(personality) is users.abis(personality)
    mine.pledge(parse("stdio proc exec"), parse("stdio rpath wpath cpath"))
    assert refused(mine.abis(personality), "getpid", "stat", "fork", "execve", "unlink") == {"stat", "fork", "unlink"}
    after = mine.after_exec()
    assert refused(after.abis(personality), "getpid", "stat", "fork", "execve", "unlink") == {"fork", "execve", "unlink"}
    with pytest.raises(EPERM):
        after.over.ask(asking(), "wpath")
    free = after.after_exec()
    assert isinstance(free, Confinement)
    assert free.promises == parse("stdio rpath")


def asking() -> Any:
    """A thread that asks, and nobody listens."""
    class Nobody:
        on_decision, instruments = None, ()

    class Asker:
        system = Nobody()

    return Asker()


def test_a_learner_underneath_still_learns() -> None:
    learner = Learner(lambda personality, _learner: personality.abis)
    mine = policy(learner)
    mine.pledge(parse("stdio rpath"), None)
    mine.ask(None, "rpath")
    mine.ask_any(None, frozenset(("stdio", "proc")))
    assert learner.needed() == "stdio rpath"
    assert mine.after_exec() is learner


# --- veils
def test_states(t: Host) -> None:
    mine = policy()
    assert (mine.state, mine.veil) == (VeilState.NONE, None)
    mine.reveal_later(t, b"/x", READ)
    assert (mine.state, mine.veil) == (VeilState.NONE, None), "that is the next program's"
    mine.reveal(t, b"/a", READ)
    assert mine.state.name == "DROPPED"
    mine.lock(t)
    assert mine.state.name == "LOCKED"
    with pytest.raises(EPERM):
        mine.reveal(t, b"/b", READ)
    locked = policy()
    locked.lock(t)
    assert locked.now is not None
    assert locked.now.permissions(b"/") == 0


@row("serenity", "do_exec", "a veil for after exec that shows something is the next program's, locked; else it sees everything")
def test_exec_and_veils(t: Host) -> None:
    mine = policy()
    mine.reveal(t, b"/a", READ)
    assert mine.after_exec() is None
    mine.reveal_later(t, b"/later", READ)
    after = mine.after_exec()
    assert (after.state, after.later, after.promises) == (VeilState.LOCKED_INHERITED, None, None)
    assert list(after.now.rows()) == [(b"/later", READ)]
    after.reveal(t, b"/more", READ)
    assert list(after.now.rows()) == [(b"/later", READ)], "ignored"
    assert mine.later is not None
    assert mine.later.state is VeilState.DROPPED, "a deep copy"
    assert after.after_exec() is None


def test_fork_copies_when_either_changes(t: Host) -> None:
    mine = policy()
    mine.reveal(t, b"/a", READ)
    mine.reveal_later(t, b"/l", READ)
    child = mine.fork()
    assert child.veil is mine.veil
    child.reveal(t, b"/b", READ)
    mine.reveal(t, b"/c", READ)
    mine.reveal_later(t, b"/m", READ)
    assert mine.now is not None and child.now is not None and child.later is not None  # noqa: PT018 - for the type checker
    assert [path for path, _ in mine.now.rows()] == [b"/a", b"/c"]
    assert [path for path, _ in child.now.rows()] == [b"/a", b"/b"]
    assert [path for path, _ in child.later.rows()] == [b"/l"]
    child.lock(t)
    assert mine.state.name == "DROPPED"


def test_what_it_holds_is_bounded(t: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "NODES_MAX", 5)
    mine = policy()
    mine.reveal(t, b"/a/b/c", READ)
    for _ in range(9):
        mine.reveal(t, b"/a/b/c", READ)
    with pytest.raises(ENOMEM):
        mine.reveal(t, b"/a/d/e/f", READ)
    mine.reveal(t, b"/a/d/e", READ)
    with pytest.raises(ENOMEM):
        mine.fork().reveal(t, b"/z", READ)


def test_a_deep_tree_is_no_recursion(t: Host) -> None:
    veil = OwnVeil(t.root)
    veil.reveal(b"/a" * 3000, READ)
    copy = veil.fork()
    copy.reveal(b"/a", READ | WRITE)
    assert veil.permissions(b"/a/a") == 0
    assert copy.permissions(b"/a" * 2999) == READ | WRITE
    assert copy.permissions(b"/a" * 3000) == READ


@pytest.fixture
def ctx(t: Host) -> NameiContext:
    """/shown and /other with a file each, and links between them."""
    from ring3.proc.cred import Cred

    ctx = NameiContext(t.root, t.root, Cred())
    for name in (b"shown", b"other"):
        names.mkdir(ctx, name, 0o755)
        names.mknod(ctx, name + b"/f", 0o644)
    names.symlink(ctx, b"../shown/f", b"other/in")
    names.symlink(ctx, b"../other/f", b"shown/out")
    return ctx


def found(ctx: NameiContext, path: bytes, access: Access = Access.EXISTS) -> bytes:
    return namei(ctx, path, access=access).path(ctx.root)


def test_links_are_asked_about_too(t: Host, ctx: NameiContext) -> None:
    veil = OwnVeil(t.root)
    veil.reveal(b"/shown", READ | CREATE)
    mine = ctx._replace(veil=veil)
    assert found(mine, b"/shown/f", Access.READ) == b"/shown/f"
    for path in (b"/other/f", b"/shown/out", b"/other/in", b"/shown/../other/in"):
        with pytest.raises(ENOENT):
            found(mine, path)
    users = Veil(t.root)
    users.unveil(b"/shown", READ)
    assert found(ctx._replace(veil=users), b"/other/in") == b"/shown/f", "the user's is not asked about links"


def test_two_veils_show_what_both_show(t: Host, ctx: NameiContext) -> None:
    told: list[bytes] = []
    users = Veil(t.root, lambda path, _missing, _permissions: told.append(path))
    users.unveil(b"/shown", READ | WRITE)
    mine = policy(Confinement(gate, None, veil=users))
    assert mine.veil == users
    mine.reveal(t, b"/other", READ)
    mine.reveal(t, b"/shown", READ)
    assert isinstance(mine.veil, BothVeils)
    both = ctx._replace(veil=mine.veil)
    assert found(both, b"/shown/f", Access.READ) == b"/shown/f"
    with pytest.raises(ENOENT):
        found(both, b"/other/f")
    assert told == [b"/other/f"]
    with pytest.raises(Exception, match="not unveiled"):
        found(both, b"/shown/f", Access.WRITE)
    assert told == [b"/other/f"], "its own veil is its own affair"
    assert mine.after_exec().veil is users
    mine.veil.check_open(namei(ctx, b"/shown/f"), Access.WRITE)
    with pytest.raises(ENOENT):
        mine.veil.check_open(namei(ctx, b"/other/f"), Access.READ)


def test_whoever_watches_hears_of_its_own_veil(t: Host, ctx: NameiContext) -> None:
    veil = own.new_own_veil(t)
    with pytest.raises(ENOENT):
        found(ctx._replace(veil=veil), b"/shown")       # no thread is served, nobody watches: nothing to tell
