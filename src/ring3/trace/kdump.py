"""ktrace records as kdump(1) prints them.

    pid    lid comm     CALL  open(0x7f7fff0c,0,0)
    pid    lid comm     NAMI  "/etc/passwd"
    pid    lid comm     RET   open 3

Whose calls, errors and signals the numbers are is said by the last EMUL record of a process.  A record whose payload is not what
its type says is shown as bytes.  Not here: the file (`ktracefile.py`).  Source: kdump(1), ktrace(1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from ring3 import errors
from ring3.abi.netbsd.ktrace import EJUSTRETURN, ERESTART, USER_ID, Record
from ring3.abi.signals import signal_name
from ring3.abi.table import read_table
from ring3.namedtuple import NamedTuple
from ring3.trace.ktracefile import KtraceFile, TraceRecord

WIDTH: Final = 80
MAX_PROCESSES: Final = 1 << 16          # whose emulation is remembered
_LABELS: Final[Mapping[int, str]] = MappingProxyType({
    Record.SYSCALL: "CALL", Record.SYSRET: "RET", Record.NAMEI: "NAMI", Record.GENIO: "GIO", Record.PSIG: "PSIG", Record.CSW: "CSW",
    Record.EMUL: "EMUL", Record.USER: "USER", Record.MMSG: "MMSG", Record.MOOL: "MOOL", Record.EXEC_ARG: "ARG",
    Record.EXEC_ENV: "ENV", Record.SAUPCALL: "SAU", Record.MIB: "MIB", Record.EXEC_FD: "FD",
})
# Letters of ktrace(1) and kdump(1) -t.
POINTS: Final[Mapping[str, int]] = MappingProxyType({
    "A": -1,
    "a": 1 << Record.EXEC_ARG,
    "c": 1 << Record.SYSCALL | 1 << Record.SYSRET,
    "e": 1 << Record.EMUL,
    "f": 1 << Record.EXEC_FD,
    "i": 1 << Record.GENIO,
    "n": 1 << Record.NAMEI,
    "s": 1 << Record.PSIG,
    "S": 1 << Record.MIB,
    "u": 1 << Record.USER,
    "v": 1 << Record.EXEC_ENV,
    "w": 1 << Record.CSW,
})
_FILE_KINDS: Final = ("0", "file", "socket", "pipe", "kqueue", "misc", "crypto", "mqueue", "semaphore")
_ESCAPES: Final = {0: "\\0", 7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


class Options(NamedTuple):
    """kdump's letters."""

    decimal: bool = False           # -d
    max_data: int | None = None     # -m
    numeric: bool = False           # -N
    plain: bool = False             # -n
    pid: int | None = None          # -p
    time: str = ""                  # -T "absolute", -R "relative"
    points: int = -1                # -t
    hex_word: int = 0               # -x 1, -X N


class Emulation:
    """One system's numbers.  Tables are read when first asked for."""

    __slots__ = ("_calls", "_errors", "_names", "is_32bit", "name")

    # Emulation -> tables of calls, errors and signals, and whether words have 32 bits.
    KNOWN: Final[Mapping[str, tuple[str, str, str, bool]]] = MappingProxyType({
        "netbsd": ("netbsd/amd64", "netbsd/errno", "netbsd/signal", False),
        "netbsd32": ("netbsd/amd64", "netbsd/errno", "netbsd/signal", True),
        "linux": ("linux/amd64", "linux/errno", "", False),
        "linux32": ("linux/i386", "linux/errno", "", True),
    })

    def __init__(self, name: str) -> None:
        self.name = name
        known = self.KNOWN.get(name)
        self._names = known[:3] if known is not None else ("", "", "")
        self.is_32bit = known is not None and known[3]
        self._calls: dict[int, str] | None = None
        self._errors: dict[int, str] | None = None

    def call(self, number: int) -> str | None:
        """The name of a call."""
        if self._calls is None:
            self._calls = read_table(self._names[0]) if self._names[0] else {}
        return self._calls.get(number)

    def error(self, number: int) -> str:
        """What an error means."""
        if self._errors is None:
            self._errors = read_table(self._names[1]) if self._names[1] else {}
        name = self._errors.get(number)
        if name is None:
            return f"Unknown error: {number}"
        found = vars(errors).get(name)
        return name if found is None else str(found())

    def signal(self, number: int) -> str:
        """The name of a signal."""
        if not self._names[2]:
            return signal_name(number) if 1 <= number <= 64 else f"SIG*unknown {number}*"
        return read_table(self._names[2]).get(number) or (f"SIGRT{number - 33}" if 33 <= number <= 63 else f"SIG*unknown {number}*")


class Printer:
    """Prints the records of one file: `lines(record)` is its text."""

    def __init__(self, file: KtraceFile, options: Options, emulation: str = "netbsd") -> None:
        self._file = file
        self._options = options
        self._emulations: dict[str, Emulation] = {}
        self._first = self._emulation(emulation)
        self._of: dict[int, Emulation] = {}             # by process
        self._before_exec: dict[int, Emulation] = {}    # until the call that changed it has returned
        self._last_ns = 0

    def _emulation(self, name: str) -> Emulation:
        name = name if name in Emulation.KNOWN else "?"
        found = self._emulations.get(name)
        if found is None:
            found = self._emulations[name] = Emulation(name)
        return found

    def lines(self, record: TraceRecord) -> str:
        """The text of a record, line breaks included; empty for one that is not wanted."""
        options = self._options
        wanted = options.points >> record.type & 1 and options.pid in (None, record.pid)
        head = self._head(record) if wanted else ""
        handler = _HANDLERS.get(record.type)
        body = handler(self, record, len(head)) if handler is not None else None
        if not wanted:
            return ""
        if body is None:
            body = "\n" + _hexdump(record.payload, options.hex_word or 1)
        return head + body

    def _head(self, record: TraceRecord) -> str:
        head = f"{record.pid:6} " + (f"{record.lid:6} " if record.lid is not None else "")
        head += f"{_text(record.comm[:16]):8} "
        if self._options.time:
            ns = record.time_ns
            if self._options.time == "relative":
                ns, self._last_ns = (ns - self._last_ns if self._last_ns else 0), ns
            sign = "-" if ns < 0 else ""
            seconds, fraction = divmod(abs(ns), 1_000_000_000)
            head += f"{sign}{seconds}.{fraction:09} " if record.version else f"{sign}{seconds}.{fraction // 1000:06} "
        label = _LABELS.get(record.type, f"UNKNOWN({record.type})")
        return f"{head}{label:4}  "

    # --- each type of record: its text behind the head, or None where the payload is not what the type says
    def _syscall(self, record: TraceRecord, column: int) -> str | None:
        del column
        head = self._file.unpack("ii", record.payload)
        if head is None:
            return None
        code, nbytes = head
        emulation = self._now(record.pid)
        self._before_exec.pop(record.pid, None)
        count = min(max(nbytes, 0), len(record.payload) - 8) // self._native_word()
        words = self._file.unpack("ii" + "L" * count, record.payload)
        name = None if self._options.numeric else emulation.call(code)
        text = f"[{code}]" if name is None else name
        arguments = [self._number(value, emulation) for value in (words or ())[2:]]
        if not self._options.plain and name is not None:
            _by_name(name, emulation, list((words or ())[2:]), arguments)
        return f"{text}({','.join(arguments)})\n" if arguments else f"{text}\n"

    def _native_word(self) -> int:
        return self._file.layout.word_size if self._file.layout is not None else 8

    def _sysret(self, record: TraceRecord, column: int) -> str | None:
        del column
        fields = self._file.unpack("hhil", record.payload)
        if fields is None:
            return None
        code, _, error, first = fields
        more = self._file.unpack("hhill", record.payload)
        emulation = self._before_exec.pop(record.pid, None) or self._now(record.pid)
        name = None if self._options.numeric else emulation.call(code)
        text = f"[{code}]" if name is None else name
        if error == 0:
            second = more[4] if more is not None else 0
            return f"{text} {self._result(first, emulation)}" + (f", {self._result(second, emulation)}" if second else "") + "\n"
        if error in (ERESTART, EJUSTRETURN):
            return f"{text} {'RESTART' if error == ERESTART else 'JUSTRETURN'}\n"
        return f"{text} -1 errno {error}" + ("" if self._options.plain else f" {emulation.error(error)}") + "\n"

    def _namei(self, record: TraceRecord, column: int) -> str:
        del column
        return f'"{_text(record.payload)}"\n'

    def _genio(self, record: TraceRecord, column: int) -> str | None:
        del column
        head = self._file.unpack("ii", record.payload)
        if head is None:
            return None
        fd, writes = head
        data = record.payload[8:]
        text = (f"fd {fd} " if fd != -1 else "") + f"{'wrote' if writes else 'read'} {len(data)} bytes\n"
        if self._options.max_data is not None:
            data = data[: self._options.max_data]
            if not data:
                return text
        if self._options.hex_word:
            return text + _hexdump(data, self._options.hex_word)
        return text + "       " + _folded(data, 7)

    def _psig(self, record: TraceRecord, column: int) -> str | None:
        del column
        layout = "i4xL16si" if self._native_word() == 8 else "iL16si"
        fields = self._file.unpack(layout, record.payload)
        if fields is None:
            return None
        signo, handler, mask, code = fields
        emulation = self._now(record.pid)
        text = emulation.signal(signo) + " "
        if handler == 0:
            text += "SIG_DFL"
        else:
            order = "little" if self._file.layout is None or self._file.layout.order == "<" else "big"
            words = [int.from_bytes(mask[at : at + 4], order) for at in range(0, 16, 4)]  # type: ignore[arg-type]
            blocked = [str(32 * index + bit + 1) for index, word in enumerate(words) for bit in range(32) if word >> bit & 1]
            text += f"caught handler={handler:#x} mask=({','.join(blocked)})"
        size = 40 if self._native_word() == 8 else 28
        if len(record.payload) > size:
            return f"{text}: {self._siginfo(record.payload[size:], signo, emulation)}\n"
        return text + (f" code={code & 0xFFFFFFFF:#x}" if code else "") + "\n"

    def _siginfo(self, data: bytes, signo: int, emulation: Emulation) -> str:
        """siginfo_t: signal, code, errno, then what the code calls for."""
        word = self._native_word()
        gap = "i4x" if word == 8 else "i"
        head = self._file.unpack("ii" + gap, data)
        if head is None:
            return f"{len(data)} bytes of siginfo"
        code = head[1]
        pair = self._file.unpack("ii" + gap + "iii", data)
        name = emulation.signal(signo)
        if code == 0 and pair is not None:
            return f"code=SI_USER sent by pid={pair[3]}, uid={pair[4]}"
        if name == "SIGCHLD" and pair is not None:
            return f"code={code} child pid={pair[3]}, uid={pair[4]}, status={pair[5]}"
        fault = self._file.unpack("ii" + gap + "Li", data)
        if name in ("SIGILL", "SIGFPE", "SIGSEGV", "SIGBUS", "SIGTRAP") and fault is not None:
            return f"code={code}, addr={fault[3]:#x}, trap={fault[4]}"
        return f"code={code}, errno={head[2]}"

    def _csw(self, record: TraceRecord, column: int) -> str | None:
        del column
        fields = self._file.unpack("ii", record.payload)
        return None if fields is None else f"{'stop' if fields[0] else 'resume'} {'user' if fields[1] else 'kernel'}\n"

    def _emul(self, record: TraceRecord, column: int) -> str:
        del column
        self._before_exec[record.pid] = self._now(record.pid)
        self._of[record.pid] = self._emulation(record.payload[:64].decode("ascii", "replace"))
        for known in (self._of, self._before_exec):
            if len(known) > MAX_PROCESSES:
                del known[next(iter(known))]
        return f'"{_text(record.payload)}"\n'

    def _user(self, record: TraceRecord, column: int) -> str | None:
        del column
        if len(record.payload) < USER_ID:
            return None
        name, data = _text(record.payload[:USER_ID].partition(b"\0")[0]), record.payload[USER_ID:]
        if self._options.hex_word:
            return f"{name}:\n" + _hexdump(data, self._options.hex_word)
        return f"{name}: {len(data)}, {data.hex()}\n"

    def _string(self, record: TraceRecord, column: int) -> str:
        return _folded(record.payload, column)

    def _mib(self, record: TraceRecord, column: int) -> str | None:
        del column
        numbers = self._file.unpack("i" * (len(record.payload) // 4), record.payload)
        return None if numbers is None else ".".join(map(str, numbers)) + "\n"

    def _exec_fd(self, record: TraceRecord, column: int) -> str | None:
        del column
        fields = self._file.unpack("iI", record.payload)
        if fields is None:
            return None
        fd, kind = fields
        return f"fd {fd} {_FILE_KINDS[kind] if kind < len(_FILE_KINDS) else f'UNKNOWN {kind}'}\n"

    # --- numbers
    def _now(self, pid: int) -> Emulation:
        return self._of.get(pid, self._first)

    def _number(self, value: int, emulation: Emulation) -> str:
        if emulation.is_32bit:
            value &= 0xFFFF_FFFF
        if value < 10:
            return str(value)
        return str(_signed(value, 32 if emulation.is_32bit else 8 * self._native_word())) if self._options.decimal else hex(value)

    def _result(self, value: int, emulation: Emulation) -> str:
        del emulation
        bits = 8 * self._native_word()
        if 0 <= value < 10:
            return str(value)
        both = hex(value & (1 << bits) - 1)
        if self._options.plain:
            return str(value) if self._options.decimal else both
        return f"{value}/{both}"


_HANDLERS: Final[Mapping[int, Callable[[Printer, TraceRecord, int], str | None]]] = MappingProxyType({
    Record.SYSCALL: Printer._syscall,  # noqa: SLF001 - the table of this very class
    Record.SYSRET: Printer._sysret,  # noqa: SLF001
    Record.NAMEI: Printer._namei,  # noqa: SLF001
    Record.GENIO: Printer._genio,  # noqa: SLF001
    Record.PSIG: Printer._psig,  # noqa: SLF001
    Record.CSW: Printer._csw,  # noqa: SLF001
    Record.EMUL: Printer._emul,  # noqa: SLF001
    Record.USER: Printer._user,  # noqa: SLF001
    Record.EXEC_ARG: Printer._string,  # noqa: SLF001
    Record.EXEC_ENV: Printer._string,  # noqa: SLF001
    Record.MIB: Printer._mib,  # noqa: SLF001
    Record.EXEC_FD: Printer._exec_fd,  # noqa: SLF001
})


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def _by_name(name: str, emulation: Emulation, words: list[int], arguments: list[str]) -> None:
    """Put names in place of numbers, where a call's are known."""
    if name == "ioctl" and len(words) >= 2 and emulation.name.startswith("netbsd"):
        arguments[1] = _ioctl(words[1] & 0xFFFF_FFFF)
    elif "sigaction" in name and words:
        arguments[0] = emulation.signal(words[0] & 0xFFFF_FFFF)
    elif name in ("kill", "tkill", "_lwp_kill") and len(words) >= 2 and words[1]:
        arguments[1] = emulation.signal(words[1] & 0xFFFF_FFFF)


def _ioctl(command: int) -> str:
    """A request as sys/ioccom.h composes them.

    >>> _ioctl(0x40047477)
    "_IOR('t',0x77,0x4)"
    """
    letters = ("W" if command & 0x8000_0000 else "") + ("R" if command & 0x4000_0000 else "")
    group = command >> 8 & 0xFF
    shown = f"'{chr(group)}'" if 32 <= group < 127 else f"{group:#04x}"
    size = "" if command & 0x2000_0000 or not letters else f",{command >> 16 & 0x1FFF:#x}"
    return f"_IO{letters}({shown},{command & 0xFF:#x}{size})"


_SHOWN: Final = tuple(_ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in range(256))


def _escape(data: bytes) -> Iterator[str]:
    """Each byte as vis(3) writes it in C's style; what no terminal should see in three octal digits."""
    for index, byte in enumerate(data):
        yield "\\000" if not byte and data[index + 1 : index + 2].isdigit() else _SHOWN[byte]


def _text(data: bytes) -> str:
    """Bytes on one line."""
    return "".join(_escape(data))


def _folded(data: bytes, column: int) -> str:
    """Bytes as a string in quotes, which goes on in the next line behind a backslash."""
    out, column = ['"'], column + 1
    for piece in _escape(data):
        if column + len(piece) > WIDTH - 2:
            out.append("\\\n\t")
            column = 8
        out.append(piece)
        column += len(piece)
    out.append('"\n')
    return "".join(out)


def _hexdump(data: bytes, word: int) -> str:
    """16 bytes a line, in words of `word` bytes; lines like the one above are stars."""
    lines: list[str] = []
    above: bytes | None = None
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        if row == above and at + 16 < len(data):
            if lines[-1] != "\t***\n":
                lines.append("\t***\n")
            continue
        above = row
        words = [row[i : i + word] for i in range(0, len(row), word)]
        shown = " ".join((piece if word == 1 else piece[::-1]).hex() for piece in words)
        width = 16 * 2 + 16 // word - 1
        lines.append(f"\t{at:03x}   {shown:{width}}  {''.join(chr(b) if 33 <= b < 127 else '.' for b in row)}\n")
    return "".join(lines)


def parse_points(text: str) -> int:
    """The records that letters stand for.  Raises ValueError.

    >>> parse_points("cn") == 1 << 1 | 1 << 2 | 1 << 3
    True
    """
    mask = 0
    for letter in text:
        if letter not in POINTS:
            raise ValueError(f"{letter!r} is no trace point: {' '.join(POINTS)}")
        mask |= POINTS[letter]
    return mask
