"""System calls about a process as such: its end, its ids, groups and sessions.

Not here: how it begins (`clone.py`) and is waited for (`wait.py`), user ids (`ids.py`).
Sources: _exit(2), setpgid(2), setsid(2), credentials(7), kernel/sys.c.
"""

from __future__ import annotations

from ring3.calls.procarg import Pointer
from ring3.calls.sysarg import Int, Pid
from ring3.calls.syscall import JUST_RETURN, syscall
from ring3.errors import EACCES, EINVAL, EPERM, ESRCH
from ring3.proc.jails import known_procs
from ring3.proc.lifecycle import exit_process, exit_thread
from ring3.proc.proc import Proc, Session, Thread
from ring3.proc.targets import find_process


@syscall(pledge="")
def sys_exit(t: Thread, status: Int) -> int:
    """End this thread."""
    exit_thread(t, (status & 0xFF) << 8)
    return JUST_RETURN


@syscall(pledge="")
def sys_exit_group(t: Thread, status: Int) -> int:
    """End this process."""
    exit_process(t.proc, (status & 0xFF) << 8)
    return JUST_RETURN


@syscall(pledge="stdio")
def sys_getpid(t: Thread) -> int:
    """The process id."""
    return t.proc.pid


@syscall(pledge="stdio")
def sys_gettid(t: Thread) -> int:
    """The thread id."""
    return t.tid


@syscall(pledge="stdio")
def sys_getppid(t: Thread) -> int:
    """The parent's process id; 0 for a process nobody in this kernel started."""
    parent = t.proc.parent
    return 0 if parent is None else parent.pid


@syscall(pledge="stdio")
def sys_set_tid_address(t: Thread, tidptr: Pointer) -> int:
    """Where a zero is written and a futex woken when this thread ends."""
    t.clear_child_tid = tidptr
    return t.tid


# --- groups and sessions
@syscall(pledge="proc")
def sys_setpgid(t: Thread, pid: Pid, pgid: Pid) -> int:
    """Move a process to a group: oneself, or a child that has not called exec."""
    p = t.proc
    target_id = pid or p.pid
    pgid = pgid or target_id
    if pgid < 0:
        raise EINVAL
    target = find_process(t, target_id)
    if target.pid != target_id:
        raise EINVAL
    if target.parent is p:
        if target.session is not p.session:
            raise EPERM
        if target.did_exec:
            raise EACCES
    elif target is not p:
        raise ESRCH
    if target.session.sid == target.pid:
        raise EPERM
    if pgid != target.pid and not any(o.pgrp == pgid and o.session is p.session for o in known_procs(t)):
        raise EPERM
    target.pgrp = pgid
    return 0


@syscall(pledge="stdio")
def sys_getpgid(t: Thread, pid: Pid) -> int:
    """The group of a process; 0 means the caller."""
    return _subject(t, pid).pgrp


@syscall(pledge="stdio")
def sys_getpgrp(t: Thread) -> int:
    """The caller's group."""
    return t.proc.pgrp


@syscall(pledge="proc")
def sys_setsid(t: Thread) -> int:
    """A session of its own, without a terminal.  EPERM for a leader of a group."""
    p = t.proc
    if p.session.sid == p.pid or any(other.pgrp == p.pid for other in t.system.procs.values()):
        raise EPERM
    p.session = Session(p.pid, p.session.login)
    p.pgrp = p.pid
    return p.pid


@syscall(pledge="stdio")
def sys_getsid(t: Thread, pid: Pid) -> int:
    """The session of a process; 0 means the caller."""
    return _subject(t, pid).session.sid


def _subject(t: Thread, pid: int) -> Proc:
    return find_process(t, pid) if pid else t.proc
