"""execve and execveat: the calls.  What they do stands in `exec/`: check, load, commit.

Sources: execve(2), execveat(2), fs/exec.c, fs/namei.c:getname_uflags.
"""

from __future__ import annotations

from ring3.abi.flags import AT_FDCWD, AtFlags
from ring3.calls.sysarg import AtFlag, DirFd, Environment, Path, Vector
from ring3.calls.syscall import JUST_RETURN, syscall
from ring3.errors import EINVAL, ENOENT, ENOTDIR
from ring3.exec import execute as execution
from ring3.exec.package import ExecRequest
from ring3.proc.proc import Thread

_ALLOWED = AtFlags.SYMLINK_NOFOLLOW | AtFlags.EMPTY_PATH | AtFlags.EXECVE_CHECK


@syscall(pledge="exec")
def sys_execve(t: Thread, path: Path, argv: Vector, envp: Environment) -> int:
    """Run another program in this process."""
    return execute(t, ExecRequest(path, argv, envp, t.system.call_abi(t).word_size))


@syscall(pledge="exec")
def sys_execveat(t: Thread, dirfd: DirFd, path: Path, argv: Vector, envp: Environment, flags: AtFlag) -> int:
    """Run a program named relative to a directory, or an open file with AT_EMPTY_PATH.

    The program is told "/dev/fd/N" or "/dev/fd/N/path" as its name where the descriptor mattered.
    """
    if not path and not flags & AtFlags.EMPTY_PATH:
        raise ENOENT
    if int(flags) & ~int(_ALLOWED):
        raise EINVAL
    request = ExecRequest(
        path, argv, envp, t.system.call_abi(t).word_size,
        follow=not flags & AtFlags.SYMLINK_NOFOLLOW, check_only=bool(flags & AtFlags.EXECVE_CHECK),
    )
    if dirfd != AT_FDCWD and path[:1] != b"/":
        file = t.proc.fds.get(dirfd)
        name = b"/dev/fd/%d" % dirfd + (b"/" + path if path else b"")
        request = request._replace(name=name, inaccessible=dirfd in t.proc.fds.cloexec)
        if path:
            if file.dentry is None:
                raise ENOTDIR
            request = request._replace(at=file.dentry)
        else:
            request = request._replace(file=file)
    elif not path:
        request = request._replace(path=b".")
    return execute(t, request)


def execute(t: Thread, request: ExecRequest) -> int:
    """The whole of an exec.  Raises the `Errno` of a refusal; 0 after a mere check."""
    return JUST_RETURN if execution.execute(t, request) else 0
