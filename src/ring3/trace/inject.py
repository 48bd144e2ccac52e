"""`--inject`: strace's grammar of injections, and the hooks they become.

    openat:ENOSPC                        every openat fails; error=28 is the same
    openat:ENOSPC:when=3+2               the third, the fifth, the seventh …
    write,pwrite64:error=EIO:when=2..4
    read:retval=0:delay_enter=1500       microseconds, or with a unit: 10ms, 2s
    getppid:signal=SIGUSR1:when=1

Calls are named as the program's system names them, in sets as `ring3 trace -e` has them (`%file`, `/regex`, `!`).  Counting is by
process, from its start.  Source: strace(1), "Tampering".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ring3 import errors
from ring3.abi.signals import Signal
from ring3.proc import signals
from ring3.trace.filter import CallSet

if TYPE_CHECKING:
    from ring3.calls.interpose import Call
    from ring3.proc.proc import Proc, Thread

_UNITS: Final = {"": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1.0, "ns": 1e-9}
_UNSUPPORTED: Final = ("poke_enter", "poke_exit", "syscall")
_ALL: Final = 65535


class When(NamedTuple):
    """Which calls of a set: from `first` to `last`, every `step`-th (0: the first only)."""

    first: int = 1
    last: int = _ALL
    step: int = 1

    def holds(self, count: int) -> bool:
        """Whether the `count`-th call is meant.

        >>> [n for n in range(1, 9) if When(3, step=2).holds(n)]
        [3, 5, 7]
        """
        if not self.first <= count <= self.last:
            return False
        return (count - self.first) % self.step == 0 if self.step else count == self.first


class Injection(NamedTuple):
    """One `--inject`.  Delays in seconds."""

    calls: CallSet
    when: When
    error: str = ""
    retval: int | None = None
    signal: int = 0
    delay_enter: float = 0.0
    delay_exit: float = 0.0


def parse_injection(text: str, otherwise: str = "") -> Injection:
    """`otherwise`: the errno of one that says nothing else (strace's `fault=`).  Raises ValueError that says what is wrong.

    >>> parse_injection("openat:ENOSPC:when=3+2").when
    When(first=3, last=65535, step=2)
    """
    head, *words = text.split(":")
    if not head or not (words or otherwise):
        raise ValueError("write CALLS:ERRNO[:when=FIRST[..LAST][+STEP]], such as openat:ENOSPC:when=3+2")
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            key, value = "error", word
        if key in _UNSUPPORTED:
            raise ValueError(f"{key}=: that is what a hook in Python does, see kernel.on_syscall()")
        if key not in _PARSERS:
            raise ValueError(f"{word!r}: write error=, retval=, signal=, delay_enter=, delay_exit= or when=")
        if key in found:
            raise ValueError(f"{key} stands twice")
        found[key] = _PARSERS[key](value)
    if otherwise and not found.keys() & {"error", "retval"}:
        found["error"] = otherwise
    if set(found) <= {"when"}:
        raise ValueError("what is to be injected? write an errno, retval=, signal=, delay_enter= or delay_exit=")
    if "error" in found and "retval" in found:
        raise ValueError("a call either fails or has a result")
    return Injection(CallSet.parse(head), found.pop("when", When()), **found)


def _errno(text: str) -> str:
    """An errno's name, or Linux's number of it."""
    if text.isdecimal() and len(text) <= 4:
        from errno import errorcode

        text = errorcode.get(int(text), text)
    try:
        errors.by_name(text)
    except KeyError:
        raise ValueError(f"{text!r} is no errno") from None
    return text


def _signal(text: str) -> int:
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    if text.isdecimal() and 1 <= int(text) <= 64:
        return int(text)
    if name not in Signal.__members__:
        raise ValueError(f"{text!r} is no signal")
    return int(Signal[name])


def _number(text: str) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None
    if not -1 << 63 <= number < 1 << 64:
        raise ValueError(f"{text}: a call's result has 64 bits")
    return number


def _duration(text: str) -> float:
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = _UNITS.get(text[len(digits) :])
    try:
        seconds = float(digits) * (unit or 0.0)
    except ValueError:
        seconds = 0.0
    if unit is None or not 0 < seconds <= 86400:
        raise ValueError(f"{text!r}: write a number of microseconds, or one with a unit: 10ms, 2s")
    return seconds


def _when(text: str) -> When:
    """FIRST[..LAST][+[STEP]]"""
    span, plus, step_text = text.partition("+")
    first_text, dots, last_text = span.partition("..")
    first = _positive(first_text)
    last = _positive(last_text) if dots else _ALL
    if last < first:
        raise ValueError(f"when={text}: the last comes before the first")
    if plus:
        return When(first, last, _positive(step_text) if step_text else 1)
    return When(first, last, 1) if dots else When(first, first, 0)


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _ALL:
        raise ValueError(f"{text!r}: write a number from 1 to {_ALL}")
    return int(text)


_PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    "error": _errno, "retval": _number, "signal": _signal, "delay_enter": _duration, "delay_exit": _duration, "when": _when,
}


class Injector:
    """The hooks of one injection: `before` and `after` go to an `Interposer`."""

    def __init__(self, injection: Injection) -> None:
        self._injection = injection
        self.failure = ""               # why an errno could not be injected
        self._counts: dict[Proc, int] = {}
        self._meant: dict[Thread, Call] = {}        # whose end something is done at

    def before(self, call: Call) -> None:
        """Count the call, and do to it what is to be done before it."""
        wanted, p = self._injection, call.thread.proc
        if not wanted.calls.has(call.bound):
            return
        count = self._counts[p] = self._counts.get(p, 0) + 1
        if count == 1:
            self._counts = {known: number for known, number in self._counts.items() if not known.zombie}
            self._meant = {thread: known for thread, known in self._meant.items() if not thread.proc.zombie}
        if not wanted.when.holds(count):
            return
        if wanted.delay_enter:
            call.delay(wanted.delay_enter)
        if wanted.error:
            self._fail(call)
        elif wanted.retval is not None:
            call.answer(wanted.retval)
        if wanted.delay_exit or wanted.signal:
            self._meant[call.thread] = call

    def _fail(self, call: Call) -> None:
        try:
            call.fail(self._injection.error)
        except ValueError as error:     # an errno of other systems
            self.failure = str(error)

    def after(self, call: Call) -> None:
        """Do what is to be done once it is over."""
        if self._meant.get(call.thread) is call:
            del self._meant[call.thread]
            if self._injection.signal:
                signals.send_to_thread(call.thread, signals.kernel_signal(self._injection.signal))
            if self._injection.delay_exit:
                call.delay(self._injection.delay_exit)
