"""What __sysctl(2) tells of one process: kern.proc_args (its arguments, environment, program) and proc.PID.

Arguments and environment are those that the process's ps_strings name, which setproctitle(3) points elsewhere; a process of another
system has none, and is shown as its own system shows it.
Sources: sysctl(7), sys/kern/kern_proc.c (sysctl_kern_proc_args, copy_procargs), sys/kern/init_sysctl.c, sys/kern/kern_resource.c
(sysctl_proc_corename, sysctl_proc_plimit, sysctl_proc_stop).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from ring3.calls.netbsd.sysctlnode import Asked, Kind, Node, Reply, asking_node, node_of, whole
from ring3.errors import EFAULT, EINVAL, EISDIR, ENOENT, ENOSPC, ENOTDIR, EPERM, ESRCH
from ring3.proc.jails import may_know
from ring3.proc.proc import Proc, Thread
from ring3.proc.procfs.maps import space_of
from ring3.proc.procfs.memory import argument_text, environment_text

_ARGV, _NARGV, _ENV, _NENV, _PATHNAME, _CWD = range(1, 7)
CURPROC: Final = (1 << 31) - 1         # PROC_CURPROC
_CORENAME, _LIMIT, _STOPFORK, _STOPEXEC, _STOPEXIT, _PAXFLAGS = range(1, 7)
_RESOURCES: Final = (0, 1, 2, 3, 4, 5, 8, 6, 7, None, 9, None)      # the kernel's numbers of NetBSD's, from 1 on
_RESOURCE_NAMES: Final = (
    "cputime", "filesize", "datasize", "stacksize", "coredumpsize", "memoryuse", "memorylocked", "maxproc", "descriptors", "sbsize",
    "vmemoryuse", "maxlwp",
)
_INFINITY: Final = (1 << 63) - 1
_SIZES: Final = {Kind.INT: 4, Kind.QUAD: 8, Kind.BOOL: 1}
_PAGE: Final = 4096
_ARG_MAX: Final = 262144
_POINTERS: Final = 1 << 14             # of a vector, looked at
_PS_STRINGS: Final = {8: struct.Struct("<Qi4xQi4x"), 4: struct.Struct("<IiIi")}
_FOREIGN: Final = 0                    # of a process that has no ps_strings

Value = tuple[Kind, int | bytes]


def _find(t: Thread, pid: int) -> Proc:
    """Raises ESRCH."""
    p = t.proc if pid == CURPROC else t.system.procs.get(pid)
    if p is None or p.zombie or not p.threads or not may_know(t.proc, p):
        raise ESRCH
    return p


def _same_user(t: Thread, p: Proc) -> bool:
    mine = t.proc.cred
    return p is t.proc or mine.privileged or (mine.euid == p.cred.ruid and p.dumpable == 1)


def process_args(t: Thread, asked: Asked) -> Reply:
    """kern.proc_args.PID.what: strings are given as far as there is room, and that is the size told.

    Raises EINVAL (for who is not there, too), ESRCH, EPERM for another's environment.
    """
    if asked.new or len(asked.rest) != 2:
        raise EINVAL
    pid, what = asked.rest
    if what in (_PATHNAME, _CWD):
        return _path(t, t.proc if pid == -1 else _find(t, pid), what, asked)
    if not _ARGV <= what <= _NENV:
        raise EINVAL
    p = t.system.procs.get(pid)
    if p is None or not may_know(t.proc, p):
        raise EINVAL
    if p is not t.proc and what in (_ENV, _NENV):
        t.needs("ptrace")
        if not _same_user(t, p):
            raise EPERM
    if not asked.wanted:
        return Reply(b"", 4 if what in (_NARGV, _NENV) else _ARG_MAX)
    if space_of(p) is None:
        raise EINVAL
    strings, count = _strings(p, environment=what in (_ENV, _NENV))
    data = (strings if what in (_ARGV, _ENV) else count.to_bytes(4, "little", signed=True))[: asked.room]
    return Reply(data, len(data))


def _path(t: Thread, p: Proc, what: int, asked: Asked) -> Reply:
    """Where its program, or its current directory, is."""
    if p is not t.proc:
        t.needs("ptrace")
        if what == _CWD and not _same_user(t, p):
            raise EPERM
    if what == _PATHNAME and p.exe is None:
        raise ENOENT
    dentry = p.exe if what == _PATHNAME else p.fs.cwd
    assert dentry is not None
    data = dentry.path(t.proc.fs.root) + b"\0"
    return Reply(data[: asked.room], len(data), ENOSPC if asked.wanted and len(data) > asked.room else None)


def _strings(p: Proc, *, environment: bool) -> tuple[bytes, int]:
    """The strings of a vector, each with its zero, and how many its owner says there are."""
    vm = p.vm
    if vm.ps_strings == _FOREIGN:
        text = environment_text(p) if environment else argument_text(p)
        return text, text.count(b"\0")
    word = next(iter(p.threads.values())).abi.word_size
    try:
        found = _PS_STRINGS[word].unpack(vm.copyin(vm.ps_strings, _PS_STRINGS[word].size))
        at, count = found[2:] if environment else found[:2]
        return _vector(p, at, count, word), count
    except EFAULT:
        return b"", 0


def _vector(p: Proc, at: int, count: int, word: int) -> bytes:
    """What a vector points at, up to a null and up to ARG_MAX bytes.  Raises EFAULT."""
    count = min(max(count, 0), _POINTERS)
    pointers = struct.unpack(f"<{count}{'Q' if word == 8 else 'I'}", p.vm.copyin(at, count * word))
    text = b""
    for pointer in pointers:
        if not pointer or len(text) >= _ARG_MAX:
            break
        text += _string(p, pointer, _ARG_MAX - len(text)) + b"\0"
    return text


def _string(p: Proc, at: int, room: int) -> bytes:
    """One string, or as much of it as there is room for.  Raises EFAULT."""
    pieces: list[bytes] = []
    while room > 0:
        piece = p.vm.copyin(at, min(room, _PAGE - at % _PAGE))
        end = piece.find(b"\0")
        if end >= 0:
            return b"".join([*pieces, piece[:end]])
        pieces.append(piece)
        at, room = at + len(piece), room - len(piece)
    return b"".join(pieces)


def process_node(t: Thread, rest: Sequence[int], new: int | None) -> Value:
    """proc.PID.what, and what `new` sets.  Raises ESRCH, EPERM, ENOENT, EISDIR, ENOTDIR."""
    if len(rest) < 2:
        raise EISDIR
    p, what = _find(t, rest[0]), rest[1]
    if p is not t.proc or new is not None:
        t.needs("proc")
    if not _same_user(t, p):
        raise EPERM
    if what == _LIMIT:
        return _limit(p, rest[2:], new)
    if len(rest) > 2:
        raise ENOTDIR
    if what == _STOPEXEC:
        value = int(p.stops_at_exec)
        if new is not None:
            p.stops_at_exec = bool(new)
        return Kind.INT, value
    if new is not None:
        raise EPERM
    if what == _CORENAME:
        return Kind.STRING, b"%n.core"
    if what == _PAXFLAGS:
        return Kind.INT, p.pax
    if what in (_STOPFORK, _STOPEXIT):
        return Kind.INT, 0
    raise ENOENT


def _limit(p: Proc, rest: Sequence[int], new: int | None) -> Value:
    """proc.PID.rlimit.RESOURCE.{1 soft, 2 hard}."""
    if len(rest) < 2:
        raise EISDIR
    if len(rest) > 2:
        raise ENOTDIR
    resource, which = rest
    if not 1 <= resource <= len(_RESOURCES) or which not in (1, 2):
        raise ENOENT
    if new is not None:
        raise EPERM
    neutral = _RESOURCES[resource - 1]
    return Kind.QUAD, _INFINITY if neutral is None else min(p.rlimits[neutral][which - 1], _INFINITY)


def answer(kind: Kind, value: int | bytes) -> bytes:
    """A value as its kind has it."""
    if isinstance(value, int):
        return value.to_bytes(_SIZES[kind], "little", signed=True)
    return value + b"\0" if kind == Kind.STRING else value


def _proc(t: Thread, asked: Asked) -> Reply:
    """proc.PID…  Raises EINVAL for a new value of another size."""
    new = None
    if asked.new:
        if asked.newlen != 4:
            raise EINVAL
        new = int.from_bytes(t.proc.vm.copyin(asked.new, 4), "little", signed=True)
    return whole(answer(*process_node(t, asked.rest, new)), asked)


def _limits() -> list[Node]:
    """proc.PID.rlimit's, for who looks them up by name."""
    return [
        node_of(number, name, Node(1, "soft", Kind.QUAD), Node(2, "hard", Kind.QUAD))
        for number, name in enumerate(_RESOURCE_NAMES, 1)
    ]


PROC_ARGS: Final = asking_node(48, "proc_args", Kind.NODE, process_args)
PROC: Final = asking_node(
    10, "proc", Kind.NODE, _proc,
    node_of(
        CURPROC, "curproc", Node(_CORENAME, "corename", Kind.STRING), node_of(_LIMIT, "rlimit", *_limits()),
        Node(_STOPFORK, "stopfork", Kind.INT), Node(_STOPEXEC, "stopexec", Kind.INT), Node(_STOPEXIT, "stopexit", Kind.INT),
        Node(_PAXFLAGS, "paxflags", Kind.INT),
    ),
)
