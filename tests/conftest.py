"""Options, fixtures and settings for the whole suite.

The examples hypothesis tries are the same in every run, so that green here is green elsewhere; `RING3_EXPLORE=N` tries
N new ones in each property test instead.  No example has a time limit: the machine may be busy.
"""

from __future__ import annotations

import os

import hypothesis
import pytest

_EXPLORE = int(os.environ.get("RING3_EXPLORE", "0"))
hypothesis.settings.register_profile("same", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=max(_EXPLORE, 1))
hypothesis.settings.load_profile("explore" if _EXPLORE else "same")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--judge N`: leave ring3 out and ask whether the native runs agree with each other."""
    parser.addoption("--judge", type=int, default=0, metavar="N",
                     help="compare N more native runs of each case with the first instead of running ring3")


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How many native runs to compare; 0 means that ring3 is compared."""
    value: int = request.config.getoption("--judge")
    return value
