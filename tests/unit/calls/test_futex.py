"""Futexes: keys, waiting, waking, locks handed over, what becomes of a dead thread's locks."""

from __future__ import annotations

import struct
from collections.abc import Generator

import pytest

from ring3.abi.flags import Prot
from ring3.errors import EAGAIN, EDEADLK, EFAULT, EINVAL, ENOSYS, EPERM, ESRCH, ETIMEDOUT, Errno
from ring3.machine.scripted import Trap
from ring3.proc.futex import OWNER_DIED, WAITERS
from ring3.proc.lifecycle import end_thread, exit_process
from ring3.proc.proc import Restart, Thread
from ring3.vm.region import Region, SharedAnonymous
from tests.unit.calls.stage import BASE, Guest, Sleeper, Stage, exits, stage

__all__ = ["stage"]

Script = Generator[Trap, int, None]
WAIT, WAKE, REQUEUE, CMP_REQUEUE, WAKE_OP, LOCK_PI, UNLOCK_PI, TRYLOCK_PI, WAIT_BITSET, WAKE_BITSET = 0, 1, 3, 4, 5, 6, 7, 8, 9, 10
PRIVATE, REALTIME = 128, 256
SHARED = 0x4000_0000


def thread_of(stage: Stage, g: Guest) -> Guest:
    stage.next(lambda _g: ())
    return Guest(stage.system.threads[g.call("clone", 0x50F00, 0x123000, 0, 0, 0)], free=BASE + 0x20000)


def waiter(g: Guest, word: int, value: int = 0, op: int = WAIT, *, bitset: int = 0xFFFFFFFF) -> Sleeper:
    return g.sleep("futex", word, op, value, 0, 0, bitset)


def share(g: Guest) -> int:
    g.p.vm.map(Region(SHARED, SHARED + 4096, Prot.READ | Prot.WRITE, object=SharedAnonymous(), shared=True))
    return SHARED


class TestWaitAndWake:
    def test_refusals(self, stage: Stage) -> None:
        g = stage.guest()
        word = g.words(5)
        cases: tuple[tuple[type[Errno], tuple[int, ...]], ...] = (
            (EAGAIN, (word, WAIT, 4, 0)),
            (EINVAL, (word + 1, WAIT, 5, 0)),
            (EFAULT, (0x10, WAIT, 5, 0)),
            (EFAULT, (word, WAIT, 5, 0x10)),
            (EINVAL, (word, WAIT, 5, g.words(-1, 0))),
            (EINVAL, (word, WAIT, 5, g.words(0, 1_000_000_000))),
            (EINVAL, (word, WAIT_BITSET, 5, 0, 0, 0)),
            (EINVAL, (word, WAKE_BITSET, 1, 0, 0, 0)),
            (ENOSYS, (word, 2, 0, 0)),
            (ENOSYS, (word, 77, 0, 0)),
            (ENOSYS, (word, WAKE | REALTIME, 0, 0)),
            (EINVAL, (word + 2, WAKE, 1, 0)),
        )
        for refusal, args in cases:
            with pytest.raises(refusal):
                g.call("futex", *args)

    def test_first_come_first_served(self, stage: Stage) -> None:
        g = stage.guest()
        word = g.words(0)
        lines = [waiter(g, word) for _ in range(3)]
        assert g.call("futex", word, WAKE, 2) == 2
        assert [line.resume() for line in lines] == [0, 0, None]
        assert g.call("futex", word, WAKE, 0) == 1                  # at least one, as Linux
        assert not stage.system.futexes.lines

    def test_private_and_shared_do_not_meet(self, stage: Stage) -> None:
        g = stage.guest()
        word = share(g)
        waiter(g, word, op=WAIT | PRIVATE)
        assert g.call("futex", word, WAKE, 1) == 0
        assert g.call("futex", word, WAKE | PRIVATE, 1) == 1

    def test_processes_meet_in_shared_memory(self, stage: Stage) -> None:
        g = stage.guest()
        word = share(g)
        stage.next(exits(0))
        child = Guest(stage.system.threads[g.call("fork")])
        line = waiter(g, word + 8)
        assert child.call("futex", word + 4, WAKE, 9) == 0
        assert child.call("futex", word + 8, WAKE, 9) == 1
        assert line.resume() == 0

    def test_private_memory_is_each_ones_own(self, stage: Stage) -> None:
        g = stage.guest()
        word = g.words(0)
        stage.next(exits(0))
        child = Guest(stage.system.threads[g.call("fork")])
        waiter(g, word)
        assert child.call("futex", word, WAKE, 9) == 0

    def test_two_mappings_of_one_object(self, stage: Stage) -> None:
        g = stage.guest()
        thing = SharedAnonymous()
        for at, offset in ((SHARED, 0), (SHARED + 0x10000, 0), (SHARED + 0x20000, 4096)):
            g.p.vm.map(Region(at, at + 4096, 3, object=thing, offset=offset, shared=True))
        waiter(g, SHARED + 16)
        assert g.call("futex", SHARED + 0x20010, WAKE, 1) == 0
        assert g.call("futex", SHARED + 0x10010, WAKE, 1) == 1

    def test_bitsets(self, stage: Stage) -> None:
        g = stage.guest()
        word = g.words(0)
        one, two = waiter(g, word, op=WAIT_BITSET, bitset=1), waiter(g, word, op=WAIT_BITSET, bitset=2)
        assert g.call("futex", word, WAKE_BITSET, 9, 0, 0, 2) == 1
        assert (one.resume(), two.resume()) == (None, 0)

    def test_timeouts(self, stage: Stage) -> None:
        g = stage.guest()
        word = g.words(0)
        now = stage.system.now_ns()
        line = g.sleep("futex", word, WAIT, 0, g.words(5, 0))
        assert line.sleep is not None
        assert abs((line.sleep.deadline_ns or 0) - now - 5_000_000_000) < 1_000_000_000
        with pytest.raises(ETIMEDOUT):
            line.time_out()
        line = g.sleep("futex", word, WAIT_BITSET, 0, g.words(7, 3), 0, 1)
        assert line.sleep is not None
        assert line.sleep.deadline_ns == 7_000_000_003
        assert g.call("futex", word, WAKE, 9) == 1

    def test_interruptions(self, stage: Stage) -> None:
        g = stage.guest()
        word = g.words(0)
        from ring3.waiting import Interrupted

        with pytest.raises(Interrupted):
            waiter(g, word).interrupt()
        with pytest.raises(Restart) as how:
            g.sleep("futex", word, WAIT, 0, g.words(5, 0)).interrupt()
        assert how.value.resume is not None
        line = waiter(g, word)
        g.call("futex", word, WAKE, 1)
        assert line.interrupt() == 0                               # it had been woken
        assert not stage.system.futexes.lines


class TestRequeue:
    def test_some_wake_some_move(self, stage: Stage) -> None:
        g = stage.guest()
        first, second = g.words(3), g.words(0)
        lines = [waiter(g, first, 3) for _ in range(4)]
        with pytest.raises(EAGAIN):
            g.call("futex", first, CMP_REQUEUE, 1, 2, second, 4)
        with pytest.raises(EINVAL):
            g.call("futex", first, CMP_REQUEUE, 1, -1, second, 3)
        assert g.call("futex", first, CMP_REQUEUE, 1, 2, second, 3) == 3
        assert [line.resume() for line in lines] == [0, None, None, None]
        assert g.call("futex", second, WAKE, 9) == 2
        assert [line.resume() for line in lines] == [0, 0, 0, None]
        assert g.call("futex", first, REQUEUE, 0, 5, second) == 1

    @pytest.mark.parametrize(("operation", "arg", "after"), [(0, 9, 9), (1, 2, 7), (2, 8, 13), (3, 4, 1), (4, 1, 4), (8, 3, 8)])
    def test_wake_op(self, stage: Stage, operation: int, arg: int, after: int) -> None:
        g = stage.guest()
        first, second = g.words(0), g.words(5)
        lines = waiter(g, first), waiter(g, second, 5)
        encoded = operation << 28 | 0 << 24 | arg << 12 | 5         # wake the second if it was 5
        assert g.call("futex", first, WAKE_OP, 1, 1, second, encoded) == 2
        assert g.int32(second) == after
        assert [line.resume() for line in lines] == [0, 0]

    def test_wake_op_compares_signed(self, stage: Stage) -> None:
        g = stage.guest()
        first, second = g.words(0), g.words(0xFFFF_FFFF)
        waiter(g, second, 0xFFFF_FFFF)
        assert g.call("futex", first, WAKE_OP, 1, 1, second, 2 << 28 | 4 << 24 | 0 << 12 | 0) == 0      # -1 > 0
        assert g.call("futex", first, WAKE_OP, 1, 1, second, 2 << 28 | 2 << 24 | 0 << 12 | 0) == 1      # -1 < 0
        with pytest.raises(ENOSYS):
            g.call("futex", first, WAKE_OP, 1, 1, second, 7 << 28)


class TestLocks:
    def test_taken_and_handed_over(self, stage: Stage) -> None:
        g = stage.guest()
        other = thread_of(stage, g)
        lock = g.words(0)
        assert g.call("futex", lock, LOCK_PI) == 0
        assert g.int32(lock) == g.t.tid
        with pytest.raises(EDEADLK):
            g.call("futex", lock, LOCK_PI)
        with pytest.raises(EAGAIN):
            other.call("futex", lock, TRYLOCK_PI)
        with pytest.raises(EPERM):
            other.call("futex", lock, UNLOCK_PI)
        line = other.sleep("futex", lock, LOCK_PI)
        assert g.int32(lock) & 0xFFFFFFFF == g.t.tid | WAITERS
        assert g.call("futex", lock, UNLOCK_PI) == 0
        assert line.resume() == 0
        assert g.int32(lock) == other.t.tid
        assert other.call("futex", lock, UNLOCK_PI) == 0
        assert g.int32(lock) == 0

    def test_a_lock_of_nobody_alive(self, stage: Stage) -> None:
        g = stage.guest()
        with pytest.raises(ESRCH):
            g.call("futex", g.words(9999), LOCK_PI)

    def test_the_death_of_its_owner_hands_it_over(self, stage: Stage) -> None:
        g = stage.guest()
        other = thread_of(stage, g)
        lock = g.words(0, 0, 0)
        g.call("futex", lock, LOCK_PI)
        line = other.sleep("futex", lock, LOCK_PI)
        node, head = g.words(0), g.room(24)
        g.p.vm.copyout(node, struct.pack("<Q", head))
        g.p.vm.copyout(head, struct.pack("<QqQ", node | 1, lock - node, 0))
        g.call("set_robust_list", head, 24)
        stage.system.futexes.thread_ends(g.t)
        assert line.resume() == 0
        assert g.int32(lock) == other.t.tid | OWNER_DIED


class TestWaitv:
    def test_the_one_that_was_woken(self, stage: Stage) -> None:
        g = stage.guest()
        words = [g.words(i) for i in range(3)]
        array = g.put(b"".join(struct.pack("<QQII", i, word, 2 | PRIVATE, 0) for i, word in enumerate(words)))
        line = g.sleep("futex_waitv", array, 3, 0, 0, 1)
        g.call("futex", words[1], WAKE | PRIVATE, 1)
        assert line.resume() == 1
        assert not stage.system.futexes.lines
        g.p.vm.copyout(words[2], b"\7")
        with pytest.raises(EAGAIN):
            g.call("futex_waitv", array, 3, 0, 0, 1)
        for args in ((array, 0, 0, 0, 1), (array, 129, 0, 0, 1), (array, 3, 1, 0, 1), (0, 3, 0, 0, 1)):
            with pytest.raises(EINVAL):
                g.call("futex_waitv", *args)


class TestTheEndOfAThread:
    def robust(self, g: Guest, *locks: int, pending: int = 0, loop: bool = False) -> None:
        nodes = [g.room(16) for _ in locks]
        head = g.room(24)
        for index, node in enumerate(nodes):
            following = nodes[0] if loop else (*nodes, head)[index + 1]
            g.p.vm.copyout(node, struct.pack("<QI", following, locks[index]))
        g.p.vm.copyout(head, struct.pack("<QqQ", nodes[0] if nodes else head, 8, pending))
        g.call("set_robust_list", head, 24)
        self.locks = [node + 8 for node in nodes]

    def test_its_locks_are_marked_and_a_waiter_woken(self, stage: Stage) -> None:
        g = stage.guest()
        other = thread_of(stage, g)
        self.robust(other, other.t.tid | WAITERS, 4711, other.t.tid)
        mine, foreign, free = self.locks
        line = waiter(g, mine, other.t.tid | WAITERS)
        end_thread(other.t)
        assert g.int32(mine) & 0xFFFFFFFF == OWNER_DIED | WAITERS
        assert g.int32(foreign) == 4711
        assert g.int32(free) == OWNER_DIED
        assert line.resume() == 0

    def test_a_list_in_a_circle_ends(self, stage: Stage) -> None:
        g = stage.guest()
        self.robust(g, 1, 2, loop=True)
        exit_process(g.p, 0)

    def test_a_list_of_nonsense_is_no_matter(self, stage: Stage) -> None:
        for head in (0x10, (1 << 64) - 8, 3):
            g = stage.guest()
            g.t.robust_list = head
            g.t.clear_child_tid = 0x20
            exit_process(g.p, 0)

    def test_the_pending_lock(self, stage: Stage) -> None:
        g = stage.guest()
        other = thread_of(stage, g)
        node = g.room(16)
        g.p.vm.copyout(node + 8, struct.pack("<I", other.t.tid))
        self.robust(other, pending=node)
        end_thread(other.t)
        assert g.int32(node + 8) == OWNER_DIED

    def test_clear_child_tid(self, stage: Stage) -> None:
        g = stage.guest()
        other = thread_of(stage, g)
        word = g.words(other.t.tid)
        other.call("set_tid_address", word)
        line = waiter(g, word, other.t.tid)
        end_thread(other.t)
        assert g.int32(word) == 0
        assert line.resume() == 0

    def test_a_list_of_nonsense_keeps_nobody_from_being_told(self, stage: Stage) -> None:
        g = stage.guest()
        other = thread_of(stage, g)
        word = g.words(other.t.tid)
        other.call("set_tid_address", word)
        other.t.robust_list = other.t.robust_list32 = 0x10
        end_thread(other.t)
        assert g.int32(word) == 0

    def test_nobody_is_left_to_be_told(self, stage: Stage) -> None:
        g = stage.guest()
        word = share(g)
        g.p.vm.copyout(word, b"\7")
        stage.next(exits(0))
        child = stage.system.procs[g.call("fork")]
        g.call("set_tid_address", word)
        exit_process(g.p, 0)
        assert child.vm.copyin(word, 4) == b"\7\0\0\0"

    def test_registering(self, stage: Stage) -> None:
        g = stage.guest()
        with pytest.raises(EINVAL):
            g.call("set_robust_list", 0x7000, 12)
        g.call("set_robust_list", 0x7000, 24)
        g.call32("set_robust_list", 0x8000, 12)
        head, size = g.room(8), g.room(8)
        g.call("get_robust_list", 0, head, size)
        assert (g.word(head), g.word(size)) == (0x7000, 24)
        with pytest.raises(ESRCH):
            g.call("get_robust_list", 9999, head, size)


def test_joining_a_thread_in_a_running_kernel(stage: Stage) -> None:
    order = []

    def worker(g: Guest) -> Script:
        yield g("nanosleep", g.words(0, 5_000_000), 0)
        order.append("worker")
        yield g("exit", 0)

    def main(g: Guest) -> Script:
        stage.next(worker)
        word = 0x10_8000
        tid = yield g("clone", 0x50F00 | 0x200000 | 0x100000, 0x123000, word, word, 0)
        while (value := g.int32(word)) != 0:
            assert value == tid
            yield g("futex", word, WAIT, tid, 0, 0, 0)
        order.append("main")
        yield g("exit_group", 0)

    assert stage.run(main) == [0]
    assert order == ["worker", "main"]


def test_how_it_prints(stage: Stage) -> None:
    g = stage.guest()
    assert g.show("futex", 0x7000, WAIT | PRIVATE, 2, 0, 0, 0) == "futex(0x7000, FUTEX_WAIT_PRIVATE, 2, 0, NULL, 0)"


def test_waiters_know_their_thread(stage: Stage) -> None:
    g = stage.guest()
    waiter(g, g.words(0))
    (line,) = stage.system.futexes.lines.values()
    assert isinstance(line[0].thread, Thread)
