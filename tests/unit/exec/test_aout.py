"""a.out: which files are images, what their plans look like, and what is wrong with the others."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ring3.abi.x86 import Arch
from ring3.errors import ENOEXEC, ENOMEM, ETXTBSY
from ring3.exec.check import check_exec
from ring3.exec.formats.aout import LD, NMAGIC, OMAGIC, QMAGIC, ZMAGIC
from ring3.exec.load import load
from ring3.exec.plan import MAP, READ, STACK, WRITE, ZERO, ExecDeath, ExecPlan, VMCmd
from ring3.personality.netbsd import netbsd32_personality, netbsd_personality
from ring3.proc.proc import Rlimit
from tests.rows import row
from tests.unit.exec.aouts import Aout, no_machine, program, runnable
from tests.unit.exec.bench import Bench

SIGABRT = 6


@pytest.fixture(autouse=True)
def netbsd(bench: Bench) -> None:
    """The caller is a NetBSD process."""
    bench.system.personalities["netbsd"] = netbsd_personality()
    bench.system.personalities["netbsd32"] = netbsd32_personality()
    bench.t.proc.personality = bench.system.personalities["netbsd"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.out"
    path.touch(0o755)
    return path


def check(bench: Bench, path: Path, data: bytes) -> ExecPlan | ExecDeath | None:
    path.write_bytes(data)
    return check_exec(bench.t, bench.request(bytes(path)))


def plan(bench: Bench, path: Path, data: bytes) -> ExecPlan:
    found = check(bench, path, data)
    assert isinstance(found, ExecPlan), found
    return found


def segments(found: ExecPlan) -> list[tuple[str, int, int, int, int]]:
    """(kind, address, bytes, protection, offset) of all but the stack."""
    return [
        (c.kind, c.addr, c.length, c.prot, c.offset) for c in found.vmcmds if c.kind != WRITE and not c.flags & STACK
    ]


@row("netbsd", "exec_aout_makecmds", "ZMAGIC: text is shown from the file at the first page, data behind it, bss is fresh memory")
@pytest.mark.parametrize("arch", list(Arch))
def test_zmagic(bench: Bench, path: Path, arch: Arch) -> None:
    found = plan(bench, path, Aout(arch, ZMAGIC, bytes(0x2000), bytes(0x1000), bss=0x1234, entry=0x1040).encode())
    assert segments(found) == [
        (MAP, LD, 0x2000, 5, 0), (MAP, LD + 0x2000, 0x1000, 7, 0x2000), (ZERO, LD + 0x3000, 0x2000, 7, 0),
    ]
    assert (found.entry, found.start, found.arch) == (0x1040, 0x1040, arch)
    assert found.layout.brk == LD + 0x6000 - 0x1000
    assert found.stack.auxv == ()
    assert found.personality.name == ("netbsd32" if arch is Arch.I386 else "netbsd")
    assert found.layout.sizes is not None
    assert found.layout.sizes[:4] == (LD, 2, LD + 0x2000, 3)


@row("netbsd", "exec_aout_makecmds", "NMAGIC: text is read from behind the header, data to the next page, then comes bss")
@pytest.mark.parametrize("arch", list(Arch))
def test_nmagic(bench: Bench, path: Path, arch: Arch) -> None:
    header = 8 * arch.word_size
    found = plan(bench, path, Aout(arch, NMAGIC, bytes(0x1801), bytes(0x900), bss=0x2000, entry=LD).encode())
    data = LD + 0x2000
    assert segments(found) == [
        (READ, LD, 0x1801, 5, header), (READ, data, 0x900, 7, header + 0x1801), (ZERO, data + 0x1000, 0x2000, 7, 0),
    ]
    assert found.layout.brk == data + 0x3000


@row("netbsd", "exec_aout_makecmds", "OMAGIC: text and data are read in one writable piece; data counts from the next page")
@pytest.mark.parametrize("arch", list(Arch))
def test_omagic(bench: Bench, path: Path, arch: Arch) -> None:
    header = 8 * arch.word_size
    found = plan(bench, path, Aout(arch, OMAGIC, bytes(0x1800), bytes(0x900), bss=0x100, entry=LD).encode())
    assert segments(found) == [(READ, LD, 0x2100, 7, header), (ZERO, 0x4000, 0x1000, 7, 0)][:1]
    assert found.layout.sizes is not None
    assert found.layout.sizes[:4] == (LD, 2, LD + 0x1800, 1)
    assert found.layout.brk == 0x4000
    larger = plan(bench, path, Aout(arch, OMAGIC, bytes(0x1800), bytes(0x900), bss=0x1000, entry=LD).encode())
    assert segments(larger)[1:] == [(ZERO, 0x4000, 0x1000, 7, 0)]
    assert larger.layout.brk == 0x5000


@row("netbsd", "cpu_exec_aout_makecmds", "without a machine's name QMAGIC is laid out as ZMAGIC is, in either byte order")
@pytest.mark.parametrize("network", [False, True])
def test_qmagic(bench: Bench, path: Path, network: bool) -> None:
    first = no_machine(QMAGIC, network=network)
    found = plan(bench, path, Aout(magic=QMAGIC, code=bytes(0x1000), init=bytes(0x1000), first=first).encode())
    assert segments(found) == [(MAP, LD, 0x1000, 5, 0), (MAP, LD + 0x1000, 0x1000, 7, 0x1000)]
    assert found.format == "aout-nomid"


@row("netbsd", "cpu_exec_aout_makecmds", "386BSD's text at address 0 is refused: nothing may stand there")
@pytest.mark.parametrize("magic", [OMAGIC, NMAGIC, ZMAGIC])
@pytest.mark.parametrize("network", [False, True])
def test_text_at_zero(bench: Bench, path: Path, magic: int, network: bool) -> None:
    with pytest.raises(ENOEXEC, match="address 0"):
        check(bench, path, Aout(magic=magic, code=bytes(0x1000), first=no_machine(magic, network=network)).encode())


@row("netbsd", "exec_aout_makecmds", "QMAGIC of a named machine, another machine and another magic are not this format's")
@pytest.mark.parametrize("first", [
    struct.pack(">I", 0x86 << 16 | QMAGIC), struct.pack(">I", 0x87 << 16 | ZMAGIC), struct.pack(">I", 0x186 << 16 | ZMAGIC),
    struct.pack(">I", 0x86 << 16 | 0o411), struct.pack("<I", 0x86 << 16 | ZMAGIC),
])
def test_other_first_words(bench: Bench, path: Path, first: bytes) -> None:
    with pytest.raises(ENOEXEC):
        check(bench, path, Aout(code=bytes(0x1000), first=first).encode())


@row("netbsd", "exec_aout_makecmds", "the flags in the upper six bits of the first word do not matter")
def test_flags(bench: Bench, path: Path) -> None:
    first = struct.pack(">I", 0x20 << 26 | 0x86 << 16 | ZMAGIC)
    assert plan(bench, path, Aout(code=bytes(0x1000), first=first).encode()).format == "aout32-netbsd"


@row("netbsd", "exec_aout_makecmds", "a file shorter than the header is ENOEXEC")
@pytest.mark.parametrize("arch", list(Arch))
def test_short_files(bench: Bench, path: Path, arch: Arch) -> None:
    whole = program(OMAGIC, arch)
    for size in (4, 8, 31, 8 * arch.word_size - 1):
        with pytest.raises(ENOEXEC):
            check(bench, path, whole[:size])


@row("netbsd", "exec_aout_makecmds", "pages of a file that is open for writing are not shown: ETXTBSY; what is read is read")
def test_a_file_open_for_writing(bench: Bench, path: Path) -> None:
    from ring3.abi.flags import OpenFlags
    from ring3.proc.lookup import namei_context
    from ring3.vfs.opening import open_file

    for magic, busy in ((ZMAGIC, True), (OMAGIC, False)):
        path.write_bytes(program(magic))
        writer = open_file(namei_context(bench.t), bytes(path), OpenFlags.RDWR)
        try:
            if busy:
                with pytest.raises(ETXTBSY):
                    check_exec(bench.t, bench.request(bytes(path)))
            else:
                assert isinstance(check_exec(bench.t, bench.request(bytes(path))), ExecPlan)
        finally:
            writer.close()


@row("netbsd", "sys_execve, vmcmd_map_pagedvn", "ZMAGIC text that is no whole number of pages ends in EINVAL and SIGABRT, too late")
def test_text_that_is_no_whole_number_of_pages(bench: Bench, path: Path) -> None:
    found = check(bench, path, Aout(code=bytes(0x1800), init=bytes(0x1000)).encode())
    assert isinstance(found, ExecDeath)
    assert (found.status, found.step) == (22 << 8 | SIGABRT, "run vmcmds")
    assert segments(plan(bench, path, Aout(code=bytes(0x1800)).encode())) == [(MAP, LD, 0x2000, 5, 0)]


@row("netbsd", "sys_execve, vmcmd_map_zero", "bss in the last page of data ends in ENOMEM and SIGABRT, too late")
def test_bss_in_a_page_of_data(bench: Bench, path: Path) -> None:
    found = check(bench, path, Aout(code=bytes(0x1000), init=bytes(0x800), bss=8).encode())
    assert isinstance(found, ExecDeath)
    assert found.status == 12 << 8 | SIGABRT


@row("netbsd", "check_exec", "an a.out entry outside of user memory is ENOEXEC")
@pytest.mark.parametrize("entry", [0, 0xFFF, 0xFFFF_F000, 0xFFFF_FFFF])
def test_entries(bench: Bench, path: Path, entry: int) -> None:
    with pytest.raises(ENOEXEC, match="entry"):
        check(bench, path, Aout(code=bytes(0x1000), entry=entry).encode())


@row("netbsd", "check_exec", "a.out text and data above their limits are ENOMEM, a bad entry notwithstanding")
def test_limits(bench: Bench, path: Path) -> None:
    with pytest.raises(ENOMEM, match="text"):
        check(bench, path, Aout(code=bytes(0x1000), text=0x2000_0000, entry=0).encode())
    bench.t.proc.rlimits[Rlimit.DATA] = (0x10000, 0x10000)
    with pytest.raises(ENOMEM, match="data"):
        check(bench, path, Aout(code=bytes(0x1000), bss=0x20000, entry=0).encode())


@pytest.mark.parametrize("fields", [
    {"text": 0xFFFF_F000}, {"data": 0xFFFF_F000}, {"bss": 0xFFFF_FFFF}, {"bss": 0xC000_0000},
    {"text": 0xFFFF_FFFF, "data": 0xFFFF_FFFF, "bss": 0xFFFF_FFFF},
])
@pytest.mark.parametrize("magic", [OMAGIC, NMAGIC, ZMAGIC])
@pytest.mark.parametrize("arch", list(Arch))
def test_lying_sizes(bench: Bench, path: Path, fields: dict[str, int], magic: int, arch: Arch) -> None:
    """Every field may be anything: a refusal, a death, or a plan that cannot be loaded."""
    bench.t.proc.rlimits[Rlimit.DATA] = (1 << 40, 1 << 40)
    path.write_bytes(Aout(arch, magic, bytes(0x1000), bytes(0x1000))._replace(**fields).encode())   # type: ignore[arg-type]
    try:
        outcome: object = check_exec(bench.t, bench.request(bytes(path)))
        if isinstance(outcome, ExecPlan) and magic != ZMAGIC and fields.keys() & {"text", "data"}:
            outcome = load(bench.t, outcome)            # more than is copied, or than the file has
    except (ENOEXEC, ENOMEM):
        return
    if isinstance(outcome, ExecDeath):
        assert outcome.status & 0x7F == SIGABRT
    else:
        assert magic == ZMAGIC or fields.keys() == {"bss"}, outcome


def test_a_read_beyond_the_end_of_the_file_kills(bench: Bench, path: Path) -> None:
    outcome = load(bench.t, plan(bench, path, Aout(magic=OMAGIC, code=bytes(0x1000), text=0x2000).encode()))
    assert isinstance(outcome, ExecDeath)
    assert outcome.status == 5 << 8 | SIGABRT


def test_no_protection_by_notes_that_are_not_there(bench: Bench, path: Path) -> None:
    found = plan(bench, path, program(OMAGIC))
    assert found.pax == 0
    assert found.layout.stack_top == 0xFFFF_F000
    assert all(command.max_prot == 7 for command in found.vmcmds)


@row("netbsd", "exec_aout_makecmds", "an a.out image has no top-down space: mmap goes up from behind the largest data there may be")
def test_mmap_goes_up(bench: Bench, path: Path) -> None:
    found = plan(bench, path, program(ZMAGIC))
    assert found.layout.legacy
    assert found.layout.mmap_base == LD + 0x1000 + (3 << 30)


def test_linux_callers_run_them_too(bench: Bench, path: Path) -> None:
    bench.t.proc.personality = bench.system.personalities["linux"]
    for name, data in runnable().items():
        path.write_bytes(data)
        assert bench.verdict(bench.request(bytes(path))) == "runs", name


def test_without_the_personality_they_are_not_recognised(bench: Bench, path: Path) -> None:
    bench.t.proc.personality = bench.system.personalities["linux"]
    del bench.system.personalities["netbsd32"]
    with pytest.raises(ENOEXEC, match="netbsd32"):
        check(bench, path, program())


def test_commands_are_what_the_plan_shows(bench: Bench, path: Path) -> None:
    shown = plan(bench, path, program(NMAGIC)).show()
    assert "read  0x000000001000" in shown
    assert isinstance(plan(bench, path, program()).vmcmds[0], VMCmd)
