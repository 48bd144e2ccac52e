"""Starting and ending a kernel: the one place where all floors meet.  Called on the kernel's own thread.

Not here: what happens between the two (`proc/scheduler.py`), and who asked (`kernel.py`).
"""

from __future__ import annotations

import errno as host_errno
import os
import resource
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from ring3.abi.flags import MountFlags
from ring3.namedtuple import NamedTuple

if TYPE_CHECKING:
    from ring3.machine.base import Machine
    from ring3.policy.veriexec import VeriexecOptions
    from ring3.proc.proc import Thread
    from ring3.proc.system import System
    from ring3.protocols import Instrument, Personality
    from ring3.vfs.dentry import Dentry
    from ring3.vfs.mount import MountTable
    from ring3.vfs.namei import NameiContext
    from ring3.vfs.vnode import FileSystem, Opener

FEW_DESCRIPTORS: Final = 1024
MODES: Final = ("ro", "rw", "cow")
KERNELS_OWN: Final = MountFlags.NOSUID | MountFlags.NODEV | MountFlags.NOEXEC      # how its own file systems are mounted
EMULATION_ROOTS: Final = "/emul"        # of the guest: programs of NAME look for their files below /emul/NAME first


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
    emul: tuple[tuple[str, str], ...] = ()
    veriexec: VeriexecOptions | None = None

    def check(self) -> None:
        """Raises FileNotFoundError or NotADirectoryError for a root or mount that is not there, ValueError for no mode or
        name.
        """
        if not os.path.isdir(self.root):
            number = host_errno.ENOTDIR if os.path.exists(self.root) else host_errno.ENOENT
            raise OSError(number, f"{os.strerror(number)}, so it cannot be the guest's root", self.root)
        for name, host in self.emul:
            if not name or name in (".", "..") or "/" in name or "\0" in name:
                raise ValueError(f"emulation root of {name!r}: that cannot be the name of a personality")
            if not os.path.isdir(host):
                number = host_errno.ENOTDIR if os.path.exists(host) else host_errno.ENOENT
                raise OSError(number, f"{os.strerror(number)}, so it cannot be the emulation root of {name}", host)
        for spec in self.mounts:
            if spec.mode not in MODES:
                raise ValueError(f"mount mode {spec.mode!r}: it is one of {', '.join(MODES)}")
            if not os.path.exists(spec.host):
                why = "No such file or directory on the host, so it cannot be mounted"
                raise FileNotFoundError(host_errno.ENOENT, why, spec.host)


def boot(options: BootOptions, *, still: bool = False) -> System:
    """A system with its machine, mounts, personalities and exec switch, and no process yet.

    With `still` nothing can run in it: it is for asking what would happen, and needs nothing of the host.

    Raises `MachineUnavailable` where guests cannot run, OSError for a root or mount that cannot be.
    """
    from ring3.exec.switch import new_switch
    from ring3.personality import Personalities
    from ring3.personality.linux import import_all_calls
    from ring3.proc.futex import Futexes
    from ring3.proc.system import System
    from ring3.vfs.pipe import AnonymousInodes

    machine, serve = _start_machine(still=still)
    try:
        system = System(machine, serve, seed=options.seed)
        system.hostname = os.fsencode(options.hostname)
        system.anonymous = AnonymousInodes()
        system.futexes = Futexes(system)
        system.personalities = Personalities(told=partial(mount_views, system))
        if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < FEW_DESCRIPTORS:
            import_all_calls()
        system.execsw = new_switch(system)
        system.new_ktracer = _new_ktracer
        mount_all(system, options)
        if options.veriexec is not None:
            from ring3.policy.veriexec import install

            install(system, options.veriexec)
    except BaseException:
        machine.close()
        raise
    return system


def _start_machine(*, still: bool) -> tuple[Machine, Callable[[Thread], None]]:
    """A machine, and what serves its stops."""
    if still:
        from ring3.machine.still import StillMachine

        return StillMachine(), lambda _t: None
    from ring3.calls.trap import serve
    from ring3.machine.native import NativeMachine

    return NativeMachine(), serve


def _new_ktracer() -> Instrument:
    from ring3.trace.ktrace import GuestKtrace

    return GuestKtrace()


def shut_down(system: System) -> None:
    """Give everything back, whatever state the kernel fell in: stubs, then descriptors, then mounts."""
    try:
        system.machine.close()
    finally:
        for p in tuple(system.procs.values()):
            if p is not system.init and not p.zombie:
                with suppress(Exception):       # the kernel fell; its last words are said already
                    p.fds.release()
        if system.host_terminal_fd >= 0:
            os.close(system.host_terminal_fd)
        if system.sockets is not None:
            system.sockets.close()
        if system.memfds is not None:
            system.memfds.close()
        system.procs.clear()
        system.threads.clear()
        system.current = None
        system.mounts.close()


def mount_all(system: System, options: BootOptions) -> None:
    """The guest's file tree: the root in an overlay, /proc, /dev, a writable /tmp, emulation roots, then what the user
    added.
    """
    from ring3.proc.procfs import ProcFS
    from ring3.proc.terminal import device_file_systems, make_devices
    from ring3.vfs.memory import MemoryFS
    from ring3.vfs.mount import MountTable

    table = system.mounts = MountTable()
    devices = make_devices(system)
    table.mount(_show(options.root, "cow", devices), None)
    table.mount(ProcFS(system), _place(table, "/proc"), KERNELS_OWN)
    devs = device_file_systems(system, devices)
    for fs, path, flags in devs:
        table.mount(fs, _place(table, path), flags)
    if _look(table, b"/tmp") is None:
        table.mount(MemoryFS(devices=devices), _place(table, "/tmp"))
    for name, host in options.emul:
        place = f"{EMULATION_ROOTS}/{name}"
        table.mount(_show(host, "cow", devices), _place(table, place))
        dev = _look(table, os.fsencode(f"{place}/dev"), follow=False)
        if dev is not None and dev.vnode.is_dir:                        # what is made below it would hide the true devices
            for fs, path, flags in devs:
                table.mount(fs, _place(table, place + path), flags)
    for spec in options.mounts:
        host = os.path.abspath(spec.host)
        fs = _show(host, spec.mode, devices)
        is_dir = os.path.isdir(host)
        table.mount(fs, _place(table, spec.guest, is_dir=is_dir), MountFlags.RDONLY if spec.mode == "ro" else MountFlags.NONE)


def mount_views(system: System, personality: Personality) -> None:
    """What programs of one system alone see (`Personality.views`): over the kernel's own file systems, where nothing is mounted,
    and in its emulation root where that has such a directory.  What the user mounted stays as it is.
    """
    for path, make in personality.views.items():
        fs: FileSystem = make(system)
        for place in (path, (personality.root or b"") + path):
            found = _look(system.mounts, place, follow=False)
            if found is None and place == path:
                with suppress(OSError):
                    found = _place(system.mounts, os.fsdecode(place))
            if found is None or not found.vnode.is_dir or (found.parent is None and found.vnode.fs.name != b"proc"):
                continue
            system.mounts.mount(fs, found, KERNELS_OWN, only=personality.lookups.system)


def _show(host: str, mode: str, devices: Mapping[int, Opener]) -> FileSystem:
    """A file system of the host directory or file `host`.  Raises OSError where it cannot be shown."""
    from ring3.errors import Errno
    from ring3.vfs.filemount import FileMount
    from ring3.vfs.hostdir import HostDirFS
    from ring3.vfs.memory import MemoryFS
    from ring3.vfs.overlay import OverlayFS

    host = os.path.realpath(host)
    directory, name = (host, "") if os.path.isdir(host) else os.path.split(host)
    try:
        fs: FileSystem = HostDirFS(directory, writable=mode == "rw", devices=devices)
        if mode == "cow":
            fs = OverlayFS(fs, MemoryFS(devices=devices), devices)
        return FileMount(fs, os.fsencode(name)) if name else fs
    except Errno as refusal:
        number = getattr(host_errno, refusal.name)
        raise OSError(number, f"{refusal}, so it cannot be shown to guests", host) from refusal


def _context(table: MountTable) -> NameiContext:
    from ring3.proc.cred import Cred
    from ring3.vfs.namei import NameiContext

    return NameiContext(table.root, table.root, Cred())


def _look(table: MountTable, path: bytes, *, follow: bool = True) -> Dentry | None:
    from ring3.errors import Errno
    from ring3.vfs.namei import namei

    try:
        return namei(_context(table), path, follow=follow)
    except Errno:
        return None


def _place(table: MountTable, guest: str, *, is_dir: bool = True) -> Dentry:
    """The mount point at a path, made where it is missing: in memory, unless it lies in a mount that is "rw".

    Raises OSError where it cannot be made, or is of the other kind.
    """
    from ring3.errors import Errno
    from ring3.vfs.names import mkdir, mknod

    parts = [part for part in os.fsencode(guest).split(b"/") if part]
    made = b""
    try:
        for depth, part in enumerate(parts, 1):
            made += b"/" + part
            if _look(table, made) is None:
                if depth == len(parts) and not is_dir:
                    mknod(_context(table), made, 0o100644)
                else:
                    mkdir(_context(table), made, 0o755)
    except Errno as refusal:
        why = f"{refusal}, so no mount point can be made there; make it yourself, or mount what it lies in with :cow"
        raise OSError(getattr(host_errno, refusal.name), why, os.fsdecode(made)) from refusal
    found = _look(table, made or b"/")
    assert found is not None
    if found.vnode.is_dir != is_dir:
        kind, other = ("directory", "a file") if is_dir else ("file", "a directory")
        raise OSError(host_errno.ENOTDIR, f"a host {kind} cannot be mounted there: the guest has {other} of that name", guest)
    return found
