"""The judge of every difference: the same command natively and under ring3, and what is compared.

Both runs get the same arguments, environment and a fresh copy of the same directory to work in, whose path is the same
for both, so that nothing a program prints about itself differs by our doing.  The native run is the truth.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

# Not in /tmp, which the guest has for its own.
SCRATCH_PARENT = "/var/tmp"

# What both runs see of the environment; a command may add to it.
ENVIRONMENT: Mapping[str, str] = MappingProxyType({
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "USER": "guest",
})

Prepare = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What can be seen of a run from outside.  `status` is the exit status, or minus the signal that killed it."""

    stdout: bytes
    stderr: bytes
    status: int

    def lines(self) -> list[str]:
        """As text, for a readable comparison."""
        def text(data: bytes) -> list[str]:
            return data.decode("utf-8", "backslashreplace").split("\n")
        return [f"status {self.status}", "stdout:", *text(self.stdout), "stderr:", *text(self.stderr)]


@contextlib.contextmanager
def scratch_directory(name: str, prepare: Prepare | None = None) -> Iterator[Path]:
    """An empty directory of this name (prepared, if asked), gone afterwards."""
    parent = Path(tempfile.mkdtemp(prefix="ring3-", dir=SCRATCH_PARENT))
    try:
        yield _fresh(parent / name, prepare)
    finally:
        _remove(parent)


def _remove(directory: Path) -> None:
    """Remove it, with what a program locked: an ordinary user may not enter a directory of mode 0."""
    for folder, names, _ in os.walk(directory):
        for name in names:
            if not (path := Path(folder, name)).is_symlink():
                path.chmod(0o700)
    shutil.rmtree(directory, ignore_errors=True)


def _fresh(directory: Path, prepare: Prepare | None) -> Path:
    _remove(directory)
    directory.mkdir(mode=0o755)
    if prepare is not None:
        prepare(directory)
    return directory


def natively(args: Sequence[str], cwd: Path, *, stdin: bytes = b"", env: Mapping[str, str] = MappingProxyType({}),
             timeout: float = 200) -> Outcome:
    """Run on the host kernel, in a session of its own that is killed as a whole if it takes too long."""
    with subprocess.Popen(
        args, cwd=cwd, env={**ENVIRONMENT, "HOME": str(cwd), **env}, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:
        try:
            stdout, stderr = process.communicate(stdin, timeout)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return Outcome(stdout, stderr, process.returncode)


def in_ring3(args: Sequence[str], cwd: Path, *, stdin: bytes = b"", env: Mapping[str, str] = MappingProxyType({}),
             timeout: float = 200) -> Outcome:
    """Run in a kernel of its own, so that one failing case cannot spoil the next."""
    import ring3  # here: the corpus can be judged natively without a kernel

    with ring3.Kernel() as kernel:
        done = kernel.run(args, cwd=str(cwd), env={**ENVIRONMENT, "HOME": str(cwd), **env}, input=stdin,
                          capture_output=True, timeout=timeout, start_new_session=True)
    return Outcome(done.stdout, done.stderr, done.returncode)


def _same(expected: Outcome, got: Outcome, what: str) -> None:
    """Fail with the lines that differ, the host's first."""
    if got != expected:
        lines = difflib.unified_diff(expected.lines(), got.lines(), "host", "here", n=1, lineterm="")
        pytest.fail("\n".join([what, *lines]), pytrace=False)


def compare(args: Sequence[str], *, rounds: int, name: str = "work", prepare: Prepare | None = None, stdin: bytes = b"",
            env: Mapping[str, str] = MappingProxyType({}), timeout: float = 200) -> None:
    """Fail unless ring3 does what the host does.

    With `rounds` above zero ring3 is left out, and that many more native runs are compared with the first: is the case
    itself stable?  ring3 sees the directory through its overlay: whatever it writes must not be there afterwards.
    """
    with scratch_directory(name, prepare) as cwd:
        expected = natively(args, cwd, stdin=stdin, env=env, timeout=timeout)
        for _ in range(rounds):
            again = natively(args, _fresh(cwd, prepare), stdin=stdin, env=env, timeout=timeout)
            _same(expected, again, "the case is not stable: two native runs differ")
        if rounds:
            return
        before = sorted(path.relative_to(cwd) for path in _fresh(cwd, prepare).rglob("*"))
        got = in_ring3(args, cwd, stdin=stdin, env=env, timeout=timeout)
        _same(expected, got, "ring3 differs from the host")
        after = sorted(path.relative_to(cwd) for path in cwd.rglob("*"))
        assert after == before, "a write reached the host through the overlay"
