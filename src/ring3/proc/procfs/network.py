"""/proc/PID/net: tables of a network with nothing but a loopback, and who uses it (proc(5), net/ipv4/tcp_ipv4.c, udp.c).

Not here: the sockets of `unix`, and connections whose program has closed them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.abi.flags import FileType
from ring3.abi.records import DirEntry
from ring3.errors import ENOENT
from ring3.proc.procfs.node import Node, ProcDir, TextNode
from ring3.vfs.socketrecords import AF_INET, AF_INET6

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ring3.proc.proc import Proc
    from ring3.proc.procfs.fs import ProcFS
    from ring3.vfs.socketrecords import InetAddress

_SOCKETS = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
_SOCKETS6 = (
    b"  sl  local_address                         remote_address                        "
    b"st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
)
_DATAGRAM = b" ref pointer drops"

_TABLES = {
    b"arp": b"IP address       HW type     Flags       HW address            Mask     Device\n",
    b"dev": (
        b"Inter-|   Receive                                                |  Transmit\n"
        b" face |bytes    packets errs drop fifo frame compressed multicast"
        b"|bytes    packets errs drop fifo colls carrier compressed\n"
        b"    lo:       0       0    0    0    0     0          0         0"
        b"        0       0    0    0    0     0       0          0\n"
    ),
    b"if_inet6": b"00000000000000000000000000000001 01 80 10 80       lo\n",
    b"netlink": b"sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n",
    b"raw": _SOCKETS + _DATAGRAM + b"\n",
    b"raw6": _SOCKETS6 + _DATAGRAM + b"\n",
    b"route": (b"Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT").ljust(127) + b"\n",
    b"sockstat": (
        b"sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 0 mem 0\nUDPLITE: inuse 0\nRAW: inuse 0\n"
        b"FRAG: inuse 0 memory 0\n"
    ),
    b"tcp": _SOCKETS.ljust(149) + b"\n",
    b"tcp6": _SOCKETS6 + b"\n",
    b"udp": b" " + (_SOCKETS + _DATAGRAM).ljust(126) + b"\n",
    b"udp6": _SOCKETS6 + _DATAGRAM + b"\n",
    b"unix": b"Num       RefCount Protocol Flags    Type St Inode Path\n",
}


_FAMILY = {b"tcp": AF_INET, b"tcp6": AF_INET6, b"udp": AF_INET, b"udp6": AF_INET6}
_UNCONNECTED, _ESTABLISHED = 7, 1


def _endpoint(address: InetAddress | None, family: int) -> bytes:
    """HEX:PORT, each four bytes of the host as the little-endian word they are in memory."""
    host = bytes(16) if address is None else address.host
    words = [host[i : i + 4][::-1].hex().upper() for i in range(12 if family == AF_INET else 0, 16, 4)]
    return f"{''.join(words)}:{0 if address is None else address.port:04X}".encode()


def _socket_lines(fs: ProcFS, name: bytes) -> Iterator[bytes]:
    """A line for each socket of the loopback that has a port."""
    sockets = fs.system.sockets
    if sockets is None or sockets.inet is None:
        return
    stream, family = name.startswith(b"tcp"), _FAMILY[name]
    found = [socket for socket in (sockets.inet.tcp if stream else sockets.inet.udp) if socket.family == family]
    for number, socket in enumerate(found):
        state = socket.shown_state if stream else _ESTABLISHED if socket.remote else _UNCONNECTED
        waits = len(socket.pending) if socket.listening else len(socket.received) if stream else socket.charged
        text = b"%4d: %s %s %02X 00000000:%08X 00:00000000 00000000 %5d        0 %d %d 0000000000000000" % (
            number, _endpoint(socket.address, family), _endpoint(socket.remote, family), state, waits, socket.owner_cred.uid,
            socket.attr.ino, socket.refs,
        )
        yield (text + (b" 100 0 0 10 0" if stream else b" 0")).ljust(149 if stream else 127) + b"\n"


class NetDir(ProcDir):
    """The directory."""

    __slots__ = ()

    def __init__(self, fs: ProcFS, key: bytes, p: Proc) -> None:
        super().__init__(fs, key, FileType.DIR | 0o555, p)

    @property
    def nlink(self) -> int:
        return 2

    def ids(self) -> tuple[int, int]:
        return 0, 0

    def lookup(self, name: bytes) -> Node:
        text = _TABLES.get(name)
        if text is None:
            raise ENOENT
        key = self.path_of(name)
        if name in _FAMILY:
            return self.fs.node(
                key, None, lambda: TextNode(self.fs, key, 0o444, lambda: text + b"".join(_socket_lines(self.fs, name)))
            )
        return self.fs.node(key, None, lambda: TextNode(self.fs, key, 0o444, lambda: text))

    def readdir(self) -> list[DirEntry]:
        return [self.entry(name, FileType.REG) for name in _TABLES]
