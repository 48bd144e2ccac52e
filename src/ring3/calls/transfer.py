"""Moving bytes between files and guest memory: what all calls of the read and write families share.

`receive` and `send` do the work at once when the file does not make them wait, and give back a coroutine when it does; the trap
takes both.  Counts are served in pieces, so that no guest makes the kernel allocate what it asks for.  Where the bytes are in the
guest is `buffers.py`.

What becomes of an interruption: bytes that went over already are the result; else it propagates, and the trap restarts the call.
Source: read(2), write(2), fs/read_write.c, mm/filemap.c (generic_write_checks), fs/pipe.c.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ring3.abi.flags import OpenFlags
from ring3.abi.signals import Signal
from ring3.calls.buffers import GuestBuffers
from ring3.calls.terminal import check_foreground
from ring3.errors import EAGAIN, EFAULT, EFBIG, EINTR, EPIPE, Errno
from ring3.proc import signals
from ring3.proc.proc import RLIM_INFINITY, Rlimit, Thread
from ring3.vfs.eventfd import AnonFile
from ring3.vfs.file import File, RegularFile
from ring3.vfs.pty import PtySlave
from ring3.waiting import Interrupted, let_others_run, sleep_on

if TYPE_CHECKING:
    from ring3.vfs.anysocket import Socket
    from ring3.vfs.socketrecords import Ucred

Answer = int | Coroutine[Any, Any, int]
R = TypeVar("R")

PIECE = 1 << 20                    # bytes in the kernel's hands at once
_SHORT = 16 << 20                  # what moves without asking for the time
TURN_NS = 20_000_000               # how long one call keeps the kernel before others are served
SO_RCVTIMEO, SO_SNDTIMEO = 20, 21  # where a socket's options keep its timeouts, ns
_FSIZE = int(Rlimit.FSIZE)


class Turn:
    """How long one call may keep the kernel from everybody else."""

    __slots__ = ("_end_ns",)

    def __init__(self) -> None:
        self._end_ns = time.monotonic_ns() + TURN_NS

    def over(self) -> bool:
        """Whether others should be served before the call goes on."""
        return time.monotonic_ns() >= self._end_ns


async def retry(file: File, attempt: Callable[[], R], *, deadline_ns: int | None = None) -> R:
    """Make an attempt until it does not raise EAGAIN, sleeping on the file's queue in between.  EAGAIN when the deadline passes.

    The description stays open meanwhile, whatever other threads close.
    """
    file.acquire()
    try:
        while True:
            try:
                return attempt()
            except EAGAIN:
                queue = file.queue
                if queue is None:
                    raise
            if not await sleep_on(queue, deadline_ns=deadline_ns):
                raise EAGAIN
    finally:
        file.release()


# --- reading
def receive(t: Thread, file: File, buffers: GuestBuffers, take: Callable[[int, int], bytes], *, wait: bool) -> Answer:
    """Read into guest memory; `take(done, nbytes)` reads from the file.  `wait`: sleep rather than EAGAIN."""
    if file.queue is None:
        return _receive_plain(file, buffers, take)
    check_foreground(t, file, write=False)
    nbytes = buffers.room(min(buffers.total, PIECE))
    try:
        return buffers.scatter(0, take(0, nbytes)) if nbytes else len(take(0, 0))
    except EAGAIN:
        if not wait:
            raise
    return _receive_later(t, file, buffers, take, nbytes)


async def _receive_later(t: Thread, file: File, buffers: GuestBuffers, take: Callable[[int, int], bytes], nbytes: int) -> int:
    if isinstance(file, PtySlave):
        data = await _receive_typed(t, file, nbytes)
    elif (deadline_ns := socket_deadline(t, file, SO_RCVTIMEO)) is None:
        data = await retry(file, lambda: take(0, nbytes))
    else:
        data = await unrestarted(retry(file, lambda: take(0, nbytes), deadline_ns=deadline_ns))
    return buffers.scatter(0, data) if data else 0


async def _receive_typed(t: Thread, file: PtySlave, nbytes: int) -> bytes:
    """From a terminal, whose settings may limit how long a read takes."""
    file.acquire()
    try:
        while True:
            try:
                return file.read(nbytes)
            except EAGAIN:
                pause_ns = file.read_timeout_ns()
            if not await sleep_on(file.queue, deadline_ns=None if pause_ns is None else t.system.now_ns() + pause_ns):
                return file.read_expired(nbytes)
    finally:
        file.release()


def socket_of(file: File) -> Socket | None:
    """The file as the socket it is, or None; most programs never load what sockets are made of."""
    return cast("Socket", file) if file.is_socket else None


def socket_deadline(t: Thread, file: File, option: int) -> int | None:
    """When a socket call gives up waiting; None for never."""
    socket = socket_of(file)
    if socket is None:
        return None
    timeout_ns = socket.options.get(option, 0)
    return t.system.now_ns() + timeout_ns if timeout_ns else None


async def unrestarted(waiting: Coroutine[Any, Any, R]) -> R:
    """EINTR when it is interrupted, whatever SA_RESTART says: what a timeout on a socket makes of it (signal(7))."""
    try:
        return await waiting
    except Interrupted:
        raise EINTR from None


def _receive_plain(file: File, buffers: GuestBuffers, take: Callable[[int, int], bytes]) -> Answer:
    """From a file that never waits, up to its end."""
    steps = _plain_steps(file, buffers, take)
    if buffers.total <= _SHORT:
        return _exhaust(steps)
    return _in_turns(file, steps)


def _exhaust(steps: Generator[None, None, int]) -> int:
    """Take all steps at once."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return int(end.value)


async def _in_turns(file: File, steps: Generator[None, None, int]) -> int:
    """Take all steps, letting others run between turns."""
    file.acquire()
    turn = Turn()
    try:
        while True:
            next(steps)
            if turn.over():
                await let_others_run()
                turn = Turn()
    except StopIteration as end:
        return int(end.value)
    finally:
        file.release()


def _plain_steps(file: File, buffers: GuestBuffers, take: Callable[[int, int], bytes]) -> Generator[None, None, int]:
    done, total = 0, buffers.total
    while True:
        before = file.offset
        want = min(PIECE, total - done)
        try:
            data = take(done, want)
        except Errno:
            if done:
                return done
            raise
        if not data:
            return done
        try:
            went = buffers.scatter(done, data)
        except EFAULT:
            went = 0
        if went < len(data):
            if file.offset != before:
                file.offset = before + went
            if not done and not went:
                raise EFAULT
            return done + went
        done += went
        if went < want or done == total:
            return done
        yield


# --- writing
def send(
    t: Thread, file: File, buffers: GuestBuffers, put: Callable[[int, bytes], int], *, wait: bool, position: int | None = None
) -> Answer:
    """Write from guest memory; `put(done, data)` writes to the file.  `position` is where, None for the file's own offset.

    Raises EPIPE with SIGPIPE, EFBIG with SIGXFSZ.
    """
    done, total = 0, buffers.total
    if isinstance(file, RegularFile):
        limit = _below_size_limit(t, file, total, position)
    else:
        limit = total
        check_foreground(t, file, write=True)
    turn = Turn()
    while True:
        if done and turn.over():
            return _send_later(t, file, buffers, put, done, limit, wait=wait)
        try:
            data = buffers.gather(done, min(PIECE, limit - done)) if limit else b""
            went = put(done, data)
        except EAGAIN:
            if done:
                break
            if not wait:
                raise
            return _send_later(t, file, buffers, put, 0, limit, wait=True)
        except Errno as refusal:
            if isinstance(refusal, EPIPE):
                break_pipe(t, file, done)
            if done:
                return done
            raise
        done += went
        if done == limit or not went or isinstance(file, AnonFile):
            return done
        if file.queue is None:
            if went < len(data):
                return done
        elif not wait and went < len(data):
            return done
    return _send_later(t, file, buffers, put, done, limit, wait=True) if wait and file.queue is not None else done


async def _send_later(
    t: Thread, file: File, buffers: GuestBuffers, put: Callable[[int, bytes], int], done: int, limit: int, *, wait: bool
) -> int:
    """The rest of a write to something that was full: all of it goes, or what went before an interruption."""
    file.acquire()
    turn = Turn()
    try:
        while done < limit:
            if turn.over():
                await let_others_run()
                turn = Turn()
            try:
                data = buffers.gather(done, min(PIECE, limit - done))
                if wait and file.queue is not None:
                    deadline_ns = socket_deadline(t, file, SO_SNDTIMEO)
                    sending = retry(file, partial(put, done, data), deadline_ns=deadline_ns)
                    went = await (sending if deadline_ns is None else unrestarted(sending))
                else:
                    went = put(done, data)
                done += went
                if not went or isinstance(file, AnonFile) or (went < len(data) and (not wait or file.queue is None)):
                    break
            except EPIPE:
                break_pipe(t, file, done)
                if not done:
                    raise
                break
            except (Interrupted, Errno):
                if not done:
                    raise
                break
    finally:
        file.release()
    return done


def writer(t: Thread, file: File) -> Callable[[int, bytes], int]:
    """What `send` puts bytes into `file` with.  A socket wants to know who sends."""
    socket = socket_of(file)
    if socket is not None:
        cred = sender(t)
        return lambda _done, data: socket.send(data, cred=cred)
    return lambda _done, data: file.write(data)


def sender(t: Thread) -> Ucred:
    """Who `t` is to whom it sends (SCM_CREDENTIALS): the real ids."""
    from ring3.vfs.socketrecords import Ucred

    cred = t.proc.cred
    return Ucred(t.proc.pid, cred.ruid, cred.rgid)


def break_pipe(t: Thread, file: File, done: int) -> None:
    """Nobody will read what `t` writes, after `done` bytes went: SIGPIPE, but not for packets or the rest of a stream."""
    socket = socket_of(file)
    if (socket is not None and (done or socket.is_packets)) or file.flags & OpenFlags.NOSIGPIPE:
        return
    signals.send_to_thread(t, signals.user_signal(t, Signal.SIGPIPE))


def _below_size_limit(t: Thread, file: RegularFile, nbytes: int, position: int | None) -> int:
    """How many bytes RLIMIT_FSIZE lets a write have.  Raises EFBIG, with SIGXFSZ, when none."""
    limit = t.proc.rlimits[_FSIZE][0]
    if limit == RLIM_INFINITY or not nbytes:
        return nbytes
    if file.flags & OpenFlags.APPEND:
        position = file.target.getattr().size
    elif position is None:
        position = file.offset
    return min(nbytes, check_size_limit(t, position, limit))


def check_size_limit(t: Thread, position: int, limit: int) -> int:
    """Bytes left below `limit`.  Raises EFBIG, with SIGXFSZ, when `position` has reached it."""
    if position >= limit:
        signals.send_to_thread(t, signals.user_signal(t, Signal.SIGXFSZ))
        raise EFBIG
    return limit - position
