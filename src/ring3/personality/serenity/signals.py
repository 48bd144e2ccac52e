"""SerenityOS's signal numbers: where they meet the kernel's own, which are Linux's (`abi/signals.py`).

Thirty of the thirty-two agree.  INFO (30) and CANCEL (32) borrow numbers that SerenityOS has no use for.  Applied at the border
and nowhere else: arguments, masks, siginfo, wait statuses, frames.  Behind it every part of the kernel speaks `Signal`.
Source: Kernel/API/POSIX/signal_numbers.h, Kernel/Thread.cpp (reference, sections 1.18 and 4.8).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from ring3.abi.signals import SIGCANCEL, SIGINFO, SaFlags, SigAction, Signal, SignalDefaults, bit, mask_of

NSIG: Final = 33                        # one more than the largest
NO_SIGNAL: Final = -1                   # what a number that is none becomes: every check refuses it
SI_NOINFO: Final = 0x4000_0042
_INFO, _CANCEL = 30, 32
_AGREE: Final = (1 << 29) - 1 | bit(Signal.SIGSYS) | bit(SIGCANCEL)       # masks: the same bit on both sides
_MASK32: Final = (1 << 32) - 1

DEFAULTS: Final = SignalDefaults(
    ignored=mask_of(Signal.SIGCHLD, Signal.SIGURG, Signal.SIGWINCH, Signal.SIGCONT, SIGINFO),
    dumps=mask_of(
        Signal.SIGQUIT, Signal.SIGILL, Signal.SIGTRAP, Signal.SIGABRT, Signal.SIGBUS, Signal.SIGFPE, Signal.SIGSEGV,
        Signal.SIGXCPU, Signal.SIGXFSZ, Signal.SIGSYS,
    ),
    restarts=False,
    together=False,
    discards=False,
    orphans=False,
    names=MappingProxyType({SIGINFO: "SIGINFO", SIGCANCEL: "SIGCANCEL"}),
)

# The action flags that do something.  The others are kept where nothing looks at them.
WORKING: Final = int(SaFlags.NOCLDWAIT | SaFlags.SIGINFO | SaFlags.ONSTACK | SaFlags.NODEFER)
_KEPT: Final = 40


class SignalNumbers:
    """Both directions: called with SerenityOS's number (what `Abi.flags` is asked), and `outward`.

    >>> numbers = SignalNumbers()
    >>> numbers(30) == SIGINFO, numbers(17) == Signal.SIGCHLD, numbers.outward(SIGINFO), numbers(33)
    (True, True, 30, -1)
    """

    __slots__ = ()

    def __call__(self, number: int) -> int:
        """The kernel's number; NO_SIGNAL for what is none (0 stays 0: kill(2) asks with it)."""
        if number == _INFO:
            return SIGINFO
        return number if 0 <= number < NSIG else NO_SIGNAL

    @staticmethod
    def outward(signo: int) -> int:
        """SerenityOS's number; what it has none for (another system's real-time signals) is told as CANCEL."""
        if signo == SIGINFO:
            return _INFO
        return signo if signo < NSIG and signo != Signal.SIGPWR else _CANCEL


def mask_inward(mask: int) -> int:
    """A sigset_t as the kernel's mask."""
    return mask & _AGREE | (bit(SIGINFO) if mask & bit(_INFO) else 0)


def mask_outward(mask: int) -> int:
    """The way back; signals that SerenityOS has not are lost."""
    return (mask & _AGREE | (bit(_INFO) if mask & bit(SIGINFO) else 0)) & _MASK32


def action_inward(handler: int, mask: int, flags: int) -> SigAction:
    """A struct sigaction as the kernel's action; flags without effect are kept beside it."""
    flags &= _MASK32
    return SigAction(handler, flags & WORKING | flags << _KEPT, 0, mask_inward(mask))


def action_flags_outward(action: SigAction) -> int:
    """sa_flags as they were given."""
    return action.flags >> _KEPT & _MASK32
