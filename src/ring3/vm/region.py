"""A region: one mapped range of an address space, and the object behind it.

Invariant: start and end are page-aligned, start < end; regions of one space never overlap.  Not here: placing them
(`vmspace`, `layout`), the pages themselves (the machine).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.abi.flags import Prot
from ring3.errors import ENODEV

if TYPE_CHECKING:
    from ring3.vm.traits import Traits

PAGE = 4096


def page_floor(addr: int) -> int:
    """The start of the page `addr` lies in."""
    return addr & ~(PAGE - 1)


def page_ceil(addr: int) -> int:
    """The first page boundary at or above `addr`."""
    return (addr + PAGE - 1) & ~(PAGE - 1)


class VMObject:
    """What backs a region that is not plain private memory.  File systems override it for their files."""

    __slots__ = ()

    anonymous = False          # zeroed memory of the machine's own; `host_fd` is not asked

    @property
    def sharing_key(self) -> object:
        """What two objects with the same pages have in common: futexes in shared memory are found by it."""
        return self

    def host_fd(self, *, write: bool) -> int:
        """A descriptor of the kernel process with this object's pages; `write`: shared writes must reach it.  Raises ENODEV."""
        raise ENODEV

    @property
    def label(self) -> bytes:
        """The last column of /proc/PID/maps."""
        return b""

    @property
    def identity(self) -> tuple[int, int]:
        """(device, inode), as maps shows them."""
        return 0, 0

    def run(self) -> None:
        """One space more runs it as its program."""

    def unrun(self) -> None:
        """One space less does."""

    def mapped(self, region: Region) -> None:
        """A region of it came to be (also by a split or a fork)."""

    def unmapped(self, region: Region) -> None:
        """A region of it went away."""


class SharedAnonymous(VMObject):
    """Shared memory without a file: forks of a space that maps it have the same object, hence the same pages."""

    __slots__ = ("__weakref__",)

    anonymous = True

    @property
    def label(self) -> bytes:
        return b"/dev/zero (deleted)"

    @property
    def identity(self) -> tuple[int, int]:
        return 1, id(self) >> 4 & 0xFFFF


class Region:
    """[start, end) with one protection.  `offset` is the byte of `object` that `start` shows.

    `max_prot` is what mprotect may give at most; `wipe` and `dontfork` are madvise's; `traits` what its system remembers of it.
    """

    __slots__ = (
        "dontfork", "end", "growsdown", "label", "locked", "max_prot", "noreserve", "object", "offset", "prot", "shared",
        "start", "traits", "wipe",
    )

    def __init__(
        self,
        start: int,
        end: int,
        prot: Prot | int,
        *,
        object: VMObject | None = None,  # noqa: A002 - the field's word
        offset: int = 0,
        shared: bool = False,
        growsdown: bool = False,
        noreserve: bool = False,
        max_prot: int = 7,
        label: bytes = b"",
    ) -> None:
        self.start = start
        self.end = end
        self.prot = int(prot) & 7
        self.object = object
        self.offset = offset
        self.shared = shared
        self.growsdown = growsdown
        self.noreserve = noreserve
        self.max_prot = max_prot
        self.label = label
        self.locked = False
        self.dontfork = False
        self.wipe = False
        self.traits: Traits | None = None

    @property
    def length(self) -> int:
        return self.end - self.start

    def slice(self, start: int, end: int) -> Region:
        """A copy that covers just [start, end) of this one."""
        part = Region(
            start, end, self.prot, object=self.object, offset=self.offset + (start - self.start) if self.object else 0,
            shared=self.shared, growsdown=self.growsdown, noreserve=self.noreserve, max_prot=self.max_prot, label=self.label,
        )
        part.locked, part.dontfork, part.wipe = self.locked, self.dontfork, self.wipe
        if self.traits is not None:
            part.traits = self.traits.copy()
        return part

    def continues(self, before: Region) -> bool:
        """Whether this one and the one right below it are really one (the host's kernel merges such neighbours too)."""
        return (
            before.end == self.start
            and before.prot == self.prot
            and before.object is self.object
            and (self.object is None or before.offset + before.length == self.offset)
            and before.shared == self.shared
            and not self.shared | self.growsdown | before.growsdown
            and before.noreserve == self.noreserve
            and before.max_prot == self.max_prot
            and before.label == self.label
            and (before.locked, before.dontfork, before.wipe) == (self.locked, self.dontfork, self.wipe)
            and before.traits is self.traits
        )

    def __repr__(self) -> str:
        flags = "".join(c if self.prot & bit else "-" for c, bit in (("r", 1), ("w", 2), ("x", 4)))
        return f"<Region {self.start:x}-{self.end:x} {flags}{'s' if self.shared else 'p'} {self.label.decode(errors='replace')}>"
