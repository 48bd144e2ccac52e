"""fork, vfork, clone, clone3, unshare."""

from __future__ import annotations

import struct
from collections.abc import Generator

import pytest

from ring3.abi import x86
from ring3.abi.signals import SIG_IGN, SigAction, Signal
from ring3.errors import E2BIG, EAGAIN, EBADF, EFAULT, EINVAL, EMFILE, EPERM, Errno
from ring3.machine.scripted import Trap
from ring3.proc.cred import Cred
from tests.unit.calls.stage import BASE, Guest, Stage, exits, stage

__all__ = ["stage"]

Script = Generator[Trap, int, None]
USER = Cred(1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000)

VM, FS, FILES, SIGHAND, PIDFD, VFORK, PARENT, THREAD = 0x100, 0x200, 0x400, 0x800, 0x1000, 0x4000, 0x8000, 0x10000
SETTLS, PARENT_SETTID, CHILD_CLEARTID, DETACHED, CHILD_SETTID = 0x80000, 0x100000, 0x200000, 0x400000, 0x1000000
NEWNS, NEWUSER, NEWPID = 0x20000, 0x10000000, 0x20000000
PTHREAD = VM | FS | FILES | SIGHAND | THREAD


@pytest.mark.parametrize(("flags", "refusal"), [
    (NEWNS | FS, EINVAL),
    (NEWUSER | FS, EINVAL),
    (VM | THREAD, EINVAL),
    (SIGHAND, EINVAL),
    (PTHREAD | NEWPID, EINVAL),
    (PIDFD | PARENT_SETTID, EINVAL),
    (PIDFD | DETACHED, EINVAL),
    (PIDFD | PTHREAD, EINVAL),
    (NEWNS, EPERM),
    (NEWUSER, EPERM),
])
def test_flags_no_kernel_takes(stage: Stage, flags: int, refusal: type[Errno]) -> None:
    g = stage.guest()
    g.p.cred = USER
    with pytest.raises(refusal):
        g.call("clone", flags | Signal.SIGCHLD, 0, 0, 0, 0)
    assert len(stage.system.procs) == 2
    assert len(stage.machine.cpus) == 1


def test_namespaces_do_not_exist_for_root_either(stage: Stage) -> None:
    with pytest.raises(EINVAL):
        stage.guest().call("clone", NEWNS, 0, 0, 0, 0)


def test_a_child_starts_with_zero_and_the_same_registers(stage: Stage) -> None:
    g = stage.guest()
    stage.next(exits(0))
    g.t.cpu.regs[x86.RBX] = 77
    pid = g.call("fork")
    child = stage.system.threads[pid]
    assert child.cpu.regs[x86.RAX] == 0
    assert child.cpu.regs[x86.RBX] == 77
    assert child.proc.exit_signal == Signal.SIGCHLD
    assert child.proc.parent is g.p
    assert (child.proc.pgrp, child.proc.session) == (g.p.pgrp, g.p.session)
    assert child.proc.vm is not g.p.vm


def test_stack_tls_and_ids_go_where_they_are_wanted(stage: Stage) -> None:
    g = stage.guest()
    stage.next(exits(0))
    words = g.words(0, 0)
    flags = PTHREAD | SETTLS | PARENT_SETTID | CHILD_SETTID | CHILD_CLEARTID
    tid = g.call("clone", flags, 0x123450, words, words + 8, 0x7000)
    child = stage.system.threads[tid]
    assert child.proc is g.p
    assert child.cpu.regs[x86.RSP] == 0x123450
    assert child.cpu.regs[x86.FS_BASE] == 0x7000
    assert (g.int32(words), g.int32(words + 8)) == (tid, tid)
    assert child.clear_child_tid == words + 8


def test_the_childs_id_is_written_in_the_childs_memory(stage: Stage) -> None:
    g = stage.guest()
    stage.next(exits(0))
    word = g.words(5)
    pid = g.call("clone", CHILD_SETTID | Signal.SIGCHLD, 0, 0, word, 0)
    assert g.int32(word) == 5
    assert stage.system.procs[pid].vm.copyin(word, 4) == pid.to_bytes(4, "little")


def test_bad_tls_leaves_nothing_behind(stage: Stage) -> None:
    g = stage.guest()
    with pytest.raises(EPERM):
        g.call("clone", PTHREAD | SETTLS, 0x123450, 0, 0, 1 << 60)
    with pytest.raises(EFAULT):
        g.call32("clone", PTHREAD | SETTLS, 0x123450, 0, 0x10, 0)
    with pytest.raises(EFAULT):
        g.call("clone", PIDFD | Signal.SIGCHLD, 0, 0x10, 0, 0)
    assert len(g.p.threads) == 1
    assert len(stage.system.procs) == 2
    assert [cpu.is_alive for cpu in stage.machine.cpus].count(True) == 1


def test_a_pidfd_without_room_leaves_nothing_behind(stage: Stage) -> None:
    g = stage.guest()
    g.p.rlimits[7] = (0, 0)
    with pytest.raises(EMFILE):
        g.call("clone", PIDFD | Signal.SIGCHLD, 0, g.room(4), 0, 0)
    assert len(stage.system.procs) == 2
    assert not g.p.children


def test_clone_parent_makes_a_sibling(stage: Stage) -> None:
    g = stage.guest()
    stage.next(exits(0))
    pid = g.call("clone", PARENT | Signal.SIGUSR1, 0, 0, 0, 0)
    p = stage.system.procs[pid]
    assert p.parent is g.p.parent
    assert p.exit_signal == g.p.exit_signal


def test_limits_on_processes(stage: Stage) -> None:
    g = stage.guest()
    g.p.cred = USER
    g.p.rlimits[6] = (1, 1)
    with pytest.raises(EAGAIN):
        g.call("fork")


def test_a_vfork_parent_waits_for_its_child(stage: Stage) -> None:
    order = []

    def child(g: Guest) -> Script:
        g.p.vm.copyout(BASE + 0x9000, b"child")
        yield g("nanosleep", g.words(0, 10_000_000), 0)
        order.append("child")
        yield g("exit_group", 7)

    def parent(g: Guest) -> Script:
        stage.next(child)
        pid = yield g("vfork")
        order.append("parent")
        assert g.get(BASE + 0x9000, 5) == b"child"
        status = g.room(4)
        assert (yield g("wait4", pid, status, 0, 0)) == pid
        yield g("exit_group", g.int32(status) >> 8)

    assert stage.run(parent) == [0x700]
    assert order == ["child", "parent"]


def test_a_signal_does_not_end_a_vforks_wait_but_sigkill_does(stage: Stage) -> None:
    def child(g: Guest) -> Script:
        parent = g.p.parent
        assert parent is not None
        yield g("kill", parent.pid, int(Signal.SIGUSR1))
        assert parent.threads[parent.pid].state.value == "sleeping"
        yield g("kill", parent.pid, int(Signal.SIGKILL))
        assert parent.zombie
        yield g("exit_group", 0)

    def parent(g: Guest) -> Script:
        g.p.actions.table[Signal.SIGUSR1] = SigAction(0x5000, 0x04000000, 0x6000)
        stage.next(child)
        yield g("vfork")
        raise AssertionError("went on")

    assert stage.run(parent) == [9]


class TestClone3:
    def args(self, g: Guest, *values: int, size: int = 88) -> tuple[int, int]:
        words = (*values, *([0] * 11))[:11]
        return g.put(struct.pack("<11Q", *words).ljust(size, b"\0")[:size]), size

    @pytest.mark.parametrize(("values", "size", "refusal"), [
        ((), 63, EINVAL),
        ((), 4097, E2BIG),
        ((1 << 34,), 88, EINVAL),
        ((Signal.SIGCHLD,), 88, EINVAL),                          # the signal has a place of its own
        ((DETACHED,), 88, EINVAL),
        ((SIGHAND | VM | 1 << 32,), 88, EINVAL),                  # and CLEAR_SIGHAND
        ((PTHREAD, 0, 0, 0, Signal.SIGCHLD), 88, EINVAL),
        ((0, 0, 0, 0, 65), 88, EINVAL),
        ((0, 0, 0, 0, 17, 0x1000, 0), 88, EINVAL),
        ((0, 0, 0, 0, 17, 0, 0x1000), 88, EINVAL),
        ((0, 0, 0, 0, 17, 0, 0, 0, 0x1000, 0), 88, EINVAL),       # set_tid without a size
        ((0, 0, 0, 0, 17, 0, 0, 0, 0x1000, 1), 88, EPERM),
        ((1 << 33, 0, 0, 0, 17), 80, EINVAL),
        ((1 << 33, 0, 0, 0, 17), 88, EBADF),
    ])
    def test_refusals(self, stage: Stage, values: tuple[int, ...], size: int, refusal: type[Errno]) -> None:
        g = stage.guest()
        with pytest.raises(refusal):
            g.call("clone3", *self.args(g, *values, size=size))

    def test_bytes_beyond_what_is_known_must_be_zero(self, stage: Stage) -> None:
        g = stage.guest()
        addr, _ = self.args(g, 0, 0, 0, 0, 17, size=96)
        stage.next(exits(0))
        assert g.call("clone3", addr, 96) > 0
        g.p.vm.copyout(addr + 90, b"\1")
        with pytest.raises(E2BIG):
            g.call("clone3", addr, 96)
        with pytest.raises(EFAULT):
            g.call("clone3", 0x10, 88)

    def test_a_stack_is_base_and_size(self, stage: Stage) -> None:
        g = stage.guest()
        stage.next(exits(0))
        pid = g.call("clone3", *self.args(g, VM, 0, 0, 0, 17, BASE, 0x1000))
        assert stage.system.threads[pid].cpu.regs[x86.RSP] == BASE + 0x1000

    def test_handlers_can_be_left_behind(self, stage: Stage) -> None:
        g = stage.guest()
        g.p.actions.table[10] = SigAction(0x5000)
        g.p.actions.table[12] = SigAction(SIG_IGN)
        stage.next(exits(0))
        pid = g.call("clone3", *self.args(g, 1 << 32, 0, 0, 0, 17))
        table = stage.system.procs[pid].actions.table
        assert (table[10].handler, table[12].handler) == (0, SIG_IGN)
        assert g.p.actions.table[10].handler == 0x5000


class TestUnshare:
    def test_what_was_shared_is_copied(self, stage: Stage) -> None:
        g = stage.guest()
        stage.next(exits(0))
        pid = g.call("clone", VM | FS | FILES | Signal.SIGCHLD, 0, 0, 0, 0)
        child = stage.system.procs[pid]
        assert child.fds is g.p.fds
        assert child.fs is g.p.fs
        g.call("unshare", FS | FILES)
        assert child.fds is not g.p.fds
        assert child.fs is not g.p.fs
        assert (child.fds.refs, child.fs.refs) == (1, 1)

    def test_refusals(self, stage: Stage) -> None:
        g = stage.guest()
        g.p.cred = USER
        with pytest.raises(EINVAL):
            g.call("unshare", 1)
        with pytest.raises(EPERM):
            g.call("unshare", NEWUSER)
        with pytest.raises(EINVAL):
            g.call("setns", g.call("pidfd_open", g.p.pid, 0), 0)


def test_how_it_prints(stage: Stage) -> None:
    g = stage.guest()
    shown = g.show("clone", CHILD_SETTID | CHILD_CLEARTID | Signal.SIGCHLD, 0, 0, 0x1000, 0)
    assert shown == "clone(CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, NULL, NULL, 0x1000, NULL)"
