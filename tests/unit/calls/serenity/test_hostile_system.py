"""Calls about policies, ids, clocks and the system with words nobody means: a result or an errno, never anything else.

The words are drawn from a seed, so that a failure is one that comes again.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from random import Random

import pytest

from ring3.errors import Errno
from ring3.policy.own import OwnPolicy
from tests.unit.calls.serenity.guest import NUMBERS, SerenityGuest
from tests.unit.calls.stage import Sleeper

CALLS = (
    "adjtime beep clock_getres clock_gettime clock_nanosleep clock_settime dbgputstr dump_backtrace emuctl getgroups gethostname "
    "getkeymap getrandom getresgid getresuid getrusage jail_attach jail_create perf_event perf_register_string pledge prctl "
    "profiling_disable profiling_enable profiling_free_buffer setegid seteuid setgid setgroups sethostname setkeymap setregid "
    "setresgid setresuid setreuid setuid sync sysconf times uname unveil"
)
TEXTS = (b"stdio rpath", b"no_error stdio", b"rwxcb", b"r", b"", b"/", b"/..", b"/\xff/x", b"/" * 5000, b" ", b"jail \0x", b"cx")


@pytest.mark.parametrize("name", CALLS.split())
def test_any_words(g: SerenityGuest, name: str) -> None:
    random = Random(f"serenity {name}")
    room = [g.put(text + b"\0" * 8) for text in TEXTS]
    for _ in range(150):
        def word() -> int:
            kind = random.randrange(6)
            if kind == 0:
                return random.choice(room)
            if kind == 1:
                return random.randrange(64)
            if kind == 2:
                return random.choice((0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 63, (1 << 64) - 1, 0xC000_0001))
            return random.getrandbits(random.choice((4, 12, 33, 64)))

        block = g.put(struct.pack("<8Q", *(word() for _ in range(8))))
        words = [block if random.random() < 0.7 else word(), *(word() for _ in range(3))]
        g.place(*words)
        g.p.confine(None)
        with suppress(Errno):
            result = g.t.abi.sysent[NUMBERS[name]].invoke(g.t, g.t.cpu.regs)
            if not isinstance(result, int):
                sleeper = Sleeper(result)
                if not sleeper.is_done:
                    result.close()
        assert g.p.confinement is None or isinstance(g.p.confinement, OwnPolicy)
        assert not g.p.zombie
