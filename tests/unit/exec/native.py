"""The judge: how the host's own kernel ends an exec, asked with fork and execve from Python.

The child is traced: an exec that succeeds stops it before its first instruction, so that a program that dies at once
is not taken for an exec that failed behind its point of no return.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ring3.proc.cred import Cred

PTRACE_TRACEME, PTRACE_GETREGS = 0, 12
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


def strings(items: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    """A vector as execve wants it."""
    return (ctypes.c_char_p * (len(items) + 1))(*items, None)


def credentials() -> Cred:
    """Those of this process, whose children are what we compare with."""
    return Cred(*os.getresuid(), os.geteuid(), *os.getresgid(), os.getegid(), tuple(sorted(os.getgroups())))


class Snapshot(NamedTuple):
    """A process before its first instruction: registers in the order of user_regs_struct, its maps, its stack from sp
    on, its vDSO.
    """

    regs: tuple[int, ...]
    maps: list[Mapping]
    stack: bytes
    vdso: bytes
    brk: int


class Mapping(NamedTuple):
    """A line of /proc/PID/maps."""

    start: int
    end: int
    prot: str
    offset: int
    name: str


def snapshot(path: bytes, argv: Sequence[bytes], envp: Sequence[bytes] = (), *, flags: int = 0, cwd: str | None = None) -> Snapshot:
    """What the kernel built for a program."""
    arguments, environment = strings(argv), strings(envp)
    pid = os.fork()
    if pid == 0:
        try:
            resource.setrlimit(resource.RLIMIT_STACK, (8 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]))
            libc.personality(flags)
            if cwd is not None:
                os.chdir(cwd)
            libc.ptrace(PTRACE_TRACEME, 0, None, None)
            libc.execve(path, arguments, environment)
        finally:
            os._exit(127)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSTOPPED(status), f"status {status:#x}"
    try:
        registers = (ctypes.c_ulong * 27)()
        assert libc.ptrace(PTRACE_GETREGS, pid, None, registers) == 0
        maps = [_mapping(line) for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
        stack = next(m for m in maps if m.name == "[stack]")
        vdso = next((m for m in maps if m.name == "[vdso]"), None)
        brk = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[44])
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(registers[19])
            data = memory.read(stack.end - registers[19])
            code = b""
            if vdso is not None:
                memory.seek(vdso.start)
                code = memory.read(vdso.end - vdso.start)
        return Snapshot(tuple(registers), maps, data, code, brk)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _mapping(line: str) -> Mapping:
    where, prot, offset, _device, _inode, *name = line.split(maxsplit=5)
    start, end = (int(part, 16) for part in where.split("-"))
    return Mapping(start, end, prot[:3], int(offset, 16), name[0] if name else "")


def verdict(
    path: bytes, argv: Sequence[bytes], envp: Sequence[bytes] = (), *, uid: int = 0, cwd: str | None = None, stack: int = 8 << 20,
    flags: int = 0,
) -> str:
    """"runs", an errno's name, or "signal N" for an exec that killed the process."""
    reader, writer = os.pipe()
    arguments, environment = strings(argv), strings(envp)
    pid = os.fork()
    if pid == 0:
        try:
            resource.setrlimit(resource.RLIMIT_STACK, (stack, resource.getrlimit(resource.RLIMIT_STACK)[1]))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if flags:
                libc.personality(flags)
            if cwd is not None:
                os.chdir(cwd)
            null = os.open("/dev/null", os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            if uid:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            libc.ptrace(PTRACE_TRACEME, 0, None, None)
            libc.execve(path, arguments, environment)
            os.write(writer, errno.errorcode[ctypes.get_errno()].encode())
        finally:
            os._exit(127)
    os.close(writer)
    refusal = os.read(reader, 100).decode()
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    if os.WIFSTOPPED(status):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        stopped_by = os.WSTOPSIG(status)
        return "runs" if stopped_by == signal.SIGTRAP else f"signal {stopped_by}"
    if refusal:
        return refusal
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {os.WEXITSTATUS(status)}"
