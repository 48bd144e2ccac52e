"""On which CPUs stubs run.

A stop costs 10 µs when kernel and stub share a CPU and 50 to 75 µs when they do not, so everything begins pinned to
the CPU the kernel thread was on.  Two guest threads that compute want two CPUs: while more than one runs, a tick looks
every few milliseconds; when they ran side by side for a while and rarely stopped, all but one may go anywhere.  One
that runs alone again, or a group that stops often, is called home.  A script that forks much never runs two threads
long enough to pay.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ring3.machine.native.cpu import NativeCpu

TICK_NS: Final = 4_000_000
SLOWEST_TICK_NS: Final = 64_000_000
SPREAD_BELOW: Final = 30 / TICK_NS         # stops per nanosecond
GATHER_ABOVE: Final = 60 / TICK_NS
ROUNDS: Final = 2                          # ticks in a row with more than one running


class Affinity:
    """The CPUs of one kernel thread and its stubs."""

    def __init__(self) -> None:
        self._everywhere = os.sched_getaffinity(0)
        self._home: frozenset[int] = frozenset()
        self._tick_ns = TICK_NS
        self._rounds = 0
        self._last_serial = 0
        self.is_ticking = False

    def pin(self, cpu: int) -> None:
        """Tie the calling thread, and the stubs it makes, to `cpu`; not where there is only one."""
        if len(self._everywhere) > 1 and cpu in self._everywhere:
            self._home = frozenset((cpu,))
            os.sched_setaffinity(0, self._home)

    @property
    def ncpus(self) -> int:
        """How many CPUs guests may come to use."""
        return len(self._everywhere)

    @property
    def can_spread(self) -> bool:
        """Whether there is more than one CPU to choose from."""
        return bool(self._home)

    def restore(self) -> None:
        """Give the calling thread its CPUs back."""
        if self._home and os.sched_getaffinity(0) == self._home:
            os.sched_setaffinity(0, self._everywhere)
        self._home = frozenset()

    def first_tick(self, serial: int) -> int:
        """Begin to look: nanoseconds to the next tick."""
        self.is_ticking = True
        self._rounds, self._last_serial, self._tick_ns = 0, serial, TICK_NS
        return self._tick_ns

    def tick(self, running: Iterable[NativeCpu], serial: int) -> int:
        """Look at who runs: nanoseconds to the next tick, 0 to stop looking."""
        running = list(running)
        stops, self._last_serial = serial - self._last_serial, serial
        if len(running) < 2:
            self.is_ticking = False
            return 0
        rate = stops / self._tick_ns
        if rate > GATHER_ABOVE:
            self._rounds = 0
            for cpu in running:
                self.gather(cpu)
            return self._tick_ns
        if rate < SPREAD_BELOW:
            self._rounds += 1
        if self._rounds >= ROUNDS:
            at_home = [cpu for cpu in running if not cpu.spread]
            for cpu in at_home[1:]:
                _allow(cpu.pid, self._everywhere)
                cpu.spread = True
            self._tick_ns = min(self._tick_ns * 2, SLOWEST_TICK_NS)
        return self._tick_ns

    def gather(self, cpu: NativeCpu) -> None:
        """Call one home."""
        if cpu.spread:
            _allow(cpu.pid, self._home)
            cpu.spread = False


def _allow(pid: int, cpus: Iterable[int]) -> None:
    with contextlib.suppress(OSError):       # it is dying, or a cpuset changed: only speed is at stake
        os.sched_setaffinity(pid, cpus)
