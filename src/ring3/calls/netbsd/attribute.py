"""NetBSD's calls that change files where no other system has them so: file flags, times, room in a file.

Not here: names (`names.py`), what is shared with Linux's chmod, chown, truncate … (`abi/netbsd/shared.tbl`).
Sources: chflags(2), utimes(2), utimensat(2), lchmod(2), chroot(2), revoke(2), posix_fallocate(2), fdiscard(2), posix_fadvise(2),
fsync(2).
"""

from __future__ import annotations

from typing import Final

from ring3.abi.flags import AT_FDCWD, Access, AtFlags, FileType, OpenFlags
from ring3.calls import attribute as linux
from ring3.calls.attribute import check_growth, from_microseconds, set_times
from ring3.calls.place import changing, lookup, opened
from ring3.calls.sysarg import Fd, Int, Mode, Offset64, Path, UInt, Word
from ring3.calls.sysarg_files import TimespecPair, TimevalPair
from ring3.calls.syscall import syscall
from ring3.errors import EBADF, EFBIG, EINVAL, EISDIR, ENODEV, ENOTDIR, EOPNOTSUPP, EPERM, ESPIPE
from ring3.proc.lookup import namei_context
from ring3.proc.proc import Thread
from ring3.vfs.access import is_owner
from ring3.vfs.file import MAX_OFFSET, File, RegularFile
from ring3.vfs.namei import namei
from ring3.vfs.vnode import Vnode

_ADVICE_LAST: Final = 5
_PUNCH_HOLE: Final = 3                  # fallocate(2) of Linux: FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_FILE_SYNC_KINDS: Final = frozenset((0x10, 0x20))       # FDATASYNC, FFILESYNC
_FDISKSYNC: Final = 0x40


@syscall(pledge="fattr")
def sys_lchmod(t: Thread, path: Path, mode: Mode) -> int:
    """chmod of a link itself, which no file system here can: EOPNOTSUPP."""
    return int(linux.sys_fchmodat2.run(t, AT_FDCWD, path, mode, AtFlags.SYMLINK_NOFOLLOW))


# --- file flags: no file system here has them
def _set_flags(t: Thread, vnode: Vnode | None, flags: int) -> int:
    """No flags is what every file has: gzip(1) and cp(1) copy that.  Raises EPERM for another's file, EOPNOTSUPP for a flag."""
    if vnode is not None and not is_owner(t.proc.cred, vnode.getattr()):
        raise EPERM
    if flags:
        raise EOPNOTSUPP
    return 0


@syscall(pledge="fattr")
def sys_chflags(t: Thread, path: Path, flags: Word) -> int:
    """Set a file's flags.  EOPNOTSUPP."""
    return _set_flags(t, lookup(t, AT_FDCWD, path, access=Access.WRITE).vnode, flags)


@syscall(pledge="fattr")
def sys_lchflags(t: Thread, path: Path, flags: Word) -> int:
    """chflags of a link itself.  EOPNOTSUPP."""
    return _set_flags(t, lookup(t, AT_FDCWD, path, follow=False, access=Access.WRITE).vnode, flags)


@syscall(pledge="fattr")
def sys_fchflags(t: Thread, fd: Fd, flags: Word) -> int:
    """chflags of an open file.  EBADF, EOPNOTSUPP."""
    return _set_flags(t, changing(t, fd).vnode, flags)


# --- times
@syscall(pledge="fattr")
def sys_futimens(t: Thread, fd: Fd, times: TimespecPair) -> int:
    """Set an open file's times.  EBADF, EINVAL."""
    opened(t, fd)
    return set_times(t, fd, None, times, AtFlags(0), by_fd=True)


@syscall(pledge="fattr")
def sys___futimes50(t: Thread, fd: Fd, times: TimevalPair) -> int:
    """futimens to the microsecond."""
    opened(t, fd)
    return set_times(t, fd, None, from_microseconds(times), AtFlags(0), by_fd=True)


@syscall(pledge="fattr")
def sys___lutimes50(t: Thread, path: Path, times: TimevalPair) -> int:
    """utimes of a link itself."""
    return set_times(t, AT_FDCWD, path, from_microseconds(times), AtFlags.SYMLINK_NOFOLLOW)


# --- root directories, devices
@syscall(pledge="root")
def sys_fchroot(t: Thread, fd: Fd) -> int:
    """chroot to an open directory.  EPERM, EBADF, ENOTDIR."""
    if not t.proc.cred.privileged:
        raise EPERM
    dentry = opened(t, fd).dentry
    if dentry is None or not dentry.vnode.is_dir:
        raise ENOTDIR
    t.proc.fs.root = t.proc.fs.cwd = dentry
    return 0


@syscall(pledge="root")
def sys_revoke(t: Thread, path: Path) -> int:
    """Take a device from whoever has it open: nothing here can.  EINVAL for what is no device."""
    dentry = namei(namei_context(t), path)
    if dentry.vnode.type not in (FileType.CHR, FileType.BLK):
        raise EINVAL
    if not is_owner(t.proc.cred, dentry.vnode.getattr()):
        raise EPERM
    raise EOPNOTSUPP


# --- room in a file
def _seekable(t: Thread, fd: int) -> File:
    """An open regular file.  Raises EBADF, ESPIPE, EISDIR, ENODEV."""
    file = opened(t, fd)
    kind = file.getattr().mode & 0o170000
    if kind == FileType.FIFO:
        raise ESPIPE
    if kind == FileType.DIR:
        raise EISDIR
    if not isinstance(file, RegularFile):
        raise ENODEV
    return file


@syscall(pledge="stdio")
def sys_posix_fallocate(t: Thread, fd: Fd, offset: Offset64, length: Offset64) -> int:
    """Have room for a part of a file.  EBADF, EINVAL, EFBIG, ESPIPE, ENODEV."""
    if offset < 0 or length <= 0:
        raise EINVAL
    if offset + length > MAX_OFFSET:
        raise EFBIG
    file = _seekable(t, fd)
    if not file.can_write:
        raise EBADF
    assert file.vnode is not None
    check_growth(t, file.vnode, offset + length)
    file.vnode.fallocate(0, offset, length)
    return 0


@syscall(pledge="stdio")
def sys_fdiscard(t: Thread, fd: Fd, offset: Offset64, length: Offset64) -> int:
    """Make a hole in a file; its size stays.  EBADF, EINVAL, ESPIPE, ENODEV."""
    if offset < 0 or length < 0 or offset + length > MAX_OFFSET:
        raise EINVAL
    file = _seekable(t, fd)
    if not file.can_write:
        raise EBADF
    assert file.vnode is not None
    if length:
        file.vnode.fallocate(_PUNCH_HOLE, offset, length)
    return 0


@syscall(pledge="stdio")
def sys___posix_fadvise50(t: Thread, fd: Fd, offset: Offset64, length: Offset64, advice: Int) -> int:
    """Advice about how a file will be used: heard.  EINVAL, ESPIPE for pipes."""
    del offset, length
    if not 0 <= advice <= _ADVICE_LAST:
        raise EINVAL
    file = opened(t, fd)
    if file.getattr().mode & 0o170000 == FileType.FIFO:
        raise ESPIPE
    return 0


@syscall(pledge="stdio")
def sys_fsync_range(t: Thread, fd: Fd, flags: UInt, offset: Offset64, length: Offset64) -> int:
    """Write part of a file to its disk: all of it.  EBADF unless open for writing, EINVAL."""
    file = opened(t, fd)
    if not file.flags & (OpenFlags.WRONLY | OpenFlags.RDWR):
        raise EBADF
    if flags & ~_FDISKSYNC not in _FILE_SYNC_KINDS or offset < 0 or length < 0:
        raise EINVAL
    if file.vnode is not None and file.dentry is not None:
        file.vnode.fsync()
    return 0
