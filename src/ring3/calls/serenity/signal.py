"""SerenityOS's calls about signals: actions, masks, waiting, the alternate stack, sending.

The kernel's own numbers are used here: arguments and structs are translated before (`personality/serenity/signals.py`).
Stated results: KILL and STOP cannot be blocked here, where the original lets a process make itself unkillable.
Not here: frames and sigreturn (`personality/serenity/sigframe.py`), taking signals (`proc/signals.py`).
Source: Kernel/Syscalls/{sigaction,kill,thread}.cpp (reference, sections 1.17, 1.18, 4.8).
"""

from __future__ import annotations

import struct
from typing import Final

from ring3.abi.procrecords import SigSet
from ring3.abi.signals import (
    SIGCANCEL,
    SIGINFO,
    SS_DISABLE,
    SS_ONSTACK,
    UNBLOCKABLE,
    AltStack,
    SigAction,
    SigInfo,
    Signal,
    bit,
)
from ring3.abi.x86 import RSP
from ring3.calls.guest import fetch, store
from ring3.calls.procarg import (
    ActionAt,
    ActionOut,
    AltStackAt,
    AltStackOut,
    HowArg,
    Pointer,
    SigInfoOut,
    SigSetAt,
    SigSetOut,
)
from ring3.calls.serenity.peer import find_own_thread, find_peer, may_touch
from ring3.calls.serenity.regions import become_stack
from ring3.calls.signal import change_mask, suspend
from ring3.calls.sysarg import Pid, SigNo
from ring3.calls.syscall import syscall
from ring3.errors import EAGAIN, EINTR, EINVAL, ENOMEM, EPERM, ESRCH, Errno
from ring3.proc import signals
from ring3.proc.jails import known_procs
from ring3.proc.proc import Proc, Thread
from ring3.waiting import Interrupted, sleep_on

MINSIGSTKSZ: Final = 4096
_INT_MIN: Final = -(1 << 31)
_NS_MAX: Final = (1 << 62) - 1
_TIMESPEC: Final = struct.Struct("<qq")
_ONCE: Final = (SIGINFO, SIGCANCEL)         # pending once, although their numbers are real-time signals' elsewhere


def copy_time(t: Thread, addr: int) -> int:
    """A timespec, ns, whatever its parts are.  Raises EFAULT."""
    seconds, ns = _TIMESPEC.unpack(t.proc.vm.copyin(addr, _TIMESPEC.size))
    return max(min(int(seconds) * 1_000_000_000 + int(ns), _NS_MAX), -_NS_MAX)


# --- actions and masks
@syscall(pledge="sigaction")
def sys_sigaction(t: Thread, signum: SigNo, act: ActionAt, old_act: ActionOut) -> int:
    """Set or read what a signal does.  The old action is told before the new one is read."""
    if signum < 1 or bit(signum) & UNBLOCKABLE:
        raise EINVAL
    p = t.proc
    if old_act:
        store(t, SigAction, old_act, p.actions.table[signum])
    if act:
        p.actions.table[signum] = fetch(t, SigAction, act)
        if signals.ignores(p, signum):
            p.pending.flush(bit(signum))
            for thread in p.threads.values():
                thread.pending.flush(bit(signum))
    return 0


@syscall(pledge="sigaction")
def sys_sigprocmask(t: Thread, how: HowArg, new: SigSetAt, old: SigSetOut) -> int:
    """Change or read the mask of blocked signals."""
    before = t.sigmask
    if new:
        change_mask(t, how, fetch(t, SigSet, new))
    if old:
        store(t, SigSet, old, before)
    return 0


@syscall(pledge="stdio")
def sys_sigpending(t: Thread, to: SigSetOut) -> int:
    """The signals that wait, blocked or not."""
    store(t, SigSet, to, t.pending.mask | t.proc.pending.mask)
    return 0


# --- waiting
@syscall(pledge="")
async def sys_sigsuspend(t: Thread, mask: SigSetAt) -> int:
    """Sleep with another mask until a signal is taken.  EINTR always."""
    return await suspend(t, fetch(t, SigSet, mask))


@syscall(pledge="sigaction")
async def sys_sigtimedwait(t: Thread, these: SigSetAt, info: SigInfoOut, at_most: Pointer) -> int:
    """Take a pending signal of a set, waiting for it at most so long; of it nothing but the number is told.

    Raises EAGAIN when time is up, EINTR for a signal not of the set.
    """
    wanted: int = fetch(t, SigSet, these) & ~UNBLOCKABLE
    wait_ns = copy_time(t, at_most) if at_most else None
    taken = signals.take(t, wanted)
    if taken is None and (wait_ns is None or wait_ns > 0):
        taken = await _await_signal(t, wanted, None if wait_ns is None else t.system.now_ns() + wait_ns)
    if taken is None:
        raise EAGAIN
    if info:
        store(t, SigInfo, info, SigInfo(taken.signo, 0))
    return int(t.abi.flags[Signal].outward(taken.signo))


async def _await_signal(t: Thread, wanted: int, deadline_ns: int | None) -> SigInfo | None:
    t.system.sigwaiters[t] = wanted
    try:
        woken = await sleep_on(deadline_ns=deadline_ns)
    except Interrupted:
        woken = True
    finally:
        t.system.sigwaiters.pop(t, None)
    taken = signals.take(t, wanted)
    if taken is None and woken:
        raise EINTR
    return taken


# --- the alternate stack
@syscall(pledge="sigaction")
def sys_sigaltstack(t: Thread, new: AltStackAt, old: AltStackOut) -> int:
    """Set or read the stack of handlers with SA_ONSTACK; its memory becomes zeroed stack memory.

    Raises EPERM while on it, ENOMEM for 4096 bytes and less and for a size that wraps, EINVAL for unknown flags.
    """
    stack = t.altstack
    on_it = 0 <= t.cpu.regs[RSP] - stack.base < stack.size
    if old:
        state = SS_DISABLE if not stack.size else SS_ONSTACK if on_it else 0
        store(t, AltStack, old, AltStack(stack.base, state, stack.size))
    if not new:
        return 0
    wanted: AltStack = fetch(t, AltStack, new)
    if on_it:
        raise EPERM
    if wanted.flags == SS_DISABLE:
        t.altstack = AltStack()
    elif wanted.flags == 0:
        if wanted.size <= MINSIGSTKSZ or wanted.base + wanted.size >> 64:
            raise ENOMEM
        become_stack(t, wanted.base, wanted.size)
        t.altstack = AltStack(wanted.base, 0, wanted.size)
    else:
        raise EINVAL
    return 0


# --- sending
def send(t: Thread, target: Proc, signo: int) -> None:
    """do_kill: to the target's first thread, or to what is left of them.  Raises EPERM, ESRCH for a process that ended."""
    if not may_touch(t, target) or target is t.system.init:
        raise EPERM
    if not signo:
        return
    threads = target.live_threads()
    if not threads:
        raise ESRCH
    deliver(t, next((thread for thread in threads if thread.tid == target.pid), threads[0]), signo)


def deliver(t: Thread, target: Thread, signo: int) -> None:
    """One thread gets a signal, unless it is ignored or pending already."""
    if signo in _ONCE and target.pending.mask & bit(signo):
        return
    if not signals.ignores(target.proc, signo) or signo == Signal.SIGCONT:
        signals.send_to_thread(target, signals.user_signal(t, signo))


def send_to_group(t: Thread, pgrp: int, signo: int) -> None:
    """do_killpg: 0 is the caller's own group.  Raises ESRCH for nobody, the last refusal where nobody could be sent it."""
    pgrp = pgrp or t.proc.pgrp
    _send_all(t, [p for p in known_procs(t) if p.pgrp == pgrp], signo)


def _send_all(t: Thread, targets: list[Proc], signo: int) -> None:
    """The caller's own process last: it may die of it."""
    refusal: Errno | None = ESRCH()
    for target in sorted(targets, key=lambda p: p is t.proc):
        try:
            send(t, target, signo)
            refusal = None
        except Errno as found:
            refusal = found if refusal is not None else None
    if refusal is not None:
        raise refusal


@syscall(pledge="proc stdio")
def sys_kill(t: Thread, pid: Pid, sig: SigNo) -> int:
    """Send a signal to a process, a group, or all; to oneself: to the calling thread.

    Raises EINVAL for no signal (CANCEL is none here), EPERM, ESRCH; 0, where the original's kernel process is, is EPERM.
    """
    p = t.proc
    if pid != p.pid:
        t.needs("proc")
    if sig < 0 or sig == SIGCANCEL or pid == _INT_MIN:
        raise EINVAL
    if pid < -1:
        send_to_group(t, -pid, sig)
    elif pid == -1:
        _send_all(t, [other for other in known_procs(t) if other is not t.system.init], sig)
    elif pid == p.pid:
        if sig:
            deliver(t, t, sig)
    elif pid == 0:
        raise EPERM
    else:
        send(t, find_peer(t, pid), sig)
    return 0


@syscall(pledge="proc")
def sys_killpg(t: Thread, pgrp: Pid, sig: SigNo) -> int:
    """Send a signal to a group; 0 is the caller's.  Raises EINVAL, ESRCH, EPERM."""
    if sig < 1 or sig == SIGCANCEL or pgrp < 0:
        raise EINVAL
    send_to_group(t, pgrp, sig)
    return 0


@syscall(pledge="thread")
def sys_kill_thread(t: Thread, tid: Pid, sig: SigNo) -> int:
    """Send a signal to one thread of the process; 0 asks whether it is there.  Raises EINVAL, ESRCH."""
    if sig < 0:
        raise EINVAL
    target = find_own_thread(t, tid)
    if sig:
        deliver(t, target, sig)
    return 0

