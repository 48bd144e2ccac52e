"""`--inject`: whatever is written there is an injection or a ValueError, and injects only what a call can end with."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ring3.trace.filter import CallSet, SignalSet
from ring3.trace.inject import parse_injection

WORDS = ("read", "!", "%file", "/", "/[", "/[a&&", "(", "a{99999999999}", ",", ":", "=", "error", "retval", "signal", "delay_enter",
         "when", "EIO", "poke_enter", "@arg1", "syscall=getpid",
         "Errno", "__name__", "EFTYPE", "..", "+", "0x", "1", "-1", "99999999999999999999", "9" * 5000, "nan", "inf",
         "1e999", "us", "h", "٣", "\0", "\ud800", " ", "")


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=4), max_size=12).map("".join))
def test_nonsense_is_a_value_error(text: str) -> None:
    for parse in (parse_injection, CallSet.parse, SignalSet.parse):
        with suppress(ValueError):
            parse(text)


@given(st.text(max_size=6), st.text(max_size=6), st.text(max_size=6))
def test_values_are_checked(error: str, number: str, when: str) -> None:
    for text in (f"read:error={error}:when={when}", f"read:retval={number}", f"read:delay_exit={number}", f"read:signal={error}"):
        with suppress(ValueError):
            found = parse_injection(text)
            assert found.retval is None or -1 << 63 <= found.retval < 1 << 64
            assert found.delay_exit is None or 0 <= found.delay_exit <= 86400
            assert 0 <= found.signal <= 64


@pytest.mark.parametrize(
    "text", ["read:Errno", "read:retval=0x400000000000000000", "read:retval=-0x8000000000000001", "/a{99999999999}:EIO"]
)
def test_what_no_call_ends_with(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_injection(text)
