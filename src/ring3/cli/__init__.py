"""The `ring3` command: parse, call, print.  One module a sub-command, imported when it is asked for."""

from __future__ import annotations

import errno
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

  ring3 run PROGRAM [ARG]...       run a program in a kernel of its own; what it writes stays in memory
  ring3 explain PROGRAM [ARG]...   say what executing it would do, and why it fails
  ring3 trace PROGRAM [ARG]...     run it, and keep what it did: as text, as a page to look through
  ring3 top PROGRAM [ARG]...       run it, and watch its processes, calls and memory
  ring3 learn PROGRAM [ARG]...     run it, and print the least it needs: promises and paths
  ring3 fingerprint FILE-OR-DIR... print what files are like now, for ring3 run --veriexec
  ring3 kdump [FILE]               print a ktrace file
  ring3 --version                  print the version

Options stand between the command and PROGRAM; `ring3 COMMAND --help` lists them, `--` ends them.

  ring3 run -- sh -c 'echo hello from pid $$; uname -sr'
  ring3 explain -- ./program-that-does-not-start
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
    except OSError as error:    # of what a command prints itself: it is full, or closed
        complain(f"{error.filename}: {error.strerror}" if error.filename is not None else str(error.strerror or error))
        return FAILED


def _dispatch(words: list[str]) -> int:
    command = words[0] if words else "--help"
    if command == "help" and words[1:2] and words[1] in COMMANDS:
        words, command = [words[1], "--help"], words[1]
    if command in COMMANDS:
        return int(import_module(f"ring3.cli.{command}").main(words[1:]))
    if command in ("--help", "-h", "help"):
        say_help(_HELP)
        return 0
    if command in ("--version", "-V"):
        from ring3 import __version__

        say(f"ring3 {__version__}\n")
        return 0
    complain(f"{_unknown(words)}\n       ring3 --help has all commands")
    return FAILED


def _unknown(words: list[str]) -> str:
    """What is said of a word that is no command."""
    from difflib import get_close_matches
    from shlex import quote

    command = words[0]
    if command.startswith("-"):
        return f"there is no option {command} here; options stand behind a command"
    near = get_close_matches(command, COMMANDS, 1)
    if near:
        return f"there is no command {command!r}; did you mean {near[0]}?"
    program = " ".join(map(quote, words[:20])) + (" …" if len(words) > 20 else "")
    return f"there is no command {command!r}; to run it as a program: ring3 run -- {program}"


def say(text: str, encoding: str = "") -> None:
    """Text to standard output, whole, in its encoding (or in that one); what that lacks is written plainly.

    Raises OSError that names standard output: it is full, or closed.  BrokenPipeError: nobody reads it.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed", "standard output")
    try:
        sys.stdout.buffer.write(encoded(text, encoding or sys.stdout.encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from None


def say_help(text: str) -> None:
    """A help text; at a terminal as wide as that is.  Raises what `say` does."""
    if sys.stdout is not None and sys.stdout.isatty():
        from ring3.cli.options import folded

        text = folded(text, columns() or 80)
    say(text)


def columns() -> int:
    """How wide the terminal is that standard output is; 0 where nobody knows."""
    text = os.environ.get("COLUMNS", "")
    if text.isdecimal() and 0 < int(text) < 10_000:
        return int(text)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        return 0


# What stands for a character where there is no UTF-8.  One for one: tables keep their columns.
_PLAIN: Final = {
    "→": ">", "≠": "!", "✗": "x", "…": "~", "·": "-", "─": "-", "│": "|", "├": "|", "┤": "|", "┬": "+", "┴": "+", "┊": ":",
    "▕": "[", "▏": "]", "█": "#", "▒": "+", "░": ".", "▁": "_",
}


def encoded(text: str, encoding: str) -> bytes:
    r"""Text as bytes of an encoding, without fail.

    >>> encoded("a → b\udcff", "utf-8"), encoded("a → b é \u4e00", "latin-1")
    (b'a \xe2\x86\x92 b\\udcff', b'a > b \xe9 \\u4e00')
    """
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(_encodable(letter, encoding) for letter in text).encode(encoding)


def _encodable(letter: str, encoding: str) -> str:
    try:
        letter.encode(encoding)
    except UnicodeEncodeError:
        return _PLAIN.get(letter) or letter.encode("ascii", "backslashreplace").decode()
    return letter


def complain(text: str) -> None:
    """One message to standard error, where there is one."""
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"ring3: {text}\n")
            sys.stderr.flush()
        except OSError:
            return              # nobody reads it
