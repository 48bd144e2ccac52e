"""Why a program cannot be executed, asked of a kernel: for `ring3 explain`, and for the message when `ring3 run`
fails.

The kernel's answer is one errno, and Linux says ENOENT of a script whose interpreter is missing with the script's own
name; so the exec is checked a second time by somebody who watches (`trace/explain/`).
"""

from __future__ import annotations

import errno as host_errno
import os
from typing import TYPE_CHECKING, Any

from ring3.cli import guest, policy

if TYPE_CHECKING:
    from ring3.kernel import Kernel
    from ring3.proc.system import System
    from ring3.trace.explain import Explanation


def diagnose(kernel: Kernel, values: dict[str, Any], program: list[str], error: OSError) -> str:
    """One message about `program`, run with the options `values`, which was refused with `error`."""
    from ring3.trace.explain.diagnoses import brief
    from ring3.trace.explain.words import quoted

    name = quoted(os.fsencode(program[0]))
    try:
        found = kernel.call(lambda system: ask(system, "linux", values, program))
    except OSError:
        return f"{name}: {error.strerror}"
    why, number = brief(found), error.errno or 0
    if found.outcome != "refused" or number != getattr(host_errno, found.error, 0) or not why:
        return f"{name}: {error.strerror}"
    if found.diagnosis is not None and found.diagnosis.key == "not along PATH":
        return f"{name}: {why}"
    return f"{name}: {os.strerror(number)}: {why}"


def death(kernel: Kernel, values: dict[str, Any], program: list[str], signo: int) -> str:
    """One message about `program`, which signal `signo` ended in its exec, behind the point of no return."""
    from ring3.abi.signals import signal_name
    from ring3.trace.explain.diagnoses import death_reason
    from ring3.trace.explain.words import quoted

    name = quoted(os.fsencode(program[0]))
    try:
        why = death_reason(kernel.call(lambda system: ask(system, "linux", values, program)))
    except OSError:
        why = ""
    said = f"{name}: killed by {signal_name(signo)} in exec, behind its point of no return"
    return f"{said}{': ' if why else ''}{why}\n       ring3 explain -- {name} shows more"


def ask(system: System, personality: str, values: dict[str, Any], program: list[str]) -> Explanation:
    """What would become of `program`, run with these options by a process of that personality.

    Raises OSError for a directory or an unveiled path that is not there.
    """
    from ring3 import asking
    from ring3.arguments import parse_policy
    from ring3.launch import LaunchRequest

    cwd, who = values.get("--cwd"), values.get("--user")
    env = {os.fsencode(k): os.fsencode(v) for k, v in guest.environment(values["--env"]).items()}
    argv = [os.fsencode(word) for word in program]
    wanted = policy.spawn_arguments(values)
    bound = any(wanted[name] is not None for name in ("pledge", "exec_pledge", "unveil"))
    request = LaunchRequest(
        argv[0], argv, env, cwd=None if cwd is None else os.fsencode(cwd), user=who and who.uid, group=who and who.gid,
        groups=None if who is None else who.groups, null=(0, 1, 2), personality=personality,
        policy=parse_policy(wanted["pledge"], wanted["exec_pledge"], wanted["pledge_mode"], wanted["unveil"]) if bound else None,
    )
    try:
        return asking.ask(system, request)
    except OSError as error:
        if cwd is not None and error.filename == cwd:
            raise OSError(error.errno, error.strerror, f"--cwd {cwd}") from None
        raise
