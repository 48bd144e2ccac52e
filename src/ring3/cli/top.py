"""`ring3 top`: a program in a kernel of its own, and what that kernel is doing, once a second.

At a terminal the table has the screen, and what the program prints is kept in a file without a name: its last lines stand below the
table, all of it is printed when the program is over.  Elsewhere the program has its streams, and tables go to standard error.
Not here: what stands in the table (`trace/top.py`).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any, Final

from ring3.cli import complain, guest, policy, run
from ring3.cli.options import Option, describe
from ring3.cli.session import TIMED_OUT, command, in_kernel, shell_status
from ring3.cli.signals import Signals
from ring3.cli.terminal import Screen, style
from ring3.trace.explain.words import shown
from ring3.trace.top import SORTS, Counter, View, cut, look

if TYPE_CHECKING:
    from ring3.kernel import Kernel
    from ring3.process import Process

_USAGE: Final = "ring3 top [OPTION]... [--] PROGRAM [ARG]..."
_TICK: Final = 0.1              # seconds until a key or another size of the window is noticed
_TAIL: Final = 8192             # bytes of the program's output that are looked at for the lines below the table
_PIECE: Final = 1 << 20
_KEYS: Final = "q: end the program   s: sort by another column ({})   space: look now"


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 3600:
        raise ValueError("write a number of seconds from 0.1 to 3600")
    return value


def _sort(text: str) -> str:
    if text not in SORTS:
        raise ValueError(f"write one of {', '.join(SORTS)}")
    return text


OPTIONS: Final = (
    Option("--interval", "SECONDS", "look so often (default: 1)", _seconds),
    Option("--sort", "COLUMN", f"the largest first: {', '.join(SORTS)} (default: cpu)", _sort),
    Option("--plain", "", "no screen: tables on standard error, as where there is no terminal"),
    *guest.WORLD,
    guest.USER,
    guest.SYSTEM,
    run.TIMEOUT,
    *policy.OPTIONS,
)
_HELP: Final = f"""\
{_USAGE}

Run PROGRAM in a kernel of its own, and show that kernel's processes: who uses the CPU, memory, system calls.

{describe(OPTIONS)}
At a terminal: q ends PROGRAM (once more: kills it), s sorts by another column, Ctrl-C is PROGRAM's.  What it prints appears below
the table, and in full when it is over.  It reads no keys; redirect its standard input if it wants any.

Status: the program's own, as with `ring3 run`.
"""


def main(words: Sequence[str]) -> int:
    """Run and watch it; the exit status."""
    return command(words, OPTIONS, _HELP, _top)


def _top(values: dict[str, Any], program: list[str]) -> int:
    from ring3.trace.stats import summary

    with ExitStack() as stack:
        watch = _Plain(values, program)
        has_screen = "--plain" not in values and _is_terminal(sys.stderr) and os.environ.get("TERM", "dumb") != "dumb"
        keyboard = _keyboard(stack) if has_screen else None
        output = None
        spawn: dict[str, Any] = {}
        if keyboard is not None:
            output = stack.enter_context(_spool())
            spawn = {name: output for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)) if _is_terminal(stream)}
            if _is_terminal(sys.stdin):
                spawn["stdin"] = _nothing(stack)
            watch = _Full(values, program, Screen(2, keyboard), output)
        last: list[str] = []
        status = in_kernel(
            values, program, [Counter()], spawn=spawn, wait=watch.wait, attendant=None if output is None else _Signals,
            at_end=lambda kernel: last.append(kernel.call(summary)),
        )
        if output is not None:
            _print(output, 1 if "stdout" in spawn else 2)
        for text in last:
            _say(text)
        return status


def _is_terminal(stream: Any) -> bool:
    return stream is not None and stream.isatty()


def _keyboard(stack: ExitStack) -> int | None:
    """A descriptor that keys come from: standard input, or the terminal we belong to when that is something else."""
    if _is_terminal(sys.stdin):
        return 0
    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    stack.callback(os.close, fd)
    return fd


def _nothing(stack: ExitStack) -> int:
    fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return fd


def _spool() -> IO[bytes]:
    import tempfile

    return tempfile.TemporaryFile(buffering=0)


def _print(output: IO[bytes], fd: int) -> None:
    """All that the program printed, from the first byte on."""
    at = 0
    while data := os.pread(output.fileno(), _PIECE, at):
        at += len(data)
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(fd, rest) :]
            except OSError:
                return          # nobody reads it


def _say(text: str) -> None:
    if sys.stderr is not None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            return              # nobody reads it


class _Signals(Signals):
    """A program that stops is shown as stopped, and we go on; the terminal is ours to put back (`Screen`)."""

    def _stop(self, process: Process) -> bool:
        return True

    def _restore(self) -> None:
        return


class _Plain:
    """Tables one after the other, on standard error."""

    def __init__(self, values: dict[str, Any], program: list[str]) -> None:
        self.interval: float = values.get("--interval", 1.0)
        self.view = View(" ".join(shown(os.fsencode(word), 40) for word in program[:6]), values.get("--sort", "cpu"))
        self.kernel: Kernel

    def wait(self, process: Process, signals: Signals, timeout: float | None) -> int:
        """Show it until it ends; the status for the shell."""
        self.kernel = process.kernel
        deadline = None if timeout is None else time.monotonic() + timeout
        due = time.monotonic() + self.interval
        while not signals.attend(process, self._next(due, deadline)):
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                process.kill()
                process.wait()
                complain(f"{process.args[0]}: killed after {timeout:g} s (--timeout)")
                return TIMED_OUT
            self.attend(process)
            if now >= due:
                due = now + self.interval
                self.show(now_is_due=True)
        return shell_status(process.wait())

    def _next(self, due: float, deadline: float | None) -> float:
        return due if deadline is None else min(due, deadline)

    def attend(self, process: Process) -> None:
        """Look after the terminal."""

    def show(self, *, now_is_due: bool) -> None:
        """Show the next table."""
        _say("\n".join(self.view.lines(self.kernel.call(look), 132)) + "\n\n")


class _Full(_Plain):
    """The table on the whole screen, the last lines of the program's output below it."""

    def __init__(self, values: dict[str, Any], program: list[str], screen: Screen, output: IO[bytes]) -> None:
        super().__init__(values, program)
        self._screen = screen
        self._output = output
        self._size = (0, 0)
        self._ends = 0

    def wait(self, process: Process, signals: Signals, timeout: float | None) -> int:
        with self._screen:
            self.kernel = process.kernel
            self._now = self.kernel.call(look)
            self.show(now_is_due=False)
            return super().wait(process, signals, timeout)

    def _next(self, due: float, deadline: float | None) -> float:
        return min(super()._next(due, deadline), time.monotonic() + _TICK)

    def attend(self, process: Process) -> None:
        for key in self._screen.typed():
            if key == "q":
                self._end(process)
            elif key == "s":
                names = list(SORTS)
                self.view.sort = names[(names.index(self.view.sort) + 1) % len(names)]
                self.show(now_is_due=False)
            elif key == " ":
                self.show(now_is_due=True)
        if self._screen.size != self._size:
            self.show(now_is_due=False)

    def _end(self, process: Process) -> None:
        """Ask it to end, and let it, if it is stopped; the second time it has no choice."""
        self._ends += 1
        if self._ends > 1:
            process.kill()
        else:
            process.terminate()
            process.send_signal(18)         # SIGCONT, on every system there is

    def show(self, *, now_is_due: bool) -> None:
        if now_is_due:
            self._now = self.kernel.call(look)
        columns, rows = self._size = self._screen.size
        tail = self._tail(columns, min(8, rows // 3))
        lines = self.view.lines(self._now, columns, rows - len(tail) - 1)
        lines[3] = style(lines[3].ljust(columns), "7")
        lines += [""] * (rows - len(tail) - 1 - len(lines))
        foot = cut(_KEYS.format(self.view.sort), columns)
        self._screen.draw([*lines, *tail, style(foot, "2")])

    def _tail(self, columns: int, most: int) -> list[str]:
        size = os.fstat(self._output.fileno()).st_size
        data = os.pread(self._output.fileno(), _TAIL, max(size - _TAIL, 0))
        lines = data.splitlines()[-max(most - 1, 1) :]
        if not lines:
            return []
        rule = f"── what it prints ({size} bytes) "
        return [cut(rule + "─" * max(columns - len(rule), 0), columns), *(cut(shown(line, 2 * columns), columns) for line in lines)]
