"""The calls about processes, signals, memory and ids as only i386 has them: other orders of arguments, short sets and ids.

What differs in layout alone is in `layouts_process.py`; what differs in name alone is in `ALIASES`.  Names declared here replace
the shared ones in i386's table.  Frames and sigreturn are in `sigframe32.py`.
Source: arch/x86/entry/syscalls/syscall_32.tbl, kernel/signal.c, kernel/uid16.c, kernel/sys.c (olduname).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final

from ring3.abi.procrecords import Id16, OldRlimits, OldSigAction, OldSigSet, SigSet
from ring3.abi.records import Timespec64
from ring3.abi.signals import SaFlags, SigAction
from ring3.calls import clone as clone_calls
from ring3.calls import futex as futex_calls
from ring3.calls import ids, limits, signal, system
from ring3.calls.guest import fetch, store
from ring3.calls.memory import do_mmap
from ring3.calls.procarg import (
    CloneFlagWord,
    FutexOp,
    HowArg,
    IntOut,
    Listed,
    OldActionAt,
    OldActionOut,
    OldRlimitsOut,
    OldSigSetAt,
    OldSigSetOut,
    Pointer,
    ResourceArg,
    SigInfoOut,
    SigSetAt,
    Timespec64At,
    UserDescAt,
)
from ring3.calls.sysarg import Addr, Fd, Int, MapFlag, ProtFlag, SigNo, Size, UInt
from ring3.calls.syscall import Syscall, syscall
from ring3.calls.tls import get_thread_area, set_thread_area
from ring3.errors import EFAULT, EINVAL
from ring3.proc.proc import Thread

Id16Out = Annotated[int, Listed(Id16, out=True)]
_SET_SIZE: Final = 8
_OLD_NAME: Final = 65
_OLDEST_NAME: Final = 9


# --- processes
@syscall(pledge="proc thread")
def sys_clone(
    t: Thread, flags: CloneFlagWord, stack: Pointer, parent_tid: IntOut, tls: UserDescAt, child_tid: Pointer
) -> clone_calls.Answer:
    """A child process or one more thread; TLS comes before the child's id here."""
    return clone_calls.clone(t, flags, stack, parent_tid, child_tid, tls)


@syscall(pledge="stdio")
def sys_set_thread_area(t: Thread, u_info: UserDescAt) -> int:
    """Set one of the three TLS slots; -1 as its number asks for a free one."""
    set_thread_area(t, t, u_info, allocate=True)
    return 0


@syscall(pledge="stdio")
def sys_get_thread_area(t: Thread, u_info: UserDescAt) -> int:
    """Read one of the three TLS slots."""
    get_thread_area(t, u_info)
    return 0


# --- memory
@syscall(pledge="stdio")
def sys_mmap(t: Thread, arg: Pointer) -> int:
    """mmap with its arguments in a struct, the offset in bytes."""
    words = [int.from_bytes(t.proc.vm.copyin(arg, 24)[at : at + 4], "little") for at in range(0, 24, 4)]
    addr, length, prot, flags, fd, offset = words
    if offset & 0xFFF:
        raise EINVAL
    return do_mmap(t, addr, length, prot, flags, (fd & 0x7FFF_FFFF) - (fd & 0x8000_0000), offset)


@syscall(pledge="stdio")
def sys_mmap2(t: Thread, addr: Addr, length: Size, prot: ProtFlag, flags: MapFlag, fd: Fd, pgoffset: Size) -> int:
    """mmap with the offset in pages."""
    return do_mmap(t, addr, length, int(prot), int(flags), fd, pgoffset << 12)


# --- signals with one-word sets
@syscall(pledge="stdio")
def sys_sigaction(t: Thread, sig: SigNo, act: OldActionAt, oact: OldActionOut) -> int:
    """Set or read what a signal does."""
    new: SigAction | None = fetch(t, OldSigAction, act) if act else None
    old = signal.change_action(t, sig, new)
    if oact:
        store(t, OldSigAction, oact, old)
    return 0


@syscall(pledge="stdio")
def sys_signal(t: Thread, sig: SigNo, handler: Pointer) -> int:
    """Set a handler that works once; the one before."""
    new = SigAction(handler, int(SaFlags.RESETHAND | SaFlags.NODEFER))
    return signal.change_action(t, sig, new).handler


@syscall(pledge="stdio")
def sys_sigprocmask(t: Thread, how: HowArg, nset: OldSigSetAt, oset: OldSigSetOut) -> int:
    """Change or read the first 32 bits of the mask."""
    old = t.sigmask
    if nset:
        low: int = fetch(t, OldSigSet, nset)
        signal.change_mask(t, how, low if how != 2 else (t.sigmask & ~0xFFFF_FFFF) | low)
    if oset:
        store(t, OldSigSet, oset, old)
    return 0


@syscall(pledge="stdio")
def sys_sigpending(t: Thread, uset: OldSigSetOut) -> int:
    """The blocked signals that wait, the first 32."""
    store(t, OldSigSet, uset, (t.pending.mask | t.proc.pending.mask) & t.sigmask)
    return 0


@syscall(pledge="stdio")
async def sys_sigsuspend(t: Thread, unused1: Int, unused2: Int, mask: Size) -> int:
    """Sleep with another mask until a handler ran."""
    del unused1, unused2
    return await signal.suspend(t, mask)


@syscall(pledge="stdio")
def sys_sgetmask(t: Thread) -> int:
    """The first 32 bits of the mask."""
    return t.sigmask & 0xFFFF_FFFF


@syscall(pledge="stdio")
def sys_ssetmask(t: Thread, newmask: UInt) -> int:
    """Set the mask; its first 32 bits before."""
    old = t.sigmask
    signal.set_mask(t, newmask)
    return old & 0xFFFF_FFFF


@syscall(pledge="stdio")
async def sys_rt_sigtimedwait_time64(t: Thread, uthese: SigSetAt, uinfo: SigInfoOut, uts: Timespec64At, sigsetsize: Size) -> int:
    """rt_sigtimedwait with a 64-bit time."""
    if sigsetsize != _SET_SIZE:
        raise EINVAL
    these: int = fetch(t, SigSet, uthese)
    return await signal.wait_for_signal(t, these, uinfo, fetch(t, Timespec64, uts) if uts else None)


@syscall(pledge="stdio")
async def sys_futex_time64(
    t: Thread, uaddr: Pointer, futex_op: FutexOp, val: UInt, utime: Size, uaddr2: Pointer, val3: UInt
) -> int:
    """Futex with a 64-bit time."""
    return await futex_calls.futex(t, uaddr, futex_op, val, utime, uaddr2, val3, Timespec64)


# --- limits
@syscall(pledge="stdio")
def sys_getrlimit(t: Thread, resource: ResourceArg, rlim: OldRlimitsOut) -> int:
    """The limits on a resource, none above 2**31-1."""
    store(t, OldRlimits, rlim, limits.limits_of(t.proc, resource))
    return 0


# --- 16-bit ids
@syscall(pledge="stdio")
def sys_getuid(t: Thread) -> int:
    """The real user id."""
    return ids.shown_16(t.proc.cred.ruid)


@syscall(pledge="stdio")
def sys_geteuid(t: Thread) -> int:
    """The effective user id."""
    return ids.shown_16(t.proc.cred.euid)


@syscall(pledge="stdio")
def sys_getgid(t: Thread) -> int:
    """The real group id."""
    return ids.shown_16(t.proc.cred.rgid)


@syscall(pledge="stdio")
def sys_getegid(t: Thread) -> int:
    """The effective group id."""
    return ids.shown_16(t.proc.cred.egid)


@syscall(pledge="id")
def sys_setuid(t: Thread, uid: UInt) -> int:
    """Become a user."""
    return int(ids.sys_setuid.run(t, ids.fits_16(uid)))


@syscall(pledge="id")
def sys_setgid(t: Thread, gid: UInt) -> int:
    """Become a group."""
    return int(ids.sys_setgid.run(t, ids.fits_16(gid)))


@syscall(pledge="id")
def sys_setreuid(t: Thread, ruid: UInt, euid: UInt) -> int:
    """Set real and effective user id."""
    return int(ids.sys_setreuid.run(t, ids.fits_16(ruid), ids.fits_16(euid)))


@syscall(pledge="id")
def sys_setregid(t: Thread, rgid: UInt, egid: UInt) -> int:
    """Set real and effective group id."""
    return int(ids.sys_setregid.run(t, ids.fits_16(rgid), ids.fits_16(egid)))


@syscall(pledge="id")
def sys_setresuid(t: Thread, ruid: UInt, euid: UInt, suid: UInt) -> int:
    """Set real, effective and saved user id."""
    return int(ids.sys_setresuid.run(t, *map(ids.fits_16, (ruid, euid, suid))))


@syscall(pledge="id")
def sys_setresgid(t: Thread, rgid: UInt, egid: UInt, sgid: UInt) -> int:
    """Set real, effective and saved group id."""
    return int(ids.sys_setresgid.run(t, *map(ids.fits_16, (rgid, egid, sgid))))


@syscall(pledge="stdio")
def sys_getresuid(t: Thread, ruid: Id16Out, euid: Id16Out, suid: Id16Out) -> int:
    """Real, effective and saved user id."""
    cred = t.proc.cred
    return ids.store_ids(t, Id16, ((ruid, cred.ruid), (euid, cred.euid), (suid, cred.suid)))


@syscall(pledge="stdio")
def sys_getresgid(t: Thread, rgid: Id16Out, egid: Id16Out, sgid: Id16Out) -> int:
    """Real, effective and saved group id."""
    cred = t.proc.cred
    return ids.store_ids(t, Id16, ((rgid, cred.rgid), (egid, cred.egid), (sgid, cred.sgid)))


@syscall(pledge="id")
def sys_setfsuid(t: Thread, uid: UInt) -> int:
    """Set the user id for files."""
    return ids.shown_16(ids.sys_setfsuid.run(t, ids.fits_16(uid)))


@syscall(pledge="id")
def sys_setfsgid(t: Thread, gid: UInt) -> int:
    """Set the group id for files."""
    return ids.shown_16(ids.sys_setfsgid.run(t, ids.fits_16(gid)))


@syscall(pledge="stdio")
def sys_getgroups(t: Thread, size: Int, list: Pointer) -> int:  # noqa: A002
    """The supplementary groups."""
    return ids.read_groups(t, size, list, Id16)


@syscall(pledge="id")
def sys_setgroups(t: Thread, size: Int, list: Pointer) -> int:  # noqa: A002
    """Set the supplementary groups."""
    return ids.write_groups(t, size, list, Id16)


# --- names of the system, as they once were
@syscall(pledge="stdio")
def sys_olduname(t: Thread, name: Pointer) -> int:
    """Uname without the domain."""
    if not name:
        raise EFAULT
    fields = system.names(t)[:5]
    t.proc.vm.copyout(name, b"".join(field[: _OLD_NAME - 1].ljust(_OLD_NAME, b"\0") for field in fields))
    return 0


@syscall(pledge="stdio")
def sys_oldolduname(t: Thread, name: Pointer) -> int:
    """Uname with eight bytes for each name."""
    if not name:
        raise EFAULT
    fields = system.names(t)[:5]
    t.proc.vm.copyout(name, b"".join(field[: _OLDEST_NAME - 1].ljust(_OLDEST_NAME, b"\0") for field in fields))
    return 0


ALIASES: Mapping[str, Syscall] = MappingProxyType({
    "ugetrlimit": limits.sys_getrlimit,
    "getuid32": ids.sys_getuid,
    "geteuid32": ids.sys_geteuid,
    "getgid32": ids.sys_getgid,
    "getegid32": ids.sys_getegid,
    "setuid32": ids.sys_setuid,
    "setgid32": ids.sys_setgid,
    "setreuid32": ids.sys_setreuid,
    "setregid32": ids.sys_setregid,
    "setresuid32": ids.sys_setresuid,
    "setresgid32": ids.sys_setresgid,
    "getresuid32": ids.sys_getresuid,
    "getresgid32": ids.sys_getresgid,
    "setfsuid32": ids.sys_setfsuid,
    "setfsgid32": ids.sys_setfsgid,
    "getgroups32": ids.sys_getgroups,
    "setgroups32": ids.sys_setgroups,
})
