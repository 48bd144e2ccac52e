"""`ring3 run`: one program in a kernel of its own, behaving at this terminal as it would natively.

Not here: how a command runs a program (`session.py`), options that others have too (`guest.py`, `policy.py`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TextIO

from ring3.cli import FAILED, guest, policy
from ring3.cli.options import Option, describe
from ring3.cli.session import NOT_EXECUTABLE, NOT_FOUND, TIMED_OUT, command, in_kernel

if TYPE_CHECKING:
    from ring3.kernel import Kernel
    from ring3.protocols import Instrument
    from ring3.trace.inject import Injection

_USAGE: Final = "ring3 run [OPTION]... [--] PROGRAM [ARG]..."


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1e9:
        raise ValueError("write a number of seconds above 0, such as 1.5")
    return value


def _injection(text: str) -> Injection:
    from ring3.trace.inject import parse_injection

    return parse_injection(text)


INJECT: Final = Option(
    "--inject", "CALLS:ERRNO[:when=N]", "let calls fail, in strace's grammar: openat:ENOSPC:when=3+2", _injection, many=True
)
TIMEOUT: Final = Option("--timeout", "SECONDS", "kill the program after this long (status 124)", _seconds)
OPTIONS: Final = (
    *guest.WORLD,
    guest.USER,
    guest.SYSTEM,
    TIMEOUT,
    *policy.OPTIONS,
    INJECT,
    Option("--diff", "", "at the end, say which files it wrote and removed, none of them on your disk"),
    Option("--stats", "", "at the end, say what was used and which calls were missing"),
    Option("--strace", "FILE", "print each system call, to standard error or to FILE", optional=True),
)

_HELP: Final = f"""\
{_USAGE}

Run PROGRAM in a kernel of its own.  It sees this machine's files; what it writes stays in memory.

{describe(OPTIONS)}
Status: the program's own; 128+N when signal N ended it; {TIMED_OUT} out of time, {FAILED} ring3 itself failed,
{NOT_EXECUTABLE} PROGRAM cannot be executed, {NOT_FOUND} PROGRAM is not there.
"""


def main(words: Sequence[str]) -> int:
    """Run it; the exit status."""
    return command(words, OPTIONS, _HELP, _with_trace)


def _with_trace(values: dict[str, Any], program: list[str]) -> int:
    where = values.get("--strace")
    if where is None:
        return _run(values, program)
    from ring3.trace.strace import Strace

    if not where:
        return _run(values, program, Strace(_writer(sys.stderr)))
    from ring3.cli.sink import Sink

    with Sink(where) as sink:
        return _run(values, program, Strace(sink.write))


def _writer(file: TextIO | None) -> Callable[[str], object]:
    return file.write if file is not None else lambda _text: None


def _run(values: dict[str, Any], program: list[str], *instruments: Instrument) -> int:
    def at_end(kernel: Kernel) -> None:
        text = _changes(kernel) if "--diff" in values else ""
        if "--stats" in values:
            from ring3.trace.stats import summary

            text += kernel.call(summary)
        with suppress(OSError):                 # nobody reads it: the program's status is its own all the same
            _writer(sys.stderr)(text)

    return in_kernel(values, program, instruments, at_end=at_end if "--stats" in values or "--diff" in values else None)


def _changes(kernel: Kernel) -> str:
    """What the program wrote, a line each."""
    from ring3.trace.explain.words import shown

    found = kernel.diff()
    if not found:
        return "ring3: it wrote no files\n"
    lines = "".join(f"       {kind:<10}{shown(os.fsencode(path), 1000)}\n" for kind, path in found)
    return f"ring3: {len(found)} {'change' if len(found) == 1 else 'changes'}, none of them on your disk:\n{lines}"
