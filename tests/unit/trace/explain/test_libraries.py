"""What the loader will look for: glibc's rules and musl's, caches and files that lie, and the same as ldd on this machine."""

from __future__ import annotations

import random
import re
import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest

import ring3
from ring3.abi.elf import PT_DYNAMIC, Phdr
from ring3.trace.explain.libraries import read_cache, read_object
from ring3.trace.explain.model import Explanation
from tests.unit.exec.images import BASE, interp, pie, program
from tests.unit.trace.explain.guest import Guest

TABLE = 0x900               # where the dynamic section stands in the file
STRINGS = 0xA00
GLIBC = b"/lib64/ld-linux-x86-64.so.2"
MUSL = b"/lib/ld-musl-x86_64.so.1"


def needing(*names: bytes, loader: bytes = GLIBC, rpath: bytes = b"", runpath: bytes = b"", flags: int = 0) -> bytes:
    """A program that needs these libraries."""
    strings, rows = b"\0", []
    for tag, text in (*((1, name) for name in names), (15, rpath), (29, runpath)):
        if text:
            rows.append((tag, len(strings)))
            strings += text + b"\0"
    rows += [(5, BASE + STRINGS), (10, len(strings)), (0x6FFFFFFB, flags), (0, 0)]
    table = b"".join(struct.pack("<QQ", *row) for row in rows)
    phdr, name = interp(loader)
    dynamic = Phdr(PT_DYNAMIC, 6, TABLE, BASE + TABLE, BASE + TABLE, len(table), len(table), 8)
    whole = Phdr(1, 4, 0, BASE, BASE, 0x2000, 0x2000, 4096)
    made = program(dynamic, before=(phdr, whole), parts=(name, (TABLE, table), (STRINGS, strings)))
    return made[: STRINGS + 0x600].ljust(0x2000, b"\0")


def library(*names: bytes, **rest: bytes) -> bytes:
    return needing(*names, **rest)      # type: ignore[arg-type]


@pytest.fixture
def world(guest: Guest) -> Guest:
    guest.file(GLIBC.decode(), pie())
    guest.file(MUSL.decode(), pie())
    return guest


def found(explanation: Explanation) -> dict[bytes, tuple[bytes, str]]:
    assert explanation.outcome == "runs", explanation
    return {row.name: (row.path, row.how) for row in explanation.libraries}


def test_default_directories_and_what_is_missing(world: Guest) -> None:
    world.file("/x", needing(b"liba.so", b"libb.so"))
    world.file("/lib/liba.so", library(b"libc.so.6", b"libb.so"))
    world.file("/usr/lib64/libc.so.6", library())
    explanation = world.explain("/x")
    assert found(explanation) == {
        b"liba.so": (b"/lib/liba.so", "a default directory"), b"libb.so": (b"", ""),
        b"libc.so.6": (b"/usr/lib64/libc.so.6", "a default directory"),
    }
    (warning,) = [warning for warning in explanation.warnings if warning.key == "missing library"]
    assert "libb.so" in warning.why
    assert "/x wants" in warning.why
    assert "✗ not found; /x wants it" in explanation.text()
    assert "not found" in explanation.html()
    assert explanation.as_dict()["libraries"][1] == {"name": "libb.so", "wanted_by": "/x", "path": None, "how": ""}


def test_another_version_is_named(world: Guest) -> None:
    world.file("/x", needing(b"libssl.so.1.1", b"libz.so"))
    world.file("/lib/libz.so", library())
    world.file("/lib/libssl.so.3", library())
    (warning,) = world.explain("/x").warnings
    assert warning.helps[0] == "there is /lib/libssl.so.3: another version?"


def test_rpath_and_runpath(world: Guest) -> None:
    for directory in ("/a", "/b", "/opt/lib"):
        world.file(f"{directory}/liba.so", library(b"libdeep.so"))
        world.file(f"{directory}/libdeep.so", library())
    world.file("/opt/bin/x", needing(b"liba.so", rpath=b"/nowhere:$ORIGIN/../lib"))
    assert found(world.explain("/opt/bin/x")) == {       # RPATH counts for what libraries need too
        b"liba.so": (b"/opt/bin/../lib/liba.so", "RPATH"), b"libdeep.so": (b"/opt/bin/../lib/libdeep.so", "RPATH"),
    }
    world.file("/y", needing(b"liba.so", runpath=b"/b"))
    assert found(world.explain("/y")) == {b"liba.so": (b"/b/liba.so", "RUNPATH"), b"libdeep.so": (b"", "")}
    world.file("/z", needing(b"liba.so", rpath=b"/a", runpath=b"/b"))
    assert found(world.explain("/z"))[b"liba.so"] == (b"/b/liba.so", "RUNPATH")       # RUNPATH silences RPATH
    assert found(world.explain("/z", env={b"LD_LIBRARY_PATH": b"/none:/a"}))[b"liba.so"] == (b"/a/liba.so", "LD_LIBRARY_PATH")


def test_set_id_programs_do_not_listen_to_the_environment(world: Guest) -> None:
    world.file("/a/liba.so", library())
    world.file("/x", needing(b"liba.so"), mode=0o4755, uid=77)
    assert found(world.explain("/x", env={b"LD_LIBRARY_PATH": b"/a"}))[b"liba.so"] == (b"", "")


def test_a_library_of_another_word_size_is_passed_over(world: Guest) -> None:
    world.file("/x", needing(b"liba.so"))
    world.file("/lib/liba.so", b"\x7fELF\x01\x01\x01".ljust(64, b"\0"))
    assert found(world.explain("/x"))[b"liba.so"] == (b"", "")


def test_names_with_a_slash_and_the_loader_itself(world: Guest) -> None:
    world.file("/x", needing(b"/opt/liba.so", b"ld-linux-x86-64.so.2"))
    world.file("/opt/liba.so", library())
    assert found(world.explain("/x")) == {b"/opt/liba.so": (b"/opt/liba.so", "by its path")}


def test_musl(world: Guest) -> None:
    world.file("/x", needing(b"libc.so", b"libz.so.1", loader=MUSL))
    world.file("/usr/local/lib/libz.so.1", library())
    assert found(world.explain("/x")) == {b"libz.so.1": (b"/usr/local/lib/libz.so.1", "a default directory")}
    world.file("/etc/ld-musl-x86_64.path", b"/opt/z\n/more\n")
    world.file("/more/libz.so.1", library())
    assert found(world.explain("/x")) == {b"libz.so.1": (b"/more/libz.so.1", "a default directory")}


def test_circles_and_many(world: Guest) -> None:
    world.file("/x", needing(b"liba.so"))
    world.file("/lib/liba.so", library(b"libb.so"))
    world.file("/lib/libb.so", library(b"liba.so", b"libb.so"))
    assert len(found(world.explain("/x"))) == 2


def test_there_is_an_end_to_looking(world: Guest) -> None:
    deep = b":".join(b"/d%d" % number for number in range(60))
    for number in range(120):
        names = [b"l%d_%d" % (number, index) for index in range(4)]
        world.file(f"/lib/chain{number}", library(b"chain%d" % (number + 1), *names, rpath=deep))
    world.file("/x", needing(b"chain0"))
    began = time.monotonic()
    assert 0 < len(world.explain("/x").libraries) < 600
    assert time.monotonic() - began < 10


def test_static_programs_need_nothing(world: Guest) -> None:
    world.file("/x", program())
    assert world.explain("/x").libraries == ()


def cache(*rows: tuple[int, int, bytes, bytes]) -> bytes:
    """An /etc/ld.so.cache: (flags, capabilities, name, path)."""
    start = 48 + 24 * len(rows)
    strings, entries = b"", b""
    for flags, capabilities, name, path in rows:
        at = start + len(strings)
        strings += name + b"\0" + path + b"\0"
        entries += struct.pack("<IIIIQ", flags, at, at + len(name) + 1, 0, capabilities)
    return (b"glibc-ld.so.cache1.1" + struct.pack("<II", len(rows), len(strings))).ljust(48, b"\0") + entries + strings


def test_the_cache(world: Guest) -> None:
    data = cache(
        (0x0303, 1 << 62, b"liba.so", b"/v3/liba.so"), (0x0303, 0, b"liba.so", b"/c/liba.so"), (3, 0, b"libb.so", b"/32/libb.so"),
    )
    assert read_cache(data, 0x0303) == {b"liba.so": b"/c/liba.so"}
    assert read_cache(b"old format" + data, 3) == {b"libb.so": b"/32/libb.so"}
    world.file("/etc/ld.so.cache", data)
    world.file("/c/liba.so", library())
    world.file("/x", needing(b"liba.so"))
    assert found(world.explain("/x"))[b"liba.so"] == (b"/c/liba.so", "ld.so.cache")


def test_files_that_lie(world: Guest) -> None:
    chance = random.Random(3)
    for data in (cache((0x0303, 0, b"liba.so", b"/c/liba.so")), b"", b"glibc-ld.so.cache1.1" + b"\xff" * 40):
        for _ in range(300):
            wrong = bytearray(data)
            for _ in range(chance.randrange(1, 20)):
                if wrong:
                    wrong[chance.randrange(len(wrong))] = chance.randrange(256)
            read_cache(bytes(wrong), 0x0303)
    plain = needing(b"liba.so", b"libb.so", rpath=b"/a:/b")
    for number in range(150):
        wrong = bytearray(plain)
        for _ in range(chance.randrange(1, 30)):
            wrong[chance.choice((0x40, TABLE, STRINGS)) + chance.randrange(0x100)] = chance.randrange(256)
        world.file(f"/w{number}", bytes(wrong))
        world.explain(f"/w{number}").text()


def test_nothing_but_nonsense_in_an_object() -> None:
    from ring3.trace.elfimage import ElfImage

    assert read_object(ElfImage(lambda _offset, _nbytes: b""), b"/x", None).needed == ()


@pytest.mark.skipif(shutil.which("ldd") is None, reason="no ldd")
@pytest.mark.parametrize("name", ["ls", "git", "python3", "perl", "bash", "ssh", "curl"])
def test_the_same_as_ldd(name: str) -> None:
    path = shutil.which(name, path="/usr/bin")
    if path is None:
        pytest.skip(f"no {name}")
    said = subprocess.run(["ldd", str(Path(path).resolve())], capture_output=True, text=True, check=False, timeout=90).stdout
    theirs = {(match[1], match[2]) for match in re.finditer(r"^\t(\S+) => (\S+) ", said, re.MULTILINE)}
    ours = {(row.name.decode(), row.path.decode()) for row in ring3.explain([path]).libraries}
    assert ours == theirs
