"""A machine without a CPU: each thread does what a script says.  For tests of the floors above.

    def program():                              # a guest, written in Python
        fd = yield call(2, 0x1000, 0, 0)        # its system call; what it is answered comes back, signed
        yield call(60, fd)

    machine = ScriptedMachine(lambda cpu: program())

A script is any iterable of traps; a generator gets the result register of each call it makes.  A thread whose script
has ended runs for ever: only an interrupt or a kill ends it.  Every resume is recorded in `ScriptedMachine.resumes`.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from ring3.abi.stop import Fault, StopKind
from ring3.abi.x86 import (
    CS,
    CS_64,
    EFLAGS,
    FS,
    FS_BASE,
    GS,
    GS_BASE,
    NREGS,
    ORIG_RAX,
    R8,
    R9,
    R10,
    RAX,
    RBP,
    RBX,
    RCX,
    RDI,
    RDX,
    RSI,
    SS,
    SS_USER,
    Arch,
)
from ring3.machine.base import Cpu, MachineFacts, Space
from ring3.machine.pages import PAGE, PageSpace
from ring3.namedtuple import NamedTuple

USER_TOP: Final = 0x7FFF_FFFF_0000
XSTATE_SIZE: Final = 576                    # legacy area and header
_MASK: Final = (1 << 64) - 1
_ENOSYS: Final = -38
_ARGUMENTS: Final = {Arch.X86_64: (RDI, RSI, RDX, R10, R8, R9), Arch.I386: (RBX, RCX, RDX, RSI, RDI, RBP)}


_NO_REGS: Final[Mapping[int, int]] = MappingProxyType({})


class Trap(NamedTuple):
    """One stop of a script.  `regs` are set before the stop is seen."""

    kind: StopKind
    regs: Mapping[int, int] = _NO_REGS
    arch: Arch = Arch.X86_64
    fault: Fault = Fault(0, 0, 0)


def call(number: int, *args: int, arch: Arch = Arch.X86_64) -> Trap:
    """A system call with up to six arguments."""
    regs = {register: arg & _MASK for register, arg in zip(_ARGUMENTS[arch], args, strict=False)}
    return Trap(StopKind.SYSCALL, {**regs, ORIG_RAX: number & _MASK, RAX: _ENOSYS & _MASK}, arch)


def fault(signal: int, code: int = 1, addr: int = 0) -> Trap:
    """A CPU exception."""
    return Trap(StopKind.FAULT, fault=Fault(signal, code, addr))


def signalled(signal: int) -> Trap:
    """A signal somebody outside sent to the host task."""
    return Trap(StopKind.SIGNAL, fault=Fault(signal, 0, 0))


def killed(signal: int = 9) -> Trap:
    """The host task is gone."""
    return Trap(StopKind.KILLED, fault=Fault(signal, 0, 0))


class Resume(NamedTuple):
    """What a thread was resumed with: the thread, its registers then, and whether for one step."""

    cpu: ScriptedCpu
    regs: tuple[int, ...]
    step: bool


class ScriptedCpu:
    """A `Cpu` that follows a script; `script` may be replaced at any time."""

    def __init__(self, machine: ScriptedMachine, space: ScriptedSpace) -> None:
        self._machine = machine
        self.owner: Any = None
        self.space: Space = space
        self.kind = StopKind.INTERRUPT
        self.arch = Arch.X86_64
        self.fault = Fault(0, 0, 0)
        self.regs = memoryview(bytearray(NREGS * 8)).cast("Q")
        self.regs[CS], self.regs[SS], self.regs[EFLAGS] = CS_64, SS_USER, 0x202
        self.tls: dict[int, bytes] = {}
        self.script: Iterable[Trap] | None = None
        self._running: Generator[Trap, int, Any] | None = None
        self._xstate = _fresh_xstate()
        self.is_running = False
        self.is_alive = True

    def resume(self, *, step: bool = False) -> None:
        """See `Cpu`."""
        if self.is_running or not self.is_alive:
            return
        self.is_running = True
        self._machine.resumes.append(Resume(self, tuple(self.regs), step))
        self._machine.queue.append(self)

    def next_trap(self) -> Trap | None:
        """The script's next trap; None when it has ended."""
        if self._running is None:
            if self.script is None:
                self.script = self._machine.program(self)
            self._running = _generator(self.script)
            return next(self._running, None)
        result = self.regs[RAX]
        try:
            return self._running.send(result - ((result >> 63) << 64))
        except StopIteration:
            return None

    def stop(self, trap: Trap) -> None:
        """Stop for this reason."""
        for register, value in trap.regs.items():
            self.regs[register] = value
        self.kind, self.arch, self.fault = trap.kind, trap.arch, trap.fault
        self.is_running = False
        if trap.kind is StopKind.KILLED:
            self.is_alive = False

    def interrupt(self) -> None:
        """See `Cpu`."""
        if self.is_running:
            self._machine.interrupted.append(self)

    def kill(self) -> None:
        """See `Cpu`."""
        self.is_alive = self.is_running = False
        self._machine.drop(self)

    def cpu_time_ns(self) -> int:
        """See `Cpu`: nobody measures."""
        return 0

    def read_xstate(self) -> bytes:
        """See `Cpu`."""
        return self._xstate

    def write_xstate(self, state: bytes) -> None:
        """See `Cpu`.  Refused: another length, a reserved bit in the header."""
        if len(state) != XSTATE_SIZE or any(state[520:576]) or state[512] & ~3 or any(state[513:520]):
            raise ValueError("the CPU refuses this extended state")
        self._xstate = bytes(state)

    def reset_xstate(self) -> None:
        """See `Cpu`."""
        self._xstate = _fresh_xstate()

    def set_thread_area(self, entry: int, descriptor: bytes) -> None:
        """See `Cpu`."""
        if entry not in (12, 13, 14):
            raise OSError(22, "this GDT slot is not for thread-local storage")
        self.tls[entry] = bytes(descriptor)
        base = int.from_bytes(descriptor[4:8], "little")
        for segment, segment_base in ((FS, FS_BASE), (GS, GS_BASE)):
            if self.regs[segment] == entry << 3 | 3:
                self.regs[segment_base] = base


def _fresh_xstate() -> bytes:
    state = bytearray(XSTATE_SIZE)
    state[0:2], state[24:28], state[512] = b"\x7f\x03", b"\x80\x1f\0\0", 3
    return bytes(state)


def _generator(script: Iterable[Trap]) -> Generator[Trap, int, Any]:
    if isinstance(script, Generator):
        return script

    def replay() -> Generator[Trap, int, None]:
        for trap in script:  # noqa: UP028 - `yield from` would send results to a list
            yield trap

    return replay()


class ScriptedSpace(PageSpace):
    """A `Space` of pages in Python."""

    def __init__(self, machine: ScriptedMachine) -> None:
        super().__init__(machine.facts.user_top, machine.facts.min_addr, machine.facts.vdso)
        self._machine = machine

    def fork(self) -> ScriptedSpace:
        """See `Space`."""
        space = ScriptedSpace(self._machine)
        space.pages = {number: page.copy() for number, page in self.pages.items()}
        self._machine.spaces.append(space)
        return space

    def close(self) -> None:
        """See `Space`."""
        super().close()
        for cpu in self._machine.cpus:
            if cpu.space is self:
                cpu.kill()


SCRIPTED_FACTS: Final = MachineFacts(
    name="scripted", page_size=PAGE, user_top=USER_TOP, min_addr=65536, ncpus=1, hwcap=0x178BFBFF, hwcap2=2,
    hwcap3=None, platform=b"x86_64", minsigstksz=1440, xstate_size=XSTATE_SIZE, xfeatures=3, clock_ticks=100, vdso={},
)


class ScriptedMachine:
    """A `Machine` whose threads follow scripts.

    `program` gives the script of a thread when it first runs.  `wait` blocks for `ring`, the alarm and watched
    descriptors as a real machine does, but no longer than `patience` seconds: a test that would hang raises
    `TimeoutError`.
    """

    def __init__(self, program: Callable[[ScriptedCpu], Iterable[Trap]] = lambda _: (), *,
                 facts: MachineFacts = SCRIPTED_FACTS, patience: float = 10.0) -> None:
        self.facts = facts
        self.program = program
        self.resumes: list[Resume] = []
        self.spaces: list[ScriptedSpace] = []
        self.cpus: list[ScriptedCpu] = []
        self.queue: deque[ScriptedCpu] = deque()
        self.interrupted: deque[ScriptedCpu] = deque()
        self._patience = patience
        self._deadline_ns: int | None = None
        self._watched: dict[int, int] = {}
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_closed = False

    def new_space(self) -> ScriptedSpace:
        """See `Machine`."""
        space = ScriptedSpace(self)
        self.spaces.append(space)
        return space

    def new_thread(self, space: Space, like: Cpu | None = None) -> ScriptedCpu:
        """See `Machine`."""
        assert isinstance(space, ScriptedSpace)
        cpu = ScriptedCpu(self, space)
        if like is not None:
            assert isinstance(like, ScriptedCpu)
            cpu.regs[:] = like.regs
            cpu.arch = like.arch
            cpu.tls = dict(like.tls)
            cpu.write_xstate(like.read_xstate())
        self.cpus.append(cpu)
        return cpu

    def wait(self, *, block: bool = True) -> ScriptedCpu | None:
        """See `Machine`.  Raises `TimeoutError` when nothing can come any more, or nothing came."""
        if self._woken(0):
            return None
        while self.interrupted:
            cpu = self.interrupted.popleft()
            if cpu.is_running:
                if cpu in self.queue:
                    self.queue.remove(cpu)
                cpu.stop(Trap(StopKind.INTERRUPT))
                return cpu
        while self.queue:
            cpu = self.queue.popleft()
            trap = cpu.next_trap()
            if trap is not None:
                cpu.stop(trap)
                return cpu
        if block and not self._woken(self._patience):
            raise TimeoutError("no thread stops, and nothing else wakes the kernel")
        return None

    def _woken(self, seconds: float) -> bool:
        """Whether bell, alarm or a watched descriptor wants the kernel, within so many seconds."""
        end_ns = time.monotonic_ns() + int(seconds * 1e9)
        poll = select.poll()
        for fd, events in ((self._bell, select.POLLIN), *self._watched.items()):
            poll.register(fd, events)
        while True:
            now = time.monotonic_ns()
            if self._deadline_ns is not None and now >= self._deadline_ns:
                self._deadline_ns = None
                return True
            until = end_ns if self._deadline_ns is None else min(end_ns, self._deadline_ns)
            ready = poll.poll(max(-(-(until - now) // 1_000_000), 0))
            if any(fd == self._bell for fd, _ in ready):
                os.eventfd_read(self._bell)
            if ready:
                return True
            if time.monotonic_ns() >= end_ns and until == end_ns:
                return False

    def drop(self, cpu: ScriptedCpu) -> None:
        """Forget a killed thread."""
        for queue in (self.queue, self.interrupted):
            if cpu in queue:
                queue.remove(cpu)

    def ring(self) -> None:
        """See `Machine`."""
        os.eventfd_write(self._bell, 1)

    def set_alarm(self, deadline_ns: int | None) -> None:
        """See `Machine`."""
        self._deadline_ns = deadline_ns

    def watch(self, fd: int, events: int) -> None:
        """See `Machine`."""
        if not events:
            self._watched.pop(fd, None)
            return
        with select.epoll() as probe:
            probe.register(fd, events)                       # refuses what is always ready
        self._watched[fd] = events

    def ready(self) -> Sequence[tuple[int, int]]:
        """See `Machine`."""
        poll = select.poll()
        for fd, events in self._watched.items():
            poll.register(fd, events)
        return poll.poll(0)

    def close(self) -> None:
        """See `Machine`."""
        if self._is_closed:
            return
        self._is_closed = True
        for space in list(self.spaces):
            space.close()
        os.close(self._bell)
