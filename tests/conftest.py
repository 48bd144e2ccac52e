"""Options and fixtures for the whole suite."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--judge N`: leave ring3 out and ask whether the native runs agree with each other."""
    parser.addoption("--judge", type=int, default=0, metavar="N",
                     help="compare N more native runs of each case with the first instead of running ring3")


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How many native runs to compare; 0 means that ring3 is compared."""
    value: int = request.config.getoption("--judge")
    return value
