"""Every way we know to know of a process outside of one's jail, whatever system the program in it is of: none gets anywhere.

The jail is SerenityOS's, made by one of its programs (`tests/guest/serenity/jailed.c`), which runs a Linux program in it, Python
or a shell, or a NetBSD one; two processes stay outside: one that sleeps, and the one that made the jail.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import ring3
from tests.guest.netbsd.build import build as build_netbsd
from tests.guest.serenity.build import HERE, build

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(240)]

GUEST = Path(__file__).parent / "guest"
PYTHON = str(Path(sys.executable).resolve())
PRELUDE = """
import ctypes, errno, fcntl, os, resource, signal, struct, sys, time
OUT, MAKER = map(int, sys.argv[-2:])
signal.signal(signal.SIGTERM, signal.SIG_IGN)
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    found = libc.syscall(number, *args)
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found
def kill():
    info = room(128)
    struct.pack_into('iii', info, 0, 9, 0, -1)
    return info
def room(size=256):
    return ctypes.create_string_buffer(size)
def pieces():
    page = room()
    return struct.pack('QQ', ctypes.addressof(page), 16)
def child():
    pid = os.fork()
    if not pid:
        time.sleep(60)
    return pid
"""
ALL = """
for what, statements in ATTEMPTS.items():
    try:
        exec(statements)
        print(what, '-> got', repr(result))
    except OSError as error:
        print(what, '->', errno.errorcode[error.errno])
"""

# What is tried, with the errors that say no.
LINUX = {
    "asking": ("result = os.kill(OUT, 0)", "ESRCH"),
    "a signal": ("result = os.kill(OUT, 9)", "ESRCH"),
    "a signal to its thread": ("result = call(200, OUT, 9)", "ESRCH"),
    "a signal to its thread, its process named": ("result = call(234, OUT, OUT, 9)", "ESRCH"),
    "a signal with a value": ("result = call(129, OUT, 9, kill())", "ESRCH"),
    "a signal with a value to its thread": ("result = call(297, OUT, OUT, 9, kill())", "ESRCH"),
    "a pidfd": ("result = call(434, OUT, 0)", "ESRCH"),
    "its group": ("result = os.getpgid(OUT)", "ESRCH"),
    "its session": ("result = os.getsid(OUT)", "ESRCH"),
    "moving it": ("result = os.setpgid(OUT, 0)", "ESRCH"),
    "its rank": ("result = os.getpriority(os.PRIO_PROCESS, OUT)", "ESRCH"),
    "ranking it": ("result = os.setpriority(os.PRIO_PROCESS, OUT, 5)", "ESRCH"),
    "its limits": ("result = resource.prlimit(OUT, resource.RLIMIT_NOFILE)", "ESRCH"),
    "its CPUs": ("result = os.sched_getaffinity(OUT)", "ESRCH"),
    "its class": ("result = os.sched_getscheduler(OUT)", "ESRCH"),
    "its capabilities": ("result = call(125, struct.pack('Ii', 0x20080522, OUT), room())", "ESRCH"),
    "its robust list": ("result = call(274, OUT, room(), room())", "ESRCH"),
    "its clock": ("result = time.clock_gettime((~OUT << 3) | 2)", "EINVAL"),
    "its memory": ("result = call(310, OUT, pieces(), 1, pieces(), 1, 0)", "ESRCH"),
    "writing its memory": ("result = call(311, OUT, pieces(), 1, pieces(), 1, 0)", "ESRCH"),
    "what it shares": ("result = call(312, os.getpid(), OUT, 0, 0, 0)", "ESRCH"),
    "waiting for it": ("result = os.waitpid(OUT, os.WNOHANG)", "ECHILD"),
    "being told by it": ("r, w = os.pipe(); result = fcntl.fcntl(r, fcntl.F_SETOWN, OUT)", "ESRCH"),
    "being told by its group": ("r, w = os.pipe(); result = fcntl.fcntl(r, fcntl.F_SETOWN, -MAKER)", "ESRCH"),
    "its directory": ("result = os.listdir(f'/proc/{OUT}')", "ENOENT"),
    "its directory with dots": ("result = os.listdir(f'/proc/self/../{OUT}/task')", "ENOENT"),
    "its status": ("result = open(f'/proc/{OUT}/status').read()", "ENOENT"),
    "its directory, open already": ("result = os.listdir(3)", "ESRCH"),
    "a file in it": ("result = os.open('fds', os.O_RDONLY, dir_fd=3)", "ESRCH"),
    "a text about it, open already": ("os.lseek(4, 0, 0); result = os.read(4, 100)", "ESRCH"),
    "who made the jail": ("result = os.kill(os.getppid(), 9)", "ESRCH"),
    "from a child": ("""
pid = os.fork()
if not pid:
    try:
        os.kill(OUT, 0)
    except OSError as error:
        os._exit(error.errno)
    os._exit(0)
result = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
if result:
    raise OSError(result, 'in the child')""", "ESRCH"),
}


def in_jail(*command: str) -> tuple[int, list[str]]:
    with ring3.Kernel() as kernel:
        done = kernel.run(
            [str(build(HERE / "jailed.c")), *command], capture_output=True, text=True, timeout=90, personality="serenity"
        )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def script(statements: str) -> tuple[str, ...]:
    return PYTHON, "-S", "-c", f"{PRELUDE}\n{statements}"


def test_a_linux_program_knows_nobody_outside() -> None:
    attempts = {what: statements for what, (statements, _) in LINUX.items()}
    status, lines = in_jail(*script(f"ATTEMPTS = {attempts!r}\n{ALL}"))
    assert lines == [*(f"{what} -> {refusal}" for what, (_, refusal) in LINUX.items()), "it sleeps"]
    assert status == 0


@pytest.mark.parametrize("statements", [
    "pid = child(); os.kill(-1, 9); print(os.waitpid(pid, 0)[1])",
    "pid = child(); os.kill(0, 15); os.killpg(os.getpgrp(), 15); time.sleep(.1); os.kill(pid, 9); print(os.waitpid(pid, 0)[1])",
], ids=["all", "group"])
def test_a_signal_to_many_stays_inside(statements: str) -> None:
    """Those inside get it; who is outside, in the same group and of the same user, does not."""
    assert in_jail(*script(statements)) == (0, ["9", "it sleeps"])


def test_those_inside_know_each_other() -> None:
    assert in_jail(*script("""
pid = child()
print({name for name in os.listdir('/proc') if name.isdigit()} == {str(os.getpid()), str(pid)})
print(os.getpgid(pid) == os.getpgid(0), len(os.listdir(f'/proc/{pid}')) > 20)
os.kill(pid, 9)""")) == (0, ["True", "True True", "it sleeps"])


def test_a_shell_sees_the_inside_alone() -> None:
    what = "for p in /proc/[0-9]*; do read name < $p/comm; echo $name; done; kill -0 $1 2> /dev/null || echo no"
    assert in_jail("/bin/sh", "-c", what, "sh") == (0, ["sh", "no", "it sleeps"])


def test_a_netbsd_program_knows_nobody_outside() -> None:
    status, lines = in_jail(str(build_netbsd(GUEST / "nbjailed.c")))
    assert [line for line in lines if not line.startswith("ok ")] == ["it sleeps"]
    assert (status, len(lines)) == (0, 11)
