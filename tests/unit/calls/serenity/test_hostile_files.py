"""Whatever a SerenityOS program says to the calls about files: an answer or a refusal, never a fault of the kernel's."""

from __future__ import annotations

import random
from types import CoroutineType

import pytest

from ring3.errors import Errno
from ring3.vfs.file import File
from tests.unit.calls.serenity.guest import O_CREAT, O_RDWR, SerenityGuest
from tests.unit.calls.stage import BASE, ROOM

CALLS = (
    "open", "close", "dup2", "fcntl", "lseek", "read", "pread", "readv", "write", "pwritev", "ftruncate", "fsync",
    "posix_fallocate", "pipe", "fstat", "stat", "fstatvfs", "statvfs", "get_dir_entries", "chdir", "fchdir", "getcwd",
    "realpath", "readlink", "link", "symlink", "rename", "rmdir", "unlink", "mkdir", "mknod", "chmod", "fchmod", "chown",
    "fchown", "faccessat", "utime", "utimensat", "umask", "mount", "umount", "create_inode_watcher",
    "inode_watcher_add_watch", "inode_watcher_remove_watch",
)
WORDS = (
    0, 1, 2, 3, 4, 7, 8, 99, 255, 1023, 1024, 4096, BASE, BASE + 5, BASE + ROOM - 3, 0xC000_0001, 0x7FFF_FFFF, 0x8000_0000,
    0xFFFF_FFFF, 1 << 47, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 100, (1 << 64) - 1,
)


@pytest.mark.parametrize("name", CALLS)
def test_any_words(g: SerenityGuest, name: str) -> None:
    rng = random.Random(name)
    g.p.rlimits[1] = (1 << 20, 1 << 20)                 # no file grows beyond a MiB
    for _ in range(300):
        if not g.p.fds.files:
            g.open("/file", O_RDWR | O_CREAT)
            g.open("/", 1)
        _attempt(g, name, *(rng.choice(WORDS) for _ in range(4)))


@pytest.mark.parametrize("name", CALLS)
def test_structs_of_any_words(g: SerenityGuest, name: str) -> None:
    """The same where a pointer leads to words as wild, and to paths that are there."""
    rng = random.Random(name)
    g.p.rlimits[1] = (1 << 20, 1 << 20)
    path, nothing = g.put(b"/file/../dev/zero"), g.put(b"\0" * 64)
    for _ in range(200):
        if not g.p.fds.files:
            g.open("/file", O_RDWR | O_CREAT)
        words = [rng.choice((*WORDS, path, nothing, 5, 9, 17)) for _ in range(8)]
        g.p.vm.copyout(BASE + ROOM // 2, b"".join(word.to_bytes(8, "little") for word in words))
        _attempt(g, name, *(rng.choice((BASE + ROOM // 2, *WORDS[:10])) for _ in range(4)))


def _attempt(g: SerenityGuest, name: str, *words: int) -> None:
    try:
        result = g.start(name, *words)
    except Errno:
        return
    if isinstance(result, CoroutineType):
        result.close()
        return
    assert isinstance(result, int)
    assert all(isinstance(file, File) for file in g.p.fds.files.values())
    assert g.show(name, *words)
