"""What each record looks like, by kdump's options."""

from __future__ import annotations

import io
import struct

import pytest

from ring3.abi.netbsd import ktrace
from ring3.abi.netbsd.ktrace import EJUSTRETURN, ERESTART, Record
from ring3.trace.kdump import Options, Printer, parse_points
from ring3.trace.ktracefile import KtraceFile


def written(*rows: tuple[int, bytes], pid: int = 12) -> bytes:
    return b"".join(
        ktrace.header(len(payload), kind, 2, pid, b"cat", 1_500_000_000_000_000_000 + 1_000_000 * at, 1) + payload
        for at, (kind, payload) in enumerate(rows)
    )


def dump(data: bytes, emulation: str = "netbsd", **options: object) -> list[str]:
    file = KtraceFile(io.BytesIO(data))
    printer = Printer(file, Options(**options), emulation)  # type: ignore[arg-type]
    return "".join(printer.lines(record) for record in file).splitlines()


def one(kind: int, payload: bytes, **options: object) -> str:
    """The text of one record without its head."""
    lines = dump(written((kind, payload)), **options)  # type: ignore[arg-type]
    assert lines[0].startswith("    12      1 cat      ")
    return "\n".join([lines[0][len("    12      1 cat      ") :], *lines[1:]])


CALL, RET = Record.SYSCALL, Record.SYSRET


@pytest.mark.parametrize(("kind", "payload", "text"), [
    (CALL, ktrace.syscall(4, (1, 0x7F0000001000, 9, 10)), "CALL  write(1,0x7f0000001000,9,0xa)"),
    (CALL, ktrace.syscall(20, ()), "CALL  getpid"),
    (CALL, ktrace.syscall(9999, (3,)), "CALL  [9999](3)"),
    (CALL, ktrace.syscall(37, (5, 15)), "CALL  kill(5,SIGTERM)"),
    (CALL, ktrace.syscall(340, (2, 0, 0, 0, 0)), "CALL  __sigaction_sigtramp(SIGINT,0,0,0,0)"),
    (CALL, ktrace.syscall(54, (1, 0x40047477, 0x1000)), "CALL  ioctl(1,_IOR('t',0x77,0x4),0x1000)"),
    (CALL, ktrace.syscall(54, (1, 0x2000660E, 0)), "CALL  ioctl(1,_IO('f',0xe),0)"),
    (CALL, struct.pack("<ii", 4, 800) + bytes(16), "CALL  write(0,0)"),
    (RET, ktrace.sysret(4, 0, 5), "RET   write 5"),
    (RET, ktrace.sysret(4, 0, 100), "RET   write 100/0x64"),
    (RET, ktrace.sysret(197, 0, -1), "RET   mmap -1/0xffffffffffffffff"),
    (RET, ktrace.sysret(42, 0, 3, 4), "RET   pipe 3, 4"),
    (RET, ktrace.sysret(5, 2), "RET   open -1 errno 2 No such file or directory"),
    (RET, ktrace.sysret(5, 35), "RET   open -1 errno 35 Resource temporarily unavailable"),
    (RET, ktrace.sysret(5, 999), "RET   open -1 errno 999 Unknown error: 999"),
    (RET, ktrace.sysret(59, EJUSTRETURN), "RET   execve JUSTRETURN"),
    (RET, ktrace.sysret(3, ERESTART), "RET   read RESTART"),
    (RET, ktrace.sysret(3, 0, 7)[:16], "RET   read 7"),
    (Record.NAMEI, b'/a "b"\n', 'NAMI  "/a \\"b\\"\\n"'),
    (Record.GENIO, ktrace.genio(1, writes=True, data=b"hi\n\0\x1b[2J"), 'GIO   fd 1 wrote 8 bytes\n       "hi\\n\\0\\033[2J"'),
    (Record.GENIO, ktrace.genio(-1, writes=False, data=b""), 'GIO   read 0 bytes\n       ""'),
    (Record.PSIG, ktrace.psig(20, 0, 0, 0), "PSIG  SIGCHLD SIG_DFL"),
    (Record.PSIG, ktrace.psig(11, 0x400, 1 | 1 << 33, 1), "PSIG  SIGSEGV caught handler=0x400 mask=(1,34) code=0x1"),
    (Record.PSIG, ktrace.psig(2, 0x400, 0, 0) + struct.pack("<iii4xii", 2, 0, 0, 77, 1000) + bytes(104),
     "PSIG  SIGINT caught handler=0x400 mask=(): code=SI_USER sent by pid=77, uid=1000"),
    (Record.PSIG, ktrace.psig(11, 0, 0, 0) + struct.pack("<iii4xQi", 11, 1, 0, 0xDEAD, 6) + bytes(100),
     "PSIG  SIGSEGV SIG_DFL: code=1, addr=0xdead, trap=6"),
    (Record.PSIG, ktrace.psig(20, 0x4, 0, 0) + struct.pack("<iii4xiii", 20, 1, 0, 5, 6, 256) + bytes(100),
     "PSIG  SIGCHLD caught handler=0x4 mask=(): code=1 child pid=5, uid=6, status=256"),
    (Record.CSW, ktrace.CSW.pack(1, 0), "CSW   stop kernel"),
    (Record.CSW, ktrace.CSW.pack(0, 1), "CSW   resume user"),
    (Record.EMUL, b"linux", 'EMUL  "linux"'),
    (Record.USER, b"mark".ljust(20, b"\0") + b"\1\xff", "USER  mark: 2, 01ff"),
    (Record.EXEC_ARG, b"--flag", 'ARG   "--flag"'),
    (Record.EXEC_ENV, b"A=b c", 'ENV   "A=b c"'),
    (Record.EXEC_FD, ktrace.EXEC_FD.pack(1, 2), "FD    fd 1 socket"),
    (Record.EXEC_FD, ktrace.EXEC_FD.pack(1, 99), "FD    fd 1 UNKNOWN 99"),
    (Record.MIB, struct.pack("<iii", 1, 14, 3), "MIB   1.14.3"),
    (Record.SAUPCALL, b"abc", "SAU   \n\t000   61 62 63                                         abc"),
    (20, b"abc", "UNKNOWN(20)  \n\t000   61 62 63                                         abc"),
    (CALL, b"abc", "CALL  \n\t000   61 62 63                                         abc"),
])
def test_records(kind: int, payload: bytes, text: str) -> None:
    assert one(kind, payload) == text


def test_long_strings_are_folded() -> None:
    lines = dump(written((Record.EXEC_ENV, b"x" * 200)))
    assert lines[0].endswith("\\")
    assert all(line.startswith("\t") for line in lines[1:])
    assert max(map(len, lines)) <= 80
    assert "".join(line.strip("\t\\") for line in lines).count("x") == 200


def test_the_emulation_says_whose_numbers_they_are() -> None:
    rows = (
        (CALL, ktrace.syscall(59, (1, 2, 3))), (Record.EMUL, b"linux"), (RET, ktrace.sysret(59, EJUSTRETURN)),
        (CALL, ktrace.syscall(257, (3,))), (RET, ktrace.sysret(257, 38)), (Record.PSIG, ktrace.psig(10, 0, 0, 0)),
        (Record.EMUL, b"linux32"), (CALL, ktrace.syscall(4, ((1 << 64) - 1,))),
        (Record.EMUL, b"irix"), (CALL, ktrace.syscall(4, (1,))),
    )
    assert [line[23:] for line in dump(written(*rows))] == [
        "CALL  execve(1,2,3)", 'EMUL  "linux"', "RET   execve JUSTRETURN", "CALL  openat(3)",
        "RET   openat -1 errno 38 Function not implemented", "PSIG  SIGUSR1 SIG_DFL", 'EMUL  "linux32"', "CALL  write(0xffffffff)",
        'EMUL  "irix"', "CALL  [4](1)",
    ]
    assert dump(written((CALL, ktrace.syscall(257, ()))), "linux")[0].endswith("CALL  openat")


def test_options() -> None:
    data = written((CALL, ktrace.syscall(4, (1, 77))), (Record.GENIO, ktrace.genio(1, writes=True, data=b"0123456789abcdefgh")))
    assert dump(data, decimal=True)[0].endswith("write(1,77)")
    assert dump(data, numeric=True)[0].endswith("[4](1,0x4d)")
    assert dump(data, max_data=2)[2] == '       "01"'
    assert len(dump(data, max_data=0)) == 2
    assert dump(data, hex_word=1)[2:] == [
        "\t000   30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  0123456789abcdef",
        "\t010   67 68                                            gh",
    ]
    assert dump(data, hex_word=4)[2] == "\t000   33323130 37363534 62613938 66656463  0123456789abcdef"
    assert [line.split()[3] for line in dump(data, time="absolute")[:2]] == ["1500000000.000000000", "1500000000.001000000"]
    assert [line.split()[3] for line in dump(data, time="relative")[:2]] == ["0.000000000", "0.001000000"]
    assert dump(data, pid=5) == []
    assert len(dump(data, points=parse_points("i"))) == 2
    assert dump(written((CALL, ktrace.syscall(37, (5, 15)))), plain=True)[0].endswith("kill(5,0xf)")
    assert dump(written((RET, ktrace.sysret(5, 2))), plain=True)[0].endswith("open -1 errno 2")


def test_stars_stand_for_lines_like_the_one_above() -> None:
    data = written((Record.GENIO, ktrace.genio(0, writes=False, data=bytes(160) + b"x")))
    assert dump(data, hex_word=1)[2:] == ["\t***", "\t0a0   78                                               x"]


def test_letters() -> None:
    assert parse_points("A") == -1
    with pytest.raises(ValueError, match="'q' is no trace point"):
        parse_points("cq")
