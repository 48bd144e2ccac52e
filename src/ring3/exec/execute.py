"""The whole of one exec: check, load, and commit or die.  What the calls of every system that run a program end in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.errors import from_oserror
from ring3.exec.check import check_exec
from ring3.exec.commit import commit, die
from ring3.exec.load import load
from ring3.exec.plan import ExecDeath
from ring3.vm.vmspace import VMSpace

if TYPE_CHECKING:
    from ring3.exec.package import ExecRequest
    from ring3.proc.proc import Thread


def execute(t: Thread, request: ExecRequest) -> bool:
    """Run another program in `t`'s process, which may be dead afterwards; False when only a check was asked for, and
    passed.

    While it lasts the process is `in_exec`: nobody else touches it (NetBSD: P_INEXEC), and it gets no upcalls.  Raises
    the `Errno` of a refusal; the process is as it was then.
    """
    p = t.proc
    upcalls, t.upcalls = t.upcalls, False
    p.in_exec = True
    try:
        outcome = check_exec(t, request)
        if outcome is None:
            t.upcalls = upcalls
            return False
        loaded = outcome if isinstance(outcome, ExecDeath) else load(t, outcome)
        if isinstance(loaded, ExecDeath):
            if getattr(t, "cpu", None) is None:
                _embody(t)
            die(t, loaded)
        else:
            commit(t, loaded)
    except BaseException:
        t.upcalls = upcalls
        raise
    finally:
        p.in_exec = False
    return True


def _embody(t: Thread) -> None:
    """An empty space and a machine thread for a process without a program, so that there is something to die.  Raises
    `Errno`.
    """
    system = t.system
    try:
        space = system.machine.new_space()
        t.proc.vm = VMSpace(space, min_addr=system.facts.min_addr, user_top=system.facts.user_top)
        t.cpu = system.machine.new_thread(space)
    except OSError as error:
        raise from_oserror(error) from error
    t.cpu.owner = t
