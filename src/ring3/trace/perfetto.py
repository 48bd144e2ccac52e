"""A run as a trace that Perfetto and Chrome's tracing show: a track for each thread, a slice for each call, arrows between them.

The format is the "JSON object format" of Chrome's Trace Event Format: complete events ("X") for calls, instants ("i") for signals
and execs, flows ("s", "f") for arrows, metadata ("M") for names.  Times are microseconds from the first event on.  What is written
is valid at any moment but for its last line, which `finish` writes.

Arrows go from slice to slice, since a flow that no slice encloses is not shown:

    fork   from the call that makes a thread to the first call of that thread
    exec   from the exec to the first call of the new program
    wake   from the call that ends a sleep to the end of the call that slept: to a slice in it, "woken by NAME", which begins then
           (viewers let an arrow end where a slice begins)

Invariant: an end of an arrow lies within a slice of its track, which stands before it in the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from ring3 import events
from ring3.namedtuple import NamedTuple
from ring3.trace.jsonl import KINDS

_WORDS: Final = 64                  # of a command line
_EXECS: Final = frozenset({"execve", "execveat", "fexecve"})
_Track = tuple[int, int]            # pid and tid


class _Arrow(NamedTuple):
    """An arrow whose end is not there yet: its kind and number."""

    kind: str
    number: int


class Perfetto:
    """Writes the trace through `write`, an event at a time."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._first = -1
        self._flows = 0
        self._known: set[_Track] = set()
        self._names: dict[int, str] = {}            # of processes, until their number is somebody else's
        self._execs: set[_Track] = set()            # whose exec is done, and the call not told of yet
        self._arrows: dict[_Track, _Arrow] = {}     # that end at the next call of a thread
        self._woken: dict[_Track, events.Wake] = {}
        self._separator = ""
        write('{"displayTimeUnit": "ns", "traceEvents": [\n')

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
            case events.Wake():
                self._woken[event.woken_pid, event.woken_tid] = event
            case events.Exec():
                self._exec(event)
            case events.Signal():
                self._instant(event, event.name, {"handled": event.handled})
            case events.Exit():
                self._instant(event, f"killed by {event.signal}" if event.signal else f"exit {event.code}", {})
                self._forget(event.pid)
            case events.PolicyDecision():
                self._instant(event, f"{event.policy}: {event.verdict}", {"missing": event.missing, "call": event.call})

    def finish(self) -> None:
        """The last line."""
        self._write("\n]}\n")

    def _put(self, **fields: Any) -> None:
        self._write(self._separator + json.dumps(fields))
        self._separator = ",\n"

    def _us(self, ns: int) -> float:
        return (ns - self._first) / 1000

    # --- names
    def _name(self, pid: int, tid: int, name: str, what: str) -> None:
        self._put(ph="M", name=what, pid=pid, tid=tid, args={"name": name})

    def _process(self, pid: int, name: str) -> None:
        self._names[pid] = name
        self._name(pid, pid, f"{name} [{pid}]", "process_name")

    def _track(self, pid: int, tid: int) -> None:
        if (pid, tid) not in self._known:
            self._known.add((pid, tid))
            self._name(pid, tid, f"thread {tid}", "thread_name")

    def _forget(self, pid: int) -> None:
        """A process is gone; whoever has its number next is somebody else."""
        known: tuple[set[_Track] | dict[_Track, Any], ...] = (self._known, self._execs, self._arrows, self._woken)
        for tracks in known:
            for track in [track for track in tracks if track[0] == pid]:
                tracks.remove(track) if isinstance(tracks, set) else tracks.pop(track)

    # --- slices and marks
    def _call(self, event: events.SyscallExit) -> None:
        track = event.pid, event.tid
        self._track(*track)
        began = event.ns - event.took
        result = event.error or ("" if event.result is None else event.result)
        self._put(
            ph="X", cat="syscall,failed" if event.error else "syscall", name=event.name, pid=event.pid, tid=event.tid,
            ts=self._us(began), dur=event.took / 1000, args={"arguments": event.args, "result": result},
        )
        arrow = self._arrows.pop(track, None)
        if arrow is not None:
            self._flow("f", arrow, track, began)
        wake = self._woken.pop(track, None)
        if wake is not None and began <= wake.ns <= event.ns:
            self._wake(wake, track, event.ns)
        if track in self._execs:
            self._execs.remove(track)
            if event.name in _EXECS:            # a first program is nobody's call
                self._arrows[track] = self._new_arrow("exec")
                self._flow("s", self._arrows[track], track, max(event.ns - 1, began))

    def _wake(self, wake: events.Wake, track: _Track, ended: int) -> None:
        by = f"woken by {self._names.get(wake.pid, '?')} [{wake.tid}]"
        at, dur = self._us(wake.ns), (ended - wake.ns) / 1000
        self._put(ph="X", cat="wake", name=by, pid=track[0], tid=track[1], ts=at, dur=dur, args={})
        arrow = self._new_arrow("wake")
        self._flow("s", arrow, (wake.pid, wake.tid), wake.ns)
        self._flow("f", arrow, track, wake.ns)

    def _instant(self, event: Any, name: str, args: dict[str, Any]) -> None:
        self._track(event.pid, event.tid)
        what, at = type(event).__name__, self._us(event.ns)
        self._put(ph="i", s="t", cat=what, name=name, pid=event.pid, tid=event.tid, ts=at, args=args)

    def _exec(self, event: events.Exec) -> None:
        name = _text(event.path.rpartition(b"/")[2])
        self._process(event.pid, name)
        self._instant(event, f"exec {name}", {"argv": [_text(word) for word in event.argv[:_WORDS]]})
        self._execs.add((event.pid, event.tid))

    def _fork(self, event: events.Fork) -> None:
        child = event.child_pid, event.child_tid
        self._track(event.pid, event.tid)
        if event.child_pid != event.pid:
            self._process(event.child_pid, self._names.get(event.pid, "?"))
        self._track(*child)
        self._arrows[child] = self._new_arrow("fork")
        self._flow("s", self._arrows[child], (event.pid, event.tid), event.ns)
        self._put(ph="i", s="t", cat="Fork", name="born", pid=child[0], tid=child[1], ts=self._us(event.ns), args={})

    # --- arrows
    def _new_arrow(self, kind: str) -> _Arrow:
        self._flows += 1
        return _Arrow(kind, self._flows)

    def _flow(self, phase: str, arrow: _Arrow, track: _Track, ns: int) -> None:
        """One end of an arrow: its beginning ("s") or its head ("f"), which binds to the slice around it ("bp")."""
        more = {"bp": "e"} if phase == "f" else {}
        self._put(ph=phase, id=arrow.number, cat=arrow.kind, name=arrow.kind, pid=track[0], tid=track[1], ts=self._us(ns), **more)


def _text(data: bytes) -> str:
    """Bytes as text every viewer takes: no halves of surrogate pairs."""
    return data.decode(errors="backslashreplace")
