"""Who of a kernel's processes is traced by ktrace(2), and where the records go.

A `KtraceFile` is one open file that records are appended to, for one process or many; it keeps what the file will not take now (a
full pipe) and tries again later, up to a limit: as on NetBSD, who is traced to a file that cannot be written is traced no more.
Not here: the calls (`calls/netbsd/ktrace.py`), what a record says (`trace/ktrace.py`).  Source: kern_ktrace.c, ktrace(2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ring3.abi.netbsd.ktrace import FAC_MASK, INHERIT, PERSISTENT, TRACE_EMUL, VERSION_MASK, VERSION_SHIFT, Record
from ring3.errors import EAGAIN, Errno

if TYPE_CHECKING:
    from ring3.proc.proc import Proc
    from ring3.proc.system import System
    from ring3.vfs.file import File

MAX_WAITING: Final = 1 << 20            # bytes that a file would not take yet
_RETRY_NS: Final = 10_000_000


class KtraceFile:
    """Where records go.  `users` counts the processes traced to it; the last one closes it."""

    __slots__ = ("_retry", "_system", "_waiting", "failed", "file", "users")

    def __init__(self, system: System, file: File) -> None:
        self._system = system
        self._waiting = bytearray()
        self._retry: Any = None
        self.file = file.acquire()
        self.users = 0
        self.failed = False

    def is_same(self, file: File) -> bool:
        """Whether that is this file, opened again perhaps."""
        return file is self.file or (file.vnode is not None and file.vnode is self.file.vnode)

    def write(self, data: bytes) -> None:
        """Append one record."""
        if self.failed:
            return
        if self._waiting:
            self._waiting += data
            self._flush()
        else:
            self._waiting += data[self._put(data):]
        if len(self._waiting) > MAX_WAITING:
            self.failed = True
        if self.failed:
            self._waiting.clear()
        elif self._waiting and self._retry is None:
            self._retry = self._system.schedule(self._system.now_ns() + _RETRY_NS, self._try_again)

    def _put(self, data: bytes) -> int:
        """How much of `data` the file took."""
        try:
            return self.file.write(data)
        except EAGAIN:
            return 0
        except Errno:
            self.failed = True
            return 0

    def _flush(self) -> None:
        done = self._put(bytes(self._waiting))
        del self._waiting[:done]

    def _try_again(self) -> None:
        self._retry = None
        if not self.failed and self._waiting:
            self.write(b"")

    def release(self) -> None:
        """One process less."""
        self.users -= 1
        if not self.users:
            if self._waiting and not self.failed:
                self._flush()
            if self._retry is not None:
                self._retry.cancel()
                self._retry = None
            self.failed = True
            self.file.release()


class KtraceState:
    """How one process is traced: p_tracep and p_traceflag."""

    __slots__ = ("file", "flags")

    def __init__(self, file: KtraceFile, flags: int) -> None:
        self.file = file
        self.flags = flags
        file.users += 1

    @property
    def version(self) -> int:
        """Which headers were asked for."""
        return (self.flags & VERSION_MASK) >> VERSION_SHIFT

    def wants(self, record: Record) -> bool:
        """Whether records of this type are asked for."""
        return bool(self.flags & 1 << record)


def trace_on(p: Proc, file: KtraceFile, facilities: int, *, by_root: bool) -> None:
    """KTROP_SET: more facilities to a file.  Another file takes the place of the one before."""
    state: KtraceState | None = p.ktrace
    if state is None or state.file is not file:
        trace_off(p)
        state = p.ktrace = KtraceState(file, 0)
    state.flags = (state.flags & ~VERSION_MASK if facilities & VERSION_MASK else state.flags) | facilities
    if by_root:
        state.flags |= PERSISTENT
    _announce(state)


def trace_less(p: Proc, facilities: int) -> None:
    """KTROP_CLEAR: without these facilities; without any, not at all."""
    state: KtraceState | None = p.ktrace
    if state is None:
        return
    state.flags &= ~facilities
    if not state.flags & FAC_MASK:
        trace_off(p)
    else:
        _announce(state)


def trace_off(p: Proc) -> None:
    """Not traced any more."""
    state: KtraceState | None = p.ktrace
    if state is not None:
        p.ktrace = None
        state.file.release()


def inherit(parent: Proc, child: Proc) -> None:
    """fork(2): a child is traced as its parent where that was asked for."""
    state: KtraceState | None = parent.ktrace
    if state is not None and state.flags & INHERIT:
        child.ktrace = KtraceState(state.file, state.flags)
        _announce(child.ktrace)


def drop_at_setid(p: Proc) -> None:
    """A set-id program begins: only root's tracing goes on."""
    state: KtraceState | None = p.ktrace
    if state is not None and not state.flags & PERSISTENT:
        trace_off(p)


def watch(system: System) -> None:
    """See to it that there is a watcher where somebody is traced, and none where nobody is."""
    traced = any(p.ktrace is not None for p in system.procs.values())
    watcher = system.ktracer
    if traced and watcher is None and system.new_ktracer is not None:
        watcher = system.ktracer = system.new_ktracer()
        system.instruments.append(watcher)
    elif not traced and watcher is not None:
        system.ktracer = None
        if watcher in system.instruments:
            system.instruments.remove(watcher)


def _announce(state: KtraceState) -> None:
    """An EMUL record comes first, where such are asked for."""
    if state.wants(Record.EMUL):
        state.flags |= TRACE_EMUL
