"""Neutral records of the calls about processes, signals, memory and clocks: what stands where a system has a struct.

A personality's layouts (`layouts_process.py` for Linux) turn them into bytes.  Times are integers of ns, sizes of bytes, unless a
name says otherwise.  Not here: records of files (`records.py`, `filerecords.py`), signals themselves (`signals.py`).
Sources: getrusage(2), times(2), sysinfo(2), uname(2), getrlimit(2), sigevent(3type), adjtimex(2), capget(2), set_thread_area(2).
"""

from __future__ import annotations

from ring3.namedtuple import NamedTuple


class SigSet:
    """Names the layout of sigset_t: 64 bits, an int."""


class SignalfdInfo:
    """Names the layout of `struct signalfd_siginfo`: a `SigInfo` as a signalfd shows it."""


class OldSigSet:
    """Names the layout of the one-word signal set of sigprocmask(2) before real-time signals, an int."""


class OldSigAction:
    """Names the layout of `struct old_sigaction`: a `SigAction` whose mask is one word, and whose members are ordered otherwise."""


class OldRlimits:
    """Names the layout of i386's first getrlimit(2), whose infinity is the largest signed word: an `Rlimits`."""


class ITimerVal(NamedTuple):
    """struct itimerval, ns."""

    interval: int
    value: int


class Rusage(NamedTuple):
    """getrusage(2): times in ns, `maxrss` in KiB."""

    utime: int
    stime: int
    maxrss: int = 0
    ixrss: int = 0
    idrss: int = 0
    isrss: int = 0
    minflt: int = 0
    majflt: int = 0
    nswap: int = 0
    inblock: int = 0
    oublock: int = 0
    msgsnd: int = 0
    msgrcv: int = 0
    nsignals: int = 0
    nvcsw: int = 0
    nivcsw: int = 0


class Wrusage(NamedTuple):
    """struct wrusage (wait6): a child's own usage, and that of its children."""

    itself: Rusage
    children: Rusage


class Tms(NamedTuple):
    """times(2), in clock ticks."""

    utime: int
    stime: int
    cutime: int
    cstime: int


class SystemInfo(NamedTuple):
    """sysinfo(2): memory in bytes, loads times 65536, uptime in seconds."""

    uptime: int
    loads1: int
    loads5: int
    loads15: int
    totalram: int
    freeram: int
    sharedram: int
    bufferram: int
    totalswap: int
    freeswap: int
    procs: int
    totalhigh: int
    freehigh: int


class Utsname(NamedTuple):
    """uname(2), each at most 64 bytes."""

    sysname: bytes
    nodename: bytes
    release: bytes
    version: bytes
    machine: bytes
    domainname: bytes


class Rlimits(NamedTuple):
    """One limit; RLIM_INFINITY is 2**64-1 whatever the word size."""

    cur: int
    max: int


class SigEvent(NamedTuple):
    """sigevent(3type): what a timer does when it fires.  `tid` means something with SIGEV_THREAD_ID only."""

    value: int
    signo: int
    notify: int
    tid: int


class Timex(NamedTuple):
    """The clock's discipline, as far as it is told: adjtimex(2).  `time` in ns since the epoch."""

    modes: int
    status: int
    tick: int
    time: int
    maxerror: int = 500_000
    esterror: int = 500_000
    constant: int = 7
    precision: int = 1
    tolerance: int = 32_768_000
    tai: int = 0


class Timex64:
    """Names the layout of the 64-bit `struct timex` of clock_adjtime64: a `Timex`."""


class CapHeader(NamedTuple):
    """capget(2): which format, whose."""

    version: int
    pid: int


class UserDesc(NamedTuple):
    """struct user_desc of set_thread_area(2); `flags` holds its bit fields, seg_32bit lowest."""

    entry: int
    base: int
    limit: int
    flags: int


class Word:
    """Names the layout of one word of the system (a pointer, a size_t): an unsigned int."""


class Int32:
    """Names the layout of a C int."""


class WaitStatus:
    """Names the layout of a wait status word: an int, `code << 8 | signal` as wait(2) has it."""


class UInt32:
    """Names the layout of a C unsigned int: ids, statuses."""


class Id16:
    """Names the layout of a 16-bit id: what does not fit becomes 65534."""
