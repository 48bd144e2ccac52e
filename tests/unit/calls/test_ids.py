"""User, group and supplementary ids; capabilities; prctl."""

from __future__ import annotations

import struct

import pytest

from ring3.errors import EFAULT, EINVAL, EPERM, ESRCH
from ring3.proc.cred import Cred
from tests.unit.calls.stage import Guest, Stage, stage

__all__ = ["stage"]

KEEP = -1
USER = Cred(1000, 1001, 1002, 1001, 2000, 2001, 2002, 2001, (5, 7))


@pytest.fixture
def root(stage: Stage) -> Guest:
    return stage.guest()


@pytest.fixture
def user(stage: Stage) -> Guest:
    g = stage.guest()
    g.p.cred = USER
    return g


def uids(g: Guest) -> tuple[int, int, int, int]:
    return g.p.cred.ruid, g.p.cred.euid, g.p.cred.suid, g.p.cred.fsuid


def gids(g: Guest) -> tuple[int, int, int, int]:
    return g.p.cred.rgid, g.p.cred.egid, g.p.cred.sgid, g.p.cred.fsgid


class TestUsers:
    def test_setuid(self, root: Guest, user: Guest) -> None:
        root.call("setuid", 5)
        assert uids(root) == (5, 5, 5, 5)
        user.call("setuid", 1002)
        assert uids(user) == (1000, 1002, 1002, 1002)
        with pytest.raises(EPERM):
            user.call("setuid", 0)
        with pytest.raises(EINVAL):
            user.call("setuid", KEEP)

    @pytest.mark.parametrize(("real", "effective", "after"), [
        (KEEP, 1000, (1000, 1000, 1002, 1000)),
        (KEEP, 1002, (1000, 1002, 1002, 1002)),
        (1001, KEEP, (1001, 1001, 1001, 1001)),
        (1001, 1000, (1001, 1000, 1000, 1000)),
        (KEEP, KEEP, (1000, 1001, 1002, 1001)),
    ])
    def test_setreuid(self, user: Guest, real: int, effective: int, after: tuple[int, ...]) -> None:
        assert user.call("setreuid", real, effective) == 0
        assert uids(user) == after

    def test_setreuid_refusals(self, user: Guest) -> None:
        for args in ((1002, KEEP), (KEEP, 5), (0, 0)):
            with pytest.raises(EPERM):
                user.call("setreuid", *args)

    def test_setresuid(self, user: Guest) -> None:
        user.call("setresuid", 1002, 1000, KEEP)
        assert uids(user) == (1002, 1000, 1002, 1000)
        with pytest.raises(EPERM):
            user.call("setresuid", KEEP, KEEP, 1001)
        out = [user.room(4) for _ in range(3)]
        user.call("getresuid", *out)
        assert [user.int32(addr) for addr in out] == [1002, 1000, 1002]
        with pytest.raises(EFAULT):
            user.call("getresuid", out[0], out[1], 0x10)

    def test_setfsuid_answers_the_old_one(self, root: Guest, user: Guest) -> None:
        assert user.call("setfsuid", 1000) == 1001
        assert user.call("setfsuid", 4711) == 1000
        assert user.call("setfsuid", KEEP) == 1000
        assert root.call("setfsuid", 9) == 0
        assert uids(root) == (0, 0, 0, 9)

    def test_who_changes_ids_cannot_be_looked_into(self, root: Guest) -> None:
        root.p.parent_death_signal = 9
        root.call("setuid", 5)
        assert (root.p.dumpable, root.p.parent_death_signal) == (0, 0)

    def test_reading(self, user: Guest) -> None:
        assert [user.call(name) for name in ("getuid", "geteuid", "getgid", "getegid")] == [1000, 1001, 2000, 2001]


class TestGroups:
    def test_setgid_and_kin(self, root: Guest, user: Guest) -> None:
        root.call("setgid", 5)
        assert gids(root) == (5, 5, 5, 5)
        user.call("setgid", 2002)
        assert gids(user) == (2000, 2002, 2002, 2002)
        with pytest.raises(EPERM):
            user.call("setregid", 5, KEEP)
        user.call("setregid", 2002, 2000)
        assert gids(user) == (2002, 2000, 2000, 2000)
        with pytest.raises(EPERM):
            user.call("setresgid", 5, KEEP, KEEP)
        assert user.call("setfsgid", 2002) == 2000

    def test_supplementary(self, root: Guest, user: Guest) -> None:
        addr = user.room(16)
        assert user.call("getgroups", 0, 0) == 2
        assert user.call("getgroups", 4, addr) == 2
        assert struct.unpack("<II", user.get(addr, 8)) == (5, 7)
        for size in (1, -1):
            with pytest.raises(EINVAL):
                user.call("getgroups", size, addr)
        with pytest.raises(EPERM):
            user.call("setgroups", 0, 0)
        root.call("setgroups", 3, root.put(struct.pack("<III", 9, 3, 6)))
        assert root.p.cred.groups == (3, 6, 9)
        for args in ((65537, 0), (1, root.put(b"\xff" * 4))):
            with pytest.raises(EINVAL):
                root.call("setgroups", *args)
        with pytest.raises(EFAULT):
            root.call("setgroups", 3, 0x10)


class TestShortIds:
    def test_what_does_not_fit_is_nobody(self, stage: Stage) -> None:
        g = stage.guest()
        g.p.cred = Cred(70000, 5, 5, 5, 70000, 5, 5, 5, (70000, 3))
        assert (g.call32("getuid"), g.call32("getuid32")) == (65534, 70000)
        addr = g.room(8)
        assert g.call32("getgroups", 2, addr) == 2
        assert struct.unpack("<HH", g.get(addr, 4)) == (65534, 3)

    def test_ffff_leaves_it(self, root: Guest) -> None:
        root.call32("setreuid", 0xFFFF, 9)
        assert uids(root)[:2] == (0, 9)
        with pytest.raises(EINVAL):
            root.call32("setuid", 0xFFFF)


class TestCapabilities:
    def header(self, g: Guest, version: int = 0x20080522, pid: int = 0) -> int:
        return g.put(struct.pack("<Ii", version, pid))

    def test_root_has_all_and_nobody_else_any(self, root: Guest, user: Guest) -> None:
        for g, expected in ((root, (1 << 41) - 1), (user, 0)):
            data = g.room(24)
            assert g.call("capget", self.header(g), data) == 0
            low = struct.unpack("<6I", g.get(data, 24))
            assert low[0] | low[3] << 32 == low[1] | low[4] << 32 == expected
            assert (low[2], low[5]) == (0, 0)

    def test_an_unknown_version_is_told_the_known_one(self, root: Guest) -> None:
        header = self.header(root, 7)
        assert root.call("capget", header, 0) == 0
        assert root.int32(header) == 0x20080522
        with pytest.raises(EINVAL):
            root.call("capget", self.header(root, 7), root.room(24))

    def test_refusals(self, root: Guest, user: Guest) -> None:
        with pytest.raises(ESRCH):
            root.call("capget", self.header(root, pid=9999), root.room(24))
        with pytest.raises(EINVAL):
            root.call("capget", self.header(root, pid=-1), root.room(24))
        with pytest.raises(EPERM):
            user.call("capset", self.header(user), user.put(struct.pack("<6I", 1, 1, 0, 0, 0, 0)))
        assert user.call("capset", self.header(user), user.put(bytes(24))) == 0
        with pytest.raises(EPERM):
            root.call("capset", self.header(root, pid=user.p.pid), root.put(bytes(24)))


class TestPrctl:
    def test_names(self, root: Guest) -> None:
        root.call("prctl", 15, root.put(b"a name longer than fifteen\0"))
        assert root.t.comm == b"a name longer t"
        addr = root.put(b"\xff" * 17)
        root.call("prctl", 16, addr)
        assert root.get(addr, 17) == b"a name longer t\0\xff"

    @pytest.mark.parametrize("args", [
        (9999,), (1, 65), (4, 2), (8, 2), (38, 0), (38, 1, 1), (39, 1), (22, 1), (23, 41), (26, 2), (14, 1), (47, 9),
    ])
    def test_refusals(self, root: Guest, args: tuple[int, ...]) -> None:
        with pytest.raises(EINVAL):
            root.call("prctl", *args)

    def test_small_things(self, root: Guest, user: Guest) -> None:
        word = root.room(4)
        root.call("prctl", 1, 15)
        root.call("prctl", 2, word)
        assert root.int32(word) == 15
        root.call("prctl", 36, 1)
        root.call("prctl", 37, word)
        assert root.int32(word) == 1
        assert [root.call("prctl", 39), root.call("prctl", 38, 1), root.call("prctl", 39)] == [0, 0, 1]
        assert root.call("prctl", 29, 7) == 0
        assert root.call("prctl", 30) == 7
        root.call("prctl", 29, 0)
        assert root.call("prctl", 30) == 50_000
        assert root.call("prctl", 21) == 0
        with pytest.raises(EPERM):
            user.call("prctl", 24, 0)


def test_how_it_prints(root: Guest) -> None:
    assert root.show("prctl", 38, 1, 0, 0, 0) == "prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)"
