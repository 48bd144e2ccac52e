"""SerenityOS's poll: a file is ready when reading or writing it would not wait, and nothing else is told.

There POLLHUP, POLLERR and POLLNVAL are never answered: the end of a pipe is something to read, and a descriptor that is not open
refuses the whole call.  Source: Kernel/Syscalls/poll.cpp, OpenFileDescription::should_unblock of December 2022 (reference, 4.8).
"""

from __future__ import annotations

from typing import Annotated, Final

from ring3.abi.filerecords import PollFd
from ring3.abi.flags import Poll
from ring3.abi.procrecords import SigSet
from ring3.calls.guest import fetch
from ring3.calls.place import opened
from ring3.calls.poll import PollSet, poll_with_mask
from ring3.calls.serenity.argument import Params
from ring3.calls.serenity.signal import copy_time
from ring3.calls.sysarg import Addr, UInt
from ring3.calls.sysarg_arrays import PollArray
from ring3.calls.sysarg_files import InOut
from ring3.calls.syscall import syscall
from ring3.calls.transfer import Answer
from ring3.errors import ENOBUFS
from ring3.namedtuple import NamedTuple
from ring3.proc.proc import Thread
from ring3.vfs.file import File

MOST: Final = 1024                      # descriptors a process may have, and one poll ask for one less
_IN, _OUT = 1, 4
_ENDED: Final = int(Poll.HUP | Poll.ERR)
_READABLE: Final = int(Poll.IN)
_WRITABLE: Final = int(Poll.OUT)


class PollParams(NamedTuple):
    """What is asked of which descriptors, for how long, and the signals that are blocked meanwhile."""

    fds: PollArray
    nfds: UInt
    timeout: Addr
    sigmask: Addr


class _Asked(PollSet):
    """The descriptors of one poll, and what SerenityOS answers of them."""

    __slots__ = ()

    def look(self) -> int:
        """Fill in what is ready; how many are."""
        ready = 0
        for offset, file, events in self.entries:
            found = 0 if file is None else _ready(file) & events
            self.data[offset : offset + 2] = found.to_bytes(2, "little")
            ready += bool(found)
        return ready


def _ready(file: File) -> int:
    """POLLIN and POLLOUT of what would not wait."""
    events = int(file.poll())
    ended = events & _ENDED and not file.is_socket      # a socket without another side is not ready
    return (_IN if events & _READABLE or ended else 0) | (_OUT if events & _WRITABLE or ended else 0)


def _read(t: Thread, addr: int, count: int) -> _Asked:
    """The array of a call.  Raises EFAULT, EBADF."""
    layout = t.system.call_abi(t).layouts[PollFd]
    data = bytearray(t.proc.vm.copyin(addr, count * layout.size)) if count else bytearray()
    entries: list[tuple[int, File | None, int]] = []
    for index, (fd, events, _) in enumerate(layout.array(bytes(data))):
        entries.append(((index + 1) * layout.size - 2, opened(t, fd), events))
    return _Asked(addr, data, entries)


@syscall(pledge="stdio")
def sys_poll(t: Thread, params: Annotated[PollParams, Params(PollParams, "<QI4xQQ")]) -> Answer:
    """Wait until one of several descriptors is ready.  Raises ENOBUFS for 1024 and more, EFAULT, EBADF, EINTR."""
    if params.nfds >= MOST:
        raise ENOBUFS
    timeout_ns = max(copy_time(t, params.timeout), 0) if params.timeout else None      # whatever its parts are
    sigmask: int | None = fetch(t, SigSet, params.sigmask) if params.sigmask else None
    return poll_with_mask(t, _read(t, params.fds, params.nfds), InOut(t, 0, timeout_ns, None), sigmask)
