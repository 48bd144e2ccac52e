"""mmap and its kin: what is refused, in Linux's order, and what is mapped afterwards."""

from __future__ import annotations

import struct

import pytest

from ring3.abi.flags import OpenFlags, Prot
from ring3.errors import (
    EACCES,
    EAGAIN,
    EBADF,
    EBUSY,
    EEXIST,
    EFAULT,
    EINVAL,
    ENODEV,
    ENOMEM,
    EOPNOTSUPP,
    EOVERFLOW,
    EPERM,
    ESRCH,
    Errno,
)
from ring3.proc.cred import Cred
from ring3.vfs.file import File
from ring3.vfs.namei import NameiContext
from ring3.vfs.opening import open_file
from tests.unit.calls.stage import BASE, INFINITY, ROOM, Guest, Stage, stage

__all__ = ["stage"]

PAGE = 4096
R, W, X = 1, 2, 4
SHARED, PRIVATE, VALIDATE, FIXED, ANON, GROWSDOWN, HUGETLB, NOREPLACE = 1, 2, 3, 0x10, 0x20, 0x100, 0x40000, 0x100000
USER = Cred(1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000)
MAYMOVE, REMAP_FIXED, DONTUNMAP = 1, 2, 4


def opened(g: Guest, flags: int, path: bytes = b"/file") -> int:
    fs = g.p.fs
    file: File = open_file(NameiContext(fs.root, fs.cwd, g.p.cred), path, OpenFlags(flags | 0o100), 0o777)
    return g.p.fds.install(file, limit=1024)


def anon(g: Guest, length: int = PAGE, prot: int = R | W, flags: int = PRIVATE, addr: int = 0) -> int:
    return g.call("mmap", addr, length, prot, flags | ANON, -1, 0)


class TestMmapRefusals:
    @pytest.mark.parametrize(("args", "refusal"), [
        ((0, PAGE, R, PRIVATE | ANON, -1, 5), EINVAL),
        ((0, PAGE, R, PRIVATE, 99, 0), EBADF),
        ((0, 0, R, PRIVATE, 99, 0), EBADF),
        ((0, 0, R, PRIVATE | ANON, -1, 0), EINVAL),
        ((0, (1 << 64) - 1, R, PRIVATE | ANON, -1, 0), ENOMEM),
        ((0, 1 << 47, R, PRIVATE | ANON, -1, 0), ENOMEM),
        ((0, PAGE, R, ANON, -1, 0), EINVAL),
        ((0, PAGE, R, VALIDATE | ANON, -1, 0), EINVAL),
        ((0, PAGE, R, SHARED | GROWSDOWN | ANON, -1, 0), EINVAL),
        ((BASE + 5, PAGE, R, PRIVATE | ANON | FIXED, -1, 0), EINVAL),
        ((1 << 50, PAGE, R, PRIVATE | ANON | FIXED, -1, 0), ENOMEM),
        ((0, PAGE, R, PRIVATE | ANON | FIXED, -1, 0), EPERM),
        ((BASE, PAGE, R, PRIVATE | ANON | NOREPLACE, -1, 0), EEXIST),
        ((0, PAGE, R, PRIVATE | ANON | HUGETLB, -1, 0), ENOMEM),
    ])
    def test_without_a_file(self, stage: Stage, args: tuple[int, ...], refusal: type[Errno]) -> None:
        g = stage.guest()
        before = list(g.p.vm.regions)
        with pytest.raises(refusal):
            g.call("mmap", *args)
        assert g.p.vm.regions == before

    @pytest.mark.parametrize(("mode", "prot", "flags", "refusal"), [
        (0, R | W, SHARED, EACCES),
        (1, R, PRIVATE, EACCES),
        (1, W, SHARED, EACCES),
        (2, R, 0, EINVAL),
        (2, R, VALIDATE | 0x200000, EOPNOTSUPP),
        (2, R, PRIVATE | GROWSDOWN, EINVAL),
        (2, R, PRIVATE | HUGETLB, EINVAL),
        (0o10000000, R, PRIVATE, EBADF),
    ])
    def test_with_a_file(self, stage: Stage, mode: int, prot: int, flags: int, refusal: type[Errno]) -> None:
        g = stage.guest()
        opened(g, 2)
        with pytest.raises(refusal):
            g.call("mmap", 0, PAGE, prot, flags, opened(g, mode), 0)

    def test_what_cannot_be_mapped(self, stage: Stage) -> None:
        g = stage.guest()
        with pytest.raises(ENODEV):
            g.call("mmap", 0, PAGE, R, PRIVATE, g.call("pidfd_open", g.p.pid, 0), 0)
        with pytest.raises(ENODEV):
            g.call("mmap", 0, PAGE, R, PRIVATE, opened(g, 0, b"/dev/null"), 0)
        with pytest.raises(EOVERFLOW):
            g.call("mmap", 0, 2 * PAGE, R, PRIVATE, opened(g, 2), (1 << 63) - PAGE)


class TestMmap:
    def test_a_file_and_its_limits(self, stage: Stage) -> None:
        g = stage.guest()
        opened(g, 2)
        addr = g.call("mmap", 0, 100, R, SHARED, opened(g, 0), PAGE)
        region = g.p.vm.find(addr)
        assert region is not None
        assert (region.length, region.offset, region.shared, region.max_prot) == (PAGE, PAGE, True, R | X)
        with pytest.raises(EACCES):
            g.call("mprotect", addr, PAGE, R | W)
        addr = g.call("mmap", 0, PAGE, R, PRIVATE, opened(g, 0), 0)
        assert g.call("mprotect", addr, PAGE, R | W) == 0

    def test_the_zero_device_is_fresh_memory(self, stage: Stage) -> None:
        g = stage.guest()
        fd = opened(g, 2, b"/dev/zero")
        private, shared = (g.p.vm.find(g.call("mmap", 0, PAGE, R | W, kind, fd, 0)) for kind in (PRIVATE, SHARED))
        assert private is not None
        assert shared is not None
        assert private.object is None
        assert shared.object is not None
        assert shared.object.anonymous

    def test_shared_memory_is_one_thing_after_fork(self, stage: Stage) -> None:
        g = stage.guest()
        addr = anon(g, flags=SHARED)
        child = g.p.vm.fork()
        mine, theirs = g.p.vm.find(addr), child.find(addr)
        assert mine is not None
        assert theirs is not None
        assert mine.object is theirs.object
        other = g.p.vm.find(anon(g, flags=SHARED))
        assert other is not None
        assert other.object is not mine.object

    def test_fixed_replaces(self, stage: Stage) -> None:
        g = stage.guest()
        assert anon(g, addr=BASE, flags=PRIVATE | FIXED, prot=R) == BASE
        region = g.p.vm.find(BASE)
        assert region is not None
        assert (region.end, region.prot) == (BASE + PAGE, R)

    def test_low_addresses(self, stage: Stage) -> None:
        assert 0x4000_0000 <= anon(stage.guest(), flags=PRIVATE | 0x40) < 0x8000_0000

    def test_limits(self, stage: Stage) -> None:
        g = stage.guest()
        g.p.rlimits[9] = (ROOM + 2 * PAGE, INFINITY)
        anon(g, 2 * PAGE)
        with pytest.raises(ENOMEM):
            anon(g)
        assert anon(g, addr=BASE, flags=PRIVATE | FIXED) == BASE         # replaces as much
        g.p.rlimits[9] = (INFINITY, INFINITY)
        g.p.rlimits[2] = (ROOM + 2 * PAGE, INFINITY)
        with pytest.raises(ENOMEM):
            anon(g, 4 * PAGE)
        anon(g, 4 * PAGE, prot=R)
        g.p.cred = USER
        g.p.rlimits[8] = (0, 0)
        with pytest.raises(EPERM):
            anon(g, prot=R, flags=PRIVATE | 0x2000)
        g.p.rlimits[8] = (PAGE, PAGE)
        with pytest.raises(EAGAIN):
            anon(g, 2 * PAGE, prot=R, flags=PRIVATE | 0x2000)

    def test_i386_has_two_ways(self, stage: Stage) -> None:
        g = stage.guest()
        args = g.put(struct.pack("<6I", 0x30000000, PAGE, R, PRIVATE | ANON | FIXED, 0xFFFFFFFF, 0))
        assert g.call32("mmap", args) == 0x30000000
        opened(g, 2)
        addr = g.call32("mmap2", 0, PAGE, R, PRIVATE, opened(g, 0), 3)
        region = g.p.vm.find(addr)
        assert region is not None
        assert region.offset == 3 * PAGE


class TestMunmapAndMprotect:
    def test_munmap(self, stage: Stage) -> None:
        g = stage.guest()
        addr = anon(g, 4 * PAGE)
        assert g.call("munmap", addr + PAGE, 5) == 0
        assert [g.p.vm.find(addr + i * PAGE) is not None for i in range(4)] == [True, False, True, True]
        assert g.call("munmap", addr, 4 * PAGE) == 0
        for args in ((addr + 1, PAGE), (addr, 0), (1 << 50, PAGE), (addr, 1 << 50)):
            with pytest.raises(EINVAL):
                g.call("munmap", *args)

    def test_mprotect(self, stage: Stage) -> None:
        g = stage.guest()
        addr = anon(g, 4 * PAGE)
        g.call("mprotect", addr + PAGE, PAGE, 0)
        assert [r.prot for r in g.p.vm.overlapping(addr, addr + 4 * PAGE)] == [3, 0, 3]
        assert g.call("mprotect", addr, 0, 99) == 0
        for args in ((addr + 1, PAGE, R), (addr, PAGE, 0x10), (addr, PAGE, 0x3000000), (addr, PAGE, 0x1000000)):
            with pytest.raises(EINVAL):
                g.call("mprotect", *args)
        with pytest.raises(ENOMEM):
            g.call("mprotect", 0x5000_0000, PAGE, R)

    def test_what_came_before_a_hole_stays_changed(self, stage: Stage) -> None:
        g = stage.guest()
        addr = anon(g, 4 * PAGE)
        g.call("munmap", addr + 2 * PAGE, PAGE)
        with pytest.raises(ENOMEM):
            g.call("mprotect", addr, 4 * PAGE, R)
        assert [r.prot for r in g.p.vm.overlapping(addr, addr + 4 * PAGE)] == [R, R | W]


class TestBrk:
    def test_it_answers_where_it_is(self, stage: Stage) -> None:
        g = stage.guest()
        start = g.p.vm.brk_start = g.p.vm.brk_end = 0x5000_0000
        assert g.call("brk", 0) == start
        assert g.call("brk", start + 5) == start + 5
        assert g.p.vm.find(start) is not None
        assert g.call("brk", start + 3 * PAGE) == start + 3 * PAGE
        assert g.call("brk", start - 1) == start + 3 * PAGE
        anon(g, addr=start + 6 * PAGE, flags=PRIVATE | FIXED)
        assert g.call("brk", start + 6 * PAGE) == start + 3 * PAGE        # a page must stay free
        g.p.rlimits[2] = (2 * PAGE, INFINITY)
        assert g.call("brk", start + 4 * PAGE) == start + 3 * PAGE
        assert g.call("brk", start + PAGE) == start + PAGE
        assert g.p.vm.find(start + PAGE) is None


class TestMremap:
    def test_refusals(self, stage: Stage) -> None:
        g = stage.guest()
        addr = anon(g, 4 * PAGE)
        for args in ((addr, PAGE, PAGE, 8, 0), (addr, PAGE, PAGE, REMAP_FIXED, 0), (addr + 1, PAGE, PAGE, 0, 0),
                     (addr, PAGE, 0, 0, 0), (addr, PAGE, 2 * PAGE, DONTUNMAP | MAYMOVE, 0), (addr, 0, PAGE, MAYMOVE, 0),
                     (addr, 2 * PAGE, PAGE, MAYMOVE | REMAP_FIXED, addr + PAGE), (addr, PAGE, PAGE, MAYMOVE | REMAP_FIXED, 5)):
            with pytest.raises(EINVAL):
                g.call("mremap", *args)
        for args in ((0x5000_0000, PAGE, 2 * PAGE, 0, 0), (addr, 5 * PAGE, 6 * PAGE, MAYMOVE, 0)):
            with pytest.raises(EFAULT):
                g.call("mremap", *args)
        with pytest.raises(ENOMEM):
            g.call("mremap", addr, PAGE, 2 * PAGE, 0, 0)

    def test_shrinking_growing_moving(self, stage: Stage) -> None:
        g = stage.guest()
        addr = anon(g, 4 * PAGE)
        g.p.vm.copyout(addr, b"here")
        assert g.call("mremap", addr, 4 * PAGE, 2 * PAGE, 0, 0) == addr
        assert g.p.vm.find(addr + 2 * PAGE) is None
        assert g.call("mremap", addr, 2 * PAGE, 3 * PAGE, 0, 0) == addr
        anon(g, addr=addr + 3 * PAGE, flags=PRIVATE | FIXED, prot=R)
        moved = g.call("mremap", addr, 3 * PAGE, 8 * PAGE, MAYMOVE, 0)
        assert moved != addr
        assert g.get(moved, 4) == b"here"
        assert g.p.vm.find(addr) is None
        assert g.call("mremap", moved, 8 * PAGE, 8 * PAGE, MAYMOVE | REMAP_FIXED, 0x6000_0000) == 0x6000_0000
        assert g.get(0x6000_0000, 4) == b"here"

    def test_leaving_the_old_place_empty(self, stage: Stage) -> None:
        g = stage.guest()
        addr = anon(g, 2 * PAGE)
        g.p.vm.copyout(addr, b"here")
        moved = g.call("mremap", addr, 2 * PAGE, 2 * PAGE, MAYMOVE | DONTUNMAP, 0)
        assert g.get(moved, 4) == b"here"
        assert g.get(addr, 4) == bytes(4)


class TestAdvice:
    def test_refusals(self, stage: Stage) -> None:
        g = stage.guest()
        addr = anon(g, 4 * PAGE)
        for args in ((addr, PAGE, 7), (addr, PAGE, 5), (addr + 1, PAGE, 4), (addr, PAGE, 9), (addr, (1 << 64) - 1, 4)):
            with pytest.raises(EINVAL):
                g.call("madvise", *args)
        g.call("munmap", addr + PAGE, PAGE)
        with pytest.raises(ENOMEM):
            g.call("madvise", addr, 4 * PAGE, 4)
        g.p.cred = USER
        with pytest.raises(EPERM):
            g.call("madvise", addr, PAGE, 100)
        assert g.call("madvise", addr, 0, 4) == 0
        shared = anon(g, flags=SHARED)
        for advice in (8, 18):
            with pytest.raises(EINVAL):
                g.call("madvise", shared, PAGE, advice)

    def test_forgetting(self, stage: Stage) -> None:
        g = stage.guest()
        addr = anon(g, 2 * PAGE)
        g.p.vm.copyout(addr, b"here")
        g.p.vm.copyout(addr + PAGE, b"there")
        g.call("madvise", addr, PAGE, 4)
        assert (g.get(addr, 4), g.get(addr + PAGE, 5)) == (bytes(4), b"there")

    def test_what_a_child_gets(self, stage: Stage) -> None:
        g = stage.guest()
        addr = anon(g, 3 * PAGE)
        for page in range(3):
            g.p.vm.copyout(addr + page * PAGE, b"here")
        g.call("madvise", addr, PAGE, 10)
        g.call("madvise", addr + PAGE, PAGE, 18)
        child = g.p.vm.fork()
        assert child.find(addr) is None
        assert child.copyin(addr + PAGE, 4) == bytes(4)
        assert child.copyin(addr + 2 * PAGE, 4) == b"here"

    def test_msync_and_mincore(self, stage: Stage) -> None:
        g = stage.guest()
        addr = anon(g, 2 * PAGE)
        for args in ((addr, PAGE, 5), (addr, PAGE, 8), (addr + 1, PAGE, 4)):
            with pytest.raises(EINVAL):
                g.call("msync", *args)
        with pytest.raises(ENOMEM):
            g.call("msync", 0x5000_0000, PAGE, 4)
        assert g.call("msync", addr, PAGE, 4) == 0
        vec = g.room(4)
        assert g.call("mincore", addr, PAGE + 1, vec) == 0
        assert g.get(vec, 3) == b"\1\1\0"
        with pytest.raises(ENOMEM):
            g.call("mincore", 0x5000_0000, PAGE, vec)
        with pytest.raises(EFAULT):
            g.call("mincore", addr, PAGE, 0x10)
        with pytest.raises(EINVAL):
            g.call("mincore", addr + 1, PAGE, vec)
        with pytest.raises(ENOMEM):
            g.call("mincore", addr, 1 << 60, vec)

    def test_locking_is_counted(self, stage: Stage) -> None:
        g = stage.guest()
        addr = anon(g, 4 * PAGE)
        g.p.cred = USER
        g.p.rlimits[8] = (2 * PAGE, 2 * PAGE)
        assert g.call("mlock", addr + 5, PAGE) == 0                      # two pages
        assert g.call("mlock", addr, PAGE) == 0                          # already counted
        with pytest.raises(ENOMEM):
            g.call("mlock", addr + 2 * PAGE, PAGE)
        with pytest.raises(EINVAL):
            g.call("madvise", addr, PAGE, 4)
        with pytest.raises(EBUSY):
            g.call("msync", addr, PAGE, 2)
        g.call("munlock", addr, PAGE)
        assert g.call("mlock2", addr + 2 * PAGE, PAGE, 1) == 0
        for args in ((addr, PAGE, 2),):
            with pytest.raises(EINVAL):
                g.call("mlock2", *args)
        g.p.rlimits[8] = (0, 0)
        with pytest.raises(EPERM):
            g.call("mlockall", 1)
        with pytest.raises(EINVAL):
            g.call("mlockall", 4)
        assert g.call("munlockall") == 0

    def test_protection_keys_are_none(self, stage: Stage) -> None:
        g = stage.guest()
        with pytest.raises(EINVAL):
            g.call("pkey_mprotect", BASE, PAGE, R, 1)
        assert g.call("pkey_mprotect", BASE, PAGE, Prot.READ, -1) == 0


class TestOtherProcesses:
    def test_reading_and_writing(self, stage: Stage) -> None:
        g, other = stage.guest(), stage.guest()
        theirs, mine = other.put(b"their memory"), g.room(64)
        local, remote = g.words(mine, 5, mine + 16, 64), g.words(theirs, 12)
        assert g.call("process_vm_readv", other.p.pid, local, 2, remote, 1, 0) == 12
        assert (g.get(mine, 5), g.get(mine + 16, 7)) == (b"their", b" memory")
        assert g.call("process_vm_writev", other.p.pid, g.words(g.put(b"ours"), 4), 1, remote, 1, 0) == 4
        assert other.get(theirs, 6) == b"oursr "

    def test_refusals(self, stage: Stage) -> None:
        g, other = stage.guest(), stage.guest()
        buffer = g.words(BASE, 8)
        with pytest.raises(ESRCH):
            g.call("process_vm_readv", 9999, buffer, 1, buffer, 1, 0)
        with pytest.raises(EINVAL):
            g.call("process_vm_readv", other.p.pid, buffer, 1, buffer, 1, 1)
        with pytest.raises(EFAULT):
            g.call("process_vm_readv", other.p.pid, buffer, 1, g.words(0x10, 8), 1, 0)
        g.p.cred = USER
        with pytest.raises(EPERM):
            g.call("process_vm_readv", other.p.pid, buffer, 1, buffer, 1, 0)


def test_how_it_prints(stage: Stage) -> None:
    g = stage.guest()
    assert g.show("mmap", 0, 8192, 3, PRIVATE | ANON, -1, 0) == (
        "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"
    )
