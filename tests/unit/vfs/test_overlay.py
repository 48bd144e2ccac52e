"""The overlay: one identity for life, nothing below is touched, and what changed can be listed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ring3.abi.flags import OpenFlags, RenameFlags, Whence
from ring3.abi.records import AttrChange
from ring3.errors import ENOSPC
from ring3.proc.cred import Cred
from ring3.vfs import names
from ring3.vfs.hostdir import HostDirFS
from ring3.vfs.memory import MemoryFS
from ring3.vfs.mount import MountTable
from ring3.vfs.namei import NameiContext, namei
from ring3.vfs.opening import open_file
from ring3.vfs.overlay import OverlayFS

RW = OpenFlags.RDWR


@pytest.fixture
def host(tmp_path: Path) -> Path:
    (tmp_path / "dir" / "sub").mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"lower")
    (tmp_path / "dir" / "one").write_bytes(b"1")
    (tmp_path / "dir" / "sub" / "two").write_bytes(b"2")
    os.link(tmp_path / "file", tmp_path / "hard")
    return tmp_path


def over(host: Path, limit: int | None = None) -> tuple[OverlayFS, NameiContext]:
    fs = OverlayFS(HostDirFS(os.fsencode(host)), MemoryFS(limit=limit))
    root = MountTable().mount(fs, None).root
    return fs, NameiContext(root, root, Cred(fsuid=os.geteuid(), fsgid=os.getegid()))


def changes(fs: OverlayFS) -> list[tuple[str, bytes]]:
    return [(change.kind, change.path) for change in fs.changes()]


def test_an_open_file_sees_the_copy(host: Path) -> None:
    _, ctx = over(host)
    reader, writer = open_file(ctx, b"file", OpenFlags.RDONLY), open_file(ctx, b"file", RW)
    before = reader.getattr()
    moved = []
    assert writer.vnode is reader.vnode
    writer.vnode.on_copy_up.append(lambda: moved.append(writer.vnode.host_fd()))  # type: ignore[union-attr]
    assert reader.pread(0, 9) == b"lower"
    writer.write(b"UP")
    assert reader.pread(0, 9) == b"UPwer"
    assert len(moved) == 1
    after = reader.getattr()
    assert (after.dev, after.ino, after.nlink) == (before.dev, before.ino, before.nlink)
    assert (host / "file").read_bytes() == b"lower"


def test_hard_links_of_the_lower_stay_one_file(host: Path) -> None:
    _, ctx = over(host)
    open_file(ctx, b"file", RW).write(b"UP")
    assert namei(ctx, b"hard").vnode.read(0, 9) == b"UPwer"
    names.unlink(ctx, b"file")
    assert namei(ctx, b"hard").vnode.getattr().nlink == 1
    assert namei(ctx, b"hard").vnode.read(0, 9) == b"UPwer"


def test_attributes_alone_copy_no_contents(host: Path) -> None:
    fs, ctx = over(host, limit=1 << 16)
    with (host / "big").open("wb") as big:
        big.truncate(1 << 30)
        big.write(b"x" * (1 << 20))
    vnode = namei(ctx, b"big").vnode
    vnode.setattr(AttrChange(mode=0o600, uid=7))
    assert vnode.getattr().size == 1 << 30
    assert vnode.getattr().uid == 7
    assert fs.upper.used == 0
    with pytest.raises(ENOSPC):
        vnode.write(0, b"y")
    assert vnode.read(0, 1) == b"x"


def test_big_files_copy_with_their_holes(host: Path) -> None:
    with (host / "big").open("wb") as big:
        big.write(b"a" * 100_000)
        big.seek(1 << 30)
        big.write(b"z" * 10)
    fs, ctx = over(host)
    vnode = namei(ctx, b"big").vnode
    vnode.write(5, b"B")
    assert vnode.read(0, 7) == b"aaaaaBa"
    assert vnode.read((1 << 30) + 5, 50) == b"z" * 5
    assert vnode.getattr().size == (1 << 30) + 10
    assert fs.upper.used < 1 << 20
    assert os.pread(vnode.host_fd(), 7, 0) == b"aaaaaBa"


def test_a_directory_is_renamed_with_all_below(host: Path) -> None:
    fs, ctx = over(host)
    held = namei(ctx, b"dir/sub/two")
    names.rename(ctx, b"dir", b"moved")
    assert held.path(ctx.root) == b"/moved/sub/two"
    assert namei(ctx, b"moved/sub/two") is held
    open_file(ctx, b"moved/sub/two", RW).write(b"X")
    assert held.vnode.read(0, 5) == b"X"
    names.mkdir(ctx, b"dir", 0o755)
    assert namei(ctx, b"dir").vnode.readdir() == []
    assert changes(fs) == [
        ("deleted", b"/dir/one"), ("deleted", b"/dir/sub"), ("added", b"/moved"), ("added", b"/moved/one"),
        ("added", b"/moved/sub"), ("added", b"/moved/sub/two"),
    ]


def test_changes_lists_what_differs(host: Path) -> None:
    fs, ctx = over(host)
    assert changes(fs) == []
    open_file(ctx, b"file", RW).close()
    namei(ctx, b"dir/one")
    assert changes(fs) == []
    open_file(ctx, b"new", OpenFlags.CREAT, 0o600)
    names.unlink(ctx, b"new")
    assert changes(fs) == []
    names.unlink(ctx, b"dir/one")
    namei(ctx, b"dir/sub/two").vnode.setattr(AttrChange(mode=0o600))
    names.symlink(ctx, b"x", b"dir/sub/link")
    names.unlink(ctx, b"hard")
    open_file(ctx, b"hard", OpenFlags.CREAT, 0o600)
    assert changes(fs) == [
        ("deleted", b"/dir/one"), ("added", b"/dir/sub/link"), ("modified", b"/dir/sub/two"), ("modified", b"/hard"),
    ]


def test_unlinked_and_open_is_still_there(host: Path) -> None:
    _, ctx = over(host)
    file = open_file(ctx, b"dir/one", RW)
    names.unlink(ctx, b"dir/one")
    assert file.getattr().nlink == 0
    assert file.read(5) == b"1"
    file.write(b"more")
    assert file.pread(0, 9) == b"1more"
    assert [entry.name for entry in namei(ctx, b"dir").vnode.readdir()] == [b"sub"]
    assert (host / "dir" / "one").read_bytes() == b"1"


def test_exchange_and_whiteout(host: Path) -> None:
    fs, ctx = over(host)
    names.rename(ctx, b"file", b"dir", RenameFlags.EXCHANGE)
    assert namei(ctx, b"file/one").vnode.read(0, 5) == b"1"
    assert namei(ctx, b"dir").vnode.read(0, 9) == b"lower"
    names.rename(ctx, b"dir", b"elsewhere", RenameFlags.WHITEOUT)
    assert namei(ctx, b"dir").vnode.getattr().rdev == 0
    assert fs.changed


def test_truncation_copies_only_what_stays(host: Path) -> None:
    fs, ctx = over(host, limit=8192)
    (host / "large").write_bytes(b"q" * 1_000_000)
    file = open_file(ctx, b"large", RW | OpenFlags.TRUNC)
    assert file.seek(0, Whence.END) == 0
    (host / "other").write_bytes(b"r" * 1_000_000)
    namei(ctx, b"other").vnode.truncate(5)
    assert namei(ctx, b"other").vnode.read(0, 9) == b"rrrrr"
    assert fs.upper.used <= 8192
