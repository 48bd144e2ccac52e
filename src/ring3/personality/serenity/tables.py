"""Which module declares which of SerenityOS's calls.

The index (`abi/serenity/calls.tbl`: name to module, or module:name) is derived by `scripts/index_calls.py` from three explicit
lists: the modules of `calls/serenity/`, those of the personality, and `abi/serenity/shared.tbl`, which says for which calls Linux's
declaration does; a test holds index and declarations together.
"""

from __future__ import annotations

from typing import Final

from ring3.abi.table import read_pairs
from ring3.abi.x86 import Arch
from ring3.personality.index import declared_over

_SUBJECTS: Final = (                     # modules of ring3.calls.serenity
    "anonymous",
    "attribute",
    "debug",
    "descriptor",
    "directory",
    "exec",
    "futex",
    "ids",
    "io",
    "ioctl",
    "jail",
    "keyboard",
    "marks",
    "memory",
    "message",
    "names",
    "open",
    "pledge",
    "poll",
    "process",
    "profiling",
    "ptrace",
    "purging",
    "sched",
    "signal",
    "socket",
    "system",
    "thread",
    "time",
    "timepage",
    "tls",
    "unveil",
    "wait",
    "watch",
)
MODULES: Final = {
    Arch.X86_64: (*(f"ring3.calls.serenity.{subject}" for subject in _SUBJECTS), "ring3.personality.serenity.sigframe"),
}
INDEX: Final = {Arch.X86_64: "serenity/calls"}
SHARED: Final = "serenity/shared"


def declared(arch: Arch) -> dict[str, str]:
    """What the index should say, from the modules themselves.

    Raises TypeError for a call declared twice, KeyError for a shared one that Linux does not have.
    """
    from ring3.personality.linux.tables import declared as declared_by_linux

    return declared_over(MODULES[arch], read_pairs(SHARED), declared_by_linux(Arch.X86_64))
