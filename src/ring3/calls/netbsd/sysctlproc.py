"""What __sysctl(2) tells of one process: kern.proc_args (its arguments, environment, program) and proc.PID.

Sources: sysctl(7), sys/kern/kern_proc.c (sysctl_kern_proc_args), sys/kern/init_sysctl.c, sys/kern/kern_resource.c
(sysctl_proc_corename, sysctl_proc_plimit, sysctl_proc_stop).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ring3.calls.netbsd.sysctltree import Kind
from ring3.errors import EINVAL, EISDIR, ENOENT, ENOTDIR, EPERM, ESRCH
from ring3.proc.proc import Proc, Thread
from ring3.proc.procfs.memory import argument_text, environment_text

CTL_KERN, KERN_PROC_ARGS, CTL_PROC = 1, 48, 10
_ARGV, _NARGV, _ENV, _NENV, _PATHNAME, _CWD = range(1, 7)
_SELF: Final = -(1 << 31)              # PROC_CURPROC
_CORENAME, _LIMIT, _STOPFORK, _STOPEXEC, _STOPEXIT = range(1, 6)
_RESOURCES: Final = (0, 1, 2, 3, 4, 5, 8, 6, 7, None, 9, None)      # the kernel's numbers of NetBSD's, from 1 on
_INFINITY: Final = (1 << 63) - 1

Value = tuple[Kind, int | bytes]


def _find(t: Thread, pid: int) -> Proc:
    """Raises ESRCH."""
    p = t.proc if pid == _SELF else t.system.procs.get(pid)
    if p is None or p.zombie or not p.threads:
        raise ESRCH
    return p


def _same_user(t: Thread, p: Proc) -> bool:
    mine = t.proc.cred
    return p is t.proc or mine.privileged or (mine.euid == p.cred.ruid and p.dumpable == 1)


def process_args(t: Thread, rest: Sequence[int]) -> Value:
    """kern.proc_args.PID.what.  Raises EINVAL, ESRCH; EPERM for another's environment."""
    if len(rest) != 2:
        raise EINVAL
    pid, what = rest
    p = t.proc if pid == -1 else _find(t, pid)
    if p is not t.proc and what not in (_ARGV, _NARGV):
        t.needs("ptrace")
    if what in (_ENV, _NENV) and not _same_user(t, p):
        raise EPERM
    if what in (_ARGV, _NARGV):
        text = argument_text(p)
        return (Kind.INT, text.count(b"\0")) if what == _NARGV else (Kind.STRUCT, text)
    if what in (_ENV, _NENV):
        text = environment_text(p)
        return (Kind.INT, text.count(b"\0")) if what == _NENV else (Kind.STRUCT, text)
    if what == _PATHNAME:
        if p.exe is None:
            raise ENOENT
        return Kind.STRING, p.exe.path(t.proc.fs.root)
    if what == _CWD:
        if not _same_user(t, p):
            raise EPERM
        return Kind.STRING, p.fs.cwd.path(t.proc.fs.root)
    raise EINVAL


def process_node(t: Thread, rest: Sequence[int], new: int | None) -> Value:
    """proc.PID.what, and what `new` sets.  Raises ESRCH, EPERM, ENOENT, EISDIR, ENOTDIR."""
    if len(rest) < 2:
        raise EISDIR
    p, what = _find(t, rest[0]), rest[1]
    if p is not t.proc or new is not None:
        t.needs("proc")
    if not _same_user(t, p):
        raise EPERM
    if what == _LIMIT:
        return _limit(p, rest[2:], new)
    if len(rest) > 2:
        raise ENOTDIR
    if what == _STOPEXEC:
        value = int(p.stops_at_exec)
        if new is not None:
            p.stops_at_exec = bool(new)
        return Kind.INT, value
    if new is not None:
        raise EPERM
    if what == _CORENAME:
        return Kind.STRING, b"%n.core"
    if what in (_STOPFORK, _STOPEXIT):
        return Kind.INT, 0
    raise ENOENT


def _limit(p: Proc, rest: Sequence[int], new: int | None) -> Value:
    """proc.PID.rlimit.RESOURCE.{1 soft, 2 hard}."""
    if len(rest) < 2:
        raise EISDIR
    if len(rest) > 2:
        raise ENOTDIR
    resource, which = rest
    if not 1 <= resource <= len(_RESOURCES) or which not in (1, 2):
        raise ENOENT
    if new is not None:
        raise EPERM
    neutral = _RESOURCES[resource - 1]
    return Kind.QUAD, _INFINITY if neutral is None else min(p.rlimits[neutral][which - 1], _INFINITY)
