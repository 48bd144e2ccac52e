"""SerenityOS's calls that change user and group ids: who may become whom is its own.

setreuid refuses everybody, root too: with EPERM for ids that are not the caller's, with EINVAL for those that are (its check for
ids that are none takes all for none; a fault of the original that programs can see).  setregid has no privilege for root either.
Reading ids is shared with Linux.  Source: Kernel/Syscalls/{setuid,getuid}.cpp (reference, sections 1.10, 2.3, 4.9).
"""

from __future__ import annotations

import struct
from typing import Final

from ring3.calls.ids import become_group, become_user
from ring3.calls.sysarg import Addr, Size, UInt
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, EPERM
from ring3.proc.cred import Cred
from ring3.proc.proc import Thread

_KEEP: Final = 0xFFFF_FFFF
NGROUPS_MAX: Final = 32
_Three = tuple[int, int, int]


def _users(cred: Cred) -> _Three:
    return cred.ruid, cred.euid, cred.suid


def _groups(cred: Cred) -> _Three:
    return cred.rgid, cred.egid, cred.sgid


def _all(cred: Cred, now: _Three, wanted: int) -> _Three:
    """setuid, setgid: all three, to the real or the effective one unless root asks.  Raises EINVAL, EPERM."""
    if wanted == _KEEP:
        raise EINVAL
    if wanted not in now[:2] and not cred.privileged:
        raise EPERM
    return wanted, wanted, wanted


def _effective(cred: Cred, now: _Three, wanted: int) -> _Three:
    """seteuid, setegid: to the real or the saved one unless root asks.  Raises EINVAL, EPERM."""
    if wanted == _KEEP:
        raise EINVAL
    if wanted not in (now[0], now[2]) and not cred.privileged:
        raise EPERM
    return now[0], wanted, now[2]


def _two(now: _Three, real: int, effective: int) -> _Three:
    """setreuid, setregid: -1 leaves one as it is; the saved one stays.  Raises EPERM, for root too."""
    new_real = now[0] if real == _KEEP else real
    new_effective = now[1] if effective == _KEEP else effective
    if new_real not in now or new_effective not in now:
        raise EPERM
    return new_real, new_effective, now[2]


def _three(cred: Cred, now: _Three, wanted: _Three) -> _Three:
    """setresuid, setresgid: -1 leaves one as it is.  Raises EPERM."""
    real, effective, saved = (old if new == _KEEP else new for old, new in zip(now, wanted, strict=True))
    if not cred.privileged and not {real, effective, saved} <= set(now):
        raise EPERM
    return real, effective, saved


@syscall(pledge="id")
def sys_setuid(t: Thread, uid: UInt) -> int:
    """Become a user for good.  EINVAL for -1, EPERM."""
    cred = t.proc.cred
    return become_user(t, _all(cred, _users(cred), uid))


@syscall(pledge="id")
def sys_seteuid(t: Thread, euid: UInt) -> int:
    """Set the effective user id.  EINVAL for -1, EPERM."""
    cred = t.proc.cred
    return become_user(t, _effective(cred, _users(cred), euid))


@syscall(pledge="id")
def sys_setreuid(t: Thread, ruid: UInt, euid: UInt) -> int:
    """EPERM for ids that are none of the caller's, else EINVAL: nobody ever sets them so."""
    _two(_users(t.proc.cred), ruid, euid)
    raise EINVAL


@syscall(pledge="id")
def sys_setresuid(t: Thread, ruid: UInt, euid: UInt, suid: UInt) -> int:
    """Set real, effective and saved user id.  EPERM."""
    cred = t.proc.cred
    return become_user(t, _three(cred, _users(cred), (ruid, euid, suid)))


@syscall(pledge="id")
def sys_setgid(t: Thread, gid: UInt) -> int:
    """Become a group for good.  EINVAL for -1, EPERM."""
    cred = t.proc.cred
    return become_group(t, _all(cred, _groups(cred), gid))


@syscall(pledge="id")
def sys_setegid(t: Thread, egid: UInt) -> int:
    """Set the effective group id.  EINVAL for -1, EPERM."""
    cred = t.proc.cred
    return become_group(t, _effective(cred, _groups(cred), egid))


@syscall(pledge="id")
def sys_setregid(t: Thread, rgid: UInt, egid: UInt) -> int:
    """Set real and effective group id, to what one has already.  EPERM."""
    return become_group(t, _two(_groups(t.proc.cred), rgid, egid))


@syscall(pledge="id")
def sys_setresgid(t: Thread, rgid: UInt, egid: UInt, sgid: UInt) -> int:
    """Set real, effective and saved group id.  EPERM."""
    cred = t.proc.cred
    return become_group(t, _three(cred, _groups(cred), (rgid, egid, sgid)))


@syscall(pledge="stdio")
def sys_getgroups(t: Thread, count: Size, groups: Addr) -> int:
    """The supplementary groups; how many for a count of 0.  EINVAL for any other count than theirs, EFAULT."""
    mine = t.proc.cred.groups
    if not count:
        return len(mine)
    if count != len(mine):
        raise EINVAL
    t.proc.vm.copyout(groups, struct.pack(f"<{count}I", *mine))
    return 0


@syscall(pledge="id")
def sys_setgroups(t: Thread, count: Size, groups: Addr) -> int:
    """Set the supplementary groups, each once, one's own group not among them.  EINVAL over 32, EPERM unless root, EFAULT."""
    cred = t.proc.cred
    if count > NGROUPS_MAX:
        raise EINVAL
    if not cred.privileged:
        raise EPERM
    wanted = struct.unpack(f"<{count}I", t.proc.vm.copyin(groups, 4 * count)) if count else ()
    t.proc.cred = cred._replace(groups=tuple(sorted(set(wanted) - {cred.rgid})))
    return 0
