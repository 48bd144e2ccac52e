"""One address space: the sorted list of its regions, kept in step with the machine's space.

Invariant: what the region list says is what the machine has mapped.  The list decides what a guest address allows, before
the machine is asked to read or write (machines ignore protections).  Limits on sizes (RLIMIT_AS …) are the calls' affair.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ring3.abi.flags import Prot
from ring3.abi.x86 import Arch
from ring3.errors import EEXIST, EFAULT, EINVAL, ENAMETOOLONG, ENOMEM, Errno, from_oserror
from ring3.machine.base import Space
from ring3.vm.region import PAGE, Region, VMObject, page_ceil, page_floor

if TYPE_CHECKING:
    from ring3.vm.traits import SpaceTraits

MAX_REGIONS = 65530            # sysctl vm.max_map_count
STACK_GROWTH = 32 * PAGE       # how much a growing stack gets at once beyond what it asked for
STACK_GUARD = 256 * PAGE       # kernel's stack_guard_gap
_STRING_CHUNK = 512


class VMSpace:
    """Regions over a machine space.  Shared by threads and, until exec, by a vfork child: `refs` counts its processes.

    All addresses and lengths are bytes; `mmap_base` is where look-ups for free room start, going down to `min_addr`.
    Raises `Errno`s; nothing is half done.
    """

    __slots__ = (
        "_starts", "arg_end", "arg_start", "auxv", "brk_end", "brk_start", "data_bytes", "env_end", "env_start",
        "execute_only_stack", "kept", "legacy_layout", "machine", "min_addr", "mmap_base", "peak_bytes", "ps_strings", "refs",
        "regions", "sigcode", "sizes", "stack_limit", "stack_top", "text", "total_bytes", "traits", "user_top", "vdso_base",
    )

    def __init__(self, machine: Space, *, min_addr: int, user_top: int) -> None:
        self.machine = machine
        self.regions: list[Region] = []
        self._starts: list[int] = []
        self.refs = 1
        self.min_addr = min_addr
        self.user_top = user_top
        self.mmap_base = user_top
        self.legacy_layout = False      # grow up from mmap_base instead of down
        self.brk_start = self.brk_end = 0
        self.stack_top = 0              # highest address of the stack region, for growth and /proc
        self.stack_limit = 8 << 20      # how far the stack region may grow, in bytes (RLIMIT_STACK at exec, kept current)
        self.arg_start = self.arg_end = self.env_start = self.env_end = 0
        self.auxv = b""
        self.kept: tuple[tuple[bytes, ...], tuple[bytes, ...]] | None = None    # arguments and environment, if kept aside
        self.vdso_base = 0
        self.ps_strings = 0             # NetBSD: where the program's strings are told of
        self.sigcode = 0                # where the kernel shows a signal trampoline; 0: nowhere
        self.sizes: object = None       # NetBSD: vm_taddr and its like, as the exec left them (exec/plan.py: Sizes)
        self.traits: SpaceTraits | None = None      # what its system remembers of it
        self.text: VMObject | None = None       # the program it runs; see `set_text`
        self.total_bytes = 0
        self.peak_bytes = 0

    # --- looking
    def find(self, addr: int) -> Region | None:
        """The region that holds `addr`."""
        index = bisect_right(self._starts, addr) - 1
        if index >= 0:
            region = self.regions[index]
            if addr < region.end:
                return region
        return None

    def index_of(self, addr: int) -> int:
        """Where in `regions` the first one stands that ends above `addr`."""
        index = max(bisect_right(self._starts, addr) - 1, 0)
        return index + (index < len(self.regions) and self.regions[index].end <= addr)

    def overlapping(self, start: int, end: int) -> list[Region]:
        """The regions that touch [start, end), lowest first."""
        index = max(bisect_right(self._starts, start) - 1, 0)
        found = []
        for region in self.regions[index:]:
            if region.start >= end:
                break
            if region.end > start:
                found.append(region)
        return found

    def covered(self, start: int, end: int) -> bool:
        """Whether every byte of [start, end) is mapped."""
        for region in self.overlapping(start, end):
            if region.start > start:
                return False
            start = region.end
        return start >= end

    def find_gap(self, length: int, *, hint: int = 0, low: int | None = None, high: int | None = None) -> int:
        """Room for `length` bytes: at `hint` when it is free there, else the highest free place below `high`.

        Raises ENOMEM.
        """
        low = self.min_addr if low is None else low
        if hint:
            hint = page_floor(hint)
            if low <= hint <= self.user_top - length and not self._obstructed(hint, hint + length):
                return hint
        ceiling = self.mmap_base if high is None else high
        if self.legacy_layout and high is None:
            return self._find_gap_up(length)
        for region in reversed(self.regions):
            if region.end <= ceiling - length and ceiling - length >= low:
                return ceiling - length
            if region.start < ceiling:
                ceiling = region.start - (STACK_GUARD if region.growsdown else 0)
        if ceiling - length >= low:
            return ceiling - length
        if high is None:                       # nothing below: Linux tries once more bottom-up
            return self._find_gap_up(length)
        raise ENOMEM

    def _find_gap_up(self, length: int) -> int:
        floor = self.mmap_base if self.legacy_layout else max(self.min_addr, self.user_top // 3)
        for region in self.regions:
            if region.end <= floor:
                continue
            if floor + length <= region.start - (STACK_GUARD if region.growsdown else 0):
                return floor
            floor = region.end
        if floor + length <= self.user_top:
            return floor
        raise ENOMEM

    def _obstructed(self, start: int, end: int) -> bool:
        """Whether something stands in [start, end), or a stack above would have too little room to grow."""
        return any(r.start < end or r.growsdown for r in self.overlapping(start, end + STACK_GUARD))

    # --- changing
    def batch(self) -> AbstractContextManager[None]:
        """Do the machine's part of all mappings made inside the block together at its end (one stop instead of many)."""
        return self.machine.batch()

    def map(self, region: Region) -> None:
        """Put `region` in place, replacing whatever stood there.

        Raises ENOMEM, ENODEV, and what the host says.
        """
        if region.start < 0 or region.end > self.user_top or region.start >= region.end:
            raise ENOMEM
        if len(self.regions) >= MAX_REGIONS:
            raise ENOMEM("too many mappings")
        try:
            self._map_in_machine(region)
        except OSError as error:
            raise from_oserror(error) from error
        self._remove(region.start, region.end)
        self._insert(region)

    def _map_in_machine(self, region: Region) -> None:
        machine = self.machine
        if region.object is None or region.object.anonymous:
            machine.map_anonymous(region.start, region.length, region.prot, shared=region.shared, noreserve=region.noreserve)
        else:
            write = region.shared and bool(region.max_prot & Prot.WRITE)
            fd = region.object.host_fd(write=write)
            machine.map_file(region.start, region.length, region.prot, fd, region.offset, shared=region.shared)

    def map_vdso(self, arch: Arch, addr: int, data_size: int, code_size: int) -> None:
        """The machine's clock page: data at `addr`, code behind it."""
        try:
            self.machine.map_vdso(arch, addr)
        except OSError as error:
            raise from_oserror(error) from error
        self._insert(Region(addr, addr + data_size, Prot.READ, label=b"[vvar]", max_prot=1))
        self._insert(Region(addr + data_size, addr + data_size + code_size, Prot.READ | Prot.EXEC, label=b"[vdso]"))
        self.vdso_base = addr + data_size

    def unmap(self, start: int, end: int) -> None:
        """Nothing is mapped in [start, end) afterwards; holes are fine.  Raises ENOMEM where a split is one region too many."""
        touched = self.overlapping(start, end)
        if not touched:
            return
        if len(self.regions) >= MAX_REGIONS and touched[0].start < start and touched[-1].end > end:
            raise ENOMEM
        try:
            self.machine.unmap(start, end - start)
        except OSError as error:
            raise from_oserror(error) from error
        self._remove(start, end)

    def protect(self, start: int, end: int, prot: int) -> None:
        """Change the protection of [start, end).  Raises ENOMEM for a hole, EACCES beyond a region's `max_prot` (by the call)."""
        if not self.covered(start, end):
            raise ENOMEM
        try:
            self.machine.protect(start, end - start, prot & 7)
        except OSError as error:
            raise from_oserror(error) from error
        for region in self.split(start, end):
            region.prot = prot & 7
        self._coalesce(start, end)

    def split(self, start: int, end: int) -> list[Region]:
        """Cut regions at `start` and `end`, so that those in between can be changed alone; they are given back."""
        for cut in (start, end):
            region = self.find(cut)
            if region is not None and region.start < cut:
                tail = region.slice(cut, region.end)
                index = bisect_right(self._starts, region.start)
                region.end = cut
                self.regions.insert(index, tail)
                self._starts.insert(index, cut)
                if tail.object is not None:
                    tail.object.mapped(tail)
        return self.overlapping(start, end)

    def move(self, start: int, length: int, new_start: int, new_length: int, *, keep: bool = False) -> None:
        """mremap's work on one range of one region: move, grow or shrink.  What stood at the new place is replaced."""
        old = self.find(start)
        if old is None:
            raise EFAULT
        moved = old.slice(start, start + length)
        moved.start, moved.end = new_start, new_start + new_length
        try:
            self.machine.move(start, length, new_start, new_length, keep=keep)
        except OSError as error:
            raise from_oserror(error) from error
        if not keep:
            self._remove(start, start + length)
        self._remove(new_start, new_start + new_length)
        self._insert(moved)

    def grow(self, region: Region, new_end: int) -> None:
        """Make `region` longer in place; the room behind it is free.  Raises ENOMEM."""
        try:
            self.machine.move(region.start, region.length, region.start, new_end - region.start)
        except OSError as error:
            raise from_oserror(error) from error
        self.total_bytes += new_end - region.end
        self.peak_bytes = max(self.peak_bytes, self.total_bytes)
        region.end = new_end
        self._coalesce(region.start, region.end)

    def set_brk(self, addr: int) -> None:
        """Move the end of the heap to `addr`.  Raises ENOMEM when something stands in the way; unchanged then."""
        if addr < self.brk_start:
            raise EINVAL
        old, new = page_ceil(self.brk_end), page_ceil(addr)
        if new > old:
            above = self.overlapping(old, new + PAGE)
            if new > self.user_top or above:
                raise ENOMEM
            self.map(Region(old, new, Prot.READ | Prot.WRITE))
        elif new < old:
            self.unmap(new, old)
        self.brk_end = addr

    def reserve(self, start: int, end: int) -> None:
        """Raises EEXIST when anything is mapped in [start, end) (MAP_FIXED_NOREPLACE)."""
        if self.overlapping(start, end):
            raise EEXIST

    # --- the list itself
    def _insert(self, region: Region) -> None:
        index = bisect_right(self._starts, region.start)
        self.regions.insert(index, region)
        self._starts.insert(index, region.start)
        self.total_bytes += region.length
        self.peak_bytes = max(self.peak_bytes, self.total_bytes)
        if region.object is not None:
            region.object.mapped(region)
        self._coalesce(region.start, region.end)

    def _remove(self, start: int, end: int) -> None:
        for region in self.split(start, end):
            index = bisect_right(self._starts, region.start) - 1
            del self.regions[index], self._starts[index]
            self.total_bytes -= region.length
            if region.object is not None:
                region.object.unmapped(region)

    def _coalesce(self, start: int, end: int) -> None:
        """Merge neighbours around [start, end) that are one."""
        index = max(bisect_right(self._starts, start) - 2, 0)
        while index + 1 < len(self.regions) and self.regions[index].start < end + 1:
            before, after = self.regions[index], self.regions[index + 1]
            if after.continues(before):
                before.end = after.end
                del self.regions[index + 1], self._starts[index + 1]
                if after.object is not None:
                    after.object.unmapped(after)
            else:
                index += 1

    # --- faults and copying
    def fault(self, addr: int) -> bool:
        """Whether an access that stopped at `addr` may be tried again: a growing stack got its room."""
        above = bisect_right(self._starts, addr)
        if above >= len(self.regions):
            return False
        region = self.regions[above]
        if not region.growsdown or addr >= region.start:
            return False
        lowest = page_ceil(max(region.end - self.stack_limit, self.min_addr))
        below = self.regions[above - 1] if above else None
        if below is not None and below.prot:
            lowest = max(lowest, below.end + STACK_GUARD)
        if page_floor(addr) < lowest:
            return False
        start = max(page_floor(addr) - STACK_GROWTH, lowest)
        try:
            self.machine.map_anonymous(start, region.start - start, region.prot)
        except OSError:
            return False
        self.total_bytes += region.start - start
        self.peak_bytes = max(self.peak_bytes, self.total_bytes)
        region.start = self._starts[above] = start
        return True

    def _check(self, addr: int, nbytes: int, need: int) -> bool:
        """Whether [addr, addr+nbytes) is mapped with the protection `need`."""
        end = addr + nbytes
        while addr < end:
            region = self.find(addr)
            if region is None:
                if not self.fault(addr):
                    return False
                region = self.find(addr)
                if region is None:
                    return False
            if not int(region.prot) & need:         # plain integers: asked for every copy
                return False
            addr = region.end
        return True

    def copyin(self, addr: int, nbytes: int) -> bytes:
        """Exactly `nbytes` of guest memory.  Raises EFAULT."""
        if nbytes == 0:
            return b""
        if nbytes < 0 or addr + nbytes > self.user_top or not self._check(addr, nbytes, 7):
            raise EFAULT
        data = self.machine.read(addr, nbytes)
        if len(data) != nbytes:
            raise EFAULT
        return data

    def copyout(self, addr: int, data: bytes | memoryview) -> None:
        """Write all of `data`.  Raises EFAULT; nothing is written then, unless a file page is missing in the middle."""
        nbytes = len(data)
        if nbytes == 0:
            return
        if addr + nbytes > self.user_top or not self._check(addr, nbytes, Prot.WRITE):
            raise EFAULT
        if self.machine.write(addr, data) != nbytes:
            raise EFAULT

    def check_writable(self, addr: int, nbytes: int) -> None:
        """Raises EFAULT unless all of the range may be written."""
        if nbytes and (addr + nbytes > self.user_top or not self._check(addr, nbytes, Prot.WRITE)):
            raise EFAULT

    def copyinstr(self, addr: int, limit: int) -> bytes:
        """A NUL-terminated string without its NUL, at most `limit` bytes with it.  Raises EFAULT, ENAMETOOLONG."""
        found = b""
        while len(found) < limit:
            region = self.find(addr)
            if region is None or not region.prot or addr >= self.user_top:
                raise EFAULT
            nbytes = min(region.end - addr, _STRING_CHUNK - addr % _STRING_CHUNK, limit - len(found))
            chunk = self.machine.read(addr, nbytes)
            if not chunk:
                raise EFAULT
            end = chunk.find(b"\0")
            if end >= 0:
                return found + chunk[:end]
            found += chunk
            addr += len(chunk)
        raise ENAMETOOLONG

    # --- life
    def fork(self) -> VMSpace:
        """A copy-on-write duplicate for a new process.  Raises ENOMEM."""
        try:
            machine = self.machine.fork()
        except OSError as error:
            raise from_oserror(error) from error
        child = VMSpace(machine, min_addr=self.min_addr, user_top=self.user_top)
        for name in ("mmap_base", "legacy_layout", "brk_start", "brk_end", "stack_top", "stack_limit", "arg_start", "arg_end",
                     "env_start", "env_end", "auxv", "kept", "vdso_base", "ps_strings", "sigcode", "sizes"):
            setattr(child, name, getattr(self, name))
        if self.traits is not None:
            child.traits = self.traits.copy()
        if self.text is not None:
            child.set_text(self.text)
        for region in self.regions:
            copy = region.slice(region.start, region.end)
            copy.locked = False
            if copy.traits is not None:
                copy.traits.forked(shared=copy.shared)
            child.regions.append(copy)
            child._starts.append(copy.start)
            child.total_bytes += copy.length
            if copy.object is not None:
                copy.object.mapped(copy)
        child.peak_bytes = child.total_bytes
        try:
            for region in [r for r in child.regions if r.dontfork or r.wipe]:
                if region.dontfork:
                    child.unmap(region.start, region.end)
                else:
                    machine.map_anonymous(region.start, region.length, region.prot, noreserve=region.noreserve)
        except (Errno, OSError) as error:
            child.release()
            raise (error if isinstance(error, Errno) else from_oserror(error)) from error
        return child

    def set_text(self, program: VMObject) -> None:
        """Run `program`, which nobody may write while a space does (ETXTBSY)."""
        program.run()
        if self.text is not None:
            self.text.unrun()
        self.text = program

    def release(self) -> None:
        """One process less; the last one gives everything back."""
        self.refs -= 1
        if self.refs == 0:
            for region in self.regions:
                if region.object is not None:
                    region.object.unmapped(region)
            self.regions.clear()
            self._starts.clear()
            if self.text is not None:
                self.text.unrun()
                self.text = None
            self.machine.close()

    def __iter__(self) -> Iterator[Region]:
        return iter(self.regions)

    def remap(self, belongs: Callable[[VMObject], bool]) -> None:
        """Map the shared regions of some objects anew: their pages now live elsewhere (a file was copied up).

        Raises `Errno` from the host; regions keep their protection.
        """
        try:
            with self.machine.batch():
                for region in self.regions:
                    if region.shared and region.object is not None and belongs(region.object):
                        self._map_in_machine(region)
        except OSError as error:
            raise from_oserror(error) from error

    def shows(self, wanted: VMObject) -> bool:
        """Whether a shared region of it is here."""
        return any(region.shared and region.object is wanted for region in self.regions)
