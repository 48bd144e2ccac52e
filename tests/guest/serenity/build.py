"""Builds the SerenityOS guest programs of this folder: C sources without a library, position-independent, for the raw calls.

The kernel takes an image without a loader only as ET_DYN, with the types of program headers it knows and nothing that is both
written and executed; a program that needs relocations applies them itself (sy.h).  What is built as "loader" is tied to
libsystem.so and names /usr/lib/Loader.so as its interpreter (sy.h, BY_LOADER); `base_set` lays the three out as a user's root
of that system.  Kept by content's hash, as all guest programs are (tests/guest/build.py).

    python -m tests.guest.serenity.build            builds everything and prints where it is
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

from tests.guest.build import ZIG, cache_dir

HERE = Path(__file__).parent
FLAGS = (
    "-std=gnu11", "-O1", "-g0", "-Wall", "-Wextra", "-ffreestanding", "-nostdlib",
    "-fno-sanitize=all", "-fno-stack-protector", "-fno-strict-aliasing", "-fno-builtin",
    "-fno-asynchronous-unwind-tables", "-Wl,-z,norelro", "-Wl,--build-id=none",
)
_TIED = (*ZIG, "-target", "x86_64-linux-none", *FLAGS)          # a target whose linker ties programs to libraries
BUILDS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "static": (*ZIG, "-target", "x86_64-freestanding-none", *FLAGS, "-fPIE", "-pie", "-static"),
    "loader": (*_TIED, "-fPIE", "-pie", "-Wl,--hash-style=sysv"),
    "library": (*_TIED, "-fPIC", "-shared", "-Wl,--hash-style=sysv", "-Wl,-soname,libsystem.so"),
})
DYNAMIC = HERE / "dynamic"              # what makes up a dynamic program: the loader, the library, a main program
# A read-only segment that does not begin with a page may seem to reach beyond the file where it does not: the system's oddity.
PADDING = 8192


def sources() -> list[Path]:
    """The programs of this folder, sorted."""
    return sorted(HERE.glob("*.c"))


def builds_of(source: Path) -> tuple[str, ...]:
    """The builds that a source asks for in its opening comment."""
    said = re.search(r"builds: ([a-z0-9 ]+?)(?: \*/|$)", source.read_text(), re.MULTILINE)
    return tuple(said[1].split()) if said else ("static",)


def build(source: Path, how: str = "static") -> Path:
    """The compiled program; compiles it if its source, a header or the command changed."""
    command = BUILDS[how]
    if how == "loader":
        command = (*command, str(build(DYNAMIC / "libsystem.c", "library")))
    key = hashlib.sha256()
    headers = [header.read_bytes() for header in sorted(HERE.glob("*.h"))]
    for part in (source.read_bytes(), *headers, repr((command[1:], version("ziglang"), PADDING)).encode()):
        key.update(hashlib.sha256(part).digest())
    program = cache_dir() / f"serenity-{how}" / key.hexdigest()[:16] / (f"{source.stem}.so" if how == "library" else source.stem)
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
        with output.open("ab") as file:
            file.write(bytes(PADDING))
        output.rename(program)
    return program


def base_set(root: Path, program: Path = DYNAMIC / "program.c") -> Path:
    """A root of that system at `root`: its loader, its library, and a dynamic program in /bin, which is told."""
    for source, how, place in (
        (DYNAMIC / "loader.c", "static", "usr/lib/Loader.so"), (DYNAMIC / "libsystem.c", "library", "usr/lib/libsystem.so"),
        (program, "loader", f"bin/{program.stem}"),
    ):
        target = root / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(build(source, how), target)
        target.chmod(0o755)
    return root / "bin" / program.stem


if __name__ == "__main__":
    for path in sources():
        for wanted in builds_of(path):
            print(f"{path.stem:12} {wanted:7} {build(path, wanted)}")
