"""A file as what backs a mapping.

One `VnodeObject` for each mmap (or image segment); objects of the same file have the same `sharing_key`, hence the same futexes.
An overlay file that is copied up has its pages elsewhere from then on: the object tells whoever wants to know (`moved`), so
that its shared regions can be mapped anew.  What was opened to be mapped stays open while a region shows it, closed descriptor or
not: that is how a file mapped for writing stays busy (ETXTBSY).  Not here: whether a file may be mapped at all (the call checks).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ring3.abi.flags import Prot
from ring3.vfs.memfd import SealedVnode
from ring3.vfs.overlaynode import OverlayVnode
from ring3.vm.region import Region, VMObject

if TYPE_CHECKING:
    from ring3.vfs.dentry import Dentry
    from ring3.vfs.file import File
    from ring3.vfs.vnode import Vnode


class VnodeObject(VMObject):
    """The pages of `vnode`.  `dentry` and `root` are for its name in /proc/PID/maps, `name` stands in where it has no dentry."""

    __slots__ = ("dentry", "file", "moved", "name", "regions", "root", "vnode")

    def __init__(
        self,
        vnode: Vnode,
        dentry: Dentry | None = None,
        root: Dentry | None = None,
        *,
        name: bytes = b"",
        moved: Callable[[VMObject], None] | None = None,
        file: File | None = None,
    ) -> None:
        self.vnode = vnode
        self.dentry = dentry
        self.root = root
        self.name = name
        self.moved = moved
        self.file = file
        self.regions = 0            # how many regions show it, in all spaces

    def host_fd(self, *, write: bool) -> int:
        """The vnode's own descriptor; an overlay file is copied up first when `write`.  Raises ENODEV, EPERM (sealed)."""
        return self.vnode.host_fd(write=write)

    @property
    def label(self) -> bytes:
        if self.dentry is None or self.root is None:
            return self.name
        return self.dentry.path(self.root, mark_deleted=True)

    @property
    def identity(self) -> tuple[int, int]:
        return self.vnode.fileid

    @property
    def sharing_key(self) -> object:
        return self.vnode.fileid

    def run(self) -> None:
        """Nobody may open the file for writing meanwhile (ETXTBSY)."""
        self.vnode.denied_writers += 1

    def unrun(self) -> None:
        self.vnode.denied_writers -= 1

    def mapped(self, region: Region) -> None:
        self.regions += 1
        if self.regions == 1 and self.file is not None:
            self.file.acquire()
        if self.regions == 1 and self.moved is not None and isinstance(self.vnode, OverlayVnode):
            self.vnode.on_copy_up.append(self._tell)
        if _may_write(region) and isinstance(self.vnode, SealedVnode):
            self.vnode.shared_writers += 1

    def unmapped(self, region: Region) -> None:
        self.regions -= 1
        if not self.regions and isinstance(self.vnode, OverlayVnode) and self._tell in self.vnode.on_copy_up:
            self.vnode.on_copy_up.remove(self._tell)
        if _may_write(region) and isinstance(self.vnode, SealedVnode):
            self.vnode.shared_writers -= 1
        if not self.regions and self.file is not None:
            self.file.release()

    def _tell(self) -> None:
        if self.moved is not None:
            self.moved(self)


def _may_write(region: Region) -> bool:
    return region.shared and bool(region.max_prot & Prot.WRITE)
