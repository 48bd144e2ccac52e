"""The README and the pages of docs/ say what happens: their commands are run and their output compared.

A `console` block is shell commands (`$ `, going on in lines with `> `) with what they print; `…` stands for anything, a line of
it alone for any lines.
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
ROOT_ONLY = ("ring3 run -- sh -c 'rm -rf /etc; ls /etc 2>&1; ls -d /usr'",)      # an ordinary user is refused there too
MARK = "-- end of step --"                   # printed by the test after each command, and by no page


def blocks(language: str) -> list[tuple[str, str]]:
    """(name, text) of every fenced block in that language."""
    found = []
    for page in PAGES:
        texts = re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        found += [(f"{page.name}-{number}", text) for number, text in enumerate(texts, 1)]
    return found


def steps(block: str) -> list[tuple[str, str]]:
    """(command, what it prints) of a console block."""
    parts = re.split(r"^\$ (.*(?:\n>(?: .*|$))*)\n", block, flags=re.MULTILINE)
    parts[1::2] = [re.sub(r"\n> ?", "\n", command) for command in parts[1::2]]
    skipped = SKIPPED if os.geteuid() == 0 else (*SKIPPED, *ROOT_ONLY)
    return [(command, printed) for command, printed in zip(parts[1::2], parts[2::2], strict=True) if command not in skipped]


def matches(expected: str, printed: str) -> bool:
    lines = [r"(?:.*\n)*?" if line == "…\n" else re.escape(line).replace("…", ".*") for line in expected.splitlines(keepends=True)]
    return re.fullmatch("".join(lines), printed) is not None


@pytest.mark.needs_ptrace
@pytest.mark.timeout(300)                    # the first `go build` for another system compiles Go's library
@pytest.mark.parametrize("block", [pytest.param(text, id=name) for name, text in blocks("console") if steps(text)])
def test_console(block: str, tmp_path: Path) -> None:
    # One shell for the whole block, so that `$?` and variables carry over.
    script = "".join(f"{command}\n{{ status=$?; echo '{MARK}'; (exit $status); }}\n" for command, _ in steps(block))
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=280, check=False)
    printed = done.stdout.split(f"{MARK}\n")
    for (command, expected), output in zip(steps(block), printed[:-1], strict=True):
        assert matches(expected, output), f"$ {command}\n{output}\n--- expected\n{expected}\n--- standard error\n{done.stderr}"


@pytest.mark.needs_ptrace
@pytest.mark.parametrize("block", [pytest.param(text, id=name) for name, text in blocks("python") if ">>>" in text])
def test_python(block: str) -> None:
    test = doctest.DocTestParser().get_doctest(block, {}, "page", None, 0)
    report: list[str] = []
    failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)
    assert not failed, "".join(report)


@pytest.mark.parametrize(("expected", "printed", "same"), [
    ("a\n", "a\n", True), ("a\n", "b\n", False), ("a…c\n", "abc\n", True), ("a\n…\nz\n", "a\nb\nc\nz\n", True),
    ("a\n…\n", "a\n", True),
    ("a.c\n", "abc\n", False), ("", "x\n", False),
])
def test_dots_stand_for_anything(expected: str, printed: str, same: bool) -> None:
    assert matches(expected, printed) is same
