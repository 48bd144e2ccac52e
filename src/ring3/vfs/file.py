"""An open file description: what open(2) makes and descriptors share.  Files never sleep (see `waiting`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from ring3.abi.flags import ACCMODE, FileType, OpenFlags, Poll, Whence
from ring3.abi.notify import IN_ACCESS, IN_CLOSE_NOWRITE, IN_CLOSE_WRITE, IN_MODIFY
from ring3.abi.records import Attr, AttrChange, DirEntry
from ring3.errors import EBADF, EFBIG, EINVAL, EISDIR, ENOTDIR, ENOTTY, ESPIPE

if TYPE_CHECKING:
    from ring3.protocols import GuestMemory
    from ring3.vfs.dentry import Dentry
    from ring3.vfs.vnode import Vnode
    from ring3.waiting import WaitQueue

MAX_OFFSET = (1 << 63) - 1
_APPEND, _NONBLOCK, _PATH = int(OpenFlags.APPEND), int(OpenFlags.NONBLOCK), int(OpenFlags.PATH)     # quick to ask


class CloseWatcher(Protocol):
    """Who wants to know of the end of a description."""

    def file_closed(self, file: File) -> None:
        """The last descriptor of `file` is gone; it closes next."""


class File:
    """One open file description.  `flags` are the status flags; `refs` counts descriptors (and mappings do not count).

    `can_read` and `can_write` are what the access mode says, which never changes.
    `dentry` is where it was opened, for /proc and the *at calls; anonymous ones (pipes, sockets, eventfds) have none
    and name themselves in `label` ("pipe:[12]").
    """

    inherited: ClassVar[bool] = True        # whether a child process gets it (all but a kqueue)
    is_socket: ClassVar[bool] = False       # whether it is an `anysocket.Socket`, asked where sockets need not be known

    __slots__ = (
        "can_read", "can_write", "dentry", "flags", "offset", "owner", "owner_signal", "refs", "vnode", "watchers",
    )

    def __init__(self, vnode: Vnode | None, flags: OpenFlags) -> None:
        self.vnode = vnode
        self.flags = flags
        bits = int(flags)
        self.can_read = bits & ACCMODE != 1 and not bits & _PATH
        self.can_write = bits & ACCMODE != 0 and not bits & _PATH
        self.offset = 0
        self.refs = 0
        self.dentry: Dentry | None = None
        self.owner = 0               # F_SETOWN
        self.owner_signal = 0        # F_SETSIG
        self.watchers: dict[CloseWatcher, None] | None = None     # told when the last descriptor is gone (epoll)

    # --- what the kinds override
    @property
    def queue(self) -> WaitQueue | None:
        """Woken whenever `poll` may have changed; None for files that are always ready."""
        return None

    @property
    def label(self) -> bytes:
        """How /proc/PID/fd shows a file without a path."""
        return b"anon_inode:[file]"

    def getattr(self) -> Attr:
        if self.vnode is None:
            raise EBADF
        return self.vnode.getattr()

    def read(self, nbytes: int) -> bytes:
        """Up to `nbytes` from the offset on, which moves; empty at the end.  Raises EAGAIN where it would block."""
        self.check_readable()
        raise EINVAL

    def write(self, data: bytes) -> int:
        """Write what fits; at least one byte or EAGAIN.  Raises EPIPE where nobody will ever read (the call adds
        SIGPIPE).
        """
        self.check_writable()
        raise EINVAL

    def pread(self, offset: int, nbytes: int) -> bytes:
        """Read at `offset`, leaving the file's own alone.  Raises ESPIPE for what cannot seek."""
        raise ESPIPE

    def pwrite(self, offset: int, data: bytes) -> int:
        raise ESPIPE

    def seek(self, offset: int, whence: Whence) -> int:
        """Move the offset; the new one."""
        raise ESPIPE

    def readdir(self) -> list[tuple[int, DirEntry]]:
        """Directory entries from the offset on, each with the offset behind it.  Raises ENOTDIR."""
        raise ENOTDIR

    def poll(self) -> Poll:
        """What can be done without blocking."""
        return Poll.IN | Poll.OUT | Poll.RDNORM | Poll.WRNORM

    def ioctl(self, request: int, arg: int, memory: GuestMemory) -> int:
        """Device control in Linux's numbers; `memory` is the calling process's.  Raises ENOTTY, EFAULT."""
        raise ENOTTY

    def finish_open(self) -> None:
        """Have the open take effect.  Raises EAGAIN while a FIFO has no other side: the call sleeps on `queue` and
        asks again.

        A call that gives up, or is interrupted, closes the file.
        """

    def close(self) -> None:
        """The last descriptor is gone.  Called once."""

    # --- shared
    def move(self, offset: int, whence: Whence) -> int:
        """The `seek` of what has no end to count from: SEEK_SET and SEEK_CUR.  Raises EINVAL."""
        if whence not in (Whence.SET, Whence.CUR):
            raise EINVAL
        new = offset if whence == Whence.SET else self.offset + offset
        if not 0 <= new <= MAX_OFFSET:
            raise EINVAL
        self.offset = new
        return new

    def check_readable(self) -> None:
        """Raises EBADF unless it was opened for reading."""
        if not self.can_read:
            raise EBADF

    def check_writable(self) -> None:
        """Raises EBADF unless it was opened for writing."""
        if not self.can_write:
            raise EBADF

    @property
    def nonblocking(self) -> bool:
        return int(self.flags) & _NONBLOCK != 0

    def acquire(self) -> File:
        """One more descriptor."""
        self.refs += 1
        return self

    def release(self) -> None:
        """One descriptor less; the last one closes."""
        self.refs -= 1
        if self.refs == 0:
            if self.watchers is not None:
                for watcher in list(self.watchers):
                    watcher.file_closed(self)
            dentry = self.dentry
            if dentry is not None and dentry.mount.marks is not None and not self.flags & OpenFlags.PATH:
                self.tell(IN_CLOSE_WRITE if self.can_write else IN_CLOSE_NOWRITE)
            self.close()

    def tell(self, what: int) -> None:
        """Who watches the file, or its directory, hears of it (`inotify.py`)."""
        dentry = self.dentry
        if dentry is not None and dentry.mount.marks is not None:
            dentry.mount.marks.tell(dentry, what)


class PathFile(File):
    """What O_PATH opens: a place to stand on, not contents.  Everything but stat and *at is EBADF."""

    __slots__ = ()

    def pread(self, offset: int, nbytes: int) -> bytes:
        raise EBADF

    def pwrite(self, offset: int, data: bytes) -> int:
        raise EBADF

    def seek(self, offset: int, whence: Whence) -> int:
        raise EBADF

    def readdir(self) -> list[tuple[int, DirEntry]]:
        raise EBADF

    def ioctl(self, request: int, arg: int, memory: GuestMemory) -> int:
        raise EBADF


class RegularFile(File):
    """An open regular file: an offset over its vnode.

    Open for writing it counts in `vnode.writers` until closed.  RLIMIT_FSIZE is the call's to check.
    """

    __slots__ = ("strips", "target")

    def __init__(self, vnode: Vnode, flags: OpenFlags) -> None:
        super().__init__(vnode, flags)
        self.target = vnode
        self.strips = False         # a write takes the set-id bits away: opened by the unprivileged (namei)
        if int(flags) & ACCMODE in (1, 2):
            vnode.writers += 1

    def read(self, nbytes: int) -> bytes:
        if not self.can_read:
            raise EBADF
        data = self.target.read(self.offset, nbytes)
        self.offset += len(data)
        if self.dentry is not None and self.dentry.mount.marks is not None:
            self.tell(IN_ACCESS)
        return data

    def write(self, data: bytes) -> int:
        if not self.can_write:
            raise EBADF
        if int(self.flags) & _APPEND:
            self.offset = self.target.getattr().size
        count = self._write(self.offset, data)
        self.offset += count
        return count

    def pread(self, offset: int, nbytes: int) -> bytes:
        self.check_readable()
        if offset < 0:
            raise EINVAL
        data = self.target.read(offset, nbytes)
        if self.dentry is not None and self.dentry.mount.marks is not None:
            self.tell(IN_ACCESS)
        return data

    def pwrite(self, offset: int, data: bytes) -> int:
        """O_APPEND appends whatever the offset says, as on Linux (pwrite(2), BUGS)."""
        self.check_writable()
        if offset < 0:
            raise EINVAL
        if int(self.flags) & _APPEND:
            offset = self.target.getattr().size
        return self._write(offset, data)

    def _write(self, offset: int, data: bytes) -> int:
        """Raises EFBIG where no offset is left; cut short before that."""
        if not data:
            return 0
        if offset >= MAX_OFFSET:
            raise EFBIG
        if offset + len(data) > MAX_OFFSET:
            data = data[: MAX_OFFSET - offset]
        if self.strips:
            self._strip()
        written = self.target.write(offset, data)
        if self.dentry is not None and self.dentry.mount.marks is not None:
            self.tell(IN_MODIFY)
        return written

    def _strip(self) -> None:
        """Take set-uid away, and set-gid where the group may execute (fs/inode.c:file_remove_privs)."""
        self.strips = False
        mode = self.target.getattr().mode & 0o7777
        kept = mode & ~(0o6000 if mode & 0o010 else 0o4000)
        if kept != mode:
            self.target.setattr(AttrChange(mode=kept))

    def truncate(self, size: int) -> None:
        """Set the size, as ftruncate(2).  Raises EINVAL when not open for writing, EFBIG, ENOSPC."""
        if size < 0 or not self.can_write:
            raise EINVAL
        if self.strips:
            self._strip()
        self.target.truncate(size)
        self.tell(IN_MODIFY)

    def seek(self, offset: int, whence: Whence) -> int:
        """Raises EINVAL below 0 and beyond 2**63-1; ENXIO for SEEK_DATA and SEEK_HOLE past the end."""
        if whence in (Whence.DATA, Whence.HOLE):
            new = self.target.seek_extent(offset, hole=whence == Whence.HOLE)
        elif whence == Whence.END:
            new = self.target.getattr().size + offset
        else:
            new = offset if whence == Whence.SET else self.offset + offset
        if not 0 <= new <= MAX_OFFSET:
            raise EINVAL
        self.offset = new
        return new

    def close(self) -> None:
        if int(self.flags) & ACCMODE in (1, 2):
            self.target.writers -= 1


class DirFile(File):
    """An open directory.  Its names are a snapshot taken whenever it is read from offset 0; offsets are positions in
    it.

    So a name is seen once and `telldir` stays good while names come and go (POSIX leaves open whether later ones show).
    """

    __slots__ = ("_names", "target")

    def __init__(self, vnode: Vnode, flags: OpenFlags) -> None:
        super().__init__(vnode, flags)
        self.target = vnode
        self._names: list[DirEntry] | None = None

    def read(self, nbytes: int) -> bytes:
        self.check_readable()
        raise EISDIR

    def pread(self, offset: int, nbytes: int) -> bytes:
        self.check_readable()
        raise EISDIR

    def pwrite(self, offset: int, data: bytes) -> int:
        raise EBADF

    def readdir(self) -> list[tuple[int, DirEntry]]:
        """From the offset on, "." and ".." first; the call moves the offset behind what it could hand out."""
        self.check_readable()
        self.tell(IN_ACCESS)
        if self._names is None or self.offset == 0:
            own = self.target.getattr().ino
            self._names = [
                DirEntry(own, b".", FileType.DIR),
                DirEntry(self._parent_ino(own), b"..", FileType.DIR),
                *self.target.readdir(),
            ]
        return list(enumerate(self._names[self.offset :], self.offset + 1))

    def _parent_ino(self, own: int) -> int:
        """The inode ".." shows: the parent's, across the edge of a mount."""
        here = self.dentry
        while here is not None and here.parent is None:
            here = here.mount.covered
        return own if here is None or here.parent is None else here.parent.vnode.getattr().ino

    def seek(self, offset: int, whence: Whence) -> int:
        """SEEK_SET and SEEK_CUR only.  Raises EINVAL."""
        return self.move(offset, whence)
