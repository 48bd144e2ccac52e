"""System calls that refuse: what only the administrator of a machine may do, whom this kernel does not have.

Each answers what Linux answers somebody without the privilege, arguments looked at where that changes the answer.
"""

# A call has its arguments although it refuses.
# ruff: noqa: ARG001

from __future__ import annotations

from ring3.calls.procarg import Pointer
from ring3.calls.sysarg import Int, OptionalPath, Size, UInt
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, ENOSYS, EPERM
from ring3.proc.proc import Thread


@syscall(pledge="stdio")
def sys_rseq(t: Thread, rseq: Pointer, rseq_len: UInt, flags: Int, sig: UInt) -> int:
    """Restartable sequences: none here, as on a kernel built without them.  Asked by every glibc program, so not counted."""
    raise ENOSYS


@syscall(pledge="root")
def sys_acct(t: Thread, filename: OptionalPath) -> int:
    """Refused."""
    raise EPERM


@syscall(pledge="root")
def sys_reboot(t: Thread, magic1: UInt, magic2: UInt, cmd: UInt, arg: Pointer) -> int:
    """Refused."""
    raise EPERM


@syscall(pledge="root")
def sys_swapon(t: Thread, path: OptionalPath, flags: Int) -> int:
    """Refused."""
    raise EPERM


@syscall(pledge="root")
def sys_swapoff(t: Thread, path: OptionalPath) -> int:
    """Refused."""
    raise EPERM


@syscall(pledge="root")
def sys_vhangup(t: Thread) -> int:
    """Refused."""
    raise EPERM


@syscall(pledge="root")
def sys_iopl(t: Thread, level: UInt) -> int:
    """Refused."""
    raise EINVAL if level > 3 else EPERM


@syscall(pledge="root")
def sys_ioperm(t: Thread, from_: Size, num: Size, turn_on: Int) -> int:
    """Refused."""
    if from_ + num > 65536 or not num:
        raise EINVAL
    if turn_on:
        raise EPERM
    return 0


@syscall(pledge="root")
def sys_init_module(t: Thread, image: Pointer, len: Size, args: Pointer) -> int:  # noqa: A002
    """Refused."""
    raise EPERM


@syscall(pledge="root")
def sys_finit_module(t: Thread, fd: Int, args: Pointer, flags: Int) -> int:
    """Refused."""
    raise EPERM


@syscall(pledge="root")
def sys_delete_module(t: Thread, name: Pointer, flags: UInt) -> int:
    """Refused."""
    raise EPERM


@syscall(pledge="root")
def sys_kexec_load(t: Thread, entry: Pointer, nr_segments: Size, segments: Pointer, flags: Size) -> int:
    """Refused."""
    raise EPERM


@syscall(pledge="root")
def sys_syslog(t: Thread, type: Int, buf: Pointer, len: Int) -> int:  # noqa: A002
    """The kernel's log: empty; clearing and setting levels is refused."""
    if type in (3, 10):
        return 0
    if not 0 <= type <= 10:
        raise EINVAL
    raise EPERM
