"""An address space made of Python objects: a dictionary of pages, for machines without a host process per space.

It follows `base.Space` and Linux where a test of a higher floor could tell the difference: exact placement, short
reads at the end of what is mapped, pages beyond the end of a file, private copies against shared pages.

Not here: protection of reads and writes (they ignore it, by contract), threads.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ring3.abi.x86 import Arch
    from ring3.machine.base import VdsoImage

PAGE: Final = 4096
_WRITE: Final = 2
_MADV_DONTNEED: Final = 4


class _File:
    """A descriptor of its own for a mapped file; closed when the last page of the mapping goes."""

    def __init__(self, fd: int) -> None:
        self.fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)

    def __del__(self) -> None:
        os.close(self.fd)


_ZEROS: Final = bytes(PAGE)


class _Frame:
    """What the mappings of one shared page have in common: its bytes, an array once they are written."""

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data: bytes | bytearray = _ZEROS


class Page:
    """One page.  `data` is None where the bytes live in the file (a shared file mapping), a frame where they are shared memory;
    bytes of its own once it is written.
    """

    __slots__ = ("data", "file", "offset", "prot", "shared")

    def __init__(self, prot: int, *, shared: bool, file: _File | None = None, offset: int = 0) -> None:
        self.prot = prot
        self.shared = shared
        self.file = file
        self.offset = offset
        self.data: bytearray | bytes | _Frame | None = None
        self.refill()

    def refill(self) -> None:
        """The contents a page has when it is first touched."""
        if self.file is None:
            self.data = _Frame() if self.shared else _ZEROS
        elif not self.shared:
            data = bytearray(os.pread(self.file.fd, PAGE, self.offset))
            if data:                                        # the last page of a file is zero behind its end
                data.extend(bytes(PAGE - len(data)))
            self.data = data

    def copy(self) -> Page:
        """For a fork: itself where it is shared."""
        if self.shared:
            return self
        page = Page.__new__(Page)
        page.prot, page.shared, page.file, page.offset = self.prot, self.shared, self.file, self.offset
        page.data = bytearray(self.data) if isinstance(self.data, bytearray) else self.data
        return page

    def with_prot(self, prot: int) -> Page:
        """The same bytes under another protection (which belongs to the mapping, not to a shared page)."""
        page = Page.__new__(Page)
        page.prot, page.shared, page.file, page.offset, page.data = prot, self.shared, self.file, self.offset, self.data
        return page

    def read(self, start: int, length: int) -> bytes:
        """Bytes from `start`; none in a page beyond the end of its file."""
        data = self.data.data if isinstance(self.data, _Frame) else self.data
        if data is not None:
            return bytes(data[start : start + length])
        assert self.file is not None
        contents = os.pread(self.file.fd, PAGE, self.offset)
        return contents.ljust(PAGE, b"\0")[start : start + length] if contents else b""

    def write(self, start: int, data: bytes) -> int:
        """Bytes written from `start`."""
        if self.data is None:
            assert self.file is not None
            present = len(os.pread(self.file.fd, PAGE, self.offset))
            if not present:
                return 0
            os.pwrite(self.file.fd, data[: max(present - start, 0)], self.offset + start)
            return len(data)
        owner = self.data if isinstance(self.data, _Frame) else self
        if not owner.data:
            return 0
        if owner.data is _ZEROS:
            owner.data = bytearray(PAGE)
        assert isinstance(owner.data, bytearray)
        owner.data[start : start + len(data)] = data
        return len(data)


class PageSpace:
    """The memory half of `base.Space` on a dictionary of pages."""

    def __init__(self, user_top: int, min_addr: int, vdso: dict[Arch, VdsoImage]) -> None:
        self._user_top = user_top
        self._min_addr = min_addr
        self._vdso = vdso
        self.pages: dict[int, Page] = {}
        self.is_closed = False

    def batch(self) -> AbstractContextManager[None]:
        """See `Space`.  Here each operation is done at once: the first to fail raises where it stands."""
        return nullcontext()

    def _range(self, addr: int, length: int) -> range:
        """The page numbers of a range.  Raises `ValueError` for one no guest may use, `OSError` as Linux does."""
        if self.is_closed:
            raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))
        if addr < 0 or length < 0 or addr + length > self._user_top:
            raise ValueError(f"{addr:#x}+{length:#x} is outside what a guest may use")
        if addr % PAGE:
            raise ValueError(f"{addr:#x} is not the start of a page")
        return range(addr // PAGE, -(-(addr + length) // PAGE))

    def _fresh_range(self, addr: int, length: int) -> range:
        pages = self._range(addr, length)
        if not length:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if addr < self._min_addr:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        return pages

    def _mapped_range(self, addr: int, length: int, missing: int) -> range:
        pages = self._range(addr, length)
        if any(number not in self.pages for number in pages):
            raise OSError(missing, os.strerror(missing))
        return pages

    def map_anonymous(
        self, addr: int, length: int, prot: int, *, shared: bool = False, noreserve: bool = False,
    ) -> None:
        """See `Space`."""
        del noreserve                                       # nothing is reserved here
        for number in self._fresh_range(addr, length):
            self.pages[number] = Page(prot & 7, shared=shared)

    def map_file(self, addr: int, length: int, prot: int, fd: int, offset: int, *, shared: bool) -> None:
        """See `Space`."""
        pages = self._fresh_range(addr, length)
        if offset % PAGE:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        mode = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
        if mode == os.O_WRONLY or (shared and prot & _WRITE and mode != os.O_RDWR):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        file = _File(fd)
        for index, number in enumerate(pages):
            self.pages[number] = Page(prot & 7, shared=shared, file=file, offset=offset + index * PAGE)

    def map_vdso(self, arch: Arch, addr: int) -> None:
        """See `Space`."""
        image = self._vdso.get(arch)
        if image is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        for number in self._fresh_range(addr, image.data_size + image.code_size):
            self.pages[number] = Page(5, shared=False)
        self.write(addr + image.data_size, image.image)

    def unmap(self, addr: int, length: int) -> None:
        """See `Space`."""
        for number in self._range(addr, length):
            self.pages.pop(number, None)

    def protect(self, addr: int, length: int, prot: int) -> None:
        """See `Space`."""
        for number in self._mapped_range(addr, length, errno.ENOMEM):
            self.pages[number] = self.pages[number].with_prot(prot & 7)

    def move(self, addr: int, length: int, new_addr: int, new_length: int, *, keep: bool = False) -> None:
        """See `Space`."""
        old = list(self._mapped_range(addr, length, errno.EFAULT))
        new = list(self._range(new_addr, new_length))
        if addr != new_addr and set(old) & set(new):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        taken = [self.pages.pop(number) for number in old]
        if addr == new_addr and any(number in self.pages for number in new):
            self.pages.update(zip(old, taken, strict=True))
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        for number in new:
            self.pages.pop(number, None)
        self.pages.update(zip(new, taken, strict=False))
        for index in range(len(old), len(new)):
            last = taken[-1]
            self.pages[new[index]] = Page(last.prot, shared=last.shared, file=last.file,
                                          offset=last.offset + (index - len(old) + 1) * PAGE)
        if keep:
            for number, page in zip(old, taken, strict=True):
                self.pages[number] = Page(page.prot, shared=page.shared, file=page.file, offset=page.offset)

    def advise(self, addr: int, length: int, advice: int) -> None:
        """See `Space`.  Only DONTNEED does anything that can be seen."""
        pages = self._mapped_range(addr, length, errno.ENOMEM)
        if advice == _MADV_DONTNEED:
            for number in pages:
                if not self.pages[number].shared:
                    self.pages[number].refill()

    def sync(self, addr: int, length: int) -> None:
        """See `Space`.  Shared pages are the file's already."""
        self._mapped_range(addr, length, errno.ENOMEM)

    def _pieces(self, addr: int, nbytes: int) -> Iterator[tuple[Page, int, int]]:
        """The mapped pages from `addr` on, each with start and length of the part meant."""
        end = min(addr + nbytes, self._user_top)
        while addr < end:
            page = self.pages.get(addr // PAGE)
            if page is None:
                return
            length = min(PAGE - addr % PAGE, end - addr)
            yield page, addr % PAGE, length
            addr += length

    def read(self, addr: int, nbytes: int) -> bytes:
        """See `Space`."""
        found = bytearray()
        for page, start, length in self._pieces(addr, nbytes):
            piece = page.read(start, length)
            found += piece
            if len(piece) < length:
                break
        return bytes(found)

    def write(self, addr: int, data: bytes | memoryview) -> int:
        """See `Space`."""
        contents = bytes(data)
        done = 0
        for page, start, length in self._pieces(addr, len(contents)):
            written = page.write(start, contents[done : done + length])
            done += written
            if written < length:
                break
        return done

    def compare_exchange32(self, addr: int, expected: int, new: int) -> int:
        """See `Space`."""
        if addr % 4:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        page = self.pages.get(addr // PAGE)
        if page is None or not page.prot & _WRITE:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
        found = int.from_bytes(self.read(addr, 4), "little")
        if found == expected & 0xFFFF_FFFF:
            self.write(addr, (new & 0xFFFF_FFFF).to_bytes(4, "little"))
        return found

    def resident(self) -> int:
        """See `Space`."""
        return len(self.pages) * PAGE

    def close(self) -> None:
        """See `Space`."""
        self.is_closed = True
        self.pages.clear()
