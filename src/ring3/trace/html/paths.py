"""What system calls did to files, by path: opened, read, written, made, renamed, removed, looked for in vain.

A table says which call does what; paths of descriptors are those they were opened by.  A path that was refused is shown as it was
asked for, behind the directory it was asked in.  An open that could have made its file did so when the file is no older than the
call (or O_EXCL says so; file systems of the host tell no one's age).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.flags import AT_FDCWD, FileType, OpenFlags
from ring3.calls.sysarg import CString, Descriptor
from ring3.errors import Errno
from ring3.namedtuple import NamedTuple

if TYPE_CHECKING:
    from ring3.calls.syscall import Bound
    from ring3.proc.proc import Thread
    from ring3.trace.html.document import Document
    from ring3.vfs.dentry import Dentry

_OPENS: Final = frozenset({"open", "openat", "openat2", "creat"})
_MAKES: Final = frozenset({"creat"})                    # opens that need no flag to make a file
_EXCLUSIVE: Final = OpenFlags.CREAT | OpenFlags.EXCL
_TEMPORARY: Final = frozenset({"EAGAIN", "EINTR"})     # no word about the file

# Calls that move bytes: descriptors that are read and that are written, by the place of the argument.
_READS: Final = MappingProxyType({
    **dict.fromkeys(("read", "pread64", "pread", "readv", "preadv", "preadv2"), 0), "sendfile": 1, "sendfile64": 1,
    "copy_file_range": 0, "splice": 0,
})
_WRITES: Final = MappingProxyType({
    **dict.fromkeys(("write", "pwrite64", "pwrite", "writev", "pwritev", "pwritev2"), 0), "sendfile": 0, "sendfile64": 0,
    "copy_file_range": 2, "splice": 2,
})
# Calls that change a name or a file: what each of the paths, in their order, went through.
_DEEDS: Final = MappingProxyType({
    **dict.fromkeys(("mkdir", "mkdirat", "mknod", "mknodat"), ("created",)),
    **dict.fromkeys(("link", "linkat", "symlink", "symlinkat"), ("", "created")),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), ("removed",)),
    **dict.fromkeys(("rename", "renameat", "renameat2", "__posix_rename"), ("renamed", "created")),
    **dict.fromkeys(("truncate", "chmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchownat", "utime", "utimes", "utimensat",
                     "futimesat", "lutimes", "setxattr", "lsetxattr", "chflags"), ("changed",)),
})
_CHANGES: Final = frozenset({"ftruncate", "fchmod", "fchown", "fallocate", "fsetxattr", "futimens", "fchflags"})     # by descriptor


class _Shape(NamedTuple):
    """Where a call has its paths: (place of the path, place of its directory's descriptor or -1)."""

    paths: tuple[tuple[int, int], ...]


class Paths:
    """Adds up in `document`, call by call."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._shapes: dict[Bound, _Shape] = {}

    def call(self, t: Thread, call: Bound, args: tuple[Any, ...], result: int | Errno | None, took: int = 0) -> None:
        """A call of `t` ended with `result`, after `took` ns."""
        name = call.name
        if name in _READS or name in _WRITES:
            self._moved(t, name, args, result)
            return
        if name in _CHANGES and not isinstance(result, Errno):
            path = _path_of(t, args[0])
            if path:
                self._document.file(path).deeds.add("changed")
            return
        shape = self._shape(call)
        if not shape.paths:
            return
        if isinstance(result, Errno):
            if result.name not in _TEMPORARY:
                for path in _asked(t, shape, args):
                    self._document.file(path).fails += 1
        elif name in _OPENS and result is not None:
            path = _path_of(t, result)
            if path:
                row = self._document.file(path)
                row.opens += 1
                if "created" not in row.deeds and _made(t, name, args, result, took):
                    row.deeds.add("created")
        elif name in _DEEDS:
            for path, deed in zip(_asked(t, shape, args), _DEEDS[name], strict=False):
                if deed:
                    self._document.file(path).deeds.add(deed)

    def _shape(self, call: Bound) -> _Shape:
        found = self._shapes.get(call)
        if found is None:
            kinds = list(call.call.kinds.values())
            found = self._shapes[call] = _Shape(tuple(
                (place, place - 1 if place and isinstance(kinds[place - 1], Descriptor) else -1)
                for place, kind in enumerate(kinds) if isinstance(kind, CString)
            ))
        return found

    def _moved(self, t: Thread, name: str, args: tuple[Any, ...], result: int | Errno | None) -> None:
        if not isinstance(result, int) or result <= 0:
            return
        for table, is_read in ((_READS, True), (_WRITES, False)):
            place = table.get(name, -1)
            path = _path_of(t, args[place]) if place >= 0 else b""
            if path:
                row = self._document.file(path)
                if is_read:
                    row.read += result
                else:
                    row.written += result


def _path_of(t: Thread, fd: int) -> bytes:
    """Where a descriptor's file was opened; empty for what has no path."""
    file = t.fds.files.get(fd)
    dentry: Dentry | None = file.dentry if file is not None else None
    if dentry is None:
        return b""
    path = dentry.path(t.system.mounts.root)
    return b"" if path.startswith(b"(unreachable)") else path


def _made(t: Thread, name: str, args: tuple[Any, ...], fd: int, took: int) -> bool:
    """Whether an open that succeeded made the file it opened."""
    flags = next((arg for arg in args if isinstance(arg, OpenFlags)), OpenFlags(0))
    if not flags & OpenFlags.CREAT and name not in _MAKES:
        return False
    file = t.fds.files.get(fd)
    if file is None or file.dentry is None or file.dentry.vnode.type != FileType.REG:
        return False
    if flags & _EXCLUSIVE == _EXCLUSIVE:
        return True
    try:
        born = file.dentry.vnode.getattr().btime
    except Errno:
        return False
    return born >= time.time_ns() - took > 0


def _asked(t: Thread, shape: _Shape, args: tuple[Any, ...]) -> Iterator[bytes]:
    """The paths a call names, made absolute where they are not."""
    for place, directory in shape.paths:
        path = args[place]
        if not path or len(args) <= place:
            continue
        if not path.startswith(b"/"):
            fd = args[directory] if directory >= 0 else AT_FDCWD
            base = t.proc.fs.cwd.path(t.system.mounts.root) if fd == AT_FDCWD else _path_of(t, fd)
            path = base.rstrip(b"/") + b"/" + path.removeprefix(b"./")
        yield path
