"""The file systems of SerenityOS's /proc and /sys, and what their files are made of.

A file of /proc belongs to the process it is about, mode 0400: its user and root open it; nobody, while it is not dumpable
(nor who had it open before).  A file of /sys is root's and for all to read; from inside of a jail some are not.  Links are plain
ones: what they say is looked up as any path is, and the veil with it.

Not here: which files there are (`procfs.py`, `sysfs.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ring3.abi.flags import FileType, OpenFlags
from ring3.errors import EACCES, EPERM, EROFS, ESRCH
from ring3.policy.own import users_confinement
from ring3.proc.procfs.fs import ProcFS
from ring3.proc.procfs.node import LinkNode, ProcDir, TextNode

if TYPE_CHECKING:
    from ring3.proc.proc import Proc
    from ring3.vfs.file import File
    from ring3.vfs.vnode import Vnode


class SerenityProcFS(ProcFS):
    """/proc as SerenityOS has it."""

    def root(self) -> Vnode:
        if self._root is None:
            from ring3.personality.serenity.view.procfs import Root

            self._root = Root(self)
        return self._root

    def may_trace(self, p: Proc) -> bool:
        """Whether `p` shows anything to anybody: ids are the modes' affair."""
        return p.dumpable == 1

    def check_trace(self, p: Proc) -> None:
        """Raises ESRCH for a process the viewer may not know of, EPERM for one that is not dumpable, and where the user did not
        promise that others are looked into.
        """
        t = self.viewer
        if not self.knows(p):
            raise ESRCH
        if t is not None and t.proc is not p:
            users = users_confinement(t.proc)
            if users is not None:
                users.ask(t, "ptrace")
        if not self.may_trace(p):
            raise EPERM("it is not dumpable")


class SysFS(SerenityProcFS):
    """/sys: what is told of the kernel."""

    name = b"sysfs"
    source = b"sysfs"

    def root(self) -> Vnode:
        if self._root is None:
            from ring3.personality.serenity.view.sysfs import new_root

            self._root = new_root(self)
        return self._root


class OwnedDir(ProcDir):
    """A directory of one process."""

    __slots__ = ()

    fs: SerenityProcFS

    def __init__(self, fs: SerenityProcFS, key: bytes, p: Proc) -> None:
        super().__init__(fs, key, FileType.DIR | 0o555, p)

    def ids(self) -> tuple[int, int]:
        return real_ids(self.owner)


class OwnedText(TextNode):
    """A text about one process."""

    __slots__ = ()

    def __init__(self, fs: SerenityProcFS, key: bytes, p: Proc, render: Callable[[], bytes]) -> None:
        super().__init__(fs, key, 0o400, render, owner=p, guarded=True)

    def ids(self) -> tuple[int, int]:
        return real_ids(self.owner)

    def text(self) -> bytes:
        """Raises also for a process that may not be looked into any more."""
        self.alive()
        assert self.owner is not None
        self.fs.check_trace(self.owner)
        return self.render()

    def write(self, offset: int, data: bytes) -> int:
        raise EROFS


class OwnedLink(LinkNode):
    """A link of one process.  `private`: only its user reads it (mode 0400), as of what it has open."""

    __slots__ = ("private",)

    def __init__(self, fs: SerenityProcFS, key: bytes, p: Proc, target: Callable[[], bytes], *, private: bool) -> None:
        super().__init__(fs, key, target, owner=p)
        self.private = private
        self.mode = FileType.LNK | (0o400 if private else 0o777)

    def ids(self) -> tuple[int, int]:
        return real_ids(self.owner)

    def readlink(self) -> bytes:
        """Raises ESRCH, EPERM; EACCES for somebody else's descriptor."""
        self.alive()
        p, t = self.owner, self.fs.viewer
        assert p is not None
        self.fs.check_trace(p)
        if self.private and t is not None and not t.proc.cred.privileged and t.proc.cred.euid != p.cred.ruid:
            raise EACCES
        return self._target()


class KernelText(TextNode):
    """A text about the kernel.  `jailed`: also who is in a jail reads it."""

    __slots__ = ("jailed",)

    fs: SysFS

    def __init__(
        self, fs: SysFS, key: bytes, mode: int, render: Callable[[], bytes], store: Callable[[bytes], None] | None, *, jailed: bool
    ) -> None:
        super().__init__(fs, key, mode, render, store)
        self.jailed = jailed

    def open(self, flags: OpenFlags) -> File:
        self._check()
        return super().open(flags)

    def text(self) -> bytes:
        self._check()
        return super().text()

    def write(self, offset: int, data: bytes) -> int:
        """All of it is the new value.  Raises EPERM from inside of a jail, EROFS for what nobody sets."""
        t = self.fs.viewer
        if t is not None and t.proc.jail is not None:
            raise EPERM
        if self.store is None:
            raise EROFS
        return super().write(offset, data)

    def _check(self) -> None:
        """Raises EPERM."""
        t = self.fs.viewer
        if not self.jailed and t is not None and t.proc.jail is not None:
            raise EPERM("not for who is in a jail")


def real_ids(p: Any) -> tuple[int, int]:
    """Owner and group of the files about a process."""
    return p.cred.ruid, p.cred.rgid
