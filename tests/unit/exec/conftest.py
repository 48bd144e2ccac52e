"""A kernel without a CPU: the scripted machine over the host's files, and a process that can exec."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.exec.bench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A fresh kernel for one test."""
    made = Bench()
    yield made
    made.close()
