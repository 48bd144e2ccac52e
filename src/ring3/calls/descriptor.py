"""Descriptors: open, openat2, close, dup, pipe, memfd.

`install` is how every call that makes a file gives it a number.  Source: open(2), openat2(2), close(2), close_range(2), dup(2),
pipe(2), fs/open.c, fs/file.c.
"""

from __future__ import annotations

from typing import Final

from ring3.abi.filerecords import OpenHow
from ring3.abi.flags import ACCMODE, AT_FDCWD, OpenFlags
from ring3.calls.place import start
from ring3.calls.sysarg import Addr, DirFd, Fd, Mode, OpenFlag, Path, Size, UInt
from ring3.calls.sysarg_files import MemfdFlag, TwoFds
from ring3.calls.syscall import syscall
from ring3.calls.transfer import Answer
from ring3.errors import E2BIG, EAGAIN, EBADF, EINVAL, EMFILE, EOVERFLOW
from ring3.proc.lookup import namei_context
from ring3.proc.proc import Rlimit, Thread
from ring3.vfs.file import File
from ring3.vfs.memfd import MFD_CLOEXEC, memfd_create
from ring3.vfs.memory import MemoryFS
from ring3.vfs.namei import Resolve
from ring3.vfs.opening import open_file
from ring3.vfs.pipe import make_pipe
from ring3.waiting import sleep_on

_NOFILE = int(Rlimit.NOFILE)
_MAKES = int(OpenFlags.CREAT) | int(OpenFlags.TMPFILE) & ~int(OpenFlags.DIRECTORY)
_PROMISES = (("rpath",), ("wpath",), ("rpath", "wpath"), ("rpath", "wpath"))       # by access mode
_NOT_KEPT: Final = int(~(OpenFlags.CREAT | OpenFlags.EXCL | OpenFlags.NOCTTY | OpenFlags.TRUNC | OpenFlags.CLOEXEC))
_LARGEFILE, _PATH = int(OpenFlags.LARGEFILE), int(OpenFlags.PATH)
_NOT_LARGE = (1 << 31) - 1
_HOW_KNOWN: Final = OpenFlags(0o37777703)
_PATH_WITH: Final = int(OpenFlags.DIRECTORY | OpenFlags.NOFOLLOW | OpenFlags.PATH | OpenFlags.CLOEXEC)
_CLOEXEC: Final = int(OpenFlags.CLOEXEC)      # as ints: the inverse of a flag knows no unknown bits
_PIPE_KNOWN: Final = int(OpenFlags.CLOEXEC | OpenFlags.NONBLOCK | OpenFlags.DIRECT)
_HOW_MAX = 4096

CLOSE_RANGE_UNSHARE = 2
CLOSE_RANGE_CLOEXEC = 4


def install(t: Thread, file: File, *, cloexec: bool = False) -> int:
    """Give a new file the lowest free descriptor.  Raises EMFILE; the file is closed then."""
    p = t.proc
    try:
        return p.fds.install(file, cloexec=cloexec, limit=p.rlimits[_NOFILE][0])
    except EMFILE:
        file.close()
        raise


# --- open
def _promises(bits: int) -> tuple[str, ...]:
    """What an open needs to have been promised."""
    words = _PROMISES[bits & ACCMODE]
    if bits & OpenFlags.TRUNC and not bits & ACCMODE:
        words = ("rpath", "wpath")
    return (*words, "cpath") if bits & _MAKES else words


def open_at(
    t: Thread, dirfd: int, path: bytes, flags: OpenFlags, mode: int, resolve: Resolve = Resolve.NONE
) -> Answer:
    """All of the open calls.  A FIFO without its other side makes a coroutine of it."""
    p = t.proc
    if p.confinement is not None:
        t.needs(*_promises(int(flags)))
    if p.fds.lowest() >= p.rlimits[_NOFILE][0]:
        raise EMFILE
    large = t.system.call_abi(t).word_size == 8
    if large:
        flags = OpenFlags(int(flags) | _LARGEFILE)
    file = open_file(
        namei_context(t), path, flags, mode & 0o7777, at=start(t, dirfd, path, absolute_too=bool(resolve)), umask=p.fs.umask,
        resolve=resolve,
    )
    bits = int(flags)
    cloexec = bits & _CLOEXEC != 0
    file.flags = OpenFlags(int(file.flags) & _NOT_KEPT)
    try:
        if not large and not bits & (_LARGEFILE | _PATH) and file.vnode is not None:
            _check_small(file)
        file.finish_open()
    except EAGAIN:
        return _open_later(t, file, cloexec=cloexec)
    except BaseException:
        file.close()
        raise
    return install(t, file, cloexec=cloexec)


def _check_small(file: File) -> None:
    """Raises EOVERFLOW for a file whose size the program could not express."""
    if file.vnode is not None and not file.vnode.is_dir and file.vnode.getattr().size > _NOT_LARGE:
        raise EOVERFLOW


async def _open_later(t: Thread, file: File, *, cloexec: bool) -> int:
    await other_side(file)
    return install(t, file, cloexec=cloexec)


async def other_side(file: File) -> None:
    """Wait until the other side of a FIFO is opened; the file is closed where that comes to nothing."""
    try:
        while True:
            try:
                file.finish_open()
                break
            except EAGAIN:
                queue = file.queue
                if queue is None:
                    raise
            await sleep_on(queue)
    except BaseException:
        file.close()
        raise


@syscall(pledge="rpath wpath cpath")
def sys_open(t: Thread, path: Path, flags: OpenFlag, mode: Mode) -> Answer:
    """open(2)."""
    return open_at(t, AT_FDCWD, path, flags, mode)


@syscall(pledge="rpath wpath cpath")
def sys_openat(t: Thread, dirfd: DirFd, path: Path, flags: OpenFlag, mode: Mode) -> Answer:
    """open(2) relative to a directory."""
    return open_at(t, dirfd, path, flags, mode)


@syscall(pledge="cpath wpath")
def sys_creat(t: Thread, path: Path, mode: Mode) -> Answer:
    """open(2) with O_CREAT, O_WRONLY and O_TRUNC."""
    return open_at(t, AT_FDCWD, path, OpenFlags.CREAT | OpenFlags.WRONLY | OpenFlags.TRUNC, mode)


@syscall(pledge="rpath wpath cpath")
def sys_openat2(t: Thread, dirfd: DirFd, path: Path, how: Addr, size: Size) -> Answer:
    """open(2) with limits to where the path may lead.

    EINVAL for flags open(2) would ignore, E2BIG for a struct from the future.
    """
    layout = t.system.call_abi(t).layouts[OpenHow]
    if size < layout.size:
        raise EINVAL
    if size > _HOW_MAX:
        raise E2BIG
    data = t.proc.vm.copyin(how, size)
    if any(data[layout.size :]):
        raise E2BIG
    flags, mode, resolve = layout.decode(data)
    if flags >> 32 or flags & ~int(_HOW_KNOWN) or mode & ~0o7777 or resolve & ~0x3F:
        raise EINVAL
    wanted = OpenFlags(flags)
    if wanted & OpenFlags.PATH and wanted & ~_PATH_WITH:
        raise EINVAL
    makes = wanted & OpenFlags.CREAT or wanted & 0o20000000
    if mode and not makes:
        raise EINVAL
    if resolve & Resolve.BENEATH and resolve & Resolve.IN_ROOT:
        raise EINVAL
    if resolve & 0x20:                  # RESOLVE_CACHED: nothing is ever known to be cached
        raise EAGAIN
    return open_at(t, dirfd, path, wanted, mode, Resolve(resolve))


# --- close
@syscall(pledge="stdio")
def sys_close(t: Thread, fd: Fd) -> int:
    """Forget a descriptor.  EBADF."""
    t.proc.fds.close(fd)
    return 0


@syscall(pledge="stdio")
def sys_close_range(t: Thread, first: UInt, last: UInt, flags: UInt) -> int:
    """Close, or mark for closing at exec, all descriptors of a range.  EINVAL."""
    if flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) or first > last:
        raise EINVAL
    p = t.proc
    if flags & CLOSE_RANGE_UNSHARE and p.fds.refs > 1:
        shared, p.fds = p.fds, p.fds.fork()
        shared.release()
    fds = p.fds
    for fd in fds:
        if first <= fd <= last:
            if flags & CLOSE_RANGE_CLOEXEC:
                fds.cloexec.add(fd)
            else:
                fds.close(fd)
    return 0


# --- dup
@syscall(pledge="stdio")
def sys_dup(t: Thread, fd: Fd) -> int:
    """The lowest free descriptor for the same file.  EBADF, EMFILE."""
    p = t.proc
    return p.fds.install(p.fds.get(fd), limit=p.rlimits[_NOFILE][0])


def _dup_to(t: Thread, fd: int, new_fd: int, *, cloexec: bool) -> int:
    p = t.proc
    file = p.fds.get(fd)
    if not 0 <= new_fd < p.rlimits[_NOFILE][0]:
        raise EBADF
    p.fds.set(new_fd, file, cloexec=cloexec)
    return new_fd


@syscall(pledge="stdio")
def sys_dup2(t: Thread, fd: Fd, new_fd: Fd) -> int:
    """Make `new_fd` the same file as `fd`.  EBADF."""
    if fd == new_fd:
        t.proc.fds.get(fd)
        return new_fd
    return _dup_to(t, fd, new_fd, cloexec=False)


@syscall(pledge="stdio")
def sys_dup3(t: Thread, fd: Fd, new_fd: Fd, flags: OpenFlag) -> int:
    """dup2 with O_CLOEXEC.  EINVAL for the same number twice."""
    if flags & ~_CLOEXEC or fd == new_fd:
        raise EINVAL
    return _dup_to(t, fd, new_fd, cloexec=bool(flags))


# --- pipe
def install_two(t: Thread, one: File, two: File, *, cloexec: bool) -> tuple[int, int]:
    """Two descriptors or none.  Raises EMFILE."""
    p = t.proc
    try:
        first = p.fds.install(one, cloexec=cloexec, limit=p.rlimits[_NOFILE][0])
    except EMFILE:
        one.close()
        two.close()
        raise
    try:
        return first, p.fds.install(two, cloexec=cloexec, limit=p.rlimits[_NOFILE][0])
    except EMFILE:
        p.fds.close(first)
        two.close()
        raise


def put_two(t: Thread, addr: int, fds: tuple[int, int]) -> int:
    """Tell the program of two descriptors; when that fails they are closed.  Raises EFAULT."""
    try:
        t.proc.vm.copyout(addr, fds[0].to_bytes(4, "little") + fds[1].to_bytes(4, "little"))
    except BaseException:
        for fd in fds:
            t.proc.fds.close(fd)
        raise
    return 0


@syscall(pledge="stdio")
def sys_pipe2(t: Thread, fds: TwoFds, flags: OpenFlag) -> int:
    """A pipe: its reading and its writing end.  EMFILE, EFAULT, EINVAL."""
    if flags & ~_PIPE_KNOWN:
        raise EINVAL
    cred = t.proc.cred
    ends = make_pipe(t.system.anonymous, flags, cred.fsuid, cred.fsgid)
    return put_two(t, fds, install_two(t, *ends, cloexec=bool(flags & OpenFlags.CLOEXEC)))


@syscall(pledge="stdio")
def sys_pipe(t: Thread, fds: TwoFds) -> int:
    """pipe2 without flags."""
    return int(sys_pipe2.run(t, fds, OpenFlags.RDONLY))


# --- memfd
@syscall(pledge="stdio")
def sys_memfd_create(t: Thread, name: Path, flags: MemfdFlag) -> int:
    """A file in memory without a name in any directory.  EINVAL."""
    system, cred = t.system, t.proc.cred
    if system.memfds is None:
        system.memfds = MemoryFS()
        system.memfds.dev = system.mounts.anonymous_dev()
    file = memfd_create(system.memfds, name, flags, cred.fsuid, cred.fsgid)
    if t.system.call_abi(t).word_size == 8:
        file.flags |= OpenFlags.LARGEFILE
    return install(t, file, cloexec=bool(flags & MFD_CLOEXEC))
