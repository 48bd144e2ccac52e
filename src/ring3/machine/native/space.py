"""One address space: the memory of one or more stubs.

A space begins as a stub nobody runs yet (`spare`): its first thread takes it over, later threads are cloned from a
stopped one.  Mapping operations are host calls made by a stopped stub; bytes are read and written through one
`/proc/PID/mem` descriptor (1.4 µs; whatever the protection), opened when first needed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Final

from ring3.abi.x86 import Arch
from ring3.machine.native import code, zygote
from ring3.machine.native.cpu import QUEUED, NativeCpu
from ring3.machine.native.ptrace import ALIVE, oserror

if TYPE_CHECKING:
    from ring3.machine.native.machine import NativeMachine

MREMAP_MAYMOVE: Final = 1
MREMAP_FIXED: Final = 2
MREMAP_DONTUNMAP: Final = 4
MS_SYNC: Final = 4
# madvise(2): what only concerns the caller's own pages.  Not: HWPOISON and SOFT_OFFLINE (the host's memory), MERGEABLE.
HARMLESS_ADVICE: Final = frozenset((*range(5), *range(8, 12), *range(14, 26)))


class NativeSpace:
    """A `Space` of the native machine; made by `NativeMachine.new_space` and `fork` alone.

    `spare` is the pid of a stub no thread has taken yet, or 0.  `donor` tells whose extended state that stub was copied
    from and at which serial of the machine (None: it is fresh).
    """

    def __init__(self, machine: NativeMachine, pid: int, donor: tuple[NativeCpu, int] | None = None) -> None:
        self._machine = machine
        self._tracer = machine.tracer
        self._control = machine.tracer.control
        self.spare = pid
        self.donor = donor
        self.spread = donor is not None and donor[0].spread
        self.cpus: dict[int, NativeCpu] = {}
        self._mem_fd = -1
        self._pending: list[tuple[int, ...]] | None = None
        self._checks: list[Callable[[], None]] = []
        self._batch = _Batch(self)
        self.is_closed = False

    # Mapping.

    def batch(self) -> AbstractContextManager[None]:
        """See `Space`.

        A batch in a batch is part of it; reading, writing and forking inside one first do what was collected.
        """
        return self._batch

    def map_anonymous(
        self, addr: int, length: int, prot: int, *, shared: bool = False, noreserve: bool = False,
    ) -> None:
        """See `Space`."""
        self._check(addr, length)
        flags = zygote.MAP_FIXED | zygote.MAP_ANONYMOUS | (zygote.MAP_SHARED if shared else zygote.MAP_PRIVATE)
        self._do(zygote.NR_MMAP, addr, length, prot & 7, flags | (zygote.MAP_NORESERVE if noreserve else 0), -1, 0)

    def map_file(self, addr: int, length: int, prot: int, fd: int, offset: int, *, shared: bool) -> None:
        """See `Space`."""
        self._check(addr, length)
        flags = zygote.MAP_FIXED | (zygote.MAP_SHARED if shared else zygote.MAP_PRIVATE)
        self._do(zygote.NR_MMAP, addr, length, prot & 7, flags, fd, offset)

    def map_vdso(self, arch: Arch, addr: int) -> None:
        """See `Space`.  Raises `OSError` (ENOSYS) where the host has none, (EEXIST) when the space has one already."""
        image = self._machine.facts.vdso.get(arch)
        if image is None:
            raise oserror(errno.ENOSYS)
        length = image.data_size + image.code_size
        self._check(addr, length)
        which = zygote.ARCH_MAP_VDSO_64 if arch is Arch.X86_64 else zygote.ARCH_MAP_VDSO_32

        def check() -> None:
            if self.read(addr + image.data_size, 4) != b"\x7fELF":
                raise OSError(errno.ENOMEM, f"the host put the clock page elsewhere than {addr:#x}")

        with self._batch:
            self._do(zygote.NR_MUNMAP, addr, length)
            self._do(zygote.NR_ARCH_PRCTL, which, addr)
            self._checks.append(check)

    def unmap(self, addr: int, length: int) -> None:
        """See `Space`."""
        self._check(addr, length)
        self._do(zygote.NR_MUNMAP, addr, length)

    def protect(self, addr: int, length: int, prot: int) -> None:
        """See `Space`."""
        self._check(addr, length)
        self._do(zygote.NR_MPROTECT, addr, length, prot & 7)

    def move(self, addr: int, length: int, new_addr: int, new_length: int, *, keep: bool = False) -> None:
        """See `Space`."""
        self._check(addr, length)
        self._check(new_addr, new_length)
        if addr == new_addr:
            self._do(zygote.NR_MREMAP, addr, length, new_length, 0)
        else:
            flags = MREMAP_MAYMOVE | MREMAP_FIXED | (MREMAP_DONTUNMAP if keep else 0)
            self._do(zygote.NR_MREMAP, addr, length, new_length, flags, new_addr)

    def advise(self, addr: int, length: int, advice: int) -> None:
        """See `Space`.  Raises `ValueError` for advice that reaches beyond the caller's own pages."""
        self._check(addr, length)
        if advice not in HARMLESS_ADVICE:
            raise ValueError(f"advice {advice} is not for guests")
        self._do(zygote.NR_MADVISE, addr, length, advice)

    def sync(self, addr: int, length: int) -> None:
        """See `Space`."""
        self._check(addr, length)
        self._do(zygote.NR_MSYNC, addr, length, MS_SYNC)

    def _check(self, addr: int, length: int) -> None:
        """The wall before the stub page: no address reaches the host that did not come through here."""
        if addr < 0 or length < 0 or addr + length > code.USER_TOP:
            raise ValueError(f"{addr:#x}+{length:#x} is outside what a guest may use")
        if addr & (code.PAGE - 1):
            raise ValueError(f"{addr:#x} is not the start of a page")

    def _do(self, *call: int) -> None:
        if self._pending is not None:
            self._pending.append(call)
        else:
            self._tracer.call(self._carrier(), *call)

    def begin(self) -> bool:
        """Start to collect; False when that is being done already."""
        if self._pending is not None:
            return False
        self._pending = []
        return True

    def finish(self, *, run: bool) -> None:
        """Stop collecting, and do what was collected."""
        try:
            if run:
                self.flush()
        finally:
            self._pending = None
            self._checks.clear()

    def flush(self) -> None:
        """Do what was collected so far.  Raises `OSError` for the first that failed; the rest is dropped."""
        calls = self._pending
        if not calls:
            return
        self._pending = []
        if len(calls) == 1:
            self._tracer.call(self._carrier(), *calls[0])
        else:
            self._tracer.batch(self._carrier(), calls)
        checks, self._checks = self._checks, []
        for check in checks:
            check()

    def _carrier(self) -> int:
        """The pid of a stopped stub with this memory.  Raises `OSError`: ESRCH if none is left, EBUSY if all run."""
        if self.spare:
            return self.spare
        for pid, cpu in self.cpus.items():
            if cpu.state <= QUEUED:
                return pid
        raise oserror(errno.EBUSY if self.cpus else errno.ESRCH)

    # Bytes.

    def read(self, addr: int, nbytes: int) -> bytes:
        """See `Space`."""
        if self._control[ALIVE] != 1:
            self._machine.refuse()
        if self._pending:
            self.flush()
        if addr < 0 or nbytes < 0:
            raise ValueError("address and length of a read are not negative")
        if addr + nbytes > code.USER_TOP:
            nbytes = max(code.USER_TOP - addr, 0)
        try:
            return os.pread(self._mem_fd if self._mem_fd >= 0 else self._open_memory(), nbytes, addr)
        except OSError as error:
            if error.errno in (errno.EIO, errno.EFAULT):
                return b""
            raise

    def write(self, addr: int, data: bytes | memoryview) -> int:
        """See `Space`."""
        if self._control[ALIVE] != 1:
            self._machine.refuse()
        if self._pending:
            self.flush()
        if addr < 0:
            raise ValueError("the address of a write is not negative")
        if addr + len(data) > code.USER_TOP:
            data = memoryview(data).cast("B")
            data = data[: max(code.USER_TOP - addr, 0)]
        try:
            return os.pwrite(self._mem_fd if self._mem_fd >= 0 else self._open_memory(), data, addr)
        except OSError as error:
            if error.errno in (errno.EIO, errno.EFAULT):
                return 0
            raise

    def _open_memory(self) -> int:
        pid = self.spare or next(iter(self.cpus), 0)
        if not pid:
            raise oserror(errno.ESRCH)
        path = f"/proc/{pid}/mem"
        try:
            self._mem_fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._machine.drop_memory_descriptors()
            self._mem_fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        return self._mem_fd

    def close_memory(self) -> None:
        """Give the memory descriptor back; the next read opens a new one."""
        if self._mem_fd >= 0:
            os.close(self._mem_fd)
            self._mem_fd = -1

    def compare_exchange32(self, addr: int, expected: int, new: int) -> int:
        """See `Space`.  Raises `OSError`: EFAULT if the word is not writable memory, EINVAL if it is not aligned."""
        if self._pending:
            self.flush()
        if addr < 0 or addr + 4 > code.USER_TOP:
            raise oserror(errno.EFAULT)
        if addr & 3:
            raise oserror(errno.EINVAL)
        return self._tracer.compare_exchange32(self._carrier(), addr, expected & 0xFFFF_FFFF, new & 0xFFFF_FFFF)

    # Life.

    def fork(self) -> NativeSpace:
        """See `Space`."""
        if self._pending:
            self.flush()
        pid = self._carrier()
        child = zygote.clone(self._tracer, pid, zygote.NEW_SPACE)
        cpu = self.cpus.get(pid)
        donor = self.donor if cpu is None else (cpu, self._machine.serial)
        return self._machine.adopt(NativeSpace(self._machine, child, donor))

    def new_stub(self) -> tuple[int, tuple[NativeCpu, int] | None, bool]:
        """A stub for one more thread: its pid, its donor as in `donor`, and whether it may run on all CPUs."""
        if self._pending:
            self.flush()
        if self.spare:
            pid, self.spare = self.spare, 0
            return pid, self.donor, self.spread
        carrier = self._carrier()
        cpu = self.cpus[carrier]
        return zygote.clone(self._tracer, carrier, zygote.NEW_THREAD), (cpu, self._machine.serial), cpu.spread

    def resident(self) -> int:
        """See `Space`."""
        pid = self.spare or next(iter(self.cpus), 0)
        try:
            with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:
                return int(file.read(256).split()[1]) * code.PAGE
        except (OSError, IndexError):
            return 0

    def close(self) -> None:
        """See `Space`."""
        if self.is_closed:
            return
        self.is_closed = True
        self.close_memory()
        self._machine.forget(self)


class _Batch:
    """The context manager of `NativeSpace.batch`; one per space, for a batch in a batch joins the outer one."""

    def __init__(self, space: NativeSpace) -> None:
        self._space = space
        self._depth = 0

    def __enter__(self) -> None:
        if not self._depth:
            self._space.begin()
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if not self._depth:
            self._space.finish(run=kind is None)
