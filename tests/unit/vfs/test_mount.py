"""Mounts that programs of one system alone see: /proc of their own over everybody's."""

from __future__ import annotations

import pytest

from ring3.errors import EBUSY, ENOENT
from ring3.proc.cred import Cred
from ring3.protocols import LookupRules
from ring3.vfs.dentry import Dentry
from ring3.vfs.memory import MemoryFS
from ring3.vfs.mount import MountTable
from ring3.vfs.namei import NameiContext, namei
from ring3.vfs.names import mkdir

THEIRS = "elsewhere"


class World:
    """/place of everybody with `common` in it, and over it one with `own`, of one system's programs."""

    def __init__(self) -> None:
        self.table = MountTable()
        self.table.mount(MemoryFS(), None)
        mkdir(self.context(), b"/place", 0o755)
        self.common = self.table.mount(MemoryFS(), namei(self.context(), b"/place"))
        mkdir(self.context(), b"/place/common", 0o755)
        self.own = self.table.mount(MemoryFS(), namei(self.context(), b"/place"), only=THEIRS)
        mkdir(self.context(THEIRS), b"/place/own", 0o755)

    def context(self, system: str = "", cwd: Dentry | None = None) -> NameiContext:
        root = self.table.root
        return NameiContext(root, cwd or root, Cred(), rules=LookupRules(system=system))

    def names(self, path: bytes, system: str = "") -> list[bytes]:
        return [entry.name for entry in namei(self.context(system), path).vnode.readdir()]


def test_each_sees_its_own() -> None:
    world = World()
    assert (world.names(b"/place"), world.names(b"/place", THEIRS)) == ([b"common"], [b"own"])
    assert world.names(b"/place", "a third") == [b"common"]
    with pytest.raises(ENOENT):
        namei(world.context(), b"/place/own")
    with pytest.raises(ENOENT):
        namei(world.context(THEIRS), b"/place/common")


def test_paths_and_dots_are_the_same() -> None:
    world = World()
    own = namei(world.context(THEIRS), b"/place/own")
    assert own.path(world.table.root) == b"/place/own"
    assert namei(world.context(THEIRS, own), b"..") is world.own.root
    assert namei(world.context(THEIRS, own), b"../..") is world.table.root
    assert world.names(b"/place/own/../../place", THEIRS) == [b"own"]


def test_who_lists_mounts_sees_those_it_can_reach() -> None:
    world = World()
    assert [mount is world.own for mount in world.table.seen_by("")] == [False, False]
    assert [mount is world.own for mount in world.table.seen_by(THEIRS)] == [False, False, True]


def test_nothing_is_mounted_where_a_system_sees_something_else() -> None:
    world = World()
    with pytest.raises(EBUSY):
        world.table.mount(MemoryFS(), namei(world.context(), b"/place"))
    with pytest.raises(EBUSY):
        world.table.mount(MemoryFS(), namei(world.context(), b"/place"), only="a third")
    over = world.table.mount(MemoryFS(), namei(world.context(THEIRS), b"/place"), only=THEIRS)
    assert world.names(b"/place", THEIRS) == []
    world.table.unmount(over)
    world.table.unmount(world.own)
    assert world.names(b"/place", THEIRS) == [b"common"]
