"""A machine that stands still: the facts of this host, and nothing that runs.

For asking what would happen (`ring3 explain`): an exec is checked and planned against the facts alone, so that
neither ptrace nor a stub process is needed.  Invariant: no method starts anything; what would need a running guest
raises `MachineUnavailable`.

Not here: scripts for guests of tests (`scripted.py`).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import Final, NoReturn

from ring3.abi.x86 import Arch
from ring3.machine.base import Cpu, MachineUnavailable, Space, VdsoImage
from ring3.machine.native.facts import LazyVdso, host_facts, vdso_ranges

_ARCH_PRCTL: Final = 158
_ARCH_MAP_VDSO_32: Final = 0x2002
_PROBE_AT: Final = 0x2000_0000
_MOST: Final = 1 << 20                      # bytes of a clock image; real ones have a few pages


class StillMachine:
    """A `Machine` with facts only.

    >>> machine = StillMachine()
    >>> machine.facts.page_size, machine.ready()
    (4096, ())
    """

    def __init__(self) -> None:
        self.facts = host_facts(os.cpu_count() or 1, 0, 0, LazyVdso(find_vdso))._replace(name="still")

    def new_space(self) -> Space:
        """Raises MachineUnavailable: as every method that would make something run."""
        _refuse()

    def new_thread(self, space: Space, like: Cpu | None = None) -> Cpu:
        """As `new_space`."""
        _refuse()

    def wait(self, *, block: bool = True) -> Cpu | None:
        """As `new_space`."""
        _refuse()

    def ring(self) -> None:
        """Nobody waits."""

    def set_alarm(self, deadline_ns: int | None) -> None:
        """Nobody waits."""

    def watch(self, fd: int, events: int) -> None:
        """Nobody waits."""

    def ready(self) -> Sequence[tuple[int, int]]:
        """Nothing is watched."""
        return ()

    def close(self) -> None:
        """Nothing was made."""


def _refuse() -> NoReturn:
    raise MachineUnavailable("this kernel was made for asking only: nothing runs in it")


def find_vdso(arch: Arch) -> VdsoImage | None:
    """The clock pages for `arch`: this process's own, or those a child of it gets when it asks for the other kind."""
    if arch is Arch.X86_64:
        return _own_vdso()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _tell_vdso32(writing)
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = pipe.read(_MOST + 16)
    os.waitpid(pid, 0)
    if len(told) < 16:
        return None
    image = told[16:]
    return VdsoImage(int.from_bytes(told[:8], "little"), int.from_bytes(told[8:16], "little"), image)


def _own_vdso() -> VdsoImage | None:
    own = vdso_ranges("self")
    if own is None:
        return None
    data, start, end = own
    return VdsoImage(start - data, end - start, ctypes.string_at(start, end - start))


def _tell_vdso32(writing: int) -> None:
    """In a child: give up the clock pages for those of 32-bit programs (a process may have one kind), and write them
    out.

    Nothing that may ask a clock is called from here on, buffered files among it: the C library would jump into pages
    that are gone.
    """
    libc = ctypes.CDLL(None)
    libc.syscall.restype = ctypes.c_long
    for start, end, _ in _special_mappings():
        libc.munmap(ctypes.c_void_p(start), ctypes.c_size_t(end - start))
    if libc.syscall(_ARCH_PRCTL, _ARCH_MAP_VDSO_32, ctypes.c_ulong(_PROBE_AT)) < 0:
        return                                       # a host built without it
    found = _special_mappings()
    start, end = next(((start, end) for start, end, name in found if name == b"[vdso]"), (0, 0))
    data = min((start for start, _, _ in found), default=start)
    told = (start - data).to_bytes(8, "little") + (end - start).to_bytes(8, "little")
    told += ctypes.string_at(start, min(end - start, _MOST))
    while told:
        told = told[os.write(writing, told) :]


def _special_mappings() -> list[tuple[int, int, bytes]]:
    """Where [vvar] and [vdso] of this process stand."""
    fd = os.open("/proc/self/maps", os.O_RDONLY)
    parts = []
    while part := os.read(fd, 1 << 16):
        parts.append(part)
    os.close(fd)
    found = []
    for line in b"".join(parts).splitlines():
        where, *_, name = line.split()
        if name in (b"[vdso]", b"[vvar]", b"[vvar_vclock]"):
            first, _, last = where.partition(b"-")
            found.append((int(first, 16), int(last, 16), name))
    return found
