"""kern.proc2, kern.lwp, vm.proc.map, kern.proc_args, kern.cp_time: arrays about processes, and what a hostile caller may not."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest

from ring3.abi.netbsd.kinfo import KINFO_LWP, KINFO_PROC2, KINFO_VMENTRY, UVMEXP2, VMTOTAL
from ring3.calls.netbsd.sysctlproc import CURPROC
from ring3.errors import EINVAL, ENOENT, ENOMEM, ENOSPC, EPERM, ESRCH, Errno
from ring3.vm.region import PAGE
from tests.unit.calls.netbsd.netguest import NetbsdGuest, another_lwp, netbsd32_guest, netbsd_guest
from tests.unit.calls.netbsd.test_sysctl import NODE, ask
from tests.unit.calls.stage import Stage, stage

__all__ = ["stage"]

ALL, PID, PGRP, UID = 0, 1, 2, 5
SIZE = KINFO_PROC2.form.size


@pytest.fixture
def g(stage: Stage) -> NetbsdGuest:
    """A process of root's."""
    return netbsd_guest(stage)


def member(data: bytes, at: int, code: str) -> int:
    """One number of a struct."""
    return int(struct.unpack_from("<" + code, data, at)[0])


def test_sizes_are_those_of_the_headers() -> None:
    assert [s.form.size for s in (KINFO_PROC2, KINFO_LWP, KINFO_VMENTRY, UVMEXP2, VMTOTAL)] == [680, 128, 1128, 712, 48]
    places = KINFO_PROC2.pack({"pid": 7, "comm": b"name", "uvalid": 9, "vm_rssize": 11, "nlwps": 13, "ename": b"netbsd", "stat": 3})
    assert [member(places, at, "i") for at in (116, 432, 448, 616)] == [7, 11, 9, 13]
    assert (places[368:372], places[648:654], places[360]) == (b"name", b"netbsd", 3)
    lwp = KINFO_LWP.pack({"name": b"worker", "stat": 2, "pid": 5})
    assert (lwp[108:114], lwp[58], lwp[104]) == (b"worker", 2, 5)
    with pytest.raises(KeyError):
        KINFO_LWP.pack({"nobody": 1})


def test_ones_own_process(g: NetbsdGuest) -> None:
    data = ask(g, 1, 47, PID, g.p.pid, SIZE, 1)
    assert len(data) == SIZE
    assert [member(data, at, "i") for at in (116, 124, 128)] == [g.p.pid, g.p.session.sid, g.p.pgrp]
    assert data[648:655] == b"netbsd\0"
    assert data[360] in (2, 3)


def test_all_of_them_and_no_more_than_asked_for(g: NetbsdGuest, stage: Stage) -> None:
    other = netbsd_guest(stage)
    pids = {member(data, 116, "i") for data in (ask(g, 1, 47, PID, p.pid, SIZE, 1) for p in (g.p, other.p))}
    assert pids == {g.p.pid, other.p.pid}
    everybody = ask(g, 1, 47, ALL, 0, SIZE, 99, room=8192)
    assert len(everybody) >= 2 * SIZE
    assert len(everybody) % SIZE == 0
    with pytest.raises(ENOMEM):
        ask(g, 1, 47, ALL, 0, SIZE, 1)
    assert ask(g, 1, 47, PID, 29999, SIZE, 1) == b""


def test_a_struct_is_cut_or_filled_to_the_callers_size(g: NetbsdGuest) -> None:
    assert ask(g, 1, 47, PID, g.p.pid, 120, 1) == ask(g, 1, 47, PID, g.p.pid, SIZE, 1)[:120]
    longer = ask(g, 1, 47, PID, g.p.pid, SIZE + 24, 1)
    assert longer[SIZE:] == bytes(24)
    assert len(ask(g, 1, 47, PID, g.p.pid, (1 << 31) - 1, 1, room=2048)) == 2 * SIZE


def test_how_much_room_to_make(g: NetbsdGuest) -> None:
    length = g.words(0)
    g.call("__sysctl", g.put(struct.pack("<6i", 1, 47, ALL, 0, SIZE, 0)), 6, 0, length, 0, 0)
    assert g.word(length) >= 6 * SIZE


@pytest.mark.parametrize(("mib", "refusal"), [
    ((1, 47), EINVAL), ((1, 47, 0, 0, SIZE), EINVAL), ((1, 47, 9, 0, SIZE, 1), EINVAL), ((1, 47, 0, 0, 0, 1), EINVAL),
    ((1, 47, 0, 0, SIZE, -8), EINVAL), ((1, 64, -1, 128), EINVAL), ((1, 64, 29999, 128, 1), ESRCH), ((2, 16, 1, -1, 5), EINVAL),
    ((2, 16, 1, 29999, 1128), ESRCH), ((2, 16, 9), ENOENT), ((1, 51, 99999), EINVAL), ((1, 51, 0, 0), EINVAL),
])
def test_refusals(g: NetbsdGuest, mib: tuple[int, ...], refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        ask(g, *mib)


def test_nothing_of_it_is_set(g: NetbsdGuest) -> None:
    for mib in ((1, 47, 0, 0, SIZE, 1), (1, 64, -1, 128, 9), (2, 16, 1, -1, 1128)):
        with pytest.raises(EPERM):
            ask(g, *mib, new=b"x")


def test_lwps(g: NetbsdGuest) -> None:
    another_lwp(g)
    data = ask(g, 1, 64, g.p.pid, 128, 9)
    assert [member(data, at, "i") for at in (32, 160)] == [1, 2]
    assert [member(data, at, "I") for at in (104, 232)] == [g.p.pid] * 2


def test_a_map(g: NetbsdGuest) -> None:
    g.room(PAGE)
    data = ask(g, 2, 16, 1, -1, 1128, room=8192)
    first = g.p.vm.regions[0]
    assert struct.unpack_from("<QQ", data) == (first.start, first.end)
    assert member(data, 48, "I") == first.prot


def test_processors(g: NetbsdGuest) -> None:
    assert len(ask(g, 1, 51)) == len(ask(g, 1, 51, 0)) == 40
    assert len(ask(g, 1, 79)) == 8 * g.p.system.facts.ncpus
    hz, tick = struct.unpack_from("<ii", ask(g, 1, 12))
    assert hz * tick == 1_000_000


# --- strings
def strings(g: NetbsdGuest, *words: bytes, count: int | None = None) -> None:
    """ps_strings that name these arguments."""
    wide = g.t.abi.word_size
    pointers = [g.put(word + b"\0") for word in words]
    vector = g.put(struct.pack(f"<{len(words)}{'Q' if wide == 8 else 'I'}", *pointers))
    form = "<Qi4xQi4x" if wide == 8 else "<IiIi"
    g.p.vm.ps_strings = g.put(struct.pack(form, vector, len(words) if count is None else count, vector, 0))


def test_arguments_are_where_the_program_says(g: NetbsdGuest) -> None:
    strings(g, b"sshd: somebody", b"[priv]")
    assert ask(g, 1, 48, g.p.pid, 1) == b"sshd: somebody\0[priv]\0"
    assert ask(g, 1, 48, g.p.pid, 2) == (2).to_bytes(4, "little")
    assert ask(g, 1, 48, g.p.pid, 4) == bytes(4)
    assert ask(g, 1, 48, g.p.pid, 1, room=5) == b"sshd:"


def test_narrow_pointers_are_followed(stage: Stage) -> None:
    g = netbsd32_guest(stage)
    strings(g, b"narrow")
    assert ask(g, 1, 48, g.p.pid, 1) == b"narrow\0"


def test_ps_strings_that_lie(g: NetbsdGuest) -> None:
    strings(g, b"one", count=(1 << 31) - 1)
    assert ask(g, 1, 48, g.p.pid, 1) == b"one\0"                # up to the first null
    strings(g, b"one", count=-5)
    assert ask(g, 1, 48, g.p.pid, 1) == b""
    assert ask(g, 1, 48, g.p.pid, 2) == (-5 & 0xFFFF_FFFF).to_bytes(4, "little")
    g.p.vm.ps_strings = 8
    assert ask(g, 1, 48, g.p.pid, 1) == b""


def test_how_long_arguments_may_be(g: NetbsdGuest) -> None:
    strings(g, b"one")
    length = g.words(0)
    g.call("__sysctl", g.put(struct.pack("<4i", 1, 48, g.p.pid, 1)), 4, 0, length, 0, 0)
    assert g.word(length) == 262144


def test_where_it_is(g: NetbsdGuest) -> None:
    assert ask(g, 1, 48, -1, 6) == b"/\0"
    with pytest.raises(ENOSPC):
        ask(g, 1, 48, -1, 6, room=1)
    with pytest.raises(EINVAL):
        ask(g, 1, 48, -1, 6, new=b"x")


def test_the_present_process_by_name(g: NetbsdGuest) -> None:
    query = NODE.pack(0x0100_0000, 0, b"", 0, 0, b"", 0)
    found = {row[2].rstrip(b"\0"): row[1] for row in NODE.iter_unpack(ask(g, 10, CURPROC, 2, -2, room=8000, new=query))}
    assert found[b"descriptors"] == 9
    assert ask(g, 10, CURPROC, 2, 9, 1) == ask(g, 10, g.p.pid, 2, 9, 1)
    assert {row[2].rstrip(b"\0") for row in NODE.iter_unpack(ask(g, 10, -2, new=query))} == {b"curproc"}
    assert ask(g, 10, CURPROC, 6) == g.p.pax.to_bytes(4, "little")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("make", [netbsd_guest, netbsd32_guest])
def test_names_nobody_would_ask_for(stage: Stage, seed: int, make: Callable[[Stage], NetbsdGuest]) -> None:
    """An answer or a refusal, whatever the numbers, the room and the new value."""
    dice = random.Random(seed)
    g = make(stage)
    numbers = (0, 1, 2, 5, 7, 10, 16, 47, 48, 51, 64, 81, -1, -2, -3, -7, CURPROC, (1 << 31) - 1, -(1 << 31))
    likely = (0, 1, 1, 2, 5, -1, g.p.pid, g.p.pid, SIZE, 128, 1128)
    heads = (((), 2), ((1, 47), 4), ((1, 48), 2), ((1, 64), 3), ((1, 51), 1), ((2, 16, 1), 2), ((10, CURPROC, 2), 2))
    old, length = g.room(8192), g.words(0)
    answered = 0
    for _ in range(1500):
        head, rest = dice.choice(heads)
        mib = head + tuple(dice.choice(likely if dice.random() < 0.8 else numbers) for _ in range(rest + (dice.random() < 0.1)))
        g.p.vm.copyout(length, dice.choice((0, 3, 40, 700, 8192, (1 << 32) - 1)).to_bytes(8, "little"))
        name = g.put(struct.pack(f"<{len(mib)}i", *mib))
        new = dice.choice((0, 0, 0, old, 8))
        try:
            g.call("__sysctl", name, len(mib), dice.choice((0, old, 8)), length, new, dice.choice((0, 4, 96, 300)))
        except Errno:
            continue
        answered += 1
    assert answered > 40
