"""The questions a file of an exec may be asked, one by one: the program, a script's interpreter, an image's.

Which are asked, and in which order, is a value of the caller's system (`ExecRules.file_checks`).  Each raises its refusal.
Not here: the kernel's own policies, asked after (`ExecSwitch.policies`); the walk to the file (namei).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.abi.flags import S_ISGID, S_ISUID, Access, FileType, MountFlags
from ring3.errors import EACCES, ELOOP, ETXTBSY
from ring3.vfs.access import permission

if TYPE_CHECKING:
    from ring3.exec.package import ExecPackage
    from ring3.exec.plan import ImageFile

_NOEXEC, _NOSUID = int(MountFlags.NOEXEC | MountFlags.NOREGULAR), int(MountFlags.NOSUID)


def no_link(_: ExecPackage, file: ImageFile) -> None:
    """Raises ELOOP for a symbolic link that was not to be followed."""
    if file.vnode.type == FileType.LNK:
        raise ELOOP


def regular(_: ExecPackage, file: ImageFile) -> None:
    """Raises EACCES for directories, devices and all that is no plain file."""
    if file.vnode.type != FileType.REG:
        raise EACCES("not a regular file")


def mount_runs(_: ExecPackage, file: ImageFile) -> None:
    """Raises EACCES on a mount that is noexec."""
    if file.dentry is not None and file.dentry.mount.flags & _NOEXEC:
        raise EACCES("the file system is mounted noexec")


def executable(package: ExecPackage, file: ImageFile) -> None:
    """Raises EACCES unless the caller may execute it; root needs one x bit."""
    permission(package.thread.proc.cred, file.attr, Access.EXECUTE)


def nobody_writes(_: ExecPackage, file: ImageFile) -> None:
    """Raises ETXTBSY while it is open for writing."""
    if file.vnode.writers > 0:
        raise ETXTBSY


def note_unreadable(package: ExecPackage, file: ImageFile) -> None:
    """Remember that the caller could not have read it: its image is not to be looked into."""
    cred = package.thread.proc.cred
    if not cred.privileged:
        try:
            permission(cred, file.attr, Access.READ)
        except EACCES:
            package.unreadable = True


def drop_setid(_: ExecPackage, file: ImageFile) -> None:
    """On a mount that is nosuid, and in a file without a name, the set-id bits are taken from the exec's copy of the
    attributes (NetBSD).
    """
    if file.dentry is None or file.dentry.mount.flags & _NOSUID:
        file.attr = file.attr._replace(mode=file.attr.mode & ~(S_ISUID | S_ISGID))
