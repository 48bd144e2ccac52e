"""commit: the point of no return.  Nothing here raises; after it the process is the new program.

Everything that can be refused has been made before (check, load).  The order is the seeds' where they agree with
Linux (kern_exec.c after check_exec, execve.cpp "We commit to the new executable at this point";
fs/exec.c:begin_new_exec): other threads die, the new space is entered, the old one goes, then descriptors, signals,
timers, ids, names, hooks, tracers, the parent of a vfork.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ring3.abi.signals import SI_TIMER, Signal, bit
from ring3.errors import Errno
from ring3.exec.load import Loaded
from ring3.exec.plan import ExecDeath, ExecPlan
from ring3.exec.rules import ANNOUNCED
from ring3.proc import lifecycle, signals
from ring3.proc.cputime import bank
from ring3.proc.proc import Proc, Rlimit, Thread
from ring3.proc.timers import delete_posix_timers

if TYPE_CHECKING:
    from ring3.machine.base import Cpu
    from ring3.vm.vmspace import VMSpace


def commit(t: Thread, loaded: Loaded) -> None:
    """`t` runs the new program.  Works for a process without a program too (its first exec).  Raises nothing."""
    plan, p = loaded.plan, t.proc
    lifecycle.kill_siblings(t)
    own_descriptors(p)
    _tell_old_memory(t)
    enter(t, loaded.vm, loaded.cpu)
    p.activations = None
    _drop_timers(t)
    p.profiling = None
    _close_on_exec(p, plan.closes)
    p.personality.exec.reset_signals(t)
    _reset_thread(t)
    _take_names(t, plan)
    _take_ids(t, plan)
    for fd, file in loaded.opened:
        p.fds.set(fd, file, cloexec=plan.personality.exec.opens_close)
    if p.confinement is not None:
        p.confine(p.confinement.after_exec())
    p.restartable = ()
    announce(t)
    if t.trace is not None:
        signals.send_to_thread(t, signals.kernel_signal(Signal.SIGTRAP))
    old = p.personality
    if old is not plan.personality and old.on_exit is not None:
        old.on_exit(p)
    if plan.personality.on_exec is not None:
        plan.personality.on_exec(p)
    p.personality = plan.personality
    p.emulation = plan.emulation
    t.abi = loaded.abi
    if t.system.instruments:
        t.system.tell("exec", t, plan)
    lifecycle.release_vfork_parent(p)
    if p.stops_at_exec:
        _stop(t)
    elif p.tasks is not None and p.tasks.waits_for_tracer:
        signals.stop_process(p, Signal.SIGSTOP)


def announce(t: Thread) -> None:
    """Those who asked hear that the process runs another program: the kernel's parts (NetBSD: doexechooks), and who waits
    for its events (NOTE_EXEC).
    """
    for hook in t.system.exec_hooks:
        hook(t.proc)
    if t.proc.knotes is not None:
        t.proc.knotes.exec(t.proc)


def _stop(t: Thread) -> None:
    """Stop before the first instruction (NetBSD: P_STOPEXEC): the parent's wait sees it, no signal tells of it."""
    p = t.proc
    p.pending.flush(bit(Signal.SIGCONT))
    t.pending.flush(bit(Signal.SIGCONT))
    p.stopped_by, p.stop_reported, p.continued = Signal.SIGSTOP, False, False
    t.work |= signals.STOP_WORK
    if p.parent is not None:
        p.parent.child_queue.wake()
    t.system.job_changed(p)


def die(t: Thread, death: ExecDeath) -> None:
    """The exec that fails too late to be refused: the old program is gone, the process ends with the death's wait status.
    No core: there is no image.
    """
    lifecycle.kill_siblings(t)
    if death.step in ANNOUNCED:
        announce(t)
    lifecycle.exit_process(t.proc, death.status)


def enter(t: Thread, vm: VMSpace, cpu: Cpu) -> None:
    """The thread runs in the new space on a new machine thread; its old ones go."""
    p = t.proc
    old_cpu, old_vm = getattr(t, "cpu", None), getattr(p, "vm", None)
    if old_cpu is not None:
        bank(t)
    t.cpu = cpu
    cpu.owner = t
    p.vm = vm
    if old_cpu is not None:
        old_cpu.kill()
    if old_vm is not None:
        p.usage.max_rss = max(p.usage.max_rss, old_vm.peak_bytes)
        old_vm.release()


def own_descriptors(p: Proc) -> None:
    """A table shared by CLONE_FILES is left to the others (fs/exec.c: unshare_files)."""
    if p.fds.refs > 1:
        shared = p.fds
        p.fds = shared.fork()
        shared.release()


def _tell_old_memory(t: Thread) -> None:
    """Robust futexes and clear_child_tid, while their memory is still there."""
    if hasattr(t, "cpu"):
        t.system.release_futexes(t)
    t.clear_child_tid = t.robust_list = t.robust_list32 = 0


def _drop_timers(t: Thread) -> None:
    """POSIX timers go, and what they sent; interval timers stay (timer_create(2), getitimer(2))."""
    delete_posix_timers(t.proc)
    t.pending.flush_code(SI_TIMER)
    t.proc.pending.flush_code(SI_TIMER)


def _close_on_exec(p: Proc, fds: tuple[int, ...]) -> None:
    """What closing says matters to nobody any more (fs/file.c: do_close_on_exec)."""
    for fd in fds:
        with suppress(Errno, OSError):
            p.fds.close(fd)


def _reset_thread(t: Thread) -> None:
    t.tls_slots = {}
    t.system.resumable.pop(t, None)
    t.exec_start_ns = t.system.now_ns()


def _take_ids(t: Thread, plan: ExecPlan) -> None:
    p = t.proc
    if plan.secure or plan.cred[:8] != p.cred[:8]:
        p.parent_death_signal = 0
    if plan.setid and t.system.instruments:
        t.system.tell("setid", t)
    p.cred = plan.cred
    p.dumpable = plan.dumpable
    p.keep_caps = False
    p.personality_flags = plan.personality_flags
    p.pax = plan.pax
    p.rlimits[Rlimit.STACK] = plan.stack_rlimit


def _take_names(t: Thread, plan: ExecPlan) -> None:
    p = t.proc
    t.comm = plan.comm
    p.exe = plan.exe.dentry or p.fs.root.nameless(plan.exe.vnode, plan.exe.path.strip(b"/").removesuffix(b" (deleted)"))
    p.did_exec = True
    p.exec_id += 1
