"""Builds the SerenityOS guest programs of this folder: C sources without a library, position-independent, for the raw calls.

The kernel takes an image without a loader only as ET_DYN, with the types of program headers it knows and nothing that is both
written and executed; a program that needs relocations applies them itself (sy.h).  A source that says `builds: loader` is linked as
one that names /usr/lib/Loader.so as its interpreter.  Kept by content's hash, as all guest programs are (tests/guest/build.py).

    python -m tests.guest.serenity.build            builds everything and prints where it is
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

from tests.guest.build import ZIG, cache_dir

HERE = Path(__file__).parent
HARNESS = HERE / "sy.h"
COMMON = (
    *ZIG, "-target", "x86_64-freestanding-none", "-std=gnu11", "-O1", "-g0", "-Wall", "-Wextra", "-ffreestanding", "-nostdlib",
    "-fPIE", "-pie", "-fno-sanitize=all", "-fno-stack-protector", "-fno-strict-aliasing", "-fno-builtin",
    "-fno-asynchronous-unwind-tables", "-Wl,-z,norelro", "-Wl,--build-id=none",
)
BUILDS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "static": (*COMMON, "-static"),
    "loader": (*COMMON, "-Wl,--dynamic-linker=/usr/lib/Loader.so"),
})


def sources() -> list[Path]:
    """The programs of this folder, sorted."""
    return sorted(HERE.glob("*.c"))


def builds_of(source: Path) -> tuple[str, ...]:
    """The builds that a source asks for in its opening comment."""
    said = re.search(r"builds: ([a-z0-9 ]+?)(?: \*/|$)", source.read_text(), re.MULTILINE)
    return tuple(said[1].split()) if said else ("static",)


def build(source: Path, how: str = "static") -> Path:
    """The compiled program; compiles it if its source, the harness or the command changed."""
    command = BUILDS[how]
    key = hashlib.sha256()
    for part in (source.read_bytes(), HARNESS.read_bytes(), repr((command[1:], version("ziglang"))).encode()):
        key.update(hashlib.sha256(part).digest())
    program = cache_dir() / f"serenity-{how}" / key.hexdigest()[:16] / source.stem
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent) as scratch:
        output = Path(scratch) / source.stem
        done = subprocess.run(
            [*command, "-I", str(HERE), "-o", str(output), str(source)], capture_output=True, text=True, check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{source.name} ({how}) does not compile:\n{done.stderr}")
        output.rename(program)
    return program


if __name__ == "__main__":
    for path in sources():
        for wanted in builds_of(path):
            print(f"{path.stem:12} {wanted:7} {build(path, wanted)}")
