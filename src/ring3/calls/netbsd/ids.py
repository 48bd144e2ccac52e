"""NetBSD's calls about user and group ids: who may become whom is its own, and setuid changes all three for everybody.

getuid and its like are in `process.py` (two results) or shared.  Sources: setuid(2), setreuid(2), getgroups(2), getlogin(2),
sys/kern/kern_prot.c (do_setresuid).
"""

from __future__ import annotations

from typing import Final

from ring3.abi.procrecords import UInt32
from ring3.calls.ids import become_group, become_user, read_groups, write_groups
from ring3.calls.procarg import Pointer
from ring3.calls.sysarg import Int, OutBuf, Path, Size, UInt
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, EPERM
from ring3.proc.cred import Cred
from ring3.proc.proc import Thread

_KEEP: Final = 0xFFFF_FFFF
_NGROUPS_MAX: Final = 16
_LOGIN_MAX: Final = 17               # LOGIN_NAME_MAX, the terminating zero counted
_Three = tuple[int, int, int]


def _users(cred: Cred) -> _Three:
    return cred.ruid, cred.euid, cred.suid


def _groups(cred: Cred) -> _Three:
    return cred.rgid, cred.egid, cred.sgid


def _all(cred: Cred, now: _Three, wanted: int) -> _Three:
    """setuid, setgid: real, effective and saved, to the real one unless privileged.  Raises EPERM."""
    if wanted != now[0] and not cred.privileged:
        raise EPERM
    return wanted, wanted, wanted


def _effective(cred: Cred, now: _Three, wanted: int) -> _Three:
    """seteuid, setegid: to the real or the saved one unless privileged.  Raises EPERM."""
    if wanted not in (now[0], now[2]) and not cred.privileged:
        raise EPERM
    return now[0], wanted, now[2]


def _two(cred: Cred, now: _Three, real: int, effective: int) -> _Three:
    """setreuid, setregid; the saved one follows the effective one when the real one is set, or they differ.  Raises EPERM."""
    if not cred.privileged and ((real != _KEEP and real not in now[:2]) or (effective != _KEEP and effective not in now)):
        raise EPERM
    new_real = now[0] if real == _KEEP else real
    new_effective = now[1] if effective == _KEEP else effective
    saved = new_effective if real != _KEEP or (effective != _KEEP and effective != now[0]) else now[2]
    return new_real, new_effective, saved


@syscall(pledge="id")
def sys_setuid(t: Thread, uid: UInt) -> int:
    """Become a user for good."""
    cred = t.proc.cred
    return become_user(t, _all(cred, _users(cred), uid))


@syscall(pledge="id")
def sys_seteuid(t: Thread, euid: UInt) -> int:
    """Set the effective user id."""
    cred = t.proc.cred
    return become_user(t, _effective(cred, _users(cred), euid))


@syscall(pledge="id")
def sys_setreuid(t: Thread, ruid: UInt, euid: UInt) -> int:
    """Set real and effective user id."""
    cred = t.proc.cred
    return become_user(t, _two(cred, _users(cred), ruid, euid))


@syscall(pledge="id")
def sys_setgid(t: Thread, gid: UInt) -> int:
    """Become a group for good."""
    cred = t.proc.cred
    return become_group(t, _all(cred, _groups(cred), gid))


@syscall(pledge="id")
def sys_setegid(t: Thread, egid: UInt) -> int:
    """Set the effective group id."""
    cred = t.proc.cred
    return become_group(t, _effective(cred, _groups(cred), egid))


@syscall(pledge="id")
def sys_setregid(t: Thread, rgid: UInt, egid: UInt) -> int:
    """Set real and effective group id."""
    cred = t.proc.cred
    return become_group(t, _two(cred, _groups(cred), rgid, egid))


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
