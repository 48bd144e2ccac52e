"""Random arguments for every NetBSD call, both word sizes: whatever a guest passes, it gets an answer or an errno.

The whole trap is driven, so that results and refusals pass through the registers.  What must not happen is a `KernelFault`: a bug
of the kernel's own.
"""

from __future__ import annotations

import random

import pytest

from ring3.abi import x86
from ring3.calls.trap import finish
from ring3.errors import Errno
from ring3.proc.proc import Restart, ThreadState
from tests.unit.calls.netbsd.netguest import NUMBERS, NetbsdGuest, netbsd32_guest, netbsd_guest
from tests.unit.calls.stage import BASE, ROOM, STACK, Stage

INTERESTING = (
    0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 24, 31, 32, 63, 64, 65, 128, 255, 512, 1024, 4095, 4096, 4097, 0x1002, 0x1012, 0x2000,
    0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x100000000, 0x7FFFFFFFFFFF, 0x800000000000, (1 << 63) - 1, 1 << 63, (1 << 64) - 1,
    (1 << 64) - 4096, BASE, BASE + 1, BASE + 8, BASE + 4096, BASE + ROOM, BASE + ROOM - 4, STACK, 0x15000000,
)
# Calls that take an exec switch or a machine that runs, which the stage has not; or hand out gigabytes, rightly.
EXCLUDED = frozenset({"execve", "fexecve", "posix_spawn", "reboot", "getrandom"})


def word(dice: random.Random) -> int:
    kind = dice.random()
    if kind < 0.6:
        return dice.choice(INTERESTING)
    if kind < 0.8:
        return BASE + dice.randrange(0, ROOM, 4)
    return dice.getrandbits(dice.choice((4, 8, 13, 32, 64)))


def one_call(stage: Stage, g: NetbsdGuest, dice: random.Random, numbers: list[int]) -> None:
    """One trap; a call that sleeps is interrupted at once."""
    stage.next(lambda _g: ())
    t = g.t
    t.cpu.regs[x86.RSP], t.cpu.regs[x86.RIP] = STACK, 0x4000
    number = dice.choice(numbers)
    args = [word(dice) for _ in range(8)]
    if number == NUMBERS["kill"] and dice.random() < 0.9:
        args[0] = g.p.pid
    try:
        g.trap(number, *args)
    except Errno:                       # the stack is gone, so the test itself cannot put arguments there
        return
    if t.coroutine is not None:
        coroutine, t.coroutine = t.coroutine, None
        stage.system.scheduler.forget(t)
        coroutine.close()
        finish(t, Restart())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("make", [netbsd_guest, netbsd32_guest])
def test_nothing_but_answers(seed: int, make: object) -> None:
    dice = random.Random(seed)
    stage = Stage()
    try:
        g = make(stage)  # type: ignore[operator]
        named = [number for name, number in NUMBERS.items() if name not in EXCLUDED]
        for _ in range(1500):
            if g.p.zombie or g.t.state is ThreadState.DEAD:
                g = make(stage)  # type: ignore[operator]
            if g.p.vm.find(STACK) is None or len(stage.system.procs) > 200:
                g = make(stage)  # type: ignore[operator]
            one_call(stage, g, dice, named if dice.random() < 0.95 else [dice.getrandbits(32)])
    finally:
        stage.close()
