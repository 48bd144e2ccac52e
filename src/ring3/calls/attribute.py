"""Changing what a file is: mode, owner, times, size.

Source: chmod(2), chown(2), utimensat(2), truncate(2), fallocate(2), fs/attr.c, fs/open.c, fs/utimes.c.
"""

from __future__ import annotations

import time
from typing import Final

from ring3.abi.filerecords import Seconds, UtimBuf
from ring3.abi.flags import ACCMODE, AT_FDCWD, Access, AtFlags, FileType, OpenFlags
from ring3.abi.notify import IN_ATTRIB, IN_MODIFY
from ring3.abi.records import AttrChange
from ring3.calls.place import changing, lookup, opened, subject
from ring3.calls.sysarg import AtFlag, DirFd, Fd, Int, Mode, Offset, Offset64, OptionalPath, Path
from ring3.calls.sysarg_files import Owner, TimespecPair, TimevalPair, UtimRecord
from ring3.calls.syscall import syscall
from ring3.calls.transfer import check_size_limit
from ring3.errors import (
    EFBIG,
    EINVAL,
    EISDIR,
    ENODEV,
    EOPNOTSUPP,
    EROFS,
    ESPIPE,
    ETXTBSY,
)
from ring3.proc.proc import Rlimit, Thread
from ring3.vfs.access import is_owner, permission, prepare_change
from ring3.vfs.dentry import Dentry
from ring3.vfs.file import MAX_OFFSET, File
from ring3.vfs.hoststream import HostStream
from ring3.vfs.vnode import Vnode

_NOFOLLOW_OR_EMPTY: Final = int(AtFlags.SYMLINK_NOFOLLOW | AtFlags.EMPTY_PATH)
_SECOND = 1_000_000_000
UTIME_NOW = 0x3FFF_FFFF
UTIME_OMIT = 0x3FFF_FFFE
FALLOC_KEEP_SIZE = 1
_FALLOC_MODES: Final = frozenset((0, 1, 3, 8, 0x10, 0x11, 0x20, 0x40, 0x41))


def _writable_vnode(target: Dentry | File) -> Vnode | None:
    """The vnode of something about to change; None for files without one, which keep no attributes.  Raises EROFS."""
    dentry = target.dentry if isinstance(target, File) else target
    if dentry is not None and dentry.mount.readonly:
        raise EROFS
    return target.vnode


def change(t: Thread, target: Dentry | File, wanted: AttrChange) -> int:
    """Change attributes.  Raises EPERM, EROFS."""
    vnode = _writable_vnode(target)
    if vnode is not None:
        vnode.setattr(prepare_change(t.proc.cred, vnode.getattr(), wanted))
        _tell(target, IN_ATTRIB)
    return 0


def _tell(target: Dentry | File, what: int) -> None:
    """Who watches the file hears of it (`vfs/inotify.py`)."""
    dentry = target.dentry if isinstance(target, File) else target
    if dentry is not None and dentry.mount.marks is not None:
        dentry.mount.marks.tell(dentry, what)


# --- mode
def _chmod(t: Thread, target: Dentry | File, mode: int) -> int:
    if target.vnode is not None and target.vnode.type == FileType.LNK:
        raise EOPNOTSUPP
    return change(t, target, AttrChange(mode=mode & 0o7777))


@syscall(pledge="fattr")
def sys_chmod(t: Thread, path: Path, mode: Mode) -> int:
    """Change a file's permission bits.  EPERM, EROFS."""
    return _chmod(t, lookup(t, AT_FDCWD, path, access=Access.WRITE), mode)


@syscall(pledge="fattr")
def sys_fchmod(t: Thread, fd: Fd, mode: Mode) -> int:
    """chmod of an open file.  EBADF."""
    return _chmod(t, changing(t, fd), mode)


@syscall(pledge="fattr")
def sys_fchmodat(t: Thread, dirfd: DirFd, path: Path, mode: Mode) -> int:
    """chmod relative to a directory."""
    return _chmod(t, lookup(t, dirfd, path, access=Access.WRITE), mode)


@syscall(pledge="fattr")
def sys_fchmodat2(t: Thread, dirfd: DirFd, path: Path, mode: Mode, flags: AtFlag) -> int:
    """fchmodat with flags.  EOPNOTSUPP for a link itself."""
    return _chmod(t, subject(t, dirfd, path, flags, _NOFOLLOW_OR_EMPTY, access=Access.WRITE), mode)


@syscall(pledge="stdio")
def sys_umask(t: Thread, mask: Mode) -> int:
    """Set the mask of permissions that new files do not get; the old one."""
    fs = t.proc.fs
    old, fs.umask = fs.umask, mask & 0o777
    return old


# --- owner
def chown_at(t: Thread, dirfd: int, path: bytes, owner: tuple[int | None, int | None], flags: AtFlags) -> int:
    """All chowns by path.  Raises EPERM, EROFS."""
    target = subject(t, dirfd, path, flags, _NOFOLLOW_OR_EMPTY, access=Access.WRITE)
    return change(t, target, AttrChange(uid=owner[0], gid=owner[1]))


@syscall(pledge="chown")
def sys_chown(t: Thread, path: Path, uid: Owner, gid: Owner) -> int:
    """Change a file's owner and group; -1 leaves one."""
    return chown_at(t, AT_FDCWD, path, (uid, gid), AtFlags(0))


@syscall(pledge="chown")
def sys_lchown(t: Thread, path: Path, uid: Owner, gid: Owner) -> int:
    """chown of a link itself."""
    return chown_at(t, AT_FDCWD, path, (uid, gid), AtFlags.SYMLINK_NOFOLLOW)


@syscall(pledge="chown")
def sys_fchown(t: Thread, fd: Fd, uid: Owner, gid: Owner) -> int:
    """chown of an open file."""
    return change(t, changing(t, fd), AttrChange(uid=uid, gid=gid))


@syscall(pledge="chown")
def sys_fchownat(t: Thread, dirfd: DirFd, path: Path, uid: Owner, gid: Owner, flags: AtFlag) -> int:
    """chown relative to a directory."""
    return chown_at(t, dirfd, path, (uid, gid), flags)


# --- times
def set_times(
    t: Thread, dirfd: int, path: bytes | None, times: tuple[Seconds, Seconds] | None, flags: AtFlags, *, by_fd: bool = False
) -> int:
    """utimensat(2) once the times are (s, ns); None means now.  Raises EINVAL, EACCES, EPERM, EROFS."""
    if times is not None:
        if all(part.fraction == UTIME_OMIT for part in times):
            return 0
        if any(part.fraction not in (UTIME_NOW, UTIME_OMIT) and not 0 <= part.fraction < _SECOND for part in times):
            raise EINVAL
    if by_fd and path is None and dirfd != AT_FDCWD:
        if flags:
            raise EINVAL
        target: Dentry | File = changing(t, dirfd)
    else:
        target = subject(t, dirfd, path, flags, _NOFOLLOW_OR_EMPTY, access=Access.WRITE)
    vnode = _writable_vnode(target)
    if vnode is None:
        return 0
    now = time.time_ns()
    if times is None or all(part.fraction == UTIME_NOW for part in times):
        attr = vnode.getattr()
        if not is_owner(t.proc.cred, attr):
            permission(t.proc.cred, attr, Access.WRITE)
        vnode.setattr(AttrChange(atime=now, mtime=now))
        _tell(target, IN_ATTRIB)
        return 0
    atime, mtime = (
        None if part.fraction == UTIME_OMIT else now if part.fraction == UTIME_NOW else part.seconds * _SECOND + part.fraction
        for part in times
    )
    return change(t, target, AttrChange(atime=atime, mtime=mtime))


def from_microseconds(times: tuple[Seconds, Seconds] | None) -> tuple[Seconds, Seconds] | None:
    """Two struct timeval as `Seconds` of ns.  Raises EINVAL."""
    if times is None:
        return None
    if any(not 0 <= part.fraction < 1_000_000 for part in times):
        raise EINVAL
    return Seconds(times[0].seconds, times[0].fraction * 1000), Seconds(times[1].seconds, times[1].fraction * 1000)


@syscall(pledge="fattr")
def sys_utimensat(t: Thread, dirfd: DirFd, path: OptionalPath, times: TimespecPair, flags: AtFlag) -> int:
    """Set a file's access and modification time."""
    return set_times(t, dirfd, path, times, flags, by_fd=True)


@syscall(pledge="fattr")
def sys_utimes(t: Thread, path: Path, times: TimevalPair) -> int:
    """Set times to the microsecond."""
    return set_times(t, AT_FDCWD, path, from_microseconds(times), AtFlags(0))


@syscall(pledge="fattr")
def sys_futimesat(t: Thread, dirfd: DirFd, path: OptionalPath, times: TimevalPair) -> int:
    """utimes relative to a directory."""
    return set_times(t, dirfd, path, from_microseconds(times), AtFlags(0), by_fd=True)


@syscall(pledge="fattr")
def sys_utime(t: Thread, path: Path, times: UtimRecord) -> int:
    """Set times to the second."""
    return set_times(t, AT_FDCWD, path, _seconds(times), AtFlags(0))


def _seconds(times: UtimBuf | None) -> tuple[Seconds, Seconds] | None:
    return None if times is None else (Seconds(times.atime, 0), Seconds(times.mtime, 0))


# --- size
def check_growth(t: Thread, vnode: Vnode, size: int) -> None:
    """Raises EFBIG, with SIGXFSZ, for a file that would grow beyond RLIMIT_FSIZE."""
    limit = t.proc.rlimit(Rlimit.FSIZE)
    if size > limit and size > vnode.getattr().size:
        check_size_limit(t, size, limit)


def truncate_path(t: Thread, path: bytes, length: int) -> int:
    """truncate(2).  Raises EINVAL, EISDIR, EACCES, EROFS, ETXTBSY, EFBIG."""
    if length < 0:
        raise EINVAL
    dentry = lookup(t, AT_FDCWD, path, access=Access.WRITE)
    vnode = dentry.vnode
    if vnode.type == FileType.DIR:
        raise EISDIR
    if vnode.type != FileType.REG:
        raise EINVAL
    if dentry.mount.readonly:
        raise EROFS
    permission(t.proc.cred, vnode.getattr(), Access.WRITE)
    if vnode.denied_writers > 0:
        raise ETXTBSY
    check_growth(t, vnode, length)
    if t.system.guard is not None:
        t.system.guard.opens(dentry, writes=True)
    vnode.truncate(length)
    _tell(dentry, IN_MODIFY)
    return 0


def truncate_file(t: Thread, fd: int, length: int) -> int:
    """ftruncate(2).  Raises EINVAL, EBADF, EFBIG, EPERM (seals)."""
    if length < 0:
        raise EINVAL
    file = opened(t, fd)
    if file.flags & ACCMODE == OpenFlags.RDONLY:
        raise EINVAL
    if isinstance(file, HostStream):
        file.truncate(length)
        return 0
    if file.vnode is None or file.vnode.type != FileType.REG:
        raise EINVAL
    check_growth(t, file.vnode, length)
    file.vnode.truncate(length)
    file.tell(IN_MODIFY)
    return 0


@syscall(pledge="wpath")
def sys_truncate(t: Thread, path: Path, length: Offset) -> int:
    """Set a file's size."""
    return truncate_path(t, path, length)


@syscall(pledge="stdio")
def sys_ftruncate(t: Thread, fd: Fd, length: Offset) -> int:
    """Set an open file's size."""
    return truncate_file(t, fd, length)


@syscall(pledge="wpath")
def sys_truncate64(t: Thread, path: Path, length: Offset64) -> int:
    """truncate with a 64-bit length on 32-bit systems."""
    return truncate_path(t, path, length)


@syscall(pledge="stdio")
def sys_ftruncate64(t: Thread, fd: Fd, length: Offset64) -> int:
    """ftruncate with a 64-bit length on 32-bit systems."""
    return truncate_file(t, fd, length)


@syscall(pledge="stdio")
def sys_fallocate(t: Thread, fd: Fd, mode: Int, offset: Offset64, length: Offset64) -> int:
    """Allocate or punch room in a file.  EBADF, EINVAL, EOPNOTSUPP, ESPIPE, EISDIR, ENODEV, EFBIG."""
    file = opened(t, fd)
    if offset < 0 or length <= 0:
        raise EINVAL
    if mode not in _FALLOC_MODES:
        raise EOPNOTSUPP
    file.check_writable()
    vnode = file.vnode
    kind = file.getattr().mode & 0o170000
    if kind == FileType.FIFO:
        raise ESPIPE
    if kind == FileType.DIR:
        raise EISDIR
    if vnode is None or vnode.type != FileType.REG:
        raise ENODEV
    if offset + length > MAX_OFFSET:
        raise EFBIG
    if not mode & FALLOC_KEEP_SIZE:
        check_growth(t, vnode, offset + length)
    vnode.fallocate(mode, offset, length)
    return 0

