"""What a machine is: the handful of verbs through which the kernel makes instructions run.

A `Machine` makes address spaces (`Space`) and threads of execution in them (`Cpu`), and tells which thread stopped and
why. It knows nothing of processes, files or system calls: a call is a stop of kind SYSCALL with the registers as the
guest left them.  The word ptrace appears nowhere above `machine/native/`.

Contract, for every machine:

* One kernel thread calls every method except `ring`; a machine is made, used and closed on that thread.
* A stopped `Cpu` stays stopped until `resume`.  `wait` gives back each stop once.
* Memory operations need at least one stopped (or never started) `Cpu` in the space; the one whose call is being served
  is one.  They take page-aligned addresses and lengths, and raise `OSError` when the host refuses; nothing is half
  done unless the error's documentation says so.
* Bytes of guest memory are read and written whatever their protection: the region list of `vm/` decides what a guest
  address allows, before it asks.

Not here: regions, permissions, signals as guests see them, anything that names a system.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ring3.abi.stop import Fault, StopKind
from ring3.abi.x86 import Arch
from ring3.namedtuple import NamedTuple


class MachineUnavailable(Exception):
    """The host does not let a machine work.  The text is one sentence that says what to allow."""


class VdsoImage(NamedTuple):
    """The code that lets a guest read the clock without a call, as this host offers it to one instruction set.

    `data_size` bytes of clock data (vvar) are mapped first, the code of `code_size` bytes right behind them; both in
    bytes, page multiples.  `image` is the ELF image of the code, for symbol look-ups.
    """

    data_size: int
    code_size: int
    image: bytes


class MachineFacts(NamedTuple):
    """What a machine offers.  Capabilities are asked here, never by `isinstance`.

    Addresses and sizes in bytes.  `user_top` is the first address no guest may use; `min_addr` the lowest it may map.
    """

    name: str
    page_size: int
    user_top: int
    min_addr: int
    ncpus: int
    hwcap: int                       # AT_HWCAP
    hwcap2: int                      # AT_HWCAP2
    hwcap3: int | None               # AT_HWCAP3, None where the host does not give one
    platform: bytes                  # AT_PLATFORM
    minsigstksz: int                 # AT_MINSIGSTKSZ
    xstate_size: int                 # bytes of extended CPU state in a 64-bit signal frame, XSAVE format, without the magic word
    xfeatures: int                   # XCR0: the state components that area holds
    clock_ticks: int                 # AT_CLKTCK
    vdso: dict[Arch, VdsoImage]      # empty where the clock must be asked through a call


class Cpu(Protocol):
    """One thread of execution.  After `wait` returned it, `kind` says why it stopped.

    `regs` are NREGS unsigned 64-bit words in the order of `abi.x86`; write them while stopped, `resume` takes them
    along. On a SYSCALL stop ORIG_RAX holds the number and RIP points behind the instruction; the call is not executed.
    `owner` is whatever the kernel hangs on it (its thread).
    """

    owner: Any
    space: Space
    kind: StopKind
    arch: Arch
    fault: Fault

    @property
    def regs(self) -> memoryview:
        """The registers: a writable view of NREGS words, format 'Q'."""

    def resume(self, *, step: bool = False) -> None:
        """Let it run from its registers; it may only really start at the next `wait`.  `step`: one instruction."""

    def interrupt(self) -> None:
        """Ask a running thread to stop: one INTERRUPT stop follows, unless it stops for another reason first.

        Without effect on a stopped thread.
        """

    def kill(self) -> None:
        """End it, running or stopped.  It is never given back by `wait` again."""

    def cpu_time_ns(self) -> int:
        """How long it has been on a CPU, in ns, as the host measures it; 0 once it is dead or where nobody measures."""

    def read_xstate(self) -> bytes:
        """The extended state (x87, SSE, AVX …) in XSAVE format, `MachineFacts.xstate_size` bytes, legacy area first."""

    def write_xstate(self, state: bytes) -> None:
        """Replace the extended state.  Raises `ValueError` for a header the CPU would refuse."""

    def reset_xstate(self) -> None:
        """The state a new program starts with (x87 control word 0x37f, MXCSR 0x1f80, all else zero)."""

    def set_thread_area(self, entry: int, descriptor: bytes) -> None:
        """Set GDT slot `entry` (12 to 14 on 64-bit Linux) from a 16-byte `struct user_desc`: TLS of 32-bit programs.

        Raises `OSError`.
        """


class Space(Protocol):
    """One address space.  Addresses and lengths in bytes, page-aligned where memory is mapped.

    `prot` is bits 1 read, 2 write, 4 execute.  All placements are exact: the caller keeps the region list, what stands
    there already is replaced.
    """

    def batch(self) -> AbstractContextManager[None]:
        """Collect the mapping operations inside the block and do them together, in order, at its end (one stop).

        The block's end raises `OSError` for the first that failed; those before it are done, those after it are not.
        """

    def map_anonymous(self, addr: int, length: int, prot: int, *, shared: bool = False, noreserve: bool = False) -> None:
        """Zeroed memory; `shared` stays common to this space and its later forks."""

    def map_file(self, addr: int, length: int, prot: int, fd: int, offset: int, *, shared: bool) -> None:
        """Pages of the kernel process's descriptor `fd` from byte `offset` on; writes reach the file when `shared`."""

    def map_vdso(self, arch: Arch, addr: int) -> None:
        """The clock page for `arch`: data at `addr`, code behind it (see `VdsoImage`)."""

    def unmap(self, addr: int, length: int) -> None:
        """Make the range unmapped; holes are fine."""

    def protect(self, addr: int, length: int, prot: int) -> None:
        """Change protection of a fully mapped range."""

    def move(self, addr: int, length: int, new_addr: int, new_length: int, *, keep: bool = False) -> None:
        """Move (and resize) one mapping; what it leaves is unmapped, or stays mapped empty with `keep`
        (MREMAP_DONTUNMAP).

        `addr == new_addr` resizes in place.
        """

    def advise(self, addr: int, length: int, advice: int) -> None:
        """madvise(2) with Linux's number, for the harmless ones (DONTNEED, FREE, HUGEPAGE …)."""

    def sync(self, addr: int, length: int) -> None:
        """Write shared file pages of the range back (msync MS_SYNC)."""

    def read(self, addr: int, nbytes: int) -> bytes:
        """Bytes of guest memory.  Shorter than asked where the mapped range ends or a file page lies beyond the file's end."""

    def write(self, addr: int, data: bytes | memoryview) -> int:
        """Write bytes; the number written, short where the mapped range ends."""

    def compare_exchange32(self, addr: int, expected: int, new: int) -> int:
        """Atomically: if the aligned 32-bit word at `addr` is `expected`, store `new`.  The word found.  Raises `OSError`."""

    def fork(self) -> Space:
        """A copy-on-write duplicate, with no threads.  Shared mappings stay shared."""

    def resident(self) -> int:
        """Bytes of host memory it holds now, for statistics."""

    def close(self) -> None:
        """Give all of it back.  Threads still in it are killed.  Twice is harmless."""


class Machine(Protocol):
    """Makes spaces and threads and waits for their stops."""

    facts: MachineFacts

    def new_space(self) -> Space:
        """An empty address space."""

    def new_thread(self, space: Space, like: Cpu | None = None) -> Cpu:
        """A stopped thread in `space`: registers zero but for the segments of 64-bit user mode, extended state fresh.

        With `like`, a stopped thread of any space: registers, extended state and TLS slots start as copies of its own.
        """

    def wait(self, *, block: bool = True) -> Cpu | None:
        """Start what was resumed and wait for the next stop.

        None when something else wants the kernel: `ring`, the alarm, a watched descriptor; or, not blocking, when
        nothing stopped.
        """

    def ring(self) -> None:
        """Make `wait` return None soon.  The one method any thread may call, and a signal handler too."""

    def set_alarm(self, deadline_ns: int | None) -> None:
        """Have `wait` return None once CLOCK_MONOTONIC passes `deadline_ns`; None takes it back."""

    def watch(self, fd: int, events: int) -> None:
        """Have `wait` return None while host descriptor `fd` shows one of `events` (poll(2) bits; level-triggered).

        0 forgets the descriptor.  Raises `PermissionError` for one that is always ready (a regular file).
        """

    def ready(self) -> Sequence[tuple[int, int]]:
        """The watched descriptors that are ready now, with their events; asking does not block."""

    def close(self) -> None:
        """End every thread and space; no host process, file or mapping stays.  Twice is harmless."""
