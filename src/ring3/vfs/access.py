"""Who may do what to a file, by mode bits and the guest's own credentials.  Pure functions that raise or do not.

Source: fs/namei.c (acl_permission_check, may_delete, may_create), fs/attr.c (setattr_prepare), path_resolution(7).
Not here: read-only mounts (the callers know the mount), ACLs (not looked at).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.abi.flags import S_IFMT, S_ISGID, S_ISUID, S_ISVTX, Access, FileType
from ring3.errors import EACCES, EISDIR, ENOTDIR, EPERM

if TYPE_CHECKING:
    from ring3.abi.records import Attr, AttrChange
    from ring3.protocols import Credentials


def in_group(cred: Credentials, gid: int) -> bool:
    """Whether `gid` is the group, or one of the groups, files are checked with."""
    return gid == cred.fsgid or gid in cred.groups


def permission(cred: Credentials, attr: Attr, access: int) -> None:
    """Raises EACCES unless `cred` has `access` (bits of `Access`) to a file with `attr`.

    A privileged one may read and write all, search every directory, and execute what anybody may execute.
    """
    mode, wanted = attr.mode, int(access)       # plain integers: this is asked for every component of every path
    if cred.privileged:
        if wanted & 1 and not mode & 0o111 and mode & S_IFMT != FileType.DIR:
            raise EACCES
        return
    if cred.fsuid == attr.uid:
        granted = mode >> 6
    elif in_group(cred, attr.gid):
        granted = mode >> 3
    else:
        granted = mode
    if wanted & ~granted & 7:
        raise EACCES


def check_guarded(cred: Credentials, link: Attr, directory: Attr) -> None:
    """Raises EACCES for a link of somebody else's in a sticky directory that all may write; the owner of that is trusted."""
    if cred.fsuid != link.uid and directory.mode & S_ISVTX and directory.mode & 0o002 and link.uid != directory.uid:
        raise EACCES("somebody else's link in a sticky directory")


def may_create(cred: Credentials, directory: Attr) -> None:
    """Raises EACCES unless a name may be added to `directory`."""
    permission(cred, directory, Access.WRITE | Access.EXECUTE)


def is_owner(cred: Credentials, attr: Attr) -> bool:
    """Owner, or may act as one."""
    return cred.privileged or cred.fsuid == attr.uid


def may_delete(cred: Credentials, directory: Attr, victim: Attr, *, isdir: bool | None = None) -> None:
    """Raises unless the name of `victim` may be taken out of `directory`: EACCES; EPERM in a sticky directory.

    With `isdir`, ENOTDIR or EISDIR when the victim is not of that kind.
    """
    permission(cred, directory, Access.WRITE | Access.EXECUTE)
    if directory.mode & S_ISVTX and not cred.privileged and cred.fsuid not in (victim.uid, directory.uid):
        raise EPERM
    if isdir is not None:
        if isdir and victim.mode & S_IFMT != FileType.DIR:
            raise ENOTDIR
        if not isdir and victim.mode & S_IFMT == FileType.DIR:
            raise EISDIR


def new_owner(cred: Credentials, directory: Attr, mode: int) -> tuple[int, int, int]:
    """(mode, uid, gid) of a file made in `directory`: a set-gid directory gives its group, and to directories the bit
    too.
    """
    if not directory.mode & S_ISGID:
        return mode, cred.fsuid, cred.fsgid
    if mode & S_IFMT == FileType.DIR:
        mode |= S_ISGID
    elif mode & 0o2010 == 0o2010 and not cred.privileged and not in_group(cred, directory.gid):
        mode &= ~S_ISGID
    return mode, cred.fsuid, directory.gid


def prepare_change(cred: Credentials, attr: Attr, change: AttrChange) -> AttrChange:
    """What chmod, chown and utimensat may really change.  Raises EPERM.

    chown of a non-directory drops set-id bits; chmod by one outside the file's group drops set-gid.  Setting both
    times to the present needs less: the call checks `is_owner` or write permission itself and does not come here.
    """
    if change.uid is not None and not cred.privileged and (cred.fsuid != attr.uid or change.uid != attr.uid):
        raise EPERM
    if change.gid is not None and not cred.privileged and (
        cred.fsuid != attr.uid or (change.gid != attr.gid and not in_group(cred, change.gid))
    ):
        raise EPERM
    if (change.mode is not None or change.atime is not None or change.mtime is not None) and not is_owner(cred, attr):
        raise EPERM
    if change.mode is not None:
        gid = attr.gid if change.gid is None else change.gid
        if change.mode & S_ISGID and not cred.privileged and not in_group(cred, gid):
            change = change._replace(mode=change.mode & ~S_ISGID)
    elif (change.uid is not None or change.gid is not None) and attr.mode & S_IFMT != FileType.DIR:
        kept = without_setid(attr.mode)
        if kept != attr.mode & 0o7777:
            change = change._replace(mode=kept)
    return change


def without_setid(mode: int) -> int:
    """The permission bits left after a write or chown: no set-uid; no set-gid where the group may execute."""
    mode &= 0o7777 & ~S_ISUID
    return mode & ~S_ISGID if mode & 0o010 else mode
