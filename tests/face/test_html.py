"""A recorder among the instruments of a real kernel: what programs did is in the document."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

import ring3
from ring3.trace.html import Recorder, write_report
from tests.guest.build import CannotBuild, Case, build_case, cases

pytestmark = pytest.mark.needs_ptrace
SCRIPT = """
mkdir d && cd d && echo hello > a && cp a b && mv b c && rm a && chmod 600 c
cat c missing /nowhere/at/all
sh -c 'kill -SEGV $$'
/bin/true
"""


class Run:
    """A document of a real run, with its strings in place."""

    def __init__(self, found: dict[str, Any], cwd: str) -> None:
        self.found = found
        self.cwd = cwd
        self.strings: list[str] = found["strings"]

    def text(self, index: int) -> str:
        return self.strings[index]

    def calls(self) -> list[dict[str, str]]:
        columns = self.found["calls"]
        return [
            {key: self.text(index) for key, index in zip(("name", "args", "result", "error"), row, strict=True)}
            for row in zip(columns["name"], columns["args"], columns["result"], columns["error"], strict=True)
        ]

    def files(self) -> dict[str, dict[str, Any]]:
        return {self.text(row["path"]): row for row in self.found["files"]}


def recorded(command: list[str], **options: Any) -> tuple[Run, Recorder, int]:
    recorder = Recorder(**options)
    with TemporaryDirectory() as empty, ring3.Kernel(instruments=[recorder]) as kernel:
        status = kernel.run(command, capture_output=True, cwd=empty, env={"PATH": "/usr/bin:/bin"}).returncode
        assert kernel.loop.instrument_failures == []
    from ring3.trace.html.document import Head

    head = Head("t", command, "linux", "", is_good=True, began=None, ns=recorder.last_ns)
    text = "".join(recorder.document.pieces(head, made_by="test", subjects={}, meanings={}))
    return Run(json.loads(text), empty), recorder, status


@pytest.fixture(scope="module")
def run() -> Run:
    return recorded(["sh", "-c", SCRIPT])[0]


def test_processes_their_parents_and_ends(run: Run) -> None:
    procs = run.found["procs"]
    shell = procs[0]
    assert shell["parent"] == -1
    assert all(proc["parent"] == 0 for proc in procs[1:])
    assert run.text(shell["status"]) == "exited with 0"
    assert any(run.text(proc["status"]).startswith("killed by SIGSEGV") for proc in procs if proc["isBad"])
    assert all(0 <= proc["born"] <= proc["died"] for proc in procs)


def test_calls_with_arguments_results_and_errors(run: Run) -> None:
    calls = run.calls()
    missing = [call for call in calls if "/nowhere/at/all" in call["args"]]
    assert {call["error"] for call in missing if call["name"] == "openat"} == {"ENOENT"}
    assert all(call["result"] == "-1 ENOENT" for call in missing if call["error"] == "ENOENT")
    written = [call for call in calls if call["name"] == "write" and "hello" in call["args"]]
    assert written[0]["args"] == '1, "hello\\n", 6'
    assert written[0]["result"] == "6"
    assert sum(run.found["calls"]["at"]) <= run.found["head"]["ns"]


def test_what_became_of_files(run: Run) -> None:
    files = run.files()
    assert files[f"{run.cwd}/d/a"]["written"] == 6
    assert files[f"{run.cwd}/d/a"]["read"] >= 6                       # cp
    deeds = {path: {("created", "renamed", "removed", "changed")[deed] for deed in row["deeds"]} for path, row in files.items()}
    assert "created" in deeds[f"{run.cwd}/d"]
    assert "removed" in deeds[f"{run.cwd}/d/a"]
    assert "renamed" in deeds[f"{run.cwd}/d/b"]
    assert "changed" in deeds[f"{run.cwd}/d/c"]
    assert files["/nowhere/at/all"]["fails"] >= 1
    assert files[f"{run.cwd}/d/missing"]["fails"] >= 1                # named from the current directory


def test_an_open_that_made_its_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old\n")
    (tmp_path / "again").write_text("old\n")
    script = f"cd {tmp_path}; echo a > new; echo b >> new; echo c > old; echo d >> again; set -C; echo e > only"
    files = recorded(["sh", "-c", script])[0].files()
    made = {Path(path).name for path, row in files.items() if 0 in row["deeds"]}
    assert made == {"new", "only"}
    assert files[f"{tmp_path}/old"]["written"] == files[f"{tmp_path}/again"]["written"] == 2


def test_execs_have_the_space_before_and_after(run: Run) -> None:
    execs = run.found["execs"]
    first, second = execs[0], execs[1]
    assert first["before"] is None
    labels = [run.text(region[3]) for region in second["before"]["regions"]]
    assert "/usr/bin/dash" in labels or "/usr/bin/sh" in labels
    labels = [run.text(region[3]) for region in second["after"]["regions"]]
    assert any(label.endswith("/mkdir") for label in labels)
    assert "[stack]" in labels
    assert [run.text(word) for word in second["argv"]] == ["mkdir", "d"]


def test_signals_are_there(run: Run) -> None:
    assert any(run.text(row["text"]).startswith("SIGSEGV") for row in run.found["signals"])


def test_threads_are_lanes_of_their_own() -> None:
    code = "import threading, time\nfor _ in range(3): threading.Thread(target=time.sleep, args=(0.01,)).start()"
    run, _, _ = recorded(["/usr/bin/python3", "-c", code])
    threads = run.found["threads"]
    assert len(threads) == 4
    assert all(thread["died"] >= thread["born"] for thread in threads)


def test_more_calls_than_wanted_are_counted_and_left_out() -> None:
    run, recorder, status = recorded(["sh", "-c", "cat /dev/null; exit 3"], limit=20)
    assert len(run.found["calls"]["at"]) == 20
    assert recorder.dropped > 20
    assert status == 3
    assert run.text(run.found["procs"][0]["status"]) == "exited with 3"


def test_a_policy_that_refuses_is_seen() -> None:
    recorder = Recorder()
    with ring3.Kernel(instruments=[recorder]) as kernel:
        kernel.run(["sh", "-c", ": > /tmp/x"], pledge="stdio rpath", capture_output=True)
        assert kernel.loop.instrument_failures == []
    from ring3.trace.html.document import Head

    head = Head("t", ["sh"], "linux", "", is_good=False, began=None, ns=0)
    text = "".join(recorder.document.pieces(head, made_by="test", subjects={}, meanings={}))
    found = Run(json.loads(text), "")
    assert any("wpath" in found.text(row["text"]) for row in found.found["refusals"])


def test_a_hostile_name_reaches_the_page_as_text(tmp_path: Path) -> None:
    name = "</script><img src=x onerror=alert(1)>"
    recorder = Recorder()
    with ring3.Kernel(instruments=[recorder]) as kernel:
        kernel.run(["touch", f"/tmp/{name.replace('/', '|')}", f"/tmp/\x1b[31m{name[9:]}"], capture_output=True)
    page = tmp_path / "run.html"
    write_report(recorder, str(page), command=["touch", name], status=0)
    text = page.read_text()
    assert "onerror=alert(1)" in text
    assert "<img" not in text
    assert "\x1b" not in text
    assert text.count("</script>") == 2


def first_cases() -> list[Case]:
    """One case of each 64-bit guest program: clones, execs, signals, sockets, whatever there is."""
    found: dict[str, Case] = {}
    for case in cases():
        if case.build != "i386":
            found.setdefault(case.program, case)
    return list(found.values())


@pytest.mark.parametrize("case", first_cases(), ids=str)
def test_no_guest_breaks_the_recorder(case: Case, tmp_path: Path) -> None:
    try:
        program = build_case(case)
    except CannotBuild as why:
        pytest.skip(str(why))
    recorder = Recorder()
    with ring3.Kernel(instruments=[recorder]) as kernel:
        status = kernel.run([str(program), case.name], capture_output=True, timeout=90, cwd=tmp_path).returncode
        assert kernel.loop.instrument_failures == []
    page = tmp_path / "run.html"
    write_report(recorder, str(page), command=[case.name], status=status)
    found = json.loads(page.read_text().split('id="data">')[1].split("</script>")[0])
    assert all(row["died"] >= row["born"] for row in [*found["procs"], *found["threads"]])
