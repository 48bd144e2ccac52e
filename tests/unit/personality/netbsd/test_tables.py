"""NetBSD's index says what its modules say; every call has a number, every parameter a kind, every refusal a number."""

from __future__ import annotations

import pytest

from ring3 import errors
from ring3.abi.table import read_pairs, read_table
from ring3.abi.x86 import Arch
from ring3.errors import EINVAL, Errno
from ring3.personality.netbsd import amd64_abi, errno_numbers, i386_abi
from ring3.personality.netbsd.tables import ERROR_RESULTS, INDEX, RESTART_NAME, SHARED, declared

ABIS = {Arch.X86_64: amd64_abi, Arch.I386: i386_abi}


@pytest.mark.parametrize("arch", list(Arch))
def test_the_index_is_what_the_modules_declare(arch: Arch) -> None:
    assert read_pairs(INDEX[arch]) == declared(arch), "run scripts/index_calls.py"


def test_every_call_has_a_number() -> None:
    numbered = set(read_table("netbsd/amd64").values()) | {RESTART_NAME}
    assert {name for arch in Arch for name in declared(arch)} <= numbered
    assert set(read_pairs(SHARED)) <= numbered
    assert numbered >= ERROR_RESULTS
    assert set(read_pairs("netbsd/pads")) <= numbered


@pytest.mark.parametrize("arch", list(Arch))
def test_every_row_binds(arch: Arch) -> None:
    sysent = ABIS[arch]().sysent
    sysent.bind_all()  # type: ignore[attr-defined]
    assert len(sysent) > 80
    for bound in sysent.values():
        assert bound.decoders is not None, f"{bound.name}: every parameter has a Kind"


def test_nine_bits_of_a_number_count() -> None:
    sysent = amd64_abi().sysent
    assert sysent[3 | 512] is sysent[3]
    assert sysent[3 | 0x4000_0000] is sysent[3]
    assert 3 | 512 not in sysent, "a hostile guest cannot fill the table"
    with pytest.raises(KeyError):
        sysent[511]


def test_every_refusal_has_a_number() -> None:
    numbers = errno_numbers()
    named = {name: number for number, name in read_table("netbsd/errno").items()}
    named["ENODATA"] = named["ENOATTR"]          # what says it here are extended attributes
    for name, found in vars(errors).items():
        if isinstance(found, type) and issubclass(found, Errno) and found is not Errno:
            assert numbers[found] == named.get(name, numbers[EINVAL])
    assert (numbers[errors.EAGAIN], numbers[errors.ENOSYS], numbers[errors.ELOOP]) == (35, 78, 62)


def test_the_table_has_the_numbers_programs_know() -> None:
    names = read_table("netbsd/amd64")
    known = {1: "exit", 59: "execve", 197: "mmap", 202: "__sysctl", 309: "_lwp_create", 390: "__getdents30", 449: "__wait450",
             478: "___lwp_park60"}
    assert {number: names[number] for number in known} == known
