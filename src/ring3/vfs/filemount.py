"""One file of a file system, to be mounted by itself.

Invariant: nothing of `inner` but this one file can be reached through the mount: its root is no directory, and has no names in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.errors import EINVAL
from ring3.vfs.vnode import FileSystem, Vnode

if TYPE_CHECKING:
    from ring3.abi.records import StatFs


class FileMount(FileSystem):
    """The file `name` at the top of `inner`.  Raises ENOENT without one, EINVAL for a directory."""

    def __init__(self, inner: FileSystem, name: bytes) -> None:
        self._inner = inner
        self._file = inner.root().lookup(name)
        if self._file.is_dir:
            raise EINVAL("a directory is mounted as one")
        self._file.hold()
        self.name = inner.name
        self.source = inner.source + b"/" + name
        self.readonly = inner.readonly
        self.dev = inner.dev
        self.devices = inner.devices

    def root(self) -> Vnode:
        return self._file

    def statfs(self) -> StatFs:
        return self._inner.statfs()

    def close(self) -> None:
        self._inner.close()
