"""A profile that SerenityOS's calls asked for, of one process or of all: what of it calls can tell.

Events are counted against the room they would take; there is no file to read them from, but whoever traces ring3 sees each call
that made one.  Not here: the calls (`calls/serenity/profiling.py`).  Source: Kernel/PerformanceEventBuffer.cpp.
"""

from __future__ import annotations

from typing import Final

from ring3.errors import EINVAL, ENOBUFS

EVENTS_MAX: Final = 50_000
STRINGS_MAX: Final = 4096
TYPES: Final = (1 << 17) - 1            # one bit each, from PERF_EVENT_SAMPLE to PERF_EVENT_READ


class Profile:
    """`mask` says which types of events count; `running`: whether any do now."""

    __slots__ = ("events", "mask", "running", "strings")

    def __init__(self) -> None:
        self.running = False
        self.mask = 0
        self.events = 0
        self.strings: dict[bytes, int] = {}

    def start(self, mask: int) -> None:
        """From now on events of these types count."""
        self.running, self.mask = True, mask

    def append(self, kind: int) -> None:
        """One event.  Raises EINVAL for a type that is none, ENOBUFS where there is no room."""
        if not kind & self.mask:
            return
        if not kind & TYPES or kind & kind - 1:
            raise EINVAL
        if self.events >= EVENTS_MAX:
            raise ENOBUFS
        self.events += 1

    def register(self, text: bytes) -> int:
        """The number of a string, which events name it by.  Raises ENOBUFS."""
        if text not in self.strings and len(self.strings) >= STRINGS_MAX:
            raise ENOBUFS
        return self.strings.setdefault(text, len(self.strings))
