"""`ring3 run`: one program in a kernel of its own, behaving at this terminal as it would natively.

Signals that reach this process go on to the guest: those a terminal sends (Ctrl-C, Ctrl-\\, Ctrl-Z, a new window size) to the
guest's foreground process group, the others to the program.  When the program stops, so does this process.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from ring3.kernel import Kernel, parse_mount

if TYPE_CHECKING:
    from ring3.proc.system import System
    from ring3.process import Process

NOT_FOUND = 127
NOT_EXECUTABLE = 126
FAILED = 125
TIMED_OUT = 124

_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGWINCH)
_TO_PROGRAM = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)


def add_parser(commands: Any) -> None:
    """Add `run` to the command line."""
    parser = commands.add_parser(
        "run",
        help="run a program in a kernel of its own",
        description="Run PROGRAM in a kernel of its own.  It sees this machine's files; what it writes stays in memory.",
        usage="ring3 run [OPTION]... [--] PROGRAM [ARG]...",
    )
    parser.add_argument("--env", metavar="K=V", action="append", default=[], help="set a variable (K alone: take it away)")
    parser.add_argument("--cwd", metavar="DIR", help="start in this directory of the guest")
    parser.add_argument(
        "--mount", metavar="HOST:GUEST[:MODE]", action="append", default=[], type=_mount,
        help="show a host directory at GUEST; MODE is ro (default), rw, or cow (writes stay in memory)",
    )
    parser.add_argument("--root", metavar="DIR", default="/", help="host directory to show as / (writes stay in memory)")
    parser.add_argument("--seed", metavar="N", type=int, help="make addresses and random numbers repeatable")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, help="kill the program after this long (status 124)")
    parser.add_argument("--stats", action="store_true", help="at the end, say what was used and which calls were missing")
    parser.add_argument(
        "--strace", nargs="?", const="-", metavar="FILE", help="print each system call, to standard error or to FILE (--strace=FILE)"
    )
    parser.add_argument("program", metavar="PROGRAM")
    parser.add_argument("args", metavar="ARG", nargs=argparse.REMAINDER)
    parser.set_defaults(main=main)


def _mount(text: str) -> Any:
    try:
        return parse_mount(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(options: argparse.Namespace) -> int:
    """Run it; the exit status: the program's own, 128+N when signal N ended it, 124 to 127 as timeout(1) and env(1)."""
    instruments = []
    trace = None
    if options.strace is not None:
        from ring3.trace.strace import Strace

        try:
            trace = sys.stderr if options.strace == "-" else open(options.strace, "w", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            return _complain(f"{options.strace}: {error.strerror}", FAILED)
        instruments.append(Strace(trace.write))
    try:
        kernel = Kernel(root=options.root, mounts=options.mount, seed=options.seed, instruments=instruments)
        with kernel:
            return _run(kernel, options)
    finally:
        if trace is not None and trace is not sys.stderr:
            trace.close()


def _run(kernel: Kernel, options: argparse.Namespace) -> int:
    from ring3.machine.base import MachineUnavailable

    try:
        process = kernel.spawn(
            [options.program, *options.args],
            cwd=options.cwd,
            env=_environment(options.env),
            ignored_signals=[s for s in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP) if signal.getsignal(s) == signal.SIG_IGN],
        )
    except MachineUnavailable as error:
        return _complain(str(error), FAILED)
    except (FileNotFoundError, NotADirectoryError) as error:
        return _complain(f"{error.filename}: {error.strerror}", NOT_FOUND)
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}", NOT_EXECUTABLE)
    with _Terminal(kernel, process):
        status = _wait(process, options.timeout)
    if options.stats:
        from ring3.trace.stats import summary

        sys.stderr.write(kernel.call(summary))
    return status


def _wait(process: Process, timeout: float | None) -> int:
    from subprocess import TimeoutExpired

    try:
        code = process.wait(timeout)
    except TimeoutExpired:
        process.kill()
        process.wait()
        return _complain(f"{process.args[0]}: killed after {timeout:g} s", TIMED_OUT)
    return code if code >= 0 else 128 - code


def _environment(changes: list[str]) -> dict[str, str]:
    env = dict(os.environ)
    for change in changes:
        name, equals, value = change.partition("=")
        if equals:
            env[name] = value
        else:
            env.pop(name, None)
    return env


def _complain(text: str, status: int) -> int:
    sys.stderr.write(f"ring3: {text}\n")
    return status


class _Terminal:
    """While the program runs: signals go on to it, and the terminal is put back afterwards."""

    def __init__(self, kernel: Kernel, process: Process) -> None:
        self.kernel = kernel
        self.process = process
        self._before: dict[int, Any] = {}
        self._settings: Any = None

    def __enter__(self) -> None:
        if os.isatty(0):
            import termios

            self._settings = termios.tcgetattr(0)
        for signo in (*_FROM_TERMINAL, *_TO_PROGRAM, signal.SIGCONT):
            if signal.getsignal(signo) != signal.SIG_IGN:
                self._before[signo] = signal.signal(signo, self._forward)
        self.process.on_stop = self._stopped

    def __exit__(self, *exc: object) -> None:
        self.process.on_stop = None
        for signo, before in self._before.items():
            signal.signal(signo, before)
        if self._settings is not None:
            import termios

            termios.tcsetattr(0, termios.TCSADRAIN, self._settings)

    def _forward(self, signo: int, _frame: object) -> None:
        pid = self.process.pid

        def send(system: System) -> None:
            from ring3.abi.signals import SI_KERNEL, SigInfo
            from ring3.proc.signals import send_to_group, send_to_process

            p = system.procs.get(pid)
            if p is None:
                return
            info = SigInfo(signo, SI_KERNEL if signo in _FROM_TERMINAL else 0)
            if signo in _FROM_TERMINAL or signo == signal.SIGCONT:
                tty = p.session.tty
                send_to_group(system, tty.foreground if tty is not None and tty.foreground else p.pgrp, info)
            else:
                send_to_process(p, info)

        self.kernel.post(send)

    def _stopped(self, stopped_by: int) -> None:
        if stopped_by:
            os.kill(os.getpid(), signal.SIGSTOP)
