"""futex and its relatives, robust lists.

Sources: futex(2), get_robust_list(2), kernel/futex/syscalls.c (which argument means what, and the order of checks).
"""

from __future__ import annotations

import time
from typing import Final

from ring3.abi.procrecords import Word
from ring3.abi.records import Timespec, Timespec64
from ring3.calls.guest import fetch, store
from ring3.calls.procarg import FutexOp, Pointer
from ring3.calls.sysarg import Int, Pid, Size, UInt
from ring3.calls.syscall import syscall
from ring3.errors import EAGAIN, EDEADLK, EINVAL, ENOSYS, EPERM, ESRCH, ETIMEDOUT
from ring3.proc.futex import ALL_BITS, OWNER_DIED, TID_MASK, WAITERS, Futexes, Key, Waiter
from ring3.proc.proc import Restart, Thread, ThreadState
from ring3.proc.targets import check_same_owner, known_thread
from ring3.waiting import Interrupted, sleep_on

(_WAIT, _WAKE, _FD, _REQUEUE, _CMP_REQUEUE, _WAKE_OP, _LOCK_PI, _UNLOCK_PI, _TRYLOCK_PI, _WAIT_BITSET, _WAKE_BITSET,
 _WAIT_REQUEUE_PI, _CMP_REQUEUE_PI, _LOCK_PI2) = range(14)
_PRIVATE: Final = 128
_REALTIME: Final = 256
_TIMED: Final = frozenset((_WAIT, _LOCK_PI, _LOCK_PI2, _WAIT_BITSET, _WAIT_REQUEUE_PI))
_MAY_BE_REALTIME: Final = frozenset((_WAIT_BITSET, _WAIT_REQUEUE_PI, _LOCK_PI2))
_WAITV_MAX: Final = 128
_FUTEX2_SIZE_U32: Final = 2
_CLOCK_REALTIME: Final = 0


@syscall(pledge="stdio")
async def sys_futex(
    t: Thread, uaddr: Pointer, futex_op: FutexOp, val: UInt, utime: Size, uaddr2: Pointer, val3: UInt
) -> int:
    """Sleep on a word of memory, or wake those who do."""
    return await futex(t, uaddr, futex_op, val, utime, uaddr2, val3, Timespec)


async def futex(
    t: Thread, uaddr: int, op: int, val: int, utime: int, uaddr2: int, val3: int, timespec: type = Timespec64
) -> int:
    """The call, with the layout its time has.  `utime` is a time's address, for some operations a count."""
    command = op & 0x7F
    futexes: Futexes = t.system.futexes
    private = bool(op & _PRIVATE)
    deadline = None
    if utime and command in _TIMED:
        deadline = _deadline(t, fetch(t, timespec, utime), command, realtime=bool(op & _REALTIME))
    if op & _REALTIME and command not in _MAY_BE_REALTIME:
        raise ENOSYS
    count = _signed(utime & 0xFFFF_FFFF)
    match command:
        case 0 | 9:                # WAIT, WAIT_BITSET
            return await wait(t, uaddr, val, ALL_BITS if command == _WAIT else val3, deadline, private=private)
        case 1 | 10:               # WAKE, WAKE_BITSET
            bitset = ALL_BITS if command == _WAKE else val3
            if not bitset:
                raise EINVAL
            return futexes.wake(futexes.key(t, uaddr, private=private), max(_signed(val), 1), bitset)
        case 3 | 4:                # REQUEUE, CMP_REQUEUE
            return _requeue(t, uaddr, uaddr2, _signed(val), count, val3 if command == _CMP_REQUEUE else None, private=private)
        case 5:                    # WAKE_OP
            return _wake_op(t, uaddr, uaddr2, _signed(val), count, val3, private=private)
        case 6 | 13:               # LOCK_PI, LOCK_PI2
            return await _lock_pi(t, uaddr, deadline, private=private, wait_for_it=True)
        case 8:                    # TRYLOCK_PI
            return await _lock_pi(t, uaddr, None, private=private, wait_for_it=False)
        case 7:                    # UNLOCK_PI
            return _unlock_pi(t, uaddr, private=private)
        case _:
            raise ENOSYS


def _signed(word: int) -> int:
    return (word & 0x7FFF_FFFF) - (word & 0x8000_0000)


def _deadline(t: Thread, timeout_ns: int, command: int, *, realtime: bool) -> int:
    """When a wait ends, on CLOCK_MONOTONIC: FUTEX_WAIT's time is relative, LOCK_PI's is always CLOCK_REALTIME."""
    now = t.system.now_ns()
    if command == _WAIT:
        return now + timeout_ns
    if realtime or command == _LOCK_PI:
        return now + timeout_ns - time.time_ns()
    return timeout_ns


async def wait(t: Thread, uaddr: int, val: int, bitset: int, deadline: int | None, *, private: bool) -> int:
    """Sleep while the word is `val`.  Raises EAGAIN when it is not, ETIMEDOUT, EINVAL for no bits."""
    if not bitset:
        raise EINVAL
    futexes: Futexes = t.system.futexes
    key = futexes.key(t, uaddr, private=private)
    if futexes.load(t, uaddr) != val:
        raise EAGAIN
    waiter = Waiter(t, key, bitset)
    futexes.join(waiter)
    try:
        await sleep_on(waiter.queue, deadline_ns=deadline)
    except Interrupted:
        if waiter.woken:
            return 0
        if deadline is None:
            raise
        raise Restart(resume=lambda again: wait(again, uaddr, val, bitset, deadline, private=private)) from None
    finally:
        futexes.leave(waiter)
    if not waiter.woken:
        raise ETIMEDOUT
    return 0


def _requeue(t: Thread, uaddr: int, uaddr2: int, wake: int, move: int, expected: int | None, *, private: bool) -> int:
    """Wake some, move others; with `expected`, only while the word is that.  Raises EAGAIN, EINVAL."""
    if wake < 0 or move < 0:
        raise EINVAL
    futexes: Futexes = t.system.futexes
    source, target = futexes.key(t, uaddr, private=private), futexes.key(t, uaddr2, private=private)
    if expected is not None and futexes.load(t, uaddr) != expected:
        raise EAGAIN
    woken, moved = futexes.requeue(source, target, wake, move)
    return woken + moved


def _operate(op: int, old: int, arg: int) -> int:
    """What FUTEX_WAKE_OP stores.  Raises ENOSYS."""
    match op:
        case 0:
            new = arg
        case 1:
            new = old + arg
        case 2:
            new = old | arg
        case 3:
            new = old & ~arg
        case 4:
            new = old ^ arg
        case _:
            raise ENOSYS
    return new & 0xFFFF_FFFF


def _holds(comparison: int, old: int, arg: int) -> bool:
    """Raises ENOSYS."""
    match comparison:
        case 0:
            return old == arg
        case 1:
            return old != arg
        case 2:
            return old < arg
        case 3:
            return old <= arg
        case 4:
            return old > arg
        case 5:
            return old >= arg
        case _:
            raise ENOSYS


def _sign12(value: int) -> int:
    return (value & 0x7FF) - (value & 0x800)


def _wake_op(t: Thread, uaddr: int, uaddr2: int, wake: int, wake2: int, encoded: int, *, private: bool) -> int:
    """Change the second word atomically, wake waiters of the first, and of the second if its old value compares."""
    futexes: Futexes = t.system.futexes
    first, second = futexes.key(t, uaddr, private=private), futexes.key(t, uaddr2, private=private)
    op, comparison = encoded >> 28 & 7, encoded >> 24 & 15
    oparg, cmparg = _sign12(encoded >> 12), _sign12(encoded)
    if encoded >> 31:
        oparg = 1 << (oparg & 31)
    old = futexes.load(t, uaddr2)
    while True:
        found = futexes.exchange(t, uaddr2, old, _operate(op, old, oparg))
        if found == old:
            break
        old = found
    compares = _holds(comparison, _signed(old), cmparg)
    woken = futexes.wake(first, max(wake, 1))
    if compares:
        woken += futexes.wake(second, max(wake2, 1))
    return woken


# --- locks the kernel hands over
async def _lock_pi(t: Thread, uaddr: int, deadline: int | None, *, private: bool, wait_for_it: bool) -> int:
    """Take a priority-inheritance lock.  (Priorities are the host's affair: only the handing over is real.)"""
    futexes: Futexes = t.system.futexes
    key = futexes.key(t, uaddr, private=private)
    word = futexes.load(t, uaddr)
    while True:
        owner = word & TID_MASK
        if owner == t.tid:
            raise EDEADLK
        if not owner and not futexes.pi_waiters(key):
            new = t.tid | (word & OWNER_DIED)
        elif not wait_for_it:
            raise EAGAIN
        else:
            new = word | WAITERS
        found = futexes.exchange(t, uaddr, word, new)
        if found == word:
            break
        word = found
    if new & TID_MASK == t.tid:
        return 0
    if owner:
        holder = known_thread(t, owner)
        if holder is None or holder.state is ThreadState.DEAD:
            raise ESRCH
    return await _wait_for_lock(t, key, deadline)


async def _wait_for_lock(t: Thread, key: Key, deadline: int | None) -> int:
    futexes: Futexes = t.system.futexes
    waiter = Waiter(t, key, ALL_BITS, is_pi=True)
    futexes.join(waiter)
    try:
        await sleep_on(waiter.queue, deadline_ns=deadline)
    except Interrupted:
        if waiter.woken:
            return 0
        raise Restart(always=True) from None
    finally:
        futexes.leave(waiter)
    if not waiter.woken:
        raise ETIMEDOUT
    return 0


def _unlock_pi(t: Thread, uaddr: int, *, private: bool) -> int:
    """Give the lock to whoever waits longest.  Raises EPERM for somebody else's lock."""
    futexes: Futexes = t.system.futexes
    key = futexes.key(t, uaddr, private=private)
    word = futexes.load(t, uaddr)
    if word & TID_MASK != t.tid:
        raise EPERM
    t.proc.vm.check_writable(uaddr, 4)
    futexes.hand_lock(t, uaddr, key, died=False)
    return 0


# --- several at once
@syscall(pledge="stdio")
async def sys_futex_waitv(t: Thread, waiters: Pointer, nr_futexes: UInt, flags: UInt, utime: Pointer, clockid: Int) -> int:
    """Sleep on several words; which one was woken."""
    if flags or not 0 < nr_futexes <= _WAITV_MAX or not waiters:
        raise EINVAL
    deadline = None
    if utime:
        if clockid not in (0, 1):
            raise EINVAL
        deadline = fetch(t, Timespec64, utime)
        if clockid == _CLOCK_REALTIME:
            deadline += t.system.now_ns() - time.time_ns()
    return await _wait_for_any(t, _read_waiters(t, waiters, nr_futexes), deadline)


def _read_waiters(t: Thread, addr: int, count: int) -> list[tuple[int, int, bool]]:
    """struct futex_waitv: value, address, whether private.  Raises EINVAL, EFAULT."""
    found = []
    data = t.proc.vm.copyin(addr, 24 * count)
    for at in range(0, len(data), 24):
        value, uaddr = (int.from_bytes(data[at + i : at + i + 8], "little") for i in (0, 8))
        flags, reserved = (int.from_bytes(data[at + i : at + i + 4], "little") for i in (16, 20))
        if flags & ~(_PRIVATE | 3) or flags & 3 != _FUTEX2_SIZE_U32 or reserved or value >> 32:
            raise EINVAL
        found.append((value, uaddr, bool(flags & _PRIVATE)))
    return found


async def _wait_for_any(t: Thread, wanted: list[tuple[int, int, bool]], deadline: int | None) -> int:
    futexes: Futexes = t.system.futexes
    waiters = [Waiter(t, futexes.key(t, uaddr, private=private), ALL_BITS) for _, uaddr, private in wanted]
    for value, uaddr, _ in wanted:
        if futexes.load(t, uaddr) != value:
            raise EAGAIN
    for waiter in waiters:
        futexes.join(waiter)
    try:
        await sleep_on(*(waiter.queue for waiter in waiters), deadline_ns=deadline)
    except Interrupted:
        if not any(waiter.woken for waiter in waiters):
            raise
    finally:
        for waiter in waiters:
            futexes.leave(waiter)
    for index, waiter in enumerate(waiters):
        if waiter.woken:
            return index
    raise ETIMEDOUT


# --- robust lists
@syscall(pledge="stdio")
def sys_set_robust_list(t: Thread, head: Pointer, len: Size) -> int:  # noqa: A002
    """Where the list of locks is that die with this thread."""
    native = t.system.call_abi(t).word_size == 8
    if len != (24 if native else 12):
        raise EINVAL
    if native:
        t.robust_list = head
    else:
        t.robust_list32 = head
    return 0


@syscall(pledge="stdio")
def sys_get_robust_list(t: Thread, pid: Pid, head_ptr: Pointer, len_ptr: Pointer) -> int:
    """The list a thread registered; 0 means the caller."""
    target = t if not pid else known_thread(t, pid)
    if target is None:
        raise ESRCH
    check_same_owner(t, target.proc)
    native = t.system.call_abi(t).word_size == 8
    store(t, Word, len_ptr, 24 if native else 12)
    store(t, Word, head_ptr, target.robust_list if native else target.robust_list32)
    return 0
