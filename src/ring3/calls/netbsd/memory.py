"""NetBSD's calls that make, unmake and change mappings, where they differ from everybody's.

Shared with Linux: locking, mincore, msync, and what a mapping is made of (`calls/memory.py`).  PaX MPROTECT, where the image
has it: what may be written may never be executed, and the reverse.
Sources: mmap(2), munmap(2), mprotect(2), madvise(2), mremap(2), minherit(2), brk(2), security(7).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Final

from ring3.abi.flags import MapFlags, Prot
from ring3.calls.memory import ask_code, do_mmap
from ring3.calls.procarg import Bits
from ring3.calls.sysarg import Addr, Fd, Int, Offset64, Size
from ring3.calls.syscall import syscall
from ring3.errors import EACCES, EBADF, EFAULT, EFBIG, EINVAL, ENOMEM, EOVERFLOW, from_oserror
from ring3.proc.memlimits import check_data, check_total
from ring3.proc.proc import Rlimit, Thread
from ring3.vm.region import PAGE, Region, SharedAnonymous, page_ceil, page_floor
from ring3.vm.vmspace import VMSpace

_SHARED, _PRIVATE, _COPY, _FIXED, _TRYFIXED, _ANON = 0x1, 0x2, 0x4, 0x10, 0x400, 0x1000
_ALIGN_SHIFT: Final = 24
_SAME_MEANING: Final = (
    (_FIXED, int(MapFlags.FIXED)), (0x40, int(MapFlags.NORESERVE)), (0x800, int(MapFlags.LOCKED)),
    (_ANON, int(MapFlags.ANONYMOUS)),
)
_REMAPDUP: Final = 0x4
_WORD: Final = 1 << 64
_COPY_PIECE: Final = 1 << 20
_MOST_SHARED: Final = 64 << 20           # of private memory that minherit makes shared: it is copied
PAX_MPROTECT: Final = 2                   # Proc.pax: P_PAX_MPROTECT
_DATA, _CODE = int(Prot.WRITE), int(Prot.EXEC)
_ANY: Final = 7                           # VM_PROT_ALL: other bits mean nothing to mprotect

_NORMAL, _RANDOM, _SEQUENTIAL, _WILLNEED, _DONTNEED, _SPACEAVAIL, _FREE = range(7)
_HOST_MADV_FREE: Final = 8
_INHERIT_SHARE, _INHERIT_COPY, _INHERIT_NONE, _INHERIT_DONATE, _INHERIT_ZERO = range(5)

ProtWord = Annotated[int, Bits({1: "PROT_READ", 2: "PROT_WRITE", 4: "PROT_EXEC"}, zero="PROT_NONE")]
MapWord = Annotated[int, Bits({
    0x1: "MAP_SHARED", 0x2: "MAP_PRIVATE", 0x4: "MAP_REMAPDUP", 0x10: "MAP_FIXED", 0x20: "MAP_RENAME", 0x40: "MAP_NORESERVE",
    0x80: "MAP_INHERIT", 0x200: "MAP_HASSEMAPHORE", 0x400: "MAP_TRYFIXED", 0x800: "MAP_WIRED", 0x1000: "MAP_ANON",
    0x2000: "MAP_STACK",
})]
Advice = Annotated[int, Bits({
    1: "MADV_RANDOM", 2: "MADV_SEQUENTIAL", 3: "MADV_WILLNEED", 4: "MADV_DONTNEED", 5: "MADV_SPACEAVAIL", 6: "MADV_FREE",
}, zero="MADV_NORMAL")]


@syscall(pledge="stdio")
def sys_mmap(t: Thread, addr: Addr, length: Size, prot: ProtWord, flags: MapWord, fd: Fd, pos: Offset64) -> int:
    """Map a file or fresh memory; `pos` need not begin a page, the result then points as far into one."""
    if flags & _COPY:
        flags = flags & ~_COPY | _PRIVATE
    if flags & (_SHARED | _PRIVATE) == _SHARED | _PRIVATE:
        raise EINVAL
    anonymous = bool(flags & _ANON)
    if not length:
        raise EINVAL
    inside = 0 if anonymous else pos & (PAGE - 1)
    size = page_ceil(length + inside)
    vm = t.proc.vm
    if size > vm.user_top:
        raise ENOMEM
    start = _fixed(vm, addr - inside, size) if flags & _FIXED else addr
    if anonymous:
        if fd != -1:
            raise EINVAL
        pos = inside = 0
    elif fd < 0:
        raise EBADF
    elif pos < 0:
        raise EINVAL
    bits = flags >> _ALIGN_SHIFT & 0x7F
    if bits and flags & _FIXED:
        if start % _alignment(vm, bits):
            raise EINVAL
    elif bits:
        start = _aligned_gap(vm, size, bits)
    now, most = _pax(t, prot)
    return do_mmap(t, start, size, now, _neutral(flags), fd, pos - inside, most) + inside


@lru_cache(maxsize=64)
def _neutral(flags: int) -> int:
    """MAP_* as the kernel has them; neither shared nor private means private."""
    found = int(MapFlags.SHARED if flags & _SHARED else MapFlags.PRIVATE)
    for theirs, neutral in _SAME_MEANING:
        if flags & theirs:
            found |= neutral
    return found


def _fixed(vm: VMSpace, start: int, size: int) -> int:
    """MAP_FIXED's address.  Raises EINVAL (no page's, or too low), EOVERFLOW, EFBIG."""
    start %= _WORD
    if start & (PAGE - 1):
        raise EINVAL
    if start + size > _WORD:
        raise EOVERFLOW
    if start < vm.min_addr:
        raise EINVAL
    if start + size > vm.user_top:
        raise EFBIG
    return start


def _aligned_gap(vm: VMSpace, size: int, bits: int) -> int:
    """Room at a multiple of 1 << bits.  Raises EINVAL, ENOMEM."""
    align = _alignment(vm, bits)
    if size + align > vm.user_top:
        raise ENOMEM
    return -(-vm.find_gap(size + align) // align) * align


def _alignment(vm: VMSpace, bits: int) -> int:
    """MAP_ALIGNED(bits).  Raises EINVAL for less than a page or more than an address has, ENOMEM for more than all of memory."""
    if not PAGE.bit_length() - 1 <= bits < 64:
        raise EINVAL
    if 1 << bits >= vm.user_top:
        raise ENOMEM
    return 1 << bits


def _pax(t: Thread, prot: int) -> tuple[int, int]:
    """The protection a new mapping gets, and the most it may get later.  PROT_MPROTECT(x), x << 3, asks for more of that."""
    now, more = prot & 7, prot >> 3 & 7
    if not t.proc.pax & PAX_MPROTECT:
        return now, 7
    if now & (_DATA | _CODE) == _CODE:
        return now & ~_DATA, 7 & ~_DATA | more & _DATA
    return now & ~_CODE, 7 & ~_CODE | more & _CODE


@syscall(pledge="stdio")
def sys_munmap(t: Thread, addr: Addr, length: Size) -> int:
    """Unmap a range; holes in it are fine, nothing at all too."""
    start, end = _range(t.proc.vm, addr, length)
    if end > start:
        t.proc.vm.unmap(start, end)
    return 0


def _range(vm: VMSpace, addr: int, length: int) -> tuple[int, int]:
    """Whole pages: those that any byte of a range lies in (uvm_mmap.c rounds, and refuses nothing for it).

    Raises EINVAL for a range that ends above all programs.
    """
    end = page_ceil(addr + length)
    if end > vm.user_top:
        raise EINVAL
    return page_floor(addr), end


@syscall(pledge="stdio")
def sys_mprotect(t: Thread, addr: Addr, length: Size, prot: ProtWord) -> int:
    """Change the protection of what is mapped in a range.  EACCES beyond what a mapping may have: nothing is changed then."""
    vm = t.proc.vm
    start, end = _range(vm, addr, length)
    prot &= _ANY
    if prot & _CODE:
        ask_code(t, vm.overlapping(start, end))
    if t.proc.pax & PAX_MPROTECT and prot & (_DATA | _CODE) == _DATA | _CODE:
        raise EACCES
    found = vm.overlapping(start, end)
    if any(prot & ~region.max_prot for region in found):
        raise EACCES
    parts = [(max(region.start, start), min(region.end, end)) for region in found]
    for low, high in parts:
        vm.protect(low, high, prot)
    return 0


@syscall(pledge="stdio")
def sys_madvise(t: Thread, addr: Addr, length: Size, behav: Advice) -> int:
    """Advice about a range.  Only MADV_FREE changes what is there: fresh memory may be zero again."""
    vm = t.proc.vm
    start, end = _range(vm, addr, length)
    if behav not in (_NORMAL, _RANDOM, _SEQUENTIAL, _WILLNEED, _DONTNEED, _FREE):
        raise EINVAL
    if behav != _FREE:
        return 0
    for region in vm.overlapping(start, end):
        if region.object is None and not region.shared and not region.locked:
            low, high = max(region.start, start), min(region.end, end)
            try:
                vm.machine.advise(low, high - low, _HOST_MADV_FREE)
            except OSError as error:
                raise from_oserror(error) from error
    return 0


@syscall(pledge="stdio")
def sys_minherit(t: Thread, addr: Addr, length: Size, inherit: Int) -> int:
    """What a child of fork gets of a range: the same memory, a copy, nothing, or zeros."""
    vm = t.proc.vm
    start, end = _range(vm, addr, length)
    if inherit not in (_INHERIT_SHARE, _INHERIT_COPY, _INHERIT_NONE, _INHERIT_ZERO):
        raise EINVAL
    for region in vm.split(start, end):
        private = region.object is None and not region.shared
        if inherit == _INHERIT_SHARE and private:
            _share(vm, region)
        elif inherit == _INHERIT_ZERO and not private:
            raise EINVAL
        else:
            region.dontfork = inherit == _INHERIT_NONE
            region.wipe = inherit == _INHERIT_ZERO
    return 0


def _share(vm: VMSpace, region: Region) -> None:
    """Put shared memory with the same bytes in a private region's place.  Raises ENOMEM, also for more than is ever copied."""
    if region.length > _MOST_SHARED:
        raise ENOMEM
    pieces = [
        vm.machine.read(at, min(_COPY_PIECE, region.end - at)) for at in range(region.start, region.end, _COPY_PIECE)
    ]
    shared = Region(
        region.start, region.end, region.prot, object=SharedAnonymous(), shared=True, noreserve=region.noreserve,
        max_prot=region.max_prot,
    )
    vm.map(shared)
    for index, piece in enumerate(pieces):
        if any(piece):
            vm.machine.write(shared.start + index * _COPY_PIECE, piece)


@syscall(pledge="stdio")
def sys_break(t: Thread, nsize: Addr) -> int:
    """Move the end of the heap to the end of the page that `nsize` lies in: what sbrk(3) adds to where the data ends.

    Raises EINVAL below the heap's start (where the real one unmaps the program), ENOMEM for no room and for 0.
    """
    p, vm = t.proc, t.proc.vm
    end = page_ceil(nsize)
    if not nsize or end > vm.user_top:
        raise ENOMEM
    if end < vm.brk_start:
        raise EINVAL
    if end - vm.brk_start > p.rlimit(Rlimit.DATA):
        raise ENOMEM
    growth = end - page_ceil(vm.brk_end)
    if growth > 0:
        check_total(p, growth)
        check_data(p, growth)
    vm.set_brk(end)
    return 0


@syscall(pledge="stdio")
def sys_mremap(t: Thread, old_address: Addr, old_size: Size, new_address: Addr, new_size: Size, flags: MapWord) -> int:
    """Resize or move a mapping of one kind; a longer one is moved where it has no room.  MAP_REMAPDUP is refused with EINVAL."""
    vm = t.proc.vm
    align = flags >> _ALIGN_SHIFT & 0x7F
    if flags & ~(_FIXED | 0x7F << _ALIGN_SHIFT) or (old_address | new_address) & (PAGE - 1) or not old_size or not new_size:
        raise EINVAL
    old, new = page_ceil(old_size), page_ceil(new_size)
    if old_address + old > vm.user_top or new > vm.user_top:
        raise EINVAL
    region = vm.find(old_address)
    if region is None:
        raise EFAULT
    if region.end < old_address + old:
        raise EINVAL
    if flags & _FIXED:
        _check_target(vm, old_address, old, new_address, new)
    if new <= old and (new_address == old_address if flags & _FIXED else not align):
        if new < old:
            vm.unmap(old_address + new, old_address + old)
        return old_address
    if new > old:
        check_total(t.proc, new - old)
        if region.prot & Prot.WRITE and not region.shared:
            check_data(t.proc, new - old)
    target = new_address
    if not flags & _FIXED:
        target = _aligned_gap(vm, new, align) if align else vm.find_gap(new, hint=new_address)
    if new < old:
        vm.unmap(old_address + new, old_address + old)
    vm.move(old_address, min(old, new), target, new)
    return target


def _check_target(vm: VMSpace, old_address: int, old: int, target: int, new: int) -> None:
    """A given place is one programs may have, and not in the middle of the old one.  Raises EINVAL."""
    if target < vm.min_addr or target + new > vm.user_top:
        raise EINVAL
    if target < old_address + old and old_address < target + new and not (target == old_address and new <= old):
        raise EINVAL
