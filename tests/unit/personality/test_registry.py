"""The registry of personalities: every name is there at once, a record is built when it is first asked for."""

from __future__ import annotations

import pytest

from ring3.personality import BUILTIN, Personalities


def test_every_builtin_name_gives_its_record() -> None:
    known = Personalities()
    assert list(known) == list(BUILTIN)
    assert [known[name].name for name in known] == list(BUILTIN)


def test_a_record_is_built_once_a_kernel() -> None:
    known, other = Personalities(), Personalities()
    assert known["linux"] is known["linux"]
    assert known["linux"] is not other["linux"]


def test_looking_for_a_name_builds_nothing() -> None:
    known = Personalities({"absent": ("ring3.personality.no_such_module", "nothing")})
    assert "absent" in known
    assert len(known) == 1
    with pytest.raises(ModuleNotFoundError):
        known["absent"]


def test_an_unknown_name_is_a_key_error() -> None:
    known = Personalities()
    assert known.get("plan9") is None
    with pytest.raises(KeyError):
        known["plan9"]


def test_records_come_and_go() -> None:
    known = Personalities({})
    known["mine"] = record = Personalities()["linux"]
    assert known["mine"] is record
    del known["mine"]
    assert "mine" not in known
