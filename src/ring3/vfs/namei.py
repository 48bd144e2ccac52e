"""namei: from a path to a dentry.  The only path walker; hence where permissions, links, mounts and the veil act.

A path is walked component by component, with a stack of components still to go: following a link pushes what it says.
What has been walked is a dentry, never a string, so no rename or link can carry a guest above its root: ".." at the
root is the root, and a file system is only ever asked for single names.

`open_file` is the whole of open(2).  The order of refusals is Linux's: fs/namei.c (link_path_walk, open_last_lookups,
do_open, may_open), path_resolution(7), openat2(2).  Not here: the calls that change names (`names.py`), descriptors.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

from ring3.abi.flags import ACCMODE, S_ISVTX, Access, FileType, MountFlags, OpenFlags
from ring3.abi.records import Attr, AttrChange
from ring3.errors import (
    EACCES,
    EEXIST,
    EINVAL,
    EISDIR,
    ELOOP,
    ENAMETOOLONG,
    ENOENT,
    ENOTDIR,
    EPERM,
    EROFS,
    ETXTBSY,
    EXDEV,
)
from ring3.vfs.access import is_owner, may_create, new_owner, permission, without_setid
from ring3.vfs.file import File, PathFile, RegularFile

if TYPE_CHECKING:
    from ring3.protocols import Credentials, Veil
    from ring3.vfs.dentry import Dentry

PATH_MAX = 4096         # the terminating zero included
MAX_LINKS = 40          # MAXSYMLINKS, include/linux/namei.h

DOTS = (b".", b"..", b"/")      # last components that are no names


class Resolve(enum.IntFlag):
    """openat2(2): how far a look-up may go."""

    NONE = 0
    NO_XDEV = 0x01
    NO_MAGICLINKS = 0x02
    NO_SYMLINKS = 0x04
    BENEATH = 0x08
    IN_ROOT = 0x10


_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08
_SCOPED = 0x18              # BENEATH or IN_ROOT


class NameiContext(NamedTuple):
    """Who looks up, from where.  `emulation_root` is tried first for absolute paths (NetBSD's /emul/NAME)."""

    root: Dentry
    cwd: Dentry
    cred: Credentials
    veil: Veil | None = None
    emulation_root: Dentry | None = None


class Walk:
    """One look-up: the links followed so far, and the limits it goes under."""

    __slots__ = ("base", "checked", "cred", "links", "resolve", "root")

    def __init__(self, ctx: NameiContext, at: Dentry | None, resolve: Resolve, root: Dentry | None = None) -> None:
        self.cred = ctx.cred
        self.base = ctx.cwd if at is None else at
        self.resolve = int(resolve)                 # mostly 0, and an integer is quick to ask
        self.root = self.base if self.resolve & _SCOPED else root or ctx.root
        self.links = 0
        self.checked = not ctx.cred.privileged      # whether search permission needs asking

    def start(self, path: bytes, base: Dentry) -> Dentry:
        """Where a path begins.  Raises EXDEV for an absolute one that must stay beneath."""
        if path[0] != 0x2F:
            return base
        if self.resolve & _BENEATH:
            raise EXDEV
        if self.resolve & _NO_XDEV and self.root.mount is not self.base.mount:
            raise EXDEV
        return self.root

    def count_link(self) -> None:
        """Raises ELOOP after 40, and where links are forbidden."""
        self.links += 1
        if self.links > MAX_LINKS or self.resolve & _NO_SYMLINKS:
            raise ELOOP

    def up(self, here: Dentry) -> Dentry:
        """One ".."."""
        if self.resolve & _BENEATH and here is self.root:
            raise EXDEV
        above = here.up(self.root)
        if self.resolve & _NO_XDEV and above.mount is not here.mount:
            raise EXDEV
        return above

    def down(self, here: Dentry, name: bytes) -> Dentry:
        """One name, mounts crossed, links not followed.  Raises ENAMETOOLONG, ENOENT, EXDEV."""
        child = here.child(name)
        if child.mounted is not None:
            child = child.top()
            if self.resolve & _NO_XDEV:
                raise EXDEV
        return child

    def jump(self, link: Dentry) -> Dentry | None:
        """Where a magic link leads at once; None for an ordinary link.  Raises ELOOP, EXDEV where those are
        forbidden.
        """
        target = link.vnode.follow()
        if target is not None:
            if self.resolve & _NO_MAGICLINKS:
                raise ELOOP
            if self.resolve & _SCOPED:
                raise EXDEV
            if self.resolve & _NO_XDEV and target.mount is not link.mount:
                raise EXDEV
        return target

    def search(self, here: Dentry) -> None:
        """Raises ENOTDIR, or EACCES unless the directory may be searched."""
        if here.vnode.type != FileType.DIR:
            raise ENOTDIR
        if self.checked:
            permission(self.cred, here.vnode.getattr(), 1)

    def target(self, link: Dentry) -> bytes:
        """What an ordinary link says.  Raises ENOENT for nothing, ENAMETOOLONG."""
        text = link.vnode.readlink()
        if not text:
            raise ENOENT
        if len(text) >= PATH_MAX:
            raise ENAMETOOLONG
        return text

    def walk(self, path: bytes, base: Dentry, *, follow: bool, parent: bool) -> tuple[Dentry, bytes, bool]:
        """(dentry, last component, trailing slash).

        With `parent` the last component is not looked at: a name, ".", "..", or "/" for the root itself.  Without, it
        is empty and the dentry is the file's; a trailing slash has been obeyed.
        """
        check_path(path)
        here = self.start(path, base)
        pending = [name for name in path.split(b"/") if name]
        pending.reverse()
        slash = path.endswith(b"/")
        if parent and not pending:
            return here, b"/", True
        while pending:
            name = pending.pop()
            self.search(here)
            if parent and not pending:
                return here, name, slash
            if name == b".":
                continue
            if name == b"..":
                here = self.up(here)
                continue
            child = self.down(here, name)
            if child.vnode.type == FileType.LNK and (pending or follow or slash):
                self.count_link()
                jumped = self.jump(child)
                if jumped is not None:
                    here = jumped
                    continue
                text = self.target(child)
                if not pending:
                    slash, follow = slash or text.endswith(b"/"), True
                here = self.start(text, here)
                pending.extend(reversed([name for name in text.split(b"/") if name]))
                continue
            here = child
        if slash and here.vnode.type != FileType.DIR:
            raise ENOTDIR
        return here, b"", slash


def check_path(path: bytes) -> None:
    """Raises ENOENT for an empty path, ENAMETOOLONG from 4096 bytes (the zero counted) on, EINVAL for a zero inside."""
    if not path:
        raise ENOENT
    if len(path) >= PATH_MAX:
        raise ENAMETOOLONG
    if b"\0" in path:
        raise EINVAL


def namei(
    ctx: NameiContext,
    path: bytes,
    *,
    at: Dentry | None = None,
    follow: bool = True,
    empty_ok: bool = False,
    resolve: Resolve = Resolve.NONE,
    access: Access = Access.EXISTS,
) -> Dentry:
    """The dentry of an existing file.  `at` is where relative paths begin (the cwd without); `access` is what the veil
    is told.

    With `empty_ok` (AT_EMPTY_PATH) an empty path is `at` itself.  Raises ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG;
    EXDEV and ELOOP by `resolve`.
    """
    if not path and empty_ok:
        return ctx.cwd if at is None else at
    found: Dentry | None = None
    emul = ctx.emulation_root
    if emul is not None and path[:1] == b"/":
        found = _namei_emulated(ctx, path, emul, follow=follow, resolve=resolve)
    if found is None:
        walk = Walk(ctx, at, resolve)
        found = walk.walk(path, walk.base, follow=follow, parent=False)[0]
    unveiled(ctx, found, b"", access)
    return found


def _namei_emulated(ctx: NameiContext, path: bytes, emul: Dentry, *, follow: bool, resolve: Resolve) -> Dentry | None:
    """The file as the alternate root has it; None where it has none, or has only the root itself."""
    try:
        walk = Walk(ctx, None, resolve, emul)
        found = walk.walk(path, walk.base, follow=follow, parent=False)[0]
    except (ENOENT, ENOTDIR):
        return None
    return None if found is emul else found


def namei_parent(
    ctx: NameiContext, path: bytes, *, at: Dentry | None = None, resolve: Resolve = Resolve.NONE
) -> tuple[Dentry, bytes, bool]:
    """(directory, last component, had a trailing slash).  The last may be ".", ".." or "/" (the root): refused by each
    call its way.

    Search permission of the directory is checked, nothing else.  Raises as `namei`.
    """
    walk = Walk(ctx, at, resolve)
    return walk.walk(path, walk.base, follow=False, parent=True)


def unveiled(ctx: NameiContext, dentry: Dentry, name: bytes, access: Access) -> None:
    """Ask the veil about a dentry, or the name `name` in it.  Raises ENOENT, EACCES."""
    if ctx.veil is not None:
        path = dentry.path(ctx.root)
        ctx.veil.check(path.rstrip(b"/") + b"/" + name if name else path, access)


# --- opening

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
    if flags & OpenFlags.PATH:
        follow = not flags & OpenFlags.NOFOLLOW
        dentry = namei(ctx, path, at=at, follow=follow, resolve=resolve, empty_ok=empty_ok)
        if flags & OpenFlags.DIRECTORY and not dentry.vnode.is_dir:
            raise ENOTDIR
        dentry.vnode.hold()
        file: File = PathFile(dentry.vnode, flags)
        file.dentry = dentry
        return file
    if flags & OpenFlags.TMPFILE:
        return _open_tmpfile(ctx, path, flags, mode & ~umask, at, resolve)
    if flags & OpenFlags.CREAT:
        dentry, created = _create_or_find(ctx, path, flags, mode & 0o7777 & ~umask, at, resolve)
    else:
        dentry = namei(ctx, path, at=at, follow=not flags & OpenFlags.NOFOLLOW, resolve=resolve, access=_wanted(flags))
        created = False
    return open_dentry(ctx, dentry, flags, created=created)


def open_dentry(ctx: NameiContext, dentry: Dentry, flags: OpenFlags, *, created: bool = False) -> File:
    """The second half of open(2), from a dentry on: checks of the file itself, truncation, the description.

    `created`: this open made it, so no permission is asked.
    """
    vnode = dentry.vnode
    if flags & OpenFlags.CREAT and vnode.is_dir:
        raise EISDIR
    if flags & OpenFlags.DIRECTORY and not vnode.is_dir:
        raise ENOTDIR
    writes = bool(flags & ACCMODE)
    truncates = bool(flags & OpenFlags.TRUNC) and vnode.type == FileType.REG and not created
    if not created:
        if truncates and dentry.mount.readonly:
            raise EROFS
        _may_open(ctx.cred, dentry, flags)
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
    return file


def _check_flags(flags: OpenFlags) -> OpenFlags:
    """What fs/open.c:build_open_flags makes of them.  Raises EINVAL."""
    if flags & OpenFlags.PATH:
        return flags & _PATH_KEEPS
    if flags & OpenFlags.TMPFILE:
        if not flags & OpenFlags.DIRECTORY or flags & OpenFlags.CREAT or not flags & ACCMODE:
            raise EINVAL
    elif flags & OpenFlags.CREAT and flags & OpenFlags.DIRECTORY:
        raise EINVAL
    return flags


def _wanted(flags: OpenFlags) -> Access:
    """The access an open asks for.  Access mode 3 asks for both and later gives neither; truncating is writing."""
    wanted = (Access.READ, Access.WRITE, Access.READ | Access.WRITE, Access.READ | Access.WRITE)[flags & ACCMODE]
    return wanted | Access.WRITE if flags & OpenFlags.TRUNC else wanted


def _may_open(cred: Credentials, dentry: Dentry, flags: OpenFlags) -> None:
    """fs/namei.c:may_open.  Raises ELOOP, EISDIR, EACCES, EROFS, EPERM."""
    vnode = dentry.vnode
    wanted = _wanted(flags)
    if vnode.type == FileType.LNK:
        raise ELOOP
    if vnode.type == FileType.DIR and wanted & Access.WRITE:
        raise EISDIR
    if vnode.type in (FileType.CHR, FileType.BLK) and dentry.mount.flags & MountFlags.NODEV:
        raise EACCES
    if wanted & Access.WRITE and dentry.mount.fs.readonly and vnode.type == FileType.REG:
        raise EROFS
    if not cred.privileged:
        attr = vnode.getattr()
        permission(cred, attr, wanted)
        if flags & OpenFlags.NOATIME and not is_owner(cred, attr):
            raise EPERM


def _create_or_find(
    ctx: NameiContext, path: bytes, flags: OpenFlags, mode: int, at: Dentry | None, resolve: Resolve
) -> tuple[Dentry, bool]:
    """O_CREAT: the file, and whether it was made.  A link that leads nowhere makes what it names."""
    walk = Walk(ctx, at, resolve)
    here, name, slash = walk.walk(path, walk.base, follow=False, parent=True)
    while name not in DOTS:
        if slash:
            raise EISDIR
        try:
            found = walk.down(here, name)
        except ENOENT:
            return _create(ctx, here, name, mode), True
        if found.vnode.type != FileType.LNK or flags & (OpenFlags.EXCL | OpenFlags.NOFOLLOW):
            return _found(ctx, here, found, flags), False
        walk.count_link()
        jumped = walk.jump(found)
        if jumped is not None:
            return _found(ctx, here, jumped, flags), False
        here, name, slash = walk.walk(walk.target(found), here, follow=False, parent=True)
    if name == b"..":
        here = walk.up(here)
    return _found(ctx, here, here, flags), False


def _found(ctx: NameiContext, directory: Dentry, dentry: Dentry, flags: OpenFlags) -> Dentry:
    """What O_CREAT says to a file that is there.  Raises EEXIST, EISDIR; EACCES by the rule of sticky directories."""
    if flags & OpenFlags.EXCL:
        raise EEXIST
    if dentry.vnode.is_dir:
        raise EISDIR
    unveiled(ctx, dentry, b"", _wanted(flags))
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
    """Make a regular file.  Raises EROFS, EACCES, ENOENT in a deleted directory."""
    if here.mount.readonly:
        raise EROFS
    directory = here.vnode.getattr()
    may_create(ctx.cred, directory)
    if here.deleted:
        raise ENOENT
    unveiled(ctx, here, name, Access.WRITE)
    return here.adopt(name, here.vnode.create(name, *new_owner(ctx.cred, directory, FileType.REG | mode)))


def _open_tmpfile(
    ctx: NameiContext, path: bytes, flags: OpenFlags, mode: int, at: Dentry | None, resolve: Resolve
) -> File:
    """O_TMPFILE: a file without a name in the file system of a directory."""
    directory = namei(ctx, path, at=at, resolve=resolve, access=Access.WRITE)
    if not directory.vnode.is_dir:
        raise ENOTDIR
    if directory.mount.readonly:
        raise EROFS
    attr = directory.vnode.getattr()
    permission(ctx.cred, attr, Access.WRITE | Access.EXECUTE)
    vnode = directory.vnode.tmpfile(*new_owner(ctx.cred, attr, FileType.REG | (mode & 0o7777)))
    file = vnode.open(flags)
    file.dentry = directory.nameless(vnode, b"#%d" % vnode.getattr().ino)
    return file
