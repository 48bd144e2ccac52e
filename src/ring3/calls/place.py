"""Where the path of a call begins: directory descriptors, AT_FDCWD, AT_EMPTY_PATH.

Not here: walking (`vfs.namei`).  Source: openat(2), path_resolution(7).
"""

from __future__ import annotations

from ring3.abi.flags import AT_FDCWD, Access, AtFlags
from ring3.errors import EBADF, EFAULT, EINVAL, ENOTDIR
from ring3.proc.lookup import namei_context
from ring3.proc.proc import Thread
from ring3.vfs.dentry import Dentry
from ring3.vfs.file import File, PathFile
from ring3.vfs.namei import namei

_EMPTY_PATH, _NOFOLLOW = int(AtFlags.EMPTY_PATH), int(AtFlags.SYMLINK_NOFOLLOW)


def start(t: Thread, dirfd: int, path: bytes, *, empty_ok: bool = False, absolute_too: bool = False) -> Dentry | None:
    """The dentry a path is relative to; None for the current directory, or where it does not matter.

    `absolute_too`: it matters to absolute paths (RESOLVE_IN_ROOT).  Raises EBADF; ENOTDIR for a descriptor without a name.
    """
    if dirfd == AT_FDCWD or (path[:1] == b"/" and not absolute_too) or not (path or empty_ok):
        return None
    dentry = t.proc.fds.get(dirfd).dentry
    if dentry is None:
        raise ENOTDIR
    return dentry


def lookup(t: Thread, dirfd: int, path: bytes, *, follow: bool = True, access: Access = Access.EXISTS) -> Dentry:
    """The dentry of an existing file.  Raises what `namei` does, and EBADF."""
    return namei(namei_context(t), path, at=start(t, dirfd, path), follow=follow, access=access)


def subject(
    t: Thread, dirfd: int, path: bytes | None, flags: AtFlags, allowed: int, *, access: Access = Access.EXISTS
) -> Dentry | File:
    """What an *at call is about: a dentry, or the open file itself with AT_EMPTY_PATH.

    A null `path` is an empty one with that flag.  Raises EINVAL for flags beyond `allowed`, EFAULT, EBADF, and what `namei` does.
    """
    bits = int(flags)               # plain integers are quick to ask
    if bits & ~allowed:
        raise EINVAL
    if not path:
        if bits & _EMPTY_PATH:
            target = t.proc.fs.cwd if dirfd == AT_FDCWD else t.proc.fds.get(dirfd)
            if access and t.proc.veil is not None:
                _unveiled(t, target, access)
            return target
        if path is None:
            raise EFAULT
    follow = not bits & _NOFOLLOW
    return namei(namei_context(t), path, at=start(t, dirfd, path), follow=follow, access=access)


def _unveiled(t: Thread, target: Dentry | File, access: Access) -> None:
    """An open file was unveiled for what it was opened for; its attributes are another matter.  Raises ENOENT, EACCES."""
    dentry = target.dentry if isinstance(target, File) else target
    if dentry is not None:
        t.proc.veil.check_open(dentry, access)


def changing(t: Thread, fd: int) -> File:
    """The open file behind `fd`, whose attributes are to be changed.  Raises EBADF; ENOENT and EACCES where it is veiled."""
    file = opened(t, fd)
    if t.proc.veil is not None:
        _unveiled(t, file, Access.WRITE)
    return file


def opened(t: Thread, fd: int) -> File:
    """The open file behind `fd`, not one of O_PATH.  Raises EBADF."""
    file = t.proc.fds.get(fd)
    if isinstance(file, PathFile):
        raise EBADF
    return file
