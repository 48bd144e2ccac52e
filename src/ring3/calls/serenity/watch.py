"""Inode watchers of SerenityOS: create_inode_watcher, inode_watcher_add_watch, inode_watcher_remove_watch.

Source: Kernel/Syscalls/inode_watcher.cpp (reference, sections 2.3 and 4.5).  Not here: what a watcher sees (`vfs/inodewatch.py`).
"""

from __future__ import annotations

from typing import Annotated, Final

from ring3.abi.flags import AT_FDCWD, Access, OpenFlags
from ring3.calls.serenity.argument import Params, Path
from ring3.calls.serenity.place import find, most_descriptors
from ring3.calls.sysarg import Fd, Int
from ring3.calls.sysarg_files import Bits
from ring3.calls.syscall import syscall
from ring3.errors import EBADF, EMFILE
from ring3.namedtuple import NamedTuple
from ring3.proc.proc import Thread
from ring3.vfs.inodewatch import InodeWatcher

NONBLOCK, CLOSE_ON_EXEC = 1, 2
_EVENTS: Final = {1: "MetadataModified", 2: "ContentModified", 4: "Deleted", 8: "ChildCreated", 16: "ChildDeleted"}

WatcherFlags = Annotated[int, Bits({NONBLOCK: "Nonblock", CLOSE_ON_EXEC: "CloseOnExec"})]
EventMask = Annotated[int, Bits(_EVENTS)]


class AddWatchParams(NamedTuple):
    """SC_inode_watcher_add_watch_params."""

    path: Path
    fd: Fd
    mask: EventMask


@syscall(pledge="rpath")
def sys_create_inode_watcher(t: Thread, flags: WatcherFlags) -> int:
    """A file that tells of changes of others.  EMFILE."""
    watcher = InodeWatcher(t.system.anonymous, t.system, OpenFlags.NONBLOCK if flags & NONBLOCK else OpenFlags.RDONLY)
    limit = most_descriptors(t)
    if t.proc.fds.lowest() >= limit:
        raise EMFILE
    return t.proc.fds.install(watcher, cloexec=bool(flags & CLOSE_ON_EXEC), limit=limit)


def _watcher(t: Thread, fd: int) -> InodeWatcher:
    """Raises EBADF for any other file too."""
    file = t.proc.fds.get(fd)
    if not isinstance(file, InodeWatcher):
        raise EBADF
    return file


@syscall(pledge="rpath")
def sys_inode_watcher_add_watch(t: Thread, params: Annotated[AddWatchParams, Params(AddWatchParams, "<QQiI")]) -> int:
    """Watch a file for the events of a mask; the number of the watch.  EBADF, EEXIST, and what a look-up refuses with."""
    watcher = _watcher(t, params.fd)
    return watcher.watch(find(t, AT_FDCWD, params.path, access=Access.EXISTS).vnode, params.mask)


@syscall(pledge="")
def sys_inode_watcher_remove_watch(t: Thread, fd: Fd, wd: Int) -> int:
    """Watch it no longer.  EBADF, ENOENT."""
    _watcher(t, fd).unwatch(wd)
    return 0
