"""Interposing: hooks that watch a call, change its result, fail it with an errno, or delay it.

A call somebody has a hook on is a row of its own in the tables of all processes; a call nobody has a hook on is served as if there
were no hooks at all.  What hooks did to a call goes with its result (`marks_of`), for whoever prints it.  Hooks are called on the
kernel's thread.  One that raises is reported and taken away, and the guest goes on.

Not here: the grammar of `--inject` (`trace/inject.py`), the face (`kernel.py`).
"""

# ruff: noqa: SLF001 - what was decided about a call is kept from its hooks, not from this module

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import index
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from weakref import WeakValueDictionary

from ring3 import errors
from ring3.abi.x86 import RAX
from ring3.calls.rewritten import RewrittenAbis
from ring3.calls.syscall import JUST_RETURN, Bound, Pair
from ring3.errors import Errno
from ring3.namedtuple import NamedTuple
from ring3.proc.proc import ThreadState
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
    `result` and `error`: what came of it; None and "" before.  Hooks behind a call that does not return are not called.

    >>> @kernel.on_syscall("openat")                # doctest: +SKIP
    ... def full(call):
    ...     if call.args[1].startswith(b"/var"):
    ...         call.fail("ENOSPC")
    """

    __slots__ = ("_delay_ns", "_marks", "_outcome", "_tamperings", "args", "bound", "error", "result", "thread")

    def __init__(self, thread: Thread, bound: Bound, args: tuple[Any, ...]) -> None:
        self.thread = thread
        self.bound = bound
        self.args = args
        self.result: int | None = None
        self.error = ""
        self._outcome: int | Errno | None = None         # what was decided: a result or a refusal
        self._marks = Marks()
        self._tamperings: tuple[Tampering, ...] = ()     # what injectors do to it
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
        self._decide(found("injected"))

    def answer(self, result: int) -> None:
        """Let it end with that result.  Before the call: it is not made.  Raises ValueError for what is more than a word."""
        number = index(result)
        if not -_WORD // 2 <= number < _WORD:
            raise ValueError(f"{number:#x} is more than a word")
        self._decide(number)

    def _decide(self, outcome: int | Errno) -> None:
        self._outcome = outcome
        self._marks = self._marks._replace(result=True)
        if self.error or self.result is not None:       # it is over: the next hook sees what this one made of it
            self.tell_outcome()

    def tell_outcome(self) -> None:
        """It is over: `result` and `error` say how."""
        outcome = self._outcome
        self.result, self.error = (None, outcome.name) if isinstance(outcome, Errno) else (outcome, "")

    def delay(self, seconds: float) -> None:
        """Let the thread sleep so long before it goes on; others go on meanwhile.  A signal waits until then, but for a fatal one.

        Raises ValueError for what is no time, or more than a year.
        """
        try:
            ns = int(float(seconds) * _SECOND)
        except (OverflowError, ValueError):
            ns = -1
        if not 0 <= ns <= _YEAR * _SECOND:
            raise ValueError(f"{seconds!r:.40} is no time to sleep")
        self._delay_ns += ns
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


class InjectedPair(Pair):
    """One of two words."""

    marks: Marks


def marks_of(result: object) -> Marks:
    """What hooks did to the call that ended so: with a value or a refusal.

    >>> marks_of(0), marks_of(Injected(0, Marks(delay=True)))
    (Marks(memory=False, result=False, delay=False), Marks(memory=False, result=False, delay=True))
    """
    if isinstance(result, Injected | InjectedPair):
        return result.marks
    if isinstance(result, Errno):
        return next((fact for fact in result.args if isinstance(fact, Marks)), _UNTOUCHED)
    return _UNTOUCHED


_UNTOUCHED: Final = Marks()

Hook = Callable[[Call], object]
F = TypeVar("F")


class Injector(Protocol):
    """Who does something to some calls, of whatever name, and to others nothing (`trace/inject.py`)."""

    def meets(self, call: Call) -> Tampering | None:
        """Who does something to this call; asked once for each, before its arguments are read."""


class Tampering(Protocol):
    """What is done to one call."""

    def before(self, call: Call) -> None:
        """The call is about to be made, or to be refused because its arguments cannot be read."""

    def after(self, call: Call) -> None:
        """It is over."""


class Hooks(NamedTuple):
    """What is to be called before a call, and after it."""

    before: tuple[Hook, ...] = ()
    after: tuple[Hook, ...] = ()


class Interposer:
    """The hooks of one kernel.  `failed` hears of a hook that raised."""

    def __init__(self, system: System, failed: Callable[[Hook, BaseException], object]) -> None:
        self._system = system
        self._failed = failed
        self._hooks: dict[str, Hooks] = {}
        self._injectors: tuple[Injector, ...] = ()
        self._abis = WeakValueDictionary[int, RewrittenAbis]()      # by the identity of the tables underneath, which they hold

    def add(self, name: str, hook: Hook, *, after: bool = False) -> None:
        """Call `hook` at every call of that name (`EVERY`: at all), before or after it."""
        hooks = self._hooks.get(name, Hooks())
        self._hooks[name] = hooks._replace(after=(*hooks.after, hook)) if after else hooks._replace(before=(*hooks.before, hook))
        self._refresh()

    def inject(self, injector: Injector) -> None:
        """Ask `injector` about every call."""
        self._injectors = (*self._injectors, injector)
        self._refresh()

    def remove(self, hook: object) -> None:
        """Call it no more: a hook or an injector."""
        self._injectors = _without(hook, self._injectors)
        for name, hooks in tuple(self._hooks.items()):
            left = Hooks(_without(hook, hooks.before), _without(hook, hooks.after))
            if left != Hooks():
                self._hooks[name] = left
            else:
                del self._hooks[name]
        self._refresh()

    def _refresh(self) -> None:
        """Every process gets tables as the hooks are now."""
        self._abis = WeakValueDictionary()
        self._system.interpose = self.abis if self._hooks or self._injectors else None
        for p in self._system.procs.values():
            if p is not self._system.init:
                p.personality = p.personality

    def abis(self, own: Mapping[Arch, Abi]) -> Mapping[Arch, Abi]:
        """The tables of `own` with the hooked calls in them."""
        found = self._abis.get(id(own))
        if found is None:
            found = self._abis[id(own)] = RewrittenAbis(own, self._row)
        return found

    def _row(self, bound: Bound) -> Bound:
        named, every = self._hooks.get(bound.name, Hooks()), self._hooks.get(EVERY, Hooks())
        hooks = Hooks(named.before + every.before, named.after + every.after)
        if bound.leads_on or not (self._injectors or any(hooks)):
            return bound
        return _Interposed(bound, hooks, self._injectors, self)

    def begin(self, t: Thread, bound: Bound, injectors: tuple[Injector, ...]) -> Call:
        """A call that is made now, and who of them means it."""
        call = Call(t, bound, ())
        met = []
        for injector in injectors:
            try:
                tampering = injector.meets(call)
                if tampering is not None:
                    met.append(tampering)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - as for hooks
                self._drop(injector, error)
        call._tamperings = tuple(met)
        return call

    def refuse(self, call: Call, refusal: Errno) -> Any:
        """What becomes of a call whose arguments cannot be read: hooks of Python, which look at them, are not called."""
        if not call._tamperings:
            raise refusal
        call._outcome = refusal
        return self.serve(call, Hooks())

    def serve(self, call: Call, hooks: Hooks) -> Any:
        """Make the call, with all that is called before and after it."""
        before = (*(tampering.before for tampering in call._tamperings), *hooks.before)
        after = (*(tampering.after for tampering in call._tamperings), *hooks.after)
        self._tell(before, call)
        run = call.bound.call.run
        return self._later(call, run, after) if call._delay_ns else self._now(call, run, after)

    def _now(self, call: Call, run: Callable[..., Any], after: tuple[Hook, ...]) -> Any:
        """Serve the call, unless that was decided, and show what came of it.  A coroutine where that may sleep."""
        if call._outcome is None:
            try:
                result = run(call.thread, *call.args)
            except Errno as refusal:
                call._outcome = refusal
            else:
                if result == JUST_RETURN:
                    return self._replaced(call, after)
                if not (after or any(call._marks)):
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
        answer = self._replaced(call, after) if call._outcome == JUST_RETURN else self._shown(call, after)
        return answer if isinstance(answer, int) else await answer

    async def _later(self, call: Call, run: Callable[..., Any], after: tuple[Hook, ...]) -> Any:
        await _sleep(call)
        answer = self._now(call, run, after)
        return answer if isinstance(answer, int) else await answer

    def _replaced(self, call: Call, after: tuple[Hook, ...]) -> Any:
        """The call set the registers itself (execve, sigreturn): hooks see what stands there, and cannot change it any more."""
        if call.thread.state is not ThreadState.DEAD:
            call.result = call.thread.cpu.regs[RAX]
            self._tell(after, call)
            if call._delay_ns:
                return _go_on_later(call)
        return JUST_RETURN

    def _shown(self, call: Call, after: tuple[Hook, ...]) -> Any:
        """Show an outcome to the hooks; what they leave of it.  A coroutine where they want a delay."""
        call.tell_outcome()
        self._tell(after, call)
        if call._delay_ns:
            return _end_later(call)
        return _answer(call)

    def _tell(self, hooks: tuple[Hook, ...], call: Call) -> None:
        for hook in hooks:
            try:
                hook(call)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - somebody else's code must not end the run
                self._drop(hook, error)

    def _drop(self, hook: Any, error: BaseException) -> None:
        self.remove(hook)
        self._failed(hook, error)


def _without(hook: object, hooks: tuple[F, ...]) -> tuple[F, ...]:
    return tuple(known for known in hooks if known is not hook)


class _Interposed(Bound):
    """A row with hooks or injectors."""

    __slots__ = ("_begun", "_hooks", "_injectors", "_interposer", "_own")

    def __init__(self, own: Bound, hooks: Hooks, injectors: tuple[Injector, ...], interposer: Interposer) -> None:
        super().__init__(own.call.like(self._run), own.abi, own.name, own.pads)
        self._own = own
        self._hooks = hooks
        self._injectors = injectors
        self._interposer = interposer
        self._begun: Call | None = None     # between the reading of its arguments and its being made: nothing comes between
        self.invoke = self._invoke

    def resolve(self, t: Thread, regs: memoryview) -> Bound:
        """What the row itself resolves to, where that is another call."""
        found = self._own.resolve(t, regs)
        return self if found is self._own else found

    def moved(self, pads: tuple[int, ...]) -> Bound:
        """With its hooks."""
        return _Interposed(self._own.moved(pads), self._hooks, self._injectors, self._interposer)

    def begin(self, t: Thread, regs: memoryview) -> tuple[Any, ...]:
        """Whoever injects something is asked first."""
        self._begun = call = self._interposer.begin(t, self._own, self._injectors)
        call.args = super().begin(t, regs)
        return call.args

    def unread(self, t: Thread, refusal: Errno) -> Any:
        """A refusal, or what is injected in its place."""
        call, self._begun = self._begun, None
        if call is None or call.thread is not t:
            raise refusal
        return self._interposer.refuse(call, refusal)

    def _invoke(self, t: Thread, regs: memoryview) -> Any:
        found = self.resolve(t, regs)
        if found is not self:
            return found.invoke(t, regs)
        try:
            args = self.begin(t, regs)
        except Errno as refusal:
            return self.unread(t, refusal)
        return self._run(t, *args)

    def _run(self, t: Thread, *args: Any) -> Any:
        call, self._begun = self._begun, None
        if call is None or call.thread is not t:
            call = Call(t, self._own, args)
        return self._interposer.serve(call, self._hooks)


def _answer(call: Call) -> int:
    """What the call ends with.  Raises the refusal."""
    outcome, marks = call._outcome, call._marks
    assert outcome is not None
    if isinstance(outcome, Errno):
        if any(marks):
            outcome.args = (outcome.reason or "", marks)
        raise outcome
    if not any(marks):
        return outcome
    if isinstance(outcome, Pair):
        pair = InjectedPair(outcome, outcome.second)
        pair.marks = marks
        return pair
    return Injected(outcome, marks)


async def _go_on_later(call: Call) -> int:
    await _sleep(call)
    return JUST_RETURN


async def _end_later(call: Call) -> int:
    await _sleep(call)
    return _answer(call)


async def _sleep(call: Call) -> None:
    """Signals wait, so that a call is made once; the next sleep meets them."""
    delay, call._delay_ns = call._delay_ns, 0
    if delay > 0:
        await sleep_on(WaitQueue(), deadline_ns=call.thread.system.now_ns() + delay, killable=True)
