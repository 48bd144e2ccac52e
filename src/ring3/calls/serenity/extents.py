"""How far shared mappings of a file may reach: as far as the first of them, and the file, reached when it was made.

The pages that all shared mappings of a file show are one object there, made with the first and gone with the last; it does not grow
with the file.  Kept while a region shows it (`System.extents`).  Not reproduced: a running program's image is such an object too.
Source: SharedInodeVMObject::try_create_with_inode_and_range, AddressSpace::allocate_region_with_vmobject.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ring3.errors import EINVAL
from ring3.vfs.mapping import VnodeObject
from ring3.vm.region import Region, page_ceil

if TYPE_CHECKING:
    from ring3.proc.system import System


class SharedFile(VnodeObject):
    """A file's pages in one shared mapping."""

    __slots__ = ("_end", "_system")

    def __init__(self, system: System, end: int, *args: Any, **more: Any) -> None:
        """For a mapping that ends at `end` of the file; the other arguments are VnodeObject's."""
        super().__init__(*args, **more)
        self._system = system
        self._end = end

    def check(self) -> None:
        """Raises EINVAL where the pages there are end before."""
        found = self._system.extents.get(self.vnode.fileid)
        if found is not None and self._end > found.end:
            raise EINVAL("beyond the end of what is mapped of the file already")

    def mapped(self, region: Region) -> None:
        super().mapped(region)
        if self.regions == 1:
            extents, key = self._system.extents, self.vnode.fileid
            found = extents.get(key)
            if found is None:
                found = extents[key] = Extent(max(self._end, page_ceil(self.vnode.getattr().size)))
            found.mappings += 1

    def unmapped(self, region: Region) -> None:
        super().unmapped(region)
        if not self.regions:
            extents, key = self._system.extents, self.vnode.fileid
            extents[key].mappings -= 1
            if not extents[key].mappings:
                del extents[key]


class Extent:
    """Of one file: where its pages end, and how many mappings show them."""

    __slots__ = ("end", "mappings")

    def __init__(self, end: int) -> None:
        self.end = end
        self.mappings = 0
