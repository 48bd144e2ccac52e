"""What a kernel is doing now: its processes, how fast they call, what they use.  Facts (`look`), and their form as lines (`View`).

    >>> import ring3
    >>> from ring3.trace.top import View, look
    >>> with ring3.Kernel() as kernel, kernel.spawn(["sleep", "0.2"]):
    ...     print(View().lines(kernel.call(look), 80)[-1].split()[-2:])
    ['sleep', '0.2']

Rates need two looks; a `Counter` among the kernel's instruments tells whose calls they are.  Not here: terminals (`cli/top.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ring3.errors import Errno
from ring3.namedtuple import NamedTuple
from ring3.proc.cputime import process_ns
from ring3.proc.proc import ThreadState
from ring3.proc.procfs.maps import space_of
from ring3.proc.procfs.status import Subject, state_of, threads_of
from ring3.protocols import Instrument
from ring3.trace.explain.words import columns_of, quoted, shown
from ring3.trace.stats import counted

if TYPE_CHECKING:
    from ring3.proc.proc import Proc, Thread
    from ring3.proc.system import System

MEASURED: Final = 256           # processes whose memory is measured at one look: each is a file of the host's to read
_ARGUMENTS: Final = 512         # bytes of a command line
_HISTORY: Final = 240           # looks that the little curve remembers
_SECOND: Final = 1_000_000_000
_STATES: Final = (("R", "running"), ("S", "sleeping"), ("D", "waiting"), ("T", "stopped"), ("Z", "ended"))
_CURVE: Final = "▁▂▃▄▅▆▇█"


class Counter(Instrument):
    """Counts the calls of each process, and of each name."""

    def __init__(self) -> None:
        self.by_pid: dict[int, int] = {}
        self.by_name: dict[str, int] = {}

    def syscall_enter(self, thread: Any, call: Any, args: tuple[Any, ...]) -> None:
        """One more."""
        pid = thread.proc.pid
        self.by_pid[pid] = self.by_pid.get(pid, 0) + 1
        self.by_name[call.name] = self.by_name.get(call.name, 0) + 1

    def exit(self, proc: Any) -> None:
        """Its number may be given to another."""
        self.by_pid.pop(proc.pid, None)


class Row(NamedTuple):
    """One process.  `resident` and `calls` are None where they were not measured, `waits` is the call it sleeps in."""

    pid: int
    ppid: int
    uid: int
    state: str
    system: str
    threads: int
    cpu_ns: int
    resident: int | None
    calls: int | None
    command: str
    waits: str


class Look(NamedTuple):
    """One moment of a kernel.  `kernel_ns` is the CPU time of its own thread: decoding, answering, printing."""

    at_ns: int
    age_ns: int
    kernel_ns: int
    rows: tuple[Row, ...]
    served_calls: int
    ended_procs: int
    by_name: Mapping[str, int]


def look(system: System) -> Look:
    """The facts, on the kernel's thread: `kernel.call(look)`."""
    counter = next((i for i in system.instruments if isinstance(i, Counter)), None)
    rows: list[Row] = []
    for p in tuple(system.procs.values()):
        if p is not system.init:
            calls = counter.by_pid.get(p.pid, 0) if counter is not None else None
            rows.append(_row(p, calls, measured=len(rows) < MEASURED))
    now = system.now_ns()
    names = dict(counter.by_name) if counter is not None else {}
    return Look(now, now - system.boot_ns, time.thread_time_ns(), tuple(rows), system.served_calls, system.ended_procs, names)


def _row(p: Proc, calls: int | None, *, measured: bool) -> Row:
    vm = space_of(p)
    leader = p.threads.get(p.pid)
    state = state_of(Subject(p, leader, p.pid, whole=True))[:1].decode()
    if state in "SZ" and any(t.state is ThreadState.RUNNING for t in p.threads.values()):
        state = "R"             # the leader rests, another thread does not
    personality = getattr(p, "personality", None)
    return Row(
        pid=p.pid, ppid=p.parent.pid if p.parent is not None else 0, uid=p.cred.euid, state=state,
        system=personality.name if personality is not None else "", threads=threads_of(p),
        cpu_ns=p.usage.user_ns if p.zombie else process_ns(p),
        resident=vm.machine.resident() if vm is not None and measured else None,
        calls=calls, command=_command(p), waits=_waits(leader),
    )


def _command(p: Proc) -> str:
    vm = space_of(p)
    if vm is not None and vm.arg_start < vm.arg_end:
        try:
            kept = vm.kept
            text = vm.copyin(vm.arg_start, min(vm.arg_end - vm.arg_start, _ARGUMENTS)) if kept is None else b"\0".join(kept[0])
        except Errno:
            text = b""
        words = text.rstrip(b"\0").split(b"\0")
        if words != [b""]:
            return " ".join([quoted(words[0].rpartition(b"/")[2] or words[0]), *(quoted(word) for word in words[1:])])
    return f"[{shown(p.comm)}]"


def _waits(t: Thread | None) -> str:
    if t is None or t.state is not ThreadState.SLEEPING or not hasattr(t, "abi"):
        return ""
    return t.system.call_abi(t).names.get(t.call_number, "")


class Column(NamedTuple):
    """One column: its head, its width, its text, and what rows are sorted by (the largest first); `is_left` sets it to the left."""

    head: str
    width: int
    text: Callable[[Row, Rates], str]
    key: Callable[[Row, Rates], Any] | None = None
    is_left: bool = False


class Rates(NamedTuple):
    """What changed in the time between two looks."""

    seconds: float
    kernel: float                   # the kernel's own thread, in CPUs
    cpu: Mapping[int, float]        # per process, in CPUs
    calls: Mapping[int, float]      # per process and second
    all_calls: float
    names: Sequence[tuple[str, float]]      # the calls made most, and their share


def rates(before: Look | None, now: Look) -> Rates:
    """What happened since `before`; since the beginning, without one."""
    old = {row.pid: row for row in before.rows} if before is not None else {}
    seconds = max((now.at_ns - before.at_ns if before is not None else now.age_ns) / _SECOND, 1e-3)
    cpu, calls = {}, {}
    for row in now.rows:
        was = old.get(row.pid)
        cpu[row.pid] = max(row.cpu_ns - (was.cpu_ns if was is not None else 0), 0) / _SECOND / seconds
        if row.calls is not None:
            calls[row.pid] = max(row.calls - (was.calls or 0 if was is not None else 0), 0) / seconds
    made = now.served_calls - (before.served_calls if before is not None else 0)
    names = {name: count - (before.by_name.get(name, 0) if before is not None else 0) for name, count in now.by_name.items()}
    whole = max(sum(names.values()), 1)
    shares = sorted(((name, count / whole) for name, count in names.items() if count), key=lambda pair: (-pair[1], pair[0]))
    kernel = (now.kernel_ns - (before.kernel_ns if before is not None else 0)) / _SECOND / seconds
    return Rates(seconds, kernel, cpu, calls, made / seconds, shares)


COLUMNS: Final = (
    Column("PID", 5, lambda row, _: str(row.pid), lambda row, _: -row.pid),
    Column("PPID", 5, lambda row, _: str(row.ppid)),
    Column("UID", 5, lambda row, _: str(row.uid)),
    Column("S", 1, lambda row, _: row.state),
    Column("SYSTEM", 6, lambda row, _: row.system, is_left=True),
    Column("THR", 3, lambda row, _: str(row.threads)),
    Column("%CPU", 5, lambda row, now: f"{now.cpu[row.pid] * 100:.0f}",
           lambda row, now: (now.cpu[row.pid], now.calls.get(row.pid, 0), row.cpu_ns)),
    Column("TIME", 7, lambda row, _: clock(row.cpu_ns), lambda row, _: row.cpu_ns),
    Column("RSS", 6, lambda row, _: size(row.resident), lambda row, _: row.resident or 0),
    Column("CALLS/S", 7, lambda row, now: count(now.calls.get(row.pid)), lambda row, now: now.calls.get(row.pid, 0)),
)
SORTS: Final = {"cpu": 6, "calls": 9, "rss": 8, "time": 7, "pid": 0}      # by name, the column


class View:
    """The lines of a screen, look after look.  `title` names what runs; `sort` is a key of SORTS."""

    def __init__(self, title: str = "", sort: str = "cpu") -> None:
        self.title = title
        self.sort = sort
        self._before: Look | None = None
        self._now: Look | None = None
        self._history: list[float] = []

    def lines(self, now: Look, columns: int, rows: int | None = None) -> list[str]:
        """Three lines about everything, the head of the table, and the table, cut to `columns` and `rows`.

        Given the same look again (another size, another order), its rates stay what they were.
        """
        if now is not self._now:
            self._before, self._now = self._now, now
            if self._before is not None:
                self._history = [*self._history[1 - _HISTORY :], rates(self._before, now).all_calls]
        changed = rates(self._before, now)
        key = COLUMNS[SORTS[self.sort]].key
        assert key is not None
        table = sorted(now.rows, key=lambda row: (key(row, changed), -row.pid), reverse=True)
        lines = [*self._summary(now, changed, columns), self._head()]
        if rows is not None and len(table) > rows - len(lines):
            table = table[: max(rows - len(lines) - 1, 0)]
        lines += [_line(row, changed) for row in table]
        if len(table) < len(now.rows):
            lines.append(f"… and {len(now.rows) - len(table)} more")
        return [cut(line, columns) for line in lines]

    def _summary(self, now: Look, changed: Rates, columns: int) -> list[str]:
        states = [row.state for row in now.rows]
        parts = ", ".join(f"{number} {word}" for letter, word in _STATES if (number := states.count(letter))) or "none"
        threads = sum(row.threads for row in now.rows)
        alive = f"{counted(len(now.rows), 'process')} ({parts}), {counted(threads, 'thread')}"
        first = f"{clock(now.age_ns)}  {alive}; {now.ended_procs} gone"
        names = ", ".join(f"{name} {share:.0%}" for name, share in changed.names[:6])
        calls = f"{count(changed.all_calls)} calls/s, {count(now.served_calls)} in all" + (f": {names}" if names else "")
        resident = sum(row.resident or 0 for row in now.rows)
        third = f"CPU: programs {sum(changed.cpu.values()):.0%}, kernel {changed.kernel:.0%}; {size(resident)} resident"
        room = columns - len(third) - 12
        if room > 8 and self._history:
            third += f"   calls/s {curve(self._history[-room:])}"
        title = f"  {self.title}" if self.title else ""
        return [first + title, calls, third]

    @staticmethod
    def _head() -> str:
        return " ".join([_set(column, column.head) for column in COLUMNS]) + " COMMAND"


def _line(row: Row, now: Rates) -> str:
    waits = f"  ({row.waits})" if row.waits else ""
    return " ".join([_set(column, column.text(row, now)) for column in COLUMNS]) + f" {row.command}{waits}"


def _set(column: Column, text: str) -> str:
    return text.ljust(column.width) if column.is_left else text.rjust(column.width)


def clock(ns: int) -> str:
    """A time in at most seven columns.

    >>> clock(90_500_000_000), clock(1_230_000_000), clock(400 * 3600 * 10**9)
    ('1:30.5', '1.23s', '400h00')
    """
    seconds = ns / _SECOND
    if seconds < 60:
        return f"{seconds:.2f}s"
    if seconds < 6000:
        return f"{int(seconds) // 60}:{seconds % 60:04.1f}"
    return f"{int(seconds) // 3600}h{int(seconds) // 60 % 60:02}"


def count(number: float | None) -> str:
    """A number in at most six columns; a dash for what was not counted.

    >>> count(0), count(1234), count(123456), count(12_345_678), count(None)
    ('0', '1234', '123.5k', '12.3M', '-')
    """
    if number is None:
        return "-"
    if number < 10_000:
        return f"{number:.0f}"
    for unit, scale in (("k", 1e3), ("M", 1e6)):
        if number < 1000 * scale:
            return f"{number / scale:.1f}{unit}"
    return f"{number / 1e9:.1f}G"


def size(nbytes: int | None) -> str:
    """Bytes in at most six columns; a dash for what was not measured.

    >>> size(5000), size(300 << 20), size(None)
    ('4.9K', '300M', '-')
    """
    if nbytes is None:
        return "-"
    value, units = float(nbytes), iter("BKMGT")
    unit = next(units)
    while value >= 1000 and unit != "T":
        value, unit = value / 1024, next(units)
    return f"{value:.1f}{unit}" if value < 10 and unit != "B" else f"{value:.0f}{unit}"


def curve(values: Sequence[float]) -> str:
    """A line of little columns, the highest full.

    >>> curve([0, 1, 2, 4])
    '▁▂▄█'
    """
    most = max([*values, 1e-9])
    return "".join(_CURVE[min(int(value / most * 7), 7)] for value in values)


def cut(line: str, columns: int) -> str:
    """The line, as long as a terminal is wide.

    >>> cut("a long line", 7), cut("short", 7)
    ('a long…', 'short')
    """
    if columns_of(line) <= columns:
        return line
    kept, room = [], columns - 1
    for letter in line:
        room -= columns_of(letter)
        if room < 0:
            break
        kept.append(letter)
    return "".join(kept) + "…"
