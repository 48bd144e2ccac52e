"""Random arguments for every call about processes, memory and time: whatever a guest passes, it gets an answer or an errno.

A call that sleeps is left asleep; one that ends its process ends it.  What must not happen is any other exception: that is a bug of
the kernel's own.
"""

from __future__ import annotations

import random
from types import CoroutineType

import pytest

from ring3.abi import x86
from ring3.abi.x86 import Arch
from ring3.calls import (
    admin,
    clone,
    futex,
    ids,
    limits,
    memadvice,
    memory,
    prctl,
    process,
    procmem,
    signal,
    system,
    time,
    timer,
    tls,
    wait,
)
from ring3.calls.syscall import collect
from ring3.errors import Errno
from ring3.personality.linux import i386_process, sigframe32, sigframe64
from ring3.proc.proc import Restart, ThreadState
from tests.unit.calls.stage import BASE, NUMBERS32, NUMBERS64, ROOM, STACK, Guest, Stage

MODULES = (admin, clone, futex, ids, limits, memadvice, memory, prctl, process, procmem, signal, system, time, timer, tls, wait)
CALLS = {
    Arch.X86_64: sorted(set(collect(*MODULES, sigframe64)) & set(NUMBERS64)),
    Arch.I386: sorted((set(collect(*MODULES)) | set(collect(i386_process, sigframe32))) & set(NUMBERS32)),
}
INTERESTING = (
    0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 16, 17, 24, 31, 32, 33, 64, 65, 128, 255, 4095, 4096, 4097, 8192, 0x7FFFFFFF, 0x80000000,
    0xFFFFFFFF,
    0x100000000, 0x7FFFFFFFFFFF, 0x800000000000, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 64) - 4096, BASE, BASE + 1, BASE + 8,
    BASE + 4096, BASE + ROOM, BASE + ROOM - 4, STACK, 0x40000000,
)
EXCLUDED = frozenset({"getrandom"})         # hands out up to 2 GiB in pieces: right, and slow


def word(dice: random.Random) -> int:
    kind = dice.random()
    if kind < 0.6:
        return dice.choice(INTERESTING)
    if kind < 0.8:
        return BASE + dice.randrange(0, ROOM, 4)
    return dice.getrandbits(dice.choice((4, 8, 13, 32, 64)))


def one_call(stage: Stage, g: Guest, dice: random.Random, arch: Arch) -> None:
    name = dice.choice(CALLS[arch])
    if name in EXCLUDED:
        return
    stage.next(lambda _g: ())
    t = g.t
    t.cpu.regs[x86.RSP], t.cpu.regs[x86.RIP] = STACK, 0x4000
    args = [word(dice) for _ in range(6)]
    if name in {"kill", "tkill", "tgkill", "prlimit64"} and dice.random() < 0.9:
        args[0] = g.p.pid
    try:
        result = g.start(name, *args, arch=arch)
        if isinstance(result, CoroutineType):
            try:
                result.send(None)
            finally:
                result.close()
    except (Errno, Restart, StopIteration):
        pass
    except Exception as error:
        raise AssertionError(f"{name}({', '.join(map(hex, args))}) on {arch.value}") from error


@pytest.mark.parametrize("arch", list(Arch), ids=lambda arch: arch.value)
@pytest.mark.parametrize("seed", range(6))
def test_nothing_but_an_errno(arch: Arch, seed: int) -> None:
    dice = random.Random(seed)
    stage = Stage()
    g = stage.guest()
    for _ in range(2500):
        if g.t.state is ThreadState.DEAD or g.p.zombie or not g.p.vm.find(BASE) or g.p.vm.find(STACK - 4096) is None:
            stage.close()
            stage = Stage()
            g = stage.guest()
            g.p.vm.copyout(BASE, dice.randbytes(4096))
        if dice.random() < 0.2:
            g.p.vm.copyout(BASE, dice.randbytes(512)) if g.p.vm.covered(BASE, BASE + 4096) else None
        one_call(stage, g, dice, arch)
        g.t.sigmask = 0
        stage.system.scheduler.timers.run_due(stage.now_ns())
    stage.close()
