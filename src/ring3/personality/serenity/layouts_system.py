"""SerenityOS's structs of clocks, ids, limits and the system: neutral record (or marker) to layout.

Times are added up as they are: negative ones and too many nanoseconds are no errors there.
Source: Kernel/API/POSIX of the tree of 2022-12-30 (reference, section 4.7).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from ring3.abi.layout import Custom
from ring3.abi.procrecords import Rusage, Tms, Utsname
from ring3.abi.records import Timespec, Timeval

_SECOND: Final = 1_000_000_000
_US: Final = 1000
_MASK32: Final = 0xFFFF_FFFF
_TIMESPEC: Final = struct.Struct("<qq")
_TIMEVAL: Final = struct.Struct("<qi4x")
_RUSAGE: Final = struct.Struct("<qi4xqi4x112x")
_TMS: Final = struct.Struct("<4I")
_NAME: Final = 65                   # of each of uname's five, its zero counted


def _no_decoding(_data: bytes) -> Any:
    raise NotImplementedError("the kernel only writes this struct")


def _decode_timespec(data: bytes) -> int:
    seconds, ns = _TIMESPEC.unpack(data)
    return int(seconds * _SECOND + ns)


def _decode_timeval(data: bytes) -> int:
    seconds, us = _TIMEVAL.unpack(data)
    return int(seconds * _SECOND + us * _US)


def _timeval(ns: int) -> tuple[int, int]:
    seconds, rest = divmod(ns, _SECOND)
    return seconds, rest // _US


def encode_rusage(usage: Rusage) -> bytes:
    """struct rusage, 144 bytes: two times; the other fourteen fields are zero."""
    return _RUSAGE.pack(*_timeval(usage.utime), *_timeval(usage.stime))


def encode_utsname(names: Utsname) -> bytes:
    """struct utsname, 325 bytes: system, node, release, version, machine."""
    return b"".join(name[: _NAME - 1].ljust(_NAME, b"\0") for name in names[:5])


LAYOUTS: Final[Mapping[type, Any]] = MappingProxyType({
    Timespec: Custom(_TIMESPEC.size, _decode_timespec, lambda ns: _TIMESPEC.pack(*divmod(ns, _SECOND))),
    Timeval: Custom(_TIMEVAL.size, _decode_timeval, lambda ns: _TIMEVAL.pack(*_timeval(ns))),
    Rusage: Custom(_RUSAGE.size, _no_decoding, encode_rusage),
    Tms: Custom(_TMS.size, _no_decoding, lambda tms: _TMS.pack(*(ticks & _MASK32 for ticks in tms))),
    Utsname: Custom(5 * _NAME, _no_decoding, encode_utsname),
})
