"""Which modules declare Linux's calls: explicit tuples, nothing registers itself."""

from __future__ import annotations

from types import ModuleType
from typing import Final

from ring3.calls import (
    admin,
    attribute,
    clone,
    copying,
    descriptor,
    directory,
    epoll,
    exec,  # noqa: A004 - the subject's name
    fcntl,
    futex,
    ids,
    io,
    ioctl,
    limits,
    memadvice,
    memory,
    mount,
    poll,
    prctl,
    process,
    procmem,
    receiving,
    sending,
    signal,
    socket,
    stat,
    system,
    time,
    timer,
    tls,
    wait,
    xattr,
)
from ring3.personality.linux import i386_files, i386_process, sigframe32, sigframe64

CALLS64: Final[tuple[ModuleType, ...]] = (
    admin,
    attribute,
    clone,
    copying,
    descriptor,
    directory,
    epoll,
    exec,
    fcntl,
    futex,
    ids,
    io,
    ioctl,
    limits,
    memadvice,
    memory,
    mount,
    poll,
    prctl,
    process,
    procmem,
    receiving,
    sending,
    sigframe64,
    signal,
    socket,
    stat,
    system,
    time,
    timer,
    tls,
    wait,
    xattr,
)
CALLS32: Final[tuple[ModuleType, ...]] = (i386_files, i386_process, sigframe32)
