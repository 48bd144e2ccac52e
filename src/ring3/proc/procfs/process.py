"""The directory of one process, and of one thread in /proc/PID/task: a table of names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ring3.abi.flags import FileType
from ring3.abi.records import DirEntry
from ring3.errors import EACCES, EINVAL, ENOENT, EPERM, ESRCH
from ring3.proc.procfs import maps, mounts, status
from ring3.proc.procfs.descriptors import DescriptorDir
from ring3.proc.procfs.links import MagicLink, NamespaceDir
from ring3.proc.procfs.memory import MemoryNode, argument_text, environment_text
from ring3.proc.procfs.network import NetDir
from ring3.proc.procfs.node import Node, ProcDir, TextNode, number_of
from ring3.proc.procfs.status import Subject

if TYPE_CHECKING:
    from ring3.proc.proc import Thread
    from ring3.proc.procfs.fs import ProcFS
    from ring3.vfs.dentry import Dentry

COMM_MAX = 15
OOM_ADJ_MAX = 1000

Maker = Callable[["ProcFS", bytes, Subject], Node]
Row = tuple[int, Maker]
_DIR, _REG, _LNK = FileType.DIR, FileType.REG, FileType.LNK


def _about(s: Subject) -> object:
    return s.p if s.whole and s.number == s.p.pid else s.t


def _text(
    mode: int,
    render: Callable[[Subject], bytes],
    store: Callable[[ProcFS, Subject, bytes], None] | None = None,
    *,
    guarded: bool = False,
    seekable_end: bool = False,
) -> Row:
    """A text.  `guarded`: only for who may trace the process."""
    def make(fs: ProcFS, key: bytes, s: Subject) -> Node:
        return TextNode(
            fs, key, mode, lambda: render(s), (lambda data: store(fs, s, data)) if store is not None else None,
            owner=s.p, about=_about(s), guarded=guarded, seekable_end=seekable_end,
        )

    return _REG | mode, make


def _constant(mode: int, text: bytes) -> Row:
    return _text(mode, lambda _s: text)


def _link(find: Callable[[Subject], Dentry | None]) -> Row:
    return _LNK | 0o777, lambda fs, key, s: MagicLink(fs, key, s.p, _about(s), lambda: find(s))


# --- what links lead to
def _cwd(s: Subject) -> Dentry | None:
    fs = getattr(s.p, "fs", None)
    return fs.cwd if fs is not None and not s.p.zombie else None


def _root(s: Subject) -> Dentry | None:
    fs = getattr(s.p, "fs", None)
    return fs.root if fs is not None and not s.p.zombie else None


def _exe(s: Subject) -> Dentry | None:
    return s.p.exe if maps.space_of(s.p) is not None else None


# --- texts that need more than the process
def _stat(fs: ProcFS, key: bytes, s: Subject) -> Node:
    def render() -> bytes:
        return status.stat(s, visible=fs.may_trace(s.p))

    return TextNode(fs, key, 0o444, render, owner=s.p, about=_about(s))


def _auxv(s: Subject) -> bytes:
    vm = maps.space_of(s.p)
    if vm is None:
        raise ESRCH
    return vm.auxv


def _children(s: Subject) -> bytes:
    return b"".join(b"%d " % child.pid for child in s.p.children)


def _oom_adj(s: Subject) -> bytes:
    adj = s.p.oom_score_adj
    return b"%d\n" % (15 if adj == OOM_ADJ_MAX else adj * 17 // OOM_ADJ_MAX)


# --- writing
def _number(data: bytes) -> int:
    """A decimal number.  Raises EINVAL."""
    text = data.strip()
    digits = text.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 9:
        raise EINVAL
    return int(text)


def _set_comm(fs: ProcFS, s: Subject, data: bytes) -> None:
    """Only for threads of the same process (EINVAL); cut at 15 bytes."""
    viewer = fs.viewer
    if s.t is None or (viewer is not None and viewer.proc is not s.p):
        raise EINVAL
    s.t.comm = data[:COMM_MAX].split(b"\0", 1)[0]


def _set_oom_score_adj(fs: ProcFS, s: Subject, data: bytes) -> None:
    """-1000 to 1000 (EINVAL); less than now is for root (EACCES)."""
    value = _number(data)
    if not -OOM_ADJ_MAX <= value <= OOM_ADJ_MAX:
        raise EINVAL
    viewer = fs.viewer
    if value < s.p.oom_score_adj and viewer is not None and not viewer.proc.cred.privileged:
        raise EACCES
    s.p.oom_score_adj = value


def _set_timer_slack(fs: ProcFS, s: Subject, data: bytes) -> None:
    """0 stands for the usual slack.  Raises EPERM for others' threads."""
    viewer = fs.viewer
    if s.t is None or (viewer is not None and viewer.proc is not s.p and not viewer.proc.cred.privileged):
        raise EPERM
    s.t.timer_slack_ns = max(_number(data), 0) or 50_000


def _refuse(_fs: ProcFS, _s: Subject, _data: bytes) -> None:
    raise EPERM


_ID_MAP = b"%10d %10d %10d\n" % (0, 0, (1 << 32) - 1)
_NO_ID = b"4294967295"

_BOTH: dict[bytes, Row] = {
    b"auxv": _text(0o400, _auxv, guarded=True, seekable_end=True),
    b"cgroup": _constant(0o444, b"0::/\n"),
    b"cmdline": _text(0o444, lambda s: argument_text(s.p), seekable_end=True),
    b"comm": _text(0o644, lambda s: s.comm + b"\n", _set_comm),
    b"cwd": _link(_cwd),
    b"environ": _text(0o400, lambda s: environment_text(s.p), guarded=True, seekable_end=True),
    b"exe": _link(_exe),
    b"fd": (_DIR | 0o500, lambda fs, key, s: DescriptorDir(fs, key, s.p, _about(s), 0o500)),
    b"fdinfo": (_DIR | 0o555, lambda fs, key, s: DescriptorDir(fs, key, s.p, _about(s), 0o555)),
    b"gid_map": _text(0o644, lambda _s: _ID_MAP, _refuse),
    b"io": _text(0o400, lambda s: status.io(s.p), guarded=True),
    b"limits": _text(0o444, lambda s: status.limits(s.p)),
    b"loginuid": _text(0o644, lambda _s: _NO_ID, _refuse, seekable_end=True),
    b"maps": _text(0o444, lambda s: maps.maps(s.p), guarded=True),
    b"mem": (_REG | 0o600, lambda fs, key, s: MemoryNode(fs, key, s.p, _about(s))),
    b"mountinfo": _text(0o444, lambda s: mounts.mountinfo(s.p)),
    b"mounts": _text(0o444, lambda s: mounts.mounts(s.p)),
    b"net": (_DIR | 0o555, lambda fs, key, s: NetDir(fs, key, s.p)),
    b"ns": (_DIR | 0o511, lambda fs, key, s: NamespaceDir(fs, key, s.p, _about(s))),
    b"oom_adj": _text(0o644, _oom_adj, _refuse, seekable_end=True),
    b"oom_score": _text(0o444, lambda s: status.oom_score(s.p)),
    b"oom_score_adj": _text(0o644, lambda s: b"%d\n" % s.p.oom_score_adj, _set_oom_score_adj, seekable_end=True),
    b"personality": _text(0o400, lambda s: b"%08x\n" % s.p.personality_flags, guarded=True),
    b"root": _link(_root),
    b"schedstat": _text(0o444, status.schedstat),
    b"sessionid": _text(0o444, lambda _s: _NO_ID, seekable_end=True),
    b"setgroups": _text(0o644, lambda _s: b"allow\n", _refuse),
    b"smaps": _text(0o444, lambda s: maps.smaps(s.p), guarded=True),
    b"smaps_rollup": _text(0o444, lambda s: maps.smaps_rollup(s.p), guarded=True),
    b"stat": (_REG | 0o444, _stat),
    b"statm": _text(0o444, lambda s: status.statm(s.p)),
    b"status": _text(0o444, status.status),
    b"syscall": _text(0o400, status.current_call, guarded=True),
    b"uid_map": _text(0o644, lambda _s: _ID_MAP, _refuse),
    b"wchan": _constant(0o444, b"0"),
}

_PROCESS = dict(sorted({
    **_BOTH,
    b"coredump_filter": _text(0o644, lambda _s: b"00000033\n", _refuse, seekable_end=True),
    b"mountstats": _text(0o400, lambda s: mounts.mountstats(s.p), guarded=True),
    b"task": (_DIR | 0o555, lambda fs, key, s: TaskDir(fs, key, s)),  # noqa: PLW0108 - defined below
    b"timers": _constant(0o444, b""),
    b"timerslack_ns": _text(0o666, lambda s: b"%d\n" % (s.t.timer_slack_ns if s.t is not None else 0), _set_timer_slack),
}.items()))

_THREAD = dict(sorted({**_BOTH, b"children": _text(0o444, _children)}.items()))


class ProcessDir(ProcDir):
    """/proc/PID or /proc/PID/task/TID."""

    __slots__ = ("subject", "table")

    def __init__(self, fs: ProcFS, key: bytes, subject: Subject) -> None:
        super().__init__(fs, key, _DIR | 0o555, subject.p, _about(subject))
        self.subject = subject
        self.table = _PROCESS if subject.whole else _THREAD

    @property
    def nlink(self) -> int:
        return 2 + sum(mode & 0o170000 == _DIR for mode, _ in self.table.values())

    def _current(self) -> Subject:
        """The subject as it is now: an exec may have made another thread the leader.  Raises ESRCH once it is gone."""
        self.alive()
        s = self.subject
        t = s.p.threads.get(s.number)
        if not s.whole and (t is None or t is not s.t):
            raise ESRCH
        return s._replace(t=t) if t is not None else s

    def lookup(self, name: bytes) -> Node:
        row = self.table.get(name)
        s = self._current()
        if row is None:
            raise ENOENT
        key = self.path_of(name)
        return self.fs.node(key, _about(s), lambda: row[1](self.fs, key, s))

    def readdir(self) -> list[DirEntry]:
        """Empty once the process is gone."""
        try:
            self._current()
        except ESRCH:
            return []
        return [self.entry(name, mode) for name, (mode, _) in self.table.items()]


class TaskDir(ProcDir):
    """/proc/PID/task: the threads."""

    __slots__ = ("subject",)

    def __init__(self, fs: ProcFS, key: bytes, subject: Subject) -> None:
        super().__init__(fs, key, _DIR | 0o555, subject.p, _about(subject))
        self.subject = subject

    def _threads(self) -> dict[int, Thread | None]:
        p = self.subject.p
        found: dict[int, Thread | None] = {t.tid: t for t in p.live_threads()}
        if p.pid not in found:
            found[p.pid] = p.threads.get(p.pid)
        return found

    @property
    def nlink(self) -> int:
        return 2 + len(self._threads())

    def lookup(self, name: bytes) -> Node:
        self.alive()
        number = number_of(name)
        threads = self._threads()
        if number is None or number not in threads:
            raise ENOENT
        subject = Subject(self.subject.p, threads[number], number, whole=False)
        key = self.path_of(name)
        return self.fs.node(key, subject.t, lambda: ProcessDir(self.fs, key, subject))

    def readdir(self) -> list[DirEntry]:
        """Empty for who may not know of the process."""
        return [self.entry(b"%d" % tid, _DIR) for tid in sorted(self._threads()) if self.fs.knows(self.subject.p)]
