"""Starting a kernel: the one place where all floors meet.  Called on the kernel's own thread.

Not here: what happens afterwards (`proc/scheduler.py`), and who asked (`kernel.py`).
"""

from __future__ import annotations

import os
from typing import NamedTuple

from ring3.abi.flags import MountFlags
from ring3.calls.trap import serve
from ring3.errors import Errno
from ring3.machine.base import Machine
from ring3.proc.system import System
from ring3.vfs.dentry import Dentry
from ring3.vfs.mount import MountTable


class MountSpec(NamedTuple):
    """One `--mount`: a host directory or file shown to the guest.  `mode` is "ro", "rw" or "cow"."""

    host: str
    guest: str
    mode: str = "ro"


class BootOptions(NamedTuple):
    """How a kernel is made; see `Kernel` for what each means."""

    root: str = "/"
    mounts: tuple[MountSpec, ...] = ()
    seed: int | None = None
    hostname: str = "ring3"
    vdso: bool = True


def boot(options: BootOptions) -> System:
    """A system with its machine, mounts, personalities and exec switch, and no process yet.

    Raises `MachineUnavailable` where guests cannot run, OSError for a root or mount that is not there.
    """
    from ring3.exec.switch import new_switch
    from ring3.machine.native import NativeMachine
    from ring3.personality.linux import linux_personality
    from ring3.proc.futex import Futexes
    from ring3.vfs.pipe import AnonymousInodes

    machine: Machine = NativeMachine()
    try:
        system = System(machine, serve, seed=options.seed)
        system.hostname = os.fsencode(options.hostname)
        system.anonymous = AnonymousInodes()
        system.futexes = Futexes(system)
        system.personalities["linux"] = linux_personality()
        system.execsw = new_switch(system)
        system.mounts = mount_all(system, options)
    except BaseException:
        machine.close()
        raise
    return system


def mount_all(system: System, options: BootOptions) -> MountTable:
    """The guest's file tree: the root in an overlay, /proc, /dev, a writable /tmp, then what the user added."""
    from ring3.vfs.hostdir import HostDirFS
    from ring3.vfs.memory import MemoryFS
    from ring3.vfs.overlay import OverlayFS

    table = MountTable()
    table.mount(OverlayFS(HostDirFS(options.root, writable=False), MemoryFS()), None)
    _mount_proc(system, table)
    _mount_dev(system, table)
    if _look(table, b"/tmp") is None:
        table.mount(MemoryFS(), _make_directory(table, b"/tmp"))
    for spec in options.mounts:
        _mount_spec(table, spec)
    return table


def _mount_spec(table: MountTable, spec: MountSpec) -> None:
    from ring3.vfs.hostdir import HostDirFS
    from ring3.vfs.memory import MemoryFS
    from ring3.vfs.overlay import OverlayFS

    host = os.path.abspath(spec.host)
    if not os.path.isdir(host):
        raise NotADirectoryError(20, "a mount shows a directory, and this is none", spec.host)
    target = _make_directory(table, os.fsencode(spec.guest))
    if spec.mode == "cow":
        table.mount(OverlayFS(HostDirFS(host, writable=False), MemoryFS()), target)
    else:
        flags = MountFlags.RDONLY if spec.mode == "ro" else MountFlags.NONE
        table.mount(HostDirFS(host, writable=spec.mode == "rw"), target, flags)


def _mount_proc(system: System, table: MountTable) -> None:
    from ring3.proc.procfs import ProcFS

    table.mount(ProcFS(system), _make_directory(table, b"/proc"), MountFlags.NOSUID | MountFlags.NODEV | MountFlags.NOEXEC)


def _mount_dev(system: System, table: MountTable) -> None:
    from ring3.proc.terminal import make_devfs

    for fs, path, flags in make_devfs(system):
        table.mount(fs, _make_directory(table, path), flags)


def _context(table: MountTable) -> object:
    from ring3.proc.cred import Cred
    from ring3.vfs.namei import NameiContext

    return NameiContext(table.root, table.root, Cred())


def _look(table: MountTable, path: bytes) -> Dentry | None:
    from ring3.vfs.namei import namei

    try:
        return namei(_context(table), path)  # type: ignore[arg-type]
    except Errno:
        return None


def _make_directory(table: MountTable, path: bytes) -> Dentry:
    """The directory at `path`, made in the overlay where it is missing."""
    from ring3.vfs.names import mkdir

    made = b""
    for part in path.strip(b"/").split(b"/"):
        made += b"/" + part
        if _look(table, made) is None:
            mkdir(_context(table), made, 0o755)  # type: ignore[arg-type]
    found = _look(table, path)
    if found is None:
        raise NotADirectoryError(20, "cannot be made a mount point", os.fsdecode(path))
    return found
