"""Waiting for several files: poll, ppoll, select, pselect6.

Nothing of them is restarted after a handler, whatever SA_RESTART says; a poll that was only stopped goes on with what time is left.
Invariant: a coroutine is made only when nothing is ready and there is something to wait for.
Source: poll(2), select(2), fs/select.c.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from ring3.abi.filerecords import PollFd, Seconds, SigsetArg
from ring3.abi.flags import Poll
from ring3.abi.signals import UNBLOCKABLE
from ring3.calls.guest import fetch
from ring3.calls.sysarg import Addr, Int, Size, UInt
from ring3.calls.sysarg_arrays import PollArray
from ring3.calls.sysarg_files import DescriptorSet, InOut, MaskAddr, TimeoutLeft, TimevalLeft
from ring3.calls.syscall import syscall
from ring3.calls.transfer import Answer
from ring3.errors import EBADF, EFAULT, EINVAL
from ring3.namedtuple import NamedTuple
from ring3.proc.proc import Restart, Rlimit, Thread
from ring3.proc.signals import SIGNAL_WORK
from ring3.vfs.file import File, PathFile
from ring3.waiting import Interrupted, WaitQueue, sleep_on

SIGSET_SIZE = 8
_MILLISECOND = 1_000_000
_SECOND = 1_000_000_000
_ALWAYS: Final = int(Poll.ERR | Poll.HUP)
_NVAL: Final = int(Poll.NVAL)
_IN: Final = int(Poll.RDNORM | Poll.RDBAND | Poll.IN | Poll.HUP | Poll.ERR)
_OUT: Final = int(Poll.WRBAND | Poll.WRNORM | Poll.OUT | Poll.ERR)
_EXCEPT: Final = int(Poll.PRI)
_PLAIN: Final = int(Poll.IN | Poll.OUT | Poll.RDNORM | Poll.WRNORM)

Look = Callable[[], int]


def deadline(t: Thread, timeout_ns: int | None) -> int | None:
    """When a relative timeout ends; None never."""
    return None if timeout_ns is None else t.system.now_ns() + timeout_ns


async def wait_ready(look: Look, queues: tuple[WaitQueue, ...], deadline_ns: int | None) -> int:
    """Sleep until `look` counts something or the deadline passes (0).  `look` has said 0 just before."""
    while True:
        if not await sleep_on(*queues, deadline_ns=deadline_ns):
            return look()
        found = look()
        if found:
            return found


# --- signal masks while waiting
def read_mask(t: Thread, addr: int, size: int) -> int | None:
    """The mask at `addr`, None for a null pointer.  Raises EINVAL for another size, EFAULT."""
    if not addr:
        return None
    if size != SIGSET_SIZE:
        raise EINVAL
    return int.from_bytes(t.proc.vm.copyin(addr, SIGSET_SIZE), "little")


def put_mask(t: Thread, mask: int) -> None:
    """Block `mask` until the call ends (`restore_mask`) or a handler was entered."""
    t.saved_sigmask = t.sigmask
    t.sigmask = mask & ~UNBLOCKABLE
    if (t.pending.mask | t.proc.pending.mask) & ~t.sigmask:
        t.work |= SIGNAL_WORK


def restore_mask(t: Thread) -> None:
    """The call ends without a signal being taken."""
    if t.saved_sigmask is not None:
        t.sigmask, t.saved_sigmask = t.saved_sigmask, None
        if (t.pending.mask | t.proc.pending.mask) & ~t.sigmask:
            t.work |= SIGNAL_WORK


async def masked(t: Thread, waiting: Coroutine[Any, Any, int]) -> int:
    """Wait with the mask that `put_mask` put; it stays for the handler when a signal comes."""
    try:
        result = await waiting
    except (Interrupted, Restart):
        raise
    except BaseException:
        restore_mask(t)
        raise
    restore_mask(t)
    return result


# --- poll
class PollSet(NamedTuple):
    """The descriptors of one poll: what is asked of each, and where the answer goes."""

    addr: int
    data: bytearray
    entries: list[tuple[int, File | None, int]]      # (offset of revents in data, file, events)

    def look(self) -> int:
        """Fill in what is ready; how many are."""
        ready = 0
        for offset, file, events in self.entries:
            found = _NVAL if file is None else int(file.poll()) & (events | _ALWAYS)
            self.data[offset : offset + 2] = found.to_bytes(2, "little")
            if found:
                ready += 1
        return ready

    def queues(self) -> tuple[WaitQueue, ...]:
        """Everything that may become ready, each queue once."""
        found: dict[WaitQueue, None] = {}
        for _, file, _events in self.entries:
            queue = None if file is None else file.queue
            if queue is not None:
                found[queue] = None
        return tuple(found)


def read_poll_set(t: Thread, addr: int, count: int) -> PollSet:
    """The pollfd array of a call.  Raises EINVAL beyond RLIMIT_NOFILE, EFAULT."""
    p = t.proc
    if count > p.rlimit(Rlimit.NOFILE):
        raise EINVAL
    layout = t.system.call_abi(t).layouts[PollFd]
    data = bytearray(p.vm.copyin(addr, count * layout.size))
    entries: list[tuple[int, File | None, int]] = []
    offset = layout.size - 2
    for fd, events, _ in layout.array(data):
        data[offset : offset + 2] = b"\0\0"
        if fd >= 0:
            file = p.fds.files.get(fd)
            entries.append((offset, None if isinstance(file, PathFile) else file, events))
        offset += layout.size
    return PollSet(addr, data, entries)


async def _hold(files: list[File], waiting: Coroutine[Any, Any, int]) -> int:
    """Keep descriptions open while they are waited for."""
    for file in files:
        file.acquire()
    try:
        return await waiting
    finally:
        for file in files:
            file.release()


async def _poll_later(t: Thread, polled: PollSet, deadline_ns: int | None) -> int:
    files = [file for _, file, _events in polled.entries if file is not None]
    ready = await _hold(files, wait_ready(polled.look, polled.queues(), deadline_ns))
    t.proc.vm.copyout(polled.addr, bytes(polled.data))
    return ready


def _poll_now(t: Thread, polled: PollSet, timeout_ns: int | None) -> int | None:
    """The answer, when there is one without sleeping."""
    ready = polled.look()
    if ready or timeout_ns == 0:
        t.proc.vm.copyout(polled.addr, bytes(polled.data))
        return ready
    return None


@syscall(pledge="stdio")
def sys_poll(t: Thread, fds: PollArray, nfds: UInt, timeout: Int) -> Answer:
    """Wait until one of several descriptors is ready; `timeout` in ms, negative for ever.  EINVAL, EFAULT, EINTR."""
    timeout_ns = None if timeout < 0 else timeout * _MILLISECOND
    polled = read_poll_set(t, fds, nfds)
    ready = _poll_now(t, polled, timeout_ns)
    return _poll_resumable(t, polled, deadline(t, timeout_ns)) if ready is None else ready


async def _poll_resumable(t: Thread, polled: PollSet, deadline_ns: int | None) -> int:
    """A poll that a mere stop does not end."""
    try:
        return await _poll_later(t, polled, deadline_ns)
    except Interrupted:
        addr, count = polled.addr, len(polled.data) // 8

        async def resume(t: Thread) -> int:
            again = read_poll_set(t, addr, count)
            ready = _poll_now(t, again, None)
            return await _poll_resumable(t, again, deadline_ns) if ready is None else ready

        raise Restart(resume=resume) from None


async def _timed(t: Thread, waiting: Coroutine[Any, Any, int], left: InOut, deadline_ns: int | None) -> int:
    """Wait, and in the end tell how much of the timeout is left.  An interruption is EINTR when a handler ran."""
    try:
        result = await waiting
    except Interrupted:
        put_time_left(t, left, deadline_ns)
        raise Restart(no_handler_only=True) from None
    put_time_left(t, left, deadline_ns)
    return result


def put_time_left(t: Thread, left: InOut, deadline_ns: int | None) -> None:
    """Write back what is left of a timeout; a program may keep it in memory that cannot be written."""
    if deadline_ns is None or left.value is None or not left.addr:
        return
    ns = max(deadline_ns - t.system.now_ns(), 0)
    try:
        left.put(Seconds(ns // _SECOND, ns % _SECOND // 1000) if isinstance(left.value, Seconds) else ns)
    except EFAULT:
        return


@syscall(pledge="stdio")
def sys_ppoll(t: Thread, fds: PollArray, nfds: UInt, timeout: TimeoutLeft, mask: MaskAddr, size: Size) -> Answer:
    """poll with a signal mask that holds while it waits, and what is left of the timeout written back."""
    sigmask = read_mask(t, mask, size)
    return poll_with_mask(t, read_poll_set(t, fds, nfds), timeout, sigmask)


def poll_with_mask(t: Thread, polled: PollSet, timeout: InOut, sigmask: int | None) -> Answer:
    """poll until `timeout` (ns, None for ever) under a mask; what is left is written back where there is an address."""
    deadline_ns = deadline(t, timeout.value)
    return _wait(
        t, lambda: _poll_now(t, polled, timeout.value), lambda: _poll_later(t, polled, deadline_ns), sigmask, timeout, deadline_ns
    )


def _wait(
    t: Thread, now: Callable[[], int | None], later: Callable[[], Coroutine[Any, Any, int]], sigmask: int | None, left: InOut,
    deadline_ns: int | None,
) -> Answer:
    """What ppoll and pselect6 share: answer at once, or sleep under `sigmask`."""
    ready = now()
    if ready == 0 and sigmask is not None:
        put_mask(t, sigmask)
        if t.work & SIGNAL_WORK:
            raise Restart(no_handler_only=True)
        restore_mask(t)
    if ready is not None:
        put_time_left(t, left, deadline_ns)
        return ready
    if sigmask is None:
        return _timed(t, later(), left, deadline_ns)
    put_mask(t, sigmask)
    return masked(t, _timed(t, later(), left, deadline_ns))


# --- select
class SelectSet(NamedTuple):
    """The three sets of a select: (address, wanted bits, poll bits) of those given."""

    sets: tuple[tuple[int, int, int], ...]
    files: dict[int, File]
    nbytes: int
    found: list[int]

    def look(self) -> int:
        """Fill in what is ready; how many bits are."""
        found = [0] * len(self.sets)
        for fd, file in self.files.items():
            bit = 1 << fd
            events = int(file.poll())
            for index, (_, wanted, mask) in enumerate(self.sets):
                if wanted & bit and events & mask:
                    found[index] |= bit
        self.found[:] = found
        return sum(bits.bit_count() for bits in found)

    def queues(self) -> tuple[WaitQueue, ...]:
        """Everything that may become ready, each queue once."""
        return tuple({queue: None for file in self.files.values() if (queue := file.queue) is not None})

    def store(self, t: Thread) -> None:
        """Write the sets back.  Raises EFAULT."""
        for (addr, _, _), bits in zip(self.sets, self.found, strict=True):
            t.proc.vm.copyout(addr, bits.to_bytes(self.nbytes, "little"))


def read_select_set(t: Thread, nfds: int, addrs: tuple[int, int, int]) -> SelectSet:
    """The sets of a call.  Raises EINVAL, EFAULT, EBADF."""
    if nfds < 0:
        raise EINVAL
    p = t.proc
    nfds = min(nfds, _table_size(max(p.fds.files, default=0) + 1))
    word = t.system.call_abi(t).word_size
    nbytes = (nfds + 8 * word - 1) // (8 * word) * word
    sets = []
    everything = 0
    for addr, mask in zip(addrs, (_IN, _OUT, _EXCEPT), strict=True):
        if addr:
            wanted = int.from_bytes(p.vm.copyin(addr, nbytes), "little") & (1 << nfds) - 1
            sets.append((addr, wanted, mask))
            everything |= wanted
    files: dict[int, File] = {}
    while everything:
        fd = (everything & -everything).bit_length() - 1
        everything &= everything - 1
        file = p.fds.files.get(fd)
        if file is None or isinstance(file, PathFile):
            raise EBADF
        files[fd] = file
    return SelectSet(tuple(sets), files, nbytes, [0] * len(sets))


def _table_size(nfds: int) -> int:
    """How many descriptors Linux's table has room for when it holds `nfds`: sets are not looked at beyond.

    It never shrinks, and whoever was started by a shell (which keeps one at 255) has room for 256.
    """
    return max(256, 1 << (nfds - 1).bit_length())


def _select_now(t: Thread, selected: SelectSet, timeout_ns: int | None) -> int | None:
    ready = selected.look()
    if ready or timeout_ns == 0:
        selected.store(t)
        return ready
    return None


async def _select_later(t: Thread, selected: SelectSet, deadline_ns: int | None) -> int:
    ready = await _hold(list(selected.files.values()), wait_ready(selected.look, selected.queues(), deadline_ns))
    selected.store(t)
    return ready


def select(t: Thread, nfds: int, addrs: tuple[int, int, int], left: InOut, sigmask: int | None = None) -> Answer:
    """All the select calls.  Raises EINVAL for a negative timeout."""
    timeout_ns = left.value
    if isinstance(timeout_ns, Seconds):
        if timeout_ns.seconds < 0 or timeout_ns.fraction < 0:
            raise EINVAL
        timeout_ns = timeout_ns.seconds * _SECOND + timeout_ns.fraction * 1000
    selected = read_select_set(t, nfds, addrs)
    deadline_ns = deadline(t, timeout_ns)
    return _wait(
        t, lambda: _select_now(t, selected, timeout_ns), lambda: _select_later(t, selected, deadline_ns), sigmask, left, deadline_ns
    )


@syscall(pledge="stdio")
def sys_select(
    t: Thread, nfds: Int, readfds: DescriptorSet, writefds: DescriptorSet, exceptfds: DescriptorSet, timeout: TimevalLeft
) -> Answer:
    """Wait until one of the descriptors in three sets is ready.  EBADF, EINVAL, EINTR."""
    return select(t, nfds, (readfds, writefds, exceptfds), timeout)


@syscall(pledge="stdio")
def sys_pselect6(
    t: Thread, nfds: Int, readfds: DescriptorSet, writefds: DescriptorSet, exceptfds: DescriptorSet, timeout: TimeoutLeft,
    mask: Addr,
) -> Answer:
    """select with a signal mask that holds while it waits."""
    sigmask = read_mask(t, *fetch(t, SigsetArg, mask)) if mask else None
    return select(t, nfds, (readfds, writefds, exceptfds), timeout, sigmask)
