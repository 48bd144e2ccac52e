"""kqueue(2) and kevent(2).  The knotes are `vfs/kqueue.py`, what they watch `vfs/kqueuefiles.py` and `proc/kqueue.py`.

Signals and wait statuses are the kernel's own numbers behind this border.  A change that is refused becomes an event of EV_ERROR
where there is room for it; then the call does not wait.  Source: kqueue(2), sys/kern/kern_event.c (kevent1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from ring3.abi.eventrecords import EV_SYSFLAGS, NOTE_EXIT, Ev, Filter, KEvent, LongKEvent
from ring3.abi.flags import OpenFlags
from ring3.abi.procrecords import WaitStatus
from ring3.abi.records import Timespec
from ring3.abi.signals import Signal
from ring3.calls.descriptor import install
from ring3.calls.guest import fetch
from ring3.calls.place import opened
from ring3.calls.procarg import TimespecAt
from ring3.calls.sysarg import Fd, OpenFlag, Size, show_flags
from ring3.calls.sysarg_arrays import Array
from ring3.calls.syscall import syscall
from ring3.calls.transfer import Answer
from ring3.errors import EBADF, EINTR, EINVAL, Errno
from ring3.proc.kqueue import make_kqueue
from ring3.proc.proc import Thread
from ring3.vfs.kqueue import POLL_NS, Kqueue
from ring3.waiting import Interrupted, sleep_on

MAX_CHANGES: Final = 1 << 16           # more than that in one call is refused
_BATCH: Final = 1024                   # events looked for, and changes read, at once
_FLAGS: Final = int(OpenFlags.CLOEXEC | OpenFlags.NONBLOCK)
_FILTERS: Mapping[int, str] = {int(f): f"EVFILT_{f.name}" for f in Filter}


def show_kevent(event: KEvent) -> str:
    """`{ident=3, filter=EVFILT_READ, flags=EV_ADD, fflags=0, data=0, udata=0}`."""
    flags = show_flags(Ev, event.flags, "0", "EV_")
    return (
        f"{{ident={event.ident}, filter={_FILTERS.get(event.filter, event.filter)}, flags={flags}, fflags={event.fflags:#x}, "
        f"data={event.data}, udata={event.udata:#x}}}"
    )


class Changes(Array):
    """The change list: what it says."""

    def __init__(self, record: type = KEvent) -> None:
        super().__init__(record)

    def show_item(self, t: Thread, item: Any) -> str:
        del t
        return show_kevent(item)


class Events(Changes):
    """The event list: as many as the call gave."""

    def show_beside(self, t: Thread, value: Any, behind: Any) -> str:
        return self.show(t, value)

    def show_result_beside(self, t: Thread, value: Any, behind: Any, result: int) -> str | None:
        items = self.items(t, value, result)
        return None if items is None else self.join([show_kevent(item) for item in items], result)


ChangeArray = Annotated[int, Changes()]
EventArray = Annotated[int, Events()]
LongChangeArray = Annotated[int, Changes(LongKEvent)]
LongEventArray = Annotated[int, Events(LongKEvent)]


@syscall(pledge="stdio")
def sys_kqueue(t: Thread) -> int:
    """A new kqueue.  EMFILE."""
    return install(t, make_kqueue(t, OpenFlags(0)))


@syscall(pledge="stdio")
def sys_kqueue1(t: Thread, flags: OpenFlag) -> int:
    """A new kqueue with O_CLOEXEC, O_NONBLOCK.  EMFILE, EINVAL."""
    if int(flags) & ~_FLAGS:
        raise EINVAL
    return install(t, make_kqueue(t, flags), cloexec=bool(flags & OpenFlags.CLOEXEC))


@syscall(pledge="stdio")
def sys___kevent50(
    t: Thread, fd: Fd, changes: ChangeArray, nchanges: Size, events: EventArray, nevents: Size, timeout: TimespecAt
) -> Answer:
    """Change what is watched, then wait for events.  EBADF, EINVAL, EFAULT, EINTR; a change's own error without room for it."""
    return kevent(t, KEvent, fd, changes, nchanges, events, nevents, timeout)


@syscall(pledge="stdio")
def sys___kevent100(
    t: Thread, fd: Fd, changes: LongChangeArray, nchanges: Size, events: LongEventArray, nevents: Size, timeout: TimespecAt
) -> Answer:
    """kevent as NetBSD 11 has it; the words behind the struct are not kept."""
    return kevent(t, LongKEvent, fd, changes, nchanges, events, nevents, timeout)


def kevent(
    t: Thread, record: type, fd: int, changes: int, nchanges: int, events: int, nevents: int, timeout: int, spec: type = Timespec
) -> Answer:
    """The call, with one record's layout of events and of the timeout."""
    kq = opened(t, fd)
    if not isinstance(kq, Kqueue):
        raise EBADF
    wait_ns: int | None = None
    refusal: Errno | None = None
    if timeout:
        try:
            wait_ns = fetch(t, spec, timeout)
        except EINVAL as bad:                # looked at once the changes are made
            refusal = bad
    failed = _change(t, record, kq, changes, nchanges, events, nevents)
    if failed or not nevents:
        return failed
    if refusal is not None:
        raise refusal
    room = min(nevents, _BATCH)
    found = kq.scan(room, t.proc.fds.files)
    if found or wait_ns == 0:
        return _give(t, record, events, found)
    return _wait(t, record, kq, events, room, None if wait_ns is None else t.system.now_ns() + wait_ns)


def _change(t: Thread, record: type, kq: Kqueue, changes: int, count: int, events: int, room: int) -> int:
    """Make all changes; how many of them failed and stand in the event list now, those of EV_RECEIPT among them."""
    if count > MAX_CHANGES:
        raise EINVAL
    layout = t.system.call_abi(t).layouts[record]
    errno, size, done = t.system.call_abi(t).errno, layout.size, 0
    for start in range(0, count, _BATCH):
        batch = t.proc.vm.copyin(changes + start * size, min(_BATCH, count - start) * size)
        for offset in range(0, len(batch), size):
            theirs: KEvent = layout.decode(batch[offset : offset + size])
            event = _inward(t, theirs)
            number = 0
            try:
                kq.register(event, lambda fd: opened(t, fd))
            except Errno as refusal:
                if done >= room:
                    raise
                number = errno[type(refusal)]
            if number or event.flags & Ev.RECEIPT:
                if done >= room:
                    return done
                answer = theirs._replace(flags=int(Ev.ERROR), data=number)
                t.proc.vm.copyout(events + done * size, layout.encode(answer))
                done += 1
    return done


def _inward(t: Thread, event: KEvent) -> KEvent:
    """A change in the kernel's own numbers."""
    event = event._replace(flags=event.flags & ~EV_SYSFLAGS & 0xFFFF_FFFF)
    if event.filter == Filter.SIGNAL:
        numbers = t.system.call_abi(t).flags[Signal]
        return event._replace(ident=numbers(event.ident) if event.ident < 64 else 0)
    return event


def _outward(t: Thread, event: KEvent) -> KEvent:
    """An event in the system's numbers."""
    abi = t.system.call_abi(t)
    if event.filter == Filter.SIGNAL:
        return event._replace(ident=abi.flags[Signal].outward(event.ident))
    if event.filter == Filter.PROC and event.flags & Ev.EOF and event.data and event.fflags & NOTE_EXIT:
        return event._replace(data=int.from_bytes(abi.layouts[WaitStatus].encode(event.data), "little"))
    return event


def _give(t: Thread, record: type, addr: int, found: list[KEvent]) -> int:
    encode = t.system.call_abi(t).layouts[record].encode
    t.proc.vm.copyout(addr, b"".join([encode(_outward(t, event)) for event in found]))
    return len(found)


async def _wait(t: Thread, record: type, kq: Kqueue, addr: int, room: int, deadline_ns: int | None) -> int:
    """Sleep until there is an event.  Never made again after a signal: EINTR."""
    kq.acquire()
    try:
        while True:
            until = deadline_ns
            if kq.polled:
                look_ns = t.system.now_ns() + POLL_NS
                until = look_ns if until is None else min(until, look_ns)
            woken = await sleep_on(kq.queue, deadline_ns=until)
            found = kq.scan(room, t.proc.fds.files)
            if found or (not woken and deadline_ns is not None and t.system.now_ns() >= deadline_ns):
                return _give(t, record, addr, found)
    except Interrupted:
        raise EINTR from None
    finally:
        kq.release()
