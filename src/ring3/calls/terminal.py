"""What terminals ask of the calls: processes in the background are stopped when they read, and maybe when they write.

Source: drivers/tty/tty_jobctrl.c (__tty_check_change), drivers/tty/n_tty.c (job_control).
Not here: sessions and settings (`vfs.tty`).
"""

from __future__ import annotations

from ring3.abi.signals import SIG_IGN, Signal, bit
from ring3.errors import EIO
from ring3.proc import signals
from ring3.proc.proc import Restart, Thread
from ring3.vfs.file import File
from ring3.vfs.hoststream import HostTerminal
from ring3.vfs.pty import PtySlave
from ring3.vfs.tty import JobControl


def terminal_of(file: File) -> JobControl | None:
    """The terminal behind an open file, where it is one (and not the master side of one)."""
    if isinstance(file, PtySlave):
        return file.pty
    return file.job if isinstance(file, HostTerminal) else None


def check_foreground(t: Thread, file: File, *, write: bool, forced: bool = False) -> None:
    """Before `t` uses a terminal.  Raises `Restart` once the signal is sent, EIO for those it cannot stop."""
    job = terminal_of(file)
    p = t.proc
    if job is None or p.session.tty is not job:
        return
    signo = job.job_control_check(p.pgrp, write=write, forced=forced)
    if signo is None:
        return
    if p.actions.table[signo].handler == SIG_IGN or t.sigmask & bit(signo):
        if signo == Signal.SIGTTIN:
            raise EIO
        return
    if t.system.is_orphaned(p.pgrp):
        raise EIO
    signals.send_to_group(t.system, p.pgrp, signals.kernel_signal(signo))
    raise Restart
