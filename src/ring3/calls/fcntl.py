"""fcntl and flock: duplicating, flags, owners, pipes' sizes, seals, and locks.

Source: fcntl(2), flock(2), fs/fcntl.c, fs/locks.c.  The locks themselves are `proc.locks`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ring3.abi.filerecords import Flock, Flock64, FOwner
from ring3.abi.flags import ACCMODE, OpenFlags
from ring3.calls.guest import fetch, store
from ring3.calls.place import opened
from ring3.calls.sysarg import Fd
from ring3.calls.sysarg_files import FcntlCommand, LockOperation, RequestArg
from ring3.calls.syscall import syscall
from ring3.calls.transfer import Answer
from ring3.errors import EAGAIN, EBADF, EINVAL, EOVERFLOW, ESRCH
from ring3.proc.jails import known_procs
from ring3.proc.locks import LAST, READ, UNLOCK, WRITE, Lock
from ring3.proc.proc import Rlimit, Thread
from ring3.proc.targets import find_process
from ring3.vfs.file import File, PathFile
from ring3.vfs.memfd import MemFile
from ring3.vfs.pipe import PipeFile
from ring3.waiting import sleep_on

FD_CLOEXEC = 1
_SETTABLE: Final = OpenFlags.APPEND | OpenFlags.ASYNC | OpenFlags.DIRECT | OpenFlags.NOATIME | OpenFlags.NONBLOCK
_ON_PATH_FILES: Final = frozenset((0, 1, 2, 3, 1030))       # what fcntl does for O_PATH descriptors

Handler = Callable[[Thread, int, File, int], Answer]


# --- descriptors and their flags
def _dup(t: Thread, fd: int, minimum: int, *, cloexec: bool) -> int:
    p = t.proc
    limit = p.rlimit(Rlimit.NOFILE)
    if minimum >= limit:
        raise EINVAL
    return p.fds.install(p.fds.get(fd), cloexec=cloexec, minimum=minimum & 0xFFFF_FFFF, limit=limit)


def _dupfd(t: Thread, fd: int, _file: File, arg: int) -> int:
    return _dup(t, fd, arg & 0xFFFF_FFFF, cloexec=False)


def _dupfd_cloexec(t: Thread, fd: int, _file: File, arg: int) -> int:
    return _dup(t, fd, arg & 0xFFFF_FFFF, cloexec=True)


def _getfd(t: Thread, fd: int, _file: File, _arg: int) -> int:
    return FD_CLOEXEC if fd in t.proc.fds.cloexec else 0


def _setfd(t: Thread, fd: int, _file: File, arg: int) -> int:
    set_cloexec(t, fd, on=bool(arg & FD_CLOEXEC))
    return 0


def set_cloexec(t: Thread, fd: int, *, on: bool) -> None:
    """Whether exec closes a descriptor."""
    if on:
        t.proc.fds.cloexec.add(fd)
    else:
        t.proc.fds.cloexec.discard(fd)


def _getfl(_t: Thread, _fd: int, file: File, _arg: int) -> int:
    return int(file.flags)


def _setfl(_t: Thread, _fd: int, file: File, arg: int) -> int:
    file.flags = file.flags & ~_SETTABLE | OpenFlags(arg & int(_SETTABLE))
    return 0


# --- who gets SIGIO
def _setown(t: Thread, _fd: int, file: File, arg: int) -> int:
    who = (arg & 0x7FFF_FFFF) - (arg & 0x8000_0000)
    if who == -0x8000_0000:
        raise EINVAL
    if who not in (0, t.proc.pid):
        t.needs("proc")
    if who > 0:
        find_process(t, who)
    if who < 0 and not any(p.pgrp == -who for p in known_procs(t)):
        raise ESRCH
    file.owner = who
    return 0


def _getown(_t: Thread, _fd: int, file: File, _arg: int) -> int:
    return file.owner


def _setown_ex(t: Thread, fd: int, file: File, arg: int) -> int:
    owner = fetch(t, FOwner, arg)
    if owner.type not in (0, 1, 2):
        raise EINVAL
    return _setown(t, fd, file, -owner.pid if owner.type == 2 else owner.pid)


def _getown_ex(t: Thread, _fd: int, file: File, arg: int) -> int:
    store(t, FOwner, arg, FOwner(2, -file.owner) if file.owner < 0 else FOwner(1, file.owner))
    return 0


def _setsig(_t: Thread, _fd: int, file: File, arg: int) -> int:
    if not 0 <= arg <= 64:
        raise EINVAL
    file.owner_signal = arg
    return 0


def _getsig(_t: Thread, _fd: int, file: File, _arg: int) -> int:
    return file.owner_signal


# --- pipes, seals, leases
def _pipe(file: File) -> PipeFile:
    if not isinstance(file, PipeFile):
        raise EBADF
    return file


def _get_pipe_size(_t: Thread, _fd: int, file: File, _arg: int) -> int:
    return _pipe(file).get_capacity()


def _set_pipe_size(_t: Thread, _fd: int, file: File, arg: int) -> int:
    return _pipe(file).set_capacity(arg & 0xFFFF_FFFF)


def _memfd(file: File) -> MemFile:
    """Raises EINVAL for what has no seals."""
    if not isinstance(file, MemFile):
        raise EINVAL
    return file


def _add_seals(_t: Thread, _fd: int, file: File, arg: int) -> int:
    _memfd(file).add_seals(arg & 0xFFFF_FFFF)
    return 0


def _get_seals(_t: Thread, _fd: int, file: File, _arg: int) -> int:
    return _memfd(file).get_seals()


def _get_lease(_t: Thread, _fd: int, _file: File, _arg: int) -> int:
    return UNLOCK


def _set_lease(_t: Thread, _fd: int, _file: File, arg: int) -> int:
    raise EAGAIN if arg == UNLOCK else EINVAL


# --- record locks
def lock_key(file: File) -> tuple[int, int]:
    """Under which name a file's locks are kept; files without a vnode stand for themselves."""
    if file.vnode is not None:
        return file.vnode.fileid
    attr = file.getattr()
    return attr.dev, attr.ino


def _read_lock(t: Thread, file: File, record: type, addr: int, *, description: bool) -> Lock:
    """A struct flock as a `Lock`.  Raises EINVAL, EOVERFLOW, EFAULT."""
    asked: Flock = fetch(t, record, addr)
    if asked.whence == 0:
        base = 0
    elif asked.whence == 1:
        base = file.offset
    elif asked.whence == 2:
        base = file.getattr().size
    else:
        raise EINVAL
    start = base + asked.start
    if start > LAST:
        raise EOVERFLOW
    if start < 0:
        raise EINVAL
    end = LAST
    if asked.length > 0:
        end = start + asked.length - 1
        if end > LAST:
            raise EOVERFLOW
    elif asked.length < 0:
        start, end = start + asked.length, start - 1
        if start < 0:
            raise EINVAL
    if asked.type not in (READ, WRITE, UNLOCK):
        raise EINVAL
    if description:
        if asked.pid:
            raise EINVAL
        return Lock(file, asked.type, start, end, -1)
    return Lock(t.proc.fds, asked.type, start, end, t.proc.pid)


def _getlk(t: Thread, file: File, addr: int, record: type, *, description: bool) -> int:
    wanted = _read_lock(t, file, record, addr, description=description)
    if wanted.type == UNLOCK and not description:
        raise EINVAL
    return tell_lock(t, file, wanted, record, addr)


def tell_lock(t: Thread, file: File, wanted: Lock, record: type, addr: int) -> int:
    """Tell which lock stands in the way of one, in the place of the question; 0.  Raises EFAULT."""
    held = t.system.file_locks.conflict(lock_key(file), wanted)
    if held is None:
        answer = fetch(t, record, addr)._replace(type=UNLOCK)
    else:
        answer = Flock(held.type, 0, held.start, 0 if held.end == LAST else held.end - held.start + 1, held.pid)
    store(t, record, addr, answer)
    return 0


def _setlk(t: Thread, file: File, addr: int, record: type, *, wait: bool, description: bool) -> Answer:
    wanted = _read_lock(t, file, record, addr, description=description)
    access = file.flags & ACCMODE
    if (wanted.type == READ and access == OpenFlags.WRONLY) or (wanted.type == WRITE and access == OpenFlags.RDONLY):
        raise EBADF
    return set_lock(t, file, wanted, wait=wait)


def set_lock(t: Thread, file: File, wanted: Lock, *, wait: bool) -> Answer:
    """Set a lock, or take it away; 0.  A coroutine where it has to be waited for.  Raises EAGAIN, EDEADLK between processes."""
    locks, key = t.system.file_locks, lock_key(file)
    if wanted.type == UNLOCK or locks.conflict(key, wanted) is None:
        locks.put(key, wanted)
        return 0
    if not wait:
        raise EAGAIN
    return _set_later(t, file, key, wanted)


async def _set_later(t: Thread, file: File, key: tuple[int, int], wanted: Lock) -> int:
    locks = t.system.file_locks
    file.acquire()
    try:
        while (held := locks.conflict(key, wanted)) is not None:
            if wanted.owner is not file:
                locks.wait_for(wanted.owner, held)
            await sleep_on(locks.queue)
            locks.wait_over(wanted.owner)
        locks.put(key, wanted)
    finally:
        locks.wait_over(wanted.owner)
        file.release()
    return 0


def lock_commands(record: type, first: int, *, description: bool = False) -> dict[int, Handler]:
    """The three commands about record locks, asking, setting and waiting; `first` is the number of the first."""
    return {
        first: lambda t, _fd, file, arg: _getlk(t, file, arg, record, description=description),
        first + 1: lambda t, _fd, file, arg: _setlk(t, file, arg, record, wait=False, description=description),
        first + 2: lambda t, _fd, file, arg: _setlk(t, file, arg, record, wait=True, description=description),
    }


COMMANDS: Final[dict[int, Handler]] = {
    0: _dupfd, 1: _getfd, 2: _setfd, 3: _getfl, 4: _setfl, 8: _setown, 9: _getown, 10: _setsig, 11: _getsig, 15: _setown_ex,
    16: _getown_ex, 1024: _set_lease, 1025: _get_lease, 1030: _dupfd_cloexec, 1031: _set_pipe_size, 1032: _get_pipe_size,
    1033: _add_seals, 1034: _get_seals,
    **lock_commands(Flock, 5),
}
COMMANDS64: Final[dict[int, Handler]] = {
    **COMMANDS, **lock_commands(Flock64, 12), **lock_commands(Flock64, 36, description=True),
}


def do_fcntl(t: Thread, fd: int, command: int, arg: int, commands: dict[int, Handler]) -> Answer:
    """fcntl with the commands of one system.  Raises EBADF, EINVAL."""
    file = t.proc.fds.get(fd)
    if isinstance(file, PathFile) and command not in _ON_PATH_FILES:
        raise EBADF
    handler = commands.get(command)
    if handler is None:
        raise EINVAL
    return handler(t, fd, file, arg)


@syscall(pledge="stdio")
def sys_fcntl(t: Thread, fd: Fd, command: FcntlCommand, arg: RequestArg) -> Answer:
    """Change or ask one of the many things about a descriptor."""
    return do_fcntl(t, fd, command, arg, COMMANDS64)


# --- flock
LOCK_SH, LOCK_EX, LOCK_NB, LOCK_UN = 1, 2, 4, 8
LOCK_MAND = 32                  # of old times: accepted and without effect


@syscall(pledge="stdio")
def sys_flock(t: Thread, fd: Fd, operation: LockOperation) -> Answer:
    """Lock a whole file for an open description.  EAGAIN with LOCK_NB, EINVAL."""
    if operation & LOCK_MAND:
        return 0
    kind = operation & ~LOCK_NB
    if kind not in (LOCK_SH, LOCK_EX, LOCK_UN):
        raise EINVAL
    file = opened(t, fd)
    locks, key = t.system.file_locks, lock_key(file)
    if kind == LOCK_UN:
        locks.unflock(key, file)
        return 0
    wanted = READ if kind == LOCK_SH else WRITE
    if locks.flock(key, file, wanted):
        return 0
    if operation & LOCK_NB:
        raise EAGAIN
    return _flock_later(t, file, key, wanted)


async def _flock_later(t: Thread, file: File, key: tuple[int, int], wanted: int) -> int:
    locks = t.system.file_locks
    file.acquire()
    try:
        while not locks.flock(key, file, wanted):
            await sleep_on(locks.queue)
    finally:
        file.release()
    return 0
