"""Reading and writing of SerenityOS: whole or not at all where memory is at fault, and nothing for nothing.

A transfer into memory that is not all there is EFAULT, where Linux goes as far as it gets; what the file does not have need not be
there.  A write of no bytes succeeds before the descriptor is looked at; a read of none looks at it.  Writing a set-id file takes
both bits away, whoever writes.  Stated result: a transfer over a MiB that meets bad memory behind the first MiB tells what went.
Source: Kernel/Syscalls/{read,write}.cpp, InodeFile::write (reference, sections 4.3, 4.9 and 6.9).
"""

from __future__ import annotations

from typing import Final

from ring3.abi.flags import S_ISGID, S_ISUID
from ring3.abi.records import AttrChange
from ring3.calls.buffers import IOV_MAX, GuestBuffers, read_iovecs
from ring3.calls.serenity.place import described, seekable
from ring3.calls.sysarg import Addr, Fd, InBuf, Int, OutBuf, Size
from ring3.calls.sysarg_arrays import InVectors, OutVectors
from ring3.calls.syscall import syscall
from ring3.calls.transfer import Answer, receive, send, writer
from ring3.errors import EFAULT, EINVAL, EISDIR
from ring3.proc.proc import RLIM_INFINITY, Thread
from ring3.vfs.file import File, RegularFile

_QUICK: Final = 1 << 16                 # bytes up to which a transfer may be served in one go
_MOST: Final = (1 << 31) - 1            # of all vectors together
_SETID: Final = S_ISUID | S_ISGID


class WholeBuffers(GuestBuffers):
    """Ranges of guest memory of which what a transfer touches must all be there."""

    __slots__ = ()

    def gather(self, skip: int, nbytes: int) -> bytes:
        """Raises EFAULT unless all of it can be read."""
        parts = self.parts(skip, nbytes)
        return self.vm.copyin(*parts[0]) if len(parts) == 1 else b"".join([self.vm.copyin(base, n) for base, n in parts])

    def scatter(self, skip: int, data: bytes) -> int:
        """Raises EFAULT unless all of it can be written."""
        done = 0
        for base, length in self.parts(skip, len(data)):
            self.vm.copyout(base, data if length == len(data) else data[done : done + length])
            done += length
        return done


def _buffers(t: Thread, ranges: list[tuple[int, int]]) -> WholeBuffers:
    """Raises EFAULT for what reaches beyond the addresses of programs."""
    top = t.proc.vm.user_top
    for addr, nbytes in ranges:
        if addr + nbytes > top:
            raise EFAULT
    return WholeBuffers(t.proc.vm, ranges)


def _to_read(t: Thread, fd: int) -> File:
    """Raises EBADF, EISDIR."""
    file = t.proc.fds.get(fd)
    file.check_readable()
    if file.vnode is not None and file.vnode.is_dir:
        raise EISDIR
    return file


def _to_write(t: Thread, fd: int) -> File:
    file = t.proc.fds.get(fd)
    file.check_writable()
    return file


def _strip(file: File) -> None:
    """Take the set-id bits of a file away that is written now."""
    if isinstance(file, RegularFile):
        mode = file.target.getattr().mode
        if mode & _SETID:
            file.target.setattr(AttrChange(mode=mode & 0o7777 & ~_SETID))


# --- one buffer
@syscall(pledge="stdio")
def sys_read(t: Thread, fd: Fd, buf: OutBuf, nbytes: Size) -> Answer:
    """Read from a descriptor.  EBADF (for no bytes too), EISDIR, EFAULT, EAGAIN, EINTR."""
    file = _to_read(t, fd)
    if not nbytes:
        return 0
    if nbytes <= _QUICK and file.__class__ is RegularFile and buf + nbytes <= t.proc.vm.user_top:
        before = file.offset
        data = file.read(nbytes)
        try:
            t.proc.vm.copyout(buf, data)
        except EFAULT:
            file.offset = before
            raise
        return len(data)
    buffers = _buffers(t, [(buf, nbytes)])
    return receive(t, file, buffers, lambda _done, want: file.read(want), wait=not file.nonblocking)


@syscall(pledge="stdio")
def sys_write(t: Thread, fd: Fd, buf: InBuf, nbytes: Size) -> Answer:
    """Write to a descriptor.  EBADF (not for no bytes), EFAULT, EAGAIN, EPIPE, EINTR."""
    if not nbytes:
        return 0
    if nbytes >> 63:
        raise EINVAL
    file = _to_write(t, fd)
    _strip(file)
    if nbytes <= _QUICK and file.__class__ is RegularFile and t.proc.rlimits[1][0] == RLIM_INFINITY:
        return file.write(t.proc.vm.copyin(buf, nbytes))
    return send(t, file, _buffers(t, [(buf, nbytes)]), writer(t, file), wait=not file.nonblocking)


def _offset(t: Thread, addr: int) -> int:
    """The off_t at an address.  Raises EFAULT."""
    return int.from_bytes(t.proc.vm.copyin(addr, 8), "little", signed=True)


@syscall(pledge="stdio")
def sys_pread(t: Thread, fd: Fd, buf: OutBuf, nbytes: Size, offset: Addr) -> Answer:
    """Read at an offset, leaving the file's own alone; nothing is looked at for no bytes.  EFAULT, EINVAL, EBADF, EISDIR."""
    if not nbytes:
        return 0
    if nbytes >> 63:
        raise EINVAL
    position = _offset(t, offset)
    if position < 0:
        raise EINVAL
    file = _to_read(t, fd)
    if not seekable(file):
        raise EINVAL
    buffers = _buffers(t, [(buf, nbytes)])
    return receive(t, file, buffers, lambda done, want: file.pread(position + done, want), wait=not file.nonblocking)


# --- several
def _vectors(t: Thread, addr: int, count: int) -> list[tuple[int, int]]:
    """Raises EINVAL for a negative count and for 2 GiB and more, EFAULT for more than 1024 (so they say)."""
    if count < 0:
        raise EINVAL
    if count > IOV_MAX:
        raise EFAULT("more than 1024 vectors")
    vectors = read_iovecs(t, addr, count)
    if sum(nbytes for _, nbytes in vectors) > _MOST:
        raise EINVAL
    return vectors


@syscall(pledge="stdio")
def sys_readv(t: Thread, fd: Fd, vectors: OutVectors, count: Int) -> Answer:
    """Read into several buffers, each a read of its own: what has to be waited for is waited for once for each.

    EINVAL, EFAULT, EBADF, EISDIR.
    """
    ranges = _vectors(t, vectors, count)
    file = _to_read(t, fd)
    if file.queue is None or len(ranges) == 1:
        return receive(t, file, _buffers(t, ranges), lambda _done, want: file.read(want), wait=not file.nonblocking)
    return _one_by_one(t, file, ranges)


async def _one_by_one(t: Thread, file: File, ranges: list[tuple[int, int]]) -> int:
    """What a refusal leaves unread is lost, and so is what was read before it."""
    total = 0
    for each in ranges:
        done = receive(t, file, _buffers(t, [each]), lambda _done, want: file.read(want), wait=not file.nonblocking)
        total += done if isinstance(done, int) else await done
    return total


@syscall(pledge="stdio")
def sys_pwritev(t: Thread, fd: Fd, vectors: InVectors, count: Int, offset: Addr) -> Answer:
    """Write several buffers at an offset; at the file's own where that is negative.  EINVAL, EFAULT, EBADF."""
    ranges = _vectors(t, vectors, count)
    position = _offset(t, offset)
    file = described(t, fd)
    file.check_writable()
    if position >= 0 and not seekable(file):
        raise EINVAL
    buffers = _buffers(t, ranges)
    _strip(file)
    if position < 0:
        return send(t, file, buffers, writer(t, file), wait=not file.nonblocking)
    return send(
        t, file, buffers, lambda done, data: file.pwrite(position + done, data), wait=not file.nonblocking, position=position
    )
