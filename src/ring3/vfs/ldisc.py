"""The line discipline of a terminal: what becomes of characters between the keyboard and the program (N_TTY).

Input is edited line by line (`ICANON`), echoed, turned into signals, or passed on raw; output has its newlines translated.
Everything waiting is bounded as on Linux: 4095 bytes of input in all, further ones of a line are dropped.
Invariant: in canonical mode `raw` is empty; otherwise `lines` and `edited` are.

Source: drivers/tty/n_tty.c, termios(3).  Not here: PARMRK, ECHOPRT, IUCLC and breaks, which a pseudo-terminal hardly meets.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from ring3.abi.signals import Signal
from ring3.vfs import tty
from ring3.vfs.tty import ECHO, ECHOCTL, ECHOE, ECHOK, ECHOKE, ECHONL, ICANON, IEXTEN, ISIG, IXON, NOFLSH, Terminal

if TYPE_CHECKING:
    from ring3.abi.records import Termios
    from ring3.vfs.tty import TtyHost

BUFFER: Final = 4096            # N_TTY_BUF_SIZE
_EDITING: Final = tty.ISTRIP | tty.INLCR | tty.IGNCR | tty.ICRNL | IXON
_SLOW_OUTPUT: Final = tty.OLCUC | tty.OCRNL | tty.ONOCR | tty.ONLRET | tty.XTABS
_VISIBLE_KILL: Final = ECHO | ECHOK | ECHOKE | ECHOE
_PLAIN: Final = b"\n\r" + bytes(range(32, 127)) + bytes(range(128, 256))     # one column each, or back to the first
_DISABLED: Final = 0            # a control character set to this is none


class Line:
    """One line ready to be read.  `ended_by_eof`: its end is not a character."""

    __slots__ = ("data", "ended_by_eof")

    def __init__(self, data: bytes, *, ended_by_eof: bool) -> None:
        self.data = data
        self.ended_by_eof = ended_by_eof


class LineDiscipline(Terminal):
    """A terminal that edits.  Whoever owns it overrides `emit` and `input_changed`."""

    __slots__ = ("_column", "_line_column", "_literal", "_nlines_bytes", "edited", "lines", "raw", "stopped")

    def __init__(self, host: TtyHost) -> None:
        super().__init__(host)
        self.lines: deque[Line] = deque()
        self.edited = bytearray()
        self.raw = bytearray()
        self.stopped = False            # output is held (^S, TCOOFF)
        self._literal = False           # the next character is no special one (^V)
        self._nlines_bytes = 0
        self._column = 0                # of the cursor
        self._line_column = 0           # ... where the edited line begins

    # --- what the owner overrides
    def emit(self, data: bytes) -> None:
        """Characters to the screen (echo and output)."""

    def input_changed(self) -> None:
        """There may be something to read, or room to type."""

    def output_changed(self) -> None:
        """Output was stopped or goes on."""

    def flush_output(self) -> None:
        """Forget output nobody has seen."""

    # --- settings
    @property
    def canonical(self) -> bool:
        return bool(self.termios.lflag & ICANON)

    def set_termios(self, termios: Termios) -> None:
        was_canonical = self.canonical
        self.termios = termios
        if was_canonical and not self.canonical:
            self.raw += b"".join(line.data + b"\0" * line.ended_by_eof for line in self.lines) + self.edited
            self.lines.clear()
            self.edited.clear()
            self._nlines_bytes = 0
        elif self.canonical and not was_canonical:
            self.edited += self.raw
            self.raw.clear()
        if not termios.iflag & IXON and self.stopped:
            self.set_stopped(False)
        self.input_changed()

    def set_stopped(self, stopped: bool) -> None:
        """Hold or let go output."""
        if stopped != self.stopped:
            self.stopped = stopped
            self.output_changed()

    def flush_input(self) -> None:
        self.lines.clear()
        self.edited.clear()
        self.raw.clear()
        self._nlines_bytes = 0
        self.input_changed()

    # --- typing
    @property
    def pending(self) -> int:
        """Bytes of input held."""
        return self._nlines_bytes + len(self.lines) + len(self.edited) + len(self.raw)

    def receive(self, data: bytes) -> int:
        """Characters typed; how many were taken.  A canonical line that outgrows the buffer loses its tail, as on Linux."""
        flags = self.termios.iflag & _EDITING | self.termios.lflag & (ISIG | ICANON | ECHO)
        if not flags and not self._literal:
            taken = min(len(data), BUFFER - 1 - self.pending)
            self.raw += data[: max(taken, 0)]
        else:
            taken = 0
            for c in data:
                if self.pending >= BUFFER - 1 and not (self.canonical and not self.lines):
                    break
                self._receive_char(c)
                taken += 1
        if taken > 0:
            self.input_changed()
        return max(taken, 0)

    def _receive_char(self, c: int) -> None:
        iflag, lflag, cc = self.termios.iflag, self.termios.lflag, self.termios.cc
        if iflag & tty.ISTRIP:
            c &= 0x7F
        if self._literal:
            self._literal = False
            self._type(c)
            return
        if c != _DISABLED and self._is_flow_or_signal(c, iflag, lflag, cc):
            return
        if self.stopped and iflag & IXON and iflag & tty.IXANY:
            self.set_stopped(False)
        newline = False
        if c == 13:
            if iflag & tty.IGNCR:
                return
            newline = bool(iflag & tty.ICRNL)
            if iflag & tty.ICRNL:
                c = 10
        elif c == 10 and iflag & tty.INLCR:
            c = 13
        if not (lflag & ICANON and self._edit(c, lflag, cc)):
            self._type(c, newline=newline)

    def _is_flow_or_signal(self, c: int, iflag: int, lflag: int, cc: bytes) -> bool:
        if iflag & IXON:
            if c == cc[tty.VSTART]:
                self.set_stopped(False)
                return True
            if c == cc[tty.VSTOP]:
                self.set_stopped(True)
                return True
        if lflag & ISIG:
            for index, signo in ((tty.VINTR, Signal.SIGINT), (tty.VQUIT, Signal.SIGQUIT), (tty.VSUSP, Signal.SIGTSTP)):
                if c == cc[index]:
                    self.type_signal(signo)
                    if iflag & IXON:
                        self.set_stopped(False)
                    if lflag & ECHO:
                        self._echo(c)
                    return True
        return False

    def type_signal(self, signo: int) -> None:
        """A signal from the keyboard: without NOFLSH, what was typed and printed before is forgotten."""
        if not self.termios.lflag & NOFLSH:
            self.flush_input()
            self.flush_output()
        self.signal(signo)

    def _edit(self, c: int, lflag: int, cc: bytes) -> bool:
        """Canonical mode: whether `c` was a special character."""
        extended = lflag & IEXTEN
        if c == 10:
            if lflag & (ECHO | ECHONL):
                self.print(b"\n")
            self._finish_line(b"\n")
        elif c == _DISABLED:
            return False
        elif c in (cc[tty.VERASE], cc[tty.VKILL]) or (c == cc[tty.VWERASE] and extended):
            self._erase(c, lflag, cc)
        elif c == cc[tty.VLNEXT] and extended:
            self._literal = True
            if lflag & ECHO and lflag & ECHOCTL:
                self.emit(b"^\b")
        elif c == cc[tty.VREPRINT] and lflag & ECHO and extended:
            self._echo(c)
            self.print(b"\n")
            for typed in self.edited:
                self._echo(typed)
        elif c == cc[tty.VEOF]:
            self._finish_line(b"", ended_by_eof=True)
        elif c == cc[tty.VEOL] or (c == cc[tty.VEOL2] and extended):
            if lflag & ECHO:
                self._echo(c)
            self._finish_line(bytes((c,)))
        else:
            return False
        return True

    def _finish_line(self, end: bytes, *, ended_by_eof: bool = False) -> None:
        line = Line(bytes(self.edited) + end, ended_by_eof=ended_by_eof)
        self.edited.clear()
        self.lines.append(line)
        self._nlines_bytes += len(line.data)

    def _type(self, c: int, *, newline: bool = False) -> None:
        """An ordinary character.  `newline`: a CR that ICRNL changed, the one kind that is not echoed as ^J without ICANON."""
        lflag = self.termios.lflag
        if self.pending >= BUFFER - 1:
            if self.termios.iflag & tty.IMAXBEL:
                self.emit(b"\a")
            return
        if lflag & ECHO:
            if not self.edited:
                self._line_column = self._column
            if newline:
                self.print(b"\n")
            else:
                self._echo(c)
        (self.edited if lflag & ICANON else self.raw).append(c)

    # --- echo
    def _echo(self, c: int) -> None:
        if (c < 32 or c == 127) and c != 9 and self.termios.lflag & ECHOCTL:
            self._column += 2
            self.emit(bytes((94, c ^ 0o100)))
        else:
            self.print(bytes((c,)))

    def _erase(self, c: int, lflag: int, cc: bytes) -> None:
        """eraser(): ERASE, WERASE or KILL."""
        edited = self.edited
        if not edited:
            return
        kind = tty.VERASE if c == cc[tty.VERASE] else tty.VWERASE if c == cc[tty.VWERASE] else tty.VKILL
        if kind == tty.VKILL and lflag & _VISIBLE_KILL != _VISIBLE_KILL:
            self._kill(c, lflag)
            return
        seen_word = False
        while edited:
            start = len(edited) - 1
            if self.termios.iflag & tty.IUTF8:
                while start and edited[start] & 0xC0 == 0x80:
                    start -= 1
            last = edited[start]
            if kind == tty.VWERASE:
                if chr(last).isalnum() or last == 95:
                    seen_word = True
                elif seen_word:
                    break
            del edited[start:]
            if lflag & ECHO:
                if kind == tty.VERASE and not lflag & ECHOE:
                    self._echo(c)
                else:
                    self._rub_out(last, lflag)
            if kind == tty.VERASE:
                break

    def _kill(self, c: int, lflag: int) -> None:
        """KILL without rubbing the line out."""
        self.edited.clear()
        if lflag & ECHO:
            self._echo(c)
            if lflag & ECHOK:
                self.print(b"\n")

    def _rub_out(self, c: int, lflag: int) -> None:
        if c == 9:
            column = self._line_column
            for typed in self.edited:
                column = (column | 7) + 1 if typed == 9 else column + self._width(typed, lflag)
            back = 8 - column % 8
            self._column = max(self._column - back, 0)
            self.emit(b"\b" * back)
            return
        width = self._width(c, lflag)
        for _ in range(width):          # Linux counts a rubbed-out column twice, once for the "\b \b" and once more
            self._column = max(max(self._column - 1, 0) - (self.termios.oflag & tty.OPOST), 0)
        self.emit(b"\b \b" * width)

    @staticmethod
    def _width(c: int, lflag: int) -> int:
        if c < 32 or c == 127:
            return 2 if lflag & ECHOCTL else 0
        return 1

    # --- printing
    def print(self, data: bytes) -> None:
        """Output, translated by OPOST."""
        self.emit(self.translate(data))

    def translate(self, data: bytes) -> bytes:
        """What output processing makes of `data`; never longer than eight times."""
        oflag = self.termios.oflag
        if not oflag & tty.OPOST:
            return data
        if oflag & _SLOW_OUTPUT or not oflag & tty.ONLCR or data.translate(None, _PLAIN):
            return b"".join([self._translate_char(c, oflag) for c in data])
        newline = max(data.rfind(b"\n"), data.rfind(b"\r"))
        if newline >= 0:
            self._column = self._line_column = 0
        self._column += len(data) - newline - 1
        return data.replace(b"\n", b"\r\n")

    def _translate_char(self, c: int, oflag: int) -> bytes:
        """do_output_char()."""
        if c == 10:
            if oflag & tty.ONLRET:
                self._column = 0
            if oflag & tty.ONLCR:
                self._column = self._line_column = 0
                return b"\r\n"
            self._line_column = self._column
        elif c == 13:
            if oflag & tty.ONOCR and self._column == 0:
                return b""
            if oflag & tty.OCRNL:
                if oflag & tty.ONLRET:
                    self._column = self._line_column = 0
                return b"\n"
            self._column = self._line_column = 0
        elif c == 9:
            spaces = 8 - self._column % 8
            self._column += spaces
            if oflag & tty.XTABS == tty.XTABS:
                return b" " * spaces
        elif c == 8:
            self._column -= self._column > 0
        elif c >= 32 and c != 127:      # bytes of UTF-8 beyond the first count too: only erasing a tab would tell
            if oflag & tty.OLCUC:
                c = ord(chr(c).upper()) if c < 128 else c
            self._column += 1
        return bytes((c,))

    # --- reading
    def available(self) -> int:
        """Bytes a read can have now (FIONREAD)."""
        return self._nlines_bytes if self.canonical else len(self.raw)

    def is_readable(self) -> bool:
        """What poll(2) goes by."""
        if self.canonical:
            return bool(self.lines)
        cc = self.termios.cc
        return len(self.raw) >= (cc[tty.VMIN] or 1 if not cc[tty.VTIME] else 1)

    def take(self, nbytes: int, *, least: int = 1) -> bytes | None:
        """Up to `nbytes` of input, in canonical mode of one line; None when there are fewer than `least` (a line counts)."""
        if not self.canonical:
            if len(self.raw) < min(least, nbytes):
                return None
            data = bytes(self.raw[:nbytes])
            del self.raw[:nbytes]
        else:
            if not self.lines:
                return None
            line = self.lines[0]
            data = line.data[:nbytes]
            line.data = line.data[nbytes:]
            self._nlines_bytes -= len(data)
            if not line.data:
                self.lines.popleft()
        self.input_changed()
        return data
