"""SerenityOS's signal numbers, masks, actions and structs."""

from __future__ import annotations

import pytest

from ring3.abi.procrecords import Int32, SigSet, UInt32, Word
from ring3.abi.signals import SIGCANCEL, SIGINFO, AltStack, SaFlags, SigAction, SigInfo, Signal, bit, mask_of
from ring3.personality.serenity import signals
from ring3.personality.serenity.layouts_process import LAYOUTS
from ring3.personality.serenity.signals import NO_SIGNAL, SignalNumbers, mask_inward, mask_outward

NAMES = (
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "INFO", "SYS", "CANCEL",
)
DUMPING = ("QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "SEGV", "XCPU", "XFSZ", "SYS")
BORROWED = {"INFO": SIGINFO, "CANCEL": SIGCANCEL}


def neutral(name: str) -> int:
    return BORROWED.get(name) or Signal[f"SIG{name}"]


@pytest.mark.parametrize(("number", "name"), list(enumerate(NAMES, 1)))
def test_numbers_there_and_back(number: int, name: str) -> None:
    numbers = SignalNumbers()
    assert numbers(number) == neutral(name)
    assert numbers.outward(neutral(name)) == number
    assert mask_inward(bit(number)) == bit(neutral(name))
    assert mask_outward(bit(neutral(name))) == bit(number)


@pytest.mark.parametrize("number", [-1, 33, 64, 1 << 31])
def test_what_is_no_signal(number: int) -> None:
    assert SignalNumbers()(number) == NO_SIGNAL


def test_other_systems_signals_are_told_as_cancel() -> None:
    assert [SignalNumbers.outward(signo) for signo in (Signal.SIGPWR, 33, 63)] == [32, 32, 32]
    assert mask_outward(mask_of(Signal.SIGPWR, 33, 63)) == 0


def test_the_whole_mask() -> None:
    assert mask_outward(mask_inward(0xFFFF_FFFF)) == 0xFFFF_FFFF


def test_default_actions() -> None:
    ignored, dumps = signals.DEFAULTS.ignored, signals.DEFAULTS.dumps
    assert ignored == mask_of(*(neutral(name) for name in ("CHLD", "URG", "WINCH", "CONT", "INFO")))
    assert dumps == mask_of(*(neutral(name) for name in DUMPING))
    assert (signals.DEFAULTS.restarts, signals.DEFAULTS.together, signals.DEFAULTS.discards) == (False, False, False)


def test_sizes_of_structs() -> None:
    assert [LAYOUTS[kind].size for kind in (SigSet, SigInfo, SigAction, AltStack, Int32, UInt32, Word)] == [4, 48, 16, 24, 4, 4, 8]


@pytest.mark.parametrize("flags", [0, 4, 0x4000_0000, 0x8000_0000, 0x1000_0001, 0xFFFF_FFFF])
def test_action_flags_are_told_as_they_were_given(flags: int) -> None:
    data = (0x1234).to_bytes(8, "little") + (0xA000_0001).to_bytes(4, "little") + flags.to_bytes(4, "little")
    action = LAYOUTS[SigAction].decode(data)
    assert LAYOUTS[SigAction].encode(action) == data
    assert action.mask == bit(1) | bit(SIGCANCEL) | bit(SIGINFO)


def test_flags_without_effect_are_kept_away_from_the_kernel() -> None:
    action = signals.action_inward(1, 0, int(SaFlags.RESTART | SaFlags.RESETHAND | SaFlags.NOCLDSTOP | SaFlags.NODEFER))
    assert action.flags & 0xFFFF_FFFF == SaFlags.NODEFER


def test_siginfo() -> None:
    data = LAYOUTS[SigInfo].encode(SigInfo(SIGINFO, 5, pid=7, uid=8, addr=9, status=10))
    assert [int.from_bytes(data[at : at + 4], "little") for at in range(0, 48, 4)] == [30, 5, 0, 7, 8, 0, 9, 0, 10, 0, 0, 0]


def test_alternate_stack() -> None:
    data = LAYOUTS[AltStack].encode(AltStack(0x1000, 2, 0x8000))
    assert data == (0x1000).to_bytes(8, "little") + (2).to_bytes(8, "little") + (0x8000).to_bytes(8, "little")
    assert LAYOUTS[AltStack].decode(data) == AltStack(0x1000, 2, 0x8000)
