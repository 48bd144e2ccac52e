"""Mutated executable files through check and plan, some of them really run: a refusal, a death or a run, and nothing else.

    python scripts/fuzz_exec.py                             100 000 files checked, 2000 of them run (some minutes)
    python scripts/fuzz_exec.py --count 5000 --run 100      fewer
    python scripts/fuzz_exec.py --system linux --seed 7     files of another system, another sequence
    python scripts/fuzz_exec.py --show 4711 > file          write file number 4711 of the sequence

The same seed gives the same files and the same verdicts; their digest says so.  Status 1 when anything but a verdict came of
a file, or when one took more memory than `MOST_MEMORY`; such a file's number is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

TOP = Path(__file__).parents[1]
sys.path.insert(0, str(TOP))

MOST_MEMORY = 64 << 20
TIME_LIMIT = 2.0            # seconds a file may run
INTERESTING = (
    0, 1, 2, 3, 4, 7, 8, 0x1F, 0x20, 0x38, 0x40, 0x7F, 0x80, 0xFF, 0x100, 0xFFF, 0x1000, 0x1001, 0x7FFF, 0x8000, 0xFFFF, 0x10000,
    0x7FFFFFFF, 0x80000000, 0xBFFFFFFF, 0xFFFFF000, 0xFFFFFFFF, 1 << 32, 1 << 46, 0x7F7FFFFFF000, (1 << 47) - 4096, 1 << 47,
    (1 << 62) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 4096, (1 << 64) - 1, 0x6474E551, 0x6474E552,
)


class Seed(NamedTuple):
    """A file that is right, and the system whose process asks for it; it stands at `place` when `asks` is asked for."""

    name: str
    data: bytes
    caller: str
    place: str = "program"
    asks: str = "program"


class System(NamedTuple):
    """Seeds, and the files that stand around them: all there is in the guest's root.  `runs`: its calls are there too.

    `asked_by`: systems whose own processes ask for files that are run, because no other's would take them for what they are.
    """

    seeds: list[Seed]
    tree: dict[str, bytes]
    runs: bool = True
    asked_by: tuple[str, ...] = ()


class Report(NamedTuple):
    """What came of it: verdicts by name, what was no verdict, the most memory that all attempts took together, in bytes."""

    verdicts: Counter[str]
    failures: list[str]
    memory: int
    seconds: float
    digest: str


# --- seeds
def netbsd_files() -> System:
    """ELF64, ELF32 and a.out of NetBSD, and loaders, asked for by NetBSD and Linux processes."""
    from ring3.abi.elf import EM_386, ET_DYN
    from tests.guest.netbsd.build import HERE, build
    from tests.unit.exec import aouts, images, netbsd
    from tests.unit.exec.images import DATA, load

    bss = load(0x600000, filesz=0x10, memsz=0x5000, flags=DATA)
    files = {
        "elf64": netbsd.branded(bss), "elf64-pie": netbsd.branded(base=0, type=ET_DYN),
        "elf64-pax": netbsd.branded(notes=netbsd.IDENT + netbsd.pax(0x22)), "elf32": netbsd.branded(bss, machine=EM_386),
        "elf64-dynamic": netbsd.dynamic(b"/usr/libexec/ld.elf_so", bss),
        "real64": build(HERE / "tools" / "files.c").read_bytes(), "real32": build(HERE / "tools" / "files.c", "i386").read_bytes(),
        "elf32-dynamic": netbsd.dynamic(b"/libexec/ld.elf_so", machine=EM_386), **aouts.runnable(),
    }
    loader64, loader32 = images.pie(bss), images.pie(machine=EM_386)
    seeds = [Seed(name, data, caller) for name, data in files.items() for caller in ("netbsd", "netbsd", "linux")]
    seeds += [Seed("loader64", loader64, caller, "loader", "dynamic64") for caller in ("netbsd", "netbsd", "linux")]
    seeds += [Seed("loader32", loader32, caller, "loader", "dynamic32") for caller in ("netbsd", "linux")]
    return System(seeds, {
        "usr/libexec/ld.elf_so": loader64, "libexec/ld.elf_so": loader32, "bin/sh": netbsd.branded(),
        "dynamic64": netbsd.dynamic(b"/loader", bss), "dynamic32": netbsd.dynamic(b"/loader", machine=EM_386),
    })


def linux_files() -> System:
    """ELF files of Linux, static, with an interpreter, position-independent, loaders and scripts."""
    from ring3.abi.elf import EM_386
    from tests.guest.build import HERE, build
    from tests.unit.exec import images

    bss = images.load(0x600000, filesz=0x10, memsz=0x5000, flags=images.DATA)
    loader = b"/lib64/ld-linux-x86-64.so.2"
    files = {
        "elf64": images.program(bss, images.stack(6)), "elf64-pie": images.pie(bss, images.stack(7)),
        "elf32": images.program(bss, machine=EM_386), "elf32-pie": images.pie(machine=EM_386),
        "elf64-dynamic": images.interpreted(loader), "elf64-pie-dynamic": images.pie_interpreted(loader),
        "real64": build(HERE / "pipes.c", "x64").read_bytes(),
        "script": b"#!/bin/sh -x\nexit 3\n", "script-argument": b"#! /bin/sh  a b c\nexit 4\n", "nested": b"#!/script x\n",
    }
    callers = ("linux", "linux", "netbsd")
    seeds = [Seed(name, data, caller) for name, data in files.items() for caller in callers]
    seeds += [Seed("loader64", images.pie(bss), caller, "loader", "dynamic64") for caller in callers]
    seeds += [Seed("loader32", images.pie(machine=EM_386), caller, "loader", "dynamic32") for caller in callers]
    return System(seeds, {
        loader.decode()[1:]: images.pie(bss), "bin/sh": images.program(), "script": files["script"],
        "dynamic64": images.pie_interpreted(b"/loader"), "dynamic32": images.interpreted(b"/loader", machine=EM_386),
    })


def serenity_files() -> System:
    """ELF files of SerenityOS, with and without its loader, and the loader itself; real ones among them."""
    from tests.guest.serenity.build import DYNAMIC, HERE, build
    from tests.unit.exec import test_serenity_rows as images

    good = images.image(images.READ, images.CODE, images.DATA)
    loader = build(DYNAMIC / "loader.c").read_bytes()
    seeds = [Seed(name, data, caller) for caller in ("serenity", "serenity", "linux") for name, data in (
        ("static", good), ("dynamic", images.loads(b"/usr/lib/Loader.so")), ("script", b"#!/program-itself a b\n"),
        ("fixed", images.image(images.READ._replace(vaddr=0x400000), images.CODE._replace(vaddr=0x401000), kind=2, entry=0x401000)),
        ("real", build(HERE / "startup.c").read_bytes()), ("real-dynamic", build(DYNAMIC / "program.c", "loader").read_bytes()),
    )]
    seeds += [Seed("loader", data, "serenity", "loader", "loaded") for data in (good, loader)]
    return System(seeds, {
        "usr/lib/Loader.so": loader, "usr/lib/libsystem.so": build(DYNAMIC / "libsystem.c", "library").read_bytes(),
        "program-itself": good, "loaded": images.loads(b"/loader"),
    }, asked_by=("serenity",))


def foreign_files() -> System:
    """Programs of systems that are not here: only recognised."""
    from tests.unit.exec import test_foreign as images

    whole = [*images.FILES, *images.BRANDED, ("SCO", images.sco(images.SCO))]
    return System([Seed(name, data, caller) for name, data in whole for caller in ("netbsd", "linux")], {}, runs=False)


SYSTEMS: Mapping[str, Callable[[], System]] = MappingProxyType({
    "netbsd": netbsd_files, "linux": linux_files, "serenity": serenity_files, "foreign": foreign_files,
})


# --- mutations
def mutated(data: bytes, others: Sequence[Seed], chance: random.Random) -> bytes:
    """A few fields overwritten, mostly in the headers; a cut, a repetition, a piece of another file."""
    work = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 8, 20))):
        if not work:
            break
        at = chance.randrange(min(len(work), chance.choice((32, 64, 64, 256, 1024, 1 << 20))))
        match chance.randrange(9):
            case 0:
                work[at] = chance.randrange(256)
            case 1:
                work[at] ^= 1 << chance.randrange(8)
            case 2 | 3 | 4:
                width = chance.choice((2, 4, 8))
                at &= -chance.choice((1, 2, width))
                value = chance.choice(INTERESTING) if chance.random() < 0.8 else chance.getrandbits(64)
                work[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, chance.choice(("little", "little", "big")))
            case 5:
                width = chance.choice((4, 8))
                at &= -width
                old = int.from_bytes(work[at : at + width], "little")
                new = old + chance.choice((-4096, -1, 1, 4, 4096, 1 << 31)) & (1 << 8 * width) - 1
                work[at : at + width] = new.to_bytes(width, "little")
            case 6:
                del work[at + 1 :]
            case 7:
                other = chance.randrange(len(work))
                nbytes = chance.choice((4, 8, 32, 56))
                work[at : at + nbytes] = work[other : other + nbytes]
            case _:
                other_data = chance.choice(others).data
                nbytes = chance.choice((8, 32, 56, 64, 256))
                work[at : at + nbytes] = other_data[at : at + nbytes]
    return bytes(work)


def file_of(seeds: Sequence[Seed], seed: int, number: int) -> Seed:
    """One file of a sequence: each stands for itself."""
    chance = random.Random(seed << 32 | number)
    origin = chance.choice(seeds)
    return origin._replace(data=mutated(origin.data, seeds, chance))


def files(seeds: Sequence[Seed], count: int, seed: int) -> Iterator[tuple[int, Seed]]:
    """(number, file) of a sequence."""
    for number in range(count):
        yield number, file_of(seeds, seed, number)


def plant(top: Path, system: System) -> None:
    """The files around the seeds, and places for those, all executable."""
    for name, data in {**system.tree, **dict.fromkeys(("program", "loader"), b"")}.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755)


# --- what is done with them
def own_memory() -> int:
    """The most bytes this process ever held, since `forget_peak`."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def forget_peak() -> int:
    """Have that counted anew from what is held now; how much it is (proc(5): clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")
    return own_memory()


def children_memory() -> int:
    """The most bytes that one ended child of this process ever held."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10


def check_files(system: System, count: int, seed: int) -> Report:
    """Each file through check and plan, in a kernel without a CPU."""
    from ring3.errors import Errno
    from ring3.exec.check import check_exec
    from ring3.exec.plan import ExecDeath, ExecPlan
    from ring3.personality import Personalities
    from tests.unit.exec.bench import Bench

    verdicts: Counter[str] = Counter()
    failures: list[str] = []
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as scratch:
        top = Path(scratch)
        plant(top, system)
        bench = Bench(root=scratch)
        bench.system.personalities = Personalities()
        for origin in system.seeds:
            bench.system.personalities[origin.caller].incomplete = ""       # its exec is what is looked at

        def verdict(file: Seed) -> str:
            (top / file.place).write_bytes(file.data)
            bench.t.proc.personality = bench.system.personalities[file.caller]
            try:
                outcome = check_exec(bench.t, bench.request(f"/{file.asks}", [b"a", b"b"], [b"C=1"]))
            except Errno as refusal:
                return refusal.name
            if isinstance(outcome, ExecDeath):
                return f"death {outcome.status:#x}"
            assert isinstance(outcome, ExecPlan)
            outcome.show()
            return f"plan {outcome.format}"

        for origin in system.seeds:                         # everything that is imported late is there now
            verdict(origin)
        before, started, worst = forget_peak(), time.monotonic(), 0
        for number, file in files(system.seeds, count, seed):
            try:
                said = verdict(file)
            except Exception as error:  # noqa: BLE001 - what is looked for
                said = f"file {number}: {type(error).__name__}: {error}"
                failures.append(said)
            else:
                verdicts[said] += 1
            digest.update(said.encode())
            after = own_memory()
            if after - before > max(worst, MOST_MEMORY):
                failures.append(f"file {number}: {after - before} bytes of memory")
            worst = max(worst, after - before)
        seconds = time.monotonic() - started
        bench.close()
    return Report(verdicts, failures, worst, seconds, digest.hexdigest()[:16])


def run_files(system: System, count: int, seed: int) -> Report:
    """Each file run on the native machine, within a time limit, by a process of ring3's own (a Linux one, or `asked_by`)."""
    import ring3

    verdicts: Counter[str] = Counter()
    failures: list[str] = []
    digest = hashlib.sha256()
    earlier = children_memory()
    with tempfile.TemporaryDirectory() as scratch, ring3.Kernel(root=scratch, seed=1) as kernel:
        plant(Path(scratch), system)

        def verdict(file: Seed) -> str:
            (Path(scratch) / file.place).write_bytes(file.data)
            try:
                with kernel.spawn(
                    [f"/{file.asks}", "b"], cwd="/", env={"C": "1"}, stdin=ring3.DEVNULL, stdout=ring3.DEVNULL,
                    stderr=ring3.DEVNULL, personality=file.caller if file.caller in system.asked_by else "linux",
                ) as process:
                    try:
                        status = process.wait(timeout=TIME_LIMIT)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()
                        return "time limit"
            except OSError as refusal:
                return os.strerror(refusal.errno or 0)
            return f"signal {-status}" if status < 0 else "exit"

        for origin in system.seeds:
            verdict(origin)
        before, started, worst = forget_peak(), time.monotonic(), 0
        for number, file in files(system.seeds, count, seed):
            try:
                said = verdict(file)
            except Exception as error:  # noqa: BLE001 - what is looked for
                said = f"file {number}: {type(error).__name__}: {error}"
                failures.append(said)
                digest.update(said.encode())
                break                                       # that kernel has fallen
            verdicts[said] += 1
            digest.update(said.encode())
            after = own_memory()
            if after - before > max(worst, MOST_MEMORY):
                failures.append(f"file {number}: {after - before} bytes of memory")
            worst = max(worst, after - before)
        seconds = time.monotonic() - started
        left = kernel.call(lambda inside: [p.pid for p in inside.procs.values() if p is not inside.init])
        if left:
            failures.append(f"processes left behind: {left}")
    stubs = children_memory()
    stubs = stubs if stubs > earlier else 0                 # what children of before held says nothing
    if stubs > MOST_MEMORY:
        failures.append(f"the largest stub held {stubs} bytes")
    return Report(verdicts, failures, max(worst, stubs), seconds, digest.hexdigest()[:16])


def show(what: str, report: Report) -> None:
    """A report as text."""
    total = sum(report.verdicts.values())
    print(f"{what}: {total} files in {report.seconds:.1f} s, at most {report.memory >> 10} KiB more memory, digest {report.digest}")
    for verdict, times in report.verdicts.most_common():
        print(f"  {times:7}  {verdict}")
    for failure in report.failures[:20]:
        print(f"  FAILED  {failure}")


def main(words: Sequence[str] | None = None) -> int:
    """Do it; the exit status."""
    parser = argparse.ArgumentParser(description="mutated executable files through check and plan, and some of them run")
    parser.add_argument("--system", choices=SYSTEMS, default="netbsd", help="whose files (default: netbsd)")
    parser.add_argument("--count", type=int, default=100_000, help="how many are checked (default: 100000)")
    parser.add_argument("--run", type=int, default=2000, help="how many of them are run (default: 2000)")
    parser.add_argument("--seed", type=int, default=1, help="which sequence (default: 1)")
    parser.add_argument("--show", type=int, metavar="NUMBER", help="write that file to standard output, and do no more")
    chosen = parser.parse_args(words)
    system = SYSTEMS[chosen.system]()
    if chosen.show is not None:
        sys.stdout.buffer.write(file_of(system.seeds, chosen.seed, chosen.show).data)
        return 0
    reports = [("checked", check_files(system, chosen.count, chosen.seed))]
    if chosen.run and system.runs:
        reports.append(("run", run_files(system, chosen.run, chosen.seed)))
    for what, report in reports:
        show(f"{chosen.system}, {what}", report)
    return int(any(report.failures for _, report in reports))


if __name__ == "__main__":
    raise SystemExit(main())
