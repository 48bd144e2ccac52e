"""NetBSD's select, pselect and pollts: nobody is told what is left of a timeout, and masks are whole sets.

poll is shared.  Nothing of them is restarted after a handler.  Source: poll(2), select(2), sys/kern/sys_select.c.
"""

from __future__ import annotations

from ring3.abi.procrecords import SigSet
from ring3.abi.records import Timespec, Timeval
from ring3.calls.guest import fetch
from ring3.calls.poll import poll_with_mask, read_poll_set, select
from ring3.calls.procarg import SigSetAt, TimespecAt
from ring3.calls.sysarg import Addr, Int, UInt
from ring3.calls.sysarg_arrays import PollArray
from ring3.calls.sysarg_files import DescriptorSet, InOut
from ring3.calls.syscall import syscall
from ring3.calls.transfer import Answer
from ring3.proc.proc import Thread


def mask_at(t: Thread, addr: int) -> int | None:
    """The mask of a call, where it has one."""
    return fetch(t, SigSet, addr) if addr else None


def timeout_at(t: Thread, record: type, addr: int) -> InOut:
    """A timeout that is not written back."""
    return InOut(t, 0, fetch(t, record, addr) if addr else None, None)


@syscall(pledge="stdio")
def sys___select50(
    t: Thread, nfds: Int, readfds: DescriptorSet, writefds: DescriptorSet, exceptfds: DescriptorSet, timeout: Addr
) -> Answer:
    """Wait until one of the descriptors in three sets is ready.  EBADF, EINVAL, EFAULT, EINTR."""
    return select(t, nfds, (readfds, writefds, exceptfds), timeout_at(t, Timeval, timeout))


@syscall(pledge="stdio")
def sys___pselect50(
    t: Thread, nfds: Int, readfds: DescriptorSet, writefds: DescriptorSet, exceptfds: DescriptorSet, timeout: TimespecAt,
    mask: SigSetAt,
) -> Answer:
    """select with a signal mask that holds while it waits."""
    left = timeout_at(t, Timespec, timeout)
    return select(t, nfds, (readfds, writefds, exceptfds), left, mask_at(t, mask))


@syscall(pledge="stdio")
def sys___pollts50(t: Thread, fds: PollArray, nfds: UInt, timeout: TimespecAt, mask: SigSetAt) -> Answer:
    """poll with a timeout in ns and a signal mask that holds while it waits.  EINVAL, EFAULT, EINTR."""
    left = timeout_at(t, Timespec, timeout)
    sigmask = mask_at(t, mask)
    return poll_with_mask(t, read_poll_set(t, fds, nfds), left, sigmask)
