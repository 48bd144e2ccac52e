"""Interposing: hooks that watch a call, change its result, fail it with an errno, or delay it.

A call somebody has a hook on is a row of its own in the tables of all processes; a call nobody has a hook on is served as if there
were no hooks at all.  What hooks did to a call goes with its result (`marks_of`), for whoever prints it.  Hooks are called on the
kernel's thread.  One that raises is reported and taken away, and the guest goes on.

Not here: the grammar of `--inject` (`trace/inject.py`), the face (`kernel.py`).
"""

# ruff: noqa: SLF001 - what was decided about a call is kept from its hooks, not from this module

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ring3 import errors
from ring3.calls.rewritten import RewrittenAbis
from ring3.calls.syscall import JUST_RETURN, Bound, Pair, Syscall
from ring3.errors import Errno
from ring3.namedtuple import NamedTuple
from ring3.waiting import WaitQueue, sleep_on

if TYPE_CHECKING:
    from ring3.abi.x86 import Arch
    from ring3.proc.proc import Thread
    from ring3.proc.system import System
    from ring3.protocols import Abi

EVERY = "*"             # in place of a call's name
_SECOND = 1_000_000_000
_YEAR = 366 * 86400
_WORD = 1 << 64


class Call:
    """One call of a guest, as a hook sees it: before it is served, or after.

    name: as the program's system calls it; `args`: the decoded arguments (integers, bytes for paths, flags); `pid`, `tid`: who;
    `result` and `error`: what came of it (None before, and where it does not return).

    >>> @kernel.on_syscall("openat")                # doctest: +SKIP
    ... def full(call):
    ...     if call.args[1].startswith(b"/var"):
    ...         call.fail("ENOSPC")
    """

    __slots__ = ("_delay_ns", "_marks", "_outcome", "args", "bound", "error", "result", "thread")

    def __init__(self, thread: Thread, bound: Bound, args: tuple[Any, ...]) -> None:
        self.thread = thread
        self.bound = bound
        self.args = args
        self.result: int | None = None
        self.error = ""
        self._outcome: int | Errno | None = None         # what was decided: a result or a refusal
        self._marks = Marks()
        self._delay_ns = 0

    @property
    def name(self) -> str:
        """What the program's system calls it."""
        return self.bound.name

    @property
    def pid(self) -> int:
        """The process's number."""
        return self.thread.proc.pid

    @property
    def tid(self) -> int:
        """The thread's number."""
        return self.thread.tid

    def fail(self, error: str) -> None:
        """Let it end with the errno of that name.  Before the call: it is not made.

        Raises ValueError for a name that is none, or none of the program's system.
        """
        try:
            found = errors.by_name(error)
        except (KeyError, TypeError):
            raise ValueError(f"{error!r} is no errno") from None
        if found not in self.bound.abi.errno:
            raise ValueError(f"{self.thread.proc.personality.name} has no {error}")
        self._outcome = found("injected")
        self._marks = self._marks._replace(result=True)

    def answer(self, result: int) -> None:
        """Let it end with that result.  Before the call: it is not made.  Raises ValueError for what is more than a word."""
        number = index(result)
        if not -_WORD // 2 <= number < _WORD:
            raise ValueError(f"{number:#x} is more than a word")
        self._outcome = number
        self._marks = self._marks._replace(result=True)

    def delay(self, seconds: float) -> None:
        """Let the thread sleep so long before it goes on; others go on meanwhile.  A signal ends the sleep.

        Raises ValueError for what is no time, or more than a year.
        """
        if not 0 <= float(seconds) <= _YEAR:
            raise ValueError(f"{seconds!r} is no time to sleep")
        self._delay_ns += int(seconds * _SECOND)
        self._marks = self._marks._replace(delay=True)

    def mark_memory(self) -> None:
        """What its arguments point to was changed: whoever prints the call may say so."""
        self._marks = self._marks._replace(memory=True)


class Marks(NamedTuple):
    """What hooks did to a call: to the memory its arguments point to, to its result, to its time."""

    memory: bool = False
    result: bool = False
    delay: bool = False


class Injected(int):
    """A result of a call that hooks did something to."""

    marks: Marks

    def __new__(cls, result: int, marks: Marks) -> Injected:
        made = super().__new__(cls, result)
        made.marks = marks
        return made


def marks_of(result: object) -> Marks:
    """What hooks did to the call that ended so: with a value or a refusal.

    >>> marks_of(0), marks_of(Injected(0, Marks(delay=True)))
    (Marks(memory=False, result=False, delay=False), Marks(memory=False, result=False, delay=True))
    """
    if isinstance(result, Injected):
        return result.marks
    if isinstance(result, Errno):
        return next((fact for fact in result.args if isinstance(fact, Marks)), _UNTOUCHED)
    return _UNTOUCHED


_UNTOUCHED: Final = Marks()

Hook = Callable[[Call], object]
F = TypeVar("F", bound=Callable[..., object])
FirstHook = Callable[["Thread", Bound, memoryview], object]


class Hooks(NamedTuple):
    """What is to be called before a call, and after it; `first`: before its arguments are read."""

    before: tuple[Hook, ...] = ()
    after: tuple[Hook, ...] = ()
    first: tuple[FirstHook, ...] = ()


class Interposer:
    """The hooks of one kernel.  `failed` hears of a hook that raised."""

    def __init__(self, system: System, failed: Callable[[Hook, BaseException], object]) -> None:
        self._system = system
        self._failed = failed
        self._hooks: dict[str, Hooks] = {}
        self._abis: dict[int, tuple[Mapping[Arch, Abi], RewrittenAbis]] = {}

    def add(self, name: str, hook: Hook, *, after: bool = False) -> None:
        """Call `hook` at every call of that name (`EVERY`: at all), before or after it."""
        hooks = self._hooks.get(name, Hooks())
        self._hooks[name] = hooks._replace(after=(*hooks.after, hook)) if after else hooks._replace(before=(*hooks.before, hook))
        self._refresh()

    def add_first(self, name: str, hook: FirstHook) -> None:
        """Call `hook` at every call of that name before its arguments are read, with the thread, the row and the registers."""
        hooks = self._hooks.get(name, Hooks())
        self._hooks[name] = hooks._replace(first=(*hooks.first, hook))
        self._refresh()

    def remove(self, hook: Callable[..., object]) -> None:
        """Call it no more."""
        for name, hooks in tuple(self._hooks.items()):
            left = Hooks(_without(hook, hooks.before), _without(hook, hooks.after), _without(hook, hooks.first))
            if left != Hooks():
                self._hooks[name] = left
            else:
                del self._hooks[name]
        self._refresh()

    def _refresh(self) -> None:
        """Every process gets tables as the hooks are now."""
        self._abis = {}
        self._system.interpose = self.abis if self._hooks else None
        for p in self._system.procs.values():
            if p is not self._system.init:
                p.personality = p.personality

    def abis(self, own: Mapping[Arch, Abi]) -> Mapping[Arch, Abi]:
        """The tables of `own` with the hooked calls in them."""
        found = self._abis.get(id(own))
        if found is None:
            found = self._abis[id(own)] = own, RewrittenAbis(own, self._row)
        return found[1]

    def _row(self, bound: Bound) -> Bound:
        named, every = self._hooks.get(bound.name, Hooks()), self._hooks.get(EVERY, Hooks())
        hooks = Hooks(named.before + every.before, named.after + every.after, named.first + every.first)
        if hooks == Hooks() or bound.leads_on:
            return bound
        row = bound.serving(self._hooked(bound, hooks)) if hooks.before or hooks.after else bound
        return _Announced(row, bound, partial(self._tell, hooks.first)) if hooks.first else row

    def _hooked(self, bound: Bound, hooks: Hooks) -> Syscall:
        run = bound.call.run

        def hooked(t: Thread, *args: Any) -> Any:
            call = Call(t, bound, args)
            self._tell(hooks.before, call)
            return self._later(call, run, hooks.after) if call._delay_ns else self._now(call, run, hooks.after)

        return bound.call.like(hooked)

    def _now(self, call: Call, run: Callable[..., Any], after: tuple[Hook, ...]) -> Any:
        """Serve the call, unless that was decided, and show what came of it.  A coroutine where that may sleep."""
        if call._outcome is None:
            try:
                result = run(call.thread, *call.args)
            except Errno as refusal:
                call._outcome = refusal
            else:
                if result == JUST_RETURN or not (after or any(call._marks)):
                    return result
                if not isinstance(result, int):
                    return self._awaited(call, result, after)
                call._outcome = result
        return self._shown(call, after)

    async def _awaited(self, call: Call, sleeping: Any, after: tuple[Hook, ...]) -> Any:
        try:
            call._outcome = await sleeping
        except Errno as refusal:
            call._outcome = refusal
        answer = self._shown(call, after)
        return answer if isinstance(answer, int) else await answer

    async def _later(self, call: Call, run: Callable[..., Any], after: tuple[Hook, ...]) -> Any:
        await _sleep(call)
        answer = self._now(call, run, after)
        return answer if isinstance(answer, int) else await answer

    def _shown(self, call: Call, after: tuple[Hook, ...]) -> Any:
        """Show an outcome to the hooks; what they leave of it.  A coroutine where they want a delay."""
        outcome = call._outcome
        if isinstance(outcome, Errno):
            call.error = outcome.name
        else:
            call.result = outcome
        self._tell(after, call)
        if call._delay_ns:
            return _end_later(call)
        return _answer(call)

    def _tell(self, hooks: tuple[Callable[..., object], ...], *facts: object) -> None:
        for hook in hooks:
            try:
                hook(*facts)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - somebody else's code must not end the run
                self.remove(hook)
                self._failed(hook, error)


def _without(hook: Callable[..., object], hooks: tuple[F, ...]) -> tuple[F, ...]:
    return tuple(known for known in hooks if known is not hook)


class _Announced(Bound):
    """A row that tells somebody before its arguments are read."""

    __slots__ = ("_own", "_row", "_tell")

    def __init__(self, row: Bound, own: Bound, tell: Callable[[Thread, Bound, memoryview], None]) -> None:
        super().__init__(row.call, row.abi, row.name, row.pads)
        self._row = row
        self._own = own
        self._tell = tell
        self.invoke = self._invoke

    def _invoke(self, t: Thread, regs: memoryview) -> Any:
        self._tell(t, self._own, regs)
        return self._row.invoke(t, regs)

    def resolve(self, t: Thread, regs: memoryview) -> Bound:
        """While somebody watches the parts of a call are made one by one, and this is the first."""
        self._tell(t, self._own, regs)
        found = self._row.resolve(t, regs)
        return self if found is self._row else found


def _answer(call: Call) -> int:
    """What the call ends with.  Raises the refusal."""
    outcome, marks = call._outcome, call._marks
    assert outcome is not None
    if isinstance(outcome, Errno):
        if any(marks):
            outcome.args = (outcome.reason or "", marks)
        raise outcome
    return Injected(outcome, marks) if any(marks) and not isinstance(outcome, Pair) else outcome


async def _end_later(call: Call) -> int:
    await _sleep(call)
    return _answer(call)


async def _sleep(call: Call) -> None:
    delay, call._delay_ns = call._delay_ns, 0
    if delay > 0:
        await sleep_on(WaitQueue(), deadline_ns=call.thread.system.now_ns() + delay)
