"""A pidfd: a descriptor that stands for a process, whatever becomes of its number.  Source: pidfd_open(2)."""

from __future__ import annotations

from ring3.abi.flags import OpenFlags, Poll
from ring3.abi.records import Attr
from ring3.errors import EINVAL
from ring3.proc.proc import Proc
from ring3.vfs.file import File
from ring3.waiting import WaitQueue


class PidFile(File):
    """Readable once the process has ended."""

    __slots__ = ("proc",)

    def __init__(self, proc: Proc, flags: OpenFlags = OpenFlags.RDWR) -> None:
        super().__init__(None, flags)
        self.proc = proc

    @property
    def queue(self) -> WaitQueue:
        return self.proc.pidfd_queue

    @property
    def label(self) -> bytes:
        return b"anon_inode:[pidfd]"

    @property
    def reaped(self) -> bool:
        """Whether its parent has collected it: nothing can be done to it any more."""
        return self.proc.system.procs.get(self.proc.pid) is not self.proc

    def getattr(self) -> Attr:
        return Attr(15, self.proc.pid, 0o600, 1, 0, 0, 0, 0, 4096, 0, 0, 0, 0)

    def poll(self) -> Poll:
        return Poll.IN | Poll.RDNORM if self.proc.zombie else Poll(0)

    def read(self, nbytes: int) -> bytes:
        raise EINVAL

    def write(self, data: bytes) -> int:
        raise EINVAL
