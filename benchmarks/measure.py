"""Measuring: interleaved rounds, medians with their spread, affinity as an explicit argument."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """What came of several rounds of one measurement."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        return f"{self.median:10.3f}  ({min(self.values):.3f} … {max(self.values):.3f})"


@dataclass(slots=True)
class Table:
    """One benchmark: a title, a unit, the affinity, and a figure (or why there is none) for each who."""

    title: str
    unit: str
    affinity: str
    target: str = ""
    with_ratios: bool = True
    rows: dict[str, Figure | str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def median(self, who: str) -> float | None:
        """The median of this row, if it was measured."""
        row = self.rows.get(who)
        return row.median if isinstance(row, Figure) else None

    def show(self) -> str:
        """The table as text, each row with its ratio to the first."""
        lines = [f"{self.title}  [{self.unit}; {self.affinity}]{'   target: ' + self.target if self.target else ''}"]
        base = next((row.median for row in self.rows.values() if isinstance(row, Figure)), None)
        for who, row in self.rows.items():
            if isinstance(row, str):
                lines.append(f"  {who:32} {row}")
            else:
                ratio = f"{row.median / base:8.2f} times" if base and self.with_ratios else ""
                lines.append(f"  {who:32} {row!s:40} {ratio}".rstrip())
        return "\n".join(lines + [f"  {note}" for note in self.notes])

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "title": self.title, "unit": self.unit, "affinity": self.affinity, "target": self.target, "notes": self.notes,
            "rows": {who: row if isinstance(row, str) else {"median": row.median, "values": row.values}
                     for who, row in self.rows.items()},
        }


@contextlib.contextmanager
def pinned(cpus: set[int] | None) -> Iterator[None]:
    """Commands started inside inherit this affinity; None leaves it."""
    before = os.sched_getaffinity(0)
    if cpus is not None:
        os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def output_of(command: Sequence[str], timeout: float = 300) -> float:
    """The number a command prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"status {done.returncode}: {done.stderr.strip()[-300:]}")
    return float(done.stdout)


def wall_ms(command: Sequence[str], timeout: float = 300) -> float:
    """Milliseconds from starting a command to its end."""
    start = time.perf_counter_ns()
    done = subprocess.run(command, capture_output=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL)
    spent = (time.perf_counter_ns() - start) / 1e6
    if done.returncode:
        raise RuntimeError(f"status {done.returncode}: {done.stderr[-300:]!r}")
    return spent


def rounds(table: Table, measures: Mapping[str, Callable[[], float] | str], repeats: int, cpus: set[int] | None) -> Table:
    """Fill the table: every measure once in each round, so that a slow minute of the machine touches all alike.

    A measure that is a string is a row without figures; one that fails becomes such a row.
    """
    values: dict[str, list[float]] = {who: [] for who in measures}
    for _ in range(repeats):
        for who, measure in measures.items():
            if isinstance(measure, str) or isinstance(table.rows.get(who), str):
                table.rows[who] = measure if isinstance(measure, str) else table.rows[who]
                continue
            try:
                with pinned(cpus):
                    values[who].append(measure())
            except (RuntimeError, ValueError, OSError, subprocess.TimeoutExpired) as error:
                table.rows[who] = f"failed: {str(error).splitlines()[-1][:120]}"
    table.rows = {
        who: row if isinstance(row := table.rows.get(who), str) else Figure(tuple(values[who])) for who in measures
    }
    return table
