"""NetBSD's structs of the calls about files, sockets and events: neutral record (or marker) to layout.

`layouts(word_size)` makes them for amd64 (8) or i386 (4); what differs between the two is padding and the width of a long.
Not here: times, integers, signals and processes (`layouts_process.py`), terminals (`calls/netbsd/ioctl.py`).
Sources: sys/{stat,dirent,fcntl,statvfs,event,poll,uio,socket,termios,ttycom,ucred}.h; offsets recomputed for both word sizes.
"""

from __future__ import annotations

import os
import struct
from functools import lru_cache
from typing import Any

from ring3.abi.eventrecords import KEvent, LongKEvent
from ring3.abi.filerecords import (
    CmsgHdr,
    Dirent,
    Flock,
    IoVec,
    Linger,
    LongOffset,
    MMsgHdr,
    MsgHdr,
    PollFd,
    SockAddr,
    Ucred,
)
from ring3.abi.layout import Custom, Layout
from ring3.abi.records import Attr, DirEntry, LabelledFs, MountedFs, WinSize
from ring3.errors import EINVAL, ENOENT, EOVERFLOW

_SECOND = 1_000_000_000
_MASK32 = 0xFFFF_FFFF
_MASK64 = (1 << 64) - 1
_NAME_MAX = 511

F_RDLCK, F_UNLCK, F_WRLCK = 1, 2, 3
_LOCK_IN = {F_RDLCK: 0, F_WRLCK: 1, F_UNLCK: 2}          # the kernel's: read 0, write 1, none 2
_LOCK_OUT = {neutral: theirs for theirs, neutral in _LOCK_IN.items()}
_NO_LOCK = -1

AF_UNIX = 1
FAMILIES_IN = {0: 0, AF_UNIX: 1, 2: 2, 24: 10}          # NetBSD's, the kernel's: unspecified, local, IPv4, IPv6
FAMILIES_OUT = {neutral: theirs for theirs, neutral in FAMILIES_IN.items()}
_NO_FAMILY = 0xFFFF
_SOCKADDR_HEAD = 2
_UN_SIZE = 106
SOL_SOCKET = 0xFFFF
TOLD_FLAGS = ((0x8, 0x80), (0x10, 0x20), (0x20, 0x8), (0x800, 0x4000_0000))      # EOR, TRUNC, CTRUNC, CMSG_CLOEXEC
_NARROW = (1, 3, 5, 6, 7)                # members of a msghdr that have 32 bits on both
_NEUTRAL_SOL_SOCKET = 1
_NO_LEVEL = 0xFFFF

# What a mount forbids: the kernel's bit (statvfs(3) of Linux), NetBSD's MNT_*.
MOUNT_FLAGS = ((1, 0x1), (2, 0x8), (4, 0x10), (8, 0x4), (16, 0x2), (1024, 0x4000000))
MNT_LOCAL = 0x1000
_VFS_NAMELEN, _VFS_MNAMELEN = 32, 1024
_LABEL = f"{_VFS_MNAMELEN}x"             # no disk here has one


def _no_decoding(_data: bytes) -> Any:
    raise NotImplementedError("the kernel only writes this struct")


@lru_cache(maxsize=64)                     # each stat asks, mostly about one file system
def device_number(dev: int) -> int:
    """A device number as NetBSD packs it: twelve bits of major, twenty of minor.

    >>> hex(device_number(os.makedev(5, 0x123)))
    '0x100523'
    """
    major, minor = os.major(dev), os.minor(dev)
    return (major & 0xFFF) << 8 | (minor & 0xFFF00) << 12 | minor & 0xFF


# --- stat
def _stat(time: str, gap: str) -> Custom:
    """struct stat; `time` is a struct timespec, `gap` what stands between members to align those of 64 bits."""
    form = struct.Struct(f"<QI{gap}QIII{gap}Q{4 * time}qqIII8x{gap}")
    pack = form.pack

    def encode(a: Attr) -> bytes:
        return pack(
            device_number(a.dev), a.mode, a.ino & _MASK64, a.nlink & _MASK32, a.uid, a.gid, device_number(a.rdev) if a.rdev else 0,
            *divmod(a.atime, _SECOND), *divmod(a.mtime, _SECOND), *divmod(a.ctime, _SECOND), *divmod(a.btime, _SECOND),
            a.size, a.blocks, a.blksize & _MASK32, 0, 0,
        )

    return Custom(form.size, _no_decoding, encode)


# --- directories
def _dirent() -> Custom:
    """struct dirent, for (offset behind it, `DirEntry`): records are aligned to eight bytes on every system."""
    head = struct.Struct("<QHHB")

    def encode(item: tuple[int, DirEntry]) -> bytes:
        _, entry = item
        name = entry.name[:_NAME_MAX]
        length = (head.size + len(name) + 1 + 7) & -8
        return (head.pack(entry.ino & _MASK64, length, len(name), entry.type >> 12) + name).ljust(length, b"\0")

    return Custom(0, _no_decoding, encode)


# --- locks
def _flock() -> Custom:
    """struct flock: the kinds of lock have other numbers than the kernel's."""
    form = struct.Struct("<qqihh")

    def decode(data: bytes) -> Flock:
        start, length, pid, kind, whence = form.unpack(data)
        return Flock(_LOCK_IN.get(kind, _NO_LOCK), whence, start, length, pid)

    def encode(lock: Flock) -> bytes:
        return form.pack(lock.start, lock.length, lock.pid, _LOCK_OUT.get(lock.type, 0), lock.whence)

    return Custom(form.size, decode, encode)


# --- file systems
def _statvfs(word: str, spare: str, tail: str) -> Custom:
    """struct statvfs ↔ `MountedFs`: members up to the owner, spare room, the three names, what follows."""
    form = struct.Struct(f"<4{word}12Q2i{word}{word}I{spare}{_VFS_NAMELEN}s{_VFS_MNAMELEN}s{_VFS_MNAMELEN}s{tail}")
    narrow = _MASK32 if word == "I" else _MASK64

    def encode(value: MountedFs) -> bytes:
        fs = value.fs
        flags = MNT_LOCAL | sum(theirs for neutral, theirs in MOUNT_FLAGS if fs.flags & neutral)
        return form.pack(
            flags & narrow, fs.bsize & narrow, fs.frsize & narrow, fs.bsize & narrow,
            fs.blocks & _MASK64, fs.bfree & _MASK64, fs.bavail & _MASK64, max(fs.bfree - fs.bavail, 0) & _MASK64,
            fs.files & _MASK64, fs.ffree & _MASK64, fs.ffree & _MASK64, 0,
            0, 0, 0, 0, fs.fsid & 0x7FFF_FFFF, 0, fs.fsid & narrow, min(fs.namelen, _NAME_MAX), 0,
            value.kind[: _VFS_NAMELEN - 1], value.on[: _VFS_MNAMELEN - 1], value.source[: _VFS_MNAMELEN - 1],
        )

    return Custom(form.size, _no_decoding, encode)


# --- messages
def _message(codes: str, after: str) -> Custom:
    """struct msghdr, and with `after` the count behind it in a struct mmsghdr; the flags are those that the kernel tells."""
    form = struct.Struct(codes + after)
    record: Any = MMsgHdr if after else MsgHdr

    def encode(value: Any) -> bytes:
        header = record._make(value)
        fields = header._replace(flags=sum(theirs for theirs, neutral in TOLD_FLAGS if header.flags & neutral))
        return form.pack(*(field & _MASK32 if place in _NARROW else field for place, field in enumerate(fields)))

    return Custom(form.size, lambda data: record(*form.unpack(data)), encode)


def _control(pad: int) -> Custom:
    """struct cmsghdr with what aligns the data behind it; SOL_SOCKET has another number."""
    form = struct.Struct(f"<Iii{pad}x")

    def decode(data: bytes, offset: int = 0) -> CmsgHdr:
        length, level, kind = form.unpack_from(data, offset)
        return CmsgHdr(length, _NEUTRAL_SOL_SOCKET if level == SOL_SOCKET else _NO_LEVEL, kind)

    def encode(value: tuple[int, int, int]) -> bytes:
        length, level, kind = value
        return form.pack(length, SOL_SOCKET if level == _NEUTRAL_SOL_SOCKET else level, kind)

    return Custom(form.size, decode, encode)


def address_inward(data: bytes) -> bytes:
    """A sockaddr (length, family, rest) as the kernel has them: two bytes of family, in its own numbers.  Raises EINVAL, ENOENT.

    What the length in it says does not matter: the call has one too.  There are no names without a file here.
    """
    if len(data) < _SOCKADDR_HEAD:
        raise EINVAL
    family = data[1]
    if family == AF_UNIX:
        data = data[:_UN_SIZE]
        if not data[_SOCKADDR_HEAD:].split(b"\0", 1)[0]:
            raise ENOENT
    return FAMILIES_IN.get(family, _NO_FAMILY).to_bytes(2, "little") + data[_SOCKADDR_HEAD:]


def address_outward(data: bytes) -> bytes:
    """The way back.  No address at all is that of a socket without a name: a family, and nothing behind it."""
    family = int.from_bytes(data[:2], "little") if data else AF_UNIX
    return bytes((max(len(data), _SOCKADDR_HEAD) & 0xFF, FAMILIES_OUT.get(family, 0))) + data[_SOCKADDR_HEAD:]


def _credentials() -> Custom:
    """struct unpcbid, what LOCAL_PEEREID tells: pid, euid, egid."""
    form = struct.Struct("<iII")
    return Custom(form.size, lambda data: Ucred(*form.unpack(data)), lambda value: form.pack(*value))


def _offset(codes: str) -> Custom:
    one = struct.Struct(codes)

    def encode(value: int) -> bytes:
        try:
            return one.pack(value)
        except struct.error:
            raise EOVERFLOW from None

    return Custom(one.size, lambda data: int(one.unpack(data)[0]), encode)


def _kevent(codes: str) -> Custom:
    form = struct.Struct(codes)
    word = _MASK64 if "Q" in codes else _MASK32

    def encode(event: KEvent) -> bytes:
        data = (event.data + (1 << 63)) % (1 << 64) - (1 << 63)
        return form.pack(event.ident & word, event.filter, event.flags, event.fflags & _MASK32, data, event.udata & word)

    return Custom(form.size, lambda data: KEvent(*form.unpack(data)), encode)


def layouts(word_size: int) -> dict[type, Any]:
    """All of them, for one word size."""
    wide = word_size == 8
    message = "<QI4xQI4xQII" if wide else "<IIIIIII"
    return {
        Attr: _stat("qq", "4x") if wide else _stat("qi", ""),
        Dirent: _dirent(),
        Flock: _flock(),
        MountedFs: _statvfs("Q", "16x", "4x") if wide else _statvfs("I", "16x", ""),             # NetBSD 3 to 9
        LabelledFs: _statvfs("Q", "36x", _LABEL) if wide else _statvfs("I", "32x", _LABEL),
        IoVec: Layout(IoVec, "<QQ" if wide else "<II"),
        PollFd: Layout(PollFd, "<iHH"),
        WinSize: Layout(WinSize, "<HHHH"),
        Linger: Layout(Linger, "<ii"),
        LongOffset: _offset("<q" if wide else "<i"),
        MsgHdr: _message(message, ""),
        MMsgHdr: _message(message, "I4x" if wide else "I"),
        CmsgHdr: _control(4 if wide else 0),
        SockAddr: Custom(0, address_inward, address_outward),
        Ucred: _credentials(),
        KEvent: _kevent("<QIIIxxxxqQ" if wide else "<IIIIqI"),
        LongKEvent: _kevent("<QIIIxxxxqQ32x" if wide else "<IIIIqI32x"),
    }
