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
from tests.rows import row

GO_SOURCE = Path(__file__).with_name("netbsd.go")

# Programs that are more than a list of checks.
_BY_HAND = frozenset({"crossing", "execs", "randomcalls"})


def run(program: Path | str, *args: str, timeout: float = 200) -> judge.Outcome:
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


@row("netbsd", "sys_execve, P_TRACED",
     "a traced child stops before its first instruction; its parent's wait sees that, and lets it go on")
@row("netbsd", "sys_execve, P_STOPEXEC, p_nstopchild",
     "a child that stops at its exec is seen by its parent's wait, and SIGCONT lets it go on")
@row("netbsd", "sys_execve, execsigs, fdcloseexec",
     "what lives on through an exec and what does not, as the new program itself finds it")
@pytest.mark.needs_ptrace
@pytest.mark.parametrize("how", ["amd64", "i386"])
def test_what_an_exec_is_to_those_around_it(how: str) -> None:
    done = run(build(GUEST / "execs.c", how))
    assert failures(done) == []
    assert done.status == 0
    assert done.stdout.count(b"ok ") == 32


@row("netbsd", "sys_execve, S_ISUID, fdcheckstd",
     "a set-id program that really runs has its owner's ids, knows it, and finds its first descriptors open")
@row("netbsd", "exec_script_makecmds, SETUIDSCRIPTS",
     "a set-id script that really runs has its owner's ids, and its interpreter reads it from a descriptor")
@pytest.mark.needs_ptrace
@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("how", ["amd64", "i386"])
@pytest.mark.parametrize(("mode", "run", "says"), [
    ("755", "p", "0 0 0 0 0 3"), ("6755", "p", "0 1000 0 1001 1 3"), ("4755", "p", "0 1000 0 0 1 3"),
    ("755", "plain !./p", "0 0 0 0 0 0"), ("6755", "plain !./p", "0 1000 0 1001 1 3"),
    ("4755", "plain !./script", "0 1000 0 0 1 3 /dev/fd/0"), ("755", "plain !./script", "0 0 0 0 0 0 ./script"),
])
def test_who_a_program_is(tmp_path: Path, how: str, mode: str, run: str, says: str) -> None:
    """In a directory that the guest makes: the host's own may be on a mount without set-id."""
    program = build(GUEST / "tools" / "ids.c", how)
    setup = (f"mkdir {tmp_path}/d && cd {tmp_path}/d && chmod 777 . && cp {program} p && cp p plain && chmod 755 plain && "
             f"printf '#!{tmp_path}/d/plain\\n' > script && chown 1000:1001 p script && chmod {mode} p script && ./{run}; cat said")
    tmp_path.chmod(0o755)
    done = judge.in_ring3(["/bin/sh", "-c", setup], tmp_path)
    assert (done.stdout.decode(), done.stderr, done.status) == (says, b"", 0)


@row("netbsd", "exec_elf_makecmds, PaX note", "a program that runs has the protections it did not decline, and no others")
@pytest.mark.needs_ptrace
@pytest.mark.parametrize("how", ["amd64", "i386"])
@pytest.mark.parametrize(("flags", "random", "strict"), [
    (0, True, True), (0x22, False, False), (0x20, False, True), (0x02, True, False), (0x11, True, True),
])
def test_pax_flags(tmp_path: Path, how: str, flags: int, random: bool, strict: bool) -> None:
    """0x02 is NOMPROTECT, 0x20 NOASLR, 0x11 asks for both protections."""
    data = build(GUEST / "tools" / "pax.c", how).read_bytes()
    name = b"PaX\0"
    assert data.count(name) == 1
    at = data.index(name) + len(name)
    program = tmp_path / "program"
    program.write_bytes(data[:at] + bytes((flags, 0, 0, 0)) + data[at + 4 :])
    program.chmod(0o755)
    said = [judge.in_ring3([str(program)], tmp_path).stdout.split() for _ in range(4)]
    stacks, mappings, both, later = (set(words) for words in zip(*said, strict=True))
    assert (len(stacks) > 1, len(mappings) > 1) == (random, random)
    assert both == {b"0"}                                                # allowed, less the right to execute
    assert later == {b"13" if strict else b"0"}


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
@pytest.mark.parametrize("what", ["goroutines", "pipeline", "signals", "files", "storm", "sockets", "sundry"])
def test_go_does_the_same_on_both_systems(go_programs: Path, what: str, arch: str) -> None:
    """Built for linux and run natively, built for netbsd and run here."""
    with judge.scratch_directory("go") as cwd:
        native = judge.natively([str(go_programs / "linux-amd64"), what], cwd)
        here = judge.in_ring3([str(go_programs / f"netbsd-{arch}"), what], cwd)
    assert here.lines() == native.lines()
    assert native.status == 0


@pytest.mark.needs_ptrace
@pytest.mark.timeout(300)
@pytest.mark.parametrize("arch", ["amd64", "386"])
@pytest.mark.parametrize(("what", "why"), [
    ("nil", b"panic: runtime error: invalid memory address or nil pointer dereference"),
    ("deadlock", b"fatal error: all goroutines are asleep - deadlock!"),
    ("overflow", b"fatal error: stack overflow"), ("abort", b"SIGABRT: abort"),
])
def test_go_tells_of_its_end_as_on_linux(go_programs: Path, what: str, why: bytes, arch: str) -> None:
    """The reason, a trace with this program's own function and line in it, status 2."""
    with judge.scratch_directory("go") as cwd:
        native = judge.natively([str(go_programs / "linux-amd64"), what], cwd)
        here = judge.in_ring3([str(go_programs / f"netbsd-{arch}"), what], cwd)
    for done in (native, here):
        assert why in done.stderr
        assert b"netbsd.go:" in done.stderr
        assert done.status == 2
    assert here.stdout == native.stdout


@pytest.mark.needs_ptrace
def test_the_network_inside_the_kernel(go_programs: Path) -> None:
    with judge.scratch_directory("go") as cwd:
        done = judge.in_ring3([str(go_programs / "netbsd-amd64"), "network"], cwd)
    refused, unreachable, *rest = done.stdout.decode().splitlines()
    assert refused == "dial tcp 127.0.0.1:1: connect: connection refused"
    assert unreachable == "true"
    assert rest == ["true", "300000 <nil>"] * 2 + ["datagram true <nil>"]
    assert done.status == 0


def sources_of_go() -> Path:
    """The source tree of Go's own library."""
    go = go_command()
    root = subprocess.run([go, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    return Path(root) / "src"


@pytest.mark.needs_ptrace
@pytest.mark.timeout(300)
def test_gofmt_says_the_same_of_gos_own_tree(tmp_path: Path) -> None:
    """Seven hundred files, parsed by several threads at once: what would be changed, and how, is what it is natively."""
    src = sources_of_go()
    directory = cache_dir() / "go" / f"gofmt-{hashlib.sha256((src / 'cmd/gofmt/gofmt.go').read_bytes()).hexdigest()[:16]}"
    for system in ("linux", "netbsd"):
        if not (directory / system).exists():
            directory.mkdir(parents=True, exist_ok=True)
            how = {"GOOS": system, "GOARCH": "amd64", "CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "local"}
            scratch = directory / f"{system}.{os.getpid()}"
            words = [go_command(), "build", "-o", str(scratch), "."]
            subprocess.run(words, check=True, env={**os.environ, **how, "GO111MODULE": "on"}, cwd=src / "cmd/gofmt")
            scratch.rename(directory / system)
    words = ["-l", "-d", "-s", *(str(src / name) for name in ("os", "encoding", "crypto", "go/printer"))]
    native = judge.natively([str(directory / "linux"), *words], tmp_path)
    here = judge.in_ring3([str(directory / "netbsd"), *words], tmp_path)
    assert (here.stdout, here.stderr, here.status) == (native.stdout, native.stderr, native.status)
    assert native.stdout
