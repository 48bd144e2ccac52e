"""epoll, and the descriptors made to be waited for: eventfd, timerfd, memfd.

epoll_wait answers EINTR to any interruption, a mere stop included.  Source: epoll(7), epoll_ctl(2), epoll_wait(2), eventfd(2),
timerfd_create(2), memfd_create(2).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from ring3.abi.filerecords import EpollEvent, TimerSpec
from ring3.abi.flags import OpenFlags
from ring3.calls.descriptor import install
from ring3.calls.place import opened
from ring3.calls.poll import deadline, masked, put_mask, read_mask
from ring3.calls.sysarg import Fd, Int, OpenFlag, Size, UInt
from ring3.calls.sysarg_arrays import EpollArray, EpollIn
from ring3.calls.sysarg_files import EpollOp, EventFdFlag, MaskAddr, TimeoutNs, TimerIn, TimerOut
from ring3.calls.syscall import syscall
from ring3.calls.transfer import Answer
from ring3.errors import EFAULT, EINTR, EINVAL, EPERM
from ring3.proc.proc import Thread
from ring3.proc.scheduler import Timer
from ring3.vfs.epoll import MAX_EVENTS, EpollFile
from ring3.vfs.eventfd import EFD_SEMAPHORE, TFD_TIMER_ABSTIME, EventFile, TimerFile, Timers
from ring3.waiting import Interrupted, sleep_on

_MILLISECOND = 1_000_000
_ADD, _DEL, _MOD = 1, 2, 3
_BATCH = 65536             # events told at once
_CLOEXEC: Final = int(OpenFlags.CLOEXEC)
_NONBLOCK: Final = int(OpenFlags.NONBLOCK)
_CLOCKS: Final = (0, 1, 7, 8, 9)         # REALTIME, MONOTONIC, BOOTTIME, and the two alarms
_REALTIME: Final = (0, 8)
TFD_KNOWN: Final = 3


# --- epoll
@syscall(pledge="stdio")
def sys_epoll_create1(t: Thread, flags: OpenFlag) -> int:
    """A new epoll."""
    if flags & ~_CLOEXEC:
        raise EINVAL
    return install(t, EpollFile(t.system.anonymous), cloexec=bool(flags))


@syscall(pledge="stdio")
def sys_epoll_create(t: Thread, size: Int) -> int:
    """A new epoll; `size` need only be positive."""
    if size <= 0:
        raise EINVAL
    return install(t, EpollFile(t.system.anonymous))


def _epoll(t: Thread, fd: int) -> EpollFile:
    """Raises EBADF, EINVAL for another kind of file."""
    file = opened(t, fd)
    if not isinstance(file, EpollFile):
        raise EINVAL
    return file


@syscall(pledge="stdio")
def sys_epoll_ctl(t: Thread, epfd: Fd, op: EpollOp, fd: Fd, event: EpollIn) -> int:
    """Add, change or remove a watched descriptor.  EBADF, EPERM, EINVAL, EEXIST, ENOENT, ELOOP."""
    if event is None and op != _DEL:
        raise EFAULT
    opened(t, epfd)
    file = opened(t, fd)
    if file.queue is None:
        raise EPERM
    epoll = _epoll(t, epfd)
    if op == _DEL:
        epoll.delete(fd, file)
        return 0
    if event is None or op not in (_ADD, _MOD):
        raise EINVAL
    (epoll.add if op == _ADD else epoll.modify)(fd, file, event.events, event.data)
    return 0


def _give(t: Thread, addr: int, found: list[tuple[int, int]]) -> int:
    encode = t.system.call_abi(t).layouts[EpollEvent].encode
    t.proc.vm.copyout(addr, b"".join([encode(event) for event in found]))
    return len(found)


def epoll_wait(t: Thread, epfd: int, events: int, max_events: int, timeout_ns: int | None, sigmask: int | None) -> Answer:
    """All the epoll_wait calls.  Raises EINVAL, EFAULT, EBADF."""
    if not 0 < max_events <= MAX_EVENTS:
        raise EINVAL
    epoll = _epoll(t, epfd)
    want = min(max_events, _BATCH)
    t.proc.vm.check_writable(events, 12)
    found = epoll.wait(want)
    if found or timeout_ns == 0:
        return _give(t, events, found)
    waiting = _wait_later(t, epoll, events, want, deadline(t, timeout_ns))
    if sigmask is None:
        return _interruptible(waiting)
    put_mask(t, sigmask)
    return _interruptible(masked(t, waiting))


async def _wait_later(t: Thread, epoll: EpollFile, addr: int, want: int, deadline_ns: int | None) -> int:
    epoll.acquire()
    try:
        while True:
            in_time = await sleep_on(epoll.queue, deadline_ns=deadline_ns)
            found = epoll.wait(want)
            if found or not in_time:
                return _give(t, addr, found)
    finally:
        epoll.release()


async def _interruptible(waiting: Coroutine[Any, Any, int]) -> int:
    """EINTR, whatever SA_RESTART says and even when no handler ran."""
    try:
        return await waiting
    except Interrupted:
        raise EINTR from None


def _milliseconds(timeout: int) -> int | None:
    return None if timeout < 0 else timeout * _MILLISECOND


@syscall(pledge="stdio")
def sys_epoll_wait(t: Thread, epfd: Fd, events: EpollArray, max_events: Int, timeout: Int) -> Answer:
    """Wait until a watched descriptor is ready; `timeout` in ms, negative for ever."""
    return epoll_wait(t, epfd, events, max_events, _milliseconds(timeout), None)


@syscall(pledge="stdio")
def sys_epoll_pwait(
    t: Thread, epfd: Fd, events: EpollArray, max_events: Int, timeout: Int, mask: MaskAddr, size: Size
) -> Answer:
    """epoll_wait with a signal mask that holds while it waits."""
    return epoll_wait(t, epfd, events, max_events, _milliseconds(timeout), read_mask(t, mask, size))


@syscall(pledge="stdio")
def sys_epoll_pwait2(
    t: Thread, epfd: Fd, events: EpollArray, max_events: Int, timeout: TimeoutNs, mask: MaskAddr, size: Size
) -> Answer:
    """epoll_pwait with a timeout in ns."""
    return epoll_wait(t, epfd, events, max_events, timeout, read_mask(t, mask, size))


# --- eventfd
@syscall(pledge="stdio")
def sys_eventfd2(t: Thread, count: UInt, flags: EventFdFlag) -> int:
    """A counter to wait for."""
    if flags & ~(EFD_SEMAPHORE | _CLOEXEC | _NONBLOCK):
        raise EINVAL
    file = EventFile(t.system.anonymous, count, OpenFlags(flags & _NONBLOCK), semaphore=bool(flags & EFD_SEMAPHORE))
    return install(t, file, cloexec=bool(flags & _CLOEXEC))


@syscall(pledge="stdio")
def sys_eventfd(t: Thread, count: UInt) -> int:
    """eventfd2 without flags."""
    return int(sys_eventfd2.run(t, count, 0))


# --- timerfd
class _RealtimeClock:
    """Time since the epoch, by the system's timers.  Setting the host's clock does not move what is armed."""

    def __init__(self, t: Thread) -> None:
        self._system = t.system

    def now_ns(self) -> int:
        return time.time_ns()

    def schedule(self, deadline_ns: int, callback: Callable[[], None]) -> Timer:
        system = self._system
        return system.schedule(system.now_ns() + deadline_ns - time.time_ns(), callback)


@syscall(pledge="stdio")
def sys_timerfd_create(t: Thread, clock: Int, flags: OpenFlag) -> int:
    """A timer to wait for.  EINVAL."""
    if flags & ~(_CLOEXEC | _NONBLOCK) or clock not in _CLOCKS:
        raise EINVAL
    timers: Timers = _RealtimeClock(t) if clock in _REALTIME else t.system
    file = TimerFile(t.system.anonymous, timers, clock, flags & OpenFlags.NONBLOCK)
    return install(t, file, cloexec=bool(flags & OpenFlags.CLOEXEC))


def _timer(t: Thread, fd: int) -> TimerFile:
    """Raises EBADF, EINVAL for another kind of file."""
    file = opened(t, fd)
    if not isinstance(file, TimerFile):
        raise EINVAL
    return file


@syscall(pledge="stdio")
def sys_timerfd_settime(t: Thread, fd: Fd, flags: Int, new: TimerIn, old: TimerOut) -> int:
    """Arm or disarm a timer."""
    if new is None:
        raise EFAULT
    if flags & ~TFD_KNOWN:
        raise EINVAL
    left, interval = _timer(t, fd).settime(new.value, new.interval, absolute=bool(flags & TFD_TIMER_ABSTIME))
    if old:
        old.put(TimerSpec(interval, left))
    return 0


@syscall(pledge="stdio")
def sys_timerfd_gettime(t: Thread, fd: Fd, current: TimerOut) -> int:
    """What is left until a timer expires."""
    left, interval = _timer(t, fd).gettime()
    current.put(TimerSpec(interval, left))
    return 0


