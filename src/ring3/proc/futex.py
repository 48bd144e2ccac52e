"""Futexes: sleeping on words of guest memory.

A futex is found by a key: for private memory (space, address), for shared memory (what backs it, offset in it), so that processes
that map the same thing find each other; an anonymous shared mapping has an object of its own that forks inherit.
Waiters stand in a line for each key.  A check of the word and the joining of the line happen in one piece of kernel time, and wakes
are kernel time too: no wake is lost.

Robust lists and clear_child_tid are dealt with when a thread ends (`thread_ends`); the walk is bounded: the list is the guest's.
Not here: the call itself (`calls/futex.py`).  Sources: futex(2), get_robust_list(2), kernel/futex/*.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ring3.errors import EFAULT, EINVAL, Errno, from_oserror
from ring3.namedtuple import NamedTuple
from ring3.proc.proc import Thread, ThreadState
from ring3.waiting import WaitQueue

if TYPE_CHECKING:
    from ring3.proc.system import System

WAITERS: Final = 0x8000_0000
OWNER_DIED: Final = 0x4000_0000
TID_MASK: Final = 0x3FFF_FFFF
ALL_BITS: Final = 0xFFFF_FFFF
_ROBUST_LIST_LIMIT: Final = 2048
_HEAD64: Final = struct.Struct("<QqQ")          # struct robust_list_head: list.next, futex_offset, list_op_pending
_HEAD32: Final = struct.Struct("<IiI")


class Key(NamedTuple):
    """Which futex: what the word is in, and where."""

    owner: Any
    offset: int


class Waiter:
    """One thread in line; `woken` once somebody took it out."""

    __slots__ = ("bitset", "is_pi", "key", "queue", "thread", "woken")

    def __init__(self, thread: Thread, key: Key, bitset: int, *, is_pi: bool = False) -> None:
        self.thread = thread
        self.key = key
        self.bitset = bitset
        self.is_pi = is_pi
        self.woken = False
        self.queue = WaitQueue()


class Futexes:
    """All futexes of one kernel."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.lines: dict[Key, list[Waiter]] = {}

    # --- words
    def key(self, t: Thread, addr: int, *, private: bool) -> Key:
        """The futex at `addr`.  Raises EINVAL for an address that is not a multiple of 4, EFAULT where nothing is mapped."""
        if addr & 3:
            raise EINVAL
        vm = t.proc.vm
        if addr + 4 > vm.user_top:
            raise EFAULT
        if private:
            return Key(vm, addr)
        region = vm.find(addr)
        if region is None and vm.fault(addr):
            region = vm.find(addr)
        if region is None or not region.prot & 7:
            raise EFAULT
        if region.shared and region.object is not None:
            return Key(region.object.sharing_key, region.offset + addr - region.start)
        return Key(vm, addr)

    def load(self, t: Thread, addr: int) -> int:
        """The word at `addr`.  Raises EFAULT."""
        return int.from_bytes(t.proc.vm.copyin(addr, 4), "little")

    def exchange(self, t: Thread, addr: int, expected: int, new: int) -> int:
        """Atomically store `new` if the word is `expected`; the word found.  Raises EFAULT."""
        vm = t.proc.vm
        vm.check_writable(addr, 4)
        try:
            return vm.machine.compare_exchange32(addr, expected, new)
        except OSError as error:
            raise from_oserror(error) from error

    # --- lines
    def join(self, waiter: Waiter) -> None:
        """Stand in line."""
        self.lines.setdefault(waiter.key, []).append(waiter)

    def leave(self, waiter: Waiter) -> None:
        """Stand in line no more; harmless for one who does not."""
        line = self.lines.get(waiter.key)
        if line is not None and waiter in line:
            line.remove(waiter)
            if not line:
                del self.lines[waiter.key]

    def wake(self, key: Key, count: int, bitset: int = ALL_BITS) -> int:
        """Wake up to `count` waiters that share a bit with `bitset`, first come first; how many."""
        line = self.lines.get(key)
        if not line:
            return 0
        chosen = [w for w in line if w.bitset & bitset and not w.is_pi][: max(count, 0)]
        for waiter in chosen:
            self._release(waiter)
        return len(chosen)

    def _release(self, waiter: Waiter) -> None:
        self.leave(waiter)
        waiter.woken = True
        waiter.queue.wake()

    def requeue(self, source: Key, target: Key, wake: int, move: int) -> tuple[int, int]:
        """Wake some of one line, move others to another; how many of each."""
        woken = self.wake(source, wake)
        if source == target:
            return woken, min(len(self.lines.get(source, ())), max(move, 0))
        moved = [w for w in self.lines.get(source, ()) if not w.is_pi][: max(move, 0)]
        for waiter in moved:
            self.leave(waiter)
            waiter.key = target
            self.join(waiter)
        return woken, len(moved)

    def pi_waiters(self, key: Key) -> list[Waiter]:
        """Those who wait for a lock, not for a wake."""
        return [w for w in self.lines.get(key, ()) if w.is_pi]

    def hand_lock(self, t: Thread, addr: int, key: Key, *, died: bool) -> None:
        """Give a PI lock to the first in line, or leave it free.  Raises EFAULT."""
        waiters = self.pi_waiters(key)
        bits = OWNER_DIED if died else 0
        if waiters:
            bits |= waiters[0].thread.tid | (WAITERS if len(waiters) > 1 else 0)
        t.proc.vm.copyout(addr, bits.to_bytes(4, "little"))
        if waiters:
            self._release(waiters[0])

    # --- the end of a thread
    def thread_ends(self, t: Thread) -> None:
        """Its robust list, then its clear_child_tid.  Raises nothing: what is not there is skipped."""
        if not t.robust_list and not t.robust_list32 and not t.clear_child_tid:
            return
        for head, form in ((t.robust_list, _HEAD64), (t.robust_list32, _HEAD32)):
            if head:
                with suppress(Errno, OSError):
                    self._walk(t, head, form)
        if t.clear_child_tid and self._has_company(t):
            with suppress(Errno, OSError):
                key = self.key(t, t.clear_child_tid & ~3, private=False)
                t.proc.vm.copyout(t.clear_child_tid, bytes(4))
                self.wake(key, 1)
        t.robust_list = t.robust_list32 = t.clear_child_tid = 0

    def _has_company(self, t: Thread) -> bool:
        """Whether anybody else uses the memory."""
        p = t.proc
        return p.vm.refs > 1 or any(o is not t and o.state is not ThreadState.DEAD for o in p.threads.values())

    def _walk(self, t: Thread, head: int, form: struct.Struct) -> None:
        """exit_robust_list: at most 2048 entries, the pending one last."""
        vm = t.proc.vm
        entry, offset, pending = form.unpack(vm.copyin(head, form.size))
        for node in self._entries(t, head, entry, form.size // 3):
            if node & ~1 != pending & ~1:
                self._owner_died(t, (node & ~1) + offset, is_pi=bool(node & 1), is_pending=False)
        if pending:
            self._owner_died(t, (pending & ~1) + offset, is_pi=bool(pending & 1), is_pending=True)

    def _entries(self, t: Thread, head: int, entry: int, word: int) -> Iterator[int]:
        for _ in range(_ROBUST_LIST_LIMIT):
            if entry & ~1 == head:
                return
            try:
                following = int.from_bytes(t.proc.vm.copyin(entry & ~1, word), "little")
            except EFAULT:
                yield entry
                return
            yield entry
            entry = following

    def _owner_died(self, t: Thread, addr: int, *, is_pi: bool, is_pending: bool) -> None:
        """handle_futex_death: mark a lock that `t` holds, and wake one who waits for it.  Raises EFAULT."""
        if addr & 3 or addr < 0:
            raise EFAULT
        key = self.key(t, addr, private=False)
        word = self.load(t, addr)
        if is_pending and not is_pi and not word:
            self.wake(key, 1)
            return
        if word & TID_MASK != t.tid:
            return
        if is_pi and self.pi_waiters(key):
            self.hand_lock(t, addr, key, died=True)
            return
        self._mark(t, addr, word)
        if not is_pi and word & WAITERS:
            self._wake_any(t, addr, key)

    def _mark(self, t: Thread, addr: int, word: int) -> None:
        """Set OWNER_DIED, keep WAITERS."""
        vm = t.proc.vm
        vm.check_writable(addr, 4)
        while True:
            new = (word & WAITERS) | OWNER_DIED
            try:
                found = vm.machine.compare_exchange32(addr, word, new)
            except OSError:                    # no stopped thread left to do it with: nobody competes either
                vm.copyout(addr, new.to_bytes(4, "little"))
                return
            if found == word or found & TID_MASK != t.tid:
                return
            word = found

    def _wake_any(self, t: Thread, addr: int, key: Key) -> None:
        """Waiters may stand under the private key of the same word."""
        if not self.wake(key, 1):
            self.wake(Key(t.proc.vm, addr), 1)
