"""SerenityOS's calls that mark and name regions, and tell of them: annotate_mapping, set_mmap_name, get_stack_bounds.

Source: Kernel/Syscalls/{annotate_mapping,mmap,get_stack_bounds}.cpp (reference, section 1.16).
"""

from __future__ import annotations

import struct
from typing import Annotated, Final

from ring3.abi.x86 import RSP
from ring3.calls.procarg import Bits
from ring3.calls.serenity import regions
from ring3.calls.serenity.argument import Params
from ring3.calls.serenity.memory import NAME
from ring3.calls.serenity.place import PathAt
from ring3.calls.sysarg import Addr, OutBuf, Size
from ring3.calls.syscall import syscall
from ring3.errors import EFAULT, EINVAL, EPERM
from ring3.namedtuple import NamedTuple
from ring3.proc.proc import Thread
from ring3.vm.traits import IMMUTABLE, MMAP, SYSCALL

SYSCALL_CODE, IMMUTABLE_FLAG = 1, 2
_MARKS: Final = ((SYSCALL_CODE, SYSCALL), (IMMUTABLE_FLAG, IMMUTABLE))

MarkWord = Annotated[int, Bits({SYSCALL_CODE: "SyscallCode", IMMUTABLE_FLAG: "Immutable"}, zero="None")]


@syscall(pledge="")
def sys_annotate_mapping(t: Thread, addr: Addr, flags: MarkWord) -> int:
    """Mark the region at `addr`: calls may come from it, it may not be changed.  NULL: from now on only marked ones may call.

    Raises EINVAL for no flags, no region and one that mmap did not make; EPERM for an immutable one, and for more code that may
    call once that is enforced; EFAULT.
    """
    vm = t.proc.vm
    enforces = vm.traits is not None and vm.traits.enforces
    if not flags:
        raise EINVAL
    if enforces and flags & SYSCALL_CODE:
        raise EPERM
    if not addr:
        regions.traits_of(vm).enforces = True
        return 0
    regions.check_user(vm, addr, addr + 1)
    region = vm.find(addr)
    if region is None or region.traits is None or not region.traits.marks & MMAP:
        raise EINVAL
    if region.traits.marks & IMMUTABLE:
        raise EPERM
    for flag, mark in _MARKS:
        if flags & flag:
            region.traits.marks |= mark
    return 0


class NameParams(NamedTuple):
    """Which region gets which name."""

    addr: Addr
    size: Size
    name: PathAt
    name_length: Size


@syscall(pledge="stdio")
def sys_set_mmap_name(t: Thread, params: Annotated[NameParams, Params(NameParams, "<QQQQ")]) -> int:
    """Name one whole region.  Raises ENAMETOOLONG, EFAULT, EINVAL, EPERM."""
    name = NAME.read(t, params.name, params.name_length)
    vm = t.proc.vm
    region = regions.whole(vm, *regions.expand(params.addr, params.size))
    regions.changeable(region)
    region.label = name or b""
    return 0


@syscall(pledge="")
def sys_get_stack_bounds(t: Thread, base: OutBuf, size: OutBuf) -> int:
    """Where the region of the caller's stack begins, and how long it is.  Raises EFAULT, also for a stack pointer nowhere."""
    vm = t.proc.vm
    region = vm.find(t.cpu.regs[RSP])
    if region is None:
        raise EFAULT
    vm.copyout(base, struct.pack("<Q", region.start))
    vm.copyout(size, struct.pack("<Q", region.length))
    return 0
