"""Descriptors: small integers to open file descriptions.

Shared by the threads of a process, and by processes made with CLONE_FILES: `refs` counts its processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from ring3.errors import EBADF, EINVAL, EMFILE
from ring3.vfs.file import File

if TYPE_CHECKING:
    from ring3.proc.locks import FileLocks


class FdTable:
    """Lowest free number first (POSIX).  `cloexec` holds the numbers that exec closes.

    What it costs goes with how many descriptors there are, never with how high their numbers are: a guest chooses those.
    """

    __slots__ = ("_free", "_freed", "_run", "_top", "cloexec", "files", "locks", "refs")

    def __init__(self) -> None:
        self.files: dict[int, File] = {}
        self.cloexec: set[int] = set()
        self.refs = 1
        self.locks: FileLocks | None = None     # told of every close once a record lock was set through this table
        self._free: list[int] = []      # a heap of numbers below _top: all that are free, and ones taken again
        self._freed: set[int] = set()   # the same numbers
        self._top = 0                   # of the numbers from here on nothing is kept
        self._run = (0, 0)              # all numbers from the first to before the second are taken

    def get(self, fd: int) -> File:
        """The description behind `fd`.  Raises EBADF."""
        try:
            return self.files[fd]
        except KeyError:
            raise EBADF from None

    def lowest(self, minimum: int = 0) -> int:
        """The lowest free number from `minimum` on; nothing is taken."""
        if minimum <= 0:
            free, files = self._free, self.files
            while free:
                if free[0] not in files:
                    return free[0]
                self._freed.discard(heappop(free))
            while self._top in files:
                self._top += 1
            return self._top
        first, end = self._run
        fd = end if first == minimum else minimum
        while fd in self.files:
            fd += 1
        self._run = minimum, fd
        return fd

    def install(self, file: File, *, cloexec: bool = False, minimum: int = 0, limit: int) -> int:
        """Give `file` the lowest free number from `minimum` on, below `limit` (RLIMIT_NOFILE).

        Raises EMFILE; EINVAL for a minimum out of range.
        """
        if not 0 <= minimum < limit:
            raise EMFILE if minimum == 0 else EINVAL
        fd = self.lowest(minimum)
        if fd >= limit:
            raise EMFILE
        self.set(fd, file, cloexec=cloexec)
        return fd

    def set(self, fd: int, file: File, *, cloexec: bool = False) -> None:
        """Put `file` at exactly `fd`; what was there is closed after."""
        old = self.files.get(fd)
        self.files[fd] = file.acquire()
        if cloexec:
            self.cloexec.add(fd)
        else:
            self.cloexec.discard(fd)
        if old is not None:
            self._let_go(old)

    def close(self, fd: int) -> None:
        """Forget one number.  Raises EBADF."""
        file = self.files.pop(fd, None)
        if file is None:
            raise EBADF
        self.cloexec.discard(fd)
        if fd < self._top and fd not in self._freed:
            heappush(self._free, fd)
            self._freed.add(fd)
            if len(self._free) > 2 * len(self.files) + 64:
                self._forget_free()
        first, end = self._run
        if first <= fd < end:
            self._run = first, fd
        self._let_go(file)

    def _forget_free(self) -> None:
        """Few of many are left: find the free numbers anew as they are asked for."""
        self._free.clear()
        self._freed.clear()
        self._top = 0

    def _let_go(self, file: File) -> None:
        if self.locks is not None:
            self.locks.descriptor_closed(self, file)
        file.release()

    def fork(self) -> FdTable:
        """The table of a new process: the same descriptions."""
        child = FdTable()
        child.files = dict(self.files)
        child.cloexec = set(self.cloexec)
        for file in child.files.values():
            file.acquire()
        return child

    def release(self) -> None:
        """One process less; the last one closes everything."""
        self.refs -= 1
        if self.refs == 0:
            for fd in sorted(self.files):
                self.close(fd)

    def __contains__(self, fd: object) -> bool:
        return fd in self.files

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self.files))

    def __len__(self) -> int:
        return len(self.files)
