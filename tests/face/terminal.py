"""A terminal for tests: a shell of the host at a pseudo-terminal, typed at and looked at."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

LIMIT = 60.0        # seconds anything on a screen may take


class Screen:
    """A command at a new terminal of `size` (rows, columns)."""

    def __init__(self, command: list[str], size: tuple[int, int] = (24, 80), **env: str) -> None:
        self.seen = ""
        self._from = 0
        until_exec, held = os.pipe()
        self.pid, self.fd = pty.fork()
        if not self.pid:
            try:
                os.execvpe(command[0], command, {**os.environ, "TERM": "xterm", **env})
            finally:
                os._exit(127)                # a second test run must not go on from here
        os.close(held)
        os.read(until_exec, 1)               # its end closes by the exec: what is typed earlier would interrupt the copy of us
        os.close(until_exec)
        self.resize(size)

    def resize(self, size: tuple[int, int]) -> None:
        """The window changes."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("<4H", *size, 0, 0))

    def type(self, text: str) -> None:
        """Keys, as they are."""
        os.write(self.fd, text.encode())

    def settle(self) -> None:
        """Time for a program that just printed something to be waiting again: keys typed earlier may be its predecessor's."""
        time.sleep(0.4)

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait until what was printed since the last match shows `pattern`."""
        deadline = time.monotonic() + LIMIT
        while (found := re.search(pattern, self.seen[self._from :])) is None:
            ready, _, _ = select.select([self.fd], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"no {pattern!r} in {self.seen[self._from :]!r}"
            try:
                data = os.read(self.fd, 65536)
            except OSError as error:
                raise AssertionError(f"no {pattern!r} in {self.seen[self._from :]!r}, and the end") from error
            self.seen += data.decode(errors="replace").replace("\r\n", "\n")
        self._from += found.end()
        return found

    def status(self) -> int:
        """Wait for the command's end, reading what it prints."""
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0.02)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode(errors="replace").replace("\r\n", "\n")
                except OSError:
                    time.sleep(0.01)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"still running after {self.seen!r}")

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
