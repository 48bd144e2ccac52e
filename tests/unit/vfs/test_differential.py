"""Random sequences of calls, on the host and in each file system: same results, same refusals, same tree at the end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ring3.abi.flags import Access, FileType, OpenFlags, RenameFlags, Whence
from ring3.abi.records import AttrChange
from ring3.errors import Errno, from_oserror
from ring3.proc.cred import Cred
from ring3.vfs import names
from ring3.vfs.access import permission, prepare_change
from ring3.vfs.file import RegularFile
from ring3.vfs.hostdir import HostDirFS
from ring3.vfs.memory import MemoryFS
from ring3.vfs.mount import MountTable
from ring3.vfs.namei import NameiContext, namei
from ring3.vfs.opening import open_file
from ring3.vfs.overlay import OverlayFS
from ring3.vfs.vnode import Vnode

if TYPE_CHECKING:
    from ring3.vfs.vnode import FileSystem

DEPTH = (b"w", b"x", b"y", b"z", b"base")       # so deep that no ".." of a test reaches the top
OTHER = 1000                                     # an ordinary user
Op = tuple[Any, ...]


def kind_and_size(mode: int, nlink: int, size: int, uid: int, gid: int) -> tuple[int, ...]:
    """What two file systems agree on about a file."""
    return (mode, nlink, 0 if stat.S_ISDIR(mode) else size, uid, gid)


class Native:
    """The calls on the host, below a directory."""

    def __init__(self, top: Path, uid: int) -> None:
        self.top = top
        self.fd = os.open(top.joinpath(*map(os.fsdecode, DEPTH)), os.O_PATH)
        self.uid = uid
        self.libc = ctypes.CDLL(None, use_errno=True)

    @contextlib.contextmanager
    def as_user(self) -> Iterator[None]:
        if os.geteuid() != 0 or self.uid == 0:
            yield
            return
        groups = os.getgroups()
        os.setgroups([])
        os.setegid(self.uid)
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)

    def mkdir(self, path: bytes, mode: int) -> None:
        os.mkdir(path, mode, dir_fd=self.fd)

    def rmdir(self, path: bytes) -> None:
        os.rmdir(path, dir_fd=self.fd)

    def unlink(self, path: bytes) -> None:
        os.unlink(path, dir_fd=self.fd)

    def symlink(self, target: bytes, path: bytes) -> None:
        os.symlink(target, path, dir_fd=self.fd)

    def mkfifo(self, path: bytes, mode: int) -> None:
        os.mkfifo(path, mode, dir_fd=self.fd)

    def link(self, path: bytes, new: bytes, follow: bool) -> None:
        if self.libc.linkat(self.fd, path, self.fd, new, 0x400 if follow else 0):
            raise OSError(ctypes.get_errno(), "")

    def rename(self, path: bytes, new: bytes, flags: int) -> None:
        if self.libc.renameat2(self.fd, path, self.fd, new, flags):
            raise OSError(ctypes.get_errno(), "")

    def stat(self, path: bytes, follow: bool) -> tuple[int, ...]:
        st = os.stat(path, dir_fd=self.fd, follow_symlinks=follow)
        return kind_and_size(st.st_mode, st.st_nlink, st.st_size, st.st_uid, st.st_gid)

    def readlink(self, path: bytes) -> bytes:
        return os.readlink(path, dir_fd=self.fd)

    def listdir(self, path: bytes) -> list[bytes]:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.fd)
        try:
            return sorted(map(os.fsencode, os.listdir(fd)))
        finally:
            os.close(fd)

    def chmod(self, path: bytes, mode: int) -> None:
        if self.libc.fchmodat(self.fd, path, mode, 0):
            raise OSError(ctypes.get_errno(), "")

    def open(self, path: bytes, flags: int, mode: int, data: bytes, offset: int) -> tuple[bytes, int]:
        fd = os.open(path, flags | os.O_NONBLOCK, mode, dir_fd=self.fd)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode) or flags & os.O_PATH:
                return b"", 0
            if flags & 3:
                os.lseek(fd, offset, os.SEEK_SET)
                os.write(fd, data)
            return (b"" if flags & 3 == 1 else os.pread(fd, 1 << 16, 0)), os.lseek(fd, 0, os.SEEK_CUR)
        finally:
            os.close(fd)

    def truncate(self, path: bytes, size: int) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK, dir_fd=self.fd)
        try:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                os.ftruncate(fd, size)
        finally:
            os.close(fd)

    def access(self, path: bytes, mode: int) -> None:
        if self.libc.faccessat(self.fd, path, mode, 0x200):     # AT_EACCESS
            raise OSError(ctypes.get_errno(), "")

    def close(self) -> None:
        os.close(self.fd)


class Guest:
    """The same calls through namei."""

    def __init__(self, fs: FileSystem, uid: int) -> None:
        self.table = MountTable()
        root = self.table.mount(fs, None).root
        cred = Cred(euid=uid, fsuid=uid, egid=uid, fsgid=uid)
        boot = NameiContext(root, root, Cred())
        self.ctx = NameiContext(root, namei(boot, b"/" + b"/".join(DEPTH)), cred)

    def mkdir(self, path: bytes, mode: int) -> None:
        names.mkdir(self.ctx, path, mode)

    def rmdir(self, path: bytes) -> None:
        names.rmdir(self.ctx, path)

    def unlink(self, path: bytes) -> None:
        names.unlink(self.ctx, path)

    def symlink(self, target: bytes, path: bytes) -> None:
        names.symlink(self.ctx, target, path)

    def mkfifo(self, path: bytes, mode: int) -> None:
        names.mknod(self.ctx, path, FileType.FIFO | mode)

    def link(self, path: bytes, new: bytes, follow: bool) -> None:
        names.link(self.ctx, path, new, follow=follow)

    def rename(self, path: bytes, new: bytes, flags: int) -> None:
        names.rename(self.ctx, path, new, RenameFlags(flags))

    def stat(self, path: bytes, follow: bool) -> tuple[int, ...]:
        attr = namei(self.ctx, path, follow=follow).vnode.getattr()
        return kind_and_size(attr.mode, attr.nlink, attr.size, attr.uid, attr.gid)

    def readlink(self, path: bytes) -> bytes:
        return namei(self.ctx, path, follow=False).vnode.readlink()

    def listdir(self, path: bytes) -> list[bytes]:
        file = open_file(self.ctx, path, OpenFlags.RDONLY | OpenFlags.DIRECTORY)
        return sorted(entry.name for _, entry in file.readdir() if entry.name not in (b".", b".."))

    def chmod(self, path: bytes, mode: int) -> None:
        vnode = namei(self.ctx, path).vnode
        vnode.setattr(prepare_change(self.ctx.cred, vnode.getattr(), AttrChange(mode=mode)))

    def open(self, path: bytes, flags: int, mode: int, data: bytes, offset: int) -> tuple[bytes, int]:
        file = open_file(self.ctx, path, OpenFlags(flags), mode)
        try:
            assert file.vnode is not None
            if file.vnode.type != FileType.REG or flags & os.O_PATH:
                return b"", 0
            if flags & 3:
                file.seek(offset, Whence.SET)
                file.write(data)
            return (b"" if flags & 3 == 1 else file.pread(0, 1 << 16)), file.seek(0, Whence.CUR)
        finally:
            file.acquire().release()

    def truncate(self, path: bytes, size: int) -> None:
        file = open_file(self.ctx, path, OpenFlags.WRONLY)
        if isinstance(file, RegularFile):
            file.truncate(size)
        file.acquire().release()

    def access(self, path: bytes, mode: int) -> None:
        permission(self.ctx.cred, namei(self.ctx, path).vnode.getattr(), Access(mode))

    def close(self) -> None:
        self.table.close()


def a_path(rng: random.Random) -> bytes:
    """Few names, so that they meet; all the odd forms of a path."""
    parts = rng.choices((b"a", b"b", b"c", b"d", b".", b".."), (10, 10, 10, 6, 1, 1), k=rng.choice((1, 1, 1, 2, 2, 3)))
    path = b"/".join(parts)
    odd = rng.random()
    if odd < 0.08:
        path += b"/"
    elif odd < 0.1:
        path = path.replace(b"/", b"//")
    elif odd < 0.11:
        path = b""
    elif odd < 0.12:
        path = b"n" * rng.choice((255, 256))
    elif odd < 0.125:
        path = b"./" * 2048
    return path


OPEN_FLAGS = (
    os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_APPEND, os.O_DIRECTORY, os.O_NOFOLLOW, os.O_CREAT, os.O_CREAT, os.O_PATH,
)


def an_op(rng: random.Random) -> Op:
    path = a_path(rng)
    name = rng.choice((
        "mkdir", "mkdir", "rmdir", "unlink", "symlink", "link", "rename", "rename", "stat", "readlink", "listdir",
        "chmod", "open", "open", "open", "truncate", "access",
    ))
    mode = rng.choice((0o777, 0o755, 0o700, 0o644, 0o600, 0o1777, 0o2775, 0o070, 0o444, 0o555, 0))
    if name in ("mkdir", "chmod"):
        return name, path, mode
    if name == "symlink":
        return name, a_path(rng), path
    if name == "link":
        return name, path, a_path(rng), rng.random() < 0.5
    if name == "rename":
        return name, path, a_path(rng), rng.choice((0, 0, 0, 1, 2, 3))
    if name == "stat":
        return name, path, rng.random() < 0.5
    if name == "truncate":
        return name, path, rng.choice((0, 3, 10, 5000, 100_000))
    if name == "access":
        return name, path, rng.randrange(8)
    if name == "open":
        flags = rng.randrange(3)
        for flag in rng.sample(OPEN_FLAGS, rng.randrange(4)):
            flags |= flag
        return name, path, flags, mode & 0o777, b"data %d" % rng.randrange(1000), rng.choice((0, 0, 4, 20, 9000))
    return name, path


def outcome(target: Native | Guest, op: Op) -> object:
    try:
        call: Callable[..., object] = getattr(target, op[0])
        if isinstance(target, Native):
            with target.as_user():
                return call(*op[1:])
        return call(*op[1:])
    except OSError as error:
        return from_oserror(error).name
    except Errno as error:
        return error.name


def tree(target: Native | Guest, path: bytes = b".") -> dict[bytes, object]:
    found: dict[bytes, object] = {}
    for name in target.listdir(path):
        below = path + b"/" + name
        shape = target.stat(below, False)  # noqa: FBT003
        found[below] = shape
        if stat.S_ISDIR(shape[0]):
            found.update(tree(target, below))
        elif stat.S_ISREG(shape[0]):
            found[below] = (shape, target.open(below, os.O_RDONLY, 0, b"", 0))
        elif stat.S_ISLNK(shape[0]):
            found[below] = (shape, target.readlink(below))
    return found


def plant(top: Path) -> None:
    """A tree to begin with, hence something below an overlay."""
    base = top.joinpath(*map(os.fsdecode, DEPTH))
    base.mkdir(parents=True)
    (base / "a").mkdir()
    (base / "a" / "b").write_bytes(b"lower a/b")
    (base / "a" / "c").mkdir()
    (base / "a" / "c" / "a").write_bytes(b"x" * 70_000)
    (base / "b").write_bytes(b"lower b")
    os.link(base / "b", base / "a" / "d")
    (base / "c").symlink_to("a/c")
    for path in [base, *base.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o777 if path.is_dir() else 0o666)


def plant_memory(fs: MemoryFS) -> None:
    """The same tree, with the same owners, in memory."""
    uid, gid = os.geteuid(), os.getegid()
    here: Vnode = fs.root()
    for name in DEPTH:
        here = here.mkdir(name, 0o777, uid, gid)
    a = here.mkdir(b"a", 0o777, uid, gid)
    a.create(b"b", 0o100666, uid, gid).write(0, b"lower a/b")
    c = a.mkdir(b"c", 0o777, uid, gid)
    c.create(b"a", 0o100666, uid, gid).write(0, b"x" * 70_000)
    b = here.create(b"b", 0o100666, uid, gid)
    b.write(0, b"lower b")
    a.link(b"d", b)
    here.symlink(b"c", b"a/c", uid, gid)


def file_system(kind: str, tmp_path: Path) -> FileSystem:
    if kind == "memory":
        fs = MemoryFS(mode=0o755)
        plant_memory(fs)
        return fs
    plant(tmp_path / "guest")
    if kind == "hostdir":
        return HostDirFS(os.fsencode(tmp_path / "guest"), writable=True)
    return OverlayFS(HostDirFS(os.fsencode(tmp_path / "guest")), MemoryFS())


def snapshot(top: Path) -> dict[str, object]:
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_nlink, path.read_bytes() if path.is_file() else None)
        for path in sorted(top.rglob("*"))
    }


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("uid", [0, OTHER])
@pytest.mark.parametrize("kind", ["memory", "hostdir", "overlay"])
def test_random_calls_end_as_on_the_host(kind: str, uid: int, seed: int, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        uid = os.geteuid()
    tmp_path.chmod(0o755)
    tmp_path.parent.chmod(0o755)
    old = os.umask(0)
    try:
        plant(tmp_path / "native")
        guest_fs = file_system(kind, tmp_path)
        before = snapshot(tmp_path / "guest") if kind == "overlay" else {}
        native, guest = Native(tmp_path / "native", uid), Guest(guest_fs, uid)
        rng = random.Random(f"{seed} {uid}")
        done: list[tuple[Op, object]] = []
        for _ in range(150):
            op = an_op(rng)
            expected, got = outcome(native, op), outcome(guest, op)
            done.append((op, expected))
            assert got == expected, done[-12:]
        native.uid = 0
        guest.ctx = guest.ctx._replace(cred=Cred())
        if os.geteuid() == 0:
            assert tree(guest) == tree(native)
        if kind == "overlay":
            assert snapshot(tmp_path / "guest") == before
        guest.close()
        native.close()
    finally:
        os.umask(old)
        for where, below, _ in os.walk(tmp_path):       # so that an unprivileged pytest can clean up
            for name in below:
                path = Path(where, name)
                if not path.is_symlink():
                    path.chmod(0o700)
