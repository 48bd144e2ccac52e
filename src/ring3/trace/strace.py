"""What a program does, call by call, in the form strace(1) prints with -f.

A call is printed from its one declaration, when it begins as far as its arguments are known then, and to its end when it is over;
what another thread does in between comes on lines of its own (`<unfinished ...>`, `<... NAME resumed>`).  Invariant: at most
one line is open, that of `_owner`'s call.

Not here: how an argument looks (`calls/sysarg.py` and its neighbours).  Source: strace(1).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from ring3.abi.flags import OpenFlags
from ring3.abi.signals import signal_name
from ring3.abi.x86 import RAX
from ring3.calls.shown import sig_info, signal_set
from ring3.calls.sysarg import Descriptor, Kind, Octal, OpenFlagsKind, quote
from ring3.calls.syscall import NOSYS, Bound
from ring3.errors import Errno
from ring3.proc.proc import Proc, Restart, Thread, ThreadState
from ring3.protocols import Instrument

if TYPE_CHECKING:
    from ring3.abi.signals import SigInfo
    from ring3.exec.plan import ExecPlan
    from ring3.trace.filter import CallSet, SignalSet

COLUMN = 40             # where "= RESULT" stands
SHOWN = 32              # bytes of a string, and strings of a list
RESTARTS = (
    ("ERESTARTSYS", "To be restarted if SA_RESTART is set"),
    ("ERESTARTNOINTR", "To be restarted"),
    ("ERESTARTNOHAND", "To be restarted if no handler"),
    ("ERESTART_RESTARTBLOCK", "Interrupted by signal"),
)
ADDRESSES = frozenset({"brk", "mmap", "mmap2", "mremap", "shmat"})      # calls whose result is an address
OCTAL = frozenset({"umask"})
DESCRIPTORS = frozenset({           # calls whose result is a descriptor
    "open", "openat", "openat2", "creat", "dup", "dup2", "dup3", "socket", "accept", "accept4", "epoll_create", "epoll_create1",
    "eventfd", "eventfd2", "memfd_create", "timerfd_create", "signalfd", "signalfd4", "pidfd_open", "kqueue", "kqueue1",
})


_LAST = frozenset({"exit", "exit_group", "_lwp_exit"})      # nothing can be asked of whoever made them
_MAKES = int(OpenFlags.CREAT | OpenFlags.TMPFILE)       # flags whose file has a mode


def _nothing() -> None:
    """Whoever writes needs no flush."""


class _Call:
    """A call that began: its declaration and arguments, and how many of them were printed then."""

    __slots__ = ("args", "began", "behind", "call", "shown")

    def __init__(self, call: Bound, args: tuple[Any, ...], shown: int, began: int = 0) -> None:
        self.began = began
        self.behind = ""            # what stands behind its line, where that cannot be asked any more at its end
        self.call = call
        self.args = args
        self.shown = shown


class _Form:
    """What is known of a call's lines from its declaration, found out once.

    `shows` print the arguments that are known when it begins (None: not one by one), `shown` is how many those are, `flags_at`
    where flags stand that say whether the last argument means anything (-1: nowhere).
    """

    __slots__ = ("flags_at", "head", "name", "shown", "shows")

    def __init__(self, call: Bound, *, one_by_one: bool) -> None:
        kinds = list(call.call.kinds.values())
        self.name = call.name
        self.head = f"{call.name}("
        self.flags_at = next((
            index for index, kind in enumerate(kinds[:-1])
            if isinstance(kind, OpenFlagsKind) and isinstance(kinds[index + 1], Octal)
        ), -1)
        self.shown = next((index for index, kind in enumerate(kinds) if _fills(kind)), len(kinds))
        known = kinds[: self.shown]
        is_simple = one_by_one and all(type(kind).show_beside is Kind.show_beside for kind in known)
        self.shows = [kind.show for kind in known] if is_simple else None

    def meant(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Those arguments that mean anything: a mode behind flags that make no file does not."""
        at = self.flags_at
        return args if at < 0 or int(args[at]) & _MAKES else args[: at + 1]


class Style(NamedTuple):
    """What is printed, and how (strace's options).

    `calls`, `signals`: those shown; None: all.  `status`: only calls that ended "failed" or "successful", on one line each.
    `clock`: "t" time of day, "tt" with microseconds, "ttt" seconds since the epoch, "r" since the line before.  `took`: how long
    each call took.  `paths`: descriptors with what they are.  `after` is called behind the line of each call.
    """

    calls: CallSet | None = None
    signals: SignalSet | None = None
    status: str = ""
    clock: str = ""
    took: bool = False
    paths: bool = False
    after: Callable[[Thread], str] | None = None


PLAIN = Style()


class Strace(Instrument):
    """Prints through `write`, a piece at a time; `flush` is called when the begin of a call stands there and its end does not."""

    def __init__(
        self, write: Callable[[str], object], flush: Callable[[], object] = _nothing, style: Style = PLAIN
    ) -> None:
        self._write = write
        self._flush = flush
        self._style = style
        self._last = 0.0
        self._forms: dict[Bound, _Form] = {}
        self._threads: dict[Thread, None] = {}      # those that are known to live
        self._calls: dict[Thread, _Call] = {}
        self._held: dict[Thread, list[tuple[SigInfo, bool]]] = {}   # signals that came in a call, and whether it slept then
        self._owner: Thread | None = None           # whose call the open line belongs to
        self._column = 0

    # --- lines
    def _put(self, text: str) -> None:
        self._column += len(text)
        self._write(text)

    def _start(self, t: Thread) -> None:
        """Begin a line about `t`; an open one is left unfinished."""
        if self._owner is not None:
            self._write(" <unfinished ...>\n")
            self._owner = None
        self._column = 0
        self._threads[t] = None
        if len(self._threads) > 1:
            self._put(f"[pid {t.tid:5}] ")
        if self._style.clock:
            self._put(self._time())

    def _time(self) -> str:
        now = time.time()
        clock, last = self._style.clock, self._last or now
        self._last = now
        if clock == "r":
            return f"{now - last:12.6f} "
        if clock == "ttt":
            return f"{now:.6f} "
        day = time.strftime("%H:%M:%S", time.localtime(now))
        return f"{day} " if clock == "t" else f"{day}.{int(now % 1 * 1e6):06} "

    def _line(self, t: Thread, text: str) -> None:
        self._start(t)
        self._write(text + "\n")

    def _end(self, t: Thread, rest: str, result: str) -> None:
        """The end of `t`'s call, on its open line or on a new one."""
        name = self._calls[t].call.name
        if self._owner is not t:
            self._start(t)
            self._put(f"<... {name} resumed>")
        self._owner = None
        begun = self._calls.pop(t)
        rest += ") "
        room = " " * (COLUMN - self._column - len(rest))
        took = f" <{(t.system.now_ns() - begun.began) / 1e9:.6f}>" if self._style.took else ""
        self._write(f"{rest}{room}= {result}{took}\n")
        if self._style.after is not None:
            self._write(begun.behind or self._style.after(t))

    # --- calls
    def syscall_enter(self, thread: Thread, call: Bound, args: tuple[Any, ...]) -> None:
        """Print what is known at the beginning."""
        style = self._style
        if style.calls is not None and not style.calls.has(call):
            return
        began = thread.system.now_ns() if style.took else 0
        if call.call is NOSYS:
            parts = [hex(word) for word in _raw(thread, call)]
            shown, head = len(parts), f"{call.name}("
            args = ()
        else:
            form = self._forms.get(call)
            if form is None:
                form = self._forms[call] = _Form(call, one_by_one=not style.paths)
            args, head = form.meant(args), form.head
            shown = min(form.shown, len(args))
            parts = [] if style.status else self._known(thread, call, form, args[:shown], args)
        if style.status:
            self._calls[thread] = _Call(call, args, 0, began)
            return
        self._calls[thread] = begun = _Call(call, args, shown, began)
        if style.after is not None and call.name in _LAST:
            begun.behind = style.after(thread)
        self._start(thread)
        self._owner = thread
        text = head + ", ".join(parts) + (", " if parts and shown < len(args) else "")
        self._column += len(text)
        self._write(text)
        self._flush()

    def _known(self, t: Thread, call: Bound, form: _Form, known: tuple[Any, ...], args: tuple[Any, ...]) -> list[str]:
        """The arguments that are known when a call begins."""
        if form.shows is not None:
            try:
                return [show(t, value) for show, value in zip(form.shows, known, strict=False)]
            except Errno:
                pass            # the guest takes its memory away: one by one, with a question mark
        return self._show(t, call, args, range(len(known)), None)

    def syscall_exit(self, thread: Thread, call: Bound, args: tuple[Any, ...] | None, result: int | Errno | None) -> None:
        """Print the rest and the result."""
        if args is None:
            self._undecoded(thread, call, result)
            return
        begun = self._calls.get(thread)
        if begun is None:           # the end of the process has said so already, or nobody asked
            return
        if self._style.status:
            if not self._is_meant(result):
                del self._calls[thread]
                return
            self._start(thread)
            self._owner = thread
            self._put(f"{call.name}(")
        rest: list[str] = []
        if begun.shown < len(begun.args):
            filled = result if isinstance(result, int) else None
            rest = self._show(thread, call, begun.args, range(begun.shown, len(begun.args)), filled)
        if call.name.endswith("sigreturn") and result is None:
            rest = [f"{{mask={signal_set(thread.sigmask)}}}"]
        self._end(thread, ", ".join(rest), self._result(thread, call, result))
        self._release(thread)
        if thread.state is ThreadState.DEAD and not thread.proc.zombie:
            self._gone(thread, f"exited with {args[0] & 0xFF if args else 0}")

    def _is_meant(self, result: int | Errno | None) -> bool:
        return isinstance(result, Errno) == (self._style.status == "failed")

    def _show(self, t: Thread, call: Bound, args: tuple[Any, ...], which: Iterable[int], result: int | None) -> list[str]:
        """Some arguments as text, descriptors with their paths where those are wanted."""
        if not self._style.paths:
            return _show(t, call, args, which, result)
        which = tuple(which)
        kinds = list(call.call.kinds.values())
        texts = _show(t, call, args, which, result)
        return [
            text + path_of(t, args[index]) if isinstance(kinds[index], Descriptor) else text
            for index, text in zip(which, texts, strict=True)
        ]

    def _result(self, t: Thread, call: Bound, result: int | Errno | None) -> str:
        text = _result(t, call, result)
        if self._style.paths and call.name in DESCRIPTORS and isinstance(result, int):
            return text + path_of(t, result)
        return text

    def _undecoded(self, t: Thread, call: Bound, result: int | Errno | None) -> None:
        """A call with an argument that could not be read: that one as a number."""
        style = self._style
        if (style.calls is not None and not style.calls.has(call)) or (style.status and not self._is_meant(result)):
            return
        parts, values = [], []
        kinds = call.call.kinds.values()
        for kind, (decoder, register, _) in zip(kinds, call.decoders, strict=True):
            word = value = t.cpu.regs[register] & call.abi.word_mask
            try:
                value = decoder(t, word)
                parts.append(kind.show(t, value))
            except Errno:
                parts.append(hex(word) if word else "NULL")
            values.append(value)
        parts = parts[: len(_Form(call, one_by_one=False).meant(tuple(values)))]
        self._start(t)
        self._calls[t] = _Call(call, (), 0, t.system.now_ns())
        self._owner = t
        self._put(f"{call.name}(")
        self._end(t, ", ".join(parts), _result(t, call, result))

    # --- everything else
    def signal(self, thread: Thread, info: SigInfo, handled: bool) -> None:
        """A signal; one that comes in the middle of a call is printed behind it."""
        if self._style.signals is not None and not self._style.signals.has(info.signo):
            return
        if thread in self._calls:
            self._held.setdefault(thread, []).append((info, thread.state is ThreadState.SLEEPING))
        else:
            self._signal(thread, info)

    def _signal(self, t: Thread, info: SigInfo) -> None:
        self._line(t, f"--- {signal_name(info.signo)} {sig_info(info)} ---")
        if self._style.after is not None:
            self._write(self._style.after(t))

    def _release(self, t: Thread) -> None:
        for info, _ in self._held.pop(t, ()):
            self._signal(t, info)

    def fork(self, parent: Thread, child: Thread) -> None:
        """From now on there are two."""
        self._threads[parent] = self._threads[child] = None

    def exec(self, thread: Thread, plan: ExecPlan) -> None:
        """The first program of a process begins with a line; threads that an exec ends are named."""
        for other in [t for t in self._threads if t.proc is thread.proc and t is not thread]:
            self._calls.pop(other, None)
            self._gone(other, f"superseded by execve in pid {thread.tid}")
        if thread in self._calls or not self._shows_exec(thread):
            return
        path, argv = quote(plan.path[:SHOWN * 4], len(plan.path)), _strings(plan.argv)
        self._start(thread)
        text = f"execve({path}, {argv}, {plan.stack.env_start:#x} /* {len(plan.envp)} vars */) "
        self._put(text)
        self._write(" " * (COLUMN - self._column) + "= 0\n")

    def _shows_exec(self, t: Thread) -> bool:
        """Whether the exec of a first program, which no call made, would be among the calls that are shown."""
        calls = self._style.calls
        if self._style.status == "failed":
            return False
        if calls is None:
            return True
        number = next((number for number, name in t.abi.names.items() if name == "execve"), -1)
        row = t.abi.sysent.get(number)
        if row is None and number >= 0:
            row = t.abi.sysent[number]
        return row is None or calls.has(row)

    def exit(self, proc: Proc) -> None:
        """The end of a process: of each of its threads, the leader last."""
        status = proc.exit_status or 0
        signo = status & 0x7F
        if signo:
            how = f"killed by {signal_name(signo)}" + (" (core dumped)" if status & 0x80 else "")
        else:
            how = f"exited with {status >> 8 & 0xFF}"
        ending = [t for t in self._threads if t.proc is proc]
        for t in sorted(ending, key=lambda t: t.tid == proc.pid):
            if t in self._calls:
                if self._style.status:
                    del self._calls[t]
                else:
                    self._break_off(t)
            self._gone(t, how)

    def _break_off(self, t: Thread) -> None:
        """The end of a call that its thread did not outlive."""
        held = self._held.get(t, ())
        result = "?"
        if any(asleep for _, asleep in held):
            result = _named(RESTARTS[0])
        elif held:
            result = "0"            # it sent the signal itself
        begun = self._calls[t]
        rest = ["..."] if begun.shown < len(begun.args) else []
        self._end(t, ", ".join(rest), result)
        self._release(t)

    def _gone(self, t: Thread, how: str) -> None:
        self._line(t, f"+++ {how} +++")
        self._threads.pop(t, None)
        self._held.pop(t, None)


def path_of(t: Thread, fd: int) -> str:
    """What a descriptor is, between angle brackets; nothing for one that is closed."""
    file = t.fds.files.get(fd)
    if file is None:
        return ""
    name = file.dentry.path(t.system.mounts.root) if file.dentry is not None else file.label
    return f"<{quote(name, None)[1:-1]}>"


def _fills(kind: Kind) -> bool:
    """Whether the call fills the argument in, so that its end is waited for."""
    if not getattr(kind, "out", True):
        return False
    cls = type(kind)
    return cls.show_result is not Kind.show_result or cls.show_result_beside is not Kind.show_result_beside


def _show(t: Thread, call: Bound, args: tuple[Any, ...], which: Iterable[int], result: int | None) -> list[str]:
    """Some arguments as text; `result`, of a call that succeeded, shows what it filled in.

    What the guest took away meanwhile is a question mark.
    """
    kinds = list(call.call.kinds.values())
    shown = []
    for index in which:
        kind, value = kinds[index], args[index]
        behind = args[index + 1] if index + 1 < len(args) else None
        try:
            text = kind.show_result_beside(t, value, behind, result) if result is not None else None
            shown.append(kind.show_beside(t, value, behind) if text is None else text)
        except Errno:
            shown.append("?")
    return shown


def _raw(t: Thread, call: Bound) -> list[int]:
    return [t.cpu.regs[register] & call.abi.word_mask for register in call.abi.argument_registers]


def _strings(strings: tuple[bytes, ...]) -> str:
    shown = ", ".join(quote(text[:SHOWN], len(text)) for text in strings[:SHOWN])
    return f"[{shown}{', ...' if len(strings) > SHOWN else ''}]"


def _named(row: tuple[str, str]) -> str:
    return f"? {row[0]} ({row[1]})"


def _refusal(error: type[Errno]) -> str:
    return f"-1 {error.__name__} ({(error.__doc__ or '').rstrip('.')})"


def _result(t: Thread, call: Bound, result: int | Errno | None) -> str:
    """What stands behind the equals sign."""
    if isinstance(result, Errno):
        return _refusal(type(result))
    if result is None:
        if t.state is ThreadState.DEAD:
            return "?"
        if t.restart is not None:
            return _named(RESTARTS[_restart_row(t.restart)])
        result = t.cpu.regs[RAX]            # the call set its registers itself
        result -= result >> 63 << 64
        if -4096 < result < 0:
            found = next((error for error, number in call.abi.errno.items() if number == -result), None)
            return _refusal(found) if found is not None else str(result)
    if call.name in ADDRESSES:
        return hex(result)
    return f"0{result:o}" if call.name in OCTAL and result else str(int(result))


def _restart_row(restart: Restart) -> int:
    if restart.always:
        return 1
    if restart.resume is not None:
        return 3
    return 2 if restart.no_handler_only else 0
