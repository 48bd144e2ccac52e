"""The terminal as a whole screen, and the line that tells of long work.  ECMA-48 sequences by hand: what draws is wanted fast.

Invariant: whatever happens between `__enter__` and `__exit__`, afterwards the terminal is as it was.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TextIO

_ENTER: Final = "\x1b[?1049h\x1b[?25l"       # the alternate screen, no cursor
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_PATIENCE: Final = 1.0                       # seconds that need no word
_STEP: Final = 0.1                           # seconds between two words


class Screen:
    """The whole of a terminal: `draw` shows lines, `typed` gives the keys.

    Keys come one by one and unseen; Ctrl-Z is left without meaning, since a stopped program would leave its screen behind.
    """

    def __init__(self, output: int, keyboard: int) -> None:
        self._output = output
        self._keyboard = keyboard
        self._before: list[Any] = []

    def __enter__(self) -> Screen:
        self._before = termios.tcgetattr(self._keyboard)
        raw = termios.tcgetattr(self._keyboard)
        raw[3] &= ~(termios.ICANON | termios.ECHO)
        raw[6][termios.VMIN], raw[6][termios.VTIME], raw[6][termios.VSUSP] = 1, 0, b"\0"
        try:
            termios.tcsetattr(self._keyboard, termios.TCSADRAIN, raw)
            self._write(_ENTER)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self._write(_LEAVE)
            termios.tcsetattr(self._keyboard, termios.TCSADRAIN, self._before)
        except (OSError, termios.error):
            return                          # the terminal is gone

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows; 80 by 24 where nobody knows."""
        try:
            columns, rows = os.get_terminal_size(self._output)
        except OSError:
            return 80, 24
        return columns or 80, rows or 24

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines, from the top; the rest is empty."""
        rows = self.size[1]
        shown = [f"{line}\x1b[K" for line in lines[:rows]]
        self._write("\x1b[H" + "\r\n".join(shown) + ("\x1b[J" if len(shown) < rows else ""))

    def typed(self) -> str:
        """What was typed since last asked."""
        if not select.select([self._keyboard], [], [], 0)[0]:
            return ""
        return os.read(self._keyboard, 256).decode("ascii", "replace")

    def _write(self, text: str) -> None:
        data = memoryview(text.encode(errors="replace"))
        while data:
            data = data[os.write(self._output, data) :]


def style(text: str, code: str) -> str:
    """Text in a style of SGR (ECMA-48, 8.3.117): "1" bold, "2" faint, "7" in reverse."""
    return f"\x1b[{code}m{text}\x1b[0m"


class Progress:
    """A line about work that takes over a second, where standard error is a terminal; gone when the work is done.

    >>> with Progress("writing report.html") as progress:
    ...     progress("12 MiB")
    """

    def __init__(self, what: str, stream: TextIO | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._now = now
        stream = sys.stderr if stream is None else stream
        self._stream = stream if stream is not None and stream.isatty() else None
        self._due = 0.0
        self._is_shown = False

    def __enter__(self) -> Progress:
        self._due = self._now() + _PATIENCE
        return self

    def __call__(self, done: str) -> None:
        """So much is done."""
        if self._stream is not None and (now := self._now()) >= self._due:
            self._due = now + _STEP
            self._is_shown = True
            self._say(f"\r{self._what}: {done}\x1b[K")

    def __exit__(self, *exc: object) -> None:
        if self._is_shown:
            self._say("\r\x1b[K")

    def _say(self, text: str) -> None:
        assert self._stream is not None
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._stream = None             # nobody is there to read
