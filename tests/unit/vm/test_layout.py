"""Placement in a new address space, as a pure model."""

from __future__ import annotations

import pytest

from ring3.errors import EEXIST, ENOMEM, EPERM
from ring3.vm.layout import AddressModel

PAGE = 4096


def model(**how: int | bool) -> AddressModel:
    fields = {"min_addr": 0x10000, "user_top": 0x1000000, "mmap_base": 0x800000, **how}
    return AddressModel(**fields)  # type: ignore[arg-type]


def test_top_down() -> None:
    m = model()
    assert [m.place(PAGE), m.place(2 * PAGE), m.place(1)] == [0x7FF000, 0x7FD000, 0x7FC000]
    assert m.total == 4 * PAGE


def test_gaps_are_used_highest_first() -> None:
    m = model()
    m.fix(0x7F0000, 0x8000, replace=False)
    assert m.place(0x8000) == 0x7F8000
    assert m.place(PAGE) == 0x7EF000


def test_what_stands_above_the_base_is_no_obstacle() -> None:
    m = model()
    m.fix(0x900000, PAGE, replace=False)
    assert m.place(PAGE) == 0x7FF000


def test_bottom_up() -> None:
    m = model(legacy=True, mmap_base=0x400000)
    assert [m.place(PAGE), m.place(PAGE)] == [0x400000, 0x401000]


def test_bottom_up_where_nothing_is_left_below() -> None:
    m = model(mmap_base=0x11000)
    assert m.place(PAGE) == 0x10000
    assert m.place(PAGE) == 0x555000
    assert m.place(PAGE) == 0x556000


def test_hint() -> None:
    m = model()
    assert m.place(PAGE, 0x20000) == 0x20000
    assert m.place(PAGE, 0x20000) == 0x7FF000        # taken: wherever there is room
    assert m.place(PAGE, 0x1000) == 0x7FE000         # below what may be used


def test_fixed() -> None:
    m = model()
    m.fix(0x20123, 0x1000, replace=False)
    assert m.ranges == [(0x20000, 0x22000)]
    with pytest.raises(EEXIST):
        m.fix(0x21000, PAGE, replace=False)
    m.fix(0x21000, 2 * PAGE, replace=True)
    assert m.total == 3 * PAGE
    with pytest.raises(EPERM):
        m.fix(0xF000, PAGE, replace=False)
    with pytest.raises(ENOMEM):
        m.fix(0xFFF000, 2 * PAGE, replace=True)
    with pytest.raises(ENOMEM):
        m.fix(1 << 63, PAGE, replace=True)


def test_release_splits() -> None:
    m = model()
    m.fix(0x20000, 5 * PAGE, replace=False)
    m.release(0x21000, 0x22000)
    assert m.ranges == [(0x20000, 0x21000), (0x22000, 0x25000)]
    assert m.total == 4 * PAGE
    assert m.free(0x21000, 0x22000)
    assert not m.free(0x21000, 0x22001)


def test_limit() -> None:
    m = model(limit=4 * PAGE)
    m.place(3 * PAGE)
    with pytest.raises(ENOMEM):
        m.place(2 * PAGE)
    m.place(PAGE)


def test_no_room() -> None:
    with pytest.raises(ENOMEM):
        model().place(0x1000000)
    with pytest.raises(ENOMEM):
        model().place(1 << 60)
