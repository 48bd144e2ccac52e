"""Reading and writing the memory of another process of the same kernel: process_vm_readv, process_vm_writev.

Source: process_vm_readv(2), mm/process_vm_access.c.
"""

from __future__ import annotations

from ring3.calls.buffers import GuestBuffers, read_iovecs
from ring3.calls.procarg import Pointer
from ring3.calls.sysarg import Pid, Size
from ring3.calls.syscall import syscall
from ring3.errors import EFAULT, EINVAL, ESRCH
from ring3.proc.proc import Thread
from ring3.proc.targets import check_same_owner, find_process
from ring3.vm.vmspace import VMSpace

_PIECE = 1 << 20


@syscall(pledge="ptrace")
def sys_process_vm_readv(t: Thread, pid: Pid, lvec: Pointer, liovcnt: Size, rvec: Pointer, riovcnt: Size, flags: Size) -> int:
    """Copy from another process."""
    here, there, remote = _sides(t, pid, (lvec, liovcnt), (rvec, riovcnt), flags)
    return _copy(there, GuestBuffers(t.proc.vm, here)) if remote is not None else 0


@syscall(pledge="ptrace")
def sys_process_vm_writev(t: Thread, pid: Pid, lvec: Pointer, liovcnt: Size, rvec: Pointer, riovcnt: Size, flags: Size) -> int:
    """Copy to another process."""
    here, there, remote = _sides(t, pid, (lvec, liovcnt), (rvec, riovcnt), flags)
    return _copy(GuestBuffers(t.proc.vm, here), there) if remote is not None else 0


def _sides(
    t: Thread, pid: int, local: tuple[int, int], remote: tuple[int, int], flags: int
) -> tuple[list[tuple[int, int]], GuestBuffers, VMSpace | None]:
    """Raises EINVAL, EFAULT, ESRCH, EPERM.  No space where nothing is asked for."""
    if flags:
        raise EINVAL
    here = read_iovecs(t, *local)
    remote_ranges = read_iovecs(t, *remote)
    if not sum(length for _, length in here):
        return here, GuestBuffers(t.proc.vm, ()), None
    target = find_process(t, pid)
    check_same_owner(t, target)
    if target.zombie:
        raise ESRCH
    return here, GuestBuffers(target.vm, remote_ranges), target.vm


def _copy(source: GuestBuffers, target: GuestBuffers) -> int:
    """What fits on both sides, up to the first byte that cannot be reached; EFAULT when that is the very first."""
    total = min(source.total, target.total)
    done = 0
    while done < total:
        try:
            data = source.gather(done, min(_PIECE, total - done))
            went = target.scatter(done, data)
        except EFAULT:
            if done:
                break
            raise
        done += went
        if went < len(data) or not data:
            break
    return done
