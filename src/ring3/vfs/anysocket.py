"""What sockets of every family are to the calls: a file with a name, maybe a peer, a queue and options.

Invariant: nothing here sleeps; what would, raises EAGAIN, and the call waits on `queue`.
Not here: the families themselves (`socket.py` is AF_UNIX; `tcp.py` and `udp.py` are the loopback network).
Source: socket(2), include/linux/net.h (struct proto_ops).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

from ring3.abi.flags import FileType, OpenFlags
from ring3.vfs.socketqueue import DEFAULT_BUFFER, SocketNamespace, SocketQueue
from ring3.vfs.socketrecords import NOBODY, SocketAddress, Ucred

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ring3.abi.records import Attr
    from ring3.vfs.file import File
    from ring3.vfs.vnode import Vnode


class Socket(SocketQueue):
    """One socket.  `pending` are connections to it that nobody has accepted; `options` what was set and has no place of its own."""

    is_socket = True
    protocol: ClassVar[int] = 0

    __slots__ = (
        "attr", "backlog", "closed", "family", "listening", "options", "owner_cred", "peer_cred", "pending", "rcvbuf", "sndbuf",
    )

    def __init__(self, ns: SocketNamespace, family: int, kind: int, flags: OpenFlags, cred: Ucred) -> None:
        super().__init__(ns, kind, flags)
        self.family = family
        self.owner_cred = cred
        self.attr = ns.inodes.attr(ns.inodes.socket_dev, FileType.SOCK | 0o777, cred.uid, cred.gid)
        self.peer_cred = NOBODY
        self.listening = False
        self.closed = False
        self.backlog = 0
        self.pending: deque[Any] = deque()      # sockets of this one's own kind
        self.sndbuf = self.rcvbuf = DEFAULT_BUFFER
        self.options: dict[int, int] = {}

    @property
    def label(self) -> bytes:
        return b"socket:[%d]" % self.attr.ino

    def getattr(self) -> Attr:
        return self.attr

    def read(self, nbytes: int) -> bytes:
        if nbytes <= 0:
            return b""
        received = self.recv(nbytes)
        for file in received.files:     # read(2) drops what it cannot hand over
            file.release()
        return received.data

    def write(self, data: bytes) -> int:
        return self.send(data)

    # --- what the families do
    @property
    def max_packet(self) -> int:
        """How long one message may be."""
        raise NotImplementedError

    def getsockname(self) -> SocketAddress:
        raise NotImplementedError

    def getpeername(self) -> SocketAddress:
        """Raises ENOTCONN."""
        raise NotImplementedError

    def listen(self, backlog: int, cred: Ucred) -> None:
        """Take connections."""
        raise NotImplementedError

    def accept(self, flags: OpenFlags) -> Socket:
        """The next connection.  Raises EOPNOTSUPP for datagrams, EINVAL unless it listens, EAGAIN."""
        raise NotImplementedError

    def shutdown(self, how: int) -> None:
        """0 no more reading, 1 no more writing, 2 both.  Raises EINVAL."""
        raise NotImplementedError

    def send(
        self, data: bytes, *, flags: int = 0, to: SocketAddress | None = None, vnode: Vnode | None = None,
        files: Sequence[File] = (), cred: Ucred | None = None,
    ) -> int:
        """Send what there is room for, a packet whole; how many bytes went."""
        raise NotImplementedError
