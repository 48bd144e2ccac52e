"""Neutral records of posix_spawn(2): what a child does before its program, and what it is to be.

Source: posix_spawn(3), sys/spawn.h of NetBSD.
"""

from __future__ import annotations

from typing import Final

from ring3.namedtuple import NamedTuple


class SpawnActions(NamedTuple):
    """posix_spawn_file_actions_t: `number` entries at `entries`, with room for `room`."""

    room: int
    number: int
    entries: int


class SpawnAction(NamedTuple):
    """One entry.  `first` is a path's address (OPEN, CHDIR) or a descriptor (DUP2)."""

    kind: int
    fd: int
    first: int
    flags: int
    mode: int


OPEN: Final = 0
DUP2: Final = 1
CLOSE: Final = 2
CHDIR: Final = 3
FCHDIR: Final = 4


class SpawnAttr(NamedTuple):
    """posix_spawnattr_t; the signal sets in the kernel's numbers."""

    flags: int
    pgroup: int
    priority: int
    policy: int
    sigdefault: int
    sigmask: int


RESETIDS: Final = 0x01
SETPGROUP: Final = 0x02
SETSCHEDPARAM: Final = 0x04
SETSCHEDULER: Final = 0x08
SETSIGDEF: Final = 0x10
SETSIGMASK: Final = 0x20
