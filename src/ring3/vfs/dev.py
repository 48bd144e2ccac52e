"""Character devices of the memory kind, and the file system of /dev.

A device is a row: its number and what opening it gives.  `standard_devices` makes the rows of one kernel, which every
file system may be given, so that a null device made by mknod, or found in a chroot, is this kernel's own and never the
host's. Source: drivers/char/mem.c, drivers/char/random.c, null(4), random(4), Documentation/admin-guide/devices.txt.
Not here: terminals (`pty.py`), which are handed in.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from ring3.abi.flags import FileType, OpenFlags, Whence
from ring3.errors import ENOSPC, ENXIO
from ring3.vfs.file import File
from ring3.vfs.memory import MemoryFS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ring3.vfs.vnode import Opener, Vnode

NULL: Final = os.makedev(1, 3)
ZERO: Final = os.makedev(1, 5)
FULL: Final = os.makedev(1, 7)
RANDOM: Final = os.makedev(1, 8)
URANDOM: Final = os.makedev(1, 9)
TTY: Final = os.makedev(5, 0)
CONSOLE: Final = os.makedev(5, 1)
PTMX: Final = os.makedev(5, 2)

_ZEROS_MAX = 1 << 26            # bytes a read of zeros gives at most
_RANDOM_MAX = (1 << 25) - 1     # what Linux gives at most (random(4))


class NullFile(File):
    """/dev/null.  The offset of these devices is always 0."""

    __slots__ = ()

    def read(self, nbytes: int) -> bytes:
        self.check_readable()
        return self.contents(nbytes)

    def write(self, data: bytes) -> int:
        self.check_writable()
        return self.swallow(data)

    def pread(self, offset: int, nbytes: int) -> bytes:
        return self.read(nbytes)

    def pwrite(self, offset: int, data: bytes) -> int:
        return self.write(data)

    def seek(self, offset: int, whence: Whence) -> int:
        return 0

    def contents(self, nbytes: int) -> bytes:
        """What a read gives."""
        return b""

    def swallow(self, data: bytes) -> int:
        """What becomes of a write."""
        return len(data)


class ZeroFile(NullFile):
    """/dev/zero."""

    __slots__ = ()

    def contents(self, nbytes: int) -> bytes:
        return bytes(min(nbytes, _ZEROS_MAX))


class FullFile(ZeroFile):
    """/dev/full: there is never room."""

    __slots__ = ()

    def swallow(self, data: bytes) -> int:
        if not data:
            return 0
        raise ENOSPC


class RandomFile(NullFile):
    """/dev/random and /dev/urandom, which are one since Linux 5.6."""

    __slots__ = ("source",)

    def __init__(self, vnode: Vnode, flags: OpenFlags, source: Callable[[int], bytes]) -> None:
        super().__init__(vnode, flags)
        self.source = source

    def contents(self, nbytes: int) -> bytes:
        return self.source(min(nbytes, _RANDOM_MAX))


def maps_zeros(vnode: Vnode) -> bool:
    """Whether mapping the file gives fresh zero pages: /dev/zero (private as anonymous, shared as shared anonymous
    memory).
    """
    return vnode.type == FileType.CHR and vnode.getattr().rdev == ZERO


def _nothing_there(_flags: OpenFlags) -> File:
    raise ENXIO


def standard_devices(
    *,
    random: Callable[[int], bytes] = os.urandom,
    tty: Callable[[OpenFlags], File] = _nothing_there,
    ptmx: Callable[[OpenFlags], File] = _nothing_there,
    console: Callable[[OpenFlags], File] = _nothing_there,
) -> dict[int, Opener]:
    """What each device number opens.

    `tty` opens the controlling terminal of the process that asks, `ptmx` a new terminal pair, `console` the system's
    terminal; they raise ENXIO where there is none.  `random` gives that many random bytes.
    """

    def open_random(vnode: Vnode, flags: OpenFlags) -> File:
        return RandomFile(vnode, flags, random)

    def by(opener: Callable[[OpenFlags], File]) -> Opener:
        def open_device(vnode: Vnode, flags: OpenFlags) -> File:
            file = opener(flags)
            file.vnode = file.vnode or vnode        # what fstat(2) tells is the node that was opened
            return file

        return open_device

    return {
        NULL: NullFile, ZERO: ZeroFile, FULL: FullFile, RANDOM: open_random, URANDOM: open_random,
        TTY: by(tty), CONSOLE: by(console), PTMX: by(ptmx),
    }


_NODES = (
    (b"null", NULL, 0o666), (b"zero", ZERO, 0o666), (b"full", FULL, 0o666), (b"random", RANDOM, 0o666),
    (b"urandom", URANDOM, 0o666), (b"tty", TTY, 0o666), (b"console", CONSOLE, 0o600), (b"ptmx", PTMX, 0o666),
)
_LINKS = (
    (b"fd", b"/proc/self/fd"), (b"stdin", b"/proc/self/fd/0"), (b"stdout", b"/proc/self/fd/1"),
    (b"stderr", b"/proc/self/fd/2"), (b"ptm", b"ptmx"),         # the last is what NetBSD's openpty(3) opens
)


class DevFS(MemoryFS):
    """/dev: the nodes of `devices` that have usual names, the usual links, and the directories `pts` (to mount on) and
    `shm`.

    >>> sorted(entry.name for entry in DevFS(standard_devices()).root().readdir())[:3]
    [b'console', b'fd', b'full']
    """

    name = b"devtmpfs"
    source = b"udev"

    def __init__(self, devices: dict[int, Opener], *, limit: int | None = None) -> None:
        super().__init__(limit=limit, mode=0o755, devices=devices)
        root = self.root()
        for name, rdev, mode in _NODES:
            if rdev in devices:
                root.create(name, FileType.CHR | mode, 0, 0, rdev)
        for name, target in _LINKS:
            root.symlink(name, target, 0, 0)
        root.mkdir(b"pts", 0o755, 0, 0)
        root.mkdir(b"shm", 0o1777, 0, 0)
