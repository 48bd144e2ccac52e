"""Too much of everything: the kernel says no, or yes, and meanwhile serves others; it never falls, and it closes quickly."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.abuse.guestpython import Assault, assault

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(200)]

AWAKE_S = 3.0             # the slowest answer allowed, on a busy machine
CLOSED_S = 15.0


def stands(outcome: Assault, expected: str | None = None) -> None:
    """Nothing but what the guest was to print, and the kernel was there for others."""
    assert outcome.slowest_s < AWAKE_S
    assert outcome.close_s < CLOSED_S
    if expected is not None:
        assert (outcome.stdout, outcome.stderr, outcome.status) == (expected, "", 0)


def test_fork_bomb_is_closed_quickly() -> None:
    stands(assault("""
import os
while True:
    try: os.fork()
    except OSError: pass
""", seconds=3))


def test_fork_bomb_within_a_limit() -> None:
    stands(assault("""
import os, resource, signal
os.setgid(1000); os.setuid(1000)
resource.setrlimit(resource.RLIMIT_NPROC, (50, 50))
n = 0
try:
    while n < 100:
        if os.fork() == 0: signal.pause()
        n += 1
except BlockingIOError: print(n)
os.setpgid(0, 0) if os.getpgrp() != os.getpid() else None
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.kill(-1, signal.SIGTERM)
"""), "49\n")


def test_long_copies_let_others_run() -> None:
    """One call that moves gigabytes, by the byte (a terminal) or by the megabyte."""
    stands(assault("""
import mmap, os, pty
zero, null = os.open("/dev/zero", 0), os.open("/dev/null", 1)
print(os.sendfile(null, zero, 0, 1 << 31))
memory = mmap.mmap(-1, 1 << 29)
print(os.readv(zero, [memory]), os.write(null, memory))
if os.fork() == 0:
    master, slave = pty.openpty()
    os.sendfile(master, zero, 0, 1 << 31)
print("typing", flush=True)
os.close(1); os.close(2)
""", seconds=6))


def test_sockets_within_sockets() -> None:
    """A chain of sockets, each in the queue of the next, is let go link by link and not by recursion."""
    stands(assault("""
import socket
a, b = socket.socketpair()
for _ in range(3000):
    c, d = socket.socketpair()
    socket.send_fds(c, [b"x"], [a.fileno(), b.fileno()])
    a.close(); b.close()
    a, b = c, d
a.close(); b.close()
print("closed")
"""), "closed\n")


def test_sockets_that_hold_themselves() -> None:
    stands(assault("""
import socket
for _ in range(2000):
    a, b = socket.socketpair()
    try: socket.send_fds(a, [b"x"], [a.fileno(), b.fileno()])
    except OSError as error: print(error); break
    a.close(); b.close()
print("done")
"""))


def test_epolls_watching_epolls() -> None:
    """As fs/eventpoll.c: of one file no more than 500 ways lead through two epolls, 100 through three."""
    stands(assault("""
import os, select
r, w = os.pipe()
below, above = [select.epoll() for _ in range(30)], [select.epoll() for _ in range(30)]
for epoll in below: epoll.register(r, 1)
n = 0
try:
    for top in above:
        for epoll in below:
            top.register(epoll.fileno(), 1)
            n += 1
except OSError as error: print(n, error)
"""), "500 [Errno 22] Invalid argument\n")


def test_empty_epolls_of_many_ways() -> None:
    """Without a file at the bottom there is no limit; looking for cycles takes no longer for that."""
    stands(assault("""
import select
levels = [[select.epoll() for _ in range(60)] for _ in range(4)]
for low, high in zip(levels, levels[1:]):
    for above in high:
        for below in low: above.register(below.fileno(), 1)
try: levels[0][0].register(levels[3][0].fileno(), 1)
except OSError as error: print(error)
"""), "[Errno 40] Too many levels of symbolic links\n")


def test_timers_of_a_nanosecond() -> None:
    stands(assault("""
import ctypes, struct, time
libc = ctypes.CDLL(None)
for _ in range(300):
    fd = libc.timerfd_create(1, 0)
    libc.timerfd_settime(fd, 0, struct.pack("qqqq", 0, 1, 0, 1), None)
import signal
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 1e-6, 1e-6)
begin = time.monotonic()
while time.monotonic() - begin < 0.5: pass
signal.setitimer(signal.ITIMER_REAL, 0)
print("through")
"""), "through\n")


def test_more_timers_than_there_is_time() -> None:
    """A thousand of them, a thousand times a second each: what cannot be served is counted, and the program goes on."""
    stands(assault("""
import ctypes, os, signal, struct, time
libc = ctypes.CDLL(None)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
event = ctypes.create_string_buffer(struct.pack("Qii", 0, 10, 0), 64)
timer = ctypes.c_int()
for _ in range(1000):
    assert libc.syscall(222, 1, event, ctypes.byref(timer)) == 0
    libc.syscall(223, timer, 0, struct.pack("qqqq", 0, 1000000, 0, 1000000), None)
begin = time.monotonic()
while time.monotonic() - begin < 0.3: pass
print("through", signal.SIGUSR1 in signal.sigpending(), flush=True)
os._exit(0)
"""), "through True\n")


def test_queued_signals_have_a_limit() -> None:
    stands(assault("""
import ctypes, os, resource, signal
libc = ctypes.CDLL(None, use_errno=True)
signal.pthread_sigmask(signal.SIG_BLOCK, [40])
resource.setrlimit(resource.RLIMIT_SIGPENDING, (500, 500))
n = 0
while n < 5000 and libc.sigqueue(os.getpid(), 40, ctypes.c_void_p(1)) == 0: n += 1
print(n, os.strerror(ctypes.get_errno()))
"""), "500 Resource temporarily unavailable\n")


def test_descriptors_have_a_limit() -> None:
    stands(assault("""
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))
n = 0
try:
    while True: os.open("/dev/null", 0); n += 1
except OSError as error: print(n, error.strerror)
"""), "997 Too many open files\n")


def test_full_pipes() -> None:
    outcome = assault("""
import os
for _ in range(400):
    r, w = os.pipe()
    os.set_blocking(w, False)
    assert os.write(w, b"x" * 65536) == 65536
    try: os.write(w, b"x")
    except BlockingIOError: pass
print("full")
""")
    stands(outcome, "full\n")


def test_deep_directories_and_chains_of_links() -> None:
    stands(assault("""
import os
here = os.getcwd()
for _ in range(2500): os.mkdir("d"); os.chdir("d")
print(len(os.getcwd()) - len(here))
os.chdir(here)
try: os.stat("/".join(["d"] * 2100))
except OSError as error: print(error.strerror)
for i in range(42): os.symlink(f"l{i - 1}" if i else "/etc", f"l{i}")
print(os.path.isdir("l39"), os.path.isdir("l40"))
os.symlink(".", "a0")
for i in range(1, 6): os.symlink("/".join([f"a{i - 1}"] * 301), f"a{i}")
try: os.stat("a5")
except OSError as error: print(error.strerror)
"""), "5000\nFile name too long\nTrue False\nToo many levels of symbolic links\n")


def test_a_large_directory() -> None:
    stands(assault("""
import os
os.mkdir("l")
for i in range(10000): os.symlink("x", f"l/{i}")
print(len(os.listdir("l")))
""", seconds=40), "10000\n")


def test_many_threads() -> None:
    stands(assault("""
import threading
threading.stack_size(65536)
go = threading.Event()
threads = [threading.Thread(target=go.wait) for _ in range(300)]
for t in threads: t.start()
go.set()
for t in threads: t.join()
print("joined")
""", seconds=40), "joined\n")


def test_arguments_beyond_every_limit() -> None:
    stands(assault("""
import os, subprocess
print(len(subprocess.run(["/bin/echo"] + ["x" * 10] * 20000, capture_output=True).stdout))
for args in (["x" * 131072], ["x" * 1000] * 7000):
    try: subprocess.run(["/bin/echo", *args])
    except OSError as error: print(error.strerror)
"""), "220000\nArgument list too long\nArgument list too long\n")


RESIZE = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.syscall.restype = ctypes.c_long
size = ctypes.c_ulong
for old, new in ((1 << 47, 4096), ((1 << 64) - 1, 4096), (1 << 63, 1), (4096, (1 << 64) - 1), (1 << 64, 4096)):
    at = libc.mmap(None, size(8192), 3, 0x22, -1, size(0))
    result = libc.syscall(25, size(at), size(old), size(new), 1, size(0))
    print(errno.errorcode[ctypes.get_errno()] if result == -1 else "fine")
    result = libc.syscall(11, size(at), size(old))
    print(errno.errorcode[ctypes.get_errno()] if result == -1 else "fine")
"""


def test_resizing_mappings_to_beyond_everything() -> None:
    """mremap and munmap with lengths that leave the address space or wrap around: as on the host."""
    native = subprocess.run([sys.executable, "-S", "-c", RESIZE], capture_output=True, text=True, check=True)
    stands(assault(RESIZE), native.stdout)
