"""`ring3 trace -k`: the same frames as strace -k shows natively, through signal handlers, in crashes, without frame pointers."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(240)]

FRAME = re.compile(r" > (\S*?)(?:\((.*)\))? ?\[(0x[0-9a-f]+)\]$")
HANDLED = r"""
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int compare(const void *a, const void *b) { write(1, "", 0); return a < b; }
static void handler(int number) { (void)number; char both[2] = "ba"; qsort(both, 2, 1, compare); }
__attribute__((noinline)) int inner(int n) {
  volatile char room[128];
  memset((void *)room, n, 128);
  raise(SIGUSR1);
  return room[n] + n;
}
int main(int argc, char **argv) { (void)argv; signal(SIGUSR1, handler); return inner(argc) == 99; }
"""
CRASH = r"""
__attribute__((noinline)) int look(volatile int *where) { return *where + 1; }
__attribute__((noinline)) int middle(int n) { return look((int *)(long)(n * 0)) + 2; }
int main(int argc, char **argv) { (void)argv; return middle(argc) + 1; }
"""


def built(directory: Path, source: str, *options: str) -> str:
    """A program, optimised, without frame pointers."""
    (directory / "main.c").write_text(source)
    program = str(directory / "main")
    compiler = [sys.executable, "-m", "ziglang", "cc", "-O2", "-fomit-frame-pointer", "-fno-sanitize=all", *options]
    subprocess.run([*compiler, "-o", program, str(directory / "main.c")], check=True, timeout=100)
    return program


def stacks(text: str) -> dict[str, list[list[tuple[str, str, str]]]]:
    """Frames (file, name, place) by the call or signal they stand behind."""
    found: dict[str, list[list[tuple[str, str, str]]]] = {}
    frames: list[tuple[str, str, str]] = []
    for line in text.splitlines():
        match = FRAME.match(line)
        if match:
            frames.append((match[1], match[2] or "", match[3]))
        else:
            frames = []
            found.setdefault(line.partition("(")[0], []).append(frames)
    return found


def traced(command: str, *words: str) -> dict[str, list[list[tuple[str, str, str]]]]:
    done = subprocess.run([command, "trace", "-k", *words], capture_output=True, text=True, timeout=90, check=False)
    assert "Traceback" not in done.stderr
    return stacks(done.stderr)


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace")
def test_the_frames_of_strace(ring3_command: str) -> None:
    words = ["strace", "-k", "cat", "/etc/passwd"]
    natively = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False).stderr
    if " > " not in natively:
        pytest.skip("this strace shows no stacks")

    def places(found: dict[str, list[list[tuple[str, str, str]]]]) -> Counter[tuple[str, ...]]:
        return Counter(
            (name, *(f"{file} {place}" for file, _, place in frames))
            for name, rows in found.items() if name[0].isalpha() and name != "execve" for frames in rows
        )

    theirs, ours = places(stacks(natively)), places(traced(ring3_command, "--", "cat", "/etc/passwd"))
    assert sum(theirs.values()) > 20
    assert sum((theirs & ours).values()) >= sum(theirs.values()) - 2      # the exit is told elsewhere


def test_through_a_signal_handler(ring3_command: str, tmp_path: Path) -> None:
    program = built(tmp_path, HANDLED, "-target", "x86_64-linux-musl")
    found = traced(ring3_command, "-e", "trace=write", "--", program)
    names = [name.partition("+")[0] for _, name, _ in found["write"][0]]
    inner = [name for name in names if name in ("handler", "raise", "inner", "main")]
    assert inner == ["handler", "raise", "inner", "main"]


def test_a_crash(ring3_command: str, tmp_path: Path) -> None:
    program = built(tmp_path, CRASH, "-target", "x86_64-linux-musl")
    found = traced(ring3_command, "-e", "trace=none", "--", program)
    (frames,) = found["--- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=NULL} ---"]
    assert [name.partition("+")[0] for _, name, _ in frames][:3] == ["look", "middle", "main"]
    assert frames[0][1] == "look+0x0"


def test_the_exit_has_a_stack(ring3_command: str) -> None:
    (frames,) = traced(ring3_command, "-e", "exit_group", "--", "sh", "-c", "exit 3")["exit_group"]
    assert len(frames) > 2
