"""`ring3 trace`: a program in a kernel of its own, and what it does: as text, as a table, as a file for other tools, as a page.

All of them may be asked for at once; each is a consumer of what the kernel tells.  Not here: what they look like (`trace/`).
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final, TextIO

from ring3.cli import FAILED, complain, guest, policy, run
from ring3.cli.options import Option, UsageError, describe
from ring3.cli.session import command, in_kernel
from ring3.cli.sink import Sink
from ring3.cli.strace_words import spelled

if TYPE_CHECKING:
    from ring3.kernel import Kernel
    from ring3.proc.system import System
    from ring3.protocols import Instrument
    from ring3.trace.filter import CallSet, SignalSet
    from ring3.trace.strace import Style

_USAGE: Final = "ring3 trace [OPTION]... [--] PROGRAM [ARG]..."
_STATUSES: Final = ("failed", "successful", "all")
_LONGEST: Final = 1 << 20       # of a string, and of a line's first half


class _Filter:
    """What `-e` said."""

    def __init__(self, key: str, value: Any) -> None:
        self.key = key
        self.value = value


_NOT_HERE: Final = {
    "read": "--ktrace FILE, and then ring3 kdump -x -f FILE, shows what was read and written",
    "write": "--ktrace FILE, and then ring3 kdump -x -f FILE, shows what was read and written",
    "abbrev": "structs print as strace shows them by default",
    "verbose": "structs print as strace shows them by default",
    "raw": "ring3 kdump -n shows numbers",
    "kvm": "there is no such thing here",
    "namespace": "there is one namespace of processes",
}
_QUIET: Final = ("exit", "attach", "exits", "path-resolution", "personality", "thread-execve", "superseded", "all", "none")


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
        return _Filter("status", _status(value))
    if key in ("inject", "fault"):
        from ring3.trace.inject import parse_injection

        return _Filter("inject", parse_injection(value, "ENOSYS" if key == "fault" else ""))
    if key in ("quiet", "silent", "silence", "q"):
        words = value.split(",")
        for word in words:
            if word not in _QUIET:
                raise ValueError(f"quiet={word}: write some of {', '.join(_QUIET)}")
        return _Filter("quiet", any(word in ("exit", "exits", "all") for word in words))
    if key in ("decode-fds", "decode-fd"):
        return _Filter("paths", value != "none")
    if key in _NOT_HERE:
        raise ValueError(f"{key}=: {_NOT_HERE[key]}")
    raise ValueError(f"{key}=: write trace=, signal=, status=, quiet=, inject= or fault=")


def _status(value: str) -> str:
    """"failed", "successful", or "" for all of them."""
    words = set(value.split(","))
    if "all" in words or words >= {"failed", "successful"}:
        return ""
    if words == {"none"} or not words <= {*_STATUSES, "unfinished", "unavailable", "detached"}:
        raise ValueError(f"status={value}: write some of {', '.join(_STATUSES)}")
    if not words & {"failed", "successful"}:
        raise ValueError(f"status={value}: calls that do not return are at the end of each trace; write failed, successful or all")
    return "failed" if "failed" in words else "successful"


def _length(text: str) -> int:
    if not text.isdecimal() or int(text) > _LONGEST:
        raise ValueError(f"write a number from 0 to {_LONGEST}")
    return int(text)


def _sort(text: str) -> str:
    from ring3.trace.summary import ORDERS

    if text not in ORDERS:
        raise ValueError(f"write one of {', '.join(ORDERS)}")
    return text


def _constants(text: str) -> str:
    if text != "abbrev":
        raise ValueError("flags print by their names; ring3 kdump -n shows numbers")
    return text


OPTIONS: Final = (
    Option("-e", "EXPR", "only these: openat,read  %file  !%memory  /regex  signal=INT  status=failed", _expression, many=True),
    Option("-o", "FILE", "write the text to FILE instead of standard error"),
    Option("-f", "", "follow children: that is the default"),
    Option("-y", "", "show what descriptors are"),
    Option("-s", "N", "show at most N bytes of a string (default: 32)", _length),
    Option("-P", "PATH", "only calls that touch this path", many=True),
    Option("-z", "", "only calls that succeeded"),
    Option("-Z", "", "only calls that failed"),
    Option("-k", "", "show the program's stack behind each call"),
    Option("-t", "", "time of day before each line"),
    Option("-tt", "", "the same, with microseconds"),
    Option("-ttt", "", "seconds since the epoch"),
    Option("-r", "", "seconds since the line before"),
    Option("-T", "", "how long each call took"),
    Option("-a", "COLUMN", "where results stand (default: 40)", _length),
    Option("-q", "", "say nothing of threads that exec replaced"),
    Option("-qq", "", "nor of ends"),
    Option("-X", "STYLE", "how flags print: abbrev, the default", _constants),
    Option("-c", "", "instead of the text: how often each call was made, how long it took"),
    Option("-C", "", "the text, and that table"),
    Option("-S", "COLUMN", "sort that table by: time (default), calls, errors, name, nothing", _sort),
    Option("-w", "", "times of that table are those of the clock: they always are"),
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
Classes of calls: %file %desc %process %network %signal %memory %creds %clock %ipc %stat %lstat %fstat %statfs %pure.
What strace(1) takes, this does: letters in one word (-fyys200), values without a gap (-etrace=open), -e inject=, long names.
Status: the program's own, as with `ring3 run`.
"""


def main(words: Sequence[str]) -> int:
    """Run and trace it; the exit status."""
    try:
        words = spelled(words)
    except UsageError as error:
        complain(f"{error}\n       ring3 trace --help has all options")
        return FAILED
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
        said = {found.key: found.value for found in values["-e"] if found.key != "inject"}
        values["--inject"] += [found.value for found in values["-e"] if found.key == "inject"]
        files = [name for name in ("--json", "--perfetto", "--ktrace", "--html") if name in values]
        if "-o" in values or "-C" in values or not (files or "-c" in values):
            _text(outputs, values, said)
        if "-c" in values or "-C" in values:
            _summary(outputs, values.get("-S", "time"))
        for name in files:
            _FILES[name](outputs, values[name], program)

        calls: CallSet | None = said.get("trace")

        def at_start(kernel: Kernel) -> None:
            def listen(system: System) -> None:
                stream = kernel.loop.stream(system)
                for kind, listener in outputs.listeners:
                    stream.listen(kind, listener, calls)

            kernel.call(listen)
            if "-s" in values:
                kernel.call(lambda system: setattr(system, "shown_bytes", values["-s"]))

        def at_end(_kernel: Kernel) -> None:
            outputs.has_run = True

        status = in_kernel(values, program, outputs.instruments, at_start=at_start, at_end=at_end)
        for end in outputs.endings:
            end(status)
        return status


def _text(outputs: _Outputs, values: dict[str, Any], said: dict[str, Any]) -> None:
    from ring3.trace.strace import Strace

    stream: Sink | TextIO | None = outputs.open(values["-o"]) if "-o" in values else sys.stderr
    if stream is not None:
        outputs.instruments.append(Strace(stream.write, style=_style(values, said)))


def _style(values: dict[str, Any], said: dict[str, Any]) -> Style:
    from ring3.trace.strace import Style

    calls: CallSet | None = said.get("trace")
    signals: SignalSet | None = said.get("signal")
    after = None
    if "-k" in values:
        from ring3.trace.backtrace import Backtraces

        after = Backtraces().show
    clock = next((name[1:] for name in ("-r", "-ttt", "-tt", "-t") if name in values), "")
    status = "successful" if "-z" in values else "failed" if "-Z" in values else said.get("status", "")
    return Style(
        calls, signals, status, clock, "-T" in values, "-y" in values or bool(said.get("paths")), after,
        touches=frozenset(os.fsencode(path) for path in values["-P"]), column=values.get("-a", 40), numbered="-o" in values,
        quiet="-qq" in values or bool(said.get("quiet")), replaced="-q" not in values and "-qq" not in values,
    )


def _summary(outputs: _Outputs, order: str) -> None:
    from ring3 import events
    from ring3.trace.summary import Summary

    summary = Summary(order)
    outputs.listeners.append((events.SyscallExit, summary))
    outputs.endings.append(lambda _status: _say(summary.table()))


def _say(text: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError):                 # nobody reads it
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

    if path == "-":
        raise OSError(errno.EINVAL, "write /dev/stdout for standard output, ./- for a file of that name", path)
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
