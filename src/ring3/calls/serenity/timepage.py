"""SerenityOS's time page: the clocks, for programs to read without a call (map_time_page).

One page for all processes, written at each tick and only while somebody has it mapped.  Layout: u32 `update1`, at 8 five timespecs
(real time, monotonic, monotonic raw, and the first two, coarse), u32 `update2` at 88.  A reader takes the times for one moment's
where `update1`, read first, equals `update2`, read last.
Source: TimeManagement::update_time_page, LibC time.cpp (reference, section 4.8).
"""

from __future__ import annotations

import os
import struct
import time
from typing import TYPE_CHECKING, Final

from ring3.abi.flags import Prot
from ring3.calls.serenity.regions import make_region
from ring3.calls.syscall import syscall
from ring3.proc.clocks import MONOTONIC, MONOTONIC_COARSE, MONOTONIC_RAW, REALTIME, REALTIME_COARSE
from ring3.proc.proc import Thread
from ring3.vfs.mapping import VnodeObject
from ring3.vfs.memfd import memfd_create
from ring3.vfs.memory import MemoryFS
from ring3.vm.region import PAGE, Region

if TYPE_CHECKING:
    from ring3.proc.scheduler import Timer
    from ring3.proc.system import System
    from ring3.vfs.memfd import MemFile

TICK_NS: Final = 4_000_000                  # 250 a second
_CLOCKS: Final = (REALTIME, MONOTONIC, MONOTONIC_RAW, REALTIME_COARSE, MONOTONIC_COARSE)
_TIMES: Final = struct.Struct("<10q")
_COUNT: Final = struct.Struct("<I")
_UPDATE1, _TIMES_AT, _UPDATE2 = 0, 8, 88
_SECOND: Final = 1_000_000_000


class TimePage(VnodeObject):
    """The page.  It ticks while a region shows it."""

    __slots__ = ("_count", "_system", "_timer")

    def __init__(self, system: System, file: MemFile) -> None:
        assert file.vnode is not None
        super().__init__(file.vnode, name=b"Kernel time page")
        file.acquire()
        file.write(bytes(PAGE))
        self._system = system
        self._timer: Timer | None = None
        self._count = 0

    def mapped(self, region: Region) -> None:
        super().mapped(region)
        if self._timer is None:
            self._tick()

    def unmapped(self, region: Region) -> None:
        super().unmapped(region)
        if not self.regions and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = self._system.schedule(self._system.now_ns() + TICK_NS, self._tick)
        self.update()

    def update(self) -> None:
        """Write the clocks of now."""
        fd = self.vnode.host_fd(write=True)
        self._count = self._count + 1 & 0xFFFF_FFFF
        words: list[int] = []
        for clock in _CLOCKS:
            words += divmod(time.clock_gettime_ns(clock), _SECOND)
        count = _COUNT.pack(self._count)
        os.pwrite(fd, count, _UPDATE2)
        os.pwrite(fd, _TIMES.pack(*words), _TIMES_AT)
        os.pwrite(fd, count, _UPDATE1)


def time_page(system: System) -> TimePage:
    """The kernel's one time page, made when first asked for."""
    found = system.time_page
    if found is None:
        if system.memfds is None:
            system.memfds = MemoryFS()
        found = system.time_page = TimePage(system, memfd_create(system.memfds, b"time", 0))
    assert isinstance(found, TimePage)
    return found


@syscall(pledge="stdio")
def sys_map_time_page(t: Thread) -> int:
    """Map the time page, to be read; where it is."""
    return make_region(t, PAGE, int(Prot.READ), b"Kernel time page", backing=time_page(t.system)).start
