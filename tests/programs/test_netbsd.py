"""NetBSD programs: small C ones without a library for everything a call can be, and Go's, which ask for a whole system.

The C programs check themselves against what NetBSD promises, line by line; there is no NetBSD here to compare with.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests import judge
from tests.guest.build import cache_dir
from tests.guest.netbsd.build import HERE as GUEST
from tests.guest.netbsd.build import build, builds_of, sources
from tests.programs.test_programs import go_command

GO_SOURCE = Path(__file__).with_name("netbsd.go")

# Programs that are more than a list of checks.
_BY_HAND = frozenset({"crossing", "randomcalls"})


def run(program: Path | str, *args: str, timeout: float = 60) -> judge.Outcome:
    """One run of a NetBSD program."""
    with judge.scratch_directory("netbsd") as cwd:
        return judge.in_ring3([str(program), *args], cwd, timeout=timeout)


def failures(done: judge.Outcome) -> list[str]:
    """The checks that did not hold."""
    return [line for line in done.stdout.decode().splitlines() if line.startswith("FAILED")]


@pytest.mark.needs_ptrace
@pytest.mark.parametrize(
    ("source", "how"), [(path, how) for path in sources() if path.stem not in _BY_HAND for how in builds_of(path)],
    ids=lambda value: value if isinstance(value, str) else value.stem,
)
def test_program_checks_itself(source: Path, how: str) -> None:
    done = run(build(source, how))
    assert failures(done) == []
    assert done.status == 0
    assert done.stdout.count(b"ok ") > 10
    assert done.stderr == b""


@pytest.mark.needs_ptrace
@pytest.mark.parametrize("how", ["amd64", "i386"])
def test_a_netbsd_program_starts_linux_ones(how: str) -> None:
    done = run(build(GUEST / "crossing.c", how))
    assert failures(done) == []
    assert done.status == 0


@pytest.mark.needs_ptrace
@pytest.mark.parametrize("how", ["amd64", "i386"])
def test_a_linux_shell_starts_netbsd_programs(how: str) -> None:
    """Each by its own rules, in one kernel: NetBSD's SIGUSR1 is 30, the shell's is 10; its SIGURG 16, the shell's 23."""
    program = build(GUEST / "crossing.c", how)
    script = f"{program} die; echo $?; {program} wait > said & sleep 0.2; kill -URG $!; wait $!; echo $?; cat said"
    done = run("/bin/sh", "-c", script)
    assert done.stdout.decode().split() == ["138", "23", "waiting"]


@pytest.mark.needs_ptrace
def test_a_netbsd_program_dies_of_its_own_signal() -> None:
    """What the caller of ring3 sees is the host's number."""
    assert run(build(GUEST / "crossing.c"), "die").status == -10




# --- Go
@pytest.fixture(scope="session")
def go_programs() -> Path:
    """One Go program built for the host, and for NetBSD on amd64 and i386; what was built is kept by the source's content."""
    go = go_command()
    key = hashlib.sha256(GO_SOURCE.read_bytes() + subprocess.run([go, "version"], capture_output=True, check=True).stdout)
    directory = cache_dir() / "go" / key.hexdigest()[:16]
    for system, arch in (("linux", "amd64"), ("netbsd", "amd64"), ("netbsd", "386")):
        program = directory / f"{system}-{arch}"
        if not program.exists():
            directory.mkdir(parents=True, exist_ok=True)
            how = {"GOOS": system, "GOARCH": arch, "CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "local", "GO111MODULE": "off"}
            env = {**os.environ, **how}
            scratch = directory / f"{system}-{arch}.{os.getpid()}"
            subprocess.run([go, "build", "-o", str(scratch), str(GO_SOURCE)], check=True, env=env, cwd=directory)
            scratch.rename(program)
    return directory


@pytest.mark.needs_ptrace
@pytest.mark.timeout(300)
@pytest.mark.parametrize("arch", ["amd64", "386"])
@pytest.mark.parametrize("what", ["goroutines", "pipeline", "signals", "files"])
def test_go_does_the_same_on_both_systems(go_programs: Path, what: str, arch: str) -> None:
    """Built for linux and run natively, built for netbsd and run here."""
    with judge.scratch_directory("go") as cwd:
        native = judge.natively([str(go_programs / "linux-amd64"), what], cwd)
        here = judge.in_ring3([str(go_programs / f"netbsd-{arch}"), what], cwd)
    assert here.lines() == native.lines()
    assert native.status == 0
