"""`ring3 run --pledge --unveil` and `ring3 learn` as people use them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(240)]


PYTHON = """
import os, socket, sqlite3, subprocess, tempfile
with tempfile.TemporaryDirectory() as top:
    open(top + '/x', 'w').write('moved'); os.replace(top + '/x', 'here')
base = sqlite3.connect('base'); base.execute('create table t (a)'); base.commit()
s = socket.socket(socket.AF_UNIX); s.bind('sock'); s.listen(); socket.socket(socket.AF_UNIX).connect('sock')
print(open('here').read(), subprocess.check_output(['sort', 'f']))
"""


def ring3(command: str, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([command, *words], capture_output=True, text=True, timeout=90, check=False, **options)  # type: ignore[call-overload,no-any-return]


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


def test_a_hint_can_be_pasted_whatever_the_name(ring3_command: str, tmp_path: Path) -> None:
    """The guest chose the name, and whoever pastes the hint is in a shell."""
    (tmp_path / "x; touch pwned; :").write_text("x")
    done = ring3(ring3_command, "run", "--unveil", "/usr:rx", "--", "cat", f"{tmp_path}/x; touch pwned; :")
    assert f"--unveil '{tmp_path}/x; touch pwned; ::r'" in done.stderr


def test_what_may_be_made_needs_no_directory(ring3_command: str, tmp_path: Path) -> None:
    words = ["--unveil", "/usr:rx", "--unveil", f"{tmp_path}/a:c", "--unveil", f"{tmp_path}/a/b/c:rwc"]
    script = f"mkdir {tmp_path}/a; mkdir {tmp_path}/a/b; echo x > {tmp_path}/a/b/c; cat {tmp_path}/a/b/c; echo y > {tmp_path}/a/d"
    done = ring3(ring3_command, "run", *words, "--", "sh", "-c", script)
    assert done.stdout == "x\n"
    assert f"{tmp_path}/a/d is not unveiled for w" in done.stderr
    dots = ring3(ring3_command, "run", "--unveil", f"{tmp_path}/a/../b/c:c", "--", "true")
    assert dots.returncode == 125


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
        ["git", "init", "-q", "made"],
        ["sh", "-c", "git init -q r && git -C r -c user.name=a -c user.email=b commit --allow-empty -qm m && git clone -q r r2"],
        ["sh", "-c", "mkdir -p q/w; cp f q/w; tar c q | (mkdir v; cd v; tar x); sed -i s/o/0/ v/q/w/f; mv v u; ln -s u t; ln f h"],
        ["sh", "-c", "grep -r o d; awk '{print NR}' f | xargs echo; cp -r d dd; install -D f bin/x/f; rm -r dd; flock f true"],
        ["sh", "-c", "gcc a.c -o a && ./a; make -s; perl -i -pe s/o/0/ f; openssl dgst -sha256 f; cat f | gzip -c | zcat"],
        ["sh", "-c", "echo x > /dev/stderr; echo y | tee /dev/stdout | cat; sort f | uniq -c | head -n 1 > z; cat z"],
        ["python3", "-c", PYTHON],
        ["go", "version"],
    ],
    ids=lambda words: words[-1][:20],
)
def test_what_was_learned_is_enough(ring3_command: str, tmp_path: Path, program: list[str]) -> None:
    if shutil.which(program[0], path=f"{Path(ring3_command).parent}:/usr/bin:/bin") is None:
        pytest.skip(f"there is no {program[0]}")
    (tmp_path / "f").write_text("one\ntwo\n")
    (tmp_path / "a.c").write_text("int main(void) { return 0; }\n")
    (tmp_path / "Makefile").write_text("all: out\nout: f\n\tsort f > out\n")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_text("one\n")
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


@pytest.mark.parametrize("name", ["\x1b[31mred", "turn\u202eed", "per%cent'quote\n", b"\xff".decode(errors="surrogateescape")])
def test_names_of_a_guest_do_nothing_to_the_shell_they_are_pasted_into(ring3_command: str, tmp_path: Path, name: str) -> None:
    where: dict[str, object] = {"cwd": tmp_path, "env": {"PATH": f"{Path(ring3_command).parent}:/usr/bin:/bin"}}
    learned = ring3(ring3_command, "learn", "--", "sh", "-c", 'mkdir d; echo x > "d/$1"; cat "d/$1"', "sh", name, **where)
    (tmp_path / name).write_text("x")
    hinted = ring3(ring3_command, "run", "--unveil", "/usr:rx", "--", "sh", "-c", "cat ./*", **where)
    exact = ring3(ring3_command, "learn", "--exact", "--output", str(tmp_path / "again"), "--", "sh", "-c", "cat ./*", **where)
    assert (exact.stdout, exact.returncode) == ("x", 0)
    command = (tmp_path / "again").read_text().partition("\\\n    -- ")[0]
    for text in (learned.stderr.partition("\\\n    -- ")[0], hinted.stderr, command):
        assert not any(not c.isprintable() and c != "\n" for c in text), text
    (tmp_path / "again").rename(tmp_path.parent / f"{tmp_path.name}.sh")
    again = ring3("sh", str(tmp_path.parent / f"{tmp_path.name}.sh"), **where)
    assert (again.stdout, again.returncode) == ("x", 0), again.stderr


def test_learn_explains_itself(ring3_command: str) -> None:
    assert "--exact" in ring3(ring3_command, "learn", "--help").stdout
    assert ring3(ring3_command, "learn").returncode == 125


def test_what_learn_prints_has_the_run_s_own_options(ring3_command: str, tmp_path: Path) -> None:
    """It can be pasted: mounts, directories, variables are there, and what is about learning is not."""
    (tmp_path / "a file").write_text("text")
    again = tmp_path / "again.sh"
    options = [f"--mount={tmp_path}:/srv/x y", "--cwd", "/srv/x y", "--env", "A='b c'", "--exact", "--seed", "3"]
    words = [ring3_command, "learn", *options, "--output", str(again), "--", "cat", "a file"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "text"
    text = again.read_text()
    assert f"    '--mount={tmp_path}:/srv/x y' \\\n    --cwd '/srv/x y' \\\n" in text
    assert "--exact" not in text
    assert "--output" not in text
    env = {**os.environ, "PATH": f"{Path(ring3_command).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", str(again)], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "text", "")
