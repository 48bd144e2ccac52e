"""Random system calls of NetBSD programs, both word sizes: the kernel answers every one and stays awake.

The default is a short run of the same seeds each time.  For a long one:

    RING3_ABUSE_CHILDREN=2000 RING3_ABUSE_SEED=1000 python -m pytest tests/abuse/test_netbsd_calls.py
"""

from __future__ import annotations

import os

import pytest

import ring3
from tests.guest.netbsd.build import HERE, build

CHILDREN = int(os.environ.get("RING3_ABUSE_CHILDREN", "30"))       # of 400 calls each
SEED = int(os.environ.get("RING3_ABUSE_SEED", "1"))
BATCH = 30                      # children of one kernel


@pytest.mark.needs_ptrace
@pytest.mark.timeout(60 + CHILDREN)
@pytest.mark.parametrize("how", ["amd64", "i386"])
def test_random_calls(how: str) -> None:
    program = str(build(HERE / "randomcalls.c", how))
    for seed in range(SEED, SEED + -(-CHILDREN // BATCH)):
        with ring3.Kernel() as kernel:                 # raises KernelFault, with the call, when a call meets a bug
            done = kernel.run([program, str(seed), str(min(BATCH, CHILDREN))], capture_output=True, timeout=90, cwd="/")
        assert (done.stdout, done.returncode) == (b"done\n", 0), f"seed {seed}: {done.stderr!r}"
