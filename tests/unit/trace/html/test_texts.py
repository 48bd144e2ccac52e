"""The table of strings: every number leads back to its string, whatever was forgotten meanwhile."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ring3.trace.html import texts
from ring3.trace.html.texts import Texts


@given(st.lists(st.tuples(st.text(max_size=4), st.booleans())))
def test_a_number_leads_back(rows: list[tuple[str, bool]]) -> None:
    table = Texts()
    numbers = [table.add(text, stays=stays) for text, stays in rows]
    assert [table[number] for number in numbers] == [text for text, _ in rows]
    assert table[0] == ""
    assert len(list(table)) == len(table)
    again = {text: number for number, (text, stays) in zip(numbers, rows, strict=True) if stays}
    assert all(table.add(text) == number for text, number in again.items())


def test_strings_that_stay_have_one_number_for_ever() -> None:
    table = Texts()
    first = table.add("openat", stays=True)
    for number in range(texts._RECENT + 10):
        table.add(f"{number}, SEEK_SET")
    assert table.add("openat") == table.add("openat", stays=True) == first
    assert table.knows("openat")
    assert not table.knows("0, SEEK_SET")
    assert table[table.add("0, SEEK_SET")] == "0, SEEK_SET"


def test_a_million_strings_stay_small() -> None:
    table = Texts()
    for number in range(50_000):
        table.add(f"3, {number}, SEEK_SET")
    assert len(table._data) + 8 * len(table._ends) < 50_000 * 40
    assert len(table._recent) <= texts._RECENT
