"""NetBSD's signal numbers: the one place where they meet the kernel's own, which are Linux's (`abi/signals.py`).

Applied at the border and nowhere else: arguments (`SignalNumber`), masks, actions, siginfo, wait statuses, frames.  Behind it
every part of the kernel speaks `Signal`.  NetBSD has two signals that Linux lacks (SIGEMT, SIGINFO); they borrow numbers nobody
uses there.
Sources: signal(7), sys/signal.h, sys/siginfo.h.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from ring3.abi.signals import (
    SI_ASYNCIO,
    SI_KERNEL,
    SI_MESGQ,
    SI_QUEUE,
    SI_TIMER,
    SI_TKILL,
    SI_USER,
    SIGEMT,
    SIGINFO,
    SaFlags,
    Signal,
    SignalDefaults,
    bit,
    mask_of,
)
from ring3.abi.table import read_table

NSIG: Final = 64                      # one more than the largest
RTMIN: Final = 33
NO_SIGNAL: Final = -1                 # what a number that is none becomes: every check refuses it
_BORROWED: Final = {"SIGEMT": SIGEMT, "SIGINFO": SIGINFO}
_STRAY: Final = 63                    # what a Linux signal without a NetBSD number is told as

DEFAULTS: Final = SignalDefaults(
    ignored=mask_of(Signal.SIGURG, Signal.SIGCONT, Signal.SIGCHLD, Signal.SIGIO, Signal.SIGWINCH, SIGINFO, Signal.SIGPWR),
    dumps=mask_of(
        Signal.SIGQUIT, Signal.SIGILL, Signal.SIGTRAP, Signal.SIGABRT, SIGEMT, Signal.SIGFPE, Signal.SIGBUS, Signal.SIGSEGV,
        Signal.SIGSYS,
    ),
    names=MappingProxyType({number: name for name, number in _BORROWED.items()}),
)

# sa_flags: NetBSD's bit, the kernel's.
SA_FLAGS: Final = (
    (0x01, SaFlags.ONSTACK), (0x02, SaFlags.RESTART), (0x04, SaFlags.RESETHAND), (0x08, SaFlags.NOCLDSTOP),
    (0x10, SaFlags.NODEFER), (0x20, SaFlags.NOCLDWAIT), (0x40, SaFlags.SIGINFO),
)
SA_NOKERNINFO: Final = 0x80           # kept out of the kernel: it is about a terminal's ^T alone

# si_code: the kernel's, NetBSD's.  Positive ones agree, but for what the CPU's faults say.
_CODES: Final = {
    SI_USER: 0, SI_QUEUE: -1, SI_TIMER: -2, SI_ASYNCIO: -3, SI_MESGQ: -4, SI_TKILL: -5, SI_KERNEL: 32767,
}
_FAULT_CODES: Final[dict[tuple[int, int], int]] = {
    (Signal.SIGSEGV, SI_KERNEL): 2,           # general protection: SEGV_ACCERR
    (Signal.SIGBUS, SI_KERNEL): 2,            # BUS_ADRERR
    (Signal.SIGTRAP, SI_KERNEL): 1,           # int3: TRAP_BRKPT
    (Signal.SIGILL, 2): 5,                    # an invalid opcode: ILL_PRVOPC
    (Signal.SIGALRM, SI_KERNEL): -2,          # interval timers say SI_TIMER
    (Signal.SIGVTALRM, SI_KERNEL): -2,
    (Signal.SIGPROF, SI_KERNEL): -2,
}


class SignalNumbers:
    """Both directions, for numbers, masks, flags and codes.  One for each personality record.

    >>> numbers = SignalNumbers()
    >>> numbers.inward(16) == Signal.SIGURG, numbers.outward(Signal.SIGCHLD), numbers.inward(64)
    (True, 20, -1)
    """

    __slots__ = ("_in", "_masks_in", "_masks_out", "_out")

    def __init__(self) -> None:
        self._in = [NO_SIGNAL] * NSIG
        self._out = [_STRAY] * 65
        self._in[0] = self._out[0] = 0
        for number, name in read_table("netbsd/signal").items():
            neutral = _BORROWED.get(name) or Signal[name]
            self._in[number], self._out[neutral] = int(neutral), number
        for number in range(RTMIN, NSIG):
            self._in[number] = self._out[number] = number
        self._masks_in: dict[int, int] = {}
        self._masks_out: dict[int, int] = {}

    def inward(self, number: int) -> int:
        """The kernel's number; NO_SIGNAL for what is none (0 stays 0: kill(2) asks with it)."""
        return self._in[number] if 0 <= number < NSIG else NO_SIGNAL

    __call__ = inward                           # what `Abi.flags` is asked

    def outward(self, signo: int) -> int:
        """NetBSD's number of a signal."""
        return self._out[signo]

    def mask_inward(self, mask: int) -> int:
        """A set of NetBSD's numbers as the kernel's; bits that are no signal are lost."""
        found = self._masks_in.get(mask)
        if found is None:
            found = sum(bit(self._in[number]) for number in range(1, NSIG) if mask & bit(number))
            if len(self._masks_in) < 1024:
                self._masks_in[mask] = found
        return found

    def mask_outward(self, mask: int) -> int:
        """The way back."""
        found = self._masks_out.get(mask)
        if found is None:
            found = 0
            for signo in range(1, 65):
                if mask & bit(signo) and self._in[self._out[signo]] == signo:
                    found |= bit(self._out[signo])
            if len(self._masks_out) < 1024:
                self._masks_out[mask] = found
        return found

    def status_outward(self, status: int) -> int:
        """A wait status word: the signal in it gets NetBSD's number, wherever it stands."""
        low = status & 0x7F
        if status == 0xFFFF or not low:
            return status
        if low == 0x7F:
            return self._out[status >> 8 & 0x7F] << 8 | 0x7F
        return (status & ~0x7F) | self._out[low]

    def code_outward(self, signo: int, code: int) -> int:
        """si_code as NetBSD says it."""
        found = _FAULT_CODES.get((signo, code))
        return _CODES.get(code, code) if found is None else found

    def code_inward(self, code: int) -> int:
        """What a program queues with."""
        return next((neutral for neutral, theirs in _CODES.items() if theirs == code), code)


def flags_inward(word: int) -> int:
    """sa_flags as the kernel has them.  Unknown bits are the caller's affair."""
    return sum(int(neutral) for theirs, neutral in SA_FLAGS if word & theirs)


def flags_outward(flags: int) -> int:
    """The way back."""
    return sum(theirs for theirs, neutral in SA_FLAGS if flags & neutral)
