"""Timers of a process: the three interval timers and POSIX timers, as things that send signals.

Timers on real clocks are call-backs of the scheduler.  Timers on CPU time look again when the process could have used up what is
left, with the grain of Linux's tick (4 ms).  An expiry whose signal is still pending sends no second one and is counted as
overrun.

So that no guest keeps the kernel busy with its clock alone, an interval is served a thousand times a second at most, and the more
timers there are the less often: all of them together 20 000 times.  What is left out counts as overruns.
Sources: setitimer(2), timer_create(2), timer_getoverrun(2), kernel/time/{itimer,posix-timers}.c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ring3.abi.filerecords import TimerSpec
from ring3.abi.signals import SI_KERNEL, SI_TIMER, SigInfo, Signal
from ring3.proc import clocks, signals
from ring3.proc.cputime import process_ns, thread_ns
from ring3.proc.proc import RLIM_INFINITY, Proc, Rlimit, Thread, ThreadState

_TICK_NS: Final = 4_000_000
_SECOND: Final = 1_000_000_000
_MIN_INTERVAL_NS: Final = 1_000_000
_SHARE_NS: Final = 50_000
_MAX_OVERRUN: Final = 0x7FFF_FFFF
SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, SIGEV_THREAD_ID = 0, 1, 2, 4


class Countdown:
    """One timer: when it expires next, how often, and what then.

    `clock()` reads its clock in ns; `on_cpu` says that clock may stand still.
    """

    __slots__ = ("_pending", "clock", "expires", "interval", "on_cpu", "proc")

    def __init__(self, proc: Proc, clock: Callable[[], int], *, on_cpu: bool) -> None:
        self.proc = proc
        self.clock = clock
        self.on_cpu = on_cpu
        self.expires = 0              # on its own clock; 0 while it is not armed
        self.interval = 0
        self._pending: Any = None

    def arm(self, expires: int, interval: int) -> None:
        """Expire at `expires` of its clock, then every `interval` (0: once)."""
        self.cancel()
        self.expires = max(expires, 1)
        self.interval = interval
        if not self.on_cpu and self.expires <= self.clock():
            self._due()
        else:
            self._wait()

    def cancel(self) -> None:
        """Not armed any more."""
        self.expires = 0
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
            self.proc.system.countdowns -= 1

    def setting(self) -> TimerSpec:
        """What is left, and the interval; a timer that is due shows 1 ns, for 0 would mean not armed."""
        if not self.expires:
            return TimerSpec(self.interval, 0)
        return TimerSpec(self.interval, max(self.expires - self.clock(), 1))

    def _wait(self) -> None:
        left = self.expires - self.clock()
        if self.on_cpu:
            runners = max(len(self.proc.live_threads()), 1)
            left = max(left // runners, _TICK_NS, self._pace())
        system = self.proc.system
        system.countdowns += 1
        self._pending = system.schedule(min(system.now_ns() + max(left, 0), clocks.KTIME_MAX), self._due)

    def _pace(self) -> int:
        """The shortest interval that is served now, in ns."""
        return max(_MIN_INTERVAL_NS, self.proc.system.countdowns * _SHARE_NS)

    def _due(self) -> None:
        if self._pending is not None:
            self._pending = None
            self.proc.system.countdowns -= 1
        now = self.clock()
        if not self.expires:
            return
        if now < self.expires:
            self._wait()
            return
        times = 1
        if self.interval:
            times += (now - self.expires) // self.interval
            self.expires += times * self.interval
            if not self.on_cpu and self.interval < (pace := self._pace()):
                more = (pace - 1) // self.interval
                self.expires += more * self.interval
                times += more
        else:
            self.expires = 0
        self.fire(times)
        if self.expires and self._pending is None:
            self._wait()

    def fire(self, times: int) -> None:
        """It expired, so many times at once."""
        raise NotImplementedError


class IntervalTimer(Countdown):
    """ITIMER_REAL, ITIMER_VIRTUAL or ITIMER_PROF."""

    __slots__ = ("signo",)

    REAL: Final = 0

    def __init__(self, proc: Proc, which: int) -> None:
        system = proc.system
        clock = system.now_ns if which == self.REAL else lambda: process_ns(proc)
        super().__init__(proc, clock, on_cpu=which != self.REAL)
        self.signo = (Signal.SIGALRM, Signal.SIGVTALRM, Signal.SIGPROF)[which]

    def fire(self, times: int) -> None:
        del times
        signals.send_to_process(self.proc, SigInfo(self.signo, SI_KERNEL))


class CpuLimit(Countdown):
    """RLIMIT_CPU: SIGXCPU at the soft limit and every second after it, SIGKILL at the hard one (getrlimit(2))."""

    __slots__ = ()

    KEY: Final = 3              # in `Proc.itimers`, behind the interval timers

    def __init__(self, proc: Proc) -> None:
        super().__init__(proc, lambda: process_ns(proc), on_cpu=True)

    def fire(self, times: int) -> None:
        del times
        hard = self.proc.rlimits[Rlimit.CPU][1]
        over = hard != RLIM_INFINITY and self.clock() >= hard * _SECOND
        signals.send_to_process(self.proc, SigInfo(Signal.SIGKILL if over else Signal.SIGXCPU, SI_KERNEL))


def watch_cpu_limit(p: Proc) -> None:
    """RLIMIT_CPU of a process was set, or inherited."""
    limit = p.itimers.pop(CpuLimit.KEY, None)
    if limit is not None:
        limit.cancel()
    soft = p.rlimits[Rlimit.CPU][0]
    if soft != RLIM_INFINITY:
        limit = p.itimers[CpuLimit.KEY] = CpuLimit(p)
        limit.arm(max(soft, 1) * _SECOND, _SECOND)


class PosixTimer(Countdown):
    """What timer_create(2) makes.  `target` is the thread it signals, None for the whole process."""

    __slots__ = ("clock_id", "id", "late", "notify", "overrun", "signo", "target", "value")

    def __init__(
        self, t: Thread, number: int, clock_id: int, *, notify: int, signo: int, value: int, target: Thread | None
    ) -> None:
        subject = clocks.cpu_clock(t, clock_id)
        if subject is None:
            clock: Callable[[], int] = lambda: clocks.now(t, clock_id)  # noqa: E731
        elif isinstance(subject, Proc):
            clock = lambda: process_ns(subject)  # noqa: E731
        else:
            clock = lambda: thread_ns(subject)  # noqa: E731
        super().__init__(t.proc, clock, on_cpu=subject is not None)
        self.id = number
        self.clock_id = clock_id
        self.notify = notify
        self.signo = signo
        self.value = value
        self.target = target
        self.overrun = 0                # of the last signal that was taken
        self.late = 0                   # expiries since the one whose signal is pending

    def fire(self, times: int) -> None:
        if self.notify & ~SIGEV_THREAD_ID == SIGEV_NONE:
            return
        target = self.target
        queue = self.proc.pending if target is None else target.pending
        if self.id in queue.timers:
            self.late += times
            return
        self.late = 0
        info = SigInfo(self.signo, SI_TIMER, timer_id=self.id, overrun=min(times - 1, _MAX_OVERRUN), value=self.value)
        if target is None:
            signals.send_to_process(self.proc, info)
        elif target.state is not ThreadState.DEAD:
            signals.send_to_thread(target, info)

    def taken(self, info: SigInfo) -> SigInfo:
        """Its signal is taken now: as it is to be told."""
        self.overrun = min(info.overrun + self.late, _MAX_OVERRUN)
        self.late = 0
        return info._replace(overrun=self.overrun)


def delete_posix_timers(p: Proc) -> None:
    """exec: POSIX timers go, interval timers stay (execve(2))."""
    for timer in p.posix_timers.values():
        timer.cancel()
    p.posix_timers.clear()
