"""Linux's exec rules, row by row: what the host's kernel does, ours does.  Each row makes a file and asks both.

The rows are not expectations: nothing is written down but the question.  Both verdicts are "runs", an errno, or a
signal.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from ring3.abi.elf import EM_386, ET_DYN, PF_R, PF_W, PF_X, PT_INTERP, Phdr
from ring3.proc.cred import Cred
from ring3.proc.proc import Rlimit
from ring3.vfs.namei import NameiContext, namei
from tests.unit.exec import native
from tests.unit.exec.bench import Bench
from tests.unit.exec.images import DATA, Elf, interp, interpreted, load, pie, pie_interpreted, program, stack

NOBODY = 65534
NO_RANDOM = 0x0040000         # personality(2)
LD_SO = b"/lib64/ld-linux-x86-64.so.2"


class Row(NamedTuple):
    """`make` prepares a directory and gives the path to run, relative to it (or absolute)."""

    name: str
    make: Callable[[Path], str | bytes]
    argv: tuple[bytes, ...] = (b"zero",)
    envp: tuple[bytes, ...] = ()
    uid: int = 0
    stack: int = 8 << 20
    flags: int = 0                  # personality(2)

    def __str__(self) -> str:
        return self.name


def put(d: Path, data: bytes, mode: int = 0o755, name: str = "x") -> str:
    (d / name).write_bytes(data)
    (d / name).chmod(mode)
    return name


def row(name: str, data: bytes, *, mode: int = 0o755, uid: int = 0, **how: tuple[bytes, ...] | int) -> Row:
    """One file, run."""
    return Row(name, lambda d: put(d, data, mode), uid=uid, **how)  # type: ignore[arg-type]


def script(name: str, line: bytes) -> Row:
    """One script; `@` stands for an interpreter that runs."""
    def make(d: Path) -> str:
        put(d, program(), name="i")
        return put(d, line.replace(b"@", bytes(d / "i")))
    return Row("script " + name, make)


def two(name: str, first: bytes, second: bytes, mode: int = 0o755) -> Row:
    """A program whose interpreter is `second`; `first` is made with the name "@"."""
    def make(d: Path) -> str:
        put(d, second, mode, "i")
        return put(d, first)
    return Row(name, make)


def chain(length: int) -> Row:
    def make(d: Path) -> str:
        put(d, program(), name="s0")
        for i in range(1, length + 1):
            put(d, f"#!{d}/s{i - 1}\n".encode(), name=f"s{i}")
        return f"s{length}"
    return Row(f"{length} scripts in a row", make)


def padded(d: Path, total: int, tail: bytes = b"\n") -> bytes:
    """A script line of `total` bytes in front of `tail` whose interpreter's path is padded with slashes."""
    target = bytes(d / "i")
    return b"#!" + b"/" * (total - 2 - len(target)) + target + tail


def long_line(name: str, total: int, tail: bytes) -> Row:
    def make(d: Path) -> str:
        put(d, program(), name="i")
        return put(d, padded(d, total, tail))
    return Row(f"script line {name}", make)


def linked(d: Path, to: str) -> str:
    (d / "l").symlink_to(to)
    return "l"


def fifo(d: Path) -> str:
    os.mkfifo(d / "p", 0o777)
    return "p"


def sock(d: Path) -> str:
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(d / "s"))
    (d / "s").chmod(0o777)
    return "s"


def directory(d: Path) -> str:
    (d / "d").mkdir()
    return "d"


def under_file(d: Path) -> str:
    put(d, program())
    return "x/y"


def slash(d: Path) -> str:
    return put(d, program()) + "/"


def closed_dir(d: Path) -> str:
    (d / "d").mkdir(0o700)
    return "d/" + put(d / "d", program())


def owned(d: Path) -> str:
    put(d, program(), 0o077)
    os.chown(d / "x", NOBODY, NOBODY)
    return "x"


def script_to_dir(d: Path) -> str:
    (d / "i").mkdir()
    return put(d, f"#!{d}/i\n".encode())


def relative_interp(d: Path) -> str:
    put(d, program(), name="i")
    return put(d, b"#!i\n")


def elf_relative_interp(d: Path) -> str:
    put(d, pie(), name="i")
    return put(d, interpreted(b"i"))


def interp_kind(kind: Callable[[Path], str], name: str) -> Row:
    def make(d: Path) -> str:
        return put(d, interpreted(bytes(d / kind(d))))
    return Row(f"PT_INTERP names a {name}", make)


def elf_interp(name: str, contents: bytes, *, mode: int = 0o755, uid: int = 0, main: Callable[..., bytes] = interpreted) -> Row:
    def make(d: Path) -> str:
        put(d, contents, mode, "i")
        return put(d, main(bytes(d / "i")))
    return Row(f"interpreter {name}", make, uid=uid)


def two_interps(first: bytes, second: bytes) -> bytes:
    a, part_a = interp(first)
    b, part_b = interp(second, offset=0xA00)
    return program(before=(a, b), parts=(part_a, part_b))


TOP = 0x7FFF_FFFF_F000
FILES = (
    Row("missing file", lambda _: "none"),
    Row("missing directory", lambda _: "none/none"),
    Row("empty path", lambda _: ""),
    Row("file as directory", under_file),
    Row("trailing slash", slash),
    Row("directory", directory),
    Row("root directory", lambda _: "/"),
    Row("fifo", fifo),
    Row("socket", sock),
    Row("name of 255", lambda d: put(d, program(), name="n" * 255)),
    Row("name of 256", lambda _: "n" * 256),
    Row("path of 4095", lambda d: "./" * 2047 + put(d, program())),
    Row("path of 4096", lambda d: "./" * 2047 + put(d, program(), name="xy")),
    Row("link", lambda d: linked(d, put(d, program()))),
    Row("dangling link", lambda d: linked(d, "none")),
    Row("link to itself", lambda d: linked(d, "l")),
    Row("link to a directory", lambda d: linked(d, directory(d))),
    row("no x bit as root", program(), mode=0o644),
    row("x for others only, as root", program(), mode=0o001),
    row("no permission at all, as root", program(), mode=0),
    row("no x bit", program(), mode=0o644, uid=NOBODY),
    row("no x bit for others", program(), mode=0o750, uid=NOBODY),
    row("x but no r", program(), mode=0o711, uid=NOBODY),
    Row("owner without x", owned, uid=NOBODY),
    Row("directory without search", closed_dir, uid=NOBODY),
)
HEADERS = (
    row("empty", b""),
    row("one byte", b"\x7f"),
    row("magic only", b"\x7fELF"),
    row("garbage", b"garbage, no program\n"),
    row("binary garbage", bytes(range(1, 256)) * 4),
    row("zeros", bytes(4096)),
    row("a program", program()),
    row("i386", program(machine=EM_386)),
    row("static pie", pie()),
    row("i386 static pie", pie(machine=EM_386)),
    row("cut in the header", program()[:40]),
    row("cut at the header", program()[:64]),
    row("cut in the program headers", program()[:100]),
    row("cut at the program headers", program()[:120]),
    row("cut in the code page", program()[:0x1008]),
    row("another machine", program(machine=62).replace(b"\x3e\0\x01\0\0\0", b"\xb7\0\x01\0\0\0", 1)),
    row("relocatable", program(type=1)),
    row("core", program(type=4)),
    row("type 0", program(type=0)),
    row("class 1 in a 64-bit file", program(ident=b"\x7fELF\1\1\1" + bytes(9))),
    row("class 0", program(ident=b"\x7fELF\0\1\1" + bytes(9))),
    row("big endian said", program(ident=b"\x7fELF\2\2\1" + bytes(9))),
    row("version 7", program(ident=b"\x7fELF\2\1\7" + bytes(9))),
    row("os abi 99", program(ident=b"\x7fELF\2\1\1\x63" + bytes(8))),
    row("class 2 in an i386 file", program(machine=EM_386, ident=b"\x7fELF\2\1\1" + bytes(9))),
    row("bad magic", program(ident=b"\x7fELG\2\1\1" + bytes(9))),
    row("phentsize 55", program(phentsize=55)),
    row("phentsize 0", program(phentsize=0)),
    row("phentsize 64", program(phentsize=64)),
    row("phnum 0", program(phnum=0)),
    row("phnum 65535", program(phnum=65535)),
    row("phnum 1170, file too short", program(phnum=1170)),
    row("phnum 1170", program(phnum=1170, size=0x11000)),
    row("phnum 1171", program(phnum=1171, size=0x11000)),
    row("phoff beyond", program(phoff=0x100000)),
    row("phoff negative", program(phoff=(1 << 64) - 64)),
    row("phoff unaligned", b"".join((program()[:0x40], b"\0", program()[0x40:0x40 + 56], program()[0x79:])).replace(
        b"\x40\0\0\0\0\0\0\0", b"\x41\0\0\0\0\0\0\0", 1)),
    row("no segment", Elf(phdrs=(stack(6),)).encode()),
    row("no segment, dynamic", Elf(type=ET_DYN, phdrs=(stack(6),)).encode()),
)
SEGMENTS = (
    row("huge memsz", program(load(0x600000, filesz=0x10, memsz=1 << 46, flags=DATA))),
    row("memsz 2^63", program(load(0x600000, filesz=0x10, memsz=1 << 63, flags=DATA))),
    row("memsz wraps", program(load(0x600000, filesz=0x10, memsz=(1 << 64) - 0x1000, flags=DATA))),
    row("memsz below filesz", program(load(0x600000, filesz=0x100, memsz=0x80, flags=DATA))),
    row("memsz 0 filesz 0", program(load(0x600000, filesz=0, memsz=0, flags=DATA))),
    row("filesz huge", program(load(0x600000, filesz=1 << 50, memsz=1 << 50, flags=DATA))),
    row("filesz wraps", program(load(0x600000, filesz=(1 << 64) - 1, memsz=(1 << 64) - 1, flags=DATA))),
    row("segment in the kernel half", program(load(0xFFFF_8000_0000_0000, flags=DATA))),
    row("segment at the very top", program(load(0xFFFF_FFFF_FFFF_F000, flags=DATA))),
    row("segment not canonical", program(load(0x8000_0000_0000, flags=DATA))),
    row("bss into the kernel half", program(load(0x7FFF_0000_0000, filesz=0x10, memsz=0x1_0000_0000, flags=DATA))),
    row("first segment in the kernel half", program(base=0xFFFF_8000_0000_0000)),
    row("vaddr 0 as nobody", program(base=0), uid=NOBODY),
    row("vaddr 0x1000", program(base=0x1000), uid=NOBODY),
    row("vaddr 0x10000", program(base=0x10000), uid=NOBODY),
    row("entry in the kernel half", program(entry=0xFFFF_8000_0000_0000)),
    row("entry not canonical", program(entry=0x8000_0000_0000)),
    row("offset and vaddr differ in the page", program(load(0x600010, offset=0x1000, flags=DATA))),
    row("offset beyond the file, never touched", program(load(0x600000, offset=0x100000, flags=DATA))),
    row("offset beyond the file, with bss", program(load(0x600000, offset=0x100000, filesz=0x10, memsz=0x20, flags=DATA))),
    row("offset beyond the file, bss, read-only", program(load(0x600000, offset=0x100000, filesz=0x10, memsz=0x20, flags=PF_R))),
    row("segment ends beyond the file, bss", program(load(0x600000, offset=0x1000, filesz=0x3010, memsz=0x4000, flags=DATA))),
    row("offset negative", program(load(0x600000, offset=(1 << 64) - 0x1000, flags=DATA))),
    row("offset near 2^63", program(load(0x600000, offset=(1 << 63) - 0x1000, filesz=0x1000, flags=DATA))),
    row("offset below its page", program(load(0x600010, offset=0x8, flags=DATA))),
    row("overlapping segments", program(load(0x401000, flags=PF_R | PF_X), load(0x401000, flags=PF_R | PF_X))),
    row("second segment replaces the code by data", program(load(0x401000, offset=0, flags=DATA))),
    row("segments out of order", program(load(0x200000, flags=DATA))),
    row("bss only", program(load(0x600000, offset=0, filesz=0, memsz=0x5000, flags=DATA))),
    row("bss only, unaligned", program(load(0x600123, offset=0, filesz=0, memsz=0x5000, flags=DATA))),
    row("partial page", program(load(0x600000, filesz=0x10, memsz=0x5000, flags=DATA))),
    row("read-only with bss", program(load(0x600000, filesz=0x10, memsz=0x5000, flags=PF_R))),
    row("no permission", program(load(0x600000, flags=0))),
    row("write and execute", program(load(0x600000, flags=PF_R | PF_W | PF_X))),
    row("align 0", program(load(0x600000, align=0, flags=DATA))),
    row("align 3", program(load(0x600000, align=3, flags=DATA))),
    row("align 2^63", program(load(0x600000, align=1 << 63, flags=DATA))),
    row("pie align 2 MiB", pie(load(0x200000, align=0x200000, flags=DATA))),
    row("pie align 2^30", pie(load(0x200000, align=1 << 30, flags=DATA))),
    row("pie align 2^46", pie(load(0x200000, align=1 << 46, flags=DATA))),
    row("pie align 2^63", pie(load(0x200000, align=1 << 63, flags=DATA))),
    row("pie first vaddr high", program(base=0x10_0000_0000, type=ET_DYN)),
    row("pie vaddr in the kernel half", program(base=0xFFFF_8000_0000_0000, type=ET_DYN)),
    row("pie memsz huge", pie(load(0x200000, filesz=0x10, memsz=1 << 46, flags=DATA))),
    row("pie span huge", pie(load(1 << 46, flags=DATA))),
    row("pie span too huge", pie(load((1 << 47) - 0x2000, flags=DATA))),
    row("pie segments out of order", program(load(0x1000, flags=DATA), type=ET_DYN, base=0x10000)),
    row("stack executable", program(stack(7))),
    row("stack not executable", program(stack(6))),
    row("stack with size", program(stack(6)._replace(memsz=1 << 40))),
    row("unknown headers", program(Phdr(0x6474E553, 4, 0, 0, 0, 1 << 60, 1, 8), Phdr(0x12345678, 7, 1 << 62, 0, 0, 1, 1, 1))),
    row("gnu property beyond the file", program(Phdr(0x6474E553, 4, 1 << 40, 0, 0, 0x30, 0x30, 8))),
    row("i386 segment near 4 GiB", program(load(0xFFFF_D000, flags=DATA), machine=EM_386)),
    row("i386 segment at the top", program(load(0xFFFF_E000, flags=DATA), machine=EM_386)),
    row("i386 entry at the top", program(machine=EM_386, entry=0xFFFF_E000)),
    row("i386 memsz large", program(load(0x600000, filesz=0x10, memsz=0x800_0000, flags=DATA), machine=EM_386)),
    row("i386 memsz wraps", program(load(0x600000, filesz=0x10, memsz=0xFFFF_F000, flags=DATA), machine=EM_386)),
    row("i386 stack executable", program(stack(7), machine=EM_386)),
)
INTERPRETERS = (
    Row("PT_INTERP missing file", lambda d: put(d, interpreted(bytes(d / "none")))),
    row("PT_INTERP empty", interpreted(b"")),
    row("PT_INTERP filesz 0", interpreted(LD_SO, filesz=0)),
    row("PT_INTERP filesz 1", interpreted(LD_SO, filesz=1)),
    row("PT_INTERP filesz 2", interpreted(b"x", filesz=2)),
    row("PT_INTERP two zeros", interpreted(b"\0")),
    row("PT_INTERP not terminated", interpreted(LD_SO, terminate=False)),
    row("PT_INTERP 4096 with zero inside", interpreted(b"/none\0".ljust(4095, b"x"))),
    row("PT_INTERP 4097", interpreted(b"/".ljust(4096, b"/"), filesz=4097)),
    row("PT_INTERP beyond the file", interpreted(LD_SO)[:0x810]),
    row("PT_INTERP offset beyond", program(before=(interp(LD_SO)[0]._replace(offset=0x100000),))),
    row("PT_INTERP offset negative", program(before=(interp(LD_SO)[0]._replace(offset=1 << 63),))),
    row("PT_INTERP offset wraps", program(before=(interp(LD_SO)[0]._replace(offset=(1 << 63) - 4),))),
    row("PT_INTERP 4095 long", interpreted(b"/" + b"a" * 4094)),
    row("PT_INTERP component of 300", interpreted(b"/" + b"a" * 300)),
    Row("PT_INTERP relative", elf_relative_interp),
    row("PT_INTERP twice, first missing", two_interps(b"/none", LD_SO)),
    interp_kind(directory, "directory"),
    interp_kind(fifo, "fifo"),
    interp_kind(lambda d: linked(d, "l"), "link to itself"),
    elf_interp("runs", pie()),
    elf_interp("runs, fixed", program(base=0x10000000)),
    elf_interp("of a pie", pie(), main=pie_interpreted),
    elf_interp("fixed, of a pie", program(base=0x10000000), main=pie_interpreted),
    elf_interp("over the program", program()),
    elf_interp("empty", b""),
    elf_interp("garbage", b"garbage".ljust(100, b"!")),
    elf_interp("garbage, short", b"garbage"),
    elf_interp("of 63 bytes", pie()[:63]),
    elf_interp("of 64 bytes", pie()[:64]),
    elf_interp("a script", b"#!/bin/true\n".ljust(100, b"\n")),
    elf_interp("i386", pie(machine=EM_386)),
    elf_interp("relocatable", pie()[:16] + b"\1\0" + pie()[18:]),
    elf_interp("without segments", Elf(type=ET_DYN, phdrs=(stack(6),)).encode()),
    elf_interp("phentsize wrong", pie(phentsize=55)),
    elf_interp("phnum 0", pie(phnum=0)),
    elf_interp("cut in the program headers", pie()[:100]),
    elf_interp("with an interpreter that is missing", pie_interpreted(b"/none")),
    elf_interp("memsz huge", pie(load(0x200000, filesz=0x10, memsz=1 << 46, flags=DATA))),
    elf_interp("memsz below filesz", pie(load(0x200000, filesz=0x100, memsz=0x10, flags=DATA))),
    elf_interp("entry in the kernel half", pie(entry=0xFFFF_8000_0000_0000)),
    elf_interp("no x bit", pie(), mode=0o644),
    elf_interp("x but not r", pie(), mode=0o711, uid=NOBODY),
    elf_interp("not for me", pie(), mode=0o700, uid=NOBODY),
)
SCRIPTS = (
    script("plain", b"#!@\n"),
    script("blanks", b"#! \t @ \t \n"),
    script("one argument", b"#!@ -a\n"),
    script("two words", b"#!@ a b\tc \n"),
    script("no newline", b"#!@"),
    script("no newline, argument", b"#!@ -a"),
    script("no newline, blank at the end", b"#!@ "),
    script("crlf", b"#!@\r\n"),
    script("crlf behind an argument", b"#!@ -a\r\n"),
    script("two bytes", b"#!"),
    script("only a newline", b"#!\n"),
    script("only a blank", b"#! "),
    script("blanks and newline", b"#! \t\n"),
    script("255 blanks", b"#!" + b" " * 300),
    script("253 blanks", b"#!" + b" " * 253),
    script("254 blanks and newline", b"#!" + b" " * 253 + b"\n"),
    script("blank before", b" #!@\n"),
    script("zero in the name", b"#!@\0x\n"),
    script("zero behind a blank", b"#!@ \0x\n"),
    script("zero first", b"#!\0@\n"),
    script("newline later", b"#!@ a\nb c\n"),
    script("missing interpreter", b"#!/none\n"),
    script("interpreter under a file", b"#!@/x\n"),
    script("name too long", b"#!/" + b"n" * 256 + b"\n"),
    script("component too long", b"#!/" + b"n" * 250 + b"\n"),
    script("of another interpreter's garbage", b"#!/etc/passwd\n"),
    script("device", b"#!/dev/null\n"),
    script("form feed", b"#!@\x0c\n"),
    script("vertical tab before", b"#!\x0b@\n"),
    Row("script relative interpreter", relative_interp),
    Row("script directory as interpreter", script_to_dir),
    Row("script is its own interpreter", lambda d: put(d, f"#!{d}/x\n".encode())),
    row("script without x bit", b"#!/bin/true\n", mode=0o644),
    row("script of a name without x bit", b"#!/etc/passwd\n", uid=NOBODY),
    row("script not readable", b"#!/bin/true\n", mode=0o711, uid=NOBODY),
    *(chain(n) for n in range(1, 8)),
    *(long_line(f"{n} and newline", n, b"\n") for n in (253, 254, 255, 256, 257)),
    *(long_line(f"{n} and nothing", n, b"") for n in (253, 254, 255, 256)),
    *(long_line(f"{n} and a blank", n, b" \n") for n in (252, 253, 254, 255, 256)),
    *(long_line(f"{n} and a long argument", n, b" " + b"a" * 300 + b"\n") for n in (100, 252, 253, 254, 255)),
    long_line("254 and a tab", 254, b"\t"),
)
ARGUMENTS = (
    row("no arguments", program(), argv=()),
    row("one empty argument", program(), argv=(b"",)),
    row("a string of 131071", program(), argv=(b"x" * 131071,)),
    row("a string of 131072", program(), argv=(b"x" * 131072,)),
    row("environment string of 131071", program(), envp=(b"x" * 131071,)),
    row("environment string of 131072", program(), envp=(b"x" * 131072,)),
    row("2 MiB less something", program(), argv=(b"x" * 131000,) * 15),
    row("2 MiB and more", program(), argv=(b"x" * 131000,) * 17),
    row("stack limit of 1 MiB", program(), argv=(b"x" * 131000,) * 1, stack=1 << 20),
    row("stack limit of 1 MiB, 256 KiB", program(), argv=(b"x" * 131000,) * 2, stack=1 << 20),
    row("small stack limit", program(), argv=(b"x" * 60000,), stack=64 << 10, flags=NO_RANDOM),
    row("small stack limit, too much", program(), argv=(b"x" * 70000,), stack=64 << 10, flags=NO_RANDOM),
    # Without randomness: up to 8 KiB of it lie on the stack.
    row("tiny stack limit", program(), stack=4096, flags=NO_RANDOM),
    *(row(f"stack limit of 8 KiB, {n} pointers", program(), argv=(b"",) * n, stack=8192, flags=NO_RANDOM)
      for n in (100, 300, 400, 450, 500, 600, 830, 850, 900, 930, 1000)),
    row("stack limit of 8 KiB, 8100 bytes", program(), argv=(b"x" * 8100,), stack=8192, flags=NO_RANDOM),
    row("stack limit of 8 KiB, 8200 bytes", program(), argv=(b"x" * 8200,), stack=8192, flags=NO_RANDOM),
    row("stack limit 0", program(), stack=0, flags=NO_RANDOM),
    row("stack limit 0, a page of arguments", program(), argv=(b"x" * 4096,), stack=0, flags=NO_RANDOM),
    row("stack limit of 5000", program(), argv=(b"x" * 4096,), stack=5000, flags=NO_RANDOM),
    row("old layout", program(), flags=0x200000),
    row("old layout, pie", pie(), flags=0x200000 | NO_RANDOM),
    row("3 GiB", program(machine=EM_386), flags=0x8000000),
    row("3 GiB, segment above", program(load(0xD0000000, flags=DATA), machine=EM_386), flags=0x8000000),
    row("many pointers", program(), argv=(b"",) * 200000),
    row("too many pointers", program(), argv=(b"",) * 262144),
    row("unlimited stack, 6 MiB", program(), argv=(b"x" * 131000,) * 47, stack=1 << 40),
    row("unlimited stack, over 6 MiB", program(), argv=(b"x" * 131000,) * 49, stack=1 << 40),
)
ROWS = FILES + HEADERS + SEGMENTS + INTERPRETERS + SCRIPTS + ARGUMENTS


def both(bench: Bench, d: Path, asked: Row) -> tuple[str, str]:
    """The host's verdict and ours."""
    path = asked.make(d)
    path = path.encode() if isinstance(path, str) else path
    cred = Cred(*(asked.uid,) * 8) if asked.uid else native.credentials()
    theirs = native.verdict(path, asked.argv, asked.envp, uid=asked.uid, cwd=str(d), stack=asked.stack, flags=asked.flags)
    t = bench.process(cred)
    t.proc.rlimits[Rlimit.STACK] = (asked.stack, (1 << 64) - 1)
    t.proc.personality_flags = asked.flags
    root = bench.system.mounts.root
    t.proc.fs.cwd = namei(NameiContext(root, root, Cred()), bytes(d))
    ours = bench.verdict(bench.request(path, asked.argv, asked.envp), t)
    return theirs, ours


@pytest.fixture
def directory_for_all(tmp_path: Path) -> Path:
    """A directory that nobody may search too."""
    for part in (tmp_path, *tmp_path.parents):
        if part.stat().st_uid == os.getuid() and not part.stat().st_mode & stat.S_IXOTH:
            part.chmod(part.stat().st_mode | 0o755)
    return tmp_path


@pytest.mark.parametrize("asked", ROWS, ids=str)
def test_as_the_host_does(bench: Bench, directory_for_all: Path, asked: Row) -> None:
    if asked.uid and os.getuid():
        pytest.skip("changing the user needs root")
    if asked.name == "pie align 2^63" and os.getuid():
        pytest.skip("the host puts it at page 0, which needs root")
    theirs, ours = both(bench, directory_for_all, asked)
    assert ours == theirs


def test_rows_have_distinct_names() -> None:
    names = [r.name for r in ROWS]
    assert len(names) == len(set(names))


def test_busy_text(bench: Bench, tmp_path: Path) -> None:
    """A file open for writing cannot be run: ETXTBSY, natively and here."""
    put(tmp_path, program())
    with (tmp_path / "x").open("r+b"):
        theirs = native.verdict(b"x", (b"x",), cwd=str(tmp_path))
    root = bench.system.mounts.root
    dentry = namei(NameiContext(root, root, Cred()), bytes(tmp_path / "x"))
    dentry.vnode.writers += 1
    ours = bench.verdict(bench.request(bytes(tmp_path / "x")))
    dentry.vnode.writers -= 1
    assert ours == theirs == "ETXTBSY"


def test_every_kind_of_verdict_is_met() -> None:
    """A table that only ever said "runs" would prove nothing: the kinds of ends it must hold, by the host's word."""
    assert PT_INTERP == 3
    assert len(ROWS) > 200
