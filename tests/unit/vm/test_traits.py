"""What a system remembers of regions: never merged, copied by a split, changed by a fork."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ring3.abi.flags import Prot
from ring3.machine.scripted import ScriptedMachine
from ring3.vm.region import PAGE, Region, SharedAnonymous
from ring3.vm.traits import IMMUTABLE, MMAP, STACK, SYSCALL, MasterTls, Purgeable, SpaceTraits, Traits
from ring3.vm.vmspace import VMSpace

LOW = 0x100000
RW = Prot.READ | Prot.WRITE


@pytest.fixture
def vm() -> Iterator[VMSpace]:
    machine = ScriptedMachine()
    yield VMSpace(machine.new_space(), min_addr=LOW, user_top=1 << 40)
    machine.close()


def mapped(vm: VMSpace, start: int, npages: int, marks: int = MMAP, *, shared: bool = False) -> Region:
    region = Region(start, start + npages * PAGE, RW, object=SharedAnonymous() if shared else None, shared=shared)
    region.traits = Traits(marks, RW)
    vm.map(region)
    return region


def traits_at(vm: VMSpace, addr: int) -> Traits:
    region = vm.find(addr)
    assert region is not None
    assert region.traits is not None
    return region.traits


def test_neighbours_with_traits_stay_apart(vm: VMSpace) -> None:
    mapped(vm, LOW, 1)
    mapped(vm, LOW + PAGE, 1)
    vm.map(Region(LOW + 2 * PAGE, LOW + 3 * PAGE, RW))
    vm.map(Region(LOW + 3 * PAGE, LOW + 4 * PAGE, RW))
    assert [region.length for region in vm] == [PAGE, PAGE, 2 * PAGE]


def test_a_split_part_has_a_copy_and_never_comes_back(vm: VMSpace) -> None:
    whole = mapped(vm, LOW, 3, MMAP | SYSCALL | IMMUTABLE)
    assert whole.traits is not None
    whole.traits.history |= Prot.EXEC
    vm.protect(LOW + PAGE, LOW + 2 * PAGE, Prot.READ)
    vm.protect(LOW + PAGE, LOW + 2 * PAGE, RW)
    assert len(vm.regions) == 3
    traits = [traits_at(vm, LOW + n * PAGE) for n in range(3)]
    assert {(t.marks, t.history) for t in traits} == {(MMAP | SYSCALL | IMMUTABLE, 7)}
    traits[1].marks = 0
    assert traits[0].marks == traits[2].marks == MMAP | SYSCALL | IMMUTABLE


def test_a_fork_copies_marks_but_immutability(vm: VMSpace) -> None:
    mapped(vm, LOW, 1, MMAP | STACK | SYSCALL | IMMUTABLE)
    vm.traits = SpaceTraits(enforces=True, tls=MasterTls(LOW, 16, 8))
    child = vm.fork()
    assert traits_at(child, LOW).marks == MMAP | STACK | SYSCALL
    assert traits_at(vm, LOW).marks & IMMUTABLE
    assert child.traits is not None
    assert child.traits is not vm.traits
    assert (child.traits.enforces, child.traits.tls) == (True, MasterTls(LOW, 16, 8))
    child.release()


def test_volatile_private_memory_begins_purged_in_a_child(vm: VMSpace) -> None:
    private, shared = mapped(vm, LOW, 1), mapped(vm, LOW + 4 * PAGE, 1, shared=True)
    for region in (private, shared):
        assert region.traits is not None
        region.traits.purgeable = Purgeable(is_volatile=True)
    private.wipe = True
    vm.machine.write(LOW, b"secret")
    child = vm.fork()
    of_private, of_shared = traits_at(child, LOW).purgeable, traits_at(child, LOW + 4 * PAGE).purgeable
    assert of_private is not None
    assert of_shared is not None
    assert of_private.was_purged
    assert child.machine.read(LOW, 6) == bytes(6)
    assert not of_shared.was_purged
    assert of_shared is traits_at(vm, LOW + 4 * PAGE).purgeable, "both show the same memory"
    assert not traits_at(vm, LOW).purgeable.was_purged  # type: ignore[union-attr]
    child.release()
