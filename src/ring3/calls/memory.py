"""System calls that make and unmake mappings: mmap, munmap, mprotect, mremap, brk.

Not here: advice, locking and syncing (`memadvice.py`), other processes' memory (`procmem.py`), the region list (`vm/vmspace.py`).
Sources: mmap(2), mprotect(2), mremap(2), brk(2), getrlimit(2); the order of checks is that of mm/{mmap,mprotect,mremap}.c.
"""

from __future__ import annotations

from typing import Final

from ring3.abi.flags import ACCMODE, Access, FileType, MapFlags, MountFlags, OpenFlags, Prot, RemapFlags
from ring3.calls.sysarg import Addr, Fd, MapFlag, ProtFlag, RemapFlag, Size
from ring3.calls.syscall import syscall
from ring3.errors import (
    EACCES,
    EBADF,
    EEXIST,
    EFAULT,
    EINVAL,
    ENODEV,
    ENOMEM,
    EOPNOTSUPP,
    EOVERFLOW,
    EPERM,
    Errno,
)
from ring3.proc.memlimits import check_data, check_locked, check_total
from ring3.proc.proc import Rlimit, Thread
from ring3.vfs.file import File, PathFile
from ring3.vfs.mapping import VnodeObject
from ring3.vfs.memfd import F_SEAL_FUTURE_WRITE, F_SEAL_WRITE, SealedVnode
from ring3.vm.region import PAGE, Region, SharedAnonymous, VMObject, page_ceil, page_floor
from ring3.vm.vmspace import VMSpace

_M = MapFlags
_TYPE: Final = 0x0F
_SHARED, _PRIVATE, _VALIDATE = 1, 2, 3
_KNOWN: Final = int(
    _M.SHARED | _M.PRIVATE | _M.FIXED | _M.ANONYMOUS | _M.MAP_32BIT | _M.GROWSDOWN | _M.DENYWRITE | _M.EXECUTABLE | _M.LOCKED
    | _M.NORESERVE | _M.POPULATE | _M.NONBLOCK | _M.STACK | _M.HUGETLB
) | 0xFC00_0000
_MAX_OFFSET: Final = 1 << 63
_LOW_32BIT: Final = (0x4000_0000, 0x8000_0000)      # where MAP_32BIT puts things
_ZERO_DEVICE: Final = 1 << 8 | 5
_PERSONA_READ_IMPLIES_EXEC: Final = 0x0400000
_MMAP_MIN: Final = 0x10000
_WORD: Final = (1 << 64) - 1


@syscall(pledge="stdio")
def sys_mmap(t: Thread, addr: Addr, length: Size, prot: ProtFlag, flags: MapFlag, fd: Fd, offset: Size) -> int:
    """Map a file or fresh memory."""
    if offset & (PAGE - 1):
        raise EINVAL
    return do_mmap(t, addr, length, int(prot), int(flags), fd, offset)


def do_mmap(t: Thread, addr: int, length: int, prot: int, flags: int, fd: int, offset: int, most: int = 7) -> int:
    """mmap with a checked offset in bytes; where it was mapped.  `most` is what mprotect may give it later.

    Raises what mmap(2) lists.
    """
    file: File | None = None
    if prot & Prot.EXEC and t.proc.confinement is not None:
        writable = bool(prot & Prot.WRITE or flags & _TYPE != _PRIVATE)
        _ask_exec(t, None if flags & _M.ANONYMOUS else t.proc.fds.get(fd), writable=writable)
    if not flags & _M.ANONYMOUS:
        file = t.proc.fds.get(fd)
        if isinstance(file, PathFile):
            raise EBADF
        if flags & _M.HUGETLB:
            raise EINVAL
    elif flags & _M.HUGETLB:
        raise ENOMEM
    if not length:
        raise EINVAL
    vm = t.proc.vm
    length = page_ceil(length)
    if length > vm.user_top:
        raise ENOMEM
    if offset + length > 1 << 64:
        raise EOVERFLOW
    if t.proc.personality_flags & _PERSONA_READ_IMPLIES_EXEC and prot & Prot.READ and not _on_noexec(file):
        prot |= Prot.EXEC
    start = _place(t, addr, length, flags)
    if flags & _M.LOCKED:
        check_locked(t.proc, length, mapping=True)
    if file is not None:
        backing, max_prot = _file_backing(t, file, prot, flags, offset, length)
    else:
        backing, max_prot = _fresh_backing(flags)
    shared = flags & _TYPE != _PRIVATE
    replaced = sum(min(r.end, start + length) - max(r.start, start) for r in vm.overlapping(start, start + length))
    check_total(t.proc, length - replaced)
    if prot & Prot.WRITE and not shared and not flags & _M.GROWSDOWN:
        check_data(t.proc, length)
    region = Region(
        start, start + length, prot & 7, object=backing, offset=offset if isinstance(backing, VnodeObject) else 0, shared=shared,
        growsdown=bool(flags & _M.GROWSDOWN), noreserve=bool(flags & _M.NORESERVE), max_prot=max_prot & most,
    )
    region.locked = bool(flags & _M.LOCKED)
    vm.map(region)
    return start


def _place(t: Thread, addr: int, length: int, flags: int) -> int:
    """Where the mapping goes.  Raises EINVAL, ENOMEM, EEXIST, EPERM."""
    vm = t.proc.vm
    if flags & (_M.FIXED | _M.FIXED_NOREPLACE):
        if addr > vm.user_top - length:
            raise ENOMEM
        if addr & (PAGE - 1):
            raise EINVAL
        if addr < vm.min_addr:
            raise EPERM
        if flags & _M.FIXED_NOREPLACE and vm.overlapping(addr, addr + length):
            raise EEXIST
        return addr
    hint = page_floor(addr)
    if hint and hint < max(vm.min_addr, _MMAP_MIN):
        hint = page_ceil(max(vm.min_addr, _MMAP_MIN))
    if flags & _M.MAP_32BIT and t.system.call_abi(t).word_size == 8:
        low, high = _LOW_32BIT
        return vm.find_gap(length, hint=hint if hint + length <= high else 0, low=low, high=high)
    return vm.find_gap(length, hint=hint)


def _fresh_backing(flags: int) -> tuple[VMObject | None, int]:
    kind = flags & _TYPE
    if kind == _SHARED:
        if flags & _M.GROWSDOWN:
            raise EINVAL
        return SharedAnonymous(), 7
    if kind == _PRIVATE:
        return None, 7
    raise EINVAL


def _on_noexec(file: File | None) -> bool:
    return file is not None and file.dentry is not None and bool(file.dentry.mount.flags & MountFlags.NOEXEC)


def _file_backing(t: Thread, file: File, prot: int, flags: int, offset: int, length: int) -> tuple[VMObject | None, int]:
    """What backs a mapping of `file`, and the most mprotect may give it later.

    Raises EACCES, EPERM (noexec), EOPNOTSUPP, EOVERFLOW, ENODEV.
    """
    if offset + length > _MAX_OFFSET:
        raise EOVERFLOW
    mode = int(file.flags) & ACCMODE
    readable, writable = mode != OpenFlags.WRONLY, mode != OpenFlags.RDONLY
    kind = flags & _TYPE
    if kind not in (_SHARED, _PRIVATE, _VALIDATE):
        raise EINVAL
    if kind == _VALIDATE and flags & ~(_KNOWN | int(_M.FIXED_NOREPLACE)):
        raise EOPNOTSUPP
    shared = kind != _PRIVATE
    if shared and prot & Prot.WRITE and not writable:
        raise EACCES
    if not readable:
        raise EACCES
    max_prot = 7
    if _on_noexec(file):
        if prot & Prot.EXEC:
            raise EPERM
        max_prot &= ~int(Prot.EXEC)
    if shared and not writable:
        max_prot &= ~int(Prot.WRITE)
    if shared and isinstance(file.vnode, SealedVnode) and file.vnode.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE):
        if prot & Prot.WRITE:
            raise EPERM
        max_prot &= ~int(Prot.WRITE)
    backing = _object_of(t, file, shared=shared)
    if flags & _M.GROWSDOWN:
        raise EINVAL
    if backing is not None and not backing.anonymous:
        backing.host_fd(write=shared and bool(max_prot & Prot.WRITE))
    return backing, max_prot


def _object_of(t: Thread, file: File, *, shared: bool) -> VMObject | None:
    """The pages of an open file; /dev/zero gives fresh memory.  Raises ENODEV for what cannot be mapped."""
    vnode = file.vnode
    if vnode is None or vnode.type not in (FileType.REG, FileType.CHR):
        raise ENODEV
    if vnode.type == FileType.CHR:
        if vnode.getattr().rdev != _ZERO_DEVICE:
            raise ENODEV
        return SharedAnonymous() if shared else None
    return VnodeObject(vnode, file.dentry, t.proc.fs.root, name=file.label, moved=t.system.object_moved, file=file)


@syscall(pledge="stdio")
def sys_munmap(t: Thread, addr: Addr, length: Size) -> int:
    """Unmap a range; holes in it are fine."""
    if addr & (PAGE - 1) or not length:
        raise EINVAL
    _unmap(t.proc.vm, addr, addr + page_ceil(length))
    return 0


def _ask_exec(t: Thread, file: File | None, *, writable: bool) -> None:
    """A named file's own pages need no promise, as loaders map them, but must be unveiled to be run.

    Raises EPERM, EACCES, ENOENT.
    """
    dentry = file.dentry if file is not None else None
    if writable or dentry is None or dentry.deleted:
        t.needs("prot_exec")
    elif t.proc.veil is not None:
        t.proc.veil.check_open(dentry, Access.EXECUTE)


def ask_code(t: Thread, regions: list[Region]) -> None:
    """Memory that becomes code needs a promise, and the files it shows must be unveiled to be run.

    Raises EPERM, EACCES, ENOENT.
    """
    t.needs("prot_exec")
    if t.proc.veil is not None:
        for region in regions:
            if isinstance(region.object, VnodeObject) and region.object.dentry is not None and not region.prot & Prot.EXEC:
                t.proc.veil.check_open(region.object.dentry, Access.EXECUTE)


def _unmap(vm: VMSpace, start: int, end: int) -> None:
    """Raises EINVAL for a range that leaves what a program may have."""
    if end > vm.user_top:
        raise EINVAL
    vm.unmap(start, end)


@syscall(pledge="stdio")
def sys_mprotect(t: Thread, addr: Addr, length: Size, prot: ProtFlag) -> int:
    """Change the protection of a range."""
    word = int(prot)
    grows = word & (Prot.GROWSDOWN | Prot.GROWSUP)
    word &= ~grows
    if grows == Prot.GROWSDOWN | Prot.GROWSUP or addr & (PAGE - 1):
        raise EINVAL
    if not length:
        return 0
    end = addr + page_ceil(length)
    if end <= addr or end > 1 << 64:
        raise ENOMEM
    if word & ~0xF:
        raise EINVAL
    vm = t.proc.vm
    first = vm.overlapping(addr, end)
    if word & Prot.EXEC:
        ask_code(t, first)
    if not first:
        raise ENOMEM
    if grows & Prot.GROWSDOWN:
        if not first[0].growsdown:
            raise EINVAL
        addr = first[0].start
    elif grows or first[0].start > addr:
        raise EINVAL if grows else ENOMEM
    return _protect(t, addr, end, word & 7, read_implies_exec=bool(t.proc.personality_flags & _PERSONA_READ_IMPLIES_EXEC))


def _protect(t: Thread, addr: int, end: int, prot: int, *, read_implies_exec: bool) -> int:
    """Region after region, as Linux does: what came before a refusal stays changed."""
    vm = t.proc.vm
    if read_implies_exec and prot & Prot.READ:
        prot |= Prot.EXEC
    good_until = addr
    refusal: type[Errno] | None = None
    for region in vm.overlapping(addr, end):
        if region.start > good_until:
            refusal = ENOMEM
            break
        if prot & ~region.max_prot:
            refusal = EACCES
            break
        if prot & Prot.WRITE and not region.prot & Prot.WRITE and not region.shared and not region.growsdown:
            check_data(t.proc, min(region.end, end) - max(region.start, addr))
        good_until = region.end
    else:
        if good_until < end:
            refusal = ENOMEM
    if good_until > addr:
        vm.protect(addr, min(good_until, end), prot)
    if refusal is not None:
        raise refusal
    return 0


@syscall(pledge="stdio")
def sys_brk(t: Thread, addr: Addr) -> int:
    """Move the end of the heap; where it is now, moved or not."""
    p, vm = t.proc, t.proc.vm
    if addr < vm.brk_start or addr > vm.user_top:
        return vm.brk_end
    growth = page_ceil(addr) - page_ceil(vm.brk_end)
    limit = p.rlimit(Rlimit.DATA)
    if addr - vm.brk_start > limit:
        return vm.brk_end
    try:
        if growth > 0:
            check_total(p, growth)
            check_data(p, growth)
        vm.set_brk(addr)
    except Errno:
        return vm.brk_end
    return vm.brk_end


# --- mremap
@syscall(pledge="stdio")
def sys_mremap(t: Thread, old_address: Addr, old_size: Size, new_size: Size, flags: RemapFlag, new_address: Addr) -> int:
    """Resize or move a mapping."""
    word = int(flags)
    fixed, maymove, keep = (bool(word & int(flag)) for flag in (RemapFlags.FIXED, RemapFlags.MAYMOVE, RemapFlags.DONTUNMAP))
    if word & ~7 or (fixed and not maymove) or (keep and (not maymove or old_size != new_size)) or old_address & (PAGE - 1):
        raise EINVAL
    old_len, new_len = (page_ceil(size) & _WORD for size in (old_size, new_size))     # wraps, as Linux's PAGE_ALIGN
    if not new_len:
        raise EINVAL
    vm = t.proc.vm
    region = vm.find(old_address)
    if region is None:
        raise EFAULT
    if fixed or keep:
        return _move_to(t, old_address, old_len, new_len, new_address, fixed=fixed, keep=keep)
    if old_len >= new_len:
        if old_len > new_len:
            _unmap(vm, old_address + new_len, old_address + old_len)
        return old_address
    _check_resize(t, region, old_address, old_len, new_len)
    if old_len and old_address + old_len == region.end and _room_behind(t, region, new_len - old_len):
        return _grow(t, region, old_address, new_len)
    if not maymove:
        raise ENOMEM
    start = vm.find_gap(new_len)
    vm.move(old_address, old_len, start, new_len)
    return start


def _room_behind(t: Thread, region: Region, nbytes: int) -> bool:
    vm = t.proc.vm
    return region.end + nbytes <= vm.user_top and not vm.overlapping(region.end, region.end + nbytes)


def _grow(t: Thread, region: Region, address: int, new_len: int) -> int:
    """Longer in place; the part before `address` is a region of its own for the machine's sake, if there is one."""
    vm = t.proc.vm
    if address > region.start:
        region = vm.split(address, region.end)[0]
    vm.grow(region, address + new_len)
    return address


def _check_resize(t: Thread, region: Region, address: int, old_len: int, new_len: int) -> None:
    """vma_to_resize.  Raises EINVAL, EFAULT, EAGAIN, ENOMEM."""
    if not old_len and not region.shared:
        raise EINVAL
    if old_len > region.end - address:
        raise EFAULT
    if new_len == old_len:
        return
    if region.label in (b"[vdso]", b"[vvar]"):
        raise EFAULT
    growth = new_len - old_len
    if region.locked:
        check_locked(t.proc, growth, mapping=True)
    check_total(t.proc, growth)
    if region.prot & Prot.WRITE and not region.shared and not region.growsdown:
        check_data(t.proc, growth)


def _move_to(
    t: Thread, address: int, old_len: int, new_len: int, target: int, *, fixed: bool, keep: bool
) -> int:
    """mremap_to: to a given place (`fixed`), or leaving the old one mapped and empty (`keep`)."""
    vm = t.proc.vm
    if target & (PAGE - 1) or new_len > vm.user_top or target > vm.user_top - new_len:
        raise EINVAL
    if address + old_len > target and target + new_len > address:
        raise EINVAL
    if fixed:
        if target < vm.min_addr:
            raise EPERM
        vm.unmap(target, target + new_len)
    if old_len > new_len:
        _unmap(vm, address + new_len, address + old_len)
        old_len = new_len
    found = vm.find(address)
    if found is None:
        raise EFAULT
    _check_resize(t, found, address, old_len, new_len)
    if keep:
        check_total(t.proc, new_len)
    start = target if fixed else vm.find_gap(new_len, hint=target)
    vm.move(address, old_len, start, new_len, keep=keep)
    return start

