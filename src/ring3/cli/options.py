"""Options of the command line, as rows of a table.  argparse would be a quarter of the start-up time, and take `--strace
PROGRAM` for `--strace=PROGRAM`.

Options end at the first word that is none, or behind `--`: everything from there on is the program and its own options.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from ring3.namedtuple import NamedTuple

HELP: Final = "--help"


class UsageError(Exception):
    """The command line makes no sense; the text says what and what to write instead."""


class Option(NamedTuple):
    """One option.  Without `metavar` it is a flag; `optional`: a value only behind "=".

    `parse` makes the value of the text, or raises ValueError that says what is wrong.  `many`: may be given again, values are
    a list.
    """

    name: str
    metavar: str
    help: str
    parse: Callable[[str], Any] = str
    many: bool = False
    optional: bool = False


def parse(options: Sequence[Option], words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Values by name (absent where not given; a flag's is True, a bare optional's ""), and the words behind the options.

    Raises UsageError.  `--help` and `-h` stop everything: values are {"--help": True}.
    """
    known = {option.name: option for option in options}
    values: dict[str, Any] = {option.name: [] for option in options if option.many}
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        if word in (HELP, "-h"):
            return {HELP: True}, []
        name, equals, text = word.partition("=")
        option = known.get(name)
        if option is None and (several := _apart(word, known)):
            rest[:0] = several
            continue
        if option is None:
            raise UsageError(_unknown(name, known))
        if not option.metavar:
            if equals:
                raise UsageError(f"{name} takes no value")
            values[name] = True
            continue
        if not equals and not option.optional:
            if not rest:
                raise UsageError(f"{name} needs a value: {name} {option.metavar}")
            text = rest.pop(0)
        try:
            value = option.parse(text)
        except ValueError as error:
            raise UsageError(f"{name} {text}: {error}") from None
        if option.many:
            values[name].append(value)
        else:
            values[name] = value
    return values, rest


def _apart(word: str, known: dict[str, Option]) -> list[str]:
    """Options of one dash that were written together (-fy, -ttT, -ce openat), the longest names first; [] for anything else.

    Only the last may have a value, which is the next word.
    """
    found: list[str] = []
    letters = word.removeprefix("-")
    if word.startswith("--"):
        return []
    while letters:
        name = next((name for size in range(len(letters), 0, -1) if (name := f"-{letters[:size]}") in known), "")
        if not name or (found and known[found[-1]].metavar):
            return []
        found.append(name)
        letters = letters[len(name) - 1 :]
    return found


def describe(options: Sequence[Option]) -> str:
    """One line an option (two where it is long), for a help text."""
    lines = []
    for option in options:
        left = option.name
        if option.metavar:
            left += f"[={option.metavar}]" if option.optional else f" {option.metavar}"
        lines.append(f"  {left:28} {option.help}" if len(left) <= 28 else f"  {left}\n  {'':28} {option.help}")
    return "\n".join(lines) + "\n"


def folded(text: str, width: int) -> str:
    """A help text with its lines folded to `width`: prose as paragraphs, what is said of an option behind its column.

    >>> print(folded("  --seed N                     make addresses repeatable", 50))
      --seed N                     make addresses
                                   repeatable
    """
    from textwrap import wrap

    width = max(width, 24)
    paragraphs: list[str] = []
    for line in text.split("\n"):
        if paragraphs and line[:1].strip() and paragraphs[-1][:1].strip():
            paragraphs[-1] += " " + line
        else:
            paragraphs.append(line)
    lines: list[str] = []
    for paragraph in paragraphs:
        body = paragraph.lstrip(" ")
        left, gap, right = body.partition("  ") if body != paragraph else (body, "", "")
        if len(paragraph) <= width:
            lines.append(paragraph)
            continue
        head = paragraph[: len(paragraph) - len(right.lstrip(" "))] if gap else paragraph[: len(paragraph) - len(body)]
        if gap and len(head) > width - 18:
            lines.append("  " + left)
            head = " " * 6
        said, rest = right.lstrip(" ") if gap else body, " " * len(head)
        lines += wrap(said, width, initial_indent=head, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def _unknown(name: str, known: dict[str, Option]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known, 1)
    return f"there is no option {name}" + (f"; did you mean {near[0]}?" if near else "")
