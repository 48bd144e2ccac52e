"""Random system calls with hostile arguments: the kernel answers every one, stays small, and stays awake.

The default is a short run of the same seeds each time.  For a long one:

    RING3_ABUSE_CALLS=200000 RING3_ABUSE_SEED=1000 python -m pytest tests/abuse/test_random_calls.py
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import ring3
from tests.abuse.guestpython import resident_mib
from tests.guest.build import CannotBuild, build

SOURCE = Path(__file__).parent / "guest" / "randomcalls.c"
CALLS = int(os.environ.get("RING3_ABUSE_CALLS", "3000"))
SEED = int(os.environ.get("RING3_ABUSE_SEED", "1"))
CHILD_CALLS = 150               # of one child
BATCH = 10                      # children of one kernel


@pytest.mark.needs_ptrace
@pytest.mark.timeout(60 + CALLS / 50)
def test_random_calls() -> None:
    try:
        program = build(SOURCE, "x64")
    except CannotBuild as why:
        pytest.skip(str(why))
    children = max(CALLS // CHILD_CALLS, 1)
    before = resident_mib()
    for seed in range(SEED, SEED + children, BATCH):
        with ring3.Kernel() as kernel:                 # raises KernelFault, with the call, when a call meets a bug
            done = kernel.run([str(program), str(seed), str(min(BATCH, children)), str(CHILD_CALLS)], capture_output=True,
                              timeout=90, cwd="/")
            closing = time.monotonic()
        assert time.monotonic() - closing < 10, f"seed {seed}: closing took too long"
        assert (done.stdout, done.returncode) == (b"done\n", 0), f"seed {seed}: {done.stderr!r}"
    assert resident_mib() - before < 512
