"""Limits on memory, counted from the region list: RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK.

Source: getrlimit(2), mm/mmap.c (may_expand_vm, is_data_mapping), mm/mlock.c.
"""

from __future__ import annotations

from ring3.abi.flags import Prot
from ring3.errors import EAGAIN, ENOMEM, EPERM
from ring3.proc.proc import RLIM_INFINITY, Proc, Rlimit


def check_total(p: Proc, growth: int) -> None:
    """Raises ENOMEM when `growth` more bytes of address space are too many (RLIMIT_AS)."""
    limit = p.rlimits[Rlimit.AS][0]
    if limit != RLIM_INFINITY and p.vm.total_bytes + growth > limit & ~0xFFF:
        raise ENOMEM


def check_data(p: Proc, growth: int) -> None:
    """Raises ENOMEM when `growth` more bytes of private writable memory are too many (RLIMIT_DATA)."""
    limit = p.rlimits[Rlimit.DATA][0]
    if limit != RLIM_INFINITY and data_bytes(p) + growth > limit & ~0xFFF:
        raise ENOMEM


def data_bytes(p: Proc) -> int:
    """Private writable memory that is no stack."""
    return sum(r.length for r in p.vm if r.prot & Prot.WRITE and not r.shared and not r.growsdown)


def locked_bytes(p: Proc) -> int:
    """Memory locked with mlock(2)."""
    return sum(r.length for r in p.vm if r.locked)


def may_lock(p: Proc) -> bool:
    """can_do_mlock: at all."""
    return p.cred.privileged or p.rlimit(Rlimit.MEMLOCK) > 0


def check_locked(p: Proc, growth: int, *, mapping: bool) -> None:
    """Whether `growth` more bytes may be locked.

    Raises EPERM where nothing may be; for too much, EAGAIN when `mapping` (mmap, mremap), else ENOMEM.
    """
    if not may_lock(p):
        raise EPERM
    if not p.cred.privileged and locked_bytes(p) + growth > p.rlimit(Rlimit.MEMLOCK):
        raise EAGAIN if mapping else ENOMEM
