"""SerenityOS's exec, row by row, on the scripted machine: a kernel that knows its format alone, a process of its personality."""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ring3.abi import elf, x86
from ring3.abi.elf import ELF64, Ehdr, Phdr
from ring3.abi.flags import MountFlags
from ring3.abi.signals import DEFAULT_ACTION, SIG_IGN, SigAction, Signal
from ring3.errors import ENOEXEC
from ring3.exec.check import check_exec
from ring3.exec.commit import commit
from ring3.exec.formats.libelf import LOAD_END, LOAD_START
from ring3.exec.formats.serenity import ELF_SERENITY
from ring3.exec.package import ExecRequest
from ring3.exec.plan import ExecDeath, ExecPlan
from ring3.exec.switch import Entry, ExecSwitch
from ring3.personality.serenity import serenity_personality
from ring3.personality.serenity.exec_rules import ARG_MAX, BYTES_MAX, USER_TOP, shebang
from ring3.policy.confinement import new_veil
from ring3.policy.veil import parse_permissions
from ring3.proc.cred import Cred
from ring3.proc.lookup import namei_context
from ring3.vfs.namei import namei
from tests.rows import row
from tests.unit.exec.bench import Bench

IDENT = b"\x7fELF\x02\x01\x01" + bytes(9)
PAGE = 4096
NOBODY = Cred(65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534)


class Serenity(Bench):
    """A bench whose processes are SerenityOS's; `path` makes files in a directory of the host that the guest sees."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.system.personalities["serenity"] = personality = serenity_personality()
        personality.incomplete = ""         # its calls are missing, its exec is not
        self.system.execsw = ExecSwitch(self.system, (Entry(ELF_SERENITY),))
        self.t.proc.personality = self.system.personalities["serenity"]

    def file(self, name: str, data: bytes, mode: int = 0o755) -> str:
        path = self.directory / name
        path.write_bytes(data)
        path.chmod(mode)
        return str(path)

    def says(self, path: str, argv: Sequence[bytes] = (b"prog",), envp: Sequence[bytes] = (), cred: Cred | None = None) -> str:
        """The verdict, with the arguments a plan would have in front where it runs."""
        if cred is not None:
            self.t.proc.cred = cred
        return self.verdict(self.request(path, argv, envp))


@pytest.fixture
def bench() -> Iterator[Serenity]:
    with tempfile.TemporaryDirectory() as name:     # where everybody may go
        directory = Path(name)
        directory.chmod(0o755)
        made = Serenity(directory)
        yield made
        made.close()


def image(*phdrs: Phdr, kind: int = 3, entry: int = 0x1000, size: int = 0x3000, tail: bytes = b"", **header: Any) -> bytes:
    """A file with these program headers; `tail` stands right behind them."""
    ehdr = Ehdr(IDENT, kind, 62, 1, entry, 64, 0, 0, 64, 56, len(phdrs), 64, 0, 0)._replace(**header)
    data = ELF64.ehdr.encode(ehdr) + b"".join(ELF64.encode_phdr(phdr) for phdr in phdrs) + tail
    return data.ljust(size, b"\xcc")


READ = Phdr(1, 4, 0, 0, 0, 0x200, 0x200, PAGE)
CODE = Phdr(1, 5, PAGE, PAGE, 0, 0x800, 0x800, PAGE)
DATA = Phdr(1, 6, 2 * PAGE + 0x100, 3 * PAGE + 0x100, 0, 0x80, 0x2000, PAGE)
GOOD = image(READ, CODE, DATA)


def loads(name: bytes) -> bytes:
    """A program whose interpreter is `name`."""
    at = 64 + 3 * 56
    return image(READ, CODE, Phdr(3, 4, at, 0, 0, len(name) + 1, len(name) + 1, 1), tail=name + b"\0")


# --- entry
@row("serenity", "sys$execve", "more than 65536 arguments or environment strings are E2BIG, before emptiness is EINVAL")
def test_counts_come_before_emptiness(bench: Serenity) -> None:
    path = bench.file("p", GOOD)
    many = [b""] * (ARG_MAX + 1)
    assert bench.says(path, many) == "E2BIG"
    assert bench.says(path, [], many) == "E2BIG"
    assert bench.says(path, []) == "EINVAL"
    assert bench.says("/no/such/file", []) == "EINVAL"


@row("serenity", "sys$execve", "an empty path is EINVAL, one over 4096 bytes ENAMETOOLONG")
def test_paths(bench: Serenity) -> None:
    assert bench.says("") == "EINVAL"
    assert bench.says("/" + "a" * 4096) == "ENAMETOOLONG"


@row("serenity", "sys$execve", "a program started by the kernel itself, not by a call, takes the same way")
def test_the_kernel_starts_one(bench: Serenity) -> None:
    plan = bench.start(bench.file("first", GOOD), [b"first"])
    assert bench.t.proc.exe is not None
    assert plan.personality.name == "serenity"
    assert bench.t.proc.comm == b"first"


# --- the file
@row("serenity", "exec", "what is not there is ENOENT, a file as directory ENOTDIR")
def test_missing(bench: Serenity) -> None:
    path = bench.file("p", GOOD)
    assert bench.says("/no/such") == "ENOENT"
    assert bench.says(path + "/x") == "ENOTDIR"


@row("serenity", "exec", "a directory and a device are EACCES, a FIFO is EINVAL")
def test_kinds(bench: Serenity) -> None:
    os.mkfifo(bench.directory / "fifo")
    (bench.directory / "fifo").chmod(0o755)
    assert bench.says(str(bench.directory)) == "EACCES"
    assert bench.says(str(bench.directory / "fifo")) == "EINVAL"


@row("serenity", "exec", "without permission to execute it is EACCES; root may run a file that has no x bit at all")
def test_permission(bench: Serenity) -> None:
    path = bench.file("p", GOOD, 0o644)
    assert bench.says(path) == "runs"
    assert bench.says(path, cred=NOBODY) == "EACCES"
    os.chmod(path, 0o701)
    assert bench.says(path) == "runs"


@row("serenity", "exec", "only the first class of permissions that fits counts")
def test_the_owners_bits_count_for_the_owner(bench: Serenity) -> None:
    path = bench.file("p", GOOD, 0o677)
    os.chown(path, 65534, 65534)
    assert bench.says(path, cred=NOBODY) == "EACCES"


@row("serenity", "exec", "on a mount that is noexec it is EACCES, for root too")
def test_noexec(bench: Serenity) -> None:
    path = bench.file("p", GOOD)
    bench.mount.flags |= MountFlags.NOEXEC
    assert bench.says(path) == "EACCES"


@row("serenity", "exec, unveil", "a path that is not unveiled is ENOENT, one unveiled without x EACCES")
def test_the_veil(bench: Serenity) -> None:
    path = bench.file("p", GOOD)
    bench.t.proc.veil = new_veil(bench.system, {b"/usr": parse_permissions("rx")})
    assert bench.says(path) == "ENOENT"
    bench.t.proc.veil = new_veil(bench.system, {os.fsencode(bench.directory): parse_permissions("r")})
    assert bench.says(path) == "EACCES"
    bench.t.proc.veil = new_veil(bench.system, {os.fsencode(bench.directory): parse_permissions("x")})
    assert bench.says(path) == "runs"


@row("serenity", "exec", "under three bytes it is ENOEXEC")
@pytest.mark.parametrize("data", [b"", b"#!", b"ab"])
def test_three_bytes_at_least(bench: Serenity, data: bytes) -> None:
    assert bench.says(bench.file("short", data)) == "ENOEXEC"


@row("serenity", "exec", "under 64 bytes that are no script it is ENOEXEC")
def test_an_elf_header_at_least(bench: Serenity) -> None:
    assert bench.says(bench.file("short", GOOD[:63])) == "ENOEXEC"


@row("serenity", "exec", "a write-mapped file is ETXTBSY at load, one merely open for writing runs")
def test_open_for_writing_runs(bench: Serenity) -> None:
    path = bench.file("p", GOOD)
    with open(path, "r+b"):
        assert bench.says(path) == "runs"


# --- scripts
@row("serenity", "find_shebang_interpreter_for_executable", "words are split on spaces alone: a tab and CR belong to the word")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"#!/bin/sh\n", [b"/bin/sh"]), (b"#! /bin/sh  -e  -x\n", [b"/bin/sh", b"-e", b"-x"]),
        (b"#!/bin/sh\t-e\n", [b"/bin/sh\t-e"]), (b"#!/bin/sh\r\n", [b"/bin/sh\r"]), (b"#!/bin/sh", [b"/bin/sh"]),
        (b"#!\n", []), (b"#!   \n", []), (b"#!", []), (b"!#/bin/sh", []),
    ],
)
def test_words(line: bytes, words: list[bytes]) -> None:
    assert shebang(line) == words


@row("serenity", "exec", "the script's path stands in argv[0]'s place, all words of its line before it")
def test_arguments_of_a_script(bench: Serenity) -> None:
    program = bench.file("prog", GOOD)
    script = bench.file("script", f"#!{program} -a b\n".encode())
    plan = bench.check(script, [b"gone", b"x"], [b"E=1"])
    assert plan.argv == (os.fsencode(program), b"-a", b"b", os.fsencode(script), b"x")
    assert plan.exe.path == os.fsencode(program)
    assert plan.comm == b"prog"
    assert plan.script == (os.fsencode(script),)


@row("serenity", "exec", "two scripts may lead to one another, a third's interpreter is ELOOP before it is looked for")
def test_nesting(bench: Serenity) -> None:
    program = bench.file("prog", GOOD)
    one = bench.file("one", f"#!{program}\n".encode())
    two = bench.file("two", f"#!{one}\n".encode())
    assert bench.check(two).argv == (os.fsencode(program), os.fsencode(one), os.fsencode(two))
    three = bench.file("three", f"#!{two}\n".encode())
    assert bench.says(three) == "ELOOP"
    lost = bench.file("lost", b"#!/no/such/file\n")
    assert bench.says(bench.file("a", f"#!{lost}\n".encode())) == "ENOENT"
    nowhere = bench.file("c", f"#!{bench.file('b', f'#!{lost}'.encode())}\n".encode())
    assert bench.says(nowhere) == "ELOOP"


@row("serenity", "exec", "a line without words is no script, hence ENOEXEC")
def test_an_empty_line(bench: Serenity) -> None:
    assert bench.says(bench.file("s", b"#! \n" + bytes(100))) == "ENOEXEC"


@row("serenity", "exec", "an interpreter's own refusal is the script's")
def test_errors_of_the_interpreter(bench: Serenity) -> None:
    assert bench.says(bench.file("s", b"#!/no/such\n")) == "ENOENT"
    assert bench.says(bench.file("s", f"#!{bench.directory}\n".encode())) == "EACCES"


# --- validation and the interpreter
@row("serenity", "exec", "an invalid ELF header is ENOEXEC")
@pytest.mark.parametrize("change", [{"machine": 3}, {"shentsize": 0}, {"flags": 1}, {"ehsize": 52}])
def test_headers(bench: Serenity, change: dict[str, Any]) -> None:
    assert bench.says(bench.file("p", image(READ, CODE, **change))) == "ENOEXEC"


@row("serenity", "find_elf_interpreter_for_executable", "a missing interpreter is the error of looking it up")
def test_a_missing_interpreter(bench: Serenity) -> None:
    assert bench.says(bench.file("p", loads(b"/no/such/Loader.so"))) == "ENOENT"


@row("serenity", "find_elf_interpreter_for_executable", "an interpreter under 64 bytes, or that is no valid ELF file, is ENOEXEC")
def test_a_bad_interpreter(bench: Serenity) -> None:
    for data in (b"x" * 63, b"#!/bin/sh\n".ljust(100), GOOD.replace(IDENT, b"\x7fELF\x01\x01\x01" + bytes(9), 1)):
        loader = bench.file("loader", data)
        assert bench.says(bench.file("p", loads(os.fsencode(loader)))) == "ENOEXEC"


@row("serenity", "find_elf_interpreter_for_executable", "an interpreter with an interpreter of its own is ELOOP")
def test_an_interpreters_interpreter(bench: Serenity) -> None:
    inner = bench.file("inner", GOOD)
    loader = bench.file("loader", loads(os.fsencode(inner)))
    assert bench.says(bench.file("p", loads(os.fsencode(loader)))) == "ELOOP"


@row("serenity", "find_elf_interpreter_for_executable", "an object file is ENOEXEC, a core file fails later with EINVAL")
def test_what_needs_no_interpreter(bench: Serenity) -> None:
    assert bench.says(bench.file("p", image(READ, CODE, kind=1))) == "ENOEXEC"
    assert bench.says(bench.file("p", image(READ, CODE, kind=4))) == "EINVAL"


@row("serenity", "exec, unveil", "the interpreter must be unveiled for x too")
def test_the_interpreter_under_the_veil(bench: Serenity) -> None:
    (bench.directory / "lib").mkdir()
    loader = bench.file("lib/loader", GOOD)
    path = bench.file("p", loads(os.fsencode(loader)))
    bench.t.proc.veil = new_veil(bench.system, {os.fsencode(path): parse_permissions("x")})
    assert bench.says(path) == "ENOENT"


# --- loading
def test_a_good_program_runs(bench: Serenity) -> None:
    assert bench.says(bench.file("p", GOOD)) == "runs"


@row("serenity", "load_elf_object", "what is not writable is the file itself, what is writable a copy with zeros around it")
def test_segments(bench: Serenity) -> None:
    data = bytearray(GOOD)
    data[DATA.offset : DATA.offset + DATA.filesz] = b"D" * DATA.filesz
    plan = bench.check(bench.file("p", bytes(data)))
    base = plan.load_bias
    assert LOAD_START <= base < LOAD_END
    shown = [(c.kind, c.addr - base, c.length, c.prot, c.offset) for c in plan.vmcmds if c.addr < base + 0x10000 and c.addr >= base]
    assert shown == [
        ("map", 0, PAGE, 1, 0), ("map", PAGE, PAGE, 5, PAGE), ("zero", 3 * PAGE, 3 * PAGE, 3, 0),
        ("read", 3 * PAGE + 0x100, 0x80, 3, DATA.offset),
    ]
    loaded = bench.load(plan)
    memory = loaded.vm.machine.read(base + 3 * PAGE, PAGE)
    assert memory == bytes(0x100) + b"D" * 0x80 + bytes(PAGE - 0x180)
    assert plan.start == base + 0x1000
    assert plan.interp_base == base, "AT_BASE is where offset 0 of the file is shown"


@row("serenity", "load_elf_object", "regions are named after the file, writable ones (data-rw), the stack by what it is")
def test_names(bench: Serenity) -> None:
    path = bench.file("p", GOOD)
    plan = bench.check(path)
    labels = {command.label for command in plan.vmcmds}
    assert {os.fsencode(path) + b" (data-rw)", b"Stack (Main thread)"} <= labels


@row("serenity", "load_elf_object", "a segment without memory is skipped, segments on one page are ENOMEM")
def test_segments_on_one_page(bench: Serenity) -> None:
    empty = Phdr(1, 6, 0, 0, 0, 0, 0, PAGE)
    assert bench.says(bench.file("p", image(READ, empty, CODE))) == "runs"
    assert bench.says(bench.file("p", image(READ, CODE, CODE._replace(vaddr=0, offset=0)))) == "ENOMEM"


@row("serenity", "load_elf_object", "a segment outside user memory is ENOMEM, one at the end of all addresses EINVAL")
def test_segments_elsewhere(bench: Serenity) -> None:
    assert bench.says(bench.file("p", image(READ, CODE._replace(vaddr=USER_TOP)))) == "ENOMEM"
    last = (1 << 64) - LOAD_END - PAGE
    assert bench.says(bench.file("p", image(READ, DATA._replace(vaddr=last, offset=0, filesz=0)))) in ("EINVAL", "ENOMEM")


@row("serenity", "load_elf_object", "a read-only segment that reaches beyond the file's last page is EINVAL")
def test_read_only_beyond_the_file(bench: Serenity) -> None:
    assert bench.says(bench.file("p", image(READ, CODE._replace(memsz=0x9000)))) == "EINVAL"
    assert bench.says(bench.file("p", image(READ, CODE._replace(offset=0x3000, vaddr=0x3000, filesz=0, memsz=0x10)))) == "EINVAL"


@row("serenity", "load_elf_object", "an empty writable segment at the end of the file, where the original falls, is an empty copy")
def test_bss_at_the_end_of_the_file(bench: Serenity) -> None:
    bss = Phdr(1, 6, 0x3000, 0x3000, 0, 0, 0x1000, PAGE)
    assert bench.says(bench.file("p", image(READ, CODE, bss))) == "runs"


@row("serenity", "load_elf_object", "an entry point of 0 is ENOEXEC")
def test_entry_zero(bench: Serenity) -> None:
    bench.system.execsw.randomise = False
    assert bench.says(bench.file("p", image(READ, CODE, entry=(1 << 64) - LOAD_START))) == "ENOEXEC"


@row("serenity", "load_elf_object", "two symbol tables make an image invalid: ENOEXEC")
def test_two_symbol_tables(bench: Serenity) -> None:
    sections = b"".join(struct.pack("<II56x", 0, kind) for kind in (2, 2, 3))
    good = image(READ, CODE, shoff=0x2000, shnum=3, shstrndx=2)
    assert bench.says(bench.file("p", good[:0x2000] + sections.ljust(0x1000, b"\0"))) == "runs", "the first section is overlooked"
    sections = b"".join(struct.pack("<II56x", 0, kind) for kind in (0, 2, 2))
    assert bench.says(bench.file("p", good[:0x2000] + sections.ljust(0x1000, b"\0"))) == "ENOEXEC"


@row("serenity", "load_elf_object", "the stack is PT_GNU_STACK's size, 1 MiB without one")
@pytest.mark.parametrize(("memsz", "size"), [(None, 1 << 20), (0, 1 << 20), (0x20000, 0x20000)])
def test_the_stack_has_the_size_that_is_asked_for(bench: Serenity, memsz: int | None, size: int) -> None:
    stack = () if memsz is None else (Phdr(0x6474E551, 6, 0, 0, 0, 0, memsz, 16),)
    plan = bench.check(bench.file("p", image(READ, CODE, *stack)))
    region = next(command for command in plan.vmcmds if command.label == b"Stack (Main thread)")
    assert region.length == size
    assert region.addr + region.length == plan.layout.stack_top


@row("serenity", "load_elf_object", "PT_TLS becomes a master copy and the thread's own, FS base at the pointer to itself")
def test_thread_local_storage(bench: Serenity) -> None:
    tls = Phdr(7, 4, 0x2000, 0, 0, 8, 24, 16)
    data = bytearray(image(READ, CODE, tls))
    data[0x2000:0x2008] = b"TLSDATA!"
    plan = bench.check(bench.file("p", bytes(data)))
    loaded = bench.load(plan)
    pointer = dict(plan.registers)[x86.FS_BASE]
    assert loaded.vm.machine.read(pointer, 8) == pointer.to_bytes(8, "little")
    assert loaded.vm.machine.read(pointer - 32, 32) == b"TLSDATA!" + bytes(24)
    assert bench.says(bench.file("p", image(READ, CODE, tls._replace(filesz=0, memsz=0)))) == "ENOEXEC", "where the original falls"


@row("serenity", "load", "with an interpreter the kernel maps the interpreter alone")
def test_only_the_loader_is_mapped(bench: Serenity) -> None:
    loader = bench.file("loader", GOOD)
    path = bench.file("p", loads(os.fsencode(loader)))
    plan = bench.check(path)
    assert {c.file.path for c in plan.vmcmds if c.file is not None} == {os.fsencode(loader)}
    assert plan.exe.path == os.fsencode(path)


# --- what the image finds
def auxv_of(plan: ExecPlan) -> dict[int, int]:
    return {entry.type: entry.value for entry in plan.stack.auxv}


@row("serenity", "do_exec", "the main program is the lowest free descriptor before close-on-exec ones close")
def test_the_loaders_descriptor(bench: Serenity) -> None:
    loader = bench.file("loader", GOOD)
    path = bench.file("p", loads(os.fsencode(loader)))
    plan = bench.check(path)
    assert auxv_of(plan)[2] == 0
    assert [fd for fd, *_ in plan.opens] == [0]
    assert 2 not in auxv_of(bench.check(bench.file("static", GOOD)))


@row("serenity", "generate_auxiliary_vector", "fifteen entries in order, AT_IGNORE where no loader needs a descriptor")
def test_the_auxiliary_vector(bench: Serenity) -> None:
    path = bench.file("p", GOOD)
    plan = bench.check(path)
    kinds = [entry.type for entry in plan.stack.auxv]
    assert kinds == [6, 7, 9, 11, 12, 13, 14, 15, 16, 17, 23, 25, 31, 1, 0]
    found = auxv_of(plan)
    assert (found[elf.AT_PAGESZ], found[elf.AT_CLKTCK], found[elf.AT_SECURE]) == (4096, 250, 0)
    assert (found[elf.AT_BASE], found[elf.AT_ENTRY]) == (plan.load_bias, plan.load_bias + 0x1000)
    memory = bench.load(plan).vm.machine
    assert memory.read(found[elf.AT_EXECFN], len(path) + 1) == os.fsencode(path) + b"\0"
    assert memory.read(found[elf.AT_PLATFORM], 7) == b"x86_64\0"


@row("serenity", "make_userspace_context_for_main_thread", "rdi is argc, rsi argv, rdx envp; rsp a multiple of 16")
def test_the_stack(bench: Serenity) -> None:
    plan = bench.check(bench.file("p", GOOD), [b"one", b"two"], [b"A=1"])
    memory = bench.load(plan).vm.machine
    registers = dict(plan.registers)
    assert registers[x86.RSP] % 16 == 0
    assert registers[x86.RDI] == 2
    argv = struct.unpack("<3Q", memory.read(registers[x86.RSI], 24))
    envp = struct.unpack("<2Q", memory.read(registers[x86.RDX], 16))
    assert (argv[2], envp[1]) == (0, 0)
    assert [memory.read(at, 4) for at in argv[:2]] == [b"one\0", b"two\0"]
    assert memory.read(envp[0], 4) == b"A=1\0"
    assert argv[0] > argv[1] > envp[0], "the first argument is the highest"
    assert registers[x86.RDX] == registers[x86.RSI] + 24
    vector = memory.read(registers[x86.RDX] + 16, 240)
    assert vector == plan.stack.auxv_bytes
    top = plan.layout.stack_top
    assert 0 <= top - (argv[0] + 8) <= PAGE, "the start is random within a page"
    assert memory.read(plan.stack.auxv[11].value, 16) != bytes(16)


@row("serenity", "validate_stack_size", "over 128 KiB of arguments are found out too late: it dies by SIGSEGV")
def test_arguments_over_the_limit(bench: Serenity) -> None:
    path = bench.file("p", GOOD)
    fits = BYTES_MAX - 8 * 3 - len(b"p\0") - 1
    assert bench.says(path, [b"p", b"x" * fits]) == "runs"
    assert bench.says(path, [b"p", b"x" * (fits + 1)]) == "signal 11"
    assert bench.says(path, [b"p"], [b"x" * BYTES_MAX]) == "signal 11"


@row("serenity", "make_userspace_context_for_main_thread", "what a small stack cannot hold ends in SIGSEGV")
def test_arguments_over_a_small_stack(bench: Serenity) -> None:
    path = bench.file("p", image(READ, CODE, Phdr(0x6474E551, 6, 0, 0, 0, 0, 65536, 16)))
    assert bench.says(path, [b"p", b"x" * 70000]) == "signal 11"


@row("serenity", "do_exec", "set-id bits change effective and saved ids, and the image is not dumpable")
def test_set_id(bench: Serenity) -> None:
    path = bench.file("p", GOOD)
    os.chown(path, 1234, 4321)
    os.chmod(path, 0o6755)
    plan = bench.check(path)
    assert (plan.cred.ruid, plan.cred.euid, plan.cred.suid) == (0, 1234, 1234)
    assert (plan.cred.rgid, plan.cred.egid, plan.cred.sgid) == (0, 4321, 4321)
    assert plan.dumpable == 0
    assert auxv_of(plan)[elf.AT_SECURE] == 1
    bench.mount.flags |= MountFlags.NOSUID
    plan = bench.check(path)
    assert plan.cred == bench.t.proc.cred
    assert plan.dumpable == 1


@row("serenity", "do_exec", "a group's set-id bit counts without its x bit")
def test_set_group_id_without_x(bench: Serenity) -> None:
    path = bench.file("p", GOOD)
    os.chown(path, 0, 4321)
    os.chmod(path, 0o2705)
    assert bench.check(path).cred.egid == 4321


@row("serenity", "clear_signal_handlers_for_exec", "ignored signals stay ignored but SIGCHLD, caught ones get their default action")
def test_signals(bench: Serenity) -> None:
    table = bench.t.proc.actions.table
    table[Signal.SIGUSR1] = table[Signal.SIGCHLD] = SigAction(SIG_IGN)
    table[Signal.SIGUSR2] = SigAction(0x1234)
    bench.t.sigmask = 1 << 11
    bench.start(bench.file("p", GOOD))
    after = bench.t.proc.actions.table
    assert after[Signal.SIGUSR1].handler == SIG_IGN
    assert (after[Signal.SIGCHLD], after[Signal.SIGUSR2]) == (DEFAULT_ACTION, DEFAULT_ACTION)
    assert bench.t.sigmask == 1 << 11


@row("serenity", "do_exec", "a refusal leaves the caller as it was")
def test_a_refusal_changes_nothing(bench: Serenity) -> None:
    bench.start(bench.file("first", GOOD))
    before = (bench.t.proc.vm, bench.t.proc.exe, bench.t.proc.comm, bench.t.cpu)
    assert bench.says(bench.file("bad", b"bad")) == "ENOEXEC"
    assert (bench.t.proc.vm, bench.t.proc.exe, bench.t.proc.comm, bench.t.cpu) == before


@row("serenity", "do_exec", "what is found out behind the point of no return is a death, decided before it")
def test_a_death(bench: Serenity) -> None:
    outcome = check_exec(bench.t, ExecRequest(os.fsencode(bench.file("p", GOOD)), [b"x" * BYTES_MAX], []))
    assert isinstance(outcome, ExecDeath)
    assert (outcome.signal, outcome.step) == (11, "stack")


def test_its_programs_are_not_run_while_its_calls_are_missing(bench: Serenity) -> None:
    bench.system.personalities["serenity"].incomplete = "its calls are missing"
    plan = bench.check(bench.file("p", GOOD))
    with pytest.raises(ENOEXEC, match="its calls are missing"):
        bench.load(plan)


def test_the_switch_knows_its_programs_by_their_loader(bench: Serenity) -> None:
    """A Linux process that runs a program which names the loader gets SerenityOS's image; what names none stays Linux's."""
    linux = Bench()
    try:
        linux.system.personalities["serenity"] = bench.system.personalities["serenity"]
        loader = bench.directory / "usr" / "lib"
        loader.mkdir(parents=True)
        (loader / "Loader.so").write_bytes(GOOD)
        (loader / "Loader.so").chmod(0o755)
        linux.t.proc.fs.root = namei(namei_context(linux.t), os.fsencode(bench.directory))
        bench.file("named", loads(b"/usr/lib/Loader.so"))
        assert linux.check("/named").personality.name == "serenity"
        bench.file("plain", GOOD)
        assert linux.check("/plain").personality.name == "linux"
    finally:
        linux.close()


def test_two_plans_of_one_seed_are_equal(bench: Serenity) -> None:
    path = bench.file("p", GOOD)
    assert bench.check(path) == bench.check(path)


def test_a_plan_can_be_committed(bench: Serenity) -> None:
    plan = bench.check(bench.file("p", GOOD))
    commit(bench.t, bench.load(plan))
    assert bench.t.cpu.regs[x86.RIP] == plan.start
