"""Placement: where the parts of a new address space go, as a pure model.

An exec decides on every address before there is a space: `AddressModel` holds what has been placed so far, by Linux's
rules (mm/mmap.c: fixed places, top-down and bottom-up search).  Random offsets come from a generator that is handed
in, so that the same generator gives the same layout.  Not here: regions of a living space (`vmspace.py`), how far a
system randomises (its exec rules).
"""

from __future__ import annotations

from bisect import insort

from ring3.errors import EEXIST, ENOMEM, EPERM
from ring3.vm.region import page_ceil, page_floor


class AddressModel:
    """Ranges in use below `user_top`; all numbers in bytes.  `limit` is RLIMIT_AS.

    >>> model = AddressModel(min_addr=0x1000, user_top=0x100000, mmap_base=0x80000)
    >>> hex(model.place(0x3000)), hex(model.place(0x1000))
    ('0x7d000', '0x7c000')
    """

    __slots__ = ("legacy", "limit", "min_addr", "mmap_base", "ranges", "total", "user_top")

    def __init__(self, *, min_addr: int, user_top: int, mmap_base: int, legacy: bool = False, limit: int = 1 << 64) -> None:
        self.min_addr = min_addr
        self.user_top = user_top
        self.mmap_base = mmap_base
        self.legacy = legacy                # search upwards from mmap_base
        self.limit = limit
        self.total = 0                      # bytes in use
        self.ranges: list[tuple[int, int]] = []     # sorted, not overlapping

    def free(self, start: int, end: int) -> bool:
        """Whether nothing stands in [start, end)."""
        return all(e <= start or s >= end for s, e in self.ranges)

    def fix(self, start: int, length: int, *, replace: bool) -> None:
        """Use exactly [start, start+length), page-rounded.

        Raises ENOMEM beyond the top or the limit, EPERM below `min_addr`, EEXIST where something stands and must not
        be replaced.
        """
        start, end = page_floor(start), page_ceil(start + length)
        if end > self.user_top or start > self.user_top:
            raise ENOMEM(f"{start:#x}-{end:#x} lies beyond the end of user memory")
        if start < self.min_addr:
            raise EPERM(f"{start:#x} lies below the lowest address a program may use")
        if not self.free(start, end):
            if not replace:
                raise EEXIST(f"{start:#x}-{end:#x} is taken")
            self.release(start, end)
        self._add(start, end)

    def place(self, length: int, hint: int = 0) -> int:
        """A free place for `length` bytes: at `hint` if it can be had there, else where mmap(2) would look.  Raises
        ENOMEM.
        """
        length = page_ceil(length)
        if length > self.user_top:
            raise ENOMEM
        hint = page_ceil(hint)
        if hint and max(hint, self.min_addr) == hint and hint <= self.user_top - length and self.free(hint, hint + length):
            start = hint
        else:
            start = self._search(length)
        self._add(start, start + length)
        return start

    def _search(self, length: int) -> int:
        if not self.legacy:
            ceiling = self.mmap_base
            for start, end in reversed(self.ranges):
                if end <= ceiling - length:
                    break
                ceiling = min(ceiling, start)
            if ceiling - length >= self.min_addr:
                return ceiling - length
        floor = self.mmap_base if self.legacy else page_floor(self.user_top // 3)
        for start, end in self.ranges:
            if end > floor:
                if floor + length <= start:
                    break
                floor = end
        if floor + length > self.user_top:
            raise ENOMEM("no room for the image")
        return floor

    def release(self, start: int, end: int) -> None:
        """Nothing stands in [start, end) afterwards."""
        kept: list[tuple[int, int]] = []
        for s, e in self.ranges:
            if e <= start or s >= end:
                kept.append((s, e))
                continue
            self.total -= min(e, end) - max(s, start)
            if s < start:
                kept.append((s, start))
            if e > end:
                kept.append((end, e))
        self.ranges = kept

    def _add(self, start: int, end: int) -> None:
        if end <= start:
            return
        if self.total + end - start > self.limit:
            raise ENOMEM("the image is larger than the limit on address space")
        self.total += end - start
        insort(self.ranges, (start, end))
