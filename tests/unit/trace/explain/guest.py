"""A guest to ask about: a kernel on a machine that stands still, whose files are all in memory and made by the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ring3.abi.flags import MountFlags
from ring3.abi.records import AttrChange
from ring3.abi.x86 import Arch
from ring3.exec.switch import ExecSwitch
from ring3.machine.base import VdsoImage
from ring3.machine.scripted import SCRIPTED_FACTS, ScriptedMachine
from ring3.personality import Personalities
from ring3.proc.cred import Cred
from ring3.proc.fdtable import FdTable
from ring3.proc.proc import FsContext, Proc, Rlimit, Thread
from ring3.proc.system import System, default_rlimits
from ring3.trace.explain.model import Explanation
from ring3.trace.explain.search import explain_command
from ring3.vfs.memory import MemoryFS
from ring3.vfs.mount import MountTable
from ring3.vfs.namei import NameiContext, namei
from ring3.vfs.names import mkdir, mknod, symlink
from tests.unit.exec.images import program

ROOT = Cred()
USER = Cred(1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000)
FACTS = SCRIPTED_FACTS._replace(vdso={Arch.X86_64: VdsoImage(0x4000, 0x2000, b"")})


class Guest:
    """One kernel.  Files are made as root with the modes and owners the test says."""

    def __init__(self) -> None:
        self.machine = ScriptedMachine(facts=FACTS)
        self.system = System(self.machine, lambda _: None, seed=1)
        self.system.personalities = Personalities()
        self.system.execsw = ExecSwitch(self.system)
        self.system.mounts = MountTable()
        self.system.mounts.mount(MemoryFS(), None)

    def close(self) -> None:
        self.system.mounts.close()
        self.machine.close()

    # --- files
    @property
    def context(self) -> NameiContext:
        root = self.system.mounts.root
        return NameiContext(root, root, Cred())

    def directory(self, path: str, mode: int = 0o755, uid: int = 0) -> None:
        """A directory and those above it."""
        made = ""
        for part in path.strip("/").split("/"):
            made += "/" + part
            if not self.has(made):
                mkdir(self.context, made.encode(), 0o755)
        self.own(path, mode, uid)

    def file(self, path: str, data: bytes = b"", mode: int = 0o755, uid: int = 0) -> str:
        """A regular file; its path."""
        above = path.rpartition("/")[0]
        if above and not self.has(above):
            self.directory(above)
        mknod(self.context, path.encode(), 0o100755)
        node = namei(self.context, path.encode()).vnode
        if data:
            node.write(0, data)
        self.own(path, mode, uid)
        return path

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        above = path.rpartition("/")[0]
        if above and not self.has(above):
            self.directory(above)
        symlink(self.context, target.encode(), path.encode())

    def node(self, path: str, mode: int) -> None:
        """A FIFO, socket or device, by the type in `mode`."""
        mknod(self.context, path.encode(), mode)

    def own(self, path: str, mode: int, uid: int) -> None:
        namei(self.context, path.encode()).vnode.setattr(AttrChange(mode=mode, uid=uid, gid=uid))

    def mount(self, path: str, flags: MountFlags = MountFlags.NONE) -> None:
        """One more file system in memory."""
        self.directory(path)
        self.system.mounts.mount(MemoryFS(), namei(self.context, path.encode()), flags)

    def has(self, path: str) -> bool:
        try:
            namei(self.context, path.encode())
        except Exception:  # noqa: BLE001 - a test's helper
            return False
        return True

    def shell(self) -> None:
        """What scripts name: /bin/sh and /usr/bin/env, static programs."""
        self.file("/bin/sh", program())
        self.file("/usr/bin/env", program())

    # --- asking
    def process(self, cred: Cred = ROOT, personality: str = "linux", cwd: str = "/") -> Thread:
        system = self.system
        p = Proc(system, system.new_pid(), system.init)
        t = Thread(p, p.pid)
        p.personality = system.personalities[personality]
        p.fds = FdTable()
        p.cred = cred
        p.rlimits = default_rlimits()
        p.rlimits[Rlimit.STACK] = (8 << 20, (1 << 64) - 1)
        p.rlimits[Rlimit.AS] = p.rlimits[Rlimit.DATA] = ((1 << 64) - 1, (1 << 64) - 1)
        p.fs = FsContext(system.mounts.root, namei(self.context, cwd.encode()))
        p.threads[p.pid] = system.threads[p.pid] = t
        system.procs[p.pid] = p
        return t

    def explain(
        self,
        *words: str | bytes,
        cred: Cred = ROOT,
        env: Mapping[bytes, bytes] | None = None,
        t: Thread | None = None,
        cwd: str = "/",
    ) -> Explanation:
        argv: Sequence[bytes] = [word.encode() if isinstance(word, str) else word for word in words]
        t = self.system.current = t or self.process(cred, cwd=cwd)
        return explain_command(t, argv, env or {})
