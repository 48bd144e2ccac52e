"""Classes of named fields are what typing makes of the same body."""

from __future__ import annotations

import pickle
import typing
from typing import Any

import pytest

from ring3.namedtuple import NamedTuple


class Ours(NamedTuple):
    """Two fields and more."""

    first: int
    second: list[int] | None = None
    third: str = "x"

    @property
    def both(self) -> tuple[int, str]:
        return self.first, self.third

    def next(self) -> Ours:
        return self._replace(first=self.first + 1)

    @classmethod
    def zero(cls) -> Ours:
        return cls(0)


class Theirs(typing.NamedTuple):
    """Two fields and more."""

    first: int
    second: list[int] | None = None
    third: str = "x"

    @property
    def both(self) -> tuple[int, str]:
        return self.first, self.third

    def next(self) -> Theirs:
        return self._replace(first=self.first + 1)

    @classmethod
    def zero(cls) -> Theirs:
        return cls(0)


class Empty(NamedTuple):
    """No fields at all."""


@pytest.mark.parametrize("name", ["_fields", "_field_defaults", "__doc__", "__module__", "__match_args__", "__slots__"])
def test_the_class_is_as_typing_makes_it(name: str) -> None:
    assert getattr(Ours, name) == getattr(Theirs, name)


def test_types_are_found() -> None:
    assert typing.get_type_hints(Ours) == typing.get_type_hints(Theirs) == {"first": int, "second": list[int] | None, "third": str}


def test_values_are_tuples_with_names() -> None:
    ours: Any = Ours(1, third="z")
    theirs: Any = Theirs(1, third="z")
    assert ours == theirs == (1, None, "z")
    assert (repr(ours), hash(ours)) == (repr(theirs).replace("Theirs", "Ours"), hash(theirs))
    assert ours._asdict() == theirs._asdict()
    assert (ours.both, tuple(ours.next()), tuple(Ours.zero())) == (theirs.both, tuple(theirs.next()), tuple(Theirs.zero()))
    assert type(ours.next()) is type(Ours.zero()) is Ours
    assert pickle.loads(pickle.dumps(ours)) == ours
    assert Empty() == ()
    assert not hasattr(ours, "__dict__")


def test_a_field_that_is_missing_is_a_type_error() -> None:
    make: Any = Ours
    with pytest.raises(TypeError, match="first"):
        make()
    with pytest.raises(TypeError, match="fourth"):
        make(1, fourth=2)


def test_what_typing_refuses_is_refused() -> None:
    with pytest.raises(TypeError, match="fields with a default come last"):
        exec("class A(NamedTuple):\n    a: int = 1\n    b: int", {"NamedTuple": NamedTuple, "__name__": "x"})
    with pytest.raises(TypeError, match="only base"):
        exec("class A(NamedTuple, dict):\n    a: int", {"NamedTuple": NamedTuple, "__name__": "x"})
