"""What kind of file something is, from its first bytes: for people who wonder why it does not run.

The file is hostile: every read is bounded, and whatever the bytes are the answer is a `FileKind`.  Not here: whether
it runs; that is what the formats of the exec switch say.
"""

from __future__ import annotations

import struct
from typing import Final

from ring3.abi.elf import ELF32, ELF64, ET_DYN, ET_EXEC, MAGIC, PT_INTERP, PT_LOAD, Ehdr, Phdr
from ring3.abi.table import read_table
from ring3.namedtuple import NamedTuple
from ring3.trace.elfimage import Read
from ring3.trace.explain.words import counted, shown

HEAD: Final = 4096
_MOST_PHDRS: Final = 1024
_MOST_INTERP: Final = 4096
BOM: Final = b"\xef\xbb\xbf"

ET_REL: Final = 1
ET_CORE: Final = 4
PT_NOTE: Final = 4
_TYPES: Final = {
    0: "no type",
    ET_REL: "relocatable",
    ET_EXEC: "executable",
    ET_DYN: "shared or position-independent",
    ET_CORE: "core dump",
}
TYPE_NAMES: Final = {0: "ET_NONE", ET_REL: "ET_REL", ET_EXEC: "ET_EXEC", ET_DYN: "ET_DYN", ET_CORE: "ET_CORE"}


class Elf(NamedTuple):
    """An ELF file as its own header describes it, class and byte order obeyed."""

    bits: int
    order: str                              # "little-endian", "big-endian"
    ehdr: Ehdr
    phdrs: tuple[Phdr, ...]
    interpreter: bytes | None
    machine: str
    brand: str                              # the system a note names; "" for none

    @property
    def type_name(self) -> str:
        return TYPE_NAMES.get(self.ehdr.type, f"type {self.ehdr.type}")

    @property
    def loads(self) -> list[Phdr]:
        return [p for p in self.phdrs if p.type == PT_LOAD]

    def words(self) -> str:
        """One line."""
        parts = [self.type_name, f"{self.machine} ({self.bits}-bit, {self.order})", counted(self.ehdr.phnum, "program header")]
        if self.brand:
            parts.append(f"for {self.brand}")
        parts.append(f"loader {shown(self.interpreter, 80)}" if self.interpreter is not None else "no loader")
        return ", ".join(parts)


class FileKind(NamedTuple):
    """`key` is a row's name ("elf", "script", "text", "empty", …), `words` what to call it, `system` who runs such
    files.
    """

    key: str
    words: str
    system: str = ""
    elf: Elf | None = None


# First bytes, key, what it is called, who would run it.  The first that fits counts.
MAGICS: Final[tuple[tuple[bytes, str, str, str], ...]] = (
    (b"MZ", "pe", "a program for Windows or DOS (MZ)", "Windows; on Linux: wine"),
    (b"\xcf\xfa\xed\xfe", "macho", "a program for macOS (Mach-O, 64-bit)", "macOS"),
    (b"\xce\xfa\xed\xfe", "macho", "a program for macOS (Mach-O, 32-bit)", "macOS"),
    (b"\xfe\xed\xfa\xcf", "macho", "a program for macOS (Mach-O, big-endian)", "macOS"),
    (b"\xfe\xed\xfa\xce", "macho", "a program for macOS (Mach-O, big-endian)", "macOS"),
    (b"\0asm", "wasm", "a WebAssembly module", "a WebAssembly runtime such as wasmtime"),
    (b"BC\xc0\xde", "bitcode", "LLVM bitcode", "lli, or clang to compile it"),
    (b"dex\n", "dex", "a program for Android's Dalvik", "Android"),
    (b"\x1bLua", "lua", "compiled Lua", "lua"),
    (b"!<arch>\n", "ar", "an archive of object files or a Debian package (ar)", "a linker, or dpkg"),
    (b"PK\x03\x04", "zip", "a zip archive (a jar, an apk, a Python zip application …)", "java -jar, python3, unzip"),
    (b"\x1f\x8b", "gzip", "compressed with gzip", "gunzip first"),
    (b"BZh", "bzip2", "compressed with bzip2", "bunzip2 first"),
    (b"\xfd7zXZ\0", "xz", "compressed with xz", "unxz first"),
    (b"\x28\xb5\x2f\xfd", "zstd", "compressed with zstd", "unzstd first"),
    (b"\xed\xab\xee\xdb", "rpm", "an RPM package", "rpm"),
    (b"%PDF", "pdf", "a PDF document", ""),
    (b"\x89PNG", "image", "a picture (PNG)", ""),
    (b"\xff\xd8\xff", "image", "a picture (JPEG)", ""),
    (b"GIF8", "image", "a picture (GIF)", ""),
)

# The low 16 bits of a.out's first word; a machine id may stand above them.
_AOUT: Final = {0o407: "OMAGIC", 0o410: "NMAGIC", 0o413: "ZMAGIC", 0o314: "QMAGIC"}


def kind_of(head: bytes, read: Read) -> FileKind:
    r"""What a file that begins with `head` (its first `HEAD` bytes, not padded) is.  Raises nothing.

    >>> kind_of(b"#!/bin/sh\n", lambda offset, nbytes: b"").words
    'a script'
    """
    if not head:
        return FileKind("empty", "an empty file")
    if head[:4] == MAGIC:
        return _elf(head, read)
    if head[:2] == b"#!":
        return FileKind("script", "a script")
    if head[:3] == BOM:
        return FileKind("bom", "text that begins with a UTF-8 byte order mark" + (", then #!" if head[3:5] == b"#!" else ""))
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return FileKind("utf16", "text in UTF-16")
    if head[:4] == b"\xca\xfe\xba\xbe" and len(head) >= 8:
        if 0 < head[7] < 30 and head[4:7] == b"\0\0\0":
            return FileKind("macho", "a program for macOS, for several CPUs (Mach-O)", "macOS")
        return FileKind("java", "a compiled Java class", "java")
    if head[2:4] == b"\r\n" and len(head) >= 16 and head[1] in (0x0C, 0x0D, 0x0E):
        return FileKind("pyc", "compiled Python", "python3")
    for magic, key, words, system in MAGICS:
        if head.startswith(magic):
            return FileKind(key, words, system)
    if len(head) >= 32 and (name := _AOUT.get(int.from_bytes(head[:2], "little")) or _AOUT.get(int.from_bytes(head[2:4], "big"))):
        return FileKind("aout", f"a program in the old a.out format ({name})", "a system of the last century")
    if head[:4] == b"\x64\x86" or head[:2] in (b"\x64\x86", b"\x4c\x01"):
        return FileKind("coff", "an object file (COFF)", "a linker")
    return _text(head)


def _text(head: bytes) -> FileKind:
    if not any(head):
        return FileKind("zeros", "nothing but zeros")
    odd = sum(1 for byte in head if byte < 32 and byte not in (7, 8, 9, 10, 12, 13, 27))
    if not odd:
        return FileKind("text", "text without #! at its beginning")
    return FileKind("data", "data of no known kind")


def _elf(head: bytes, read: Read) -> FileKind:
    """The ELF header, obeying its class and byte order (the kernel only looks at the machine)."""
    order = ">" if head[5:6] == b"\x02" else "<"
    elf = ELF32 if head[4:5] == b"\x01" else ELF64
    if len(head) < elf.ehdr.size:
        return FileKind("truncated", f"an ELF file cut off inside its header ({counted(len(head), 'byte')})")
    if order == "<":
        ehdr = elf.ehdr.decode(head)
        phdrs = [elf.phdr.decode(row) for row in _rows(ehdr, elf.phdr.size, read)]
    else:
        word = "I" if elf is ELF32 else "Q"
        ehdr = Ehdr(*struct.unpack_from(f">16sHHI3{word}I6H", head))
        phdrs = [_big_phdr(row, elf is ELF32) for row in _rows(ehdr, elf.phdr.size, read)]
    named = next((p for p in phdrs if p.type == PT_INTERP), None)
    name = None if named is None else read(named.offset, min(named.filesz, _MOST_INTERP)).split(b"\0")[0]
    notes = b"".join(read(p.offset, min(p.filesz, 512)) for p in phdrs[:64] if p.type == PT_NOTE)
    machine = read_table("elf_machine").get(ehdr.machine, f"CPU number {ehdr.machine}")
    found = Elf(
        32 if elf is ELF32 else 64,
        "little-endian" if order == "<" else "big-endian",
        ehdr,
        tuple(phdrs),
        name,
        machine,
        _brand(ehdr, notes),
    )
    return FileKind("elf", f"an ELF file: {_TYPES.get(ehdr.type, 'of unknown type')}, for {machine}", elf=found)


def _rows(ehdr: Ehdr, size: int, read: Read) -> list[bytes]:
    count = min(ehdr.phnum, _MOST_PHDRS)
    table = read(ehdr.phoff, count * size) if ehdr.phentsize == size else b""
    return [table[at : at + size] for at in range(0, len(table) - size + 1, size)]


def _big_phdr(row: bytes, narrow: bool) -> Phdr:
    if narrow:
        kind, offset, vaddr, paddr, filesz, memsz, flags, align = struct.unpack(">8I", row)
        return Phdr(kind, flags, offset, vaddr, paddr, filesz, memsz, align)
    return Phdr(*struct.unpack(">IIQQQQQQ", row))


def _brand(ehdr: Ehdr, notes: bytes) -> str:
    """The system that an identification note or the header's OS byte names."""
    for owner, system in ((b"NetBSD\0", "NetBSD"), (b"OpenBSD\0", "OpenBSD"), (b"FreeBSD\0", "FreeBSD"), (b"Android\0", "Android")):
        if owner in notes:
            return system
    return {9: "FreeBSD", 6: "Solaris", 12: "OpenBSD", 2: "NetBSD", 1: "HP-UX"}.get(ehdr.ident[7], "")
