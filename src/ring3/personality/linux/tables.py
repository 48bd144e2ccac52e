"""Which modules declare Linux's calls: explicit lists, nothing registers itself."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Final

from ring3.personality.linux import i386_files, i386_process, sigframe32, sigframe64

_SUBJECTS: Final = (             # modules of ring3.calls
    "admin", "attribute", "clone", "copying", "descriptor", "directory", "epoll", "exec", "fcntl", "futex", "ids",
    "io", "ioctl", "limits", "memadvice", "memory", "mount", "poll", "prctl", "process", "procmem", "receiving",
    "sending", "signal", "socket", "stat", "system", "time", "timer", "tls", "wait", "xattr",
)
CALLS64: Final[tuple[ModuleType, ...]] = (*(import_module(f"ring3.calls.{subject}") for subject in _SUBJECTS), sigframe64)
CALLS32: Final[tuple[ModuleType, ...]] = (i386_files, i386_process, sigframe32)          # over those
