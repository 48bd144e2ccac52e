"""open of SerenityOS: reading, writing and running are a bit each, and a file may be opened for none of them.

What is opened for neither reading nor writing can be looked at (fstat, fchdir), mapped and run, not read: an O_PATH file.
Stated results: a dangling link under O_CREAT makes what the link names (the original: the link's own name, in the directory of what
it names), and is EEXIST with O_EXCL; the image of a running program opened for writing is ETXTBSY.
Source: Kernel/Syscalls/open.cpp, VirtualFileSystem::open and ::create (reference, sections 1.3.1, 2.3, 3.5 and 4.8).
"""

from __future__ import annotations

from typing import Annotated, Final

from ring3.abi.flags import AT_FDCWD, Access, FileType, MountFlags, OpenFlags
from ring3.calls.descriptor import other_side
from ring3.calls.serenity.argument import Params, Path
from ring3.calls.serenity.place import allow, base, most_descriptors, read_only
from ring3.calls.sysarg import DirFd, Mode
from ring3.calls.sysarg_files import Bits
from ring3.calls.syscall import syscall
from ring3.calls.transfer import Answer
from ring3.errors import EACCES, EAGAIN, EEXIST, EINVAL, EISDIR, ELOOP, EMFILE, ENODEV, ENOENT, ENOTDIR, ENXIO, EROFS
from ring3.namedtuple import NamedTuple
from ring3.proc.lookup import namei_context
from ring3.proc.proc import Thread
from ring3.vfs.dentry import Dentry
from ring3.vfs.file import File, PathFile, RegularFile
from ring3.vfs.namei import NameiContext, namei
from ring3.vfs.opening import open_dentry, open_file

O_RDONLY, O_WRONLY, O_EXEC, O_CREAT, O_EXCL, O_TRUNC = 0x1, 0x2, 0x4, 0x8, 0x10, 0x40
O_NONBLOCK, O_DIRECTORY, O_NOFOLLOW, O_CLOEXEC = 0x100, 0x200, 0x400, 0x800
_INTERNAL: Final = 1 << 29 | 1 << 30            # what the kernel says to itself
OPTIONS: Final = {
    0x3: "O_RDWR", 0x1: "O_RDONLY", 0x2: "O_WRONLY", 0x4: "O_EXEC", 0x8: "O_CREAT", 0x10: "O_EXCL", 0x20: "O_NOCTTY",
    0x40: "O_TRUNC", 0x80: "O_APPEND", 0x100: "O_NONBLOCK", 0x200: "O_DIRECTORY", 0x400: "O_NOFOLLOW", 0x800: "O_CLOEXEC",
    0x1000: "O_DIRECT", 0x2000: "O_SYNC",
}
_CREATION: Final = int(OpenFlags.CREAT | OpenFlags.EXCL)
_TRUNC, _NONBLOCK, _ACCESS = int(OpenFlags.TRUNC), int(OpenFlags.NONBLOCK), O_RDONLY | O_WRONLY
_DEVICES: Final = frozenset((FileType.CHR, FileType.BLK))

Options = Annotated[int, Bits(OPTIONS)]


class OpenParams(NamedTuple):
    """SC_open_params."""

    dirfd: DirFd
    path: Path
    options: Options
    mode: Mode


@syscall(pledge="")
def sys_open(t: Thread, params: Annotated[OpenParams, Params(OpenParams, "<i4xQQiH2x")]) -> Answer:
    """Open a file, made if need be.  The lowest free descriptor.

    EINVAL, EMFILE, EBADF, ENOTDIR, ENOENT, EEXIST, EACCES, EISDIR, ELOOP, ENODEV, ENXIO, EROFS.
    """
    options, path = params.options, params.path
    if options & _INTERNAL:
        raise EINVAL
    words = ("wpath",) if options & O_WRONLY else ("rpath",) if options & O_RDONLY else ()
    t.needs(*words, *(("cpath",) if options & O_CREAT else ()))
    p = t.proc
    if p.fds.lowest() >= most_descriptors(t):
        raise EMFILE
    at = _directory(t, params.dirfd)
    if options & O_CREAT and options & O_DIRECTORY:
        raise EINVAL
    file = _open(t, path, options, params.mode & 0o777, at)
    try:
        file.finish_open()
    except EAGAIN:
        return _open_later(t, file, options)
    except BaseException:
        file.close()
        raise
    return _install(t, file, options)


def _directory(t: Thread, dirfd: int) -> Dentry | None:
    """What a path begins at.  Raises EBADF, ENOTDIR for anything but a directory, EINVAL for one without a name."""
    if dirfd != AT_FDCWD:
        vnode = t.proc.fds.get(dirfd).vnode
        if vnode is None or not vnode.is_dir:
            raise ENOTDIR
    return base(t, dirfd)


def _install(t: Thread, file: File, options: int) -> int:
    if options & O_NONBLOCK:
        file.flags |= OpenFlags.NONBLOCK
    try:
        return t.proc.fds.install(file, cloexec=bool(options & O_CLOEXEC), limit=most_descriptors(t))
    except EMFILE:
        file.close()
        raise


async def _open_later(t: Thread, file: File, options: int) -> int:
    """Whatever O_NONBLOCK says."""
    await other_side(file)
    return _install(t, file, options)


def _open(t: Thread, path: bytes, options: int, mode: int, at: Dentry | None) -> File:
    """VirtualFileSystem::open: find the file or make it."""
    ctx = namei_context(t)
    flags = int(t.system.call_abi(t).flags[OpenFlags](options))
    if not options & O_WRONLY:
        flags &= ~_TRUNC
    try:
        dentry = namei(ctx, path, at=at, follow=not options & O_NOFOLLOW, access=_unveil_wanted(options))
    except ENOENT:
        if not options & O_CREAT or path.endswith(b"/"):
            raise
        file = _create(t, ctx, path, options, flags, mode, at)
    else:
        if options & O_CREAT and options & O_EXCL:
            raise EEXIST
        check_open(t, dentry, options)
        file = _describe(ctx, dentry, options, flags & ~_CREATION)
    file.flags = OpenFlags(int(file.flags) | flags & ~_NONBLOCK)
    if isinstance(file, RegularFile):
        file.strips = False             # a write looks for itself
    return file


def _unveil_wanted(options: int) -> Access:
    """What the veil is asked for."""
    wanted = Access.EXISTS
    if options & O_RDONLY:
        wanted |= Access.BROWSE if options & O_DIRECTORY else Access.READ
    if options & O_WRONLY:
        wanted |= Access.WRITE
    if options & O_EXEC:
        wanted |= Access.EXECUTE
    return wanted | Access.CREATE if options & O_CREAT else wanted


def _create(t: Thread, ctx: NameiContext, path: bytes, options: int, flags: int, mode: int, at: Dentry | None) -> File:
    if not options & _ACCESS:
        flags |= int(OpenFlags.WRONLY)
    try:
        file = open_file(ctx, path, OpenFlags(flags & ~_NONBLOCK), mode, at=at, umask=t.proc.fs.umask)
    except EROFS:
        raise read_only(t, path, at) from None
    if options & _ACCESS:
        return file
    dentry = file.dentry
    file.close()
    assert dentry is not None
    return _nothing_but_its_name(dentry)


def check_open(t: Thread, dentry: Dentry, options: int) -> None:
    """What is asked of a file that is there.  Raises ELOOP, ENOTDIR, EACCES, EISDIR, EINVAL, EROFS, in this order."""
    vnode, flags = dentry.vnode, dentry.mount.flags
    kind = vnode.type
    if kind == FileType.LNK:
        raise ELOOP
    if kind == FileType.REG and flags & MountFlags.NOREGULAR:
        raise EACCES("no regular files on this file system")
    if options & O_DIRECTORY and kind != FileType.DIR:
        raise ENOTDIR
    attr = vnode.getattr()
    if options & O_RDONLY:
        allow(t, attr, Access.READ)
    if options & O_WRONLY:
        allow(t, attr, Access.WRITE)
        if kind == FileType.DIR:
            raise EISDIR
    if options & O_EXEC:
        allow(t, attr, Access.EXECUTE)
        if flags & MountFlags.NOEXEC:
            raise EACCES("the file system is mounted noexec")
    if kind == FileType.FIFO:
        if not options & _ACCESS:
            raise EINVAL("a FIFO is read or written")
    elif kind in _DEVICES:
        if flags & MountFlags.NODEV:
            raise EACCES("no devices on this file system")
    elif options & O_WRONLY and dentry.mount.readonly:
        raise EROFS


def _describe(ctx: NameiContext, dentry: Dentry, options: int, flags: int) -> File:
    kind = dentry.vnode.type
    if options & _ACCESS or kind == FileType.SOCK:
        try:
            return open_dentry(ctx, dentry, OpenFlags(flags & ~_NONBLOCK))
        except ENXIO:
            if kind in _DEVICES:
                raise ENODEV from None              # one that nobody here is
            raise
    return _nothing_but_its_name(dentry)


def _nothing_but_its_name(dentry: Dentry) -> File:
    dentry.vnode.hold()
    file = PathFile(dentry.vnode, OpenFlags.PATH)
    file.dentry = dentry
    return file


