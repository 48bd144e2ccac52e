"""A directory of the host as a file system, read-only or truly written.

Invariant: nothing outside the directory is ever touched.  Every host call names one component relative to a descriptor
of its parent, which was opened the same way (O_PATH | O_NOFOLLOW) from the root's; "..", "/" and links never reach the
host as paths. A file is opened for data by its O_PATH descriptor, after fstat said that it is the regular file that
was looked up, so swapping names between the two changes nothing.

Devices, FIFOs and sockets of the host are shown but never opened or connected: a device opens as this kernel's own
device of that number if it has one (`fs.devices`, else ENXIO), a FIFO is this kernel's, a socket ENXIO.  File systems
of the host that are windows into its kernel (proc, debugfs, devpts …) are empty directories here.  Descriptors: one
per directory or open file that is in use, given back with the vnode.  Needs /proc on the host.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import ref

from ring3.abi.flags import S_IFMT, FileType, OpenFlags, RenameFlags
from ring3.abi.records import Attr, AttrChange, DirEntry, StatFs
from ring3.errors import (
    EACCES,
    EEXIST,
    EINVAL,
    ENODEV,
    ENOENT,
    ENOTDIR,
    ENXIO,
    EOPNOTSUPP,
    EPERM,
    EROFS,
    EXDEV,
    Errno,
    from_oserror,
)
from ring3.vfs.vnode import FileSystem, Vnode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ring3.vfs.file import File
    from ring3.vfs.vnode import Opener

_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_DATA = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_RDWR | _DATA
_FRESH_NS = 100_000         # attributes seen by a look-up this short ago need no second stat
_BIG_READ = 1 << 20

_TYPES = {int(kind): kind for kind in FileType}
_SEALED = frozenset((
    b"proc", b"devpts", b"debugfs", b"tracefs", b"securityfs", b"pstore", b"bpf", b"configfs", b"efivarfs", b"fusectl",
    b"binfmt_misc", b"selinuxfs", b"autofs", b"rpc_pipefs", b"nsfs", b"mqueue", b"cgroup", b"cgroup2", b"smackfs",
    b"resctrl",
))
_WINDOWS = frozenset((b"sysfs",))      # readable, never written


def attr_of(st: os.stat_result) -> Attr:
    """The record of a host stat."""
    return Attr(
        st.st_dev, st.st_ino, st.st_mode, st.st_nlink, st.st_uid, st.st_gid, st.st_rdev, st.st_size, st.st_blksize,
        st.st_blocks, st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns,
    )


def _one_name(name: bytes) -> bytes:
    """The guard of the invariant: whatever asks, the host is given one plain name.  Raises EINVAL."""
    if b"/" in name or b"\0" in name or name in (b"", b".", b".."):
        raise EINVAL
    return name


class HostVnode(Vnode):
    """One file of the host, known by where it was last found, and by descriptor once that matters."""

    __slots__ = (
        "attr_seen", "key", "listable", "name", "parent", "pinned", "rfd", "sealed", "seen_ns", "wfd",
    )

    fs: HostDirFS

    def __init__(self, fs: HostDirFS, st: os.stat_result, parent: HostVnode | None, name: bytes) -> None:
        super().__init__(fs, _TYPES[st.st_mode & S_IFMT])
        self.key = (st.st_dev, st.st_ino)
        self.sealed = False
        self.listable = False       # whether `pinned`, a directory's, was opened for reading
        self.parent = parent
        self.name = name
        self.pinned = self.rfd = self.wfd = -1
        self.attr_seen: os.stat_result | None = None
        self.seen_ns = 0

    def __del__(self) -> None:
        self.fs.gone(self.key)
        self.drop()

    def drop(self) -> None:
        """Give the descriptors back."""
        for fd in {self.pinned, self.rfd, self.wfd}:
            if fd >= 0:
                os.close(fd)
        self.pinned = self.rfd = self.wfd = -1

    # --- descriptors
    def pin(self) -> int:
        """An O_PATH descriptor of exactly this file.  Raises ENOENT when another one has its place by now."""
        if self.pinned < 0:
            if self.parent is None:
                raise ENOENT
            try:
                fd = os.open(self.name, _PATH, dir_fd=self.parent.pin())
            except OSError as error:
                raise from_oserror(error) from None
            st = os.fstat(fd)
            if (st.st_dev, st.st_ino) != self.key or st.st_mode & S_IFMT != self.type:
                os.close(fd)
                raise ENOENT
            self.pinned = fd
        return self.pinned

    def hold(self) -> None:
        if self.rfd < 0 and self.wfd < 0:
            self.pin()

    @property
    def magic(self) -> str:
        """A host path that is this file, for calls that take no descriptor."""
        return f"/proc/self/fd/{self.any_fd()}"

    def any_fd(self) -> int:
        """Some descriptor of this file."""
        return self.rfd if self.rfd >= 0 else self.wfd if self.wfd >= 0 else self.pin()

    def _reopen(self, access: int) -> int:
        """Open for data what `pin` holds.  Raises EACCES, ENXIO for other than regular files, what the host's open
        does.
        """
        if self.type != FileType.REG:
            raise ENXIO
        if self.sealed:
            raise EACCES
        fd = os.open(f"/proc/self/fd/{self.pin()}", access | _DATA)
        os.close(self.pinned)
        self.pinned = -1
        self.attr_seen = None
        return fd

    def keep(self, fd: int) -> None:
        """Own a descriptor that reads and writes this file."""
        self.rfd = self.wfd = fd
        self.attr_seen = None

    def read_fd(self) -> int:
        """A descriptor to read the contents with."""
        if self.rfd < 0:
            try:
                self.rfd = self._reopen(os.O_RDONLY)
            except OSError as error:
                raise from_oserror(error) from None
        return self.rfd

    def write_fd(self) -> int:
        """A descriptor to write the contents with; good for reading too where the host allows.  Raises EROFS."""
        self._check_writable()
        if self.wfd < 0:
            if self.pinned < 0 and self.rfd >= 0:       # the name may be gone: go by what is open
                self.pinned = os.open(f"/proc/self/fd/{self.rfd}", os.O_PATH | os.O_CLOEXEC)
            try:
                self.wfd = self._reopen(os.O_RDWR)
            except PermissionError:
                try:
                    self.wfd = self._reopen(os.O_WRONLY)
                except OSError as error:
                    raise from_oserror(error) from None
            except OSError as error:
                raise from_oserror(error) from None
        return self.wfd

    def _check_writable(self) -> None:
        self.attr_seen = None
        if self.fs.readonly:
            raise EROFS
        if self.sealed or self.key[0] in self.fs.windows:
            raise EACCES

    def host_fd(self, *, write: bool = False) -> int:
        if self.type != FileType.REG:
            raise ENODEV
        return self.write_fd() if write else self.read_fd()

    def open(self, flags: OpenFlags) -> File:
        if self.type == FileType.REG:
            if flags & 3:
                self.write_fd()
            if flags & 3 != OpenFlags.WRONLY:
                self.read_fd()
        elif self.type == FileType.DIR and not self.listable:
            try:
                fd = os.open(self.magic, _LIST)
            except OSError as error:
                raise from_oserror(error) from None
            os.close(self.pinned)
            self.pinned, self.listable = fd, True
        return super().open(flags)

    # --- attributes
    def seen(self, st: os.stat_result) -> None:
        """A look-up just saw these attributes."""
        if self.rfd < 0 and self.wfd < 0:
            self.attr_seen = st
            self.seen_ns = time.monotonic_ns()

    def place(self, parent: HostVnode, name: bytes) -> None:
        """Where it was found last."""
        self.parent = parent
        self.name = name

    def getattr(self) -> Attr:
        return attr_of(self.stat())

    def stat(self) -> os.stat_result:
        seen, self.attr_seen = self.attr_seen, None
        if seen is not None and time.monotonic_ns() - self.seen_ns < _FRESH_NS:
            return seen
        try:
            fd = self.rfd if self.rfd >= 0 else self.wfd if self.wfd >= 0 else self.pinned
            if fd >= 0:
                return os.fstat(fd)
            if self.parent is None:
                raise ENOENT
            st = os.stat(self.name, dir_fd=self.parent.pin(), follow_symlinks=False)
        except OSError as error:
            raise from_oserror(error) from None
        if (st.st_dev, st.st_ino) != self.key:
            raise ENOENT
        return st

    @property
    def fileid(self) -> tuple[int, int]:
        return self.key

    def setattr(self, change: AttrChange) -> None:
        self._check_writable()
        try:
            if change.size is not None:
                os.ftruncate(self.write_fd(), change.size)
            if change.uid is not None or change.gid is not None:
                uid, gid = (-1 if one is None else one for one in (change.uid, change.gid))
                os.chown(self.magic, uid, gid)
            if change.mode is not None:
                os.chmod(self.magic, change.mode)
            if change.atime is not None or change.mtime is not None:
                st = self.stat()
                atime = st.st_atime_ns if change.atime is None else change.atime
                mtime = st.st_mtime_ns if change.mtime is None else change.mtime
                os.utime(self.magic, ns=(atime, mtime))
        except OSError as error:
            raise from_oserror(error) from None

    def getxattr(self, name: bytes) -> bytes:
        try:
            return os.getxattr(self.magic, name)
        except OSError as error:
            raise from_oserror(error) from None

    def listxattr(self) -> Sequence[bytes]:
        try:
            return [os.fsencode(name) for name in os.listxattr(self.magic)]
        except OSError as error:
            raise from_oserror(error) from None

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        """user.* only: the others mean something to the host's kernel."""
        self._check_writable()
        if not name.startswith(b"user."):
            raise EOPNOTSUPP
        try:
            os.setxattr(self.magic, name, value, flags)
        except OSError as error:
            raise from_oserror(error) from None

    def removexattr(self, name: bytes) -> None:
        self._check_writable()
        if not name.startswith(b"user."):
            raise EOPNOTSUPP
        try:
            os.removexattr(self.magic, name)
        except OSError as error:
            raise from_oserror(error) from None

    # --- directories
    def lookup(self, name: bytes) -> HostVnode:
        if self.type != FileType.DIR:
            raise ENOTDIR
        _one_name(name)
        if self.sealed:
            raise ENOENT
        try:
            st = os.stat(name, dir_fd=self.pin(), follow_symlinks=False)
        except OSError as error:
            raise from_oserror(error) from None
        return self.fs.vnode(st, self, name)

    def readdir(self) -> list[DirEntry]:
        if self.type != FileType.DIR:
            raise ENOTDIR
        if self.sealed:
            return []
        names: list[DirEntry] = []
        try:
            fd = os.dup(self.pinned) if self.listable else os.open(self.magic, _LIST)
            try:
                os.lseek(fd, 0, os.SEEK_SET)
                with os.scandir(fd) as entries:
                    names.extend(DirEntry(e.inode(), os.fsencode(e.name), _entry_type(e)) for e in entries)
            finally:
                os.close(fd)
        except OSError as error:
            raise from_oserror(error) from None
        return names

    def change_fd(self, name: bytes) -> int:
        """The descriptor for a change to this directory."""
        _one_name(name)
        if self.type != FileType.DIR:
            raise ENOTDIR
        self._check_writable()
        return self.pin()

    def _made(self, name: bytes, uid: int, gid: int, mode: int | None) -> HostVnode:
        """The vnode of a file just made; owner and mode as asked, where the host lets us."""
        vnode = self.lookup(name)
        st = vnode.stat()
        if (st.st_uid, st.st_gid) != (uid, gid):
            try:
                os.chown(name, uid, gid, dir_fd=self.pin(), follow_symlinks=False)
            except PermissionError:
                pass        # an unprivileged kernel owns what its guests make
            except OSError as error:
                raise from_oserror(error) from None
        if mode is not None and st.st_mode & 0o7777 != mode:
            vnode.setattr(AttrChange(mode=mode))
        return vnode

    def create(self, name: bytes, mode: int, uid: int, gid: int, rdev: int = 0) -> HostVnode:
        """Regular files, FIFOs and sockets; devices are not made on the host (EPERM)."""
        fd = self.change_fd(name)
        kind = mode & S_IFMT
        made = -1
        try:
            if kind == FileType.REG:
                made = os.open(name, _NEW, mode & 0o777, dir_fd=fd)
            elif kind in (FileType.FIFO, FileType.SOCK):
                os.mknod(name, mode, dir_fd=fd)
            else:
                raise EPERM
        except OSError as error:
            raise from_oserror(error) from None
        try:
            vnode = self._made(name, uid, gid, mode & 0o7777)
        except Errno:
            if made >= 0:
                os.close(made)
            raise
        if made >= 0:
            vnode.keep(made)        # its mode may not let even its maker open it again
        return vnode

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> HostVnode:
        fd = self.change_fd(name)
        try:
            os.mkdir(name, mode & 0o777, dir_fd=fd)
        except OSError as error:
            raise from_oserror(error) from None
        return self._made(name, uid, gid, mode & 0o7777)

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> HostVnode:
        fd = self.change_fd(name)
        try:
            os.symlink(target, name, dir_fd=fd)
        except OSError as error:
            raise from_oserror(error) from None
        return self._made(name, uid, gid, None)

    def link(self, name: bytes, vnode: Vnode) -> None:
        if not isinstance(vnode, HostVnode) or vnode.fs is not self.fs:
            raise EXDEV
        fd = self.change_fd(name)
        vnode.attr_seen = None
        try:
            os.link(vnode.magic, name, dst_dir_fd=fd, follow_symlinks=True)
        except OSError as error:
            raise from_oserror(error) from None
        if vnode.parent is None:
            vnode.place(self, name)

    def unlink(self, name: bytes) -> None:
        fd = self.change_fd(name)
        self.forget_attr(name, hold=True)
        try:
            os.unlink(name, dir_fd=fd)
        except OSError as error:
            raise from_oserror(error) from None

    def rmdir(self, name: bytes) -> None:
        fd = self.change_fd(name)
        self.forget_attr(name, hold=True)
        try:
            os.rmdir(name, dir_fd=fd)
        except OSError as error:
            raise from_oserror(error) from None

    def forget_attr(self, name: bytes, *, hold: bool) -> HostVnode | None:
        """What is known at `name`, if anything is; attributes seen are stale now, and with `hold` the name is about
        to go.
        """
        try:
            st = os.stat(name, dir_fd=self.pin(), follow_symlinks=False)
        except OSError:
            return None
        vnode = self.fs.known(st)
        if vnode is not None:
            vnode.attr_seen = None
            if hold:
                with suppress(Errno):       # it has another place by now
                    vnode.hold()
        return vnode

    def rename(self, name: bytes, target: Vnode, target_name: bytes, flags: RenameFlags) -> None:
        """RENAME_WHITEOUT makes a device and is refused (EINVAL, as file systems without whiteouts do)."""
        if not isinstance(target, HostVnode) or target.fs is not self.fs:
            raise EXDEV
        if flags & RenameFlags.WHITEOUT:
            raise EINVAL
        fd, target_fd = self.change_fd(name), target.change_fd(target_name)
        exchange = bool(flags & RenameFlags.EXCHANGE)
        moved = self.forget_attr(name, hold=False)
        there = target.forget_attr(target_name, hold=not exchange)
        if exchange:
            _exchange(fd, name, target_fd, target_name)
        else:
            if flags & RenameFlags.NOREPLACE and _present(target_fd, target_name):
                raise EEXIST
            try:
                os.rename(name, target_name, src_dir_fd=fd, dst_dir_fd=target_fd)
            except OSError as error:
                raise from_oserror(error) from None
        if moved is not None:
            moved.place(target, target_name)
        if exchange and there is not None:
            there.place(self, name)

    def tmpfile(self, mode: int, uid: int, gid: int) -> HostVnode:
        self._check_writable()
        try:
            fd = os.open(b".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode & 0o777, dir_fd=self.pin())
            os.fchmod(fd, mode & 0o7777)
            with suppress(PermissionError):     # see _made
                os.fchown(fd, uid, gid)
            st = os.fstat(fd)
        except OSError as error:
            raise from_oserror(error) from None
        vnode = self.fs.vnode(st, None, b"")
        vnode.keep(fd)
        return vnode

    # --- contents
    def readlink(self) -> bytes:
        if self.type != FileType.LNK:
            raise EINVAL
        try:
            if self.pinned < 0 and self.parent is not None:
                return os.readlink(self.name, dir_fd=self.parent.pin())
            return os.readlink(b"", dir_fd=self.pin())
        except OSError as error:
            raise from_oserror(error) from None

    def read(self, offset: int, nbytes: int) -> bytes:
        fd = self.read_fd()
        try:
            if nbytes > _BIG_READ:      # the host call allocates what was asked for, not what is there
                nbytes = min(nbytes, max(os.fstat(fd).st_size - offset, _BIG_READ))
            return os.pread(fd, nbytes, offset)
        except OSError as error:
            raise from_oserror(error) from None

    def write(self, offset: int, data: bytes) -> int:
        fd = self.write_fd()
        done = 0
        view = memoryview(data)
        try:
            while done < len(data):
                done += os.pwrite(fd, view[done:], offset + done)
        except OSError as error:
            if not done:
                raise from_oserror(error) from None
        return done

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Mode 0 only."""
        if mode:
            raise EOPNOTSUPP
        try:
            os.posix_fallocate(self.write_fd(), offset, length)
        except OSError as error:
            raise from_oserror(error) from None

    def seek_extent(self, offset: int, *, hole: bool) -> int:
        try:
            return os.lseek(self.any_fd(), offset, os.SEEK_HOLE if hole else os.SEEK_DATA)
        except OSError as error:
            raise from_oserror(error) from None

    def fsync(self) -> None:
        try:
            if self.wfd >= 0:
                os.fsync(self.wfd)
        except OSError as error:
            raise from_oserror(error) from None


class HostDirFS(FileSystem):
    """The tree below the host directory `path`; `writable` lets guests change it for real.

    Raises ENOENT, ENOTDIR, EACCES for a path that cannot be opened; EINVAL for one inside a sealed file system.
    """

    name = b"hostdir"

    def __init__(self, path: bytes | str, writable: bool = False, devices: Mapping[int, Opener] | None = None) -> None:
        self.readonly = not writable
        self.source = os.fsencode(path)
        if devices is not None:
            self.devices = devices
        self.windows: set[int] = set()
        self._devs: dict[int, bool] = {}
        self._vnodes: dict[tuple[int, int], ref[HostVnode]] = {}      # a dead one is taken out by its own end
        try:
            fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            st = os.fstat(fd)
        except OSError as error:
            raise from_oserror(error) from None
        if self._is_sealed(st.st_dev):
            os.close(fd)
            raise EINVAL("not a file system to show to guests")
        self._root = HostVnode(self, st, None, b"")
        self._root.pinned = fd
        self._vnodes[self._root.key] = ref(self._root)

    def root(self) -> HostVnode:
        return self._root

    def known(self, st: os.stat_result) -> HostVnode | None:
        """The live vnode of a file."""
        known = self._vnodes.get((st.st_dev, st.st_ino))
        return None if known is None else known()

    def gone(self, key: tuple[int, int]) -> None:
        """A vnode died."""
        known = self._vnodes.get(key)
        if known is not None and known() is None:
            del self._vnodes[key]

    def vnode(self, st: os.stat_result, parent: HostVnode | None, name: bytes) -> HostVnode:
        """The one vnode of the file that `st` describes, found as `name` in `parent`."""
        key = (st.st_dev, st.st_ino)
        known = self._vnodes.get(key)
        vnode = None if known is None else known()
        if vnode is None or vnode.type != st.st_mode & S_IFMT:
            vnode = HostVnode(self, st, parent, name)
            self._vnodes[key] = ref(vnode)
            if parent is not None:
                vnode.sealed = parent.sealed if parent.key[0] == key[0] else self._is_sealed(key[0])
        elif parent is not None and vnode is not self._root:
            vnode.place(parent, name)
        vnode.seen(st)
        return vnode

    def _is_sealed(self, dev: int) -> bool:
        """Whether a device of the host is one of its kernel's windows.  Asked once per device."""
        known = self._devs.get(dev)
        if known is None:
            kind = _kind_of(dev)
            known = self._devs[dev] = kind in _SEALED
            if kind in _WINDOWS:
                self.windows.add(dev)
        return known

    def statfs(self) -> StatFs:
        try:
            v = os.fstatvfs(self._root.pin())
        except OSError as error:
            raise from_oserror(error) from None
        return StatFs(
            0xEF53, v.f_bsize, v.f_blocks, v.f_bfree, v.f_bavail, v.f_files, v.f_ffree, 0, v.f_namemax, v.f_frsize,
            v.f_flag
        )

    def close(self) -> None:
        """Every vnode that still lives is useless from here on."""
        for known in tuple(self._vnodes.values()):
            vnode = known()
            if vnode is not None:
                vnode.drop()


def _entry_type(entry: os.DirEntry[str]) -> int:
    """The type bits of a name, from the directory where it says so."""
    if entry.is_symlink():
        return FileType.LNK
    if entry.is_dir(follow_symlinks=False):
        return FileType.DIR
    if entry.is_file(follow_symlinks=False):
        return FileType.REG
    try:
        return entry.stat(follow_symlinks=False).st_mode & S_IFMT
    except OSError:
        return 0        # gone meanwhile: DT_UNKNOWN


def _kind_of(dev: int) -> bytes:
    """The file system type of a device of the host, from /proc/self/mountinfo (proc(5)); empty for one not listed."""
    wanted = b"%d:%d" % (os.major(dev), os.minor(dev))
    try:
        with open("/proc/self/mountinfo", "rb") as table:
            for line in table:
                fields, _, rest = line.partition(b" - ")
                if fields.split(b" ", 3)[2] == wanted:
                    return rest.split(b" ", 1)[0]
    except OSError as error:
        raise from_oserror(error) from None
    return b""


def _present(fd: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return False
    return True


def _exchange(fd: int, name: bytes, target_fd: int, target_name: bytes) -> None:
    """renameat2(2) with RENAME_EXCHANGE, which os lacks."""
    import ctypes  # noqa: PLC0415 - rare, and slow to import

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(fd, name, target_fd, target_name, int(RenameFlags.EXCHANGE)) != 0:
        raise from_oserror(OSError(ctypes.get_errno(), ""))
