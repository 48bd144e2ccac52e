"""The guest of these tests: numbers, registers, results, refusals as SerenityOS has them."""

from __future__ import annotations

from tests.unit.calls.serenity.guest import SerenityGuest


def test_a_call_by_name_and_as_a_whole_trap(g: SerenityGuest) -> None:
    assert g.call("getpid") == g.p.pid
    assert g.trap("getpid") == g.p.pid
    assert g.refusal("close", 77) == "EBADF"
    assert g.trap("close", 77) == -9


def test_numbers_beyond_the_table_are_enosys(g: SerenityGuest) -> None:
    assert g.trap(157) == -38
    assert g.trap(-1) == -38
