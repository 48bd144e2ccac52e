"""Arguments that are arrays of records (vectors, pollfds, epoll events): read for printing only, the call reads them itself.

Prints follow strace(1).
"""

from __future__ import annotations

from typing import Annotated, Any

from ring3.abi.filerecords import EpollEvent, IoVec, PollFd
from ring3.abi.flags import EpollFlags, Poll
from ring3.calls.sysarg import Kind, Record, show_flags, show_memory
from ring3.errors import EFAULT
from ring3.proc.proc import Thread

SHOWN_ITEMS = 32


class Array(Kind):
    """The address of records; how many, the argument behind it says.  Read for printing only."""

    def __init__(self, record: type) -> None:
        self.record = record

    def show(self, t: Thread, value: Any) -> str:
        return hex(value) if value else "NULL"

    def show_beside(self, t: Thread, value: Any, behind: Any) -> str:
        items = self.items(t, value, behind)
        return self.show(t, value) if items is None else self.join([self.show_item(t, item) for item in items], behind)

    def items(self, t: Thread, value: Any, count: Any) -> list[Any] | None:
        """The first records, None where they cannot be read."""
        if not value or not isinstance(count, int) or count < 0:
            return None
        layout = t.system.call_abi(t).layouts[self.record]
        try:
            data = t.proc.vm.copyin(value, min(count, SHOWN_ITEMS) * layout.size)
        except EFAULT:
            return None
        return [layout.decode(data[i : i + layout.size]) for i in range(0, len(data), layout.size)]

    def join(self, shown: list[str], count: int) -> str:
        """All of them between brackets."""
        return f"[{', '.join(shown)}{', ...' if count > len(shown) else ''}]"

    def show_item(self, t: Thread, item: Any) -> str:
        """One record."""
        del t
        return str(item)


class InIoVecs(Array):
    """writev's vectors: with what they point to."""

    def __init__(self) -> None:
        super().__init__(IoVec)

    def show_item(self, t: Thread, item: Any) -> str:
        return f"{{iov_base={show_memory(t, item.base, item.length)}, iov_len={item.length}}}"


class OutIoVecs(InIoVecs):
    """readv's: with what was read."""

    def show_beside(self, t: Thread, value: Any, behind: Any) -> str:
        return self.show(t, value)

    def show_result_beside(self, t: Thread, value: Any, behind: Any, result: int) -> str | None:
        items = self.items(t, value, behind)
        if items is None or result < 0:
            return None
        shown = []
        for item in items:
            filled = min(item.length, result)
            result -= filled
            shown.append(f"{{iov_base={show_memory(t, item.base, filled)}, iov_len={item.length}}}")
        return self.join(shown, behind)


class PollFds(Array):
    """poll's array: what is asked, and in the end what is ready."""

    def __init__(self) -> None:
        super().__init__(PollFd)

    def show_item(self, t: Thread, item: Any) -> str:
        return f"{{fd={item.fd}, events={show_flags(Poll, item.events, '0', 'POLL')}}}"

    def show_result_beside(self, t: Thread, value: Any, behind: Any, result: int) -> str | None:
        items = self.items(t, value, behind)
        if items is None or result <= 0:
            return None
        ready = [f"{{fd={i.fd}, revents={show_flags(Poll, i.revents, '0', 'POLL')}}}" for i in items if i.revents]
        return f"{self.show_beside(t, value, behind)} => [{', '.join(ready)}]"


def show_epoll_event(event: EpollEvent) -> str:
    """`{events=EPOLLIN|EPOLLET, data=…}`."""
    high = event.events & (0xF << 28)
    names = [n for n in (show_flags(Poll, event.events & ~high, "", "EPOLL"), show_flags(EpollFlags, high, "", "EPOLL")) if n]
    return f"{{events={'|'.join(names) or '0'}, data={event.data:#x}}}"


class EpollEventRecord(Record):
    """epoll_ctl's event."""

    def show(self, t: Thread, value: Any) -> str:
        del t
        return "NULL" if value is None else show_epoll_event(value)


class EpollEvents(Array):
    """epoll_wait's array: as many as it gave."""

    def __init__(self) -> None:
        super().__init__(EpollEvent)

    def show_beside(self, t: Thread, value: Any, behind: Any) -> str:
        return self.show(t, value)

    def show_result_beside(self, t: Thread, value: Any, behind: Any, result: int) -> str | None:
        items = self.items(t, value, result)
        return None if items is None else self.join([show_epoll_event(item) for item in items], result)


# --- the words handlers use
InVectors = Annotated[int, InIoVecs()]
OutVectors = Annotated[int, OutIoVecs()]
PollArray = Annotated[int, PollFds()]
EpollIn = Annotated[EpollEvent | None, EpollEventRecord(EpollEvent)]
EpollArray = Annotated[int, EpollEvents()]
