"""Programs people use, as they are installed, natively and under ring3: same output, same errors, same status.

A command line is skipped, and counted, only where its program is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import judge
from tests.guest.build import HERE as GUEST
from tests.guest.build import CannotBuild, build
from tests.programs.corpus import FILES, Program, corpus

GO_SOURCE = Path(__file__).with_name("hello.go")


def prepare(directory: Path) -> None:
    """The files every command line starts from, with fixed times."""
    for name, text in FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in sorted(directory.rglob("*"), reverse=True):
        os.utime(path, (1_000_000_000, 1_000_000_000))


def find_program(name: str) -> str | None:
    return shutil.which(name, path=judge.ENVIRONMENT["PATH"])


@pytest.mark.needs_ptrace
@pytest.mark.timeout(300)
@pytest.mark.parametrize("program", list(corpus()), ids=lambda program: program.name)
def test_same_as_natively(program: Program, rounds: int) -> None:
    missing = [name for name in program.needs if find_program(name) is None]
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)}")
    args = [*program.shell, program.script]
    judge.compare([find_program(args[0]) or args[0], *args[1:]], rounds=rounds, prepare=prepare, stdin=program.stdin,
                  timeout=program.timeout)


def go_command() -> str:
    """Whichever Go there is."""
    beside = Path(sys.executable).parent / "go"
    go = str(beside) if beside.exists() else find_program("go")
    if go is None:
        pytest.skip("not installed: go")
    return go


def go_program(directory: Path) -> str:
    """The Go program of the tests."""
    go = go_command()
    program = directory / "hello"
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GO111MODULE": "off"}
    subprocess.run([go, "build", "-o", str(program), str(GO_SOURCE)], check=True, env=env, cwd=directory)
    return str(program)


@pytest.mark.needs_ptrace
@pytest.mark.timeout(300)
def test_a_go_program(rounds: int) -> None:
    """Goroutines on several threads, timers, signals, pipes, a child: the Go run-time asks much of a kernel."""
    with judge.scratch_directory("go") as directory:
        program = go_program(directory)
        judge.compare([program, "arguments", "given"], rounds=rounds, prepare=prepare)


@pytest.mark.needs_ptrace
@pytest.mark.parametrize("how", ["x64", "pie", "i386", "gnu"])
def test_every_kind_of_executable(how: str, rounds: int) -> None:
    """Static, static-PIE, 32-bit and dynamic: the same source, started the way programs are."""
    try:
        program = build(GUEST / "files.c", how)
    except CannotBuild as why:
        pytest.skip(str(why))
    judge.compare([str(program), "append"], rounds=rounds)


def test_the_corpus_is_large_enough_and_its_names_unique() -> None:
    names = [program.name for program in corpus()]
    assert len(names) == len(set(names))
    assert len(names) >= 75
