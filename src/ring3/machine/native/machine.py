"""The native machine: spaces, threads, and the wait for the next stop.

`wait` is the hot path of the whole kernel: it hands the last queued thread to `Tracer.step`, which resumes it, sleeps
in wait4(2) and fetches the registers of whatever stopped, in one go; the case "the thread just resumed is at a system
call" is recognised first, everything else in `_sort`.

All stubs are of one process group, and `wait` waits for that group only: other children of the process are never
touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Final, NoReturn

from ring3.abi.stop import Fault, StopKind
from ring3.machine.base import Cpu, MachineUnavailable, Space
from ring3.machine.native import zygote
from ring3.machine.native.affinity import Affinity
from ring3.machine.native.cpu import DEAD, QUEUED, RUNNING, STOPPED, NativeCpu, fresh_xstate, get_xstate, set_xstate
from ring3.machine.native.doorbell import Doorbell
from ring3.machine.native.facts import LazyVdso, find_vdso, host_facts
from ring3.machine.native.lifetime import FilesLimit, Guard
from ring3.machine.native.ptrace import (
    BLOCK,
    ERROR,
    INFO,
    OPTIONS,
    PID,
    REGS,
    SI_KERNEL,
    STATUS,
    SYSCALL_STATUS,
    WAIT_ALL,
    WNOHANG,
    Tracer,
)
from ring3.machine.native.space import NativeSpace
from ring3.machine.native.stops import ENTRIES, describe

_SYSCALL: Final = StopKind.SYSCALL

_MAX_XSTATE: Final = 1 << 16
_ATTEMPTS: Final = 8              # to have a first stub that nobody kills
_WITHOUT_BELL_S: Final = 0.002    # between two looks while the host lets us have no doorbell


class NativeMachine:
    """A `Machine` on this CPU, through ptrace(2).  Belongs to the thread that makes it, and ends with it.

    Raises `MachineUnavailable` when made where the host forbids that.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._storage = threading.local()
        self._affinity = Affinity()
        self._cpus: dict[int, NativeCpu] = {}
        self._spaces: set[NativeSpace] = set()
        self._spares: dict[int, NativeSpace] = {}
        self._dying: set[int] = set()
        self._stops: deque[NativeCpu] = deque()      # stops found elsewhere than in `wait`
        self._running = 0
        self._is_closed = False
        self.queue: list[NativeCpu] = []
        self.serial = 0                              # goes up with each wait, and with each change of an extended state
        self._files_limit = FilesLimit()
        try:
            self.tracer = Tracer(self._died)
            try:
                self._doorbell = Doorbell(self.tracer, self._from_zygote, self._end, self._tick)
            except OSError:
                self.tracer.close()
                raise
        except OSError as error:
            self._files_limit.restore()
            raise zygote.explain(error) from error
        self._control = self.tracer.control
        self._step = self.tracer.step
        self._affinity.pin(ctypes.CDLL(None).sched_getcpu())
        self._zygote = 0
        try:
            size = self._make_zygote()
            features = int.from_bytes(get_xstate(self._zygote, size)[464:472], "little")     # struct _fpx_sw_bytes
            self.facts = host_facts(self._affinity.ncpus, size, features, LazyVdso(partial(find_vdso, self)))
        except BaseException:
            self.close()
            raise
        self._storage.guard = Guard(self)

    # Spaces and threads.

    def new_space(self) -> NativeSpace:
        """See `Machine`.  Raises `OSError`."""
        return self.adopt(NativeSpace(self, self._from_zygote()))

    def _from_zygote(self) -> int:
        """A new empty stub.  Should somebody have killed the first stub, another takes its place."""
        if not self.tracer.usable():
            self.refuse()
        for _ in range(_ATTEMPTS):
            try:
                if not self._zygote:
                    self._make_zygote()
                return zygote.clone(self.tracer, self._zygote, zygote.NEW_SPACE)
            except ProcessLookupError:
                self._zygote = 0
            except MachineUnavailable as error:
                raise OSError(errno.EAGAIN, str(error)) from error
        raise ProcessLookupError(errno.ESRCH, "the first stub was killed again and again")

    def _make_zygote(self) -> int:
        """Make the first stub; bytes of extended state."""
        self._zygote, self.has_vdso = zygote.make_zygote(self.tracer)
        size = len(get_xstate(self._zygote, _MAX_XSTATE))
        set_xstate(self._zygote, fresh_xstate(size))
        return size

    def new_thread(self, space: Space, like: Cpu | None = None) -> NativeCpu:
        """See `Machine`.  Raises `OSError`."""
        assert isinstance(space, NativeSpace)
        assert like is None or isinstance(like, NativeCpu)
        pid, donor, spread = space.new_stub()
        self._spares.pop(pid, None)
        cpu = NativeCpu(self, space, pid)
        cpu.spread = spread
        self._cpus[pid] = space.cpus[pid] = cpu
        inherited = donor is None if like is None else donor is not None and donor == (like, self.serial)
        try:
            cpu.take_after(like, inherited=inherited)
        except OSError:
            self.kill(cpu)
            raise
        return cpu

    def adopt(self, space: NativeSpace) -> NativeSpace:
        """Take a new space into the books."""
        self._spaces.add(space)
        self._spares[space.spare] = space
        return space

    def forget(self, space: NativeSpace) -> None:
        """End a closed space's stubs and strike it out."""
        self._spaces.discard(space)
        if not self.tracer.usable():
            return
        for cpu in list(space.cpus.values()):
            self.kill(cpu)
        if space.spare:
            self._spares.pop(space.spare, None)
            self._end(space.spare)
            space.spare = 0

    def kill(self, cpu: NativeCpu) -> None:
        """See `Cpu.kill`: its end is waited for by whichever `wait` meets it."""
        if cpu.state == DEAD:
            if cpu in self._stops:
                self._stops.remove(cpu)
            return
        if not self.tracer.usable():
            self.refuse()
        self._leave(cpu)
        self._end(cpu.pid)

    def _end(self, pid: int) -> None:
        self._dying.add(pid)
        with contextlib.suppress(ProcessLookupError):    # somebody's bare wait() took its end
            os.kill(pid, signal.SIGKILL)

    def _leave(self, cpu: NativeCpu) -> None:
        """Strike out a thread that is dead or about to be."""
        if cpu.state == RUNNING:
            self._running -= 1
        elif cpu.state == QUEUED:
            self.queue.remove(cpu)
        cpu.state = DEAD
        self._cpus.pop(cpu.pid, None)
        cpu.home.cpus.pop(cpu.pid, None)

    def _died(self, pid: int, status: int) -> None:
        """A stub turned out dead: its thread gets its last stop."""
        self._dying.discard(pid)
        cpu = self._cpus.get(pid)
        if cpu is not None:
            self._leave(cpu)
            cpu.kind = StopKind.KILLED
            cpu.fault = Fault(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, 0, 0)
            self._stops.append(cpu)
        elif (space := self._spares.pop(pid, None)) is not None:
            space.spare = 0
        elif pid == self._zygote:
            self._zygote = 0

    # Stops.

    def wait(self, *, block: bool = True) -> NativeCpu | None:
        """See `Machine`."""
        control, queue = self._control, self.queue
        if block and not self._doorbell.is_armed and not self._doorbell.arm():
            block = False
            time.sleep(_WITHOUT_BELL_S)
        if len(queue) == 1 and not self._stops:
            cpu: NativeCpu | None = queue.pop()
            assert cpu is not None
            cpu.state = RUNNING
            self._running += 1
            control[BLOCK] = cpu.block.address
        else:
            cpu = self._start_all_but_one()
            if self._stops:
                return self._stops.popleft()
        if self._running > 1 and not self._affinity.is_ticking and self._affinity.can_spread:
            self._doorbell.tick_after(self._affinity.first_tick(self.serial))
        self.serial += 1
        control[OPTIONS] = WAIT_ALL if block else WAIT_ALL | WNOHANG
        self._step()
        if cpu is not None:
            if control[STATUS] == SYSCALL_STATUS and control[PID] == cpu.pid and cpu.block.words[INFO] in ENTRIES:
                cpu.state = STOPPED
                self._running -= 1
                cpu.kind = _SYSCALL
                cpu.arch = ENTRIES[cpu.block.words[INFO]]
                cpu.asked = False
                if cpu.spread and not self._running:
                    self._affinity.gather(cpu)
                return cpu
            if control[ERROR] and not control[PID] and control[ERROR] != (1 << 64) - errno.ESRCH:
                return self._bad_registers(cpu)
        return self._sort(cpu, block=block)

    def _start_all_but_one(self) -> NativeCpu | None:
        """Resume what is queued, except for one that `step` can take along.  None when there is nothing to take."""
        queue = self.queue
        last: NativeCpu | None = None
        while queue:
            cpu = queue.pop(0)
            cpu.state = RUNNING
            self._running += 1
            if not queue and not self._stops:
                last = cpu
                break
            error = self.tracer.resume(cpu.block)
            if error and error != errno.ESRCH:
                self._stops.append(self._bad_registers(cpu))
        self._control[BLOCK] = last.block.address if last is not None else 0
        return last

    def _bad_registers(self, cpu: NativeCpu) -> NativeCpu:
        """The host refused the registers: what the CPU would have done when it returned to the guest with them."""
        cpu.state = STOPPED
        self._running -= 1
        cpu.kind = StopKind.FAULT
        cpu.fault = Fault(signal.SIGSEGV, SI_KERNEL, 0)
        return cpu

    def _sort(self, resumed: NativeCpu | None, *, block: bool) -> NativeCpu | None:
        """Make sense of what `step` found, and go on waiting while it concerns nobody above."""
        control = self._control
        while True:
            pid = control[PID]
            if pid >> 63:
                self._wait_failed((1 << 64) - pid)
            elif pid and not control[ERROR]:
                if pid == self._doorbell.pid:
                    if self._doorbell.stopped(alive=control[STATUS] & 0x7F == 0x7F):
                        return None
                elif (cpu := self._take(pid, control[STATUS], resumed)) is not None:
                    return cpu
            elif not block and not control[ERROR]:
                return None
            if self._stops:
                return self._stops.popleft()
            if pid >> 63 and not block:
                return None
            if block and not self._doorbell.is_armed and not self._doorbell.arm():
                return None
            control[BLOCK], resumed = 0, None
            control[OPTIONS] = WAIT_ALL if block else WAIT_ALL | WNOHANG
            self._step()

    def _wait_failed(self, number: int) -> None:
        if number == errno.EINTR:
            return                                   # a signal handler of Python ran
        if number != errno.ECHILD:
            raise OSError(number, os.strerror(number))
        if not self.tracer.usable() or threading.get_ident() != self._thread:
            self.refuse()
        self._lost_all()

    def _lost_all(self) -> None:
        """There is no stub left: all were killed, and somebody's bare wait() took some of their ends."""
        self._doorbell.lost()
        for pid in (*self._cpus, *self._spares, *self._dying, self._zygote):
            self._died(pid, signal.SIGKILL)

    def _take(self, pid: int, status: int, resumed: NativeCpu | None) -> NativeCpu | None:
        """One stub changed: the thread to give back, or None where nobody above is concerned."""
        cpu = self._cpus.get(pid)
        if status & 0x7F != 0x7F:
            self._died(pid, status)
            return None
        if cpu is None or cpu.state != RUNNING:
            if cpu is None and pid not in self._dying and pid not in self._spares and pid != self._zygote:
                self._orphan(pid)
            return None
        if cpu is not resumed:
            cpu.block.raw[REGS * 8 :] = self.tracer.fallback.raw[REGS * 8 :]
        asked, cpu.asked = cpu.asked, False
        cpu.state = STOPPED
        self._running -= 1
        if describe(cpu, status, asked=asked):
            if cpu.spread and not self._running:
                self._affinity.gather(cpu)
            return cpu
        cpu.state = RUNNING
        self._running += 1
        self.tracer.resume(cpu.block)                # a failure means it is dying: its end follows
        return None

    def _orphan(self, pid: int) -> None:
        """End a stub whose maker was killed before it could tell of it."""
        if os.getpgid(pid) in self.tracer.groups:
            self._end(pid)

    # What else wakes the kernel.

    def ring(self) -> None:
        """See `Machine`."""
        try:
            os.eventfd_write(self._doorbell.bell, 1)
        except (OSError, ValueError):
            if not self._is_closed:
                raise

    def set_alarm(self, deadline_ns: int | None) -> None:
        """See `Machine`."""
        self._doorbell.set_alarm(deadline_ns)

    def watch(self, fd: int, events: int) -> None:
        """See `Machine`."""
        self._doorbell.watch(fd, events)

    def ready(self) -> Sequence[tuple[int, int]]:
        """See `Machine`."""
        return self._doorbell.ready()

    def _tick(self) -> None:
        running = [cpu for cpu in self._cpus.values() if cpu.state == RUNNING]
        nanoseconds = self._affinity.tick(running, self.serial)
        if nanoseconds:
            self._doorbell.tick_after(nanoseconds)

    # Facts, descriptors, the end.

    def drop_memory_descriptors(self) -> None:
        """Close every space's memory descriptor: the process has no descriptor left."""
        for space in self._spaces:
            space.close_memory()

    def refuse(self) -> NoReturn:
        """Raise `RuntimeError` for a use that cannot be: closed, another thread, a forked child."""
        if self._is_closed:
            raise RuntimeError("the machine is closed")
        if not self.tracer.usable():
            raise RuntimeError("the machine belongs to the process this one was forked from")
        raise RuntimeError("the machine belongs to the thread that made it")

    def close(self) -> None:
        """See `Machine`.  In a forked child only descriptors go back.  Raises `RuntimeError` from another thread."""
        if self._is_closed:
            return
        usable = self.tracer.usable()
        if usable and threading.get_ident() != self._thread:
            self.refuse()
        for space in list(self._spaces):
            space.close()
        self._is_closed = True
        self._storage.__dict__.clear()
        if usable:
            for pid in (self._zygote, self._doorbell.pid):
                if pid:
                    self._end(pid)
            for pid in tuple(self._dying):
                zygote.reap(self.tracer, pid)
            self.tracer.end_rest()
        self._dying.clear()
        self._stops.clear()
        self.queue.clear()
        self._give_back(usable=usable)

    def _give_back(self, *, usable: bool = True) -> None:
        self._is_closed = True
        self._doorbell.close()
        self.tracer.close()
        if usable:
            self._affinity.restore()
            self._files_limit.restore()

