"""NetBSD's flag values as the kernel's neutral ones: one translation for each flag class where numbers differ (`Abi.flags`).

A bit that NetBSD does not know becomes one that nobody knows, so that a call which refuses unknown bits refuses it.
Sources: sys/fcntl.h, sys/mman.h, sys/signal.h.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from ring3.abi.flags import AtFlags, MapFlags, OpenFlags, Prot
from ring3.abi.signals import Signal
from ring3.personality.netbsd.signals import SignalNumbers

UNKNOWN: Final = 1 << 62
_O = OpenFlags
_M = MapFlags

# NetBSD's bit, the neutral one.  SHLOCK and EXLOCK are open's own affair (calls/netbsd), ALT_IO and NOSIGPIPE too.
OPEN: Final = (
    (0x4, _O.NONBLOCK), (0x8, _O.APPEND), (0x40, _O.ASYNC), (0x80, _O.SYNC | _O.DSYNC), (0x100, _O.NOFOLLOW), (0x200, _O.CREAT),
    (0x400, _O.TRUNC), (0x800, _O.EXCL), (0x8000, _O.NOCTTY), (0x10000, _O.DSYNC), (0x80000, _O.DIRECT),
    (0x200000, _O.DIRECTORY), (0x400000, _O.CLOEXEC),
)
OPEN_IGNORED: Final = 0x10 | 0x20 | 0x20000 | 0x40000 | 0x800000 | 0x1000000 | 0x2000000 | 0x4000000
MAP: Final = (
    (0x1, _M.SHARED), (0x2, _M.PRIVATE), (0x10, _M.FIXED), (0x40, _M.NORESERVE), (0x800, _M.LOCKED), (0x1000, _M.ANONYMOUS),
    (0x2000, _M.STACK),
)
AT: Final = (
    (0x100, AtFlags.EACCESS), (0x200, AtFlags.SYMLINK_NOFOLLOW), (0x400, AtFlags.SYMLINK_FOLLOW), (0x800, AtFlags.REMOVEDIR),
)


_KEPT: Final = 64


def translation(pairs: Iterable[tuple[int, int]], *, same: int = 0, ignored: int = 0) -> Callable[[int], int]:
    """A function from NetBSD's word to the neutral one.  Bits of `same` pass, those of `ignored` vanish, others are UNKNOWN.

    >>> hex(translation(OPEN, same=3)(0x601))
    '0x241'
    """
    rows = tuple((theirs, int(neutral)) for theirs, neutral in pairs)
    known = same | ignored | sum(theirs for theirs, _ in rows)
    kept: dict[int, int] = {}                   # programs ask for few of them, again and again

    def translate(word: int) -> int:
        found = kept.get(word)
        if found is None:
            found = word & same
            for theirs, bits in rows:
                if word & theirs:
                    found |= bits
            if word & ~known:
                found |= UNKNOWN
            if len(kept) < _KEPT:
                kept[word] = found
        return found

    return translate


def outward(pairs: Iterable[tuple[int, int]], *, same: int = 0) -> Callable[[int], int]:
    """The way back: what fcntl(F_GETFL) tells."""
    rows = tuple((theirs, int(neutral)) for theirs, neutral in pairs)

    def translate(flags: int) -> int:
        word = flags & same
        for theirs, bits in rows:
            if flags & bits == bits:
                word |= theirs
        return word

    return translate


class OpenNumbers:
    """open's flags in both directions: called with NetBSD's word; `outward` for fcntl(F_GETFL)."""

    __slots__ = ("_inward", "outward")

    def __init__(self) -> None:
        self._inward = translation(OPEN, same=3, ignored=OPEN_IGNORED)
        self.outward = outward(OPEN, same=3)

    def __call__(self, word: int) -> int:
        return self._inward(word)


def flag_translations(numbers: SignalNumbers) -> dict[type, Any]:
    """Neutral flag class to its translation, for both instruction sets."""
    return {
        OpenFlags: OpenNumbers(),
        MapFlags: translation(MAP),
        AtFlags: translation(AT),
        Prot: lambda word: word & 7,
        Signal: numbers,
    }
