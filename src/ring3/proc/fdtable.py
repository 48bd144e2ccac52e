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
    """Lowest free number first (POSIX).  `cloexec` holds the numbers that exec closes."""

    __slots__ = ("_free", "_top", "cloexec", "files", "locks", "refs")

    def __init__(self) -> None:
        self.files: dict[int, File] = {}
        self.cloexec: set[int] = set()
        self.refs = 1
        self.locks: FileLocks | None = None     # told of every close once a record lock was set through this table
        self._free: list[int] = []      # freed numbers below _top, a heap; may hold ones taken again by dup2
        self._top = 0                   # every number from here on is free

    def get(self, fd: int) -> File:
        """The description behind `fd`.  Raises EBADF."""
        try:
            return self.files[fd]
        except KeyError:
            raise EBADF from None

    def lowest(self, minimum: int = 0) -> int:
        """The lowest free number from `minimum` on; nothing is taken."""
        if minimum <= 0:
            while self._free:
                if self._free[0] not in self.files:
                    return self._free[0]
                heappop(self._free)
            return self._top
        fd = minimum
        while fd in self.files:
            fd += 1
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
        while self._top <= fd:
            if self._top != fd:
                heappush(self._free, self._top)
            self._top += 1
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
        heappush(self._free, fd)
        self._let_go(file)

    def _let_go(self, file: File) -> None:
        if self.locks is not None:
            self.locks.descriptor_closed(self, file)
        file.release()

    def fork(self) -> FdTable:
        """The table of a new process: the same descriptions."""
        child = FdTable()
        child.files = dict(self.files)
        child.cloexec = set(self.cloexec)
        child._free, child._top = list(self._free), self._top
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
