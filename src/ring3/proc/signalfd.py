"""A signalfd: pending signals as something to read.  Source: signalfd(2).

Whose signals: those of whoever reads or polls, as on Linux, not of whoever made the descriptor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.abi.flags import OpenFlags, Poll
from ring3.abi.procrecords import SignalfdInfo
from ring3.abi.records import Attr
from ring3.errors import EAGAIN, EINVAL
from ring3.proc import signals
from ring3.vfs.file import File
from ring3.waiting import WaitQueue

if TYPE_CHECKING:
    from ring3.proc.system import System

RECORD = 128


class SignalFile(File):
    """`mask` is what it takes."""

    __slots__ = ("mask", "system")

    def __init__(self, system: System, mask: int, flags: OpenFlags) -> None:
        super().__init__(None, flags)
        self.system = system
        self.mask = mask

    @property
    def queue(self) -> WaitQueue | None:
        t = self.system.current
        return None if t is None else self.system.signal_queue(t.proc)

    @property
    def label(self) -> bytes:
        return b"anon_inode:[signalfd]"

    def getattr(self) -> Attr:
        return Attr(15, 1, 0o600, 1, 0, 0, 0, 0, 4096, 0, 0, 0, 0)

    def poll(self) -> Poll:
        t = self.system.current
        if t is not None and (t.pending.mask | t.proc.pending.mask) & self.mask:
            return Poll.IN | Poll.RDNORM
        return Poll(0)

    def read(self, nbytes: int) -> bytes:
        """As many whole records as fit.  Raises EINVAL for room for none, EAGAIN when nothing is pending."""
        room = nbytes // RECORD
        if not room:
            raise EINVAL
        t = self.system.current
        if t is None:
            raise EAGAIN
        encode = self.system.call_abi(t).layouts[SignalfdInfo].encode
        data = b""
        while len(data) < room * RECORD:
            info = signals.take(t, self.mask)
            if info is None:
                break
            data += encode(info)
        if not data:
            raise EAGAIN
        return data

    def write(self, data: bytes) -> int:
        raise EINVAL
