"""Where the bytes of a transfer are in the guest (Linux: iov_iter).

Invariant: a transfer is never longer than MAX_RW_COUNT, and goes as far as memory lets it: EFAULT is only raised when nothing could
be moved.  Not here: files (`transfer.py`).  Source: read(2), readv(2), lib/iov_iter.c.
"""

from __future__ import annotations

from collections.abc import Sequence

from ring3.abi.filerecords import IoVec
from ring3.abi.flags import Prot
from ring3.errors import EFAULT, EINVAL
from ring3.proc.proc import Thread
from ring3.vm.vmspace import VMSpace

MAX_RW_COUNT = 0x7FFF_F000         # include/linux/fs.h
IOV_MAX = 1024
_ADDRESSES = 1 << 47


class GuestBuffers:
    """Ranges of guest memory, in order, seen as one stretch of `total` bytes."""

    __slots__ = ("ranges", "total", "vm")

    def __init__(self, vm: VMSpace, ranges: Sequence[tuple[int, int]]) -> None:
        """Cut to MAX_RW_COUNT.  Raises EINVAL for lengths beyond a signed word, EFAULT for what no address can be."""
        self.vm = vm
        total = 0
        kept: list[tuple[int, int]] = []
        for base, length in ranges:
            if length >> 63:
                raise EINVAL
            if base + length > _ADDRESSES:
                raise EFAULT
            length = min(length, MAX_RW_COUNT - total)
            if length:
                kept.append((base, length))
                total += length
        self.ranges = kept
        self.total = total

    def parts(self, skip: int, nbytes: int) -> list[tuple[int, int]]:
        """The ranges that hold bytes `skip` to `skip + nbytes`."""
        if len(self.ranges) == 1:
            base, length = self.ranges[0]
            return [(base + skip, min(nbytes, length - skip))]
        found = []
        for base, length in self.ranges:
            if skip >= length:
                skip -= length
                continue
            take = min(length - skip, nbytes)
            if take <= 0:
                break
            found.append((base + skip, take))
            nbytes -= take
            skip = 0
        return found

    def gather(self, skip: int, nbytes: int) -> bytes:
        """Up to `nbytes` from byte `skip` on; short before memory that cannot be read.  Raises EFAULT when that is all."""
        pieces = []
        for base, length in self.parts(skip, nbytes):
            try:
                pieces.append(self.vm.copyin(base, length))
            except EFAULT:
                good = accessible(self.vm, base, length, Prot.READ | Prot.WRITE | Prot.EXEC)
                if not good and not pieces:
                    raise
                pieces.append(self.vm.copyin(base, good))
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def scatter(self, skip: int, data: bytes) -> int:
        """Write `data` from byte `skip` on; how much went.  Raises EFAULT when nothing did."""
        done = 0
        for base, length in self.parts(skip, len(data)):
            piece = data if length == len(data) else data[done : done + length]
            try:
                self.vm.copyout(base, piece)
            except EFAULT:
                good = accessible(self.vm, base, length, Prot.WRITE)
                if good:
                    self.vm.copyout(base, piece[:good])
                    done += good
                if not done:
                    raise
                break
            done += length
        return done

    def room(self, nbytes: int) -> int:
        """How many of the first `nbytes` can be written.  Raises EFAULT when none can."""
        found = 0
        for base, length in self.parts(0, nbytes):
            good = accessible(self.vm, base, length, Prot.WRITE)
            found += good
            if good < length:
                break
        if nbytes and not found:
            raise EFAULT
        return found


def accessible(vm: VMSpace, addr: int, nbytes: int, need: int) -> int:
    """How many bytes from `addr` on are mapped with one of the protections `need`."""
    here, end = addr, min(addr + nbytes, vm.user_top)
    while here < end:
        region = vm.find(here)
        if region is None and vm.fault(here):
            region = vm.find(here)
        if region is None or not region.prot & need:
            break
        here = region.end
    return max(min(here, end) - addr, 0)


def read_iovecs(t: Thread, addr: int, count: int) -> list[tuple[int, int]]:
    """A guest's iovec array.  Raises EINVAL for more than 1024, EFAULT."""
    if not 0 <= count <= IOV_MAX:
        raise EINVAL
    layout = t.system.call_abi(t).layouts[IoVec]
    vectors = list(layout.array(t.proc.vm.copyin(addr, count * layout.size)))
    if layout.size == 8 and any(length >> 31 for _, length in vectors):       # a negative ssize_t
        raise EINVAL
    return vectors
