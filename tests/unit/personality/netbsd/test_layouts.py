"""NetBSD's structs about processes and signals: sizes and places as its headers have them."""

from __future__ import annotations

import struct

import pytest

from ring3.abi.procrecords import ITimerVal, Rlimits, Rusage, SigEvent, SigSet, WaitStatus, Wrusage
from ring3.abi.records import Timespec, Timeval
from ring3.abi.signals import SI_USER, SS_DISABLE, SS_ONSTACK, AltStack, SaFlags, SigAction, SigInfo, Signal, bit
from ring3.abi.spawnrecords import SpawnAction, SpawnActions, SpawnAttr
from ring3.errors import EINVAL
from ring3.personality.netbsd.layouts_process import BAD_FLAGS, layouts, unknown_action_flags
from ring3.personality.netbsd.signals import SignalNumbers

WIDE = layouts(SignalNumbers(), 8)
NARROW = layouts(SignalNumbers(), 4)


@pytest.mark.parametrize(("record", "wide", "narrow"), [
    (SigSet, 16, 16), (SigInfo, 128, 128), (SigAction, 32, 24), (AltStack, 24, 12), (Timespec, 16, 12), (Timeval, 16, 12),
    (ITimerVal, 32, 24), (Rusage, 144, 80), (Wrusage, 288, 160), (Rlimits, 16, 16), (WaitStatus, 4, 4), (SpawnActions, 16, 12),
    (SpawnAction, 24, 20), (SpawnAttr, 48, 48),
])
def test_sizes(record: type, wide: int, narrow: int) -> None:
    assert (WIDE[record].size, NARROW[record].size) == (wide, narrow)


def test_both_word_sizes_have_the_same_records() -> None:
    assert WIDE.keys() == NARROW.keys()


def test_a_set_of_signals() -> None:
    data = WIDE[SigSet].encode(bit(Signal.SIGUSR1) | bit(63))
    assert struct.unpack("<4I", data) == (1 << 29, 1 << 30, 0, 0)
    assert WIDE[SigSet].decode(b"\xff" * 16) == WIDE[SigSet].decode(b"\xff" * 8 + bytes(8))


def test_an_action() -> None:
    action = SigAction(0x1234, int(SaFlags.SIGINFO | SaFlags.RESTORER), 0x99, bit(Signal.SIGCHLD))
    data = WIDE[SigAction].encode(action)
    assert struct.unpack("<QQQi4x", data) == (0x1234, 1 << 19, 0, 0x40)
    assert WIDE[SigAction].decode(data) == action._replace(flags=int(SaFlags.SIGINFO), restorer=0)
    assert unknown_action_flags(WIDE[SigAction].decode(struct.pack("<QQQi4x", 0, 0, 0, 0x100)))


def test_an_alternate_stack() -> None:
    assert WIDE[AltStack].decode(struct.pack("<QQi4x", 5, 6, 4)) == AltStack(5, SS_DISABLE, 6)
    assert WIDE[AltStack].encode(AltStack(5, SS_ONSTACK, 6)) == struct.pack("<QQi4x", 5, 6, 1)
    assert WIDE[AltStack].decode(struct.pack("<QQi4x", 5, 6, 8)).flags & BAD_FLAGS


def test_siginfo_of_a_fault_a_child_and_a_sender() -> None:
    fault = WIDE[SigInfo].encode(SigInfo(Signal.SIGBUS, 2, addr=0x1000, trapno=6))
    assert struct.unpack_from("<iii4xQi", fault) == (10, 2, 0, 0x1000, 6)
    child = WIDE[SigInfo].encode(SigInfo(Signal.SIGCHLD, 2, pid=7, uid=8, status=Signal.SIGUSR1, utime=3, stime=4))
    assert struct.unpack_from("<iii4xiIiII", child) == (20, 2, 0, 7, 8, 30, 3, 4)
    exited = WIDE[SigInfo].encode(SigInfo(Signal.SIGCHLD, 1, pid=7, status=10))
    assert struct.unpack_from("<iii4xiIi", exited) == (20, 1, 0, 7, 0, 10)
    sent = NARROW[SigInfo].encode(SigInfo(Signal.SIGUSR1, SI_USER, pid=7, uid=8))
    assert struct.unpack_from("<iiiiI", sent) == (30, 0, 0, 7, 8)


def test_a_queued_siginfo_is_read() -> None:
    data = struct.pack("<iii4xiIQ", 30, -1, 0, 5, 6, 0xABCD).ljust(128, b"\0")
    told = WIDE[SigInfo].decode(data)
    assert (told.signo, told.code, told.pid, told.value) == (Signal.SIGUSR1, -1, 5, 0xABCD)


def test_times() -> None:
    assert WIDE[Timespec].decode(struct.pack("<qq", 2, 5)) == 2_000_000_005
    assert NARROW[Timeval].encode(1_500_000_000) == struct.pack("<qi", 1, 500_000)
    for bad in ((-1, 0), (0, -1), (0, 1_000_000_000)):
        with pytest.raises(EINVAL):
            WIDE[Timespec].decode(struct.pack("<qq", *bad))


def test_infinity_is_the_largest_signed_number() -> None:
    assert WIDE[Rlimits].encode(Rlimits((1 << 64) - 1, 5)) == struct.pack("<QQ", (1 << 63) - 1, 5)
    assert WIDE[Rlimits].decode(struct.pack("<QQ", (1 << 63) - 1, 5)) == Rlimits((1 << 64) - 1, 5)


def test_what_a_timer_does() -> None:
    data = struct.pack("<iiQ", 1, 30, 9).ljust(32, b"\0")
    assert WIDE[SigEvent].decode(data) == SigEvent(9, Signal.SIGUSR1, 0, 0)
