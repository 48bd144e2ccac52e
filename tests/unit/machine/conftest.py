"""A native machine per test, and the proof that nothing of it stays."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ring3.machine.base import MachineUnavailable
from ring3.machine.native import NativeMachine


def children() -> set[int]:
    """Host processes that are children of this thread, zombies included."""
    return {int(pid) for pid in Path("/proc/thread-self/children").read_text().split()}


def descriptors() -> set[str]:
    return {f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}" for fd in os.listdir("/proc/self/fd")
            if Path(f"/proc/self/fd/{fd}").exists() and "/proc" not in os.readlink(f"/proc/self/fd/{fd}")}


@pytest.fixture
def machine() -> Iterator[NativeMachine]:
    gc.collect()                    # what other tests left goes now, not while this one counts
    before = children(), descriptors(), os.sched_getaffinity(0)
    try:
        made = NativeMachine()
    except MachineUnavailable as error:
        pytest.skip(str(error))
    yield made
    made.close()
    assert (children(), descriptors(), os.sched_getaffinity(0)) == before
