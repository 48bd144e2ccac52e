"""ktrace(2), fktrace(2), utrace(2): a process says who is traced, and to which file.

What records say, and when, is for whoever watches (`trace/ktrace.py`); a kernel that traces nobody has no such watcher.  The rule
of who may trace whom is ktrcanset's: the target has no powers the caller lacks, and what root began only root changes.
Source: ktrace(2), utrace(2), kern_ktrace.c.
"""

from __future__ import annotations

from typing import Final

from ring3.abi.flags import FileType, OpenFlags
from ring3.abi.netbsd.ktrace import (
    KTRFLAG_DESCEND,
    KTROP_CLEAR,
    KTROP_CLEARFILE,
    KTROP_MASK,
    KTROP_SET,
    PERSISTENT,
    USER_ID,
    USER_MAX,
)
from ring3.calls.sysarg import Addr, Fd, InBuf, Int, Pid, Size, UInt
from ring3.calls.syscall import syscall
from ring3.errors import EACCES, EBADF, EFAULT, EINVAL, ENAMETOOLONG, ENOSPC, EPERM, ESRCH
from ring3.proc.jails import known_procs, may_know
from ring3.proc.ktrace import KtraceFile, KtraceState, trace_less, trace_off, trace_on, watch
from ring3.proc.lookup import namei_context
from ring3.proc.proc import Proc, Thread
from ring3.vfs.file import File
from ring3.vfs.opening import open_file

_PATH_MAX: Final = 1024
_NO_NAME: Final = b"*"                  # of a record whose name could not be read


@syscall(pledge="ptrace")
def sys_ktrace(t: Thread, file: Addr, ops: Int, facs: UInt, pid: Pid) -> int:
    """Trace processes to a regular file, or less, or no more.  The file is looked at where the operation needs one."""
    if ops & KTROP_MASK == KTROP_CLEAR:
        return _change(t, None, ops, facs, pid)
    path = t.proc.vm.copyinstr(file, _PATH_MAX)
    t.needs("wpath")
    opened = open_file(namei_context(t), path, OpenFlags.RDWR | OpenFlags.APPEND).acquire()
    try:
        if opened.vnode is None or opened.vnode.type != FileType.REG:
            raise EACCES("records go to a regular file")
        return _change(t, opened, ops, facs, pid)
    finally:
        opened.release()


@syscall(pledge="ptrace")
def sys_fktrace(t: Thread, fd: Fd, ops: Int, facs: UInt, pid: Pid) -> int:
    """The same, to an open file of any kind.  EBADF for one that is not open for writing."""
    file = t.proc.fds.get(fd)
    if not file.can_write:
        raise EBADF
    return _change(t, file, ops, facs, pid)


@syscall(pledge="stdio")
def sys_utrace(t: Thread, label: Addr, addr: InBuf, nbytes: Size) -> int:
    """A record of the program's own making, where somebody watches.  ENOSPC for more than 2048 bytes."""
    if not t.system.instruments:
        return 0
    if nbytes > USER_MAX:
        raise ENOSPC
    try:
        name = t.proc.vm.copyinstr(label, USER_ID)
    except (EFAULT, ENAMETOOLONG):
        name = _NO_NAME
    t.system.tell("utrace", t, name, t.proc.vm.copyin(addr, nbytes))
    return 0


def _change(t: Thread, file: File | None, ops: int, facilities: int, pid: int) -> int:
    """ktrace_common.  Raises EINVAL for no facility, ESRCH, EPERM where none of the processes may be traced by the caller."""
    operation = ops & KTROP_MASK
    facilities &= ~PERSISTENT
    if operation == KTROP_CLEARFILE:
        assert file is not None
        return _clear_file(t, file)
    if not facilities:
        raise EINVAL("no facility is named")
    targets = _targets(t, pid)
    if ops & KTRFLAG_DESCEND:
        targets = [p for top in targets for p in _with_descendants(top)]
    allowed = [p for p in targets if _may_trace(t, p)]
    if not allowed:
        raise EPERM
    if operation == KTROP_SET:
        assert file is not None
        output = _output(t, file)
        for p in allowed:
            trace_on(p, output, facilities, by_root=t.proc.cred.euid == 0)
    else:
        for p in allowed:
            trace_less(p, facilities)
    watch(t.system)
    if t.proc.ktrace is not None and t.watched is None:
        t.watched = (t.abi.sysent[t.call_number], ())       # whoever traces itself sees the end of this call
    return 0


def _clear_file(t: Thread, file: File) -> int:
    """KTROP_CLEARFILE: nobody is traced to that file any more.  Raises EPERM where somebody still is."""
    left = False
    for p in list(t.system.procs.values()):
        state: KtraceState | None = p.ktrace
        if state is not None and state.file.is_same(file):
            if _may_trace(t, p):
                trace_off(p)
            else:
                left = True
    watch(t.system)
    if left:
        raise EPERM
    return 0


def _output(t: Thread, file: File) -> KtraceFile:
    """Where records for `file` go: what others are traced to already, where that is the same file."""
    for p in t.system.procs.values():
        state: KtraceState | None = p.ktrace
        if state is not None and state.file.is_same(file):
            return state.file
    return KtraceFile(t.system, file)


def _targets(t: Thread, pid: int) -> list[Proc]:
    """A process, or the members of a group.  Raises ESRCH."""
    system = t.system
    if pid >= 0:
        p = system.procs.get(pid)
        found = [] if p is None or p.zombie or not may_know(t.proc, p) else [p]
    else:
        found = [p for p in known_procs(t) if p.pgrp == -pid and not p.zombie and p is not system.init]
    if not found:
        raise ESRCH
    return found


def _with_descendants(top: Proc) -> list[Proc]:
    found = [top]
    for p in found:
        found += [child for child in p.children if not child.zombie]
    return found


def _may_trace(t: Thread, target: Proc) -> bool:
    """ktrcanset.  The kernel's own process 1 is nobody's to trace."""
    if target is t.system.init:
        return False
    caller, cred = t.proc.cred, target.cred
    if caller.euid == 0:
        return True
    state: KtraceState | None = target.ktrace
    return (
        caller.euid == cred.ruid == cred.suid
        and caller.rgid == cred.rgid == cred.sgid
        and not (state is not None and state.flags & PERSISTENT)
    )
