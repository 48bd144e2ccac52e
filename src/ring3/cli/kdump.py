"""`ring3 kdump`: print a ktrace file, as NetBSD's kdump(1) does.  Options are its letters.

Not here: what a record looks like (`trace/kdump.py`), the file (`trace/ktracefile.py`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any, Final

from ring3.cli import FAILED, complain, say, say_help
from ring3.cli.options import HELP, Option, UsageError, describe, parse
from ring3.policy.signatures import PATH_MAX, shown
from ring3.trace.kdump import Emulation, Options, Printer, parse_points
from ring3.trace.ktracefile import KtraceError, KtraceFile

DEFAULT_FILE: Final = "ktrace.out"
_AT_ONCE: Final = 500           # records that are printed together
_USAGE: Final = "ring3 kdump [OPTION]... [FILE]"


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise ValueError("write a whole number")
    return int(text)


def _word(text: str) -> int:
    if text not in ("1", "2", "4", "8", "16"):
        raise ValueError("write 1, 2, 4, 8 or 16")
    return int(text)


def _emulation(text: str) -> str:
    if text not in Emulation.KNOWN:
        raise ValueError(f"write one of {', '.join(Emulation.KNOWN)}")
    return text


OPTIONS: Final = (
    Option("-f", "FILE", f"the trace file, {DEFAULT_FILE} without"),
    Option("-d", "", "numbers in decimal"),
    Option("-e", "EMULATION", "whose calls they are before the first EMUL record: netbsd (default), linux …", _emulation),
    Option("-l", "", "wait for more at the end"),
    Option("-m", "N", "show at most N bytes of data that were read or written", _count),
    Option("-N", "", "calls as numbers"),
    Option("-n", "", "plain: no names in place of numbers"),
    Option("-p", "PID", "only this process", _count),
    Option("-R", "", "the time since the record before"),
    Option("-T", "", "the time of day, in seconds since 1970"),
    Option("-t", "LETTERS", "only: c calls, n paths, i data, s signals, a, v strings of execs, e, f, u, w, S", parse_points),
    Option("-x", "", "data in hexadecimal, a byte at a time"),
    Option("-X", "SIZE", "the same, words of SIZE bytes", _word),
)

_HELP: Final = f"""\
{_USAGE}

Print a ktrace file: of ring3 trace --ktrace, of a program's own ktrace(2), or of a NetBSD system.

{describe(OPTIONS)}
Status: 0; 1 for a file that cannot be read, or is damaged; {FAILED} for a wrong command line.
"""


def main(words: Sequence[str]) -> int:
    """Print it; the exit status."""
    try:
        values, names = parse(OPTIONS, words)
        if HELP in values:
            say_help(_HELP)
            return 0
        if len(names) > 1 or (names and "-f" in values):
            raise UsageError(f"one file at a time: {_USAGE}")
    except UsageError as error:
        complain(f"{error}\n       ring3 kdump --help has all options")
        return FAILED
    name = names[0] if names else values.get("-f", DEFAULT_FILE)
    label = shown(os.fsencode(name), PATH_MAX)
    try:
        with open(name, "rb", buffering=0) as file:
            return _dump(KtraceFile(_Following(file) if "-l" in values else file), values, label)
    except BrokenPipeError:
        return FAILED
    except OSError as error:
        hint = "; ring3 trace --ktrace FILE -- PROGRAM makes one" if isinstance(error, FileNotFoundError) else ""
        complain(f"{label if error.filename == name else error.filename}: {error.strerror}{hint}")
        return 1


def _dump(trace: KtraceFile, values: dict[str, Any], name: str) -> int:
    options = Options(
        decimal="-d" in values,
        max_data=values.get("-m"),
        numeric="-N" in values,
        plain="-n" in values,
        pid=values.get("-p"),
        time="absolute" if "-T" in values else "relative" if "-R" in values else "",
        points=values.get("-t", -1),
        hex_word=values.get("-X", 1 if "-x" in values else 0),
    )
    printer = Printer(trace, options, values.get("-e", "netbsd"))
    pieces: list[str] = []
    try:
        for record in trace:
            pieces.append(printer.lines(record))
            if len(pieces) >= _AT_ONCE or "-l" in values:
                say("".join(pieces))
                pieces.clear()
    except KtraceError as error:
        say("".join(pieces))
        complain(f"{name}: {error}")
        return 1
    say("".join(pieces))
    return 0


class _Following:
    """A file that has no end: at its end, more is waited for."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, nbytes: int) -> bytes:
        while not (data := bytes(self._file.read(nbytes))):
            time.sleep(0.1)
        return data
