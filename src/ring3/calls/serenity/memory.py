"""SerenityOS's calls that make, change and take away mappings.

A mapping lies where it must, at random, or at the lowest place with room: an address without MAP_FIXED says nothing.  Order and
errors of all checks are the original's, MAP_FIXED without its promise included: its kernel looks for the flag among the bits of
`prot`.  Where regions are and what they are made of: `regions.py`, `wx.py`; marks and names: `marks.py`;
advice: `purging.py`.

Stated results: the pages of a mapping beyond the end of the file are there, and SIGBUS; MAP_PRIVATE of an anonymous file is private
at once, not from the next fork on.
Source: Kernel/Syscalls/mmap.cpp (reference, section 1.17).
"""

from __future__ import annotations

from typing import Annotated, Final

from ring3.abi.flags import Access, FileType, Prot
from ring3.calls.memory import ask_code
from ring3.calls.procarg import Bits
from ring3.calls.serenity import regions
from ring3.calls.serenity.anonymous import AnonymousFile
from ring3.calls.serenity.argument import PATH_MAX, Params, Text
from ring3.calls.serenity.extents import SharedFile
from ring3.calls.serenity.place import PathAt
from ring3.calls.serenity.wx import check_prot, check_region
from ring3.calls.sysarg import Addr, Fd, Offset64, Size
from ring3.calls.syscall import syscall
from ring3.errors import EACCES, EINVAL, ENAMETOOLONG, ENODEV, ENOMEM, ENOTIMPL, EOVERFLOW
from ring3.namedtuple import NamedTuple
from ring3.proc.memlimits import check_total
from ring3.proc.proc import Thread
from ring3.vfs.file import File
from ring3.vfs.mapping import VnodeObject
from ring3.vm.region import PAGE, Region, SharedAnonymous, VMObject, page_ceil
from ring3.vm.traits import MMAP, STACK, Purgeable, Traits

MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_STACK = 1, 2, 0x10, 0x20, 0x40
MAP_NORESERVE, MAP_RANDOMIZED, MAP_PURGEABLE, MAP_FIXED_NOREPLACE = 0x80, 0x100, 0x200, 0x400
_READ, _WRITE, _EXEC = int(Prot.READ), int(Prot.WRITE), int(Prot.EXEC)
_MAX_OFFSET: Final = 1 << 63

ProtWord = Annotated[int, Bits({1: "PROT_READ", 2: "PROT_WRITE", 4: "PROT_EXEC"}, zero="PROT_NONE")]
MapWord = Annotated[int, Bits({
    MAP_SHARED: "MAP_SHARED", MAP_PRIVATE: "MAP_PRIVATE", MAP_FIXED: "MAP_FIXED", MAP_ANONYMOUS: "MAP_ANONYMOUS",
    MAP_STACK: "MAP_STACK", MAP_NORESERVE: "MAP_NORESERVE", MAP_RANDOMIZED: "MAP_RANDOMIZED", MAP_PURGEABLE: "MAP_PURGEABLE",
    MAP_FIXED_NOREPLACE: "MAP_FIXED_NOREPLACE",
})]
NAME: Final = Text(PATH_MAX, ENAMETOOLONG)      # of a region


class MmapParams(NamedTuple):
    """What is to be mapped where.  The name is read when its turn comes."""

    addr: Addr
    size: Size
    alignment: Size
    prot: ProtWord
    flags: MapWord
    fd: Fd
    offset: Offset64
    name: PathAt
    name_length: Size


@syscall(pledge="stdio")
def sys_mmap(t: Thread, params: Annotated[MmapParams, Params(MmapParams, "<QQQIIi4xqQQ")]) -> int:
    """Map a file or fresh memory; where it is."""
    vm, p = t.proc.vm, params
    if p.prot & _EXEC:
        t.needs("prot_exec")
    if p.prot & (MAP_FIXED | MAP_FIXED_NOREPLACE):
        t.needs("map_fixed")
    alignment = p.alignment or PAGE
    if alignment & (PAGE - 1):
        raise EINVAL
    size = regions.round_up(p.size)
    regions.check_user(vm, p.addr, p.addr + size)
    name = NAME.read(t, p.name, p.name_length) if p.name else b""
    _check_flags(p)
    anonymous, is_stack = bool(p.flags & MAP_ANONYMOUS), bool(p.flags & MAP_STACK)
    check_prot(t, p.prot, is_stack=is_stack, anonymous=anonymous)
    shared = bool(p.flags & MAP_SHARED)
    if is_stack and (shared or not anonymous):
        raise EINVAL
    traits = Traits(MMAP | (STACK if is_stack else 0), p.prot)
    backing: VMObject | None = None
    if not anonymous:
        backing = _of_file(t, p, traits, shared=shared)
    else:
        if shared:
            backing = SharedAnonymous()
        if p.flags & MAP_PURGEABLE:
            traits.purgeable = Purgeable()
    start = _place(t, p, size, alignment)
    if isinstance(backing, SharedFile):
        backing.check()
    region = Region(
        start, start + size, p.prot & 7, object=backing, offset=0 if anonymous else p.offset, shared=shared,
        noreserve=bool(p.flags & MAP_NORESERVE), max_prot=7 if not shared or traits.most & _WRITE else 5, label=name or b"",
    )
    region.traits = traits
    vm.map(region)
    return start


def _check_flags(p: MmapParams) -> None:
    """Raises EINVAL."""
    if not p.size or p.addr & (PAGE - 1):
        raise EINVAL
    if bool(p.flags & MAP_SHARED) == bool(p.flags & MAP_PRIVATE):
        raise EINVAL
    if p.flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) and p.flags & MAP_RANDOMIZED:
        raise EINVAL


def _of_file(t: Thread, p: MmapParams, traits: Traits, *, shared: bool) -> VMObject:
    """What backs a mapping of a file; `traits` learns what its description allows.  EINVAL, EBADF, ENODEV, EACCES, EOVERFLOW."""
    if p.offset < 0 or p.offset & (PAGE - 1):
        raise EINVAL
    file = t.proc.fds.get(p.fd)
    if file.vnode is not None and file.vnode.type == FileType.DIR:
        raise ENODEV
    if not file.can_read or (shared and p.prot & _WRITE and not file.can_write):
        raise EACCES
    if p.prot & _EXEC and t.proc.veil is not None and file.dentry is not None:
        t.proc.veil.check_open(file.dentry, Access.EXECUTE)         # what the user unveils; its own veil asks nothing here
    if p.offset + p.size > _MAX_OFFSET - PAGE:
        raise EOVERFLOW
    traits.most = _READ | _EXEC | (_WRITE if file.can_write else 0)
    backing = _object_of(t, file, p.offset, traits, end=p.offset + regions.round_up(p.size) if shared else 0)
    backing.host_fd(write=shared and file.can_write)
    return backing


def _object_of(t: Thread, file: File, offset: int, traits: Traits, *, end: int) -> VMObject:
    """The pages of an open file, shared ones up to `end`.  Raises ENODEV for what has none."""
    vnode = file.vnode
    if vnode is None or vnode.type != FileType.REG:
        raise ENODEV
    if isinstance(file, AnonymousFile):
        if offset:
            raise EINVAL
        traits.purgeable = file.purgeable
    elif end:
        return SharedFile(
            t.system, end, vnode, file.dentry, t.proc.fs.root, name=file.label, moved=t.system.object_moved, file=file,
        )
    return VnodeObject(vnode, file.dentry, t.proc.fs.root, name=file.label, moved=t.system.object_moved, file=file)


def _place(t: Thread, p: MmapParams, size: int, alignment: int) -> int:
    """Where it goes; MAP_FIXED takes away what is there.  Raises EPERM, ENOMEM, EINVAL."""
    vm = t.proc.vm
    if p.flags & MAP_FIXED:
        regions.unmap(vm, p.addr, p.size)
    check_total(t.proc, size)
    if p.flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) and p.addr and not p.flags & MAP_RANDOMIZED:
        regions.check_place(vm, p.addr, p.addr + size)
        return p.addr
    return regions.find_place(t, size, alignment, randomised=bool(p.flags & MAP_RANDOMIZED))


@syscall(pledge="stdio")
def sys_munmap(t: Thread, addr: Addr, size: Size) -> int:
    """Take a range away; holes in it are fine."""
    regions.unmap(t.proc.vm, addr, size)
    return 0


@syscall(pledge="stdio")
def sys_mprotect(t: Thread, addr: Addr, size: Size, prot: ProtWord) -> int:
    """Change what a range allows.  Nothing is changed where any of it must not be."""
    vm = t.proc.vm
    if prot & _EXEC:
        t.needs("prot_exec")
    start, end = regions.range_of(vm, addr, size)
    found = vm.overlapping(start, end)
    if not found:
        raise EINVAL
    for region in found:
        check_region(t, prot & 7, region, regions.changeable(region))
    if not vm.covered(start, end):
        raise ENOMEM
    if prot & _EXEC:
        ask_code(t, found)
    vm.protect(start, end, prot & 7)
    for region in vm.overlapping(start, end):
        assert region.traits is not None
        region.traits.history |= prot & 7
    return 0


class RemapParams(NamedTuple):
    """What is to be mapped anew."""

    old: Addr
    old_size: Size
    new_size: Size
    flags: MapWord


@syscall(pledge="stdio")
def sys_mremap(t: Thread, params: Annotated[RemapParams, Params(RemapParams, "<QQQI4x")]) -> int:
    """Make a whole shared mapping of a file private, in its place and with a new history; anything else is ENOTIMPL."""
    vm = t.proc.vm
    region = regions.whole(vm, *regions.expand(params.old, params.old_size))
    traits = regions.changeable(region)
    found = region.object
    is_file = region.shared and isinstance(found, VnodeObject) and not regions.is_anonymous(region)
    if not is_file or not params.flags & MAP_PRIVATE or params.flags & (MAP_ANONYMOUS | MAP_NORESERVE):
        raise ENOTIMPL
    assert isinstance(found, VnodeObject)
    if region.offset + region.length > page_ceil(found.vnode.getattr().size):
        regions.release(vm, region.start, region.end)
        raise EINVAL("the file ends before the mapping does, which is gone now")
    pages = VnodeObject(found.vnode, found.dentry, found.root, name=found.name, moved=found.moved, file=found.file)
    private = Region(region.start, region.end, region.prot, object=pages, offset=region.offset, label=region.label)
    private.traits = Traits(MMAP, region.prot, most=traits.most)
    vm.map(private)
    return private.start
