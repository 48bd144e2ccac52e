"""NetBSD's ids, limits, priorities, clocks and names: where its answers are not Linux's."""

from __future__ import annotations

import struct

import pytest

from ring3.abi.records import Termios
from ring3.abi.signals import Signal
from ring3.calls.netbsd.ioctl import termios_inward, termios_outward
from ring3.errors import EACCES, EBADF, EFAULT, EFTYPE, EINVAL, ELOOP, ENOENT, EOPNOTSUPP, EPERM, ESRCH
from ring3.vfs import tty
from ring3.waiting import Interrupted
from tests.unit.calls.netbsd.netguest import NetbsdGuest, netbsd_guest
from tests.unit.calls.stage import Stage, stage

__all__ = ["stage"]
KEEP = (1 << 32) - 1


@pytest.fixture
def g(stage: Stage) -> NetbsdGuest:
    """A process of root's."""
    return netbsd_guest(stage)


def become(g: NetbsdGuest, ruid: int, euid: int, suid: int) -> None:
    """Take these ids."""
    g.p.cred = g.p.cred._replace(ruid=ruid, euid=euid, suid=suid, fsuid=euid)


def ids(g: NetbsdGuest) -> tuple[int, int, int]:
    """Real, effective, saved."""
    cred = g.p.cred
    return cred.ruid, cred.euid, cred.suid


class TestIds:
    @pytest.mark.parametrize(("before", "call", "args", "after"), [
        ((0, 0, 0), "setuid", (7,), (7, 7, 7)),
        ((7, 8, 9), "setuid", (7,), (7, 7, 7)),
        ((7, 8, 9), "setuid", (8,), None), ((7, 8, 9), "setuid", (9,), None),
        ((7, 8, 9), "seteuid", (9,), (7, 9, 9)), ((7, 8, 9), "seteuid", (7,), (7, 7, 9)), ((7, 8, 9), "seteuid", (5,), None),
        ((0, 0, 0), "setreuid", (KEEP, 5), (0, 5, 5)), ((0, 0, 0), "setreuid", (4, 5), (4, 5, 5)),
        ((7, 8, 9), "setreuid", (8, 7), (8, 7, 7)), ((7, 8, 9), "setreuid", (9, KEEP), None),
        ((7, 8, 9), "setreuid", (KEEP, 5), None),
        ((7, 8, 9), "setreuid", (KEEP, KEEP), (7, 8, 9)),
    ])
    def test_who_may_become_whom(
        self, g: NetbsdGuest, before: tuple[int, int, int], call: str, args: tuple[int, ...], after: tuple[int, int, int] | None
    ) -> None:
        become(g, *before)
        if after is None:
            with pytest.raises(EPERM):
                g.call(call, *args)
            assert ids(g) == before
        else:
            assert g.call(call, *args) == 0
            assert ids(g) == after

    def test_at_most_sixteen_groups(self, g: NetbsdGuest) -> None:
        assert g.call("setgroups", 2, g.put(struct.pack("<2I", 4, 5))) == 0
        assert g.call("getgroups", 0, 0) == 2
        for size in (17, -1, 1 << 30):
            with pytest.raises(EINVAL):
                g.call("setgroups", size, g.room(16))

    def test_login_names(self, g: NetbsdGuest) -> None:
        name = g.put(b"somebody\0")
        assert g.call("__setlogin", name) == 0
        out = g.room(32)
        assert g.call("__getlogin", out, 1 << 40) == 0
        assert g.get(out, 9) == b"somebody\0"
        with pytest.raises(EINVAL):
            g.call("__setlogin", g.put(b"x" * 17 + b"\0"))
        become(g, 5, 5, 5)
        with pytest.raises(EPERM):
            g.call("__setlogin", name)


class TestLimits:
    def test_numbers_are_netbsds(self, g: NetbsdGuest) -> None:
        g.p.rlimits[7], g.p.rlimits[6], g.p.rlimits[8] = (11, 12), (13, 14), (15, 16)
        out = g.room(16)
        for resource, limits in ((8, (11, 12)), (7, (13, 14)), (6, (15, 16)), (10, ((1 << 63) - 1,) * 2)):
            g.call("getrlimit", resource, out)
            assert struct.unpack("<QQ", g.get(out, 16)) == limits

    def test_its_own_are_kept(self, g: NetbsdGuest) -> None:
        g.call("setrlimit", 11, g.words(5, 6))
        out = g.room(16)
        g.call("getrlimit", 11, out)
        assert struct.unpack("<QQ", g.get(out, 16)) == (5, 6)
        become(g, 5, 5, 5)
        with pytest.raises(EPERM):
            g.call("setrlimit", 11, g.words(5, 7))
        for wrong in (12, -1):
            with pytest.raises(EINVAL):
                g.call("getrlimit", wrong, out)

    def test_priorities_are_told_as_they_are(self, g: NetbsdGuest) -> None:
        g.call("setpriority", 0, 0, -7)
        assert g.call("getpriority", 0, 0) == -7
        become(g, 5, 5, 5)
        with pytest.raises(EACCES):
            g.call("setpriority", 0, 0, -8)
        with pytest.raises(ESRCH):
            g.call("getpriority", 0, 29999)


class TestClocks:
    @pytest.mark.parametrize("clock", [0, 1, 2, 3, 0x4000_0000, 0x2000_0000])
    def test_they_go(self, g: NetbsdGuest, clock: int) -> None:
        out = g.room(16)
        assert g.call("__clock_gettime50", clock, out) == 0
        assert g.call("__clock_getres50", clock, out) == 0

    @pytest.mark.parametrize(("clock", "refusal"), [
        (4, EINVAL), (0x4000_0000 | 29999, ESRCH), (0x2000_0000 | 99, ESRCH), (0x6000_0000, EINVAL),
    ])
    def test_others_do_not(self, g: NetbsdGuest, clock: int, refusal: type[Exception]) -> None:
        with pytest.raises(refusal):
            g.call("__clock_gettime50", clock, g.room(16))

    def test_a_sleep_has_its_error_as_its_result(self, g: NetbsdGuest) -> None:
        assert g.trap(477, 99, 0, g.words(0, 0), 0) == (22, 0, False)
        assert g.trap(477, 3, 0, g.words(0, 0), 0) == (0, 0, False)


class TestNames:
    def make(self, g: NetbsdGuest, *names: bytes) -> None:
        """Directories."""
        for name in names:
            g.call("mkdir", g.put(name + b"\0"), 0o755)

    @pytest.mark.parametrize("link", [b"/link/", b"/link///"])
    def test_a_slash_behind_a_link_means_what_it_leads_to(self, g: NetbsdGuest, link: bytes) -> None:
        g.call("symlink", g.put(b"made\0"), g.put(b"/link\0"))
        self.make(g, link)
        fd = g.call("open", g.put(b"/made\0"), 0x200000, 0)
        assert g.call("rename", g.put(link + b"\0"), g.put(b"/moved\0")) == 0
        assert g.call("close", fd) == 0
        with pytest.raises(ENOENT):
            g.call("open", g.put(b"/made\0"), 0, 0)
        self.make(g, b"/made")
        assert g.call("rmdir", g.put(link + b"\0")) == 0
        assert g.call("readlink", g.put(b"/link\0"), g.room(16), 16) == 4

    def test_a_ring_of_links_ends(self, g: NetbsdGuest) -> None:
        g.call("symlink", g.put(b"b/\0"), g.put(b"/a\0"))
        g.call("symlink", g.put(b"a/\0"), g.put(b"/b\0"))
        with pytest.raises(ELOOP):
            self.make(g, b"/a/")

    def test_unlink_of_a_directory_is_eperm(self, g: NetbsdGuest) -> None:
        self.make(g, b"/dir")
        for call in (("unlink",), ("unlinkat", -100)):
            with pytest.raises(EPERM):
                g.call(*call, g.put(b"/dir\0"), 0)
        assert g.call("unlinkat", -100, g.put(b"/dir\0"), 0x800) == 0

    def test_a_link_under_nofollow_is_another_type(self, g: NetbsdGuest) -> None:
        g.call("symlink", g.put(b"x\0"), g.put(b"/link\0"))
        with pytest.raises(EFTYPE):
            g.call("open", g.put(b"/link\0"), 0x100, 0)
        g.call("symlink", g.put(b"ring\0"), g.put(b"/ring\0"))
        with pytest.raises(ELOOP):
            g.call("open", g.put(b"/ring/x\0"), 0x100, 0)

    def test_file_flags_are_not_there(self, g: NetbsdGuest) -> None:
        self.make(g, b"/dir")
        with pytest.raises(EOPNOTSUPP):
            g.call("chflags", g.put(b"/dir\0"), 1)
        become(g, 5, 5, 5)
        with pytest.raises(EPERM):
            g.call("chflags", g.put(b"/dir\0"), 1)


class TestDescriptors:
    def test_a_lock_at_open_waits_and_is_taken(self, g: NetbsdGuest) -> None:
        path = g.put(b"/file\0")
        first = g.call("open", path, 0x222, 0o644)
        sleeper = g.sleep("open", path, 0x22, 0)
        g.call("close", first)
        second = sleeper.resume()
        assert second >= 0
        with pytest.raises(EINVAL):
            g.call("open", path, 0x32, 0)

    def test_an_interrupted_lock_leaves_no_descriptor(self, g: NetbsdGuest) -> None:
        path = g.put(b"/file\0")
        g.call("open", path, 0x222, 0o644)
        before = len(g.p.fds)
        with pytest.raises(Interrupted):
            g.sleep("open", path, 0x22, 0).interrupt()
        assert len(g.p.fds) == before

    def test_all_above_are_closed(self, g: NetbsdGuest) -> None:
        for _ in range(3):
            g.start("pipe")
        assert g.call("fcntl", 0, 11, 0) == 5
        assert g.call("fcntl", 2, 10, 0) == 0
        assert g.call("fcntl", 0, 11, 0) == 1
        with pytest.raises(EBADF):
            g.call("fcntl", -1, 10, 0)

    def test_no_signal_where_none_is_wanted(self, g: NetbsdGuest) -> None:
        fds = g.room(8)
        g.call("pipe2", fds, 0x100_0000)
        reader, writer = struct.unpack("<2i", g.get(fds, 8))
        g.call("close", reader)
        assert g.trap(4, writer, g.put(b"x"), 1)[0::2] == (32, True)
        assert not g.t.pending.mask
        assert g.call("fcntl", writer, 13, 0) == 1
        g.call("fcntl", writer, 14, 0)
        g.trap(4, writer, g.put(b"x"), 1)
        assert g.p.exit_status == Signal.SIGPIPE

    def test_a_pipe_that_cannot_be_told_of_is_none(self, g: NetbsdGuest) -> None:
        with pytest.raises(EFAULT):
            g.call("pipe2", 8, 0)
        assert len(g.p.fds) == 0


def test_terminal_settings_go_both_ways() -> None:
    first = tty.DEFAULT_TERMIOS
    for settings in (first, first._replace(lflag=0), first._replace(cc=bytes(19)), first._replace(iflag=0x1000)):
        again = Termios(*struct.unpack("<4IB19s", termios_inward(termios_outward(settings))))
        assert again == settings


def test_a_speed_without_a_code_is_refused() -> None:
    data = bytearray(termios_outward(tty.DEFAULT_TERMIOS))
    data[40:44] = (31337).to_bytes(4, "little")
    with pytest.raises(EINVAL):
        termios_inward(bytes(data))
