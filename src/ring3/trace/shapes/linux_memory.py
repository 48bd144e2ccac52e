"""Shapes of the calls about memory, as Linux numbers them.

Source: strace(1); the constants are those of mmap(2), madvise(2), mlock(2), membarrier(2), pkeys(7), shmget(2).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.x86 import RSI
from ring3.calls.sysarg import Kind
from ring3.trace.shapes.shape import (
    FD,
    Address,
    At,
    Bits,
    Chooser,
    Hex,
    Named,
    Plain,
    Shape,
    Signed,
    looked,
    memory,
    number,
    shape,
    where,
)

if TYPE_CHECKING:
    from ring3.proc.proc import Thread

_ADVICE: Final = Named({
    0: "MADV_NORMAL", 1: "MADV_RANDOM", 2: "MADV_SEQUENTIAL", 3: "MADV_WILLNEED", 4: "MADV_DONTNEED", 8: "MADV_FREE",
    9: "MADV_REMOVE",
    10: "MADV_DONTFORK", 11: "MADV_DOFORK", 12: "MADV_MERGEABLE", 13: "MADV_UNMERGEABLE", 14: "MADV_HUGEPAGE",
    15: "MADV_NOHUGEPAGE",
    16: "MADV_DONTDUMP", 17: "MADV_DODUMP", 18: "MADV_WIPEONFORK", 19: "MADV_KEEPONFORK", 20: "MADV_COLD", 21: "MADV_PAGEOUT",
    22: "MADV_POPULATE_READ", 23: "MADV_POPULATE_WRITE", 24: "MADV_DONTNEED_LOCKED", 25: "MADV_COLLAPSE", 100: "MADV_HWPOISON",
}, "MADV_???")
_KEY_RIGHTS: Final = Bits({1: "PKEY_DISABLE_ACCESS", 2: "PKEY_DISABLE_WRITE", 4: "PKEY_DISABLE_EXECUTE"}, "PKEY_???")
_LOCK_ALL: Final = Bits({1: "MCL_CURRENT", 2: "MCL_FUTURE", 4: "MCL_ONFAULT"}, "MCL_???")
_BARRIERS: Final = {
    1: "MEMBARRIER_CMD_GLOBAL", 2: "MEMBARRIER_CMD_GLOBAL_EXPEDITED", 4: "MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED",
    8: "MEMBARRIER_CMD_PRIVATE_EXPEDITED", 16: "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED",
    32: "MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE", 64: "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE",
    128: "MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ", 256: "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ",
}
_MAPPING_KINDS: Final = {0: "MAP_FILE", 1: "MAP_SHARED", 2: "MAP_PRIVATE", 3: "MAP_SHARED_VALIDATE"}
_MAPPING: Final = (
    (0x10, "FIXED"), (0x20, "ANONYMOUS"), (0x40, "32BIT"), (0x4000, "NORESERVE"), (0x8000, "POPULATE"), (0x10000, "NONBLOCK"),
    (0x100, "GROWSDOWN"), (0x800, "DENYWRITE"), (0x1000, "EXECUTABLE"), (0x2000, "LOCKED"), (0x20000, "STACK"),
    (0x40000, "HUGETLB"),
    (0x80000, "SYNC"), (0x100000, "FIXED_NOREPLACE"),
)
_MAP_FLAGS: Final = Bits({bit: f"MAP_{name}" for bit, name in _MAPPING})
_KEY_AT: Final = {0: "IPC_PRIVATE"}
_PAGES: Final = 32              # of mincore's answer


class _MapFlags(Kind):
    """mmap's flags: how it is shared is a number of four bits, the size of a huge page one of six."""

    def show(self, t: Thread, value: Any) -> str:
        return _map_flags(int(value))


@lru_cache(maxsize=256)
def _map_flags(value: int) -> str:
    """`MAP_PRIVATE|MAP_HUGETLB|21<<MAP_HUGE_SHIFT`.

    >>> _map_flags(0x22), _map_flags(0x54040002)
    ('MAP_PRIVATE|MAP_ANONYMOUS', 'MAP_PRIVATE|MAP_HUGETLB|21<<MAP_HUGE_SHIFT')
    """
    huge, flags = value >> 26 & 0x3F, value & 0x3FF_FFF0
    parts = [_MAPPING_KINDS.get(value & 0xF) or number(value & 0xF, "MAP_???")]
    if flags:
        parts.append(_MAP_FLAGS.show(None, flags))
    return "|".join([*parts, f"{huge}<<MAP_HUGE_SHIFT"] if huge else parts)


class _Residency(Address):
    """mincore's answer: a number for each page of the length that stands before it."""

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        pages = (t.cpu.regs[RSI] + 4095) // 4096
        more = ", ..." if pages > _PAGES else ""

        def look(t: Thread, addr: int) -> str:
            return f"[{', '.join(str(byte & 1) for byte in memory(t, addr, min(pages, _PAGES)))}{more}]"

        return looked(look, t, where(value))


_SHARED: Final = Bits({0o1000: "IPC_CREAT", 0o2000: "IPC_EXCL", 0o4000: "SHM_HUGETLB", 0o10000: "SHM_NORESERVE"})


class _SharedMode(Kind):
    """shmget's flags, the permissions last."""

    def show(self, t: Thread, value: Any) -> str:
        value = int(value) & 0xFFFF_FFFF
        flags = _SHARED.show(t, value & ~0o777)
        return f"{flags}|0{value & 0o777:02o}" if value & ~0o777 else f"0{value:02o}"


def _mremap(args: Sequence[Any]) -> Shape:
    return _REMAPS[bool(int(args[3]) & 2)]


_REMAPS: Final = {fixed: shape(*((None,) * (5 if fixed else 4))) for fixed in (False, True)}


_BARRIER: Final = shape(
    Named({0: "MEMBARRIER_CMD_QUERY", **_BARRIERS}, "MEMBARRIER_CMD_???"),
    Bits({1: "MEMBARRIER_CMD_FLAG_CPU"}, "MEMBARRIER_CMD_FLAG_???"),
)
_BARRIER_ON: Final = (*_BARRIER, At(2, Signed()))      # one CPU


def _barriers(t: Thread, args: Sequence[Any], result: int) -> str:
    return f"{result:#x} ({Bits(_BARRIERS).show(t, result)})" if int(args[0]) == 0 and result else str(result)


SHAPES: Final[dict[str, Shape | Chooser]] = {
    "mmap": shape(None, None, None, _MapFlags(), None, Hex()), "madvise": shape(None, None, _ADVICE), "mremap": _mremap,
    "msync": shape(None, None, Bits({1: "MS_ASYNC", 4: "MS_SYNC", 2: "MS_INVALIDATE"}, "MS_???")),
    "mlock2": shape(None, None, Bits({1: "MLOCK_ONFAULT"}, "MLOCK_???")), "mlockall": shape(_LOCK_ALL),
    "mincore": shape(None, None, _Residency()), "pkey_alloc": shape(Hex(), _KEY_RIGHTS),
    "membarrier": lambda args: _BARRIER_ON if int(args[1]) & 1 else _BARRIER,
    "process_madvise": shape(FD, Address(), Plain(), _ADVICE, Hex()),
    "shmget": shape(Named(_KEY_AT), Plain(), _SharedMode()), "shmat": shape(Signed(), Address(), Hex()), "shmdt": shape(Address()),
}
RESULTS: Final = {"membarrier": _barriers}
