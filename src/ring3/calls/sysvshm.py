"""shmget, shmat, shmdt, shmctl: memory shared by number.

Not here: locking into memory, i386's ipc(2).  Source: shmget(2), shmop(2), shmctl(2), ipc/shm.c.
"""

from __future__ import annotations

import struct
import time
from typing import Final

from ring3.abi.flags import FileType, OpenFlags, Prot
from ring3.calls.sysarg import Addr, Int, Size
from ring3.calls.syscall import syscall
from ring3.errors import EACCES, EEXIST, EIDRM, EINVAL, ENOENT, EPERM
from ring3.proc.memlimits import check_total
from ring3.proc.proc import Thread
from ring3.proc.sysvshm import MAX_SEGMENTS, SEQUENCE, Segment, Segments
from ring3.vfs.file import RegularFile
from ring3.vfs.memdata import MemRegular
from ring3.vfs.memory import MemoryFS
from ring3.vm.region import PAGE, Region, page_ceil

IPC_CREAT, IPC_EXCL = 0o1000, 0o2000
IPC_RMID, IPC_SET, IPC_STAT, IPC_INFO, SHM_STAT, SHM_INFO, IPC_64 = 0, 1, 2, 3, 13, 14, 0x100
SHM_RDONLY, SHM_RND, SHM_REMAP, SHM_EXEC, SHM_DEST = 0o10000, 0o20000, 0o40000, 0o100000, 0o1000
MAX_BYTES: Final = 1 << 40              # of one segment; less than kernel.shmmax, and more than there is
_READ, _WRITE = 4, 2
_DS: Final = {8: struct.Struct("<iIIIIIHH4x16xQQQQiiQ16x"), 4: struct.Struct("<iIIIIH2xHH2x8xIIIIIIIiiI8x")}
_LIMITS: Final = {8: struct.Struct("<QQQQQ32x"), 4: struct.Struct("<IIIII16x")}                 # struct shminfo
_TOTALS: Final = {8: struct.Struct("<i4xQQQQQ"), 4: struct.Struct("<iIIIII")}                   # struct shm_info
_OWNER: Final = struct.Struct("<4xII8xI")


def segments(t: Thread) -> Segments:
    """Those of this kernel."""
    if t.system.segments is None:
        t.system.segments = Segments()
    found: Segments = t.system.segments
    return found


def _check(t: Thread, segment: Segment, wanted: int) -> None:
    """Raises EACCES."""
    cred = t.proc.cred
    groups = (cred.egid, *cred.groups)
    shift = 6 if cred.euid in (segment.owner[0], segment.creator[0]) else (
        3 if segment.owner[1] in groups or segment.creator[1] in groups else 0
    )
    if wanted & ~(segment.mode >> shift) & 7 and not cred.privileged:
        raise EACCES


def readable(t: Thread, number: int) -> Segment:
    """The segment with a number, for who may read it.  Raises EINVAL, EIDRM, EACCES."""
    segment = segments(t).find(number)
    _check(t, segment, _READ)
    return segment


@syscall(pledge="root")
def sys_shmget(t: Thread, key: Int, size: Size, flags: Int) -> int:
    """The number of the segment with a key, or of a new one.  EINVAL, ENOENT, EEXIST, EACCES, ENOSPC."""
    known = segments(t)
    found = known.by_key(key) if key else None
    if found is not None:
        if flags & IPC_CREAT and flags & IPC_EXCL:
            raise EEXIST
        if size > found.size:
            raise EINVAL
        _check(t, found, (flags >> 6 | flags >> 3 | flags) & 7)
        return found.number
    if key and not flags & IPC_CREAT:
        raise ENOENT
    if not 0 < size <= MAX_BYTES:
        raise EINVAL
    system, cred = t.system, t.proc.cred
    if system.memfds is None:
        system.memfds = MemoryFS()
        system.memfds.dev = system.mounts.anonymous_dev()
    vnode = MemRegular(system.memfds, FileType.REG | flags & 0o777, cred.euid, cred.egid)
    vnode.truncate(page_ceil(size))
    file = RegularFile(vnode, OpenFlags.RDWR)
    return known.add(key, file, size, flags & 0o777, (cred.euid, cred.egid), t.proc.pid).number


@syscall(pledge="root")
def sys_shmat(t: Thread, number: Int, addr: Addr, flags: Int) -> int:
    """Attach a segment; where.  EINVAL, EIDRM, EACCES, ENOMEM."""
    segment = segments(t).find(number)
    if segment.removed and not segment.attachments:
        raise EIDRM
    if addr & (PAGE - 1):
        if not flags & SHM_RND:
            raise EINVAL
        addr &= ~(PAGE - 1)
    _check(t, segment, _READ if flags & SHM_RDONLY else _READ | _WRITE)
    vm, length = t.proc.vm, page_ceil(segment.size)
    if not addr:
        if flags & SHM_REMAP:
            raise EINVAL
        addr = vm.find_gap(length)
    elif addr < vm.min_addr or addr > vm.user_top - length or (not flags & SHM_REMAP and vm.overlapping(addr, addr + length)):
        raise EINVAL
    check_total(t.proc, length)
    prot = Prot.READ if flags & SHM_RDONLY else Prot.READ | Prot.WRITE
    if flags & SHM_EXEC:
        t.needs("prot_exec")
        prot |= Prot.EXEC
    most = 5 if flags & SHM_RDONLY else 7
    segment.object.host_fd(write=not flags & SHM_RDONLY)
    vm.map(Region(addr, addr + length, prot, object=segment.object, shared=True, max_prot=most))
    segment.last_pid, segment.attached_at = t.proc.pid, int(time.time())
    return addr


@syscall(pledge="root")
def sys_shmdt(t: Thread, addr: Addr) -> int:
    """Detach what was attached at `addr`.  EINVAL."""
    vm = t.proc.vm
    region = None if addr & (PAGE - 1) else vm.find(addr)
    segment = None if region is None or region.start != addr or region.offset else _shown(t, region)
    if segment is None:
        raise EINVAL
    for part in vm.overlapping(addr, addr + page_ceil(segment.size)):
        if part.object is segment.object and part.offset == part.start - addr:
            vm.unmap(part.start, part.end)
    segment.last_pid, segment.detached_at = t.proc.pid, int(time.time())
    segments(t).reap()
    return 0


def _shown(t: Thread, region: Region) -> Segment | None:
    """The segment that a region shows."""
    return next((segment for segment in segments(t) if segment.object is region.object), None)


@syscall(pledge="root")
def sys_shmctl(t: Thread, number: Int, command: Int, buf: Addr) -> int:
    """IPC_STAT, IPC_SET, IPC_RMID, and what ipcs(1) asks.  EINVAL, EIDRM, EACCES, EPERM, EFAULT."""
    command &= ~IPC_64
    known = segments(t)
    if command in (IPC_INFO, SHM_INFO):
        known.reap()
        t.proc.vm.copyout(buf, _limits(t) if command == IPC_INFO else _totals(t, known))
        return max((segment.number % SEQUENCE for segment in known), default=0)
    if command == SHM_STAT:
        segment = known.at(number)
        _check(t, segment, _READ)
        t.proc.vm.copyout(buf, _encode(t, segment))
        return segment.number
    if command not in (IPC_RMID, IPC_SET, IPC_STAT):
        raise EINVAL
    segment = known.find(number)
    if command == IPC_STAT:
        _check(t, segment, _READ)
        t.proc.vm.copyout(buf, _encode(t, segment))
        return 0
    cred = t.proc.cred
    if cred.euid not in (segment.owner[0], segment.creator[0]) and not cred.privileged:
        raise EPERM
    if command == IPC_RMID:
        known.remove(segment)
        return 0
    uid, gid, mode = _OWNER.unpack(t.proc.vm.copyin(buf, _OWNER.size))
    if 0xFFFF_FFFF in (uid, gid):
        raise EINVAL
    segment.owner, segment.mode, segment.changed_at = (uid, gid), mode & 0o777, int(time.time())
    return 0


def _limits(t: Thread) -> bytes:
    """struct shminfo."""
    most = MAX_BYTES if t.system.call_abi(t).word_size == 8 else 0xFFFF_FFFF
    return _LIMITS[t.system.call_abi(t).word_size].pack(most, 1, MAX_SEGMENTS, MAX_SEGMENTS, most // PAGE)


def _totals(t: Thread, known: Segments) -> bytes:
    """struct shm_info; every page counts as one that is there."""
    sizes = [page_ceil(segment.size) // PAGE for segment in known]
    pages = min(sum(sizes), 0xFFFF_FFFF)
    return _TOTALS[t.system.call_abi(t).word_size].pack(len(sizes), pages, pages, 0, 0, 0)


def _encode(t: Thread, segment: Segment) -> bytes:
    """struct shmid64_ds."""
    wide = t.system.call_abi(t).word_size == 8
    times = (segment.attached_at, segment.detached_at, segment.changed_at)
    mode = segment.mode | (SHM_DEST if segment.removed else 0)
    who = (segment.key, *segment.owner, *segment.creator, mode, segment.number // SEQUENCE)
    if wide:
        return _DS[8].pack(*who, 0, segment.size, *times, segment.creator_pid, segment.last_pid, segment.attachments)
    halves = [half for moment in times for half in (moment & 0xFFFF_FFFF, moment >> 32)]
    return _DS[4].pack(*who, 0, segment.size & 0xFFFF_FFFF, *halves, segment.creator_pid, segment.last_pid, segment.attachments)
