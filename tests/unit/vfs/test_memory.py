"""Files in memory: sparse ones cost nothing, limits hold, unlinked ones live on."""

from __future__ import annotations

import gc
import os
import random

import pytest

from ring3.abi.flags import OpenFlags, RenameFlags, Whence
from ring3.errors import EEXIST, EFBIG, EINVAL, ENODATA, ENOSPC, ENXIO, EOPNOTSUPP
from ring3.vfs.file import MAX_OFFSET
from ring3.vfs.memdata import INLINE_MAX
from ring3.vfs.memnode import MemVnode
from ring3.vfs.memory import MemoryFS


def new(fs: MemoryFS, name: bytes = b"f") -> MemVnode:
    return fs.root().create(name, 0o100644, 0, 0)


def test_a_terabyte_of_hole_allocates_nothing() -> None:
    fs = MemoryFS(limit=1 << 20)
    vnode = new(fs)
    vnode.truncate(1 << 40)
    assert vnode.getattr().size == 1 << 40
    assert fs.used == 0
    assert vnode.read(1 << 39, 10) == bytes(10)
    vnode.write(1 << 39, b"x")
    assert vnode.seek_extent(0, hole=False) == 1 << 39
    assert vnode.seek_extent(1 << 39, hole=True) == (1 << 39) + 4096
    with pytest.raises(ENXIO):
        vnode.seek_extent(1 << 40, hole=False)
    assert fs.used == 4096


def test_the_limit_holds_and_room_comes_back() -> None:
    fs = MemoryFS(limit=64 << 10)
    vnode = new(fs)
    assert vnode.write(0, b"a" * 100_000) == 64 << 10
    with pytest.raises(ENOSPC):
        vnode.write(64 << 10, b"b")
    assert vnode.write(5, b"c") == 1
    vnode.host_fd()
    with pytest.raises(ENOSPC):
        vnode.write(64 << 10, b"b")
    assert vnode.write(0, b"over" * 1000) == 4000
    fs.root().unlink(b"f")
    assert fs.used > 0
    del vnode
    gc.collect()
    assert fs.used == 0
    assert fs.files == 1


def test_too_many_files() -> None:
    fs = MemoryFS(max_files=3)
    new(fs, b"1")
    new(fs, b"2")
    with pytest.raises(ENOSPC):
        new(fs, b"3")
    gc.collect()
    assert fs.files == 3


@pytest.mark.parametrize("seed", range(20))
def test_contents_are_those_of_a_host_file(seed: int, tmp_path: object) -> None:
    rng = random.Random(seed)
    path = os.path.join(str(tmp_path), "f")
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    vnode = new(MemoryFS())
    for _ in range(80):
        offset = rng.choice((0, 10, 4000, 5000, 9000, 100_000, INLINE_MAX - 10))
        what = rng.randrange(5)
        if what == 0:
            data = rng.randbytes(rng.randrange(1, 9000))
            assert vnode.write(offset, data) == os.pwrite(fd, data, offset)
        elif what == 1:
            vnode.truncate(offset)
            os.ftruncate(fd, offset)
        elif what == 2 and rng.random() < 0.1:
            assert os.fstat(vnode.host_fd()).st_size == os.fstat(fd).st_size
        elif what == 3:
            vnode.fallocate(0, offset, 100)
            os.posix_fallocate(fd, offset, 100)
        assert vnode.read(offset, 5000) == os.pread(fd, 5000, offset)
        assert vnode.getattr().size == os.fstat(fd).st_size
    os.close(fd)


def test_punching_makes_zeros() -> None:
    for promoted in (False, True):
        vnode = new(MemoryFS())
        vnode.write(0, b"x" * 20_000)
        if promoted:
            vnode.host_fd()
        vnode.fallocate(3, 5000, 10_000)
        assert vnode.read(0, 30_000) == b"x" * 5000 + bytes(10_000) + b"x" * 5000


def test_mapping_keeps_contents_and_identity() -> None:
    vnode = new(MemoryFS())
    vnode.write(0, b"before")
    fd = vnode.host_fd(write=True)
    os.pwrite(fd, b"BE", 0)
    assert vnode.read(0, 9) == b"BEfore"
    vnode.write(6, b"!")
    assert os.pread(fd, 9, 0) == b"BEfore!"
    assert vnode.host_fd() == fd


def test_extended_attributes() -> None:
    vnode = new(MemoryFS(limit=1 << 20))
    vnode.setxattr(b"user.a", b"1", 0)
    with pytest.raises(EEXIST):
        vnode.setxattr(b"user.a", b"2", 1)
    with pytest.raises(ENODATA):
        vnode.setxattr(b"user.b", b"2", 2)
    with pytest.raises(EOPNOTSUPP):
        vnode.setxattr(b"trusted.b", b"2", 0)
    assert vnode.listxattr() == (b"user.a",)
    assert vnode.getxattr(b"user.a") == b"1"
    vnode.removexattr(b"user.a")
    with pytest.raises(ENODATA):
        vnode.getxattr(b"user.a")
    assert vnode.fs.used == 0


def test_file_offsets() -> None:
    vnode = new(MemoryFS())
    file = vnode.open(OpenFlags.RDWR)
    assert vnode.writers == 1
    file.write(b"hello")
    assert file.seek(-2, Whence.END) == 3
    assert file.read(9) == b"lo"
    assert file.seek(1, Whence.SET) == 1
    assert file.seek(1, Whence.CUR) == 2
    with pytest.raises(EINVAL):
        file.seek(-3, Whence.CUR)
    with pytest.raises(EINVAL):
        file.pread(-1, 1)
    with pytest.raises(EFBIG):
        file.pwrite(MAX_OFFSET, b"x")
    assert file.seek(0, Whence.DATA) == 0
    assert file.seek(0, Whence.HOLE) == 5
    appending = vnode.open(OpenFlags.WRONLY | OpenFlags.APPEND)
    appending.pwrite(0, b"!")
    assert file.pread(0, 9) == b"hello!"
    file.close()
    appending.close()
    assert vnode.writers == 0


def test_directory_links_are_counted() -> None:
    root = MemoryFS().root()
    a, b = root.mkdir(b"a", 0o755, 0, 0), root.mkdir(b"b", 0o755, 0, 0)
    a.mkdir(b"c", 0o755, 0, 0)
    assert (root.nlink, a.nlink, b.nlink) == (4, 3, 2)
    a.rename(b"c", b, b"d", RenameFlags(0))
    assert (a.nlink, b.nlink) == (2, 3)
    root.rmdir(b"a")
    assert (root.nlink, a.nlink) == (3, 0)
