"""A policy costs next to nothing: counted in instructions, so that no noise hides it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import gate

if TYPE_CHECKING:
    import pytest


def test_gate_and_veil_cost_at_most_five_percent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(gate, "ROUNDS", 20)
    assert gate.main() == 0, capsys.readouterr().out
