"""/proc/PID/net: tables of a network with nothing but an idle loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.abi.flags import FileType
from ring3.abi.records import DirEntry
from ring3.errors import ENOENT
from ring3.proc.procfs.node import Node, ProcDir, TextNode

if TYPE_CHECKING:
    from ring3.proc.proc import Proc
    from ring3.proc.procfs.fs import ProcFS

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
        return self.fs.node(key, None, lambda: TextNode(self.fs, key, 0o444, lambda: text))

    def readdir(self) -> list[DirEntry]:
        return [self.entry(name, FileType.REG) for name in _TABLES]
