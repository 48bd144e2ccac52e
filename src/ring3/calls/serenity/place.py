"""Where the path of a SerenityOS call begins, who may use what it leads to, and how paths in registers print.

A directory descriptor is looked at even where the path is absolute.  Root may do everything, also run what nobody may run.
Not here: walking (`vfs/namei.py`, by the rules of the personality).
Source: VirtualFileSystem.cpp, InodeMetadata.h, CustodyBase (reference, sections 1.3.1 and 4.8).
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from ring3.abi.flags import AT_FDCWD, S_IFMT, S_ISVTX, Access, FileType
from ring3.abi.records import Attr
from ring3.calls.serenity.argument import PATH_MAX, copy_text
from ring3.calls.sysarg import InBuffer, quote
from ring3.errors import EACCES, EBADF, EINVAL, EROFS, Errno
from ring3.proc.lookup import below, namei_context
from ring3.proc.proc import Rlimit, Thread
from ring3.vfs.access import permission
from ring3.vfs.dentry import Dentry
from ring3.vfs.file import File, PathFile
from ring3.vfs.namei import namei, namei_parent

OPEN_MAX: Final = 1024
_NOFILE: Final = int(Rlimit.NOFILE)
_SEEKABLE: Final = frozenset((FileType.REG, FileType.DIR, FileType.BLK, FileType.LNK))


class PathBytes(InBuffer):
    """The address of a path, or another text; its length stands in the next register or field."""

    def show_beside(self, t: Thread, value: Any, behind: Any) -> str:
        if not value:
            return self.show(t, value)
        try:
            return quote(copy_text(t, value, min(behind, PATH_MAX)), None)
        except (Errno, TypeError):
            return self.show(t, value)


PathAt = Annotated[int, PathBytes()]


def base(t: Thread, dirfd: int) -> Dentry | None:
    """The dentry a path is relative to; None for the current directory.  Raises EBADF, EINVAL for a file without a name."""
    if dirfd == AT_FDCWD:
        return None
    dentry = t.proc.fds.get(dirfd).dentry
    if dentry is None:
        raise EINVAL
    return dentry


def find(t: Thread, dirfd: int, path: bytes, *, follow: bool = True, access: Access = Access.EXISTS) -> Dentry:
    """The dentry of an existing file.  Raises what `namei` does, and what `base` does."""
    return namei(namei_context(t), path, at=base(t, dirfd), follow=follow, access=access)


def find_for(t: Thread, dirfd: int, path: bytes, access: Access, *, follow: bool = True) -> Dentry:
    """`find` for a call without options: its own veil asks for no more than that the file is seen, the user's for `access`."""
    dentry = find(t, dirfd, path, follow=follow)
    if t.proc.veil is not None:
        t.proc.veil.check_open(dentry, access)
    return dentry


def allow(t: Thread, attr: Attr, access: Access) -> None:
    """Raises EACCES unless the effective ids may; 0 may all."""
    cred = t.proc.cred
    if not cred.privileged:
        permission(cred, attr, access)


def not_sticky(t: Thread, directory: Attr, victim: Attr) -> None:
    """Raises EACCES in a sticky directory unless the file is the caller's own; that the directory is does not help."""
    cred = t.proc.cred
    if directory.mode & S_ISVTX and not cred.privileged and cred.fsuid != victim.uid:
        raise EACCES("somebody else's file in a sticky directory")


def read_only(t: Thread, path: bytes, at: Dentry | None) -> type[Errno]:
    """What is said of a new name on a read-only mount: that the directory is not the caller's to write comes first."""
    here = namei_parent(namei_context(t), path, at=at)[0]
    try:
        allow(t, here.vnode.getattr(), Access.WRITE)
    except EACCES:
        return EACCES
    return EROFS


def told_path(t: Thread, dentry: Dentry) -> bytes:
    """A file's absolute path as its program calls it: what lies below the emulation root is found without naming that."""
    p = t.proc
    path = dentry.path(p.fs.root)
    if p.emulation is None or p.emulation[1] is not p.fs.root:
        return path
    return below(p.emulation[0].path(p.fs.root), path)


def most_descriptors(t: Thread) -> int:
    """One more than the largest descriptor there can be."""
    return min(OPEN_MAX, t.proc.rlimits[_NOFILE][0])


def described(t: Thread, fd: int) -> File:
    """The open file behind `fd`, not one that was opened for neither reading nor writing.  Raises EBADF."""
    file = t.proc.fds.get(fd)
    if isinstance(file, PathFile):
        raise EBADF
    return file


def seekable(file: File) -> bool:
    """Whether a file has an offset that means anything."""
    return file.getattr().mode & S_IFMT in _SEEKABLE
