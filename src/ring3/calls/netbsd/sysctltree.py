"""What __sysctl(2) tells: the tree of names, each a number below its parent's, a kind, and a function that gives its value.

Only what programs are known to ask for is there; the rest is ENOENT.  Numbers up to 255 are NetBSD's own; what the real kernel
numbers while it boots begins at `_DYNAMIC` here as there, and is found by name.
Not here: the call and its meta-numbers (`sysctl.py`), one process's nodes (`sysctlproc.py`).
Sources: sysctl(7), sys/sysctl.h, sys/kern/init_sysctl.c, sys/kern/kern_tc.c.
"""

from __future__ import annotations

import enum
import os
import struct
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from ring3.abi.records import Timespec
from ring3.calls.system import random_bytes
from ring3.errors import E2BIG
from ring3.proc.proc import Rlimit, Thread

_DYNAMIC: Final = 1024
_HZ: Final = 100
_INT_MAX: Final = (1 << 31) - 1
_ARND_MAX: Final = 256
_FSCALE: Final = 2048
_PAGE: Final = 4096


class Kind(enum.IntEnum):
    """CTLTYPE_*."""

    NODE = 1
    INT = 2
    STRING = 3
    QUAD = 4
    STRUCT = 5
    BOOL = 6


class Node(NamedTuple):
    """One name.  `get` gives an int, or the bytes of a string (without its zero) or struct; `put` takes a new string.

    `get` is told how many bytes the program has room for, which matters to random numbers alone.
    """

    number: int
    name: str
    kind: Kind
    get: Callable[[Thread, int], int | bytes] | None = None
    children: tuple[Node, ...] = ()
    put: Callable[[Thread, bytes], None] | None = None


def _node(number: int, name: str, *children: Node) -> Node:
    return Node(number, name, Kind.NODE, None, children)


def _int(number: int, name: str, get: int | Callable[[Thread], int]) -> Node:
    return Node(number, name, Kind.INT, (lambda _t, _room: get) if isinstance(get, int) else lambda t, _room: get(t))


def _quad(number: int, name: str, get: Callable[[Thread], int]) -> Node:
    return Node(number, name, Kind.QUAD, lambda t, _room: get(t))


def _text(
    number: int, name: str, get: Callable[[Thread], bytes], put: Callable[[Thread, bytes], None] | None = None
) -> Node:
    return Node(number, name, Kind.STRING, lambda t, _room: get(t), (), put)


def _struct(number: int, name: str, get: Callable[[Thread, int], bytes]) -> Node:
    return Node(number, name, Kind.STRUCT, get)


# --- values
def _revision(t: Thread) -> int:
    """MMmmrrpp00 of a release.

    >>> 9 * 100_000_000 + 3 * 1_000_000
    903000000
    """
    major, _, rest = t.proc.personality.release.partition(".")
    minor = rest.partition(".")[0].partition("_")[0]
    return int(major) * 100_000_000 + (int(minor) if minor.isdigit() else 0) * 1_000_000


def _set_hostname(t: Thread, name: bytes) -> None:
    t.system.hostname = name


def _set_domainname(t: Thread, name: bytes) -> None:
    t.system.domainname = name


def _boot_time(t: Thread, _room: int) -> bytes:
    ns = time.time_ns() - (time.monotonic_ns() - t.system.boot_ns)
    data: bytes = t.system.call_abi(t).layouts[Timespec].encode(ns)
    return data


def _old_boot_time(t: Thread, _room: int) -> bytes:
    """The struct timeval of NetBSD 5, whose seconds are a long."""
    ns = time.time_ns() - (time.monotonic_ns() - t.system.boot_ns)
    return struct.pack("<ii", ns // 1_000_000_000 & _INT_MAX, ns % 1_000_000_000 // 1000)


def _clock_rate(_t: Thread, _room: int) -> bytes:
    """tick, tickadj, hz, profhz, stathz."""
    return struct.pack("<5i", 1_000_000 // _HZ, 40, _HZ, _HZ, _HZ)


def _random_int(t: Thread) -> int:
    return int.from_bytes(random_bytes(t, 4), "little", signed=True)


def _random(t: Thread, room: int) -> bytes:
    """As many bytes as there is room for.  Raises E2BIG for more than the kernel gives at once."""
    if room > _ARND_MAX:
        raise E2BIG
    return random_bytes(t, room)


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * _PAGE


def _ncpu(t: Thread) -> int:
    return t.system.facts.ncpus


def _load(t: Thread, _room: int) -> bytes:
    loads = [int(load * _FSCALE) for load in os.getloadavg()]
    wide = t.system.call_abi(t).word_size == 8
    return struct.pack("<3I4xq" if wide else "<3Ii", *loads, _FSCALE)


_KERN: Final = _node(
    1, "kern",
    _text(1, "ostype", lambda t: t.proc.personality.sysname.encode()),
    _text(2, "osrelease", lambda t: t.proc.personality.release.encode()),
    _int(3, "osrevision", _revision),
    _text(4, "version", lambda t: t.proc.personality.version.encode() + b"\n"),
    _int(5, "maxvnodes", 65536),
    _int(6, "maxproc", lambda t: t.system.max_procs),
    _int(7, "maxfiles", lambda t: min(t.proc.rlimits[Rlimit.NOFILE][1], _INT_MAX)),
    _int(8, "argmax", 262144),
    _int(9, "securelevel", -1),
    _text(10, "hostname", lambda t: t.system.hostname, _set_hostname),
    _int(11, "hostid", 0),
    _struct(12, "clockrate", _clock_rate),
    _int(17, "posix1version", 200112),
    _int(18, "ngroups", 16),
    _int(19, "job_control", 1),
    _int(20, "saved_ids", 1),
    _struct(21, "oboottime", _old_boot_time),
    _text(22, "domainname", lambda t: b"" if t.system.domainname == b"(none)" else t.system.domainname, _set_domainname),
    _int(23, "maxpartitions", 16),
    _int(24, "rawpartition", 3),
    _int(32, "fsync", 1),
    _int(37, "synchronized_io", 1),
    _int(38, "iov_max", 1024),
    _int(40, "mapped_files", 1),
    _int(41, "memlock", 1),
    _int(42, "memlock_range", 1),
    _int(43, "memory_protection", 1),
    _int(44, "login_name_max", 17),
    _text(45, "defcorename", lambda _t: b"%n.core"),
    _int(49, "fscale", _FSCALE),
    _int(57, "maxphys", 65536),
    _int(58, "sbmax", 262144),
    _int(60, "monotonic_clock", 200112),
    _int(61, "urandom", _random_int),
    _int(65, "forkfsleep", 0),
    _int(66, "posix_threads", 200112),
    _int(68, "posix_barriers", 200112),
    _int(69, "posix_timers", 200112),
    _int(70, "posix_spin_locks", 200112),
    _int(71, "posix_reader_writer_locks", 200112),
    _int(80, "hardclock_ticks", lambda t: (time.monotonic_ns() - t.system.boot_ns) * _HZ // 1_000_000_000 & _INT_MAX),
    Node(81, "arandom", Kind.STRUCT, _random),
    _struct(83, "boottime", _boot_time),
    _int(_DYNAMIC, "somaxconn", 128),
    _int(_DYNAMIC + 1, "maxlwp", 2048),
)
_VM: Final = _node(2, "vm", _struct(2, "loadavg", _load), _int(9, "maxslp", 20))
_HW: Final = _node(
    6, "hw",
    _text(1, "machine", lambda t: t.proc.personality.machine_name.encode()),
    _text(2, "model", lambda _t: b"virtual CPU"),
    _int(3, "ncpu", _ncpu),
    _int(4, "byteorder", 1234),
    _int(5, "physmem", lambda _t: min(_memory(), _INT_MAX)),
    _int(6, "usermem", lambda _t: min(_memory(), _INT_MAX)),
    _int(7, "pagesize", _PAGE),
    _text(10, "machine_arch", lambda t: b"x86_64" if t.system.call_abi(t).word_size == 8 else b"i386"),
    _int(11, "alignbytes", lambda t: t.system.call_abi(t).word_size - 1),
    _quad(13, "physmem64", lambda _t: _memory()),
    _quad(14, "usermem64", lambda _t: _memory()),
    _int(16, "ncpuonline", _ncpu),
)
_EMPTY: Final = ((3, "vfs"), (4, "net"), (5, "debug"), (7, "machdep"), (9, "ddb"), (11, "vendor"), (12, "emul"), (13, "security"))

# The top; user (8) is libc's own affair, kern.proc_args and proc are asked by process (`sysctlproc.py`).
ROOT: Final = _node(0, "", _KERN, _VM, *(_node(number, name) for number, name in _EMPTY), _HW)
