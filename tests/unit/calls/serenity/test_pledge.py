"""pledge and unveil as calls: what is copied when, what nothing changes, how they print, and the user's policy underneath."""

from __future__ import annotations

import pytest

from ring3.abi.x86 import Arch
from ring3.calls.gate import gate
from ring3.errors import EPERM, EPROMISEVIOLATION
from ring3.policy import promises
from ring3.policy.confinement import Confinement, Decision
from ring3.policy.own import BothVeils, OwnPolicy, OwnVeil
from ring3.policy.veil import READ, Veil, VeilState
from ring3.proc.lifecycle import fork_process
from ring3.proc.proc import Proc
from tests.rows import row
from tests.unit.calls.serenity.guest import NUMBERS, SerenityGuest

PLEDGE, UNVEIL = "<QQQQ", "<i4xQQQQ"


def pledge(g: SerenityGuest, words: str | None, later: str | None = None) -> int:
    pairs = [(0, 0) if text is None else g.string(text) for text in (words, later)]
    return g.call("pledge", g.params(PLEDGE, *pairs[0], *pairs[1]))


def unveil(g: SerenityGuest, path: str, letters: str, flags: int = 1) -> int:
    return g.call("unveil", g.params(UNVEIL, flags, path, letters))


def own(p: Proc) -> OwnPolicy:
    assert isinstance(p.confinement, OwnPolicy)
    return p.confinement


# --- pledge
def test_lengths_come_before_strings_and_words_before_either_applies(g: SerenityGuest) -> None:
    assert g.refusal("pledge", g.params(PLEDGE, 0x10, 1025, 0, 0)) == "E2BIG"
    assert g.refusal("pledge", g.params(PLEDGE, 0, 0, 0x10, 1025)) == "E2BIG"
    assert g.refusal("pledge", g.params(PLEDGE, 0x10, 5, 0, 0)) == "EFAULT"
    assert g.refusal("pledge", g.params(PLEDGE, *g.string("fake"), 0x10, 5)) == "EFAULT", "both are copied, then parsed"
    assert g.refusal("pledge", g.params(PLEDGE, *g.string("stdio"), *g.string("fake"))) == "EINVAL"
    assert g.p.confinement is None
    assert g.call("pledge", g.params(PLEDGE, 0, 77, 0, 1024)) == 0, "null pointers, whatever their lengths"


def test_words_are_bytes(g: SerenityGuest) -> None:
    for words in (b"stdio\xff", b"\xc3\xa9", b"stdio,rpath", b"root"):
        assert g.refusal("pledge", g.params(PLEDGE, words, "")) == "EINVAL"
    assert g.call("pledge", g.params(PLEDGE, b"  stdio\0rubbish", "")) == 0, "up to a zero byte"
    assert own(g.p).promises == promises.parse("stdio")


def test_a_broken_promise_is_told_and_remembered(g: SerenityGuest) -> None:
    told: list[Decision] = []
    g.p.system.on_decision = lambda _p, decision: told.append(decision)
    pledge(g, "stdio")
    g.place(0)
    g.t.call_number = NUMBERS["fork"]
    with pytest.raises(EPROMISEVIOLATION):
        g.p.abis[Arch.X86_64].sysent[NUMBERS["fork"]].invoke(g.t, g.t.cpu.regs)
    assert (g.p.exit_status, g.p.zombie) == (6, True)
    assert [(d.policy, d.verdict, d.missing, d.call) for d in told] == [("pledge", "killed", "proc", "fork()")]
    assert told[0].allow == "add proc to its own pledge"
    assert g.p.tasks is not None
    assert g.p.tasks.coredump == [(b"pledge_violation", b"proc")]


def test_the_users_promises_are_not_loosened(g: SerenityGuest) -> None:
    g.p.confine(Confinement(gate, promises.parse("stdio rpath"), mode="eperm"))
    pledge(g, "stdio rpath wpath cpath proc id")
    sysent = g.p.abis[Arch.X86_64].sysent
    for name, refused in (("fork", True), ("setuid", True), ("unlink", True), ("getpid", False), ("stat", False)):
        assert (sysent[NUMBERS[name]].call.run.__name__ == "refuse") is refused, name
    pledge(g, "stdio")
    sysent = g.p.abis[Arch.X86_64].sysent
    assert sysent[NUMBERS["stat"]].call.run.__name__ == "violate"


def test_shown(g: SerenityGuest) -> None:
    assert g.show("pledge", g.params(PLEDGE, *g.string("stdio rpath"), 0, 0)) == 'pledge("stdio rpath", NULL)'
    assert g.show("unveil", g.params(UNVEIL, 1, "/etc", "r")) == 'unveil("/etc", "r")'
    assert g.show("unveil", g.params(UNVEIL, 2, "/etc", "r")) == 'unveil(0x2, "/etc", "r")'
    assert g.show("unveil", g.params(UNVEIL, 1, 0, 0, 0, 0)) == "unveil(NULL, NULL)"
    assert g.show("unveil", g.params(UNVEIL, 1, 0x10, 5, 0, 0)) == "unveil(0x10)"


# --- unveil
@pytest.fixture
def tree(g: SerenityGuest) -> SerenityGuest:
    for path in ("/home", "/home/anon", "/etc"):
        g.call("mkdir", -100, path, 0o755)
    for path in ("/home/anon/f", "/etc/passwd"):
        g.call("close", g.open(path))
    return g


def test_both_programs_at_once(tree: SerenityGuest) -> None:
    g = tree
    assert unveil(g, "/etc", "r", 2) == 0
    assert own(g.p).state is VeilState.NONE
    assert g.p.veil is None, "nothing is hidden from this program yet"
    assert unveil(g, "/etc", "r", 3) == 0
    assert unveil(g, "/home", "r", 1) == 0
    assert unveil(g, "/home/anon/f", "r", 3) == 0
    with pytest.raises(EPERM):
        unveil(g, "/etc", "rw", 2)
    policy = own(g.p)
    assert policy.now is not None and policy.later is not None  # noqa: PT018 - for the type checker
    assert list(policy.now.rows()) == [(b"/etc", READ), (b"/home", READ), (b"/home/anon/f", READ)]
    assert list(policy.later.rows()) == [(b"/etc", READ), (b"/home/anon/f", READ)]


def test_the_stored_path_has_no_links_and_dots(tree: SerenityGuest) -> None:
    g = tree
    g.call("symlink", g.params("<QQQQi4x", "/home/anon", "/link", -100))
    unveil(g, "/link/../anon/./f", "r")
    unveil(g, "/home/new//", "rwc")
    policy = own(g.p)
    assert policy.now is not None
    assert [path for path, _ in policy.now.rows()] == [b"/home/anon/f", b"/home/new"]


def test_what_the_user_hides_is_not_there_to_be_unveiled(tree: SerenityGuest) -> None:
    g = tree
    users = Veil(g.p.system.mounts.root)
    users.unveil(b"/home", READ)
    users.lock()
    g.p.confine(Confinement(gate, None, veil=users))
    g.p.veil = users
    assert g.refusal("unveil", g.params(UNVEIL, 1, "/etc/passwd", "r")) == "ENOENT"
    assert g.refusal("unveil", g.params(UNVEIL, 1, "/etc/shadow", "rwc")) == "ENOENT"
    assert unveil(g, "/home", "rwxcb") == 0
    assert g.refusal("open", g.params("<i4xQQiH2x", -100, "/home/anon/f", 2, 0)) == "EACCES", "the user shows it to read alone"
    assert g.open("/home/anon/f", 1) >= 0
    assert g.refusal("stat", g.params("<QQQii", "/etc/passwd", 0, -100, 1)) == "ENOENT"


@row("serenity", "Process::fork, unveil", "a child has a veil of its own, the same at first")
def test_a_child_has_its_own(tree: SerenityGuest) -> None:
    g = tree
    from ring3.abi.flags import CloneFlags

    unveil(g, "/etc", "r")
    child = SerenityGuest(fork_process(g.t, CloneFlags(0), 17))
    assert own(child.p) is not own(g.p)
    mine = own(g.p)
    unveil(g, "/home", "r")
    theirs = own(child.p).now
    assert mine.now is not None and theirs is not None  # noqa: PT018 - for the type checker
    assert [path for path, _ in mine.now.rows()] == [b"/etc", b"/home"]
    assert [path for path, _ in theirs.rows()] == [b"/etc"]


def test_a_path_that_resolves_too_long(tree: SerenityGuest) -> None:
    g = tree
    name = "d" * 200
    g.call("mkdir", -100, "/deep", 0o755)
    g.call("chdir", "/deep")
    for _ in range(25):
        g.call("mkdir", -100, name, 0o755)
        g.call("chdir", name)
    fd = g.call("open", g.params("<i4xQQiH2x", -100, ".", 1, 0))
    assert fd >= 0
    g.call("chdir", "/")
    g.call("symlink", g.params("<QQQQi4x", "deep" + f"/{name}" * 15, "/near", -100))
    assert unveil(g, "/near", "r") == 0
    g.call("fchdir", fd)
    assert g.refusal("unveil", g.params(UNVEIL, 1, "/near" + f"/{name}" * 10, "r")) == "ENAMETOOLONG"


def test_code_must_be_unveiled_by_the_user_and_not_by_itself(tree: SerenityGuest) -> None:
    g = tree
    fd = g.open("/etc/passwd", 1)
    mmap = "<QQQIIi4xqQQ"

    def readable() -> int:
        return g.call("mmap", g.params(mmap, 0, 4096, 4096, 1, 2, fd, 0, 0, 0))

    start = readable()
    unveil(g, "/etc", "r")
    assert g.call("mprotect", start, 4096, 5) == 0, "SerenityOS asks for no x"
    users = Veil(g.p.system.mounts.root)
    users.unveil(b"/etc", READ)
    users.lock()
    policy = own(g.p)
    g.p.confine(Confinement(gate, None, veil=users))
    policy.over, policy.veil = g.p.confinement, BothVeils(users, policy.now or OwnVeil(g.p.system.mounts.root))
    g.p.confine(policy)
    start = readable()
    assert g.refusal("mprotect", start, 4096, 5) == "EACCES"
    assert g.refusal("mmap", g.params(mmap, 0, 4096, 4096, 5, 2, fd, 0, 0, 0)) == "EACCES"


def test_making_a_link_tells_nothing_of_what_the_user_hides(tree: SerenityGuest) -> None:
    g = tree
    users = Veil(g.p.system.mounts.root)
    users.unveil(b"/home", 15)
    users.lock()
    g.p.confine(Confinement(gate, None, veil=users))
    codes = "<QQQQi4x"
    for name, target in ((b"a", "/etc/passwd"), (b"b", "/etc/nothing")):
        assert g.call("symlink", g.params(codes, target, b"/home/" + name, -100)) == 0
    unveil(g, "/home", "rwc")
    for name, target in ((b"c", "/etc/passwd"), (b"d", "/etc/nothing"), (b"e", "/home/anon/f")):
        assert g.call("symlink", g.params(codes, target, b"/home/" + name, -100)) == 0
    unveil(g, "/home/anon", "r")
    assert g.refusal("symlink", g.params(codes, "/home/anon/f", "/home/g", -100)) == "EACCES"
    assert g.refusal("symlink", g.params(codes, "/nothing", "/home/anon/l", -100)) == "EACCES"
