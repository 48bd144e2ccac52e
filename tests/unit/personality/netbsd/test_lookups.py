"""What NetBSD's look-ups do otherwise: a link with a slash behind it is what it leads to; /proc/curproc is oneself."""

from __future__ import annotations

import pytest

from ring3.abi.flags import FileType
from ring3.errors import EEXIST, ENOENT, ENOTDIR
from ring3.proc.lookup import namei_context
from ring3.proc.procfs import ProcFS
from ring3.vfs.namei import namei
from ring3.vfs.names import mkdir, mknod, rename, rmdir, symlink
from tests.unit.calls.netbsd.netguest import NetbsdGuest, netbsd_guest
from tests.unit.calls.stage import Guest, Stage, stage

__all__ = ["stage"]


@pytest.fixture
def both(stage: Stage) -> tuple[NetbsdGuest, Guest]:
    """A NetBSD process and a Linux one, a directory, a file, and links to them and to nothing."""
    netbsd, linux = netbsd_guest(stage), stage.guest()
    ctx = namei_context(linux.t)
    mkdir(ctx, b"/dir", 0o755)
    mknod(ctx, b"/file", FileType.REG | 0o644)
    for name, target in ((b"/todir", b"dir"), (b"/tofile", b"file"), (b"/tonew", b"new"), (b"/toroot", b"/"), (b"/loop", b"loop")):
        symlink(ctx, target, name)
    return netbsd, linux


Pair = tuple[NetbsdGuest, Guest]


class TestSlashBehindALink:
    def test_mkdir(self, both: Pair) -> None:
        netbsd, linux = (namei_context(g.t) for g in both)
        with pytest.raises(EEXIST):
            mkdir(linux, b"/tonew/", 0o755)
        mkdir(netbsd, b"/tonew/", 0o755)
        assert namei(linux, b"/new").vnode.is_dir

    def test_rename(self, both: Pair) -> None:
        netbsd, linux = (namei_context(g.t) for g in both)
        with pytest.raises(ENOTDIR):
            rename(linux, b"/todir/", b"/moved")
        rename(netbsd, b"/todir/", b"/moved")
        assert namei(linux, b"/moved").vnode.is_dir
        with pytest.raises(ENOENT):
            namei(linux, b"/dir")

    def test_rmdir(self, both: Pair) -> None:
        netbsd, linux = (namei_context(g.t) for g in both)
        with pytest.raises(ENOTDIR):
            rmdir(linux, b"/todir/")
        rmdir(netbsd, b"/todir/")
        with pytest.raises(ENOENT):
            namei(linux, b"/dir")
        assert namei(linux, b"/todir", follow=False).vnode.type == FileType.LNK

    def test_without_a_slash_it_is_the_link(self, both: Pair) -> None:
        netbsd = namei_context(both[0].t)
        with pytest.raises(ENOTDIR):
            rmdir(netbsd, b"/todir")
        rename(netbsd, b"/todir", b"/other")
        assert namei(netbsd, b"/other", follow=False).vnode.type == FileType.LNK

    @pytest.mark.parametrize("path", [b"/tofile/", b"/loop/", b"/toroot/", b"/none/", b"/"])
    def test_nothing_that_can_be_removed(self, both: Pair, path: bytes) -> None:
        from ring3.errors import Errno

        with pytest.raises(Errno):
            rmdir(namei_context(both[0].t), path)
        assert namei(namei_context(both[1].t), b"/file").vnode.type == FileType.REG


def test_curproc_is_there_for_netbsd_alone(stage: Stage) -> None:
    fs = ProcFS(stage.system)
    netbsd, linux = netbsd_guest(stage), stage.guest()
    root = fs.root()
    stage.system.current = netbsd.t
    assert root.lookup(b"curproc").readlink() == b"%d" % netbsd.p.pid
    assert root.lookup(b"self").readlink() == b"%d" % netbsd.p.pid
    stage.system.current = linux.t
    with pytest.raises(ENOENT):
        root.lookup(b"curproc")
    assert b"curproc" not in [entry.name for entry in root.readdir()]
