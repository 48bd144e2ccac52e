"""/proc/PID/mounts, mountinfo and mountstats: what is mounted where, as one process sees it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ring3.errors import EINVAL

if TYPE_CHECKING:
    from ring3.proc.proc import Proc
    from ring3.vfs.mount import Mount

_UNREACHABLE = b"(unreachable)"


def mangle(text: bytes) -> bytes:
    r"""What would end a column, in octal.

    >>> mangle(b"a b")
    b'a\\040b'
    """
    for byte in b"\\ \t\n#":
        text = text.replace(bytes((byte,)), b"\\%03o" % byte)
    return text


def _seen(p: Proc) -> Iterator[tuple[Mount, bytes]]:
    """The mounts below the root of `p`, with their place.  Raises EINVAL for a process that has none any more."""
    fs = getattr(p, "fs", None)
    if fs is None or p.zombie:
        raise EINVAL
    for mount in p.system.mounts.seen_by(p.lookups.system):
        place = mount.path(fs.root)
        if not place.startswith(_UNREACHABLE):
            yield mount, mangle(place)


def mounts(p: Proc) -> bytes:
    """fstab(5)'s six columns."""
    return b"".join(
        b"%s %s %s %s 0 0\n" % (mangle(mount.fs.source), place, mangle(mount.fs.name), mount.options)
        for mount, place in _seen(p)
    )


def mountinfo(p: Proc) -> bytes:
    """proc_pid_mountinfo(5)."""
    lines = []
    for mount, place in _seen(p):
        dev = mount.root.vnode.getattr().dev
        parent = mount.covered.mount.mount_id if mount.covered is not None else 1
        lines.append(b"%d %d %d:%d / %s %s - %s %s %s\n" % (
            mount.mount_id, parent, os.major(dev), os.minor(dev), place, mount.options, mangle(mount.fs.name),
            mangle(mount.fs.source), b"ro" if mount.fs.readonly else b"rw",
        ))
    return b"".join(lines)


def mountstats(p: Proc) -> bytes:
    """proc_pid_mountstats(5)."""
    return b"".join(
        b"device %s mounted on %s with fstype %s\n" % (mangle(mount.fs.source), place, mangle(mount.fs.name))
        for mount, place in _seen(p)
    )
