"""The whole of open(2), from a path to an open file description.

The order of refusals is Linux's: fs/open.c (build_open_flags), fs/namei.c (open_last_lookups, do_open, may_open), open(2).
Not here: walking the path (`namei.py`), what a description does (`file.py`), descriptors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.abi.flags import ACCMODE, S_ISVTX, Access, FileType, MountFlags, OpenFlags
from ring3.abi.notify import IN_CREATE, IN_MODIFY, IN_OPEN
from ring3.abi.records import Attr, AttrChange
from ring3.errors import EACCES, EEXIST, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM, EROFS, ETXTBSY
from ring3.vfs.access import is_owner, may_create, new_owner, permission, without_setid
from ring3.vfs.file import File, PathFile, RegularFile
from ring3.vfs.namei import DOTS, NameiContext, Resolve, Walk, conceal, from_either_root, namei, unveiled

if TYPE_CHECKING:
    from ring3.protocols import Credentials
    from ring3.vfs.dentry import Dentry
    from ring3.vfs.inotify import Marks

_CREAT, _TRUNC, _DIRECTORY, _PATH = (
    int(flag) for flag in (OpenFlags.CREAT, OpenFlags.TRUNC, OpenFlags.DIRECTORY, OpenFlags.PATH)
)
_TMPFILE, _NOFOLLOW = int(OpenFlags.TMPFILE), int(OpenFlags.NOFOLLOW)
_WRITE = int(Access.WRITE)
_BOTH = Access.READ | Access.WRITE
_WANTED = (Access.READ, Access.WRITE, _BOTH, _BOTH)     # by access mode; 3 asks for both and later gives neither
_MAKES = Access.WRITE | Access.CREATE
_PATH_KEEPS = OpenFlags.PATH | OpenFlags.DIRECTORY | OpenFlags.NOFOLLOW | OpenFlags.CLOEXEC


def open_file(
    ctx: NameiContext,
    path: bytes,
    flags: OpenFlags,
    mode: int = 0,
    *,
    at: Dentry | None = None,
    umask: int = 0,
    resolve: Resolve = Resolve.NONE,
    empty_ok: bool = False,
) -> File:
    """open(2): the new open file description, its dentry set.  `mode` is for a file that is made; `umask` is taken
    from it.

    Raises everything open(2) does.  A FIFO may come back half open: see `File.finish_open`.
    """
    flags = _check_flags(flags)
    bits = int(flags)               # plain integers are quick to ask
    follow = not bits & _NOFOLLOW
    if bits & _PATH:
        dentry = namei(ctx, path, at=at, follow=follow, resolve=resolve, empty_ok=empty_ok)
        if bits & _DIRECTORY and not dentry.vnode.is_dir:
            raise ENOTDIR
        dentry.vnode.hold()
        file: File = PathFile(dentry.vnode, flags)
        file.dentry = dentry
        return file
    if bits & _TMPFILE:
        return _open_tmpfile(ctx, path, flags, mode & ~umask, at, resolve)
    if bits & _CREAT:
        dentry, created = _create_or_find(ctx, path, flags, mode & 0o7777 & ~umask, at, resolve)
    else:
        dentry = namei(ctx, path, at=at, follow=follow, resolve=resolve, access=_unveil_wanted(bits))
        created = False
    return open_dentry(ctx, dentry, flags, created=created)


def open_dentry(ctx: NameiContext, dentry: Dentry, flags: OpenFlags, *, created: bool = False) -> File:
    """The second half of open(2), from a dentry on: checks of the file itself, truncation, the description.

    `created`: this open made it, so no permission is asked.
    """
    vnode = dentry.vnode
    bits = int(flags)
    if bits & _CREAT and vnode.is_dir:
        raise EISDIR
    if bits & _DIRECTORY and not vnode.is_dir:
        raise ENOTDIR
    writes = bits & ACCMODE != 0
    truncates = bits & _TRUNC != 0 and vnode.type == FileType.REG and not created
    if not created:
        if truncates and dentry.mount.readonly:
            raise EROFS
        _may_open(ctx.cred, dentry, flags)
        if ctx.guard is not None:
            ctx.guard.opens(dentry, writes=writes or truncates)
    if writes and vnode.type in (FileType.REG, FileType.DIR):
        if vnode.denied_writers > 0:
            raise ETXTBSY
        if dentry.mount.readonly:
            raise EROFS
    file = vnode.open(flags)
    strips = 0
    if (writes or truncates) and not ctx.cred.privileged and isinstance(file, RegularFile):
        mode = vnode.getattr().mode
        strips = mode & 0o6000
        file.strips = bool(strips)
    if truncates:
        try:
            if vnode.denied_writers > 0:
                raise ETXTBSY
            vnode.setattr(AttrChange(size=0, mode=without_setid(mode) if strips else None))
        except BaseException:
            file.close()
            raise
    file.dentry = dentry
    if dentry.mount.marks is not None:
        _tell(dentry.mount.marks, dentry, truncates=truncates)
    return file


def _tell(marks: Marks, dentry: Dentry, *, truncates: bool) -> None:
    """Who watches hears of an open (`inotify.py`)."""
    marks.tell(dentry, IN_OPEN)
    if truncates:
        marks.tell(dentry, IN_MODIFY)


def _check_flags(flags: OpenFlags) -> OpenFlags:
    """What fs/open.c:build_open_flags makes of them.  Raises EINVAL."""
    bits = int(flags)
    if bits & _PATH:
        return flags & _PATH_KEEPS
    if bits & _TMPFILE:
        if not bits & _DIRECTORY or bits & _CREAT or not bits & ACCMODE:
            raise EINVAL
    elif bits & _CREAT and bits & _DIRECTORY:
        raise EINVAL
    return flags


def _wanted(bits: int) -> Access:
    """The access an open asks for; truncating is writing."""
    wanted = _WANTED[bits & ACCMODE]
    return wanted | Access.WRITE if bits & _TRUNC else wanted


def _unveil_wanted(bits: int) -> Access:
    """What the veil is asked for: a directory opened as one is looked through."""
    return Access.BROWSE if bits & _DIRECTORY and not bits & ACCMODE else _wanted(bits)


def _may_open(cred: Credentials, dentry: Dentry, flags: OpenFlags) -> None:
    """fs/namei.c:may_open.  Raises ELOOP, EISDIR, EACCES, EROFS, EPERM."""
    vnode = dentry.vnode
    bits = int(flags)
    asked = _wanted(bits)
    writes = int(asked) & _WRITE
    if vnode.type == FileType.LNK:
        raise ELOOP
    if vnode.type == FileType.DIR and writes:
        raise EISDIR
    if vnode.type in (FileType.CHR, FileType.BLK) and dentry.mount.flags & MountFlags.NODEV:
        raise EACCES
    if vnode.type == FileType.REG:
        if writes and dentry.mount.fs.readonly:
            raise EROFS
        if dentry.mount.flags & MountFlags.NOREGULAR:
            raise EACCES
    if not cred.privileged:
        attr = vnode.getattr()
        permission(cred, attr, asked)
        if flags & OpenFlags.NOATIME and not is_owner(cred, attr):
            raise EPERM


def _create_or_find(
    ctx: NameiContext, path: bytes, flags: OpenFlags, mode: int, at: Dentry | None, resolve: Resolve
) -> tuple[Dentry, bool]:
    """O_CREAT: the file, and whether it was made.  A link that leads nowhere makes what it names."""
    follow = not flags & (OpenFlags.EXCL | OpenFlags.NOFOLLOW)
    if ctx.emulation_root is None and ctx.told is None:
        try:
            here, name, found = _last(Walk(ctx, at, resolve), path, follow=follow)
        except (ENOTDIR, ELOOP, EACCES, ENAMETOOLONG, EISDIR):
            conceal(ctx, path, at, resolve)
            raise
    else:
        here, name, found = from_either_root(ctx, path, at, resolve, lambda walk: _last(walk, path, follow=follow))
    if found is None:
        return _create(ctx, here, name, mode), True
    return _found(ctx, here, found, flags), False


def _last(walk: Walk, path: bytes, *, follow: bool) -> tuple[Dentry, bytes, Dentry | None]:
    """(directory, name in it, what is there) of the file that O_CREAT would open or make."""
    here, name, slash = walk.to_parent(path, exists=False)
    while name not in DOTS:
        if slash:
            raise EISDIR
        try:
            found = walk.down(here, name)
        except ENOENT:
            return here, name, None
        if found.vnode.type != FileType.LNK or not follow:
            return here, name, found
        walk.count_link()
        jumped = walk.jump(found)
        if jumped is not None:
            return here, name, jumped
        here, name, slash = walk.walk(walk.target(found), here, follow=False, parent=True)
    if name == b"..":
        here = walk.up(here)
    return here, name, here


def _found(ctx: NameiContext, directory: Dentry, dentry: Dentry, flags: OpenFlags) -> Dentry:
    """What O_CREAT says to a file that is there.  Raises EEXIST, EISDIR; EACCES by the rule of sticky directories."""
    unveiled(ctx, dentry, b"", Access.EXISTS)
    if flags & OpenFlags.EXCL:
        raise EEXIST
    if dentry.vnode.is_dir:
        raise EISDIR
    unveiled(ctx, dentry, b"", _wanted(int(flags)))
    if not ctx.cred.privileged and dentry.vnode.type in (FileType.REG, FileType.FIFO):
        _may_create_in_sticky(ctx.cred, directory.vnode.getattr(), dentry.vnode.getattr())
    return dentry


def _may_create_in_sticky(cred: Credentials, directory: Attr, attr: Attr) -> None:
    """protected_regular and protected_fifos at 1 (proc_sys_fs(5)): others' files in /tmp are not opened with
    O_CREAT.
    """
    if (
        directory.mode & S_ISVTX and directory.mode & 0o002
        and attr.uid not in (directory.uid, cred.fsuid)
    ):
        raise EACCES


def _create(ctx: NameiContext, here: Dentry, name: bytes, mode: int) -> Dentry:
    """Make a regular file.  Raises EROFS, EACCES, ENOENT in a deleted directory and in one that takes no names."""
    unveiled(ctx, here, name, Access.EXISTS)        # the same answer whether what is hidden is there or not
    if not here.vnode.takes_names:
        raise ENOENT
    if here.mount.readonly:
        raise EROFS
    directory = here.vnode.getattr()
    may_create(ctx.cred, directory)
    if here.deleted:
        raise ENOENT
    unveiled(ctx, here, name, _MAKES)
    if ctx.guard is not None:
        ctx.guard.makes(here, name)
    made = here.vnode.create(name, *new_owner(ctx.cred, directory, FileType.REG | mode))
    if here.mount.marks is not None:
        here.mount.marks.tell_name(here, name, IN_CREATE, made)
    return here.adopt(name, made)


def _open_tmpfile(
    ctx: NameiContext, path: bytes, flags: OpenFlags, mode: int, at: Dentry | None, resolve: Resolve
) -> File:
    """O_TMPFILE: a file without a name in the file system of a directory."""
    directory = namei(ctx, path, at=at, resolve=resolve, access=_MAKES)
    if not directory.vnode.is_dir:
        raise ENOTDIR
    if directory.mount.readonly:
        raise EROFS
    attr = directory.vnode.getattr()
    permission(ctx.cred, attr, Access.WRITE | Access.EXECUTE)
    if ctx.guard is not None:
        ctx.guard.makes(directory, b"(nameless)")
    vnode = directory.vnode.tmpfile(*new_owner(ctx.cred, attr, FileType.REG | (mode & 0o7777)))
    file = vnode.open(flags)
    file.dentry = directory.nameless(vnode, b"#%d" % vnode.getattr().ino)
    return file
