"""Signals: sending them, choosing the thread, what they do by default, job control.

Sending never runs anything of the target: it queues and wakes.  Taking happens in `attend`, just before a thread goes back
to its program.  Source: signal(7), kernel/signal.c's documented behaviour as signal(7) and sigaction(2) state it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.abi.signals import (
    CLD_CONTINUED,
    CLD_STOPPED,
    DEFAULT_ACTION,
    SI_KERNEL,
    SI_TIMER,
    SI_USER,
    SIG_DFL,
    SIG_IGN,
    STOPS,
    UNBLOCKABLE,
    SaFlags,
    SigInfo,
    Signal,
    bit,
)
from ring3.errors import EAGAIN, ESRCH
from ring3.proc.lifecycle import exit_process
from ring3.proc.proc import Proc, Thread, ThreadState

if TYPE_CHECKING:
    from ring3.proc.system import System

SIGNAL_WORK = 1          # Thread.work: signals may be pending
STOP_WORK = 2            # Thread.work: its process is stopped
REMAP_WORK = 4           # Thread.work: mapped files moved while it ran (`Thread.stale_objects`)
_CONT = bit(Signal.SIGCONT)


def take(t: Thread, allowed: int) -> SigInfo | None:
    """The next signal for `t` whose bit is in `allowed`, no longer pending; a POSIX timer learns which of its signals it was."""
    p = t.proc
    info = t.pending.take(allowed) or p.pending.take(allowed)
    if info is not None and info.code == SI_TIMER and (timer := p.posix_timers.get(info.timer_id)) is not None:
        return timer.taken(info)  # type: ignore[no-any-return]
    return info


def ignores(p: Proc, signo: int) -> bool:
    """Whether `signo` sent to `p` now would be thrown away, blocked or not aside."""
    action = p.actions.table[signo]
    return action.handler == SIG_IGN or (action.handler == SIG_DFL and bool(p.personality.signal_defaults.ignored & bit(signo)))


def _prepare(p: Proc, signo: int) -> None:
    """What stop and continue signals do to each other the moment they are sent."""
    mask = bit(signo)
    if mask & STOPS:
        p.pending.flush(_CONT)
        for t in p.threads.values():
            t.pending.flush(_CONT)
    elif signo in (Signal.SIGCONT, Signal.SIGKILL):
        p.pending.flush(STOPS)
        for t in p.threads.values():
            t.pending.flush(STOPS)
        if p.stopped_by and signo == Signal.SIGCONT:
            continue_process(p)


def send_to_process(p: Proc, info: SigInfo) -> bool:
    """Send to a process as a whole; False when it was dropped (ignored, pending already, or the process is a zombie)."""
    if p.zombie or p.exiting or not p.threads:
        return False
    signo = info.signo
    if p.knotes is not None:
        p.knotes.signal(signo)
    _prepare(p, signo)
    threads = p.live_threads()
    mask = bit(signo)
    if ignores(p, signo) and not any(t.sigmask & mask or waits_for(t) & mask for t in threads):
        _tell_dropped(p.threads.get(p.pid) or threads[0], info)
        return False
    if not p.pending.add(info):
        return False
    p.system.signal_queue(p).wake()
    wanting = [t for t in threads if not t.sigmask & mask or waits_for(t) & mask]
    if wanting and (not p.stopped_by or signo == Signal.SIGKILL):       # a stopped process takes what came when it goes on
        leader_first = sorted(wanting, key=lambda t: (t.state is not ThreadState.SLEEPING, t.tid))
        chosen = p.threads[p.pid] if p.threads.get(p.pid) in wanting else leader_first[0]
        if _fatal(p, signo) and not waits_for(chosen) & mask:
            caller = p.system.current
            if caller in wanting and _ends_behind_call(caller, signo):
                caller.work |= SIGNAL_WORK
                return True
            _tell_dropped(chosen, info)
            exit_process(p, signo)
            return True
        _poke(chosen)
    return True


def _ends_behind_call(t: Thread, signo: int) -> bool:
    """Whether a signal that ends the process of `t` waits until the call it is in is over: one that this call itself sends."""
    return signo != Signal.SIGKILL and t is t.system.current and t.state is ThreadState.SERVED


def send_to_thread(t: Thread, info: SigInfo) -> bool:
    """Send to one thread; False when it was dropped."""
    p = t.proc
    if p.zombie or p.exiting or t.state is ThreadState.DEAD:
        return False
    signo = info.signo
    if p.knotes is not None:
        p.knotes.signal(signo)
    _prepare(p, signo)
    mask = bit(signo)
    if ignores(p, signo) and not t.sigmask & mask and not waits_for(t) & mask:
        _tell_dropped(t, info)
        return False
    if not t.pending.add(info):
        return False
    p.system.signal_queue(p).wake()
    if (not t.sigmask & mask or waits_for(t) & mask) and (not p.stopped_by or signo == Signal.SIGKILL):
        if _fatal(p, signo) and not waits_for(t) & mask:
            if _ends_behind_call(t, signo):
                t.work |= SIGNAL_WORK
                return True
            _tell_dropped(t, info)
            exit_process(p, signo)
            return True
        _poke(t)
    return True


def send_behind_call(t: Thread, info: SigInfo) -> None:
    """Send to a thread that is in a call: what the signal does, it does when the call has ended, but for SIGKILL."""
    p = t.proc
    if info.signo == Signal.SIGKILL:
        send_to_thread(t, info)
        return
    if p.zombie or p.exiting or t.state is ThreadState.DEAD:
        return
    _prepare(p, info.signo)
    if t.pending.add(info):
        p.system.signal_queue(p).wake()
        t.work |= SIGNAL_WORK


def _tell_dropped(t: Thread, info: SigInfo) -> None:
    """Tell who watches of a signal that no thread will take: ignored, or the end at once.  SIGKILL is seen by its end alone."""
    handled = False
    if t.system.instruments and info.signo != Signal.SIGKILL:
        t.system.tell("signal", t, info, handled)


def waits_for(t: Thread) -> int:
    """The signals `t` waits for in sigtimedwait(2), blocked though they are."""
    return t.system.sigwaiters.get(t, 0)


def _fatal(p: Proc, signo: int) -> bool:
    """Whether it ends the process at once whatever the program does: SIGKILL, and default deaths."""
    if signo == Signal.SIGKILL:
        return True
    if p.tracing is not None:
        return False
    mask = bit(signo)
    defaults = p.personality.signal_defaults
    return p.actions.table[signo].handler == SIG_DFL and not mask & (defaults.ignored | STOPS | defaults.dumps)


def _poke(t: Thread) -> None:
    t.work |= SIGNAL_WORK
    t.system.scheduler.interrupt(t)


def recalculate(t: Thread) -> None:
    """After a change of mask or actions: does `t` have a signal to take?"""
    if (t.pending.mask | t.proc.pending.mask) & ~t.sigmask:
        t.work |= SIGNAL_WORK


def hand_over(t: Thread, mask: int) -> None:
    """`t` blocks these from now on, or ends: another thread that does not takes what is pending for the process."""
    p = t.proc
    wanted = p.pending.mask & mask
    for other in p.threads.values():
        if not wanted:
            break
        if other is not t and other.state is not ThreadState.DEAD and wanted & ~other.sigmask:
            wanted &= other.sigmask
            _poke(other)


def force(t: Thread, info: SigInfo) -> None:
    """A signal that cannot be ignored or held back, the CPU's faults above all: then it does its default."""
    p, signo = t.proc, info.signo
    action = p.actions.table[signo]
    if t.sigmask & bit(signo) or action.handler == SIG_IGN:
        p.actions.table[signo] = DEFAULT_ACTION
        t.sigmask &= ~bit(signo)
    t.pending.add(info)
    t.work |= SIGNAL_WORK


def send_to_group(system: System, pgrp: int, info: SigInfo) -> int:
    """Send to every process of a group; how many there are."""
    members = [p for p in system.procs.values() if p.pgrp == pgrp and not p.zombie]
    for p in members:
        send_to_process(p, info)
    return len(members)


def kernel_signal(signo: int) -> SigInfo:
    """A signal the kernel itself sends."""
    return SigInfo(signo, SI_KERNEL)


def user_signal(t: Thread, signo: int, code: int = SI_USER, value: int = 0) -> SigInfo:
    """A signal `t` sends."""
    return SigInfo(signo, code, pid=t.proc.pid, uid=t.proc.cred.ruid, value=value)


def attend(t: Thread) -> bool:
    """Before `t` goes back to its program: stop, die, or enter handlers.  False when it does not go back now.

    An interrupted call (`t.restart`) is settled here, by what the first signal does.
    """
    p = t.proc
    if t.stale_objects:
        moved, t.stale_objects = t.stale_objects, ()
        p.vm.remap(lambda found: found in moved)
    while t.state is not ThreadState.DEAD:
        if p.stopped_by or (t.lwp is not None and t.lwp.suspended):
            t.state = ThreadState.STOPPED
            return False
        t.work = 0
        info = take(t, ~t.sigmask)
        if info is None:
            break
        action = p.actions.table[info.signo]
        if t.system.instruments:
            t.system.tell("signal", t, info, action.handler not in (SIG_DFL, SIG_IGN))
        defaults = p.personality.signal_defaults
        if not defaults.restarts:
            _settle_restart(t, handled=True, restarts=False)
        if p.tracing is not None and p.tracing.stops(info.signo):
            stop_process(p, info.signo)             # for its tracer; the signal is gone
            continue
        if action.handler == SIG_IGN:
            continue
        if action.handler == SIG_DFL:
            _do_default(t, info)
            continue
        _settle_restart(t, handled=True, restarts=bool(action.flags & SaFlags.RESTART))
        enter_handler(t, info)
        if not defaults.together:
            recalculate(t)
            break
    if t.state is ThreadState.DEAD:
        return False
    _settle_restart(t, handled=False, restarts=True)
    if t.saved_sigmask is not None:
        t.sigmask, t.saved_sigmask = t.saved_sigmask, None
        if (t.pending.mask | p.pending.mask) & ~t.sigmask:
            return attend(t)
    return True


def enter_handler(t: Thread, info: SigInfo) -> None:
    """Build the frame for one signal and point the thread at its handler; a stack that cannot hold it means SIGSEGV."""
    p, signo = t.proc, info.signo
    action = p.actions.table[signo]
    if action.flags & SaFlags.RESETHAND:
        p.actions.table[signo] = DEFAULT_ACTION
    mask_before = t.sigmask if t.saved_sigmask is None else t.saved_sigmask
    t.saved_sigmask = None
    if not t.abi.send_signal(t, info, action, mask_before):
        t.sigmask = mask_before
        if signo == Signal.SIGSEGV:
            p.actions.table[signo] = DEFAULT_ACTION
        force(t, kernel_signal(Signal.SIGSEGV))
        return
    t.sigmask |= action.mask
    if not action.flags & SaFlags.NODEFER:
        t.sigmask |= bit(signo)
    t.sigmask &= ~UNBLOCKABLE


def _settle_restart(t: Thread, *, handled: bool, restarts: bool) -> None:
    restart = t.restart
    if restart is None:
        return
    t.restart = None
    abi = t.system.call_abi(t)
    if handled and not restart.always and (restart.no_handler_only or not restarts):
        abi.refuse(t.cpu.regs, t.call_number, t.system.EINTR)
    elif restart.resume is not None:
        t.system.resumable[t] = restart.resume
        abi.rewind(t.cpu.regs, abi.restart_number)
    else:
        abi.rewind(t.cpu.regs, t.call_number)


def _do_default(t: Thread, info: SigInfo) -> None:
    p, mask = t.proc, bit(info.signo)
    defaults = p.personality.signal_defaults
    if mask & defaults.ignored:
        return
    if mask & STOPS:
        if info.signo != Signal.SIGSTOP and defaults.orphans and t.system.is_orphaned(p.pgrp):
            return
        stop_process(p, info.signo)
        return
    die(t, info)


def die(t: Thread, info: SigInfo) -> None:
    """The process ends by a signal that `t` took, or may as well have taken; before that it leaves a core file, if this signal asks
    for one and its system writes one.
    """
    p = t.proc
    written = False
    if p.personality.signal_defaults.dumps & bit(info.signo) and p.personality.dump_core is not None and not p.exiting:
        written = p.personality.dump_core(t, info)
    exit_process(p, info.signo | (0x80 if written else 0))


def stop_process(p: Proc, signo: int) -> None:
    """Job control: all threads stop before their next instruction; the parent is told."""
    p.stopped_by = signo
    p.stop_reported = False
    if p.tracing is not None:
        p.tracing.has_stopped = True
    p.continued = False
    for t in p.live_threads():
        t.work |= STOP_WORK
        if t.state is ThreadState.RUNNING:
            t.cpu.interrupt()
    _tell_parent(p, CLD_STOPPED, signo)


def continue_process(p: Proc) -> None:
    """Let a stopped process go on; the parent is told."""
    p.stopped_by = 0
    p.stop_reported = True
    p.continued = True
    if p.tracing is not None:
        p.tracing.resumed.wake()
    _tell_parent(p, CLD_CONTINUED, Signal.SIGCONT)
    for t in p.live_threads():
        if t.state is ThreadState.STOPPED:
            t.state = ThreadState.SERVED
            t.system.leave(t)


def _tell_parent(p: Proc, code: int, status: int) -> None:
    if p.tracing is not None:
        p.tracing.tracer.child_queue.wake()
    parent = p.parent
    if parent is None:
        return
    action = parent.actions.table[Signal.SIGCHLD]
    if not action.flags & SaFlags.NOCLDSTOP:
        send_to_process(parent, SigInfo(Signal.SIGCHLD, code, pid=p.pid, uid=p.cred.ruid, status=int(status)))
    parent.child_queue.wake()
    p.system.job_changed(p)


def check_pending_room(p: Proc) -> None:
    """Raises EAGAIN when RLIMIT_SIGPENDING leaves no room for one more queued signal."""
    queued = len(p.pending) + sum(len(t.pending) for t in p.threads.values())
    if queued >= p.rlimit(11):
        raise EAGAIN


def find_thread(system: System, tid: int) -> Thread:
    """The living thread with this id.  Raises ESRCH."""
    t = system.threads.get(tid)
    if t is None or t.state is ThreadState.DEAD:
        raise ESRCH
    return t
