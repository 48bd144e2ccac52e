"""posix_spawn(2): a child with another program at once, its descriptors and attributes prepared.

The child borrows the caller's memory until its program is loaded, as after vfork, but the caller does not wait.  Whatever is
refused, in a file action, an attribute or the exec, is the call's result, and no child is left: the caller always learns of it,
which NetBSD promises with POSIX_SPAWN_RETURNERROR alone.  A file action may sleep (the open of a FIFO), and the child is there for
everybody meanwhile: one that is killed then was spawned all the same, and its parent waits for it as for any other.
Sources: posix_spawn(3), posix_spawn_file_actions_addopen(3), posix_spawnattr(3).
"""

from __future__ import annotations

from typing import Any, Final

from ring3.abi.flags import CloneFlags, OpenFlags
from ring3.abi.procrecords import Int32
from ring3.abi.signals import DEFAULT_ACTION, UNBLOCKABLE, Signal, bit
from ring3.abi.spawnrecords import (
    CHDIR,
    CLOSE,
    DUP2,
    FCHDIR,
    OPEN,
    RESETIDS,
    SETPGROUP,
    SETSCHEDPARAM,
    SETSCHEDULER,
    SETSIGDEF,
    SETSIGMASK,
    SpawnAction,
    SpawnActions,
    SpawnAttr,
)
from ring3.calls import descriptor, directory, process
from ring3.calls.clone import undo
from ring3.calls.exec import execute
from ring3.calls.guest import fetch, size_of, store
from ring3.calls.netbsd.sched import set_policy
from ring3.calls.procarg import IntOut, Pointer
from ring3.calls.sysarg import PATH_MAX, Environment, Path, Vector
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, Errno
from ring3.exec.package import ExecRequest
from ring3.proc.lifecycle import fork_process
from ring3.proc.proc import Rlimit, Thread

_MOST_ACTIONS: Final = 4096


@syscall(pledge="proc")
async def sys_posix_spawn(
    t: Thread, pid: IntOut, path: Path, file_actions: Pointer, attrp: Pointer, argv: Vector, envp: Environment
) -> int:
    """Start a program in a child process."""
    t.needs("proc", "exec")
    actions = _read_actions(t, file_actions) if file_actions else []
    attr: SpawnAttr | None = fetch(t, SpawnAttr, attrp) if attrp else None
    system = t.system
    if pid:
        t.proc.vm.check_writable(pid, 4)
    child = fork_process(t, CloneFlags.VM, Signal.SIGCHLD)
    number = child.tid
    try:
        child.cpu.arch = t.cpu.arch
        for action, name in actions:
            await _act(child, action, name)
        if not _is_dead(child):
            if attr is not None:
                _apply(child, attr)
            system.current = child
            execute(child, ExecRequest(path, argv, envp, system.call_abi(t).word_size))
    except BaseException as refusal:
        if not _is_dead(child):
            undo(child)
            raise
        if not isinstance(refusal, Errno):
            raise
    finally:
        system.current = t
    if system.instruments:
        system.tell("fork", t, child)
    if pid:
        store(t, Int32, pid, number)
    if not _is_dead(child):
        system.leave(child)
    return 0


def _read_actions(t: Thread, addr: int) -> list[tuple[SpawnAction, bytes]]:
    """The file actions, copied, their paths too.  Raises EINVAL for more than the process may have files, EFAULT."""
    head: SpawnActions = fetch(t, SpawnActions, addr)
    if head.number > min(t.proc.rlimit(Rlimit.NOFILE), _MOST_ACTIONS) or head.number > head.room:
        raise EINVAL
    size = size_of(t, SpawnAction)
    found = []
    for index in range(head.number):
        action: SpawnAction = fetch(t, SpawnAction, head.entries + index * size)
        if not OPEN <= action.kind <= FCHDIR:
            raise EINVAL
        name = t.proc.vm.copyinstr(action.first, PATH_MAX) if action.kind in (OPEN, CHDIR) else b""
        found.append((action, name))
    return found


def _is_dead(child: Thread) -> bool:
    """Whether somebody killed it while it was made."""
    return child.proc.exiting


async def _act(child: Thread, action: SpawnAction, name: bytes) -> None:
    """One file action, done by the child.  Raises what the call of that name does; does nothing once the child is dead."""
    fds = child.proc.fds
    if _is_dead(child):
        return
    if action.kind == OPEN:
        if action.fd in fds.files:
            fds.close(action.fd)
        flags = OpenFlags(child.abi.flags[OpenFlags](action.flags))
        answer: Any = descriptor.sys_open.run(child, name, flags, action.mode)
        opened = answer if isinstance(answer, int) else await answer
        if _is_dead(child):
            fds.close(opened)                 # it was killed meanwhile, and its descriptors are gone
        elif opened != action.fd:
            descriptor.sys_dup2.run(child, opened, action.fd)
            fds.close(opened)
    elif action.kind == DUP2:
        descriptor.sys_dup2.run(child, action.fd, action.first)
        fds.cloexec.discard(action.first)
    elif action.kind == CLOSE:
        fds.close(action.fd)
    elif action.kind == CHDIR:
        child.needs("rpath")
        directory.sys_chdir.run(child, name)
    else:
        child.needs("rpath")
        directory.sys_fchdir.run(child, action.fd)


def _apply(child: Thread, attr: SpawnAttr) -> None:
    """The attributes whose flags are set.  Raises EINVAL, EPERM."""
    p, flags = child.proc, attr.flags
    if flags & SETPGROUP:
        process.sys_setpgid.run(child, 0, attr.pgroup)
    if flags & SETSCHEDULER:
        set_policy(child, child, attr.policy, attr.priority)
    elif flags & SETSCHEDPARAM:
        set_policy(child, child, -1, attr.priority)
    if flags & RESETIDS:
        child.needs("id")
        cred = p.cred
        p.cred = cred._replace(euid=cred.ruid, fsuid=cred.ruid, egid=cred.rgid, fsgid=cred.rgid)
    if flags & SETSIGMASK:
        child.sigmask = attr.sigmask & ~UNBLOCKABLE
    if flags & SETSIGDEF:
        for signo in range(1, 65):
            if attr.sigdefault & bit(signo):
                p.actions.table[signo] = DEFAULT_ACTION
