"""Promises: the words of pledge(2), what each permits, and sets of them as masks.

The words are SerenityOS's; a call says which of them allow it (`@syscall(pledge=...)`, `needs=...`).  What a program of each system
may do under a promise follows from its calls' declarations; docs/sandbox.md lists them.

Not here: asking (`calls/gate.py`), who is bound by what (`confinement.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

# In the order of their bits (reference: SerenityOS, Kernel/Process.h).
PERMITS: Final[Mapping[str, str]] = MappingProxyType({
    "stdio": "work on open descriptors, memory, own ids, time, signals to itself",
    "rpath": "read files and directories by path",
    "wpath": "open files for writing",
    "cpath": "make, remove, rename and link names",
    "dpath": "make FIFOs and devices (mknod)",
    "inet": "internet sockets",
    "id": "change user and group ids",
    "proc": "fork, wait for, signal and rank other processes",
    "ptrace": "look into and change other processes",
    "exec": "run other programs",
    "unix": "local sockets",
    "recvfd": "take descriptors from a socket",
    "sendfd": "give descriptors through a socket",
    "fattr": "change modes, times and attributes of files",
    "tty": "change terminals",
    "chown": "change owners of files",
    "thread": "make threads",
    "video": "drive displays",
    "accept": "accept connections",
    "settime": "set clocks",
    "sigaction": "set signal handlers, masks and alternate stacks (SerenityOS programs)",
    "setkeymap": "set the keyboard's map",
    "prot_exec": "make memory executable that is not a file's own pages",
    "map_fixed": "map memory at fixed addresses (SerenityOS programs)",
    "getkeymap": "read the keyboard's map",
    "jail": "make and enter jails",
    "no_error": "asking for more promises later is clipped, not refused",
})
BITS: Final[Mapping[str, int]] = MappingProxyType({word: 1 << bit for bit, word in enumerate(PERMITS)})
EVERYTHING: Final = (1 << len(PERMITS)) - 1


def mask_of(words: Iterable[str]) -> int:
    """The set as a mask.  A word that is no promise has no bit: nobody can hold it ("root": only who promised nothing may).

    >>> mask_of(["stdio", "rpath"])
    3
    """
    return sum(BITS.get(word, 0) for word in set(words))


def parse(text: str) -> int:
    """The mask of words with blanks between them.  Raises ValueError for a word that is no promise.

    >>> parse("stdio  rpath")
    3
    """
    for word in text.split():
        if word not in BITS:
            from difflib import get_close_matches

            near = get_close_matches(word, BITS, 1)
            raise ValueError(f"{word!r} is no promise" + (f"; did you mean {near[0]}?" if near else ""))
    return mask_of(text.split())


def show(mask: int) -> str:
    """The words of a mask, in the order of their bits.

    >>> show(3)
    'stdio rpath'
    """
    return " ".join(word for word, bit in BITS.items() if mask & bit)
