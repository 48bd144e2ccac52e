"""futex of SerenityOS: its numbers, its order of checks, its errors.  The waiting lines are everybody's (`proc/futex.py`).

A wait that a signal ends is a result, 0, and not made again.  Nothing is woken for a count of 0, and nothing looked at.
Oddities of the original: a count of those to move stands where other operations have their timeout, and is read as one (EFAULT
for every number that is no address: LibC moves none); WAKE_OP with a shifted argument is EINVAL.
Source: Kernel/Syscalls/futex.cpp (reference, section 4.8).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from ring3.calls.serenity.argument import Params
from ring3.calls.serenity.signal import copy_time
from ring3.calls.sysarg import Addr, Size, UInt, Unsigned32
from ring3.calls.syscall import syscall
from ring3.errors import EAGAIN, EINVAL, ENOSYS, ETIMEDOUT
from ring3.namedtuple import NamedTuple
from ring3.proc.futex import ALL_BITS, Futexes, Waiter
from ring3.proc.proc import Thread
from ring3.waiting import Interrupted, sleep_on

_WAIT, _WAKE, _REQUEUE, _CMP_REQUEUE, _WAKE_OP, _WAIT_BITSET, _WAKE_BITSET = 1, 2, 3, 4, 5, 9, 10
_REALTIME, _PRIVATE = 0x100, 0x200
_MASK: Final = 0xFFFF_FFFF
_NAMES: Final[Mapping[int, str]] = MappingProxyType({
    _WAIT: "FUTEX_WAIT", _WAKE: "FUTEX_WAKE", _REQUEUE: "FUTEX_REQUEUE", _CMP_REQUEUE: "FUTEX_CMP_REQUEUE",
    _WAKE_OP: "FUTEX_WAKE_OP", _WAIT_BITSET: "FUTEX_WAIT_BITSET", _WAKE_BITSET: "FUTEX_WAKE_BITSET",
})
# FUTEX_WAKE_OP: what is stored, and how the old word is compared.
_STORED: Final[Mapping[int, Callable[[int, int], int]]] = MappingProxyType({
    0: lambda _old, arg: arg,
    1: lambda old, arg: old + arg,
    2: lambda old, arg: old | arg,
    3: lambda old, arg: old & ~arg,
    4: lambda old, arg: old ^ arg,
})
_COMPARED: Final[Mapping[int, Callable[[int, int], bool]]] = MappingProxyType({
    0: lambda old, arg: old == arg,
    1: lambda old, arg: old != arg,
    2: lambda old, arg: old < arg,
    3: lambda old, arg: old <= arg,
    4: lambda old, arg: old > arg,
    5: lambda old, arg: old >= arg,
})


class _Operation(Unsigned32):
    """`FUTEX_WAIT|FUTEX_PRIVATE_FLAG`."""

    def show(self, t: Thread, value: Any) -> str:
        rest = value & ~(_REALTIME | _PRIVATE)
        named = ((_PRIVATE, "FUTEX_PRIVATE_FLAG"), (_REALTIME, "FUTEX_CLOCK_REALTIME"))
        return "|".join([_NAMES.get(rest, hex(rest)), *(name for bits, name in named if value & bits)])


class FutexParams(NamedTuple):
    """The word, the operation and its value, a timeout or a second count, the second word and its value."""

    address: Addr
    op: Annotated[int, _Operation()]
    value: UInt
    timeout: Size
    address2: Addr
    value3: UInt


@syscall(pledge="")
async def sys_futex(t: Thread, params: Annotated[FutexParams, Params(FutexParams, "<QiIQQI4x")]) -> int:
    """Sleep on a word of memory, or wake those who do.

    Raises EFAULT, EINVAL for an address that is no multiple of 4, no bits and unknown parts of WAKE_OP, EAGAIN for another value,
    ETIMEDOUT, ENOSYS for what there is not.
    """
    command = params.op & ~(_REALTIME | _PRIVATE)
    if command not in _NAMES or (params.op & _REALTIME and command not in (_WAIT, _WAIT_BITSET)):
        raise ENOSYS
    if command in (_WAIT, _WAIT_BITSET):
        return await _wait(t, params, absolute=command == _WAIT_BITSET, bitset=params.value3 if command != _WAIT else ALL_BITS)
    if command in (_WAKE, _WAKE_BITSET):
        if command == _WAKE_BITSET and not params.value3:
            raise EINVAL
        return _wake(t, params, params.address, params.value, ALL_BITS if command == _WAKE else params.value3)
    return _wake_op(t, params) if command == _WAKE_OP else _requeue(t, params, compares=command == _CMP_REQUEUE)


def _wake(t: Thread, params: FutexParams, addr: int, count: int, bitset: int = ALL_BITS) -> int:
    """Raises EINVAL, EFAULT, unless nobody is to be woken anyway."""
    if not count:
        return 0
    futexes: Futexes = t.system.futexes
    return futexes.wake(futexes.key(t, addr, private=bool(params.op & _PRIVATE)), count, bitset)


def _requeue(t: Thread, params: FutexParams, *, compares: bool) -> int:
    """Wake some, have others wait for the second word; the second address is looked at only where somebody waits."""
    futexes: Futexes = t.system.futexes
    if params.timeout:
        copy_time(t, params.timeout)
    word, private = futexes.load(t, params.address), bool(params.op & _PRIVATE)
    if compares and word != params.value3:
        raise EAGAIN
    first = futexes.key(t, params.address, private=private)
    if not futexes.lines.get(first):
        return 0
    second = futexes.key(t, params.address2, private=private)
    return sum(futexes.requeue(first, second, params.value, params.timeout & _MASK))


async def _wait(t: Thread, params: FutexParams, *, absolute: bool, bitset: int) -> int:
    futexes: Futexes = t.system.futexes
    deadline = None
    if params.timeout:
        deadline = copy_time(t, params.timeout)
        if not absolute:
            deadline += t.system.now_ns()
        elif params.op & _REALTIME:
            deadline += t.system.now_ns() - time.time_ns()
    if not bitset:
        raise EINVAL
    key = futexes.key(t, params.address, private=bool(params.op & _PRIVATE))
    if futexes.load(t, params.address) != params.value:
        raise EAGAIN
    waiter = Waiter(t, key, bitset)
    futexes.join(waiter)
    try:
        await sleep_on(waiter.queue, deadline_ns=None if deadline is None else max(deadline, 1))
    except Interrupted:
        return 0
    finally:
        futexes.leave(waiter)
    if not waiter.woken:
        raise ETIMEDOUT
    return 0


def _wake_op(t: Thread, params: FutexParams) -> int:
    """Change the second word, wake waiters of the first, and of the second if its old value compares."""
    futexes: Futexes = t.system.futexes
    encoded = params.value3
    op, comparison, argument, compared = encoded >> 28, encoded >> 24 & 15, encoded >> 12 & 0xFFF, encoded & 0xFFF
    store = _STORED.get(op)
    if store is None:
        raise EINVAL
    if params.address2 & 3:
        raise EINVAL
    old = futexes.load(t, params.address2)
    while True:
        found = futexes.exchange(t, params.address2, old, store(old, argument) & _MASK)
        if found == old:
            break
        old = found
    woken = _wake(t, params, params.address, params.value)
    count = params.timeout & _MASK
    if count:
        holds = _COMPARED.get(comparison)
        if holds is None:
            raise EINVAL
        if holds(old, compared):
            woken += _wake(t, params, params.address2, count)
    return woken
