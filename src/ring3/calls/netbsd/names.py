"""NetBSD's calls that make, remove and rename names: a slash behind a symbolic link means what it leads to, whatever the call.

`mkdir("link/")` makes the directory that a dangling link names, `rmdir("link/")` removes the one it leads to, `rename("link/", …)`
moves it; Linux refuses all three.  unlink of a directory is EPERM, as POSIX says it.
Sources: mkdir(2), rename(2), unlink(2), mkfifo(2), mknod(2), symlink(7), sys/kern/vfs_lookup.c (lookup_parsepath, namei_follow).
"""

from __future__ import annotations

from typing import Final

from ring3.abi.flags import AT_FDCWD, AtFlags, FileType
from ring3.calls.directory import mkdir_at, mknod_at
from ring3.calls.place import lookup, start
from ring3.calls.sysarg import AtFlag, DirFd, Mode, Path
from ring3.calls.sysarg_files import Device, NodeMode
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, EISDIR, ELOOP, EPERM, Errno
from ring3.proc.lookup import namei_context
from ring3.proc.proc import Thread
from ring3.vfs import names

_MAXSYMLINKS: Final = 32
_FIFO: Final = int(FileType.FIFO)
_REMOVEDIR: Final = int(AtFlags.REMOVEDIR)


def through(t: Thread, dirfd: int, path: bytes) -> bytes:
    """The path without a link at its end, where a slash stands behind that.  Raises ELOOP.

    What cannot be looked up is left to the call, which knows what to say of it.
    """
    for _ in range(_MAXSYMLINKS):
        bare = path.rstrip(b"/")
        if bare == path or not bare:
            return path
        try:
            vnode = lookup(t, dirfd, bare, follow=False).vnode
        except Errno:
            return path
        if vnode.type != FileType.LNK:
            return path
        target = vnode.readlink()
        path = (target if target[:1] == b"/" else bare[: bare.rfind(b"/") + 1] + target) + b"/"
    raise ELOOP


# --- making
@syscall(pledge="cpath")
def sys_mkdir(t: Thread, path: Path, mode: Mode) -> int:
    """Make a directory.  EEXIST, ENOENT, EACCES, EROFS."""
    return mkdir_at(t, AT_FDCWD, through(t, AT_FDCWD, path), mode)


@syscall(pledge="cpath")
def sys_mkdirat(t: Thread, dirfd: DirFd, path: Path, mode: Mode) -> int:
    """mkdir relative to a directory."""
    return mkdir_at(t, dirfd, through(t, dirfd, path), mode)


@syscall(pledge="dpath")
def sys_mkfifo(t: Thread, path: Path, mode: Mode) -> int:
    """Make a FIFO.  EEXIST, EACCES."""
    return mknod_at(t, AT_FDCWD, path, _FIFO | mode & 0o7777, 0)


@syscall(pledge="dpath")
def sys_mkfifoat(t: Thread, dirfd: DirFd, path: Path, mode: Mode) -> int:
    """mkfifo relative to a directory."""
    return mknod_at(t, dirfd, path, _FIFO | mode & 0o7777, 0)


@syscall(pledge="dpath")
def sys___mknod50(t: Thread, path: Path, mode: NodeMode, device: Device) -> int:
    """Make a device, or a FIFO; for root alone.  EPERM, EINVAL."""
    return _mknod(t, AT_FDCWD, path, mode, device)


@syscall(pledge="dpath")
def sys_mknodat(t: Thread, dirfd: DirFd, path: Path, mode: NodeMode, device: Device) -> int:
    """mknod relative to a directory."""
    return _mknod(t, dirfd, path, mode, device)


def _mknod(t: Thread, dirfd: int, path: bytes, mode: int, device: int) -> int:
    """Raises EPERM for the unprivileged, EINVAL for what is neither device nor FIFO."""
    if not t.proc.cred.privileged:
        raise EPERM
    if mode & 0o170000 not in (FileType.CHR, FileType.BLK, FileType.FIFO):
        raise EINVAL
    return mknod_at(t, dirfd, path, mode, device)


# --- removing
def _unlink(t: Thread, dirfd: int, path: bytes) -> int:
    path = through(t, dirfd, path)
    try:
        names.unlink(namei_context(t), path, at=start(t, dirfd, path))
    except EISDIR:
        raise EPERM from None
    return 0


def _rmdir(t: Thread, dirfd: int, path: bytes) -> int:
    path = through(t, dirfd, path)
    names.rmdir(namei_context(t), path, at=start(t, dirfd, path))
    return 0


@syscall(pledge="cpath")
def sys_unlink(t: Thread, path: Path) -> int:
    """Take a name away.  EPERM for a directory's, ENOENT, EACCES, EBUSY."""
    return _unlink(t, AT_FDCWD, path)


@syscall(pledge="cpath")
def sys_rmdir(t: Thread, path: Path) -> int:
    """Remove an empty directory.  ENOTEMPTY, ENOTDIR, EINVAL, EBUSY."""
    return _rmdir(t, AT_FDCWD, path)


@syscall(pledge="cpath")
def sys_unlinkat(t: Thread, dirfd: DirFd, path: Path, flags: AtFlag) -> int:
    """unlink, or with AT_REMOVEDIR rmdir, relative to a directory.  EINVAL."""
    if int(flags) & ~_REMOVEDIR:
        raise EINVAL
    return _rmdir(t, dirfd, path) if flags else _unlink(t, dirfd, path)


# --- renaming
def _rename(t: Thread, old_dirfd: int, old: bytes, new_dirfd: int, new: bytes) -> int:
    old, new = through(t, old_dirfd, old), through(t, new_dirfd, new)
    names.rename(namei_context(t), old, new, at=start(t, old_dirfd, old), new_at=start(t, new_dirfd, new))
    return 0


@syscall(pledge="cpath")
def sys_rename(t: Thread, old: Path, new: Path) -> int:
    """Move a name, replacing what has the new one."""
    return _rename(t, AT_FDCWD, old, AT_FDCWD, new)


@syscall(pledge="cpath")
def sys___posix_rename(t: Thread, old: Path, new: Path) -> int:
    """rename as POSIX has it, which here is the only one."""
    return _rename(t, AT_FDCWD, old, AT_FDCWD, new)


@syscall(pledge="cpath")
def sys_renameat(t: Thread, old_dirfd: DirFd, old: Path, new_dirfd: DirFd, new: Path) -> int:
    """rename relative to directories."""
    return _rename(t, old_dirfd, old, new_dirfd, new)
