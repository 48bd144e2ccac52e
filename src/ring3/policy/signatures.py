r"""Signatures: the file that says which fingerprint each program must have, as NetBSD's veriexec(5) has it.

    path algorithm fingerprint flags            # one file a line; white space in a path as "\ "

Flags are `direct`, `indirect`, `file`, `untrusted`, with commas between them, or the words for several at once (`program`,
`interpreter`, `script`, `library`); none at all means `direct`.  Invariant: whatever stands in such a file, reading it takes
bounded memory and says at which line it makes no sense.

Not here: what fingerprints are good for (`veriexec.py`).  Sources: veriexec(5), veriexecgen(8).
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from ring3.namedtuple import NamedTuple

MAX_FILE: Final = 64 << 20              # bytes of a signatures file
MAX_ENTRIES: Final = 500_000
PATH_MAX: Final = 4096
CHUNK: Final = 1 << 20                  # bytes hashed at a time


class Usage(enum.IntFlag):
    """How a file may be used; `UNTRUSTED`: what was found out about it is not remembered (sys/verified_exec.h)."""

    DIRECT = 0x01
    INDIRECT = 0x02
    FILE = 0x04
    UNTRUSTED = 0x10


class Algorithm(NamedTuple):
    """One way to take a fingerprint: its name in hashlib, its length in bytes, and whether files can be forged to it."""

    hashlib: str
    nbytes: int
    weak: bool


ALGORITHMS: Final[Mapping[str, Algorithm]] = MappingProxyType({
    "SHA256": Algorithm("sha256", 32, weak=False),
    "SHA384": Algorithm("sha384", 48, weak=False),
    "SHA512": Algorithm("sha512", 64, weak=False),
    "SHA1": Algorithm("sha1", 20, weak=True),
    "MD5": Algorithm("md5", 16, weak=True),
    "RMD160": Algorithm("ripemd160", 20, weak=True),
})
_WORDS: Final[Mapping[str, Usage]] = MappingProxyType({
    "direct": Usage.DIRECT,
    "indirect": Usage.INDIRECT,
    "file": Usage.FILE,
    "untrusted": Usage.UNTRUSTED,
    "program": Usage.DIRECT,
    "interpreter": Usage.INDIRECT,
    "script": Usage.DIRECT | Usage.FILE,
    "library": Usage.FILE | Usage.INDIRECT,
})
USES: Final = Usage.DIRECT | Usage.INDIRECT | Usage.FILE


class SignaturesError(ValueError):
    """A signatures file makes no sense; the text says where and why."""


class Signature(NamedTuple):
    """One line.  `line` is its number, 0 for one that was not read from a file."""

    path: bytes
    algorithm: str
    fingerprint: bytes
    usage: Usage
    line: int = 0


class Signatures(NamedTuple):
    """A whole file: `name` is what messages call it."""

    name: str
    entries: tuple[Signature, ...]

    @property
    def weak(self) -> tuple[str, ...]:
        """The algorithms in use that files can be forged to."""
        return tuple(sorted({entry.algorithm for entry in self.entries if ALGORITHMS[entry.algorithm].weak}))


def read_signatures(name: str) -> Signatures:
    """The file of that name.  Raises SignaturesError, OSError for one that cannot be read."""
    with open(name, "rb") as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise SignaturesError(f"{name}: larger than {MAX_FILE >> 20} MiB, so it is no signatures file")
    return parse_signatures(name, data)


def parse_signatures(name: str, data: bytes) -> Signatures:
    """What a file says.  Raises SignaturesError with the line's number.

    A line that is there again is ignored; one that says something else of the same path is an error.
    """
    seen: dict[bytes, Signature] = {}
    for number, text in enumerate(data.split(b"\n"), 1):
        try:
            entry = parse_line(text, number)
            if entry is None:
                continue
            first = seen.setdefault(entry.path, entry)
            if first[1:4] != entry[1:4]:
                raise SignaturesError(f"{shown(entry.path)} is in line {first.line} too, with another fingerprint or other flags")
            if len(seen) > MAX_ENTRIES:
                raise SignaturesError(f"more than {MAX_ENTRIES} files")
        except SignaturesError as error:
            raise SignaturesError(f"{name}: line {number}: {error}") from None
    return Signatures(name, tuple(seen.values()))


def parse_line(text: bytes, number: int = 0) -> Signature | None:
    """One line; None for an empty one or a comment.  Raises SignaturesError.

    >>> parse_line(b"/bin/sh MD5 d41d8cd98f00b204e9800998ecf8427e interpreter, file")[3]
    <Usage.INDIRECT|FILE: 6>
    """
    words = _split(text)
    if not words:
        return None
    if len(words) < 3:
        raise SignaturesError("a line is: path algorithm fingerprint [flags]")
    path, algorithm, digits = words[0], words[1].decode("ascii", "replace").upper(), words[2]
    if not path.startswith(b"/"):
        raise SignaturesError(f"{shown(path)}: a path begins with /")
    if len(path) >= PATH_MAX or b"\0" in path:
        raise SignaturesError("no path is so long" if len(path) >= PATH_MAX else "a zero byte in a path")
    known = ALGORITHMS.get(algorithm)
    if known is None:
        raise SignaturesError(f"algorithm {shown(words[1])}: it is one of {', '.join(ALGORITHMS)}")
    try:
        fingerprint = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        raise SignaturesError(f"fingerprint {shown(digits)}: it is written in hexadecimal digits") from None
    if len(fingerprint) != known.nbytes:
        raise SignaturesError(f"a {algorithm} fingerprint has {2 * known.nbytes} digits, and here are {len(digits)}")
    return Signature(path, algorithm, fingerprint, parse_usage(b" ".join(words[3:]).decode("utf-8", "replace")), number)


def _split(text: bytes) -> list[bytes]:
    """The words of a line.  A backslash takes the byte behind it as it is; # begins a comment, at the beginning of a word."""
    if b"\\" not in text and b"#" not in text:
        return text.split()
    words: list[bytes] = []
    word: bytearray | None = None
    at = 0
    while at < len(text):
        byte = text[at : at + 1]
        if byte.isspace():
            if word is not None:
                words.append(bytes(word))
            word = None
        elif byte == b"#" and word is None:
            break
        else:
            if byte == b"\\":
                at += 1
                byte = text[at : at + 1]
            word = (word or bytearray()) + byte
        at += 1
    if word is not None:
        words.append(bytes(word))
    return words


def parse_usage(text: str) -> Usage:
    """The flags of words with commas or blanks between them; DIRECT where none says how.  Raises SignaturesError.

    >>> parse_usage("library"), parse_usage("")
    (<Usage.INDIRECT|FILE: 6>, <Usage.DIRECT: 1>)
    """
    usage = Usage(0)
    for word in text.replace(",", " ").split():
        flag = _WORDS.get(word.lower())
        if flag is None:
            raise SignaturesError(f"flag {shown(word.encode())}: it is one of {', '.join(_WORDS)}")
        usage |= flag
    return usage if usage & USES else usage | Usage.DIRECT


def show_usage(usage: Usage) -> str:
    """The flags as a line has them.

    >>> show_usage(Usage.FILE | Usage.DIRECT)
    'direct, file'
    """
    return ", ".join(flag.name.lower() for flag in Usage if usage & flag and flag.name)


def show_line(entry: Signature) -> bytes:
    r"""The line of one file.  Raises SignaturesError for a path with a line break, which no line can hold.

    >>> show_line(parse_line(rb"/my\ tool md5 d41d8cd98f00b204e9800998ecf8427e"))
    b'/my\\ tool MD5 d41d8cd98f00b204e9800998ecf8427e direct'
    """
    if b"\n" in entry.path:
        raise SignaturesError("its name has a line break in it, which a signatures file cannot hold")
    path = entry.path.replace(b"\\", b"\\\\")
    for blank in (b" ", b"\t", b"\r", b"\v", b"\f"):
        path = path.replace(blank, b"\\" + blank)
    rest = f" {entry.algorithm} {entry.fingerprint.hex()} {show_usage(entry.usage)}"
    return path + rest.encode("ascii")


def new_hash(algorithm: str) -> Any:
    """A hash object for an algorithm of the table.  Raises SignaturesError where this Python lacks it."""
    import hashlib  # not before somebody takes a fingerprint

    try:
        return hashlib.new(ALGORITHMS[algorithm].hashlib, usedforsecurity=False)
    except ValueError:
        raise SignaturesError(f"this Python cannot take {algorithm} fingerprints") from None


def fingerprint(algorithm: str, read: Callable[[int], bytes]) -> bytes:
    """The fingerprint of what `read(nbytes)` gives, piece by piece, until it gives nothing."""
    state = new_hash(algorithm)
    while piece := read(CHUNK):
        state.update(piece)
    digest: bytes = state.digest()
    return digest


def shown(text: bytes, limit: int = 80) -> str:
    """Bytes from somewhere for a message: not too many, and nothing a terminal would obey."""
    word = text if len(text) <= limit else text[: limit - 3] + b"..."
    return "".join(c if c.isprintable() else f"\\x{ord(c) & 0xFF:02x}" for c in word.decode("utf-8", "backslashreplace"))


def guess_usage(path: bytes, *, executable: bool, head: bytes) -> Usage:
    r"""How a file of a program tree is used, by its name, whether it may be executed, and its first bytes.

    A library is opened by the loader, and the loader itself is named by programs (library); a script is run and then read by its
    interpreter (script); a program is run by people and by scripts; anything else is opened.

    >>> guess_usage(b"/lib/libc.so.6", executable=True, head=b"\x7fELF").name
    'INDIRECT|FILE'
    """
    name = os.path.basename(path)
    if head[:4] == b"\x7fELF" and (b".so" in name or name.endswith(b"_so")):
        return Usage.INDIRECT | Usage.FILE
    if not executable:
        return Usage.FILE
    return Usage.DIRECT | Usage.FILE if head[:2] == b"#!" else Usage.DIRECT | Usage.INDIRECT


def lines(entries: Iterable[Signature]) -> bytes:
    """A whole file."""
    return b"".join(show_line(entry) + b"\n" for entry in entries)
