"""What SerenityOS's programs see of the kernel as files: /proc and /sys of their own, over everybody's.

Each is mounted where only programs of this system see it (`Mount.only`, `Personality.views`); Linux's and NetBSD's programs keep
the /proc and /sys they have.  A process of any system may be looked into from here, by the original's rules.

    fs          the two file systems and what their files are made of
    procfs      /proc: the names, and what leads elsewhere
    process     the texts about one process
    sysfs       /sys: the table of names
    processes   /sys/kernel/processes
    machine     the other texts about kernel and machine

Nearly every text is JSON, made when the file is opened or read from its beginning.
Source: Kernel/ProcessSpecificExposed.cpp, Kernel/FileSystem/{ProcFS,SysFS}, of the end of 2022: names, modes and keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final


def _proc(system: Any) -> Any:
    from ring3.personality.serenity.view.fs import SerenityProcFS

    return SerenityProcFS(system)


def _sys(system: Any) -> Any:
    from ring3.personality.serenity.view.fs import SysFS

    return SysFS(system)


VIEWS: Final[Mapping[bytes, Callable[[Any], Any]]] = MappingProxyType({b"/proc": _proc, b"/sys": _sys})
