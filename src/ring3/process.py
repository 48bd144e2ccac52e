"""The handle of one guest process, shaped like `subprocess.Popen`.

Not here: how the process runs.  `start`, `ended` and `job_changed` are called on the kernel's thread, everything else from any
other.
"""

from __future__ import annotations

import io
import os
import signal as host_signal
import threading
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from ring3.kernel import Kernel
    from ring3.proc.system import System
    from ring3.stdio import Stdio

_PIECE: Final = 65536
_PIPE_BUF: Final = 4096        # what a pipe takes without blocking once poll(2) says that there is room


class TextMode:
    """How a program's streams are text: `subprocess`'s encoding and errors."""

    __slots__ = ("encoding", "errors")

    def __init__(self, encoding: str | None, errors: str | None) -> None:
        self.encoding = encoding
        self.errors = errors


class Process:
    """A started program, as `Kernel.spawn` gives it back.

    `args` is what was asked for, `pid` its id in the guest's kernel.  `stdin`, `stdout` and `stderr` are file objects where
    PIPE was asked for, else None.  `returncode` is None until it ended, then its status, or minus the number of the signal
    that ended it.  `died_in_exec`: a signal ended it before its first instruction, since its exec failed behind the point of no
    return.

    >>> import ring3
    >>> with ring3.Kernel() as kernel, kernel.spawn(["cat"], stdin=ring3.PIPE, stdout=ring3.PIPE) as process:
    ...     process.communicate(b"there and back")[0]
    b'there and back'
    """

    def __init__(self, kernel: Kernel, args: Any, stdio: Stdio, text: TextMode | None = None, bufsize: int = -1) -> None:
        self.args = args
        self.pid = 0
        self.returncode: int | None = None
        self.stdin: IO[Any] | None = None
        self.stdout: IO[Any] | None = None
        self.stderr: IO[Any] | None = None
        self.on_change: Callable[[], None] | None = None     # called when it stops, goes on or ends; on the kernel's thread
        self.died_in_exec = False
        self.stopped_by = 0                                  # the signal that stopped it, 0 while it runs
        self.kernel = kernel
        self._stdio = stdio
        self._failure: BaseException | None = None
        self._ended = threading.Event()
        self._read: tuple[list[bytes], list[bytes]] = ([], [])
        self._unsent: memoryview | None = None               # input of `communicate` that was not sent yet
        self.stdin, self.stdout, self.stderr = (
            _open(fd, "w" if index == 0 else "r", bufsize, text) if fd is not None else None for index, fd in enumerate(stdio.ours)
        )
        stdio.ours = [None, None, None]

    # --- on the kernel's thread
    def start(self, system: System, **request: Any) -> None:
        """Make the guest process and let it run; `request` are the fields of `LaunchRequest`.

        Raises OSError with the guest's errno.
        """
        from ring3.launch import LaunchRequest, launch

        def register(pid: int) -> None:
            self.pid = pid
            self.kernel.loop.adopt(pid, self)

        made = launch(system, LaunchRequest(streams=self._stdio.take(), null=self._stdio.null, **request), register)
        self.died_in_exec = made.zombie

    def ended(self, status: int | None, failure: BaseException | None) -> None:
        """The process is gone, with a wait status word; or the kernel is, with a failure."""
        if status is None:
            self._failure = failure
            self.returncode = -host_signal.SIGKILL
        else:
            signo = status & 0x7F
            self.returncode = -signo if signo else status >> 8 & 0xFF
        self._ended.set()
        if self.on_change is not None:
            self.on_change()

    def job_changed(self, stopped_by: int) -> None:
        """It was stopped by a signal, or goes on (0)."""
        self.stopped_by = stopped_by
        if self.on_change is not None:
            self.on_change()

    # --- from anywhere
    def poll(self) -> int | None:
        """The return code, or None while it runs."""
        return self.returncode if self._ended.is_set() else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, at most `timeout` seconds; the return code.

        Raises `subprocess.TimeoutExpired`; a failure of the kernel itself is raised as it is.  RuntimeError in a hook.
        """
        self._check_place()
        if not self._ended.wait(timeout):
            import subprocess

            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        if self._failure is not None:
            raise self._failure
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, signo: int) -> None:
        """Send it signal number `signo`; nothing happens once it ended.  Raises ValueError for what is no signal."""
        if not 0 <= signo <= 64:
            raise ValueError(f"{signo} is no signal's number")
        if self._ended.is_set() or not signo:
            return

        def send(system: System) -> None:
            from ring3.abi.signals import SigInfo
            from ring3.proc.signals import send_to_process

            p = system.procs.get(self.pid)
            if p is not None:
                send_to_process(p, SigInfo(signo, uid=os.getuid()))

        try:
            self.kernel.loop.call(send)
        except RuntimeError:
            if not self._ended.is_set():
                raise

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(host_signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(host_signal.SIGKILL)

    def communicate(self, input: bytes | str | None = None, timeout: float | None = None) -> tuple[Any, Any]:  # noqa: A002
        """Send `input`, read what it prints until it closes its streams, wait for its end: `(stdout, stderr)`, None for no pipe.

        Raises `subprocess.TimeoutExpired` with the output so far (bytes) after `timeout` seconds; the process goes on then,
        and a second call reads the rest.  ValueError for input given to a second call, RuntimeError in a hook.
        """
        self._check_place()
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._unsent is None:
            self._unsent = memoryview(self._encoded(input))
            if self.stdin is not None:
                _flush(self.stdin)
        elif input:
            raise ValueError("Cannot send input after starting communication")
        self._exchange(timeout, deadline)
        if not self._ended.wait(None if deadline is None else max(deadline - time.monotonic(), 0)):
            self._time_out(timeout)
        if self._failure is not None:
            raise self._failure
        return self._decoded(self.stdout, 0), self._decoded(self.stderr, 1)

    def _check_place(self) -> None:
        """Raises RuntimeError for a hook that would wait for what its own thread is to do."""
        if self.kernel.loop.is_here and not self._ended.is_set():
            raise RuntimeError("a hook cannot wait for a process of its kernel: it is called on the thread that serves it")

    def _exchange(self, timeout: float | None, deadline: float | None) -> None:
        """Read and write until all our ends are closed."""
        import select

        poller = select.poll()
        outputs = {f.fileno(): (index, f) for index, f in enumerate((self.stdout, self.stderr)) if f is not None and not f.closed}
        for fd in outputs:
            poller.register(fd, select.POLLIN)
        stdin = self.stdin if self.stdin is not None and not self.stdin.closed else None
        if stdin is not None:
            if self._unsent:
                poller.register(stdin.fileno(), select.POLLOUT)
            else:
                _close(stdin)
                stdin = None
        while outputs or stdin is not None:
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            ready = poller.poll(None if left is None else left * 1000)
            if not ready and left is not None and time.monotonic() >= deadline:  # type: ignore[operator]
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
                elif stdin is not None and self._feed(fd):
                    poller.unregister(fd)
                    _close(stdin)
                    stdin = None

    def _feed(self, fd: int) -> bool:
        """Write the next piece of input; True when there is no more to write, or nobody to read it."""
        assert self._unsent is not None
        try:
            self._unsent = self._unsent[os.write(fd, self._unsent[:_PIPE_BUF]) :]
        except BrokenPipeError:
            self._unsent = self._unsent[:0]
        return not self._unsent

    def _encoded(self, data: bytes | str | None) -> bytes:
        if isinstance(data, str):
            if not isinstance(self.stdin, io.TextIOWrapper):
                raise TypeError("input is text, and the streams are binary: ask for text=True")
            return data.encode(self.stdin.encoding, self.stdin.errors or "strict")
        return data or b""

    def _decoded(self, file: IO[Any] | None, index: int) -> Any:
        if file is None:
            return None
        data = b"".join(self._read[index])
        if isinstance(file, io.TextIOWrapper):
            return data.decode(file.encoding, file.errors or "strict").replace("\r\n", "\n").replace("\r", "\n")
        return data

    def _time_out(self, timeout: float | None) -> None:
        import subprocess

        assert timeout is not None
        out, err = (b"".join(pieces) or None for pieces in self._read)
        raise subprocess.TimeoutExpired(self.args, timeout, output=out, stderr=err)

    # --- the end
    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the pipes and wait for the end, as `subprocess.Popen` does."""
        for file in (self.stdout, self.stderr, self.stdin):
            if file is not None:
                _close(file)
        self.wait()

    def close_streams(self) -> None:
        """Close everything, the guest's side too: it could not be started."""
        self._stdio.close_guest()
        for file in (self.stdin, self.stdout, self.stderr):
            if file is not None:
                file.close()

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a process cannot be copied or pickled: it is running")

    def __repr__(self) -> str:
        return f"<ring3.Process {self.pid} {self.args!r} returncode: {self.returncode}>"


def _open(fd: int, mode: str, bufsize: int, text: TextMode | None) -> IO[Any]:
    """Our end of a pipe as a file object, as `subprocess.Popen` makes it."""
    if text is None:
        return open(fd, mode + "b", bufsize)
    return io.TextIOWrapper(
        open(fd, mode + "b", -1 if bufsize == 1 else bufsize), encoding=text.encoding, errors=text.errors,
        line_buffering=bufsize == 1, write_through=mode == "w" and bufsize == 0,
    )


def _flush(file: IO[Any]) -> None:
    try:
        file.flush()
    except (BrokenPipeError, ValueError):      # nobody reads it any more; closed already
        return


def _close(file: IO[Any]) -> None:
    try:
        file.close()
    except BrokenPipeError:                    # what was still buffered has no reader
        return
