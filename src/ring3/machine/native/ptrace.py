"""Stops, resumes and injected calls: the one module that speaks ptrace(2).

A `Tracer` belongs to one kernel thread.  It owns the control block, the helper page (`code.py`) and the command page
that all stubs see.  `step` is the hot path; `call`, `batch` and `compare_exchange32` make a stopped stub do something
for the kernel, which takes one stop whatever the length of the batch.

The late interrupt: a `PTRACE_INTERRUPT` (or a signal from outside) may have been on its way when the stub stopped for
another reason, and then shows itself inside an injected call.  `_inject` lets the stub go on until its `int3`; a
signal is sent again afterwards and an interrupt asked for again, so that the next `wait` reports it.

The overtaken fault: a stop that was asked for comes before a fault the stub has just had, which then waits in its
queue (kernel/signal.c, `get_signal`).  Whoever reports such a stop asks `fault_pending` first: an injected call would
meet the guest's fault and take it for its own.

Registers are always written with orig_rax = -1 (`step` does it): otherwise a result of -512 to -516 makes the host
repeat the call.  While an injected call runs the stub has registers of ours alone, so TF, NT, AC and DF are clear.

Sources: ptrace(2), Linux include/uapi/linux/ptrace.h, wait(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import signal
import struct
import threading
from collections.abc import Callable, Iterable
from typing import Final

from ring3.abi.x86 import CS, CS_64, EFLAGS, NREGS, R10, RAX, RBP, RBX, RIP, SS, SS_USER
from ring3.machine.native import code

PTRACE_CONT: Final = 7
PTRACE_GETREGS: Final = 12
PTRACE_GET_THREAD_AREA: Final = 25
PTRACE_SET_THREAD_AREA: Final = 26
PTRACE_SYSEMU: Final = 31
PTRACE_SYSEMU_SINGLESTEP: Final = 32
PTRACE_GETREGSET: Final = 0x4204
PTRACE_SETREGSET: Final = 0x4205
PTRACE_SEIZE: Final = 0x4206
PTRACE_INTERRUPT: Final = 0x4207
PTRACE_PEEKSIGINFO: Final = 0x4209
PTRACE_GET_RSEQ_CONFIGURATION: Final = 0x420F
PTRACE_O_TRACESYSGOOD: Final = 1
PTRACE_O_EXITKILL: Final = 1 << 20
PTRACE_EVENT_STOP: Final = 128
NT_X86_XSTATE: Final = 0x202

WNOHANG: Final = 1
WAIT_ALL: Final = 0x4000_0000 | 0x2000_0000      # __WALL | __WNOTHREAD

SYSCALL_STATUS: Final = 0x857F                   # stopped, SIGTRAP | 0x80 (TRACESYSGOOD)
SI_KERNEL: Final = 0x80

# Words of the control block.
ALIVE: Final = 0             # 1; zero in a forked child of this process (MADV_WIPEONFORK)
BLOCK: Final = 1             # address of the block to resume, 0 for none
WAIT_FOR: Final = 2          # first argument of wait4
OPTIONS: Final = 3           # its options; 0: do not wait
PID: Final = 4               # what wait4 returned, 0 when it was not reached
STATUS: Final = 5
ERROR: Final = 6             # negative errno of a ptrace request that failed, or 0
FALLBACK: Final = 7          # block that takes the registers of a stub other than the one resumed
ALL_SIGNALS: Final = 8
OLD_SIGNALS: Final = 9
CONTROL_WORDS: Final = 16

# Words of a stub's block.
TASK: Final = 0              # its pid
REQUEST: Final = 1           # how to resume it
REGS: Final = 3
INFO: Final = 30             # struct ptrace_syscall_info, first 16 bytes: op and arch
SIGINFO: Final = 32          # siginfo_t, 128 bytes
BLOCK_WORDS: Final = 48

# Before the batch gadget's registers: where `call` packs r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip.
_CALL_REGS: Final = struct.Struct("<10q")
_CALL_AT: Final = (REGS + R10) * 8

_FAULT_SIGNALS: Final = frozenset((
    signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS,
))
_MAX_PEEKED: Final = 16
_PEEK_ARGS: Final = struct.Struct("<QIi")        # struct ptrace_peeksiginfo_args: off, flags, nr
_SIGINFO_HEAD: Final = struct.Struct("<iii")     # si_signo, si_errno, si_code; 128 bytes with what follows
_SIGINFO_SIZE: Final = 128
_FUNCTION: Final = ctypes.CFUNCTYPE(None)

_libc: Final = ctypes.CDLL(None, use_errno=True)
_ptrace: Final = _libc.ptrace
_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_ptrace.restype = ctypes.c_long
_mprotect: Final = _libc.mprotect
_mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class IoVec(ctypes.Structure):
    """`struct iovec`, for the register sets."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def oserror(number: int) -> OSError:
    """The `OSError` for a positive errno."""
    return OSError(number, os.strerror(number))


def ptrace(request: int, pid: int, addr: int = 0, data: int = 0) -> int:
    """One ptrace request.  Raises `OSError`."""
    result: int = _ptrace(request, pid, addr, data)
    if result < 0:
        raise oserror(ctypes.get_errno())
    return result


def fault_pending(pid: int) -> bool:
    """Whether a fault of its own waits in a stopped stub's queue.  False too for one that is dying."""
    args = ctypes.create_string_buffer(_PEEK_ARGS.pack(0, 0, _MAX_PEEKED), _PEEK_ARGS.size)
    found = ctypes.create_string_buffer(_MAX_PEEKED * _SIGINFO_SIZE)
    try:
        count = ptrace(PTRACE_PEEKSIGINFO, pid, ctypes.addressof(args), ctypes.addressof(found))
    except ProcessLookupError:
        return False
    for index in range(count):
        number, _, reason = _SIGINFO_HEAD.unpack_from(found, index * _SIGINFO_SIZE)
        if reason > 0 and number in _FAULT_SIGNALS:
            return True
    return False


class Block:
    """The words through which one stub's registers, stop and signal reach Python."""

    __slots__ = ("_buffer", "address", "raw", "regs", "words")

    def __init__(self, pid: int = 0) -> None:
        self._buffer = ctypes.create_string_buffer(BLOCK_WORDS * 8)
        self.address = ctypes.addressof(self._buffer)
        self.raw = memoryview(self._buffer).cast("B")
        self.words = self.raw.cast("Q")
        self.regs = self.words[REGS : REGS + NREGS]
        self.words[TASK] = pid
        self.words[REQUEST] = PTRACE_SYSEMU

    def siginfo(self) -> tuple[int, int, int]:
        """Signal, si_code and si_addr of the last signal stop."""
        words = self.words
        code_word = words[SIGINFO + 1] & 0xFFFF_FFFF
        return words[SIGINFO] & 0xFFFF_FFFF, code_word - ((code_word & 0x8000_0000) << 1), words[SIGINFO + 2]


class Tracer:
    """Control block, helper page and command page of one kernel thread.

    `on_death` is told of a stub that turned out dead during an injected call (pid, wait status).  `groups` are the
    process groups of the stubs: one, unless somebody killed the first stub and another had to be made.
    """

    def __init__(self, on_death: Callable[[int, int], None]) -> None:
        self._on_death = on_death
        self._thread = threading.get_ident()
        self.groups: list[int] = []
        self._everybody = 0
        self._control_map = mmap.mmap(-1, code.PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._control_map.madvise(18)                                # MADV_WIPEONFORK
        anchor = ctypes.c_char.from_buffer(self._control_map)
        control_address = ctypes.addressof(anchor)
        del anchor
        self._control_bytes = memoryview(self._control_map)
        self.control = self._control_bytes.cast("Q")
        self.scratch = Block()
        self.scratch.words[REQUEST] = PTRACE_CONT
        self.scratch.regs[CS], self.scratch.regs[SS], self.scratch.regs[EFLAGS] = CS_64, SS_USER, 0x202
        self.fallback = Block()
        self.control[ALIVE] = 1
        self.control[OPTIONS] = WAIT_ALL
        self.control[FALLBACK] = self.fallback.address
        self.control[ALL_SIGNALS] = 0xFFFF_FFFF_FFFF_FFFF
        self._helper_map = mmap.mmap(-1, code.PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._helper_map[:] = code.helper_page(control_address)
        anchor = ctypes.c_char.from_buffer(self._helper_map)
        self.helper_address = ctypes.addressof(anchor)
        del anchor
        if _mprotect(self.helper_address, code.PAGE, mmap.PROT_READ | mmap.PROT_EXEC):
            raise oserror(ctypes.get_errno())
        self.step: Callable[[], None] = _FUNCTION(self.helper_address)
        self._start: Callable[[], None] = _FUNCTION(self.helper_address + code.START_AT)
        fd = os.memfd_create("ring3-commands", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, code.COMMAND_PAGES * code.PAGE)
            self._commands = mmap.mmap(fd, code.COMMAND_PAGES * code.PAGE)
        except OSError:
            os.close(fd)
            raise
        self.commands_fd = fd

    def add_group(self, group: int) -> None:
        """From now on `step` waits for the stubs of this process group (too)."""
        self.groups.append(group)
        self._everybody = (-group if len(self.groups) == 1 else -1) & 0xFFFF_FFFF_FFFF_FFFF
        self.control[WAIT_FOR] = self._everybody

    def end_rest(self) -> None:
        """Kill and reap the stubs nobody knows: what a stub made that was killed before it could tell."""
        for group in self.groups:
            try:
                while True:
                    self.control[WAIT_FOR] = -group & 0xFFFF_FFFF_FFFF_FFFF
                    self.control[BLOCK], self.control[OPTIONS] = 0, WAIT_ALL
                    self.step()
                    pid = self._signed(PID)
                    if pid == -errno.ECHILD:
                        break
                    if pid > 0 and self.control[STATUS] & 0x7F == 0x7F:
                        os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def start(self) -> int:
        """Clone the first stub; its pid.  Raises `OSError`."""
        self._start()
        pid = self._signed(PID)
        if pid < 0:
            raise oserror(-pid)
        return pid

    def usable(self) -> bool:
        """False in a forked child of the process that made this, and once closed."""
        return bool(self.control) and self.control[ALIVE] == 1

    def close(self) -> None:
        """Give the pages back."""
        if self.commands_fd >= 0:
            os.close(self.commands_fd)
            self.commands_fd = -1
        self._commands.close()
        self.control.release()
        self._control_bytes.release()
        self._control_map.close()
        self._helper_map.close()

    def _signed(self, word: int) -> int:
        value = self.control[word]
        return value - ((value >> 63) << 64)

    def resume(self, block: Block) -> int:
        """Let a stopped stub run from the registers in its block, without waiting; 0, or the errno of the refusal."""
        control = self.control
        control[BLOCK], control[OPTIONS] = block.address, 0
        self.step()
        return -self._signed(ERROR)

    # Waiting for one stub.

    def wait_for(self, pid: int) -> tuple[int, Block]:
        """Wait for the next change of one stub: its wait status, and the block with its registers if it stopped.

        Raises `ProcessLookupError` when there is no such stub.
        """
        control = self.control
        control[WAIT_FOR], control[BLOCK], control[OPTIONS] = pid, 0, WAIT_ALL
        try:
            return self._changed(pid, self.fallback)
        finally:
            control[WAIT_FOR] = self._everybody

    def _changed(self, pid: int, block: Block) -> tuple[int, Block]:
        control = self.control
        while True:
            self.step()
            got = control[PID]
            if got == pid and not control[ERROR]:
                return control[STATUS], block
            if got and got != pid and self._signed(PID) != -errno.EINTR:
                raise oserror(-self._signed(PID))
            if control[ERROR] and self._signed(ERROR) != -errno.ESRCH:
                raise oserror(-self._signed(ERROR))
            control[BLOCK], block = 0, self.fallback                 # it was gone before it could run: its end follows

    # Making a stopped stub do something.

    def call(self, pid: int, number: int, *args: int) -> int:
        """One host call by the stopped stub `pid`; its result.  Raises `OSError`."""
        result = self._call(code.CALL, pid, number, *args)
        if -4096 < result < 0:
            raise oserror(-result)
        return result

    def call_from(self, entry: int, pid: int, number: int, *args: int) -> int:
        """The same through the gadget at `entry`, for the stub that has no stub page yet."""
        result = self._call(entry, pid, number, *args)
        if -4096 < result < 0:
            raise oserror(-result)
        return result

    def _call(self, entry: int, pid: int, number: int,
              a: int = 0, b: int = 0, c: int = 0, d: int = 0, e: int = 0, f: int = 0) -> int:
        block = self.scratch
        _CALL_REGS.pack_into(block.raw, _CALL_AT, d, f, e, number, 0, c, b, a, -1, entry)
        block = self._inject(pid, entry + code.CALL_LENGTH)
        if block.words[SIGINFO] & 0xFFFF_FFFF != signal.SIGTRAP:
            raise oserror(errno.EFAULT)
        result = block.regs[RAX]
        return result - ((result >> 63) << 64)

    def batch(self, pid: int, calls: Iterable[tuple[int, ...]]) -> None:
        """Host calls (number and up to six arguments each) by the stopped stub, in order.

        Raises `OSError` for the first that failed; those before it are done, those after it are not.
        """
        calls = list(calls)
        for first in range(0, len(calls), code.MAX_COMMANDS):
            some = calls[first : first + code.MAX_COMMANDS]
            self._batch(pid, some)

    def _batch(self, pid: int, calls: list[tuple[int, ...]]) -> None:
        commands, size = self._commands, code.COMMAND.size
        for index, call in enumerate(calls):
            code.COMMAND.pack_into(commands, index * size, *call, *_PADDING[len(call)])
        regs = self.scratch.regs
        _CALL_REGS.pack_into(self.scratch.raw, _CALL_AT, 0, 0, 0, 0, 0, 0, 0, 0, -1, code.BATCH)
        regs[RBP], regs[RBX] = len(calls), code.COMMANDS
        try:
            block = self._inject(pid, code.BATCH + code.BATCH_LENGTH)
        finally:
            commands[: len(calls) * size] = bytes(len(calls) * size)  # other stubs could read what was mapped where
        if block.words[SIGINFO] & 0xFFFF_FFFF != signal.SIGTRAP:
            raise oserror(errno.EFAULT)
        if block.regs[RBP]:
            raise oserror((1 << 64) - block.regs[RAX])

    def compare_exchange32(self, pid: int, addr: int, expected: int, new: int) -> int:
        """`lock cmpxchg` by the stopped stub; the word found.  Raises `OSError` (EFAULT)."""
        block = self.scratch
        _CALL_REGS.pack_into(block.raw, _CALL_AT, 0, 0, 0, expected, 0, 0, new, addr, -1, code.CMPXCHG)
        block = self._inject(pid, code.CMPXCHG + code.CMPXCHG_LENGTH)
        if block.siginfo()[0] != signal.SIGTRAP:
            raise oserror(errno.EFAULT)
        return block.regs[RAX] & 0xFFFF_FFFF

    def _inject(self, pid: int, end: int) -> Block:
        """Run `scratch` in the stopped stub until its gadget ends (behind its int3, at `end`) or faults.

        Raises `ProcessLookupError`: it died.
        """
        control = self.control
        if not self.usable():
            raise RuntimeError("the machine is closed, or belongs to the process this one was forked from")
        self.scratch.words[TASK] = pid
        control[WAIT_FOR], control[BLOCK], control[OPTIONS] = pid, self.scratch.address, WAIT_ALL
        stray: list[int] = []
        asked = False
        block = self.scratch
        try:
            while True:
                status, block = self._changed(pid, block)
                if status & 0x7F != 0x7F:
                    stray.clear()
                    self._on_death(pid, status)
                    raise ProcessLookupError(errno.ESRCH, "the stub was killed")
                number, reason, _ = block.siginfo()
                if not status >> 16 and reason > 0 and number in _FAULT_SIGNALS:
                    return block
                if not status >> 16 and number == signal.SIGTRAP and block.regs[RIP] == end:
                    return block                         # one from outside, in whose shadow that of the int3 was dropped
                if not status >> 16:
                    stray.append(number)
                asked |= status >> 16 == PTRACE_EVENT_STOP
                control[BLOCK], block = 0, self.fallback
                try:
                    ptrace(PTRACE_CONT, pid)
                except ProcessLookupError:
                    continue
        except ChildProcessError:
            stray.clear()
            if threading.get_ident() != self._thread:
                raise RuntimeError("the machine belongs to the thread that made it") from None
            self._on_death(pid, 0)                       # somebody's bare wait() took its end
            raise ProcessLookupError(errno.ESRCH, "the stub was killed") from None
        finally:
            control[WAIT_FOR] = self._everybody
            for number in stray:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            if asked:
                with contextlib.suppress(ProcessLookupError):
                    ptrace(PTRACE_INTERRUPT, pid)


_PADDING: Final = tuple((0,) * (8 - n) for n in range(9))
