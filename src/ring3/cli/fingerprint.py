"""`ring3 fingerprint`: the signatures of files, for `ring3 run --veriexec`.

What is named on the command line is taken as it is meant, links followed; below a directory no link is.  The order is that of the
paths, byte by byte, so that two runs over the same files print the same.  Not here: the format (`policy/signatures.py`).
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from ring3.cli import FAILED, complain, guest, say_help
from ring3.cli.options import HELP, Option, UsageError, describe, parse
from ring3.cli.terminal import Progress
from ring3.policy.signatures import (
    ALGORITHMS,
    PATH_MAX,
    Signature,
    SignaturesError,
    Usage,
    fingerprint,
    guess_usage,
    parse_usage,
    show_line,
    shown,
)

_USAGE: Final = "ring3 fingerprint [OPTION]... DIR-OR-FILE..."
MAX_DEPTH: Final = 200          # directories in directories; each holds a descriptor
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def _algorithm(text: str) -> str:
    strong = [name for name, algorithm in ALGORITHMS.items() if not algorithm.weak]
    if text.upper() not in strong:
        raise ValueError(f"write one of {', '.join(strong).lower()}")
    return text.upper()


OPTIONS: Final = (
    Option("--algorithm", "NAME", "sha256 (default), sha384 or sha512", _algorithm),
    Option("--flags", "FLAGS", "for all: direct, indirect, file, untrusted (without: by what each file looks like)", parse_usage),
    Option("--root", "DIR", "print paths as a guest has them whose root is DIR (ring3 run --root DIR)"),
    Option("--executable", "", "only files that somebody may execute, and libraries"),
)

_HELP: Final = f"""\
{_USAGE}

Print the fingerprint of each file, and of each file below a directory, in the form of NetBSD's veriexec(5):
path, algorithm, fingerprint, flags.

{describe(OPTIONS)}
  ring3 fingerprint /usr/local > sigs
  ring3 run --veriexec sigs -- /usr/local/bin/tool

Status: 0; 1 when a file could not be read, which the others are printed in spite of; {FAILED} for a wrong command line.
"""


def main(words: Sequence[str]) -> int:
    """Print them; the exit status."""
    try:
        values, names = parse(OPTIONS, words)
        if HELP in values:
            say_help(_HELP)
            return 0
        if not names:
            raise UsageError(f"which files?  {_USAGE}")
        root = _root(values.get("--root"))
    except UsageError as error:
        complain(f"{error}\n       ring3 fingerprint --help has all options")
        return FAILED
    job = _Job(values, root)
    if sys.stdout is None:
        complain("standard output: it is closed")
        return FAILED
    # Lines that appear on a terminal are progress enough.
    try:
        with Progress("fingerprint", io.StringIO() if sys.stdout.isatty() else None) as job.progress:
            for name in names:
                job.start(name)
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        return FAILED
    except OSError as error:        # standard output is full, or closed
        complain(f"standard output: {error.strerror}")
        return FAILED
    return 1 if job.failed else 0


def _root(text: str | None) -> bytes:
    """The prefix to take off.  Raises UsageError."""
    if text is None:
        return b""
    if not os.path.isdir(text):
        raise UsageError(f"--root {text}: there is no such directory")
    return os.fsencode(os.path.realpath(text)).rstrip(b"/")


class _Job:
    """One run: what was asked for, and whether anything failed."""

    def __init__(self, values: dict[str, Any], root: bytes) -> None:
        self.algorithm: str = values.get("--algorithm", "SHA256")
        self.usage: Usage | None = values.get("--flags")
        self.executable = "--executable" in values
        self.root = root
        self.failed = False
        self.files = 0
        self.progress: Callable[[str], object] = str

    def start(self, name: str) -> None:
        """One word of the command line."""
        try:
            path = os.fsencode(os.path.realpath(name))
        except OSError as error:
            self._fail(os.fsencode(name), guest.say(error))
            return
        if self.root and not path.startswith(self.root + b"/") and path != self.root:
            self._fail(os.fsencode(name), f"it is not below --root {os.fsdecode(self.root)}")
            return
        try:
            fd = os.open(path, _FLAGS)
        except OSError as error:
            self._fail(os.fsencode(name), error.strerror)
            return
        kind = os.fstat(fd).st_mode
        if stat.S_ISDIR(kind):
            for found, where in self._walk(path, fd):
                self._file(found, where)
        elif stat.S_ISREG(kind):
            self._file(path, fd)
        else:
            os.close(fd)
            self._fail(path, "it is neither a file nor a directory")

    def _walk(self, path: bytes, fd: int, depth: int = 0) -> Iterator[tuple[bytes, int]]:
        """(path, descriptor) of each regular file below a directory, in the order of their whole paths.  The descriptors are handed
        over.
        """
        try:
            with os.scandir(fd) as entries:
                names = sorted((os.fsencode(entry.name) + (b"/" if _is_dir(entry) else b""), _is_plain(entry)) for entry in entries)
        except OSError as error:
            self._fail(path, error.strerror)
            names = []
        try:
            for name, wanted in names:
                if not wanted:
                    continue
                below = path.rstrip(b"/") + b"/" + name.rstrip(b"/")
                try:
                    found = os.open(name.rstrip(b"/"), _FLAGS, dir_fd=fd)
                except OSError as error:
                    self._fail(below, error.strerror)
                    continue
                if name.endswith(b"/") and depth >= MAX_DEPTH:
                    os.close(found)
                    self._fail(below, f"more than {MAX_DEPTH} directories deep")
                elif name.endswith(b"/"):
                    yield from self._walk(below, found, depth + 1)
                else:
                    yield below, found
        finally:
            os.close(fd)

    def _file(self, path: bytes, fd: int) -> None:
        """Print the line of one file."""
        with open(fd, "rb", buffering=0) as file:
            try:
                status = os.fstat(fd)
                if not stat.S_ISREG(status.st_mode):
                    return          # swapped since it was seen
                head = os.pread(fd, 4, 0)
                usage = guess_usage(path, executable=bool(status.st_mode & 0o111), head=head)
                if self.executable and usage == Usage.FILE:
                    return
                digest = fingerprint(self.algorithm, file.read)
                guest = path.removeprefix(self.root)
                line = show_line(Signature(guest, self.algorithm, digest, usage if self.usage is None else self.usage))
            except OSError as error:
                self._fail(path, error.strerror)
                return
            except SignaturesError as error:
                self._fail(path, str(error))
                return
        sys.stdout.buffer.write(line + b"\n")
        self.files += 1
        self.progress(f"{self.files} files")

    def _fail(self, path: bytes, why: str | None) -> None:
        self.failed = True
        complain(f"{shown(path, PATH_MAX)}: {why}")


def _is_dir(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _is_plain(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file or directory, not a link to one, nor a device."""
    return entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
