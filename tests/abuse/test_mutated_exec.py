"""Executable files with fields overwritten, cut off, mixed: a verdict for each, and little memory.  scripts/fuzz_exec.py does more.

RING3_FUZZ is how many files of each system are checked (2000), RING3_FUZZ_RUN how many are run (150), RING3_FUZZ_SEED which
sequence.
"""

from __future__ import annotations

import os
import random
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.fuzz_exec import (
    MOST_MEMORY,
    SYSTEMS,
    Report,
    check_files,
    file_of,
    files,
    forget_peak,
    main,
    mutated,
    own_memory,
    run_files,
)
from tests.unit.exec import images, netbsd

COUNT = int(os.environ.get("RING3_FUZZ", "2000"))
RUN = int(os.environ.get("RING3_FUZZ_RUN", "150"))
SEED = int(os.environ.get("RING3_FUZZ_SEED", "1"))


def right(report: Report, count: int) -> None:
    assert report.failures == []
    assert sum(report.verdicts.values()) == count
    assert report.memory < MOST_MEMORY


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_file_gets_a_verdict(system: str) -> None:
    report = check_files(SYSTEMS[system](), COUNT, SEED)
    right(report, COUNT)
    if system in ("netbsd", "serenity"):
        assert any(name.startswith("plan ") and system in name for name in report.verdicts)
    assert len([name for name in report.verdicts if name.startswith("plan ")]) >= 2
    assert "ENOEXEC" in report.verdicts


@pytest.mark.needs_ptrace
@pytest.mark.parametrize("system", ["netbsd", "linux", "serenity"])
def test_files_that_really_run(system: str) -> None:
    report = run_files(SYSTEMS[system](), RUN, SEED)
    right(report, RUN)
    assert report.verdicts["exit"] > 0
    assert any(name.startswith("signal ") for name in report.verdicts)


def test_the_same_seed_gives_the_same_files_and_verdicts() -> None:
    system = SYSTEMS["netbsd"]()
    assert [*files(system.seeds, 50, 3)] == [*files(system.seeds, 50, 3)]
    assert [*files(system.seeds, 50, 3)] != [*files(system.seeds, 50, 4)]
    one, two = check_files(system, 300, 3), check_files(system, 300, 3)
    assert (one.digest, one.verdicts) == (two.digest, two.verdicts)


@pytest.mark.parametrize(("does", "said"), [
    (lambda: 1 // 0, "ZeroDivisionError"), (lambda: len(b"x" * (4 * MOST_MEMORY)), "bytes of memory"),
])
def test_what_is_no_verdict_is_found(monkeypatch: pytest.MonkeyPatch, does: Callable[[], int], said: str) -> None:
    """The hunter itself: a format that fails or is greedy when a file has an odd length is reported, with the file's number."""
    from ring3.exec.formats import aout

    system = SYSTEMS["netbsd"]()
    system = system._replace(seeds=[seed for seed in system.seeds if seed.name == "omagic32"])
    right_one = aout.netbsd32

    def wrong_one(row: Any, package: Any) -> bool:
        if package.file.size % 2:
            does()
        return right_one(row, package)

    monkeypatch.setattr(aout, "netbsd32", wrong_one)
    found = check_files(system, 40, 1).failures
    assert found
    assert said in found[0]
    number = int(found[0].split()[1].rstrip(":"))
    assert len(file_of(system.seeds, 1, number).data) % 2


def test_a_file_of_the_sequence_can_be_shown(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["--show", "17", "--seed", "5"]) == 0
    shown = capfdbinary.readouterr().out
    assert shown == [file.data for _, file in files(SYSTEMS["netbsd"]().seeds, 18, 5)][17]


@pytest.mark.needs_ptrace
def test_segments_that_all_want_the_same_bytes_of_their_own(tmp_path: Path) -> None:
    """100 segments of 8 MiB, none of which can be shown from the file: over before anything is copied, and not with success."""
    import ring3

    size, path = 8 << 20, tmp_path / "greedy"
    where = [0x1000_0008 + number * 2 * size for number in range(100)]
    segments = [images.load(at, offset=0x2008, filesz=size, flags=images.DATA, align=1) for at in where]
    path.write_bytes(netbsd.branded(*segments).ljust(0x2008, b"\0") + b"U" * size)
    path.chmod(0o755)
    before = forget_peak()
    stubs = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10
    assert ring3.run([str(path)], timeout=90).returncode == -11       # as Linux ends what it cannot build
    assert own_memory() - before < MOST_MEMORY
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10 < max(MOST_MEMORY, stubs + 1)


def test_mutation_of_nothing_is_nothing() -> None:
    assert mutated(b"", SYSTEMS["linux"]().seeds, random.Random(1)) == b""
