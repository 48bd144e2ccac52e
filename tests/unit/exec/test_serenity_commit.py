"""What SerenityOS's exec keeps and what it resets, on the scripted machine."""

from __future__ import annotations

import os
from typing import Any

import pytest

from ring3.abi import x86
from ring3.abi.signals import SIG_IGN, AltStack, SigAction, Signal, bit
from ring3.calls.futex import wait
from ring3.exec.commit import commit
from ring3.exec.formats.serenity import loader_descriptor
from ring3.exec.package import ExecPackage
from ring3.personality.serenity import serenity_personality
from ring3.personality.serenity.sigframe import TRAMPOLINE
from ring3.proc import tracing
from ring3.proc.futex import Futexes
from ring3.proc.lifecycle import add_thread
from ring3.proc.proc import Thread, ThreadState
from ring3.proc.signals import kernel_signal
from ring3.proc.tasks import tasks_of
from ring3.protocols import Instrument
from ring3.vfs.memfd import memfd_create
from ring3.vfs.memory import MemoryFS
from tests.rows import row
from tests.unit.exec.test_serenity_rows import GOOD, Serenity, loads
from tests.unit.exec.test_serenity_rows import bench as bench  # noqa: PLC0414 - the fixture


@pytest.fixture
def running(bench: Serenity) -> Serenity:
    """A bench whose process runs a program."""
    bench.start(bench.file("first", GOOD))
    return bench


def again(bench: Serenity, data: bytes = GOOD, mode: int = 0o755) -> Any:
    return bench.start(bench.file("second", data, mode))


def another_thread(bench: Serenity) -> Thread:
    p = bench.t.proc
    other = add_thread(p, bench.system.new_pid(), bench.t, bench.machine.new_thread(p.vm.machine))
    other.state = ThreadState.SLEEPING
    return other


@row("serenity", "reset_signals_for_exec", "mask and pending signals stay, the alternate stack goes")
def test_mask_and_pending_signals(running: Serenity) -> None:
    t = running.t
    t.sigmask = bit(Signal.SIGHUP) | bit(Signal.SIGUSR1)
    t.pending.add(kernel_signal(Signal.SIGUSR1))
    t.proc.pending.add(kernel_signal(Signal.SIGHUP))
    t.altstack = AltStack(0x10000, 0, 32768)
    again(running)
    assert t.sigmask == bit(Signal.SIGHUP) | bit(Signal.SIGUSR1)
    assert t.pending.mask | t.proc.pending.mask == t.sigmask
    assert t.altstack == AltStack()


@row("serenity", "clear_signal_handlers_for_exec", "flags and mask of an ignored signal are forgotten with everybody else's")
def test_flags_of_an_ignored_signal(running: Serenity) -> None:
    running.t.proc.actions.table[Signal.SIGTERM] = SigAction(SIG_IGN, 4, 0, 1)
    again(running)
    assert running.t.proc.actions.table[Signal.SIGTERM] == SigAction(SIG_IGN)


@row("serenity", "kill_threads_except_self", "all other threads end at the point of no return, whichever thread calls")
def test_other_threads(running: Serenity) -> None:
    first, other = running.t, another_thread(running)
    p = first.proc
    commit(other, running.load(running.check(running.file("second", GOOD))))
    assert p.live_threads() == [other]
    assert first.state is ThreadState.DEAD


@row(
    "serenity", "do_exec, protected_data.pid",
    "the process keeps its id and the thread that called takes it, where the original gives the process that thread's: "
    "here parents, groups and sessions know a process by its id",
)
def test_the_process_keeps_its_id(running: Serenity) -> None:
    p, other = running.t.proc, another_thread(running)
    before = other.tid
    commit(other, running.load(running.check(running.file("second", GOOD))))
    assert (p.pid, other.tid, p.threads) == (p.pid, p.pid, {p.pid: other})
    assert running.system.threads.get(before) is None
    assert running.system.procs[p.pid] is p


@row("serenity", "do_exec, m_coredump_properties", "what a core file would tell is forgotten, all four slots are free again")
def test_coredump_properties(running: Serenity) -> None:
    tasks = tasks_of(running.t.proc)
    for _ in range(4):
        tasks.describe(b"key", b"value")
    again(running)
    tasks.describe(b"key", b"value")
    assert tasks.coredump == [(b"key", b"value")]


@row("serenity", "do_exec, protected_data.dumpable", "an image without set-id bits is dumpable, even if the process was not before")
def test_dumpable_again(running: Serenity) -> None:
    running.t.proc.dumpable = 0
    again(running)
    assert running.t.proc.dumpable == 1


class Watcher(Instrument):
    """Remembers what it was told of execs."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def exec(self, thread: Any, plan: Any) -> None:
        self.told.append(thread.proc.comm)


@row("serenity", "do_exec, add_process_exec_event", "who watches hears of it when the process is the new program already")
def test_the_exec_event(running: Serenity) -> None:
    watcher = Watcher()
    running.system.instruments.append(watcher)
    again(running)
    assert watcher.told == [b"second"]


@row("serenity", "do_exec, set_name", "process and thread are named after the program, whatever they were named before")
def test_names(running: Serenity) -> None:
    tasks_of(running.t.proc).title = b"something else"
    running.t.comm = b"a thread"
    again(running)
    assert (running.t.proc.comm, running.t.comm) == (b"second", b"second")


@row("serenity", "clear_futex_queues_on_exec", "nobody waits on the old program's futexes any more")
def test_futexes(running: Serenity) -> None:
    futexes = running.system.futexes = Futexes(running.system)
    other = another_thread(running)
    data = next(region for region in running.t.proc.vm if b"data-rw" in region.label)
    other.coroutine = wait(other, data.start, 0, 1, None, private=True)
    other.coroutine.send(None)
    assert len(futexes.lines) == 1
    again(running)
    assert not futexes.lines


@row("serenity", "do_exec, FD_CLOEXEC", "close-on-exec descriptors close, the others stay")
def test_descriptors(running: Serenity) -> None:
    fds = running.t.proc.fds
    kept, closed = memfd(running), memfd(running)
    fds.set(3, kept)
    fds.set(4, closed, cloexec=True)
    again(running)
    assert sorted(fds.files) == [3]


@row(
    "serenity", "do_exec, main_program_fd_allocation",
    "the loader's descriptor is close-on-exec itself, and numbered before those that close are closed",
)
def test_the_loaders_descriptor_closes(running: Serenity) -> None:
    loader = running.file("loader", GOOD)
    fds = running.t.proc.fds
    fds.set(0, memfd(running), cloexec=True)
    again(running, loads(os.fsencode(loader)))
    assert (sorted(fds.files), fds.cloexec) == ([1], {1})
    running.start(running.file("third", GOOD))
    assert not fds.files


def test_any_systems_process_hands_its_program_to_the_loader(bench: Serenity, monkeypatch: pytest.MonkeyPatch) -> None:
    """The descriptor belongs to the image: a caller of another system gives it as well."""
    loader = bench.file("loader", GOOD)
    monkeypatch.setattr("ring3.exec.formats.serenity.LOADER", os.fsencode(loader))
    bench.t.proc.personality = bench.system.personalities["linux"]
    plan = bench.start(bench.file("p", loads(os.fsencode(loader))))
    assert plan.personality.name == "serenity"
    assert bench.t.proc.fds.cloexec == {0}


@row("serenity", "do_exec, m_executable", "the process's executable is the program, never its loader")
def test_the_executable(running: Serenity) -> None:
    loader = running.file("loader", GOOD)
    again(running, loads(os.fsencode(loader)))
    exe = running.t.proc.exe
    assert exe is not None
    assert exe.path(running.system.mounts.root).endswith(b"/second")


@row(
    "serenity", "do_exec, wait_for_tracer_at_next_execve",
    "who asked to be traced stops with SIGSTOP at every exec from then on; nothing takes that back",
)
def test_the_tracers_stop(running: Serenity) -> None:
    p = running.t.proc
    tasks_of(p).waits_for_tracer = True
    for _ in range(2):
        again(running)
        assert (p.stopped_by, p.stop_reported) == (Signal.SIGSTOP, False)
        p.stopped_by = 0


@row("serenity", "do_exec, ptrace_lock", "a tracer stays, and nobody sees a process inside of an exec: it is one piece")
def test_a_tracer_stays(running: Serenity) -> None:
    p, tracer = running.t.proc, running.process().proc
    tracer.personality = serenity_personality()
    tracing.attach(tracer, p)
    again(running)
    assert p.tracing.tracer is tracer
    assert not p.in_exec
    assert not p.stopped_by


@row("serenity", "do_exec, signal_trampoline_region", "one page somewhere at random, to read and run, shared, named")
def test_the_trampoline(running: Serenity) -> None:
    vm = running.t.proc.vm
    region = vm.find(vm.sigcode)
    assert region is not None
    assert (region.start, region.end - region.start, region.prot, region.shared) == (vm.sigcode, 4096, 5, True)
    assert region.label == b"Signal trampoline"
    assert vm.machine.read(vm.sigcode, len(TRAMPOLINE)) == TRAMPOLINE
    again(running)
    assert running.t.proc.vm.sigcode != region.start


@row("serenity", "do_exec, reset_fpu_state", "the extended state is a new program's; registers without a meaning are 0")
def test_the_cpus_state(running: Serenity) -> None:
    fresh = running.t.cpu.read_xstate()
    running.t.cpu.write_xstate(bytes([1, *fresh[1:]]))
    running.t.cpu.regs[x86.R12] = 77
    again(running)
    assert running.t.cpu.read_xstate() == fresh
    assert running.t.cpu.regs[x86.R12] == 0


def test_the_loaders_descriptor_is_the_lowest_free_one(running: Serenity) -> None:
    fds = running.t.proc.fds
    fds.set(0, memfd(running))
    fds.set(2, memfd(running))
    package = ExecPackage(running.t, running.request("/x"))
    assert loader_descriptor(package) == 1


def memfd(bench: Serenity) -> Any:
    if bench.system.memfds is None:
        bench.system.memfds = MemoryFS()
    return memfd_create(bench.system.memfds, b"x", 0)
