"""A NetBSD base set: dynamic programs, whose loader and libc do with the system what NetBSD's own do, call for call."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import ring3
from tests.guest.netbsd.build import BASE, base_set, build

pytestmark = pytest.mark.needs_ptrace


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The user's base set."""
    base_set(tmp_path / "base")
    return tmp_path / "base"


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What it says beside the checks that hold."""
    return [line for line in done.stdout.splitlines() if not line.startswith("ok ")]


EXPECTED = ["ld.elf_so: /usr/lib/libc.so.12", "a word", "libc: destructed", "ld.elf_so: good-bye"]


@pytest.mark.parametrize("how", ["tied", "tied-pie"])
def test_a_dynamic_program_runs(base: Path, how: str) -> None:
    """Symbols, thread-local variables, relocated data made read-only, constructors and destructors."""
    with ring3.Kernel(emul={"netbsd": base}) as kernel:
        done = kernel.run([str(build(BASE / "program.c", how)), "a word"], capture_output=True, text=True, timeout=90)
    assert (lines(done), done.stderr, done.returncode) == (EXPECTED, "", 0)
    assert done.stdout.count("ok ") == 6


def test_libraries_are_looked_for_where_the_configuration_says(base: Path) -> None:
    (base / "opt" / "lib").mkdir(parents=True)
    shutil.move(base / "usr" / "lib" / "libc.so.12", base / "opt" / "lib")
    (base / "usr" / "lib" / "others").touch()
    (base / "etc" / "ld.so.conf").write_text("/nowhere\n/opt/lib\n")
    with ring3.Kernel(emul={"netbsd": base}) as kernel:
        done = kernel.run([str(build(BASE / "program.c", "tied")), "a word"], capture_output=True, text=True, timeout=90)
    assert lines(done)[0] == "ld.elf_so: /opt/lib/libc.so.12"


def test_without_the_library(base: Path) -> None:
    (base / "usr" / "lib" / "libc.so.12").unlink()
    with ring3.Kernel(emul={"netbsd": base}) as kernel:
        done = kernel.run([str(build(BASE / "program.c", "tied")), "a word"], capture_output=True, text=True, timeout=90)
    assert (done.stderr, done.returncode) == ("ld.elf_so: Shared object not found\n", 1)


def test_chroot_into_the_base_set(base: Path) -> None:
    """The other way to use one: it is the root, and the program a file in it."""
    (base / "bin").mkdir()
    shutil.copy(build(BASE / "program.c", "tied-pie"), base / "bin" / "program")
    with ring3.Kernel(root=base) as kernel:
        done = kernel.run(["/bin/program", "a word"], capture_output=True, text=True, timeout=90)
    assert (lines(done), done.returncode) == (EXPECTED, 0)


def test_the_hosts_own_configuration_of_its_loader_is_not_read(base: Path) -> None:
    """`include ...` is no line of NetBSD's ld.so.conf: its loader would complain in every program."""
    (base / "etc" / "ld.so.conf").unlink()
    with ring3.Kernel(emul={"netbsd": base}) as kernel:
        done = kernel.run([str(build(BASE / "program.c", "tied")), "a word"], capture_output=True, text=True, timeout=90)
        script = "rm -f /etc/ld.so.conf; echo include /nowhere > /etc/ld.so.conf; cat /etc/ld.so.conf"
        made = kernel.run(script, shell=True, capture_output=True, text=True, timeout=90)
        again = kernel.run([str(build(BASE / "program.c", "tied")), "a word"], capture_output=True, text=True, timeout=90)
    assert (lines(done), done.stderr, done.returncode) == (EXPECTED, "", 0)
    assert made.stdout == "include /nowhere\n"                             # a Linux program sees Linux's
    assert (lines(again), again.stderr) == (EXPECTED, "")
