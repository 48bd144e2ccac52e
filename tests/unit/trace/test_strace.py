"""What `Strace` prints, line by line as strace(1) 6.1 printed the same story on the host."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest

from ring3.abi.signals import CLD_EXITED, SI_KERNEL, SI_USER, SigInfo, Signal
from ring3.abi.x86 import NREGS, RDI, RDX, RSI, Arch
from ring3.calls.sysarg import Fd, Kind, Mode, OpenFlag, Pid, Size, Word
from ring3.calls.sysarg import Path as GuestPath
from ring3.calls.syscall import NOSYS, Bound, syscall
from ring3.errors import EFAULT, EINTR, ENOENT, ENOSYS
from ring3.personality.linux import linux_personality
from ring3.proc.proc import Proc, Restart, Thread, ThreadState
from ring3.protocols import Abi
from ring3.trace.strace import Strace

_LINUX = linux_personality()


class Filled(Kind):
    """Something the call fills in."""

    def show(self, t: Thread, value: Any) -> str:
        return hex(value)

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        return '"filled"'


Out = Annotated[int, Filled()]


@syscall(pledge="")
def sys_read(t: Thread, fd: Fd, buf: Out, nbytes: Size) -> int:
    return t.tid + fd + buf + nbytes


@syscall(pledge="")
def sys_open(t: Thread, path: GuestPath, flags: OpenFlag, mode: Mode) -> int:
    return t.tid + len(path) + int(flags) + mode


@syscall(pledge="")
def sys_getpid(t: Thread) -> int:
    return t.tid


@syscall(pledge="")
def sys_kill(t: Thread, pid: Pid, signo: Word) -> int:
    return t.tid + pid + signo


@syscall(pledge="")
def sys_exit(t: Thread, status: Word) -> int:
    return t.tid + status


@syscall(pledge="")
def sys_brk(t: Thread, addr: Word) -> int:
    return t.tid + addr


@syscall(pledge="")
def sys_rt_sigreturn(t: Thread) -> int:
    return t.tid


ABI = Abi(
    arch=Arch.X86_64, native=True, word_size=8, argument_registers=(RDI, RSI, RDX), errno={EINTR: 4}, succeed=lambda _r, _v: None,
    fail=lambda _r, _n: None, rewind=lambda _r, _n: None, restart_number=219, sysent={}, names={}, layouts={}, flags={},
    send_signal=lambda *_a: True,
)
READ, OPEN, GETPID, KILL = sys_read.bind(ABI), sys_open.bind(ABI), sys_getpid.bind(ABI), sys_kill.bind(ABI)
EXIT, EXIT_GROUP, BRK = sys_exit.bind(ABI), sys_exit.bind(ABI, "exit_group"), sys_brk.bind(ABI)
SIGRETURN = sys_rt_sigreturn.bind(ABI)


class Memory:
    """A space where nothing is mapped."""

    def copyinstr(self, addr: int, limit: int) -> bytes:
        raise EFAULT

    def copyin(self, addr: int, nbytes: int) -> bytes:
        raise EFAULT


def thread(tid: int, proc: Proc | None = None) -> Thread:
    system: Any = SimpleNamespace(now_ns=lambda: 0, interpose=None, shown_bytes=32)
    p = proc or Proc(system, tid, None)
    p.personality = _LINUX
    t = Thread(p, tid)
    cpu: Any = SimpleNamespace(regs=memoryview(bytearray(NREGS * 8)).cast("Q"), arch=Arch.X86_64)
    t.cpu = cpu
    memory: Any = Memory()
    p.vm = memory
    p.threads[tid] = t
    t.state = ThreadState.SERVED
    return t


class Story:
    """An Strace, and what it wrote."""

    def __init__(self) -> None:
        self.text = ""
        self.strace = Strace(self.write)

    def write(self, text: str) -> None:
        self.text += text

    def call(self, t: Thread, call: Bound, args: tuple[Any, ...], result: Any) -> None:
        self.strace.syscall_enter(t, call, args)
        self.strace.syscall_exit(t, call, args, result)

    @property
    def lines(self) -> list[str]:
        assert self.text.endswith("\n")
        return self.text[:-1].split("\n")


@pytest.fixture
def story() -> Story:
    return Story()


def test_results_stand_at_column_40(story: Story) -> None:
    t = thread(7)
    story.call(t, GETPID, (), 7)
    story.call(t, BRK, (0,), 0x9708000)
    story.call(t, READ, (3, 0x1000, 832), 832)
    story.call(t, OPEN, (b"/" + b"n" * 40, 0, 0), ENOENT("a reason of our own"))
    assert story.lines == [
        "getpid()                                = 7",
        "brk(0)                                  = 0x9708000",
        'read(3, "filled", 832)                  = 832',
        f'open("/{"n" * 40}", O_RDONLY) = -1 ENOENT (No such file or directory)',
    ]


def test_a_mode_is_shown_where_a_file_is_made(story: Story) -> None:
    t = thread(7)
    story.call(t, OPEN, (b"/f", 0o101, 0o644), 3)
    assert story.lines == ['open("/f", O_WRONLY|O_CREAT, 0644)      = 3']


def test_what_was_not_filled_in_is_an_address(story: Story) -> None:
    story.call(thread(7), READ, (3, 0x1000, 1), EFAULT())
    assert story.lines == ["read(3, 0x1000, 1)                      = -1 EFAULT (Bad address)"]


def test_an_argument_that_cannot_be_read_is_a_number(story: Story) -> None:
    t = thread(7)
    t.cpu.regs[RDI], t.cpu.regs[RSI] = 0x10, 2
    story.strace.syscall_exit(t, OPEN, None, EFAULT())
    assert story.lines == ["open(0x10, O_RDWR)                      = -1 EFAULT (Bad address)"]


def test_a_call_nobody_wrote_shows_its_registers(story: Story) -> None:
    t = thread(7)
    t.cpu.regs[RDI] = 5
    story.call(t, Bound(NOSYS, ABI, "io_uring_setup"), (), ENOSYS())
    assert story.lines == ["io_uring_setup(0x5, 0x0, 0x0)           = -1 ENOSYS (Function not implemented)"]


def test_two_threads_take_turns(story: Story) -> None:
    one, two = thread(8348), thread(8350)
    story.strace.fork(one, two)
    story.strace.syscall_enter(one, READ, (3, 0x1000, 1))
    story.strace.syscall_enter(two, GETPID, ())
    story.strace.syscall_enter(one, GETPID, ())     # not possible, but no line is lost
    story.strace.syscall_exit(two, GETPID, (), 8350)
    assert story.lines[:3] == [
        "[pid  8348] read(3,  <unfinished ...>",
        "[pid  8350] getpid( <unfinished ...>",
        "[pid  8348] getpid( <unfinished ...>",
    ]
    assert story.lines[3] == "[pid  8350] <... getpid resumed>)       = 8350"


def test_a_resumed_call_shows_what_it_filled_in(story: Story) -> None:
    one, two = thread(2), thread(3)
    story.strace.fork(one, two)
    story.strace.syscall_enter(one, READ, (3, 0x1000, 1))
    story.call(two, GETPID, (), 3)
    story.strace.syscall_exit(one, READ, (3, 0x1000, 1), 1)
    assert story.lines == [
        "[pid     2] read(3,  <unfinished ...>",
        "[pid     3] getpid()                    = 3",
        '[pid     2] <... read resumed>"filled", 1) = 1',
    ]


def test_exit_and_the_end_of_the_prefix(story: Story) -> None:
    one, two = thread(2), thread(3)
    story.strace.fork(one, two)
    story.strace.syscall_enter(two, EXIT_GROUP, (3,))
    two.state, two.proc.zombie, two.proc.exit_status = ThreadState.DEAD, True, 3 << 8
    story.strace.exit(two.proc)
    story.strace.syscall_exit(two, EXIT_GROUP, (3,), None)
    story.strace.signal(one, SigInfo(Signal.SIGCHLD, CLD_EXITED, pid=3, status=3), handled=False)
    assert story.lines == [
        "[pid     3] exit_group(3)               = ?",
        "[pid     3] +++ exited with 3 +++",
        "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=3, si_uid=0, si_status=3, si_utime=0, si_stime=0} ---",
    ]


def test_a_thread_that_ends_alone(story: Story) -> None:
    leader = thread(2)
    other = thread(3, leader.proc)
    story.strace.fork(leader, other)
    story.strace.syscall_enter(other, EXIT, (0,))
    other.state = ThreadState.DEAD
    story.strace.syscall_exit(other, EXIT, (0,), None)
    assert story.lines == ["[pid     3] exit(0)                     = ?", "[pid     3] +++ exited with 0 +++"]


def test_all_threads_end_with_the_process_the_leader_last(story: Story) -> None:
    leader = thread(2)
    other = thread(3, leader.proc)
    story.strace.fork(leader, other)
    story.strace.syscall_enter(leader, READ, (3, 0x1000, 1))
    story.strace.syscall_enter(other, EXIT_GROUP, (1,))
    leader.state = other.state = ThreadState.DEAD
    leader.proc.zombie, leader.proc.exit_status = True, 1 << 8
    story.strace.exit(leader.proc)
    assert story.lines == [
        "[pid     2] read(3,  <unfinished ...>",
        "[pid     3] exit_group(1)               = ?",
        "[pid     3] +++ exited with 1 +++",
        "<... read resumed>...)                  = ?",
        "+++ exited with 1 +++",
    ]


@pytest.mark.parametrize(("restart", "shown"), [
    (Restart(), "? ERESTARTSYS (To be restarted if SA_RESTART is set)"),
    (Restart(always=True), "? ERESTARTNOINTR (To be restarted)"),
    (Restart(no_handler_only=True), "? ERESTARTNOHAND (To be restarted if no handler)"),
    (Restart(resume=lambda _t: None), "? ERESTART_RESTARTBLOCK (Interrupted by signal)"),  # type: ignore[arg-type, return-value]
])
def test_interrupted_calls(story: Story, restart: Restart, shown: str) -> None:
    t = thread(2)
    story.strace.syscall_enter(t, READ, (3, 0x1000, 1))
    t.restart = restart
    story.strace.syscall_exit(t, READ, (3, 0x1000, 1), None)
    story.strace.signal(t, SigInfo(Signal.SIGALRM, SI_KERNEL), handled=True)
    assert story.lines == [
        f"read(3, 0x1000, 1)                      = {shown}", "--- SIGALRM {si_signo=SIGALRM, si_code=SI_KERNEL} ---",
    ]


def test_sigreturn_shows_the_mask_and_what_the_interrupted_call_gives(story: Story) -> None:
    t = thread(2)
    story.strace.syscall_enter(t, SIGRETURN, ())
    from ring3.abi.x86 import RAX

    t.cpu.regs[RAX] = -4 & (1 << 64) - 1
    t.sigmask = 1 << 9
    story.strace.syscall_exit(t, SIGRETURN, (), None)
    assert story.lines == ["rt_sigreturn({mask=[USR1]})             = -1 EINTR (Interrupted system call)"]


def test_a_signal_that_kills_a_sleeper(story: Story) -> None:
    t = thread(2)
    story.strace.syscall_enter(t, READ, (3, 0x1000, 1))
    t.state = ThreadState.SLEEPING
    story.strace.signal(t, SigInfo(Signal.SIGTERM, SI_USER, pid=9), handled=False)
    t.state, t.proc.exit_status = ThreadState.DEAD, int(Signal.SIGTERM)
    story.strace.exit(t.proc)
    assert story.lines == [
        "read(3, ...)                            = ? ERESTARTSYS (To be restarted if SA_RESTART is set)",
        "--- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=9, si_uid=0} ---",
        "+++ killed by SIGTERM +++",
    ]


def test_a_process_that_kills_itself(story: Story) -> None:
    t = thread(2)
    story.strace.syscall_enter(t, KILL, (2, 15))
    story.strace.syscall_exit(t, KILL, (2, 15), 0)
    story.strace.signal(t, SigInfo(Signal.SIGTERM, SI_USER, pid=2), handled=False)
    t.state, t.proc.exit_status = ThreadState.DEAD, int(Signal.SIGTERM) | 0x80
    story.strace.exit(t.proc)
    assert story.lines == [
        "kill(2, 15)                             = 0",
        "--- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=2, si_uid=0} ---",
        "+++ killed by SIGTERM (core dumped) +++",
    ]


def test_the_first_exec_has_a_line(story: Story) -> None:
    t = thread(2)
    asked = (b"./a", b"x" * 40)
    stack = SimpleNamespace(env_start=0x7FFC0000)
    plan: Any = SimpleNamespace(path=b"./a", argv=(b"/bin/sh", *asked), asked=asked, envp=(b"A=1",), stack=stack)
    story.strace.exec(t, plan)
    assert story.lines == [f'execve("./a", ["./a", "{"x" * 32}"...], 0x7ffc0000 /* 1 var */) = 0']


def test_exec_ends_other_threads(story: Story) -> None:
    leader = thread(2)
    other = thread(3, leader.proc)
    story.strace.fork(leader, other)
    story.strace.syscall_enter(other, READ, (3, 0x1000, 1))
    story.strace.syscall_enter(leader, GETPID, ())      # as if it were the exec
    story.strace.exec(leader, SimpleNamespace())  # type: ignore[arg-type]
    story.strace.syscall_exit(leader, GETPID, (), None)
    assert story.lines == [
        "[pid     3] read(3,  <unfinished ...>",
        "[pid     2] getpid( <unfinished ...>",
        "[pid     3] +++ superseded by execve in pid 2 +++",
        "<... getpid resumed>)                   = 0",
    ]


def test_half_a_line_is_flushed() -> None:
    seen: list[str] = []
    strace = Strace(seen.append, lambda: seen.append("FLUSH"))
    strace.syscall_enter(thread(2), READ, (3, 0x1000, 1))
    assert "".join(seen) == "read(3, FLUSH"


# --- the real thing
PROGRAM = r"""
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
    char b[8];
    int p[2];
    syscall(SYS_getuid);
    open("/no/such", O_RDONLY);
    open("/proc", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    write(-1, "a\"b\n\1", 5);
    pipe(p);
    write(p[1], "0123456789012345678901234567890123456789", 40);
    read(p[0], b, 4);
    read(p[0], (char *)16, 4);
    access("/", R_OK | X_OK);
    open((char *)16, O_RDONLY);
    lseek(p[0], 0, SEEK_END);
    dup2(p[0], 9);
    close(9);
    _exit(3);
}
"""


@pytest.mark.needs_ptrace
def test_same_lines_as_strace(tmp_path: Path) -> None:
    """A static program's calls from its first own one on; addresses and what libc does before aside."""
    ring3: Any = pytest.importorskip("ring3")
    if not hasattr(ring3, "run"):
        pytest.skip("ring3.run is not there yet")
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    source, program = tmp_path / "p.c", tmp_path / "p"
    source.write_text(PROGRAM)
    build = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-musl", "-static", "-O1", "-w", "-o", str(program)]
    if subprocess.run([*build, str(source)], capture_output=True, check=False).returncode:
        pytest.skip("no compiler")
    native = subprocess.run(["strace", "-o", str(tmp_path / "native"), str(program)], capture_output=True, check=False)
    if native.returncode != 3:
        pytest.skip(f"strace cannot trace here: {native.stderr.decode()}")
    pieces: list[str] = []
    with ring3.Kernel(instruments=[Strace(pieces.append)]) as kernel:
        assert kernel.run([str(program)]).returncode == 3

    def own(lines: list[str]) -> list[str]:
        first = next(index for index, line in enumerate(lines) if line.startswith("getuid"))
        return lines[first:]

    assert own("".join(pieces).splitlines()) == own((tmp_path / "native").read_text().splitlines())
