"""Events: what happened in a kernel, as small values, for functions of yours and for views that live of them.

    with ring3.Kernel() as kernel:
        @kernel.on(events.Exec)
        def seen(event):
            print(event.pid, event.path)

Every event begins with when (`ns`: nanoseconds of the kernel's monotonic clock) and who (`pid`, `tid`); what follows is its own.
Names of calls, errors and signals are those of the program's system.  Bytes are the guest's: nothing in them can be trusted, and
`args` of a call is text that shows them safely.

Not here: who makes them (`trace/stream.py`), who shows them, and the views that are told of calls without a value in between
(`protocols.Instrument`): strace's text, ktrace, the report.  Two values cost a call 1.6 us, strace's line for it 2 to 3.
"""

from __future__ import annotations

from ring3.namedtuple import NamedTuple


class SyscallEnter(NamedTuple):
    """A call begins.  `args` are its arguments as strace prints them, as far as they are known then."""

    ns: int
    pid: int
    tid: int
    name: str
    args: str


class SyscallExit(NamedTuple):
    """A call ended, after `took` ns: with `result` (None for one that does not return), or with the error named `error`."""

    ns: int
    pid: int
    tid: int
    name: str
    args: str
    result: int | None
    error: str
    took: int


class Signal(NamedTuple):
    """A signal was taken.  `handled`: by a handler of the program's."""

    ns: int
    pid: int
    tid: int
    name: str
    handled: bool


class Fork(NamedTuple):
    """A thread made another one: in the same process where `child_pid` is `pid`."""

    ns: int
    pid: int
    tid: int
    child_pid: int
    child_tid: int


class Wake(NamedTuple):
    """A thread's doing ended the sleep of another one, in the middle of that one's call: a write to the pipe it reads, an exit it
    waits for, a signal.  What a timer or the host wakes is not told of.
    """

    ns: int
    pid: int
    tid: int
    woken_pid: int
    woken_tid: int


class Exec(NamedTuple):
    """A process runs another program now.  `path` is the file that runs, `format` what recognised it."""

    ns: int
    pid: int
    tid: int
    path: bytes
    argv: tuple[bytes, ...]
    personality: str
    format: str


class Exit(NamedTuple):
    """A process ended: with `code`, or by the signal named `signal`."""

    ns: int
    pid: int
    tid: int
    code: int
    signal: str


class PolicyDecision(NamedTuple):
    """A policy (pledge, unveil, veriexec) refused something, or would have; see `policy.confinement.Decision`."""

    ns: int
    pid: int
    tid: int
    policy: str
    verdict: str
    missing: str
    call: str
    path: bytes | None


Event = SyscallEnter | SyscallExit | Signal | Fork | Wake | Exec | Exit | PolicyDecision
