r"""The notes of a NetBSD image: what it was built for, and which protections it asks for or does without.

A note is namesz, descsz, type (three words), then the name and the desc, each padded to four bytes:

    07 00 00 00  04 00 00 00  01 00 00 00  "NetBSD\0" 00  version

Source: exec_elf.c (netbsd_elf_signature), elf(5), security(7) on PaX.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from ring3.namedtuple import NamedTuple

NETBSD: Final = (b"NetBSD\0", 1)            # name and type; desc: the version, a word
PAX: Final = (b"PaX\0", 3)                  # desc: flags, a word
MARCH: Final = (b"NetBSD\0", 5)             # desc: the machine's name
MARCH_MAX: Final = 12

PAX_MPROTECT, PAX_NOMPROTECT, PAX_ASLR, PAX_NOASLR = 0x01, 0x02, 0x10, 0x20
P_ASLR, P_MPROTECT = 1, 2                   # Proc.pax

_HEADER = struct.Struct("<III")


class Notes(NamedTuple):
    """What they say; `version` is None in a file that is not NetBSD's."""

    version: int | None = None
    pax: int = 0
    machine: bytes = b""

    @property
    def protections(self) -> int:
        """The P_* in force, both being the system's default: all that are not declined."""
        return (0 if self.pax & PAX_NOASLR else P_ASLR) | (0 if self.pax & PAX_NOMPROTECT else P_MPROTECT)


def split(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    r"""(name, type, desc) of each note, as far as they are whole.

    >>> list(split(bytes.fromhex("04000000 04000000 03000000 50615800 20000000")))
    [(b'PaX\x00', 3, b' \x00\x00\x00')]
    """
    at = 0
    while at + _HEADER.size <= len(data):
        namesz, descsz, kind = _HEADER.unpack_from(data, at)
        name_at = at + _HEADER.size
        desc_at = name_at + (namesz + 3 & ~3)
        at = desc_at + (descsz + 3 & ~3)
        if desc_at + descsz > len(data):
            return
        yield data[name_at : name_at + namesz], kind, data[desc_at : desc_at + descsz]


def read_notes(segments: Iterable[bytes]) -> Notes:
    """What all segments of notes say together; the first of a kind counts."""
    version, pax, machine = None, 0, b""
    for data in segments:
        for name, kind, desc in split(data):
            if (name, kind) == NETBSD and len(desc) == 4:
                version = int.from_bytes(desc, "little") if version is None else version
            elif (name, kind) == PAX and len(desc) == 4:
                pax = pax or int.from_bytes(desc, "little")
            elif (name, kind) == MARCH and 0 < len(desc) <= MARCH_MAX and desc[-1] == 0:
                machine = machine or desc.rstrip(b"\0")
    return Notes(version, pax, machine)
