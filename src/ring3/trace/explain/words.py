"""How facts are put into words: names that anybody may have chosen made harmless, sizes, modes, permissions, errors.

Every text that reaches a terminal or a page goes through `shown`: control characters are escaped, lengths are bounded.
"""

from __future__ import annotations

import errno as host_errno
import os
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ring3 import errors
from ring3.abi.flags import S_IFMT, FileType
from ring3.abi.signals import Signal
from ring3.vfs.access import in_group

if TYPE_CHECKING:
    from ring3.abi.records import Attr
    from ring3.protocols import Credentials

NO_LIMIT: Final = 1 << 60           # bytes; what is allowed more is not limited
LONGEST: Final = 240                # characters of one name that are shown
_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_SAFE: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%_-+=:,./")
_KINDS: Final = {
    FileType.REG: "regular", FileType.DIR: "directory", FileType.LNK: "link", FileType.CHR: "character device",
    FileType.BLK: "block device", FileType.FIFO: "FIFO", FileType.SOCK: "socket",
}
_ACTIONS: Final = {1: "execute", 4: "read"}
# What went wrong in each step of an exec (exec/rules.py: STEPS, MORE_STEPS).
_TROUBLES: Final = {
    "lookup": "it cannot be opened",
    "arguments": "its arguments and environment are refused",
    "limits": "its arguments and environment are too large",
    "credentials": "it gets no credentials to run with",
    "header": "its first bytes cannot be read",
    "format": "no format takes it",
    "script": "what its first line says cannot be followed",
    "interpreter": "its loader cannot be used",
    "vdso": "there is no room for the vDSO, the code that the kernel puts into each program",
    "stack": "its stack cannot be made",
    "copyargs": "its arguments and environment cannot be put onto its stack",
    "ps_strings": "the place of its arguments cannot be told",
    "descriptors": "its open files cannot be handed on",
    "thread": "its first thread cannot be made",
    "sigcode": "there is no room for the code that returns from signals",
}


def shown(name: bytes, limit: int = LONGEST) -> str:
    r"""A name as text that harms no terminal: what does not print is escaped, what is too long is cut in the middle.

    >>> shown(b"a\x1b[31m\xff"), shown(b"x" * 300, 9)
    ('a\\x1b[31m\\xff', 'xxxx…xxxx')
    """
    if len(name) > 4 * limit:
        name = name[: 2 * limit] + name[-2 * limit :]
    text = name.decode("utf-8", "backslashreplace")
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)
    if len(text) > limit:
        half = (limit - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    return text


def _escaped(letter: str) -> str:
    code = ord(letter)
    if letter in "\t\n\r":
        return {"\t": "\\t", "\n": "\\n", "\r": "\\r"}[letter]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quoted(word: bytes, limit: int = LONGEST) -> str:
    r"""A word as one would type it to a shell.

    >>> quoted(b"ls"), quoted(b"a b"), quoted(b""), quoted(b"it's"), quoted(b"\x07")
    ('ls', "'a b'", "''", "'it'\\''s'", "$'\\x07'")
    """
    text = shown(word, limit)
    if word and all(byte in _SAFE for byte in word):
        return text
    if text.encode("utf-8", "replace") == word or text.endswith("…") or "…" in text:
        return "'" + text.replace("'", "'\\''") + "'"
    return "$'" + text.replace("'", "\\'") + "'"


def command(words: Sequence[bytes], limit: int = 12) -> str:
    """A command line; of a very long one the first words."""
    text = " ".join(quoted(word, 80) for word in words[:limit])
    return f"{text} … ({len(words) - limit} more)" if len(words) > limit else text


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def size(nbytes: int) -> str:
    """Bytes for people.

    >>> size(1), size(5000), size(132 << 10), size(1 << 47)
    ('1 byte', '4.9 KiB', '132 KiB', '128 TiB')
    """
    if abs(nbytes) < 1024:
        return "1 byte" if nbytes == 1 else f"{nbytes} bytes"
    value, power = float(nbytes), -1
    while abs(value) >= 1023.5 and power < len(_UNITS) - 1:
        value, power = value / 1024, power + 1
    unit = _UNITS[power]
    return f"{value:.0f} {unit}" if value >= 99.95 or value == int(value) else f"{value:.1f} {unit}"


def limit(nbytes: int) -> str:
    """A limit for people.

    >>> limit(1 << 21), limit(1 << 62)
    ('2 MiB', 'none')
    """
    return "none" if nbytes >= NO_LIMIT else size(nbytes)


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "string"), counted(0, "byte")
    ('1 string', '0 bytes')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def mode(bits: int) -> str:
    """Permission bits as chmod(1) takes them.

    >>> mode(0o755), mode(0o4711)
    ('0755', '4711')
    """
    return f"{bits & 0o7777:04o}"


def kind_of(bits: int) -> str:
    """The kind of file in a mode."""
    try:
        return _KINDS[FileType(bits & S_IFMT)]
    except ValueError:
        return "file of unknown kind"


def a_kind(bits: int) -> str:
    """The same with its article.

    >>> a_kind(0o100644), a_kind(0o040755)
    ('a regular file', 'a directory')
    """
    word = kind_of(bits)
    return "a regular file" if word == "regular" else f"a {word}"


def prot(bits: int) -> str:
    """Protection as /proc/PID/maps shows it.

    >>> prot(5)
    'r-x'
    """
    return "".join(letter if bits & bit else "-" for letter, bit in (("r", 1), ("w", 2), ("x", 4)))


def meaning(name: str) -> str:
    """What an error says to people, by its name; "" for a name nobody knows.

    >>> meaning("ENOENT")
    'No such file or directory'
    """
    number = getattr(host_errno, name, None)
    if number is not None:
        return os.strerror(number)
    known = getattr(errors, name, None)
    return str(known()) if isinstance(known, type) and issubclass(known, errors.Errno) else ""


def trouble(step: str) -> str:
    """What went wrong, where nothing more is known than the step of the exec.

    >>> trouble("header"), trouble("map")
    ('its first bytes cannot be read', 'it cannot be laid out in memory')
    """
    return _TROUBLES.get(step, "it cannot be laid out in memory")


def signal_name(number: int) -> str:
    """SIGSEGV and its like."""
    try:
        return Signal(number).name
    except ValueError:
        return f"signal {number}"


def permitted(cred: Credentials, attr: Attr, access: int) -> tuple[bool, str]:
    """Whether and why `cred` has `access` (1 execute or search, 4 read) to a file: the rule of
    `vfs.access.permission` in words.
    """
    bits, action = attr.mode, _ACTIONS[access]
    if action == "execute" and bits & S_IFMT == FileType.DIR:
        action = "search"
    if cred.privileged:
        if action == "execute" and not bits & 0o111:
            return False, f"not even root may execute what nobody may ({mode(bits)})"
        who = "somebody may" if action == "execute" else "it may always"
        return True, f"uid {cred.fsuid} is privileged, and {who} ({mode(bits)})"
    if cred.fsuid == attr.uid:
        who, shift = f"the owner, uid {attr.uid},", 6
    elif in_group(cred, attr.gid):
        who, shift = f"the group, gid {attr.gid},", 3
    else:
        who, shift = f"others (it belongs to {attr.uid}:{attr.gid})", 0
    granted = bool(bits >> shift & access)
    return granted, f"{who} may {'' if granted else 'not '}{action} ({mode(bits)})"
