"""Builds the SerenityOS guest programs of this folder: C sources without a library, position-independent, for the raw calls.

The kernel takes an image without a loader only as ET_DYN, with the types of program headers it knows and nothing that is both
written and executed; a program that needs relocations applies them itself (sy.h).  What is built as "loader" is tied to
libsystem.so and names /usr/lib/Loader.so as its interpreter (sy.h, BY_LOADER), what is built as "tool" to libc.so as well;
`base_set` lays them out as a user's root of that system.  Kept by content's hash, as all guest programs are (tests/guest/build.py).

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
# A target whose linker ties programs to libraries; relocated data is only read then, as the loader sees to.
_TIED = (*ZIG, "-target", "x86_64-linux-none", *FLAGS, "-Wl,--hash-style=sysv", "-Wl,-z,relro")
BUILDS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "static": (*ZIG, "-target", "x86_64-freestanding-none", *FLAGS, "-fPIE", "-pie", "-static"),
    "loader": (*_TIED, "-fPIE", "-pie"),
    "library": (*_TIED, "-fPIC", "-shared", "-Wl,-soname,libsystem.so"),
    "libc": (*_TIED, "-fPIC", "-shared", "-Wl,-soname,libc.so", "-ftls-model=initial-exec"),
    "tool": (*_TIED, "-fPIE", "-pie", "-ftls-model=initial-exec"),
})
DYNAMIC = HERE / "dynamic"              # what makes up a dynamic program: the loader, the library, a main program
_LIBRARIES = (("c", "libc.c", "libc"), ("s", "libsystem.c", "library"))
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
    libraries = {"loader": "s", "libc": "s", "tool": "cs"}.get(how, "")
    command = (*command, *(str(build(DYNAMIC / name, kind)) for letter, name, kind in _LIBRARIES if letter in libraries))
    key = hashlib.sha256()
    headers = [header.read_bytes() for header in (*sorted(HERE.glob("*.h")), *sorted(DYNAMIC.glob("*.h")))]
    for part in (source.read_bytes(), *headers, repr((command[1:], version("ziglang"), PADDING)).encode()):
        key.update(hashlib.sha256(part).digest())
    name = f"{source.stem}.so" if how in ("library", "libc") else source.stem
    program = cache_dir() / f"serenity-{how}" / key.hexdigest()[:16] / name
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
    """A root of that system at `root`: its loader and libraries, tools, and a dynamic program in /bin, which is told."""
    for source, how, place in (
        (DYNAMIC / "loader.c", "static", "usr/lib/Loader.so"), (DYNAMIC / "libsystem.c", "library", "usr/lib/libsystem.so"),
        (DYNAMIC / "libc.c", "libc", "usr/lib/libc.so"), (DYNAMIC / "tool.c", "tool", "bin/tool"),
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
