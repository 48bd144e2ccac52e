"""sys_execve behind its point of no return, by NetBSD's order: what an exec makes of the process, and how a failure ends it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ring3.abi.flags import CloneFlags, MountFlags, OpenFlags
from ring3.abi.signals import SI_TIMER, SIG_IGN, AltStack, SigAction, SigInfo, Signal, bit
from ring3.abi.x86 import CS, CS_64, R8, RAX, RBP, RBX, RCX, RDI, RDX, RIP, RSI, RSP
from ring3.errors import EIO, EMFILE
from ring3.exec import load as load_module
from ring3.exec.check import check_exec
from ring3.exec.load import load
from ring3.exec.package import ExecPackage, ExecRequest
from ring3.exec.plan import BASE, MAP, RELATIVE, ExecDeath, ExecPlan, VMCmd
from ring3.machine.scripted import ScriptedSpace
from ring3.personality.netbsd import netbsd_personality
from ring3.proc import lwp
from ring3.proc.lifecycle import clone_thread, fork_process
from ring3.proc.proc import Proc, Thread
from ring3.protocols import Instrument
from ring3.vfs.memory import MemoryFS
from ring3.vfs.namei import NameiContext, namei
from ring3.vfs.opening import open_file
from tests.rows import row
from tests.unit.exec.images import DATA, program
from tests.unit.exec.images import load as segment
from tests.unit.exec.netbsd import NetbsdBench, branded, dynamic, put

A, B = 1000, 2000


@pytest.fixture
def bench() -> Iterator[NetbsdBench]:
    made = NetbsdBench()
    yield made
    made.close()


@pytest.fixture
def prog(bench: NetbsdBench, tmp_path: Path) -> bytes:
    """A program, which the process runs already."""
    path = put(tmp_path / "p", branded(segment(0x600000, filesz=0x10, memsz=0x5000, flags=DATA)))
    bench.start(path)
    return path


def run(bench: NetbsdBench, path: bytes, argv: tuple[bytes, ...] = (b"a",)) -> Thread:
    bench.run(ExecRequest(path, list(argv), []))
    return bench.t


def opened(bench: NetbsdBench, fd: int, *, cloexec: bool = False) -> None:
    root = bench.system.mounts.root
    bench.t.proc.fds.set(fd, open_file(NameiContext(root, root, bench.t.proc.cred), b"/dev/null", OpenFlags.PATH), cloexec=cloexec)


# --- threads
@row("netbsd", "sys_execve, exit_lwps", "the other LWPs are gone, and the survivor is LWP 1, whichever it was; the next will be 2")
def test_lwps(bench: NetbsdBench, prog: bytes) -> None:
    t, p = bench.t, bench.t.proc
    lwp.lwp_of(t)
    second = clone_thread(t)
    assert lwp.enter(lwp.table_of(p), second).lid == 2
    bench.t = second
    run(bench, prog)
    assert p.threads == {p.pid: second}
    assert lwp.lwp_of(second).lid == 1
    assert lwp.enter(lwp.table_of(p), clone_thread(second)).lid == 2


@row("netbsd", "sys_execve, l_ctxlink", "the context behind the present one is forgotten")
def test_context_link(bench: NetbsdBench, prog: bytes) -> None:
    lwp.lwp_of(bench.t).link = 0x1234
    assert lwp.lwp_of(run(bench, prog)).link == 0


@row("netbsd", "sys_execve, timers_free", "POSIX timers are freed, interval timers go on")
def test_timers(bench: NetbsdBench, prog: bytes) -> None:
    class Timer:
        cancelled = False

        def cancel(self) -> None:
            self.cancelled = True

    posix, interval = Timer(), Timer()
    bench.t.proc.posix_timers[1], bench.t.proc.itimers[0] = posix, interval
    bench.t.proc.pending.add(SigInfo(35, SI_TIMER))
    run(bench, prog)
    assert posix.cancelled
    assert not bench.t.proc.posix_timers
    assert not interval.cancelled
    assert bench.t.proc.itimers == {0: interval}


# --- the address space
@row("netbsd", "sys_execve, uvmspace_exec", "an address space others share is left to them, not emptied: the process gets its own")
def test_shared_space(bench: NetbsdBench, prog: bytes) -> None:
    vm = bench.t.vm
    child = fork_process(bench.t, CloneFlags.VM | CloneFlags.VFORK, 17)
    regions = [repr(r) for r in vm.regions]
    bench.t = child
    run(bench, prog)
    assert child.vm is not vm
    assert vm.refs == 1
    assert [repr(r) for r in vm.regions] == regions
    assert child.vm.refs == 1


@row("netbsd", "sys_execve, uvmspace_exec", "one of its own is empty but for the new program")
def test_own_space(bench: NetbsdBench, prog: bytes) -> None:
    old = bench.t.vm
    run(bench, prog)
    assert not old.regions
    assert old.machine.is_closed  # type: ignore[attr-defined]


@row("netbsd", "sys_execve, vm_taddr", "the space knows where text and data are, how large, and what the stack takes, in pages")
def test_sizes(bench: NetbsdBench, prog: bytes) -> None:
    plan = bench.check(prog)
    run(bench, prog)
    sizes: Any = bench.t.vm.sizes
    assert (sizes.taddr, sizes.tsize) == (0x400000, 2)
    assert (sizes.daddr, sizes.dsize) == (0x600000, 5)
    assert sizes.ssize == -(-(plan.layout.stack_top - plan.stack.sp) // 4096)
    assert sizes.minsaddr == bench.t.vm.stack_top
    assert sizes.maxsaddr == sizes.minsaddr - (128 << 20)
    assert bench.t.vm.brk_start == 0x605000
    assert bench.t.vm.fork().sizes == sizes


@row("netbsd", "sys_execve, VMCMD_BASE, VMCMD_RELATIVE", "a relative command goes as far from the last base as it says")
def test_base_and_relative(bench: NetbsdBench, tmp_path: Path) -> None:
    loader = put(tmp_path / "ld", branded(segment(0x10000, flags=DATA, memsz=0x3000), base=0, type=3))
    plan = bench.check(put(tmp_path / "p", dynamic(loader)))
    base = next(c for c in plan.vmcmds if c.flags & BASE)
    relative = [c for c in plan.vmcmds if c.flags & RELATIVE]
    assert base.addr == plan.interp_base
    assert base.kind == MAP
    assert [c.addr - base.addr for c in relative] == [0x2000, 0x10000, 0x11000]
    assert [c.prot for c in relative] == [0, 3, 3]              # the hole between segments is out of reach
    assert plan.start == plan.interp_base + 0x1000
    assert plan.entry == 0x401000
    assert dict(plan.stack.auxv)[7] == plan.interp_base
    run(bench, bytes(tmp_path / "p"))
    assert bench.t.cpu.regs[RIP] == plan.start


@row("netbsd", "sys_execve, VMCMD_BASE, VMCMD_RELATIVE", "a command is never both, nor relative to nothing")
def test_impossible_commands(bench: NetbsdBench, prog: bytes) -> None:
    package = ExecPackage(bench.t, bench.request(prog))
    package.file = package.open_first()
    from ring3.abi.x86 import Arch

    image = package.begin_image(Arch.X86_64, "netbsd", exec_stack=None)
    with pytest.raises(AssertionError):
        image.queue(VMCmd("zero", 0, 4096, flags=RELATIVE))
    with pytest.raises(AssertionError):
        image.queue(VMCmd("zero", 0, 4096, flags=BASE | RELATIVE))


# --- failing too late
def failing(bench: NetbsdBench, path: bytes) -> Proc:
    """The exec, whose process must be gone after it."""
    p = bench.t.proc
    parent = fork_process(bench.t, CloneFlags(0), 17)         # so that the zombie is kept: its parent is no init
    p, bench.t = parent.proc, parent
    run(bench, path)
    assert p.exiting
    assert p.zombie
    assert not list(p.vm.regions)
    return p


@row("netbsd", "sys_execve, exec_abort", "a command that fails ends the process with (errno << 8) | SIGABRT")
@pytest.mark.parametrize(("extra", "number"), [
    (segment(1 << 60), 12),                                      # beyond what a program may use
    (segment(0x7F7F_FFFF_F000), 12),
    (segment(0x700800, offset=0x1000, align=4096), 22),          # address and offset do not fit
])
@pytest.mark.usefixtures("prog")
def test_a_failing_vmcmd(bench: NetbsdBench, tmp_path: Path, extra: Any, number: int) -> None:
    p = failing(bench, put(tmp_path / "bad", branded(extra)))
    assert p.exit_status == number << 8 | 6


@row("netbsd", "sys_execve, exec_abort", "one that only the machine refuses does so too")
def test_a_machine_that_refuses(bench: NetbsdBench, prog: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "no memory")

    fork_process(bench.t, CloneFlags(0), 17)
    monkeypatch.setattr(ScriptedSpace, "map_file", refuse)
    assert failing(bench, prog).exit_status == 12 << 8 | 6


@row("netbsd", "sys_execve, vmcmd_readvn", "a segment that ends beyond the end of the file is EIO there")
@pytest.mark.usefixtures("prog")
def test_a_short_read(bench: NetbsdBench, tmp_path: Path) -> None:
    path = put(tmp_path / "short", branded(segment(0x600000, offset=0x1000, filesz=0x1800, flags=DATA)))
    assert failing(bench, path).exit_status == 5 << 8 | 6


@row("netbsd", "sys_execve, copyargs", "arguments that cannot be copied out end the process with EFAULT so")
@row("netbsd", "sys_execve, ps_strings", "and ps_strings that cannot")
@pytest.mark.parametrize("which", [0, 1])
def test_failing_copies(bench: NetbsdBench, prog: bytes, monkeypatch: pytest.MonkeyPatch, which: int) -> None:
    bench.system.execsw.randomise = False
    plan = bench.check(prog)
    target = (plan.stack.sp, plan.stack.ps_strings)[which]
    real = ScriptedSpace.write

    def write(space: ScriptedSpace, addr: int, data: bytes) -> int:
        return 0 if addr == target else real(space, addr, data)

    monkeypatch.setattr(ScriptedSpace, "write", write)
    p = failing(bench, prog)
    assert p.exit_status == 14 << 8 | 6


def setid(bench: NetbsdBench, mode: int, owner: tuple[int, int]) -> bytes:
    """/tmp/p with that mode and owner, and /tmp/plain with nothing particular."""
    fs = MemoryFS()
    vnode = fs.root().create(b"p", 0o100000 | mode, *owner)
    vnode.write(0, branded())
    fs.root().create(b"plain", 0o100755, 0, 0).write(0, branded())
    root = bench.system.mounts.root
    bench.system.mounts.mount(fs, namei(NameiContext(root, root, bench.t.proc.cred), b"/tmp"), MountFlags.NONE)
    return b"/tmp/p"


@row("netbsd", "sys_execve, fdcheckstd", "a set-id program whose first descriptors cannot be opened ends so too")
def test_failing_descriptors(bench: NetbsdBench, monkeypatch: pytest.MonkeyPatch) -> None:
    path = setid(bench, 0o4755, (B, B))
    bench.user(A)

    def refuse(*_: object) -> None:
        raise EMFILE

    monkeypatch.setattr(load_module, "open_file", refuse)
    plan = bench.check(path)
    death = load(bench.t, plan)
    assert isinstance(death, ExecDeath)
    assert death.status == 24 << 8 | 6
    assert not bench.t.proc.fds.files
    assert all(space.is_closed for space in bench.machine.spaces)


# --- signals, descriptors, names
@row("netbsd", "sys_execve, stopprofclock", "profiling stops")
def test_profiling(bench: NetbsdBench, prog: bytes) -> None:
    bench.t.proc.profiling = object()
    run(bench, prog)
    assert bench.t.proc.profiling is None


@row("netbsd", "sys_execve, fdcloseexec", "descriptors marked so are closed, in a table of its own when it was shared")
def test_close_on_exec(bench: NetbsdBench, prog: bytes) -> None:
    opened(bench, 0)
    opened(bench, 3, cloexec=True)
    shared = bench.t.proc.fds
    shared.refs += 1
    run(bench, prog)
    assert sorted(bench.t.proc.fds.files) == [0]
    assert sorted(shared.files) == [0, 3]


@row("netbsd", "sys_execve, execsigs",
     "caught signals get their default action, ignored and blocked ones stay so, the stack for handlers is gone")
@row("netbsd", "sys_execve, execsigs",
     "a pending signal that was caught and does nothing by default is dropped, others stay pending")
@row("netbsd", "sys_execve, execsigs", "SIGCHLD is not ignored any more, and its children become zombies again")
def test_signals(bench: NetbsdBench, prog: bytes) -> None:
    t, p = bench.t, bench.t.proc
    table = p.actions.table
    table[Signal.SIGUSR1] = table[Signal.SIGURG] = table[Signal.SIGWINCH] = SigAction(0x1234, 0, 0, 5)
    table[Signal.SIGUSR2] = SigAction(SIG_IGN)
    table[Signal.SIGCHLD] = SigAction(SIG_IGN)
    t.sigmask = bit(Signal.SIGUSR1) | bit(Signal.SIGURG) | bit(Signal.SIGWINCH) | bit(Signal.SIGIO)
    for signo in (Signal.SIGUSR1, Signal.SIGURG, Signal.SIGIO):
        p.pending.add(SigInfo(signo))
    t.pending.add(SigInfo(Signal.SIGWINCH))
    t.altstack = AltStack(0x1000, 0, 8192)
    run(bench, prog)
    table = p.actions.table
    assert table[Signal.SIGUSR1] == table[Signal.SIGURG] == table[Signal.SIGCHLD] == SigAction()
    assert table[Signal.SIGUSR2].handler == SIG_IGN
    assert p.pending.mask == bit(Signal.SIGUSR1) | bit(Signal.SIGIO)
    assert t.pending.mask == 0
    assert t.sigmask == bit(Signal.SIGUSR1) | bit(Signal.SIGURG) | bit(Signal.SIGWINCH) | bit(Signal.SIGIO)
    assert t.altstack == AltStack()


@row("netbsd", "sys_execve, MAXCOMLEN", "the command's name is the last part of the path, 16 bytes of it")
def test_command_name(bench: NetbsdBench, prog: bytes, tmp_path: Path) -> None:
    assert run(bench, put(tmp_path / "0123456789abcdefg", branded())).comm == b"0123456789abcdef"
    (tmp_path / "link").symlink_to("0123456789abcdefg")
    run(bench, prog)
    assert run(bench, bytes(tmp_path / "link")).comm == b"0123456789abcdef"     # the last name looked up


@row("netbsd", "sys_execve, AFORK, P_EXEC", "a forked process has not run a program of its own, and has after an exec")
@row("netbsd", "sys_execve, p_textvp", "the process's text is the file it runs")
@pytest.mark.usefixtures("prog")
def test_exec_is_remembered(bench: NetbsdBench, tmp_path: Path) -> None:
    other = put(tmp_path / "other", branded())
    child = fork_process(bench.t, CloneFlags(0), 17)
    before = child.proc.did_exec
    assert child.proc.exe is bench.t.proc.exe
    bench.t = child
    run(bench, other)
    assert (before, child.proc.did_exec) == (False, True)
    assert child.proc.exe is not None
    assert child.proc.exe.path(child.proc.fs.root) == other


@row("netbsd", "sys_execve, P_PPWAIT", "the parent that waits since its vfork is woken")
def test_vfork(bench: NetbsdBench, prog: bytes) -> None:
    child = fork_process(bench.t, CloneFlags.VM | CloneFlags.VFORK, 17)
    child.proc.vfork_done = False
    woken: list[int] = []
    child.proc.vfork_queue.add(type("Waiter", (), {"notify": lambda _self: woken.append(1)})())
    bench.t = child
    run(bench, prog)
    assert woken == [1]
    assert child.proc.vfork_done


# --- ids
@row("netbsd", "sys_execve, S_ISUID, S_ISGID",
     "set-id bits change effective ids where these differ; saved ids are the effective ones")
@pytest.mark.parametrize(("mode", "owner", "uid", "euid", "egid", "sugid"), [
    (0o4755, (B, B), A, B, A, True), (0o2755, (B, B), A, A, B, True), (0o6755, (B, B), A, B, B, True),
    (0o4755, (A, B), A, A, A, False), (0o755, (B, B), A, A, A, False), (0o6755, (A, B), A, A, B, True),
])
@row("netbsd", "sys_execve, P_SUGID", "a process is marked when they changed something, and the mark is cleared by a plain exec")
def test_set_id(bench: NetbsdBench, mode: int, owner: tuple[int, int], uid: int, euid: int, egid: int, sugid: bool) -> None:
    path = setid(bench, mode, owner)
    t = bench.user(uid)
    run(bench, path)
    cred = t.proc.cred
    assert (cred.ruid, cred.euid, cred.suid, cred.rgid, cred.egid, cred.sgid) == (uid, euid, euid, uid, egid, egid)
    assert (t.proc.dumpable == 0) is sugid
    t.proc.dumpable = 0
    t.proc.cred = bench.process().proc.cred
    run(bench, b"/tmp/plain")
    assert t.proc.dumpable == 1


@row("netbsd", "sys_execve, P_TRACED", "set-id bits do not count for a traced process, though its auxiliary vector tells of them")
def test_set_id_of_a_traced_process(bench: NetbsdBench) -> None:
    path = setid(bench, 0o4755, (B, B))
    bench.user(A).trace = object()
    plan = bench.check(path)
    assert plan.cred.euid == A
    assert not plan.setid
    assert dict(plan.stack.auxv)[2000] == B
    assert dict(plan.stack.auxv)[2001] == A


@row("netbsd", "sys_execve, fdcheckstd",
     "a set-id program finds descriptors 0 to 2 open: on the null device where they were closed, or close now")
def test_standard_descriptors(bench: NetbsdBench) -> None:
    path = setid(bench, 0o4755, (B, B))
    t = bench.user(A)
    opened(bench, 0)
    opened(bench, 1, cloexec=True)
    kept = t.proc.fds.get(0)
    run(bench, path)
    assert sorted(t.proc.fds.files) == [0, 1, 2]
    assert t.proc.fds.get(0) is kept
    assert t.proc.fds.get(1).vnode is t.proc.fds.get(2).vnode
    assert not t.proc.fds.cloexec
    assert all(file.refs == 1 for file in t.proc.fds.files.values())


@row("netbsd", "sys_execve, fdcheckstd", "any other program finds what is there")
def test_other_descriptors(bench: NetbsdBench, prog: bytes) -> None:
    run(bench, prog)
    assert not bench.t.proc.fds.files


class Watcher(Instrument):
    """Who notes what it is told of an exec."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def setid(self, thread: Thread) -> None:
        self.told.append(("setid", thread.proc.cred.euid))

    def exec(self, thread: Thread, plan: ExecPlan) -> None:
        self.told.append((plan.personality.name, thread.proc.personality is plan.personality))


@row("netbsd", "sys_execve, KTRFAC_ROOT",
     "who traces on the owner's behalf hears that set-id bits count, before ids change, and stops unless root set it")
@row("netbsd", "sys_execve, KTR_EMUL", "who traces is told of the emulation at the end")
def test_who_traces(bench: NetbsdBench) -> None:
    path = setid(bench, 0o4755, (B, B))
    bench.user(A)
    watcher = Watcher()
    bench.system.instruments.append(watcher)
    run(bench, path)
    assert watcher.told == [("setid", A), ("netbsd", True)]
    watcher.told.clear()
    bench.user(B)
    run(bench, path)
    assert watcher.told == [("netbsd", True)]


# --- hooks, tracing, emulations
@row("netbsd", "sys_execve, ras_purgeall", "restartable atomic sequences are forgotten; a fork keeps them")
def test_ras(bench: NetbsdBench, prog: bytes) -> None:
    sequences = ((0x401000, 0x401010),)
    bench.t.proc.restartable = sequences
    child = fork_process(bench.t, CloneFlags(0), 17)
    assert child.proc.restartable == sequences
    run(bench, prog)
    assert not bench.t.proc.restartable


class Knotes:
    """Who waits for a process's events (kqueue)."""

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def exec(self, p: Proc) -> None:
        self.told.append(f"NOTE_EXEC {p.comm.decode()}")

    def exit(self, status: int) -> None:
        self.told.append(f"NOTE_EXIT {status:#x}")


@row("netbsd", "sys_execve, doexechooks, KNOTE",
     "the exec's hooks are called, then who waits for events of the process hears NOTE_EXEC")
def test_hooks(bench: NetbsdBench, prog: bytes) -> None:
    told: list[str] = []
    bench.system.exec_hooks = (lambda p: told.append(f"hook {p.pid}"),)
    bench.t.proc.knotes = Knotes(told)
    run(bench, prog)
    assert told == [f"hook {bench.t.proc.pid}", "NOTE_EXEC p"]


@row("netbsd", "sys_execve, P_TRACED", "a traced process gets SIGTRAP")
def test_traced(bench: NetbsdBench, prog: bytes) -> None:
    run(bench, prog)
    assert not bench.t.pending.mask
    bench.t.trace = object()
    run(bench, prog)
    assert bench.t.pending.mask == bit(Signal.SIGTRAP)


@row("netbsd", "sys_execve, setregs",
     "the emulation sets the registers: ps_strings in rbx, none for clean-up in rdx, the others zero")
def test_registers(bench: NetbsdBench, prog: bytes) -> None:
    regs = bench.t.cpu.regs
    for register in (RAX, RCX, RDX, RDI, RSI, RBP, R8):
        regs[register] = 0x5555
    t = run(bench, prog)
    regs = t.cpu.regs
    assert [regs[r] for r in (RAX, RCX, RDX, RDI, RSI, RBP, R8)] == [0] * 7
    assert regs[RIP] == 0x401000
    assert regs[CS] == CS_64
    assert regs[RSP] % 16 == 0
    told = struct.unpack("<QiiQii", t.vm.copyin(regs[RBX], 32))
    assert told == (regs[RSP] + 8, 1, 0, regs[RSP] + 24, 0, 0)
    assert t.vm.ps_strings == regs[RBX]


@row("netbsd", "sys_execve, es_setregs", "the format sets registers after the emulation, and may replace what that set")
def test_registers_of_a_format(bench: NetbsdBench, prog: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ExecPackage.begin_image

    def begin_image(package: ExecPackage, *args: Any, **words: Any) -> Any:
        image = real(package, *args, **words)
        image.more_registers = ((RBX, 7), (R8, 8))
        return image

    monkeypatch.setattr(ExecPackage, "begin_image", begin_image)
    regs = run(bench, prog).cpu.regs
    assert (regs[RBX], regs[R8]) == (7, 8)
    assert regs[RIP] == 0x401000


@row("netbsd", "sys_execve, e_proc_exit, e_proc_exec",
     "the old emulation says good-bye only when the new one is another; the new one is always greeted")
@row("netbsd", "sys_execve, e_syscall_intern", "from then on calls are those of the new emulation")
def test_emulation_hooks(bench: NetbsdBench, prog: bytes, tmp_path: Path) -> None:
    told: list[str] = []
    netbsd, linux = bench.system.personalities["netbsd"], bench.system.personalities["linux"]
    for personality in (netbsd, linux):
        for hook in ("on_exec", "on_exit"):
            setattr(personality, hook, lambda p, what=f"{personality.name} {hook}": told.append(f"{what} {p.personality.name}"))
    run(bench, prog)
    assert told == ["netbsd on_exec netbsd"]
    assert bench.t.proc.abis is netbsd.abis
    told.clear()
    run(bench, put(tmp_path / "linux", program()))
    assert told == ["netbsd on_exit netbsd", "linux on_exec netbsd"]
    assert bench.t.proc.abis is linux.abis
    assert bench.t.abi is linux.abis[bench.t.abi.arch]


@row("netbsd", "sys_execve, P_STOPEXEC", "a process that is to stop at exec stops before its first instruction")
@row("netbsd", "sys_execve, P_STOPEXEC, contsigmask",
     "a pending SIGCONT is dropped then, and the parent's wait sees one more stopped child")
def test_stop_at_exec(bench: NetbsdBench, prog: bytes) -> None:
    from ring3.proc import signals
    from ring3.proc.proc import ThreadState

    child = fork_process(bench.t, CloneFlags(0), 17)
    woken: list[int] = []
    bench.t.proc.child_queue.add(type("Waiter", (), {"notify": lambda _self: woken.append(1)})())
    bench.t = child
    p = child.proc
    p.stops_at_exec = True
    p.pending.add(SigInfo(Signal.SIGCONT))
    child.pending.add(SigInfo(Signal.SIGCONT))
    run(bench, prog)
    assert p.stopped_by == Signal.SIGSTOP
    assert not p.stop_reported
    assert woken == [1]
    assert not (p.pending.mask | child.pending.mask) & bit(Signal.SIGCONT)
    assert not signals.attend(child)
    assert child.state is ThreadState.STOPPED


# --- the trampoline
CODE = bytes.fromhex("48c7c027010000 0f05")


def with_sigcode(bench: NetbsdBench, code: bytes = CODE) -> None:
    """The kernel's NetBSD with a trampoline, as one that runs old programs has."""
    made = netbsd_personality()
    made.exec = made.exec._replace(sigcode=lambda _: code)
    bench.system.personalities["netbsd"] = made
    bench.t.proc.personality = made


@row("netbsd", "exec_sigcode_map", "an emulation without a trampoline has none mapped")
def test_no_sigcode(bench: NetbsdBench, prog: bytes) -> None:
    assert run(bench, prog).vm.sigcode == 0
    assert not bench.system.sigcode


@row("netbsd", "exec_sigcode_map",
     "the trampoline is one object, made when first used, which all processes are shown, to read and run")
def test_sigcode(bench: NetbsdBench, prog: bytes) -> None:
    with_sigcode(bench)
    assert not bench.system.sigcode
    first = run(bench, prog)
    shown = first.vm.find(first.vm.sigcode)
    assert shown is not None
    assert (shown.prot, shown.max_prot, shown.shared, shown.length) == (5, 5, True, 4096)
    assert first.vm.copyin(first.vm.sigcode, len(CODE)) == CODE
    bench.t = bench.process()
    second = run(bench, prog)
    other = second.vm.find(second.vm.sigcode)
    assert other is not None
    assert other.object is shown.object
    assert list(bench.system.sigcode) == [CODE]
    assert second.vm.copyin(second.vm.sigcode, len(CODE)) == CODE


@row("netbsd", "sys_execve, szsigcode", "the stack keeps room for the trampoline between its strings and ps_strings")
def test_room_for_sigcode(bench: NetbsdBench, prog: bytes) -> None:
    bench.system.execsw.randomise = False
    without = bench.check(prog).stack
    with_sigcode(bench, bytes(160))
    assert bench.check(prog).stack.sp == without.sp - 160
    assert bench.check(prog).stack.ps_strings == without.ps_strings


@row("netbsd", "sys_execve, exec_sigcode_map", "a trampoline that cannot be mapped ends the process with plain SIGABRT")
@row("netbsd", "sys_execve, KNOTE", "NOTE_EXEC was delivered by then; the fault of the seed, a buffer freed twice, is not ours")
def test_failing_sigcode(bench: NetbsdBench, prog: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with_sigcode(bench)
    told: list[str] = []
    child = fork_process(bench.t, CloneFlags(0), 17)
    child.proc.knotes = Knotes(told)
    bench.t = child

    def refuse(*_: object) -> None:
        raise EIO

    monkeypatch.setattr(load_module, "map_sigcode", refuse)
    run(bench, prog)
    assert child.proc.exit_status == 6
    assert told == ["NOTE_EXEC p", "NOTE_EXIT 0x6"]


@pytest.mark.usefixtures("prog")
def test_a_death_before_it_tells_nobody(bench: NetbsdBench, tmp_path: Path) -> None:
    told: list[str] = []
    bench.t = fork_process(bench.t, CloneFlags(0), 17)
    bench.t.proc.knotes = Knotes(told)
    run(bench, put(tmp_path / "bad", branded(segment(1 << 60))))
    assert bench.t.proc.zombie
    assert told == ["NOTE_EXIT 0xc06"]


def test_a_first_program_may_die(bench: NetbsdBench, tmp_path: Path) -> None:
    """A process without a program has nothing to die with; it dies all the same."""
    p = bench.t.proc
    run(bench, put(tmp_path / "bad", branded(segment(1 << 60))))
    assert p.exit_status == 12 << 8 | 6
    assert not any(c.is_alive for c in bench.machine.cpus)


def test_linux_is_told_of_no_netbsd_deaths(bench: NetbsdBench, tmp_path: Path) -> None:
    t = bench.process(personality="linux")
    death = check_exec(t, bench.request(put(tmp_path / "bad", branded(segment(1 << 60)))))
    assert isinstance(death, ExecDeath)
    assert death.status == 11
