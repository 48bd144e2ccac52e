"""Whom a call is about: processes by id, and whether one may touch another.

Source: kill(2), ptrace(2) "Ptrace access mode checking", kernel/signal.c's rules as kill(2) states them.
"""

from __future__ import annotations

from ring3.abi.signals import NSIG, Signal
from ring3.errors import EINVAL, EPERM, ESRCH
from ring3.proc.cred import Cred
from ring3.proc.jails import may_know
from ring3.proc.proc import Proc, Thread


def find_process(t: Thread, pid: int) -> Proc:
    """The process of the thread with this id, a zombie too, of those that `t` may know of.  Raises ESRCH."""
    found = t.system.threads.get(pid)
    p = found.proc if found is not None else t.system.procs.get(pid)
    if p is None or not may_know(t.proc, p):
        raise ESRCH
    return p


def known_thread(t: Thread, tid: int) -> Thread | None:
    """The thread with this id, of those that `t` may know of; None for any other number."""
    found = t.system.threads.get(tid)
    return found if found is not None and may_know(t.proc, found.proc) else None


def check_signal(t: Thread, target: Proc, signo: int) -> None:
    """Whether `t` may send `signo` (0: none, just asking) to `target`.  Raises EINVAL for no signal, ESRCH, EPERM."""
    if not 0 <= signo <= NSIG:
        raise EINVAL
    if not may_know(t.proc, target):
        raise ESRCH
    if not may_signal(t, target, signo):
        raise EPERM


def may_signal(t: Thread, target: Proc, signo: int) -> bool:
    """kill(2)'s rule about the sender's and the target's ids."""
    p = t.proc
    if target is p:
        return True
    mine, theirs = p.cred, target.cred
    if mine.privileged or {mine.euid, mine.ruid} & {theirs.suid, theirs.ruid}:
        return True
    return signo == Signal.SIGCONT and target.session is p.session


def check_same_owner(t: Thread, target: Proc) -> None:
    """Whether `t` may look into `target`'s memory and descriptors (PTRACE_MODE_ATTACH).  Raises EPERM, ESRCH."""
    if not may_know(t.proc, target):
        raise ESRCH
    if target is t.proc or t.proc.cred.privileged:
        return
    mine, theirs = t.proc.cred, target.cred
    if not _all_ids_are(theirs, mine.ruid, mine.rgid) or target.dumpable != 1:
        raise EPERM


def _all_ids_are(cred: Cred, uid: int, gid: int) -> bool:
    return {cred.ruid, cred.euid, cred.suid} == {uid} and {cred.rgid, cred.egid, cred.sgid} == {gid}
