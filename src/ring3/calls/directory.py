"""Names: making, removing and renaming them, links, reading directories, and where a process stands.

The look-ups, checks and changes are `vfs.names`.  Source: mkdir(2), unlink(2), rename(2), link(2), symlink(2), readlink(2),
getdents(2), getcwd(2), chdir(2), chroot(2), fs/namei.c, fs/readdir.c, fs/d_path.c.
"""

from __future__ import annotations

from typing import Any, Final

from ring3.abi.filerecords import Dirent, Dirent64
from ring3.abi.flags import AT_FDCWD, Access, AtFlags, FileType, RenameFlags
from ring3.calls.place import lookup, opened, start
from ring3.calls.sysarg import AtFlag, DirFd, Fd, Int, Mode, Path, RenameFlag, Size, UInt
from ring3.calls.sysarg_files import CwdText, Device, Dirents, Dirents64, LinkText, NodeMode
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM, ERANGE, Errno
from ring3.proc.lookup import namei_context
from ring3.proc.proc import Thread
from ring3.vfs import names
from ring3.vfs.access import permission
from ring3.vfs.dentry import Dentry
from ring3.vfs.namei import PATH_MAX, namei, unveiled

_LINK_FLAGS: Final = int(AtFlags.SYMLINK_FOLLOW | AtFlags.EMPTY_PATH)
_REMOVEDIR: Final = int(AtFlags.REMOVEDIR)
_RENAME_KNOWN = 7


# --- making
def mkdir_at(t: Thread, dirfd: int, path: bytes, mode: int) -> int:
    """Raises what `names.mkdir` does."""
    names.mkdir(namei_context(t), path, mode & 0o1777 & ~t.proc.fs.umask, at=start(t, dirfd, path))
    return 0


@syscall(pledge="cpath")
def sys_mkdir(t: Thread, path: Path, mode: Mode) -> int:
    """Make a directory.  EEXIST, ENOENT, EACCES, EROFS."""
    return mkdir_at(t, AT_FDCWD, path, mode)


@syscall(pledge="cpath")
def sys_mkdirat(t: Thread, dirfd: DirFd, path: Path, mode: Mode) -> int:
    """mkdir relative to a directory."""
    return mkdir_at(t, dirfd, path, mode)


def mknod_at(t: Thread, dirfd: int, path: bytes, mode: int, device: int) -> int:
    """Raises what `names.mknod` does."""
    names.mknod(namei_context(t), path, mode & 0xFFFF & ~t.proc.fs.umask, device, at=start(t, dirfd, path))
    return 0


@syscall(pledge="dpath")
def sys_mknod(t: Thread, path: Path, mode: NodeMode, device: Device) -> int:
    """Make a file of any type but directory and link.  EPERM, EINVAL, EEXIST."""
    return mknod_at(t, AT_FDCWD, path, mode, device)


@syscall(pledge="dpath")
def sys_mknodat(t: Thread, dirfd: DirFd, path: Path, mode: NodeMode, device: Device) -> int:
    """mknod relative to a directory."""
    return mknod_at(t, dirfd, path, mode, device)


@syscall(pledge="cpath")
def sys_symlinkat(t: Thread, target: Path, dirfd: DirFd, path: Path) -> int:
    """Make a symbolic link.  ENOENT for an empty target."""
    names.symlink(namei_context(t), target, path, at=start(t, dirfd, path))
    return 0


@syscall(pledge="cpath")
def sys_symlink(t: Thread, target: Path, path: Path) -> int:
    """Make a symbolic link."""
    return int(sys_symlinkat.run(t, target, AT_FDCWD, path))


@syscall(pledge="cpath")
def sys_linkat(t: Thread, old_dirfd: DirFd, old: Path, new_dirfd: DirFd, new: Path, flags: AtFlag) -> int:
    """Give a file one more name.  EEXIST, EXDEV, EPERM, EINVAL."""
    if flags & ~_LINK_FLAGS:
        raise EINVAL
    empty_ok = bool(flags & AtFlags.EMPTY_PATH)
    at = start(t, old_dirfd, old, empty_ok=empty_ok)
    names.link(
        namei_context(t), old, new, at=at, new_at=start(t, new_dirfd, new), follow=bool(flags & AtFlags.SYMLINK_FOLLOW),
        empty_ok=empty_ok,
    )
    return 0


@syscall(pledge="cpath")
def sys_link(t: Thread, old: Path, new: Path) -> int:
    """Give a file one more name."""
    return int(sys_linkat.run(t, AT_FDCWD, old, AT_FDCWD, new, AtFlags(0)))


# --- removing
@syscall(pledge="cpath")
def sys_unlink(t: Thread, path: Path) -> int:
    """Take a name away.  ENOENT, EISDIR, EACCES, EPERM, EBUSY."""
    names.unlink(namei_context(t), path)
    return 0


@syscall(pledge="cpath")
def sys_rmdir(t: Thread, path: Path) -> int:
    """Remove an empty directory.  ENOTEMPTY, ENOTDIR, EINVAL, EBUSY."""
    names.rmdir(namei_context(t), path)
    return 0


@syscall(pledge="cpath")
def sys_unlinkat(t: Thread, dirfd: DirFd, path: Path, flags: AtFlag) -> int:
    """unlink, or rmdir with AT_REMOVEDIR, relative to a directory."""
    if flags & ~_REMOVEDIR:
        raise EINVAL
    remove = names.rmdir if flags else names.unlink
    remove(namei_context(t), path, at=start(t, dirfd, path))
    return 0


# --- renaming
@syscall(pledge="cpath")
def sys_renameat2(t: Thread, old_dirfd: DirFd, old: Path, new_dirfd: DirFd, new: Path, flags: RenameFlag) -> int:
    """Move a name, replacing what has the new one, or as the flags say."""
    if flags & ~_RENAME_KNOWN:
        raise EINVAL
    at, new_at = start(t, old_dirfd, old), start(t, new_dirfd, new)
    names.rename(namei_context(t), old, new, flags, at=at, new_at=new_at)
    return 0


@syscall(pledge="cpath")
def sys_renameat(t: Thread, old_dirfd: DirFd, old: Path, new_dirfd: DirFd, new: Path) -> int:
    """rename relative to directories."""
    return int(sys_renameat2.run(t, old_dirfd, old, new_dirfd, new, RenameFlags(0)))


@syscall(pledge="cpath")
def sys_rename(t: Thread, old: Path, new: Path) -> int:
    """Move a name."""
    names.rename(namei_context(t), old, new)
    return 0


# --- reading
@syscall(pledge="rpath")
def sys_readlinkat(t: Thread, dirfd: DirFd, path: Path, buf: LinkText, size: Int) -> int:
    """What a link says, cut to the buffer.  EINVAL for other files."""
    if size <= 0:
        raise EINVAL
    if not path:
        at = start(t, dirfd, path, empty_ok=True)
        dentry = t.proc.fs.cwd if at is None else at
        if dentry.vnode.type != FileType.LNK:
            raise ENOENT
        unveiled(namei_context(t), dentry, b"", Access.READ)
    else:
        dentry = lookup(t, dirfd, path, follow=False, access=Access.READ)
        if dentry.vnode.type != FileType.LNK:
            raise EINVAL
    text = dentry.vnode.readlink()[:size]
    t.proc.vm.copyout(buf, text)
    return len(text)


@syscall(pledge="rpath")
def sys_readlink(t: Thread, path: Path, buf: LinkText, size: Int) -> int:
    """What a link says, cut to the buffer."""
    return int(sys_readlinkat.run(t, AT_FDCWD, path, buf, size))


def read_directory(t: Thread, fd: int, buf: int, nbytes: int, record: type) -> int:
    """Entries into a buffer, as many as fit.  Raises EBADF, ENOTDIR, ENOENT, EFAULT; EINVAL when not even one fits."""
    file = opened(t, fd)
    dentry = file.dentry
    entries = file.readdir()
    if dentry is not None and dentry.deleted:
        raise ENOENT
    encode: Any = t.system.call_abi(t).layouts[record].encode
    room = min(nbytes, 1 << 20)
    pieces, used, offset = [], 0, file.offset
    failure: Errno | None = None
    for item in entries:
        try:
            data = encode(item)
        except Errno as refusal:
            failure = refusal
            break
        if used + len(data) > room:
            failure = EINVAL()
            break
        pieces.append(data)
        used += len(data)
        offset = item[0]
    if not used:
        if failure is not None:
            raise failure
        return 0
    t.proc.vm.copyout(buf, b"".join(pieces))
    file.offset = offset
    return used


@syscall(pledge="rpath")
def sys_getdents64(t: Thread, fd: Fd, buf: Dirents64, nbytes: UInt) -> int:
    """The next entries of a directory."""
    return read_directory(t, fd, buf, nbytes, Dirent64)


@syscall(pledge="rpath")
def sys_getdents(t: Thread, fd: Fd, buf: Dirents, nbytes: UInt) -> int:
    """The next entries of a directory, as words."""
    return read_directory(t, fd, buf, nbytes, Dirent)


# --- where a process stands
@syscall(pledge="rpath")
def sys_getcwd(t: Thread, buf: CwdText, size: Size) -> int:
    """The path of the current directory; its length, the zero counted.  ENOENT when it was removed, ERANGE."""
    fs = t.proc.fs
    if fs.cwd.deleted:
        raise ENOENT
    path = fs.cwd.path(fs.root) + b"\0"
    if len(path) > PATH_MAX:
        raise ENAMETOOLONG
    if len(path) > size:
        raise ERANGE
    t.proc.vm.copyout(buf, path)
    return len(path)


def _enter(t: Thread, dentry: Dentry) -> Dentry:
    """Raises ENOTDIR, EACCES."""
    if not dentry.vnode.is_dir:
        raise ENOTDIR
    permission(t.proc.cred, dentry.vnode.getattr(), Access.EXECUTE)
    return dentry


@syscall(pledge="rpath")
def sys_chdir(t: Thread, path: Path) -> int:
    """Change the current directory.  ENOENT, ENOTDIR, EACCES."""
    t.proc.fs.cwd = _enter(t, namei(namei_context(t), path))
    return 0


@syscall(pledge="rpath")
def sys_fchdir(t: Thread, fd: Fd) -> int:
    """chdir to an open directory.  EBADF, ENOTDIR, EACCES."""
    dentry = t.proc.fds.get(fd).dentry
    if dentry is None:
        raise ENOTDIR
    t.proc.fs.cwd = _enter(t, dentry)
    return 0


@syscall(pledge="root")
def sys_chroot(t: Thread, path: Path) -> int:
    """Change the root directory.  EPERM for the unprivileged."""
    dentry = _enter(t, namei(namei_context(t), path))
    if not t.proc.cred.privileged:
        raise EPERM
    t.proc.fs.root = dentry
    return 0


