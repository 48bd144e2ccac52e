"""Ranges and regions as SerenityOS's calls speak of them: what a range is, which regions may be changed, where new ones go.

A region is one mmap's, or a part that a call split off; neighbours never become one.  Those the kernel made (exec, TLS, the time
page) are not `MMAP` and can be neither changed nor taken away.  Nothing here is half done: all of a range is checked first.

Stated result: an alignment that is no power of two, where the original's tree of regions falls over itself, is EINVAL.
Source: Kernel/Memory/{AddressSpace,RegionTree,VirtualRange,MemoryManager}.cpp (reference, sections 1.14 and 1.17).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ring3.abi.flags import Prot
from ring3.errors import EFAULT, EINVAL, ENOMEM, EPERM
from ring3.proc.memlimits import check_total
from ring3.vm.region import PAGE, Region, page_ceil, page_floor
from ring3.vm.traits import IMMUTABLE, MMAP, STACK, SYSCALL, SpaceTraits, Traits

if TYPE_CHECKING:
    from ring3.proc.proc import Thread
    from ring3.vm.region import VMObject
    from ring3.vm.vmspace import VMSpace

_WORD: Final = 1 << 64
_TRIES: Final = 1000
_READ_WRITE: Final = int(Prot.READ | Prot.WRITE)


# --- ranges
def expand(addr: int, nbytes: int) -> tuple[int, int]:
    """The pages of [addr, addr+nbytes).  Raises EINVAL where that wraps (expand_range_to_page_boundaries)."""
    round_up(nbytes)
    return page_floor(addr), round_up(addr + nbytes)


def round_up(value: int) -> int:
    """The next page boundary.  Raises EINVAL beyond the last one (page_round_up)."""
    if value > _WORD - PAGE:
        raise EINVAL
    return page_ceil(value)


def check_user(vm: VMSpace, start: int, end: int) -> None:
    """Raises EFAULT for a range that is not all for programs (is_user_range)."""
    if start >= vm.user_top or end > max(vm.user_top, start + 1):
        raise EFAULT


def range_of(vm: VMSpace, addr: int, nbytes: int) -> tuple[int, int]:
    """A range to change.  Raises EINVAL for one that wraps or is empty, EFAULT."""
    start, end = expand(addr, nbytes)
    if start == end:
        raise EINVAL
    check_user(vm, start, end)
    return start, end


# --- regions
def whole(vm: VMSpace, start: int, end: int) -> Region:
    """The region that is exactly this range.  Raises EINVAL without one (find_region_from_range)."""
    region = vm.find(start)
    if region is None or (region.start, region.end) != (start, end):
        raise EINVAL
    return region


def changeable(region: Region) -> Traits:
    """What is remembered of a region that programs may change.  Raises EPERM for others."""
    traits = region.traits
    if traits is None or traits.marks & (MMAP | IMMUTABLE) != MMAP:
        raise EPERM
    return traits


def is_anonymous(region: Region) -> bool:
    """Whether fresh memory is behind it, an anonymous file's too."""
    return region.object is None or region.object.anonymous or (region.traits is not None and region.traits.purgeable is not None)


def unmap(vm: VMSpace, addr: int, nbytes: int) -> None:
    """unmap_mmap_range: holes are fine, nothing at all too.  Raises EINVAL, EFAULT, EPERM; ENOMEM for too many regions."""
    if not nbytes:
        raise EINVAL
    start, end = expand(addr, nbytes)
    check_user(vm, start, end)
    for region in vm.overlapping(start, end):
        changeable(region)
    release(vm, start, end)


def release(vm: VMSpace, start: int, end: int) -> None:
    """Take away whatever is there, whoever made it.  Raises ENOMEM for too many regions."""
    vm.unmap(start, end)
    if vm.traits is not None and start < vm.traits.full_below:
        vm.traits.full_below = start


def traits_of(vm: VMSpace) -> SpaceTraits:
    """What is remembered of a space, from now on."""
    if vm.traits is None:
        vm.traits = SpaceTraits()
    return vm.traits


# --- places
def find_place(t: Thread, size: int, alignment: int = PAGE, *, randomised: bool) -> int:
    """Room for `size` bytes: anywhere at random, or the lowest there is.  Raises ENOMEM, EINVAL."""
    vm = t.proc.vm
    if alignment & (alignment - 1):
        raise EINVAL("no power of two")
    if size + alignment > vm.user_top:
        raise ENOMEM
    if randomised and t.system.execsw is not None and t.system.execsw.randomise:
        for _ in range(_TRIES):
            start = _align(t.system.random.getrandbits(64) % vm.user_top, alignment)
            if vm.mmap_base <= start <= vm.user_top - size and not vm.overlapping(start, start + size):
                return start
    return _align(_lowest_gap(vm, size + alignment), alignment)


def _lowest_gap(vm: VMSpace, room: int) -> int:
    """Where the lowest gap of so many bytes begins.  Raises ENOMEM.

    Gaps that no region fits into, which takes two pages at least, are passed once and not again: programs that map page after page
    would wait longer for each.
    """
    traits = traits_of(vm)
    floor = max(vm.mmap_base, traits.full_below)
    is_full, regions = True, vm.regions
    for index in range(vm.index_of(floor), len(regions)):
        region = regions[index]
        gap = region.start - floor
        if gap >= room:
            return floor
        is_full = is_full and gap < 2 * PAGE
        floor = max(floor, region.end)
        if is_full:
            traits.full_below = floor
    if vm.user_top - floor < room:
        raise ENOMEM
    return floor


def _align(addr: int, alignment: int) -> int:
    return -(-addr // alignment) * alignment


def check_place(vm: VMSpace, start: int, end: int) -> None:
    """Raises ENOMEM for a place outside the space's range and for one that is taken."""
    if start < vm.mmap_base or end > vm.user_top or vm.overlapping(start, end):
        raise ENOMEM


def make_region(
    t: Thread, nbytes: int, prot: int, name: bytes, *, marks: int = 0, backing: VMObject | None = None
) -> Region:
    """A region of the kernel's own, somewhere at random.  Raises ENOMEM."""
    size = page_ceil(nbytes)
    check_total(t.proc, size)
    start = find_place(t, size, randomised=True)
    region = Region(start, start + size, prot, object=backing, shared=backing is not None, max_prot=prot, label=name)
    if marks:
        region.traits = Traits(marks, prot)
    t.proc.vm.map(region)
    return region


def become_stack(t: Thread, addr: int, nbytes: int) -> None:
    """Make a range of private fresh memory a stack (remap_range_as_stack): zeros, to read and write, no calls from there.

    Whole pages, whatever else stands in them.  Raises EINVAL for a range that wraps, is empty, shared, a file's, or where nothing
    is mapped; EFAULT; EPERM for what mmap did not make; ENOMEM for a hole.
    """
    vm = t.proc.vm
    start, end = range_of(vm, addr, nbytes)
    found = vm.overlapping(start, end)
    if not found:
        raise EINVAL
    for region in found:
        if region.traits is None or not region.traits.marks & MMAP:
            raise EPERM
        if not is_anonymous(region) or region.shared:
            raise EINVAL
    if not vm.covered(start, end):
        raise ENOMEM
    for part in vm.split(start, end):
        traits = part.traits
        assert traits is not None
        stack = Region(part.start, part.end, _READ_WRITE, noreserve=part.noreserve, label=part.label)
        stack.traits = Traits(traits.marks & ~SYSCALL | STACK, _READ_WRITE)
        vm.map(stack)
