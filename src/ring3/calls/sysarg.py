"""How one register word becomes one argument of a system call, and how that argument prints.

A handler's signature is its declaration: `Annotated` keeps the type checker seeing `int` and `bytes`, while the table builder sees
the `Kind`.  `compile` runs once for each call and instruction set; what it gives back runs on every call.
Prints follow strace(1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntFlag
from functools import lru_cache
from typing import Annotated, Any

from ring3.abi.flags import (
    AT_FDCWD,
    Access,
    AtFlags,
    CloneFlags,
    MapFlags,
    OpenFlags,
    Prot,
    RemapFlags,
    RenameFlags,
    WaitOptions,
    Whence,
)
from ring3.abi.signals import Signal, signal_name
from ring3.errors import E2BIG, EFAULT, ENAMETOOLONG
from ring3.proc.proc import Thread
from ring3.protocols import Abi

Decoder = Callable[[Thread, int], Any]

PATH_MAX = 4096
SHOWN_BYTES = 32          # strace -s
SHOWN_VARIABLES = 4096    # how far an environment is counted


class Kind:
    """One argument.  Overridden by what an argument can be."""

    wide = False          # takes two registers where a word has four bytes

    def compile(self, abi: Abi) -> Decoder:
        """A function from (thread, register word) to the argument."""
        del abi
        return lambda _t, word: word

    def show(self, t: Thread, value: Any) -> str:
        """As strace prints it when the call begins."""
        del t
        return str(value)

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        """As strace prints it when the call is over, for what the call fills in; None when `show` said it all."""
        del t, value, result
        return None

    def show_beside(self, t: Thread, value: Any, behind: Any) -> str:
        """As `show`, for what the argument behind it measures (None behind the last)."""
        del behind
        return self.show(t, value)

    def show_result_beside(self, t: Thread, value: Any, behind: Any, result: int) -> str | None:
        """As `show_result`, likewise."""
        del behind
        return self.show_result(t, value, result)


class Unsigned(Kind):
    """A word as it is: sizes, counts."""


class Address(Kind):
    """A guest address nobody reads for printing."""

    def show(self, t: Thread, value: Any) -> str:
        return hex(value) if value else "NULL"


class Signed32(Kind):
    """A C int."""

    def compile(self, abi: Abi) -> Decoder:
        return lambda _t, word: (word & 0x7FFFFFFF) - (word & 0x80000000)


class Unsigned32(Kind):
    """A C unsigned int."""

    def compile(self, abi: Abi) -> Decoder:
        return lambda _t, word: word & 0xFFFFFFFF


class SignedWord(Kind):
    """A C long."""

    def compile(self, abi: Abi) -> Decoder:
        sign = 1 << (8 * abi.word_size - 1)
        return lambda _t, word: (word & (sign - 1)) - (word & sign)


class Signed64(SignedWord):
    """A loff_t: two registers on 32-bit systems."""

    wide = True

    def compile(self, abi: Abi) -> Decoder:
        sign = 1 << 63
        return lambda _t, word: (word & (sign - 1)) - (word & sign)


class Octal(Unsigned32):
    """Permission bits."""

    def show(self, t: Thread, value: Any) -> str:
        return f"0{value:o}" if value else "0"


class Descriptor(Signed32):
    """A descriptor, AT_FDCWD included."""

    def show(self, t: Thread, value: Any) -> str:
        return "AT_FDCWD" if value == AT_FDCWD else str(value)


class SignalNumber(Signed32):
    """A signal in the kernel's number, whatever the system's; by its name where it has one."""

    def compile(self, abi: Abi) -> Decoder:
        translate = abi.flags.get(Signal)
        if translate is None:
            return super().compile(abi)
        return lambda _t, word: translate((word & 0x7FFFFFFF) - (word & 0x80000000))

    def show(self, t: Thread, value: Any) -> str:
        return signal_name(value, t.proc.personality.signal_defaults.names) if 0 < value <= 64 else str(value)


class CString(Kind):
    """A path: at most PATH_MAX bytes.  Raises EFAULT, ENAMETOOLONG while decoding."""

    def __init__(self, *, optional: bool = False) -> None:
        self.optional = optional

    def compile(self, abi: Abi) -> Decoder:
        if self.optional:
            return lambda t, word: t.proc.vm.copyinstr(word, PATH_MAX) if word else None
        return lambda t, word: t.proc.vm.copyinstr(word, PATH_MAX)

    def show(self, t: Thread, value: Any) -> str:
        return "NULL" if value is None else quote(value, None)


class InBuffer(Kind):
    """The address of bytes the kernel will read; how many, the argument behind it says."""

    def show(self, t: Thread, value: Any) -> str:
        return hex(value) if value else "NULL"

    def show_beside(self, t: Thread, value: Any, behind: Any) -> str:
        return show_memory(t, value, behind) if isinstance(behind, int) else self.show(t, value)


class OutBuffer(Kind):
    """The address of bytes the kernel will write; the call's result says how many it wrote."""

    def show(self, t: Thread, value: Any) -> str:
        return hex(value) if value else "NULL"

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        return show_memory(t, value, result) if result >= 0 and value else None


class Flags(Kind):
    """Neutral flags, from the numbers of the calling system."""

    def __init__(self, flag: type[IntFlag], *, zero: str = "0", prefix: str = "") -> None:
        self.flag = flag
        self.zero = zero
        self.prefix = prefix

    def compile(self, abi: Abi) -> Decoder:
        flag, translate = self.flag, abi.flags.get(self.flag)
        known: dict[int, IntFlag] = {}

        def decode(_t: Thread, word: int) -> IntFlag:
            found = known.get(word)
            if found is None:
                word32 = word & 0xFFFFFFFF
                found = flag(word32 if translate is None else translate(word32))
                if len(known) < 4096:
                    known[word] = found
            return found

        return decode

    def show(self, t: Thread, value: Any) -> str:
        return show_flags(self.flag, int(value), self.zero, self.prefix)


def show_memory(t: Thread, addr: int, nbytes: int) -> str:
    """Guest memory as a string; its address where it cannot be read."""
    if not addr:
        return "NULL"
    try:
        shown = t.proc.vm.copyin(addr, min(nbytes, t.system.shown_bytes))
    except EFAULT:
        return hex(addr)
    return quote(shown, nbytes)


@lru_cache(maxsize=4096)
def show_flags(flag: type[IntFlag], value: int, zero: str, prefix: str) -> str:
    """`O_RDWR|O_CREAT`, unknown bits in hex at the end."""
    if not value:
        return zero
    names = []
    for member in flag.__members__.values():
        bits = int(member)
        if bits and value & bits == bits:
            names.append(prefix + (member.name or ""))
            value &= ~bits
    if value:
        names.append(hex(value))
    return "|".join(names)


class OpenFlagsKind(Flags):
    """open(2) flags: the access mode is a number of two bits, printed first; O_DIRECTORY comes last."""

    def show(self, t: Thread, value: Any) -> str:
        mode = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")[int(value) & 3]
        last = int(value) & int(OpenFlags.DIRECTORY) if int(value) & OpenFlags.TMPFILE != OpenFlags.TMPFILE else 0
        rest = int(value) & ~3 & ~last
        names = [mode] + ([show_flags(OpenFlags, rest, "", "O_")] if rest else []) + (["O_DIRECTORY"] if last else [])
        return "|".join(names)


class AccessBits(Flags):
    """access(2)'s mode, by its own names."""

    def show(self, t: Thread, value: Any) -> str:
        names = [name for bit, name in ((4, "R_OK"), (2, "W_OK"), (1, "X_OK")) if value & bit]
        rest = int(value) & ~7
        return "|".join([*names, *([hex(rest)] if rest else [])]) or "F_OK"


class Number(Signed32):
    """A small integer with names (`lseek`'s whence …); unknown ones print as numbers."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names = names

    def show(self, t: Thread, value: Any) -> str:
        return self.names.get(value, str(value))


class Record(Kind):
    """A struct the kernel reads: the neutral record, decoded by the calling system's layout; None for a null pointer."""

    def __init__(self, record: type) -> None:
        self.record = record

    def compile(self, abi: Abi) -> Decoder:
        layout = abi.layouts[self.record]
        size, decode = layout.size, layout.decode
        return lambda t, word: decode(t.proc.vm.copyin(word, size)) if word else None

    def show(self, t: Thread, value: Any) -> str:
        return "NULL" if value is None else show_record(value)


class Out:
    """Where a struct goes that the kernel fills in; false when the guest gave a null pointer."""

    __slots__ = ("_encode", "_t", "addr", "value")

    def __init__(self, t: Thread, addr: int, encode: Callable[[Any], bytes]) -> None:
        self._t = t
        self._encode = encode
        self.addr = addr
        self.value: Any = None

    def put(self, value: Any) -> None:
        """Write it.  Raises EFAULT."""
        self._t.proc.vm.copyout(self.addr, self._encode(value))
        self.value = value

    def __bool__(self) -> bool:
        return self.addr != 0


class OutRecord(Kind):
    """A struct the kernel writes: the handler gets an `Out`."""

    def __init__(self, record: type) -> None:
        self.record = record

    def compile(self, abi: Abi) -> Decoder:
        encode = abi.layouts[self.record].encode
        return lambda t, word: Out(t, word, encode)

    def show(self, t: Thread, value: Any) -> str:
        return hex(value.addr) if value.addr else "NULL"

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        return show_record(value.value) if value.value is not None else None


class StringVector(Kind):
    """argv or envp: kept as its address; exec reads it (its errors come in exec's own order)."""

    def show(self, t: Thread, value: Any) -> str:
        if not value:
            return "NULL"
        try:
            strings = read_vector(t, value, t.proc.personality.abis[t.cpu.arch].word_size, limit=SHOWN_BYTES + 1)
        except (EFAULT, E2BIG, ENAMETOOLONG):
            return hex(value)
        shown = ", ".join(quote(s[: t.system.shown_bytes], len(s)) for s in strings[:SHOWN_BYTES])
        return f"[{shown}{', ...' if len(strings) > SHOWN_BYTES else ''}]"


class EnvironmentVector(Kind):
    """envp: its address, and how many there are."""

    def show(self, t: Thread, value: Any) -> str:
        if not value:
            return "NULL"
        size, count = t.proc.personality.abis[t.cpu.arch].word_size, 0
        try:
            while any(t.proc.vm.copyin(value + count * size, size)) and count < SHOWN_VARIABLES:
                count += 1
        except EFAULT:
            return hex(value)
        return f"{value:#x} /* {count} vars */"


def read_vector(t: Thread, addr: int, word_size: int, *, limit: int) -> list[bytes]:
    """Up to `limit` strings of a null-terminated vector, for printing."""
    strings: list[bytes] = []
    while len(strings) < limit:
        word = int.from_bytes(t.proc.vm.copyin(addr, word_size), "little")
        if not word:
            break
        strings.append(t.proc.vm.copyinstr(word, 1 << 17))
        addr += word_size
    return strings


def quote(data: bytes, whole: int | None) -> str:
    r"""C string as strace prints it; `...` behind it when only part of `whole` bytes is shown.

    >>> quote(b'a"\n', None)
    '"a\\"\\n"'
    """
    if data.isascii() and (text := data.decode("ascii")).isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"' + ("..." if whole is not None and whole > len(data) else "")
    out = []
    named = {9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
    for index, byte in enumerate(data):
        if byte in named:
            out.append(named[byte])
        elif 32 <= byte < 127:
            out.append(chr(byte))
        else:
            following = data[index + 1 : index + 2]
            out.append(f"\\{byte:03o}" if following.isdigit() else f"\\{byte:o}")
    dots = "..." if whole is not None and whole > len(data) else ""
    return f'"{"".join(out)}"{dots}'


def show_record(value: Any) -> str:
    """`{field=value, …}` of a NamedTuple, or the value itself."""
    fields = getattr(value, "_fields", None)
    if fields is None:
        return quote(value, None) if isinstance(value, bytes) else str(value)
    return "{" + ", ".join(f"{name}={show_record(getattr(value, name))}" for name in fields) + "}"


# --- the words handlers use
Word = Annotated[int, Unsigned()]
Size = Annotated[int, Unsigned()]
Addr = Annotated[int, Address()]
InBuf = Annotated[int, InBuffer()]
OutBuf = Annotated[int, OutBuffer()]
Int = Annotated[int, Signed32()]
UInt = Annotated[int, Unsigned32()]
Long = Annotated[int, SignedWord()]
Offset = Annotated[int, SignedWord()]
Offset64 = Annotated[int, Signed64()]
Mode = Annotated[int, Octal()]
Fd = Annotated[int, Descriptor()]
DirFd = Annotated[int, Descriptor()]
Pid = Annotated[int, Signed32()]
SigNo = Annotated[int, SignalNumber()]
Path = Annotated[bytes, CString()]
OptionalPath = Annotated[bytes | None, CString(optional=True)]
Vector = Annotated[int, StringVector()]
Environment = Annotated[int, EnvironmentVector()]
OpenFlag = Annotated[OpenFlags, OpenFlagsKind(OpenFlags, prefix="O_")]
ProtFlag = Annotated[Prot, Flags(Prot, zero="PROT_NONE", prefix="PROT_")]
MapFlag = Annotated[MapFlags, Flags(MapFlags, prefix="MAP_")]
RemapFlag = Annotated[RemapFlags, Flags(RemapFlags, prefix="MREMAP_")]
AtFlag = Annotated[AtFlags, Flags(AtFlags, prefix="AT_")]
AccessMode = Annotated[Access, AccessBits(Access)]
RenameFlag = Annotated[RenameFlags, Flags(RenameFlags, prefix="RENAME_")]
CloneFlag = Annotated[CloneFlags, Flags(CloneFlags, prefix="CLONE_")]
WaitOption = Annotated[WaitOptions, Flags(WaitOptions, prefix="W")]
WhenceArg = Annotated[int, Number({w.value: f"SEEK_{w.name}" for w in Whence})]
