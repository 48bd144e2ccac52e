"""The form of a call's line where a declaration is not enough: what each argument prints, in which order, under which name.

A declaration says how a word becomes a value, and prints well where one argument means one thing.  strace says more: whether the
third argument of fcntl(2) is a flag, a lock or nothing follows from the second.  A `Shape` is such a form; a function that gives
one, from the arguments, stands for a call that has several.  Shapes only print: what a call does, they cannot change.

Invariant: nothing here raises but `Errno`, and nothing reads more of a guest's memory than it prints.  Not here: the tables
(`linux.py` and its neighbours), lines (`trace/strace.py`).  Source: strace(1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ring3.calls.shown import signal_set
from ring3.calls.sysarg import Descriptor, Kind, quote
from ring3.errors import Errno
from ring3.namedtuple import NamedTuple

if TYPE_CHECKING:
    from ring3.proc.proc import Thread

ITEMS: Final = 32               # of an array
MASK_SIZE: Final = 8            # bytes of a signal mask
_KEPT: Final = 256              # texts of flags: a guest may make up as many values as it likes


class At(NamedTuple):
    """One printed argument: its `place`, how it prints (None: as declared), and the name that stands before it."""

    place: int
    kind: Kind | None = None
    label: str = ""


Shape = tuple[At, ...]
Chooser = Callable[[Sequence[Any]], Shape]
"""One of a set that is made once: forms are kept by the identity of their shape."""


def shape(*kinds: Kind | None) -> Shape:
    """The first arguments, one behind the other; None: as declared.

    >>> [at.place for at in shape(None, None)]
    [0, 1]
    """
    return tuple(At(index, kind) for index, kind in enumerate(kinds))


def by(place: int, shapes: Mapping[int, Shape], otherwise: Shape, *, mask: int = 0xFFFF_FFFF) -> Chooser:
    """The shape that the argument at `place` chooses."""
    def choose(args: Sequence[Any]) -> Shape:
        return shapes.get(int(args[place]) & mask, otherwise)

    return choose


def number(value: int, name: str = "") -> str:
    """A number as strace prints one it has no name for; `name` is the family of those it has.

    >>> number(99, "SEEK_???"), number(0), number(17)
    ('0x63 /* SEEK_??? */', '0', '0x11')
    """
    text = hex(value) if value else "0"
    return f"{text} /* {name} */" if name else text


class Named(Kind):
    """A number of 32 bits with names; `family` is what stands behind those without."""

    def __init__(self, names: Mapping[int, str], family: str = "") -> None:
        self.names = names
        self.family = family

    def compile(self, abi: Any) -> Callable[[Thread, int], int]:
        return lambda _t, word: word & 0xFFFF_FFFF

    def show(self, t: Thread | None, value: Any) -> str:
        found = self.names.get(int(value) & 0xFFFF_FFFF)
        return found if found is not None else number(int(value) & 0xFFFF_FFFF, self.family)


class Bits(Kind):
    """Bits with names, in this order; `zero` is what none of them prints, `family` stands behind a number without any name.

    >>> Bits({1: "A_ONE", 2: "A_TWO"}, "A_???").show(None, 3), Bits({1: "A_ONE"}, "A_???").show(None, 4)
    ('A_ONE|A_TWO', '0x4 /* A_??? */')
    """

    def __init__(self, names: Mapping[int, str], family: str = "", *, zero: str = "0") -> None:
        self.names = names
        self.family = family
        self.zero = zero
        self._texts: dict[int, str] = {}        # of values that were shown

    def compile(self, abi: Any) -> Callable[[Thread, int], int]:
        return lambda _t, word: word & 0xFFFF_FFFF

    def show(self, t: Thread | None, value: Any) -> str:
        left = int(value) & 0xFFFF_FFFF_FFFF_FFFF
        text = self._texts.get(left)
        if text is None:
            if len(self._texts) >= _KEPT:
                self._texts.clear()
            text = self._texts[left] = self._text(left)
        return text

    def _text(self, left: int) -> str:
        found = []
        for bits, name in self.names.items():
            if bits and left & bits == bits:
                found.append(name)
                left &= ~bits
        if not found:
            return number(left, self.family) if left else self.zero
        return "|".join([*found, hex(left)] if left else found)


class Hex(Kind):
    """A number in hex, 0 as it is."""

    def show(self, t: Thread, value: Any) -> str:
        return number(int(value))


class Signed(Kind):
    """A number of 32 bits with its sign, as ids that may be -1."""

    def show(self, t: Thread, value: Any) -> str:
        word = int(value) & 0xFFFF_FFFF
        return str((word & 0x7FFF_FFFF) - (word & 0x8000_0000))


class Fd(Descriptor):
    """A descriptor of a call that nobody declared."""

    def show(self, t: Thread, value: Any) -> str:
        word = int(value) & 0xFFFF_FFFF
        return super().show(t, (word & 0x7FFF_FFFF) - (word & 0x8000_0000))


class Id(Kind):
    """A number of 32 bits, or -1: a user, a group."""

    def show(self, t: Thread, value: Any) -> str:
        word = int(value) & 0xFFFF_FFFF
        return "-1" if word == 0xFFFF_FFFF else str(word)


class Plain(Kind):
    """A number as it is."""

    def show(self, t: Thread, value: Any) -> str:
        return str(int(value))


class Address(Kind):
    """An address nobody looks behind."""

    def show(self, t: Thread, value: Any) -> str:
        value = where(value)
        return hex(value) if value else "NULL"


Look = Callable[["Thread", int], str]
"""What stands at an address, as text.  Raises Errno for one that cannot be read."""


class Read(Kind):
    """An address, and what stands there when the call begins."""

    def __init__(self, look: Look) -> None:
        self.look = look

    def show(self, t: Thread, value: Any) -> str:
        return looked(self.look, t, where(value))


class Filled(Address):
    """An address, and what stands there when the call has succeeded."""

    def __init__(self, look: Look) -> None:
        self.look = look

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        return looked(self.look, t, where(value))


class Late(Address):
    """An address that prints when the call is over."""

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        return None


class Raw(Address):
    """An address whose declaration reads what stands there: as it is in the register of the argument at `place`."""

    def __init__(self, place: int) -> None:
        self.place = place

    def show(self, t: Thread, value: Any) -> str:
        return super().show(t, t.cpu.regs[t.system.call_abi(t).argument_registers[self.place]])


class Counted(Kind):
    """An array: how many items it has, the argument behind it says."""

    def __init__(self, size: int, item: Callable[[Thread, bytes], str]) -> None:
        self.size = size
        self.item = item

    def show(self, t: Thread, value: Any) -> str:
        return hex(where(value)) if where(value) else "NULL"

    def show_beside(self, t: Thread, value: Any, behind: Any) -> str:
        if behind is None:          # nobody knows
            return self.show(t, value)
        return looked(lambda t, addr: items(t, addr, int(behind), self.size, self.item), t, where(value))


class SignalMask(Address):
    """A signal mask: how many bytes of it there are, the argument behind it says."""

    def show_beside(self, t: Thread, value: Any, behind: Any) -> str:
        return looked(signals, t, where(value)) if behind is None or int(behind) == MASK_SIZE else self.show(t, value)


def where(value: Any) -> int:
    """The address an argument is, whatever its declaration made of it."""
    addr = getattr(value, "addr", value)
    return addr if isinstance(addr, int) else 0


def looked(look: Look, t: Thread, addr: int) -> str:
    """What stands at an address; the address where that cannot be read."""
    if not addr:
        return "NULL"
    try:
        return look(t, addr)
    except Errno:
        return hex(addr)


def memory(t: Thread, addr: int, nbytes: int) -> bytes:
    """So many bytes of the guest.  Raises EFAULT."""
    return t.proc.vm.copyin(addr, nbytes)


def field(data: bytes, at: int, nbytes: int, *, signed: bool = False) -> int:
    """A number in a struct."""
    return int.from_bytes(data[at : at + nbytes], "little", signed=signed)


def word(t: Thread, addr: int, nbytes: int = 4, *, signed: bool = False) -> int:
    """A number of the guest's memory.  Raises EFAULT."""
    return int.from_bytes(memory(t, addr, nbytes), "little", signed=signed)


def items(t: Thread, addr: int, count: int, size: int, item: Callable[[Thread, bytes], str]) -> str:
    """An array's items between brackets, `...` behind the first ones.  Raises EFAULT."""
    if count <= 0:
        return "[]"
    data = memory(t, addr, min(count, ITEMS) * size)
    texts = [item(t, data[at : at + size]) for at in range(0, len(data), size)]
    return f"[{', '.join(texts)}{', ...' if count > ITEMS else ''}]"


def signals(t: Thread, addr: int) -> str:
    """A signal mask.  Raises EFAULT."""
    return signal_set(word(t, addr, MASK_SIZE))


def listed(name: Look) -> Look:
    """Between brackets."""
    return lambda t, addr: f"[{name(t, addr)}]"


def int32(t: Thread, addr: int) -> str:
    """An int.  Raises EFAULT."""
    return str(word(t, addr, signed=True))


def c_string(t: Thread, addr: int) -> str:
    """A string, the first of it.  Raises EFAULT."""
    return quote(t.proc.vm.copyinstr(addr, 4096), None)


INT: Final = listed(int32)
FD: Final = Fd()
INTS: Final = Counted(4, lambda _t, data: str(field(data, 0, 4, signed=True)))
IDS: Final = Counted(4, lambda _t, data: str(field(data, 0, 4)))
