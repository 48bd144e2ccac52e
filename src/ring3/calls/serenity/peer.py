"""Whom a SerenityOS call is about: processes by id, threads of one's own, and whether one may touch another.

An id is a process's or a thread's, never both: kill(2) does not find a thread.
Source: Process::from_pid_in_same_jail, Thread::from_tid, Process::do_kill (reference, sections 1.13, 1.20, 4.8).
"""

from __future__ import annotations

from ring3.errors import ESRCH
from ring3.proc.jails import may_know
from ring3.proc.proc import Proc, Thread, ThreadState


def find_peer(t: Thread, pid: int) -> Proc:
    """The process with this id, one that ended and was not waited for too.  Raises ESRCH."""
    p = t.system.procs.get(pid)
    if p is None or not may_know(t.proc, p):
        raise ESRCH
    return p


def find_own_thread(t: Thread, tid: int) -> Thread:
    """A living thread of the caller's process.  Raises ESRCH."""
    found = t.proc.threads.get(tid)
    if found is None or found.state is ThreadState.DEAD:
        raise ESRCH
    return found


def may_touch(t: Thread, target: Proc) -> bool:
    """do_kill's rule about ids: root may, and whoever has the target's real id, real or effective."""
    mine, theirs = t.proc.cred, target.cred
    return mine.euid == 0 or theirs.ruid in (mine.euid, mine.ruid)
