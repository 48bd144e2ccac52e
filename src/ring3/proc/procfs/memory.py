"""What /proc shows of a process's memory itself: arguments, environment, and mem.

Reading needs no stopped thread of the process; what changes meanwhile is read as it is at that moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.abi.flags import ACCMODE, FileType, OpenFlags, Whence
from ring3.errors import EINVAL, EIO, ESRCH
from ring3.proc.procfs.maps import space_of
from ring3.proc.procfs.node import Node
from ring3.vfs.file import RegularFile

if TYPE_CHECKING:
    from ring3.proc.proc import Proc
    from ring3.proc.procfs.fs import ProcFS
    from ring3.vfs.file import File
    from ring3.vm.vmspace import VMSpace

TEXT_MAX = 8 << 20          # more than exec lets arguments and environment be together
PAGE = 4096
PIECE_MAX = 1 << 20         # one read or write of mem does at most this much


def _read(vm: VMSpace, start: int, end: int) -> bytes:
    """The bytes of a range, up to the first that is not mapped."""
    end = min(end, start + TEXT_MAX)
    pieces = []
    while start < end:
        region = vm.find(start)
        if region is None:
            break
        piece = vm.machine.read(start, min(end, region.end) - start)
        pieces.append(piece)
        if not piece:
            break
        start += len(piece)
    return b"".join(pieces)


def argument_text(p: Proc) -> bytes:
    """The arguments, each with a zero behind it.

    A program that wrote over its last zero (setproctitle(3)) is shown up to the first zero, into the environment if need be.
    """
    vm = space_of(p)
    if vm is not None and vm.kept is not None:
        return b"".join([word + b"\0" for word in vm.kept[0]])
    if vm is None or vm.arg_start >= vm.arg_end:
        return b""
    text = _read(vm, vm.arg_start, vm.arg_end)
    if not text or text[-1] == 0:
        return text
    end = vm.env_end if vm.env_start == vm.arg_end else vm.arg_end
    text = _read(vm, vm.arg_start, min(end, vm.arg_end + PAGE))
    return text[: text.find(b"\0") + 1 or None]


def argument_words(p: Proc) -> list[bytes]:
    """The arguments one by one."""
    return argument_text(p).split(b"\0")[:-1]


def environment_text(p: Proc) -> bytes:
    """The environment the program started with.  Raises ESRCH for a process without memory."""
    vm = space_of(p)
    if vm is None:
        raise ESRCH
    if vm.kept is not None:
        return b"".join([word + b"\0" for word in vm.kept[1]])
    return _read(vm, vm.env_start, vm.env_end)


class MemoryNode(Node):
    """/proc/PID/mem: for who may trace the process."""

    __slots__ = ()

    def __init__(self, fs: ProcFS, key: bytes, p: Proc, about: object) -> None:
        super().__init__(fs, key, FileType.REG | 0o600, p, about)

    def open(self, flags: OpenFlags) -> File:
        """Raises EACCES, ESRCH; EPERM without the promise prot_exec: what is written there may be code."""
        self.alive()
        p = self.owner
        assert p is not None
        self.fs.check_trace(p)
        if flags & ACCMODE and self.fs.viewer is not None:
            self.fs.viewer.needs("prot_exec")
        vm = space_of(p)
        if vm is None:
            raise ESRCH
        return MemoryFile(self, flags, p, vm)

    def read(self, offset: int, nbytes: int) -> bytes:
        raise EINVAL


class MemoryFile(RegularFile):
    """The address space as it was when opened: after an exec nothing is left to read (0 bytes)."""

    __slots__ = ("node", "owner_proc", "vm")

    def __init__(self, node: MemoryNode, flags: OpenFlags, p: Proc, vm: VMSpace) -> None:
        super().__init__(node, flags)
        self.node = node
        self.owner_proc = p
        self.vm = vm

    def read(self, nbytes: int) -> bytes:
        data = self.pread(self.offset, nbytes)
        self.offset += len(data)
        return data

    def pread(self, offset: int, nbytes: int) -> bytes:
        """Raises EIO where nothing is mapped; short where the mapped range ends."""
        self.check_readable()
        if offset < 0:
            raise EINVAL
        if nbytes == 0 or not self._is_there():
            return b""
        data = _read(self.vm, offset, offset + min(nbytes, PIECE_MAX))
        if not data:
            raise EIO
        return data

    def write(self, data: bytes) -> int:
        count = self.pwrite(self.offset, data)
        self.offset += count
        return count

    def pwrite(self, offset: int, data: bytes) -> int:
        """Private pages are written whatever their protection, where the owner's system has it so; shared ones, and those of a
        system that is strict, only where they may be written at all.

        Raises EIO.
        """
        self.check_writable()
        if offset < 0:
            raise EINVAL
        if not data or not self._is_there():
            return 0
        done, forces = 0, self.owner_proc.personality.forces_writes
        data = data[:PIECE_MAX]
        while done < len(data):
            region = self.vm.find(offset + done)
            if region is None or not region.max_prot & 2 or ((region.shared or not forces) and not region.prot & 2):
                break
            piece = data[done : done + region.end - offset - done]
            written = self.vm.machine.write(offset + done, piece)
            if not written:
                break
            done += written
        if not done:
            raise EIO
        return done

    def _is_there(self) -> bool:
        """Whether there is anything to see: its process runs what it ran, and who looks now may know of it."""
        return space_of(self.owner_proc) is self.vm and self.node.fs.knows(self.owner_proc)

    def seek(self, offset: int, whence: Whence) -> int:
        """Raises EINVAL for SEEK_END."""
        return self.move(offset, whence)
