"""System calls that advise about mappings, lock them, sync them, and ask about them.

Locked memory is counted and told, not really locked.  mincore says that all that is mapped is there.
Sources: madvise(2), msync(2), mincore(2), mlock(2), the order of checks that of mm/{madvise,msync,mincore,mlock}.c.
"""

from __future__ import annotations

from typing import Final

from ring3.abi.flags import Prot
from ring3.calls.memory import sys_mprotect
from ring3.calls.procarg import AdviceArg, SyncFlags
from ring3.calls.sysarg import Addr, Int, OutBuf, ProtFlag, Size, UInt
from ring3.calls.syscall import syscall
from ring3.errors import EACCES, EBUSY, EFAULT, EINVAL, ENOMEM, ENOSPC, EPERM, from_oserror
from ring3.proc.memlimits import check_locked, may_lock
from ring3.proc.proc import Rlimit, Thread
from ring3.vfs.mapping import VnodeObject
from ring3.vm.region import PAGE, Region, page_ceil
from ring3.vm.vmspace import VMSpace

(_NORMAL, _RANDOM, _SEQUENTIAL, _WILLNEED, _DONTNEED) = range(5)
_FREE, _REMOVE, _DONTFORK, _DOFORK, _MERGEABLE, _UNMERGEABLE = 8, 9, 10, 11, 12, 13
_HUGEPAGE, _NOHUGEPAGE, _DONTDUMP, _DODUMP, _WIPEONFORK, _KEEPONFORK = 14, 15, 16, 17, 18, 19
_COLD, _PAGEOUT, _POPULATE_READ, _POPULATE_WRITE, _DONTNEED_LOCKED, _COLLAPSE = 20, 21, 22, 23, 24, 25
_HWPOISON, _SOFT_OFFLINE = 100, 101
_KNOWN: Final = frozenset((*range(5), *range(8, 26)))
_FOR_MACHINE: Final = frozenset((_DONTNEED, _FREE, _HUGEPAGE, _NOHUGEPAGE))
_MINCORE_PIECE: Final = 1 << 16
_MS_ASYNC, _MS_INVALIDATE, _MS_SYNC = 1, 2, 4
_MLOCK_ONFAULT: Final = 1
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_PUNCH_KEEPING_SIZE: Final = 3


def _page_range(start: int, length: int) -> tuple[int, int]:
    """Checked as most calls here do: the start is a page's, the end does not wrap.  Raises EINVAL."""
    if start & (PAGE - 1):
        raise EINVAL
    end = start + page_ceil(length)
    if end > 1 << 64:
        raise EINVAL
    return start, end


@syscall(pledge="stdio")
def sys_madvise(t: Thread, start: Addr, length: Size, behavior: AdviceArg) -> int:
    """Advice about a range; some of it changes what is there."""
    if behavior in (_HWPOISON, _SOFT_OFFLINE):
        raise EINVAL if t.proc.cred.privileged else EPERM
    if behavior not in _KNOWN:
        raise EINVAL
    start, end = _page_range(start, length)
    if end == start:
        return 0
    vm = t.proc.vm
    reached = start
    hole = False
    for region in vm.overlapping(start, end):
        hole |= region.start > reached
        low, high = max(region.start, start), min(region.end, end)
        _advise(vm, region, low, high, behavior)
        reached = region.end
    if hole or reached < end:
        raise ENOMEM
    return 0


def _advise(vm: VMSpace, region: Region, low: int, high: int, advice: int) -> None:
    """One region's part.  Raises EINVAL, EACCES, EFAULT."""
    anonymous = region.object is None and not region.shared
    if advice in (_DONTNEED, _FREE, _COLD, _PAGEOUT) and region.locked:
        raise EINVAL
    if advice == _FREE and not anonymous:
        raise EINVAL
    if advice == _REMOVE:
        _remove(region, low, high)
    elif advice in (_DONTFORK, _DOFORK, _WIPEONFORK, _KEEPONFORK):
        if advice == _WIPEONFORK and not anonymous:
            raise EINVAL
        for part in vm.split(low, high):
            if advice in (_DONTFORK, _DOFORK):
                part.dontfork = advice == _DONTFORK
            else:
                part.wipe = advice == _WIPEONFORK
    elif advice in (_POPULATE_READ, _POPULATE_WRITE):
        if not region.prot & (Prot.WRITE if advice == _POPULATE_WRITE else Prot.READ | Prot.EXEC):
            raise EFAULT
    elif advice in _FOR_MACHINE or advice == _DONTNEED_LOCKED:
        if region.label in (b"[vdso]", b"[vvar]"):
            return
        try:
            vm.machine.advise(low, high - low, _DONTNEED if advice == _DONTNEED_LOCKED else advice)
        except OSError as error:
            if advice in (_HUGEPAGE, _NOHUGEPAGE):
                return
            raise from_oserror(error) from error


def _remove(region: Region, low: int, high: int) -> None:
    """Punch a hole into the file behind a shared mapping."""
    if region.locked or not isinstance(region.object, VnodeObject):
        raise EINVAL
    if not region.shared or not region.max_prot & Prot.WRITE:
        raise EACCES
    region.object.vnode.fallocate(_PUNCH_KEEPING_SIZE, region.offset + low - region.start, high - low)


@syscall(pledge="stdio")
def sys_msync(t: Thread, start: Addr, length: Size, flags: SyncFlags) -> int:
    """Bring shared file pages to their file."""
    if flags & ~7 or flags & (_MS_ASYNC | _MS_SYNC) == _MS_ASYNC | _MS_SYNC or start & (PAGE - 1):
        raise EINVAL
    end = start + page_ceil(length)
    if end > 1 << 64:
        raise ENOMEM
    if end == start:
        return 0
    vm = t.proc.vm
    reached = start
    hole = False
    for region in vm.overlapping(start, end):
        hole |= region.start > reached
        if flags & _MS_INVALIDATE and region.locked:
            raise EBUSY
        if flags & _MS_SYNC and region.shared and isinstance(region.object, VnodeObject):
            low, high = max(region.start, start), min(region.end, end)
            try:
                vm.machine.sync(low, high - low)
            except OSError as error:
                raise from_oserror(error) from error
        reached = region.end
    if hole or reached < end:
        raise ENOMEM
    return 0


@syscall(pledge="stdio")
def sys_mincore(t: Thread, start: Addr, length: Size, vec: OutBuf) -> int:
    """Which pages are in memory: all that are mapped."""
    if start & (PAGE - 1):
        raise EINVAL
    vm = t.proc.vm
    if start + length > vm.user_top:
        raise ENOMEM
    npages = page_ceil(length) // PAGE
    done = 0
    while done < npages:
        piece = min(npages - done, _MINCORE_PIECE)
        low = start + done * PAGE
        vm.check_writable(vec + done, piece)
        if not vm.covered(low, low + piece * PAGE):
            raise ENOMEM
        vm.copyout(vec + done, b"\1" * piece)
        done += piece
    return 0


# --- locking
def _lock(t: Thread, start: int, length: int, *, locked: bool) -> int:
    """apply_vma_lock_flags.  Raises EPERM, ENOMEM, EINVAL."""
    vm = t.proc.vm
    if locked and not may_lock(t.proc):
        raise EPERM
    length = page_ceil(length + (start & (PAGE - 1)))
    start &= ~(PAGE - 1)
    if start + length > 1 << 64:
        raise EINVAL
    if not length:
        return 0
    end = start + length
    if locked:
        already = sum(min(r.end, end) - max(r.start, start) for r in vm.overlapping(start, end) if r.locked)
        check_locked(t.proc, length - already, mapping=False)
    if not vm.overlapping(start, min(start + PAGE, end)):
        raise ENOMEM
    whole = vm.covered(start, end)
    for region in vm.split(start, end):
        region.locked = locked
    if not whole:
        raise ENOMEM
    return 0


@syscall(pledge="stdio")
def sys_mlock(t: Thread, start: Addr, length: Size) -> int:
    """Lock a range in memory: counted against RLIMIT_MEMLOCK."""
    return _lock(t, start, length, locked=True)


@syscall(pledge="stdio")
def sys_mlock2(t: Thread, start: Addr, length: Size, flags: UInt) -> int:
    """mlock, with MLOCK_ONFAULT."""
    if flags & ~_MLOCK_ONFAULT:
        raise EINVAL
    return _lock(t, start, length, locked=True)


@syscall(pledge="stdio")
def sys_munlock(t: Thread, start: Addr, length: Size) -> int:
    """Unlock a range."""
    return _lock(t, start, length, locked=False)


@syscall(pledge="stdio")
def sys_mlockall(t: Thread, flags: Int) -> int:
    """Lock everything mapped now; what comes later is not remembered."""
    if not flags or flags & ~7 or flags == _MCL_ONFAULT:
        raise EINVAL
    if not may_lock(t.proc):
        raise EPERM
    p = t.proc
    if flags & _MCL_CURRENT and not p.cred.privileged and p.vm.total_bytes > p.rlimit(Rlimit.MEMLOCK):
        raise ENOMEM
    if flags & _MCL_CURRENT:
        for region in p.vm:
            region.locked = True
    return 0


@syscall(pledge="stdio")
def sys_munlockall(t: Thread) -> int:
    """Unlock everything."""
    for region in t.proc.vm:
        region.locked = False
    return 0


# --- protection keys: a CPU without them
@syscall(pledge="stdio")
def sys_pkey_alloc(t: Thread, flags: Size, init_val: Size) -> int:
    """There are none."""
    del t
    if flags or init_val & ~3:
        raise EINVAL
    raise ENOSPC


@syscall(pledge="stdio")
def sys_pkey_free(t: Thread, pkey: Int) -> int:
    """None was ever handed out."""
    del t, pkey
    raise EINVAL


@syscall(pledge="stdio")
def sys_pkey_mprotect(t: Thread, addr: Addr, length: Size, prot: ProtFlag, pkey: Int) -> int:
    """mprotect, with the only key there is: -1."""
    if pkey != -1:
        raise EINVAL
    return int(sys_mprotect.run(t, addr, length, prot))


@syscall(pledge="stdio")
def sys_remap_file_pages(t: Thread, start: Addr, size: Size, prot: Size, pgoff: Size, flags: Size) -> int:
    """Long deprecated; refused as for a mapping that is not shared."""
    del t, start, size, prot, pgoff, flags
    raise EINVAL

