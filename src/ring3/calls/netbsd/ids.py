"""NetBSD's calls about user and group ids: who may become whom is its own, and setuid changes all three for everybody.

getuid and its like are in `process.py` (two results) or shared.  Sources: setuid(2), setreuid(2), getgroups(2), getlogin(2),
sys/kern/kern_prot.c (do_setresuid).
"""

from __future__ import annotations

from typing import Final

from ring3.abi.procrecords import UInt32
from ring3.calls.ids import Three, change_groups, change_users, read_groups, set_effective, set_two, write_groups
from ring3.calls.procarg import Pointer
from ring3.calls.sysarg import Int, OutBuf, Path, Size, UInt
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, EPERM
from ring3.proc.cred import Cred
from ring3.proc.proc import Thread

_NGROUPS_MAX: Final = 16
_LOGIN_MAX: Final = 17               # LOGIN_NAME_MAX, the terminating zero counted


def _all(cred: Cred, now: Three, wanted: int) -> Three:
    """setuid, setgid: real, effective and saved, to the real one unless privileged.  Raises EPERM."""
    if wanted != now[0] and not cred.privileged:
        raise EPERM
    return wanted, wanted, wanted


@syscall(pledge="id")
def sys_setuid(t: Thread, uid: UInt) -> int:
    """Become a user for good."""
    return change_users(t, _all, uid)


@syscall(pledge="id")
def sys_seteuid(t: Thread, euid: UInt) -> int:
    """Set the effective user id."""
    return change_users(t, set_effective, euid)


@syscall(pledge="id")
def sys_setreuid(t: Thread, ruid: UInt, euid: UInt) -> int:
    """Set real and effective user id."""
    return change_users(t, set_two, ruid, euid)


@syscall(pledge="id")
def sys_setgid(t: Thread, gid: UInt) -> int:
    """Become a group for good."""
    return change_groups(t, _all, gid)


@syscall(pledge="id")
def sys_setegid(t: Thread, egid: UInt) -> int:
    """Set the effective group id."""
    return change_groups(t, set_effective, egid)


@syscall(pledge="id")
def sys_setregid(t: Thread, rgid: UInt, egid: UInt) -> int:
    """Set real and effective group id."""
    return change_groups(t, set_two, rgid, egid)


@syscall(pledge="stdio")
def sys_getgroups(t: Thread, size: Int, groups: Pointer) -> int:
    """The supplementary groups; how many, when `size` is 0.  EINVAL for too little room, EFAULT."""
    return read_groups(t, size, groups, UInt32)


@syscall(pledge="id")
def sys_setgroups(t: Thread, size: Int, groups: Pointer) -> int:
    """Set the supplementary groups, at most 16: root's privilege.  EPERM, EINVAL, EFAULT."""
    if not 0 <= size <= _NGROUPS_MAX:
        raise EINVAL
    return write_groups(t, size, groups, UInt32)


@syscall(pledge="stdio")
def sys___getlogin(t: Thread, name: OutBuf, size: Size) -> int:
    """The login name of the session, cut to the buffer or filled up with zeros; empty when nobody set one.  EFAULT."""
    t.proc.vm.copyout(name, t.proc.session.login.ljust(_LOGIN_MAX, b"\0")[:size])
    return 0


@syscall(pledge="root")
def sys___setlogin(t: Thread, name: Path) -> int:
    """Set the login name of the session: root's privilege.  EPERM, EINVAL for one that is too long."""
    if not t.proc.cred.privileged:
        raise EPERM
    if len(name) >= _LOGIN_MAX:
        raise EINVAL
    t.proc.session.login = name
    return 0
