"""SerenityOS's memory that may be given up: purgeable regions, volatile or not; and msync.

A volatile region may be emptied at any time (by purge, and where a fork copies it); its owner learns of it when it wants the
memory back, and finds zeros then.  Here the zeros come at that moment: what stands in volatile memory is nobody's promise.

Stated results: purge counts all pages of the regions it empties, touched or not, and lets no page of a file go: those are the
host's.
Source: Kernel/Syscalls/{mmap,purge}.cpp, AnonymousVMObject (reference, sections 1.17 and 4.8).
"""

from __future__ import annotations

from typing import Annotated

from ring3.calls.procarg import Bits
from ring3.calls.serenity import regions
from ring3.calls.sysarg import Addr, Size
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, ENOMEM, EPERM, from_oserror
from ring3.proc.proc import Thread
from ring3.vfs.mapping import VnodeObject
from ring3.vm.region import PAGE, Region
from ring3.vm.traits import MMAP, Purgeable
from ring3.vm.vmspace import VMSpace

MADV_SET_VOLATILE, MADV_SET_NONVOLATILE = 1, 2
MS_SYNC, MS_ASYNC, MS_INVALIDATE = 1, 2, 4
PURGE_VOLATILE, PURGE_CLEAN = 1, 2
_DONTNEED, _REMOVE = 4, 9                   # the machine's madvise: of private memory, of shared

Advice = Annotated[int, Bits({MADV_SET_VOLATILE: "MADV_SET_VOLATILE", MADV_SET_NONVOLATILE: "MADV_SET_NONVOLATILE"})]
SyncWord = Annotated[int, Bits({MS_SYNC: "MS_SYNC", MS_ASYNC: "MS_ASYNC", MS_INVALIDATE: "MS_INVALIDATE"})]
PurgeWord = Annotated[int, Bits({PURGE_VOLATILE: "PURGE_ALL_VOLATILE", PURGE_CLEAN: "PURGE_ALL_CLEAN_INODE"})]


@syscall(pledge="stdio")
def sys_madvise(t: Thread, addr: Addr, size: Size, advice: Advice) -> int:
    """Make a purgeable region volatile, or not; 1 where it was purged meanwhile.  Raises EINVAL, EFAULT, EPERM."""
    vm = t.proc.vm
    region = regions.whole(vm, *regions.range_of(vm, addr, size))
    memory = regions.changeable(region).purgeable
    if advice not in (MADV_SET_VOLATILE, MADV_SET_NONVOLATILE) or memory is None:
        raise EINVAL
    parts = [part for part in vm if part.traits is not None and part.traits.purgeable is memory]
    was_purged = memory.was_purged and advice == MADV_SET_NONVOLATILE
    if was_purged:
        _empty(vm, parts)
        memory.was_purged = False
    memory.is_volatile = advice == MADV_SET_VOLATILE
    for part in parts:
        part.wipe = memory.is_volatile and not part.shared          # a child's copy begins empty
    return int(was_purged)


def _empty(vm: VMSpace, parts: list[Region]) -> None:
    """Zeros, now.  Raises what the host says."""
    for part in parts:
        try:
            vm.machine.advise(part.start, part.length, _REMOVE if part.shared else _DONTNEED)
        except OSError as error:
            raise from_oserror(error) from error


@syscall(pledge="root")
def sys_purge(t: Thread, mode: PurgeWord) -> int:
    """Empty all volatile memory of all processes; how many pages that were.  Raises EPERM for who is not root."""
    if t.proc.cred.euid != 0:
        raise EPERM
    if not mode & PURGE_VOLATILE:
        return 0
    spaces = {id(p.vm): p.vm for p in t.system.procs.values() if hasattr(p, "vm") and not p.zombie}
    found: dict[int, Purgeable] = {}
    npages = 0
    for vm in spaces.values():
        for region in vm:
            memory = region.traits.purgeable if region.traits is not None else None
            if memory is not None and memory.is_volatile and (not memory.was_purged or id(memory) in found):
                found[id(memory)] = memory
                memory.was_purged = True
                npages += region.length // PAGE
    return npages


@syscall(pledge="")
def sys_msync(t: Thread, addr: Addr, size: Size, flags: SyncWord) -> int:
    """Bring shared pages of files to their files.  Raises EINVAL, ENOMEM for what is not all mapped, and by programs."""
    if flags & ~(MS_SYNC | MS_ASYNC | MS_INVALIDATE) or bool(flags & MS_SYNC) == bool(flags & MS_ASYNC) or addr % PAGE:
        raise EINVAL
    vm = t.proc.vm
    end = addr + regions.round_up(size)
    found = vm.overlapping(addr, end)
    if not found or any(region.traits is None or not region.traits.marks & MMAP for region in found) or not vm.covered(addr, end):
        raise ENOMEM
    for region in found:
        if region.shared and isinstance(region.object, VnodeObject):
            low, high = max(region.start, addr), min(region.end, end)
            try:
                vm.machine.sync(low, high - low)
            except OSError as error:
                raise from_oserror(error) from error
    return 0
