"""Whose emulation root a process has: set by the exec of an image of its system, inherited by fork, dropped by a native image."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from ring3.abi.elf import EM_386, PF_R, PT_NOTE, Phdr
from ring3.abi.flags import CloneFlags
from ring3.errors import ENOENT
from ring3.exec.check import check_exec
from ring3.exec.commit import commit
from ring3.exec.plan import ExecPlan
from ring3.personality.netbsd import netbsd32_personality, netbsd_personality
from ring3.proc.lifecycle import fork_process
from ring3.proc.lookup import find_emulation_root, namei_context
from ring3.proc.proc import Thread
from ring3.vfs.namei import namei
from tests.rows import row
from tests.unit.exec import images
from tests.unit.exec.bench import Bench
from tests.unit.exec.netbsd import dynamic

LOADER = b"/libexec/ld.elf_so"


def netbsd_program(loader: bytes | None = None) -> bytes:
    """A NetBSD program, with an interpreter if one is named."""
    note = struct.pack("<III8sI", 7, 4, 1, b"NetBSD\0\0", 903000000)
    phdrs = [Phdr(PT_NOTE, PF_R, 0x700, 0x400700, 0x400700, len(note), len(note), 4)]
    parts = [(0x700, note)]
    if loader is not None:
        phdr, part = images.interp(loader)
        phdrs.append(phdr)
        parts.append(part)
    return images.program(before=phdrs, parts=parts)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A guest's root: /emul/netbsd with the loader, a real tree with another one."""
    for name, data in {
        "emul/netbsd/libexec/ld.elf_so": images.pie(), "emul/netbsd/bin/sh": netbsd_program(), "emul/netbsd/etc/own": b"x",
        "bin/static": netbsd_program(), "bin/dynamic": netbsd_program(LOADER), "bin/linux": images.program(),
        "bin/linux-dynamic": images.interpreted(LOADER), "bin/sh": images.program(), "bin/script": b"#!/bin/sh\n",
        "jail/bin/static": netbsd_program(), "etc/own": b"y",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o755)
    return tmp_path


@pytest.fixture
def kernel(tree: Path) -> Iterator[Bench]:
    made = Bench(root=str(tree))
    made.system.personalities["netbsd"] = netbsd_personality()
    yield made
    made.close()


def place(t: Thread, path: bytes) -> bytes:
    """Where a process finds something."""
    return namei(namei_context(t), path).path(t.proc.fs.root)


@row("netbsd", "emul_find_root, sys_execve", "an exec gives the process the emulation root of its image's system")
@row("netbsd", "emul_find_root, sys_execve", "the exec of an image of a system without one drops it")
def test_exec_sets_and_drops_it(kernel: Bench) -> None:
    t = kernel.t
    assert place(t, b"/etc/own") == b"/etc/own"
    kernel.start("/bin/static")
    assert place(t, b"/etc/own") == b"/emul/netbsd/etc/own"
    assert place(t, b"/bin/linux") == b"/bin/linux"
    kernel.start("/bin/linux")
    assert t.proc.emulation is None
    assert place(t, b"/etc/own") == b"/etc/own"


@row("netbsd", "emul_find_root", "a system whose emulation root is not there has none: its programs look at the real tree")
def test_without_the_directory(kernel: Bench, tree: Path) -> None:
    (tree / "emul").rename(tree / "elsewhere")
    kernel.start("/bin/static")
    assert kernel.t.proc.emulation is None
    (tree / "emul").mkdir()
    (tree / "emul" / "netbsd").write_text("a file")
    assert find_emulation_root(kernel.t.proc, kernel.system.personalities["netbsd"]) is None


@row("netbsd", "emul_find_interp", "an image's interpreter is looked for from the image's emulation root, not from the caller's")
def test_the_interpreter_is_the_images(kernel: Bench) -> None:
    plan = kernel.check("/bin/dynamic")                 # the caller is a Linux process
    assert plan.interpreter is not None
    assert plan.interpreter.path == b"/emul/netbsd" + LOADER
    kernel.start("/bin/static")
    with pytest.raises(ENOENT):                         # now it has that root, and the image is Linux's
        check_exec(kernel.t, kernel.request("/bin/linux-dynamic"))


@row("netbsd", "netbsd32_probe_noteless",
     "a 32-bit program that names the 64-bit system's loader gets its own, where that is there")
@pytest.mark.parametrize("named", [b"/libexec/ld.elf_so", b"/usr/libexec/ld.elf_so", b"/other/ld.elf_so"])
def test_a_32_bit_programs_loader(kernel: Bench, tree: Path, named: bytes) -> None:
    kernel.system.personalities["netbsd32"] = netbsd32_personality()
    own = b"/usr/libexec/ld.elf_so-i386"
    for name, data in (("bin/p", dynamic(named, machine=EM_386)), (named.decode()[1:], images.pie(machine=EM_386))):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
        (tree / name).chmod(0o755)
    plan = kernel.check("/bin/p")
    assert plan.interpreter is not None
    assert plan.interpreter.path == named
    for directory in (b"", b"/emul/netbsd32"):                          # the image's own tree comes first
        path = tree / (directory + own).decode()[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(images.pie(machine=EM_386))
        path.chmod(0o755)
        plan = kernel.check("/bin/p")
        assert plan.interpreter is not None
        assert plan.interpreter.path == (named if named.startswith(b"/other") else directory + own)


@row("netbsd", "exec_script_makecmds, namei", "a program and a script's interpreter are looked up as all files of the caller are")
def test_programs_are_looked_up_as_the_callers_files(kernel: Bench) -> None:
    assert kernel.check("/bin/script").exe.path == b"/bin/sh"
    kernel.start("/bin/static")
    plan = kernel.check("/bin/script")
    assert plan.exe.path == b"/emul/netbsd/bin/sh"
    assert plan.personality.name == "netbsd"
    assert kernel.check("/../bin/sh").personality.name == "linux"


@row("netbsd", "emul_find_root, fork", "a child has the emulation root of its parent")
def test_fork_hands_it_on(kernel: Bench) -> None:
    kernel.start("/bin/static")
    child = fork_process(kernel.t, CloneFlags(0), 17)
    assert child.proc.emulation == kernel.t.proc.emulation
    assert place(child, b"/etc/own") == b"/emul/netbsd/etc/own"


def test_a_process_that_changed_its_root_leaves_it_behind(kernel: Bench) -> None:
    t = kernel.t
    kernel.start("/bin/static")
    jail = namei(namei_context(t), b"/jail")
    t.proc.fs.root = t.proc.fs.cwd = jail
    context = namei_context(t)
    assert context.emulation_root is None
    with pytest.raises(ENOENT):
        namei(context, b"/etc/own")
    plan = check_exec(t, kernel.request("/bin/static"))
    assert isinstance(plan, ExecPlan)
    assert plan.emulation is None                       # the jail has no /emul
    commit(t, kernel.load(plan))
    assert t.proc.emulation is None


def test_the_root_itself_is_no_emulation_root(kernel: Bench, tree: Path) -> None:
    (tree / "jail" / "emul").mkdir()
    (tree / "jail" / "emul" / "netbsd").symlink_to("/")
    (tree / "jail" / "emul" / "netbsd32").symlink_to("../../..")
    t = kernel.t
    t.proc.fs.root = namei(namei_context(t), b"/jail")
    assert find_emulation_root(t.proc, kernel.system.personalities["netbsd"]) is None


def test_a_failed_exec_changes_nothing(kernel: Bench) -> None:
    kernel.start("/bin/static")
    before = kernel.t.proc.emulation
    with pytest.raises(ENOENT):
        check_exec(kernel.t, kernel.request("/bin/linux-dynamic"))
    assert kernel.t.proc.emulation is before
    assert place(kernel.t, b"/etc/own") == b"/emul/netbsd/etc/own"


def test_every_system_but_the_first_keeps_its_files_in_its_own_place() -> None:
    """What `--emul NAME=DIR` mounts is where the personality NAME looks."""
    from ring3.boot import EMULATION_ROOTS
    from ring3.personality import BUILTIN, Personalities

    known = Personalities()
    first, *others = BUILTIN
    assert known[first].root is None
    assert {name: known[name].root for name in others} == {name: f"{EMULATION_ROOTS}/{name}".encode() for name in others}
