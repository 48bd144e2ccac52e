"""LWPs: making, ending, waiting for, stopping and naming threads (_lwp_*(2)).

Not here: _lwp_create itself, whose context is registers (`personality/netbsd/contexts.py`), parking (`park.py`).
Sources: _lwp_create(2), _lwp_exit(2), _lwp_wait(2), _lwp_suspend(2), _lwp_kill(2), _lwp_setname(2), _lwp_ctl(2).
"""

from __future__ import annotations

import contextlib
from typing import Annotated, Final

from ring3.abi.flags import Prot
from ring3.abi.procrecords import Int32
from ring3.abi.signals import SI_TKILL
from ring3.calls.guest import store
from ring3.calls.procarg import IntOut, Listed, Pointer, WordOut
from ring3.calls.sysarg import Int, Pid, SigNo, Size
from ring3.calls.syscall import JUST_RETURN, syscall
from ring3.errors import EDEADLK, EFAULT, EINVAL, ENAMETOOLONG, ENODEV, ESRCH
from ring3.proc import lwp as lwps
from ring3.proc import signals
from ring3.proc.lifecycle import clone_thread, exit_process, exit_thread
from ring3.proc.lwp import Lwp, find_lwp, lwp_of, table_of
from ring3.proc.proc import Thread, ThreadState
from ring3.proc.targets import check_signal
from ring3.vm.region import PAGE, Region
from ring3.waiting import sleep_on

LWP_DETACHED, LWP_SUSPENDED = 0x40, 0x80
_MAXCOMLEN: Final = 32                     # MAXCOMLEN bytes of a name at most, its zero included
_CTL_CURCPU, _CTL_PCTR = 1, 2
_CONTROL_SIZE: Final = 8                   # struct lwpctl
CPU_EXITED, CPU_NONE, CPU_FIRST = -2, -1, 0

LwpOut = Annotated[int, Listed(Int32, out=True)]


def add_lwp(t: Thread, flags: int) -> Thread:
    """One more thread of `t`'s process, numbered, not started yet.  Raises EAGAIN when there are too many."""
    table = table_of(t.proc)
    child = clone_thread(t)
    try:
        lwp = lwps.enter(table, child)
    except BaseException:
        exit_thread(child, 0)
        raise
    lwp.detached = bool(flags & LWP_DETACHED)
    lwp.suspended = bool(flags & LWP_SUSPENDED)
    lwp.private = lwp_of(t).private
    child.altstack = t.altstack
    return child


def abandon(child: Thread) -> None:
    """One that was added and cannot be started after all."""
    table_of(child.proc).threads.pop(lwp_of(child).lid, None)
    exit_thread(child, 0)


def start_lwp(t: Thread, child: Thread, new_lwp: int) -> int:
    """Tell its number, then let it run; it stays away where it was made suspended.  Raises EFAULT: nobody was made then."""
    lwp = lwp_of(child)
    try:
        store(t, Int32, new_lwp, lwp.lid)
    except BaseException:
        abandon(child)
        raise
    if t.system.instruments:
        t.system.tell("fork", t, child)
    if lwp.suspended:
        child.state = ThreadState.STOPPED
        child.work |= signals.STOP_WORK
    else:
        t.system.leave(child)
    return 0


@syscall(pledge="stdio")
def sys__lwp_self(t: Thread) -> int:
    """The caller's number."""
    return lwp_of(t).lid


@syscall(pledge="")
def sys__lwp_exit(t: Thread) -> int:
    """End this thread; with the last one the process ends, with status 0."""
    p = t.proc
    if len(p.live_threads()) == 1:
        exit_process(p, 0)
    else:
        tell_cpu(t, lwp_of(t), CPU_EXITED)
        lwps.leave(t)
        exit_thread(t, 0)
    return JUST_RETURN


@syscall(pledge="stdio")
async def sys__lwp_wait(t: Thread, wait_for: Pid, departed: IntOut) -> int:
    """Wait for one thread, or for any (0), to end.

    Raises ESRCH for none, EINVAL for a detached one, EDEADLK for oneself and where everybody waits.
    """
    me, table = lwp_of(t), table_of(t.proc)
    if wait_for == me.lid:
        raise EDEADLK
    while True:
        found = next((lid for lid in table.gone if wait_for in (0, lid)), 0)
        if found:
            if departed:
                store(t, Int32, departed, found)
            table.gone.remove(found)
            return 0
        _check_waitable(t, me, wait_for)
        me.waited_for = wait_for or -1
        try:
            await sleep_on(table.queue)
        finally:
            me.waited_for = 0


def _check_waitable(t: Thread, me: Lwp, wait_for: int) -> None:
    """Whether what `me` waits for can ever end.  Raises ESRCH, EINVAL, EDEADLK."""
    others = [other for other in t.proc.live_threads() if other is not t]
    if wait_for:
        target = find_lwp(t.proc, wait_for)
        if target is None:
            raise ESRCH
        if lwp_of(target).detached:
            raise EINVAL
        if lwp_of(target).waited_for == me.lid:
            raise EDEADLK
    elif all(lwp_of(other).detached for other in others):
        raise ESRCH
    if all(lwp_of(other).waited_for for other in others):
        raise EDEADLK


def _target(t: Thread, lid: int) -> Thread:
    """The caller's thread with this number; 0 is the caller.  Raises ESRCH."""
    found = t if lid == 0 else find_lwp(t.proc, lid)
    if found is None:
        raise ESRCH
    return found


@syscall(pledge="stdio")
def sys__lwp_detach(t: Thread, target: Pid) -> int:
    """Nobody will wait for it."""
    if target and target in table_of(t.proc).gone:
        table_of(t.proc).gone.remove(target)
        return 0
    lwp = lwp_of(_target(t, target))
    if lwp.detached:
        raise EINVAL
    lwp.detached = True
    table_of(t.proc).queue.wake()
    return 0


@syscall(pledge="stdio")
def sys__lwp_kill(t: Thread, target: Pid, sig: SigNo) -> int:
    """Send a signal to one thread of the process; 0 asks whether it is there."""
    if sig < 0:
        raise EINVAL
    found = _target(t, target)
    check_signal(t, found.proc, sig)
    if sig:
        signals.send_to_thread(found, signals.user_signal(t, sig, SI_TKILL))
    return 0


# --- stopping and going on
@syscall(pledge="stdio")
def sys__lwp_suspend(t: Thread, target: Pid) -> int:
    """Hold one thread.  EDEADLK where no other would run."""
    found = _target(t, target)
    lwp = lwp_of(found)
    if not any(other is not found and not lwp_of(other).suspended for other in t.proc.live_threads()):
        raise EDEADLK
    if not lwp.suspended:
        lwp.suspended = True
        found.work |= signals.STOP_WORK
        if found.state is ThreadState.RUNNING:
            found.cpu.interrupt()
    return 0


@syscall(pledge="stdio")
def sys__lwp_continue(t: Thread, target: Pid) -> int:
    """Let a suspended thread go on; one that runs is left alone."""
    found = _target(t, target)
    lwp = lwp_of(found)
    if lwp.suspended:
        lwp.suspended = False
        if found.state is ThreadState.STOPPED and not found.proc.stopped_by:
            found.state = ThreadState.SERVED
            t.system.leave(found)
    return 0


@syscall(pledge="stdio")
def sys__lwp_wakeup(t: Thread, target: Pid) -> int:
    """End a thread's sleep as a signal would.  ENODEV where it does not sleep."""
    found = _target(t, target)
    if found.state is not ThreadState.SLEEPING:
        raise ENODEV
    t.system.scheduler.interrupt(found)
    return 0


# --- private pointer, name, control block
@syscall(pledge="stdio")
def sys__lwp_setprivate(t: Thread, ptr: Pointer) -> int:
    """The thread's private pointer: the base of a segment."""
    lwp_of(t).private = ptr
    t.abi.set_tls(t, ptr)
    return 0


@syscall(pledge="stdio")
def sys__lwp_getprivate(t: Thread) -> int:
    """What _lwp_setprivate said."""
    return lwp_of(t).private


@syscall(pledge="stdio")
def sys__lwp_setname(t: Thread, target: Pid, name: Pointer) -> int:
    """Name a thread."""
    text = t.proc.vm.copyinstr(name, _MAXCOMLEN)
    lwp_of(_target(t, target)).name = text
    return 0


@syscall(pledge="stdio")
def sys__lwp_getname(t: Thread, target: Pid, name: Pointer, length: Size) -> int:
    """A thread's name, cut to `length` bytes with its zero.  ENAMETOOLONG for no room at all."""
    text = lwp_of(_target(t, target)).name
    if not length:
        raise ENAMETOOLONG
    t.proc.vm.copyout(name, text[: min(length, _MAXCOMLEN) - 1] + b"\0")
    return 0


def tell_cpu(t: Thread, lwp: Lwp, cpu: int) -> None:
    """Say in the thread's control block where it runs now; where it has none, or took it away, nobody asks."""
    if lwp.control and t.state is not ThreadState.DEAD:
        with contextlib.suppress(EFAULT):
            t.proc.vm.copyout(lwp.control, cpu.to_bytes(4, "little", signed=True))


@syscall(pledge="stdio")
def sys__lwp_ctl(t: Thread, features: Int, address: WordOut) -> int:
    """The block through which libpthread asks on which CPU a thread runs: always the first here, none while it is parked.

    Who waits for a mutex spins as long as its owner runs.  Its page is the program's own; one that unmapped it gets EFAULT.
    """
    if features & ~(_CTL_CURCPU | _CTL_PCTR):
        raise ENODEV
    lwp, table, vm = lwp_of(t), table_of(t.proc), t.proc.vm
    if not lwp.control:
        if not table.control_page or table.controls >= PAGE // _CONTROL_SIZE:
            start = vm.find_gap(PAGE)
            vm.map(Region(start, start + PAGE, Prot.READ | Prot.WRITE))
            table.control_page, table.controls = start, 0
        lwp.control = table.control_page + table.controls * _CONTROL_SIZE
        table.controls += 1
    vm.copyout(lwp.control, bytes(_CONTROL_SIZE))
    vm.copyout(address, lwp.control.to_bytes(8, "little")[: t.system.call_abi(t).word_size])
    return 0
