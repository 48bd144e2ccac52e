"""Pseudo-terminals: a master that plays keyboard and screen, and a slave that is a terminal.

`PtyTable` is one kernel's /dev/ptmx and the names in its /dev/pts.  A `Pty` is the terminal between the two sides: what the
master writes goes through the line discipline, what the slave writes (and echo) waits in `screen`.
Invariant: `screen` and `typed` are bounded; a `Pty` is in the table exactly while its master is open.

Source: drivers/tty/pty.c, pty(7), ioctl_tty(2).  Not here: the file system of /dev/pts and opening /dev/tty (proc/terminal.py).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from ring3.abi.flags import FileType, OpenFlags, Poll
from ring3.abi.signals import Signal
from ring3.errors import EAGAIN, EBUSY, EINVAL, EIO, ENOSPC, ENOTTY, ENXIO
from ring3.vfs import tty
from ring3.vfs.file import File
from ring3.vfs.ldisc import LineDiscipline
from ring3.vfs.tty import get_int, put_int
from ring3.waiting import WaitQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ring3.abi.records import Attr, Termios
    from ring3.protocols import GuestMemory
    from ring3.vfs.pipe import AnonymousInodes
    from ring3.vfs.tty import TtyHost
    from ring3.vfs.vnode import Vnode

MAX_PTYS: Final = 4096
SCREEN_MAX: Final = 12288           # what Linux holds of a slave's output: 8192 in the buffer, 4096 in the master's discipline
TYPED_MAX: Final = 65536            # input the line discipline has no room for yet
PTS_MAJOR: Final = 136
_READABLE: Final = Poll.IN | Poll.RDNORM
_WRITABLE: Final = Poll.OUT | Poll.WRNORM
_HUNG_UP: Final = _READABLE | _WRITABLE | Poll.ERR | Poll.HUP
_KEPT: Final = ~(OpenFlags.CREAT | OpenFlags.EXCL | OpenFlags.NOCTTY | OpenFlags.TRUNC | OpenFlags.CLOEXEC)

PKT_FLUSHREAD, PKT_FLUSHWRITE, PKT_STOP, PKT_START, PKT_NOSTOP, PKT_DOSTOP, PKT_IOCTL = 1, 2, 4, 8, 16, 32, 64
EXTPROC: Final = 0o200000


class Pty(LineDiscipline):
    """One pseudo-terminal.  `number` is its name in /dev/pts; `uid`, `gid`, `mode` belong to that name.

    `slave_closed`: the slave had been open and is not; the master then reads EIO.
    """

    __slots__ = (
        "exclusive", "gid", "hung_up", "locked", "master_queue", "mode", "number", "packet", "packet_status", "screen",
        "slave_closed", "slave_queue", "slaves", "typed", "uid",
    )

    def __init__(self, host: TtyHost, number: int, uid: int, gid: int) -> None:
        super().__init__(host)
        self.number = number
        self.uid = uid
        self.gid = gid
        self.mode = 0o620
        self.locked = True
        self.exclusive = False
        self.slaves = 0
        self.slave_closed = False
        self.hung_up = False
        self.packet = False
        self.packet_status = 0
        self.screen = bytearray()
        self.typed = bytearray()
        self.master_queue = WaitQueue()
        self.slave_queue = WaitQueue()

    @property
    def rdev(self) -> int:
        """The device number of the slave."""
        return os.makedev(PTS_MAJOR + (self.number >> 8), self.number & 0xFF)

    # --- from the line discipline
    def emit(self, data: bytes) -> None:
        if data and not self.hung_up and len(self.screen) + len(data) <= SCREEN_MAX + 4096:
            self.screen += data
            self.master_queue.wake()

    def input_changed(self) -> None:
        if self.typed:
            taken = self.receive_typed()
            if taken:
                self.master_queue.wake()
        self.slave_queue.wake()

    def output_changed(self) -> None:
        if self.packet:
            self._tell_master(PKT_STOP if self.stopped else PKT_START, PKT_START if self.stopped else PKT_STOP)
        self.slave_queue.wake()

    def flush_input(self) -> None:
        self.typed.clear()
        super().flush_input()
        if self.packet:
            self._tell_master(PKT_FLUSHREAD)
        self.master_queue.wake()

    def flush_output(self) -> None:
        self.screen.clear()
        if self.packet:
            self._tell_master(PKT_FLUSHWRITE)
        self.slave_queue.wake()

    def set_termios(self, termios: Termios) -> None:
        old, was_stopping = self.termios, self._stops_by_default()
        super().set_termios(termios)
        if self.packet:
            if was_stopping != self._stops_by_default():
                self._tell_master(*((PKT_NOSTOP, PKT_DOSTOP) if was_stopping else (PKT_DOSTOP, PKT_NOSTOP)))
            if (old.lflag | termios.lflag) & EXTPROC:
                self._tell_master(PKT_IOCTL)

    def _stops_by_default(self) -> bool:
        """Whether flow control is the ^S and ^Q that a master may do itself (TIOCPKT_DOSTOP)."""
        termios = self.termios
        return bool(termios.iflag & tty.IXON) and termios.cc[tty.VSTOP] == 0x13 and termios.cc[tty.VSTART] == 0x11

    def _tell_master(self, status: int, instead_of: int = 0) -> None:
        self.packet_status = self.packet_status & ~instead_of | status
        self.master_queue.wake()

    def receive_typed(self) -> int:
        """Type on what waits; how much of it."""
        data = bytes(self.typed)
        self.typed.clear()              # so that a flush, or our being called again, finds nothing of it
        taken = self.receive(data)
        self.typed += data[taken:]
        return taken

    # --- the two sides
    def type(self, data: bytes) -> int:
        """The master writes.  Raises EAGAIN while too much waits."""
        room = TYPED_MAX - len(self.typed)
        if room <= 0:
            raise EAGAIN
        data = data[:room]
        if not self.typed:
            taken = self.receive(data)
            rest = data[taken:]
        else:
            rest = data
        self.typed += rest
        return len(data)

    def write(self, data: bytes) -> int:
        """The slave writes.  Raises EAGAIN while output is stopped or the screen is full."""
        room = SCREEN_MAX - len(self.screen)
        if self.stopped or room <= 0:
            raise EAGAIN
        growth = 1
        if self.termios.oflag & tty.OPOST:
            growth = 8 if self.termios.oflag & tty.XTABS else 2
        piece = data if len(data) * growth <= room else data[: max(room // growth, 1)]
        self.screen += self.translate(piece)
        self.master_queue.wake()
        return len(piece)

    def read_screen(self, nbytes: int) -> bytes:
        """The master reads.  Raises EAGAIN; EIO when the slave is closed and nothing is left."""
        if self.packet and self.packet_status:
            status, self.packet_status = self.packet_status, 0
            return bytes((status,))
        if not self.screen:
            if self.slave_closed:
                raise EIO
            raise EAGAIN
        if self.packet:
            nbytes -= 1
        data = bytes(self.screen[:nbytes])
        del self.screen[:nbytes]
        self.slave_queue.wake()
        return b"\0" + data if self.packet else data

    def slave_opened(self) -> None:
        self.slaves += 1
        self.slave_closed = False
        self.master_queue.wake()

    def slave_gone(self) -> None:
        self.slaves -= 1
        if not self.slaves:
            self.slave_closed = True
            self.exclusive = False
            self.stopped = False
            self.master_queue.wake()

    def hang_up(self) -> None:
        """The master is gone: the session's leader hears of it, all reads end, all writes fail."""
        self.hung_up = True
        session, foreground = self.session, self.foreground
        if session:
            self.host.set_terminal(session, None)
            self.disassociate()
            self.host.signal_leader(session, Signal.SIGHUP)
            self.host.signal_leader(session, Signal.SIGCONT)
            if foreground:
                self.host.signal_group(foreground, Signal.SIGHUP)
        self.slave_queue.wake()

    def line_ioctl(self, request: int, arg: int, memory: GuestMemory, *, master: bool) -> int:
        """What both sides can be asked.  Raises ENOTTY."""
        if request == tty.TCFLSH:
            self._flush(arg, master=master)
        elif request == tty.TCXONC:
            self._flow(arg)
        elif request in (tty.TIOCEXCL, tty.TIOCNXCL):
            self.exclusive = request == tty.TIOCEXCL
        elif request in (tty.TIOCOUTQ, tty.TIOCGETD):
            put_int(memory, arg, 0)
        elif request == tty.TIOCSETD:
            if get_int(memory, arg):
                raise EINVAL
        elif request == tty.TIOCSTI:
            raise EIO                   # as with dev.tty.legacy_tiocsti=0
        elif request not in (tty.TCSBRK, tty.TCSBRKP):
            try:
                return self.mode_ioctl(request, arg, memory)
            except ENOTTY:
                return self.ioctl(request, arg, memory, master=master)
        return 0


    def _flush(self, what: int, *, master: bool) -> None:
        """TCFLSH: 0 input, 1 output, 2 both, as seen from the side that asks.  Raises EINVAL."""
        if what not in (0, 1, 2):
            raise EINVAL
        if what != 1:
            (self.flush_output if master else self.flush_input)()
        if what != 0:
            (self.flush_input if master else self.flush_output)()

    def _flow(self, what: int) -> None:
        """TCXONC: 0 hold output, 1 let it go, 2 and 3 send STOP and START to the other side.  Raises EINVAL."""
        if what not in (0, 1, 2, 3):
            raise EINVAL
        if what < 2:
            self.set_stopped(what == 0)
        else:
            self.emit(self.termios.cc[tty.VSTOP if what == 2 else tty.VSTART :][:1])


class PtySlave(File):
    """One open description of the terminal side."""

    __slots__ = ("pty",)

    def __init__(self, pty: Pty, vnode: Vnode | None, flags: OpenFlags) -> None:
        super().__init__(vnode, flags & _KEPT)
        self.pty = pty
        pty.slave_opened()

    @property
    def tty(self) -> Pty:
        """The terminal, for job control."""
        return self.pty

    @property
    def queue(self) -> WaitQueue:
        return self.pty.slave_queue

    @property
    def label(self) -> bytes:
        return b"/dev/pts/%d" % self.pty.number

    def read(self, nbytes: int) -> bytes:
        """A line, or what VMIN and VTIME ask for; empty at the end.  Raises EAGAIN; then see `read_timeout_ns`."""
        self.check_readable()
        pty = self.pty
        if pty.hung_up:
            return b""
        if nbytes <= 0:
            return b""
        cc = pty.termios.cc
        timed = bool(cc[tty.VTIME])
        least = 1 if self.nonblocking or pty.canonical else max(cc[tty.VMIN], 1)
        data = pty.take(nbytes, least=least)
        if data is not None:
            return data
        if not pty.canonical and not cc[tty.VMIN] and not timed:
            return b""
        raise EAGAIN

    def read_timeout_ns(self) -> int | None:
        """How long a blocking read that got EAGAIN sleeps at most before it calls `read_expired`; None for ever."""
        pty = self.pty
        cc = pty.termios.cc
        if pty.canonical or not cc[tty.VTIME] or (cc[tty.VMIN] and not pty.raw):
            return None
        return cc[tty.VTIME] * 100_000_000

    def read_expired(self, nbytes: int) -> bytes:
        """The time between characters is over: what there is."""
        return self.pty.take(nbytes) or b""

    def write(self, data: bytes) -> int:
        """Raises EIO once the master is gone, EAGAIN."""
        self.check_writable()
        if self.pty.hung_up:
            raise EIO
        return self.pty.write(data) if data else 0

    def poll(self) -> Poll:
        pty = self.pty
        if pty.hung_up:
            return _HUNG_UP
        events = _READABLE if pty.is_readable() else Poll(0)
        if not pty.stopped and len(pty.screen) < SCREEN_MAX:
            events |= _WRITABLE
        return events

    def ioctl(self, request: int, arg: int, memory: GuestMemory) -> int:
        pty = self.pty
        if pty.hung_up:
            raise ENOTTY if request == tty.TIOCSPGRP else EIO
        if request == tty.FIONREAD:
            put_int(memory, arg, pty.available())
            return 0
        return pty.line_ioctl(request, arg, memory, master=False)

    def close(self) -> None:
        self.pty.slave_gone()


class PtyMaster(File):
    """The one open description of the keyboard-and-screen side, made by opening /dev/ptmx."""

    __slots__ = ("pty", "table")

    def __init__(self, table: PtyTable, pty: Pty, vnode: Vnode | None, flags: OpenFlags) -> None:
        super().__init__(vnode, flags & _KEPT)
        self.table = table
        self.pty = pty

    @property
    def queue(self) -> WaitQueue:
        return self.pty.master_queue

    @property
    def label(self) -> bytes:
        return b"/dev/ptmx"

    def read(self, nbytes: int) -> bytes:
        self.check_readable()
        return self.pty.read_screen(nbytes) if nbytes > 0 else b""

    def write(self, data: bytes) -> int:
        """Type, whether the slave is open or not.  Raises EAGAIN."""
        self.check_writable()
        return self.pty.type(data) if data else 0

    def poll(self) -> Poll:
        pty = self.pty
        events = Poll(0)
        if pty.screen:
            events |= _READABLE
        if pty.packet and pty.packet_status:
            events |= _READABLE | Poll.PRI
        if pty.slave_closed:
            events |= Poll.HUP
        if len(pty.typed) < TYPED_MAX:
            events |= _WRITABLE
        return events

    def ioctl(self, request: int, arg: int, memory: GuestMemory) -> int:
        pty = self.pty
        if request == tty.TIOCGPTN:
            put_int(memory, arg, pty.number)
        elif request == tty.TIOCSPTLCK:
            pty.locked = get_int(memory, arg) != 0
        elif request == tty.TIOCGPTLCK:
            put_int(memory, arg, int(pty.locked))
        elif request == tty.TIOCPKT:
            packet = get_int(memory, arg) != 0
            if packet and not pty.packet:
                pty.packet_status = 0
            pty.packet = packet
        elif request == tty.TIOCGPKT:
            put_int(memory, arg, int(pty.packet))
        elif request == tty.TIOCSIG:
            if arg not in (Signal.SIGINT, Signal.SIGQUIT, Signal.SIGTSTP):
                raise EINVAL
            pty.type_signal(arg)
        elif request == tty.FIONREAD:
            put_int(memory, arg, len(pty.screen))
        else:
            return pty.line_ioctl(request, arg, memory, master=True)
        return 0

    def open_peer(self, flags: OpenFlags) -> PtySlave:
        """TIOCGPTPEER: the slave, without a path; the call gives it a descriptor."""
        return PtySlave(self.pty, self.table.node_of(self.pty.number), flags)

    def close(self) -> None:
        self.table.forget(self.pty)
        self.pty.hang_up()


class PtyTable:
    """The pseudo-terminals of one kernel."""

    __slots__ = ("host", "inodes", "node_of", "ptys", "taken")

    def __init__(self, host: TtyHost, inodes: AnonymousInodes) -> None:
        self.host = host
        self.inodes = inodes
        self.ptys: dict[int, Pty] = {}
        self.taken = -1             # a number that is no pseudo-terminal of ours: the host's terminal has it
        self.node_of: Callable[[int], Vnode | None] = lambda _number: None     # the name in /dev/pts, where that is mounted

    def numbers(self) -> Iterable[int]:
        """The names in /dev/pts, in order."""
        return sorted(self.ptys)

    def open_master(self, vnode: Vnode | None, flags: OpenFlags, uid: int = 0, gid: int = 0) -> PtyMaster:
        """Open /dev/ptmx: a new pseudo-terminal, locked.  Raises ENOSPC when there are too many."""
        if len(self.ptys) >= MAX_PTYS:
            raise ENOSPC
        number = next(n for n in range(MAX_PTYS) if n not in self.ptys and n != self.taken)
        pty = self.ptys[number] = Pty(self.host, number, uid, gid)
        return PtyMaster(self, pty, vnode, flags)

    def open_slave(self, number: int, vnode: Vnode | None, flags: OpenFlags) -> PtySlave:
        """Open /dev/pts/`number`; without O_NOCTTY it may become the caller's.  Raises EIO while locked, EBUSY, ENXIO for none."""
        pty = self.ptys.get(number)
        if pty is None:
            raise ENXIO
        if pty.locked:
            raise EIO
        if pty.exclusive and not self.host.caller().privileged:
            raise EBUSY
        slave = PtySlave(pty, vnode, flags)
        if not flags & OpenFlags.NOCTTY:
            pty.opened()
        return slave

    def attr(self, pty: Pty) -> Attr:
        """What stat(2) tells of a name in /dev/pts (devpts adds its device number)."""
        return self.inodes.attr(0, FileType.CHR | pty.mode, pty.uid, pty.gid, pty.number + 3)._replace(rdev=pty.rdev)

    def forget(self, pty: Pty) -> None:
        self.ptys.pop(pty.number, None)
