"""Interposing: hooks that watch a call, change its result, fail it with an errno, or delay it.

A call somebody has a hook on is a row of its own in the tables of all processes; a call nobody has a hook on is served as if there
were no hooks at all.  Hooks are called on the kernel's thread.  One that raises is reported and taken away, and the guest goes on.

Not here: the grammar of `--inject` (`trace/inject.py`), the face (`kernel.py`).
"""

# ruff: noqa: SLF001 - what was decided about a call is kept from its hooks, not from this module

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import index
from typing import TYPE_CHECKING, Any, NamedTuple

from ring3 import errors
from ring3.calls.rewritten import RewrittenAbis
from ring3.calls.syscall import JUST_RETURN, Bound, Syscall
from ring3.errors import Errno
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

    __slots__ = ("_delay_ns", "_outcome", "args", "bound", "error", "result", "thread")

    def __init__(self, thread: Thread, bound: Bound, args: tuple[Any, ...]) -> None:
        self.thread = thread
        self.bound = bound
        self.args = args
        self.result: int | None = None
        self.error = ""
        self._outcome: int | Errno | None = None         # what was decided: a result or a refusal
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

    def answer(self, result: int) -> None:
        """Let it end with that result.  Before the call: it is not made.  Raises ValueError for what is more than a word."""
        number = index(result)
        if not -_WORD // 2 <= number < _WORD:
            raise ValueError(f"{number:#x} is more than a word")
        self._outcome = Injected(number)

    def delay(self, seconds: float) -> None:
        """Let the thread sleep so long before it goes on; others go on meanwhile.  A signal ends the sleep.

        Raises ValueError for what is no time, or more than a year.
        """
        if not 0 <= float(seconds) <= _YEAR:
            raise ValueError(f"{seconds!r} is no time to sleep")
        self._delay_ns += int(seconds * _SECOND)


class Injected(int):
    """A result that a hook gave, and no call."""


Hook = Callable[[Call], object]


class Hooks(NamedTuple):
    """What is to be called before a call and after it."""

    before: tuple[Hook, ...] = ()
    after: tuple[Hook, ...] = ()


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

    def remove(self, hook: Hook) -> None:
        """Call it no more."""
        for name, hooks in tuple(self._hooks.items()):
            left = Hooks(tuple(h for h in hooks.before if h is not hook), tuple(h for h in hooks.after if h is not hook))
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
        hooks = Hooks(named.before + every.before, named.after + every.after)
        if hooks == Hooks() or bound.leads_on:
            return bound
        return bound.serving(self._hooked(bound, hooks))

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
                if not after or result == JUST_RETURN:
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

    def _tell(self, hooks: tuple[Hook, ...], call: Call) -> None:
        for hook in hooks:
            try:
                hook(call)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - somebody else's code must not end the run
                self.remove(hook)
                self._failed(hook, error)


def _answer(call: Call) -> int:
    """What the call ends with.  Raises the refusal."""
    outcome = call._outcome
    assert outcome is not None
    if isinstance(outcome, Errno):
        raise outcome
    return outcome


async def _end_later(call: Call) -> int:
    await _sleep(call)
    return _answer(call)


async def _sleep(call: Call) -> None:
    delay, call._delay_ns = call._delay_ns, 0
    if delay > 0:
        await sleep_on(WaitQueue(), deadline_ns=call.thread.system.now_ns() + delay)
