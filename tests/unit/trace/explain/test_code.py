"""The first instructions: the bytes a plan puts there, and their words."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ring3.exec.plan import ExecPlan, VMCmd
from ring3.trace.explain.code import Instruction, first_bytes, instructions
from tests.unit.exec.images import BASE, CODE, EXIT_42, program
from tests.unit.trace.explain.guest import Guest

if TYPE_CHECKING:
    import pytest

START = BASE + CODE


def planned(guest: Guest, machine: int = 62) -> ExecPlan:
    guest.file("/program", program(machine=machine))
    plan = guest.explain("/program").plan
    assert plan is not None
    return plan


def first(plan: ExecPlan, most: int) -> tuple[Instruction, ...]:
    return instructions(first_bytes(plan), plan.start, plan.arch, most)


def test_words(guest: Guest) -> None:
    start, *rest = first(planned(guest), 4)
    assert start == Instruction(START, bytes.fromhex("bf2a000000"), "mov edi, 0x2a")
    assert [line.text for line in rest] == ["mov eax, 0x3c", "syscall", "int3"]
    assert [line.address for line in rest] == [START + 5, START + 10, START + 12]


def test_words_of_an_i386_program(guest: Guest) -> None:
    lines = first(planned(guest, machine=3), 3)
    assert [line.text for line in lines] == ["mov ebx, 0x2a", "mov eax, 1", "int 0x80"]


def test_without_capstone_there_are_none(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "capstone", None)
    assert first(planned(guest), 4) == ()


def test_bytes_that_are_no_instruction_end_the_list(guest: Guest) -> None:
    plan = planned(guest)
    plan = plan._replace(vmcmds=(*plan.vmcmds, VMCmd("write", START, 3, data=b"\x90\x06\x06")))
    assert [line.text for line in first(plan, 4)] == ["nop"]


def test_a_later_command_covers_an_earlier_one(guest: Guest) -> None:
    plan = planned(guest)
    assert first_bytes(plan, 8) == EXIT_42[62][:8]
    zeroed = plan._replace(vmcmds=(*plan.vmcmds, VMCmd("zero", START, 4)))
    assert first_bytes(zeroed, 8) == bytes(4) + EXIT_42[62][4:8]
    written = plan._replace(vmcmds=(*plan.vmcmds, VMCmd("write", START, 2, data=b"\xf4\xf4")))
    assert first_bytes(written, 8) == b"\xf4\xf4" + EXIT_42[62][2:8]


def test_nothing_where_nothing_is(guest: Guest) -> None:
    plan = planned(guest)._replace(start=0x10)
    assert first_bytes(plan, 8) == b""
    assert first(plan, 8) == ()


def test_an_explanation_keeps_them(guest: Guest) -> None:
    guest.file("/program", program())
    explanation = guest.explain("/program")
    assert explanation.code.startswith(EXIT_42[62])
    assert "mov edi, 0x2a" in explanation.text(everything=True)
    assert "mov edi, 0x2a" not in explanation.text()
    assert "mov edi, 0x2a" in explanation.html()
    assert explanation.as_dict()["plan"]["code"] == {"address": hex(START), "bytes": explanation.code.hex()}


def test_bytes_alone_say_what_is_missing(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "capstone", None)
    guest.file("/program", program())
    text = guest.explain("/program").text(everything=True)
    assert "bf 2a 00 00 00 b8" in text
    assert "ring3[disassembly]" in text
