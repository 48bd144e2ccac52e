"""Builds the NetBSD guest programs of this folder: C sources without a library, for amd64 and (where they say so) i386.

A source names its builds in a comment, `builds: amd64 i386`; amd64 unless it says otherwise.  Kept by content's hash, as all guest
programs are (tests/guest/build.py).

    python -m tests.guest.netbsd.build            builds everything and prints where it is
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
HARNESS = HERE / "nb.h"
COMMON = (
    "-std=gnu11", "-O1", "-g0", "-Wall", "-Wextra", "-ffreestanding", "-nostdlib", "-static", "-fno-pie", "-no-pie",
    "-fno-sanitize=all", "-fno-stack-protector", "-fno-strict-aliasing", "-fno-builtin", "-fomit-frame-pointer",
)
_STATIC = frozenset({"-static", "-fno-pie", "-no-pie"})
_SHARED = tuple(flag for flag in COMMON if flag not in _STATIC)
_PIE = (*_SHARED, "-fno-lto", "-fPIE", "-pie", "-Wno-unused-function")
_DYNAMIC = (*_PIE, "-Wl,-e,_dynamic")
_LIBRARY = (*_PIE, "-Wl,-e,answer")
_AMD64 = (*ZIG, "-target", "x86_64-freestanding-none", "-mno-red-zone")
_I386 = (*ZIG, "-target", "x86-freestanding-none")
# A target whose linker ties programs to libraries.
_TIED = (
    *ZIG, "-target", "x86_64-linux-none", "-mno-red-zone", *_SHARED, "-fno-lto", "-fno-asynchronous-unwind-tables",
    "-Wl,--hash-style=sysv", "-Wno-unused-function",
)
BASE = HERE / "base"                    # what makes up a base set: ld.elf_so, libc.so.12, a program of theirs
BUILDS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "amd64": (*_AMD64, *COMMON), "amd64-pie": (*_AMD64, *_PIE),
    "amd64-dynamic": (*_AMD64, *_DYNAMIC), "amd64-lib": (*_AMD64, *_LIBRARY),
    "i386": (*_I386, *COMMON), "i386-pie": (*_I386, *_PIE),
    "i386-dynamic": (*_I386, *_DYNAMIC), "i386-lib": (*_I386, *_LIBRARY),
    "rtld": (*_TIED, "-fPIE", "-pie", "-Wl,-z,norelro"),
    # Segments a megabyte apart, as NetBSD's own linker lays amd64 libraries out.
    "libc": (*_TIED, "-fPIC", "-shared", "-Wl,-soname,libc.so.12", "-Wl,-z,max-page-size=0x100000", "-ftls-model=initial-exec"),
    "tied": (*_TIED, "-fno-pie", "-no-pie"), "tied-pie": (*_TIED, "-fPIE", "-pie"),
})


def sources() -> list[Path]:
    """The programs of this folder, sorted."""
    return sorted(HERE.glob("*.c"))


def builds_of(source: Path) -> tuple[str, ...]:
    """The builds that a source asks for in its opening comment."""
    said = re.search(r"builds: ([a-z0-9 -]+?)(?: \*/|$)", source.read_text(), re.MULTILINE)
    return tuple(said[1].split()) if said else ("amd64",)


def build(source: Path, how: str = "amd64") -> Path:
    """The compiled program; compiles it if its source, the harness or the command changed."""
    command = BUILDS[how]
    if how.startswith("tied"):
        command = (*command, str(build(BASE / "libc.c", "libc")))
    key = hashlib.sha256()
    headers = [header.read_bytes() for header in (HARNESS, *sorted(BASE.glob("*.h")))]
    for part in (source.read_bytes(), *headers, repr((command[1:], version("ziglang"))).encode()):
        key.update(hashlib.sha256(part).digest())
    name = f"{source.stem}.so" if how == "libc" else source.stem
    program = cache_dir() / f"netbsd-{how}" / key.hexdigest()[:16] / name
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


def base_set(root: Path) -> None:
    """A base set at `root`: ld.elf_so, a libc, and nothing more."""
    for source, how, place in ((BASE / "rtld.c", "rtld", "libexec/ld.elf_so"), (BASE / "libc.c", "libc", "usr/lib/libc.so.12")):
        target = root / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(build(source, how), target)
        target.chmod(0o755)
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc" / "ld.so.conf").touch()


if __name__ == "__main__":
    for path in sources():
        for wanted in builds_of(path):
            print(f"{path.stem:12} {wanted:5} {build(path, wanted)}")
