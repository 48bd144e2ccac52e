"""What programs of a kernel wrote: the differences between what they see and what is on the host.

Only of what stays in memory: the root, mounts that are "cow", and file systems that are nothing but memory (a /tmp that the root
does not have).  What is mounted "rw" is on the host already.  Not here: how a change is kept (`vfs/overlay.py`).
"""

from __future__ import annotations

import errno as host_errno
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ring3.errors import Errno
from ring3.namedtuple import NamedTuple
from ring3.vfs.memory import MemoryFS
from ring3.vfs.overlay import OverlayFS

if TYPE_CHECKING:
    from ring3.proc.system import System
    from ring3.vfs.mount import Mount
    from ring3.vfs.vnode import Vnode


class Change(NamedTuple):
    """One difference.  `kind` is "added", "modified" or "deleted"; a directory that was deleted stands for all of it."""

    kind: str
    path: str


def changes(system: System, below: str = "/") -> list[Change]:
    """What is different at or below a path of the guest, by path.  On the kernel's thread.

    Raises OSError for a directory of the host that may not be read.
    """
    top = b"/" + os.fsencode(below).strip(b"/")
    inside = top.rstrip(b"/") + b"/"
    mounts = {mount.path(system.mounts.root): mount for mount in system.mounts}
    found: dict[bytes, str] = {}
    try:
        for place, mount in mounts.items():
            prefix = place.rstrip(b"/")
            for kind, path in _of_mount(mount):
                at = prefix + path
                if (at == top or at.startswith(inside)) and not any(_is_in(at, other) for other in mounts if other != place):
                    found[at] = kind
    except Errno as refusal:
        number = getattr(host_errno, refusal.name, 0)
        raise OSError(number, f"{os.strerror(number)}, so what was written there cannot be told", os.fsdecode(top)) from None
    return [Change(kind, os.fsdecode(path)) for path, kind in sorted(found.items())]


def _is_in(path: bytes, place: bytes) -> bool:
    """Whether a mount hides it, or was made for it."""
    return place != b"/" and (path == place or path.startswith(place + b"/"))


def _of_mount(mount: Mount) -> Iterator[tuple[str, bytes]]:
    if isinstance(mount.fs, OverlayFS):
        yield from mount.fs.changes()
    elif type(mount.fs) is MemoryFS:
        yield from _added(mount.fs.root(), b"")


def _added(directory: Vnode, path: bytes) -> Iterator[tuple[str, bytes]]:
    for entry in directory.readdir():
        at = path + b"/" + entry.name
        yield "added", at
        node = directory.lookup(entry.name)
        if node.is_dir:
            yield from _added(node, at)
