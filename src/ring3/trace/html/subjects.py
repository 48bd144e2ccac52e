"""What a system call is about, for colours and filters, and what an error's name means.

Derived: a call's subject is that of the module of `ring3.calls` that declares it; an error's meaning is its class's docstring.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from ring3 import errors
from ring3.abi.table import read_pairs

SUBJECTS: Final = ("file", "memory", "process", "signal", "network", "time", "other")

# Modules of `calls` by subject; those not here are about something else.
_OF_MODULE: Final = MappingProxyType({
    "attribute": "file", "copying": "file", "descriptor": "file", "directory": "file", "fcntl": "file", "io": "file",
    "inotify": "file", "ioctl": "file", "mount": "file", "stat": "file", "xattr": "file", "i386_files": "file",
    "memadvice": "memory", "memory": "memory", "procmem": "memory", "sysvshm": "memory",
    "clone": "process", "exec": "process", "futex": "process", "process": "process", "wait": "process", "tls": "process",
    "i386_process": "process", "lwp": "process", "park": "process",
    "sched": "process", "spawn": "process", "context64": "process", "context32": "process", "ktrace": "process",
    "signal": "signal", "sigframe64": "signal", "sigframe32": "signal",
    "receiving": "network", "sending": "network", "socket": "network",
    "epoll": "time", "kqueue": "time", "poll": "time", "time": "time", "timer": "time",
})
_INDEXES: Final = ("netbsd/calls32", "netbsd/calls", "linux/calls32", "linux/calls")


def subjects() -> dict[str, int]:
    """Name of a call to the place of its subject in SUBJECTS."""
    found = {}
    for index in _INDEXES:
        for name, module in read_pairs(index).items():
            found[name] = SUBJECTS.index(_OF_MODULE.get(module.rpartition(".")[2].partition(":")[0], "other"))
    return found


def meanings() -> dict[str, str]:
    """Name of an error to what it means."""
    return {
        name: (cls.__doc__ or "").rstrip(".")
        for name, cls in vars(errors).items() if isinstance(cls, type) and issubclass(cls, errors.Errno) and cls is not errors.Errno
    }
