"""What a file is: stat in all its forms, access, statfs.

Source: stat(2), statx(2), access(2), statfs(2), ustat(2), fs/stat.c, fs/open.c (do_faccessat), fs/statfs.c.
"""

from __future__ import annotations

import os
from typing import Annotated, Final

from ring3.abi.filerecords import StatFs64, Statx, Ustat
from ring3.abi.flags import AT_FDCWD, Access, AtFlags, FileType, MountFlags
from ring3.abi.records import Attr, StatFs
from ring3.calls.place import lookup, start, subject
from ring3.calls.sysarg import AccessMode, Addr, AtFlag, DirFd, Fd, OptionalPath, Out, OutRecord, Path, Size, UInt
from ring3.calls.sysarg_files import StatFsOut, StatOut, StatxOut
from ring3.calls.syscall import syscall
from ring3.errors import EACCES, EINVAL, EOPNOTSUPP, EROFS
from ring3.proc.lookup import namei_context
from ring3.proc.proc import Thread
from ring3.vfs.access import permission
from ring3.vfs.dentry import Dentry
from ring3.vfs.file import File
from ring3.vfs.namei import namei

_STAT_FLAGS: Final = int(AtFlags.SYMLINK_NOFOLLOW | AtFlags.NO_AUTOMOUNT | AtFlags.EMPTY_PATH)
_SYNC_TYPE: Final = int(AtFlags.STATX_FORCE_SYNC | AtFlags.STATX_DONT_SYNC)
_ACCESS_FLAGS: Final = int(AtFlags.EACCESS | AtFlags.SYMLINK_NOFOLLOW | AtFlags.EMPTY_PATH)
_SPECIAL = (FileType.CHR, FileType.BLK, FileType.FIFO, FileType.SOCK)

STATX_BASIC_STATS = 0x7FF
STATX_BTIME = 0x800
STATX_MNT_ID = 0x1000
STATX_RESERVED = 0x8000_0000
STATX_ATTR_MOUNT_ROOT = 0x2000
ST_VALID = 0x20
ANON_INODE_MAGIC = 0x09041934
PIPEFS_MAGIC = 0x50495045
SOCKFS_MAGIC = 0x534F434B


def attributes(target: Dentry | File) -> Attr:
    """What stat tells of either."""
    return target.getattr() if isinstance(target, File) else target.vnode.getattr()


# --- stat
@syscall(pledge="rpath")
def sys_stat(t: Thread, path: Path, out: StatOut) -> int:
    """What a file is, links followed.  ENOENT, ENOTDIR, EACCES, ELOOP, EFAULT."""
    out.put(lookup(t, AT_FDCWD, path).vnode.getattr())
    return 0


@syscall(pledge="rpath")
def sys_lstat(t: Thread, path: Path, out: StatOut) -> int:
    """What a file is, of a link itself."""
    out.put(lookup(t, AT_FDCWD, path, follow=False).vnode.getattr())
    return 0


@syscall(pledge="stdio")
def sys_fstat(t: Thread, fd: Fd, out: StatOut) -> int:
    """What an open file is.  EBADF, EFAULT."""
    out.put(t.proc.fds.get(fd).getattr())
    return 0


@syscall(pledge="rpath")
def sys_newfstatat(t: Thread, dirfd: DirFd, path: OptionalPath, out: StatOut, flags: AtFlag) -> int:
    """stat relative to a directory, or of the descriptor itself with AT_EMPTY_PATH.  EINVAL."""
    out.put(attributes(subject(t, dirfd, path, flags, _STAT_FLAGS)))
    return 0


@syscall(pledge="rpath")
def sys_statx(t: Thread, dirfd: DirFd, path: OptionalPath, flags: AtFlag, mask: UInt, out: StatxOut) -> int:
    """All that is known of a file; what costs nothing is given whether asked for or not.  EINVAL."""
    if mask & STATX_RESERVED or flags & _SYNC_TYPE == _SYNC_TYPE:
        raise EINVAL
    target = subject(t, dirfd, path, flags, _STAT_FLAGS | _SYNC_TYPE)
    attr = attributes(target)
    dentry = target.dentry if isinstance(target, File) else target
    known = STATX_BASIC_STATS | STATX_MNT_ID | (STATX_BTIME if attr.btime else 0)
    at_mount = STATX_ATTR_MOUNT_ROOT if dentry is not None and dentry.parent is None else 0
    mount_id = 0 if dentry is None else dentry.mount.mount_id
    out.put(Statx(attr, known, at_mount, STATX_ATTR_MOUNT_ROOT, mount_id))
    return 0


# --- access
def check_access(t: Thread, dirfd: int, path: bytes | None, mode: Access, flags: AtFlags) -> int:
    """Whether the real (with AT_EACCESS the effective) ids may.  Raises EACCES, EROFS, EINVAL, and what a look-up does."""
    if mode & ~7 or flags & ~_ACCESS_FLAGS:
        raise EINVAL
    cred = t.proc.cred
    if not flags & AtFlags.EACCESS:
        cred = cred.with_real_for_files()
    if not path and flags & AtFlags.EMPTY_PATH:
        target = subject(t, dirfd, path, flags, _ACCESS_FLAGS)
    else:
        ctx = namei_context(t)._replace(cred=cred)
        follow = not flags & AtFlags.SYMLINK_NOFOLLOW
        target = namei(ctx, path or b"", at=start(t, dirfd, path or b""), follow=follow, access=mode)
    if not mode:
        return 0
    attr = attributes(target)
    dentry = target.dentry if isinstance(target, File) else target
    kind = attr.mode & 0o170000
    if mode & Access.EXECUTE and kind == FileType.REG and dentry is not None and dentry.mount.flags & MountFlags.NOEXEC:
        raise EACCES
    permission(cred, attr, mode)
    if mode & Access.WRITE and kind not in _SPECIAL and dentry is not None and dentry.mount.readonly:
        raise EROFS
    return 0


@syscall(pledge="rpath wpath cpath")
def sys_access(t: Thread, path: Path, mode: AccessMode) -> int:
    """Whether the real user may read, write or execute a file.  EACCES, EROFS, EINVAL."""
    return check_access(t, AT_FDCWD, path, mode, AtFlags(0))


@syscall(pledge="rpath wpath cpath")
def sys_faccessat(t: Thread, dirfd: DirFd, path: Path, mode: AccessMode) -> int:
    """access relative to a directory."""
    return check_access(t, dirfd, path, mode, AtFlags(0))


@syscall(pledge="rpath wpath cpath")
def sys_faccessat2(t: Thread, dirfd: DirFd, path: Path, mode: AccessMode, flags: AtFlag) -> int:
    """faccessat with flags."""
    return check_access(t, dirfd, path, mode, flags)


# --- statfs
def statfs_of(dentry: Dentry) -> StatFs:
    """How full the file system of a name is, and what its mount forbids."""
    mount = dentry.mount
    flags = int(mount.flags) | ST_VALID | (int(MountFlags.RDONLY) if mount.readonly else 0)
    return mount.fs.statfs()._replace(flags=flags)


def statfs_of_file(file: File) -> StatFs:
    """The same of an open file, with a name or without."""
    if file.dentry is not None:
        return statfs_of(file.dentry)
    kind = file.getattr().mode & 0o170000
    magic = {FileType.FIFO: PIPEFS_MAGIC, FileType.SOCK: SOCKFS_MAGIC}.get(FileType(kind or FileType.REG), ANON_INODE_MAGIC)
    return StatFs(magic, 4096, 0, 0, 0, 0, 0, 0, 255, 4096, ST_VALID)


@syscall(pledge="rpath")
def sys_statfs(t: Thread, path: Path, out: StatFsOut) -> int:
    """What a file system is and how full."""
    out.put(statfs_of(lookup(t, AT_FDCWD, path)))
    return 0


@syscall(pledge="rpath stdio")
def sys_fstatfs(t: Thread, fd: Fd, out: StatFsOut) -> int:
    """statfs of an open file's."""
    out.put(statfs_of_file(t.proc.fds.get(fd)))
    return 0


StatFs64Out = Annotated[Out, OutRecord(StatFs64)]


@syscall(pledge="rpath")
def sys_statfs64(t: Thread, path: Path, size: Size, out: StatFs64Out) -> int:
    """statfs with 64-bit counts, on 32-bit systems.  EINVAL for another struct's size."""
    if size not in (84, 88):
        raise EINVAL
    out.put(statfs_of(lookup(t, AT_FDCWD, path)))
    return 0


@syscall(pledge="rpath stdio")
def sys_fstatfs64(t: Thread, fd: Fd, size: Size, out: StatFs64Out) -> int:
    """statfs64 of an open file's."""
    if size not in (84, 88):
        raise EINVAL
    out.put(statfs_of_file(t.proc.fds.get(fd)))
    return 0


UstatOut = Annotated[Out, OutRecord(Ustat)]


@syscall(pledge="rpath")
def sys_ustat(t: Thread, device: UInt, out: UstatOut) -> int:
    """How full the file system on a device is.  EINVAL for a device without one."""
    dev = os.makedev((device & 0xFFF00) >> 8, (device & 0xFF) | ((device & 0xFFF0_0000) >> 12))
    for mount in t.system.mounts:
        if mount.root.vnode.getattr().dev == dev:
            numbers = mount.fs.statfs()
            out.put(Ustat(numbers.bfree & 0x7FFF_FFFF, numbers.ffree & 0xFFFF_FFFF))
            return 0
    raise EINVAL


@syscall(pledge="rpath")
def sys_name_to_handle_at(t: Thread, dirfd: DirFd, path: Path, handle: Addr, mount_id: Addr, flags: AtFlag) -> int:
    """File handles: no file system here has them.  EOPNOTSUPP."""
    del handle, mount_id
    subject(t, dirfd, path, flags, int(AtFlags.SYMLINK_FOLLOW | AtFlags.EMPTY_PATH))
    raise EOPNOTSUPP
