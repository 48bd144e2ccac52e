"""SerenityOS's sockets, messages, poll and ioctl: their own structs, orders and refusals, and descriptors that travel."""

from __future__ import annotations

import struct

import pytest

from ring3.abi.flags import FileType, OpenFlags
from ring3.calls.serenity.ioctl import termios_outward
from ring3.calls.serenity.socket import SCM_MOST
from ring3.errors import EFAULT
from ring3.vfs.pipe import PipeFile
from ring3.vfs.tty import DEFAULT_TERMIOS
from tests.unit.calls.serenity.guest import O_CLOEXEC, SerenityGuest
from tests.unit.calls.stage import Stage

AF_LOCAL, STREAM, DGRAM = 1, 1, 2
POLLIN, POLLOUT = 1, 4
FIONBIO, FIONREAD, FIOCLEX, FIONCLEX = range(42, 46)


def address(path: bytes, family: int = AF_LOCAL) -> bytes:
    return struct.pack("<H108s", family, path)


def named(g: SerenityGuest, name: str, fd: int, path: bytes, length: int = 110) -> int:
    return g.call(name, fd, g.put(address(path)), length)


def pair(g: SerenityGuest, kind: int = STREAM) -> tuple[int, int]:
    at = g.put(bytes(8))
    g.call("socketpair", g.params("<iIi4xQ", AF_LOCAL, kind, 0, at))
    one, two = struct.unpack("<ii", g.get(at, 8))
    return one, two


def message(g: SerenityGuest, data: int, nbytes: int, pieces: int = 1) -> int:
    return g.put(struct.pack("<QI4xQi4xQIi", 0, 0, g.put(struct.pack("<QQ", data, nbytes)), pieces, 0, 0, -1))


def pollfds(g: SerenityGuest, *asked: tuple[int, int]) -> int:
    return g.put(b"".join([struct.pack("<ihh", fd, events, 9) for fd, events in asked]))


def poll(g: SerenityGuest, at: int, count: int, timeout: int) -> int:
    return g.params("<QI4xQQ", at, count, timeout, 0)


class TestTheFileOfAName:
    """fchmod and fchown before bind, as LibCore's servers do it."""

    def bound(self, g: SerenityGuest, fd: int, path: bytes) -> tuple[int, int, int]:
        assert named(g, "bind", fd, path) == 0
        found = g.p.fs.root.child(path[1:]).vnode.getattr()
        return found.mode, found.uid, found.gid

    def test_its_mode_and_owner(self, g: SerenityGuest) -> None:
        g.p.fs.umask = 0o077
        fd = g.call("socket", AF_LOCAL, STREAM, 0)
        assert self.bound(g, fd, b"/one") == (0o140666, 0, 0)
        fd = g.call("socket", AF_LOCAL, STREAM, 0)
        assert g.call("fchmod", fd, 0o7600) == 0
        assert g.call("fchown", fd, 5, -1) == 0
        assert self.bound(g, fd, b"/two") == (0o140600, 5, 0)
        assert g.refusal("fchmod", fd, 0o644) == "EBADF"
        assert g.refusal("fchown", fd, 5, 5) == "EBADF"

    def test_who_may(self, g: SerenityGuest) -> None:
        fd = g.call("socket", AF_LOCAL, STREAM, 0)
        g.p.cred = g.p.cred._replace(ruid=5, euid=5, suid=5, fsuid=5, rgid=7, egid=7, sgid=7, fsgid=7, groups=(8,))
        for uid, gid in ((6, 7), (5, 9), (-1, 7), (5, -1)):
            assert g.refusal("fchown", fd, uid, gid) == "EPERM"
        assert g.call("fchown", fd, 5, 8) == 0
        for fd in pair(g):
            assert g.call("fchmod", fd, 0o600) == 0


class TestMaking:
    def test_flags_of_a_type(self, g: SerenityGuest) -> None:
        fd = g.call("socket", AF_LOCAL, STREAM | 0o4000 | 0o2000000, 99)
        assert fd in g.t.proc.fds.cloexec
        assert g.t.proc.fds.get(fd).flags & OpenFlags.NONBLOCK

    @pytest.mark.parametrize("domain", [0, 2, 3, 17])
    def test_no_network(self, g: SerenityGuest, domain: int) -> None:
        assert g.refusal("socket", domain, STREAM, 0) == "EAFNOSUPPORT"

    def test_raw_ones_are_roots(self, g: SerenityGuest) -> None:
        assert g.call("socket", AF_LOCAL, 3, 0) >= 0
        g.t.proc.cred = g.t.proc.cred._replace(ruid=5, euid=5, suid=5)
        assert g.refusal("socket", AF_LOCAL, 3, 0) == "EACCES"

    def test_a_pair_nobody_can_be_told_of_is_none(self, g: SerenityGuest) -> None:
        before = len(g.t.proc.fds)
        assert g.refusal("socketpair", g.params("<iIi4xQ", AF_LOCAL, STREAM, 0, 8)) == "EFAULT"
        assert len(g.t.proc.fds) == before


class TestNames:
    def test_a_socket_file_has_its_mode_whatever_the_umask(self, g: SerenityGuest) -> None:
        g.t.proc.fs.umask = 0o077
        fd = g.call("socket", AF_LOCAL, STREAM, 0)
        named(g, "bind", fd, b"/door")
        vnode = g.t.proc.fds.get(fd).vnode
        assert vnode is not None
        assert vnode.getattr().mode == FileType.SOCK | 0o666

    @pytest.mark.parametrize(("data", "length", "said"), [
        (address(b""), 110, "EINVAL"), (address(b"/x", 2), 110, "EINVAL"), (address(b"/x"), 111, "EINVAL"), (b"\1\0", 2, "EINVAL"),
        (address(b"\0abstract"), 110, "EINVAL"),
    ])
    def test_what_is_no_name(self, g: SerenityGuest, data: bytes, length: int, said: str) -> None:
        fd = g.call("socket", AF_LOCAL, STREAM, 0)
        for call in ("bind", "connect"):
            assert g.refusal(call, fd, g.put(data), length) == said

    def test_where_the_original_falls(self, g: SerenityGuest) -> None:
        fd = g.call("socket", AF_LOCAL, STREAM, 0)
        named(g, "bind", fd, b"/one")
        assert g.refusal("bind", fd, g.put(address(b"/two")), 110) == "EINVAL"

    def test_a_full_queue_refuses(self, g: SerenityGuest) -> None:
        listener = g.call("socket", AF_LOCAL, STREAM, 0)
        named(g, "bind", listener, b"/door")
        g.call("listen", listener, 0)
        assert g.refusal("connect", g.call("socket", AF_LOCAL, STREAM, 0), g.put(address(b"/door")), 110) == "ECONNREFUSED"

    def test_a_name_is_cut_to_its_room(self, g: SerenityGuest) -> None:
        one, _ = pair(g)
        room, at = g.put((6).to_bytes(4, "little")), g.put(b"\xee" * 16)
        g.call("getsockname", g.params("<i4xQQ", one, at, room))
        assert g.get(at, 7) == b"\1\0[soc\xee"

    def test_accept_waits_and_undoes(self, g: SerenityGuest) -> None:
        listener = g.call("socket", AF_LOCAL, STREAM, 0)
        named(g, "bind", listener, b"/door")
        g.call("listen", listener, 2)
        waiting = g.sleep("accept4", g.params("<QQiI", 8, g.put((110).to_bytes(4, "little")), listener, 0))
        before = len(g.t.proc.fds)
        named(g, "connect", g.call("socket", AF_LOCAL, STREAM, 0), b"/door")
        with pytest.raises(EFAULT):
            waiting.resume()
        assert len(g.t.proc.fds) == before + 1          # the client's


class TestDescriptors:
    def test_they_travel_beside_the_bytes(self, g: SerenityGuest) -> None:
        one, two = pair(g)
        assert g.call("sendfd", one, one) == 0
        fd = g.call("recvfd", two, O_CLOEXEC)
        assert g.t.proc.fds.get(fd) is g.t.proc.fds.get(one)
        assert fd in g.t.proc.fds.cloexec
        assert g.refusal("recvfd", two, 0) == "EAGAIN"

    def test_only_so_many_wait(self, g: SerenityGuest) -> None:
        one, _two = pair(g)
        for _ in range(SCM_MOST + 1):
            g.call("sendfd", one, 0 if 0 in g.t.proc.fds else one)
        assert g.refusal("sendfd", one, one) == "EBUSY"

    def test_no_room_loses_none(self, g: SerenityGuest) -> None:
        one, two = pair(g)
        g.call("sendfd", one, one)
        p = g.t.proc
        limits = p.rlimits[7]
        p.rlimits[7] = (p.fds.lowest(), limits[1])
        assert g.refusal("recvfd", two, 0) == "EMFILE"
        p.rlimits[7] = limits
        assert g.call("recvfd", two, 0) > two

    def test_what_nobody_took_is_let_go(self, g: SerenityGuest) -> None:
        one, two = pair(g)
        ends = g.put(bytes(8))
        g.call("pipe", ends, 0)
        reading, writing = struct.unpack("<ii", g.get(ends, 8))
        file = g.t.proc.fds.get(writing)
        assert isinstance(file, PipeFile)
        g.call("sendfd", one, writing)
        g.call("close", writing)
        g.sleep("read", reading, g.put(bytes(8)), 8)
        sockets = g.t.proc.fds.get(two)
        assert sockets.ns.in_flight == 1                # type: ignore[attr-defined]
        g.call("close", two)
        assert sockets.ns.in_flight == 0                # type: ignore[attr-defined]

    def test_who_has_no_other_side(self, g: SerenityGuest) -> None:
        alone = g.call("socket", AF_LOCAL, STREAM, 0)
        assert g.refusal("sendfd", alone, alone) == "ENOTCONN"
        assert g.refusal("recvfd", alone, 0) == "EINVAL"


class TestMessages:
    def test_there_and_back(self, g: SerenityGuest) -> None:
        one, two = pair(g)
        assert g.call("sendmsg", one, message(g, g.put(b"hello"), 5), 0) == 5
        room = g.put(bytes(8))
        header = message(g, room, 8)
        assert g.call("recvmsg", two, header, 0) == 5
        assert g.get(room, 5) == b"hello"
        assert g.get(header + 44, 4) == bytes(4)

    def test_a_cut_packet(self, g: SerenityGuest) -> None:
        one, two = pair(g, DGRAM)
        g.call("sendmsg", one, message(g, g.put(b"hello"), 5), 0)
        header = message(g, g.put(bytes(8)), 2)
        assert g.call("recvmsg", two, header, 0) == 2
        assert g.get(header + 44, 4) == b"\1\0\0\0"

    @pytest.mark.parametrize("pieces", [0, 2, -1, 1 << 30])
    def test_one_piece_and_no_other_number(self, g: SerenityGuest, pieces: int) -> None:
        for call in ("sendmsg", "recvmsg"):
            assert g.refusal(call, 99, message(g, 0, 0, pieces), 0) == "ENOTSUP"

    def test_waiting_and_not(self, g: SerenityGuest) -> None:
        one, two = pair(g)
        assert g.refusal("recvmsg", two, message(g, g.put(bytes(8)), 8), 0x40) == "EAGAIN"
        waiting = g.sleep("recvmsg", two, message(g, g.put(bytes(8)), 8), 0)
        g.call("write", one, g.put(b"now"), 3)
        waiting.resume()
        assert waiting.result == 3


class TestPoll:
    def test_what_is_ready(self, g: SerenityGuest) -> None:
        one, two = pair(g)
        g.call("write", one, g.put(b"x"), 1)
        at = pollfds(g, (one, POLLIN | POLLOUT), (two, POLLIN))
        assert g.call("poll", poll(g, at, 2, 0)) == 2
        assert struct.unpack("<ihhihh", g.get(at, 16)) == (one, 5, POLLOUT, two, 1, POLLIN)

    def test_a_timeout_of_nothing(self, g: SerenityGuest) -> None:
        one, _ = pair(g)
        at = pollfds(g, (one, POLLIN))
        for seconds, fraction in ((0, 0), (-5, 0), (-(1 << 63), 0)):
            assert g.call("poll", poll(g, at, 1, g.put(struct.pack("<qq", seconds, fraction)))) == 0
        assert g.call("poll", poll(g, at, 1, g.put(struct.pack("<qq", -2000, 1999 * 10**9)))) == 0   # added up

    def test_refusals(self, g: SerenityGuest) -> None:
        assert g.refusal("poll", poll(g, 8, 1024, 0)) == "ENOBUFS"
        assert g.refusal("poll", poll(g, 8, 1, 0)) == "EFAULT"
        assert g.refusal("poll", poll(g, pollfds(g, (-1, POLLIN)), 1, 0)) == "EBADF"
        assert g.refusal("poll", poll(g, 0, 0, 8)) == "EFAULT"

    def test_an_end_is_something_to_read_of_a_pipe_and_a_lone_socket_waits(self, g: SerenityGuest) -> None:
        ends = g.put(bytes(8))
        g.call("pipe", ends, 0)
        reading, writing = struct.unpack("<ii", g.get(ends, 8))
        g.call("close", writing)
        lone = g.call("socket", AF_LOCAL, STREAM, 0)
        at = pollfds(g, (reading, POLLIN), (lone, POLLIN))
        assert g.call("poll", poll(g, at, 2, 0)) == 1
        assert g.get(at + 6, 2) == b"\1\0"


class TestIoctl:
    def test_flags_of_any_descriptor(self, g: SerenityGuest) -> None:
        fd = g.open("/file")
        g.call("ioctl", fd, FIOCLEX, 0)
        assert fd in g.t.proc.fds.cloexec
        g.call("ioctl", fd, FIONCLEX, 0)
        assert fd not in g.t.proc.fds.cloexec
        g.call("ioctl", fd, FIONBIO, g.put(b"\1\0\0\0"))
        assert g.t.proc.fds.get(fd).flags & OpenFlags.NONBLOCK
        g.call("ioctl", fd, FIONBIO, g.put(bytes(4)))
        assert not g.t.proc.fds.get(fd).flags & OpenFlags.NONBLOCK

    def test_who_knows_what(self, g: SerenityGuest) -> None:
        one, two = pair(g)
        g.call("write", one, g.put(b"four"), 4)
        at = g.put(bytes(4))
        g.call("ioctl", two, FIONREAD, at)
        assert g.get(at, 4) == b"\4\0\0\0"
        for request in (0, 7, 13, 60, 0xFFFFFFFF):
            assert g.refusal("ioctl", two, request, 0) == "EINVAL"
            assert g.refusal("ioctl", g.open("/file"), request, 0) == "EINVAL"
        ends = g.put(bytes(8))
        g.call("pipe", ends, 0)
        assert g.refusal("ioctl", struct.unpack("<i", g.get(ends, 4))[0], FIONREAD, at) == "ENOTTY"

    def test_settings_leave_out_what_terminals_there_do_not_have(self) -> None:
        shown = struct.unpack("<4I32s2I", termios_outward(DEFAULT_TERMIOS))
        assert shown[0] & 0o2400 == 0o400               # ICRNL, not IXON
        assert not shown[2] & 0o200                     # CREAD
        assert not shown[3] & 0o100000                  # IEXTEN
        assert shown[5:] == (38400, 38400)


def test_every_struct_of_sockets_is_in_the_table(stage: Stage, g: SerenityGuest) -> None:
    del stage
    layouts = g.t.abi.layouts
    assert {name.__name__ for name in layouts} >= {"MsgHdr", "PollFd", "RawTimeval", "Ucred"}
    sizes = {name.__name__: layout.size for name, layout in layouts.items() if hasattr(layout, "size")}
    assert (sizes["MsgHdr"], sizes["PollFd"], sizes["RawTimeval"], sizes["Ucred"]) == (48, 8, 16, 12)
