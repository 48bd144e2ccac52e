"""A report of a made-up run, and browsers to look at it with.  Without chromium every test here is a counted skip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.driver import CHROMEDRIVER, CHROMIUM, Browser
from tests.browser.runs import written

HOSTILE = '</script><img src=x onerror="document.title=1"><!--<script>'


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One skip a test, so that the summary counts what was not looked at."""
    if CHROMIUM is None or CHROMEDRIVER is None:
        here = Path(__file__).parent
        for item in items:
            if here in item.path.parents and "browser" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason="chromium and chromium-driver are not installed"))


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report of 5000 calls, in which one call in seven and some names are hostile."""
    path = tmp_path_factory.mktemp("report") / "run.html"
    written(path, calls=5000, hostile=HOSTILE)
    return path.as_uri()


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    """A browser for a whole module."""
    with Browser() as opened:
        yield opened


@pytest.fixture
def browser(window: Browser, report: str) -> Browser:
    """The browser, with the report freshly open."""
    window.open(report)
    window.wait_for("document.documentElement.dataset.ready")
    return window
