"""Tracing: one process holds another at its signals and calls, and looks into it (SerenityOS's ptrace).

A traced process stops whenever it takes a signal, which is gone then, except SIGCONT, which lets it go on; SIGKILL ends it all the
same (in the original it only stops too, and nothing can end it).  Its tracer is told as a parent is, by waiting.  When the tracer
ends, so does whom it traces.

Not here: the requests (`calls/serenity/ptrace.py`), stops at calls (`calls/serenity/callstops.py`).
Source: Kernel/ThreadTracer.h (reference, section 1.13).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ring3.abi.signals import Signal
from ring3.namedtuple import NamedTuple
from ring3.proc.proc import Proc
from ring3.proc.tasks import tasks_of
from ring3.waiting import WaitQueue


class TracedRegisters(NamedTuple):
    """How a system shows a thread's registers to a tracer, and takes them back.  What `Abi.layouts` has under this name."""

    size: int
    encode: Callable[[memoryview], bytes]
    load: Callable[[memoryview, bytes], bool]       # False, and nothing is done, for what no program can have


class Tracing:
    """`stops_at_call`: its next call stops, when it begins or when it ends.  `debug` are the debug registers it was given.
    `has_stopped`: since it is traced, so that there are registers to be told.  `over` makes the tables it has meanwhile.
    `let_by`: a signal that its tracer sent it on with, which does not stop it again (NetBSD).
    """

    __slots__ = ("debug", "has_stopped", "let_by", "over", "resumed", "stops_at_call", "tracer")

    def __init__(self, tracer: Proc) -> None:
        self.tracer = tracer
        self.stops_at_call = False
        self.has_stopped = False
        self.let_by = 0
        self.over: Callable[[Any], Any] | None = None
        self.debug: dict[int, int] = {}
        self.resumed = WaitQueue()              # a call that stopped waits here

    def stops(self, signo: int) -> bool:
        """Whether taking this signal stops the process."""
        if signo in (Signal.SIGKILL, Signal.SIGCONT):
            return False
        if signo == self.let_by:
            self.let_by = 0
            return False
        return True


def attach(tracer: Proc, p: Proc) -> Tracing:
    """Begin."""
    tracing = p.tracing = Tracing(tracer)
    tasks_of(tracer).tracees.append(p)
    return tracing


def detach(p: Proc) -> None:
    """End; harmless for one that is not traced.  What waits at a call goes on."""
    tracing: Tracing | None = p.tracing
    if tracing is None:
        return
    p.tracing = None
    tasks_of(tracing.tracer).tracees.remove(p)
    tracing.stops_at_call = False
    tracing.resumed.wake()
