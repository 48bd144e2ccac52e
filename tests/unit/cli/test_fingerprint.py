"""`ring3 fingerprint`: what it prints, in which order, and what it will not follow."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest

from ring3.cli import FAILED
from ring3.cli.fingerprint import MAX_DEPTH, main
from ring3.policy.signatures import Usage, parse_signatures


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A program, a script, a library, data, and things that are no files."""
    root = tmp_path / "tree"
    (root / "a" / "deep").mkdir(parents=True)
    (root / "a-b").write_bytes(b"data")
    for name, head in (("a/prog", b"\x7fELF"), ("a/deep/s cript", b"#!/bin/sh\n"), ("lib.so.1", b"\x7fELF")):
        (root / name).write_bytes(head)
        (root / name).chmod(0o755)
    (root / "link").symlink_to("/etc/passwd")
    (root / "out").symlink_to("/etc")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(root / "sock"))
    return root


def run(capfdbinary: pytest.CaptureFixture[bytes], *words: object) -> tuple[int, bytes, str]:
    status = main([str(word) for word in words])
    out, err = capfdbinary.readouterr()
    return status, out, err.decode()


def test_a_tree(tree: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    status, out, err = run(capfdbinary, tree)
    entries = parse_signatures("sigs", out).entries
    assert (status, err) == (0, "")
    assert [(os.path.relpath(e.path, bytes(tree)), e.usage) for e in entries] == [
        (b"a-b", Usage.FILE), (b"a/deep/s cript", Usage.DIRECT | Usage.FILE), (b"a/prog", Usage.DIRECT | Usage.INDIRECT),
        (b"lib.so.1", Usage.INDIRECT | Usage.FILE),
    ]
    assert entries[0].fingerprint == hashlib.sha256(b"data").digest()
    assert [e.path for e in entries] == sorted(e.path for e in entries)


def test_options(tree: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    _, out, _ = run(capfdbinary, "--algorithm", "SHA512", "--flags", "direct,untrusted", tree / "a-b")
    assert out == b"%s/a-b SHA512 %s direct, untrusted\n" % (bytes(tree), hashlib.sha512(b"data").hexdigest().encode())
    _, out, _ = run(capfdbinary, "--root", tree, "--executable", tree)
    assert [line.split()[0] for line in out.splitlines()] == [b"/a/deep/s\\", b"/a/prog", b"/lib.so.1"]


def test_what_is_named_may_be_a_link(tree: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    status, out, _ = run(capfdbinary, tree / "link")
    assert status == 0
    assert out.startswith(b"/etc/passwd SHA256 ")


def test_what_cannot_be_read_is_told_and_the_rest_printed(tree: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (tree / "new\nline").write_text("x")
    status, out, err = run(capfdbinary, tree / "a-b", tree / "gone", tree / "fifo", tree / "new\nline")
    assert status == 1
    assert out.count(b"\n") == 1
    assert f"ring3: {tree}/gone: No such file or directory\n" in err
    assert f"ring3: {tree}/fifo: it is neither a file nor a directory\n" in err
    assert "new\\x0aline: its name has a line break in it" in err


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_files(tree: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (tree / "a-b").chmod(0)
    (tree / "a").chmod(0)
    status, out, err = run(capfdbinary, tree)
    assert status == 1
    assert out.count(b"\n") == 1
    assert err.count("Permission denied") == 2


def test_a_tree_without_end(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    here = os.open(tmp_path, os.O_PATH)
    for _ in range(MAX_DEPTH + 20):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_PATH, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    status, out, err = run(capfdbinary, tmp_path)
    assert (status, out) == (1, b"")
    assert f"more than {MAX_DEPTH} directories deep" in err


@pytest.mark.parametrize(("words", "says"), [
    ([], "which files?"),
    (["--algorithm", "md5", "x"], "--algorithm md5: write one of sha256, sha384, sha512"),
    (["--flags", "wild", "x"], "flag wild: it is one of"),
    (["--root", "/no/such", "x"], "--root /no/such: there is no such directory"),
    (["--flgs", "x"], "did you mean --flags?"),
])
def test_a_wrong_command_line(capfdbinary: pytest.CaptureFixture[bytes], words: list[str], says: str) -> None:
    status, out, err = run(capfdbinary, *words)
    assert (status, out) == (FAILED, b"")
    assert says in err
    assert err.startswith("ring3: ")


def test_files_outside_the_root_are_refused(tree: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    status, out, err = run(capfdbinary, "--root", tree, "/etc/passwd", tree / "link")
    assert (status, out) == (1, b"")
    assert err.count("it is not below --root") == 2


def test_help(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    status, out, _ = run(capfdbinary, "--help")
    assert status == 0
    assert b"--algorithm" in out
