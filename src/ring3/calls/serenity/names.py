"""SerenityOS's calls that make, move and remove names, and tell where names lead.

The look-ups and the changes are `vfs.names`; what stands here is what SerenityOS asks before, in its order: a sticky directory
keeps what is not one's own, its owner's wishes notwithstanding, and says EACCES; a directory cannot go into itself (EDIRINTOSELF).
Stated results where the original loses its way: a symbolic link at the end of a path is the name that is made, removed or replaced
(it goes on to what the link names, and takes the link's name there); a directory does not replace a file (ENOTDIR).
Source: VirtualFileSystem.cpp, Kernel/Syscalls/{mkdir,mknod,link,rename,rmdir,unlink,readlink,realpath,chdir}.cpp (reference, 4.9).
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Final

from ring3.abi.flags import AT_FDCWD, S_IFMT, S_ISGID, S_ISUID, Access, FileType
from ring3.abi.records import Attr
from ring3.calls.serenity.argument import Params, Path, copy_path
from ring3.calls.serenity.place import PathAt, allow, base, find, not_sticky, read_only, told_path
from ring3.calls.sysarg import Decoder, DirFd, Fd, Mode, Size
from ring3.calls.sysarg_files import Bits, DeviceNumber, NodeMode, StringResult
from ring3.calls.syscall import syscall
from ring3.errors import (
    EACCES,
    EBUSY,
    EDIRINTOSELF,
    EEXIST,
    EINVAL,
    EISDIR,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    EPERM,
    EROFS,
    EXDEV,
    Errno,
)
from ring3.namedtuple import NamedTuple
from ring3.proc.lookup import namei_context
from ring3.proc.proc import Thread
from ring3.protocols import Abi
from ring3.vfs import names
from ring3.vfs.dentry import Dentry
from ring3.vfs.namei import DOTS, NameiContext, namei, namei_parent, unveiled

AT_REMOVEDIR: Final = 0x200
_SPECIAL: Final = frozenset((FileType.REG, FileType.FIFO, FileType.SOCK))        # what everybody may make
_KINDS: Final = _SPECIAL | {FileType.CHR, FileType.BLK}
_GROUP_RUNS: Final = 0o010


class _Device(DeviceNumber):
    """A device number as SerenityOS packs it, in the kernel's form."""

    def compile(self, abi: Abi) -> Decoder:
        return lambda _t, word: os.makedev(word >> 8 & 0xFFF, word & 0xFF | (word & 0xFFF0_0000) >> 12)


class _Copied(StringResult):
    """Where a text goes: the call's result is all of its length, of which as much was copied as the next argument says."""

    def show_result_beside(self, t: Thread, value: Any, behind: Any, result: int) -> str | None:
        return self.show_result(t, value, min(result, behind))


Device = Annotated[int, _Device()]
TextAt = Annotated[int, _Copied()]
PathTextAt = Annotated[int, _Copied(zero=True)]
UnlinkFlags = Annotated[int, Bits({AT_REMOVEDIR: "AT_REMOVEDIR"})]


# --- making
def _writable(t: Thread, here: Dentry) -> None:
    """Raises EACCES, EROFS, in this order."""
    allow(t, here.vnode.getattr(), Access.WRITE)
    if here.mount.readonly:
        raise EROFS


@syscall(pledge="cpath")
def sys_mkdir(t: Thread, dirfd: DirFd, path: PathAt, length: Size, mode: Mode) -> int:
    """Make a directory; slashes behind its name do not count.  EEXIST, ENOENT, ENOTDIR, EACCES, EROFS."""
    name = copy_path(t, path, length)
    name = name.rstrip(b"/") or b"/"
    at = base(t, dirfd)
    try:
        names.mkdir(namei_context(t), name, mode & 0o7777 & ~t.proc.fs.umask, at=at)
    except EROFS:
        raise read_only(t, name, at) from None
    return 0


class MknodParams(NamedTuple):
    """SC_mknod_params."""

    path: Path
    mode: NodeMode
    device: Device


@syscall(pledge="dpath")
def sys_mknod(t: Thread, params: Annotated[MknodParams, Params(MknodParams, "<QQH2xI")]) -> int:
    """Make a file of any kind but directory and link.  EPERM for another's device, EINVAL, EEXIST, ENOENT, EACCES, EROFS."""
    kind = params.mode & S_IFMT
    if kind not in _SPECIAL and not t.proc.cred.privileged:
        raise EPERM
    if kind not in _KINDS:
        raise EINVAL
    try:
        names.mknod(namei_context(t), params.path, params.mode & ~t.proc.fs.umask, params.device)
    except EROFS:
        raise read_only(t, params.path, None) from None
    return 0


class SymlinkParams(NamedTuple):
    """SC_symlink_params."""

    target: Path
    linkpath: Path
    dirfd: DirFd


@syscall(pledge="cpath")
def sys_symlink(t: Thread, params: Annotated[SymlinkParams, Params(SymlinkParams, "<QQQQi4x")]) -> int:
    """Make a symbolic link.  EEXIST, ENOENT, EACCES, EROFS."""
    at = base(t, params.dirfd)
    if t.proc.veil is not None:
        _ask_own_veil(t, params, at)
    try:
        names.symlink(namei_context(t), params.target, params.linkpath, at=at)
    except EROFS:
        raise read_only(t, params.linkpath, at) from None
    return 0


def _ask_own_veil(t: Thread, params: SymlinkParams, at: Dentry | None) -> None:
    """Whether the program's own veil shows, to read and write, what the link's text names from `at` and the directory it goes to.

    A text that names nothing may be anything, and so may one that names what the user hides.  Raises ENOENT, EACCES.
    """
    from ring3.policy.own import own_veil

    own, users = own_veil(t.proc)
    if own is None:
        return
    ctx = namei_context(t)._replace(veil=users)
    try:
        target = namei(ctx, params.target, at=at)
    except Errno:
        pass
    else:
        own.check(target, b"", Access.READ | Access.WRITE)
    own.check(namei_parent(ctx, params.linkpath, at=at)[0], b"", Access.READ | Access.WRITE)


class LinkParams(NamedTuple):
    """SC_link_params."""

    old: Path
    new: Path


@syscall(pledge="cpath")
def sys_link(t: Thread, params: Annotated[LinkParams, Params(LinkParams, "<QQQQ")]) -> int:
    """One more name for a file, links followed.  EEXIST, ENOENT, EXDEV, EACCES, EPERM, EROFS, in this order."""
    old = find(t, AT_FDCWD, params.old)
    ctx = namei_context(t)
    here, name, slash = namei_parent(ctx, params.new)
    if _child(ctx, here, name) is not None:
        raise EEXIST
    if slash:
        raise ENOENT
    if old.mount is not here.mount:
        raise EXDEV
    allow(t, here.vnode.getattr(), Access.WRITE)
    if old.vnode.is_dir:
        raise EPERM
    if here.mount.readonly:
        raise EROFS
    if not _may_link(t, old.vnode.getattr()):
        raise EPERM
    names.link(ctx, params.old, params.new, follow=True)
    return 0


def _may_link(t: Thread, attr: Attr) -> bool:
    """One's own, or a plain file without set-id bits that count which one may write: root, too."""
    if t.proc.cred.fsuid == attr.uid:
        return True
    mode = attr.mode
    if mode & S_IFMT != FileType.REG or mode & S_ISUID or (mode & S_ISGID and mode & _GROUP_RUNS):
        return False
    try:
        allow(t, attr, Access.WRITE)
    except EACCES:
        return False
    return True


# --- removing
def _child(ctx: NameiContext, here: Dentry, name: bytes) -> Dentry | None:
    """What has a name now, as far as the veil lets it be known; a directory for what is no name.  Raises ENOENT, EACCES."""
    if name in DOTS:
        return here
    unveiled(ctx, here, name, Access.EXISTS)
    try:
        return here.child(name).top(ctx.rules.system)
    except ENOENT:
        return None


def _victim(t: Thread, path: bytes, at: Dentry | None) -> tuple[Dentry, bytes, Dentry]:
    """(directory, name, what is there).  Raises ENOENT; ENOTDIR for a slash behind anything else."""
    ctx = namei_context(t)
    here, name, slash = namei_parent(ctx, path, at=at, exists=True)
    found = _child(ctx, here, name)
    if found is None:
        raise ENOENT
    if slash and not found.vnode.is_dir:
        raise ENOTDIR
    return here, name, found


def unlink(t: Thread, dirfd: int, path: bytes) -> int:
    """Take a name away.  Raises EISDIR, EACCES, EROFS, EBUSY."""
    at = base(t, dirfd)
    here, _, found = _victim(t, path, at)
    if found.vnode.is_dir:
        raise EISDIR
    directory = here.vnode.getattr()
    allow(t, directory, Access.WRITE)
    not_sticky(t, directory, found.vnode.getattr())
    names.unlink(namei_context(t), path, at=at)
    return 0


def rmdir(t: Thread, dirfd: int, path: bytes) -> int:
    """Remove an empty directory.  Raises ENOTDIR, EBUSY for the root, EACCES, ENOTEMPTY, EROFS."""
    at = base(t, dirfd)
    here, name, found = _victim(t, path, at)
    if not found.vnode.is_dir:
        raise ENOTDIR
    if name in DOTS or found.parent is None:
        if name == b"/" or found is t.proc.fs.root or found.parent is None:
            raise EBUSY
        raise EINVAL if name == b"." else ENOTEMPTY
    directory = here.vnode.getattr()
    allow(t, directory, Access.WRITE)
    not_sticky(t, directory, found.vnode.getattr())
    if here.mount.readonly and found.vnode.readdir():
        raise ENOTEMPTY
    names.rmdir(namei_context(t), path, at=at)
    return 0


@syscall(pledge="cpath")
def sys_unlink(t: Thread, dirfd: DirFd, path: PathAt, length: Size, flags: UnlinkFlags) -> int:
    """Take a name away, or with AT_REMOVEDIR a directory.  EINVAL, EISDIR, ENOTDIR, EACCES, ENOTEMPTY, EBUSY, EROFS."""
    name = copy_path(t, path, length)
    if flags & ~AT_REMOVEDIR:
        raise EINVAL
    return (rmdir if flags else unlink)(t, dirfd, name)


@syscall(pledge="cpath")
def sys_rmdir(t: Thread, path: PathAt, length: Size) -> int:
    """Remove an empty directory.  ENOTDIR, EBUSY, EACCES, ENOTEMPTY, EROFS."""
    return rmdir(t, AT_FDCWD, copy_path(t, path, length))


# --- renaming
class RenameParams(NamedTuple):
    """SC_rename_params."""

    olddirfd: DirFd
    old: Path
    newdirfd: DirFd
    new: Path


@syscall(pledge="cpath")
def sys_rename(t: Thread, params: Annotated[RenameParams, Params(RenameParams, "<i4xQQi4xQQ")]) -> int:
    """Move a name, replacing what has the new one.

    ENOENT, ENOTEMPTY, EXDEV, EDIRINTOSELF, EACCES, EROFS, EINVAL, EISDIR, in this order; EPERM for the root.
    """
    at, new_at = base(t, params.olddirfd), base(t, params.newdirfd)
    ctx = namei_context(t)
    here, name, old = _victim(t, params.old, at)
    there, new_name, _ = namei_parent(ctx, params.new, at=new_at)
    new = _child(ctx, there, new_name)
    if b"/" in (name, new_name):
        raise EPERM
    if new is not None and new.vnode is not old.vnode and old.vnode.is_dir and new.vnode.is_dir and new.vnode.readdir():
        raise ENOTEMPTY
    if here.mount is not there.mount:
        raise EXDEV
    if there.is_under(old):
        raise EDIRINTOSELF
    directory, new_directory = here.vnode.getattr(), there.vnode.getattr()
    allow(t, new_directory, Access.WRITE)
    allow(t, directory, Access.WRITE)
    not_sticky(t, directory, old.vnode.getattr())
    if here.mount.readonly:
        raise EROFS
    if name in DOTS or new_name in DOTS:
        raise EINVAL
    if here is there and name == new_name:
        return 0
    if new is not None and new.vnode is not old.vnode:
        not_sticky(t, new_directory, new.vnode.getattr())
        if new.vnode.is_dir and not old.vnode.is_dir:
            raise EISDIR
    names.rename(ctx, params.old, params.new, at=at, new_at=new_at)
    return 0


# --- where names lead
def _copy_out(t: Thread, addr: int, size: int, text: bytes) -> int:
    """As much of a text as there is room for; how much would be needed.  Raises EFAULT."""
    t.proc.vm.copyout(addr, text[:size])
    return len(text)


class ReadlinkParams(NamedTuple):
    """SC_readlink_params."""

    path: Path
    buffer: TextAt
    size: Size
    dirfd: DirFd


@syscall(pledge="rpath")
def sys_readlink(t: Thread, params: Annotated[ReadlinkParams, Params(ReadlinkParams, "<QQQQi4x")]) -> int:
    """What a link says, as much of it as fits; its whole length.  EACCES unless it may be read, EINVAL for other files."""
    dentry = find(t, params.dirfd, params.path, follow=False, access=Access.READ)
    allow(t, dentry.vnode.getattr(), Access.READ)
    if dentry.vnode.type != FileType.LNK:
        raise EINVAL
    return _copy_out(t, params.buffer, params.size, dentry.vnode.readlink())


class RealpathParams(NamedTuple):
    """SC_realpath_params."""

    path: Path
    buffer: PathTextAt
    size: Size


@syscall(pledge="rpath")
def sys_realpath(t: Thread, params: Annotated[RealpathParams, Params(RealpathParams, "<QQQQ")]) -> int:
    """The path of a file without links and dots, as much as fits; its whole length, the zero counted.  ENOENT …"""
    dentry = find(t, AT_FDCWD, params.path)
    return _copy_out(t, params.buffer, params.size, told_path(t, dentry) + b"\0")


# --- where a process stands
@syscall(pledge="rpath")
def sys_getcwd(t: Thread, buf: PathTextAt, size: Size) -> int:
    """The path of the current directory, as much as fits; its whole length, the zero counted.  EINVAL, EFAULT."""
    if size >> 63:
        raise EINVAL
    return _copy_out(t, buf, size, told_path(t, t.proc.fs.cwd) + b"\0")


def _enter(t: Thread, dentry: Dentry | None) -> int:
    """Raises ENOTDIR, EACCES."""
    if dentry is None or not dentry.vnode.is_dir:
        raise ENOTDIR
    allow(t, dentry.vnode.getattr(), Access.EXECUTE)
    t.proc.fs.cwd = dentry
    return 0


@syscall(pledge="rpath")
def sys_chdir(t: Thread, path: PathAt, length: Size) -> int:
    """Change the current directory.  ENOENT, ENOTDIR, EACCES."""
    return _enter(t, find(t, AT_FDCWD, copy_path(t, path, length)))


@syscall(pledge="stdio")
def sys_fchdir(t: Thread, fd: Fd) -> int:
    """chdir to an open directory.  EBADF, ENOTDIR, EACCES."""
    return _enter(t, t.proc.fds.get(fd).dentry)


