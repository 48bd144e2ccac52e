"""What a variable of the system is: a number and a name below its parent's, a kind, and a function that gives its value.

Sources: sysctl(9), sys/sysctl.h.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

from ring3.errors import ENOMEM, Errno
from ring3.namedtuple import NamedTuple
from ring3.proc.proc import Thread

DYNAMIC: Final = 1024                 # what the real kernel numbers while it boots begins here as there, and is found by name


class Kind(enum.IntEnum):
    """CTLTYPE_*."""

    NODE = 1
    INT = 2
    STRING = 3
    QUAD = 4
    STRUCT = 5
    BOOL = 6


class Asked(NamedTuple):
    """What came with a name: the numbers behind it, room for an answer (`wanted`: there is a buffer at all), a new value."""

    rest: tuple[int, ...]
    room: int
    wanted: bool
    new: int = 0
    newlen: int = 0


class Reply(NamedTuple):
    """An answer that says itself how long it is: `data`, the size told, and what is refused all the same."""

    data: bytes
    told: int
    refusal: type[Errno] | None = None


class Node(NamedTuple):
    """One name.  `get` gives an int, or the bytes of a string (without its zero) or struct; `put` takes a new string.

    `get` is told how many bytes the program has room for, which matters to random numbers alone.  `ask` answers in its place,
    where more numbers follow: a process, a size of struct, a CPU.
    """

    number: int
    name: str
    kind: Kind
    get: Callable[[Thread, int], int | bytes] | None = None
    children: tuple[Node, ...] = ()
    put: Callable[[Thread, bytes], None] | None = None
    ask: Callable[[Thread, Asked], Reply] | None = None


def whole(data: bytes, asked: Asked) -> Reply:
    """An answer that is given as far as there is room; ENOMEM says that there was more."""
    return Reply(data[: asked.room], len(data), ENOMEM if asked.wanted and len(data) > asked.room else None)


def node_of(number: int, name: str, *children: Node) -> Node:
    """A name with others below it."""
    return Node(number, name, Kind.NODE, None, children)


def int_node(number: int, name: str, get: int | Callable[[Thread], int]) -> Node:
    """A number of 32 bits."""
    return Node(number, name, Kind.INT, (lambda _t, _room: get) if isinstance(get, int) else lambda t, _room: get(t))


def quad_node(number: int, name: str, get: Callable[[Thread], int]) -> Node:
    """A number of 64 bits."""
    return Node(number, name, Kind.QUAD, lambda t, _room: get(t))


def text_node(
    number: int, name: str, get: Callable[[Thread], bytes], put: Callable[[Thread, bytes], None] | None = None
) -> Node:
    """A string; `put` takes another."""
    return Node(number, name, Kind.STRING, lambda t, _room: get(t), (), put)


def struct_node(number: int, name: str, get: Callable[[Thread, int], bytes]) -> Node:
    """A struct, or an array of them."""
    return Node(number, name, Kind.STRUCT, get)


def asking_node(number: int, name: str, kind: Kind, ask: Callable[[Thread, Asked], Reply], *children: Node) -> Node:
    """A name behind which more numbers follow; `children` are for who asks what is below it."""
    return Node(number, name, kind, None, children, None, ask)
