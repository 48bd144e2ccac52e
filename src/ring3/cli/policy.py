"""What the user allows: `--pledge`, `--unveil` and their like, and what is said when a program asks for more."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ring3.cli.options import Option

if TYPE_CHECKING:
    from ring3.policy.confinement import Decision
    from ring3.policy.veriexec import VeriexecOptions
    from ring3.proc.proc import Proc

SHOWN: Final = 20               # refusals that are printed
HIDDEN: Final = 8               # hidden paths that are named at the end
LOG_BYTES: Final = 1 << 16      # of the kernel's log that are printed


def _promises(text: str) -> str:
    from ring3.policy.promises import PERMITS, parse

    try:
        parse(text)
    except ValueError as error:
        raise ValueError(str(error) if "did you mean" in str(error) else f"{error}; there are: {' '.join(PERMITS)}") from None
    return text


def _mode(text: str) -> str:
    from ring3.policy.confinement import MODES

    if text not in MODES:
        raise ValueError(f"write one of {', '.join(MODES)}")
    return text


def _unveil(text: str) -> str:
    from ring3.policy.confinement import parse_unveil

    try:
        parse_unveil(text)
    except ValueError as error:
        raise ValueError(str(error).partition(": ")[2]) from None
    return text


def _veriexec(text: str) -> VeriexecOptions:
    from ring3.policy.veriexec import parse_veriexec

    try:
        return parse_veriexec(text)
    except FileNotFoundError as error:
        raise ValueError(f"{error.strerror}; ring3 fingerprint DIR > FILE makes one") from None
    except OSError as error:
        raise ValueError(error.strerror) from None


OPTIONS: Final = (
    Option("--pledge", "PROMISES", 'hold it to these promises, such as "stdio rpath"  (docs/sandbox.md)', _promises),
    Option("--exec-pledge", "PROMISES", "what is left of them once it runs another program", _promises),
    Option("--pledge-mode", "MODE", "a broken promise: kill (default), eperm (the call fails), report (it goes on)", _mode),
    Option("--veriexec", "FILE[:LEVEL]",
           "run and open only what FILE vouches for; LEVEL: learning, ids (default), ips, lockdown", _veriexec),
    Option("--unveil", "PATH:RWXCB", "show only this path, to read, write, execute, create, browse", _unveil, many=True),
)


def spawn_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Kernel.spawn` that the options stand for."""
    return {
        "pledge": values.get("--pledge"),
        "exec_pledge": values.get("--exec-pledge"),
        "pledge_mode": values.get("--pledge-mode", "kill"),
        "unveil": values.get("--unveil") or None,
    }


def warnings(values: Mapping[str, Any]) -> list[str]:
    """What is doubtful about the policies asked for."""
    weak = values["--veriexec"].signatures.weak if "--veriexec" in values else ()
    return [f"{' and '.join(weak)} fingerprints can be forged; ring3 fingerprint makes better ones"] if weak else []


class Refusals:
    """Prints what policies refuse, each once; called on the kernel's thread.

    What is merely hidden is told at the end of a run that failed.
    """

    def __init__(self) -> None:
        self._said: set[tuple[object, ...]] = set()
        self._hidden: dict[str, None] = {}
        self._logged = 0

    def __call__(self, p: Proc, decision: Decision) -> None:
        """One decision of a policy."""
        if decision.verdict == "hidden":
            self._hidden[decision.allow] = None
            return
        fact = (decision.policy, decision.missing, decision.path or decision.call.partition("(")[0], p.comm)
        if fact in self._said:
            return
        self._said.add(fact)
        if len(self._said) <= SHOWN:
            name = f" ({_text(p.comm)})" if p.comm else ""       # a process without a program has none yet
            _write(f"ring3: pid {p.pid}{name}: {_say(decision)}\n")
        elif len(self._said) == SHOWN + 1:
            _write(f"ring3: more than {SHOWN} refusals: the others are not shown\n")

    def log(self, p: Proc, text: bytes) -> None:
        """Text a program wrote to the kernel's log; so much of a run, and no more."""
        if self._logged > LOG_BYTES:
            return
        self._logged += len(text)
        name = f" ({_text(p.comm)})" if p.comm else ""
        for line in text[:LOG_BYTES].rstrip(b"\n").split(b"\n"):
            _write(f"ring3: pid {p.pid}{name} logs: {_text(line)}\n")
        if self._logged > LOG_BYTES:
            _write(f"ring3: more than {LOG_BYTES >> 10} KiB in the kernel's log: no more is shown\n")

    def summary(self, status: int) -> None:
        """At the end: a program that failed may have missed what the veil hides."""
        if not status or not self._hidden:
            return
        names = list(self._hidden)
        more = f", and {len(names) - HIDDEN} more" if len(names) > HIDDEN else ""
        what, them = ("paths", "them") if names[1:] else ("path", "it")
        _write(f"ring3: it looked for {len(names)} hidden {what}{more}; to show {them}:\n")
        for name in names[:HIDDEN]:
            _write(f"         {_text(os.fsencode(name))}\n")


def _say(decision: Decision) -> str:
    if decision.policy == "pledge":
        words = '" or "'.join(decision.missing.split(" or "))
        what = f'pledge "{words}" is missing' if words else "no promise allows this"
    elif decision.policy == "unveil":
        what = f"{_text(decision.path or b'')} is not unveiled for {decision.missing}"
    elif decision.path is None:
        what = decision.missing
    else:
        what = f"{decision.policy}: {_text(decision.path)}: {_text(os.fsencode(decision.missing))}"
    done = {"killed": "ended by SIGABRT", "refused": "refused", "reported": "let pass"}.get(decision.verdict, decision.verdict)
    hint = f"; to allow it: {_text(os.fsencode(decision.allow))}" if decision.allow.startswith(("--", "ring3 ", "add ")) else ""
    return f"{what}: {decision.call}\n       {done}{hint}"


def _text(data: bytes) -> str:
    """A guest's bytes without anything a terminal would obey."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in data.decode(errors="backslashreplace"))


def _write(text: str) -> None:
    if sys.stderr is not None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            return              # nobody reads it
