"""The face of a kernel: make one, run programs in it, take it down.

A kernel's loop runs on a thread of its own (ptrace ties every stub to one thread), started with the first process; this
object talks to it through `Scheduler.post` alone.  Kernels know nothing of each other.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ring3.process import DEVNULL, PIPE, STDOUT, Process, Stdio

if TYPE_CHECKING:
    import subprocess

    from ring3.boot import BootOptions, MountSpec
    from ring3.proc.system import System
    from ring3.protocols import Instrument

T = TypeVar("T")
StrOrBytes = str | bytes | os.PathLike[str] | os.PathLike[bytes]

__all__ = ["DEVNULL", "PIPE", "STDOUT", "Kernel", "run"]


class Kernel:
    """One kernel: a file system, processes, and the machine they run on.

    root:   host directory the guest sees as `/`, through a copy-on-write overlay held in memory.
    mounts: further host directories, each "HOST:GUEST[:ro|:rw|:cow]" (read-only unless said otherwise).
    seed:   an integer makes layout randomisation and getrandom(2) repeatable; None takes real randomness.
    hostname: what uname(2) tells.

    Use it as a context manager, or call `close()`.  All methods may be called from any thread.  Raises
    `MachineUnavailable` at the first process where guests cannot run, `OSError` for a root or mount that is not there.

    >>> with Kernel() as kernel:
    ...     kernel.run(["/bin/echo", "hello"], capture_output=True).stdout
    b'hello\\n'
    """

    def __init__(
        self,
        *,
        root: StrOrBytes = "/",
        mounts: Sequence[str | MountSpec] = (),
        seed: int | None = None,
        hostname: str = "ring3",
        instruments: Sequence[Instrument] = (),
    ) -> None:
        from ring3.boot import BootOptions

        self._options: BootOptions = BootOptions(
            root=os.fsdecode(os.path.abspath(root)),
            mounts=tuple(parse_mount(m) if isinstance(m, str) else m for m in mounts),
            seed=seed,
            hostname=hostname,
        )
        self._instruments = list(instruments)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._system: System | None = None
        self._failure: BaseException | None = None
        self._closed = False
        self._owner_pid = os.getpid()
        self._processes: dict[int, Process] = {}

    # --- life
    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process and give everything back.  Twice is harmless."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        thread, system = self._thread, self._system
        if thread is None or system is None or os.getpid() != self._owner_pid:
            return
        if thread.is_alive():
            system.scheduler.post(self._finish)
            thread.join()

    def _finish(self) -> None:
        from ring3.proc.lifecycle import exit_process

        assert self._system is not None
        for p in list(self._system.procs.values()):
            if p is not self._system.init:
                exit_process(p, 9)
        self._system.scheduler.finished = True

    def _start(self) -> System:
        """The running system, started if need be.  Raises what starting it raised."""
        if os.getpid() != self._owner_pid:
            raise RuntimeError("this kernel belongs to the process that made it; a forked child makes its own")
        with self._lock:
            if self._closed:
                raise RuntimeError("this kernel is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._main, name="ring3-kernel", daemon=True)
                self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure
        assert self._system is not None
        return self._system

    def _main(self) -> None:
        """The kernel thread."""
        from ring3.boot import boot

        try:
            system = boot(self._options)
        except BaseException as error:  # noqa: BLE001 - handed to whoever asked for the start
            self._failure = error
            self._started.set()
            return
        system.instruments.extend(self._instruments)
        system.on_reap = self._reaped
        system.on_job_change = self._job_changed
        self._system = system
        self._started.set()
        try:
            system.scheduler.run()
        except BaseException as error:  # noqa: BLE001 - a bug of this kernel reaches every waiting caller
            self._failure = error
        finally:
            system.mounts.close()
            system.machine.close()
            for process in list(self._processes.values()):
                process.ended(None, self._failure)

    def call(self, action: Callable[[System], T]) -> T:
        """Run `action(system)` on the kernel's thread and give back its result or raise what it raised."""
        system = self._start()
        if threading.current_thread() is self._thread:
            return action(system)
        done = threading.Event()
        outcome: list[Any] = [None, None]

        def act() -> None:
            try:
                outcome[0] = action(system)
            except BaseException as error:  # noqa: BLE001 - raised again in the caller
                outcome[1] = error
            done.set()

        system.scheduler.post(act)
        while not done.wait(1.0):
            if not self._thread_alive():
                raise self._failure or RuntimeError("the kernel ended")
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]  # type: ignore[no-any-return]

    def post(self, action: Callable[[System], None]) -> None:
        """Have `action(system)` called on the kernel's thread soon; nothing is waited for.  Fit for signal handlers."""
        system = self._system
        if system is not None and self._thread_alive():
            system.scheduler.post(lambda: action(system))

    def _thread_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    # --- processes
    def spawn(
        self,
        args: Sequence[StrOrBytes] | StrOrBytes,
        *,
        executable: StrOrBytes | None = None,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        cwd: StrOrBytes | None = None,
        env: Mapping[str, str] | Mapping[bytes, bytes] | None = None,
        umask: int = -1,
        user: int | None = None,
        group: int | None = None,
        start_new_session: bool = False,
        ignored_signals: Collection[int] = (),
    ) -> Process:
        """Start a program; the arguments are those of `subprocess.Popen`.

        A name without a slash is looked for along the guest's PATH.  `cwd` is a guest path.  Raises `FileNotFoundError`,
        `PermissionError` or another `OSError` when the guest's kernel refuses the program.  `ignored_signals` are the numbers
        of signals it starts with ignored.
        """
        argv = [os.fsencode(args)] if isinstance(args, str | bytes | os.PathLike) else [os.fsencode(a) for a in args]
        if not argv:
            raise ValueError("args must name a program")
        environment = {os.fsencode(k): os.fsencode(v) for k, v in (os.environ if env is None else env).items()}
        process = Process(self, [os.fsdecode(a) for a in argv], stdin, stdout, stderr)
        try:
            self.call(
                lambda system: process.start(
                    system,
                    executable=os.fsencode(executable) if executable is not None else argv[0],
                    argv=argv,
                    env=environment,
                    cwd=os.fsencode(cwd) if cwd is not None else None,
                    umask=umask,
                    user=user,
                    group=group,
                    new_session=start_new_session,
                    ignored=ignored_signals,
                )
            )
        except BaseException:
            process.close_all()
            raise
        process.close_guest_side()
        return process

    def run(
        self,
        args: Sequence[StrOrBytes] | StrOrBytes,
        *,
        input: bytes | str | None = None,  # noqa: A002 - subprocess.run's word
        capture_output: bool = False,
        timeout: float | None = None,
        check: bool = False,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        **spawn: Any,
    ) -> subprocess.CompletedProcess[Any]:
        """Run a program to its end: the arguments and the result of `subprocess.run`.

        `timeout` is in seconds; when it passes, the program is killed and `subprocess.TimeoutExpired` raised with the output so
        far.  `check` raises `subprocess.CalledProcessError` for a status that is not 0.  A negative `returncode` is a signal.
        """
        import subprocess

        if input is not None:
            if stdin is not None:
                raise ValueError("stdin and input arguments may not both be used.")
            stdin = PIPE
        if capture_output:
            if stdout is not None or stderr is not None:
                raise ValueError("stdout and stderr arguments may not be used with capture_output.")
            stdout = stderr = PIPE
        as_text = bool(text or encoding or errors)
        if isinstance(input, str):
            input = input.encode(encoding or "utf-8", errors or "strict")  # noqa: A001

        def decoded(data: bytes | None) -> Any:
            if data is None or not as_text:
                return data
            return data.decode(encoding or "utf-8", errors or "strict").replace("\r\n", "\n").replace("\r", "\n")

        with self.spawn(args, stdin=stdin, stdout=stdout, stderr=stderr, **spawn) as process:
            try:
                out, err = process.communicate(input, timeout=timeout)
            except subprocess.TimeoutExpired as expired:
                process.kill()
                out, err = process.communicate()
                raise subprocess.TimeoutExpired(process.args, expired.timeout, output=out, stderr=err) from None
            except BaseException:
                process.kill()
                raise
            status = process.wait()
        if check and status:
            raise subprocess.CalledProcessError(status, process.args, output=decoded(out), stderr=decoded(err))
        return subprocess.CompletedProcess(process.args, status, decoded(out), decoded(err))

    # --- told by the kernel's thread
    def _reaped(self, p: Any) -> None:
        process = self._processes.pop(p.pid, None)
        if process is not None:
            process.ended(p.exit_status, None)

    def _job_changed(self, p: Any) -> None:
        process = self._processes.get(p.pid)
        if process is not None:
            process.job_changed(p.stopped_by)

    def adopt(self, pid: int, process: Process) -> None:
        """Have `process` told when the guest process `pid` stops, goes on, or ends.  On the kernel's thread only."""
        self._processes[pid] = process

    def forget(self, pid: int) -> None:
        """Take `adopt` back."""
        self._processes.pop(pid, None)

    # --- statistics
    @property
    def missing_calls(self) -> dict[str, int]:
        """System calls that answered ENOSYS because ring3 lacks them: name to how often."""
        return dict(self._system.missing_calls) if self._system is not None else {}


def parse_mount(text: str) -> MountSpec:
    """A `MountSpec` from "HOST:GUEST[:ro|:rw|:cow]".  Raises ValueError that says what is wrong.

    >>> parse_mount("/src:/work:rw")
    MountSpec(host='/src', guest='/work', mode='rw')
    """
    from ring3.boot import MountSpec

    parts = text.split(":")
    mode = parts.pop() if len(parts) == 3 else "ro"
    if len(parts) != 2 or mode not in ("ro", "rw", "cow") or not parts[0] or not parts[1].startswith("/"):
        raise ValueError(f"mount {text!r}: write HOST:GUEST, HOST:GUEST:ro, HOST:GUEST:rw or HOST:GUEST:cow, with GUEST absolute")
    return MountSpec(parts[0], parts[1], mode)


_KERNEL_OPTIONS = ("root", "mounts", "seed", "hostname", "instruments")


def run(args: Sequence[StrOrBytes] | StrOrBytes, **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run one program in a kernel of its own: `subprocess.run`, with a kernel in between.

    Takes the arguments of `Kernel` (root, mounts, seed, hostname) and of `Kernel.run`.  What the program writes is gone with the
    kernel, except through mounts that are "rw".

    >>> run(["/bin/sh", "-c", "echo $((6*7))"], capture_output=True).stdout
    b'42\\n'
    """
    with Kernel(**{name: options.pop(name) for name in _KERNEL_OPTIONS if name in options}) as kernel:
        return kernel.run(args, **options)
