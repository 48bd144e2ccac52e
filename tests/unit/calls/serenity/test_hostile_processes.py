"""Random arguments for every call about processes, signals, threads and tracing: an answer or an errno, and the kernel stands."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from ring3.abi import x86
from ring3.errors import Errno
from ring3.proc.proc import Restart, ThreadState
from ring3.waiting import Interrupted
from tests.unit.calls.serenity.guest import SerenityGuest
from tests.unit.calls.stage import BASE

CALLS = (
    "alarm", "create_thread", "detach_thread", "disown", "exit_thread", "fork", "futex", "get_process_name", "get_thread_name",
    "getpgid", "getppid", "getsid", "join_thread", "kill", "kill_thread", "killpg", "ptrace", "scheduler_get_parameters",
    "scheduler_set_parameters", "set_coredump_metadata", "set_process_name", "set_thread_name", "setpgid", "setsid", "sigaction",
    "sigaltstack", "sigpending", "sigprocmask", "sigreturn", "sigsuspend", "sigtimedwait", "waitid", "yield",
)
WORDS = (
    0, 1, 2, 3, 9, 17, 32, 33, 64, 99, 4096, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 47, (1 << 47) - 1, 1 << 63, (1 << 64) - 1,
    (1 << 64) - 4096, 0x1F_FE00_0000, 0xC000_0001, BASE, BASE + 1, BASE + 0x2000, BASE - 0x800,
)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", CALLS)
def test_any_arguments(g: SerenityGuest, name: str, seed: int) -> None:
    draw = random.Random(f"{name}{seed}")
    sp, rip = g.t.cpu.regs[x86.RSP], g.t.cpu.regs[x86.RIP]
    for _ in range(60):
        g.p.vm.copyout(BASE + 0x2000, b"".join(draw.choice((*WORDS, g.t.tid)).to_bytes(8, "little") for _ in range(16)))
        try:
            result = g.start(name, *(draw.choice((*WORDS, BASE + 0x2000, g.t.tid)) for _ in range(4)))
        except Errno:
            continue
        finally:
            g.t.cpu.regs[x86.RSP], g.t.cpu.regs[x86.RIP] = sp, rip
        if not isinstance(result, int):
            with suppress(StopIteration, Errno, Interrupted, Restart):
                result.send(None)
                result.throw(Interrupted())
            result.close()
        for t in g.p.threads.values():
            if t is not g.t and t.state is not ThreadState.DEAD:
                t.state = ThreadState.STOPPED
        if g.p.exiting or g.t.state is ThreadState.DEAD:
            return
