"""A kernel whose guests are Python generators: scheduler, signals and calls are the real ones, the machine is scripted.

    stage = Stage()
    def parent(g):
        stage.next(child)                       # what the next child will do
        pid = yield g("fork")
        assert (yield g("wait4", pid, 0, 0, 0)) == pid
    stage.run(parent)

`g("name", …)` is a trap of the guest's own; what it is answered comes back, a refusal as its negative number.
`stage.guest()` gives a process whose calls are made one by one from the test instead (`Guest.call`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from ring3.abi import x86
from ring3.abi.flags import Prot
from ring3.abi.table import read_table
from ring3.abi.x86 import Arch
from ring3.calls.trap import serve
from ring3.machine.scripted import SCRIPTED_FACTS, ScriptedCpu, ScriptedMachine, Trap, call
from ring3.personality.linux import linux_personality
from ring3.proc.fdtable import FdTable
from ring3.proc.futex import Futexes
from ring3.proc.proc import FsContext, Proc, Thread, ThreadState
from ring3.proc.system import System
from ring3.vfs.dev import DevFS, standard_devices
from ring3.vfs.memory import MemoryFS
from ring3.vfs.mount import MountTable
from ring3.vfs.namei import NameiContext
from ring3.vfs.names import mkdir
from ring3.vfs.pipe import AnonymousInodes
from ring3.vm.region import Region
from ring3.vm.vmspace import VMSpace
from ring3.waiting import Interrupted, Sleep

BASE = 0x10_0000
ROOM = 1 << 20
STACK = BASE + ROOM - 0x1000
NUMBERS64 = {name: number for number, name in read_table("linux/amd64").items()}
NUMBERS32 = {name: number for number, name in read_table("linux/i386").items()}
INFINITY = (1 << 64) - 1

Script = Callable[["Guest"], Iterable[Trap]]


class Stage:
    """One kernel and its machine."""

    def __init__(self, **facts: Any) -> None:
        self.machine = ScriptedMachine(self._script_of, facts=SCRIPTED_FACTS._replace(**facts), patience=5)
        self.system = System(self.machine, serve, seed=1)
        self.system.anonymous = AnonymousInodes()
        self.system.futexes = Futexes(self.system)
        self.system.personalities["linux"] = linux_personality()
        table = self.system.mounts = MountTable()
        table.mount(MemoryFS(devices=standard_devices()), None)
        from ring3.proc.cred import Cred

        context = NameiContext(table.root, table.root, Cred())
        table.mount(DevFS(standard_devices()), mkdir(context, b"/dev", 0o755))
        self.skipped_ns = 0
        self.system.now_ns = self.now_ns  # type: ignore[method-assign]
        self._next: deque[Script] = deque()
        self.statuses: dict[int, int | None] = {}
        self.system.on_reap = self._reaped

    def close(self) -> None:
        self.machine.close()

    def now_ns(self) -> int:
        """CLOCK_MONOTONIC, moved on by what was skipped."""
        return time.monotonic_ns() + self.skipped_ns

    def skip(self, ns: int) -> None:
        """As if so much time had passed; timers that are due by then run."""
        self.skipped_ns += ns
        self.system.scheduler.timers.run_due(self.now_ns())

    def _reaped(self, p: Proc) -> None:
        self.statuses[p.pid] = p.exit_status
        if not any(not q.zombie for q in self.system.procs.values() if q is not self.system.init):
            self.system.scheduler.finished = True

    def next(self, *scripts: Script) -> None:
        """What the next children or threads do."""
        self._next.extend(scripts)

    def _script_of(self, cpu: ScriptedCpu) -> Iterable[Trap]:
        script = self._next.popleft()
        return script(Guest(cpu.owner))

    def thread(self) -> Thread:
        """A process with one thread, 1 MiB of memory at BASE, and no script."""
        system = self.system
        p = Proc(system, system.new_pid(), system.init)
        system.init.children.append(p)
        p.vm = VMSpace(self.machine.new_space(), min_addr=65536, user_top=system.facts.user_top)
        p.vm.mmap_base = 0x7FFF_0000_0000
        p.vm.map(Region(BASE, BASE + ROOM, Prot.READ | Prot.WRITE))
        p.personality = system.personalities["linux"]
        p.fds = FdTable()
        p.fs = FsContext(system.mounts.root, system.mounts.root)
        p.rlimits = [(INFINITY, INFINITY)] * 16
        p.rlimits[4], p.rlimits[7] = (0, 0), (1024, 4096)
        t = Thread(p, p.pid)
        t.cpu = self.machine.new_thread(p.vm.machine)
        t.cpu.owner = t
        t.cpu.regs[x86.RSP] = STACK
        t.cpu.regs[x86.RIP] = 0x4000
        t.state = ThreadState.SERVED
        t.abi = p.personality.abis[Arch.X86_64]
        p.threads[p.pid] = t
        system.threads[p.pid] = t
        system.procs[p.pid] = p
        return t

    def guest(self) -> Guest:
        """A process whose calls the test makes."""
        return Guest(self.thread())

    def start(self, script: Script) -> Proc:
        """A process that will do what the script says, once the kernel runs."""
        t = self.thread()
        assert isinstance(t.cpu, ScriptedCpu)
        t.cpu.script = script(Guest(t))
        self.system.leave(t)
        return t.proc

    def run(self, *scripts: Script) -> list[int | None]:
        """Run until every process has ended; the wait statuses of those started here, in order."""
        started = [self.start(script) for script in scripts]
        self.system.scheduler.run()
        return [p.exit_status for p in started]


class Guest:
    """One thread, seen from inside."""

    def __init__(self, t: Thread, *, free: int = BASE) -> None:
        self.t = t
        self._free = free
        self._sleepers: list[Sleeper] = []           # held, or their coroutines would end

    @property
    def p(self) -> Proc:
        return self.t.proc

    # --- memory
    def room(self, nbytes: int) -> int:
        """Fresh memory."""
        addr = self._free
        self._free += (nbytes + 15) & -16
        assert self._free < STACK - 0x8000
        return addr

    def put(self, data: bytes) -> int:
        """Fresh memory that holds `data`."""
        addr = self.room(max(len(data), 1))
        self.p.vm.copyout(addr, data)
        return addr

    def words(self, *values: int) -> int:
        """Fresh memory that holds 64-bit words."""
        return self.put(b"".join((value & x86.MASK64).to_bytes(8, "little") for value in values))

    def get(self, addr: int, nbytes: int) -> bytes:
        """What stands there."""
        return self.p.vm.copyin(addr, nbytes)

    def int32(self, addr: int) -> int:
        """The C int there."""
        return int.from_bytes(self.get(addr, 4), "little", signed=True)

    def word(self, addr: int) -> int:
        """The 64-bit word there."""
        return int.from_bytes(self.get(addr, 8), "little")

    # --- calls
    def __call__(self, name: str, *args: int) -> Trap:
        """A system call, as a script makes it."""
        return call(NUMBERS64[name], *args)

    def i386(self, name: str, *args: int) -> Trap:
        """The same by int 0x80."""
        return call(NUMBERS32[name], *args, arch=Arch.I386)

    def start(self, name: str, *args: int, arch: Arch = Arch.X86_64) -> Any:
        """Make a call from the test; a result, or the coroutine of one that may sleep.  Raises its refusal."""
        t = self.t
        t.cpu.arch = arch
        t.system.current = t
        abi = t.proc.personality.abis[arch]
        number = (NUMBERS64 if arch is Arch.X86_64 else NUMBERS32)[name]
        for register in abi.argument_registers:
            t.cpu.regs[register] = 0
        for register, arg in zip(abi.argument_registers, args, strict=False):
            t.cpu.regs[register] = arg & x86.MASK64
        return abi.sysent[number].invoke(t, t.cpu.regs)

    def call(self, name: str, *args: int, arch: Arch = Arch.X86_64) -> int:
        """The result of a call that does not sleep."""
        result = self.start(name, *args, arch=arch)
        if not isinstance(result, int):
            sleeper = Sleeper(result)
            assert sleeper.is_done, f"{name} sleeps"
            return int(sleeper.result)
        return result

    def call32(self, name: str, *args: int) -> int:
        """The same as i386 makes it."""
        return self.call(name, *args, arch=Arch.I386)

    def sleep(self, name: str, *args: int, arch: Arch = Arch.X86_64) -> Sleeper:
        """A call that has gone to sleep."""
        sleeper = Sleeper(self.start(name, *args, arch=arch))
        assert not sleeper.is_done, f"{name} does not sleep"
        self._sleepers.append(sleeper)
        return sleeper

    def show(self, name: str, *args: int, result: int | None = None) -> str:
        """How strace would print it, before or after."""
        abi = self.p.personality.abis[Arch.X86_64]
        for register, arg in zip(abi.argument_registers, (*args, 0, 0, 0, 0, 0, 0), strict=False):
            self.t.cpu.regs[register] = arg & x86.MASK64
        bound = abi.sysent[NUMBERS64[name]]
        return str(bound.show(self.t, bound.decode(self.t, self.t.cpu.regs), result))


class Sleeper:
    """A call that sleeps, driven by hand."""

    def __init__(self, coroutine: Any) -> None:
        self.coroutine = coroutine
        self.sleep: Sleep | None = None
        self.result: Any = None
        self.is_done = False
        self.step(value=None)

    def step(self, *, value: Any) -> None:
        """Go on with this; an exception is thrown."""
        try:
            if isinstance(value, BaseException):
                self.sleep = self.coroutine.throw(value)
            else:
                self.sleep = self.coroutine.send(value)
        except StopIteration as end:
            self.is_done, self.result, self.sleep = True, end.value, None
            return
        assert self.sleep is not None
        self.sleep.arm(lambda: None)

    def resume(self) -> Any:
        """Go on if it was woken; its result, None while it sleeps."""
        while self.sleep is not None and self.sleep.woken:
            self.step(value=True)
        return self.result

    def time_out(self) -> Any:
        """Its deadline passes."""
        assert self.sleep is not None
        assert self.sleep.deadline_ns is not None
        self.sleep.disarm()
        self.step(value=False)
        return self.result

    def interrupt(self) -> Any:
        """A signal comes."""
        assert self.sleep is not None
        self.sleep.disarm()
        self.step(value=Interrupted())
        return self.result


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A kernel of the test's own.  Import it where it is used."""
    made = Stage()
    yield made
    made.close()


def exits(status: int) -> Script:
    """A script that only ends."""
    def script(g: Guest) -> Iterator[Trap]:
        yield g("exit_group", status)

    return script
