"""The first exec of a process that no other process made: what `spawn` asks of the kernel, on the kernel's thread."""

from __future__ import annotations

import errno as host_errno
import os
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from ring3.abi.flags import OpenFlags
from ring3.abi.signals import SIG_IGN, SigAction
from ring3.errors import EACCES, ENOENT, ENOTDIR, Errno
from ring3.proc.cred import Cred
from ring3.proc.fdtable import FdTable
from ring3.proc.lookup import namei_context
from ring3.proc.proc import FsContext, Proc, Session, Thread
from ring3.proc.system import System, default_rlimits
from ring3.vfs.dentry import Dentry

DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class LaunchRequest(NamedTuple):
    """One program to start, in the terms of `subprocess.Popen`.

    `stdio` are host descriptors for the guest's 0, 1 and 2, taken over; None leaves one closed, or /dev/null where `null` says so.
    `ignored` are the signals the program starts with ignored.
    """

    executable: bytes
    argv: list[bytes]
    env: dict[bytes, bytes]
    cwd: bytes | None = None
    umask: int = -1
    user: int | None = None
    group: int | None = None
    new_session: bool = False
    stdio: Sequence[int | None] = (None, None, None)
    null: Sequence[bool] = (False, False, False)
    ignored: Collection[int] = ()


def launch(system: System, request: LaunchRequest, register: Callable[[int], None]) -> Proc:
    """A running process, child of the kernel's own process 1.  `register(pid)` is called before its first instruction.

    Raises OSError with the host's number of the guest's refusal; no process is left then.
    """
    from ring3.exec.first import exec_first

    p = _skeleton(system, request)
    t = p.threads[p.pid]
    try:
        p.fs.cwd = _directory(t, request.cwd)
        _open_streams(t, request)
        _exec_along_path(t, exec_first, request)
    except Errno as refusal:
        _undo(p)
        number = getattr(host_errno, refusal.name, 0)
        raise OSError(number, refusal.reason or os.strerror(number), os.fsdecode(request.executable)) from refusal
    except BaseException:
        _undo(p)
        raise
    register(p.pid)
    if p.zombie:                # it met its death at the point of no return
        system.reaped(p)
    else:
        system.leave(t)
    return p


def _skeleton(system: System, request: LaunchRequest) -> Proc:
    """A process with one thread and no program."""
    p = Proc(system, system.new_pid(), system.init)
    t = Thread(p, p.pid)
    p.personality = system.personalities["linux"]
    p.fds = FdTable()
    p.cred = _credentials(request.user, request.group)
    p.rlimits = default_rlimits()
    p.start_ns = system.now_ns()
    p.session = Session(p.pid)
    p.fs = FsContext(system.mounts.root, system.mounts.root, request.umask if request.umask >= 0 else _host_umask())
    for signo in request.ignored:
        p.actions.table[signo] = SigAction(SIG_IGN)
    p.threads[p.pid] = t
    system.procs[p.pid] = p
    system.threads[p.pid] = t
    system.init.children.append(p)
    return p


def _undo(p: Proc) -> None:
    system = p.system
    p.fds.release()
    system.procs.pop(p.pid, None)
    system.threads.pop(p.pid, None)
    if p in system.init.children:
        system.init.children.remove(p)


def _credentials(user: int | None, group: int | None) -> Cred:
    """The caller's own ids, or those asked for."""
    uid = os.getuid() if user is None else user
    gid = os.getgid() if group is None else group
    groups = tuple(sorted(os.getgroups())) if user is None else ()
    return Cred(uid, uid, uid, uid, gid, gid, gid, gid, groups)


def _host_umask() -> int:
    """The caller's umask, without changing it (umask(2) itself can only be asked by setting it)."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return 0o022


def _directory(t: Thread, cwd: bytes | None) -> Dentry:
    """Where it starts: what was asked for, else the caller's directory where the guest has one of that name, else the root."""
    from ring3.vfs.namei import namei

    ctx = namei_context(t)
    if cwd is not None:
        found = namei(ctx, cwd)
        if not found.vnode.is_dir:
            raise ENOTDIR(f"{os.fsdecode(cwd)} is not a directory")
        return found
    try:
        found = namei(ctx, os.getcwdb())
    except (Errno, OSError):
        return t.proc.fs.root
    return found if found.vnode.is_dir else t.proc.fs.root


def _open_streams(t: Thread, request: LaunchRequest) -> None:
    """Descriptors 0 to 2.  A terminal among them becomes the controlling terminal, with the process in its foreground."""
    from ring3.proc.terminal import adopt_terminal, host_stream
    from ring3.vfs.namei import open_file

    p = t.proc
    for fd, (host, null) in enumerate(zip(request.stdio, request.null, strict=True)):
        if host is not None:
            stream = host_stream(t.system, host)
            p.fds.set(fd, stream)
            if not request.new_session:
                adopt_terminal(p, stream)
        elif null:
            p.fds.set(fd, open_file(namei_context(t), b"/dev/null", OpenFlags.RDWR, 0))


def _exec_along_path(t: Thread, exec_first: Callable[..., None], request: LaunchRequest) -> None:
    """execvp(3): a name without a slash is tried along PATH; EACCES is remembered, the last refusal is ENOENT."""
    env = [key + b"=" + value for key, value in request.env.items()]
    if b"/" in request.executable:
        exec_first(t, request.executable, request.argv, env)
        return
    denied: Errno | None = None
    for directory in request.env.get(b"PATH", DEFAULT_PATH).split(b":"):
        path = (directory or b".") + b"/" + request.executable
        try:
            exec_first(t, path, request.argv, env)
        except (ENOENT, ENOTDIR):
            continue
        except EACCES as refusal:
            denied = refusal
        else:
            return
    raise denied or ENOENT(f"{os.fsdecode(request.executable)}: not found along PATH")
