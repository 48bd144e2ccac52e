"""The trap: serve one stop of a thread.  The only place where a refusal becomes a number.

`serve` is the story of every stop: a system call is decoded, run and answered; a fault becomes a signal; an interrupt lets the
thread take its signals; a killed host task is a guest process that died by that signal.

What the host has no more of (memory, descriptors, processes), and a stub that somebody killed, are no bugs: the call is refused,
or, where there is no call to refuse, the process ends.
"""

from __future__ import annotations

import errno as host_errno
from types import CoroutineType
from typing import Any

from ring3.abi.signals import SEGV_MAPERR, Signal
from ring3.abi.stop import StopKind
from ring3.abi.x86 import ORIG_RAX
from ring3.calls.syscall import JUST_RETURN, NOSYS, Bound, Pair
from ring3.errors import ENFILE, ENOMEM, ENOSYS, Errno, from_oserror
from ring3.proc import signals
from ring3.proc.lifecycle import exit_process
from ring3.proc.proc import Restart, Thread, ThreadState
from ring3.protocols import Abi
from ring3.waiting import Interrupted

_SYSCALL = StopKind.SYSCALL
_LACKS = frozenset((
    host_errno.ENOMEM, host_errno.EAGAIN, host_errno.EMFILE, host_errno.ENFILE, host_errno.ENOSPC, host_errno.EDQUOT,
    host_errno.EIO, host_errno.EBUSY, host_errno.ESRCH, host_errno.ECHILD,
))


class KernelFault(Exception):
    """A bug of this kernel, with the call that met it.  Reaches the caller of `run()`."""


def serve(t: Thread) -> None:
    """Serve the stop `t` is in."""
    t.system.current = t
    if t.cpu.kind is _SYSCALL:
        trap(t)
        return
    try:
        _STOPS[t.cpu.kind](t)
    except (OSError, MemoryError) as error:
        if host_refusal(error) is None:
            raise
        exit_process(t.proc, Signal.SIGKILL)


def trap(t: Thread) -> None:
    """Serve one system call."""
    cpu, system = t.cpu, t.system
    regs = cpu.regs
    abi = t.proc.abis[cpu.arch]
    t.call_number = number = regs[ORIG_RAX] & 0xFFFFFFFF
    system.served_calls += 1
    call: Bound | None = None
    result: Any
    try:
        try:  # noqa: SIM105 - the hot path of the kernel: a context manager costs more than the call
            call = abi.sysent[number]
        except KeyError:
            pass
        if call is None:
            result = _missing(t, abi, number)
        elif system.instruments:
            result = _watched(t, call, regs)
        else:
            result = call.invoke(t, regs)
    except (Errno, Restart) as refusal:
        finish(t, refusal)
        return
    except Exception as error:
        lack = host_refusal(error)
        if lack is not None:
            finish(t, lack)
            return
        raise KernelFault(f"pid {t.proc.pid} ({t.proc.comm.decode(errors='replace')}): {_describe(t, call, number)}") from error
    if result.__class__ is CoroutineType:
        t.coroutine = result
        system.scheduler.start(t, finish)
    else:
        finish(t, result)


def finish(t: Thread, result: Any) -> None:
    """A call is over: a value, a refusal, or the wish to be restarted.  Raises `KernelFault` for anything else."""
    if t.watched is not None:
        _unwatch(t, result)
    if t.state is ThreadState.DEAD:
        return
    if result.__class__ is int:
        if result != JUST_RETURN:
            t.proc.personality.abis[t.cpu.arch].succeed(t.cpu.regs, result)
    elif isinstance(result, Errno):
        t.proc.personality.abis[t.cpu.arch].refuse(t.cpu.regs, t.call_number, type(result))
    elif isinstance(result, Interrupted):
        t.restart = Restart()
        t.work |= signals.SIGNAL_WORK
    elif isinstance(result, Restart):
        t.restart = result
        t.work |= signals.SIGNAL_WORK
    elif isinstance(result, int):
        t.proc.personality.abis[t.cpu.arch].succeed(t.cpu.regs, result if isinstance(result, Pair) else int(result))
    elif isinstance(result, BaseException) and (lack := host_refusal(result)) is not None:
        finish(t, lack)
        return
    else:
        call = t.proc.personality.abis[t.cpu.arch].sysent.get(t.call_number)
        cause = result if isinstance(result, BaseException) else TypeError(f"result {result!r}")
        raise KernelFault(f"pid {t.proc.pid}: {_describe(t, call, t.call_number)}") from cause
    t.system.leave(t)


def host_refusal(error: BaseException) -> Errno | None:
    """The refusal that an error of the host's amounts to which a call did not look for; None for a bug.

    It may come from anywhere: without a descriptor left not even a module can be imported that is first needed now.
    """
    if isinstance(error, MemoryError):
        return ENOMEM()
    if not isinstance(error, OSError) or error.errno not in _LACKS:
        return None
    return ENFILE() if error.errno == host_errno.EMFILE else from_oserror(error)


def _missing(t: Thread, abi: Abi, number: int) -> int:
    name = abi.names.get(number)
    t.system.count_missing(name or f"number {number}")
    if t.system.instruments:
        bound = Bound(NOSYS, abi, name or f"syscall_{number:#x}")
        t.watched = (bound, ())
        t.system.tell("syscall_enter", t, bound, ())
    if name is None and abi.stray_signal:
        signals.send_to_process(t.proc, signals.kernel_signal(abi.stray_signal))
    raise ENOSYS


def _watched(t: Thread, call: Bound, regs: memoryview) -> Any:
    system = t.system
    t.watched = (call, None)
    call = call.resolve(t, regs)
    t.watched = (call, None)
    try:
        args = call.begin(t, regs)
    except Errno as refusal:
        return call.unread(t, refusal)
    t.watched = (call, args)
    system.tell("syscall_enter", t, call, args)
    return call.call.run(t, *args)


def _unwatch(t: Thread, result: Any) -> None:
    assert t.watched is not None
    call, args = t.watched
    t.watched = None
    ended: int | Errno | None = None
    if isinstance(result, (int, Errno)):             # a union would be made anew at every call
        ended = result if result != JUST_RETURN else None
    elif isinstance(result, Restart):                   # so that whoever watches sees why there is no result
        t.restart = result
    elif isinstance(result, Interrupted):
        t.restart = Restart()
    t.system.tell("syscall_exit", t, call, args, ended)


def _describe(t: Thread, call: Bound | None, number: int) -> str:
    if call is None:
        return f"call {number}"
    try:
        return call.show(t, call.decode(t, t.cpu.regs))
    except (Errno, OSError):
        return call.name


def _fault(t: Thread) -> None:
    """The CPU refused an instruction: a growing stack gets room, everything else is a signal nobody can ignore."""
    fault = t.cpu.fault
    way_in = t.proc.abis[t.cpu.arch].other_way_in
    if way_in is not None and way_in(t):
        trap(t)
        return
    if fault.signal == Signal.SIGSEGV and fault.code == SEGV_MAPERR and t.proc.vm.fault(fault.addr):
        t.system.leave(t)
        return
    signals.force(t, t.proc.abis[t.cpu.arch].fault_signal(t, fault))
    t.system.leave(t)


def _interrupted(t: Thread) -> None:
    """The kernel wanted the thread: it takes its signals and goes on."""
    t.system.leave(t)


def _killed(t: Thread) -> None:
    """Somebody on the host killed the task: the guest process died by that signal."""
    exit_process(t.proc, t.cpu.fault.signal & 0x7F)


_STOPS = {
    StopKind.FAULT: _fault,
    StopKind.INTERRUPT: _interrupted,
    StopKind.SIGNAL: _interrupted,
    StopKind.KILLED: _killed,
}
