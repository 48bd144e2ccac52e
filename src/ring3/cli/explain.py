"""`ring3 explain`: what an exec would do and why, without doing it.

A kernel is made on a machine that stands still, so that neither ptrace nor a stub process is needed.  Not here: what
is said (`trace/explain/`).
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ring3.cli import FAILED, columns, complain, guest, policy, say, say_help
from ring3.cli.options import HELP, Option, UsageError, describe, parse

if TYPE_CHECKING:
    from ring3.proc.system import System
    from ring3.trace.explain import Explanation

WOULD_RUN: Final = 0
WOULD_NOT: Final = 1
_USAGE: Final = "ring3 explain [OPTION]... [--] PROGRAM [ARG]..."

OPTIONS: Final = (
    Option("--as", "SYSTEM[,SYSTEM]", "whose program asks: linux (default), netbsd, serenity; several are compared"),
    *guest.WORLD,
    guest.USER,
    *policy.OPTIONS,
    Option("--all", "", "show everything: every directory of a path, every string, every pointer"),
    Option("--json", "", "print it for programs"),
    Option("--html", "FILE", "write one self-contained page to FILE (-: standard output)"),
)

_HELP: Final = f"""\
{_USAGE}

Say what would happen if PROGRAM were executed, and why: each look-up, each check, each format, and what would be built.  When it
would fail: the reason, and what would help.  Nothing is executed.

{describe(OPTIONS)}
Status: {WOULD_RUN} PROGRAM would run, {WOULD_NOT} it would not, {FAILED} ring3 itself failed.
"""


def main(words: Sequence[str]) -> int:
    """Explain it; the exit status."""
    gc.disable()                # nothing that is built here is garbage
    try:
        values, program = parse(OPTIONS, words)
        if HELP in values:
            say_help(_HELP)
            return 0
        if not program:
            raise UsageError(f"which program?  {_USAGE}")
        return _explain(values, program)
    except UsageError as error:
        complain(f"{error}\n       ring3 explain --help has all options")
    except BrokenPipeError:
        return FAILED           # whoever read it has seen enough
    except OSError as error:
        complain(guest.say(error))
    return FAILED


def _explain(values: dict[str, Any], program: list[str]) -> int:
    from ring3.boot import boot, shut_down
    from ring3.cli.diagnosis import ask

    if values.get("--html") == "-" and "--json" in values:
        raise UsageError("--html -: standard output is --json's already")
    if any("\0" in word for word in program):
        raise UsageError("a word of a command line holds no zero byte")
    options = guest.boot_options(values)
    system = boot(options, still=True)
    try:
        explanations = [ask(system, name, values, program) for name in _systems(system, values.get("--as", "linux"))]
    finally:
        shut_down(system)
    if "--html" in values:
        _write_page(values["--html"], explanations)
    if "--json" in values:
        from ring3.trace.explain.asjson import dumps

        say(dumps(explanations), "utf-8")
    elif "--html" not in values:
        say(_as_text(explanations, everything="--all" in values))
    return WOULD_RUN if all(explanation.outcome == "runs" for explanation in explanations) else WOULD_NOT


def _systems(system: System, text: str) -> list[str]:
    """The personalities asked for.  Raises UsageError for one that is not there."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in system.personalities:
            there = ", ".join(system.personalities)
            raise UsageError(f"--as {text}: there is no system {name!r}; there are: {there}")
    if len(set(names)) != len(names):
        raise UsageError(f"--as {text}: name each system once")
    return names


def _as_text(explanations: list[Explanation], *, everything: bool) -> str:
    from ring3.trace.explain.page import PIPE_WIDTH

    width, colour = PIPE_WIDTH, False
    if sys.stdout is not None and sys.stdout.isatty():
        width = columns() or PIPE_WIDTH
        colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    if len(explanations) > 1:
        from ring3.trace.explain.compare import compare

        return compare(explanations, width, colour=colour)
    from ring3.trace.explain.text import render

    return render(explanations[0], width, colour=colour, everything=everything)


def _write_page(path: str, explanations: list[Explanation]) -> None:
    from ring3.trace.explain.ashtml import page

    text = page(explanations)
    if path == "-":
        say(text, "utf-8")
        return
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}, so the page cannot be written there", path) from None
