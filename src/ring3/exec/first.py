"""The first exec of a process that has no program yet (NetBSD starts init so): no old space, no old machine thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ring3.errors import from_oserror
from ring3.exec.check import check_exec
from ring3.exec.commit import commit, die
from ring3.exec.load import load
from ring3.exec.package import ExecRequest
from ring3.exec.plan import ExecDeath
from ring3.vm.vmspace import VMSpace

if TYPE_CHECKING:
    from ring3.proc.proc import Thread


def exec_first(t: Thread, path: bytes, argv: Sequence[bytes], envp: Sequence[bytes]) -> None:
    """Give `t` its program; the process may be dead afterwards, as a process is that execs an impossible image.

    Raises the `Errno` of the refusal; `t` has no program then, as before.
    """
    plan = check_exec(t, ExecRequest(path, list(argv), list(envp)))
    assert plan is not None
    outcome = plan if isinstance(plan, ExecDeath) else load(t, plan)
    if isinstance(outcome, ExecDeath):
        _embody(t)
        die(t, outcome)
    else:
        commit(t, outcome)


def _embody(t: Thread) -> None:
    """An empty space and a machine thread, so that there is something to die.  Raises `Errno`."""
    system = t.system
    try:
        space = system.machine.new_space()
        t.proc.vm = VMSpace(space, min_addr=system.facts.min_addr, user_top=system.facts.user_top)
        t.cpu = system.machine.new_thread(space)
    except OSError as error:
        raise from_oserror(error) from error
    t.cpu.owner = t
