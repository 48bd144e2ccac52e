"""Terminals of one kernel: /dev with its devices, /dev/pts, the caller's own terminal, and who controls what.

Here the terminals of the vfs meet the processes: `SystemTtyHost` answers what they ask about sessions and groups.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ring3.abi.flags import ACCMODE, FileType, MountFlags, OpenFlags
from ring3.abi.records import Attr, AttrChange, DirEntry, StatFs
from ring3.errors import EBADF, ENOENT, ENXIO, EPERM
from ring3.proc import signals
from ring3.proc.jails import known_procs
from ring3.vfs.dev import DevFS, standard_devices
from ring3.vfs.hoststream import HostStream, HostTerminal, new_stream
from ring3.vfs.pty import PtySlave, PtyTable
from ring3.vfs.tty import Caller, JobControl
from ring3.vfs.vnode import FileSystem, Opener, Vnode

if TYPE_CHECKING:
    from ring3.proc.proc import Proc, Session
    from ring3.proc.system import System
    from ring3.vfs.file import File


class SystemTtyHost:
    """What terminals ask of the processes (`vfs.tty.TtyHost`)."""

    def __init__(self, system: System) -> None:
        self._system = system

    def caller(self) -> Caller:
        """Who is calling now."""
        t = self._system.current
        if t is None:
            return Caller(0, 0, is_leader=False, tty=None, privileged=True)
        p = t.proc
        return Caller(p.pgrp, p.session.sid, p.session.sid == p.pid, p.session.tty, p.cred.privileged)

    def signal_group(self, pgrp: int, signo: int) -> None:
        """Send the kernel's own signal to every process of a group."""
        signals.send_to_group(self._system, pgrp, signals.kernel_signal(signo))

    def signal_leader(self, sid: int, signo: int) -> None:
        """Send the kernel's own signal to the leader of a session."""
        leader = self._system.procs.get(sid)
        if leader is not None:
            signals.send_to_process(leader, signals.kernel_signal(signo))

    def group_session(self, pgrp: int) -> int | None:
        """The session a process group is in."""
        t = self._system.current
        for p in self._system.procs.values() if t is None else known_procs(t):
            if p.pgrp == pgrp and not p.zombie:
                return p.session.sid
        return None

    def set_terminal(self, sid: int, tty: JobControl | None) -> None:
        """Session `sid` has another controlling terminal now, or none."""
        session = self._session(sid)
        if session is not None:
            session.tty = tty

    def _session(self, sid: int) -> Session | None:
        for p in self._system.procs.values():
            if p.session.sid == sid:
                return p.session
        return None


class PtsFS(FileSystem):
    """/dev/pts: a name for each pseudo-terminal there is, and for the host's terminal the name it has there."""

    name = b"devpts"
    source = b"devpts"

    def __init__(self, system: System, table: PtyTable) -> None:
        self.system = system
        self.table = table
        self.dev = 0
        self._root = _PtsRoot(self)
        table.node_of = lambda number: _PtsSlave(self, number)

    def root(self) -> Vnode:
        return self._root

    def statfs(self) -> StatFs:
        return StatFs(0x1CD1, 4096, 0, 0, 0, 0, 0, 0, 255, 4096, 0)


class _PtsRoot(Vnode):
    __slots__ = ()

    def __init__(self, fs: PtsFS) -> None:
        super().__init__(fs, FileType.DIR)

    def getattr(self) -> Attr:
        fs = self.fs
        assert isinstance(fs, PtsFS)
        return Attr(fs.dev, 1, FileType.DIR | 0o755, 2, 0, 0, 0, 0, 1024, 0, 0, 0, 0)

    def lookup(self, name: bytes) -> Vnode:
        fs = self.fs
        assert isinstance(fs, PtsFS)
        if name == b"ptmx":
            return _PtsMaster(fs)
        number = int(name) if name.isdigit() and len(name) <= 6 else -1
        if name != b"%d" % number:
            raise ENOENT
        if number in fs.table.ptys:
            return _PtsSlave(fs, number)
        if number == fs.table.taken:
            return _HostSlave(fs)
        raise ENOENT

    def readdir(self) -> list[DirEntry]:
        fs = self.fs
        assert isinstance(fs, PtsFS)
        numbers = {*fs.table.numbers(), fs.table.taken} - {-1}
        entries = [DirEntry(n + 3, b"%d" % n, FileType.CHR) for n in sorted(numbers)]
        return [*entries, DirEntry(2, b"ptmx", FileType.CHR)]

    def create(self, name: bytes, mode: int, uid: int, gid: int, rdev: int = 0) -> Vnode:
        raise EPERM


class _PtsSlave(Vnode):
    __slots__ = ("number",)

    def __init__(self, fs: PtsFS, number: int) -> None:
        super().__init__(fs, FileType.CHR)
        self.number = number

    def getattr(self) -> Attr:
        fs = self.fs
        assert isinstance(fs, PtsFS)
        pty = fs.table.ptys.get(self.number)
        if pty is None:
            raise ENOENT
        return fs.table.attr(pty)._replace(dev=fs.dev)

    def setattr(self, change: AttrChange) -> None:
        fs = self.fs
        assert isinstance(fs, PtsFS)
        pty = fs.table.ptys.get(self.number)
        if pty is None:
            raise ENOENT
        pty.mode = pty.mode if change.mode is None else change.mode
        pty.uid = pty.uid if change.uid is None else change.uid
        pty.gid = pty.gid if change.gid is None else change.gid

    def open(self, flags: OpenFlags) -> File:
        fs = self.fs
        assert isinstance(fs, PtsFS)
        return fs.table.open_slave(self.number, self, flags)


class _HostSlave(Vnode):
    """The terminal ring3 itself runs at, so that ttyname(3) finds it."""

    __slots__ = ()

    def __init__(self, fs: PtsFS) -> None:
        super().__init__(fs, FileType.CHR)

    def getattr(self) -> Attr:
        fs = self.fs
        assert isinstance(fs, PtsFS)
        st = os.fstat(fs.system.host_terminal_fd)
        return Attr(
            st.st_dev, st.st_ino, st.st_mode, st.st_nlink, st.st_uid, st.st_gid, st.st_rdev, 0, st.st_blksize, 0,
            st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns,
        )

    def open(self, flags: OpenFlags) -> File:
        fs = self.fs
        assert isinstance(fs, PtsFS)
        return _open_host_terminal(fs.system, flags, b"/dev/pts/%d" % fs.table.taken)


class _PtsMaster(Vnode):
    __slots__ = ()

    def __init__(self, fs: PtsFS) -> None:
        super().__init__(fs, FileType.CHR)

    def getattr(self) -> Attr:
        fs = self.fs
        assert isinstance(fs, PtsFS)
        return Attr(fs.dev, 2, FileType.CHR | 0o000, 1, 0, 0, os.makedev(5, 2), 0, 1024, 0, 0, 0, 0)

    def open(self, flags: OpenFlags) -> File:
        fs = self.fs
        assert isinstance(fs, PtsFS)
        return fs.table.open_master(self, flags)


def make_devices(system: System) -> dict[int, Opener]:
    """What the character devices of a kernel open, by number; its pseudo-terminals are made here too."""
    host = SystemTtyHost(system)
    table = PtyTable(host, system.anonymous)
    system.host_terminal = JobControl(host)

    def open_master(flags: OpenFlags) -> File:
        t = system.current
        cred = t.proc.cred if t is not None else None
        return table.open_master(None, flags, cred.fsuid if cred else 0, cred.fsgid if cred else 0)

    def open_controlling(flags: OpenFlags) -> File:
        return controlling_terminal(system, table, flags)

    system.ptys = table
    return standard_devices(random=system.random.randbytes, tty=open_controlling, ptmx=open_master)


def device_file_systems(system: System, devices: dict[int, Opener]) -> list[tuple[FileSystem, str, MountFlags]]:
    """The file systems of /dev, each with its place and flags, in the order they are mounted."""
    return [
        (DevFS(devices), "/dev", MountFlags.NOSUID),
        (PtsFS(system, system.ptys), "/dev/pts", MountFlags.NOSUID | MountFlags.NOEXEC),
    ]


def controlling_terminal(system: System, table: PtyTable, flags: OpenFlags) -> File:
    """What /dev/tty opens: the terminal of the caller's session.  Raises ENXIO without one."""
    t = system.current
    if t is None:
        raise ENXIO
    tty = t.proc.session.tty
    if tty is None and t.proc.session is system.init.session:
        tty = _terminal_of_the_caller(system, t.proc.pgrp)
    if tty is system.host_terminal is not None:
        return _open_host_terminal(system, flags, b"/dev/tty")
    if tty in table.ptys.values():
        return PtySlave(tty, None, flags)
    raise ENXIO


def _terminal_of_the_caller(system: System, pgrp: int) -> JobControl | None:
    """The terminal ring3 itself was started from, though no standard stream is one, as the session's from now on."""
    try:
        _know_terminal(system, os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return None
    job: JobControl = system.host_terminal
    job.associate(system.init.session.sid, pgrp)
    return job


def _know_terminal(system: System, fd: int) -> None:
    """`fd`, which is taken over, is the host's terminal."""
    system.host_terminal_fd = fd
    number = os.minor(os.fstat(fd).st_rdev)
    if os.readlink(f"/proc/self/fd/{fd}") == f"/dev/pts/{number}":
        system.ptys.taken = number


def _open_host_terminal(system: System, flags: OpenFlags, label: bytes) -> File:
    watch = _HostWatch(system)
    fd = os.dup(system.host_terminal_fd)
    watch.stream = HostTerminal(fd, flags & (ACCMODE | OpenFlags.NONBLOCK), label, watch, system.host_terminal)
    return watch.stream


def host_stream(system: System, fd: int) -> HostStream:
    """A guest's file for host descriptor `fd`, which it takes over.  Raises EBADF for what is no descriptor."""
    watch = _HostWatch(system)
    try:
        stream = watch.stream = new_stream(fd, watch, lambda: system.host_terminal)
    except OSError as error:
        raise EBADF(f"host descriptor {fd}: {os.strerror(error.errno or 0)}") from error
    if isinstance(stream, HostTerminal) and system.host_terminal_fd < 0:
        _know_terminal(system, os.dup(fd))
    return stream


class _HostWatch:
    """How one stream asks to be told that its host descriptor is ready."""

    def __init__(self, system: System) -> None:
        self._system = system
        self.stream: HostStream | None = None

    def __call__(self, fd: int, events: int) -> None:
        self._system.scheduler.watch(fd, events, self._ready if events else None)

    def _ready(self, events: int) -> None:
        if self.stream is not None:
            self.stream.host_ready(events)


def adopt_terminal(p: Proc, stream: HostStream) -> None:
    """A program started at a terminal has it as its session's, and is in its foreground."""
    if isinstance(stream, HostTerminal):
        session = p.session
        if session.tty is None:
            stream.job.session = session.sid
            session.tty = stream.job
        if session.tty is stream.job:
            stream.job.foreground = p.pgrp
