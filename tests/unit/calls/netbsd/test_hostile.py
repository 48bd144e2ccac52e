"""Random arguments for every NetBSD call, both word sizes: whatever a guest passes, it gets an answer or an errno.

The whole trap is driven, so that results and refusals pass through the registers.  What must not happen is a `KernelFault`: a bug
of the kernel's own.  Once with numbers alone; once with descriptors that are open, paths, and memory full of records that nearly
make sense.  RING3_HOSTILE is how many of those calls are made per seed (1500 by default), RING3_HOSTILE_SEED the first seed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

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


def one_call(
    stage: Stage, g: NetbsdGuest, dice: random.Random, numbers: list[int], one_word: Callable[[random.Random], int] = word
) -> None:
    """One trap; a call that sleeps is interrupted at once."""
    stage.next(lambda _g: ())
    t = g.t
    t.cpu.regs[x86.RSP], t.cpu.regs[x86.RIP] = STACK, 0x4000
    number = dice.choice(numbers)
    args = [one_word(dice) for _ in range(8)]
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


# --- with records that nearly make sense
COUNT = int(os.environ.get("RING3_HOSTILE", "1500"))
SEED = int(os.environ.get("RING3_HOSTILE_SEED", "1"))
RECORDS, RECORDS_END, PATHS = BASE + 0x10000, BASE + 0x11200, BASE + 0x80000
NAMES = (
    b"/tmp/a", b"/dev/null", b"", b"a", b"..", b"/", b"/tmp/../tmp/b/", b"x" * 300, b"/tmp/" + b"y/" * 600, b"/dev/zero", b"/tmp",
    b"/tmp/fifo", b"/dev/tty", b"\xff\xfe",
)
PLACES = tuple(PATHS + 0x1000 * at for at in range(len(NAMES)))
# What mostly ends the process, or takes its memory, is made more rarely.
RARE = frozenset(NUMBERS[name] for name in ("exit", "_lwp_exit", "setcontext", "munmap", "kill"))


def furnished(stage: Stage, make: object) -> NetbsdGuest:
    """A process with files of every kind open, and paths in its memory."""
    g: NetbsdGuest = make(stage)  # type: ignore[operator]
    for place, name in zip(PLACES, NAMES, strict=True):
        g.p.vm.copyout(place, name + b"\0")

    def call(name: str, *args: int) -> None:
        g.trap(NUMBERS[name], *args)

    call("mkdir", PLACES[10], 0o755)
    for path, flags in ((0, 0x202), (5, 0), (1, 2), (9, 0)):
        call("open", PLACES[path], flags, 0o644)
    call("pipe2", RECORDS, 4)
    call("socketpair", 1, 1, 0, RECORDS)
    call("kqueue")
    for kind in (1, 2):
        call("__socket30", 1, kind, 0)
    return g


def near_word(dice: random.Random) -> int:
    kind = dice.random()
    if kind < 0.3:
        return dice.randrange(16)
    if kind < 0.6:
        return dice.randrange(RECORDS, RECORDS_END - 512, 4)
    if kind < 0.72:
        return dice.choice(PLACES)
    return dice.choice(INTERESTING) if kind < 0.95 else dice.getrandbits(dice.choice((4, 8, 13, 32, 64)))


def fill(dice: random.Random, g: NetbsdGuest) -> None:
    """Words of every size where records are looked for."""
    data = bytearray()
    while len(data) < RECORDS_END - RECORDS:
        width = dice.choice((2, 4, 4, 8, 8))
        value = near_word(dice) if dice.random() < 0.7 else 0
        data += (value & (1 << 8 * width) - 1).to_bytes(width, "little") + bytes(dice.choice((0, 0, 0, 0, 4, 16, 40)))
    try:
        g.p.vm.copyout(RECORDS, bytes(data[: RECORDS_END - RECORDS]))
    except Errno:
        return


@pytest.mark.parametrize("seed", range(SEED, SEED + 3))
@pytest.mark.parametrize("make", [netbsd_guest, netbsd32_guest])
@pytest.mark.timeout(30 + COUNT // 50)
def test_records_that_nearly_make_sense(seed: int, make: object) -> None:
    dice = random.Random(seed)
    stage = Stage()
    try:
        g = furnished(stage, make)
        named = [number for name, number in NUMBERS.items() if name not in EXCLUDED | {"exit"}]
        for made in range(COUNT):
            gone = any(g.p.vm.find(place) is None for place in (STACK, RECORDS, PLACES[-1]))
            if g.p.zombie or g.t.state is ThreadState.DEAD or gone or made % 1000 == 999:
                if len(stage.system.procs) > 100 or made % 1000 == 999:
                    stage.close()
                    stage = Stage()
                g = furnished(stage, make)
            fill(dice, g)
            numbers = [number for number in dice.sample(named, 8) if number not in RARE or dice.random() < 0.1] or [20]
            one_call(stage, g, dice, numbers, near_word)
    finally:
        stage.close()
