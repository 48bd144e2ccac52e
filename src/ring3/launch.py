"""The first exec of a process that no other process made: what `spawn` asks of the kernel, on the kernel's thread.

Such a process stands to process 1 as a program stands to the shell that started it: in its session (whose terminal is the host's),
in its process group unless told otherwise, and stopped by Ctrl-Z, since there is somebody to make it go on.
"""

from __future__ import annotations

import errno as host_errno
import os
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from ring3.abi.flags import OpenFlags
from ring3.abi.signals import SIG_IGN, SigAction
from ring3.errors import EACCES, ENOENT, ENOTDIR, EPERM, Errno
from ring3.exec.first import DEFAULT_PATH, along_path, exec_first
from ring3.namedtuple import NamedTuple
from ring3.proc.cred import Cred
from ring3.proc.fdtable import FdTable
from ring3.proc.lookup import find_emulation_root, namei_context
from ring3.proc.proc import FsContext, Proc, Session, Thread
from ring3.proc.system import System, default_rlimits
from ring3.proc.terminal import adopt_terminal, host_stream
from ring3.vfs.dentry import Dentry
from ring3.vfs.namei import namei
from ring3.vfs.opening import open_file

if TYPE_CHECKING:
    from ring3.policy.confinement import Confinement, Policy
    from ring3.policy.learning import Learner


class LaunchRequest(NamedTuple):
    """One program to start, in the terms of `subprocess.Popen`.

    `streams` are guest descriptors with the host descriptors they are, taken over; `null` guest descriptors that are /dev/null.
    `ignored` are the signals the program starts with ignored.  `policy` binds the program and all that comes of it.
    """

    executable: bytes
    argv: list[bytes]
    env: dict[bytes, bytes]
    cwd: bytes | None = None
    umask: int = -1
    user: int | None = None
    group: int | None = None
    groups: tuple[int, ...] | None = None
    new_session: bool = False
    process_group: int | None = None
    personality: str = "linux"          # whose rules govern the first exec, as if a program of that system made it
    streams: Mapping[int, int] = {}
    null: Collection[int] = ()
    ignored: Collection[int] = ()
    policy: Policy | None = None


def launch(system: System, request: LaunchRequest, register: Callable[[int], None]) -> Proc:
    """A running process, child of the kernel's own process 1.  `register(pid)` is called before its first instruction.

    Raises OSError with the host's number of the guest's refusal and the name of the file it is about; no process is left then.
    """
    p = _skeleton(system, request)
    t = p.threads[p.pid]
    subject = request.cwd or b""
    system.current = t
    try:
        try:
            p.fs.cwd = _directory(t, request.cwd)
        finally:
            _open_streams(t, request)           # taken over, whatever comes
        subject = request.executable
        _join_group(p, request)
        _enter_emulation_root(p)
        if request.policy is not None:
            p.veil = _veil(t, request.policy)
            p.confine(_confinement(p, request.policy._replace(on_exec=None)))      # the first program has all that is promised
        _exec_along_path(t, request)
        if request.policy is not None:
            p.confine(_confinement(p, request.policy))
    except Errno as refusal:
        _undo(p)
        number = getattr(host_errno, refusal.name, 0)
        raise OSError(number, _say(refusal, number), os.fsdecode(subject)) from refusal
    except OSError:
        _undo(p)
        raise
    except Exception as error:
        from ring3.calls.trap import KernelFault

        _undo(p)
        raise KernelFault(f"starting {os.fsdecode(subject)}") from error
    register(p.pid)
    if p.zombie:                # it met its death at the point of no return
        system.reaped(p)
    else:
        system.leave(t)
    return p


def prepare(system: System, request: LaunchRequest) -> Thread:
    """The thread of a process that could be running a program of its personality, in its directory, with its null descriptors: for
    asking what an exec would do.  `discard` takes it away.  Raises the `Errno` of the directory.
    """
    p = _skeleton(system, request)
    t = system.current = p.threads[p.pid]
    try:
        p.fs.cwd = _directory(t, request.cwd)
        _open_streams(t, request)
        if request.policy is not None:
            p.veil = _veil(t, request.policy)
            p.confine(_confinement(p, request.policy))
        _enter_emulation_root(p)
    except BaseException:
        discard(t)
        raise
    return t


def discard(t: Thread) -> None:
    """Take away what `prepare` made; nobody can tell that it was there."""
    _undo(t.proc)
    t.system.return_pid(t.proc.pid)


def _say(refusal: Errno, number: int) -> str:
    """The error's own words, with the reason where there is one."""
    text = os.strerror(number)
    return f"{text}: {refusal.reason}" if refusal.reason and refusal.reason != text else text


def _skeleton(system: System, request: LaunchRequest) -> Proc:
    """A process with one thread and no program."""
    p = Proc(system, system.new_pid(), system.init)
    t = Thread(p, p.pid)
    p.personality = system.personalities[request.personality]
    p.fds = FdTable()
    p.cred = _credentials(request)
    p.rlimits = default_rlimits()
    p.start_ns = system.now_ns()
    p.fs = FsContext(system.mounts.root, system.mounts.root, request.umask if request.umask >= 0 else _host_umask())
    for signo in request.ignored:
        p.actions.table[signo] = SigAction(SIG_IGN)
    if request.new_session:
        p.session = Session(p.pid)
    else:
        p.session = system.init.session
        p.pgrp = system.init.pgrp
    p.threads[p.pid] = t
    system.procs[p.pid] = p
    system.threads[p.pid] = t
    system.init.children.append(p)
    return p


def _enter_emulation_root(p: Proc) -> None:
    """Its first look-up is one of its system already: the program, along $PATH too."""
    root = find_emulation_root(p, p.personality)
    p.emulation = None if root is None else (root, p.fs.root)


def _join_group(p: Proc, request: LaunchRequest) -> None:
    """The process group asked for; 0 is one of its own.  Raises EPERM for one that is not of its session."""
    wanted = request.process_group
    if wanted is None:
        return
    system = p.system
    wanted = wanted or p.pid
    if p.session.sid == p.pid or (
        wanted != p.pid and not any(o.pgrp == wanted and o.session is p.session for o in system.procs.values())
    ):
        raise EPERM(f"no process group {wanted} in this session")
    if p.session.tty is not None and p.session.tty.foreground == p.pgrp:
        p.session.tty.foreground = wanted
    p.pgrp = wanted
    system.jobs.add(wanted)


def _undo(p: Proc) -> None:
    system = p.system
    system.current = None
    p.fds.release()
    system.procs.pop(p.pid, None)
    system.threads.pop(p.pid, None)
    if p in system.init.children:
        system.init.children.remove(p)


def _credentials(request: LaunchRequest) -> Cred:
    """The caller's own ids, or those asked for."""
    uid = os.getuid() if request.user is None else request.user
    gid = os.getgid() if request.group is None else request.group
    groups = tuple(os.getgroups()) if request.groups is None else request.groups
    return Cred(uid, uid, uid, uid, gid, gid, gid, gid, tuple(sorted(groups)))


def _host_umask() -> int:
    """The caller's umask, without changing it (umask(2) itself can only be asked by setting it)."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return 0o022


def _directory(t: Thread, cwd: bytes | None) -> Dentry:
    """Where it starts: what was asked for, else the caller's directory where the guest has one of that name, else the root."""
    ctx = namei_context(t)
    if cwd is not None:
        found = namei(ctx, cwd)
        if not found.vnode.is_dir:
            raise ENOTDIR
        return found
    try:
        found = namei(ctx, os.getcwdb())
    except (Errno, OSError):
        return t.proc.fs.root
    return found if found.vnode.is_dir else t.proc.fs.root


def _open_streams(t: Thread, request: LaunchRequest) -> None:
    """The descriptors it starts with.  A terminal among them becomes its session's, with the process in the foreground."""
    p = t.proc
    for fd, host in request.streams.items():
        stream = host_stream(t.system, host)
        p.fds.set(fd, stream)
        if not request.new_session:
            adopt_terminal(p, stream)
    for fd in request.null:
        p.fds.set(fd, open_file(namei_context(t), b"/dev/null", OpenFlags.RDWR, 0))


def _veil(t: Thread, policy: Policy) -> Any:
    """What the first program's own look-ups go through.  Raises OSError for a path that is not there and may not be made."""
    from ring3.policy.confinement import new_veil, place_of

    if policy.learner is not None:
        return policy.learner.veil
    if policy.unveils is None:
        return None
    places: dict[bytes, int] = {}
    for path, permissions in policy.unveils:
        try:
            place = place_of(t, path, permissions, deep=True)
        except Errno as refusal:
            number = getattr(host_errno, refusal.name, 0)
            why = f"{_say(refusal, number)}, so it cannot be unveiled; with permission c it may be made"
            raise OSError(number, why, os.fsdecode(path)) from refusal
        places[place] = places.get(place, 0) | permissions
    return new_veil(t.system, places)


def _confinement(p: Proc, policy: Policy) -> Confinement | Learner:
    from ring3.calls.gate import gate
    from ring3.policy.confinement import Confinement

    if policy.learner is not None:
        return policy.learner
    return Confinement(gate, policy.promises, on_exec=policy.on_exec, mode=policy.mode, veil=p.veil)


def _exec_along_path(t: Thread, request: LaunchRequest) -> None:
    """execvp(3): a name without a slash is tried along PATH; EACCES is remembered, the last refusal is ENOENT."""
    env = [key + b"=" + value for key, value in request.env.items()]
    if b"/" in request.executable:
        exec_first(t, request.executable, request.argv, env)
        return
    denied: Errno | None = None
    for path in along_path(request.executable, request.env.get(b"PATH", DEFAULT_PATH)):
        try:
            exec_first(t, path, request.argv, env)
        except (ENOENT, ENOTDIR):
            continue
        except EACCES as refusal:
            denied = refusal
        else:
            return
    raise denied or ENOENT
