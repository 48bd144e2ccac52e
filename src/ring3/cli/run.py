"""`ring3 run`: one program in a kernel of its own, behaving at this terminal as it would natively.

Not here: signals and job control while it runs (`signals.py`), why a program could not be started (`diagnosis.py`).
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO

from ring3.cli import FAILED, complain
from ring3.cli.options import HELP, Option, UsageError, describe, parse
from ring3.kernel import Kernel, parse_mount

if TYPE_CHECKING:
    from ring3.process import Process
    from ring3.protocols import Instrument

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
TIMED_OUT: Final = 124
_USAGE: Final = "ring3 run [OPTION]... [--] PROGRAM [ARG]..."


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError("write a whole number") from None


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1e9:
        raise ValueError("write a number of seconds above 0, such as 1.5")
    return value


def _variable(text: str) -> str:
    if not text.partition("=")[0]:
        raise ValueError("write NAME=VALUE, or NAME to take a variable away")
    return text


def _mount(text: str) -> Any:
    try:
        return parse_mount(text)
    except ValueError as error:
        raise ValueError(str(error).partition(": ")[2]) from None


OPTIONS: Final = (
    Option("--env", "NAME=VALUE", "set a variable; NAME alone takes it away", _variable, many=True),
    Option("--cwd", "DIR", "start in this directory of the guest"),
    Option("--mount", "HOST:GUEST[:MODE]", "show a host directory or file; MODE: ro (default), rw, cow (writes stay in memory)",
           _mount, many=True),
    Option("--root", "DIR", "host directory to show as / (writes stay in memory)"),
    Option("--seed", "N", "make addresses and random numbers repeatable", _number),
    Option("--timeout", "SECONDS", "kill the program after this long (status 124)", _seconds),
    Option("--stats", "", "at the end, say what was used and which calls were missing"),
    Option("--strace", "FILE", "print each system call, to standard error or to FILE", optional=True),
)

_HELP: Final = f"""\
{_USAGE}

Run PROGRAM in a kernel of its own.  It sees this machine's files; what it writes stays in memory.

{describe(OPTIONS)}
Status: the program's own; 128+N when signal N ended it; {TIMED_OUT} out of time, {FAILED} ring3 itself failed,
{NOT_EXECUTABLE} PROGRAM cannot be executed, {NOT_FOUND} PROGRAM is not there.
"""


def main(words: Sequence[str]) -> int:
    """Run it; the exit status."""
    try:
        values, program = parse(OPTIONS, words)
        if HELP in values:
            sys.stdout.write(_HELP)
            sys.stdout.flush()
            return 0
        if not program:
            raise UsageError(f"which program?  {_USAGE}")
    except UsageError as error:
        complain(f"{error}\n       ring3 run --help has all options")
        return FAILED
    gc.disable()                # until the program runs: nothing that is built meanwhile is garbage
    try:
        return _with_trace(values, program)
    except OSError as error:
        complain(_say(error))
    finally:
        gc.enable()
    return FAILED


def _with_trace(values: dict[str, Any], program: list[str]) -> int:
    where = values.get("--strace")
    if where is None:
        return _with_kernel(values, program, [])
    from ring3.trace.strace import Strace

    if not where:
        return _with_kernel(values, program, [Strace(_writer(sys.stderr))])
    try:
        file = open(where, "w", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115 - closed by `with` below
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}, so the trace cannot be written there", where) from None
    with file:
        return _with_kernel(values, program, [Strace(_writer(file))])


def _writer(file: TextIO | None) -> Callable[[str], object]:
    return file.write if file is not None else lambda _text: None


def _with_kernel(values: dict[str, Any], program: list[str], instruments: list[Instrument]) -> int:
    from ring3.calls.trap import KernelFault
    from ring3.cli.signals import Signals
    from ring3.machine.base import MachineUnavailable

    with Kernel(
        root=values.get("--root", "/"), mounts=values["--mount"], seed=values.get("--seed"), instruments=instruments
    ) as kernel, _Places(), Signals() as signals:
        try:
            process = _start(kernel, values, program)
            if isinstance(process, int):
                return process
            gc.freeze()         # what was built stays: the first collection need not walk all of it
            gc.enable()
            status = _wait(process, signals, values.get("--timeout"))
            if "--stats" in values:
                from ring3.trace.stats import summary

                _writer(sys.stderr)(kernel.call(summary))
        except MachineUnavailable as error:
            complain(str(error))
            return FAILED
        except KernelFault as fault:
            complain(f"a bug of ring3, not of the program: {fault}\n       {_cause(fault)}\n       Please report it.")
            return FAILED
        for instrument, failure in kernel.loop.instrument_failures:
            if not isinstance(failure, BrokenPipeError):
                complain(f"{type(instrument).__name__} was dropped, since it failed: {type(failure).__name__}: {failure}")
        return status


def _start(kernel: Kernel, values: dict[str, Any], program: list[str]) -> Process | int:
    """The started program, or the status that says why not."""
    cwd = values.get("--cwd")
    try:
        return kernel.spawn(
            program, cwd=cwd, env=_environment(values["--env"]), process_group=0 if os.getpgrp() == os.getpid() else None
        )
    except OSError as error:
        if error.filename is None or error.filename in (values.get("--root"), *(m.host for m in values["--mount"])):
            raise
        if error.filename == cwd:
            complain(f"--cwd {cwd}: {error.strerror} in the guest")
            return FAILED
        if error.filename != program[0]:
            raise
        from ring3.cli.diagnosis import diagnose

        complain(diagnose(kernel, program[0], error, cwd))
        return NOT_FOUND if isinstance(error, FileNotFoundError | NotADirectoryError) else NOT_EXECUTABLE


def _wait(process: Process, signals: Any, timeout: float | None) -> int:
    started = time.monotonic()
    if not signals.attend(process, None if timeout is None else started + timeout):
        process.kill()
        process.wait()
        complain(f"{process.args[0]}: killed after {timeout:g} s (--timeout)")
        return TIMED_OUT
    code = process.wait()
    return code if code >= 0 else 128 - code


def _environment(changes: list[str]) -> dict[str, str]:
    env = dict(os.environ)
    for change in changes:
        name, equals, value = change.partition("=")
        if equals:
            env[name] = value
        else:
            env.pop(name, None)
    return env


def _say(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename is not None else str(error.strerror or error)


def _cause(fault: BaseException) -> str:
    """The bug in one line: what was raised, and where."""
    cause = fault.__cause__ or fault
    at = cause.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    where = f" at {os.path.basename(at.tb_frame.f_code.co_filename)}:{at.tb_lineno}" if at is not None else ""
    return f"{type(cause).__name__}: {cause}{where}"


class _Places:
    """While the kernel runs, standard descriptors we were started without are taken: nothing of ours may get their numbers."""

    def __enter__(self) -> None:
        self._taken: list[int] = []
        while (fd := os.open("/dev/null", os.O_RDWR)) <= 2:
            self._taken.append(fd)
        os.close(fd)

    def __exit__(self, *exc: object) -> None:
        for fd in self._taken:
            os.close(fd)
