"""NetBSD's calls that begin and end processes, and those about a process that answer in two words.

Not here: posix_spawn (`spawn.py`), waiting (`wait.py` in calls), execve (shared), LWPs (`lwp.py`).
Sources: fork(2), vfork(2), __clone(2), exit(2), getpid(2), issetugid(2).
"""

from __future__ import annotations

from typing import Final

from ring3.abi.flags import AtFlags, CloneFlags
from ring3.abi.signals import Signal
from ring3.abi.x86 import RSP
from ring3.calls import exec as exec_calls
from ring3.calls.clone import Answer, wait_for_vfork
from ring3.calls.procarg import CloneFlagWord, Pointer
from ring3.calls.sysarg import Environment, Fd, Int, Vector
from ring3.calls.syscall import JUST_RETURN, Pair, syscall
from ring3.errors import EINVAL
from ring3.proc.lifecycle import exit_process, fork_process
from ring3.proc.lwp import lwp_of
from ring3.proc.proc import RLIM_INFINITY, Rlimit, Thread
from ring3.proc.timers import watch_cpu_limit

_F = CloneFlags
_SHAREABLE: Final = _F.VM | _F.FS | _F.FILES | _F.SIGHAND
_CSIGNAL: Final = 0xFF


@syscall(pledge="")
def sys_exit(t: Thread, rval: Int) -> int:
    """End this process, whichever of its threads says so."""
    exit_process(t.proc, (rval & 0xFF) << 8)
    return JUST_RETURN


@syscall(pledge="proc")
def sys_fork(t: Thread) -> Answer:
    """A child process with one thread."""
    t.needs("proc")
    return beget(t, _F(0), Signal.SIGCHLD)


@syscall(pledge="proc")
def sys___vfork14(t: Thread) -> Answer:
    """A child in the caller's memory; the caller waits until it execs or ends."""
    return beget(t, _F.VM | _F.VFORK, Signal.SIGCHLD)


@syscall(pledge="proc")
def sys_vfork(t: Thread) -> Answer:
    """The first vfork: a copy of the memory, and a parent that waits all the same."""
    return beget(t, _F.VFORK, Signal.SIGCHLD)


@syscall(pledge="proc")
def sys___clone(t: Thread, flags: CloneFlagWord, stack: Pointer) -> Answer:
    """A child process that shares what `flags` say, on a stack of its own.  Threads are not made this way: EINVAL."""
    word = _F(flags & ~_CSIGNAL)
    if word & ~(_SHAREABLE | _F.VFORK) or (word & _F.SIGHAND and not word & _F.VM):
        raise EINVAL
    signo = t.abi.flags[Signal](flags & _CSIGNAL)
    if signo < 0:
        raise EINVAL
    return beget(t, word, signo, stack)


def beget(t: Thread, flags: CloneFlags, exit_signal: int, stack: int = 0) -> Answer:
    """A child, running; its pid is the caller's result, later where the caller waits for a vfork.  Raises EAGAIN, ENOMEM."""
    child = fork_process(t, flags, exit_signal)
    p, system = child.proc, t.system
    if p.rlimit(Rlimit.CPU) != RLIM_INFINITY:
        watch_cpu_limit(p)
    lwp_of(child).private = lwp_of(t).private
    if stack:
        child.cpu.regs[RSP] = stack
    system.call_abi(t).succeed(child.cpu.regs, Pair(0, 1))
    if system.instruments:
        system.tell("fork", t, child)
    if flags & _F.VFORK:
        p.vfork_done = False
    system.leave(child)
    return wait_for_vfork(child) if flags & _F.VFORK else child.tid


@syscall(pledge="exec")
def sys_fexecve(t: Thread, fd: Fd, argv: Vector, envp: Environment) -> int:
    """Run the program that is open.  EBADF, and what execve(2) refuses with."""
    return int(exec_calls.sys_execveat.run(t, fd, b"", argv, envp, AtFlags.EMPTY_PATH))


# --- two words
def _parent_pid(t: Thread) -> int:
    return 0 if t.proc.parent is None else t.proc.parent.pid


@syscall(pledge="stdio")
def sys_getpid(t: Thread) -> int:
    """The process id, and the parent's."""
    return Pair(t.proc.pid, _parent_pid(t))


@syscall(pledge="stdio")
def sys_getuid(t: Thread) -> int:
    """The real user id, and the effective one."""
    return Pair(t.proc.cred.ruid, t.proc.cred.euid)


@syscall(pledge="stdio")
def sys_getgid(t: Thread) -> int:
    """The real group id, and the effective one."""
    return Pair(t.proc.cred.rgid, t.proc.cred.egid)


@syscall(pledge="stdio")
def sys_issetugid(t: Thread) -> int:
    """Whether ids changed at the last exec, so that the environment is not to be trusted."""
    return int(t.proc.dumpable != 1)
