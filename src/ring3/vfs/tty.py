"""Terminals: who is in the foreground, and the settings and ioctls every terminal has.

`JobControl` is the part that knows sessions and process groups, by number; what needs the table of processes it asks of a
`TtyHost`.  A terminal of the host has only this part (hoststream.py); a pseudo-terminal has a line discipline too (ldisc.py,
pty.py).  Numbers and layouts are Linux's, which all its architectures here share.

The background check is the call's: before a read, a write or an ioctl in `GUARDED`, on the caller's own terminal, it asks
`job_control_check` and sends what comes back.

Source: drivers/tty/tty_jobctrl.c, tty_ioctl.c, tty_io.c; ioctl_tty(2).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Protocol

from ring3.abi.records import Termios, WinSize
from ring3.abi.signals import Signal
from ring3.errors import EINVAL, ENOTTY, EPERM, ESRCH
from ring3.namedtuple import NamedTuple

if TYPE_CHECKING:
    from ring3.protocols import GuestMemory

TCGETS, TCSETS, TCSETSW, TCSETSF = 0x5401, 0x5402, 0x5403, 0x5404
TCGETA, TCSETA, TCSETAW, TCSETAF = 0x5405, 0x5406, 0x5407, 0x5408
TCGETS2, TCSETS2, TCSETSW2, TCSETSF2 = 0x802C542A, 0x402C542B, 0x402C542C, 0x402C542D
TCSBRK, TCXONC, TCFLSH, TCSBRKP = 0x5409, 0x540A, 0x540B, 0x5425
TIOCEXCL, TIOCNXCL, TIOCSCTTY, TIOCGPGRP = 0x540C, 0x540D, 0x540E, 0x540F
TIOCSPGRP, TIOCOUTQ, TIOCSTI = 0x5410, 0x5411, 0x5412
TIOCGWINSZ, TIOCSWINSZ, FIONREAD = 0x5413, 0x5414, 0x541B
TIOCPKT, TIOCNOTTY, TIOCSETD, TIOCGETD = 0x5420, 0x5422, 0x5423, 0x5424
TIOCGSID, TIOCGPTN, TIOCSPTLCK, TIOCSIG = 0x5429, 0x80045430, 0x40045431, 0x40045436
TIOCGPKT, TIOCGPTLCK, TIOCGPTPEER = 0x80045438, 0x80045439, 0x5441

# What a process in the background may not do without SIGTTOU, whatever TOSTOP says (tty_check_change).
GUARDED: Final = frozenset((
    TCSETS, TCSETSW, TCSETSF, TCSETA, TCSETAW, TCSETAF, TCSETS2, TCSETSW2, TCSETSF2, TCSBRK, TCSBRKP, TCXONC, TCFLSH, TIOCSPGRP,
    TIOCSETD,
))

# Modes and control characters, as asm-generic/termbits.h has them.
ISTRIP, INLCR, IGNCR, ICRNL, IXON, IXANY, IMAXBEL, IUTF8 = 0o40, 0o100, 0o200, 0o400, 0o2000, 0o4000, 0o20000, 0o40000
OPOST, OLCUC, ONLCR, OCRNL, ONOCR, ONLRET, XTABS = 0o1, 0o2, 0o4, 0o10, 0o20, 0o40, 0o14000
CSIZE, CS8, CREAD, PARENB, CBAUD, B38400 = 0o60, 0o60, 0o200, 0o400, 0o10017, 0o17
ISIG, ICANON, ECHO, ECHOE, ECHOK, ECHONL, NOFLSH, TOSTOP = 0o1, 0o2, 0o10, 0o20, 0o40, 0o100, 0o200, 0o400
ECHOCTL, ECHOPRT, ECHOKE, IEXTEN = 0o1000, 0o2000, 0o4000, 0o100000
(VINTR, VQUIT, VERASE, VKILL, VEOF, VTIME, VMIN, VSWTC, VSTART, VSTOP, VSUSP, VEOL, VREPRINT, VDISCARD, VWERASE, VLNEXT,
 VEOL2) = range(17)

DEFAULT_TERMIOS: Final = Termios(
    ICRNL | IXON, OPOST | ONLCR, B38400 | CS8 | CREAD, ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN, 0,
    b"\x03\x1c\x7f\x15\x04\x00\x01\x00\x11\x13\x1a\x00\x12\x0f\x17\x16\x00\x00\x00",
)
_TERMIOS: Final = struct.Struct("<4IB19s")
_SPEEDS: Final = struct.Struct("<2I")
_TERMIO: Final = struct.Struct("<4HB8sx")
_WINSIZE: Final = struct.Struct("<4H")
_BAUDS: Final = (0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400)
_FAST_BAUDS: Final = (
    0, 57600, 115200, 230400, 460800, 500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000, 2500000, 3000000, 3500000,
    4000000,
)
_BOTHER: Final = 0o10000


class Caller(NamedTuple):
    """The process whose call is being served, as job control sees it.  `tty` is its session's terminal."""

    pgrp: int
    sid: int
    is_leader: bool
    tty: object | None
    privileged: bool


class TtyHost(Protocol):
    """What terminals ask of whoever has the processes."""

    def caller(self) -> Caller:
        """Who is calling now."""

    def signal_group(self, pgrp: int, signo: int) -> None:
        """Send the kernel's own signal to every process of a group; none is fine."""

    def signal_leader(self, sid: int, signo: int) -> None:
        """... to the leader of a session; none is fine."""

    def group_session(self, pgrp: int) -> int | None:
        """The session a process group is in; None for no such group."""

    def set_terminal(self, sid: int, tty: JobControl | None) -> None:
        """Session `sid` has another controlling terminal now, or none."""


class JobControl:
    """The session a terminal controls (`session`, 0 for none) and the group in its foreground (`foreground`)."""

    __slots__ = ("foreground", "host", "session")

    def __init__(self, host: TtyHost) -> None:
        self.host = host
        self.session = 0
        self.foreground = 0

    @property
    def tostop(self) -> bool:
        """Whether output from the background is stopped."""
        return False

    def job_control_check(self, pgrp: int, *, write: bool, forced: bool = False) -> Signal | None:
        """The signal a process of group `pgrp`, in this terminal's session, gets instead of what it asked for.

        `forced`: an ioctl in GUARDED, which TOSTOP does not excuse.  A caller that ignores or blocks the signal fails with EIO
        for a read and goes on otherwise; so does (EIO) one of an orphaned group: the call knows.
        """
        if not self.foreground or pgrp == self.foreground:
            return None
        if not write:
            return Signal.SIGTTIN
        return Signal.SIGTTOU if forced or self.tostop else None

    def signal(self, signo: int) -> None:
        """To the foreground group."""
        if self.foreground:
            self.host.signal_group(self.foreground, signo)

    def associate(self, sid: int, pgrp: int) -> None:
        """Become the controlling terminal of session `sid`."""
        self.session = sid
        self.foreground = pgrp
        self.host.set_terminal(sid, self)

    def disassociate(self) -> None:
        """Belong to no session; telling processes is the caller's affair."""
        self.session = self.foreground = 0

    def opened(self) -> None:
        """Opened without O_NOCTTY: a session leader without a terminal gets this one, if it is free."""
        who = self.host.caller()
        if who.is_leader and who.tty is None and not self.session:
            self.associate(who.sid, who.pgrp)

    def ioctl(self, request: int, arg: int, memory: GuestMemory, *, master: bool = False) -> int:
        """Job control requests.  Raises ENOTTY for others.  `master`: asked through the master side, which is in no session."""
        if request == TIOCGPGRP:
            self._check_own(master=master)
            put_int(memory, arg, self.foreground)
        elif request == TIOCGSID:
            self._check_own(master=master)
            if not self.session:
                raise ENOTTY
            put_int(memory, arg, self.session)
        elif request == TIOCSPGRP:
            self._set_foreground(get_int(memory, arg))
        elif request == TIOCSCTTY:
            self._take(steal=arg == 1)
        elif request == TIOCNOTTY:
            self._give_up()
        else:
            raise ENOTTY
        return 0

    def _check_own(self, *, master: bool) -> None:
        if not master and self.host.caller().tty is not self:
            raise ENOTTY

    def _set_foreground(self, pgrp: int) -> None:
        who = self.host.caller()
        if who.tty is not self or who.sid != self.session:
            raise ENOTTY
        if pgrp < 0:
            raise EINVAL
        session = self.host.group_session(pgrp)
        if session is None:
            raise ESRCH
        if session != who.sid:
            raise EPERM
        self.foreground = pgrp

    def _take(self, *, steal: bool) -> None:
        who = self.host.caller()
        if who.is_leader and who.sid == self.session:
            return
        if not who.is_leader or who.tty is not None:
            raise EPERM
        if self.session:
            if not (steal and who.privileged):
                raise EPERM
            self.host.set_terminal(self.session, None)
        self.associate(who.sid, who.pgrp)

    def _give_up(self) -> None:
        who = self.host.caller()
        if who.tty is not self:
            raise ENOTTY
        if who.is_leader:
            self.signal(Signal.SIGHUP)
            self.signal(Signal.SIGCONT)
            self.host.set_terminal(self.session, None)
            self.disassociate()


class Terminal(JobControl):
    """A terminal with settings and a size of its own."""

    __slots__ = ("speeds", "termios", "winsize")

    def __init__(self, host: TtyHost) -> None:
        super().__init__(host)
        self.termios = DEFAULT_TERMIOS
        self.speeds = (38400, 38400)
        self.winsize = WinSize(0, 0)

    @property
    def tostop(self) -> bool:
        return bool(self.termios.lflag & TOSTOP)

    # --- what the line discipline overrides
    def set_termios(self, termios: Termios) -> None:
        """The settings change."""
        self.termios = termios

    def flush_input(self) -> None:
        """Forget what was typed and not read."""

    # --- ioctl
    def mode_ioctl(self, request: int, arg: int, memory: GuestMemory) -> int:
        """Settings and size.  Raises ENOTTY for other requests."""
        if request in (TCGETS, TCGETS2):
            data = _TERMIOS.pack(*self.termios)
            memory.copyout(arg, data + (_SPEEDS.pack(*self.speeds) if request == TCGETS2 else b""))
        elif request in (TCSETS, TCSETSW, TCSETSF, TCSETS2, TCSETSW2, TCSETSF2):
            self._set_modes(request, arg, memory)
        elif request == TCGETA:
            told = self.termios
            memory.copyout(arg, _TERMIO.pack(*(flags & 0xFFFF for flags in told[:4]), told.line, told.cc[:8]))
        elif request in (TCSETA, TCSETAW, TCSETAF):
            self._set_old_modes(request, arg, memory)
        elif request == TIOCGWINSZ:
            memory.copyout(arg, _WINSIZE.pack(*self.winsize))
        elif request == TIOCSWINSZ:
            self.resize(WinSize(*_WINSIZE.unpack(memory.copyin(arg, 8))))
        else:
            raise ENOTTY
        return 0

    def _set_old_modes(self, request: int, arg: int, memory: GuestMemory) -> None:
        """struct termio of System V: the lower halves of the flags, and eight characters."""
        old = self.termios
        *lower, line, cc = _TERMIO.unpack(memory.copyin(arg, _TERMIO.size))
        iflag, oflag, cflag, lflag = (kept & ~0xFFFF | given for kept, given in zip(old[:4], lower, strict=True))
        if request == TCSETAF:
            self.flush_input()
        self.set_termios(Termios(iflag, oflag, cflag & ~(CSIZE | PARENB) | CS8 | CREAD, lflag, line, cc + old.cc[8:]))

    def resize(self, winsize: WinSize) -> None:
        """Another size; the foreground group learns of a change."""
        if winsize != self.winsize:
            self.winsize = winsize
            self.signal(Signal.SIGWINCH)

    def _set_modes(self, request: int, arg: int, memory: GuestMemory) -> None:
        extended = request in (TCSETS2, TCSETSW2, TCSETSF2)
        data = memory.copyin(arg, 44 if extended else 36)
        termios = Termios(*_TERMIOS.unpack_from(data))
        code = termios.cflag & CBAUD
        if extended and code == _BOTHER:
            _, output = _SPEEDS.unpack_from(data, 36)
            self.speeds = (output, output)
        elif code != _BOTHER:
            speed = (_FAST_BAUDS if code & _BOTHER else _BAUDS)[code & 0o17]
            self.speeds = (speed, speed)
        if request in (TCSETSF, TCSETSF2):
            self.flush_input()
        self.set_termios(termios._replace(cflag=termios.cflag & ~(CSIZE | PARENB) | CS8 | CREAD))


def speed_of(cflag: int) -> int:
    """Baud of a speed code."""
    return (_FAST_BAUDS if cflag & _BOTHER else _BAUDS)[cflag & 0o17]


def speed_code(baud: int) -> int | None:
    """The code of a speed; None where there is none.

    >>> speed_of(speed_code(115200))
    115200
    """
    if baud in _BAUDS:
        return _BAUDS.index(baud)
    return _BOTHER | _FAST_BAUDS.index(baud) if baud in _FAST_BAUDS else None


def put_int(memory: GuestMemory, addr: int, value: int) -> None:
    """A C int to the guest.  Raises EFAULT."""
    memory.copyout(addr, value.to_bytes(4, "little", signed=True))


def get_int(memory: GuestMemory, addr: int) -> int:
    """A C int from the guest.  Raises EFAULT."""
    return int.from_bytes(memory.copyin(addr, 4), "little", signed=True)
