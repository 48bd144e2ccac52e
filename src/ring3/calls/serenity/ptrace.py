"""ptrace of SerenityOS: hold another process, look into it, change it.

Stated results: a POKE of shared memory that is no file's, on which the original falls, is EFAULT, an instruction pointer no
program can have is EINVAL; there are no hardware breakpoints: debug registers are kept, switching one on is ENOTSUP.
Not here: what tracing does to signals (`proc/signals.py`), stops at calls (`callstops.py`), at exec (`exec/commit.py`).
Source: Kernel/Syscalls/ptrace.cpp (reference, section 1.13).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Final

from ring3.abi.signals import Signal
from ring3.calls.serenity.argument import Params
from ring3.calls.serenity.callstops import stopping
from ring3.calls.sysarg import Addr, Number, Pid, Size
from ring3.calls.syscall import syscall
from ring3.errors import EACCES, EBUSY, EFAULT, EINVAL, ENOMEM, ENOTSUP, EPERM, ESRCH, from_oserror
from ring3.namedtuple import NamedTuple
from ring3.proc import signals, tracing
from ring3.proc.proc import Thread, ThreadState
from ring3.proc.targets import known_thread
from ring3.proc.tasks import tasks_of
from ring3.proc.tracing import TracedRegisters
from ring3.vm.region import SharedAnonymous

_TRACE_ME, _ATTACH = 1, 2
_NAMES: Final = (
    "TRACE_ME", "ATTACH", "CONTINUE", "SYSCALL", "GETREGS", "DETACH", "PEEK", "POKE", "SETREGS", "POKEDEBUG", "PEEKDEBUG",
    "PEEKBUF",
)
_WORD: Final = 8
_BUFFER: Final = struct.Struct("<QQ")
_CHUNK: Final = 1 << 20
_MOST: Final = 1 << 28                      # bytes one PEEKBUF copies
_DEBUG_REGISTERS: Final = (0, 1, 2, 3, 6, 7)
_DR6, _DR7 = 6, 7
_ENABLING: Final = 0xFF                     # bits of dr7


class PtraceParams(NamedTuple):
    """What to do, to whom, and two words whose meaning depends."""

    request: Annotated[int, Number({number: f"PT_{name}" for number, name in enumerate(_NAMES, 1)})]
    tid: Pid
    addr: Addr
    data: Size


@syscall(pledge="ptrace")
def sys_ptrace(t: Thread, params: Annotated[PtraceParams, Params(PtraceParams, "<iiQQ")]) -> int:
    """Trace a process.

    Raises EINVAL for oneself and unknown requests, ESRCH, EACCES for what belongs to others, changed its ids or is not dumpable,
    EBUSY for what is traced by another or runs, EPERM for what is not traced, EFAULT.
    """
    p = t.proc
    if params.request == _TRACE_ME:
        if p.tracing is not None:
            raise EBUSY
        tasks_of(p).waits_for_tracer = True
        return 0
    if params.tid == p.pid:
        raise EINVAL
    peer = known_thread(t, params.tid)
    if peer is None or peer.state is ThreadState.DEAD:
        raise ESRCH
    _check_access(t, peer)
    if params.request == _ATTACH:
        _attach(t, peer)
        return 0
    found = peer.proc.tracing
    if found is None:
        raise EPERM
    if found.tracer is not p or peer.state is ThreadState.RUNNING:
        raise EBUSY
    request = _REQUESTS.get(params.request)
    if request is None:
        raise EINVAL
    request(t, peer, params.addr, params.data)
    return 0


def _check_access(t: Thread, peer: Thread) -> None:
    """Raises EACCES."""
    mine, theirs = t.proc.cred, peer.proc.cred
    if mine.euid != 0 and (theirs.ruid != mine.euid or theirs.ruid != theirs.euid):
        raise EACCES
    if not peer.proc.dumpable:
        raise EACCES("it is not dumpable")


def _attach(t: Thread, peer: Thread) -> None:
    """Begin; what is not stopped gets SIGSTOP.  Raises EBUSY."""
    p = peer.proc
    if p.tracing is not None:
        raise EBUSY
    found = tracing.attach(t.proc, p)
    found.over = stopping
    found.has_stopped = bool(p.stopped_by)
    p.personality = p.personality
    if not p.stopped_by:
        signals.send_to_thread(peer, signals.user_signal(t, Signal.SIGSTOP))


# --- going on
def _go_on(t: Thread, peer: Thread, addr: int, data: int) -> None:
    del addr, data
    signals.send_to_thread(peer, signals.user_signal(t, Signal.SIGCONT))


def _go_on_to_call(t: Thread, peer: Thread, addr: int, data: int) -> None:
    peer.proc.tracing.stops_at_call = True
    _go_on(t, peer, addr, data)


def _detach(t: Thread, peer: Thread, addr: int, data: int) -> None:
    tracing.detach(peer.proc)
    peer.proc.personality = peer.proc.personality
    _go_on(t, peer, addr, data)


# --- registers
def _get_registers(t: Thread, peer: Thread, addr: int, data: int) -> None:
    del data
    if not peer.proc.tracing.has_stopped:
        raise EINVAL
    t.proc.vm.copyout(addr, _layout(t).encode(peer.cpu.regs))


def _set_registers(t: Thread, peer: Thread, addr: int, data: int) -> None:
    del data
    if not peer.proc.tracing.has_stopped:
        raise EINVAL
    layout = _layout(t)
    if not layout.load(peer.cpu.regs, t.proc.vm.copyin(addr, layout.size)):
        raise EINVAL("no program can be there")


def _layout(t: Thread) -> TracedRegisters:
    found: TracedRegisters = t.abi.layouts[TracedRegisters]
    return found


def _peek_debug(t: Thread, peer: Thread, addr: int, data: int) -> None:
    if addr not in _DEBUG_REGISTERS:
        raise EINVAL
    t.proc.vm.copyout(data, peer.proc.tracing.debug.get(addr, 0).to_bytes(_WORD, "little"))


def _poke_debug(t: Thread, peer: Thread, addr: int, data: int) -> None:
    del t
    if addr not in _DEBUG_REGISTERS or addr == _DR6:
        raise EINVAL
    if addr == _DR7 and data & _ENABLING:
        raise ENOTSUP("there are no hardware breakpoints here")
    peer.proc.tracing.debug[addr] = data


# --- memory
def _peek(t: Thread, peer: Thread, addr: int, data: int) -> None:
    t.proc.vm.copyout(data, peer.proc.vm.copyin(addr, _WORD))


def _peek_buffer(t: Thread, peer: Thread, addr: int, data: int) -> None:
    """What was copied before memory ends stays.  Raises ENOMEM over 256 MiB."""
    to, nbytes = _BUFFER.unpack(t.proc.vm.copyin(data, _BUFFER.size))
    if nbytes > _MOST:
        raise ENOMEM
    for done in range(0, nbytes, _CHUNK):
        t.proc.vm.copyout(to + done, peer.proc.vm.copyin(addr + done, min(_CHUNK, nbytes - done)))


def _poke(t: Thread, peer: Thread, addr: int, data: int) -> None:
    """One word, whatever its protection.  A shared mapping of a file becomes a private one: the file stays as it is."""
    del t
    vm = peer.proc.vm
    region = vm.find(addr)
    if region is None or addr + _WORD > region.end:
        raise EFAULT
    if region.shared:
        if region.object is None or isinstance(region.object, SharedAnonymous):
            raise EFAULT
        private = region.slice(region.start, region.end)
        private.shared = False
        vm.map(private)
    try:
        written = vm.machine.write(addr, data.to_bytes(_WORD, "little"))
    except OSError as error:
        raise from_oserror(error) from error
    if written != _WORD:
        raise EFAULT


_REQUESTS: Final[Mapping[int, Callable[[Thread, Thread, int, int], None]]] = MappingProxyType({
    3: _go_on, 4: _go_on_to_call, 5: _get_registers, 6: _detach, 7: _peek, 8: _poke, 9: _set_registers, 10: _poke_debug,
    11: _peek_debug, 12: _peek_buffer,
})
