"""Code that nobody asks for by a call: a file that wants its stack executed, or (32-bit) says nothing of it, so that all that may
be read may be executed.  Without the promise `prot_exec` there is no such memory.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

import ring3
from ring3.abi.elf import ELF32, ELF64, PT_GNU_STACK
from ring3.protocols import Instrument
from tests.guest.build import build

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(240)]

SOURCE = Path(__file__).parent / "guest" / "wherecode.c"
NO_CODE, ALL_CODE = "fresh rw-p\nstack rw-p\n", "fresh rwxp\nstack rwxp\n"
HELD = "stdio rpath exec"


def program(how: str, tmp_path: Path, *, says: bool) -> str:
    """The guest, with a PT_GNU_STACK that wants the stack executed, or with none."""
    data = bytearray(build(SOURCE, how).read_bytes())
    elf = ELF32 if how == "i386" else ELF64
    ehdr = elf.ehdr.decode(bytes(data[: elf.ehdr.size]))
    for at in range(ehdr.phoff, ehdr.phoff + ehdr.phnum * elf.phdr.size, elf.phdr.size):
        if elf.phdr.decode(bytes(data[at : at + elf.phdr.size])).type == PT_GNU_STACK:
            if says:
                data[at + (24 if how == "i386" else 4)] |= 1
            else:
                data[at : at + 4] = struct.pack("<I", 0)
    path = tmp_path / f"{how}{says:d}"
    path.write_bytes(data)
    path.chmod(0o755)
    return str(path)


class Told(Instrument):
    """Remembers what policies decided."""

    def __init__(self) -> None:
        self.decisions: list[str] = []

    def policy(self, thread: Any, decision: Any) -> None:
        self.decisions.append(f"{decision.missing} {decision.verdict}")


def run(*command: str, **policy: Any) -> tuple[str, list[str]]:
    """What it says, and which decisions were made known."""
    told = Told()
    with ring3.Kernel(instruments=[told]) as kernel:
        done = kernel.run(list(command), capture_output=True, text=True, timeout=90, **policy)
    assert done.returncode == 0
    return done.stdout, told.decisions


@pytest.mark.parametrize(("how", "says", "free"), [
    ("x64", True, "fresh rw-p\nstack rwxp\n"), ("x64", False, NO_CODE),
    ("i386", True, "fresh rw-p\nstack rwxp\n"), ("i386", False, ALL_CODE),
])
def test_no_code_without_the_promise(how: str, says: bool, free: str, tmp_path: Path) -> None:
    path = program(how, tmp_path, says=says)
    told = ["prot_exec refused"] if "x" in free else []
    assert run(path) == (free, [])
    assert run(path, pledge=HELD) == (NO_CODE, told)
    assert run(path, pledge=HELD + " prot_exec") == (free, [])
    assert run(path, pledge=HELD, pledge_mode="report") == (free, [word.replace("refused", "reported") for word in told])


def test_nor_behind_an_exec(tmp_path: Path) -> None:
    first, path = str(build(SOURCE, "x64")), program("i386", tmp_path, says=False)
    assert run(first, path, pledge=HELD) == (NO_CODE, ["prot_exec refused"])
    assert run(first, path, pledge=HELD + " prot_exec", exec_pledge=HELD) == (NO_CODE, ["prot_exec refused"])
    assert run(path, pledge=HELD + " prot_exec", exec_pledge="stdio") == (ALL_CODE, [])
