"""`ring3 learn`: run a program once, and print the smallest promises and unveil list that this run needed, ready to paste."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ring3.cli import guest, run
from ring3.cli.options import Option, describe
from ring3.cli.session import command, in_kernel

if TYPE_CHECKING:
    from ring3.kernel import Kernel
    from ring3.proc.system import System

_USAGE: Final = "ring3 learn [OPTION]... [--] PROGRAM [ARG]..."
OPTIONS: Final = (
    *guest.WORLD,
    guest.USER,
    guest.SYSTEM,
    run.TIMEOUT,
    Option("--exact", "", "name every file, never the directory of many"),
    Option("--output", "FILE", "write the command to FILE instead of standard error"),
)
_OWN: Final = ("--exact", "--output")       # what is about learning, not about the run
_HELP: Final = f"""\
{_USAGE}

Run PROGRAM as `ring3 run` does, then print the command that runs it under no more than it needed.
Another input may need more: run that command, and add what it says is refused.

{describe(OPTIONS)}
Status: the program's own, as with `ring3 run`.
"""


def main(words: Sequence[str]) -> int:
    """Run it; the exit status."""
    return command(words, OPTIONS, _HELP, lambda values, program: _learn(values, program, _kept(words, program)))


def _kept(words: Sequence[str], program: Sequence[str]) -> list[list[str]]:
    """The options among `words` that the run needs again, each with its value.  `words` were parsed already."""
    kept: list[list[str]] = []
    given = list(words[: len(words) - len(program)])
    while given and given[0] != "--":
        word = given.pop(0)
        name, equals, _ = word.partition("=")
        option = next(option for option in OPTIONS if option.name == name)
        whole = [word, given.pop(0)] if option.metavar and not equals else [word]
        if name not in _OWN:
            kept.append(whole)
    return kept


def _learn(values: dict[str, Any], program: list[str], options: list[list[str]]) -> int:
    from ring3.calls.gate import learning_gate
    from ring3.policy.confinement import Policy
    from ring3.policy.learning import Learner, command_line, unveil_list

    learner = Learner(learning_gate)
    commands: list[str] = []

    def at_end(kernel: Kernel) -> None:
        there = kernel.call(lambda system: {path for path in learner.veil.seen if _is_there(system, path)})
        unveils = unveil_list(learner.veil.seen, there.__contains__, made=learner.veil.made, exact="--exact" in values)
        commands.append(command_line(learner.needed(), unveils, program, options))

    status = in_kernel(values, program, spawn={"policy": Policy(learner=learner)}, at_end=at_end)
    for line in commands:
        _print(line + "\n", values.get("--output"))
    return status


def _is_there(system: System, path: bytes) -> bool:
    from ring3.errors import Errno
    from ring3.proc.cred import Cred
    from ring3.vfs.namei import NameiContext, namei

    root = system.mounts.root
    try:
        namei(NameiContext(root, root, Cred()), path, follow=False)
    except Errno:
        return False
    return True


def _print(text: str, where: str | None) -> None:
    if where is None:
        if sys.stderr is not None:
            with suppress(BrokenPipeError):     # nobody reads it
                sys.stderr.write(text)
                sys.stderr.flush()
        return
    try:
        with open(where, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}, so the command cannot be written there", where) from None
