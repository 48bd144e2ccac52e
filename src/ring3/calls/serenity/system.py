"""SerenityOS's calls about the system as a whole, and small ones that belong nowhere: names, limits, random bytes, dumpable.

Not here: clocks (`time.py`), the kernel's log (`debug.py`), the keyboard (`keyboard.py`).
Source: Kernel/Syscalls/{uname,hostname,sysconf,getrandom,prctl,emuctl}.cpp (reference, sections 2.3, 4.7 to 4.9).
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from ring3.abi.procrecords import Utsname
from ring3.calls import io, system
from ring3.calls.serenity.argument import copy_text
from ring3.calls.sysarg import Addr, Int, Number, Out, OutBuf, OutRecord, Size, UInt, Word
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, ENAMETOOLONG, ENOSYS, EPERM
from ring3.proc.proc import Thread

HOST_NAME_MAX: Final = 64
_SIGN: Final = 1 << 63
_PROCESSORS: Final = (1, 2)
# sysconf's selectors; the two of processors are asked of the machine.
_LIMITS: Final = {
    0: 1, 3: 1024, 4: HOST_NAME_MAX, 5: 32, 6: 4096, 7: 4096, 8: 250, 9: 8, 11: 131072, 12: 1024,
}
_SELECTORS: Final = (
    "MONOTONIC_CLOCK", "NPROCESSORS_CONF", "NPROCESSORS_ONLN", "OPEN_MAX", "HOST_NAME_MAX", "TTY_NAME_MAX", "PAGESIZE",
    "GETPW_R_SIZE_MAX", "CLK_TCK", "SYMLOOP_MAX", "MAPPED_FILES", "ARG_MAX", "IOV_MAX",
)
SET_DUMPABLE, GET_DUMPABLE = 1, 2

UtsnameOut = Annotated[Out, OutRecord(Utsname)]
Selector = Annotated[int, Number({number: f"_SC_{name}" for number, name in enumerate(_SELECTORS)})]
PrctlOption = Annotated[int, Number({SET_DUMPABLE: "PR_SET_DUMPABLE", GET_DUMPABLE: "PR_GET_DUMPABLE"})]


@syscall(pledge="stdio")
def sys_uname(t: Thread, buf: UtsnameOut) -> int:
    """Names and version of the system.  EFAULT."""
    buf.put(system.names(t))
    return 0


@syscall(pledge="stdio")
def sys_gethostname(t: Thread, buffer: Addr, size: Size) -> int:
    """The system's name, with its zero.  EINVAL for a negative size, ENAMETOOLONG for too little room, EFAULT."""
    name = t.system.hostname + b"\0"
    if size >= _SIGN:
        raise EINVAL
    if size < len(name):
        raise ENAMETOOLONG
    t.proc.vm.copyout(buffer, name)
    return 0


@syscall(pledge="root")
def sys_sethostname(t: Thread, buffer: Addr, length: Size) -> int:
    """Name this kernel.  EPERM unless root, ENAMETOOLONG over 64 bytes, EFAULT."""
    if not t.proc.cred.privileged:
        raise EPERM
    if length > HOST_NAME_MAX:
        raise ENAMETOOLONG
    t.system.hostname = copy_text(t, buffer, length)
    return 0


@syscall(pledge="")
def sys_sysconf(t: Thread, name: Selector) -> int:
    """One of the system's limits.  EINVAL."""
    if name in _PROCESSORS:
        return t.system.facts.ncpus
    found = _LIMITS.get(name)
    if found is None:
        raise EINVAL
    return found


@syscall(pledge="stdio")
async def sys_getrandom(t: Thread, buffer: OutBuf, size: Size, flags: UInt) -> int:
    """Random bytes, whatever the flags say; from the kernel's seed where it has one.  EINVAL for a negative size, EFAULT."""
    del flags
    if size >= _SIGN:
        raise EINVAL
    return int(await system.sys_getrandom.run(t, buffer, size, 0))


@syscall(pledge="stdio")
def sys_sync(t: Thread) -> int:
    """Have everything written; Linux's asks for no promise."""
    return int(io.sys_sync.run(t))


@syscall(pledge="")
def sys_prctl(t: Thread, option: PrctlOption, arg1: Word, arg2: Word) -> int:
    """Whether the process may be looked into, and leaves a core: set it, or ask.  EINVAL for anything else."""
    del arg2
    p = t.proc
    if option == GET_DUMPABLE:
        return int(bool(p.dumpable))
    if option != SET_DUMPABLE or arg1 not in (0, 1):
        raise EINVAL
    p.dumpable = arg1
    return 0


@syscall(pledge="")
def sys_emuctl(t: Thread, anything: Int) -> Any:
    """ENOSYS, always: so LibC finds out that it does not run in the userspace emulator."""
    del t, anything
    raise ENOSYS
