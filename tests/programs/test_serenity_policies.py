"""A SerenityOS program's own pledge and veil, the user's beside them, and what the programs it starts are held to.

Those may be of any system.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ring3
from ring3.policy.promises import BITS
from tests.guest.serenity.build import HERE, build
from tests.rows import row

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(240)]

EVERY_PROMISE = " ".join(BITS)
ENOENT, EACCES = 2, 13
RAN = 100                   # what `under` says of too few arguments


def program(name: str) -> str:
    return str(build(HERE / f"{name}.c"))


def run(name: str, *args: str, cwd: Path, **policy: Any) -> tuple[int, str]:
    with ring3.Kernel() as kernel:
        done = kernel.run(
            [program(name), *args], capture_output=True, timeout=90, personality="serenity", cwd=cwd, text=True, **policy
        )
    return done.returncode, done.stdout


def under(cwd: Path, promises: str, *rest: str, **policy: Any) -> tuple[int, str]:
    return run("under", promises, *rest, cwd=cwd, **policy)


@pytest.mark.parametrize("name", ["pledge", "pledgeclip", "unveil", "leaves"])
@pytest.mark.parametrize("policy", [
    {"pledge": EVERY_PROMISE}, {"unveil": ["/:rwxcb"]}, {"pledge": EVERY_PROMISE, "unveil": ["/:rwxcb"]},
], ids=["promises", "veil", "both"])
def test_own_policies_hold_under_the_users(name: str, policy: dict[str, Any], tmp_path: Path) -> None:
    status, lines = run(name, cwd=tmp_path, **policy)
    assert [line for line in lines.splitlines() if line.startswith("FAILED")] == []
    assert status == 0


def test_the_users_policy_is_not_loosened(tmp_path: Path) -> None:
    held = "stdio rpath proc exec prot_exec"
    assert under(tmp_path, held + " wpath cpath", "--", "/bin/sh", "-c", "echo in; : > made", pledge=held) == (-6, "in\n")
    (tmp_path / "f").write_text("text")
    shown = [f"{tmp_path}:r", f"{program('under')}:rx", "/usr:rx", "/etc/ld.so.cache:r"]
    veil = ("l/usr", "rwxcb", f"l{tmp_path}", "rwxcb", "l/etc/ld.so.cache", "r")
    status, out = under(tmp_path, "-", *veil, "--", "/usr/bin/sh", "-c", "read x < f; echo $x; cat f 2>&1 > f", unveil=shown)
    assert (status, out.partition("\n")[0]) == (2, "text")
    assert "Permission denied" in out, "the user shows it to read alone"
    assert under(tmp_path, "-", "n/etc/passwd", "r", "--", "/usr/bin/true", unveil=shown)[0] == 101, "hidden by the user: not there"


# --- what exec makes of them
@row("serenity", "do_exec", "execpromises bind the next program, whatever its system: a Linux shell dies of an unpromised write")
def test_execpromises_bind_a_linux_program(tmp_path: Path) -> None:
    script = "echo hello; : > made"
    assert under(tmp_path, "stdio rpath prot_exec", "--", "/bin/sh", "-c", script) == (-6, "hello\n")
    assert under(tmp_path, "stdio rpath wpath cpath prot_exec", "--", "/bin/sh", "-c", script) == (0, "hello\n")
    assert under(tmp_path, "stdio rpath proc exec prot_exec", "--", "/bin/sh", "-c", "/bin/sh -c 'echo x > made'") == (0, "")


@row("serenity", "do_exec, unveil", "the veil for after exec binds the next program, whatever its system")
def test_a_later_veil_binds_a_linux_program(tmp_path: Path) -> None:
    shown = ("l/usr", "rx", "l/etc/ld.so.cache", "r", "l/etc/hostname", "r")
    script = "read x < /etc/hostname && echo there; read x < /etc/passwd || echo hidden; true > /etc/hostname || echo kept"
    status, out = under(tmp_path, "-", *shown, "--", "/usr/bin/sh", "-c", "(" + script.replace(";", ") 2>&-; (") + ") 2>&-")
    assert (status, out) == (0, "there\nhidden\nkept\n")


@row("serenity", "exec, unveil", "the program, its ELF interpreter and each #! interpreter must be unveiled for x")
def test_interpreters_need_x_too(tmp_path: Path) -> None:
    script, interpreter = tmp_path / "script", tmp_path / "interpreter"
    shutil.copy(program("under"), interpreter)
    script.write_text(f"#!{interpreter}\n")
    script.chmod(0o755)
    loader = str(Path("/lib64/ld-linux-x86-64.so.2").resolve())
    for shown, status in (
        ([f"n{interpreter}", "rx"], ENOENT), ([f"n{script}", "r", f"n{interpreter}", "rx"], EACCES),
        ([f"n{script}", "rx"], ENOENT), ([f"n{script}", "rx", f"n{interpreter}", "r"], EACCES),
        ([f"n{script}", "x", f"n{interpreter}", "x"], RAN),
        ([f"n{loader}", "r", "n/", "rx"], RAN),
    ):
        assert under(tmp_path, "-", *shown, "--", str(script))[0] == status, shown
    shell = ("--", "/bin/sh", "-c", "exit 7")
    assert under(tmp_path, "-", "n/", "rx", *shell)[0] == 7
    assert under(tmp_path, "-", "n/", "rx", f"n{loader}", "r", *shell)[0] == EACCES
    assert under(tmp_path, "-", "n/", "rx", f"n{loader}", "", *shell)[0] == ENOENT


# --- what is said of it
def command(*args: str, cwd: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "ring3", "run", "--as", "serenity", *args],
        capture_output=True, text=True, cwd=cwd, timeout=90, check=False,
    )
    return done.returncode, done.stderr


def test_a_violation_is_told_on_standard_error(tmp_path: Path) -> None:
    status, errors = command("--", program("under"), "stdio rpath", "--", program("pledge"), "held", cwd=tmp_path)
    assert status == 128 + 6
    assert 'pledge "wpath" is missing: open({dirfd=AT_FDCWD, path="/dev/null", options=O_WRONLY, mode=0})' in errors
    assert "ended by SIGABRT; to allow it: add wpath to its own pledge" in errors
    assert "Traceback" not in errors


def test_the_kernels_log_is_shown_and_bounded(tmp_path: Path) -> None:
    status, errors = command("--", program("system"), cwd=tmp_path)
    assert status == 0
    assert "(system) logs: hello log\n" in errors
    assert "(system) logs: a\\x00b\n" in errors
    assert "(system) logs: backtrace: 0x" in errors
