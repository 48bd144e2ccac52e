"""The judge: how the host's own kernel ends an exec, asked with fork and execve from Python."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
from collections.abc import Sequence

libc = ctypes.CDLL(None, use_errno=True)


def strings(items: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    """A vector as execve wants it."""
    return (ctypes.c_char_p * (len(items) + 1))(*items, None)


def verdict(
    path: bytes, argv: Sequence[bytes], envp: Sequence[bytes] = (), *, uid: int = 0, cwd: str | None = None, stack: int = 8 << 20
) -> str:
    """"runs" (and exits with 42), an errno's name, or "signal N".  A program that ends otherwise is shown as "status N"."""
    reader, writer = os.pipe()
    arguments, environment = strings(argv), strings(envp)
    pid = os.fork()
    if pid == 0:
        try:
            resource.setrlimit(resource.RLIMIT_STACK, (stack, resource.getrlimit(resource.RLIMIT_STACK)[1]))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if cwd is not None:
                os.chdir(cwd)
            null = os.open("/dev/null", os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            if uid:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            libc.execve(path, arguments, environment)
            os.write(writer, errno.errorcode[ctypes.get_errno()].encode())
        finally:
            os._exit(127)
    os.close(writer)
    refusal = os.read(reader, 100).decode()
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    if refusal:
        return refusal
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return "runs" if os.WEXITSTATUS(status) == 42 else f"status {os.WEXITSTATUS(status)}"
