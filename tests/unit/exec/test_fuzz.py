"""Hostile files: whatever the bytes are, the verdict is a plan, a death or an Errno, and never another exception.

RING3_FUZZ is how many files are tried (3000 by default; 100000 takes a few minutes), RING3_FUZZ_SEED where the sequence begins.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from ring3.abi.elf import EM_386, PF_R
from ring3.errors import Errno
from ring3.exec.check import check_exec
from ring3.exec.load import Loaded, load
from ring3.exec.plan import ExecDeath, ExecPlan
from tests.unit.exec.bench import Bench
from tests.unit.exec.images import DATA, interpreted, pie, pie_interpreted, program, stack
from tests.unit.exec.images import load as segment

COUNT = int(os.environ.get("RING3_FUZZ", "3000"))
SEED = int(os.environ.get("RING3_FUZZ_SEED", "1"))
INTERESTING = (
    0, 1, 2, 3, 4, 0x7F, 0x80, 0xFF, 0xFFFF, 0xFFF, 0x1000, 0x1001, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 46,
    (1 << 47) - 4096, 1 << 47, (1 << 63) - 1, 1 << 63, (1 << 64) - 4096, (1 << 64) - 1, 62, 56, 64, 0x6474E551,
)


def originals() -> list[bytes]:
    bss = segment(0x600000, filesz=0x10, memsz=0x5000, flags=DATA)
    return [
        program(bss, stack(6)), pie(bss, stack(7)), program(bss, machine=EM_386), pie(machine=EM_386),
        interpreted(b"/lib64/ld-linux-x86-64.so.2"), pie_interpreted(b"/lib64/ld-linux-x86-64.so.2"),
        program(segment(0x401000, flags=PF_R), bss, stack(6)), b"#!/bin/sh -x\n", b"#! /usr/bin/env  a b\n",
    ]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A few fields overwritten (mostly in the headers), a cut, or bytes shuffled about."""
    work = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(min(len(work), chance.choice((64, 256, 1 << 20))))
        match chance.randrange(5):
            case 0:
                work[at] = chance.randrange(256)
            case 1:
                width = chance.choice((1, 2, 4, 8))
                work[at : at + width] = (chance.choice(INTERESTING) & (1 << 8 * width) - 1).to_bytes(width, "little")
            case 2:
                at &= ~7
                work[at : at + 8] = (chance.choice(INTERESTING) & (1 << 64) - 1).to_bytes(8, "little")
            case 3:
                del work[at + 1 :]
            case _:
                other = chance.randrange(len(work))
                work[at : at + 8] = work[other : other + 8]
    return bytes(work)


def test_mutated_files_get_a_verdict(bench: Bench, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    path = tmp_path / "x"
    path.touch(0o755)
    seeds = originals()
    request = bench.request(bytes(path), [b"a"], [b"B=1"])
    verdicts = {"plan": 0, "death": 0, "errno": 0}
    for index in range(COUNT):
        data = mutated(chance.choice(seeds), chance)
        path.write_bytes(data)
        try:
            outcome = check_exec(bench.t, request)
            if isinstance(outcome, ExecPlan):
                verdicts["plan"] += 1
                if sum(command.length for command in outcome.vmcmds) < 8 << 20:
                    loaded = load(bench.t, outcome)
                    if isinstance(loaded, Loaded):
                        loaded.cpu.kill()
                        loaded.vm.release()
            else:
                assert isinstance(outcome, ExecDeath)
                verdicts["death"] += 1
        except Errno:
            verdicts["errno"] += 1
        except Exception as error:
            error.add_note(f"file {index} of seed {SEED}: {data[:512].hex()}")
            raise
        bench.machine.spaces.clear()
        bench.machine.cpus.clear()
    assert all(verdicts.values()), verdicts


LINES = [b"#!", b"#!\n", b"#! ", b"#!\0", b"#!x", b"#!" + b" " * 254, b"#!" + b"a" * 300, b"#!a b" + b" " * 300]


@pytest.mark.parametrize("line", LINES)
def test_script_lines_end_in_an_errno(bench: Bench, tmp_path: Path, line: bytes) -> None:
    (tmp_path / "x").write_bytes(line)
    (tmp_path / "x").chmod(0o755)
    assert bench.verdict(bench.request(bytes(tmp_path / "x"))) in ("ENOENT", "ENOEXEC", "EACCES")
