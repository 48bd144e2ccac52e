"""What the tests of exec stand on: a `System` over the scripted machine, which shows the host's files through an
overlay.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

from ring3.abi.x86 import Arch
from ring3.errors import Errno
from ring3.exec.check import check_exec
from ring3.exec.commit import commit
from ring3.exec.load import Loaded, load
from ring3.exec.package import ExecRequest
from ring3.exec.plan import ExecDeath, ExecPlan
from ring3.exec.switch import ExecSwitch
from ring3.machine.base import MachineFacts, VdsoImage
from ring3.machine.scripted import SCRIPTED_FACTS, ScriptedMachine, ScriptedSpace
from ring3.personality.linux import linux_personality
from ring3.proc.cred import Cred
from ring3.proc.fdtable import FdTable
from ring3.proc.proc import FsContext, Proc, Rlimit, Thread
from ring3.proc.system import System, default_rlimits
from ring3.vfs.hostdir import HostDirFS
from ring3.vfs.memory import MemoryFS
from ring3.vfs.mount import MountTable
from ring3.vfs.overlay import OverlayFS

MMAP_MIN_ADDR = int(Path("/proc/sys/vm/mmap_min_addr").read_text())
VDSO = VdsoImage(0x4000, 0x2000, b"")
FACTS = SCRIPTED_FACTS._replace(min_addr=MMAP_MIN_ADDR, vdso={Arch.X86_64: VDSO})


class FiniteSpace(ScriptedSpace):
    """Refuses what no host has memory for, as a host does."""

    def map_anonymous(self, addr: int, length: int, prot: int, *, shared: bool = False, noreserve: bool = False) -> None:
        if length > 1 << 36:
            raise OSError(errno.ENOMEM, "more than there is")
        super().map_anonymous(addr, length, prot, shared=shared, noreserve=noreserve)


class FiniteMachine(ScriptedMachine):
    """Makes such spaces."""

    def new_space(self) -> FiniteSpace:
        space = FiniteSpace(self)
        self.spaces.append(space)
        return space


class Bench:
    """One kernel and one process, `t`, which has no program until `start`."""

    def __init__(self, *, seed: int | None = 1, root: str = "/", facts: MachineFacts = FACTS) -> None:
        self.machine = FiniteMachine(facts=facts)
        self.system = System(self.machine, lambda _: None, seed=seed)
        self.system.personalities["linux"] = linux_personality()
        self.system.execsw = ExecSwitch(self.system)
        self.system.mounts = MountTable()
        self.mount = self.system.mounts.mount(OverlayFS(HostDirFS(root, writable=False), MemoryFS()), None)
        self.t = self.process()

    def process(self, cred: Cred | None = None) -> Thread:
        """One more process without a program."""
        system = self.system
        p = Proc(system, system.new_pid(), system.init)
        t = Thread(p, p.pid)
        p.personality = system.personalities["linux"]
        p.fds = FdTable()
        p.cred = cred or Cred()
        p.rlimits = default_rlimits()
        p.rlimits[Rlimit.STACK] = (8 << 20, (1 << 64) - 1)
        p.fs = FsContext(system.mounts.root, system.mounts.root)
        p.threads[p.pid] = system.threads[p.pid] = t
        system.procs[p.pid] = p
        return t

    def request(self, path: str | bytes, argv: Sequence[bytes] = (b"prog",), envp: Sequence[bytes] = ()) -> ExecRequest:
        return ExecRequest(path.encode() if isinstance(path, str) else path, list(argv), list(envp))

    def check(self, path: str | bytes, argv: Sequence[bytes] = (b"prog",), envp: Sequence[bytes] = ()) -> ExecPlan:
        """The plan; fails for a death."""
        plan = check_exec(self.t, self.request(path, argv, envp))
        assert isinstance(plan, ExecPlan), plan
        return plan

    def load(self, plan: ExecPlan) -> Loaded:
        loaded = load(self.t, plan)
        assert isinstance(loaded, Loaded), loaded
        return loaded

    def start(self, path: str | bytes, argv: Sequence[bytes] = (b"prog",), envp: Sequence[bytes] = ()) -> ExecPlan:
        """Run it, to its first instruction."""
        plan = self.check(path, argv, envp)
        commit(self.t, self.load(plan))
        return plan

    def verdict(self, request: ExecRequest, t: Thread | None = None, observe: Callable[[str], None] | None = None) -> str:
        """How the exec ends: "runs", the name of an errno, or "signal N"; nothing stays loaded."""
        t = t or self.t
        try:
            outcome: ExecPlan | ExecDeath | Loaded | None = check_exec(t, request, observe)
            if isinstance(outcome, ExecPlan):
                outcome = load(t, outcome, observe)
        except Errno as refusal:
            return refusal.name
        if isinstance(outcome, ExecDeath):
            return f"signal {outcome.signal}"
        if isinstance(outcome, Loaded):
            outcome.cpu.kill()
            outcome.vm.release()
        return "runs"

    def close(self) -> None:
        self.system.mounts.close()
        self.machine.close()
