"""Neutral records and numbers of kqueue: what a program asks to be told of, and what it is told.

Only BSD has them, so the numbers are NetBSD's.  Source: kqueue(2), sys/event.h.
"""

from __future__ import annotations

import enum
from typing import Final

from ring3.namedtuple import NamedTuple


class KEvent(NamedTuple):
    """struct kevent: what is watched (`ident` by `filter`), how (`flags`), what of it (`fflags`, `data`); `udata` comes back."""

    ident: int
    filter: int
    flags: int
    fflags: int
    data: int
    udata: int


class LongKEvent:
    """The struct kevent of NetBSD 11, which has four more words that no filter uses ↔ `KEvent`."""


class Filter(enum.IntEnum):
    """What a knote watches.  READ, WRITE and VNODE are about descriptors."""

    READ = 0
    WRITE = 1
    AIO = 2
    VNODE = 3
    PROC = 4
    SIGNAL = 5
    TIMER = 6
    FS = 7
    USER = 8


class Ev(enum.IntFlag):
    """`KEvent.flags`."""

    ADD = 0x1
    DELETE = 0x2
    ENABLE = 0x4
    DISABLE = 0x8
    ONESHOT = 0x10
    CLEAR = 0x20
    RECEIPT = 0x40
    DISPATCH = 0x80
    FLAG1 = 0x2000
    ERROR = 0x4000
    EOF = 0x8000


EV_SYSFLAGS: Final = 0xF000           # nothing a program may say

NOTE_LOWAT: Final = 0x1               # READ, WRITE: `data` is a low-water mark

# VNODE
NOTE_DELETE, NOTE_WRITE, NOTE_EXTEND, NOTE_ATTRIB, NOTE_LINK, NOTE_RENAME, NOTE_REVOKE = (1 << i for i in range(7))

# PROC
NOTE_EXIT: Final = 0x8000_0000
NOTE_FORK: Final = 0x4000_0000
NOTE_EXEC: Final = 0x2000_0000
NOTE_PCTRLMASK: Final = 0xF000_0000
NOTE_PDATAMASK: Final = 0x000F_FFFF
NOTE_TRACK: Final = 0x1
NOTE_TRACKERR: Final = 0x2
NOTE_CHILD: Final = 0x4

# TIMER: what `data` counts, and that it is a moment
NOTE_MSECONDS, NOTE_SECONDS, NOTE_USECONDS, NOTE_NSECONDS = range(4)
NOTE_ABSTIME: Final = 0x10

# USER
NOTE_TRIGGER: Final = 0x0100_0000
NOTE_FFCTRLMASK: Final = 0xC000_0000
NOTE_FFLAGSMASK: Final = 0x00FF_FFFF
NOTE_FFNOP, NOTE_FFAND, NOTE_FFOR, NOTE_FFCOPY = 0, 0x4000_0000, 0x8000_0000, 0xC000_0000
