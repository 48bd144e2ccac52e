"""Semaphores of the kernel: who may have them, how many there may be, and what a shared one's number is worth."""

from __future__ import annotations

import pytest

from ring3.errors import EACCES, EBADF, EBUSY, EFAULT, EINVAL, EMFILE, ENAMETOOLONG, ENFILE, ENOENT, EOVERFLOW
from ring3.proc.ksem import KSEM_MAX, VALUE_MAX
from tests.unit.calls.netbsd.netguest import NetbsdGuest, netbsd32_guest, netbsd_guest
from tests.unit.calls.stage import Stage, stage

__all__ = ["stage"]

CREAT = 0x200
SHARED = 0x5053_5244


@pytest.fixture
def g(stage: Stage) -> NetbsdGuest:
    return netbsd_guest(stage)


def make(g: NetbsdGuest, value: int = 0, asked: int = 0) -> int:
    """The id of a new one without a name."""
    at = g.words(asked)
    assert g.call("_ksem_init", value, at) == 0
    return g.word(at)


def named(g: NetbsdGuest, name: bytes = b"/name", flags: int = CREAT, mode: int = 0o600) -> int:
    at = g.words(0)
    assert g.call("_ksem_open", g.put(name + b"\0"), flags, mode, 0, at) == 0
    return g.word(at)


def test_counting_ends(g: NetbsdGuest) -> None:
    number = make(g, VALUE_MAX)
    with pytest.raises(EOVERFLOW):
        g.call("_ksem_post", number)


def test_there_are_so_many(g: NetbsdGuest) -> None:
    ids = [make(g) for _ in range(KSEM_MAX - 1)] + [make(g, 0, SHARED)]
    for asked in (0, SHARED):
        with pytest.raises(ENFILE):
            make(g, 0, asked)
    with pytest.raises(ENFILE):
        named(g)
    assert g.call("_ksem_close", ids[0]) == 0
    assert g.call("_ksem_destroy", ids[-1]) == 0
    named(g)
    make(g)


def test_nothing_is_left_of_one_that_could_not_be_told(g: NetbsdGuest) -> None:
    files = len(g.p.fds.files)
    with pytest.raises(EFAULT):
        g.call("_ksem_open", g.put(b"/name\0"), CREAT, 0o600, 0, 8)
    with pytest.raises(ENOENT):
        named(g, flags=0)
    g.p.rlimits[7] = (files, files)
    with pytest.raises(EMFILE):
        named(g)
    assert len(g.p.fds.files) == files
    assert not g.p.system.ksems.named
    assert g.p.system.ksems.nameless == 0


def test_a_name_has_an_owner(g: NetbsdGuest, stage: Stage) -> None:
    named(g, b"/mine", mode=0o600)
    named(g, b"/ours", mode=0o666)
    other = netbsd_guest(stage)
    other.p.cred = other.p.cred._replace(euid=7, egid=7, fsuid=7, fsgid=7)
    with pytest.raises(EACCES):
        named(other, b"/mine", 0)
    with pytest.raises(EACCES):
        other.call("_ksem_unlink", other.put(b"/mine\0"))
    g.p.fs.umask = 0
    named(g, b"/all", mode=0o666)
    assert other.call("_ksem_post", named(other, b"/all", 0)) == 0


@pytest.mark.parametrize(("name", "refusal"), [
    (b"", EINVAL), (b"/", EINVAL), (b"name", EINVAL), (b"/a/b", EINVAL), (b"/" + b"x" * 511, ENAMETOOLONG),
])
def test_names(g: NetbsdGuest, name: bytes, refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        named(g, name)


def test_a_shared_one_goes_with_its_maker(g: NetbsdGuest, stage: Stage) -> None:
    maker = netbsd_guest(stage)
    number = make(maker, 1, SHARED)
    assert g.call("_ksem_trywait", number) == 0
    g.p.cred = g.p.cred._replace(euid=7)
    with pytest.raises(EACCES):
        g.call("_ksem_post", number)
    g.p.cred = g.p.cred._replace(euid=0)
    maker.p.exiting = True
    with pytest.raises(EINVAL):
        g.call("_ksem_post", number)


def test_one_that_is_waited_for_is_not_destroyed(g: NetbsdGuest) -> None:
    number = make(g)
    waiting = g.start("_ksem_wait", number)
    waiting.send(None)
    with pytest.raises(EBUSY):
        g.call("_ksem_destroy", number)
    waiting.close()
    assert g.call("_ksem_destroy", number) == 0


def test_what_is_no_semaphore(stage: Stage) -> None:
    g = netbsd32_guest(stage)
    queue = g.call("kqueue")
    for number in (queue, 99, 0xFFFF_FFFF, 0x7000_0001):
        for name in ("_ksem_post", "_ksem_trywait", "_ksem_destroy"):
            with pytest.raises(EINVAL):
                g.call(name, number)
    with pytest.raises(EINVAL):
        g.call("_ksem_close", queue)
    with pytest.raises(EBADF):
        g.call("_ksem_close", 99)
