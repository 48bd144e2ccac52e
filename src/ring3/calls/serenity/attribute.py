"""SerenityOS's calls that tell and change what a file is: stat, faccessat, chmod, chown, times.

Only the owner and root change anything, the times too, whoever may write the file; chown drops the set-id bits of every file.
Of a file without an inode little is known: of a pipe and a socket that it is one, everything else is EBADF.
Stated result: the mode of a symbolic link itself is not changed (EOPNOTSUPP).
Source: VirtualFileSystem.cpp, Kernel/Syscalls/{stat,faccessat,chmod,chown,utime,utimensat}.cpp (reference, sections 4.5 to 4.9).
"""

from __future__ import annotations

import time
from typing import Annotated, Final

from ring3.abi.filerecords import RawTimespec, Seconds, UtimBuf
from ring3.abi.flags import AT_FDCWD, S_IFMT, S_ISGID, S_ISUID, Access, FileType
from ring3.abi.records import Attr, AttrChange
from ring3.calls.serenity.anonymous import AnonymousFile
from ring3.calls.serenity.argument import Params, Path, copy_path
from ring3.calls.serenity.place import PathAt, find, find_for
from ring3.calls.sysarg import AccessMode, DirFd, Fd, Int, Mode, Size
from ring3.calls.sysarg_files import Bits, Owner, StatOut, TimePair, UtimRecord
from ring3.calls.syscall import syscall
from ring3.errors import EACCES, EBADF, EINVAL, EOPNOTSUPP, EPERM, EROFS
from ring3.namedtuple import NamedTuple
from ring3.proc.proc import Thread
from ring3.vfs.access import is_owner, permission
from ring3.vfs.dentry import Dentry
from ring3.vfs.file import File
from ring3.vfs.inodewatch import InodeWatcher

AT_SYMLINK_NOFOLLOW, AT_EACCESS = 0x100, 0x400
UTIME_OMIT, UTIME_NOW = -1, -2
_SECOND: Final = 1_000_000_000
_SETID: Final = S_ISUID | S_ISGID
_BARE: Final = (FileType.FIFO, FileType.SOCK)
_AT_FLAGS: Final = {AT_SYMLINK_NOFOLLOW: "AT_SYMLINK_NOFOLLOW", AT_EACCESS: "AT_EACCESS"}

AtFlagBits = Annotated[int, Bits(_AT_FLAGS)]


# --- what it is
class StatParams(NamedTuple):
    """SC_stat_params."""

    path: Path
    statbuf: StatOut
    dirfd: DirFd
    follow_symlinks: Int


@syscall(pledge="rpath")
def sys_stat(t: Thread, params: Annotated[StatParams, Params(StatParams, "<QQQii")]) -> int:
    """What a file is, links followed if that is wished.  ENOENT, ENOTDIR, EACCES, ELOOP, EFAULT."""
    dentry = find(t, params.dirfd, params.path, follow=bool(params.follow_symlinks))
    params.statbuf.put(dentry.vnode.getattr())
    return 0


@syscall(pledge="stdio")
def sys_fstat(t: Thread, fd: Fd, out: StatOut) -> int:
    """What an open file is.  EBADF, for what is not of a file system too; EFAULT."""
    file = t.proc.fds.get(fd)
    if isinstance(file, AnonymousFile | InodeWatcher):
        raise EBADF
    attr = file.getattr()
    kind = attr.mode & S_IFMT
    out.put(Attr(0, 0, kind, *(0,) * 10) if file.dentry is None and kind in _BARE else attr)
    return 0


class FaccessatParams(NamedTuple):
    """SC_faccessat_params."""

    dirfd: DirFd
    path: Path
    mode: AccessMode
    flags: AtFlagBits


@syscall(pledge="rpath")
def sys_faccessat(t: Thread, params: Annotated[FaccessatParams, Params(FaccessatParams, "<i4xQQii")]) -> int:
    """Whether the real (with AT_EACCESS the effective) ids may; 0 may all.  EINVAL, EACCES, EROFS."""
    flags, mode = params.flags, int(params.mode)
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EACCESS):
        raise EINVAL
    dentry = find_for(t, params.dirfd, params.path, Access(mode & 7), follow=not flags & AT_SYMLINK_NOFOLLOW)
    cred = t.proc.cred if flags & AT_EACCESS else t.proc.cred.with_real_for_files()
    attr = dentry.vnode.getattr()
    for asked in (Access.READ, Access.WRITE, Access.EXECUTE):
        if not mode & asked:
            continue
        if not cred.privileged:
            permission(cred, attr, asked)
        if asked is Access.WRITE and dentry.mount.readonly:
            raise EROFS
    return 0


# --- changes
def _check_owner(t: Thread, dentry: Dentry, attr: Attr, *, otherwise: type[EPERM | EACCES] = EPERM) -> None:
    """Raises `otherwise` for somebody else's file, EROFS."""
    if not is_owner(t.proc.cred, attr):
        raise otherwise
    if dentry.mount.readonly:
        raise EROFS


def _inode(t: Thread, fd: int) -> Dentry:
    """The name by which a file was opened.  Raises EBADF, for what has none too; EACCES where it is veiled."""
    file: File = t.proc.fds.get(fd)
    if file.dentry is None or file.vnode is None:
        raise EBADF
    if t.proc.veil is not None:
        t.proc.veil.check_open(file.dentry, Access.WRITE)
    return file.dentry


def _chmod(t: Thread, dentry: Dentry, mode: int) -> int:
    _check_owner(t, dentry, dentry.vnode.getattr())
    if dentry.vnode.type == FileType.LNK:
        raise EOPNOTSUPP
    dentry.vnode.setattr(AttrChange(mode=mode & 0o7777))
    return 0


class ChmodParams(NamedTuple):
    """SC_chmod_params."""

    dirfd: DirFd
    path: Path
    mode: Mode
    follow_symlinks: Int


@syscall(pledge="fattr")
def sys_chmod(t: Thread, params: Annotated[ChmodParams, Params(ChmodParams, "<i4xQQH2xi")]) -> int:
    """Change a file's permission bits.  EPERM, EROFS."""
    dentry = find_for(t, params.dirfd, params.path, Access.WRITE, follow=bool(params.follow_symlinks))
    return _chmod(t, dentry, params.mode)


@syscall(pledge="fattr")
def sys_fchmod(t: Thread, fd: Fd, mode: Mode) -> int:
    """chmod of an open file, or of the one that binding a socket will make.  EBADF for what is no file of a file system."""
    if t.proc.fds.get(fd).is_socket:
        from ring3.calls.serenity import socketfile

        return socketfile.set_mode(t, fd, mode)
    return _chmod(t, _inode(t, fd), mode)


def _chown(t: Thread, dentry: Dentry, uid: int | None, gid: int | None) -> int:
    """Raises EPERM for anything but one's own file, to oneself and to a group of one's own; EROFS."""
    cred, attr = t.proc.cred, dentry.vnode.getattr()
    if not cred.privileged:
        if cred.fsuid != attr.uid or (uid is not None and uid != cred.fsuid):
            raise EPERM
        if gid is not None and gid not in (cred.rgid, cred.egid) and gid not in cred.groups:
            raise EPERM
    if dentry.mount.readonly:
        raise EROFS
    stripped = attr.mode & 0o7777 & ~_SETID if attr.mode & _SETID and attr.mode & S_IFMT != FileType.LNK else None
    dentry.vnode.setattr(AttrChange(mode=stripped, uid=uid, gid=gid))
    return 0


class ChownParams(NamedTuple):
    """SC_chown_params."""

    path: Path
    uid: Owner
    gid: Owner
    dirfd: DirFd
    follow_symlinks: Int


@syscall(pledge="chown")
def sys_chown(t: Thread, params: Annotated[ChownParams, Params(ChownParams, "<QQIIii")]) -> int:
    """Change a file's owner and group; -1 leaves one.  EPERM, EROFS."""
    dentry = find_for(t, params.dirfd, params.path, Access.WRITE, follow=bool(params.follow_symlinks))
    return _chown(t, dentry, params.uid, params.gid)


@syscall(pledge="chown")
def sys_fchown(t: Thread, fd: Fd, uid: Owner, gid: Owner) -> int:
    """chown of an open file, or of the one that binding a socket will make.  EBADF for what is no file of a file system."""
    if t.proc.fds.get(fd).is_socket:
        from ring3.calls.serenity import socketfile

        return socketfile.set_owner(t, fd, uid, gid)
    return _chown(t, _inode(t, fd), uid, gid)


# --- times
class _Times(TimePair):
    """Two struct timespec: read when the call comes to it."""

    def __init__(self) -> None:
        super().__init__(RawTimespec, "nsec")


Times = Annotated[tuple[Seconds, Seconds] | None, _Times()]


def _set_times(t: Thread, dentry: Dentry, atime: int | None, mtime: int | None) -> int:
    """Raises EACCES for somebody else's file, EROFS."""
    _check_owner(t, dentry, dentry.vnode.getattr(), otherwise=EACCES)
    if (atime, mtime) != (None, None):
        dentry.vnode.setattr(AttrChange(atime=atime, mtime=mtime))
    return 0


@syscall(pledge="fattr")
def sys_utime(t: Thread, path: PathAt, length: Size, times: UtimRecord) -> int:
    """Set times to the second; to now without any.  EACCES, EROFS, EFAULT."""
    name = copy_path(t, path, length)
    now = time.time_ns() // _SECOND
    given: UtimBuf = times or UtimBuf(now, now)
    dentry = find_for(t, AT_FDCWD, name, Access.WRITE)
    return _set_times(t, dentry, _bounded(given.atime * _SECOND), _bounded(given.mtime * _SECOND))


class UtimensatParams(NamedTuple):
    """SC_utimensat_params."""

    dirfd: DirFd
    path: Path
    times: Times
    flag: AtFlagBits


@syscall(pledge="fattr")
def sys_utimensat(t: Thread, params: Annotated[UtimensatParams, Params(UtimensatParams, "<i4xQQQi4x")]) -> int:
    """Set times; UTIME_NOW (-2) and UTIME_OMIT (-1) stand for themselves.  EACCES, EROFS, EFAULT."""
    follow = not params.flag & AT_SYMLINK_NOFOLLOW
    dentry = find_for(t, params.dirfd, params.path, Access.WRITE, follow=follow)
    now = time.time_ns()
    atime, mtime = (_moment(part, now) for part in params.times or (Seconds(0, UTIME_NOW),) * 2)
    return _set_times(t, dentry, atime, mtime)


def _moment(part: Seconds, now: int) -> int | None:
    if part.fraction == UTIME_OMIT:
        return None
    return now if part.fraction == UTIME_NOW else _bounded(part.seconds * _SECOND + part.fraction)


def _bounded(ns: int) -> int:
    """What every file system can keep."""
    return max(min(ns, (1 << 63) - 1), -(1 << 63))


