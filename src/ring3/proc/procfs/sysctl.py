"""/proc/sys: settings as files.  One table of rows: path, mode, value.

A value is text, or a function of the system.  What can be set stands in `_SETTERS`; everything else that Linux would let root
write is refused with EROFS, since nothing here would obey.  Source: proc_sys_kernel(5), proc_sys_fs(5), proc_sys_vm(5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ring3.abi.flags import ACCMODE, FileType, OpenFlags
from ring3.abi.records import DirEntry
from ring3.errors import EACCES, ENOENT, EPERM, EROFS
from ring3.proc.procfs.fs import uuid
from ring3.proc.procfs.node import Node, ProcDir, TextNode
from ring3.proc.system import PID_MAX

if TYPE_CHECKING:
    from ring3.proc.procfs.fs import ProcFS
    from ring3.protocols import Personality
    from ring3.vfs.file import File

HOST_NAME_MAX = 64

Value = bytes | Callable[["ProcFS"], bytes]


def _personality(fs: ProcFS) -> Personality:
    t = fs.viewer
    return t.proc.personality if t is not None else next(iter(fs.system.personalities.values()))


def _last_pid(fs: ProcFS) -> bytes:
    return b"%d" % max((*fs.system.procs, *fs.system.threads), default=1)


def _open_files(fs: ProcFS) -> bytes:
    seen = {id(f) for p in fs.system.procs.values() if hasattr(p, "fds") for f in p.fds.files.values()}
    return b"%d\t0\t9223372036854775807" % len(seen)


_ROWS: dict[bytes, tuple[int, Value]] = {
    b"fs/aio-max-nr": (0o644, b"65536"),
    b"fs/aio-nr": (0o444, b"0"),
    b"fs/epoll/max_user_watches": (0o644, b"1048576"),
    b"fs/file-max": (0o644, b"9223372036854775807"),
    b"fs/file-nr": (0o444, _open_files),
    b"fs/inotify/max_queued_events": (0o644, b"16384"),
    b"fs/inotify/max_user_instances": (0o644, b"128"),
    b"fs/inotify/max_user_watches": (0o644, b"65536"),
    b"fs/lease-break-time": (0o644, b"45"),
    b"fs/leases-enable": (0o644, b"1"),
    b"fs/mount-max": (0o644, b"100000"),
    b"fs/nr_open": (0o644, b"1048576"),
    b"fs/overflowgid": (0o644, b"65534"),
    b"fs/overflowuid": (0o644, b"65534"),
    b"fs/pipe-max-size": (0o644, b"1048576"),
    b"fs/pipe-user-pages-hard": (0o644, b"0"),
    b"fs/pipe-user-pages-soft": (0o644, b"0"),
    b"fs/protected_fifos": (0o644, b"1"),
    b"fs/protected_hardlinks": (0o644, b"1"),
    b"fs/protected_regular": (0o644, b"1"),
    b"fs/protected_symlinks": (0o644, b"0"),
    b"fs/suid_dumpable": (0o644, b"0"),
    b"kernel/arch": (0o444, lambda fs: _personality(fs).machine_name.encode()),
    b"kernel/cap_last_cap": (0o444, b"40"),
    b"kernel/core_pattern": (0o644, b"core"),
    b"kernel/core_uses_pid": (0o644, b"0"),
    b"kernel/dmesg_restrict": (0o644, b"1"),
    b"kernel/domainname": (0o644, lambda fs: fs.system.domainname),
    b"kernel/hostname": (0o644, lambda fs: fs.system.hostname),
    b"kernel/kptr_restrict": (0o644, b"1"),
    b"kernel/msgmax": (0o644, b"8192"),
    b"kernel/msgmnb": (0o644, b"16384"),
    b"kernel/msgmni": (0o644, b"32000"),
    b"kernel/ngroups_max": (0o444, b"65536"),
    b"kernel/ns_last_pid": (0o666, _last_pid),
    b"kernel/osrelease": (0o444, lambda fs: _personality(fs).release.encode()),
    b"kernel/ostype": (0o444, lambda fs: _personality(fs).sysname.encode()),
    b"kernel/overflowgid": (0o644, b"65534"),
    b"kernel/overflowuid": (0o644, b"65534"),
    b"kernel/panic": (0o644, b"0"),
    b"kernel/perf_event_paranoid": (0o644, b"4"),
    b"kernel/pid_max": (0o644, b"%d" % PID_MAX),
    b"kernel/printk": (0o644, b"4\t4\t1\t7"),
    b"kernel/random/boot_id": (0o444, lambda fs: fs.boot_id),
    b"kernel/random/entropy_avail": (0o444, b"256"),
    b"kernel/random/poolsize": (0o444, b"256"),
    b"kernel/random/urandom_min_reseed_secs": (0o644, b"60"),
    b"kernel/random/uuid": (0o444, lambda fs: uuid(fs.system)),
    b"kernel/random/write_wakeup_threshold": (0o644, b"256"),
    b"kernel/randomize_va_space": (0o644, b"2"),
    b"kernel/sched_rr_timeslice_ms": (0o644, b"100"),
    b"kernel/sched_rt_period_us": (0o644, b"1000000"),
    b"kernel/sched_rt_runtime_us": (0o644, b"950000"),
    b"kernel/sem": (0o644, b"32000\t1024000000\t500\t32000"),
    b"kernel/shmall": (0o644, b"18446744073692774399"),
    b"kernel/shmmax": (0o644, b"18446744073692774399"),
    b"kernel/shmmni": (0o644, b"4096"),
    b"kernel/tainted": (0o644, b"0"),
    b"kernel/threads-max": (0o644, lambda fs: b"%d" % fs.system.max_procs),
    b"kernel/version": (0o444, lambda fs: _personality(fs).version.encode()),
    b"net/core/rmem_default": (0o644, b"212992"),
    b"net/core/rmem_max": (0o644, b"212992"),
    b"net/core/somaxconn": (0o644, b"4096"),
    b"net/core/wmem_default": (0o644, b"212992"),
    b"net/core/wmem_max": (0o644, b"212992"),
    b"net/unix/max_dgram_qlen": (0o644, b"10"),
    b"vm/legacy_va_layout": (0o644, b"0"),
    b"vm/max_map_count": (0o644, b"65530"),
    b"vm/min_free_kbytes": (0o644, b"67584"),
    b"vm/mmap_min_addr": (0o644, lambda fs: b"%d" % fs.system.facts.min_addr),
    b"vm/nr_hugepages": (0o644, b"0"),
    b"vm/overcommit_kbytes": (0o644, b"0"),
    b"vm/overcommit_memory": (0o644, b"0"),
    b"vm/overcommit_ratio": (0o644, b"50"),
    b"vm/swappiness": (0o644, b"60"),
}


def _set_hostname(fs: ProcFS, text: bytes) -> None:
    fs.system.hostname = text


def _set_domainname(fs: ProcFS, text: bytes) -> None:
    fs.system.domainname = text


_SETTERS: dict[bytes, Callable[[ProcFS, bytes], None]] = {
    b"kernel/hostname": _set_hostname,
    b"kernel/domainname": _set_domainname,
}


class SysctlDir(ProcDir):
    """A directory of settings: those whose path begins with `prefix`."""

    __slots__ = ("prefix",)

    def __init__(self, fs: ProcFS, key: bytes, prefix: bytes) -> None:
        super().__init__(fs, key, FileType.DIR | 0o555)
        self.prefix = prefix

    def lookup(self, name: bytes) -> Node:
        path, key = self.prefix + name, self.path_of(name)
        row = _ROWS.get(path)
        if row is not None:
            return self.fs.node(key, None, lambda: Setting(self.fs, key, path, *row))
        if any(known.startswith(path + b"/") for known in _ROWS):
            return self.fs.node(key, None, lambda: SysctlDir(self.fs, key, path + b"/"))
        raise ENOENT

    def readdir(self) -> list[DirEntry]:
        found: dict[bytes, int] = {}
        for path in _ROWS:
            if path.startswith(self.prefix):
                name, below, _ = path[len(self.prefix) :].partition(b"/")
                found[name] = FileType.DIR if below else FileType.REG
        return [self.entry(name, kind) for name, kind in found.items()]


class Setting(TextNode):
    """One setting."""

    __slots__ = ("path",)

    def __init__(self, fs: ProcFS, key: bytes, path: bytes, mode: int, value: Value) -> None:
        def render() -> bytes:
            return (value if isinstance(value, bytes) else value(fs)) + b"\n"

        setter = _SETTERS.get(path)

        def store(data: bytes) -> None:
            t = fs.viewer
            if t is not None and not t.proc.cred.privileged:
                raise EPERM
            assert setter is not None
            setter(fs, data.split(b"\n", 1)[0].split(b"\0", 1)[0][:HOST_NAME_MAX])

        super().__init__(fs, key, mode, render, store if setter else None, seekable_end=True)
        self.path = path

    def open(self, flags: OpenFlags) -> File:
        """Raises EACCES for writing what nobody may, root neither; EROFS for what nothing here obeys."""
        if flags & ACCMODE:
            if not self.mode & 0o200:
                raise EACCES
            if self.store is None:
                raise EROFS
        return super().open(flags)
