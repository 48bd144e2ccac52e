"""What a report holds: columns of numbers and one table of strings, and their form in the page.

A run is told to a `Document` piece by piece, in the order things happened; it keeps a row of numbers for a call, so that a
million calls take tens of megabytes.  Invariants: what a guest does a billion times does not fill our memory (`dropped` counts
what was left out; calls are bounded by whoever tells of them); a string of a guest becomes text that shows what it is (`shown`),
and no byte of it can end the element it stands in.  Not here: what an event means (`collect.py`), how it looks (the scripts).
"""

from __future__ import annotations

import itertools
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from ring3.namedtuple import NamedTuple
from ring3.trace.explain import words
from ring3.trace.html.texts import Texts

VERSION: Final = 1
LONGEST: Final = 2000           # characters of a string
ROOM: Final = 64 << 20          # characters of all strings; what comes later is an ellipsis
MOST: Final = 20_000            # execs, signals, refusals
MAPPED: Final = 2_000           # execs whose address spaces are kept
RANGES: Final = 2_000           # of one address space
FILES: Final = 200_000
WAKES: Final = 200_000          # of one thread by another
DEEDS: Final = ("created", "renamed", "removed", "changed")
_WORDS: Final = 64              # of a command line
_PIECE: Final = 8192            # numbers written at once
_NEVER: Final = -1


class Span(NamedTuple):
    """One range of an address space: [start, start + length), its protection, and what it is."""

    start: int
    length: int
    prot: int
    label: str


class Head(NamedTuple):
    """What stands above everything.  `began` is a time of day in seconds, `ns` how long it took, `dropped` how much is missing."""

    title: str
    command: Sequence[str]
    system: str
    status: str
    is_good: bool
    began: float | None
    ns: int
    dropped: int = 0


class FileRow:
    """What became of one path."""

    __slots__ = ("deeds", "fails", "opens", "read", "written")

    def __init__(self) -> None:
        self.opens = 0
        self.read = 0
        self.written = 0
        self.fails = 0
        self.deeds: set[str] = set()


class Document:
    """A run, as a report shows it.  Times are ns since its beginning; a process or thread goes by the index it was given."""

    def __init__(self) -> None:
        self._strings = Texts()
        self._procs: list[dict[str, Any]] = []
        self._threads: list[dict[str, Any]] = []
        self._alive: dict[int, set[int]] = {}
        self._began, self._took = array("q"), array("q")
        self._thread, self._name = array("i"), array("i")
        self._args, self._result, self._error = array("i"), array("i"), array("i")
        self._execs: list[dict[str, Any]] = []
        self._signals: list[dict[str, int]] = []
        self._refusals: list[dict[str, int]] = []
        self._woke, self._waker, self._woken = array("q"), array("i"), array("i")
        self._files: dict[str, FileRow] = {}
        self._meanings: dict[str, str] = {}
        self._missing: dict[str, int] = {}
        self._room = ROOM
        self._mapped = 0
        self.dropped = 0                # execs, signals, refusals and files that were left out

    def _text(self, text: str | bytes, *, stays: bool = False) -> int:
        """The number of a string; `stays`: what things are told apart by, so it has one number only."""
        strings = self._strings
        if isinstance(text, str) and strings.knows(text):
            return strings.add(text, stays=stays)
        seen = shown(text)
        if self._room < len(seen):
            seen = "…"
        before = len(strings)
        number = strings.add(seen, stays=stays or seen == "…")
        if len(strings) > before:
            self._room -= len(seen)
        return number

    def _takes(self, rows: list[Any]) -> bool:
        """Whether there is room for one more."""
        if len(rows) < MOST:
            return True
        self.dropped += 1
        return False

    # --- who
    def process(self, pid: int, name: str | bytes, at: int, parent: int = _NEVER) -> int:
        """A process came to be, made by process `parent`; its index."""
        self._procs.append({
            "pid": pid, "parent": parent, "born": at, "died": _NEVER, "name": self._text(name), "status": self._text("did not end"),
            "isBad": False, "threads": [], "execs": [],
        })
        return len(self._procs) - 1

    def process_ended(self, proc: int, status: str, at: int, *, is_bad: bool) -> None:
        """It ended, as `status` says in words; its threads with it."""
        self._procs[proc].update(died=at, status=self._text(status), isBad=is_bad)
        for thread in self._alive.pop(proc, ()):
            self._threads[thread]["died"] = at

    def thread(self, proc: int, tid: int, at: int) -> int:
        """A thread of a process; its index.  The first is the leader."""
        self._threads.append({"tid": tid, "proc": proc, "born": at, "died": _NEVER})
        self._alive.setdefault(proc, set()).add(len(self._threads) - 1)
        return len(self._threads) - 1

    def thread_ended(self, thread: int, at: int) -> None:
        """It ended, and its process goes on."""
        self._threads[thread]["died"] = at
        self._alive[self._threads[thread]["proc"]].discard(thread)

    # --- what
    def call_began(self, thread: int, name: str, at: int, args: str = "") -> int:
        """A system call; its row."""
        self._began.append(at)
        self._took.append(_NEVER)
        self._thread.append(thread)
        self._name.append(self._text(name, stays=True))
        self._args.append(self._text(args))
        self._result.append(0)
        self._error.append(0)
        return len(self._began) - 1

    def call_ended(self, row: int, at: int, args: str, result: str, error: str = "") -> None:
        """Its end: the arguments as they are known then, the result as text, and the name of the error if it is one."""
        self._took[row] = max(at - self._began[row], 0)
        self._args[row] = self._text(args)
        self._result[row] = self._text(result)
        self._error[row] = self._text(error, stays=True)

    def duration(self, row: int) -> int:
        """How many ns a call took that ended."""
        return max(self._took[row], 0)

    def call_said(self, row: int, args: str, result: str) -> None:
        """What is known of a call that has no end."""
        self._args[row] = self._text(args)
        self._result[row] = self._text(result)

    def executed(
        self, thread: int, at: int, path: str | bytes, argv: Sequence[bytes | str], *, name: str | bytes, error: str = "",
        facts: Iterable[tuple[str, str | bytes]] = (), before: Iterable[Span] | None = None, after: Iterable[Span] | None = None,
    ) -> None:
        """An exec, done (it goes by `name` now) or refused with `error`; `facts` are pairs of words shown beside it."""
        if not self._takes(self._execs):
            return
        self._mapped += after is not None
        if self._mapped > MAPPED:
            before = after = None
        self._execs.append({
            "thread": thread, "at": at, "path": self._text(path), "name": self._text(name), "error": self._text(error, stays=True),
            "argv": [self._text(word) for word in argv[:_WORDS]], "argc": len(argv),
            "facts": [[self._text(key), self._text(value)] for key, value in facts],
            "before": self._map(before), "after": self._map(after),
        })

    def _map(self, spans: Iterable[Span] | None) -> dict[str, Any] | None:
        if spans is None:
            return None
        kept = sorted(itertools.islice(spans, RANGES))
        return {"regions": [[span.start, span.length, span.prot, self._text(span.label)] for span in kept]}

    def signalled(self, thread: int, at: int, text: str) -> None:
        """A signal was taken."""
        if self._takes(self._signals):
            self._signals.append({"thread": thread, "at": at, "text": self._text(text)})

    def refused(self, thread: int, at: int, text: str | bytes) -> None:
        """A policy said no."""
        if self._takes(self._refusals):
            self._refusals.append({"thread": thread, "at": at, "text": self._text(text)})

    def woke(self, waker: int, woken: int, at: int) -> None:
        """A thread ended the sleep of another one."""
        if len(self._woke) < WAKES:
            self._woke.append(at)
            self._waker.append(waker)
            self._woken.append(woken)
        else:
            self.dropped += 1

    def file(self, path: str | bytes) -> FileRow:
        """The row of a path, made when it is first spoken of."""
        name = shown(path)
        row = self._files.get(name)
        if row is None:
            row = FileRow()
            if len(self._files) < FILES:
                self._files[name] = row
            else:
                self.dropped += 1
        return row

    def missing(self, name: str) -> None:
        """A call that nobody wrote yet."""
        self._missing[name] = self._missing.get(name, 0) + 1

    # --- the page
    @property
    def call_count(self) -> int:
        """How many calls were told of."""
        return len(self._began)

    def names(self) -> dict[str, int]:
        """The names of calls that occur, with their place in the table of strings."""
        return {self._strings[index]: index for index in sorted(set(self._name))}

    def pieces(self, head: Head, *, made_by: str, subjects: dict[str, int], meanings: dict[str, str]) -> Iterator[str]:
        """The document as JSON, a piece at a time; `subjects` gives a call's subject, `meanings` what an error's name means."""
        names = self.names()
        last = max(self._began[-1] if self._began else 0, head.ns)
        yield from ("{", f'"version":{VERSION},"head":', _json({
            "title": shown(head.title), "command": [shown(word) for word in head.command[:_WORDS]], "system": shown(head.system),
            "status": shown(head.status), "isGood": head.is_good, "began": head.began, "ns": last,
            "dropped": head.dropped + self.dropped, "made": made_by,
        }))
        rows: dict[str, Iterable[Any]] = {
            "procs": self._procs, "threads": self._threads, "execs": self._execs, "signals": self._signals,
            "refusals": self._refusals, "files": itertools.starmap(self._file_row, self._files.items()),
            "missing": [[self._text(name), times] for name, times in sorted(self._missing.items())],
        }
        for key, value in rows.items():
            yield f',"{key}":'
            yield from _list(map(_json, value))
        yield ',"subjects":' + _json({str(index): subjects[name] for name, index in names.items() if name in subjects})
        errors = {self._strings[index] for index in {*self._error, *(row["error"] for row in self._execs)}}
        yield ',"meanings":' + _json({error: meanings[error] for error in sorted(errors) if error in meanings})
        yield ',"calls":{"at":'
        yield from _list(map(str, _deltas(self._began)))
        for key, column in (
            ("ns", self._took), ("thread", self._thread), ("name", self._name), ("args", self._args), ("result", self._result),
            ("error", self._error),
        ):
            yield f',"{key}":'
            yield from _list(map(str, column))
        yield '},"wakes":{"at":'
        yield from _list(map(str, _deltas(self._woke)))
        for key, column in (("from", self._waker), ("to", self._woken)):
            yield f',"{key}":'
            yield from _list(map(str, column))
        yield '},"strings":'
        yield from _list(map(_json, self._strings))
        yield "}"

    def _file_row(self, path: str, row: FileRow) -> dict[str, Any]:
        return {
            "path": self._text(path), "opens": row.opens, "read": row.read, "written": row.written, "fails": row.fails,
            "deeds": [index for index, deed in enumerate(DEEDS) if deed in row.deeds],
        }


def shown(text: str | bytes) -> str:
    r"""Text in which every character can be seen: no control characters, no marks that turn the writing direction.

    >>> shown(b"caf\xc3\xa9\n\xff"), shown("abc\u202ecba")
    ('café\\n\\xff', 'abc\\u202ecba')
    """
    if isinstance(text, str):
        if len(text) <= LONGEST and text.isprintable():
            return text
        text = text.encode(errors="backslashreplace")
    return words.shown(text, LONGEST)


def _json(value: Any) -> str:
    """As JSON that may stand in a script element: no "<" that could end it, or begin a comment."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _deltas(values: Sequence[int]) -> Iterator[int]:
    before = 0
    for value in values:
        yield value - before
        before = value


def _list(values: Iterable[str]) -> Iterator[str]:
    """A JSON array of values that are JSON already."""
    yield "["
    piece: list[str] = []
    comma = ""
    for value in values:
        piece.append(value)
        if len(piece) == _PIECE:
            yield comma + ",".join(piece)
            piece, comma = [], ","
    if piece:
        yield comma + ",".join(piece)
    yield "]"
