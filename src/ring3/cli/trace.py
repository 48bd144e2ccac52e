"""`ring3 trace`: a program in a kernel of its own, and what it does: as text, as a table, as a file for other tools, as a page.

All of them may be asked for at once; each is a consumer of what the kernel tells.  Not here: what they look like (`trace/`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final, TextIO

from ring3.cli import guest, policy, run
from ring3.cli.options import Option, describe
from ring3.cli.session import command, in_kernel
from ring3.cli.sink import Sink

if TYPE_CHECKING:
    from ring3.kernel import Kernel
    from ring3.protocols import Instrument
    from ring3.trace.filter import CallSet, SignalSet
    from ring3.trace.strace import Style

_USAGE: Final = "ring3 trace [OPTION]... [--] PROGRAM [ARG]..."
_STATUSES: Final = ("failed", "successful", "all")


class _Filter:
    """What `-e` said."""

    def __init__(self, key: str, value: Any) -> None:
        self.key = key
        self.value = value


def _expression(text: str) -> _Filter:
    from ring3.trace.filter import CallSet, SignalSet

    key, equals, value = text.partition("=")
    if not equals:
        return _Filter("trace", CallSet.parse(text))
    if key in ("trace", "t"):
        return _Filter("trace", CallSet.parse(value))
    if key in ("signal", "signals", "s"):
        return _Filter("signal", SignalSet.parse(value))
    if key == "status":
        if value not in _STATUSES:
            raise ValueError(f"status={value}: write one of {', '.join(_STATUSES)}")
        return _Filter("status", "" if value == "all" else value)
    raise ValueError(f"{key}=: write trace=, signal= or status=")


OPTIONS: Final = (
    Option("-e", "EXPR", "only these: openat,read  %file  !%memory  /regex  signal=INT  status=failed", _expression, many=True),
    Option("-o", "FILE", "write the text to FILE instead of standard error"),
    Option("-f", "", "follow children: that is the default"),
    Option("-y", "", "show what descriptors are"),
    Option("-k", "", "show the program's stack behind each call"),
    Option("-t", "", "time of day before each line"),
    Option("-tt", "", "the same, with microseconds"),
    Option("-ttt", "", "seconds since the epoch"),
    Option("-r", "", "seconds since the line before"),
    Option("-T", "", "how long each call took"),
    Option("-c", "", "instead of the text: how often each call was made, how long it took"),
    Option("-C", "", "the text, and that table"),
    Option("--json", "FILE", "events as JSON, one a line"),
    Option("--perfetto", "FILE", "a trace for Perfetto and Chrome's tracing"),
    Option("--ktrace", "FILE", "a NetBSD ktrace file, for ring3 kdump"),
    Option("--html", "FILE", "a page to look through"),
    *guest.WORLD,
    guest.USER,
    guest.SYSTEM,
    run.TIMEOUT,
    *policy.OPTIONS,
    run.INJECT,
)
_HELP: Final = f"""\
{_USAGE}

Run PROGRAM as `ring3 run` does, and show what it and its children do: as text, unless -c or a file is asked for.

{describe(OPTIONS)}
Classes of calls: %file %desc %process %network %signal %memory %creds %clock.
Status: the program's own, as with `ring3 run`.
"""


def main(words: Sequence[str]) -> int:
    """Run and trace it; the exit status."""
    return command(words, OPTIONS, _HELP, _trace)


class _Outputs:
    """The consumers of one run: instruments, listeners of the stream, and what is to be done once it is over."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.instruments: list[Instrument] = []
        self.listeners: list[tuple[type, Callable[[Any], object]]] = []
        self.endings: list[Callable[[int], object]] = []
        self.has_run = False            # whether there was a program to its end

    def open(self, path: str, *, binary: bool = False) -> Sink:
        """A file to write to.  Raises OSError that says what cannot be."""
        return self.stack.enter_context(Sink(path, binary=binary))


def _trace(values: dict[str, Any], program: list[str]) -> int:
    with ExitStack() as stack:
        outputs = _Outputs(stack)
        files = [name for name in ("--json", "--perfetto", "--ktrace", "--html") if name in values]
        if "-o" in values or "-C" in values or not (files or "-c" in values):
            _text(outputs, values)
        if "-c" in values or "-C" in values:
            _summary(outputs)
        for name in files:
            _FILES[name](outputs, values[name], program)

        def at_start(kernel: Kernel) -> None:
            for kind, listener in outputs.listeners:
                kernel.on(kind)(listener)

        def at_end(_kernel: Kernel) -> None:
            outputs.has_run = True

        status = in_kernel(values, program, outputs.instruments, at_start=at_start, at_end=at_end)
        for end in outputs.endings:
            end(status)
        return status


def _text(outputs: _Outputs, values: dict[str, Any]) -> None:
    from ring3.trace.strace import Strace

    stream: Sink | TextIO | None = outputs.open(values["-o"]) if "-o" in values else sys.stderr
    if stream is not None:
        outputs.instruments.append(Strace(stream.write, style=_style(values)))


def _style(values: dict[str, Any]) -> Style:
    from ring3.trace.strace import Style

    said = {found.key: found.value for found in values["-e"]}
    calls: CallSet | None = said.get("trace")
    signals: SignalSet | None = said.get("signal")
    after = None
    if "-k" in values:
        from ring3.trace.backtrace import Backtraces

        after = Backtraces().show
    clock = next((name[1:] for name in ("-r", "-ttt", "-tt", "-t") if name in values), "")
    return Style(calls, signals, said.get("status", ""), clock, "-T" in values, "-y" in values, after)


def _summary(outputs: _Outputs) -> None:
    from ring3 import events
    from ring3.trace.summary import Summary

    summary = Summary()
    outputs.listeners.append((events.SyscallExit, summary))
    outputs.endings.append(lambda _status: _say(summary.table()))


def _say(text: str) -> None:
    if sys.stderr is not None:
        with suppress(BrokenPipeError):         # nobody reads it
            sys.stderr.write(text)
            sys.stderr.flush()


def _json(outputs: _Outputs, path: str, program: list[str]) -> None:
    del program
    from ring3.trace.jsonl import KINDS, writer

    listener = writer(outputs.open(path).write)
    outputs.listeners += [(kind, listener) for kind in KINDS]


def _perfetto(outputs: _Outputs, path: str, program: list[str]) -> None:
    del program
    from ring3.trace.jsonl import KINDS
    from ring3.trace.perfetto import Perfetto

    trace = Perfetto(outputs.open(path).write)
    outputs.listeners += [(kind, trace) for kind in KINDS]
    outputs.endings.append(lambda _status: trace.finish())


def _ktrace(outputs: _Outputs, path: str, program: list[str]) -> None:
    del program
    from ring3.trace.ktrace import KtraceWriter

    outputs.instruments.append(KtraceWriter(outputs.open(path, binary=True)))


def _html(outputs: _Outputs, path: str, program: list[str]) -> None:
    from ring3 import __version__
    from ring3.cli.terminal import Progress
    from ring3.trace.html import Recorder, write_report

    _try(path)
    recorder = Recorder()
    outputs.instruments.append(recorder)

    def end(status: int) -> None:
        if outputs.has_run:
            try:
                with Progress(f"writing {path}") as progress:
                    write_report(
                        recorder, path, command=program, status=status if status < 128 else 128 - status,
                        made_by=f"ring3 {__version__}", progress=lambda written: progress(f"{written / 1e6:.1f} MB"),
                    )
            except OSError as error:
                raise OSError(error.errno, f"{error.strerror}, so the report is not whole", path) from None

    outputs.endings.append(end)


def _try(path: str) -> None:
    """Raises OSError, before the run, for a place where no report can be written."""
    is_new = not os.path.lexists(path)
    try:
        with open(path, "a", encoding="utf-8"):
            pass
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}, so the report cannot be written there", path) from None
    if is_new:
        os.unlink(path)


_FILES: Final[dict[str, Callable[[_Outputs, str, list[str]], None]]] = {
    "--json": _json, "--perfetto": _perfetto, "--ktrace": _ktrace, "--html": _html,
}
