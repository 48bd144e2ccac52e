"""The machine that stands still: it has the facts of this host and runs nothing."""

from __future__ import annotations

import os

import pytest

from ring3.abi.x86 import Arch
from ring3.machine.base import MachineUnavailable
from ring3.machine.native import NativeMachine
from ring3.machine.still import StillMachine


def test_nothing_runs() -> None:
    machine = StillMachine()
    with pytest.raises(MachineUnavailable, match="asking only"):
        machine.new_space()
    with pytest.raises(MachineUnavailable):
        machine.wait()
    machine.ring()
    machine.close()
    machine.close()


def test_asking_for_the_other_clock_pages_leaves_no_child() -> None:
    machine = StillMachine()
    machine.facts.vdso.get(Arch.I386)
    machine.facts.vdso.get(Arch.I386)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.needs_ptrace
@pytest.mark.parametrize("arch", list(Arch))
def test_it_knows_what_the_native_machine_knows(arch: Arch) -> None:
    native, still = NativeMachine(), StillMachine()
    try:
        assert still.facts._replace(name="native", xstate_size=0, xfeatures=0, vdso={}) == native.facts._replace(
            xstate_size=0, xfeatures=0, vdso={}
        )
        assert still.facts.vdso.get(arch) == native.facts.vdso.get(arch)
    finally:
        native.close()
