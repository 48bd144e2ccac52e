"""How processes and threads begin and end.

Source: clone(2), exit_group(2), wait(2), setsid(2), prctl(2) PR_SET_CHILD_SUBREAPER.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.abi.flags import CloneFlags
from ring3.abi.signals import CLD_DUMPED, CLD_EXITED, CLD_KILLED, SIG_IGN, SaFlags, SigInfo, Signal
from ring3.errors import EAGAIN, from_oserror
from ring3.proc.cputime import settle
from ring3.proc.proc import Proc, Rlimit, Thread, ThreadState

if TYPE_CHECKING:
    from ring3.proc.system import System


def fork_process(t: Thread, flags: CloneFlags, exit_signal: int) -> Thread:
    """A child process of `t`'s with one thread, not started yet, its registers those of `t`.

    What `flags` say is shared is shared.  Raises EAGAIN (too many processes), ENOMEM; nothing is left behind then.
    """
    p, system = t.proc, t.system
    if len(system.procs) >= system.max_procs or _over_process_limit(p):
        raise EAGAIN
    if flags & CloneFlags.VM:
        vm = p.vm
        vm.refs += 1
    else:
        vm = p.vm.fork()
    try:
        cpu = system.machine.new_thread(vm.machine, t.cpu)
    except OSError as error:
        vm.release()
        raise from_oserror(error) from error
    child = Proc(system, system.new_pid(), p.parent if flags & CloneFlags.PARENT else p)
    child.vm = vm
    child.confinement, child.veil = p.confinement, p.veil
    if p.confinement is not None:
        child.confinement = p.confinement.fork()
    child.emulation = p.emulation
    child.personality = p.personality
    if flags & CloneFlags.FILES:
        p.fds.refs += 1
        child.fds = p.fds
    else:
        child.fds = p.fds.fork()
        for fd in [fd for fd, file in child.fds.files.items() if not file.inherited]:
            child.fds.close(fd)
    if flags & CloneFlags.FS:
        p.fs.refs += 1
        child.fs = p.fs
    else:
        child.fs = p.fs.fork()
    child.actions = p.actions if flags & CloneFlags.SIGHAND else p.actions.fork()
    child.exit_signal = p.exit_signal if flags & CloneFlags.PARENT else exit_signal
    for name in (
        "cred", "pgrp", "session", "exe", "no_new_privs", "keep_caps", "dumpable", "personality_flags", "nice", "oom_score_adj",
        "pax", "restartable", "jail",
    ):
        setattr(child, name, getattr(p, name))
    child.rlimits = list(p.rlimits)
    child.start_ns = system.now_ns()
    thread = add_thread(child, child.pid, t, cpu)
    if not flags & CloneFlags.VM or flags & CloneFlags.VFORK:
        thread.altstack = t.altstack
    system.procs[child.pid] = child
    if child.parent is not None:
        child.parent.children.append(child)
    if p.knotes is not None:
        p.knotes.fork(child)
    return thread


def clone_thread(t: Thread) -> Thread:
    """One more thread of `t`'s process, not started yet, its registers those of `t`.  Raises EAGAIN."""
    try:
        cpu = t.system.machine.new_thread(t.proc.vm.machine, t.cpu)
    except OSError as error:
        raise EAGAIN from error
    return add_thread(t.proc, t.system.new_pid(), t, cpu)


def add_thread(p: Proc, tid: int, like: Thread, cpu: object) -> Thread:
    """Enter a thread into its process and the system."""
    thread = Thread(p, tid)
    thread.cpu = cpu  # type: ignore[assignment]
    thread.cpu.owner = thread
    thread.abi = like.abi
    thread.comm = like.comm
    thread.sigmask = like.sigmask
    thread.timer_slack_ns = like.timer_slack_ns
    thread.sched = like.sched
    if p is like.proc:
        thread.trace = like.trace
    thread.tls_slots = dict(like.tls_slots)
    p.threads[tid] = thread
    p.system.threads[tid] = thread
    return thread


def _over_process_limit(p: Proc) -> bool:
    limit = p.rlimit(Rlimit.NPROC)
    if p.cred.privileged:
        return False
    return sum(other.cred.ruid == p.cred.ruid for other in p.system.procs.values()) >= limit


def exit_thread(t: Thread, status: int) -> None:
    """One thread ends; with the last one the process does, with that status (a wait status word)."""
    p = t.proc
    last = all(other is t or other.state is ThreadState.DEAD for other in p.threads.values())
    if last:
        exit_process(p, status)
        return
    end_thread(t)
    if t.tid != p.pid:
        del p.threads[t.tid]


def end_thread(t: Thread) -> None:
    """What every end of a thread does: its futexes are told, its machine thread goes."""
    if t.state is ThreadState.DEAD:
        return
    system = t.system
    system.release_futexes(t)
    settle(t)
    t.state = ThreadState.DEAD
    t.work = 0
    system.scheduler.forget(t)
    system.forget_thread(t)
    t.cpu.kill()


def kill_siblings(t: Thread) -> None:
    """exec: all other threads of the process end at once, and `t` becomes the leader."""
    p = t.proc
    for other in list(p.threads.values()):
        if other is not t:
            end_thread(other)
            p.threads.pop(other.tid, None)
    if t.tid != p.pid:
        p.threads.pop(t.tid, None)
        t.system.threads.pop(t.tid, None)
        t.tid = p.pid
        p.threads[p.pid] = t
        t.system.threads[p.pid] = t


def exit_process(p: Proc, status: int) -> None:
    """The process ends with a wait status word: threads, memory, descriptors go; the parent is told; children get a new parent.

    Nothing raises; ending twice is harmless.
    """
    if p.exiting or p.zombie:
        return
    p.exiting = True
    system = p.system
    comm = p.comm
    if p.personality.on_exit is not None:
        p.personality.on_exit(p)
    for t in list(p.threads.values()):
        end_thread(t)
    p.comm_parent = comm
    _end_tracees(p)
    if p.tracing is not None:
        p.tracing.tracer.child_queue.wake()
    release_vfork_parent(p)
    system.cancel_timers(p)
    system.account_exit(p)
    p.vm.release()
    p.fds.release()
    p.exit_status = status
    p.zombie = True
    if p.knotes is not None:
        p.knotes.exit(status)
    _leave_session(p)
    children = p.children
    _give_children_away(p)
    _tell_orphans(p, children)
    if system.instruments:
        system.tell("exit", p)
    p.pidfd_queue.wake()
    _tell_parent(p)


def _end_tracees(p: Proc) -> None:
    """Whom it traces ends with it."""
    tracees: list[Proc] = p.tasks.tracees if p.tasks is not None else []
    while tracees:
        tracee = tracees.pop()
        tracee.tracing = None
        p.system.send_to_process(tracee, SigInfo(Signal.SIGKILL))


def release_vfork_parent(p: Proc) -> None:
    """The parent of a vfork goes on: its child has its own memory, or is gone."""
    if not p.vfork_done:
        p.vfork_done = True
        p.vfork_queue.wake()


def _leave_session(p: Proc) -> None:
    session, system = p.session, p.system
    if session.sid == p.pid and session.tty is not None:
        tty, session.tty = session.tty, None
        system.hang_up(tty)


def _tell_orphans(p: Proc, children: list[Proc]) -> None:
    """Groups of its children that have nobody left to continue them hear of it when a member is stopped."""
    for child in children:
        if not child.stopped_by or not child.personality.signal_defaults.orphans:
            continue
        if child.pgrp != p.pgrp and p.system.is_orphaned(child.pgrp):
            p.system.orphan_stopped(child.pgrp)


def _give_children_away(p: Proc) -> None:
    system = p.system
    reaper = p.parent
    while reaper is not None and not (reaper.child_reaper and not reaper.exiting):
        reaper = reaper.parent
    heir = reaper if reaper is not None else system.init
    for child in p.children:
        child.parent = heir
        child.exit_signal = Signal.SIGCHLD
        heir.children.append(child)
        if child.parent_death_signal and not child.zombie:
            system.send_to_process(child, SigInfo(child.parent_death_signal, pid=p.pid, uid=p.cred.ruid))
        if child.zombie:
            _tell_parent(child)
    p.children = []


def disown(child: Proc) -> None:
    """A child's parent has it no longer: nobody will wait for it."""
    heir = child.system.init
    if child.parent is not None:
        child.parent.children.remove(child)
    child.parent = heir
    heir.children.append(child)
    if child.zombie:
        _tell_parent(child)


def exit_siginfo(p: Proc) -> SigInfo:
    """The SIGCHLD of a process that ended."""
    status = p.exit_status or 0
    signo = status & 0x7F
    code = CLD_EXITED if signo == 0 else CLD_DUMPED if status & 0x80 else CLD_KILLED
    ticks = 10_000_000
    return SigInfo(
        Signal.SIGCHLD, code, pid=p.pid, uid=p.cred.ruid, status=signo or status >> 8 & 0xFF,
        utime=p.usage.user_ns // ticks, stime=p.usage.system_ns // ticks,
    )


def _tell_parent(p: Proc) -> None:
    parent, system = p.parent, p.system
    if parent is None or parent is system.init or parent.zombie:
        reap(p)
        return
    action = parent.actions.table[Signal.SIGCHLD]
    quiet = bool(action.flags & SaFlags.NOCLDWAIT)
    discards = parent.personality.signal_defaults.discards
    ignored = discards and p.exit_signal == Signal.SIGCHLD and (action.handler == SIG_IGN or quiet)
    silent = action.handler == SIG_IGN if ignored else quiet and not discards
    if p.exit_signal and not silent:
        system.send_to_process(parent, exit_siginfo(p)._replace(signo=p.exit_signal))
    if ignored:
        reap(p)
    parent.child_queue.wake()


def reap(p: Proc) -> None:
    """Forget a zombie: its pid is free, its parent has its times."""
    system: System = p.system
    system.procs.pop(p.pid, None)
    if p.tracing is not None:
        p.tracing.tracer.tasks.tracees.remove(p)
    for t in p.threads.values():
        system.threads.pop(t.tid, None)
    if p.parent is not None:
        if p in p.parent.children:
            p.parent.children.remove(p)
        if p.parent is not system.init:
            p.parent.child_usage.add(p.usage)
            p.parent.child_usage.add(p.child_usage)
    system.reaped(p)
