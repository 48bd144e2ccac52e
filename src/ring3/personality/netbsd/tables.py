"""Which module declares which of NetBSD's calls, and what its table does that no other does.

The index (`abi/netbsd/calls.tbl`, `calls32.tbl`: name to module, or module:name) is derived by `scripts/index_calls.py` from three
explicit lists: the modules of `calls/netbsd/`, those of the personality, and `abi/netbsd/shared.tbl`, which says for which calls
Linux's declaration does; a test holds index and declarations together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ring3.abi.table import read_pairs
from ring3.abi.x86 import Arch
from ring3.calls.netbsd.indirect import Indirect, sys___syscall, sys_syscall
from ring3.calls.syscall import Bound, Sysent
from ring3.personality.index import declared_over
from ring3.protocols import Abi

_HERE: Final = "ring3.personality.netbsd"
_SUBJECTS: Final = (             # modules of ring3.calls.netbsd
    "admin", "attribute", "counters", "descriptor", "directory", "extattr", "ids", "ioctl", "kqueue", "ksem", "ktrace",
    "limits", "lwp", "machdep", "memory", "names", "park", "poll", "process", "ptrace", "release5", "sched", "shm",
    "signal", "socket", "spawn", "sysctl", "time", "wait",
)
MODULES: Final = {
    Arch.X86_64: (*(f"ring3.calls.netbsd.{subject}" for subject in _SUBJECTS), f"{_HERE}.contexts"),
    Arch.I386: (),                               # over those
}
INDEX: Final = {Arch.X86_64: "netbsd/calls", Arch.I386: "netbsd/calls32"}
SHARED: Final = "netbsd/shared"

NUMBER_MASK: Final = 511                 # SYS_NSYSENT - 1: the kernel looks at no more of rax
RESTART: Final = 0x7FFF_0000 | 511       # what goes on with a sleep nothing interrupted; no program calls it by this number
RESTART_NAME: Final = "___restart"

# Calls whose error is their result, with the carry flag clear (but not through syscall(2)).
ERROR_RESULTS: Final = frozenset({"posix_spawn", "clock_nanosleep", "posix_fallocate", "__posix_fadvise50"})


def homes(arch: Arch) -> dict[str, str]:
    """Name of a call to the module that declares it for `arch`."""
    found = read_pairs(INDEX[Arch.X86_64])
    if arch is Arch.I386:
        found |= read_pairs(INDEX[Arch.I386])
    return found


def declared(arch: Arch) -> dict[str, str]:
    """What the index should say, from the modules themselves.

    Raises TypeError for a call declared twice, KeyError for a shared one that Linux does not have.
    """
    if arch is Arch.I386:
        return declared_over(MODULES[arch], {}, {})
    from ring3.personality.linux.tables import declared as declared_by_linux

    return declared_over(MODULES[arch], read_pairs(SHARED), declared_by_linux(Arch.X86_64))


class NetbsdSysent(Sysent):
    """The table: nine bits of a number count, and two calls name another one."""

    def __init__(self, names: Mapping[int, str], homes: Mapping[str, str], abi: Abi) -> None:
        super().__init__({**names, RESTART: RESTART_NAME}, homes, abi)
        self[0] = Indirect(sys_syscall, abi, self)
        self[198] = Indirect(sys___syscall, abi, self)

    def __missing__(self, number: int) -> Bound:
        if number > NUMBER_MASK and number != RESTART:
            return self[number & NUMBER_MASK]
        return super().__missing__(number)
