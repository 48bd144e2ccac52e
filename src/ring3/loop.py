"""The thread of one kernel: what other threads hand it, whom it tells, and how it ends.

ptrace ties every stub to the thread that made it, so a kernel lives on one thread from `boot` to the machine's end.  Others
reach in through `call` and `post` alone.
Invariant: whoever waits for this thread is told when it ends, whatever it ends of; a `Loop` knows no `Kernel`, so that a forgotten
kernel can be collected and take this down (`abandon`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from weakref import ref

    from ring3.boot import BootOptions
    from ring3.calls.interpose import Interposer
    from ring3.proc.proc import Proc
    from ring3.proc.system import System
    from ring3.process import Process
    from ring3.protocols import Instrument
    from ring3.trace.stream import EventStream

T = TypeVar("T")


class Loop:
    """The thread, started with `start`.  Every method but `adopt` and `forget` may be called from any thread."""

    def __init__(self, options: BootOptions, instruments: list[Instrument]) -> None:
        self.instrument_failures: list[tuple[Instrument, BaseException]] = []
        self.failure: BaseException | None = None     # what ended it, if it was not `stop`
        self._options = options
        self._instruments = instruments
        self._owner_pid = os.getpid()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._system: System | None = None
        self._is_closing = False
        self._is_over = False
        self._requests: set[_Request] = set()
        self._handles: dict[int, ref[Process]] = {}
        self._missing: dict[str, int] = {}
        self._stream: EventStream | None = None
        self._interposer: Interposer | None = None

    # --- from any thread
    def start(self) -> None:
        """Boot, unless that was done.

        Raises what booting raised, `MachineUnavailable` where there can be no more threads, `KernelFault` once the kernel fell,
        RuntimeError when it was closed or belongs to another process.
        """
        if os.getpid() != self._owner_pid:
            raise RuntimeError("this kernel belongs to the process that made it; a forked child makes its own")
        with self._lock:
            if self._is_closing:
                raise self.failure or RuntimeError("this kernel is closed")
            if self._thread is None:
                thread = threading.Thread(target=self._main, name="ring3-kernel", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    from ring3.machine.base import MachineUnavailable

                    raise MachineUnavailable(f"ring3 cannot start a thread: {error}; "
                                             "raise the limit of processes (ulimit -u, pids cgroup)") from error
                self._thread = thread
        self._started.wait()
        if self.failure is not None:
            raise self.failure

    def call(self, action: Callable[[System], T]) -> T:
        """Run `action(system)` on the kernel's thread and give back its result or raise what it raised."""
        self.start()
        if threading.current_thread() is self._thread:
            assert self._system is not None
            return action(self._system)
        request = _Request(action)
        self._requests.add(request)
        try:
            if not self.post(request.serve):
                request.fail(self._why_over())
            request.done.wait()
        finally:
            self._requests.discard(request)
        if request.error is not None:
            raise request.error
        result: T = request.result
        return result

    @property
    def state(self) -> str:
        """In a word: "not started", "running", "closed"."""
        if self._is_closing or self._is_over:
            return "closed"
        return "not started" if self._thread is None else "running"

    @property
    def is_here(self) -> bool:
        """Whether the caller is on the kernel's own thread, as hooks are."""
        return threading.current_thread() is self._thread

    def post(self, action: Callable[[System], None]) -> bool:
        """Have `action(system)` called on the kernel's thread soon, waiting for nothing.  False when the kernel is gone."""
        with self._lock:
            system = self._system
            if system is None or self._is_over:
                return False
            system.scheduler.post(lambda: action(system))
            return True

    def stop(self) -> None:
        """End every process, give everything back and wait for that.  Twice is harmless; in a forked child nothing happens."""
        if os.getpid() != self._owner_pid:
            return
        with self._lock:
            self._is_closing = True
        thread = self._thread
        if thread is None:
            return
        self._started.wait()
        self.post(_finish)
        if thread is not threading.current_thread():
            thread.join()

    def abandon(self) -> None:
        """The kernel was forgotten, or Python ends: as `stop`.

        A collector may call this on any thread, with any lock held, so only the end of Python waits.
        """
        if not threading.main_thread().is_alive():
            self.stop()
        elif os.getpid() == self._owner_pid:
            self._is_closing = True
            system = self._system
            if system is not None and not self._is_over:
                system.scheduler.post(lambda: _finish(system))

    def _why_over(self) -> BaseException:
        return self.failure or RuntimeError("this kernel is closed")

    @property
    def missing_calls(self) -> dict[str, int]:
        """Calls that answered ENOSYS, and how often; as they were at the end, once it has ended."""
        system = self._system
        return dict(self._missing if system is None else system.missing_calls)

    # --- on the kernel's thread, for whoever listens
    def stream(self, system: System) -> EventStream:
        """The stream of events, which begins when somebody first asks for it."""
        from ring3.trace.stream import EventStream

        if self._stream is None:
            self._stream = EventStream(self._hook_failed)
        if self._stream not in system.instruments:
            system.instruments.append(self._stream)
        return self._stream

    def interposer(self, system: System) -> Interposer:
        """The hooks on calls."""
        from ring3.calls.interpose import Interposer

        if self._interposer is None:
            self._interposer = Interposer(system, self._hook_failed)
        return self._interposer

    def forget(self, system: System, hook: Callable[[Any], object]) -> None:
        """Take a listener or a hook away."""
        if self._interposer is not None:
            self._interposer.remove(hook)
        if self._stream is not None:
            self._stream.forget_everywhere(hook)
            if self._stream.is_empty and self._stream in system.instruments:
                system.instruments.remove(self._stream)

    def _hook_failed(self, hook: Callable[[Any], object], error: BaseException) -> None:
        """A hook raised, and was taken away: say so with its traceback, where Python says such things."""
        import sys
        import traceback

        name = getattr(hook, "__qualname__", repr(hook))
        said = "".join(traceback.format_exception(error))
        if sys.stderr is not None:
            with suppress(OSError):
                sys.stderr.write(f"ring3: the hook {name} was removed, since it raised:\n{said}")

    # --- the thread itself
    def _main(self) -> None:
        from ring3.boot import boot, shut_down

        try:
            system = boot(self._options)
        except BaseException as error:  # noqa: BLE001 - handed to whoever asked for the start
            self.failure = error
            self._is_over = self._is_closing = True
            self._started.set()
            return
        system.instruments.extend(self._instruments)
        system.on_reap = self._reaped
        system.on_job_change = self._job_changed
        system.on_instrument_failure = lambda instrument, error: self.instrument_failures.append((instrument, error))
        self._system = system
        self._started.set()
        try:
            system.scheduler.run()
        except BaseException as error:  # noqa: BLE001 - a bug of this kernel reaches everybody who waits
            self.failure = error
        finally:
            with self._lock:
                self._is_over = self._is_closing = True
            self._missing = system.missing_calls
            self._system = None
            try:
                shut_down(system)
            finally:
                self._tell_everybody()

    def _tell_everybody(self) -> None:
        for request in tuple(self._requests):
            request.fail(self._why_over())
        for known in tuple(self._handles.values()):
            process = known()
            if process is not None:
                process.ended(None, self.failure)
        self._handles.clear()

    def _reaped(self, p: Proc) -> None:
        known = self._handles.pop(p.pid, None)
        process = known() if known is not None else None
        if process is not None:
            process.ended(p.exit_status, None)

    def _job_changed(self, p: Proc) -> None:
        known = self._handles.get(p.pid)
        process = known() if known is not None else None
        if process is not None:
            process.job_changed(p.stopped_by)

    def adopt(self, pid: int, process: Process) -> None:
        """Have `process` told when the guest process `pid` stops, goes on, or ends.  On the kernel's thread only."""
        from weakref import ref

        self._handles[pid] = ref(process)


class _Request:
    """One `call` on its way."""

    __slots__ = ("action", "done", "error", "result")

    def __init__(self, action: Callable[[System], Any]) -> None:
        self.action = action
        self.done = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def serve(self, system: System) -> None:
        try:
            self.result = self.action(system)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller
            self.error = error
        self.done.set()

    def fail(self, error: BaseException) -> None:
        """The thread ended first."""
        if not self.done.is_set():
            self.error = error
            self.done.set()


def _finish(system: System) -> None:
    from ring3.proc.lifecycle import exit_process

    system.scheduler.finished = True
    with suppress(RuntimeError):            # the machine fell first: `shut_down` does what is left
        for p in tuple(system.procs.values()):
            if p is not system.init:
                exit_process(p, 9)
