"""Waiting for children: wait4, waitpid, waitid; and the pidfd calls.

Sources: wait(2), pidfd_open(2), pidfd_send_signal(2), kernel/exit.c's order of checks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from ring3.abi.flags import OpenFlags, WaitOptions
from ring3.abi.procrecords import Rusage, WaitStatus
from ring3.abi.signals import (
    CLD_CONTINUED,
    CLD_DUMPED,
    CLD_EXITED,
    CLD_KILLED,
    CLD_STOPPED,
    SI_TKILL,
    SI_USER,
    SigInfo,
    Signal,
)
from ring3.calls.guest import fetch, store
from ring3.calls.procarg import RusageOut, SigInfoAt, SigInfoOut, StatusOut, WaitKind
from ring3.calls.sysarg import Fd, Int, Pid, SigNo, UInt, WaitOption
from ring3.calls.syscall import syscall
from ring3.errors import EAGAIN, EBADF, ECHILD, EINVAL, EPERM, ESRCH
from ring3.namedtuple import NamedTuple
from ring3.proc import signals
from ring3.proc.cputime import usage_now
from ring3.proc.lifecycle import reap
from ring3.proc.pidfd import PidFile
from ring3.proc.proc import Proc, Rlimit, Thread, Usage
from ring3.proc.targets import check_same_owner, check_signal, find_process
from ring3.waiting import sleep_on

_O = WaitOptions
_WAIT4: Final = _O.NOHANG | _O.UNTRACED | _O.CONTINUED | _O.NOTHREAD | _O.CLONE | _O.ALL
_WAITID: Final = _WAIT4 | _O.NOWAIT | _O.EXITED
_P_ALL, _P_PID, _P_PGID, _P_PIDFD = range(4)
_INT_MIN: Final = -(1 << 31)
_PIDFD_NONBLOCK: Final = int(OpenFlags.NONBLOCK)
_CONTINUED: Final = 0xFFFF


class Whom(NamedTuple):
    """Which children: any (`pid` and `pgrp` None), one, or a group."""

    pid: int | None = None
    pgrp: int | None = None


class Event(NamedTuple):
    """What was found out about one child.  `status` is wait4's word, `code` and `detail` are waitid's."""

    proc: Proc
    status: int
    code: int
    detail: int
    usage: Usage


def _children(t: Thread, whom: Whom, options: WaitOptions) -> Iterator[Proc]:
    """The children in question that `options` let the call see."""
    for child in t.proc.children:
        if whom.pid is not None and child.pid != whom.pid:
            continue
        if whom.pgrp is not None and child.pgrp != whom.pgrp:
            continue
        is_clone = child.exit_signal != Signal.SIGCHLD
        if child.zombie and not options & _O.EXITED:
            continue                       # nothing more to wait for (wait_task_zombie)
        if options & _O.ALL or is_clone == bool(options & _O.CLONE):
            yield child


def _look(t: Thread, whom: Whom, options: WaitOptions) -> Event | None:
    """The first event of an eligible child; taken, unless WNOWAIT.  Raises ECHILD."""
    found_any = False
    for child in _children(t, whom, options):
        found_any = True
        traced = child.tracing is not None and child.tracing.tracer is t.proc       # its stops are told unasked
        event = event_of(child, options | _O.STOPPED if traced else options)
        if event is not None:
            return event
    if not found_any:
        raise ECHILD
    return None


def event_of(child: Proc, options: WaitOptions) -> Event | None:
    """What happened to one child, of what `options` ask for; taken, unless WNOWAIT."""
    keep = bool(options & _O.NOWAIT)
    if child.zombie:
        if not options & _O.EXITED:
            return None
        status = child.exit_status or 0
        signo = status & 0x7F
        code = CLD_EXITED if not signo else CLD_DUMPED if status & 0x80 else CLD_KILLED
        usage = _with_children(child)
        if not keep:
            reap(child)
        return Event(child, status, code, signo or status >> 8 & 0xFF, usage)
    if child.stopped_by and not child.stop_reported and options & _O.STOPPED:
        child.stop_reported = not keep
        return Event(child, child.stopped_by << 8 | 0x7F, CLD_STOPPED, child.stopped_by, usage_now(child))
    if child.continued and options & _O.CONTINUED:
        child.continued = keep
        return Event(child, _CONTINUED, CLD_CONTINUED, Signal.SIGCONT, usage_now(child))
    return None


def _with_children(child: Proc) -> Usage:
    usage = Usage()
    usage.add(child.usage)
    usage.add(child.child_usage)
    return usage


async def wait_for(t: Thread, whom: Whom, options: WaitOptions) -> Event | None:
    """Sleep until there is an event; None with WNOHANG.  Raises ECHILD."""
    while True:
        event = _look(t, whom, options)
        if event is not None or options & _O.NOHANG:
            return event
        await sleep_on(t.proc.child_queue)


def usage_record(usage: Usage) -> Rusage:
    """What getrusage and wait4 tell of a usage."""
    return Rusage(usage.user_ns, usage.system_ns, usage.max_rss >> 10, nvcsw=usage.nvcsw, nivcsw=usage.nivcsw)


@syscall(pledge="stdio")
async def sys_wait4(t: Thread, pid: Pid, wstatus: StatusOut, options: WaitOption, rusage: RusageOut) -> int:
    """Wait for a child to change state."""
    if int(options) & ~int(_WAIT4):
        raise EINVAL
    return await wait4(t, pid, wstatus, options, rusage, Rusage)


async def wait4(t: Thread, pid: int, status: int, options: WaitOptions, rusage: int, record: type) -> int:
    """Wait for a child; usage is told in one record's layout.  Raises ESRCH, ECHILD, EFAULT."""
    if pid == _INT_MIN:
        raise ESRCH
    if pid > 0:
        whom = Whom(pid=pid)
    elif pid == -1:
        whom = Whom()
    else:
        whom = Whom(pgrp=-pid if pid else t.proc.pgrp)
    event = await wait_for(t, whom, options | _O.EXITED)
    if event is None:
        return 0
    if status:
        store(t, WaitStatus, status, event.status)
    if rusage:
        store(t, record, rusage, usage_record(event.usage))
    return event.proc.pid


@syscall(pledge="stdio")
async def sys_waitpid(t: Thread, pid: Pid, wstatus: StatusOut, options: WaitOption) -> int:
    """Wait for a child to change state."""
    return int(await sys_wait4.run(t, pid, wstatus, options, 0))


@syscall(pledge="stdio")
async def sys_waitid(t: Thread, idtype: WaitKind, id: Pid, infop: SigInfoOut, options: WaitOption, rusage: RusageOut) -> int:  # noqa: A002
    """Wait for a child to change state; what happened comes in a siginfo."""
    try:
        event = await _waitid(t, idtype, id, options)
    except (ECHILD, EAGAIN, EBADF, EINVAL):
        if infop:
            _store_outcome(t, infop, None)
        raise
    if event is not None and rusage:
        store(t, Rusage, rusage, usage_record(event.usage))
    if infop:
        _store_outcome(t, infop, event)
    return 0


async def _waitid(t: Thread, idtype: int, number: int, options: WaitOptions) -> Event | None:
    if int(options) & ~int(_WAITID) or not options & (_O.EXITED | _O.STOPPED | _O.CONTINUED):
        raise EINVAL
    nonblocking = False
    if idtype == _P_ALL:
        whom = Whom()
    elif idtype == _P_PID:
        if number <= 0:
            raise EINVAL
        whom = Whom(pid=number)
    elif idtype == _P_PGID:
        if number < 0:
            raise EINVAL
        whom = Whom(pgrp=number or t.proc.pgrp)
    elif idtype == _P_PIDFD:
        if number < 0:
            raise EINVAL
        file = pid_file(t, number)
        nonblocking = file.nonblocking
        whom = Whom(pid=file.proc.pid if not file.reaped else -1)
    else:
        raise EINVAL
    hang = not options & _O.NOHANG
    event = await wait_for(t, whom, options | _O.NOHANG if nonblocking else options)
    if event is None and nonblocking and hang:
        raise EAGAIN
    return event


def _store_outcome(t: Thread, addr: int, event: Event | None) -> None:
    """The six members waitid writes; the rest of the siginfo stays as it was (kernel/exit.c).  Raises EFAULT."""
    if event is None:
        head, tail = struct.pack("<iii", 0, 0, 0), struct.pack("<iIi", 0, 0, 0)
    else:
        head = struct.pack("<iii", Signal.SIGCHLD, 0, event.code)
        tail = struct.pack("<iIi", event.proc.pid, event.proc.cred.ruid, event.detail)
    vm = t.proc.vm
    vm.check_writable(addr, 128)
    vm.copyout(addr, head)
    vm.copyout(addr + (16 if t.system.call_abi(t).word_size == 8 else 12), tail)


# --- pidfds
def pid_file(t: Thread, fd: int) -> PidFile:
    """The pidfd behind a descriptor.  Raises EBADF."""
    file = t.proc.fds.get(fd)
    if not isinstance(file, PidFile):
        raise EBADF
    return file


@syscall(pledge="proc")
def sys_pidfd_open(t: Thread, pid: Pid, flags: UInt) -> int:
    """A descriptor for a process."""
    if flags & ~_PIDFD_NONBLOCK:
        raise EINVAL
    if pid <= 0:
        raise EINVAL
    p = find_process(t, pid)
    if p.pid != pid:
        raise EINVAL
    file = PidFile(p, OpenFlags.RDWR | OpenFlags(flags))
    return t.proc.fds.install(file, cloexec=True, limit=t.proc.rlimit(Rlimit.NOFILE))


@syscall(pledge="proc")
def sys_pidfd_send_signal(t: Thread, pidfd: Fd, sig: SigNo, info: SigInfoAt, flags: UInt) -> int:
    """Send a signal to the process behind a pidfd."""
    if flags:
        raise EINVAL
    file = pid_file(t, pidfd)
    if info:
        told: SigInfo = fetch(t, SigInfo, info)
        if told.signo != sig:
            raise EINVAL
        if file.proc is not t.proc and (told.code >= 0 or told.code == SI_TKILL):
            raise EPERM
    else:
        told = signals.user_signal(t, sig, SI_USER)
    if file.reaped:
        raise ESRCH
    check_signal(t, file.proc, sig)
    if sig:
        signals.send_to_process(file.proc, told)
    return 0


@syscall(pledge="ptrace")
def sys_pidfd_getfd(t: Thread, pidfd: Fd, targetfd: Fd, flags: UInt) -> int:
    """A copy of another process's descriptor."""
    if flags:
        raise EINVAL
    file = pid_file(t, pidfd)
    if file.proc.zombie or file.reaped:
        raise ESRCH
    check_same_owner(t, file.proc)
    if file.proc is t.system.init:
        raise EPERM("the first process has no program to look into")
    return t.proc.fds.install(file.proc.fds.get(targetfd), cloexec=True, limit=t.proc.rlimit(Rlimit.NOFILE))


@syscall(pledge="ptrace")
def sys_kcmp(t: Thread, pid1: Pid, pid2: Pid, type: Int, idx1: UInt, idx2: UInt) -> int:  # noqa: A002
    """Whether two processes share a thing: 0 when they do, 1 or 2 by an order of no meaning."""
    first, second = find_process(t, pid1), find_process(t, pid2)
    check_same_owner(t, first)
    check_same_owner(t, second)
    if t.system.init in (first, second):
        raise EPERM("the first process has no program to look into")
    if type == 0:
        pair: tuple[object, object] = (first.fds.get(idx1 & 0x7FFF_FFFF), second.fds.get(idx2 & 0x7FFF_FFFF))
    elif type in _KCMP:
        pair = (getattr(first, _KCMP[type]), getattr(second, _KCMP[type]))
    else:
        raise EINVAL
    return 0 if pair[0] is pair[1] else 1 if id(pair[0]) < id(pair[1]) else 2


_KCMP: Final = {1: "vm", 2: "fds", 3: "fs", 4: "actions"}
