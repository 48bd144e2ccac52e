"""Which module declares which of Linux's calls, so that a call's module is imported when the call is first made.

The index (`abi/linux/calls.tbl`, `calls32.tbl`) is derived from the declarations by `scripts/index_calls.py`; a test holds the two
together.  What is declared where is one explicit list of modules, nothing registers itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from ring3.abi.table import read_pairs
from ring3.abi.x86 import Arch
from ring3.calls.syscall import collect

_SUBJECTS: Final = (             # modules of ring3.calls
    "admin", "attribute", "clone", "copying", "descriptor", "directory", "epoll", "exec", "fcntl", "futex", "ids",
    "inotify", "io", "ioctl", "limits", "memadvice", "memory", "mount", "poll", "prctl", "process", "procmem", "receiving",
    "sending", "signal", "socket", "stat", "system", "sysvshm", "time", "timer", "tls", "wait", "xattr",
)
_HERE: Final = "ring3.personality.linux"
MODULES: Final = {
    Arch.X86_64: (*(f"ring3.calls.{subject}" for subject in _SUBJECTS), f"{_HERE}.sigframe64"),
    Arch.I386: (f"{_HERE}.i386_files", f"{_HERE}.i386_process", f"{_HERE}.sigframe32"),        # over those
}
INDEX: Final = {Arch.X86_64: "linux/calls", Arch.I386: "linux/calls32"}


def homes(arch: Arch) -> dict[str, str]:
    """Name of a call to the module that declares it for `arch`."""
    found = read_pairs(INDEX[Arch.X86_64])
    if arch is Arch.I386:
        found |= read_pairs(INDEX[Arch.I386])
    return found


def declared(arch: Arch) -> dict[str, str]:
    """What the index should say: name to module, from the modules themselves.  Raises TypeError for a call declared twice."""
    modules = [import_module(name) for name in MODULES[arch]]
    collect(*modules)
    return dict(sorted((name, module.__name__) for module in modules for name in collect(module)))
