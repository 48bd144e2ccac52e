"""Who is told of what: those who ask for it, in their order, whatever became of the list meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from ring3.proc.instruments import Instruments
from ring3.protocols import Instrument


class Exits(Instrument):
    """Hears of exits alone."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def exit(self, proc: Any) -> None:
        self.seen.append(proc)


class More(Exits):
    """And of forks."""

    def fork(self, parent: Any, child: Any) -> None:
        self.seen.append(child)


def names(watchers: Instruments, hook: str) -> list[str]:
    return [type(who).__name__ for who, _ in watchers.listening(hook)]


def test_only_who_overrides_a_hook_listens() -> None:
    watchers = Instruments()
    watchers.extend([Instrument(), Exits(), More()])
    assert names(watchers, "exit") == ["Exits", "More"]
    assert names(watchers, "fork") == ["More"]
    assert names(watchers, "lookup") == []


def test_a_hook_put_into_one_instrument_listens() -> None:
    watchers, one = Instruments(), Instrument()
    seen: list[object] = []
    vars(one)["exit"] = seen.append
    watchers.append(one)
    ((_, method),) = watchers.listening("exit")
    method("gone")
    assert seen == ["gone"]


@pytest.mark.parametrize("change", [
    lambda watchers: watchers.append(Exits()),
    lambda watchers: watchers.insert(0, Exits()),
    lambda watchers: watchers.__iadd__([Exits()]),
    lambda watchers: watchers.clear(),
    lambda watchers: watchers.pop(),
    lambda watchers: watchers.__setitem__(0, Exits()),
    lambda watchers: watchers.reverse(),
], ids=["append", "insert", "+=", "clear", "pop", "[0] =", "reverse"])
def test_whatever_changes_the_list_is_noticed(change: Any) -> None:
    watchers = Instruments()
    watchers.extend([Exits(), More()])
    watchers.listening("exit")
    change(watchers)
    assert [who for who, _ in watchers.listening("exit")] == list(watchers)


def test_one_that_is_equal_is_another_one() -> None:
    class Same(Exits):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None     # type: ignore[assignment]

    watchers = Instruments()
    watchers.append(Same())
    watchers.listening("exit")
    watchers[0] = Same()
    ((told, _),) = watchers.listening("exit")
    assert told is watchers[0]


def test_a_hook_that_cannot_be_asked_for_raises_when_it_is_told() -> None:
    class Bad(Instrument):
        @property
        def exit(self) -> Any:
            raise ZeroDivisionError("no")

    watchers = Instruments()
    watchers.extend([Bad(), Exits()])
    (_, bad), (_, good) = watchers.listening("exit")
    good(1)
    with pytest.raises(ZeroDivisionError, match="no"):
        bad(1)
