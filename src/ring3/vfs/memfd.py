"""memfd_create: a nameless file in memory, whose changes can be forbidden for good (seals).

The contents are a `MemRegular` of the kernel's own MemoryFS for such files; this module adds the seals, which belong to the file
and not to one description.

Source: mm/memfd.c, memfd_create(2), fcntl(2) "File Sealing".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ring3.abi.flags import FileType, OpenFlags
from ring3.errors import EBUSY, EINVAL, EPERM
from ring3.vfs.file import RegularFile
from ring3.vfs.memdata import MemRegular
from ring3.vfs.memnode import PAGE

if TYPE_CHECKING:
    from ring3.abi.records import AttrChange
    from ring3.vfs.memory import MemoryFS

MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_HUGETLB, MFD_NOEXEC_SEAL, MFD_EXEC = 1, 2, 4, 8, 16
F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_EXEC = 1, 2, 4, 8, 16, 32
_ALL_SEALS: Final = 63
_NO_WRITES: Final = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE
NAME_MAX: Final = 249


class SealedVnode(MemRegular):
    """A file that keeps its seals.  `shared_writers` counts writable shared mappings: while there is one, F_SEAL_WRITE is EBUSY."""

    __slots__ = ("seals", "shared_writers")

    def __init__(self, fs: MemoryFS, mode: int, uid: int, gid: int) -> None:
        super().__init__(fs, mode, uid, gid)
        self.seals = F_SEAL_SEAL
        self.shared_writers = 0

    def write(self, offset: int, data: bytes) -> int:
        """Raises EPERM where a seal forbids it; of a file that may not grow, whole pages inside it are written."""
        if self.seals & _NO_WRITES:
            raise EPERM
        if self.seals & F_SEAL_GROW and offset + len(data) > self.size:
            data = data[: max(self.size // PAGE * PAGE - offset, 0)]      # page by page, the last one refused
            if not data:
                raise EPERM
        return super().write(offset, data)

    def setattr(self, change: AttrChange) -> None:
        size, seals = change.size, self.seals
        if size is not None and (
            (size < self.size and seals & F_SEAL_SHRINK) or (size > self.size and seals & F_SEAL_GROW)
        ):
            raise EPERM
        if change.mode is not None and seals & F_SEAL_EXEC and (change.mode ^ self.mode) & 0o111:
            raise EPERM
        super().setattr(change)

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        if mode & 2 and self.seals & _NO_WRITES:
            raise EPERM
        if self.seals & F_SEAL_GROW and offset + length > self.size:
            raise EPERM
        super().fallocate(mode, offset, length)

    def host_fd(self, *, write: bool = False) -> int:
        if write and self.seals & _NO_WRITES:
            raise EPERM
        return super().host_fd(write=write)


class MemFile(RegularFile):
    """What memfd_create makes."""

    __slots__ = ("name",)

    target: SealedVnode

    def __init__(self, vnode: SealedVnode, name: bytes, flags: OpenFlags) -> None:
        super().__init__(vnode, flags)
        self.name = name
        vnode.writers -= 1          # Linux counts no writer here: a memfd may be run while it is open

    def close(self) -> None:
        self.target.writers += 1
        super().close()

    @property
    def label(self) -> bytes:
        return b"/memfd:%s (deleted)" % self.name

    def get_seals(self) -> int:
        """F_GET_SEALS."""
        return self.target.seals

    def add_seals(self, seals: int) -> None:
        """F_ADD_SEALS.  Raises EPERM when sealed or not open for writing, EINVAL for unknown ones, EBUSY."""
        if self.flags & 3 == OpenFlags.RDONLY:
            raise EPERM
        if seals & ~_ALL_SEALS:
            raise EINVAL
        vnode = self.target
        if vnode.seals & F_SEAL_SEAL:
            raise EPERM
        if seals & F_SEAL_WRITE and not vnode.seals & F_SEAL_WRITE and vnode.shared_writers:
            raise EBUSY
        if seals & F_SEAL_EXEC and vnode.mode & 0o111:
            seals |= F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE
        vnode.seals |= seals


def memfd_create(fs: MemoryFS, name: bytes, flags: int, uid: int = 0, gid: int = 0) -> MemFile:
    """A new file in `fs`, which has no names at all.  Raises EINVAL for unknown flags and names over 249 bytes, ENOSPC."""
    known = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC
    if flags & ~known or (flags & MFD_NOEXEC_SEAL and flags & MFD_EXEC) or len(name) > NAME_MAX:
        raise EINVAL
    executable = not flags & MFD_NOEXEC_SEAL
    vnode = SealedVnode(fs, FileType.REG | (0o777 if executable else 0o666), uid, gid)
    if not executable:
        vnode.seals = F_SEAL_EXEC
    elif flags & MFD_ALLOW_SEALING:
        vnode.seals = 0
    return MemFile(vnode, name, OpenFlags.RDWR)
