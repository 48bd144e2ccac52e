"""Shapes of ioctl(2), as Linux numbers its requests.  Source: strace(1); ioctl_list(2), ioctl_tty(2), termios(3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ring3.calls.sysarg import Kind
from ring3.calls.sysarg_files import IOCTLS
from ring3.trace.shapes.shape import (
    INT,
    Chooser,
    Filled,
    Hex,
    Plain,
    Read,
    Shape,
    by,
    field,
    memory,
    number,
    shape,
)

if TYPE_CHECKING:
    from ring3.proc.proc import Thread

_NOTHING_BEHIND: Final = (0x5451, 0x5450, 0x5422)            # FIOCLEX, FIONCLEX, TIOCNOTTY
_CHARACTERS: Final = 23                                     # where c_line ends and c_cc begins in struct termios
_IFLAG: Final = {
    0o1: "IGNBRK", 0o2: "BRKINT", 0o4: "IGNPAR", 0o10: "PARMRK", 0o20: "INPCK", 0o40: "ISTRIP", 0o100: "INLCR", 0o200: "IGNCR",
    0o400: "ICRNL", 0o1000: "IUCLC", 0o2000: "IXON", 0o4000: "IXANY", 0o10000: "IXOFF", 0o20000: "IMAXBEL", 0o40000: "IUTF8",
}
_OFLAG: Final = {
    0o1: "OPOST", 0o2: "OLCUC", 0o4: "ONLCR", 0o10: "OCRNL", 0o20: "ONOCR", 0o40: "ONLRET", 0o100: "OFILL", 0o200: "OFDEL",
}
_CFLAG: Final = {
    0o100: "CSTOPB", 0o200: "CREAD", 0o400: "PARENB", 0o1000: "PARODD", 0o2000: "HUPCL", 0o4000: "CLOCAL",
    0o10000000000: "CMSPAR", 0o20000000000: "CRTSCTS",
}
_LFLAG: Final = {
    0o1: "ISIG", 0o2: "ICANON", 0o4: "XCASE", 0o10: "ECHO", 0o20: "ECHOE", 0o40: "ECHOK", 0o100: "ECHONL", 0o200: "NOFLSH",
    0o400: "TOSTOP", 0o1000: "ECHOCTL", 0o2000: "ECHOPRT", 0o4000: "ECHOKE", 0o10000: "FLUSHO", 0o40000: "PENDIN",
    0o100000: "IEXTEN", 0o200000: "EXTPROC",
}
_SPEEDS: Final = (
    "B0", "B50", "B75", "B110", "B134", "B150", "B200", "B300", "B600", "B1200", "B1800", "B2400", "B4800", "B9600", "B19200",
    "B38400",
)
_FAST: Final = (
    "B57600", "B115200", "B230400", "B460800", "B500000", "B576000", "B921600", "B1000000", "B1152000", "B1500000", "B2000000",
    "B2500000", "B3000000", "B3500000", "B4000000",
)


def _flags(names: Mapping[int, str], value: int) -> list[str]:
    return [name for bit, name in names.items() if value & bit]


def _termios(t: Thread, addr: int) -> str:
    data = memory(t, addr, 16)
    iflag, oflag, cflag, lflag = (field(data, at, 4) for at in (0, 4, 8, 12))
    delays = [f"NL{oflag >> 8 & 1}", f"CR{oflag >> 9 & 3}", f"TAB{oflag >> 11 & 3}", f"BS{oflag >> 13 & 1}", f"VT{oflag >> 14 & 1}",
              f"FF{oflag >> 15 & 1}"]
    index = cflag & 0o17
    speed = _SPEEDS[index] if not cflag & 0o10000 else _FAST[index - 1] if 1 <= index <= len(_FAST) else "BOTHER"
    size = f"CS{5 + (cflag >> 4 & 3)}"
    parts = {
        "c_iflag": _flags(_IFLAG, iflag), "c_oflag": [*delays, *_flags(_OFLAG, oflag)],
        "c_cflag": [speed, size, *_flags(_CFLAG, cflag)], "c_lflag": _flags(_LFLAG, lflag),
    }
    text = ", ".join(f"{name}={'|'.join(words)}" for name, words in parts.items())
    return f"{{{text}, ...}}"


def _window(t: Thread, addr: int) -> str:
    data = memory(t, addr, 8)
    fields = zip(("ws_row", "ws_col", "ws_xpixel", "ws_ypixel"), (field(data, at, 2) for at in (0, 2, 4, 6)), strict=True)
    return f"{{{', '.join(f'{name}={value}' for name, value in fields)}}}"


class _Request(Kind):
    """An ioctl's number: by name, or by the parts it is made of."""

    def show(self, t: Thread, value: Any) -> str:
        value = int(value) & 0xFFFF_FFFF
        known = IOCTLS.get(value)
        if known is not None:
            return known
        way = ("_IOC_NONE", "_IOC_WRITE", "_IOC_READ", "_IOC_READ|_IOC_WRITE")[value >> 30]
        return f"_IOC({way}, {number(value >> 8 & 0xFF)}, {number(value & 0xFF)}, {number(value >> 16 & 0x3FFF)})"


_REQUEST: Final = _Request()
_IN_INT, _OUT_INT = Read(INT), Filled(INT)
_IOCTL: Final = by(1, {
    **dict.fromkeys(_NOTHING_BEHIND, shape(None, _REQUEST)),
    **dict.fromkeys((0x541B, 0x540F, 0x5429, 0x80045430, 0x80086601, 2, 0x5460, 0x5411), shape(None, _REQUEST, _OUT_INT)),
    **dict.fromkeys((0x5421, 0x5452, 0x5410, 0x40045431, 0x40086602), shape(None, _REQUEST, _IN_INT)),
    **dict.fromkeys((0x5402, 0x5403, 0x5404), shape(None, _REQUEST, Read(_termios))),
    0x5401: shape(None, _REQUEST, Filled(_termios)),
    0x5413: shape(None, _REQUEST, Filled(_window)),
    0x5414: shape(None, _REQUEST, Read(_window)),
    **dict.fromkeys((0x540E, 0x5409, 0x540B, 0x40049409), shape(None, _REQUEST, Plain())),
}, shape(None, _REQUEST, Hex()))


SHAPES: Final[dict[str, Shape | Chooser]] = {"ioctl": _IOCTL}
