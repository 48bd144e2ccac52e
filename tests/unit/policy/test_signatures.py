"""The signatures file: what is read, what is refused with which words, and that what is written is read back."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ring3.policy import signatures
from ring3.policy.signatures import (
    ALGORITHMS,
    MAX_FILE,
    Signature,
    SignaturesError,
    Usage,
    fingerprint,
    guess_usage,
    parse_line,
    parse_signatures,
    parse_usage,
    read_signatures,
    show_line,
)

MD5 = "d41d8cd98f00b204e9800998ecf8427e"
SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_file_as_netbsd_writes_it() -> None:
    text = f"# Generated\n\n/bin/ls SHA256 {SHA256} \n/bin/sh\tsha256\t{SHA256}\tdirect, indirect  # shell\n"
    text += f"/lib/x.so MD5 {MD5} library\n"
    found = parse_signatures("sigs", text.encode()).entries
    assert [(e.path, e.algorithm, e.usage, e.line) for e in found] == [
        (b"/bin/ls", "SHA256", Usage.DIRECT, 3),
        (b"/bin/sh", "SHA256", Usage.DIRECT | Usage.INDIRECT, 4),
        (b"/lib/x.so", "MD5", Usage.FILE | Usage.INDIRECT, 5),
    ]
    assert found[0].fingerprint == bytes.fromhex(SHA256)


@pytest.mark.parametrize(("words", "usage"), [
    ("", Usage.DIRECT), ("program", Usage.DIRECT), ("interpreter", Usage.INDIRECT), ("script", Usage.DIRECT | Usage.FILE),
    ("library", Usage.INDIRECT | Usage.FILE), ("FILE,direct", Usage.DIRECT | Usage.FILE),
    ("untrusted", Usage.DIRECT | Usage.UNTRUSTED), ("file , untrusted", Usage.FILE | Usage.UNTRUSTED),
])
def test_flags(words: str, usage: Usage) -> None:
    assert parse_usage(words) == usage


@pytest.mark.parametrize(("line", "says"), [
    ("/bin/ls", "a line is: path algorithm fingerprint [flags]"),
    ("/bin/ls SHA256", "a line is"),
    (f"bin/ls SHA256 {SHA256}", "bin/ls: a path begins with /"),
    (f"/bin/ls CRC32 {SHA256}", "algorithm CRC32: it is one of SHA256, SHA384, SHA512"),
    (f"/bin/ls SHA256 {MD5}", "a SHA256 fingerprint has 64 digits, and here are 32"),
    (f"/bin/ls SHA256 {SHA256[:-1]}g", "it is written in hexadecimal digits"),
    (f"/bin/ls SHA256 {SHA256[:-1]}", "hexadecimal"),
    (f"/bin/ls SHA256 {SHA256} direct, wild", "flag wild: it is one of direct, indirect, file, untrusted"),
    (f"/bin/l\0s SHA256 {SHA256}", "a zero byte in a path"),
    (f"/{'x' * 5000} SHA256 {SHA256}", "no path is so long"),
    ("\x1b[2J\x1b[31m x y", "\\x1b[2J"),
    (f"/ok SHA256 {SHA256} direct", "/ok is in line 1 too, with another fingerprint or other flags"),
])
def test_what_makes_no_sense_is_told_by_line(line: str, says: str) -> None:
    data = f"/ok SHA256 {SHA256} file\n\n{line}\n".encode()
    with pytest.raises(SignaturesError, match=r"^sigs: line 3: ") as caught:
        parse_signatures("sigs", data)
    assert says in str(caught.value)
    assert str(caught.value).isprintable()


def test_the_same_line_twice_counts_once() -> None:
    assert len(parse_signatures("sigs", f"/a MD5 {MD5}\n/a md5 {MD5.upper()} direct\n".encode()).entries) == 1


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(MAX_FILE + 1)
    with pytest.raises(SignaturesError, match="larger than 64 MiB"):
        read_signatures(str(huge))
    monkeypatch.setattr(signatures, "MAX_ENTRIES", 2)
    with pytest.raises(SignaturesError, match="line 3: more than 2 files"):
        parse_signatures("sigs", b"".join(b"/%d MD5 %s\n" % (n, MD5.encode()) for n in range(3)))


@given(st.binary(max_size=300))
def test_no_bytes_break_it(data: bytes) -> None:
    with suppress(SignaturesError):
        parse_signatures("sigs", data)


NAMES = st.binary(min_size=1, max_size=60).filter(lambda path: b"\n" not in path and b"\0" not in path)


@given(NAMES, st.sampled_from(sorted(ALGORITHMS)))
def test_what_is_written_is_read_back(path: bytes, algorithm: str) -> None:
    entry = Signature(b"/" + path, algorithm, bytes(ALGORITHMS[algorithm].nbytes), Usage.DIRECT | Usage.UNTRUSTED)
    assert parse_line(show_line(entry)) == entry


def test_a_name_with_a_line_break_is_refused() -> None:
    with pytest.raises(SignaturesError, match="line break"):
        show_line(Signature(b"/a\nb", "MD5", bytes(16), Usage.FILE))


def test_fingerprints_are_those_of_everybody() -> None:
    pieces = iter([b"ab", b"c", b""])
    assert fingerprint("SHA256", lambda _n: next(pieces)).hex().startswith("ba7816bf8f01cfea")
    assert fingerprint("SHA512", lambda _n: b"").hex().startswith("cf83e1357eefb8bd")


@pytest.mark.parametrize(("path", "executable", "head", "usage"), [
    (b"/bin/ls", True, b"\x7fELF", Usage.DIRECT | Usage.INDIRECT),
    (b"/bin/script", True, b"#!/b", Usage.DIRECT | Usage.FILE),
    (b"/libexec/ld.elf_so", True, b"\x7fELF", Usage.INDIRECT | Usage.FILE),
    (b"/lib/libc.so.6", True, b"\x7fELF", Usage.INDIRECT | Usage.FILE),
    (b"/lib/libc.so", False, b"/* G", Usage.FILE),
    (b"/etc/passwd", False, b"root", Usage.FILE),
    (b"/bin/data.so.d/x", True, b"\x7fELF", Usage.DIRECT | Usage.INDIRECT),
])
def test_how_a_file_is_used_is_seen_by_its_looks(path: bytes, executable: bool, head: bytes, usage: Usage) -> None:
    assert guess_usage(path, executable=executable, head=head) == usage


def test_weak_algorithms_are_named() -> None:
    text = f"/a MD5 {MD5}\n/b SHA256 {SHA256}\n".encode()
    assert parse_signatures("sigs", text).weak == ("MD5",)
