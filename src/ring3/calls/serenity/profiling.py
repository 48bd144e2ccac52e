"""SerenityOS's calls that profile: begin, end, forget; and a program's own events.

Not here: what a profile keeps (`proc/profile.py`).
Source: Kernel/Syscalls/{profiling,perf_event}.cpp (reference, sections 2.3 and 4.3).
"""

from __future__ import annotations

from typing import Final

from ring3.calls.serenity.argument import copy_text
from ring3.calls.serenity.peer import find_peer
from ring3.calls.sysarg import Addr, Int, Pid, Size, Word
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, ENOMEM, EPERM, ESRCH
from ring3.proc.proc import Proc, Thread
from ring3.proc.profile import Profile
from ring3.proc.tasks import tasks_of

EVERYBODY: Final = -1
STRING_MAX: Final = 16384


def _own_target(t: Thread, pid: int) -> Proc:
    """The process to profile.  Raises ESRCH, EPERM for another user's."""
    target = find_peer(t, pid)
    if not t.proc.cred.privileged and target.cred.ruid != t.proc.cred.euid:
        raise EPERM
    return target


def _only_root(t: Thread) -> None:
    if not t.proc.cred.privileged:
        raise EPERM


@syscall(pledge="root")
def sys_profiling_enable(t: Thread, pid: Pid, event_mask: Addr) -> int:
    """Count events of these types, of a process or, for root, of all.  EFAULT, ESRCH, EPERM."""
    mask = int.from_bytes(t.proc.vm.copyin(event_mask, 8), "little")
    if pid == EVERYBODY:
        _only_root(t)
        profile = t.system.profile = Profile()
    else:
        target = find_peer(t, pid)
        if target.zombie:
            raise ESRCH
        tasks = tasks_of(_own_target(t, pid))
        if tasks.profile is None:
            tasks.profile = Profile()
        profile = tasks.profile
    profile.start(mask)
    return 0


@syscall(pledge="root")
def sys_profiling_disable(t: Thread, pid: Pid) -> int:
    """Count no more.  ESRCH, EPERM, EINVAL for a process that is not profiled."""
    if pid == EVERYBODY:
        _only_root(t)
        if t.system.profile is not None:
            t.system.profile.running = False
        return 0
    profile = tasks_of(_own_target(t, pid)).profile
    if profile is None or not profile.running:
        raise EINVAL
    profile.running = False
    return 0


@syscall(pledge="root")
def sys_profiling_free_buffer(t: Thread, pid: Pid) -> int:
    """Forget a profile.  ESRCH, EPERM, EINVAL for one that is running."""
    if pid == EVERYBODY:
        _only_root(t)
        t.system.profile = None
        return 0
    tasks = tasks_of(_own_target(t, pid))
    if tasks.profile is not None and tasks.profile.running:
        raise EINVAL
    tasks.profile = None
    return 0


def _profile_of(t: Thread) -> Profile | None:
    """Where events of the caller count: with everybody's, with its own, nowhere."""
    everybody: Profile | None = t.system.profile
    if everybody is not None and everybody.running:
        return everybody
    own = t.proc.tasks.profile if t.proc.tasks is not None else None
    return own if own is not None and own.running else None


@syscall(pledge="")
def sys_perf_event(t: Thread, type: Int, arg1: Word, arg2: Word) -> int:  # noqa: A002
    """An event of the program's own; nothing where nobody profiles it.  EINVAL for a type that is none, ENOBUFS."""
    del arg1, arg2
    profile = _profile_of(t)
    if profile is not None:
        profile.append(type)
    return 0


@syscall(pledge="")
def sys_perf_register_string(t: Thread, characters: Addr, size: Size) -> int:
    """The number of a string for events; 0 where nobody profiles the program.  ENOMEM over 16384 bytes, EFAULT, ENOBUFS."""
    profile = _profile_of(t)
    if profile is None:
        return 0
    if size > STRING_MAX:
        raise ENOMEM
    return profile.register(copy_text(t, characters, size))
