"""What memory may be made: never written and executed at once, nor one after the other; no more than its file's description says.

A region remembers all it ever allowed.  Mounts can be exempt: what counts is the one the running program came from.
Source: validate_mmap_prot, validate_inode_mmap_prot (Kernel/Syscalls/mmap.cpp; reference, section 1.17).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ring3.abi.elf import ELF64
from ring3.abi.flags import MountFlags, Prot
from ring3.calls.serenity.regions import is_anonymous
from ring3.errors import EACCES, EINVAL, Errno
from ring3.vfs.mapping import VnodeObject
from ring3.vm.traits import STACK

if TYPE_CHECKING:
    from ring3.proc.proc import Thread
    from ring3.vm.region import Region
    from ring3.vm.traits import Traits

_READ, _WRITE, _EXEC = int(Prot.READ), int(Prot.WRITE), int(Prot.EXEC)
_ET_DYN: Final = 3


def check_prot(t: Thread, prot: int, *, is_stack: bool, anonymous: bool, region: Region | None = None) -> None:
    """What new memory, or a region there is, may become.  Raises EINVAL."""
    exempt = _mount_flags(t)
    if anonymous and prot & _EXEC and not exempt & MountFlags.AXALLOWED:
        raise EINVAL("fresh memory is not for code")
    if is_stack and prot & _EXEC:
        raise EINVAL("a stack is not for code")
    if exempt & MountFlags.WXALLOWED:
        return
    if prot & (_WRITE | _EXEC) == _WRITE | _EXEC:
        raise EINVAL("to be written and executed")
    history = region.traits.history if region is not None and region.traits is not None else 0
    if prot & _WRITE and history & _EXEC:
        raise EINVAL("it has been executable")
    if prot & _EXEC and history & _WRITE and not (region is not None and _is_relocated_text(region, prot)):
        raise EINVAL("it has been writable")


def check_region(t: Thread, prot: int, region: Region, traits: Traits) -> None:
    """What mprotect may give a region.  Raises EINVAL, EACCES."""
    check_prot(t, prot, is_stack=bool(traits.marks & STACK), anonymous=is_anonymous(region), region=region)
    if not is_anonymous(region):
        if prot & _READ and not traits.most & _READ:
            raise EACCES
        if region.shared and prot & _WRITE and not traits.most & _WRITE:
            raise EACCES


def _mount_flags(t: Thread) -> int:
    exe = t.proc.exe
    return int(exe.mount.flags) if exe is not None else 0


def _is_relocated_text(region: Region, prot: int) -> bool:
    """The loader's exception: a private mapping of a shared object that text relocations were written to."""
    found = region.object
    if region.prot != _READ | _WRITE or prot != _READ | _EXEC or region.shared or not isinstance(found, VnodeObject):
        return False
    from ring3.exec.formats.libelf import EHDR_SIZE, header_fault

    try:
        data = found.vnode.read(0, EHDR_SIZE)
        if len(data) != EHDR_SIZE:
            return False
        ehdr = ELF64.ehdr.decode(data)
        return header_fault(ehdr, found.vnode.getattr().size) is None and ehdr.type == _ET_DYN
    except Errno:
        return False
