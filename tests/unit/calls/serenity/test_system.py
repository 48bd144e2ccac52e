"""Jails, the kernel's log, profiles and clocks: what the guest programs cannot see from inside, and bounds."""

from __future__ import annotations

import struct

import pytest

from ring3.calls.serenity import profiling
from ring3.proc import jails, profile
from ring3.proc.lifecycle import disown
from ring3.proc.proc import Proc
from tests.unit.calls.serenity.guest import SerenityGuest, serenity_guest
from tests.unit.calls.stage import Stage

CREATE, SLEEP = "<QQQ", "<iIQQ"


# --- jails
def jail(g: SerenityGuest, name: str) -> int:
    addr = g.params(CREATE, 0, name)
    g.call("jail_create", addr)
    (index,) = struct.unpack("<Q", g.p.vm.copyin(addr, 8))
    return int(index)


def test_there_is_a_bound_on_jails(g: SerenityGuest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jails, "JAILS_MAX", 2)
    assert [jail(g, "one"), jail(g, "two")] == [0, 1]
    assert g.refusal("jail_create", g.params(CREATE, 0, "three")) == "ENOMEM"
    assert [repr(found) for found in g.p.system.jails] == ["<Jail 0 b'one'>", "<Jail 1 b'two'>"]


def test_who_is_outside_sees_inside(g: SerenityGuest, stage: Stage) -> None:
    other = serenity_guest(stage)
    index = jail(g, "cage")
    assert other.call("jail_attach", other.params("<Q", index)) == 0
    assert g.call("kill", other.p.pid, 0) == 0
    assert other.refusal("kill", g.p.pid, 0) == "ESRCH"
    assert other.refusal("profiling_disable", g.p.pid) == "ESRCH"
    assert g.call("jail_attach", g.params("<Q", jail(g, "another"))) == 0
    assert g.refusal("kill", other.p.pid, 0) == "ESRCH"


# --- the kernel's log
def test_the_log_hears_who_and_what(g: SerenityGuest) -> None:
    heard: list[tuple[int, bytes]] = []

    def listen(p: Proc, text: bytes) -> None:
        heard.append((p.pid, text))

    assert g.call("dbgputstr", "nobody listens") == 14
    g.p.system.on_debug = listen
    g.call("dbgputstr", b"one\0two")
    g.call("dbgputstr", "", 0)
    g.call("dbgputstr", b"long\0" + b"x" * 2000)
    assert heard == [(g.p.pid, b"one\0two"), (g.p.pid, b"long")]
    assert g.refusal("dbgputstr", 0x1000, 1 << 21) == "ENOMEM", "nothing is copied before the size is looked at"
    heard.clear()
    g.call("dump_backtrace")
    assert heard[0][1].startswith(b"backtrace: 0x")


# --- profiles
def test_a_profile_has_room_for_so_much(g: SerenityGuest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "EVENTS_MAX", 2)
    monkeypatch.setattr(profile, "STRINGS_MAX", 1)
    g.call("profiling_enable", g.p.pid, g.put(struct.pack("<Q", (1 << 64) - 1)))
    assert [g.call("perf_event", 1 << 15, 0, 0) for _ in range(2)] == [0, 0]
    assert g.refusal("perf_event", 1 << 15, 0, 0) == "ENOBUFS"
    for unknown in (0x8000_0000, 1 << 17, 3):
        assert g.refusal("perf_event", unknown, 0, 0) == "EINVAL"
    assert g.call("perf_event", 0, 0, 0) == 0, "no type at all matches no mask"
    assert g.call("perf_register_string", "a") == 0
    assert g.refusal("perf_register_string", "b") == "ENOBUFS"
    assert g.refusal("perf_register_string", 0x1000, profiling.STRING_MAX + 1) == "ENOMEM"


def test_profiling_everybody_takes_root(g: SerenityGuest) -> None:
    mask = g.put(struct.pack("<Q", 1))
    g.call("profiling_enable", -1, mask)
    assert g.p.system.profile.running
    g.p.cred = g.p.cred._replace(ruid=7, euid=7, suid=7, fsuid=7)
    for name, args in (("profiling_enable", (-1, mask)), ("profiling_disable", (-1,)), ("profiling_free_buffer", (-1,))):
        assert g.refusal(name, *args) == "EPERM"


def test_the_dead_are_not_profiled(g: SerenityGuest) -> None:
    from ring3.abi.flags import CloneFlags
    from ring3.proc.lifecycle import exit_process, fork_process

    child = fork_process(g.t, CloneFlags(0), 17).proc
    exit_process(child, 0)
    assert child.zombie
    assert g.refusal("profiling_enable", child.pid, g.put(bytes(8))) == "ESRCH"
    disown(child)


# --- clocks
@pytest.mark.parametrize(("seconds", "ns"), [(-1, 0), (0, -1), (-(1 << 63), -(1 << 63)), (0, 0)])
def test_a_sleep_that_is_over_before_it_begins(g: SerenityGuest, seconds: int, ns: int) -> None:
    for clock, flags in ((1, 0), (0, 99), (3, 99)):
        assert g.call("clock_nanosleep", g.params(SLEEP, clock, flags, g.put(struct.pack("<qq", seconds, ns)), 0)) == 0


def test_a_sleep_without_end_is_one(g: SerenityGuest) -> None:
    longest = g.put(struct.pack("<qq", (1 << 63) - 1, (1 << 63) - 1))
    g.sleep("clock_nanosleep", g.params(SLEEP, 1, 0, longest, 0))
    g.sleep("clock_nanosleep", g.params(SLEEP, 0, 99, longest, 0))


def test_sizes_of_structs(g: SerenityGuest) -> None:
    from ring3.abi.procrecords import Rusage, Tms, Utsname
    from ring3.abi.records import Timespec, Timeval

    layouts = g.t.abi.layouts
    assert [layouts[record].size for record in (Timespec, Timeval, Rusage, Tms, Utsname)] == [16, 16, 144, 16, 325]
    assert layouts[Timeval].decode(layouts[Timeval].encode(-1)) == -1000, "rounded down, as everywhere"
    assert len(layouts[Utsname].encode(Utsname(b"x" * 99, b"", b"", b"", b"", b""))) == 325
    assert layouts[Rusage].encode(Rusage(1_500_000_000, 0))[:16] == struct.pack("<qi4x", 1, 500_000)


def test_shown(g: SerenityGuest) -> None:
    assert g.show("clock_gettime", 1, 0) == "clock_gettime(CLOCK_MONOTONIC, NULL)"
    request = g.put(struct.pack("<qq", 1, 5))
    shown = g.show("clock_nanosleep", g.params(SLEEP, 0, 99, request, 0))
    assert shown.startswith("clock_nanosleep({clock=CLOCK_REALTIME, flags=TIMER_ABSTIME, requested={tv_sec=1, tv_nsec=5}")
    assert g.show("sysconf", 8) == "sysconf(_SC_CLK_TCK)"
    assert g.show("prctl", 1, 0, 0) == "prctl(PR_SET_DUMPABLE, 0, 0)"
    assert g.show("jail_create", g.params(CREATE, 0, "cage")) == 'jail_create({jail_index=0, name="cage"})'
