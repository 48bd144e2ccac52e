"""A fresh guest for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.trace.explain.guest import Guest


@pytest.fixture
def guest() -> Iterator[Guest]:
    made = Guest()
    yield made
    made.close()
