"""What the tests of the face share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def static_true(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A static program that does nothing: it runs in a root with nothing else in it."""
    directory = tmp_path_factory.mktemp("static")
    source, program = directory / "true.c", directory / "true"
    source.write_text("int main(void) { return 0; }\n")
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-musl", "-static"]
    subprocess.run([*compiler, "-o", program, source], check=True)
    return str(program)


@pytest.fixture(scope="session")
def ring3_command() -> str:
    """The installed console script."""
    return str(Path(sys.executable).parent / "ring3")
