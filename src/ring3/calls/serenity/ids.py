"""SerenityOS's calls that change user and group ids: who may become whom is its own.

setreuid refuses everybody, root too: with EPERM for ids that are not the caller's, with EINVAL for those that are (its check for
ids that are none takes all for none; a fault of the original that programs can see).  setregid has no privilege for root either.
Reading ids is shared with Linux.  Source: Kernel/Syscalls/{setuid,getuid}.cpp (reference, sections 1.10, 2.3, 4.9).
"""

from __future__ import annotations

import struct
from typing import Final

from ring3.calls.ids import KEEP, Three, change_groups, change_users, set_effective, set_three, users
from ring3.calls.sysarg import Addr, Size, UInt
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, EPERM
from ring3.proc.cred import Cred
from ring3.proc.proc import Thread

NGROUPS_MAX: Final = 32


def _all(cred: Cred, now: Three, wanted: int) -> Three:
    """setuid, setgid: all three, to the real or the effective one unless root asks.  Raises EINVAL, EPERM."""
    if wanted == KEEP:
        raise EINVAL
    if wanted not in now[:2] and not cred.privileged:
        raise EPERM
    return wanted, wanted, wanted


def _effective(cred: Cred, now: Three, wanted: int) -> Three:
    """seteuid, setegid: as everywhere, but that there is no -1.  Raises EINVAL, EPERM."""
    if wanted == KEEP:
        raise EINVAL
    return set_effective(cred, now, wanted)


def _two(_cred: Cred, now: Three, real: int, effective: int) -> Three:
    """setreuid, setregid: -1 leaves one as it is; the saved one stays.  Raises EPERM, for root too."""
    new_real = now[0] if real == KEEP else real
    new_effective = now[1] if effective == KEEP else effective
    if new_real not in now or new_effective not in now:
        raise EPERM
    return new_real, new_effective, now[2]


@syscall(pledge="id")
def sys_setuid(t: Thread, uid: UInt) -> int:
    """Become a user for good.  EINVAL for -1, EPERM."""
    return change_users(t, _all, uid)


@syscall(pledge="id")
def sys_seteuid(t: Thread, euid: UInt) -> int:
    """Set the effective user id.  EINVAL for -1, EPERM."""
    return change_users(t, _effective, euid)


@syscall(pledge="id")
def sys_setreuid(t: Thread, ruid: UInt, euid: UInt) -> int:
    """EPERM for ids that are none of the caller's, else EINVAL: nobody ever sets them so."""
    _two(t.proc.cred, users(t.proc.cred), ruid, euid)
    raise EINVAL


@syscall(pledge="id")
def sys_setresuid(t: Thread, ruid: UInt, euid: UInt, suid: UInt) -> int:
    """Set real, effective and saved user id.  EPERM."""
    return change_users(t, set_three, ruid, euid, suid)


@syscall(pledge="id")
def sys_setgid(t: Thread, gid: UInt) -> int:
    """Become a group for good.  EINVAL for -1, EPERM."""
    return change_groups(t, _all, gid)


@syscall(pledge="id")
def sys_setegid(t: Thread, egid: UInt) -> int:
    """Set the effective group id.  EINVAL for -1, EPERM."""
    return change_groups(t, _effective, egid)


@syscall(pledge="id")
def sys_setregid(t: Thread, rgid: UInt, egid: UInt) -> int:
    """Set real and effective group id, to what one has already.  EPERM."""
    return change_groups(t, _two, rgid, egid)


@syscall(pledge="id")
def sys_setresgid(t: Thread, rgid: UInt, egid: UInt, sgid: UInt) -> int:
    """Set real, effective and saved group id.  EPERM."""
    return change_groups(t, set_three, rgid, egid, sgid)


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
