"""What must be measured inside one live kernel; started by run.py as a process of its own, so that it can be pinned.

`python -m benchmarks.in_kernel warm PROGRAM ROUNDS`: milliseconds of one warm kernel.run([PROGRAM]), median.
`python -m benchmarks.in_kernel many PROGRAM COUNT`: COUNT live guest processes, seconds to start them and KiB of each.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time

import ring3


def warm(program: str, rounds: int) -> float:
    """Milliseconds of one run in a kernel that has run it before."""
    with ring3.Kernel() as kernel:
        for _ in range(5):
            kernel.run([program], check=True)
        times = []
        for _ in range(rounds):
            start = time.perf_counter_ns()
            kernel.run([program], check=True)
            times.append((time.perf_counter_ns() - start) / 1e6)
    return statistics.median(times)


def proportional_kib(pid: int) -> int:
    """Memory of one host process, shared pages divided by how many share them."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def descendants() -> list[int]:
    """Children of this process, and theirs."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stat:
                    parents[int(name)] = int(stat.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found: list[int] = []
    frontier = {os.getpid()}
    while frontier:
        frontier = {pid for pid, parent in parents.items() if parent in frontier}
        found.extend(frontier)
    return found


def many(program: str, count: int) -> dict[str, float]:
    """Start `count` sleeping processes in one kernel and weigh them."""
    with ring3.Kernel() as kernel:
        kernel.run(["/bin/true"], check=True)
        before = proportional_kib(os.getpid())
        start = time.perf_counter()
        process = kernel.spawn([program, str(count)], stdin=ring3.PIPE, stdout=ring3.PIPE)
        said = process.stdout.readline() if process.stdout else b""
        seconds = time.perf_counter() - start
        if said != f"{count} alive\n".encode():
            raise SystemExit(f"the guest said {said!r}")
        stubs = descendants()
        result = {
            "seconds": seconds,
            "stubs": len(stubs),
            "kernel_kib_each": (proportional_kib(os.getpid()) - before) / count,
            "stub_kib_each": sum(map(proportional_kib, stubs)) / count,
        }
        process.communicate(timeout=60)
    return result


if __name__ == "__main__":
    what, name, number = sys.argv[1:]
    print(json.dumps(warm(name, int(number)) if what == "warm" else many(name, int(number))))
