"""Every way we know to do what was not promised: each is tried by a guest that holds the promises beside it, and gets nowhere.

Refused is what answers EPERM: in mode "eperm" the guest lives to tell, so that no attempt passes because something else failed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import ring3
from tests.guest.build import build
from tests.guest.netbsd.build import build as build_netbsd

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(240)]

GUEST = Path(__file__).parent / "guest"
PRELUDE = """
import ctypes, errno, fcntl, mmap, os, resource, signal, socket, struct, sys, termios
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    found = libc.syscall(number, *args)
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found
def child():
    pid = os.fork()
    if not pid:
        signal.pause()
    return pid
def pair():
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0]
def page():
    return ctypes.addressof(ctypes.c_char.from_buffer(mmap.mmap(-1, 4096)))
children = []
try:
    %s
except OSError as error:
    print('refused' if error.errno == errno.EPERM else f'failed {error}')
else:
    print('got')
finally:
    for pid in children:
        os.kill(pid, 9)
"""

# What is tried: a name, the promises beside stdio and rpath, and statements of which the last must raise EPERM.
ATTEMPTS = {
    "speaking to a socket's name with half of a pair": ("", "pair().sendto(b'x', '\\0nobody')"),
    "the same by a message": ("", "pair().sendmsg([b'x'], [], 0, '\\0nobody')"),
    "connecting half of a pair": ("inet", "pair().connect('\\0nobody')"),
    "naming half of a pair": ("inet", "pair().bind('\\0mine')"),
    "a local socket": ("inet", "socket.socket(socket.AF_UNIX)"),
    "an internet socket": ("unix", "socket.socket(socket.AF_INET)"),
    "giving a descriptor away": ("", "a, b = socket.socketpair(); socket.send_fds(a, [b'x'], [0])"),
    "taking a descriptor": ("sendfd", """
a, b = socket.socketpair(); socket.send_fds(a, [b'x'], [0]); socket.recv_fds(b, 1, 1)"""),
    "writing the own code through /proc": ("wpath", "os.open('/proc/self/mem', os.O_RDWR)"),
    "reading a child's memory": ("proc", "children.append(child()); os.open(f'/proc/{children[0]}/mem', os.O_RDONLY)"),
    "writing a child's memory": ("proc wpath prot_exec", """
children.append(child()); os.open(f'/proc/{children[0]}/mem', os.O_WRONLY)"""),
    "a child's environment": ("proc", "children.append(child()); open(f'/proc/{children[0]}/environ')"),
    "a child's descriptors": ("proc", "children.append(child()); os.listdir(f'/proc/{children[0]}/fd')"),
    "where a child's descriptor leads": ("proc", "children.append(child()); os.readlink(f'/proc/{children[0]}/fd/0')"),
    "a child's root": ("proc", "children.append(child()); os.stat(f'/proc/{children[0]}/root')"),
    "process_vm_readv": ("proc", """
import ctypes; at = page(); vector = struct.pack('QQ', at, 8); children.append(child())
call(310, children[0], vector, 1, vector, 1, 0)"""),
    "pidfd_getfd": ("proc", "call(438, os.pidfd_open(os.getpid()), 0, 0)"),
    "pidfd_send_signal to oneself": ("", "call(424, 0, 0, None, 0)"),
    "kcmp": ("proc", "call(312, os.getpid(), os.getpid(), 0, 0, 0)"),
    "a memfd as code": ("", """
fd = os.memfd_create('x'); os.write(fd, bytes(4096)); mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)"""),
    "a nameless file as code": ("wpath cpath", """
fd = os.open('/tmp', os.O_TMPFILE | os.O_RDWR); os.write(fd, bytes(4096))
mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)"""),
    "a removed file as code": ("wpath cpath", """
fd = os.open('gone', os.O_CREAT | os.O_RDWR); os.write(fd, bytes(4096)); os.unlink('gone')
mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)"""),
    "a file's shared pages as code": ("wpath cpath", """
fd = os.open('file', os.O_CREAT | os.O_RDWR); os.write(fd, bytes(4096))
mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_EXEC)"""),
    "fresh memory as code": ("", "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)"),
    "memory that becomes code": ("", "call(10, page(), 4096, 5)"),
    "memory that becomes code by a key": ("", "call(329, page(), 4096, 5, -1)"),
    "everything readable is code": ("", "call(135, 0x0400000)"),
    "asking for a child's limits": ("", "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE)"),
    "setting the own limits": ("", "call(160, 7, struct.pack('QQ', 10, 10))"),
    "a signal to everybody": ("", "os.kill(-1, 0)"),
    "a signal to the group": ("", "os.kill(0, 0)"),
    "a signal to a thread of another process": ("", "call(234, 1, 1, 0)"),
    "a signal with a value": ("", "call(129, 1, 0, bytes(128))"),
    "a signal with a value to a thread": ("", "call(297, 1, 1, 0, bytes(128))"),
    "a descriptor whose signals go to another": ("", "fcntl.fcntl(0, fcntl.F_SETOWN, 1)"),
    "the same by a struct": ("", "fcntl.fcntl(0, 15, struct.pack('ii', 2, os.getpgrp()))"),
    "a thread": ("proc", "call(56, 0x10f00, 0, 0, 0, 0)"),
    "a process": ("thread", "os.fork()"),
    "an open for both that says 3": ("", "call(2, b'/dev/null', 3)"),
    "an open that truncates": ("", "os.open('/dev/null', os.O_TRUNC)"),
    "a nameless file": ("wpath", "os.open('/tmp', os.O_TMPFILE | os.O_RDWR)"),
    "openat2 for writing": ("", "call(437, -100, b'/dev/null', struct.pack('QQQ', 1, 0, 0), 24)"),
    "creat": ("wpath", "call(85, b'new', 0o600)"),
    "a truncation by path": ("cpath", "os.truncate('/dev/null', 0)"),
    "a FIFO": ("wpath cpath", "os.mkfifo('fifo')"),
    "a file by mknod": ("wpath cpath", "os.mknod('file')"),
    "a mode by a descriptor": ("wpath", "os.fchmod(0, 0o600)"),
    "times by a descriptor": ("wpath", "os.utime(0, (0, 0))"),
    "an attribute by a descriptor": ("wpath", "os.setxattr(0, 'user.x', b'y')"),
    "an owner": ("fattr", "os.chown('/dev/null', 0, 0)"),
    "typing into a terminal": ("", "fcntl.ioctl(0, termios.TIOCSTI, b'x')"),
    "a terminal's modes": ("", "fcntl.ioctl(0, termios.TCSETS, bytes(64))"),
    "a terminal's group": ("", "fcntl.ioctl(0, termios.TIOCSPGRP, struct.pack('i', 1))"),
    "chroot": ("cpath fattr id proc exec ptrace jail", "os.chroot('/')"),
    "mount": ("cpath fattr id proc exec ptrace jail", "call(165, b'none', b'/tmp', b'tmpfs', 0, None)"),
    "the host's name": ("id settime", "socket.sethostname('x')"),
    "the clock": ("id", "call(227, 0, struct.pack('qq', 0, 0))"),
    "the own user": ("proc", "os.setuid(os.getuid())"),
    "the rank of others": ("", "os.setpriority(os.PRIO_PROCESS, 1, 5)"),
    "another group": ("", "os.setpgid(0, 0)"),
    "another program": ("proc", "os.execv('/bin/true', ['true'])"),
    "another program by its descriptor": ("proc", "os.execve(os.open('/bin/true', os.O_RDONLY), ['true'], {})"),
}


def statements(text: str) -> str:
    return "\n    ".join(text.strip().splitlines())


def guest(program: Sequence[str], pledge: str | None, tmp_path: Path, **how: Any) -> subprocess.CompletedProcess[str]:
    with ring3.Kernel() as kernel:
        return kernel.run(program, capture_output=True, text=True, timeout=90, cwd=str(tmp_path), pledge=pledge, **how)


@pytest.mark.parametrize("name", ATTEMPTS)
def test_nothing_unpromised_is_done(tmp_path: Path, name: str) -> None:
    more, attempt = ATTEMPTS[name]
    program = [str(Path(sys.executable).resolve()), "-S", "-c", PRELUDE % statements(attempt)]
    done = guest(program, f"stdio rpath {more}", tmp_path, pledge_mode="eperm")
    assert done.stdout == "refused\n", done.stderr


def test_the_attempts_would_succeed_with_the_promise(tmp_path: Path) -> None:
    """The table proves something: with the word that is missing they are not refused."""
    for name, word in (
        ("naming half of a pair", "unix"), ("writing the own code through /proc", "prot_exec"),
        ("reading a child's memory", "ptrace"),
        ("a child's environment", "ptrace"), ("a memfd as code", "prot_exec"), ("a signal to the group", "proc"),
        ("a descriptor whose signals go to another", "proc"), ("creat", "cpath"), ("giving a descriptor away", "sendfd"),
    ):
        more, attempt = ATTEMPTS[name]
        program = [str(Path(sys.executable).resolve()), "-S", "-c", PRELUDE % statements(attempt)]
        done = guest(program, f"stdio rpath {more} {word}", tmp_path, pledge_mode="eperm")
        assert done.stdout in ("got\n", "failed [Errno 3] No such process\n"), (name, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("how", "way", "pledge"),
    [
        ("i386", "bind", "stdio inet"), ("i386", "connect", "stdio inet"), ("i386", "sendto", "stdio"), ("i386", "bind", "stdio"),
        ("i386", "connect", "stdio"), ("i386", "socket", "stdio"), ("i386", "clone", "stdio thread"),
        ("x64", "int80", "stdio"), ("x64", "int80 open", "stdio rpath"), ("x64", "clone", "stdio thread"),
        ("x64", "vfork", "stdio thread"),
        ("x64", "clone3", "stdio thread"), ("x64", "high", "stdio"),
    ],
)
def test_no_other_way_into_the_kernel_is_open(tmp_path: Path, how: str, way: str, pledge: str) -> None:
    done = guest([str(build(GUEST / "crossing.c", how)), way], pledge, tmp_path, pledge_mode="eperm")
    assert done.stdout == "refused Operation not permitted\n", done.stderr


def test_numbers_of_x32_are_none(tmp_path: Path) -> None:
    done = guest([str(build(GUEST / "crossing.c", "x64")), "x32"], "stdio", tmp_path, pledge_mode="kill")
    assert (done.returncode, done.stdout) == (0, "refused Function not implemented\n")


def test_socketcall_needs_what_its_call_needs(tmp_path: Path) -> None:
    program = str(build(GUEST / "crossing.c", "i386"))
    assert guest([program, "bind"], "stdio", tmp_path).returncode == -6
    assert guest([program, "bind"], "stdio unix", tmp_path).stdout == "got 0\n"


@pytest.mark.parametrize("how", ["amd64", "i386"])
@pytest.mark.parametrize(
    ("way", "pledge"),
    [
        ("syscall fork", "stdio rpath"), ("__syscall fork", "stdio"), ("syscall open", "stdio rpath"), ("spawn", "stdio proc"),
        ("spawn creat", "stdio rpath proc exec"), ("spawn chdir", "stdio proc exec"), ("args", "stdio proc"), ("node", "stdio"),
        ("lwp", "stdio proc"), ("ktrace", "stdio rpath wpath proc"), ("ktrace file", "stdio rpath ptrace"),
    ],
)
def test_no_way_into_netbsd_is_open(tmp_path: Path, how: str, way: str, pledge: str) -> None:
    done = guest([str(build_netbsd(GUEST / "nbcrossing.c", how)), way], pledge, tmp_path, pledge_mode="eperm", personality="netbsd")
    assert done.stdout == "refused\n", done.stderr
    allowed = guest([str(build_netbsd(GUEST / "nbcrossing.c", how)), way], None, tmp_path, personality="netbsd")
    assert allowed.stdout != "refused\n", allowed.stderr


def test_promises_follow_into_programs_of_other_systems(tmp_path: Path) -> None:
    """What is left after exec holds a NetBSD program that a Linux one runs, and not the Linux one itself."""
    program = str(build_netbsd(GUEST / "nbcrossing.c"))
    shell = ["/bin/sh", "-c", f"{program} 'syscall fork'; {program} spawn; exec {program} lwp"]
    done = guest(shell, "stdio rpath proc exec thread", tmp_path, exec_pledge="stdio rpath thread unix", pledge_mode="eperm")
    assert done.stdout == "refused\nrefused\nfailed 14\n", done.stderr


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("threading.Thread(target=os.fork).start(); signal.pause()", -6),
        ("signal.signal(6, lambda *_: os._exit(3)); os.fork()", -6),
        ("signal.pthread_sigmask(signal.SIG_BLOCK, [6]); os.fork()", -6),
        ("signal.signal(6, signal.SIG_IGN); os.fork()", -6),
    ],
)
def test_a_broken_promise_ends_all_of_a_process(tmp_path: Path, program: str, status: int) -> None:
    code = f"import os, signal, threading; {program}"
    done = guest([str(Path(sys.executable).resolve()), "-S", "-c", code], "stdio rpath thread", tmp_path)
    assert done.returncode == status, done.stderr


def test_a_child_that_breaks_a_promise_leaves_its_parent_alone(tmp_path: Path) -> None:
    done = guest(["/bin/sh", "-c", "mkdir x; echo $?; (: > y); echo $?"], "stdio rpath proc exec", tmp_path)
    assert done.stdout == "134\n134\n"
