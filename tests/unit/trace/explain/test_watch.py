"""What is noted while an exec is watched: look-ups component by component, checks, formats, hops; and that watching
changes nothing."""

from __future__ import annotations

import itertools
import random

import pytest

from ring3.abi.flags import MountFlags
from ring3.errors import Errno
from ring3.exec.check import check_exec
from ring3.exec.package import ExecPackage, ExecRequest
from ring3.exec.plan import ExecDeath, ExecPlan
from ring3.policy.confinement import new_veil
from ring3.protocols import Instrument
from ring3.trace.explain.checks import file_checks
from ring3.trace.explain.model import Arguments, Check, FormatSaid, Header, Hop, LookUp
from ring3.trace.explain.watch import explain
from ring3.vfs.namei import namei
from tests.unit.exec.images import interpreted, pie, program
from tests.unit.exec.test_fuzz import mutated, originals
from tests.unit.trace.explain.guest import ROOT, USER, Guest


def looks(found: object) -> list[LookUp]:
    return [event for event in found.events if isinstance(event, LookUp)]  # type: ignore[attr-defined]


# --- look-ups

def test_each_component_is_a_step(guest: Guest) -> None:
    guest.file("/usr/bin/x", program())
    guest.link("/bin", "usr/bin")
    look, = looks(guest.explain("/bin/../bin/./x"))
    assert [(step.kind, step.path, step.target) for step in look.steps] == [
        ("start", b"/", b""), ("link", b"/bin", b"usr/bin"), ("name", b"/usr", b""), ("name", b"/usr/bin", b""),
        ("up", b"/usr", b""), ("name", b"/usr/bin", b""), ("name", b"/usr/bin/x", b""),
    ]
    assert (look.found, look.error, look.file.mode if look.file else 0) == (b"/usr/bin/x", "", 0o755)


def test_relative_paths_begin_where_the_caller_is(guest: Guest) -> None:
    guest.file("/srv/x", program())
    look, = looks(guest.explain("./x", cwd="/srv"))
    assert (look.steps[0].kind, look.steps[0].path, look.found) == ("start", b"/srv", b"/srv/x")


def test_mounts_are_told_when_crossed(guest: Guest) -> None:
    guest.mount("/mnt", MountFlags.NOSUID)
    guest.file("/mnt/x", program())
    look, = looks(guest.explain("/mnt/x"))
    crossed = next(step for step in look.steps if step.kind == "mount")
    assert crossed.mount is not None
    assert (crossed.path, crossed.mount.path, crossed.mount.options) == (b"/mnt", b"/mnt", "rw,nosuid")
    assert look.mount == crossed.mount


def test_a_walk_that_fails_ends_in_its_reason(guest: Guest) -> None:
    guest.file("/etc/x", b"", 0o644)
    look, = looks(guest.explain("/etc/y"))
    assert (look.error, look.steps[-1].error, look.steps[-1].path) == ("ENOENT", "ENOENT", b"/etc/y")


def test_the_veil_is_asked(guest: Guest) -> None:
    guest.file("/x", program())
    t = guest.process()
    t.proc.veil = new_veil(guest.system, {b"/usr": 1})
    found = guest.explain("/x", t=t)
    assert (found.error, found.diagnosis.key if found.diagnosis else "") == ("ENOENT", "veiled")
    assert found.diagnosis is not None
    assert found.diagnosis.helps[0] == "unveil it for execution: --unveil /x:rx"


def test_the_emulation_root_is_tried_first(guest: Guest) -> None:
    guest.file("/emul/other/bin/one", program())
    guest.file("/bin/two", program())
    t = guest.process()
    t.proc.emulation = (namei(guest.context, b"/emul/other"), t.proc.fs.root)
    one, two, both = (looks(guest.explain(path, t=t)) for path in ("/bin/one", "/bin/two", "/bin/none"))
    assert [(look.tree, look.found) for look in one] == [(b"/emul/other", b"/emul/other/bin/one")]
    assert [(look.tree, look.error, look.found) for look in two] == [(b"/emul/other", "ENOENT", b""), (b"", "", b"/bin/two")]
    assert [look.error for look in both] == ["ENOENT", "ENOENT"]


def test_a_long_walk_is_bounded(guest: Guest) -> None:
    guest.file("/d/x", program())
    for number in range(39):
        guest.link(f"/l{number}", f"{'/.' * 500}{'/d/..' * 200}/l{number + 1}")
    guest.link("/l39", "/d/x")
    look, = looks(guest.explain("/l0"))
    assert look.found == b"/d/x"
    assert len(look.steps) == 300
    assert look.more_steps > 1000


def test_every_look_up_agrees_with_the_exec(guest: Guest) -> None:
    """Random trees and random paths: the traced walk ends as the real one does."""
    chance = random.Random(5)
    names = ("a", "b", "c", "d")
    for number in range(40):
        path = "/" + "/".join(chance.choices(names, k=chance.randrange(1, 4)))
        try:
            kind = chance.randrange(3)
            if kind == 0:
                guest.file(path, program(), chance.choice((0o755, 0o644)), chance.choice((0, 1000)))
            elif kind == 1:
                guest.directory(path, chance.choice((0o755, 0o700)))
            else:
                guest.link(path, chance.choice(("", "/", "../")) + "/".join(chance.choices((*names, ".."), k=2)))
        except Errno:
            continue
        assert number < 40
    for _ in range(400):
        path = chance.choice(("/", "")) + "/".join(chance.choices((*names, ".", ".."), k=chance.randrange(1, 6)))
        t = guest.process(chance.choice((ROOT, USER)))
        try:
            namei_error = ""
            check_exec(t, ExecRequest(path.encode(), [b"x"], []))
        except Errno as refusal:
            namei_error = refusal.name
        found = explain(t, ExecRequest(path.encode(), [b"x"], []))
        assert found.error == namei_error
        look = looks(found)[0]
        if look.error:
            assert look.error == namei_error


# --- checks

def test_questions_agree_with_the_check(guest: Guest) -> None:
    """A question has a "no" exactly where `check_file` refuses, and the first "no" has its error."""
    guest.mount("/noexec", MountFlags.NOEXEC)
    guest.mount("/plain")
    refused = 0
    for where, mode, uid, writers, cred in itertools.product(
        ("/plain", "/noexec"), (0o755, 0o644, 0o700, 0o070, 0o007, 0), (0, 1000), (0, 1), (ROOT, USER),
    ):
        path = f"{where}/{mode:o}-{uid}-{writers}-{cred.euid}"
        guest.file(path, b"x", mode, uid)
        dentry = namei(guest.context, path.encode())
        dentry.vnode.writers = writers
        package = ExecPackage(guest.process(cred), ExecRequest(path.encode(), [b"x"], []))
        error: Errno | None = None
        try:
            package.check_file(dentry.vnode, dentry, path.encode())
        except Errno as refusal:
            error = refusal
        checks = file_checks(package, dentry.vnode, dentry, path.encode(), error)
        noes = [check.error for check in checks if not check.passed]
        assert bool(noes) is (error is not None), (path, checks)
        if error is not None:
            refused += 1
            assert noes[0] == error.name
            assert not any(check.question == "allowed by policy" for check in checks)
    assert 60 < refused < 90


def test_directories_are_asked_too(guest: Guest) -> None:
    found = guest.explain("/")
    assert next(check.question for check in found.events if isinstance(check, Check) and not check.passed) == "a regular file"


# --- formats and scripts

def test_formats_speak_in_their_order(guest: Guest) -> None:
    guest.shell()
    guest.file("/x", b"#!/usr/bin/env -S sh -e\n")
    events = [event for event in guest.explain("/x", "a").events if not isinstance(event, Check)]
    kinds = [type(event) for event in events if not isinstance(event, FormatSaid) or event.verdict != "not mine"]
    assert kinds == [LookUp, Arguments, Header, FormatSaid, Hop, LookUp, Header, FormatSaid]
    asked = [event.format for event in events if isinstance(event, FormatSaid)]
    names = [entry.name for entry in guest.system.execsw.entries]
    assert asked == ["script", *names[: names.index("elf64") + 1]]
    hop = next(event for event in guest.explain("/x", "a").events if isinstance(event, Hop))
    assert hop == Hop(b"/x", b"#!/usr/bin/env -S sh -e", b"/usr/bin/env", (b"/usr/bin/env", b"-S sh -e", b"/x"), 1, 5)


def test_what_a_format_said_comes_before_what_follows_from_it(guest: Guest) -> None:
    guest.file("/x", interpreted(b"/lib/ld"))
    events = [event for event in guest.explain("/x").events if not isinstance(event, Check)]
    said = [(event.format, event.verdict) for event in events if isinstance(event, FormatSaid)]
    assert (said[0], said[-1]) == (("script", "not mine"), ("elf64", "mine"))
    assert {verdict for _, verdict in said[:-1]} == {"not mine"}
    assert isinstance(events[-1], LookUp)
    assert events[-1].purpose == "loader"


def test_arguments_are_counted(guest: Guest) -> None:
    guest.file("/x", program())
    found = next(e for e in guest.explain("/x", "ab", env={b"K": b"v"}).events if isinstance(e, Arguments))
    assert (found.argc, found.envc, found.strings, found.pointers) == (2, 1, 3 + 3 + 4 + 3, 24)
    assert (found.limit, found.string_limit) == (2 << 20, 131072)


# --- nothing changes

def test_asking_twice_gives_the_same_plan_as_the_exec(guest: Guest) -> None:
    guest.file("/x", pie())
    t = guest.process()
    request = ExecRequest(b"/x", [b"x"], [b"A=b"])
    first, second = explain(t, request), explain(t, request)
    assert first.plan == second.plan == check_exec(t, request)
    assert first == second


def test_nobody_hears_of_it(guest: Guest) -> None:
    class Loud(Instrument):
        def __getattribute__(self, name: str) -> object:
            raise AssertionError(name)

    loud = Loud()
    guest.file("/bin/x", program())
    guest.system.instruments.append(loud)
    assert guest.explain("x", env={b"PATH": b"/no:/bin"}).outcome == "runs"
    assert guest.explain("/no").outcome == "refused"
    assert guest.system.instruments == [loud]


@pytest.mark.parametrize("seed", range(6))
def test_mutated_files_are_explained(guest: Guest, seed: int) -> None:
    """The watched exec ends as the unwatched one; whatever the bytes are there are words for it, and never a
    traceback."""
    from ring3.trace.explain.asjson import dumps
    from ring3.trace.explain.compare import compare
    from ring3.trace.explain.text import render

    guest.shell()
    guest.file("/lib64/ld-linux-x86-64.so.2", pie())
    chance = random.Random(seed)
    sources = originals()
    for number in range(120):
        path = guest.file(f"/f{number}", mutated(chance.choice(sources), chance))
        t = guest.process(chance.choice((ROOT, USER)))
        try:
            verdict: object = check_exec(t, ExecRequest(path.encode(), [b"x"], []))
            expected = "runs" if isinstance(verdict, ExecPlan) else "dies"
            assert isinstance(verdict, ExecPlan | ExecDeath)
        except Errno as refusal:
            expected = refusal.name
        found = guest.explain(path, t=t)
        assert (found.error if found.outcome == "refused" else found.outcome) == expected
        if expected != "runs":
            assert found.diagnosis is not None
            assert found.diagnosis.why
        for text in (render(found, 80), render(found, 140, colour=True), dumps([found]), compare([found, found], 120)):
            assert len(text) < 400_000
            assert all(letter.isprintable() or letter in "\n\x1b" for letter in text)
