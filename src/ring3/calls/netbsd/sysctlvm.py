"""What __sysctl(2) tells of memory and time used by the machine as a whole: vm, kern.cp_time, machdep (vmstat, top, ld.elf_so).

Memory and CPU times are the host's, which all guests share; counters of NetBSD's pager, which is not here, are 0.
Sources: sysctl(7), uvm/uvm_param.h, uvm/uvm_meter.c, sys/kern/kern_cpu.c (sysctl_kern_cp_time), x86/cpu.h.
"""

from __future__ import annotations

import os
import struct
from typing import Final

from ring3.abi.netbsd.kinfo import UVMEXP2, VMTOTAL
from ring3.calls.netbsd.sysctlnode import (
    DYNAMIC,
    Asked,
    Kind,
    Reply,
    asking_node,
    int_node,
    node_of,
    quad_node,
    struct_node,
    text_node,
    whole,
)
from ring3.calls.netbsd.sysctlprocs import VM_PROC
from ring3.errors import EINVAL
from ring3.proc.proc import Thread, ThreadState
from ring3.proc.procfs.maps import space_of
from ring3.vm.region import PAGE

_FSCALE: Final = 2048
_INT_MAX: Final = (1 << 31) - 1
_PAGE_SHIFT: Final = 12
_STATES: Final = 5                     # user, nice, system, interrupt, idle


def load(t: Thread, _room: int) -> bytes:
    """struct loadavg."""
    loads = [int(load * _FSCALE) for load in os.getloadavg()]
    wide = t.system.call_abi(t).word_size == 8
    return struct.pack("<3I4xq" if wide else "<3Ii", *loads, _FSCALE)


def memory() -> int:
    """Bytes of the machine."""
    return os.sysconf("SC_PHYS_PAGES") * PAGE


def _pages() -> tuple[int, int]:
    """All, free."""
    return os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_AVPHYS_PAGES")


def _uvmexp(_t: Thread, _room: int) -> bytes:
    npages, free = _pages()
    return UVMEXP2.pack({
        "pagesize": PAGE, "pagemask": PAGE - 1, "pageshift": _PAGE_SHIFT, "npages": npages, "free": free, "active": npages - free,
    })


def _vmtotal(t: Thread, _room: int) -> bytes:
    """struct vmtotal: threads by what they do, and pages."""
    threads = [thread for thread in t.system.threads.values() if thread.state is not ThreadState.DEAD]
    sleeping = sum(thread.state is ThreadState.SLEEPING for thread in threads)
    spaces = [vm for vm in map(space_of, t.system.procs.values()) if vm is not None]
    total = min(sum(vm.total_bytes for vm in spaces) // PAGE, _INT_MAX)
    resident = min(sum(vm.machine.resident() for vm in spaces) // PAGE, _INT_MAX)
    return VMTOTAL.pack({
        "rq": min(len(threads) - sleeping, 32767), "sl": min(sleeping, 32767), "vm": total, "avm": total, "rm": resident,
        "arm": resident, "free": min(_pages()[1], _INT_MAX),
    })


# --- CPU time
def _cpu_lines() -> list[list[int]]:
    """The host's ticks: all CPUs together, then each."""
    try:
        with open("/proc/stat", "rb") as stat:
            lines = stat.read(1 << 16).splitlines()
    except OSError:
        return []
    return [[int(word) for word in line.split()[1:]] for line in lines if line.startswith(b"cpu")]


def _ticks(line: list[int]) -> bytes:
    """user, nice, system, interrupt, idle: what the host tells apart beyond those is counted where it belongs."""
    user, nice, system, idle, iowait, irq, softirq = (line + [0] * 7)[:7]
    return struct.pack(f"<{_STATES}Q", user, nice, system, irq + softirq, idle + iowait)


def _cp_time(t: Thread, asked: Asked) -> Reply:
    """kern.cp_time: all CPUs together, or each where there is room for each; one, where its number is behind the name."""
    lines = _cpu_lines()
    if len(asked.rest) > 1 or len(lines) < 2:
        raise EINVAL
    ncpus = min(t.system.facts.ncpus, len(lines) - 1)
    if asked.rest:
        if not 0 <= asked.rest[0] < ncpus:
            raise EINVAL
        return whole(_ticks(lines[1 + asked.rest[0]]), asked)
    if asked.wanted and asked.room == 8 * _STATES * ncpus and ncpus > 1:
        return whole(b"".join(_ticks(line) for line in lines[1 : 1 + ncpus]), asked)
    return whole(_ticks(lines[0]), asked)


def _cpu_ids(t: Thread, _room: int) -> bytes:
    return struct.pack(f"<{t.system.facts.ncpus}Q", *range(t.system.facts.ncpus))


CP_TIME: Final = asking_node(51, "cp_time", Kind.STRUCT, _cp_time)
CP_ID: Final = struct_node(79, "cp_id", _cpu_ids)
VM: Final = node_of(
    2, "vm",
    struct_node(1, "vmmeter", _vmtotal),
    struct_node(2, "loadavg", load),
    struct_node(5, "uvmexp2", _uvmexp),
    int_node(9, "maxslp", 20),
    quad_node(14, "minaddress", lambda t: t.proc.vm.min_addr),
    quad_node(15, "maxaddress", lambda t: t.proc.vm.user_top),
    VM_PROC,
    int_node(17, "guard_size", 1 << 20),
    int_node(18, "thread_guard_size", 64 << 10),
)
MACHDEP: Final = node_of(
    7, "machdep",
    int_node(7, "fpu_present", 1),
    int_node(8, "osfxsr", 1),
    int_node(9, "sse", 1),
    int_node(10, "sse2", 1),
    text_node(DYNAMIC, "cpu_brand", lambda _t: b"virtual CPU"),
)
