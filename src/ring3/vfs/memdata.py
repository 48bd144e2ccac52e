"""Regular files of a `MemoryFS`: where their bytes are.

A file is a bytearray while it is small and dense; it becomes a memfd, for good, when somebody maps it, when it would have a hole
of a page or more, or when it outgrows `INLINE_MAX`.  So a guest's `truncate -s 1T` costs a page table, not memory.
Invariant: what a file is charged is the bytes of its pages that hold data, and no write passes the file system's limit (ENOSPC);
pages that guests touch through shared mappings are counted when the file is next looked at.

Not here: attributes (`memnode.py`), the account itself (`memory.py`).  Source: mm/shmem.c, fallocate(2), memfd_create(2).
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from ring3.abi.flags import S_IFMT, FileType
from ring3.errors import EFBIG, EINVAL, ENOSPC, ENXIO, EOPNOTSUPP, from_oserror
from ring3.vfs.memnode import PAGE, MemVnode

if TYPE_CHECKING:
    from ring3.vfs.memory import MemoryFS

INLINE_MAX = 4 << 20            # a bytearray is never longer
MAX_SIZE = (1 << 63) - 1
FALLOC_KEEP_SIZE = 1


def pages_of(nbytes: int) -> int:
    """Bytes of whole pages that hold `nbytes`."""
    return (nbytes + PAGE - 1) & ~(PAGE - 1)


class MemRegular(MemVnode):
    """A regular file in memory.  Its bytes are in `_data`, or, when that is None, behind the descriptor `_fd`."""

    __slots__ = ("_data", "_fd")

    def __init__(self, fs: MemoryFS, mode: int, uid: int, gid: int) -> None:
        self._data: bytearray | None = bytearray()
        self._fd = -1
        super().__init__(fs, mode & ~S_IFMT | FileType.REG, uid, gid)

    def __del__(self) -> None:
        super().__del__()
        if self._fd >= 0:
            self.fs.close_pages(self._fd)

    @property
    def size(self) -> int:
        return os.fstat(self._fd).st_size if self._data is None else len(self._data)

    def pages(self) -> tuple[int, int]:
        if self._data is not None:
            size = len(self._data)
            return size, pages_of(size) >> 9
        st = os.fstat(self._fd)
        self._charge(st.st_blocks * 512)
        return st.st_size, st.st_blocks

    def read(self, offset: int, nbytes: int) -> bytes:
        self.atime = time.time_ns()
        if self._data is not None:
            with memoryview(self._data) as view:
                return bytes(view[offset : offset + nbytes])
        nbytes = min(nbytes, os.fstat(self._fd).st_size - offset)
        return os.pread(self._fd, nbytes, offset) if nbytes > 0 else b""

    def write(self, offset: int, data: bytes) -> int:
        """All of it, or as much as there is room for.  Raises ENOSPC for none, EFBIG."""
        end = offset + len(data)
        if end > MAX_SIZE:
            raise EFBIG
        if self._data is not None:
            if offset - len(self._data) < PAGE and end <= INLINE_MAX:
                return self._write_inline(offset, data)
            self._promote()
        room = self.fs.room()
        if pages_of(len(data)) + PAGE > room:
            data = data[: self._fits(offset, len(data), room)]
            if not data:
                raise ENOSPC
        done = 0
        view = memoryview(data)
        try:
            while done < len(data):
                done += os.pwrite(self._fd, view[done:], offset + done)
        except OSError as error:
            if not done:
                raise from_oserror(error) from None
        self._recount()
        self.touched()
        return done

    def _write_inline(self, offset: int, data: bytes) -> int:
        buffer = self._data
        assert buffer is not None
        size = len(buffer)
        end = offset + len(data)
        if end > size:
            grown = pages_of(end) - pages_of(size)
            if grown > self.fs.room():
                end = pages_of(size) + (self.fs.room() & ~(PAGE - 1))
                data = data[: max(end - offset, 0)]
                if not data:
                    raise ENOSPC
                end = offset + len(data)
            self._charge(pages_of(max(end, size)))
            if offset > size:
                buffer.extend(bytes(offset - size))
        buffer[offset : offset + len(data)] = data
        self.touched()
        return len(data)

    def _fits(self, offset: int, nbytes: int, room: int) -> int:
        """How many of `nbytes` at `offset` can be written when `room` bytes of new pages are left."""
        position, end = offset & ~(PAGE - 1), offset + nbytes
        size = os.fstat(self._fd).st_size
        while position < end:
            hole = end
            if position < size:
                data_at = self._next(position, size, os.SEEK_DATA)
                if data_at <= position:
                    position = pages_of(self._next(position, size, os.SEEK_HOLE))
                    continue
                hole = min(pages_of(data_at) if data_at < size else end, end)
            need = pages_of(hole) - position
            if need > room:
                return max(position + (room & ~(PAGE - 1)) - offset, 0)
            room -= need
            position += need
        return nbytes

    def _next(self, offset: int, size: int, whence: int) -> int:
        """The next data or hole of the memfd; its size where none follows."""
        try:
            return os.lseek(self._fd, offset, whence)
        except OSError:
            return size

    def resize(self, size: int) -> None:
        if not 0 <= size <= MAX_SIZE:
            raise EINVAL if size < 0 else EFBIG
        if self._data is not None:
            old = len(self._data)
            if size - old < PAGE and size <= INLINE_MAX:
                if pages_of(size) - pages_of(old) > self.fs.room():
                    raise ENOSPC
                if size > old:
                    self._data.extend(bytes(size - old))
                else:
                    del self._data[size:]
                self._charge(pages_of(size))
                self.touched()
                return
            self._promote()
        try:
            os.ftruncate(self._fd, size)
        except OSError as error:
            raise from_oserror(error) from None
        self._recount()
        self.touched()

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Mode 0 and FALLOC_FL_KEEP_SIZE reserve nothing but grow or check; the pages come when written.

        Punching holes writes zeros into what there is.  Raises EOPNOTSUPP for the others, ENOSPC.
        """
        if offset < 0 or length <= 0:
            raise EINVAL
        if offset + length > MAX_SIZE:
            raise EFBIG
        if mode & ~3 or mode == 2:
            raise EOPNOTSUPP
        if mode & 2:
            self._punch(offset, min(offset + length, self.size))
            return
        if length > self.fs.room() and offset + length > self.size:
            raise ENOSPC
        if not mode & FALLOC_KEEP_SIZE and offset + length > self.size:
            self.resize(offset + length)

    def _punch(self, start: int, end: int) -> None:
        """Zeros from `start` to `end`, within the file; a page at a time where a page holds data."""
        while start < end:
            stop = min(end, start + (1 << 20))
            if self._data is not None:
                self._data[start:stop] = bytes(stop - start)
            else:
                start = self._next(start, end, os.SEEK_DATA)
                stop = min(end, self._next(start, end, os.SEEK_HOLE), start + (1 << 20))
                if start < stop:
                    os.pwrite(self._fd, bytes(stop - start), start)
            start = stop
        self.touched()

    def seek_extent(self, offset: int, *, hole: bool) -> int:
        if self._fd < 0:
            return super().seek_extent(offset, hole=hole)
        if offset < 0:
            raise ENXIO
        try:
            return os.lseek(self._fd, offset, os.SEEK_HOLE if hole else os.SEEK_DATA)
        except OSError as error:
            raise from_oserror(error) from None

    def host_fd(self, *, write: bool = False) -> int:
        if self._fd < 0:
            self._promote()
        return self._fd

    def _promote(self) -> None:
        """Become a memfd.  Raises ENFILE and the like when the host has none left."""
        data = self._data
        if data is None:
            return
        try:
            fd = os.memfd_create("ring3", os.MFD_CLOEXEC)
        except OSError as error:
            raise from_oserror(error) from None
        done = 0
        try:
            with memoryview(data) as view:
                while done < len(data):
                    done += os.pwrite(fd, view[done:], done)
        except OSError as error:
            os.close(fd)
            raise from_oserror(error) from None
        self._fd, self._data = fd, None
        self.fs.pages.add(fd)

    def copy_from(self, fd: int, size: int) -> None:
        """Become a copy of the first `size` bytes of the host file `fd`, holes and all.  Raises ENOSPC before it
        begins.
        """
        if min(os.fstat(fd).st_blocks * 512, pages_of(size)) > self.fs.room():
            raise ENOSPC
        self._promote()
        try:
            os.ftruncate(self._fd, size)
            start = 0
            while start < size:
                start = os.lseek(fd, start, os.SEEK_DATA)
                end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
                os.lseek(self._fd, start, os.SEEK_SET)
                while start < end:
                    count = os.sendfile(self._fd, fd, start, min(end - start, 1 << 30))
                    if count == 0:
                        return      # it shrank meanwhile
                    start += count
        except OSError as error:
            if error.errno != errno.ENXIO:      # no data behind the last hole
                raise from_oserror(error) from None
        finally:
            self._recount()

    def _recount(self) -> None:
        self._charge(os.fstat(self._fd).st_blocks * 512)
