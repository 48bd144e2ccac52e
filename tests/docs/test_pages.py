"""The README and the pages of docs/ say what happens: their commands are run and their output compared.

A `console` block is shell commands (`$ `) with what they print; `…` stands for anything, a line of it alone for any lines.
A `python` block with prompts is a doctest.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SKIPPED = ("make hello", "make test")        # CI runs them itself: the suite would start itself


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def steps(block: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif found:
            command, expected = found[-1]
            found[-1] = (command, f"{expected}{line}\n")
    return [step for step in found if step[0] not in SKIPPED]


def matches(expected: str, printed: str) -> bool:
    pattern = re.escape(expected).replace("…\n", "(?:.*\n)*?").replace("…", ".*")
    return re.fullmatch(pattern, printed) is not None


CONSOLE = [(page.name, index, block) for page in PAGES for index, block in enumerate(blocks(page, "console")) if steps(block)]
PYTHON = [(page.name, index, block) for page in PAGES for index, block in enumerate(blocks(page, "python")) if ">>>" in block]


@pytest.mark.needs_ptrace
@pytest.mark.parametrize(("page", "index", "block"), CONSOLE, ids=[f"{p}-{i}" for p, i, _ in CONSOLE])
def test_console(page: str, index: int, block: str, tmp_path: Path) -> None:
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    # one shell for the whole block, so that `$?` and variables carry over; a mark no page prints ends each command's output
    mark = "-- end of step --"
    script = "".join(f"{command}\nprintf '%s %s\\n' '{mark}' $?; (exit $(tail -n 1 status 2>/dev/null || echo 0))\n".replace(
        f"printf '%s %s\\n' '{mark}' $?", f"echo $? >> status; printf '%s\\n' '{mark}'") for command, _ in steps(block))
    done = subprocess.run(["/bin/bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)
    printed = done.stdout.split(f"{mark}\n")
    for (command, expected), output in zip(steps(block), printed, strict=False):
        assert matches(expected, output), f"{page}, block {index}: $ {command}\nprinted:\n{output}\nexpected:\n{expected}\n{done.stderr}"


@pytest.mark.needs_ptrace
@pytest.mark.parametrize(("page", "index", "block"), PYTHON, ids=[f"{p}-{i}" for p, i, _ in PYTHON])
def test_python(page: str, index: int, block: str) -> None:
    test = doctest.DocTestParser().get_doctest(block, {}, f"{page}[{index}]", page, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    report: list[str] = []
    assert runner.run(test, out=report.append).failed == 0, "".join(report)
