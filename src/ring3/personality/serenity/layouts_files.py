"""SerenityOS's structs of files, directories and file systems: neutral record (or marker) to layout.

Source: Kernel/API/POSIX of the tree of 2022-12-30 (reference, section 4.7).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from ring3.abi.filerecords import Dirent, Flock, IoVec, LongOffset, RawTimespec, Seconds, UtimBuf
from ring3.abi.layout import Custom, Layout
from ring3.abi.records import Attr, DirEntry, MountedFs

_SECOND: Final = 1_000_000_000
_MASK32: Final = 0xFFFF_FFFF
_MASK64: Final = (1 << 64) - 1
_STAT: Final = struct.Struct("<I4xQH2x4I4xqII6q")
_DIRENT: Final = struct.Struct("<QBI")
_STATVFS: Final = struct.Struct("<11Q16s")
_OFFSET: Final = struct.Struct("<q")
ST_RDONLY, ST_NOSUID = 1, 2
NAME_MAX: Final = 255


def _no_decoding(_data: bytes) -> Any:
    raise NotImplementedError("the kernel only writes this struct")


def device_number(dev: int) -> int:
    """A device number as SerenityOS packs it: twelve bits of major between the two parts of the minor.

    >>> hex(device_number(os.makedev(5, 0x123)))
    '0x100523'
    """
    major, minor = os.major(dev), os.minor(dev)
    return (minor & 0xFF | major << 8 | (minor & ~0xFF) << 12) & _MASK32


def encode_stat(a: Attr) -> bytes:
    """struct stat, 104 bytes: st_dev is always 0; what has no room is cut."""
    times = [part for ns in (a.atime, a.mtime, a.ctime) for part in divmod(ns, _SECOND)]
    return _STAT.pack(
        0, a.ino & _MASK64, a.mode & 0xFFFF, a.nlink & _MASK32, a.uid & _MASK32, a.gid & _MASK32, device_number(a.rdev), a.size,
        a.blksize & _MASK32, a.blocks & _MASK32, *times,
    )


def encode_dirent(entry: DirEntry) -> bytes:
    """One record of get_dir_entries, without padding: inode, type, length of the name, the name."""
    return _DIRENT.pack(entry.ino & _MASK64, entry.type >> 12, len(entry.name)) + entry.name


def encode_statvfs(value: MountedFs) -> bytes:
    """struct statvfs, 104 bytes."""
    fs = value.fs
    return _STATVFS.pack(
        fs.bsize, fs.frsize, fs.blocks & _MASK64, fs.bfree & _MASK64, fs.bfree & _MASK64, fs.files & _MASK64, fs.ffree & _MASK64,
        fs.ffree & _MASK64, fs.fsid & _MASK64, fs.flags & (ST_RDONLY | ST_NOSUID), min(fs.namelen, NAME_MAX), value.kind[:15],
    )


def _flock() -> Custom:
    form = struct.Struct("<hh4xqqi4x")
    return Custom(
        form.size,
        lambda data: Flock(*form.unpack(data)),
        lambda lock: form.pack(lock.type, lock.whence, lock.start, lock.length, lock.pid),
    )


LAYOUTS: Final[Mapping[type, Any]] = MappingProxyType({
    Attr: Custom(_STAT.size, _no_decoding, encode_stat),
    Dirent: Custom(0, _no_decoding, encode_dirent),
    Flock: _flock(),
    MountedFs: Custom(_STATVFS.size, _no_decoding, encode_statvfs),
    IoVec: Layout(IoVec, "<QQ"),
    LongOffset: Custom(_OFFSET.size, lambda data: _OFFSET.unpack(data)[0], _OFFSET.pack),
    RawTimespec: Layout(Seconds, "<qq"),
    UtimBuf: Layout(UtimBuf, "<qq"),
})
