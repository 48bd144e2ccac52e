"""SerenityOS's calls that make and change descriptors, and the sizes and offsets of what they stand for.

Offsets and lengths come in memory.  Locks belong to the open file, and go with it.
Source: Kernel/Syscalls/{dup2,fcntl,lseek,pipe,ftruncate,fallocate}.cpp, OpenFileDescription.cpp, Inode.cpp (reference, 4.8, 6.10).
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from ring3.abi.filerecords import Flock, LongOffset
from ring3.abi.flags import ACCMODE, S_IFMT, FileType, OpenFlags, Whence
from ring3.calls.attribute import check_growth
from ring3.calls.descriptor import install_two, put_two
from ring3.calls.fcntl import set_lock, tell_lock
from ring3.calls.guest import fetch
from ring3.calls.serenity.open import O_CLOEXEC, O_NONBLOCK, Options
from ring3.calls.serenity.place import most_descriptors, seekable
from ring3.calls.sysarg import Decoder, Fd, Number
from ring3.calls.sysarg_files import InOut, InOutRecord, NamedValue, RequestArg, TwoFds
from ring3.calls.syscall import syscall
from ring3.calls.transfer import Answer
from ring3.errors import EBADF, EFAULT, EFBIG, EINVAL, EMFILE, ENODEV, ENOTSUP, EOVERFLOW, ESPIPE
from ring3.proc.locks import LAST, READ, UNLOCK, WRITE, Lock
from ring3.proc.proc import Thread
from ring3.protocols import Abi
from ring3.vfs.file import MAX_OFFSET, File, RegularFile
from ring3.vfs.hoststream import HostStream
from ring3.vfs.pipe import make_pipe
from ring3.vfs.pty import PtySlave

FD_CLOEXEC: Final = 1
F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_ISTTY, F_GETLK, F_SETLK, F_SETLKW = range(9)
_COMMANDS: Final = dict(enumerate((
    "F_DUPFD", "F_GETFD", "F_SETFD", "F_GETFL", "F_SETFL", "F_ISTTY", "F_GETLK", "F_SETLK", "F_SETLKW"
)))
_WHENCES: Final = {0: "SEEK_SET", 1: "SEEK_CUR", 2: "SEEK_END"}

Command = Annotated[int, NamedValue(_COMMANDS)]
SeekFrom = Annotated[int, Number(_WHENCES)]


class _Offset(InOutRecord):
    """An off_t in memory; where it cannot be read the call finds out (`_given`), in its own order."""

    def compile(self, abi: Abi) -> Decoder:
        decode = super().compile(abi)

        def unless_bad(t: Thread, word: int) -> Any:
            try:
                return decode(t, word)
            except EFAULT:
                return InOut(t, word, None, bytes)

        return unless_bad

    def show(self, t: Thread, value: Any) -> str:
        return hex(value.addr) if value.value is None else f"[{value.value}]"


def _given(offset: InOut) -> int:
    """Raises EFAULT."""
    if offset.value is None:
        raise EFAULT
    return int(offset.value)


OffsetAt = Annotated[InOut, _Offset(LongOffset)]


# --- descriptors
@syscall(pledge="stdio")
def sys_dup2(t: Thread, fd: Fd, new_fd: Fd) -> int:
    """Make `new_fd` the same file as `fd`; it stays open at exec.  EBADF, EINVAL for a number out of range."""
    fds = t.proc.fds
    file = fds.get(fd)
    if fd != new_fd:
        if not 0 <= new_fd < most_descriptors(t):
            raise EINVAL
        fds.set(new_fd, file)
    return new_fd


@syscall(pledge="stdio")
def sys_pipe(t: Thread, fds: TwoFds, flags: Options) -> int:
    """A pipe: its reading and its writing end.  EINVAL for flags but O_CLOEXEC and O_NONBLOCK, EMFILE, EFAULT."""
    if flags & ~(O_CLOEXEC | O_NONBLOCK):
        raise EINVAL
    cred = t.proc.cred
    ends = make_pipe(t.system.anonymous, t.system.call_abi(t).flags[OpenFlags](flags & O_NONBLOCK), cred.fsuid, cred.fsgid)
    return put_two(t, fds, install_two(t, *ends, cloexec=bool(flags & O_CLOEXEC)))


@syscall(pledge="stdio")
def sys_fcntl(t: Thread, fd: Fd, command: Command, arg: RequestArg) -> Answer:
    """Change or ask one of the things about a descriptor.  EBADF, EINVAL for an unknown command, EMFILE, EAGAIN."""
    file = t.proc.fds.get(fd)
    fds = t.proc.fds
    match command:
        case 0:     # F_DUPFD
            return _dupfd(t, file, (arg & 0x7FFF_FFFF) - (arg & 0x8000_0000))
        case 1:     # F_GETFD
            return FD_CLOEXEC if fd in fds.cloexec else 0
        case 2:     # F_SETFD
            (fds.cloexec.add if arg & FD_CLOEXEC else fds.cloexec.discard)(fd)
        case 3:     # F_GETFL
            return int(t.system.call_abi(t).flags[OpenFlags].outward(int(file.flags)))
        case 4:     # F_SETFL
            _set_flags(t, file, arg & 0xFFFF_FFFF)
        case 5:     # F_ISTTY
            return int(is_terminal(file))
        case 6:     # F_GETLK
            return _get_lock(t, file, arg)
        case 7 | 8:     # F_SETLK, F_SETLKW
            return _set_lock(t, file, arg, wait=command == F_SETLKW)
        case _:
            raise EINVAL
    return 0


def _dupfd(t: Thread, file: File, minimum: int) -> int:
    if minimum < 0:
        raise EINVAL
    limit = most_descriptors(t)
    if minimum >= limit:
        raise EMFILE
    return t.proc.fds.install(file, minimum=minimum, limit=limit)


def _set_flags(t: Thread, file: File, word: int) -> None:
    """All of them but how it may be used, which stays."""
    kept = int(file.flags) & (ACCMODE | int(OpenFlags.PATH))
    file.flags = OpenFlags(int(t.system.call_abi(t).flags[OpenFlags](word)) & ~ACCMODE | kept)


def is_terminal(file: File) -> bool:
    """Whether programs talk to somebody through it; the master's side of a terminal is none."""
    return isinstance(file, PtySlave) or (isinstance(file, HostStream) and file.is_terminal)


# --- locks
def _read_lock(t: Thread, file: File, addr: int) -> Lock:
    """A struct flock.  Raises EBADF for a file without an inode, EFAULT, ENOTSUP from the end of the file on, EINVAL."""
    if file.vnode is None:
        raise EBADF
    asked: Flock = fetch(t, Flock, addr)
    if asked.whence == Whence.END:
        raise ENOTSUP
    if asked.whence not in (Whence.SET, Whence.CUR) or asked.type not in (READ, WRITE, UNLOCK):
        raise EINVAL
    start = asked.start + (file.offset if asked.whence == Whence.CUR else 0)
    end = LAST if not asked.length else start + asked.length - 1
    if not 0 <= start <= end <= LAST:
        raise EINVAL
    return Lock(file, asked.type, start, end, t.proc.pid)


def _get_lock(t: Thread, file: File, addr: int) -> int:
    return tell_lock(t, file, _read_lock(t, file, addr), Flock, addr)


def _set_lock(t: Thread, file: File, addr: int, *, wait: bool) -> Answer:
    return set_lock(t, file, _read_lock(t, file, addr), wait=wait)


# --- offsets and sizes
@syscall(pledge="stdio")
def sys_lseek(t: Thread, fd: Fd, offset: OffsetAt, whence: SeekFrom) -> int:
    """Move a file's offset, and tell the new one where the wish stood; 0.  EBADF, EFAULT, ESPIPE, EOVERFLOW, EINVAL."""
    file = t.proc.fds.get(fd)
    wish = _given(offset)
    if not seekable(file):
        raise ESPIPE
    if whence not in _WHENCES:
        raise EINVAL
    if isinstance(file, HostStream):        # its offset is the host's
        offset.put(file.seek(wish, Whence(whence)))
        return 0
    place = wish + (0, file.offset, file.getattr().size if whence == Whence.END else 0)[whence]
    if place > MAX_OFFSET:
        raise EOVERFLOW
    if place < 0:
        raise EINVAL
    file.offset = place
    offset.put(place)
    return 0


@syscall(pledge="stdio")
def sys_ftruncate(t: Thread, fd: Fd, length: OffsetAt) -> int:
    """Set an open file's size.  EFAULT, EINVAL, EBADF unless it is open for writing."""
    size = _given(length)
    if size < 0:
        raise EINVAL
    file = t.proc.fds.get(fd)
    file.check_writable()
    if isinstance(file, HostStream):
        file.truncate(size)
        return 0
    if not isinstance(file, RegularFile):
        raise EINVAL
    check_growth(t, file.target, size)
    file.target.truncate(size)
    return 0


@syscall(pledge="stdio")
def sys_posix_fallocate(t: Thread, fd: Fd, offset: OffsetAt, length: OffsetAt) -> int:
    """Have room for a part of a file.  EFAULT, EINVAL, EFBIG, EBADF, ESPIPE, ENODEV, in this order."""
    start = _given(offset)
    if start < 0:
        raise EINVAL
    size = _given(length)
    if size <= 0:
        raise EINVAL
    end = start + size
    if end > MAX_OFFSET:
        raise EFBIG
    file = t.proc.fds.get(fd)
    file.check_writable()
    if file.getattr().mode & S_IFMT == FileType.FIFO:
        raise ESPIPE
    if not isinstance(file, RegularFile):
        raise ENODEV
    if file.getattr().size < end:
        check_growth(t, file.target, end)
        file.target.truncate(end)
    return 0
