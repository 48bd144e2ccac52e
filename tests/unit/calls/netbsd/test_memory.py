"""NetBSD's memory calls: flags and refusals of mmap, holes, PaX MPROTECT, minherit, mremap, the break."""

from __future__ import annotations

import pytest

from ring3.errors import EACCES, EBADF, EFAULT, EFBIG, EINVAL, ENOMEM, EOVERFLOW, Errno
from ring3.vm.region import SharedAnonymous
from tests.unit.calls.netbsd.netguest import NetbsdGuest, netbsd32_guest, netbsd_guest
from tests.unit.calls.stage import Stage, stage

__all__ = ["stage"]

ANON, PRIVATE, SHARED, FIXED, COPY = 0x1000, 2, 1, 0x10, 4
RW, READ, WRITE, EXEC = 3, 1, 2, 4
PAGE = 4096


def mmap(g: NetbsdGuest, addr: int = 0, size: int = PAGE, prot: int = RW, flags: int = ANON, fd: int = -1, pos: int = 0) -> int:
    """mmap with its pad."""
    return g.call("mmap", addr, size, prot, flags, fd, 0, pos)


def prot_at(g: NetbsdGuest, addr: int) -> tuple[int, int]:
    """Present and largest protection."""
    region = g.p.vm.find(addr)
    assert region is not None
    return region.prot, region.max_prot


class TestMmap:
    def test_neither_shared_nor_private(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        region = g.p.vm.find(mmap(g))
        assert region is not None
        assert not region.shared

    def test_copy_is_private(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        region = g.p.vm.find(mmap(g, flags=ANON | COPY))
        assert region is not None
        assert not region.shared

    @pytest.mark.parametrize(("more", "refusal"), [
        ({"flags": ANON | SHARED | PRIVATE}, EINVAL), ({"flags": ANON | SHARED | COPY}, EINVAL), ({"size": 0}, EINVAL),
        ({"size": (1 << 64) - 1}, ENOMEM), ({"fd": 0}, EINVAL), ({"fd": -2}, EINVAL), ({"flags": PRIVATE}, EBADF),
        ({"flags": PRIVATE, "fd": 44}, EBADF), ({"flags": ANON | FIXED, "addr": 1}, EINVAL), ({"flags": ANON | FIXED}, EINVAL),
        ({"flags": ANON | FIXED, "addr": 1 << 60}, EFBIG),
        ({"flags": ANON | FIXED, "addr": (1 << 64) - PAGE, "size": 8192}, EOVERFLOW),
        ({"flags": ANON | 11 << 24}, EINVAL), ({"flags": ANON | 64 << 24}, EINVAL), ({"flags": ANON | 60 << 24}, ENOMEM),
    ])
    def test_refusals(self, stage: Stage, more: dict[str, int], refusal: type[Errno]) -> None:
        g = netbsd_guest(stage)
        regions = len(list(g.p.vm))
        with pytest.raises(refusal):
            mmap(g, **more)
        assert len(list(g.p.vm)) == regions

    def test_alignment(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        for bits in (12, 16, 24, 30):
            assert mmap(g, flags=ANON | bits << 24) % (1 << bits) == 0

    def test_32_bits_have_an_offset_of_two_words(self, stage: Stage) -> None:
        g = netbsd32_guest(stage)
        with pytest.raises(EBADF):
            g.call("mmap", 0, PAGE, RW, PRIVATE, 44, 0, 0, 1)


class TestPax:
    def guest(self, stage: Stage) -> NetbsdGuest:
        g = netbsd_guest(stage)
        g.p.pax = 2
        return g

    @pytest.mark.parametrize(("asked", "got", "most"), [
        (RW, RW, 3), (READ, READ, 3), (READ | EXEC, READ | EXEC, 5), (7, RW, 3), (0, 0, 3),
        (READ | EXEC << 3, READ, 7), (READ | EXEC | WRITE << 3, READ | EXEC, 7),
    ])
    def test_written_or_executed(self, stage: Stage, asked: int, got: int, most: int) -> None:
        g = self.guest(stage)
        assert prot_at(g, mmap(g, prot=asked)) == (got, most)

    def test_mprotect_cannot_take_it_back(self, stage: Stage) -> None:
        g = self.guest(stage)
        data, code = mmap(g), mmap(g, prot=READ | EXEC)
        for addr, prot in ((data, READ | EXEC), (data, 7), (code, RW), (code, 7)):
            with pytest.raises(EACCES):
                g.call("mprotect", addr, PAGE, prot)
        assert g.call("mprotect", data, PAGE, READ) == 0

    def test_without_it_everything_goes(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        where = mmap(g, prot=7)
        assert prot_at(g, where) == (7, 7)


class TestProtect:
    def test_holes_are_passed_over(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        where = mmap(g, size=3 * PAGE)
        g.call("munmap", where + PAGE, PAGE)
        assert g.call("mprotect", where, 3 * PAGE, READ) == 0
        assert [prot_at(g, where)[0], prot_at(g, where + 2 * PAGE)[0]] == [READ, READ]

    def test_a_refusal_changes_nothing(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.p.pax = 2
        first = mmap(g, size=2 * PAGE)
        g.call("munmap", first + PAGE, PAGE)
        mmap(g, first + PAGE, PAGE, READ | EXEC, ANON | FIXED)
        with pytest.raises(EACCES):
            g.call("mprotect", first, 2 * PAGE, RW)
        assert prot_at(g, first + PAGE)[0] == READ | EXEC

    @pytest.mark.parametrize(("addr", "size"), [(1 << 62, PAGE), (0, 1 << 63), (1, (1 << 64) - 1)])
    def test_ranges_that_are_none(self, stage: Stage, addr: int, size: int) -> None:
        g = netbsd_guest(stage)
        for name in ("mprotect", "madvise", "minherit"):
            with pytest.raises(EINVAL):
                g.call(name, addr, size, 0)
        with pytest.raises(EINVAL):
            g.call("munmap", addr, size)


    def test_a_range_is_the_pages_it_lies_in(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        first = mmap(g, size=3 * PAGE)
        assert g.call("mprotect", first + PAGE + 5, 1, READ | 0x38) == 0
        assert [prot_at(g, first + i * PAGE)[0] for i in range(3)] == [RW, READ, RW]
        assert g.call("madvise", first + 7, PAGE, 0) == g.call("minherit", first + 7, 1, 2) == 0
        assert g.p.vm.find(first).dontfork  # type: ignore[union-attr]
        assert g.call("munmap", first + PAGE - 1, 2) == 0
        assert g.p.vm.find(first) is g.p.vm.find(first + PAGE) is None
        assert g.p.vm.find(first + 2 * PAGE) is not None


class TestInherit:
    def test_what_a_child_gets(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        where = mmap(g, size=4 * PAGE)
        g.p.vm.copyout(where, b"shared")
        g.call("minherit", where, PAGE, 0)
        g.call("minherit", where + PAGE, PAGE, 2)
        g.call("minherit", where + 2 * PAGE, PAGE, 4)
        regions = [g.p.vm.find(where + i * PAGE) for i in range(4)]
        assert isinstance(regions[0].object, SharedAnonymous)  # type: ignore[union-attr]
        assert g.get(where, 6) == b"shared"
        assert [bool(r.dontfork) for r in regions if r] == [False, True, False, False]
        assert [bool(r.wipe) for r in regions if r] == [False, False, True, False]

    def test_too_much_to_copy(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        where = mmap(g, size=1 << 30, prot=0)
        with pytest.raises(ENOMEM):
            g.call("minherit", where, 1 << 30, 0)

    def test_no_kind_of_it(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        for kind in (3, 5, -1):
            with pytest.raises(EINVAL):
                g.call("minherit", mmap(g), PAGE, kind)


class TestRemap:
    def test_longer_and_shorter(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        where = mmap(g)
        g.p.vm.copyout(where, b"kept")
        longer = g.call("mremap", where, PAGE, 0, 4 * PAGE, 0)
        assert g.get(longer, 4) == b"kept"
        assert g.call("mremap", longer, 4 * PAGE, 0, PAGE, 0) == longer
        assert g.p.vm.find(longer + PAGE) is None

    @pytest.mark.parametrize(("change", "refusal"), [
        ((0, 0, 0, PAGE, 0), EINVAL), ((0, PAGE, 0, 0, 0), EINVAL), ((1, PAGE, 0, PAGE, 0), EINVAL),
        ((0, PAGE, 5, PAGE, 0), EINVAL), ((0, PAGE, 0, PAGE, 0x800), EINVAL), ((0, PAGE, 0, PAGE, 4), EINVAL),
        ((0, 8 * PAGE, 0, PAGE, 0), EINVAL),
        ((0, 1 << 63, 0, PAGE, 0), EINVAL), ((0, PAGE, 0, (1 << 64) - 1, 0), EINVAL), ((1 << 30, PAGE, 0, PAGE, 0), EFAULT),
        ((0, PAGE, PAGE, PAGE, FIXED), EINVAL), ((0, PAGE, 1 << 62, PAGE, FIXED), EINVAL),
    ])
    def test_refusals(self, stage: Stage, change: tuple[int, ...], refusal: type[Errno]) -> None:
        g = netbsd_guest(stage)
        where = mmap(g, 0x5000_0000, PAGE, RW, ANON | FIXED)
        with pytest.raises(refusal):
            g.call("mremap", where + change[0], *change[1:])


class TestBreak:
    def test_up_and_down(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.p.vm.brk_start = g.p.vm.brk_end = 0x4000_0000
        assert g.call("break", 0x4000_2345) == 0
        assert g.p.vm.find(0x4000_2FFF) is not None
        assert g.call("break", 0x4000_0000) == 0
        assert g.p.vm.find(0x4000_0000) is None

    def test_refusals(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        g.p.vm.brk_start = g.p.vm.brk_end = 0x4000_0000
        with pytest.raises(EINVAL):
            g.call("break", 0x3FFF_F000)
        with pytest.raises(ENOMEM):
            g.call("break", 0)
        assert g.call("break", 0x3FFF_F001) == 0             # the last page of the data: nothing to do
        assert g.p.vm.brk_end == 0x4000_0000
        g.p.rlimits[2] = (0x1000, 0x1000)
        for where in (0x4000_1001, 1 << 63):
            with pytest.raises(ENOMEM):
                g.call("break", where)


class TestAdvice:
    def test_only_free_forgets(self, stage: Stage) -> None:
        g = netbsd_guest(stage)
        where = mmap(g)
        g.p.vm.copyout(where, b"kept")
        for advice in (0, 1, 2, 3, 4):
            assert g.call("madvise", where, PAGE, advice) == 0
        assert g.get(where, 4) == b"kept"
        for advice in (5, 7, -1, 100):
            with pytest.raises(EINVAL):
                g.call("madvise", where, PAGE, advice)
        assert g.call("madvise", where, PAGE, 6) == 0
