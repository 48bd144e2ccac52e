"""Which memory a core keeps, how much of it, and what becomes of a file that cannot be written."""

from __future__ import annotations

from typing import Any

import pytest

from ring3.abi.elf import ELF64
from ring3.abi.flags import OpenFlags
from ring3.errors import ENOSPC
from ring3.machine.scripted import ScriptedMachine
from ring3.proc.core import CORE_MAX, RELRO_MAX, Piece, kept_of, pieces_of, write_core
from ring3.vfs.file import RegularFile
from ring3.vfs.memory import MemoryFS
from ring3.vm.region import PAGE, Region, SharedAnonymous, VMObject
from ring3.vm.vmspace import VMSpace

FILE = VMObject()


def region(npages: int = 4, prot: int = 3, **more: Any) -> Region:
    return Region(0x10000, 0x10000 + npages * PAGE, prot, **more)


@pytest.mark.parametrize(("given", "kept"), [
    (region(), 4 * PAGE),
    (region(prot=1), 4 * PAGE),
    (region(prot=0), 0),
    (region(prot=2), 0),
    (region(object=SharedAnonymous(), shared=True), 4 * PAGE),
    (region(object=FILE), 4 * PAGE),                                            # it has written its copy
    (region(object=FILE, shared=True), PAGE),                                   # the file has what was written
    (region(object=FILE, prot=5), PAGE),
    (region(object=FILE, prot=5, offset=PAGE), 0),
    (region(object=FILE, prot=1, offset=PAGE), 4 * PAGE),                       # written once, maybe (RELRO)
    (region(RELRO_MAX // PAGE + 1, object=FILE, prot=1, offset=PAGE), 0),
])
def test_what_is_kept(given: Region, kept: int) -> None:
    assert kept_of(given) == kept


def test_there_is_a_bound() -> None:
    huge = region(CORE_MAX // PAGE * 2)
    assert [piece.nbytes for piece in pieces_of([region(), huge, region()], CORE_MAX)] == [4 * PAGE, CORE_MAX - 4 * PAGE, 0]
    assert [piece.nbytes for piece in pieces_of([region(), region()], 5 * PAGE + 100)] == [4 * PAGE, PAGE]
    assert [piece.nbytes for piece in pieces_of([region()], -5)] == [0]


def new_space(machine: ScriptedMachine) -> VMSpace:
    vm = VMSpace(machine.new_space(), min_addr=PAGE, user_top=1 << 47)
    vm.map(region())
    vm.copyout(0x10000 + PAGE, b"text")
    return vm


def new_file() -> RegularFile:
    vnode = MemoryFS().root().create(b"core", 0o100600, 0, 0)
    return RegularFile(vnode, OpenFlags.WRONLY)


@pytest.mark.parametrize("notes_first", [True, False])
def test_the_file(notes_first: bool) -> None:
    machine, file = ScriptedMachine(), new_file()
    vm = new_space(machine)
    assert write_core(file, vm, [Piece(vm.regions[0], 4 * PAGE)], b"the notes", notes_first=notes_first)
    assert file.vnode is not None
    data = file.vnode.read(0, 1 << 20)
    ehdr = ELF64.ehdr.decode(data[:64])
    headers = [ELF64.phdr.decode(data[64 + 56 * n : 120 + 56 * n]) for n in range(ehdr.phnum)]
    assert [header.type for header in headers] == ([4, 1] if notes_first else [1, 4])
    notes, load = headers if notes_first else reversed(headers)
    assert data[notes.offset : notes.offset + notes.filesz] == b"the notes"
    assert (load.vaddr, load.filesz, load.memsz, load.flags) == (0x10000, 4 * PAGE, 4 * PAGE, 6)
    assert data[load.offset + PAGE : load.offset + PAGE + 4] == b"text"
    assert len(data) == max(load.offset + load.filesz, notes.offset + notes.filesz)
    machine.close()


def test_what_cannot_be_written_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, file = ScriptedMachine(), new_file()
    vm, vnode = new_space(machine), file.vnode
    assert vnode is not None
    write = type(vnode).write

    def full(self: Any, offset: int, data: bytes) -> int:
        if offset > 500:
            raise ENOSPC
        return write(self, offset, data)

    monkeypatch.setattr(type(vnode), "write", full)
    assert not write_core(file, vm, [Piece(vm.regions[0], 4 * PAGE)], b"the notes", notes_first=True)
    assert vnode.getattr().size == 0
    machine.close()
