"""NetBSD's eventfd and timerfd, which are Linux's but for the numbers of flags and clocks; and uuidgen.

Arming and asking a timer are shared.  Sources: eventfd(2), timerfd(2), uuidgen(2), sys/{eventfd,timerfd,uuid}.h.
"""

from __future__ import annotations

import struct
from typing import Final

from ring3.abi.flags import OpenFlags
from ring3.calls import epoll
from ring3.calls.netbsd.time import CLOCK_MONOTONIC, CLOCK_REALTIME, BsdClock
from ring3.calls.procarg import Pointer
from ring3.calls.sysarg import Int, OpenFlag, UInt
from ring3.calls.syscall import syscall
from ring3.calls.system import random_bytes
from ring3.errors import EINVAL
from ring3.proc import clocks
from ring3.proc.proc import Thread
from ring3.vfs.eventfd import EFD_SEMAPHORE

_SEMAPHORE: Final = 0x2                # EFD_SEMAPHORE; the other two are open's
_CLOEXEC, _NONBLOCK = int(OpenFlags.CLOEXEC), int(OpenFlags.NONBLOCK)
_THEIRS: Final = {0x40_0000: _CLOEXEC, 0x4: _NONBLOCK, _SEMAPHORE: EFD_SEMAPHORE}
_CLOCKS: Final = {CLOCK_REALTIME: clocks.REALTIME, CLOCK_MONOTONIC: clocks.MONOTONIC}
_MOST_UUIDS: Final = 2048
_UUID: Final = struct.Struct("<IHHBB6s")


@syscall(pledge="stdio")
def sys_eventfd(t: Thread, value: UInt, flags: Int) -> int:
    """A counter to wait for.  EINVAL, EMFILE."""
    if flags & ~sum(_THEIRS):
        raise EINVAL
    neutral = sum(bits for theirs, bits in _THEIRS.items() if flags & theirs)
    return int(epoll.sys_eventfd2.run(t, value, neutral))


@syscall(pledge="stdio")
def sys_timerfd_create(t: Thread, clock: BsdClock, flags: OpenFlag) -> int:
    """A timer to wait for.  EINVAL, EMFILE."""
    if clock not in _CLOCKS:
        raise EINVAL
    return int(epoll.sys_timerfd_create.run(t, _CLOCKS[clock], flags))


@syscall(pledge="stdio")
def sys_uuidgen(t: Thread, store: Pointer, count: Int) -> int:
    """So many new universally unique identifiers, random ones (version 4).  EINVAL, EFAULT."""
    if not 1 <= count <= _MOST_UUIDS:
        raise EINVAL
    made = []
    for _ in range(count):
        low, mid, high, sequence, rest, node = _UUID.unpack(random_bytes(t, _UUID.size))
        made.append(_UUID.pack(low, mid, high & 0x0FFF | 0x4000, sequence & 0x3F | 0x80, rest, node))
    t.proc.vm.copyout(store, b"".join(made))
    return 0
