"""What watching costs: the same command without it, with ring3's strace text, and under strace -f natively; all pinned to one CPU.

    python -m benchmarks.trace [--repeats N] [--cpu N]

Prints medians and the ratios that count: traced over untraced under ring3, and ring3's text over strace's, each for a call.  Then
what a million calls weigh in a recorder (the HTML report's), measured in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.guest.build import build

RING3 = str(Path(sys.executable).parent / "ring3")
LIMIT = 1.5
MANY = 1_000_000
MOST_MIB = 300


def wall_ms(command: list[str], cpu: int) -> float:
    """How long it takes, with everything it starts on one CPU."""
    began = time.perf_counter()
    subprocess.run(["taskset", "-c", str(cpu), *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return (time.perf_counter() - began) * 1000


def calls_in(path: str) -> int:
    """How many calls a trace shows."""
    with open(path, errors="replace") as file:
        return sum(" = " in line for line in file)


def measure(name: str, command: list[str], repeats: int, cpu: int) -> float:
    """One row; the ratio of ring3 traced to untraced."""
    with tempfile.TemporaryDirectory() as scratch:
        ours, theirs = f"{scratch}/ring3", f"{scratch}/strace"
        ways = {
            "native": command,
            "ring3": [RING3, "run", "--", *command],
            "ring3 traced": [RING3, "run", f"--strace={ours}", "--", *command],
        }
        if shutil.which("strace"):
            ways["strace -f"] = ["strace", "-f", "-o", theirs, *command]
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(repeats):
            for way, words in ways.items():
                times[way].append(wall_ms(words, cpu))
        medians = {way: statistics.median(found) for way, found in times.items()}
        calls = calls_in(ours)
    ratio = medians["ring3 traced"] / medians["ring3"]
    text_us = (medians["ring3 traced"] - medians["ring3"]) * 1000 / calls
    row = f"{name:12} {calls:7} calls" + "".join(f"   {way} {ms:.0f} ms" for way, ms in medians.items())
    row += f"   traced/untraced {ratio:.2f}   text {text_us:.1f} us a call"
    if "strace -f" in medians:
        strace_us = (medians["strace -f"] - medians["native"]) * 1000 / calls
        whole_us = (medians["ring3 traced"] - 50) * 1000 / calls
        row += f"   strace {strace_us:.1f} us a call   (ring3 kernel and text {whole_us:.1f})"
    print(row)
    return ratio


def recorder_mib(seeks: str, cpu: int) -> tuple[int, float]:
    """How many calls a recorder kept, and by how many MiB the process grew meanwhile."""
    words = ["taskset", "-c", str(cpu), sys.executable, "-m", "benchmarks.trace", "--record", seeks]
    kept, grown = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    return int(kept), float(grown)


def record(seeks: str) -> None:
    """Run a million calls with a recorder, each with other arguments and another result; print how many it kept, and MiB."""
    import ring3
    from ring3.trace.html import Recorder

    recorder = Recorder()
    with ring3.Kernel(instruments=[recorder]) as kernel:
        kernel.run([seeks, "1000"], check=True)
        before = resident_mib()
        kernel.run([seeks, str(MANY)], check=True)
        print(recorder.document.call_count, resident_mib() - before)


def resident_mib() -> float:
    """Memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def main() -> int:
    """Print the rows; status 1 when one is over its limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cpu", type=int, default=min(os.sched_getaffinity(0)))
    parser.add_argument("--record", metavar="PROGRAM", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.record:
        record(options.record)
        return 0
    getppid = str(build(Path(__file__).parent / "guest" / "getppid.c", "x64"))
    rows = (
        ("getppid", [getppid, "20000"]),
        ("find", ["find", "/usr/share/doc", "-name", "x*"]),
        ("shell", ["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do cat /etc/hostname | sort; done"]),
    )
    worst = max(measure(name, command, options.repeats, options.cpu) for name, command in rows)
    print(f"worst traced/untraced: {worst:.2f} (at most {LIMIT})")
    kept, grown = recorder_mib(str(build(Path(__file__).parent / "guest" / "seeks.c", "x64")), options.cpu)
    print(f"a recorder holds {grown:.0f} MiB for {kept} calls (at most {MOST_MIB})")
    return int(worst > LIMIT or grown > MOST_MIB)


if __name__ == "__main__":
    raise SystemExit(main())
