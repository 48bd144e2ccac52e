"""Names of calls: every system's are known, what is none is refused with what was probably meant."""

from __future__ import annotations

import pytest

from ring3.abi.callnames import TABLES, check_call_name
from ring3.abi.table import read_table


@pytest.mark.parametrize("table", TABLES)
def test_every_systems_calls_are_known(table: str) -> None:
    for name in list(read_table(table).values())[::25]:
        check_call_name(name)


def test_a_number_nobody_has_is_a_name() -> None:
    check_call_name("syscall_0x1ff")


@pytest.mark.parametrize(("name", "says"), [
    ("opnat", "did you mean openat"), ("file,!x", "no system"), ("zzzzzzzz", "no system has a call 'zzzzzzzz'$"), ("", "''"),
])
def test_others_are_none(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_call_name(name)
