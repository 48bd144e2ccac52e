"""__sysctl: names, sizes, meta-numbers, and what a hostile caller may not."""

from __future__ import annotations

import struct

import pytest

from ring3.calls.netbsd.sysctlnode import Kind, Node
from ring3.calls.netbsd.sysctlproc import CURPROC
from ring3.calls.netbsd.sysctltree import ROOT
from ring3.errors import E2BIG, EFAULT, EINVAL, EISDIR, ENOENT, ENOMEM, ENOTDIR, EOPNOTSUPP, EPERM, ESRCH
from tests.unit.calls.netbsd.netguest import NetbsdGuest, netbsd32_guest, netbsd_guest
from tests.unit.calls.stage import Stage, stage

__all__ = ["stage"]

NODE = struct.Struct("<Ii32sII16sQ24x")


@pytest.fixture
def g(stage: Stage) -> NetbsdGuest:
    """A process of root's."""
    return netbsd_guest(stage)


def ask(g: NetbsdGuest, *mib: int, room: int = 4096, new: bytes | None = None) -> bytes:
    """The value of a name."""
    wide = g.t.abi.word_size
    name = g.put(struct.pack(f"<{len(mib)}i", *mib))
    old, length = g.room(min(room, 8192)), g.put(room.to_bytes(wide, "little"))
    new_at = 0 if new is None else g.put(new)
    g.call("__sysctl", name, len(mib), old, length, new_at, len(new or b""))
    return g.get(old, int.from_bytes(g.get(length, wide), "little"))


def walk(node: Node, path: tuple[int, ...] = ()) -> list[tuple[tuple[int, ...], Node]]:
    """All that can be asked for."""
    found = [] if node.get is None else [(path, node)]
    for child in node.children:
        found += walk(child, (*path, child.number))
    return found


@pytest.mark.parametrize(("path", "node"), walk(ROOT), ids=lambda value: value.name if isinstance(value, Node) else "")
def test_every_node_answers_by_its_kind(g: NetbsdGuest, path: tuple[int, ...], node: Node) -> None:
    data = ask(g, *path, room=64 if node.name == "arandom" else 4096)
    if node.kind == Kind.INT:
        assert len(data) == 4
    elif node.kind == Kind.QUAD:
        assert len(data) == 8
    elif node.kind == Kind.STRING:
        assert data.endswith(b"\0")
        assert b"\0" not in data[:-1]
    else:
        assert data


def test_numbers_and_names_are_each_ones_own() -> None:
    def check(node: Node) -> None:
        assert len({child.number for child in node.children}) == len({child.name for child in node.children}) == len(node.children)
        for child in node.children:
            check(child)

    check(ROOT)


def test_the_revision_is_the_releases(g: NetbsdGuest) -> None:
    assert ask(g, 1, 3) == (1_001_000_000).to_bytes(4, "little")


@pytest.mark.parametrize(("mib", "refusal"), [
    ((1, 9999), ENOENT), ((99, 1), ENOENT), ((1,), EISDIR), ((1, 1, 1), ENOTDIR), ((1, 48, 29999, 1), EINVAL),
    ((1, 48, 29999, 5), ESRCH), ((1, 48, 2), EINVAL),
    ((1, 48, -1, 77), EINVAL), ((10, 29999, 1), ESRCH), ((10,), EISDIR), ((10, CURPROC, 2, 99, 1), ENOENT),
    ((10, CURPROC, 1, 1), ENOTDIR), ((10, CURPROC, 9), ENOENT), ((1, -3), EPERM), ((1, -7), EOPNOTSUPP), ((1, -2), EINVAL),
])
def test_refusals(g: NetbsdGuest, mib: tuple[int, ...], refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        ask(g, *mib)


def test_names_have_one_to_twelve_numbers(g: NetbsdGuest) -> None:
    for count in (0, 13, 1 << 31):
        with pytest.raises(EINVAL):
            g.call("__sysctl", g.put(bytes(64)), count, 0, 0, 0, 0)
    with pytest.raises(EFAULT):
        g.call("__sysctl", 8, 2, 0, 0, 0, 0)


def test_what_fits_is_given_and_the_size_told(g: NetbsdGuest) -> None:
    name, old, length = g.put(struct.pack("<2i", 1, 1)), g.room(16), g.words(3)
    with pytest.raises(ENOMEM):
        g.call("__sysctl", name, 2, old, length, 0, 0)
    assert g.get(old, 4) == b"Net\0"
    assert g.word(length) == 7
    g.call("__sysctl", name, 2, 0, length, 0, 0)
    assert g.word(length) == 7


def test_randomness_is_bounded(g: NetbsdGuest) -> None:
    assert len(ask(g, 1, 81, room=256)) == 256
    with pytest.raises(E2BIG):
        ask(g, 1, 81, room=1 << 40)


def test_a_room_of_all_memory_is_no_room(g: NetbsdGuest) -> None:
    name, length = g.put(struct.pack("<2i", 1, 1)), g.words((1 << 64) - 1)
    with pytest.raises(EFAULT):
        g.call("__sysctl", name, 2, 8, length, 0, 0)


def test_setting(g: NetbsdGuest) -> None:
    assert ask(g, 1, 10, new=b"other\0rest") == b"ring3\0"
    assert g.p.system.hostname == b"other"
    with pytest.raises(EINVAL):
        ask(g, 1, 10, new=b"x" * 256)
    with pytest.raises(EPERM):
        ask(g, 1, 1, new=b"Linux")
    g.p.cred = g.p.cred._replace(euid=5)
    with pytest.raises(EPERM):
        ask(g, 1, 10, new=b"third")
    assert g.p.system.hostname == b"other"


def test_stop_at_exec_is_set_by_process(g: NetbsdGuest) -> None:
    assert ask(g, 10, g.p.pid, 4, new=(1).to_bytes(4, "little")) == bytes(4)
    assert g.p.stops_at_exec
    with pytest.raises(EINVAL):
        ask(g, 10, g.p.pid, 4, new=b"x")


def test_nodes_are_found_by_name(g: NetbsdGuest) -> None:
    query = NODE.pack(0x0100_0000, 0, b"", 0, 0, b"", 0)
    found = {row[2].rstrip(b"\0"): row for row in NODE.iter_unpack(ask(g, -2, new=query))}
    assert found[b"kern"][1] == 1
    assert found[b"kern"][0] & 0xF == Kind.NODE
    below = {row[2].rstrip(b"\0"): row for row in NODE.iter_unpack(ask(g, 1, -2, room=8000, new=query))}
    assert below[b"hostname"][1] == 10
    assert below[b"hostname"][0] & 0xF == Kind.STRING
    assert below[b"somaxconn"][1] > 255
    with pytest.raises(ENOTDIR):
        ask(g, 1, 1, -2, new=query)
    with pytest.raises(EINVAL):
        ask(g, -2, new=NODE.pack(0, 0, b"", 0, 0, b"", 0))
    with pytest.raises(EINVAL):
        ask(g, -2, new=query[:-1])


def test_words_are_narrow_for_narrow_programs(stage: Stage) -> None:
    g = netbsd32_guest(stage)
    assert ask(g, 6, 10) == b"i386\0"
    assert ask(g, 6, 11) == (3).to_bytes(4, "little")


def test_a_name_is_spelled_out(g: NetbsdGuest) -> None:
    bound = g.t.abi.sysent[202]
    g.place(g.put(struct.pack("<2i", 1, 10)), 2, 0, 0, 0, 0)
    assert bound.show(g.t, bound.decode(g.t, g.t.cpu.regs)) == "__sysctl([kern.hostname], 2, NULL, NULL, NULL, 0)"
