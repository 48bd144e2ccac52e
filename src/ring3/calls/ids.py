"""System calls about who a process is: user, group and supplementary ids, capabilities.

An id argument of -1 means "leave it".  Capabilities are one power that an effective uid of 0 has: it shows all of them, anybody
else none; giving some up is accepted and has no effect (a stated difference).
Sources: setuid(2), setreuid(2), setresuid(2), setfsuid(2), getgroups(2), capget(2), credentials(7), kernel/sys.c.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from ring3.abi.procrecords import CapHeader, UInt32
from ring3.calls.guest import fetch, size_of, store
from ring3.calls.procarg import IdOut, Pointer
from ring3.calls.sysarg import Int, UInt
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, EPERM, ESRCH
from ring3.proc.cred import Cred
from ring3.proc.proc import Thread
from ring3.proc.targets import known_thread

KEEP: Final = 0xFFFF_FFFF
_NGROUPS_MAX: Final = 65536
_CAP_LAST: Final = 40
_CAP_ALL: Final = (1 << (_CAP_LAST + 1)) - 1
_CAP_VERSIONS: Final = {0x19980330: 1, 0x20071026: 2, 0x20080522: 2}     # version -> 32-bit words of each set
_CAP_PREFERRED: Final = 0x20080522


def _become(t: Thread, cred: Cred) -> int:
    """Changed ids make a process undumpable, and its parent's death no longer signals it (credentials(7))."""
    p = t.proc
    if (cred.euid, cred.egid, cred.fsuid, cred.fsgid) != (p.cred.euid, p.cred.egid, p.cred.fsuid, p.cred.fsgid):
        p.dumpable = 0
        p.parent_death_signal = 0
    p.cred = cred
    return 0


# --- reading
@syscall(pledge="stdio")
def sys_getuid(t: Thread) -> int:
    """The real user id."""
    return t.proc.cred.ruid


@syscall(pledge="stdio")
def sys_geteuid(t: Thread) -> int:
    """The effective user id."""
    return t.proc.cred.euid


@syscall(pledge="stdio")
def sys_getgid(t: Thread) -> int:
    """The real group id."""
    return t.proc.cred.rgid


@syscall(pledge="stdio")
def sys_getegid(t: Thread) -> int:
    """The effective group id."""
    return t.proc.cred.egid


@syscall(pledge="stdio")
def sys_getresuid(t: Thread, ruid: IdOut, euid: IdOut, suid: IdOut) -> int:
    """Real, effective and saved user id."""
    return store_ids(t, UInt32, ((ruid, t.proc.cred.ruid), (euid, t.proc.cred.euid), (suid, t.proc.cred.suid)))


@syscall(pledge="stdio")
def sys_getresgid(t: Thread, rgid: IdOut, egid: IdOut, sgid: IdOut) -> int:
    """Real, effective and saved group id."""
    return store_ids(t, UInt32, ((rgid, t.proc.cred.rgid), (egid, t.proc.cred.egid), (sgid, t.proc.cred.sgid)))


def store_ids(t: Thread, record: type, pairs: tuple[tuple[int, int], ...]) -> int:
    """Write ids where they are wanted.  Raises EFAULT."""
    for addr, number in pairs:
        store(t, record, addr, number)
    return 0


# --- users and groups: (real, effective, saved), and what a call makes of them
Three = tuple[int, int, int]
Rule = Callable[..., Three]
"""From who one is, the three ids and those asked for to the three that follow.  Raises the errno of who may not."""


def users(cred: Cred) -> Three:
    """The user ids."""
    return cred.ruid, cred.euid, cred.suid


def groups(cred: Cred) -> Three:
    """The group ids."""
    return cred.rgid, cred.egid, cred.sgid


def change_users(t: Thread, rule: Rule, *wanted: int) -> int:
    """Take the user ids that a rule makes of those asked for.  Raises what the rule raises."""
    real, effective, saved = rule(t.proc.cred, users(t.proc.cred), *wanted)
    return _become(t, t.proc.cred._replace(ruid=real, euid=effective, suid=saved, fsuid=effective))


def change_groups(t: Thread, rule: Rule, *wanted: int) -> int:
    """Likewise the group ids."""
    real, effective, saved = rule(t.proc.cred, groups(t.proc.cred), *wanted)
    return _become(t, t.proc.cred._replace(rgid=real, egid=effective, sgid=saved, fsgid=effective))


def set_effective(cred: Cred, now: Three, wanted: int) -> Three:
    """seteuid(2), setegid(2): to the real or the saved one unless privileged.  Raises EPERM."""
    if wanted not in (now[0], now[2]) and not cred.privileged:
        raise EPERM
    return now[0], wanted, now[2]


def set_two(cred: Cred, now: Three, real: int, effective: int) -> Three:
    """setreuid(2), setregid(2); the saved one follows the effective one when the real one is set, or they differ.  Raises EPERM."""
    if not cred.privileged:
        if real != KEEP and real not in now[:2]:
            raise EPERM
        if effective != KEEP and effective not in now:
            raise EPERM
    new_real = now[0] if real == KEEP else real
    new_effective = now[1] if effective == KEEP else effective
    saved = new_effective if real != KEEP or effective not in (KEEP, now[0]) else now[2]
    return new_real, new_effective, saved


def set_three(cred: Cred, now: Three, *wanted: int) -> Three:
    """setresuid(2), setresgid(2).  Raises EPERM."""
    if not cred.privileged and any(one not in (KEEP, *now) for one in wanted):
        raise EPERM
    real, effective, saved = (old if new == KEEP else new for old, new in zip(now, wanted, strict=True))
    return real, effective, saved


def _set(cred: Cred, now: Three, wanted: int) -> Three:
    """setuid(2), setgid(2): all three for root, the effective one for others.  Raises EINVAL, EPERM."""
    if wanted == KEEP:
        raise EINVAL
    return (wanted, wanted, wanted) if cred.privileged else set_effective(cred, now, wanted)


@syscall(pledge="id")
def sys_setuid(t: Thread, uid: UInt) -> int:
    """Become a user: all ids for root, the effective one for others."""
    return change_users(t, _set, uid)


@syscall(pledge="id")
def sys_setreuid(t: Thread, ruid: UInt, euid: UInt) -> int:
    """Set real and effective user id."""
    return change_users(t, set_two, ruid, euid)


@syscall(pledge="id")
def sys_setresuid(t: Thread, ruid: UInt, euid: UInt, suid: UInt) -> int:
    """Set real, effective and saved user id."""
    return change_users(t, set_three, ruid, euid, suid)


@syscall(pledge="id")
def sys_setfsuid(t: Thread, uid: UInt) -> int:
    """Set the user id for files; the one before, changed or not."""
    cred = t.proc.cred
    if uid != KEEP and (cred.privileged or uid in (*users(cred), cred.fsuid)):
        _become(t, cred._replace(fsuid=uid))
    return cred.fsuid


@syscall(pledge="id")
def sys_setgid(t: Thread, gid: UInt) -> int:
    """Become a group: all ids for root, the effective one for others."""
    return change_groups(t, _set, gid)


@syscall(pledge="id")
def sys_setregid(t: Thread, rgid: UInt, egid: UInt) -> int:
    """Set real and effective group id."""
    return change_groups(t, set_two, rgid, egid)


@syscall(pledge="id")
def sys_setresgid(t: Thread, rgid: UInt, egid: UInt, sgid: UInt) -> int:
    """Set real, effective and saved group id."""
    return change_groups(t, set_three, rgid, egid, sgid)


@syscall(pledge="id")
def sys_setfsgid(t: Thread, gid: UInt) -> int:
    """Set the group id for files; the one before, changed or not."""
    cred = t.proc.cred
    if gid != KEEP and (cred.privileged or gid in (*groups(cred), cred.fsgid)):
        _become(t, cred._replace(fsgid=gid))
    return cred.fsgid


@syscall(pledge="stdio")
def sys_getgroups(t: Thread, size: Int, list: Pointer) -> int:  # noqa: A002
    """The supplementary groups; how many, when `size` is 0."""
    return read_groups(t, size, list, UInt32)


def read_groups(t: Thread, size: int, addr: int, record: type) -> int:
    """getgroups for ids of one width.  Raises EINVAL, EFAULT."""
    mine = t.proc.cred.groups
    if size < 0:
        raise EINVAL
    if size:
        if len(mine) > size:
            raise EINVAL
        encode = t.system.call_abi(t).layouts[record].encode
        t.proc.vm.copyout(addr, b"".join(map(encode, mine)))
    return len(mine)


@syscall(pledge="id")
def sys_setgroups(t: Thread, size: Int, list: Pointer) -> int:  # noqa: A002
    """Set the supplementary groups: root's privilege."""
    return write_groups(t, size, list, UInt32)


def write_groups(t: Thread, size: int, addr: int, record: type) -> int:
    """setgroups for ids of one width.  Raises EPERM, EINVAL, EFAULT."""
    if not t.proc.cred.privileged:
        raise EPERM
    if not 0 <= size <= _NGROUPS_MAX:
        raise EINVAL
    width = size_of(t, record)
    data = t.proc.vm.copyin(addr, size * width) if size else b""
    wanted = [int.from_bytes(data[at : at + width], "little") for at in range(0, len(data), width)]
    if KEEP in wanted:
        raise EINVAL
    t.proc.cred = t.proc.cred._replace(groups=tuple(sorted(wanted)))
    return 0


# --- capabilities
@syscall(pledge="stdio")
def sys_capget(t: Thread, header: Pointer, data: Pointer) -> int:
    """The capabilities of a thread."""
    words, pid = _cap_header(t, header, data)
    if not words:
        return 0
    if pid < 0:
        raise EINVAL
    target = t if not pid else known_thread(t, pid)
    if target is None:
        raise ESRCH
    if data:
        held = _CAP_ALL if target.proc.cred.privileged else 0
        parts = [held >> (32 * i) & 0xFFFF_FFFF for i in range(words)]
        t.proc.vm.copyout(data, b"".join(struct.pack("<III", part, part, 0) for part in parts))
    return 0


@syscall(pledge="id")
def sys_capset(t: Thread, header: Pointer, data: Pointer) -> int:
    """Set one's own capabilities: asking for more than one has is refused, giving up changes nothing."""
    words, pid = _cap_header(t, header, data)
    if not words:
        raise EINVAL
    if pid not in (0, t.tid):
        raise EPERM
    raw = t.proc.vm.copyin(data, 12 * words)
    effective = permitted = inheritable = 0
    for index in range(words):
        e, p, i = struct.unpack_from("<III", raw, 12 * index)
        effective, permitted, inheritable = effective | e << 32 * index, permitted | p << 32 * index, inheritable | i << 32 * index
    held = _CAP_ALL if t.proc.cred.privileged else 0
    if permitted & _CAP_ALL & ~held or effective & _CAP_ALL & ~permitted or inheritable & _CAP_ALL & ~held:
        raise EPERM
    return 0


def _cap_header(t: Thread, addr: int, data: int) -> tuple[int, int]:
    """Words of each set, and whose.  An unknown version is answered with the known one: EINVAL, unless nothing else was asked."""
    header: CapHeader = fetch(t, CapHeader, addr)
    words = _CAP_VERSIONS.get(header.version)
    if words is None:
        t.proc.vm.copyout(addr, _CAP_PREFERRED.to_bytes(4, "little"))
        if data:
            raise EINVAL
        return 0, 0
    return words, header.pid


def fits_16(number: int) -> int:
    """A 16-bit id as an argument: 65535 means "leave it"."""
    return KEEP if number & 0xFFFF == 0xFFFF else number & 0xFFFF


def shown_16(number: int) -> int:
    """An id as 16-bit calls tell it."""
    return number if number <= 0xFFFF else 65534


