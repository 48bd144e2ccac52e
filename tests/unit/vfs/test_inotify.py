"""What is bounded and what is left behind by inotify.  What programs are told is compared with the host (tests/guest/inotify.c)."""

import struct

import pytest

from ring3.abi.flags import OpenFlags
from ring3.abi.notify import IN_ALL_EVENTS, IN_CREATE, IN_MODIFY, IN_OPEN, IN_Q_OVERFLOW
from ring3.errors import EAGAIN, ENOSPC
from ring3.vfs import inotify
from ring3.vfs.inotify import InotifyFile
from ring3.vfs.memory import MemoryFS
from ring3.vfs.mount import MountTable
from ring3.vfs.pipe import AnonymousInodes


def test_nobody_who_watches_costs_nothing() -> None:
    root = MountTable().mount(MemoryFS(), None).root
    file = InotifyFile(AnonymousInodes(), OpenFlags(0))
    seen = [root.mount.marks is None]
    wd = file.watch(root, IN_ALL_EVENTS)
    seen.append(root.mount.marks is None)
    file.unwatch(wd)
    seen.append(root.mount.marks is None)
    file.watch(root, IN_CREATE)
    file.close()
    assert [*seen, root.mount.marks is None] == [True, False, True, True]


def test_a_queue_nobody_reads_ends_with_one_word_about_it() -> None:
    root = MountTable().mount(MemoryFS(), None).root
    file = InotifyFile(AnonymousInodes(), OpenFlags(0))
    file.watch(root, IN_ALL_EVENTS)
    marks = root.mount.marks
    assert marks is not None
    for _ in range(inotify.MAX_EVENTS):
        marks.tell(root, IN_OPEN)
        marks.tell(root, IN_MODIFY)
    data = file.read(1 << 30)
    assert len(data) == 16 * (inotify.MAX_EVENTS + 1)
    assert struct.unpack_from("<iIII", data, len(data) - 16) == (-1, IN_Q_OVERFLOW, 0, 0)
    with pytest.raises(EAGAIN):
        file.read(100)


def test_watches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inotify, "MAX_WATCHES", 3)
    root = MountTable().mount(MemoryFS(), None).root
    file = InotifyFile(AnonymousInodes(), OpenFlags(0))
    for name in (b"a", b"b", b"c"):
        file.watch(root.adopt(name, root.vnode.mkdir(name, 0o700, 0, 0)), IN_OPEN)
    with pytest.raises(ENOSPC):
        file.watch(root, IN_OPEN)
