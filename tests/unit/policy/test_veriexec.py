"""Veriexec: the table of levels, what is remembered of a file and for how long, and the words of a refusal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ring3.abi.flags import MountFlags, OpenFlags, RenameFlags
from ring3.abi.records import AttrChange
from ring3.errors import EPERM, Errno
from ring3.policy import veriexec
from ring3.policy.confinement import Decision
from ring3.policy.signatures import Signature, Signatures, SignaturesError, Usage, fingerprint
from ring3.policy.veriexec import Level, Veriexec, VeriexecOptions, install, parse_veriexec
from ring3.proc.lookup import namei_context
from ring3.vfs import names
from ring3.vfs.hostdir import HostDirFS
from ring3.vfs.memory import MemoryFS
from ring3.vfs.namei import namei
from ring3.vfs.opening import open_file
from tests.rows import row
from tests.unit.exec.bench import Bench
from tests.unit.exec.images import interpreted, program

LEVELS = tuple(Level)
OK, TOLD, NO = "ok", "reported", "EPERM"


class Ground:
    """A kernel over a directory with: `tool` (listed), `other` (not), `wrong` (listed, and another now), `i`, `script`, `elf`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bench = Bench()
        self.told: list[Decision] = []
        self.bench.system.on_decision = lambda _p, decision: self.told.append(decision)
        self.bench.system.current = self.bench.t
        self.entries: list[Signature] = []
        self.guard: Veriexec
        for name, data in (
            ("tool", program()), ("other", program()), ("wrong", program()), ("i", program()), ("elf", interpreted(self.path("i"))),
            ("script", b"#!" + self.path("i") + b"\n"), ("data", b"data"),
        ):
            (directory / name).write_bytes(data)
            (directory / name).chmod(0o755)

    def path(self, name: str) -> bytes:
        return bytes(self.directory / name)

    def list(self, name: str, usage: Usage, algorithm: str = "SHA256", data: bytes | None = None) -> None:
        content = (self.directory / name).read_bytes() if data is None else data
        digest = hashlib.new(algorithm.lower(), content).digest()
        self.entries.append(Signature(self.path(name), algorithm, digest, usage, len(self.entries) + 1))

    def begin(self, level: Level) -> Ground:
        self.guard = install(self.bench.system, VeriexecOptions(Signatures("sigs", tuple(self.entries)), level))
        return self

    # --- what a guest does
    def exec(self, name: str) -> None:
        self.bench.check(self.path(name))

    def open(self, name: str, flags: OpenFlags = OpenFlags.RDONLY) -> Any:
        return open_file(namei_context(self.bench.t), self.path(name), flags, 0o644)

    def write(self, name: str) -> None:
        file = self.open(name, OpenFlags.RDWR)
        file.write(b"changed")
        file.close()

    def rename(self, old: str, new: str, flags: RenameFlags = names.NO_FLAGS) -> None:
        names.rename(namei_context(self.bench.t), self.path(old), self.path(new), flags)

    def unlink(self, name: str) -> None:
        names.unlink(namei_context(self.bench.t), self.path(name))

    def verdict(self, action: Callable[[], object]) -> str:
        """What came of it, and that it was told."""
        self.told.clear()
        try:
            action()
        except EPERM:
            assert [d.verdict for d in self.told][-1:] == ["refused"]
            return NO
        if not self.told:
            return OK
        assert {d.verdict for d in self.told} == {"reported"}
        return TOLD


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path)
    yield made
    made.bench.close()


def listed(ground: Ground, level: Level) -> Ground:
    """The usual entries."""
    ground.list("tool", Usage.DIRECT)
    ground.list("wrong", Usage.DIRECT | Usage.INDIRECT | Usage.FILE, data=b"something else")
    ground.list("i", Usage.INDIRECT)
    ground.list("script", Usage.DIRECT | Usage.FILE)
    ground.list("elf", Usage.DIRECT)
    ground.list("data", Usage.FILE)
    return ground.begin(level)


# What is done, and what comes of it while learning, under ids, ips, lockdown (reference, section 1.10).
TABLE: tuple[tuple[str, Callable[[Ground], object], tuple[str, str, str, str]], ...] = (
    ("run what is listed", lambda g: g.exec("tool"), (OK, OK, OK, OK)),
    ("run what is not listed", lambda g: g.exec("other"), (OK, OK, NO, NO)),
    ("run what does not match", lambda g: g.exec("wrong"), (TOLD, NO, NO, NO)),
    ("run an interpreter directly", lambda g: g.exec("i"), (TOLD, TOLD, NO, NO)),
    ("run a script", lambda g: g.exec("script"), (OK, OK, OK, OK)),
    ("run a program with a loader", lambda g: g.exec("elf"), (OK, OK, OK, OK)),
    ("open what is listed", lambda g: g.open("data"), (OK, OK, OK, OK)),
    ("open what is not listed", lambda g: g.open("other"), (OK, OK, OK, NO)),
    ("open what is listed to be run", lambda g: g.open("tool"), (TOLD, TOLD, NO, NO)),
    ("open what does not match", lambda g: g.open("wrong"), (TOLD, NO, NO, NO)),
    ("write what is listed", lambda g: g.open("data", OpenFlags.WRONLY), (TOLD, TOLD, NO, NO)),
    ("cut what is listed", lambda g: g.open("data", OpenFlags.TRUNC), (TOLD, TOLD, NO, NO)),
    ("write what is not listed", lambda g: g.open("other", OpenFlags.RDWR), (OK, OK, OK, NO)),
    ("make a file", lambda g: g.open("new", OpenFlags.CREAT | OpenFlags.WRONLY), (OK, OK, OK, NO)),
    ("remove what is listed", lambda g: g.unlink("tool"), (TOLD, NO, NO, NO)),
    ("remove what is not listed", lambda g: g.unlink("other"), (OK, OK, OK, NO)),
    ("rename what is listed", lambda g: g.rename("tool", "new"), (TOLD, TOLD, NO, NO)),
    ("rename over what is listed", lambda g: g.rename("other", "tool"), (TOLD, TOLD, NO, NO)),
    ("rename what is not listed", lambda g: g.rename("other", "new"), (OK, OK, OK, NO)),
    ("open a directory", lambda g: open_file(namei_context(g.bench.t), b"/etc", OpenFlags.RDONLY), (OK, OK, OK, OK)),
)


@row("netbsd", "check_exec, VERIFIED_EXEC", "a file is verified when it is found to be runnable, by the level in force")
@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name.lower())
@pytest.mark.parametrize(("action", "verdicts"), [pytest.param(*rest, id=what) for what, *rest in TABLE])
def test_levels(ground: Ground, action: Callable[[Ground], object], verdicts: tuple[str, ...], level: Level) -> None:
    listed(ground, level)
    assert ground.verdict(lambda: action(ground)) == verdicts[level]


@row("netbsd", "check_exec, direct_exec", "an interpreter that may only be run indirectly is verified as such behind a script")
@pytest.mark.parametrize("name", ["script", "elf"])
def test_a_changed_interpreter_is_caught_behind_what_names_it(ground: Ground, name: str) -> None:
    listed(ground, Level.IDS)
    ground.exec(name)
    ground.write("i")
    assert ground.verdict(lambda: ground.exec(name)) == NO
    assert ground.told[-1].path == ground.path("i")


def test_learning_without_entries_says_nothing(ground: Ground) -> None:
    ground.begin(Level.LEARNING)
    assert ground.verdict(lambda: ground.exec("other")) == OK


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512", "SHA1", "MD5"])
def test_algorithms(ground: Ground, algorithm: str) -> None:
    ground.list("tool", Usage.DIRECT, algorithm)
    ground.list("other", Usage.DIRECT, algorithm, data=b"no")
    ground.begin(Level.IDS)
    assert ground.verdict(lambda: ground.exec("tool")) == OK
    assert ground.verdict(lambda: ground.exec("other")) == NO


def test_an_algorithm_this_python_lacks_is_told_at_the_start(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(name: str, **_: object) -> None:
        raise ValueError(f"unsupported hash type {name}")

    ground.list("tool", Usage.DIRECT)
    monkeypatch.setattr(hashlib, "new", lacks)
    with pytest.raises(SignaturesError, match="this Python cannot take SHA256 fingerprints"):
        ground.begin(Level.IDS)


# --- what is remembered

@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One item for each fingerprint taken."""
    taken: list[str] = []

    def counting(algorithm: str, read: Callable[[int], bytes]) -> bytes:
        taken.append(algorithm)
        return fingerprint(algorithm, read)

    monkeypatch.setattr(veriexec, "fingerprint", counting)
    return taken


def test_a_fingerprint_is_taken_once(ground: Ground, hashed: list[str]) -> None:
    listed(ground, Level.IDS)
    for _ in range(3):
        ground.exec("tool")
        ground.verdict(lambda: ground.exec("wrong"))
    assert len(hashed) == 2


def test_and_again_once_it_may_have_changed(ground: Ground, hashed: list[str]) -> None:
    listed(ground, Level.IDS)
    ground.open("data")
    writer = ground.open("data", OpenFlags.RDWR)
    ground.open("data")
    ground.open("data")                 # while somebody may write it, nothing is remembered
    writer.close()
    ground.open("data")
    ground.open("data")
    assert len(hashed) == 4


def test_a_change_of_the_host_below_is_a_change(ground: Ground) -> None:
    listed(ground, Level.IDS)
    ground.open("data")
    (ground.directory / "data").write_bytes(b"otherwise")
    assert ground.verdict(lambda: ground.open("data")) == NO


def test_untrusted_files_are_hashed_each_time(ground: Ground, hashed: list[str]) -> None:
    ground.list("data", Usage.FILE | Usage.UNTRUSTED)
    ground.begin(Level.IDS)
    ground.open("data")
    ground.open("data")
    assert len(hashed) == 2


def test_attributes_may_change(ground: Ground) -> None:
    """The overlay's copy of a file's attributes moves to memory; the file stays the one that is listed."""
    listed(ground, Level.IPS)
    namei(namei_context(ground.bench.t), ground.path("data")).vnode.setattr(AttrChange(mode=0o600, mtime=5))
    assert ground.verdict(lambda: ground.open("data")) == OK
    assert ground.verdict(lambda: ground.write("data")) == NO


def test_what_is_too_large_to_hash_does_not_match(ground: Ground, monkeypatch: pytest.MonkeyPatch, hashed: list[str]) -> None:
    monkeypatch.setattr(veriexec, "MAX_HASHED", 3)
    listed(ground, Level.IDS)
    assert ground.verdict(lambda: ground.open("data")) == NO
    assert not hashed


# --- what an entry is about

def test_every_name_of_a_file_is_listed(ground: Ground) -> None:
    listed(ground, Level.IPS)
    names.link(namei_context(ground.bench.t), ground.path("tool"), ground.path("name"))
    assert ground.verdict(lambda: ground.exec("name")) == OK
    assert ground.verdict(lambda: ground.unlink("name")) == NO


def test_a_second_mount_of_the_same_files(ground: Ground) -> None:
    place = namei(namei_context(ground.bench.t), b"/mnt")
    ground.bench.system.mounts.mount(HostDirFS(str(ground.directory), writable=True), place)
    listed(ground, Level.IDS)
    ground.open("data")
    second = open_file(namei_context(ground.bench.t), b"/mnt/data", OpenFlags.RDWR)
    assert ground.told[-1].verdict == "reported"
    second.write(b"DATA")
    assert ground.verdict(lambda: ground.open("data")) == NO
    second.close()
    assert ground.verdict(lambda: ground.open("data")) == NO


def test_a_file_that_is_not_there_yet(ground: Ground) -> None:
    ground.list("later", Usage.FILE, data=b"changed")
    ground.list("never", Usage.FILE, data=b"good")
    ground.begin(Level.IPS)
    for name in ("later", "never"):
        file = ground.open(name, OpenFlags.CREAT | OpenFlags.WRONLY)
        file.write(b"changed")
        file.close()
    assert ground.verdict(lambda: ground.open("later")) == OK
    assert ground.verdict(lambda: ground.open("never")) == NO
    assert ground.verdict(lambda: ground.write("later")) == NO


def test_what_replaces_a_listed_file_is_not_listed(ground: Ground) -> None:
    listed(ground, Level.IDS)
    ground.rename("other", "wrong")
    assert ground.verdict(lambda: ground.exec("wrong")) == OK


def test_what_is_exchanged_stays_listed(ground: Ground) -> None:
    listed(ground, Level.IDS)
    ground.rename("other", "wrong", RenameFlags.EXCHANGE)
    assert ground.verdict(lambda: ground.exec("other")) == NO
    assert ground.verdict(lambda: ground.exec("wrong")) == OK


def test_mounts_with_listed_files_stay(ground: Ground) -> None:
    place = namei(namei_context(ground.bench.t), ground.path(""))
    mounts = ground.bench.system.mounts
    here = mounts.mount(HostDirFS(str(ground.directory), writable=False), place)
    empty = mounts.mount(MemoryFS(), namei(namei_context(ground.bench.t), b"/mnt"), MountFlags.NONE)
    listed(ground, Level.IPS)
    assert ground.verdict(lambda: ground.guard.unmounts(here)) == NO
    assert ground.verdict(lambda: ground.guard.unmounts(empty)) == OK


# --- words

def test_a_refusal_says_what_where_and_what_to_do(ground: Ground) -> None:
    listed(ground, Level.IPS)
    with pytest.raises(EPERM, match=r"veriexec: fingerprint does not match the entry in sigs \(line 2\)"):
        ground.exec("wrong")
    wrong = ground.told[-1]
    assert (wrong.policy, wrong.path) == ("veriexec", ground.path("wrong"))
    assert wrong.missing == "fingerprint does not match the entry in sigs (line 2)"
    assert wrong.allow == f"ring3 fingerprint {ground.directory}/wrong, in place of sigs (line 2)"
    with pytest.raises(Errno):
        ground.exec("other")
    assert ground.told[-1].missing == "not listed in sigs, and so is not run directly"
    assert ground.told[-1].allow == f"ring3 fingerprint {ground.directory}/other >> sigs"
    with pytest.raises(Errno):
        ground.open("tool")
    assert ground.told[-1].missing == "opened, but sigs (line 1) allows only: direct"
    assert ground.told[-1].allow == "add 'file' to the flags in sigs (line 1)"


@pytest.mark.parametrize(("text", "level"), [
    ("{}", Level.IDS), ("{}:learning", Level.LEARNING), ("{}:ids", Level.IDS), ("{}:IPS", Level.IPS),
    ("{}:lockdown", Level.LOCKDOWN),
])
def test_the_option(tmp_path: Path, text: str, level: Level) -> None:
    (tmp_path / "sigs").write_text("")
    assert parse_veriexec(text.format(tmp_path / "sigs")).level is level


def test_a_colon_in_a_name(tmp_path: Path) -> None:
    (tmp_path / "a:b").write_text("")
    assert parse_veriexec(f"{tmp_path}/a:b").level is Level.IDS
    assert parse_veriexec(f"{tmp_path}/a:b:ips").level is Level.IPS


def test_an_option_that_makes_no_sense(tmp_path: Path) -> None:
    (tmp_path / "sigs").write_text("/x\n")
    with pytest.raises(ValueError, match="level 'ipx': it is one of learning, ids, ips, lockdown"):
        parse_veriexec(f"{tmp_path}/sigs:ipx")
    with pytest.raises(SignaturesError, match="sigs: line 1: a line is"):
        parse_veriexec(f"{tmp_path}/sigs")
    with pytest.raises(FileNotFoundError):
        parse_veriexec("/no/such:dir/sigs")


# --- its place in an exec

class Watcher:
    """A policy that notes what an exec knew when it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, str, bytes]] = []

    def __call__(self, t: Any, package: Any, file: Any) -> None:
        self.asked.append((file.path, package.step, package.header[:4]))


@row("netbsd", "check_exec, check_veriexec", "a file is verified once it may be executed, before its header is read")
def test_a_file_is_verified_before_its_header_is_read(ground: Ground) -> None:
    watcher = Watcher()
    ground.bench.system.execsw.policies += (watcher,)
    ground.exec("tool")
    assert watcher.asked == [(ground.path("tool"), "lookup", b"")]
    (ground.directory / "tool").chmod(0o644)
    with pytest.raises(Errno):
        ground.exec("tool")
    assert len(watcher.asked) == 1


@row("netbsd", "check_exec, direct_exec", "the program an exec names is verified as run directly, an interpreter as run indirectly")
def test_what_is_direct_and_what_indirect(ground: Ground) -> None:
    watcher = Watcher()
    ground.bench.system.execsw.policies += (watcher,)
    ground.exec("script")
    ground.exec("elf")
    assert [(path, step) for path, step, _ in watcher.asked] == [
        (ground.path("script"), "lookup"), (ground.path("i"), "script"),
        (ground.path("elf"), "lookup"), (ground.path("i"), "interpreter"),
    ]
