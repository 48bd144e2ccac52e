"""What a hostile guest tries, and who kills stubs: no call reaches the host, no stub outlives its kernel.

The call tried is creat(2) of a file: it would be seen.  For the attacks whose call number means something else on the
way, kill(2) of a child of ours or exit(2) of the stub itself.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ring3.abi.stop import StopKind
from ring3.abi.x86 import (
    CS,
    CS_32,
    DS,
    EFLAGS,
    EFLAGS_AC,
    EFLAGS_DF,
    EFLAGS_NT,
    EFLAGS_TF,
    ORIG_RAX,
    R8,
    R9,
    RAX,
    RBP,
    RBX,
    RDI,
    RDX,
    RIP,
    RSI,
    RSP,
    SS_USER,
    Arch,
)
from ring3.machine.native import NativeMachine, code, zygote
from ring3.machine.native.ptrace import PTRACE_SEIZE, WAIT_ALL, ptrace
from tests.unit.machine.guest import (
    CALL_RAX,
    DATA,
    INT80,
    JMP_RAX,
    PAGE,
    SPIN,
    STACK,
    SYSCALL,
    SYSENTER,
    TEXT,
    at_call,
    load,
    mov_eax,
    movabs,
    run,
)

if TYPE_CHECKING:
    from ring3.machine.native.cpu import NativeCpu

pytestmark = pytest.mark.needs_ptrace

CREAT_64 = 85
CREAT_32 = 8
NR_TGKILL = 234
PTRACE_SETSIGMASK = 0x420B
FAR_TO_32 = b"\x6a\x23\x68" + struct.pack("<I", TEXT + 0x100) + b"\x48\xcb"       # push 0x23; push address; retfq


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A path short enough for the data page, which must not come to exist."""
    path = Path(f"/tmp/r3-{os.getpid()}")
    path.unlink(missing_ok=True)
    yield path
    assert not path.exists()
    assert not list(tmp_path.iterdir())


def armed(machine: NativeMachine, program: bytes, victim: Path) -> NativeCpu:
    """A thread whose registers ask for creat(victim, 0600) in both instruction sets' conventions."""
    cpu = load(machine, program)
    cpu.home.write(DATA, bytes(victim) + b"\0")
    cpu.regs[RDI] = cpu.regs[RBX] = DATA
    cpu.regs[RSI] = cpu.regs[1 + 10] = 0o600           # rsi, rcx
    return cpu


def test_each_way_to_call_is_a_stop(machine: NativeMachine, victim: Path) -> None:
    for program, number, arch in (
        (mov_eax(CREAT_64) + SYSCALL, CREAT_64, Arch.X86_64),
        (mov_eax(CREAT_64 | 0x4000_0000) + SYSCALL, CREAT_64 | 0x4000_0000, Arch.X86_64),       # x32
        (mov_eax(CREAT_32) + INT80, CREAT_32, Arch.I386),
    ):
        cpu = armed(machine, program + SPIN, victim)
        run(machine, cpu)
        assert at_call(cpu, number, arch)
        assert not victim.exists()


@pytest.mark.parametrize("entry", [INT80, SYSCALL, SYSENTER])
def test_a_far_jump_to_32_bit_code(machine: NativeMachine, victim: Path, entry: bytes) -> None:
    program = FAR_TO_32.ljust(0x100, b"\x90") + mov_eax(CREAT_32) + entry + SPIN
    cpu = armed(machine, program, victim)
    cpu.regs[DS] = SS_USER
    kind = run(machine, cpu)
    if kind is StopKind.SYSCALL:
        assert at_call(cpu, CREAT_32, Arch.I386)
    else:
        assert entry != INT80
        assert kind is StopKind.FAULT
    assert not victim.exists()
    before = cpu.regs[RIP]
    cpu.regs[RAX] = (1 << 64) - 38
    cpu.resume()
    assert machine.wait(block=False) in (None, cpu)
    assert before is not None


def test_sysenter_in_64_bit_code(machine: NativeMachine, victim: Path) -> None:
    cpu = armed(machine, mov_eax(CREAT_32) + SYSENTER + SPIN, victim)
    cpu.regs[RBP] = STACK
    for _ in range(3):
        kind = run(machine, cpu)
        assert kind in (StopKind.SYSCALL, StopKind.FAULT)
        if kind is StopKind.FAULT:
            break
        assert at_call(cpu, CREAT_32, Arch.I386)


@pytest.mark.parametrize(("entry", "number"), [(0, 96), (0x400, 201), (0x800, 309)])
def test_the_vsyscall_page_is_a_call(machine: NativeMachine, entry: int, number: int) -> None:
    cpu = load(machine, movabs(0, 0xFFFF_FFFF_FF60_0000 + entry) + CALL_RAX + b"\x48\x89\xc3" + mov_eax(7) + SYSCALL)
    cpu.home.write(DATA, b"\xee" * 64)
    cpu.regs[RDI], cpu.regs[RSI], cpu.regs[RDX] = DATA, DATA + 16, DATA + 32
    stack = cpu.regs[RSP]
    kind = run(machine, cpu)
    if kind is StopKind.FAULT:
        pytest.skip("this host has no vsyscall page")
    assert at_call(cpu, number)
    assert (cpu.regs[RIP], cpu.regs[RSP]) == (TEXT + 12, stack)
    assert cpu.home.read(DATA, 64) == b"\xee" * 64             # the host did not serve it
    cpu.regs[RAX] = 55
    run(machine, cpu)
    assert at_call(cpu, 7)
    assert cpu.regs[RBX] == 55


@pytest.mark.parametrize("gadget", [code.CALL, code.BATCH, code.BATCH_RETURN - 2])
def test_a_jump_to_the_gadget_is_a_call_like_any_other(machine: NativeMachine, victim: Path, gadget: int) -> None:
    cpu = armed(machine, movabs(0, gadget) + b"\x49\x89\xc7" + mov_eax(CREAT_64) + b"\x41\xff\xe7", victim)   # jmp r15
    if gadget == code.BATCH:                                   # with a command list of the guest's own
        cpu.home.write(DATA + 256, code.COMMAND.pack(CREAT_64, DATA, 0o600, 0, 0, 0, 0, 0))
        cpu.regs[RBX], cpu.regs[RBP] = DATA + 256, 1
    run(machine, cpu)
    assert at_call(cpu, CREAT_64)
    assert not victim.exists()
    cpu.regs[RAX] = (1 << 64) - 1
    assert run(machine, cpu) is StopKind.FAULT                 # the int3 behind it: the guest's own trap
    cpu.home.map_anonymous(0x70_0000, PAGE, 3)
    assert cpu.home.read(0x70_0000, 1) == b"\0"


def test_a_jump_to_the_exchange_gadget_is_harmless(machine: NativeMachine) -> None:
    cpu = load(machine, movabs(0, code.CMPXCHG) + JMP_RAX)
    cpu.regs[RDI] = code.STUB_PAGE
    assert run(machine, cpu) is StopKind.FAULT
    assert cpu.fault.signal == signal.SIGSEGV


def test_the_guest_cannot_write_our_pages(machine: NativeMachine) -> None:
    for addr in (code.STUB_PAGE, code.COMMANDS):
        cpu = load(machine, movabs(0, addr) + b"\xc6\x00\x90" + SPIN)            # mov byte [rax],0x90
        assert run(machine, cpu) is StopKind.FAULT
        assert cpu.fault.addr == addr


def test_the_filter_refuses_what_comes_from_elsewhere(machine: NativeMachine, victim: Path) -> None:
    """Were a stub ever resumed without SYSEMU, the second wall holds."""
    for program, conv in ((mov_eax(CREAT_64) + SYSCALL + SPIN, 0x33), (mov_eax(CREAT_32) + INT80 + SPIN, 0x33),
                          (mov_eax(CREAT_32) + INT80 + SPIN, CS_32)):
        cpu = armed(machine, program, victim)
        cpu.regs[CS] = conv
        cpu.block.words[1] = 7                                 # PTRACE_CONT
        run(machine, cpu)
        assert cpu.fault.signal == signal.SIGSYS
        assert not victim.exists()


@pytest.mark.parametrize("flags", [EFLAGS_TF, EFLAGS_AC, EFLAGS_DF, EFLAGS_NT, EFLAGS_TF | EFLAGS_AC | EFLAGS_DF])
def test_odd_flags_do_not_disturb_injected_calls(machine: NativeMachine, flags: int) -> None:
    cpu = load(machine, mov_eax(1) + SYSCALL + mov_eax(2) + SYSCALL)
    run(machine, cpu)
    cpu.regs[EFLAGS] |= flags
    cpu.home.map_anonymous(0x70_0000, PAGE, 3)
    with cpu.home.batch():
        for index in range(5):
            cpu.home.map_anonymous(0x71_0000 + index * PAGE, PAGE, 3)
    assert cpu.home.fork().read(0x70_0000, 1) == b"\0"
    kind = run(machine, cpu)
    if flags & EFLAGS_TF:
        assert kind is StopKind.FAULT
        assert cpu.fault.signal == signal.SIGTRAP
    else:
        assert at_call(cpu, 2)
        assert cpu.regs[EFLAGS] & flags == flags


def test_random_code_never_shakes_the_machine(machine: NativeMachine) -> None:
    dice = random.Random(3)
    for _ in range(150):
        program = b"".join(
            dice.choice((dice.randbytes(3), SYSCALL, INT80, SYSENTER, b"\x9d", b"\x50", b"\xcc", b"\x48\xcb"))
            for _ in range(40))
        cpu = load(machine, program)
        for register in range(16):
            places = (dice.getrandbits(64), DATA, STACK, TEXT, code.CALL, code.BATCH, 0x23, 0x33)
            cpu.regs[register] = dice.choice(places)
        cpu.regs[RSP] = STACK + dice.randrange(0, PAGE, 8)
        for _ in range(20):
            cpu.resume(step=dice.random() < 0.1)
            machine.set_alarm(time.monotonic_ns() + 5_000_000)
            if machine.wait() is None:
                cpu.interrupt()
                assert machine.wait() in {cpu, None}
            if cpu.kind is StopKind.FAULT and dice.random() < 0.7:
                cpu.regs[RIP] = TEXT + dice.randrange(len(program))
            if cpu.state == 0:
                cpu.home.map_anonymous(0x70_0000, PAGE, 3)
        cpu.home.close()
    machine.set_alarm(None)
    cpu = load(machine, mov_eax(1) + SYSCALL)
    while machine.wait(block=False) is not None:
        pass
    run(machine, cpu)
    assert at_call(cpu, 1)


# Killed and signalled from outside.

def test_a_stub_killed_while_running_is_a_stop(machine: NativeMachine) -> None:
    cpu = load(machine, SPIN)
    cpu.resume()
    assert machine.wait(block=False) is None
    os.kill(cpu.pid, signal.SIGKILL)
    assert machine.wait() is cpu
    assert (cpu.kind, cpu.fault.signal) == (StopKind.KILLED, signal.SIGKILL)
    machine.ring()
    assert machine.wait() is None                              # once
    cpu.kill()


def test_a_stub_killed_while_stopped_is_a_stop(machine: NativeMachine) -> None:
    cpu = load(machine, mov_eax(1) + SYSCALL)
    run(machine, cpu)
    os.kill(cpu.pid, signal.SIGKILL)
    time.sleep(0.02)
    cpu.resume()
    assert machine.wait() is cpu
    assert cpu.kind is StopKind.KILLED


@pytest.mark.parametrize("operation", ["map", "batch", "fork", "thread", "exchange", "xstate"])
def test_a_stub_killed_before_an_operation(machine: NativeMachine, operation: str) -> None:
    cpu = load(machine, mov_eax(1) + SYSCALL)
    run(machine, cpu)
    os.kill(cpu.pid, signal.SIGKILL)
    time.sleep(0.01)

    def attempt() -> None:
        if operation == "map":
            cpu.home.map_anonymous(0x70_0000, PAGE, 3)
        elif operation == "batch":
            with cpu.home.batch():
                cpu.home.map_anonymous(0x70_0000, PAGE, 3)
                cpu.home.map_anonymous(0x71_0000, PAGE, 3)
        elif operation == "fork":
            cpu.home.fork()
        elif operation == "thread":
            machine.new_thread(cpu.home)
        elif operation == "exchange":
            cpu.home.compare_exchange32(DATA, 0, 1)
        else:
            cpu.read_xstate()

    with pytest.raises(ProcessLookupError):
        attempt()
    cpu.resume()
    assert machine.wait() is cpu
    assert cpu.kind is StopKind.KILLED
    other = load(machine, mov_eax(1) + SYSCALL)
    assert run(machine, other) is StopKind.SYSCALL


def test_stubs_killed_at_random_moments(machine: NativeMachine) -> None:
    for round_ in range(30):
        cpu = load(machine, mov_eax(1) + SYSCALL + b"\xeb\xf7")
        killer = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.00{round_ % 10}; kill -9 {cpu.pid}"])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            cpu.resume()
            if machine.wait() is cpu and cpu.kind is StopKind.KILLED:
                break
            try:
                cpu.home.map_anonymous(0x70_0000, PAGE, 3)
                with cpu.home.batch():
                    cpu.home.map_anonymous(0x70_0000, PAGE, 3)
                    cpu.home.unmap(0x70_0000, PAGE)
                cpu.home.fork().close()
            except OSError as error:
                assert error.errno in (3, 11)  # noqa: PT017 - when it happens is chance
        assert cpu.kind is StopKind.KILLED
        cpu.home.close()
        assert killer.wait() == 0


def test_a_killed_first_stub_is_replaced(machine: NativeMachine) -> None:
    cpu = load(machine, mov_eax(1) + SYSCALL)
    for _ in range(2):
        assert machine._zygote > 1
        os.kill(machine._zygote, signal.SIGKILL)
        time.sleep(0.02)
        other = load(machine, mov_eax(2) + SYSCALL)
        run(machine, other)
        assert at_call(other, 2)
        run(machine, cpu)
        assert at_call(cpu, 1)
        cpu.regs[RIP] = TEXT


def test_a_killed_doorbell_is_replaced(machine: NativeMachine) -> None:
    for _ in range(2):
        machine.ring()
        assert machine.wait() is None
        assert machine._doorbell.pid > 1
        os.kill(machine._doorbell.pid, signal.SIGKILL)
        time.sleep(0.02)
        machine.ring()
        assert machine.wait() is None


def test_a_killed_spare_stub_is_an_error_of_its_space(machine: NativeMachine) -> None:
    space = machine.new_space()
    assert space.spare > 1
    os.kill(space.spare, signal.SIGKILL)
    with pytest.raises(OSError, match=r"process|killed"):
        space.map_anonymous(0x10_0000, PAGE, 3)
    with pytest.raises(OSError, match="process"):
        machine.new_thread(space)
    space.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGSTOP, signal.SIGTSTP, signal.SIGCONT,
                                    signal.SIGSEGV, signal.SIGTRAP, signal.SIGSYS, signal.SIGCHLD, signal.SIGRTMIN + 3])
def test_a_signal_from_outside_is_told_and_forgotten(machine: NativeMachine, number: int) -> None:
    cpu = load(machine, SPIN)
    for _ in range(2):
        cpu.resume()
        assert machine.wait(block=False) is None
        os.kill(cpu.pid, number)
        assert machine.wait() is cpu
        assert (cpu.kind, cpu.fault.signal) == (StopKind.SIGNAL, number)
    cpu.resume()
    assert machine.wait(block=False) is None
    cpu.interrupt()
    assert machine.wait() is cpu
    assert cpu.kind is StopKind.INTERRUPT


def test_a_signal_during_injected_calls_is_told_afterwards(machine: NativeMachine) -> None:
    cpu = load(machine, mov_eax(1) + SYSCALL + mov_eax(2) + SYSCALL)
    run(machine, cpu)
    os.kill(cpu.pid, signal.SIGTERM)
    cpu.home.map_anonymous(0x70_0000, PAGE, 3)
    child = cpu.home.fork()
    assert child.read(TEXT, 1) == b"\xb8"
    assert run(machine, cpu) is StopKind.SIGNAL
    assert cpu.fault.signal == signal.SIGTERM
    run(machine, cpu)
    assert at_call(cpu, 2)


def test_a_trap_signal_sent_to_a_stub_hides_no_end_of_an_injected_call(machine: NativeMachine) -> None:
    """One that is pending already makes the host drop that of the gadget's int3 (kernel/signal.c, `legacy_queue`).

    Blocked for a moment, it is pending for sure when the int3 comes.
    """
    cpu = load(machine, mov_eax(1) + SYSCALL)
    run(machine, cpu)
    blocked = ctypes.c_uint64(1 << signal.SIGTRAP - 1)

    def send() -> None:
        ptrace(PTRACE_SETSIGMASK, cpu.pid, 8, ctypes.addressof(blocked))
        assert ctypes.CDLL(None).syscall(NR_TGKILL, cpu.pid, cpu.pid, signal.SIGTRAP) == 0

    send()
    cpu.home.map_anonymous(0x70_0000, PAGE, 3)
    assert cpu.home.write(0x70_0000, b"x") == 1
    send()
    with cpu.home.batch():
        cpu.home.map_anonymous(0x71_0000, PAGE, 3)
        cpu.home.map_anonymous(0x72_0000, PAGE, 3)
    send()
    assert cpu.home.compare_exchange32(0x71_0000, 0, 5) == 0
    assert cpu.home.read(0x71_0000, 1) == b"\x05"


def test_all_stubs_killed_at_once_and_reaped_by_somebody_else(machine: NativeMachine) -> None:
    cpus = {load(machine, SPIN), load(machine, mov_eax(1) + SYSCALL)}
    for cpu in cpus:
        cpu.resume()
    machine.ring()
    while machine.wait() is not None:                          # until the doorbell stands and rang
        pass
    for pid in children():
        os.kill(pid, signal.SIGKILL)
    for pid in children():
        os.waitpid(pid, WAIT_ALL)
    assert {machine.wait(block=False), machine.wait(block=False)} == cpus
    assert {cpu.kind for cpu in cpus} == {StopKind.KILLED}
    assert machine.wait(block=False) is None
    machine.ring()
    assert machine.wait() is None
    for cpu in cpus:
        cpu.kill()
    other = load(machine, mov_eax(2) + SYSCALL)
    run(machine, other)
    assert at_call(other, 2)


def children() -> list[int]:
    return [int(pid) for pid in Path("/proc/thread-self/children").read_text().split()]


def test_no_doorbell_to_be_had(machine: NativeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host has no process for it: timers, rings and guests go on, looked after now and then."""
    def refuse() -> int:
        raise OSError(errno.EAGAIN, "no more processes")

    cpu = load(machine, mov_eax(1) + SYSCALL)
    monkeypatch.setattr(machine._doorbell, "_make_stub", refuse)
    machine.set_alarm(time.monotonic_ns() + 20_000_000)
    began = time.monotonic()
    while not machine.ready() and time.monotonic() - began < 5:
        assert machine.wait() is None
        if time.monotonic() - began > 0.025:
            break
    machine.set_alarm(None)
    cpu.resume()
    while machine.wait() is not cpu:
        assert time.monotonic() - began < 60
    assert at_call(cpu, 1)
    monkeypatch.undo()
    machine.ring()
    assert machine.wait() is None
    assert machine._doorbell.pid > 1


def test_a_first_stub_killed_while_it_is_seized_is_made_anew(machine: NativeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seizing a zombie is refused with EPERM, which means something else where ptrace is forbidden."""
    seized: list[int] = []

    def ptrace_after_kill(request: int, pid: int, addr: int = 0, data: int = 0) -> int:
        if request == PTRACE_SEIZE and not seized:
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | WAIT_ALL)
        seized.append(request)
        return ptrace(request, pid, addr, data)

    monkeypatch.setattr(zygote, "ptrace", ptrace_after_kill)
    os.kill(machine._zygote, signal.SIGKILL)
    other = load(machine, mov_eax(2) + SYSCALL)
    run(machine, other)
    assert at_call(other, 2)
    assert seized.count(PTRACE_SEIZE) == 2


def test_few_descriptors_are_said_and_none_is_kept() -> None:
    """Whatever lacks a descriptor first: what was made before it is given back."""
    program = textwrap.dedent("""
        import os, resource
        from ring3.machine.base import MachineUnavailable
        from ring3.machine.native import NativeMachine
        from ring3.machine.native.lifetime import FilesLimit
        NativeMachine().close()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        before, refusals = os.listdir("/proc/self/fd"), 0
        for room in range(4, 12):
            resource.setrlimit(resource.RLIMIT_NOFILE, (room, hard))
            FilesLimit.__init__ = lambda limit: setattr(limit, "_soft", 0) or setattr(limit, "_hard", 0)
            try:
                NativeMachine().close()
            except MachineUnavailable as refusal:
                assert "ulimit -n" in str(refusal), refusal
                refusals += 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        assert os.listdir("/proc/self/fd") == before
        print(refusals)
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert int(done.stdout) > 2


def test_a_ring_of_a_closed_machine_is_heard_by_nobody() -> None:
    machine = NativeMachine()
    machine.close()
    machine.ring()


# The end of the kernel.

KERNEL = textwrap.dedent("""
    import os, signal, sys
    from ring3.machine.native import NativeMachine
    from tests.unit.machine.guest import SPIN, SYSCALL, load, mov_eax
    how = sys.argv[1]
    def kernel():
        m = NativeMachine()
        spinning = load(m, SPIN)
        stopped = load(m, mov_eax(1) + SYSCALL)
        thread = load(m, SPIN, stopped.home)
        m.new_space()
        spinning.resume()
        m.wait(block=False)
        m.ring()
        while m.wait() is not None:
            pass
        pids = open('/proc/thread-self/children').read()
        print(pids, flush=True)
        if how == 'segv':
            os.kill(os.getpid(), signal.SIGSEGV)
        if how == 'exit':
            os._exit(3)
        if how == 'raise':
            raise SystemExit(1)
        m.wait()
    kernel()
""")


def ended(pid: int) -> bool:
    """Gone, or the business of init, which may take its time to reap."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return fields[0] in {"Z", "X"} and fields[1] == "1"


@pytest.mark.parametrize("how", ["kill", "term", "segv", "exit", "raise"])
def test_no_stub_outlives_its_kernel(how: str) -> None:
    kernel = subprocess.Popen([sys.executable, "-c", KERNEL, how], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "PYTHONPATH": "src:."}, start_new_session=True)
    assert kernel.stdout is not None
    pids = [int(pid) for pid in kernel.stdout.readline().split()]
    assert len(pids) >= 5
    if how in ("kill", "term"):
        kernel.send_signal(signal.SIGKILL if how == "kill" else signal.SIGTERM)
    kernel.wait(20)
    kernel.stdout.close()
    deadline = time.monotonic() + 60
    while left := [pid for pid in pids if not ended(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def test_a_machine_ends_with_its_thread() -> None:
    pids: list[int] = []

    def kernel() -> None:
        machine = NativeMachine()
        cpu = load(machine, SPIN)
        cpu.resume()
        assert machine.wait(block=False) is None
        pids.extend(int(pid) for pid in Path("/proc/thread-self/children").read_text().split())

    thread = threading.Thread(target=kernel)
    thread.start()
    thread.join(10)
    assert len(pids) == 2
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_stubs_are_in_a_session_of_their_own_and_first_to_go(machine: NativeMachine) -> None:
    cpu = load(machine, SPIN)
    assert os.getsid(cpu.pid) != os.getsid(0)
    assert Path(f"/proc/{cpu.pid}/oom_score_adj").read_text().strip() == "1000"
    status = Path(f"/proc/{cpu.pid}/status").read_text()
    for line in ("SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "SigCgt:\t0000000000000000", "Seccomp:\t2",
                 "NoNewPrivs:\t1"):
        assert line in status


def test_a_forked_child_of_the_kernel_is_refused(machine: NativeMachine) -> None:
    cpu = load(machine, mov_eax(1) + SYSCALL)
    run(machine, cpu)
    pid = os.fork()
    if not pid:
        refused = 0
        try:
            for attempt in (machine.new_space, machine.wait, lambda: cpu.home.read(TEXT, 1), cpu.home.fork, cpu.kill,
                            lambda: cpu.home.map_anonymous(0x70_0000, PAGE, 3), lambda: cpu.home.write(TEXT, b"x")):
                try:
                    attempt()
                except RuntimeError:
                    refused += 1
            machine.close()
        finally:
            os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    cpu.regs[RIP] = TEXT
    run(machine, cpu)
    assert at_call(cpu, 1)


def test_regs_word_numbers_used_here_are_those_of_the_abi() -> None:
    assert (R9, R8, RAX, ORIG_RAX) == (8, 9, 10, 15)
