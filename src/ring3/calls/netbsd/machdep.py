"""What NetBSD leaves to the CPU's port: sysarch(2), and restartable atomic sequences, which this port has not.

Sources: sysarch(2), x86/include/sysarch.h, rasctl(2).
"""

from __future__ import annotations

from ring3.abi.procrecords import Word as WordRecord
from ring3.abi.x86 import FS, FS_BASE, GS, GS_BASE
from ring3.calls.guest import fetch, store
from ring3.calls.procarg import Pointer
from ring3.calls.sysarg import Int, Size
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, EOPNOTSUPP
from ring3.proc.proc import Thread

_GET_GSBASE, _GET_FSBASE, _SET_GSBASE, _SET_FSBASE = 14, 15, 16, 17


@syscall(pledge="stdio")
def sys_sysarch(t: Thread, op: Int, parms: Pointer) -> int:
    """Set or read the bases of FS and GS, through a pointer to one word.  Tables of descriptors, I/O ports, MTRRs: EINVAL."""
    regs = t.cpu.regs
    if op in (_GET_FSBASE, _GET_GSBASE):
        store(t, WordRecord, parms, regs[FS_BASE if op == _GET_FSBASE else GS_BASE])
        return 0
    if op not in (_SET_FSBASE, _SET_GSBASE):
        raise EINVAL
    base: int = fetch(t, WordRecord, parms)
    if base >= t.proc.vm.user_top:
        raise EINVAL
    segment, register = (FS, FS_BASE) if op == _SET_FSBASE else (GS, GS_BASE)
    regs[segment], regs[register] = 0, base
    return 0


@syscall(pledge="stdio")
def sys_rasctl(t: Thread, addr: Pointer, length: Size, op: Int) -> int:
    """Threads here run on several CPUs at once: a sequence cannot be restarted for the others' sake."""
    del t, addr, length, op
    raise EOPNOTSUPP
