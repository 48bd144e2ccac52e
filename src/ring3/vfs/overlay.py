"""Copy-on-write: a file system seen through a layer of memory, so that guests may change everything and nothing is
changed.

Invariant: the lower file system is never written.  An `OverlayFS` knows which of its vnodes stands for which lower one, and
tells in the end what was changed.  Not here: how one file moves into memory (`overlaynode.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from weakref import ref

from ring3.abi.flags import S_IFMT, FileType
from ring3.errors import ENOENT
from ring3.namedtuple import NamedTuple
from ring3.vfs.overlaynode import OverlayDir, OverlayVnode
from ring3.vfs.vnode import FileSystem, Vnode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ring3.abi.records import StatFs
    from ring3.vfs.memory import MemoryFS
    from ring3.vfs.vnode import Opener

_FIRST_INO = 0xC000_0000    # of files made here: fits old stat structs, far above what disks count to


class Change(NamedTuple):
    """One difference to the lower tree.  `kind` is "added", "modified" or "deleted"; `path` starts with "/"."""

    kind: str
    path: bytes


class OverlayFS(FileSystem):
    """`lower`, with every change kept in `upper` (whose limit bounds them).  `upper` holds inodes only, its own tree
    stays empty.
    """

    name = b"overlay"
    source = b"overlay"

    def __init__(self, lower: FileSystem, upper: MemoryFS, devices: Mapping[int, Opener] | None = None) -> None:
        self.lower = lower
        self.upper = upper
        if devices is not None:
            self.devices = devices
        self.changed: dict[tuple[int, int], OverlayVnode] = {}
        self._files: dict[tuple[int, int], ref[OverlayVnode]] = {}      # dead ones are taken out by their own end
        self._dirs: dict[tuple[int, bytes], ref[OverlayDir]] = {}
        self._ino = _FIRST_INO
        self._root = OverlayDir(self, None, b"", lower=lower.root())
        self.dev = self._root.fileid[0]

    def root(self) -> OverlayDir:
        return self._root

    def wrap(self, lower: Vnode, parent: OverlayDir, name: bytes) -> OverlayVnode:
        """The one vnode over `lower`, found as `name`: a directory by its place, other files by what they are (hard
        links).
        """
        if lower.type == FileType.DIR:
            place = (id(parent), name)
            directory = _alive(self._dirs.get(place))
            if directory is None or directory.lower is not lower or directory.parent is not parent:
                directory = OverlayDir(self, parent, name, lower=lower)
                self._dirs[place] = ref(directory)
            return directory
        key = lower.fileid
        node = self.changed.get(key) or _alive(self._files.get(key))
        if node is None or node.type != lower.type:
            node = OverlayVnode(self, lower.type, parent, name, lower=lower)
            self._files[key] = ref(node)
        elif node.upper is None:
            node.parent, node.name = parent, name
        return node

    def gone(self, node: OverlayVnode) -> None:
        """A vnode died."""
        if node.lower is None:
            return
        if node.type == FileType.DIR:
            place = (id(node.parent), node.name)
            if place in self._dirs and self._dirs[place]() is None:
                del self._dirs[place]
        else:
            key = node.lower.fileid if node.upper is None else node.fileid
            if key in self._files and self._files[key]() is None:
                del self._files[key]

    def unplaced(self, parent: OverlayDir, name: bytes) -> None:
        """A directory left its place."""
        self._dirs.pop((id(parent), name), None)

    def make(self, dev: int, mode: int, uid: int, gid: int, rdev: int = 0, text: bytes = b"") -> OverlayVnode:
        """A new file, in memory only, without a name.  Raises ENOSPC."""
        upper = self.upper.make(mode, uid, gid, rdev, text)
        self._ino += 1
        fileid = (dev, self._ino)
        if mode & S_IFMT == FileType.DIR:
            return OverlayDir(self, None, b"", upper=upper, fileid=fileid)
        return OverlayVnode(self, upper.type, None, b"", upper=upper, fileid=fileid)

    def statfs(self) -> StatFs:
        """Room is the upper's, since that is where writes go."""
        return self.upper.statfs()._replace(type=0x794C7630, fsid=self.dev)

    def close(self) -> None:
        self.upper.close()
        self.lower.close()

    def changes(self) -> Iterator[Change]:
        """What was written, sorted by path: a directory added comes before what is in it, one deleted stands for all
        of it.
        """
        yield from _compare(self._root, self._root.lower, b"")


_V = TypeVar("_V")


def _alive(known: ref[_V] | None) -> _V | None:
    return None if known is None else known()


def _names(vnode: Vnode | None) -> set[bytes]:
    return {entry.name for entry in vnode.readdir()} if vnode is not None and vnode.is_dir else set()


def _find(vnode: Vnode | None, name: bytes) -> Vnode | None:
    if vnode is None or not vnode.is_dir:
        return None
    try:
        return vnode.lookup(name)
    except ENOENT:
        return None


def _compare(node: OverlayDir, below: Vnode | None, path: bytes) -> Iterator[Change]:
    """Differences between a directory and what the lower tree has at its path; untouched parts are not walked."""
    in_place = node.lower is not None and node.lower is below
    names = set(node.entries) | node.gone if in_place else _names(node) | _names(below)
    for name in sorted(names):
        old = _find(below, name)
        at = path + b"/" + name
        try:
            new = node.lookup(name)
        except ENOENT:
            if old is not None:
                yield Change("deleted", at)
            continue
        if old is None:
            yield Change("added", at)
        elif _differs(new, old):
            yield Change("modified", at)
        if isinstance(new, OverlayDir):
            yield from _compare(new, old, at)


def _differs(new: OverlayVnode, old: Vnode) -> bool:
    """Whether a file is another one than the lower tree's, or was written, or its attributes were."""
    if new.type != old.type:
        return True
    if new.lower is not old and new.type != FileType.DIR:
        return True
    if new.upper is None:
        return False
    if new.type == FileType.REG and not new.in_lower:
        return True
    now, was = new.getattr(), old.getattr()
    if (now.mode, now.uid, now.gid) != (was.mode, was.uid, was.gid):
        return True
    return new.type != FileType.DIR and now.mtime != was.mtime
