"""Signals: neutral numbers (Linux/x86's), what each does by default, actions, and what is known about one sent.

Source: signal(7), sigaction(2), include/uapi/asm-generic/{signal,siginfo}.h.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ring3.namedtuple import NamedTuple


class Signal(enum.IntEnum):
    """The standard signals.  Real-time ones (32 to 64) are plain integers."""

    SIGHUP = 1
    SIGINT = 2
    SIGQUIT = 3
    SIGILL = 4
    SIGTRAP = 5
    SIGABRT = 6
    SIGBUS = 7
    SIGFPE = 8
    SIGKILL = 9
    SIGUSR1 = 10
    SIGSEGV = 11
    SIGUSR2 = 12
    SIGPIPE = 13
    SIGALRM = 14
    SIGTERM = 15
    SIGSTKFLT = 16
    SIGCHLD = 17
    SIGCONT = 18
    SIGSTOP = 19
    SIGTSTP = 20
    SIGTTIN = 21
    SIGTTOU = 22
    SIGURG = 23
    SIGXCPU = 24
    SIGXFSZ = 25
    SIGVTALRM = 26
    SIGPROF = 27
    SIGWINCH = 28
    SIGIO = 29
    SIGPWR = 30
    SIGSYS = 31


_NAMES: Final = {int(signal): signal.name for signal in Signal}

NSIG: Final = 64
SIGRTMIN: Final = 32
SIGEMT: Final = 16           # NetBSD's: has the number that Linux gives a signal nobody sends (SIGSTKFLT)
SIGINFO: Final = 64          # NetBSD's and SerenityOS's: has the number of Linux's last real-time signal, which they have not
SIGCANCEL: Final = 32        # SerenityOS's: has the number of Linux's first real-time signal, likewise
SIG_DFL: Final = 0
SIG_IGN: Final = 1

SI_USER: Final = 0
SI_KERNEL: Final = 0x80
SI_QUEUE: Final = -1
SI_TIMER: Final = -2
SI_MESGQ: Final = -3
SI_ASYNCIO: Final = -4
SI_TKILL: Final = -6

CLD_EXITED: Final = 1
CLD_KILLED: Final = 2
CLD_DUMPED: Final = 3
CLD_TRAPPED: Final = 4
CLD_STOPPED: Final = 5
CLD_CONTINUED: Final = 6

SEGV_MAPERR: Final = 1
SEGV_ACCERR: Final = 2


def bit(signo: int) -> int:
    """The bit of one signal in a mask.

    >>> bit(1), bit(64) == 1 << 63
    (1, True)
    """
    return 1 << (signo - 1)


def mask_of(*signos: int) -> int:
    """A mask of several signals."""
    mask = 0
    for signo in signos:
        mask |= bit(signo)
    return mask


IGNORED: Final = mask_of(Signal.SIGCHLD, Signal.SIGURG, Signal.SIGWINCH, Signal.SIGCONT)
STOPS: Final = mask_of(Signal.SIGSTOP, Signal.SIGTSTP, Signal.SIGTTIN, Signal.SIGTTOU)
DUMPS: Final = mask_of(
    Signal.SIGQUIT, Signal.SIGILL, Signal.SIGTRAP, Signal.SIGABRT, Signal.SIGBUS, Signal.SIGFPE, Signal.SIGSEGV,
    Signal.SIGXCPU, Signal.SIGXFSZ, Signal.SIGSYS,
)
UNBLOCKABLE: Final = mask_of(Signal.SIGKILL, Signal.SIGSTOP)
SYNCHRONOUS: Final = mask_of(
    Signal.SIGSEGV, Signal.SIGBUS, Signal.SIGILL, Signal.SIGTRAP, Signal.SIGFPE, Signal.SIGSYS,
)


class SignalDefaults(NamedTuple):
    """What signals do in one system.  Masks say what they do when a program says nothing; what none of them holds ends the
    process.

    restarts: an interrupted call may be made again (SA_RESTART, or no handler ran); where not, any signal taken is EINTR.
    together: all handlers that are due are entered at once, the last one runs first; where not, one after the other.
    discards: children of who ignores SIGCHLD (or says SA_NOCLDWAIT) are not waited for; where not, SA_NOCLDWAIT keeps SIGCHLD
        away and nothing else.
    orphans: a group that nobody is left to continue is not stopped by a terminal's signals, and is ended where it is stopped.
    names: what the system calls the kernel's numbers, where Linux has another name for them.
    """

    ignored: int
    dumps: int
    restarts: bool = True
    together: bool = True
    discards: bool = True
    orphans: bool = True
    names: Mapping[int, str] = MappingProxyType({})


LINUX_DEFAULTS: Final = SignalDefaults(IGNORED, DUMPS)


class SaFlags(enum.IntFlag):
    """sigaction(2)."""

    NOCLDSTOP = 0x1
    NOCLDWAIT = 0x2
    SIGINFO = 0x4
    UNSUPPORTED = 0x400
    EXPOSE_TAGBITS = 0x800
    RESTORER = 0x04000000
    ONSTACK = 0x08000000
    RESTART = 0x10000000
    NODEFER = 0x40000000
    RESETHAND = 0x80000000


class SigAction(NamedTuple):
    """What a process does about one signal.  `handler` is an address, SIG_DFL or SIG_IGN; `flags` are SaFlags as an int."""

    handler: int = SIG_DFL
    flags: int = 0
    restorer: int = 0
    mask: int = 0


DEFAULT_ACTION: Final = SigAction()


class SigInfo(NamedTuple):
    """One sent signal (siginfo_t).  Only the fields its `code` calls for mean anything; times in clock ticks."""

    signo: int
    code: int = SI_USER
    errno: int = 0
    pid: int = 0
    uid: int = 0
    status: int = 0
    utime: int = 0
    stime: int = 0
    value: int = 0
    timer_id: int = 0
    overrun: int = 0
    addr: int = 0
    trapno: int = 0
    error_code: int = 0
    syscall: int = 0
    arch: int = 0
    band: int = 0
    fd: int = 0


class AltStack(NamedTuple):
    """sigaltstack(2); no stack when `size` is 0."""

    base: int = 0
    flags: int = 0
    size: int = 0


SS_ONSTACK: Final = 1
SS_DISABLE: Final = 2
SS_AUTODISARM: Final = 1 << 31


def signal_name(signo: int, names: Mapping[int, str] = LINUX_DEFAULTS.names) -> str:
    """How strace and kill(1) name a signal; `names` are those of the system whose program it is (`SignalDefaults.names`).

    >>> signal_name(9), signal_name(32), signal_name(34), signal_name(SIGCANCEL, {SIGCANCEL: "SIGCANCEL"})
    ('SIGKILL', 'SIGRTMIN', 'SIGRT_2', 'SIGCANCEL')
    """
    if signo in names:
        return names[signo]
    if 1 <= signo < SIGRTMIN:
        return _NAMES[signo]
    return f"SIGRT_{signo - SIGRTMIN}" if signo > SIGRTMIN else "SIGRTMIN"
