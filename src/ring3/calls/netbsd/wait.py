"""NetBSD's calls that wait for children: wait4 and wait6.  What there is to wait for is everybody's (`calls/wait.py`).

Statuses come in NetBSD's signal numbers by their layout.  Sources: wait4(2), wait6(2), sys/wait.h.
"""

from __future__ import annotations

from typing import Annotated, Final

from ring3.abi.flags import WaitOptions
from ring3.abi.procrecords import Rusage, WaitStatus, Wrusage
from ring3.abi.signals import SigInfo, Signal
from ring3.calls.guest import store
from ring3.calls.procarg import Bits, Pointer, RusageOut, SigInfoOut, StatusOut
from ring3.calls.sysarg import Number, Pid
from ring3.calls.syscall import syscall
from ring3.calls.wait import Event, Whom, usage_record, wait4, wait_for
from ring3.errors import EINVAL
from ring3.proc.proc import Thread

_NOHANG, _UNTRACED, _ALTSIG, _ALLSIG, _CONTINUED, _EXITED, _TRAPPED = 1, 2, 4, 8, 0x10, 0x20, 0x40
_NOWAIT, _NOZOMBIE = 0x10000, 0x20000
_EVENTS: Final = _UNTRACED | _CONTINUED | _EXITED | _TRAPPED
_KNOWN: Final = _NOHANG | _ALTSIG | _ALLSIG | _EVENTS | _NOWAIT | _NOZOMBIE
_O = WaitOptions
_TRANSLATION: Final = (
    (_NOHANG, _O.NOHANG), (_UNTRACED, _O.UNTRACED), (_CONTINUED, _O.CONTINUED), (_EXITED, _O.EXITED), (_NOWAIT, _O.NOWAIT),
    (_ALTSIG, _O.CLONE), (_ALLSIG, _O.ALL),
)
_P_ALL, _P_PID, _P_PGID = 0, 1, 4
_INT_MIN: Final = -(1 << 31)

BsdWaitOptions = Annotated[int, Bits({
    _NOHANG: "WNOHANG", _UNTRACED: "WUNTRACED", _ALTSIG: "WALTSIG", _ALLSIG: "WALLSIG", _CONTINUED: "WCONTINUED",
    _EXITED: "WEXITED", _TRAPPED: "WTRAPPED", _NOWAIT: "WNOWAIT", _NOZOMBIE: "WNOZOMBIE",
})]
BsdWaitKind = Annotated[int, Number({_P_ALL: "P_ALL", _P_PID: "P_PID", _P_PGID: "P_PGID"})]


def neutral(options: int) -> WaitOptions:
    """Raises EINVAL for a bit that NetBSD does not know."""
    if options & ~_KNOWN:
        raise EINVAL
    return _O(sum(int(neutral) for theirs, neutral in _TRANSLATION if options & theirs))


@syscall(pledge="stdio")
async def sys___wait450(t: Thread, pid: Pid, status: StatusOut, options: BsdWaitOptions, rusage: RusageOut) -> int:
    """Wait for a child to change state."""
    return await wait4(t, pid, status, neutral(options), rusage, Rusage)


@syscall(pledge="stdio")
async def sys_wait6(
    t: Thread, idtype: BsdWaitKind, number: Pid, status: StatusOut, options: BsdWaitOptions, wru: Pointer, info: SigInfoOut
) -> int:
    """Wait for one, a group's or any child; what happened comes in a siginfo too.  Other kinds of ids are refused with EINVAL."""
    wanted = neutral(options)
    if not options & _EVENTS:
        raise EINVAL
    if idtype == _P_ALL:
        whom = Whom()
    elif idtype == _P_PID and number > 0:
        whom = Whom(pid=number)
    elif idtype == _P_PGID and number >= 0:
        whom = Whom(pgrp=number or t.proc.pgrp)
    else:
        raise EINVAL
    event = await wait_for(t, whom, wanted)
    if event is None:
        return 0
    if status:
        store(t, WaitStatus, status, event.status)
    if wru:
        store(t, Wrusage, wru, Wrusage(usage_record(event.proc.usage), usage_record(event.proc.child_usage)))
    if info:
        store(t, SigInfo, info, _siginfo(event))
    return event.proc.pid


def _siginfo(event: Event) -> SigInfo:
    ticks = 10_000_000
    return SigInfo(
        Signal.SIGCHLD, event.code, pid=event.proc.pid, uid=event.proc.cred.ruid, status=event.detail,
        utime=event.usage.user_ns // ticks, stime=event.usage.system_ns // ticks,
    )
