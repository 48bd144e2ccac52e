"""`ring3 run --pledge --unveil` and `ring3 learn` as people use them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(120)]


def ring3(command: str, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([command, *words], capture_output=True, text=True, timeout=40, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_a_promise_that_is_missing_is_said_with_the_call(ring3_command: str) -> None:
    done = ring3(ring3_command, "run", "--pledge", "stdio rpath", "--", "/bin/sh", "-c", "echo hi; : > /tmp/x; echo on")
    assert (done.returncode, done.stdout) == (134, "hi\n")
    assert 'pledge "wpath" is missing: openat(AT_FDCWD, "/tmp/x", O_WRONLY|O_CREAT|O_TRUNC, 0666)' in done.stderr
    assert 'ended by SIGABRT; to allow it: --pledge "stdio rpath wpath"' in done.stderr


def test_one_refusal_is_said_once(ring3_command: str) -> None:
    script = "for i in 1 2 3; do : > /tmp/x; done; true"
    done = ring3(ring3_command, "run", "--pledge", "stdio rpath", "--pledge-mode", "eperm", "--", "/bin/bash", "-c", script)
    assert done.returncode == 0
    assert done.stderr.count('pledge "wpath"') == 1


def test_what_is_hidden_is_told_when_the_run_failed(ring3_command: str) -> None:
    failed = ring3(ring3_command, "run", "--unveil", "/usr:rx", "--", "cat", "/etc/hostname")
    assert failed.returncode == 1
    assert "cat: /etc/hostname: No such file or directory" in failed.stderr
    assert "--unveil /etc/hostname:r" in failed.stderr
    passed = ring3(ring3_command, "run", "--unveil", "/usr:rx", "--", "cat", "/usr/lib/os-release")
    assert (passed.returncode, passed.stderr) == (0, "")


def test_what_may_only_be_read_is_said_at_once(ring3_command: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    done = ring3(ring3_command, "run", "--unveil", "/usr:rx", "--unveil", f"{tmp_path}:r", "--", "touch", str(tmp_path / "f"))
    assert done.returncode == 1
    assert f"{tmp_path}/f is not unveiled for w" in done.stderr
    assert f"--unveil {tmp_path}/f:rw" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--pledge", "stdoi"], "'stdoi' is no promise; did you mean stdio?"),
        (["--pledge-mode", "mercy", "--pledge", "stdio"], "write one of kill, eperm, report"),
        (["--unveil", "/usr"], "write PATH:PERMISSIONS"),
        (["--unveil", "/usr:rz"], "'z' is no permission"),
        (["--unveil", "/no/such:r"], "--unveil /no/such: No such file or directory"),
    ],
)
def test_a_policy_that_makes_no_sense(ring3_command: str, words: list[str], says: str) -> None:
    done = ring3(ring3_command, "run", *words, "--", "true")
    assert done.returncode == 125
    assert says in done.stderr


def test_names_of_a_guest_do_nothing_to_the_terminal(ring3_command: str) -> None:
    done = ring3(ring3_command, "run", "--pledge", "stdio rpath", "--", "/bin/sh", "-c", ": > \"$(printf '/tmp/\\033[31mred')\"")
    assert "\033" not in done.stderr


@pytest.mark.parametrize(
    "program",
    [
        ["cat", "/etc/hostname"],
        ["sh", "-c", "echo b > $PWD/one; echo a >> $PWD/one; sort $PWD/one | tr a-z A-Z; rm $PWD/one; mktemp -u >/dev/null"],
        ["sh", "-c", "t=$(mktemp) && echo x > $t && cat $t && rm $t"],
        ["python3", "-c", "import json, threading as h; t = h.Thread(target=print, args=(json.dumps([1]),)); t.start(); t.join()"],
        ["find", "/usr/share/perl5", "-name", "*.pm", "-newer", "/etc/hostname"],
    ],
    ids=lambda words: words[0],
)
def test_what_was_learned_is_enough(ring3_command: str, tmp_path: Path, program: list[str]) -> None:
    path = f"{Path(ring3_command).parent}:/usr/bin:/bin"
    env = {"PATH": path, "HOME": str(tmp_path)}
    learned = ring3(ring3_command, "learn", "--output", str(tmp_path / "again.sh"), "--", *program, cwd=tmp_path, env=env)
    assert learned.returncode == 0, learned.stderr
    command = (tmp_path / "again.sh").read_text()
    assert command.startswith('ring3 run --pledge "stdio')
    again = ring3("bash", str(tmp_path / "again.sh"), cwd=tmp_path, env=env)
    assert (again.returncode, again.stdout) == (0, learned.stdout), command + again.stderr


def test_what_was_learned_is_not_too_much(ring3_command: str, tmp_path: Path) -> None:
    learned = ring3(ring3_command, "learn", "--", "cat", "/etc/hostname", cwd=tmp_path)
    assert '--pledge "stdio rpath"' in learned.stderr
    assert "--unveil /etc/hostname:r" in learned.stderr
    assert "passwd" not in learned.stderr


def test_learn_explains_itself(ring3_command: str) -> None:
    assert "--exact" in ring3(ring3_command, "learn", "--help").stdout
    assert ring3(ring3_command, "learn").returncode == 125
