"""SerenityOS's sendmsg and recvmsg: one piece of memory each, no control messages, and of the flags what its local sockets look at.

Descriptors go by sendfd and recvfd (`socket.py`).  Source: Kernel/Syscalls/socket.cpp, Kernel/Net/LocalSocket.cpp of December 2022.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Annotated, Any, Final

from ring3.abi.filerecords import MsgHdr
from ring3.calls.buffers import GuestBuffers, read_iovecs
from ring3.calls.guest import fetch
from ring3.calls.receiving import collect
from ring3.calls.sending import Outgoing, transmit
from ring3.calls.socket import socket_of
from ring3.calls.sysarg import Addr, Fd
from ring3.calls.sysarg_files import Bits
from ring3.calls.syscall import syscall
from ring3.calls.transfer import PIECE, Answer, sender
from ring3.errors import EFAULT, ENOTCONN, ENOTSUP, EPIPE
from ring3.proc.proc import Thread
from ring3.vfs.socketqueue import RCV, SND
from ring3.vfs.socketrecords import Received

MSG_TRUNC, MSG_DONTWAIT, MSG_NOSIGNAL = 0x1, 0x40, 0x80
_WAITLESS, _QUIET = 0x40, 0x4000                # MSG_DONTWAIT and MSG_NOSIGNAL as the shared calls know them
_FLAGS_AT: Final = 44                           # of struct msghdr

MessageFlags = Annotated[int, Bits({
    0x1: "MSG_TRUNC", 0x2: "MSG_CTRUNC", 0x4: "MSG_PEEK", 0x8: "MSG_OOB", 0x10: "MSG_DONTROUTE", 0x20: "MSG_WAITALL",
    0x40: "MSG_DONTWAIT", 0x80: "MSG_NOSIGNAL", 0x100: "MSG_EOR",
})]


def _buffers(t: Thread, message: int) -> GuestBuffers:
    """The one piece of memory a struct msghdr names.  Raises EFAULT, ENOTSUP for another number of them, EINVAL."""
    header: MsgHdr = fetch(t, MsgHdr, message)
    if header.iovlen != 1:
        raise ENOTSUP
    return GuestBuffers(t.proc.vm, read_iovecs(t, header.iov, 1))


@syscall(pledge="stdio")
def sys_sendmsg(t: Thread, fd: Fd, message: Addr, flags: MessageFlags) -> Answer:
    """Send bytes to the other side.  Raises ENOTSUP, EFAULT, EBADF, ENOTSOCK; EPIPE (with SIGPIPE) without another side; EAGAIN."""
    buffers = _buffers(t, message)
    socket = socket_of(t, fd)
    how = (_WAITLESS if flags & MSG_DONTWAIT else 0) | (_QUIET if flags & MSG_NOSIGNAL else 0)
    try:
        return transmit(t, Outgoing(socket, buffers, how, cred=sender(t)))
    except ENOTCONN:
        raise EPIPE from None


@syscall(pledge="stdio")
def sys_recvmsg(t: Thread, fd: Fd, message: Addr, flags: MessageFlags) -> Answer:
    """Bytes from the other side; 0 at the end.  Raises ENOTSUP, EFAULT, EBADF, ENOTSOCK, EINVAL without another side, EAGAIN."""
    buffers = _buffers(t, message)
    socket = socket_of(t, fd)
    if socket.shut & RCV and not socket.shut & SND and not socket.messages:
        return 0
    received = collect(t, socket, min(buffers.total, PIECE), _WAITLESS if flags & MSG_DONTWAIT else 0)
    if isinstance(received, Received):
        return _hand_over(t, received, buffers, message)
    return _receive_later(t, received, buffers, message)


async def _receive_later(t: Thread, waiting: Coroutine[Any, Any, Received], buffers: GuestBuffers, message: int) -> int:
    return _hand_over(t, await waiting, buffers, message)


def _hand_over(t: Thread, received: Received, buffers: GuestBuffers, message: int) -> int:
    """What came, and whether it was cut.  Files of another system's programs, who send them with their bytes, wait for recvfd."""
    for file in received.files:
        file.release()
    if received.data and buffers.scatter(0, received.data) < len(received.data):
        raise EFAULT
    t.proc.vm.copyout(message + _FLAGS_AT, (MSG_TRUNC if received.flags else 0).to_bytes(4, "little"))
    return received.length
