"""A system call, declared once: a typed function becomes dispatch, printing, promises and documentation.

    @syscall(pledge="stdio")
    def sys_getppid(t: Thread) -> int:
        \"\"\"The parent's process id.\"\"\"

A call that may sleep is an `async def`.  `Syscall` is what the decorator makes; `bind` ties it to one instruction set.  Annotations
are looked at when a call is first made, not at import: a table of 300 rows costs nothing until used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import count
from struct import Struct
from typing import Any, Final, get_type_hints

from ring3.abi.x86 import NREGS, RSP
from ring3.calls.sysarg import Decoder, Kind
from ring3.errors import ENOSYS, Errno
from ring3.proc.proc import Thread
from ring3.protocols import Abi

JUST_RETURN: Final = 1 << 70       # a result that is none: the call set the registers itself (execve, sigreturn)


class Pair(int):
    """A result of two words (BSD's fork, pipe, getpid): the integer itself is the first.  A system with one result register loses
    the second.
    """

    second: int

    def __new__(cls, first: int, second: int) -> Pair:
        pair = super().__new__(cls, first)
        pair.second = second
        return pair


class Syscall:
    """One declaration.  `run` is the function itself: call it directly in unit tests."""

    __slots__ = ("_kinds", "doc", "name", "promises", "run")

    def __init__(self, run: Callable[..., Any], promises: frozenset[str], *, name: str | None = None) -> None:
        self.run = run
        self.name = name or run.__name__.removeprefix("sys_")
        self.doc = (run.__doc__ or "").strip()
        self.promises = promises
        self._kinds: dict[str, Kind] | None = None

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """Argument name to its `Kind`, in order.  Raises TypeError for a parameter without one."""
        if self._kinds is None:
            hints = get_type_hints(self.run, include_extras=True)
            hints.pop("return", None)
            names = list(hints)[1:]              # the first parameter is the thread
            kinds = {}
            for name in names:
                found = [m for m in getattr(hints[name], "__metadata__", ()) if isinstance(m, Kind)]
                if len(found) != 1:
                    raise TypeError(f"{self.run.__name__}: parameter {name} has no Kind")
                kinds[name] = found[0]
            self._kinds = kinds
        return self._kinds

    def like(self, run: Callable[..., Any]) -> Syscall:
        """The same declaration with another function, which takes the same arguments."""
        other = Syscall(run, self.promises, name=self.name)
        other.doc, other._kinds = self.doc, dict(self.kinds)
        return other

    def bind(self, abi: Abi, name: str | None = None) -> Bound:
        """The row of one table."""
        return Bound(self, abi, name or self.name)

    def __repr__(self) -> str:
        return f"<Syscall {self.name}>"


def syscall(*, pledge: str) -> Callable[[Callable[..., Any]], Syscall]:
    """Declare a system call; `pledge` names the promises any of which allows it ("": none is needed; "root": no promise allows it).

    What its arguments need beyond that, the call asks for itself (`policy.confinement.ask`).
    """

    def declare(run: Callable[..., Any]) -> Syscall:
        return Syscall(run, frozenset(pledge.split()))

    return declare


class Bound:
    """A call as one instruction set makes it.  `invoke(t, regs)` decodes and runs; compiled at the first call."""

    __slots__ = ("_decoders", "_stack", "abi", "call", "invoke", "name", "pads")

    leads_on = False        # whether it only names the call that is made (BSD's syscall(2)): `resolve` and `over` say which

    def __init__(self, call: Syscall, abi: Abi, name: str, pads: tuple[int, ...] | None = None) -> None:
        self.call = call
        self.abi = abi
        self.name = name
        self.pads = abi.pads.get(name, ()) if pads is None else pads
        self._stack: Struct | None = None        # the words of the guest's stack that are arguments
        self._decoders: list[tuple[Decoder, int, int]] | None = None
        self.invoke: Callable[[Thread, memoryview], Any] = self._first

    def _first(self, t: Thread, regs: memoryview) -> Any:
        self.invoke = self._compile()
        return self.invoke(t, regs)

    def resolve(self, t: Thread, regs: memoryview) -> Bound:
        """The call that is really made: another one where this one only names it (BSD's syscall(2))."""
        del t, regs
        return self

    def over(self, table: Mapping[int, Bound]) -> Bound:
        """The same row of another table: another one where it leads on to rows of its table."""
        del table
        return self

    def moved(self, pads: tuple[int, ...]) -> Bound:
        """The same row for arguments that stand elsewhere."""
        return Bound(self.call, self.abi, self.name, pads)

    def begin(self, t: Thread, regs: memoryview) -> tuple[Any, ...]:
        """The arguments of a call that is made now, for who makes its parts one by one: then `call.run`.  Raises as `decode`."""
        return self.decode(t, regs)

    def unread(self, t: Thread, refusal: Errno) -> Any:
        """What becomes of a call whose arguments cannot be read.  Raises the refusal."""
        del t
        raise refusal

    def serving(self, call: Syscall) -> Bound:
        """A row in this one's place for another declaration, with the same arguments or none."""
        return Bound(call, self.abi, self.name, self.pads)

    @property
    def decoders(self) -> list[tuple[Decoder, int, int]]:
        """(decoder, place, place of the upper half or -1) of each argument: a register, or NREGS and more on the stack.

        Raises TypeError for a call of more arguments than the instruction set carries.
        """
        if self._decoders is None:
            places = self._places()
            split = self.abi.word_size == 4
            self._decoders = [
                (kind.compile(self.abi), next(places), next(places) if kind.wide and split else -1)
                for kind in self.call.kinds.values()
            ]
            last = max((max(low, high) for _, low, high in self._decoders), default=0)
            if last >= NREGS:
                self._stack = Struct(f"<{last - NREGS + 1}{'Q' if self.abi.word_size == 8 else 'I'}")
        return self._decoders

    def _places(self) -> Iterator[int]:
        """Where the arguments stand, in order, without the places that mean nothing."""
        for position, register in enumerate(self.abi.argument_registers):
            if position not in self.pads:
                yield register
        if self.abi.argument_stack is None:
            raise TypeError(f"{self.name}: more arguments than registers")
        used = len(self.abi.argument_registers)
        for place in count(NREGS):
            if place - NREGS + used not in self.pads:
                yield place

    def _compile(self) -> Callable[[Thread, memoryview], Any]:
        run = self.call.run
        decoders = self.decoders
        if self.abi.word_size == 8 and self._stack is None:
            d = [decoder for decoder, _, _ in decoders]
            r = [register for _, register, _ in decoders]
            match len(d):
                case 0:
                    return lambda t, _regs: run(t)
                case 1:
                    d0, r0 = d[0], r[0]
                    return lambda t, regs: run(t, d0(t, regs[r0]))
                case 2:
                    (d0, d1), (r0, r1) = d, r
                    return lambda t, regs: run(t, d0(t, regs[r0]), d1(t, regs[r1]))
                case 3:
                    (d0, d1, d2), (r0, r1, r2) = d, r
                    return lambda t, regs: run(t, d0(t, regs[r0]), d1(t, regs[r1]), d2(t, regs[r2]))
        return lambda t, regs: run(t, *self.decode(t, regs))

    def decode(self, t: Thread, regs: memoryview) -> tuple[Any, ...]:
        """The arguments.  Raises EFAULT, ENAMETOOLONG."""
        decoders = self.decoders
        words: Sequence[int] = regs if self._stack is None else (*regs, *self._stack_words(t, regs))
        if self.abi.word_size == 8:
            return tuple([decoder(t, words[place]) for decoder, place, _ in decoders])
        mask = 0xFFFFFFFF
        return tuple([
            decoder(t, words[low] & mask | ((words[high] & mask) << 32 if high >= 0 else 0)) for decoder, low, high in decoders
        ])

    def word(self, t: Thread, regs: memoryview, index: int) -> int:
        """An argument as it stands in a register or on the stack; the first is 0.  Raises IndexError for one too many, EFAULT."""
        _, low, high = self.decoders[index]
        words: Sequence[int] = regs if self._stack is None else (*regs, *self._stack_words(t, regs))
        if self.abi.word_size == 8:
            return words[low]
        return words[low] & 0xFFFFFFFF | ((words[high] & 0xFFFFFFFF) << 32 if high >= 0 else 0)

    def _stack_words(self, t: Thread, regs: memoryview) -> tuple[int, ...]:
        """The arguments on the stack.  Raises EFAULT."""
        assert self._stack is not None
        assert self.abi.argument_stack is not None
        start = (regs[RSP] + self.abi.argument_stack) & self.abi.word_mask
        return self._stack.unpack(t.proc.vm.copyin(start, self._stack.size))

    def show(self, t: Thread, args: tuple[Any, ...], result: int | None = None) -> str:
        """`name(arg, arg)` as strace prints it; with `result`, what the call filled in is shown too."""
        shown = []
        for kind, value, behind in zip(self.call.kinds.values(), args, (*args, None)[1:], strict=True):
            text = kind.show_result_beside(t, value, behind, result) if result is not None else None
            shown.append(kind.show_beside(t, value, behind) if text is None else text)
        return f"{self.name}({', '.join(shown)})"

    def __repr__(self) -> str:
        return f"<Bound {self.name}>"


class Sysent(dict[int, Bound]):
    """The table of one instruction set: a row is bound, and its module imported, when the call is first made.

    `names` are the numbers of the system; `homes` says which module declares the call of a name: "module", or "module:name" where
    it is declared under another name (another system's).  A number that is no call, or one nobody wrote, is a KeyError.
    """

    def __init__(self, names: Mapping[int, str], homes: Mapping[str, str], abi: Abi) -> None:
        super().__init__()
        self._names = names
        self._homes = homes
        self._abi = abi

    def __missing__(self, number: int) -> Bound:
        name = self._names[number]
        bound = self[number] = self.find(name).bind(self._abi, name)
        return bound

    def find(self, name: str) -> Syscall:
        """The declaration behind a name.  Raises KeyError for one nobody wrote."""
        module, _, declared = self._homes[name].partition(":")
        return collect(import_module(module))[declared or name]

    def bind_all(self) -> None:
        """Every row there is, for tables and tests."""
        for number, name in self._names.items():
            if name in self._homes:
                self[number]


def collect(*modules: object) -> dict[str, Syscall]:
    """All calls that the modules declare, by name.  Raises TypeError when two declare the same.

    A module's `ALIASES` gives more names to calls: two names of one behaviour are two rows.
    """
    calls: dict[str, Syscall] = {}
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, Syscall) and calls.setdefault(value.name, value) is not value:
                raise TypeError(f"{value.name} is declared twice")
    for module in modules:
        calls.update(getattr(module, "ALIASES", {}))
    return calls


def _nosys(_t: Thread) -> int:
    raise ENOSYS


NOSYS: Final = Syscall(_nosys, frozenset())
