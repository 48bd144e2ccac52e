"""NetBSD's signal numbers at the border: numbers, masks, statuses, codes; what signals do by default."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ring3.abi.signals import LINUX_DEFAULTS, SI_KERNEL, SI_TKILL, SIGEMT, SIGINFO, SaFlags, Signal, bit
from ring3.abi.table import read_table
from ring3.personality.netbsd.signals import DEFAULTS, NO_SIGNAL, SignalNumbers, flags_inward, flags_outward

NUMBERS = SignalNumbers()


@pytest.mark.parametrize(("number", "name"), read_table("netbsd/signal").items())
def test_every_name_means_the_same(number: int, name: str) -> None:
    neutral = {"SIGEMT": SIGEMT, "SIGINFO": SIGINFO}.get(name) or Signal[name]
    assert NUMBERS.inward(number) == neutral
    assert NUMBERS.outward(neutral) == number


@given(st.integers(min_value=1, max_value=63))
def test_there_and_back(number: int) -> None:
    assert NUMBERS.outward(NUMBERS.inward(number)) == number


@given(st.integers())
def test_what_is_no_signal_stays_none(number: int) -> None:
    assert (NUMBERS.inward(number) == NO_SIGNAL) == (not 0 <= number < 64)


@given(st.integers(min_value=0, max_value=(1 << 63) - 1))
def test_masks_there_and_back(mask: int) -> None:
    assert NUMBERS.mask_outward(NUMBERS.mask_inward(mask)) == mask


def test_a_mask_of_a_signal_netbsd_lacks_is_not_told() -> None:
    assert NUMBERS.mask_outward(bit(32)) == 0


def test_a_guest_cannot_fill_the_caches() -> None:
    numbers = SignalNumbers()
    for mask in range(5000):
        numbers.mask_inward(mask)
        numbers.mask_outward(mask)
    assert len(numbers._masks_in) <= 1024
    assert len(numbers._masks_out) <= 1024


@pytest.mark.parametrize(("status", "theirs"), [
    (0, 0), (0x0300, 0x0300), (0xFFFF, 0xFFFF), (Signal.SIGUSR1, 30), (Signal.SIGSEGV | 0x80, 11 | 0x80), (Signal.SIGBUS, 10),
    (Signal.SIGSTOP << 8 | 0x7F, 17 << 8 | 0x7F),
])
def test_wait_statuses(status: int, theirs: int) -> None:
    assert NUMBERS.status_outward(status) == theirs


def test_codes() -> None:
    assert NUMBERS.code_outward(Signal.SIGUSR1, SI_TKILL) == -5
    assert NUMBERS.code_outward(Signal.SIGSEGV, SI_KERNEL) == 2
    assert NUMBERS.code_outward(Signal.SIGSEGV, 1) == 1
    assert NUMBERS.code_outward(Signal.SIGCHLD, 3) == 3
    assert NUMBERS.code_outward(Signal.SIGINT, SI_KERNEL) == 32767
    assert NUMBERS.code_inward(-5) == SI_TKILL


def test_flags() -> None:
    assert flags_inward(0x43) == SaFlags.SIGINFO | SaFlags.ONSTACK | SaFlags.RESTART
    assert flags_outward(int(SaFlags.NODEFER | SaFlags.RESTORER)) == 0x10


def test_defaults_differ_where_systems_do() -> None:
    for signo in (Signal.SIGIO, Signal.SIGPWR, SIGINFO):
        assert DEFAULTS.ignored & bit(signo)
        assert not LINUX_DEFAULTS.ignored & bit(signo)
    assert not DEFAULTS.dumps & bit(Signal.SIGXCPU)
    assert LINUX_DEFAULTS.dumps & bit(Signal.SIGXCPU)
