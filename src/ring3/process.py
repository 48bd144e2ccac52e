"""The handle of one guest process, shaped like `subprocess.Popen`.

Not here: how the process runs.  `start` is called on the kernel's thread, everything else from any other.
"""

from __future__ import annotations

import os
import signal as host_signal
import threading
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ring3.kernel import Kernel
    from ring3.proc.proc import Proc
    from ring3.proc.system import System

PIPE: Final = -1          # subprocess's numbers
STDOUT: Final = -2
DEVNULL: Final = -3

Stdio = int | IO[Any] | None
_PIECE = 65536


class Process:
    """A started program.

    `pid` is its id in the guest's kernel; `stdin`, `stdout`, `stderr` are binary file objects where PIPE was asked for;
    `returncode` is None until it ended, then its status, or minus the number of the signal that ended it.
    """

    def __init__(self, kernel: Kernel, args: list[str], stdin: Stdio, stdout: Stdio, stderr: Stdio) -> None:
        self.kernel = kernel
        self.args = args
        self.pid = 0
        self.returncode: int | None = None
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        self.stderr: IO[bytes] | None = None
        self.on_stop: Callable[[int], None] | None = None     # told the stopping signal, 0 when it goes on; kernel's thread
        self._failure: BaseException | None = None
        self._ended = threading.Event()
        self._guest_fds: list[int | None] = [None, None, None]
        self._null = [False, False, False]
        try:
            self._guest_fds[0] = self._prepare(0, stdin)
            self._guest_fds[1] = self._prepare(1, stdout)
            if stderr == STDOUT:
                self._guest_fds[2] = None if self._guest_fds[1] is None else os.dup(self._guest_fds[1])
                self._null[2] = self._null[1]
            else:
                self._guest_fds[2] = self._prepare(2, stderr)
        except BaseException:
            self.close_all()
            raise

    def _prepare(self, index: int, stdio: Stdio) -> int | None:
        """The host descriptor the guest's descriptor `index` shall be; None for none (closed, or the guest's /dev/null)."""
        if stdio is None:
            try:
                return os.dup(index)
            except OSError:
                return None
        if stdio == DEVNULL:
            self._null[index] = True
            return None
        if stdio == PIPE:
            reader, writer = os.pipe()
            if index == 0:
                self.stdin = os.fdopen(writer, "wb", 0)
                return reader
            mine = os.fdopen(reader, "rb", -1)
            if index == 1:
                self.stdout = mine
            else:
                self.stderr = mine
            return writer
        fd = stdio if isinstance(stdio, int) else stdio.fileno()
        if fd < 0:
            raise ValueError(f"descriptor {fd} is none")
        return os.dup(fd)

    # --- on the kernel's thread
    def start(self, system: System, **request: Any) -> None:
        """Make the guest process and let it run; `request` are the fields of `LaunchRequest`.

        Raises OSError with the guest's errno.
        """
        from ring3.launch import LaunchRequest, launch

        stdio, self._guest_fds = self._guest_fds, [None, None, None]      # the guest's from here on

        def register(pid: int) -> None:
            self.pid = pid
            self.kernel.adopt(pid, self)

        launch(system, LaunchRequest(stdio=stdio, null=self._null, **request), register)

    def ended(self, status: int | None, failure: BaseException | None) -> None:
        """The process is gone, with a wait status word; or the kernel is, with a failure."""
        if self._ended.is_set():
            return
        if status is None:
            self._failure = failure
            self.returncode = -9
        else:
            signo = status & 0x7F
            self.returncode = -signo if signo else status >> 8 & 0xFF
        self._ended.set()

    def job_changed(self, stopped_by: int) -> None:
        if self.on_stop is not None:
            self.on_stop(stopped_by)

    # --- from anywhere
    def poll(self) -> int | None:
        """The return code, or None while it runs."""
        return self.returncode if self._ended.is_set() else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, at most `timeout` seconds; the return code.

        Raises `subprocess.TimeoutExpired`; a failure of the kernel itself is raised as it is.
        """
        if not self._ended.wait(timeout):
            import subprocess

            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        if self._failure is not None:
            raise self._failure
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, signo: int) -> None:
        """Send it a signal; nothing happens once it ended."""
        if self._ended.is_set():
            return

        def send(system: System) -> None:
            from ring3.abi.signals import SigInfo
            from ring3.proc.signals import send_to_process

            p: Proc | None = system.procs.get(self.pid)
            if p is not None:
                send_to_process(p, SigInfo(signo))

        try:
            self.kernel.call(send)
        except RuntimeError:
            if not self._ended.is_set():
                raise

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(host_signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(host_signal.SIGKILL)

    def communicate(self, input: bytes | None = None, timeout: float | None = None) -> tuple[bytes | None, bytes | None]:  # noqa: A002
        """Send `input`, read what it prints, wait for its end.

        Raises `subprocess.TimeoutExpired` with the output so far; the process goes on then, and a second call reads the rest.
        """
        import select

        deadline = None if timeout is None else time.monotonic() + timeout
        if not hasattr(self, "_read"):
            self._read: dict[int, list[bytes]] = {1: [], 2: []}
            self._to_write = memoryview(input or b"")
        poller = select.poll()
        outputs = {f.fileno(): (index, f) for index, f in ((1, self.stdout), (2, self.stderr)) if f is not None and not f.closed}
        for fd in outputs:
            poller.register(fd, select.POLLIN)
        stdin = self.stdin if self.stdin is not None and not self.stdin.closed else None
        if stdin is not None and not self._to_write:
            stdin.close()
            stdin = None
        if stdin is not None:
            poller.register(stdin.fileno(), select.POLLOUT)
        while outputs or stdin is not None:
            left = None if deadline is None else deadline - time.monotonic()
            ready = poller.poll(None if left is None else max(left, 0) * 1000)
            if not ready and left is not None and left <= 0:
                self._time_out(timeout)
            for fd, _events in ready:
                if fd in outputs:
                    index, file = outputs[fd]
                    data = os.read(fd, _PIECE)
                    if data:
                        self._read[index].append(data)
                    else:
                        poller.unregister(fd)
                        del outputs[fd]
                        file.close()
                elif stdin is not None:
                    stdin = self._feed(stdin, poller)
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        if not self._ended.wait(left):
            self._time_out(timeout)
        if self._failure is not None:
            raise self._failure
        return (
            b"".join(self._read[1]) if self.stdout is not None else None,
            b"".join(self._read[2]) if self.stderr is not None else None,
        )

    def _feed(self, stdin: IO[bytes], poller: Any) -> IO[bytes] | None:
        """Write the next piece of input; None when there is no more to write or nobody to read it."""
        try:
            written = os.write(stdin.fileno(), self._to_write[:512])
        except BrokenPipeError:
            written = len(self._to_write)
        self._to_write = self._to_write[written:]
        if self._to_write:
            return stdin
        poller.unregister(stdin.fileno())
        stdin.close()
        return None

    def _time_out(self, timeout: float | None) -> None:
        import subprocess

        assert timeout is not None
        raise subprocess.TimeoutExpired(
            self.args, timeout, output=b"".join(self._read[1]) or None, stderr=b"".join(self._read[2]) or None
        )

    # --- descriptors
    def close_guest_side(self) -> None:
        """Close what was prepared for the guest and not taken over."""
        for fd in self._guest_fds:
            if fd is not None:
                os.close(fd)
        self._guest_fds = [None, None, None]

    def close_all(self) -> None:
        """Close both sides: it could not be started."""
        self.close_guest_side()
        for file in (self.stdin, self.stdout, self.stderr):
            if file is not None:
                file.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exc: object) -> None:
        for file in (self.stdout, self.stderr, self.stdin):
            if file is not None:
                file.close()
        self.wait()

    def __repr__(self) -> str:
        return f"<ring3.Process {self.pid} {self.args!r} returncode: {self.returncode}>"
