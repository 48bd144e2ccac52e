"""What an exec makes of a process's signals.  Which of these is done is a value of the caller's system; nothing raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.abi.signals import DEFAULT_ACTION, SIG_DFL, SIG_IGN, AltStack, SigAction, Signal, bit

if TYPE_CHECKING:
    from ring3.proc.proc import Thread


def default_caught(t: Thread) -> None:
    """Caught signals get their default action, ignored ones stay ignored; mask and pending signals stay (execve(2))."""
    p = t.proc
    table = [DEFAULT_ACTION if action.handler != SIG_IGN else SigAction(SIG_IGN) for action in p.actions.table]
    p.actions = type(p.actions)(table)
    _forget(t)


def drop_ignored(t: Thread) -> None:
    """The same, and a caught signal that does nothing by default is no longer pending; SIGCHLD is not ignored any more
    (NetBSD: execsigs).
    """
    p = t.proc
    caught = 0
    for signo, action in enumerate(p.actions.table):
        if signo and action.handler not in (SIG_DFL, SIG_IGN):
            caught |= bit(signo)
    gone = caught & p.personality.signal_defaults.ignored & ~bit(Signal.SIGCONT)
    if gone:
        p.pending.flush(gone)
        t.pending.flush(gone)
    default_caught(t)
    p.actions.table[Signal.SIGCHLD] = DEFAULT_ACTION


def _forget(t: Thread) -> None:
    t.altstack = AltStack()
    t.saved_sigmask = None
    t.restart = None
