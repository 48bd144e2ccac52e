"""ptrace(2), as far as an exec meets it: a child that asks to be traced stops at each signal, its exec is a SIGTRAP, set-id bits
do not count for it, and its parent looks into it and lets it go on.

What a traced process is stands in `proc/tracing.py`.  Not here: attaching to a process that did not ask, registers, single steps,
stops at calls; those requests are EINVAL.  Source: ptrace(2), sys/kern/sys_ptrace_common.c (the order of its checks).
"""

from __future__ import annotations

from typing import Annotated, Final

from ring3.abi.signals import Signal
from ring3.calls.procarg import Pointer
from ring3.calls.sysarg import Int, Number, Pid
from ring3.calls.syscall import syscall
from ring3.errors import EAGAIN, EBUSY, EINVAL, EPERM, ESRCH
from ring3.proc import signals, tracing
from ring3.proc.proc import Proc, Thread, ThreadState
from ring3.proc.targets import find_process

_TRACE_ME, _READ_I, _READ_D, _WRITE_I, _WRITE_D, _CONTINUE, _KILL, _DETACH = 0, 1, 2, 4, 5, 7, 8, 10
_READS: Final = (_READ_I, _READ_D)
_WRITES: Final = (_WRITE_I, _WRITE_D)
_WHERE_IT_IS: Final = 1                     # PT_CONTINUE's address: go on at the present instruction
_WORD: Final = 4                            # what is read and written: an int

PtraceRequest = Annotated[int, Number({
    _TRACE_ME: "PT_TRACE_ME", _READ_I: "PT_READ_I", _READ_D: "PT_READ_D", _WRITE_I: "PT_WRITE_I", _WRITE_D: "PT_WRITE_D",
    _CONTINUE: "PT_CONTINUE", _KILL: "PT_KILL", _DETACH: "PT_DETACH",
})]


@syscall(pledge="ptrace")
def sys_ptrace(t: Thread, request: PtraceRequest, pid: Pid, addr: Pointer, data: Int) -> int:
    """Be traced by one's parent, or see to a child that is.

    Raises EBUSY for one that runs, or that another traces; EPERM for one that is not traced; EAGAIN for one inside an exec.
    """
    if request == _TRACE_ME:
        return _trace_me(t)
    p = find_process(t, pid)
    if p.zombie:
        raise ESRCH
    if p.in_exec:
        raise EAGAIN
    if request not in (*_READS, *_WRITES, _CONTINUE, _KILL, _DETACH):
        raise EINVAL
    if p.tracing is None:
        raise EPERM
    if p.tracing.tracer is not t.proc or not p.stopped_by:
        raise EBUSY
    if request in _READS:
        return int.from_bytes(p.vm.copyin(addr, _WORD), "little")
    if request in _WRITES:
        p.vm.copyout(addr, (data & 0xFFFF_FFFF).to_bytes(_WORD, "little"))
        return 0
    _go_on(t, p, request, addr, data)
    return 0


def _trace_me(t: Thread) -> int:
    """Raises EBUSY for a process that is traced, EPERM for one without a parent that could trace."""
    p = t.proc
    if p.tracing is not None:
        raise EBUSY
    if p.parent is None or p.parent is t.system.init:
        raise EPERM
    begun = tracing.attach(p.parent, p)
    for thread in p.threads.values():
        thread.trace = begun
    return 0


def _go_on(t: Thread, p: Proc, request: int, addr: int, data: int) -> None:
    """Let it run, with a signal that does what it does to everybody.  Raises EINVAL for no signal, or another address."""
    signo = Signal.SIGKILL if request == _KILL else 0
    if request != _KILL:
        if addr != _WHERE_IT_IS:
            raise EINVAL
        signo = t.system.call_abi(t).flags[Signal](data) if 0 < data < 64 else data
        if signo < 0 or data >= 64:
            raise EINVAL
    if request == _DETACH:
        tracing.detach(p)
        for thread in p.threads.values():
            thread.trace = None
    if signo:
        if p.tracing is not None:
            p.tracing.let_by = signo
        signals.send_to_process(p, signals.user_signal(t, signo))
    if not p.exiting:
        _resume(p)


def _resume(p: Proc) -> None:
    """As SIGCONT would, but nobody is told."""
    p.stopped_by, p.stop_reported, p.continued = 0, True, False
    for thread in p.live_threads():
        if thread.state is ThreadState.STOPPED:
            thread.state = ThreadState.SERVED
            p.system.leave(thread)
