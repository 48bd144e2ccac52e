"""What env(1) would make of its arguments: which program it looks for, and along which PATH.

GNU's options, and what the BSDs have besides.  What cannot be told for sure is not told.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from ring3.namedtuple import NamedTuple

_SWITCHES: Final = {b"--ignore-environment": b"i", b"--null": b"0", b"--debug": b"v"}
_VALUED: Final = {b"--unset": b"u", b"--chdir": b"C", b"--split-string": b"S", b"--argv0": b"a"}
_SIGNALS: Final = (b"--block-signal", b"--default-signal", b"--ignore-signal", b"--list-signal-handling")


class EnvCall(NamedTuple):
    """What env runs: `program` along `path` (None: it knows no PATH), from `directory` (empty: the current one)."""

    program: bytes
    path: bytes | None
    directory: bytes


def read(words: Sequence[bytes], environment: Sequence[bytes]) -> EnvCall | None:
    """What `env WORDS...` runs; None where it runs nothing, or nobody knows.

    >>> read([b"-i", b"PATH=/bin", b"make", b"-j"], [b"PATH=/usr/bin"])
    EnvCall(program=b'make', path=b'/bin', directory=b'')
    >>> read([b"-S python3 -u", b"script"], [b"PATH=/usr/bin"]).program, read([b"--what", b"make"], [])
    (b'python3', None)
    """
    variables = {name: value for name, _, value in (variable.partition(b"=") for variable in reversed(environment))}
    left, directory, altpath = list(words), b"", None
    while left and left[0][:1] == b"-":
        word = left.pop(0)
        if word == b"--":
            break
        if word == b"-":
            variables.clear()
            break
        options = _options(word, left)
        if options is None:
            return None
        for letter, value in options:
            if letter == b"i":
                variables.clear()
            elif letter == b"u":
                variables.pop(value, None)
            elif letter == b"C":
                directory = value
            elif letter == b"P":
                altpath = value
            elif letter == b"S":
                split = _split(value)
                if split is None:
                    return None
                left[:0] = split
    while left and b"=" in left[0]:
        name, _, value = left.pop(0).partition(b"=")
        variables[name] = value
    return EnvCall(left[0], variables.get(b"PATH") if altpath is None else altpath, directory) if left else None


def _options(word: bytes, left: list[bytes]) -> list[tuple[bytes, bytes]] | None:
    """The options in a word, by their letters, each with its value, which may be taken from what is left; None for others."""
    if word[:2] == b"--":
        name, equals, value = word.partition(b"=")
        if name in _SIGNALS:
            return []
        if name in _SWITCHES and not equals:
            return [(_SWITCHES[name], b"")]
        if name not in _VALUED or not (equals or left):
            return None
        return [(_VALUED[name], value if equals else left.pop(0))]
    found: list[tuple[bytes, bytes]] = []
    for at in range(1, len(word)):
        letter = word[at : at + 1]
        if letter in (b"u", b"C", b"S", b"a", b"P"):
            value = word[at + 1 :]
            if not value and not left:
                return None
            return [*found, (letter, value or left.pop(0))]
        if letter not in (b"i", b"0", b"v"):
            return None
        found.append((letter, b""))
    return found


def splits(argument: bytes) -> bool:
    """Whether an argument has env split it into words.

    >>> splits(b"-S python3 -u"), splits(b"-vS python3"), splits(b"python3 -S")
    (True, True, False)
    """
    options = _options(argument, []) if argument[:1] == b"-" else None
    return any(letter == b"S" for letter, _ in options or ())


def _split(text: bytes) -> list[bytes] | None:
    """A string as -S splits it; None where it has escapes, variables or comments."""
    if any(special in text for special in (b"\\", b"$", b"#")):
        return None
    if not (b"'" in text or b'"' in text):
        return text.split()
    from shlex import split

    try:
        return [os.fsencode(word) for word in split(os.fsdecode(text))]
    except ValueError:
        return None
