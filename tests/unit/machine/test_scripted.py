"""The machine without a CPU."""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from ring3.abi.stop import StopKind
from ring3.abi.x86 import CS, GS, GS_BASE, ORIG_RAX, RAX, RDI, RSI, Arch
from ring3.machine.base import Machine, VdsoImage
from ring3.machine.pages import PAGE
from ring3.machine.scripted import (
    SCRIPTED_FACTS,
    ScriptedCpu,
    ScriptedMachine,
    Trap,
    call,
    fault,
    killed,
    signalled,
)


@pytest.fixture
def machine() -> Iterator[ScriptedMachine]:
    before = set(os.listdir("/proc/self/fd"))
    made = ScriptedMachine(patience=2)
    yield made
    made.close()
    made.close()
    made.spaces.clear()
    assert set(os.listdir("/proc/self/fd")) == before


def as_machine(machine: Machine) -> Machine:
    """mypy: a ScriptedMachine is a Machine."""
    return machine


def test_a_script_is_a_list_of_stops(machine: ScriptedMachine) -> None:
    cpu = machine.new_thread(machine.new_space())
    cpu.script = [call(2, 7, -1), fault(11, addr=64), signalled(15), call(20, 5, arch=Arch.I386), killed()]
    seen = []
    for _ in range(5):
        cpu.resume()
        assert machine.wait() is cpu
        seen.append((cpu.kind, cpu.fault.signal))
        if len(seen) == 1:
            assert (cpu.regs[ORIG_RAX], cpu.regs[RDI], cpu.regs[RSI]) == (2, 7, (1 << 64) - 1)
            assert cpu.regs[RAX] == (1 << 64) - 38
    assert seen == [(StopKind.SYSCALL, 0), (StopKind.FAULT, 11), (StopKind.SIGNAL, 15), (StopKind.SYSCALL, 0),
                    (StopKind.KILLED, 9)]
    assert cpu.arch is Arch.X86_64
    cpu.resume()
    assert machine.wait(block=False) is None
    assert len(machine.resumes) == 5


def test_a_generator_hears_what_its_calls_returned() -> None:
    heard: list[int] = []

    def program() -> Generator[Trap, int, None]:
        heard.append((yield call(1)))
        heard.append((yield call(2)))

    machine = ScriptedMachine(lambda _: program())
    cpu = machine.new_thread(machine.new_space())
    for result in (None, 5, (1 << 64) - 2):
        if result is not None:
            cpu.regs[RAX] = result
        cpu.resume()
        machine.wait(block=False)
    assert heard == [5, -2]
    assert cpu.is_running
    cpu.interrupt()
    assert machine.wait() is cpu
    assert cpu.kind is StopKind.INTERRUPT
    cpu.interrupt()
    assert machine.wait(block=False) is None
    machine.close()


def test_the_program_may_depend_on_the_thread() -> None:
    def program(cpu: ScriptedCpu) -> list[Trap]:
        return [call(int(cpu.regs[RDI]))]

    machine = ScriptedMachine(program)
    space = machine.new_space()
    first = machine.new_thread(space)
    first.regs[RDI] = 41
    second = machine.new_thread(space, like=first)
    second.regs[RDI] += 1
    first.resume()
    second.resume()
    assert (machine.wait(), machine.wait()) == (first, second)
    assert (first.regs[ORIG_RAX], second.regs[ORIG_RAX]) == (41, 42)
    second.resume()
    second.kill()
    assert machine.wait(block=False) is None
    machine.close()


def test_nothing_to_wait_for_is_an_error_not_a_hang() -> None:
    machine = ScriptedMachine(patience=0.01)
    machine.new_thread(machine.new_space()).resume()
    with pytest.raises(TimeoutError):
        machine.wait()
    machine.close()


def test_bell_alarm_and_watch(machine: ScriptedMachine) -> None:
    machine.ring()
    assert as_machine(machine).wait() is None
    threading.Timer(0.02, machine.ring).start()
    assert machine.wait() is None
    start = time.monotonic_ns()
    machine.set_alarm(start + 10_000_000)
    assert machine.wait() is None
    assert time.monotonic_ns() - start >= 10_000_000
    reader, writer = os.pipe()
    machine.watch(reader, select.POLLIN)
    assert list(machine.ready()) == []
    os.write(writer, b"x")
    assert machine.wait() is None
    assert list(machine.ready()) == [(reader, select.POLLIN)]
    machine.watch(reader, 0)
    assert list(machine.ready()) == []
    with Path(__file__).open("rb") as file, pytest.raises(PermissionError):
        machine.watch(file.fileno(), select.POLLIN)
    os.close(reader)
    os.close(writer)


def test_threads_keep_state(machine: ScriptedMachine) -> None:
    cpu = machine.new_thread(machine.new_space())
    assert cpu.regs[CS] == 0x33
    fresh = cpu.read_xstate()
    assert len(fresh) == machine.facts.xstate_size
    cpu.write_xstate(fresh[:160] + b"\x01" + fresh[161:])
    other = machine.new_thread(machine.new_space(), like=cpu)
    assert other.read_xstate()[160] == 1
    cpu.reset_xstate()
    assert cpu.read_xstate() == fresh
    with pytest.raises(ValueError, match="refuses"):
        cpu.write_xstate(fresh[:-1] + b"\x01")
    cpu.regs[GS] = 12 << 3 | 3
    cpu.set_thread_area(12, bytes(4) + b"\x00\x10\0\0" + bytes(8))
    assert cpu.regs[GS_BASE] == 0x1000
    with pytest.raises(OSError, match="slot"):
        cpu.set_thread_area(1, bytes(16))


def test_memory_is_mapped_and_read(machine: ScriptedMachine) -> None:
    space = machine.new_space()
    with space.batch():
        space.map_anonymous(0x10_0000, 2 * PAGE, 0)
    assert space.write(0x10_0000 + PAGE - 1, b"abc") == 3
    assert space.read(0x10_0000 + PAGE - 1, 3) == b"abc"
    assert space.write(0x10_0000 + 2 * PAGE - 1, b"abc") == 1
    assert len(space.read(0x10_0000, 3 * PAGE)) == 2 * PAGE
    assert space.resident() == 2 * PAGE
    space.unmap(0x10_0000, PAGE)
    assert space.read(0x10_0000, 1) == b""
    with pytest.raises(OSError, match="Cannot allocate"):
        space.protect(0x10_0000, 2 * PAGE, 1)
    for addr, length in ((0x1001, PAGE), (-PAGE, PAGE), (machine.facts.user_top, PAGE)):
        with pytest.raises(ValueError, match=r"page|guest"):
            space.map_anonymous(addr, length, 3)
    with pytest.raises(PermissionError):
        space.map_anonymous(0, PAGE, 3)


def test_files_are_mapped(machine: ScriptedMachine, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"A" * PAGE + b"B")
    space = machine.new_space()
    with path.open("r+b") as file:
        space.map_file(0x10_0000, 3 * PAGE, 3, file.fileno(), 0, shared=False)
        space.map_file(0x20_0000, 2 * PAGE, 3, file.fileno(), 0, shared=True)
    assert len(space.read(0x10_0000, 3 * PAGE)) == 2 * PAGE       # the third page lies beyond the end
    assert space.read(0x10_0000 + PAGE, 2) == b"B\0"
    space.write(0x10_0000, b"private")
    space.write(0x20_0000, b"shared")
    space.sync(0x20_0000, PAGE)
    assert path.read_bytes()[:8] == b"sharedAA"
    space.write(0x20_0000 + PAGE, b"CDE")
    assert path.read_bytes()[PAGE:] == b"C"
    space.advise(0x10_0000, PAGE, 4)
    assert space.read(0x10_0000, 8) == b"sharedAA"
    with path.open("rb") as file, pytest.raises(PermissionError):
        space.map_file(0x30_0000, PAGE, 3, file.fileno(), 0, shared=True)


def test_forks_copy_and_share(machine: ScriptedMachine) -> None:
    space = machine.new_space()
    space.map_anonymous(0x10_0000, PAGE, 3)
    space.map_anonymous(0x20_0000, PAGE, 3, shared=True)
    child = space.fork()
    child.write(0x10_0000, b"child")
    child.write(0x20_0000, b"child")
    child.protect(0x20_0000, PAGE, 1)
    assert (space.read(0x10_0000, 5), space.read(0x20_0000, 5)) == (bytes(5), b"child")
    word = int.from_bytes(b"chil", "little")
    assert space.compare_exchange32(0x20_0000, word, 1) == word
    with pytest.raises(OSError, match="Bad address") as caught:
        child.compare_exchange32(0x20_0000, 1, 2)
    assert caught.value.errno == errno.EFAULT
    space.close()
    assert child.read(0x20_0000, 4) == b"\x01\0\0\0"
    with pytest.raises(OSError, match="No such process"):
        space.map_anonymous(0x10_0000, PAGE, 3)


def test_moves(machine: ScriptedMachine) -> None:
    space = machine.new_space()
    space.map_anonymous(0x10_0000, PAGE, 3)
    space.write(0x10_0000, b"data")
    space.move(0x10_0000, PAGE, 0x30_0000, 2 * PAGE)
    assert (space.read(0x10_0000, 1), space.read(0x30_0000, 4)) == (b"", b"data")
    space.map_anonymous(0x30_2000, PAGE, 3)
    with pytest.raises(OSError, match="Cannot allocate"):
        space.move(0x30_0000, 2 * PAGE, 0x30_0000, 3 * PAGE)
    space.move(0x30_0000, 2 * PAGE, 0x30_0000, PAGE)
    assert space.read(0x30_1000, 1) == b""
    space.move(0x30_0000, PAGE, 0x50_0000, PAGE, keep=True)
    assert (space.read(0x30_0000, 4), space.read(0x50_0000, 4)) == (bytes(4), b"data")


def test_the_clock_page_is_there_when_the_facts_have_one() -> None:
    image = VdsoImage(PAGE, PAGE, b"\x7fELF")
    with_clock = SCRIPTED_FACTS._replace(vdso={Arch.X86_64: image})
    machine = ScriptedMachine(facts=with_clock)
    space = machine.new_space()
    space.map_vdso(Arch.X86_64, 0x10_0000)
    assert space.read(0x10_0000 + PAGE, 4) == b"\x7fELF"
    with pytest.raises(OSError, match="not implemented"):
        space.map_vdso(Arch.I386, 0x20_0000)
    machine.close()
