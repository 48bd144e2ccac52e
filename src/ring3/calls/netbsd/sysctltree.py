"""What __sysctl(2) tells: the tree of names, and the values of kern and hw.

Only what programs are known to ask for is there; the rest is ENOENT.  Numbers up to 255 are NetBSD's own; others are found by name.
Not here: the call and its meta-numbers (`sysctl.py`), processes (`sysctlproc.py`, `sysctlprocs.py`), memory and CPU time
(`sysctlvm.py`).
Sources: sysctl(7), sys/sysctl.h, sys/kern/init_sysctl.c, sys/kern/kern_tc.c.
"""

from __future__ import annotations

import struct
import time
from typing import Final

from ring3.abi.records import Timespec
from ring3.calls.netbsd.sysctlnode import (
    DYNAMIC,
    Kind,
    Node,
    int_node,
    node_of,
    quad_node,
    struct_node,
    text_node,
)
from ring3.calls.netbsd.sysctlproc import PROC, PROC_ARGS
from ring3.calls.netbsd.sysctlprocs import LWP, PROC2
from ring3.calls.netbsd.sysctlvm import CP_ID, CP_TIME, MACHDEP, VM, memory
from ring3.calls.system import random_bytes
from ring3.errors import E2BIG
from ring3.proc.proc import Rlimit, Thread

_HZ: Final = 100
_INT_MAX: Final = (1 << 31) - 1
_ARND_MAX: Final = 256
_FSCALE: Final = 2048
_CCPU: Final = 1948                   # 0.951 of that: what a process's share keeps each second
_PAGE: Final = 4096
_DRIVER: Final = struct.Struct("<ii24s")
_DRIVERS: Final = (("mem", 1), ("tty", 4), ("ctty", 5), ("pts", 136))        # character devices, by their major numbers


# --- values
def _revision(t: Thread) -> int:
    """MMmmrrpp00 of a release.

    >>> 10 * 100_000_000 + 1 * 1_000_000
    1001000000
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
    """hz, tick, tickadj, stathz, profhz."""
    return struct.pack("<5i", _HZ, 1_000_000 // _HZ, 40, _HZ, _HZ)


def _drivers(_t: Thread, _room: int) -> bytes:
    """Device drivers: character major, block major, name."""
    return b"".join([_DRIVER.pack(major, -1, name.encode()) for name, major in _DRIVERS])


def _random_int(t: Thread) -> int:
    return int.from_bytes(random_bytes(t, 4), "little", signed=True)


def _random(t: Thread, room: int) -> bytes:
    """As many bytes as there is room for.  Raises E2BIG for more than the kernel gives at once."""
    if room > _ARND_MAX:
        raise E2BIG
    return random_bytes(t, room)


def _ncpu(t: Thread) -> int:
    return t.system.facts.ncpus


_KERN: Final = node_of(
    1, "kern",
    text_node(1, "ostype", lambda t: t.proc.personality.sysname.encode()),
    text_node(2, "osrelease", lambda t: t.proc.personality.release.encode()),
    int_node(3, "osrevision", _revision),
    text_node(4, "version", lambda t: t.proc.personality.version.encode() + b"\n"),
    int_node(5, "maxvnodes", 65536),
    int_node(6, "maxproc", lambda t: t.system.max_procs),
    int_node(7, "maxfiles", lambda t: min(t.proc.rlimits[Rlimit.NOFILE][1], _INT_MAX)),
    int_node(8, "argmax", 262144),
    int_node(9, "securelevel", -1),
    text_node(10, "hostname", lambda t: t.system.hostname, _set_hostname),
    int_node(11, "hostid", 0),
    struct_node(12, "clockrate", _clock_rate),
    int_node(17, "posix1version", 200112),
    int_node(18, "ngroups", 16),
    int_node(19, "job_control", 1),
    int_node(20, "saved_ids", 1),
    struct_node(21, "oboottime", _old_boot_time),
    text_node(22, "domainname", lambda t: b"" if t.system.domainname == b"(none)" else t.system.domainname, _set_domainname),
    int_node(23, "maxpartitions", 16),
    int_node(24, "rawpartition", 3),
    int_node(32, "fsync", 1),
    int_node(37, "synchronized_io", 1),
    int_node(38, "iov_max", 1024),
    int_node(40, "mapped_files", 1),
    int_node(41, "memlock", 1),
    int_node(42, "memlock_range", 1),
    int_node(43, "memory_protection", 1),
    int_node(44, "login_name_max", 17),
    text_node(45, "defcorename", lambda _t: b"%n.core"),
    PROC2,
    PROC_ARGS,
    int_node(49, "fscale", _FSCALE),
    int_node(50, "ccpu", _CCPU),
    CP_TIME,
    int_node(57, "maxphys", 65536),
    int_node(58, "sbmax", 262144),
    int_node(60, "monotonic_clock", 200112),
    int_node(61, "urandom", _random_int),
    LWP,
    int_node(65, "forkfsleep", 0),
    int_node(66, "posix_threads", 200112),
    int_node(67, "posix_semaphores", 200112),
    int_node(68, "posix_barriers", 200112),
    int_node(69, "posix_timers", 200112),
    int_node(70, "posix_spin_locks", 200112),
    int_node(71, "posix_reader_writer_locks", 200112),
    struct_node(75, "drivers", _drivers),
    CP_ID,
    int_node(80, "hardclock_ticks", lambda t: (time.monotonic_ns() - t.system.boot_ns) * _HZ // 1_000_000_000 & _INT_MAX),
    Node(81, "arandom", Kind.STRUCT, _random),
    struct_node(83, "boottime", _boot_time),
    int_node(DYNAMIC, "somaxconn", 128),
    int_node(DYNAMIC + 1, "maxlwp", 2048),
)
_HW: Final = node_of(
    6, "hw",
    text_node(1, "machine", lambda t: t.proc.personality.machine_name.encode()),
    text_node(2, "model", lambda _t: b"virtual CPU"),
    int_node(3, "ncpu", _ncpu),
    int_node(4, "byteorder", 1234),
    int_node(5, "physmem", lambda _t: min(memory(), _INT_MAX)),
    int_node(6, "usermem", lambda _t: min(memory(), _INT_MAX)),
    int_node(7, "pagesize", _PAGE),
    text_node(8, "disknames", lambda _t: b""),
    text_node(10, "machine_arch", lambda t: b"x86_64" if t.system.call_abi(t).word_size == 8 else b"i386"),
    int_node(11, "alignbytes", lambda t: t.system.call_abi(t).word_size - 1),
    quad_node(13, "physmem64", lambda _t: memory()),
    quad_node(14, "usermem64", lambda _t: memory()),
    text_node(15, "iostatnames", lambda _t: b""),
    int_node(16, "ncpuonline", _ncpu),
)
_EMPTY: Final = ((3, "vfs"), (4, "net"), (5, "debug"), (9, "ddb"), (11, "vendor"), (12, "emul"), (13, "security"))

# The top; user (8) is libc's own affair.
ROOT: Final = node_of(0, "", _KERN, VM, *(node_of(number, name) for number, name in _EMPTY), _HW, MACHDEP, PROC)
