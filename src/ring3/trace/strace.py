"""What a program does, call by call, in the form strace(1) prints with -f.

A call is printed from its one declaration, when it begins as far as its arguments are known then, and to its end when it is over;
what another thread does in between comes on lines of its own (`<unfinished ...>`, `<... NAME resumed>`).  Invariant: at most
one line is open, that of `_owner`'s call.

Not here: how an argument looks (`calls/sysarg.py` and its neighbours).  Source: strace(1).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ring3.abi.signals import Signal, signal_name
from ring3.abi.x86 import RAX
from ring3.calls.interpose import marks_of
from ring3.calls.shown import sig_info, signal_set
from ring3.calls.sysarg import Descriptor, quote
from ring3.calls.syscall import NOSYS, Bound
from ring3.errors import Errno
from ring3.namedtuple import NamedTuple
from ring3.proc.proc import Proc, Restart, Thread, ThreadState
from ring3.protocols import Instrument
from ring3.trace.form import Form, Forms, path_of, values

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
ADDRESSES = frozenset({"allocate_tls", "brk", "map_time_page", "mmap", "mmap2", "mremap", "shmat"})   # calls whose result is one
OCTAL = frozenset({"umask"})
DESCRIPTORS = frozenset({           # calls whose result is a descriptor
    "open", "openat", "openat2", "creat", "dup", "dup2", "dup3", "socket", "accept", "accept4", "epoll_create", "epoll_create1",
    "eventfd", "eventfd2", "memfd_create", "timerfd_create", "signalfd", "signalfd4", "pidfd_open", "kqueue", "kqueue1",
})


_LAST = frozenset({"exit", "exit_group", "_lwp_exit"})      # nothing can be asked of whoever made them


def _nothing() -> None:
    """Whoever writes needs no flush."""


class _Call:
    """A call that began: its form and arguments."""

    __slots__ = ("args", "began", "behind", "call", "form")

    def __init__(self, call: Bound, form: Form, args: tuple[Any, ...], began: int = 0) -> None:
        self.began = began
        self.behind = ""            # what stands behind its line, where that cannot be asked any more at its end
        self.call = call
        self.form = form
        self.args = args


class Style(NamedTuple):
    """What is printed, and how (strace's options).

    `calls`, `signals`: those shown; None: all.  `status`: only calls that ended "failed" or "successful", on one line each.
    `clock`: "t" time of day, "tt" with microseconds, "ttt" seconds since the epoch, "r" since the line before.  `took`: how long
    each call took.  `paths`: descriptors with what they are.  `after` is called behind the line of each call.  `touches`: only
    calls with one of these paths, or with a descriptor of one (none: all).  `column`: where results stand.  `numbered`: each line
    begins with the thread's number, as strace has it in files.  `quiet`: no line about an end; `replaced`: lines about threads
    that an exec ended.
    """

    calls: CallSet | None = None
    signals: SignalSet | None = None
    status: str = ""
    clock: str = ""
    took: bool = False
    paths: bool = False
    after: Callable[[Thread], str] | None = None
    touches: frozenset[bytes] = frozenset()
    column: int = COLUMN
    numbered: bool = False
    quiet: bool = False
    replaced: bool = True


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
        self._forms = Forms(paths=style.paths)
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
        if self._style.numbered:
            self._put(f"{t.tid:<5} ")
        elif len(self._threads) > 1:
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
        begun = self._calls.pop(t)
        if self._owner is not t:
            self._start(t)
            self._put(f"<... {begun.call.name} resumed>")
        self._owner = None
        rest += ") "
        room = " " * (self._style.column - self._column - len(rest))
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
        if style.touches and not self._touches(thread, call, args):
            return
        began = thread.system.now_ns() if style.took else 0
        if call.call is NOSYS:
            args = values(thread, call, args)
        form = self._forms.of(call, args)
        self._calls[thread] = begun = _Call(call, form, args, began)
        if style.status:
            return
        if style.after is not None and call.name in _LAST:
            begun.behind = style.after(thread)
        text = f"{form.head}{', '.join(form.begin(thread, args))}{form.gap}"
        self._start(thread)
        self._owner = thread
        self._column += len(text)
        self._write(text)
        self._flush()

    def syscall_exit(self, thread: Thread, call: Bound, args: tuple[Any, ...] | None, result: int | Errno | None) -> None:
        """Print the rest and the result; a thread's last call, shown or not, is followed by its end."""
        if args is None:
            self._undecoded(thread, call, result)
            return
        begun = self._calls.get(thread)
        if begun is not None:       # else the end of the process has said so already, or nobody asked
            self._ended(thread, call, begun, result)
        if thread.state is ThreadState.DEAD and not thread.proc.zombie:
            self._gone(thread, f"exited with {args[0] & 0xFF if args else 0}")

    def _ended(self, thread: Thread, call: Bound, begun: _Call, result: int | Errno | None) -> None:
        form, first = begun.form, None
        if self._style.status:
            if not self._is_meant(result):
                del self._calls[thread]
                return
            self._start(thread)
            self._owner = thread
            self._put(form.head)
            first = 0
        rest = ""
        filled = result if isinstance(result, int) else None
        if first is not None or form.known < len(form.kinds):
            rest = ", ".join(form.end(thread, begun.args, filled, first))
        if result is None and call.name.endswith("sigreturn"):
            rest = f"{{mask={signal_set(thread.sigmask)}}}"
        if form.answer is not None and filled is not None:
            text = form.answer(thread, begun.args, filled)
        else:
            text = _result(thread, call, result)
            if self._style.paths and call.name in DESCRIPTORS and filled is not None:
                text += path_of(thread, filled)
        if result.__class__ is not int:
            text += _tampering(result)
        self._end(thread, rest, text)
        if self._held:
            self._release(thread)

    def _touches(self, t: Thread, call: Bound, args: tuple[Any, ...]) -> bool:
        """Whether an argument is one of the paths asked for, or a descriptor of one."""
        wanted = self._style.touches
        for kind, value in zip(call.call.kinds.values(), args, strict=False):
            if isinstance(value, bytes):
                if value in wanted:
                    return True
            elif isinstance(kind, Descriptor):
                file = t.fds.files.get(value)
                if file is not None and file.dentry is not None and file.dentry.path(t.system.mounts.root) in wanted:
                    return True
        return False

    def _is_meant(self, result: int | Errno | None) -> bool:
        return isinstance(result, Errno) == (self._style.status == "failed")

    def _undecoded(self, t: Thread, call: Bound, result: int | Errno | None) -> None:
        """A call with an argument that could not be read: that one as a number."""
        style = self._style
        if style.touches or (style.calls is not None and not style.calls.has(call)):
            return
        if style.status and not self._is_meant(result):
            return
        decoded: list[Any] = []
        bad: set[int] = set()
        for place, (decoder, register, _) in enumerate(call.decoders):
            word = t.cpu.regs[register] & call.abi.word_mask
            try:
                decoded.append(decoder(t, word))
            except Errno:
                decoded.append(word)
                bad.add(place)
        form = self._forms.of(call, decoded)
        parts = form.partly(t, decoded, bad)
        self._start(t)
        self._calls[t] = _Call(call, form, (), t.system.now_ns())
        self._owner = t
        self._put(form.head)
        self._end(t, ", ".join(parts), _result(t, call, result) + _tampering(result))

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
        system = t.proc.personality.signal_defaults
        self._line(t, f"--- {signal_name(info.signo, system.names)} {sig_info(info, system)} ---")
        if info.signo == Signal.SIGSTOP:
            self._line(t, "--- stopped by SIGSTOP ---")
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
            self._gone(other, None if not self._style.replaced else f"superseded by execve in pid {thread.tid}")
        if thread in self._calls or not self._shows_exec(thread) or (self._style.touches and plan.path not in self._style.touches):
            return
        path = quote(plan.path[:SHOWN * 4], len(plan.path))
        argv = _strings(plan.asked or plan.argv, thread.system.shown_bytes)
        self._start(thread)
        text = f"execve({path}, {argv}, {plan.stack.env_start:#x} /* {len(plan.envp)} var{'' if len(plan.envp) == 1 else 's'} */) "
        self._put(text)
        self._write(" " * (self._style.column - self._column) + "= 0\n")

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
            name = signal_name(signo, proc.personality.signal_defaults.names)
            how = f"killed by {name}" + (" (core dumped)" if status & 0x80 else "")
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
        result = _named(RESTARTS[0]) if any(asleep for _, asleep in self._held.get(t, ())) else "?"
        begun = self._calls[t]
        rest = ["..."] if begun.form.known < len(begun.form.kinds) else []
        self._end(t, ", ".join(rest), result)
        self._release(t)

    def _gone(self, t: Thread, how: str | None) -> None:
        """It ended, `how`; nothing is said of it where that is None."""
        if how is not None and not self._style.quiet:
            self._line(t, f"+++ {how} +++")
        self._threads.pop(t, None)
        self._held.pop(t, None)


def _strings(strings: tuple[bytes, ...], room: int) -> str:
    shown = ", ".join(quote(text[:room], len(text)) for text in strings[:SHOWN])
    return f"[{shown}{', ...' if len(strings) > SHOWN else ''}]"


def _tampering(result: int | Errno | None) -> str:
    """What stands behind a result that hooks had a part in."""
    marks = marks_of(result)
    what = "INJECTED: args, retval" if marks.memory and marks.result else "INJECTED: args" if marks.memory else "INJECTED"
    injected = f" ({what})" if marks.memory or marks.result else ""
    return f"{injected} (DELAYED)" if marks.delay else injected


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
