"""ktrace: what processes do, as NetBSD's trace files have it.

Two watchers build the same records: `KtraceWriter` writes everything about everybody to one file of the host (`ring3 trace
--ktrace`); `GuestKtrace` writes what ktrace(2) asked for about those processes it asked about, to files of the guest.  Programs of
every system can be traced: an EMUL record says whose call numbers, errors and signals the ones behind it are.

A call of one process gives, in this order: CALL, a NAMI for each path it looks up, GIO for the data it moved, RET; an exec ARG and
ENV for its strings before anybody knows whether it will work, then EMUL, and a RET that says JUSTRETURN.  Not here: the bytes of
records (`abi/netbsd/ktrace.py`), reading them (`ktracefile.py`), who is traced (`proc/ktrace.py`).
Source: kern_ktrace.c, ktrace(2), kdump(1).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, Protocol

from ring3.abi.netbsd import ktrace as records
from ring3.abi.netbsd.ktrace import EJUSTRETURN, ERESTART, FileKind, Record
from ring3.abi.signals import SIG_DFL, SIG_IGN, Signal, bit
from ring3.abi.x86 import NREGS, RSP
from ring3.calls.buffers import read_iovecs
from ring3.calls.sysarg import Descriptor, InBuffer, OutBuffer
from ring3.calls.sysarg_arrays import InIoVecs, OutIoVecs
from ring3.calls.syscall import NOSYS, Bound
from ring3.errors import EFAULT, Errno
from ring3.proc.ktrace import KtraceState, drop_at_setid, inherit, trace_off, watch
from ring3.proc.proc import Proc, Thread, ThreadState
from ring3.protocols import Abi, Instrument

SYSCTL: Final = "__sysctl"      # the call whose first two arguments are the numbers of a variable's name
CTL_MAXNAME: Final = 12
MAX_IO: Final = 1 << 20         # bytes of one call's data that are written down
_READS, _WRITES = (OutBuffer, OutIoVecs), (InBuffer, InIoVecs)


class Output(Protocol):
    """Where a file goes."""

    def write(self, data: bytes, /) -> object: ...


class Ktrace(Instrument):
    """Builds the records; whoever derives from it says which are wanted, and takes them."""

    def wants(self, p: Proc, record: Record) -> bool:
        """Whether records of this type are wanted about a process."""
        raise NotImplementedError

    def put(self, t: Thread, record: Record, payload: bytes) -> None:
        """One record about a thread."""
        raise NotImplementedError

    # --- calls
    def syscall_enter(self, thread: Thread, call: Bound, args: tuple[Any, ...]) -> None:
        p = thread.proc
        if self.wants(p, Record.SYSCALL):
            self.put(thread, Record.SYSCALL, records.syscall(_code(thread, call), _words(thread, call)))
        if call.name == SYSCTL and len(args) > 1 and 0 < args[1] <= CTL_MAXNAME and self.wants(p, Record.MIB):
            with suppress(EFAULT):
                self.put(thread, Record.MIB, p.vm.copyin(args[0], 4 * args[1]))

    def syscall_exit(self, thread: Thread, call: Bound, args: tuple[Any, ...] | None, result: int | Errno | None) -> None:
        p = thread.proc
        if args is None:            # an argument could not be read: nobody was told of its beginning
            self.syscall_enter(thread, call, ())
        elif isinstance(result, int) and result > 0 and self.wants(p, Record.GENIO):
            for payload in _moved(thread, call, args, result):
                self.put(thread, Record.GENIO, payload)
        if self.wants(p, Record.SYSRET) and (result is not None or thread.state is not ThreadState.DEAD):
            self.put(thread, Record.SYSRET, _result(thread, call, result))

    def lookup(self, thread: Thread, path: bytes) -> None:
        if self.wants(thread.proc, Record.NAMEI):
            self.put(thread, Record.NAMEI, path)

    def utrace(self, thread: Thread, name: bytes, data: bytes) -> None:
        if self.wants(thread.proc, Record.USER):
            self.put(thread, Record.USER, name[: records.USER_ID].ljust(records.USER_ID, b"\0") + data)

    # --- exec
    def exec_strings(self, thread: Thread, argv: tuple[bytes, ...], envp: tuple[bytes, ...]) -> None:
        for record, strings in ((Record.EXEC_ARG, argv), (Record.EXEC_ENV, envp)):
            if self.wants(thread.proc, record):
                for string in strings:
                    self.put(thread, record, string)

    def exec(self, thread: Thread, plan: Any) -> None:
        del plan
        p = thread.proc
        if self.wants(p, Record.EXEC_FD):
            for fd, file in sorted(p.fds.files.items()):
                self.put(thread, Record.EXEC_FD, records.EXEC_FD.pack(fd, file_kind(file)))
        if self.wants(p, Record.EMUL):
            self.put(thread, Record.EMUL, emulation(thread))

    # --- signals
    def signal(self, thread: Thread, info: Any, handled: bool) -> None:
        p = thread.proc
        if not self.wants(p, Record.PSIG) or not hasattr(thread, "abi"):
            return
        action = p.actions.table[info.signo]
        ignored = p.personality.signal_defaults.ignored & bit(info.signo)
        if action.handler == SIG_IGN or (action.handler == SIG_DFL and ignored):
            return                              # NetBSD tells of those that are taken
        handler = action.handler if handled else SIG_DFL
        number, code, mask = _signal_numbers(thread.abi, info.signo, info.code, thread.sigmask)
        self.put(thread, Record.PSIG, records.psig(number, handler, mask, code))


class KtraceWriter(Ktrace):
    """Everything about every process, to a file of the host (anything with `write`).  Versions as ktrace(1) -v has them."""

    def __init__(self, file: Output, *, version: int = 2) -> None:
        self._write = file.write
        self._version = version
        self._told: dict[Proc, bytes] = {}          # processes, and the emulation that an EMUL record said

    def wants(self, p: Proc, record: Record) -> bool:
        del p, record
        return True

    def put(self, t: Thread, record: Record, payload: bytes) -> None:
        p = t.proc
        if record is Record.EMUL:
            self._told[p] = payload
        elif p not in self._told:
            self._told[p] = emulation(t)
            self._record(t, Record.EMUL, self._told[p])
        self._record(t, record, payload)

    def _record(self, t: Thread, record: Record, payload: bytes) -> None:
        self._write(_header(t, record, payload, self._version) + payload)

    def exit(self, proc: Proc) -> None:
        self._told.pop(proc, None)


class GuestKtrace(Ktrace):
    """What ktrace(2) asked for.  In a kernel's list of instruments while any of its processes is traced."""

    def wants(self, p: Proc, record: Record) -> bool:
        return p.ktrace is not None and p.ktrace.wants(record)

    def put(self, t: Thread, record: Record, payload: bytes) -> None:
        state: KtraceState | None = t.proc.ktrace
        if state is None:
            return
        if state.flags & records.TRACE_EMUL:
            state.flags &= ~records.TRACE_EMUL
            if record is not Record.EMUL:
                self.put(t, Record.EMUL, emulation(t))
        state.file.write(_header(t, record, payload, state.version) + payload)
        if state.file.failed:
            for p in list(t.system.procs.values()):
                if p.ktrace is not None and p.ktrace.file is state.file:
                    trace_off(p)
            watch(t.system)

    def fork(self, parent: Thread, child: Thread) -> None:
        if child.proc is parent.proc:
            return
        inherit(parent.proc, child.proc)
        if self.wants(child.proc, Record.SYSRET) and parent.watched is not None:
            call = parent.watched[0]            # the child returns from it too
            self.put(child, Record.SYSRET, records.sysret(_code(parent, call), 0))

    def setid(self, thread: Thread) -> None:
        drop_at_setid(thread.proc)
        watch(thread.system)

    def exit(self, proc: Proc) -> None:
        trace_off(proc)
        watch(proc.system)


# --- what records say

def _header(t: Thread, record: Record, payload: bytes, version: int) -> bytes:
    p = t.proc
    return records.header(len(payload), record, version, p.pid, t.comm or p.comm, time.time_ns(), lwp_id(t))


def lwp_id(t: Thread) -> int:
    """Number of a thread as NetBSD counts them: the first one is 1; those of other systems have their own numbers."""
    if t.lwp is not None:
        return int(t.lwp.lid)
    return 1 if t.tid == t.proc.pid else t.tid


def emulation(t: Thread) -> bytes:
    """The name of whose calls a thread makes: the system's, with "32" for 32-bit programs of a 64-bit one.

    `netbsd`, `netbsd32`, `linux`, `linux32`.
    """
    abi, name = getattr(t, "abi", None), t.proc.personality.name        # a process without a program has no abi
    return (name if abi is None or abi.native or name.endswith("32") else name + "32").encode()


def _code(t: Thread, call: Bound) -> int:
    """The number of a call; of one that was named indirectly, its own."""
    names = call.abi.names
    number = t.call_number
    if names.get(number, call.name) == call.name:
        return number
    return next((found for found, name in names.items() if name == call.name), number)


def _words(t: Thread, call: Bound) -> tuple[int, ...]:
    """The argument words of a call, those that mean nothing between them included."""
    if call.call is NOSYS:
        return ()
    abi, regs, places = call.abi, t.cpu.regs, [place for _, low, high in call.decoders for place in (low, high) if place >= 0]
    if not places:
        return ()
    registers = abi.argument_registers
    order = {register: index for index, register in enumerate(registers)}
    first, last = (order[place] if place < NREGS else len(registers) + place - NREGS for place in (places[0], places[-1]))
    words = [regs[register] & abi.word_mask for register in registers[first : last + 1]]
    on_stack = last + 1 - len(registers)
    if on_stack > 0 and abi.argument_stack is not None:
        try:
            data = t.proc.vm.copyin((regs[RSP] + abi.argument_stack) & abi.word_mask, on_stack * abi.word_size)
        except Errno:
            return tuple(words)
        words += [int.from_bytes(data[at : at + abi.word_size], "little") for at in range(0, len(data), abi.word_size)]
    return tuple(words)


def _result(t: Thread, call: Bound, result: int | Errno | None) -> bytes:
    code = _code(t, call)
    if isinstance(result, Errno):
        return records.sysret(code, call.abi.errno[type(result)])
    if result is None:
        return records.sysret(code, ERESTART if t.restart is not None else EJUSTRETURN)
    return records.sysret(code, 0, int(result), getattr(result, "second", 0))


def _moved(t: Thread, call: Bound, args: tuple[Any, ...], result: int) -> Iterator[bytes]:
    """GENIO payloads of a call on a descriptor: the data that came or went, a piece each."""
    kinds = list(call.call.kinds.values())
    if not kinds or type(kinds[0]) is not Descriptor:
        return
    for index, kind in enumerate(kinds[1:], 1):
        writes = type(kind) in _WRITES
        if not writes and type(kind) not in _READS:
            continue
        left = min(result, MAX_IO)
        try:
            ranges = [(args[index], left)] if type(kind) in (InBuffer, OutBuffer) else read_iovecs(t, args[index], args[index + 1])
            for base, length in ranges:
                while length and left:
                    nbytes = min(length, left, records.GENIO_MAX)
                    yield records.genio(args[0], writes=writes, data=t.proc.vm.copyin(base, nbytes))
                    base, length, left = base + nbytes, length - nbytes, left - nbytes
        except Errno:
            return              # the program took its memory away meanwhile
        return


def _signal_numbers(abi: Abi, signo: int, code: int, mask: int) -> tuple[int, int, int]:
    """Number, code and mask as the traced program's system has them."""
    numbers: Any = abi.flags.get(Signal)
    if numbers is None:
        return signo, code, mask
    return numbers.outward(signo), numbers.code_outward(signo, code), numbers.mask_outward(mask)


def file_kind(file: Any) -> FileKind:
    """What an open file is (DTYPE_*)."""
    if file.is_socket:
        return FileKind.SOCKET
    if file.label.startswith(b"pipe:"):
        return FileKind.PIPE
    return FileKind.VNODE if file.vnode is not None else FileKind.MISC
