"""Which calls and signals a trace shows: strace's filter expressions.

    openat,read          these calls                 %file %process %network %signal %desc %memory %creds %clock %ipc   a subject
    /^get.*id$           whose name matches          %stat %lstat %fstat %statfs %pure                              a family
    ?openat3             if there is such a call     !…                                                             all but those
    all, none, 59                                    by its number

A call's subject follows from its declaration: %file are those with a path among their arguments, %desc those with a descriptor, the
others go by the module that declares them; where strace says otherwise, so does this (`callclasses.py`).  Source: strace(1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ring3.abi.callnames import check_call_name
from ring3.abi.signals import Signal, signal_name
from ring3.calls.sysarg import CString, Descriptor
from ring3.trace.callclasses import LESS, MORE

if TYPE_CHECKING:
    from ring3.calls.syscall import Bound

_MODULES: Final[Mapping[str, frozenset[str]]] = MappingProxyType({
    "process": frozenset(("clone", "exec", "process", "wait", "lwp", "spawn")),
    "network": frozenset(("receiving", "sending", "socket")),
    "signal": frozenset(("signal", "sigframe64", "sigframe32", "context64", "context32")),
    "memory": frozenset(("memadvice", "memory", "procmem")),
    "creds": frozenset(("ids",)),
    "clock": frozenset(("time", "timer")),
    "ipc": frozenset(("sysvshm", "shm", "sem", "msg")),
})
_BY_KIND: Final = MappingProxyType({"file": CString, "desc": Descriptor})
FAMILIES: Final[Mapping[str, frozenset[str]]] = MappingProxyType({
    "stat": frozenset(("stat", "stat64", "oldstat")), "lstat": frozenset(("lstat", "lstat64", "oldlstat")),
    "fstat": frozenset(("fstat", "fstat64", "fstatat64", "newfstatat", "oldfstat", "statx")),
    "statfs": frozenset(("statfs", "statfs64", "statvfs")), "fstatfs": frozenset(("fstatfs", "fstatfs64", "fstatvfs")),
    "%stat": frozenset((
        "stat", "stat64", "oldstat", "lstat", "lstat64", "oldlstat", "fstat", "fstat64", "fstatat64", "newfstatat", "oldfstat",
        "statx",
    )),
    "%statfs": frozenset(("statfs", "statfs64", "statvfs", "fstatfs", "fstatfs64", "fstatvfs", "ustat")),
    "pure": frozenset((
        "getpid", "getppid", "gettid", "getpgrp", "getuid", "geteuid", "getgid", "getegid", "getuid32", "geteuid32", "getgid32",
        "getegid32", "get_thread_area",
    )),
})
_MOST: Final = 4096             # rows that are remembered
_OTHER_NAMES: Final = MappingProxyType({"net": "network", "clocks": "clock"})
_OLD_NAMES: Final = MappingProxyType({name: name for name in (*_MODULES, *_BY_KIND)})       # strace took them without "%" once
CLASSES: Final = tuple(f"%{name}" for name in (*_BY_KIND, *_MODULES, *FAMILIES))


def _of_class(bound: Bound, name: str) -> bool:
    if bound.name in MORE.get(name, ()) or bound.name in LESS.get(name, ()):
        return bound.name in MORE.get(name, ())
    kind = _BY_KIND.get(name)
    if kind is not None:
        return any(isinstance(found, kind) for found in bound.call.kinds.values())
    return bound.call.run.__module__.rpartition(".")[2] in _MODULES[name]


class CallSet:
    """A set of calls.  `has` remembers what it found out about each row of a table."""

    __slots__ = ("_known", "_negated", "_tests", "text")

    def __init__(self, text: str, tests: tuple[Callable[[Bound], bool], ...], *, negated: bool) -> None:
        self.text = text
        self._tests = tests
        self._negated = negated
        self._known: dict[Bound, bool] = {}

    @classmethod
    def parse(cls, text: str) -> CallSet:
        """Raises ValueError for a class or a call there is none of, and for a bad regular expression.

        >>> CallSet.parse("!%memory").text
        '!%memory'
        """
        words = text.removeprefix("!")
        if not words:
            raise ValueError("which calls? write names with commas between them, or one of " + " ".join(CLASSES))
        return cls(text, tuple(_test(word) for word in words.split(",")), negated=text.startswith("!"))

    def has(self, bound: Bound) -> bool:
        """Whether the call is meant."""
        found = self._known.get(bound)
        if found is None:
            if len(self._known) >= _MOST:           # each process with promises of its own has rows of its own
                self._known.clear()
            found = self._known[bound] = any(test(bound) for test in self._tests) != self._negated
        return found

    def __repr__(self) -> str:
        return f"<CallSet {self.text}>"


def _test(word: str) -> Callable[[Bound], bool]:
    if word == "all":
        return lambda _bound: True
    if word == "none":
        return lambda _bound: False
    if word.isdecimal() and len(word) < 10:
        number = int(word)
        return lambda bound: bound.abi.names.get(number) == bound.name
    if word.startswith("/"):
        import re
        import warnings

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")          # "[[" may mean a set of sets one day: not the user's concern
                pattern = re.compile(word[1:])
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{word}: {error}") from None
        return lambda bound: pattern.search(bound.name) is not None
    is_optional, word = word.startswith("?"), word.removeprefix("?")
    word, at, personality = word.partition("@")
    if at and personality != "64":
        raise ValueError(f"@{personality}: a program's calls are those of its instruction set; write {word} alone")
    name = word.removeprefix("%")
    name = _OTHER_NAMES.get(name, name)
    if word.startswith("%") and name in FAMILIES:
        family = FAMILIES[name]
        return lambda bound: bound.name in family
    if name in _OLD_NAMES:
        return lambda bound: _of_class(bound, name)
    if word.startswith("%"):
        raise ValueError(f"{word} is no class of calls: " + " ".join(CLASSES))
    if not is_optional:
        check_call_name(word)
    return lambda bound: bound.name == word


class SignalSet:
    """A set of signals."""

    __slots__ = ("_negated", "_numbers")

    def __init__(self, numbers: frozenset[int] | None, *, negated: bool) -> None:
        self._numbers = numbers
        self._negated = negated

    @classmethod
    def parse(cls, text: str) -> SignalSet:
        """Raises ValueError for a name that is no signal's.

        >>> SignalSet.parse("!SIGCHLD").has(17)
        False
        """
        words = text.removeprefix("!")
        if words in ("all", "none"):
            return cls(None if words == "all" else frozenset(), negated=text.startswith("!"))
        numbers = set()
        for word in words.split(","):
            name = word.upper() if word.upper().startswith("SIG") else f"SIG{word.upper()}"
            if name not in Signal.__members__:
                raise ValueError(f"{word!r} is no signal")
            numbers.add(int(Signal[name]))
        return cls(frozenset(numbers), negated=text.startswith("!"))

    def has(self, signo: int) -> bool:
        """Whether the signal is meant."""
        return (self._numbers is None or signo in self._numbers) != self._negated

    def __repr__(self) -> str:
        names = "all" if self._numbers is None else ",".join(sorted(signal_name(number) for number in self._numbers))
        return f"<SignalSet {'!' * self._negated}{names}>"
