"""A process for the calls to serve: memory in Python, files in memory, a machine without a CPU."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import CoroutineType
from typing import Any

import pytest

from ring3 import errors
from ring3.abi import x86
from ring3.abi.flags import Prot
from ring3.abi.table import read_table
from ring3.abi.x86 import Arch
from ring3.calls import (
    attribute,
    copying,
    descriptor,
    directory,
    epoll,
    fcntl,
    io,
    ioctl,
    mount,
    poll,
    receiving,
    sending,
    socket,
    stat,
    xattr,
)
from ring3.calls.syscall import Syscall, collect
from ring3.calls.trap import serve
from ring3.errors import Errno
from ring3.machine.scripted import ScriptedMachine
from ring3.personality.linux import i386_files
from ring3.personality.linux.layouts_files import LAYOUTS32, LAYOUTS64
from ring3.proc.fdtable import FdTable
from ring3.proc.proc import FsContext, Proc, Thread, ThreadState
from ring3.proc.system import System
from ring3.protocols import Abi, Personality
from ring3.vfs.dev import DevFS, standard_devices
from ring3.vfs.memory import MemoryFS
from ring3.vfs.mount import MountTable
from ring3.vfs.names import mkdir
from ring3.vfs.pipe import AnonymousInodes
from ring3.vm.region import Region
from ring3.vm.vmspace import VMSpace
from ring3.waiting import Interrupted, Sleep

BASE = 0x10_0000
ROOM = 8 << 20
MODULES = (
    attribute, copying, descriptor, directory, epoll, fcntl, io, ioctl, mount, poll, receiving, sending, socket, stat,
    xattr,
)


def _ignore(*_args: Any) -> None:
    """Registers are no matter here."""


def _no_frame(*_args: Any) -> bool:
    """No handler is entered."""
    return False


def make_abi(arch: Arch) -> Abi:
    """The calls about files as one instruction set has them; `sysent` stays empty."""
    wide = arch is Arch.X86_64
    registers = (x86.RDI, x86.RSI, x86.RDX, x86.R10, x86.R8, x86.R9) if wide else (
        x86.RBX, x86.RCX, x86.RDX, x86.RSI, x86.RDI, x86.RBP)
    return Abi(
        arch=arch, native=wide, word_size=8 if wide else 4, argument_registers=registers,
        errno={errors.by_name(name): number for number, name in read_table("linux/errno").items()},
        succeed=_ignore, fail=_ignore, rewind=_ignore, restart_number=0, sysent={}, names={},
        layouts=LAYOUTS64 if wide else LAYOUTS32, flags={}, send_signal=_no_frame,
    )


CALLS64: dict[str, Syscall] = collect(*MODULES)
CALLS32: dict[str, Syscall] = CALLS64 | collect(i386_files)


class Waits(Exception):
    """A call went to sleep."""


class Guest:
    """A process and what a test does in its place."""

    def __init__(self, system: System, parent: Guest | None = None) -> None:
        self.system = system
        pid = system.new_pid()
        self.p = p = Proc(system, pid, system.init)
        p.vm = VMSpace(system.machine.new_space(), min_addr=65536, user_top=system.facts.user_top)
        p.vm.map(Region(BASE, BASE + ROOM, Prot.READ | Prot.WRITE))
        p.personality = system.personalities["linux"]
        p.fds = FdTable() if parent is None else parent.p.fds.fork()
        p.fs = FsContext(system.mounts.root, system.mounts.root) if parent is None else parent.p.fs.fork()
        p.rlimits = [((1 << 64) - 1, (1 << 64) - 1)] * 16
        p.rlimits[7] = (1024, 4096)
        self.t = t = Thread(p, pid)
        t.cpu = system.machine.new_thread(p.vm.machine)
        t.cpu.owner = t
        t.state = ThreadState.SERVED
        t.abi = p.personality.abis[Arch.X86_64]
        p.threads[pid] = t
        system.threads[pid] = t
        system.procs[pid] = p
        self._free = BASE

    # --- memory
    def room(self, nbytes: int) -> int:
        """Fresh memory."""
        addr = self._free
        self._free += (nbytes + 15) & -16
        assert self._free <= BASE + ROOM
        return addr

    def put(self, data: bytes) -> int:
        """Fresh memory that holds `data`."""
        addr = self.room(max(len(data), 1))
        self.p.vm.copyout(addr, data)
        return addr

    def text(self, text: str | bytes) -> int:
        """A C string."""
        return self.put((text if isinstance(text, bytes) else text.encode()) + b"\0")

    def get(self, addr: int, nbytes: int) -> bytes:
        """What stands there now."""
        return self.p.vm.copyin(addr, nbytes)

    def word(self, addr: int) -> int:
        """The C int there."""
        return int.from_bytes(self.get(addr, 4), "little", signed=True)

    # --- calls, by registers as a program makes them
    def start(self, name: str, *words: Any, arch: Arch = Arch.X86_64) -> Any:
        """The result, or the coroutine of a call that sleeps.  Strings become addresses."""
        t = self.t
        t.cpu.arch = arch
        self.system.current = t
        abi = self.p.personality.abis[arch]
        call = (CALLS64 if arch is Arch.X86_64 else CALLS32)[name].bind(abi, name)
        regs = t.cpu.regs
        for register, word in zip(abi.argument_registers, words, strict=False):
            value = self.text(word) if isinstance(word, str | bytes) else word
            regs[register] = value & x86.MASK64
        for register in abi.argument_registers[len(words) :]:
            regs[register] = 0
        return call.invoke(t, regs)

    def call(self, name: str, *words: Any, arch: Arch = Arch.X86_64) -> int:
        """The result of a call that does not sleep; raises its refusal, `Waits` where it sleeps."""
        result = self.start(name, *words, arch=arch)
        if isinstance(result, CoroutineType):
            try:
                result.send(None)
            except StopIteration as end:
                return int(end.value)
            result.close()
            raise Waits
        return int(result)

    def call32(self, name: str, *words: Any) -> int:
        """The same as i386 makes it."""
        return self.call(name, *words, arch=Arch.I386)

    def open(self, path: str, flags: int = 2 | 0o100, mode: int = 0o644) -> int:
        """open(2), made if need be."""
        return self.call("open", path, flags, mode)

    def sleep(self, name: str, *words: Any, arch: Arch = Arch.X86_64) -> Sleeper:
        """A call that has gone to sleep."""
        coroutine = self.start(name, *words, arch=arch)
        assert isinstance(coroutine, CoroutineType), f"{name} did not wait: {coroutine}"
        sleeper = Sleeper(coroutine)
        sleeper.step(None)
        assert not sleeper.is_done, f"{name} did not wait"
        return sleeper

    def show(self, name: str, *words: Any, arch: Arch = Arch.X86_64) -> str:
        """What strace prints of a call that does not sleep."""
        t = self.t
        abi = self.p.personality.abis[arch]
        call = (CALLS64 if arch is Arch.X86_64 else CALLS32)[name].bind(abi, name)
        for register, word in zip(abi.argument_registers, words, strict=False):
            t.cpu.regs[register] = (self.text(word) if isinstance(word, str | bytes) else word) & x86.MASK64
        args = call.decode(t, t.cpu.regs)
        try:
            result = call.call.run(t, *args)
        except Errno as refusal:
            return f"{call.show(t, args, -1)} = -1 {refusal.name}"
        return f"{call.show(t, args, result)} = {result}"

    @property
    def signals(self) -> set[signal.Signals]:
        """The signals pending for the thread or the process."""
        mask = self.t.pending.mask | self.p.pending.mask
        return {signal.Signals(signo) for signo in range(1, 32) if mask >> (signo - 1) & 1}

    def catch(self, signo: int) -> None:
        """Block a signal, so that it stays to be seen."""
        self.t.sigmask |= 1 << (signo - 1)


class Sleeper:
    """A call that sleeps: woken when its queue is, or by hand."""

    def __init__(self, coroutine: Any) -> None:
        self.coroutine = coroutine
        self.sleep: Sleep | None = None
        self.result: Any = None
        self.is_done = False

    def step(self, value: Any) -> None:
        """Go on; an exception is thrown."""
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
        """Go on if it was woken; the result once there is one, None while it sleeps."""
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
        self.step(Interrupted())
        return self.result


@pytest.fixture
def system() -> Iterator[System]:
    """A kernel with a root in memory and /dev, no process yet."""
    machine = ScriptedMachine()
    system = System(machine, serve, seed=1)
    system.anonymous = AnonymousInodes()
    table = system.mounts = MountTable()
    table.mount(MemoryFS(devices=standard_devices()), None)
    from ring3.proc.cred import Cred
    from ring3.vfs.namei import NameiContext

    ctx = NameiContext(table.root, table.root, Cred())
    table.mount(DevFS(standard_devices()), mkdir(ctx, b"/dev", 0o755))
    mkdir(ctx, b"/tmp", 0o1777)
    system.personalities["linux"] = Personality(
        name="linux", abis={arch: make_abi(arch) for arch in Arch}, exec=None, sysname="Linux", release="6.1", version="1",
        machine_name="x86_64",
    )
    yield system
    machine.close()


@pytest.fixture
def g(system: System) -> Guest:
    """A process of root's."""
    return Guest(system)
