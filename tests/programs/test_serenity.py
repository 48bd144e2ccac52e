"""SerenityOS programs: small C ones without a library for everything a call can be.

They check themselves against what SerenityOS promises, line by line; there is no SerenityOS here to compare with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ring3
from tests.guest.serenity.build import build, sources

# Programs that are more than a list of checks.
_BY_HAND: frozenset[str] = frozenset({"crossing", "jailed", "randomcalls", "tells", "under"})


def run(program: Path | str, *args: str, timeout: float = 200, **more: Any) -> tuple[int, list[str], str]:
    """One run: its status, what it printed by lines, what it printed to standard error."""
    with ring3.Kernel() as kernel:
        done = kernel.run([str(program), *args], capture_output=True, timeout=timeout, personality="serenity", **more)
    return done.returncode, done.stdout.decode().splitlines(), done.stderr.decode()


@pytest.mark.needs_ptrace
@pytest.mark.parametrize("source", [path for path in sources() if path.stem not in _BY_HAND], ids=lambda path: str(path.stem))
def test_program_checks_itself(source: Path, tmp_path: Path) -> None:
    status, lines, errors = run(build(source), cwd=tmp_path)
    assert [line for line in lines if line.startswith("FAILED")] == []
    assert (status, errors) == (0, "")
    assert sum(line.startswith("ok ") for line in lines) > 10
