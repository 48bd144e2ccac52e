"""Thread-local storage that SerenityOS's kernel makes: a master copy for the process, a region for every thread.

    region                   [ … the thread's copy of the master | its own address, 8 bytes ]
                                                                   ^ FS base
Exec makes both for a program with PT_TLS and without a loader; the loader asks for them with allocate_tls.

Stated results: a refused exec leaves the old program's master copy in force, where the original forgets it; threads of a forked
child get their data, where the original forgets its size; over 64 MiB, which the kernel would have to copy, are ENOMEM.  An
alignment that is no power of two is taken by its mask, as there.
Source: Thread::make_thread_specific_region, sys$allocate_tls (reference, section 1.12).
"""

from __future__ import annotations

import struct
from typing import Final

from ring3.abi.flags import Prot
from ring3.abi.x86 import FS_BASE
from ring3.calls.serenity.regions import make_region, release, traits_of
from ring3.calls.sysarg import Addr, Size
from ring3.calls.syscall import syscall
from ring3.errors import EEXIST, EFAULT, EINVAL, ENOMEM, Errno
from ring3.exec.formats.serenity import THREAD_SPECIFIC, aligned
from ring3.proc.proc import Thread
from ring3.vm.region import PAGE
from ring3.vm.traits import PER_THREAD, MasterTls
from ring3.vm.vmspace import VMSpace

_POINTER: Final = 8
_PIECE: Final = 1 << 20
_MOST: Final = 64 << 20                     # of a master copy that is ever copied
_READ_WRITE: Final = int(Prot.READ | Prot.WRITE)


def thread_region(t: Thread) -> int:
    """A region for one more thread of `t`'s process: its FS base, 0 for a process without a master copy.  Raises ENOMEM."""
    vm = t.proc.vm
    master = vm.traits.tls if vm.traits is not None else None
    if master is None:
        return 0
    if master.size > _MOST:
        raise ENOMEM
    offset = aligned(master.size, max(master.alignment, _POINTER))
    region = make_region(t, offset + _POINTER, _READ_WRITE, THREAD_SPECIFIC, marks=PER_THREAD)
    pointer = region.start + offset
    _copy(vm, master.addr, pointer - aligned(master.size, master.alignment), master.size)
    vm.copyout(pointer, struct.pack("<Q", pointer))
    return pointer


def drop_thread_region(t: Thread) -> None:
    """The thread ends: its region goes, as far as its FS base tells which that is."""
    vm = t.proc.vm
    region = vm.find(t.cpu.regs[FS_BASE])
    if region is None or region.traits is None or not region.traits.marks & PER_THREAD:
        return
    try:
        release(vm, region.start, region.end)
    except Errno:               # it stays then: the process has all the regions one may have
        return


@syscall(pledge="stdio")
def sys_allocate_tls(t: Thread, initial_data: Addr, size: Size) -> int:
    """Make the master copy, and this thread's own at once; where the former is.

    Raises EINVAL for no whole pages, EEXIST for a second one, EFAULT where there are more threads or no data, ENOMEM.
    """
    p, vm = t.proc, t.proc.vm
    if not size or size % PAGE:
        raise EINVAL
    if vm.traits is not None and vm.traits.tls is not None:
        raise EEXIST
    if len(p.live_threads()) != 1:
        raise EFAULT
    if size > _MOST:
        raise ENOMEM
    region = make_region(t, size, _READ_WRITE, b"Master TLS")
    traits = traits_of(vm)
    try:
        _copy(vm, initial_data, region.start, size)
        traits.tls = MasterTls(region.start, size, PAGE)
        t.cpu.regs[FS_BASE] = thread_region(t)
    except Errno:
        traits.tls = None
        release(vm, region.start, region.end)
        raise
    return region.start


def _copy(vm: VMSpace, source: int, target: int, nbytes: int) -> None:
    """From one place of the guest's to another, a piece at a time; pages of zeros into fresh memory are left out.  EFAULT."""
    for done in range(0, nbytes, _PIECE):
        piece = vm.copyin(source + done, min(_PIECE, nbytes - done))
        if piece.count(0) != len(piece):
            vm.copyout(target + done, piece)


