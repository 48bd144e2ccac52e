"""SerenityOS's calls about a process as such: how it begins, its names, groups and session, its alarm, what a core would tell.

Not here: how it ends and most of its ids (shared with Linux), waiting (`wait.py`), threads (`thread.py`).
Source: Kernel/Syscalls/{fork,process,setpgid,disown,alarm,prctl}.cpp (reference, sections 1.19, 4.9).
"""

from __future__ import annotations

from typing import Annotated, Final

from ring3.abi.flags import CloneFlags
from ring3.abi.signals import Signal
from ring3.calls.serenity.argument import Params, copy_text
from ring3.calls.serenity.peer import find_peer
from ring3.calls.sysarg import Addr, Pid, Size, UInt
from ring3.calls.syscall import syscall
from ring3.calls.timer import set_alarm
from ring3.errors import ECHILD, EINVAL, ENAMETOOLONG, EPERM, ESRCH
from ring3.namedtuple import NamedTuple
from ring3.proc.jails import known_procs
from ring3.proc.lifecycle import disown, fork_process
from ring3.proc.proc import Proc, Session, Thread
from ring3.proc.tasks import tasks_of

NAME_MAX: Final = 256
_METADATA_MAX: Final = 16384
_BLANKS: Final = b" \t\n\v\f\r"
_SECOND: Final = 1_000_000_000


# --- beginning
@syscall(pledge="proc")
def sys_fork(t: Thread) -> int:
    """A child process with one thread, the caller.  Raises EAGAIN, ENOMEM."""
    child = fork_process(t, CloneFlags(0), Signal.SIGCHLD)
    if t.proc.tasks is not None:
        tasks_of(child.proc).title = t.proc.tasks.title
    t.system.call_abi(t).succeed(child.cpu.regs, 0)
    if t.system.instruments:
        t.system.tell("fork", t, child)
    t.system.leave(child)
    return child.tid


@syscall(pledge="stdio")
def sys_getppid(t: Thread) -> int:
    """The parent's id; 0 for one that has no parent, or was disowned."""
    parent = t.proc.parent
    return 0 if parent is None or parent is t.system.init else parent.pid


@syscall(pledge="proc")
def sys_disown(t: Thread, pid: Pid) -> int:
    """Have a child no longer.  Who waits for it gets ECHILD.  Raises ESRCH, ECHILD."""
    child = find_peer(t, pid)
    if child.parent is not t.proc:
        raise ECHILD
    disown(child)
    t.proc.child_queue.wake()
    return 0


# --- names
@syscall(pledge="stdio")
def sys_get_process_name(t: Thread, buffer: Addr, size: Size) -> int:
    """The process's name, with its zero.  Raises ENAMETOOLONG, EFAULT."""
    name = t.proc.comm + b"\0"
    if len(name) > size:
        raise ENAMETOOLONG
    t.proc.vm.copyout(buffer, name)
    return 0


@syscall(pledge="proc")
def sys_set_process_name(t: Thread, name: Addr, length: Size) -> int:
    """Name the process.  Raises ENAMETOOLONG over 256 bytes, EINVAL for nothing but blanks, EFAULT."""
    if length > NAME_MAX:
        raise ENAMETOOLONG
    text = copy_text(t, name, length)
    if not text.strip(_BLANKS):
        raise EINVAL
    tasks_of(t.proc).title = text
    return 0


# --- groups and sessions
@syscall(pledge="proc")
def sys_setpgid(t: Thread, pid: Pid, pgid: Pid) -> int:
    """Move a process to a group: oneself, or a child.

    Raises EINVAL, ESRCH; EPERM for a session's leader, a child in another session, a group that is another session's or nobody's.
    """
    p = t.proc
    if pgid < 0:
        raise EINVAL
    target = find_peer(t, pid or p.pid)
    if target is not p and target.parent is not p:
        raise ESRCH
    if target.session.sid == target.pid or target.session is not p.session:
        raise EPERM
    group = pgid or target.pid
    session = next((other.session for other in known_procs(t) if other.pgrp == group), None)
    if session is not p.session and (session is not None or group != target.pid):
        raise EPERM
    target.pgrp = group
    return 0


@syscall(pledge="stdio")
def sys_getpgid(t: Thread, pid: Pid) -> int:
    """The group of a process; 0 means the caller.  Raises ESRCH."""
    return _subject(t, pid).pgrp


@syscall(pledge="stdio")
def sys_getsid(t: Thread, pid: Pid) -> int:
    """The session of a process; 0 means the caller.  Raises ESRCH, EPERM for another session."""
    found = _subject(t, pid)
    if found.session is not t.proc.session:
        raise EPERM
    return found.session.sid


@syscall(pledge="proc")
def sys_setsid(t: Thread) -> int:
    """A session of its own, without a terminal.  Raises EPERM where a group with the caller's id has members."""
    p = t.proc
    if any(other.pgrp == p.pid for other in t.system.procs.values()):
        raise EPERM
    p.session = Session(p.pid, p.session.login)
    p.pgrp = p.pid
    return p.pid


def _subject(t: Thread, pid: int) -> Proc:
    return find_peer(t, pid) if pid else t.proc


# --- the alarm, and what a core file would tell
@syscall(pledge="stdio")
def sys_alarm(t: Thread, seconds: UInt) -> int:
    """SIGALRM after so many seconds; 0: never.  What was left of the last one, in seconds, rounded up."""
    left_ns = set_alarm(t, seconds * _SECOND)
    return -(-left_ns // _SECOND)


class MetadataParams(NamedTuple):
    """A key and its value: addresses and lengths."""

    key: Addr
    key_length: Size
    value: Addr
    value_length: Size


@syscall(pledge="")
def sys_set_coredump_metadata(t: Thread, params: Annotated[MetadataParams, Params(MetadataParams, "<QQQQ")]) -> int:
    """One more property a core file would tell.  Raises EINVAL for no key and over 16384 bytes, ENOBUFS for a fifth."""
    if not 0 < params.key_length <= _METADATA_MAX or params.value_length > _METADATA_MAX:
        raise EINVAL
    key = copy_text(t, params.key, params.key_length)
    tasks_of(t.proc).describe(key, copy_text(t, params.value, params.value_length))
    return 0
