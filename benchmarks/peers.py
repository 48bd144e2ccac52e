"""Who is measured beside ring3: each peer turns a command into the command that runs it there.

A peer that is not installed stays in the table as absent; nothing is installed here.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Wrap = Callable[[Sequence[str]], list[str]]

RING3 = str(Path(sys.executable).with_name("ring3"))


@dataclass(frozen=True, slots=True)
class Peer:
    """`wrap` gives the command line that runs a program under this peer; None if the peer is absent."""

    name: str
    wrap: Wrap | None


def peers() -> list[Peer]:
    """All of them, the judge first."""
    return [
        Peer("native", list),
        Peer("ring3", lambda command: [RING3, "run", "--", *command]),
        Peer("runsc", _runsc()),
        Peer("qemu", _program("qemu-x86_64")),
        Peer("qiling", _qiling()),
    ]


def _program(name: str) -> Wrap | None:
    found = shutil.which(name)
    return None if found is None else lambda command: [found, *command]


def _runsc() -> Wrap | None:
    found = shutil.which("runsc")
    if found is None:
        return None
    prefix = [found, "--platform=ptrace", "--network=none"]
    # Releases differ in whether `do` knows -force-overlay; one trial says so.
    for options in (["-quiet", "-force-overlay=false"], ["-quiet"], []):
        trial = [*prefix, "do", *options]
        try:
            if subprocess.run([*trial, "/bin/true"], capture_output=True, timeout=60, check=False).returncode == 0:
                return lambda command, trial=trial: [*trial, *command]  # type: ignore[misc]
        except subprocess.TimeoutExpired:
            continue
    return None


def _qiling() -> Wrap | None:
    python = os.environ.get("QILING_PYTHON")                # Qiling may live in an environment of its own
    if python is None and importlib.util.find_spec("qiling") is None:
        return None
    program = (
        "import sys; from qiling import Qiling; from qiling.const import QL_VERBOSE\n"
        "Qiling(sys.argv[1:], '/', verbose=QL_VERBOSE.OFF).run()"
    )
    return lambda command: [python or sys.executable, "-W", "ignore", "-c", program, *command]
