"""How the arguments of a call print, found out once for each call: from its declaration, and from the shapes of its system.

    forms = Forms()
    form = forms.of(bound, args)
    form.begin(t, args)                 what is known when the call begins
    form.end(t, args, result)           the others, once it is over

Invariant: what the guest takes away meanwhile is a question mark, never an error.  Not here: how one argument looks
(`calls/sysarg.py`, `trace/shapes`), the lines they stand in (`strace.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.flags import OpenFlags
from ring3.calls.sysarg import Descriptor, Kind, Octal, OpenFlagsKind, quote
from ring3.calls.syscall import NOSYS
from ring3.errors import Errno

if TYPE_CHECKING:
    from ring3.calls.syscall import Bound
    from ring3.proc.proc import Thread
    from ring3.trace.shapes.shape import Shape

_MAKES: Final = int(OpenFlags.CREAT | OpenFlags.TMPFILE)       # flags whose file has a mode
_MOST: Final = 4096             # forms that are kept: some choose by a number of the guest's

Answer = Callable[["Thread", Sequence[Any], int], str]
"""What stands behind the equals sign, of a call that succeeded."""


class Word(Kind):
    """An argument of a call nobody declared."""

    def show(self, t: Thread, value: Any) -> str:
        return hex(value)


_WORD: Final = Word()


class Form:
    """The arguments of one call that print, in their order.

    `known` is how many of them are known when it begins, `answer` says what a result is where it is more than a number.
    `gap` stands between those and the others.
    """

    __slots__ = ("_ends", "_shows", "answer", "gap", "head", "kinds", "known", "paths")

    def __init__(
        self, name: str, kinds: Sequence[tuple[int, Kind, str]], answer: Answer | None = None, *, paths: bool = False
    ) -> None:
        self.head = f"{name}("
        self.kinds = tuple(kinds)
        self.answer = answer
        self.paths = paths
        self.known = next((index for index, (_, kind, _) in enumerate(self.kinds) if _fills(kind)), len(self.kinds))
        self.gap = ", " if 0 < self.known < len(self.kinds) else ""
        known, later = self.kinds[: self.known], self.kinds[self.known :]
        self._shows = None if paths or not _are_alone(known) else [(kind.show, place) for place, kind, _ in known]
        self._ends = None if paths or not _are_alone(later) else [
            (kind.show, kind.show_result if type(kind).show_result is not Kind.show_result else None, place)
            for place, kind, _ in later
        ]

    def begin(self, t: Thread, args: Sequence[Any]) -> list[str]:
        """The arguments that are known when the call begins."""
        if self._shows is not None:
            try:
                return [show(t, args[place]) for show, place in self._shows]
            except Errno:
                pass            # the guest takes its memory away: one by one, with a question mark
        return self._texts(t, args, 0, self.known, None)

    def end(self, t: Thread, args: Sequence[Any], result: int | None, first: int | None = None) -> list[str]:
        """Those that its end tells, or from `first` on; `result`, of a call that succeeded, shows what it filled in."""
        if self._ends is not None and first is None:
            try:
                if result is None:
                    return [show(t, args[place]) for show, _, place in self._ends]
                shown = []
                for show, show_result, place in self._ends:
                    text = show_result(t, args[place], result) if show_result is not None else None
                    shown.append(show(t, args[place]) if text is None else text)
                return shown
            except Errno:
                pass            # likewise
        return self._texts(t, args, self.known if first is None else first, len(self.kinds), result)

    def partly(self, t: Thread, args: Sequence[Any], bad: set[int]) -> list[str]:
        """All of them, of a call that failed because those at the places `bad` could not be read."""
        shown = []
        for place, kind, label in self.kinds:
            if place in bad:
                text = hex(args[place]) if args[place] else "NULL"
            else:
                behind = args[place + 1] if place + 1 < len(args) and place + 1 not in bad else None
                try:
                    text = kind.show_beside(t, args[place], behind)
                except Errno:
                    text = "?"
            shown.append(label + text)
        return shown

    def _texts(self, t: Thread, args: Sequence[Any], first: int, last: int, result: int | None) -> list[str]:
        shown = []
        for place, kind, label in self.kinds[first:last]:
            value = args[place]
            behind = args[place + 1] if place + 1 < len(args) else None
            try:
                text = kind.show_result_beside(t, value, behind, result) if result is not None else None
                if text is None:
                    text = kind.show_beside(t, value, behind)
            except Errno:
                text = "?"
            if self.paths and isinstance(kind, Descriptor):
                text += path_of(t, value)
            shown.append(label + text if label else text)
        return shown


class Forms:
    """The forms of calls, each made when the call is first printed.  `paths`: descriptors print with what they are."""

    def __init__(self, *, paths: bool = False) -> None:
        self._paths = paths
        self._known: dict[Bound, Callable[[Sequence[Any]], Form]] = {}

    def of(self, call: Bound, args: Sequence[Any]) -> Form:
        """The form of a call with these arguments."""
        found = self._known.get(call)
        if found is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            found = self._known[call] = self._finder(call)
        return found(args)

    def _finder(self, call: Bound) -> Callable[[Sequence[Any]], Form]:
        shape, answer = shape_of(call)
        declared = [_WORD] * len(call.abi.argument_registers) if call.call is NOSYS else list(call.call.kinds.values())
        if shape is None:
            return self._declared(call, declared, answer)
        if isinstance(shape, tuple):
            form = self._shaped(call, shape, declared, answer)
            return lambda _args: form
        forms: dict[int, tuple[Shape, Form]] = {}       # by the identity of the shape, which is kept for that

        def choose(args: Sequence[Any]) -> Form:
            chosen = shape(args)
            found = forms.get(id(chosen))
            if found is None:
                if len(forms) >= _MOST:
                    forms.clear()
                found = forms[id(chosen)] = chosen, self._shaped(call, chosen, declared, answer)
            return found[1]

        return choose

    def _shaped(self, call: Bound, shape: Shape, declared: Sequence[Kind], answer: Answer | None) -> Form:
        kinds = [(at.place, declared[at.place] if at.kind is None else at.kind, at.label) for at in shape]
        return Form(call.name, kinds, answer, paths=self._paths)

    def _declared(self, call: Bound, declared: Sequence[Kind], answer: Answer | None) -> Callable[[Sequence[Any]], Form]:
        """As declared; a mode behind flags that make no file means nothing."""
        kinds = [(place, kind, "") for place, kind in enumerate(declared)]
        whole = Form(call.name, kinds, answer, paths=self._paths)
        flags_at = next((
            place for place, kind in enumerate(declared[:-1])
            if isinstance(kind, OpenFlagsKind) and isinstance(declared[place + 1], Octal)
        ), -1)
        if flags_at < 0:
            return lambda _args: whole
        short = Form(call.name, kinds[: flags_at + 1], answer, paths=self._paths)
        return lambda args: whole if int(args[flags_at]) & _MAKES else short


def shape_of(call: Bound) -> tuple[Any, Answer | None]:
    """What the call's system says of its form: (shape or chooser or None, what a result is or None)."""
    if not call.abi.shapes:
        return None, None
    found: tuple[Any, Answer | None] = import_module(call.abi.shapes).find(call.name)
    return found


def values(t: Thread, call: Bound, args: tuple[Any, ...] | None) -> tuple[Any, ...]:
    """The arguments as values: the registers of a call nobody wrote."""
    if call.call is not NOSYS and args is not None:
        return args
    return tuple([t.cpu.regs[register] & call.abi.word_mask for register in call.abi.argument_registers])


def path_of(t: Thread, fd: int) -> str:
    """What a descriptor is, between angle brackets; nothing for one that is closed."""
    file = t.fds.files.get(fd)
    if file is None:
        return ""
    name = file.dentry.path(t.system.mounts.root) if file.dentry is not None else file.label
    return f"<{quote(name, None)[1:-1]}>"


def _are_alone(kinds: Sequence[tuple[int, Kind, str]]) -> bool:
    """Whether each of them prints without a name and without the argument behind it."""
    return not any(
        label or type(kind).show_beside is not Kind.show_beside or type(kind).show_result_beside is not Kind.show_result_beside
        for _, kind, label in kinds
    )


def _fills(kind: Kind) -> bool:
    """Whether the call fills the argument in, so that its end is waited for."""
    if not getattr(kind, "out", True):
        return False
    cls = type(kind)
    return cls.show_result is not Kind.show_result or cls.show_result_beside is not Kind.show_result_beside
