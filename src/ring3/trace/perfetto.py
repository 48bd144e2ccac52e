"""A run as a trace that Perfetto and Chrome's tracing show: a track for each thread, a slice for each call, arrows to children.

The format is the "JSON object format" of Chrome's Trace Event Format: complete events ("X") for calls, instants ("i") for signals
and execs, flows ("s", "f") for forks, metadata ("M") for names.  Times are microseconds from the first event on.  What is written
is valid at any moment but for its last line, which `finish` writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from ring3 import events
from ring3.trace.jsonl import KINDS


class Perfetto:
    """Writes the trace through `write`, an event at a time."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._first = -1
        self._flows = 0
        self._known: set[tuple[int, int]] = set()
        write('{"displayTimeUnit": "ns", "traceEvents": [\n')
        self._is_empty = True

    def kinds(self) -> tuple[type, ...]:
        """What it listens to."""
        return KINDS

    def __call__(self, event: Any) -> None:
        """One event of the stream."""
        if self._first < 0:
            self._first = event.ns - getattr(event, "took", 0)
        match event:
            case events.SyscallExit():
                self._call(event)
            case events.Fork():
                self._fork(event)
            case events.Exec():
                name = os.fsdecode(event.path.rpartition(b"/")[2])
                self._name(event.pid, event.pid, f"{name} [{event.pid}]", "process_name")
                self._instant(event, f"exec {name}", {"argv": [os.fsdecode(word) for word in event.argv[:64]]})
            case events.Signal():
                self._instant(event, event.name, {"handled": event.handled})
            case events.Exit():
                self._instant(event, f"killed by {event.signal}" if event.signal else f"exit {event.code}", {})
            case events.PolicyDecision():
                self._instant(event, f"{event.policy}: {event.verdict}", {"missing": event.missing, "call": event.call})

    def finish(self) -> None:
        """The last line."""
        self._write("\n]}\n")

    def _put(self, **fields: Any) -> None:
        self._write(("" if self._is_empty else ",\n") + json.dumps(fields))
        self._is_empty = False

    def _us(self, ns: int) -> float:
        return (ns - self._first) / 1000

    def _name(self, pid: int, tid: int, name: str, what: str) -> None:
        self._put(ph="M", name=what, pid=pid, tid=tid, args={"name": name})

    def _track(self, pid: int, tid: int) -> None:
        if (pid, tid) not in self._known:
            self._known.add((pid, tid))
            self._name(pid, tid, f"thread {tid}", "thread_name")

    def _call(self, event: events.SyscallExit) -> None:
        self._track(event.pid, event.tid)
        result = event.error or ("" if event.result is None else event.result)
        self._put(
            ph="X", cat="syscall,failed" if event.error else "syscall", name=event.name, pid=event.pid, tid=event.tid,
            ts=self._us(event.ns - event.took), dur=event.took / 1000, args={"arguments": event.args, "result": result},
        )

    def _instant(self, event: Any, name: str, args: dict[str, Any]) -> None:
        self._track(event.pid, event.tid)
        what, at = type(event).__name__, self._us(event.ns)
        self._put(ph="i", s="t", cat=what, name=name, pid=event.pid, tid=event.tid, ts=at, args=args)

    def _fork(self, event: events.Fork) -> None:
        """An arrow: a flow that ends where the child begins."""
        self._flows += 1
        self._track(event.pid, event.tid)
        self._track(event.child_pid, event.child_tid)
        at = self._us(event.ns)
        for phase, pid, tid, more in (("s", event.pid, event.tid, {}), ("f", event.child_pid, event.child_tid, {"bp": "e"})):
            self._put(ph=phase, id=self._flows, cat="fork", name="fork", pid=pid, tid=tid, ts=at, **more)
        self._put(ph="i", s="t", cat="Fork", name="born", pid=event.child_pid, tid=event.child_tid, ts=at, args={})
