"""The host refuses, or a stub dies, at each point in turn where the kernel asks something of it: the guest is refused or ends by
a signal, and the kernel serves on and leaves nothing behind.

A point is a call injected into a stub, or a request for its state or its memory.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ring3
from ring3.machine.native import cpu, space
from ring3.machine.native.ptrace import Tracer, oserror
from tests.guest.build import CannotBuild, build

SOURCE = Path(__file__).parent / "guest" / "everything.c"

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(240)]


class Points:
    """Counts the points while `armed`, and does `harm(pid)` at number `chosen`."""

    def __init__(self, harm: Callable[[int], None]) -> None:
        self.harm = harm
        self.armed = False
        self.seen = self.chosen = 0

    def arm(self, chosen: int) -> None:
        self.armed, self.seen, self.chosen = True, 0, chosen

    @property
    def was_reached(self) -> bool:
        return self.seen >= self.chosen

    def wrap(self, patch: pytest.MonkeyPatch, owner: Any, name: str, pid_of: Callable[..., int]) -> None:
        original = getattr(owner, name)

        def point(*args: Any, **more: Any) -> Any:
            if self.armed:
                self.seen += 1
                if self.seen == self.chosen:
                    self.harm(pid_of(*args))
            return original(*args, **more)

        patch.setattr(owner, name, point)


def refuse_with(number: int) -> Callable[[int], None]:
    def refuse(_pid: int) -> None:
        raise oserror(number)

    return refuse


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("how", "harm"), [("x64", refuse_with(errno.ENOMEM)), ("i386", kill)], ids=["refused", "killed"])
def test_each_point_in_turn(how: str, harm: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        program = build(SOURCE, how)
    except CannotBuild as why:
        pytest.skip(str(why))
    points = Points(harm)
    for name in ("call", "_batch", "compare_exchange32"):
        points.wrap(monkeypatch, Tracer, name, lambda _tracer, pid, *_: pid)
    for name in ("get_xstate", "set_xstate", "get_tls", "set_tls"):
        points.wrap(monkeypatch, cpu, name, lambda pid, *_: pid)
    points.wrap(monkeypatch, space.NativeSpace, "_open_memory", lambda s: s.spare or next(iter(s.cpus)))
    descriptors = len(os.listdir("/proc/self/fd"))
    chosen, ends = 0, set()
    while True:
        chosen += 1
        points.armed = False
        with ring3.Kernel() as kernel:
            kernel.run(["/bin/true"])
            points.arm(chosen)
            try:
                ends.add(kernel.run([str(program)], stdout=subprocess.DEVNULL, cwd="/", timeout=90).returncode)
            except OSError as refusal:
                assert refusal.errno in (errno.ENOMEM, errno.ESRCH)  # noqa: PT017 - in its first exec
            points.armed = False
            assert kernel.run(["/bin/echo", "on"], capture_output=True, cwd="/").stdout == b"on\n", f"point {chosen}"
        assert len(os.listdir("/proc/self/fd")) == descriptors, f"point {chosen}"
        if not points.was_reached:
            break
    assert chosen > 30
    assert ends <= {0, -signal.SIGKILL, -signal.SIGSEGV}

def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said as what it is; nobody waits for what never began, and it may be tried again."""
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with ring3.Kernel() as kernel:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        for _ in range(2):
            with pytest.raises(ring3.MachineUnavailable, match="ulimit -u"):
                kernel.run(["/bin/true"])
        monkeypatch.undo()
        assert kernel.run(["/bin/true"]).returncode == 0


RUN = """
import sys, ring3
with ring3.Kernel() as kernel:
    done = kernel.run([sys.executable, "-S", "-c", sys.argv[1]], cwd="/")
"""
PIPES = """
import fcntl, os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (4000, 4000))
held = 0
try:
    while held < 2 << 30:
        _, end = os.pipe()
        fcntl.fcntl(end, 1031, 1 << 20)
        os.set_blocking(end, False)
        for _ in range(16): held += os.write(end, b"x" * 65536)
except OSError as error: print(error.strerror, held > 64 << 20)
"""


def test_memory_of_a_guest_ends_where_ulimit_says() -> None:
    """What the kernel holds for guests is memory of its process: `ulimit -v` bounds it, and guests hear ENOMEM."""
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_AS, (400 << 20,) * 2); exec({RUN!r})"
    done = subprocess.run([sys.executable, "-c", limited, PIPES], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("Cannot allocate memory True\n", "")
