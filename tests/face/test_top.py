"""`ring3 top` at a terminal and without one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.face.terminal import Screen

pytestmark = pytest.mark.needs_ptrace
ENTER, LEAVE = r"\x1b\[\?1049h", r"\x1b\[\?1049l"


def plain(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=90, check=False, **options)  # type: ignore[call-overload, no-any-return]


def test_without_a_terminal_tables_go_to_standard_error(ring3_command: str) -> None:
    done = plain(ring3_command, "top", "--interval", "0.2", "--", "sh", "-c", "echo out; sleep 0.7; exit 3")
    assert done.returncode == 3
    assert done.stdout == "out\n"
    assert "\x1b" not in done.stderr
    assert re.search(r"^ +PID +PPID +UID S SYSTEM THR +%CPU +TIME +RSS CALLS/S COMMAND$", done.stderr, re.MULTILINE)
    assert re.search(r"^ +\d+ +2 +\d+ S linux +1 .* sleep 0\.7  \(clock_nanosleep\)$", done.stderr, re.MULTILINE)
    assert re.search(r"^ring3: \d+ calls served, 2 processes made", done.stderr, re.MULTILINE)


def test_a_program_that_is_over_at_once_leaves_the_last_line(ring3_command: str) -> None:
    done = plain(ring3_command, "top", "--", "true")
    assert done.returncode == 0
    assert re.fullmatch(r"ring3: \d+ calls served, 1 process made, .*\n", done.stderr)


@pytest.mark.parametrize(("words", "says"), [
    (["--interval", "0", "true"], "from 0.1 to 3600"), (["--sort", "age", "true"], "cpu, calls"), ([], "which program"),
    (["--intervall=1", "true"], "did you mean --interval"), (["--", "no-such-program"], "not found along PATH"),
])
def test_what_makes_no_sense_is_said(ring3_command: str, words: list[str], says: str) -> None:
    done = plain(ring3_command, "top", *words)
    assert done.returncode in (125, 127)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_program_that_takes_too_long_is_killed(ring3_command: str) -> None:
    done = plain(ring3_command, "top", "--timeout", "0.5", "--interval", "0.2", "--", "sleep", "60")
    assert done.returncode == 124
    assert "killed after 0.5 s" in done.stderr


def test_the_table_has_the_screen_and_the_output_comes_afterwards(ring3_command: str) -> None:
    script = "echo first line; sleep 1.5; seq 1000 1100; exit 4"
    with Screen([ring3_command, "top", "--interval", "0.3", "--", "sh", "-c", script]) as screen:
        screen.expect(ENTER)
        screen.expect(r"COMMAND")
        screen.expect(r"sleep 1\.5")
        screen.expect(r"what it prints")
        screen.expect(r"first line")
        screen.expect(LEAVE)
        screen.expect(r"first line\n1000\n")
        screen.expect(r"\n1100\n")
        screen.expect(r"ring3: \d+ calls served")
        assert screen.status() == 4


def test_the_terminal_is_as_it_was(ring3_command: str) -> None:
    script = f'before=$(stty -a); {ring3_command} top -- sleep 0.3; test "$before" = "$(stty -a)" && echo same'
    with Screen(["sh", "-c", script]) as screen:
        screen.expect(LEAVE)
        screen.expect(r"same\n")


def test_q_ends_the_program_and_again_kills_it(ring3_command: str) -> None:
    with Screen([ring3_command, "top", "--", "sleep", "60"]) as screen:
        screen.expect(r"sleep 60")
        screen.type("q")
        screen.expect(LEAVE)
        assert screen.status() == 128 + signal.SIGTERM
    with Screen([ring3_command, "top", "--", "sh", "-c", "trap 'echo not yet' TERM; while :; do sleep 0.1; done"]) as screen:
        screen.expect(r"COMMAND")
        screen.settle()
        screen.type("q")
        screen.expect(r"not yet")
        screen.type("q")
        screen.expect(LEAVE)
        assert screen.status() == 128 + signal.SIGKILL


def test_ctrl_c_is_the_programs(ring3_command: str) -> None:
    with Screen([ring3_command, "top", "--", "sh", "-c", "trap 'echo caught; exit 6' INT; while :; do sleep 0.1; done"]) as screen:
        screen.expect(r"COMMAND")
        screen.settle()
        screen.type("\x03")
        screen.expect(LEAVE)
        screen.expect(r"caught")
        assert screen.status() == 6


def test_a_stopped_program_is_shown_as_stopped(ring3_command: str) -> None:
    with Screen([ring3_command, "top", "--interval", "0.2", "--", "sh", "-c", "kill -STOP $$"]) as screen:
        screen.expect(r" T linux ")
        screen.type("\x1a")                 # means nothing here
        screen.settle()
        screen.type("q")
        screen.expect(LEAVE)
        assert screen.status() == 128 + signal.SIGTERM


def test_another_size_is_noticed_and_no_line_is_longer(ring3_command: str) -> None:
    with Screen([ring3_command, "top", "--", "sh", "-c", "sleep 60; : " + "x" * 300], (24, 80)) as screen:
        screen.expect(r"sleep 60")
        for rows, columns in ((40, 140), (5, 20), (24, 60)):
            screen.resize((rows, columns))
            time.sleep(0.4)
            screen.expect(r"\x1b\[H")
        time.sleep(0.3)
        screen.type(" ")
        screen.expect(r"\x1b\[H")
        screen.expect(r"CPU: ")
        last = screen.seen.rpartition("\x1b[H")[2]
        lines = [re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line).rstrip("\r") for line in last.split("\n")]
        assert max(map(len, lines)) <= 60
        screen.type("qq")
        screen.expect(LEAVE)


def test_a_terminal_that_can_do_nothing_gets_plain_tables(ring3_command: str) -> None:
    with Screen([ring3_command, "top", "--interval", "0.2", "--", "sleep", "0.5"], TERM="dumb") as screen:
        screen.expect(r"COMMAND")
        assert screen.status() == 0
        assert "\x1b" not in screen.seen


def test_a_redirected_output_goes_where_it_should_and_keys_come_from_the_terminal(ring3_command: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = f"(sleep 0.6; echo piped) | {ring3_command} top --interval 0.2 -- sh -c 'cat; sleep 60' > {out}"
    with Screen(["sh", "-c", script]) as screen:
        screen.expect(ENTER)
        screen.expect(r"sleep 60  \(")
        screen.type("q")
        screen.expect(LEAVE)
        screen.expect(r"calls served")
    assert out.read_text() == "piped\n"


def test_a_terminal_that_goes_away_takes_the_program_along(ring3_command: str) -> None:
    with Screen([ring3_command, "top", "--", "sleep", "61.5"]) as screen:
        screen.expect(r"sleep 61\.5")
        os.close(screen.fd)
        deadline = time.monotonic() + 60
        while os.waitpid(screen.pid, os.WNOHANG)[0] == 0:
            assert time.monotonic() < deadline, "it went on without a terminal"
            time.sleep(0.05)
        screen.pid = 0
        screen.fd = os.open("/dev/null", os.O_RDWR)


def test_s_sorts_by_another_column(ring3_command: str) -> None:
    with Screen([ring3_command, "top", "--", "sleep", "60"]) as screen:
        screen.expect(r"column \(cpu\)")
        screen.type("s")
        screen.expect(r"column \(calls\)")
        screen.type("q")
        assert screen.status() == 128 + signal.SIGTERM


def test_a_hostile_name_does_not_reach_the_terminal(ring3_command: str) -> None:
    script = "exec -a $'\\e]0;owned\\a\\e[31mred' sleep 0.8"
    with Screen([ring3_command, "top", "--interval", "0.2", "--", "bash", "-c", script + "; "]) as screen:
        screen.expect(LEAVE)
        assert "\x1b]0;" not in screen.seen
        assert "owned" in screen.seen
