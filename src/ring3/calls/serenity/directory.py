"""SerenityOS's calls about directories and file systems: get_dir_entries, statvfs, mount.

A directory is told whole by every call: there is no place in it to go on from.  Root may mount a tmpfs and take mounts away; binds,
remounts and devices are EPERM, what a guest sees of the host having been decided when its kernel was made.
Source: Kernel/Syscalls/{get_dir_entries,statvfs,mount}.cpp, OpenFileDescription.cpp (reference, sections 2.3, 4.7 and 4.8).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from ring3.abi.filerecords import Dirent
from ring3.abi.flags import AT_FDCWD, Access, MountFlags, OpenFlags
from ring3.abi.records import DirEntry, MountedFs, StatFs
from ring3.calls.serenity.argument import PATH_MAX, Params, Path, Text, copy_path
from ring3.calls.serenity.place import PathAt, find, find_for
from ring3.calls.stat import statfs_of
from ring3.calls.sysarg import Address, Fd, Out, OutRecord, Size
from ring3.calls.sysarg_files import Bits
from ring3.calls.syscall import syscall
from ring3.errors import EBADF, EFAULT, EINVAL, ENAMETOOLONG, ENODEV, ENOENT, ENOTBLK, ENOTDIR, EPERM
from ring3.namedtuple import NamedTuple
from ring3.proc.proc import Thread
from ring3.vfs.dentry import Dentry
from ring3.vfs.file import DirFile
from ring3.vfs.memory import MemoryFS

MS_BIND, MS_REMOUNT = 8, 32
_MOUNT_FLAGS: Final = {
    1: "MS_NODEV", 2: "MS_NOEXEC", 4: "MS_NOSUID", 8: "MS_BIND", 16: "MS_RDONLY", 32: "MS_REMOUNT", 64: "MS_WXALLOWED",
    128: "MS_AXALLOWED", 256: "MS_NOREGULAR",
}
_ON_FILES: Final = frozenset((b"ext2", b"Ext2FS", b"9p", b"Plan9FS", b"iso9660", b"ISO9660FS", b"fat", b"FATFS"))
_ON_DEVICES: Final = frozenset((b"ext2", b"Ext2FS"))
_OF_THE_KERNEL: Final = frozenset((b"proc", b"ProcFS", b"devpts", b"DevPtsFS", b"dev", b"sys", b"SysFS"))
_HEAD: Final = 13                               # of an entry, before its name
_SHOWN: Final = 1 << 20


class _Entries(Address):
    """Where directory entries go: how many there are."""

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        if result < 0 or not value:
            return None
        try:
            data = t.proc.vm.copyin(value, min(result, _SHOWN))
        except EFAULT:
            return None
        at = entries = 0
        while at + _HEAD <= len(data):
            at, entries = at + _HEAD + int.from_bytes(data[at + 9 : at + _HEAD], "little"), entries + 1
        return f"{value:#x} /* {entries} entries */"


Entries = Annotated[int, _Entries()]
StatvfsOut = Annotated[Out, OutRecord(MountedFs)]
MountFlagBits = Annotated[int, Bits(_MOUNT_FLAGS)]
Word = Annotated[bytes, Text(PATH_MAX, ENAMETOOLONG)]


@syscall(pledge="stdio")
def sys_get_dir_entries(t: Thread, fd: Fd, buf: Entries, size: Size) -> int:
    """All entries of a directory; how many bytes they take.  EBADF, ENOTDIR, EINVAL for too small a buffer, EFAULT."""
    if size >> 63:
        raise EINVAL
    file = t.proc.fds.get(fd)
    if file.vnode is None or not file.vnode.is_dir:
        raise ENOTDIR
    if file.dentry is not None and file.dentry.deleted:
        return 0
    encode: Callable[[DirEntry], bytes] = t.system.call_abi(t).layouts[Dirent].encode
    whole = DirFile(file.vnode, OpenFlags.RDONLY)       # however this one was opened, wherever its offset stands
    whole.dentry = file.dentry
    data = b"".join([encode(entry) for _, entry in whole.readdir()])
    if len(data) > size:
        raise EINVAL
    t.proc.vm.copyout(buf, data)
    return len(data)


# --- file systems
def _told(dentry: Dentry) -> MountedFs:
    """A file system; it has no number, and who it is mounted for has it all."""
    fs: StatFs = statfs_of(dentry)._replace(fsid=0)
    return MountedFs(fs, dentry.mount.fs.name, b"", b"")


class StatvfsParams(NamedTuple):
    """SC_statvfs_params."""

    path: Path
    buf: StatvfsOut


@syscall(pledge="rpath")
def sys_statvfs(t: Thread, params: Annotated[StatvfsParams, Params(StatvfsParams, "<QQQ")]) -> int:
    """What the file system of a file is and how full."""
    params.buf.put(_told(find(t, AT_FDCWD, params.path)))
    return 0


@syscall(pledge="stdio")
def sys_fstatvfs(t: Thread, fd: Fd, out: StatvfsOut) -> int:
    """statvfs of an open file's.  EBADF, ENOENT for what has no name."""
    file = t.proc.fds.get(fd)
    if file.dentry is None:
        raise ENOENT
    out.put(_told(file.dentry))
    return 0


class MountParams(NamedTuple):
    """SC_mount_params."""

    target: Word
    fs_type: Word
    source_fd: Fd
    flags: MountFlagBits


@syscall(pledge="root")
def sys_mount(t: Thread, params: Annotated[MountParams, Params(MountParams, "<QQQQii")]) -> int:
    """Mount a tmpfs.  EPERM unless root asks, and for what no guest may; EBADF, ENODEV, ENOTBLK, ENOTDIR."""
    if not t.proc.cred.privileged:
        raise EPERM
    place = find_for(t, AT_FDCWD, params.target, Access.CREATE)
    kind, flags = params.fs_type, params.flags
    if flags & MS_REMOUNT:
        raise EPERM("mounts stay as they were made")
    if flags & MS_BIND or kind in _ON_FILES:
        file = t.proc.fds.files.get(params.source_fd)
        if file is None:
            raise EBADF
        if flags & MS_BIND and file.dentry is None:
            raise ENODEV
        if not flags & MS_BIND and kind in _ON_DEVICES:
            raise ENOTBLK
        raise EPERM("only a tmpfs may be mounted")
    if kind in _OF_THE_KERNEL:
        raise EPERM("only a tmpfs may be mounted")
    if kind not in (b"tmp", b"TmpFS"):
        raise ENODEV
    if not place.vnode.is_dir:
        raise ENOTDIR
    t.system.mounts.mount(MemoryFS(mode=0o1777), place, MountFlags(t.system.call_abi(t).flags[MountFlags](flags)))
    return 0


@syscall(pledge="")
def sys_umount(t: Thread, path: PathAt, length: Size) -> int:
    """Take a mount away.  EPERM unless root asks, before promises count; ENODEV for what is none, EBUSY."""
    if not t.proc.cred.privileged:
        raise EPERM
    t.needs("root")
    dentry = find_for(t, AT_FDCWD, copy_path(t, path, length), Access.CREATE)
    if dentry.parent is not None:
        raise ENODEV
    if t.system.guard is not None:
        t.system.guard.unmounts(dentry.mount)
    t.system.mounts.unmount(dentry.mount)
    return 0
