"""The calls of programs built for NetBSD 2 to 5: those of today with structs that have changed since (`abi/netbsd/older.py`).

A program that was linked with an older libc.so.12 (or statically) makes them still, as does that libc itself.
Not here: what changed more than a struct (scheduler activations, sigcontext trampolines).
Sources: sys/compat/common/{kern_time_50,kern_50,vfs_syscalls_50,vfs_syscalls_30,sys_descrip_50}.c, sys/kern/syscalls.master.
"""

from __future__ import annotations

from time import time_ns
from typing import Annotated, Final

from ring3.abi.eventrecords import KEvent
from ring3.abi.filerecords import Seconds
from ring3.abi.flags import AT_FDCWD, AtFlags
from ring3.abi.netbsd.older import (
    Attr13,
    Attr30,
    Dirent12,
    ITimerVal50,
    RawTimeval50,
    Rusage50,
    TimerSpec50,
    Timespec50,
    Timeval50,
)
from ring3.abi.procrecords import SigSet
from ring3.calls import timer
from ring3.calls.attribute import from_microseconds, set_times
from ring3.calls.directory import read_directory
from ring3.calls.guest import fetch, store
from ring3.calls.netbsd import kqueue, names, park, poll, socket, time, wait
from ring3.calls.netbsd.kqueue import ChangeArray, EventArray
from ring3.calls.netbsd.socket import BsdFamily, BsdType
from ring3.calls.netbsd.time import BsdClock
from ring3.calls.netbsd.wait import BsdWaitOptions
from ring3.calls.place import lookup, opened
from ring3.calls.poll import poll_with_mask, read_poll_set, select
from ring3.calls.procarg import (
    ITimerArg,
    Pointer,
    SigInfoOut,
    SigSetAt,
    StatusOut,
    TimerFlags,
    UsageWho,
)
from ring3.calls.signal import wait_for_signal
from ring3.calls.sysarg import Addr, Fd, Int, Out, Path, Pid, Size, UInt
from ring3.calls.sysarg_arrays import PollArray
from ring3.calls.sysarg_files import DescriptorSet, Device, DirentBuffer, NodeMode, StatRecord, TimePair
from ring3.calls.syscall import syscall
from ring3.calls.time import sleep_until
from ring3.calls.transfer import Answer
from ring3.calls.wait import usage_record, wait4
from ring3.errors import EINVAL, EPERM
from ring3.proc.cputime import usage_now
from ring3.proc.proc import Thread

_REALTIME, _ABSTIME = 0, 1

Stat30Out = Annotated[Out, StatRecord(Attr30)]
Stat13Out = Annotated[Out, StatRecord(Attr13)]
TimevalPair50 = Annotated[tuple[Seconds, Seconds] | None, TimePair(RawTimeval50, "usec")]


class _Dirents(DirentBuffer):
    """The buffer of the first getdents."""

    def length_at(self, t: Thread) -> int:
        del t
        return _LENGTH_AT


_LENGTH_AT: Final = 4                  # of d_reclen
Dirents12 = Annotated[int, _Dirents()]


# --- files
@syscall(pledge="rpath")
def sys_compat_50___stat30(t: Thread, path: Path, out: Stat30Out) -> int:
    """stat of NetBSD 3 to 5."""
    out.put(lookup(t, AT_FDCWD, path).vnode.getattr())
    return 0


@syscall(pledge="rpath")
def sys_compat_50___lstat30(t: Thread, path: Path, out: Stat30Out) -> int:
    """lstat."""
    out.put(lookup(t, AT_FDCWD, path, follow=False).vnode.getattr())
    return 0


@syscall(pledge="stdio")
def sys_compat_50___fstat30(t: Thread, fd: Fd, out: Stat30Out) -> int:
    """fstat."""
    out.put(t.proc.fds.get(fd).getattr())
    return 0


@syscall(pledge="rpath")
def sys_compat_30___stat13(t: Thread, path: Path, out: Stat13Out) -> int:
    """stat of NetBSD 1.3 to 2."""
    out.put(lookup(t, AT_FDCWD, path).vnode.getattr())
    return 0


@syscall(pledge="rpath")
def sys_compat_30___lstat13(t: Thread, path: Path, out: Stat13Out) -> int:
    """lstat."""
    out.put(lookup(t, AT_FDCWD, path, follow=False).vnode.getattr())
    return 0


@syscall(pledge="stdio")
def sys_compat_30___fstat13(t: Thread, fd: Fd, out: Stat13Out) -> int:
    """fstat."""
    out.put(t.proc.fds.get(fd).getattr())
    return 0


@syscall(pledge="rpath")
def sys_compat_30_getdents(t: Thread, fd: Fd, buf: Dirents12, nbytes: Size) -> int:
    """getdents up to NetBSD 2.  EBADF, EINVAL, EFAULT."""
    file = opened(t, fd)
    if file.vnode is None or not file.vnode.is_dir:
        raise EINVAL
    return read_directory(t, fd, buf, nbytes, Dirent12)


@syscall(pledge="dpath")
def sys_compat_50_mknod(t: Thread, path: Path, mode: NodeMode, device: Device) -> int:
    """mknod."""
    return int(names.sys___mknod50.run(t, path, mode, device))


@syscall(pledge="fattr")
def sys_compat_50_utimes(t: Thread, path: Path, times: TimevalPair50) -> int:
    """utimes."""
    return set_times(t, AT_FDCWD, path, from_microseconds(times), AtFlags(0))


@syscall(pledge="fattr")
def sys_compat_50_lutimes(t: Thread, path: Path, times: TimevalPair50) -> int:
    """lutimes."""
    return set_times(t, AT_FDCWD, path, from_microseconds(times), AtFlags.SYMLINK_NOFOLLOW)


@syscall(pledge="fattr")
def sys_compat_50_futimes(t: Thread, fd: Fd, times: TimevalPair50) -> int:
    """futimes."""
    opened(t, fd)
    return set_times(t, fd, None, from_microseconds(times), AtFlags(0), by_fd=True)


@syscall(pledge="unix inet")
def sys_compat_30_socket(t: Thread, family: BsdFamily, kind: BsdType, protocol: Int) -> int:
    """socket up to NetBSD 3."""
    return int(socket.sys___socket30.run(t, family, kind, protocol))


# --- clocks
@syscall(pledge="stdio")
def sys_compat_50_gettimeofday(t: Thread, tp: Pointer, tzp: Pointer) -> int:
    """gettimeofday."""
    if tp:
        store(t, Timeval50, tp, time_ns())
    if tzp:
        t.proc.vm.copyout(tzp, bytes(8))
    return 0


@syscall(pledge="settime")
def sys_compat_50_settimeofday(t: Thread, tv: Pointer, tzp: Pointer) -> int:
    """Refused: the clock is the host's."""
    del tzp
    if tv:
        fetch(t, Timeval50, tv)
    raise EPERM


@syscall(pledge="settime")
def sys_compat_50_adjtime(t: Thread, delta: Pointer, olddelta: Pointer) -> int:
    """What is left to adjust: nothing.  Adjusting is refused."""
    if delta:
        raise EPERM
    if olddelta:
        store(t, Timeval50, olddelta, 0)
    return 0


@syscall(pledge="stdio")
def sys_compat_50_clock_gettime(t: Thread, clock: BsdClock, tp: Pointer) -> int:
    """clock_gettime."""
    store(t, Timespec50, tp, time.now(t, clock))
    return 0


@syscall(pledge="stdio")
def sys_compat_50_clock_getres(t: Thread, clock: BsdClock, tp: Pointer) -> int:
    """clock_getres."""
    ns = time.resolution(t, clock)
    if tp:
        store(t, Timespec50, tp, ns)
    return 0


@syscall(pledge="settime")
def sys_compat_50_clock_settime(t: Thread, clock: BsdClock, tp: Pointer) -> int:
    """Refused: the clock is the host's."""
    fetch(t, Timespec50, tp)
    raise EINVAL if clock else EPERM


@syscall(pledge="stdio")
async def sys_compat_50_nanosleep(t: Thread, rqtp: Pointer, rmtp: Pointer) -> int:
    """nanosleep."""
    return await sleep_until(t, t.system.now_ns() + int(fetch(t, Timespec50, rqtp)), rmtp, Timespec50)


# --- timers
@syscall(pledge="stdio")
def sys_compat_50_getitimer(t: Thread, which: ITimerArg, value: Pointer) -> int:
    """getitimer."""
    store(t, ITimerVal50, value, timer.read_interval(t, which))
    return 0


@syscall(pledge="stdio")
def sys_compat_50_setitimer(t: Thread, which: ITimerArg, value: Pointer, ovalue: Pointer) -> int:
    """setitimer."""
    if not value:
        if ovalue:
            store(t, ITimerVal50, ovalue, timer.read_interval(t, which))
        return 0
    old = timer.change_interval(t, which, fetch(t, ITimerVal50, value))
    if ovalue:
        store(t, ITimerVal50, ovalue, old)
    return 0


@syscall(pledge="stdio")
def sys_compat_50_timer_settime(t: Thread, number: Int, flags: TimerFlags, new: Pointer, old: Pointer) -> int:
    """timer_settime."""
    return timer.settime(t, number, flags, new, old, TimerSpec50)


@syscall(pledge="stdio")
def sys_compat_50_timer_gettime(t: Thread, number: Int, setting: Pointer) -> int:
    """timer_gettime."""
    return timer.gettime(t, number, setting, TimerSpec50)


# --- waiting
@syscall(pledge="stdio")
async def sys_compat_50_wait4(t: Thread, pid: Pid, status: StatusOut, options: BsdWaitOptions, rusage: Pointer) -> int:
    """wait4."""
    return await wait4(t, pid, status, wait.neutral(options), rusage, Rusage50)


@syscall(pledge="stdio")
def sys_compat_50_getrusage(t: Thread, who: UsageWho, usage: Pointer) -> int:
    """getrusage."""
    if who not in (0, -1):
        raise EINVAL
    store(t, Rusage50, usage, usage_record(t.proc.child_usage if who else usage_now(t.proc)))
    return 0


@syscall(pledge="stdio")
def sys_compat_50_select(
    t: Thread, nfds: Int, readfds: DescriptorSet, writefds: DescriptorSet, exceptfds: DescriptorSet, timeout: Addr
) -> Answer:
    """select."""
    return select(t, nfds, (readfds, writefds, exceptfds), poll.timeout_at(t, Timeval50, timeout))


@syscall(pledge="stdio")
def sys_compat_50_pselect(
    t: Thread, nfds: Int, readfds: DescriptorSet, writefds: DescriptorSet, exceptfds: DescriptorSet, timeout: Addr,
    mask: SigSetAt,
) -> Answer:
    """pselect."""
    left = poll.timeout_at(t, Timespec50, timeout)
    return select(t, nfds, (readfds, writefds, exceptfds), left, poll.mask_at(t, mask))


@syscall(pledge="stdio")
def sys_compat_50_pollts(t: Thread, fds: PollArray, nfds: UInt, timeout: Addr, mask: SigSetAt) -> Answer:
    """pollts."""
    left = poll.timeout_at(t, Timespec50, timeout)
    sigmask = poll.mask_at(t, mask)
    return poll_with_mask(t, read_poll_set(t, fds, nfds), left, sigmask)


@syscall(pledge="stdio")
def sys_compat_50_kevent(
    t: Thread, fd: Fd, changes: ChangeArray, nchanges: Size, events: EventArray, nevents: Size, timeout: Addr
) -> Answer:
    """kevent."""
    return kqueue.kevent(t, KEvent, fd, changes, nchanges, events, nevents, timeout, Timespec50)


@syscall(pledge="stdio")
async def sys_compat_50___sigtimedwait(t: Thread, these: SigSetAt, info: SigInfoOut, uts: Pointer) -> int:
    """sigtimedwait."""
    wanted: int = fetch(t, SigSet, these)
    await wait_for_signal(t, wanted, info, fetch(t, Timespec50, uts) if uts else None)
    return 0


@syscall(pledge="stdio")
async def sys_compat_50__lwp_park(t: Thread, ts: Pointer, unpark: Pid, hint: Pointer, unparkhint: Pointer) -> int:
    """_lwp_park, until a moment of the real time."""
    del hint, unparkhint
    ns: int | None = fetch(t, Timespec50, ts) if ts else None
    return await park.park(t, _REALTIME, _ABSTIME, ns, unpark)
