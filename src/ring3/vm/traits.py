"""What a system remembers of its regions and spaces beyond protection and place: SerenityOS's marks, history and purging.

A region has a `Traits` of its own or none; regions with one never merge, and a part that is split off has a copy.  A space has a
`SpaceTraits` once there is something to remember.  Systems that need neither have None in both places.

Not here: what follows from them (`calls/serenity/`).
Source: Kernel/Memory/Region.h and AddressSpace.h (reference, sections 1.12 and 1.15 to 1.17).
"""

from __future__ import annotations

from typing import Final

from ring3.namedtuple import NamedTuple

# What a region is marked as.
STACK: Final = 1                # stack pointers may point into it
SYSCALL: Final = 2              # system calls may come from it, where the space insists
MMAP: Final = 4                 # made by a program's own call: it may be changed and taken away
IMMUTABLE: Final = 8            # never again
PER_THREAD: Final = 16          # a thread's private memory: it goes with the thread

_NOT_FORKED: Final = IMMUTABLE  # forgotten by a fork, as in the original


class Purgeable:
    """Memory that may be emptied while it is volatile; `purged`: it was since it became so.  One for all regions that show it."""

    __slots__ = ("is_volatile", "was_purged")

    def __init__(self, *, is_volatile: bool = False, was_purged: bool = False) -> None:
        self.is_volatile = is_volatile
        self.was_purged = was_purged


class Traits:
    """Of one region.  `marks` as above; `history`: the bits of Prot it ever allowed; `most`: those its file's description does."""

    __slots__ = ("history", "marks", "most", "purgeable")

    def __init__(self, marks: int, prot: int, *, most: int = 7, purgeable: Purgeable | None = None) -> None:
        self.marks = marks
        self.history = int(prot) & 7
        self.most = most
        self.purgeable = purgeable

    def copy(self) -> Traits:
        """For a part that is split off."""
        return Traits(self.marks, self.history, most=self.most, purgeable=self.purgeable)

    def forked(self, *, shared: bool) -> None:
        """Be a child's copy: private memory that is volatile begins purged."""
        self.marks &= ~_NOT_FORKED
        if self.purgeable is not None and not shared:
            was = self.purgeable
            self.purgeable = Purgeable(is_volatile=was.is_volatile, was_purged=was.is_volatile or was.was_purged)


class MasterTls(NamedTuple):
    """The region every thread's private memory begins as a copy of: `size` bytes at `addr`; `alignment` is a power of two."""

    addr: int
    size: int
    alignment: int


class SpaceTraits:
    """Of one space.  `enforces`: calls come from marked regions alone; `full_below`: no gap below has room for a region."""

    __slots__ = ("enforces", "full_below", "tls")

    def __init__(self, *, enforces: bool = False, tls: MasterTls | None = None, full_below: int = 0) -> None:
        self.enforces = enforces
        self.tls = tls
        self.full_below = full_below

    def copy(self) -> SpaceTraits:
        """For a child of fork.  The original forgets size and alignment of the TLS region; they are kept here."""
        return SpaceTraits(enforces=self.enforces, tls=self.tls, full_below=self.full_below)
