"""What SerenityOS's exec leaves of its regions: marks, names, the trampoline, thread-local storage.  On the scripted machine."""

from __future__ import annotations

import os

from ring3.abi import x86
from ring3.abi.elf import Phdr
from ring3.exec.load import Loaded
from ring3.personality.serenity.exec_rules import USER_TOP
from ring3.personality.serenity.sigframe import TRAMPOLINE
from ring3.proc.procfs.maps import maps
from ring3.vm.region import Region
from ring3.vm.traits import MMAP, PER_THREAD, STACK, SYSCALL, SpaceTraits
from tests.rows import row
from tests.unit.exec.test_serenity_rows import CODE, DATA, GOOD, READ, Serenity, bench, image, loads

__all__ = ["bench"]

TLS = Phdr(7, 4, 0x2000, 0, 0, 8, 24, 16)


def marks(region: Region | None) -> int:
    assert region is not None
    return region.traits.marks if region.traits is not None else 0


def loaded(bench: Serenity, data: bytes) -> Loaded:
    return bench.load(bench.check(bench.file("p", data)))


@row("serenity", "load_elf_object", "the stack region is marked as one: stack pointers may point there and nowhere else")
def test_the_stack_is_marked(bench: Serenity) -> None:
    found = loaded(bench, GOOD)
    marked = [region for region in found.vm if marks(region) & STACK]
    assert [(region.label, region.end, region.prot) for region in marked] == [
        (b"Stack (Main thread)", found.plan.layout.stack_top, 3),
    ]
    sp = dict(found.plan.registers)[x86.RSP]
    assert marked[0].start <= sp < marked[0].end


@row("serenity", "load_elf_object", "the loader's segments that are not writable may make calls under enforcement, a program's not")
def test_syscall_regions(bench: Serenity) -> None:
    program = loaded(bench, GOOD)
    assert [marks(r) for r in program.vm if r.object is not None and r.start != program.vm.sigcode] == [0, 0]
    loader = bench.file("loader", image(READ, CODE, DATA))
    found = bench.load(bench.check(bench.file("q", loads(os.fsencode(loader)))))
    of_file = [r for r in found.vm if r.start not in (found.vm.sigcode, found.plan.layout.stack_top)]
    assert {(r.prot & 2, marks(r)) for r in of_file if not marks(r) & STACK} == {(0, SYSCALL), (2, 0)}


@row("serenity", "load_elf_object", "no region of an exec is one that mmap made: nothing may change it or take it away")
def test_no_region_is_the_programs_own(bench: Serenity) -> None:
    for data in (GOOD, image(READ, CODE, DATA, TLS)):
        assert not any(marks(region) & MMAP for region in loaded(bench, data).vm)


@row("serenity", "do_exec", "the trampoline is a page of its own at random, shared, read and executed, a syscall region")
def test_the_trampoline(bench: Serenity) -> None:
    found = loaded(bench, GOOD)
    page = found.vm.find(found.vm.sigcode)
    assert page is not None
    assert (page.length, page.prot, page.shared, marks(page), page.label) == (4096, 5, True, SYSCALL, b"Signal trampoline")
    assert found.vm.machine.read(page.start, len(TRAMPOLINE)) == TRAMPOLINE
    other = loaded(bench, image(READ, CODE)).vm
    assert other.find(other.sigcode).object is page.object, "one for all"  # type: ignore[union-attr]
    bench.t.proc.exec_id += 1
    assert loaded(bench, GOOD).vm.sigcode != page.start


@row("serenity", "do_exec", "calls are not confined to syscall regions in a new image, whatever held in the old one")
def test_enforcement_ends_with_the_image(bench: Serenity) -> None:
    path = bench.file("p", GOOD)
    bench.start(path)
    bench.t.proc.vm.traits = SpaceTraits(enforces=True)
    bench.start(path)
    assert bench.t.proc.vm.traits is None, "nothing is remembered"  # type: ignore[redundant-expr,unused-ignore]


@row("serenity", "load", "the master copy of thread-local storage, its size and alignment are the new image's")
def test_the_master_copy_is_remembered(bench: Serenity) -> None:
    found = loaded(bench, image(READ, CODE, TLS))
    assert found.vm.traits is not None
    tls = found.vm.traits.tls
    assert tls is not None
    assert (tls.size, tls.alignment) == (24, 16)
    region = found.vm.find(tls.addr)
    assert region is not None
    assert region.label.endswith(b" (master-tls)")
    assert loaded(bench, GOOD).vm.traits is None


@row("serenity", "load", "a refused exec leaves the caller's master copy in force, where the original forgets it before")
def test_a_refusal_leaves_the_master_copy(bench: Serenity) -> None:
    bench.start(bench.file("p", image(READ, CODE, TLS)))
    before = bench.t.proc.vm.traits
    assert before is not None
    master = before.tls
    assert bench.says(bench.file("bad", image(READ, CODE, entry=0, size=100))) == "ENOEXEC"
    assert bench.t.proc.vm.traits is before
    assert master is not None
    assert before.tls is master


@row("serenity", "do_exec", "the first thread's storage is a region of its own, named and the thread's")
def test_the_threads_own_region(bench: Serenity) -> None:
    found = loaded(bench, image(READ, CODE, TLS))
    own = [region for region in found.vm if marks(region) & PER_THREAD]
    assert own
    assert {region.label for region in own} == {b"Thread-specific"}


@row("serenity", "load_elf_object", "/proc/PID/maps shows the regions' names")
def test_maps(bench: Serenity) -> None:
    path = bench.file("p", image(READ, CODE, DATA, TLS))
    bench.start(path)
    text = maps(bench.t.proc).decode()
    for name in ("Stack (Main thread)", "Signal trampoline", "Thread-specific", f"{path} (data-rw)", f"{path} (master-tls)", path):
        assert any(line.endswith(" " + name) for line in text.splitlines()), (name, text)
    assert all(int(line.split("-")[0], 16) < USER_TOP for line in text.splitlines() if "vsyscall" not in line)
