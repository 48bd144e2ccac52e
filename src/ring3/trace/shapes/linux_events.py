"""Shapes of the calls that wait for descriptors, as Linux numbers them: what is ready stands behind their result.

Source: strace(1); poll(2), select(2), epoll_ctl(2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.filerecords import Seconds
from ring3.abi.flags import Poll
from ring3.abi.x86 import RDI
from ring3.calls.sysarg import Kind, show_flags
from ring3.calls.sysarg_files import show_ns, show_seconds
from ring3.errors import Errno
from ring3.trace.shapes.shape import (
    At,
    Bits,
    Chooser,
    Counted,
    Named,
    Raw,
    Read,
    Shape,
    SignalMask,
    by,
    field,
    looked,
    memory,
    shape,
    where,
)

if TYPE_CHECKING:
    from ring3.proc.proc import Thread

_EPOLL: Final = Bits({
    1: "EPOLLIN", 2: "EPOLLPRI", 4: "EPOLLOUT", 0x40: "EPOLLRDNORM", 0x80: "EPOLLRDBAND", 0x100: "EPOLLWRNORM",
    0x200: "EPOLLWRBAND", 0x400: "EPOLLMSG", 8: "EPOLLERR", 0x10: "EPOLLHUP", 0x2000: "EPOLLRDHUP",
    1 << 28: "EPOLLEXCLUSIVE", 1 << 29: "EPOLLWAKEUP", 1 << 30: "EPOLLONESHOT", 1 << 31: "EPOLLET",
})
_MOST: Final = 1024             # descriptors of a set, and entries of a poll, that are looked through
_SHOWN: Final = 32


# --- epoll
def _event(events: int, data: int) -> str:
    low = data & 0xFFFF_FFFF
    return f"{{events={_EPOLL.show(None, events)}, data={{u32={low}, u64={data}}}}}"


_OPERATION: Final = Named({1: "EPOLL_CTL_ADD", 2: "EPOLL_CTL_DEL", 3: "EPOLL_CTL_MOD"}, "EPOLL_CTL_???")
_DELETE: Final = 2


class _EpollEvent(Kind):
    """epoll_ctl's."""

    def show(self, t: Thread, value: Any) -> str:
        return "NULL" if value is None else _event(value.events, value.data)


class _EpollEvents(Kind):
    """epoll_wait's: as many as there are."""

    out = True

    def show(self, t: Thread, value: Any) -> str:
        return hex(value) if value else "NULL"

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        def look(t: Thread, addr: int) -> str:
            data = memory(t, addr, 12 * min(result, _SHOWN))
            texts = [_event(field(data, at, 4), field(data, at + 4, 8)) for at in range(0, len(data), 12)]
            return f"[{', '.join(texts)}{', ...' if result > _SHOWN else ''}]"

        return looked(look, t, value)


class _Limit(Raw):
    """epoll_pwait2's timeout: where it stands, when the call has failed."""

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        return "NULL" if value is None else show_ns(int(value))


# --- poll
def _polled(_t: Thread, data: bytes) -> str:
    fd, events = field(data, 0, 4, signed=True), field(data, 4, 2)
    return f"{{fd={fd}}}" if fd < 0 else f"{{fd={fd}, events={show_flags(Poll, events, '0', 'POLL')}}}"


def _left(value: Any) -> str:
    """What is left of a timeout, as the kernel wrote it back."""
    time = getattr(value, "value", None)
    if time is None:
        return ""
    if isinstance(time, Seconds):
        return f"left {show_seconds(time, 'usec')}"
    return f"left {show_ns(time)}"


def _ready(t: Thread, args: Sequence[Any], result: int) -> str:
    """poll's entries with something in them, and ppoll's time that is left."""
    if result <= 0:
        return f"{result} (Timeout)" if result == 0 else str(result)
    try:
        data = memory(t, where(args[0]), 8 * min(int(args[1]), _MOST))
    except Errno:
        return str(result)
    ready = [
        f"{{fd={field(data, at, 4, signed=True)}, revents={show_flags(Poll, field(data, at + 6, 2), '0', 'POLL')}}}"
        for at in range(0, len(data), 8) if field(data, at + 6, 2) and field(data, at, 4, signed=True) >= 0
    ]
    parts = [f"[{', '.join(ready[:_SHOWN])}{', ...' if len(ready) > _SHOWN else ''}]"]
    if len(args) > 3 and _left(args[2]):
        parts.append(_left(args[2]))
    return f"{result} ({', '.join(parts)})"


# --- select
def _members(t: Thread, addr: int, count: int) -> list[int]:
    """The descriptors in a set below `count`.  Raises EFAULT."""
    count = min(max(count, 0), _MOST)
    bits = int.from_bytes(memory(t, addr, (count + 63) // 64 * 8), "little") if count else 0
    return [fd for fd in range(count) if bits >> fd & 1]


def _set(t: Thread, addr: int, count: int) -> str:
    return f"[{' '.join(map(str, _members(t, addr, count)))}]"


class _Set(Kind):
    """A set: the descriptors in it, below the first argument."""

    def show(self, t: Thread, value: Any) -> str:
        return looked(lambda t, addr: _set(t, addr, t.cpu.regs[RDI] & 0x7FFF_FFFF), t, where(value))


def _selected(t: Thread, args: Sequence[Any], result: int) -> str:
    """What is in select's sets, and the time that is left."""
    if result <= 0:
        return f"{result} (Timeout)" if result == 0 else str(result)
    parts = []
    try:
        for name, value in zip(("in", "out", "except"), args[1:4], strict=True):
            ready = where(value) and _members(t, where(value), int(args[0]))
            if ready:
                parts.append(f"{name} [{' '.join(map(str, ready))}]")
    except Errno:
        return str(result)
    left = _left(args[4])
    return f"{result} ({', '.join([*parts, left] if left else parts)})"


def _set_and_size(t: Thread, addr: int) -> str:
    """pselect6's last argument, which is two.  Raises EFAULT."""
    data = memory(t, addr, 16)
    mask, size = field(data, 0, 8), field(data, 8, 8)
    return f"{{sigmask={_MASK.show_beside(t, mask, size)}, sigsetsize={size}}}"


_MASK: Final = SignalMask()
_SETS: Final = shape(None, _Set(), _Set(), _Set(), None)
_POLLED: Final = Counted(8, _polled)
SHAPES: Final[dict[str, Shape | Chooser]] = {
    "epoll_ctl": by(1, {_DELETE: shape(None, _OPERATION, None, Raw(3))}, shape(None, _OPERATION, None, _EpollEvent())),
    "epoll_wait": shape(None, _EpollEvents(), None, None),
    "epoll_pwait": shape(None, _EpollEvents(), None, None, _MASK, None),
    "epoll_pwait2": shape(None, _EpollEvents(), None, _Limit(3), _MASK, None),
    "poll": shape(_POLLED, None, None), "ppoll": shape(_POLLED, None, None, _MASK, None), "select": _SETS,
    "pselect6": (*_SETS, At(5, Read(_set_and_size))),
}
RESULTS: Final = {"poll": _ready, "ppoll": _ready, "select": _selected, "pselect6": _selected}
