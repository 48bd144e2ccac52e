"""ioctl: what every file understands, terminals' job control, and the rest handed to the file.

Source: ioctl(2), ioctl_tty(2), fs/ioctl.c.
"""

from __future__ import annotations

from typing import Final

from ring3.abi.flags import FileType, OpenFlags
from ring3.calls.descriptor import install
from ring3.calls.fcntl import set_cloexec
from ring3.calls.place import opened
from ring3.calls.sysarg import Fd
from ring3.calls.sysarg_files import IoctlRequest, RequestArg
from ring3.calls.syscall import syscall
from ring3.calls.terminal import check_foreground
from ring3.errors import EOPNOTSUPP
from ring3.proc.proc import Thread
from ring3.protocols import GuestMemory
from ring3.vfs.file import File
from ring3.vfs.pty import PtyMaster
from ring3.vfs.tty import FIONREAD, GUARDED, TIOCGPTPEER, TIOCNOTTY, TIOCSCTTY, TIOCSTI, TIOCSWINSZ, get_int, put_int

FIGETBSZ, FIONBIO, FIONCLEX, FIOCLEX, FIOASYNC, FIOQSIZE, FICLONE = 2, 0x5421, 0x5450, 0x5451, 0x5452, 0x5460, 0x40049409
_TAKES_TERMINAL: Final = frozenset((TIOCSTI, TIOCSCTTY, TIOCSWINSZ, TIOCNOTTY))      # changes it beyond what GUARDED holds
_PLAIN: Final = (FileType.REG, FileType.DIR, FileType.LNK)


@syscall(pledge="stdio tty")
def sys_ioctl(t: Thread, fd: Fd, request: IoctlRequest, arg: RequestArg) -> int:
    """Ask or tell a file something.  ENOTTY for what it does not understand, EFAULT."""
    return do_ioctl(t, fd, request, arg, t.proc.vm)


class Cell:
    """Memory of the kernel's own in the place of a guest's, for an ioctl that another system's becomes."""

    __slots__ = ("data",)

    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    def copyin(self, addr: int, nbytes: int) -> bytes:
        """What stands in it."""
        del addr
        return self.data[:nbytes]

    def copyout(self, addr: int, data: bytes) -> None:
        """The answer."""
        del addr
        self.data = data


def do_ioctl(t: Thread, fd: int, request: int, arg: int, memory: GuestMemory) -> int:
    """ioctl in Linux's numbers; what `arg` points to is in `memory`.  Raises what `sys_ioctl` does."""
    file = opened(t, fd)
    if request in (FIOCLEX, FIONCLEX):
        set_cloexec(t, fd, on=request == FIOCLEX)
        return 0
    if request in (FIONBIO, FIOASYNC):
        flag = OpenFlags.NONBLOCK if request == FIONBIO else OpenFlags.ASYNC
        file.flags = file.flags | flag if get_int(memory, arg) else file.flags & ~flag
        return 0
    if request in GUARDED or request in _TAKES_TERMINAL:
        t.needs("tty")
    if request in GUARDED:
        check_foreground(t, file, write=True, forced=True)
    if request == TIOCGPTPEER and isinstance(file, PtyMaster):
        flags = OpenFlags(arg & 0xFFFF_FFFF)
        return install(t, file.open_peer(flags), cloexec=bool(flags & OpenFlags.CLOEXEC))
    if file.vnode is not None and file.vnode.type in _PLAIN:
        answer = _of_plain_file(file, request)
        if answer is not None:
            put_int(memory, arg, answer)
            return 0
    return file.ioctl(request, arg, memory)


def _of_plain_file(file: File, request: int) -> int | None:
    """What every file with contents tells.  Raises EOPNOTSUPP for cloning."""
    assert file.vnode is not None
    if request == FIONREAD and file.vnode.type == FileType.REG:
        left = file.getattr().size - file.offset
        return (left & 0x7FFF_FFFF) - (left & 0x8000_0000)
    if request == FIGETBSZ:
        return file.getattr().blksize
    if request == FICLONE:
        raise EOPNOTSUPP
    return None
