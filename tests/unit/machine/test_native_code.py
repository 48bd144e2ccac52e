"""The machine code is what its comments say, and computing threads get CPUs of their own."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import threading
from pathlib import Path

import pytest

from ring3.abi.stop import StopKind
from ring3.machine.base import MachineUnavailable
from ring3.machine.native import NativeMachine, affinity, code, ptrace
from tests.unit.machine.guest import SYSCALL, load, mov_eax, run


@pytest.mark.skipif(shutil.which("as") is None or shutil.which("objcopy") is None, reason="binutils are not installed")
@pytest.mark.parametrize("name", ["_STUB", "_STEP", "_START"])
def test_each_listing_assembles_to_its_bytes(tmp_path: Path, name: str) -> None:
    listing = getattr(code, name)
    source = ".intel_syntax noprefix\n" + "\n".join(line.partition(";")[2] for line in listing.strip().splitlines())
    (tmp_path / "a.s").write_text(source + "\n")
    subprocess.run(["as", "-o", "a.o", "a.s"], cwd=tmp_path, check=True, timeout=90)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", "a.o", "a.bin"], cwd=tmp_path, check=True, timeout=90)
    assert (tmp_path / "a.bin").read_bytes() == code._assemble(listing)[0]


def test_the_code_fits_where_it_is_put() -> None:
    assert len(code.STUB_CODE) < code.ZEROS_AT
    assert len(code.STEP_CODE) < code.START_AT
    assert code.START_AT + len(code.START_CODE) < code.GADGETS_AT
    assert len(code._filter()) <= code.FPROG_AT - code.FILTER_AT
    assert len(code.stub_page()) == len(code.helper_page(0x1234)) == code.PAGE
    assert code.STEP_CODE.count(code._NO_CONTROL) == code.START_CODE.count(code._NO_CONTROL) == 1


def test_the_listing_uses_the_offsets_of_the_blocks() -> None:
    text = code._STEP
    for comment, offset in (("orig_rax", (ptrace.REGS + 15) * 8), ("regs", ptrace.REGS * 8), ("info", ptrace.INFO * 8),
                            ("siginfo", ptrace.SIGINFO * 8)):
        assert f"[rbp+{offset:#x}]" in text, comment
    for comment, word in (("pid", ptrace.PID), ("status", ptrace.STATUS), ("error", ptrace.ERROR),
                          ("fallback", ptrace.FALLBACK), ("options", ptrace.OPTIONS), ("wait for", ptrace.WAIT_FOR)):
        assert f"[rbx+{word * 8:#x}]" in text, comment


def test_a_host_that_forbids_ptrace_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    from ring3.machine.native import zygote

    def refuse(request: int, pid: int, addr: int = 0, data: int = 0) -> int:
        raise PermissionError(1, f"Operation not permitted: {request} {pid} {addr} {data}")

    before = set(os.listdir("/proc/self/fd")), os.sched_getaffinity(0)
    monkeypatch.setattr(zygote, "ptrace", refuse)
    with pytest.raises(MachineUnavailable, match=r"needs ptrace.*EPERM.*SYS_PTRACE"):
        NativeMachine()
    assert (set(os.listdir("/proc/self/fd")), os.sched_getaffinity(0)) == before
    assert not re.findall(r"\d+", Path("/proc/thread-self/children").read_text())


class FakeCpu:
    """As much of a NativeCpu as `Affinity` sees."""

    def __init__(self, *, spread: bool = False) -> None:
        self.pid = 0
        self.spread = spread


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    seen: list[int] = []
    monkeypatch.setattr(affinity, "_allow", lambda _, cpus: seen.append(len(cpus)))
    return seen


def test_threads_that_rarely_stop_are_spread_after_a_while(moves: list[int]) -> None:
    cpus = affinity.Affinity()
    threads = [FakeCpu(), FakeCpu(), FakeCpu()]
    cpus.first_tick(0)
    assert cpus.tick(threads, 1) == affinity.TICK_NS       # type: ignore[arg-type]
    assert moves == []
    cpus.tick(threads, 2)                                   # type: ignore[arg-type]
    assert [thread.spread for thread in threads] == [False, True, True]
    assert cpus.tick(threads, 3) == affinity.TICK_NS * 4    # type: ignore[arg-type]


def test_threads_that_stop_often_stay_and_are_called_home(moves: list[int]) -> None:
    cpus = affinity.Affinity()
    threads = [FakeCpu(), FakeCpu(spread=True)]
    cpus.first_tick(0)
    for serial in (400, 800, 1200):
        assert cpus.tick(threads, serial) == affinity.TICK_NS    # type: ignore[arg-type]
    assert not threads[1].spread
    assert len(moves) == 1
    assert cpus.tick(threads[:1], 1300) == 0                # type: ignore[arg-type]
    assert not cpus.is_ticking


@pytest.mark.needs_ptrace
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU")
def test_two_computing_threads_use_two_cpus(machine: NativeMachine) -> None:
    loops = 400_000_000
    program = b"\x48\xc7\xc1" + struct.pack("<I", loops) + b"\x48\xff\xc9\x75\xfb" + mov_eax(60) + SYSCALL
    threads = [load(machine, program), load(machine, program)]
    for cpu in threads:
        cpu.resume()
    assert machine.wait() in threads
    assert machine.wait() in threads
    homes = {thread.spread for thread in threads}
    assert homes <= {True, False}
    for thread in threads:
        if thread.spread:
            thread.resume()
            machine.wait()
            assert not thread.spread                        # alone now: called home
    assert not any(thread.spread for thread in threads)


@pytest.mark.needs_ptrace
def test_a_machine_pins_its_thread_and_lets_it_go(machine: NativeMachine) -> None:
    if machine.facts.ncpus > 1:
        assert len(os.sched_getaffinity(0)) == 1
        cpu = load(machine, mov_eax(1) + SYSCALL)
        assert os.sched_getaffinity(cpu.pid) == os.sched_getaffinity(0)


@pytest.mark.needs_ptrace
def test_the_wrong_thread_is_refused(machine: NativeMachine) -> None:
    cpu = load(machine, mov_eax(1) + SYSCALL)
    failures: list[BaseException] = []

    def elsewhere() -> None:
        for attempt in (machine.new_space, machine.wait, machine.close):
            try:
                attempt()
            except (RuntimeError, OSError) as error:
                failures.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(10)
    assert len(failures) == 3
    assert run(machine, cpu) is StopKind.SYSCALL
