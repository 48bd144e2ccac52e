"""A page of text for a terminal or a pipe: labelled rows that keep to a width, and colours where somebody looks.

Colours are the sixteen of ECMA-48, written by hand: what prints this is wanted fast.  Widths are columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ring3.trace.explain.words import columns_of as columns

INDENT: Final = 2
LABEL: Final = 12                   # columns of the label, its gap included
NARROWEST: Final = 48
PIPE_WIDTH: Final = 100
_FEWEST: Final = 22                 # columns that a right side needs to stay beside its left one

_STYLES: Final = {"bold": "1", "dim": "2", "good": "32", "bad": "31", "warn": "33", "name": "36", "mark": "35"}


class Page:
    """Lines collected; `text` gives them.  Styles are named: "bold", "dim", "good", "bad", "warn", "name", "mark".

    `everything`: whether long lists are wanted in full.
    """

    def __init__(self, width: int, *, colour: bool, everything: bool = False) -> None:
        self.width = max(width, NARROWEST)
        self.everything = everything
        self.colour = colour
        self.lines: list[str] = []

    def paint(self, text: str, style: str) -> str:
        """The text in a style, where there are colours."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.colour and style and text else text

    def line(self, text: str = "", style: str = "") -> None:
        """One line as it is."""
        self.lines.append(self.paint(text, style))

    def blank(self) -> None:
        """An empty line, but never two."""
        if self.lines and self.lines[-1]:
            self.lines.append("")

    def row(self, label: str, left: str, right: str = "", *, at: int = 0, style: str = "", right_style: str = "") -> None:
        """A labelled row: `left`, and `right` from column `at` of the text on; what does not fit goes on below."""
        head = " " * INDENT + label.ljust(LABEL)
        self._wrapped(self.paint(head, "dim") if label else head, INDENT + LABEL, left, right, at, style, right_style)

    def detail(self, left: str, right: str = "", *, at: int = 0, style: str = "", right_style: str = "", depth: int = 1) -> None:
        """A row without a label, indented a little further."""
        indent = INDENT + LABEL + 2 * depth
        self._wrapped(" " * indent, indent, left, right, max(at - 2 * depth, 0), style, right_style)

    def _wrapped(self, head: str, indent: int, left: str, right: str, at: int, style: str, right_style: str) -> None:
        room = self.width - indent
        at = min(at, room // 2)
        pad = max(at, columns(left) + 2)
        if right and room - pad >= min(columns(right), _FEWEST):
            pieces = wrap(right, room - pad)
            first = self.paint(left, style) + " " * (pad - columns(left)) + self.paint(pieces.pop(0), right_style)
        else:
            pad = min(at, room // 4)
            first, *more = wrap(left, room)
            first = self.paint(first, style)
            pieces = [*wrap(right, room - pad)] if right else []
            self.lines += [(head + first).rstrip(), *(" " * indent + self.paint(piece, style) for piece in more)]
            self.lines += [" " * (indent + pad) + self.paint(piece, right_style) for piece in pieces]
            return
        self.lines.append((head + first).rstrip())
        self.lines += [" " * (indent + pad) + self.paint(piece, right_style) for piece in pieces]

    def paragraph(self, label: str, sentences: Iterable[str], style: str = "") -> None:
        """`label: text`, wrapped with the text's own left edge."""
        indent = INDENT + len(label) + 2
        for number, sentence in enumerate(sentences):
            head = f"{' ' * INDENT}{self.paint(label + ':', style)} " if number == 0 else " " * indent
            pieces = wrap(sentence, self.width - indent)
            self.lines.append(head + pieces[0])
            self.lines += [" " * indent + piece for piece in pieces[1:]]

    def headline(self, name: str, verdict: str, style: str, more: str, who: str) -> None:
        """The first line: what is too long for it goes on below."""
        first = f"{name}  →  {verdict}"
        painted = f"{self.paint(name, 'bold')}  →  {self.paint(verdict, style)}"
        if columns(first) + columns(more) + columns(who) + 5 <= self.width:
            self.line("   ".join(filter(None, (painted, more, self.paint(who, "dim")))) if style == "bad" else
                      f"{painted} {more}   {self.paint(who, 'dim')}")
            return
        self.line(painted)
        for text, how in ((more, ""), (who, "dim")):
            if text:
                self.lines += [" " * INDENT + self.paint(piece, how) for piece in wrap(text, self.width - INDENT)]

    def text(self) -> str:
        """Everything, each line with its end."""
        return "".join(f"{line}\n" for line in self.lines)


def wrap(text: str, room: int) -> list[str]:
    """The words of a text in lines of at most `room` columns; a word that is too long is cut, behind a slash if it can be.

    >>> wrap("a program is run", 9), wrap("abcdefgh", 4), wrap("-> /usr/lib/libc.so", 12)
    (['a program', 'is run'], ['abcd', 'efgh'], ['-> /usr/lib/', 'libc.so'])
    """
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        if not line or columns(line) + 1 + columns(word) <= room or columns(word) > room:
            line = f"{line} {word}" if line else word
        else:
            lines.append(line)
            line = word
        while columns(line) > room:
            cut = _cut(line, room)
            lines.append(line[:cut].rstrip(" "))
            line = line[cut:].lstrip(" ")
    return [*lines, line] if line or not lines else lines


def _cut(line: str, room: int) -> int:
    """Where to cut a line that is too long: behind its last slash or blank, unless that is far to the left."""
    limit = max(room if columns(line) == len(line) else room // 2, 1)
    behind = max(line.rfind("/", 0, limit), line.rfind(" ", 0, limit)) + 1
    return behind if behind > limit // 3 else limit
