"""The file system of /proc: who looks, what may be looked at, and one vnode for each file somebody holds."""

from __future__ import annotations

import time
from binascii import crc32
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakValueDictionary

from ring3.abi.flags import FileType
from ring3.abi.records import StatFs
from ring3.errors import EACCES, ESRCH
from ring3.proc.jails import may_know
from ring3.vfs.dentry import Dentry
from ring3.vfs.vnode import FileSystem, Vnode

if TYPE_CHECKING:
    from ring3.proc.proc import Proc, Thread
    from ring3.proc.procfs.node import Node
    from ring3.proc.system import System

PROC_SUPER_MAGIC = 0x9FA0
ROOT_INO = 1

N = TypeVar("N", bound="Node")


class ProcFS(FileSystem):
    """/proc of one kernel.

    Vnodes are found again as long as somebody holds them (`nodes`, by path), so that a process whose current directory is in
    /proc keeps it.
    """

    name = b"proc"
    source = b"proc"

    def __init__(self, system: System) -> None:
        self.system = system
        self.dev = 0
        self.nodes: WeakValueDictionary[bytes, Node] = WeakValueDictionary()
        self.settings: dict[bytes, bytes] = {}      # what was written to /proc/sys and belongs nowhere else
        self.boot_id = uuid(system)
        self.started_ns = time.time_ns()
        self._root: Node | None = None

    def root(self) -> Vnode:
        if self._root is None:
            from ring3.proc.procfs.root import ProcRoot

            self._root = ProcRoot(self)
        return self._root

    def statfs(self) -> StatFs:
        return StatFs(PROC_SUPER_MAGIC, 4096, 0, 0, 0, 0, 0, 0, 255, 4096, 0)

    def node(self, key: bytes, about: object, make: Callable[[], N]) -> N:
        """The vnode at path `key`, which is about `about` (a process, a thread): the living one, or a new one."""
        found = self.nodes.get(key)
        if found is None or found.about is not about:
            found = self.nodes[key] = make()
        return found  # type: ignore[return-value]

    @staticmethod
    def ino(key: bytes) -> int:
        """The inode number of a path."""
        return crc32(key) | 1 << 32 if key else ROOT_INO

    # --- who looks
    @property
    def viewer(self) -> Thread | None:
        """The thread whose call is being served."""
        return self.system.current

    def view(self, dentry: Dentry) -> bytes:
        """The path of a dentry as the viewer's root has it."""
        t = self.viewer
        fs = getattr(t.proc, "fs", None) if t is not None else None
        root = fs.root if fs is not None else self.system.mounts.root
        return dentry.path(root, mark_deleted=True)

    def knows(self, p: Proc) -> bool:
        """Whether the viewer may know that there is a process `p`: nobody outside of its jail."""
        t = self.viewer
        return t is None or may_know(t.proc, p)

    def may_trace(self, p: Proc) -> bool:
        """Whether the viewer may look into `p` (ptrace(2), "Ptrace access mode checking", PTRACE_MODE_READ_FSCREDS)."""
        t = self.viewer
        if t is None or t.proc is p:
            return True
        mine, its = t.proc.cred, p.cred
        if mine.privileged:
            return True
        same_user = mine.fsuid == its.ruid == its.euid == its.suid
        same_group = mine.fsgid == its.rgid == its.egid == its.sgid
        return same_user and same_group and p.dumpable == 1

    def check_trace(self, p: Proc) -> None:
        """Raises EACCES unless the viewer may look into `p`; EPERM where it promised not to look into others, ESRCH where it
        may not know of it.
        """
        t = self.viewer
        if not self.knows(p):
            raise ESRCH
        if t is not None and t.proc is not p:
            t.needs("ptrace")
        if not self.may_trace(p):
            raise EACCES

    def nameless(self, vnode: Vnode, label: bytes) -> Dentry:
        """A dentry for what has no name anywhere: a pipe or a memfd behind /proc/PID/fd/N.

        A file that can be run lies on no mount that forbids it.
        """
        if vnode.type == FileType.REG:
            return self.system.mounts.root.orphan(vnode, label.removesuffix(b" (deleted)").lstrip(b"/"))  # type: ignore[no-any-return]
        for mount in self.system.mounts:
            if mount.fs is self:
                return mount.root.orphan(vnode, label)  # type: ignore[no-any-return]
        raise EACCES("/proc is not mounted")


def uuid(system: System) -> bytes:
    """A random (version 4) UUID as text."""
    data = bytearray(system.random.randbytes(16))
    data[6] = data[6] & 0x0F | 0x40
    data[8] = data[8] & 0x3F | 0x80
    text = data.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])).encode()
