"""Every verb of the native machine."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import random
import select
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ring3.abi.stop import StopKind
from ring3.abi.x86 import CS, CS_32, DS, GS, GS_BASE, ORIG_RAX, RAX, RBX, RCX, RDI, RIP, RSP, SS_USER, Arch
from ring3.machine.native import NativeMachine
from tests.unit.machine.guest import (
    DATA,
    INT3,
    INT80,
    PAGE,
    SPIN,
    STACK,
    SYSCALL,
    TEXT,
    UD2,
    at_call,
    load,
    mov_eax,
    mov_edi,
    movabs,
    run,
)

if TYPE_CHECKING:
    from ring3.machine.native.cpu import NativeCpu
    from ring3.machine.native.space import NativeSpace

pytestmark = pytest.mark.needs_ptrace


# Stops.

def test_a_call_stops_with_its_number_and_is_not_executed(machine: NativeMachine) -> None:
    cpu = load(machine, mov_eax(110) + SYSCALL + mov_eax(60) + SYSCALL)
    assert run(machine, cpu) is StopKind.SYSCALL
    assert at_call(cpu, 110)
    assert cpu.regs[RIP] == TEXT + 7
    cpu.regs[RAX] = 42
    run(machine, cpu)
    assert at_call(cpu, 60)


def test_a_result_reaches_the_guest(machine: NativeMachine) -> None:
    cpu = load(machine, mov_eax(110) + SYSCALL + b"\x48\x89\xc3" + mov_eax(1) + SYSCALL)   # mov rbx,rax
    run(machine, cpu)
    cpu.regs[RAX] = 0x1234_5678_9ABC_DEF0
    run(machine, cpu)
    assert cpu.regs[RBX] == 0x1234_5678_9ABC_DEF0


@pytest.mark.parametrize("result", [-512, -513, -514, -516, -4, -1])
def test_no_result_makes_the_host_restart_a_call(machine: NativeMachine, result: int) -> None:
    cpu = load(machine, mov_eax(0) + SYSCALL + mov_eax(7) + SYSCALL)
    run(machine, cpu)
    cpu.regs[RAX] = result & (1 << 64) - 1
    os.kill(cpu.pid, signal.SIGUSR1)
    assert run(machine, cpu) is StopKind.SIGNAL
    assert cpu.regs[RAX] == result & (1 << 64) - 1
    assert cpu.regs[RIP] == TEXT + 7
    run(machine, cpu)
    assert at_call(cpu, 7)


def test_int80_is_a_call_of_the_other_instruction_set(machine: NativeMachine) -> None:
    cpu = load(machine, mov_eax(20) + INT80)
    run(machine, cpu)
    assert at_call(cpu, 20, Arch.I386)


def test_32_bit_code_runs_and_calls(machine: NativeMachine) -> None:
    cpu = load(machine, mov_eax(4) + INT80 + b"\x40" + INT80)          # 0x40: inc eax in 32-bit mode only
    cpu.regs[CS] = CS_32
    run(machine, cpu)
    assert at_call(cpu, 4, Arch.I386)
    assert cpu.regs[CS] == CS_32
    cpu.regs[RAX] = 10
    run(machine, cpu)
    assert at_call(cpu, 11, Arch.I386)


def test_mapping_works_while_a_thread_is_in_32_bit_mode(machine: NativeMachine) -> None:
    cpu = load(machine, mov_eax(4) + INT80 + b"\xa1" + struct.pack("<I", 0x70_0000) + INT80)   # mov eax,[0x700000]
    cpu.regs[CS], cpu.regs[DS] = CS_32, SS_USER
    run(machine, cpu)
    cpu.home.map_anonymous(0x70_0000, PAGE, 3)
    cpu.home.write(0x70_0000, struct.pack("<I", 99))
    run(machine, cpu)
    assert at_call(cpu, 99, Arch.I386)


@pytest.mark.parametrize(("program", "number", "addr"), [
    (b"\x48\x8b\x04\x25\x00\x10\x00\x00", signal.SIGSEGV, 0x1000),     # mov rax,[0x1000]
    (UD2, signal.SIGILL, TEXT),
    (b"\x31\xc9\xf7\xf1", signal.SIGFPE, TEXT + 2),                    # div ecx by zero
    (INT3, signal.SIGTRAP, 0),
    (b"\xf4", signal.SIGSEGV, 0),                                      # hlt
])
def test_a_fault_says_what_and_where(machine: NativeMachine, program: bytes, number: int, addr: int) -> None:
    cpu = load(machine, program)
    assert run(machine, cpu) is StopKind.FAULT
    assert (cpu.fault.signal, cpu.fault.addr) == (number, addr)
    assert cpu.fault.code > 0


def test_a_page_beyond_the_end_of_a_file_is_a_bus_error(machine: NativeMachine, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    cpu = load(machine, b"\x8a\x04\x25" + struct.pack("<I", 0x70_1000))   # mov al,[0x701000]
    with path.open("rb") as file:
        cpu.home.map_file(0x70_0000, 2 * PAGE, 1, file.fileno(), 0, shared=False)
    run(machine, cpu)
    assert cpu.fault.signal == signal.SIGBUS


def test_a_step_is_one_instruction(machine: NativeMachine) -> None:
    cpu = load(machine, b"\x90\x90" + mov_eax(5) + SYSCALL)
    for length in (1, 2, 7):
        cpu.resume(step=True)
        assert machine.wait() is cpu
        assert (cpu.kind, cpu.fault.signal) == (StopKind.FAULT, signal.SIGTRAP)
        assert cpu.regs[RIP] == TEXT + length
    assert run(machine, cpu) is StopKind.SYSCALL
    cpu.regs[RIP] = TEXT
    run(machine, cpu)
    assert at_call(cpu, 5)


def test_refused_registers_are_a_fault(machine: NativeMachine) -> None:
    cpu = load(machine, mov_eax(1) + SYSCALL)
    cpu.regs[CS] = 0x10
    assert run(machine, cpu) is StopKind.FAULT
    assert cpu.fault.signal == signal.SIGSEGV
    cpu.regs[CS] = 0x33
    run(machine, cpu)
    assert at_call(cpu, 1)


def test_an_address_outside_the_canonical_range_is_a_fault(machine: NativeMachine) -> None:
    cpu = load(machine, mov_eax(1) + SYSCALL)
    cpu.regs[RIP] = 0x8000_0000_0000_0000
    assert run(machine, cpu) is StopKind.FAULT
    assert cpu.fault.signal == signal.SIGSEGV


# Threads.

def test_an_interrupt_stops_a_spinning_thread(machine: NativeMachine) -> None:
    cpu = load(machine, SPIN)
    for _ in range(3):
        cpu.resume()
        assert machine.wait(block=False) is None
        cpu.interrupt()
        assert machine.wait() is cpu
        assert cpu.kind is StopKind.INTERRUPT
        assert cpu.regs[RIP] == TEXT


def test_an_interrupt_of_a_stopped_thread_has_no_effect(machine: NativeMachine) -> None:
    cpu = load(machine, mov_eax(1) + SYSCALL)
    cpu.interrupt()
    assert run(machine, cpu) is StopKind.SYSCALL
    cpu.interrupt()
    cpu.regs[RIP] = TEXT
    assert run(machine, cpu) is StopKind.SYSCALL


def test_a_late_interrupt_is_not_reported_and_disturbs_no_injected_call(machine: NativeMachine) -> None:
    cpu = load(machine, mov_eax(1) + SYSCALL + mov_eax(2) + SYSCALL)
    cpu.resume()
    cpu.interrupt()                        # still queued: it stops at once
    assert machine.wait() is cpu
    first = cpu.kind
    assert first is StopKind.INTERRUPT
    cpu.resume()
    assert machine.wait() is cpu
    machine_stop = cpu.kind
    assert machine_stop is StopKind.SYSCALL
    cpu.state = 2                          # as if it were running still when the kernel asks
    cpu.interrupt()
    cpu.state = 0
    cpu.asked = False
    cpu.home.map_anonymous(0x70_0000, PAGE, 3)
    child = cpu.home.fork()
    assert child.read(TEXT, 1) == b"\xb8"
    run(machine, cpu)
    assert at_call(cpu, 2)


def test_an_interrupt_asked_for_while_queued_survives_an_injected_call(machine: NativeMachine) -> None:
    cpu = load(machine, SPIN)
    cpu.resume()
    cpu.interrupt()
    cpu.home.map_anonymous(0x70_0000, PAGE, 3)           # carried out by this very stub
    cpu.home.map_anonymous(0x71_0000, PAGE, 3)
    assert machine.wait() is cpu
    assert (cpu.kind, cpu.regs[RIP]) == (StopKind.INTERRUPT, TEXT)


def test_a_fault_overtaken_by_an_interrupt_is_not_lost(machine: NativeMachine) -> None:
    """The stop that was asked for may come first, with the fault in the stub's queue; who maps then must not meet it."""
    dice = random.Random(1)
    # dec ecx; jnz back; mov [0x10], eax
    cpu = load(machine, bytes.fromhex("ffc975fc 890425 10000000"))
    kinds = set()
    with two_cpus(cpu):
        for _ in range(3000):
            cpu.regs[RIP], cpu.regs[RCX] = TEXT, dice.randrange(1, 40_000)
            cpu.resume()
            if machine.wait(block=False) is None:
                cpu.interrupt()
                assert machine.wait() is cpu
            kinds.add(cpu.kind)
            cpu.home.map_anonymous(0x70_0000, PAGE, 3)
            if cpu.kind is StopKind.FAULT:
                assert (cpu.fault.signal, cpu.fault.addr) == (signal.SIGSEGV, 0x10)
    assert kinds == {StopKind.INTERRUPT, StopKind.FAULT}


@contextlib.contextmanager
def two_cpus(cpu: NativeCpu) -> Iterator[None]:
    """The kernel thread on one CPU and this stub on another, so that they truly run at once."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        first, *rest = sorted(os.sched_getaffinity(0))
        if not rest:
            pytest.skip("one CPU")
        os.sched_setaffinity(0, {first})
        os.sched_setaffinity(cpu.pid, {rest[0]})
        yield
    finally:
        os.sched_setaffinity(0, before)


def test_threads_of_a_space_share_memory_and_run_at_once(machine: NativeMachine) -> None:
    program = mov_eax(1) + SYSCALL + b"\x48\xff\x04\x25" + struct.pack("<I", DATA) + mov_eax(2) + SYSCALL   # inc [DATA]
    first = load(machine, program)
    others = [load(machine, program, first.home) for _ in range(3)]
    threads = [first, *others]
    for number in (1, 2):
        for cpu in threads:
            cpu.resume()
        seen = {machine.wait() for _ in threads}
        assert seen == set(threads)
        assert all(at_call(cpu, number) for cpu in threads)
    assert first.home.read(DATA, 8) == struct.pack("<Q", 4)


def test_a_thread_like_another_has_its_registers_and_extended_state(machine: NativeMachine) -> None:
    load_xmm = movabs(0, 0x1122_3344_5566_7788) + b"\x66\x48\x0f\x6e\xf8"                # movq xmm7,rax
    check = b"\x66\x48\x0f\x7e\xfb" + mov_eax(2) + SYSCALL                                # movq rbx,xmm7
    parent = load(machine, load_xmm + mov_eax(1) + SYSCALL + check)
    run(machine, parent)
    in_space = machine.new_thread(parent.home, like=parent)
    copy = parent.home.fork()
    in_copy = machine.new_thread(copy, like=parent)
    elsewhere = parent.home.fork()
    parent.read_xstate()
    late = machine.new_thread(parent.home.fork())
    late.resume(step=True)
    machine.wait()                                                             # parent's state is another's now
    in_elsewhere = machine.new_thread(elsewhere, like=parent)
    for cpu in (in_space, in_copy, in_elsewhere, parent):
        run(machine, cpu)
        assert at_call(cpu, 2)
        assert cpu.regs[RBX] == 0x1122_3344_5566_7788


def test_a_fresh_thread_in_a_used_space_has_fresh_state(machine: NativeMachine) -> None:
    load_xmm = movabs(0, 0x1122_3344_5566_7788) + b"\x66\x48\x0f\x6e\xf8" + mov_eax(1) + SYSCALL
    check = b"\x66\x48\x0f\x7e\xfb" + mov_eax(2) + SYSCALL
    parent = load(machine, load_xmm + check)
    run(machine, parent)
    parent.set_thread_area(12, struct.pack("<4I", 12, 0x1000, 0xFFFFF, 0x51))
    fresh = machine.new_thread(parent.home)
    assert not any(fresh.regs[i] for i in range(17))
    fresh.regs[RIP] = TEXT + len(load_xmm)
    run(machine, fresh)
    assert (at_call(fresh, 2), fresh.regs[RBX]) == (True, 0)


def test_a_killed_thread_is_gone_and_the_others_are_not(machine: NativeMachine) -> None:
    first = load(machine, mov_eax(1) + SYSCALL)
    second = load(machine, SPIN, first.home)
    third = load(machine, mov_eax(1) + SYSCALL, first.home)
    second.regs[RIP] = TEXT + 5                                # not reached: killed before it runs
    second.resume()
    second.kill()
    second.kill()
    second.resume()
    first.resume()
    assert machine.wait() is first
    first.kill()
    run(machine, third)
    assert at_call(third, 1)


def test_a_running_thread_can_be_killed(machine: NativeMachine) -> None:
    cpu = load(machine, SPIN)
    cpu.resume()
    assert machine.wait(block=False) is None
    cpu.kill()
    machine.ring()
    assert machine.wait() is None


def test_cpu_time_is_the_threads_own(machine: NativeMachine) -> None:
    cpu = load(machine, SPIN)
    idle = load(machine, SPIN)
    before = cpu.cpu_time_ns()
    give_up_ns = time.monotonic_ns() + 20_000_000_000
    while cpu.cpu_time_ns() - before <= 5_000_000 and time.monotonic_ns() < give_up_ns:     # a busy host gives it little
        cpu.resume()
        machine.set_alarm(time.monotonic_ns() + 30_000_000)
        assert machine.wait() is None
        cpu.interrupt()
        assert machine.wait() is cpu
    assert cpu.cpu_time_ns() - before > 5_000_000
    assert idle.cpu_time_ns() < 5_000_000
    cpu.kill()
    assert cpu.cpu_time_ns() == 0


def test_extended_state_goes_round(machine: NativeMachine) -> None:
    cpu = load(machine, mov_eax(1) + SYSCALL)
    fresh = cpu.read_xstate()
    assert len(fresh) == machine.facts.xstate_size
    assert struct.unpack_from("<H", fresh, 0) == (0x37F,)
    assert struct.unpack_from("<I", fresh, 24) == (0x1F80,)
    changed = bytearray(fresh)
    changed[160:176] = bytes(range(16))                        # xmm0
    struct.pack_into("<Q", changed, 512, struct.unpack_from("<Q", changed, 512)[0] | 2)
    cpu.write_xstate(bytes(changed))
    assert cpu.read_xstate()[160:176] == bytes(range(16))
    cpu.reset_xstate()
    assert cpu.read_xstate()[160:176] == bytes(16)


def test_a_refused_extended_state_changes_nothing(machine: NativeMachine) -> None:
    cpu = load(machine, mov_eax(1) + SYSCALL)
    before = cpu.read_xstate()
    bad = bytearray(before)
    bad[512 + 16] = 1                                          # reserved words of the header
    with pytest.raises(ValueError, match="refuses"):
        cpu.write_xstate(bytes(bad))
    with pytest.raises(ValueError, match="bytes"):
        cpu.write_xstate(before[:-1])
    assert cpu.read_xstate() == before


def test_thread_local_storage_of_32_bit_programs(machine: NativeMachine) -> None:
    program = b"\x65\xa1\x04\x00\x00\x00" + INT80              # mov eax,gs:[4]
    cpu = load(machine, program)
    cpu.home.write(DATA + 4, struct.pack("<I", 77))
    cpu.set_thread_area(12, struct.pack("<4I", 12, DATA, 0xFFFFF, 0x51))
    cpu.regs[CS] = CS_32
    cpu.regs[GS] = 12 << 3 | 3
    cpu.regs[GS_BASE] = DATA
    run(machine, cpu)
    assert at_call(cpu, 77, Arch.I386)
    cpu.home.write(DATA + 0x104, struct.pack("<I", 78))
    cpu.set_thread_area(12, struct.pack("<4I", 12, DATA + 0x100, 0xFFFFF, 0x51))
    cpu.regs[RIP] = TEXT
    run(machine, cpu)
    assert at_call(cpu, 78, Arch.I386)
    with pytest.raises(OSError, match="not for"):
        cpu.set_thread_area(1, bytes(16))


# Memory.

def test_maps_and_bytes(machine: NativeMachine) -> None:
    space = machine.new_space()
    space.map_anonymous(0x10_0000, 2 * PAGE, 0)
    assert space.read(0x10_0000, 4) == bytes(4)                # whatever the protection
    assert space.write(0x10_0000 + 2 * PAGE - 2, b"abcd") == 2
    assert space.read(0x10_0000 + 2 * PAGE - 2, 100) == b"ab"
    assert space.read(0x20_0000, 10) == b""
    assert space.write(0x20_0000, b"x") == 0
    space.unmap(0x10_0000, PAGE)
    assert space.read(0x10_0000, 1) == b""
    assert space.read(0x10_1000 + PAGE - 2, 2) == b"ab"
    assert space.resident() > 0


def test_protection_is_kept(machine: NativeMachine) -> None:
    store = b"\xc6\x04\x25" + struct.pack("<I", DATA) + b"\x01"                          # mov byte [DATA],1
    cpu = load(machine, store + mov_eax(1) + SYSCALL)
    cpu.home.protect(DATA, PAGE, 1)
    assert run(machine, cpu) is StopKind.FAULT
    assert cpu.fault.addr == DATA
    cpu.home.protect(DATA, PAGE, 3)
    assert run(machine, cpu) is StopKind.SYSCALL


def test_file_pages_private_and_shared(machine: NativeMachine, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"A" * PAGE + b"B" * PAGE)
    space = machine.new_space()
    with path.open("r+b") as file:
        space.map_file(0x10_0000, PAGE, 3, file.fileno(), PAGE, shared=False)
        space.map_file(0x20_0000, PAGE, 3, file.fileno(), 0, shared=True)
        space.map_file(0x30_0000, PAGE, 1, file.fileno(), 0, shared=False)
    assert space.read(0x10_0000, 2) == b"BB"
    space.write(0x10_0000, b"zz")
    space.write(0x20_0000, b"yy")
    space.write(0x30_0000, b"ww")                              # copied, as a debugger's breakpoint would be
    space.sync(0x20_0000, PAGE)
    assert path.read_bytes()[:3] == b"yyA"
    assert path.read_bytes()[PAGE : PAGE + 2] == b"BB"


def test_a_descriptor_opened_later_can_be_mapped(machine: NativeMachine) -> None:
    space = machine.new_space()
    fd = os.memfd_create("late")
    try:
        os.write(fd, b"hello")
        space.map_file(0x10_0000, PAGE, 1, fd, 0, shared=True)
    finally:
        os.close(fd)
    assert space.read(0x10_0000, 5) == b"hello"


def test_moves(machine: NativeMachine) -> None:
    space = machine.new_space()
    space.map_anonymous(0x10_0000, PAGE, 3)
    space.write(0x10_0000, b"data")
    space.move(0x10_0000, PAGE, 0x30_0000, 2 * PAGE)
    assert (space.read(0x10_0000, 1), space.read(0x30_0000, 4)) == (b"", b"data")
    space.move(0x30_0000, 2 * PAGE, 0x30_0000, 3 * PAGE)
    assert space.read(0x30_0000 + 2 * PAGE, 1) == b"\0"
    space.move(0x30_0000, 3 * PAGE, 0x50_0000, 3 * PAGE, keep=True)
    assert (space.read(0x30_0000, 4), space.read(0x50_0000, 4)) == (bytes(4), b"data")


def test_advice(machine: NativeMachine) -> None:
    space = machine.new_space()
    space.map_anonymous(0x10_0000, PAGE, 3)
    space.write(0x10_0000, b"data")
    space.advise(0x10_0000, PAGE, mmap.MADV_DONTNEED)
    assert space.read(0x10_0000, 4) == bytes(4)
    with pytest.raises(ValueError, match="not for guests"):
        space.advise(0x10_0000, PAGE, 100)                     # MADV_HWPOISON


def test_a_batch_is_done_in_order_at_its_end(machine: NativeMachine) -> None:
    space = machine.new_space()
    with space.batch():
        space.map_anonymous(0x10_0000, PAGE, 3)
        with space.batch():
            space.map_anonymous(0x20_0000, PAGE, 3)
        space.unmap(0x10_0000, PAGE)
        assert space._pending is not None
        assert len(space._pending) == 3
    assert (space.read(0x10_0000, 1), space.read(0x20_0000, 1)) == (b"", b"\0")


def test_a_batch_stops_at_the_first_failure(machine: NativeMachine) -> None:
    space = machine.new_space()

    def failing() -> None:
        with space.batch():
            space.map_anonymous(0x10_0000, PAGE, 3)
            space.protect(0x7000_0000, PAGE, 1)                # nothing there
            space.map_anonymous(0x20_0000, PAGE, 3)

    with pytest.raises(OSError, match="Cannot allocate") as caught:
        failing()
    assert caught.value.errno == errno.ENOMEM
    assert (space.read(0x10_0000, 1), space.read(0x20_0000, 1)) == (b"\0", b"")
    space.map_anonymous(0x20_0000, PAGE, 3)


def test_a_batch_longer_than_the_command_page(machine: NativeMachine) -> None:
    space = machine.new_space()
    with space.batch():
        for index in range(1000):
            space.map_anonymous(0x10_0000 + index * 2 * PAGE, PAGE, 3)
    assert space.read(0x10_0000 + 999 * 2 * PAGE, 1) == b"\0"


def test_a_batch_left_by_an_exception_does_nothing(machine: NativeMachine) -> None:
    space = machine.new_space()

    def leaving() -> None:
        with space.batch():
            space.map_anonymous(0x10_0000, PAGE, 3)
            raise KeyError

    with pytest.raises(KeyError):
        leaving()
    assert space.read(0x10_0000, 1) == b""
    space.map_anonymous(0x10_0000, PAGE, 3)
    assert space.read(0x10_0000, 1) == b"\0"


def test_the_command_page_tells_nothing_afterwards(machine: NativeMachine) -> None:
    space = machine.new_space()
    with space.batch():
        space.map_anonymous(0x10_0000, PAGE, 3)
        space.map_anonymous(0x20_0000, PAGE, 3)
    assert not any(machine.tracer._commands[:])


@pytest.mark.parametrize(("addr", "length"), [
    (0x7FFF_FFFF_E000, PAGE), (0x7FFF_FFFF_0000, PAGE), (0x7FFF_FFFE_F000, 2 * PAGE), (-PAGE, PAGE), (0x1001, PAGE),
    (0x1000, -PAGE), (0, 1 << 63),
])
def test_nobody_maps_over_the_stub_page(machine: NativeMachine, addr: int, length: int) -> None:
    space = machine.new_space()
    space.map_anonymous(0x10_0000, PAGE, 3)
    operations: tuple[Callable[[], None], ...] = (
        lambda: space.map_anonymous(addr, length, 7),
        lambda: space.map_file(addr, length, 7, 0, 0, shared=True),
        lambda: space.unmap(addr, length),
        lambda: space.protect(addr, length, 7),
        lambda: space.move(0x10_0000, PAGE, addr, length),
        lambda: space.move(addr, length, 0x10_0000, PAGE),
        lambda: space.advise(addr, length, mmap.MADV_DONTNEED),
        lambda: space.sync(addr, length),
        lambda: space.map_vdso(Arch.X86_64, addr if length == PAGE else -1),
    )
    for operation in operations:
        with pytest.raises(ValueError, match=r"guest|page"):
            operation()
    assert space.write(0x7FFF_FFFF_E000, b"\x90") == 0
    assert space.read(0x7FFF_FFFF_E000, 4) == b""
    assert space.read(0x7FFF_FFFE_FFF0, 64) == b""


def test_compare_exchange(machine: NativeMachine) -> None:
    space = machine.new_space()
    space.map_anonymous(0x10_0000, PAGE, 3)
    space.write(0x10_0000, struct.pack("<II", 5, 0xFFFF_FFFF))
    assert space.compare_exchange32(0x10_0000, 5, 6) == 5
    assert space.compare_exchange32(0x10_0000, 5, 7) == 6
    assert space.compare_exchange32(0x10_0004, 0xFFFF_FFFF, 1) == 0xFFFF_FFFF
    assert space.read(0x10_0000, 8) == struct.pack("<II", 6, 1)
    for addr, number in ((0x20_0000, errno.EFAULT), (0x10_0002, errno.EINVAL), (0x7FFF_FFFF_E000, errno.EFAULT)):
        with pytest.raises(OSError, match=r".") as caught:
            space.compare_exchange32(addr, 0, 0)
        assert caught.value.errno == number
    space.protect(0x10_0000, PAGE, 1)
    with pytest.raises(OSError, match="Bad address"):
        space.compare_exchange32(0x10_0000, 6, 7)
    assert space.read(0x10_0000, 4) == struct.pack("<I", 6)


def test_a_fork_is_a_copy_and_shared_memory_stays_shared(machine: NativeMachine) -> None:
    space = machine.new_space()
    space.map_anonymous(0x10_0000, PAGE, 3)
    space.map_anonymous(0x20_0000, PAGE, 3, shared=True)
    space.write(0x10_0000, b"one")
    child = space.fork()
    grandchild = child.fork()
    child.write(0x10_0000, b"two")
    child.write(0x20_0000, b"all")
    assert [s.read(0x10_0000, 3) for s in (space, child, grandchild)] == [b"one", b"two", b"one"]
    assert [s.read(0x20_0000, 3) for s in (space, child, grandchild)] == [b"all"] * 3
    space.close()
    assert child.read(0x20_0000, 3) == b"all"


def test_a_forked_guest_goes_on_where_its_parent_was(machine: NativeMachine) -> None:
    parent = load(machine, mov_eax(57) + SYSCALL + mov_edi(9) + mov_eax(60) + SYSCALL)
    run(machine, parent)
    child = machine.new_thread(parent.home.fork(), like=parent)
    child.regs[RAX] = 0
    parent.regs[RAX] = 1000
    for cpu in (parent, child):
        cpu.resume()
    assert {machine.wait(), machine.wait()} == {parent, child}
    assert at_call(parent, 60)
    assert at_call(child, 60)
    assert child.regs[RDI] == 9


def test_the_clock_pages(machine: NativeMachine) -> None:
    for arch in Arch:
        image = machine.facts.vdso[arch]
        space = machine.new_space()
        space.map_vdso(arch, 0x30_0000)
        assert space.read(0x30_0000 + image.data_size, image.code_size) == image.image
        assert image.image[:4] == b"\x7fELF"
        with pytest.raises(OSError, match=r"exists|elsewhere"):
            space.map_vdso(arch, 0x50_0000)
        space.unmap(0x30_0000, image.data_size + image.code_size)
        space.map_anonymous(0x60_0000, PAGE, 3)
        space.map_vdso(arch, 0x60_0000)                        # what stands there is replaced
        assert space.read(0x60_0000 + image.data_size, 4) == b"\x7fELF"
        space.fork().close()


def test_facts(machine: NativeMachine) -> None:
    facts = machine.facts
    assert (facts.name, facts.page_size, facts.platform) == ("native", PAGE, b"x86_64")
    assert facts.user_top % PAGE == 0
    assert facts.ncpus == len(os.sched_getaffinity(0)) or facts.ncpus == os.cpu_count()
    assert facts.xfeatures & 3 == 3
    assert facts.hwcap
    assert facts.clock_ticks == os.sysconf("SC_CLK_TCK")
    space = machine.new_space()
    space.map_anonymous(facts.user_top - PAGE, PAGE, 3)
    assert space.write(facts.user_top - 4, b"abcdef") == 4


def test_closed_spaces_and_machines_refuse(machine: NativeMachine) -> None:
    cpu = load(machine, SPIN)
    cpu.resume()
    machine.wait(block=False)
    space = cpu.home
    space.close()
    space.close()
    for operation in (lambda: space.map_anonymous(0x1_0000, PAGE, 3), lambda: space.read(TEXT, 1), space.fork):
        with pytest.raises(OSError, match="No such process"):
            operation()


# What else wakes the kernel.

def test_a_ring_from_another_thread_wakes(machine: NativeMachine) -> None:
    cpu = load(machine, SPIN)
    cpu.resume()
    for _ in range(3):
        timer = threading.Timer(0.05, machine.ring)
        timer.start()
        started = time.monotonic()
        assert machine.wait() is None
        assert time.monotonic() - started > 0.03
        timer.join()


def test_a_ring_before_the_wait_is_not_lost(machine: NativeMachine) -> None:
    machine.ring()
    machine.ring()
    assert machine.wait() is None
    timer = threading.Timer(0.05, machine.ring)
    timer.start()
    started = time.monotonic()
    assert machine.wait() is None
    assert time.monotonic() - started > 0.03
    timer.join()


def test_many_rings_of_many_threads(machine: NativeMachine) -> None:
    answered = 0

    def ringing() -> None:
        for _ in range(50):
            seen = answered
            machine.ring()
            while answered == seen:
                time.sleep(0.0001)

    thread = threading.Thread(target=ringing)
    thread.start()
    for _ in range(50):
        assert machine.wait() is None
        answered += 1
    thread.join()


def test_the_alarm(machine: NativeMachine) -> None:
    start = time.monotonic_ns()
    machine.set_alarm(start + 20_000_000)
    assert machine.wait() is None
    assert 20_000_000 <= time.monotonic_ns() - start < 2_000_000_000
    machine.set_alarm(time.monotonic_ns() - 5)
    assert machine.wait() is None                             # past already
    machine.set_alarm(time.monotonic_ns() + 1_000_000)
    machine.set_alarm(None)
    time.sleep(0.003)
    timer = threading.Timer(0.05, machine.ring)
    timer.start()
    start = time.monotonic_ns()
    assert machine.wait() is None
    assert time.monotonic_ns() - start > 30_000_000
    timer.join()
    machine.set_alarm(0)
    assert machine.wait() is None


def test_a_watched_descriptor(machine: NativeMachine) -> None:
    reader, writer = os.pipe()
    try:
        machine.watch(reader, select.POLLIN)
        assert list(machine.ready()) == []
        timer = threading.Timer(0.03, os.write, (writer, b"x"))
        timer.start()
        assert machine.wait() is None
        assert list(machine.ready()) == [(reader, select.POLLIN)]
        assert machine.wait() is None                         # level-triggered: still there
        timer.join()
        os.read(reader, 1)
        assert list(machine.ready()) == []
        machine.watch(writer, select.POLLOUT)
        assert machine.wait() is None
        assert list(machine.ready()) == [(writer, select.POLLOUT)]
        machine.watch(writer, 0)
        machine.watch(writer, 0)
        assert list(machine.ready()) == []
    finally:
        os.close(reader)
        os.close(writer)
    machine.watch(reader, 0)
    with Path(__file__).open("rb") as file, pytest.raises(PermissionError):
        machine.watch(file.fileno(), select.POLLIN)


def test_guests_run_on_beside_a_ringing_bell(machine: NativeMachine) -> None:
    cpu = load(machine, mov_eax(1) + SYSCALL + b"\xeb\xf7")
    reader, writer = os.pipe()
    machine.watch(writer, select.POLLOUT)                     # always ready, never served
    stops = 0
    cpu.resume()
    for _ in range(1000):
        if machine.wait() is cpu:
            stops += 1
            cpu.resume()
    assert stops > 100
    machine.watch(writer, 0)
    os.close(reader)
    os.close(writer)


def test_two_machines_in_two_threads(machine: NativeMachine) -> None:
    failures: list[str] = []

    def other() -> None:
        mine = NativeMachine()
        try:
            cpu = load(mine, mov_eax(11) + SYSCALL + b"\xeb\xf7")
            kinds = ((run(mine, cpu), cpu.regs[ORIG_RAX]) for _ in range(500))
            failures.extend(repr(kind) for kind in kinds if kind != (StopKind.SYSCALL, 11))
        finally:
            mine.close()

    thread = threading.Thread(target=other)
    thread.start()
    cpu = load(machine, mov_eax(12) + SYSCALL + b"\xeb\xf7")
    for _ in range(500):
        run(machine, cpu)
        assert at_call(cpu, 12)
    thread.join(30)
    assert not failures
    assert not thread.is_alive()


def test_two_machines_in_one_thread(machine: NativeMachine) -> None:
    other = NativeMachine()
    try:
        for one in (machine, other):
            cpu = load(one, mov_eax(12) + SYSCALL)
            run(one, cpu)
            assert at_call(cpu, 12)
    finally:
        other.close()


def test_other_children_are_left_alone(machine: NativeMachine) -> None:
    pid = os.fork()
    if not pid:
        os._exit(7)
    time.sleep(0.02)
    cpu = load(machine, mov_eax(12) + SYSCALL)
    run(machine, cpu)
    machine.ring()
    assert machine.wait() is None
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


@pytest.mark.slow
def test_many_spaces(machine: NativeMachine) -> None:
    spaces: list[NativeSpace] = []
    for index in range(500):
        cpu = load(machine, mov_eax(index) + SYSCALL)
        spaces.append(cpu.home)
        cpu.resume()
    seen: set[int] = set()
    while len(seen) < 500:
        stopped = machine.wait()
        assert stopped is not None
        seen.add(stopped.regs[ORIG_RAX])
        stopped.home.read(TEXT, 1)
    assert seen == set(range(500))
    for space in spaces[:250]:
        space.close()


def test_memory_descriptors_are_given_back_when_there_are_no_more(machine: NativeMachine) -> None:
    import resource
    spaces = [machine.new_space() for _ in range(20)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 10, hard))
    try:
        for space in spaces:
            space.map_anonymous(0x1_0000, PAGE, 3)
            assert space.write(0x1_0000, b"hello") == 5
        for space in spaces:
            assert space.read(0x1_0000, 5) == b"hello"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_registers_come_back_as_they_were(machine: NativeMachine) -> None:
    cpu = load(machine, mov_eax(1) + SYSCALL + mov_eax(2) + SYSCALL)
    run(machine, cpu)
    before = list(cpu.regs)
    with cpu.home.batch():
        cpu.home.map_anonymous(0x70_0000, PAGE, 3)
        cpu.home.map_anonymous(0x71_0000, PAGE, 3)
    cpu.home.fork()
    run(machine, cpu)
    after = list(cpu.regs)
    before[RAX], before[ORIG_RAX], before[RIP] = after[RAX], 2, TEXT + 14
    before[RCX] = after[RCX]
    assert after == before
    assert after[RSP] == STACK + PAGE - 64
