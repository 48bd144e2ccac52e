"""/proc, over a kernel of plain objects: what it shows, to whom, and that it shows it as the host's kernel does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from ring3.abi.flags import MountFlags, OpenFlags, Prot, Whence
from ring3.abi.signals import SigAction, Signal, bit
from ring3.calls.trap import serve
from ring3.errors import EACCES, EINVAL, EIO, ELOOP, ENOENT, ENXIO, EPERM, EROFS, ESRCH, Errno
from ring3.machine.scripted import ScriptedMachine
from ring3.proc.cred import Cred
from ring3.proc.fdtable import FdTable
from ring3.proc.jails import new_jail
from ring3.proc.lookup import namei_context
from ring3.proc.proc import FsContext, Proc, Thread, ThreadState
from ring3.proc.procfs import ProcFS
from ring3.proc.system import System, default_rlimits
from ring3.protocols import Personality
from ring3.vfs.file import File
from ring3.vfs.memory import MemoryFS
from ring3.vfs.mount import MountTable
from ring3.vfs.namei import namei
from ring3.vfs.names import mkdir, rename, rmdir, unlink
from ring3.vfs.opening import open_file
from ring3.vfs.pipe import AnonymousInodes, make_pipe
from ring3.vm.region import Region, VMObject
from ring3.vm.vmspace import VMSpace

STACK = 0x7FFFFFF00000
ROOT = Cred()
NOBODY = Cred(65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534)


class Image(VMObject):
    """A file behind a region, without pages."""

    @property
    def label(self) -> bytes:
        return b"/bin/a\nb"

    @property
    def identity(self) -> tuple[int, int]:
        return os.makedev(0xFE, 3), 77


class World:
    """A kernel with /proc at /proc, and processes on demand."""

    def __init__(self) -> None:
        self.machine = ScriptedMachine()
        self.system = System(self.machine, serve, seed=1)
        self.system.mounts = table = MountTable()
        self.system.anonymous = AnonymousInodes()
        self.system.personalities["linux"] = Personality(
            name="linux", abis={}, exec=None, sysname="Linux", release="6.1.0-test", version="#1", machine_name="x86_64"
        )
        table.mount(MemoryFS(), None)
        mkdir(self.context(), b"/proc", 0o555)
        mkdir(self.context(), b"/tmp dir", 0o777)
        flags = MountFlags.NOSUID | MountFlags.NODEV | MountFlags.NOEXEC
        table.mount(ProcFS(self.system), namei(self.context(), b"/proc"), flags)
        self.t = self.process(b"guest", argv=b"guest\0-x\0", env=b"A=1\0")
        self.system.current = self.t

    def context(self) -> Any:
        from ring3.vfs.namei import NameiContext

        root = self.system.mounts.root
        return NameiContext(root, root, ROOT)

    def process(self, comm: bytes, cred: Cred = ROOT, *, argv: bytes = b"", env: bytes = b"") -> Thread:
        system = self.system
        p = Proc(system, system.new_pid(), system.init)
        t = Thread(p, p.pid)
        t.comm = comm
        t.state = ThreadState.SERVED
        p.personality = system.personalities["linux"]
        p.fds, p.cred, p.rlimits = FdTable(), cred, default_rlimits()
        p.start_ns = system.now_ns()
        p.fs = FsContext(system.mounts.root, system.mounts.root)
        p.vm = vm = VMSpace(self.machine.new_space(), min_addr=65536, user_top=1 << 47)
        t.cpu = self.machine.new_thread(vm.machine)
        vm.map(Region(0x400000, 0x402000, Prot.READ | Prot.EXEC))
        vm.regions[0].object = Image()
        vm.regions[0].offset = 0x1000
        vm.map(Region(0x800000, 0x803000, Prot.READ | Prot.WRITE))
        vm.brk_start, vm.brk_end = 0x800000, 0x802800
        vm.map(Region(STACK, STACK + 0x21000, Prot.READ | Prot.WRITE, growsdown=True))
        vm.stack_top = STACK + 0x21000
        vm.arg_start = STACK + 0x20000
        vm.arg_end = vm.env_start = vm.arg_start + len(argv)
        vm.env_end = vm.env_start + len(env)
        if argv + env:
            vm.copyout(vm.arg_start, argv + env)
        p.threads[p.pid] = t
        system.procs[p.pid] = p
        system.threads[p.pid] = t
        system.init.children.append(p)
        return t

    def open(self, path: str, flags: OpenFlags = OpenFlags.RDONLY) -> File:
        t = self.system.current
        assert t is not None
        return open_file(namei_context(t), path.encode(), flags)

    def read(self, path: str) -> bytes:
        file = self.open(path)
        try:
            return b"".join(iter(lambda: file.read(100), b""))
        finally:
            file.close()

    def write(self, path: str, data: bytes) -> int:
        return self.open(path, OpenFlags.WRONLY | OpenFlags.TRUNC).write(data)

    def link(self, path: str) -> bytes:
        t = self.system.current
        assert t is not None
        return namei(namei_context(t), path.encode(), follow=False).vnode.readlink()

    def names(self, path: str) -> list[bytes]:
        t = self.system.current
        assert t is not None
        return [entry.name for entry in namei(namei_context(t), path.encode()).vnode.readdir()]


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.machine.close()


def host(name: str) -> bytes:
    with open(f"/proc/{name}", "rb") as file:
        return file.read()


def keys(text: bytes) -> list[bytes]:
    return [line.split(b":")[0] for line in text.splitlines() if b":" in line]


# --- who looks
def test_self_is_who_looks(world: World) -> None:
    assert world.link("/proc/self") == b"2"
    assert world.link("/proc/thread-self") == b"2/task/2"
    other = world.process(b"other")
    world.system.current = other
    assert world.link("/proc/self") == b"%d" % other.tid
    assert world.read("/proc/self/comm") == b"other\n"
    assert world.read("/proc/thread-self/comm") == b"other\n"


def test_nobody_looks(world: World) -> None:
    world.system.current = None
    with pytest.raises(ENOENT):
        namei(world.context(), b"/proc/self")


def test_root_lists_processes_and_every_name_can_be_read(world: World) -> None:
    names = world.names("/proc")
    assert names[-2:] == [b"1", b"2"]
    for name in names[:-2]:
        vnode = namei(namei_context(world.t), b"/proc/" + name).vnode
        if not vnode.is_dir:
            world.read(f"/proc/{name.decode()}")


@pytest.mark.parametrize("pid", ["self", "1", "self/task/2"])
def test_every_file_of_a_process_answers(world: World, pid: str) -> None:
    """Process 1 is the kernel's own: no threads, no memory, no files."""
    for name in world.names(f"/proc/{pid}"):
        path = f"/proc/{pid}/{name.decode()}"
        try:
            vnode = namei(namei_context(world.t), path.encode()).vnode
            if vnode.is_dir:
                vnode.readdir()
            elif name != b"mem":
                world.read(path)
        except (ENOENT, ESRCH, EINVAL):
            assert pid == "1" or name == b"exe", path


def test_zombie_answers_as_on_the_host(world: World) -> None:
    t = world.process(b"gone")
    p = t.proc
    p.zombie, p.exit_status, t.state = True, 3 << 8, ThreadState.DEAD
    pid = p.pid
    assert b"State:\tZ (zombie)\n" in world.read(f"/proc/{pid}/status")
    assert b"VmSize" not in world.read(f"/proc/{pid}/status")
    fields = world.read(f"/proc/{pid}/stat").split()
    assert (fields[2], fields[-1], len(fields)) == (b"Z", b"768", 52)
    assert world.read(f"/proc/{pid}/statm") == b"0 0 0 0 0 0 0\n"
    assert world.read(f"/proc/{pid}/maps") == world.read(f"/proc/{pid}/cmdline") == b""
    assert world.names(f"/proc/{pid}/fd") == []
    for name, error in {"environ": ESRCH, "auxv": ESRCH, "mounts": EINVAL}.items():
        with pytest.raises(error):
            world.read(f"/proc/{pid}/{name}")
    for name in ("exe", "cwd", "root"):
        with pytest.raises(ENOENT):
            world.link(f"/proc/{pid}/{name}")


def test_files_of_a_process_that_is_gone(world: World) -> None:
    t = world.process(b"gone")
    stat, directory = world.open(f"/proc/{t.tid}/stat"), world.open(f"/proc/{t.tid}")
    del world.system.procs[t.tid], world.system.threads[t.tid]
    with pytest.raises(ESRCH):
        stat.read(10)
    assert directory.vnode is not None
    assert directory.vnode.readdir() == []
    with pytest.raises(ESRCH):
        directory.vnode.lookup(b"stat")
    with pytest.raises(ENOENT):
        world.read(f"/proc/{t.tid}/stat")


@pytest.mark.parametrize("name", ["01", "+1", "99", "1x", "-1", "99999999999999999999"])
def test_names_that_are_no_process(world: World, name: str) -> None:
    with pytest.raises(ENOENT):
        namei(namei_context(world.t), f"/proc/{name}".encode())


def test_a_thread_is_found_but_not_listed(world: World) -> None:
    second = Thread(world.t.proc, 9)
    second.cpu, second.comm, second.state = world.t.cpu, b"worker", ThreadState.SLEEPING
    world.t.proc.threads[9] = world.system.threads[9] = second
    assert b"9" not in world.names("/proc")
    assert world.names("/proc/self/task") == [b"2", b"9"]
    assert b"Tgid:\t2\n" in world.read("/proc/9/status")
    assert b"Pid:\t9\n" in world.read("/proc/9/status")
    assert world.read("/proc/self/task/9/comm") == b"worker\n"
    assert world.read("/proc/self/task/9/stat").startswith(b"9 (worker) S 1 2 ")
    world.write("/proc/self/task/9/comm", b"renamed-to-more-than-fits")
    assert second.comm == b"renamed-to-more"


# --- who may
def test_strangers_see_only_what_is_public(world: World) -> None:
    world.t.proc.fds.set(0, make_pipe(world.system.anonymous, OpenFlags(0))[0])
    world.system.current = world.process(b"stranger", NOBODY)
    for name in ("environ", "maps", "smaps", "auxv", "io", "mem", "personality", "syscall", "fdinfo/0", "fd/0"):
        with pytest.raises(EACCES):
            world.open(f"/proc/2/{name}")
    for name in ("exe", "cwd", "root", "ns/mnt"):
        with pytest.raises(EACCES):
            world.link(f"/proc/2/{name}")
    for name in ("status", "stat", "statm", "cmdline", "comm", "limits", "mounts", "wchan", "oom_score"):
        world.read(f"/proc/2/{name}")
    assert world.read("/proc/2/stat").split()[25:28] == [b"1", b"1", b"0"]


def test_a_process_that_may_not_be_dumped_belongs_to_root(world: World) -> None:
    mine, its = world.process(b"a", NOBODY), world.process(b"b", NOBODY)
    world.system.current = mine
    assert world.read(f"/proc/{its.tid}/environ") == b""
    its.proc.dumpable = 0
    vnode = namei(namei_context(mine), f"/proc/{its.tid}/environ".encode()).vnode
    assert (vnode.getattr().uid, namei(namei_context(mine), b"/proc/%d" % its.tid).vnode.getattr().uid) == (0, 65534)
    with pytest.raises(EACCES):
        world.open(f"/proc/{its.tid}/environ")
    world.system.current = its
    assert world.names("/proc/self/fd") == []       # its own it may still list
    assert world.read("/proc/self/maps")


def test_nothing_can_be_made_or_taken_away(world: World) -> None:
    ctx = namei_context(world.t)
    with pytest.raises(ENOENT):
        mkdir(ctx, b"/proc/new", 0o777)
    with pytest.raises(ENOENT):
        open_file(ctx, b"/proc/new", OpenFlags.CREAT | OpenFlags.WRONLY, 0o666)
    with pytest.raises(EPERM):
        unlink(ctx, b"/proc/self/comm")
    with pytest.raises(EPERM):
        rmdir(ctx, b"/proc/self/fd")
    with pytest.raises(EPERM):
        rename(ctx, b"/proc/self/comm", b"/proc/self/stat")


# --- reading
def test_a_text_stays_as_it_was_until_read_from_its_beginning(world: World) -> None:
    file = world.open("/proc/self/comm")
    assert file.read(2) == b"gu"
    world.t.comm = b"changed"
    assert file.read(99) == b"est\n"
    assert file.read(99) == b""
    assert file.seek(0, Whence.SET) == 0
    assert file.read(99) == b"changed\n"
    assert file.pread(3, 4) == b"nged"
    with pytest.raises(EINVAL):
        file.pread(-1, 4)
    assert file.getattr().size == 0


@pytest.mark.parametrize(("name", "knows_end"), [
    ("self/status", False), ("self/maps", False), ("self/environ", True), ("self/cmdline", True), ("self/auxv", True),
    ("meminfo", False), ("sys/kernel/hostname", True), ("self/oom_score_adj", True), ("self/limits", False), ("self/mem", False),
])
def test_seek_to_the_end(world: World, name: str, knows_end: bool) -> None:
    with open(f"/proc/{name}", "rb", buffering=0) as native:
        try:
            native.seek(0, os.SEEK_END)
            natively = True
        except OSError:
            natively = False
    assert natively is knows_end
    file = world.open(f"/proc/{name}")
    if knows_end:
        assert file.seek(0, Whence.END) == 0
    else:
        with pytest.raises(EINVAL):
            file.seek(0, Whence.END)


@pytest.mark.parametrize("name", [
    "auxv", "cgroup", "cmdline", "comm", "environ", "io", "limits", "loginuid", "maps", "mem", "mountinfo", "mounts",
    "mountstats", "oom_adj", "oom_score", "oom_score_adj", "personality", "schedstat",
    "sessionid", "setgroups", "smaps", "stat", "statm", "status", "syscall", "uid_map", "gid_map", "wchan", "timerslack_ns",
    "fd", "fdinfo", "ns", "task", "net", "exe", "cwd", "root", "timers",
    "coredump_filter", "smaps_rollup",
])
def test_modes_are_the_hosts(world: World, name: str) -> None:
    if not os.path.lexists(f"/proc/self/{name}"):
        pytest.skip(f"the host's kernel has no {name}")
    vnode = namei(namei_context(world.t), f"/proc/self/{name}".encode(), follow=False).vnode
    assert oct(vnode.getattr().mode) == oct(os.lstat(f"/proc/self/{name}").st_mode)


# --- texts, against the host's
def test_status_has_the_hosts_lines(world: World) -> None:
    newer = {b"Kthread", b"untag_mask", b"x86_Thread_features", b"x86_Thread_features_locked"}
    unusual = {b"SeccompFilters"}
    theirs = [key for key in keys(host("self/status")) if key not in newer | unusual]
    ours = world.read("/proc/self/status")
    assert [key for key in keys(ours) if key in theirs] == theirs
    for line in ours.splitlines():
        if line.startswith((b"Vm", b"Rss")):
            assert re.fullmatch(rb"\w+:\t[ \d]{7}\d kB", line)


def test_status_shows_what_is_there(world: World) -> None:
    t = world.t
    t.sigmask = bit(Signal.SIGUSR1)
    t.proc.actions.table[Signal.SIGINT] = SigAction(handler=1)
    t.proc.actions.table[Signal.SIGTERM] = SigAction(handler=0x401000)
    t.proc.cred = Cred(1, 2, 3, 4, 5, 6, 7, 8, (10, 20))
    text = world.read("/proc/self/status")
    for line in (
        b"Name:\tguest", b"Umask:\t0022", b"State:\tR (running)", b"Tgid:\t2", b"PPid:\t1", b"Uid:\t1\t2\t3\t4",
        b"Gid:\t5\t6\t7\t8", b"Groups:\t10 20 ", b"FDSize:\t64", b"VmSize:\t     152 kB", b"VmStk:\t     132 kB", b"Threads:\t1",
        b"SigBlk:\t0000000000000200", b"SigIgn:\t0000000000000002", b"SigCgt:\t0000000000004000", b"CapEff:\t0000000000000000",
        b"NoNewPrivs:\t0",
    ):
        assert line + b"\n" in text
    assert b"SigQ:\t0/" in text


def test_names_in_status_and_stat(world: World) -> None:
    world.t.comm = b"a\nb\\) R"
    assert world.read("/proc/self/status").startswith(b"Name:\ta\\nb\\\\) R\n")
    assert world.read("/proc/self/stat").startswith(b"2 (a\nb\\) R) R 1 2 2 0 -1 ")


def test_stat_has_the_hosts_columns(world: World) -> None:
    ours = world.read("/proc/self/stat")
    assert ours.count(b"\n") == 1
    fields = ours.split()
    assert len(fields) == len(host("self/stat").rsplit(b")", 1)[1].split()) + 2 == 52
    vm = world.t.proc.vm
    assert [int(field) for field in fields[46:51]] == [vm.brk_start, vm.arg_start, vm.arg_end, vm.env_start, vm.env_end]
    assert fields[22] == b"%d" % vm.total_bytes
    world.t.proc.nice = 5
    assert world.read("/proc/self/stat").split()[17:19] == [b"25", b"5"]


def test_maps(world: World) -> None:
    assert world.read("/proc/self/maps").splitlines() == [
        b"00400000-00402000 r-xp 00001000 fe:03 77".ljust(72) + b" /bin/a\\012b",
        b"00800000-00803000 rw-p 00000000 00:00 0".ljust(72) + b" [heap]",
        b"7ffffff00000-7ffffff21000 rw-p 00000000 00:00 0".ljust(72) + b" [stack]",
    ]


def test_maps_columns_are_the_hosts(world: World) -> None:
    native = {line.index(b"[stack]") for line in host("self/maps").splitlines() if line.endswith(b"[stack]")}
    ours = {line.index(b"[stack]") for line in world.read("/proc/self/maps").splitlines() if line.endswith(b"[stack]")}
    assert ours == native == {73}


def test_maps_of_regions_without_a_name(world: World) -> None:
    vm = world.t.proc.vm
    vm.map(Region(0x10000000, 0x10001000, 0))
    vm.map(Region(0x20000000, 0x20001000, Prot.READ, shared=True))
    vm.map(Region(0x30000000, 0x30001000, Prot.READ, label=b"[vvar]"))
    lines = world.read("/proc/self/maps").splitlines()
    assert b"10000000-10001000 ---p 00000000 00:00 0 " in lines
    shared = next(line for line in lines if line.startswith(b"20000000-20001000 r--s 00000000 00:01 "))
    assert shared.endswith(b" /dev/zero (deleted)")
    assert b"30000000-30001000 r--p 00000000 00:00 0".ljust(72) + b" [vvar]" in lines


def test_smaps_has_the_hosts_lines(world: World) -> None:
    def first(text: bytes) -> list[bytes]:
        found = []
        for line in text.splitlines()[1:]:
            if line.startswith(b"VmFlags"):
                break
            found.append(line.split(b":")[0])
        return found

    newer = {b"ProtectionKey", b"THPeligible"}
    ours, theirs = world.read("/proc/self/smaps"), host("self/smaps")
    assert [k for k in first(ours) if k not in newer] == [k for k in first(theirs) if k not in newer]
    assert b"Size:                  8 kB\n" in ours
    rollup = keys(host("self/smaps_rollup").split(b"\n", 1)[1])
    assert keys(world.read("/proc/self/smaps_rollup").split(b"\n", 1)[1]) == rollup


def test_limits_are_laid_out_as_the_hosts(world: World) -> None:
    assert world.read("/proc/self/limits") == host("self/limits")      # the first process has this one's limits


@pytest.mark.parametrize("name", [
    "io", "uid_map", "gid_map", "setgroups", "loginuid", "sessionid", "wchan", "personality", "oom_adj", "timerslack_ns",
    "oom_score_adj",
])
def test_small_files_have_the_hosts_form(world: World, name: str) -> None:
    def form(text: bytes) -> bytes:
        return re.sub(rb" *\d+", b"0", text)

    assert form(world.read(f"/proc/self/{name}")) == form(host(f"self/{name}"))


def test_mounts_and_mountinfo(world: World) -> None:
    world.system.mounts.mount(MemoryFS(), namei(namei_context(world.t), b"/tmp dir"))
    assert world.read("/proc/mounts") == (
        b"tmpfs / tmpfs rw 0 0\nproc /proc proc rw,nosuid,nodev,noexec 0 0\ntmpfs /tmp\\040dir tmpfs rw 0 0\n"
    )
    lines = [line.split(b" ") for line in world.read("/proc/self/mountinfo").splitlines()]
    assert [line[4] for line in lines] == [b"/", b"/proc", b"/tmp\\040dir"]
    assert [line[6] for line in lines] == [b"-"] * 3
    assert lines[1][1] == lines[0][0]
    world.t.proc.fs.root = namei(namei_context(world.t), b"/tmp dir")
    ctx = world.context()
    assert open_file(ctx, b"/proc/self/mounts", OpenFlags.RDONLY).read(999) == b"tmpfs / tmpfs rw 0 0\n"


def test_arguments_and_environment(world: World) -> None:
    assert world.read("/proc/self/cmdline") == b"guest\0-x\0"
    assert world.read("/proc/self/environ") == b"A=1\0"
    vm = world.t.proc.vm
    vm.copyout(vm.arg_start, b"new title, longer\0")      # over the environment, as setproctitle does it
    assert world.read("/proc/self/cmdline") == b"new title, lo"
    vm.copyout(vm.arg_start, b"short\0xxx")
    assert world.read("/proc/self/cmdline") == b"short\0"


def test_memory(world: World) -> None:
    file = world.open("/proc/self/mem", OpenFlags.RDWR)
    assert file.pwrite(0x400000, b"code") == 4            # private pages, whatever their protection
    assert file.pread(0x400000, 4) == b"code"
    assert file.pread(0x401FFE, 100) == b"\0\0"
    with pytest.raises(EIO):
        file.pread(0x1000, 4)
    with pytest.raises(EIO):
        file.pwrite(0x1000, b"x")
    world.t.proc.vm = VMSpace(world.machine.new_space(), min_addr=65536, user_top=1 << 47)
    assert file.pread(0x400000, 4) == b""                 # that was before the exec


def test_memory_of_a_system_that_is_strict(world: World) -> None:
    file = world.open("/proc/self/mem", OpenFlags.RDWR)
    world.t.proc.personality.forces_writes = False
    with pytest.raises(EIO):
        file.pwrite(0x400000, b"code")                    # what may not be written becomes no code this way either
    assert file.pread(0x400000, 4) != b"code"


# --- links
def test_exe_cwd_root(world: World) -> None:
    ctx = namei_context(world.t)
    with pytest.raises(ENOENT):
        world.link("/proc/self/exe")
    file = open_file(ctx, b"/tmp dir/prog", OpenFlags.CREAT | OpenFlags.WRONLY, 0o755)
    file.write(b"#!")
    world.t.proc.exe = file.dentry
    assert world.link("/proc/self/exe") == b"/tmp dir/prog"
    unlink(ctx, b"/tmp dir/prog")
    assert world.link("/proc/self/exe") == b"/tmp dir/prog (deleted)"
    assert world.read("/proc/self/exe") == b"#!"          # leads there all the same
    world.t.proc.fs.cwd = namei(ctx, b"/tmp dir")
    assert world.link("/proc/self/cwd") == b"/tmp dir"
    assert world.link("/proc/self/root") == b"/"


def test_descriptors(world: World) -> None:
    p = world.t.proc
    file = open_file(namei_context(world.t), b"/tmp dir/f", OpenFlags.CREAT | OpenFlags.RDWR, 0o644)
    file.write(b"hello")
    reader, writer = make_pipe(world.system.anonymous, OpenFlags(0))
    p.fds.set(3, file, cloexec=True)
    p.fds.set(4, reader)
    p.fds.set(5, writer)
    assert world.names("/proc/self/fd") == [b"3", b"4", b"5"]
    assert world.link("/proc/self/fd/3") == b"/tmp dir/f"
    assert re.fullmatch(rb"pipe:\[\d+\]", world.link("/proc/self/fd/4"))
    ctx = namei_context(world.t)
    modes = [oct(namei(ctx, b"/proc/self/fd/%d" % fd, follow=False).vnode.getattr().mode & 0o777) for fd in (3, 4, 5)]
    assert modes == ["0o700", "0o500", "0o300"]
    assert world.read("/proc/self/fdinfo/3").startswith(b"pos:\t5\nflags:\t02000102\nmnt_id:\t")
    assert world.open("/proc/self/fd/3").read(9) == b"hello"
    for name in ("6", "03", "x", "-1"):
        with pytest.raises(ENOENT):
            world.open(f"/proc/self/fd/{name}")
    with pytest.raises(ELOOP):
        world.open("/proc/self/fd/3", OpenFlags.NOFOLLOW)


def test_a_pipe_is_opened_anew_through_its_link(world: World) -> None:
    reader, writer = make_pipe(world.system.anonymous, OpenFlags(0))
    world.t.proc.fds.set(0, reader)
    world.t.proc.fds.set(1, writer)
    again = world.open("/proc/self/fd/1", OpenFlags.WRONLY | OpenFlags.TRUNC)
    assert again.write(b"through") == 7
    assert world.open("/proc/self/fd/0").read(99) == b"through"
    world.t.proc.fds.set(7, again)
    assert world.link("/proc/self/fd/7") == world.link("/proc/self/fd/0")


def test_host_streams_are_opened_with_no_more_than_was_given(world: World, tmp_path: Any) -> None:
    from ring3.vfs.hoststream import HostStream

    path = tmp_path / "given"
    path.write_bytes(b"contents")
    fd = os.open(path, os.O_RDONLY)
    stream = HostStream(fd, OpenFlags.RDONLY, b"/given", lambda _fd, _events: None)
    world.t.proc.fds.set(0, stream)
    assert stream.read(3) == b"con"
    assert world.open("/proc/self/fd/0").read(99) == b"contents"       # an offset of its own
    for flags in (OpenFlags.WRONLY, OpenFlags.RDWR, OpenFlags.WRONLY | OpenFlags.TRUNC):
        with pytest.raises(Errno):
            world.open("/proc/self/fd/0", flags)
    assert path.read_bytes() == b"contents"
    world.t.proc.fds.close(0)


def test_what_is_no_file_cannot_be_opened(world: World) -> None:
    from ring3.vfs.eventfd import EventFile

    event = EventFile(world.system.anonymous, 0, OpenFlags.RDWR)
    world.t.proc.fds.set(3, event)
    assert world.link("/proc/self/fd/3").startswith(b"anon_inode:")
    with pytest.raises(ENXIO):
        world.open("/proc/self/fd/3")


def test_namespaces(world: World) -> None:
    assert re.fullmatch(rb"mnt:\[\d+\]", world.link("/proc/self/ns/mnt"))
    number = int(world.link("/proc/self/ns/net")[5:-1])
    assert namei(namei_context(world.t), b"/proc/self/ns/net").vnode.getattr().ino == number
    assert set(os.listdir("/proc/self/ns")) == {name.decode() for name in world.names("/proc/self/ns")}


def test_a_directory_of_proc_stays_itself_while_somebody_is_in_it(world: World) -> None:
    ctx = namei_context(world.t)
    world.t.proc.fs.cwd = here = namei(ctx, b"/proc/self/fd")
    assert namei(ctx, b"/proc/2/fd") is here
    assert here.path(ctx.root, mark_deleted=True) == b"/proc/2/fd"


# --- writing
def test_comm_is_written_by_its_own_process_only(world: World) -> None:
    world.write("/proc/self/comm", b"abc\n")
    assert world.t.comm == b"abc\n"
    other = world.process(b"other")
    with pytest.raises(EINVAL):
        world.write(f"/proc/{other.tid}/comm", b"x")


@pytest.mark.parametrize(("data", "error"), [(b"5x", EINVAL), (b"2000", EINVAL), (b"", None), (b"-1001", EINVAL)])
def test_oom_score_adj_refuses(world: World, data: bytes, error: type[Errno] | None) -> None:
    if error is None:
        assert world.write("/proc/self/oom_score_adj", b"-17\n") == 4
        assert world.read("/proc/self/oom_score_adj") == b"-17\n"
    else:
        with pytest.raises(error):
            world.write("/proc/self/oom_score_adj", data)


def test_lowering_oom_score_adj_is_for_root(world: World) -> None:
    world.system.current = t = world.process(b"user", NOBODY)
    world.write("/proc/self/oom_score_adj", b"300")
    with pytest.raises(EACCES):
        world.write("/proc/self/oom_score_adj", b"299")
    assert t.proc.oom_score_adj == 300


def test_hostname_is_set_by_root_and_seen_by_all(world: World) -> None:
    world.write("/proc/sys/kernel/hostname", b"elsewhere\nrest")
    assert world.system.hostname == b"elsewhere"
    assert world.read("/proc/sys/kernel/hostname") == b"elsewhere\n"
    world.system.current = world.process(b"user", NOBODY)
    with pytest.raises(EACCES):
        world.write("/proc/sys/kernel/hostname", b"mine")


def test_settings_nobody_obeys_cannot_be_set(world: World) -> None:
    with pytest.raises(EROFS):
        world.open("/proc/sys/kernel/randomize_va_space", OpenFlags.WRONLY)
    with pytest.raises(EACCES):
        world.open("/proc/sys/kernel/ostype", OpenFlags.WRONLY)


def _settings(world: World, path: str = "/proc/sys") -> Iterator[str]:
    for name in world.names(path):
        below = f"{path}/{name.decode()}"
        if namei(namei_context(world.t), below.encode()).vnode.is_dir:
            yield from _settings(world, below)
        else:
            yield below


def test_every_setting_reads_in_the_hosts_form(world: World) -> None:
    for path in _settings(world):
        ours = world.read(path)
        assert ours.endswith(b"\n"), path
        if os.access(path, os.R_OK):
            with open(path, "rb") as file:
                native = file.read()
            assert len(ours.split(b"\t")) == len(native.split(b"\t")), path
            assert ours.strip(b"-\n\t 0123456789") == b"" or native.strip(b"-\n\t 0123456789") != b"", path
            mode = namei(namei_context(world.t), path.encode()).vnode.getattr().mode
            assert oct(mode) == oct(os.stat(path).st_mode), path
    assert world.read("/proc/sys/kernel/osrelease") == b"6.1.0-test\n"
    assert world.read("/proc/sys/kernel/random/boot_id") == world.read("/proc/sys/kernel/random/boot_id")
    assert world.read("/proc/sys/kernel/random/uuid") != world.read("/proc/sys/kernel/random/uuid")


# --- the kernel as a whole
def test_machine_facts_are_the_hosts(world: World) -> None:
    assert world.read("/proc/cpuinfo").count(b"processor") == host("cpuinfo").count(b"processor")
    assert keys(world.read("/proc/meminfo")) == keys(host("meminfo"))
    first = [line.split()[0] for line in world.read("/proc/stat").splitlines()]
    assert first == [line.split()[0] for line in host("stat").splitlines()]
    assert len(world.read("/proc/uptime").split()) == 2


def test_process_facts_are_not_the_hosts(world: World) -> None:
    assert re.fullmatch(rb"[\d.]+ [\d.]+ [\d.]+ 1/1 2\n", world.read("/proc/loadavg"))
    assert b"\nprocesses 2\n" in world.read("/proc/stat")
    assert world.read("/proc/version").startswith(b"Linux version 6.1.0-test (")
    assert b"%d" % os.getpid() not in world.names("/proc") or os.getpid() <= 2


@pytest.mark.parametrize("name", ["arp", "dev", "netlink", "raw", "raw6", "route", "tcp", "tcp6", "udp", "udp6", "unix"])
def test_tables_of_the_network_have_the_hosts_heads(world: World, name: str) -> None:
    if not os.path.exists(f"/proc/net/{name}"):
        pytest.skip(f"the host has no /proc/net/{name}")
    head = 2 if name == "dev" else 1
    assert world.read(f"/proc/net/{name}").splitlines()[:head] == host(f"net/{name}").splitlines()[:head]


# --- jails
def test_a_jail_knows_of_nobody_outside(world: World) -> None:
    """Nor through what was open before, or was given to it."""
    outside, inside = world.process(b"outside"), world.process(b"inside")
    path = f"/proc/{outside.proc.pid}"
    memory, text = world.open(f"{path}/mem", OpenFlags.RDWR), world.open(f"{path}/comm")
    threads = namei(namei_context(world.t), f"{path}/task".encode())
    descriptors = namei(namei_context(world.t), f"{path}/fd".encode())
    assert memory.pread(0x800000, 4) == bytes(4)
    world.t.proc.jail = inside.proc.jail = new_jail(world.system, b"cage")
    numbers = {name for name in world.names("/proc") if name.isdigit()}
    assert numbers == {b"%d" % world.t.proc.pid, b"%d" % inside.proc.pid}
    for name in (path, f"{path}/status", f"/proc/{outside.tid}/exe", "/proc/1"):
        with pytest.raises(ENOENT):
            world.open(name)
    assert (memory.pread(0x800000, 4), memory.pwrite(0x800000, b"xxxx")) == (b"", 0)
    assert threads.vnode.readdir() == []
    for look in (lambda: text.pread(0, 10), descriptors.vnode.readdir, lambda: descriptors.vnode.lookup(b"0")):
        with pytest.raises(ESRCH):
            look()
    world.system.current = outside
    assert b"%d" % inside.proc.pid in world.names("/proc")
