"""Sudden ends: of the Python process, of stubs, of kernels.  Nothing stays behind, and one death is one death."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ring3

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(240)]

FORKING = """
import os
for _ in range(6):
    if os.fork() == 0:
        while True:
            child = os.fork()
            if child == 0: os.execv("/bin/true", ["true"])
            os.waitpid(child, 0)
print("forking", flush=True)
for _ in range(6): os.wait()
"""
BUSY = "print('up', flush=True)\nwhile True: pass"
HOST = """
import sys, ring3
with ring3.Kernel() as kernel:
    process = kernel.spawn([sys.executable, "-S", "-c", sys.argv[1]], cwd="/")
    print("pid", flush=True)
    process.wait()
"""


def processes() -> dict[int, tuple[int, str]]:
    """Every process of the host: its parent and its state."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                state, parent = Path("/proc", entry, "stat").read_text(errors="replace").rsplit(")", 1)[1].split()[:2]
                found[int(entry)] = (int(parent), state)
    return found


def descendants(pid: int) -> set[int]:
    """Children, and theirs.  Stubs are made with CLONE_PARENT: they are all children of the kernel's process."""
    table, family = processes(), {pid}
    while True:
        grown = family | {child for child, (parent, _) in table.items() if parent in family}
        if grown == family:
            return family - {pid}
        family = grown


def gone(pids: set[int], within: float = 10) -> bool:
    """Whether all of them end in time; a zombie has not."""
    end = time.monotonic() + within
    while pids & processes().keys():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("how", ["KILL", "SEGV", "TERM", "STOP KILL", "ABRT"])
def test_no_stub_outlives_the_python_process(how: str, tmp_path: Path) -> None:
    before = set(os.listdir("/dev/shm")) | set(os.listdir("/tmp"))
    with subprocess.Popen([sys.executable, "-c", HOST, FORKING], stdout=subprocess.PIPE, cwd=tmp_path, stderr=subprocess.DEVNULL,
                          preexec_fn=lambda: __import__("resource").setrlimit(4, (0, 0))) as host:  # noqa: PLW1509 - no core file
        assert host.stdout is not None
        assert host.stdout.readline() + host.stdout.readline() == b"pid\nforking\n"
        time.sleep(0.3)
        stubs = descendants(host.pid)
        assert len(stubs) > 6
        for name in how.split():
            stubs |= descendants(host.pid)
            host.send_signal(signal.Signals["SIG" + name])
            time.sleep(0.05)
        host.stdout.close()
        host.wait(10)
    assert gone(stubs)
    assert not os.listdir(tmp_path)
    ours = {name for name in (set(os.listdir("/dev/shm")) | set(os.listdir("/tmp"))) - before if "ring3" in name}
    assert not ours


@pytest.mark.parametrize("signals", ["KILL", "TERM SEGV TRAP STOP CONT USR1 INT", "KILL TRAP SEGV STOP"])
def test_stubs_killed_and_signalled_at_random(signals: str) -> None:
    """Each kill is one guest process that dies, other signals are nothing to a guest; the kernel serves on.

    `RING3_ABUSE_ROUNDS` for more than 2 rounds of 40, `RING3_ABUSE_SEED` for other ones.
    """
    dice = random.Random(int(os.environ.get("RING3_ABUSE_SEED", "5")))
    numbers = [signal.Signals["SIG" + name] for name in signals.split()]
    with ring3.Kernel() as kernel:
        for _ in range(int(os.environ.get("RING3_ABUSE_ROUNDS", "2"))):
            process = kernel.spawn([sys.executable, "-S", "-c", FORKING], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   cwd="/")
            assert process.stdout is not None
            assert process.stdout.readline() == b"forking\n"
            for _ in range(40):
                for pid in sorted(descendants(os.getpid())):
                    if dice.random() < 0.1 and _is_stub(pid):
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, dice.choice(numbers))
                time.sleep(0.01)
            process.kill()
            process.stdout.close()
            process.wait(10)
        done = kernel.run(["/bin/echo", "still here"], capture_output=True, timeout=90, cwd="/")
        assert (done.stdout, done.returncode) == (b"still here\n", 0)


def _is_stub(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return f"TracerPid:\t{os.getpid()}" in Path(f"/proc/{pid}/status").read_text() or _tracer(pid) in _threads()
    return False


def _tracer(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("TracerPid"))


def _threads() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/task")}


def test_one_stub_killed_is_one_process_dead() -> None:
    with ring3.Kernel() as kernel:
        known = descendants(os.getpid())
        kernel.run(["/bin/true"])
        known = descendants(os.getpid())
        with (
            kernel.spawn([sys.executable, "-S", "-c", BUSY], stdout=subprocess.PIPE) as victim,
            kernel.spawn(["/bin/sh", "-c", "read line; echo $line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other,
        ):
            assert victim.stdout is not None
            assert victim.stdout.readline() == b"up\n"
            time.sleep(0.1)
            busy = max(descendants(os.getpid()) - known, key=_cpu_time)
            os.kill(busy, signal.SIGKILL)
            assert victim.wait(10) == -signal.SIGKILL
            assert other.communicate(b"fine\n", 10)[0] == b"fine\n"
        assert kernel.run(["/bin/true"]).returncode == 0


def _cpu_time(pid: int) -> int:
    with contextlib.suppress(OSError):
        return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
    return -1


def test_closing_during_a_storm_leaves_nothing() -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    before = descendants(os.getpid())
    for _ in range(3):
        kernel = ring3.Kernel()
        process = kernel.spawn([sys.executable, "-S", "-c", FORKING], stdout=subprocess.PIPE, cwd="/")
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        kernel.close()
        assert time.monotonic() - began < 60
        process.stdout.close()
        del process, kernel
    assert gone(descendants(os.getpid()) - before)
    assert len(os.listdir("/proc/self/fd")) <= descriptors
