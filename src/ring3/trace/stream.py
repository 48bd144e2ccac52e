"""The stream of events: one instrument that turns what the kernel tells into values (`ring3.events`) for whoever asked.

An event is only made when somebody asked for its type; nobody listening to calls, no text of a call is made.  Listeners are called
on the kernel's thread, one after the other; one that raises is reported and forgotten, and the guest goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ring3 import events
from ring3.abi.signals import signal_name
from ring3.errors import Errno
from ring3.protocols import Instrument
from ring3.trace.words import arguments

if TYPE_CHECKING:
    from ring3.abi.signals import SigInfo
    from ring3.calls.syscall import Bound
    from ring3.exec.plan import ExecPlan
    from ring3.policy.confinement import Decision
    from ring3.proc.proc import Proc, Thread

Listener = Callable[[Any], object]


class EventStream(Instrument):
    """Listeners by type of event."""

    def __init__(self, failed: Callable[[Listener, Exception], object] = lambda _listener, _error: None) -> None:
        self._listeners: dict[type, list[Listener]] = {}
        self._began: dict[Thread, int] = {}
        self._failed = failed

    def listen(self, kind: type, listener: Listener) -> None:
        """Call `listener` with every event of that type from now on."""
        self._listeners.setdefault(kind, []).append(listener)

    def forget(self, kind: type, listener: Listener) -> None:
        """Call it no more; one that is not there is fine."""
        found = self._listeners.get(kind, [])
        if listener in found:
            found.remove(listener)
        if not found:
            self._listeners.pop(kind, None)

    def forget_everywhere(self, listener: Listener) -> None:
        """Call it no more, whatever it listened to."""
        for kind in tuple(self._listeners):
            self.forget(kind, listener)

    @property
    def is_empty(self) -> bool:
        """Whether nobody listens."""
        return not self._listeners

    def _tell(self, event: Any) -> None:
        for listener in tuple(self._listeners.get(event.__class__, ())):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - somebody else's code must not end the run
                self.forget(event.__class__, listener)
                self._failed(listener, error)

    # --- what the kernel tells
    def syscall_enter(self, thread: Thread, call: Bound, args: tuple[Any, ...]) -> None:
        """A call begins."""
        now = thread.system.now_ns()
        if events.SyscallExit in self._listeners:
            self._began[thread] = now
        if events.SyscallEnter in self._listeners:
            text = arguments(thread, call, args, None)
            self._tell(events.SyscallEnter(now, thread.proc.pid, thread.tid, call.name, text))

    def syscall_exit(self, thread: Thread, call: Bound, args: tuple[Any, ...] | None, result: int | Errno | None) -> None:
        """A call ended."""
        if events.SyscallExit not in self._listeners:
            return
        now = thread.system.now_ns()
        began = self._began.pop(thread, now)
        value = result if isinstance(result, int) else None
        text = arguments(thread, call, args, value)
        error = result.name if isinstance(result, Errno) else ""
        self._tell(events.SyscallExit(now, thread.proc.pid, thread.tid, call.name, text, value, error, now - began))

    def signal(self, thread: Thread, info: SigInfo, handled: bool) -> None:
        """A signal is taken."""
        if events.Signal in self._listeners:
            name = signal_name(info.signo)
            self._tell(events.Signal(thread.system.now_ns(), thread.proc.pid, thread.tid, name, handled))

    def fork(self, parent: Thread, child: Thread) -> None:
        """There is one thread more."""
        if events.Fork in self._listeners:
            now = parent.system.now_ns()
            self._tell(events.Fork(now, parent.proc.pid, parent.tid, child.proc.pid, child.tid))

    def wake(self, waker: Thread | None, woken: Thread) -> None:
        """A sleep ends."""
        if events.Wake in self._listeners and waker is not None and waker is not woken:
            self._tell(events.Wake(waker.system.now_ns(), waker.proc.pid, waker.tid, woken.proc.pid, woken.tid))

    def exec(self, thread: Thread, plan: ExecPlan) -> None:
        """Another program runs."""
        if events.Exec in self._listeners:
            self._tell(events.Exec(
                thread.system.now_ns(), thread.proc.pid, thread.tid, plan.exe.path, plan.argv, plan.personality.name, plan.format
            ))

    def exit(self, proc: Proc) -> None:
        """A process ended."""
        system = proc.system
        ends_itself = None if system.scheduler.is_host else system.current      # it is told of at the end of its last call
        for thread in [t for t in self._began if t.proc is proc and t is not ends_itself]:
            self._broken_off(thread, self._began.pop(thread))
        if events.Exit in self._listeners:
            status = proc.exit_status or 0
            signo = status & 0x7F
            name = signal_name(signo) if signo else ""
            self._tell(events.Exit(proc.system.now_ns(), proc.pid, proc.pid, 0 if signo else status >> 8 & 0xFF, name))

    def _broken_off(self, thread: Thread, began: int) -> None:
        """Its process ended in the middle of a call, which has no result."""
        if thread.watched is not None and events.SyscallExit in self._listeners:
            (call, args), now = thread.watched, thread.system.now_ns()
            text = arguments(thread, call, args, None)
            self._tell(events.SyscallExit(now, thread.proc.pid, thread.tid, call.name, text, None, "", now - began))

    def policy(self, thread: Thread, decision: Decision) -> None:
        """A policy decided."""
        if events.PolicyDecision in self._listeners:
            self._tell(events.PolicyDecision(
                thread.system.now_ns(), thread.proc.pid, thread.tid, decision.policy, decision.verdict, decision.missing,
                decision.call, decision.path,
            ))
