"""Rows: which behaviour of a seed a test proves.  `scripts/exec_rows.py` collects them into docs/*-exec.md.

    @row("netbsd", "check_exec", "a file that is not regular is refused with EACCES")
    def test_a_directory_is_not_run(...): ...

The marker does nothing while tests run: it is read from the source.  Arguments are literals: the system, the names in the seed (or
the reference) that the behaviour comes from, one sentence in our own words.  A test may carry several.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T", bound=Callable[..., object])

SYSTEMS = ("netbsd", "serenity")


def row(system: str, names: str, says: str) -> Callable[[T], T]:
    """Mark a test as the proof of one behaviour.  Raises ValueError for a system without a page."""
    if system not in SYSTEMS or not names or not says:
        raise ValueError(f"row({system!r}, {names!r}, {says!r}): a system of {SYSTEMS}, names of the seed, a sentence")

    def mark(test: T) -> T:
        return test

    return mark
