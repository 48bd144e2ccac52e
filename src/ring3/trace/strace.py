"""What a program does, call by call, in the form strace(1) prints with -f.

A call is printed from its one declaration, when it begins as far as its arguments are known then, and to its end when it is over;
what another thread does in between comes on lines of its own (`<unfinished ...>`, `<... NAME resumed>`).  Invariant: at most
one line is open, that of `_owner`'s call.

Not here: how an argument looks (`calls/sysarg.py` and its neighbours).  Source: strace(1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ring3.abi.flags import OpenFlags
from ring3.abi.signals import signal_name
from ring3.abi.x86 import RAX
from ring3.calls.shown import sig_info, signal_set
from ring3.calls.sysarg import Kind, Octal, OpenFlagsKind, quote
from ring3.calls.syscall import NOSYS, Bound
from ring3.errors import Errno
from ring3.proc.proc import Proc, Restart, Thread, ThreadState
from ring3.protocols import Instrument

if TYPE_CHECKING:
    from ring3.abi.signals import SigInfo
    from ring3.exec.plan import ExecPlan

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


def _nothing() -> None:
    """Whoever writes needs no flush."""


class _Call:
    """A call that began: its declaration and arguments, and how many of them were printed then."""

    __slots__ = ("args", "call", "shown")

    def __init__(self, call: Bound, args: tuple[Any, ...], shown: int) -> None:
        self.call = call
        self.args = args
        self.shown = shown


class Strace(Instrument):
    """Prints through `write`, a piece at a time; `flush` is called when the begin of a call stands there and its end does not."""

    def __init__(self, write: Callable[[str], object], flush: Callable[[], object] = _nothing) -> None:
        self._write = write
        self._flush = flush
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
        del self._calls[t]
        self._put(rest + ") ")
        self._write(" " * (COLUMN - self._column) + f"= {result}\n")

    # --- calls
    def syscall_enter(self, thread: Thread, call: Bound, args: tuple[Any, ...]) -> None:
        """Print what is known at the beginning."""
        if call.call is NOSYS:
            parts = [hex(word) for word in _raw(thread, call)]
            shown = len(parts)
        else:
            args = args[: _meant(call, args)]
            kinds = list(call.call.kinds.values())[: len(args)]
            shown = next((index for index, kind in enumerate(kinds) if _fills(kind)), len(kinds))
            parts = _show(thread, call, args, range(shown), None)
        self._start(thread)
        self._owner = thread
        self._calls[thread] = _Call(call, args, shown)
        behind = ", " if parts and shown < len(args) else ""
        self._put(f"{call.name}({', '.join(parts)}{behind}")
        self._flush()

    def syscall_exit(self, thread: Thread, call: Bound, args: tuple[Any, ...] | None, result: int | Errno | None) -> None:
        """Print the rest and the result."""
        if args is None:
            self._undecoded(thread, call, result)
            return
        begun = self._calls.get(thread)
        if begun is None:           # the end of the process has said so already
            return
        filled = result if isinstance(result, int) else None
        rest = _show(thread, call, begun.args, range(begun.shown, len(begun.args)), filled)
        if call.name.endswith("sigreturn") and result is None:
            rest = [f"{{mask={signal_set(thread.sigmask)}}}"]
        self._end(thread, ", ".join(rest), _result(thread, call, result))
        self._release(thread)
        if thread.state is ThreadState.DEAD and not thread.proc.zombie:
            self._gone(thread, f"exited with {args[0] & 0xFF if args else 0}")

    def _undecoded(self, t: Thread, call: Bound, result: int | Errno | None) -> None:
        """A call with an argument that could not be read: that one as a number."""
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
        parts = parts[: _meant(call, tuple(values))]
        self._start(t)
        self._calls[t] = _Call(call, (), 0)
        self._owner = t
        self._put(f"{call.name}(")
        self._end(t, ", ".join(parts), _result(t, call, result))

    # --- everything else
    def signal(self, thread: Thread, info: SigInfo, handled: bool) -> None:
        """A signal; one that comes in the middle of a call is printed behind it."""
        if thread in self._calls:
            self._held.setdefault(thread, []).append((info, thread.state is ThreadState.SLEEPING))
        else:
            self._line(thread, f"--- {signal_name(info.signo)} {sig_info(info)} ---")

    def _release(self, t: Thread) -> None:
        for info, _ in self._held.pop(t, ()):
            self._line(t, f"--- {signal_name(info.signo)} {sig_info(info)} ---")

    def fork(self, parent: Thread, child: Thread) -> None:
        """From now on there are two."""
        self._threads[parent] = self._threads[child] = None

    def exec(self, thread: Thread, plan: ExecPlan) -> None:
        """The first program of a process begins with a line; threads that an exec ends are named."""
        for other in [t for t in self._threads if t.proc is thread.proc and t is not thread]:
            self._calls.pop(other, None)
            self._gone(other, f"superseded by execve in pid {thread.tid}")
        if thread in self._calls:
            return
        path, argv = quote(plan.path[:SHOWN * 4], len(plan.path)), _strings(plan.argv)
        self._start(thread)
        text = f"execve({path}, {argv}, {plan.stack.env_start:#x} /* {len(plan.envp)} vars */) "
        self._put(text)
        self._write(" " * (COLUMN - self._column) + "= 0\n")

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


def _meant(call: Bound, args: tuple[Any, ...]) -> int:
    """How many arguments mean anything: a mode behind flags that make no file does not."""
    kinds = list(call.call.kinds.values())
    for index, kind in enumerate(kinds[:-1]):
        if isinstance(kind, OpenFlagsKind) and isinstance(kinds[index + 1], Octal):
            makes = args[index] & (OpenFlags.CREAT | OpenFlags.TMPFILE)
            return len(args) if makes else index + 1
    return len(args)


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
