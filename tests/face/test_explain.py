"""`ring3 explain` as people use it: statuses, messages, terminals, JSON; without ptrace, and without a stub process."""

from __future__ import annotations

import ctypes
import json
import os
import pty
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from ring3.trace.explain.words import quoted

pytestmark = pytest.mark.timeout(200)


def ring3(command: str, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([command, *words], capture_output=True, text=True, timeout=90, check=False, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def script(tmp_path: Path) -> str:
    """A script with a line end of Windows."""
    path = tmp_path / "script"
    path.write_bytes(b"#!/bin/sh\r\n")
    path.chmod(0o755)
    return str(path)


# --- statuses and messages

@pytest.mark.parametrize(("words", "status", "says"), [
    (["/bin/ls"], 0, "/bin/ls  →  would run as  /usr/bin/ls"),
    (["--", "ls", "-l"], 0, "ls  →  would run as  /usr/bin/ls -l"),
    (["/etc"], 1, "Why: it is a directory"),
    (["/etc/passwd"], 1, "chmod +x /etc/passwd"),
    (["/"], 1, "What would help: name a program in it\n"),
    (["/dev/null"], 1, "Why: it is not a regular file: it is a character device"),
    (["/proc/self/mem"], 1, "Why: it lies on a mount that allows no programs"),
    (["/proc/self/exe"], 1, "What would help: name the program's own path"),
    (["/proc/1/exe"], 1, "Why: /proc/1/exe leads to the program of process 1, which has none"),
    (["--user", "12345", "/proc/1/exe"], 1, "Why: the link /proc/1/exe may not be followed by uid 12345\n"),
    (["/no/such/program"], 1, "there is no no in /"),
    (["no-such-program"], 1, "not found along PATH"),
    (["--as", "linux", "/bin/ls"], 0, "(linux,"),
    (["--as", "linux,netbsd,serenity", "/bin/ls"], 0, "as linux, netbsd and serenity would do it"),
    (["--seed", "7", "/bin/ls"], 0, "seed 7"),
    (["--env", "PATH=/nowhere:/no", "ls"], 1, "ENOENT in /nowhere, /no"),
    (["--cwd", "/etc", "./passwd"], 1, "chmod +x"),
    (["--mount", "/bin:/tools:ro", "/tools/ls"], 0, "mount point"),
    (["--user", "12345:6", "/bin/ls"], 0, "(linux, uid 12345)"),
    (["--unveil", "/etc:r", "/bin/ls"], 1, "the veil hides it"),
    (["--help"], 0, "Nothing is executed"),
])
def test_status_and_words(ring3_command: str, words: list[str], status: int, says: str) -> None:
    done = ring3(ring3_command, "explain", *words)
    assert says in done.stdout
    assert (done.returncode, done.stderr) == (status, "")


@pytest.mark.parametrize(("words", "says"), [
    ([], "which program?"),
    (["--all=1", "ls"], "--all takes no value"),
    (["--as"], "--as needs a value"),
    (["--as", "plan9", "ls"], "there is no system 'plan9'; there are: linux"),
    (["--as", "linux,serenity-of-mind", "ls"], "no system 'serenity-of-mind'"),
    (["--as", "linux,linux", "ls"], "name each system once"),
    (["--user", "no-such-user", "ls"], "--user no-such-user: there is no such user"),
    (["--user", "-1", "ls"], "--user -1: there is no such user"),
    (["--cwd", "/no/such", "ls"], "--cwd /no/such: No such file or directory in the guest"),
    (["--root", "/no/such", "ls"], "/no/such: No such file or directory"),
    (["--mount", "/no/such:/x", "ls"], "/no/such: No such file or directory on the host"),
    (["--html", "/no/such/file", "ls"], "/no/such/file: No such file or directory, so the page"),
    (["--jsn", "ls"], "did you mean --json?"),
])
def test_bad_command_lines(ring3_command: str, words: list[str], says: str) -> None:
    done = ring3(ring3_command, "explain", *words)
    assert says in done.stderr
    assert done.stderr.startswith("ring3: ")
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stdout) == (125, "")


def test_run_says_the_same(ring3_command: str, script: str) -> None:
    done = ring3(ring3_command, "explain", script)
    assert done.returncode == 1
    assert f"{quoted(script.encode())}  →  ENOENT: No such file or directory" in done.stdout
    assert f"although {quoted(script.encode())} is there" in done.stdout
    assert "the first line of" in done.stdout
    assert "What would help: sed -i 's/\\r$//'" in done.stdout


@pytest.mark.needs_ptrace
def test_run_says_why_the_process_has_no_program_of_its_own(ring3_command: str) -> None:
    done = ring3(ring3_command, "run", "--", "/proc/self/exe")
    assert done.returncode == 127
    assert done.stderr.startswith("ring3: /proc/self/exe: No such file or directory: /proc/")
    assert done.stderr.endswith("it has no program yet; name the program's own path\n")


@pytest.mark.needs_ptrace
def test_the_message_of_run_has_the_diagnosis(ring3_command: str, script: str) -> None:
    done = ring3(ring3_command, "run", script)
    assert done.returncode == 127
    assert "bad interpreter: the first line of" in done.stderr
    assert "sed -i 's/\\r$//'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_reader_that_leaves_early(ring3_command: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{ring3_command} explain /bin/ls | head -1"], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.stdout.startswith("/bin/ls")
    assert done.stderr == ""


def test_no_standard_output(ring3_command: str) -> None:
    """As of every command: what cannot be said is no success."""
    done = subprocess.run(
        ["bash", "-c", f"{ring3_command} explain /bin/ls >&-; echo $?"], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.stdout == "125\n"
    assert done.stderr == "ring3: standard output: it is closed\n"


def test_hostile_words(ring3_command: str) -> None:
    done = ring3(ring3_command, "explain", "--", "/\x1b[2J\udcff", "\x07")
    assert done.returncode == 1
    assert "\\x1b[2J\\xff" in done.stdout
    assert all(letter.isprintable() or letter == "\n" for letter in done.stdout)


# --- what is built

def test_the_same_seed_gives_the_same_page(ring3_command: str) -> None:
    one, two, other = (ring3(ring3_command, "explain", "--seed", seed, "/bin/ls").stdout for seed in ("5", "5", "6"))
    assert one == two
    assert one != other


@pytest.mark.needs_ptrace
def test_the_plan_is_what_a_run_gets(ring3_command: str) -> None:
    """With one seed and one process's history, the program finds itself where `explain` said."""
    told = json.loads(ring3(ring3_command, "explain", "--json", "--seed", "3", "--", "/bin/cat", "/proc/self/maps").stdout)
    maps = ring3(ring3_command, "run", "--seed", "3", "--", "/bin/cat", "/proc/self/maps").stdout
    plan = told["explanations"][0]["plan"]
    starts = {f"0x{line.partition('-')[0].lstrip('0')}" for line in maps.splitlines()}
    wanted = {item["start"] for item in plan["space"]["objects"] if item["name"] not in ("[stack]", "[vdso]")}
    assert wanted <= starts
    assert any("[stack]" in line and f"-{plan['space']['stack_top'][2:]}" in line for line in maps.splitlines())


def test_json_is_one_document(ring3_command: str) -> None:
    read = json.loads(ring3(ring3_command, "explain", "--json", "/bin/ls").stdout)
    found, = read["explanations"]
    assert (read["format"], found["system"], found["outcome"]) == (1, "linux", "runs")
    assert found["plan"]["registers"]["rip"] == found["plan"]["start"]
    bad = ring3(ring3_command, "explain", "--json", "/etc")
    assert (bad.returncode, json.loads(bad.stdout)["explanations"][0]["error"]) == (1, "EACCES")


def test_a_32_bit_program(ring3_command: str, tmp_path: Path) -> None:
    source = tmp_path / "x.c"
    source.write_text("int main(void) { return 0; }\n")
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "x86-linux-musl", "-static"]
    subprocess.run([*compiler, "-o", tmp_path / "x", source], check=True)
    done = ring3(ring3_command, "explain", str(tmp_path / "x"))
    assert "elf32" in done.stdout
    assert done.returncode == 0


# --- where nothing may be traced

def forbid_ptrace() -> None:
    """A seccomp filter under which ptrace(2) is EPERM, in the child about to be."""
    def instruction(code: int, jt: int, jf: int, k: int) -> bytes:
        return struct.pack("<HBBI", code, jt, jf, k)

    program = (
        instruction(0x20, 0, 0, 0)                      # the call's number
        + instruction(0x15, 0, 1, 101)                  # ptrace?
        + instruction(0x06, 0, 0, 0x0005_0001)          # EPERM
        + instruction(0x06, 0, 0, 0x7FFF_0000)          # go on
    )
    code = ctypes.create_string_buffer(program)
    filter_ = struct.pack("<H6xQ", 4, ctypes.addressof(code))
    libc = ctypes.CDLL(None)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_char_p(filter_), 0, 0):
        raise OSError("no seccomp")


def test_it_works_where_ptrace_is_forbidden(ring3_command: str, script: str) -> None:
    done = ring3(ring3_command, "explain", "/bin/ls", preexec_fn=forbid_ptrace)
    assert (done.returncode, done.stderr) == (0, "")
    assert "would run as" in done.stdout
    assert ring3(ring3_command, "explain", script, preexec_fn=forbid_ptrace).returncode == 1


def test_running_is_refused_there(ring3_command: str) -> None:
    assert ring3(ring3_command, "run", "true", preexec_fn=forbid_ptrace).returncode == 125


def test_nothing_heavy_is_imported() -> None:
    """What a plain page costs is paid in imports: those that it does without stay away."""
    code = (
        "import sys; from ring3.cli import main; main(['explain', '/bin/ls']); "
        "print(sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'rich', 'jinja2', 'json', 'asyncio', 'subprocess', 'inspect', 'difflib', 'logging', 'socket', 'dataclasses'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# --- terminals

def at_terminal(command: list[str], columns: int, **env: str) -> str:
    """What a command prints at a terminal of that width."""
    master, slave = pty.openpty()
    import fcntl
    import termios

    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**{k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}, "TERM": "xterm", **env}
    with subprocess.Popen(command, stdout=slave, stderr=slave, stdin=slave, env=environment) as process:
        os.close(slave)
        printed = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            printed += piece
        process.wait()
    os.close(master)
    return printed.decode().replace("\r\n", "\n")


def test_colours_and_width_at_a_terminal(ring3_command: str) -> None:
    command = [ring3_command, "explain", "--seed", "1", "/bin/ls"]
    coloured = at_terminal(command, 80)
    plain = re.sub(r"\x1b\[\d*m", "", coloured)
    assert "\x1b[32mwould run\x1b[0m" in coloured
    assert max(map(len, plain.splitlines()[1:])) <= 80
    assert max(map(len, re.sub(r"\x1b\[\d*m", "", at_terminal(command, 140)).splitlines())) > 90
    assert "\x1b" not in at_terminal(command, 80, NO_COLOR="1")
    assert "\x1b" not in at_terminal(command, 80, TERM="dumb")
    assert "\x1b" not in ring3(*command).stdout
