"""Descriptor numbers: always the lowest that is free, whatever was done before, at a cost that numbers do not drive up."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ring3.abi.flags import OpenFlags
from ring3.errors import EBADF, EMFILE
from ring3.proc.fdtable import FdTable
from ring3.vfs.file import File

NUMBERS = st.integers(0, 12)
STEPS = st.one_of(
    st.tuples(st.just("open"), st.integers(0, 6)), st.tuples(st.just("set"), NUMBERS), st.tuples(st.just("close"), NUMBERS),
    st.tuples(st.just("fork"), st.just(0)), st.tuples(st.just("close many"), st.just(0)),
)


@given(st.lists(STEPS, max_size=60))
def test_the_lowest_free_number_is_given(steps: list[tuple[str, int]]) -> None:
    table, file, taken = FdTable(), File(None, OpenFlags.RDONLY), set[int]()
    for what, number in steps:
        if what == "open":
            lowest = next(fd for fd in range(number, 100) if fd not in taken)
            assert table.install(file, minimum=number, limit=100) == lowest
            taken.add(lowest)
        elif what == "set":
            table.set(number, file)
            taken.add(number)
        elif what == "fork":
            table = table.fork()
        elif what == "close many":
            for fd in sorted(taken)[2:]:
                table.close(fd)
                taken.discard(fd)
        elif number in taken:
            table.close(number)
            taken.discard(number)
        else:
            with pytest.raises(EBADF):
                table.close(number)
        assert set(table) == taken


def test_a_high_number_costs_no_more_than_a_low_one() -> None:
    """dup2(0, 1 << 30) then fork: where descriptors are not limited that was gigabytes of free numbers."""
    table, file = FdTable(), File(None, OpenFlags.RDONLY)
    began = time.monotonic()
    for number in (1 << 30, 1 << 29):
        table.set(number, file)
    for _ in range(100):
        table.fork()
    assert time.monotonic() - began < 30
    assert table.lowest() == 0


def test_taking_and_closing_the_same_numbers_keeps_nothing() -> None:
    table, file = FdTable(), File(None, OpenFlags.RDONLY)
    for _ in range(3):
        table.install(file, limit=100)
    for _ in range(1000):
        table.set(7, file)
        table.close(7)
        table.close(1)
        assert table.install(file, limit=100) == 1
    assert len(table._free) < 100
    for _ in range(3, 2000):
        table.install(file, limit=5000)
    for fd in range(3, 2000):
        table.close(fd)
    assert len(table._free) < 100
    assert table.install(file, limit=100) == 3


def test_a_full_table() -> None:
    table, file = FdTable(), File(None, OpenFlags.RDONLY)
    for _ in range(5):
        table.install(file, limit=5)
    with pytest.raises(EMFILE):
        table.install(file, limit=5)
    table.close(2)
    assert table.install(file, limit=5) == 2
