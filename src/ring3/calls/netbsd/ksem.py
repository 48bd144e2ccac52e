"""_ksem_*: what NetBSD's sem_open(3) and process-shared sem_init(3) are made of.

An id is a descriptor, or the number of a shared semaphore.  Source: sys/kern/uipc_sem.c, sys/ksem.h.
"""

from __future__ import annotations

import time
from typing import Final

from ring3.abi.flags import OpenFlags
from ring3.abi.procrecords import UInt32
from ring3.abi.procrecords import Word as WordRecord
from ring3.abi.records import Timespec
from ring3.calls.descriptor import install
from ring3.calls.guest import fetch, store
from ring3.calls.procarg import Pointer, TimespecAt
from ring3.calls.sysarg import Mode, Path, UInt, Word
from ring3.calls.syscall import syscall
from ring3.errors import EAGAIN, EBADF, EBUSY, EEXIST, EINVAL, ENAMETOOLONG, ENOENT, ETIMEDOUT
from ring3.proc.ksem import SHARED_MARK, Semaphore, SemaphoreFile, Semaphores
from ring3.proc.proc import Thread
from ring3.waiting import sleep_on

_PSHARED: Final = 0x5053_5244          # what sem_init(3) leaves where the id goes, to ask for a shared one
_MARK_MASK: Final = 0xFF00_0001
_NAME_MAX: Final = 511
_CREAT, _EXCL = 0x200, 0x800
_INT_MASK: Final = 0xFFFF_FFFF


def _table(t: Thread) -> Semaphores:
    table: Semaphores | None = t.system.ksems
    if table is None:
        table = t.system.ksems = Semaphores()
    return table


def _file(t: Thread, number: int) -> SemaphoreFile | None:
    """The semaphore's file behind an id that is a descriptor."""
    file = t.proc.fds.files.get(number & _INT_MASK)
    return file if isinstance(file, SemaphoreFile) else None


def _is_shared(number: int) -> bool:
    return number & _MARK_MASK == SHARED_MARK


def _find(t: Thread, number: int) -> Semaphore:
    """Raises EINVAL for what is no semaphore, EACCES."""
    if _is_shared(number & _INT_MASK):
        return _table(t).shared(number & _INT_MASK, t.proc.cred)
    file = _file(t, number)
    if file is None:
        raise EINVAL
    return file.semaphore


def _give(t: Thread, semaphore: Semaphore, idp: int) -> int:
    """Open it, and tell the id.  Raises EMFILE, EFAULT."""
    t.proc.vm.check_writable(idp, t.system.call_abi(t).word_size)
    table = _table(t)
    if not semaphore.name:
        table.nameless += 1
    file = SemaphoreFile(t.system.anonymous, OpenFlags.RDWR, semaphore, table)
    store(t, WordRecord, idp, install(t, file))
    return 0


@syscall(pledge="stdio")
def sys__ksem_init(t: Thread, value: UInt, idp: Pointer) -> int:
    """A semaphore without a name.  EFAULT, EMFILE, ENFILE."""
    asked: int = fetch(t, WordRecord, idp)
    table = _table(t)
    semaphore = Semaphore(value & _INT_MASK, t.proc.cred)
    if asked & _INT_MASK == _PSHARED:
        t.proc.vm.check_writable(idp, t.system.call_abi(t).word_size)
        store(t, WordRecord, idp, table.share(semaphore, t.proc))
        return 0
    table.make_room()
    return _give(t, semaphore, idp)


@syscall(pledge="rpath")
def sys__ksem_open(t: Thread, name: Path, oflag: UInt, mode: Mode, value: UInt, idp: Pointer) -> int:
    """A semaphore by its name: a slash, and no other.  ENOENT, EEXIST, EACCES, EINVAL, ENAMETOOLONG, ENFILE, EMFILE, EFAULT."""
    if oflag & _CREAT:
        t.needs("cpath")
    table = _table(t)
    if len(name) > _NAME_MAX:
        raise ENAMETOOLONG
    found = table.named.get(name)
    if found is None:
        if not oflag & _CREAT:
            raise ENOENT
        if name[:1] != b"/" or len(name) < 2 or b"/" in name[1:]:
            raise EINVAL
        table.make_room()
        found = Semaphore(value & _INT_MASK, t.proc.cred, name, mode & 0o7777 & ~t.proc.fs.umask)
        _give(t, found, idp)
        table.named[name] = found
        return 0
    if oflag & _CREAT and oflag & _EXCL:
        raise EEXIST
    found.check(t.proc.cred)
    return _give(t, found, idp)


@syscall(pledge="cpath")
def sys__ksem_unlink(t: Thread, name: Path) -> int:
    """Take a name away.  ENOENT, EACCES."""
    _table(t).unlink(name, t.proc.cred)
    return 0


@syscall(pledge="stdio")
def sys__ksem_close(t: Thread, number: Word) -> int:
    """Close an id.  EBADF, EINVAL for one that is no semaphore's."""
    if number & _INT_MASK not in t.proc.fds.files:
        raise EBADF
    if _file(t, number) is None:
        raise EINVAL
    t.proc.fds.close(number & _INT_MASK)
    return 0


@syscall(pledge="stdio")
def sys__ksem_post(t: Thread, number: Word) -> int:
    """One more.  EINVAL, EOVERFLOW."""
    _find(t, number).post()
    return 0


async def _wait(t: Thread, semaphore: Semaphore, until_ns: int | None) -> int:
    """Sleep until there is one to take.  Raises ETIMEDOUT."""
    semaphore.waiters += 1
    try:
        while not semaphore.take():
            woken = await sleep_on(semaphore.queue, deadline_ns=until_ns)
            if not woken and until_ns is not None and t.system.now_ns() >= until_ns:
                raise ETIMEDOUT
    finally:
        semaphore.waiters -= 1
    return 0


@syscall(pledge="stdio")
async def sys__ksem_wait(t: Thread, number: Word) -> int:
    """Take one; wait for it.  EINVAL, EINTR."""
    return await _wait(t, _find(t, number), None)


@syscall(pledge="stdio")
async def sys__ksem_timedwait(t: Thread, number: Word, abstime: TimespecAt) -> int:
    """Take one; wait for it until a moment of the real time.  EINVAL, EFAULT, ETIMEDOUT, EINTR."""
    moment_ns: int = fetch(t, Timespec, abstime)
    semaphore = _find(t, number)
    if semaphore.take():
        return 0
    left_ns = moment_ns - time.time_ns()
    if left_ns <= 0:
        raise ETIMEDOUT
    return await _wait(t, semaphore, t.system.now_ns() + left_ns)


@syscall(pledge="stdio")
def sys__ksem_trywait(t: Thread, number: Word) -> int:
    """Take one if there is one.  EAGAIN, EINVAL."""
    if not _find(t, number).take():
        raise EAGAIN
    return 0


@syscall(pledge="stdio")
def sys__ksem_getvalue(t: Thread, number: Word, value: Pointer) -> int:
    """How many there are.  EINVAL, EFAULT."""
    store(t, UInt32, value, _find(t, number).value)
    return 0


@syscall(pledge="stdio")
def sys__ksem_destroy(t: Thread, number: Word) -> int:
    """End one without a name.  EINVAL, EBUSY while somebody waits for it."""
    semaphore = _find(t, number)
    if semaphore.name:
        raise EINVAL
    if semaphore.waiters:
        raise EBUSY
    if _is_shared(number & _INT_MASK):
        _table(t).unshare(number & _INT_MASK)
    else:
        t.proc.fds.close(number & _INT_MASK)
    return 0
