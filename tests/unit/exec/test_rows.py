"""The pages that say which test proves which behaviour of a seed are what the tests say."""

from __future__ import annotations

import pytest

from scripts.exec_rows import PAGES, Row, all_rows, main, render
from tests.rows import row


def test_the_pages_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_every_row_names_a_system_with_a_page() -> None:
    assert {found.system for found in all_rows()} <= set(PAGES)


def test_no_two_rows_of_a_system_say_the_same() -> None:
    said = [(found.system, found.names, found.says) for found in all_rows()]
    assert len(said) == len(set(said))


def test_rows_stand_in_the_order_of_the_seed() -> None:
    rows = [Row("netbsd", "sys_execve", "b", "tests/x.py::b", 1), Row("netbsd", "check_exec, namei", "a | c", "tests/x.py::a", 2)]
    page = render("netbsd", rows)
    assert page.index("## check_exec") < page.index("## sys_execve")
    assert "| check_exec, namei | a \\| c | [`a`](../tests/x.py) |" in page
    assert "\n\n\n" not in page


def test_a_marker_must_name_a_system() -> None:
    with pytest.raises(ValueError, match="plan9"):
        row("plan9", "exec", "runs")
