"""What an exec would do, asked from Python: `ring3.explain` of a fresh kernel, `Kernel.explain` of one that runs.

The fresh kernel is made on a machine that stands still, asked, and given back, so neither ptrace nor a stub process is needed.  Not
here: what is found out and said (`trace/explain/`), the command (`cli/explain.py`).
"""

from __future__ import annotations

import errno as host_errno
import os
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from ring3 import arguments
from ring3.personality import BUILTIN

if TYPE_CHECKING:
    from ring3.arguments import Env, StrOrBytes
    from ring3.boot import MountSpec
    from ring3.launch import LaunchRequest
    from ring3.policy.veriexec import VeriexecOptions
    from ring3.proc.system import System
    from ring3.trace.explain.model import Explanation


def explain(
    args: Sequence[StrOrBytes] | StrOrBytes,
    *,
    system: str = "linux",
    root: StrOrBytes = "/",
    mounts: Sequence[str | MountSpec] = (),
    seed: int | None = None,
    emul: Mapping[str, StrOrBytes] = {},
    veriexec: str | VeriexecOptions | None = None,
    cwd: StrOrBytes | None = None,
    env: Env | None = None,
    user: str | int | None = None,
    group: str | int | None = None,
    extra_groups: Collection[str | int] | None = None,
    pledge: str | None = None,
    exec_pledge: str | None = None,
    pledge_mode: str = "kill",
    unveil: Sequence[str] | None = None,
) -> Explanation:
    """What running `args` would do and why, asked as a program of `system` ("linux", "netbsd", "serenity").  Nothing is executed.

    The other arguments are those of `Kernel` and `Kernel.spawn`.  The answer has `ok`, `outcome`, `error`, `diagnosis`, `warnings`,
    `plan` and more (`trace/explain/model.py`); `text()`, `as_dict()`, `json()` and `html()` show it.  A program that cannot run is
    an answer too and raises nothing.

    Raises ValueError for arguments that make no sense, OSError for a root, mount or directory that is not there.

    >>> from ring3 import explain
    >>> explain(["/bin/sh"]).ok, explain(["/etc/passwd"]).error, explain(["/nowhere"]).diagnosis.why
    (True, 'EACCES', 'there is no nowhere in /')
    """
    from ring3.boot import boot, shut_down

    asked = request(args, system, cwd, env, user, group, extra_groups, pledge, exec_pledge, pledge_mode, unveil)
    options = arguments.boot_options(root=root, mounts=mounts, seed=seed, emul=emul, veriexec=veriexec)
    still = boot(options, still=True)
    try:
        return ask(still, asked)
    finally:
        shut_down(still)


def request(
    args: Sequence[StrOrBytes] | StrOrBytes,
    system: str,
    cwd: StrOrBytes | None,
    env: Env | None,
    user: str | int | None,
    group: str | int | None,
    extra_groups: Collection[str | int] | None,
    pledge: str | None,
    exec_pledge: str | None,
    pledge_mode: str,
    unveil: Sequence[str] | None,
) -> LaunchRequest:
    """What is asked, as a kernel takes it.  Raises TypeError and ValueError for what makes no sense."""
    from ring3.launch import LaunchRequest

    argv = arguments.argument_vector(args)
    if system not in BUILTIN:
        raise ValueError(f"there is no system {system!r}; there are: {', '.join(BUILTIN)}")
    return LaunchRequest(
        argv[0], argv, arguments.environment(os.environ if env is None else env), cwd=arguments.path("cwd", cwd),
        user=arguments.user_id(user), group=arguments.group_id(group), groups=arguments.group_ids(extra_groups), null=(0, 1, 2),
        personality=system, policy=arguments.policy_of(None, pledge, exec_pledge, pledge_mode, unveil),
    )


def ask(system: System, request: LaunchRequest) -> Explanation:
    """What would become of `request` in that kernel.  On the kernel's thread.

    Raises OSError for a directory, or a path of a policy, that is not there.
    """
    from ring3.errors import Errno
    from ring3.launch import discard, prepare
    from ring3.trace.explain.search import explain_command
    from ring3.trace.explain.words import meaning

    try:
        t = prepare(system, request)
    except Errno as refusal:
        number = getattr(host_errno, refusal.name, 0)
        raise OSError(number, f"{meaning(refusal.name)} in the guest", os.fsdecode(request.cwd or b"")) from None
    try:
        return explain_command(t, request.argv, request.env)
    finally:
        discard(t)
