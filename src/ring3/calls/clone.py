"""System calls that make processes and threads: fork, vfork, clone, clone3; and unshare, setns.

One description (`Birth`) of what is wanted, whoever asks; `give_birth` checks it, makes the child, then does what cannot fail.
Not here: what a child inherits (`proc/lifecycle.py`), posix_spawn's exec.  Source: clone(2), kernel/fork.c's checks in their order.
"""

from __future__ import annotations

import struct
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

from ring3.abi.flags import CloneFlags
from ring3.abi.procrecords import Int32
from ring3.abi.signals import DEFAULT_ACTION, NSIG, SIG_IGN, Signal
from ring3.abi.x86 import FS, FS_BASE, RSP
from ring3.calls.guest import store
from ring3.calls.procarg import CloneFlagWord, CloneSet, IntOut, Pointer
from ring3.calls.sysarg import Fd, Int, Size
from ring3.calls.syscall import syscall
from ring3.calls.tls import set_thread_area
from ring3.errors import E2BIG, EBADF, EFAULT, EINVAL, EPERM, Errno
from ring3.namedtuple import NamedTuple
from ring3.proc.lifecycle import clone_thread, fork_process, release_vfork_parent
from ring3.proc.pidfd import PidFile
from ring3.proc.proc import RLIM_INFINITY, Rlimit, SigActions, Thread, ThreadState
from ring3.proc.timers import watch_cpu_limit
from ring3.waiting import sleep_on

_F = CloneFlags
_CSIGNAL: Final = 0xFF
_CLEAR_SIGHAND: Final = 1 << 32            # clone3 only
_INTO_CGROUP: Final = 1 << 33
_NEWTIME: Final = 0x80
_NAMESPACES: Final = int(_F.NEWNS | _F.NEWCGROUP | _F.NEWUTS | _F.NEWIPC | _F.NEWUSER | _F.NEWPID | _F.NEWNET)
_ARGS: Final = struct.Struct("<8Q")
_SIZE_0: Final = 64                        # CLONE_ARGS_SIZE_VER0
_SIZE_2: Final = 88
_PAGE: Final = 4096
_MAX_PID_NS_LEVEL: Final = 32


class Birth(NamedTuple):
    """What a child is to be.  `flags` without the exit signal; `stack` is where its stack pointer starts, 0 for the parent's."""

    flags: int = 0
    exit_signal: int = Signal.SIGCHLD
    stack: int = 0
    parent_tid: int = 0
    child_tid: int = 0
    tls: int = 0
    pidfd: int = 0


Answer = int | Coroutine[Any, Any, int]


@syscall(pledge="proc")
def sys_fork(t: Thread) -> Answer:
    """A child process."""
    return give_birth(t, Birth())


@syscall(pledge="proc")
def sys_vfork(t: Thread) -> Answer:
    """A child that uses the caller's memory, which waits until the child execs or ends."""
    return give_birth(t, Birth(_F.VM | _F.VFORK))


@syscall(pledge="proc thread")
def sys_clone(
    t: Thread, flags: CloneFlagWord, stack: Pointer, parent_tid: IntOut, child_tid: Pointer, tls: Pointer
) -> Answer:
    """A child process or one more thread, as `flags` say."""
    return clone(t, flags, stack, parent_tid, child_tid, tls)


def clone(t: Thread, word: int, stack: int, parent_tid: int, child_tid: int, tls: int) -> Answer:
    """The call with its arguments in one order, whatever the system's is.  Raises what `give_birth` does."""
    flags = word & ~_CSIGNAL
    if flags & _F.PIDFD and flags & _F.PARENT_SETTID:
        raise EINVAL                                      # both would be stored at one address
    return give_birth(t, Birth(flags, word & _CSIGNAL, stack, parent_tid, child_tid, tls, parent_tid))


@syscall(pledge="proc thread")
def sys_clone3(t: Thread, args: Pointer, size: Size) -> Answer:
    """clone with its arguments in a struct."""
    return give_birth(t, _read_args(t, args, size))


def _read_args(t: Thread, addr: int, size: int) -> Birth:
    """struct clone_args.  Raises E2BIG, EINVAL, EFAULT as copy_struct_from_user and clone3_args_valid do."""
    if size > _PAGE:
        raise E2BIG
    if size < _SIZE_0:
        raise EINVAL
    data = t.proc.vm.copyin(addr, size)
    if any(data[_SIZE_2:]):
        raise E2BIG
    flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls = _ARGS.unpack_from(data)
    set_tid, set_tid_size, cgroup = struct.unpack_from("<3Q", data[_SIZE_0:_SIZE_2].ljust(24, b"\0"))
    if set_tid_size > _MAX_PID_NS_LEVEL or bool(set_tid) != bool(set_tid_size):
        raise EINVAL
    if exit_signal > NSIG:
        raise EINVAL
    if flags & _INTO_CGROUP and (cgroup > 0x7FFF_FFFF or size < _SIZE_2):
        raise EINVAL
    if flags & ~(0xFFFF_FFFF | _CLEAR_SIGHAND | _INTO_CGROUP) or flags & (_F.DETACHED | (_CSIGNAL & ~_NEWTIME)):
        raise EINVAL
    if flags & _F.SIGHAND and flags & _CLEAR_SIGHAND:
        raise EINVAL
    if flags & (_F.THREAD | _F.PARENT) and exit_signal:
        raise EINVAL
    if bool(stack) != bool(stack_size) or stack + stack_size > t.proc.vm.user_top:
        raise EINVAL
    if flags & _INTO_CGROUP:
        raise EBADF("there are no control groups here")
    if set_tid_size:
        raise EPERM("process ids are not chosen by guests")
    return Birth(flags, exit_signal, stack + stack_size, parent_tid, child_tid, tls, pidfd)


def check(t: Thread, flags: int) -> None:
    """The combinations of flags no kernel makes.  Raises EINVAL, EPERM; in copy_process's order."""
    if flags & _F.FS and flags & (_F.NEWNS | _F.NEWUSER):
        raise EINVAL
    if flags & _F.THREAD and not flags & _F.SIGHAND:
        raise EINVAL
    if flags & _F.SIGHAND and not flags & _F.VM:
        raise EINVAL
    if flags & _F.THREAD and flags & (_F.NEWUSER | _F.NEWPID):
        raise EINVAL
    if flags & _F.PIDFD and flags & (_F.DETACHED | _F.THREAD):
        raise EINVAL
    if flags & (_NAMESPACES | _NEWTIME):
        raise EINVAL("there are no namespaces here") if t.proc.cred.privileged else EPERM


def give_birth(t: Thread, birth: Birth) -> Answer:
    """Make the child and start it; its id, or for a vfork a coroutine that waits for it.

    Raises EINVAL, EPERM, EAGAIN, ENOMEM, EFAULT; no child is left behind then.
    """
    flags = birth.flags
    t.needs("thread" if flags & _F.THREAD else "proc")
    check(t, flags)
    system, p = t.system, t.proc
    abi = system.call_abi(t)
    if flags & _F.SETTLS and abi.word_size == 8 and birth.tls >= p.vm.user_top:
        raise EPERM
    if flags & _F.PIDFD:
        p.vm.check_writable(birth.pidfd, 4)
    child = clone_thread(t) if flags & _F.THREAD else fork_process(t, _F(flags & 0xFFFF_FFFF), birth.exit_signal)
    try:
        _place(t, child, birth)
    except Errno:
        undo(child)
        raise
    number = child.tid
    _tell_ids(t, child, birth)
    if flags & _CLEAR_SIGHAND:
        table = [action if action.handler == SIG_IGN else DEFAULT_ACTION for action in child.proc.actions.table]
        child.proc.actions = SigActions(table)
    if child.proc is not p and child.proc.rlimit(Rlimit.CPU) != RLIM_INFINITY:
        watch_cpu_limit(child.proc)
    abi.succeed(child.cpu.regs, 0)
    if system.instruments:
        system.tell("fork", t, child)
    if flags & _F.VFORK:
        child.proc.vfork_done = False
    system.leave(child)
    return wait_for_vfork(child) if flags & _F.VFORK and not flags & _F.THREAD else number


def _place(t: Thread, child: Thread, birth: Birth) -> None:
    """Stack pointer, thread-local storage and pidfd of the child.  Raises EINVAL, EFAULT, EMFILE."""
    regs = child.cpu.regs
    if birth.stack:
        regs[RSP] = birth.stack
    if birth.flags & _F.SETTLS:
        if t.system.call_abi(t).word_size == 8:
            regs[FS_BASE] = birth.tls
            regs[FS] = 0
        else:
            set_thread_area(child, t, birth.tls, allocate=False)
    if birth.flags & _F.PIDFD:
        p = t.proc
        fd = p.fds.install(PidFile(child.proc), cloexec=True, limit=p.rlimit(Rlimit.NOFILE))
        store(t, Int32, birth.pidfd, fd)


def _tell_ids(t: Thread, child: Thread, birth: Birth) -> None:
    """Where somebody wants the child's id; an address that is none is nobody's loss (kernel/fork.c ignores it too)."""
    data = child.tid.to_bytes(4, "little")
    if birth.flags & _F.PARENT_SETTID:
        with suppress(EFAULT):
            t.proc.vm.copyout(birth.parent_tid, data)
    if birth.flags & _F.CHILD_SETTID:
        with suppress(EFAULT):
            child.proc.vm.copyout(birth.child_tid, data)
    child.clear_child_tid = birth.child_tid if birth.flags & _F.CHILD_CLEARTID else 0


def undo(child: Thread) -> None:
    """Take back a child nobody has seen."""
    p, system = child.proc, child.system
    child.state = ThreadState.DEAD
    child.cpu.kill()
    system.threads.pop(child.tid, None)
    p.threads.pop(child.tid, None)
    if p.pid != child.tid:
        return
    system.procs.pop(p.pid, None)
    if p.parent is not None:
        p.parent.children.remove(p)
    p.vm.release()
    p.fds.release()


async def wait_for_vfork(child: Thread) -> int:
    """The parent of a vfork waits; only death ends that early."""
    p, pid = child.proc, child.tid
    while not p.vfork_done:
        if p.zombie:
            release_vfork_parent(p)
            break
        await sleep_on(p.vfork_queue, killable=True)
    return pid


# --- unshare
@syscall(pledge="proc")
def sys_unshare(t: Thread, flags: CloneSet) -> int:
    """Stop sharing with whom clone shared: descriptors, root and directory.  Namespaces: EPERM, for root EINVAL."""
    word = int(flags)
    shareable = int(_F.FS | _F.FILES | _F.SYSVSEM | _F.VM | _F.SIGHAND | _F.THREAD)
    if word & ~(shareable | _NAMESPACES | _NEWTIME):
        raise EINVAL
    p = t.proc
    alone = len(p.live_threads()) == 1
    if word & (_F.THREAD | _F.SIGHAND | _F.VM) and (not alone or (word & _F.VM and p.vm.refs > 1)):
        raise EINVAL
    if word & _F.NEWUSER and not alone:
        raise EINVAL
    if word & (_NAMESPACES | _NEWTIME):
        raise EINVAL("there are no namespaces here") if p.cred.privileged else EPERM
    if word & _F.FS and p.fs.refs > 1:
        p.fs.refs -= 1
        p.fs = p.fs.fork()
    if word & _F.FILES and p.fds.refs > 1:
        shared = p.fds
        p.fds = shared.fork()
        shared.release()
    return 0


@syscall(pledge="proc")
def sys_setns(t: Thread, fd: Fd, nstype: Int) -> int:
    """Enter a namespace: there are none."""
    del nstype
    t.proc.fds.get(fd)
    raise EINVAL


