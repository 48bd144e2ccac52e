"""What the plan builds is what the host's kernel builds: mappings, stack to the byte, registers, break, with
randomisation off.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ring3.abi.elf import AT_PHDR, EM_386, EM_X86_64, ET_DYN, PF_R, PF_W, PF_X
from ring3.abi.x86 import RIP, RSP, Arch
from ring3.exec.plan import MAP, VDSO, WRITE, ZERO, ExecPlan
from ring3.machine.base import VdsoImage
from ring3.machine.native.facts import read_auxv
from ring3.proc.proc import Rlimit
from ring3.vfs.namei import NameiContext, namei
from tests.unit.exec import native
from tests.unit.exec.bench import FACTS, Bench
from tests.unit.exec.images import DATA, load, pie, pie_interpreted, program, stack
from tests.unit.exec.test_linux_rows import SCRIPTS, Row

NO_RANDOM = 0x0040000
HOST_TOP = 0x7FFF_FFFF_F000


def likened(theirs: native.Snapshot, arch: Arch) -> Bench:
    """A kernel whose machine has the host's facts, vDSO and address limit."""
    auxv = read_auxv()
    vvar = [m for m in theirs.maps if m.name.startswith("[vvar")]
    data_size = sum(m.end - m.start for m in vvar)
    facts = FACTS._replace(
        user_top=HOST_TOP, hwcap=auxv[16], hwcap2=auxv[26], minsigstksz=auxv[51],
        hwcap3=auxv.get(29), vdso={arch: VdsoImage(data_size, len(theirs.vdso), theirs.vdso)} if theirs.vdso else {},
    )
    bench = Bench(facts=facts)
    bench.t.proc.cred = native.credentials()
    bench.t.proc.rlimits[Rlimit.STACK] = (8 << 20, (1 << 64) - 1)
    return bench


def planned(bench: Bench, path: bytes, argv: list[bytes], envp: list[bytes], cwd: Path) -> ExecPlan:
    t = bench.t
    t.proc.personality_flags = NO_RANDOM
    root = bench.system.mounts.root
    t.proc.fs.cwd = namei(NameiContext(root, root, t.proc.cred), bytes(cwd))
    return bench.check(path, argv, envp)


def regions(plan: ExecPlan) -> list[native.Mapping]:
    """The plan's commands, run on a list: what /proc/PID/maps would show."""
    pages: dict[int, tuple[str, str, int]] = {}
    for command in plan.vmcmds:
        if command.kind == WRITE:
            continue
        prot = "".join(c if command.prot & b else "-" for c, b in (("r", 1), ("w", 2), ("x", 4)))
        name = command.file.path.decode() if command.file is not None else command.label.decode()
        for at in range(0, command.length, 4096):
            pages[command.addr + at] = (prot, name, command.offset + at if command.kind == MAP else -1)
    found: list[native.Mapping] = []
    for addr in sorted(pages):
        prot, name, offset = pages[addr]
        last = found[-1] if found else None
        if (
            last is not None and last.end == addr and last.prot == prot and last.name == name
            and (offset < 0 or offset == last.offset + (addr - last.start))
        ):
            found[-1] = last._replace(end=addr + 4096)
        else:
            found.append(native.Mapping(addr, addr + 4096, prot, max(offset, 0), name))
    return found


def shown(theirs: native.Snapshot, plan: ExecPlan) -> list[native.Mapping]:
    """The host's maps without what a plan does not name: the clock's data, the vsyscall page, the name of the heap."""
    vdso = next((c for c in plan.vmcmds if c.kind == VDSO), None)
    kept = []
    for m in theirs.maps:
        if m.name == "[vsyscall]" or m.name.startswith("[vvar"):
            continue
        if m.name == "[vdso]":
            assert vdso is not None
            kept.append(native.Mapping(vdso.addr, m.end, "r-x", 0, m.name))
        else:
            kept.append(m._replace(name="" if m.name == "[heap]" else m.name))
    return sorted(kept)


CASES: dict[str, Any] = {
    "static": lambda: program(stack(6)),
    "static with bss": lambda: program(load(0x600000, filesz=0x10, memsz=0x5000, flags=DATA), stack(6)),
    "bss in its page": lambda: program(load(0x600000, filesz=0x10, memsz=0x500, flags=DATA), stack(6)),
    "bss only": lambda: program(load(0x600123, offset=0, filesz=0, memsz=0x5000, flags=DATA)),
    "read-only with bss": lambda: program(load(0x600000, filesz=0x10, memsz=0x5000, flags=PF_R)),
    "writable and executable": lambda: program(load(0x600000, filesz=0x10, memsz=0x5000, flags=PF_R | PF_W | PF_X)),
    "executable stack": lambda: program(stack(7)),
    "no word on the stack": program,
    "overlapping": lambda: program(load(0x401000), load(0x3FF000, offset=0, filesz=0x2000, flags=PF_R)),
    "bss under the next segment": lambda: program(
        load(0x600000, filesz=0x10, memsz=0x5000, flags=DATA), load(0x600000, filesz=0x100, memsz=0x100, flags=PF_R)),
    "no headers in a segment": lambda: program(load(0x600000), phoff=0x800, parts=((0x800, program()[64:64 + 112]),)),
    "static pie": lambda: pie(stack(6)),
    "static pie with bss": lambda: pie(load(0x20000, filesz=0x10, memsz=0x5000, flags=DATA), stack(6)),
    "static pie, aligned": lambda: pie(load(0x200000, align=0x200000, flags=DATA), stack(6)),
    "static pie, first high": lambda: program(stack(6), base=0x10_0000_0000, type=ET_DYN),
    "i386": lambda: program(stack(6), machine=EM_386),
    "i386 without a word on the stack": lambda: program(load(0x600000, filesz=0x10, memsz=0x5000, flags=DATA), machine=EM_386),
    "i386 static pie": lambda: pie(stack(6), machine=EM_386),
}
ARGUMENTS = [[b"zero"], [b""], [b"a", b"bc", b"def " * 30], [b"x" * 5000] * 20, [b"y"] * 300]
ENVIRONMENTS = [[], [b"A=1"], [b"PATH=/bin", b"HOME=/", b"E" * 70], [b"Z=" + b"z" * 3000] * 10]


def compare(path: bytes, argv: list[bytes], envp: list[bytes], cwd: Path, arch: Arch = Arch.X86_64) -> ExecPlan:
    theirs = native.snapshot(path, argv, envp, flags=NO_RANDOM, cwd=str(cwd))
    bench = likened(theirs, arch)
    try:
        plan = planned(bench, path, argv, envp, cwd)
        registers = dict(plan.registers)
        assert hex(registers[RIP]) == hex(theirs.regs[RIP])
        assert hex(registers[RSP]) == hex(theirs.regs[RSP])
        ours = [registers.get(i, 0) for i in range(27)]
        differ = {i for i in range(27) if ours[i] != theirs.regs[i] and i != 15}
        assert differ <= {18}, differ             # EFLAGS: IF is set both ways; what ptrace shows beside it varies
        assert regions(plan) == shown(theirs, plan)
        assert hex(plan.layout.brk) == hex(theirs.brk)
        at = next(aux.value for aux in plan.stack.auxv if aux.type == 25) - plan.stack.sp
        mine, other = bytearray(plan.stack.data), bytearray(theirs.stack)
        assert len(mine) == len(other)
        mine[at : at + 16] = other[at : at + 16] = bytes(16)
        assert mine == other
        return plan
    finally:
        bench.close()


@pytest.mark.parametrize("case", CASES)
def test_image(tmp_path: Path, case: str) -> None:
    data = CASES[case]()
    (tmp_path / "x").write_bytes(data)
    (tmp_path / "x").chmod(0o755)
    arch = Arch.I386 if int.from_bytes(data[18:20], "little") == EM_386 else Arch.X86_64
    compare(bytes(tmp_path / "x"), [b"x", b"one"], [b"A=1", b"B=2"], tmp_path, arch)


@pytest.mark.parametrize("argv", ARGUMENTS, ids=list("abcde"))
@pytest.mark.parametrize("envp", ENVIRONMENTS, ids=list("0123"))
@pytest.mark.parametrize("machine", [EM_X86_64, EM_386])
def test_stack(tmp_path: Path, argv: list[bytes], envp: list[bytes], machine: int) -> None:
    (tmp_path / "x").write_bytes(program(stack(6), machine=machine))
    (tmp_path / "x").chmod(0o755)
    compare(b"./x", argv, envp, tmp_path, Arch.X86_64 if machine == EM_X86_64 else Arch.I386)


def test_dynamic_program() -> None:
    path = os.path.realpath("/bin/true").encode()
    plan = compare(path, [b"true"], [b"A=1"], Path("/"))
    assert plan.interpreter is not None


def test_dynamic_program_through_a_link() -> None:
    compare(b"/bin/sh", [b"sh", b"-c", b":"], [], Path("/"))


def test_script(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("#!/bin/sh -e f\n")
    (tmp_path / "s").chmod(0o755)
    plan = compare(b"./s", [b"zero", b"one"], [b"A=1"], tmp_path)
    assert plan.argv == (b"/bin/sh", b"-e f", b"./s", b"one")
    assert plan.comm == b"s"
    assert plan.execfn == b"./s"


@pytest.mark.parametrize("machine", [EM_X86_64, EM_386])
@pytest.mark.parametrize("extra", [0x3000, 0x40000])
def test_pie_with_an_interpreter_of_ours(tmp_path: Path, machine: int, extra: int) -> None:
    (tmp_path / "i").write_bytes(pie(load(extra, filesz=0x10, memsz=0x3000, flags=DATA), machine=machine))
    (tmp_path / "x").write_bytes(pie_interpreted(bytes(tmp_path / "i"), machine))
    for name in "ix":
        (tmp_path / name).chmod(0o755)
    arch = Arch.I386 if machine == EM_386 else Arch.X86_64
    plan = compare(bytes(tmp_path / "x"), [b"x"], [], tmp_path, arch)
    assert plan.interp_base
    assert any(aux.type == AT_PHDR and aux.value for aux in plan.stack.auxv)


RUNNING = [r for r in SCRIPTS if r.uid == 0]


@pytest.mark.parametrize("row", RUNNING, ids=str)
def test_script_arguments(tmp_path: Path, row: Row) -> None:
    """How a line splits: the argv the interpreter sees is the one the host's kernel gives it."""
    path = row.make(tmp_path)
    path = path.encode() if isinstance(path, str) else path
    if native.verdict(path, [b"0", b"one"], cwd=str(tmp_path)) == "runs":
        compare(path, [b"0", b"one"], [], tmp_path)


def test_kinds_are_those_compared() -> None:
    assert {MAP, ZERO, WRITE, VDSO} == {"map", "zero", "write", "vdso"}
