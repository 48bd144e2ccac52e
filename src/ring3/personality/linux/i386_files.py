"""The calls about files as only i386 has them: old structs, 16-bit ids, offsets in two registers, socketcall.

What differs in layout alone is in `layouts_files.py`; what differs in name alone is in `ALIASES`.  Names declared here replace
the shared ones in i386's table.  Source: arch/x86/entry/syscalls/syscall_32.tbl, fs/compat.c's descendants, socketcall(2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from ring3.abi.filerecords import AncientAttr, RawTimespec64, RawTimeval, Seconds, SelectArgs, TimerSpec, TimerSpec64
from ring3.abi.flags import AT_FDCWD, AtFlags
from ring3.abi.records import AttrChange, Timespec64
from ring3.calls import attribute, epoll, fcntl, io, mount, poll, receiving, sending, socket, stat
from ring3.calls.guest import fetch
from ring3.calls.place import changing
from ring3.calls.sockaddr import MsgFlag
from ring3.calls.sysarg import (
    Addr,
    AtFlag,
    DirFd,
    Fd,
    Int,
    Offset,
    OptionalPath,
    Out,
    Path,
    Record,
    Size,
    UInt,
    WhenceArg,
)
from ring3.calls.sysarg_arrays import EpollArray, PollArray
from ring3.calls.sysarg_files import (
    DescriptorSet,
    FcntlCommand,
    InOut,
    MaskAddr,
    OldStatOut,
    OutTimerSpec,
    Owner16,
    RequestArg,
    StatRecord,
    TimeLeft,
    TimePair,
    TimerSpecRecord,
)
from ring3.calls.syscall import Syscall, syscall
from ring3.calls.transfer import Answer
from ring3.errors import EINVAL, EOVERFLOW
from ring3.proc.proc import Thread

AncientStatOut = Annotated[Out, StatRecord(AncientAttr)]
TimespecPair64 = Annotated[tuple[Seconds, Seconds] | None, TimePair(RawTimespec64, "nsec")]
TimeoutLeft64 = Annotated[InOut, TimeLeft(Timespec64)]
TimerIn64 = Annotated[TimerSpec | None, TimerSpecRecord(TimerSpec64)]
TimerOut64 = Annotated[Out, OutTimerSpec(TimerSpec64)]


# --- stat
@syscall(pledge="rpath")
def sys_stat(t: Thread, path: Path, out: OldStatOut) -> int:
    """stat with 32-bit members.  EOVERFLOW."""
    return int(stat.sys_stat.run(t, path, out))


@syscall(pledge="rpath")
def sys_lstat(t: Thread, path: Path, out: OldStatOut) -> int:
    """lstat with 32-bit members.  EOVERFLOW."""
    return int(stat.sys_lstat.run(t, path, out))


@syscall(pledge="stdio")
def sys_fstat(t: Thread, fd: Fd, out: OldStatOut) -> int:
    """fstat with 32-bit members.  EOVERFLOW."""
    return int(stat.sys_fstat.run(t, fd, out))


@syscall(pledge="rpath")
def sys_oldstat(t: Thread, path: Path, out: AncientStatOut) -> int:
    """stat with 16-bit members.  EOVERFLOW."""
    return int(stat.sys_stat.run(t, path, out))


@syscall(pledge="rpath")
def sys_oldlstat(t: Thread, path: Path, out: AncientStatOut) -> int:
    """lstat with 16-bit members.  EOVERFLOW."""
    return int(stat.sys_lstat.run(t, path, out))


@syscall(pledge="stdio")
def sys_oldfstat(t: Thread, fd: Fd, out: AncientStatOut) -> int:
    """fstat with 16-bit members.  EOVERFLOW."""
    return int(stat.sys_fstat.run(t, fd, out))


# --- 16-bit owners
@syscall(pledge="chown")
def sys_chown(t: Thread, path: Path, uid: Owner16, gid: Owner16) -> int:
    """chown with 16-bit ids."""
    return attribute.chown_at(t, AT_FDCWD, path, (uid, gid), AtFlags(0))


@syscall(pledge="chown")
def sys_lchown(t: Thread, path: Path, uid: Owner16, gid: Owner16) -> int:
    """lchown with 16-bit ids."""
    return attribute.chown_at(t, AT_FDCWD, path, (uid, gid), AtFlags.SYMLINK_NOFOLLOW)


@syscall(pledge="chown")
def sys_fchown(t: Thread, fd: Fd, uid: Owner16, gid: Owner16) -> int:
    """fchown with 16-bit ids."""
    return attribute.change(t, changing(t, fd), AttrChange(uid=uid, gid=gid))


# --- offsets
@syscall(pledge="stdio")
def sys_lseek(t: Thread, fd: Fd, offset: Offset, whence: WhenceArg) -> int:
    """lseek whose answer must fit a long.  EOVERFLOW."""
    result = int(io.sys_lseek.run(t, fd, offset, whence))
    if result >> 31:
        raise EOVERFLOW
    return result


@syscall(pledge="stdio")
def sys__llseek(t: Thread, fd: Fd, high: UInt, low: UInt, result: Addr, whence: UInt) -> int:
    """lseek with a 64-bit offset in two words; the new one goes to memory."""
    offset = high << 32 | low
    moved = int(io.sys_lseek.run(t, fd, offset - (1 << 64) if offset >> 63 else offset, whence))
    t.proc.vm.copyout(result, moved.to_bytes(8, "little"))
    return 0


@syscall(pledge="stdio")
def sys_fcntl(t: Thread, fd: Fd, command: FcntlCommand, arg: RequestArg) -> Answer:
    """fcntl as it was before large files."""
    return fcntl.do_fcntl(t, fd, command, arg, fcntl.COMMANDS)


# --- select
@syscall(pledge="stdio")
def sys_select(t: Thread, arguments: Addr) -> Answer:
    """select whose five arguments stand in memory."""
    args = fetch(t, SelectArgs, arguments)
    layout = t.system.call_abi(t).layouts[RawTimeval]
    value = fetch(t, RawTimeval, args.timeout) if args.timeout else None
    left = InOut(t, args.timeout, value, layout.encode)
    return poll.select(t, args.nfds, (args.readfds, args.writefds, args.exceptfds), left)


# --- 64-bit times
@syscall(pledge="fattr")
def sys_utimensat_time64(t: Thread, dirfd: DirFd, path: OptionalPath, times: TimespecPair64, flags: AtFlag) -> int:
    """utimensat with 64-bit times."""
    return attribute.set_times(t, dirfd, path, times, flags, by_fd=True)


@syscall(pledge="stdio")
def sys_ppoll_time64(t: Thread, fds: PollArray, nfds: UInt, timeout: TimeoutLeft64, mask: MaskAddr, size: Size) -> Answer:
    """ppoll with a 64-bit time."""
    answer: Answer = poll.sys_ppoll.run(t, fds, nfds, timeout, mask, size)
    return answer


@syscall(pledge="stdio")
def sys_pselect6_time64(
    t: Thread, nfds: Int, readfds: DescriptorSet, writefds: DescriptorSet, exceptfds: DescriptorSet, timeout: TimeoutLeft64,
    mask: Addr,
) -> Answer:
    """pselect6 with a 64-bit time."""
    answer: Answer = poll.sys_pselect6.run(t, nfds, readfds, writefds, exceptfds, timeout, mask)
    return answer


@syscall(pledge="stdio recvfd")
def sys_recvmmsg_time64(t: Thread, fd: Fd, messages: Addr, count: UInt, flags: MsgFlag, timeout: TimeoutLeft64) -> Answer:
    """recvmmsg with a 64-bit time."""
    answer: Answer = receiving.sys_recvmmsg.run(t, fd, messages, count, flags, timeout)
    return answer


@syscall(pledge="stdio")
def sys_timerfd_settime64(t: Thread, fd: Fd, flags: Int, new: TimerIn64, old: TimerOut64) -> int:
    """timerfd_settime with 64-bit times."""
    return int(epoll.sys_timerfd_settime.run(t, fd, flags, new, old))


@syscall(pledge="stdio")
def sys_timerfd_gettime64(t: Thread, fd: Fd, current: TimerOut64) -> int:
    """timerfd_gettime with 64-bit times."""
    return int(epoll.sys_timerfd_gettime.run(t, fd, current))


Timeout64 = Annotated[int | None, Record(Timespec64)]


@syscall(pledge="stdio")
def sys_epoll_pwait2(
    t: Thread, epfd: Fd, events: EpollArray, max_events: Int, timeout: Timeout64, mask: MaskAddr, size: Size
) -> Answer:
    """epoll_pwait2, whose time has 64 bits everywhere."""
    answer: Answer = epoll.sys_epoll_pwait2.run(t, epfd, events, max_events, timeout, mask, size)
    return answer


# --- umount, socketcall
@syscall(pledge="root")
def sys_umount(t: Thread, path: Path) -> int:
    """umount2 without flags."""
    return int(mount.sys_umount2.run(t, path, 0))


_SOCKETCALLS: Final[tuple[Syscall, ...]] = (
    socket.sys_socket, socket.sys_bind, socket.sys_connect, socket.sys_listen, socket.sys_accept, socket.sys_getsockname,
    socket.sys_getpeername, socket.sys_socketpair, sending.sys_send, receiving.sys_recv, sending.sys_sendto, receiving.sys_recvfrom,
    socket.sys_shutdown, socket.sys_setsockopt, socket.sys_getsockopt, sending.sys_sendmsg, receiving.sys_recvmsg,
    socket.sys_accept4, receiving.sys_recvmmsg, sending.sys_sendmmsg,
)


@syscall(pledge="unix inet stdio")
def sys_socketcall(t: Thread, number: Int, arguments: Addr) -> Answer:
    """Any of the calls about sockets, its arguments in memory.  EINVAL."""
    if not 1 <= number <= len(_SOCKETCALLS):
        raise EINVAL
    call = _SOCKETCALLS[number - 1]
    t.needs_any(call.promises)
    abi = t.system.call_abi(t)
    kinds = tuple(call.kinds.values())
    words = t.proc.vm.copyin(arguments, 4 * len(kinds))
    args: list[Any] = [
        kind.compile(abi)(t, int.from_bytes(words[4 * index : 4 * index + 4], "little")) for index, kind in enumerate(kinds)
    ]
    answer: Answer = call.run(t, *args)
    return answer


ALIASES: Final[Mapping[str, Syscall]] = {
    "stat64": stat.sys_stat,
    "lstat64": stat.sys_lstat,
    "fstat64": stat.sys_fstat,
    "fstatat64": stat.sys_newfstatat,
    "chown32": attribute.sys_chown,
    "lchown32": attribute.sys_lchown,
    "fchown32": attribute.sys_fchown,
    "fcntl64": fcntl.sys_fcntl,
    "_newselect": poll.sys_select,
}
