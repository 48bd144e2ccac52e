"""The `ring3` command: parse, call, print.  One module a sub-command, imported when it is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

FAILED: Final = 125            # ring3 itself failed, as env(1), timeout(1) and others say it

# Sub-command -> the module of this package whose `main(words)` serves it; a row stands here once the command works.
COMMANDS: Final = ("run", "learn", "explain", "trace", "top", "fingerprint", "kdump")

_HELP: Final = """\
ring3: a kernel you can import.  It runs real, unmodified programs inside a Python process.

  ring3 run [OPTION]... [--] PROGRAM [ARG]...     run a program in a kernel of its own   (ring3 run --help)
  ring3 learn [OPTION]... [--] PROGRAM [ARG]...   run it, and print the least it needs: promises and paths
  ring3 explain [OPTION]... [--] PROGRAM [ARG]... say what executing it would do, and why it fails
  ring3 trace [OPTION]... [--] PROGRAM [ARG]...   run it, and keep what it did: as text, as a report to look at
  ring3 top [OPTION]... [--] PROGRAM [ARG]...     run it, and watch its processes, calls and memory
  ring3 fingerprint [OPTION]... DIR-OR-FILE...    print what files are like now, for ring3 run --veriexec
  ring3 kdump [OPTION]... [FILE]                  print a ktrace file
  ring3 --version                                 print the version

  ring3 run -- sh -c 'echo hello from pid $$; uname -sr'
"""


def entry() -> None:
    """The installed command: `main`, and out at once; tearing every module down would take as long as the program ran."""
    status = main()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                continue
    os._exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(words)
    except KeyboardInterrupt:
        return 130              # before or after the program ran; while it runs, Ctrl-C is the program's
    except BrokenPipeError:
        return FAILED           # nobody reads our own help


def _dispatch(words: list[str]) -> int:
    command = words[0] if words else "--help"
    if command in COMMANDS:
        return int(import_module(f"ring3.cli.{command}").main(words[1:]))
    if command in ("--help", "-h", "help"):
        sys.stdout.write(_HELP)
        sys.stdout.flush()
        return 0
    if command in ("--version", "-V"):
        from ring3 import __version__

        sys.stdout.write(f"ring3 {__version__}\n")
        sys.stdout.flush()
        return 0
    complain(f"there is no command {command!r}; to run it as a program: ring3 run -- {' '.join(words)}\n{_HELP}".rstrip("\n"))
    return FAILED


def complain(text: str) -> None:
    """One message to standard error, where there is one."""
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"ring3: {text}\n")
            sys.stderr.flush()
        except OSError:
            return              # nobody reads it
