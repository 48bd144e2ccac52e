"""Anonymous files of SerenityOS: memory behind a descriptor, to be mapped and sent, neither read nor written (anon_create).

Stated results: memory is not reserved; more of it than a program has addresses is ENOMEM.
Source: Kernel/Syscalls/anon_create.cpp, Kernel/FileSystem/AnonymousFile.cpp.
"""

from __future__ import annotations

from typing import Annotated, Final

from ring3.abi.flags import FileType, OpenFlags, Whence
from ring3.calls.procarg import Bits
from ring3.calls.sysarg import Size
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, ENOMEM, ENOTSUP, ESPIPE
from ring3.proc.proc import Rlimit, Thread
from ring3.vfs.memfd import F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, MemFile, SealedVnode
from ring3.vfs.memory import MemoryFS
from ring3.vm.region import PAGE
from ring3.vm.traits import Purgeable

O_CLOEXEC: Final = 0x800
_SSIZE_MAX: Final = (1 << 63) - 1

Options = Annotated[int, Bits({O_CLOEXEC: "O_CLOEXEC"})]


class AnonymousFile(MemFile):
    """What anon_create makes.  Its memory may be purged while it is volatile."""

    __slots__ = ("purgeable",)

    def __init__(self, vnode: SealedVnode) -> None:
        super().__init__(vnode, b"", OpenFlags.RDWR)
        self.purgeable = Purgeable()

    @property
    def label(self) -> bytes:
        return b":anonymous-file:"

    def read(self, nbytes: int) -> bytes:
        raise ENOTSUP

    def write(self, data: bytes) -> int:
        raise ENOTSUP

    def pread(self, offset: int, nbytes: int) -> bytes:
        raise ENOTSUP

    def pwrite(self, offset: int, data: bytes) -> int:
        raise ENOTSUP

    def seek(self, offset: int, whence: Whence) -> int:
        raise ESPIPE


@syscall(pledge="stdio")
def sys_anon_create(t: Thread, size: Size, options: Options) -> int:
    """Memory of whole pages behind a new descriptor.  Raises EINVAL, EMFILE, ENOMEM."""
    if not size or size % PAGE or size > _SSIZE_MAX:
        raise EINVAL
    system, fds = t.system, t.proc.fds
    limit = t.proc.rlimit(Rlimit.NOFILE)
    if size > t.proc.vm.user_top and fds.lowest() < limit:
        raise ENOMEM
    if system.memfds is None:
        system.memfds = MemoryFS()
        system.memfds.dev = system.mounts.anonymous_dev()
    cred = t.proc.cred
    vnode = SealedVnode(system.memfds, FileType.REG | 0o600, cred.euid, cred.egid)
    fd = fds.install(AnonymousFile(vnode), cloexec=bool(options & O_CLOEXEC), limit=limit)
    vnode.resize(size)
    vnode.seals = F_SEAL_SEAL | F_SEAL_GROW | F_SEAL_SHRINK
    return fd
