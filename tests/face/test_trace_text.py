"""`ring3 trace` as text, as a table and as files for other tools; `--inject`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(240)]


OUTER = r"""
#include <unistd.h>
__attribute__((noinline)) void outer(void) { write(1, "x\n", 2); __asm__ volatile (""); }
int main(void) { outer(); return 0; }
"""


def ring3(command: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([command, *words], capture_output=True, text=True, timeout=90, check=False)


def lines(command: str, *words: str) -> list[str]:
    """What a trace prints, without the ends of processes."""
    done = ring3(command, "trace", *words)
    return [line for line in done.stderr.splitlines() if not line.startswith(("+++", "[pid"))]


def test_only_these_calls(ring3_command: str) -> None:
    shown = lines(ring3_command, "-e", "trace=openat", "--", "cat", "/etc/hostname")
    assert all(line.startswith("openat(") for line in shown)
    assert 'openat(AT_FDCWD, "/etc/hostname", O_RDONLY) = 3' in shown
    assert not any(line.startswith("openat") for line in lines(ring3_command, "-e", "!openat", "--", "cat", "/etc/hostname"))


def test_only_what_failed(ring3_command: str) -> None:
    shown = lines(ring3_command, "-e", "status=failed", "-e", "%file", "--", "cat", "/no/such/file")
    assert 'openat(AT_FDCWD, "/no/such/file", O_RDONLY) = -1 ENOENT (No such file or directory)' in shown
    assert all("= -1 E" in line for line in shown if not line.startswith(("cat:", ":")))


def test_only_these_signals(ring3_command: str) -> None:
    program = ["sh", "-c", "trap : USR1 USR2; kill -USR1 $$; kill -USR2 $$"]
    shown = lines(ring3_command, "-e", "none", "-e", "signal=USR2", "--", *program)
    assert [line for line in shown if line.startswith("---")] == [line for line in shown if "SIGUSR2" in line]
    assert any("SIGUSR2" in line for line in shown)


def test_descriptors_with_their_paths(ring3_command: str) -> None:
    shown = lines(ring3_command, "-y", "-e", "openat,read", "--", "cat", "/etc/hostname")
    assert 'openat(AT_FDCWD, "/etc/hostname", O_RDONLY) = 3</etc/hostname>' in shown
    assert any(line.startswith("read(3</etc/hostname>, ") for line in shown)


@pytest.mark.parametrize(
    ("option", "form"),
    [("-t", r"\d\d:\d\d:\d\d "), ("-tt", r"\d\d:\d\d:\d\d\.\d{6} "), ("-ttt", r"\d{10}\.\d{6} "), ("-r", r" +\d+\.\d{6} ")],
)
def test_times(ring3_command: str, option: str, form: str) -> None:
    shown = lines(ring3_command, option, "-T", "-e", "close", "--", "true")
    assert all(re.match(form, line) for line in shown), shown
    assert all(re.search(r"= 0 <\d\.\d{6}>$", line) for line in shown if "close(" in line)


def test_the_stack_behind_a_call(ring3_command: str, tmp_path: Path) -> None:
    (tmp_path / "p.c").write_text(OUTER)
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-musl", "-O1", "-fno-omit-frame-pointer", "-static"]
    subprocess.run([*compiler, "-o", tmp_path / "p", tmp_path / "p.c"], check=True)
    done = ring3(ring3_command, "trace", "-k", "-e", "write", "--", str(tmp_path / "p"))
    frames = [line for line in done.stderr.splitlines() if line.startswith(" > ")]
    assert any("(outer+0x" in line or "(main+0x" in line for line in frames), frames


def test_the_table(ring3_command: str) -> None:
    done = ring3(ring3_command, "trace", "-c", "--", "cat", "/etc/hostname")
    rows = done.stderr.splitlines()
    assert rows[0].split() == ["%", "time", "seconds", "usecs/call", "calls", "errors", "syscall"]
    assert rows[-1].split()[0] == "100.00"
    assert "execve(" not in done.stderr
    both = ring3(ring3_command, "trace", "-C", "--", "cat", "/etc/hostname").stderr
    assert "execve(" in both
    assert "% time" in both


def test_everything_at_once(ring3_command: str, tmp_path: Path) -> None:
    files = {name: str(tmp_path / name) for name in ("json", "perfetto", "ktrace", "html")}
    options = [word for name, path in files.items() for word in (f"--{name}", path)]
    done = ring3(ring3_command, "trace", "-o", str(tmp_path / "text"), *options, "--", "sh", "-c", "echo out; exit 3")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "", 3)
    kinds = {json.loads(row)["event"] for row in (tmp_path / "json").read_text().splitlines()}
    assert {"Exec", "SyscallExit", "Exit"} <= kinds
    assert len(json.loads((tmp_path / "perfetto").read_text())["traceEvents"]) > 30
    assert "</html>" in (tmp_path / "html").read_text()
    assert (tmp_path / "text").read_text().endswith("+++ exited with 3 +++\n")
    dumped = ring3(ring3_command, "kdump", files["ktrace"])
    assert dumped.returncode == 0
    assert "CALL" in dumped.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-e", "%nope"], "%nope is no class of calls"), (["-e", "status=odd"], "write some of failed"),
        (["-e", "foo=bar"], "write trace="),
        (["-e", "signal=NOPE"], "is no signal"),
        (["--json", "-", "true"], "write /dev/stdout"), (["--html", "-", "true"], "write /dev/stdout"),
        (["--json", "/no/dir/x"], "nothing can be written there"), ([], "which program?"),
    ],
)
def test_command_lines_that_make_no_sense(ring3_command: str, words: list[str], says: str) -> None:
    program = ["--", "true"] if words else []
    done = ring3(ring3_command, "trace", *words, *program)
    assert done.returncode == 125
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [
    ["trace", "-o", "/dev/full"], ["trace", "--json", "/dev/full"], ["trace", "--perfetto", "/dev/full"],
    ["trace", "--ktrace", "/dev/full"], ["trace", "--html", "/dev/full"], ["run", "--strace=/dev/full"],
])
def test_a_full_disk_ends_the_record_and_not_the_run(ring3_command: str, words: list[str]) -> None:
    done = ring3(ring3_command, *words, "--", "sh", "-c", "echo on; /bin/true; echo and on")
    assert (done.stdout, done.returncode) == ("on\nand on\n", 125)
    assert re.fullmatch(r"ring3: /dev/full: No space left on device, so (what is there|the report) is not whole\n", done.stderr)


def test_a_command_to_write_to_is_the_shells(ring3_command: str, tmp_path: Path) -> None:
    command = [ring3_command, "trace", "-o", "|cat", "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (125, "ring3: |cat: commands are the shell's to run: write >(cat)\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", ["trace -c", "trace", "learn"])
def test_a_reader_that_never_read_changes_no_status(ring3_command: str, words: str) -> None:
    script = f"{ring3_command} {words} -- sh -c 'sleep 0.2; exit 5' 2>&1 >/dev/null | true; exit ${{PIPESTATUS[0]}}"
    assert subprocess.run(["bash", "-c", script], timeout=90, check=False).returncode == 5


def test_names_of_a_guest_are_harmless_in_every_record(ring3_command: str, tmp_path: Path) -> None:
    """Control characters, bytes that are no UTF-8, marks that turn the direction of text."""
    files = [word for name in ("json", "perfetto", "ktrace") for word in (f"--{name}", str(tmp_path / name))]
    program = "import os; n = b'/\\x1b[31m\\xff\\xe2\\x80\\xae\\n'; os.path.exists(n); os.execv('/bin/true', [n])"
    ring3(ring3_command, "trace", "-y", "-o", str(tmp_path / "text"), *files, "--", sys.executable, "-S", "-c", program)
    dumped = ring3(ring3_command, "kdump", str(tmp_path / "ktrace")).stdout
    for text in (dumped, *((tmp_path / name).read_text() for name in ("text", "json", "perfetto"))):
        assert "31m" in text
        assert text.isascii()
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)
    assert not re.search(r"\\u[dD][89a-fA-F]", (tmp_path / "perfetto").read_text()), "half a surrogate pair"
    json.loads((tmp_path / "perfetto").read_text())


def test_a_reader_that_leaves_does_not_stop_the_program(ring3_command: str, tmp_path: Path) -> None:
    program = "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); test -e /; done; echo done"
    script = f"{ring3_command} trace -- sh -c '{program}' 2>&1 > {tmp_path}/said | head -n 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=90, check=False)
    assert done.stdout.count("\n") == 1
    assert (tmp_path / "said").read_text() == "done\n"


def test_a_call_that_ends_its_process_has_its_result(ring3_command: str, tmp_path: Path) -> None:
    """The signal that its own call sends is taken when the call is over: a broken pipe is EPIPE, then SIGPIPE."""
    trace = tmp_path / "trace"
    script = f"{ring3_command} trace -e write -o {trace} -- yes | head -n 1"
    subprocess.run(["bash", "-c", script], stdout=subprocess.DEVNULL, timeout=90, check=True)
    last = trace.read_text().splitlines()[-3:]
    assert last[0].endswith("= -1 EPIPE (Broken pipe)")
    assert "--- SIGPIPE {si_signo=SIGPIPE" in last[1]
    assert last[2].endswith("+++ killed by SIGPIPE +++")


def test_threads_whose_calls_are_not_shown_end_all_the_same(ring3_command: str) -> None:
    program = "import os, threading, time; threading.Thread(target=int).start(); time.sleep(1); os.execv('/bin/true', ['true'])"
    done = ring3(ring3_command, "trace", "-e", "execve", "--", sys.executable, "-S", "-c", program)
    assert "superseded" not in done.stderr
    assert done.stderr.count("+++ exited with 0 +++") == 2


def test_the_first_exec_shows_what_was_asked_for(ring3_command: str, tmp_path: Path) -> None:
    """The arguments as they were given; what a script makes of them is the program's to see."""
    script = tmp_path / "script"
    script.write_text("#!/bin/sh -e\n: $0 $1\n")
    script.chmod(0o755)
    shown = lines(ring3_command, "-s", "300", "-e", "execve", "--", str(script), "a", "b")
    assert shown[0].startswith(f'execve("{script}", ["{script}", "a", "b"], ')


def test_a_stop_has_a_line_of_its_own(ring3_command: str) -> None:
    done = ring3(ring3_command, "trace", "-e", "kill", "--", "sh", "-c", "(sleep 0.3; kill -CONT $$) & kill -STOP $$; wait")
    stopped = [line for line in done.stderr.splitlines() if "SIGSTOP {" in line or "stopped by" in line]
    assert [line.partition("--- ")[2].split()[0] for line in stopped] == ["SIGSTOP", "stopped"]


# --- injections
def test_the_third_open_and_every_second_after_it(ring3_command: str) -> None:
    done = ring3(ring3_command, "run", "--inject", "openat:ENOSPC:when=3+2", "--", "cat", "/etc/hostname", "/etc/hostname")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr


def test_a_signal_behind_a_call(ring3_command: str) -> None:
    program = ["sh", "-c", "trap 'echo caught' USR1; echo one; echo two"]
    done = ring3(ring3_command, "run", "--inject", "write:signal=USR1:when=1", "--", *program)
    assert done.stdout == "one\ncaught\ntwo\n"


def test_injections_of_a_traced_run_are_seen(ring3_command: str) -> None:
    shown = lines(ring3_command, "-e", "geteuid", "--inject", "geteuid:retval=4711", "--", "id", "-u")
    assert "geteuid()                               = 4711 (INJECTED)" in shown


def test_the_path_of_a_call_is_changed_before_it_is_read(ring3_command: str, tmp_path: Path) -> None:
    for name, text in (("a", "this\n"), ("b", "other\n")):
        (tmp_path / name).write_text(text)
    shown = lines(ring3_command, "-e", "openat", "--", "cat", f"{tmp_path}/a")
    number = 1 + next(index for index, line in enumerate(shown) if f"{tmp_path}/a" in line)
    poke = f"openat:poke_enter=@arg2={(str(tmp_path) + '/b').encode().hex()}00:when={number}"
    done = ring3(ring3_command, "run", "--inject", poke, "--", "cat", f"{tmp_path}/a")
    assert (done.stdout, done.stderr) == ("other\n", "")


def test_what_a_call_read_is_changed_behind_it(ring3_command: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("this\n")
    shown = lines(ring3_command, "-e", "read", "--", "cat", f"{tmp_path}/a")
    number = 1 + next(index for index, line in enumerate(shown) if '"this' in line)
    done = ring3(ring3_command, "run", "--inject", f"read:poke_exit=@arg2=5448:when={number}", "--", "cat", f"{tmp_path}/a")
    assert (done.stdout, done.stderr) == ("THis\n", "")


@pytest.mark.parametrize(("poke", "says"), [
    ("write:poke_enter=@arg1=41", "write: what argument 1 points to cannot be written, so it was left as it is"),
    ("write:poke_exit=@arg7=41", "write takes no argument 7, so nothing was written there"),
])
def test_memory_that_cannot_be_changed_is_said(poke: str, says: str, ring3_command: str) -> None:
    done = ring3(ring3_command, "run", "--inject", poke, "--", "/bin/echo", "hello")
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert done.stderr == f"ring3: --inject: {says}\n"


def test_an_errno_of_another_system_is_said(ring3_command: str) -> None:
    done = ring3(ring3_command, "run", "--inject", "write:EFTYPE", "--", "/bin/echo", "hello")
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert done.stderr == "ring3: --inject: linux has no EFTYPE, so nothing was injected there\n"


def test_an_injection_that_makes_no_sense(ring3_command: str) -> None:
    done = ring3(ring3_command, "run", "--inject", "openat:EFOO", "--", "true")
    assert done.returncode == 125
    assert "'EFOO' is no errno" in done.stderr
