"""What kqueue watches of processes, signals and clocks.

A process tells those who watch it through `Proc.knotes`, at its fork, exec and end and for each signal that is sent to it, ignored
ones too.  Knotes of ended processes give one last event and go (EV_ONESHOT, EV_EOF).
Signal and wait status are the kernel's own numbers here; the call translates.  Source: kqueue(2), sys/kern/kern_event.c
(filt_proc, filt_timer), sys/kern/kern_sig.c (filt_signal).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, cast

from ring3.abi.eventrecords import (
    NOTE_ABSTIME,
    NOTE_CHILD,
    NOTE_EXEC,
    NOTE_EXIT,
    NOTE_FORK,
    NOTE_MSECONDS,
    NOTE_NSECONDS,
    NOTE_PCTRLMASK,
    NOTE_SECONDS,
    NOTE_TRACK,
    NOTE_TRACKERR,
    NOTE_USECONDS,
    Ev,
    Filter,
    KEvent,
)
from ring3.errors import EACCES, EBADF, EINVAL, ENOMEM, ESRCH, Errno
from ring3.proc.jails import may_know
from ring3.vfs.kqueue import Knote, Kqueue, Watcher
from ring3.vfs.kqueuefiles import FILE_WATCHERS

if TYPE_CHECKING:
    from ring3.proc.proc import Proc, Thread
    from ring3.proc.system import System
    from ring3.vfs.file import File

MAX_TIMERS: Final = 4096              # of one kqueue
_TICK_NS: Final = 10_000_000           # a hundred a second
_MAX_NS: Final = 1 << 62
_UNITS: Final = 3
_UNIT_NS: Final = {NOTE_MSECONDS: 1_000_000, NOTE_SECONDS: 1_000_000_000, NOTE_USECONDS: 1000, NOTE_NSECONDS: 1}
_LAST: Final = int(Ev.EOF | Ev.ONESHOT)
_OF_KERNEL: Final = int(Ev.ADD | Ev.ENABLE | Ev.FLAG1)


def make_kqueue(t: Thread, flags: Any) -> Kqueue:
    """A kqueue of `t`'s process, with all filters there are."""
    filters: dict[int, Watcher] = {
        **FILE_WATCHERS, int(Filter.PROC): ProcWatcher(t.system), int(Filter.SIGNAL): SignalWatcher(t.proc),
        int(Filter.TIMER): TimerWatcher(t.system),
    }
    return Kqueue(t.system.anonymous, flags, filters)


class KnoteList:
    """The knotes of one process (`Proc.knotes`): who wants to hear what happens to it."""

    __slots__ = ("notes",)

    def __init__(self) -> None:
        self.notes: dict[Knote, None] = {}

    def fork(self, child: Proc) -> None:
        """It has a new child."""
        self._tell(NOTE_FORK, child.pid)

    def exec(self, p: Proc) -> None:
        """It runs another program."""
        del p
        self._tell(NOTE_EXEC, 0)

    def exit(self, status: int) -> None:
        """It ended, with that wait status."""
        self._tell(NOTE_EXIT, status)

    def signal(self, signo: int) -> None:
        """A signal was sent to it."""
        self._tell(0, signo)

    def _tell(self, what: int, number: int) -> None:
        for kn in list(self.notes):
            if cast("_OfProcess", kn.watcher).hear(kn, what, number):
                kn.kqueue.activate(kn)


class _OfProcess(Watcher):
    """A knote in the list of a process, which is its `state`."""

    __slots__ = ()

    def join(self, kn: Knote, p: Proc) -> None:
        """Be told what happens to `p`."""
        if p.knotes is None:
            p.knotes = KnoteList()
        p.knotes.notes[kn] = None
        kn.state = p

    def detach(self, kn: Knote) -> None:
        p, kn.state = kn.state, None
        if p is not None:
            p.knotes.notes.pop(kn, None)
            if not p.knotes.notes:
                p.knotes = None

    def hear(self, kn: Knote, what: int, number: int) -> bool:
        """Something happened; whether there is something to tell of."""
        raise NotImplementedError


class ProcWatcher(_OfProcess):
    """EVFILT_PROC.  EV_CLEAR is implied."""

    __slots__ = ("system",)

    def __init__(self, system: System) -> None:
        self.system = system

    def attach(self, kn: Knote) -> None:
        """Raises ESRCH; EACCES for another user's process, or one that changed its ids."""
        p = self.system.procs.get(kn.ident)
        caller = self.system.current
        if p is None or p.zombie or (caller is not None and not may_know(caller.proc, p)):
            raise ESRCH
        if not kn.flags & Ev.FLAG1 and caller is not None and caller.proc is not p:
            mine = caller.proc.cred
            if not mine.privileged and (mine.euid != p.cred.ruid or p.dumpable != 1):
                raise EACCES
        if kn.flags & Ev.FLAG1:                       # a child's, made by NOTE_TRACK
            kn.flags &= ~int(Ev.FLAG1)
            kn.data, kn.fflags = kn.sdata, NOTE_CHILD
        kn.flags |= Ev.CLEAR
        self.join(kn, p)

    def check(self, kn: Knote) -> bool:
        return kn.fflags != 0

    def hear(self, kn: Knote, what: int, number: int) -> bool:
        """The process forked (the child's id), has a new program, or ended (its wait status)."""
        event = what & NOTE_PCTRLMASK
        if event == NOTE_EXIT:
            kn.data = number
            kn.flags |= _LAST
            kn.fflags |= event & kn.sfflags
            self.detach(kn)
            return True
        if event == NOTE_FORK and kn.sfflags & NOTE_TRACK:
            self._track(kn, number)
        kn.fflags |= event & kn.sfflags
        return kn.fflags != 0

    def _track(self, kn: Knote, child: int) -> None:
        """A knote for the child, in the same kqueue."""
        wanted = KEvent(child, kn.filter, kn.flags | _OF_KERNEL, kn.sfflags, kn.ident, kn.udata)
        try:
            kn.kqueue.register(wanted, _no_descriptor)
        except Errno:
            kn.fflags |= NOTE_TRACKERR


def _no_descriptor(_fd: int) -> File:
    raise EBADF


class SignalWatcher(_OfProcess):
    """EVFILT_SIGNAL: how often a signal was sent to the process, beside whatever it does.  EV_CLEAR is implied."""

    __slots__ = ("proc",)

    def __init__(self, proc: Proc) -> None:
        self.proc = proc

    def attach(self, kn: Knote) -> None:
        """Raises EINVAL for no signal."""
        if not 1 <= kn.ident <= 64:
            raise EINVAL
        kn.flags |= Ev.CLEAR
        self.join(kn, self.proc)

    def check(self, kn: Knote) -> bool:
        return kn.data != 0

    def hear(self, kn: Knote, what: int, number: int) -> bool:
        """A signal was sent (`what` is 0 then)."""
        if not what and number == kn.ident:
            kn.data += 1
        return kn.data != 0


class TimerWatcher(Watcher):
    """EVFILT_TIMER: every `data` milliseconds (or other units), or once; counts.  EV_CLEAR is implied.

    With NOTE_ABSTIME it is a moment of the real time, once.
    """

    __slots__ = ("system",)

    def __init__(self, system: System) -> None:
        self.system = system

    def attach(self, kn: Knote) -> None:
        """Raises EINVAL for no time at all and for unknown units, ENOMEM for too many."""
        if kn.sdata <= 0 or kn.sfflags & ~(_UNITS | NOTE_ABSTIME):
            raise EINVAL
        if sum(other.filter == Filter.TIMER for other in kn.kqueue.knotes.values()) >= MAX_TIMERS:
            raise ENOMEM
        kn.flags |= Ev.CLEAR
        now_ns = self.system.now_ns()
        if kn.sfflags & NOTE_ABSTIME:
            kn.flags |= Ev.ONESHOT
            self._ring_at(kn, now_ns + max(min(kn.sdata * _UNIT_NS[kn.sfflags & _UNITS], _MAX_NS) - time.time_ns(), 0))
        else:
            self._ring_at(kn, now_ns + self._period(kn))

    def _period(self, kn: Knote) -> int:
        return min(max(kn.sdata * _UNIT_NS[kn.sfflags & _UNITS], _TICK_NS), _MAX_NS)

    def _ring_at(self, kn: Knote, due_ns: int) -> None:
        kn.state = self.system.schedule(due_ns, lambda: self._ring(kn, due_ns))

    def _ring(self, kn: Knote, due_ns: int) -> None:
        kn.state = None
        kn.data += 1
        kn.kqueue.activate(kn)
        if not kn.flags & Ev.ONESHOT and kn.kqueue.knotes.get((kn.filter, kn.ident)) is kn:
            period = self._period(kn)
            missed = max(self.system.now_ns() - due_ns, 0) // period
            kn.data += missed
            self._ring_at(kn, due_ns + (missed + 1) * period)

    def detach(self, kn: Knote) -> None:
        if kn.state is not None:
            kn.state.cancel()
            kn.state = None

    def check(self, kn: Knote) -> bool:
        return kn.data != 0
