"""The dynamic path of SerenityOS: a program that plays the part of /usr/lib/Loader.so, a library, a main program, in a base set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ring3
from tests.guest.netbsd.build import HERE as NETBSD
from tests.guest.netbsd.build import build as build_netbsd
from tests.guest.serenity.build import HERE, base_set, build
from tests.rows import row

pytestmark = pytest.mark.needs_ptrace


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's root of SerenityOS."""
    top = tmp_path_factory.mktemp("base")
    base_set(top)
    return top


@pytest.fixture
def kernel(root: Path) -> Iterator[ring3.Kernel]:
    with ring3.Kernel(emul={"serenity": str(root)}) as kernel:
        yield kernel


def checked(text: bytes) -> list[str]:
    """The lines a program printed, none of which says that something failed."""
    lines = text.decode().splitlines()
    assert [line for line in lines if line.startswith("FAILED")] == []
    assert sum(line.startswith("ok ") for line in lines) > 10
    return [line for line in lines if not line.startswith("ok ")]


@row("serenity", "do_exec, load", "the whole dynamic path: a loader gets the descriptor, maps program and library, hands over")
def test_a_dynamic_program_runs(kernel: ring3.Kernel, root: Path) -> None:
    done = kernel.run([str(root / "bin" / "program"), "hello", "there"], capture_output=True, timeout=60)
    assert checked(done.stdout) == ["hello"]
    assert done.returncode == 3


def test_from_the_command_line(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ring3", "run", "--emul", f"serenity={root}", "--", str(root / "bin" / "program"), "word"],
        capture_output=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(HERE.parents[2] / "src")},
    )
    assert checked(done.stdout) == ["word"]
    assert done.returncode == 0
    assert b"a call from outside of the syscall regions: getpid()" in done.stderr


def test_a_linux_shell_starts_it(kernel: ring3.Kernel, root: Path) -> None:
    done = kernel.run(["/bin/sh", "-c", f"{root}/bin/program piped | tail -n 1"], capture_output=True, timeout=60)
    assert done.stdout == b"piped\n"


def test_its_own_files_come_first(kernel: ring3.Kernel) -> None:
    """The base set's /bin is where its programs look first."""
    done = kernel.run(["/bin/program", "found"], capture_output=True, timeout=60, personality="serenity")
    assert checked(done.stdout) == ["found"]


@pytest.mark.parametrize("gone", ["usr/lib/Loader.so", "usr/lib/libsystem.so"])
def test_without_a_piece_of_it(tmp_path: Path, gone: str) -> None:
    program = base_set(tmp_path)
    (tmp_path / gone).unlink()
    with ring3.Kernel(emul={"serenity": str(tmp_path)}) as kernel:
        if gone.endswith("Loader.so"):
            with pytest.raises(FileNotFoundError):
                kernel.run([str(program)], timeout=60)
            return
        done = kernel.run([str(program)], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (127, b"2 ")
    assert done.stderr == b"loader: /usr/lib/libsystem.so\n"


def test_the_loader_itself_is_no_program(kernel: ring3.Kernel) -> None:
    done = kernel.run(["/usr/lib/Loader.so"], capture_output=True, timeout=60, personality="serenity")
    assert (done.returncode, done.stderr) == (127, b"loader: not started by the kernel for a program\n")


def test_promises_the_loader_makes(kernel: ring3.Kernel, root: Path) -> None:
    """What the loader needed is given up before the program's own code runs: it may not even fork."""
    env = {"_LOADER_MAIN_PROGRAM_PLEDGE_PROMISES": "stdio rpath prot_exec", "_LOADER_PLEDGE_PROMISES": "stdio rpath prot_exec"}
    done = kernel.run([str(root / "bin" / "program"), "promised"], env=env, capture_output=True, timeout=60)
    assert done.returncode == -6
    assert b"ok counter" in done.stdout
    assert b"promised" not in done.stdout


class TestOtherSystems:
    """Programs of the three systems start each other."""

    def crossing(self, *command: str) -> list[str]:
        """What a SerenityOS program that starts another says."""
        with ring3.Kernel() as kernel:
            done = kernel.run([str(build(HERE / "crossing.c")), *command], capture_output=True, timeout=60, personality="serenity")
        assert done.stderr == b""
        lines: list[str] = done.stdout.decode().splitlines()
        return lines

    def test_a_linux_program(self) -> None:
        assert self.crossing("/bin/sh", "-c", "echo from $0; exit 7", "linux") == ["from linux", "exit 7"]

    def test_a_linux_script(self, tmp_path: Path) -> None:
        script = tmp_path / "script"
        script.write_text('#!/bin/sh -e\necho script "$@"; kill -9 $$\n')
        script.chmod(0o755)
        assert self.crossing(str(script), "a b", "c") == ["script a b c", "signal 9"]

    def test_a_netbsd_program(self) -> None:
        lines = self.crossing(str(build_netbsd(NETBSD / "abi.c")))
        assert lines[-1] == "exit 0"
        assert not any(line.startswith("FAILED") for line in lines)

    def test_its_own(self) -> None:
        startup = str(build(HERE / "startup.c"))
        lines = self.crossing(startup)
        assert lines[-1] == "exit 0"
        assert sum(line.startswith("ok ") for line in lines) > 10

    def test_there_and_back(self, root: Path) -> None:
        """SerenityOS's program starts a Linux shell, which starts a dynamic one of SerenityOS's."""
        with ring3.Kernel(emul={"serenity": str(root)}) as kernel:
            command = [str(build(HERE / "crossing.c")), "/bin/sh", "-c", f"{root}/bin/program inner && echo $0", "shell"]
            done = kernel.run(command, capture_output=True, timeout=60, personality="serenity")
        assert checked(done.stdout) == ["inner", "shell", "exit 0"]

    @pytest.mark.parametrize(("what", "number"), [("/nowhere", 2), ("/etc", 13), ("/etc/passwd", 8), ("/dev/null", 13)])
    def test_what_exec_refuses(self, what: str, number: int, tmp_path: Path) -> None:
        if what == "/etc/passwd":
            file = tmp_path / "text"
            file.write_text("no program at all\n" * 10)
            file.chmod(0o755)
            what = str(file)
        assert self.crossing(what) == [f"errno {number}"]
