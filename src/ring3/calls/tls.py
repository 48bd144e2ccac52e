"""Thread-local storage of x86: the segment bases of 64-bit code, the three GDT slots of 32-bit code.

arch_prctl is about registers, and so touches them; the two calls about slots are i386's own (`i386_process.py`).
Sources: arch_prctl(2), set_thread_area(2), arch/x86/kernel/tls.c.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, Any, Final

from ring3.abi.procrecords import UserDesc, Word
from ring3.abi.x86 import FS, FS_BASE, GS, GS_BASE
from ring3.calls.guest import fetch, store
from ring3.calls.procarg import Pointer
from ring3.calls.sysarg import Kind
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, ENODEV, EOPNOTSUPP, EPERM, ESRCH, from_oserror
from ring3.proc.proc import Thread

_SET_GS: Final = 0x1001
_SET_FS: Final = 0x1002
_GET_FS: Final = 0x1003
_GET_GS: Final = 0x1004
_GET_CPUID: Final = 0x1011
_SET_CPUID: Final = 0x1012
_GET_XCOMP_SUPP: Final = 0x1021
_GET_XCOMP_PERM: Final = 0x1022
_REQ_XCOMP_PERM: Final = 0x1023
_DEFAULT_XFEATURES: Final = 0x60000    # tile state of AMX: the only one that must be asked for

_SLOTS: Final = (12, 13, 14)
_EMPTY: Final = 0x28                   # read_exec_only | seg_not_present


class ArchCode(Kind):
    """arch_prctl's code, by name."""

    NAMES: Final = MappingProxyType({
        _SET_GS: "SET_GS", _SET_FS: "SET_FS", _GET_FS: "GET_FS", _GET_GS: "GET_GS", _GET_CPUID: "GET_CPUID",
        _SET_CPUID: "SET_CPUID", _GET_XCOMP_SUPP: "GET_XCOMP_SUPP", _GET_XCOMP_PERM: "GET_XCOMP_PERM",
        _REQ_XCOMP_PERM: "REQ_XCOMP_PERM", 0x3001: "CET_STATUS",
    })

    def show(self, t: Thread, value: Any) -> str:
        name = self.NAMES.get(value)
        return f"ARCH_{name}" if name else hex(value)


@syscall(pledge="stdio")
def sys_arch_prctl(t: Thread, code: Annotated[int, ArchCode()], addr: Pointer) -> int:
    """Set or read the FS and GS bases; ask about CPU features."""
    regs = t.cpu.regs
    if code in (_SET_FS, _SET_GS):
        if t.system.call_abi(t).word_size != 8:
            raise EINVAL
        if addr >= t.proc.vm.user_top:
            raise EPERM
        segment, base = (FS, FS_BASE) if code == _SET_FS else (GS, GS_BASE)
        regs[segment], regs[base] = 0, addr
        return 0
    if code in (_GET_FS, _GET_GS):
        if t.system.call_abi(t).word_size != 8:
            raise EINVAL
        store(t, Word, addr, regs[FS_BASE if code == _GET_FS else GS_BASE])
        return 0
    if code == _GET_CPUID:
        return 1
    if code == _SET_CPUID:
        raise ENODEV
    if code in (_GET_XCOMP_SUPP, _GET_XCOMP_PERM):
        t.proc.vm.copyout(addr, (t.system.facts.xfeatures & ~_DEFAULT_XFEATURES).to_bytes(8, "little"))
        return 0
    if code == _REQ_XCOMP_PERM:
        raise EINVAL if addr >= 64 else EOPNOTSUPP
    raise EINVAL


# --- 32-bit slots
def set_thread_area(target: Thread, caller: Thread, addr: int, *, allocate: bool) -> None:
    """do_set_thread_area.  Raises EFAULT, EINVAL, ESRCH when no slot is free."""
    desc: UserDesc = fetch(caller, UserDesc, addr)
    if not _acceptable(desc):
        raise EINVAL
    entry = desc.entry
    if entry == 0xFFFF_FFFF and allocate:
        entry = next((slot for slot in _SLOTS if slot not in target.tls_slots), -1)
        if entry < 0:
            raise ESRCH
        store(caller, UserDesc, addr, desc._replace(entry=entry))
    if entry not in _SLOTS:
        raise EINVAL
    empty = _is_empty(desc) or _is_zero(desc)
    data = desc._replace(entry=entry, flags=_EMPTY if empty else desc.flags & 0x7F)
    encoded = b"".join(word.to_bytes(4, "little") for word in data)
    try:
        target.cpu.set_thread_area(entry, encoded)
    except OSError as error:
        raise from_oserror(error) from error
    if empty:
        target.tls_slots.pop(entry, None)
    else:
        target.tls_slots[entry] = encoded


def get_thread_area(t: Thread, addr: int) -> None:
    """Fill in the struct at `addr` for the slot it names.  Raises EFAULT, EINVAL."""
    entry = int.from_bytes(t.proc.vm.copyin(addr, 4), "little")
    if entry not in _SLOTS:
        raise EINVAL
    slot = t.tls_slots.get(entry)
    if slot is None:
        store(t, UserDesc, addr, UserDesc(entry, 0, 0, _EMPTY))
    else:
        t.proc.vm.copyout(addr, slot)


def _is_empty(desc: UserDesc) -> bool:
    return desc.base == 0 and desc.limit == 0 and desc.flags & 0x3F == _EMPTY


def _is_zero(desc: UserDesc) -> bool:
    return desc.base == 0 and desc.limit == 0 and desc.flags & 0x3F == 0


def _acceptable(desc: UserDesc) -> bool:
    """tls_desc_okay: empty, all zero, or a present 32-bit data segment."""
    if _is_empty(desc) or _is_zero(desc):
        return True
    seg_32bit, contents, not_present = desc.flags & 1, desc.flags >> 1 & 3, desc.flags & 0x20
    return bool(seg_32bit) and contents <= 1 and not not_present
