"""Reading, writing and seeking: read, write, their p- and -v kinds, lseek, and what pushes data to disk.

`sys_read` and `sys_write` are the hottest calls of all: what a plain file or one that is ready answers, they answer without a
coroutine.  The machinery is in `transfer.py`.  Source: read(2), readv(2), pread(2), lseek(2), fsync(2), posix_fadvise(2).
"""

from __future__ import annotations

from typing import Final

from ring3.abi.flags import S_IFMT, FileType, Whence
from ring3.calls.buffers import GuestBuffers, read_iovecs
from ring3.calls.place import opened
from ring3.calls.sysarg import Fd, InBuf, Int, Long, Offset, Offset64, OutBuf, Size, UInt, WhenceArg, Word
from ring3.calls.sysarg_arrays import InVectors, OutVectors
from ring3.calls.sysarg_files import HighWord, RwFlag
from ring3.calls.syscall import syscall
from ring3.calls.transfer import Answer, receive, send, writer
from ring3.errors import EBADF, EFAULT, EINVAL, EOPNOTSUPP, ESPIPE
from ring3.proc.proc import RLIM_INFINITY, Thread
from ring3.vfs.file import File, RegularFile
from ring3.vfs.hoststream import HostStream

_WHENCES: Final = (Whence.SET, Whence.CUR, Whence.END, Whence.DATA, Whence.HOLE)
_QUICK = 1 << 16              # bytes up to which a transfer may be served in one go

RWF_NOWAIT = 0x08
RWF_APPEND = 0x10
_RWF_KNOWN = 0x1F


@syscall(pledge="stdio")
def sys_read(t: Thread, fd: Fd, buf: OutBuf, nbytes: Size) -> Answer:
    """Read from a descriptor.  EBADF, EISDIR, EFAULT, EAGAIN, EINTR, EIO."""
    p = t.proc
    file = p.fds.files.get(fd)
    if file is None:
        raise EBADF
    if nbytes <= _QUICK and file.__class__ is RegularFile:
        before = file.offset
        data = file.read(nbytes)
        try:
            p.vm.copyout(buf, data)
        except EFAULT:
            file.offset = before
        else:
            return len(data)
    file.check_readable()
    return receive(
        t, file, GuestBuffers(p.vm, ((buf, nbytes),)), lambda _done, want: file.read(want), wait=not file.nonblocking
    )


@syscall(pledge="stdio")
def sys_write(t: Thread, fd: Fd, buf: InBuf, nbytes: Size) -> Answer:
    """Write to a descriptor.  EBADF, EFAULT, EAGAIN, EPIPE, EFBIG, ENOSPC, EINTR."""
    p = t.proc
    file = p.fds.files.get(fd)
    if file is None:
        raise EBADF
    if nbytes <= _QUICK and file.__class__ is RegularFile and p.rlimits[1][0] == RLIM_INFINITY:
        try:
            data = p.vm.copyin(buf, nbytes)
        except EFAULT:
            pass
        else:
            return file.write(data)
    file.check_writable()
    return send(t, file, GuestBuffers(p.vm, ((buf, nbytes),)), writer(t, file), wait=not file.nonblocking)


@syscall(pledge="stdio")
def sys_readv(t: Thread, fd: Fd, vectors: OutVectors, count: Int) -> Answer:
    """Read into several buffers.  EINVAL for more than 1024."""
    file = opened(t, fd)
    file.check_readable()
    buffers = GuestBuffers(t.proc.vm, read_iovecs(t, vectors, count))
    return receive(t, file, buffers, lambda _done, want: file.read(want), wait=not file.nonblocking)


@syscall(pledge="stdio")
def sys_writev(t: Thread, fd: Fd, vectors: InVectors, count: Int) -> Answer:
    """Write several buffers as one."""
    file = opened(t, fd)
    file.check_writable()
    buffers = GuestBuffers(t.proc.vm, read_iovecs(t, vectors, count))
    return send(t, file, buffers, writer(t, file), wait=not file.nonblocking)


def _positioned(t: Thread, fd: int, position: int) -> File:
    """The file of a call that says where.  Raises EINVAL, EBADF, ESPIPE, in that order."""
    if position < 0:
        raise EINVAL
    file = opened(t, fd)
    if file.queue is not None and not isinstance(file, RegularFile | HostStream):       # of which the host knows
        raise ESPIPE
    return file


def _receive_at(t: Thread, file: File, position: int, ranges: list[tuple[int, int]]) -> Answer:
    file.check_readable()
    return receive(
        t, file, GuestBuffers(t.proc.vm, ranges), lambda done, want: file.pread(position + done, want), wait=not file.nonblocking
    )


def _send_at(t: Thread, file: File, position: int, ranges: list[tuple[int, int]]) -> Answer:
    file.check_writable()
    return send(
        t, file, GuestBuffers(t.proc.vm, ranges), lambda done, data: file.pwrite(position + done, data),
        wait=not file.nonblocking, position=position,
    )


@syscall(pledge="stdio")
def sys_pread64(t: Thread, fd: Fd, buf: OutBuf, nbytes: Size, offset: Offset64) -> Answer:
    """Read at an offset, leaving the file's own alone.  ESPIPE."""
    file = t.proc.fds.files.get(fd)
    if file.__class__ is RegularFile and nbytes <= _QUICK and offset >= 0:
        data = file.pread(offset, nbytes)
        try:
            t.proc.vm.copyout(buf, data)
        except EFAULT:
            pass
        else:
            return len(data)
    return _receive_at(t, _positioned(t, fd, offset), offset, [(buf, nbytes)])


@syscall(pledge="stdio")
def sys_pwrite64(t: Thread, fd: Fd, buf: InBuf, nbytes: Size, offset: Offset64) -> Answer:
    """Write at an offset.  ESPIPE."""
    return _send_at(t, _positioned(t, fd, offset), offset, [(buf, nbytes)])


@syscall(pledge="stdio")
def sys_preadv(t: Thread, fd: Fd, vectors: OutVectors, count: Int, offset: Offset64) -> Answer:
    """Read into several buffers at an offset."""
    return _receive_at(t, _positioned(t, fd, offset), offset, read_iovecs(t, vectors, count))


@syscall(pledge="stdio")
def sys_pwritev(t: Thread, fd: Fd, vectors: InVectors, count: Int, offset: Offset64) -> Answer:
    """Write several buffers at an offset."""
    return _send_at(t, _positioned(t, fd, offset), offset, read_iovecs(t, vectors, count))


def _signed64(low: int, high: int) -> int:
    value = (low | high) & (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


@syscall(pledge="stdio")
def sys_preadv2(t: Thread, fd: Fd, vectors: OutVectors, count: Int, low: Word, high: HighWord, flags: RwFlag) -> Answer:
    """preadv with flags; at the file's own offset where the offset is -1.  EOPNOTSUPP for unknown flags."""
    if flags & ~_RWF_KNOWN:
        raise EOPNOTSUPP
    offset = _signed64(low, high)
    file = opened(t, fd) if offset == -1 else _positioned(t, fd, offset)
    file.check_readable()
    take = (lambda _done, want: file.read(want)) if offset == -1 else lambda done, want: file.pread(offset + done, want)
    wait = not file.nonblocking and not flags & RWF_NOWAIT
    return receive(t, file, GuestBuffers(t.proc.vm, read_iovecs(t, vectors, count)), take, wait=wait)


@syscall(pledge="stdio")
def sys_pwritev2(t: Thread, fd: Fd, vectors: InVectors, count: Int, low: Word, high: HighWord, flags: RwFlag) -> Answer:
    """pwritev with flags; at the file's own offset where the offset is -1.  EOPNOTSUPP for unknown flags."""
    if flags & ~_RWF_KNOWN:
        raise EOPNOTSUPP
    offset = _signed64(low, high)
    file = opened(t, fd) if offset == -1 else _positioned(t, fd, offset)
    file.check_writable()
    position = None if offset == -1 else offset
    if flags & RWF_APPEND and isinstance(file, RegularFile):
        position = file.getattr().size
    put = (lambda _done, data: file.write(data)) if position is None else lambda done, data: file.pwrite(position + done, data)
    wait = not file.nonblocking and not flags & RWF_NOWAIT
    buffers = GuestBuffers(t.proc.vm, read_iovecs(t, vectors, count))
    return send(t, file, buffers, put, wait=wait, position=position)


@syscall(pledge="stdio")
def sys_lseek(t: Thread, fd: Fd, offset: Offset, whence: WhenceArg) -> int:
    """Move a file's offset; the new one.  EINVAL, ESPIPE, ENXIO."""
    file = opened(t, fd)
    if not 0 <= whence < len(_WHENCES):
        raise EINVAL
    return file.seek(offset, _WHENCES[whence])


# --- reaching the disk
def _syncable(t: Thread, fd: int) -> File:
    """Raises EINVAL for what has nothing to be synced."""
    file = opened(t, fd)
    if file.dentry is None or file.vnode is None or file.vnode.type not in (FileType.REG, FileType.DIR, FileType.BLK):
        raise EINVAL
    return file


@syscall(pledge="stdio")
def sys_fsync(t: Thread, fd: Fd) -> int:
    """Write a file's data to its disk.  EINVAL for pipes and sockets."""
    file = _syncable(t, fd)
    if file.vnode is not None:
        file.vnode.fsync()
    return 0


@syscall(pledge="stdio")
def sys_fdatasync(t: Thread, fd: Fd) -> int:
    """As fsync."""
    return int(sys_fsync.run(t, fd))


@syscall(pledge="")
def sys_sync(_t: Thread) -> int:
    """Nothing is ever kept from the host: nothing to do."""
    return 0


@syscall(pledge="stdio")
def sys_syncfs(t: Thread, fd: Fd) -> int:
    """As sync, for the file system of one file."""
    opened(t, fd)
    return 0


@syscall(pledge="stdio")
def sys_sync_file_range(t: Thread, fd: Fd, offset: Offset64, nbytes: Offset64, flags: UInt) -> int:
    """Write part of a file to its disk.  EINVAL, ESPIPE."""
    file = opened(t, fd)
    if flags & ~7 or offset < 0 or nbytes < 0 or offset + nbytes < 0:
        raise EINVAL
    if file.vnode is None or file.vnode.type not in (FileType.REG, FileType.BLK, FileType.DIR, FileType.LNK):
        raise ESPIPE
    return 0


@syscall(pledge="stdio")
def sys_fadvise64(t: Thread, fd: Fd, offset: Offset64, nbytes: Long, advice: Int) -> int:
    """Advice about how a file will be used: heard.  EINVAL, ESPIPE for pipes."""
    del offset
    return _advise(opened(t, fd), nbytes, advice)


@syscall(pledge="stdio")
def sys_fadvise64_64(t: Thread, fd: Fd, offset: Offset64, nbytes: Offset64, advice: Int) -> int:
    """fadvise64 with a 64-bit length on 32-bit systems."""
    del offset
    return _advise(opened(t, fd), nbytes, advice)


def _advise(file: File, nbytes: int, advice: int) -> int:
    if file.getattr().mode & S_IFMT == FileType.FIFO:
        raise ESPIPE
    if nbytes < 0 or not 0 <= advice <= 5:
        raise EINVAL
    return 0


@syscall(pledge="stdio")
def sys_readahead(t: Thread, fd: Fd, offset: Offset64, count: Size) -> int:
    """Read ahead: nothing to do.  EBADF, EINVAL for what is no regular file."""
    del offset, count
    file = opened(t, fd)
    file.check_readable()
    if not isinstance(file, RegularFile):
        raise EINVAL
    return 0


