"""One guest thread: a host process of its own (a stub), held by the kernel thread.

Threads of one space share memory and nothing else of the host's idea of a thread, so ending one never touches another.
Registers stand in the thread's `Block`; `resume` only queues, the machine's `wait` does the work.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import struct
import time
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.stop import Fault, StopKind
from ring3.abi.x86 import CS, CS_64, EFLAGS, FS, FS_BASE, GS, GS_BASE, NREGS, SS, SS_USER, Arch
from ring3.machine.base import Space
from ring3.machine.native.ptrace import (
    NT_X86_XSTATE,
    PTRACE_GET_THREAD_AREA,
    PTRACE_GETREGSET,
    PTRACE_INTERRUPT,
    PTRACE_SET_THREAD_AREA,
    PTRACE_SETREGSET,
    PTRACE_SYSEMU,
    PTRACE_SYSEMU_SINGLESTEP,
    REQUEST,
    Block,
    IoVec,
    ptrace,
)

if TYPE_CHECKING:
    from ring3.machine.native.machine import NativeMachine
    from ring3.machine.native.space import NativeSpace

STOPPED: Final = 0
QUEUED: Final = 1            # resumed by the kernel, not yet by the host
RUNNING: Final = 2
DEAD: Final = 3

TLS_SLOTS: Final = (12, 13, 14)                    # GDT_ENTRY_TLS_MIN … MAX on x86-64
_USER_DESC: Final = struct.Struct("<4I")           # struct user_desc: entry, base, limit, flags
_EMPTY_TLS: Final = 0x28                           # flags of an empty slot: read_exec_only | seg_not_present
_NO_FAULT: Final = Fault(0, 0, 0)


class NativeCpu:
    """A `Cpu` of the native machine; made by `NativeMachine.new_thread` alone."""

    __slots__ = (
        "_machine", "arch", "asked", "block", "fault", "home", "kind", "owner", "pid", "regs", "space", "spread",
        "state", "stepping",
    )

    owner: Any
    space: Space

    def __init__(self, machine: NativeMachine, space: NativeSpace, pid: int) -> None:
        self._machine = machine
        self.owner = None
        self.space = space
        self.home = space
        self.pid = pid
        self.block = Block(pid)
        self.regs = self.block.regs
        self.kind = StopKind.INTERRUPT
        self.arch = Arch.X86_64
        self.fault = _NO_FAULT
        self.state = STOPPED
        self.stepping = False
        self.asked = False           # an interrupt is on its way
        self.spread = False          # it may run on every CPU, not only on the kernel thread's

    def __repr__(self) -> str:
        return f"<NativeCpu stub {self.pid} {('stopped', 'queued', 'running', 'dead')[self.state]}>"

    def reset_regs(self) -> None:
        """Registers zero but for the segments of 64-bit user mode (and the flags no program can clear)."""
        self.regs[:] = _ZERO_REGS
        self.regs[CS], self.regs[SS], self.regs[EFLAGS] = CS_64, SS_USER, 0x202

    def resume(self, *, step: bool = False) -> None:
        """See `Cpu`.  One that is dead or already resumed is left alone."""
        if self.state:
            return
        self.state = QUEUED
        if step is not self.stepping:
            self.stepping = step
            self.block.words[REQUEST] = PTRACE_SYSEMU_SINGLESTEP if step else PTRACE_SYSEMU
        self._machine.queue.append(self)

    def interrupt(self) -> None:
        """See `Cpu`."""
        if self.state not in (QUEUED, RUNNING) or self.asked:
            return
        self.asked = True
        with contextlib.suppress(ProcessLookupError):        # it is dying: the KILLED stop follows
            ptrace(PTRACE_INTERRUPT, self.pid)

    def kill(self) -> None:
        """See `Cpu`."""
        self._machine.kill(self)

    def cpu_time_ns(self) -> int:
        """See `Cpu`: the stub's own CPU clock (clock_getcpuclockid(3)), the host's work for its stops included."""
        if self.state == DEAD:
            return 0
        try:
            return time.clock_gettime_ns(~self.pid << 3 | 2)
        except OSError:
            return 0

    def read_xstate(self) -> bytes:
        """See `Cpu`.  Raises `OSError`."""
        self._alive()
        return get_xstate(self.pid, self._machine.facts.xstate_size)

    def write_xstate(self, state: bytes) -> None:
        """See `Cpu`.  Raises `ValueError`, also for a state of another size, and `OSError`."""
        self._alive()
        if len(state) != self._machine.facts.xstate_size:
            raise ValueError(f"an extended state has {self._machine.facts.xstate_size} bytes here, not {len(state)}")
        self._machine.serial += 1
        set_xstate(self.pid, state)

    def reset_xstate(self) -> None:
        """See `Cpu`.  Raises `OSError`."""
        self.write_xstate(fresh_xstate(self._machine.facts.xstate_size))

    def set_thread_area(self, entry: int, descriptor: bytes) -> None:
        """See `Cpu`.

        The base of FS or GS follows where it holds the slot's selector, as in set_thread_area(2).
        """
        self._alive()
        if len(descriptor) != _USER_DESC.size:
            raise ValueError("a struct user_desc has 16 bytes")
        if entry not in TLS_SLOTS:
            raise OSError(errno.EINVAL, f"GDT slot {entry} is not for thread-local storage")
        self._machine.serial += 1
        _, base, limit, flags = _USER_DESC.unpack(descriptor)
        set_tls(self.pid, entry, _USER_DESC.pack(entry, base, limit, flags))
        selector = entry << 3 | 3
        for segment, segment_base in ((FS, FS_BASE), (GS, GS_BASE)):
            if self.regs[segment] & 0xFFFF == selector:
                self.regs[segment_base] = base

    def take_after(self, like: NativeCpu | None, *, inherited: bool) -> None:
        """Become what `new_thread` promises: a copy of `like`, or fresh.

        `inherited`: the host copied extended state and TLS slots already when it made the stub.
        """
        if like is None:
            self.reset_regs()
            if not inherited:
                self.reset_xstate()
                for entry in TLS_SLOTS:
                    set_tls(self.pid, entry, _USER_DESC.pack(entry, 0, 0, _EMPTY_TLS))
            return
        self.regs[:] = like.regs
        self.arch = like.arch
        if not inherited:
            self.write_xstate(like.read_xstate())
            for entry in TLS_SLOTS:
                set_tls(self.pid, entry, get_tls(like.pid, entry))

    def _alive(self) -> None:
        if self.state in (RUNNING, DEAD):
            raise ProcessLookupError(errno.ESRCH, "the thread is not stopped")


_ZERO_REGS: Final = memoryview(bytes(NREGS * 8)).cast("Q")


def get_xstate(pid: int, size: int) -> bytes:
    """The extended state of a stopped stub, at most `size` bytes of it.  Raises `OSError`."""
    buffer = ctypes.create_string_buffer(size)
    vector = IoVec(ctypes.addressof(buffer), size)
    ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, ctypes.addressof(vector))
    return buffer.raw[: vector.length]


def set_xstate(pid: int, state: bytes) -> None:
    """Replace the extended state of a stopped stub.  Raises `ValueError` where the host refuses it, `OSError`."""
    buffer = ctypes.create_string_buffer(state, len(state))
    vector = IoVec(ctypes.addressof(buffer), len(state))
    try:
        ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, ctypes.addressof(vector))
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EFAULT):
            raise ValueError("the CPU refuses this extended state") from error
        raise


def fresh_xstate(size: int) -> bytes:
    """The extended state a new program starts with (fs/exec.c, `fpu_flush_thread`).

    The x87 and SSE parts are written out, so that MXCSR is taken from here; the other components are in their initial
    state.
    """
    state = bytearray(size)
    struct.pack_into("<H", state, 0, 0x37F)
    struct.pack_into("<I", state, 24, 0x1F80)
    if size > 520:
        struct.pack_into("<Q", state, 512, 3)
    return bytes(state)


def get_tls(pid: int, entry: int) -> bytes:
    """GDT slot `entry` of a stopped stub, as 16 bytes of `struct user_desc`.  Raises `OSError`."""
    buffer = ctypes.create_string_buffer(_USER_DESC.size)
    ptrace(PTRACE_GET_THREAD_AREA, pid, entry, ctypes.addressof(buffer))
    return buffer.raw


def set_tls(pid: int, entry: int, descriptor: bytes) -> None:
    """Set GDT slot `entry` of a stopped stub.  Raises `OSError`."""
    buffer = ctypes.create_string_buffer(descriptor, len(descriptor))
    ptrace(PTRACE_SET_THREAD_AREA, pid, entry, ctypes.addressof(buffer))
