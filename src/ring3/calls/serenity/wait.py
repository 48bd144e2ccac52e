"""waitid of SerenityOS: children, and those one traces.

What there is to wait for is everybody's (`calls/wait.py`).  Oddities of the original: options are never judged; to wait for any
child without having one sleeps; what a child went on with is only told together with WUNTRACED.
Source: Kernel/Syscalls/waitid.cpp, Thread::WaitBlocker (reference, section 4.8).
"""

from __future__ import annotations

from typing import Annotated, Final

from ring3.abi.flags import WaitOptions
from ring3.abi.signals import CLD_CONTINUED, CLD_DUMPED, CLD_EXITED, CLD_KILLED, CLD_STOPPED, SigInfo, Signal
from ring3.calls.guest import store
from ring3.calls.procarg import Bits
from ring3.calls.serenity.argument import Params
from ring3.calls.serenity.peer import find_peer
from ring3.calls.sysarg import Addr, Number, Pid
from ring3.calls.syscall import syscall
from ring3.calls.wait import Event, event_of
from ring3.errors import ECHILD, EINTR, EINVAL, ESRCH
from ring3.namedtuple import NamedTuple
from ring3.proc.jails import known_procs
from ring3.proc.proc import Proc, Thread
from ring3.proc.tasks import tasks_of
from ring3.waiting import Interrupted, sleep_on

_O = WaitOptions
_NOHANG, _STOPPED, _EXITED, _CONTINUED, _NOWAIT = 1, 2, 4, 8, 0x100_0000
_ALL, _PID, _PGID = 1, 2, 3
# The kernel's code, SerenityOS's.
_CODES: Final = {CLD_EXITED: 0, CLD_KILLED: 1, CLD_DUMPED: 1, CLD_STOPPED: 4, CLD_CONTINUED: 5}
_NOTHING: Final = SigInfo(0, 0)


class WaitidParams(NamedTuple):
    """Whom to wait for, where to tell what happened, and what to wait for."""

    idtype: Annotated[int, Number({_ALL: "P_ALL", _PID: "P_PID", _PGID: "P_PGID"})]
    id: Pid
    siginfo: Addr
    options: Annotated[int, Bits({
        _NOHANG: "WNOHANG", _STOPPED: "WSTOPPED", _EXITED: "WEXITED", _CONTINUED: "WCONTINUED", _NOWAIT: "WNOWAIT",
    })]


@syscall(pledge="proc")
async def sys_waitid(t: Thread, params: Annotated[WaitidParams, Params(WaitidParams, "<iiQi4x")]) -> int:
    """Wait for a child or a tracee to end, stop or go on; what happened comes in a siginfo, all zeros for nothing yet.

    Raises EINVAL for an unknown kind of id, ECHILD, EINTR, EFAULT.
    """
    _check(t, params)
    while True:
        event = _look(t, params)
        if event is not None or params.options & _NOHANG:
            break
        if params.idtype == _PID and not _is_mine(t, t.system.procs.get(params.id)):
            raise ECHILD                        # disowned meanwhile
        try:
            await sleep_on(t.proc.child_queue)
        except Interrupted:
            event = _look(t, params)            # a SIGCHLD that told of it does not interrupt
            if event is None:
                raise EINTR from None
            break
    store(t, SigInfo, params.siginfo, _NOTHING if event is None else _told(event))
    return 0


def _check(t: Thread, params: WaitidParams) -> None:
    """Raises EINVAL, and ECHILD for a process or group that is not there, or not the caller's."""
    if params.idtype == _PID:
        try:
            found = find_peer(t, params.id)
        except ESRCH:
            raise ECHILD from None
        if not _is_mine(t, found):
            raise ECHILD
    elif params.idtype == _PGID:
        if not any(p.pgrp == params.id for p in known_procs(t)):
            raise ECHILD
    elif params.idtype != _ALL:
        raise EINVAL


def _is_mine(t: Thread, p: Proc | None) -> bool:
    return p is not None and (p.parent is t.proc or p in tasks_of(t.proc).tracees)


def _look(t: Thread, params: WaitidParams) -> Event | None:
    """The first event there is, taken unless WNOWAIT.  Stops of a traced process are its tracer's to see."""
    asked = params.options
    ended = (_O.EXITED if asked & _EXITED else _O(0)) | (_O.NOWAIT if asked & _NOWAIT else _O(0))
    for p in dict.fromkeys((*t.proc.children, *tasks_of(t.proc).tracees)):
        if (params.idtype == _PID and p.pid != params.id) or (params.idtype == _PGID and p.pgrp != params.id):
            continue
        options = ended
        if asked & _STOPPED and (p.tracing is None or p.tracing.tracer is t.proc):
            options |= _O.STOPPED | (_O.CONTINUED if asked & _CONTINUED else _O(0))
        event = event_of(p, options)
        if event is not None:
            return event
    return None


def _told(event: Event) -> SigInfo:
    """As the kernel tells: a kill's signal and a stop's, an exit's status; nothing with a process that went on."""
    status = 0 if event.code == CLD_CONTINUED else event.detail
    return SigInfo(
        Signal.SIGCHLD, _CODES[event.code], pid=event.proc.pid, uid=event.proc.cred.ruid, status=status,
    )
