"""NetBSD's calls about signals: actions with their trampoline, masks, waiting, the alternate stack.

The kernel's own numbers are used here: arguments and structs are translated before (`personality/netbsd/signals.py`).
Not here: frames and contexts (`personality/netbsd/`), sending (`kill` is shared).
Sources: sigaction(2), sigprocmask(2), sigpending(2), sigsuspend(2), sigtimedwait(2), sigqueue(2), sigaltstack(2).
"""

from __future__ import annotations

from typing import Annotated, Final

from ring3.abi.procrecords import SigSet
from ring3.abi.records import Timespec
from ring3.abi.signals import (
    SI_QUEUE,
    SIG_DFL,
    SIG_IGN,
    SIGRTMIN,
    SS_DISABLE,
    SS_ONSTACK,
    AltStack,
    SaFlags,
    SigAction,
    SigInfo,
    Signal,
)
from ring3.calls.guest import fetch, store
from ring3.calls.procarg import (
    ActionAt,
    ActionOut,
    AltStackAt,
    AltStackOut,
    Pointer,
    SigInfoAt,
    SigInfoOut,
    SigSetAt,
    SigSetOut,
    TimespecAt,
)
from ring3.calls.signal import change_action, change_mask, suspend, wait_for_signal
from ring3.calls.sysarg import Int, Number, Pid, SigNo
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, ENOMEM
from ring3.proc import signals
from ring3.proc.proc import Thread
from ring3.proc.targets import check_signal, find_process

MINSIGSTKSZ: Final = 8192
_SIG_HOLD: Final = 3
_KERNEL_TRAMPOLINE, _SIGCONTEXT_TRAMPOLINE, _SIGINFO_FIRST, _SIGINFO_LAST = 0, 1, 2, 3
_NO_RESET: Final = (Signal.SIGILL, Signal.SIGTRAP, Signal.SIGPWR)

BsdHow = Annotated[int, Number({1: "SIG_BLOCK", 2: "SIG_UNBLOCK", 3: "SIG_SETMASK"})]


@syscall(pledge="stdio")
def sys___sigaction_sigtramp(t: Thread, signum: SigNo, nsa: ActionAt, osa: ActionOut, tramp: Pointer, vers: Int) -> int:
    """Set or read what a signal does, and the code a handler returns through."""
    new: SigAction | None = fetch(t, SigAction, nsa) if nsa else None
    if signum < 1:
        raise EINVAL
    if new is not None:
        new = _with_trampoline(signum, new, tramp, vers)
    old = change_action(t, signum, new)
    if osa:
        store(t, SigAction, osa, old)
    return 0


def _with_trampoline(signo: int, action: SigAction, tramp: int, vers: int) -> SigAction:
    """sigaction1's view of a new action.  Raises EINVAL for flags, and for a trampoline that does not go with its version."""
    if action.flags >> 40 or action.handler == _SIG_HOLD:
        raise EINVAL
    if signo in _NO_RESET:
        action = action._replace(flags=action.flags & ~SaFlags.RESETHAND)
    if action.handler in (SIG_DFL, SIG_IGN):
        return action
    if not _SIGINFO_FIRST <= vers <= _SIGINFO_LAST or not tramp:
        raise EINVAL
    return action._replace(flags=action.flags | SaFlags.RESTORER, restorer=tramp)


@syscall(pledge="stdio")
def sys___sigprocmask14(t: Thread, how: BsdHow, nset: SigSetAt, oset: SigSetOut) -> int:
    """Change or read the mask of blocked signals."""
    old = t.sigmask
    if nset:
        change_mask(t, how - 1, fetch(t, SigSet, nset))
    if oset:
        store(t, SigSet, oset, old)
    return 0


@syscall(pledge="stdio")
def sys___sigpending14(t: Thread, uset: SigSetOut) -> int:
    """The signals that wait, blocked ones among them."""
    store(t, SigSet, uset, t.pending.mask | t.proc.pending.mask)
    return 0


@syscall(pledge="stdio")
async def sys___sigsuspend14(t: Thread, nset: SigSetAt) -> int:
    """Sleep with another mask until a handler ran."""
    return await suspend(t, fetch(t, SigSet, nset))


@syscall(pledge="stdio")
async def sys_____sigtimedwait50(t: Thread, these: SigSetAt, info: SigInfoOut, uts: TimespecAt) -> int:
    """Take a pending signal of a set, waiting for it at most so long; the siginfo says which."""
    wanted: int = fetch(t, SigSet, these)
    await wait_for_signal(t, wanted, info, fetch(t, Timespec, uts) if uts else None)
    return 0


@syscall(pledge="proc")
def sys_sigqueueinfo(t: Thread, pid: Pid, uinfo: SigInfoAt) -> int:
    """Send a signal with a value to a process; the code is SI_QUEUE whatever the caller wrote."""
    told: SigInfo = fetch(t, SigInfo, uinfo)
    target = find_process(t, pid)
    check_signal(t, target, told.signo)
    if told.signo:
        if told.signo >= SIGRTMIN:
            signals.check_pending_room(target)
        signals.send_to_process(target, signals.user_signal(t, told.signo, SI_QUEUE, told.value))
    return 0


@syscall(pledge="stdio")
def sys___sigaltstack14(t: Thread, nss: AltStackAt, oss: AltStackOut) -> int:
    """Set or read the stack of handlers with SA_ONSTACK.

    Whether the thread is on it, the kernel remembers; it never looks at the stack pointer.
    """
    new: AltStack | None = fetch(t, AltStack, nss) if nss else None
    old = t.altstack if t.altstack.size else AltStack(0, SS_DISABLE, 0)
    if new is not None:
        _set_alt_stack(t, new)
    if oss:
        store(t, AltStack, oss, old)
    return 0


def _set_alt_stack(t: Thread, new: AltStack) -> None:
    """sigaltstack1.  Raises EINVAL (unknown flags; disabling it while on it; changing it then), ENOMEM below MINSIGSTKSZ."""
    on_it = t.altstack.flags & SS_ONSTACK
    if new.flags & ~SS_DISABLE & ~SS_ONSTACK:
        raise EINVAL
    if new.flags & SS_DISABLE:
        if on_it:
            raise EINVAL
        t.altstack = AltStack(0, SS_DISABLE, 0)
        return
    if on_it:
        raise EINVAL
    if new.size < MINSIGSTKSZ:
        raise ENOMEM
    t.altstack = AltStack(new.base, 0, new.size)
