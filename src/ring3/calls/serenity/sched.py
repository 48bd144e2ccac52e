"""SerenityOS's calls about scheduling: priorities of threads, 1 to 99, kept to be told; the host schedules.

Stated result: an unknown mode, on which the original falls, is EINVAL.
Source: Kernel/Syscalls/sched.cpp (reference, sections 4.5, 4.8).
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from ring3.calls.serenity.argument import Params
from ring3.calls.serenity.peer import find_peer, may_touch
from ring3.calls.sysarg import Decoder, Int, Kind, Number, Pid
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, EPERM, ESRCH
from ring3.namedtuple import NamedTuple
from ring3.proc.proc import Thread, ThreadState
from ring3.proc.targets import known_thread
from ring3.proc.tasks import task_of

_PROCESS, _THREAD = 0, 1
_LOWEST, _HIGHEST = 1, 99
_PRIORITY_AT: Final = 8


class SchedulerParams(NamedTuple):
    """Of whom, whether that is a process or a thread, and the priority."""

    id: Pid
    mode: Annotated[int, Number({_PROCESS: "Process", _THREAD: "Thread"})]
    priority: Int


_PARAMS: Final = Params(SchedulerParams, "<iB3xi")


def check_priority(priority: int) -> None:
    """Raises EINVAL outside 1 to 99."""
    if not _LOWEST <= priority <= _HIGHEST:
        raise EINVAL


@syscall(pledge="proc")
def sys_scheduler_set_parameters(t: Thread, params: Annotated[SchedulerParams, _PARAMS]) -> int:
    """Set a thread's priority, or all of the process's.  Raises EINVAL, ESRCH, EPERM."""
    check_priority(params.priority)
    target = _target(t, params)
    threads = target.proc.live_threads() if params.mode == _PROCESS else [target]
    for thread in threads:
        task_of(thread).priority = params.priority
    return 0


class _Both(Params):
    """Parameters that the call fills in: with their address."""

    show_result = Kind.show_result          # the priority that is filled in is not shown

    def compile(self, abi: Any) -> Decoder:
        decode = super().compile(abi)
        return lambda t, word: (word, decode(t, word))

    def show(self, t: Thread, value: Any) -> str:
        return super().show(t, value[1])


@syscall(pledge="proc")
def sys_scheduler_get_parameters(
    t: Thread, params: Annotated[tuple[int, SchedulerParams], _Both(SchedulerParams, "<iB3xi")]
) -> int:
    """A thread's priority, or the process's first thread's.  Raises ESRCH, EPERM, EFAULT."""
    addr, asked = params
    priority = task_of(_target(t, asked)).priority
    t.proc.vm.copyout(addr + _PRIORITY_AT, priority.to_bytes(4, "little"))
    return 0


def _target(t: Thread, params: SchedulerParams) -> Thread:
    """get_thread_from_pid_or_tid.  A process is looked for among all, its first thread among the caller's own: another process is
    ESRCH.  Only root sees threads of others.  Raises EINVAL, ESRCH, EPERM.
    """
    if params.mode == _THREAD:
        found = t if not params.id else known_thread(t, params.id)
        if found is not None and found.proc is not t.proc and t.proc.cred.euid != 0:
            raise EPERM
    elif params.mode == _PROCESS:
        p = t.proc if not params.id else find_peer(t, params.id)
        found = t.proc.threads.get(p.pid)
    else:
        raise EINVAL
    if found is None or found.state is ThreadState.DEAD:
        raise ESRCH
    if not may_touch(t, found.proc):
        raise EPERM
    return found
