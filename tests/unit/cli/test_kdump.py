"""`ring3 kdump`: files it prints, files it does not, and what it says then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ring3.abi.netbsd import ktrace
from ring3.abi.netbsd.ktrace import Record
from ring3.cli import FAILED
from ring3.cli.kdump import main


def record(kind: int, payload: bytes) -> bytes:
    return ktrace.header(len(payload), kind, 2, 7, b"cat", 5_000_000_000, 1) + payload


GOOD = record(Record.SYSCALL, ktrace.syscall(20, ())) + record(Record.SYSRET, ktrace.sysret(20, 0, 7))
TEXT = "     7      1 cat      CALL  getpid\n     7      1 cat      RET   getpid 7\n"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ktrace.out").write_bytes(GOOD)
    for words in ([], ["-f", "ktrace.out"], ["ktrace.out"]):
        assert run(capsys, *words) == (0, TEXT, "")


def test_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f").write_bytes(GOOD)
    first = run(capsys, "-T", "-t", "c", "-p", "7", tmp_path / "f")[1].splitlines()[0]
    assert first == "     7      1 cat      5.000000000 CALL  getpid"
    assert run(capsys, "-p", "8", tmp_path / "f") == (0, "", "")
    assert "[20]" in run(capsys, "-N", tmp_path / "f")[1]
    assert run(capsys, "-e", "linux", tmp_path / "f")[1].startswith("     7      1 cat      CALL  writev")


def test_an_empty_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f").write_bytes(b"")
    assert run(capsys, tmp_path / "f") == (0, "", "")


def test_a_cut_file_is_printed_up_to_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f").write_bytes(GOOD[:-3])
    status, out, err = run(capsys, tmp_path / "f")
    assert (status, out) == (1, TEXT.splitlines(keepends=True)[0])
    assert err == f"ring3: {tmp_path}/f: offset 64: the file ends within a record, after 21 bytes of 24\n"


@pytest.mark.parametrize(("words", "status", "says"), [
    (["/no/such"], 1, "/no/such: No such file or directory"),
    (["/etc"], 1, "/etc: Is a directory"),
    (["/etc/passwd"], 1, "/etc/passwd: it is no ktrace file"),
    (["-X", "3", "f"], FAILED, "-X 3: write 1, 2, 4, 8 or 16"),
    (["-t", "q", "f"], FAILED, "'q' is no trace point"),
    (["-m", "-1", "f"], FAILED, "-m -1: write a whole number"),
    (["-e", "irix", "f"], FAILED, "write one of netbsd, netbsd32, linux, linux32"),
    (["a", "b"], FAILED, "one file at a time"),
    (["-q"], FAILED, "there is no option -q"),
])
def test_messages(capsys: pytest.CaptureFixture[str], words: list[str], status: int, says: str) -> None:
    got, out, err = run(capsys, *words)
    assert (got, out) == (status, "")
    assert says in err
    assert err.startswith("ring3: ")


def test_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reading comes in pieces of any size."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    if os.fork() == 0:
        with open(fifo, "wb", buffering=0) as file:
            file.writelines(GOOD[at : at + 7] for at in range(0, len(GOOD), 7))
        os._exit(0)
    assert run(capsys, fifo) == (0, TEXT, "")
    os.wait()


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert "-t LETTERS" in out
