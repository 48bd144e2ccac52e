"""NetBSD's calls that make and change descriptors: open with its locks, lseek, dup2, dup3, pipe, fcntl.

What differs from Linux: open's O_SHLOCK, O_EXLOCK and O_NOSIGPIPE, EFTYPE for a link under O_NOFOLLOW, pipe's two results, dup3 of
a number onto itself, and fcntl's own commands.  Not here: reading and writing (shared), sockets.
Sources: open(2), dup(2), pipe(2), fcntl(2), sys/kern/vfs_vnops.c (vn_open), sys/kern/sys_descrip.c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

from ring3.abi.filerecords import Flock
from ring3.abi.flags import AT_FDCWD, FileType, OpenFlags
from ring3.calls import io
from ring3.calls.descriptor import install_two, open_at, put_two
from ring3.calls.fcntl import COMMANDS as LINUX
from ring3.calls.fcntl import Handler, do_fcntl, lock_commands, lock_key
from ring3.calls.place import lookup
from ring3.calls.procarg import Bits
from ring3.calls.sysarg import DirFd, Fd, Mode, Offset64, OpenFlag, Path, UInt, WhenceArg
from ring3.calls.sysarg_files import NamedValue, RequestArg, TwoFds
from ring3.calls.syscall import Pair, syscall
from ring3.calls.transfer import Answer
from ring3.errors import EAGAIN, EBADF, EFTYPE, EINVAL, ELOOP, ENOENT, EOPNOTSUPP, Errno
from ring3.proc.locks import READ, WRITE
from ring3.proc.proc import Rlimit, Thread
from ring3.vfs.file import File
from ring3.vfs.pipe import make_pipe
from ring3.waiting import sleep_on

_SHLOCK, _EXLOCK, _NOSIGPIPE, _REGULAR = 0x10, 0x20, 0x100_0000, 0x200_0000
_KEPT: Final = int(OpenFlags.NOSIGPIPE)
_CLOEXEC, _NONBLOCK = int(OpenFlags.CLOEXEC), int(OpenFlags.NONBLOCK)
_PIPE_KNOWN: Final = 0x40_0000 | 0x4 | _NOSIGPIPE
_COMMANDS: Final = {
    0: "F_DUPFD", 1: "F_GETFD", 2: "F_SETFD", 3: "F_GETFL", 4: "F_SETFL", 5: "F_GETOWN", 6: "F_SETOWN", 7: "F_GETLK", 8: "F_SETLK",
    9: "F_SETLKW", 10: "F_CLOSEM", 11: "F_MAXFD", 12: "F_DUPFD_CLOEXEC", 13: "F_GETNOSIGPIPE", 14: "F_SETNOSIGPIPE",
    15: "F_GETPATH", 16: "F_ADD_SEALS", 17: "F_GET_SEALS",
}

Command = Annotated[int, NamedValue(_COMMANDS)]
OpenWord = Annotated[int, Bits({
    0x1: "O_WRONLY", 0x2: "O_RDWR", 0x4: "O_NONBLOCK", 0x8: "O_APPEND", 0x10: "O_SHLOCK", 0x20: "O_EXLOCK", 0x40: "O_ASYNC",
    0x80: "O_SYNC", 0x100: "O_NOFOLLOW", 0x200: "O_CREAT", 0x400: "O_TRUNC", 0x800: "O_EXCL", 0x8000: "O_NOCTTY",
    0x10000: "O_DSYNC", 0x20000: "O_RSYNC", 0x40000: "O_ALT_IO", 0x80000: "O_DIRECT", 0x20_0000: "O_DIRECTORY",
    0x40_0000: "O_CLOEXEC", 0x80_0000: "O_SEARCH", 0x100_0000: "O_NOSIGPIPE", 0x200_0000: "O_REGULAR", 0x400_0000: "O_EXEC",
}, zero="O_RDONLY")]


def neutral(t: Thread, word: int) -> OpenFlags:
    """NetBSD's open flags as the kernel's."""
    return OpenFlags(t.system.call_abi(t).flags[OpenFlags](word))


# --- open
def _open(t: Thread, dirfd: int, path: bytes, word: int, mode: int) -> Answer:
    """Raises what open does; EFTYPE for a symbolic link under O_NOFOLLOW and for what is no file under O_REGULAR, EOPNOTSUPP,
    EAGAIN for a lock that cannot be had.
    """
    flags = neutral(t, word)
    if word & _SHLOCK and word & _EXLOCK:
        raise EINVAL
    if word & _REGULAR:
        _check_regular(t, dirfd, path)
    try:
        answer = open_at(t, dirfd, path, flags, mode)
    except ELOOP:
        if flags & OpenFlags.NOFOLLOW and lookup(t, dirfd, path, follow=False).vnode.type == FileType.LNK:
            raise EFTYPE from None
        raise
    if not word & (_SHLOCK | _EXLOCK | _NOSIGPIPE):
        return answer
    return _finish(t, answer, word) if isinstance(answer, int) else _finish_later(t, answer, word)


def _check_regular(t: Thread, dirfd: int, path: bytes) -> None:
    """Raises EFTYPE for what is there and no regular file; whether it is there is open's to say."""
    try:
        kind = lookup(t, dirfd, path).vnode.type
    except Errno:
        return
    if kind != FileType.REG:
        raise EFTYPE


async def _finish_later(t: Thread, answer: Answer, word: int) -> int:
    fd = answer if isinstance(answer, int) else await answer
    done = _finish(t, fd, word)
    return done if isinstance(done, int) else await done


def _finish(t: Thread, fd: int, word: int) -> Answer:
    """What open does once there is a file: keep a flag, take a lock on the whole of it."""
    file = t.proc.fds.get(fd)
    if word & _NOSIGPIPE:
        file.flags |= OpenFlags.NOSIGPIPE
    if not word & (_SHLOCK | _EXLOCK):
        return fd
    wanted = WRITE if word & _EXLOCK else READ
    if file.vnode is None or file.vnode.type not in (FileType.REG, FileType.DIR):
        t.proc.fds.close(fd)
        raise EOPNOTSUPP
    if t.system.file_locks.flock(lock_key(file), file, wanted):
        return fd
    if file.nonblocking:
        t.proc.fds.close(fd)
        raise EAGAIN
    return _lock_later(t, fd, file, wanted)


async def _lock_later(t: Thread, fd: int, file: File, wanted: int) -> int:
    locks, key = t.system.file_locks, lock_key(file)
    file.acquire()
    try:
        while not locks.flock(key, file, wanted):
            await sleep_on(locks.queue)
    except BaseException:
        if t.proc.fds.files.get(fd) is file:
            t.proc.fds.close(fd)
        raise
    finally:
        file.release()
    return fd


@syscall(pledge="rpath wpath cpath")
def sys_open(t: Thread, path: Path, flags: OpenWord, mode: Mode) -> Answer:
    """open(2)."""
    return _open(t, AT_FDCWD, path, flags, mode)


@syscall(pledge="rpath wpath cpath")
def sys_openat(t: Thread, dirfd: DirFd, path: Path, flags: OpenWord, mode: Mode) -> Answer:
    """open(2) relative to a directory."""
    return _open(t, dirfd, path, flags, mode)


@syscall(pledge="stdio")
def sys_lseek(t: Thread, fd: Fd, offset: Offset64, whence: WhenceArg) -> int:
    """Move a file's offset; the new one, in two words where a word has four bytes.  EINVAL, ESPIPE."""
    place: int = io.sys_lseek.run(t, fd, offset, whence)
    return place if t.system.call_abi(t).word_size == 8 else Pair(place & 0xFFFF_FFFF, place >> 32)


# --- dup
def _dup_to(t: Thread, fd: int, new_fd: int, *, cloexec: bool) -> int:
    p = t.proc
    file = p.fds.get(fd)
    if not 0 <= new_fd < p.rlimit(Rlimit.NOFILE):
        raise EBADF
    if fd != new_fd:
        p.fds.set(new_fd, file, cloexec=cloexec)
    return new_fd


@syscall(pledge="stdio")
def sys_dup2(t: Thread, fd: Fd, new_fd: Fd) -> int:
    """Make `new_fd` the same file as `fd`.  EBADF."""
    return _dup_to(t, fd, new_fd, cloexec=False)


@syscall(pledge="stdio")
def sys_dup3(t: Thread, fd: Fd, new_fd: Fd, flags: OpenFlag) -> int:
    """dup2 with O_CLOEXEC and O_NONBLOCK; the same number twice changes nothing.  EBADF, EINVAL."""
    return _dup3(t, fd, new_fd, flags)


@syscall(pledge="stdio")
def sys___dup3100(t: Thread, fd: Fd, new_fd: Fd, flags: OpenFlag) -> int:
    """dup3 as POSIX has it now: the same number twice is refused with EINVAL."""
    if fd == new_fd:
        raise EINVAL
    return _dup3(t, fd, new_fd, flags)


def _dup3(t: Thread, fd: int, new_fd: int, flags: OpenFlags) -> int:
    if int(flags) & ~(_CLOEXEC | _NONBLOCK):
        raise EINVAL
    result = _dup_to(t, fd, new_fd, cloexec=bool(flags & _CLOEXEC))
    if flags & _NONBLOCK and fd != new_fd:
        t.proc.fds.get(fd).flags |= OpenFlags.NONBLOCK
    return result


# --- pipe
def _pipe(t: Thread, word: int) -> tuple[int, int]:
    flags = neutral(t, word)
    cred = t.proc.cred
    ends = make_pipe(t.system.anonymous, flags, cred.fsuid, cred.fsgid)
    if word & _NOSIGPIPE:
        for end in ends:
            end.flags |= OpenFlags.NOSIGPIPE
    return install_two(t, *ends, cloexec=bool(flags & OpenFlags.CLOEXEC))


@syscall(pledge="stdio")
def sys_pipe(t: Thread) -> int:
    """A pipe: its reading and its writing end are the two results.  EMFILE."""
    return Pair(*_pipe(t, 0))


@syscall(pledge="stdio")
def sys_pipe2(t: Thread, fds: TwoFds, flags: UInt) -> int:
    """A pipe with O_CLOEXEC, O_NONBLOCK and O_NOSIGPIPE, its ends in memory.  EINVAL, EMFILE, EFAULT."""
    if flags & ~_PIPE_KNOWN:
        raise EINVAL
    return put_two(t, fds, _pipe(t, flags))


# --- fcntl
def _getfl(t: Thread, _fd: int, file: File, _arg: int) -> int:
    outward: Callable[[int], int] = t.system.call_abi(t).flags[OpenFlags].outward
    return outward(int(file.flags)) | (_NOSIGPIPE if file.flags & OpenFlags.NOSIGPIPE else 0)


def _setfl(t: Thread, fd: int, file: File, arg: int) -> int:
    LINUX[4](t, fd, file, int(neutral(t, arg & 0xFFFF_FFFF)) & 0xFFFF_FFFF)
    return 0


def _closem(t: Thread, fd: int, _file: File, _arg: int) -> int:
    """All from this one on."""
    for number in list(t.proc.fds):
        if number >= fd:
            t.proc.fds.close(number)
    return 0


def _maxfd(t: Thread) -> int:
    return max(t.proc.fds.files, default=-1)


def _getnosigpipe(_t: Thread, _fd: int, file: File, _arg: int) -> int:
    return int(bool(file.flags & OpenFlags.NOSIGPIPE))


def _setnosigpipe(_t: Thread, _fd: int, file: File, arg: int) -> int:
    flags = int(file.flags)
    file.flags = OpenFlags(flags | _KEPT if arg & 0xFFFF_FFFF else flags & ~_KEPT)
    return 0


def _getpath(t: Thread, _fd: int, file: File, arg: int) -> int:
    """Where it was opened; ENOENT for what has no name."""
    if file.dentry is None:
        raise ENOENT
    t.proc.vm.copyout(arg, (file.dentry.path(t.proc.fs.root) + b"\0")[:_PATH_MAX])
    return 0


_OF_A_FILE: Final[dict[int, Handler]] = {
    0: LINUX[0], 1: LINUX[1], 2: LINUX[2], 3: _getfl, 4: _setfl, 5: LINUX[9], 6: LINUX[8], **lock_commands(Flock, 7),
    12: LINUX[1030], 13: _getnosigpipe, 14: _setnosigpipe,
    15: _getpath, 16: LINUX[1033], 17: LINUX[1034],
}
_F_CLOSEM, _F_MAXFD = 10, 11
_PATH_MAX: Final = 1024


@syscall(pledge="stdio")
def sys_fcntl(t: Thread, fd: Fd, command: Command, arg: RequestArg) -> Answer:
    """Change or ask one of the many things about a descriptor.  EBADF, EINVAL, EAGAIN, EMFILE."""
    fds = t.proc.fds
    if command == _F_MAXFD:
        return max(fds.files, default=-1)
    if command == _F_CLOSEM:
        if fd < 0:
            raise EBADF
        for number in fds:
            if number >= fd:
                fds.close(number)
        return 0
    return do_fcntl(t, fd, command, arg, _OF_A_FILE)
