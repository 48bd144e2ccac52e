"""System calls about signals: actions, masks, waiting for them, sending them, the alternate stack.

Not here: frames and sigreturn (`personality/linux/sigframe64.py`, `sigframe32.py`), taking signals (`proc/signals.py`).
Sources: sigaction(2), sigprocmask(2), sigpending(2), sigsuspend(2), sigwaitinfo(2), kill(2), tkill(2), rt_sigqueueinfo(2),
sigaltstack(2), signalfd(2), kernel/signal.c's order of checks.
"""

from __future__ import annotations

from typing import Final

from ring3.abi.flags import OpenFlags
from ring3.abi.procrecords import SigSet
from ring3.abi.records import Timespec
from ring3.abi.signals import (
    NSIG,
    SI_TKILL,
    SI_USER,
    SIGRTMIN,
    SS_AUTODISARM,
    SS_DISABLE,
    SS_ONSTACK,
    UNBLOCKABLE,
    AltStack,
    SaFlags,
    SigAction,
    SigInfo,
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
    SigInfoAt,
    SigInfoOut,
    SigSetAt,
    SigSetOut,
    TimespecAt,
)
from ring3.calls.sysarg import Fd, Int, Pid, SigNo, Size
from ring3.calls.syscall import syscall
from ring3.errors import EAGAIN, EINTR, EINVAL, ENOMEM, EPERM, ESRCH, Errno
from ring3.proc import signals
from ring3.proc.jails import known_procs
from ring3.proc.proc import Proc, Restart, Rlimit, Thread
from ring3.proc.signalfd import SignalFile
from ring3.proc.targets import check_signal, find_process, known_thread
from ring3.waiting import Interrupted, sleep_on

_SET_SIZE: Final = 8
_INT_MIN: Final = -(1 << 31)
_KNOWN_FLAGS: Final = int(
    SaFlags.NOCLDSTOP | SaFlags.NOCLDWAIT | SaFlags.SIGINFO | SaFlags.ONSTACK | SaFlags.RESTART | SaFlags.NODEFER
    | SaFlags.RESETHAND | SaFlags.EXPOSE_TAGBITS | SaFlags.RESTORER
)
_MINSIGSTKSZ: Final = 2048
_BLOCK, _UNBLOCK, _SETMASK = range(3)


# --- actions
@syscall(pledge="stdio")
def sys_rt_sigaction(t: Thread, signum: SigNo, act: ActionAt, oldact: ActionOut, sigsetsize: Size) -> int:
    """Set or read what a signal does."""
    if sigsetsize != _SET_SIZE:
        raise EINVAL
    new: SigAction | None = fetch(t, SigAction, act) if act else None
    old = change_action(t, signum, new)
    if oldact:
        store(t, SigAction, oldact, old)
    return 0


def change_action(t: Thread, signo: int, new: SigAction | None) -> SigAction:
    """do_sigaction: the action before.  Raises EINVAL for no signal, and for changing SIGKILL or SIGSTOP."""
    if not 1 <= signo <= NSIG or (new is not None and UNBLOCKABLE & bit(signo)):
        raise EINVAL
    p = t.proc
    old = p.actions.table[signo]
    if new is not None:
        p.actions.table[signo] = new._replace(flags=new.flags & _KNOWN_FLAGS, mask=new.mask & ~UNBLOCKABLE)
        if signals.ignores(p, signo):
            p.pending.flush(bit(signo))
            for thread in p.threads.values():
                thread.pending.flush(bit(signo))
    return old


# --- masks
@syscall(pledge="stdio")
def sys_rt_sigprocmask(t: Thread, how: HowArg, nset: SigSetAt, oset: SigSetOut, sigsetsize: Size) -> int:
    """Change or read the mask of blocked signals."""
    if sigsetsize != _SET_SIZE:
        raise EINVAL
    old = t.sigmask
    if nset:
        change_mask(t, how, fetch(t, SigSet, nset))
    if oset:
        store(t, SigSet, oset, old)
    return 0


def change_mask(t: Thread, how: int, mask: int) -> None:
    """Raises EINVAL for an unknown `how`."""
    mask &= ~UNBLOCKABLE
    if how == _BLOCK:
        new = t.sigmask | mask
    elif how == _UNBLOCK:
        new = t.sigmask & ~mask
    elif how == _SETMASK:
        new = mask
    else:
        raise EINVAL
    set_mask(t, new)


def set_mask(t: Thread, mask: int) -> None:
    """Block exactly these; what became takeable is taken on the way back, by another thread where `t` no longer can."""
    newly_blocked = mask & ~t.sigmask
    t.sigmask = mask & ~UNBLOCKABLE
    signals.recalculate(t)
    if newly_blocked and t.proc.pending.mask & newly_blocked:
        signals.hand_over(t, newly_blocked)


@syscall(pledge="stdio")
def sys_rt_sigpending(t: Thread, uset: SigSetOut, sigsetsize: Size) -> int:
    """The blocked signals that wait."""
    if sigsetsize > _SET_SIZE:
        raise EINVAL
    mask = (t.pending.mask | t.proc.pending.mask) & t.sigmask
    t.proc.vm.copyout(uset, mask.to_bytes(8, "little")[:sigsetsize])
    return 0


# --- waiting
@syscall(pledge="stdio")
async def sys_rt_sigsuspend(t: Thread, unewset: SigSetAt, sigsetsize: Size) -> int:
    """Sleep with another mask until a handler ran."""
    if sigsetsize != _SET_SIZE:
        raise EINVAL
    return await suspend(t, fetch(t, SigSet, unewset))


async def suspend(t: Thread, mask: int) -> int:
    """Sleep with `mask` until a signal is taken; always ends in EINTR."""
    t.saved_sigmask = t.sigmask
    set_mask(t, mask & ~UNBLOCKABLE)
    return await sleep_for_signal()


async def sleep_for_signal() -> int:
    """Nothing but a signal ends this."""
    try:
        while True:
            await sleep_on()
    except Interrupted:
        raise Restart(no_handler_only=True) from None


@syscall(pledge="stdio")
async def sys_pause(t: Thread) -> int:
    """Sleep until a handler ran."""
    del t
    return await sleep_for_signal()


@syscall(pledge="stdio")
async def sys_rt_sigtimedwait(t: Thread, uthese: SigSetAt, uinfo: SigInfoOut, uts: TimespecAt, sigsetsize: Size) -> int:
    """Take a pending signal of a set, waiting for it at most so long."""
    if sigsetsize != _SET_SIZE:
        raise EINVAL
    these: int = fetch(t, SigSet, uthese)
    return await wait_for_signal(t, these, uinfo, fetch(t, Timespec, uts) if uts else None)


async def wait_for_signal(t: Thread, these: int, uinfo: int, timeout_ns: int | None) -> int:
    """sigtimedwait with its arguments read.  Raises EAGAIN when time is up, EINTR for a signal not of the set."""
    these &= ~UNBLOCKABLE
    deadline = None if timeout_ns is None else t.system.now_ns() + timeout_ns
    info = signals.take(t, these)
    if info is None and timeout_ns != 0:
        t.system.sigwaiters[t] = these
        try:
            woken = await sleep_on(deadline_ns=deadline)
        except Interrupted:
            woken = True
        finally:
            t.system.sigwaiters.pop(t, None)
        info = signals.take(t, these)
        if info is None and woken:
            raise EINTR
    if info is None:
        raise EAGAIN
    if uinfo:
        store(t, SigInfo, uinfo, info)
    return info.signo


# --- sending
@syscall(pledge="proc stdio")
def sys_kill(t: Thread, pid: Pid, sig: SigNo) -> int:
    """Send a signal to a process, a group, or all one may."""
    system = t.system
    if pid != t.proc.pid:
        t.needs("proc")
    info = signals.user_signal(t, sig, SI_USER)
    if pid > 0:
        target = find_process(t, pid)
        _send(t, target, info)
        return 0
    if pid == _INT_MIN:
        raise ESRCH
    if pid == -1:
        targets = [p for p in known_procs(t) if p.pid > 1 and p is not t.proc]
        _send_all(t, targets, info, forgive=True)
        return 0
    pgrp = -pid if pid else t.proc.pgrp
    _send_all(t, [p for p in known_procs(t) if p.pgrp == pgrp and p is not system.init], info, forgive=False)
    return 0


def _send(t: Thread, target: Proc, info: SigInfo) -> None:
    check_signal(t, target, info.signo)
    if info.signo:
        signals.send_to_process(target, info)


def _send_all(t: Thread, targets: list[Proc], info: SigInfo, *, forgive: bool) -> None:
    """To several, the caller's own process last: it may die of it.  Raises ESRCH for nobody, else the last error.

    One success makes up for all errors of a group; of a broadcast, `forgive` makes EPERM count for nothing.
    """
    last: Errno | None = None
    sent = False
    for target in sorted(targets, key=lambda p: p is t.proc):
        try:
            _send(t, target, info)
            sent = True
        except EPERM as refusal:
            last = None if forgive else refusal
        except Errno as refusal:
            last = refusal
    if not targets:
        raise ESRCH
    if last is not None and (forgive or not sent):
        raise last


@syscall(pledge="proc stdio")
def sys_tkill(t: Thread, tid: Pid, sig: SigNo) -> int:
    """Send a signal to one thread."""
    if tid <= 0:
        raise EINVAL
    return _send_thread(t, None, tid, signals.user_signal(t, sig, SI_TKILL))


@syscall(pledge="proc stdio")
def sys_tgkill(t: Thread, tgid: Pid, tid: Pid, sig: SigNo) -> int:
    """Send a signal to one thread of one process."""
    if tid <= 0 or tgid <= 0:
        raise EINVAL
    return _send_thread(t, tgid, tid, signals.user_signal(t, sig, SI_TKILL))


def _send_thread(t: Thread, tgid: int | None, tid: int, info: SigInfo) -> int:
    target = known_thread(t, tid)
    if target is None or target.proc is not t.proc:
        t.needs("proc")
    if target is None or (tgid is not None and target.proc.pid != tgid):
        raise ESRCH
    check_signal(t, target.proc, info.signo)
    if info.signo:
        if info.signo >= SIGRTMIN:
            signals.check_pending_room(target.proc)
        signals.send_to_thread(target, info)
    return 0


@syscall(pledge="proc stdio")
def sys_rt_sigqueueinfo(t: Thread, tgid: Pid, sig: SigNo, uinfo: SigInfoAt) -> int:
    """Send a signal with a value to a process."""
    if tgid != t.proc.pid:
        t.needs("proc")
    info = _queued_info(t, uinfo, sig, tgid)
    target = find_process(t, tgid)
    check_signal(t, target, sig)
    if sig:
        if sig >= SIGRTMIN:
            signals.check_pending_room(target)
        signals.send_to_process(target, info)
    return 0


@syscall(pledge="proc stdio")
def sys_rt_tgsigqueueinfo(t: Thread, tgid: Pid, tid: Pid, sig: SigNo, uinfo: SigInfoAt) -> int:
    """Send a signal with a value to a thread."""
    info: SigInfo = fetch(t, SigInfo, uinfo)
    if tid <= 0 or tgid <= 0:
        raise EINVAL
    return _send_thread(t, tgid, tid, _check_info(t, info, sig, tid))


def _queued_info(t: Thread, addr: int, sig: int, pid: int) -> SigInfo:
    return _check_info(t, fetch(t, SigInfo, addr), sig, pid)


def _check_info(t: Thread, info: SigInfo, sig: int, pid: int) -> SigInfo:
    """Nobody speaks for the kernel or for kill(2) but to himself.  Raises EPERM."""
    if (info.code >= 0 or info.code == SI_TKILL) and pid != t.proc.pid:
        raise EPERM
    return info._replace(signo=sig)


# --- the alternate stack
@syscall(pledge="stdio")
def sys_sigaltstack(t: Thread, uss: AltStackAt, uoss: AltStackOut) -> int:
    """Set or read the stack that handlers with SA_ONSTACK run on."""
    new: AltStack | None = fetch(t, AltStack, uss) if uss else None
    old = alt_stack_state(t, t.cpu.regs[RSP])
    if new is not None:
        set_alt_stack(t, new, t.cpu.regs[RSP], t.system.facts.minsigstksz or _MINSIGSTKSZ)
    if uoss:
        store(t, AltStack, uoss, old)
    return 0


def on_alt_stack(t: Thread, sp: int) -> bool:
    """Whether the stack pointer stands in the alternate stack (SS_AUTODISARM: never, for it is forgotten at entry)."""
    stack = t.altstack
    return not stack.flags & SS_AUTODISARM and 0 < sp - stack.base <= stack.size


def alt_stack_state(t: Thread, sp: int) -> AltStack:
    """As sigaltstack(2) reports it."""
    stack = t.altstack
    if not stack.size:
        return AltStack(stack.base, SS_DISABLE, 0)
    state = SS_ONSTACK if on_alt_stack(t, sp) else 0
    return AltStack(stack.base, _signed(state | (stack.flags & SS_AUTODISARM)), stack.size)


def _signed(word: int) -> int:
    return (word & 0x7FFF_FFFF) - (word & 0x8000_0000)


def set_alt_stack(t: Thread, new: AltStack, sp: int, minimum: int) -> None:
    """do_sigaltstack.  Raises EPERM while the thread runs on it, EINVAL for flags, ENOMEM below `minimum` bytes."""
    if on_alt_stack(t, sp):
        raise EPERM
    flags = new.flags & 0xFFFF_FFFF
    mode = flags & ~SS_AUTODISARM
    if mode not in (SS_DISABLE, SS_ONSTACK, 0):
        raise EINVAL
    if mode == SS_DISABLE:
        t.altstack = AltStack(0, flags, 0)
        return
    if new.size < minimum:
        raise ENOMEM
    t.altstack = AltStack(new.base, flags, new.size)


# --- signalfd
@syscall(pledge="stdio")
def sys_signalfd4(t: Thread, fd: Fd, mask: SigSetAt, sizemask: Size, flags: Int) -> int:
    """A descriptor from which pending signals are read; with a signalfd given, its mask is changed."""
    if sizemask != _SET_SIZE:
        raise EINVAL
    wanted: int = fetch(t, SigSet, mask)
    if int(flags) & ~int(OpenFlags.CLOEXEC | OpenFlags.NONBLOCK):
        raise EINVAL
    wanted &= ~UNBLOCKABLE
    if fd == -1:
        file = SignalFile(t.system, wanted, OpenFlags.RDWR | OpenFlags(flags & OpenFlags.NONBLOCK))
        return t.proc.fds.install(file, cloexec=bool(flags & OpenFlags.CLOEXEC), limit=t.proc.rlimit(Rlimit.NOFILE))
    found = t.proc.fds.get(fd)
    if not isinstance(found, SignalFile):
        raise EINVAL
    found.mask = wanted
    t.system.signal_queue(t.proc).wake()
    return fd


@syscall(pledge="stdio")
def sys_signalfd(t: Thread, fd: Fd, mask: SigSetAt, sizemask: Size) -> int:
    """signalfd4 without flags."""
    return int(sys_signalfd4.run(t, fd, mask, sizemask, 0))
