"""What the kernel tells, put into a `Document`: the instrument behind a report.

    recorder = Recorder()
    with ring3.Kernel(instruments=[recorder]) as kernel:
        status = kernel.run(["make"]).returncode
    write_report(recorder, "make.html", command=["make"], status=status)

It is told by the kernel itself, as the stream of events is, and does not listen to that stream: it needs the arguments of a call as
values and the address space before an exec, and the stream would have to make the text of each call's beginning for it, which costs
every call as much again.

Invariant: at most `limit` calls are kept; what comes later is counted as missing, processes and their ends excepted.  Not here:
what became of files (`paths.py`), how it is written (`report.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.signals import LINUX_DEFAULTS, signal_name
from ring3.calls.shown import sig_info
from ring3.calls.syscall import NOSYS, Bound
from ring3.errors import Errno
from ring3.proc.proc import Proc, Thread, ThreadState
from ring3.proc.procfs.maps import region_name
from ring3.protocols import Instrument
from ring3.trace.explain.words import shown
from ring3.trace.form import Forms
from ring3.trace.html.document import Document, Span
from ring3.trace.html.paths import Paths
from ring3.trace.strace import ADDRESSES, OCTAL
from ring3.trace.words import arguments

if TYPE_CHECKING:
    from ring3.abi.signals import SigInfo
    from ring3.exec.plan import ExecPlan
    from ring3.policy.confinement import Decision
    from ring3.vm.vmspace import VMSpace

LIMIT: Final = 1_000_000        # calls that are kept unless somebody says otherwise
_EXECS: Final = frozenset({"execve", "execveat", "fexecve"})
_LASTING: Final = frozenset({"exit", "exit_group", "_lwp_exit", *_EXECS})       # they do not return, or into another program


class _Open:
    """A call that began."""

    __slots__ = ("args", "before", "row", "text")

    def __init__(self, row: int, args: tuple[Any, ...], text: str) -> None:
        self.row = row
        self.args = args
        self.text = text                            # where it has to be said at the beginning
        self.before: tuple[Span, ...] | None = None     # the address space an exec would replace


class Recorder(Instrument):
    """Watches a kernel for a report.  `now` is the clock, in ns."""

    def __init__(self, limit: int = LIMIT, now: Callable[[], int] = time.monotonic_ns) -> None:
        self.document = Document()
        self.limit = limit
        self.dropped = 0
        self.began = time.time()
        self._now = now
        self._start = now()
        self._procs: dict[Proc, int] = {}
        self._threads: dict[Thread, int] = {}
        self._calls: dict[Thread, _Open] = {}
        self._paths = Paths(self.document)
        self._forms = Forms()
        self._systems: dict[str, None] = {}
        self.last_ns = -1               # when something was seen last, since the first thing was

    @property
    def systems(self) -> tuple[str, ...]:
        """The systems whose programs ran."""
        return tuple(self._systems)

    # --- who
    def _at(self) -> int:
        if self.last_ns < 0:
            self._start = self._now()
            self.began = time.time()
        self.last_ns = self._now() - self._start
        return self.last_ns

    def _known(self, t: Thread) -> int:
        """The index of a thread; one nobody told of is the first of its process, or made by hand."""
        index = self._threads.get(t)
        if index is None:
            at = self._at()
            proc = self._procs.get(t.proc)
            if proc is None:
                parent = self._procs.get(t.proc.parent, -1) if t.proc.parent is not None else -1
                proc = self._procs[t.proc] = self.document.process(t.proc.pid, t.comm or b"?", at, parent)
            index = self._threads[t] = self.document.thread(proc, t.tid, at)
        return index

    def fork(self, parent: Thread, child: Thread) -> None:
        """One thread more, in the same process or in a new one."""
        self._known(parent)
        at = self._at()
        if child.proc not in self._procs:
            self._procs[child.proc] = self.document.process(child.proc.pid, child.comm, at, self._procs[parent.proc])
        self._threads[child] = self.document.thread(self._procs[child.proc], child.tid, at)

    def exit(self, proc: Proc) -> None:
        """A process ended, and all that its threads were doing."""
        index = self._procs.pop(proc, None)
        if index is None:
            return
        at = self._at()
        for t in [t for t in self._threads if t.proc is proc]:
            begun = self._calls.pop(t, None)
            if begun is not None:
                self.document.call_said(begun.row, begun.text or "…", "?")
            del self._threads[t]
        status = proc.exit_status or 0
        text = ending(status, proc.personality.signal_defaults.names)
        self.document.process_ended(index, text, at, is_bad=status != 0)

    # --- calls
    def syscall_enter(self, thread: Thread, call: Bound, args: tuple[Any, ...]) -> None:
        """A call begins."""
        index = self._known(thread)
        if self.document.call_count >= self.limit:
            self.dropped += 1
            return
        text = ""
        if call.call is NOSYS:
            self.document.missing(call.name)
        if call.call is NOSYS or call.name in _LASTING:
            text = arguments(thread, call, args, None, self._forms)
        begun = self._calls[thread] = _Open(self.document.call_began(index, call.name, self._at(), text), args, text)
        if call.name in _EXECS:
            begun.before = tuple(spans(thread.proc.vm))

    def syscall_exit(self, thread: Thread, call: Bound, args: tuple[Any, ...] | None, result: int | Errno | None) -> None:
        """A call ended."""
        begun = self._calls.pop(thread, None)
        if begun is None:
            if args is not None or self.document.call_count >= self.limit:
                return          # it was not kept
            raw = arguments(thread, call, None, None, self._forms)
            begun = _Open(self.document.call_began(self._known(thread), call.name, self._at(), raw), (), raw)
        at = self._at()
        refusal = result if isinstance(result, Errno) else None
        text = begun.text or arguments(thread, call, begun.args, result if isinstance(result, int) else None, self._forms)
        error = refusal.name if refusal is not None else ""
        self.document.call_ended(begun.row, at, text, _result(thread, call, result), error)
        if begun.args and call.call is not NOSYS:
            self._paths.call(thread, call, begun.args, result, self.document.duration(begun.row))
        if refusal is not None and call.name in _EXECS:
            self._refused(thread, call, begun, error, at)
        if thread.state is ThreadState.DEAD and not thread.proc.zombie and thread in self._threads:
            self.document.thread_ended(self._threads.pop(thread), at)

    def _refused(self, t: Thread, call: Bound, begun: _Open, error: str, at: int) -> None:
        path = next((value for value in begun.args if isinstance(value, bytes)), call.name.encode())
        self.document.executed(self._known(t), at, path, (path,), name=t.comm, error=error)

    # --- what else happens
    def exec(self, thread: Thread, plan: ExecPlan) -> None:
        """A new program; the other threads of the process are gone."""
        index = self._known(thread)
        at = self._at()
        for other in [t for t in self._threads if t.proc is thread.proc and t is not thread]:
            self._calls.pop(other, None)
            self.document.thread_ended(self._threads.pop(other), at)
        begun = self._calls.get(thread)
        self._systems[plan.personality.name] = None
        self.document.executed(
            index, at, plan.path, plan.argv, name=plan.comm, facts=_facts(plan), before=begun.before if begun is not None else None,
            after=spans(thread.proc.vm),
        )

    def wake(self, waker: Thread | None, woken: Thread) -> None:
        """A thread's doing ended the sleep of another one."""
        if waker is not None and waker is not woken and waker in self._threads and woken in self._threads:
            self.document.woke(self._threads[waker], self._threads[woken], self._at())

    def signal(self, thread: Thread, info: SigInfo, handled: bool) -> None:
        """A signal is taken."""
        how = " → handler" if handled else ""
        system = thread.proc.personality.signal_defaults
        text = f"{signal_name(info.signo, system.names)} {sig_info(info, system)}{how}"
        self.document.signalled(self._known(thread), self._at(), text)

    def policy(self, thread: Thread, decision: Decision) -> None:
        """A policy said no, or would have."""
        about = f" ({shown(decision.path)})" if decision.path else ""
        said = f"{decision.policy}, {decision.verdict}: {decision.missing} is missing{about}: {decision.call}"
        self.document.refused(self._known(thread), self._at(), said)


def spans(vm: VMSpace) -> Iterator[Span]:
    """The ranges of an address space."""
    for region in vm.regions:
        yield Span(region.start, region.length, region.prot, shown(region_name(vm, region)))


def ending(status: int, names: Mapping[int, str] = LINUX_DEFAULTS.names) -> str:
    """A wait status in words.

    >>> ending(0), ending(0x300), ending(11 | 0x80)
    ('exited with 0', 'exited with 3', 'killed by SIGSEGV (core dumped)')
    """
    signo = status & 0x7F
    if signo:
        return f"killed by {signal_name(signo, names)}" + (" (core dumped)" if status & 0x80 else "")
    return f"exited with {status >> 8 & 0xFF}"


def _facts(plan: ExecPlan) -> list[tuple[str, str | bytes]]:
    facts: list[tuple[str, str | bytes]] = [
        ("runs", plan.exe.path), ("format", f"{plan.format}, {plan.personality.name} {plan.arch.value}"),
    ]
    facts += [("script", name) for name in plan.script]
    if plan.interpreter is not None:
        facts.append(("interpreter", plan.interpreter.path))
    facts += [
        ("entry", f"{plan.entry:#x}"), ("starts at", f"{plan.start:#x}"),
        ("stack", f"{plan.stack.sp:#x}, {len(plan.envp)} variables"),
    ]
    if plan.closes:
        facts.append(("closes", ", ".join(map(str, plan.closes))))
    if plan.secure:
        facts.append(("secure", "yes: its ids or capabilities are not the caller's"))
    return facts


def _result(t: Thread, call: Bound, result: int | Errno | None) -> str:
    """What stands behind the equals sign."""
    if isinstance(result, Errno):
        return f"-1 {result.name}"
    if result is None:
        if t.state is ThreadState.DEAD:
            return "?"
        return "interrupted" if t.restart is not None else "0" if call.name in _EXECS else "does not return"
    if call.name in ADDRESSES:
        return hex(result)
    return f"0{result:o}" if call.name in OCTAL and result else str(int(result))
