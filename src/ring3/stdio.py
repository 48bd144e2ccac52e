"""The descriptors a program starts with, prepared on the caller's side as `subprocess` prepares them.

Invariant: every descriptor in `guest` is a duplicate of our own, closed by `close_guest` or taken over by the kernel (`take`); the
caller's descriptors are never closed and their flags never touched.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import IO, Any, Final

PIPE: Final = -1          # subprocess's numbers
STDOUT: Final = -2
DEVNULL: Final = -3

StdioArg = int | IO[Any] | None


class Stdio:
    """`guest`: guest descriptor to host descriptor; `null`: guest descriptors that are the guest's /dev/null.

    `ours` are our ends of the pipes asked for (standard input, output, error).  `absent` are the standard descriptors the
    caller does not have: with None they stay closed.  Raises OSError (EBADF) for a descriptor that is none, ValueError for a
    number that cannot be one, AttributeError for an object without `fileno`.
    """

    __slots__ = ("guest", "null", "ours")

    def __init__(
        self, stdin: StdioArg, stdout: StdioArg, stderr: StdioArg, pass_fds: Collection[int] = (), absent: Collection[int] = (),
    ) -> None:
        self.guest: dict[int, int] = {}
        self.null: set[int] = set()
        self.ours: list[int | None] = [None, None, None]
        try:
            for fd in pass_fds:
                self.guest[fd] = os.dup(fd)
            for index, wanted in enumerate((stdin, stdout, stderr)):
                self._prepare(index, wanted, absent)
        except BaseException:
            self.close()
            raise

    def _prepare(self, index: int, wanted: StdioArg, absent: Collection[int]) -> None:
        if wanted is None:
            if index not in absent:
                self._put(index, os.dup(index))
        elif wanted == STDOUT and index == 2:
            if 1 in self.guest:
                self._put(2, os.dup(self.guest[1]))
            elif 1 in self.null:
                self.null.add(2)
        elif wanted == DEVNULL:
            self.null.add(index)
        elif wanted == PIPE:
            reader, writer = os.pipe()
            ours, theirs = (writer, reader) if index == 0 else (reader, writer)
            self.ours[index] = ours
            self._put(index, theirs)
        else:
            if not isinstance(wanted, int) and not hasattr(wanted, "fileno"):
                name = ("stdin", "stdout", "stderr")[index]
                hint = "; text for it to read is input=" if not index else ""
                raise TypeError(f"{name} is PIPE, DEVNULL, a descriptor or a file, not {type(wanted).__name__}{hint}")
            fd = wanted if isinstance(wanted, int) else wanted.fileno()
            if fd < 0:
                raise ValueError(f"{wanted!r} is no descriptor; PIPE, DEVNULL, STDOUT (for stderr), a descriptor or a file is")
            self._put(index, os.dup(fd))

    def _put(self, index: int, fd: int) -> None:
        old = self.guest.get(index)
        if old is not None:
            os.close(old)
        self.guest[index] = fd

    def take(self) -> dict[int, int]:
        """Hand the guest's side over."""
        taken, self.guest = self.guest, {}
        return taken

    def close_guest(self) -> None:
        """Close what was not taken over."""
        for fd in self.take().values():
            os.close(fd)

    def close(self) -> None:
        """Close both sides."""
        self.close_guest()
        for fd in self.ours:
            if fd is not None:
                os.close(fd)
        self.ours = [None, None, None]


def absent_streams() -> frozenset[int]:
    """Which of the standard descriptors this process does not have now."""
    return frozenset(fd for fd in (0, 1, 2) if not _is_open(fd))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
