r"""Signals of a command that stands for a program: what reaches us goes on to the guest, and when the program stops, so do we.

The signals are blocked and waited for, not handled, so that each comes with its sender: what the terminal sends (Ctrl-C, Ctrl-\,
Ctrl-Z, a new size) goes to the guest's foreground group, what a process sends goes to the program.  The kernel's thread wakes
the waiting one with SIGCHLD.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ring3.proc.system import System
    from ring3.process import Process

_SI_KERNEL: Final = 0x80
_WAKE: Final = signal.SIGCHLD
_TERMINALS: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGWINCH, signal.SIGHUP)
_OURS: Final = frozenset((
    *_TERMINALS, signal.SIGTERM, signal.SIGCONT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF,
    signal.SIGPOLL, signal.SIGPWR, signal.SIGURG, _WAKE, *range(signal.SIGRTMIN, signal.SIGRTMAX + 1),
))
_ROUNDS: Final = 20             # looks at a job that is stopping, 5 ms apart
_SOON: Final = 0.1              # seconds between looks at whether others run on


class Signals:
    """Between `__enter__` and `__exit__` the calling thread's signals wait for `attend`."""

    def __init__(self) -> None:
        self._before: set[int] = set()
        self._settings: list[Any] | None = None

    def __enter__(self) -> Signals:
        self._before = set(signal.pthread_sigmask(signal.SIG_BLOCK, _OURS))
        if os.isatty(0):
            import termios

            self._settings = termios.tcgetattr(0)
        return self

    def __exit__(self, *exc: object) -> None:
        while signal.sigtimedwait(_OURS, 0) is not None:
            pass                # nobody is left to have them
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def attend(self, process: Process, deadline: float | None) -> bool:
        """Pass signals on until `process` ended.  False when `deadline` (`time.monotonic`) came first."""
        me = threading.get_ident()
        process.on_change = lambda: signal.pthread_kill(me, _WAKE)
        stopped, look_at = False, 0.0
        try:
            while process.poll() is None:
                if not process.stopped_by:
                    stopped, look_at = False, 0.0
                elif not stopped and time.monotonic() >= look_at:
                    stopped, look_at = self._stop(process), time.monotonic() + _SOON
                info = self._next(deadline, is_waiting=bool(process.stopped_by) and not stopped)
                if info is not None and info.si_signo != _WAKE:
                    _pass_on(process, info.si_signo, by_terminal=info.si_code == _SI_KERNEL)
                if deadline is not None and time.monotonic() >= deadline and process.poll() is None:
                    return False
        finally:
            process.on_change = None
            if (process.poll() or -1) < 0:
                self._restore()
        return True

    def _next(self, deadline: float | None, *, is_waiting: bool) -> signal.struct_siginfo | None:
        """The next signal; None at the deadline, or soon where others of the guest are waited for."""
        if deadline is None and not is_waiting:
            return signal.sigwaitinfo(_OURS)
        left = _SOON if deadline is None else max(deadline - time.monotonic(), 0)
        return signal.sigtimedwait(_OURS, min(left, _SOON) if is_waiting else left)

    def _stop(self, process: Process) -> bool:
        """The program was stopped: once its whole group is, stop by the same signal.  False where somebody who runs on may
        make it go on: it was not the terminal that stopped it.
        """
        if process.stopped_by == signal.SIGSTOP and process.kernel.call(lambda system: _is_another_alive(system, process.pid)):
            return False
        for _ in range(_ROUNDS):
            if process.kernel.call(lambda system: _is_job_stopped(system, process.pid)):
                break
            time.sleep(0.005)
        signo = process.stopped_by
        if not signo:
            return True
        if signal.getsignal(signo) is not signal.SIG_DFL:
            signo = signal.SIGSTOP
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        os.kill(os.getpid(), signo)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signo,))       # here we stop, and here we go on
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if signal.SIGCONT not in signal.sigpending():
            _pass_on(process, signal.SIGCONT, by_terminal=False)   # our group is orphaned: nobody could have made us go on
        return True

    def _restore(self) -> None:
        """A program that was killed may have left the terminal without echo: as a shell does, put it back."""
        if self._settings is None or not os.isatty(0):
            return
        import termios

        try:
            if os.tcgetpgrp(0) == os.getpgrp():
                termios.tcsetattr(0, termios.TCSADRAIN, self._settings)
        except (OSError, termios.error):
            return              # the terminal is gone


def _pass_on(process: Process, signo: int, *, by_terminal: bool) -> None:
    pid = process.pid

    def send(system: System) -> None:
        from ring3.abi.signals import SI_KERNEL, SigInfo
        from ring3.proc.signals import send_to_group, send_to_process

        p = system.procs.get(pid)
        if p is None:
            return
        info = SigInfo(signo, SI_KERNEL if by_terminal else 0)
        if signo == signal.SIGCONT:
            send_to_group(system, p.pgrp, info)
        elif by_terminal and signo in _TERMINALS:
            foreground = system.host_terminal.foreground or p.pgrp
            send_to_group(system, foreground, info)
            if signo == signal.SIGHUP and p.pgrp != foreground:
                send_to_process(p, info)
        else:
            send_to_process(p, info)

    process.kernel.loop.post(send)


def _is_another_alive(system: System, pid: int) -> bool:
    return any(p is not system.init and p.pid != pid and not p.zombie and not p.stopped_by for p in system.procs.values())


def _is_job_stopped(system: System, pid: int) -> bool:
    from ring3.proc.proc import ThreadState

    p = system.procs.get(pid)
    return p is None or not p.stopped_by or all(
        t.state is not ThreadState.RUNNING for other in system.procs.values() if other.pgrp == p.pgrp for t in other.live_threads()
    )
