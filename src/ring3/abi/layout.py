"""Byte layouts, declared once as typed records (style.md 3.7).

A `Layout` turns one record into bytes and back; a second word size is a second `Layout` of the same record.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from ring3.namedtuple import NamedTuple

R = TypeVar("R")


class Layout(Generic[R]):
    """`codes` is a struct(3) format without byte order; fields of `record` (a NamedTuple) in that order.

    >>> class Pair(NamedTuple):
    ...     a: int
    ...     b: int
    >>> Layout(Pair, "<IQ").encode(Pair(1, 2)).hex()
    '010000000200000000000000'
    """

    __slots__ = ("_make", "_struct", "record", "size")

    def __init__(self, record: Callable[..., R], codes: str) -> None:
        self._struct = struct.Struct(codes)
        self._make = getattr(record, "_make", record)
        self.record = record
        self.size = self._struct.size

    def decode(self, data: bytes | memoryview, offset: int = 0) -> R:
        """The record at `offset`.  Raises struct.error when `data` is too short."""
        return self._make(self._struct.unpack_from(data, offset))

    def array(self, data: bytes) -> Iterator[R]:
        """All records `data` is full of."""
        for values in self._struct.iter_unpack(data):
            yield self._make(values)

    def encode(self, value: Any) -> bytes:
        """The bytes of a record, or of any sequence of its fields."""
        return self._struct.pack(*value)


class Custom(NamedTuple):
    """A layout that is not just fields in a row: the same interface from two functions."""

    size: int
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]
