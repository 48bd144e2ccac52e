"""ktrace files: record types, facility bits, and the bytes of records, as NetBSD/amd64 writes them.

A file is a row of records, each a header and a payload of `length` bytes; there is nothing before the first.  Here are layouts of
64-bit systems, which is what is written; older and other ones are known to `trace/ktracefile.py`, which reads them.
Sources: sys/ktrace.h, ktrace(2), kern_ktrace.c.
"""

from __future__ import annotations

import enum
from struct import Struct
from typing import Final


class Record(enum.IntEnum):
    """KTR_*: what a record is about."""

    SYSCALL = 1
    SYSRET = 2
    NAMEI = 3
    GENIO = 4
    PSIG = 5
    CSW = 6
    EMUL = 7
    USER = 8
    MMSG = 9
    EXEC_ARG = 10
    EXEC_ENV = 11
    MOOL = 12
    SAUPCALL = 13
    MIB = 14
    EXEC_FD = 15


# Operations of ktrace(2), and what may be added.
KTROP_SET, KTROP_CLEAR, KTROP_CLEARFILE, KTROP_MASK, KTRFLAG_DESCEND = 0, 1, 2, 3, 4

# Facilities are 1 << record type; the rest of the word:
FAC_MASK: Final = 0x00FF_FFFF
FAC_ALL: Final = sum(1 << record for record in Record)
PERSISTENT: Final = 0x8000_0000         # root asked: holds through set-id programs (KTRFAC_ROOT of old)
INHERIT: Final = 0x4000_0000            # children are traced too
TRACE_EMUL: Final = 0x1000_0000         # an EMUL record comes before the next one
VERSION_SHIFT: Final = 24
VERSION_MASK: Final = 0x0F00_0000

MAXCOMLEN: Final = 16
USER_ID: Final = 20                     # bytes of a USER record's name
USER_MAX: Final = 2048                  # bytes of data of one
GENIO_MAX: Final = 4096 - 8             # bytes of data in one GENIO record

ERESTART: Final = -3                    # "errors" of calls that did not return
EJUSTRETURN: Final = -2

# Headers: length, type, version, pid, command; then seconds, a fraction of one, and (from version 1) the LWP.
HEADERS: Final = (
    Struct("<ihhi17s3xi4xq8x"),         # 0: microseconds; the last word is a pointer that was never of use
    Struct("<ihhi17s3xi4xqi4x"),        # 1: nanoseconds
    Struct("<ihhi17s3xqqi4x"),          # 2: and seconds of 64 bits
)
HEADER_SIZE: Final = 56

SYSCALL: Final = Struct("<ii")          # code, bytes of arguments; the arguments follow, a word of 64 bits each
SYSRET: Final = Struct("<hhiqq")        # code, 0, error, two results
GENIO: Final = Struct("<ii")            # descriptor, 0 for reading or 1 for writing; the data follow
PSIG: Final = Struct("<i4xQ16si4x")     # signal, handler, mask, code; siginfo may follow
CSW: Final = Struct("<ii")              # 1 for out, 1 for user
EXEC_FD: Final = Struct("<iI")          # descriptor, what kind of file


class FileKind(enum.IntEnum):
    """DTYPE_*: what an open file is."""

    VNODE = 1
    SOCKET = 2
    PIPE = 3
    KQUEUE = 4
    MISC = 5
    CRYPTO = 6
    MQUEUE = 7
    SEM = 8


def header(length: int, record: int, version: int, pid: int, comm: bytes, now_ns: int, lid: int) -> bytes:
    """The header of one record.  A version nobody knows is written as the newest.

    >>> len(header(4, Record.NAMEI, 2, 7, b"sh", 0, 1))
    56
    """
    seconds, ns = divmod(now_ns, 1_000_000_000)
    layout = HEADERS[min(version, 2)]
    if version == 0:
        return layout.pack(length, record, 0, pid, comm[:MAXCOMLEN], _int32(seconds), ns // 1000)
    if version == 1:
        return layout.pack(length, record, 1, pid, comm[:MAXCOMLEN], _int32(seconds), ns, lid)
    return layout.pack(length, record, 2, pid, comm[:MAXCOMLEN], seconds, ns, lid)


def _int32(value: int) -> int:
    return (value & 0x7FFF_FFFF) - (value & 0x8000_0000)


def signed(value: int) -> int:
    """A word of 64 bits as C's long."""
    return (value & (1 << 63) - 1) - (value & 1 << 63)


def syscall(code: int, words: tuple[int, ...]) -> bytes:
    """The payload of a SYSCALL record."""
    return SYSCALL.pack(_int32(code), 8 * len(words)) + b"".join((word & (1 << 64) - 1).to_bytes(8, "little") for word in words)


def sysret(code: int, error: int, first: int = 0, second: int = 0) -> bytes:
    """The payload of a SYSRET record.  `error` is the system's number, 0, ERESTART or EJUSTRETURN."""
    return SYSRET.pack((code & 0x7FFF) - (code & 0x8000), 0, error, signed(first), signed(second))


def psig(signo: int, handler: int, mask: int, code: int) -> bytes:
    """The payload of a PSIG record, without a siginfo."""
    return PSIG.pack(signo, handler, mask.to_bytes(16, "little"), _int32(code))


def genio(fd: int, *, writes: bool, data: bytes) -> bytes:
    """The payload of a GENIO record."""
    return GENIO.pack(_int32(fd), writes) + data
