"""The dynamic path of SerenityOS: a program that plays the part of /usr/lib/Loader.so, a library, a main program, in a base set."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
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
    done = kernel.run([str(root / "bin" / "program"), "hello", "there"], capture_output=True, timeout=90)
    assert checked(done.stdout) == ["hello"]
    assert done.returncode == 3


def test_from_the_command_line(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ring3", "run", "--emul", f"serenity={root}", "--", str(root / "bin" / "program"), "word"],
        capture_output=True, timeout=90, check=False, env={**os.environ, "PYTHONPATH": str(HERE.parents[2] / "src")},
    )
    assert checked(done.stdout) == ["word"]
    assert done.returncode == 0
    assert b"a call from outside of the syscall regions: getpid()" in done.stderr


def test_a_linux_shell_starts_it(kernel: ring3.Kernel, root: Path) -> None:
    done = kernel.run(["/bin/sh", "-c", f"{root}/bin/program piped | tail -n 1"], capture_output=True, timeout=90)
    assert done.stdout == b"piped\n"


def test_its_own_files_come_first(kernel: ring3.Kernel) -> None:
    """The base set's /bin is where its programs look first."""
    done = kernel.run(["/bin/program", "found"], capture_output=True, timeout=90, personality="serenity")
    assert checked(done.stdout) == ["found"]


@pytest.mark.parametrize("gone", ["usr/lib/Loader.so", "usr/lib/libsystem.so"])
def test_without_a_piece_of_it(tmp_path: Path, gone: str) -> None:
    program = base_set(tmp_path)
    (tmp_path / gone).unlink()
    with ring3.Kernel(emul={"serenity": str(tmp_path)}) as kernel:
        if gone.endswith("Loader.so"):
            with pytest.raises(FileNotFoundError):
                kernel.run([str(program)], timeout=90)
            return
        done = kernel.run([str(program)], capture_output=True, timeout=90)
    assert (done.returncode, done.stdout) == (127, b"")
    assert done.stderr == b"loader: libsystem.so\n"


def test_the_loader_itself_is_no_program(kernel: ring3.Kernel) -> None:
    done = kernel.run(["/usr/lib/Loader.so"], capture_output=True, timeout=90, personality="serenity")
    assert (done.returncode, done.stderr) == (127, b"loader: start programs, not me\n")      # it knows itself by its path


def test_promises_the_loader_makes(kernel: ring3.Kernel, root: Path) -> None:
    """What the loader needed is given up before the program's own code runs: it may not even fork."""
    env = {"_LOADER_MAIN_PROGRAM_PLEDGE_PROMISES": "stdio rpath prot_exec", "_LOADER_PLEDGE_PROMISES": "stdio rpath prot_exec"}
    done = kernel.run([str(root / "bin" / "program"), "promised"], env=env, capture_output=True, timeout=90)
    assert done.returncode == -6
    assert b"ok counter" in done.stdout
    assert b"promised" not in done.stdout


class TestTools:
    """Programs tied to a libc.so in small, which asks the kernel for what the real one does, in its sizes and order."""

    @pytest.mark.parametrize(("args", "lines"), [
        (["echo", "a", "b"], ["a b"]),
        (["threads"], ["800 0"]),
        (["memory"], ["memory"]),
        (["signals"], ["surfaced"]),
        (["clock"], ["ticks"]),
        (["terminal"], ["0 -25"]),
        (["where"], ["/bin/tool /usr/lib/libc.so /usr/lib /"]),
    ])
    def test_a_tool(self, kernel: ring3.Kernel, args: list[str], lines: list[str]) -> None:
        done = kernel.run(["/bin/tool", *args], input=b"", capture_output=True, timeout=90, personality="serenity")
        assert (done.returncode, done.stdout.decode().splitlines(), done.stderr) == (0, lines, b"")

    def test_files(self, kernel: ring3.Kernel, tmp_path: Path) -> None:
        for n in range(300):
            (tmp_path / f"{n:03}-{'x' * 40}").touch()       # more than the first buffer holds
        names = sorted(os.listdir(tmp_path))
        for how in ("ls", "pipeline"):
            done = kernel.run(["/bin/tool", how, str(tmp_path)], capture_output=True, timeout=90, personality="serenity")
            assert (done.returncode, sorted(done.stdout.decode().splitlines())) == (0, names)
        done = kernel.run(["/bin/tool", "ls", str(tmp_path / "none")], capture_output=True, timeout=90, personality="serenity")
        assert (done.returncode, done.stdout) == (1, b"errno 2\n")
        done = kernel.run(["/bin/tool", "cat"], input=b"bytes" * 5000, capture_output=True, timeout=90, personality="serenity")
        assert (done.returncode, done.stdout) == (0, b"bytes" * 5000)

    def test_who_one_is(self, kernel: ring3.Kernel, root: Path) -> None:
        """Its own /etc/passwd where the base set has one."""
        (root / "etc").mkdir(exist_ok=True)
        lines = f"buggie:x:4711:1:,,,:/:/bin/Shell\nanon:x:{os.getuid()}:100:Anonymous,,,:/home/anon:/bin/Shell\n"
        (root / "etc" / "passwd").write_text(lines)
        done = kernel.run(["/bin/tool", "whoami"], capture_output=True, timeout=90, personality="serenity")
        assert (done.returncode, done.stdout) == (0, b"anon\n")

    def test_promises_and_a_veil(self, kernel: ring3.Kernel, root: Path) -> None:
        """A program that unveils by the names it knows, starts another, which finds its loader and libraries."""
        (root / "etc").mkdir(exist_ok=True)
        (root / "etc" / "passwd").write_text(f"anon:x:{os.getuid()}:100:,,,:/:/bin/Shell\n")
        done = kernel.run(["/bin/tool", "veiled"], capture_output=True, timeout=90, personality="serenity")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"anon\nanon\n", b"")

    def test_along_ld_library_path(self, root: Path, tmp_path: Path) -> None:
        """The loader looks where it is told first, and tells of what it does not find."""
        top = tmp_path / "top"
        base_set(top)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (top / "usr/lib/libc.so").rename(elsewhere / "libc.so")
        with ring3.Kernel(emul={"serenity": str(top)}) as kernel:
            done = kernel.run(["/bin/tool", "echo", "no"], capture_output=True, timeout=90, personality="serenity")
            assert (done.returncode, done.stderr) == (127, b"loader: libc.so\n")
            env = {"LD_LIBRARY_PATH": f"/nowhere:{elsewhere}"}
            done = kernel.run(["/bin/tool", "echo", "yes"], env=env, capture_output=True, timeout=90, personality="serenity")
            assert (done.returncode, done.stdout) == (0, b"yes\n")

    def test_an_assertion(self, kernel: ring3.Kernel) -> None:
        done = kernel.run(["/bin/tool", "abort"], capture_output=True, timeout=90, personality="serenity")
        assert done.returncode == -signal.SIGABRT

    def test_on_a_terminal(self, root: Path) -> None:
        """isatty, settings and size; and its settings are as they were."""
        master, slave = pty.openpty()
        try:
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
            before = termios.tcgetattr(slave)
            done = subprocess.run(
                [sys.executable, "-m", "ring3", "run", "--emul", f"serenity={root}", "--", str(root / "bin" / "tool"), "terminal"],
                stdin=slave, capture_output=True, timeout=90, check=False,
                env={**os.environ, "PYTHONPATH": str(HERE.parents[2] / "src")},
            )
            assert (done.returncode, done.stdout) == (0, b"1 0 80 0 0\n"), done.stderr
            assert termios.tcgetattr(slave) == before
        finally:
            os.close(master)
            os.close(slave)


class TestOtherSystems:
    """Programs of the three systems start each other."""

    def crossing(self, *command: str) -> list[str]:
        """What a SerenityOS program that starts another says."""
        with ring3.Kernel() as kernel:
            done = kernel.run([str(build(HERE / "crossing.c")), *command], capture_output=True, timeout=90, personality="serenity")
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
            done = kernel.run(command, capture_output=True, timeout=90, personality="serenity")
        assert checked(done.stdout) == ["inner", "shell", "exit 0"]

    @pytest.mark.parametrize(("what", "number"), [("/nowhere", 2), ("/etc", 13), ("/etc/passwd", 8), ("/dev/null", 13)])
    def test_what_exec_refuses(self, what: str, number: int, tmp_path: Path) -> None:
        if what == "/etc/passwd":
            file = tmp_path / "text"
            file.write_text("no program at all\n" * 10)
            file.chmod(0o755)
            what = str(file)
        assert self.crossing(what) == [f"errno {number}"]
