"""Everything one kernel has: processes, machine, mounts, clock, names.  Two of them know nothing of each other.

`kernel.py` builds it and puts in what stands on higher floors (how a stop is served, the futexes, the exec switch).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Coroutine, MutableMapping
from typing import Any

from ring3.abi.signals import SigInfo, Signal
from ring3.errors import EBUSY, EINTR, Errno
from ring3.machine.base import Machine
from ring3.proc import signals
from ring3.proc.instruments import Instruments
from ring3.proc.lifecycle import exit_process
from ring3.proc.locks import FileLocks
from ring3.proc.proc import Proc, Rlimit, Thread, ThreadState
from ring3.proc.scheduler import Scheduler, Timer
from ring3.protocols import Abi, FileGuard, Instrument, Personality
from ring3.vm.region import VMObject
from ring3.waiting import Sleep, WaitQueue

PID_MAX = 32768


class System:
    """One kernel's state.  Not for use from other threads, but for `scheduler.post`."""

    EINTR: type[Errno] = EINTR

    def __init__(self, machine: Machine, serve: Callable[[Thread], None], *, seed: int | None) -> None:
        self.machine = machine
        self.facts = machine.facts
        self.scheduler = Scheduler(machine, serve)
        self.procs: dict[int, Proc] = {}
        self.threads: dict[int, Thread] = {}
        self.personalities: MutableMapping[str, Personality] = {}
        self.execsw: Any = None
        self.mounts: Any = None
        self.anonymous: Any = None               # inode numbers of pipes, sockets … (vfs)
        self.futexes: Any = None
        self.file_locks = FileLocks()
        self.new_ktracer: Callable[[], Instrument] | None = None     # makes who writes what ktrace(2) asks for ...
        self.ktracer: Instrument | None = None                       # ... while any process is traced
        self.guard: FileGuard | None = None      # asked about files beyond permissions (policy/veriexec.py)
        self.memfds: Any = None                  # the file system of memfd_create, made when first asked for
        self.sockets: Any = None                 # the names of sockets, likewise
        self.ksems: Any = None                   # NetBSD's semaphores (proc/ksem.py), likewise
        self.segments: Any = None                # System V shared memory (proc/sysvshm.py), likewise
        self.ptys: Any = None                    # the pseudo-terminals
        self.jails: list[Any] = []               # SerenityOS's (proc/jails.py)
        self.core_directory = b""                # where its programs' core files go; empty: none are written
        self.profile: Any = None                 # of all processes (proc/profile.py), where SerenityOS's calls began one
        self.keymap: Any = None                  # the keyboard's map (calls/serenity/keyboard.py), likewise
        self.host_terminal: Any = None           # job control of the terminal ring3 itself runs at
        self.host_terminal_fd = -1               # a descriptor of that terminal, for /dev/tty
        self.hostname = b"ring3"
        self.domainname = b"(none)"
        self.seed = seed
        self.random: random.Random = random.SystemRandom() if seed is None else random.Random(seed)
        self.boot_ns = time.monotonic_ns()
        self.max_procs = 16384
        self.countdowns = 0                      # timers of processes that run (proc/timers.py)
        self.jobs = {1}                          # process groups somebody outside looks after, as a shell does: never orphaned
        self.instruments = Instruments()
        self.shown_bytes = 32           # of a string, in what instruments print (strace -s)
        self.exec_hooks: tuple[Callable[[Proc], None], ...] = ()    # called at every exec, behind its point of no return
        self.time_page: Any = None               # SerenityOS's, made when first asked for (calls/serenity/timepage.py)
        self.extents: dict[tuple[int, int], Any] = {}               # of files its programs share (calls/serenity/extents.py)
        self.sigcode: dict[bytes, VMObject] = {}                    # signal trampolines that images are shown, by their code
        self.missing_calls: dict[str, int] = {}  # name or number of calls that answered ENOSYS -> how often
        self.served_calls = 0
        self.ended_procs = 0
        self.peak_bytes = 0                      # the largest address space of a process that ended
        self.current: Thread | None = None       # the thread being served
        self.sigwaiters: dict[Thread, int] = {}
        self.resumable: dict[Thread, Callable[[Thread], Coroutine[Sleep, Any, int]]] = {}
        self.on_reap: Callable[[Proc], None] | None = None
        self.on_job_change: Callable[[Proc], None] | None = None
        self.interpose: Callable[[Any], Any] | None = None      # abis -> abis with hooks in them (calls/interpose.py)
        self.on_decision: Callable[[Proc, Any], None] | None = None     # of a policy (policy/confinement.py: Decision)
        self.on_debug: Callable[[Proc, bytes], None] | None = None      # text for the kernel's log (SerenityOS's dbgputstr)
        self.on_instrument_failure: Callable[[Instrument, BaseException], None] | None = None
        self._signal_queues: dict[int, WaitQueue] = {}
        self._last_pid = 1
        self.init = self._make_init()

    def _make_init(self) -> Proc:
        """Process 1: the kernel's own, parent of every process without one.  It runs nothing and collects its children."""
        init = Proc(self, 1, None)
        init.comm_parent = b"init"
        init.rlimits = default_rlimits()
        self.procs[1] = init
        return init

    # --- clocks
    def now_ns(self) -> int:
        """CLOCK_MONOTONIC, ns."""
        return time.monotonic_ns()

    def schedule(self, deadline_ns: int, callback: Callable[[], None]) -> Timer:
        """Call back once CLOCK_MONOTONIC reaches `deadline_ns`."""
        return self.scheduler.timers.schedule(deadline_ns, callback)

    # --- pids
    def new_pid(self) -> int:
        """The next free id."""
        pid = self._last_pid
        while True:
            pid += 1
            if pid >= PID_MAX:
                pid = 300
            if pid not in self.procs and pid not in self.threads and not self._in_use(pid):
                self._last_pid = pid
                return pid

    def return_pid(self, pid: int) -> None:
        """Nothing came of the process that had just got this id: the next one gets it."""
        if pid == self._last_pid:
            self._last_pid = pid - 1

    def _in_use(self, pid: int) -> bool:
        return self._last_pid > PID_MAX // 2 and any(pid in (p.pgrp, p.session.sid) for p in self.procs.values())

    # --- what lower parts ask for
    def send_to_process(self, p: Proc, info: SigInfo) -> bool:
        return signals.send_to_process(p, info)

    def signal_queue(self, p: Proc) -> WaitQueue:
        """Woken when a signal is queued for `p` (signalfd)."""
        queue = self._signal_queues.get(p.pid)
        if queue is None:
            queue = self._signal_queues[p.pid] = WaitQueue()
        return queue

    def call_abi(self, t: Thread) -> Abi:
        """The instruction set of the call `t` is in."""
        return t.proc.personality.abis[t.cpu.arch]

    def leave(self, t: Thread) -> None:
        """`t` has been served and goes back to its program, unless a signal, a stop or its death says otherwise."""
        if t.work and not self._attend(t):
            return
        if t.state is not ThreadState.DEAD:
            t.state = ThreadState.RUNNING
            t.cpu.resume()

    def _attend(self, t: Thread) -> bool:
        try:
            return signals.attend(t)
        except (Errno, OSError, MemoryError):        # the host has no memory for it, or its stub was killed
            exit_process(t.proc, Signal.SIGKILL)
            return False

    def release_futexes(self, t: Thread) -> None:
        """A thread ends: its robust list is walked, its clear_child_tid cleared and woken."""
        if self.futexes is not None:
            self.futexes.thread_ends(t)

    def forget_thread(self, t: Thread) -> None:
        self.sigwaiters.pop(t, None)
        self.resumable.pop(t, None)
        if t.tid != t.proc.pid:
            self.threads.pop(t.tid, None)

    def cancel_timers(self, p: Proc) -> None:
        """Interval and POSIX timers of a process that ends or runs another program."""
        for timer in (*p.itimers.values(), *p.posix_timers.values()):
            timer.cancel()
        p.itimers.clear()
        p.posix_timers.clear()

    def account_exit(self, p: Proc) -> None:
        """Last measurements before the memory goes."""
        p.usage.max_rss = max(p.usage.max_rss, p.vm.peak_bytes)
        self.ended_procs += 1
        self.peak_bytes = max(self.peak_bytes, p.vm.peak_bytes)

    def is_orphaned(self, pgrp: int) -> bool:
        """Whether no member of a process group has a parent in the same session but another group (POSIX)."""
        if pgrp in self.jobs:
            return False
        for p in self.procs.values():
            if p.pgrp == pgrp and not p.zombie and p.parent is not None and p.parent is not self.init:
                parent = p.parent
                if parent.pgrp != pgrp and parent.session is p.session and not parent.exiting:
                    return False
        return True

    def orphan_stopped(self, pgrp: int) -> None:
        """A group with stopped members became orphaned: SIGHUP, then SIGCONT."""
        for signo in (Signal.SIGHUP, Signal.SIGCONT):
            signals.send_to_group(self, pgrp, signals.kernel_signal(signo))

    def hang_up(self, tty: Any) -> None:
        """The session leader of a terminal ended."""
        foreground = tty.foreground
        tty.disassociate()
        if foreground:
            for signo in (Signal.SIGHUP, Signal.SIGCONT):
                signals.send_to_group(self, foreground, signals.kernel_signal(signo))

    def job_changed(self, p: Proc) -> None:
        if self.on_job_change is not None:
            self.on_job_change(p)

    def reaped(self, p: Proc) -> None:
        self._signal_queues.pop(p.pid, None)
        if self.on_reap is not None:
            self.on_reap(p)

    def object_moved(self, moved: VMObject) -> None:
        """The pages of a mapped file live elsewhere now (it was copied up): map its shared regions anew in every space.

        In a space whose threads all run, that happens when the first of them stops, which is asked for.
        """
        spaces = {id(p.vm): p for p in self.procs.values() if p is not self.init and not p.zombie and p.vm.shows(moved)}
        for p in spaces.values():
            try:
                p.vm.remap(lambda found: found is moved)
            except EBUSY:
                for t in p.live_threads():
                    t.stale_objects = (*t.stale_objects, moved)
                    t.work |= signals.REMAP_WORK
                    t.cpu.interrupt()

    # --- watching
    def tell(self, hook: str, *facts: Any) -> None:
        """Call one hook of every instrument; one that raises is dropped and reported."""
        for instrument, method in self.instruments.listening(hook):
            try:
                method(*facts)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - somebody else's code must not end the run (style.md 1.6)
                self.instruments.remove(instrument)
                if self.on_instrument_failure is not None:
                    self.on_instrument_failure(instrument, error)

    def count_missing(self, name: str) -> None:
        """A call answered ENOSYS because nobody wrote it."""
        self.missing_calls[name] = self.missing_calls.get(name, 0) + 1


def default_rlimits() -> list[tuple[int, int]]:
    """Soft and hard limits of a new process, by resource: the host process's own where they mean the same here."""
    import resource  # the host's, asked once

    limits = []
    for which in Rlimit:
        soft, hard = resource.getrlimit(which)
        limits.append((soft & (1 << 64) - 1, hard & (1 << 64) - 1))
    return limits
