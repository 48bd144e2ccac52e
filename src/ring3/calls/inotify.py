"""inotify_init, inotify_add_watch, inotify_rm_watch.

Source: inotify(7), inotify_add_watch(2), fs/notify/inotify/inotify_user.c.  Not here: what is told (`vfs/inotify.py`).
"""

from __future__ import annotations

from typing import Annotated, Final

from ring3.abi.flags import AT_FDCWD, Access, OpenFlags
from ring3.abi.notify import IN_ALL_EVENTS, IN_DONT_FOLLOW, IN_MASK_ADD, IN_MASK_CREATE, IN_ONLYDIR
from ring3.calls.descriptor import install
from ring3.calls.place import lookup, opened
from ring3.calls.sysarg import Fd, Int, Path
from ring3.calls.sysarg_files import Bits
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, ENOTDIR
from ring3.proc.proc import Thread
from ring3.vfs.access import permission
from ring3.vfs.inotify import InotifyFile

_CLOEXEC, _NONBLOCK = int(OpenFlags.CLOEXEC), int(OpenFlags.NONBLOCK)
_OTHER_BITS: Final = 0x6000 | 0x8000 | 0xF700_0000         # IN_UNMOUNT, IN_Q_OVERFLOW, IN_IGNORED and the flags

WatchMask = Annotated[int, Bits({
    0x1: "IN_ACCESS", 0x2: "IN_MODIFY", 0x4: "IN_ATTRIB", 0x8: "IN_CLOSE_WRITE", 0x10: "IN_CLOSE_NOWRITE", 0x20: "IN_OPEN",
    0x40: "IN_MOVED_FROM", 0x80: "IN_MOVED_TO", 0x100: "IN_CREATE", 0x200: "IN_DELETE", 0x400: "IN_DELETE_SELF",
    0x800: "IN_MOVE_SELF", 0x100_0000: "IN_ONLYDIR", 0x200_0000: "IN_DONT_FOLLOW", 0x400_0000: "IN_EXCL_UNLINK",
    0x1000_0000: "IN_MASK_CREATE", 0x2000_0000: "IN_MASK_ADD", 0x4000_0000: "IN_ISDIR", 0x8000_0000: "IN_ONESHOT",
})]
InitFlags = Annotated[int, Bits({_NONBLOCK: "IN_NONBLOCK", _CLOEXEC: "IN_CLOEXEC"})]


@syscall(pledge="rpath")
def sys_inotify_init1(t: Thread, flags: InitFlags) -> int:
    """A file that tells of what happens to others.  EINVAL, EMFILE."""
    if flags & ~(_CLOEXEC | _NONBLOCK):
        raise EINVAL
    made = InotifyFile(t.system.anonymous, OpenFlags(flags & _NONBLOCK))
    return install(t, made, cloexec=bool(flags & _CLOEXEC))


@syscall(pledge="rpath")
def sys_inotify_init(t: Thread) -> int:
    """inotify_init1 without flags."""
    return int(sys_inotify_init1.run(t, 0))


def _inotify(t: Thread, fd: int) -> InotifyFile:
    """Raises EBADF, EINVAL for another kind of file."""
    file = opened(t, fd)
    if not isinstance(file, InotifyFile):
        raise EINVAL
    return file


@syscall(pledge="rpath")
def sys_inotify_add_watch(t: Thread, fd: Fd, path: Path, mask: WatchMask) -> int:
    """Watch a file one may read; the number of the watch.  EBADF, EINVAL, EACCES, ENOTDIR, EEXIST, ENOSPC."""
    if not mask & (IN_ALL_EVENTS | _OTHER_BITS):
        raise EINVAL
    file = opened(t, fd)
    if mask & IN_MASK_ADD and mask & IN_MASK_CREATE:
        raise EINVAL
    if not isinstance(file, InotifyFile):
        raise EINVAL
    dentry = lookup(t, AT_FDCWD, path, follow=not mask & IN_DONT_FOLLOW, access=Access.READ)
    if mask & IN_ONLYDIR and not dentry.vnode.is_dir:
        raise ENOTDIR
    permission(t.proc.cred, dentry.vnode.getattr(), Access.READ)
    return file.watch(dentry, mask)


@syscall(pledge="rpath")
def sys_inotify_rm_watch(t: Thread, fd: Fd, wd: Int) -> int:
    """Watch it no longer.  EBADF, EINVAL."""
    _inotify(t, fd).unwatch(wd)
    return 0
