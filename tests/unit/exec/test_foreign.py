"""Other systems' programs: recognised by NetBSD's probes, refused with a reason; what a Linux caller gets stays Linux's."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from ring3.abi.elf import EM_386, PF_R, PT_INTERP, PT_NOTE, Phdr
from ring3.errors import EFTYPE, ENOENT, ENOEXEC
from ring3.exec.check import check_exec
from ring3.exec.formats.aout import MID_I386, NMAGIC, OMAGIC, QMAGIC, ZMAGIC
from ring3.exec.formats.marked import FOREIGN
from ring3.exec.plan import ExecPlan
from ring3.exec.switch import ExecSwitch
from ring3.personality.netbsd import netbsd32_personality, netbsd_personality
from ring3.protocols import Personality
from tests.rows import row
from tests.unit.exec import images
from tests.unit.exec.bench import Bench


@pytest.fixture(autouse=True)
def known(bench: Bench) -> None:
    bench.system.personalities["netbsd"] = netbsd_personality()
    bench.system.personalities["netbsd32"] = netbsd32_personality()


@pytest.fixture
def netbsd(bench: Bench) -> Bench:
    """The caller is a NetBSD process."""
    bench.t.proc.personality = bench.system.personalities["netbsd"]
    return bench


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.touch(0o755)
    return path


def reason(bench: Bench, path: Path, data: bytes) -> str:
    """Why it is not run; the errno is ENOEXEC."""
    path.write_bytes(data)
    with pytest.raises(ENOEXEC) as refusal:
        check_exec(bench.t, bench.request(bytes(path)))
    return str(refusal.value)


def coff(magic: int = 0x14C, optional: int = ZMAGIC, size: int = 28) -> bytes:
    return struct.pack("<HHIIIHH", magic, 3, 0, 0, 0, size, 0x10F) + struct.pack("<H", optional).ljust(60, b"\0")


def alpha(kind: int = 0) -> bytes:
    return struct.pack("<HHIQIHH", 0x183, 3, 0, 0, 0, 80, kind) + struct.pack("<H", ZMAGIC).ljust(80, b"\0")


def mips(order: str) -> bytes:
    magic = 0x160 if order == ">" else 0x162
    return struct.pack(f"{order}HHIIIHH", magic, 3, 0, 0, 0, 56, 2) + struct.pack(f"{order}H", ZMAGIC).ljust(60, b"\0")


def xout(flags: int = 1, cpu: int = 0x4A) -> bytes:
    return struct.pack("<HH6i", 0x0206, 0x2C, 0, 0, 0, 0, 0, 0) + struct.pack("<BBH", cpu, 0, flags) + bytes(64)


def macho(magic: bytes, cpu: int, kind: int = 2, order: str = "<") -> bytes:
    return magic + struct.pack(f"{order}6I", cpu, 0, kind, 0, 0, 0) + bytes(64)


def pe(cpu: int = 0x8664, subsystem: int = 3, flags: int = 0x22, at: int = 0x80) -> bytes:
    dos = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", at)
    header = b"PE\0\0" + struct.pack("<HHIIIHH", cpu, 1, 0, 0, 0, 240, flags) + struct.pack("<H", 0x20B)
    return dos.ljust(at, b"\0") + header.ljust(24 + 68, b"\0") + struct.pack("<H", subsystem) + bytes(200)


def first_word(value: bytes) -> bytes:
    return value.ljust(64, b"\0")


def big(value: int) -> bytes:
    return first_word(struct.pack(">I", value))


def little(value: int) -> bytes:
    return first_word(struct.pack("<I", value))


def elf_for(machine: int, *, bits: int = 64, order: str = "<", flags: int = 0, loader: bytes = b"") -> bytes:
    """An ELF header for another CPU, and one PT_INTERP."""
    word = "Q" if bits == 64 else "I"
    size, phdr = (64, 56) if bits == 64 else (52, 32)
    ident = b"\x7fELF" + bytes((2 if bits == 64 else 1, 1 if order == "<" else 2, 1)) + bytes(9)
    header = struct.pack(f"{order}16sHHI3{word}I6H", ident, 2, machine, 1, 0, size, 0, flags, size, phdr, 1, 0, 0, 0)
    at = size + phdr
    if bits == 64:
        segment = struct.pack(f"{order}IIQQQQQQ", PT_INTERP, 4, at, 0, 0, len(loader), len(loader), 1)
    else:
        segment = struct.pack(f"{order}8I", PT_INTERP, at, 0, 0, len(loader), len(loader), 4, 1)
    return header + segment + loader


FILES = [
    ("a PE/COFF program for Windows (x86-64)", pe()),
    ("a PE/COFF program for Windows (i386)", pe(0x14C)),
    ("a PE/COFF library for Windows (ARM64)", pe(0xAA64, flags=0x2022)),
    ("a PE/COFF program for EFI (x86-64)", pe(subsystem=10)),
    ("a Mach-O program for Darwin (ARM64)", macho(b"\xcf\xfa\xed\xfe", 0x100000C)),
    ("a Mach-O program for Darwin (x86-64)", macho(b"\xcf\xfa\xed\xfe", 0x1000007)),
    ("a Mach-O program for Darwin (i386)", macho(b"\xce\xfa\xed\xfe", 7)),
    ("a Mach-O program for Darwin (PowerPC)", macho(b"\xfe\xed\xfa\xce", 18, order=">")),
    ("a Mach-O program for Darwin (CPU number 0x63)", macho(b"\xfe\xed\xfa\xcf", 0x63, order=">")),
    ("a Mach-O program for Darwin (several CPUs)", b"\xca\xfe\xba\xbe" + struct.pack(">I", 2) + bytes(64)),
    ("an iBCS2 COFF program (System V, SCO)", coff()),
    ("an iBCS2 COFF program (System V, SCO)", coff(optional=OMAGIC)),
    ("an iBCS2 x.out program (XENIX)", xout()),
    ("an OSF/1 ECOFF program (Alpha)", alpha()),
    ("an OSF/1 ECOFF program (Alpha)", alpha(0x3000)),
    ("an Ultrix ECOFF program (MIPS, little-endian)", mips("<")),
    ("an Ultrix ECOFF program (MIPS, big-endian)", mips(">")),
    ("a SunOS a.out program (SPARC)", big(0x8103 << 16 | ZMAGIC)),
    ("a SunOS a.out program (68020)", big(2 << 16 | NMAGIC)),
    ("an HP-UX a.out program", big(0x20C << 16 | OMAGIC)),
    ("a NetBSD a.out program (m68k, 4 KiB pages)", big(0x88 << 16 | ZMAGIC)),
    ("a NetBSD a.out program (VAX, 1 KiB pages)", big(0x8C << 16 | ZMAGIC)),
    ("a NetBSD a.out program (SPARC)", big(0x20 << 26 | 0x8A << 16 | ZMAGIC)),
    ("a Linux a.out program", little(100 << 16 | QMAGIC)),
    ("a Linux a.out program", little(100 << 16 | ZMAGIC)),
    ("a FreeBSD a.out program", little(MID_I386 << 16 | QMAGIC)),
    ("a FreeBSD a.out program", little(0x20 << 26 | MID_I386 << 16 | ZMAGIC)),
    ("an IRIX program (MIPS, o32)", elf_for(8, bits=32, order=">", flags=0x1000, loader=b"/lib/libc.so.1\0")),
    ("an IRIX program (MIPS, n32)", elf_for(8, bits=32, order=">", flags=0x20, loader=b"/usr/lib32/libc.so.1\0")),
    ("an ELF file for AArch64 (64-bit, little-endian), a CPU", elf_for(183)),
    ("an ELF file for PowerPC64 (64-bit, big-endian), a CPU", elf_for(21, order=">")),
    ("an ELF file for MIPS (32-bit, big-endian), a CPU", elf_for(8, bits=32, order=">", loader=b"/lib/ld.so.1\0")),
    ("an ELF file for CPU number 60000 (32-bit, little-endian), a CPU", elf_for(60000, bits=32)),
]


@row("netbsd", "emulation probes", "a program of a system that is not here is recognised, and refused with ENOEXEC and its name")
@pytest.mark.parametrize("caller", ["linux", "netbsd"])
@pytest.mark.parametrize(("what", "data"), FILES)
def test_recognised(bench: Bench, path: Path, caller: str, what: str, data: bytes) -> None:
    bench.t.proc.personality = bench.system.personalities[caller]
    comma = "" if what.endswith("a CPU") else ","
    assert reason(bench, path, data) == f"recognised as {what}{comma} which is not here"


@pytest.mark.parametrize(("what", "data"), [
    ("relocatable", coff(size=0)), ("relocatable", coff(optional=0)), ("object", macho(b"\xcf\xfa\xed\xfe", 7, kind=1)),
    ("java", b"\xca\xfe\xba\xbe" + struct.pack(">HH", 0, 52) + bytes(64)), ("shared", alpha(0x2000)),
    ("standalone", xout(0x401)), ("module", xout(0x101)), ("damaged", xout(0)), ("80286", xout(cpu=0x49)),
    ("short", pe()[:40]), ("text", b"MNEMONIC: ..."), ("zeros", bytes(4096)), ("short", b"\x4c\x01"),
    ("short", b"\xfe\xed\xfa\xce"), ("one byte", b"M"), ("mach-o", b"\xcf\xfa\xed\xfe"), ("odd", b"\x83\x01" + bytes(22)),
])
def test_what_is_no_program_is_nobodys(bench: Bench, path: Path, what: str, data: bytes) -> None:
    assert "recognised as a" not in reason(bench, path, data), what


@row("netbsd", "check_exec, EFTYPE", "a DOS program is EFTYPE, an interesting error, and ENOEXEC to a Linux caller")
@pytest.mark.parametrize("data", [b"MZ" + bytes(100), pe(at=0)[:100], b"MZ".ljust(0x3C, b"\0") + b"\xff" * 8])
def test_dos_programs(netbsd: Bench, path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(EFTYPE, match="DOS"):
        check_exec(netbsd.t, netbsd.request(bytes(path)))
    netbsd.t.proc.personality = netbsd.system.personalities["linux"]
    assert reason(netbsd, path, data) == "recognised as a DOS program, which is not here"


def ident(osabi: int = 0, tail: bytes = b"", bits: int = 2) -> bytes:
    return (b"\x7fELF" + bytes((bits, 1, 1, osabi)) + tail).ljust(16, b"\0")


def noted(owner: bytes, desc: bytes, kind: int = 1, **fields: object) -> bytes:
    """A program with one note."""
    note = struct.pack("<III", len(owner), len(desc), kind) + owner.ljust(-(-len(owner) // 4) * 4, b"\0") + desc
    phdr = Phdr(PT_NOTE, PF_R, 0x800, 0x400800, 0x400800, len(note), len(note), 4)
    return images.program(before=(phdr,), parts=((0x800, note),), **fields)     # type: ignore[arg-type]


BRANDED = [
    ("a FreeBSD ELF program (64-bit)", images.program(ident=ident(9))),
    ("a FreeBSD ELF program (64-bit)", images.program(ident=ident(0, b"FreeBSD\0"))),
    ("a FreeBSD ELF program (32-bit)", images.program(machine=EM_386, ident=ident(9, bits=1))),
    ("a FreeBSD ELF program (64-bit)", noted(b"FreeBSD\0", struct.pack("<I", 1300139))),
    ("an OpenBSD ELF program (64-bit)", noted(b"OpenBSD\0", bytes(4))),
    ("an OpenBSD ELF program (64-bit)", images.program(ident=ident(12))),
    ("a DragonFly BSD ELF program (64-bit)", noted(b"DragonFly\0", bytes(4))),
    ("a Solaris ELF program (64-bit)", images.program(ident=ident(6))),
    ("a Solaris ELF program (64-bit)", noted(b"GNU\0", struct.pack("<4I", 2, 2, 6, 0))),
    ("a GNU/kFreeBSD ELF program (64-bit)", noted(b"GNU\0", struct.pack("<4I", 3, 2, 6, 0))),
    ("an IRIX ELF program (32-bit)", images.program(machine=EM_386, ident=ident(8, bits=1))),
    ("an HP-UX ELF program (64-bit)", images.program(ident=ident(1))),
]


@row("netbsd", "emulation probes", "an ELF program that names another system is refused, however well it fits the CPU")
@pytest.mark.parametrize(("what", "data"), BRANDED)
def test_branded_elf(netbsd: Bench, path: Path, what: str, data: bytes) -> None:
    assert reason(netbsd, path, data) == f"recognised as {what}, which is not here"


@pytest.mark.parametrize(("what", "data"), BRANDED)
def test_linux_runs_what_fits_its_cpu(bench: Bench, path: Path, what: str, data: bytes) -> None:
    path.write_bytes(data)
    found = check_exec(bench.t, bench.request(bytes(path)))
    assert isinstance(found, ExecPlan), what
    assert found.personality.name == "linux"


@row("netbsd", "emulation probes", "a Linux ELF program is run as one, by a NetBSD caller too")
@pytest.mark.parametrize("data", [
    images.program(ident=ident(3)), images.program(ident=ident(0, b"Linux\0")), noted(b"GNU\0", struct.pack("<4I", 0, 3, 2, 0)),
    images.interpreted(b"/lib64/ld-linux-x86-64.so.2"), images.program(), images.program(machine=EM_386),
])
def test_linux_elf(netbsd: Bench, path: Path, data: bytes) -> None:
    path.write_bytes(data)
    found = check_exec(netbsd.t, netbsd.request(bytes(path)))
    assert isinstance(found, ExecPlan)
    assert found.personality.name == "linux"


@row("netbsd", "emulation probes", "a FreeBSD program's interpreter must be FreeBSD's: with another one it is not taken for one")
def test_freebsd_with_another_loader(netbsd: Bench, path: Path) -> None:
    phdr, part = images.interp(b"/libexec/ld-elf.so.1")
    data = images.program(before=(phdr,), parts=(part,), ident=ident(9))
    path.write_bytes(data)
    with pytest.raises(ENOENT):                 # so it is Linux's, whose loader is looked for
        check_exec(netbsd.t, netbsd.request(bytes(path)))
    phdr, part = images.interp(b"/usr/libexec/ld-elf.so.1")
    data = images.program(before=(phdr,), parts=(part,), ident=ident(9))
    assert "FreeBSD" in reason(netbsd, path, data)


def sco(note: bytes, flags: int = 0) -> bytes:
    """A 386 program that nobody lays out (no segments to load), with one section of notes."""
    notes = Phdr(PT_NOTE, PF_R, 0x100, 0, 0, 4, 4, 4)
    data = bytearray(images.Elf(EM_386, phdrs=(notes,), parts=((0x400, note.ljust(0x40, b"\0")),)).encode())
    struct.pack_into("<I", data, 32, 0x300)                         # e_shoff
    struct.pack_into("<HHH", data, 46, 40, 1, 0)                    # e_shentsize, e_shnum
    struct.pack_into("<10I", data, 0x300, 0, 7, flags, 0, 0x400, len(note), 0, 0, 4, 0)
    struct.pack_into("<H", data, 16, 9)                             # e_type: nobody's
    return bytes(data)


SCO = bytes.fromhex("040000000c00000001000000") + b"SCO\0" + bytes(12)


@row("netbsd", "check_exec, EFTYPE", "a 386 ELF program that no probe takes is EFTYPE: what SCO's probe says of all but its own")
def test_sco(netbsd: Bench, path: Path) -> None:
    assert reason(netbsd, path, sco(SCO)) == "recognised as an iBCS2 ELF program (SCO), which is not here"
    for data in (sco(b"GNU".ljust(28, b"\0")), sco(SCO, flags=2)):
        path.write_bytes(data)
        with pytest.raises(EFTYPE):
            check_exec(netbsd.t, netbsd.request(bytes(path)))
    netbsd.t.proc.personality = netbsd.system.personalities["linux"]
    assert "neither an executable" in reason(netbsd, path, sco(b"GNU".ljust(28, b"\0")))


def test_a_personality_that_came_later_is_left_to_its_own_format(bench: Bench, path: Path) -> None:
    linux = bench.system.personalities["linux"]
    bench.system.execsw = ExecSwitch(bench.system)
    bench.system.execsw.register_personality(
        Personality(name="pecoff", abis=linux.abis, exec=linux.exec, sysname="X", release="1", version="1", machine_name="x")
    )
    assert "recognised" not in reason(bench, path, pe())


def test_every_row_has_a_name_of_its_own(bench: Bench) -> None:
    names = [entry.name for entry in bench.system.execsw.entries]
    assert len(set(names)) == len(names)
    assert names[-len(FOREIGN):] == [entry.name for entry in FOREIGN]


def test_an_elf_program_imports_none_of_them(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.unit.exec.bench import Bench\n"
        "from tests.unit.exec.images import program\n"
        "path = Path(sys.argv[1]); path.write_bytes(program()); path.chmod(0o755)\n"
        "bench = Bench(); bench.check(bytes(path)); bench.close()\n"
        "print([n for n in sys.modules if n.startswith('ring3.exec.formats.') and ('foreign' in n or n.endswith('aout'))])\n"
    )
    ran = subprocess.run([sys.executable, "-c", script, str(tmp_path / "x")], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
