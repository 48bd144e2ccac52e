"""`ring3.explain` from Python: an answer, whatever the program is; errors for questions that make no sense."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ring3
from tests.unit.exec.images import DATA, load, program

pytestmark = pytest.mark.timeout(200)


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
    done = subprocess.run([ring3_command, *way, "--", str(path)], capture_output=True, text=True, timeout=90, check=False)
    said = f"ring3: {path}: killed by SIGSEGV in exec, behind its point of no return: its segment 1 wants 128 TiB at 0x600000"
    assert done.stderr.startswith(said)
    assert done.stderr.endswith(f"\n       ring3 explain -- {path} shows more\n")
    assert (done.returncode, done.stdout) == (139, "")


@pytest.mark.needs_ptrace
def test_other_deaths_are_the_programs_own_business(ring3_command: str, tmp_path: Path) -> None:
    words = [ring3_command, "run", "--", "sh", "-c", "kill -SEGV $$"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stderr) == (139, "")
    path = tmp_path / "huge"
    path.write_bytes(program(load(0x600000, filesz=0x10, memsz=1 << 47, flags=DATA)))
    path.chmod(0o755)
    with ring3.Kernel() as kernel, kernel.spawn([str(path)]) as process:
        assert (process.wait(), process.died_in_exec) == (-11, True)
    with ring3.Kernel() as kernel, kernel.spawn(["sh", "-c", "kill -SEGV $$"]) as process:
        assert (process.wait(), process.died_in_exec) == (-11, False)


@pytest.mark.needs_ptrace
def test_a_kernel_that_runs_is_asked_about_its_own_files() -> None:
    with ring3.Kernel() as kernel:
        assert kernel.explain(["/tmp/ring3-tool"]).error == "ENOENT"
        kernel.run("printf '#!/no/such/sh\\n' > /tmp/ring3-tool; chmod +x /tmp/ring3-tool", shell=True)
        found = kernel.explain(["/tmp/ring3-tool"])
        assert found.diagnosis.key == "missing interpreter"                                 # type: ignore[union-attr]
        assert kernel.explain(["./ring3-tool"], cwd="/tmp").error == "ENOENT"
        assert kernel.explain(["/bin/sh"], system="netbsd").personality == "netbsd"
        assert kernel.explain(["/bin/ls"], unveil=["/etc:r"]).diagnosis.key == "veiled"     # type: ignore[union-attr]
        with kernel.spawn(["cat"], stdin=ring3.PIPE, stdout=ring3.PIPE) as process:
            assert kernel.explain(["/bin/true"]).ok          # while another program runs
            assert process.communicate(b"still here")[0] == b"still here"
        wrong: Any
        for wrong in (5, []):
            with pytest.raises((TypeError, ValueError)):
                kernel.explain(wrong)
        with pytest.raises(FileNotFoundError):
            kernel.explain(["true"], cwd="/no/such")
    with pytest.raises(RuntimeError, match="closed"):
        kernel.explain(["true"])


@pytest.mark.needs_ptrace
def test_asking_changes_nothing() -> None:
    """With one seed a run goes the same way whether somebody asked before or not: addresses, ids, numbers."""
    def seen(*, asks: bool) -> bytes:
        with ring3.Kernel(seed=5) as kernel:
            kernel.run(["true"])
            if asks:
                kernel.explain(["/bin/sh"])
            script = "echo $$; cat /proc/self/maps; head -c 8 /dev/urandom"
            return bytes(kernel.run(script, shell=True, capture_output=True).stdout)

    assert seen(asks=True) == seen(asks=False)


def test_what_a_veil_hides_along_path_is_named() -> None:
    hidden = ring3.explain(["cat"], env={"PATH": "/usr/local/bin:/usr/bin"}, unveil=["/etc:r"])
    assert (hidden.error, hidden.diagnosis.key) == ("ENOENT", "veiled")                     # type: ignore[union-attr]
    assert "/usr/bin/cat is there, but the veil hides it" in hidden.diagnosis.why           # type: ignore[union-attr]
    loader = ring3.explain(["cat"], env={"PATH": "/usr/bin"}, unveil=["/usr/bin/cat:x"])
    assert "ld-linux" in loader.diagnosis.why                                               # type: ignore[union-attr]
    assert "the veil hides it" in loader.diagnosis.why                                      # type: ignore[union-attr]
    nothing = ring3.explain(["no-such-program"], env={"PATH": "/usr/bin"}, unveil=["/etc:r"])
    assert nothing.diagnosis.key == "not along PATH"                                        # type: ignore[union-attr]
