"""NetBSD's calls that tell what directories and file systems are, where Linux's differ.

stat and the names of files are shared.  Not here: changing any of it (`attribute.py`).
Sources: getdents(2), statvfs(2), getvfsstat(2), pathconf(2).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final

from ring3.abi.filerecords import Dirent
from ring3.abi.flags import AT_FDCWD, FileType
from ring3.abi.records import LabelledFs, MountedFs
from ring3.calls.directory import read_directory
from ring3.calls.place import lookup, opened
from ring3.calls.procarg import Pointer
from ring3.calls.stat import attributes, statfs_of, statfs_of_file
from ring3.calls.sysarg import Fd, Int, Out, OutRecord, Path, Size, UInt
from ring3.calls.sysarg_files import DirentBuffer
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL
from ring3.proc.proc import Thread
from ring3.vfs.dentry import Dentry
from ring3.vfs.file import File
from ring3.vfs.mount import Mount

_LINK_MAX, _MAX_CANON, _MAX_INPUT, _NAME_MAX, _PATH_MAX, _PIPE_BUF, _CHOWN_RESTRICTED, _NO_TRUNC, _VDISABLE = range(1, 10)
_SYNC_IO, _FILESIZEBITS, _SYMLINK_MAX, _2_SYMLINKS, _ACL_EXTENDED = range(10, 15)
_ACL_NFS4: Final = 17
_ANYWHERE: Final[Mapping[int, int]] = MappingProxyType({
    _LINK_MAX: 32767, _NAME_MAX: 511, _PATH_MAX: 1024, _PIPE_BUF: 512, _CHOWN_RESTRICTED: 1, _NO_TRUNC: 1, _SYNC_IO: 1,
    _FILESIZEBITS: 64, _SYMLINK_MAX: 1024, _2_SYMLINKS: 1,
    _ACL_EXTENDED: 0, _ACL_NFS4: 0,
})
_OF_TERMINALS: Final[Mapping[int, int]] = MappingProxyType({_MAX_CANON: 255, _MAX_INPUT: 255, _VDISABLE: 255})
_MNT_WAIT_FLAGS: Final = 0x7           # ST_WAIT, ST_NOWAIT, MNT_LAZY: all is known at once
_LENGTH_AT: Final = 8                  # of d_reclen


class _Dirents(DirentBuffer):
    """The buffer of getdents."""

    def length_at(self, t: Thread) -> int:
        return _LENGTH_AT


Dirents30 = Annotated[int, _Dirents()]
StatvfsOut = Annotated[Out, OutRecord(MountedFs)]
LabelledOut = Annotated[Out, OutRecord(LabelledFs)]


@syscall(pledge="rpath")
def sys___getdents30(t: Thread, fd: Fd, buf: Dirents30, nbytes: Size) -> int:
    """The next entries of a directory; 0 at its end.  EBADF, EINVAL for no directory and for too small a buffer, EFAULT."""
    file = opened(t, fd)
    if file.vnode is None or not file.vnode.is_dir:
        raise EINVAL
    return read_directory(t, fd, buf, nbytes, Dirent)


# --- file systems
def _mounted(t: Thread, mount: Mount) -> MountedFs:
    return MountedFs(statfs_of(mount.root), mount.fs.name, mount.path(t.proc.fs.root), mount.fs.source)


def _mounted_at(t: Thread, dentry: Dentry) -> MountedFs:
    return _mounted(t, dentry.mount)


def _mounted_with(t: Thread, file: File) -> MountedFs:
    """Where an open file is; what has no name is nowhere."""
    if file.dentry is not None:
        return _mounted_at(t, file.dentry)
    return MountedFs(statfs_of_file(file), b"anonymous", b"/", b"none")


@syscall(pledge="rpath")
def sys_statvfs1(t: Thread, path: Path, out: StatvfsOut, flags: Int) -> int:
    """What the file system of a file is and how full."""
    del flags
    out.put(_mounted_at(t, lookup(t, AT_FDCWD, path)))
    return 0


@syscall(pledge="rpath")
def sys___statvfs190(t: Thread, path: Path, out: LabelledOut, flags: Int) -> int:
    """statvfs1 as NetBSD 10 has it."""
    del flags
    out.put(_mounted_at(t, lookup(t, AT_FDCWD, path)))
    return 0


@syscall(pledge="rpath stdio")
def sys_fstatvfs1(t: Thread, fd: Fd, out: StatvfsOut, flags: Int) -> int:
    """statvfs of an open file's."""
    del flags
    out.put(_mounted_with(t, t.proc.fds.get(fd)))
    return 0


@syscall(pledge="rpath stdio")
def sys___fstatvfs190(t: Thread, fd: Fd, out: LabelledOut, flags: Int) -> int:
    """fstatvfs1 as NetBSD 10 has it: the first thing opendir(3) asks."""
    del flags
    out.put(_mounted_with(t, t.proc.fds.get(fd)))
    return 0


@syscall(pledge="rpath")
def sys_getvfsstat(t: Thread, buf: Pointer, nbytes: Size, flags: UInt) -> int:
    """All mounts, as many as there is room for; how many there are without a buffer.  EINVAL, EFAULT."""
    return _all_mounts(t, buf, nbytes, flags, MountedFs)


@syscall(pledge="rpath")
def sys___getvfsstat90(t: Thread, buf: Pointer, nbytes: Size, flags: UInt) -> int:
    """getvfsstat as NetBSD 10 has it."""
    return _all_mounts(t, buf, nbytes, flags, LabelledFs)


def _all_mounts(t: Thread, buf: int, nbytes: int, flags: int, record: type) -> int:
    if flags & ~_MNT_WAIT_FLAGS:
        raise EINVAL
    mounts = list(t.system.mounts.seen_by(t.proc.lookups.system))
    if not buf:
        return len(mounts)
    layout = t.system.call_abi(t).layouts[record]
    shown = mounts[: nbytes // layout.size]
    for index, mount in enumerate(shown):
        t.proc.vm.copyout(buf + index * layout.size, layout.encode(_mounted(t, mount)))
    return len(shown)


# --- limits of files
def _limit(t: Thread, target: Dentry | File, name: int) -> int:
    """Raises EINVAL for what this kind of file has no limit of."""
    del t
    kind = attributes(target).mode & 0o170000
    if name in _OF_TERMINALS and kind == FileType.CHR:
        return _OF_TERMINALS[name]
    if name not in _ANYWHERE:
        raise EINVAL
    return _ANYWHERE[name]


@syscall(pledge="rpath")
def sys_pathconf(t: Thread, path: Path, name: Int) -> int:
    """A limit of a file."""
    return _limit(t, lookup(t, AT_FDCWD, path), name)


@syscall(pledge="rpath")
def sys_lpathconf(t: Thread, path: Path, name: Int) -> int:
    """pathconf of a link itself."""
    return _limit(t, lookup(t, AT_FDCWD, path, follow=False), name)


@syscall(pledge="stdio")
def sys_fpathconf(t: Thread, fd: Fd, name: Int) -> int:
    """A limit of an open file."""
    return _limit(t, opened(t, fd), name)
