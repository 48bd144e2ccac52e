"""A NetBSD program's call costs what a Linux one's does, in Python instructions: the trap and the way back are the same."""

from __future__ import annotations

import pytest

from benchmarks.systems import CALLS, LIMIT, count


@pytest.mark.parametrize("name", ["getppid", "read", "access", "__clock_gettime50"])
def test_no_more_than_linux(name: str) -> None:
    linux, linux_args, netbsd, netbsd_args, _ = next(row for row in CALLS if row[2] == name)
    assert count("netbsd", netbsd, netbsd_args) - count("linux", linux, linux_args) <= LIMIT
