"""The few lines that `--stats` prints at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ring3.proc.procfs.maps import space_of

if TYPE_CHECKING:
    from ring3.proc.system import System

_SECOND = 1_000_000_000


def summary(system: System) -> str:
    """What a kernel did since it was made, as text; each line begins with "ring3: "."""
    living = [p for p in system.procs.values() if p is not system.init and not p.zombie]
    peak = max((system.peak_bytes, *(vm.peak_bytes for vm in map(space_of, living) if vm is not None)))
    seconds = (system.now_ns() - system.boot_ns) / _SECOND
    made = counted(system.ended_procs + len(living), "process")
    lines = [f"{counted(system.served_calls, 'call')} served, {made} made, {seconds:.3f} s, largest address space {size(peak)}"]
    if system.missing_calls:
        lines.append(missing(system.missing_calls))
    return "".join(f"ring3: {line}\n" for line in lines)


def missing(calls: Mapping[str, int]) -> str:
    """The calls nobody wrote yet, by name.

    >>> missing({"landlock_create_ruleset": 3, "io_uring_setup": 1})
    '2 calls are not implemented and answered ENOSYS: io_uring_setup (1 time), landlock_create_ruleset (3 times)'
    """
    each = ", ".join(f"{name} ({counted(times, 'time')})" for name, times in sorted(calls.items()))
    verb = "is" if len(calls) == 1 else "are"
    return f"{counted(len(calls), 'call')} {verb} not implemented and answered ENOSYS: {each}"


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "call"), counted(2, "process")
    ('1 call', '2 processes')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


def size(nbytes: int) -> str:
    """Bytes for people.

    >>> size(3 << 20), size(5000)
    ('3.0 MiB', '4.9 KiB')
    """
    value, units = float(nbytes), iter(("bytes", "KiB", "MiB", "GiB"))
    unit = next(units)
    while value >= 1024 and unit != "GiB":
        value, unit = value / 1024, next(units)
    return f"{nbytes} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
