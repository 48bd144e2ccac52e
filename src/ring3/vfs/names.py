"""The calls that change names: mkdir, mknod, symlink, link, unlink, rmdir, rename.  Each is complete: look-up, checks,
change.

The order of refusals is Linux's (fs/namei.c: filename_create, do_unlinkat, do_rmdir, do_linkat, do_renameat2,
vfs_rename); after the file system has done it, the dentries follow.  Modes come without the umask's bits.  Not here:
opening (`namei.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.abi.flags import S_IFMT, Access, FileType, RenameFlags
from ring3.abi.notify import IN_CREATE
from ring3.errors import (
    EACCES,
    EBUSY,
    EEXIST,
    EINVAL,
    EISDIR,
    ENAMETOOLONG,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    EPERM,
    EROFS,
    EXDEV,
    Errno,
)
from ring3.vfs.access import is_owner, may_create, may_delete, new_owner, permission
from ring3.vfs.namei import DOTS, PATH_MAX, NameiContext, namei, namei_parent, unveiled
from ring3.vfs.vnode import type_of

if TYPE_CHECKING:
    from ring3.abi.records import Attr
    from ring3.vfs.dentry import Dentry
    from ring3.vfs.vnode import Vnode

NO_FLAGS = RenameFlags(0)
_BOTH = Access.READ | Access.WRITE
_RENAME_FLAGS = RenameFlags.NOREPLACE | RenameFlags.EXCHANGE | RenameFlags.WHITEOUT


# --- making names

def _place(
    ctx: NameiContext, path: bytes, at: Dentry | None, *, directory: bool = False
) -> tuple[Dentry, bytes, Attr]:
    """Where a new name goes: (directory, name, attributes of the directory).

    Raises EEXIST, EROFS, EACCES; ENOENT for a trailing slash unless a `directory` is made.
    """
    here, name, slash = namei_parent(ctx, path, at=at)
    if name not in DOTS:
        unveiled(ctx, here, name, Access.EXISTS)        # what is hidden does not exist
    if name in DOTS or _exists(here, name):
        raise EEXIST
    if slash and not directory:
        raise ENOENT
    if here.mount.readonly:
        raise EROFS
    unveiled(ctx, here, name, Access.CREATE)
    attr = here.vnode.getattr()
    return here, name, attr


def _allow_new(ctx: NameiContext, here: Dentry, attr: Attr) -> None:
    """Raises EACCES; ENOENT in a deleted directory, and in one that takes no names."""
    if not here.vnode.takes_names:
        raise ENOENT
    may_create(ctx.cred, attr)
    if here.deleted:
        raise ENOENT


def _exists(here: Dentry, name: bytes) -> bool:
    try:
        here.child(name)
    except ENOENT:
        return False
    return True


def mkdir(ctx: NameiContext, path: bytes, mode: int, *, at: Dentry | None = None) -> Dentry:
    """Make a directory.  Only permission and sticky bits of `mode` count."""
    here, name, attr = _place(ctx, path, at, directory=True)
    _allow_new(ctx, here, attr)
    mode, uid, gid = new_owner(ctx.cred, attr, FileType.DIR | (mode & 0o1777))
    return _made(here, name, here.vnode.mkdir(name, mode & 0o7777, uid, gid))


def _made(here: Dentry, name: bytes, vnode: Vnode) -> Dentry:
    """The dentry of what was just made, after who watches the directory was told."""
    marks = here.mount.marks
    if marks is not None:
        marks.tell_name(here, name, IN_CREATE, vnode)
    return here.adopt(name, vnode)


def mknod(ctx: NameiContext, path: bytes, mode: int, rdev: int = 0, *, at: Dentry | None = None) -> Dentry:
    """Make a file of any other kind.

    A `mode` without a type makes a regular file.  Raises EPERM for devices made by the unprivileged.
    """
    if not mode & S_IFMT:
        mode |= FileType.REG
    kind = type_of(mode)
    if kind == FileType.DIR:
        raise EPERM
    if kind == FileType.LNK:
        raise EINVAL
    here, name, attr = _place(ctx, path, at)
    _allow_new(ctx, here, attr)
    device = kind in (FileType.CHR, FileType.BLK)
    if device and not ctx.cred.privileged:
        raise EPERM
    if ctx.guard is not None and kind == FileType.REG:
        ctx.guard.makes(here, name)
    mode, uid, gid = new_owner(ctx.cred, attr, kind | (mode & 0o7777))
    return _made(here, name, here.vnode.create(name, mode, uid, gid, rdev if device else 0))


def symlink(ctx: NameiContext, target: bytes, path: bytes, *, at: Dentry | None = None) -> Dentry:
    """Make a symbolic link.  `path` will lead to `target`."""
    if not target:
        raise ENOENT
    if len(target) >= PATH_MAX:
        raise ENAMETOOLONG
    here, name, attr = _place(ctx, path, at)
    _allow_new(ctx, here, attr)
    _, uid, gid = new_owner(ctx.cred, attr, FileType.LNK | 0o777)
    return _made(here, name, here.vnode.symlink(name, target, uid, gid))


def link(
    ctx: NameiContext,
    path: bytes,
    new_path: bytes,
    *,
    at: Dentry | None = None,
    new_at: Dentry | None = None,
    follow: bool = False,
    empty_ok: bool = False,
) -> Dentry:
    """linkat(2): one more name for the file at `path`.  With `empty_ok` and an empty path, for `at` itself."""
    old = namei(ctx, path, at=at, follow=follow, empty_ok=empty_ok)
    unveiled(ctx, old, b"", _BOTH)         # of a descriptor too: another name may be unveiled for more
    here, name, attr = _place(ctx, new_path, new_at)
    if old.mount is not here.mount:
        raise EXDEV
    _may_hardlink(ctx, old)
    _allow_new(ctx, here, attr)
    if old.vnode.is_dir:
        raise EPERM
    if ctx.guard is not None:
        ctx.guard.makes(here, name)
    here.vnode.link(name, old.vnode)
    marks = here.mount.marks
    if marks is not None:
        marks.changed(old.vnode)
    return _made(here, name, old.vnode)


def _may_hardlink(ctx: NameiContext, old: Dentry) -> None:
    """protected_hardlinks (proc_sys_fs(5)): others' files need to be plain ones we may read and write.  Raises
    EPERM.
    """
    if ctx.cred.privileged:
        return
    attr = old.vnode.getattr()
    if is_owner(ctx.cred, attr):
        return
    if old.vnode.type != FileType.REG or attr.mode & 0o4000 or attr.mode & 0o2010 == 0o2010:
        raise EPERM
    try:
        permission(ctx.cred, attr, Access.READ | Access.WRITE)
    except EACCES:
        raise EPERM from None


# --- taking names away

def _victim(ctx: NameiContext, path: bytes, at: Dentry | None, dots: dict[bytes, type[Errno]]) -> tuple[
    Dentry, bytes, bool, Dentry
]:
    """(directory, name, trailing slash, what is there); `dots` says what to raise for ".", ".." and "/"."""
    here, name, slash = namei_parent(ctx, path, at=at, exists=True)
    if name in DOTS:
        raise dots[name]
    if here.mount.readonly:
        raise EROFS
    child = here.child(name)
    unveiled(ctx, here, name, Access.CREATE)
    return here, name, slash, child


_UNLINK_DOTS: dict[bytes, type[Errno]] = {b".": EISDIR, b"..": EISDIR, b"/": EISDIR}
_RMDIR_DOTS: dict[bytes, type[Errno]] = {b".": EINVAL, b"..": ENOTEMPTY, b"/": EBUSY}


def unlink(ctx: NameiContext, path: bytes, *, at: Dentry | None = None) -> None:
    """Take a name away."""
    here, name, slash, child = _victim(ctx, path, at, _UNLINK_DOTS)
    if slash:
        raise EISDIR if child.vnode.is_dir else ENOTDIR
    may_delete(ctx.cred, here.vnode.getattr(), child.vnode.getattr(), isdir=False)
    if child.mounted is not None:
        raise EBUSY
    if ctx.guard is not None:
        ctx.guard.removes(child)
    here.vnode.unlink(name)
    _removed(here, name, child)


def rmdir(ctx: NameiContext, path: bytes, *, at: Dentry | None = None) -> None:
    """Remove an empty directory."""
    here, name, _, child = _victim(ctx, path, at, _RMDIR_DOTS)
    may_delete(ctx.cred, here.vnode.getattr(), child.vnode.getattr(), isdir=True)
    if child.mounted is not None:
        raise EBUSY
    here.vnode.rmdir(name)
    _removed(here, name, child)


def _removed(here: Dentry, name: bytes, child: Dentry) -> None:
    """The dentry of what has lost its name goes, and who watches is told."""
    child.drop()
    marks = here.mount.marks
    if marks is not None:
        marks.removed(here, name, child.vnode)


# --- renaming

def rename(
    ctx: NameiContext,
    path: bytes,
    new_path: bytes,
    flags: RenameFlags = NO_FLAGS,
    *,
    at: Dentry | None = None,
    new_at: Dentry | None = None,
) -> None:
    """renameat2(2)."""
    if int(flags) & ~int(_RENAME_FLAGS) or (
        flags & RenameFlags.EXCHANGE and flags & (RenameFlags.NOREPLACE | RenameFlags.WHITEOUT)
    ):
        raise EINVAL
    here, name, slash = namei_parent(ctx, path, at=at, exists=True)
    there, new_name, new_slash = namei_parent(ctx, new_path, at=new_at)
    if here.mount is not there.mount:
        raise EXDEV
    if name in DOTS:
        raise EBUSY
    if new_name in DOTS:
        raise EEXIST if flags & RenameFlags.NOREPLACE else EBUSY
    if here.mount.readonly:
        raise EROFS
    unveiled(ctx, here, name, Access.EXISTS)
    unveiled(ctx, there, new_name, Access.EXISTS)
    source = here.child(name)
    target = _rename_target(there, new_name, flags)
    exchange = bool(flags & RenameFlags.EXCHANGE)
    if exchange and new_slash and target is not None and not target.vnode.is_dir:
        raise ENOTDIR
    if not source.vnode.is_dir and (slash or (new_slash and not exchange)):
        raise ENOTDIR
    if there.is_under(source):
        raise EINVAL
    if target is not None and here.is_under(target):
        raise EINVAL if exchange else ENOTEMPTY
    _unveil_rename(ctx, (here, name, source), (there, new_name, target), exchange=exchange)
    if target is not None and target.vnode is source.vnode:
        return
    _may_rename(ctx, here, source, there, target, exchange=exchange)
    _ask_guard(ctx, source, target, flags)
    here.vnode.rename(name, there.vnode, new_name, flags)
    if exchange:
        here.exchange(name, there, new_name)
    else:
        here.move(name, there, new_name)
    marks = here.mount.marks
    if marks is not None:
        replaced = None if target is None or exchange else target.vnode
        marks.renamed((here, name), (there, new_name), source.vnode, replaced)
        if exchange and target is not None:
            marks.renamed((there, new_name), (here, name), target.vnode, None)


def _ask_guard(ctx: NameiContext, source: Dentry, target: Dentry | None, flags: RenameFlags) -> None:
    """The last questions of a rename.  Raises EPERM."""
    if flags & RenameFlags.WHITEOUT and not ctx.cred.privileged:
        raise EPERM
    if ctx.guard is not None:
        ctx.guard.renames(source, target, replaces=not flags & RenameFlags.EXCHANGE)


def _unveil_rename(
    ctx: NameiContext, old: tuple[Dentry, bytes, Dentry | None], new: tuple[Dentry, bytes, Dentry | None], *, exchange: bool
) -> None:
    """Both names must be unveiled for it, no directory moves that unveiled names depend on, and nothing is unveiled by it.

    Raises ENOENT, EACCES.
    """
    veil = ctx.veil
    if veil is None:
        return
    for directory, name, moved in (old, new):
        unveiled(ctx, directory, name, Access.CREATE)
        if moved is not None and moved.vnode.is_dir:
            veil.may_move(moved)
    veil.may_become(*old[:2], *new[:2])
    if exchange:
        veil.may_become(*new[:2], *old[:2])


def _rename_target(there: Dentry, name: bytes, flags: RenameFlags) -> Dentry | None:
    """What has the new name now.  Raises EEXIST, ENOENT as the flags want it."""
    try:
        target = there.child(name)
    except ENOENT:
        if flags & RenameFlags.EXCHANGE:
            raise
        return None
    if flags & RenameFlags.NOREPLACE:
        raise EEXIST
    return target


def _may_rename(
    ctx: NameiContext, here: Dentry, source: Dentry, there: Dentry, target: Dentry | None, *, exchange: bool
) -> None:
    """fs/namei.c:vfs_rename.  Raises EACCES, EPERM, EISDIR, ENOTDIR, ENOENT, EBUSY."""
    cred = ctx.cred
    isdir = source.vnode.is_dir
    attr = source.vnode.getattr()
    may_delete(cred, here.vnode.getattr(), attr, isdir=isdir)
    there_attr = there.vnode.getattr()
    if target is None:
        _allow_new(ctx, there, there_attr)
    else:
        target_attr = target.vnode.getattr()
        may_delete(cred, there_attr, target_attr, isdir=target.vnode.is_dir if exchange else isdir)
        if exchange and target.vnode.is_dir and here is not there:
            permission(cred, target_attr, Access.WRITE)
    if isdir and here is not there:
        permission(cred, attr, Access.WRITE)
    if source.mounted is not None or (target is not None and target.mounted is not None):
        raise EBUSY
