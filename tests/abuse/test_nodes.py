"""Everything that can be done to a file, done to the nodes of /proc and /dev: refused or not, the kernel stands.

The default is a short run of the same nodes each time.  For a long one:

    RING3_ABUSE_NODES=100000 RING3_ABUSE_SEED=7 python -m pytest tests/abuse/test_nodes.py
"""

from __future__ import annotations

import os

import pytest

from tests.abuse.guestpython import assault

NODES = int(os.environ.get("RING3_ABUSE_NODES", "60"))
SEED = int(os.environ.get("RING3_ABUSE_SEED", "1"))

GUEST = r"""
import ctypes, fcntl, mmap, os, random, select, signal

dice, libc = random.Random(SEED), ctypes.CDLL(None, use_errno=True)
for number in (1, 2, 3, 10, 12, 13, 15, 17, 20, 21, 22, 23, 28, 29): signal.signal(number, signal.SIG_IGN)
nodes = ["/dev/ptmx", "/dev/tty"]
for top in ("/proc", "/dev"):
    for place, dirs, files in os.walk(top):
        if place.count("/") > 6: dirs[:] = []
        nodes += [os.path.join(place, name) for name in dirs + files]
dice.shuffle(nodes)
memory = mmap.mmap(-1, 1 << 20)
memory[:300] = dice.randbytes(300)
room = ctypes.addressof(ctypes.c_char.from_buffer(memory))
POINTERS = [0, 1, 4095, (1 << 64) - 1, (1 << 47) - 1, 1 << 47, 1 << 63, room, room + (1 << 19)]
REQUESTS = [*range(0x5400, 0x5461), 0x80045430, 0x40045431, 0x80045438, 0x40045436, 0x80045432, 0x5603, 0x4b3a,
            *range(0x8910, 0x8940), 0x1260, 0x80081272, 0x40049409, 0x4020940d, 0xc020660b, 0x80086601, 0x40086602, 0xc0045878]
DATA = [b"", b"0", b"-1", b"1\n", b"9" * 20, b"\0", b"x" * 5000, b"0 0 4294967295", b"a b c d\n", dice.randbytes(300), b"\xff" * 16]
OFFSETS = [0, 1, 5, -1, -5, 1 << 20, 1 << 40, (1 << 63) - 1]
MODES = [0, 1, 2, os.O_PATH, os.O_DIRECTORY, 2 | os.O_TRUNC | os.O_APPEND, os.O_TMPFILE | 2,
         os.O_CREAT | os.O_EXCL | 2, os.O_NOFOLLOW]

def attempt(call, *args):
    try: return call(*args)
    except (OSError, ValueError, OverflowError, EOFError, MemoryError): return None

def pointer(): return ctypes.c_void_p(dice.choice(POINTERS))

def use(fd, path, mode):
    for size in (1, 7, 4096, 1 << 20): attempt(os.read, fd, size)
    for offset in OFFSETS:
        attempt(os.pread, fd, 100, offset)
        attempt(os.lseek, fd, offset, dice.randrange(6))
    if mode in (1, 2) and "/fd/" not in path and not path.endswith("/mem"):
        for data in DATA:
            attempt(os.write, fd, data)
            attempt(os.pwrite, fd, data, dice.choice(OFFSETS))
        attempt(os.ftruncate, fd, dice.choice([0, 1, 1 << 62, -1]))
    for _ in range(6): libc.ioctl(fd, ctypes.c_ulong(dice.choice([*REQUESTS, dice.getrandbits(32)])), pointer())
    libc.syscall(72, fd, dice.choice([*range(40), *range(1024, 1050)]), pointer())
    libc.syscall(217, fd, pointer(), dice.choice([0, 1, 24, 100, 1 << 31]))
    attempt(mmap.mmap, fd, dice.choice([0, 1, 4096]), dice.choice([1, 2]), dice.choice([1, 3, 5]))
    for call in (os.fstat, os.fstatvfs, os.fsync, os.listdir, os.fchdir): attempt(call, fd)
    attempt(os.chdir, "/")
    attempt(os.fchmod, fd, dice.randrange(0o10000))
    attempt(os.sendfile, fd, fd, 0, 100)
    attempt(os.copy_file_range, fd, fd, 100)
    attempt(os.splice, fd, fd, 100)
    poll, epoll = select.poll(), select.epoll()
    attempt(poll.register, fd)
    attempt(poll.poll, 0)
    attempt(epoll.register, fd)
    epoll.close()
    attempt(os.setxattr, fd, "user.x", b"1")
    attempt(os.posix_fallocate, fd, 0, 10)
    attempt(fcntl.flock, fd, 6)
    attempt(fcntl.lockf, fd, 6)

for path in nodes[:NODES]:
    for look in (os.lstat, os.readlink, os.listdir, os.listxattr, os.statvfs): attempt(look, path)
    for mode in MODES:
        fd = attempt(os.open, path, mode | os.O_NONBLOCK | os.O_NOCTTY)
        if fd is not None and fd > 2:
            use(fd, path, mode)
            attempt(os.close, fd)
    attempt(os.mkdir, path + "/new")
    attempt(os.symlink, "x", path + "/link")
    attempt(os.link, path, "/tmp/name")
    attempt(os.rename, path, path + "x")
    attempt(os.chmod, path, 0o777)
    if path.startswith("/proc"): attempt(os.truncate, path, 0)
print("done")
"""


@pytest.mark.needs_ptrace
@pytest.mark.timeout(90 + NODES)
def test_everything_on_every_node() -> None:
    outcome = assault(f"SEED, NODES = {SEED}, {NODES}\n{GUEST}", seconds=60 + NODES)
    assert outcome.status == 0, outcome.stderr
    assert outcome.stdout.endswith("done\n")
    assert outcome.slowest_s < 3
