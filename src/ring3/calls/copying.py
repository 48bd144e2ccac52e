"""From file to file without passing through the program: sendfile, copy_file_range, splice, tee, vmsplice.

Source: sendfile(2), copy_file_range(2), splice(2), tee(2), vmsplice(2), fs/splice.c, fs/read_write.c.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

from ring3.abi.filerecords import LongOffset, Offset64Word
from ring3.abi.flags import ACCMODE, FileType, OpenFlags, Whence
from ring3.calls.buffers import MAX_RW_COUNT, GuestBuffers, read_iovecs
from ring3.calls.place import opened
from ring3.calls.sysarg import Fd, Size, UInt
from ring3.calls.sysarg_arrays import InVectors
from ring3.calls.sysarg_files import InOut, InOutRecord, SpliceFlag
from ring3.calls.syscall import syscall
from ring3.calls.transfer import PIECE, Answer, Turn, break_pipe, check_size_limit, receive, send
from ring3.errors import EAGAIN, EBADF, EINVAL, EISDIR, EPIPE, ESPIPE, EXDEV, Errno
from ring3.proc.proc import Rlimit, Thread
from ring3.vfs.file import File, RegularFile
from ring3.vfs.pipe import PipeFile
from ring3.waiting import Interrupted, let_others_run, sleep_on

SPLICE_F_NONBLOCK = 2
_SPLICE_KNOWN = 0xF
_COPY_MAX = 64 << 20       # bytes one copy_file_range moves: the kernel serves nobody else meanwhile

OffsetPtr = Annotated[InOut, InOutRecord(Offset64Word)]
LongOffsetPtr = Annotated[InOut, InOutRecord(LongOffset)]


def _readable(t: Thread, fd: int) -> File:
    file = opened(t, fd)
    if file.flags & ACCMODE == OpenFlags.WRONLY:
        raise EBADF
    return file


def _writable(t: Thread, fd: int) -> File:
    file = opened(t, fd)
    if file.flags & ACCMODE == OpenFlags.RDONLY:
        raise EBADF
    return file


def answer(t: Thread, files: tuple[File, File], attempt: Callable[[], int], *, wait: bool) -> Answer:
    """Attempt now; where that would block, sleep until either file changes and attempt again."""
    try:
        return attempt()
    except EAGAIN:
        if not wait:
            raise
    del t
    return _later(files, attempt)


async def _later(files: tuple[File, File], attempt: Callable[[], int]) -> int:
    for file in files:
        file.acquire()
    try:
        while True:
            await sleep_on(*[queue for file in files if (queue := file.queue) is not None])
            try:
                return attempt()
            except EAGAIN:
                continue
    finally:
        for file in files:
            file.release()


# --- sendfile
def sendfile(t: Thread, out_fd: int, in_fd: int, offset: InOut, count: int) -> Answer:
    """Copy from a file that can seek to anything.  Raises EBADF, EINVAL, ESPIPE, and what a write does."""
    source = _readable(t, in_fd)
    seekable = _can_seek(source)
    if offset.value is not None:
        if not seekable:
            raise ESPIPE
        if offset.value < 0:
            raise EINVAL
    target = _writable(t, out_fd)
    if not seekable or target.flags & OpenFlags.APPEND:
        raise EINVAL
    return _pump(t, source, target, offset, min(count, MAX_RW_COUNT))


def _can_seek(file: File) -> bool:
    try:
        file.seek(0, Whence.CUR)
    except Errno:
        return False
    return True


class _Pump:
    """How far one sendfile has come."""

    def __init__(self, t: Thread, source: File, target: File, offset: InOut, count: int) -> None:
        self.t = t
        self.source = source
        self.target = target
        self.offset = offset
        self.count = count
        self.done = 0
        self.position = source.offset if offset.value is None else offset.value

    def step(self) -> bool:
        """Move a piece; False at the end.  Raises EAGAIN."""
        want = min(PIECE, self.count - self.done)
        if not want:
            return False
        if isinstance(self.target, RegularFile):
            limit = self.t.proc.rlimit(Rlimit.FSIZE)
            want = min(want, check_size_limit(self.t, self.target.offset, limit))
        data = self.source.pread(self.position, want)
        if not data:
            return False
        went = self.target.write(data)
        self.done += went
        self.position += went
        return True

    def result(self) -> int:
        """What the call answers."""
        if self.offset.value is None:
            self.source.offset = self.position
        else:
            self.offset.put(self.position)
        return self.done


def _pump(t: Thread, source: File, target: File, offset: InOut, count: int) -> Answer:
    pump = _Pump(t, source, target, offset, count)
    turn = Turn()
    try:
        while pump.step():
            if turn.over():
                return _pump_later(pump, wait=not target.nonblocking, is_full=False)
    except EAGAIN:
        if target.nonblocking or target.queue is None:
            if not pump.done:
                raise
            return pump.result()
        return _pump_later(pump, wait=True, is_full=True)
    except Errno as refusal:
        return _pump_failed(pump, refusal)
    return pump.result()


def _pump_failed(pump: _Pump, refusal: Errno) -> int:
    if isinstance(refusal, EPIPE):
        break_pipe(pump.t, pump.target, pump.done)
    if not pump.done:
        raise refusal
    return pump.result()


async def _pump_later(pump: _Pump, *, wait: bool, is_full: bool) -> int:
    """Go on in turns; `is_full`: the target has no room as yet, and is waited for if `wait` says so."""
    pump.source.acquire()
    pump.target.acquire()
    try:
        while True:
            queue = pump.target.queue
            if not is_full:
                await let_others_run()
                if pump.t.work:
                    return pump.result()
            elif wait and queue is not None:
                await sleep_on(queue)
            else:
                return pump.result()
            is_full, turn = False, Turn()
            try:
                while not turn.over():
                    if not pump.step():
                        return pump.result()
            except EAGAIN:
                is_full = True
    except Interrupted:
        if not pump.done:
            raise
        return pump.result()
    except Errno as refusal:
        return _pump_failed(pump, refusal)
    finally:
        pump.source.release()
        pump.target.release()


@syscall(pledge="stdio")
def sys_sendfile(t: Thread, out_fd: Fd, in_fd: Fd, offset: LongOffsetPtr, count: Size) -> Answer:
    """Copy between descriptors; `offset` is where to begin, and is moved instead of the file's own."""
    return sendfile(t, out_fd, in_fd, offset, count)


@syscall(pledge="stdio")
def sys_sendfile64(t: Thread, out_fd: Fd, in_fd: Fd, offset: OffsetPtr, count: Size) -> Answer:
    """sendfile with a 64-bit offset on 32-bit systems."""
    return sendfile(t, out_fd, in_fd, offset, count)


# --- copy_file_range
def _regular(file: File) -> RegularFile:
    if isinstance(file, RegularFile):
        return file
    raise EISDIR if file.vnode is not None and file.vnode.type == FileType.DIR else EINVAL


@syscall(pledge="stdio")
def sys_copy_file_range(
    t: Thread, in_fd: Fd, in_offset: OffsetPtr, out_fd: Fd, out_offset: OffsetPtr, count: Size, flags: UInt
) -> int:
    """Copy between regular files.  EBADF, EINVAL, EISDIR, EXDEV, EFBIG."""
    source, target = opened(t, in_fd), opened(t, out_fd)
    if flags:
        raise EINVAL
    start = source.offset if in_offset.value is None else in_offset.value
    position = target.offset if out_offset.value is None else out_offset.value
    source, target = _regular(source), _regular(target)
    if source.flags & ACCMODE == OpenFlags.WRONLY or target.flags & ACCMODE == OpenFlags.RDONLY:
        raise EBADF
    if target.flags & OpenFlags.APPEND:
        raise EBADF
    if start < 0 or position < 0:
        raise EINVAL
    if source.target.fs is not target.target.fs:
        raise EXDEV
    count = min(count, _COPY_MAX, max(source.getattr().size - start, 0))
    if not count:
        return 0
    count = min(count, check_size_limit(t, position, t.proc.rlimit(Rlimit.FSIZE)))
    if source.target is target.target and start < position + count and position < start + count:
        raise EINVAL
    done = 0
    while done < count:
        data = source.pread(start + done, min(PIECE, count - done))
        if not data:
            break
        done += target.pwrite(position + done, data)
    for pointer, file, begin in ((in_offset, source, start), (out_offset, target, position)):
        if pointer.value is None:
            file.offset = begin + done
        else:
            pointer.put(begin + done)
    return done


# --- splice
@syscall(pledge="stdio")
def sys_splice(
    t: Thread, in_fd: Fd, in_offset: OffsetPtr, out_fd: Fd, out_offset: OffsetPtr, count: Size, flags: SpliceFlag
) -> Answer:
    """Move bytes between a pipe and something else.  EBADF, EINVAL, ESPIPE, EAGAIN."""
    if not count:
        return 0
    if flags & ~_SPLICE_KNOWN:
        raise EINVAL
    source, target = opened(t, in_fd), opened(t, out_fd)
    if source.flags & ACCMODE == OpenFlags.WRONLY or target.flags & ACCMODE == OpenFlags.RDONLY:
        raise EBADF
    pipes = isinstance(source, PipeFile), isinstance(target, PipeFile)
    if not any(pipes):
        raise EINVAL
    for is_pipe, pointer, file in ((pipes[0], in_offset, source), (pipes[1], out_offset, target)):
        if pointer.value is not None:
            if is_pipe or not _can_seek(file):
                raise ESPIPE
            if pointer.value < 0:
                raise EINVAL
    if all(pipes) and _pipe_of(source) is _pipe_of(target):
        raise EINVAL
    if not pipes[1] and target.flags & OpenFlags.APPEND:
        raise EINVAL
    count = min(count, PIECE)
    if pipes[1]:
        attempt = partial(_into_pipe, t, source, in_offset, target, count)
    else:
        attempt = partial(_out_of_pipe, t, source, target, out_offset, count)
    wait = not flags & SPLICE_F_NONBLOCK and not any(
        file.nonblocking for file, is_pipe in ((source, pipes[0]), (target, pipes[1])) if is_pipe
    )
    return answer(t, (source, target), attempt, wait=wait)


def _pipe_of(file: File) -> object:
    return file.pipe if isinstance(file, PipeFile) else None


def _into_pipe(t: Thread, source: File, offset: InOut, target: File, count: int) -> int:
    assert isinstance(target, PipeFile)
    if not target.pipe.readers:
        break_pipe(t, target, 0)
        raise EPIPE
    count = min(count, target.room)
    if count <= 0:
        raise EAGAIN
    data = source.read(count) if offset.value is None else source.pread(offset.value, count)
    if data:
        target.write(data)
        if offset.value is not None:
            offset.put(offset.value + len(data))
    return len(data)


def _out_of_pipe(t: Thread, source: File, target: File, offset: InOut, count: int) -> int:
    assert isinstance(source, PipeFile)
    data = source.peek(count)
    if not data:
        return 0
    try:
        went = target.write(data) if offset.value is None else target.pwrite(offset.value, data)
    except EPIPE:
        break_pipe(t, target, 0)
        raise
    source.read(went)
    if offset.value is not None:
        offset.put(offset.value + went)
    return went


@syscall(pledge="stdio")
def sys_tee(t: Thread, in_fd: Fd, out_fd: Fd, count: Size, flags: SpliceFlag) -> Answer:
    """Copy what a pipe holds into another, leaving it there.  EINVAL."""
    if flags & ~_SPLICE_KNOWN:
        raise EINVAL
    if not count:
        return 0
    source, target = _readable(t, in_fd), _writable(t, out_fd)
    if not isinstance(source, PipeFile) or not isinstance(target, PipeFile) or source.pipe is target.pipe:
        raise EINVAL
    count = min(count, PIECE)

    def attempt() -> int:
        data = source.peek(count)
        if not data:
            return 0
        if not target.pipe.readers:
            break_pipe(t, target, 0)
            raise EPIPE
        room = target.room
        if room <= 0:
            raise EAGAIN
        return target.write(data[:room])

    wait = not flags & SPLICE_F_NONBLOCK and not source.nonblocking and not target.nonblocking
    return answer(t, (source, target), attempt, wait=wait)


@syscall(pledge="stdio")
def sys_vmsplice(t: Thread, fd: Fd, vectors: InVectors, count: Size, flags: SpliceFlag) -> Answer:
    """Bytes of the program into a pipe, or out of it.  EBADF for anything else."""
    if flags & ~_SPLICE_KNOWN:
        raise EINVAL
    file = opened(t, fd)
    if not isinstance(file, PipeFile):
        raise EBADF
    buffers = GuestBuffers(t.proc.vm, read_iovecs(t, vectors, count))
    wait = not flags & SPLICE_F_NONBLOCK and not file.nonblocking
    if not buffers.total:
        return 0
    if file.writes:
        return send(t, file, buffers, lambda _done, data: file.write(data), wait=wait)
    return receive(t, file, buffers, lambda _done, want: file.read(want), wait=wait)
