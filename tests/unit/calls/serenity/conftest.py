"""A SerenityOS process for the calls to serve: the fixtures `stage` and `g`."""

from __future__ import annotations

import pytest

from tests.unit.calls.serenity.guest import SerenityGuest, serenity_guest
from tests.unit.calls.stage import Stage, stage

__all__ = ["g", "stage"]


@pytest.fixture
def g(stage: Stage) -> SerenityGuest:
    """A process of root's on the stage."""
    return serenity_guest(stage)
