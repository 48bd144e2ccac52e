"""The doorbell: how timers, descriptors and other threads wake a kernel thread that sleeps in wait4(2).

One more stub sits in `epoll_wait` on a set the kernel process shares with it; when something is ready the call ends,
the stub meets an `int3`, and that stop is what `wait` sees.  No lost wake-up: the set is level-triggered and the stub
goes back into the call before every blocking wait, so whatever is ready then, or becomes ready later, ends it.

Sources: epoll(7), timerfd_create(2), eventfd(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
from collections.abc import Callable, Sequence
from typing import Final

from ring3.abi.x86 import CS, CS_64, EFLAGS, R10, RAX, RDI, RDX, RIP, RSI, SS, SS_USER
from ring3.machine.native import code, zygote
from ring3.machine.native.ptrace import PTRACE_CONT, REQUEST, TASK, Block, Tracer, oserror

_TFD_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME: Final = 1
_CLOCK_MONOTONIC: Final = 1
_SECOND: Final = 1_000_000_000
_ATTEMPTS: Final = 8              # to have a stub that nobody kills

_libc: Final = ctypes.CDLL(None, use_errno=True)
_timerfd_settime: Final = _libc.timerfd_settime
_timerfd_settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class Timer:
    """A timerfd on CLOCK_MONOTONIC, readable once its time has come."""

    def __init__(self) -> None:
        self.fd: int = _libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_FLAGS)
        if self.fd < 0:
            raise oserror(ctypes.get_errno())
        self._spec = (ctypes.c_long * 4)()               # struct itimerspec: interval, value
        self._address = ctypes.addressof(self._spec)

    def set(self, nanoseconds: int, *, absolute: bool) -> None:
        """Go off at (or after) so many nanoseconds; 0 switches it off."""
        self._spec[2], self._spec[3] = divmod(nanoseconds, _SECOND)
        if _timerfd_settime(self.fd, _TFD_TIMER_ABSTIME if absolute else 0, self._address, None) < 0:
            raise oserror(ctypes.get_errno())

    def consume(self) -> bool:
        """Whether it had gone off; it has not any more."""
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            return False
        return True


class Doorbell:
    """The descriptors `wait` listens to, and the stub that listens.

    `make_stub` gives the pid of a fresh, empty stub, `end_stub` ends one; `on_tick` is called when the tick set by
    `tick_after` has come, which does not end the kernel's wait.
    """

    def __init__(self, tracer: Tracer, make_stub: Callable[[], int], end_stub: Callable[[int], None],
                 on_tick: Callable[[], None]) -> None:
        self._tracer = tracer
        self._make_stub = make_stub
        self._end_stub = end_stub
        self._on_tick = on_tick
        self._epoll = select.epoll()
        self._own: list[int] = []
        try:
            self.bell = self._listen(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
            self._alarm, self._tick = self._timer(), self._timer()      # now: later there may be no descriptor left
        except OSError:
            self.close()
            raise
        self._deadline_ns: int | None = None
        self._watched: set[int] = set()
        self.pid = 0
        self.is_armed = False
        self._block = Block()
        self._block.words[REQUEST] = PTRACE_CONT

    def _listen(self, fd: int) -> int:
        self._own.append(fd)
        self._epoll.register(fd, select.EPOLLIN)
        return fd

    def _timer(self) -> Timer:
        timer = Timer()
        self._listen(timer.fd)
        return timer

    def arm(self) -> bool:
        """Send the stub into its wait.  False when there is none and none can be made now: nobody may sleep then."""
        if not self.pid and not self._hire():
            return False
        regs = self._block.regs
        regs[RIP], regs[RAX] = code.CALL, zygote.NR_EPOLL_WAIT
        regs[RDI], regs[RSI], regs[RDX], regs[R10] = self._epoll.fileno(), code.BELL_PAGE, 1, 0xFFFF_FFFF
        regs[CS], regs[SS], regs[EFLAGS] = CS_64, SS_USER, 0x202
        self._tracer.resume(self._block)
        self.is_armed = True
        return True

    def _hire(self) -> bool:
        for _ in range(_ATTEMPTS):
            pid = 0
            try:
                pid = self._make_stub()
                self._tracer.call(pid, zygote.NR_MMAP, code.BELL_PAGE, code.PAGE, 3,
                                  zygote.MAP_PRIVATE | zygote.MAP_ANONYMOUS | zygote.MAP_FIXED, -1, 0)
            except ProcessLookupError:
                continue                                 # somebody killed it
            except OSError:
                if pid:
                    self._end_stub(pid)
                return False
            self._block.words[TASK] = self.pid = pid
            return True
        return False

    def lost(self) -> None:
        """The stub is gone and its end was told to somebody else."""
        self.pid, self.is_armed = 0, False

    def stopped(self, *, alive: bool) -> bool:
        """The stub stopped, or died: take what rang.  Whether somebody wants the kernel."""
        self.is_armed = False
        if not alive:
            self.pid = 0
        wanted = False
        for fd, _ in self._epoll.poll(0):
            if fd == self.bell:
                try:
                    os.eventfd_read(fd)
                except BlockingIOError:
                    continue
                wanted = True
            elif fd == self._alarm.fd:
                if self._alarm.consume():
                    self._deadline_ns = None
                    wanted = True
            elif fd == self._tick.fd:
                if self._tick.consume():
                    self._on_tick()
            else:
                wanted = True
        return wanted

    def set_alarm(self, deadline_ns: int | None) -> None:
        """See `Machine`."""
        if deadline_ns == self._deadline_ns:
            return
        self._alarm.set(0 if deadline_ns is None else max(deadline_ns, 1), absolute=True)
        self._deadline_ns = deadline_ns

    def tick_after(self, nanoseconds: int) -> None:
        """Have `on_tick` called once, that much later."""
        self._tick.set(nanoseconds, absolute=False)

    def watch(self, fd: int, events: int) -> None:
        """See `Machine`."""
        if not events:
            if fd in self._watched:
                self._watched.discard(fd)
                with contextlib.suppress(OSError):       # closed meanwhile: the host has forgotten it
                    self._epoll.unregister(fd)
            return
        try:
            self._epoll.register(fd, events)
        except FileExistsError:
            self._epoll.modify(fd, events)
        self._watched.add(fd)

    def ready(self) -> Sequence[tuple[int, int]]:
        """See `Machine`."""
        return [(fd, events) for fd, events in self._epoll.poll(0) if fd in self._watched]

    def close(self) -> None:
        """Give the descriptors back; the stub is the machine's to end."""
        self.bell = -1                                   # before its number can be somebody else's
        self._epoll.close()
        for fd in self._own:
            os.close(fd)
        self._own.clear()
