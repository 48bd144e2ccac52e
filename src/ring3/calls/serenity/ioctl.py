"""SerenityOS's ioctl: one flat list of requests, of which terminals, counts of bytes and the flags of descriptors are here.

A terminal's settings have Linux's bits and places in a longer struct.  What SerenityOS's terminals do not implement it does not
show, and who asks for it gets ENOTIMPL once everything else is set.  Job control is that of every terminal here: a session's own,
and giving it up hangs up (there nobody is told).  Requests for displays, keyboards, sound and networks are of
devices that are not here.
Source: Kernel/Syscalls/ioctl.cpp, Kernel/TTY/{TTY,MasterPTY}.cpp, Kernel/API/POSIX/termios.h of December 2022 (reference, 4.8).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final

from ring3.abi.flags import FileType, OpenFlags
from ring3.abi.records import Termios
from ring3.calls.fcntl import set_cloexec
from ring3.calls.ioctl import Cell, do_ioctl
from ring3.calls.place import opened
from ring3.calls.serenity.descriptor import is_terminal
from ring3.calls.sysarg import Fd
from ring3.calls.sysarg_files import NamedValue, RequestArg
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, EIO, ENOTIMPL, ENOTTY, EPERM
from ring3.proc.jails import known_procs
from ring3.proc.proc import Thread
from ring3.vfs import tty
from ring3.vfs.file import File
from ring3.vfs.pty import PtyMaster

_NUMBERS: Final = dict(enumerate((
    "TIOCGPGRP", "TIOCSPGRP", "TCGETS", "TCSETS", "TCSETSW", "TCSETSF", "TCFLSH", "TIOCGWINSZ", "TIOCSCTTY", "TIOCSTI", "TIOCNOTTY",
    "TIOCSWINSZ", "TIOCGPTN",
))) | {41: "FIBMAP", 42: "FIONBIO", 43: "FIONREAD", 44: "FIOCLEX", 45: "FIONCLEX"}
(TIOCGPGRP, TIOCSPGRP, TCGETS, TCSETS, TCSETSW, TCSETSF, TCFLSH, TIOCGWINSZ, TIOCSCTTY, TIOCSTI, TIOCNOTTY, TIOCSWINSZ,
 TIOCGPTN) = range(13)
FIBMAP, FIONBIO, FIONREAD, FIOCLEX, FIONCLEX = range(41, 46)
_SETS: Final[Mapping[int, int]] = MappingProxyType({TCSETS: tty.TCSETS, TCSETSW: tty.TCSETSW, TCSETSF: tty.TCSETSF})
_SAME: Final[Mapping[int, int]] = MappingProxyType({
    TIOCGPGRP: tty.TIOCGPGRP, TIOCGWINSZ: tty.TIOCGWINSZ, TIOCSWINSZ: tty.TIOCSWINSZ, TIOCGPTN: tty.TIOCGPTN,
})
_OF_MASTER: Final = (TIOCSWINSZ, TIOCGPGRP, TIOCGPTN)
_FLUSHES: Final = 3                             # what was typed, what was written, both
_WITH_CONTENTS: Final = (FileType.REG, FileType.DIR, FileType.LNK)

_FORM: Final = struct.Struct("<4I32s2I")        # struct termios, 56 bytes
_NEUTRAL: Final = struct.Struct("<4IB19s")
_CC: Final = 19                                 # control characters the kernel keeps; SerenityOS has 18 of its 32 places
_CSIZE, _CS8 = 0x30, 0x30
# Bits of the four words that its terminals do not implement.
_MISSING: Final = (0x7E9F, 0xF2, 0xFC0, 0x8100)

Request = Annotated[int, NamedValue(_NUMBERS)]


def termios_outward(settings: Termios) -> bytes:
    """A struct termios of SerenityOS.

    >>> len(termios_outward(tty.DEFAULT_TERMIOS))
    56
    """
    words = [word & ~missing for word, missing in zip(settings[:4], _MISSING, strict=True)]
    speed = tty.speed_of(settings.cflag)
    return _FORM.pack(*words, settings.cc, speed, speed)


def _settings(t: Thread, fd: int) -> Termios:
    cell = Cell()
    do_ioctl(t, fd, tty.TCGETS, 0, cell)
    return Termios(*_NEUTRAL.unpack(cell.data[: _NEUTRAL.size]))


def _set_modes(t: Thread, fd: int, request: int, arg: int) -> int:
    """What there is is set, and what there is not stays as it was.  Raises ENOTIMPL when that was asked for."""
    *words, cc, _, _ = _FORM.unpack(t.proc.vm.copyin(arg, _FORM.size))
    before = _settings(t, fd)
    kept = [word & ~missing | old & missing for word, old, missing in zip(words, before[:4], _MISSING, strict=True)]
    if kept[2] & _CSIZE != _CS8:
        kept[2] = kept[2] & ~_CSIZE | before.cflag & _CSIZE
    do_ioctl(t, fd, _SETS[request], 0, Cell(_NEUTRAL.pack(*kept, before.line, cc[:_CC])))
    if words[2] & _CSIZE != _CS8 or any(word & missing for word, missing in zip(words, _MISSING, strict=True)):
        raise ENOTIMPL
    return 0


def _set_group(t: Thread, fd: int, arg: int) -> int:
    """The group in the foreground: the argument itself.  Raises EINVAL for none, EPERM for one of another session."""
    group = (arg & 0x7FFF_FFFF) - (arg & 0x8000_0000)
    members = [p for p in known_procs(t) if p.pgrp == group] if group > 0 else []
    if not members:
        raise EINVAL
    if members[0].session is not t.proc.session:
        raise EPERM
    return do_ioctl(t, fd, tty.TIOCSPGRP, 0, Cell(group.to_bytes(4, "little")))


def _of_terminal(t: Thread, fd: int, request: int, arg: int) -> int:
    """Raises EINVAL for what terminals do not know, EIO for typing in somebody's name."""
    if request in _SAME and request != TIOCGPTN:
        return do_ioctl(t, fd, _SAME[request], arg, t.proc.vm)
    if request in _SETS:
        return _set_modes(t, fd, request, arg)
    match request:
        case 1:     # TIOCSPGRP
            return _set_group(t, fd, arg)
        case 2:     # TCGETS
            t.proc.vm.copyout(arg, termios_outward(_settings(t, fd)))
            return 0
        case 6 if arg & 0xFF < _FLUSHES:     # TCFLSH
            return do_ioctl(t, fd, tty.TCFLSH, arg & 0xFF, t.proc.vm)
        case 8:     # TIOCSCTTY
            return do_ioctl(t, fd, tty.TIOCSCTTY, 0, t.proc.vm)
        case 9:     # TIOCSTI
            raise EIO
        case 10:     # TIOCNOTTY
            return do_ioctl(t, fd, tty.TIOCNOTTY, 0, t.proc.vm)
    raise EINVAL


def _unread(t: Thread, fd: int, file: File, arg: int) -> int:
    """FIONREAD, of files with contents and of sockets.  Raises ENOTTY for all others."""
    if file.is_socket or (file.vnode is not None and file.vnode.type == FileType.REG):
        return do_ioctl(t, fd, tty.FIONREAD, arg, t.proc.vm)
    raise EINVAL if file.vnode is not None and file.vnode.type in _WITH_CONTENTS else ENOTTY


@syscall(pledge="")
def sys_ioctl(t: Thread, fd: Fd, request: Request, arg: RequestArg) -> int:
    """Ask or tell a file something.  Raises EBADF; EINVAL for what its kind does not know, ENOTTY where that is all; EFAULT."""
    file = opened(t, fd)
    if request == FIONBIO:
        file.flags = file.flags | OpenFlags.NONBLOCK if tty.get_int(t.proc.vm, arg) else file.flags & ~OpenFlags.NONBLOCK
        return 0
    if request in (FIOCLEX, FIONCLEX):
        set_cloexec(t, fd, on=request == FIOCLEX)
        return 0
    if isinstance(file, PtyMaster):
        t.needs("tty")
        if request == TIOCGPTN:                 # whose other side nobody has to unlock there
            do_ioctl(t, fd, tty.TIOCSPTLCK, 0, Cell(bytes(4)))
        if request in _OF_MASTER:
            return do_ioctl(t, fd, _SAME[request], arg, t.proc.vm)
        raise EINVAL
    if is_terminal(file):
        t.needs("tty")
        return _of_terminal(t, fd, request, arg)
    if request == FIONREAD:
        return _unread(t, fd, file, arg)
    raise EINVAL if file.is_socket or (file.vnode is not None and file.vnode.type in _WITH_CONTENTS) else ENOTTY
