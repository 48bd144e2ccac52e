"""`--inject`: strace's grammar of injections, and the hooks they become.

    openat:ENOSPC                        every openat fails; error=28 is the same
    openat:ENOSPC:when=3+2               the third, the fifth, the seventh …
    write,pwrite64:error=EIO:when=2..4
    read:retval=0:delay_enter=1500       microseconds, or with a unit: 10ms, 2s
    read:poke_exit=@arg2=68690a          bytes to where the second argument points; poke_enter= before the call is made
    getppid:signal=SIGUSR1:when=1

Calls are named as the program's system names them, in sets as `ring3 trace -e` has them (`%file`, `/regex`, `!`).  Each thread
counts its calls of each name; where several injections have a call among theirs, the last one holds.  Source: strace(1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ring3 import errors
from ring3.abi.signals import NSIG, signal_name
from ring3.errors import EFAULT, Errno
from ring3.namedtuple import NamedTuple
from ring3.proc import signals
from ring3.proc.proc import ThreadState
from ring3.trace.filter import FAMILIES, CallSet

if TYPE_CHECKING:
    from ring3.calls.interpose import Call
    from ring3.proc.proc import Thread
    from ring3.vm.vmspace import VMSpace

_UNITS: Final = {"": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1.0, "ns": 1e-9}
_MOST_ARGUMENTS: Final = 7
_MOST_FAILURES: Final = 20      # that are told
_MOST_COUNTED: Final = 65535
_FOR_EVER: Final = (1 << 63) - 1
_FEW: Final = 64


class When(NamedTuple):
    """Which calls of a set: from `first` to `last`, every `step`-th (0: the first only)."""

    first: int = 1
    last: int = _FOR_EVER
    step: int = 1

    def holds(self, count: int) -> bool:
        """Whether the `count`-th call is meant.

        >>> [n for n in range(1, 9) if When(3, step=2).holds(n)]
        [3, 5, 7]
        """
        if not self.first <= count <= self.last:
            return False
        return (count - self.first) % self.step == 0 if self.step else count == self.first


Poke = tuple[int, bytes]


class Injection(NamedTuple):
    """One `--inject`.  Delays in seconds; pokes are the number of an argument, from 1, and what is written to where it points."""

    calls: CallSet
    when: When
    error: str = ""
    retval: int | None = None
    signal: int = 0
    delay_enter: float | None = None
    delay_exit: float | None = None
    poke_enter: tuple[Poke, ...] = ()
    poke_exit: tuple[Poke, ...] = ()


def parse_injection(text: str, otherwise: str = "") -> Injection:
    """`otherwise`: the errno of one that says nothing else (strace's `fault=`).  Raises ValueError that says what is wrong.

    >>> parse_injection("openat:ENOSPC:when=3+2").when
    When(first=3, last=9223372036854775807, step=2)
    """
    head, *words = text.split(":")
    if not head or not (words or otherwise):
        raise ValueError("write CALLS:ERRNO[:when=FIRST[..LAST][+STEP]], such as openat:ENOSPC:when=3+2")
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            key, value = "error", word
        if key not in _PARSERS:
            raise ValueError(f"{word!r}: write {_WHAT}, syscall= or when=")
        if key in found and key != "when":          # of which the last one holds
            raise ValueError(f"{key} stands twice")
        found[key] = _PARSERS[key](value)
    if otherwise and not found.keys() & {"error", "retval"}:
        found["error"] = otherwise
    found.pop("syscall", None)          # the call that strace makes in the place of one that is to fail; here none is made
    if set(found) <= {"when"}:
        raise ValueError(f"what is to be injected? write {_WHAT}")
    if "error" in found and "retval" in found:
        raise ValueError("a call either fails or has a result")
    return Injection(CallSet.parse(head), found.pop("when", When()), **found)


def _errno(text: str) -> str:
    """An errno's name, or Linux's number of it."""
    if text.isdecimal() and len(text) <= 4:
        from errno import errorcode

        text = errorcode.get(int(text), text)
    try:
        errors.by_name(text.upper())
    except KeyError:
        raise ValueError(f"{text!r} is no errno") from None
    return text.upper()


def _signal(text: str) -> int:
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    found = next((signo for signo in range(1, NSIG + 1) if signal_name(signo) == name or str(signo) == text), 0)
    if not found:
        raise ValueError(f"{text!r} is no signal")
    return found


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
        seconds = -1.0
    if unit is None or not 0 <= seconds <= 86400:
        raise ValueError(f"{text!r}: write a number of microseconds, or one with a unit: 10ms, 2s")
    return seconds


def _pokes(text: str) -> tuple[Poke, ...]:
    """@argN=HEX,@argM=HEX"""
    found: dict[int, bytes] = {}
    for word in text.split(","):
        name, _, data = word.partition("=")
        number = name.removeprefix("@arg")
        if number == name or number not in map(str, range(1, _MOST_ARGUMENTS + 1)):
            raise ValueError(f"{word!r}: write @argN=HEX, N from 1 to {_MOST_ARGUMENTS}, such as @arg2=68690a")
        if not data or len(data) % 2 or not set(data) <= _HEX_DIGITS:
            raise ValueError(f"{word!r}: the bytes are pairs of hexadecimal digits, such as @arg2=68690a")
        if int(number) in found:
            raise ValueError(f"@arg{number} stands twice")
        found[int(number)] = bytes.fromhex(data)
    return tuple(found.items())


def _pure(text: str) -> str:
    if text not in FAMILIES["pure"]:
        raise ValueError(f"syscall={text}: only a call that does nothing but answer stands in for another: getpid, getuid, ...")
    return text


def _when(text: str) -> When:
    """FIRST[..LAST][+[STEP]]"""
    span, plus, step_text = text.partition("+")
    first_text, dots, last_text = span.partition("..")
    first = _positive(first_text)
    last = _positive(last_text) if dots else _FOR_EVER
    if last < first:
        raise ValueError(f"when={text}: the last comes before the first")
    if plus:
        return When(first, last, _positive(step_text) if step_text else 1)
    return When(first, last, 1) if dots else When(first, first, 0)


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_COUNTED:
        raise ValueError(f"{text!r}: write a number from 1 to {_MOST_COUNTED}")
    return int(text)


_HEX_DIGITS: Final = frozenset("0123456789abcdefABCDEF")
_PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    "error": _errno, "retval": _number, "signal": _signal, "delay_enter": _duration, "delay_exit": _duration,
    "poke_enter": _pokes, "poke_exit": _pokes, "syscall": _pure, "when": _when,
}
_WHAT: Final = "an errno, " + ", ".join(f"{key}=" for key in _PARSERS if key not in ("error", "syscall", "when"))


class Injector:
    """Injections of one run, for an `Interposer`: of those that a call is among, the last one holds."""

    def __init__(self, *injections: Injection) -> None:
        self._injections = injections
        self.failures: dict[str, None] = {}     # what could not be injected, and why
        self._counts: dict[Thread, dict[str, int]] = {}
        self._most = _FEW

    def meets(self, call: Call) -> Tampering | None:
        """Count the call, and change what its arguments point to."""
        wanted = next((one for one in reversed(self._injections) if one.calls.has(call.bound)), None)
        if wanted is None or not wanted.when.holds(self._count(call)):
            return None
        found = Tampering(wanted, self.failures)
        found.poke(call, wanted.poke_enter)
        return found

    def _count(self, call: Call) -> int:
        """The how-manieth of its name it is in its thread; threads that ended are forgotten from time to time."""
        counts = self._counts.get(call.thread)
        if counts is None:
            if len(self._counts) >= self._most:
                self._counts = {t: known for t, known in self._counts.items() if t.state is not ThreadState.DEAD}
                self._most = 2 * len(self._counts) + _FEW
            counts = self._counts[call.thread] = {}
        count = counts[call.name] = counts.get(call.name, 0) + 1
        return count


class Tampering:
    """What one injection does to a call."""

    __slots__ = ("_failures", "_injection")

    def __init__(self, injection: Injection, failures: dict[str, None]) -> None:
        self._injection = injection
        self._failures = failures

    def before(self, call: Call) -> None:
        """Do to it what is to be done before it."""
        wanted = self._injection
        if wanted.delay_enter is not None:
            call.delay(wanted.delay_enter)
        if wanted.error:
            self._fail(call)
        elif wanted.retval is not None:
            call.answer(wanted.retval)

    def _fail(self, call: Call) -> None:
        try:
            call.fail(self._injection.error)
        except ValueError as error:     # an errno of other systems
            self._failed(f"{error}, so nothing was injected there")

    def after(self, call: Call) -> None:
        """Do what is to be done once it is over."""
        wanted = self._injection
        self.poke(call, wanted.poke_exit)
        if wanted.signal:
            signals.send_behind_call(call.thread, signals.kernel_signal(wanted.signal))
        if wanted.delay_exit is not None:
            call.delay(wanted.delay_exit)

    def poke(self, call: Call, pokes: tuple[Poke, ...]) -> None:
        """Write to where its arguments point."""
        t, bound = call.thread, call.bound
        for number, data in pokes:
            if number > len(bound.decoders):
                self._failed(f"{bound.name} takes no argument {number}, so nothing was written there")
                continue
            try:
                _write(t.proc.vm, bound.word(t, t.cpu.regs, number - 1), data)
            except Errno:
                self._failed(f"{bound.name}: what argument {number} points to cannot be written, so it was left as it is")
            else:
                call.mark_memory()

    def _failed(self, reason: str) -> None:
        if len(self._failures) < _MOST_FAILURES:
            self._failures[reason] = None


def _write(vm: VMSpace, addr: int, data: bytes) -> None:
    """Write, whatever the protection, where memory is the process's own.  Raises EFAULT, also for what is shared and read-only."""
    at, end = addr, addr + len(data)
    while at < end:
        region = vm.find(at)
        if region is None or region.shared:
            vm.check_writable(at, end - at)
            break
        at = region.end
    try:
        written = vm.machine.write(addr, data)
    except (OSError, ValueError) as error:
        raise EFAULT from error
    if written != len(data):
        raise EFAULT
