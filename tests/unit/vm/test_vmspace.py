"""Address spaces: the region list against a dictionary of pages, and against what the machine has mapped."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from ring3.abi.flags import Prot
from ring3.errors import EEXIST, EFAULT, EINVAL, ENAMETOOLONG, ENOMEM
from ring3.machine.scripted import ScriptedMachine, ScriptedSpace
from ring3.vm.region import PAGE, Region, SharedAnonymous, VMObject
from ring3.vm.vmspace import STACK_GROWTH, STACK_GUARD, VMSpace

RW = Prot.READ | Prot.WRITE
LOW = 0x100000


class Bytes(VMObject):
    """A file in memory; counts the regions that show it."""

    __slots__ = ("fd", "regions")

    def __init__(self, npages: int) -> None:
        self.fd = os.memfd_create("test")
        os.write(self.fd, b"".join(bytes([1 + i % 255]) * PAGE for i in range(npages)))
        self.regions = 0

    def host_fd(self, *, write: bool) -> int:
        del write
        return self.fd

    def mapped(self, region: Region) -> None:
        self.regions += 1

    def unmapped(self, region: Region) -> None:
        self.regions -= 1


@pytest.fixture
def machine() -> Iterator[ScriptedMachine]:
    made = ScriptedMachine()
    yield made
    made.close()


@pytest.fixture
def vm(machine: ScriptedMachine) -> VMSpace:
    return new(machine)


@pytest.fixture
def file() -> Iterator[Bytes]:
    made = Bytes(64)
    yield made
    os.close(made.fd)


def new(machine: ScriptedMachine) -> VMSpace:
    vm = VMSpace(machine.new_space(), min_addr=machine.facts.min_addr, user_top=machine.facts.user_top)
    vm.mmap_base = 0x7000_0000_0000
    return vm


def pages_of(vm: VMSpace) -> dict[int, tuple[int, int, int]]:
    """Page number -> (protection, object, offset in it)."""
    found = {}
    for region in vm:
        for at in range(region.start, region.end, PAGE):
            offset = region.offset + at - region.start if region.object is not None else 0
            found[at // PAGE] = (region.prot, id(region.object), offset)
    return found


def consistent(vm: VMSpace) -> None:
    """Sorted, apart, counted; and the machine has just that mapped."""
    assert vm._starts == [r.start for r in vm.regions]
    for before, after in zip(vm.regions, vm.regions[1:], strict=False):
        assert before.end <= after.start
        assert not after.continues(before)
    assert vm.total_bytes == sum(r.length for r in vm.regions)
    assert isinstance(vm.machine, ScriptedSpace)
    assert {n: p.prot for n, p in vm.machine.pages.items()} == {n: p for n, (p, _, _) in pages_of(vm).items()}


# --- the list
def test_map_replaces(vm: VMSpace) -> None:
    vm.map(Region(LOW, LOW + 4 * PAGE, RW))
    vm.map(Region(LOW + PAGE, LOW + 2 * PAGE, Prot.READ))
    assert [(r.start - LOW, r.prot) for r in vm] == [(0, 3), (PAGE, 1), (2 * PAGE, 3)]
    consistent(vm)


def test_neighbours_merge(vm: VMSpace, file: Bytes) -> None:
    vm.map(Region(LOW, LOW + PAGE, RW))
    vm.map(Region(LOW + PAGE, LOW + 2 * PAGE, RW))
    vm.map(Region(LOW + 2 * PAGE, LOW + 3 * PAGE, RW, object=file, offset=0))
    vm.map(Region(LOW + 3 * PAGE, LOW + 4 * PAGE, RW, object=file, offset=PAGE))
    vm.map(Region(LOW + 4 * PAGE, LOW + 5 * PAGE, RW, object=file, offset=PAGE))
    assert [r.length // PAGE for r in vm] == [2, 2, 1]
    assert file.regions == 2
    consistent(vm)


@pytest.mark.parametrize("prot", [0, 1, 3, 5, 7])
def test_protect_cuts_and_merges_back(vm: VMSpace, file: Bytes, prot: int) -> None:
    vm.map(Region(LOW, LOW + 8 * PAGE, RW, object=file, offset=PAGE))
    vm.protect(LOW + 2 * PAGE, LOW + 4 * PAGE, prot)
    consistent(vm)
    vm.protect(LOW, LOW + 8 * PAGE, RW)
    assert len(vm.regions) == 1
    assert file.regions == 1
    with pytest.raises(ENOMEM):
        vm.protect(LOW, LOW + 9 * PAGE, RW)


def test_unmap_makes_a_hole(vm: VMSpace, file: Bytes) -> None:
    vm.map(Region(LOW, LOW + 8 * PAGE, RW, object=file))
    vm.unmap(LOW + 3 * PAGE, LOW + 5 * PAGE)
    assert [(r.start, r.offset) for r in vm] == [(LOW, 0), (LOW + 5 * PAGE, 5 * PAGE)]
    assert file.regions == 2
    vm.unmap(LOW - PAGE, LOW + 20 * PAGE)
    assert file.regions == 0
    consistent(vm)


def test_out_of_bounds(vm: VMSpace) -> None:
    for start, end in ((vm.user_top - PAGE, vm.user_top + PAGE), (LOW, LOW), (-PAGE, PAGE)):
        with pytest.raises(ENOMEM):
            vm.map(Region(start, end, RW))
    vm.map(Region(LOW, LOW + PAGE, RW))
    with pytest.raises(EEXIST):
        vm.reserve(LOW, LOW + PAGE)


class Step(NamedTuple):
    """One random change."""

    verb: str
    start: int
    npages: int
    prot: int


def test_random_changes_against_a_dictionary(machine: ScriptedMachine, file: Bytes) -> None:
    """500 changes in each of 10 spaces: the list is what a dictionary of pages says, and forks are copies."""
    for seed in range(10):
        chance = random.Random(seed)
        vm = new(machine)
        model: dict[int, tuple[int, int, int]] = {}
        for _ in range(500):
            step = Step(chance.choice(("map", "file", "unmap", "protect", "move", "fork")), LOW // PAGE + chance.randrange(40),
                        chance.randrange(1, 9), chance.choice((0, 1, 3, 5)))
            start, end = step.start * PAGE, (step.start + step.npages) * PAGE
            span = range(step.start, step.start + step.npages)
            if step.verb == "map":
                vm.map(Region(start, end, step.prot))
                model |= {n: (step.prot, id(None), 0) for n in span}
            elif step.verb == "file":
                offset = chance.randrange(30) * PAGE
                vm.map(Region(start, end, step.prot, object=file, offset=offset))
                model |= {n: (step.prot, id(file), offset + i * PAGE) for i, n in enumerate(span)}
            elif step.verb == "unmap":
                vm.unmap(start, end)
                for n in span:
                    model.pop(n, None)
            elif step.verb == "protect":
                if all(n in model for n in span):
                    vm.protect(start, end, step.prot)
                    model |= {n: (step.prot, *model[n][1:]) for n in span}
                else:
                    with pytest.raises(ENOMEM):
                        vm.protect(start, end, step.prot)
            elif step.verb == "move":
                region = vm.find(start)
                if region is not None and region.end >= end:
                    target = LOW // PAGE + 100 + chance.randrange(40)
                    vm.move(start, end - start, target * PAGE, end - start)
                    moved = [model.pop(n) for n in span]
                    model |= {target + i: value for i, value in enumerate(moved)}
            else:
                child = vm.fork()
                assert pages_of(child) == pages_of(vm)
                consistent(child)
                child.release()
            assert pages_of(vm) == model
            consistent(vm)
        vm.release()
        assert file.regions == 0


# --- finding room
def test_gaps_from_the_top(vm: VMSpace) -> None:
    first = vm.find_gap(4 * PAGE)
    assert first == vm.mmap_base - 4 * PAGE
    vm.map(Region(first, first + 4 * PAGE, RW))
    assert vm.find_gap(PAGE) == first - PAGE
    assert vm.find_gap(PAGE, hint=LOW + 5) == LOW
    assert vm.find_gap(PAGE, hint=first) == first - PAGE


def test_a_stack_keeps_its_distance(vm: VMSpace) -> None:
    top = vm.mmap_base - PAGE
    vm.map(Region(top - PAGE, top, RW, growsdown=True))
    assert vm.find_gap(2 * PAGE) == top - PAGE - STACK_GUARD - 2 * PAGE
    assert vm.find_gap(PAGE, hint=top - 3 * PAGE) != top - 3 * PAGE
    assert vm.find_gap(PAGE) == top


def test_bottom_up_layout(vm: VMSpace) -> None:
    vm.legacy_layout, vm.mmap_base = True, 0x2000_0000
    vm.map(Region(0x2000_0000, 0x2000_0000 + PAGE, RW))
    assert vm.find_gap(PAGE) == 0x2000_0000 + PAGE


def test_no_gap(vm: VMSpace) -> None:
    with pytest.raises(ENOMEM):
        vm.find_gap(vm.user_top)


# --- the break
def test_break(vm: VMSpace) -> None:
    vm.brk_start = vm.brk_end = LOW
    vm.set_brk(LOW + 10)
    assert [(r.start, r.end) for r in vm] == [(LOW, LOW + PAGE)]
    vm.set_brk(LOW + 3 * PAGE)
    vm.set_brk(LOW + PAGE)
    assert [(r.start, r.end) for r in vm] == [(LOW, LOW + PAGE)]
    with pytest.raises(EINVAL):
        vm.set_brk(LOW - 1)
    vm.map(Region(LOW + 8 * PAGE, LOW + 9 * PAGE, RW))
    with pytest.raises(ENOMEM):
        vm.set_brk(LOW + 8 * PAGE)
    assert vm.brk_end == LOW + PAGE
    vm.set_brk(LOW)
    assert len(vm.regions) == 1
    consistent(vm)


# --- stacks
def test_stack_grows_to_its_limit(vm: VMSpace) -> None:
    top = 0x7000_1000_0000
    vm.stack_limit = 1 << 20
    vm.map(Region(top - PAGE, top, RW, growsdown=True))
    assert vm.fault(top - 2 * PAGE)
    assert vm.regions[0].start == top - 2 * PAGE - STACK_GROWTH
    assert vm.fault(top - (1 << 20))
    assert vm.regions[0].start == top - (1 << 20)
    assert not vm.fault(top - (1 << 20) - 1)
    consistent(vm)


def test_stack_stops_at_the_guard(vm: VMSpace) -> None:
    top = 0x7000_1000_0000
    vm.map(Region(top - PAGE, top, RW, growsdown=True))
    vm.map(Region(top - 500 * PAGE, top - 499 * PAGE, RW))
    assert not vm.fault(top - 498 * PAGE)
    assert vm.fault(top - (499 - 256) * PAGE)
    assert vm.regions[1].start == top - (499 - 256) * PAGE


def test_only_stacks_grow(vm: VMSpace) -> None:
    vm.map(Region(LOW, LOW + PAGE, RW))
    assert not vm.fault(LOW - 1)
    assert not vm.fault(LOW + 5 * PAGE)


# --- copying
def test_copying_obeys_protection(vm: VMSpace) -> None:
    vm.map(Region(LOW, LOW + 2 * PAGE, RW))
    vm.map(Region(LOW + 2 * PAGE, LOW + 3 * PAGE, Prot.READ))
    vm.map(Region(LOW + 3 * PAGE, LOW + 4 * PAGE, Prot.NONE))
    vm.copyout(LOW + PAGE - 2, b"abcd")
    assert vm.copyin(LOW + PAGE - 2, 4) == b"abcd"
    assert vm.copyin(LOW, 0) == b""
    for addr, nbytes in ((LOW - 1, 2), (LOW + 3 * PAGE - 1, 2), (LOW + 4 * PAGE, 1), (vm.user_top - 1, 4), (1 << 64, 1), (LOW, -1)):
        with pytest.raises(EFAULT):
            vm.copyin(addr, nbytes)
    with pytest.raises(EFAULT):
        vm.copyout(LOW + 2 * PAGE - 1, b"xy")
    assert vm.copyin(LOW + 2 * PAGE - 1, 1) == b"\0"        # nothing was written
    with pytest.raises(EFAULT):
        vm.check_writable(LOW + 2 * PAGE, 1)


def test_copying_grows_a_stack(vm: VMSpace) -> None:
    top = 0x7000_1000_0000
    vm.map(Region(top - PAGE, top, RW, growsdown=True))
    vm.copyout(top - PAGE - 8, b"eight bytes over it")
    assert vm.copyin(top - PAGE - 8, 5) == b"eight"


def test_strings(vm: VMSpace) -> None:
    vm.map(Region(LOW, LOW + 2 * PAGE, RW))
    vm.copyout(LOW + PAGE - 3, b"across\0")
    assert vm.copyinstr(LOW + PAGE - 3, 100) == b"across"
    assert vm.copyinstr(LOW + PAGE - 3, 7) == b"across"
    with pytest.raises(ENAMETOOLONG):
        vm.copyinstr(LOW + PAGE - 3, 6)
    vm.copyout(LOW, b"x" * 2 * PAGE)
    with pytest.raises(EFAULT):
        vm.copyinstr(LOW, 1 << 20)
    with pytest.raises(EFAULT):
        vm.copyinstr(0, 10)


# --- life
def test_release_and_references(vm: VMSpace, file: Bytes) -> None:
    vm.map(Region(LOW, LOW + PAGE, RW, object=file))
    vm.refs += 1
    vm.release()
    assert vm.regions
    vm.release()
    assert not vm.regions
    assert file.regions == 0


def test_fork_leaves_out_what_madvise_said(vm: VMSpace) -> None:
    for index in range(3):
        vm.map(Region(LOW + 2 * index * PAGE, LOW + (2 * index + 1) * PAGE, RW))
        vm.copyout(LOW + 2 * index * PAGE, b"data")
    vm.regions[1].dontfork = True
    vm.regions[2].wipe = True
    child = vm.fork()
    assert [child.find(LOW + 2 * i * PAGE) is not None for i in range(3)] == [True, False, True]
    assert child.copyin(LOW, 4) == b"data"
    assert child.copyin(LOW + 4 * PAGE, 4) == bytes(4)
    child.release()


def test_a_fork_that_fails_halfway_leaves_nothing(
    vm: VMSpace, machine: ScriptedMachine, file: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm.map(Region(LOW, LOW + PAGE, RW, object=file))
    vm.map(Region(LOW + 2 * PAGE, LOW + 3 * PAGE, RW))
    vm.regions[1].wipe = True

    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "no memory")

    monkeypatch.setattr(ScriptedSpace, "map_anonymous", refuse)
    before = len([s for s in machine.spaces if not s.is_closed])
    with pytest.raises(ENOMEM):
        vm.fork()
    assert len([s for s in machine.spaces if not s.is_closed]) == before
    assert file.regions == 1


def test_shared_memory_stays_shared(vm: VMSpace) -> None:
    vm.map(Region(LOW, LOW + PAGE, RW, object=SharedAnonymous(), shared=True))
    child = vm.fork()
    child.copyout(LOW, b"seen")
    assert vm.copyin(LOW, 4) == b"seen"
    child.release()


class Program(VMObject):
    """Counts the spaces that run it."""

    __slots__ = ("running",)

    def __init__(self) -> None:
        self.running = 0

    def run(self) -> None:
        self.running += 1

    def unrun(self) -> None:
        self.running -= 1


def test_a_running_program_is_known(vm: VMSpace) -> None:
    first, second = Program(), Program()
    vm.set_text(first)
    child = vm.fork()
    assert first.running == 2
    child.set_text(second)
    assert (first.running, second.running) == (1, 1)
    child.release()
    vm.release()
    assert (first.running, second.running) == (0, 0)
