"""Builds the guest programs of the tests: small C sources of this folder, compiled once and kept by their content's hash.

A source names its builds in a comment, `builds: x64 i386`, and its cases by `CASE(name)`; both are read without compiling,
so that collecting tests costs nothing.  Nothing compiled is kept in the tree: the cache is the user's, safe to delete.

    python tests/guest/build.py            builds everything and prints where it is
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

HERE = Path(__file__).parent
HARNESS = HERE / "case.h"

ZIG = (sys.executable, "-m", "ziglang", "cc")
COMMON = ("-std=gnu11", "-O1", "-g0", "-Wall", "-Wextra", "-fno-sanitize=all", "-fno-strict-aliasing", "-pthread")

BUILDS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "x64": (*ZIG, "-target", "x86_64-linux-musl", "-static", "-no-pie", *COMMON),
    "pie": (*ZIG, "-target", "x86_64-linux-musl", "-static-pie", "-fPIE", *COMMON),
    "i386": (*ZIG, "-target", "x86-linux-musl", "-static", "-no-pie", *COMMON),
    "gnu": ("gcc", *(flag for flag in COMMON if "sanitize" not in flag)),     # dynamic, the host's own C library
})


class CannotBuild(Exception):
    """The tool for this build is not installed; the message says which."""


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """One CASE of one program in one build; its id is `program-build-case`."""

    program: str
    build: str
    name: str

    def __str__(self) -> str:
        return f"{self.program}-{self.build}-{self.name}"


def sources() -> list[Path]:
    """The programs of this folder, sorted."""
    return sorted(HERE.glob("*.c"))


def builds_of(source: Path) -> tuple[str, ...]:
    """The builds that a source asks for in its opening comment: x64 unless it says otherwise."""
    said = re.search(r"^[/ ]\* ?builds: ([a-z0-9 ]+?)(?: \*/)?$", source.read_text(), re.MULTILINE)
    return tuple(said[1].split()) if said else ("x64",)


def cases() -> Iterator[Case]:
    """Every case there is, in every build its source asks for."""
    for source in sources():
        names = re.findall(r"^CASE\((\w+)\)", source.read_text(), re.MULTILINE)
        for build in builds_of(source):
            yield from (Case(source.stem, build, name) for name in names)


def cache_dir() -> Path:
    """Where compiled programs are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "ring3-tests"


def build(source: Path, how: str, *, libraries: tuple[str, ...] = ()) -> Path:
    """The compiled program; compiles it if its source, the harness or the command changed.  Raises CannotBuild."""
    command = BUILDS[how]
    if shutil.which(command[0]) is None:
        raise CannotBuild(f"{command[0]} is not installed")
    key = hashlib.sha256()
    for part in (source.read_bytes(), HARNESS.read_bytes(), repr((command[1:], libraries, version("ziglang"))).encode()):
        key.update(hashlib.sha256(part).digest())
    program = cache_dir() / how / key.hexdigest()[:16] / source.stem
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent) as scratch:
        output = Path(scratch) / source.stem
        done = subprocess.run(
            [*command, "-I", str(HERE), "-o", str(output), str(source), *libraries],
            capture_output=True, text=True, check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{source.name} ({how}) does not compile:\n{done.stderr}")
        if done.stderr and sys.stderr.isatty():
            print(done.stderr, file=sys.stderr)
        output.rename(program)                            # at once: several test workers may build the same program
    return program


def build_case(case: Case) -> Path:
    """The program that holds this case."""
    return build(HERE / f"{case.program}.c", case.build)


if __name__ == "__main__":
    for path in sources():
        for wanted in builds_of(path):
            print(f"{path.stem:12} {wanted:5} {build(path, wanted)}")
