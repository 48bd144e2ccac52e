"""A directory of the host as a file system, read-only or truly written.

Invariant: nothing outside the directory is ever touched.  Every host call names one component relative to a descriptor
of its parent, which was opened the same way (O_PATH | O_NOFOLLOW) from the root's; "..", "/" and links never reach the
host as paths.

Devices, FIFOs and sockets of the host are shown but never opened or connected: a device opens as this kernel's own
device of that number if it has one (`fs.devices`, else ENXIO), a FIFO is this kernel's, a socket ENXIO.  File systems
of the host that are windows into its kernel (proc, debugfs, devpts …) are empty directories here.  Descriptors: one
per directory or open file that is in use, given back with the vnode.  Needs /proc on the host.  Not here: attributes and
contents of one file (`hostnode.py`).
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import ref

from ring3.abi.flags import S_IFMT, FileType, OpenFlags, RenameFlags
from ring3.abi.records import AttrChange, DirEntry, StatFs
from ring3.errors import EEXIST, EINVAL, ENOENT, EPERM, EXDEV, Errno, from_oserror
from ring3.vfs.hostnode import DATA, HostVnode
from ring3.vfs.vnode import FileSystem, Vnode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ring3.vfs.file import File
    from ring3.vfs.vnode import Opener

_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_RDWR | DATA

_SEALED = frozenset((
    b"proc", b"devpts", b"debugfs", b"tracefs", b"securityfs", b"pstore", b"bpf", b"configfs", b"efivarfs", b"fusectl",
    b"binfmt_misc", b"selinuxfs", b"autofs", b"rpc_pipefs", b"nsfs", b"mqueue", b"cgroup", b"cgroup2", b"smackfs",
    b"resctrl",
))
_WINDOWS = frozenset((b"sysfs",))      # readable, never written


def _one_name(name: bytes) -> bytes:
    """The guard of the invariant: whatever asks, the host is given one plain name.  Raises EINVAL."""
    if b"/" in name or b"\0" in name or name in (b"", b".", b".."):
        raise EINVAL
    return name


class HostDir(HostVnode):
    """A directory of the host.  `listable`: whether `pinned` was opened for reading."""

    __slots__ = ("listable",)

    def __init__(self, fs: HostDirFS, st: os.stat_result, parent: HostDir | None, name: bytes) -> None:
        super().__init__(fs, st, parent, name)
        self.listable = False

    def open(self, flags: OpenFlags) -> File:
        if not self.listable:
            try:
                fd = os.open(self.magic, _LIST)
            except OSError as error:
                raise from_oserror(error) from None
            os.close(self.pinned)
            self.pinned, self.listable = fd, True
        return super().open(flags)

    def lookup(self, name: bytes) -> HostVnode:
        _one_name(name)
        if self.sealed:
            raise ENOENT
        try:
            st = os.stat(name, dir_fd=self.pin(), follow_symlinks=False)
        except OSError as error:
            raise from_oserror(error) from None
        return self.fs.vnode(st, self, name)

    def readdir(self) -> list[DirEntry]:
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
        self.check_writable()
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
        if not isinstance(target, HostDir) or target.fs is not self.fs:
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
        self.check_writable()
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
        self._root = HostDir(self, st, None, b"")
        self._root.pinned = fd
        self._vnodes[self._root.key] = ref(self._root)

    def root(self) -> HostDir:
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

    def vnode(self, st: os.stat_result, parent: HostDir | None, name: bytes) -> HostVnode:
        """The one vnode of the file that `st` describes, found as `name` in `parent`."""
        key = (st.st_dev, st.st_ino)
        known = self._vnodes.get(key)
        vnode = None if known is None else known()
        if vnode is None or vnode.type != st.st_mode & S_IFMT:
            kind = HostDir if st.st_mode & S_IFMT == FileType.DIR else HostVnode
            vnode = kind(self, st, parent, name)
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
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(fd, name, target_fd, target_name, int(RenameFlags.EXCHANGE)) != 0:
        raise from_oserror(OSError(ctypes.get_errno(), ""))
