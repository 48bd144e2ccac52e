"""System calls about the system as a whole: its name, its resources, random numbers.

Not here: what only an administrator may do (`admin.py`).
Sources: uname(2), sysinfo(2), getrandom(2), personality(2), sethostname(2), membarrier(2).
"""

from __future__ import annotations

import os
import time
from random import SystemRandom
from typing import Annotated, Final

from ring3.abi.procrecords import SystemInfo, Utsname
from ring3.calls.procarg import Pointer, RandomFlags
from ring3.calls.sysarg import Int, Out, OutBuf, OutRecord, Size, UInt
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, EPERM
from ring3.proc.jails import known_procs
from ring3.proc.proc import Thread
from ring3.waiting import sleep_on

_NAME_MAX: Final = 64
_PIECE: Final = 1 << 18
_RANDOM_MAX: Final = (1 << 31) - 1 & ~0xFFF
_PER_LINUX32: Final = 8
_PER_MASK: Final = 0xFF
_QUERY: Final = 0xFFFF_FFFF
_READ_IMPLIES_EXEC: Final = 0x0400000
_GRND_RANDOM, _GRND_INSECURE = 2, 4

UtsnameOut = Annotated[Out, OutRecord(Utsname)]
SystemInfoOut = Annotated[Out, OutRecord(SystemInfo)]


def names(t: Thread) -> Utsname:
    """What uname(2) tells this process."""
    p, system = t.proc, t.system
    who = p.personality
    machine = who.machine_name
    if p.personality_flags & _PER_MASK == _PER_LINUX32 and machine == "x86_64":
        machine = "i686"
    return Utsname(
        who.sysname.encode(), system.hostname, who.release.encode(), who.version.encode(), machine.encode(), system.domainname
    )


@syscall(pledge="stdio")
def sys_uname(t: Thread, name: UtsnameOut) -> int:
    """Names and version of the system."""
    name.put(names(t))
    return 0


@syscall(pledge="root")
def sys_sethostname(t: Thread, name: Pointer, len: Int) -> int:  # noqa: A002
    """Name this kernel."""
    t.system.hostname = _new_name(t, name, len)
    return 0


@syscall(pledge="root")
def sys_setdomainname(t: Thread, name: Pointer, len: Int) -> int:  # noqa: A002
    """Name the NIS domain."""
    t.system.domainname = _new_name(t, name, len)
    return 0


def _new_name(t: Thread, addr: int, length: int) -> bytes:
    if not t.proc.cred.privileged:
        raise EPERM
    if not 0 <= length <= _NAME_MAX:
        raise EINVAL
    return t.proc.vm.copyin(addr, length).split(b"\0")[0]


@syscall(pledge="stdio")
def sys_sysinfo(t: Thread, info: SystemInfoOut) -> int:
    """Memory, load and uptime: the host's."""
    page = os.sysconf("SC_PAGE_SIZE")
    total, free = os.sysconf("SC_PHYS_PAGES") * page, os.sysconf("SC_AVPHYS_PAGES") * page
    loads = [int(load * 65536) for load in os.getloadavg()]
    uptime = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000_000
    count = min(sum(len(p.threads) for p in known_procs(t)), 0xFFFF)
    info.put(SystemInfo(uptime, loads[0], loads[1], loads[2], total, free, 0, 0, 0, 0, count, 0, 0))
    return 0


@syscall(pledge="stdio")
async def sys_getrandom(t: Thread, buf: OutBuf, buflen: Size, flags: RandomFlags) -> int:
    """Random bytes; from the kernel's seed where it has one."""
    if flags & ~7 or flags & (_GRND_RANDOM | _GRND_INSECURE) == _GRND_RANDOM | _GRND_INSECURE:
        raise EINVAL
    total = min(buflen, _RANDOM_MAX)
    done = 0
    while True:
        nbytes = min(total - done, _PIECE)
        t.proc.vm.copyout(buf + done, random_bytes(t, nbytes))
        done += nbytes
        if done == total:
            return done
        await sleep_on(deadline_ns=t.system.now_ns())          # let others have their turn


def random_bytes(t: Thread, nbytes: int) -> bytes:
    """From the host, or from the kernel's seeded generator."""
    generator = t.system.random
    if isinstance(generator, SystemRandom):
        return os.urandom(nbytes)
    return generator.randbytes(nbytes)


@syscall(pledge="stdio")
def sys_personality(t: Thread, persona: UInt) -> int:
    """Set or read the execution domain and its flags."""
    old = t.proc.personality_flags
    if persona != _QUERY:
        if persona & _READ_IMPLIES_EXEC:
            t.needs("prot_exec")
        t.proc.personality_flags = persona
    return old


@syscall(pledge="stdio")
def sys_membarrier(t: Thread, cmd: Int, flags: UInt, cpu_id: Int) -> int:
    """Memory barriers on all threads: none are offered, which the query says."""
    del t, cpu_id
    if flags or cmd:
        raise EINVAL
    return 0
