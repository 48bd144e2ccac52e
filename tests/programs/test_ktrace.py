"""ktrace with real programs: NetBSD ones that trace themselves, and everything a shell does from outside."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

import ring3
from ring3.cli.kdump import main as kdump
from ring3.trace.kdump import Options, Printer
from ring3.trace.ktrace import KtraceWriter
from ring3.trace.ktracefile import KtraceFile
from tests.guest.netbsd.build import HERE as GUEST
from tests.guest.netbsd.build import build
from tests.rows import row

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(200)]


def text(data: bytes) -> list[str]:
    """The lines of kdump behind the process, the LWP and the name."""
    file = KtraceFile(io.BytesIO(data))
    printer = Printer(file, Options())
    return [f"{record.pid} {re.sub('0x[0-9a-f]+', '@', printer.lines(record)[23:])}".strip() for record in file]


@row("netbsd", "ktrace", "a program traces itself and its children over fork and exec, into another system too")
@pytest.mark.parametrize("how", ["amd64", "i386"])
def test_a_program_traces_itself_and_its_child(how: str) -> None:
    emulation = {"amd64": "netbsd", "i386": "netbsd32"}[how]
    done = ring3.run([str(build(GUEST / "ktrace.c", how)), "dump"], capture_output=True)
    lines = text(done.stdout)
    mine = [line[2:] for line in lines if line.startswith("2 ")]
    assert mine[:6] == [
        f'EMUL  "{emulation}"', "RET   ktrace 0",
        "CALL  open(@,0,0)", 'NAMI  "/none"', "RET   open -1 errno 2 No such file or directory",
        "CALL  utrace(@,@,3)",
    ]
    assert "USER  mark: 3, 616263" in mine
    assert "PSIG  SIGUSR1 caught handler=@ mask=()" in mine
    assert mine[-1] == "CALL  ktrace(0,1,@,2)"
    failed = mine.index("CALL  execve(@,@,@)")
    assert mine[failed + 1 : failed + 3] == ['NAMI  "/none"', "RET   execve -1 errno 2 No such file or directory"]
    child = [line[2:] for line in lines if line.startswith("3 ")]
    assert child[:4] == [f'EMUL  "{emulation}"', "RET   fork 0", "CALL  execve(@,@,@)", 'NAMI  "/bin/true"']
    strings = [line for line in child if line[:3] in ("ARG", "ENV")]
    assert strings == ['ARG   "a-name"', 'ARG   "-x"', 'ENV   "A=1"']
    linux = child.index('EMUL  "linux"')
    assert child[linux + 1] == "RET   execve JUSTRETURN"
    assert child[-1] == "CALL  exit_group(0)"


@row("netbsd", "execve KTR_EXEC_ARG", "the strings of an exec that then fails are recorded all the same")
def test_strings_of_an_exec_that_fails(tmp_path: Path) -> None:
    script = tmp_path / "bad"
    script.write_bytes(b"\x7fELF" + bytes(100))
    script.chmod(0o755)
    file = io.BytesIO()
    with ring3.Kernel(instruments=[KtraceWriter(file)]) as kernel:
        kernel.run(["/bin/sh", "-c", f"exec {script} one two"], capture_output=True)
        assert not kernel.loop.instrument_failures
    lines = text(file.getvalue())
    at = next(index for index, line in enumerate(lines) if line.endswith('ARG   "one"'))
    behind = [line for line in lines[at:] if "RET   execve" in line]
    assert behind[0].endswith("RET   execve -1 errno 8 Exec format error")


def test_a_shell_from_outside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "ktrace.out"
    with trace.open("wb") as file, ring3.Kernel(instruments=[KtraceWriter(file)]) as kernel:
        kernel.run(["/bin/sh", "-c", "echo hello | cat; kill -TERM $$"], capture_output=True)
        assert not kernel.loop.instrument_failures
    assert kdump(["-t", "is", str(trace)]) == 0
    out = capsys.readouterr().out
    assert 'GIO   fd 1 wrote 6 bytes\n       "hello\\n"\n' in out
    assert 'GIO   fd 0 read 6 bytes\n       "hello\\n"\n' in out
    assert "PSIG  SIGTERM SIG_DFL" in out
