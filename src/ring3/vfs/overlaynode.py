"""The files of an overlay: each one starts as a lower vnode and moves into memory, part by part, as it is changed.

An `OverlayVnode` is one file for its whole life: it starts on its lower vnode, gets an inode in memory (`upper`) with
the first change of attributes, and its contents there with the first write; descriptors and mappings of it never
notice, and its st_dev and st_ino stay the lower's.  A directory keeps `entries` (names that are not simply the
lower's) and `gone` (lower names that were taken away, the whiteouts); it may be renamed as it stands, since its lower
vnode goes with it.

Invariant: whatever has an `upper` and a name is in `entries` of its directory, and so is each directory above it, up
to the root (`_pin`), so that the changed part of the tree is held and the rest is not.  `on_copy_up` of a vnode is
called when its contents move, so that mappings can be made anew.  Not here: which vnode stands for which lower one,
and what was changed in all (`overlay.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.abi.flags import FileType, OpenFlags, RenameFlags
from ring3.abi.records import Attr, AttrChange, DirEntry
from ring3.errors import (
    EEXIST,
    EISDIR,
    EMLINK,
    ENODATA,
    ENODEV,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    EOPNOTSUPP,
    EPERM,
    EXDEV,
)
from ring3.vfs.memdata import MemRegular
from ring3.vfs.memory import MAX_LINKS
from ring3.vfs.vnode import Vnode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ring3.vfs.file import File
    from ring3.vfs.memnode import MemVnode
    from ring3.vfs.overlay import OverlayFS

_TRUNC = int(OpenFlags.TRUNC)
_SMALL = 1 << 16            # copied through Python; more goes from descriptor to descriptor


class OverlayVnode(Vnode):
    """One file of the overlay.  `in_lower`: its contents are still the lower file's, whatever its attributes are."""

    __slots__ = ("_id", "in_lower", "lower", "name", "on_copy_up", "parent", "upper")

    fs: OverlayFS

    def __init__(
        self,
        fs: OverlayFS,
        type: FileType,  # noqa: A002 - as in Vnode
        parent: OverlayDir | None,
        name: bytes,
        *,
        lower: Vnode | None = None,
        upper: MemVnode | None = None,
        fileid: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__(fs, type)
        self.lower = lower
        self.upper = upper
        self.in_lower = lower is not None
        self.parent = parent
        self.name = name
        self.on_copy_up: list[Callable[[], None]] = []
        self._id = fileid

    def __del__(self) -> None:
        self.fs.gone(self)

    # --- copying up
    def _pin(self) -> None:
        """Hold this file, and the directories above it, from the root."""
        node: OverlayVnode = self
        while node.parent is not None and node.parent.entries.get(node.name) is not node:
            node.parent.entries[node.name] = node
            node = node.parent

    def meta(self) -> MemVnode:
        """The inode in memory; made from the lower's attributes the first time.  Raises ENOSPC."""
        if self.upper is None:
            lower = self.lower
            assert lower is not None
            attr = lower.getattr()
            text = lower.readlink() if self.type == FileType.LNK else b""
            upper = self.fs.upper.make(attr.mode, attr.uid, attr.gid, attr.rdev, text)
            for name in lower.listxattr():
                if name.startswith(b"user."):
                    try:
                        upper.setxattr(name, lower.getxattr(name), 0)
                    except (ENODATA, EPERM):
                        continue    # went away, or a kind that cannot have any
            upper.nlink = attr.nlink
            upper.atime, upper.mtime, upper.ctime, upper.btime = attr.atime, attr.mtime, attr.ctime, attr.btime
            self._id = (attr.dev, attr.ino)
            self.upper = upper
            if attr.nlink > 1 and self.type != FileType.DIR:
                self.fs.changed[self._id] = self      # its other lower names must find it
            self._pin()
        return self.upper

    def contents(self, size: int | None = None) -> MemVnode:
        """The inode in memory with the contents in it (at most the first `size` bytes).  Raises ENOSPC, EACCES."""
        upper = self.meta()
        if self.in_lower and self.type == FileType.REG:
            assert self.lower is not None
            whole = self.lower.getattr().size
            wanted = whole if size is None else min(whole, size)
            times = upper.mtime, upper.ctime
            if wanted > _SMALL:
                assert isinstance(upper, MemRegular)
                try:
                    upper.copy_from(self.lower.host_fd(), wanted)
                except ENODEV:
                    self._copy(upper, wanted)
            elif wanted:
                self._copy(upper, wanted)
            upper.mtime, upper.ctime = times
            self.in_lower = False
            for moved in tuple(self.on_copy_up):
                moved()
        return upper

    def _copy(self, upper: MemVnode, size: int) -> None:
        """Contents of a lower file through Python."""
        assert self.lower is not None
        offset = 0
        while offset < size:
            data = self.lower.read(offset, min(size - offset, 1 << 20))
            if not data:
                break
            if upper.write(offset, data) < len(data):
                upper.truncate(0)
                upper.write(upper.fs.limit, b"x")       # raises ENOSPC
            offset += len(data)

    def _reads(self) -> Vnode:
        """Where contents are now."""
        if self.in_lower and self.lower is not None:
            return self.lower
        assert self.upper is not None
        return self.upper

    # --- attributes
    def getattr(self) -> Attr:
        if self.upper is None:
            assert self.lower is not None
            return self.lower.getattr()
        attr = self.upper.getattr()
        dev, ino = self._id
        if self.in_lower and self.type == FileType.REG and self.lower is not None:
            below = self.lower.getattr()
            return attr._replace(dev=dev, ino=ino, size=below.size, blocks=below.blocks, blksize=below.blksize)
        return attr._replace(dev=dev, ino=ino)

    @property
    def fileid(self) -> tuple[int, int]:
        if self.upper is None:
            assert self.lower is not None
            return self.lower.fileid
        return self._id

    def setattr(self, change: AttrChange) -> None:
        if change.size is not None and self.type == FileType.REG:
            self.contents(change.size)
        self.meta().setattr(change)

    def getxattr(self, name: bytes) -> bytes:
        if self.lower is not None and (self.upper is None or not name.startswith(b"user.")):
            return self.lower.getxattr(name)
        return self.meta().getxattr(name)

    def listxattr(self) -> Sequence[bytes]:
        if self.upper is None:
            assert self.lower is not None
            return self.lower.listxattr()
        return self.upper.listxattr()

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        if not name.startswith(b"user."):
            raise EOPNOTSUPP
        self.meta().setxattr(name, value, flags)

    def removexattr(self, name: bytes) -> None:
        if not name.startswith(b"user."):
            raise EOPNOTSUPP
        self.getxattr(name)
        self.meta().removexattr(name)

    # --- contents
    def readlink(self) -> bytes:
        return self._reads().readlink()

    def read(self, offset: int, nbytes: int) -> bytes:
        return self._reads().read(offset, nbytes)

    def write(self, offset: int, data: bytes) -> int:
        return self.contents().write(offset, data)

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        self.contents().fallocate(mode, offset, length)

    def seek_extent(self, offset: int, *, hole: bool) -> int:
        return self._reads().seek_extent(offset, hole=hole)

    def host_fd(self, *, write: bool = False) -> int:
        if self.type != FileType.REG:
            raise ENODEV
        return self.contents().host_fd(write=True) if write else self._reads().host_fd()

    def hold(self) -> None:
        if self.lower is not None and self.in_lower:
            self.lower.hold()

    def open(self, flags: OpenFlags) -> File:
        """What the host will not let this user read is refused now, not at the first read or copy."""
        if self.type == FileType.REG and self.in_lower and self.lower is not None and not int(flags) & _TRUNC:
            try:
                self.lower.host_fd()
            except ENODEV:
                self.lower.hold()
        return super().open(flags)


class OverlayDir(OverlayVnode):
    """A directory: the lower's names, less `gone`, and `entries` over them."""

    __slots__ = ("entries", "gone")

    def __init__(
        self, fs: OverlayFS, parent: OverlayDir | None, name: bytes, *, lower: Vnode | None = None,
        upper: MemVnode | None = None, fileid: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__(fs, FileType.DIR, parent, name, lower=lower, upper=upper, fileid=fileid)
        self.entries: dict[bytes, OverlayVnode] = {}
        self.gone: set[bytes] = set()

    def lookup(self, name: bytes) -> OverlayVnode:
        node = self.entries.get(name)
        if node is not None:
            return node
        if self.lower is None or name in self.gone:
            raise ENOENT
        return self.fs.wrap(self.lower.lookup(name), self, name)

    def readdir(self) -> list[DirEntry]:
        names = [DirEntry(node.fileid[1], name, node.type) for name, node in self.entries.items()]
        names.reverse()
        if self.lower is not None:
            hidden = self.gone
            below = self.lower.readdir()
            if hidden or names:
                below = [entry for entry in below if entry.name not in hidden and entry.name not in self.entries]
            names += below
        return names

    def empty(self) -> bool:
        """Whether no name is left."""
        return not self.entries and (self.lower is None or not self.readdir())

    def _check_new(self, name: bytes) -> None:
        """Raises EEXIST; ENOENT in a removed directory."""
        if self.upper is not None and self.upper.nlink == 0:
            raise ENOENT
        try:
            self.lookup(name)
        except ENOENT:
            return
        raise EEXIST

    def _below(self, name: bytes) -> bool:
        """Whether the lower directory has the name."""
        if self.lower is None:
            return False
        try:
            self.lower.lookup(name)
        except ENOENT:
            return False
        return True

    def enter(self, name: bytes, node: OverlayVnode) -> None:
        """Give `node` the free name `name`.  Both have their inodes in memory by now."""
        own, upper = self.meta(), node.meta()
        self.entries[name] = node
        node.parent, node.name = self, name
        if node.type == FileType.DIR:
            own.nlink += 1
        else:
            upper.nlink += 1
        own.touched()
        upper.ctime = own.ctime

    def leave(self, name: bytes, node: OverlayVnode) -> None:
        """Take the name of `node` away.  Both have their inodes in memory by now."""
        own, upper = self.meta(), node.meta()
        if self._below(name):
            self.gone.add(name)
        self.entries.pop(name, None)
        if node.type == FileType.DIR:
            self.fs.unplaced(self, name)
            own.nlink -= 1
        else:
            upper.nlink -= 1
        if node.parent is self and node.name == name:
            node.parent = None
        own.touched()
        upper.ctime = own.ctime

    def _add(self, name: bytes, mode: int, uid: int, gid: int, rdev: int = 0, text: bytes = b"") -> OverlayVnode:
        self._check_new(name)
        self.meta()
        node = self.fs.make(self.fileid[0], mode, uid, gid, rdev, text)
        self.enter(name, node)
        return node

    def create(self, name: bytes, mode: int, uid: int, gid: int, rdev: int = 0) -> OverlayVnode:
        return self._add(name, mode, uid, gid, rdev)

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> OverlayVnode:
        return self._add(name, FileType.DIR | mode & 0o7777, uid, gid)

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> OverlayVnode:
        return self._add(name, FileType.LNK | 0o777, uid, gid, 0, bytes(target))

    def tmpfile(self, mode: int, uid: int, gid: int) -> OverlayVnode:
        return self.fs.make(self.fileid[0], FileType.REG | mode & 0o7777, uid, gid)

    def link(self, name: bytes, vnode: Vnode) -> None:
        if not isinstance(vnode, OverlayVnode) or vnode.fs is not self.fs:
            raise EXDEV
        if vnode.type == FileType.DIR:
            raise EPERM
        self._check_new(name)
        if vnode.meta().nlink >= MAX_LINKS:
            raise EMLINK
        old = vnode.parent, vnode.name
        self.enter(name, vnode)
        if old[0] is not None:
            vnode.parent, vnode.name = old

    def unlink(self, name: bytes) -> None:
        node = self.lookup(name)
        if node.type == FileType.DIR:
            raise EISDIR
        if node.upper is None:
            node.hold()
        self.leave(name, node)

    def rmdir(self, name: bytes) -> None:
        node = self.lookup(name)
        if not isinstance(node, OverlayDir):
            raise ENOTDIR
        if not node.empty():
            raise ENOTEMPTY
        self.leave(name, node)
        node.meta().nlink = 0

    def rename(self, name: bytes, target: Vnode, target_name: bytes, flags: RenameFlags) -> None:
        if not isinstance(target, OverlayDir) or target.fs is not self.fs:
            raise EXDEV
        source = self.lookup(name)
        try:
            there: OverlayVnode | None = target.lookup(target_name)
        except ENOENT:
            there = None
        for node in (self, target, source, there):
            if node is not None:
                node.meta()
        if flags & RenameFlags.EXCHANGE:
            if there is None:
                raise ENOENT
            self.leave(name, source)
            target.leave(target_name, there)
            self.enter(name, there)
            target.enter(target_name, source)
            return
        if there is not None:
            if there is source:
                return
            _may_replace(source, there, flags)
            target.leave(target_name, there)
            if there.type == FileType.DIR:
                there.meta().nlink = 0
        elif target.meta().nlink == 0:
            raise ENOENT
        self.leave(name, source)
        target.enter(target_name, source)
        if flags & RenameFlags.WHITEOUT:
            self.enter(name, self.fs.make(self.fileid[0], FileType.CHR, 0, 0))


def _may_replace(source: OverlayVnode, there: OverlayVnode, flags: RenameFlags) -> None:
    """Raises EEXIST, ENOTDIR, EISDIR, ENOTEMPTY."""
    if flags & RenameFlags.NOREPLACE:
        raise EEXIST
    if isinstance(there, OverlayDir):
        if source.type != FileType.DIR:
            raise EISDIR
        if not there.empty():
            raise ENOTEMPTY
    elif source.type == FileType.DIR:
        raise ENOTDIR
