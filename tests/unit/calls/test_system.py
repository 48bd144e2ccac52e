"""Limits, scheduling, names, random numbers, thread-local storage."""

from __future__ import annotations

import struct

import pytest

from ring3.abi import x86
from ring3.abi.procrecords import Rlimits, SignalfdInfo, SystemInfo
from ring3.abi.signals import SI_TIMER, SigInfo
from ring3.calls import shown
from ring3.calls.trap import serve
from ring3.errors import E2BIG, EACCES, EFAULT, EINVAL, ENODEV, ENOSYS, EOPNOTSUPP, EPERM, ESRCH, Errno
from ring3.machine.scripted import call
from ring3.personality.linux.layouts_process import LAYOUTS32, LAYOUTS64
from ring3.proc.cred import Cred
from ring3.proc.proc import RLIM_INFINITY
from tests.unit.calls.stage import NUMBERS64, Guest, Stage, stage

__all__ = ["stage"]

USER = Cred(1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000)


@pytest.fixture
def g(stage: Stage) -> Guest:
    return stage.guest()


class TestLimits:
    def test_get_and_set(self, g: Guest) -> None:
        addr = g.room(16)
        g.call("getrlimit", 7, addr)
        assert struct.unpack("<QQ", g.get(addr, 16)) == (1024, 4096)
        g.call("setrlimit", 3, g.words(1 << 20, RLIM_INFINITY))
        assert g.p.vm.stack_limit == 1 << 20
        g.call("prlimit64", 0, 7, g.words(10, 20), addr)
        assert struct.unpack("<QQ", g.get(addr, 16)) == (1024, 4096)
        assert g.p.rlimits[7] == (10, 20)

    def test_refusals(self, g: Guest) -> None:
        for args in ((16, g.words(1, 2)), (7, g.words(3, 2))):
            with pytest.raises(EINVAL):
                g.call("setrlimit", *args)
        with pytest.raises(EPERM):
            g.call("setrlimit", 7, g.words(1, 1 << 30))
        with pytest.raises(EFAULT):
            g.call("setrlimit", 99, 0x10)
        with pytest.raises(ESRCH):
            g.call("prlimit64", 9999, 7, 0, 0)
        g.p.cred = USER
        with pytest.raises(EPERM):
            g.call("setrlimit", 7, g.words(1, 5000))
        g.call("setrlimit", 7, g.words(1, 5))
        with pytest.raises(EPERM):
            g.call("setrlimit", 7, g.words(1, 6))

    def test_others(self, stage: Stage, g: Guest) -> None:
        other = stage.guest()
        assert g.call("prlimit64", other.p.pid, 7, g.words(5, 6), 0) == 0
        assert other.p.rlimits[7] == (5, 6)
        g.p.cred = USER
        with pytest.raises(EPERM):
            g.call("prlimit64", other.p.pid, 7, 0, g.room(16))

    def test_i386_has_two_infinities(self, g: Guest) -> None:
        addr = g.room(8)
        g.call32("getrlimit", 3, addr)
        assert struct.unpack("<II", g.get(addr, 8)) == (0x7FFFFFFF, 0x7FFFFFFF)
        g.call32("ugetrlimit", 3, addr)
        assert struct.unpack("<II", g.get(addr, 8)) == (0xFFFFFFFF, 0xFFFFFFFF)
        g.call32("setrlimit", 3, addr)
        assert g.p.rlimits[3] == (RLIM_INFINITY, RLIM_INFINITY)


class TestScheduling:
    def test_nice(self, g: Guest) -> None:
        assert g.call("getpriority", 0, 0) == 20
        g.call("setpriority", 0, 0, 100)
        assert g.call("getpriority", 0, 0) == 1
        g.p.cred, g.p.rlimits[13] = USER, (0, 0)
        with pytest.raises(EACCES):
            g.call("setpriority", 0, 0, 0)
        with pytest.raises(EINVAL):
            g.call("getpriority", 9, 0)
        with pytest.raises(ESRCH):
            g.call("getpriority", 1, 9999)

    def test_policies_are_kept(self, g: Guest) -> None:
        param = g.put(struct.pack("<i", 5))
        assert g.call("sched_setscheduler", 0, 1, param) == 0
        assert g.call("sched_getscheduler", 0) == 1
        got = g.room(4)
        g.call("sched_getparam", 0, got)
        assert g.int32(got) == 5
        assert [g.call("sched_get_priority_max", policy) for policy in (0, 1, 2)] == [0, 99, 99]
        for args in ((0, 9, param), (0, 0, param), (-1, 1, param), (0, 1, 0)):
            with pytest.raises(EINVAL):
                g.call("sched_setscheduler", *args)
        with pytest.raises(ESRCH):
            g.call("sched_getscheduler", 9999)
        g.p.cred, g.p.rlimits[14] = USER, (0, 0)
        g.t.sched = None
        with pytest.raises(EPERM):
            g.call("sched_setscheduler", 0, 1, param)

    def test_attributes(self, g: Guest) -> None:
        attr = g.room(56)
        assert g.call("sched_getattr", 0, attr, 56, 0) == 0
        assert g.int32(attr) == 56
        g.p.vm.copyout(attr, struct.pack("<IIQiIQQQII", 56, 0, 0, 7, 0, 0, 0, 0, 0, 0))
        g.call("sched_setattr", 0, attr, 0)
        assert g.p.nice == 7
        g.p.vm.copyout(attr, struct.pack("<I", 8))
        with pytest.raises(E2BIG):
            g.call("sched_setattr", 0, attr, 0)
        assert g.int32(attr) == 56

    def test_affinity(self, stage: Stage) -> None:
        stage = Stage(ncpus=4)
        g = stage.guest()
        mask = g.words(0xFF, 0)
        assert g.call("sched_getaffinity", 0, 16, mask) == 8
        assert g.word(mask) == 0xF
        g.call("sched_setaffinity", 0, 8, g.words(0b110110))
        g.call("sched_getaffinity", 0, 8, mask)
        assert g.word(mask) == 0b110
        cpu = g.room(4)
        g.call("getcpu", cpu, 0, 0)
        assert g.int32(cpu) == 1
        for args in ((0, 7, mask), (0, 0, mask)):
            with pytest.raises(EINVAL):
                g.call("sched_getaffinity", *args)
        with pytest.raises(EINVAL):
            g.call("sched_setaffinity", 0, 8, g.words(0b110000))
        with pytest.raises(ESRCH):
            g.call("sched_setaffinity", 9999, 8, g.words(1))
        stage.close()


class TestNames:
    def test_uname(self, stage: Stage, g: Guest) -> None:
        addr = g.room(390)
        g.call("uname", addr)
        fields = [g.get(addr + 65 * i, 65).rstrip(b"\0") for i in range(6)]
        assert fields[0] == b"Linux"
        assert fields[1] == b"ring3"
        assert fields[4] == b"x86_64"
        g.call("personality", 8)
        g.call("uname", addr)
        assert g.get(addr + 260, 5) == b"i686\0"
        g.call("sethostname", g.put(b"other"), 5)
        assert stage.system.hostname == b"other"
        for length in (-1, 65):
            with pytest.raises(EINVAL):
                g.call("sethostname", addr, length)
        g.p.cred = USER
        with pytest.raises(EPERM):
            g.call("sethostname", 0x10, 99)

    def test_personality(self, g: Guest) -> None:
        assert g.call("personality", 0x0040000) == 0
        assert g.call("personality", 0xFFFFFFFF) == 0x0040000

    def test_sysinfo(self, g: Guest) -> None:
        addr = g.room(112)
        assert g.call("sysinfo", addr) == 0
        assert g.word(addr + 32) > 1 << 20
        assert g.int32(addr + 104) == 1
        small = LAYOUTS32[SystemInfo].encode(SystemInfo(1, 2, 3, 4, 8 << 30, 4 << 30, 0, 0, 0, 0, 5, 0, 0))
        assert struct.unpack_from("<II", small, 16) == (8 << 18, 4 << 18)
        assert struct.unpack_from("<I", small, 52) == (4096,)


class TestRandom:
    def test_bytes(self, g: Guest) -> None:
        addr = g.room(64)
        assert g.call("getrandom", addr, 32, 0) == 32
        assert g.get(addr, 32) != bytes(32)
        assert g.call("getrandom", addr, 0, 1) == 0
        for flags in (8, 6):
            with pytest.raises(EINVAL):
                g.call("getrandom", addr, 1, flags)
        with pytest.raises(EFAULT):
            g.call("getrandom", 0x10, 1, 0)

    def test_a_seed_repeats(self) -> None:
        seen = []
        for _ in range(2):
            stage = Stage()
            g = stage.guest()
            addr = g.room(16)
            g.call("getrandom", addr, 16, 0)
            seen.append(g.get(addr, 16))
            stage.close()
        assert seen[0] == seen[1]

    def test_a_large_one_lets_others_have_their_turn(self, g: Guest) -> None:
        line = g.sleep("getrandom", 0x10_0000, 600_000, 0)
        assert line.time_out() is None
        assert line.time_out() == 600_000


class TestThreadLocalStorage:
    def test_bases(self, g: Guest) -> None:
        g.call("arch_prctl", 0x1002, 0x7000)
        g.call("arch_prctl", 0x1001, 0x8000)
        assert (g.t.cpu.regs[x86.FS_BASE], g.t.cpu.regs[x86.GS_BASE]) == (0x7000, 0x8000)
        addr = g.room(8)
        g.call("arch_prctl", 0x1003, addr)
        assert g.word(addr) == 0x7000
        with pytest.raises(EPERM):
            g.call("arch_prctl", 0x1002, 1 << 47)
        for code in (0x3001, 0x1000, 0):
            with pytest.raises(EINVAL):
                g.call("arch_prctl", code, 0)
        with pytest.raises(ENODEV):
            g.call("arch_prctl", 0x1012, 0)
        with pytest.raises(EOPNOTSUPP):
            g.call("arch_prctl", 0x1023, 18)
        assert g.call("arch_prctl", 0x1011, 0) == 1

    def test_slots(self, g: Guest) -> None:
        desc = g.put(struct.pack("<IIII", 0xFFFFFFFF, 0x5000, 0xFFFFF, 0x51))
        g.call32("set_thread_area", desc)
        assert g.int32(desc) == 12
        assert list(g.t.tls_slots) == [12]
        g.p.vm.copyout(desc + 4, bytes(12))
        g.call32("get_thread_area", desc)
        assert struct.unpack("<IIII", g.get(desc, 16)) == (12, 0x5000, 0xFFFFF, 0x51)
        for _ in range(2):
            g.call32("set_thread_area", g.put(struct.pack("<IIII", 0xFFFFFFFF, 0, 0, 0x51)))
        with pytest.raises(ESRCH):
            g.call32("set_thread_area", g.put(struct.pack("<IIII", 0xFFFFFFFF, 0, 0, 0x51)))
        g.call32("set_thread_area", g.put(struct.pack("<IIII", 13, 0, 0, 0x28)))
        assert list(g.t.tls_slots) == [12, 14]

    @pytest.mark.parametrize(("entry", "flags"), [(5, 0x51), (12, 0x50), (12, 0x57), (12, 0x71)])
    def test_bad_slots(self, g: Guest, entry: int, flags: int) -> None:
        with pytest.raises(EINVAL):
            g.call32("set_thread_area", g.put(struct.pack("<IIII", entry, 1, 1, flags)))


@pytest.mark.parametrize(("name", "args", "refusal"), [
    ("rseq", (0, 0, 0, 0), ENOSYS), ("acct", (0,), EPERM), ("reboot", (0, 0, 0, 0), EPERM), ("iopl", (4,), EINVAL),
    ("iopl", (3,), EPERM), ("syslog", (2, 0, 0), EPERM), ("membarrier", (1, 0, 0), EINVAL), ("pkey_free", (1,), EINVAL),
])
def test_refusals(g: Guest, name: str, args: tuple[int, ...], refusal: type[Errno]) -> None:
    with pytest.raises(refusal):
        g.call(name, *args)
    assert not g.t.system.missing_calls


def test_a_call_nobody_wrote_is_counted(stage: Stage) -> None:
    def script(g: Guest) -> object:
        assert (yield call(NUMBERS64["bpf"], 0, 0, 0)) == -38
        assert (yield call(4000)) == -38
        yield g("exit_group", 0)

    assert stage.run(script) == [0]  # type: ignore[arg-type]
    assert stage.system.missing_calls == {"bpf": 1, "number 4000": 1}
    assert stage.system.scheduler.serve is serve


class TestLayouts:
    def test_both_systems_have_the_same_records(self) -> None:
        assert LAYOUTS32.keys() == LAYOUTS64.keys()

    def test_every_layout_has_the_size_it_says(self) -> None:
        for layouts in (LAYOUTS64, LAYOUTS32):
            for info in (SigInfo(10), SigInfo(17, 1, pid=5, status=3), SigInfo(11, 1, addr=1 << 63), SigInfo(34, -1, value=-1),
                         SigInfo(34, SI_TIMER, timer_id=1, overrun=2, value=3), SigInfo(29, 2, band=1, fd=4),
                         SigInfo(31, 1, syscall=9)):
                assert len(layouts[SigInfo].encode(info)) == 128
                assert len(layouts[SignalfdInfo].encode(info)) == 128

    def test_siginfo_members(self) -> None:
        data = LAYOUTS64[SigInfo].encode(SigInfo(17, 1, pid=5, uid=6, status=7, utime=8, stime=9))
        assert struct.unpack("<iiixxxxiIixxxxqq", data[:48]) == (17, 0, 1, 5, 6, 7, 8, 9)
        data = LAYOUTS32[SigInfo].encode(SigInfo(17, 1, pid=5, uid=6, status=7, utime=8, stime=9))
        assert struct.unpack("<iiiiIiii", data[:32]) == (17, 0, 1, 5, 6, 7, 8, 9)
        data = LAYOUTS64[SigInfo].encode(SigInfo(31, 1, addr=0x1234, syscall=5, arch=0xC000003E))
        assert struct.unpack("<QiI", data[16:32]) == (0x1234, 5, 0xC000003E)


def test_what_strace_shows() -> None:
    assert shown.rlimits(Rlimits(8192 * 1024, RLIM_INFINITY)) == "{rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}"
    assert shown.sig_info(SigInfo(11, 1, addr=0x10)) == "{si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=0x10}"
    assert shown.sig_info(SigInfo(17, 2, pid=5, uid=6, status=9)) == (
        "{si_signo=SIGCHLD, si_code=CLD_KILLED, si_pid=5, si_uid=6, si_status=SIGKILL, si_utime=0, si_stime=0}"
    )
    assert shown.wait_status(0x137F) == "[{WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP}]"
