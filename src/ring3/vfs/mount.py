"""Mounts: which file system stands where, and what it forbids there.  One `MountTable` per kernel.

Invariant: every mount but the first covers a dentry of an older one; a dentry is covered by at most one mount, so
mounting on a covered place covers the root of what is there.  Not here: crossing mounts while walking (`dentry.top`,
`namei.py`).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from ring3.abi.flags import MountFlags
from ring3.errors import EBUSY, EINVAL, ENOENT, ENOTDIR
from ring3.vfs.dentry import Dentry

if TYPE_CHECKING:
    from ring3.vfs.inotify import Marks
    from ring3.vfs.vnode import FileSystem

_RDONLY = int(MountFlags.RDONLY)     # quick to ask
KEPT_DIRECTORIES = 256      # per mount; each may hold a host descriptor

_OPTIONS = (
    (MountFlags.NOSUID, b"nosuid"), (MountFlags.NODEV, b"nodev"), (MountFlags.NOEXEC, b"noexec"),
    (MountFlags.NOATIME, b"noatime"), (MountFlags.NODIRATIME, b"nodiratime"), (MountFlags.RELATIME, b"relatime"),
)


class Renames:
    """How often a name changed in a kernel: what is remembered about paths holds while `count` stays."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Mount:
    """One file system at one place.  `covered` is the dentry it hides; None for the root of all.

    `only`: the system whose programs alone see it (their /proc), empty for everybody's.
    `marks`: who watches files of it (`inotify.py`), None for nobody.
    """

    __slots__ = ("_recent", "covered", "flags", "fs", "marks", "mount_id", "only", "renames", "root")

    def __init__(
        self, fs: FileSystem, flags: MountFlags, covered: Dentry | None, mount_id: int, renames: Renames, only: str = ""
    ) -> None:
        self.renames = renames
        self.fs = fs
        self.flags = flags
        self.only = only
        self.covered = covered
        self.mount_id = mount_id
        self.marks: Marks | None = None
        self._recent: deque[Dentry] = deque(maxlen=KEPT_DIRECTORIES)
        self.root = Dentry(None, b"/", fs.root(), self)

    @property
    def readonly(self) -> bool:
        """Whether nothing may change through this mount."""
        return int(self.flags) & _RDONLY != 0 or self.fs.readonly

    @property
    def options(self) -> bytes:
        """The fourth column of /proc/mounts."""
        words = [b"ro" if self.readonly else b"rw"]
        words += [word for flag, word in _OPTIONS if self.flags & flag]
        return b",".join(words)

    def path(self, root: Dentry) -> bytes:
        """Where it is mounted, seen from `root`."""
        return self.root.path(root)

    def keep(self, dentry: Dentry) -> None:
        """Hold a directory that was just met, so that meeting it again is cheap."""
        self._recent.append(dentry)

    def unkeep(self, dentry: Dentry) -> None:
        """Let a removed directory go at once."""
        if dentry.vnode.is_dir:
            with suppress(ValueError):      # it fell out long ago
                self._recent.remove(dentry)

    def __repr__(self) -> str:
        return f"<Mount {self.mount_id} {self.fs.name.decode()}>"


class MountTable:
    """All mounts of a kernel, oldest first.

    >>> from ring3.vfs.memory import MemoryFS
    >>> table = MountTable()
    >>> table.mount(MemoryFS(), None).root.path(table.root)
    b'/'
    """

    __slots__ = ("_mounts", "_next_dev", "_next_id", "_renames")

    def __init__(self) -> None:
        self._mounts: list[Mount] = []
        self._renames = Renames()
        self._next_id = 21          # as on a booted Linux: small, not 0
        self._next_dev = 32         # minor numbers of anonymous devices

    @property
    def root(self) -> Dentry:
        """The root of all names.  Raises ENOENT while nothing is mounted."""
        if not self._mounts:
            raise ENOENT("nothing is mounted")
        return self._mounts[0].root.top()

    def mount(self, fs: FileSystem, at: Dentry | None, flags: MountFlags = MountFlags.NONE, only: str = "") -> Mount:
        """Put `fs` at the directory (or, for the root of a plain file, the file) `at`; None makes it the root of all.

        A file system without a device number gets one.  Raises EBUSY for a second root, and where programs of a system see
        something else already; ENOTDIR for kinds that do not fit, ENOENT for a deleted place.
        """
        if (at is None) != (not self._mounts):
            raise EBUSY if at is None else EINVAL
        if fs.dev == 0:
            fs.dev = self.anonymous_dev()
        if at is not None:
            at = at.top(only)
            if at.deleted:
                raise ENOENT
            if at.mounted is not None:
                raise EBUSY
        mount = Mount(fs, flags, at, self._next_id, self._renames, only)
        if at is not None:
            if at.vnode.is_dir != mount.root.vnode.is_dir:
                raise ENOTDIR
            at.mounted = mount
        self._next_id += 1
        self._mounts.append(mount)
        return mount

    def anonymous_dev(self) -> int:
        """A device number for a file system without a device."""
        self._next_dev += 1
        return os.makedev(0, self._next_dev)

    def unmount(self, mount: Mount) -> None:
        """Uncover the place.  Open files go on living.  Raises EBUSY with a mount below or for the root, EINVAL for a
        stranger.
        """
        if mount not in self._mounts:
            raise EINVAL
        if mount.covered is None or any(
            other.covered is not None and other.covered.mount is mount for other in self._mounts
        ):
            raise EBUSY
        mount.covered.mounted = None
        self._mounts.remove(mount)

    def seen_by(self, system: str) -> Iterator[Mount]:
        """Those that programs of a system see, oldest first."""
        return (mount for mount in tuple(self._mounts) if mount.only in ("", system))

    def close(self) -> None:
        """Give every file system's host descriptors back; newest first."""
        for mount in reversed(self._mounts):
            mount.fs.close()

    def __iter__(self) -> Iterator[Mount]:
        return iter(tuple(self._mounts))

    def __len__(self) -> int:
        return len(self._mounts)
