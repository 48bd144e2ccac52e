"""Random system calls of SerenityOS programs: the kernel answers every one and stays awake.

The default is a short run of the same seeds each time.  For a long one:

    RING3_ABUSE_CHILDREN=2000 RING3_ABUSE_SEED=1000 python -m pytest tests/abuse/test_serenity_calls.py
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

import ring3
from tests.guest.serenity.build import HERE, build

CHILDREN = int(os.environ.get("RING3_ABUSE_CHILDREN", "30"))       # of 400 calls each
SEED = int(os.environ.get("RING3_ABUSE_SEED", "1"))
BATCH = 30                      # children of one kernel


@pytest.mark.needs_ptrace
@pytest.mark.timeout(60 + CHILDREN)
@pytest.mark.parametrize("user", [0, 1000])
def test_random_calls(user: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        program = Path(place, "randomcalls")
        shutil.copy(build(HERE / "randomcalls.c"), program)
        for path in (program, program.parent):
            path.chmod(0o755)
        for seed in range(SEED, SEED + -(-CHILDREN // BATCH)):
            with ring3.Kernel() as kernel:              # raises KernelFault, with the call, when a call meets a bug
                done = kernel.run(                      # to nowhere: children's children outlive it, and cut and seek in files
                    [str(program), str(seed), str(min(BATCH, CHILDREN))], stdin=ring3.DEVNULL, stdout=ring3.DEVNULL,
                    stderr=ring3.DEVNULL, timeout=90, cwd="/", personality="serenity", user=user, group=user,
                )
            assert done.returncode == 0, f"seed {seed}"
