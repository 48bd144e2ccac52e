"""The lines of --stats."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ring3.machine.scripted import ScriptedMachine
from ring3.proc.system import System
from ring3.trace.stats import counted, missing, size, summary


def test_missing_calls_are_named_with_how_often() -> None:
    assert missing({"landlock_create_ruleset": 3, "io_uring_setup": 1}) == (
        "2 calls are not implemented and answered ENOSYS: io_uring_setup (1 time), landlock_create_ruleset (3 times)"
    )
    assert missing({"bpf": 2}) == "1 call is not implemented and answered ENOSYS: bpf (2 times)"


@pytest.mark.parametrize(("function", "value", "shown"), [
    (size, 0, "0 bytes"), (size, 1023, "1023 bytes"), (size, 1024, "1.0 KiB"), (size, 5 << 40, "5120.0 GiB"),
    (lambda n: counted(n, "process"), 0, "0 processes"), (lambda n: counted(n, "call"), 1, "1 call"),
])
def test_numbers_for_people(function: Callable[[int], str], value: int, shown: str) -> None:
    assert function(value) == shown


def test_summary_of_a_kernel_that_did_nothing() -> None:
    machine = ScriptedMachine()
    system = System(machine, lambda _t: None, seed=0)
    first, *rest = summary(system).splitlines()
    assert first.startswith("ring3: 0 calls served, 0 processes made, ")
    assert first.endswith(" s, largest address space 0 bytes")
    assert rest == []
    system.count_missing("bpf")
    system.peak_bytes, system.ended_procs = 3 << 20, 2
    lines = summary(system).splitlines()
    assert "2 processes made" in lines[0]
    assert lines[0].endswith("largest address space 3.0 MiB")
    assert lines[1] == "ring3: 1 call is not implemented and answered ENOSYS: bpf (1 time)"
    machine.close()
