"""POSIX semaphores as NetBSD's kernel has them: counters behind descriptors, some with a name, some with a number for everybody.

A named one lives until it is unlinked and closed by all; one without a name, as long as a descriptor; a shared one, as long as its
maker.  Source: sys/kern/uipc_sem.c, sem_open(3), sem_init(3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ring3.errors import EACCES, EINVAL, ENFILE, ENOENT, EOVERFLOW
from ring3.vfs.eventfd import AnonFile
from ring3.waiting import WaitQueue

if TYPE_CHECKING:
    from ring3.abi.flags import OpenFlags
    from ring3.proc.cred import Cred
    from ring3.proc.proc import Proc
    from ring3.vfs.pipe import AnonymousInodes

KSEM_MAX: Final = 128                  # of one system
VALUE_MAX: Final = (1 << 32) - 1
SHARED_MARK: Final = 0x7000_0001       # what the number of a shared one has set; a descriptor is never so large
_STEP: Final = 2
_NUMBERS: Final = 1 << 23


class Semaphore:
    """One counter.  `waiters` are the threads that wait for it to be more than 0."""

    __slots__ = ("gid", "mode", "name", "queue", "uid", "value", "waiters")

    def __init__(self, value: int, cred: Cred, name: bytes = b"", mode: int = 0) -> None:
        self.value = value
        self.name = name
        self.mode = mode
        self.uid = cred.euid
        self.gid = cred.egid
        self.waiters = 0
        self.queue = WaitQueue()

    def post(self) -> None:
        """One more.  Raises EOVERFLOW."""
        if self.value == VALUE_MAX:
            raise EOVERFLOW
        self.value += 1
        if self.waiters:
            self.queue.wake()

    def take(self) -> bool:
        """One less, if there is one."""
        if not self.value:
            return False
        self.value -= 1
        return True

    def check(self, cred: Cred) -> None:
        """Whether these ids may have it.  Raises EACCES."""
        if not (
            cred.privileged or (cred.euid == self.uid and self.mode & 0o200) or (cred.egid == self.gid and self.mode & 0o020)
            or self.mode & 0o002
        ):
            raise EACCES


class SemaphoreFile(AnonFile):
    """A descriptor's semaphore."""

    __slots__ = ("semaphore", "table")

    def __init__(self, inodes: AnonymousInodes, flags: OpenFlags, semaphore: Semaphore, table: Semaphores) -> None:
        super().__init__(inodes, flags)
        self.semaphore = semaphore
        self.table = table

    @property
    def label(self) -> bytes:
        return b"anon_inode:[ksem]"

    def read(self, nbytes: int) -> bytes:
        """Its name."""
        name = self.semaphore.name
        return (name + b"\0")[:nbytes] if name else b""

    def close(self) -> None:
        """The last descriptor of this description is gone."""
        if not self.semaphore.name:
            self.table.nameless -= 1
        super().close()


class Semaphores:
    """All of one system."""

    __slots__ = ("_next", "_shared", "named", "nameless")

    def __init__(self) -> None:
        self.named: dict[bytes, Semaphore] = {}
        self.nameless = 0                  # those that descriptors alone hold
        self._shared: dict[int, tuple[Semaphore, Proc]] = {}
        self._next = 0

    def make_room(self) -> None:
        """Raises ENFILE for one too many."""
        self._forget_makers()
        if len(self.named) + self.nameless + len(self._shared) >= KSEM_MAX:
            raise ENFILE

    def _forget_makers(self) -> None:
        for number, (_, maker) in list(self._shared.items()):
            if maker.exiting or maker.zombie:
                del self._shared[number]

    def share(self, semaphore: Semaphore, maker: Proc) -> int:
        """A number for all processes.  Raises ENFILE."""
        self.make_room()
        while True:
            self._next = (self._next + 1) % _NUMBERS
            number = SHARED_MARK | self._next * _STEP
            if number not in self._shared:
                self._shared[number] = semaphore, maker
                return number

    def shared(self, number: int, cred: Cred) -> Semaphore:
        """The one with a number.  Raises EINVAL for none, EACCES."""
        self._forget_makers()
        found = self._shared.get(number)
        if found is None:
            raise EINVAL
        if not cred.privileged and cred.euid != found[0].uid:
            raise EACCES
        return found[0]

    def unshare(self, number: int) -> None:
        """It is destroyed."""
        del self._shared[number]

    def unlink(self, name: bytes, cred: Cred) -> None:
        """Take a name away; who has it open keeps it.  Raises ENOENT, EACCES."""
        semaphore = self.named.get(name)
        if semaphore is None:
            raise ENOENT
        semaphore.check(cred)
        del self.named[name]
