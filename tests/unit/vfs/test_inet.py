"""Ports, routes and what is bounded in the loopback network.  What programs see is compared with the host in tests/guest/inet.c."""

import pytest

from ring3.abi.flags import OpenFlags, Poll
from ring3.errors import (
    EADDRINUSE,
    EADDRNOTAVAIL,
    EAGAIN,
    ECONNREFUSED,
    ECONNRESET,
    EINPROGRESS,
    EINVAL,
    ENETUNREACH,
    EPROTONOSUPPORT,
)
from ring3.vfs import inet, tcp
from ring3.vfs.inet import ANY4, ANY6, FIRST_PORT, LAST_PORT, LOOP4, LOOP6, Ports
from ring3.vfs.inetoptions import get_inet_option, set_inet_option
from ring3.vfs.pipe import AnonymousInodes
from ring3.vfs.socket import make_socket
from ring3.vfs.socketqueue import SocketNamespace
from ring3.vfs.socketrecords import AF_INET, AF_INET6, DGRAM, RAW, SO_REUSEPORT, STREAM, V4, InetAddress, Ucred
from ring3.vfs.tcp import TcpSocket
from ring3.vfs.udp import UdpSocket

ME = Ucred(7, 0, 0)


@pytest.fixture
def ns() -> SocketNamespace:
    return SocketNamespace(AnonymousInodes())


def stream(ns: SocketNamespace, family: int = AF_INET, flags: int = 0) -> TcpSocket:
    made = make_socket(ns, family, STREAM, 0, OpenFlags(flags), ME)
    assert isinstance(made, TcpSocket)
    return made


def packets(ns: SocketNamespace) -> UdpSocket:
    made = make_socket(ns, AF_INET, DGRAM, 0, OpenFlags(0), ME)
    assert isinstance(made, UdpSocket)
    return made


def listening(ns: SocketNamespace, host: bytes = LOOP4, backlog: int = 5) -> TcpSocket:
    server = stream(ns, AF_INET if inet.is_v4(host) else AF_INET6)
    server.bind(InetAddress(server.family, host))
    server.listen(backlog, ME)
    return server


def pair(ns: SocketNamespace) -> tuple[TcpSocket, TcpSocket]:
    server, client = listening(ns), stream(ns)
    client.connect(server.address)
    return client, server.accept(OpenFlags(0))


def test_a_closed_socket_leaves_nothing_behind(ns: SocketNamespace) -> None:
    server, client = listening(ns), stream(ns)
    client.connect(server.address)
    end = server.accept(OpenFlags(0))
    client.send(b"unread")
    third = stream(ns)
    third.connect(server.address)
    sender = packets(ns)
    sender.connect(InetAddress(AF_INET, LOOP4, 9))
    for socket in (end, client, third, server, sender):
        socket.close()
    assert ns.inet is not None
    assert not any((ns.inet.tcp.bound, ns.inet.tcp.serving, ns.inet.udp.bound, ns.inet.udp.serving, ns.inet.nbytes))


@pytest.mark.parametrize("host", [V4 + b"\x08\x08\x08\x08", bytes([0xFE, 0x80]) + bytes(13) + b"\1", V4 + b"\xc0\0\2\1"])
def test_nothing_leads_outside(ns: SocketNamespace, host: bytes) -> None:
    family = AF_INET if inet.is_v4(host) else AF_INET6
    address = InetAddress(family, host, 80)
    with pytest.raises(ENETUNREACH):
        stream(ns, family).connect(address)
    with pytest.raises(EADDRNOTAVAIL):
        stream(ns, family).bind(address)
    if family == AF_INET:
        with pytest.raises(ENETUNREACH):
            packets(ns).send(b"x", to=address)


def test_no_raw_sockets(ns: SocketNamespace) -> None:
    for family in (AF_INET, AF_INET6):
        with pytest.raises(EPROTONOSUPPORT):
            make_socket(ns, family, RAW, 1, OpenFlags(0), ME)


def test_a_socket_of_both_families_is_found_by_either(ns: SocketNamespace) -> None:
    server = listening(ns, ANY6)
    port = server.address.port
    for family, host in ((AF_INET, LOOP4), (AF_INET6, LOOP6), (AF_INET6, LOOP4)):
        client = stream(ns, family)
        client.connect(InetAddress(family, host, port))
        assert server.accept(OpenFlags(0)).getpeername() == client.getsockname()._replace(family=AF_INET6)
    with pytest.raises(EADDRINUSE):
        stream(ns).bind(InetAddress(AF_INET, ANY4, port))


def test_the_particular_listener_is_preferred(ns: SocketNamespace) -> None:
    everybody, particular = stream(ns), stream(ns)
    for socket in (everybody, particular):
        socket.options[SO_REUSEPORT] = 1
    everybody.bind(InetAddress(AF_INET, ANY4, 5000))
    particular.bind(InetAddress(AF_INET, LOOP4, 5000))
    everybody.listen(5, ME)
    particular.listen(5, ME)
    for host in (LOOP4, V4 + b"\x7f\0\0\2"):
        stream(ns).connect(InetAddress(AF_INET, host, 5000))
    assert (len(particular.pending), len(everybody.pending)) == (1, 1)


def test_shared_listeners_take_turns(ns: SocketNamespace) -> None:
    servers = [stream(ns) for _ in range(3)]
    for server in servers:
        server.options[SO_REUSEPORT] = 1
        server.bind(InetAddress(AF_INET, LOOP4, 5000))
        server.listen(9, ME)
    for _ in range(6):
        stream(ns).connect(InetAddress(AF_INET, LOOP4, 5000))
    assert [len(server.pending) for server in servers] == [2, 2, 2]


def test_who_waits_for_the_backlog_is_let_in_or_refused(ns: SocketNamespace) -> None:
    server = listening(ns, backlog=0)
    clients = [stream(ns, flags=OpenFlags.NONBLOCK) for _ in range(4)]
    for client in clients:
        with pytest.raises(EINPROGRESS):
            client.connect(server.address)
    assert [client.poll() & Poll.OUT != 0 for client in clients] == [True, False, False, False]
    server.accept(OpenFlags(0))
    assert clients[1].poll() & Poll.OUT
    clients[2].close()
    server.accept(OpenFlags(0))
    assert clients[3].poll() & Poll.OUT
    server.close()
    assert clients[3].take_error() is ECONNRESET
    with pytest.raises(ECONNREFUSED):
        stream(ns).connect(InetAddress(AF_INET, LOOP4, server.address.port))


def test_ports_run_out(ns: SocketNamespace) -> None:
    ports, socket = Ports(LAST_PORT), stream(ns)
    taken = {ports.claim(socket, ANY4, 0) for _ in range(FIRST_PORT, LAST_PORT + 1)}
    assert (min(taken), max(taken), len(taken)) == (FIRST_PORT, LAST_PORT, LAST_PORT - FIRST_PORT + 1)
    with pytest.raises(EADDRINUSE):
        ports.claim(socket, ANY4, 0)


def test_what_waits_is_bounded(ns: SocketNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    client, end = pair(ns)
    sent = 0
    while len(end.received) < tcp.GROWN:
        sent += client.send(bytes(1 << 20))
    with pytest.raises(EAGAIN):
        client.send(b"x")
    assert sent == tcp.GROWN == len(end.received)
    assert not client.poll() & Poll.OUT
    end.recv(tcp.GROWN // 4)
    assert not client.poll() & Poll.OUT                 # not before a third is free
    end.recv(tcp.GROWN // 4)
    assert client.poll() & Poll.OUT
    for pressure, most in ((tcp.GROWN // 3, inet.CROWDED), (1, inet.FULL)):
        monkeypatch.setattr(inet, "PRESSURE", pressure)
        another, _ = pair(ns)
        assert another.send(bytes(1 << 20)) == most


def test_datagrams_nobody_reads_are_dropped(ns: SocketNamespace) -> None:
    receiver, sender = packets(ns), packets(ns)
    receiver.bind(InetAddress(AF_INET, LOOP4))
    for _ in range(2000):
        assert sender.send(bytes(1000), to=receiver.address) == 1000
    assert 50 < len(receiver.messages) < 500
    assert sender.charged == 0


def test_options_are_kept_within_their_bounds(ns: SocketNamespace) -> None:
    socket = stream(ns)
    set_inet_option(socket, inet.IPPROTO_TCP, 1, 77)
    assert get_inet_option(socket, inet.IPPROTO_TCP, 1) == 1
    with pytest.raises(EINVAL):
        set_inet_option(socket, inet.IPPROTO_TCP, 6, 128)
    assert get_inet_option(socket, inet.IPPROTO_TCP, 6) == 9
