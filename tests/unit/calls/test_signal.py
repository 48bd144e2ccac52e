"""Actions, masks, waiting for signals, sending them, the alternate stack, signalfd."""

from __future__ import annotations

import struct
from collections.abc import Generator

import pytest

from ring3.abi.flags import Poll
from ring3.abi.signals import SI_QUEUE, SI_TKILL, SIG_IGN, AltStack, SigAction, SigInfo, Signal, bit, mask_of
from ring3.abi.x86 import RSP
from ring3.errors import EAGAIN, EFAULT, EINTR, EINVAL, ENOMEM, EPERM, ESRCH
from ring3.machine.scripted import Trap
from ring3.proc.cred import Cred
from ring3.proc.lifecycle import exit_process
from ring3.proc.proc import Restart, Session
from ring3.proc.signals import send_to_process
from tests.unit.calls.stage import STACK, Guest, Stage, stage

__all__ = ["stage"]

Script = Generator[Trap, int, None]
USR1, USR2, TERM, CHLD, CONT, STOP = 10, 12, 15, 17, 18, 19
USER = Cred(1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000)
OTHER = Cred(1001, 1001, 1001, 1001, 1001, 1001, 1001, 1001)


def siginfo(g: Guest, signo: int, code: int, value: int = 0) -> int:
    return g.put(struct.pack("<iiiiiIQ", signo, 0, code, 0, g.p.pid, 0, value).ljust(128, b"\0"))


class TestActions:
    def test_set_and_read_back(self, stage: Stage) -> None:
        g = stage.guest()
        new, old = g.words(0x5000, 0x14000004, 0x6000, mask_of(USR2, Signal.SIGKILL)), g.room(32)
        assert g.call("rt_sigaction", USR1, new, 0, 8) == 0
        assert g.call("rt_sigaction", USR1, 0, old, 8) == 0
        assert struct.unpack("<4Q", g.get(old, 32)) == (0x5000, 0x14000004, 0x6000, mask_of(USR2))

    def test_refusals(self, stage: Stage) -> None:
        g = stage.guest()
        new = g.words(0x5000, 0, 0, 0)
        for args in ((USR1, new, 0, 4), (0, 0, 0, 8), (65, 0, 0, 8), (9, new, 0, 8), (STOP, new, 0, 8)):
            with pytest.raises(EINVAL):
                g.call("rt_sigaction", *args)
        assert g.call("rt_sigaction", 9, 0, g.room(32), 8) == 0
        with pytest.raises(EFAULT):
            g.call("rt_sigaction", 99, 0x10, 0, 8)
        with pytest.raises(EFAULT):
            g.call("rt_sigaction", USR1, new, 0x10, 8)
        assert g.p.actions.table[USR1].handler == 0x5000        # it was set all the same, as on Linux

    def test_ignoring_forgets_what_is_pending(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.sigmask = bit(USR1)
        send_to_process(g.p, SigInfo(USR1))
        g.call("rt_sigaction", USR1, g.words(SIG_IGN, 0, 0, 0), 0, 8)
        assert not g.p.pending.mask

    def test_i386_has_two_structs(self, stage: Stage) -> None:
        g = stage.guest()
        g.call32("sigaction", USR1, g.put(struct.pack("<4I", 0x5000, 0x800, 0x10000000, 0x6000)), 0)
        assert g.p.actions.table[USR1] == SigAction(0x5000, 0x10000000, 0x6000, 0x800)
        old = g.room(20)
        g.call32("rt_sigaction", USR1, g.put(struct.pack("<IIIQ", 1, 4, 2, 3)), old, 8)
        assert struct.unpack("<IIIQ", g.get(old, 20)) == (0x5000, 0x10000000, 0x6000, 0x800)
        assert g.call32("signal", USR1, 0x7000) == 1
        assert g.p.actions.table[USR1].flags == 0xC0000000


class TestMasks:
    def test_block_unblock_set(self, stage: Stage) -> None:
        g = stage.guest()
        old = g.room(8)
        g.call("rt_sigprocmask", 0, g.words(mask_of(USR1, USR2, 9, STOP)), 0, 8)
        assert g.t.sigmask == mask_of(USR1, USR2)
        g.call("rt_sigprocmask", 1, g.words(bit(USR1)), old, 8)
        assert (g.word(old), g.t.sigmask) == (mask_of(USR1, USR2), bit(USR2))
        g.call("rt_sigprocmask", 2, g.words(bit(TERM)), 0, 8)
        assert g.t.sigmask == bit(TERM)
        assert g.call("rt_sigprocmask", 99, 0, old, 8) == 0      # nobody looks at `how` then
        for args in ((9, g.words(0), 0, 8), (0, 0, 0, 4)):
            with pytest.raises(EINVAL):
                g.call("rt_sigprocmask", *args)

    def test_pending(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.sigmask = mask_of(USR1, USR2)
        g.call("kill", g.p.pid, USR1)
        g.call("tkill", g.t.tid, USR2)
        addr = g.put(b"\xff" * 8)
        g.call("rt_sigpending", addr, 8)
        assert g.word(addr) == mask_of(USR1, USR2)
        g.p.vm.copyout(addr, b"\xff" * 8)
        g.call("rt_sigpending", addr, 2)
        assert g.get(addr, 3) == mask_of(USR1, USR2).to_bytes(2, "little") + b"\xff"
        with pytest.raises(EINVAL):
            g.call("rt_sigpending", addr, 9)

    def test_one_word_sets_keep_the_other_half(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.sigmask = bit(40)
        g.call32("sigprocmask", 2, g.put(b"\0\2\0\0"), 0)
        assert g.t.sigmask == bit(40) | bit(USR1)
        assert g.call32("sgetmask") == bit(USR1)
        assert g.call32("ssetmask", bit(USR2)) == bit(USR1)
        assert g.t.sigmask == bit(USR2)

    def test_another_thread_takes_what_one_blocks(self, stage: Stage) -> None:
        g = stage.guest()
        stage.next(lambda _g: ())
        other = stage.system.threads[g.call("clone", 0x50F00, 0x123000, 0, 0, 0)]
        g.p.actions.table[USR1] = SigAction(0x5000, 0x04000000, 0x6000)
        send_to_process(g.p, SigInfo(USR1))
        assert not other.work
        g.call("rt_sigprocmask", 0, g.words(bit(USR1)), 0, 8)
        assert other.work


class TestWaiting:
    def test_a_pending_signal_is_taken_at_once(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.sigmask = mask_of(USR1, 40)
        info = g.room(128)
        g.call("rt_sigqueueinfo", g.p.pid, 40, siginfo(g, 40, SI_QUEUE, 7))
        g.call("kill", g.p.pid, USR1)
        assert g.call("rt_sigtimedwait", g.words(mask_of(40, USR1)), info, 0, 8) == USR1
        assert g.call("rt_sigtimedwait", g.words(mask_of(40, USR1)), info, 0, 8) == 40
        assert g.int32(info + 8) == SI_QUEUE
        assert g.word(info + 24) == 7

    def test_times_out(self, stage: Stage) -> None:
        g = stage.guest()
        with pytest.raises(EAGAIN):
            g.call("rt_sigtimedwait", g.words(bit(USR1)), 0, g.words(0, 0), 8)
        waiting = g.sleep("rt_sigtimedwait", g.words(bit(USR1)), 0, g.words(5, 0), 8)
        with pytest.raises(EAGAIN):
            waiting.time_out()
        assert not stage.system.sigwaiters
        with pytest.raises(EINVAL):
            g.call("rt_sigtimedwait", g.words(bit(USR1)), 0, g.words(0, 1_000_000_000), 8)
        with pytest.raises(EINVAL):
            g.call("rt_sigtimedwait", 0, 0, 0, 4)

    def test_another_signal_interrupts(self, stage: Stage) -> None:
        g = stage.guest()
        waiting = g.sleep("rt_sigtimedwait", g.words(bit(USR1)), 0, 0, 8)
        with pytest.raises(EINTR):
            waiting.interrupt()

    def test_waiting_in_a_running_kernel(self, stage: Stage) -> None:
        seen = []

        def waiter(g: Guest) -> Script:
            yield g("rt_sigprocmask", 0, g.words(bit(USR1)), 0, 8)
            seen.append((yield g("rt_sigtimedwait", g.words(bit(USR1)), 0, 0, 8)))
            yield g("exit_group", 0)

        def sender(g: Guest) -> Script:
            yield g("nanosleep", g.words(0, 5_000_000), 0)
            yield g("kill", g.p.pid - 1, USR1)
            yield g("exit_group", 0)

        assert stage.run(waiter, sender) == [0, 0]
        assert seen == [USR1]

    def test_sigsuspend_puts_the_mask_back(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.sigmask = bit(USR1)
        waiting = g.sleep("rt_sigsuspend", g.words(bit(USR2)), 8)
        assert (g.t.sigmask, g.t.saved_sigmask) == (bit(USR2), bit(USR1))
        with pytest.raises(Restart) as how:
            waiting.interrupt()
        assert how.value.no_handler_only
        with pytest.raises(EINVAL):
            g.call("rt_sigsuspend", g.words(0), 4)

    def test_pause(self, stage: Stage) -> None:
        with pytest.raises(Restart) as how:
            stage.guest().sleep("pause").interrupt()
        assert how.value.no_handler_only


class TestSending:
    def test_who_may(self, stage: Stage) -> None:
        mine, theirs = stage.guest(), stage.guest()
        mine.p.cred, theirs.p.cred = USER, OTHER
        with pytest.raises(EPERM):
            mine.call("kill", theirs.p.pid, 0)
        with pytest.raises(EPERM):
            mine.call("kill", theirs.p.pid, CONT)
        theirs.p.session = mine.p.session
        assert mine.call("kill", theirs.p.pid, CONT) == 0
        theirs.p.cred = OTHER._replace(suid=1000)
        assert mine.call("kill", theirs.p.pid, 0) == 0
        theirs.p.cred = OTHER._replace(euid=1000)               # an effective id is not asked for
        with pytest.raises(EPERM):
            mine.call("tgkill", theirs.p.pid, theirs.t.tid, 0)
        with pytest.raises(EPERM):
            mine.call("kill", 1, 9)

    def test_refusals_and_their_order(self, stage: Stage) -> None:
        g = stage.guest()
        for pid in (9999, -(1 << 31), -4711):
            with pytest.raises(ESRCH):
                g.call("kill", pid, 100)
        with pytest.raises(EINVAL):
            g.call("kill", g.p.pid, 65)
        for args in ((0, 1, 0), (1, 0, 0), (-1, 5, 0)):
            with pytest.raises(EINVAL):
                g.call("tgkill", *args)
        with pytest.raises(ESRCH):
            g.call("tgkill", g.p.pid + 1, g.t.tid, 0)
        with pytest.raises(EINVAL):
            g.call("tkill", 0, 0)

    def test_to_all_and_to_groups(self, stage: Stage) -> None:
        g, other = stage.guest(), stage.guest()
        exit_process(other.p, 0)
        with pytest.raises(ESRCH):
            g.call("kill", -1, 0)
        first, second = stage.guest(), stage.guest()
        first.p.cred, second.p.cred = USER, OTHER
        first.p.pgrp = second.p.pgrp = first.p.pid
        first.t.sigmask = second.t.sigmask = bit(USR1)
        assert first.call("kill", 0, USR1) == 0                 # one success is a success
        assert (first.p.pending.mask, second.p.pending.mask) == (bit(USR1), 0)
        first.p.pgrp = first.p.pid + 1000
        with pytest.raises(EPERM):
            first.call("kill", -second.p.pgrp, USR1)
        assert g.call("kill", -1, 0) == 0

    def test_the_sender_is_told(self, stage: Stage) -> None:
        g, other = stage.guest(), stage.guest()
        g.p.cred = g.p.cred._replace(ruid=5)
        other.t.sigmask = mask_of(USR1, USR2)
        g.call("kill", other.p.pid, USR1)
        g.call("tgkill", other.p.pid, other.t.tid, USR2)
        kept = other.p.pending.take(~0)
        assert kept == SigInfo(USR1, 0, pid=g.p.pid, uid=5)
        kept = other.t.pending.take(~0)
        assert kept is not None
        assert (kept.code, kept.pid) == (SI_TKILL, g.p.pid)

    def test_nobody_speaks_for_the_kernel(self, stage: Stage) -> None:
        g, other = stage.guest(), stage.guest()
        g.t.sigmask = other.t.sigmask = bit(USR1)
        for code in (0, SI_TKILL, 0x80):
            with pytest.raises(EPERM):
                g.call("rt_sigqueueinfo", other.p.pid, USR1, siginfo(g, USR1, code))
            assert g.call("rt_sigqueueinfo", g.p.pid, USR1, siginfo(g, USR1, code)) == 0
        assert g.call("rt_sigqueueinfo", other.p.pid, USR1, siginfo(g, 99, SI_QUEUE)) == 0
        with pytest.raises(EFAULT):
            g.call("rt_sigqueueinfo", 9999, USR1, 0x10)
        assert g.call("rt_tgsigqueueinfo", other.p.pid, other.t.tid, USR1, siginfo(g, USR1, SI_QUEUE, 3)) == 0

    def test_room_for_real_time_signals_is_limited(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.sigmask = ~0
        g.p.rlimits[11] = (2, 2)
        info = siginfo(g, 40, SI_QUEUE)
        assert [g.call("rt_sigqueueinfo", g.p.pid, 40, info) for _ in range(2)] == [0, 0]
        with pytest.raises(EAGAIN):
            g.call("rt_sigqueueinfo", g.p.pid, 40, info)
        assert g.call("kill", g.p.pid, USR1) == 0

    def test_a_zombie_can_be_signalled(self, stage: Stage) -> None:
        g, other = stage.guest(), stage.guest()
        g.p.children.append(other.p)
        other.p.parent = g.p
        exit_process(other.p, 0)
        assert g.call("kill", other.p.pid, 9) == 0


class TestAltStack:
    def test_set_and_read_back(self, stage: Stage) -> None:
        g = stage.guest()
        old = g.room(24)
        assert g.call("sigaltstack", 0, old) == 0
        assert struct.unpack("<Qi4xQ", g.get(old, 24)) == (0, 2, 0)
        g.call("sigaltstack", g.words(0x200000, 0, 8192), 0)
        assert g.t.altstack == AltStack(0x200000, 0, 8192)
        g.call("sigaltstack", g.words(0, 2, 0), old)
        assert struct.unpack("<Qi4xQ", g.get(old, 24)) == (0x200000, 0, 8192)
        assert not g.t.altstack.size

    def test_refusals(self, stage: Stage) -> None:
        g = stage.guest()
        with pytest.raises(ENOMEM):
            g.call("sigaltstack", g.words(0x200000, 0, 1439), 0)
        with pytest.raises(EINVAL):
            g.call("sigaltstack", g.words(0x200000, 4, 8192), 0)
        g.t.altstack = AltStack(STACK - 0x1000, 0, 0x2000)
        g.t.cpu.regs[RSP] = STACK
        old = g.room(24)
        g.call("sigaltstack", 0, old)
        assert g.int32(old + 8) == 1
        with pytest.raises(EPERM):
            g.call("sigaltstack", g.words(0, 2, 0), 0)


class TestSignalfd:
    def test_reading_takes(self, stage: Stage) -> None:
        g = stage.guest()
        g.t.sigmask = mask_of(USR1, 40)
        fd = g.call("signalfd4", -1, g.words(mask_of(USR1, 40, 9)), 8, 0o2004000)
        file = g.p.fds.get(fd)
        assert fd in g.p.fds.cloexec
        assert file.nonblocking
        with pytest.raises(EAGAIN):
            file.read(128)
        g.call("kill", g.p.pid, USR1)
        g.call("rt_sigqueueinfo", g.p.pid, 40, siginfo(g, 40, SI_QUEUE, 0x1_0000_0007))
        assert file.poll() & Poll.IN
        with pytest.raises(EINVAL):
            file.read(127)
        data = file.read(1000)
        assert len(data) == 256
        assert struct.unpack_from("<IiiII", data) == (USR1, 0, 0, g.p.pid, 0)
        assert struct.unpack_from("<Ii", data, 128)[0] == 40
        assert struct.unpack_from("<iQ", data, 128 + 44) == (7, 0x1_0000_0007)
        assert file.poll() == Poll(0)

    def test_a_mask_can_be_changed(self, stage: Stage) -> None:
        g = stage.guest()
        fd = g.call("signalfd4", -1, g.words(bit(USR1)), 8, 0)
        g.call("signalfd4", fd, g.words(bit(USR2)), 8, 0)
        g.t.sigmask = bit(USR2)
        g.call("kill", g.p.pid, USR2)
        assert g.p.fds.get(fd).poll() & Poll.IN
        other = g.call("pidfd_open", g.p.pid, 0)
        for args in ((other, g.words(0), 8, 0), (-1, g.words(0), 4, 0), (-1, g.words(0), 8, 1)):
            with pytest.raises(EINVAL):
                g.call("signalfd4", *args)


def test_orphaned_sessions_do_not_matter_to_kill(stage: Stage) -> None:
    g = stage.guest()
    g.p.session = Session(4)
    assert g.call("kill", g.p.pid, 0) == 0


def test_how_it_prints(stage: Stage) -> None:
    g = stage.guest()
    assert g.show("rt_sigprocmask", 0, g.words(mask_of(2, 15)), 0, 8) == "rt_sigprocmask(SIG_BLOCK, [INT TERM], NULL, 8)"
    action = g.words(0x401000, 0x14000000, 0x402000, 0)
    assert g.show("rt_sigaction", 2, action, 0, 8) == (
        "rt_sigaction(SIGINT, {sa_handler=0x401000, sa_mask=[], sa_flags=SA_RESTORER|SA_RESTART, sa_restorer=0x402000}, NULL, 8)"
    )
    assert g.show("kill", 7, 9) == "kill(7, SIGKILL)"
    assert g.show("sigaltstack", g.words(0x7000, 0, 8192), 0) == "sigaltstack({ss_sp=0x7000, ss_flags=0, ss_size=8192}, NULL)"
