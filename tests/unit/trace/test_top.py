"""The table of `ring3 top`: rates between two looks, order, and what fits."""

from __future__ import annotations

import pytest

from ring3.trace.explain.words import columns_of
from ring3.trace.top import COLUMNS, SORTS, Look, Row, View, count, curve, cut, rates, size

SECOND = 10**9


def row(pid: int, *, cpu_ns: int = 0, calls: int | None = 0, resident: int | None = 1 << 20, command: str = "prog") -> Row:
    return Row(pid, 1, 1000, "S", "linux", 1, cpu_ns, resident, calls, command, "read")


def at(seconds: float, *rows: Row, served: int = 0, names: dict[str, int] | None = None) -> Look:
    now = int(seconds * SECOND)
    return Look(now, now, now // 10, rows, served, 3, names or {})


def test_rates_are_differences() -> None:
    before = at(1, row(2, cpu_ns=SECOND, calls=100), served=100, names={"read": 100})
    rows = row(2, cpu_ns=2 * SECOND, calls=300), row(3, cpu_ns=SECOND // 2, calls=50)
    now = at(3, *rows, served=400, names={"read": 150, "write": 150})
    changed = rates(before, now)
    assert changed.seconds == 2
    assert changed.cpu == {2: 0.5, 3: 0.25}
    assert changed.calls == {2: 100, 3: 25}
    assert changed.all_calls == 150
    assert changed.kernel == pytest.approx(0.1)
    assert changed.names == [("write", 0.75), ("read", 0.25)]


def test_a_pid_given_again_has_no_negative_rate() -> None:
    changed = rates(at(1, row(2, cpu_ns=9 * SECOND, calls=900)), at(2, row(2)))
    assert changed.cpu == {2: 0}
    assert changed.calls == {2: 0}


@pytest.mark.parametrize(("sort", "first"), [("cpu", 3), ("calls", 4), ("rss", 5), ("time", 2), ("pid", 2)])
def test_order(sort: str, first: int) -> None:
    rows = (row(2, cpu_ns=9 * SECOND), row(3), row(4), row(5, resident=1 << 30))
    later = (row(2, cpu_ns=9 * SECOND), row(3, cpu_ns=SECOND), row(4, calls=500), row(5, resident=1 << 30))
    view = View(sort=sort)
    view.lines(at(1, *rows), 80)
    assert view.lines(at(2, *later), 80)[4].split()[0] == str(first)


def test_every_sort_names_a_column_with_an_order() -> None:
    assert all(COLUMNS[index].key is not None for index in SORTS.values())


@pytest.mark.parametrize("columns", [20, 48, 80, 140])
@pytest.mark.parametrize("rows", [4, 5, 10, 24])
def test_nothing_is_larger_than_the_window(columns: int, rows: int) -> None:
    view = View("a title " * 20)
    for second in (1, 2, 3):
        wide = [row(pid, command="wide 漢字 " * 30) for pid in range(2, 50)]
        lines = view.lines(at(second, *wide, served=second * 100), columns, rows)
        assert max(map(columns_of, lines)) <= columns
        assert len(lines) <= max(rows, 5)


def test_what_does_not_fit_is_counted() -> None:
    lines = View().lines(at(1, *(row(pid) for pid in range(2, 32))), 80, 14)
    assert lines[-1] == "… and 21 more"


def test_the_same_look_again_keeps_its_rates() -> None:
    view = View()
    view.lines(at(1, row(2), served=0), 80)
    now = at(2, row(2, calls=1234), served=1234)
    first = view.lines(now, 80)
    assert first == view.lines(now, 80)
    assert "1234" in first[4]


def test_what_was_not_measured_is_a_dash() -> None:
    line = View().lines(at(1, row(2, calls=None, resident=None)), 80)[4]
    assert line.split()[7:10] == ["0.00s", "-", "-"]


@pytest.mark.parametrize("value", [0, 1, 999, 1000, 9999, 10_000, 99_999, 123_456, 999_999, 1e6, 9.99e6, 1e9, 5e10])
def test_numbers_fit_their_columns(value: float) -> None:
    assert len(count(value)) <= 7
    assert len(size(int(value))) <= 6


def test_little_things() -> None:
    assert curve([]) == ""
    assert curve([0, 0]) == "▁▁"
    assert cut("漢字漢字", 5) == "漢字…"
