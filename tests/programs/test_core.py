"""Core files of real programs: what a Linux process and a SerenityOS one leave of themselves, and when they leave nothing."""

from __future__ import annotations

import json
import os
import stat
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment

import ring3
from tests.guest.serenity.build import HERE, build

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(240)]

PYTHON = str(Path(sys.executable).resolve())
# Python that ends itself by SIGSEGV, its marks in a heap of its own, with or without the right to leave a core.
CRASH = """
import ctypes, mmap, os, resource, signal, sys, threading, time
resource.setrlimit(resource.RLIMIT_CORE, (int(sys.argv[1]), resource.RLIM_INFINITY))
mark = mmap.mmap(-1, 1 << 20)
mark[5000:5000 + 22] = b'THE MARK IN THE MEMORY'
%s
ctypes.string_at(8)
"""


def crash(cwd: Path, limit: int = -1, before: str = "", **options: Any) -> int:
    """Run it where its files are the host's; how it ended."""
    with ring3.Kernel(mounts=[f"{cwd}:{cwd}:rw"]) as kernel:
        done = kernel.run([PYTHON, "-S", "-c", CRASH % before, str(limit)], cwd=cwd, capture_output=True, timeout=90, **options)
    return int(done.returncode)


def notes(path: Path) -> dict[str, list[Any]]:
    with path.open("rb") as file:
        elf = ELFFile(file)
        assert (elf.header.e_type, elf.header.e_machine) == ("ET_CORE", "EM_X86_64")
        found: dict[str, list[Any]] = {}
        for segment in elf.iter_segments():
            if isinstance(segment, NoteSegment):
                for note in segment.iter_notes():
                    found.setdefault(note["n_type"], []).append(note["n_desc"])
    return found


def test_a_linux_core_says_what_happened(tmp_path: Path) -> None:
    assert crash(tmp_path, before="threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); time.sleep(.2)") == -11
    core = tmp_path / "core"
    assert stat.S_IMODE(core.stat().st_mode) == 0o600
    assert b"THE MARK IN THE MEMORY" in core.read_bytes()
    found = notes(core)
    assert set(found) == {"NT_PRSTATUS", "NT_PRPSINFO", "NT_SIGINFO", "NT_AUXV", "NT_FILE", "NT_FPREGSET"}
    assert len(found["NT_PRSTATUS"]) == len(found["NT_FPREGSET"]) == 2          # who crashed, and who sleeps
    signo, _, _, cursig = struct.unpack_from("<iiih", found["NT_PRSTATUS"][0])
    assert (signo, cursig) == (11, 11)
    about = found["NT_PRPSINFO"][0]
    assert about["pr_fname"].rstrip(b"\0") == Path(PYTHON).name.encode()[:15]
    assert about["pr_psargs"].startswith(PYTHON.encode()[:79])
    assert PYTHON.encode() in found["NT_FILE"][0]["filename"]


def test_the_bytes_of_a_core_stand_where_they_stood(tmp_path: Path) -> None:
    where = "open('where', 'w').write(str(ctypes.addressof(ctypes.c_char.from_buffer(mark))))"
    assert crash(tmp_path, before=where) == -11
    address = int((tmp_path / "where").read_text()) + 5000
    with (tmp_path / "core").open("rb") as file:
        load = next(s for s in ELFFile(file).iter_segments("PT_LOAD") if s["p_vaddr"] <= address < s["p_vaddr"] + s["p_filesz"])
        file.seek(load["p_offset"] + address - load["p_vaddr"])
        assert file.read(22) == b"THE MARK IN THE MEMORY"


@pytest.mark.parametrize(("limit", "before", "options"), [
    (0, "", {}),
    (100, "", {}),
    (-1, "ctypes.CDLL(None).prctl(4, 0)", {}),
    (-1, "signal.signal(signal.SIGSEGV, lambda *_: None); os.kill(os.getpid(), 9)", {}),
    (-1, "os.mkdir('core')", {}),
    (-1, "os.mkdir('deep'); os.chdir('deep'); os.rmdir('../deep')", {}),
    (-1, "", {"pledge": "stdio rpath wpath cpath exec prot_exec thread proc"}),
    (-1, "", {"unveil": ["/:rwxcb"]}),
], ids=["no limit", "a small limit", "not dumpable", "a signal without one", "a directory", "no directory", "promises", "a veil"])
def test_no_core(limit: int, before: str, options: dict[str, Any], tmp_path: Path) -> None:
    assert crash(tmp_path, limit, before, **options) < 0
    assert not (tmp_path / "core").is_file()


def test_a_core_takes_the_place_of_a_file_and_follows_no_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "core").symlink_to(victim)
    assert crash(tmp_path) == -11
    assert victim.read_text() == "precious"
    assert not (tmp_path / "core").is_symlink()
    before = (tmp_path / "core").stat().st_ino
    assert crash(tmp_path) == -11
    assert (tmp_path / "core").stat().st_ino != before or (tmp_path / "core").stat().st_size > 0


def test_a_core_has_a_bound(tmp_path: Path) -> None:
    huge = "more = [mmap.mmap(-1, 1 << 34, flags=0x4022) for _ in range(8)]"
    assert crash(tmp_path, before=huge) == -11
    core = (tmp_path / "core").stat()
    assert core.st_size <= 257 << 20
    assert core.st_blocks * 512 < 64 << 20                  # what was never written is a hole
    assert crash(tmp_path, 1 << 20) == -11
    assert (tmp_path / "core").stat().st_size <= 1 << 20


def test_the_shell_is_told(tmp_path: Path) -> None:
    die = f"{PYTHON} -S -c 'import ctypes; ctypes.string_at(8)'"
    script = f"ulimit -c unlimited; {die}; test -f core && ulimit -c 0 && rm core; {die}; test -f core || echo none"
    with ring3.Kernel() as kernel:
        done = kernel.run(["/bin/sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=90)
    assert done.stdout == "none\n"
    assert [line.strip() for line in done.stderr.splitlines()] == ["Segmentation fault (core dumped)", "Segmentation fault"]


# --- SerenityOS's
VARIABLE = "/sys/kernel/variables/coredump_directory"


def serenity(cwd: Path, *words: str, mode: int = 0o777, **options: Any) -> tuple[int, list[Path]]:
    """`tells`, which names /tmp/cores for cores; how it ended, and what lies there."""
    cores = cwd / "cores"
    cores.mkdir(exist_ok=True)
    cores.chmod(mode)
    with ring3.Kernel(mounts=[f"{cores}:/tmp/cores:rw"]) as kernel:
        done = kernel.run([str(build(HERE / "tells.c")), "write=" + VARIABLE, *words], capture_output=True, timeout=90,
                          personality="serenity", **options)
    return int(done.returncode), sorted(cores.iterdir())


def records(path: Path) -> tuple[list[dict[str, Any]], list[tuple[int, bytes]], list[tuple[int, int, int, bytes]], int]:
    """(JSON texts, threads, regions, how many segments) of a core's stream."""
    with path.open("rb") as file:
        segments = list(ELFFile(file).iter_segments())
        assert [s["p_type"] for s in segments] == ["PT_LOAD"] * (len(segments) - 1) + ["PT_NOTE"]
        file.seek(segments[-1]["p_offset"])
        data = file.read(segments[-1]["p_filesz"])
    texts, threads, regions, at = [], [], [], 0
    while data[at]:
        kind, at = data[at], at + 1
        if kind == 2:
            threads.append((struct.unpack_from("<i", data, at)[0], data[at + 4 : at + 172]))
            at += 172
            continue
        end = data.index(b"\0", at + (18 if kind == 3 else 0))
        if kind == 3:
            regions.append((*struct.unpack_from("<QQH", data, at), data[at + 18 : end]))
        else:
            texts.append(json.loads(data[at:end]))
        at = end + 1
    assert at == len(data) - 1
    return texts, threads, regions, len(segments)


def root() -> bool:
    return os.getuid() == 0


@pytest.mark.skipif(not root(), reason="the directory has to be root's, and it is the host's")
def test_a_serenity_core_is_a_stream_of_records(tmp_path: Path) -> None:
    status, (core,) = serenity(tmp_path, "pledge=stdio", "/etc/passwd")
    assert status == -6
    assert core.name.startswith("tells_2_")
    assert stat.S_IMODE(core.stat().st_mode) == 0o600
    (about, said), threads, regions, count = records(core)
    assert (about["pid"], about["termination_signal"], about["executable_path"][-6:]) == (2, 6, "/tells")
    assert about["arguments"][1:] == ["write=" + VARIABLE, "pledge=stdio", "/etc/passwd"]
    assert said == {"pledge_violation": "rpath"}
    assert [tid for tid, _ in threads] == [2]
    assert [index for _, _, index, _ in regions] == list(range(count - 1))
    assert b"Stack (Main thread)" in [name for *_, name in regions]


@pytest.mark.skipif(not root(), reason="the directory has to be root's, and it is the host's")
@pytest.mark.parametrize(("words", "mode", "options"), [
    (("dumpable=0",), 0o777, {}), ((), 0o755, {}), ((), 0o1777, {}), ((), 0o777, {"unveil": ["/:rwxcb"]}),
], ids=["not dumpable", "not for all", "sticky", "a veil"])
def test_no_serenity_core(words: tuple[str, ...], mode: int, options: dict[str, Any], tmp_path: Path) -> None:
    assert serenity(tmp_path, *words, "pledge=stdio", "/etc/passwd", mode=mode, **options) == (-6, [])
