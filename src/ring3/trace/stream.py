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
from ring3.trace.form import Forms
from ring3.trace.words import arguments

if TYPE_CHECKING:
    from ring3.abi.signals import SigInfo
    from ring3.calls.syscall import Bound
    from ring3.exec.plan import ExecPlan
    from ring3.policy.confinement import Decision
    from ring3.proc.proc import Proc, Thread
    from ring3.trace.filter import CallSet

Listener = Callable[[Any], object]


class EventStream(Instrument):
    """Listeners by type of event."""

    def __init__(self, failed: Callable[[Listener, BaseException], object] = lambda _listener, _error: None) -> None:
        self._listeners: dict[type, list[Listener]] = {}
        self._wanted: dict[Listener, CallSet] = {}      # which calls those hear of who do not hear of all
        self._began: dict[Thread, int] = {}
        self._forms = Forms()
        self._failed = failed

    def listen(self, kind: type, listener: Listener, calls: CallSet | None = None) -> None:
        """Call `listener` with every event of that type from now on; where it tells of a call, only with those in `calls`."""
        self._listeners.setdefault(kind, []).append(listener)
        if calls is not None:
            self._wanted[listener] = calls

    def forget(self, kind: type, listener: Listener) -> None:
        """Call it no more; one that is not there is fine."""
        found = self._listeners.get(kind, [])
        if listener in found:
            found.remove(listener)
        if not found:
            self._listeners.pop(kind, None)
        if not any(listener in heard for heard in self._listeners.values()):
            self._wanted.pop(listener, None)

    def forget_everywhere(self, listener: Listener) -> None:
        """Call it no more, whatever it listened to."""
        for kind in tuple(self._listeners):
            self.forget(kind, listener)

    @property
    def is_empty(self) -> bool:
        """Whether nobody listens."""
        return not self._listeners

    def _hears(self, kind: type, call: Bound) -> bool:
        """Whether somebody hears of this call."""
        listeners = self._listeners.get(kind, ())
        return bool(listeners) and (not self._wanted or any(self._wants(listener, call) for listener in listeners))

    def _wants(self, listener: Listener, call: Bound | None) -> bool:
        wanted = self._wanted.get(listener) if call is not None else None
        return wanted is None or call is None or wanted.has(call)

    def _tell(self, event: Any, call: Bound | None = None) -> None:
        for listener in tuple(self._listeners.get(event.__class__, ())):
            if self._wanted and not self._wants(listener, call):
                continue
            try:
                listener(event)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - somebody else's code must not end the run
                self.forget(event.__class__, listener)
                self._failed(listener, error)

    # --- what the kernel tells
    def syscall_enter(self, thread: Thread, call: Bound, args: tuple[Any, ...]) -> None:
        """A call begins."""
        now = thread.system.now_ns()
        if events.SyscallExit in self._listeners:
            self._began[thread] = now
        if self._hears(events.SyscallEnter, call):
            text = arguments(thread, call, args, None, self._forms)
            self._tell(events.SyscallEnter(now, thread.proc.pid, thread.tid, call.name, text), call)

    def syscall_exit(self, thread: Thread, call: Bound, args: tuple[Any, ...] | None, result: int | Errno | None) -> None:
        """A call ended."""
        if events.SyscallExit not in self._listeners:
            return
        now = thread.system.now_ns()
        began = self._began.pop(thread, now)
        if not self._hears(events.SyscallExit, call):
            return
        value = result if isinstance(result, int) else None
        text = arguments(thread, call, args, value, self._forms)
        error = result.name if isinstance(result, Errno) else ""
        self._tell(events.SyscallExit(now, thread.proc.pid, thread.tid, call.name, text, value, error, now - began), call)

    def signal(self, thread: Thread, info: SigInfo, handled: bool) -> None:
        """A signal is taken."""
        if events.Signal in self._listeners:
            name = signal_name(info.signo, thread.proc.personality.signal_defaults.names)
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
            name = signal_name(signo, proc.personality.signal_defaults.names) if signo else ""
            self._tell(events.Exit(proc.system.now_ns(), proc.pid, proc.pid, 0 if signo else status >> 8 & 0xFF, name))

    def _broken_off(self, thread: Thread, began: int) -> None:
        """Its process ended in the middle of a call, which has no result."""
        if thread.watched is not None and self._hears(events.SyscallExit, thread.watched[0]):
            (call, args), now = thread.watched, thread.system.now_ns()
            text = arguments(thread, call, args, None, self._forms)
            self._tell(events.SyscallExit(now, thread.proc.pid, thread.tid, call.name, text, None, "", now - began), call)

    def policy(self, thread: Thread, decision: Decision) -> None:
        """A policy decided."""
        if events.PolicyDecision in self._listeners:
            self._tell(events.PolicyDecision(
                thread.system.now_ns(), thread.proc.pid, thread.tid, decision.policy, decision.verdict, decision.missing,
                decision.call, decision.path,
            ))
