"""The index of calls says what the modules say, and every call has a number."""

from __future__ import annotations

import pytest

from ring3.abi.table import read_pairs, read_table
from ring3.abi.x86 import Arch
from ring3.personality.linux import linux_personality
from ring3.personality.linux.tables import INDEX, declared

NUMBERS = {Arch.X86_64: "linux/amd64", Arch.I386: "linux/i386"}


@pytest.mark.parametrize("arch", list(Arch))
def test_the_index_is_what_the_modules_declare(arch: Arch) -> None:
    assert read_pairs(INDEX[arch]) == declared(arch), "run scripts/index_calls.py"


def test_every_call_has_a_number_somewhere() -> None:
    numbered = {name for table in NUMBERS.values() for name in read_table(table).values()}
    through_socketcall = {"send", "recv"}        # i386 reaches them by a number of their own inside another call
    assert {name for arch in Arch for name in declared(arch)} <= numbered | through_socketcall


@pytest.mark.parametrize("arch", list(Arch))
def test_every_row_binds(arch: Arch) -> None:
    sysent = linux_personality().abis[arch].sysent
    assert len(sysent) == 0, "nothing is bound before it is called"
    sysent.bind_all()  # type: ignore[attr-defined]
    assert len(sysent) > 270
    for bound in sysent.values():
        assert bound.decoders is not None, f"{bound.name}: every parameter has a Kind"


def test_a_number_that_is_no_call_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        linux_personality().abis[Arch.X86_64].sysent[400]
