"""NetBSD's ioctl: its requests carry direction and size, and its termios has bits and places of its own.

Each request here is one of the kernel's (which has Linux's numbers, `vfs/tty.py`); terminal settings are translated on the way in
and out.  Anything else is ENOTTY.  Sources: ioctl(2), tty(4), termios(4), sys/{ttycom,filio,termios}.h.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Final

from ring3.abi.flags import AT_FDCWD, OpenFlags
from ring3.abi.records import Termios
from ring3.calls.descriptor import open_at
from ring3.calls.ioctl import FIOASYNC, FIOCLEX, FIONBIO, FIONCLEX, Cell, do_ioctl
from ring3.calls.place import opened
from ring3.calls.sysarg import Fd
from ring3.calls.sysarg_files import NamedValue, RequestArg
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, ENOTTY
from ring3.proc.proc import Thread
from ring3.vfs import tty

TIOCGETA, TIOCSETA, TIOCSETAW, TIOCSETAF = 0x402C7413, 0x802C7414, 0x802C7415, 0x802C7416
TIOCFLUSH, TIOCDRAIN, TIOCSTOP, TIOCSTART = 0x80047410, 0x2000745E, 0x2000746F, 0x2000746E
TIOCGRANTPT, TIOCPTSNAME, TIOCPTMGET = 0x20007447, 0x48087448, 0x48087446
TIOCGLINED, TIOCGQSIZE, TIOCGFLAGS, TIOCGETD, FIONSPACE = 0x40207442, 0x40047481, 0x4004745D, 0x4004741A, 0x40046678
_SETS: Final = {TIOCSETA: tty.TCSETS, TIOCSETAW: tty.TCSETSW, TIOCSETAF: tty.TCSETSF}

# NetBSD's request, the kernel's: argument and struct are the same.
_SAME: Final[Mapping[int, int]] = MappingProxyType({
    0x40087468: tty.TIOCGWINSZ, 0x80087467: tty.TIOCSWINSZ, 0x40047477: tty.TIOCGPGRP, 0x80047476: tty.TIOCSPGRP,
    0x40047463: tty.TIOCGSID, 0x40047473: tty.TIOCOUTQ, 0x4004667F: tty.FIONREAD, 0x8004667E: FIONBIO, 0x8004667D: FIOASYNC,
    0x80017472: tty.TIOCSTI, 0x40046679: tty.TIOCOUTQ,
})
# Those without an argument: the kernel's, and what it wants to be told.
_PLAIN: Final[Mapping[int, tuple[int, int]]] = MappingProxyType({
    0x20006601: (FIOCLEX, 0), 0x20006602: (FIONCLEX, 0), 0x20007461: (tty.TIOCSCTTY, 0), 0x20007471: (tty.TIOCNOTTY, 0),
    0x2000740D: (tty.TIOCEXCL, 0), 0x2000740E: (tty.TIOCNXCL, 0), TIOCDRAIN: (tty.TCSBRK, 1), TIOCSTOP: (tty.TCXONC, 0),
    TIOCSTART: (tty.TCXONC, 1),
})
_NAMES: Final = {
    TIOCGETA: "TIOCGETA", TIOCSETA: "TIOCSETA", TIOCSETAW: "TIOCSETAW", TIOCSETAF: "TIOCSETAF",
    TIOCFLUSH: "TIOCFLUSH", TIOCGRANTPT: "TIOCGRANTPT", TIOCPTSNAME: "TIOCPTSNAME", TIOCPTMGET: "TIOCPTMGET",
    TIOCGLINED: "TIOCGLINED", TIOCGQSIZE: "TIOCGQSIZE", TIOCGFLAGS: "TIOCGFLAGS", TIOCGETD: "TIOCGETD", FIONSPACE: "FIONSPACE",
    0x40046679: "FIONWRITE", TIOCDRAIN: "TIOCDRAIN",
    TIOCSTOP: "TIOCSTOP", TIOCSTART: "TIOCSTART", 0x40087468: "TIOCGWINSZ", 0x80087467: "TIOCSWINSZ",
    0x40047477: "TIOCGPGRP", 0x80047476: "TIOCSPGRP", 0x40047463: "TIOCGSID", 0x40047473: "TIOCOUTQ",
    0x4004667F: "FIONREAD", 0x8004667E: "FIONBIO", 0x8004667D: "FIOASYNC", 0x20006601: "FIOCLEX",
    0x20006602: "FIONCLEX", 0x20007461: "TIOCSCTTY", 0x20007471: "TIOCNOTTY", 0x2000740D: "TIOCEXCL",
    0x2000740E: "TIOCNXCL", 0x80017472: "TIOCSTI",
}

# Bits of the four words: NetBSD's, the kernel's.
_IFLAG: Final = (
    (0x1, 0x1), (0x2, 0x2), (0x4, 0x4), (0x8, 0x8), (0x10, 0x10), (0x20, 0x20), (0x40, 0x40), (0x80, 0x80), (0x100, 0x100),
    (0x200, 0x400), (0x400, 0x1000), (0x800, 0x800), (0x2000, 0x2000),
)
_OFLAG: Final = ((0x1, 0x1), (0x2, 0x4), (0x4, 0x1800), (0x10, 0x8), (0x20, 0x10), (0x40, 0x20))
_CFLAG: Final = (
    (0x100, 0x10), (0x200, 0x20), (0x400, 0x40), (0x800, 0x80), (0x1000, 0x100), (0x2000, 0x200), (0x4000, 0x400), (0x8000, 0x800),
    (0x10000, 0x8000_0000),
)
_LFLAG: Final = (
    (0x1, 0x800), (0x2, 0x10), (0x4, 0x20), (0x8, 0x8), (0x10, 0x40), (0x20, 0x400), (0x40, 0x200), (0x80, 0x1), (0x100, 0x2),
    (0x400, 0x8000), (0x800, 0x10000), (0x400000, 0x100), (0x800000, 0x1000), (0x2000_0000, 0x4000), (0x8000_0000, 0x80),
)
# Control characters: NetBSD's place, the kernel's.  DSUSP 11 and STATUS 18 are NetBSD's alone.
_CC: Final = (
    (0, tty.VEOF), (1, tty.VEOL), (2, tty.VEOL2), (3, tty.VERASE), (4, tty.VWERASE), (5, tty.VKILL), (6, tty.VREPRINT),
    (8, tty.VINTR), (9, tty.VQUIT), (10, tty.VSUSP), (12, tty.VSTART), (13, tty.VSTOP), (14, tty.VLNEXT), (15, tty.VDISCARD),
    (16, tty.VMIN), (17, tty.VTIME),
)
_COUNTS: Final = (tty.VMIN, tty.VTIME)               # not characters: 0 is a number there

_DISABLED, _NEUTRAL_DISABLED = 0xFF, 0
_FORM: Final = struct.Struct("<4I20sii")
_NEUTRAL: Final = struct.Struct("<4IB19s")
_PTMGET: Final = struct.Struct("<ii1024s1024s")        # descriptors and names of both sides
_QUEUE: Final = 1024                   # bytes that wait to be read or shown, at most
# What every terminal says of itself: its discipline by number and by name, room, no flags.
_TOLD: Final[Mapping[int, bytes]] = MappingProxyType({
    TIOCGETD: bytes(4), TIOCGLINED: b"termios".ljust(32, b"\0"), TIOCGQSIZE: _QUEUE.to_bytes(4, "little"), TIOCGFLAGS: bytes(4),
})
_MASTER, _SLAVE = b"/dev/ptmx", b"/dev/pts/%d"
_NEUTRAL_CC: Final = 19

Request = Annotated[int, NamedValue(_NAMES)]


def _map(word: int, pairs: tuple[tuple[int, int], ...], *, outward: bool) -> int:
    result = 0
    for theirs, neutral in pairs:
        have, give = (neutral, theirs) if outward else (theirs, neutral)
        if word & have == have:
            result |= give
    return result


def termios_outward(settings: Termios) -> bytes:
    """A struct termios of NetBSD.

    >>> len(termios_outward(tty.DEFAULT_TERMIOS))
    44
    """
    cc = bytearray(bytes((_DISABLED,)) * 20)
    for place, neutral in _CC:
        value = settings.cc[neutral]
        cc[place] = value if neutral in _COUNTS or value != _NEUTRAL_DISABLED else _DISABLED
    speed = tty.speed_of(settings.cflag)
    return _FORM.pack(
        _map(settings.iflag, _IFLAG, outward=True), _map(settings.oflag, _OFLAG, outward=True),
        _map(settings.cflag, _CFLAG, outward=True), _map(settings.lflag, _LFLAG, outward=True), bytes(cc), speed, speed,
    )


def termios_inward(data: bytes) -> bytes:
    """NetBSD's struct as the kernel's.  Raises EINVAL for a speed there is no code for."""
    iflag, oflag, cflag, lflag, theirs, _, ospeed = _FORM.unpack(data)
    cc = bytearray(_NEUTRAL_CC)
    for place, neutral in _CC:
        value = theirs[place]
        cc[neutral] = value if neutral in _COUNTS or value != _DISABLED else _NEUTRAL_DISABLED
    code = tty.speed_code(ospeed)
    if code is None:
        raise EINVAL
    return _NEUTRAL.pack(
        _map(iflag, _IFLAG, outward=False), _map(oflag, _OFLAG, outward=False), _map(cflag, _CFLAG, outward=False) | code,
        _map(lflag, _LFLAG, outward=False), 0, bytes(cc),
    )


def _get_modes(t: Thread, fd: int, arg: int) -> int:
    cell = Cell()
    do_ioctl(t, fd, tty.TCGETS, 0, cell)
    t.proc.vm.copyout(arg, termios_outward(Termios(*_NEUTRAL.unpack(cell.data[: _NEUTRAL.size]))))
    return 0


def _set_modes(t: Thread, fd: int, request: int, arg: int) -> int:
    data = termios_inward(t.proc.vm.copyin(arg, _FORM.size))
    return do_ioctl(t, fd, _SETS[request], 0, Cell(data))


def _grant(t: Thread, fd: int) -> int:
    """Let the other side of a pseudo-terminal be opened; it is its owner's already."""
    return do_ioctl(t, fd, tty.TIOCSPTLCK, 0, Cell(bytes(4)))


def _pts_name(t: Thread, fd: int, arg: int) -> int:
    """The names of both sides of a pseudo-terminal."""
    t.proc.vm.copyout(arg, _PTMGET.pack(-1, -1, _MASTER, _slave_name(t, fd)))
    return 0


def _slave_name(t: Thread, fd: int) -> bytes:
    cell = Cell()
    do_ioctl(t, fd, tty.TIOCGPTN, 0, cell)
    return _SLAVE % int.from_bytes(cell.data[:4], "little")


def _new_pair(t: Thread, fd: int, arg: int) -> int:
    """Both sides of a new pseudo-terminal, open, for who asks a master.  Raises what opening them does, EFAULT."""
    _slave_name(t, fd)
    t.proc.vm.check_writable(arg, _PTMGET.size)
    flags = OpenFlags.RDWR | OpenFlags.NOCTTY
    master = open_now(t, _MASTER, flags)
    try:
        _grant(t, master)
        name = _slave_name(t, master)
        slave = open_now(t, name, flags)
    except BaseException:
        t.proc.fds.close(master)
        raise
    t.proc.vm.copyout(arg, _PTMGET.pack(master, slave, _MASTER, name))
    return 0


def open_now(t: Thread, path: bytes, flags: OpenFlags) -> int:
    """Open what never makes its opener wait."""
    answer = open_at(t, AT_FDCWD, path, flags, 0)
    assert isinstance(answer, int)
    return answer


def _tell(t: Thread, fd: int, request: int, arg: int) -> int:
    """ENOTTY for what is no terminal."""
    do_ioctl(t, fd, tty.TCGETS, 0, Cell())
    t.proc.vm.copyout(arg, _TOLD[request])
    return 0


def _space(t: Thread, fd: int, arg: int) -> int:
    """How much room for output there is."""
    cell = Cell()
    do_ioctl(t, fd, tty.TIOCOUTQ, 0, cell)
    left = max(_QUEUE - int.from_bytes(cell.data[:4], "little"), 0)
    t.proc.vm.copyout(arg, left.to_bytes(4, "little"))
    return 0


def _flush(t: Thread, fd: int, arg: int) -> int:
    """What was typed (1), what was written (2), both (0 or 3)."""
    which = tty.get_int(t.proc.vm, arg) & 3
    return do_ioctl(t, fd, tty.TCFLSH, {1: 0, 2: 1}.get(which, 2), t.proc.vm)


_ASKS: Final[Mapping[int, Callable[[Thread, int, int], int]]] = MappingProxyType({
    TIOCPTSNAME: _pts_name, TIOCPTMGET: _new_pair, FIONSPACE: _space,
})


@syscall(pledge="stdio tty")
def sys_ioctl(t: Thread, fd: Fd, request: Request, arg: RequestArg) -> int:
    """Ask or tell a file something.  ENOTTY for what it does not understand, EFAULT."""
    if request in _SAME:
        return do_ioctl(t, fd, _SAME[request], arg, t.proc.vm)
    if request in _PLAIN:
        return do_ioctl(t, fd, *_PLAIN[request], t.proc.vm)
    if request == TIOCGETA:
        return _get_modes(t, fd, arg)
    if request in _SETS:
        return _set_modes(t, fd, request, arg)
    if request == TIOCFLUSH:
        return _flush(t, fd, arg)
    if request == TIOCGRANTPT:
        return _grant(t, fd)
    if request in _TOLD:
        return _tell(t, fd, request, arg)
    ask = _ASKS.get(request)
    if ask is not None:
        return ask(t, fd, arg)
    opened(t, fd)
    raise ENOTTY
