"""Reading ktrace files: those written here and those of real NetBSD systems, whatever their word size and byte order.

A file does not say how it was written, so the layout is found by trying: in the right one, the first headers make sense one behind
another.  Invariant: a file may be anything at all; what is read of it at a time is bounded, and what makes no sense is a
`KtraceError` that says at which offset.  Not here: how records are printed (`kdump.py`), writing (`ktrace.py`).
Sources: sys/ktrace.h of 2004 to now (headers of 44, 48 and 56 bytes).
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Any, Final, Protocol

from ring3.namedtuple import NamedTuple

MAX_PAYLOAD: Final = 1 << 20            # bytes; the longest true ones are arguments of an exec, 256 KiB
_LOOKED_AT: Final = 1 << 16             # bytes of a file's beginning by which its layout is found
_HEADERS_TRIED: Final = 16
_LAST_TYPE: Final = 23
_BILLION: Final = 1_000_000_000


class KtraceError(Exception):
    """A file is no ktrace file, or is damaged; the text says where and how."""


class Input(Protocol):
    """A file opened for reading bytes."""

    def read(self, nbytes: int, /) -> bytes: ...


class Layout(NamedTuple):
    """How one kind of system writes records.  `times` are, by version: seconds, fraction of a second and, from 1 on, the LWP."""

    name: str
    order: str                  # "<" or ">"
    word_size: int
    size: int                   # of a header
    times: tuple[Struct, Struct, Struct]


def _layout(name: str, order: str, word_size: int, size: int, *times: str) -> Layout:
    one, two, three = (Struct(order + fields) for fields in times)
    return Layout(name, order, word_size, size, (one, two, three))


# The headers' common part is 32 bytes; what differs is the time behind it.
LAYOUTS: Final = (
    _layout("64-bit, little endian", "<", 8, 56, "i4xq8x", "i4xqi4x", "qqi4x"),
    _layout("32-bit, little endian", "<", 4, 48, "ii8x", "iii4x", "qii"),
    _layout("64-bit, big endian", ">", 8, 56, "i4xq8x", "i4xqi4x", "qqi4x"),
    _layout("32-bit, big endian", ">", 4, 48, "ii8x", "iii4x", "qii"),
    _layout("32-bit of old, little endian", "<", 4, 44, "ii4x", "iii", "iii"),
    _layout("32-bit of old, big endian", ">", 4, 44, "ii4x", "iii", "iii"),
)
_COMMON: Final = {"<": Struct("<ihhi17s3s"), ">": Struct(">ihhi17s3s")}


class TraceRecord(NamedTuple):
    """One record.  `lid` is None where its version has none; `time_ns` counts from 1970."""

    offset: int
    type: int
    version: int
    pid: int
    lid: int | None
    comm: bytes
    time_ns: int
    payload: bytes


def _read_header(layout: Layout, data: bytes, at: int, offset: int) -> tuple[int, TraceRecord]:
    """(length of the payload, the record without it).  Raises KtraceError for what no header says."""
    length, one, two, pid, comm, pad = _COMMON[layout.order].unpack_from(data, at)
    kind, version = (one, two) if layout.order == "<" else (two, one)
    if not 0 <= length <= MAX_PAYLOAD:
        raise KtraceError(f"offset {offset}: a record of {length} bytes, which is more than any has" if length > 0 else
                          f"offset {offset}: a record of {length} bytes")
    if not 1 <= kind <= _LAST_TYPE or not 0 <= version <= 2:
        raise KtraceError(f"offset {offset}: no record has type {kind} and version {version}")
    if any(pad) or pid < 0:
        raise KtraceError(f"offset {offset}: no record begins so")
    fields = layout.times[version].unpack_from(data, at + 32)
    seconds, fraction = fields[0], fields[1] * (1000 if version == 0 else 1)
    if not 0 <= fraction < _BILLION:
        raise KtraceError(f"offset {offset}: a time with {fields[1]} parts of a second")
    return length, TraceRecord(
        offset, kind, version, pid, fields[2] if version else None, comm.partition(b"\0")[0], seconds * _BILLION + fraction, b""
    )


def find_layout(data: bytes, *, whole: bool) -> Layout:
    """The layout that the beginning of a file makes sense in; `whole`: it is all of the file.  Raises KtraceError."""
    best, found = 0, None
    first: KtraceError | None = None
    for layout in LAYOUTS:
        at = count = 0
        try:
            while count < _HEADERS_TRIED and at + layout.size <= len(data):
                length, _ = _read_header(layout, data, at, at)
                at += layout.size + length
                count += 1
        except KtraceError as error:
            first = first or error
        score = 2 * count + (at == len(data) and whole)
        if count and score > best:
            best, found = score, layout
    if found is None:
        raise KtraceError(f"it is no ktrace file: {first}" if first else "it is too short to be a ktrace file")
    return found


class KtraceFile:
    """The records of a file, in order.  `layout` is None until the first was read; an empty file has none."""

    def __init__(self, file: Input) -> None:
        self._file = file
        self._data = b""
        self._at = 0                # how much of it has been looked at
        self._offset = 0            # of what is next, in the file
        self.layout: Layout | None = None

    def _have(self, nbytes: int) -> bool:
        """Whether so many bytes are there, read if need be."""
        while len(self._data) - self._at < nbytes:
            more = self._file.read(max(nbytes, _LOOKED_AT))
            if not more:
                return False
            self._data, self._at = self._data[self._at :] + more, 0
        return True

    def __iter__(self) -> Iterator[TraceRecord]:
        """Raises KtraceError at the first record that makes no sense or is not all there."""
        return iter(self.next_record, None)

    def next_record(self) -> TraceRecord | None:
        """The next record; None at the end of the file."""
        if self.layout is None:
            whole = not self._have(_LOOKED_AT)
            if not self._data:
                return None
            self.layout = find_layout(self._data, whole=whole)
        size = self.layout.size
        if not self._have(size):
            left = len(self._data) - self._at
            if not left:
                return None
            raise KtraceError(f"offset {self._offset}: the file ends within a header, after {left} bytes of {size}")
        length, record = _read_header(self.layout, self._data, self._at, self._offset)
        if not self._have(size + length):
            left = len(self._data) - self._at - size
            raise KtraceError(f"offset {self._offset}: the file ends within a record, after {left} bytes of {length}")
        start = self._at + size
        self._at = start + length
        self._offset += size + length
        return record._replace(payload=self._data[start : self._at])

    def unpack(self, fields: str, data: bytes) -> tuple[Any, ...] | None:
        """Numbers at the beginning of a payload, in the file's byte order: "i" and "I" of 4 bytes, "h" of 2, "l" and "L" words.

        None where the payload is too short.
        """
        assert self.layout is not None
        word = "qQ" if self.layout.word_size == 8 else "iI"
        struct = Struct(self.layout.order + fields.replace("l", word[0]).replace("L", word[1]))
        return struct.unpack_from(data) if len(data) >= struct.size else None
