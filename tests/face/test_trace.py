"""`ring3 trace`: a report of a run, beside the run's own output and status."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.needs_ptrace


def trace(command: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([command, "trace", *words], capture_output=True, text=True, timeout=90, check=False)


def data_of(page: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(re.findall(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)[0])
    return found


def test_a_report_beside_the_run(ring3_command: str, tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    done = trace(ring3_command, "--html", str(page), "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 3)
    found = data_of(page)
    assert found["head"]["status"] == "exited with 3"
    assert found["head"]["isGood"] is False
    assert found["head"]["command"] == ["sh", "-c", "echo out; echo err >&2; exit 3"]
    assert found["head"]["system"] == "linux"
    assert len(found["calls"]["at"]) > 20


def test_a_signal_that_ended_it(ring3_command: str, tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    done = trace(ring3_command, "--html", str(page), "--", "sh", "-c", "kill -9 $$")
    assert done.returncode == 137
    assert data_of(page)["head"]["status"] == "killed by SIGKILL"


def test_no_report_of_what_never_ran(ring3_command: str, tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    done = trace(ring3_command, "--html", str(page), "--", "no-such-program")
    assert done.returncode == 127
    assert not page.exists()


def test_a_place_that_is_none_is_told_before_the_run(ring3_command: str, tmp_path: Path) -> None:
    done = trace(ring3_command, "--html", str(tmp_path / "no" / "run.html"), "--", "echo", "out")
    assert done.returncode == 125
    assert done.stdout == ""
    assert "the report cannot be written there" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_a_line(ring3_command: str) -> None:
    done = trace(ring3_command, "--html", "/dev/full", "--", "echo", "out")
    assert done.returncode == 125
    assert done.stdout == "out\n"
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
