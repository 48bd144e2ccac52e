"""SerenityOS's flags that the kernel has under other numbers: neutral flag class to its translation.

Applied while arguments are decoded (`Abi.flags`), or asked for by the call; every part of the kernel behind that speaks the neutral
flags of `abi/flags.py`.  Signals are in `signals.py`.  Source: reference, section 4.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from ring3.abi.flags import MountFlags, OpenFlags

_O = OpenFlags
_READ, _WRITE = 1, 2
_ACCESS: Final = (int(_O.RDONLY), int(_O.RDONLY), int(_O.WRONLY), int(_O.RDWR))       # by the two bits; none is told by the call

# SerenityOS's bit, the neutral one.  O_EXEC (4) is open's own affair.
OPEN: Final = (
    (0x8, _O.CREAT), (0x10, _O.EXCL), (0x20, _O.NOCTTY), (0x40, _O.TRUNC), (0x80, _O.APPEND), (0x100, _O.NONBLOCK),
    (0x200, _O.DIRECTORY), (0x400, _O.NOFOLLOW), (0x800, _O.CLOEXEC), (0x1000, _O.DIRECT), (0x2000, _O.SYNC | _O.DSYNC),
)
MOUNT: Final = (
    (1, MountFlags.NODEV), (2, MountFlags.NOEXEC), (4, MountFlags.NOSUID), (16, MountFlags.RDONLY), (64, MountFlags.WXALLOWED),
    (128, MountFlags.AXALLOWED), (256, MountFlags.NOREGULAR),
)


class OpenNumbers:
    """open's flags in both directions; unknown bits vanish, as they do there.

    >>> oct(OpenNumbers()(0x2 | 0x8 | 0x40)), OpenNumbers.outward(0o1 | 0o2000)
    ('0o1101', 130)
    """

    __slots__ = ()

    def __call__(self, word: int) -> int:
        """The neutral flags.  Reading and writing are a bit each; without either it reads, and the call sees to that."""
        return _ACCESS[word & 3] | sum(int(bits) for theirs, bits in OPEN if word & theirs)

    @staticmethod
    def outward(flags: int) -> int:
        """What fcntl(F_GETFL) tells."""
        access = (_READ, _WRITE, _READ | _WRITE, 0)[flags & 3] if not flags & _O.PATH else 0
        return access | sum(theirs for theirs, bits in OPEN if flags & bits == bits)


def mount_flags(word: int) -> int:
    """mount's flags, of those that a mount here can have."""
    return sum(int(flag) for theirs, flag in MOUNT if word & theirs)


def outward_mount_flags(flags: int) -> int:
    """What is told of a mount's flags."""
    return sum(theirs for theirs, flag in MOUNT if flags & flag)


FLAGS: Final[Mapping[type, Any]] = MappingProxyType({OpenFlags: OpenNumbers(), MountFlags: mount_flags})
