"""commit: the point of no return.  Nothing here raises; after it the process is the new program.

Everything that can be refused has been made before (check, load).  The order is the seeds' where they agree with
Linux (kern_exec.c after check_exec, execve.cpp "We commit to the new executable at this point";
fs/exec.c:begin_new_exec): other threads die, the new space is entered, the old one goes, then descriptors, signals,
timers, ids, names, hooks, tracers, the parent of a vfork.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ring3.abi.signals import DEFAULT_ACTION, SI_TIMER, SIG_IGN, AltStack, SigAction
from ring3.errors import Errno
from ring3.exec.load import Loaded
from ring3.exec.plan import ExecDeath, ExecPlan
from ring3.proc import lifecycle
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
    _drop_timers(t)
    reset_signals(t)
    _reset_thread(t)
    _close_on_exec(p, plan.closes)
    _take_ids(t, plan)
    _take_names(t, plan)
    old, p.personality = p.personality, plan.personality
    t.abi = loaded.abi
    if old is not plan.personality and old.on_exit is not None:
        old.on_exit(p)
    if plan.personality.on_exec is not None:
        plan.personality.on_exec(p)
    if t.system.instruments:
        t.system.tell("exec", t, plan)
    # A tracer's stop (PTRACE_EVENT_EXEC, or the SIGTRAP of old) belongs here once proc/ptrace is there.
    lifecycle.release_vfork_parent(p)


def die(t: Thread, death: ExecDeath) -> None:
    """The exec that fails too late to be refused: the old program is gone, the process ends by a signal.  No core:
    there is no image.
    """
    lifecycle.kill_siblings(t)
    lifecycle.exit_process(t.proc, death.signal)


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


def reset_signals(t: Thread) -> None:
    """Caught signals get their default action, ignored ones stay ignored; mask and pending signals stay (execve(2))."""
    p = t.proc
    table = [DEFAULT_ACTION if action.handler != SIG_IGN else SigAction(SIG_IGN) for action in p.actions.table]
    p.actions = type(p.actions)(table)
    t.altstack = AltStack()
    t.saved_sigmask = None
    t.restart = None


def _reset_thread(t: Thread) -> None:
    t.tls_slots = {}
    t.system.resumable.pop(t, None)
    t.exec_start_ns = t.system.now_ns()


def _take_ids(t: Thread, plan: ExecPlan) -> None:
    p = t.proc
    if plan.secure or plan.cred[:8] != p.cred[:8]:
        p.parent_death_signal = 0
    p.cred = plan.cred
    p.dumpable = plan.dumpable
    p.keep_caps = False
    p.personality_flags = plan.personality_flags
    p.rlimits[Rlimit.STACK] = plan.stack_rlimit


def _take_names(t: Thread, plan: ExecPlan) -> None:
    p = t.proc
    t.comm = plan.comm
    p.exe = plan.exe.dentry or p.fs.root.nameless(plan.exe.vnode, plan.exe.path.strip(b"/").removesuffix(b" (deleted)"))
    p.did_exec = True
    p.exec_id += 1
