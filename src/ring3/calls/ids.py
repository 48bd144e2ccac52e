"""System calls about who a process is: user, group and supplementary ids, capabilities.

An id argument of -1 means "leave it".  Capabilities are one power that an effective uid of 0 has: it shows all of them, anybody
else none; giving some up is accepted and has no effect (a stated difference).
Sources: setuid(2), setreuid(2), setresuid(2), setfsuid(2), getgroups(2), capget(2), credentials(7), kernel/sys.c.
"""

from __future__ import annotations

import struct
from typing import Final

from ring3.abi.procrecords import CapHeader, UInt32
from ring3.calls.guest import fetch, size_of, store
from ring3.calls.procarg import IdOut, Pointer
from ring3.calls.sysarg import Int, UInt
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, EPERM, ESRCH
from ring3.proc.cred import Cred
from ring3.proc.proc import Thread

_KEEP: Final = 0xFFFF_FFFF
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


# --- users
@syscall(pledge="id")
def sys_setuid(t: Thread, uid: UInt) -> int:
    """Become a user: all ids for root, the effective one for others."""
    cred = t.proc.cred
    if uid == _KEEP:
        raise EINVAL
    if cred.privileged:
        return _become(t, cred._replace(ruid=uid, euid=uid, suid=uid, fsuid=uid))
    if uid not in (cred.ruid, cred.suid):
        raise EPERM
    return _become(t, cred._replace(euid=uid, fsuid=uid))


@syscall(pledge="id")
def sys_setreuid(t: Thread, ruid: UInt, euid: UInt) -> int:
    """Set real and effective user id."""
    cred = t.proc.cred
    if not cred.privileged:
        if ruid != _KEEP and ruid not in (cred.ruid, cred.euid):
            raise EPERM
        if euid != _KEEP and euid not in (cred.ruid, cred.euid, cred.suid):
            raise EPERM
    new_real = cred.ruid if ruid == _KEEP else ruid
    new_effective = cred.euid if euid == _KEEP else euid
    saved = new_effective if ruid != _KEEP or euid not in (_KEEP, cred.ruid) else cred.suid
    return _become(t, cred._replace(ruid=new_real, euid=new_effective, suid=saved, fsuid=new_effective))


@syscall(pledge="id")
def sys_setresuid(t: Thread, ruid: UInt, euid: UInt, suid: UInt) -> int:
    """Set real, effective and saved user id."""
    cred = t.proc.cred
    current = (cred.ruid, cred.euid, cred.suid)
    if not cred.privileged and any(wanted not in (_KEEP, *current) for wanted in (ruid, euid, suid)):
        raise EPERM
    r, e, s = (old if new == _KEEP else new for old, new in zip(current, (ruid, euid, suid), strict=True))
    return _become(t, cred._replace(ruid=r, euid=e, suid=s, fsuid=e))


@syscall(pledge="id")
def sys_setfsuid(t: Thread, uid: UInt) -> int:
    """Set the user id for files; the one before, changed or not."""
    cred = t.proc.cred
    if uid != _KEEP and (cred.privileged or uid in (cred.ruid, cred.euid, cred.suid, cred.fsuid)):
        _become(t, cred._replace(fsuid=uid))
    return cred.fsuid


# --- groups
@syscall(pledge="id")
def sys_setgid(t: Thread, gid: UInt) -> int:
    """Become a group: all ids for root, the effective one for others."""
    cred = t.proc.cred
    if gid == _KEEP:
        raise EINVAL
    if cred.privileged:
        return _become(t, cred._replace(rgid=gid, egid=gid, sgid=gid, fsgid=gid))
    if gid not in (cred.rgid, cred.sgid):
        raise EPERM
    return _become(t, cred._replace(egid=gid, fsgid=gid))


@syscall(pledge="id")
def sys_setregid(t: Thread, rgid: UInt, egid: UInt) -> int:
    """Set real and effective group id."""
    cred = t.proc.cred
    if not cred.privileged:
        if rgid != _KEEP and rgid not in (cred.rgid, cred.egid):
            raise EPERM
        if egid != _KEEP and egid not in (cred.rgid, cred.egid, cred.sgid):
            raise EPERM
    new_real = cred.rgid if rgid == _KEEP else rgid
    new_effective = cred.egid if egid == _KEEP else egid
    saved = new_effective if rgid != _KEEP or egid not in (_KEEP, cred.rgid) else cred.sgid
    return _become(t, cred._replace(rgid=new_real, egid=new_effective, sgid=saved, fsgid=new_effective))


@syscall(pledge="id")
def sys_setresgid(t: Thread, rgid: UInt, egid: UInt, sgid: UInt) -> int:
    """Set real, effective and saved group id."""
    cred = t.proc.cred
    current = (cred.rgid, cred.egid, cred.sgid)
    if not cred.privileged and any(wanted not in (_KEEP, *current) for wanted in (rgid, egid, sgid)):
        raise EPERM
    r, e, s = (old if new == _KEEP else new for old, new in zip(current, (rgid, egid, sgid), strict=True))
    return _become(t, cred._replace(rgid=r, egid=e, sgid=s, fsgid=e))


@syscall(pledge="id")
def sys_setfsgid(t: Thread, gid: UInt) -> int:
    """Set the group id for files; the one before, changed or not."""
    cred = t.proc.cred
    if gid != _KEEP and (cred.privileged or gid in (cred.rgid, cred.egid, cred.sgid, cred.fsgid)):
        _become(t, cred._replace(fsgid=gid))
    return cred.fsgid


@syscall(pledge="stdio")
def sys_getgroups(t: Thread, size: Int, list: Pointer) -> int:  # noqa: A002
    """The supplementary groups; how many, when `size` is 0."""
    return read_groups(t, size, list, UInt32)


def read_groups(t: Thread, size: int, addr: int, record: type) -> int:
    """getgroups for ids of one width.  Raises EINVAL, EFAULT."""
    groups = t.proc.cred.groups
    if size < 0:
        raise EINVAL
    if size:
        if len(groups) > size:
            raise EINVAL
        encode = t.system.call_abi(t).layouts[record].encode
        t.proc.vm.copyout(addr, b"".join(map(encode, groups)))
    return len(groups)


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
    groups = [int.from_bytes(data[at : at + width], "little") for at in range(0, len(data), width)]
    if _KEEP in groups:
        raise EINVAL
    t.proc.cred = t.proc.cred._replace(groups=tuple(sorted(groups)))
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
    target = t if not pid else t.system.threads.get(pid)
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
    return _KEEP if number & 0xFFFF == 0xFFFF else number & 0xFFFF


def shown_16(number: int) -> int:
    """An id as 16-bit calls tell it."""
    return number if number <= 0xFFFF else 65534


