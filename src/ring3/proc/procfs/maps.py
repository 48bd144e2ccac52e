"""/proc/PID/maps and smaps: the regions of an address space.

Resident memory is known for a space as a whole only; smaps shares it out in proportion to size.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ring3.proc.proc import Proc
    from ring3.vm.region import Region
    from ring3.vm.vmspace import VMSpace

_NAME_COLUMN = 72       # 25 + 6 * sizeof(void *) - 1 (fs/proc/task_mmu.c)
_VSYSCALL = b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0".ljust(_NAME_COLUMN) + b" [vsyscall]\n"


def space_of(p: Proc) -> VMSpace | None:
    """The address space of a process; None for what has none: the kernel's own, one that ended, one not begun."""
    if p.zombie or p.exiting or not p.threads:
        return None
    return getattr(p, "vm", None)


def region_name(vm: VMSpace, region: Region) -> bytes:
    """The last column: a path, or what the region is for."""
    if region.traits is not None and region.label:              # it has a name of its own, maybe of the program's choice
        return region.label.replace(b"\n", b"\\012")
    if region.object is not None and region.object.label:
        return region.object.label.replace(b"\n", b"\\012")
    if region.label:
        return region.label
    if region.shared:
        return b"/dev/zero (deleted)"
    if region.start < vm.brk_end and region.end > vm.brk_start:
        return b"[heap]"
    if region.start < vm.stack_top <= region.end:
        return b"[stack]"
    return b""


def line(vm: VMSpace, region: Region) -> bytes:
    """One line of maps."""
    prot = region.prot
    dev, ino = region.object.identity if region.object is not None else (0, 0)
    if region.object is None and region.shared:
        dev, ino = 1, 1
    head = b"%08x-%08x %c%c%c%c %08x %02x:%02x %d " % (
        region.start, region.end, b"-r"[prot & 1], b"-w"[prot >> 1 & 1], b"-x"[prot >> 2 & 1], b"ps"[region.shared],
        region.offset if region.object is not None else 0, os.major(dev), os.minor(dev), ino,
    )
    name = region_name(vm, region)
    return head.ljust(_NAME_COLUMN) + b" " + name + b"\n" if name else head + b"\n"


def maps(p: Proc) -> bytes:
    """proc_pid_maps(5)."""
    vm = space_of(p)
    if vm is None:
        return b""
    lines = [line(vm, region) for region in vm.regions]
    if is_wide(p):
        lines.append(_VSYSCALL)
    return b"".join(lines)


def is_wide(p: Proc) -> bool:
    """Whether it runs a 64-bit image: those have the vsyscall page, which belongs to no address space."""
    leader = p.threads.get(p.pid)
    abi = getattr(leader, "abi", None)
    return abi is not None and abi.native


_SMAPS_KEYS = (
    b"Size", b"KernelPageSize", b"MMUPageSize", b"Rss", b"Pss", b"Pss_Dirty", b"Shared_Clean", b"Shared_Dirty", b"Private_Clean",
    b"Private_Dirty", b"Referenced", b"Anonymous", b"KSM", b"LazyFree", b"AnonHugePages", b"ShmemPmdMapped", b"FilePmdMapped",
    b"Shared_Hugetlb", b"Private_Hugetlb", b"Swap", b"SwapPss", b"Locked",
)
_ROLLUP_KEYS = (*_SMAPS_KEYS[3:6], b"Pss_Anon", b"Pss_File", b"Pss_Shmem", *_SMAPS_KEYS[6:])


def _numbers(region: Region, resident_kb: int) -> dict[bytes, int]:
    """What is not 0, in KiB."""
    file = region.object is not None
    dirty = bool(region.prot & 2) or not file
    kind = (b"Shared_" if region.shared else b"Private_") + (b"Dirty" if dirty else b"Clean")
    return {
        b"KernelPageSize": 4, b"MMUPageSize": 4, b"Size": region.length >> 10, b"Rss": resident_kb, b"Pss": resident_kb,
        b"Referenced": resident_kb, kind: resident_kb, b"Pss_Dirty": resident_kb if dirty else 0,
        b"Anonymous": 0 if file else resident_kb, b"Locked": resident_kb if region.locked else 0,
    }


def _rows(numbers: dict[bytes, int], keys: tuple[bytes, ...]) -> bytes:
    return b"".join([b"%s%8d kB\n" % ((key + b":").ljust(16), numbers.get(key, 0)) for key in keys])


def _vm_flags(region: Region) -> bytes:
    words = [word for word, bit in ((b"rd", 1), (b"wr", 2), (b"ex", 4)) if region.prot & bit]
    words += [b"sh"] if region.shared else []
    words += [word for word, bit in ((b"mr", 1), (b"mw", 2), (b"me", 4)) if region.max_prot & bit]
    words += [b"ms"] if region.shared and region.max_prot & 2 else []
    words += [b"gd"] if region.growsdown else []
    words += [b"lo"] if region.locked else []
    words += [b"dc"] if region.dontfork else []
    words += [b"nr"] if region.noreserve else []
    words += [b"wf"] if region.wipe else []
    return b"".join(word + b" " for word in words)


def smaps(p: Proc) -> bytes:
    """proc_pid_smaps(5)."""
    vm = space_of(p)
    if vm is None:
        return b""
    pieces = []
    for region, resident in shares(vm):
        pieces.append(line(vm, region))
        pieces.append(_rows(_numbers(region, resident), _SMAPS_KEYS))
        pieces.append(b"THPeligible:           0\nVmFlags: %s\n" % _vm_flags(region))
    return b"".join(pieces)


def smaps_rollup(p: Proc) -> bytes:
    """The sums of smaps."""
    vm = space_of(p)
    if vm is None or not vm.regions:
        return b""
    sums: dict[bytes, int] = {}
    for region, resident in shares(vm):
        for key, value in _numbers(region, resident).items():
            sums[key] = sums.get(key, 0) + value
    head = b"%08x-%08x ---p 00000000 00:00 0 " % (vm.regions[0].start, vm.regions[-1].end)
    sums[b"Pss_Anon"] = sums[b"Anonymous"]
    sums[b"Pss_File"] = sums[b"Pss"] - sums[b"Anonymous"]
    return head.ljust(_NAME_COLUMN) + b" [rollup]\n" + _rows(sums, _ROLLUP_KEYS)


def shares(vm: VMSpace) -> list[tuple[Region, int]]:
    """Each region with its share of the resident memory, KiB."""
    resident = vm.machine.resident()
    touched = [(region, region.length if region.prot else 0) for region in vm.regions]
    total = max(sum(length for _, length in touched), 1)
    return [(region, (min(length, resident * length // total) >> 12) << 2) for region, length in touched]
