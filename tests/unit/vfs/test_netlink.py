"""What netlink tells of the one network device, taken apart as rtnetlink(7) has it."""

import struct

import pytest

from ring3.abi.flags import OpenFlags
from ring3.errors import EAGAIN, EPROTONOSUPPORT
from ring3.vfs.netlink import RTM_GETADDR, RTM_GETLINK, NetlinkSocket, answer
from ring3.vfs.pipe import AnonymousInodes
from ring3.vfs.socketqueue import SocketNamespace
from ring3.vfs.socketrecords import RAW, NetlinkAddress, Ucred

DUMP = 0x301
FOUR, SIX = b"\x7f\0\0\1", bytes(15) + b"\1"


def asked(kind: int, flags: int = DUMP, body: bytes = bytes(16)) -> list[tuple[int, int, bytes]]:
    """(type, flags, body) of every message of the answer."""
    request = struct.pack("<IHHII", 16 + len(body), kind, flags, 5, 0) + body
    data = b"".join(answer(request, 42))
    found = []
    while data:
        size, reply, bits, sequence, port = struct.unpack_from("<IHHII", data)
        assert (sequence, port) == (5, 42)
        assert size % 4 == 0
        found.append((reply, bits, data[16:size]))
        data = data[size:]
    return found


def attributes(body: bytes) -> dict[int, bytes]:
    found = {}
    while body:
        size, kind = struct.unpack_from("<HH", body)
        found[kind] = body[4:size]
        body = body[(size + 3) & -4 :]
    return found


def test_one_link() -> None:
    (kind, flags, body), (last, _, _) = asked(RTM_GETLINK)
    assert (kind, flags, last) == (16, 2, 3)
    assert struct.unpack_from("<BxHiII", body) == (0, 772, 1, 0x10049, 0)
    assert attributes(body[16:])[3] == b"lo\0"


@pytest.mark.parametrize(("family", "hosts"), [(0, [FOUR, SIX]), (2, [FOUR]), (10, [SIX]), (7, [])])
def test_addresses(family: int, hosts: list[bytes]) -> None:
    *found, (last, _, _) = asked(RTM_GETADDR, body=bytes([family]) + bytes(7))
    assert [attributes(body[8:])[1] for _, _, body in found] == hosts
    assert last == 3


@pytest.mark.parametrize(("kind", "flags", "body", "error"), [
    (RTM_GETLINK, 1, struct.pack("<BxHiII", 0, 0, 2, 0, 0), 19), (16, 1, bytes(16), 1), (20, 5, bytes(8), 1),
    (26, 1, bytes(12), 101), (200, 1, b"", 95), (RTM_GETLINK, 1, b"", 19),
])
def test_refusals(kind: int, flags: int, body: bytes, error: int) -> None:
    ((reply, _, told),) = asked(kind, flags, body)
    assert reply == 2
    assert struct.unpack_from("<i", told) == (-error,)


def test_a_device_is_found_by_its_name() -> None:
    name = struct.pack("<HH", 7, 3) + b"lo\0\0"
    ((reply, _, _),) = asked(RTM_GETLINK, 1, bytes(16) + name)
    assert reply == 16


def test_cut_and_wild_requests_are_not_answered() -> None:
    socket = NetlinkSocket(SocketNamespace(AnonymousInodes()), RAW, 0, OpenFlags(0), Ucred(7, 0, 0))
    short, long = (struct.pack("<IHHII", size, RTM_GETLINK, DUMP, 0, 0) for size in (4, 99))
    for request in (b"", b"\1", short, long):
        assert socket.send(request) == len(request)
        with pytest.raises(EAGAIN):
            socket.recv(100)
    assert socket.getsockname() == NetlinkAddress(7)


def test_other_protocols_are_not_there() -> None:
    with pytest.raises(EPROTONOSUPPORT):
        NetlinkSocket(SocketNamespace(AnonymousInodes()), RAW, 15, OpenFlags(0), Ucred())


def test_what_waits_is_bounded() -> None:
    socket = NetlinkSocket(SocketNamespace(AnonymousInodes()), RAW, 0, OpenFlags(0), Ucred(7, 0, 0))
    request = struct.pack("<IHHII", 32, RTM_GETLINK, DUMP, 0, 0) + bytes(16)
    for _ in range(1000):
        socket.send(request)
    assert len(socket.messages) < 400
    assert socket.take_error() is not None
