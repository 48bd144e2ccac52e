"""`ring3.explain` from Python: an answer, whatever the program is; errors for questions that make no sense."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import ring3
from tests.unit.exec.images import DATA, load, program

pytestmark = pytest.mark.timeout(60)


def test_a_program_that_runs() -> None:
    found = ring3.explain(["/bin/ls", "-l"], seed=7)
    assert (found.ok, found.outcome, found.error, found.diagnosis) == (True, "runs", "", None)
    assert found.plan is not None
    assert found.text().startswith("/bin/ls  →  would run as  /usr/bin/ls -l")
    assert found.text(80, colour=True) != found.text(80)
    assert max(map(len, found.text(80).splitlines())) <= 80
    assert found.as_dict()["argv"] == ["/bin/ls", "-l"]
    assert json.loads(found.json())["explanations"] == json.loads(json.dumps([found.as_dict()]))
    assert found.html().startswith("<!DOCTYPE html>")
    assert ring3.explain(["/bin/ls", "-l"], seed=7).json() == found.json()


def test_programs_that_do_not() -> None:
    assert (ring3.explain(["/etc"]).ok, ring3.explain("/etc/passwd").error) == (False, "EACCES")
    assert ring3.explain(["no-such-program"], env={"PATH": "/bin"}).as_dict()["diagnosis"]["key"] == "not along PATH"
    assert ring3.explain(["/bin/ls"], unveil=["/etc:r"]).diagnosis.key == "veiled"          # type: ignore[union-attr]
    assert ring3.explain(["/bin/ls"], user=12345, group=6).before.euid == 12345


def test_systems_differ() -> None:
    assert ring3.explain(["/bin/sh"], system="netbsd").personality == "netbsd"
    assert ring3.explain(["/bin/sh"], system="serenity").personality == "serenity"


def test_mounts_and_directories(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    (tmp_path / "script").chmod(0o755)
    assert ring3.explain(["./script"], mounts=[f"{tmp_path}:/tools"], cwd="/tools").ok
    assert ring3.explain(["/script"], root=tmp_path).diagnosis.key == "missing interpreter"     # type: ignore[union-attr]


@pytest.mark.parametrize(("words", "more", "error"), [
    ([], {}, ValueError), (["a\0b"], {}, ValueError), (["ls"], {"system": "plan9"}, ValueError),
    (["ls"], {"mounts": ["x"]}, ValueError), (["ls"], {"env": {"A=B": ""}}, ValueError),
    (["ls"], {"cwd": "/no/such"}, FileNotFoundError), (["ls"], {"user": "no-such"}, KeyError),
    (["ls"], {"root": "/no/such"}, FileNotFoundError), (["ls"], {"cwd": "/etc/passwd"}, NotADirectoryError),
    (["ls"], {"pledge": "no-such"}, ValueError), (["ls"], {"unveil": ["/no/such:r"]}, FileNotFoundError),
])
def test_questions_that_make_no_sense(words: list[str], more: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        ring3.explain(words, **more)        # type: ignore[arg-type]


def test_it_is_imported_when_it_is_used() -> None:
    code = "import sys, ring3; print([name for name in sys.modules if 'asking' in name or 'ring3.trace' in name])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.needs_ptrace
@pytest.mark.parametrize("way", [["run"], ["run", "--strace=/dev/null"], ["trace", "-o", "/dev/null"]])
def test_a_death_behind_the_point_of_no_return_is_told(ring3_command: str, tmp_path: Path, way: list[str]) -> None:
    path = tmp_path / "huge"
    path.write_bytes(program(load(0x600000, filesz=0x10, memsz=1 << 47, flags=DATA)))
    path.chmod(0o755)
    done = subprocess.run([ring3_command, *way, "--", str(path)], capture_output=True, text=True, timeout=40, check=False)
    said = f"ring3: {path}: killed by SIGSEGV in exec, behind its point of no return: its segment 1 wants 128 TiB at 0x600000"
    assert done.stderr.startswith(said)
    assert done.stderr.endswith(f"\n       ring3 explain -- {path} shows more\n")
    assert (done.returncode, done.stdout) == (139, "")


@pytest.mark.needs_ptrace
def test_other_deaths_are_the_programs_own_business(ring3_command: str, tmp_path: Path) -> None:
    words = [ring3_command, "run", "--", "sh", "-c", "kill -SEGV $$"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=40, check=False)
    assert (done.returncode, done.stderr) == (139, "")
    path = tmp_path / "huge"
    path.write_bytes(program(load(0x600000, filesz=0x10, memsz=1 << 47, flags=DATA)))
    path.chmod(0o755)
    with ring3.Kernel() as kernel, kernel.spawn([str(path)]) as process:
        assert (process.wait(), process.died_in_exec) == (-11, True)
    with ring3.Kernel() as kernel, kernel.spawn(["sh", "-c", "kill -SEGV $$"]) as process:
        assert (process.wait(), process.died_in_exec) == (-11, False)
