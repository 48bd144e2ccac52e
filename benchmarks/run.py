"""All benchmarks in one run, ring3 beside native, gVisor, qemu-user and Qiling where they are installed.

    python -m benchmarks.run [--repeats N] [--only WORD] [--json FILE] [--cpu N]

Affinity is part of every figure: a stop costs five times as much when kernel and guest sit on different CPUs.  "pinned" is one CPU
for everything a measurement starts; "free" leaves it to the scheduler.  Compare ratios within one run, never times between runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.measure import Figure, Table, output_of, pinned, rounds, wall_ms
from benchmarks.peers import RING3, Peer, peers
from tests.guest.build import CannotBuild, build
from tests.guest.netbsd.build import build as build_netbsd
from tests.guest.serenity.build import build as build_serenity

HERE = Path(__file__).parent
PYTHON = sys.executable


def guest(name: str, how: str = "x64") -> str:
    """The path of a compiled program of guest/."""
    return str(build(HERE / "guest" / f"{name}.c", how))


Measures = dict[str, Callable[[], float] | str]


def under_all(everyone: list[Peer], measure: Callable[[list[str]], float], command: list[str]) -> Measures:
    """The same command under each peer."""
    return {peer.name: partial(measure, peer.wrap(command)) if peer.wrap else "absent" for peer in everyone}


def by_wall(peer: Peer, program: str, rounds_run: int, unit_ms: float) -> Callable[[], float] | str:
    """For a peer whose guests have no true clock: what `rounds_run` rounds more take from outside, for each, in `unit_ms`."""
    wrap = peer.wrap
    if wrap is None:
        return "absent"

    def measure() -> float:
        less, more = (wall_ms(wrap([program, str(n)])) for n in (rounds_run, 2 * rounds_run))
        return (more - less) / rounds_run / unit_ms

    return measure


def named(everyone: list[Peer], name: str) -> Peer:
    """The peer of that name."""
    return next(peer for peer in everyone if peer.name == name)


def cpu_loop(everyone: list[Peer], repeats: int, cpu: int) -> Table:
    """Does the guest run at the speed of the CPU?"""
    table = Table("a loop that computes", "ns a round", f"pinned to CPU {cpu}", "ring3 within 2 % of native")
    measures = under_all(everyone, output_of, [guest("loop"), "100000000"])
    measures["qiling"] = by_wall(named(everyone, "qiling"), guest("loop"), 40_000_000, 1e-6)
    return rounds(table, measures, repeats, {cpu})


def system_call(everyone: list[Peer], repeats: int, cpu: int) -> Table:
    """What does a call cost, and how much of it is ours?"""
    table = Table("getppid", "µs a call", f"pinned to CPU {cpu}", "ring3 at most 8 µs over the bare stop")
    bare = str(build(HERE / "bare_stop.c", "x64"))
    measures = under_all(everyone, output_of, [guest("getppid"), "20000"])
    measures = {"native": measures.pop("native"), "bare stop (C, no Python)": partial(output_of, [bare, "20000"]), **measures}
    measures["qiling"] = by_wall(named(everyone, "qiling"), guest("getppid"), 5000, 1e-3)
    rounds(table, measures, repeats, {cpu})
    ours, floor = table.median("ring3"), table.median("bare stop (C, no Python)")
    if ours is not None and floor is not None:
        table.notes.append(f"ring3 adds {ours - floor:.2f} µs to the bare stop")
    return table


def other_systems(repeats: int, cpu: int) -> Table:
    """Does a call of another system's program cost more than a Linux one's?"""
    table = Table("getppid, three systems", "µs a call", f"pinned to CPU {cpu}", "NetBSD at most 1.05 of Linux")
    commands = {
        "linux": ["--", guest("getppid")], "netbsd": ["--", str(build_netbsd(HERE / "guest" / "netbsd" / "getppid.c"))],
        "serenity": ["--as", "serenity", "--", str(build_serenity(HERE / "guest" / "serenity" / "getppid.c"))],
    }
    measures: Measures = {name: partial(output_of, [RING3, "run", *words, "20000"]) for name, words in commands.items()}
    rounds(table, measures, repeats, {cpu})
    linux = table.median("linux")
    for name, label in (("netbsd", "NetBSD"), ("serenity", "SerenityOS")):
        found = table.median(name)
        if linux is not None and found is not None:
            table.notes.append(f"{label} / Linux {found / linux:.2f}")
    return table


def forks(everyone: list[Peer], repeats: int, cpu: int) -> Iterator[Table]:
    """A process made, ended and waited for."""
    for affinity, cpus in ((f"pinned to CPU {cpu}", {cpu}), ("free", None)):
        table = Table("fork, exit, wait inside a guest", "ms", affinity, "ring3 at most 0.6 ms")
        measures = under_all(everyone, output_of, [guest("forks"), "200"])
        measures["qiling"] = by_wall(named(everyone, "qiling"), guest("forks"), 20, 1.0)
        yield rounds(table, measures, repeats, cpus)


def warm_runs(repeats: int, cpu: int) -> Iterator[Table]:
    """A program in a kernel that is already there, against subprocess.run."""
    native = (
        "import subprocess as s, statistics as t, sys, time\n"
        "def once(a=time.perf_counter_ns):\n    b = a(); s.run(sys.argv[1:], check=True); return (a() - b) / 1e6\n"
        "print(t.median(once() for _ in range(30)))"
    )
    for kind, how, target in (("static", "x64", "ring3 at most 2 ms"), ("dynamic", "gnu", "ring3 at most 5 ms")):
        try:
            program = guest("true", how)
        except CannotBuild as why:
            print(f"warm run, {kind}: {why}")
            continue
        for affinity, cpus in ((f"pinned to CPU {cpu}", {cpu}), ("free", None)):
            table = Table(f"warm run of a {kind} true", "ms", affinity, target)
            yield rounds(table, {
                "native subprocess.run": partial(output_of, [PYTHON, "-c", native, program]),
                "ring3 Kernel.run": partial(output_of, [PYTHON, "-m", "benchmarks.in_kernel", "warm", program, "30"]),
            }, repeats, cpus)


def cold_run(everyone: list[Peer], repeats: int) -> Table:
    """From the shell's prompt and back."""
    table = Table("cold run of /bin/true", "ms", "free", "ring3 at most 60 ms")
    return rounds(table, under_all(everyone, wall_ms, ["/bin/true"]), repeats * 3, None)


def importing(repeats: int) -> Table:
    """What `import ring3` adds to a Python that starts anyway."""
    table = Table("import ring3", "ms", "free", "at most 40 ms over the empty program")
    rounds(table, {
        "python -c pass": partial(wall_ms, [PYTHON, "-c", "pass"]),
        "python -c 'import ring3'": partial(wall_ms, [PYTHON, "-c", "import ring3"]),
        "ring3 --help": partial(wall_ms, [RING3, "--help"]),
    }, repeats * 3, None)
    ours, empty = table.median("python -c 'import ring3'"), table.median("python -c pass")
    if ours is not None and empty is not None:
        table.notes.append(f"the import itself: {ours - empty:.1f} ms")
    return table


def explaining(repeats: int) -> Table:
    """`ring3 explain` from the shell's prompt and back."""
    table = Table("cold ring3 explain", "ms", "free", "/bin/ls as text at most 100 ms", with_ratios=False)
    pages = {"/bin/ls": (), "/bin/ls --json": ("--json",), "/bin/ls as linux,netbsd": ("--as", "linux,netbsd")}
    measures = {name: partial(wall_ms, [RING3, "explain", *words, "/bin/ls"]) for name, words in pages.items()}
    return rounds(table, measures, repeats * 3, None)


def many_processes(count: int) -> Table:
    """How many guests fit, and what each weighs."""
    table = Table(f"{count} live guest processes in one kernel", "as named", "free", with_ratios=False)
    with pinned(None):
        done = subprocess.run([PYTHON, "-m", "benchmarks.in_kernel", "many", guest("sleepers"), str(count)],
                              capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        table.rows["ring3"] = f"failed: {done.stderr.strip().splitlines()[-1][:120] if done.stderr.strip() else done.returncode}"
        return table
    figures: dict[str, float] = json.loads(done.stdout)
    for name, unit in (("seconds", "s to start them all"), ("stubs", "host processes"),
                       ("kernel_kib_each", "KiB of Python each"), ("stub_kib_each", "KiB of stub each (proportional)")):
        table.rows[unit] = Figure((figures[name],))
    return table


def tables(repeats: int, cpu: int, only: str) -> Iterator[Table]:
    """Every benchmark whose name holds `only`."""
    everyone = peers()
    plan: dict[str, Callable[[], Table | Iterator[Table]]] = {
        "loop": lambda: cpu_loop(everyone, repeats, cpu),
        "getppid": lambda: system_call(everyone, repeats, cpu),
        "systems": lambda: other_systems(repeats, cpu),
        "forks": lambda: forks(everyone, repeats, cpu),
        "warm": lambda: warm_runs(repeats, cpu),
        "cold": lambda: cold_run(everyone, repeats),
        "import": lambda: importing(repeats),
        "explain": lambda: explaining(repeats),
        "many": lambda: many_processes(500),
    }
    for name, benchmark in plan.items():
        if only in name:
            result = benchmark()
            yield from [result] if isinstance(result, Table) else result


def main() -> None:
    """Run, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of each measurement (default 5)")
    names = "loop, getppid, systems, forks, warm, cold, import, explain or many"
    parser.add_argument("--only", default="", metavar="WORD", help=names)
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)), help="the CPU for pinned measurements")
    parser.add_argument("--json", metavar="FILE", help="also write the figures there")
    options = parser.parse_args()
    print(f"{platform.system()} {platform.release()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; "
          f"median (min … max) of {options.repeats} interleaved rounds\n")
    done = []
    for table in tables(options.repeats, options.cpu, options.only):
        print(table.show(), end="\n\n", flush=True)
        done.append(table.as_json())
    if options.json:
        Path(options.json).write_text(json.dumps({"kernel": platform.release(), "tables": done}, indent=1) + "\n")


if __name__ == "__main__":
    main()
