"""A program in a kernel of its own at this terminal, as the commands that run one have it: started, waited for, answered for.

Not here: options (`guest.py`, and each command's own), signals and job control (`signals.py`), why a program could not be started
(`diagnosis.py`).
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ring3.cli import FAILED, complain, guest, policy, say_help
from ring3.cli.options import HELP, Option, UsageError, parse
from ring3.kernel import Kernel

if TYPE_CHECKING:
    from ring3.cli.signals import Signals
    from ring3.proc.system import System
    from ring3.process import Process
    from ring3.protocols import Instrument
    from ring3.trace.inject import Injection, Injector

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
TIMED_OUT: Final = 124


def command(
    words: Sequence[str], options: Sequence[Option], help_text: str, serve: Callable[[dict[str, Any], list[str]], int],
) -> int:
    """The status of a command that runs a program: `serve` is called with the options' values and the program's words.

    The first line of `help_text` says how it is used.  A mistake in `words`, and an OSError of the host, is a line and status 125.
    """
    usage, _, _ = help_text.partition("\n")
    try:
        values, program = parse(options, words)
        if HELP in values:
            say_help(help_text)
            return 0
        if not program:
            raise UsageError(f"which program?  {usage}")
    except UsageError as error:
        complain(f"{error}\n       {' '.join(usage.split()[:2])} --help has all options")
        return FAILED
    gc.disable()                # until the program runs: nothing that is built meanwhile is garbage
    try:
        return serve(values, program)
    except OSError as error:
        complain(guest.say(error))
    finally:
        gc.enable()
    return FAILED


def in_kernel(
    values: dict[str, Any],
    program: list[str],
    instruments: Sequence[Instrument] = (),
    *,
    spawn: Mapping[str, Any] = {},
    wait: Callable[[Process, Signals, float | None], int] | None = None,
    attendant: type[Signals] | None = None,
    at_start: Callable[[Kernel], None] | None = None,
    at_end: Callable[[Kernel], None] | None = None,
) -> int:
    """Run it by the options' values; the exit status for the shell.

    `spawn` are further arguments of `Kernel.spawn`; `wait` waits for its end as `wait_for` does, with signals passed on by an
    `attendant` (`Signals`); `at_start` is called with the kernel before there is a program, `at_end` once it is over, in time
    to ask things.  Raises OSError for what the host refuses.
    """
    from ring3.calls.trap import KernelFault
    from ring3.cli.signals import Signals
    from ring3.machine.base import MachineUnavailable

    with Kernel(
        root=values.get("--root", "/"), mounts=values["--mount"], seed=values.get("--seed"), instruments=instruments,
        veriexec=values.get("--veriexec"), emul=dict(values.get("--emul", ())),
    ) as kernel, _Places(), (attendant or Signals)() as signals:
        try:
            refusals = _listen(kernel, values)
            injector = _inject(kernel, values["--inject"]) if values.get("--inject") else None
            if at_start is not None:
                at_start(kernel)
            process = _start(kernel, values, program, spawn)
            if isinstance(process, int):
                return process
            gc.freeze()         # what was built stays: the first collection need not walk all of it
            gc.enable()
            status = (wait or wait_for)(process, signals, values.get("--timeout"))
            if process.died_in_exec:
                _say_death(kernel, values, program, process)
            refusals.summary(status)
            if status and "--stats" not in values:
                _say_missing(kernel)
            for reason in injector.failures if injector is not None else ():
                complain(f"--inject: {reason}")
            if at_end is not None:
                at_end(kernel)
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


def _listen(kernel: Kernel, values: dict[str, Any]) -> policy.Refusals:
    """Have refusals of policies printed: the user's, and a program's own (SerenityOS's pledge)."""
    refusals = policy.Refusals()

    def listen(system: System) -> None:
        system.on_decision = refusals
        system.on_debug = refusals.log

    kernel.call(listen)
    for text in policy.warnings(values):
        complain(text)
    return refusals


def _inject(kernel: Kernel, injections: Sequence[Injection]) -> Injector:
    from ring3.trace.inject import Injector

    injector = Injector(*injections)
    kernel.call(lambda system: kernel.loop.interposer(system).inject(injector))
    return injector


def _start(kernel: Kernel, values: dict[str, Any], program: list[str], spawn: Mapping[str, Any]) -> Process | int:
    """The started program, or the status that says why not."""
    cwd = values.get("--cwd")
    if not program[0]:
        complain("'': an empty word names no program")
        return NOT_FOUND
    if lost := guest.lost_directory(values):
        complain(lost)
    try:
        return kernel.spawn(
            program, cwd=cwd, env=guest.environment(values["--env"]), process_group=0 if os.getpgrp() == os.getpid() else None,
            personality=values.get("--as", "linux"), **guest.identity(values.get("--user")), **policy.spawn_arguments(values),
            **spawn,
        )
    except OSError as error:
        shown = (values.get("--root"), *(m.host for m in values["--mount"]), *(host for _, host in values.get("--emul", ())))
        if error.filename is None or error.filename in shown:
            raise
        if error.filename in [text.rpartition(":")[0] for text in values.get("--unveil", ())]:
            complain(f"--unveil {error.filename}: {error.strerror}")
            return FAILED
        if error.filename == cwd:
            complain(f"--cwd {cwd}: {error.strerror} in the guest")
            return FAILED
        if error.filename != program[0]:
            raise
        from ring3.cli.diagnosis import diagnose

        complain(diagnose(kernel, values, program, error))
        return NOT_FOUND if isinstance(error, FileNotFoundError | NotADirectoryError) else NOT_EXECUTABLE


def _say_missing(kernel: Kernel) -> None:
    """A program that failed may have missed a call that nobody wrote yet."""
    if kernel.missing_calls:
        from ring3.trace.stats import missing

        complain(missing(kernel.missing_calls))


def _say_death(kernel: Kernel, values: dict[str, Any], program: list[str], process: Process) -> None:
    """The program was killed before its first instruction: nobody else says a word about that."""
    from ring3.cli.diagnosis import death

    complain(death(kernel, values, program, -process.wait()))


def wait_for(process: Process, signals: Signals, timeout: float | None) -> int:
    """Wait for its end, at most `timeout` seconds, passing signals on; the status for the shell."""
    started = time.monotonic()
    if not signals.attend(process, None if timeout is None else started + timeout):
        process.kill()
        process.wait()
        complain(f"{process.args[0]}: killed after {timeout:g} s (--timeout)")
        return TIMED_OUT
    return shell_status(process.wait())


def shell_status(code: int) -> int:
    """What a shell makes of a return code: 128+N for signal N.

    >>> shell_status(3), shell_status(-9)
    (3, 137)
    """
    return code if code >= 0 else 128 - code


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
