"""NetBSD's ELF images: how they are told from others, and what they become (exec_elf.c, by its present rules)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from ring3.abi.elf import EM_386, ET_DYN, PF_R, PF_W, PF_X, PT_NOTE, PT_PHDR, Phdr
from ring3.abi.x86 import CS, CS_32, DS, RBX, RSP, Arch
from ring3.exec.formats.netbsd_image import protections
from ring3.exec.formats.netbsd_notes import P_ASLR, P_MPROTECT, Notes, read_notes, split
from ring3.exec.plan import MAP, READ, STACK, ZERO, ExecPlan, VMCmd
from ring3.proc.proc import Rlimit
from ring3.vfs.mapping import VnodeObject
from tests.rows import row
from tests.unit.exec.images import BASE, CODE, DATA, interp, program
from tests.unit.exec.images import load as segment
from tests.unit.exec.netbsd import IDENT, NOTES_AT, VERSION, NetbsdBench, branded, dynamic, note, pax, put


@pytest.fixture
def bench() -> Iterator[NetbsdBench]:
    made = NetbsdBench()
    made.system.execsw.randomise = False
    yield made
    made.close()


def file_commands(plan: ExecPlan) -> list[tuple[str, int, int, int, int]]:
    """Kind, address, length, protection and offset of what comes from files, and of zeros; not the stack."""
    of_files = [c for c in plan.vmcmds if c.kind in (MAP, READ, ZERO) and not c.flags & STACK]
    return [(c.kind, c.addr, c.length, c.prot, c.offset) for c in of_files]


# --- notes
def test_notes() -> None:
    data = note(b"GNU\0", 1, bytes(16)) + IDENT + pax(0x21) + note(b"NetBSD\0", 5, b"x86_64\0")
    assert read_notes([data]) == Notes(VERSION, 0x21, b"x86_64")
    assert read_notes([IDENT, pax(2)]) == Notes(VERSION, 2, b"")
    assert read_notes([]) == Notes()
    assert [kind for _, kind, _ in split(data)] == [1, 1, 3, 5]


@pytest.mark.parametrize("data", [
    b"", b"\0" * 11, struct.pack("<III", 7, 4, 1), struct.pack("<III", 1 << 31, 1 << 31, 1) + IDENT, IDENT[:-1],
])
def test_broken_notes(data: bytes) -> None:
    assert read_notes([data]).version is None


@row("netbsd", "exec_elf_makecmds, netbsd_elf_signature",
     "an ELF file with NetBSD's note is a NetBSD program, wherever among its notes that is")
def test_recognised(bench: NetbsdBench, tmp_path: Path) -> None:
    for notes in (IDENT, note(b"Go\0\0", 4, b"x" * 83) + IDENT, IDENT + b"\0" * 900):
        assert bench.check(put(tmp_path / "p", branded(notes=notes))).personality.name == "netbsd"
    two = branded(before=(Phdr(PT_NOTE, PF_R, 0x800, 0, 0, 16, 16, 4),))
    assert bench.check(put(tmp_path / "p", two)).format == "elf64-netbsd"


@row("netbsd", "exec_elf_makecmds, netbsd_elf_signature", "one without is not, nor one whose notes are too long to be looked at")
def test_not_recognised(bench: NetbsdBench, tmp_path: Path) -> None:
    odd = note(b"NetBSD\0", 2, bytes(4)), note(b"NetBSX\0", 1, bytes(4)), note(b"NetBSD\0", 1, bytes(8)), IDENT + bytes(1024)
    for data in (program(), *(branded(notes=notes) for notes in odd)):
        assert bench.check(put(tmp_path / "p", data)).personality.name == "linux"


def test_notes_far_behind(bench: NetbsdBench, tmp_path: Path) -> None:
    """Program headers and notes beyond the header bytes are read."""
    far = branded(parts=((0x3000, IDENT),), phoff=0x2000)
    table = bytearray(far)
    table[0x2000 : 0x2000 + 56 * 2] = far[64 : 64 + 56 * 2]
    struct.pack_into("<Q", table, 0x2000 + 8, 0x3000)
    table[NOTES_AT : NOTES_AT + len(IDENT)] = bytes(len(IDENT))
    assert bench.check(put(tmp_path / "p", bytes(table))).personality.name == "netbsd"


@row("netbsd", "exec_elf_makecmds, elf_check_header", "another CPU, another type, no program headers or too many: ENOEXEC")
@pytest.mark.parametrize("fields", [{"type": 1}, {"type": 4}, {"phnum": 129}, {"phnum": 0}])
def test_bad_headers(bench: NetbsdBench, tmp_path: Path, fields: dict[str, int]) -> None:
    data = branded(**fields)  # type: ignore[arg-type]
    assert bench.refuse(bench.request(put(tmp_path / "p", data))) == "ENOEXEC"


def test_a_netbsd_program_is_never_run_as_another(bench: NetbsdBench, tmp_path: Path) -> None:
    """What is wrong with it is the answer, though Linux would run it."""
    missing = put(tmp_path / "p", dynamic(b"/no/such/ld.elf_so"))
    assert bench.refuse(bench.request(missing)) == "ENOENT"
    bench.t = bench.process(personality="linux")
    assert bench.refuse(bench.request(missing)) == "ENOENT"
    empty = put(tmp_path / "e", branded(phnum=1))           # the note alone
    assert bench.refuse(bench.request(empty)) == "ENOEXEC"
    del bench.system.personalities["netbsd"]
    assert bench.refuse(bench.request(put(tmp_path / "q", branded()))) == "ENOEXEC"


# --- segments
@row("netbsd", "exec_elf_makecmds, elf_load_psection",
     "pages that are not written are shown whole, with what follows in the file behind them")
def test_read_only_segments(bench: NetbsdBench, tmp_path: Path) -> None:
    plan = bench.check(put(tmp_path / "p", branded(segment(0x600010, offset=0x1010, filesz=0x20, flags=PF_R))))
    assert file_commands(plan)[1:] == [(MAP, 0x600000, 0x1000, 1, 0x1000)]


@row("netbsd", "exec_elf_makecmds, elf_load_psection",
     "of pages that are written the last is read, so that zeros follow, and fresh ones come behind")
def test_written_segments(bench: NetbsdBench, tmp_path: Path) -> None:
    data = branded(segment(0x600010, offset=0x1010, filesz=0x1020, memsz=0x3000, flags=DATA), parts=((0x1010, b"d" * 0x1020),))
    plan = bench.check(put(tmp_path / "p", data))
    assert file_commands(plan)[1:] == [
        (MAP, 0x600000, 0x1000, 3, 0x1000), (READ, 0x601000, 0x30, 3, 0x2000), (ZERO, 0x602000, 0x2000, 3, 0),
    ]
    bench.start(bytes(tmp_path / "p"))
    assert bench.t.vm.copyin(0x601020, 0x20) == b"d" * 0x10 + bytes(0x10)
    assert bench.t.vm.copyin(0x602000, 0x2000) == bytes(0x2000)
    assert bench.t.vm.brk_start == 0x604000


@row("netbsd", "exec_elf_makecmds, vmcmd_map_readvn", "a segment aligned to less than a page is read, not shown")
def test_unaligned_segments(bench: NetbsdBench, tmp_path: Path) -> None:
    data = branded(segment(0x600123, offset=0x1001, filesz=0x1800, flags=DATA, align=1), parts=((0x1001, b"u" * 0x1800),))
    plan = bench.check(put(tmp_path / "p", data))
    assert file_commands(plan)[1:] == [(READ, 0x600123, 0x1800, 3, 0x1001)]
    bench.start(bytes(tmp_path / "p"))
    assert bench.t.vm.copyin(0x600122, 3) == b"\0uu"
    assert bench.t.vm.copyin(0x601000, 0x1000) == b"u" * 0x923 + bytes(0x6DD)


def test_what_can_be_shown_is_not_copied(bench: NetbsdBench, tmp_path: Path) -> None:
    """A large segment to be read whose pages lie in the file as in memory costs no memory of the kernel's."""
    size = 0x40_0000
    data = branded(segment(0x700000, offset=0x2000, filesz=size + 5, flags=DATA, align=1), parts=((0x2000, b"z" * (size + 5)),))
    bench.start(put(tmp_path / "p", data))
    region = bench.t.vm.find(0x700000)
    assert region is not None
    assert isinstance(region.object, VnodeObject)
    assert bench.t.vm.copyin(0x700000 + size - 1, 8) == b"z" * 6 + bytes(2)


def test_too_much_to_copy(bench: NetbsdBench, tmp_path: Path) -> None:
    """What neither can be shown nor is small: a death, and no memory taken."""
    path = put(tmp_path / "p", branded(segment(0x10000001, offset=0x1000, filesz=200 << 20, flags=PF_R, align=1)))
    with open(path, "r+b") as file:
        file.truncate(210 << 20)
    assert bench.verdict(bench.request(path)) == "signal 6"


@row("netbsd", "exec_elf_makecmds", "where segments overlap the later one counts")
def test_overlapping_segments(bench: NetbsdBench, tmp_path: Path) -> None:
    first = segment(0x600000, offset=0x2000, filesz=0x1800, flags=DATA)
    second = segment(0x601000, offset=0x4000, filesz=0x800, flags=DATA)
    bench.start(put(tmp_path / "p", branded(first, second, parts=((0x2000, b"1" * 0x2000), (0x4000, b"2" * 0x1000)))))
    assert bench.t.vm.copyin(0x600FFF, 2) == b"12"
    assert bench.t.vm.copyin(0x6017FF, 2) == b"2\0"


def test_many_segments(bench: NetbsdBench, tmp_path: Path) -> None:
    extra = [segment(0x600000 + i * 0x1000, filesz=0x100, flags=PF_R) for i in range(30)]
    assert len(file_commands(bench.check(put(tmp_path / "p", branded(*extra))))) == 31


@row("netbsd", "exec_elf_makecmds",
     "the largest segment with code is the text, the last without is the data, whose end is where the heap begins")
def test_text_and_data(bench: NetbsdBench, tmp_path: Path) -> None:
    extra = (
        segment(0x600000, flags=PF_R, filesz=0x100), segment(0x700000, flags=DATA, memsz=0x2345),
        segment(0x500000, flags=PF_X | PF_R, filesz=0x10),
    )
    plan = bench.check(put(tmp_path / "p", branded(*extra)))
    assert plan.layout.sizes is not None
    assert plan.layout.sizes[:4] == (BASE, 2, 0x700000, 3)
    assert plan.layout.brk == 0x703000
    alone = bench.check(put(tmp_path / "q", branded()))
    assert alone.layout.sizes is not None
    assert alone.layout.sizes[2:4] == (0x402000, 0)
    assert alone.layout.brk == 0x402000


# --- position-independent programs and interpreters
@row("netbsd", "exec_elf_makecmds, PAX_ASLR", "a position-independent program lies at its alignment, or at 12 random bits of it")
def test_pie(bench: NetbsdBench, tmp_path: Path) -> None:
    path = put(tmp_path / "p", branded(base=0, type=ET_DYN))
    lowest = bench.system.facts.min_addr
    plan = bench.check(path)
    assert plan.load_bias == max(lowest, 0x1000)
    assert plan.entry == plan.start == plan.load_bias + CODE
    big = bench.check(put(tmp_path / "b", branded(segment(0x200000, align=1 << 21), base=0, type=ET_DYN)))
    assert big.load_bias == 1 << 21
    bench.system.execsw.randomise = True
    found = set()
    for seed in range(50):
        bench.system.seed = seed
        found.add(bench.check(path).load_bias)
    assert len(found) > 45
    assert all(lowest <= bias < 1 << 25 and bias % 4096 == 0 for bias in found)


@row("netbsd", "exec_elf_makecmds, PT_INTERP", "the interpreter lies below the stack's room, is told of, and runs first")
def test_interpreter(bench: NetbsdBench, tmp_path: Path) -> None:
    loader = put(tmp_path / "ld", branded(base=0, type=ET_DYN))
    plan = bench.check(put(tmp_path / "p", dynamic(loader)))
    assert plan.interpreter is not None
    assert plan.interpreter.path == loader
    assert plan.interp_base == plan.layout.sizes.maxsaddr - 0x2000  # type: ignore[union-attr]
    assert plan.start == plan.interp_base + CODE
    assert dict(plan.stack.auxv)[7] == plan.interp_base
    assert dict(plan.stack.auxv)[9] == BASE + CODE


@row("netbsd", "exec_elf_makecmds, PT_INTERP",
     "an interpreter that is missing, not to be run or no shared object refuses the program with that error")
def test_bad_interpreters(bench: NetbsdBench, tmp_path: Path) -> None:
    def verdict(name: bytes) -> str:
        return bench.refuse(bench.request(put(tmp_path / "p", dynamic(name))))

    assert verdict(b"/no/such") == "ENOENT"
    assert verdict(b"/etc") == "EACCES"
    assert verdict(put(tmp_path / "n", branded(base=0, type=ET_DYN), 0o644)) == "EACCES"
    assert verdict(put(tmp_path / "x", branded())) == "ENOEXEC"                     # ET_EXEC
    assert verdict(put(tmp_path / "t", b"\x7fELF")) == "ENOEXEC"
    assert verdict(put(tmp_path / "0", branded(base=0, type=ET_DYN, phnum=1))) == "ENOEXEC"


@row("netbsd", "exec_elf_makecmds, PT_INTERP", "a name without its end, or of an impossible length, is ENOEXEC")
@pytest.mark.parametrize(("name", "words"), [
    (b"/x", {"terminate": False}), (b"", {}), (b"/" * 1024, {}), (b"/a\0b", {}), (b"/x", {"filesz": 1 << 40}),
])
def test_bad_interpreter_names(bench: NetbsdBench, tmp_path: Path, name: bytes, words: dict[str, int]) -> None:
    phdr, part = interp(name, offset=0xA00, **words)  # type: ignore[arg-type]
    assert bench.refuse(bench.request(put(tmp_path / "p", branded(before=(phdr,), parts=(part,))))) == "ENOEXEC"


def test_alignment_that_is_none(bench: NetbsdBench, tmp_path: Path) -> None:
    assert bench.refuse(bench.request(put(tmp_path / "p", branded(segment(0x600000, align=3))))) == "EINVAL"
    huge = branded(segment(0, align=1 << 63, filesz=0x100), base=0, type=ET_DYN)
    assert bench.verdict(bench.request(put(tmp_path / "q", huge))) in ("signal 6", "ENOEXEC", "ENOMEM")


# --- PaX
@row("netbsd", "exec_elf_makecmds, PAX_MPROTECT", "memory is written or executed, never both, unless the image's note declines")
def test_mprotect(bench: NetbsdBench, tmp_path: Path) -> None:
    both = segment(0x600000, filesz=0x1000, flags=PF_R | PF_W | PF_X)
    plan = bench.check(put(tmp_path / "p", branded(both)))
    assert [(c.prot, c.max_prot) for c in plan.vmcmds if c.kind == MAP] == [(5, 5), (3, 3)]
    assert plan.pax & P_MPROTECT
    bench.start(bytes(tmp_path / "p"))
    region = bench.t.vm.find(0x600000)
    assert region is not None
    assert region.max_prot == 3
    assert bench.t.proc.pax & P_MPROTECT
    declined = bench.check(put(tmp_path / "q", branded(both, notes=IDENT + pax(2))))
    assert [(c.prot, c.max_prot) for c in declined.vmcmds if c.kind == MAP] == [(5, 7), (7, 7)]
    assert not declined.pax & P_MPROTECT


@pytest.mark.parametrize(("flags", "pax_flags", "prot"), [
    (PF_R, 2, (1, 3)), (PF_R | PF_W, 2, (3, 3)), (PF_R | PF_X, 2, (5, 5)), (7, 2, (3, 3)),
    (0, 2, (0, 3)), (7, 0, (7, 7)), (PF_X, 2, (4, 5)),
])
def test_protections(flags: int, pax_flags: int, prot: tuple[int, int]) -> None:
    assert protections(flags, pax_flags) == prot


@row("netbsd", "exec_elf_makecmds, PAX_ASLR", "addresses are random unless the image's note declines")
def test_aslr(bench: NetbsdBench, tmp_path: Path) -> None:
    bench.system.execsw.randomise = True
    assert bench.check(put(tmp_path / "p", branded())).layout.stack_top != 0x7F7F_FFFF_F000
    declined = bench.check(put(tmp_path / "q", branded(notes=IDENT + pax(0x20))))
    assert declined.layout.stack_top == 0x7F7F_FFFF_F000
    assert not declined.pax & P_ASLR


# --- the stack's memory, 32-bit images
@row("netbsd", "exec_elf_makecmds, exec_setup_stack",
     "the stack is as large as its limit, and below it, to the largest there may be, out of reach")
def test_stack_commands(bench: NetbsdBench, tmp_path: Path) -> None:
    path = put(tmp_path / "p", branded())
    bench.t.proc.rlimits[Rlimit.STACK] = (1 << 20, 1 << 20)

    def stack(plan: ExecPlan) -> list[VMCmd]:
        return [c for c in plan.vmcmds if c.flags & STACK]

    top = 0x7F7F_FFFF_F000
    assert [(c.addr, c.length, c.prot) for c in stack(bench.check(path))] == [
        (top - (128 << 20), 127 << 20, 0), (top - (1 << 20), 1 << 20, 3),
    ]
    bench.t.proc.rlimits[Rlimit.STACK] = ((1 << 64) - 1, (1 << 64) - 1)
    assert [(c.addr, c.length, c.prot) for c in stack(bench.check(path))] == [(top - (128 << 20), 128 << 20, 3)]


@row("netbsd", "exec_elf_makecmds, EXEC_32", "a 32-bit image is netbsd32's: 4-byte pointers below 4 GiB, ps_strings in ebx")
def test_netbsd32(bench: NetbsdBench, tmp_path: Path) -> None:
    loader = put(tmp_path / "ld", branded(base=0, type=ET_DYN, machine=EM_386))
    plan = bench.check(put(tmp_path / "p", dynamic(loader, machine=EM_386)), [b"a", b"b"], [b"E=1"])
    assert plan.personality.name == "netbsd32"
    assert plan.arch is Arch.I386
    assert plan.layout.stack_top == 0xFFFF_F000
    assert plan.interp_base < plan.layout.stack_top - (64 << 20)
    regs = dict(plan.registers)
    assert regs[RBX] == plan.stack.ps_strings == 0xFFFF_EFF0
    assert (regs[CS], regs[DS]) == (CS_32, 0x2B)
    argc, arg0, arg1, end, env0, end_env = struct.unpack_from("<6I", plan.stack.data)
    assert (argc, end, end_env) == (2, 0, 0)
    assert regs[RSP] % 16 == 0

    def text(at: int) -> bytes:
        return plan.stack.data[at - plan.stack.sp :].split(b"\0")[0]

    assert [text(at) for at in (arg0, arg1, env0)] == [b"a", b"b", b"E=1"]
    assert struct.unpack("<4I", plan.stack.data[-16:]) == (plan.stack.sp + 4, 2, plan.stack.sp + 16, 1)


def test_program_headers_in_memory(bench: NetbsdBench, tmp_path: Path) -> None:
    assert dict(bench.check(put(tmp_path / "p", branded())).stack.auxv)[3] == BASE + 64
    told = branded(before=(Phdr(PT_PHDR, PF_R, 64, BASE + 0x40, 0, 56, 56, 8),))
    assert dict(bench.check(put(tmp_path / "q", told)).stack.auxv)[3] == BASE + 0x40
