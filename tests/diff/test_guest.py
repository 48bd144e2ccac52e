"""Small programs on the host kernel and in ours: same output, same errors, same end.

The programs are tests/guest/*.c, one test per CASE and build.  What ring3 is known to get wrong stands in
known_failures.toml with its reason; a case listed there that passes fails the run, so the list can only shrink honestly.
"""

from __future__ import annotations

import functools
import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests import judge
from tests.guest.build import CannotBuild, Case, build_case, cases

RATCHET = Path(__file__).with_name("known_failures.toml")


def known_failures() -> dict[str, str]:
    """Case ids, and why they fail."""
    listed: dict[str, str] = tomllib.loads(RATCHET.read_text())["cases"]
    return listed


@functools.cache
def host_runs_i386() -> bool:
    """Whether this host kernel runs 32-bit programs at all."""
    case = next(case for case in cases() if case.build == "i386")
    try:
        return subprocess.run([build_case(case), "--no-such-case"], capture_output=True, check=False).returncode == 2
    except OSError:
        return False


@pytest.mark.needs_ptrace
@pytest.mark.parametrize("case", list(cases()), ids=str)
def test_same_as_the_host(case: Case, rounds: int, request: pytest.FixtureRequest) -> None:
    reason = known_failures().get(str(case))
    if reason is not None and not rounds and (os.geteuid() == 0 or not reason.startswith("root ")):
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    if case.build == "i386" and not host_runs_i386():
        pytest.skip("this host does not run i386 programs")
    try:
        program = build_case(case)
    except CannotBuild as why:
        pytest.skip(str(why))
    judge.compare([str(program), case.name], rounds=rounds, timeout=90)


def test_every_known_failure_is_a_case_with_a_reason() -> None:
    every = {str(case) for case in cases()}
    for name, reason in known_failures().items():
        assert name in every, f"{RATCHET.name} lists {name}, which does not exist"
        assert len(reason) > 10, f"{name}: say why it fails"


def test_case_names_are_unique() -> None:
    every = [str(case) for case in cases()]
    assert len(every) == len(set(every))
